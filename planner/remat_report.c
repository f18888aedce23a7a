/* A rematerialization result as text, JSON, or one row of a table. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "planner/remat.h"

typedef struct report_job {
  const mp_remat *in;
  const mp_remat_result *r;
} report_job;

static double percent(double cost, double base) { return base > 0 ? (cost / base - 1) * 100 : 0; }

static const char *bytes(mp_arena *a, uint64_t n) {
  static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double x = (double)n;
  size_t k = 0;
  while (x >= 1024 && k + 1 < sizeof unit / sizeof *unit) x /= 1024, k++;
  return k ? mp_format(a, "%.2f %s (%llu bytes)", x, unit[k], (unsigned long long)n) : mp_format(a, "%llu bytes", (unsigned long long)n);
}

static const void *text(mp_arena *a, void *arg) {
  const report_job *j = arg;
  const mp_remat_result *r = j->r;
  mp_text t = {0};
  double base = (double)r->base_peak;
  mp_text_add(a, &t, "%s: %u nodes, cost %.10g, peak %s without recomputation\n", j->in->name ? j->in->name : "instance", j->in->n, r->base_cost,
              bytes(a, r->base_peak));
  mp_text_add(a, &t, "budget    %s, %.1f %% of that peak\n", bytes(a, r->budget), base > 0 ? 100 * (double)r->budget / base : 100);
  if (!r->feasible) {
    mp_text_add(a, &t, "%s\n", r->why);
    return t.at;
  }
  size_t computed = 0;
  for (size_t i = 0; i < r->n_steps; i++) computed += r->steps[i].act == MP_REMAT_COMPUTE;
  mp_text_add(a, &t, "cost      %.10g, %.4f %% over no recomputation (%zu nodes computed again)\n", r->cost, percent(r->cost, r->base_cost),
              computed - j->in->n);
  mp_text_add(a, &t, "peak      %s\n", bytes(a, r->peak));
  mp_text_add(a, &t, "bound     %.10g, %.4f %%: no schedule within the budget costs less\n", r->bound, percent(r->bound, r->base_cost));
  if (r->optimal)
    mp_text_add(a, &t, "gap       0: this cost is the least possible\n");
  else
    mp_text_add(a, &t, "gap       %.4f %% of the cost at most\n", percent(r->cost, r->bound));
  return t.at;
}

static json_t *schedule(const mp_remat_result *r) {
  json_t *steps = json_array();
  for (size_t i = 0; steps && i < r->n_steps; i++) {
    json_t *step = json_array();
    if (json_array_append_new(step, json_string(r->steps[i].act == MP_REMAT_FREE ? "free" : "compute")) ||
        json_array_append_new(step, json_integer(r->steps[i].node)) || json_array_append_new(steps, step)) {
      json_decref(step);
      json_decref(steps);
      return NULL;
    }
  }
  return steps;
}

static const void *json(mp_arena *a, void *arg) {
  const report_job *j = arg;
  const mp_remat_result *r = j->r;
  json_t *o = json_object();
  int bad = 0;
#define SET(name, value) bad |= json_object_set_new(o, name, value)
  if (j->in->name && json_object_set_new(o, "instance", json_string(j->in->name))) /* a name that is not UTF-8 is left out */
    json_object_del(o, "instance");
  SET("feasible", json_boolean(r->feasible));
  SET("budget", json_integer((json_int_t)r->budget));
  SET("base_cost", json_real(r->base_cost));
  SET("base_peak", json_integer((json_int_t)r->base_peak));
  SET("least_peak", json_integer((json_int_t)r->least));
  SET("bound", json_real(r->bound));
  if (r->feasible) {
    SET("cost", json_real(r->cost));
    SET("peak", json_integer((json_int_t)r->peak));
    SET("optimal", json_boolean(r->optimal));
    SET("schedule", schedule(r));
  } else {
    SET("impossible", json_boolean(r->impossible));
    SET("why", json_string(r->why));
  }
#undef SET
  char *dump = bad ? NULL : json_dumps(o, JSON_COMPACT);
  json_decref(o);
  const char *copy = NULL;
  if (dump) {
    size_t n = strlen(dump);
    char *to = mp_alloc(a, n + 1);
    copy = memcpy(to, dump, n + 1);
    free(dump);
  }
  if (!copy) mp_fail(a, MP_INTERNAL, "out of memory while writing JSON");
  return copy;
}

const char *mp_remat_text(mp_arena *a, const mp_remat *in, const mp_remat_result *r, mp_err *err) {
  report_job j = {in, r};
  return in && r ? mp_protect(a, err, text, &j) : NULL;
}

const char *mp_remat_json(mp_arena *a, const mp_remat *in, const mp_remat_result *r, mp_err *err) {
  report_job j = {in, r};
  return in && r ? mp_protect(a, err, json, &j) : NULL;
}
