/* Solve: bound, seeds, search, bound again with the schedule's cost as the target. */
#include "planner/remat.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "planner/remat_inside.h"

typedef struct job {
  const mp_remat *in;
  uint64_t budget;
  mp_remat_options opt;
} job;

typedef struct best {
  list nodes; /* none: n = 0 */
  double cost;
} best;

static void keep(best *b, const seq *s, const search *x) {
  if (mp_seq_peak(s) > x->budget || s->cost >= b->cost) return;
  mp_seq_save(s, &b->nodes);
  b->cost = s->cost;
}

/* compute and free steps of a sequence of nodes: a value is freed after its last use before it is computed again */
static void write_steps(mp_arena *a, const rgraph *g, const best *b, mp_remat_result *r) {
  size_t *last = mp_alloc_array(a, b->nodes.n, sizeof *last); /* by event: index of the last event that reads it */
  size_t *now = mp_alloc_array(a, g->n, sizeof *now), *head = mp_alloc_array(a, b->nodes.n, sizeof *head),
         *next = mp_alloc_array(a, b->nodes.n, sizeof *next);
  for (size_t i = 0; i < b->nodes.n; i++) {
    uint32_t v = b->nodes.at[i];
    for (uint32_t k = g->in_at[v]; k < g->in_at[v + 1]; k++) last[now[g->in[k]]] = i;
    now[v] = last[i] = i;
    head[i] = SIZE_MAX;
  }
  for (size_t i = b->nodes.n; i-- > 0;) next[i] = head[last[i]], head[last[i]] = i;
  mp_remat_step *steps = mp_alloc_array(a, b->nodes.n * 2, sizeof *steps);
  int64_t mem = 0, peak = 0;
  double cost = 0;
  for (size_t i = 0; i < b->nodes.n; i++) {
    steps[r->n_steps++] = (mp_remat_step){MP_REMAT_COMPUTE, b->nodes.at[i]};
    cost += g->cost[b->nodes.at[i]];
    mem += g->bytes[b->nodes.at[i]];
    if (mem > peak) peak = mem;
    for (size_t d = head[i]; d != SIZE_MAX; d = next[d]) {
      mem -= g->bytes[b->nodes.at[d]];
      steps[r->n_steps++] = (mp_remat_step){MP_REMAT_FREE, b->nodes.at[d]};
    }
  }
  r->steps = steps;
  r->cost = cost;
  r->peak = (uint64_t)peak;
}

static list base_nodes(mp_arena *a, const rgraph *g) {
  list nodes = {.at = mp_alloc_array(a, g->n, sizeof *nodes.at), .cap = g->n};
  for (; nodes.n < g->n; nodes.n++) nodes.at[nodes.n] = nodes.n;
  return nodes;
}

/* under a second for what can be done in it; instances whose gap is rarely closed get more. The first schedule may take `grace` times that. */
static double default_limit(uint32_t n) { return n < 800 || n > 5000 ? 0.45 : 1.8; }
static double grace(uint32_t n) { return n < 800 ? 1.5 : n > 5000 ? 10 : 1.4; }

typedef struct hunt {
  mp_arena *arena;
  const rgraph *g;
  cover *c;
  int64_t budget;
  const mp_remat_options *opt;
  rclock *clock;
  double time;  /* for all of the search */
  double lower; /* proved: the least extra cost */
  best best;
  bool impossible;
} hunt;

static void start(hunt *h, search *x, const list *nodes) {
  mp_search_open(x, h->arena, h->g, h->budget, 7);
  x->clock = h->clock;
  x->s = mp_seq_make(h->arena, h->g, nodes);
}

/* a clock that runs out after this share of the whole time, so that what comes next has some left */
static rclock share(const hunt *h, double part) { return mp_rclock_part(h->clock, part * h->time); }

/* repaired and trimmed, if it can be */
static void try_seed(hunt *h, search *x) {
  rclock part = share(h, 0.15);
  x->clock = &part;
  if (mp_search_repair(x, 0, 4 * h->g->n + 50)) {
    mp_search_trim(x);
    keep(&h->best, x->s, x);
  }
  x->clock = h->clock;
  h->clock->cost = h->best.cost;
}

static bool done(const hunt *h) { return h->impossible || h->best.cost <= (h->g->base_cost + h->lower) * (1 + 1e-9); }

static void seed_from_bound(hunt *h, const list *base, bool from_cover) {
  search x;
  start(h, &x, base);
  if (from_cover) mp_search_break(&x, h->c);
  try_seed(h, &x);
}

static void seed_from_eviction(hunt *h, mp_evict_way way, size_t limit, const uint64_t *ancestors) {
  list out = {0};
  rclock part = share(h, ancestors ? 0.5 : 0.1);
  mp_evict_end end = mp_evict(h->arena, h->g, h->budget, way, limit, ancestors, &part, &out);
  if (end == MP_EVICT_IMPOSSIBLE) h->impossible = true;
  if (end != MP_EVICT_DONE) return;
  search x;
  start(h, &x, &out);
  try_seed(h, &x);
}

/* From the base sequence down to the budget in steps, repaired and improved at each: a small excess is repaired far more cheaply than a
 * large one. */
static void seed_by_lowering(hunt *h, const list *base) {
  search x;
  rclock part = share(h, h->best.cost < (h->g->base_cost + h->lower) * 1.1 ? 0.3 : 0.7);
  start(h, &x, base);
  double step = 0.02;
  list good = {0};
  mp_seq_save(x.s, &good);
  for (int64_t level = mp_seq_peak(x.s); level > h->budget && step > 0.002 && !mp_rclock_over(&part);) {
    x.clock = &part;
    x.budget = level - 1 - (int64_t)(step * (double)h->g->base_peak);
    if (x.budget < h->budget) x.budget = h->budget;
    bool fits = mp_search_repair(&x, 0, 200);
    for (int tries = 0; !fits && tries < 4; tries++) {
      mp_seq_load(x.s, &good);
      fits = mp_search_repair(&x, 0.5, 200);
    }
    if (!fits) {
      step /= 2;
      mp_seq_load(x.s, &good);
      continue;
    }
    mp_search_trim(&x);
    mp_search_improve(&x, h->g->base_cost, 60, false, &part);
    level = x.budget;
    mp_seq_save(x.s, &good);
  }
  x.clock = h->clock;
  x.budget = h->budget;
  keep(&h->best, x.s, &x);
  h->clock->cost = h->best.cost;
}

static void seed_from_chain(hunt *h, bool lean) {
  list out = {0};
  if (h->opt->no_chain || !mp_chain(h->arena, h->g, h->budget, lean, &out)) return;
  search x;
  start(h, &x, &out);
  try_seed(h, &x);
}

static void find_first(hunt *h, const list *base) {
  enum { SMALL = 3000 }; /* eviction looks at every node for every value it evicts */
  static const mp_evict_way ways[] = {{1, 1, 1}, {1, 1, 0.5}, {0.5, 1, 1}, {0, 1, 1}, {1, 0.5, 1}, {0, 0, 1}};
  enum { WAYS = sizeof ways / sizeof *ways };
  const rgraph *g = h->g;
  seed_from_bound(h, base, true);
  for (size_t k = 0; k < 2 && g->n <= SMALL && !done(h); k++) seed_from_eviction(h, ways[k], 6 * (size_t)g->n + 1000, NULL);
  if (h->best.cost > (g->base_cost + h->lower) * 1.005) { /* a tight budget, perhaps */
    seed_from_chain(h, false);
    if (h->budget > 200) seed_from_chain(h, true);
  }
  if (!done(h)) seed_from_bound(h, base, false);
  if (!done(h) && g->n <= SMALL) seed_by_lowering(h, base);
  for (size_t k = 2; k < WAYS && g->n <= SMALL && !h->best.nodes.n; k++) seed_from_eviction(h, ways[k], 6 * (size_t)g->n + 1000, NULL);
  if (h->best.nodes.n || g->n > SMALL) return;
  const uint64_t *ancestors = mp_scratch_ancestors(h->arena, g);
  for (size_t k = 0; k < WAYS && !done(h) && !h->best.nodes.n; k++) seed_from_eviction(h, ways[k], 60 * (size_t)g->n + 1000, ancestors);
}

/* the bounds again, with the schedule's cost as a target; each has a time of its own */
static void raise_bound(hunt *h, double time, uint32_t rounds, uint64_t nodes) {
  cover *c = h->c;
  double extra = h->best.cost - h->g->base_cost;
  if (!h->best.nodes.n || done(h)) return;
  if (!h->opt->no_closure) {
    mp_rclock_extend(h->clock, time);
    h->lower = fmax(h->lower, mp_cover_round(c, mp_tail_bound(h->arena, h->g, c, h->budget, extra, rounds, h->clock)));
  }
  if (nodes && !c->exact && !done(h)) {
    mp_rclock_extend(h->clock, time);
    mp_cover_solve(c, extra, nodes, h->clock);
    h->lower = fmax(h->lower, c->lower);
  }
  h->clock->bound = h->g->base_cost + h->lower;
}

static void search_all(hunt *h) {
  const rgraph *g = h->g;
  rclock whole = *h->clock;
  if (h->opt->time_limit <= 0) {
    h->time *= grace(g->n);
    mp_rclock_extend(h->clock, h->time);
  }
  list base = base_nodes(h->arena, g);
  find_first(h, &base);
  raise_bound(h, 0.1 * h->time, 40, 0);
  h->clock->cpu_end = whole.cpu_end;
  h->clock->wall_end = whole.wall_end;
  h->clock->over = false;
  bool near = h->best.cost <= (g->base_cost + h->lower) * 1.005;
  if (near && h->opt->time_limit <= 0) *h->clock = mp_rclock_part(h->clock, default_limit(0)); /* little is left to gain */
  if (!h->best.nodes.n || h->opt->no_search || done(h)) return;
  search x;
  start(h, &x, &h->best.nodes);
  mp_search_improve(&x, g->base_cost + h->lower, NONE, h->opt->time_limit > 0, h->clock);
  keep(&h->best, x.s, &x);
  h->clock->cost = h->best.cost;
}

static const void *solve(mp_arena *a, void *arg) {
  const job *j = arg;
  rgraph *g = mp_rgraph_make(a, j->in);
  mp_remat_result *r = mp_alloc(a, sizeof *r);
  int64_t budget = j->budget > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)j->budget;
  *r = (mp_remat_result){.budget = j->budget, .base_peak = (uint64_t)g->base_peak, .least = (uint64_t)g->least, .base_cost = g->base_cost};
  r->bound = g->base_cost;
  double time = j->opt.time_limit > 0 ? 0.8 * j->opt.time_limit : default_limit(j->in->n);
  rclock clock = {.opt = &j->opt, .patience = j->opt.time_limit > 0 ? 1 : 1.25, .cost = -1, .bound = g->base_cost};
  mp_rclock_start(&clock, time);
  best b = {.cost = INFINITY};
  cover *c = mp_cover_make(a, g, budget, &j->opt);
  if (c->impossible) {
    r->impossible = true;
    r->why = mp_format(a, "no schedule exists: the largest node with its inputs takes %llu bytes", (unsigned long long)g->least);
    return r;
  }
  if (budget >= g->base_peak) {
    b = (best){base_nodes(a, g), g->base_cost};
  } else {
    mp_cover_solve(c, INFINITY, c->n_gaps < 2000 ? 200 : c->n_gaps < 20000 ? 10 : 1, &clock);
    hunt h = {a, g, c, budget, &j->opt, &clock, time, c->lower, b, false};
    clock.bound = g->base_cost + c->lower;
    search_all(&h);
    b = h.best;
    r->impossible = h.impossible;
    double more = j->opt.time_limit > 0 ? 0.1 * j->opt.time_limit : g->n < 800 || g->n > 5000 ? 0.1 : 0.4;
    raise_bound(&h, more, 400, 20000);
    r->bound = g->base_cost + h.lower;
  }
  if (!b.nodes.n) {
    r->why = r->impossible ? "no schedule exists: some node cannot be computed within the budget, whatever is freed"
                           : "gave up: no schedule found, and no proof that there is none";
    return r;
  }
  r->feasible = true;
  write_steps(a, g, &b, r);
  double slack = 1e-9 * g->base_cost;
  assert(r->bound <= r->cost + slack);
  r->optimal = r->cost <= r->bound + slack;
  if (r->optimal) r->bound = r->cost; /* they differ by rounding at most */
  return r;
}

const mp_remat_result *mp_remat_solve(mp_arena *a, const mp_remat *in, uint64_t budget, const mp_remat_options *opt, mp_err *err) {
  if (!in) return NULL;
  job j = {.in = in, .budget = budget};
  if (opt) j.opt = *opt;
  return mp_protect(a, err, solve, &j);
}

static const void *measure_base(mp_arena *a, void *arg) {
  rgraph *g = mp_rgraph_make(a, arg);
  best b = {base_nodes(a, g), g->base_cost};
  mp_remat_result *r = mp_alloc(a, sizeof *r);
  *r = (mp_remat_result){.feasible = true, .optimal = true, .budget = (uint64_t)g->base_peak, .base_peak = (uint64_t)g->base_peak};
  r->least = (uint64_t)g->least;
  r->base_cost = r->bound = g->base_cost;
  write_steps(a, g, &b, r);
  return r;
}

const mp_remat_result *mp_remat_base(mp_arena *a, const mp_remat *in, mp_err *err) {
  return in ? mp_protect(a, err, measure_base, (void *)(uintptr_t)in) : NULL;
}
