/* Calls that choose between operands, or blend them: where, masked_fill, clamp, lerp, addcmul. */
#include "planner/calls.h"

/* ---- where ---- */

static void where_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0), cond = mp_bw_saved(b, 0);
  if (g < 0) return;
  for (uint32_t k = 2; k-- > 0;) { /* where(cond, 0, grad), where(cond, grad, 0): the zero becomes a tensor */
    if (!mp_bw_wants(b, k)) continue;
    mp_dtype t = mp_em_info(e, g)->dtype;
    mp_ten zero = mp_em_scalar(e, "aten::scalar_tensor", t);
    mp_bw_give(b, k, mp_kernel(e, "aten::where", t, MP_TENS(cond, g)));
    mp_em_drop(e, zero);
  }
}
static const mp_grad where_grad = {"WhereBackward0", where_backward};

static mp_ten number_tensor(mp_em *e, uint32_t i, mp_ten beside) { /* at::where wraps a Python number into a 0-d tensor */
  if (mp_c_is_ten(e, i)) return mp_c_ten(e, i);
  return mp_em_scalar(e, "aten::scalar_tensor", beside >= 0 ? mp_em_info(e, beside)->dtype : mp_em_made_dtype(e, MP_FLOAT));
}

static void f_where(mp_em *e) {
  size_t s = mp_em_enter(e);
  mp_ten cond = mp_c_ten(e, 0);
  mp_ten x = number_tensor(e, 1, mp_c_is_ten(e, 2) ? mp_c_ten(e, 2) : -1), y = number_tensor(e, 2, x);
  mp_ten out = mp_kernel(e, "aten::where", mp_promote(e, x, y), MP_TENS(cond, x, y));
  mp_record(e, &where_grad, MP_TENS(x, y), MP_TENS(cond), MP_NO_INTS, out);
  mp_em_leave1(e, s, out);
  mp_c_out(e, 0, out);
}

/* ---- masked_fill: meta: slices ---- */

static void masked_fill_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0), mask = mp_bw_saved(b, 0), whole = -1;
  if (g < 0) return;
  if (mp_bw_meta(b)[0]) g = mp_slices_open(e, g, &whole);
  mp_dtype t = mp_em_info(e, g)->dtype;
  if (mp_bw_wants(b, 0)) {
    mp_ten r = mp_kernel(e, "aten::masked_fill", t, MP_TENS(g, mask));
    if (whole >= 0)
      mp_slices_shut(b, 0, whole);
    else
      mp_bw_give(b, 0, r);
  }
  if (mp_bw_wants(b, 1)) {
    size_t s = mp_em_enter(e);
    mp_kernels(e, ".scalar_tensor where", MP_TENS(g, mask));
    mp_bw_give(b, 1, mp_em_leave1(e, s, mp_em_scalar(e, "aten::sum", t)));
  }
}
static const mp_grad masked_fill_grad = {"MaskedFillBackward0", masked_fill_backward};

static void f_masked_fill(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), mask = mp_c_ten(e, 1), value = mp_c_is_ten(e, 2) ? mp_c_ten(e, 2) : -1;
  bool in_place = mp_em_call(e)->in_place;
  size_t s = mp_em_enter(e);
  bool slices = in_place && mp_needs_slices(e, x);
  mp_ten out = in_place ? mp_write(e, x) : mp_kernel(e, "aten::masked_fill", mp_em_info(e, x)->dtype, MP_TENS(x, mask));
  mp_record(e, &masked_fill_grad, MP_TENS(x, value), MP_TENS(mask), MP_INTS(slices), out);
  if (in_place)
    mp_written(e, x, out);
  else
    mp_c_out(e, 0, out);
  mp_em_leave(e, s, MP_NO_TENS);
}

/* ---- clamp: meta: slices, bounds that are given ---- */

static void clamp_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0), x = mp_bw_saved(b, 0), whole = -1;
  if (g < 0) return;
  const int64_t *m = mp_bw_meta(b);
  if (m[0]) g = mp_slices_open(e, g, &whole);
  for (uint32_t k = 1; k <= 2; k++) /* bounds that are tensors with gradients */
    if (mp_bw_wants(b, k)) mp_bw_give(b, k, mp_statement(e, "?lt .scalar_tensor where", MP_TENS(g, x, mp_bw_saved(b, k))));
  if (!mp_bw_wants(b, 0)) return;
  mp_ten r = mp_kernels(e, m[1] == 3 ? ".scalar_tensor ?ge ?le where" : ".scalar_tensor ?ge where", MP_TENS(g, x));
  if (whole >= 0)
    mp_slices_shut(b, 0, whole);
  else
    mp_bw_give(b, 0, r);
}
static const mp_grad clamp_grad = {"ClampBackward0", clamp_backward};

static void clamp_call(mp_em *e, mp_ten low, mp_ten high, int64_t bounds) {
  mp_ten x = mp_c_ten(e, 0);
  bool in_place = mp_em_call(e)->in_place;
  size_t s = mp_em_enter(e);
  bool slices = in_place && mp_needs_slices(e, x);
  mp_ten kept = in_place && mp_em_needs(e, x) ? mp_kernel1(e, "aten::clone", x) : x;
  mp_ten out = in_place ? mp_write(e, x) : mp_kernel(e, mp_em_call(e)->row->name, MP_UNDEFINED, MP_TENS(x, low, high));
  mp_record(e, &clamp_grad, MP_TENS(x, low, high), MP_TENS(kept, low, high), MP_INTS(slices, bounds), out);
  if (in_place)
    mp_written(e, x, out);
  else
    mp_c_out(e, 0, out);
  mp_em_leave(e, s, MP_NO_TENS);
}
static void f_clamp(mp_em *e) {
  mp_ten low = mp_c_is_ten(e, 1) ? mp_c_ten(e, 1) : -1, high = mp_c_is_ten(e, 2) ? mp_c_ten(e, 2) : -1;
  clamp_call(e, low, high, mp_c_has(e, 1) | (mp_c_has(e, 2) << 1));
}
static void f_clamp_min(mp_em *e) { clamp_call(e, mp_c_is_ten(e, 1) ? mp_c_ten(e, 1) : -1, -1, 1); }
static void f_clamp_max(mp_em *e) { clamp_call(e, -1, mp_c_is_ten(e, 1) ? mp_c_ten(e, 1) : -1, 2); }

/* ---- addcmul, addcdiv: inputs self, tensor1, tensor2 ---- */

static void addc_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0), p = mp_bw_saved(b, 0), q = mp_bw_saved(b, 1);
  if (g < 0) return;
  bool quotient = mp_bw_meta(b)[0];
  mp_bw_give(b, 0, g);
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mp_statement(e, quotient ? "empty_like mul" : "mul mul", MP_TENS(g, q)));
  if (mp_bw_wants(b, 2)) mp_bw_give(b, 2, mp_statement(e, quotient ? "mul mul div neg mul" : "mul mul", MP_TENS(g, p, q)));
}
static const mp_grad addcmul_grad = {"AddcmulBackward0", addc_backward}, addcdiv_grad = {"AddcdivBackward0", addc_backward};

static void addc(mp_em *e, const mp_grad *row, bool quotient) {
  mp_ten x = mp_c_ten(e, 0), p = mp_c_ten(e, 1), q = mp_c_ten(e, 2);
  mp_ten out = mp_kernel(e, mp_em_call(e)->row->name, MP_UNDEFINED, MP_TENS(x, p, q));
  bool np = mp_em_needs(e, p), nq = mp_em_needs(e, q);
  mp_record(e, row, MP_TENS(x, p, q), MP_TENS(nq ? p : -1, np || (quotient && nq) ? q : -1), MP_INTS(quotient), out);
  mp_c_out(e, 0, out);
}
static void f_addcmul(mp_em *e) { addc(e, &addcmul_grad, false); }
static void f_addcdiv(mp_em *e) { addc(e, &addcdiv_grad, true); }

/* ---- lerp: inputs self, end, weight ---- */

static void lerp_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0), w = mp_bw_saved(b, 0), x = mp_bw_saved(b, 1), end = mp_bw_saved(b, 2);
  if (g < 0) return;
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mp_statement(e, "mul", MP_TENS(g, w)));
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, mp_statement(e, w >= 0 ? "rsub mul" : "mul", MP_TENS(g, w)));
  if (mp_bw_wants(b, 2)) mp_bw_give(b, 2, mp_statement(e, "sub mul", MP_TENS(g, x, end)));
}
static const mp_grad lerp_grad = {"LerpBackward0", lerp_backward};

static void f_lerp(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), end = mp_c_ten(e, 1), w = mp_c_is_ten(e, 2) ? mp_c_ten(e, 2) : -1;
  mp_ten out = mp_kernel(e, "aten::lerp", MP_UNDEFINED, MP_TENS(x, end, w));
  bool nw = mp_em_needs(e, w);
  mp_record(e, &lerp_grad, MP_TENS(x, end, w), MP_TENS(w, nw ? x : -1, nw ? end : -1), MP_NO_INTS, out);
  mp_c_out(e, 0, out);
}

static const mp_call_row rows[] = {
    {"aten::where", f_where, MP_CAST_NONE, "keeps the condition"},
    {"aten::masked_fill", f_masked_fill, MP_CAST_NONE, "keeps the mask"},
    {"aten::clamp", f_clamp, MP_CAST_NONE, "keeps its input"},
    {"aten::clip", f_clamp, MP_CAST_NONE, "keeps its input"},
    {"aten::clamp_min", f_clamp_min, MP_CAST_NONE, "keeps its input"},
    {"aten::clamp_max", f_clamp_max, MP_CAST_NONE, "keeps its input"},
    {"aten::addcmul", f_addcmul, MP_CAST_PROMOTE, "keeps each factor that the other's gradient needs"},
    {"aten::addcdiv", f_addcdiv, MP_CAST_PROMOTE, "keeps the divisor, and the dividend where the divisor needs a gradient"},
    {"aten::lerp", f_lerp, MP_CAST_NONE, "keeps a tensor weight; both ends where the weight needs a gradient"},
};
const mp_call_table mp_calls_choose = {rows, MP_COUNT(rows)};
