/* Why a value has no known shape: follow unknown inputs upwards until a node that says what it depends on, an unknown operator, or a graph input. */
#include "onnx/onnx.h"

static bool known(const mp_value *v) {
  if (v->rank < 0) return false;
  for (int i = 0; i < v->rank; i++)
    if (mp_int_is_unknown(v->dims[i])) return false;
  return true;
}

static const mp_reason *reason_of(const mp_graph *g, int32_t node) {
  uint32_t lo = 0, hi = g->reason_count; /* in order of nodes */
  while (lo < hi) {
    uint32_t mid = lo + (hi - lo) / 2;
    if (g->reasons[mid].node < node) lo = mid + 1;
    else hi = mid;
  }
  return lo < g->reason_count && g->reasons[lo].node == node ? &g->reasons[lo] : NULL;
}

static const char *value_name(const mp_graph *g, int32_t i) { return i < 0 ? "" : g->values[i].name; }

static const char *node_why(mp_arena *a, const mp_graph *g, int32_t index, const mp_reason *r) {
  const mp_node *n = &g->nodes[index];
  const char *name = *n->name ? n->name : value_name(g, n->outs ? n->out[0] : -1);
  if (!n->op) return mp_format(a, "node '%s': operator %s%s%s is not known to memplan", name, n->domain, *n->domain ? "::" : "", n->type);
  if (!r) return mp_format(a, "node '%s' (%s): its shape does not follow from the shapes of its inputs", name, n->type);
  if (r->input < 0 || r->input >= n->ins) return mp_format(a, "node '%s' (%s): %s", name, n->type, r->what);
  return mp_format(a, "node '%s' (%s): depends on %s of '%s'", name, n->type, r->what, value_name(g, n->in[r->input]));
}

/* The unknown input that makes this node's outputs unknown; -1: the node itself is the reason. */
static int32_t blocked_by(const mp_graph *g, int32_t index, const mp_reason *r) {
  const mp_node *n = &g->nodes[index];
  int32_t up = -1;
  /* contents that are not known lead up to where they come from */
  if (r && r->input >= 0 && r->input < n->ins && n->in[r->input] >= 0 && !known(&g->values[n->in[r->input]])) up = n->in[r->input];
  for (int i = 0; i < n->ins && up < 0 && n->op && !r; i++)
    if (n->in[i] >= 0 && !known(&g->values[n->in[i]]) && g->values[n->in[i]].form == MP_FORM_TENSOR) up = n->in[i];
  return up < 0 || g->values[up].producer >= index ? -1 : up;
}

const char *mp_graph_why(mp_arena *a, const mp_graph *g, int32_t value) {
  if (value < 0 || (uint32_t)value >= g->value_count || known(&g->values[value])) return NULL;
  for (int32_t v = value;;) {
    int32_t index = g->values[v].producer;
    if (index < 0) return mp_format(a, "input '%s': the file gives no shape", g->values[v].name);
    const mp_reason *r = reason_of(g, index);
    int32_t up = blocked_by(g, index, r);
    if (up < 0) return node_why(a, g, index, r);
    v = up;
  }
}

static const void *why_all(mp_arena *a, void *arg) {
  const mp_graph *g = arg;
  const char **why = mp_alloc_array(a, g->value_count, sizeof *why);
  for (uint32_t i = 0; i < g->value_count; i++)
    if (g->values[i].producer < 0) why[i] = mp_graph_why(a, g, (int32_t)i);
  for (uint32_t i = 0; i < g->node_count; i++) { /* in topological order: what blocks a node has its answer already */
    const mp_node *n = &g->nodes[i];
    const char *text = NULL;
    for (int k = 0; k < n->outs; k++) {
      if (n->out[k] < 0 || known(&g->values[n->out[k]])) continue;
      const mp_reason *r = reason_of(g, (int32_t)i);
      int32_t up = text ? -1 : blocked_by(g, (int32_t)i, r);
      if (!text) text = up >= 0 ? why[up] : node_why(a, g, (int32_t)i, r);
      why[n->out[k]] = text;
    }
  }
  return why;
}

const char *const *mp_graph_why_all(mp_arena *a, const mp_graph *g, mp_err *err) { return mp_protect(a, err, why_all, (void *)(uintptr_t)g); }
