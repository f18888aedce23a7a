/* graph -> the same graph without the Ifs whose condition is known: the nodes of the branch that is taken stand in their place. The tracer writes an If
 * where the framework looks at a shape (tile, diagonal, hstack); with every size known there is nothing to decide. */
#include <string.h>

#include "planner/inside.h"

typedef struct splice {
  mp_arena *a;
  const mp_graph *g;
  MP_VEC(mp_node) nodes;
  MP_VEC(mp_value) values;
  int32_t *renamed; /* of each of g's values: the one that it is another name of, -1 */
} splice;

static const mp_graph *taken(const mp_graph *g, const mp_node *n) {
  if (strcmp(n->type, "If") != 0 || n->domain[0] || n->ins != 1 || n->in[0] < 0) return NULL;
  const mp_value *c = &g->values[n->in[0]];
  if (!c->ints || c->contents != 1 || !mp_int_is_number(c->ints[0])) return NULL;
  const mp_attr *at = mp_node_attr(n, c->ints[0].n ? "then_branch" : "else_branch");
  const mp_graph *b = at && at->kind == MP_ATTR_GRAPH ? at->as.graph : NULL;
  return b && b->output_count == n->outs ? b : NULL;
}

static int32_t resolved(const splice *s, int32_t v) {
  while (v >= 0 && v < (int32_t)s->g->value_count && s->renamed[v] >= 0) v = s->renamed[v];
  return v;
}

/* `ids` as the values of the new graph that they are by now; map NULL: they are g's */
static int32_t *mapped(const splice *s, const int32_t *ids, uint32_t n, const int32_t *map) {
  int32_t *to = mp_alloc_array(s->a, n, sizeof *to);
  for (uint32_t i = 0; i < n; i++) to[i] = ids[i] < 0 ? -1 : resolved(s, map ? map[ids[i]] : ids[i]);
  return to;
}

/* a node of g, or (map) of a branch, among the values of the new graph; what its own subgraphs read, too */
static void add_node(splice *s, const mp_node *from, const int32_t *map) {
  mp_node n = *from;
  n.in = mapped(s, n.in, n.ins, map);
  n.out = mapped(s, n.out, n.outs, map);
  mp_attr *attr = mp_alloc_array(s->a, n.attrs, sizeof *attr);
  for (uint32_t i = 0; i < n.attrs; i++) {
    attr[i] = n.attr[i];
    if (attr[i].kind != MP_ATTR_GRAPH) continue;
    mp_graph *inner = mp_alloc(s->a, sizeof *inner);
    *inner = *attr[i].as.graph;
    mp_capture *captures = mp_alloc_array(s->a, inner->capture_count, sizeof *captures);
    for (uint32_t k = 0; k < inner->capture_count; k++) {
      captures[k] = inner->captures[k];
      captures[k].outer = *mapped(s, &inner->captures[k].outer, 1, map);
    }
    inner->captures = captures;
    attr[i].as.graph = inner;
  }
  n.attr = attr;
  *mp_push(s->a, &s->nodes) = n;
}

static void open_branch(splice *s, const mp_node *n, const mp_graph *b) {
  int32_t *map = mp_alloc_array(s->a, b->value_count, sizeof *map);
  for (uint32_t v = 0; v < b->value_count; v++) map[v] = -1;
  for (uint32_t k = 0; k < b->capture_count; k++) map[b->captures[k].inner] = b->captures[k].outer;
  for (uint32_t o = 0; o < b->output_count; o++) {
    int32_t inner = b->outputs[o], outer = n->out[o];
    if (outer < 0 || inner < 0) continue;
    if (map[inner] < 0 && b->values[inner].kind == MP_VALUE_NODE)
      map[inner] = outer;
    else if (map[inner] >= 0)
      s->renamed[outer] = map[inner]; /* what came in goes out */
  }
  for (uint32_t v = 0; v < b->value_count; v++) {
    if (map[v] >= 0) continue;
    map[v] = (int32_t)s->values.n;
    *mp_push(s->a, &s->values) = b->values[v];
    s->values.at[s->values.n - 1].is_output = false;
  }
  for (uint32_t o = 0; o < b->output_count; o++) /* an initializer of the branch's own */
    if (n->out[o] >= 0 && map[b->outputs[o]] >= (int32_t)s->g->value_count) s->renamed[n->out[o]] = map[b->outputs[o]];
  for (uint32_t i = 0; i < b->node_count; i++) add_node(s, &b->nodes[i], map);
}

/* who makes and who reads each value */
static void count(mp_graph *g) {
  for (uint32_t v = 0; v < g->value_count; v++) {
    g->values[v].users = 0;
    g->values[v].producer = -1;
  }
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    for (uint32_t k = 0; k < n->ins; k++)
      if (n->in[k] >= 0) g->values[n->in[k]].users++;
    for (uint32_t k = 0; k < n->outs; k++)
      if (n->out[k] >= 0) {
        g->values[n->out[k]].producer = (int32_t)i;
        g->values[n->out[k]].slot = (int32_t)k;
      }
  }
  for (uint32_t o = 0; o < g->output_count; o++) {
    g->values[g->outputs[o]].is_output = true;
    g->values[g->outputs[o]].users++;
  }
}

static mp_graph *splice_once(mp_arena *a, const mp_graph *g) {
  splice s = {.a = a, .g = g};
  MP_VEC(mp_reason) reasons = {0};
  uint32_t reason = 0;
  s.renamed = mp_alloc_array(a, g->value_count, sizeof *s.renamed);
  for (uint32_t v = 0; v < g->value_count; v++) {
    s.renamed[v] = -1;
    *mp_push(a, &s.values) = g->values[v];
  }
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_graph *b = taken(g, &g->nodes[i]);
    for (; reason < g->reason_count && g->reasons[reason].node <= (int32_t)i; reason++) {
      if (b) continue;
      *mp_push(a, &reasons) = g->reasons[reason];
      reasons.at[reasons.n - 1].node = (int32_t)s.nodes.n;
    }
    if (b)
      open_branch(&s, &g->nodes[i], b);
    else
      add_node(&s, &g->nodes[i], NULL);
  }
  mp_graph *to = mp_alloc(a, sizeof *to);
  *to = *g;
  to->nodes = s.nodes.at;
  to->node_count = (uint32_t)s.nodes.n;
  to->values = s.values.at;
  to->value_count = (uint32_t)s.values.n;
  to->outputs = mapped(&s, g->outputs, g->output_count, NULL);
  to->reasons = reasons.at;
  to->reason_count = (uint32_t)reasons.n;
  count(to);
  return to;
}

const mp_graph *mp_graph_decided(mp_arena *a, const mp_graph *g) {
  for (bool again = true; again;) {
    again = false;
    for (uint32_t i = 0; i < g->node_count && !again; i++) again = taken(g, &g->nodes[i]) != NULL;
    if (again) g = splice_once(a, g);
  }
  return g;
}
