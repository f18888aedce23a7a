/* Reversible modules: what they were given follows from what they gave, so that backward can rebuild it and the forward pass need not keep it.
 *
 * RevNet (Gomez et al. 2017, section 3.1), Glow (Kingma and Dhariwal 2018, section 3), Reformer (Kitaev et al. 2020, section 3). Whether a module is of that kind follows from its calls:
 * starting from its outputs and from what stays known (parameters, and what others read too), every call gives an unknown operand where its result and its other operands are known
 * (additive and affine coupling, concatenation, views, 1x1 convolution), and every call whose operands are known gives its results. Nothing is divided by: a scale is taken to be nowhere 0. */
#ifndef MP_INVERTIBLE_H
#define MP_INVERTIBLE_H

#include "planner/inside.h"

typedef struct mp_inverse {
  const int32_t *rebuilt; /* variables made outside and read inside only: they follow from the outputs */
  const int32_t *outputs; /* variables made inside and read outside */
  uint32_t rebuilt_count, output_count;
  const char *why;        /* where the calls are not invertible, in words; NULL: they are */
} mp_inverse;

/* Calls [first, end) of a program as one module. */
const mp_inverse *mp_inverse_find(mp_arena *a, const mp_program *p, uint32_t first, uint32_t end);
/* What a call's operands follow from, in words for `memplan ops`; NULL where it has no inverse. */
const char *mp_inverse_of(const char *call);

#endif
