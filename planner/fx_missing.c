/* Calls that the exporter's optimizer removed. What is left of one is a reference in somebody's arguments, %clone_3: its name tells the operation,
 * and the value that the reader's nodes take in its place is what it was made from. */
#include <stdlib.h>
#include <strings.h>

#include "planner/fx.h"
#include "planner/reading.h"

/* ---- which value stands for a reference ---- */

bool fx_is_taken(const fx_rec *r, int32_t value) {
  for (size_t i = 0; i < r->taken.n; i++)
    if (r->taken.at[i] == value) return true;
  return false;
}

/* do the arguments name what the value is read for */
bool fx_item_has_value(fx_rec *r, const mp_fx_item *items, uint32_t n, int32_t value) {
  int32_t var = r->var_of_value[value];
  for (uint32_t i = 0; i < n; i++) {
    if (items[i].kind == MP_FX_LIST && fx_item_has_value(r, items[i].at, items[i].n, value)) return true;
    if (items[i].kind != MP_FX_REF) continue;
    uint32_t id = mp_names_find(r->names, items[i].text, strlen(items[i].text));
    const fx_ref *ref = id == UINT32_MAX ? NULL : &r->refs.at[id];
    if (ref && ref->kind == FX_TENSOR && ((var >= 0 && ref->var == var) || ref->stands == value + 1)) return true;
  }
  return false;
}

bool fx_is_factory(const char *stem) {
  return FX_ONE_OF(stem, "full", "zeros", "ones", "empty", "arange", "new_full", "new_zeros", "new_ones", "new_empty", "zeros_like", "ones_like",
                   "full_like", "empty_like", "scalar_tensor", "scalar_tensor_default", "lift_fresh_copy", "_tensor_constant") ||
         strstr(stem, "lifted_tensor");
}

/* back through the group's own nodes to what it reads */
static int32_t origin(const fx_rec *r, const fx_group *g, int32_t value) {
  int32_t own = r->group_of_node[g->nodes[0]];
  while (value >= 0 && r->g->values[value].producer >= 0 && r->group_of_node[r->g->values[value].producer] == own) {
    const mp_node *n = &r->g->nodes[r->g->values[value].producer];
    if (!n->ins) return -1;
    value = n->in[0];
  }
  return value;
}

/* What is written into is turned for the node first: by another call's node, where that wrote into an equal one. */
static int32_t unturned(const fx_rec *r, int32_t value) {
  for (const mp_node *n; value >= 0 && r->var_of_value[value] < 0 && r->g->values[value].producer >= 0; value = n->in[0]) {
    n = &r->g->nodes[r->g->values[value].producer];
    if (strcmp(n->type, "Transpose") != 0 || !n->ins) break;
  }
  return value;
}

/* Products and attention read their operands in another order than the call names them: where argument `arg` enters. */
static int32_t by_structure(const fx_rec *r, const fx_group *g, uint32_t arg) {
  const mp_node *only = g->node_count == 1 ? &r->g->nodes[g->nodes[0]] : NULL;
  if (only && !arg && only->ins == 1) return only->in[0];
  if (only && arg < only->ins &&
      FX_ONE_OF(only->type, "Add", "Sub", "Mul", "Div", "Pow", "MatMul", "LayerNormalization", "Softmax", "LogSoftmax", "Max", "Min"))
    return only->in[arg];
  const mp_node *end = &r->g->nodes[g->nodes[g->node_count - 1]];
  uint32_t written = !strcmp(g->call->op, "aten::index_put") ? 2 : 1;
  for (uint32_t i = 0; i < g->node_count && (!arg || arg == written); i++) { /* what is written into, and what is written */
    const mp_node *n = &r->g->nodes[g->nodes[i]];
    if (n->ins > 2 && FX_ONE_OF(n->type, "ScatterND", "ScatterElements")) return arg ? origin(r, g, n->in[2]) : unturned(r, origin(r, g, n->in[0]));
  }
  if (!arg && end->ins && !strcmp(end->type, "Tile")) return origin(r, g, end->in[0]);
  bool attention = !strcmp(g->call->op, "aten::scaled_dot_product_attention");
  if (!attention && strcmp(g->call->op, "aten::linear") != 0) return -1;
  const mp_node *first = NULL, *last = NULL, *sum = NULL;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &r->g->nodes[g->nodes[i]];
    if (!strcmp(n->type, "Attention")) return arg < 4 && arg < n->ins ? n->in[arg] : -1;
    if (n->ins < 2 || !n->outs) continue;
    if (FX_ONE_OF(n->type, "MatMul", "Gemm")) {
      last = n;
      if (!first) first = n;
    } else if (first && !sum && !strcmp(n->type, "Add"))
      sum = n;
  }
  if (!first || arg > 3) return -1;
  if (attention && arg == 2) return origin(r, g, last->in[1]);
  if (arg < 2) return origin(r, g, first->in[arg]);
  if (!attention && first->ins > 2) return origin(r, g, first->in[2]);
  for (uint32_t k = 0; sum && k < 2; k++) /* the bias, the mask: what is added to the product */
    if (sum->in[1 - k] == first->out[0]) return origin(r, g, sum->in[k]);
  return -1;
}

/* Several indices were joined at export into one constant, whose last axis counts them: the value, or -1. */
int32_t fx_joined_indices(const fx_rec *r, const fx_group *g) {
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &r->g->nodes[g->nodes[i]];
    if (!strcmp(n->type, "GatherND") && n->ins > 1 && n->in[1] >= 0 && r->g->values[n->in[1]].kind == MP_VALUE_INITIALIZER) return n->in[1];
  }
  return -1;
}

/* a member of the list that is joined stands where its node's input does */
static int32_t by_place(const fx_rec *r, const fx_group *g, const char *name) {
  const mp_node *n = &r->g->nodes[g->nodes[g->node_count - 1]];
  const mp_fx_item *list = g->call->arg_count ? &g->call->args[0] : NULL;
  if (strcmp(n->type, "Concat") != 0 || !list || list->kind != MP_FX_LIST || list->n != (uint32_t)n->ins) return -1;
  for (uint32_t i = 0; i < list->n; i++)
    if (list->at[i].kind == MP_FX_REF && !strcmp(list->at[i].text, name)) return n->in[i];
  return -1;
}

/* An index that another call of the file reads, too, is made ready for the node once, in that call's nodes: back through those, at the place that `name` has in the list of indices. -1: none */
static int32_t by_index(const fx_rec *r, const fx_group *g, const char *name, uint32_t arg) {
  bool lists = FX_ONE_OF(g->call->op, "aten::index", "aten::_unsafe_index", "aten::index_put", "aten::_unsafe_index_put");
  bool one = FX_ONE_OF(g->call->op, "aten::index_select", "aten::gather", "aten::scatter", "aten::scatter_add", "aten::scatter_reduce", "aten::index_add");
  if ((!(lists && arg == 1) && !(one && arg == 2)) || !strcmp(fx_stem(r->a, name), "unsqueeze")) return -1; /* which may be that call's node */
  const mp_node *n = NULL;
  for (uint32_t i = 0; i < g->node_count; i++)
    if (FX_ONE_OF(r->g->nodes[g->nodes[i]].type, "GatherND", "Gather", "GatherElements", "ScatterND", "ScatterElements")) n = &r->g->nodes[g->nodes[i]];
  uint32_t at = 0;
  const mp_fx_item *list = lists ? &g->call->args[arg] : NULL;
  for (uint32_t i = 0; list && list->kind == MP_FX_LIST && i < list->n; i++)
    if (list->at[i].kind == MP_FX_REF && !strcmp(list->at[i].text, name)) at = i;
  for (int32_t value = n && n->ins > 1 ? n->in[1] : -1; value >= 0;) {
    if (r->var_of_value[value] >= 0) return value;
    const mp_node *made = r->g->values[value].producer < 0 ? NULL : &r->g->nodes[r->g->values[value].producer];
    bool joins = made && !strcmp(made->type, "Concat");
    if (!made || !made->ins || (joins ? at >= made->ins : !FX_ONE_OF(made->type, "Unsqueeze", "Reshape", "Cast", "Expand"))) return -1;
    value = made->in[joins ? at : 0];
  }
  return -1;
}

/* the second operand of a Reshape or an Expand: no tensor of the program */
static bool is_size(const fx_rec *r, const fx_group *g, int32_t value) {
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &r->g->nodes[g->nodes[i]];
    if (n->ins > 1 && n->in[1] == value && FX_ONE_OF(n->type, "Reshape", "Expand")) return true;
  }
  return false;
}

/* The value that the group reads in place of `name`: the one so named, else the first that no other argument stands for. */
static int32_t stand_in(fx_rec *r, const fx_group *g, const char *name, uint32_t arg) {
  int32_t value = fx_value_named(r, name);
  for (size_t i = 0; i < r->lifted.n && value < 0; i++)
    if (!strcmp(r->lifted.at[i]->name, name) && r->lifted.at[i]->target) value = fx_value_named(r, r->lifted.at[i]->target);
  if (value >= 0) return value;
  if (arg == 1 && fx_joined_indices(r, g) >= 0) return fx_joined_indices(r, g);
  value = by_index(r, g, name, arg);
  if (value < 0) value = by_place(r, g, name);
  if (value < 0) value = by_structure(r, g, arg);
  if (value >= 0 && (r->var_of_value[value] >= 0 || r->g->values[value].kind == MP_VALUE_INITIALIZER)) return value;
  value = -1;
  const char *stem = fx_stem(r->a, name);
  uint32_t n, constants = fx_is_factory(stem);
  const int32_t *in = fx_externals(r, g, &n);
  if (!strcmp(stem, "arange")) { /* a twin, else a constant, but not one of the small ones that hold axes */
    for (uint32_t i = 0; i < n; i++) {
      int32_t var = r->var_of_value[in[i]], call = var < 0 ? -1 : mp_builder_at(r->b, var)->call;
      if (call >= 0 && !strcmp(mp_builder_call_at(r->b, (uint32_t)call)->row->name, "aten::arange")) return in[i];
    }
    for (uint32_t i = 0; i < n; i++) {
      uint64_t k = 0, best = 1;
      if (r->g->values[in[i]].kind != MP_VALUE_INITIALIZER || fx_is_taken(r, in[i]) || !mp_value_elements(&r->g->values[in[i]], &k)) continue;
      if (value >= 0) mp_value_elements(&r->g->values[value], &best);
      if (k > best) value = in[i];
    }
    if (value >= 0) return value;
  }
  bool factory = constants;
  for (uint32_t pass = 0; pass < 2; pass++) /* values that nodes make come first, but constants where the name says so */
    for (uint32_t i = 0; i < n; i++) {
      bool constant = r->g->values[in[i]].kind == MP_VALUE_INITIALIZER && r->var_of_value[in[i]] < 0;
      int32_t var = r->var_of_value[in[i]];
      if (fx_is_taken(r, in[i]) || constant != (pass ? !constants : constants)) continue;
      if (!factory && is_size(r, g, in[i])) continue;
      if (!constant && var < 0) continue; /* a shape, or a value that another call has to itself */
      if (fx_item_has_value(r, g->call->args, g->call->arg_count, in[i])) continue;
      return in[i];
    }
  for (uint32_t i = 0; i < n; i++) /* equal to another argument, and so one with it: w.view(..), b.view(..), both zeros */
    if (r->g->values[in[i]].kind == MP_VALUE_INITIALIZER && !strcmp(fx_stem(r->a, r->g->values[in[i]].name), stem)) return in[i];
  return -1;
}

/* ---- what a name means ---- */

/* A product whose node was merged with the reshapes around it: bmm(view(a), view(b)), viewed back. -1 where the reader's node is none. */
static int32_t lost_product(fx_rec *r, const fx_group *g, const char *name) {
  const mp_node *n = &r->g->nodes[g->nodes[0]];
  if (strcmp(n->type, "MatMul") != 0 || n->ins < 2 || !n->outs || n->in[0] < 0 || n->in[1] < 0) return -1;
  int32_t a = r->var_of_value[n->in[0]], b = r->var_of_value[n->in[1]];
  if (b < 0 && r->g->values[n->in[1]].kind == MP_VALUE_INITIALIZER) b = fx_constant_var(r, g, r->g->values[n->in[1]].name, n->in[1]);
  if (a < 0 || b < 0) return -1;
  int32_t out = fx_result(r, name, n->out[0], -1);
  fx_emit(r, g, "aten::matmul", (mp_arg[]){mp_arg_var(a), mp_arg_var(b)}, 2, fx_module(r, g), &out, 1, true);
  return out;
}

/* equal calls are merged: when x was made by the same operation, the reference is to its twin */
static int32_t twin(fx_rec *r, const fx_group *g, const char *name, const char *op, int32_t x) {
  mp_var v = *mp_builder_at(r->b, x);
  if (v.call < 0) return -1;
  mp_call c = *mp_builder_call_at(r->b, (uint32_t)v.call);
  bool difference = !strcmp(op, "aten::sub") && !strcmp(c.row->name, "aten::rsub"); /* 1 - x: FX numbers it as a sub */
  if ((strcmp(c.row->name, op) != 0 && !difference) || c.out_count != 1) return -1;
  int32_t out = fx_result_dims(r, name, v.dtype, v.rank, v.dims);
  fx_emit(r, g, c.row->name, fx_args_again(r, g, &c, 0), c.arg_count, fx_module(r, g), &out, 1, false);
  return out;
}

/* Equal constants are one, also those that were made of different parameters: another of them is as yet unread, so this constant was made of that. */
static int32_t from_equal(fx_rec *r, const fx_group *g, const char *name, const char *stem, int32_t value) {
  mp_var v = *mp_builder_at(r->b, r->var_of_value[value]);
  if (r->g->values[value].kind != MP_VALUE_INITIALIZER || v.call < 0 || fx_is_factory(stem)) return -1;
  mp_call c = *mp_builder_call_at(r->b, (uint32_t)v.call);
  bool folded_one = c.arg_count && c.args[0].kind == MP_ARG_VAR && mp_builder_at(r->b, c.args[0].as.var)->role == MP_ROLE_PARAMETER;
  if (!folded_one || !fx_forgotten(r, g, false)) return -1;
  int32_t first = r->var_of_value[value];
  r->var_of_value[value] = -1;
  int32_t var = fx_constant_var(r, g, name, value);
  r->var_of_value[value] = first;
  return var;
}

/* The same of a call whose parameter was equal to another: cls_token.expand(..), dist_token.expand(..), both zeros. */
static int32_t of_equal_parameter(fx_rec *r, const fx_group *g, const char *name, const char *stem, int32_t x) {
  mp_var v = *mp_builder_at(r->b, x);
  mp_call c = v.call < 0 ? (mp_call){0} : *mp_builder_call_at(r->b, (uint32_t)v.call);
  if (!c.row || !c.arg_count || c.out_count != 1 || strcmp(c.row->name, mp_format(r->a, "aten::%s", stem)) != 0 || c.args[0].kind != MP_ARG_VAR) return -1;
  mp_var w = *mp_builder_at(r->b, c.args[0].as.var);
  fx_param *p = w.role == MP_ROLE_PARAMETER ? fx_forgotten(r, g, false) : NULL;
  if (!p || p->known || p->selects || mp_builder_at(r->b, p->var)->role != MP_ROLE_PARAMETER) return -1;
  fx_give_dims(r, p, w.dtype, w.rank, w.dims);
  fx_note(r, &r->guessed, p->spec->target);
  p->used = true;
  mp_arg *args = mp_alloc_array(r->a, c.arg_count, sizeof *args);
  memcpy(args, c.args, c.arg_count * sizeof *args);
  args[0] = mp_arg_var(p->var);
  int32_t out = fx_result_dims(r, name, v.dtype, v.rank, v.dims);
  fx_emit(r, g, c.row->name, args, c.arg_count, fx_module(r, g), &out, 1, false);
  return out;
}

bool fx_is_dropped_out(const fx_rec *r, int32_t x) {
  int32_t call = mp_builder_at(r->b, x)->call;
  const char *made = call < 0 ? "" : mp_builder_call_at(r->b, (uint32_t)call)->row->name;
  return *made && !FX_ONE_OF(made, "aten::transpose", "aten::permute", "aten::view", "aten::reshape", "aten::expand", "aten::slice", "aten::select", "aten::unbind", "aten::split",
                             "aten::split_with_sizes", "aten::chunk", "aten::narrow", "aten::unsqueeze", "aten::squeeze", "aten::flatten", "aten::unfold", "aten::cat");
}

static bool says_copy(const char *source) { return !source || strstr(source, "contiguous(") || strstr(source, ".clone("); }

/* x.view(..) or x.reshape(..) of sizes that the exporter could not compare with strides: it copied first, which no run does that need not. No line says so that reads x or made it. */
static int32_t copied_for_view(fx_rec *r, const fx_group *g, const char *name, int32_t x) {
  mp_var v = *mp_builder_at(r->b, x);
  const char *made = v.call < 0 ? NULL : mp_builder_call_at(r->b, (uint32_t)v.call)->source;
  if (strcmp(g->call->op, "aten::view") != 0 || fx_uses(r, name) != 1 || says_copy(made) || says_copy(g->source) || (!strstr(g->source, ".view(") && !strstr(g->source, ".reshape("))) return -1;
  int64_t dims[MP_RANK] = {0};
  int32_t value = fx_value_output(r, g);
  int rank = value < 0 ? -1 : fx_dims_of_value(r, value, dims);
  if (rank < 0) return -1;
  int32_t out = fx_result_dims(r, name, v.dtype, rank, dims);
  fx_emit(r, g, "aten::reshape", (mp_arg[]){mp_arg_var(x), mp_arg_ints(r->a, dims, (uint32_t)rank)}, 2, fx_module(r, g), &out, 1, false);
  return out;
}

/* A dropout that does not act (p = 0, inference) leaves a clone, as contiguous() does, and returns its operand. contiguous() follows what turns, cuts or joins tensors. */
static int32_t lost_clone(fx_rec *r, const fx_group *g, const char *name, int32_t x) {
  int32_t viewed = copied_for_view(r, g, name, x);
  if (viewed >= 0) return viewed;
  if (FX_ONE_OF(g->call->op, "aten::transpose", "aten::permute")) { /* x.permute(..).contiguous().permute(..): what was copied had been turned */
    int32_t turned = fx_first_transpose(r, g, mp_format(r->a, "%s.turned", name), x);
    return fx_emit_unary(r, g, "aten::contiguous", name, (mp_arg[]){mp_arg_var(turned)}, 1, turned);
  }
  mp_arg args[3] = {mp_arg_var(x), mp_arg_float(0), mp_arg_bool(false)};
  int32_t call = mp_builder_at(r->b, x)->call;
  bool sum = !strcmp(g->call->op, "aten::add") && !(call >= 0 && mp_call_makes_maps(mp_builder_call_at(r->b, (uint32_t)call))); /* of a shortcut, and what a dropout let through: attention's result, turned */
  if (fx_is_dropped_out(r, x) || sum || FX_ONE_OF(g->call->op, "aten::layer_norm", "aten::linear", "aten::native_layer_norm")) return fx_emit_unary(r, g, "aten::dropout", name, args, 3, x);
  return fx_emit_unary(r, g, "aten::contiguous", name, args, 1, x);
}

static int32_t rebuilt(fx_rec *r, const fx_group *g, const char *name, const char *stem, int32_t x, uint32_t arg) {
  mp_var v = *mp_builder_at(r->b, x);
  mp_arg args[3] = {mp_arg_var(x), mp_arg_none(), mp_arg_bool(false)};
  int32_t copy = fx_made_again(r, g, name, stem, x);
  if (copy >= 0) return copy;
  if (FX_ONE_OF(stem, "alias", "type_as", "_to_copy", "lift_fresh_copy", "convert_element_type_default", "convert_element_type", "getitem", "copy",
                "expand", "dropout"))
    return x; /* they changed nothing, and PyTorch returns the operand itself or a view of all of it */
  if (!strcmp(stem, "detach")) return fx_emit_unary(r, g, "aten::detach", name, args, 1, x);
  if (!strcmp(stem, "clone")) return lost_clone(r, g, name, x);
  bool unit = FX_ONE_OF(stem, "mul", "div", "add", "sub", "pow"), read = unit && v.role == MP_ROLE_RESULT && fx_has_lost_reader(r, v.name); /* by that call: not one merged with x */
  int32_t same = read ? -1 : twin(r, g, name, mp_format(r->a, "aten::%s", stem), x);
  if (same >= 0 && !FX_ONE_OF(stem, "transpose", "permute", "view", "unsqueeze")) return same;
  if (FX_ONE_OF(stem, "bmm", "matmul", "mm")) {
    int32_t product = lost_product(r, g, name);
    if (product >= 0) return product;
  }
  if (FX_ONE_OF(stem, "transpose", "permute")) return fx_first_transpose(r, g, name, x);
  if (!strcmp(stem, "unsqueeze")) return fx_first_unsqueeze(r, g, name, x);
  if (!strcmp(stem, "cat")) { /* with what is empty: a copy */
    int32_t out = fx_result_dims(r, name, v.dtype, v.rank, v.dims);
    fx_emit(r, g, "aten::cat", (mp_arg[]){mp_arg_vars(r->a, &x, 1), mp_arg_int(-1)}, 2, fx_module(r, g), &out, 1, false);
    return out;
  }
  if (FX_ONE_OF(stem, "view", "reshape", "_unsafe_view", "squeeze", "flatten", "slice", "select", "t")) return fx_lost_view(r, g, name, x, arg);
  if (unit) { /* by 1, plus 0: no node, yet a tensor */
    int by = FX_ONE_OF(stem, "add", "sub") ? 0 : 1;
    if (read) fx_use_of(r, v.name)->lost++;
    args[1] = mp_dtype_is_float(v.dtype) ? mp_arg_float(by) : mp_arg_int(by);
    return fx_emit_unary(r, g, mp_format(r->a, "aten::%s", stem), name, args, 2, x);
  }
  if (v.role == MP_ROLE_INPUT) return x; /* its placeholder has another name */
  mp_builder_warn(r->b, "%s: '%s' was removed from the file and is taken for its operand (%s)", g->call->name, name, v.name);
  return x;
}

/* a constant that is a number in the program: torch.tensor(2.0), or what was reckoned with such */
static bool is_number(fx_rec *r, const fx_group *g, const char *stem, int32_t value, mp_arg *number) {
  const mp_value *v = &r->g->values[value];
  if (FX_ONE_OF(stem, "_local_scalar_dense", "item")) {
    if (!fx_number_of_value(v, number)) *number = mp_arg_int(0);
    return true;
  }
  bool reckoned = v->kind == MP_VALUE_INITIALIZER && v->rank == 0 && fx_is_arithmetic(stem) && r->var_of_value[value] < 0 && !fx_forgotten(r, g, false);
  if (!strcmp(stem, "exp") && mp_dtype_is_float(v->dtype) && fx_only_one(r, g)) reckoned = false; /* logit_scale.exp(), in a loss outside its module */
  return (reckoned || FX_ONE_OF(stem, "scalar_tensor_default", "scalar_tensor")) && fx_number_of_value(v, number);
}

/* the constant axes of a reduction; false where they are none */
static bool axes_of(fx_rec *r, int32_t value, mp_arg *arg) {
  const mp_value *v = &r->g->values[value];
  int64_t dims[MP_RANK];
  if (!v->ints || v->contents > MP_RANK) return false;
  for (uint32_t i = 0; i < v->contents; i++) dims[i] = v->ints[i].n;
  *arg = mp_arg_ints(r->a, dims, (uint32_t)v->contents);
  return true;
}

/* A value that another call's nodes have to themselves (the mean inside var, the difference inside mse_loss), made again by calls of its own. -> its variable; -1 */
static int32_t made_anew(fx_rec *r, const fx_group *g, int32_t value, int depth) {
  static const struct {
    const char *type, *op;
  } calls[] = {{"Sub", "aten::sub"}, {"Add", "aten::add"}, {"Mul", "aten::mul"}, {"Div", "aten::div"}, {"ReduceMean", "aten::mean"}};
  if (r->var_of_value[value] >= 0) return r->var_of_value[value];
  const mp_node *n = r->g->values[value].producer < 0 ? NULL : &r->g->nodes[r->g->values[value].producer];
  if (!n || depth > 2 || n->ins != 2 || n->in[0] < 0 || n->in[1] < 0) return -1;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    if (strcmp(n->type, calls[i].type) != 0) continue;
    bool reduced = !strcmp(n->type, "ReduceMean");
    int32_t a = made_anew(r, g, n->in[0], depth + 1), b = reduced || a < 0 ? -1 : made_anew(r, g, n->in[1], depth + 1);
    mp_arg args[] = {mp_arg_var(a), mp_arg_var(b), mp_arg_bool(mp_node_int(n, "keepdims", 1) != 0)};
    if (a < 0 || !(reduced ? axes_of(r, n->in[1], &args[1]) : b >= 0)) return -1;
    int32_t out = fx_result(r, r->g->values[value].name, value, -1);
    fx_emit(r, g, calls[i].op, args, reduced ? 3 : 2, fx_module(r, g), &out, 1, false);
    return r->var_of_value[value] = out;
  }
  return -1;
}

/* What the reader takes was merged with a node of another call. -> the value, which now stands for it; -1 */
static int32_t made_inside(fx_rec *r, const fx_group *g, uint32_t arg) {
  int32_t value = by_structure(r, g, arg);
  return value >= 0 && r->var_of_value[value] < 0 && made_anew(r, g, value, 0) >= 0 ? value : -1;
}

/* The same of an elementwise call whose node another call has as a part: sigmoid(x) beside binary_cross_entropy_with_logits(x, y), which is written out with one. False: it is none */
static bool part_of_another(fx_rec *r, const fx_group *g, const char *name, const char *stem) {
  uint32_t n;
  const int32_t *in = fx_externals(r, g, &n);
  for (uint32_t i = 0; i < n && fx_value_named(r, name) < 0; i++) {
    const mp_value *v = &r->g->values[in[i]];
    const mp_node *made = v->producer < 0 || r->var_of_value[in[i]] >= 0 ? NULL : &r->g->nodes[v->producer];
    if (!made || made->ins != 1 || made->in[0] < 0 || strcasecmp(made->type, stem) != 0 || r->var_of_value[made->in[0]] < 0) continue;
    int32_t out = fx_result(r, name, in[i], -1);
    fx_emit(r, g, mp_format(r->a, "aten::%s", stem), (mp_arg[]){mp_arg_var(r->var_of_value[made->in[0]])}, 1, fx_module(r, g), &out, 1, false);
    fx_set(r, name, out);
    fx_ref_of(r, name)->stands = in[i] + 1;
    return true;
  }
  return false;
}

bool fx_resurrect(fx_rec *r, const fx_group *g, const char *name, uint32_t arg) {
  const char *stem = fx_stem(r->a, name);
  if (fx_folded_product(r, g, name) || fx_merged_pad(r, g, name, stem) || part_of_another(r, g, name, stem)) return true;
  int32_t value = fx_value_named(r, name) < 0 ? made_inside(r, g, arg) : -1;
  if (value >= 0) {
    int32_t made = r->var_of_value[value];
    bool all = !strcmp(mp_builder_call_at(r->b, (uint32_t)mp_builder_at(r->b, made)->call)->row->name, mp_format(r->a, "aten::%s", stem));
    fx_set(r, name, all ? made : rebuilt(r, g, name, stem, made, arg));
    fx_ref_of(r, name)->stands = value + 1;
    return true;
  }
  value = stand_in(r, g, name, arg);
  if (value < 0) {
    mp_builder_warn(r->b, "%s: nothing in the file tells what '%s' was", g->call->name, name);
    return false;
  }
  *mp_push(r->a, &r->taken) = value;
  mp_arg number;
  if (is_number(r, g, stem, value, &number)) {
    *fx_ref_of(r, name) = (fx_ref){.kind = FX_SCALAR, .scalar = number};
    return true;
  }
  int32_t x = r->var_of_value[value];
  if (x < 0) {
    if (r->g->values[value].kind != MP_VALUE_INITIALIZER) {
      mp_builder_warn(r->b, "%s: '%s' is read before it is made", g->call->name, r->g->values[value].name);
      return false;
    }
    fx_set(r, name, fx_constant_var(r, g, name, value));
  } else {
    int32_t var = from_equal(r, g, name, stem, value);
    if (var < 0) var = of_equal_parameter(r, g, name, stem, x);
    fx_set(r, name, var >= 0 ? var : rebuilt(r, g, name, stem, x, arg));
  }
  fx_ref_of(r, name)->stands = value + 1;
  return true;
}
