/* A placement for people, and as JSON. */
#include <jansson.h>

#include "planner/report.h"

typedef struct job {
  const mp_answer *x;
  const mp_placement *p;
  const mp_search *ask;
} job;

/* the answer as if the plan had been asked for */
static mp_answer planned(mp_arena *a, const job *j) {
  mp_answer x = *j->x;
  x.tape = j->p->tape;
  x.timeline = j->p->timeline;
  mp_verdict *v = mp_alloc_array(a, x.question->device_count + 1, sizeof *v);
  for (uint32_t i = 0; i < x.question->device_count; i++) v[i] = mp_verdict_make(x.timeline, x.question->devices[i], &x.question->workspaces);
  x.verdicts = v;
  return x;
}

static const void *text(mp_arena *a, void *arg) {
  const job *j = arg;
  const mp_placement *p = j->p;
  mp_text t = {0};
  mp_text_add(a, &t, "%s: without recomputation %s allocated at the peak; budget %s\n\n", j->x->question->path, mp_size_text(a, j->x->timeline->peak.allocated),
              mp_size_text(a, j->ask->budget));
  if (!p->feasible) mp_text_add(a, &t, "  No plan of granularity %s stays inside the budget. The nearest:\n", mp_granularity_name(j->ask->granularity));
  if (!p->plan.checkpoints) mp_text_add(a, &t, "  Nothing has to be recomputed.\n");
  for (uint32_t i = 0; i < p->plan.checkpoints; i++) mp_text_add(a, &t, "  recompute %s\n", p->plan.checkpoint[i]);
  for (uint32_t i = 0; i < p->plan.invertibles; i++) mp_text_add(a, &t, "  rebuild inputs from outputs: %s\n", p->plan.invertible[i]);
  uint32_t kept = 0;
  for (uint32_t c = 0; p->plan.save_calls && c < j->x->program->call_count; c++) kept += p->plan.save_calls[c] != 0;
  if (kept) mp_text_add(a, &t, "  and keep the results of %u matrix products, convolutions or attentions inside them\n", kept);
  mp_text_add(a, &t, "\n  peak allocated %s, reserved %s\n", mp_size_text(a, p->timeline->peak.allocated), mp_size_text(a, p->timeline->peak.reserved));
  mp_text_add(a, &t, "  extra compute %.2f %% of forward and backward; no plan of this granularity needs less than %.2f %%\n", 100 * p->overhead, 100 * p->bound);
  mp_text_add(a, &t, "  %u plans were built and replayed%s\n", p->tried, p->stopped ? "; stopped early" : "");
  uint32_t n;
  const char *const *notes = mp_placement_notes(a, j->x->trace, &p->plan, &n);
  for (uint32_t i = 0; i < n; i++) mp_text_add(a, &t, "  note: %s\n", notes[i]);
  mp_answer x = planned(a, j);
  for (uint32_t i = 0; i < x.question->device_count; i++)
    mp_text_add(a, &t, "  %s: needs %s of %s: %s\n", x.verdicts[i].device->name, mp_size_text(a, x.verdicts[i].needed), mp_size_text(a, x.verdicts[i].usable),
                mp_fits_name(x.verdicts[i].fits));
  return t.at;
}

const char *mp_report_plan_text(mp_arena *a, const mp_answer *x, const mp_placement *p, const mp_search *ask, mp_err *err) {
  if (!x || !p) return NULL;
  job j = {x, p, ask};
  return mp_protect(a, err, text, &j);
}

static const void *json(mp_arena *a, void *arg) {
  const job *j = arg;
  mp_err err;
  mp_answer x = planned(a, j);
  const mp_answer *one = &x;
  const char *fit = mp_report_fit_json(a, &one, 1, NULL, 0, &err), *plan = fit ? mp_plan_write(a, j->x, j->p, j->ask->granularity, j->ask->budget, &err) : NULL;
  if (!plan) mp_fail(a, err.code, "%s", err.text);
  json_t *root = json_loads(fit, 0, NULL), *object = json_loads(plan, 0, NULL);
  if (root && object) {
    json_object_set_new(root, j->p->feasible ? "plan" : "nearest", object);
    json_object_set_new(root, "feasible", json_boolean(j->p->feasible));
    json_object_set_new(root, "overhead", json_real(j->p->overhead));
    json_object_set_new(root, "bound", json_real(j->p->bound));
    json_object_set_new(root, "budget", json_integer((json_int_t)j->ask->budget));
    json_object_set_new(root, "granularity", json_string(mp_granularity_name(j->ask->granularity)));
  }
  char *out = root && object ? json_dumps(root, JSON_INDENT(1)) : NULL;
  json_decref(root);
  if (!out) mp_fail(a, MP_INTERNAL, "out of memory while writing JSON");
  char *copy = mp_strdup(a, out);
  free(out);
  return copy;
}

const char *mp_report_plan_json(mp_arena *a, const mp_answer *x, const mp_placement *p, const mp_search *ask, mp_err *err) {
  if (!x || !p) return NULL;
  job j = {x, p, ask};
  return mp_protect(a, err, json, &j);
}
