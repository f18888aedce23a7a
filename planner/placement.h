/* Which module instances to recompute, and what to keep inside them, so that training fits a budget at the least extra compute: with a proved lower limit on that compute.
 *
 * The budget bounds the real peak: every candidate plan is built as a tape and replayed, and only replayed plans are answers. The search only decides which plans to try.
 *
 * The bound. Let C be the calls that some plan of the granularity could recompute, and tau a moment of the plain tape (nothing recomputed) after the forward pass began and before
 * backward reaches any node of C that saves. Until tau nothing has been recomputed, so a plan's memory at tau is the plain tape's, less the storages that the plan's regions do not keep, plus what
 * regions keep besides: at least alive(tau) - freed(plan). So every plan that fits budget B frees at least R = max alive(tau) - B by then.
 *   What a plan frees: a storage goes only if all nodes that save it lie in recomputed regions. Give every saving call an equal share of the storage's bytes; then freed(plan) <= the sum of the
 *   shares of the plan's calls, region by region.
 *   What it costs: a region that is recomputed runs its calls up to its last saving call (early stop), policies apart.
 *   Minimum over plans of cost(S) with share(S) >= R is at least max over lambda >= 0 of lambda R + min over S of (cost - lambda share)(S) (weak duality), and the inner minimum over
 *   antichains of the module tree is a sum over the tree.
 * With a per-call policy a storage that is freed was made by a call that has to run again: items are then calls, with the bytes of what they made, and the fractional cover of R by them bounds the
 * cost of any plan of any granularity. */
#ifndef MP_PLACEMENT_H
#define MP_PLACEMENT_H

#include "planner/checkpointing.h"

/* One thing that can be recomputed as a whole: an instance, or a run of siblings of a Sequential. */
typedef struct mp_candidate {
  uint32_t first, end;    /* calls */
  const char *pattern;    /* its path, or PATH.FIRST..PATH.LAST */
  uint64_t frees, share;  /* bytes: what it frees for sure, and at most */
  double cost;            /* operations */
  bool is_block;          /* a repeated module, or a run of siblings of a Sequential */
  bool is_module;         /* a repeated module: these are disjoint */
} mp_candidate;

/* An in-place call of calls [first, end) writes into what they were given. */
bool mp_region_spoils_input(const mp_program *p, uint32_t first, uint32_t end);
/* A module with shared weights that runs twice would be wrapped twice. */
bool mp_instance_runs_once(const mp_program *p, uint32_t i);

/* keep[w * n + i]: is item at[i] in the dearest set whose bytes are at most w of MP_KNAPSACK_UNITS parts of all bytes (knapsack.c) */
#define MP_KNAPSACK_UNITS 500
void mp_knapsack(mp_arena *a, const mp_candidate *items, const uint32_t *at, uint32_t n, bool *keep);

#endif
