/* Arithmetic on the small contents of tensors, which is how computations of shapes are followed: each element is a number, an expression or unknown. */
#ifndef MP_FOLD_H
#define MP_FOLD_H

#include "onnx/shape.h"

#define MP_MAX_GUESSED 64 /* a tensor of unknown contents but of up to this many elements is read as that many unknowns */

typedef mp_int (*mp_fold_ints)(mp_infer *c, mp_int a, mp_int b, mp_dtype t);
typedef double (*mp_fold_floats)(double a, double b);

/* elements of a shape; false where a dim is not a number, or there are more than MP_MAX_CONTENTS */
bool mp_fold_count(const mp_shape *s, uint32_t *n);
/* a number as type t holds it: floats rounded; integers outside of t's range are unknown */
double mp_fold_round(mp_dtype t, double x);
mp_int mp_fold_clip(mp_dtype t, mp_int i);
/* contents of input i as integers (floating ones where whole; true and false are 1 and 0); NULL where nothing is known of any element.
 * at: room for MP_MAX_CONTENTS, used where the contents do not already stand as integers */
const mp_int *mp_fold_read_ints(const mp_infer *c, int i, uint32_t *n, mp_int *at);
/* contents of input i as floats; NULL unless every element is a number. at: room for 64 */
const double *mp_fold_read_floats(const mp_infer *c, int i, uint32_t *n, double *at);
/* output o is inputs a and b combined element by element under broadcasting; b -1: a alone, each of its elements passed twice */
void mp_fold(mp_infer *c, int o, int a, int b, mp_fold_ints ints, mp_fold_floats floats);
/* copies the contents of input i, of whichever kind, to output o (its dims may differ, its elements not) */
void mp_fold_copy(mp_infer *c, int o, int i);
/* output o takes element from[k] of input i as its k-th; from[k] < 0: not known */
void mp_fold_pick(mp_infer *c, int o, int i, const int64_t *from, uint32_t n);
/* The integers of attribute `attr` (may be NULL) or else of input i, as they stand: symbolic or unknown singly. Their count, -1 where that is not known or
 * exceeds max; also where neither is there. */
int mp_fold_list(mp_infer *c, const char *attr, int i, mp_int *at, int max);
/* the dims that input i writes out; rank -1 where even their count is not known */
void mp_fold_dims(mp_infer *c, int i, mp_shape *s);
/* for every element of shape r (of numbers), row-major, the offset start + sum of index * stride */
void mp_fold_walk(const mp_shape *r, const int64_t *strides, int64_t start, uint32_t n, int64_t *from);
/* strides of shape a read under broadcasting to shape r, both of numbers: 0 along axes that a repeats */
void mp_fold_strides(const mp_shape *a, const mp_shape *r, int64_t *strides);

#endif
