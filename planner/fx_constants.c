/* Constants in place of what a call read: parameters under an operation that was done at export, buffers in another shape, and what every forward pass makes anew. */
#include "planner/fx.h"

/* The first parameter, else buffer, of the module that no call names and nothing has taken; of an embedding inside it where rows were looked up; of any
 * module in a region that lost its own. */
fx_param *fx_forgotten(fx_rec *r, const fx_group *g, bool looks_up) {
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

int32_t fx_emit_unary(fx_rec *r, const fx_group *g, const char *op, const char *name, const mp_arg *args, uint32_t n, int32_t like) {
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

static bool is_view(const char *stem) { return FX_ONE_OF(stem, "unsqueeze", "view", "expand", "slice", "transpose", "permute"); }

static int32_t a_parameter(const fx_rec *r, mp_dtype t) {
  for (size_t i = 0; i < r->params.n; i++) {
    const mp_var *v = mp_builder_at(r->b, r->params.at[i].var);
    if (v->role == MP_ROLE_PARAMETER && v->dtype == t) return r->params.at[i].var;
  }
  return -1;
}

/* Made anew in every forward pass. Floating ones follow the type of what they meet: models write dtype=x.dtype. What is looked at as a view was made elsewhere, in the model's type. */
static void emit_factory(fx_rec *r, const fx_group *g, const char *stem, mp_dtype t, int rank, const int64_t *dims, int32_t out) {
  bool like = strstr(stem, "_like") != NULL;
  int32_t x = !mp_dtype_is_float(t) ? -1 : like ? fx_latest(r, t, rank, dims) : is_view(stem) ? a_parameter(r, t) : -1;
  if (x < 0 && !like && mp_dtype_is_float(t)) x = fx_latest(r, t, 0, NULL);
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
fx_param *fx_only_one(fx_rec *r, const fx_group *g) {
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

/* Was the constant handed down to members of a list of modules, each of which looked at it anew (cos.unsqueeze(1))? Then it is what another member read in that place, which the contents
 * tell where the file holds them. -> its variable; -1: `out` is the first */
static int32_t handed_to_another(fx_rec *r, const fx_group *g, const char *stem, int32_t value, int32_t out) {
  const mp_value *v = &r->g->values[value];
  if (!g->type || !mp_dtype_is_float(v->dtype) || !is_view(stem)) return -1;
  fx_handed own = {g->path, g->type, 0, value, out};
  int32_t found = -1;
  for (size_t i = 0; i < r->handed.n; i++) own.place += !strcmp(r->handed.at[i].path, g->path);
  for (size_t i = 0; i < r->handed.n && found < 0; i++) {
    const fx_handed *h = &r->handed.at[i];
    const mp_value *w = &r->g->values[h->value];
    bool alike = h->place == own.place && !strcmp(h->type, g->type) && w->dtype == v->dtype && w->rank == v->rank;
    uint64_t n = 1, bytes;
    for (int k = 0; k < v->rank && alike; k++) {
      alike = w->dims[k].n == v->dims[k].n;
      n *= (uint64_t)v->dims[k].n;
    }
    if (alike && v->raw && w->raw) alike = mp_dtype_bytes(v->dtype, n, &bytes) && !memcmp(v->raw, w->raw, bytes);
    if (alike) found = h->var;
  }
  *mp_push(r->a, &r->handed) = own;
  return found;
}

/* A constant value: a parameter's, else an operation on a parameter that was done at export, else made anew in every forward pass. */
int32_t fx_constant_var(fx_rec *r, const fx_group *g, const char *name, int32_t value) {
  if (r->var_of_value[value] >= 0) return r->var_of_value[value];
  const mp_value *v = &r->g->values[value];
  const char *stem = fx_stem(r->a, name);
  int64_t dims[MP_RANK] = {0};
  bool noise = !strcmp(g->call->op, "aten::bernoulli"); /* made in the shape that is asked for; the constant may be an equal one of another shape */
  int rank = fx_dims_of_value(r, noise ? fx_value_output(r, g) : value, dims);
  if (value == fx_joined_indices(r, g) && rank) rank--; /* each of them, in the shape of the result: together they broadcast to it */
  rank = narrow_repeated(r, g, rank, dims);
  turn_back(r, g, name, value, rank, dims);
  if (!strcmp(stem, "arange")) { /* unsqueezed where it is read */
    for (int i = 1; i < rank; i++) dims[0] *= dims[i];
    rank = 1;
  }
  int32_t out = fx_result_dims(r, name, v->dtype, rank, dims);
  if (fx_normed_weight(r, g, v, rank, dims, out)) return r->var_of_value[value] = out;
  bool anew = fx_is_factory(stem) || !of_one(stem);
  fx_param *p = anew ? NULL : bias_beside(r, g, name);
  if (!p && !anew) p = fx_forgotten(r, g, !strcmp(stem, "embedding"));
  if (!p) p = turned(r, stem, rank, dims);
  if (!p && !anew && mp_dtype_is_float(v->dtype)) p = beside(r, g, stem, v, rank, dims);
  if (!p && !anew && mp_dtype_is_float(v->dtype) && (rank || !strcmp(stem, "exp"))) p = fx_only_one(r, g);
  fx_param *mask = p ? NULL : handed_down(r, g, stem, v, rank, dims);
  int32_t shared = -1;
  if (p) p->used = true;
  if (mask)
    fx_emit(r, g, "aten::view", (mp_arg[]){mp_arg_var(mask->var), mp_arg_ints(r->a, dims, (uint32_t)rank)}, 2, fx_module(r, g), &out, 1, false);
  else if (!p && (shared = handed_to_another(r, g, stem, value, out)) >= 0)
    fx_emit(r, g, "aten::view", (mp_arg[]){mp_arg_var(shared), mp_arg_ints(r->a, dims, (uint32_t)rank)}, 2, fx_module(r, g), &out, 1, false);
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
  bool is_constant = v->kind == MP_VALUE_INITIALIZER || (v->producer >= 0 && !strcmp(r->g->nodes[v->producer].type, "Constant"));
  if (!is_constant) return -1;
  int64_t dims[MP_RANK] = {0};
  int rank = fx_dims_of_value(r, value, dims);
  int32_t var = mp_builder_var(r->b, MP_ROLE_CONSTANT, v->name, v->dtype, rank, dims, value);
  return r->var_of_value[value] = var;
}
