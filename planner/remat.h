/* Rematerialization: which values of a fixed program to compute again, so that it runs inside a memory budget at the least extra cost.
 *
 * The rules (Checkmate's, Jain et al., MLSys 2020, without its fixed order inside a stage). Nodes are numbered in topological order. Node t
 * is computed for the first time after node t-1. Before it, any earlier node may be computed again, in any order, from what is
 * resident. All inputs of a node are resident while it is computed. A resident value may be freed at any time. The peak counts
 * every resident value and the one being computed.
 *
 * Plain data in, plain data out: an instance comes from a CSV file or from the tape of a training step. Nothing here prints, installs a
 * signal handler or keeps state. */
#ifndef MP_REMAT_H
#define MP_REMAT_H

#include "onnx/base.h"

typedef struct mp_remat_node {
  const char *name; /* may be NULL */
  double cost;      /* of computing it once, >= 0; any unit */
  uint64_t bytes;   /* of its value */
  bool backward;
  const uint32_t *inputs; /* smaller than its own index */
  uint32_t n_inputs;
} mp_remat_node;

typedef struct mp_remat {
  const char *name; /* for messages */
  uint32_t n;
  const mp_remat_node *nodes;
} mp_remat;

typedef enum mp_remat_act { MP_REMAT_COMPUTE, MP_REMAT_FREE } mp_remat_act;

typedef struct mp_remat_step {
  mp_remat_act act;
  uint32_t node;
} mp_remat_step;

typedef struct mp_remat_options {
  double time_limit;                                                      /* seconds, 0: the default (under a second up to some thousands of nodes) */
  const volatile int *interrupt;                                          /* not zero: stop and hand back the best so far; may be NULL */
  void (*progress)(void *arg, double seconds, double cost, double bound); /* now and then; cost < 0: none yet; may be NULL */
  void *progress_arg;
  /* Switches for tests: the answer's validity never depends on them, a finished bound's value neither. */
  bool no_fixing;   /* bound: do not fix gaps by their reduced cost */
  bool no_rounding; /* bound: do not round up to the costs' common divisor */
  bool no_rows;     /* bound: keep rows that another row implies */
  bool no_closure;  /* bound: do not charge for inputs that are dead */
  bool no_chain;    /* search: no dynamic program for chains */
  bool no_search;   /* search: first schedule found, no improvement */
} mp_remat_options;

typedef struct mp_remat_result {
  bool feasible;   /* there is a schedule */
  bool impossible; /* proved: no schedule exists. Neither: the search gave up */
  bool optimal;    /* cost is proved least */
  uint64_t budget, base_peak, peak;
  uint64_t least; /* no schedule has a smaller peak than this (the largest node with its inputs) */
  double base_cost, cost, bound;
  const mp_remat_step *steps;
  size_t n_steps;
  const char *why; /* when not feasible: one line */
} mp_remat_result;

/* Reads columns index,name,cost,bytes,backward,inputs (inputs separated by spaces). NULL and err: where and what. */
const mp_remat *mp_remat_read(mp_arena *a, const char *path, mp_err *err);

/* Peak when nothing is computed twice and every value dies after its last use. */
const mp_remat_result *mp_remat_base(mp_arena *a, const mp_remat *in, mp_err *err);

/* The cheapest schedule found within budget bytes, and a proved lower bound. opt may be NULL. A budget that cannot be met is a result
 * (feasible false), not an error. */
const mp_remat_result *mp_remat_solve(mp_arena *a, const mp_remat *in, uint64_t budget, const mp_remat_options *opt, mp_err *err);

typedef struct mp_remat_replayed {
  double cost;
  uint64_t peak;
} mp_remat_replayed;
/* Replays steps by the rules alone; shares no code with the solver. NULL: err names the step and the rule that it breaks. */
const mp_remat_replayed *mp_remat_replay(mp_arena *a, const mp_remat *in, const mp_remat_step *steps, size_t n_steps, mp_err *err);

/* Reports. */
const char *mp_remat_text(mp_arena *a, const mp_remat *in, const mp_remat_result *r, mp_err *err);
const char *mp_remat_json(mp_arena *a, const mp_remat *in, const mp_remat_result *r, mp_err *err);

#endif
