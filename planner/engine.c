/* Autograd's engine: runs a graph of nodes backward and drops what they saved.
 *
 * Source: torch/csrc/autograd/engine.cpp (evaluate_function, call_function, validate_outputs), input_buffer.cpp (accumulate),
 * functions/accumulate_grad.h (accumulateGrad). The order of events within one node, which decides the peak:
 * its backward runs while gradients and saved tensors are alive; gradients that were broadcast are reduced and cast; the incoming gradients go; the saved tensors go (those that
 * were computed again before the casts: torch/utils/checkpoint.py, unpack_hook, keeps nothing of what it hands out); then the results are added to the buffers of the next nodes. */
#include <assert.h>
#include <string.h>

#include "planner/checkpointing.h"
#include "planner/em.h"

const mp_grad mp_grad_accumulate = {"AccumulateGrad", NULL};

typedef struct engine {
  mp_em *e;
  mp_ten **buffer;   /* of each node: its gradients so far, one for each output; NULL before the first */
  int32_t *waits;    /* of each node: gradients still to come */
  MP_VEC(int32_t) heap;
  uint64_t *order;   /* heap key of each node */
  mp_ten *param_grad;
  mp_checkpoint_state *ck;
} engine;

/* ---- the queue: the youngest node first; AccumulateGrad at once ---- */

static bool before(const engine *g, int32_t a, int32_t b) { return g->order[a] > g->order[b]; }

static void push(engine *g, int32_t fn) {
  size_t i = g->heap.n;
  *mp_push(g->e->a, &g->heap) = fn;
  for (; i && before(g, fn, g->heap.at[(i - 1) / 2]); i = (i - 1) / 2) g->heap.at[i] = g->heap.at[(i - 1) / 2];
  g->heap.at[i] = fn;
}

static int32_t pop(engine *g) {
  int32_t top = g->heap.at[0], last = g->heap.at[--g->heap.n];
  size_t n = g->heap.n, i = 0;
  while (2 * i + 1 < n) {
    size_t c = 2 * i + 1;
    if (c + 1 < n && before(g, g->heap.at[c + 1], g->heap.at[c])) c++;
    if (!before(g, g->heap.at[c], last)) break;
    g->heap.at[i] = g->heap.at[c];
    i = c;
  }
  if (n) g->heap.at[i] = last;
  return top;
}

/* how many gradients each node that the roots depend on will get */
static void count_waits(engine *g, const mp_ten *roots, uint32_t n) {
  mp_em *e = g->e;
  MP_VEC(int32_t) todo = {0};
  uint8_t *seen = mp_alloc(e->a, e->fns.n);
  for (uint32_t i = 0; i < n; i++) {
    int32_t fn = e->tens.at[roots[i]].fn;
    g->waits[fn]++; /* the root's own gradient */
    if (seen[fn]) continue;
    seen[fn] = 1;
    *mp_push(e->a, &todo) = fn;
  }
  while (todo.n) {
    const mp_fn *f = &e->fns.at[todo.at[--todo.n]];
    for (uint32_t i = 0; i < f->edge_count; i++) {
      int32_t next = f->edges[i].fn;
      if (next < 0) continue;
      g->waits[next]++;
      if (seen[next]) continue;
      seen[next] = 1;
      *mp_push(e->a, &todo) = next;
    }
  }
}

/* ---- gradients meet ---- */

/* input_buffer.cpp, can_accumulate_inplace */
static bool adds_in_place(const mp_em *e, mp_ten old, mp_ten fresh) {
  const mp_tensor_info *o = &e->tens.at[old], *f = &e->tens.at[fresh];
  if (o->is_view || e->holds.at[old] != 1 || e->live->refs.at[o->storage] != 1 || !mp_is_dense(o) || o->dtype != f->dtype || o->rank != f->rank) return false;
  return memcmp(o->dims, f->dims, (size_t)o->rank * sizeof *o->dims) == 0;
}

/* takes over the caller's hold on grad */
static void add_gradient(engine *g, mp_edge to, mp_ten grad) {
  mp_em *e = g->e;
  const mp_fn *f = &e->fns.at[to.fn];
  if (!g->buffer[to.fn]) {
    g->buffer[to.fn] = mp_alloc_array(e->a, (size_t)f->out_count + 1, sizeof(mp_ten));
    for (uint32_t i = 0; i < f->out_count; i++) g->buffer[to.fn][i] = -1;
  }
  mp_ten *slot = &g->buffer[to.fn][to.out];
  if (grad < 0) return;
  if (*slot < 0) {
    *slot = grad;
    return;
  }
  mp_ten old = *slot;
  if (adds_in_place(e, old, grad)) {
    mp_em_release(e, grad);
    return;
  }
  size_t scope = mp_em_enter(e);
  mp_ten sum = mp_op_add(e, old, grad);
  mp_em_hold(e, sum);
  mp_em_leave(e, scope, NULL, 0);
  *slot = sum;
  mp_em_release(e, old);
  mp_em_release(e, grad);
}

/* accumulate_grad.h: the first gradient is taken without a copy if nobody else holds it and its strides are the parameter's */
static bool keeps_layout(const mp_tensor_info *p, const mp_tensor_info *g) {
  if (!mp_is_dense(p)) return mp_is_contiguous(g);
  if (g->rank != p->rank) return false;
  for (int i = 0; i < p->rank; i++)
    if (p->dims[i] != 1 && p->strides[i] != g->strides[i]) return false;
  return true;
}

static void accumulate(engine *g, const mp_fn *f, mp_ten grad) {
  mp_em *e = g->e;
  mp_ten *mine = &g->param_grad[f->param];
  if (grad < 0) return;
  if (*mine >= 0) { /* grad += new */
    mp_em_release(e, grad);
    return;
  }
  if (e->holds.at[grad] == 1 && keeps_layout(&e->tens.at[f->param], &e->tens.at[grad])) {
    *mine = grad;
  } else {
    size_t scope = mp_em_enter(e);
    mp_tensor_info p = e->tens.at[f->param];
    *mine = mp_is_dense(&p) ? mp_em_new_strided(e, "aten::clone", e->tens.at[grad].dtype, p.rank, p.dims, p.strides) : mp_em_new(e, "aten::clone", e->tens.at[grad].dtype, p.rank, p.dims);
    mp_em_hold(e, *mine);
    mp_em_leave(e, scope, NULL, 0);
    mp_em_release(e, grad);
  }
  mp_live_become(e, e->tens.at[*mine].storage, MP_CAT_GRADIENT);
}

static void deliver(engine *g, mp_edge to, mp_ten grad) {
  add_gradient(g, to, grad);
  if (--g->waits[to.fn] == 0) push(g, to.fn);
}

/* ---- one node ---- */

/* validate_outputs: the gradient gets the shape, then the dtype, of the forward's input; what it was before goes at once. `grad` is held by the caller. */
static void replace(mp_em *e, mp_ten *grad, mp_ten by) {
  if (by == *grad) return;
  mp_em_hold(e, by);
  mp_em_release(e, *grad);
  *grad = by;
}
static void validate(mp_em *e, mp_ten *grad, mp_ten input) {
  mp_tensor_info want = e->tens.at[input];
  size_t scope = mp_em_enter(e);
  replace(e, grad, mp_op_sum_to(e, *grad, want.rank, want.dims));
  mp_em_leave(e, scope, NULL, 0);
  replace(e, grad, mp_op_to(e, *grad, want.dtype));
  mp_em_leave(e, scope, NULL, 0);
}

static void let_go(mp_em *e, const mp_fn *f) {
  for (uint32_t i = 0; i < f->saved_count; i++) mp_em_release(e, f->saved[i]);
}

static void run_node(engine *g, int32_t fn) {
  mp_em *e = g->e;
  mp_fn f = e->fns.at[fn];
  e->call = f.call;
  mp_ten *grads = g->buffer[fn];
  if (f.row == &mp_grad_accumulate) {
    accumulate(g, &f, grads[0]);
    return;
  }
  bool any = false;
  for (uint32_t i = 0; i < f.out_count; i++) any = any || grads[i] >= 0;
  if (g->ck && any) {
    mp_checkpoint_before(e, g->ck, fn);
    f = e->fns.at[fn];
    e->call = f.call;
  }
  mp_bw b = {e, fn, grads, mp_alloc_array(e->a, (size_t)f.edge_count + 1, sizeof(mp_ten))};
  for (uint32_t i = 0; i < f.edge_count; i++) b.given[i] = -1;
  size_t scope = mp_em_enter(e);
  if (any) f.row->backward(e, &b);
  mp_em_leave(e, scope, NULL, 0); /* the function returns: its temporaries go */
  bool again = g->ck && mp_checkpoint_region(g->ck, f.call) >= 0;
  if (again && mp_checkpoint_keeps(g->ck, fn)) let_go(e, &f); /* what was computed again is the function's alone, once it has unpacked it */
  for (uint32_t i = 0; i < f.edge_count; i++)
    if (b.given[i] >= 0) validate(e, &b.given[i], f.in_meta[i]);
  for (uint32_t i = 0; i < f.out_count; i++) mp_em_release(e, grads[i]);
  if (!again) let_go(e, &f);
  if (g->ck) mp_checkpoint_after(e, g->ck, fn);
  for (uint32_t i = 0; i < f.edge_count; i++) {
    mp_edge to = f.edges[i];
    if (to.fn < 0) continue;
    deliver(g, to, b.given[i]);
  }
}

void mp_engine_backward(mp_em *e, const mp_ten *roots, const mp_ten *grads, uint32_t n, mp_ten *param_grad, mp_checkpoint_state *ck) {
  engine g = {.e = e, .param_grad = param_grad, .ck = ck};
  g.buffer = mp_alloc_array(e->a, e->fns.n, sizeof *g.buffer);
  g.waits = mp_alloc_array(e->a, e->fns.n, sizeof *g.waits);
  g.order = mp_alloc_array(e->a, e->fns.n, sizeof *g.order);
  for (size_t i = 0; i < e->fns.n; i++) g.order[i] = e->fns.at[i].row == &mp_grad_accumulate ? UINT64_MAX : i;
  count_waits(&g, roots, n);
  e->grad = false;
  for (uint32_t i = 0; i < n; i++) deliver(&g, (mp_edge){e->tens.at[roots[i]].fn, e->tens.at[roots[i]].fn_out}, grads[i]);
  while (g.heap.n) run_node(&g, pop(&g));
  e->call = -1;
}
