/* Dropout in all its forms. On CUDA dropout is one fused call that keeps a bool mask; the in-place and the channel-wise forms keep noise of the
 * operand's type. */
#include "planner/calls.h"

/* ---- native_dropout ---- */

static void native_dropout_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (g >= 0) mp_bw_give(b, 0, mp_kernel(e, "aten::native_dropout_backward", mp_em_info(e, g)->dtype, MP_TENS(g, mp_bw_saved(b, 0))));
}
static const mp_grad native_dropout_grad = {"NativeDropoutBackward0", native_dropout_backward};

mp_ten mp_op_dropout(mp_em *e, mp_ten x, double p) {
  if (p <= 0.0) return x;
  size_t s = mp_em_enter(e);
  mp_ten y = mp_em_new_like(e, "aten::native_dropout", x), mask = mp_em_new_like_dtype(e, "aten::native_dropout", x, MP_BOOL);
  mp_em_set_what(e, mask, MP_WHAT_MASK);
  if (mp_fn_begin(e, &native_dropout_grad, MP_TENS(x))) {
    mp_fn_save(e, 0, mask);
    mp_fn_output(e, y);
    mp_fn_end(e);
  }
  return mp_em_leave1(e, s, y);
}

/* ---- noise that multiplies: meta: slices ---- */

static void noise_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0), whole = -1;
  if (g < 0) return;
  if (mp_bw_meta(b)[0]) g = mp_slices_open(e, g, &whole);
  mp_ten r = mp_kernel2(e, "aten::mul", g, mp_bw_saved(b, 0));
  if (whole >= 0)
    mp_slices_shut(b, 0, whole);
  else
    mp_bw_give(b, 0, r);
}
static const mp_grad noise_grad = {"MulBackward0", noise_backward};

static void times_noise(mp_em *e, mp_ten x, mp_ten noise) {
  bool in_place = mp_em_call(e)->in_place;
  mp_em_set_what(e, noise, MP_WHAT_MASK);
  bool slices = in_place && mp_needs_slices(e, x);
  mp_ten y = in_place ? mp_write(e, x) : mp_kernel2(e, "aten::mul", x, noise);
  mp_record(e, &noise_grad, MP_TENS(x), MP_TENS(noise), MP_INTS(slices), y);
  if (in_place)
    mp_written(e, x, y);
  else
    mp_c_out(e, 0, y);
}

static double active(mp_em *e) { /* the probability, 0 outside training */
  double p = mp_c_float(e, 1, 0.5);
  return mp_c_bool(e, 2, true) && mp_numel(mp_em_info(e, mp_c_ten(e, 0))) ? p : 0.0;
}

static void f_dropout(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  double p = active(e);
  size_t s = mp_em_enter(e);
  if (p <= 0.0)
    mp_c_out(e, 0, x);
  else if (!mp_em_call(e)->in_place)
    mp_c_out(e, 0, mp_op_dropout(e, x, p));
  else
    times_noise(e, x, mp_em_new_like(e, "aten::empty_like", x));
  mp_em_leave(e, s, MP_NO_TENS);
}

static void f_feature_dropout(mp_em *e) { /* dropout1d, 2d, 3d: one draw for each channel */
  mp_ten x = mp_c_ten(e, 0);
  if (active(e) <= 0.0) {
    mp_c_out(e, 0, x);
    return;
  }
  size_t s = mp_em_enter(e);
  mp_tensor_info i = *mp_em_info(e, x);
  for (int k = 2; k < i.rank; k++) i.dims[k] = 1;
  times_noise(e, x, mp_em_new(e, "aten::new_empty", i.dtype, i.rank, i.dims));
  mp_em_leave(e, s, MP_NO_TENS);
}

static void f_alpha_dropout(mp_em *e) { /* (input * noise).add_(b), b made from the noise */
  mp_ten x = mp_c_ten(e, 0);
  if (active(e) <= 0.0) {
    mp_c_out(e, 0, x);
    return;
  }
  size_t s = mp_em_enter(e);
  mp_ten noise = mp_em_new_like(e, "aten::empty_like", x);
  mp_em_new_like(e, "aten::add", noise);
  mp_em_set_what(e, noise, MP_WHAT_MASK);
  mp_ten y = mp_kernel2(e, "aten::mul", x, noise);
  mp_record(e, &noise_grad, MP_TENS(x), MP_TENS(noise), MP_INTS(0), y);
  mp_em_leave1(e, s, y);
  mp_c_out(e, 0, y);
}

static const mp_call_row rows[] = {
    {"aten::dropout", f_dropout, MP_CAST_NONE, "keeps a bool mask; in place: noise of the operand's type"},
    {"aten::native_dropout", f_dropout, MP_CAST_NONE, "keeps a bool mask"},
    {"aten::feature_dropout", f_feature_dropout, MP_CAST_NONE, "keeps one number a channel"},
    {"aten::dropout1d", f_feature_dropout, MP_CAST_NONE, "keeps one number a channel"},
    {"aten::dropout2d", f_feature_dropout, MP_CAST_NONE, "keeps one number a channel"},
    {"aten::dropout3d", f_feature_dropout, MP_CAST_NONE, "keeps one number a channel"},
    {"aten::alpha_dropout", f_alpha_dropout, MP_CAST_NONE, "keeps noise of the operand's type"},
};
const mp_call_table mp_calls_random = {rows, MP_COUNT(rows)};
