/* Seeds for training graphs at tight budgets: a dynamic program over forward cuts.
 *
 * A training graph is a forward part and a backward part that reads it from its end. Cut k of the forward part lets through the values X_k
 * that later forward nodes read (one value, in a chain). Forward segments between kept cuts are computed again when the backward part
 * reaches them. With X_i held, the backward part of the cuts (i, j] done within memory M (X_j counted in it) costs
 *
 *   A(i, j, M) = min over k in (i, j) of  forward(i, k) + A(k, j, M - X_k) + A(i, k, M),       A(j - 1, j, M) = the segment's inner nodes
 *
 * and the whole, whose forward part runs for the first time and is paid for anyway, F(i, M) in the same way with F(k, M - X_k) for A(k, j, ..).
 * Where the backward nodes of a segment read nothing before it, they may also run first: A(i, j, M) = forward(i, j - 1) + A(i, j - 1, M).
 * (Griewank and Walther's revolve, ACM TOMS 2000, and Rotor, Beaumont et al. 2019, with values of all sizes and cuts of several values.)
 * Memory is counted in slots. What the program leaves out (sizes between slots, values that backward nodes read across cuts) shows in the
 * sequence's peak; repair and search take it from there. */
#include <math.h>
#include <string.h>

#include "planner/remat_inside.h"

typedef struct chain {
  mp_arena *arena;
  const rgraph *g;
  uint32_t turn;        /* the first node of the backward part */
  uint32_t cuts;        /* cut 0 is before node 0; cut k lets through what at[k] and nodes before it produced; the last is turn - 1 */
  uint32_t *at, *leaf;  /* leaf: by backward node, the cut whose segment it ends */
  int64_t *through;     /* by forward node: bytes that later forward nodes read of it and all before */
  double *paid;         /* by node: sum of the costs before it */
  int64_t *load;        /* by forward node: bytes while it is computed with nothing kept but what later forward nodes read */
  int64_t *need, *held; /* by cut: bytes for the backward nodes of its segment; backward bytes before them */
  double *inner;        /* by cut: cost of the segment without what the cut lets through */
  bool *alone;          /* by cut: its segment is one node, and its backward nodes read no forward value before it */
  uint32_t slots;
  double unit, lean;   /* bytes a slot; up to what part of a slot is left out */
  float *a, *f, *zero; /* a[pair(i, j)][M], f[i][M] */
  uint16_t *split_a, *split_f;
  list *out;
} chain;

enum { MOST_SLOTS = 200 };
#define MOST_WORK 3e8 /* cuts ^ 3 * slots: a tenth of a second */

static size_t pair(const chain *c, uint32_t i, uint32_t j) { return ((size_t)i * c->cuts + j) * (c->slots + 1); }

static uint32_t last_forward_use(const chain *c, uint32_t v) {
  const rgraph *g = c->g;
  uint32_t last = v;
  for (uint32_t k = g->out_at[v]; k < g->out_at[v + 1] && g->out[k] < c->turn; k++) last = g->out[k];
  return last;
}

/* the first backward node; where nothing is marked, the node after which most gaps are open */
static uint32_t find_turn(mp_arena *a, const rgraph *g) {
  for (uint32_t v = 0; v < g->n; v++)
    if (g->instance->nodes[v].backward) return v;
  int32_t *open = mp_alloc_array(a, (size_t)g->n + 1, sizeof *open), now = 0, most = 0;
  uint32_t turn = 0;
  for (uint32_t v = 0; v < g->n; v++)
    if (g->out_at[v + 1] > g->out_at[v]) open[v]++, open[g->out[g->out_at[v + 1] - 1]]--;
  for (uint32_t v = 0; v < g->n; v++) {
    now += open[v];
    if (now >= most) most = now, turn = v + 1;
  }
  return turn;
}

/* cuts: all, or those that let least through among their neighbours */
static void choose_cuts(chain *c) {
  uint32_t most = (uint32_t)cbrt(MOST_WORK / c->slots), groups = c->turn - 1 < most - 2 ? c->turn - 1 : most - 2;
  c->at = mp_alloc_array(c->arena, (size_t)groups + 2, sizeof *c->at);
  c->at[0] = NONE; /* before node 0 */
  c->cuts = 1;
  for (uint32_t k = 0; k < groups; k++) {
    uint32_t lo = (uint32_t)((uint64_t)(c->turn - 1) * k / groups), hi = (uint32_t)((uint64_t)(c->turn - 1) * (k + 1) / groups), best = lo;
    for (uint32_t v = lo; v < hi; v++)
      if (c->through[v] <= c->through[best]) best = v;
    c->at[c->cuts++] = best;
  }
  c->at[c->cuts++] = c->turn - 1;
}

static void measure_forward(chain *c) {
  const rgraph *g = c->g;
  int64_t *dies = mp_alloc_array(c->arena, c->turn, sizeof *dies), now = 0;
  c->through = mp_alloc_array(c->arena, c->turn, sizeof *c->through);
  c->load = mp_alloc_array(c->arena, c->turn, sizeof *c->load);
  c->paid = mp_alloc_array(c->arena, (size_t)c->turn + 1, sizeof *c->paid);
  for (uint32_t v = 0; v < c->turn; v++) dies[last_forward_use(c, v)] += g->bytes[v];
  for (uint32_t v = 0; v < c->turn; v++) {
    c->paid[v + 1] = c->paid[v] + g->cost[v];
    now += g->bytes[v];
    c->load[v] = now;
    now -= dies[v];
    c->through[v] = now;
  }
}

/* Which segment each backward node belongs to, and the memory that it needs there. false: the later part does not read the earlier one from
 * its end. */
static bool measure_backward(chain *c) {
  const rgraph *g = c->g;
  uint32_t n = g->n, now = c->cuts - 1;
  int64_t *dies = mp_alloc_array(c->arena, n, sizeof *dies), live = 0;
  uint32_t *last = mp_alloc_array(c->arena, c->turn, sizeof *last); /* last leaf step that reads it */
  c->leaf = mp_alloc_array(c->arena, n, sizeof *c->leaf);
  c->need = mp_alloc_array(c->arena, c->cuts, sizeof *c->need);
  c->held = mp_alloc_array(c->arena, c->cuts, sizeof *c->held);
  c->inner = mp_alloc_array(c->arena, c->cuts, sizeof *c->inner);
  c->alone = mp_alloc_array(c->arena, c->cuts, sizeof *c->alone);
  for (uint32_t k = 2; k < c->cuts; k++) c->alone[k] = c->at[k] == c->at[k - 1] + 1;
  uint32_t strays = 0;
  for (uint32_t v = c->turn; v < n; v++) {
    uint32_t top = NONE, leaf = 1;
    for (uint32_t k = g->in_at[v]; k < g->in_at[v + 1] && g->in[k] < c->turn; k++) top = g->in[k];
    for (uint32_t hi = c->cuts - 1; top != NONE && leaf < hi;) {
      uint32_t mid = (leaf + hi) / 2;
      if (c->at[mid] < top)
        leaf = mid + 1;
      else
        hi = mid;
    }
    if (top != NONE && leaf < now) now = leaf;
    strays += top != NONE && leaf > now;
    c->leaf[v] = now;
    dies[g->out_at[v + 1] > g->out_at[v] ? g->out[g->out_at[v + 1] - 1] : v] += g->bytes[v];
  }
  if (strays > (n - c->turn) / 8) return false;
  for (uint32_t r = c->turn; r < n;) {
    uint32_t leaf = c->leaf[r], end = r, from = leaf == 1 ? 0 : c->at[leaf - 1] + 1;
    int64_t saved = 0;
    c->held[leaf] = live;
    while (end < n && c->leaf[end] == leaf) end++;
    for (uint32_t s = r; s < end; s++)
      for (uint32_t k = g->in_at[s]; k < g->in_at[s + 1] && g->in[k] < c->turn; k++)
        if (g->in[k] >= from)
          saved += last[g->in[k]] ? 0 : g->bytes[g->in[k]], last[g->in[k]] = s;
        else
          c->alone[leaf] = false;
    for (uint32_t s = r; s < end; s++) {
      live += g->bytes[s];
      if (saved + live > c->need[leaf]) c->need[leaf] = saved + live;
      for (uint32_t k = g->in_at[s]; k < g->in_at[s + 1] && g->in[k] < c->turn; k++)
        if (g->in[k] >= from && last[g->in[k]] == s) saved -= g->bytes[g->in[k]];
      live -= dies[s];
    }
    r = end;
  }
  for (uint32_t k = 1; k < c->cuts; k++)
    for (uint32_t v = k == 1 ? 0 : c->at[k - 1] + 1; v < c->at[k]; v++) c->inner[k] += g->cost[v];
  return true;
}

/* bytes of X_k that are not in X_i: what came after cut i and is read after cut k; the last cut lets its node through to the loss */
static int64_t *cut_bytes(chain *c) {
  int64_t *x = mp_alloc_array(c->arena, (size_t)c->cuts * c->cuts, sizeof *x);
  for (uint32_t k = 1; k < c->cuts; k++) {
    uint32_t v = c->at[k], i = k;
    int64_t sum = 0;
    for (;; v--) {
      while (i && (c->at[i - 1] == NONE ? v == NONE : c->at[i - 1] == v)) x[(size_t)--i * c->cuts + k] = sum;
      if (v == NONE) break;
      if (last_forward_use(c, v) > c->at[k] || v == c->turn - 1) sum += c->g->bytes[v];
    }
  }
  return x;
}

static uint32_t in_slots(const chain *c, int64_t bytes) {
  double s = ceil((double)bytes / c->unit - c->lean);
  return s > 2 * MOST_SLOTS ? 2 * MOST_SLOTS : (uint32_t)s;
}

static double forward(const chain *c, uint32_t i, uint32_t k) { return c->paid[c->at[k] + 1] - (i ? c->paid[c->at[i] + 1] : 0); }

/* best[M] = min(best[M], cost + right[M - x] + left[M]) for M >= need */
static void relax(float *best, uint16_t *split, const float *right, const float *left, float cost, uint32_t x, uint32_t need, uint32_t slots,
                  uint16_t k) {
  if (need < x) need = x;
  for (uint32_t m = need; m <= slots; m++) {
    float now = cost + right[m - x] + left[m];
    bool less = now < best[m];
    best[m] = less ? now : best[m];
    split[m] = less ? k : split[m];
  }
}

/* most bytes while the segments from cut i to cut k are computed with nothing kept, X_i left out; grows with k */
static int64_t transit(const chain *c, uint32_t i, uint32_t k, int64_t *load) {
  for (uint32_t v = k == 1 ? 0 : c->at[k - 1] + 1; v <= c->at[k]; v++)
    if (c->load[v] > *load) *load = c->load[v];
  return *load - (i ? c->through[c->at[i]] : 0);
}

static void fill(float *best, float cost, uint32_t need, uint32_t slots) {
  for (uint32_t m = need; m <= slots; m++) best[m] = cost;
}

static void solve_a(chain *c, uint32_t i, uint32_t j, const int64_t *x) {
  float *to = c->a + pair(c, i, j);
  uint16_t *split = c->split_a + pair(c, i, j);
  int64_t load = 0, across = 0;
  if (j == i + 1) fill(to, (float)c->inner[j], in_slots(c, c->need[j]), c->slots);
  for (uint32_t k = i + 1; k < j; k++) {
    across = transit(c, i, k, &load);
    relax(to, split, c->a + pair(c, k, j), c->a + pair(c, i, k), (float)forward(c, i, k), in_slots(c, x[(size_t)i * c->cuts + k]),
          in_slots(c, x[(size_t)i * c->cuts + j] + across + c->held[j]), c->slots, (uint16_t)k);
  }
  if (!c->alone[j] || j < i + 2) return;
  int64_t need = across + c->held[j - 1];
  relax(to, split, c->zero, c->a + pair(c, i, j - 1), (float)forward(c, i, j - 1), 0, in_slots(c, need > c->need[j] ? need : c->need[j]), c->slots,
        (uint16_t)j);
}

static void solve_f(chain *c, uint32_t i, const int64_t *x) {
  uint32_t last = c->cuts - 1;
  float *to = c->f + (size_t)i * (c->slots + 1);
  uint16_t *split = c->split_f + (size_t)i * (c->slots + 1);
  int64_t load = 0;
  if (i + 1 == last) {
    fill(to, (float)forward(c, i, last), in_slots(c, c->need[last]), c->slots);
    return;
  }
  for (uint32_t k = i + 1; k < last; k++)
    relax(to, split, c->f + (size_t)k * (c->slots + 1), c->a + pair(c, i, k), (float)forward(c, i, k), in_slots(c, x[(size_t)i * c->cuts + k]), 0,
          c->slots, (uint16_t)k);
  if (!c->alone[last]) return;
  for (uint32_t k = i + 1; k <= last; k++) transit(c, i, k, &load);
  int64_t need = transit(c, i, last, &load) + c->held[last - 1];
  relax(to, split, c->zero, c->a + pair(c, i, last - 1), (float)(forward(c, i, last) + forward(c, i, last - 1)), 0,
        in_slots(c, need > c->need[last] ? need : c->need[last]), c->slots, (uint16_t)last);
}

static void solve_cuts(chain *c) {
  size_t states = (size_t)c->cuts * c->cuts * (c->slots + 1), rows = (size_t)c->cuts * (c->slots + 1);
  const int64_t *x = cut_bytes(c);
  c->a = mp_alloc_array(c->arena, states, sizeof *c->a);
  c->f = mp_alloc_array(c->arena, rows, sizeof *c->f);
  c->zero = mp_alloc_array(c->arena, (size_t)c->slots + 1, sizeof *c->zero);
  c->split_a = mp_alloc_array(c->arena, states, sizeof *c->split_a);
  c->split_f = mp_alloc_array(c->arena, rows, sizeof *c->split_f);
  for (size_t k = 0; k < states; k++) c->a[k] = INFINITY;
  for (size_t k = 0; k < rows; k++) c->f[k] = INFINITY;
  for (uint32_t i = c->cuts - 1; i-- > 0;) {
    for (uint32_t j = i + 1; j < c->cuts; j++) solve_a(c, i, j, x);
    solve_f(c, i, x);
  }
}

/* ---- the sequence ---- */

static void append(chain *c, uint32_t v) {
  if (c->out->n == c->out->cap) {
    uint32_t cap = c->out->cap ? c->out->cap * 2 : 1024, *at = mp_alloc_array(c->arena, cap, sizeof *at);
    if (c->out->n) memcpy(at, c->out->at, c->out->n * sizeof *at);
    c->out->at = at;
    c->out->cap = cap;
  }
  c->out->at[c->out->n++] = v;
}

static void write_forward(chain *c, uint32_t i, uint32_t k) {
  for (uint32_t v = i ? c->at[i] + 1 : 0; v <= c->at[k]; v++) append(c, v);
}

static void write_backward(chain *c, uint32_t leaf) {
  for (uint32_t v = c->turn; v < c->g->n; v++)
    if (c->leaf[v] == leaf) append(c, v);
}

/* the last cut's value, or what the forward pass has just left, is there already */
static void write_a(chain *c, uint32_t i, uint32_t j, uint32_t m, const int64_t *x) {
  while (j > i + 1) {
    uint32_t k = c->split_a[pair(c, i, j) + m];
    if (k == j) {
      write_backward(c, j);
      write_forward(c, i, --j);
      continue;
    }
    write_forward(c, i, k);
    write_a(c, k, j, m - in_slots(c, x[(size_t)i * c->cuts + k]), x);
    j = k;
  }
  for (uint32_t v = i ? c->at[i] + 1 : 0; v < c->at[j]; v++) append(c, v);
  write_backward(c, j);
}

static void write_f(chain *c, uint32_t i, uint32_t m, const int64_t *x) {
  uint32_t last = c->cuts - 1;
  if (i + 1 == last) {
    write_forward(c, i, last);
    write_backward(c, last);
    return;
  }
  uint32_t k = c->split_f[(size_t)i * (c->slots + 1) + m];
  if (k == last) {
    write_forward(c, i, last);
    write_backward(c, last);
    write_forward(c, i, last - 1);
    write_a(c, i, last - 1, m, x);
    return;
  }
  write_forward(c, i, k);
  write_f(c, k, m - in_slots(c, x[(size_t)i * c->cuts + k]), x);
  write_a(c, i, k, m, x);
}

bool mp_chain(mp_arena *a, const rgraph *g, int64_t budget, bool lean, list *out) {
  chain c = {.arena = a, .g = g, .turn = find_turn(a, g), .lean = lean ? 0.5 : 1e-9, .out = out};
  out->n = 0;
  if (c.turn < 3 || c.turn >= g->n || budget <= 0) return false;
  c.slots = budget < MOST_SLOTS ? (uint32_t)budget : MOST_SLOTS;
  c.unit = (double)budget / c.slots;
  measure_forward(&c);
  choose_cuts(&c);
  if (!measure_backward(&c)) return false;
  solve_cuts(&c);
  if (isinf(c.f[c.slots])) return false;
  write_f(&c, 0, c.slots, cut_bytes(&c));
  return true;
}
