/* Between the files of the placement search (placement*.c). The search only decides which sets of regions to try; each set is built as a tape. */
#ifndef MP_PLACEMENT_INSIDE_H
#define MP_PLACEMENT_INSIDE_H

#include <time.h>

#include "planner/placement.h"

typedef struct mp_saved_storage { /* one that something saves */
  int32_t made, first, last; /* calls: its maker (-1: an input), its first and last saver */
  uint32_t savers;
  uint64_t bytes;
} mp_saved_storage;

typedef struct mp_place {
  mp_arena *a;
  const mp_trace *t;
  const mp_run *run;
  const mp_search *ask;
  MP_VEC(mp_candidate) all; /* by their end */
  mp_saved_storage *stor;
  uint32_t stor_count;
  double *cost;             /* of each call */
  bool *saves;              /* does the call make a node that saves */
  double *share;            /* bytes of each call, see placement.h */
  uint64_t *made;           /* saved bytes that each call made */
  const mp_tape *plain;     /* nothing is recomputed but what every plan inverts */
  const mp_timeline *plain_line;
  double base;              /* operations of a step's forward and backward, one micro-batch */
  clock_t began;
  uint32_t tried;
  double bound;             /* of the overhead */
  bool found_blocks;        /* the program has repeated modules */
  bool only_blocks;         /* the search looks at blocks alone */
  const mp_region *inverted; /* regions that every plan inverts */
  uint32_t inverted_count;
  uint64_t cap;             /* regions that free more are not chosen: a region is held whole while it is recomputed */
  bool out_of_time;
} mp_place;

typedef struct mp_choice { /* candidates, from the last to the first; those around others before them */
  uint32_t *at, n;
} mp_choice;

typedef struct mp_trial {
  uint64_t peak;
  double cost; /* operations recomputed in one micro-batch */
} mp_trial;

typedef struct mp_record { /* the best so far, and what comes nearest */
  mp_choice best, nearest;
  mp_trial got, near;
  bool found;
} mp_record;

/* placement_candidates.c */
void mp_place_measure(mp_place *s);    /* what the trace saves and what calls cost */
void mp_place_candidates(mp_place *s); /* fills `all` */
int mp_place_by_end(const void *x, const void *y);
/* min over disjoint sets of sum(cost - lambda * gain); gain: what a candidate frees (for plans) or its share (for the bound). out (may be NULL): that set */
double mp_place_priced(const mp_place *s, double lambda, bool bound, mp_choice *out);
double mp_place_price_of_all(const mp_place *s); /* at which everything that frees some is taken */

/* placement_bound.c: of the overhead of any plan, without what every plan inverts */
double mp_place_bound(mp_place *s);

/* placement_try.c */
mp_choice mp_place_choice(const mp_place *s);                            /* an empty one with room for any set */
void mp_place_copy(mp_choice *to, const mp_choice *from);
mp_plan mp_place_plan(mp_arena *a, const mp_place *s, const mp_choice *c, const int8_t *save);
mp_trial mp_place_attempt(mp_place *s, const mp_choice *c, const int8_t *save); /* builds its tape */
bool mp_place_note(mp_place *s, mp_record *r, const mp_choice *c, mp_trial t);  /* -> does it fit */
bool mp_place_late(mp_place *s);

/* placement_sets.c */
void mp_place_by_size(mp_place *s, mp_record *r);
void mp_place_by_modules(mp_place *s, mp_record *r);
void mp_place_by_nesting(mp_place *s, mp_record *r);
void mp_place_drop_needless(mp_place *s, mp_choice *best, mp_trial *got);
void mp_place_exchange(mp_place *s, mp_choice *best, mp_trial *got);

/* placement_calls.c: *save gets one flag a program call */
void mp_place_keep_calls(mp_place *s, const mp_choice *best, mp_trial *got, int8_t **save);

#endif
