/* Topological order for files that are not in it: depth first from each node in the file's order, so that a node moves only as far up as it must. */
#include <string.h>

#include "onnx/model.h"

typedef struct visit {
  int32_t node;
  uint32_t next; /* the next of its dependencies to look at */
} visit;

/* Values that node n reads, one by one: its inputs, then what its subgraphs capture. False at the end. */
static bool dependency(const mp_node *n, uint32_t i, int32_t *value) {
  if (i < n->ins) {
    *value = n->in[i];
    return true;
  }
  i -= n->ins;
  for (int k = 0; k < n->attrs; k++) {
    if (n->attr[k].kind != MP_ATTR_GRAPH) continue;
    const mp_graph *g = n->attr[k].as.graph;
    if (i < g->capture_count) {
      *value = g->captures[i].outer;
      return true;
    }
    i -= g->capture_count;
  }
  return false;
}

_Noreturn static void cycle(const mp_rows *r, int32_t node) {
  const mp_node *n = &r->nodes.at[node];
  mp_fail(r->build->a, MP_BAD_INPUT, "%s: node '%.200s' (%.60s) needs its own result: the graph has a cycle; the file is damaged, export it again",
          r->build->source.label, n->name, n->type);
}

void mp_rows_sort(mp_rows *r) {
  mp_arena *a = r->build->a;
  size_t n = r->nodes.n;
  uint8_t *state = mp_alloc_array(a, n, 1); /* 0 new, 1 on the stack, 2 placed */
  visit *stack = mp_alloc_array(a, n, sizeof *stack);
  int32_t *order = mp_alloc_array(a, n, sizeof *order);
  size_t placed = 0;
  for (size_t root = 0; root < n; root++) {
    if (state[root]) continue;
    size_t top = 0;
    stack[top++] = (visit){(int32_t)root, 0};
    state[root] = 1;
    while (top) {
      visit *v = &stack[top - 1];
      int32_t value;
      if (!dependency(&r->nodes.at[v->node], v->next++, &value)) {
        state[v->node] = 2;
        order[placed++] = v->node;
        top--;
        continue;
      }
      int32_t from = value < 0 ? -1 : r->values.at[value].producer;
      if (from < 0 || state[from] == 2) continue;
      if (state[from] == 1) cycle(r, from);
      state[from] = 1;
      stack[top++] = (visit){from, 0};
    }
  }
  mp_node *sorted = mp_alloc_array(a, n, sizeof *sorted);
  for (size_t i = 0; i < n; i++) {
    sorted[i] = r->nodes.at[order[i]];
    for (int k = 0; k < sorted[i].outs; k++)
      if (sorted[i].out[k] >= 0) r->values.at[sorted[i].out[k]].producer = (int32_t)i;
  }
  r->nodes.at = sorted;
}
