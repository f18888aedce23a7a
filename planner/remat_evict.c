/* Schedules for tight budgets: run the program in a memory of the budget's size, and when it is full evict what is worth least.
 *
 * The future is known, so the worth of a resident value follows from when it is needed next, what its return would cost, and its bytes. A
 * value is needed next at its next first use, or when an absent user of it is (it would be an input of the recomputation). Its return
 * costs itself and its absent inputs, theirs, and so on. A value that is absent when it is needed is computed again, its absent inputs first. */
#include <math.h>
#include <string.h>

#include "planner/remat_inside.h"

typedef struct machine {
  mp_arena *arena;
  const rgraph *g;
  int64_t budget, used;
  mp_evict_way way;
  bool *resident;
  uint32_t *pinned, *next_use; /* next_use: place in out[] of the next first use */
  uint32_t now;                /* the stage */
  double *back, *need;         /* cost of return; stage of next need */
  list *out;
  size_t limit, patience;
  rclock *clock;
} machine;

static void append(machine *m, uint32_t v) {
  list *l = m->out;
  if (l->n == l->cap) {
    uint32_t cap = l->cap ? l->cap * 2 : 1024, *at = mp_alloc_array(m->arena, cap, sizeof *at);
    if (l->n) memcpy(at, l->at, l->n * sizeof *at);
    l->at = at;
    l->cap = cap;
  }
  l->at[l->n++] = v;
}

/* back and need of every node up to this stage */
static void appraise(machine *m) {
  const rgraph *g = m->g;
  for (uint32_t i = 0; i <= m->now; i++) {
    double c = g->cost[i];
    for (uint32_t k = g->in_at[i]; k < g->in_at[i + 1]; k++)
      if (!m->resident[g->in[k]]) c += m->back[g->in[k]];
    m->back[i] = fmin(c, g->base_cost);
    m->need[i] = INFINITY;
  }
  for (uint32_t i = m->now + 1; i-- > 0;) {
    uint32_t k = m->next_use[i];
    while (k < g->out_at[i + 1] && g->out[k] < m->now) k++;
    m->next_use[i] = k;
    double when = k < g->out_at[i + 1] ? (double)g->out[k] : INFINITY;
    if (when < m->need[i]) m->need[i] = when;
    if (m->resident[i] || isinf(m->need[i])) continue;
    for (k = g->in_at[i]; k < g->in_at[i + 1]; k++)
      if (m->need[i] < m->need[g->in[k]]) m->need[g->in[k]] = m->need[i];
  }
}

static bool is_input(const rgraph *g, uint32_t v, uint32_t i) {
  for (uint32_t k = g->in_at[v]; k < g->in_at[v + 1]; k++)
    if (g->in[k] == i) return true;
  return false;
}

/* room for v, whose inputs stay. Inputs that outer recomputations have gathered go last: they would have to be gathered again. */
static bool make_room(machine *m, uint32_t v) {
  const rgraph *g = m->g;
  while (m->used + g->bytes[v] > m->budget) {
    uint32_t victim = NONE;
    double least = INFINITY;
    appraise(m);
    for (uint32_t i = 0; i < m->now; i++) {
      if (!m->resident[i] || g->bytes[i] <= 0 || (m->pinned[i] && (!m->patience || is_input(g, v, i)))) continue;
      double wait = m->need[i] - m->now + 0.5;
      double worth = isinf(wait) ? -1 : pow(m->back[i] + 1e-9, m->way.cost) / (pow((double)g->bytes[i], m->way.bytes) * pow(wait, m->way.wait));
      if (m->pinned[i]) worth = 1e200 * (2 + worth);
      if (worth < least) least = worth, victim = i;
    }
    if (victim == NONE) return false;
    if (m->pinned[victim]) m->patience--;
    m->resident[victim] = false;
    m->used -= g->bytes[victim];
  }
  return true;
}

static bool bring(machine *m, uint32_t v) {
  const rgraph *g = m->g;
  if (m->out->n >= m->limit || (m->out->n % 64 == 0 && mp_rclock_over(m->clock))) return false;
  for (uint32_t k = g->in_at[v]; k < g->in_at[v + 1]; k++) m->pinned[g->in[k]]++;
  bool ok = true;
  while (ok) { /* the dearest absent input first: it needs the most room */
    uint32_t next = NONE;
    for (uint32_t k = g->in_at[v]; k < g->in_at[v + 1]; k++) {
      uint32_t j = g->in[k];
      if (!m->resident[j] && (next == NONE || m->back[j] > m->back[next])) next = j;
    }
    if (next == NONE) break;
    ok = bring(m, next);
  }
  ok = ok && make_room(m, v);
  if (ok) {
    m->resident[v] = true;
    m->used += g->bytes[v];
    append(m, v);
  }
  for (uint32_t k = g->in_at[v]; k < g->in_at[v + 1]; k++) m->pinned[g->in[k]]--;
  return ok;
}

/* computes the stage's node from nothing, with everything else freed */
static mp_scratch_end restart(machine *m, const uint64_t *ancestors, list *path) {
  const rgraph *g = m->g;
  mp_scratch_end end = mp_scratch(m->arena, g, ancestors, m->now, m->budget, 30000, path);
  if (end != MP_SCRATCH_FOUND) return end;
  memset(m->resident, 0, g->n * sizeof *m->resident);
  memset(m->pinned, 0, g->n * sizeof *m->pinned);
  m->used = g->bytes[m->now];
  m->resident[m->now] = true;
  for (uint32_t k = 0; k < path->n; k++) append(m, path->at[k]);
  for (uint32_t k = g->in_at[m->now]; k < g->in_at[m->now + 1]; k++) {
    m->resident[g->in[k]] = true;
    m->used += g->bytes[g->in[k]];
  }
  return end;
}

mp_evict_end mp_evict(mp_arena *a, const rgraph *g, int64_t budget, mp_evict_way way, size_t limit, const uint64_t *ancestors, rclock *clock,
                      list *out) {
  machine m = {.arena = a, .g = g, .budget = budget, .way = way, .out = out, .limit = limit, .clock = clock, .patience = 4 * (size_t)g->n};
  m.resident = mp_alloc_array(a, g->n, sizeof *m.resident);
  m.pinned = mp_alloc_array(a, g->n, sizeof *m.pinned);
  m.next_use = mp_alloc_array(a, g->n, sizeof *m.next_use);
  m.back = mp_alloc_array(a, g->n, sizeof *m.back);
  m.need = mp_alloc_array(a, g->n, sizeof *m.need);
  list path = {.at = ancestors ? mp_alloc_array(a, (size_t)20 * g->n, sizeof *path.at) : NULL, .cap = 20 * g->n};
  for (uint32_t v = 0; v < g->n; v++) m.next_use[v] = g->out_at[v];
  out->n = 0;
  for (m.now = 0; m.now < g->n; m.now++) {
    uint32_t before = out->n;
    appraise(&m);
    if (bring(&m, m.now)) continue;
    if (!ancestors || out->n >= limit || clock->over) return MP_EVICT_STUCK;
    out->n = before;
    m.patience = 4 * (size_t)g->n;
    mp_scratch_end end = restart(&m, ancestors, &path);
    if (end == MP_SCRATCH_NEVER) return MP_EVICT_IMPOSSIBLE;
    if (end == MP_SCRATCH_UNKNOWN) return MP_EVICT_STUCK;
  }
  return MP_EVICT_DONE;
}
