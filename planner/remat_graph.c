/* The instance, checked, as arrays; and the clock. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "planner/remat_inside.h"

static int by_number(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static const char *node_name(mp_arena *a, const mp_remat *in, uint32_t v) {
  const char *s = in->nodes[v].name;
  return s && *s ? mp_format(a, "node %u '%s'", v, s) : mp_format(a, "node %u", v);
}

static void copy_nodes(mp_arena *a, rgraph *g) {
  const mp_remat *in = g->instance;
  uint64_t sum = 0, edges = 0;
  const char *file = in->name ? in->name : "instance";
  for (uint32_t v = 0; v < g->n; v++) {
    const mp_remat_node *x = &in->nodes[v];
    if (!(x->cost >= 0) || x->cost > 1e300)
      mp_fail(a, MP_BAD_INPUT, "%s: %s: cost %g, expected a number of 0 or more", file, node_name(a, in, v), x->cost);
    if (!mp_add_u64(sum, x->bytes, &sum) || sum > INT64_MAX / 4)
      mp_fail(a, MP_BAD_INPUT, "%s: %s: the bytes of all nodes together exceed 2^61; give smaller ones", file, node_name(a, in, v));
    g->cost[v] = x->cost;
    g->bytes[v] = (int64_t)x->bytes;
    g->base_cost += x->cost;
    edges += x->n_inputs;
  }
  if (edges > NONE - 1) mp_fail(a, MP_BAD_INPUT, "%s: %llu inputs in all; at most 2^32 are read", file, (unsigned long long)edges);
  g->in = mp_alloc_array(a, edges, sizeof *g->in);
  uint32_t at = 0;
  for (uint32_t v = 0; v < g->n; v++) {
    const mp_remat_node *x = &in->nodes[v];
    uint32_t from = at;
    for (uint32_t k = 0; k < x->n_inputs; k++) {
      if (x->inputs[k] >= v)
        mp_fail(a, MP_BAD_INPUT, "%s: %s: input %u is not an earlier node; list the nodes in topological order", file, node_name(a, in, v),
                x->inputs[k]);
      g->in[at++] = x->inputs[k];
    }
    if (at > from) qsort(g->in + from, at - from, sizeof *g->in, by_number);
    uint32_t keep = from;
    for (uint32_t k = from; k < at; k++)
      if (k == from || g->in[k] != g->in[k - 1]) g->in[keep++] = g->in[k];
    at = keep;
    g->in_at[v] = from;
    g->in_at[v + 1] = at;
  }
}

static void turn_edges(mp_arena *a, rgraph *g) {
  g->out = mp_alloc_array(a, g->in_at[g->n], sizeof *g->out);
  for (uint32_t k = 0; k < g->in_at[g->n]; k++) g->out_at[g->in[k] + 1]++;
  for (uint32_t v = 0; v < g->n; v++) g->out_at[v + 1] += g->out_at[v];
  uint32_t *fill = mp_alloc_array(a, g->n, sizeof *fill);
  for (uint32_t v = 0; v < g->n; v++)
    for (uint32_t k = g->in_at[v]; k < g->in_at[v + 1]; k++) g->out[g->out_at[g->in[k]] + fill[g->in[k]]++] = v;
}

/* the peaks that need no schedule */
static void measure(mp_arena *a, rgraph *g) {
  int64_t *dies = mp_alloc_array(a, g->n, sizeof *dies), now = 0;
  for (uint32_t v = 0; v < g->n; v++) dies[g->out_at[v + 1] > g->out_at[v] ? g->out[g->out_at[v + 1] - 1] : v] += g->bytes[v];
  for (uint32_t v = 0; v < g->n; v++) {
    now += g->bytes[v];
    if (now > g->base_peak) g->base_peak = now;
    now -= dies[v];
    int64_t need = g->bytes[v];
    for (uint32_t k = g->in_at[v]; k < g->in_at[v + 1]; k++) need += g->bytes[g->in[k]];
    if (need > g->least) g->least = need;
  }
}

/* the greatest common divisor of the costs, when all are whole numbers whose sums are exact in a double */
static double common_unit(const rgraph *g) {
  uint64_t unit = 0;
  if (g->base_cost > 9007199254740992.0 / 64) return 0;
  for (uint32_t v = 0; v < g->n; v++) {
    if (g->cost[v] != floor(g->cost[v])) return 0;
    for (uint64_t x = (uint64_t)g->cost[v]; x;) {
      uint64_t r = unit % x;
      unit = x;
      x = r;
    }
  }
  return (double)unit;
}

rgraph *mp_rgraph_make(mp_arena *a, const mp_remat *in) {
  rgraph *g = mp_alloc(a, sizeof *g);
  g->instance = in;
  g->n = in->n;
  if (!in->n) mp_fail(a, MP_BAD_INPUT, "%s: no nodes", in->name ? in->name : "instance");
  if (in->n >= NONE / 4) mp_fail(a, MP_BAD_INPUT, "%s: %u nodes; at most 2^30 are read", in->name ? in->name : "instance", in->n);
  g->cost = mp_alloc_array(a, g->n, sizeof *g->cost);
  g->bytes = mp_alloc_array(a, g->n, sizeof *g->bytes);
  g->in_at = mp_alloc_array(a, (size_t)g->n + 1, sizeof *g->in_at);
  g->out_at = mp_alloc_array(a, (size_t)g->n + 1, sizeof *g->out_at);
  copy_nodes(a, g);
  turn_edges(a, g);
  measure(a, g);
  g->unit = common_unit(g);
  return g;
}

static double read_clock(clockid_t id) {
  struct timespec now;
  clock_gettime(id, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void mp_rclock_extend(rclock *c, double seconds) {
  c->over = false;
  c->cpu_end = read_clock(CLOCK_THREAD_CPUTIME_ID) + seconds;
  c->wall_end = read_clock(CLOCK_MONOTONIC) + seconds * c->patience;
}

void mp_rclock_start(rclock *c, double seconds) {
  c->wall = c->looked = read_clock(CLOCK_MONOTONIC);
  c->cpu = read_clock(CLOCK_THREAD_CPUTIME_ID);
  mp_rclock_extend(c, seconds);
}

rclock mp_rclock_part(const rclock *c, double seconds) {
  rclock part = *c;
  mp_rclock_extend(&part, seconds);
  if (part.cpu_end > c->cpu_end) part.cpu_end = c->cpu_end;
  if (part.wall_end > c->wall_end) part.wall_end = c->wall_end;
  part.over = c->over;
  return part;
}

bool mp_rclock_over(rclock *c) {
  if (c->over) return true;
  if (c->opt->interrupt && *c->opt->interrupt) return c->over = true;
  double wall = read_clock(CLOCK_MONOTONIC);
  if (c->opt->progress && wall - c->wall - c->said > 0.5) {
    c->said = wall - c->wall;
    c->opt->progress(c->opt->progress_arg, c->said, c->cost, c->bound);
  }
  if (wall - c->looked < 0.001) return false; /* reading the thread's time is a system call */
  c->looked = wall;
  return c->over = wall > c->wall_end || read_clock(CLOCK_THREAD_CPUTIME_ID) > c->cpu_end;
}
