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
  uint32_t *nodes;
  size_t n;
  double cost;
} best;

static void keep(mp_arena *a, best *b, const seq *s, const search *x) {
  if (mp_seq_peak(s) > x->budget || s->cost >= b->cost) return;
  b->nodes = mp_seq_nodes(a, s, &b->n);
  b->cost = s->cost;
}

/* compute and free steps of a sequence of nodes: a value is freed after its last use before it is computed again */
static void write_steps(mp_arena *a, const rgraph *g, const best *b, mp_remat_result *r) {
  size_t *last = mp_alloc_array(a, b->n, sizeof *last); /* by event: index of the last event that reads it */
  size_t *now = mp_alloc_array(a, g->n, sizeof *now), *head = mp_alloc_array(a, b->n, sizeof *head), *next = mp_alloc_array(a, b->n, sizeof *next);
  for (size_t i = 0; i < b->n; i++) {
    uint32_t v = b->nodes[i];
    for (uint32_t k = g->in_at[v]; k < g->in_at[v + 1]; k++) last[now[g->in[k]]] = i;
    now[v] = last[i] = i;
    head[i] = SIZE_MAX;
  }
  for (size_t i = b->n; i-- > 0;) next[i] = head[last[i]], head[last[i]] = i;
  mp_remat_step *steps = mp_alloc_array(a, b->n * 2, sizeof *steps);
  int64_t mem = 0, peak = 0;
  double cost = 0;
  for (size_t i = 0; i < b->n; i++) {
    steps[r->n_steps++] = (mp_remat_step){MP_REMAT_COMPUTE, b->nodes[i]};
    cost += g->cost[b->nodes[i]];
    mem += g->bytes[b->nodes[i]];
    if (mem > peak) peak = mem;
    for (size_t d = head[i]; d != SIZE_MAX; d = next[d]) {
      mem -= g->bytes[b->nodes[d]];
      steps[r->n_steps++] = (mp_remat_step){MP_REMAT_FREE, b->nodes[d]};
    }
  }
  r->steps = steps;
  r->cost = cost;
  r->peak = (uint64_t)peak;
}

static uint32_t *base_nodes(mp_arena *a, const rgraph *g) {
  uint32_t *nodes = mp_alloc_array(a, g->n, sizeof *nodes);
  for (uint32_t v = 0; v < g->n; v++) nodes[v] = v;
  return nodes;
}

static void search_all(mp_arena *a, const rgraph *g, cover *c, int64_t budget, const mp_remat_options *opt, rclock *clock, best *b) {
  uint32_t *base = base_nodes(a, g);
  for (int way = 0; way < 2; way++) {
    search x;
    mp_search_open(&x, a, g, budget, 7 + (uint64_t)way);
    x.clock = clock;
    x.s = mp_seq_make(a, g, base, g->n);
    if (!way) mp_search_break(&x, c);
    if (!mp_search_repair(&x, 0, 4 * g->n + 50)) continue;
    mp_search_trim(&x);
    keep(a, b, x.s, &x);
    if (!opt->no_search) mp_search_improve(&x, g->base_cost + c->lower, 100000, clock);
    keep(a, b, x.s, &x);
    clock->cost = b->cost;
  }
}

static const void *solve(mp_arena *a, void *arg) {
  const job *j = arg;
  rgraph *g = mp_rgraph_make(a, j->in);
  mp_remat_result *r = mp_alloc(a, sizeof *r);
  int64_t budget = j->budget > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)j->budget;
  *r = (mp_remat_result){.budget = j->budget, .base_peak = (uint64_t)g->base_peak, .least = (uint64_t)g->least, .base_cost = g->base_cost};
  r->bound = g->base_cost;
  rclock clock = {.opt = &j->opt, .limit = j->opt.time_limit > 0 ? j->opt.time_limit : 0.6, .cost = -1, .bound = g->base_cost};
  clock_gettime(CLOCK_MONOTONIC, &clock.start);
  best b = {.cost = INFINITY};
  cover *c = mp_cover_make(a, g, budget, &j->opt);
  if (c->impossible) {
    r->impossible = true;
    r->why = mp_format(a, "no schedule exists: the largest node with its inputs takes %llu bytes", (unsigned long long)g->least);
    return r;
  }
  if (budget >= g->base_peak) {
    b = (best){base_nodes(a, g), g->n, g->base_cost};
  } else {
    mp_cover_solve(c, INFINITY, 200, &clock);
    clock.bound = g->base_cost + c->lower;
    search_all(a, g, c, budget, &j->opt, &clock, &b);
    clock.over = false;
    clock.limit += 0.3;
    if (b.nodes && b.cost > g->base_cost + c->lower) mp_cover_solve(c, b.cost - g->base_cost, 20000, &clock);
    r->bound = g->base_cost + c->lower;
  }
  if (!b.nodes) {
    r->why = "gave up: no schedule found, and no proof that there is none";
    return r;
  }
  r->feasible = true;
  write_steps(a, g, &b, r);
  double slack = 1e-9 * g->base_cost;
  r->optimal = r->cost <= r->bound + slack;
  if (r->optimal) r->bound = r->cost; /* they differ by rounding at most */
  assert(r->bound <= r->cost);
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
  best b = {base_nodes(a, g), g->n, g->base_cost};
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
