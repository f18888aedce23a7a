/* What the rows of framework calls (calls_*.c) share: kernels that make one tensor and record nothing, the bookkeeping around an autograd node, and
 * the few differentiable functions that several families call. */
#ifndef MP_CALLS_H
#define MP_CALLS_H

#include "planner/inside.h"

#define MP_COUNT(a) ((uint32_t)(sizeof(a) / sizeof *(a)))
/* an argument pair (array, count) of tensors or ints, written in place */
#define MP_TENS(...) (const mp_ten[]){__VA_ARGS__}, MP_COUNT(((const mp_ten[]){__VA_ARGS__}))
#define MP_INTS(...) (const int64_t[]){__VA_ARGS__}, MP_COUNT(((const int64_t[]){__VA_ARGS__}))
#define MP_NO_TENS NULL, 0
#define MP_NO_INTS NULL, 0

/* ---- kernels: one fresh tensor, no autograd ---- */
/* elementwise over operands (-1: a Python number): broadcast dims, TensorIterator's strides; dtype MP_UNDEFINED: the operands' promoted */
mp_ten mp_kernel(mp_em *e, const char *op, mp_dtype t, const mp_ten *x, uint32_t n);
static inline mp_ten mp_kernel1(mp_em *e, const char *op, mp_ten a) { return mp_kernel(e, op, MP_UNDEFINED, MP_TENS(a)); }
static inline mp_ten mp_kernel2(mp_em *e, const char *op, mp_ten a, mp_ten b) { return mp_kernel(e, op, MP_UNDEFINED, MP_TENS(a, b)); }
/* Runs a row of elementwise kernels over the operands, as a backward formula does, and returns the last one's result. Words: "mul" a tensor of the
 * operands' shape;
 * "?eq" a bool one; ".scalar_tensor" a 0-d one; "~tanh" (or "~?mul") lets go of those before it once made. The others live until the caller's scope
 * ends. */
mp_ten mp_kernels(mp_em *e, const char *words, const mp_ten *x, uint32_t n);
/* the same in a scope of its own: at the end of the C++ statement the temporaries die */
mp_ten mp_statement(mp_em *e, const char *words, const mp_ten *x, uint32_t n);
/* dims of t without (keepdim: with ones in place of) the given ones; n 0: all */
mp_ten mp_reduced(mp_em *e, const char *op, mp_dtype t, mp_ten x, const int64_t *dims, uint32_t n, bool keepdim);
mp_ten mp_fresh(mp_em *e, const char *op, mp_dtype t, const mp_tensor_info *shape); /* contiguous, of shape's dims */
mp_ten mp_fresh_as(mp_em *e, const char *op, const mp_tensor_info *like);           /* dims, dtype; strides where dense: a gradient of that input */
bool mp_is_channels_last(const mp_tensor_info *t);                                  /* 4-d or 5-d, suggest_memory_format */

/* ---- autograd ---- */
void mp_record(mp_em *e, const mp_grad *row, const mp_ten *inputs, uint32_t n, const mp_ten *saved, uint32_t saved_n, const int64_t *meta,
               uint32_t meta_n, mp_ten out);
/* In-place calls. A call writes into x: its result `y` shares x's storage. mp_written hands x out as the call's result, with y's history.
 * On a differentiable view, autograd wraps the node in CopySlices: two more tensors of the base's size in backward. */
mp_ten mp_write(mp_em *e, mp_ten x);
void mp_written(mp_em *e, mp_ten x, mp_ten y);
bool mp_needs_slices(mp_em *e, mp_ten x);
mp_ten mp_slices_open(mp_em *e, mp_ten g, mp_ten *whole);    /* the gradient that the wrapped node sees */
void mp_slices_shut(mp_bw *b, uint32_t input, mp_ten whole); /* gives `whole` as the gradient of `input` */

/* ---- arguments ---- */
bool mp_is_half(mp_dtype t);
mp_dtype mp_with_number(const mp_em *e, mp_ten a, bool is_float); /* torch.result_type(tensor, Python number) */
mp_dtype mp_arg_dtype_at(mp_em *e, uint32_t i);                   /* MP_UNDEFINED when absent or of another kind */

/* ---- differentiable functions of several families ---- */
mp_ten mp_log_softmax(mp_em *e, mp_ten x, int64_t dim, mp_dtype t);
mp_ten mp_mean(mp_em *e, mp_ten x, const int64_t *dims, uint32_t n, bool keepdim, mp_dtype t); /* n 0: all */
mp_ten mp_sum(mp_em *e, mp_ten x, const int64_t *dims, uint32_t n, bool keepdim, mp_dtype t);
mp_ten mp_add_into(mp_em *e, mp_ten a, mp_ten b); /* a.add_(b) of a temporary that is no view */
mp_ten mp_sub(mp_em *e, mp_ten a, mp_ten b);
mp_ten mp_div(mp_em *e, mp_ten a, mp_ten b);
mp_ten mp_norm(mp_em *e, mp_ten x, int64_t dim);
mp_ten mp_unary(mp_em *e, const char *name, mp_ten x); /* a row of calls_point.c, out of place: "abs" */
mp_ten mp_constant_pad(mp_em *e, mp_ten x, const int64_t *pads, uint32_t n);
void mp_call_einsum(mp_em *e);
void mp_call_extreme(mp_em *e);     /* maximum, minimum; also max(x, other) */
void mp_call_extreme_all(mp_em *e); /* max(x), min(x) */

/* tables that stand beside those of inside.h */
extern const mp_call_table mp_calls_binary, mp_calls_choose, mp_calls_random, mp_calls_pool, mp_calls_order, mp_calls_cell, mp_calls_function;
mp_ten mp_batch_norm(mp_em *e, mp_ten x, mp_ten w, mp_ten b, bool running, bool training);

#endif
