/* The whole chain for one question. */
#include "planner/inside.h"

typedef struct job {
  const mp_question *q;
  const mp_model *model;
} job;

static const void *or_fail(mp_arena *a, const void *stage, const mp_err *err) {
  if (!stage) mp_fail(a, err->code, "%s", err->text);
  return stage;
}

static bool gives_back(mp_arena *a, const mp_answer *x, const mp_verdict *v) {
  const mp_peak *p = &x->timeline->peak;
  if (v->fits != MP_FITS_NOT || (uint64_t)-v->spare >= p->reserved) return false;
  uint64_t limit = p->reserved - (uint64_t)-v->spare;
  return p->allocated <= limit && mp_allocator_runs_in(a, x->tape, x->question->run->expandable_segments, limit);
}

static const void *make(mp_arena *a, void *arg) {
  job *j = arg;
  const mp_question *q = j->q;
  mp_err err;
  const mp_graph_options o = {.bindings = q->bindings, .binding_count = q->binding_count};
  mp_answer *x = mp_alloc(a, sizeof *x);
  x->question = q;
  x->graph = or_fail(a, mp_graph_build(a, j->model, &o, &err), &err);
  const mp_program *found = or_fail(a, mp_program_recover(a, x->graph, &err), &err);
  x->program = or_fail(a, mp_program_edit(a, found, q->run, &err), &err);
  x->trace = or_fail(a, mp_trace_make(a, x->program, q->run, &err), &err);
  const mp_plan *plan = q->plan;
  if (q->plan_file) plan = or_fail(a, mp_plan_bind(a, or_fail(a, mp_plan_read(a, q->plan_file, &err), &err), x->trace, &err), &err);
  x->tape = or_fail(a, mp_tape_make(a, x->trace, q->run, plan, &err), &err);
  x->timeline = or_fail(a, mp_timeline_make(a, x->tape, &err), &err);
  mp_verdict *v = mp_alloc_array(a, q->device_count + 1, sizeof *v);
  for (uint32_t i = 0; i < q->device_count; i++) {
    v[i] = mp_verdict_make(x->timeline, q->devices[i], &q->workspaces);
    v[i].gives_back = gives_back(a, x, &v[i]);
  }
  x->verdicts = v;
  return x;
}

const mp_answer *mp_answer_make(mp_arena *a, const mp_question *q, mp_err *err) {
  job j = {q, mp_model_read(a, q->path, err)};
  if (!j.model) return NULL;
  const mp_answer *r = mp_protect(a, err, make, &j);
  mp_model_close(j.model);
  return r;
}
