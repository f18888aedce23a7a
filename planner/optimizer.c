/* Optimizers: a table, and one step function that reads it. */
#include "planner/optimizer.h"

#include <string.h>

static const mp_optimizer rows[] = {
    /* name          states  constr. dev.step temps loop kind              note */
    {"sgd",            0, false, false, 0, 0, MP_OPT_PLAIN, "no state: _foreach_add_ in place"},
    {"sgd-momentum",   1, false, false, 0, 0, MP_OPT_PLAIN, "momentum buffer, a clone of the first gradient"},
    {"adam",           2, false, false, 1, 0, MP_OPT_PLAIN, "exp_avg, exp_avg_sq; exp_avg_sq_sqrt while it steps"},
    {"adamw",          2, false, false, 1, 0, MP_OPT_PLAIN, "exp_avg, exp_avg_sq; exp_avg_sq_sqrt while it steps"},
    {"adamw-fused",    2, false, true, 0, 0, MP_OPT_PLAIN, "one kernel; step lies on the device"},
    {"adamw-loop",     2, false, false, 0, 2, MP_OPT_PLAIN, "parameter by parameter: sqrt and its quotient"},
    {"adagrad",        1, true, false, 2, 0, MP_OPT_PLAIN, "sum, made by the constructor; std and numerator while it steps"},
    {"rmsprop",        1, false, false, 1, 0, MP_OPT_PLAIN, "square_avg; avg while it steps"},
    {"adadelta",       2, false, false, 2, 0, MP_OPT_PLAIN, "square_avg, acc_delta; std and deltas while it steps"},
    {"adafactor",      0, false, false, 1, 0, MP_OPT_FACTORED, "row and column variances of matrices, the whole variance of vectors; the update while it steps"},
    {"adamw-8bit",     2, false, false, 0, 0, MP_OPT_BLOCKWISE, "bitsandbytes: 8-bit state with an fp32 maximum a block of 256; fp32 below 4,096 elements"},
    {"lion",           1, false, false, 1, 0, MP_OPT_PLAIN, "exp_avg; the signed update while it steps"},
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
  uint32_t n;
  bool *made;
  bool master;
  uint64_t bytes;
};

static mp_ten keep(mp_em *e, mp_opt_state *o, mp_ten t) {
  mp_em_hold(e, t);
  o->bytes += e->stor.at[e->tens.at[t].storage].bytes;
  return t;
}

/* one state tensor like p; fp32 where there is a master copy */
static void state_like(mp_em *e, mp_opt_state *o, mp_ten p) { keep(e, o, mp_em_new_like_dtype(e, "aten::zeros_like", p, o->master ? MP_FLOAT : e->tens.at[p].dtype)); }

/* torch/optim/_adafactor.py: row_var of shape (..., m, 1) and col_var of (..., 1, n) */
static void factored(mp_em *e, mp_opt_state *o, mp_ten p) {
  mp_tensor_info i = e->tens.at[p];
  if (i.rank < 2) {
    state_like(e, o, p);
    return;
  }
  for (int axis = i.rank - 1; axis >= i.rank - 2; axis--) {
    int64_t dims[MP_RANK];
    memcpy(dims, i.dims, sizeof dims);
    dims[axis] = 1;
    keep(e, o, mp_em_new(e, "aten::new_zeros", i.dtype, i.rank, dims));
  }
}

/* bitsandbytes/optim/optimizer.py, Optimizer2State.init_state: min_8bit_size 4096, blocks of 256 */
static void blockwise(mp_em *e, mp_opt_state *o, mp_ten p) {
  uint64_t n = mp_numel(&e->tens.at[p]);
  for (int s = 0; s < o->row->states; s++) {
    if (n < 4096) {
      keep(e, o, mp_em_new_like_dtype(e, "aten::zeros_like", p, MP_FLOAT));
      continue;
    }
    int64_t blocks = (int64_t)((n + 255) / 256);
    keep(e, o, mp_em_new_like_dtype(e, "aten::zeros_like", p, MP_UINT8));
    keep(e, o, mp_em_new(e, "aten::zeros", MP_FLOAT, 1, &blocks));
  }
}

static void init(mp_em *e, mp_opt_state *o, uint32_t k) {
  if (o->made[k]) return;
  o->made[k] = true;
  size_t scope = mp_em_enter(e);
  mp_category was = e->born;
  e->born = MP_CAT_OPTIMIZER;
  if (o->row->device_step) keep(e, o, mp_em_scalar(e, "aten::zeros", MP_FLOAT));
  if (o->row->kind == MP_OPT_FACTORED) factored(e, o, o->params[k]);
  else if (o->row->kind == MP_OPT_BLOCKWISE) blockwise(e, o, o->params[k]);
  else
    for (int s = 0; s < o->row->states; s++) state_like(e, o, o->params[k]);
  e->born = was;
  mp_em_leave(e, scope, NULL, 0);
}

mp_opt_state *mp_opt_new(mp_em *e, const mp_optimizer *row, bool master, const mp_ten *params, uint32_t n) {
  if (!row) return NULL;
  mp_opt_state *o = mp_alloc(e->a, sizeof *o);
  *o = (mp_opt_state){.row = row, .params = params, .n = n, .master = master, .made = mp_alloc_array(e->a, n + 1, sizeof(bool))};
  size_t scope = mp_em_enter(e);
  mp_category was = e->born;
  e->born = MP_CAT_MASTER;
  for (uint32_t k = 0; master && k < n; k++) mp_em_hold(e, mp_em_new_like_dtype(e, "aten::_to_copy", params[k], MP_FLOAT));
  e->born = was;
  mp_em_leave(e, scope, NULL, 0);
  for (uint32_t k = 0; row->at_construction && k < n; k++) init(e, o, k);
  return o;
}

void mp_opt_step(mp_em *e, mp_opt_state *o, const mp_ten *grads) {
  if (!o) return;
  for (uint32_t k = 0; k < o->n; k++)
    if (grads[o->params[k]] >= 0) init(e, o, k);
  size_t scope = mp_em_enter(e);
  for (uint32_t k = 0; o->master && k < o->n; k++) /* the fp32 gradient that the master copy is stepped with */
    if (grads[o->params[k]] >= 0) mp_em_new_like_dtype(e, "aten::_to_copy", o->params[k], MP_FLOAT);
  for (int t = 0; t < o->row->temporaries; t++)
    for (uint32_t k = 0; k < o->n; k++)
      if (grads[o->params[k]] >= 0) mp_em_new_like_dtype(e, "aten::_foreach_sqrt", o->params[k], o->master ? MP_FLOAT : e->tens.at[o->params[k]].dtype);
  for (uint32_t k = 0; k < o->n && o->row->loop; k++) {
    if (grads[o->params[k]] < 0) continue;
    size_t inner = mp_em_enter(e);
    for (int t = 0; t < o->row->loop; t++) mp_em_new_like(e, "aten::sqrt", o->params[k]);
    mp_em_leave(e, inner, NULL, 0);
  }
  mp_em_leave(e, scope, NULL, 0);
}

uint64_t mp_opt_bytes(const mp_opt_state *o) { return o ? o->bytes : 0; }
