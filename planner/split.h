/* Splitting a model over N devices: contiguous stages of a 1F1B pipeline, cut where blocks begin, balanced by peak. */
#ifndef MP_SPLIT_H
#define MP_SPLIT_H

#include "planner/inside.h"

typedef struct mp_stage {
  uint32_t first, end; /* program calls */
  const char *from, *to; /* module paths of its first and last block */
  const mp_timeline *timeline;
} mp_stage;

/* Cuts p into n stages so that the largest peak is small; every candidate is measured by building each stage's tape. Micro-batches in flight: stage i (from 0) of n
 * holds n - i, but no more than run->accumulate (Narayanan et al. 2021, section 2.2). MP_BAD_INPUT where p has fewer than n places to cut. */
const mp_stage *mp_split_make(mp_arena *a, const mp_program *p, const mp_run *run, const mp_plan *plan, uint32_t n, mp_err *err);

#endif
