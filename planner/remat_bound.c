/* A proved lower bound on the extra cost of any schedule: the least cover of memory peaks by broken gaps.
 *
 * Let u0 = i < u1 < ... < uk be node i and its users. A gap of i is a pair (a, b) = (u_j, u_j+1) with b > a + 1. For a schedule call the gap
 * broken when i is not resident at the first computation of some t with a < t < b.
 *
 * 1. A broken gap costs C_i. i is resident when b is first computed (it is an input of b) and is not when t was: so i is computed
 *    in between, after the first computation of t > a >= i, hence again. Charge this computation to the gap.
 * 2. No computation is charged twice. The charged computation of gap (a, b) lies between the first computations of a and of b. First
 *    computations are in order of index, and the intervals (a, b) of one node's gaps are disjoint; charges of different nodes are
 *    computations of different nodes.
 *    So every schedule costs at least base_cost + the sum of C_i over its broken gaps.
 * 3. At the first computation of t these are resident, and all distinct: t, the inputs of t, and every i with an unbroken gap a < t < b
 *    (i is no input of t, for t would be a use between two consecutive ones). With live(t) = bytes of t, its inputs and all i that have
 *    a gap around t, a schedule within budget B satisfies: the bytes of broken gaps around t sum to at least live(t) - B.
 * 4. What a recomputation needs itself (its inputs resident, and room) only restricts schedules further. Leaving it out, as leaving
 *    out any constraint, allows more vectors y: the minimum of sum C y over 0/1 vectors y that satisfy 3 for all t is at most the
 *    least extra cost of a schedule.
 * 5. The same for relaxing further: y in [0, 1] (linear program); one row only (knapsack); and the Lagrangian
 *    L(lambda) = sum_t lambda_t need_t + sum_gaps min(0, C - M * sum_{t in gap} lambda_t),  lambda >= 0,
 *    since for every feasible y: sum C y >= sum C y + sum_t lambda_t (need_t - sum_gaps M y) >= L(lambda).
 *    Any lambda >= 0 will do, so rounding in the search for lambda costs quality, never truth.
 * 6. All extra costs are multiples of the costs' greatest common divisor: a bound may be rounded up to the next multiple.
 * 7. A gap whose reduced cost |C - M * sum lambda| pushes L beyond a target when it takes the other value has its value in every cover
 *    cheaper than the target: branch and bound fixes it.
 * Gaps of cost 0 count as broken, gaps of no bytes as held. A row that needs more than all its gaps proves that no schedule exists. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/remat_inside.h"

typedef struct ranked {
  double score;
  uint32_t tie, gap;
} ranked;

typedef struct cover_work {
  double *trial, *grad, *price; /* by row; price[t] = sum of lambda before row t */
  double *left;                 /* by row: need less what fixed gaps save */
  double *room;                 /* by row: bytes of free gaps around it */
  uint32_t *trail;              /* fixed gaps in order */
  bool *pick;                   /* by gap: a cover */
  double *top, *plus;           /* segment tree of what rows lack */
  struct ranked *ranked;        /* gaps in order */
  uint32_t n_trail;
  double target;
  uint64_t nodes_left;
  rclock *clock;
  bool stopped;
} cover_work;

/* ---- building ---- */

/* row t implies row t' when its gaps are some of those of t' and its need is no less; neighbours suffice */
static uint32_t keep_rows(mp_arena *a, const uint32_t *starts, const uint32_t *ends, const double *need, uint32_t n, bool all, uint32_t *row_of) {
  uint32_t *stack = mp_alloc_array(a, n, sizeof *stack), top = 0;
  uint32_t *begun = mp_alloc_array(a, (size_t)n + 1, sizeof *begun), *ended = mp_alloc_array(a, (size_t)n + 1, sizeof *ended);
  for (uint32_t t = 0; t < n; t++) begun[t + 1] = begun[t] + starts[t], ended[t + 1] = ended[t] + ends[t];
  for (uint32_t t = 0; t < n; t++) {
    if (need[t] <= 0) continue;
    bool implied = false;
    while (!all && top) {
      uint32_t p = stack[top - 1];
      /* gaps(t) within gaps(p): none starts in (p, t]; gaps(p) within gaps(t): none ends in [p, t) */
      if (begun[t + 1] == begun[p + 1] && need[t] >= need[p])
        top--;
      else {
        implied = ended[t] == ended[p] && need[p] >= need[t];
        break;
      }
    }
    if (!implied) stack[top++] = t;
  }
  uint32_t k = 0;
  for (uint32_t t = 0; t < n; t++) {
    row_of[t] = k; /* rows before t */
    if (k < top && stack[k] == t) k++;
  }
  row_of[n] = k;
  return top;
}

/* gaps that cost something to break and save something; gaps may be NULL to count them */
static uint32_t find_gaps(const rgraph *g, gap *gaps) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < g->n; i++) {
    if (g->bytes[i] <= 0 || g->cost[i] <= 0) continue;
    uint32_t a = i;
    for (uint32_t k = g->out_at[i]; k < g->out_at[i + 1]; a = g->out[k++])
      if (g->out[k] > a + 1) {
        if (gaps) gaps[n] = (gap){.node = i, .from = a, .to = g->out[k], .cost = g->cost[i], .mem = (double)g->bytes[i], .fixed = -1};
        n++;
      }
  }
  return n;
}

static double *find_needs(mp_arena *a, const rgraph *g, int64_t budget, const gap *gaps, uint32_t n_gaps) {
  int64_t *step = mp_alloc_array(a, (size_t)g->n + 1, sizeof *step), now = 0;
  double *need = mp_alloc_array(a, g->n, sizeof *need);
  for (uint32_t k = 0; k < n_gaps; k++) step[gaps[k].from + 1] += (int64_t)gaps[k].mem, step[gaps[k].to] -= (int64_t)gaps[k].mem;
  for (uint32_t t = 0; t < g->n; t++) {
    now += step[t];
    int64_t live = now + g->bytes[t];
    for (uint32_t k = g->in_at[t]; k < g->in_at[t + 1]; k++) live += g->bytes[g->in[k]];
    need[t] = (double)(live - budget);
  }
  return need;
}

/* what is left to save, and what the free gaps can save, by row */
static void settle(cover *c) {
  cover_work *w = c->work;
  memset(w->left, 0, (c->n_rows + 1) * sizeof *w->left);
  memset(w->room, 0, (c->n_rows + 1) * sizeof *w->room);
  for (uint32_t k = 0; k < c->n_gaps; k++) {
    const gap *x = &c->gaps[k];
    double *at = x->fixed < 0 ? w->room : w->left, sign = x->fixed < 0 ? 1 : -1;
    if (x->fixed != 0) at[x->lo] += sign * x->mem, at[x->hi] -= sign * x->mem;
  }
  for (uint32_t r = 0; r < c->n_rows; r++) {
    w->left[r + 1] += w->left[r];
    w->room[r + 1] += w->room[r];
  }
  for (uint32_t r = 0; r < c->n_rows; r++) w->left[r] += c->need[r];
}

cover *mp_cover_make(mp_arena *a, const rgraph *g, int64_t budget, const mp_remat_options *opt) {
  cover *c = mp_alloc(a, sizeof *c);
  c->arena = a;
  c->opt = opt;
  c->unit = opt->no_rounding ? 0 : g->unit;
  c->tol = 1e-10 * (g->base_cost > 0 ? g->base_cost : 1);
  c->impossible = g->least > budget;
  if (c->impossible) return c;
  uint32_t n = g->n, all = find_gaps(g, NULL);
  c->gaps = mp_alloc_array(a, all, sizeof *c->gaps);
  find_gaps(g, c->gaps);
  double *need = find_needs(a, g, budget, c->gaps, all);
  uint32_t *starts = mp_alloc_array(a, n, sizeof *starts), *ends = mp_alloc_array(a, n, sizeof *ends);
  uint32_t *row_of = c->row_of = mp_alloc_array(a, (size_t)n + 1, sizeof *row_of);
  for (uint32_t k = 0; k < all; k++) starts[c->gaps[k].from + 1]++, ends[c->gaps[k].to - 1]++;
  c->n_rows = keep_rows(a, starts, ends, need, n, opt->no_rows, row_of);
  c->need = mp_alloc_array(a, (size_t)c->n_rows + 1, sizeof *c->need);
  for (uint32_t t = 0; t < n; t++)
    if (row_of[t + 1] > row_of[t]) c->need[row_of[t]] = need[t];
  for (uint32_t k = 0; k < all; k++) {
    gap x = c->gaps[k];
    x.lo = row_of[x.from + 1], x.hi = row_of[x.to];
    if (x.lo < x.hi) c->gaps[c->n_gaps++] = x;
  }
  c->upper = INFINITY;
  cover_work *w = c->work = mp_alloc(a, sizeof *w);
  size_t rows = (size_t)c->n_rows + 1;
  double **by_row[] = {&c->lambda, &w->trial, &w->grad, &w->price, &w->left, &w->room};
  for (size_t k = 0; k < sizeof by_row / sizeof *by_row; k++) *by_row[k] = mp_alloc_array(a, rows, sizeof **by_row[k]);
  w->top = mp_alloc_array(a, 4 * rows, sizeof *w->top);
  w->plus = mp_alloc_array(a, 4 * rows, sizeof *w->plus);
  w->ranked = mp_alloc_array(a, c->n_gaps, sizeof *w->ranked);
  w->trail = mp_alloc_array(a, c->n_gaps, sizeof *w->trail);
  w->pick = mp_alloc_array(a, c->n_gaps, sizeof *w->pick);
  settle(c);
  return c;
}

/* ---- the Lagrangian ---- */

/* L(lambda) over the free gaps, fixed ones counted; its supergradient in work.grad */
static double evaluate(cover *c, const double *lambda) {
  cover_work *w = c->work;
  double value = 0;
  w->price[0] = 0;
  memset(w->grad, 0, (c->n_rows + 1) * sizeof *w->grad);
  for (uint32_t r = 0; r < c->n_rows; r++) {
    w->price[r + 1] = w->price[r] + lambda[r];
    value += lambda[r] * w->left[r];
  }
  for (uint32_t k = 0; k < c->n_gaps; k++) {
    const gap *x = &c->gaps[k];
    if (x->fixed >= 0) {
      if (x->fixed) value += x->cost;
      continue;
    }
    double rc = x->cost - x->mem * (w->price[x->hi] - w->price[x->lo]);
    if (rc < 0) value += rc, w->grad[x->lo] -= x->mem, w->grad[x->hi] += x->mem;
  }
  for (uint32_t r = 0; r < c->n_rows; r++) {
    w->grad[r + 1] += w->grad[r];
    w->grad[r] += w->left[r];
  }
  return value;
}

double mp_cover_round(const cover *c, double bound) {
  if (bound <= 0) return 0;
  if (c->unit <= 0) return bound;
  return ceil((bound - c->tol) / c->unit - 1e-6) * c->unit;
}

/* no cover cheaper than target has a cost of value or more */
static bool beats(const cover *c, double value, double target) { return mp_cover_round(c, value) >= target - c->tol; }

/* Polyak steps towards target; the best multipliers stay in c->lambda. Returns the best L. */
static double ascend(cover *c, double target, uint32_t rounds) {
  cover_work *w = c->work;
  size_t size = c->n_rows * sizeof *w->trial;
  memcpy(w->trial, c->lambda, size);
  double best = evaluate(c, w->trial), value = best, pace = 1;
  uint32_t stale = 0;
  for (uint32_t k = 0; k < rounds && !beats(c, best, target); k++) {
    double norm = 0, aim = target;
    for (uint32_t r = 0; r < c->n_rows; r++)
      if (w->grad[r] > 0 || w->trial[r] > 0) norm += w->grad[r] * w->grad[r];
    if (norm <= 0) break;
    if (!isfinite(aim)) aim = value + 0.05 * fabs(value) + c->tol * 1e6;
    double step = pace * (aim - value) / norm;
    if (step <= 0) step = pace * 0.01 * fabs(value) / norm;
    for (uint32_t r = 0; r < c->n_rows; r++) w->trial[r] = fmax(0, w->trial[r] + step * w->grad[r]);
    value = evaluate(c, w->trial);
    if (value > best + 1e-12 * fabs(best)) {
      best = value, stale = 0;
      memcpy(c->lambda, w->trial, size);
    } else if (++stale >= 8) {
      pace *= 0.6, stale = 0;
      memcpy(w->trial, c->lambda, size);
      value = evaluate(c, w->trial);
      if (pace < 1e-4) break;
    }
  }
  return best;
}

/* ---- covers from multipliers ---- */

/* What rows lack, as a segment tree over rows a .. b - 1: top[k] is the most in k's range, plus[k] was added to all of it. */
static void plant(cover_work *w, uint32_t k, uint32_t a, uint32_t b) {
  w->plus[k] = 0;
  if (b - a == 1) {
    w->top[k] = w->left[a];
    return;
  }
  plant(w, 2 * k, a, (a + b) / 2);
  plant(w, 2 * k + 1, (a + b) / 2, b);
  w->top[k] = fmax(w->top[2 * k], w->top[2 * k + 1]);
}

static void add_lack(cover_work *w, uint32_t k, uint32_t a, uint32_t b, const gap *x, double d) {
  if (x->lo >= b || x->hi <= a) return;
  w->top[k] += d;
  if (x->lo <= a && b <= x->hi) {
    w->plus[k] += d;
    return;
  }
  add_lack(w, 2 * k, a, (a + b) / 2, x, d);
  add_lack(w, 2 * k + 1, (a + b) / 2, b, x, d);
  w->top[k] = fmax(w->top[2 * k], w->top[2 * k + 1]) + w->plus[k];
}

static double most_lack(const cover_work *w, uint32_t k, uint32_t a, uint32_t b, const gap *x) {
  if (x->lo >= b || x->hi <= a) return -INFINITY;
  if (x->lo <= a && b <= x->hi) return w->top[k];
  return w->plus[k] + fmax(most_lack(w, 2 * k, a, (a + b) / 2, x), most_lack(w, 2 * k + 1, (a + b) / 2, b, x));
}

static int by_score(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->score < y->score || x->score > y->score) return x->score < y->score ? -1 : 1;
  return (x->tie > y->tie) - (x->tie < y->tie);
}

/* Breaks gaps, least reduced cost a byte first, until every row has what it needs; then takes back what is not needed, most of it first.
 * Keeps the cheapest cover found. Equal gaps are taken scattered: runs of recomputations need more room. */
static void round_off(cover *c) {
  cover_work *w = c->work;
  uint32_t n = c->n_gaps, rows = c->n_rows;
  double cost = 0;
  evaluate(c, c->lambda);
  plant(w, 1, 0, rows);
  for (uint32_t k = 0; k < n; k++) {
    gap *x = &c->gaps[k];
    x->reduced = x->cost - x->mem * (w->price[x->hi] - w->price[x->lo]);
    w->pick[k] = x->fixed == 1;
    if (x->fixed == 1) cost += x->cost;
    w->ranked[k] = (ranked){x->reduced / x->mem, k * 2654435769u, k};
  }
  qsort(w->ranked, n, sizeof *w->ranked, by_score);
  for (uint32_t i = 0; i < n && w->top[1] > 0; i++) {
    gap *x = &c->gaps[w->ranked[i].gap];
    if (x->fixed >= 0 || most_lack(w, 1, 0, rows, x) <= 0) continue;
    w->pick[w->ranked[i].gap] = true;
    cost += x->cost;
    add_lack(w, 1, 0, rows, x, -x->mem);
  }
  if (w->top[1] > 0) return; /* the fixed gaps leave no cover */
  for (uint32_t i = n; i-- > 0;) {
    uint32_t k = w->ranked[i].gap;
    gap *x = &c->gaps[k];
    if (!w->pick[k] || x->fixed >= 0 || most_lack(w, 1, 0, rows, x) + x->mem > 0) continue;
    w->pick[k] = false;
    cost -= x->cost;
    add_lack(w, 1, 0, rows, x, x->mem);
  }
  if (cost >= c->upper) return;
  c->upper = cost;
  for (uint32_t k = 0; k < n; k++) c->gaps[k].broken = w->pick[k];
}

/* ---- branch and bound ---- */

static void set_gap(cover *c, uint32_t k, int8_t value) {
  c->gaps[k].fixed = value;
  c->work->trail[c->work->n_trail++] = k;
}

static bool reachable(const cover *c) {
  const cover_work *w = c->work;
  for (uint32_t r = 0; r < c->n_rows; r++)
    if (w->left[r] > w->room[r]) return false;
  return true;
}

/* fixes what no cover cheaper than the target can have otherwise; false: there is no such cover */
static bool fix_gaps(cover *c, double value) {
  cover_work *w = c->work;
  uint32_t before = w->n_trail;
  for (uint32_t k = 0; k < c->n_gaps; k++) {
    gap *x = &c->gaps[k];
    if (x->fixed >= 0) continue;
    double rc = x->cost - x->mem * (w->price[x->hi] - w->price[x->lo]);
    if (beats(c, value + fabs(rc), w->target)) set_gap(c, k, rc < 0);
  }
  if (w->n_trail > before) settle(c);
  return reachable(c);
}

static uint32_t pick_branch(const cover *c) {
  const cover_work *w = c->work;
  uint32_t best = NONE;
  double score = INFINITY;
  for (uint32_t k = 0; k < c->n_gaps; k++) {
    const gap *x = &c->gaps[k];
    if (x->fixed >= 0) continue;
    double rc = fabs(x->cost - x->mem * (w->price[x->hi] - w->price[x->lo])) / x->cost;
    if (rc < score) score = rc, best = k;
  }
  return best;
}

static void branch(cover *c, uint32_t depth) {
  cover_work *w = c->work;
  if (!w->nodes_left || mp_rclock_over(w->clock)) {
    w->stopped = true;
    return;
  }
  w->nodes_left--;
  settle(c);
  if (!reachable(c)) return;
  uint32_t mark = w->n_trail;
  double value = 0;
  for (int round = 0; round < 4; round++) {
    value = ascend(c, w->target, depth ? 25 : 200);
    if (beats(c, value, w->target)) goto leave;
    round_off(c);
    w->target = fmin(w->target, c->upper);
    value = evaluate(c, c->lambda);
    if (beats(c, value, w->target)) goto leave;
    uint32_t fixed = w->n_trail;
    if (!c->opt->no_fixing && !fix_gaps(c, value)) goto leave;
    if (w->n_trail - fixed < 3) break;
  }
  evaluate(c, c->lambda);
  uint32_t k = pick_branch(c);
  if (k != NONE) {
    double rc = c->gaps[k].cost - c->gaps[k].mem * (w->price[c->gaps[k].hi] - w->price[c->gaps[k].lo]);
    int8_t first = rc < 0;
    for (int side = 0; side < 2 && !w->stopped; side++) {
      uint32_t inner = w->n_trail;
      set_gap(c, k, side ? !first : first);
      branch(c, depth + 1);
      while (w->n_trail > inner) c->gaps[w->trail[--w->n_trail]].fixed = -1;
    }
  }
leave:
  while (w->n_trail > mark) c->gaps[w->trail[--w->n_trail]].fixed = -1;
}

void mp_cover_relax(cover *c, double target, uint32_t rounds) {
  if (c->impossible || !c->n_rows) return;
  settle(c);
  double value = mp_cover_round(c, ascend(c, target, rounds));
  if (value > c->lower) c->lower = value;
  evaluate(c, c->lambda);
  for (uint32_t k = 0; k < c->n_gaps; k++) {
    gap *x = &c->gaps[k];
    x->reduced = x->cost - x->mem * (c->work->price[x->hi] - c->work->price[x->lo]);
  }
}

void mp_cover_solve(cover *c, double target, uint64_t nodes, rclock *clock) {
  if (c->impossible || !c->n_rows) {
    c->exact = !c->impossible;
    return;
  }
  cover_work *w = c->work;
  mp_cover_relax(c, fmin(target, c->upper), 400);
  round_off(c);
  w->target = fmin(target, c->upper);
  w->nodes_left = nodes;
  w->clock = clock;
  w->stopped = false;
  w->n_trail = 0;
  branch(c, 0);
  if (!w->stopped) { /* nothing is cheaper than the target */
    c->exact = c->upper <= target;
    if (w->target > c->lower) c->lower = w->target;
  }
}
