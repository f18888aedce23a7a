/* Elementwise calls of two and three operands: arithmetic, comparisons, choices. An operand is a tensor or a Python number; autograd computes
 * gradients in the alphabetical order of derivatives.yaml's names, so `other` comes before `self`. */
#include <string.h>

#include "planner/calls.h"

static mp_ten other_of(mp_em *e) { return mp_c_is_ten(e, 1) ? mp_c_ten(e, 1) : -1; }
static bool is_number(mp_em *e, uint32_t i) { return i < mp_c_count(e) && mp_c_has(e, i) && !mp_c_is_ten(e, i); }
static bool is_float_number(mp_em *e, uint32_t i) { return is_number(e, i) && mp_em_call(e)->args[i].kind == MP_ARG_FLOAT; }

/* result_type of operands 0 and 1 */
static mp_dtype result_type(mp_em *e, mp_ten x, mp_ten y) {
  if (y >= 0 && x >= 0) return mp_promote(e, x, y);
  if (x >= 0) return mp_with_number(e, x, is_float_number(e, 1));
  return y >= 0 ? mp_with_number(e, y, is_float_number(e, 0)) : MP_FLOAT;
}

/* The frame of a call that may write into its first operand: result(...) is x's storage again or a fresh tensor. */
typedef struct frame {
  mp_ten x, y, out;
  bool in_place, slices;
  size_t scope;
} frame;

static frame frame_open(mp_em *e, const char *op, mp_dtype t, mp_ten x, mp_ten y) {
  frame f = {.x = x, .y = y, .in_place = mp_em_call(e)->in_place && x >= 0, .scope = mp_em_enter(e)};
  f.slices = f.in_place && mp_needs_slices(e, x);
  f.out = f.in_place ? mp_write(e, x) : mp_kernel(e, op, t, MP_TENS(x, y));
  return f;
}

/* what the node keeps of an operand that the in-place form overwrites */
static mp_ten frame_keep(mp_em *e, const frame *f, bool wanted) {
  if (!wanted) return -1;
  if (!f->in_place) return f->x;
  mp_ten copy = mp_kernel1(e, "aten::clone", f->x);
  mp_em_set_what(e, copy, MP_WHAT_COPY);
  return copy;
}

static void frame_shut(mp_em *e, const frame *f) {
  if (f->in_place) {
    mp_written(e, f->x, f->out);
    mp_em_leave(e, f->scope, MP_NO_TENS);
  } else {
    mp_em_leave1(e, f->scope, f->out);
    mp_c_out(e, 0, f->out);
  }
}

/* meta[0] of these nodes: wrapped in CopySlices */
static mp_ten back_open(mp_em *e, mp_bw *b, mp_ten *whole) {
  mp_ten g = mp_bw_grad(b, 0);
  *whole = -1;
  return g >= 0 && mp_bw_meta(b)[0] ? mp_slices_open(e, g, whole) : g;
}
static void back_self(mp_bw *b, mp_ten whole, mp_ten r) {
  if (whole >= 0)
    mp_slices_shut(b, 0, whole);
  else
    mp_bw_give(b, 0, r);
}

/* ---- add, sub: meta: slices, is other's gradient another tensor, sign, alpha is not one ---- */

static void add_backward(mp_em *e, mp_bw *b) {
  mp_ten whole, g = back_open(e, b, &whole);
  if (g < 0) return;
  const int64_t *m = mp_bw_meta(b);
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, m[1] ? mp_statement(e, m[2] < 0 ? m[3] ? "neg mul" : "neg" : "mul", MP_TENS(g)) : g);
  if (mp_bw_wants(b, 0)) back_self(b, whole, g);
}
static const mp_grad add_grad = {"AddBackward0", add_backward}, sub_grad = {"SubBackward0", add_backward};

static void add_like(mp_em *e, const char *op, const mp_grad *row, int64_t sign) {
  mp_ten x = mp_c_is_ten(e, 0) ? mp_c_ten(e, 0) : -1, y = other_of(e);
  double alpha = mp_c_float(e, 2, 1.0);
  frame f = frame_open(e, op, result_type(e, x, y), x, y);
  bool scaled = alpha < 1.0 || alpha > 1.0;
  mp_record(e, row, MP_TENS(x, y), MP_NO_TENS, MP_INTS(f.slices, scaled || sign < 0, sign, scaled), f.out);
  frame_shut(e, &f);
}
static void f_add(mp_em *e) { add_like(e, "aten::add", &add_grad, 1); }
static void f_sub(mp_em *e) { add_like(e, "aten::sub", &sub_grad, -1); }

mp_ten mp_add_into(mp_em *e, mp_ten a, mp_ten b) {
  mp_ten out = mp_write(e, a);
  mp_record(e, &add_grad, MP_TENS(a, b), MP_NO_TENS, MP_INTS(0, 0, 1, 0), out);
  return out;
}

mp_ten mp_sub(mp_em *e, mp_ten a, mp_ten b) {
  mp_ten out = mp_kernel2(e, "aten::sub", a, b);
  mp_record(e, &sub_grad, MP_TENS(a, b), MP_NO_TENS, MP_INTS(0, 1, -1, 0), out);
  return out;
}

static void rsub_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (g < 0) return;
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, g);
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, mp_kernel1(e, "aten::neg", g));
}
static const mp_grad rsub_grad = {"RsubBackward1", rsub_backward};
static void f_rsub(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), y = other_of(e);
  mp_ten out = mp_kernel(e, "aten::rsub", result_type(e, x, y), MP_TENS(x, y));
  mp_record(e, &rsub_grad, MP_TENS(x, y), MP_NO_TENS, MP_NO_INTS, out);
  mp_c_out(e, 0, out);
}

/* ---- mul ---- */

static void mul_backward(mp_em *e, mp_bw *b) {
  mp_ten whole, g = back_open(e, b, &whole);
  if (g < 0) return;
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mp_kernel2(e, "aten::mul", g, mp_bw_saved(b, 0)));
  if (mp_bw_wants(b, 0)) back_self(b, whole, mp_kernel2(e, "aten::mul", g, mp_bw_saved(b, 1)));
}
static const mp_grad mul_grad = {"MulBackward0", mul_backward};

static void f_mul(mp_em *e) {
  mp_ten x = mp_c_is_ten(e, 0) ? mp_c_ten(e, 0) : -1, y = other_of(e);
  frame f = frame_open(e, "aten::mul", result_type(e, x, y), x, y);
  mp_ten keep_x = frame_keep(e, &f, mp_em_needs(e, y));
  mp_record(e, &mul_grad, MP_TENS(x, y), MP_TENS(keep_x, mp_em_needs(e, x) ? y : -1), MP_INTS(f.slices), f.out);
  frame_shut(e, &f);
}

/* ---- div: meta: slices, rounded ---- */

static void div_backward(mp_em *e, mp_bw *b) {
  mp_ten whole, g = back_open(e, b, &whole), x = mp_bw_saved(b, 0), y = mp_bw_saved(b, 1);
  if (g < 0) return;
  bool rounded = mp_bw_meta(b)[1];
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, rounded ? mp_kernel1(e, "aten::zeros_like", g) : mp_statement(e, "div div neg mul", MP_TENS(g, x, y)));
  if (mp_bw_wants(b, 0)) back_self(b, whole, rounded ? mp_kernel1(e, "aten::zeros_like", g) : mp_kernel2(e, "aten::div", g, y));
}
static const mp_grad div_grad = {"DivBackward0", div_backward};

static void f_div(mp_em *e) {
  mp_ten x = mp_c_is_ten(e, 0) ? mp_c_ten(e, 0) : -1, y = other_of(e);
  bool rounded = mp_c_str(e, 2) != NULL;
  mp_dtype t = result_type(e, x, y);
  if (!rounded && !mp_dtype_is_float(t)) t = MP_FLOAT;
  frame f = frame_open(e, "aten::div", t, x, y);
  bool nx = mp_em_needs(e, x), ny = mp_em_needs(e, y);
  mp_ten keep_x = frame_keep(e, &f, ny);
  mp_record(e, &div_grad, MP_TENS(x, y), MP_TENS(keep_x, nx || ny ? y : -1), MP_INTS(f.slices, rounded), f.out);
  frame_shut(e, &f);
}

mp_ten mp_div(mp_em *e, mp_ten a, mp_ten b) {
  mp_ten out = mp_kernel2(e, "aten::div", a, b);
  mp_record(e, &div_grad, MP_TENS(a, b), MP_TENS(mp_em_needs(e, b) ? a : -1, b), MP_INTS(0, 0), out);
  return out;
}

static void f_integer(mp_em *e) { /* floor_divide, bitwise_and ...: no gradient */
  mp_ten x = mp_c_is_ten(e, 0) ? mp_c_ten(e, 0) : -1, y = other_of(e);
  if (mp_em_call(e)->in_place && x >= 0)
    mp_c_out(e, 0, x);
  else
    mp_c_out(e, 0, mp_kernel(e, mp_em_call(e)->row->name, x >= 0 && mp_c_count(e) == 1 ? mp_em_info(e, x)->dtype : result_type(e, x, y), MP_TENS(x, y)));
}

/* ---- fmod, remainder ---- */

static void remainder_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (g < 0) return;
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mp_statement(e, "div neg mul", MP_TENS(g, mp_bw_saved(b, 0), mp_bw_saved(b, 1))));
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, g);
}
static const mp_grad remainder_grad = {"RemainderBackward0", remainder_backward};
static void f_remainder(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), y = other_of(e), out = mp_kernel(e, mp_em_call(e)->row->name, result_type(e, x, y), MP_TENS(x, y));
  bool ny = mp_em_needs(e, y);
  mp_record(e, &remainder_grad, MP_TENS(x, y), MP_TENS(ny ? x : -1, ny ? y : -1), MP_NO_INTS, out);
  mp_c_out(e, 0, out);
}

/* ---- pow: a tensor to a number, a tensor to a tensor, a number to a tensor; meta: kind, slices ---- */

enum { POW_NUMBER, POW_ZERO, POW_TENSOR, POW_BASE };

static void pow_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0), x = mp_bw_saved(b, 0), y = mp_bw_saved(b, 1), r = mp_bw_saved(b, 2);
  if (g < 0) return;
  switch (mp_bw_meta(b)[0]) {
    case POW_NUMBER:
      mp_bw_give(b, 0, mp_kernels(e, "pow mul mul", MP_TENS(g, x)));
      return;
    case POW_ZERO:
      mp_bw_give(b, 0, mp_kernel1(e, "aten::zeros_like", g));
      return;
    case POW_BASE:
      mp_bw_give(b, 1, mp_kernels(e, "mul mul", MP_TENS(g, r)));
      return;
    default:
      break;
  }
  if (mp_bw_wants(b, 1)) {
    size_t s = mp_em_enter(e), inner = s;
    mp_ten cond = mp_kernels(e, "?ge ?eq ?logical_and", MP_TENS(g, x, y));
    mp_em_leave1(e, inner, cond);
    mp_bw_give(b, 1, mp_em_leave1(e, s, mp_kernels(e, "log mul .scalar_tensor where mul", MP_TENS(g, x, r))));
  }
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, mp_kernels(e, "sub pow mul mul .scalar_tensor ?eq where", MP_TENS(g, x, y)));
}
static const mp_grad pow_grad = {"PowBackward0", pow_backward};

static void f_pow(mp_em *e) {
  mp_ten x = mp_c_is_ten(e, 0) ? mp_c_ten(e, 0) : -1, y = other_of(e);
  mp_dtype t = result_type(e, x, y);
  double p = y < 0 ? mp_c_float(e, 1, 1.0) : 1.0;
  int64_t kind = x < 0 ? POW_BASE : y >= 0 ? POW_TENSOR : p < 0.0 || p > 0.0 ? POW_NUMBER : POW_ZERO;
  frame f = frame_open(e, "aten::pow", t, x, y);
  mp_ten keep_x = frame_keep(e, &f, kind == POW_TENSOR || (kind != POW_BASE && mp_em_needs(e, x)));
  bool ny = mp_em_needs(e, y);
  mp_ten r = ny || kind == POW_TENSOR ? f.out : -1;
  mp_record(e, &pow_grad, MP_TENS(x, y), MP_TENS(keep_x, kind == POW_TENSOR || (kind == POW_BASE && ny) ? y : -1, r), MP_INTS(kind), f.out);
  frame_shut(e, &f);
}

/* ---- maximum, minimum: ties share the gradient ---- */

static mp_ten extreme_part(mp_em *e, mp_ten g, mp_ten x, mp_ten y) {
  size_t s = mp_em_enter(e);
  mp_ten chosen = mp_kernels(e, "div ?eq where", MP_TENS(g, x, y));
  mp_kernel(e, "aten::gt", MP_BOOL, MP_TENS(x, y)); /* masked_fill_ follows in place */
  return mp_em_leave1(e, s, chosen);
}
static void extreme_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0), x = mp_bw_saved(b, 0), y = mp_bw_saved(b, 1);
  if (g < 0) return;
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, extreme_part(e, g, x, y));
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, extreme_part(e, g, x, y));
}
static const mp_grad maximum_grad = {"MaximumBackward0", extreme_backward}, minimum_grad = {"MinimumBackward0", extreme_backward};

void mp_call_extreme(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), y = mp_c_ten(e, 1);
  bool low = strstr(mp_em_call(e)->row->name, "min") != NULL;
  mp_ten out = mp_kernel2(e, low ? "aten::minimum" : "aten::maximum", x, y);
  mp_record(e, low ? &minimum_grad : &maximum_grad, MP_TENS(x, y), MP_TENS(x, y), MP_NO_INTS, out);
  mp_c_out(e, 0, out);
}

/* ---- atan2, logaddexp, xlogy ---- */

static void atan2_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0), x = mp_bw_saved(b, 0), y = mp_bw_saved(b, 1);
  if (g < 0) return;
  mp_kernels(e, "mul ~mul", MP_TENS(x, y)); /* the sum of the squares, in the second's place */
  mp_statement(e, "reciprocal ?eq masked_fill", MP_TENS(x, y));
  mp_ten gs = mp_kernels(e, "mul mul", MP_TENS(g, x, y));
  mp_ten go = mp_kernels(e, "neg mul mul", MP_TENS(g, x, y));
  mp_bw_give(b, 0, gs);
  mp_bw_give(b, 1, go);
}
static void logaddexp_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0), x = mp_bw_saved(b, 0), y = mp_bw_saved(b, 1);
  if (g < 0) return;
  for (uint32_t k = 2; k-- > 0;)
    if (mp_bw_wants(b, k)) mp_bw_give(b, k, mp_statement(e, "sub exp add div", MP_TENS(g, x, y)));
}
static void xlogy_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0), x = mp_bw_saved(b, 0), y = mp_bw_saved(b, 1);
  if (g < 0) return;
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mp_statement(e, "mul div", MP_TENS(g, x, y)));
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, mp_statement(e, "xlogy ?le ?eq ?bitwise_and masked_fill", MP_TENS(g, x, y)));
}
static const mp_grad atan2_grad = {"Atan2Backward0", atan2_backward}, logaddexp_grad = {"LogaddexpBackward0", logaddexp_backward},
                     xlogy_grad = {"XlogyBackward0", xlogy_backward};

static void both_kept(mp_em *e, const mp_grad *row) {
  mp_ten x = mp_c_ten(e, 0), y = mp_c_ten(e, 1), out = mp_kernel2(e, mp_em_call(e)->row->name, x, y);
  mp_record(e, row, MP_TENS(x, y), MP_TENS(x, y), MP_NO_INTS, out);
  mp_c_out(e, 0, out);
}
static void f_atan2(mp_em *e) { both_kept(e, &atan2_grad); }
static void f_logaddexp(mp_em *e) { both_kept(e, &logaddexp_grad); }
static void f_xlogy(mp_em *e) { both_kept(e, &xlogy_grad); }

/* ---- comparisons and logic: bool results, no gradient ---- */

static void f_compare(mp_em *e) {
  mp_ten x = mp_c_is_ten(e, 0) ? mp_c_ten(e, 0) : -1;
  mp_c_out(e, 0, mp_kernel(e, mp_em_call(e)->row->name, MP_BOOL, MP_TENS(x, other_of(e))));
}

static const mp_call_row rows[] = {
    {"aten::add", f_add, MP_CAST_NONE, ""},
    {"aten::sub", f_sub, MP_CAST_NONE, ""},
    {"aten::rsub", f_rsub, MP_CAST_NONE, ""},
    {"aten::mul", f_mul, MP_CAST_NONE, "keeps each operand that the other's gradient needs"},
    {"aten::div", f_div, MP_CAST_NONE, "keeps the divisor, and the dividend where the divisor needs a gradient"},
    {"aten::true_divide", f_div, MP_CAST_NONE, "as div"},
    {"aten::floor_divide", f_integer, MP_CAST_NONE, ""},
    {"aten::fmod", f_remainder, MP_CAST_NONE, "keeps both where the divisor needs a gradient"},
    {"aten::remainder", f_remainder, MP_CAST_NONE, "keeps both where the divisor needs a gradient"},
    {"aten::pow", f_pow, MP_CAST_FP32, "keeps the base; of tensor to tensor also exponent and result"},
    {"aten::maximum", mp_call_extreme, MP_CAST_NONE, "keeps both"},
    {"aten::minimum", mp_call_extreme, MP_CAST_NONE, "keeps both"},
    {"aten::fmax", mp_call_extreme, MP_CAST_NONE, "keeps both"},
    {"aten::fmin", mp_call_extreme, MP_CAST_NONE, "keeps both"},
    {"aten::atan2", f_atan2, MP_CAST_PROMOTE, "keeps both"},
    {"aten::logaddexp", f_logaddexp, MP_CAST_NONE, "keeps both"},
    {"aten::xlogy", f_xlogy, MP_CAST_NONE, "keeps both"},
    {"aten::eq", f_compare, MP_CAST_NONE, ""},
    {"aten::ne", f_compare, MP_CAST_NONE, ""},
    {"aten::lt", f_compare, MP_CAST_NONE, ""},
    {"aten::le", f_compare, MP_CAST_NONE, ""},
    {"aten::gt", f_compare, MP_CAST_NONE, ""},
    {"aten::ge", f_compare, MP_CAST_NONE, ""},
    {"aten::isclose", f_compare, MP_CAST_NONE, ""},
    {"aten::logical_and", f_compare, MP_CAST_NONE, ""},
    {"aten::logical_or", f_compare, MP_CAST_NONE, ""},
    {"aten::logical_xor", f_compare, MP_CAST_NONE, ""},
    {"aten::bitwise_and", f_integer, MP_CAST_NONE, ""},
    {"aten::bitwise_or", f_integer, MP_CAST_NONE, ""},
    {"aten::bitwise_xor", f_integer, MP_CAST_NONE, ""},
    {"aten::bitwise_not", f_integer, MP_CAST_NONE, ""},
    {"aten::bitwise_left_shift", f_integer, MP_CAST_NONE, ""},
    {"aten::bitwise_right_shift", f_integer, MP_CAST_NONE, ""},
    {"aten::__lshift__", f_integer, MP_CAST_NONE, ""},
    {"aten::__rshift__", f_integer, MP_CAST_NONE, ""},
};
const mp_call_table mp_calls_binary = {rows, MP_COUNT(rows)};
