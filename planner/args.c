/* What a call's row reads of its arguments, after autocast has had its way with them. */
#include "planner/em.h"

static const mp_arg *arg(mp_em *e, uint32_t i) {
  static const mp_arg none;
  return e->c && i < e->c->arg_count ? &e->c->args[i] : &none;
}

uint32_t mp_c_count(mp_em *e) { return e->c ? e->c->arg_count : 0; }
bool mp_c_is_ten(mp_em *e, uint32_t i) { return arg(e, i)->kind == MP_ARG_VAR; }
bool mp_c_has(mp_em *e, uint32_t i) { return arg(e, i)->kind != MP_ARG_NONE; }

mp_ten mp_c_ten(mp_em *e, uint32_t i) {
  const mp_arg *x = arg(e, i);
  if (x->kind != MP_ARG_VAR) return -1;
  return e->arg_ten[i] >= 0 ? e->arg_ten[i] : e->var_ten[x->as.var];
}

uint32_t mp_c_tens(mp_em *e, uint32_t i, mp_ten *out, uint32_t max) {
  const mp_arg *x = arg(e, i);
  if (x->kind == MP_ARG_VAR) {
    if (max) out[0] = mp_c_ten(e, i);
    return 1;
  }
  if (x->kind != MP_ARG_VARS) return 0;
  if (x->n > max) mp_fail(e->a, MP_BAD_INPUT, "%s: a list of %u tensors; memplan follows up to %u", e->c->row->name, x->n, max);
  for (uint32_t k = 0; k < x->n; k++) out[k] = x->as.vars[k] < 0 ? -1 : e->var_ten[x->as.vars[k]];
  return x->n;
}

/* No tensor is larger than the limit, so nothing is lost beyond it; sums of two then never overflow. */
static int64_t near(int64_t n) {
  const int64_t far = (int64_t)MP_MOST_ELEMENTS;
  return n < -far ? -far : n > far ? far : n;
}

int64_t mp_c_int(mp_em *e, uint32_t i, int64_t otherwise) {
  const mp_arg *x = arg(e, i);
  switch (x->kind) {
    case MP_ARG_INT: return near(x->as.i);
    case MP_ARG_BOOL: return x->as.b;
    case MP_ARG_FLOAT: return near(mp_whole(x->as.f));
    case MP_ARG_INTS: return x->n ? near(x->as.ints[0]) : otherwise;
    default: return otherwise;
  }
}

double mp_c_float(mp_em *e, uint32_t i, double otherwise) {
  const mp_arg *x = arg(e, i);
  switch (x->kind) {
    case MP_ARG_FLOAT: return x->as.f;
    case MP_ARG_INT: return (double)x->as.i;
    case MP_ARG_BOOL: return x->as.b;
    default: return otherwise;
  }
}

bool mp_c_bool(mp_em *e, uint32_t i, bool otherwise) {
  const mp_arg *x = arg(e, i);
  if (x->kind == MP_ARG_BOOL) return x->as.b;
  return x->kind == MP_ARG_INT ? x->as.i != 0 : otherwise;
}

mp_dtype mp_c_dtype(mp_em *e, uint32_t i, mp_dtype otherwise) {
  const mp_arg *x = arg(e, i);
  return x->kind == MP_ARG_DTYPE ? x->as.dtype : otherwise;
}

uint32_t mp_c_ints(mp_em *e, uint32_t i, int64_t *out, uint32_t max) {
  const mp_arg *x = arg(e, i);
  if (x->kind == MP_ARG_INT || x->kind == MP_ARG_BOOL) {
    if (max) out[0] = mp_c_int(e, i, 0);
    return 1;
  }
  if (x->kind != MP_ARG_INTS && x->kind != MP_ARG_BOOLS) return 0;
  if (x->n > max) mp_fail(e->a, MP_BAD_INPUT, "%s: a list of %u numbers, expected at most %u", e->c->row->name, x->n, max);
  for (uint32_t k = 0; k < x->n; k++) out[k] = near(x->as.ints[k]);
  return x->n;
}

const char *mp_c_str(mp_em *e, uint32_t i) { return arg(e, i)->kind == MP_ARG_STR ? arg(e, i)->as.s : NULL; }

void mp_c_out(mp_em *e, uint32_t slot, mp_ten t) {
  if (!e->c || slot >= e->c->out_count) return;
  int32_t var = e->c->outs[slot];
  if (var < 0 || t < 0) return;
  mp_em_hold(e, t);
  if (e->var_ten[var] >= 0) mp_em_release(e, e->var_ten[var]);
  e->var_ten[var] = t;
}

const mp_var *mp_c_out_var(const mp_em *e, uint32_t slot) {
  if (!e->c || slot >= e->c->out_count || e->c->outs[slot] < 0) return NULL;
  return &e->p->vars[e->c->outs[slot]];
}

/* ---- autocast (aten/src/ATen/autocast_mode.h and .cpp) ---- */

static bool eligible(const mp_em *e, mp_ten t) {
  mp_dtype d = mp_em_info(e, t)->dtype;
  return d == MP_FLOAT || d == MP_FLOAT16 || d == MP_BFLOAT16;
}

/* cached_cast: a half copy of an fp32 leaf that requires grad is kept until autocast ends. It is made with gradients on (since 2.10), so that a pass under no_grad and one that trains share it. */
mp_ten mp_op_autocast_to(mp_em *e, mp_ten t, mp_dtype dtype) {
  if (t < 0 || !eligible(e, t) || mp_em_info(e, t)->dtype == dtype) return t;
  const mp_tensor_info *i = mp_em_info(e, t);
  bool cache = dtype == e->autocast && i->dtype == MP_FLOAT && i->is_leaf_param && i->requires_grad;
  if (!cache) return mp_op_to(e, t, dtype);
  for (size_t k = 0; k < e->casts.n; k++)
    if (e->casts.at[k].from == t) return e->casts.at[k].to;
  bool grad = e->grad;
  e->grad = true;
  mp_ten half = mp_op_to(e, t, dtype);
  e->grad = grad;
  mp_em_hold(e, half);
  *mp_push(e->a, &e->casts) = (mp_cast_entry){t, half};
  return half;
}

void mp_em_clear_casts(mp_em *e) {
  for (size_t k = 0; k < e->casts.n; k++) mp_em_release(e, e->casts.at[k].to);
  e->casts.n = 0;
}

bool mp_em_is_autocast(const mp_em *e) { return e->autocast != MP_UNDEFINED; }
mp_dtype mp_em_autocast_dtype(const mp_em *e) { return e->autocast; }

mp_ten mp_em_autocast(mp_em *e, mp_ten t, mp_policy p) {
  if (e->autocast == MP_UNDEFINED || t < 0) return t;
  if (p == MP_CAST_HALF) return mp_op_autocast_to(e, t, e->autocast);
  return p == MP_CAST_FP32 ? mp_op_autocast_to(e, t, MP_FLOAT) : t;
}

static mp_dtype widest(mp_em *e) {
  bool wide = false;
  for (uint32_t i = 0; i < e->c->arg_count; i++) {
    const mp_arg *x = &e->c->args[i];
    if (x->kind == MP_ARG_VAR) wide = wide || mp_em_info(e, e->var_ten[x->as.var])->dtype == MP_FLOAT;
    if (x->kind == MP_ARG_VARS)
      for (uint32_t k = 0; k < x->n; k++) wide = wide || (x->as.vars[k] >= 0 && mp_em_info(e, e->var_ten[x->as.vars[k]])->dtype == MP_FLOAT);
  }
  return wide ? MP_FLOAT : e->autocast;
}

/* Casts the call's single tensor arguments, the last first, as the compiler evaluates cached_cast(...) in an argument list. Lists are cast by the rows that take them. */
void mp_em_cast_args(mp_em *e) {
  for (uint32_t i = 0; i < e->c->arg_count; i++) e->arg_ten[i] = -1;
  mp_policy p = e->c->row->policy;
  if (e->autocast == MP_UNDEFINED || p == MP_CAST_NONE) return;
  mp_dtype to = p == MP_CAST_HALF ? e->autocast : p == MP_CAST_FP32 ? MP_FLOAT : widest(e);
  for (uint32_t i = e->c->arg_count; i-- > 0;) {
    const mp_arg *x = &e->c->args[i];
    if (x->kind == MP_ARG_VAR) e->arg_ten[i] = mp_op_autocast_to(e, e->var_ten[x->as.var], to);
  }
}
