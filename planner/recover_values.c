/* What the values of a graph are to the program that was traced: tensors on the device, or Python's numbers; real casts, or other names. */
#include <string.h>

#include "planner/recover.h"

/* ---- reading ---- */

const mp_node *mp_r_node(const mp_rec *r, int32_t node) { return &r->g->nodes[node]; }
static const mp_value *value_at(const mp_rec *r, int32_t v) { return &r->g->values[v]; }
static bool is(const mp_node *n, const char *type) { return !strcmp(n->type, type); }
static int32_t raw(const mp_node *n, int i) { return i < n->ins ? n->in[i] : -1; } /* an input as the file has it */
static int32_t producer_of(const mp_rec *r, int32_t v) { return v < 0 ? -1 : r->g->values[v].producer; }
static int32_t made(const mp_node *n) { return n->outs ? n->out[0] : -1; }

/* the value that v is another name of, for this reader (-1: none in particular) */
static bool other_name(const mp_rec *r, int32_t cast, int32_t v, int32_t reader) {
  int32_t from = raw(mp_r_node(r, cast), 0);
  if (from < 0 || value_at(r, from)->dtype != value_at(r, v)->dtype) return false;
  const mp_node *n = reader < 0 ? NULL : mp_r_node(r, reader);
  bool inside = n && mp_r_same_scope(r, cast, reader), square = inside && (is(n, "Pow") || (is(n, "Mul") && raw(n, 0) == raw(n, 1)));
  switch (r->cast[cast]) {
    case MP_CAST_ALIAS:
      return true;
    case MP_CAST_SCOPED:
      return !inside;
    case MP_CAST_SQUARE:
      return !square;
    default:
      return false;
  }
}

int32_t mp_r_resolve(const mp_rec *r, int32_t v, int32_t reader) {
  while (v >= 0 && value_at(r, v)->producer >= 0) {
    int32_t p = value_at(r, v)->producer;
    const mp_node *n = mp_r_node(r, p);
    bool name = is(n, "Identity") || (is(n, "Cast") && other_name(r, p, v, reader));
    if (!name || n->ins < 1 || raw(n, 0) < 0) break;
    v = raw(n, 0);
  }
  return v;
}

int32_t mp_r_in(const mp_rec *r, int32_t node, int i) {
  const mp_node *n = mp_r_node(r, node);
  return i < n->ins ? mp_r_resolve(r, n->in[i], node) : -1;
}

int32_t mp_r_raw(const mp_rec *r, int32_t node, int i) { return raw(mp_r_node(r, node), i); }

int32_t mp_r_producer(const mp_rec *r, int32_t value) { return value < 0 ? -1 : value_at(r, value)->producer; }

int32_t mp_r_maker(const mp_rec *r, int32_t value, const char *type) {
  int32_t p = mp_r_producer(r, value);
  return p >= 0 && is(mp_r_node(r, p), type) ? p : -1;
}

int mp_r_rank(const mp_rec *r, int32_t value) { return value < 0 ? -1 : value_at(r, value)->rank; }

int64_t mp_r_axis(mp_rec *r, int32_t node, int64_t axis, int rank) {
  if (axis < -rank || axis >= rank)
    mp_fail(r->a, MP_BAD_INPUT, "%s: node '%s' (%s): axis %lld of a tensor of %d dimensions", r->g->path, mp_r_node(r, node)->name, mp_r_node(r, node)->type, (long long)axis, rank);
  return axis < 0 ? axis + rank : axis;
}

int64_t mp_r_product(mp_rec *r, int32_t node, int64_t a, int64_t b) {
  int64_t n;
  if (!mp_mul_i64(a, b, &n) || n >= (int64_t)MP_MOST_ELEMENTS || n <= -(int64_t)MP_MOST_ELEMENTS)
    mp_fail(r->a, MP_BAD_INPUT, "%s: node '%s' (%s): a size of %lld times %lld, which no tensor has", r->g->path, mp_r_node(r, node)->name, mp_r_node(r, node)->type, (long long)a, (long long)b);
  return n;
}

int64_t mp_r_dim(mp_rec *r, int32_t value, int i) {
  const mp_value *v = value_at(r, value);
  if (v->rank >= 0 && i < 0) i += v->rank;
  if (i >= 0 && i < v->rank && mp_int_is_number(v->dims[i])) {
    if (v->dims[i].n < (int64_t)MP_MOST_ELEMENTS) return v->dims[i].n;
    mp_fail(r->a, MP_BAD_INPUT, "%s: '%s' has a dimension of %lld; check the dimensions given with --dim", r->g->path, v->name, (long long)v->dims[i].n);
  }
  const char *why = mp_graph_why(r->a, r->g, value);
  why = why ? mp_format(r->a, "is not known: %s", why) : NULL;
  if (v->rank >= 0 && i >= 0 && i < v->rank && !mp_int_is_unknown(v->dims[i]))
    why = mp_format(r->a, "is %s; bind the names in it with --dim NAME=N", mp_int_text(r->a, v->dims[i]));
  mp_fail(r->a, MP_BAD_INPUT, "%s: dimension %d of '%s' %s", r->g->path, i, v->name, why ? why : "is not known");
}

bool mp_r_is_scalar(const mp_value *v) {
  if (v->rank < 0) return false;
  for (int i = 0; i < v->rank; i++)
    if (!mp_int_is_number(v->dims[i]) || v->dims[i].n != 1) return false;
  return true;
}

/* Python's number: a scalar on the host */
bool mp_r_is_number(const mp_rec *r, int32_t v) { return v >= 0 && r->host[v] && mp_r_is_scalar(value_at(r, v)); }

/* Python's: a number, or a list of sizes */
bool mp_r_is_python(const mp_rec *r, int32_t v) {
  const mp_value *x = value_at(r, v);
  return mp_r_is_number(r, v) || (r->host[v] && x->rank == 1 && x->ints && x->dtype == MP_INT64);
}

bool mp_r_number(const mp_rec *r, int32_t value, double *x) {
  if (!mp_r_is_number(r, value)) return false;
  const mp_value *v = value_at(r, value);
  if (v->contents == 1 && v->floats)
    *x = v->floats[0];
  else if (v->contents == 1 && v->ints && mp_int_is_number(v->ints[0]))
    *x = (double)v->ints[0].n;
  else
    return false;
  return true;
}

uint32_t mp_r_ints(mp_rec *r, int32_t value, int64_t *out, uint32_t max) {
  if (value < 0) return 0;
  const mp_value *v = value_at(r, value);
  if (!v->ints || v->contents > max) return 0;
  for (uint32_t i = 0; i < v->contents; i++) out[i] = mp_int_is_number(v->ints[i]) ? v->ints[i].n : INT64_MIN;
  return v->contents;
}

bool mp_r_is_parameter(const mp_rec *r, int32_t value) { return value >= 0 && value_at(r, value)->kind == MP_VALUE_INITIALIZER; }

/* tells a layer's stand-in for an absent weight (a constant of ones or zeros): contents where they are kept, else that it is a Constant node */
bool mp_r_is_constant(const mp_rec *r, int32_t value, double of) {
  if (value < 0 || mp_r_is_parameter(r, value)) return false;
  const mp_value *v = value_at(r, value);
  if (!v->floats) return mp_r_maker(r, value, "Constant") >= 0;
  for (uint32_t i = 0; i < v->contents; i++)
    if (v->floats[i] != of) return false;
  return true;
}

static void add_users(const mp_rec *r, int32_t value, int32_t *nodes, uint32_t max, uint32_t *n, int depth) {
  for (uint32_t u = r->use_first[value]; u < r->use_first[value + 1]; u++) {
    const mp_node *node = mp_r_node(r, r->use[u]);
    if (is(node, "Shape") || is(node, "Size")) continue;
    if (node->outs && made(node) >= 0 && mp_r_resolve(r, made(node), -1) == mp_r_resolve(r, value, -1) &&
        (is(node, "Identity") || is(node, "Cast")) && depth < 32)
      add_users(r, made(node), nodes, max, n, depth + 1);
    else if (*n < max)
      nodes[(*n)++] = r->use[u];
  }
}

uint32_t mp_r_users(const mp_rec *r, int32_t value, int32_t *nodes, uint32_t max) {
  uint32_t n = 0;
  if (value >= 0) add_users(r, value, nodes, max, &n, 0);
  return n;
}

uint32_t mp_r_axes(mp_rec *r, int32_t node, int input, int64_t *axes) {
  const mp_node *n = mp_r_node(r, node);
  const mp_attr *a = mp_node_attr(n, "axes");
  if (a && a->kind == MP_ATTR_INTS && a->n <= MP_RANK) {
    for (uint32_t i = 0; i < a->n; i++) axes[i] = a->as.ints[i];
    return a->n;
  }
  return input >= 0 && input < n->ins ? mp_r_ints(r, n->in[input], axes, MP_RANK) : 0;
}

/* ---- pass 1: values ---- */

static void find_users(mp_rec *r) {
  const mp_graph *g = r->g;
  r->use_first = mp_alloc_array(r->a, g->value_count + 2, sizeof *r->use_first);
  uint32_t total = 0;
  for (uint32_t i = 0; i < g->node_count; i++)
    for (int k = 0; k < g->nodes[i].ins; k++)
      if (g->nodes[i].in[k] >= 0) r->use_first[g->nodes[i].in[k] + 2]++, total++;
  for (uint32_t v = 2; v < g->value_count + 2; v++) r->use_first[v] += r->use_first[v - 1];
  r->use = mp_alloc_array(r->a, total, sizeof *r->use);
  for (uint32_t i = 0; i < g->node_count; i++)
    for (int k = 0; k < g->nodes[i].ins; k++)
      if (g->nodes[i].in[k] >= 0) r->use[r->use_first[g->nodes[i].in[k] + 1]++] = (int32_t)i;
}

/* operators that make tensors on the device from numbers */
static bool creates(const mp_node *n) {
  static const char *const types[] = {
      "Range",    "ConstantOfShape", "Expand", "Trilu", "EyeLike", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike",
      "Bernoulli"};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (is(n, types[i])) return true;
  return false;
}

static bool random_node(const mp_node *n) { return !strncmp(n->type, "Random", 6) || is(n, "Bernoulli") || is(n, "Multinomial"); }

/* Constants that the file holds as initializers: numbers without a state_dict name */
bool mp_r_is_number_initializer(const mp_rec *r, int32_t v) {
  const mp_value *x = value_at(r, v);
  bool anonymous = !strncmp(x->name, "onnx::", 6) || x->name[0] == '/' || !r->slashed;
  return x->kind == MP_VALUE_INITIALIZER && x->rank == 0 && anonymous;
}

static void find_host(mp_rec *r) {
  const mp_graph *g = r->g;
  for (uint32_t v = 0; v < g->value_count; v++)
    if (g->values[v].kind == MP_VALUE_INITIALIZER && (mp_r_is_number_initializer(r, (int32_t)v) || !mp_dtype_is_float(g->values[v].dtype)))
      r->host[v] = r->fixed[v] = true;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    bool host = true, fixed = true, shape = is(n, "Shape") || is(n, "Size");
    for (int k = 0; k < n->ins && !shape && !(k && is(n, "CastLike")); k++) {
      if (n->in[k] < 0) continue;
      host &= r->host[n->in[k]];
      fixed &= r->fixed[n->in[k]];
    }
    for (int o = 0; o < n->outs; o++) {
      if (n->out[o] < 0) continue;
      r->host[n->out[o]] = host && !creates(n);
      r->fixed[n->out[o]] = fixed && !random_node(n);
    }
  }
}

/* Does everything that reads v end in a loss (through views)? */
static bool ends_in_loss(const mp_rec *r, int32_t v, int depth) {
  int32_t users[8];
  uint32_t n = mp_r_users(r, v, users, 8);
  if (!n || depth > 6) return false;
  for (uint32_t i = 0; i < n; i++) {
    const mp_node *u = mp_r_node(r, users[i]);
    if (is(u, "SoftmaxCrossEntropyLoss") || is(u, "NegativeLogLikelihoodLoss")) continue;
    bool view = is(u, "Reshape") || is(u, "Slice") || is(u, "Transpose") || is(u, "Flatten") || is(u, "Squeeze") || is(u, "Cast");
    if (!view || !ends_in_loss(r, made(u), depth + 1)) return false;
  }
  return true;
}

/* x.float() of a norm that is written out: in its scope the square of x is averaged */
static bool norm_cast(const mp_rec *r, int32_t node, int32_t out) {
  int32_t users[16], more[8];
  uint32_t n = mp_r_users(r, out, users, 16);
  for (uint32_t i = 0; i < n; i++) {
    const mp_node *u = mp_r_node(r, users[i]);
    bool square = is(u, "Pow") || (is(u, "Mul") && raw(u, 0) == raw(u, 1));
    if (!square || !mp_r_same_scope(r, node, users[i])) continue;
    uint32_t m = mp_r_users(r, made(u), more, 8);
    for (uint32_t k = 0; k < m; k++)
      if (is(mp_r_node(r, more[k]), "ReduceMean")) return true;
  }
  return false;
}

/* cos or sin, scaled or not: the tables of a rotary embedding, which end in .to(x.dtype) */
static bool rotary_table(const mp_rec *r, int32_t node) {
  const mp_node *n = mp_r_node(r, node);
  if (is(n, "Mul") && raw(n, 1) >= 0 && r->host[raw(n, 1)]) node = mp_r_producer(r, raw(n, 0));
  return node >= 0 && (is(mp_r_node(r, node), "Cos") || is(mp_r_node(r, node), "Sin"));
}

/* x * cos + turned * sin: a rotary embedding at its end, whose cast is .to(x.dtype) */
static bool rotated(const mp_rec *r, const mp_node *n) {
  if (!is(n, "Add")) return false;
  for (int i = 0; i < 2; i++) {
    int32_t p = producer_of(r, raw(n, i));
    if (p < 0 || !is(mp_r_node(r, p), "Mul")) return false;
  }
  return true;
}

/* query.float() @ key.float(): everything that reads the cast leads to a product that ends in a softmax, and the product's operands are both casts */
static bool scores_cast(const mp_rec *r, int32_t v, int depth) {
  int32_t users[4];
  uint32_t n = mp_r_users(r, v, users, 4);
  if (n != 1 || depth > 2) return false;
  const mp_node *u = mp_r_node(r, users[0]);
  if (is(u, "Transpose")) return scores_cast(r, made(u), depth + 1);
  if (!is(u, "MatMul")) return false;
  for (int i = 0; i < 2; i++) {
    int32_t p = producer_of(r, raw(u, i));
    if (p >= 0 && is(mp_r_node(r, p), "Transpose")) p = producer_of(r, raw(mp_r_node(r, p), 0));
    if (p < 0 || !is(mp_r_node(r, p), "Cast")) return false;
  }
  return true;
}

/* the cast that a norm began with, seen from its product with 1 / rms; -1 */
static int32_t scaled(const mp_rec *r, int32_t product, int32_t node) {
  if (product < 0 || !is(mp_r_node(r, product), "Mul") || !mp_r_same_scope(r, node, product)) return -1;
  for (int k = 0; k < 2; k++) {
    int32_t x = producer_of(r, raw(mp_r_node(r, product), k));
    if (x >= 0 && is(mp_r_node(r, x), "Cast") && r->cast[x] == MP_CAST_SCOPED) return x;
  }
  return -1;
}

/* the same, or seen from that product times the weight */
int32_t mp_r_norm_cast(const mp_rec *r, int32_t product, int32_t node) {
  int32_t head = scaled(r, product, node);
  if (product < 0 || !is(mp_r_node(r, product), "Mul") || !mp_r_same_scope(r, node, product)) return -1;
  for (int k = 0; k < 2 && head < 0; k++) {
    int32_t w = raw(mp_r_node(r, product), 1 - k);
    if (w >= 0 && r->g->values[w].kind == MP_VALUE_INITIALIZER) head = scaled(r, producer_of(r, raw(mp_r_node(r, product), k)), node);
  }
  return head;
}

/* 1.0 + self.weight.float(), self.weight.float() * x: a norm that is float32 to its end */
static bool widened_weight(const mp_rec *r, int32_t node) {
  int32_t w = raw(mp_r_node(r, node), 0), v = made(mp_r_node(r, node)), users[2];
  if (r->g->values[w].kind != MP_VALUE_INITIALIZER || mp_r_users(r, v, users, 2) != 1 || !mp_r_same_scope(r, node, users[0])) return false;
  const mp_node *u = mp_r_node(r, users[0]);
  int32_t other = raw(u, raw(u, 0) == v);
  if (is(u, "LayerNormalization")) return raw(u, 0) != v; /* F.layer_norm(x.float(), shape, self.weight.float()) */
  return (is(u, "Add") && other >= 0 && r->host[other]) || (is(u, "Mul") && mp_r_norm_cast(r, producer_of(r, other), node) >= 0);
}

/* softmax(x.float()) */
static bool before_softmax(const mp_rec *r, int32_t v) {
  int32_t users[2];
  return mp_r_users(r, v, users, 2) == 1 && is(mp_r_node(r, users[0]), "Softmax");
}

/* F.layer_norm(x.float(), ...) in a module of its own: does the layer norm read the cast? */
static bool before_layer_norm(const mp_rec *r, int32_t node) {
  int32_t users[8], v = made(mp_r_node(r, node));
  uint32_t n = mp_r_users(r, v, users, 8);
  for (uint32_t i = 0; i < n; i++)
    if (is(mp_r_node(r, users[i]), "LayerNormalization") && raw(mp_r_node(r, users[i]), 0) == v && mp_r_same_scope(r, node, users[i])) return true;
  return false;
}

int32_t mp_r_layer_norm_cast(const mp_rec *r, int32_t norm, int32_t node) {
  if (norm < 0 || !is(mp_r_node(r, norm), "LayerNormalization") || !mp_r_same_scope(r, node, norm)) return -1;
  int32_t x = producer_of(r, raw(mp_r_node(r, norm), 0));
  return x >= 0 && is(mp_r_node(r, x), "Cast") && r->cast[x] == MP_CAST_SCOPED ? x : -1;
}

static void find_casts(mp_rec *r) {
  const mp_graph *g = r->g;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    if (!is(n, "Cast") || n->ins < 1 || raw(n, 0) < 0 || made(n) < 0) continue;
    const mp_value *from = value_at(r, raw(n, 0)), *to = value_at(r, made(n));
    if (from->dtype != to->dtype || !mp_dtype_is_float(to->dtype)) continue;
    int32_t p = mp_r_resolve(r, raw(n, 0), -1), maker = mp_r_producer(r, p);
    const mp_node *m = maker >= 0 ? mp_r_node(r, maker) : NULL;
    if (m && is(m, "Cast") && r->cast[maker] == MP_CAST_BACK)
      r->cast[maker] = MP_CAST_ALIAS, r->cast[i] = MP_CAST_BACK; /* softmax(dtype=float32).to(dtype): two casts */
    else if (m && is(m, "Softmax"))
      r->cast[i] = MP_CAST_BACK;
    else if (m && rotary_table(r, maker))
      r->cast[i] = MP_CAST_BACK;
    else if (!(m && rotated(r, m)) && scores_cast(r, made(n), 0))
      r->cast[i] = MP_CAST_FLOAT;
    else if (before_softmax(r, made(n)))
      r->cast[i] = MP_CAST_FLOAT;
    else if (norm_cast(r, (int32_t)i, made(n)) || before_layer_norm(r, (int32_t)i))
      r->cast[i] = MP_CAST_SCOPED;
    else if (m && (mp_r_norm_cast(r, maker, (int32_t)i) >= 0 || mp_r_layer_norm_cast(r, maker, (int32_t)i) >= 0))
      r->cast[i] = MP_CAST_BACK;
    else if (widened_weight(r, (int32_t)i))
      r->cast[i] = MP_CAST_FLOAT;
    else if (ends_in_loss(r, made(n), 0))
      r->cast[i] = MP_CAST_FLOAT;
  }
}

/* is the node's module called a layer norm: layer_norm, final_layernorm */
static bool in_layer_norm(const mp_rec *r, int32_t node) {
  const mp_node *n = mp_r_node(r, node);
  size_t end = mp_r_scope_length(n), from = end;
  while (from && n->name[from - 1] != '/') from--;
  const char *name = mp_strndup(r->a, n->name + from, end - from);
  return strstr(name, "layer_norm") || strstr(name, "layernorm") || strstr(name, "LayerNorm");
}

/* A layer norm whose result is not cast back took the square of x.float() only (T5's form): x * rsqrt(...) reads x itself, and follows the weight's type.
 * Others end in .type_as(x), as Llama's first RMSNorm, which leaves no node (unseen_casts.c puts it back). */
static void find_squares(mp_rec *r) {
  for (uint32_t i = 0; i < r->g->node_count; i++) {
    if (r->cast[i] != MP_CAST_SCOPED) continue;
    bool back = false;
    for (uint32_t k = i + 1; k < r->g->node_count && k < i + 24 && !back; k++)
      back = (r->cast[k] == MP_CAST_BACK || (r->cast[k] == MP_CAST_FLOAT && widened_weight(r, (int32_t)k))) && mp_r_same_scope(r, (int32_t)i, (int32_t)k);
    if (!back && in_layer_norm(r, (int32_t)i)) r->cast[i] = MP_CAST_SQUARE;
  }
}

bool mp_r_norm_trains(const mp_node *n) { return n->opset < 14 ? n->outs > 1 : mp_node_int(n, "training_mode", 0) != 0; }

/* A file made for training shows a training BatchNorm or a Dropout, or ends in a loss. */
static void find_mode(mp_rec *r) {
  const mp_graph *g = r->g;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    if (is(n, "BatchNormalization") && mp_r_norm_trains(n)) r->training = true;
    if (is(n, "Dropout")) r->training = true;
  }
  for (uint32_t i = 0; i < g->output_count; i++) {
    const mp_value *v = value_at(r, g->outputs[i]);
    if (mp_dtype_is_float(v->dtype) && v->rank == 0) r->training = true;
  }
}

void mp_r_read_values(mp_rec *r) {
  const mp_graph *g = r->g;
  r->cast = mp_alloc_array(r->a, g->node_count, sizeof *r->cast);
  r->host = mp_alloc_array(r->a, g->value_count, sizeof *r->host);
  r->fixed = mp_alloc_array(r->a, g->value_count, sizeof *r->fixed);
  find_users(r);
  find_host(r);
  find_casts(r);
  find_squares(r);
  find_mode(r);
}
