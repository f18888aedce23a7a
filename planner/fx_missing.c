/* Calls that the exporter's optimizer removed. What is left of one is a reference in somebody's arguments, %clone_3: its name tells the operation,
 * and the value that the reader's nodes take in its place is what it was made from. */
#include <stdlib.h>

#include "planner/fx.h"

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

static bool is_factory(const char *stem) {
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

/* Products and attention read their operands in another order than the call names them: where argument `arg` enters. */
static int32_t by_structure(const fx_rec *r, const fx_group *g, uint32_t arg) {
  const mp_node *only = g->node_count == 1 ? &r->g->nodes[g->nodes[0]] : NULL;
  if (only && !arg && only->ins == 1) return only->in[0];
  if (only && arg < only->ins &&
      FX_ONE_OF(only->type, "Add", "Sub", "Mul", "Div", "Pow", "MatMul", "LayerNormalization", "Softmax", "LogSoftmax", "Max", "Min"))
    return only->in[arg];
  const mp_node *end = &r->g->nodes[g->nodes[g->node_count - 1]];
  for (uint32_t i = 0; i < g->node_count && arg < 2; i++) { /* what is written into, and what is written */
    const mp_node *n = &r->g->nodes[g->nodes[i]];
    if (n->ins > 2 && FX_ONE_OF(n->type, "ScatterND", "ScatterElements")) return origin(r, g, n->in[2 * arg]);
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
static int32_t joined_indices(const fx_rec *r, const fx_group *g) {
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

/* The value that the group reads in place of `name`: the one so named, else the first that no other argument stands for. */
static int32_t stand_in(fx_rec *r, const fx_group *g, const char *name, uint32_t arg) {
  int32_t value = fx_value_named(r, name);
  for (size_t i = 0; i < r->lifted.n && value < 0; i++)
    if (!strcmp(r->lifted.at[i]->name, name) && r->lifted.at[i]->target) value = fx_value_named(r, r->lifted.at[i]->target);
  if (value >= 0) return value;
  if (arg == 1 && joined_indices(r, g) >= 0) return joined_indices(r, g);
  value = by_place(r, g, name);
  if (value < 0) value = by_structure(r, g, arg);
  if (value >= 0 && (r->var_of_value[value] >= 0 || r->g->values[value].kind == MP_VALUE_INITIALIZER)) return value;
  value = -1;
  const char *stem = fx_stem(r->a, name);
  uint32_t n, constants = is_factory(stem);
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
  for (uint32_t pass = 0; pass < 2; pass++) /* values that nodes make come first, but constants where the name says so */
    for (uint32_t i = 0; i < n; i++) {
      bool constant = r->g->values[in[i]].kind == MP_VALUE_INITIALIZER && r->var_of_value[in[i]] < 0;
      int32_t var = r->var_of_value[in[i]];
      if (fx_is_taken(r, in[i]) || constant != (pass ? !constants : constants)) continue;
      if (!constant && var < 0) continue; /* a shape, or a value that another call has to itself */
      if (fx_item_has_value(r, g->call->args, g->call->arg_count, in[i])) continue;
      return in[i];
    }
  for (uint32_t i = 0; i < n; i++) /* equal to another argument, and so one with it: w.view(..), b.view(..), both zeros */
    if (r->g->values[in[i]].kind == MP_VALUE_INITIALIZER && !strcmp(fx_stem(r->a, r->g->values[in[i]].name), stem)) return in[i];
  return -1;
}

/* ---- constants: parameters under an operation that was done at export, and factories ---- */

/* The first parameter, else buffer, of the module that no call names and nothing has taken; of an embedding inside it where rows were looked up; of any
 * module in a region that lost its own. */
static fx_param *forgotten(fx_rec *r, const fx_group *g, bool looks_up) {
  fx_param *best = NULL;
  size_t length = 0;
  for (size_t i = 0; i < r->params.n; i++) {
    fx_param *p = &r->params.at[i];
    if ((p->used && !p->selects) || !p->spec->target || fx_uses(r, p->spec->name)) continue;
    if (looks_up && mp_builder_at(r->b, p->var)->role != MP_ROLE_PARAMETER) continue;
    const char *dot = strrchr(p->spec->target, '.');
    char *parent = mp_strndup(r->a, p->spec->target, dot ? (size_t)(dot - p->spec->target) : 0);
    bool related = (g->aside && !best && mp_builder_at(r->b, p->var)->role == MP_ROLE_PARAMETER) || !strcmp(parent, g->path) || (looks_up && fx_is_inside(p->spec->target, g->path));
    bool trains = mp_builder_at(r->b, p->var)->role == MP_ROLE_PARAMETER, before = best && mp_builder_at(r->b, best->var)->role == MP_ROLE_PARAMETER;
    if (related && (!best || strlen(parent) > length || (strlen(parent) == length && trains && !before))) {
      best = p;
      length = strlen(parent);
    }
  }
  return best;
}

static int32_t emit_unary(fx_rec *r, const fx_group *g, const char *op, const char *name, const mp_arg *args, uint32_t n, int32_t like) {
  mp_var shape = *mp_builder_at(r->b, like);
  int32_t out = fx_result_dims(r, name, shape.dtype, shape.rank, shape.dims);
  fx_emit(r, g, op, args, n, fx_module(r, g), &out, 1, false);
  *mp_push(r->a, &r->lost) = out;
  return out;
}

/* What a factory such as empty_like was most likely given. */
int32_t fx_latest(fx_rec *r, mp_dtype t, int rank, const int64_t *dims) {
  for (int32_t i = mp_builder_var_count(r->b); i-- > 0;) {
    const mp_var *v = mp_builder_at(r->b, i);
    if (v->call >= 0 && v->dtype == t && (!dims || (v->rank == rank && !memcmp(v->dims, dims, (size_t)rank * sizeof *dims)))) return i;
  }
  return -1;
}

/* Made anew in every forward pass. Floating ones follow the type of what they meet: models write dtype=x.dtype. */
static void emit_factory(fx_rec *r, const fx_group *g, const char *stem, mp_dtype t, int rank, const int64_t *dims, int32_t out) {
  bool like = strstr(stem, "_like") != NULL;
  int32_t x = !mp_dtype_is_float(t) ? -1 : like ? fx_latest(r, t, rank, dims) : fx_latest(r, t, 0, NULL);
  mp_arg size = mp_arg_ints(r->a, dims, (uint32_t)rank);
  if (x >= 0 && like)
    fx_emit(r, g, mp_format(r->a, "aten::%s", stem), (mp_arg[]){mp_arg_var(x)}, 1, fx_module(r, g), &out, 1, false);
  else if (x >= 0)
    fx_emit(r, g, "aten::new_full", (mp_arg[]){mp_arg_var(x), size, mp_arg_int(0)}, 3, fx_module(r, g), &out, 1, false);
  else
    fx_emit(r, g, "aten::full", (mp_arg[]){size, mp_arg_int(0), mp_arg_dtype(t)}, 3, fx_module(r, g), &out, 1, false);
}

/* What an operation on a parameter, done at export, was given besides it. */
typedef enum second { ALONE, SIZE, TURN, DTYPE, IDS, UNIT } second;
static const struct {
  const char *stem, *op;
  second with;
} folded[] = {{"expand", "aten::expand", SIZE},
              {"view", "aten::view", SIZE},
              {"reshape", "aten::view", SIZE},
              {"unsqueeze", "aten::view", SIZE},
              {"squeeze", "aten::view", SIZE},
              {"slice", "aten::view", SIZE},
              {"t", "aten::permute", TURN},
              {"transpose", "aten::permute", TURN},
              {"permute", "aten::permute", TURN},
              {"_to_copy", "aten::_to_copy", DTYPE},
              {"slice_scatter", "aten::clone", ALONE}, /* a copy, part of which was written over */
              {"select_scatter", "aten::clone", ALONE},
              {"embedding", "aten::embedding", IDS},
              {"mul", "aten::mul", UNIT},
              {"add", "aten::add", UNIT},
              {"sub", "aten::sub", UNIT},
              {"div", "aten::div", UNIT},
              {"pow", "aten::pow", UNIT}};

/* Can the operation be put back with its operand alone, or with what its result tells? Of others (repeat, repeat_interleave: positions, as a rule) the result
 * is taken to be made anew. */
static bool of_one(const char *stem) {
  for (size_t i = 0; i < sizeof folded / sizeof *folded; i++)
    if (!strcmp(folded[i].stem, stem)) return true;
  return FX_ONE_OF(stem, "select", "exp", "log", "neg", "abs", "sqrt", "rsqrt", "sin", "cos", "tanh", "sigmoid", "relu", "softplus", "reciprocal", "clone", "detach", "contiguous", "sum",
                   "mean", "square", "silu", "gelu", "softmax", "clamp", "alias", "getitem", "cat", "stack", "index", "linear", "mm", "matmul", "bmm");
}

/* w[0], w[1]: rows of one parameter, as many as are read */
static void emit_row(fx_rec *r, const fx_group *g, fx_param *p, const mp_value *v, int rank, const int64_t *dims, int32_t out) {
  if (!p->selects++) {
    int64_t rows[MP_RANK] = {0};
    memcpy(rows + 1, dims, (size_t)(rank < MP_RANK ? rank : MP_RANK - 1) * sizeof *dims);
    fx_give_dims(r, p, v->dtype, rank < MP_RANK ? rank + 1 : MP_RANK, rows);
    fx_note(r, &r->guessed, p->spec->target);
  }
  mp_builder_at(r->b, p->var)->dims[0] = p->selects;
  fx_emit(r, g, "aten::select", (mp_arg[]){mp_arg_var(p->var), mp_arg_int(0), mp_arg_int(p->selects - 1)}, 3, fx_module(r, g), &out, 1, false);
}

/* The size of a parameter as far as what was made from it tells. */
static void guess_size(fx_rec *r, fx_param *p, const mp_value *v, second with, bool expanded, int rank, const int64_t *dims) {
  int64_t own[MP_RANK] = {0};
  if (p->known) return;
  fx_note(r, &r->guessed, p->spec->target);
  for (int i = 0; i < rank; i++) own[i] = dims[with == TURN && rank == 2 ? rank - 1 - i : i];
  if (expanded && rank > 0) own[0] = 1;                                       /* what is expanded is the batch */
  if (with == IDS && rank > 1) memcpy(own, dims + rank - 2, 2 * sizeof *own); /* rows that are looked up; the rest is not in the file */
  fx_give_dims(r, p, with == DTYPE ? MP_FLOAT : v->dtype, with == IDS && rank > 1 ? 2 : rank, own);
}

static bool has_elements(const mp_var *v, int rank, const int64_t *dims) {
  uint64_t have = 1, want = 1;
  for (int i = 0; i < v->rank; i++) have *= (uint64_t)v->dims[i];
  for (int i = 0; i < rank; i++) want *= (uint64_t)dims[i];
  return have == want;
}

/* More was done to the parameter than the name of the last operation says: its sum, in the shape that is read, gives it a gradient all the same. */
static void emit_whole_sum(fx_rec *r, const fx_group *g, fx_param *p, const mp_value *v, int rank, const int64_t *dims, int32_t out) {
  int32_t sum = rank ? fx_result_dims(r, "sum", v->dtype, 0, NULL) : out;
  fx_emit(r, g, "aten::sum", (mp_arg[]){mp_arg_var(p->var)}, 1, fx_module(r, g), &sum, 1, false);
  if (rank) fx_emit(r, g, "aten::expand", (mp_arg[]){mp_arg_var(sum), mp_arg_ints(r->a, dims, (uint32_t)rank)}, 2, fx_module(r, g), &out, 1, false);
}

static void emit_folded(fx_rec *r, const fx_group *g, fx_param *p, const char *stem, int32_t value, int rank, const int64_t *dims, int32_t out) {
  const mp_value *v = &r->g->values[value];
  const char *op = mp_format(r->a, "aten::%s", stem);
  second with = ALONE;
  for (size_t i = 0; i < sizeof folded / sizeof *folded; i++)
    if (!strcmp(folded[i].stem, stem)) {
      op = folded[i].op;
      with = folded[i].with;
    }
  bool scalar = !p->known && with == UNIT && !rank; /* a sum of it, times a number: says nothing of its size, which another constant may */
  if (scalar || (p->known && (with == SIZE || with == UNIT) && !has_elements(mp_builder_at(r->b, p->var), rank, dims))) {
    emit_whole_sum(r, g, p, v, rank, dims, out);
    p->used = !scalar;
    return;
  }
  if (with == TURN && rank != 2) { /* how it was turned is not known: the elements are */
    op = "aten::view";
    with = SIZE;
  }
  guess_size(r, p, v, with, !strcmp(stem, "expand"), rank, dims);
  mp_arg args[] = {mp_arg_var(p->var), mp_arg_none()};
  int64_t perm[MP_RANK];
  for (int i = 0; i < rank; i++) perm[i] = rank - 1 - i;
  if (with == SIZE)
    args[1] = mp_arg_ints(r->a, dims, (uint32_t)rank);
  else if (with == TURN)
    args[1] = mp_arg_ints(r->a, perm, (uint32_t)rank);
  else if (with == DTYPE)
    args[1] = mp_arg_dtype(v->dtype);
  else if (with == UNIT)
    args[1] = mp_arg_float(1);
  else if (with == IDS) /* constant ids live on the device */
    args[1] = mp_arg_var(mp_builder_var(r->b, MP_ROLE_CONSTANT, mp_format(r->a, "%s.ids", v->name), MP_INT64, rank ? rank - 1 : 0, dims, -1));
  fx_emit(r, g, op, args, with == ALONE ? 1 : 2, fx_module(r, g), &out, 1, false);
}

/* the bias beside the weight of a product whose bias, or what was made of it, the file names no more */
static fx_param *bias_beside(fx_rec *r, const fx_group *g, const char *name) {
  const mp_fx_item *a = g->call->args;
  if (g->call->arg_count < 3 || a[1].kind != MP_FX_REF || a[2].kind != MP_FX_REF || strcmp(a[2].text, name) != 0) return NULL;
  const fx_param *w = fx_param_named(r, a[1].text);
  const char *dot = w && w->spec->target ? strrchr(w->spec->target, '.') : NULL;
  if (!dot) return NULL;
  const char *bias = mp_format(r->a, "%.*s.bias", (int)(dot - w->spec->target), w->spec->target);
  for (size_t i = 0; i < r->params.n; i++)
    if (!r->params.at[i].used && r->params.at[i].spec->target && !strcmp(r->params.at[i].spec->target, bias)) return &r->params.at[i];
  return NULL;
}

/* repeat_interleave(x, n, d) is written out as unsqueeze, expand and reshape: where x was constant, what it was expanded to is what is left. -> x's rank */
static int narrow_repeated(fx_rec *r, const fx_group *g, int rank, int64_t *dims) {
  const mp_fx_call *c = g->call;
  int64_t out[MP_RANK] = {0};
  if (strcmp(c->op, "aten::repeat_interleave") != 0 || c->arg_count < 3 || fx_dims_of_value(r, fx_value_output(r, g), out) != rank - 1) return rank;
  int64_t own = c->args[2].i, axis = own < -rank || own >= rank ? 0 : own < 0 ? own + rank : own + 1; /* the one that was expanded */
  if (axis < 1 || axis >= rank || dims[axis] != c->args[1].i) return rank;
  memmove(dims + axis, dims + axis + 1, (size_t)(rank - 1 - axis) * sizeof *dims);
  return rank - 1;
}

/* The one matrix among the parameters whose transpose has these dims: x @ table.t(), where the table is looked up, too. */
static fx_param *turned(fx_rec *r, const char *stem, int rank, const int64_t *dims) {
  fx_param *found = NULL;
  if (rank != 2 || !FX_ONE_OF(stem, "t", "transpose", "permute")) return NULL;
  for (size_t i = 0; i < r->params.n; i++) {
    fx_param *p = &r->params.at[i];
    const mp_var *v = mp_builder_at(r->b, p->var);
    if (!p->known || v->role != MP_ROLE_PARAMETER || v->rank != 2 || v->dims[0] != dims[1] || v->dims[1] != dims[0]) continue;
    if (found) return NULL;
    found = p;
  }
  return found;
}

/* The one trained parameter of the module that other calls name, too, and from which an operation on every element makes as many: 1 - gate, beside gate. */
static fx_param *beside(fx_rec *r, const fx_group *g, const char *stem, const mp_value *v, int rank, const int64_t *dims) {
  fx_param *found = NULL;
  if (!FX_ONE_OF(stem, "add", "sub", "rsub", "mul", "div", "pow", "exp", "log", "neg", "abs", "sqrt", "tanh", "sigmoid", "relu", "softplus", "square", "clamp", "reciprocal")) return NULL;
  for (size_t i = 0; i < r->params.n; i++) {
    fx_param *p = &r->params.at[i];
    const mp_var *w = mp_builder_at(r->b, p->var);
    const char *dot = p->spec->target ? strrchr(p->spec->target, '.') : NULL;
    size_t path = dot ? (size_t)(dot - p->spec->target) : 0;
    bool own = p->spec->target && strlen(g->path) == path && !strncmp(p->spec->target, g->path, path);
    if (!own || !p->known || w->dtype != v->dtype || w->rank != rank || memcmp(w->dims, dims, (size_t)rank * sizeof *dims) != 0) continue;
    if (found) return NULL; /* also a buffer: it may have been that */
    found = p;
  }
  return found && mp_builder_at(r->b, found->var)->role == MP_ROLE_PARAMETER ? found : NULL;
}

/* the only parameter of the module and its parts, and of the file, that no call names and whose size nothing tells */
static fx_param *only_one(fx_rec *r, const fx_group *g) {
  fx_param *found = NULL;
  for (size_t i = 0; i < r->params.n; i++) {
    fx_param *p = &r->params.at[i];
    if (p->known || p->used || !p->spec->target || fx_uses(r, p->spec->name) || mp_builder_at(r->b, p->var)->role != MP_ROLE_PARAMETER) continue;
    if (fx_twin_of(r, p)) continue;
    if (found || !fx_is_inside(p->spec->target, g->path)) return NULL;
    found = p;
  }
  return found;
}

/* A mask that a model keeps as a buffer and hands down to its layers, where axes were put in front of it at export: the only buffer of a module around the reader that no call names. Its
 * size follows from the first constant that was made of it. */
static fx_param *handed_down(fx_rec *r, const fx_group *g, const char *stem, const mp_value *v, int rank, const int64_t *dims) {
  fx_param *found = NULL;
  if (!FX_ONE_OF(stem, "unsqueeze", "view", "expand") || !mp_dtype_is_float(v->dtype)) return NULL;
  while (rank > 2 && *dims == 1) rank--, dims++;
  for (size_t i = 0; i < r->params.n; i++) {
    fx_param *p = &r->params.at[i];
    const mp_var *b = mp_builder_at(r->b, p->var);
    const char *dot = p->spec->target ? strrchr(p->spec->target, '.') : NULL;
    if (!p->spec->target || b->role != MP_ROLE_BUFFER || fx_uses(r, p->spec->name)) continue;
    const char *around = mp_strndup(r->a, p->spec->target, dot ? (size_t)(dot - p->spec->target) : 0);
    if (!strcmp(around, g->path) || (*around && !fx_is_inside(g->path, around))) continue;
    if (found || (p->known && (b->rank != rank || memcmp(b->dims, dims, (size_t)rank * sizeof *dims) != 0))) return NULL;
    found = p;
  }
  if (found && !found->known) {
    fx_give_dims(r, found, v->dtype, rank, dims);
    fx_note(r, &r->guessed, found->spec->target);
  }
  if (found) found->used = true;
  return found;
}

/* what was made at export in place of a linear's weight was turned, too, for the product */
static void turn_back(const fx_rec *r, const fx_group *g, const char *name, int32_t value, int rank, int64_t *dims) {
  const mp_fx_call *c = g->call;
  if (rank != 2 || strcmp(c->op, "aten::linear") != 0 || c->arg_count < 2 || c->args[1].kind != MP_FX_REF || strcmp(c->args[1].text, name) != 0) return;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &r->g->nodes[g->nodes[i]];
    if (n->ins < 2 || n->in[1] != value || (strcmp(n->type, "MatMul") != 0 && (strcmp(n->type, "Gemm") != 0 || mp_node_int(n, "transB", 0)))) continue;
    int64_t rows = dims[1];
    dims[1] = dims[0];
    dims[0] = rows;
    return;
  }
}

/* A constant value: a parameter's, else an operation on a parameter that was done at export, else made anew in every forward pass. */
static int32_t constant_var(fx_rec *r, const fx_group *g, const char *name, int32_t value) {
  if (r->var_of_value[value] >= 0) return r->var_of_value[value];
  const mp_value *v = &r->g->values[value];
  const char *stem = fx_stem(r->a, name);
  int64_t dims[MP_RANK] = {0};
  bool noise = !strcmp(g->call->op, "aten::bernoulli"); /* made in the shape that is asked for; the constant may be an equal one of another shape */
  int rank = fx_dims_of_value(r, noise ? fx_value_output(r, g) : value, dims);
  if (value == joined_indices(r, g) && rank) rank--; /* each of them, in the shape of the result: together they broadcast to it */
  rank = narrow_repeated(r, g, rank, dims);
  turn_back(r, g, name, value, rank, dims);
  if (!strcmp(stem, "arange")) { /* unsqueezed where it is read */
    for (int i = 1; i < rank; i++) dims[0] *= dims[i];
    rank = 1;
  }
  int32_t out = fx_result_dims(r, name, v->dtype, rank, dims);
  if (fx_normed_weight(r, g, v, rank, dims, out)) return r->var_of_value[value] = out;
  bool anew = is_factory(stem) || !of_one(stem);
  fx_param *p = anew ? NULL : bias_beside(r, g, name);
  if (!p && !anew) p = forgotten(r, g, !strcmp(stem, "embedding"));
  if (!p) p = turned(r, stem, rank, dims);
  if (!p && !anew && mp_dtype_is_float(v->dtype)) p = beside(r, g, stem, v, rank, dims);
  if (!p && !anew && mp_dtype_is_float(v->dtype) && (rank || !strcmp(stem, "exp"))) p = only_one(r, g);
  fx_param *mask = p ? NULL : handed_down(r, g, stem, v, rank, dims);
  if (p) p->used = true;
  if (mask)
    fx_emit(r, g, "aten::view", (mp_arg[]){mp_arg_var(mask->var), mp_arg_ints(r->a, dims, (uint32_t)rank)}, 2, fx_module(r, g), &out, 1, false);
  else if (!p)
    emit_factory(r, g, stem, v->dtype, rank, dims, out);
  else if (!strcmp(stem, "select"))
    emit_row(r, g, p, v, rank, dims, out);
  else
    emit_folded(r, g, p, stem, value, rank, dims, out);
  r->var_of_value[value] = out;
  return out;
}

int32_t fx_var_of_initializer(fx_rec *r, int32_t value) {
  const mp_value *v = &r->g->values[value];
  if (v->kind != MP_VALUE_INITIALIZER) return -1;
  int64_t dims[MP_RANK] = {0};
  int rank = fx_dims_of_value(r, value, dims);
  int32_t var = mp_builder_var(r->b, MP_ROLE_CONSTANT, v->name, v->dtype, rank, dims, value);
  return r->var_of_value[value] = var;
}

/* ---- the table of what a name means ---- */

/* A product whose node was merged with the reshapes around it: bmm(view(a), view(b)), viewed back. -1 where the reader's node is none. */
static int32_t lost_product(fx_rec *r, const fx_group *g, const char *name) {
  const mp_node *n = &r->g->nodes[g->nodes[0]];
  if (strcmp(n->type, "MatMul") != 0 || n->ins < 2 || !n->outs || n->in[0] < 0 || n->in[1] < 0) return -1;
  int32_t a = r->var_of_value[n->in[0]], b = r->var_of_value[n->in[1]];
  if (b < 0 && r->g->values[n->in[1]].kind == MP_VALUE_INITIALIZER) b = constant_var(r, g, r->g->values[n->in[1]].name, n->in[1]);
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
  if (strcmp(c.row->name, op) != 0 || c.out_count != 1) return -1;
  int32_t out = fx_result_dims(r, name, v.dtype, v.rank, v.dims);
  fx_emit(r, g, op, c.args, c.arg_count, fx_module(r, g), &out, 1, false);
  return out;
}

/* Equal constants are one, also those that were made of different parameters: another of them is as yet unread, so this constant was made of that. */
static int32_t from_equal(fx_rec *r, const fx_group *g, const char *name, const char *stem, int32_t value) {
  mp_var v = *mp_builder_at(r->b, r->var_of_value[value]);
  if (r->g->values[value].kind != MP_VALUE_INITIALIZER || v.call < 0 || is_factory(stem)) return -1;
  mp_call c = *mp_builder_call_at(r->b, (uint32_t)v.call);
  bool folded_one = c.arg_count && c.args[0].kind == MP_ARG_VAR && mp_builder_at(r->b, c.args[0].as.var)->role == MP_ROLE_PARAMETER;
  if (!folded_one || !forgotten(r, g, false)) return -1;
  int32_t first = r->var_of_value[value];
  r->var_of_value[value] = -1;
  int32_t var = constant_var(r, g, name, value);
  r->var_of_value[value] = first;
  return var;
}

/* The same of a call whose parameter was equal to another: cls_token.expand(..), dist_token.expand(..), both zeros. */
static int32_t of_equal_parameter(fx_rec *r, const fx_group *g, const char *name, const char *stem, int32_t x) {
  mp_var v = *mp_builder_at(r->b, x);
  mp_call c = v.call < 0 ? (mp_call){0} : *mp_builder_call_at(r->b, (uint32_t)v.call);
  if (!c.row || !c.arg_count || c.out_count != 1 || strcmp(c.row->name, mp_format(r->a, "aten::%s", stem)) != 0 || c.args[0].kind != MP_ARG_VAR) return -1;
  mp_var w = *mp_builder_at(r->b, c.args[0].as.var);
  fx_param *p = w.role == MP_ROLE_PARAMETER ? forgotten(r, g, false) : NULL;
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

/* A dropout that does not act (p = 0, inference) leaves a clone, as contiguous() does, and returns its operand. contiguous() follows what turns, cuts or joins tensors. */
static int32_t lost_clone(fx_rec *r, const fx_group *g, const char *name, int32_t x) {
  if (FX_ONE_OF(g->call->op, "aten::transpose", "aten::permute")) { /* x.permute(..).contiguous().permute(..): what was copied had been turned */
    int32_t turned = fx_first_transpose(r, g, mp_format(r->a, "%s.turned", name), x);
    return emit_unary(r, g, "aten::contiguous", name, (mp_arg[]){mp_arg_var(turned)}, 1, turned);
  }
  mp_arg args[3] = {mp_arg_var(x), mp_arg_float(0), mp_arg_bool(false)};
  int32_t call = mp_builder_at(r->b, x)->call;
  const char *made = call < 0 ? "" : mp_builder_call_at(r->b, (uint32_t)call)->row->name;
  bool turned = !*made || FX_ONE_OF(made, "aten::transpose", "aten::permute", "aten::view", "aten::reshape", "aten::expand", "aten::slice", "aten::select", "aten::unbind", "aten::split",
                                    "aten::split_with_sizes", "aten::chunk", "aten::narrow", "aten::unsqueeze", "aten::squeeze", "aten::flatten", "aten::unfold", "aten::cat");
  bool sum = !strcmp(g->call->op, "aten::add") && !FX_ONE_OF(made, "aten::transpose", "aten::permute"); /* of a shortcut, and what a dropout let through */
  if (!turned || sum || FX_ONE_OF(g->call->op, "aten::layer_norm", "aten::linear", "aten::native_layer_norm")) return emit_unary(r, g, "aten::dropout", name, args, 3, x);
  return emit_unary(r, g, "aten::contiguous", name, args, 1, x);
}

static int32_t rebuilt(fx_rec *r, const fx_group *g, const char *name, const char *stem, int32_t x, uint32_t arg) {
  mp_var v = *mp_builder_at(r->b, x);
  mp_arg args[3] = {mp_arg_var(x), mp_arg_none(), mp_arg_bool(false)};
  int32_t copy = fx_made_again(r, g, name, stem, x);
  if (copy >= 0) return copy;
  if (FX_ONE_OF(stem, "alias", "type_as", "_to_copy", "lift_fresh_copy", "convert_element_type_default", "convert_element_type", "getitem", "copy",
                "expand", "dropout"))
    return x; /* they changed nothing, and PyTorch returns the operand itself or a view of all of it */
  if (!strcmp(stem, "detach")) return emit_unary(r, g, "aten::detach", name, args, 1, x);
  if (!strcmp(stem, "clone")) return lost_clone(r, g, name, x);
  int32_t same = twin(r, g, name, mp_format(r->a, "aten::%s", stem), x);
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
  if (FX_ONE_OF(stem, "mul", "div", "add", "sub", "pow")) { /* by 1, plus 0: no node, yet a tensor */
    int unit = FX_ONE_OF(stem, "add", "sub") ? 0 : 1;
    args[1] = mp_dtype_is_float(v.dtype) ? mp_arg_float(unit) : mp_arg_int(unit);
    return emit_unary(r, g, mp_format(r->a, "aten::%s", stem), name, args, 2, x);
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
  bool reckoned = v->kind == MP_VALUE_INITIALIZER && v->rank == 0 && fx_is_arithmetic(stem) && r->var_of_value[value] < 0 && !forgotten(r, g, false);
  if (!strcmp(stem, "exp") && mp_dtype_is_float(v->dtype) && only_one(r, g)) reckoned = false; /* logit_scale.exp(), in a loss outside its module */
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

bool fx_resurrect(fx_rec *r, const fx_group *g, const char *name, uint32_t arg) {
  const char *stem = fx_stem(r->a, name);
  if (fx_folded_product(r, g, name) || fx_merged_pad(r, g, name, stem)) return true;
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
    fx_set(r, name, constant_var(r, g, name, value));
  } else {
    int32_t var = from_equal(r, g, name, stem, value);
    if (var < 0) var = of_equal_parameter(r, g, name, stem, x);
    fx_set(r, name, var >= 0 ? var : rebuilt(r, g, name, stem, x, arg));
  }
  fx_ref_of(r, name)->stands = value + 1;
  return true;
}
