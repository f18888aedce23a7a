/* trace + plan -> tape: what one device does in three iterations of the training loop.
 *
 * The loop is CONTRACT's: zero_grad in one of its places, for each micro-batch inputs (the last batch is still held while the new one is made), forward, backward; then the
 * optimizer's step. The first iteration differs from the second by the optimizer's state; the third is the steady one. Micro-batches after the second are alike, so
 * the first, the second and the last are built. */
#include <assert.h>
#include <string.h>

#include "planner/checkpointing.h"
#include "planner/optimizer.h"

typedef struct held { /* a storage instance that outlives its number: last batch, last loss */
  int32_t id;
  uint8_t category;
  uint64_t bytes;
} held;

typedef MP_VEC(held) held_list;

typedef struct loop {
  mp_em *e;
  const mp_trace *t;
  const mp_run *run;
  mp_checkpoint_state *ck;
  mp_opt_state *opt;
  mp_ten *grads;         /* of each tensor that is a parameter */
  mp_ten *params;        /* trainable */
  uint32_t param_count;
  held_list old_batch, old_loss, others;
  uint32_t in_flight;    /* micro-batches that wait for their backward */
  MP_VEC(mp_saved) saved;
  uint64_t gradient_bytes, recompute_flops;
  bool whole;            /* every micro-batch is built */
  bool scaled;           /* a loss was, once */
} loop;

static void set_aside(loop *l, mp_ten t, held_list *list) {
  mp_live *v = l->e->live;
  int32_t s = l->e->tens.at[t].storage;
  if (v->id.n <= (size_t)s) return;
  if (v->id.at[s] >= 0) *mp_push(l->e->a, list) = (held){v->id.at[s], v->category.at[s], l->e->stor.at[s].bytes}; /* an empty one has none */
  v->id.at[s] = -1;
  v->refs.at[s] = 0;
  l->e->holds.at[t] = 0;
}

static void let_go(loop *l, held_list *list) {
  for (size_t i = 0; i < list->n; i++) mp_live_step(l->e, MP_FREE, list->at[i].id, list->at[i].category, list->at[i].bytes, "");
  list->n = 0;
}

/* ---- replaying the trace ---- */

static void perform(loop *l, const mp_event *ev) {
  mp_em *e = l->e;
  switch (ev->kind) {
    case MP_EV_CALL: {
      e->call = ev->a;
      int32_t r = mp_checkpoint_region(l->ck, ev->a);
      if (r >= 0) mp_checkpoint_enter(e, l->ck, r);
      break;
    }
    case MP_EV_TENSOR:
      e->holds.at[ev->a] = 1;
      mp_live_event(e, MP_EV_TENSOR, ev->a, 0);
      mp_checkpoint_made(e, l->ck, ev->a);
      break;
    case MP_EV_DROP: mp_em_release(e, ev->a); break;
    case MP_EV_FN: {
      if (mp_checkpoint_region(l->ck, l->t->fns[ev->a].call) >= 0) break;
      mp_fn *f = &e->fns.at[ev->a];
      for (uint32_t s = 0; s < f->saved_count; s++) {
        f->saved[s] = l->t->fns[ev->a].saved[s];
        if (f->saved[s] < 0) continue;
        mp_em_hold(e, f->saved[s]);
        int32_t storage = e->tens.at[f->saved[s]].storage;
        if (e->live->category.at[storage] == MP_CAT_ACTIVATION) mp_live_become(e, storage, MP_CAT_SAVED);
      }
      break;
    }
    case MP_EV_GONE: {
      const mp_fn *f = &l->t->fns[ev->a];
      if (mp_checkpoint_region(l->ck, f->call) >= 0) mp_checkpoint_after(e, l->ck, ev->a);
      for (uint32_t s = 0; s < f->saved_count && mp_checkpoint_region(l->ck, f->call) < 0; s++) mp_em_release(e, f->saved[s]);
      break;
    }
    case MP_EV_MARK: break;
    default: mp_live_event(e, (mp_event_kind)ev->kind, ev->a, ev->b);
  }
}

static void replay(loop *l, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++) perform(l, &l->t->events[i]);
  l->e->call = -1;
}

/* ---- what is saved ---- */

static const char *what_name(uint8_t w) {
  static const char *const names[] = {[MP_WHAT_RESULT] = "result", [MP_WHAT_INPUT] = "input", [MP_WHAT_MASK] = "mask", [MP_WHAT_STATISTICS] = "statistics",
                                      [MP_WHAT_COPY] = "copy", [MP_WHAT_INDICES] = "indices"};
  return names[w];
}

static void list_storage(loop *l, mp_ten t, uint8_t *seen) {
  mp_em *e = l->e;
  int32_t s = e->tens.at[t].storage;
  const mp_storage *st = &e->stor.at[s];
  if (seen[s] || st->category == MP_CAT_PARAMETER || st->category == MP_CAT_BUFFER || !st->bytes) return;
  seen[s] = 1;
  const mp_program *p = l->t->program;
  const mp_tensor_info *info = &l->t->tensors[t];
  *mp_push(e->a, &l->saved) = (mp_saved){.call = st->op, .module = st->call >= 0 ? p->instances[p->calls[st->call].module].path : "", .what = what_name(st->what),
                                         .dtype = mp_dtype_name(info->dtype), .rank = info->rank, .dims = info->dims, .bytes = st->bytes};
}

/* Every storage that autograd keeps at the end of the forward pass; of recomputed regions their inputs (torch.utils.checkpoint saves them). */
static void list_saved(loop *l) {
  uint8_t *seen = mp_alloc(l->e->a, l->t->storage_count + 1);
  l->saved.n = 0;
  for (uint32_t f = 0; f < l->t->fn_count; f++) {
    const mp_fn *fn = &l->t->fns[f];
    if (fn->dead || mp_checkpoint_region(l->ck, fn->call) >= 0) continue;
    for (uint32_t s = 0; s < fn->saved_count; s++)
      if (fn->saved[s] >= 0) list_storage(l, fn->saved[s], seen);
  }
  const mp_ten *inputs;
  for (uint32_t r = 0; mp_checkpoint_inputs(l->ck, r, &inputs) != UINT32_MAX; r++)
    for (uint32_t k = 0, n = mp_checkpoint_inputs(l->ck, r, &inputs); k < n; k++) list_storage(l, inputs[k], seen);
}

/* ---- the loop ---- */

static void zero_grad(loop *l) {
  for (uint32_t i = 0; i < l->param_count; i++) {
    mp_ten *g = &l->grads[l->params[i]];
    if (*g < 0) continue;
    mp_em_release(l->e, *g);
    *g = -1;
  }
}

static void phase(loop *l, mp_phase p) {
  l->e->live->phase = (uint8_t)p;
  mp_live_step(l->e, MP_PHASE, -1, MP_CAT_ACTIVATION, 0, "");
}

static void forward(loop *l) {
  const mp_trace *t = l->t;
  phase(l, MP_FORWARD);
  for (uint32_t i = 0; i < t->program->input_count; i++) {
    mp_ten in = t->var_tensor[t->program->inputs[i]];
    if (in >= 0) set_aside(l, in, &l->old_batch);
  }
  replay(l, t->setup_events, t->input_events);
  let_go(l, &l->old_batch);
  if (t->loss >= 0) set_aside(l, t->loss, &l->old_loss);
  for (uint32_t i = 0; i < t->held_count; i++) set_aside(l, t->held[i], &l->old_loss);
  mp_checkpoint_forward(l->ck);
  replay(l, t->input_events, t->event_count);
  let_go(l, &l->old_loss);
}

/* One factor of the loss, its product kept for the pass or its gradient: the one before it goes. */
static mp_ten times(mp_em *e, mp_ten before, const char *op, mp_dtype dtype) {
  mp_ten next = mp_em_scalar(e, op, dtype);
  if (before >= 0) mp_em_drop(e, before);
  return next;
}

/* The gradient that the loss starts with: ones, divided once where micro-batches accumulate and multiplied where a GradScaler scales. It is the engine's; what backward() itself
   holds, the loss it is called on and the ones, belongs to the scope. */
static mp_ten loss_gradient(loop *l) {
  mp_em *e = l->e;
  mp_dtype dtype = e->tens.at[l->t->loss].dtype;
  const char *factors[2];
  int n = 0;
  if (l->run->accumulate > 1) factors[n++] = "aten::div";
  if (l->run->grad_scaler) factors[n++] = "aten::mul";
  if (l->run->grad_scaler && !l->scaled) mp_opt_scale(e);
  l->scaled = true;
  mp_ten called_on = -1;
  for (int i = 0; i < n; i++) called_on = times(e, called_on, factors[i], dtype);
  mp_ten root = mp_em_new_like(e, "aten::ones_like", l->t->loss), start = -1;
  while (n) start = times(e, start, factors[--n], dtype); /* DivBackward0's, MulBackward0's */
  if (start < 0) start = root;
  mp_em_hold(e, start);
  if (start != root) mp_em_drop(e, start);
  return start;
}

static void backward(loop *l) {
  mp_em *e = l->e;
  size_t scope = mp_em_enter(e);
  mp_ten *grads = mp_alloc_array(e->a, l->t->root_count, sizeof *grads);
  for (uint32_t i = 0; i < l->t->root_count; i++) {
    if (l->t->roots[i] == l->t->loss) {
      grads[i] = loss_gradient(l);
      continue;
    }
    grads[i] = mp_em_new_like(e, "recv", l->t->roots[i]); /* from the next stage */
    mp_em_hold(e, grads[i]);
  }
  mp_engine_backward(e, l->t->roots, grads, l->t->root_count, l->grads, l->ck);
  mp_em_leave(e, scope, NULL, 0);
  if (!l->t->program->is_stage) return;
  for (uint32_t i = 0; i < l->t->program->input_count; i++) { /* sent to the stage before */
    mp_ten in = l->t->var_tensor[l->t->program->inputs[i]];
    if (in < 0 || l->grads[in] < 0) continue;
    mp_em_release(e, l->grads[in]);
    l->grads[in] = -1;
  }
  for (uint32_t i = 0; i < l->t->program->output_count; i++) {
    mp_ten out = l->t->var_tensor[l->t->program->outputs[i]];
    if (out >= 0 && out != l->t->loss && e->holds.at[out]) mp_em_release(e, out);
  }
}

/* ---- 1F1B: a stage holds several micro-batches between their forward and their backward ---- */

/* What the others hold is what this one holds at the end of its forward pass. */
static void hold_others(loop *l, uint32_t first_id) {
  mp_live *v = l->e->live;
  for (uint32_t k = 1; k < l->in_flight; k++)
    for (size_t s = 0; s < v->id.n; s++) {
      if (v->id.at[s] < (int32_t)first_id || (s < l->t->storage_count && v->category.at[s] == MP_CAT_GRADIENT)) continue;
      *mp_push(l->e->a, &l->others) = (held){v->next_id, v->category.at[s], l->e->stor.at[s].bytes};
      mp_live_step(l->e, MP_ALLOC, v->next_id++, v->category.at[s], l->e->stor.at[s].bytes, "in flight");
    }
}

static void micro_batch(loop *l, uint32_t m, bool last_of_all) {
  uint32_t first_id = (uint32_t)l->e->live->next_id;
  forward(l);
  hold_others(l, first_id);
  phase(l, MP_BACKWARD);
  if (l->run->zero_grad == MP_ZERO_AFTER_FORWARD && m == 0) zero_grad(l);
  mp_live_step(l->e, MP_FORWARD_END, -1, MP_CAT_ACTIVATION, 0, "");
  if (last_of_all) list_saved(l);
  if (l->t->train) backward(l);
  let_go(l, &l->others);
}

/* torch.optim.swa_utils.AveragedModel, made before the loop: a copy of the whole module, its buffers and what is frozen included */
static void make_average(loop *l) {
  mp_em *e = l->e;
  const mp_program *p = l->t->program;
  size_t scope = mp_em_enter(e);
  mp_category was = e->born;
  e->born = MP_CAT_MASTER;
  for (uint32_t v = 0; v < p->var_count; v++) {
    mp_ten t = l->t->var_tensor[v];
    if ((p->vars[v].role == MP_ROLE_PARAMETER || p->vars[v].role == MP_ROLE_BUFFER) && p->vars[v].tied < 0 && t >= 0) mp_em_hold(e, mp_em_new_like(e, "aten::clone", t));
  }
  e->born = was;
  mp_em_leave(e, scope, NULL, 0);
}

static void step(loop *l) {
  size_t scope = mp_em_enter(l->e);
  if (l->run->grad_scaler) mp_opt_unscale(l->e);
  if (l->run->clip_grad) mp_opt_clip(l->e, l->params, l->param_count, l->grads);
  mp_opt_step(l->e, l->opt, l->grads);
  mp_em_leave(l->e, scope, NULL, 0); /* found_inf, with the scaler's update() */
}

static void iteration(loop *l, uint8_t n, bool last) {
  l->e->live->iteration = n;
  mp_live_step(l->e, MP_ITERATION, -1, MP_CAT_ACTIVATION, 0, "");
  if (l->run->zero_grad == MP_ZERO_START && l->opt) zero_grad(l);
  uint32_t k = l->run->infer ? 1 : l->run->accumulate, built = k > 3 && !l->whole ? 3 : k; /* inference is one pass */
  for (uint32_t m = 0; m < built; m++) micro_batch(l, m, last && m + 1 == built);
  l->gradient_bytes = 0;
  bool *seen = mp_alloc_array(l->e->a, l->e->stor.n, sizeof *seen); /* a recurrent layer's gradients are views of one storage */
  for (uint32_t i = 0; i < l->param_count; i++) {
    mp_ten g = l->grads[l->params[i]];
    if (g < 0 || seen[l->e->tens.at[g].storage]) continue;
    seen[l->e->tens.at[g].storage] = true;
    l->gradient_bytes += l->e->stor.at[l->e->tens.at[g].storage].bytes;
  }
  phase(l, MP_STEP);
  if (l->t->train) step(l);
  if (l->run->zero_grad == MP_ZERO_END && l->opt) zero_grad(l);
}

typedef struct job {
  const mp_trace *t;
  const mp_run *run;
  const mp_plan *plan;       /* NULL: the regions below */
  const mp_region *regions;
  uint32_t region_count;
  const int8_t *save_calls;
  bool whole;
  uint8_t rounds;            /* iterations */
} job;

static mp_em *performer(mp_arena *a, const mp_trace *t, const mp_run *run) {
  mp_em *e = mp_alloc(a, sizeof *e);
  e->a = a;
  e->run = run;
  e->p = t->program;
  e->call = -1;
  e->born = MP_CAT_ACTIVATION;
  e->live = mp_alloc(a, sizeof *e->live);
  for (uint32_t i = 0; i < t->tensor_count; i++) *mp_push(a, &e->tens) = t->tensors[i];
  for (uint32_t i = 0; i < t->tensor_count; i++) *mp_push(a, &e->holds) = 0;
  for (uint32_t i = 0; i < t->storage_count; i++) *mp_push(a, &e->stor) = t->storages[i];
  for (uint32_t i = 0; i < t->fn_count; i++) *mp_push(a, &e->fns) = t->fns[i];
  return e;
}

static void find_parameters(loop *l) {
  const mp_program *p = l->t->program;
  l->params = mp_alloc_array(l->e->a, p->var_count + 1, sizeof *l->params);
  l->grads = mp_alloc_array(l->e->a, l->t->tensor_count + 1, sizeof *l->grads);
  memset(l->grads, -1, (l->t->tensor_count + 1) * sizeof *l->grads);
  bool *listed = mp_alloc_array(l->e->a, l->t->tensor_count + 1, sizeof *listed); /* a tied one once, where its first name stands */
  for (uint32_t v = 0; v < p->var_count; v++) {
    mp_ten t = l->t->var_tensor[v];
    if (p->vars[v].role != MP_ROLE_PARAMETER || t < 0 || listed[t] || !l->t->tensors[t].requires_grad) continue;
    listed[t] = true;
    l->params[l->param_count++] = t;
  }
}

static const void *make(mp_arena *a, void *arg) {
  const job *j = arg;
  const mp_trace *t = j->t;
  loop l = {.e = performer(a, t, j->run), .t = t, .run = j->run, .whole = j->whole};
  const mp_region *regions = j->regions;
  uint32_t n = j->plan ? mp_plan_regions(a, t->program, j->plan, &regions) : j->region_count;
  if (t->train) l.ck = mp_checkpoint_new(a, t, regions, n, j->plan ? j->plan->save_calls : j->save_calls);
  find_parameters(&l);
  uint32_t behind = j->plan && j->plan->stages > 1 ? j->plan->stages - j->plan->stage : 1;
  l.in_flight = behind < j->run->accumulate ? behind : j->run->accumulate;
  phase(&l, MP_SETUP);
  replay(&l, 0, t->setup_events);
  if (t->train) l.opt = mp_opt_new(l.e, j->run->optimizer, j->run->precision == MP_BF16_MASTER, l.params, l.param_count);
  if (t->train && j->run->ema) make_average(&l);
  uint8_t rounds = j->run->infer ? 1 : j->rounds;
  for (uint8_t i = 0; i < rounds; i++) iteration(&l, i, i + 1 == rounds);
  mp_tape *tape = mp_alloc(a, sizeof *tape);
  *tape = (mp_tape){.trace = t, .run = j->run, .steps = l.e->live->steps.at, .step_count = (uint32_t)l.e->live->steps.n, .instance_count = (uint32_t)l.e->live->next_id,
                    .saved = l.saved.at, .saved_count = (uint32_t)l.saved.n, .gradient_bytes = l.gradient_bytes, .optimizer_bytes = mp_opt_bytes(l.opt),
                    .warnings = t->warnings, .warning_count = t->warning_count};
  tape->flops_recompute = mp_checkpoint_flops(l.ck) * j->run->accumulate;
  for (uint32_t i = 0; i < t->program->input_count; i++) {
    mp_ten in = t->var_tensor[t->program->inputs[i]];
    if (in >= 0) tape->input_bytes += t->storages[t->tensors[in].storage].bytes;
  }
  return tape;
}

const mp_tape *mp_tape_make(mp_arena *a, const mp_trace *t, const mp_run *run, const mp_plan *plan, mp_err *err) {
  if (!t || !run) return NULL;
  job j = {.t = t, .run = run, .plan = plan, .rounds = 3};
  return mp_protect(a, err, make, &j);
}

const mp_tape *mp_tape_make_whole(mp_arena *a, const mp_trace *t, const mp_run *run, const mp_plan *plan, mp_err *err) {
  if (!t || !run) return NULL;
  job j = {.t = t, .run = run, .plan = plan, .whole = true, .rounds = 3};
  return mp_protect(a, err, make, &j);
}

const mp_tape *mp_tape_make_short(mp_arena *a, const mp_trace *t, const mp_run *run, const mp_region *regions, uint32_t n, const int8_t *save_calls, mp_err *err) {
  if (!t || !run) return NULL;
  job j = {.t = t, .run = run, .regions = regions, .region_count = n, .save_calls = save_calls, .rounds = 2};
  return mp_protect(a, err, make, &j);
}
