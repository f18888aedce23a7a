/* Initializers -> parameters and buffers, in files that do not say which is which. */
#include <string.h>

#include "planner/recover.h"

static const mp_value *value_at(const mp_rec *r, int32_t v) { return &r->g->values[v]; }
static bool is(const mp_node *n, const char *type) { return !strcmp(n->type, type); }

int32_t mp_r_make_var(mp_rec *r, mp_role role, int32_t v) {
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
    if (!is(n, "BatchNormalization") || n->ins < 5 || (n->in[3] != v && n->in[4] != v)) return false;
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

/* ---- a folded weight's table ----
 * Where constants were folded, a linear's transposed weight is an initializer of its own (onnx::MatMul_12), and that it was an embedding's table, too, is said nowhere. */

static bool is_folded_weight(const mp_value *x) { return x->kind == MP_VALUE_INITIALIZER && x->rank == 2 && !strncmp(x->name, "onnx::MatMul", 12); }

static bool are_transposed(const mp_rec *r, int32_t table, int32_t v) {
  const mp_value *x = value_at(r, table), *y = value_at(r, v);
  return x->dtype == y->dtype && x->rank == 2 && x->dims[0].n == y->dims[1].n && x->dims[1].n == y->dims[0].n;
}

typedef enum answer { NO, YES, UNTOLD } answer;

/* Is v the table transposed, element for element? Some thousand places say it; a file without weights does not, nor do weights that are one number everywhere. */
static answer holds_table(const mp_rec *r, int32_t table, int32_t v) {
  const uint8_t *x = value_at(r, table)->raw, *y = value_at(r, v)->raw;
  if (!x || !y) return UNTOLD;
  uint64_t size = mp_dtype_bits(value_at(r, v)->dtype) / 8, columns = (uint64_t)value_at(r, v)->dims[0].n, rows = (uint64_t)value_at(r, v)->dims[1].n, n = rows * columns;
  bool varied = false;
  for (uint64_t i = 0; i < n; i += n / 4096 | 1) {
    const uint8_t *e = x + i * size;
    if (memcmp(e, y + (i % columns * rows + i / columns) * size, size) != 0) return NO;
    varied |= memcmp(e, x, size) != 0;
  }
  return varied ? YES : UNTOLD;
}

/* By its dims alone: a language model's head, the one weight of such dims. A head that is an embedding of its own is called one (embed_out). */
static bool may_be_head(mp_rec *r, int32_t v) {
  const mp_value *x = value_at(r, v);
  if (x->dims[1].n <= x->dims[0].n || r->use_first[v] + 1 != r->use_first[v + 1]) return false;
  for (uint32_t i = 0; i < r->g->value_count; i++) {
    const mp_value *y = &r->g->values[i];
    if (i != (uint32_t)v && is_folded_weight(y) && y->dims[0].n == x->dims[0].n && y->dims[1].n == x->dims[1].n) return false;
  }
  const char *module = mp_r_module_path(r, r->use[r->use_first[v]]), *own = strrchr(module, '.');
  return !strstr(own ? own : module, "embed");
}

/* The embedding's table that the folded weight v is. -> its value, -1 */
static int32_t tied_table(mp_rec *r, int32_t v, bool *guessed) {
  if (!is_folded_weight(value_at(r, v))) return -1;
  for (uint32_t i = 0; i < r->g->node_count; i++) {
    const mp_node *n = &r->g->nodes[i];
    if (!is(n, "Gather") || n->ins < 1 || n->in[0] == v || !mp_r_is_parameter(r, n->in[0]) || !are_transposed(r, n->in[0], v)) continue;
    answer a = holds_table(r, n->in[0], v);
    *guessed = a == UNTOLD;
    if (a == YES || (a == UNTOLD && may_be_head(r, v))) return n->in[0];
  }
  return -1;
}

/* Where values of a kind end, and what may lie between. */
typedef struct way {
  const char *const *ends, *const *steps; /* types of nodes, NULL at the end */
} way;

static const char *const angle_ends[] = {"Cos", "Sin", "Shape", NULL};
static const char *const angle_steps[] = {"Mul", "MatMul", "Einsum", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Concat", "Expand", "Slice", "Identity", NULL};
static const way angles = {angle_ends, angle_steps}; /* a rotary embedding's frequencies (inv_freq) */

static const char *const test_ends[] = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "Shape", NULL};
static const char *const test_steps[] = {"Cast", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Expand", "Slice", "Gather", "Identity", NULL};
static const way tests = {test_ends, test_steps}; /* a mask that is compared (tril == 0): no gradient passes */

static bool one_of(const char *type, const char *const *list) {
  while (*list && strcmp(type, *list) != 0) list++;
  return *list != NULL;
}

/* do all that read v lead to the way's ends alone? */
static bool leads(mp_rec *r, int32_t v, const way *w, int depth, uint32_t *left) {
  if (r->use_first[v] == r->use_first[v + 1] || depth > 12) return false;
  for (uint32_t u = r->use_first[v]; u < r->use_first[v + 1]; u++) {
    const mp_node *n = &r->g->nodes[r->use[u]];
    if (!(*left)--) return false;
    if (one_of(n->type, w->ends) || (is(n, "Where") && w == &tests && n->ins && n->in[0] == v)) continue;
    if (!one_of(n->type, w->steps) || !n->outs || n->out[0] < 0 || !leads(r, n->out[0], w, depth + 1, left)) return false;
  }
  return true;
}

/* Tables that no optimizer trains have names that say so: freqs_cos, cos_cached, causal_mask, a positional encoding's pe. */
static bool named_as_table(const char *name) {
  static const char *const words[] = {"pe", "cos", "sin", "cis", "freqs", "freq", "tril", "triu", "mask", "alibi", "slopes", "cumprod", "encoding", NULL};
  static const char *const cached[] = {"cos_cached", "sin_cached", NULL};
  const char *last = strrchr(name, '.');
  last = last ? last + 1 : name;
  const char *word = strrchr(last, '_');
  return one_of(word ? word + 1 : last, words) || one_of(last, cached);
}

/* is the float initializer trained? The file does not say; one that is called a weight is */
static bool is_trained(mp_rec *r, int32_t v) {
  const char *name = value_at(r, v)->name;
  uint32_t left = 1000, more = 1000; /* readers that are looked at */
  return ends_with(name, ".weight") || !(named_as_table(name) || leads(r, v, &angles, 0, &left) || leads(r, v, &tests, 0, &more));
}

/* A module's own tensors stand in the order of its state_dict, parameters before buffers: behind a buffer there is no parameter. */
typedef struct owner {
  const char *name; /* of its latest tensor, */
  size_t length;    /* of which this is the module's path */
  bool buffers;     /* one was a buffer */
} owner;

static bool is_behind_buffer(owner *o, const char *name, bool buffer) {
  const char *dot = strrchr(name, '.');
  size_t length = dot ? (size_t)(dot - name) : 0;
  if (!o->name || o->length != length || strncmp(o->name, name, length) != 0 || strstr(name, "::")) o->buffers = false;
  bool behind = o->buffers;
  o->name = name;
  o->length = length;
  o->buffers |= buffer && !strstr(name, "::");
  return behind;
}

/* A folded weight that is a table already, once that has its variable. The contents prove it, or the dims suggest it, which is said. */
static void tie_folded(mp_rec *r) {
  bool guessed = false;
  for (uint32_t v = 0; v < r->g->value_count; v++) {
    int32_t table = r->var[v] < 0 ? tied_table(r, (int32_t)v, &guessed) : -1;
    if (table < 0) continue;
    r->var[v] = r->var[table];
    if (guessed) mp_builder_warn(r->b, "a folded weight has the dims of '%s': taken to be tied to it", r->g->values[table].name);
  }
}

void mp_r_make_parameters(mp_rec *r) {
  const mp_graph *g = r->g;
  uint32_t anonymous = 0;
  bool guessed;
  owner own = {0};
  for (uint32_t v = 0; v < g->value_count; v++) {
    const mp_value *x = &g->values[v];
    if (x->kind != MP_VALUE_INITIALIZER || mp_r_is_number_initializer(r, (int32_t)v)) continue;
    bool statistic = running_statistic(r, (int32_t)v) || ends_with(x->name, ".running_mean") || ends_with(x->name, ".running_var");
    bool parameter = mp_dtype_is_float(x->dtype) && !statistic && is_trained(r, (int32_t)v);
    if (is_behind_buffer(&own, x->name, !parameter)) parameter = false;
    if (!parameter && !x->users && !mp_dtype_is_float(x->dtype)) continue;
    if (parameter && tied_table(r, (int32_t)v, &guessed) >= 0) continue;
    mp_r_make_var(r, parameter ? MP_ROLE_PARAMETER : MP_ROLE_BUFFER, (int32_t)v);
    if (statistic) add_counter(r, x->name);
    anonymous += parameter;
  }
  tie_folded(r);
  if (anonymous)
    mp_builder_warn(r->b, "the file does not tell parameters from buffers: all %u float initializers but running statistics, frequencies and tables are taken for parameters",
                    anonymous);
}
