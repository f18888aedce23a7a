/* The lower limit of the overhead that placement.h proves. */
#include <stdlib.h>
#include <string.h>

#include "planner/placement_inside.h"

/* the most that is alive before backward reaches a saving node of a candidate */
static uint64_t pinned_peak(const mp_place *s) {
  const mp_tape *t = s->plain;
  bool *in = mp_alloc(s->a, s->t->program->call_count + 1);
  for (size_t k = 0; k < s->all.n; k++) memset(in + s->all.at[k].first, 1, s->all.at[k].end - s->all.at[k].first);
  uint64_t now = 0, most = 0;
  uint8_t last = s->run->infer ? 0 : 2;
  bool backward = false;
  for (uint32_t i = 0; i < t->step_count; i++) {
    const mp_step *x = &t->steps[i];
    uint64_t b = (x->bytes + 511) / 512 * 512;
    if (x->kind == MP_ALLOC) now += b;
    if (x->kind == MP_FREE) now -= b;
    if (x->kind == MP_PHASE) backward = x->phase == MP_BACKWARD;
    if (x->iteration < last) continue;
    if (backward && x->call >= 0 && in[x->call] && s->saves[x->call]) break; /* frees may start here */
    if (backward && now > most) most = now; /* during the forward pass the plan's regions may not have begun: only from its end on */
  }
  return most;
}

typedef struct item {
  double cost;
  uint64_t gain;
} item;
static int by_ratio(const void *x, const void *y) {
  const item *a = x, *b = y;
  double l = a->cost * (double)b->gain, r = b->cost * (double)a->gain;
  return (l > r) - (l < r);
}

/* fractional cover of `need` by calls whose saved results would have to be made again */
static double bound_by_makers(mp_place *s, uint64_t need) {
  uint32_t n = s->t->program->call_count, m = 0;
  item *it = mp_alloc_array(s->a, n + 1, sizeof *it);
  for (uint32_t c = 0; c < n; c++)
    if (s->made[c]) it[m++] = (item){s->cost[c], s->made[c]};
  if (m) qsort(it, m, sizeof *it, by_ratio);
  double cost = 0, left = (double)need;
  for (uint32_t k = 0; k < m && left > 0; k++) {
    double take = left < (double)it[k].gain ? left / (double)it[k].gain : 1;
    cost += take * it[k].cost;
    left -= take * (double)it[k].gain;
  }
  return cost;
}

static double bound_by_regions(mp_place *s, uint64_t need) { /* max over lambda of a concave function */
  double lo = 0, hi = 1, best = 0;
  for (size_t k = 0; k < s->all.n; k++) {
    double r = s->all.at[k].cost / (double)s->all.at[k].share * 2;
    if (r > hi) hi = r;
  }
  for (int i = 0; i < 60; i++) {
    double x = lo + (hi - lo) / 3, y = hi - (hi - lo) / 3;
    double fx = x * (double)need + mp_place_priced(s, x, true, NULL), fy = y * (double)need + mp_place_priced(s, y, true, NULL);
    if (fx > best) best = fx;
    if (fy > best) best = fy;
    if (fx < fy) lo = x;
    else hi = y;
  }
  return best;
}

double mp_place_bound(mp_place *s) {
  uint64_t pinned = pinned_peak(s);
  if (pinned <= s->ask->budget) return 0;
  uint64_t need = pinned - s->ask->budget;
  double makers = bound_by_makers(s, need);
  if (s->ask->granularity == MP_BY_CALLS) return makers / s->base;
  double regions = bound_by_regions(s, need);
  return (regions > makers ? regions : makers) / s->base;
}
