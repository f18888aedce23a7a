/* What a graph holds: its sums, and all of it as JSON. Text is in report_inspect_text.c. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "planner/inside.h"
#include "planner/inspect.h"

/* every dim a number or an expression over named dimensions */
bool mp_inspect_known(const mp_value *v) {
  bool known = v->dtype != MP_UNDEFINED && v->form == MP_FORM_TENSOR && v->rank >= 0;
  for (int i = 0; i < v->rank && known; i++) known = !mp_int_is_unknown(v->dims[i]);
  return known;
}

/* What the dynamo exporter says of an initializer: PARAMETER, BUFFER, CONSTANT_TENSOR; NULL: nothing. */
static const char *kind_of(const mp_value *v) {
  for (uint32_t i = 0; i < v->metas; i++)
    if (!strcmp(v->meta[i].key, "pkg.torch.export.graph_signature.InputSpec.kind")) return v->meta[i].value;
  return NULL;
}

/* Floating initializers, but the running statistics of a normalization: those are state that no gradient reaches. Where the file says what its
 * initializers are, that counts. */
const bool *mp_inspect_parameters(mp_arena *a, const mp_graph *g) {
  bool *is = mp_alloc_array(a, g->value_count, sizeof *is), told = false;
  for (uint32_t i = 0; i < g->value_count; i++) told |= g->values[i].kind == MP_VALUE_INITIALIZER && kind_of(&g->values[i]);
  for (uint32_t i = 0; i < g->value_count; i++) {
    const mp_value *v = &g->values[i];
    is[i] = v->kind == MP_VALUE_INITIALIZER && mp_dtype_is_float(v->dtype);
    /* transposed weights have lost their kind; numbers of the code never had one */
    if (is[i] && told) is[i] = kind_of(v) ? !strcmp(kind_of(v), "PARAMETER") : v->rank > 0;
  }
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    if (strcmp(n->type, "BatchNormalization") || n->domain[0]) continue;
    for (int k = 3; k < n->ins && k < 5; k++)
      if (n->in[k] >= 0) is[n->in[k]] = false;
  }
  return is;
}

static void add(uint64_t *sum, uint64_t n) { /* JSON's integers are signed: a sum that no machine could hold stays at the largest */
  if (!mp_add_u64(*sum, n, sum) || *sum > INT64_MAX) *sum = INT64_MAX;
}

/* A file of the dynamo exporter lists its parameters, also those that were folded away; the program has their sizes once no dimension is open. */
static bool from_signature(mp_arena *a, const mp_graph *g, mp_inspect_totals *t) {
  mp_err err = {0};
  const mp_program *p = mp_graph_meta(g, "pkg.torch.export.ExportedProgram.graph_signature") ? mp_program_recover(a, g, &err) : NULL;
  if (!p) return false;
  for (uint32_t i = 0; i < p->var_count; i++) {
    const mp_var *v = &p->vars[i];
    uint64_t n = 1, bytes;
    if (v->role != MP_ROLE_PARAMETER || v->tied >= 0) continue;
    for (int k = 0; k < v->rank; k++) n *= (uint64_t)v->dims[k];
    add(&t->parameters, n);
    if (mp_dtype_bytes(v->dtype, n, &bytes)) add(&t->parameter_bytes, bytes);
  }
  return true;
}

static void add_parameters(mp_arena *a, const mp_graph *g, mp_inspect_totals *t) { /* with those of subgraphs */
  const bool *parameter = mp_inspect_parameters(a, g);
  for (uint32_t i = 0; i < g->value_count; i++) {
    uint64_t n, bytes;
    if (!parameter[i] || !mp_value_elements(&g->values[i], &n) || !mp_dtype_bytes(g->values[i].dtype, n, &bytes)) continue;
    add(&t->parameters, n);
    add(&t->parameter_bytes, bytes);
  }
  for (uint32_t i = 0; i < g->node_count; i++)
    for (int k = 0; k < g->nodes[i].attrs; k++)
      if (g->nodes[i].attr[k].kind == MP_ATTR_GRAPH) add_parameters(a, g->nodes[i].attr[k].as.graph, t);
}

mp_inspect_totals mp_inspect_sum(mp_arena *a, const mp_graph *g) {
  mp_inspect_totals t = {0};
  if (!from_signature(a, g, &t)) add_parameters(a, g, &t);
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    add(&t.macs, n->macs);
    add(&t.flops, n->flops);
    for (int k = 0; k < n->outs; k++) {
      if (n->out[k] < 0) continue;
      const mp_value *v = &g->values[n->out[k]];
      uint64_t elements;
      t.values++;
      t.known += mp_inspect_known(v);
      t.numeric += mp_inspect_known(v) && mp_value_elements(v, &elements);
    }
  }
  return t;
}

/* ---- JSON ---- */

static json_t *json_text(mp_arena *a, const char *s) { /* names come from a file: what is no UTF-8 is replaced */
  json_t *j = json_string(s);
  if (j) return j;
  char *copy = mp_strdup(a, s);
  for (char *p = copy; *p; p++)
    if ((unsigned char)*p >= 128) *p = '?';
  return json_string(copy);
}

static json_t *set(json_t *root, const char *key, json_t *value) {
  json_object_set_new(root, key, value);
  return value;
}

/* The arena may fail at any text: whatever is being filled hangs on the root already, and the root is freed in any case. */
static void add_dims(mp_arena *a, json_t *root, const mp_value *v) {
  if (v->rank < 0 || v->form != MP_FORM_TENSOR) {
    set(root, "dims", json_null());
    return;
  }
  json_t *dims = set(root, "dims", json_array());
  for (int i = 0; i < v->rank; i++) {
    mp_int d = v->dims[i];
    json_array_append_new(dims, mp_int_is_number(d) ? json_integer(d.n) : mp_int_is_unknown(d) ? json_null() : json_text(a, mp_int_text(a, d)));
  }
}

static void add_names(mp_arena *a, const mp_graph *g, json_t *to, const int32_t *list, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) json_array_append_new(to, json_text(a, g->values[list[i]].name));
}

typedef struct request {
  const mp_graph *g;
  const mp_inspect_options *o;
  json_t *root; /* root and piece are freed by mp_report_inspect, whatever happens */
  char *piece;
} request;

static void add_piece(mp_arena *a, request *r, mp_text *t, int skip) { /* the text of r->root, which ends here */
  r->piece = json_dumps(r->root, JSON_COMPACT);
  if (!r->piece) mp_fail(a, MP_INTERNAL, "out of memory while writing the report");
  mp_text_add(a, t, "%s", r->piece + skip);
  free(r->piece);
  json_decref(r->root);
  r->piece = NULL;
  r->root = NULL;
}

typedef struct unknown_op {
  const mp_node *first;
  json_int_t count;
} unknown_op;

/* Operators without a row, in order of appearance. */
static void add_unknown_ops(mp_arena *a, request *r, mp_text *t) {
  const mp_graph *g = r->g;
  mp_names *seen = mp_names_new(a, 16);
  MP_VEC(unknown_op) list = {0};
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    if (n->op) continue;
    const char *key = mp_format(a, "%s\1%s", n->domain, n->type);
    bool added;
    uint32_t id = mp_names_add(a, seen, key, strlen(key), &added);
    if (added) mp_push(a, &list)->first = n;
    list.at[id].count++;
  }
  for (size_t i = 0; i < list.n; i++) {
    r->root = json_object();
    set(r->root, "domain", json_text(a, list.at[i].first->domain));
    set(r->root, "op", json_text(a, list.at[i].first->type));
    set(r->root, "count", json_integer(list.at[i].count));
    if (i) mp_text_add(a, t, ",");
    add_piece(a, r, t, 0);
  }
}

/* Values are written one by one: there may be a hundred thousand. */
static void add_values(mp_arena *a, request *r, mp_text *t) {
  const mp_graph *g = r->g;
  const char *comma = "";
  for (uint32_t i = 0; i < g->node_count; i++)
    for (int k = 0; k < g->nodes[i].outs; k++) {
      if (g->nodes[i].out[k] < 0) continue;
      const mp_value *v = &g->values[g->nodes[i].out[k]];
      r->root = json_object();
      set(r->root, "name", json_text(a, v->name));
      set(r->root, "dtype", json_string(mp_dtype_name(v->dtype)));
      add_dims(a, r->root, v);
      mp_text_add(a, t, "%s", comma);
      add_piece(a, r, t, 0);
      comma = ",";
    }
}

static const char *as_json(mp_arena *a, request *r) {
  const mp_graph *g = r->g;
  mp_inspect_totals t = mp_inspect_sum(a, g);
  mp_text text = {0};
  mp_text_add(a, &text, "{\"values\":[");
  add_values(a, r, &text);
  mp_text_add(a, &text, "],\"unknown_ops\":[");
  add_unknown_ops(a, r, &text);
  mp_text_add(a, &text, "],");
  json_t *root = r->root = json_object();
  set(root, "opset", json_integer(g->opset));
  set(root, "ir_version", json_integer(g->ir_version));
  set(root, "producer", json_text(a, g->producer_version[0] ? mp_format(a, "%s %s", g->producer, g->producer_version) : g->producer));
  set(root, "nodes", json_integer(g->node_count));
  add_names(a, g, set(root, "inputs", json_array()), g->inputs, g->input_count);
  add_names(a, g, set(root, "outputs", json_array()), g->outputs, g->output_count);
  set(root, "static_values", json_integer((json_int_t)t.known));
  set(root, "numeric_values", json_integer((json_int_t)t.numeric)); /* of the static ones: without a named dimension */
  set(root, "parameters", json_integer((json_int_t)t.parameters));
  set(root, "parameter_bytes", json_integer((json_int_t)t.parameter_bytes));
  set(root, "macs", json_integer((json_int_t)t.macs));
  set(root, "flops", json_integer((json_int_t)t.flops));
  json_t *warnings = set(root, "warnings", json_array());
  for (uint32_t i = 0; i < g->warning_count; i++) json_array_append_new(warnings, json_text(a, g->warnings[i]));
  add_piece(a, r, &text, 1); /* without its '{': the values came first */
  mp_text_add(a, &text, "\n");
  return text.at;
}

static const void *report(mp_arena *a, void *arg) {
  request *r = arg;
  return r->o->json ? as_json(a, r) : mp_inspect_text(a, r->g, r->o);
}

const char *mp_report_inspect(mp_arena *a, const mp_graph *g, const mp_inspect_options *o, mp_err *err) {
  if (!g) return NULL;
  request r = {.g = g, .o = o};
  const char *text = mp_protect(a, err, report, &r);
  json_decref(r.root);
  free(r.piece);
  return text;
}
