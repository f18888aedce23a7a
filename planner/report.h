/* For the reports: how numbers are written, what is warned of, and what is alive at a step of a tape. */
#ifndef MP_REPORT_H
#define MP_REPORT_H

#include <stdlib.h>

#include "planner/inside.h"

const char *mp_size_text(mp_arena *a, uint64_t bytes);   /* "1.50 GiB", powers of 1024 */
const char *mp_flops_text(mp_arena *a, uint64_t flops);  /* "3.20 TFLOP", powers of 1000 */
const char *mp_count_text(mp_arena *a, uint64_t n);      /* "336,226,108" */
const char *mp_run_optimizer_name(const mp_run *r);      /* "none" where there is none */
/* the timeline's, then what the verdicts have to add, which are of the whole model: not where it is split */
const char *const *mp_warnings_of(mp_arena *a, const mp_answer *x, bool split, uint32_t *n);

typedef struct mp_alive {
  uint64_t bytes;
  uint8_t category;
  uint32_t step;     /* that allocated it */
  const char *name;  /* of a parameter, buffer or input; NULL */
} mp_alive;
mp_alive *mp_alive_at(mp_arena *a, const mp_tape *t, uint32_t step, uint32_t *count); /* after that step */

/* the n largest storages at the peak, largest first; *n: as many as there are */
typedef struct mp_largest {
  uint64_t bytes;
  const char *category, *call, *module; /* the module that made it; of a parameter, buffer or input its name */
} mp_largest;
const mp_largest *mp_largest_of(mp_arena *a, const mp_answer *x, uint32_t *n);

#endif
