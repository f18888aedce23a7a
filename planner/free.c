/* Granularity free: any schedule, as a compiler could run it. The training step becomes a rematerialization instance (planner/remat.h) and the solver's schedule is replayed by
 * the rules alone.
 *
 * A forward call is a node with the bytes of what it makes and somebody keeps or reads; its backward is a node with the bytes of the gradients that it hands on, whose inputs are what
 * the call saved and the backward nodes of the calls that read its results. Parameters, buffers, inputs, gradients of parameters and optimizer state are there all the time
 * and are taken off the budget. */
#include <string.h>

#include "planner/inside.h"
#include "planner/remat.h"

typedef MP_VEC(uint32_t) list;

typedef struct job {
  const mp_trace *t;
  const mp_timeline *line;
  uint64_t budget;
  const mp_search *ask;
} job;

static void add_once(mp_arena *a, list *l, uint32_t x) {
  for (size_t i = 0; i < l->n; i++)
    if (l->at[i] == x) return;
  *mp_push(a, l) = x;
}

typedef struct steps { /* of every call: its bytes, what it reads, what it saved */
  uint64_t *out, *grads;
  list *reads, *saved, *readers;
  bool *has_backward;
} steps;

static steps look(mp_arena *a, const mp_trace *t) {
  const mp_program *p = t->program;
  uint32_t n = p->call_count;
  steps s = {mp_alloc_array(a, n + 1, sizeof(uint64_t)), mp_alloc_array(a, n + 1, sizeof(uint64_t)), mp_alloc_array(a, n + 1, sizeof(list)),
             mp_alloc_array(a, n + 1, sizeof(list)), mp_alloc_array(a, n + 1, sizeof(list)), mp_alloc_array(a, n + 1, sizeof(bool))};
  bool *kept = mp_alloc(a, t->storage_count + 1);
  for (uint32_t v = 0; v < p->var_count; v++)
    if (p->vars[v].role == MP_ROLE_RESULT && t->var_tensor[v] >= 0) kept[t->tensors[t->var_tensor[v]].storage] = true;
  for (uint32_t f = 0; f < t->fn_count; f++) {
    const mp_fn *fn = &t->fns[f];
    if (fn->call < 0) continue;
    s.has_backward[fn->call] = true;
    for (uint32_t k = 0; k < fn->saved_count; k++) {
      if (fn->saved[k] < 0) continue;
      int32_t st = t->tensors[fn->saved[k]].storage;
      if (t->storages[st].category != MP_CAT_ACTIVATION || t->storages[st].call < 0) continue;
      kept[st] = true;
      add_once(a, &s.saved[fn->call], (uint32_t)t->storages[st].call);
    }
  }
  for (uint32_t i = 0; i < t->storage_count; i++)
    if (kept[i] && t->storages[i].call >= 0) s.out[t->storages[i].call] += (t->storages[i].bytes + 511) / 512 * 512;
  for (uint32_t c = 0; c < n; c++)
    for (uint32_t i = 0; i < p->calls[c].arg_count; i++) {
      const mp_arg *x = &p->calls[c].args[i];
      for (uint32_t k = 0; k < (x->kind == MP_ARG_VAR ? 1 : x->kind == MP_ARG_VARS ? x->n : 0); k++) {
        int32_t v = x->kind == MP_ARG_VAR ? x->as.var : x->as.vars[k];
        if (v < 0 || t->var_tensor[v] < 0) continue;
        const mp_tensor_info *info = &t->tensors[t->var_tensor[v]];
        int32_t maker = t->storages[info->storage].call; /* a view is made where its storage is */
        if (maker < 0 || maker >= (int32_t)c) continue;
        add_once(a, &s.reads[c], (uint32_t)maker);
        if (p->vars[v].call >= 0) add_once(a, &s.readers[p->vars[v].call], c);
        if (info->requires_grad && s.has_backward[c]) s.grads[c] += (mp_numel(info) * mp_dtype_bits(info->dtype) / 8 + 511) / 512 * 512;
      }
    }
  return s;
}

static const mp_remat *instance(mp_arena *a, const mp_trace *t) {
  const mp_program *p = t->program;
  uint32_t n = p->call_count, m = n;
  steps s = look(a, t);
  uint32_t *back = mp_alloc_array(a, n + 1, sizeof *back);
  mp_remat_node *nodes = mp_alloc_array(a, (size_t)n * 2 + 1, sizeof *nodes);
  for (uint32_t c = 0; c < n; c++)
    nodes[c] = (mp_remat_node){.name = p->calls[c].row->name, .cost = (double)p->calls[c].flops, .bytes = s.out[c], .inputs = s.reads[c].at, .n_inputs = (uint32_t)s.reads[c].n};
  for (uint32_t c = n; c-- > 0;) {
    if (!s.has_backward[c]) continue;
    list in = s.saved[c];
    for (size_t k = 0; k < s.readers[c].n; k++)
      if (back[s.readers[c].at[k]]) add_once(a, &in, back[s.readers[c].at[k]]);
    back[c] = m;
    nodes[m++] = (mp_remat_node){.name = p->calls[c].row->name, .cost = 2 * (double)p->calls[c].flops, .bytes = s.grads[c], .backward = true, .inputs = in.at, .n_inputs = (uint32_t)in.n};
  }
  mp_remat *r = mp_alloc(a, sizeof *r);
  *r = (mp_remat){.name = p->path, .n = m, .nodes = nodes};
  return r;
}

static const void *make(mp_arena *a, void *arg) {
  const job *j = arg;
  const mp_timeline *l = j->line;
  mp_free_plan *r = mp_alloc(a, sizeof *r);
  r->constant = l->parameter_bytes + l->buffer_bytes + l->input_bytes + l->gradient_bytes + l->optimizer_bytes;
  const mp_remat *in = instance(a, j->t);
  mp_err err;
  const mp_remat_options opt = {.time_limit = j->ask->time_limit, .interrupt = j->ask->interrupt};
  const mp_remat_result *s = mp_remat_solve(a, in, j->budget > r->constant ? j->budget - r->constant : 0, &opt, &err);
  if (!s) mp_fail(a, err.code, "%s", err.text);
  r->nodes = in->n;
  r->feasible = s->feasible;
  r->base_peak = s->base_peak + r->constant;
  r->why = s->why;
  r->bound = s->base_cost > 0 ? s->bound / s->base_cost - 1 : 0;
  if (!s->feasible) return r;
  r->peak = s->peak + r->constant;
  r->overhead = s->base_cost > 0 ? s->cost / s->base_cost - 1 : 0;
  const mp_remat_replayed *check = mp_remat_replay(a, in, s->steps, s->n_steps, &err);
  if (!check || check->peak != s->peak) mp_fail(a, MP_INTERNAL, "the schedule does not replay: %s", check ? "another peak" : err.text);
  r->steps = (uint32_t)s->n_steps;
  return r;
}

const mp_free_plan *mp_free_plan_make(mp_arena *a, const mp_answer *x, uint64_t budget, const mp_search *ask, mp_err *err) {
  if (!x) return NULL;
  job j = {x->trace, x->timeline, budget, ask};
  return mp_protect(a, err, make, &j);
}
