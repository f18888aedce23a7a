/* Arguments of one FX call: text -> mp_arg, at the position that the schema gives them. */
#include <string.h>

#include "planner/fx.h"

/* Keyword arguments stand at their position in the schema (torch.ops.aten.NAME.OVERLOAD._schema). */
static uint32_t schema_position(const char *op, const char *key) {
  static const struct {
    const char *op, *names;
  } schemas[] = {{"aten::_to_copy", "self dtype layout device pin_memory non_blocking memory_format"},
                 {"aten::to", "self dtype layout device pin_memory non_blocking copy memory_format"},
                 {"aten::clone", "self memory_format"},
                 {"aten::contiguous", "self memory_format"},
                 {"aten::gelu", "self approximate"},
                 {"aten::scaled_dot_product_attention", "query key value attn_mask dropout_p is_causal scale enable_gqa"},
                 {"aten::softmax", "self dim dtype"},
                 {"aten::_softmax", "self dim half_to_float"},
                 {"aten::log_softmax", "self dim dtype"},
                 {"aten::sum", "self dim keepdim dtype"},
                 {"aten::mean", "self dim keepdim dtype"},
                 {"aten::prod", "self dim keepdim dtype"},
                 {"aten::cumsum", "self dim dtype"},
                 {"aten::add", "self other alpha"},
                 {"aten::sub", "self other alpha"},
                 {"aten::rsub", "self other alpha"},
                 {"aten::div", "self other rounding_mode"},
                 {"aten::addmm", "self mat1 mat2 beta alpha"},
                 {"aten::baddbmm", "self batch1 batch2 beta alpha"},
                 {"aten::einsum", "equation tensors path"},
                 {"aten::var", "self dim correction keepdim"},
                 {"aten::std", "self dim correction keepdim"},
                 {"aten::var_mean", "self dim correction keepdim"},
                 {"prims::var", "inp dims correction"},
                 {"aten::full", "size fill_value dtype layout device pin_memory"},
                 {"aten::full_like", "self fill_value dtype layout device pin_memory memory_format"},
                 {"aten::new_full", "self size fill_value dtype layout device pin_memory"},
                 {"aten::clamp", "self min max"},
                 {"aten::embedding", "weight indices padding_idx scale_grad_by_freq sparse"},
                 {"aten::slice", "self dim start end step"},
                 {"aten::slice_scatter", "self src dim start end step"},
                 {"aten::bernoulli", "self p generator"},
                 {"aten::linalg_vector_norm", "self ord dim keepdim dtype"},
                 {"aten::amax", "self dim keepdim"},
                 {"aten::repeat_interleave", "self repeats dim output_size"},
                 {"aten::scatter_reduce", "self dim index src reduce include_self"},
                 {"aten::index_put", "self indices values accumulate"},
                 {"aten::searchsorted", "sorted_sequence self out_int32 right side sorter"},
                 {"aten::nan_to_num", "self nan posinf neginf"},
                 {"aten::pad", "self pad mode value"},
                 {"aten::topk", "self k dim largest sorted"},
                 {"aten::norm", "self p dim keepdim dtype"},
                 {"aten::hardtanh", "self min_val max_val"},
                 {"aten::stft", "self n_fft hop_length win_length window normalized onesided return_complex align_to_window"},
                 {"aten::arange", "start end step dtype layout device pin_memory"},
                 {"prims::convert_element_type", "a dtype"}};
  /* factories that end in these keywords */
  static const char *const made[] = {"dtype", "layout", "device", "pin_memory", "memory_format"};
  for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++)
    if (!strcmp(schemas[i].op, op)) {
      uint32_t at = 0;
      for (const char *p = schemas[i].names; p; p = strchr(p, ' ') ? strchr(p, ' ') + 1 : NULL, at++)
        if (!strncmp(p, key, strlen(key)) && (p[strlen(key)] == ' ' || !p[strlen(key)])) return at;
    }
  bool from_self = !strncmp(op, "aten::new_", 10); /* (self, size, dtype...); others (self or size, dtype...) */
  for (uint32_t i = 0; i < sizeof made / sizeof *made; i++)
    if (!strcmp(made[i], key)) return i + (from_self ? 2 : 1);
  return UINT32_MAX;
}

/* Lists of tensors rather than of integers. */
static bool takes_tensors(const char *op) {
  static const char *const ops[] = {"aten::cat",          "aten::stack",         "aten::index",    "aten::index_put", "aten::einsum",
                                    "aten::lstm",         "aten::gru",           "aten::rnn_tanh", "aten::rnn_relu",  "aten::meshgrid",
                                    "aten::block_diag",   "aten::hstack",        "aten::vstack",   "aten::concat",    "aten::broadcast_tensors",
                                    "aten::_foreach_add", "aten::cartesian_prod", "aten::atleast_1d", "aten::atleast_2d",  "aten::atleast_3d"};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
    if (!strcmp(ops[i], op)) return true;
  return false;
}

/* ---- arguments ---- */

bool fx_is_arithmetic(const char *stem) {
  return FX_ONE_OF(stem, "add", "sub", "rsub", "mul", "div", "floor_divide", "neg", "sqrt", "rsqrt", "pow", "abs", "minimum", "maximum", "clamp", "ceil", "floor", "log", "exp", "_to_copy");
}

bool fx_number_of_value(const mp_value *v, mp_arg *out) {
  if (v->ints && v->contents && mp_int_is_number(v->ints[0]))
    *out = mp_dtype_is_float(v->dtype) ? mp_arg_float((double)v->ints[0].n) : mp_arg_int(v->ints[0].n);
  else if (v->floats && v->contents)
    *out = mp_arg_float(v->floats[0]);
  else
    return false;
  if (v->dtype == MP_BOOL && out->kind == MP_ARG_INT) *out = mp_arg_bool(out->as.i != 0);
  return true;
}

static const fx_ref *resolve(fx_rec *r, const char *name, const fx_place *p) {
  fx_ref *ref = fx_ref_of(r, name);
  if (ref->kind != FX_UNKNOWN) {
    fx_param *param = ref->kind == FX_TENSOR ? fx_param_named(r, name) : NULL;
    if (param && !param->known) fx_size_param(r, p->g, param, p->arg);
    return fx_ref_of(r, name);
  }
  if (!p->arg && !strncmp(p->g->call->op, "aten::new_", 10)) { /* x.new_empty(..) reads nothing of x: no node of it tells which it was */
    int32_t out = fx_value_output(r, p->g), like = fx_latest(r, out < 0 ? MP_FLOAT : r->g->values[out].dtype, 0, NULL);
    fx_ref *x = mp_alloc(r->a, sizeof *x);
    *x = (fx_ref){.kind = FX_TENSOR, .var = like};
    if (like >= 0) return x;
  }
  if (fx_resurrect(r, p->g, name, p->arg)) return fx_ref_of(r, name);
  return NULL;
}

/* A symbolic integer that nothing names any more: what the result's shape says it was. */
static bool size_from_result(const fx_place *p, uint32_t index, int64_t *n) {
  const char *op = p->g->call->op;
  if (p->rank < 0) return false;
  if (!strcmp(op, "aten::arange") && p->rank == 1)
    *n = p->dims[0];
  else if (!strcmp(op, "aten::slice")) {
    const mp_fx_call *c = p->g->call;
    int64_t dim = c->arg_count > 1 ? c->args[1].i : 0, start = c->arg_count > 2 && c->args[2].kind == MP_FX_INT ? c->args[2].i : 0;
    if (dim < 0) dim += p->rank;
    if (dim < 0 || dim >= p->rank || p->arg != 3) return false;
    *n = start + p->dims[dim];
  } else if (index < (uint32_t)p->rank && index < MP_RANK)
    *n = p->dims[index];
  else
    return false;
  return true;
}

static mp_arg word_arg(const char *w) {
  mp_dtype t = mp_fx_dtype(w);
  if (t) return mp_arg_dtype(t);
  if (!strncmp(w, "torch.", 6)) return mp_arg_str(w + 6); /* memory formats */
  if (!strncmp(w, "cpu", 3) || !strncmp(w, "cuda", 4) || !strncmp(w, "meta", 4) || !strncmp(w, "mps", 3) || !strncmp(w, "xpu", 3))
    return mp_arg_none(); /* all is on one */
  return mp_arg_str(w);   /* strings are printed without quotes: reflect */
}

/* The indices of x[i, j] are joined by nodes, which equal ones share: those of the call that has them. NULL: it has its own, or one alone, which is found as any operand is */
static const mp_fx_item *shared_indices(fx_rec *r, const fx_group *g) {
  const mp_node *n = strcmp(g->call->op, "aten::index") ? NULL : &r->g->nodes[g->nodes[0]];
  int32_t from = n && !strcmp(n->type, "GatherND") && n->ins > 1 && n->in[1] >= 0 ? r->g->values[n->in[1]].producer : -1;
  const fx_group *other = from < 0 ? NULL : &r->groups.at[r->group_of_node[from]];
  bool has = other && other != g && other->call && !strcmp(other->call->op, "aten::index") && other->call->arg_count > 1 && other->call->args[1].kind == MP_FX_LIST && other->call->args[1].n > 1;
  return has ? &other->call->args[1] : NULL;
}

static const fx_ref *member(fx_rec *r, const mp_fx_item *m, const mp_fx_item *equal, const fx_place *p) {
  if (m->kind != MP_FX_REF) return NULL;
  bool merged = equal && equal->kind == MP_FX_REF && fx_ref_of(r, m->text)->kind == FX_UNKNOWN && fx_ref_of(r, equal->text)->kind == FX_TENSOR;
  return merged ? fx_ref_of(r, equal->text) : resolve(r, m->text, p);
}

static mp_arg list_arg(fx_rec *r, const mp_fx_item *l, const fx_place *p) {
  if (takes_tensors(p->g->call->op)) {
    int32_t *vars = mp_alloc_array(r->a, l->n, sizeof *vars);
    const mp_fx_item *shared = shared_indices(r, p->g);
    for (uint32_t i = 0; i < l->n; i++) {
      const fx_ref *ref = member(r, &l->at[i], shared && i < shared->n ? &shared->at[i] : NULL, p);
      vars[i] = ref && ref->kind == FX_TENSOR ? ref->var : -1;
    }
    return (mp_arg){.kind = MP_ARG_VARS, .n = l->n, .as.vars = vars};
  }
  int64_t *ints = mp_alloc_array(r->a, l->n, sizeof *ints);
  bool bools = l->n > 0;
  for (uint32_t i = 0; i < l->n; i++) {
    const mp_fx_item *m = &l->at[i];
    bools &= m->kind == MP_FX_BOOL;
    ints[i] = m->i;
    if (m->kind == MP_FX_FLOAT) return mp_arg_none(); /* scale factors: the result's shape is what counts */
    if (m->kind != MP_FX_REF && m->kind != MP_FX_WORD) continue;
    const fx_ref *ref = m->kind == MP_FX_REF ? fx_ref_of(r, m->text) : NULL;
    if (ref && ref->kind == FX_SCALAR && ref->scalar.kind == MP_ARG_INT)
      ints[i] = ref->scalar.as.i;
    else if (!size_from_result(p, i, &ints[i])) {
      mp_builder_warn(r->b, "%s: a symbolic size of %s is not in the file; taken as -1", p->g->call->name, p->g->call->op);
      ints[i] = -1;
    }
  }
  return (mp_arg){.kind = bools ? MP_ARG_BOOLS : MP_ARG_INTS, .n = l->n, .as.ints = ints};
}

mp_arg fx_arg(fx_rec *r, const mp_fx_item *i, const fx_place *p) {
  int64_t n;
  switch (i->kind) {
    case MP_FX_INT:
      return mp_arg_int(i->i);
    case MP_FX_FLOAT:
      return mp_arg_float(i->f);
    case MP_FX_BOOL:
      return mp_arg_bool(i->b);
    case MP_FX_STRING:
      return mp_arg_str(i->text);
    case MP_FX_WORD:
      return word_arg(i->text);
    case MP_FX_LIST:
      return list_arg(r, i, p);
    case MP_FX_REF:
      break;
    default:
      return mp_arg_none();
  }
  if (!strncmp(i->text, "sym_", 4) && fx_ref_of(r, i->text)->kind == FX_UNKNOWN)
    return size_from_result(p, p->arg, &n) ? mp_arg_int(n) : mp_arg_none();
  const fx_ref *ref = resolve(r, i->text, p);
  if (!ref) return mp_arg_none();
  if (ref->kind == FX_SCALAR) return ref->scalar;
  if (ref->kind == FX_TUPLE) return mp_arg_vars(r->a, ref->members, ref->n);
  return mp_arg_var(ref->var);
}

uint32_t fx_read_args(fx_rec *r, const fx_group *g, mp_arg *args, uint32_t max) {
  const mp_fx_call *c = g->call;
  fx_place p = {.g = g, .rank = -1};
  int32_t out = fx_value_output(r, g);
  if (out >= 0 && r->g->values[out].form == MP_FORM_TENSOR && r->g->values[out].rank >= 0) p.rank = fx_dims_of_value(r, out, p.dims);
  uint32_t n = 0;
  if (!strcmp(c->op, "aten::einsum")) { /* its equation is printed without quotes, commas and all */
    mp_text equation = {0};
    for (; p.arg < c->arg_count && c->args[p.arg].text; p.arg++) mp_text_add(r->a, &equation, "%s%s", p.arg ? "," : "", c->args[p.arg].text);
    args[n++] = equation.at ? mp_arg_str(equation.at) : mp_arg_none();
  }
  for (; p.arg < c->arg_count && n < max; p.arg++) args[n++] = fx_arg(r, &c->args[p.arg], &p);
  for (uint32_t k = 0; k < c->kwarg_count; k++) {
    uint32_t at = schema_position(c->op, c->kwargs[k].key);
    if (at == UINT32_MAX) mp_builder_warn(r->b, "%s: keyword argument '%s' is not in memplan's table of schemas", c->op, c->kwargs[k].key);
    if (at >= max) continue;
    p.arg = at;
    while (n <= at) args[n++] = mp_arg_none();
    args[at] = fx_arg(r, &c->kwargs[k].value, &p);
  }
  if (p.rank >= 0 && n && FX_ONE_OF(c->op, "aten::full", "aten::zeros", "aten::ones", "aten::empty"))
    args[0] = mp_arg_ints(r->a, p.dims, (uint32_t)p.rank);
  if (p.rank >= 0 && n > 1 &&
      FX_ONE_OF(c->op, "aten::view", "aten::_unsafe_view", "aten::reshape", "aten::expand", "aten::new_full", "aten::new_zeros", "aten::new_ones",
                "aten::new_empty"))
    args[1] = mp_arg_ints(r->a, p.dims, (uint32_t)p.rank);
  if (p.rank > 2 && n > 2 && !strncmp(c->op, "aten::upsample_", 15)) {
    args[1] = mp_arg_ints(r->a, p.dims + 2, (uint32_t)p.rank - 2);
    args[n - 1] = mp_arg_none();
  }
  return n;
}
