/* For the files remat_*.c alone.
 *
 *   instance -> graph -> base sequence -> bound (which gaps must break) -> seeds -> search -> schedule
 *
 * A schedule is kept as a sequence of computations (events). When to free follows: a value dies after its last use before the node is
 * computed again. Every sequence that holds the first computations in order is then a valid schedule, and only its peak is in question. */
#ifndef MP_REMAT_INSIDE_H
#define MP_REMAT_INSIDE_H

#include "planner/remat.h"

#define NONE UINT32_MAX

/* The instance as arrays; inputs and users without duplicates, sorted. */
typedef struct rgraph {
  const mp_remat *instance;
  uint32_t n;
  double *cost;
  int64_t *bytes;
  uint32_t *in_at, *in;   /* inputs of v: in[in_at[v] .. in_at[v + 1]) */
  uint32_t *out_at, *out; /* users of v */
  double base_cost, unit; /* every schedule's cost is a multiple of unit; 0 when the costs are not whole numbers */
  int64_t base_peak, least;
} rgraph;

typedef struct list {
  uint32_t *at, n, cap;
} list;

typedef struct event {
  uint64_t key; /* its place in the sequence: rank of its block << 32 | slot in it */
  uint32_t node;
  uint32_t extra; /* its place in seq.extras, NONE for a first computation */
  list users;     /* events that read it, in order */
} event;

typedef struct seq {
  mp_arena *arena;
  const rgraph *g;
  event *ev;
  uint32_t n_ev, cap_ev;
  list spare;    /* ids of removed events, last in first out */
  list *of_node; /* events of each node, in order; the first is the first computation */
  list extras;   /* events that are not first computations */
  double cost;
  /* blocks of at most BLOCK events; order[k] is the k-th block's id */
  struct block *blocks;
  uint32_t n_blocks, cap_blocks;
  uint32_t *order;
  int64_t *add, *max; /* by rank: what to add to each memory figure of the block; the largest, with that added */
  /* what was done since the last commit, for undo */
  struct change *log;
  size_t n_log, cap_log;
  list *pools; /* freed list storage by size class */
} seq;

rgraph *mp_rgraph_make(mp_arena *a, const mp_remat *in);

/* nodes: a sequence with every first computation in order. */
seq *mp_seq_make(mp_arena *a, const rgraph *g, const list *nodes);
void mp_seq_load(seq *s, const list *nodes);                                         /* another one in the same storage */
void mp_seq_save(const seq *s, list *nodes);                                         /* grows nodes where it must */
static inline uint64_t mp_seq_key(const seq *s, uint32_t e) { return s->ev[e].key; } /* compares like the position */
uint32_t mp_seq_next(const seq *s, uint32_t e);                                      /* the following event, or NONE */
static inline uint32_t mp_seq_end(const seq *s, uint32_t e) {                        /* its last user, or itself */
  const list *u = &s->ev[e].users;
  return u->n ? u->at[u->n - 1] : e;
}
uint32_t mp_seq_before(const seq *s, uint32_t node, uint64_t key);  /* latest event of node before key; it has one */
uint32_t mp_seq_user_after(const seq *s, uint32_t e, uint64_t key); /* first user of e at or after key, or NONE */
uint32_t mp_seq_insert(seq *s, uint32_t node, uint32_t before);
void mp_seq_remove(seq *s, uint32_t e);
int64_t mp_seq_peak(const seq *s);
uint32_t mp_seq_argpeak(const seq *s, bool last); /* first (last) event at the peak */
int64_t mp_seq_mem(const seq *s, uint32_t e);
int64_t mp_seq_max(const seq *s, uint64_t after, uint64_t before); /* over after < key < before; INT64_MIN when empty */
size_t mp_seq_mark(const seq *s);                                  /* a state to come back to */
void mp_seq_undo(seq *s, size_t mark);                             /* takes back every edit since; 0: since the last commit */
void mp_seq_commit(seq *s);                                        /* forgets the marks */

/* When to stop: time, an interrupt. Also says how far it is. Time is this thread's own; wall time may be patience times that, should the
 * machine be busy. */
typedef struct rclock {
  const mp_remat_options *opt;
  double wall, cpu; /* when it started */
  double patience, cpu_end, wall_end;
  double said, looked;
  double cost, bound; /* best so far; cost < 0: none */
  bool over;
} rclock;
void mp_rclock_start(rclock *c, double seconds);
void mp_rclock_extend(rclock *c, double seconds);       /* runs so long from now */
rclock mp_rclock_part(const rclock *c, double seconds); /* one that ends after so long, and not after c */
bool mp_rclock_over(rclock *c);

/* ---- the lower bound: see remat_bound.c ---- */

typedef struct gap {
  uint32_t node, from, to; /* consecutive uses of node; rows from + 1 .. to - 1 lie inside */
  uint32_t lo, hi;         /* the same as rows of the cover, lo .. hi - 1 */
  double cost, mem;
  int8_t fixed;   /* -1 free, 0 held, 1 broken */
  bool broken;    /* in the best cover found */
  double reduced; /* cost less what breaking saves at the best multipliers */
} gap;

typedef struct cover {
  mp_arena *arena;
  const mp_remat_options *opt;
  uint32_t n_gaps, n_rows;
  gap *gaps;
  uint32_t *row_of; /* by node: rows before it; one more for the end */
  double *need;     /* by row: bytes that broken gaps must save */
  double *lambda;   /* by row: best multipliers so far */
  double unit, tol;
  double lower; /* proved: every cover costs at least this */
  double upper; /* cost of the best cover found; no schedule's extra cost was proved to be less than lower */
  bool impossible, exact;
  struct cover_work *work;
} cover;

cover *mp_cover_make(mp_arena *a, const rgraph *g, int64_t budget, const mp_remat_options *opt);
void mp_cover_relax(cover *c, double target, uint32_t rounds);
/* value, rounded up to what a schedule's extra cost can be */
double mp_cover_round(const cover *c, double value);
/* A bound from the inputs of recomputations: see remat_tail.c. target: a schedule's extra cost. For some thousand nodes; else 0. */
double mp_tail_bound(mp_arena *a, const rgraph *g, const cover *c, int64_t budget, double target, uint32_t rounds, rclock *clock);
/* Least cover, unless it costs target or more (then lower >= target). */
void mp_cover_solve(cover *c, double target, uint64_t nodes, rclock *clock);

/* ---- search ---- */

typedef struct search {
  const rgraph *g;
  seq *s;
  int64_t budget, wanted; /* for now; in the end */
  uint64_t random;
  mp_arena *arena;
  rclock *clock;             /* may be NULL */
  uint32_t *cheap, n_cheap;  /* nodes worth dropping, least cost a byte first */
  uint64_t hot;              /* where the memory is over the budget now, if not 0: nothing can be held across */
  uint32_t *gone, hot_stamp; /* by node: known to end before it */
  uint32_t salt, bold;       /* which inputs are held on to without room: bold of 16, chosen by salt */
  /* the closure that was looked at last */
  uint32_t count, most; /* its size; the most that is looked at */
  uint32_t *seen, stamp;
  list closure;
  double cost;
  int64_t held;
} search;

void mp_search_open(search *x, mp_arena *a, const rgraph *g, int64_t budget, uint64_t seed);
/* Breaks the cover's gaps in x->s (a base sequence): each node is computed again before the gap's end. */
void mp_search_break(search *x, const cover *c);
/* Computes values again until the peak fits. noise 0: always the best choice. false: no way found in so many steps. */
bool mp_search_repair(search *x, double noise, uint32_t steps);
/* Takes out every recomputation that the budget has room without. */
void mp_search_trim(search *x);
/* Takes a few recomputations out, repairs, keeps what is no worse; until cost <= goal, rounds or the clock are used up, or, unless
 * endless, nothing better was found for long. */
void mp_search_improve(search *x, double goal, uint32_t rounds, bool endless, rclock *clock);

/* How much a resident value is worth: (cost of its return) ^ cost / (bytes ^ bytes * (stages until its next need) ^ wait). */
typedef struct mp_evict_way {
  double cost, bytes, wait;
} mp_evict_way;
/* Which nodes cannot be computed within the budget: see remat_scratch.c. */
typedef enum mp_scratch_end { MP_SCRATCH_FOUND, MP_SCRATCH_NEVER, MP_SCRATCH_UNKNOWN } mp_scratch_end;
uint64_t *mp_scratch_ancestors(mp_arena *a, const rgraph *g); /* by node: a set of itself and its ancestors */
/* path (storage given): computations that lead from nothing to v. Looks at limit sets at most. */
mp_scratch_end mp_scratch(mp_arena *a, const rgraph *g, const uint64_t *ancestors, uint32_t v, int64_t budget, uint32_t limit, list *path);

typedef enum mp_evict_end { MP_EVICT_DONE, MP_EVICT_STUCK, MP_EVICT_IMPOSSIBLE } mp_evict_end;
/* Runs the program in a memory of budget bytes; out: the sequence. At most limit computations. ancestors: NULL, or from
 * mp_scratch_ancestors to compute nodes from nothing where the memory is stuck. For some thousand nodes. */
mp_evict_end mp_evict(mp_arena *a, const rgraph *g, int64_t budget, mp_evict_way way, size_t limit, const uint64_t *ancestors, rclock *clock,
                      list *out);

/* A sequence for a graph that is a forward part and its backward part. Its peak may exceed the budget somewhat, more so when
 * lean (sizes are rounded to slots of memory, not up). false: no such graph, or no such sequence. */
bool mp_chain(mp_arena *a, const rgraph *g, int64_t budget, bool lean, list *out);

#endif
