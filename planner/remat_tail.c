/* A stronger lower bound: a recomputation must have its inputs, and each was kept for it or computed again too.
 *
 * Notation: rows t carry prices lambda_t >= 0; P(x, s) is the sum of lambda_t over x < t < s; "stage s" is what happens between the first
 * computations of s - 1 and s. The life of node k is cut into windows: its gaps (a, b), consecutive uses, and its tail (L_k, end) after its
 * last use. The bytes of node k are M, its cost C.
 *
 * 1. Take any schedule within the budget. For every window of k let E be C times the computations of k between the first computations of a
 *    and b (after that of L_k, for a tail), plus M lambda_t over the rows t inside at which k is resident. The windows of a node are disjoint: the E
 *    count every recomputation once at most, and every row's memory beyond t and its inputs exactly. The memory at t is at most B; so
 *      extra cost >= extra cost + sum_t lambda_t (memory at t - B) >= sum_t lambda_t (bytes of t and its inputs - B) + sum E.
 * 2. Suppose k is resident at some moment of stage s inside a window that starts at a. Either it was held since a, and E >= M P(a, s), or it was
 *    computed last in a stage r <= s, its inputs were resident then, and E >= C + M P(r - 1, s). Write V(r) for C plus what this use of its
 *    inputs in stage r is charged (3), and
 *      H(s) = min( M P(a, s), min over r <= s of V(r) + M P(r - 1, s) ).
 *    A tail that is used in stage s has T(s) = H(s). A gap ends with k resident: D = H(b). A gap that is used in stage s on the way has
 *      F(s) = min( M P(a, b)                        held throughout
 *                  M P(a, s) + min over r >= s of V(r) + M P(r - 1, b)        held, dropped after the use, computed last in stage r
 *                  min over r <= s of V(r) + M P(r - 1, s) + min(M P(s - 1, b), C) )  computed, used, then held or computed once more
 *    and S(s) = max(0, F(s) - D) is what the use adds.
 * 3. The charge. Window c = (i, ..) that computes i in stage r uses of each input m the window w of m around stage r; it is charged
 *    share(m, c) * T_w(r) or share(m, c) * S_w(r). The shares of m over all windows c of its users sum to at most 1.
 * 4. sum of D over gaps <= sum E. Give every window c that computes its node one stage r_c, at which its inputs are charged, as follows, in
 *    decreasing order of nodes; X_c is the sum of these charges. The windows c that use w do so in stages r_c that are settled by then. A gap w whose
 * uses all have S = 0: r_w is the stage of its last computation, and E_w + X_w >= D. Otherwise take the use with the largest S: by 2, with r_w the
 *    stage named there, E_w + X_w >= F = D + S >= D + the sum of share * S over all uses. A tail: in the same way E_w + X_w >= the sum of share * T.
 *    Adding up over all windows, what windows receive from their users is what the users are charged, and cancels.
 * So L = sum_t lambda_t need_t + sum over gaps (D - M P(a, b)) is a lower bound for all lambda >= 0 and all shares, where need_t counts all gaps as
 * held. With all shares 0 it is the Lagrangian of remat_bound.c. Prices and shares are improved by ascent; any values do. */
#include <math.h>
#include <string.h>

#include "planner/remat_inside.h"

#define HELD UINT16_MAX

/* A window of a node. Stages are counted in rows before them: lo .. hi, where rows lo .. hi - 1 lie inside. */
typedef struct window {
  uint32_t node, lo, hi;
  uint32_t share; /* its shares start here, one an input of node */
  size_t at;      /* its stages in the tables: at + r - lo */
  bool tail;
  double end, weight; /* D; how much of it the bound counts */
} window;

typedef enum how { H_HELD, H_AGAIN, H_LATER, H_TWICE } how; /* the patterns of F */

/* by window and stage */
typedef struct cell {
  float worth;            /* T or S: what a use in this stage adds */
  float use;              /* the weight with which the bound counts it */
  uint16_t before, after; /* best last computation up to this stage, and from it on */
  uint8_t how;
} cell;

typedef struct tails {
  const rgraph *g;
  uint32_t rows, n_windows;
  window *windows;
  uint32_t *first; /* by node: its windows, one more for the end */
  uint32_t *row_of;
  cell *cells;
  double *again; /* scratch, by stage: V */
  double *need, *lambda, *trial, *grad, *price;
  double *share, *gain; /* what the bound gains by more of it */
  uint32_t n_shares;
  double *sum, *mean, *most; /* by node, for shares */
} tails;

/* the window of node m with stage r strictly inside, or after the last use; at a window's border a use adds nothing */
static const window *window_at(const tails *x, uint32_t m, uint32_t r) {
  for (uint32_t k = x->first[m]; k < x->first[m + 1]; k++)
    if (r > x->windows[k].lo && (x->windows[k].tail || r < x->windows[k].hi)) return &x->windows[k];
  return NULL;
}

/* V: by stage of the window, in x->again */
static void price_again(tails *x, const window *w) {
  const rgraph *g = x->g;
  uint32_t len = w->hi - w->lo, share = w->share;
  for (uint32_t r = 0; r <= len; r++) x->again[r] = g->cost[w->node];
  for (uint32_t k = g->in_at[w->node]; k < g->in_at[w->node + 1]; k++, share++) {
    double part = x->share[share];
    if (part <= 0) continue;
    for (uint32_t i = x->first[g->in[k]]; i < x->first[g->in[k] + 1]; i++) {
      const window *v = &x->windows[i];
      uint32_t lo = v->lo > w->lo ? v->lo : w->lo, hi = v->hi < w->hi ? v->hi : w->hi;
      for (uint32_t r = lo; r <= hi && lo <= hi; r++) x->again[r - w->lo] += part * (double)x->cells[v->at + r - v->lo].worth;
    }
  }
}

static float lower(double v) { return v <= 0 ? 0 : (float)(v * (1 - 1e-6)); } /* a float has 24 bits: never more than v */

static void price_window(tails *x, window *w) {
  const rgraph *g = x->g;
  double m = (double)g->bytes[w->node], cost = g->cost[w->node];
  const double *p = x->price;
  cell *c = x->cells + w->at;
  price_again(x, w);
  double best = INFINITY;
  uint16_t stage = HELD;
  for (uint32_t r = w->lo; r <= w->hi; r++) { /* computed up to r, less m p[r] */
    double now = x->again[r - w->lo] - m * p[r];
    if (now < best) best = now, stage = (uint16_t)r;
    c[r - w->lo].before = stage;
    if (!w->tail) continue;
    double held = m * (p[r] - p[w->lo]), computed = best + m * p[r];
    c[r - w->lo].how = computed < held ? H_AGAIN : H_HELD;
    c[r - w->lo].worth = lower(fmin(held, computed));
  }
  if (w->tail) return;
  double whole = m * (p[w->hi] - p[w->lo]);
  w->end = fmin(whole, best + m * p[w->hi]);
  best = INFINITY;
  for (uint32_t r = w->hi + 1; r-- > w->lo;) {
    cell *now = &c[r - w->lo];
    double last = x->again[r - w->lo] + m * (p[w->hi] - p[r]);
    if (last < best) best = last, stage = (uint16_t)r;
    now->after = stage;
    double up = x->again[now->before - w->lo] + m * (p[r] - p[now->before]), rest = m * (p[w->hi] - p[r]);
    double f = whole;
    now->how = H_HELD;
    if (up + rest < f) f = up + rest, now->how = H_AGAIN;
    if (m * (p[r] - p[w->lo]) + best < f) f = m * (p[r] - p[w->lo]) + best, now->how = H_LATER;
    if (up + cost < f) f = up + cost, now->how = H_TWICE;
    now->worth = lower(f - w->end);
  }
}

/* ---- supergradients ---- */

static void hold(tails *x, uint32_t from, uint32_t to, double m) { x->grad[from] += m, x->grad[to] -= m; }

/* window w computes its node in stage r: its inputs are used */
static void use_inputs(tails *x, const window *w, uint32_t r, double weight) {
  const rgraph *g = x->g;
  uint32_t share = w->share;
  for (uint32_t k = g->in_at[w->node]; k < g->in_at[w->node + 1]; k++, share++) {
    const window *v = window_at(x, g->in[k], r);
    if (!v) continue;
    cell *c = &x->cells[v->at + r - v->lo];
    c->use += (float)(x->share[share] * weight);
    x->gain[share] += (double)c->worth * weight;
  }
}

static void count_end(tails *x, const window *w, double weight) {
  double m = weight * (double)x->g->bytes[w->node], whole = (double)x->g->bytes[w->node] * (x->price[w->hi] - x->price[w->lo]);
  uint32_t stage = x->cells[w->at + w->hi - w->lo].before;
  if (w->end >= whole) {
    hold(x, w->lo, w->hi, m);
  } else {
    hold(x, stage, w->hi, m);
    use_inputs(x, w, stage, weight);
  }
}

static void count_use(tails *x, const window *w, uint32_t r, double weight) {
  const cell *c = &x->cells[w->at + r - w->lo];
  double m = weight * (double)x->g->bytes[w->node];
  bool held = c->how == H_HELD || c->how == H_LATER;
  uint32_t from = held ? w->lo : c->before, to = w->tail || c->how == H_LATER || c->how == H_TWICE ? r : w->hi;
  hold(x, from, to, m);
  if (c->how == H_LATER) hold(x, c->after, w->hi, m);
  if (c->how != H_HELD) use_inputs(x, w, c->how == H_LATER ? c->after : c->before, weight);
}

/* L at the trial prices; its supergradients in grad (by row) and gain (by share) */
static double evaluate(tails *x) {
  const rgraph *g = x->g;
  double value = 0;
  memset(x->grad, 0, ((size_t)x->rows + 1) * sizeof *x->grad);
  memset(x->gain, 0, x->n_shares * sizeof *x->gain);
  for (uint32_t r = 0; r < x->rows; r++) {
    x->price[r + 1] = x->price[r] + x->trial[r];
    value += x->trial[r] * x->need[r];
  }
  for (uint32_t k = 0; k < x->n_windows; k++) {
    window *w = &x->windows[k];
    price_window(x, w);
    if (!w->tail) value += w->end - (double)g->bytes[w->node] * (x->price[w->hi] - x->price[w->lo]);
  }
  for (uint32_t k = x->n_windows; k-- > 0;) { /* users come after their inputs */
    window *w = &x->windows[k];
    double rest = 1;
    for (uint32_t r = w->lo; r <= w->hi; r++) {
      cell *c = &x->cells[w->at + r - w->lo];
      double weight = (double)c->use;
      c->use = 0;
      if (weight <= 0 || c->worth <= 0) continue;
      rest -= weight;
      count_use(x, w, r, weight);
    }
    if (w->tail) continue;
    count_end(x, w, rest);
    hold(x, w->lo, w->hi, -(double)g->bytes[w->node]);
  }
  double sum = 0;
  for (uint32_t r = 0; r < x->rows; r++) {
    sum += x->grad[r];
    x->grad[r] = sum + x->need[r];
  }
  return value;
}

/* ---- shares ---- */

/* for every share: its index i, the node m whose window it is of */
#define EACH_SHARE(x, i, m, ...)                                                                                                           \
  for (uint32_t p_ = 0; p_ < (x)->n_windows; p_++)                                                                                         \
    for (uint32_t v_ = (x)->windows[p_].node, k_ = (x)->g->in_at[v_], i = (x)->windows[p_].share; k_ < (x)->g->in_at[v_ + 1]; k_++, i++) { \
      uint32_t m = (x)->g->in[k_];                                                                                                         \
      __VA_ARGS__                                                                                                                          \
    }

/* shares sum to a little less than 1, so that rounding cannot make them more */
static void normalise(tails *x) {
  memset(x->sum, 0, x->g->n * sizeof *x->sum);
  EACH_SHARE(x, i, m, x->sum[m] += x->share[i];)
  EACH_SHARE(x, i, m, if (x->sum[m] > 0) x->share[i] *= (1 - 1e-9) / x->sum[m];)
}

/* towards the users by which the bound gains most */
static void shift_shares(tails *x, double pace) {
  memset(x->mean, 0, x->g->n * sizeof *x->mean);
  memset(x->most, 0, x->g->n * sizeof *x->most);
  EACH_SHARE(x, i, m, x->mean[m] += x->share[i] * x->gain[i]; if (x->gain[i] > x->most[m]) x->most[m] = x->gain[i];)
  EACH_SHARE(x, i, m, if (x->most[m] > 0) x->share[i] = fmax(0, x->share[i] + pace * (x->gain[i] - x->mean[m]) / x->most[m]);)
  normalise(x);
}

/* ---- the whole ---- */

/* rows: where the base sequence exceeds the budget; all such where there is room, else those of the cover */
static void find_rows(mp_arena *a, tails *x, const cover *c, int64_t budget) {
  const rgraph *g = x->g;
  int64_t *live = mp_alloc_array(a, (size_t)g->n + 1, sizeof *live), now = 0;
  x->row_of = mp_alloc_array(a, (size_t)g->n + 1, sizeof *x->row_of);
  for (uint32_t v = 0; v < g->n; v++)
    live[v] += g->bytes[v], live[(g->out_at[v + 1] > g->out_at[v] ? g->out[g->out_at[v + 1] - 1] : v) + 1] -= g->bytes[v];
  uint32_t all = 0;
  for (uint32_t v = 0; v < g->n; v++) now += live[v], live[v] = now, all += now > budget;
  bool few = (size_t)all * g->n > 300000;
  for (uint32_t v = 0; v < g->n; v++) x->row_of[v + 1] = x->row_of[v] + (few ? c->row_of[v + 1] > c->row_of[v] : live[v] > budget);
  x->rows = x->row_of[g->n];
  x->need = mp_alloc_array(a, (size_t)x->rows + 1, sizeof *x->need);
  x->lambda = mp_alloc_array(a, (size_t)x->rows + 1, sizeof *x->lambda);
  for (uint32_t v = 0; v < g->n; v++)
    if (x->row_of[v + 1] > x->row_of[v]) {
      x->need[x->row_of[v]] = (double)(live[v] - budget);
      if (c->row_of[v + 1] > c->row_of[v]) x->lambda[x->row_of[v]] = c->lambda[c->row_of[v]];
    }
}

static size_t find_windows(mp_arena *a, tails *x) {
  const rgraph *g = x->g;
  size_t cells = 0;
  x->first = mp_alloc_array(a, (size_t)g->n + 1, sizeof *x->first);
  for (int pass = 0; pass < 2; pass++) {
    uint32_t n = 0, share = 0;
    cells = 0;
    for (uint32_t i = 0; i < g->n; i++) {
      uint32_t before = i;
      x->first[i] = n;
      for (uint32_t k = g->out_at[i]; k <= g->out_at[i + 1] && g->bytes[i] > 0; k++) {
        bool tail = k == g->out_at[i + 1];
        uint32_t lo = x->row_of[before + 1], hi = tail ? x->rows : x->row_of[g->out[k]];
        if (!tail) before = g->out[k];
        if (lo >= hi) continue;
        if (pass) x->windows[n] = (window){.node = i, .lo = lo, .hi = hi, .share = share, .at = cells, .tail = tail};
        n++, share += g->in_at[i + 1] - g->in_at[i], cells += hi - lo + 1;
      }
    }
    x->first[g->n] = n;
    if (!pass) x->windows = mp_alloc_array(a, n, sizeof *x->windows);
    x->n_windows = n;
    x->n_shares = share;
  }
  return cells;
}

static bool prepare(mp_arena *a, tails *x, const cover *c, int64_t budget) {
  const rgraph *g = x->g;
  find_rows(a, x, c, budget);
  if (!x->rows || x->rows >= HELD || (size_t)x->rows * g->n > 4000000) return false;
  size_t cells = find_windows(a, x), rows = (size_t)x->rows + 1;
  double **by_row[] = {&x->trial, &x->grad, &x->price, &x->again}, **by_node[] = {&x->sum, &x->mean, &x->most};
  for (size_t k = 0; k < sizeof by_row / sizeof *by_row; k++) *by_row[k] = mp_alloc_array(a, rows, sizeof **by_row[k]);
  for (size_t k = 0; k < sizeof by_node / sizeof *by_node; k++) *by_node[k] = mp_alloc_array(a, g->n, sizeof **by_node[k]);
  x->cells = mp_alloc_array(a, cells, sizeof *x->cells);
  x->share = mp_alloc_array(a, x->n_shares, sizeof *x->share);
  x->gain = mp_alloc_array(a, x->n_shares, sizeof *x->gain);
  memcpy(x->trial, x->lambda, x->rows * sizeof *x->trial);
  EACH_SHARE(x, i, m, x->share[i] = 1e-6; (void)m;)
  evaluate(x); /* whom the bound uses now has most of the shares */
  EACH_SHARE(x, i, m, x->share[i] = x->gain[i] > 0 ? 1 : 0.02; (void)m;)
  normalise(x);
  return true;
}

double mp_tail_bound(mp_arena *a, const rgraph *g, const cover *c, int64_t budget, double target, uint32_t rounds, rclock *clock) {
  tails x = {.g = g};
  if (c->impossible || !prepare(a, &x, c, budget)) return 0;
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
    double step = 0.5 * pace * fmax(fmin(target - value, 0.1 * fabs(value) + 0.05 * target), 1e-6 * target) / norm;
    for (uint32_t r = 0; r < x.rows; r++) x.trial[r] = fmax(0, x.trial[r] + step * x.grad[r]);
    value = evaluate(&x);
  }
  return best;
}
