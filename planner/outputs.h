/* What a model returns besides its loss, for a loop that holds it: found in the program, put there by the edits (edit.c). */
#ifndef MP_OUTPUTS_H
#define MP_OUTPUTS_H

#include "planner/inside.h"

/* One attention: the variables of its queries, and of its keys and values before their heads are repeated for a kernel; the call that reads the values. */
typedef struct mp_attention_call {
  int32_t q, k, v;
  uint32_t call;
  bool is_kernel; /* scaled_dot_product_attention; otherwise written out */
} mp_attention_call;

/* The attention calls whose keys and values a decoder returns for generation; 0 where the model is none. */
uint32_t mp_find_cached(mp_arena *a, const mp_program *p, const mp_attention_call **list);
/* Does the model look at the past alone: a flag of its attention, a mask made by comparing positions, a square one among its buffers, which chooses scores or multiplies them, or one that was folded? */
bool mp_looks_back(const mp_program *p);
/* a mask that was folded at export, its contents in the file: square, and a row sees what is before it and not what is behind (or the other way round) */
bool mp_is_triangle(const mp_value *v);
/* The variable that the loss is of, -1 where there is none. */
int32_t mp_find_logits(const mp_program *p);

#endif
