/* Which sets of regions are tried: by price and size, by knapsack, as runs, around one another; and what a set can do without. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "planner/placement_inside.h"

static uint64_t freed(const mp_place *s, const mp_choice *c) {
  uint64_t sum = 0;
  for (uint32_t k = 0; k < c->n; k++) sum += s->all.at[c->at[k]].frees;
  return sum;
}

/* the least price of a byte at which the chosen set fits: by bisection, since a higher price frees more */
static bool by_price(mp_place *s, mp_record *r) {
  double top = 0, lo = 0;
  for (size_t k = 0; k < s->all.n; k++) {
    double ratio = s->all.at[k].cost / (double)s->all.at[k].frees * 2;
    if (ratio > top) top = ratio;
  }
  double hi = top > 0 ? top * 1000 : 1; /* nearly everything that frees is taken */
  mp_choice c = mp_place_choice(s);
  mp_place_priced(s, hi, false, &c);
  if (!c.n || !mp_place_note(s, r, &c, mp_place_attempt(s, &c, NULL))) return false;
  uint64_t known = freed(s, &c); /* what the last fitting set frees */
  if (top > 0) hi = top;
  for (int i = 0; i < 30 && !mp_place_late(s) && hi - lo > 1e-4 * hi; i++) {
    double x = lo > 0 ? (lo + hi) / 2 : hi / 4;
    if (lo == 0 && x < top * 1e-9) break;
    mp_place_priced(s, x, false, &c);
    bool fits = freed(s, &c) == known || mp_place_note(s, r, &c, mp_place_attempt(s, &c, NULL));
    if (fits) {
      hi = x;
      known = freed(s, &c);
    } else {
      lo = x;
    }
  }
  return true;
}

static int falling(const void *x, const void *y) {
  uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
  return a < b ? 1 : a > b ? -1 : 0;
}

/* Large regions free the most and have to be held whole; small ones keep more inputs. Which size is right depends on the budget: a ladder of sizes is tried. */
void mp_place_by_size(mp_place *s, mp_record *r) {
  uint64_t *sizes = mp_alloc_array(s->a, s->all.n + 1, sizeof *sizes);
  for (size_t k = 0; k < s->all.n; k++) sizes[k] = s->all.at[k].frees;
  if (s->all.n) qsort(sizes, s->all.n, sizeof *sizes, falling);
  uint64_t last = UINT64_MAX;
  for (size_t k = 0; k < s->all.n && !mp_place_late(s); k++) {
    if (sizes[k] > last - last / 3) continue; /* steps of at least a third */
    last = s->cap = sizes[k];
    by_price(s, r);
  }
  s->cap = UINT64_MAX;
}

/* ---- sets of repeated modules that no price reaches ---- */

typedef struct subset {
  double cost;
  const bool *keep; /* of each repeated module */
  uint32_t bits;    /* or: those that are recomputed */
} subset;
static int by_cost(const void *x, const void *y) {
  const subset *a = x, *b = y;
  return (a->cost > b->cost) - (a->cost < b->cost);
}

static bool try_subset(mp_place *s, mp_record *r, const uint32_t *at, uint32_t n, const subset *x, mp_choice *c) {
  c->n = 0;
  for (uint32_t i = n; i-- > 0;)
    if (x->keep ? !x->keep[i] : x->bits >> i & 1) c->at[c->n++] = at[i];
  return mp_place_note(s, r, c, mp_place_attempt(s, c, NULL));
}

#define SUBSET_SECONDS 0.5
#define EVERY_SUBSET 12
/* Few modules: every set between the bound and the best so far, the cheapest first. */
static void by_subsets(mp_place *s, mp_record *r, const uint32_t *at, uint32_t n, mp_choice *c) {
  subset *all = mp_alloc_array(s->a, (size_t)1 << n, sizeof *all);
  uint32_t m = 0;
  for (uint32_t bits = 1; bits < (uint32_t)1 << n; bits++) {
    double cost = 0;
    for (uint32_t i = 0; i < n; i++) cost += bits >> i & 1 ? s->all.at[at[i]].cost : 0;
    if (cost >= s->bound * s->base && (!r->found || cost < r->got.cost)) all[m++] = (subset){cost, NULL, bits};
  }
  if (m) qsort(all, m, sizeof *all, by_cost);
  clock_t began = clock();
  for (uint32_t k = 0; k < m && !mp_place_late(s) && (double)(clock() - began) / CLOCKS_PER_SEC < SUBSET_SECONDS; k++)
    if (try_subset(s, r, at, n, &all[k], c)) return;
}

/* Many: the best set for each limit of kept bytes. The set that fits at the least cost is found by bisection and the sets around it. */
static void by_knapsack(mp_place *s, mp_record *r, const uint32_t *at, uint32_t n, mp_choice *c) {
  bool *keep = mp_alloc_array(s->a, (size_t)n * (MP_KNAPSACK_UNITS + 1), sizeof *keep);
  mp_knapsack(s->a, s->all.at, at, n, keep);
  subset *all = mp_alloc_array(s->a, MP_KNAPSACK_UNITS + 1, sizeof *all);
  uint32_t m = 0;
  for (uint32_t w = 0; w <= MP_KNAPSACK_UNITS; w++) {
    double cost = 0;
    for (uint32_t i = 0; i < n; i++) cost += keep[(size_t)w * n + i] ? 0 : s->all.at[at[i]].cost;
    if (m && cost >= all[m - 1].cost) continue; /* the same set, or no better */
    all[m++] = (subset){cost, keep + (size_t)w * n, 0};
  }
  qsort(all, m, sizeof *all, by_cost);
  uint32_t lo = 0, hi = m; /* all[hi] fits, m: none is known to */
  while (lo < hi && !mp_place_late(s)) {
    uint32_t mid = (lo + hi) / 2;
    if (try_subset(s, r, at, n, &all[mid], c)) hi = mid;
    else lo = mid + 1;
  }
  for (uint32_t k = 2; k < 12 && k <= hi && !mp_place_late(s); k++) try_subset(s, r, at, n, &all[hi - k], c); /* peaks do not fall evenly */
}

/* Runs of modules of a Sequential as one region keep one input (Chen et al. 2016, algorithm 3): a run ends where its bytes pass a limit, the last is kept. */
static subset cut_runs(const mp_place *s, const uint32_t *at, uint32_t n, uint64_t limit, uint32_t *runs, uint32_t *m) {
  subset x = {0};
  uint64_t held = 0;
  *m = 0;
  for (uint32_t i = 0, from = 0, open = 0; i < n; i++) { /* open: first region that this run may still drop */
    const mp_candidate key = {.first = s->all.at[at[from]].first, .end = s->all.at[at[i]].end};
    const mp_candidate *run = bsearch(&key, s->all.at, s->all.n, sizeof key, mp_place_by_end);
    if (!run) from = i; /* no Sequential covers it */
    runs[(*m)++] = run ? (uint32_t)(run - s->all.at) : at[i];
    if (run && from < i) runs[*m - 2] = runs[*m - 1], (*m)--; /* takes the place of the shorter run */
    if ((held += s->all.at[at[i]].frees) > limit && i + 1 < n) {
      held = 0;
      from = i + 1;
      open = *m;
    }
    if (i + 1 == n) *m = open;
  }
  for (uint32_t k = 0; k < *m; k++) x.cost += s->all.at[runs[k]].cost;
  return x;
}

#define CHEN_LIMITS 100
static void by_runs(mp_place *s, mp_record *r, const uint32_t *at, uint32_t n, mp_choice *c) {
  uint64_t total = 0;
  for (uint32_t i = 0; i < n; i++) total += s->all.at[at[i]].frees;
  subset all[CHEN_LIMITS];
  uint32_t *runs = mp_alloc_array(s->a, n + 1, sizeof *runs), m, count = 0;
  for (uint32_t p = 1; p <= CHEN_LIMITS; p++) {
    subset x = cut_runs(s, at, n, total / CHEN_LIMITS * p, runs, &m);
    x.bits = p;
    if (m && x.cost >= s->bound * s->base && (!count || x.cost != all[count - 1].cost)) all[count++] = x;
  }
  if (count) qsort(all, count, sizeof *all, by_cost);
  for (uint32_t k = 0; k < count && !mp_place_late(s) && (!r->found || all[k].cost < r->got.cost); k++) {
    cut_runs(s, at, n, total / CHEN_LIMITS * all[k].bits, runs, &m);
    for (c->n = 0; c->n < m; c->n++) c->at[c->n] = runs[m - 1 - c->n];
    if (mp_place_note(s, r, c, mp_place_attempt(s, c, NULL))) return;
  }
}

#define MOST_MODULES 2048
void mp_place_by_modules(mp_place *s, mp_record *r) {
  uint32_t *at = mp_alloc_array(s->a, s->all.n + 1, sizeof *at), n = 0;
  for (uint32_t k = 0; k < s->all.n; k++)
    if (s->all.at[k].is_module) at[n++] = k;
  mp_choice c = mp_place_choice(s);
  if (n && n <= MOST_MODULES) by_knapsack(s, r, at, n, &c);
  if (n && n <= EVERY_SUBSET) by_subsets(s, r, at, n, &c);
  if (n && n <= MOST_MODULES) by_runs(s, r, at, n, &c);
}

/* Where no disjoint regions fit: regions around repeated modules, each with all of those inside it. The outer ones keep little; while one runs again it
 * keeps the inputs of the inner ones, each of which then runs a third time. Outer regions of several sizes are tried. */
void mp_place_by_nesting(mp_place *s, mp_record *r) {
  mp_choice outer = mp_place_choice(s), c = mp_place_choice(s);
  uint64_t *sizes = mp_alloc_array(s->a, s->all.n + 1, sizeof *sizes), last = UINT64_MAX;
  for (size_t k = 0; k < s->all.n; k++) sizes[k] = s->all.at[k].frees;
  if (s->all.n) qsort(sizes, s->all.n, sizeof *sizes, falling);
  for (size_t k = 0; k < s->all.n && !mp_place_late(s); k++) {
    if (sizes[k] > last - last / 4) continue; /* steps of at least a quarter */
    last = s->cap = sizes[k];
    mp_place_priced(s, mp_place_price_of_all(s), false, &outer);
    mp_place_copy(&c, &outer);
    for (size_t m = 0; m < s->all.n; m++)
      for (uint32_t o = 0; o < outer.n && s->all.at[m].is_module; o++) {
        const mp_candidate *in = &s->all.at[m], *out = &s->all.at[outer.at[o]];
        if (in->first >= out->first && in->end <= out->end && in->end - in->first < out->end - out->first) c.at[c.n++] = (uint32_t)m;
      }
    if (c.n > outer.n) mp_place_note(s, r, &c, mp_place_attempt(s, &c, NULL));
  }
  s->cap = UINT64_MAX;
}

/* a region that the fit can do without is dropped: the dearest first, of equals the last (near the start of backward it helps least) */

void mp_place_drop_needless(mp_place *s, mp_choice *best, mp_trial *got) {
  mp_choice c = mp_place_choice(s);
  bool *kept = mp_alloc(s->a, s->all.n + 1);
  for (bool more = true; more && !mp_place_late(s);) {
    more = false;
    uint32_t pick = UINT32_MAX;
    for (uint32_t k = 0; k < best->n; k++) { /* at[] is from the last region to the first */
      if (kept[best->at[k]]) continue;
      if (pick == UINT32_MAX || s->all.at[best->at[k]].cost > s->all.at[best->at[pick]].cost) pick = k;
    }
    if (pick == UINT32_MAX) break;
    more = true;
    c.n = 0;
    for (uint32_t k = 0; k < best->n; k++)
      if (k != pick) c.at[c.n++] = best->at[k];
    mp_trial t = mp_place_attempt(s, &c, NULL);
    kept[best->at[pick]] = true;
    if (t.peak > s->ask->budget || t.cost > got->cost) continue;
    *got = t;
    mp_place_copy(best, &c);
  }
}

/* a region is exchanged for a cheaper one inside it or beside it that still fits */
void mp_place_exchange(mp_place *s, mp_choice *best, mp_trial *got) {
  mp_choice c = mp_place_choice(s);
  for (uint32_t k = 0; k < best->n && !mp_place_late(s); k++) {
    uint32_t was = best->at[k];
    for (uint32_t j = 0; j < s->all.n && !mp_place_late(s); j++) {
      const mp_candidate *x = &s->all.at[j], *y = &s->all.at[was];
      if (x->first < y->first || x->end > y->end || j == was || x->cost >= y->cost || x->frees * 4 < y->frees) continue;
      mp_place_copy(&c, best);
      c.at[k] = j;
      mp_trial t = mp_place_attempt(s, &c, NULL);
      if (t.peak > s->ask->budget || t.cost >= got->cost) continue;
      *got = t;
      mp_place_copy(best, &c);
      was = j;
    }
  }
}
