/* Optimizers: a table, and one step function that reads it. */
#include "planner/optimizer.h"

#include <string.h>

static const mp_optimizer rows[] = {
    /* name          states  constr. dev.step temps kind              note */
    {"sgd",            0, false, false, 0, MP_OPT_FOREACH, "no state: _foreach_add_ in place"},
    {"sgd-momentum",   1, false, false, 0, MP_OPT_FOREACH, "momentum buffer, a clone of the first gradient"},
    {"adam",           2, false, false, 1, MP_OPT_FOREACH, "exp_avg, exp_avg_sq; exp_avg_sq_sqrt while it steps"},
    {"adamw",          2, false, false, 1, MP_OPT_FOREACH, "exp_avg, exp_avg_sq; exp_avg_sq_sqrt while it steps"},
    {"adamw-fused",    2, false, true, 0, MP_OPT_FOREACH, "one kernel; step lies on the device"},
    {"adamw-loop",     2, false, false, 0, MP_OPT_LOOP, "parameter by parameter: sqrt and its quotient, beside the quotient of the one before"},
    {"adagrad",        1, true, false, 2, MP_OPT_FOREACH, "sum, made by the constructor; std and numerator while it steps"},
    {"rmsprop",        1, false, false, 1, MP_OPT_FOREACH, "square_avg; avg while it steps"},
    {"adadelta",       2, false, false, 2, MP_OPT_FOREACH, "square_avg, acc_delta; std and deltas while it steps"},
    {"adafactor",      0, false, false, 0, MP_OPT_FACTORED, "row and column variances of matrices, the whole variance of vectors; the update while it steps"},
    {"adamw-8bit",     2, false, false, 0, MP_OPT_BLOCKWISE, "bitsandbytes: 8-bit state with an fp32 maximum a block of 256, two maps of 256 values; fp32 below 4,096 elements"},
    {"lion",           1, false, false, 1, MP_OPT_FOREACH, "exp_avg; the signed update while it steps"},
};

uint32_t mp_optimizer_count(void) { return sizeof rows / sizeof *rows; }
const char *mp_optimizer_name(uint32_t i) { return rows[i].name; }
const mp_optimizer *mp_optimizer_find(const char *name) {
  for (uint32_t i = 0; i < mp_optimizer_count(); i++)
    if (!strcmp(rows[i].name, name)) return &rows[i];
  return NULL;
}

struct mp_opt_state {
  const mp_optimizer *row;
  const mp_ten *params;
  mp_ten *stepped; /* what the optimizer was given: the parameters, or fp32 copies of them */
  uint32_t n;
  bool *made;
  bool master, mapped;
  uint64_t bytes;
};

static mp_ten keep(mp_em *e, mp_opt_state *o, mp_ten t) {
  mp_em_hold(e, t);
  o->bytes += e->stor.at[e->tens.at[t].storage].bytes;
  return t;
}

/* p's type and sizes, but 1 along `axis` (and along the last axis if `both`) */
static mp_ten reduced(mp_em *e, const char *op, mp_ten p, int axis, bool both) {
  mp_tensor_info i = e->tens.at[p];
  int64_t dims[MP_RANK];
  memcpy(dims, i.dims, sizeof dims);
  dims[axis] = 1;
  if (both) dims[i.rank - 1] = 1;
  return mp_em_new(e, op, i.dtype, i.rank, dims);
}

/* torch/optim/_adafactor.py, _init_group: row_var of shape (..., m, 1) and col_var of (..., 1, n) */
static void factored(mp_em *e, mp_opt_state *o, mp_ten p) {
  int rank = e->tens.at[p].rank;
  if (rank < 2) keep(e, o, mp_em_new_like(e, "aten::zeros_like", p));
  else
    for (int axis = rank - 1; axis >= rank - 2; axis--) keep(e, o, reduced(e, "aten::new_zeros", p, axis, false));
}

/* bitsandbytes/optim/optimizer.py, Optimizer2State.init_state: min_8bit_size 4096, blocks of 256; the maps that turn 8 bits into values are on the device once */
static void blockwise(mp_em *e, mp_opt_state *o, mp_ten p) {
  uint64_t n = mp_numel(&e->tens.at[p]);
  bool small = n < 4096;
  int64_t blocks = (int64_t)((n + 255) / 256), map = 256;
  for (int s = 0; s < o->row->states && !small && !o->mapped; s++) keep(e, o, mp_em_new(e, "aten::_to_copy", MP_FLOAT, 1, &map));
  o->mapped |= !small;
  for (int s = 0; s < o->row->states; s++) keep(e, o, mp_em_new_like_dtype(e, "aten::zeros_like", p, small ? MP_FLOAT : MP_UINT8));
  for (int s = 0; s < o->row->states && !small; s++) keep(e, o, mp_em_new(e, "aten::zeros", MP_FLOAT, 1, &blocks));
}

static void init(mp_em *e, mp_opt_state *o, uint32_t k) {
  if (o->made[k]) return;
  o->made[k] = true;
  size_t scope = mp_em_enter(e);
  mp_category was = e->born;
  e->born = MP_CAT_OPTIMIZER;
  if (o->row->device_step) keep(e, o, mp_em_scalar(e, "aten::zeros", MP_FLOAT));
  if (o->row->kind == MP_OPT_FACTORED) factored(e, o, o->stepped[k]);
  else if (o->row->kind == MP_OPT_BLOCKWISE) blockwise(e, o, o->stepped[k]);
  else
    for (int s = 0; s < o->row->states; s++) keep(e, o, mp_em_new_like(e, "aten::zeros_like", o->stepped[k]));
  e->born = was;
  mp_em_leave(e, scope, NULL, 0);
}

mp_opt_state *mp_opt_new(mp_em *e, const mp_optimizer *row, bool master, const mp_ten *params, uint32_t n) {
  if (!row) return NULL;
  mp_opt_state *o = mp_alloc(e->a, sizeof *o);
  *o = (mp_opt_state){.row = row, .params = params, .n = n, .master = master, .made = mp_alloc_array(e->a, n + 1, sizeof(bool)), .stepped = mp_alloc_array(e->a, n + 1, sizeof(mp_ten))};
  size_t scope = mp_em_enter(e);
  mp_category was = e->born;
  e->born = MP_CAT_MASTER;
  for (uint32_t k = 0; k < n; k++) {
    o->stepped[k] = master ? mp_em_new_like_dtype(e, "aten::_to_copy", params[k], MP_FLOAT) : params[k];
    if (master) mp_em_hold(e, o->stepped[k]);
  }
  e->born = was;
  mp_em_leave(e, scope, NULL, 0);
  for (uint32_t k = 0; row->at_construction && k < n; k++) init(e, o, k);
  return o;
}

/* what one group of tensors takes while it is stepped: the tensors with a gradient, as the optimizer sees them */
typedef struct group {
  mp_ten *at;
  uint32_t n;
} group;

static void foreach_step(mp_em *e, const mp_opt_state *o, group g) {
  for (int t = 0; t < o->row->temporaries; t++)
    for (uint32_t k = 0; k < g.n; k++) mp_em_new_like(e, "aten::_foreach_sqrt", g.at[k]);
}

/* torch/optim/adam.py, _single_tensor_adam: `denom` is held until the next one is made */
static void loop_step(mp_em *e, group g) {
  mp_ten before = -1;
  for (uint32_t k = 0; k < g.n; k++) {
    mp_ten root = mp_em_new_like(e, "aten::sqrt", g.at[k]), denom = mp_em_new_like(e, "aten::div", g.at[k]);
    mp_em_drop(e, root);
    if (before >= 0) mp_em_drop(e, before);
    before = denom;
  }
}

/* torch/optim/_adafactor.py, _multi_tensor_adafactor: matrices and vectors are two groups; `updates` of the first is held until the second has its own */
static void factored_step(mp_em *e, group g) {
  for (int from_end = 1; from_end <= 2; from_end++) { /* rows, columns */
    size_t scope = mp_em_enter(e);
    for (uint32_t k = 0; k < g.n; k++)
      if (e->tens.at[g.at[k]].rank > 1) reduced(e, "aten::linalg_vector_norm", g.at[k], e->tens.at[g.at[k]].rank - from_end, false);
    mp_em_leave(e, scope, NULL, 0);
  }
  for (uint32_t k = 0; k < g.n; k++)
    if (e->tens.at[g.at[k]].rank > 1) mp_em_new_like(e, "aten::matmul", g.at[k]);
  size_t scope = mp_em_enter(e);
  for (uint32_t k = 0; k < g.n; k++)
    if (e->tens.at[g.at[k]].rank > 1) reduced(e, "aten::mean", g.at[k], e->tens.at[g.at[k]].rank - 2, true);
  mp_em_leave(e, scope, NULL, 0);
  for (uint32_t k = 0; k < g.n; k++)
    if (e->tens.at[g.at[k]].rank < 2) mp_em_new_like(e, "aten::clone", g.at[k]);
}

void mp_opt_step(mp_em *e, mp_opt_state *o, const mp_ten *grads) {
  if (!o) return;
  group g = {.at = mp_alloc_array(e->a, o->n + 1, sizeof *g.at)};
  for (uint32_t k = 0; k < o->n; k++) {
    if (grads[o->params[k]] < 0) continue;
    init(e, o, k);
    g.at[g.n++] = o->stepped[k];
  }
  size_t scope = mp_em_enter(e);
  for (uint32_t k = 0; o->master && k < g.n; k++) mp_em_new_like(e, "aten::_to_copy", g.at[k]); /* the fp32 gradient that the master copy is stepped with */
  switch (o->row->kind) {
    case MP_OPT_FOREACH: foreach_step(e, o, g); break;
    case MP_OPT_LOOP: loop_step(e, g); break;
    case MP_OPT_FACTORED: factored_step(e, g); break;
    case MP_OPT_BLOCKWISE: break;
  }
  mp_em_leave(e, scope, NULL, 0);
}

/* ---- around the step ---- */

void mp_opt_scale(mp_em *e) {
  size_t scope = mp_em_enter(e);
  mp_category was = e->born;
  e->born = MP_CAT_OPTIMIZER;
  for (int i = 0; i < 2; i++) mp_em_hold(e, mp_em_scalar(e, "aten::full", i ? MP_INT32 : MP_FLOAT));
  e->born = was;
  mp_em_leave(e, scope, NULL, 0);
}

/* 1 / scale by way of fp64; found_inf and 1 / scale are copied for the device even where they lie on it */
void mp_opt_unscale(mp_em *e) {
  mp_ten wide = mp_em_scalar(e, "aten::_to_copy", MP_DOUBLE), inverse = mp_em_scalar(e, "aten::reciprocal", MP_DOUBLE);
  mp_em_drop(e, wide);
  mp_ten narrow = mp_em_scalar(e, "aten::_to_copy", MP_FLOAT);
  mp_em_drop(e, inverse);
  mp_ten found = mp_em_scalar(e, "aten::full", MP_FLOAT);
  mp_em_scalar(e, "aten::_to_copy", MP_FLOAT);
  mp_em_drop(e, mp_em_scalar(e, "aten::_to_copy", MP_FLOAT));
  mp_em_drop(e, narrow);
  mp_em_drop(e, found);
}

/* _get_total_norm: a norm of each gradient, their stack, the total. The coefficient that comes of it takes less, and the gradients are scaled in place. */
void mp_opt_clip(mp_em *e, const mp_ten *params, uint32_t n, const mp_ten *grads) {
  size_t scope = mp_em_enter(e);
  int64_t norms = 0;
  for (uint32_t k = 0; k < n; k++) {
    if (grads[params[k]] < 0) continue;
    mp_em_scalar(e, "aten::_foreach_norm", e->tens.at[params[k]].dtype);
    norms++;
  }
  if (norms) mp_em_new(e, "aten::stack", MP_FLOAT, 1, &norms);
  if (norms) mp_em_scalar(e, "aten::linalg_vector_norm", MP_FLOAT);
  mp_em_leave(e, scope, NULL, 0);
}

uint64_t mp_opt_bytes(const mp_opt_state *o) { return o ? o->bytes : 0; }
