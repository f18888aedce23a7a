/* What a graph holds, for people: a table by operator type or by module path, one node, or what is not known. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/inspect.h"

#define MAX_DEPTH 32 /* of the module tree */

typedef struct row { /* sums over the nodes of one operator type, or of one module */
  const char *label;
  uint64_t nodes, parameters, macs, flops, bytes;
  bool open; /* some output's bytes are not known */
  int32_t parent;
} row;

typedef struct table {
  mp_arena *a;
  const mp_graph *g;
  const bool *parameter;
  bool *counted; /* parameters that a node has taken: a tied one counts once */
  mp_names *names;
  MP_VEC(row) rows;
} table;

/* ---- words ---- */

static const char *bytes_text(mp_arena *a, uint64_t n) {
  static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (n < 1024) return mp_format(a, "%llu B", (unsigned long long)n);
  double x = (double)n / 1024;
  int u = 0;
  for (; x >= 1024 && u < 5; u++) x /= 1024;
  return mp_format(a, "%.2f %s", x, units[u]);
}

static const char *count_text(mp_arena *a, uint64_t n) { /* 12,345,678 */
  char digits[32], *to = mp_alloc(a, 48), *p = to;
  int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
  for (int i = 0; i < len; i++) {
    if (i && (len - i) % 3 == 0) *p++ = ',';
    *p++ = digits[i];
  }
  return to;
}

static void type_text(mp_arena *a, mp_text *t, const mp_value *v) { /* float32[batch, 3] */
  static const char *const forms[] = {
      [MP_FORM_SEQUENCE] = "sequence of ", [MP_FORM_OPTIONAL] = "optional ", [MP_FORM_MAP] = "map to ", [MP_FORM_SPARSE] = "sparse "};
  mp_text_add(a, t, "%s%s", v->form == MP_FORM_TENSOR ? "" : forms[v->form], v->dtype == MP_UNDEFINED ? "?" : mp_dtype_name(v->dtype));
  if (v->rank < 0) {
    mp_text_add(a, t, " of unknown rank");
    return;
  }
  mp_text_add(a, t, "[");
  for (int i = 0; i < v->rank; i++) mp_text_add(a, t, "%s%s", i ? ", " : "", mp_int_text(a, v->dims[i]));
  mp_text_add(a, t, "]");
}

static void value_line(mp_arena *a, mp_text *t, const char *what, const mp_value *v) {
  mp_text_add(a, t, "%-10s %s ", what, v->name);
  type_text(a, t, v);
  mp_text_add(a, t, "\n");
}

/* ---- sums ---- */

static void add_node(table *t, row *r, const mp_node *n) {
  const mp_graph *g = t->g;
  r->nodes++;
  r->macs += n->macs;
  r->flops += n->flops;
  for (int k = 0; k < n->ins; k++) {
    int32_t v = n->in[k];
    uint64_t elements;
    if (v < 0 || !t->parameter[v] || t->counted[v] || !mp_value_elements(&g->values[v], &elements)) continue;
    t->counted[v] = true;
    r->parameters += elements;
  }
  for (int k = 0; k < n->outs; k++) {
    uint64_t elements, bytes;
    if (n->out[k] < 0) continue;
    const mp_value *v = &g->values[n->out[k]];
    if (mp_inspect_known(v) && mp_value_elements(v, &elements) && mp_dtype_bytes(v->dtype, elements, &bytes))
      r->bytes += bytes;
    else
      r->open = true;
  }
}

static int32_t row_of(table *t, const char *key, size_t n, const char *label, int32_t parent) {
  bool added;
  uint32_t id = mp_names_add(t->a, t->names, key, n, &added);
  if (added) *mp_push(t->a, &t->rows) = (row){.label = label, .parent = parent};
  return (int32_t)id;
}

static table new_table(mp_arena *a, const mp_graph *g) {
  table t = {.a = a, .g = g, .parameter = mp_inspect_parameters(a, g), .counted = mp_alloc_array(a, g->value_count, 1), .names = mp_names_new(a, 64)};
  return t;
}

/* ---- columns ---- */

#define COLUMNS 6

static void print_rows(mp_arena *a, mp_text *t, const char *first, const row *rows, const uint32_t *order, size_t n) {
  static const char *const heads[] = {NULL, "nodes", "parameters", "MACs", "FLOPs", "output bytes"};
  const char *(*cells)[COLUMNS] = mp_alloc_array(a, n + 1, sizeof *cells);
  int width[COLUMNS] = {0};
  for (size_t i = 0; i <= n; i++) {
    if (!i) {
      memcpy(cells[0], heads, sizeof heads);
      cells[0][0] = first;
    } else {
      const row *r = &rows[order[i - 1]];
      const char *line[COLUMNS] = {r->label,
                                   count_text(a, r->nodes),
                                   r->parameters ? count_text(a, r->parameters) : "",
                                   r->macs ? count_text(a, r->macs) : "",
                                   r->flops ? count_text(a, r->flops) : "",
                                   r->open ? mp_format(a, "%s + ?", r->bytes ? bytes_text(a, r->bytes) : "0 B") : bytes_text(a, r->bytes)};
      memcpy(cells[i], line, sizeof line);
    }
    for (int c = 0; c < COLUMNS; c++)
      if ((int)strlen(cells[i][c]) > width[c]) width[c] = (int)strlen(cells[i][c]);
  }
  for (size_t i = 0; i <= n; i++) {
    mp_text_add(a, t, "%-*s", width[0], cells[i][0]);
    for (int c = 1; c < COLUMNS; c++) mp_text_add(a, t, "  %*s", width[c], cells[i][c]);
    mp_text_add(a, t, "\n");
  }
}

static int by_weight(const void *x, const void *y) { /* most FLOPs first, then most nodes, then by name */
  const row *a = x, *b = y;
  if (a->flops != b->flops) return a->flops < b->flops ? 1 : -1;
  if (a->nodes != b->nodes) return a->nodes < b->nodes ? 1 : -1;
  return strcmp(a->label, b->label);
}

static void by_operator(mp_arena *a, mp_text *text, const mp_graph *g) {
  table t = new_table(a, g);
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    const char *label = n->domain[0] ? mp_format(a, "%s.%s", n->domain, n->type) : n->type;
    if (!n->op) label = mp_format(a, "%s (unknown)", label);
    int32_t r = row_of(&t, label, strlen(label), label, -1); /* rows may move: not inside the next expression */
    add_node(&t, &t.rows.at[r], n);
  }
  if (t.rows.n) qsort(t.rows.at, t.rows.n, sizeof *t.rows.at, by_weight);
  uint32_t *order = mp_alloc_array(a, t.rows.n, sizeof *order);
  for (uint32_t i = 0; i < t.rows.n; i++) order[i] = i;
  print_rows(a, text, "operator", t.rows.at, order, t.rows.n);
}

/* ---- by module ---- */

/* The module path of a node: the dynamo exporter's name scopes ("['', 'model', 'model.fc1', 'linear']": the last but one), else what stands before
 * the last '/' of its name. */
static const char *module_path(mp_arena *a, const mp_node *n) {
  const char *scopes = mp_node_meta(n, "pkg.torch.onnx.name_scopes");
  if (scopes) {
    const char *last = NULL, *before = NULL;
    size_t len = 0;
    for (const char *p = scopes; (p = strchr(p, '\'')) != NULL;) {
      const char *end = strchr(p + 1, '\'');
      if (!end) break;
      before = last;
      if (before) len = strcspn(before, "'");
      last = p + 1;
      p = end + 1;
    }
    return before ? mp_strndup(a, before, len) : "";
  }
  const char *name = n->name[0] == '/' ? n->name + 1 : n->name, *slash = strrchr(name, '/');
  char *path = slash ? mp_strndup(a, name, (size_t)(slash - name)) : mp_strdup(a, "");
  for (char *p = path; *p; p++)
    if (*p == '/') *p = '.';
  return path;
}

static int32_t module_row(table *t, const char *path, size_t n) { /* with its parents */
  uint32_t id = mp_names_find(t->names, path, n);
  if (id != UINT32_MAX) return (int32_t)id;
  if (!n) return row_of(t, "", 0, "(model)", -1);
  size_t dot = n;
  while (dot && path[dot - 1] != '.') dot--;
  int32_t parent = module_row(t, path, dot ? dot - 1 : 0);
  int depth = 1;
  for (int32_t p = parent; p > 0; p = t->rows.at[p].parent) depth++;
  return row_of(t, path, n, mp_format(t->a, "%*s%.*s", depth * 2, "", (int)(n - dot), path + dot), parent);
}

static size_t length_of(const char *path) { /* up to MAX_DEPTH components: deeper ones count with their parent */
  int depth = 0;
  for (const char *p = path; *p; p++)
    if (*p == '.' && ++depth == MAX_DEPTH) return (size_t)(p - path);
  return strlen(path);
}

static void by_module(mp_arena *a, mp_text *text, const mp_graph *g) {
  table t = new_table(a, g);
  module_row(&t, "", 0);
  for (uint32_t i = 0; i < g->node_count; i++) {
    const char *path = module_path(a, &g->nodes[i]);
    size_t n = length_of(path);
    row sum = {0};
    add_node(&t, &sum, &g->nodes[i]);
    for (int32_t r = module_row(&t, path, n); r >= 0; r = t.rows.at[r].parent) {
      row *to = &t.rows.at[r];
      to->nodes++;
      to->parameters += sum.parameters;
      to->macs += sum.macs;
      to->flops += sum.flops;
      to->bytes += sum.bytes;
      to->open |= sum.open;
    }
  }
  /* children behind their parent, in order of appearance: first child and next sibling of each row */
  size_t n = t.rows.n;
  int32_t *first = mp_alloc_array(a, n, sizeof *first), *last = mp_alloc_array(a, n, sizeof *last), *next = mp_alloc_array(a, n, sizeof *next);
  for (size_t i = 1; i < n; i++) { /* row 0 is the root and nobody's child: 0 stands for none */
    int32_t p = t.rows.at[i].parent;
    if (first[p])
      next[last[p]] = (int32_t)i;
    else
      first[p] = (int32_t)i;
    last[p] = (int32_t)i;
  }
  uint32_t *order = mp_alloc_array(a, n, sizeof *order);
  size_t placed = 0;
  for (int32_t i = 0; i >= 0;) {
    order[placed++] = (uint32_t)i;
    if (first[i]) {
      i = first[i];
      continue;
    }
    while (i > 0 && !next[i]) i = t.rows.at[i].parent;
    i = i > 0 ? next[i] : -1;
  }
  print_rows(a, text, "module", t.rows.at, order, placed);
}

/* ---- one node ---- */

static void attr_text(mp_arena *a, mp_text *t, const mp_attr *x) {
  mp_text_add(a, t, "  %s = ", x->name);
  switch (x->kind) {
    case MP_ATTR_INT:
      mp_text_add(a, t, "%lld", (long long)x->as.i);
      break;
    case MP_ATTR_FLOAT:
      mp_text_add(a, t, "%g", x->as.f);
      break;
    case MP_ATTR_STRING:
      mp_text_add(a, t, "'%.200s'", x->as.string);
      break;
    case MP_ATTR_INTS:
      for (uint32_t i = 0; i < x->n && i < 32; i++) mp_text_add(a, t, "%s%lld", i ? ", " : "", (long long)x->as.ints[i]);
      break;
    case MP_ATTR_FLOATS:
      for (uint32_t i = 0; i < x->n && i < 32; i++) mp_text_add(a, t, "%s%g", i ? ", " : "", x->as.floats[i]);
      break;
    case MP_ATTR_STRINGS:
      for (uint32_t i = 0; i < x->n && i < 32; i++) mp_text_add(a, t, "%s'%.60s'", i ? ", " : "", x->as.strings[i]);
      break;
    case MP_ATTR_TENSOR:
      mp_text_add(a, t, "%s[", mp_dtype_name(x->as.tensor->dtype));
      for (int i = 0; i < x->as.tensor->rank; i++) mp_text_add(a, t, "%s%lld", i ? ", " : "", (long long)x->as.tensor->dims[i]);
      mp_text_add(a, t, "]");
      break;
    case MP_ATTR_GRAPH:
      mp_text_add(a, t, "graph of %u nodes", x->as.graph->node_count);
      break;
    default:
      mp_text_add(a, t, "(not read)");
  }
  mp_text_add(a, t, x->n > 32 ? ", ... (%u)\n" : "\n", x->n);
}

static void one_node(mp_arena *a, mp_text *t, const mp_graph *g, const mp_node *n) {
  mp_text_add(a, t, "%s%s%s '%s', opset %d%s\n", n->domain, n->domain[0] ? "." : "", n->type, n->name, n->opset,
              n->op ? "" : ": an operator that memplan does not know");
  for (int i = 0; i < n->ins; i++) {
    if (n->in[i] < 0)
      mp_text_add(a, t, "%-10s left out\n", "  input");
    else
      value_line(a, t, g->values[n->in[i]].kind == MP_VALUE_INITIALIZER ? "  weight" : "  input", &g->values[n->in[i]]);
  }
  for (int i = 0; i < n->outs; i++) {
    if (n->out[i] < 0) continue;
    value_line(a, t, "  output", &g->values[n->out[i]]);
    const char *why = mp_graph_why(a, g, n->out[i]);
    if (why) mp_text_add(a, t, "             %s\n", why);
  }
  for (int i = 0; i < n->attrs; i++) attr_text(a, t, &n->attr[i]);
  if (n->macs || n->flops) mp_text_add(a, t, "  MACs %s, FLOPs %s\n", count_text(a, n->macs), count_text(a, n->flops));
  for (int i = 0; i < n->metas; i++) mp_text_add(a, t, "  %s: %.400s\n", n->meta[i].key, n->meta[i].value);
}

static void nodes_named(mp_arena *a, mp_text *t, const mp_graph *g, const char *name) {
  bool found = false;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    bool is = !strcmp(n->name, name);
    for (int k = 0; k < n->outs; k++) is |= n->out[k] >= 0 && !strcmp(g->values[n->out[k]].name, name);
    if (is) one_node(a, t, g, n);
    found |= is;
  }
  if (!found) mp_fail(a, MP_BAD_INPUT, "%s: no node and no node's output is named '%.200s'; memplan inspect --json lists the outputs", g->path, name);
}

/* ---- what is not known ---- */

static void unknown_values(mp_arena *a, mp_text *t, const mp_graph *g) {
  uint64_t n = 0;
  mp_err err = {0};
  const char *const *reasons = mp_graph_why_all(a, g, &err);
  if (!reasons) mp_fail(a, err.code, "%s", err.text);
  for (uint32_t i = 0; i < g->value_count; i++) {
    const mp_value *v = &g->values[i];
    if (v->kind != MP_VALUE_NODE || mp_inspect_known(v)) continue;
    const char *why = reasons[i];
    mp_text_add(a, t, "%s ", v->name);
    type_text(a, t, v);
    mp_text_add(a, t, "%s%s\n", why ? ": " : "", why ? why : "");
    n++;
  }
  if (!n) mp_text_add(a, t, "every value's type and shape is known\n");
}

/* ---- the page ---- */

static void heading(mp_arena *a, mp_text *t, const mp_graph *g) {
  mp_inspect_totals sum = mp_inspect_sum(a, g);
  mp_text_add(a, t, "%s: %s nodes, opset %lld, IR %lld%s%s%s%s\n", g->path, count_text(a, g->node_count), (long long)g->opset,
              (long long)g->ir_version, g->producer[0] ? ", written by " : "", g->producer, g->producer_version[0] ? " " : "", g->producer_version);
  for (uint32_t i = 0; i < g->input_count; i++) value_line(a, t, "input", &g->values[g->inputs[i]]);
  for (uint32_t i = 0; i < g->output_count; i++) value_line(a, t, "output", &g->values[g->outputs[i]]);
  mp_text_add(a, t, "parameters %s, %s\n", count_text(a, sum.parameters), bytes_text(a, sum.parameter_bytes));
  mp_text_add(a, t, "forward    %s MACs, %s FLOPs%s\n", count_text(a, sum.macs), count_text(a, sum.flops),
              sum.known < sum.values ? " (of what is known)" : "");
  mp_text_add(a, t, "known      %s of %s shapes%s\n\n", count_text(a, sum.known), count_text(a, sum.values),
              sum.known < sum.values ? "; --dim NAME=N binds an open dimension, --unknown says what is missing" : "");
}

const char *mp_inspect_text(mp_arena *a, const mp_graph *g, const mp_inspect_options *o) {
  mp_text t = {0};
  if (o->node) {
    nodes_named(a, &t, g, o->node);
  } else if (o->unknown) {
    unknown_values(a, &t, g);
  } else {
    heading(a, &t, g);
    if (o->tree)
      by_module(a, &t, g);
    else
      by_operator(a, &t, g);
  }
  return t.at;
}
