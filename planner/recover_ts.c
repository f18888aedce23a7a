/* graph -> program where the file does not name the calls: scopes from node names (the TorchScript exporter's "/encoder/layer.0/attn/MatMul"), patterns from the table.
 *
 * Four passes: read the values (what Python held, what follows from constants, which casts are none), match the table's rows, find the hits that something
 * needs, emit those in the file's order. A file without scopes goes the same way with one module. */
#include <math.h>
#include <string.h>

#include "planner/recover.h"

/* ---- reading ---- */

const mp_node *mp_r_node(const mp_rec *r, int32_t node) { return &r->g->nodes[node]; }
static const mp_value *value_at(const mp_rec *r, int32_t v) { return &r->g->values[v]; }
static bool is(const mp_node *n, const char *type) { return !strcmp(n->type, type); }

static size_t scope_length(const mp_node *n) {
  const char *end = strrchr(n->name, '/');
  return end ? (size_t)(end - n->name) : 0;
}

bool mp_r_same_scope(const mp_rec *r, int32_t node, int32_t other) {
  const mp_node *a = mp_r_node(r, node), *b = mp_r_node(r, other);
  size_t n = scope_length(a);
  return n == scope_length(b) && !strncmp(a->name, b->name, n);
}

/* the value that v is another name of, for this reader (-1: none in particular) */
static int32_t resolve(const mp_rec *r, int32_t v, int32_t reader) {
  while (v >= 0 && value_at(r, v)->producer >= 0) {
    int32_t p = value_at(r, v)->producer;
    const mp_node *n = mp_r_node(r, p);
    bool name = is(n, "Identity");
    if (is(n, "Cast") && r->cast[p] != MP_CAST_BACK) {
      int32_t from = n->in[0];
      bool same = from >= 0 && value_at(r, from)->dtype == value_at(r, v)->dtype;
      bool square = reader >= 0 && mp_r_same_scope(r, p, reader) && (is(mp_r_node(r, reader), "Pow") || (is(mp_r_node(r, reader), "Mul") && mp_r_node(r, reader)->in[0] == mp_r_node(r, reader)->in[1]));
      name = same && (r->cast[p] == MP_CAST_ALIAS || (r->cast[p] == MP_CAST_SQUARE && !square) || (r->cast[p] == MP_CAST_SCOPED && (reader < 0 || !mp_r_same_scope(r, p, reader))));
    }
    if (!name || n->ins < 1 || n->in[0] < 0) break;
    v = n->in[0];
  }
  return v;
}

int32_t mp_r_in(const mp_rec *r, int32_t node, int i) {
  const mp_node *n = mp_r_node(r, node);
  return i < n->ins ? resolve(r, n->in[i], node) : -1;
}

int32_t mp_r_producer(const mp_rec *r, int32_t value) { return value < 0 ? -1 : value_at(r, value)->producer; }

int32_t mp_r_maker(const mp_rec *r, int32_t value, const char *type) {
  int32_t p = mp_r_producer(r, value);
  return p >= 0 && is(mp_r_node(r, p), type) ? p : -1;
}

int mp_r_rank(const mp_rec *r, int32_t value) { return value < 0 ? -1 : value_at(r, value)->rank; }

int64_t mp_r_dim(mp_rec *r, int32_t value, int i) {
  const mp_value *v = value_at(r, value);
  if (v->rank >= 0 && i < 0) i += v->rank;
  if (i >= 0 && i < v->rank && mp_int_is_number(v->dims[i])) return v->dims[i].n;
  const char *why = mp_graph_why(r->a, r->g, value);
  why = why ? mp_format(r->a, "is not known: %s", why) : NULL;
  if (v->rank >= 0 && i >= 0 && i < v->rank && !mp_int_is_unknown(v->dims[i]))
    why = mp_format(r->a, "is %s; bind the names in it with --dim NAME=N", mp_int_text(r->a, v->dims[i]));
  mp_fail(r->a, MP_BAD_INPUT, "%s: dimension %d of '%s' %s", r->g->path, i, v->name, why ? why : "is not known");
}

static bool scalar(const mp_value *v) {
  if (v->rank < 0) return false;
  for (int i = 0; i < v->rank; i++)
    if (!mp_int_is_number(v->dims[i]) || v->dims[i].n != 1) return false;
  return true;
}

/* Python's number: a scalar on the host */
static bool host_scalar(const mp_rec *r, int32_t v) { return v >= 0 && r->host[v] && scalar(value_at(r, v)); }

/* Python's: a number, or a list of sizes */
static bool python(const mp_rec *r, int32_t v) {
  const mp_value *x = value_at(r, v);
  return host_scalar(r, v) || (r->host[v] && x->rank == 1 && x->ints && x->dtype == MP_INT64);
}

bool mp_r_number(const mp_rec *r, int32_t value, double *x) {
  if (!host_scalar(r, value)) return false;
  const mp_value *v = value_at(r, value);
  if (v->contents == 1 && v->floats) *x = v->floats[0];
  else if (v->contents == 1 && v->ints && mp_int_is_number(v->ints[0])) *x = (double)v->ints[0].n;
  else return false;
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

static void add_users(const mp_rec *r, int32_t value, int32_t *nodes, uint32_t max, uint32_t *n) {
  for (uint32_t u = r->use_first[value]; u < r->use_first[value + 1]; u++) {
    const mp_node *node = mp_r_node(r, r->use[u]);
    if (is(node, "Shape") || is(node, "Size")) continue;
    if (node->outs && node->out[0] >= 0 && resolve(r, node->out[0], -1) == resolve(r, value, -1) && (is(node, "Identity") || is(node, "Cast")))
      add_users(r, node->out[0], nodes, max, n);
    else if (*n < max)
      nodes[(*n)++] = r->use[u];
  }
}

uint32_t mp_r_users(const mp_rec *r, int32_t value, int32_t *nodes, uint32_t max) {
  uint32_t n = 0;
  if (value >= 0) add_users(r, value, nodes, max, &n);
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
  static const char *const types[] = {"Range", "ConstantOfShape", "Expand", "Trilu", "EyeLike", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli"};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (is(n, types[i])) return true;
  return false;
}

static bool random_node(const mp_node *n) { return !strncmp(n->type, "Random", 6) || is(n, "Bernoulli") || is(n, "Multinomial"); }

/* Constants that the file holds as initializers: numbers without a state_dict name */
static bool number_initializer(const mp_rec *r, int32_t v) {
  const mp_value *x = value_at(r, v);
  bool anonymous = !strncmp(x->name, "onnx::", 6) || x->name[0] == '/' || !r->scoped;
  return x->kind == MP_VALUE_INITIALIZER && x->rank == 0 && anonymous;
}

static void find_host(mp_rec *r) {
  const mp_graph *g = r->g;
  for (uint32_t v = 0; v < g->value_count; v++)
    if (g->values[v].kind == MP_VALUE_INITIALIZER && (number_initializer(r, (int32_t)v) || !mp_dtype_is_float(g->values[v].dtype)))
      r->host[v] = r->fixed[v] = true;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    bool host = true, fixed = true, shape = is(n, "Shape") || is(n, "Size");
    for (int k = 0; k < n->ins && !shape; k++) {
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
    if (!view || !ends_in_loss(r, u->out[0], depth + 1)) return false;
  }
  return true;
}

/* x.float() of a norm that is written out: in its scope the square of x is averaged */
static bool norm_cast(const mp_rec *r, int32_t node, int32_t out) {
  int32_t users[16], more[8];
  uint32_t n = mp_r_users(r, out, users, 16);
  for (uint32_t i = 0; i < n; i++) {
    const mp_node *u = mp_r_node(r, users[i]);
    bool square = is(u, "Pow") || (is(u, "Mul") && u->in[0] == u->in[1]);
    if (!square || !mp_r_same_scope(r, node, users[i])) continue;
    uint32_t m = mp_r_users(r, u->out[0], more, 8);
    for (uint32_t k = 0; k < m; k++)
      if (is(mp_r_node(r, more[k]), "ReduceMean")) return true;
  }
  return false;
}

/* cos or sin, scaled or not: the tables of a rotary embedding, which end in .to(x.dtype) */
static bool rotary_table(const mp_rec *r, int32_t node) {
  const mp_node *n = mp_r_node(r, node);
  if (is(n, "Mul") && r->host[n->in[1]]) node = mp_r_producer(r, n->in[0]);
  return node >= 0 && (is(mp_r_node(r, node), "Cos") || is(mp_r_node(r, node), "Sin"));
}

/* query.float() @ key.float(): everything that reads the cast leads to a product that ends in a softmax, and the product's operands are both casts */
static bool scores_cast(const mp_rec *r, int32_t v, int depth) {
  int32_t users[4];
  uint32_t n = mp_r_users(r, v, users, 4);
  if (n != 1 || depth > 2) return false;
  const mp_node *u = mp_r_node(r, users[0]);
  if (is(u, "Transpose")) return scores_cast(r, u->out[0], depth + 1);
  if (!is(u, "MatMul")) return false;
  for (int i = 0; i < 2; i++) {
    int32_t p = u->in[i] < 0 ? -1 : value_at(r, u->in[i])->producer;
    if (p >= 0 && is(mp_r_node(r, p), "Transpose")) p = value_at(r, mp_r_node(r, p)->in[0])->producer;
    if (p < 0 || !is(mp_r_node(r, p), "Cast")) return false;
  }
  return true;
}

static void find_casts(mp_rec *r) {
  const mp_graph *g = r->g;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    if (!is(n, "Cast") || n->ins < 1 || n->in[0] < 0 || n->out[0] < 0) continue;
    const mp_value *from = value_at(r, n->in[0]), *to = value_at(r, n->out[0]);
    if (from->dtype != to->dtype || !mp_dtype_is_float(to->dtype)) continue;
    int32_t p = resolve(r, n->in[0], -1), maker = mp_r_producer(r, p);
    const mp_node *m = maker >= 0 ? mp_r_node(r, maker) : NULL;
    if (m && is(m, "Cast") && r->cast[maker] == MP_CAST_BACK) r->cast[maker] = MP_CAST_ALIAS, r->cast[i] = MP_CAST_BACK; /* softmax(dtype=float32).to(dtype): two casts */
    else if (m && is(m, "Softmax")) r->cast[i] = MP_CAST_BACK;
    else if (m && rotary_table(r, maker)) r->cast[i] = MP_CAST_BACK;
    else if (scores_cast(r, n->out[0], 0)) r->cast[i] = MP_CAST_FLOAT;
    else if (norm_cast(r, (int32_t)i, n->out[0])) r->cast[i] = MP_CAST_SCOPED;
    else if (m && is(m, "Mul") && mp_r_same_scope(r, (int32_t)i, maker))
      for (int k = 0; k < 2; k++) {
        int32_t x = m->in[k] >= 0 ? value_at(r, m->in[k])->producer : -1;
        if (x >= 0 && is(mp_r_node(r, x), "Cast") && r->cast[x] == MP_CAST_SCOPED) r->cast[i] = MP_CAST_BACK;
      }
    else if (ends_in_loss(r, n->out[0], 0)) r->cast[i] = MP_CAST_FLOAT;
  }
}

/* A norm whose result is not cast back took the square of x.float() only (T5's form): x * rsqrt(...) reads x itself, and follows the weight's type. */
static void find_squares(mp_rec *r) {
  for (uint32_t i = 0; i < r->g->node_count; i++) {
    if (r->cast[i] != MP_CAST_SCOPED) continue;
    bool back = false;
    for (uint32_t k = i + 1; k < r->g->node_count && k < i + 24 && !back; k++)
      back = r->cast[k] == MP_CAST_BACK && mp_r_same_scope(r, (int32_t)i, (int32_t)k);
    if (!back) r->cast[i] = MP_CAST_SQUARE;
  }
}

/* A file made for training shows a training BatchNorm or a Dropout, or ends in a loss. */
static void find_mode(mp_rec *r) {
  const mp_graph *g = r->g;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    if (is(n, "BatchNormalization") && mp_node_int(n, "training_mode", 0)) r->training = true;
    if (is(n, "Dropout")) r->training = true;
  }
  for (uint32_t i = 0; i < g->output_count; i++) {
    const mp_value *v = value_at(r, g->outputs[i]);
    if (mp_dtype_is_float(v->dtype) && v->rank == 0) r->training = true;
  }
}

/* ---- parameters and buffers ---- */

static int32_t make_var(mp_rec *r, mp_role role, int32_t v) {
  const mp_value *x = value_at(r, v);
  int64_t dims[MP_RANK];
  if (x->rank < 0) mp_r_dim(r, v, 0);
  if (x->rank > MP_RANK) mp_fail(r->a, MP_BAD_INPUT, "%s: '%s' has %d dimensions; at most %d are handled", r->g->path, x->name, x->rank, MP_RANK);
  for (int i = 0; i < x->rank; i++) dims[i] = mp_r_dim(r, v, i);
  return r->var[v] = mp_builder_var(r->b, role, x->name, x->dtype, x->rank, dims, v);
}

/* a value that only batch norms read, as running statistics */
static bool running_statistic(const mp_rec *r, int32_t v) {
  bool any = false;
  for (uint32_t u = r->use_first[v]; u < r->use_first[v + 1]; u++) {
    const mp_node *n = mp_r_node(r, r->use[u]);
    if (!is(n, "BatchNormalization") || (n->in[3] != v && n->in[4] != v)) return false;
    any = true;
  }
  return any;
}

static bool ends_with(const char *s, const char *end) {
  size_t n = strlen(s), m = strlen(end);
  return n >= m && !strcmp(s + n - m, end);
}

/* nn.BatchNorm counts its batches in a buffer that no node reads */
static void add_counter(mp_rec *r, const char *mean) {
  static const char end[] = "running_mean";
  if (ends_with(mean, end))
    mp_builder_var(r->b, MP_ROLE_BUFFER, mp_format(r->a, "%.*snum_batches_tracked", (int)(strlen(mean) - strlen(end)), mean), MP_INT64, 0, NULL, -1);
}

/* The table of an embedding that v, a folded and so transposed weight, has the dims of: a language model's head shares it. A head that is an embedding of its own is
 * called one (embed_out). -> its value, -1 */
static int32_t tied_table(mp_rec *r, int32_t v) {
  const mp_value *x = value_at(r, v);
  if (strncmp(x->name, "onnx::MatMul", 12) != 0 || x->rank != 2 || r->use_first[v] + 1 != r->use_first[v + 1]) return -1;
  const char *module = mp_r_module_path(r, r->use[r->use_first[v]]), *own = strrchr(module, '.');
  if (strstr(own ? own : module, "embed")) return -1;
  for (uint32_t i = 0; i < r->g->node_count; i++) {
    const mp_node *n = &r->g->nodes[i];
    if (!is(n, "Gather") || n->in[0] == v || !mp_r_is_parameter(r, n->in[0]) || mp_r_rank(r, n->in[0]) != 2) continue;
    if (mp_r_dim(r, n->in[0], 0) == mp_r_dim(r, v, 1) && mp_r_dim(r, n->in[0], 1) == mp_r_dim(r, v, 0) && mp_r_dim(r, v, 1) > mp_r_dim(r, v, 0)) return n->in[0];
  }
  return -1;
}

static void make_parameters(mp_rec *r) {
  const mp_graph *g = r->g;
  uint32_t anonymous = 0;
  for (uint32_t v = 0; v < g->value_count; v++) {
    const mp_value *x = &g->values[v];
    if (x->kind != MP_VALUE_INITIALIZER || number_initializer(r, (int32_t)v)) continue;
    bool statistic = running_statistic(r, (int32_t)v) || ends_with(x->name, ".running_mean") || ends_with(x->name, ".running_var");
    bool parameter = mp_dtype_is_float(x->dtype) && !statistic;
    if (!parameter && !x->users && !mp_dtype_is_float(x->dtype)) continue;
    if (parameter && tied_table(r, (int32_t)v) >= 0) continue;
    make_var(r, parameter ? MP_ROLE_PARAMETER : MP_ROLE_BUFFER, (int32_t)v);
    if (statistic) add_counter(r, x->name);
    anonymous += parameter;
  }
  for (uint32_t v = 0; v < g->value_count; v++) {
    int32_t table = g->values[v].kind == MP_VALUE_INITIALIZER && r->var[v] < 0 ? tied_table(r, (int32_t)v) : -1;
    if (table < 0) continue;
    r->var[v] = r->var[table];
    mp_builder_warn(r->b, "a folded weight has the dims of '%s': taken to be tied to it", g->values[table].name);
  }
  if (anonymous) mp_builder_warn(r->b, "the file does not tell parameters from buffers: all %u float initializers but running statistics are taken for parameters", anonymous);
}

/* ---- pass 2 and 3: match, find what is needed ---- */

static const mp_pattern unknown_row = {"", "", NULL, NULL};

static void match_all(mp_rec *r) {
  const mp_graph *g = r->g;
  mp_hit *h = mp_alloc(r->a, sizeof *h);
  for (uint32_t k = 0; k < mp_pattern_count; k++) {
    const mp_pattern *row = &mp_patterns[k];
    size_t n = strcspn(row->nodes, "[(");
    for (uint32_t i = 0; i < g->node_count; i++) {
      const char *type = g->nodes[i].type;
      if (r->owner[i] || strncmp(type, row->nodes, n) != 0 || type[n] || !mp_match(r, row, (int32_t)i, h)) continue;
      for (uint32_t j = 0; j < h->node_count; j++)
        if (!j || !r->owner[h->nodes[j]]) {
          const mp_node *inner = &g->nodes[h->nodes[j]];
          bool shared = j && inner->ins && inner->out[0] >= 0 && (r->fixed[inner->out[0]] || mp_r_is_parameter(r, inner->in[0]));
          if (!shared) r->owner[h->nodes[j]] = h;
        }
      h = mp_alloc(r->a, sizeof *h);
    }
  }
}

static mp_hit *unknown_hit(mp_rec *r, int32_t node) {
  mp_hit *h = mp_alloc(r->a, sizeof *h);
  h->row = &unknown_row;
  h->root = node;
  for (int i = 0; i < MP_HIT_VALUES; i++) h->values[i] = -1;
  mp_hit_node(h, node);
  return r->owner[node] = h;
}

static void want(const mp_rec *r, bool *needed, int32_t v) {
  if (v >= 0 && !python(r, v)) needed[v] = true;
}

/* Readers come after what they read, so one pass from the end finds every hit that an output depends on. */
static void find_live(mp_rec *r) {
  const mp_graph *g = r->g;
  bool *needed = mp_alloc_array(r->a, g->value_count, sizeof *needed);
  for (uint32_t i = 0; i < g->output_count; i++) needed[resolve(r, g->outputs[i], -1)] = true;
  for (uint32_t i = g->node_count; i-- > 0;) {
    const mp_node *n = &g->nodes[i];
    bool wanted = false;
    for (int o = 0; o < n->outs; o++) wanted |= n->out[o] >= 0 && needed[n->out[o]];
    if (!wanted || is(n, "Constant")) continue;
    mp_hit *h = r->owner[i] ? r->owner[i] : unknown_hit(r, (int32_t)i);
    if (h->root != (int32_t)i) h = unknown_hit(r, (int32_t)i);
    h->live = true;
    if (h->row == &unknown_row || (strstr(h->row->nodes, "(...)") && !h->listed))
      for (int k = 0; k < n->ins; k++) want(r, needed, mp_r_in(r, h->root, k));
    for (uint32_t k = 0; k < h->need_count; k++) want(r, needed, h->needs[k]);
    for (int k = 0; k < MP_HIT_VALUES; k++) want(r, needed, h->values[k]);
  }
}

/* ---- pass 4: calls ---- */

/* every "/a", "/a/b" of the nodes' names */
static void find_scopes(mp_rec *r) {
  r->scopes = mp_names_new(r->a, 64);
  for (uint32_t i = 0; i < r->g->node_count; i++) {
    const mp_node *n = &r->g->nodes[i];
    size_t end = scope_length(n);
    bool fresh = n->name[0] == '/';
    while (fresh && end > 0) {
      mp_names_add(r->a, r->scopes, n->name, end, &fresh);
      while (end > 0 && n->name[--end] != '/') {}
    }
  }
}

static bool has_parameters(const mp_rec *r, const char *path, size_t len) {
  for (uint32_t v = 0; v < r->g->value_count; v++) {
    const mp_value *x = value_at(r, (int32_t)v);
    if (x->kind == MP_VALUE_INITIALIZER && !strncmp(x->name, path, len) && x->name[len] == '.') return true;
  }
  return false;
}

/* The exporter names a module's second run "relu_1". [name, name + len) is a scope whose last part may be such a name: -> the length without the number. */
static size_t without_turn(const mp_rec *r, const char *name, size_t len, const char *path, size_t path_len) {
  size_t n = len;
  while (n > 0 && name[n - 1] >= '0' && name[n - 1] <= '9') n--;
  if (n == len || n < 2 || name[n - 1] != '_' || mp_names_find(r->scopes, name, n - 1) == UINT32_MAX) return len;
  return has_parameters(r, path, path_len) ? len : n - 1;
}

/* The modules around a node, outermost first: "/fn/fn.0/relu_1" -> "fn", "fn.0", "fn.0.relu". A child of a Sequential repeats its parent's name, a second run has a
 * number. raw: where each one's scope ends in the node's name. */
static uint32_t modules_of(mp_rec *r, const mp_node *n, const char **paths, size_t *raw, uint32_t max) {
  if (n->name[0] != '/') return 0;
  const char *end = n->name + scope_length(n), *prev = NULL;
  size_t prev_len = 0, len = 0;
  uint32_t count = 0;
  char *path = mp_alloc(r->a, (size_t)(end - n->name) + 2);
  for (const char *p = n->name; p < end && count < max;) {
    const char *part = p + 1, *stop = memchr(part, '/', (size_t)(end - part));
    if (!stop) stop = end;
    size_t size = (size_t)(stop - part);
    if (prev && size > prev_len && !strncmp(part, prev, prev_len) && part[prev_len] == '.') len -= prev_len;
    else if (len) path[len++] = '.';
    memcpy(path + len, part, size);
    len += size;
    prev_len = size;
    size_t scope = (size_t)(stop - n->name), kept = without_turn(r, n->name, scope, path, len);
    if (kept < scope && kept > (size_t)(part - n->name)) {
      len -= scope - kept;
      prev_len -= scope - kept;
    }
    paths[count] = mp_strndup(r->a, path, len);
    raw[count++] = scope;
    prev = part;
    p = stop;
  }
  return count;
}

enum { MAX_DEPTH = 32 };

const char *mp_r_module_path(mp_rec *r, int32_t node) {
  const char *paths[MAX_DEPTH];
  size_t raw[MAX_DEPTH];
  uint32_t n = modules_of(r, mp_r_node(r, node), paths, raw, MAX_DEPTH);
  return n ? paths[n - 1] : "";
}

/* opens the modules of a node; one whose scope has another name than before has begun a new run */
static void enter(mp_rec *r, int32_t node) {
  const char *paths[MAX_DEPTH], *name = mp_r_node(r, node)->name;
  size_t raw[MAX_DEPTH];
  if (name[0] != '/') return;
  uint32_t n = modules_of(r, mp_r_node(r, node), paths, raw, MAX_DEPTH);
  size_t last = r->scope ? (size_t)(strrchr(r->scope, '/') - r->scope) : 0;
  for (uint32_t i = 0; i < n && r->scope; i++)
    if (raw[i] > last || strncmp(r->scope, name, raw[i]) != 0 || r->scope[raw[i]] != '/') {
      mp_builder_leave(r->b, paths[i]);
      break;
    }
  r->module = n ? mp_builder_modules(r->b, paths, NULL, n) : mp_builder_module(r->b, "", NULL);
  r->path = n ? paths[n - 1] : "";
  r->scope = name;
}

static void emit(mp_rec *r, mp_hit *h) {
  if (h->done) return;
  h->done = true;
  enter(r, h->root);
  if (h->row == &unknown_row) {
    const mp_node *n = mp_r_node(r, h->root);
    mp_arg *args = mp_alloc_array(r->a, n->ins, sizeof *args);
    int32_t *outs = mp_alloc_array(r->a, n->outs, sizeof *outs);
    for (int i = 0; i < n->ins; i++) args[i] = mp_r_arg(r, mp_r_in(r, h->root, i));
    for (int i = 0; i < n->outs; i++) outs[i] = mp_r_result(r, h, i);
    mp_r_call(r, h, mp_format(r->a, "%s::%s", n->domain[0] ? n->domain : "onnx", n->type), args, n->ins, outs, n->outs);
  } else if (h->row->emit) {
    h->row->emit(r, h);
  } else {
    mp_emit_text(r, h);
  }
}

/* 0, 1, 2, ...: torch.arange of a number, which the exporter wrote out */
static bool counts(const mp_rec *r, int32_t value) {
  int32_t p = mp_r_maker(r, value, "Constant");
  const mp_attr *a = p < 0 ? NULL : mp_node_attr(mp_r_node(r, p), "value");
  if (!a || a->kind != MP_ATTR_TENSOR || a->as.tensor->dtype != MP_INT64 || a->as.tensor->rank != 1) return false;
  const mp_tensor *t = a->as.tensor;
  uint64_t n = (uint64_t)t->dims[0];
  if (n < 2 || (t->raw ? t->raw_bytes != n * 8 : t->contents != n)) return false;
  for (uint64_t i = 0; i < n; i++) {
    int64_t x;
    if (t->raw) memcpy(&x, t->raw + 8 * i, 8);
    else x = t->ints ? t->ints[i].n : -1;
    if (x != (int64_t)i) return false;
  }
  return true;
}

/* A tensor that the exporter computed or copied into the file. Modules alike register buffers alike, and the exporter keeps one copy: each module that reads it has its own. */
static int32_t lifted(mp_rec *r, int32_t v) {
  bool constant = mp_r_maker(r, v, "Constant") >= 0 && !scalar(value_at(r, v));
  if (constant && counts(r, v)) {
    int64_t n = mp_r_dim(r, v, 0);
    mp_arg args[] = {mp_arg_int(n), mp_arg_dtype(MP_INT64)};
    int32_t out = mp_r_new(r, value_at(r, v)->name, MP_INT64, 1, &n);
    mp_builder_call(r->b, "aten::arange", args, 2, &out, 1, r->module, NULL, 0);
    return out;
  }
  for (size_t i = 0; i < r->lifted.n && constant; i++)
    if (r->lifted.at[i].value == v && !strcmp(r->lifted.at[i].path, r->path)) return r->lifted.at[i].var;
  int32_t var = make_var(r, scalar(value_at(r, v)) ? MP_ROLE_CONSTANT : MP_ROLE_BUFFER, v);
  if (constant) {
    r->var[v] = -1;
    *mp_push(r->a, &r->lifted) = (mp_lifted){v, var, r->path};
  }
  return var;
}

int32_t mp_r_var(mp_rec *r, int32_t value) {
  int32_t v = resolve(r, value, -1);
  if (r->var[value] >= 0) return r->var[value];
  if (r->var[v] >= 0) return r->var[v];
  int32_t p = mp_r_producer(r, v);
  if (p >= 0 && !is(mp_r_node(r, p), "Constant") && r->owner[p] && r->owner[p]->root == p && r->owner[p]->live) emit(r, r->owner[p]);
  if (r->var[v] >= 0) return r->var[v];
  if (r->fixed[v]) return lifted(r, v);
  mp_fail(r->a, MP_INTERNAL, "%s: '%s' is read before a call makes it", r->g->path, value_at(r, v)->name);
}

mp_arg mp_r_tensor(mp_rec *r, int32_t value) { return value < 0 ? mp_arg_none() : mp_arg_var(mp_r_var(r, value)); }

mp_arg mp_r_arg(mp_rec *r, int32_t value) {
  if (!host_scalar(r, value)) return mp_r_tensor(r, value);
  double x;
  bool known = mp_r_number(r, value, &x), real = mp_dtype_is_float(value_at(r, value)->dtype);
  if (real) return mp_arg_float(known ? x : 1.0);
  if (value_at(r, value)->dtype == MP_BOOL) return mp_arg_bool(known && x != 0);
  return mp_arg_int(known ? (int64_t)x : 1);
}

mp_arg mp_r_model_type(mp_rec *r, mp_dtype t) {
  for (int32_t v = 0; v < mp_builder_var_count(r->b); v++) {
    const mp_var *x = mp_builder_at(r->b, v);
    if (x->role == MP_ROLE_PARAMETER && x->dtype == t) return mp_arg_var(v);
  }
  return mp_arg_dtype(t);
}

int32_t mp_r_new(mp_rec *r, const char *name, mp_dtype t, int rank, const int64_t *dims) { return mp_builder_var(r->b, MP_ROLE_RESULT, name, t, rank, dims, -1); }

int32_t mp_r_new_like(mp_rec *r, int32_t var) {
  const mp_var v = *mp_builder_at(r->b, var);
  return mp_r_new(r, v.name, v.dtype, v.rank, v.dims);
}

mp_call *mp_r_call(mp_rec *r, const mp_hit *h, const char *name, const mp_arg *args, uint32_t n, const int32_t *out, uint32_t outs) {
  uint32_t nodes = r->charged == h ? 0 : h->node_count; /* one call carries the arithmetic of the nodes */
  r->charged = h;
  return mp_builder_call_at(r->b, mp_builder_call(r->b, name, args, n, out, outs, r->module, h->nodes, nodes));
}

int32_t mp_r_result(mp_rec *r, const mp_hit *h, int slot) {
  const mp_node *n = mp_r_node(r, h->root);
  if (slot >= n->outs || n->out[slot] < 0) return -1;
  return make_var(r, MP_ROLE_RESULT, n->out[slot]);
}

void mp_r_last(mp_rec *r, const mp_hit *h, const char *name, const mp_arg *args, uint32_t n) {
  int32_t out = mp_r_result(r, h, 0);
  mp_r_call(r, h, name, args, n, &out, 1);
}

/* ---- the stage ---- */

const mp_program *mp_recover_ts(mp_arena *a, const mp_graph *g) {
  mp_rec *r = mp_alloc(a, sizeof *r);
  r->a = a;
  r->g = g;
  r->b = mp_builder_new(a, g);
  r->path = "";
  r->var = mp_alloc_array(a, g->value_count, sizeof *r->var);
  for (uint32_t v = 0; v < g->value_count; v++) r->var[v] = -1;
  r->cast = mp_alloc_array(a, g->node_count, sizeof *r->cast);
  r->host = mp_alloc_array(a, g->value_count, sizeof *r->host);
  r->fixed = mp_alloc_array(a, g->value_count, sizeof *r->fixed);
  r->turned = mp_alloc_array(a, g->value_count, sizeof *r->turned);
  r->owner = mp_alloc_array(a, g->node_count, sizeof(mp_hit *));
  find_scopes(r);
  r->scoped = mp_names_count(r->scopes) > 0;
  find_users(r);
  find_host(r);
  find_casts(r);
  find_squares(r);
  find_mode(r);
  if (!r->training) mp_builder_warn(r->b, "%s is an inference export: dropout and the loss are not in it, batch norms are taken to train", g->path);
  match_all(r);
  find_live(r);
  make_parameters(r);
  int32_t *inputs = mp_alloc_array(a, g->input_count, sizeof *inputs), *outputs = mp_alloc_array(a, g->output_count, sizeof *outputs);
  for (uint32_t i = 0; i < g->input_count; i++) inputs[i] = make_var(r, MP_ROLE_INPUT, g->inputs[i]);
  for (uint32_t i = 0; i < g->node_count; i++)
    if (r->owner[i] && r->owner[i]->root == (int32_t)i && r->owner[i]->live) emit(r, r->owner[i]);
  for (uint32_t i = 0; i < g->output_count; i++) outputs[i] = mp_r_var(r, g->outputs[i]);
  mp_recover_habits(r);
  return mp_builder_finish(r->b, inputs, g->input_count, outputs, g->output_count, r->scoped || !strcmp(g->producer, "pytorch") ? "torchscript" : "unknown", r->training);
}
