/* graph -> program from the dynamo exporter's metadata: the nodes that carry one FX name are one call of the framework, its arguments are written
 * beside them.
 *
 * Groups are read in the order of the node that makes their result. A reference in the arguments names an earlier call, a placeholder of the graph
 * signature or a symbolic integer; one that resolves to nothing is a call that the exporter's optimizer removed, and fx_missing.c puts it back. */
#include <stdio.h>
#include <string.h>

#include "planner/fx.h"

#define KEY(s) "pkg.torch.onnx." s

/* ---- names ---- */

fx_ref *fx_ref_of(fx_rec *r, const char *name) {
  bool fresh;
  uint32_t id = mp_names_add(r->a, r->names, name, strlen(name), &fresh);
  if (fresh) *mp_push(r->a, &r->refs) = (fx_ref){0};
  return &r->refs.at[id];
}

void fx_note(fx_rec *r, mp_text *t, const char *name) {
  if (t->n < 200)
    mp_text_add(r->a, t, "%s%s", t->n ? ", " : "", name);
  else if (t->at[t->n - 1] != '.')
    mp_text_add(r->a, t, ", ...");
}

void fx_set(fx_rec *r, const char *name, int32_t var) { *fx_ref_of(r, name) = (fx_ref){.kind = FX_TENSOR, .var = var}; }

const char *fx_stem(mp_arena *a, const char *name) {
  size_t n = strlen(name), end = n;
  while (end && name[end - 1] >= '0' && name[end - 1] <= '9') end--;
  return end && end < n && name[end - 1] == '_' && end > 1 ? mp_strndup(a, name, end - 1) : name;
}

fx_param *fx_param_named(fx_rec *r, const char *placeholder) {
  for (size_t i = 0; i < r->params.n; i++)
    if (!strcmp(r->params.at[i].spec->name, placeholder)) return &r->params.at[i];
  return NULL;
}

/* ---- values ---- */

int fx_dims_of_value(fx_rec *r, int32_t value, int64_t *dims) {
  if (value < 0) mp_fail(r->a, MP_BAD_INPUT, "%s: a call in the exporter's metadata has nodes without a result; export the model again", r->g->path);
  const mp_value *v = &r->g->values[value];
  bool known = v->rank >= 0 && v->rank <= MP_RANK;
  for (int i = 0; known && i < v->rank; i++) {
    known = mp_int_is_number(v->dims[i]);
    dims[i] = v->dims[i].n;
  }
  if (!known) {
    const char *why = mp_graph_why(r->a, r->g, value);
    mp_fail(r->a, MP_BAD_INPUT, "%s: the shape of '%s' is not known%s%s", r->g->path, v->name, why ? ": " : "", why ? why : "");
  }
  return v->rank;
}

int32_t fx_result_dims(fx_rec *r, const char *name, mp_dtype t, int rank, const int64_t *dims) {
  return mp_builder_var(r->b, MP_ROLE_RESULT, name, t, rank, dims, -1);
}

int32_t fx_result(fx_rec *r, const char *name, int32_t like_value, int32_t value) {
  int64_t dims[MP_RANK] = {0};
  int rank = fx_dims_of_value(r, like_value, dims);
  int32_t var = mp_builder_var(r->b, MP_ROLE_RESULT, name, r->g->values[like_value].dtype, rank, dims, value);
  if (value >= 0) r->var_of_value[value] = var;
  return var;
}

static bool is_getitem(const char *name) { return !strncmp(name, "getitem", 7) && (!name[7] || name[7] == '_'); }

static long getitem_number(const char *name) {
  long n = 0;
  for (const char *p = name + 7 + (name[7] == '_'); *p >= '0' && *p <= '9' && n < 100000000; p++) n = n * 10 + (*p - '0');
  return n;
}

int32_t fx_value_output(const fx_rec *r, const fx_group *g) {
  int32_t first = -1;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &r->g->nodes[g->nodes[i]];
    for (uint32_t o = 0; o < n->outs; o++) {
      if (n->out[o] < 0) continue;
      const char *name = r->g->values[n->out[o]].name;
      if (g->call && !strcmp(name, g->call->name)) return n->out[o];
      if (is_getitem(name) && (first < 0 || getitem_number(name) < getitem_number(r->g->values[first].name))) first = n->out[o];
    }
  }
  if (first >= 0) return first;
  const mp_node *last = &r->g->nodes[g->nodes[g->node_count - 1]];
  return last->outs ? last->out[0] : -1;
}

const int32_t *fx_externals(fx_rec *r, const fx_group *g, uint32_t *n) {
  MP_VEC(int32_t) v = {0};
  int32_t own = r->group_of_node[g->nodes[0]];
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *node = &r->g->nodes[g->nodes[i]];
    for (uint32_t k = 0; k < node->ins; k++) {
      int32_t value = node->in[k];
      bool skip = value < 0 || (r->g->values[value].producer >= 0 && r->group_of_node[r->g->values[value].producer] == own);
      for (size_t j = 0; j < v.n && !skip; j++) skip = v.at[j] == value;
      if (!skip) *mp_push(r->a, &v) = value;
    }
  }
  *n = (uint32_t)v.n;
  return v.at;
}

/* ---- module instances ---- */

#define MAX_SCOPES 64

/* opens every module of the group's scopes; remembers the innermost in the group */
static void read_scopes(fx_rec *r, fx_group *g, const mp_node *n) {
  const char *paths[MAX_SCOPES] = {0}, *types[MAX_SCOPES] = {0};
  const char *scopes = mp_node_meta(n, KEY("name_scopes")), *classes = mp_node_meta(n, KEY("class_hierarchy"));
  uint32_t count = scopes ? mp_fx_strings(r->a, scopes, paths, MAX_SCOPES) : 0;
  if (classes) mp_fx_strings(r->a, classes, types, MAX_SCOPES);
  g->path = "";
  g->type = count ? types[0] : NULL;
  if (count < 2 || count > MAX_SCOPES || *paths[0]) return; /* the first is the whole model, the last the call itself */
  g->path = paths[count - 2];
  g->type = types[count - 2];
}

/* A layer that shares its weights runs again right after itself, and nothing in the scopes says so. It did when its first submodule runs anew after
 * others. */
static bool runs_again(fx_rec *r, fx_layer *l, const char *child) {
  bool again = child && l->first && !strcmp(child, l->first) && (!l->last || strcmp(child, l->last) != 0) && l->children >= 3;
  if (again) {
    size_t k = (size_t)(l - r->layers.at);
    while (k && r->layers.at[k - 1].first && !strcmp(r->layers.at[k - 1].first, r->layers.at[k].path)) k--;
    mp_builder_leave(r->b, r->layers.at[k].path);
    r->layers.n = k;
    return true;
  }
  if (child && (!l->last || strcmp(child, l->last) != 0)) l->children++;
  if (child && !l->first) l->first = child;
  l->last = child;
  return false;
}

static void follow_layers(fx_rec *r, const char *const *paths, uint32_t n) {
  bool found;
  for (; r->layers.n; r->layers.n--) { /* those that are not around this call are closed */
    found = false;
    for (uint32_t i = 0; i < n; i++) found |= !strcmp(paths[i], r->layers.at[r->layers.n - 1].path);
    if (found) break;
  }
  size_t k = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (!mp_is_member(paths[i])) continue;
    if (k == r->layers.n) *mp_push(r->a, &r->layers) = (fx_layer){.path = paths[i]};
    if (runs_again(r, &r->layers.at[k], i + 1 < n ? paths[i + 1] : NULL)) {
      k = 0;
      i = UINT32_MAX; /* once more from the outermost */
      continue;
    }
    k++;
  }
}

/* opens the modules around the group's call, but the innermost `without` of them */
static int32_t open_modules(fx_rec *r, const fx_group *g, uint32_t without) {
  const char *paths[MAX_SCOPES] = {0}, *types[MAX_SCOPES] = {0};
  const mp_node *n = &r->g->nodes[g->scope];
  const char *scopes = mp_node_meta(n, KEY("name_scopes")), *classes = mp_node_meta(n, KEY("class_hierarchy"));
  uint32_t count = scopes ? mp_fx_strings(r->a, scopes, paths, MAX_SCOPES) : 0;
  if (classes) mp_fx_strings(r->a, classes, types, MAX_SCOPES);
  if (count < 2 || count > MAX_SCOPES || *paths[0]) return mp_builder_module(r->b, "", NULL);
  if (count == 2) return mp_builder_module(r->b, "", types[0]);
  follow_layers(r, paths + 1, count - 2);
  return count - 2 > without ? mp_builder_modules(r->b, paths + 1, types + 1, count - 2 - without) : mp_builder_module(r->b, "", NULL);
}

int32_t fx_module(fx_rec *r, const fx_group *g) { return open_modules(r, g, 0); }
int32_t fx_module_around(fx_rec *r, const fx_group *g) { return open_modules(r, g, 1); }

/* ---- calls ---- */

uint32_t fx_emit(fx_rec *r, const fx_group *g, const char *name, const mp_arg *args, uint32_t n, int32_t module, const int32_t *outs, uint32_t outs_n,
                 bool with_nodes) {
  if (!r->unsound && !fx_sound(r, name, args, n)) r->unsound = mp_format(r->a, "%s of %s", name, g->call ? g->call->name : mp_builder_at(r->b, outs[0])->name);
  uint32_t call = mp_builder_call(r->b, name, args, n, outs, outs_n, module, g->nodes, with_nodes ? g->node_count : 0);
  mp_call *c = mp_builder_call_at(r->b, call);
  c->source = g->source;
  c->stack = g->stack;
  c->no_grad = g->no_grad;
  return call;
}

/* ---- groups that are calls ---- */

static bool splits(const char *op) {
  return FX_ONE_OF(op, "aten::split", "aten::split_with_sizes", "aten::chunk", "aten::unbind", "aten::tensor_split");
}

/* The dims of every part of a split. Returns how many; 0 when they do not follow from the arguments. */
static uint32_t split_parts(fx_rec *r, const char *op, const mp_arg *args, uint32_t n, int64_t **sizes, int32_t *axis) {
  if (!n || args[0].kind != MP_ARG_VAR) return 0;
  const mp_var *x = mp_builder_at(r->b, args[0].as.var);
  bool unbind = !strcmp(op, "aten::unbind");
  uint32_t at = unbind ? 1 : 2;
  int64_t dim = n > at && args[at].kind == MP_ARG_INT ? args[at].as.i : 0;
  if (dim < 0) dim += x->rank;
  if (dim < 0 || dim >= x->rank) return 0;
  *axis = (int32_t)dim;
  int64_t whole = x->dims[dim], part = unbind ? 1 : 0;
  if (!unbind && n > 1 && args[1].kind == MP_ARG_INTS) {
    *sizes = mp_alloc_array(r->a, args[1].n, sizeof **sizes);
    memcpy(*sizes, args[1].as.ints, args[1].n * sizeof **sizes);
    return args[1].n;
  }
  if (!unbind && n > 1 && args[1].kind == MP_ARG_INT) {
    part = args[1].as.i;
    if (strcmp(op, "aten::split") != 0 && part > 0 && part <= whole) part = (whole + part - 1) / part;
  }
  if (part <= 0 || whole <= 0 || whole / part > 1 << 20) return 0;
  uint32_t count = (uint32_t)((whole - 1) / part) + 1;
  *sizes = mp_alloc_array(r->a, count, sizeof **sizes);
  for (uint32_t i = 0; i < count; i++) (*sizes)[i] = i + 1 < count ? part : whole - part * (int64_t)(count - 1);
  return count;
}

/* values named getitem* that the group makes, by number */
static uint32_t picked_values(fx_rec *r, const fx_group *g, int32_t *out, uint32_t max) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *node = &r->g->nodes[g->nodes[i]];
    for (uint32_t o = 0; o < node->outs && n < max; o++) {
      if (node->out[o] < 0 || !is_getitem(r->g->values[node->out[o]].name)) continue;
      uint32_t k = n++;
      for (; k && getitem_number(r->g->values[out[k - 1]].name) > getitem_number(r->g->values[node->out[o]].name); k--) out[k] = out[k - 1];
      out[k] = node->out[o];
    }
  }
  return n;
}

#define MAX_PICKED 256

/* split, chunk, unbind: views, one for each part */
static bool read_split(fx_rec *r, const fx_group *g, const mp_arg *args, uint32_t n) {
  int64_t *sizes = NULL;
  int32_t axis = 0, picked[MAX_PICKED];
  uint32_t count = split_parts(r, g->call->op, args, n, &sizes, &axis), named = picked_values(r, g, picked, MAX_PICKED);
  if (!count) return false;
  bool unbind = !strcmp(g->call->op, "aten::unbind");
  int32_t *vars = mp_alloc_array(r->a, count, sizeof *vars);
  const mp_node *node = &r->g->nodes[g->nodes[g->node_count - 1]];
  for (uint32_t i = 0; i < count; i++) {
    mp_var x = *mp_builder_at(r->b, args[0].as.var);
    if (unbind) {
      memmove(x.dims + axis, x.dims + axis + 1, (size_t)(x.rank - axis - 1) * sizeof *x.dims);
      x.rank--;
    } else
      x.dims[axis] = sizes[i];
    vars[i] = fx_result_dims(r, mp_format(r->a, "%s.%u", g->call->name, i), x.dtype, x.rank, x.dims);
    int32_t value = named == count ? picked[i] : named ? -1 : node->outs == count ? node->out[i] : -1;
    if (value < 0) continue;
    mp_builder_at(r->b, vars[i])->value = value;
    r->var_of_value[value] = vars[i];
    fx_set(r, r->g->values[value].name, vars[i]);
  }
  for (uint32_t i = 0; named != count && i < named && i < count; i++) { /* some parts are not read */
    fx_set(r, r->g->values[picked[i]].name, vars[i]);
    r->var_of_value[picked[i]] = vars[i];
  }
  fx_emit(r, g, g->call->op, args, n, fx_module(r, g), vars, count, true);
  *fx_ref_of(r, g->call->name) = (fx_ref){.kind = FX_TUPLE, .members = vars, .n = count};
  return true;
}

/* Calls whose FX name differs from what the source ran, told by their arguments. */
static const char *name_of_call(const fx_group *g, mp_arg *args, uint32_t *n) {
  const char *op = g->call->op;
  if (!strcmp(op, "aten::sub") && *n >= 2 && args[0].kind != MP_ARG_VAR && args[1].kind == MP_ARG_VAR) { /* 1 - x */
    mp_arg x = args[1];
    args[1] = args[0];
    args[0] = x;
    return "aten::rsub";
  }
  if (FX_ONE_OF(op, "aten::mul", "aten::add") && *n >= 2 && args[0].kind != MP_ARG_VAR && args[1].kind == MP_ARG_VAR) {
    mp_arg x = args[1];
    args[1] = args[0];
    args[0] = x;
  }
  bool adds = !strcmp(op, "aten::index_put") && *n > 3 && args[3].kind == MP_ARG_BOOL && args[3].as.b && args[1].kind == MP_ARG_VARS && args[1].n;
  uint32_t last = adds ? args[1].n - 1 : 0;
  for (uint32_t i = 0; i < last; i++) adds &= args[1].as.vars[i] < 0;
  if (adds && args[1].as.vars[last] >= 0) { /* index_add(self, dim, index, source), written out */
    args[3] = args[2];
    args[2] = mp_arg_var(args[1].as.vars[last]);
    args[1] = mp_arg_int(last);
    *n = 4;
    return "aten::index_add";
  }
  if (!strcmp(op, "transformers::grouped_mm_fallback")) return "aten::_grouped_mm"; /* integrations/moe.py, _can_use_grouped_mm: what a device runs */
  if (!strcmp(op, "aten::_unsafe_view"))
    return "aten::reshape"; /* reshape() that had to copy; whether it has to on the device follows from strides */
  if (!strcmp(op, "aten::clone") && *n > 1 && args[1].kind == MP_ARG_STR && !strcmp(args[1].as.s, "contiguous_format")) {
    *n = 1;
    return "aten::contiguous";
  }
  return op;
}

/* values and indices, of which only the indices are read: their place among the call's results */
static uint32_t place_of_only(const fx_rec *r, const fx_group *g, int32_t value) {
  const mp_value *v = &r->g->values[value];
  return FX_ONE_OF(g->call->op, "aten::sort", "aten::topk", "aten::max", "aten::min", "aten::median", "aten::kthvalue", "aten::mode") && v->slot == 1 ? 1 : 0;
}

/* Each row meets one group's matrix, whatever the groups' sizes, which the nodes (a product for each) do not tell. */
static void count_grouped(fx_rec *r, uint32_t call) {
  const mp_call *c = mp_builder_call_at(r->b, call);
  if (strcmp(c->row->name, "aten::_grouped_mm") != 0 || c->macs || !c->arg_count || c->args[0].kind != MP_ARG_VAR || c->out_count != 1 || c->outs[0] < 0) return;
  const mp_var *x = mp_builder_at(r->b, c->args[0].as.var), *y = mp_builder_at(r->b, c->outs[0]);
  if (x->rank == 2 && y->rank == 2) mp_builder_count_product(r->b, call, x->dims[0], x->dims[1], y->dims[1]);
}

static void read_call(fx_rec *r, fx_group *g) {
  mp_arg args[FX_MAX_ARGS] = {0};
  uint32_t n = fx_read_args(r, g, args, FX_MAX_ARGS);
  if (splits(g->call->op) && read_split(r, g, args, n)) return;
  int32_t out = fx_value_output(r, g), picked[MAX_PICKED], outs[MAX_PICKED] = {-1};
  uint32_t outs_n = picked_values(r, g, picked, MAX_PICKED);
  if (FX_ONE_OF(g->call->op, "aten::_native_batch_norm_legit_functional", "aten::_native_batch_norm_legit_no_training", "aten::native_dropout") &&
      outs_n)
    outs_n = 1;
  const char *name = name_of_call(g, args, &n);
  if (!strcmp(name, "aten::clone") && n == 1 && args[0].kind == MP_ARG_VAR && fx_is_dropped_out(r, args[0].as.var)) { /* a file that was not optimized */
    name = "aten::dropout";
    args[1] = mp_arg_float(0);
    args[2] = mp_arg_bool(false);
    n = 3;
  }
  fx_casts_before(r, g, name, args, n);
  int32_t module = fx_module(r, g);
  if (outs_n) {
    uint32_t skipped = outs_n == 1 ? place_of_only(r, g, picked[0]) : 0;
    for (uint32_t i = 0; i < outs_n; i++) {
      outs[skipped + i] = fx_result(r, r->g->values[picked[i]].name, picked[i], picked[i]);
      fx_set(r, r->g->values[picked[i]].name, outs[skipped + i]);
    }
    outs_n += skipped;
    *fx_ref_of(r, g->call->name) = (fx_ref){.kind = FX_TUPLE, .members = mp_arg_vars(r->a, outs, outs_n).as.vars, .n = outs_n};
  } else if (out >= 0) {
    outs_n = 1;
    outs[0] = fx_result(r, g->call->name, out, out);
    fx_set(r, g->call->name, outs[0]);
  }
  bool folded = !strncmp(name, "aten::_native_batch_norm", 24) && FX_ONE_OF(r->g->nodes[g->nodes[0]].type, "Conv", "ConvTranspose", "Gemm");
  uint32_t call = fx_emit(r, g, name, args, n, module, outs, outs_n, !folded); /* the node is the convolution's */
  mp_builder_call_at(r->b, call)->in_place = fx_in_place(r, g, name, args, n);
  count_grouped(r, call);
  if (outs_n == 1) fx_casts_after(r, g, name, args, n, outs[0]);
  if (FX_ONE_OF(name, "aten::native_dropout", "aten::_native_batch_norm_legit_functional", "aten::bernoulli")) r->train_op = true;
}

/* Of mask[rows, columns] with constants, transformers' exporter makes one lookup in all dims as one (exporter_onnx.py, _fix_ir_constant_gather_nd). */
static bool read_bare_index(fx_rec *r, const fx_group *g, const mp_node *n, int32_t x) {
  const mp_value *out = &r->g->values[n->out[0]];
  int64_t dims[MP_RANK];
  int rank = fx_dims_of_value(r, n->out[0], dims);
  mp_arg args[2] = {mp_arg_var(x)};
  if (!strcmp(n->type, "Reshape")) {
    args[1] = mp_arg_ints(r->a, dims, (uint32_t)rank);
  } else {
    if (strcmp(n->type, "Gather") != 0 || mp_node_int(n, "axis", 0) || n->ins < 2 || n->in[1] < 0) return false;
    int32_t index = r->var_of_value[n->in[1]] >= 0 ? r->var_of_value[n->in[1]] : fx_var_of_initializer(r, n->in[1]);
    if (index < 0) return false;
    args[1] = mp_arg_vars(r->a, &index, 1);
  }
  int32_t var = fx_result(r, out->name, n->out[0], n->out[0]);
  fx_emit(r, g, !strcmp(n->type, "Reshape") ? "aten::reshape" : "aten::index", args, 2, fx_module(r, g), &var, 1, true);
  fx_set(r, out->name, var);
  r->var_of_value[n->out[0]] = var;
  return true;
}

/* A node that nothing names: what the exporter's optimizer made of several. */
static void read_bare_node(fx_rec *r, const fx_group *g) {
  const mp_node *n = &r->g->nodes[g->nodes[0]];
  int32_t x = n->ins && n->in[0] >= 0 ? r->var_of_value[n->in[0]] : -1;
  if (x < 0 && n->ins && n->in[0] >= 0) x = fx_var_of_initializer(r, n->in[0]);
  if (x < 0 || !n->outs) return;
  for (uint32_t i = 0; i < n->outs; i++)
    if (n->out[i] < 0)
      mp_fail(r->a, MP_BAD_INPUT, "%s: node '%s' (%s) leaves result %u without a name: nothing says which call of PyTorch it was; export again without optimizing", r->g->path, n->name, n->type, i + 1);
  if (!strcmp(n->type, "Split")) {
    int32_t *vars = mp_alloc_array(r->a, n->outs, sizeof *vars);
    int64_t *sizes = mp_alloc_array(r->a, n->outs, sizeof *sizes), axis = mp_node_int(n, "axis", 0);
    for (uint32_t i = 0; i < n->outs; i++) {
      vars[i] = fx_result(r, r->g->values[n->out[i]].name, n->out[i], n->out[i]);
      const mp_var *v = mp_builder_at(r->b, vars[i]);
      if (axis < 0) axis += v->rank;
      if (axis >= 0 && axis < v->rank) sizes[i] = v->dims[axis];
      fx_set(r, v->name, vars[i]);
    }
    mp_arg args[] = {mp_arg_var(x), mp_arg_ints(r->a, sizes, n->outs), mp_arg_int(axis)};
    fx_emit(r, g, "aten::split_with_sizes", args, 3, fx_module(r, g), vars, n->outs, true);
    return;
  }
  const mp_value *in = &r->g->values[n->in[0]], *out = &r->g->values[n->out[0]];
  if (read_bare_index(r, g, n, x)) return;
  bool same = in->dtype == out->dtype || !strcmp(fx_stem(r->a, out->name), "bernoulli") || !strcmp(n->type, "Identity");
  int32_t var = x;
  if (!same || strcmp(n->type, "Cast") != 0) {
    mp_arg args[] = {mp_arg_var(x), mp_arg_dtype(out->dtype)};
    var = fx_result(r, out->name, n->out[0], n->out[0]);
    fx_emit(r, g, "aten::_to_copy", args, 2, fx_module(r, g), &var, 1, true);
    if (strcmp(n->type, "Cast") != 0) mp_builder_warn(r->b, "node '%s' (%s) names no call; taken for a copy", n->name, n->type);
  }
  fx_set(r, out->name, var);
  r->var_of_value[n->out[0]] = var;
}

/* ---- placeholders, groups, outputs ---- */

int32_t fx_value_named(fx_rec *r, const char *name) {
  if (!r->value_names) {
    r->value_names = mp_names_new(r->a, r->g->value_count);
    for (uint32_t i = 0; i < r->g->value_count; i++) {
      bool fresh;
      uint32_t id = mp_names_add(r->a, r->value_names, r->g->values[i].name, strlen(r->g->values[i].name), &fresh);
      if (fresh) *mp_push(r->a, &r->value_ids) = (int32_t)i;
      (void)id;
    }
  }
  uint32_t id = mp_names_find(r->value_names, name, strlen(name));
  return id == UINT32_MAX ? -1 : r->value_ids.at[id];
}

/* Graph inputs in order; the k-th user input of the signature is the k-th of them unless one has its name. */
static void add_inputs(fx_rec *r, const mp_fx_spec *specs, uint32_t spec_count, int32_t *inputs) {
  for (uint32_t i = 0; i < r->g->input_count; i++) {
    int64_t dims[MP_RANK] = {0};
    int32_t value = r->g->inputs[i];
    int rank = fx_dims_of_value(r, value, dims);
    inputs[i] = mp_builder_var(r->b, MP_ROLE_INPUT, r->g->values[value].name, r->g->values[value].dtype, rank, dims, value);
    r->var_of_value[value] = inputs[i];
    fx_set(r, r->g->values[value].name, inputs[i]);
  }
  uint32_t k = 0;
  for (uint32_t i = 0; i < spec_count; i++) {
    if (specs[i].is_output || strcmp(specs[i].kind, "USER_INPUT") != 0) continue;
    if (k < r->g->input_count && fx_ref_of(r, specs[i].name)->kind == FX_UNKNOWN) fx_set(r, specs[i].name, inputs[k]);
    k++;
  }
}

/* what the innermost frame of a stack trace ran */
static const char *last_line(mp_arena *a, const char *stack) {
  if (!stack) return NULL;
  size_t n = strlen(stack);
  while (n && (stack[n - 1] == '\n' || stack[n - 1] == ' ')) n--;
  size_t start = n;
  while (start && stack[start - 1] != '\n') start--;
  while (start < n && stack[start] == ' ') start++;
  return mp_strndup(a, stack + start, n - start);
}

fx_use *fx_use_of(fx_rec *r, const char *name) {
  bool fresh;
  uint32_t id = mp_names_add(r->a, r->names, name, strlen(name), &fresh);
  if (fresh) *mp_push(r->a, &r->refs) = (fx_ref){0};
  while (r->uses.n <= id) *mp_push(r->a, &r->uses) = (fx_use){0};
  return &r->uses.at[id];
}

static void count_uses(fx_rec *r, const mp_fx_item *items, uint32_t n, uint32_t group) {
  for (uint32_t i = 0; i < n; i++) {
    if (items[i].kind == MP_FX_LIST) count_uses(r, items[i].at, items[i].n, group);
    if (items[i].kind != MP_FX_REF) continue;
    fx_use *u = fx_use_of(r, items[i].text);
    u->references++;
    u->readers += u->latest != group + 1;
    u->latest = group + 1;
  }
}

uint32_t fx_uses(fx_rec *r, const char *name) {
  uint32_t id = mp_names_find(r->names, name, strlen(name));
  return id < r->uses.n ? r->uses.at[id].references : 0;
}

/* A group stands where the node stands that makes its result. */
static void order_groups(fx_rec *r, fx_group *found, uint32_t n) {
  int32_t *at = mp_alloc_array(r->a, r->g->node_count, sizeof *at);
  for (uint32_t i = 0; i < r->g->node_count; i++) at[i] = -1;
  for (uint32_t k = 0; k < n; k++) {
    int32_t out = fx_value_output(r, &found[k]), node = out >= 0 ? r->g->values[out].producer : -1;
    at[node >= 0 ? node : found[k].nodes[found[k].node_count - 1]] = (int32_t)k;
  }
  for (uint32_t i = 0; i < r->g->node_count; i++) {
    if (at[i] < 0) continue;
    const fx_group *g = &found[at[i]];
    for (uint32_t j = 0; j < g->node_count; j++) r->group_of_node[g->nodes[j]] = (int32_t)r->groups.n;
    *mp_push(r->a, &r->groups) = *g;
  }
}

void fx_add_node(fx_rec *r, fx_group *g, int32_t node) {
  size_t cap = g->cap;
  g->nodes = mp_vec_grow(r->a, g->nodes, g->node_count, &cap, sizeof *g->nodes);
  g->cap = (uint32_t)cap;
  g->nodes[g->node_count++] = node;
}

bool fx_is_inside(const char *inner, const char *outer) {
  size_t n = strlen(outer);
  return !n || (!strncmp(inner, outer, n) && (!inner[n] || inner[n] == '.'));
}

/* A bare node runs where its first reader does, or in the module around that where another reader is. */
static void place_bare_nodes(fx_rec *r) {
  for (uint32_t i = 0; i < r->g->node_count; i++) {
    const mp_node *n = &r->g->nodes[i];
    for (uint32_t k = 0; k < n->ins; k++) {
      int32_t from = n->in[k] < 0 ? -1 : r->g->values[n->in[k]].producer;
      fx_group *g = from < 0 ? NULL : &r->groups.at[r->group_of_node[from]];
      if (!g || g->call || !mp_node_meta(n, KEY("name_scopes"))) continue;
      fx_group reader = {0};
      read_scopes(r, &reader, n);
      if (g->scope != g->nodes[0] && fx_is_inside(reader.path, g->path)) continue;
      if (g->scope != g->nodes[0] && !fx_is_inside(g->path, reader.path)) continue;
      g->scope = (int32_t)i;
      read_scopes(r, g, n);
    }
  }
}

/* Nodes of one FX name. Returns how many nodes have one. */
static uint32_t make_groups(fx_rec *r) {
  mp_names *ids = mp_names_new(r->a, r->g->node_count);
  MP_VEC(fx_group) found = {0};
  int32_t *group_of_name = mp_alloc_array(r->a, r->g->node_count, sizeof *group_of_name);
  uint32_t named = 0;
  for (uint32_t i = 0; i < r->g->node_count; i++) {
    const mp_node *n = &r->g->nodes[i];
    const char *text = mp_node_meta(n, KEY("fx_node"));
    const mp_fx_call *call = text ? mp_fx_parse(r->a, text) : NULL;
    bool fresh = true;
    uint32_t id = call ? mp_names_add(r->a, ids, call->name, strlen(call->name), &fresh) : 0;
    named += call != NULL;
    int32_t k = call && !fresh ? group_of_name[id] : (int32_t)found.n;
    if (k == (int32_t)found.n) {
      fx_group *g = mp_push(r->a, &found);
      *g = (fx_group){.call = call, .stack = mp_node_meta(n, KEY("stack_trace")), .scope = (int32_t)i};
      read_scopes(r, g, n);
      g->source = last_line(r->a, g->stack);
      if (call) {
        group_of_name[id] = k;
        fx_use_of(r, call->name)->users = call->users;
        count_uses(r, call->args, call->arg_count, (uint32_t)k);
        for (uint32_t j = 0; j < call->kwarg_count; j++) count_uses(r, &call->kwargs[j].value, 1, (uint32_t)k);
        r->convolutional |= FX_ONE_OF(call->op, "aten::conv2d", "aten::conv3d") || !strncmp(call->op, "aten::_native_batch_norm", 24);
      }
    }
    fx_add_node(r, &found.at[k], (int32_t)i);
    r->group_of_node[i] = k;
  }
  order_groups(r, found.at, (uint32_t)found.n);
  place_bare_nodes(r);
  fx_set_aside(r);
  return named;
}

static void read_groups(fx_rec *r) {
  for (size_t i = 0; i < r->groups.n; i++) {
    fx_group *g = &r->groups.at[i];
    r->taken.n = 0;
    if (g->dropped) continue;
    if (g->whole)
      fx_emit_whole(r, g);
    else if (!g->call)
      read_bare_node(r, g);
    else if (!fx_read_scalar(r, g) && !fx_read_alias(r, g))
      read_call(r, g);
  }
}

static uint32_t read_outputs(fx_rec *r, const mp_fx_spec *specs, uint32_t spec_count, int32_t *outputs) {
  uint32_t n = 0, k = 0;
  for (uint32_t i = 0; i < r->g->output_count; i++) {
    int32_t var = r->var_of_value[r->g->outputs[i]];
    for (; var < 0 && k < spec_count; k++)
      if (specs[k].is_output && !strcmp(specs[k].kind, "USER_OUTPUT") && fx_ref_of(r, specs[k].name)->kind == FX_TENSOR)
        var = fx_ref_of(r, specs[k].name)->var;
    if (var >= 0)
      outputs[n++] = var;
    else
      mp_builder_warn(r->b, "output '%s' is made by no call", r->g->values[r->g->outputs[i]].name);
  }
  return n;
}

static bool lossy(const fx_rec *r) {
  for (uint32_t i = 0; i < r->g->output_count; i++)
    if (r->g->values[r->g->outputs[i]].rank == 0 && mp_dtype_is_float(r->g->values[r->g->outputs[i]].dtype)) return true;
  return false;
}

const mp_program *mp_recover_fx(mp_arena *a, const mp_graph *given, const char **unsound) {
  const mp_graph *g = fx_unfuse(a, given);
  fx_rec r = {.a = a, .g = g, .narrow = -1, .names = mp_names_new(a, g->node_count)};
  r.group_of_node = mp_alloc_array(a, g->node_count, sizeof *r.group_of_node);
  r.var_of_value = mp_alloc_array(a, g->value_count, sizeof *r.var_of_value);
  for (uint32_t i = 0; i < g->value_count; i++) r.var_of_value[i] = -1;
  if (make_groups(&r) * 2 < g->node_count || !g->node_count) return NULL;
  r.b = mp_builder_new(a, g);
  mp_fx_spec *specs = NULL;
  const char *signature = mp_graph_meta(g, "pkg.torch.export.ExportedProgram.graph_signature");
  uint32_t spec_count = signature ? mp_fx_signature(a, signature, &specs) : fx_signature_from_names(&r, &specs);
  for (uint32_t i = 0; i < spec_count; i++) {
    if (specs[i].is_output || !strcmp(specs[i].kind, "USER_INPUT")) continue;
    if (!specs[i].target && !strstr(specs[i].name, "lifted_tensor")) specs[i].target = specs[i].name; /* a signature that somebody edited */
    fx_add_placeholder(&r, &specs[i]);
  }
  int32_t *inputs = mp_alloc_array(a, g->input_count, sizeof *inputs), *outputs = mp_alloc_array(a, g->output_count, sizeof *outputs);
  add_inputs(&r, specs, spec_count, inputs);
  fx_size_by_analogy(&r);
  fx_make_whole(&r);
  read_groups(&r);
  *unsound = r.unsound;
  if (r.unsound) return NULL;
  fx_place_lost(&r);
  fx_drop_masks(&r);
  fx_settle_params(&r);
  uint32_t output_count = read_outputs(&r, specs, spec_count, outputs);
  mp_whole_cells(r.b, outputs, output_count);
  mp_averaged_weights(r.b);
  mp_own_functions(r.b, outputs, output_count);
  mp_unseen_casts(r.b);
  mp_program_habits(r.b, outputs, output_count);
  return mp_builder_finish(r.b, inputs, g->input_count, outputs, output_count, "dynamo", r.train_op || lossy(&r));
}
