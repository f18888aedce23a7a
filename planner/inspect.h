/* Between report_inspect.c (sums, JSON) and report_inspect_text.c (tables). */
#ifndef MP_INSPECT_H
#define MP_INSPECT_H

#include "planner/memplan.h"

typedef struct mp_inspect_totals {
  uint64_t parameters, parameter_bytes, macs, flops, values, known, numeric;
} mp_inspect_totals;

mp_inspect_totals mp_inspect_sum(mp_arena *a, const mp_graph *g);
/* which values count as parameters: one flag a value */
const bool *mp_inspect_parameters(mp_arena *a, const mp_graph *g);
/* dtype and every dim are known; sequences, maps and optionals have no dims that one could know */
bool mp_inspect_known(const mp_value *v);
const char *mp_inspect_text(mp_arena *a, const mp_graph *g, const mp_inspect_options *o);

#endif
