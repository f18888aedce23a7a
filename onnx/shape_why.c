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

const char *mp_graph_why(mp_arena *a, const mp_graph *g, int32_t value) {
  if (value < 0 || (uint32_t)value >= g->value_count || known(&g->values[value])) return NULL;
  for (int32_t v = value;;) {
    int32_t index = g->values[v].producer;
    if (index < 0) return mp_format(a, "input '%s': the file gives no shape", g->values[v].name);
    const mp_node *n = &g->nodes[index];
    const mp_reason *r = reason_of(g, index);
    int32_t up = -1;
    /* contents that are not known lead up to where they come from */
    if (r && r->input >= 0 && r->input < n->ins && n->in[r->input] >= 0 && !known(&g->values[n->in[r->input]])) up = n->in[r->input];
    for (int i = 0; i < n->ins && up < 0 && n->op && !r; i++)
      if (n->in[i] >= 0 && !known(&g->values[n->in[i]]) && g->values[n->in[i]].form == MP_FORM_TENSOR) up = n->in[i];
    if (up < 0 || g->values[up].producer >= index) return node_why(a, g, index, r);
    v = up;
  }
}
