/* At opset 23 the exporter's optimizer fuses (onnxscript/rewriter/onnx_fusions/_onnx_fusions.py, _opset_23_fuse): the calls of an RMS norm become RMSNormalization, those of a rotary embedding
 * that turns halves RotaryEmbedding. Here they are nodes again, with names of their own in the fused node's module, so that what follows reads them as at any other opset. */
#include "planner/fx.h"

#define FX_NODE "pkg.torch.onnx.fx_node"
#define HALVES 2
#define FIRST 10000000u /* numbers of the names made here: above those of any file */

/* A rotary embedding's angles, and the tables made of them once for all layers. */
typedef struct table {
  int32_t angles, cos, sin;
} table;

typedef struct unfused {
  mp_arena *a;
  const mp_graph *g;
  MP_VEC(mp_node) nodes;
  MP_VEC(mp_value) values;
  MP_VEC(table) tables;
  uint32_t serial;
} unfused;

static bool is(const mp_node *n, const char *type) { return !strcmp(n->type, type) && !n->domain[0]; }
static const mp_fx_call *call_of(mp_arena *a, const mp_node *n) {
  const char *text = mp_node_meta(n, FX_NODE);
  return text ? mp_fx_parse(a, text) : NULL;
}

/* ---- nodes that a fused one was ---- */

/* A value like `like`, whose last axis has `last` elements (unknown where that is): its name is what FX called it. */
static int32_t value_like(unfused *u, int32_t like, const char *name, mp_dtype t, mp_int last) {
  mp_value v = u->values.at[like];
  v = (mp_value){.name = name, .dtype = t, .kind = MP_VALUE_NODE, .form = v.form, .rank = v.rank, .dims = v.dims, .producer = -1, .users = 1};
  if (v.rank > 0) {
    v.dims = mp_alloc_array(u->a, (size_t)v.rank, sizeof *v.dims);
    memcpy(v.dims, u->values.at[like].dims, (size_t)v.rank * sizeof *v.dims);
    v.dims[v.rank - 1] = last;
  }
  *mp_push(u->a, &u->values) = v;
  return (int32_t)u->values.n - 1;
}

static const char *fresh(unfused *u, const char *stem) { return mp_format(u->a, "%s_%u", stem, FIRST + u->serial++); }

/* One call as one node in the modules of `from`: aten.OP(args) of the values `in`, which makes `out`; op NULL: the last, which keeps the fused node's text. -> out */
static int32_t add_node(unfused *u, const mp_node *from, const char *type, const char *op, const char *args, const int32_t *in, uint16_t ins, int32_t out) {
  mp_node n = {.type = type, .domain = "", .name = from->name, .doc = "", .ins = ins, .outs = 1, .opset = from->opset};
  if (!op) n.macs = from->macs, n.flops = from->flops;
  int32_t *values = mp_alloc_array(u->a, (size_t)ins + 1, sizeof *values);
  memcpy(values, in, ins * sizeof *values);
  values[ins] = out;
  n.in = values;
  n.out = values + ins;
  mp_kv *meta = mp_alloc_array(u->a, from->metas, sizeof *meta);
  n.metas = 0;
  for (int i = 0; i < from->metas; i++) {
    if (op && strstr(from->meta[i].key, "stack_trace")) continue; /* another line, which the file has no more */
    mp_kv *m = &meta[n.metas++];
    *m = from->meta[i];
    if (!strcmp(m->key, FX_NODE) && op)
      m->value = mp_format(u->a, "%%%s : [num_users=1] = call_function[target=torch.ops.aten.%s](%s)", u->values.at[out].name, op, args);
  }
  n.meta = meta;
  u->values.at[out].producer = (int32_t)u->nodes.n;
  u->values.at[out].slot = 0;
  *mp_push(u->a, &u->nodes) = n;
  return out;
}

static const char *args_of(unfused *u, const char *args) { return mp_format(u->a, "args = (%s), kwargs = {}", args); }
static const char *ref(unfused *u, int32_t v) { return mp_format(u->a, "%%%s", u->values.at[v].name); }
static const char *joined(unfused *u, int32_t x, int32_t y) { return args_of(u, mp_format(u->a, "[%s, %s], -1", ref(u, x), ref(u, y))); }
static mp_int last_of(const unfused *u, int32_t v) {
  const mp_value *x = &u->values.at[v];
  return x->rank > 0 ? x->dims[x->rank - 1] : mp_int_unknown();
}

/* aten.OP(x, more), of x's type */
static int32_t one(unfused *u, const mp_node *from, const char *type, const char *op, int32_t x, const char *more, const char *name, mp_int last) {
  return add_node(u, from, type, op, args_of(u, mp_format(u->a, "%s%s", ref(u, x), more)), &x, 1, value_like(u, x, name, u->values.at[x].dtype, last));
}

/* aten.mul.Tensor(x, y), of x's dims */
static int32_t product(unfused *u, const mp_node *from, int32_t x, int32_t y, const char *name) {
  int32_t in[] = {x, y};
  return add_node(u, from, "Mul", "mul.Tensor", args_of(u, mp_format(u->a, "%s, %s", ref(u, x), ref(u, y))), in, 2, value_like(u, x, name, u->values.at[x].dtype, last_of(u, x)));
}

static int32_t widened(unfused *u, const mp_node *from, int32_t x, mp_dtype to, const char *word, const char *name) {
  return add_node(u, from, "Cast", "_to_copy.default", mp_format(u->a, "args = (%s,), kwargs = {dtype: torch.%s}", ref(u, x), word), &x, 1, value_like(u, x, name, to, last_of(u, x)));
}

/* ---- RMSNormalization (rules/fusion/_rms_normalization.py) ---- */

/* mul(weight, normalized) or mul(normalized, weight): where in the call's text the normalized one stands */
static uint32_t normalized_at(const unfused *u, const mp_fx_call *c, int32_t weight) {
  const char *first = c->args[0].kind == MP_FX_REF ? c->args[0].text : "";
  return !strncmp(first, "p_", 2) || !strncmp(first, "b_", 2) || !strcmp(first, u->values.at[weight].name) ? 1 : 0;
}

/* (x - mean) * rsqrt((x - mean).pow(2).mean() + eps), transformers' layer norms without a bias: both differences became one node. -> the value, under a name that no call has, of what is multiplied */
static const char *centred_again(unfused *u, const mp_node *n, int32_t x) {
  int32_t made = u->values.at[x].producer;
  const char *classes = mp_node_meta(n, "pkg.torch.onnx.class_hierarchy");
  bool own = classes && strstr(classes, "transformers.") && strstr(classes, "LayerNorm'");
  return own && made >= 0 && is(&u->nodes.at[made], "Sub") ? mp_format(u->a, "%%%s", fresh(u, "sub")) : ref(u, x);
}

static bool unfuse_norm(unfused *u, const mp_node *n) {
  const mp_fx_call *c = is(n, "RMSNormalization") && n->ins == 2 && n->outs && n->in[0] >= 0 && n->in[1] >= 0 && n->out[0] >= 0 ? call_of(u->a, n) : NULL;
  if (!c || strcmp(c->op, "aten::mul") != 0 || c->arg_count != 2) return false;
  uint32_t at = normalized_at(u, c, n->in[1]);
  const char *name = c->args[at].kind == MP_FX_REF ? c->args[at].text : fresh(u, "mul"), *stem = fx_stem(u->a, name);
  int32_t given = n->in[0], out = n->out[0];
  mp_dtype narrow = u->values.at[given].dtype;
  bool wide = narrow != MP_FLOAT && mp_node_int(n, "stash_type", 1) == MP_FLOAT, back = wide && u->values.at[out].dtype == narrow;
  int32_t x = wide ? widened(u, n, given, MP_FLOAT, "float32", fresh(u, "_to_copy")) : given;
  int32_t square = one(u, n, "Pow", "pow.Tensor_Scalar", x, ", 2", fresh(u, "pow"), last_of(u, x));
  int32_t mean = one(u, n, "ReduceMean", "mean.dim", square, ", [-1], True", fresh(u, "mean"), mp_int_of(1));
  int32_t sum = one(u, n, "Add", "add.Tensor", mean, mp_format(u->a, ", %.9g", mp_node_float(n, "epsilon", 1e-5)), fresh(u, "add"), mp_int_of(1));
  int32_t root = one(u, n, "Reciprocal", "rsqrt.default", sum, "", fresh(u, "rsqrt"), mp_int_of(1));
  int32_t parts[] = {x, root}, normal = value_like(u, x, back || strcmp(stem, "mul") != 0 ? fresh(u, "mul") : name, u->values.at[x].dtype, last_of(u, x));
  add_node(u, n, "Mul", "mul.Tensor", args_of(u, mp_format(u->a, "%s, %s", centred_again(u, n, x), ref(u, root))), parts, 2, normal);
  if (back) normal = widened(u, n, normal, narrow, narrow == MP_FLOAT16 ? "float16" : "bfloat16", name);
  int32_t in[] = {at ? n->in[1] : normal, at ? normal : n->in[1]};
  add_node(u, n, "Mul", NULL, NULL, in, 2, out);
  return true;
}

/* ---- RotaryEmbedding (rules/fusion/_rotary_embedding.py, RotaryEmbedding23Fusion) ---- */

/* The angles under both tables: Cos(angles), Sin(angles), which the fusion made; -1 */
static int32_t angles_of(const mp_graph *g, const mp_node *n) {
  if (!is(n, "RotaryEmbedding") || n->ins != 3 || !n->outs || n->in[0] < 0 || n->out[0] < 0 || mp_node_int(n, "interleaved", 0) || mp_node_int(n, "rotary_embedding_dim", 0)) return -1;
  int32_t of[HALVES];
  for (int i = 0; i < HALVES; i++) {
    int32_t made = n->in[i + 1] < 0 ? -1 : g->values[n->in[i + 1]].producer;
    if (made < 0 || !is(&g->nodes[made], i ? "Sin" : "Cos") || g->nodes[made].ins != 1) return -1;
    of[i] = g->nodes[made].in[0];
  }
  return of[0] == of[1] ? of[0] : -1;
}

/* The fused node's call, add(x * cos, turned * sin), where it is one that is written out again, with its angles; NULL */
static const mp_fx_call *rotary_call(const unfused *u, const mp_node *n, int32_t *angles) {
  *angles = angles_of(u->g, n);
  const mp_fx_call *c = *angles < 0 ? NULL : call_of(u->a, n);
  return c && !strcmp(c->op, "aten::add") && c->arg_count == HALVES ? c : NULL;
}

static mp_int scaled(mp_int n, int64_t by, int64_t part) { return mp_int_is_number(n) && n.n < INT32_MAX ? mp_int_of(n.n * by / part) : mp_int_unknown(); }

/* emb = cat((freqs, freqs)); cos = emb.cos() * self.attention_scaling: transformers since 4.45, others without the scale */
static const table *tables_of(unfused *u, int32_t angles, const mp_node *from) {
  for (size_t i = 0; i < u->tables.n; i++)
    if (u->tables.at[i].angles == angles) return &u->tables.at[i];
  const char *classes = mp_node_meta(from, "pkg.torch.onnx.class_hierarchy");
  int32_t in[] = {angles, angles}, both = value_like(u, angles, fresh(u, "cat"), u->values.at[angles].dtype, scaled(last_of(u, angles), HALVES, 1));
  add_node(u, from, "Concat", "cat.default", joined(u, angles, angles), in, HALVES, both);
  table t = {.angles = angles};
  t.cos = one(u, from, "Cos", "cos.default", both, "", fresh(u, "cos"), last_of(u, both));
  t.sin = one(u, from, "Sin", "sin.default", both, "", fresh(u, "sin"), last_of(u, both));
  if (classes && strstr(classes, "transformers.") && strstr(classes, "RotaryEmbedding'")) {
    t.cos = one(u, from, "Mul", "mul.Tensor", t.cos, ", 1.0", fresh(u, "mul"), last_of(u, both));
    t.sin = one(u, from, "Mul", "mul.Tensor", t.sin, ", 1.0", fresh(u, "mul"), last_of(u, both));
  }
  table *kept = mp_push(u->a, &u->tables);
  *kept = t;
  return kept;
}

/* cos.unsqueeze(1) */
static int32_t for_heads(unfused *u, const mp_node *from, int32_t t) {
  int32_t y = one(u, from, "Unsqueeze", "unsqueeze.default", t, ", 1", fresh(u, "unsqueeze"), last_of(u, t));
  mp_value *v = &u->values.at[y];
  if (v->rank < 1) return y;
  mp_int *dims = mp_alloc_array(u->a, (size_t)v->rank + 1, sizeof *dims);
  dims[0] = v->dims[0];
  dims[1] = mp_int_of(1);
  memcpy(dims + 2, v->dims + 1, (size_t)(v->rank - 1) * sizeof *dims);
  v->dims = dims;
  v->rank++;
  return y;
}

/* x * cos + cat((-x[half:], x[:half])) * sin */
static bool unfuse_rotary(unfused *u, const mp_node *n) {
  int32_t angles;
  const mp_fx_call *c = rotary_call(u, n, &angles);
  if (!c) return false;
  const char *name[HALVES];
  for (int i = 0; i < HALVES; i++) name[i] = c->args[i].kind == MP_FX_REF ? c->args[i].text : fresh(u, "mul");
  int32_t x = n->in[0], made = u->g->values[angles].producer;
  const table t = *tables_of(u, angles, made < 0 ? n : &u->g->nodes[made]);
  mp_int last = last_of(u, x), half = scaled(last, 1, HALVES);
  int32_t cos = for_heads(u, n, t.cos), sin = for_heads(u, n, t.sin), straight = product(u, n, x, cos, name[0]);
  long long middle = (long long)half.n;
  int32_t low = one(u, n, "Slice", "slice.Tensor", x, mp_format(u->a, ", 3, 0, %lld", middle), fresh(u, "slice"), half);
  int32_t high = one(u, n, "Slice", "slice.Tensor", x, mp_format(u->a, ", 3, %lld, 9223372036854775807", middle), fresh(u, "slice"), half);
  int32_t negative = one(u, n, "Neg", "neg.default", high, "", fresh(u, "neg"), half), in[] = {negative, low};
  int32_t turned = value_like(u, x, fresh(u, "cat"), u->values.at[x].dtype, last);
  add_node(u, n, "Concat", "cat.default", joined(u, negative, low), in, HALVES, turned);
  int32_t sum[] = {straight, product(u, n, turned, sin, name[1])};
  add_node(u, n, "Add", NULL, NULL, sum, HALVES, n->out[0]);
  return true;
}

/* ---- the graph ---- */

/* What readers of the fused nodes will not read any more: tables of half the angles. */
static void drop_tables(const unfused *u, bool *dropped, bool *is_angles) {
  const mp_graph *g = u->g;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    int32_t angles;
    if (!rotary_call(u, n, &angles)) continue;
    is_angles[angles] = true;
    for (int k = 0; k < HALVES; k++)
      if (g->values[n->in[k + 1]].users == 1) dropped[g->values[n->in[k + 1]].producer] = true;
  }
}

static void keep(unfused *u, const mp_node *n) {
  for (int k = 0; k < n->outs; k++)
    if (n->out[k] >= 0) u->values.at[n->out[k]].producer = (int32_t)u->nodes.n;
  *mp_push(u->a, &u->nodes) = *n;
}

static const mp_graph *rewritten(unfused *u) {
  const mp_graph *g = u->g;
  bool *dropped = mp_alloc_array(u->a, g->node_count, sizeof *dropped), *is_angles = mp_alloc_array(u->a, g->value_count, sizeof *is_angles);
  int32_t *now = mp_alloc_array(u->a, g->node_count, sizeof *now);
  for (uint32_t i = 0; i < g->value_count; i++) *mp_push(u->a, &u->values) = g->values[i];
  drop_tables(u, dropped, is_angles);
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    if (!dropped[i] && !unfuse_norm(u, n) && !unfuse_rotary(u, n)) keep(u, n);
    now[i] = dropped[i] ? -1 : (int32_t)u->nodes.n - 1;
    for (int k = 0; k < n->outs; k++) {
      if (n->out[k] < 0) continue;
      if (dropped[i]) u->values.at[n->out[k]].producer = -1;
      if (is_angles[n->out[k]]) tables_of(u, n->out[k], n);
    }
  }
  mp_reason *reasons = mp_alloc_array(u->a, g->reason_count, sizeof *reasons);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < g->reason_count; i++) {
    mp_reason why = g->reasons[i];
    if (why.node >= 0) why.node = now[why.node];
    if (why.node >= 0 || g->reasons[i].node < 0) reasons[kept++] = why;
  }
  mp_graph *to = mp_alloc(u->a, sizeof *to);
  *to = *g;
  to->nodes = u->nodes.at;
  to->node_count = (uint32_t)u->nodes.n;
  to->values = u->values.at;
  to->value_count = (uint32_t)u->values.n;
  to->reasons = reasons;
  to->reason_count = kept;
  return to;
}

const mp_graph *fx_unfuse(mp_arena *a, const mp_graph *g) {
  for (uint32_t i = 0; i < g->node_count; i++)
    if (is(&g->nodes[i], "RMSNormalization") || is(&g->nodes[i], "RotaryEmbedding")) return rewritten(&(unfused){.a = a, .g = g});
  return g;
}
