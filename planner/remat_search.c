/* Local search over sequences: take recomputations out, put cheaper ones in.
 *
 * Repair: at the peak, of all values that are resident but not read there, drop the one whose return costs least for the bytes it saves. Its
 * return is priced with its closure: an input that is gone is either held on to (if there is room all the way) or computed again too.
 * Trim: a recomputation whose value could as well have stayed is taken out.
 * Improve: take a few recomputations out at random, repair with some noise, trim, keep what is no worse. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/remat_inside.h"

#define DEEPEST 4000u
#define FEW 20u /* computations that a repair looks at for one drop, unless all take more */

static uint32_t draw(search *x, uint32_t n) { /* xorshift64* */
  x->random ^= x->random >> 12;
  x->random ^= x->random << 25;
  x->random ^= x->random >> 27;
  return (uint32_t)(((x->random * 2685821657736338717u) >> 32) * n >> 32);
}

static double fraction(search *x) { return draw(x, 1u << 30) / (double)(1u << 30); }

typedef struct ratio {
  double cost_per_byte;
  uint32_t node;
} ratio;

static int by_ratio(const void *a, const void *b) {
  const ratio *x = a, *y = b;
  if (x->cost_per_byte < y->cost_per_byte || x->cost_per_byte > y->cost_per_byte) return x->cost_per_byte < y->cost_per_byte ? -1 : 1;
  return (x->node > y->node) - (x->node < y->node);
}

void mp_search_open(search *x, mp_arena *a, const rgraph *g, int64_t budget, uint64_t seed) {
  *x = (search){.arena = a, .g = g, .budget = budget, .wanted = budget, .most = NONE, .random = seed * 0x9e3779b97f4a7c15u | 1};
  x->seen = mp_alloc_array(a, g->n, sizeof *x->seen);
  x->gone = mp_alloc_array(a, g->n, sizeof *x->gone);
  x->cheap = mp_alloc_array(a, g->n, sizeof *x->cheap);
  ratio *order = mp_alloc_array(a, g->n, sizeof *order);
  for (uint32_t v = 0; v < g->n; v++)
    if (g->bytes[v] > 0 && g->out_at[v + 1] > g->out_at[v]) order[x->n_cheap++] = (ratio){g->cost[v] / (double)g->bytes[v], v};
  qsort(order, x->n_cheap, sizeof *order, by_ratio);
  for (uint32_t k = 0; k < x->n_cheap; k++) x->cheap[k] = order[k].node;
}

/* ---- the closure of a recomputation ---- */

typedef enum access { THERE, HOLD, GONE } access;

/* is node resident at key, can it be held until then, or must it be computed again? */
static access reach(search *x, uint32_t node, uint64_t key) {
  const seq *s = x->s;
  if (!x->hot || x->gone[node] != x->hot_stamp) {
    uint32_t p = mp_seq_before(s, node, key);
    uint64_t end = mp_seq_key(s, mp_seq_end(s, p));
    if (end >= key) return THERE;
    if (end >= x->hot || key <= x->hot) {
      int64_t m = mp_seq_max(s, end, key);
      if (m == INT64_MIN || m + x->g->bytes[node] <= x->budget) return HOLD;
    } else if (s->of_node[node].at[s->of_node[node].n - 1] == p) {
      x->gone[node] = x->hot_stamp; /* nothing changes until the repair has chosen */
    }
  }
  /* now and then hold on all the same: what is in the way may be cheaper to drop */
  return x->bold && (node * 2654435761u ^ x->salt) % 16 < x->bold ? HOLD : GONE;
}

static void push(search *x, uint32_t node) {
  if (x->closure.n == x->closure.cap) {
    uint32_t cap = x->closure.cap ? x->closure.cap * 2 : 64, *at = mp_alloc_array(x->arena, cap, sizeof *at);
    if (x->closure.n) memcpy(at, x->closure.at, x->closure.n * sizeof *at);
    x->closure.at = at;
    x->closure.cap = cap;
  }
  x->closure.at[x->closure.n++] = node;
}

static void close_over(search *x, uint32_t node, uint64_t key, double limit, uint32_t depth) {
  const rgraph *g = x->g;
  x->seen[node] = x->stamp;
  x->cost += g->cost[node];
  if (++x->count > x->most || depth > DEEPEST) x->cost = INFINITY;
  for (uint32_t k = g->in_at[node]; k < g->in_at[node + 1] && x->cost < limit; k++) {
    uint32_t j = g->in[k];
    if (x->seen[j] == x->stamp) continue;
    access how = reach(x, j, key);
    if (how == GONE) {
      close_over(x, j, key, limit, depth + 1);
    } else if (how == HOLD) {
      x->seen[j] = x->stamp;
      x->held += g->bytes[j];
    }
  }
  push(x, node);
}

/* What it takes to compute node again right before key: x->closure in order, x->cost, x->held (bytes of inputs to hold on to). Stops early
 * above limit, with a cost above it. */
static void close_at(search *x, uint32_t node, uint64_t key, double limit) {
  x->stamp++;
  x->cost = 0;
  x->held = 0;
  x->count = 0;
  x->closure.n = 0;
  close_over(x, node, key, limit, 0);
}

/* bytes over the budget while the closure is computed before `place`, at most */
static int64_t closure_over(const search *x, uint32_t node, uint32_t place) {
  const rgraph *g = x->g;
  const seq *s = x->s;
  int64_t load = mp_seq_mem(s, place) - g->bytes[s->ev[place].node] + x->held;
  uint32_t old = mp_seq_before(s, node, mp_seq_key(s, place));
  if (mp_seq_key(s, mp_seq_end(s, old)) >= mp_seq_key(s, place)) load -= g->bytes[node];
  for (uint32_t k = 0; k < x->closure.n; k++) load += g->bytes[x->closure.at[k]];
  return load > x->budget ? load - x->budget : 0;
}

static void recompute(search *x, uint32_t node, uint32_t place) {
  close_at(x, node, mp_seq_key(x->s, place), INFINITY);
  for (uint32_t k = 0; k < x->closure.n; k++) mp_seq_insert(x->s, x->closure.at[k], place);
}

/* ---- repair ---- */

typedef struct choice {
  uint32_t node, place;
  double score;
} choice;

static void weigh(search *x, uint32_t node, uint32_t place, double over, double scale, choice *best) {
  double gain = fmin((double)x->g->bytes[node], over);
  close_at(x, node, mp_seq_key(x->s, place), best->score / scale * gain);
  double score = x->cost * scale / gain;
  if (score >= best->score) return;
  double left = gain - (double)closure_over(x, node, place);
  score = left > 0 ? x->cost * scale / left : 1e6 * score; /* it only moves the peak */
  if (score < best->score) *best = (choice){node, place, score};
}

/* The best place to compute node again between the peak and its next use: right before the use, right after the peak, where one of its inputs
 * is last held, or, with noise, anywhere. */
static void weigh_drop(search *x, uint32_t node, uint32_t peak, uint32_t use, double over, double noise, choice *best) {
  const rgraph *g = x->g;
  seq *s = x->s;
  double scale = noise > 0 ? 1 + noise * fraction(x) : 1;
  uint64_t key = mp_seq_key(s, use), from = mp_seq_key(s, peak);
  weigh(x, node, use, over, scale, best);
  uint32_t early = mp_seq_next(s, peak);
  if (early != use) weigh(x, node, early, over, scale, best);
  for (uint32_t k = g->in_at[node]; k < g->in_at[node + 1]; k++) {
    uint32_t p = mp_seq_before(s, g->in[k], key), end = mp_seq_end(s, p);
    uint64_t at = mp_seq_key(s, end);
    if (at > from && at < key) weigh(x, node, mp_seq_next(s, end), over, scale, best);
  }
  if (noise > 0 && draw(x, 2)) {
    uint32_t lo = s->ev[peak].node, hi = s->ev[use].node, any = s->of_node[lo < hi ? lo + draw(x, hi - lo) : hi].at[0];
    if (mp_seq_key(s, any) > from && mp_seq_key(s, any) < key) weigh(x, node, any, over, scale, best);
  }
}

/* the drop that costs least for what it saves at the peak, among those of at most `most` computations */
static choice choose(search *x, uint32_t peak, double noise, uint32_t most) {
  const rgraph *g = x->g;
  seq *s = x->s;
  double over = (double)(mp_seq_mem(s, peak) - x->budget);
  uint64_t key = mp_seq_key(s, peak);
  choice best = {NONE, NONE, INFINITY};
  x->hot = key;
  x->hot_stamp++;
  x->most = most;
  for (uint32_t k = 0; k < x->n_cheap; k++) {
    uint32_t i = x->cheap[k];
    if (g->cost[i] >= best.score * (double)g->bytes[i]) break; /* so are all that follow */
    if (mp_seq_key(s, s->of_node[i].at[0]) >= key) continue;
    uint32_t e = mp_seq_before(s, i, key), use = mp_seq_user_after(s, e, key);
    if (use != NONE && use != peak) weigh_drop(x, i, peak, use, over, noise, &best);
  }
  x->hot = 0;
  x->most = NONE;
  return best;
}

static bool relieve(search *x, uint32_t peak, double noise) {
  choice best = choose(x, peak, noise, FEW);
  if (best.node == NONE) best = choose(x, peak, noise, NONE);
  if (best.node == NONE) return false;
  recompute(x, best.node, best.place);
  return true;
}

bool mp_search_repair(search *x, double noise, uint32_t steps) {
  int64_t least = INT64_MAX, peak;
  uint32_t stale = 0;
  for (uint32_t k = 0; (peak = mp_seq_peak(x->s)) > x->budget; k++) {
    stale = peak < least ? 0 : stale + 1;
    if (peak < least) least = peak;
    if (k == steps || stale > 30 || (x->clock && k % 16 == 15 && mp_rclock_over(x->clock))) return false;
    uint32_t at = mp_seq_argpeak(x->s, noise > 0 && draw(x, 2));
    if (!relieve(x, at, noise)) return false;
  }
  return true;
}

/* ---- seeds from the bound ---- */

static int by_end(const void *a, const void *b) {
  const gap *x = *(const gap *const *)a, *y = *(const gap *const *)b;
  if (x->to != y->to) return x->to < y->to ? -1 : 1;
  return (x->node > y->node) - (x->node < y->node);
}

void mp_search_break(search *x, const cover *c) {
  seq *s = x->s;
  const gap **broken = mp_alloc_array(s->arena, c->n_gaps, sizeof *broken);
  size_t n = 0;
  for (uint32_t k = 0; k < c->n_gaps; k++)
    if (c->gaps[k].broken) broken[n++] = &c->gaps[k];
  qsort(broken, n, sizeof *broken, by_end);
  for (size_t k = 0; k < n; k++) {
    uint32_t use = s->of_node[broken[k]->to].at[0], from = s->of_node[broken[k]->from].at[0];
    uint32_t e = mp_seq_before(s, broken[k]->node, mp_seq_key(s, use));
    if (mp_seq_key(s, e) > mp_seq_key(s, from)) continue; /* another closure has computed it again inside this gap */
    use = mp_seq_user_after(s, e, mp_seq_key(s, from) + 1);
    recompute(x, broken[k]->node, use);
  }
}

/* ---- trim ---- */

/* removes e, and recomputations that only it read */
static void take_out(search *x, uint32_t e) {
  seq *s = x->s;
  const rgraph *g = x->g;
  uint32_t node = s->ev[e].node;
  uint64_t key = mp_seq_key(s, e);
  uint32_t n = g->in_at[node + 1] - g->in_at[node], few[16], *from = few;
  if (n > 16) from = mp_alloc_array(x->arena, n, sizeof *from);
  for (uint32_t k = 0; k < n; k++) from[k] = mp_seq_before(s, g->in[g->in_at[node] + k], key);
  mp_seq_remove(s, e);
  for (uint32_t k = 0; k < n; k++)
    if (s->ev[from[k]].extra != NONE && !s->ev[from[k]].users.n) take_out(x, from[k]);
}

static bool could_stay(const search *x, uint32_t e) {
  const seq *s = x->s;
  uint32_t node = s->ev[e].node;
  uint64_t key = mp_seq_key(s, e);
  if (!s->ev[e].users.n) return true;
  uint32_t older = mp_seq_before(s, node, key);
  int64_t m = mp_seq_max(s, mp_seq_key(s, mp_seq_end(s, older)), key);
  return m == INT64_MIN || m + x->g->bytes[node] <= x->budget;
}

void mp_search_trim(search *x) {
  seq *s = x->s;
  for (bool more = true; more;) {
    more = false;
    for (uint32_t k = s->extras.n; k-- > 0;) {
      if (k >= s->extras.n) continue;
      uint32_t e = s->extras.at[k];
      if (!could_stay(x, e)) continue;
      take_out(x, e);
      more = true;
    }
  }
}

/* ---- improve ---- */

static void ruin(search *x) {
  seq *s = x->s;
  uint32_t n = 1 + draw(x, 3), last = NONE;
  for (uint32_t k = 0; k < n && s->extras.n; k++) {
    uint32_t at = draw(x, s->extras.n);
    if (last != NONE && draw(x, 2)) { /* the nearest of a few in the sequence */
      for (uint32_t tries = 0; tries < 4; tries++) {
        uint32_t other = draw(x, s->extras.n);
        int64_t here = (int64_t)mp_seq_key(s, s->extras.at[at]), there = (int64_t)mp_seq_key(s, s->extras.at[other]);
        int64_t mark = (int64_t)mp_seq_key(s, last);
        if (llabs(there - mark) < llabs(here - mark)) at = other;
      }
    }
    uint32_t e = s->extras.at[at];
    last = mp_seq_next(s, e);
    while (last != NONE && s->ev[last].extra != NONE) last = mp_seq_next(s, last);
    take_out(x, e);
  }
}

/* Record-to-record: a state not much dearer than the best one found is kept too; after long vain, back to the best. */
void mp_search_improve(search *x, double goal, uint32_t rounds, bool endless, rclock *clock) {
  enum { STALE = 1000 };
  const rgraph *g = x->g;
  seq *s = x->s;
  double tiny = 1e-9 * g->base_cost, best = s->cost;
  uint32_t stale = 0, vain = 0;
  list nodes = {0};
  mp_seq_save(s, &nodes);
  mp_seq_commit(s);
  for (uint32_t k = 0; k < rounds && best > goal + tiny && s->extras.n; k++) {
    if (k % 16 == 0 && mp_rclock_over(clock)) break;
    if (!endless && vain++ > 3000 + 500 * s->extras.n) break;
    double before = s->cost, allowed = (best - g->base_cost) * (1 + 0.1 * fraction(x) * (STALE - stale) / STALE) + g->base_cost;
    x->salt = draw(x, 1u << 30);
    x->bold = draw(x, 3) * 2;
    ruin(x);
    bool fits = mp_search_repair(x, k % 2 ? 1 : 0.15, 40);
    if (fits) mp_search_trim(x);
    if (!fits || s->cost > fmax(before, allowed) + tiny)
      mp_seq_undo(s, 0);
    else
      mp_seq_commit(s);
    if (s->cost < best - tiny) {
      best = s->cost;
      if (x->budget == x->wanted) clock->cost = best;
      stale = vain = 0;
      mp_seq_save(s, &nodes);
    } else if (++stale >= STALE) {
      stale = 0;
      mp_seq_load(s, &nodes);
    }
  }
  x->bold = 0;
  if (s->cost > best + tiny) mp_seq_load(s, &nodes);
}
