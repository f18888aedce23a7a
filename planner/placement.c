#include "planner/placement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct saved_storage {
  int32_t made, first, last; /* calls: its maker (-1: an input), its first and last saver */
  uint32_t savers;
  uint64_t bytes;
} saved_storage;

typedef struct search {
  mp_arena *a;
  const mp_trace *t;
  const mp_run *run;
  const mp_search *ask;
  MP_VEC(mp_candidate) all;
  saved_storage *stor;      /* those that something saves */
  uint32_t stor_count;
  double *cost;             /* of each call */
  bool *saves;              /* does the call make a node that saves */
  double *share;            /* bytes of each call, see placement.h */
  uint64_t *made;           /* saved bytes that each call made */
  const mp_tape *plain;
  const mp_timeline *plain_line;
  double base;              /* operations of a step's forward and backward, one micro-batch */
  clock_t began;
  uint32_t tried;
  double bound;             /* of the overhead */
  bool found_blocks;        /* the program has repeated modules */
  bool only_blocks;         /* the search looks at blocks alone */
  const mp_region *inverted; /* regions that every plan inverts */
  uint32_t inverted_count;
  uint64_t cap;             /* regions that free more are not chosen: a region is held whole while it is recomputed */
  bool out_of_time;
} search;

/* ---- what the trace saves ---- */

static void measure_storages(search *s) {
  const mp_trace *t = s->t;
  int32_t *index = mp_alloc_array(s->a, t->storage_count + 1, sizeof *index);
  memset(index, -1, (t->storage_count + 1) * sizeof *index);
  s->stor = mp_alloc_array(s->a, t->storage_count + 1, sizeof *s->stor);
  uint32_t n = t->program->call_count;
  s->cost = mp_alloc_array(s->a, n + 1, sizeof *s->cost);
  s->saves = mp_alloc_array(s->a, n + 1, sizeof *s->saves);
  s->share = mp_alloc_array(s->a, n + 1, sizeof *s->share);
  s->made = mp_alloc_array(s->a, n + 1, sizeof *s->made);
  for (uint32_t c = 0; c < n; c++) s->cost[c] = (double)t->program->calls[c].flops;
  for (int pass = 0; pass < 2; pass++) /* first count the savers, then share the bytes */
    for (uint32_t f = 0; f < t->fn_count; f++) {
      const mp_fn *fn = &t->fns[f];
      if (fn->dead) continue; /* keeps nothing when backward begins */
      if (fn->call >= 0 && fn->saved_count) s->saves[fn->call] = true;
      for (uint32_t k = 0; k < fn->saved_count; k++) {
        if (fn->saved[k] < 0 || fn->call < 0) continue;
        int32_t id = t->tensors[fn->saved[k]].storage;
        const mp_storage *st = &t->storages[id];
        if (st->category != MP_CAT_ACTIVATION && st->category != MP_CAT_INPUT) continue;
        if (index[id] < 0) {
          index[id] = (int32_t)s->stor_count;
          s->stor[s->stor_count++] = (saved_storage){.made = st->call, .first = fn->call, .last = fn->call, .bytes = (st->bytes + 511) / 512 * 512};
          if (st->call >= 0) s->made[st->call] += s->stor[index[id]].bytes;
        }
        saved_storage *x = &s->stor[index[id]];
        if (fn->call < x->first) x->first = fn->call;
        if (fn->call > x->last) x->last = fn->call;
        if (pass == 0) x->savers++;
        else s->share[fn->call] += (double)x->bytes / x->savers;
      }
    }
}

/* ---- candidates ---- */

static bool add(search *s, uint32_t first, uint32_t end, const char *pattern, bool is_block) {
  for (uint32_t i = 0; i < s->inverted_count; i++)
    if (first < s->inverted[i].end && s->inverted[i].first < end) return false;
  if (mp_region_spoils_input(s->t->program, first, end)) return false;
  mp_candidate c = {.first = first, .end = end, .pattern = pattern, .is_block = is_block};
  int32_t last = -1;
  for (uint32_t k = first; k < end; k++)
    if (s->saves[k]) last = (int32_t)k;
  if (last < 0) return false;
  double share = 0;
  for (uint32_t k = first; k < end; k++) {
    share += s->share[k];
    if ((int32_t)k <= last) c.cost += s->cost[k];
  }
  c.share = (uint64_t)share + 1;
  for (uint32_t k = 0; k < s->stor_count; k++) {
    const saved_storage *x = &s->stor[k];
    if (x->first >= (int32_t)first && x->last < (int32_t)end && x->made >= (int32_t)first) c.frees += x->bytes;
  }
  if (!c.frees) return false;
  *mp_push(s->a, &s->all) = c;
  return true;
}

static bool is_child_of(const mp_instance *child, const mp_instance *parent, long *number) { /* PATH.NUMBER of a Sequential that runs itself */
  size_t n = strlen(parent->path);
  const char *rest = child->path + n + (n > 0);
  if (strncmp(child->path, parent->path, n) != 0 || (n && child->path[n] != '.')) return false;
  char *end;
  *number = strtol(rest, &end, 10);
  return end != rest && !*end;
}

#define LONGEST_RUN 48
/* runs of siblings of a Sequential: their calls follow one another and cover it */
static void add_runs(search *s, int32_t parent) {
  const mp_program *p = s->t->program;
  const mp_instance *m = &p->instances[parent];
  MP_VEC(int32_t) child = {0};
  uint32_t covered = m->first;
  long number;
  for (uint32_t i = (uint32_t)parent + 1; i < p->instance_count; i++) {
    if (p->instances[i].parent != parent) continue;
    if (!is_child_of(&p->instances[i], m, &number) || p->instances[i].first != covered) return;
    covered = p->instances[i].end;
    *mp_push(s->a, &child) = (int32_t)i;
  }
  if (child.n < 2 || covered != m->end) return;
  for (size_t i = 0; i < child.n; i++)
    for (size_t j = i + 1; j < child.n && j < i + LONGEST_RUN; j++) {
      const mp_instance *x = &p->instances[child.at[i]], *y = &p->instances[child.at[j]];
      if (i == 0 && j + 1 == child.n) continue; /* that is the parent */
      add(s, x->first, y->end, mp_format(s->a, "%s..%s", x->path, y->path), !s->found_blocks || x->block < 0);
    }
}

static void find_candidates(search *s) {
  const mp_program *p = s->t->program;
  bool blocks_only = s->ask->granularity != MP_BY_MODULES;
  for (uint32_t i = 1; i < p->instance_count; i++) {
    const mp_instance *m = &p->instances[i];
    if (m->first >= m->end || !mp_instance_runs_once(p, i) || (m->first == 0 && m->end == p->call_count)) continue;
    if (blocks_only && m->block < 0) continue;
    if (!add(s, m->first, m->end, m->path, m->block >= 0)) continue;
    s->all.at[s->all.n - 1].is_module = m->block >= 0;
    s->found_blocks |= m->block >= 0;
  }
  for (uint32_t i = 0; i < p->instance_count; i++)
    if (p->instances[i].first < p->instances[i].end && (!blocks_only || !s->found_blocks || p->instances[i].block < 0)) add_runs(s, (int32_t)i);
  if (s->all.n) return;
  for (uint32_t i = 1; i < p->instance_count; i++) /* nothing repeats: any module */
    if (p->instances[i].first < p->instances[i].end && mp_instance_runs_once(p, i)) add(s, p->instances[i].first, p->instances[i].end, p->instances[i].path, true);
}

/* ---- the cheapest disjoint set for a price of bytes: intervals by their end, a dynamic program over calls ---- */

static int by_end(const void *x, const void *y) {
  const mp_candidate *a = x, *b = y;
  if (a->end != b->end) return a->end < b->end ? -1 : 1;
  return a->first < b->first ? -1 : a->first > b->first;
}

typedef struct choice {
  uint32_t *at, n; /* candidates, in order */
} choice;

/* min over disjoint sets of sum(cost - lambda * gain); gain: what it frees (for plans) or its share (for the bound) */
static double priced(const search *s, double lambda, bool bound, choice *out) {
  uint32_t calls = s->t->program->call_count;
  mp_mark m = mp_arena_mark(s->a);
  double *best = mp_alloc_array(s->a, calls + 2, sizeof *best);
  int32_t *took = mp_alloc_array(s->a, calls + 2, sizeof *took);
  size_t k = 0;
  for (uint32_t c = 1; c <= calls; c++) {
    best[c] = best[c - 1];
    took[c] = -1;
    for (; k < s->all.n && s->all.at[k].end == c; k++) {
      const mp_candidate *x = &s->all.at[k];
      if (!bound && (x->frees > s->cap || (s->only_blocks && !x->is_block))) continue;
      double v = best[x->first] + x->cost - lambda * (double)(bound ? x->share : x->frees);
      if (v < best[c]) {
        best[c] = v;
        took[c] = (int32_t)k;
      }
    }
  }
  double value = best[calls];
  if (out) {
    out->n = 0;
    for (uint32_t c = calls; c;) {
      if (took[c] < 0) {
        c--;
        continue;
      }
      out->at[out->n++] = (uint32_t)took[c];
      c = s->all.at[took[c]].first;
    }
  }
  mp_arena_rewind(s->a, m);
  return value;
}

/* a price of bytes at which everything that frees some is taken */
static double price_of_all(const search *s) {
  double everything = 0;
  for (size_t k = 0; k < s->all.n; k++) everything += s->all.at[k].cost;
  return 1e6 * (everything + 1);
}

/* ---- the bound ---- */

/* the most that is alive before backward reaches a saving node of a candidate */
static uint64_t pinned_peak(const search *s) {
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
static double bound_by_makers(search *s, uint64_t need) {
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

static double bound_by_regions(search *s, uint64_t need) { /* max over lambda of a concave function */
  double lo = 0, hi = 1, best = 0;
  for (size_t k = 0; k < s->all.n; k++) {
    double r = s->all.at[k].cost / (double)s->all.at[k].share * 2;
    if (r > hi) hi = r;
  }
  for (int i = 0; i < 60; i++) {
    double x = lo + (hi - lo) / 3, y = hi - (hi - lo) / 3;
    double fx = x * (double)need + priced(s, x, true, NULL), fy = y * (double)need + priced(s, y, true, NULL);
    if (fx > best) best = fx;
    if (fy > best) best = fy;
    if (fx < fy) lo = x;
    else hi = y;
  }
  return best;
}

static double lower_bound(search *s) {
  uint64_t pinned = pinned_peak(s);
  if (pinned <= s->ask->budget) return 0;
  uint64_t need = pinned - s->ask->budget;
  double makers = bound_by_makers(s, need);
  if (s->ask->granularity == MP_BY_CALLS) return makers / s->base;
  double regions = bound_by_regions(s, need);
  return (regions > makers ? regions : makers) / s->base;
}

/* ---- trying plans ---- */

typedef struct trial {
  uint64_t peak;
  double cost;
} trial;

static bool late(search *s) {
  double limit = s->ask->time_limit > 0 ? s->ask->time_limit : 20;
  if ((s->ask->interrupt && *s->ask->interrupt) || (double)(clock() - s->began) / CLOCKS_PER_SEC > limit) s->out_of_time = true;
  return s->out_of_time;
}

static mp_plan plan_of(mp_arena *a, const search *s, const choice *c, const int8_t *save) {
  const char **paths = mp_alloc_array(a, c->n + 1, sizeof *paths);
  for (uint32_t i = 0; i < c->n; i++) paths[i] = s->all.at[c->at[c->n - 1 - i]].pattern;
  return (mp_plan){.checkpoint = paths, .checkpoints = c->n, .save_calls = save, .invertible = s->ask->invertible, .invertibles = s->ask->invertibles};
}

/* the regions of a choice and those that every plan inverts */
static const mp_region *regions_of(mp_arena *a, const search *s, const choice *c, uint32_t *n) {
  mp_region *r = mp_alloc_array(a, c->n + s->inverted_count + 1, sizeof *r);
  for (uint32_t i = 0; i < c->n; i++) r[i] = (mp_region){s->all.at[c->at[i]].first, s->all.at[c->at[i]].end, -1, NULL};
  for (uint32_t i = 0; i < s->inverted_count; i++) r[c->n + i] = s->inverted[i];
  *n = mp_regions_nest(r, c->n + s->inverted_count);
  return r;
}

static trial attempt(search *s, const choice *c, const int8_t *save) {
  mp_arena *own = mp_arena_new(0);
  mp_err err;
  trial r = {UINT64_MAX, 0};
  if (own) {
    uint32_t n;
    const mp_region *regions = regions_of(own, s, c, &n);
    const mp_tape *t = mp_tape_make_short(own, s->t, s->run, regions, n, save, &err);
    if (t) r = (trial){mp_timeline_peak(t), (double)t->flops_recompute / s->run->accumulate};
  }
  mp_arena_free(own);
  s->tried++;
  if (s->ask->progress) s->ask->progress(s->ask->progress_arg, s->tried, r.peak);
  return r;
}

static void copy_choice(choice *to, const choice *from) {
  to->n = from->n;
  if (from->n) memcpy(to->at, from->at, from->n * sizeof *to->at);
}

static uint64_t freed(const search *s, const choice *c) {
  uint64_t sum = 0;
  for (uint32_t k = 0; k < c->n; k++) sum += s->all.at[c->at[k]].frees;
  return sum;
}

typedef struct record { /* the best so far, and what comes nearest */
  choice best, nearest;
  trial got, near;
  bool found;
} record;

static bool note(search *s, record *r, const choice *c, trial t) {
  if (t.peak < r->near.peak) {
    r->near = t;
    copy_choice(&r->nearest, c);
  }
  if (t.peak > s->ask->budget) return false;
  if (!r->found || t.cost < r->got.cost) {
    r->got = t;
    copy_choice(&r->best, c);
    r->found = true;
  }
  return true;
}

/* the least price of a byte at which the chosen set fits: by bisection, since a higher price frees more */
static bool by_price(search *s, record *r) {
  double top = 0, lo = 0;
  for (size_t k = 0; k < s->all.n; k++) {
    double ratio = s->all.at[k].cost / (double)s->all.at[k].frees * 2;
    if (ratio > top) top = ratio;
  }
  double hi = top > 0 ? top * 1000 : 1; /* nearly everything that frees is taken */
  choice c = {mp_alloc_array(s->a, s->t->program->call_count + 1, sizeof *c.at), 0};
  priced(s, hi, false, &c);
  if (!c.n || !note(s, r, &c, attempt(s, &c, NULL))) return false;
  uint64_t known = freed(s, &c); /* what the last fitting set frees */
  if (top > 0) hi = top;
  for (int i = 0; i < 30 && !late(s) && hi - lo > 1e-4 * hi; i++) {
    double x = lo > 0 ? (lo + hi) / 2 : hi / 4;
    if (lo == 0 && x < top * 1e-9) break;
    priced(s, x, false, &c);
    bool fits = freed(s, &c) == known || note(s, r, &c, attempt(s, &c, NULL));
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
static void by_size(search *s, record *r) {
  uint64_t *sizes = mp_alloc_array(s->a, s->all.n + 1, sizeof *sizes);
  for (size_t k = 0; k < s->all.n; k++) sizes[k] = s->all.at[k].frees;
  if (s->all.n) qsort(sizes, s->all.n, sizeof *sizes, falling);
  uint64_t last = UINT64_MAX;
  for (size_t k = 0; k < s->all.n && !late(s); k++) {
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

static bool try_subset(search *s, record *r, const uint32_t *at, uint32_t n, const subset *x, choice *c) {
  c->n = 0;
  for (uint32_t i = n; i-- > 0;)
    if (x->keep ? !x->keep[i] : x->bits >> i & 1) c->at[c->n++] = at[i];
  return note(s, r, c, attempt(s, c, NULL));
}

#define SUBSET_SECONDS 0.5
#define EVERY_SUBSET 12
/* Few modules: every set between the bound and the best so far, the cheapest first. */
static void by_subsets(search *s, record *r, const uint32_t *at, uint32_t n, choice *c) {
  subset *all = mp_alloc_array(s->a, (size_t)1 << n, sizeof *all);
  uint32_t m = 0;
  for (uint32_t bits = 1; bits < (uint32_t)1 << n; bits++) {
    double cost = 0;
    for (uint32_t i = 0; i < n; i++) cost += bits >> i & 1 ? s->all.at[at[i]].cost : 0;
    if (cost >= s->bound * s->base && (!r->found || cost < r->got.cost)) all[m++] = (subset){cost, NULL, bits};
  }
  if (m) qsort(all, m, sizeof *all, by_cost);
  clock_t began = clock();
  for (uint32_t k = 0; k < m && !late(s) && (double)(clock() - began) / CLOCKS_PER_SEC < SUBSET_SECONDS; k++)
    if (try_subset(s, r, at, n, &all[k], c)) return;
}

/* Many: the best set for each limit of kept bytes. The set that fits at the least cost is found by bisection and the sets around it. */
static void by_knapsack(search *s, record *r, const uint32_t *at, uint32_t n, choice *c) {
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
  while (lo < hi && !late(s)) {
    uint32_t mid = (lo + hi) / 2;
    if (try_subset(s, r, at, n, &all[mid], c)) hi = mid;
    else lo = mid + 1;
  }
  for (uint32_t k = 2; k < 12 && k <= hi && !late(s); k++) try_subset(s, r, at, n, &all[hi - k], c); /* peaks do not fall evenly */
}

/* Runs of modules of a Sequential as one region keep one input (Chen et al. 2016, algorithm 3): a run ends where its bytes pass a limit, the last is kept. */
static subset cut_runs(const search *s, const uint32_t *at, uint32_t n, uint64_t limit, uint32_t *runs, uint32_t *m) {
  subset x = {0};
  uint64_t held = 0;
  *m = 0;
  for (uint32_t i = 0, from = 0, open = 0; i < n; i++) { /* open: first region that this run may still drop */
    const mp_candidate key = {.first = s->all.at[at[from]].first, .end = s->all.at[at[i]].end};
    const mp_candidate *run = bsearch(&key, s->all.at, s->all.n, sizeof key, by_end);
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
static void by_runs(search *s, record *r, const uint32_t *at, uint32_t n, choice *c) {
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
  for (uint32_t k = 0; k < count && !late(s) && (!r->found || all[k].cost < r->got.cost); k++) {
    cut_runs(s, at, n, total / CHEN_LIMITS * all[k].bits, runs, &m);
    for (c->n = 0; c->n < m; c->n++) c->at[c->n] = runs[m - 1 - c->n];
    if (note(s, r, c, attempt(s, c, NULL))) return;
  }
}

#define MOST_MODULES 2048
static void by_modules(search *s, record *r) {
  uint32_t *at = mp_alloc_array(s->a, s->all.n + 1, sizeof *at), n = 0;
  for (uint32_t k = 0; k < s->all.n; k++)
    if (s->all.at[k].is_module) at[n++] = k;
  choice c = {mp_alloc_array(s->a, s->t->program->call_count + 1, sizeof *c.at), 0};
  if (n && n <= MOST_MODULES) by_knapsack(s, r, at, n, &c);
  if (n && n <= EVERY_SUBSET) by_subsets(s, r, at, n, &c);
  if (n && n <= MOST_MODULES) by_runs(s, r, at, n, &c);
}

/* Where no disjoint regions fit: regions around repeated modules, each with all of those inside it. The outer ones keep little; while one runs again it
 * keeps the inputs of the inner ones, each of which then runs a third time. Outer regions of several sizes are tried. */
static void by_nesting(search *s, record *r) {
  uint32_t calls = s->t->program->call_count;
  choice outer = {mp_alloc_array(s->a, calls + 1, sizeof *outer.at), 0}, c = {mp_alloc_array(s->a, 2 * (size_t)calls + 2, sizeof *c.at), 0};
  uint64_t *sizes = mp_alloc_array(s->a, s->all.n + 1, sizeof *sizes), last = UINT64_MAX;
  for (size_t k = 0; k < s->all.n; k++) sizes[k] = s->all.at[k].frees;
  if (s->all.n) qsort(sizes, s->all.n, sizeof *sizes, falling);
  for (size_t k = 0; k < s->all.n && !late(s); k++) {
    if (sizes[k] > last - last / 4) continue; /* steps of at least a quarter */
    last = s->cap = sizes[k];
    priced(s, price_of_all(s), false, &outer);
    copy_choice(&c, &outer);
    for (size_t m = 0; m < s->all.n; m++)
      for (uint32_t o = 0; o < outer.n && s->all.at[m].is_module; o++) {
        const mp_candidate *in = &s->all.at[m], *out = &s->all.at[outer.at[o]];
        if (in->first >= out->first && in->end <= out->end && in->end - in->first < out->end - out->first) c.at[c.n++] = (uint32_t)m;
      }
    if (c.n > outer.n) note(s, r, &c, attempt(s, &c, NULL));
  }
  s->cap = UINT64_MAX;
}

/* a region that the fit can do without is dropped: the dearest first, of equals the last (near the start of backward it helps least) */
static void drop_needless(search *s, choice *best, trial *got) {
  choice c = {mp_alloc_array(s->a, 2 * (size_t)s->t->program->call_count + 2, sizeof *c.at), 0};
  bool *kept = mp_alloc(s->a, s->all.n + 1);
  for (bool more = true; more && !late(s);) {
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
    trial t = attempt(s, &c, NULL);
    kept[best->at[pick]] = true;
    if (t.peak > s->ask->budget || t.cost > got->cost) continue;
    *got = t;
    copy_choice(best, &c);
  }
}

/* a region is exchanged for a cheaper one inside it or beside it that still fits */
static void exchange(search *s, choice *best, trial *got) {
  choice c = {mp_alloc_array(s->a, s->t->program->call_count + 1, sizeof *c.at), 0};
  for (uint32_t k = 0; k < best->n && !late(s); k++) {
    uint32_t was = best->at[k];
    for (uint32_t j = 0; j < s->all.n && !late(s); j++) {
      const mp_candidate *x = &s->all.at[j], *y = &s->all.at[was];
      if (x->first < y->first || x->end > y->end || j == was || x->cost >= y->cost || x->frees * 4 < y->frees) continue;
      copy_choice(&c, best);
      c.at[k] = j;
      trial t = attempt(s, &c, NULL);
      if (t.peak > s->ask->budget || t.cost >= got->cost) continue;
      *got = t;
      copy_choice(best, &c);
      was = j;
    }
  }
}

/* ---- calls: what to keep inside the regions ---- */

typedef struct heavy {
  uint32_t call;
  double cost;
  uint64_t bytes;
} heavy;
static int dear_first(const void *x, const void *y) {
  const heavy *a = x, *b = y;
  double l = a->cost * (double)b->bytes, r = b->cost * (double)a->bytes;
  if (l != r) return l > r ? -1 : 1;
  return a->call < b->call ? -1 : 1; /* of equals the first: its region is recomputed last, when least is alive */
}

static void keep_calls(search *s, const choice *best, trial *got, int8_t **save) {
  const mp_trace *t = s->t;
  heavy *h = mp_alloc_array(s->a, t->storage_count + 1, sizeof *h);
  uint32_t n = 0;
  bool *in = mp_alloc(s->a, t->program->call_count + 1);
  for (uint32_t k = 0; k < best->n; k++) memset(in + s->all.at[best->at[k]].first, 1, s->all.at[best->at[k]].end - s->all.at[best->at[k]].first);
  bool *written = mp_alloc(s->a, t->storage_count + 1); /* in place, later: PyTorch refuses to keep those */
  for (uint32_t c = 0; c < t->program->call_count; c++) {
    const mp_call *x = &t->program->calls[c];
    if (x->in_place && x->arg_count && x->args[0].kind == MP_ARG_VAR && t->var_tensor[x->args[0].as.var] >= 0)
      written[t->tensors[t->var_tensor[x->args[0].as.var]].storage] = true;
  }
  for (uint32_t i = 0; i < t->storage_count; i++) {
    const mp_storage *x = &t->storages[i];
    if (x->call < 0 || !in[x->call] || !mp_op_is_heavy(x->op) || !x->bytes || s->cost[x->call] <= 0 || written[i]) continue;
    if (n && h[n - 1].call == (uint32_t)x->call) h[n - 1].bytes += x->bytes;
    else h[n++] = (heavy){(uint32_t)x->call, s->cost[x->call], x->bytes};
  }
  if (n) qsort(h, n, sizeof *h, dear_first);
  int8_t *now = mp_alloc(s->a, t->program->call_count + 1);
  uint32_t lo = 0, hi = n; /* the first lo are kept for sure */
  while (lo < hi && !late(s)) {
    uint32_t mid = (lo + hi + 1) / 2;
    memset(now, 0, t->program->call_count + 1);
    for (uint32_t k = 0; k < mid; k++) now[h[k].call] = 1;
    trial r = attempt(s, best, now);
    if (r.peak <= s->ask->budget) {
      lo = mid;
      if (r.cost < got->cost) *got = r;
    } else {
      hi = mid - 1;
    }
  }
  memset(now, 0, t->program->call_count + 1);
  for (uint32_t k = 0; k < lo; k++) now[h[k].call] = 1;
  for (uint32_t k = lo + 1; k < n && k < lo + 12 && !late(s); k++) { /* smaller ones may still fit behind one that does not */
    now[h[k].call] = 1;
    trial r = attempt(s, best, now);
    if (r.peak <= s->ask->budget && r.cost <= got->cost) *got = r;
    else now[h[k].call] = 0;
  }
  *save = now;
}

/* ---- the whole search ---- */

static const void *make(mp_arena *a, void *arg) {
  search *s = arg;
  s->a = a;
  s->began = clock();
  mp_err err;
  measure_storages(s);
  const mp_plan none = {.invertible = s->ask->invertible, .invertibles = s->ask->invertibles};
  s->inverted_count = mp_plan_regions(a, s->t->program, &none, &s->inverted);
  s->plain = mp_tape_make(a, s->t, s->run, &none, &err);
  s->plain_line = mp_timeline_make(a, s->plain, &err);
  if (!s->plain_line) mp_fail(a, err.code, "%s", err.text);
  s->base = ((double)s->plain_line->flops_forward + (double)s->plain_line->flops_backward) / s->run->accumulate;
  mp_placement *r = mp_alloc(a, sizeof *r);
  r->timeline = s->plain_line;
  r->tape = s->plain;
  r->feasible = s->plain_line->peak.allocated <= s->ask->budget;
  r->plan = none;
  double inverses = (double)s->plain_line->flops_recompute / s->run->accumulate; /* what every plan recomputes */
  r->overhead = r->bound = inverses / s->base;
  if (r->feasible || !s->t->train) return r;
  find_candidates(s);
  if (s->all.n) qsort(s->all.at, s->all.n, sizeof *s->all.at, by_end);
  r->bound = s->bound = lower_bound(s) + inverses / s->base;
  uint32_t calls = s->t->program->call_count;
  trial plain = {s->plain_line->peak.allocated, inverses};
  record rec = {.best.at = mp_alloc_array(a, 2 * (size_t)calls + 2, sizeof(uint32_t)), .nearest.at = mp_alloc_array(a, 2 * (size_t)calls + 2, sizeof(uint32_t)), .got = plain, .near = plain};
  int8_t *save = NULL;
  s->only_blocks = true; /* of modules, blocks are the first guess */
  by_size(s, &rec);
  if (rec.found) drop_needless(s, &rec.best, &rec.got);
  record sets = rec; /* another place to start from */
  sets.best.at = mp_alloc_array(a, calls + 1, sizeof(uint32_t));
  copy_choice(&sets.best, &rec.best);
  by_modules(s, &sets);
  rec.nearest = sets.nearest;
  rec.near = sets.near;
  if (sets.found && (!rec.found || sets.got.cost < rec.got.cost)) {
    drop_needless(s, &sets.best, &sets.got);
    rec = sets;
  }
  s->only_blocks = false;
  if (s->ask->granularity == MP_BY_MODULES) {
    record any = {.best.at = mp_alloc_array(a, calls + 1, sizeof(uint32_t)), .nearest.at = rec.nearest.at, .nearest.n = rec.nearest.n, .got = plain, .near = rec.near};
    by_size(s, &any);
    rec.nearest = any.nearest;
    if (any.found) drop_needless(s, &any.best, &any.got);
    if (any.found && (!rec.found || any.got.cost < rec.got.cost)) {
      rec.best = any.best;
      rec.got = any.got;
      rec.found = true;
    }
  }
  if (!rec.found && s->ask->granularity == MP_BY_MODULES) {
    by_nesting(s, &rec);
    if (rec.found) drop_needless(s, &rec.best, &rec.got);
  }
  r->feasible = rec.found;
  choice best = rec.best;
  trial got = rec.got;
  if (r->feasible) {
    if (s->ask->granularity == MP_BY_CALLS) {
      choice wide = {mp_alloc_array(a, calls + 1, sizeof(uint32_t)), 0};
      priced(s, price_of_all(s), false, &wide); /* every block, each with a policy */
      trial all = attempt(s, &wide, NULL);
      if (all.peak <= s->ask->budget) {
        choice part = {mp_alloc_array(a, calls + 1, sizeof(uint32_t)), 0};
        copy_choice(&part, &best);
        trial partly = got;
        int8_t *save_part = NULL;
        keep_calls(s, &part, &partly, &save_part);
        keep_calls(s, &wide, &all, &save);
        if (partly.cost < all.cost) {
          save = save_part;
          got = partly;
        } else {
          copy_choice(&best, &wide);
          got = all;
        }
      } else {
        keep_calls(s, &best, &got, &save);
      }
    } else if (s->ask->granularity == MP_BY_MODULES) {
      exchange(s, &best, &got);
    }
  }
  r->plan = plan_of(a, s, r->feasible ? &best : &rec.nearest, save);
  r->tape = mp_tape_make(a, s->t, s->run, &r->plan, &err);
  r->timeline = mp_timeline_make(a, r->tape, &err);
  if (!r->timeline) mp_fail(a, err.code, "%s", err.text);
  r->overhead = (double)r->timeline->flops_recompute / s->run->accumulate / s->base;
  if (r->bound > r->overhead && r->feasible) r->bound = r->overhead; /* rounding */
  r->tried = s->tried;
  r->stopped = s->out_of_time;
  return r;
}

const mp_placement *mp_placement_make(mp_arena *a, const mp_trace *t, const mp_run *run, const mp_search *ask, mp_err *err) {
  if (!t || !run || !ask) return NULL;
  search s = {.t = t, .run = run, .ask = ask, .cap = UINT64_MAX};
  return mp_protect(a, err, make, &s);
}
