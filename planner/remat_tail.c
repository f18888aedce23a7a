/* A stronger lower bound: a recomputation must have its inputs, and an input that is dead by then was kept past its last use or is computed
 * again itself.
 *
 * Notation: rows t carry prices lambda_t >= 0; P(x, s) is the sum of lambda_t over x < t < s; "stage s" is what happens between the first
 * computations of s - 1 and s. L_k is the last use of node k, and its tail what happens to it after that.
 *
 * 1. Take any schedule within the budget. For every gap g = (i, a, b) let E_g be C_i times the number of computations of i between the
 *    first computations of a and b, plus M_i lambda_t over the rows t in (a, b) at which i is resident. For every node k let E_k be C_k times
 *    the number of its computations after the first computation of L_k, plus M_k lambda_t over the rows t > L_k at which it is resident.
 *    Windows of one node are disjoint, so the E count every recomputation once at most, and every row's memory beyond t and
 *    its inputs exactly. The memory at t is at most B; so
 *      extra cost >= extra cost + sum_t lambda_t (memory at t - B) >= sum_t lambda_t (bytes of t and its inputs - B) + sum E_g + sum E_k.
 * 2. Let k be resident at some moment of stage s > L_k. Either it was held all the time: E_k >= M_k P(L_k, s). Or it was computed
 *    last in a stage s' <= s, and its inputs were resident then: E_k >= C_k + M_k P(s' - 1, s), and each input m with L_m < s' was resident
 *    in stage s' of its own tail. Shares w(m, c) >= 0 of m's tail, over its consumers c (gaps and tails of m's users) with sum at most 1, give
 *      T_k(s) = min( M_k P(L_k, s), min over s' <= s of C_k + M_k P(s' - 1, s) + sum_m w(m, k) T_m(s') ),   T_m(s) = 0 for s <= L_m.
 *    Likewise for a gap: i is held throughout, or computed last in a stage s of the window, then held to b:
 *      D_g = min( M_i P(a, b), min over s of C_i + M_i P(s - 1, b) + sum_m w(m, g) T_m(s) ).
 * 3. sum D_g <= sum E_g + sum E_k. By 2 a gap has D_g <= E_g + sum_m w(m, g) T_m(s_g). The terms with T_m, from gaps and tails that
 *    really use m in stages s_c, sum to at most sum_c w(m, c) max_c T_m(s_c) <= max_c T_m(s_c), and by 2 this is at most E_m plus shares of m's
 *    inputs' tails at the stage in which m was computed. Take m in decreasing order: each E_m is used once, and what is left are
 *    smaller nodes' tails.
 * So L = sum_t lambda_t need_t + sum_g (D_g - M_i P(a, b)) is a lower bound for all lambda >= 0 and all shares, where need_t counts all gaps as held.
 * Without shares (w = 0) it is the Lagrangian of remat_bound.c. Both are improved by ascent along supergradients; any values do. */
#include <math.h>
#include <string.h>

#include "planner/remat_inside.h"

#define HELD UINT16_MAX

typedef struct tgap {
  uint32_t node, lo, hi; /* rows lo .. hi - 1 lie inside */
  uint32_t share;        /* its shares start here, one an input of node */
  uint32_t pick;         /* the chosen stage, as rows before it; HELD: held throughout */
} tgap;

typedef struct tails {
  const rgraph *g;
  uint32_t rows, n_gaps;
  tgap *gaps;
  double *need, *lambda, *trial, *grad, *price;
  uint32_t *from;      /* by node: rows up to its last use */
  float *t, *use;      /* by node and rows before the stage: T, and the weight with which the bound uses it */
  uint16_t *last;      /* stage of the last computation (as rows before it), HELD */
  double *w, *gain;    /* shares: first those of tails (by input edge), then those of gaps; what the bound gains by more */
  uint32_t n_shares;
  double *sum, *mean, *most; /* by node, for shares */
} tails;

/* ---- L and where it comes from ---- */

static double inputs_at(const tails *x, uint32_t node, uint32_t share, uint32_t r) {
  const rgraph *g = x->g;
  double v = g->cost[node];
  for (uint32_t k = g->in_at[node]; k < g->in_at[node + 1]; k++, share++)
    if (x->w[share] > 0 && r > x->from[g->in[k]]) v += x->w[share] * (double)x->t[(size_t)g->in[k] * (x->rows + 1) + r];
  return v;
}

static void price_tails(tails *x) {
  const rgraph *g = x->g;
  for (uint32_t k = 0; k < g->n; k++) {
    float *t = x->t + (size_t)k * (x->rows + 1);
    uint16_t *last = x->last + (size_t)k * (x->rows + 1);
    double m = (double)g->bytes[k], best = INFINITY;
    uint32_t stage = HELD;
    for (uint32_t r = x->from[k]; r <= x->rows; r++) {
      double again = inputs_at(x, k, g->in_at[k], r) - m * x->price[r], held = m * (x->price[r] - x->price[x->from[k]]);
      if (again < best) best = again, stage = r;
      double now = best + m * x->price[r];
      t[r] = (float)(fmin(now, held) * (1 - 1e-6)); /* rounded down: a float has 24 bits */
      last[r] = now < held ? (uint16_t)stage : HELD;
    }
  }
}

static double price_gaps(tails *x) {
  const rgraph *g = x->g;
  double total = 0;
  for (uint32_t k = 0; k < x->n_gaps; k++) {
    tgap *p = &x->gaps[k];
    double m = (double)g->bytes[p->node], held = m * (x->price[p->hi] - x->price[p->lo]), best = held;
    p->pick = HELD;
    if (g->cost[p->node] >= held) continue;
    for (uint32_t r = p->hi + 1; r-- > p->lo;) {
      double after = m * (x->price[p->hi] - x->price[r]);
      if (g->cost[p->node] + after >= best) break;
      double now = inputs_at(x, p->node, p->share, r) + after;
      if (now < best) best = now, p->pick = r;
    }
    total += best - held;
  }
  return total;
}

static void charge(tails *x, uint32_t node, uint32_t share, uint32_t r, double weight) {
  const rgraph *g = x->g;
  for (uint32_t k = g->in_at[node]; k < g->in_at[node + 1]; k++, share++) {
    uint32_t m = g->in[k];
    if (r <= x->from[m]) continue;
    size_t at = (size_t)m * (x->rows + 1) + r;
    x->use[at] += (float)(x->w[share] * weight);
    x->gain[share] += (double)x->t[at] * weight;
  }
}

/* L at the trial prices; its supergradients in grad (by row) and gain (by share) */
static double evaluate(tails *x) {
  const rgraph *g = x->g;
  double value = 0;
  for (uint32_t r = 0; r < x->rows; r++) {
    x->price[r + 1] = x->price[r] + x->trial[r];
    value += x->trial[r] * x->need[r];
  }
  price_tails(x);
  value += price_gaps(x);
  memset(x->grad, 0, ((size_t)x->rows + 1) * sizeof *x->grad);
  memset(x->use, 0, (size_t)g->n * (x->rows + 1) * sizeof *x->use);
  memset(x->gain, 0, x->n_shares * sizeof *x->gain);
  for (uint32_t k = 0; k < x->n_gaps; k++) {
    const tgap *p = &x->gaps[k];
    if (p->pick == HELD) continue;
    x->grad[p->lo] -= (double)g->bytes[p->node], x->grad[p->pick] += (double)g->bytes[p->node];
    charge(x, p->node, p->share, p->pick, 1);
  }
  for (uint32_t k = g->n; k-- > 0;)
    for (uint32_t r = x->from[k] + 1; r <= x->rows; r++) {
      size_t at = (size_t)k * (x->rows + 1) + r;
      double weight = (double)x->use[at], m = weight * (double)g->bytes[k];
      if (weight <= 0) continue;
      uint32_t stage = x->last[at] == HELD ? x->from[k] : x->last[at];
      x->grad[stage] += m, x->grad[r] -= m;
      if (x->last[at] != HELD) charge(x, k, g->in_at[k], stage, weight);
    }
  double sum = 0;
  for (uint32_t r = 0; r < x->rows; r++) {
    sum += x->grad[r];
    x->grad[r] = sum + x->need[r];
  }
  return value;
}

/* ---- shares ---- */

/* calls f for every share: its index, and the node whose tail it is of */
#define EACH_SHARE(x, i, m, ...)                                                                                        \
  do {                                                                                                                  \
    const rgraph *g_ = (x)->g;                                                                                          \
    for (uint32_t i = 0; i < g_->in_at[g_->n]; i++) {                                                                   \
      uint32_t m = g_->in[i];                                                                                           \
      __VA_ARGS__                                                                                                       \
    }                                                                                                                   \
    for (uint32_t p_ = 0; p_ < (x)->n_gaps; p_++)                                                                       \
      for (uint32_t v_ = (x)->gaps[p_].node, k_ = g_->in_at[v_], i = (x)->gaps[p_].share; k_ < g_->in_at[v_ + 1]; k_++, i++) { \
        uint32_t m = g_->in[k_];                                                                                        \
        __VA_ARGS__                                                                                                     \
      }                                                                                                                 \
  } while (0)

/* shares sum to a little less than 1, so that rounding cannot make them more */
static void normalise(tails *x) {
  memset(x->sum, 0, x->g->n * sizeof *x->sum);
  EACH_SHARE(x, i, m, x->sum[m] += x->w[i];);
  EACH_SHARE(x, i, m, if (x->sum[m] > 0) x->w[i] *= (1 - 1e-9) / x->sum[m];);
}

/* towards the consumers by which the bound gains most */
static void shift_shares(tails *x, double pace) {
  memset(x->mean, 0, x->g->n * sizeof *x->mean);
  memset(x->most, 0, x->g->n * sizeof *x->most);
  EACH_SHARE(x, i, m, x->mean[m] += x->w[i] * x->gain[i]; if (x->gain[i] > x->most[m]) x->most[m] = x->gain[i];);
  EACH_SHARE(x, i, m, if (x->most[m] > 0) x->w[i] = fmax(0, x->w[i] + pace * (x->gain[i] - x->mean[m]) / x->most[m]););
  normalise(x);
}

/* ---- the whole ---- */

static void find_tail_gaps(mp_arena *a, tails *x, const cover *c) {
  const rgraph *g = x->g;
  for (int pass = 0; pass < 2; pass++) {
    uint32_t n = 0, share = g->in_at[g->n];
    for (uint32_t i = 0; i < g->n; i++) {
      uint32_t before = i;
      for (uint32_t k = g->out_at[i]; k < g->out_at[i + 1]; before = g->out[k++]) {
        uint32_t lo = c->row_of[before + 1], hi = c->row_of[g->out[k]];
        if (lo >= hi || g->bytes[i] <= 0) continue;
        if (pass) x->gaps[n] = (tgap){.node = i, .lo = lo, .hi = hi, .share = share};
        n++, share += g->in_at[i + 1] - g->in_at[i];
      }
    }
    if (!pass) x->gaps = mp_alloc_array(a, n, sizeof *x->gaps);
    x->n_gaps = n;
    x->n_shares = share;
  }
}

/* need with every gap held, also those that are free to break */
static void find_tail_needs(tails *x, const cover *c, int64_t budget) {
  const rgraph *g = x->g;
  for (uint32_t t = 0; t < g->n; t++) {
    if (c->row_of[t + 1] == c->row_of[t]) continue;
    int64_t live = g->bytes[t];
    for (uint32_t k = g->in_at[t]; k < g->in_at[t + 1]; k++) live += g->bytes[g->in[k]];
    x->need[c->row_of[t]] = (double)(live - budget);
  }
  for (uint32_t k = 0; k < x->n_gaps; k++)
    for (uint32_t r = x->gaps[k].lo; r < x->gaps[k].hi; r++) x->need[r] += (double)g->bytes[x->gaps[k].node];
}

static bool prepare(mp_arena *a, tails *x, const cover *c, int64_t budget) {
  const rgraph *g = x->g;
  size_t rows = (size_t)c->n_rows + 1, table = rows * g->n;
  x->rows = c->n_rows;
  if (!x->rows || x->rows >= HELD || table > 4000000) return false;
  find_tail_gaps(a, x, c);
  double **by_row[] = {&x->need, &x->lambda, &x->trial, &x->grad, &x->price}, **by_node[] = {&x->sum, &x->mean, &x->most};
  for (size_t k = 0; k < sizeof by_row / sizeof *by_row; k++) *by_row[k] = mp_alloc_array(a, rows, sizeof **by_row[k]);
  for (size_t k = 0; k < sizeof by_node / sizeof *by_node; k++) *by_node[k] = mp_alloc_array(a, g->n, sizeof **by_node[k]);
  x->from = mp_alloc_array(a, g->n, sizeof *x->from);
  x->t = mp_alloc_array(a, table, sizeof *x->t);
  x->use = mp_alloc_array(a, table, sizeof *x->use);
  x->last = mp_alloc_array(a, table, sizeof *x->last);
  x->w = mp_alloc_array(a, x->n_shares, sizeof *x->w);
  x->gain = mp_alloc_array(a, x->n_shares, sizeof *x->gain);
  find_tail_needs(x, c, budget);
  for (uint32_t k = 0; k < g->n; k++) x->from[k] = c->row_of[(g->out_at[k + 1] > g->out_at[k] ? g->out[g->out_at[k + 1] - 1] : k) + 1];
  bool any = false;
  EACH_SHARE(x, i, m, {
    x->w[i] = x->from[m] < x->rows ? 1 : 0;
    any |= x->w[i] > 0;
  });
  memcpy(x->trial, c->lambda, c->n_rows * sizeof *x->trial);
  memcpy(x->lambda, c->lambda, c->n_rows * sizeof *x->lambda);
  return any;
}

double mp_tail_bound(mp_arena *a, const rgraph *g, const cover *c, int64_t budget, double target, uint32_t rounds, rclock *clock) {
  tails x = {.g = g};
  if (c->impossible || !prepare(a, &x, c, budget)) return 0;
  /* at first only what the cover breaks has shares */
  evaluate(&x);
  EACH_SHARE(&x, i, m, if (x.w[i] > 0) x.w[i] = x.gain[i] > 0 ? 1 : 0.02; (void)m;);
  normalise(&x);
  double best = 0, value = evaluate(&x), pace = 1;
  uint32_t stale = 0;
  for (uint32_t k = 0; k < rounds && best < target && !mp_rclock_over(clock); k++) {
    if (value > best) {
      stale = 0;
      best = value;
      memcpy(x.lambda, x.trial, x.rows * sizeof *x.lambda);
    } else if (++stale >= 10) {
      pace *= 0.7, stale = 0;
      memcpy(x.trial, x.lambda, x.rows * sizeof *x.trial);
      evaluate(&x);
      if (pace < 1e-3) break;
    }
    if (k % 3 == 2) shift_shares(&x, 0.3 * pace);
    double norm = 0;
    for (uint32_t r = 0; r < x.rows; r++)
      if (x.grad[r] > 0 || x.trial[r] > 0) norm += x.grad[r] * x.grad[r];
    if (norm <= 0) break;
    double step = 0.5 * pace * fmax(fmin(target, value + 0.1 * fabs(value)) - value, 1e-6 * target) / norm;
    for (uint32_t r = 0; r < x.rows; r++) x.trial[r] = fmax(0, x.trial[r] + step * x.grad[r]);
    value = evaluate(&x);
  }
  return best;
}
