/* What a graph holds: its sums, and all of it as JSON. Text is in report_inspect_text.c. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "planner/inspect.h"

/* every dim a number or an expression over named dimensions */
bool mp_inspect_known(const mp_value *v) {
  bool known = v->dtype != MP_UNDEFINED && v->form == MP_FORM_TENSOR && v->rank >= 0;
  for (int i = 0; i < v->rank && known; i++) known = !mp_int_is_unknown(v->dims[i]);
  return known;
}

/* Floating initializers, but the running statistics of a normalization: those are state that no gradient reaches. */
const bool *mp_inspect_parameters(mp_arena *a, const mp_graph *g) {
  bool *is = mp_alloc_array(a, g->value_count, sizeof *is);
  for (uint32_t i = 0; i < g->value_count; i++) is[i] = g->values[i].kind == MP_VALUE_INITIALIZER && mp_dtype_is_float(g->values[i].dtype);
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    if (strcmp(n->type, "BatchNormalization") || n->domain[0]) continue;
    for (int k = 3; k < n->ins && k < 5; k++)
      if (n->in[k] >= 0) is[n->in[k]] = false;
  }
  return is;
}

mp_inspect_totals mp_inspect_sum(mp_arena *a, const mp_graph *g) {
  mp_inspect_totals t = {0};
  const bool *parameter = mp_inspect_parameters(a, g);
  for (uint32_t i = 0; i < g->value_count; i++) {
    uint64_t n, bytes;
    if (!parameter[i] || !mp_value_elements(&g->values[i], &n) || !mp_dtype_bytes(g->values[i].dtype, n, &bytes)) continue;
    t.parameters += n;
    t.parameter_bytes += bytes;
  }
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    t.macs += n->macs;
    t.flops += n->flops;
    for (int k = 0; k < n->outs; k++)
      if (n->out[k] >= 0) {
        t.values++;
        t.known += mp_inspect_known(&g->values[n->out[k]]);
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

static json_t *dims_json(mp_arena *a, const mp_value *v) {
  if (v->rank < 0 || v->form != MP_FORM_TENSOR) return json_null();
  json_t *dims = json_array();
  for (int i = 0; i < v->rank; i++) {
    mp_int d = v->dims[i];
    json_array_append_new(dims, mp_int_is_number(d) ? json_integer(d.n) : mp_int_is_unknown(d) ? json_null() : json_text(a, mp_int_text(a, d)));
  }
  return dims;
}

static json_t *value_json(mp_arena *a, const mp_value *v) {
  json_t *j = json_object();
  json_object_set_new(j, "name", json_text(a, v->name));
  json_object_set_new(j, "dtype", json_string(mp_dtype_name(v->dtype)));
  json_object_set_new(j, "dims", dims_json(a, v));
  return j;
}

static json_t *names_json(mp_arena *a, const mp_graph *g, const int32_t *list, uint32_t n) {
  json_t *j = json_array();
  for (uint32_t i = 0; i < n; i++) json_array_append_new(j, json_text(a, g->values[list[i]].name));
  return j;
}

static json_t *unknown_ops_json(mp_arena *a, const mp_graph *g) {
  mp_names *seen = mp_names_new(a, 16);
  json_t *list = json_array();
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    if (n->op) continue;
    const char *key = mp_format(a, "%s\1%s", n->domain, n->type);
    bool added;
    uint32_t id = mp_names_add(a, seen, key, strlen(key), &added);
    if (added) {
      json_t *row = json_object();
      json_array_append_new(list, row);
      json_object_set_new(row, "domain", json_text(a, n->domain));
      json_object_set_new(row, "op", json_text(a, n->type));
      json_object_set_new(row, "count", json_integer(0));
    }
    json_t *count = json_object_get(json_array_get(list, id), "count");
    json_integer_set(count, json_integer_value(count) + 1);
  }
  return list;
}

typedef struct request {
  const mp_graph *g;
  const mp_inspect_options *o;
  json_t *root; /* freed by mp_report_inspect, whatever happens */
  char *text;
} request;

static json_t *set(json_t *root, const char *key, json_t *value) {
  json_object_set_new(root, key, value);
  return value;
}

static const char *as_json(mp_arena *a, request *r) {
  const mp_graph *g = r->g;
  mp_inspect_totals t = mp_inspect_sum(a, g);
  json_t *root = r->root = json_object();
  set(root, "opset", json_integer(g->opset));
  set(root, "ir_version", json_integer(g->ir_version));
  set(root, "producer", json_text(a, g->producer_version[0] ? mp_format(a, "%s %s", g->producer, g->producer_version) : g->producer));
  set(root, "nodes", json_integer(g->node_count));
  json_t *values = set(root, "values", json_array());
  for (uint32_t i = 0; i < g->node_count; i++)
    for (int k = 0; k < g->nodes[i].outs; k++)
      if (g->nodes[i].out[k] >= 0) json_array_append_new(values, value_json(a, &g->values[g->nodes[i].out[k]]));
  set(root, "inputs", names_json(a, g, g->inputs, g->input_count));
  set(root, "outputs", names_json(a, g, g->outputs, g->output_count));
  set(root, "static_values", json_integer((json_int_t)t.known));
  set(root, "parameters", json_integer((json_int_t)t.parameters));
  set(root, "parameter_bytes", json_integer((json_int_t)t.parameter_bytes));
  set(root, "macs", json_integer((json_int_t)t.macs));
  set(root, "flops", json_integer((json_int_t)t.flops));
  set(root, "unknown_ops", unknown_ops_json(a, g));
  json_t *warnings = set(root, "warnings", json_array());
  for (uint32_t i = 0; i < g->warning_count; i++) json_array_append_new(warnings, json_text(a, g->warnings[i]));
  r->text = json_dumps(root, JSON_COMPACT);
  if (!r->text) mp_fail(a, MP_INTERNAL, "out of memory while writing the report");
  return mp_format(a, "%s\n", r->text);
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
  free(r.text);
  return text;
}
