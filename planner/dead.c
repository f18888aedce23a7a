/* Autograd nodes that backward does not reach: of results that nobody reads, or of outputs that the loss does not depend on.
 *
 * Such a node lives as long as a tensor that it made is held or a later node has an edge to it (torch/csrc/autograd: grad_fn and next_edges are owning pointers). When it dies it
 * lets go of what it saved, in the forward pass already: an MP_EV_GONE event. */
#include "planner/em.h"

typedef MP_VEC(int32_t) numbers;

static void reach(mp_arena *a, mp_trace *t, bool *live) {
  numbers todo = {0};
  for (uint32_t i = 0; i < t->root_count; i++)
    if (t->tensors[t->roots[i]].fn >= 0) *mp_push(a, &todo) = t->tensors[t->roots[i]].fn;
  while (todo.n) {
    int32_t f = todo.at[--todo.n];
    if (live[f]) continue;
    live[f] = true;
    for (uint32_t k = 0; k < t->fns[f].edge_count; k++)
      if (t->fns[f].edges[k].fn >= 0 && !live[t->fns[f].edges[k].fn]) *mp_push(a, &todo) = t->fns[f].edges[k].fn;
  }
}

typedef struct burial {
  mp_arena *a;
  const mp_trace *t;
  const bool *live;
  uint32_t *owners; /* of each node: tensors that are held, later nodes that are there */
  bool *gone;       /* a tensor that is written in place changes its node: the old one may look unowned until the next node has its edge, and goes once */
  MP_VEC(mp_event) events;
} burial;

/* one owner of node f is gone */
static void disown(burial *b, int32_t f) {
  numbers todo = {0};
  *mp_push(b->a, &todo) = f;
  while (todo.n) {
    f = todo.at[--todo.n];
    if (f < 0 || b->live[f] || b->gone[f] || !b->owners[f] || --b->owners[f]) continue;
    b->gone[f] = true;
    const mp_fn *fn = &b->t->fns[f];
    if (fn->saved_count) *mp_push(b->a, &b->events) = (mp_event){.kind = MP_EV_GONE, .a = f};
    for (uint32_t k = 0; k < fn->edge_count; k++) *mp_push(b->a, &todo) = fn->edges[k].fn;
  }
}

void mp_trace_bury(mp_arena *a, mp_trace *t, mp_fn *fns) {
  bool *live = mp_alloc(a, t->fn_count + 1);
  uint32_t dead = 0;
  reach(a, t, live);
  for (uint32_t f = 0; f < t->fn_count; f++) {
    fns[f].dead = !live[f];
    dead += fns[f].dead && fns[f].saved_count;
  }
  if (!dead) return;
  burial b = {.a = a, .t = t, .live = live, .owners = mp_alloc_array(a, t->fn_count + 1, sizeof *b.owners), .gone = mp_alloc(a, t->fn_count + 1)};
  for (uint32_t i = 0; i < t->event_count; i++) {
    const mp_event *e = &t->events[i];
    *mp_push(a, &b.events) = *e;
    int32_t f = e->kind == MP_EV_TENSOR || e->kind == MP_EV_DROP ? t->tensors[e->a].fn : -1;
    if (f >= 0 && e->kind == MP_EV_TENSOR) b.owners[f]++;
    if (f >= 0 && e->kind == MP_EV_DROP) disown(&b, f);
    for (uint32_t k = 0; e->kind == MP_EV_FN && k < t->fns[e->a].edge_count; k++)
      if (t->fns[e->a].edges[k].fn >= 0) b.owners[t->fns[e->a].edges[k].fn]++;
  }
  for (uint32_t f = 0; f < t->fn_count; f++) /* what an output still holds that no backward walks: until the step ends */
    if (!live[f] && !b.gone[f] && b.owners[f] && t->fns[f].saved_count) *mp_push(a, &b.events) = (mp_event){.kind = MP_EV_GONE, .a = (int32_t)f};
  t->events = b.events.at;
  t->event_count = (uint32_t)b.events.n;
}
