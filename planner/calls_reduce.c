/* Reductions and softmax. The gradient of a sum is an expanded view, that of a mean a real tensor. */
#include <string.h>

#include "planner/calls.h"

/* ---- shared: what is reduced ---- */

typedef struct reduction {
  int64_t dims[MP_RANK];
  uint32_t n; /* 0: all */
  bool keepdim;
} reduction;

/* arguments dims at `i`, keepdim at `i` + 1; an empty list is all */
static reduction reduction_at(mp_em *e, mp_ten x, uint32_t i) {
  reduction r = {.keepdim = mp_c_bool(e, i + 1, false)};
  r.n = mp_c_ints(e, i, r.dims, MP_RANK);
  int rank = mp_em_info(e, x)->rank;
  for (uint32_t k = 0; k < r.n; k++) r.dims[k] = mp_em_axis(e, r.dims[k], rank);
  return r;
}

static void meta_of(const reduction *r, int64_t *meta) { /* keepdim, then the dims */
  meta[0] = r->keepdim;
  for (uint32_t k = 0; k < r->n; k++) meta[1 + k] = r->dims[k];
}

/* the gradient (or result) of a reduction with ones where dims were: unsqueeze_multiple */
static mp_ten restore(mp_em *e, mp_ten g, int rank, const int64_t *dims, uint32_t n, bool keepdim) {
  if (keepdim || mp_em_info(e, g)->rank == rank || !n) return g;
  bool gone[MP_RANK] = {false};
  for (uint32_t k = 0; k < n; k++) gone[dims[k]] = true;
  for (int d = 0; d < rank; d++)
    if (gone[d]) g = mp_op_unsqueeze(e, g, d);
  return g;
}
static mp_ten restored(mp_em *e, mp_bw *b, mp_ten g) {
  const int64_t *m = mp_bw_meta(b);
  return restore(e, g, mp_bw_input(b, 0)->rank, m + 1, mp_bw_meta_count(b) - 1, m[0]);
}
static mp_ten expanded(mp_em *e, mp_bw *b, mp_ten g) {
  mp_tensor_info in = *mp_bw_input(b, 0);
  return mp_op_expand(e, restored(e, b, g), in.rank, in.dims);
}

static mp_ten recorded(mp_em *e, const mp_grad *row, mp_ten x, const reduction *r, mp_ten out, const mp_ten *saved, uint32_t n) {
  int64_t meta[MP_RANK + 1];
  meta_of(r, meta);
  mp_record(e, row, MP_TENS(x), saved, n, meta, r->n + 1, out);
  return out;
}

/* ---- sum, mean ---- */

static void sum_backward(mp_em *e, mp_bw *b) {
  if (mp_bw_grad(b, 0) >= 0) mp_bw_give(b, 0, expanded(e, b, mp_bw_grad(b, 0)));
}
static void mean_backward(mp_em *e, mp_bw *b) {
  if (mp_bw_grad(b, 0) >= 0) mp_bw_give(b, 0, mp_kernel1(e, "aten::div", expanded(e, b, mp_bw_grad(b, 0))));
}
static const mp_grad sum_grad = {"SumBackward1", sum_backward}, sum_all_grad = {"SumBackward0", sum_backward};
static const mp_grad mean_grad = {"MeanBackward1", mean_backward}, mean_all_grad = {"MeanBackward0", mean_backward};

static mp_dtype sum_dtype(mp_dtype t) { return mp_dtype_is_float(t) ? t : MP_INT64; }

static mp_ten sum_like(mp_em *e, const char *op, const mp_grad *row, const mp_grad *all, mp_ten x, const reduction *r, mp_dtype t) {
  mp_ten out = mp_reduced(e, op, t, x, r->dims, r->n, r->keepdim);
  return recorded(e, r->n ? row : all, x, r, out, MP_NO_TENS);
}

static reduction reduction_of(const int64_t *dims, uint32_t n, bool keepdim) {
  reduction r = {.n = n, .keepdim = keepdim};
  if (n) memcpy(r.dims, dims, n * sizeof *dims);
  return r;
}

mp_ten mp_sum(mp_em *e, mp_ten x, const int64_t *dims, uint32_t n, bool keepdim, mp_dtype t) {
  reduction r = reduction_of(dims, n, keepdim);
  if (t == MP_UNDEFINED) t = sum_dtype(mp_em_info(e, x)->dtype);
  return sum_like(e, "aten::sum", &sum_grad, &sum_all_grad, x, &r, t);
}
mp_ten mp_mean(mp_em *e, mp_ten x, const int64_t *dims, uint32_t n, bool keepdim, mp_dtype t) {
  reduction r = reduction_of(dims, n, keepdim);
  return sum_like(e, "aten::mean", &mean_grad, &mean_all_grad, x, &r, t == MP_UNDEFINED ? mp_em_info(e, x)->dtype : t);
}

/* autocast asks these calls for an fp32 result, without a copy of the operand (fp32_set_opt_dtype) */
static mp_dtype wide_dtype(mp_em *e, mp_ten x, mp_dtype asked) {
  if (asked != MP_UNDEFINED) return asked;
  return mp_em_is_autocast(e) && mp_is_half(mp_em_info(e, x)->dtype) ? MP_FLOAT : MP_UNDEFINED;
}

/* (x, dtype) or (x, dims, keepdim, dtype) */
static mp_dtype asked_dtype(mp_em *e) { return mp_arg_dtype_at(e, 1) != MP_UNDEFINED ? mp_arg_dtype_at(e, 1) : mp_arg_dtype_at(e, 3); }

static void f_sum(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  reduction r = reduction_at(e, x, 1);
  mp_c_out(e, 0, mp_sum(e, x, r.dims, r.n, r.keepdim, wide_dtype(e, x, asked_dtype(e))));
}
static void nansum_backward(mp_em *e, mp_bw *b) {
  if (mp_bw_grad(b, 0) >= 0) mp_bw_give(b, 0, mp_kernels(e, "?isnan ?logical_not mul", MP_TENS(mp_bw_saved(b, 0))));
}
static const mp_grad nansum_grad = {"NansumBackward0", nansum_backward};
static void f_nansum(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  reduction r = reduction_at(e, x, 1);
  mp_ten y = mp_reduced(e, "aten::nansum", mp_em_info(e, x)->dtype, x, r.dims, r.n, r.keepdim);
  mp_c_out(e, 0, recorded(e, &nansum_grad, x, &r, y, MP_TENS(x)));
}
static void f_mean(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  reduction r = reduction_at(e, x, 1);
  mp_c_out(e, 0, mp_mean(e, x, r.dims, r.n, r.keepdim, asked_dtype(e)));
}

/* ---- var, std ---- */

static mp_ten var_gradient(mp_em *e, mp_bw *b, mp_ten g, mp_ten x) {
  const int64_t *m = mp_bw_meta(b);
  mp_ten mean = mp_reduced(e, "aten::mean", mp_em_info(e, x)->dtype, x, m + 1, mp_bw_meta_count(b) - 1, true);
  mp_ten centred = mp_kernel2(e, "aten::sub", x, mean);
  mp_ten scaled = mp_kernel1(e, "aten::mul", restored(e, b, g));
  return mp_kernel2(e, "aten::mul", scaled, centred);
}
static void var_backward(mp_em *e, mp_bw *b) {
  if (mp_bw_grad(b, 0) >= 0) mp_bw_give(b, 0, var_gradient(e, b, mp_bw_grad(b, 0), mp_bw_saved(b, 0)));
}
static void std_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (g < 0) return;
  size_t s = mp_em_enter(e);
  mp_kernels(e, "mul", MP_TENS(mp_bw_saved(b, 1)));
  mp_ten gv = mp_kernels(e, "div", MP_TENS(g, mp_bw_saved(b, 1)));
  mp_kernels(e, "?eq", MP_TENS(g));
  mp_em_leave1(e, s, gv);
  mp_bw_give(b, 0, var_gradient(e, b, gv, mp_bw_saved(b, 0)));
}
static void var_mean_backward(mp_em *e, mp_bw *b) { /* outputs var (or std) and mean */
  mp_ten g = mp_bw_grad(b, 0), gm = mp_bw_grad(b, 1), r = -1;
  if (g >= 0) r = var_gradient(e, b, g, mp_bw_saved(b, 0));
  if (gm >= 0) {
    mp_ten rm = mp_kernel1(e, "aten::div", expanded(e, b, gm));
    if (r < 0) r = rm; /* else the sum is made in the place of the first */
  }
  mp_bw_give(b, 0, r);
}
static const mp_grad var_grad = {"VarBackward0", var_backward}, std_grad = {"StdBackward0", std_backward};
static const mp_grad var_mean_grad = {"VarMeanBackward0", var_mean_backward}, std_mean_grad = {"StdMeanBackward0", var_mean_backward};

/* var(x, unbiased), var(x, dims, unbiased or correction, keepdim), prims::var(x, dims, correction) */
static reduction var_reduction(mp_em *e, mp_ten x) {
  const mp_arg *a = mp_em_call(e)->args;
  reduction r = {.keepdim = mp_c_bool(e, 3, false)};
  if (mp_c_count(e) > 1 && (a[1].kind == MP_ARG_INTS || a[1].kind == MP_ARG_INT)) r.n = mp_c_ints(e, 1, r.dims, MP_RANK);
  for (uint32_t k = 0; k < r.n; k++) r.dims[k] = mp_em_axis(e, r.dims[k], mp_em_info(e, x)->rank);
  return r;
}
static void var_like(mp_em *e, const char *op, const mp_grad *row, bool keep_result, bool mean) {
  mp_ten x = mp_c_ten(e, 0);
  mp_dtype t = mp_em_info(e, x)->dtype;
  reduction r = var_reduction(e, x);
  size_t s = mp_em_enter(e);
  mp_ten out = mp_reduced(e, op, t, x, r.dims, r.n, r.keepdim), second = mean ? mp_reduced(e, op, t, x, r.dims, r.n, r.keepdim) : -1;
  int64_t meta[MP_RANK + 1];
  meta_of(&r, meta);
  if (mp_fn_begin(e, row, MP_TENS(x))) {
    mp_fn_save(e, 0, x);
    if (keep_result) mp_fn_save(e, 1, out);
    mp_fn_meta(e, meta, r.n + 1);
    mp_fn_output(e, out);
    if (mean) mp_fn_output(e, second);
    mp_fn_end(e);
  }
  mp_c_out(e, 0, out);
  mp_c_out(e, 1, second);
  mp_em_leave(e, s, MP_NO_TENS);
}
static void f_var(mp_em *e) { var_like(e, "aten::var", &var_grad, false, false); }
static void f_std(mp_em *e) { var_like(e, "aten::std", &std_grad, true, false); }
static void f_var_mean(mp_em *e) { var_like(e, "aten::var_mean", &var_mean_grad, false, true); }
static void f_std_mean(mp_em *e) { var_like(e, "aten::std_mean", &std_mean_grad, true, true); }

/* ---- amax, amin, max(), min(): the gradient is shared among the elements that are the extreme ---- */

static void amax_backward(mp_em *e, mp_bw *b) { /* scale_grad_by_count */
  mp_ten g = mp_bw_grad(b, 0), x = mp_bw_saved(b, 0);
  if (g < 0) return;
  const int64_t *m = mp_bw_meta(b);
  mp_ten mask = mp_kernel(e, "aten::eq", MP_BOOL, MP_TENS(x));
  mp_ten count = mp_reduced(e, "aten::sum", MP_INT64, mask, m + 1, mp_bw_meta_count(b) - 1, true);
  mp_ten share = mp_kernel2(e, "aten::div", restored(e, b, g), count);
  mp_bw_give(b, 0, mp_kernel2(e, "aten::mul", share, mask));
}
static void max_all_backward(mp_em *e, mp_bw *b) { /* evenly_distribute_backward */
  mp_ten g = mp_bw_grad(b, 0), x = mp_bw_saved(b, 0);
  if (g < 0) return;
  mp_kernels(e, "?isnan", MP_TENS(x));
  mp_em_scalar(e, "aten::isnan", MP_BOOL);
  mp_kernels(e, "?logical_and", MP_TENS(x));
  mp_ten mask = mp_kernels(e, "?eq", MP_TENS(x));
  mp_em_scalar(e, "aten::sum", MP_INT64);
  mp_ten share = mp_em_scalar(e, "aten::div", mp_em_info(e, x)->dtype);
  mp_bw_give(b, 0, mp_kernel2(e, "aten::mul", share, mask));
}
static const mp_grad amax_grad = {"AmaxBackward0", amax_backward}, amin_grad = {"AminBackward0", amax_backward};
static const mp_grad max_all_grad = {"MaxBackward1", max_all_backward}, min_all_grad = {"MinBackward1", max_all_backward};

static void amax_like(mp_em *e, const mp_grad *row) {
  mp_ten x = mp_c_ten(e, 0);
  reduction r = reduction_at(e, x, 1);
  mp_ten out = mp_reduced(e, mp_em_call(e)->row->name, mp_em_info(e, x)->dtype, x, r.dims, r.n, r.keepdim);
  mp_c_out(e, 0, recorded(e, row, x, &r, out, MP_TENS(x, out)));
}
static void f_amax(mp_em *e) { amax_like(e, &amax_grad); }
static void f_amin(mp_em *e) { amax_like(e, &amin_grad); }

void mp_call_extreme_all(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  bool low = strstr(mp_em_call(e)->row->name, "min") != NULL;
  mp_ten out = mp_em_scalar(e, mp_em_call(e)->row->name, mp_em_info(e, x)->dtype);
  mp_record(e, low ? &min_all_grad : &max_all_grad, MP_TENS(x), MP_TENS(x, out), MP_NO_INTS, out);
  mp_c_out(e, 0, out);
}

/* ---- logsumexp, norms: keep the operand and the result ---- */

static void logsumexp_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (g >= 0) mp_bw_give(b, 0, mp_kernels(e, "sub exp mul", MP_TENS(mp_bw_saved(b, 0))));
}
static const mp_grad logsumexp_grad = {"LogsumexpBackward0", logsumexp_backward};
static void f_logsumexp(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  reduction r = reduction_at(e, x, 1);
  mp_ten out = mp_reduced(e, "aten::logsumexp", mp_em_info(e, x)->dtype, x, r.dims, r.n, r.keepdim);
  mp_c_out(e, 0, recorded(e, &logsumexp_grad, x, &r, out, MP_TENS(x, out)));
}

/* saved: x, result; norm_backward. The order of the norm in eighths: 16 is the Euclidean one. */
static void norm_backward_of(mp_em *e, mp_bw *b, int64_t order) {
  mp_ten g = mp_bw_grad(b, 0), x = mp_bw_saved(b, 0);
  if (g < 0) return;
  mp_ten r = mp_bw_saved(b, 1), up = restored(e, b, g);
  if (order == 8) {
    mp_bw_give(b, 0, mp_kernels(e, "sgn mul", MP_TENS(x)));
    return;
  }
  size_t s = mp_em_enter(e);
  mp_ten scaled = mp_kernels(e, order == 16 ? "div" : order < 16 ? "sgn abs pow ~mul" : "abs ~mul", MP_TENS(x, restored(e, b, r)));
  if (order != 16) up = mp_statement(e, "pow div", MP_TENS(r));
  mp_kernels(e, "?eq", MP_TENS(r));
  if (order != 16) up = mp_op_expand(e, restored(e, b, up), mp_em_info(e, x)->rank, mp_em_info(e, x)->dims);
  mp_bw_give(b, 0, mp_em_leave1(e, s, mp_kernel2(e, "aten::mul", scaled, up)));
}
static void norm2_backward(mp_em *e, mp_bw *b) { norm_backward_of(e, b, 16); }
static void norm1_backward(mp_em *e, mp_bw *b) { norm_backward_of(e, b, 8); }
static void norm_p_backward(mp_em *e, mp_bw *b) { norm_backward_of(e, b, 24); }
static const mp_grad norm2_grad = {"LinalgVectorNormBackward0", norm2_backward}, norm1_grad = {"LinalgVectorNormBackward0", norm1_backward},
                     norm_p_grad = {"LinalgVectorNormBackward0", norm_p_backward};

mp_ten mp_norm(mp_em *e, mp_ten x, int64_t dim) { /* the Euclidean norm, the dimension kept */
  reduction r = reduction_of(&dim, 1, true);
  mp_ten out = mp_reduced(e, "aten::linalg_vector_norm", mp_em_info(e, x)->dtype, x, r.dims, 1, true);
  return recorded(e, &norm2_grad, x, &r, out, MP_TENS(x, out));
}

static void f_norm(mp_em *e) { /* (x, order, dims, keepdim, dtype) */
  mp_ten x = mp_c_ten(e, 0);
  reduction r = reduction_at(e, x, 2);
  double p = mp_c_float(e, 1, 2.0);
  mp_dtype t = wide_dtype(e, x, mp_arg_dtype_at(e, 4));
  mp_ten out = mp_reduced(e, "aten::linalg_vector_norm", t == MP_UNDEFINED ? mp_em_info(e, x)->dtype : t, x, r.dims, r.n, r.keepdim);
  const mp_grad *row = p > 1.9 && p < 2.1 ? &norm2_grad : p > 0.9 && p < 1.1 ? &norm1_grad : &norm_p_grad;
  mp_c_out(e, 0, recorded(e, row, x, &r, out, MP_TENS(x, out)));
}

/* ---- prod ---- */

static mp_ten along(mp_em *e, const char *op, const mp_tensor_info *x, int64_t axis, int64_t extent) {
  mp_tensor_info i = *x;
  if (i.rank) i.dims[axis] = extent;
  return mp_em_new(e, op, i.dtype, i.rank, i.dims);
}
static void prod_backward(mp_em *e, mp_bw *b) { /* prod_safe_zeros_backward: products of what comes before and after */
  mp_ten g = mp_bw_grad(b, 0), x = mp_bw_saved(b, 0);
  if (g < 0) return;
  const int64_t *m = mp_bw_meta(b);
  x = mp_op_to(e, x, mp_em_info(e, g)->dtype);
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t axis = mp_bw_meta_count(b) > 1 ? m[1] : 0;
  if (mp_bw_meta_count(b) == 1) {
    i.dims[0] = (int64_t)mp_numel(&i);
    i.rank = 1;
  }
  mp_ten ones = along(e, "aten::ones", &i, axis, 1);
  along(e, "aten::cat", &i, axis, i.dims[axis]);
  along(e, "aten::cumprod", &i, axis, i.dims[axis]);
  mp_ten back = along(e, "aten::flip", &i, axis, i.dims[axis] - 1);
  along(e, "aten::cat", &i, axis, i.dims[axis]);
  mp_em_drop(e, ones);
  mp_em_drop(e, back);
  mp_ten right = along(e, "aten::cumprod", &i, axis, i.dims[axis]);
  along(e, "aten::flip", &i, axis, i.dims[axis]);
  mp_em_drop(e, right);
  mp_bw_give(b, 0, mp_kernels(e, "mul mul", MP_TENS(x)));
}
static const mp_grad prod_grad = {"ProdBackward1", prod_backward}, prod_all_grad = {"ProdBackward0", prod_backward};
static void f_prod(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  reduction r = reduction_at(e, x, 1);
  mp_dtype t = wide_dtype(e, x, asked_dtype(e));
  mp_ten out = mp_reduced(e, "aten::prod", t == MP_UNDEFINED ? sum_dtype(mp_em_info(e, x)->dtype) : t, x, r.dims, r.n, r.keepdim);
  mp_c_out(e, 0, recorded(e, r.n ? &prod_grad : &prod_all_grad, x, &r, out, MP_TENS(x, out)));
}

/* ---- results without a gradient ---- */

static void untracked(mp_em *e, mp_dtype t, uint32_t dims_at) {
  mp_ten x = mp_c_ten(e, 0);
  reduction r = reduction_at(e, x, dims_at);
  mp_c_out(e, 0, mp_reduced(e, mp_em_call(e)->row->name, t, x, r.dims, r.n, r.keepdim));
}
static void f_any(mp_em *e) { untracked(e, MP_BOOL, 1); }
static void f_argmax(mp_em *e) { untracked(e, MP_INT64, 1); }

static const mp_call_row rows[] = {
    {"aten::sum", f_sum, MP_CAST_NONE, ""},
    {"aten::nansum", f_nansum, MP_CAST_NONE, "keeps its input"},
    {"aten::mean", f_mean, MP_CAST_NONE, ""},
    {"aten::var", f_var, MP_CAST_NONE, "keeps its input"},
    {"prims::var", f_var, MP_CAST_NONE, "keeps its input"},
    {"aten::std", f_std, MP_CAST_NONE, "keeps its input and result"},
    {"aten::var_mean", f_var_mean, MP_CAST_NONE, "keeps its input"},
    {"aten::std_mean", f_std_mean, MP_CAST_NONE, "keeps its input and result"},
    {"aten::amax", f_amax, MP_CAST_NONE, "keeps its input and result"},
    {"aten::amin", f_amin, MP_CAST_NONE, "keeps its input and result"},
    {"aten::logsumexp", f_logsumexp, MP_CAST_FP32, "keeps its input and result"},
    {"aten::norm", f_norm, MP_CAST_NONE, "keeps its input and result"},
    {"aten::linalg_vector_norm", f_norm, MP_CAST_NONE, "keeps its input and result"},
    {"aten::frobenius_norm", f_norm, MP_CAST_NONE, "keeps its input and result"},
    {"aten::prod", f_prod, MP_CAST_NONE, "keeps its input and result"},
    {"aten::any", f_any, MP_CAST_NONE, ""},
    {"aten::all", f_any, MP_CAST_NONE, ""},
    {"aten::argmax", f_argmax, MP_CAST_NONE, ""},
    {"aten::argmin", f_argmax, MP_CAST_NONE, ""},
    {"aten::count_nonzero", f_argmax, MP_CAST_NONE, ""},
};
const mp_call_table mp_calls_reduce = {rows, MP_COUNT(rows)};
