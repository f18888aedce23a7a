/* Elementwise calls of one operand: one line each says what autograd keeps and which kernels its backward runs (derivatives.yaml,
 * FunctionsManual.cpp). */
#include "planner/calls.h"

#include <string.h>

typedef enum keep {
  KEEP_NONE,
  KEEP_INPUT,
  KEEP_RESULT,
  KEEP_EITHER /* the input; the in-place form keeps the result instead */
} keep;

typedef struct unary {
  const char *name, *op; /* op: the aten function that makes the result, where its name differs */
  keep keep;
  const char *backward;  /* see mp_kernels; "" : the gradient passes through */
  mp_grad grad;
} unary;

static void unary_backward(mp_em *e, mp_bw *b);

/* Where a backward is a single kernel on CUDA but has a composite form (silu, mish), the composite is what a dispatch-level trace shows,
 * and what stands here. */
#define UNARY(X)                                                                                     \
  X(relu, "", RESULT, NONE, "ReluBackward0", "threshold_backward")                                   \
  X(sigmoid, "", RESULT, NONE, "SigmoidBackward0", "sigmoid_backward")                               \
  X(tanh, "", RESULT, NONE, "TanhBackward0", "tanh_backward")                                        \
  X(relu6, "hardtanh", INPUT, NONE, "HardtanhBackward0", "hardtanh_backward")                       \
  X(hardtanh, "", INPUT, NONE, "HardtanhBackward0", "hardtanh_backward")                            \
  X(leaky_relu, "", EITHER, NONE, "LeakyReluBackward0", "leaky_relu_backward")                       \
  X(elu, "", EITHER, NONE, "EluBackward0", "elu_backward")                                           \
  X(selu, "elu", EITHER, NONE, "EluBackward0", "elu_backward")                                       \
  X(celu, "", EITHER, NONE, "CeluBackward0", "elu_backward")                                         \
  X(gelu, "", INPUT, NONE, "GeluBackward0", "gelu_backward")                                         \
  X(silu, "", INPUT, NONE, "SiluBackward0", "sigmoid empty_like mul add mul mul")                    \
  X(mish, "", INPUT, NONE, "MishBackward0", "softplus ~tanh sigmoid mul empty_like mul mul mul")     \
  X(hardswish, "", INPUT, NONE, "HardswishBackward0", "hardswish_backward")                          \
  X(hardsigmoid, "", INPUT, NONE, "HardsigmoidBackward0", "hardsigmoid_backward")                    \
  X(softplus, "", INPUT, FP32, "SoftplusBackward0", "softplus_backward")                             \
  X(log_sigmoid, "log_sigmoid_forward", INPUT, NONE, "LogSigmoidBackward0", "log_sigmoid_backward")  \
  X(softshrink, "", INPUT, NONE, "SoftshrinkBackward0", "softshrink_backward")                       \
  X(hardshrink, "", INPUT, NONE, "HardshrinkBackward0", "hardshrink_backward")                       \
  X(threshold, "", INPUT, NONE, "ThresholdBackward0", "threshold_backward")                          \
  X(logit, "", INPUT, NONE, "LogitBackward0", "logit_backward")                                      \
  X(neg, "", NONE, NONE, "NegBackward0", "neg")                                                      \
  X(abs, "", INPUT, NONE, "AbsBackward0", "sgn mul")                                                 \
  X(exp, "", RESULT, FP32, "ExpBackward0", "mul")                                                    \
  X(exp2, "", RESULT, NONE, "Exp2Backward0", "mul mul")                                              \
  X(expm1, "", RESULT, FP32, "Expm1Backward0", "add mul")                                            \
  X(sqrt, "", RESULT, NONE, "SqrtBackward0", "mul div")                                              \
  X(rsqrt, "", RESULT, FP32, "RsqrtBackward0", "pow mul mul")                                        \
  X(reciprocal, "", RESULT, FP32, "ReciprocalBackward0", "mul neg mul")                              \
  X(square, "pow", INPUT, FP32, "PowBackward0", "pow mul mul")                                       \
  X(log, "", INPUT, FP32, "LogBackward0", "div")                                                     \
  X(log1p, "", INPUT, FP32, "Log1PBackward0", "add div")                                             \
  X(log2, "", INPUT, FP32, "Log2Backward0", "mul div")                                               \
  X(log10, "", INPUT, FP32, "Log10Backward0", "mul div")                                             \
  X(sin, "", INPUT, NONE, "SinBackward0", "cos mul")                                                 \
  X(cos, "", INPUT, NONE, "CosBackward0", "sin neg mul")                                             \
  X(tan, "", RESULT, FP32, "TanBackward0", "pow add mul")                                            \
  X(sinh, "", INPUT, FP32, "SinhBackward0", "cosh mul")                                              \
  X(cosh, "", INPUT, FP32, "CoshBackward0", "sinh mul")                                              \
  X(asin, "", INPUT, FP32, "AsinBackward0", "neg mul add rsqrt mul")                                 \
  X(acos, "", INPUT, FP32, "AcosBackward0", "neg mul add rsqrt neg mul")                             \
  X(atan, "", INPUT, NONE, "AtanBackward0", "mul add div")                                           \
  X(asinh, "", INPUT, NONE, "AsinhBackward0", "pow add rsqrt mul")                                   \
  X(acosh, "", INPUT, NONE, "AcoshBackward0", "pow sub rsqrt mul")                                   \
  X(atanh, "", INPUT, NONE, "AtanhBackward0", "pow rsub mul div")                                    \
  X(erf, "", INPUT, NONE, "ErfBackward0", "pow neg exp mul mul")                                     \
  X(erfc, "", INPUT, NONE, "ErfcBackward0", "pow neg exp mul mul")                                   \
  X(erfinv, "", INPUT, FP32, "ErfinvBackward0", "erfinv pow exp mul mul")                                 \
  X(digamma, "", INPUT, NONE, "DigammaBackward0", "polygamma mul")                                   \
  X(lgamma, "", INPUT, NONE, "LgammaBackward0", "digamma mul")                                       \
  X(floor, "", NONE, NONE, "FloorBackward0", "zeros_like")                                           \
  X(ceil, "", NONE, NONE, "CeilBackward0", "zeros_like")                                             \
  X(round, "", NONE, NONE, "RoundBackward0", "zeros_like")                                           \
  X(trunc, "", NONE, NONE, "TruncBackward0", "zeros_like")                                           \
  X(sign, "", NONE, NONE, "SignBackward0", "zeros_like")                                             \
  X(sgn, "", NONE, NONE, "SgnBackward0", "zeros_like")                                               \
  X(frac, "", NONE, NONE, "FracBackward0", "")                                                       \
  X(deg2rad, "", NONE, NONE, "Deg2RadBackward0", "mul")                                              \
  X(rad2deg, "", NONE, NONE, "Rad2DegBackward0", "mul")                                              \
  X(nan_to_num, "", INPUT, NONE, "NanToNumBackward0", "abs ?ne ?eq ~?mul mul")                       \
  X(bernoulli, "", NONE, NONE, "BernoulliBackward0", "zeros_like")

#define KIND(NAME, OP, KEEP, POLICY, NODE, BACKWARD) U_##NAME,
typedef enum unary_kind { UNARY(KIND) U_COUNT } unary_kind;
#undef KIND

#define ROW(NAME, OP, KEEP, POLICY, NODE, BACKWARD) {"aten::" #NAME, OP, KEEP_##KEEP, BACKWARD, {NODE, unary_backward}},
static const unary unaries[U_COUNT] = {UNARY(ROW)};
#undef ROW

/* meta: row, wrapped in CopySlices */
static void unary_backward(mp_em *e, mp_bw *b) {
  const int64_t *m = mp_bw_meta(b);
  const unary *u = &unaries[m[0]];
  mp_ten g = mp_bw_grad(b, 0), whole = -1;
  if (g < 0) return;
  if (m[1]) g = mp_slices_open(e, g, &whole);
  mp_ten r = *u->backward ? mp_kernels(e, u->backward, MP_TENS(g, mp_bw_saved(b, 0))) : g;
  if (whole >= 0) mp_slices_shut(b, 0, whole);
  else mp_bw_give(b, 0, r);
}

static const char *op_of(mp_em *e, const unary *u) { return *u->op ? mp_format(mp_em_arena(e), "aten::%s", u->op) : u->name; }

static mp_ten unary_call(mp_em *e, unary_kind k, mp_ten x) {
  const unary *u = &unaries[k];
  mp_dtype t = mp_em_info(e, x)->dtype;
  bool whole = u->keep == KEEP_NONE && !mp_dtype_is_float(t); /* floor of integers stays integer */
  mp_ten y = mp_kernel(e, op_of(e, u), mp_dtype_is_float(t) || whole || k == U_abs || k == U_relu ? t : MP_FLOAT, MP_TENS(x));
  mp_ten saved = u->keep == KEEP_RESULT ? y : u->keep == KEEP_NONE ? -1 : x;
  mp_record(e, &u->grad, MP_TENS(x), &saved, 1, MP_INTS(k, 0), y);
  return y;
}

static void unary_in_place(mp_em *e, unary_kind k, mp_ten x) {
  const unary *u = &unaries[k];
  size_t s = mp_em_enter(e);
  mp_ten kept = -1;
  if (u->keep == KEEP_INPUT && mp_em_needs(e, x)) { /* the write destroys what the node keeps */
    kept = mp_kernel1(e, "aten::clone", x);
    mp_em_set_what(e, kept, MP_WHAT_COPY);
  }
  mp_ten y = mp_write(e, x);
  if (u->keep == KEEP_RESULT || u->keep == KEEP_EITHER) kept = y;
  mp_record(e, &u->grad, MP_TENS(x), &kept, 1, MP_INTS(k, mp_needs_slices(e, x)), y);
  mp_written(e, x, y);
  mp_em_leave(e, s, MP_NO_TENS);
}

static void unary_forward(mp_em *e, unary_kind k) {
  mp_ten x = mp_c_ten(e, 0);
  if (mp_em_call(e)->in_place) unary_in_place(e, k, x);
  else mp_c_out(e, 0, unary_call(e, k, x));
}

mp_ten mp_unary(mp_em *e, const char *name, mp_ten x) {
  for (uint32_t k = 0; k < U_COUNT; k++)
    if (!strcmp(unaries[k].name + strlen("aten::"), name)) return unary_call(e, (unary_kind)k, x);
  mp_fail(mp_em_arena(e), MP_INTERNAL, "no elementwise call %s", name);
}

#define FORWARD(NAME, OP, KEEP, POLICY, NODE, BACKWARD) \
  static void f_##NAME(mp_em *e) { unary_forward(e, U_##NAME); }
UNARY(FORWARD)
#undef FORWARD

/* ---- tests of each element: a bool or integer result, no gradient ---- */

static void f_test(mp_em *e) { mp_c_out(e, 0, mp_kernel(e, mp_em_call(e)->row->name, MP_BOOL, MP_TENS(mp_c_ten(e, 0)))); }

/* ---- the gated linear unit ---- */

static void glu_backward(mp_em *e, mp_bw *b) {
  if (mp_bw_grad(b, 0) >= 0) mp_bw_give(b, 0, mp_fresh_as(e, "aten::glu_backward", mp_bw_input(b, 0)));
}
static const mp_grad glu_grad = {"GluBackward0", glu_backward};

static void f_glu(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t dim = mp_em_axis(e, mp_c_int(e, 1, -1), i.rank);
  if (i.rank) i.dims[dim] /= 2;
  mp_ten y = mp_em_new(e, "aten::glu", i.dtype, i.rank, i.dims);
  mp_record(e, &glu_grad, MP_TENS(x), MP_TENS(x), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}

/* ---- prelu: _prelu_kernel on the weight viewed to broadcast; its backward makes both gradients of x's size ---- */

static void prelu_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0), x = mp_bw_saved(b, 0);
  if (g < 0) return;
  mp_ten gx = mp_kernel2(e, "aten::_prelu_kernel_backward", g, x);
  mp_ten gw = mp_kernel2(e, "aten::_prelu_kernel_backward", g, x);
  mp_bw_give(b, 0, gx);
  mp_bw_give(b, 1, gw);
}
static const mp_grad prelu_grad = {"PreluKernelBackward0", prelu_backward};

static void f_prelu(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), w = mp_c_ten(e, 1);
  size_t s = mp_em_enter(e);
  int rank = mp_em_info(e, x)->rank;
  const mp_tensor_info *wi = mp_em_info(e, w);
  if (wi->rank != rank && rank > 0) {
    int64_t dims[MP_RANK];
    for (int k = 0; k < rank; k++) dims[k] = 1;
    if (rank > 1) dims[1] = (int64_t)mp_numel(wi);
    w = mp_op_view(e, w, rank, dims);
  }
  mp_ten y = mp_kernel(e, "aten::_prelu_kernel", mp_em_info(e, x)->dtype, MP_TENS(x));
  mp_record(e, &prelu_grad, MP_TENS(x, w), MP_TENS(x, w), MP_NO_INTS, y);
  mp_em_leave1(e, s, y);
  mp_c_out(e, 0, y);
}

#define CALL(NAME, OP, KEEP, POLICY, NODE, BACKWARD) {"aten::" #NAME, f_##NAME, MP_CAST_##POLICY, "keeps: " #KEEP},
static const mp_call_row rows[] = {
    UNARY(CALL)
    {"aten::glu", f_glu, MP_CAST_NONE, "keeps: INPUT"},
    {"aten::prelu", f_prelu, MP_CAST_HALF, "keeps: INPUT, weight"},
    {"aten::_prelu_kernel", f_prelu, MP_CAST_HALF, "keeps: INPUT, weight"},
    {"aten::isnan", f_test, MP_CAST_NONE, ""},
    {"aten::isinf", f_test, MP_CAST_NONE, ""},
    {"aten::isfinite", f_test, MP_CAST_NONE, ""},
    {"aten::logical_not", f_test, MP_CAST_NONE, ""},
    {"aten::signbit", f_test, MP_CAST_NONE, ""},
};
const mp_call_table mp_calls_point = {rows, MP_COUNT(rows)};
