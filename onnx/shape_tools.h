/* For the files of operator rules: what several families share. Nothing here knows a single operator. */
#ifndef MP_SHAPE_TOOLS_H
#define MP_SHAPE_TOOLS_H

#include <string.h>

#include "onnx/shape.h"

static inline mp_int mp_num(int64_t n) { return mp_int_of(n); }
/* a number below n: such a dim is a contradiction */
static inline bool mp_below(mp_int a, int64_t n) { return mp_int_is_number(a) && a.n < n; }
static inline mp_int mp_add_n(mp_infer *c, mp_int a, int64_t n) { return mp_sym_add(c, a, mp_num(n)); }
static inline mp_int mp_mul_n(mp_infer *c, mp_int a, int64_t n) { return mp_sym_mul(c, a, mp_num(n)); }

/* What two descriptions of one dim say together: the number, else the name, else not known. Two numbers that differ are a contradiction (*clash). */
mp_int mp_dim_unify(mp_int a, mp_int b, bool *clash);
/* What holds for both of two shapes: dims that differ are unknown; rank -1 where ranks differ. */
void mp_shape_merge(mp_shape *into, const mp_shape *other);
/* dims [from..to) of input i after s's own, as far as there is room */
void mp_shape_append(mp_shape *s, mp_int d);
void mp_shape_of_value(const mp_value *v, mp_shape *s);
/* axis made non-negative; false (and mp_infer_bad) when it lies outside of -rank..rank-1 */
bool mp_axis(mp_infer *c, int64_t *axis, int rank);
/* the single integer that input i holds; false where it is not known as a number */
bool mp_scalar_int(const mp_infer *c, int i, int64_t *n);
/* the same, symbolic or unknown */
mp_int mp_scalar_dim(const mp_infer *c, int i);
/* dtype of input i, or of input j where i is absent or its type is not known */
mp_dtype mp_dtype_or(const mp_infer *c, int i, int j);

/* Sets the node's cost where both are numbers: flops = 2 macs + elementwise. */
void mp_cost_macs(mp_infer *c, mp_int macs, mp_int elementwise);
/* shape_flow.c: the cost of so many turns of a body */
void mp_cost_body(mp_infer *c, const mp_graph *body, mp_int turns);
/* elements of shape s, unknown where its rank is */
mp_int mp_elements(mp_infer *c, const mp_shape *s);

/* Rules that many rows share. */
void mp_rule_same(mp_infer *c);      /* output 0 as input 0 */
void mp_rule_same_all(mp_infer *c);  /* output i as input i */
void mp_rule_broadcast(mp_infer *c); /* output 0: inputs 0 and 1 broadcast, dtype of input 0 */

/* shape_matmul.c: numpy.matmul of inputs a and b, each with its last two axes swapped or not; (m, k) times (k, n) with transA, transB, input `add` */
void mp_rule_product(mp_infer *c, int a, int b, bool flip_a, bool flip_b, mp_dtype t);
/* inputs 0 and 1, whose rows may stand on axis 0 before the batch axes */
void mp_rule_batched_product(mp_infer *c, bool batch_a, bool batch_b, bool flip_a, bool flip_b, mp_dtype t);
void mp_rule_gemm(mp_infer *c, int a, int b, int add, mp_dtype t);

/* A rule as one line of text: "INPUTS -> OUTPUTS" or "INPUTS -> OUTPUTS ; MACS", for operators whose dims are products of dims and attributes.
 *
 *   inputs    one word each: a letter a dim ("bsh"), "." at the front stands for any leading dims (".k"), "_" for a tensor that does not matter
 *   outputs   one word each: dims between commas, "()" a scalar, "_" an output that stays unknown; a dim is letters, numbers and @attributes
 *             (@attribute=DEFAULT) joined by * / + - from left to right; "." the leading dims
 *             after a colon the dtype: a digit is that input's (":1|0", input 1 or where it is absent 0), f h d l i b u s float32, float16, float64,
 *             int64, int32, bool, uint8, string, @attribute the attribute's; without colon the dtype of input 0
 *   macs      a product like a dim; "." the product of the leading dims
 *
 * A letter that no input binds is an unknown dim; one that two inputs bind to different numbers is a contradiction. Example, y = a b:
 *   ".mk kn -> .,m,n ; .*m*n*k" */
void mp_rule_signature(mp_infer *c, const char *text);
#define MP_SIGNATURE(name, text) \
  static void name(mp_infer *c) { mp_rule_signature(c, text); }

#endif
