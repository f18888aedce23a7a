/* Rematerialization against brute force on small instances, known optima, hostile files. */
#include <math.h>

#include "planner/remat.h"
#include "support_base.h"

/* ---- brute force: shortest path over (resident set, next first computation) ---- */

enum { MOST = 9 };

typedef struct tiny {
  mp_remat in;
  mp_remat_node node[MOST];
  uint32_t inputs[MOST][MOST];
} tiny;

static uint64_t state = 88172645463325252u;

static uint32_t draw(uint32_t n) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 33) % n;
}

static void make(tiny *t, uint32_t n) {
  uint32_t kind = draw(4), cost = draw(3) ? 9 : 1, bytes = draw(3) ? 9 : 1;
  memset(t, 0, sizeof *t);
  t->in = (mp_remat){.name = "tiny", .n = n, .nodes = t->node};
  for (uint32_t v = 0; v < n; v++) {
    mp_remat_node *x = &t->node[v];
    x->cost = (double)(draw(10) ? 1 + draw(cost) : 0);
    if (kind == 3) x->cost += 0.25 * draw(4) + 0.1 * draw(2);
    x->bytes = draw(12) ? 1 + draw(bytes) : 0;
    x->inputs = t->inputs[v];
    for (uint32_t u = 0; u < v; u++) {
      bool chain = kind == 1 && (u + 1 == v || u + v + 1 == n); /* a forward chain and its backward */
      if (chain || (kind != 1 && draw(v) < 2)) t->inputs[v][x->n_inputs++] = u;
    }
  }
}

/* the least cost, or INFINITY. Costs are summed as they are; states are settled in order of cost. */
static double brute(const tiny *t, uint64_t budget) {
  static double dist[MOST + 1][1 << MOST];
  static bool done[MOST + 1][1 << MOST];
  uint32_t n = t->in.n, sets = 1u << n;
  uint64_t bytes[1 << MOST];
  for (uint32_t s = 0; s < sets; s++) {
    bytes[s] = 0;
    for (uint32_t v = 0; v < n; v++)
      if (s >> v & 1) bytes[s] += t->node[v].bytes;
  }
  for (uint32_t k = 0; k <= n; k++)
    for (uint32_t s = 0; s < sets; s++) dist[k][s] = INFINITY, done[k][s] = false;
  dist[0][0] = 0;
  for (uint32_t k = 0; k <= n; k++) { /* within a stage: settle by cost, simple and slow; the next stage only grows from this one */
    for (;;) {
      uint32_t s = sets;
      for (uint32_t q = 0; q < sets; q++)
        if (!done[k][q] && dist[k][q] < INFINITY && (s == sets || dist[k][q] < dist[k][s])) s = q;
      if (s == sets) break;
      done[k][s] = true;
      if (k == n) return dist[k][s];
      for (uint32_t v = 0; v <= k; v++) {
        if (s >> v & 1) {
          uint32_t q = s & ~(1u << v);
          if (dist[k][s] < dist[k][q]) dist[k][q] = dist[k][s];
          continue;
        }
        uint32_t need = 0, q = s | 1u << v, to = k + (v == k);
        for (uint32_t j = 0; j < t->node[v].n_inputs; j++) need |= 1u << t->inputs[v][j];
        if ((s & need) != need || bytes[q] > budget) continue;
        if (dist[k][s] + t->node[v].cost < dist[to][q]) dist[to][q] = dist[k][s] + t->node[v].cost;
      }
    }
  }
  return INFINITY;
}

static void check_valid(mp_arena *a, const mp_remat *in, const mp_remat_result *r) {
  mp_err err;
  const mp_remat_replayed *p = mp_remat_replay(a, in, r->steps, r->n_steps, &err);
  if (!p) fail_msg("%s", err.text);
  assert_true(p->peak == r->peak && p->peak <= r->budget);
  assert_true(fabs(p->cost - r->cost) <= 1e-9 * (1 + p->cost));
  assert_true(r->bound <= r->cost + 1e-9 * (1 + r->cost));
}

static void small_instances_against_brute_force(void **unused) {
  (void)unused;
  const char *more = getenv("MEMPLAN_REMAT_CASES");
  unsigned long cases = more ? strtoul(more, NULL, 10) : 1500, feasible = 0, best = 0, proved = 0, never = 0;
  double over = 0, gap = 0;
  for (unsigned long c = 0; c < cases; c++) {
    mp_arena *a = mp_arena_new(0);
    mp_err err;
    tiny t;
    make(&t, 3 + draw(more ? 7 : 6));
    const mp_remat_result *base = mp_remat_base(a, &t.in, &err);
    assert_non_null(base);
    uint64_t least = base->least, budget = least + (base->base_peak > least ? draw((uint32_t)(base->base_peak - least)) : 0);
    double optimum = brute(&t, budget);
    mp_remat_options off = {.no_fixing = c % 2, .no_rounding = c % 3 == 0, .no_rows = c % 5 == 0, .no_closure = c % 7 == 0, .no_chain = c % 4 == 0};
    const mp_remat_result *r = mp_remat_solve(a, &t.in, budget, &off, &err);
    if (!r) fail_msg("%s", err.text);
    double tiny_bit = 1e-9 * (1 + base->base_cost);
    assert_true(r->bound <= optimum + tiny_bit);
    assert_int_equal(r->feasible, !isinf(optimum));
    assert_int_equal(r->impossible, isinf(optimum));
    never += r->impossible;
    if (r->feasible) {
      check_valid(a, &t.in, r);
      assert_true(r->cost >= optimum - tiny_bit);
      if (r->optimal) assert_true(r->cost <= optimum + tiny_bit);
      feasible++;
      best += r->cost <= optimum + tiny_bit;
      proved += r->optimal;
      over += optimum > 0 ? r->cost / optimum - 1 : 0;
      gap += r->bound > 0 ? optimum / r->bound - 1 : 0;
    }
    mp_arena_free(a);
  }
  print_message(
      "%lu instances, %lu impossible: cost %.3f %% over the optimum on average, optimal on %.2f %%, proved on %.2f %%; bound %.2f %% under it\n",
      cases, never, 100 * over / (double)feasible, 100.0 * (double)best / (double)feasible, 100.0 * (double)proved / (double)feasible,
      100 * gap / (double)feasible);
  assert_true(over / (double)feasible < 0.01);
  assert_true(feasible > cases / 2 && never > 0);
}

/* a switch changes how long the bound takes, not what it is */
static void every_switch_gives_the_same_bound(void **unused) {
  (void)unused;
  for (int c = 0; c < 300; c++) {
    mp_arena *a = mp_arena_new(0);
    mp_err err;
    tiny t;
    make(&t, 9);
    for (uint32_t v = 0; v < t.in.n; v++) t.node[v].cost = floor(t.node[v].cost);
    const mp_remat_result *base = mp_remat_base(a, &t.in, &err);
    uint64_t budget = (base->least + base->base_peak) / 2;
    double first = -1;
    for (int k = 0; k < 5; k++) {
      mp_remat_options opt = {.no_fixing = k == 1, .no_rounding = k == 2, .no_rows = k == 3, .no_closure = k < 4, .no_search = true};
      const mp_remat_result *r = mp_remat_solve(a, &t.in, budget, &opt, &err);
      assert_non_null(r);
      if (k == 0) first = r->bound;
      if (r->feasible && k < 4) assert_true(fabs(r->bound - first) <= 1e-6 * (1 + first));
      if (r->feasible) assert_true(r->bound >= first - 1e-6 * (1 + first)); /* the inputs of recomputations only add */
    }
    mp_arena_free(a);
  }
}

/* ---- chains: revolve's binomial optimum ---- */

/* n forward nodes, a loss, n backward nodes of cost and size 1; backward k reads its gradient and, of the forward values, k (own) or k - 1 */
static mp_remat *unit_chain(mp_arena *a, uint32_t m, bool own) {
  uint32_t n = 2 * m + 1;
  mp_remat_node *node = mp_alloc_array(a, n, sizeof *node);
  for (uint32_t v = 0; v < n; v++) {
    uint32_t *in = mp_alloc_array(a, 2, sizeof *in), k = 0, fwd = 2 * m - v;
    if (v && v <= m) in[k++] = v - 1;
    if (v > m) {
      if (own || fwd > 0) in[k++] = own ? fwd : fwd - 1;
      in[k++] = v - 1;
    }
    node[v] = (mp_remat_node){.cost = 1, .bytes = 1, .backward = v > m, .inputs = in, .n_inputs = k};
  }
  mp_remat *r = mp_alloc(a, sizeof *r);
  *r = (mp_remat){.name = "chain", .n = n, .nodes = node};
  return r;
}

/* Griewank and Walther, ACM TOMS 26 (2000), equation 3: forward steps to reverse l steps with s checkpoints */
static uint64_t revolve(uint64_t l, uint64_t s) {
  uint64_t r = 0, beta = 1, before = 0; /* beta(s, r) = (s + r)! / (s! r!) */
  while (beta < l) r++, beta = beta * (s + r) / r;
  for (uint64_t k = 1; k <= r; k++) before = k == 1 ? 1 : before * (s + k) / (k - 1); /* beta(s + 1, r - 1) */
  return r * l - (r ? before : 0);
}

static const void *make_chain(mp_arena *a, void *arg) {
  const uint32_t *p = arg;
  return unit_chain(a, p[0], p[1]);
}

static double chain_cost(uint32_t m, bool own, uint64_t budget) {
  mp_arena *a = mp_arena_new(0);
  mp_err err;
  uint32_t arg[2] = {m, own};
  const mp_remat *in = mp_protect(a, &err, make_chain, arg);
  const mp_remat_result *r = mp_remat_solve(a, in, budget, &(mp_remat_options){.time_limit = 0.2}, &err);
  assert_true(r && r->feasible);
  check_valid(a, in, r);
  double cost = r->cost;
  mp_arena_free(a);
  return cost;
}

static void unit_chains_cost_what_revolve_says(void **unused) {
  (void)unused;
  assert_true(chain_cost(8, true, 4) == 26);                                         /* Checkmate's linear graph of 17 nodes */
  static const uint32_t known[][2] = {{153, 3}, {67, 4}, {53, 5}, {47, 6}, {44, 7}}; /* 33 nodes, by exhaustive search */
  for (int k = 0; k < 5; k++) assert_true(chain_cost(16, true, known[k][1]) == known[k][0]);
  static const uint32_t more[][2] = {{16, 3}, {16, 5}, {16, 7}, {40, 4}, {40, 6}, {100, 8}, {200, 9}};
  for (int k = 0; k < 7; k++) {
    uint32_t m = more[k][0], budget = more[k][1];
    double optimum = 2 * m + 1 + (double)revolve(m, budget - 2) - (m - 1), cost = chain_cost(m, false, budget);
    if (cost != optimum) fail_msg("%u forward nodes in %u slots cost %g, the optimum is %g", m, budget, cost, optimum);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(small_instances_against_brute_force),
      cmocka_unit_test(every_switch_gives_the_same_bound),
      cmocka_unit_test(unit_chains_cost_what_revolve_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
