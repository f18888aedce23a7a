/* Attention that a file writes out, found in a program: softmax(scale * q k^T + mask) v. For a run that names a kernel (edit.c puts one call of
 * scaled_dot_product_attention in its place) and for a loop that holds keys and values (outputs.c). */
#ifndef MP_FUSE_H
#define MP_FUSE_H

#include "planner/inside.h"

enum { MP_WRITTEN_CALLS = 16, MP_WRITTEN_MASKS = 4 };

/* Variables of the program. `inside`: the calls between the two products and the first product; what the last product makes is the result. */
typedef struct mp_written_out {
  int32_t q, kt, v; /* kt: keys as the first product reads them, (..., head size, sequence) */
  double p;         /* of the dropout on the probabilities, 0: none */
  int32_t masks[MP_WRITTEN_MASKS];
  bool hides[MP_WRITTEN_MASKS]; /* masked_fill: true where nothing is to be seen; else true where it is, or what is added to the scores */
  uint32_t mask_count;
  uint32_t inside[MP_WRITTEN_CALLS], inside_count;
} mp_written_out;

/* Is call `at` the last product of attention that is written out? */
bool mp_written_attention(const mp_program *p, uint32_t at, mp_written_out *w);
/* heads of keys or values before they were repeated for the product or the kernel; v itself where they were not */
int32_t mp_unrepeated(const mp_program *p, int32_t v);

/* One attention as one call. Variables of the program, -1: none. */
typedef struct mp_fused {
  int32_t q, kt, v;
  int32_t k;                /* as the kernel wants it; -1: kt, turned */
  int32_t mask, and;        /* attn_mask is their sum */
  bool hides;               /* the mask is to be inverted first */
  bool causal, grouped;     /* is_causal, enable_gqa */
  double p;
  uint64_t macs, flops;     /* of the calls that it replaces, the last product included */
} mp_fused;

typedef struct mp_fusion {
  bool *skip;               /* of each call: it is part of one, or what only those read */
  const mp_fused **at;      /* of each call that is replaced; NULL */
  uint32_t count, left;     /* replaced; left as they are */
} mp_fusion;

/* What becomes one call: queries, keys and values of rank 4, scores that nothing else reads, and masks that the kernels take. A mask that follows from
 * comparing positions, or a square one among the buffers, is is_causal. */
const mp_fusion *mp_fuse_attention(mp_arena *a, const mp_program *p);

#endif
