/* Groups that are no calls of the device: Python's numbers and sizes, and other names of what is there. */
#include "planner/fx.h"

static mp_arg first_arg(fx_rec *r, const fx_group *g) {
  fx_place p = {.g = g, .rank = -1};
  return g->call->arg_count ? fx_arg(r, &g->call->args[0], &p) : mp_arg_none();
}

static int64_t int_of(const mp_arg *a) {
  return a->kind == MP_ARG_INT ? a->as.i : a->kind == MP_ARG_FLOAT ? mp_whole(a->as.f) : a->kind == MP_ARG_BOOL && a->as.b;
}

/* arithmetic on numbers alone: torch.tensor(8) * 3 stays on the CPU */
static bool reckons(fx_rec *r, const fx_group *g) {
  if (strncmp(g->call->op, "aten::", 6) != 0 || !fx_is_arithmetic(g->call->op + 6)) return false;
  for (uint32_t i = 0; i < g->call->arg_count; i++) {
    fx_place p = {.g = g, .arg = i, .rank = -1};
    mp_arg x = fx_arg(r, &g->call->args[i], &p);
    if (x.kind != MP_ARG_INT && x.kind != MP_ARG_FLOAT && x.kind != MP_ARG_BOOL) return false;
  }
  return g->call->arg_count > 0;
}

/* symbolic sizes and Python numbers */
bool fx_read_scalar(fx_rec *r, const fx_group *g) {
  const char *op = g->call->op;
  bool plain = !strstr(op, "::") && strcmp(op, "getitem") != 0, size = !strcmp(op, "aten::sym_size"), reckoned = reckons(r, g);
  if (!plain && !size && !reckoned && strcmp(op, "aten::scalar_tensor") != 0 && strcmp(op, "aten::item") != 0 && strcmp(op, "aten::_local_scalar_dense") != 0)
    return false;
  mp_arg n = mp_arg_none();
  int32_t out = fx_value_output(r, g);
  if (reckoned) op += strlen("aten::");
  if (out >= 0 && fx_number_of_value(&r->g->values[out], &n)) {
  } else if (size) {
    mp_arg x = first_arg(r, g);
    int64_t dim = g->call->arg_count > 1 ? g->call->args[1].i : 0;
    const mp_var *v = x.kind == MP_ARG_VAR ? mp_builder_at(r->b, x.as.var) : NULL;
    if (v && dim < v->rank && dim >= -v->rank) n = mp_arg_int(v->dims[dim < 0 ? dim + v->rank : dim]);
  } else if (g->call->arg_count == 2) {
    fx_place p = {.g = g, .rank = -1};
    mp_arg x = fx_arg(r, &g->call->args[0], &p), y = fx_arg(r, &g->call->args[1], &p);
    int64_t a = int_of(&x), b = int_of(&y), v = 0;
    if (!strcmp(op, "mul") ? mp_mul_i64(a, b, &v) : !strcmp(op, "add") ? mp_add_i64(a, b, &v) : !strcmp(op, "sub") ? !__builtin_sub_overflow(a, b, &v) : false)
      n = mp_arg_int(v);
    else if (!strcmp(op, "floordiv") && b && (a != INT64_MIN || b != -1))
      n = mp_arg_int(a / b);
    else if (!strcmp(op, "sym_min"))
      n = mp_arg_int(a < b ? a : b);
    else if (!strcmp(op, "sym_max"))
      n = mp_arg_int(a > b ? a : b);
  } else if (g->call->arg_count)
    n = first_arg(r, g);
  if (reckoned && n.kind == MP_ARG_NONE) n = mp_arg_float(1.0); /* some number */
  fx_ref *ref = fx_ref_of(r, g->call->name);
  *ref = (fx_ref){.kind = FX_SCALAR, .scalar = n};
  return true;
}

static void make_alias(fx_rec *r, const fx_group *g, int32_t var) {
  int32_t out = fx_value_output(r, g);
  fx_set(r, g->call->name, var);
  if (out >= 0) r->var_of_value[out] = var;
}

/* atleast_2d([x, y]), of hstack and vstack: the tensors themselves where they have as many dimensions */
static bool read_list(fx_rec *r, const fx_group *g) {
  fx_place p = {.g = g, .rank = -1};
  mp_arg list = g->call->arg_count ? fx_arg(r, &g->call->args[0], &p) : mp_arg_none();
  if (list.kind != MP_ARG_VARS) return false;
  int least = g->call->op[14] - '0';
  for (uint32_t i = 0; i < list.n; i++)
    if (list.as.vars[i] < 0 || mp_builder_at(r->b, list.as.vars[i])->rank < least) return false;
  *fx_ref_of(r, g->call->name) = (fx_ref){.kind = FX_TUPLE, .members = list.as.vars, .n = list.n};
  return true;
}

/* What makes no tensor in PyTorch: the exporter's own type promotion, picking one result of several, putting a constant on the device. */
bool fx_read_alias(fx_rec *r, const fx_group *g) {
  const char *op = g->call->op;
  if (!strcmp(op, "getitem") && g->call->arg_count == 2 && g->call->args[0].kind == MP_FX_REF) {
    const fx_ref *t = fx_ref_of(r, g->call->args[0].text);
    int64_t i = g->call->args[1].i;
    if (t->kind == FX_TUPLE && i >= 0 && i < t->n) {
      int32_t var = t->members[i], out = fx_value_output(r, g);
      if (out >= 0 && mp_builder_at(r->b, var)->value < 0) mp_builder_at(r->b, var)->value = out;
      make_alias(r, g, var);
      return true;
    }
  }
  if (!strncmp(op, "aten::atleast_", 14) && read_list(r, g)) return true;
  if (strcmp(op, "prims::convert_element_type") != 0 && strcmp(op, "aten::alias") != 0 && strcmp(op, "aten::lift_fresh_copy") != 0 &&
      strcmp(op, "aten::lift_fresh") != 0 && strcmp(op, "aten::copy") != 0)
    return false;
  mp_arg x;
  if (!strcmp(op, "aten::copy")) { /* copy(destination, source): an in-place write, told by the scatter that reads it */
    fx_place p = {.g = g, .arg = 1, .rank = -1};
    x = g->call->arg_count > 1 ? fx_arg(r, &g->call->args[1], &p) : mp_arg_none();
  } else
    x = first_arg(r, g);
  if (x.kind != MP_ARG_VAR) return false;
  make_alias(r, g, x.as.var);
  return true;
}
