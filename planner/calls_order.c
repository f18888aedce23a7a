/* Softmax, running sums, and calls that select by order: max over a dimension, topk, sort. The last keep int64 indices, as many as values. */
#include <string.h>

#include "planner/calls.h"

/* ---- softmax, log_softmax: keep the result ---- */

static void softmax_data_backward(mp_em *e, mp_bw *b, const char *op) {
  if (mp_bw_grad(b, 0) < 0) return;
  const mp_tensor_info *in = mp_bw_input(b, 0);
  mp_bw_give(b, 0, mp_fresh(e, op, in->dtype, in));
}
static void softmax_backward(mp_em *e, mp_bw *b) { softmax_data_backward(e, b, "aten::_softmax_backward_data"); }
static void log_softmax_backward(mp_em *e, mp_bw *b) { softmax_data_backward(e, b, "aten::_log_softmax_backward_data"); }
static const mp_grad softmax_grad = {"SoftmaxBackward0", softmax_backward}, log_softmax_grad = {"LogSoftmaxBackward0", log_softmax_backward};

static mp_ten softmax_call(mp_em *e, const char *op, const mp_grad *row, mp_ten x, mp_dtype t) {
  size_t s = mp_em_enter(e);
  mp_dtype from = mp_em_info(e, x)->dtype;
  if (t == MP_UNDEFINED) t = from;
  if (t != from && !(from == MP_FLOAT16 && t == MP_FLOAT)) x = mp_op_to(e, x, t); /* half (not bfloat16) to float happens inside the kernel */
  mp_ten y = mp_fresh(e, op, t, mp_em_info(e, x));
  mp_record(e, row, MP_TENS(x), MP_TENS(y), MP_NO_INTS, y);
  return mp_em_leave1(e, s, y);
}
mp_ten mp_op_softmax(mp_em *e, mp_ten x, int64_t dim, mp_dtype t) {
  (void)dim;
  return softmax_call(e, "aten::_softmax", &softmax_grad, x, t);
}
mp_ten mp_log_softmax(mp_em *e, mp_ten x, int64_t dim, mp_dtype t) {
  (void)dim;
  return softmax_call(e, "aten::_log_softmax", &log_softmax_grad, x, t);
}

static mp_dtype softmax_dtype(mp_em *e, mp_ten x) { /* (x, dim, dtype): autocast asks for fp32 where no dtype is given */
  mp_dtype asked = mp_arg_dtype_at(e, 2);
  return asked == MP_UNDEFINED && mp_em_is_autocast(e) && mp_is_half(mp_em_info(e, x)->dtype) ? MP_FLOAT : asked;
}
static void f_softmax(mp_em *e) { mp_c_out(e, 0, mp_op_softmax(e, mp_c_ten(e, 0), mp_c_int(e, 1, -1), softmax_dtype(e, mp_c_ten(e, 0)))); }
static void f_log_softmax(mp_em *e) { mp_c_out(e, 0, mp_log_softmax(e, mp_c_ten(e, 0), mp_c_int(e, 1, -1), softmax_dtype(e, mp_c_ten(e, 0)))); }
static void f_softmax_raw(mp_em *e) {
  mp_c_out(e, 0, mp_op_softmax(e, mp_c_ten(e, 0), mp_c_int(e, 1, -1), mp_c_bool(e, 2, false) ? MP_FLOAT : MP_UNDEFINED));
}
static void f_log_softmax_raw(mp_em *e) {
  mp_c_out(e, 0, mp_log_softmax(e, mp_c_ten(e, 0), mp_c_int(e, 1, -1), mp_c_bool(e, 2, false) ? MP_FLOAT : MP_UNDEFINED));
}
static void f_softmin(mp_em *e) { mp_c_out(e, 0, mp_op_softmax(e, mp_op_neg(e, mp_c_ten(e, 0)), -1, softmax_dtype(e, mp_c_ten(e, 0)))); }

/* ---- cumsum, cumprod, logcumsumexp ---- */

static void cumsum_backward(mp_em *e, mp_bw *b) { /* grad.flip(dim).cumsum(dim).flip(dim) */
  mp_ten g = mp_bw_grad(b, 0);
  if (g < 0) return;
  g = mp_op_to(e, g, mp_bw_input(b, 0)->dtype);
  mp_tensor_info i = *mp_em_info(e, g);
  int64_t axis = mp_bw_meta(b)[0];
  if (mp_numel(&i) <= 1 || i.dims[axis] == 1) {
    mp_bw_give(b, 0, g);
    return;
  }
  mp_fresh(e, "aten::flip", i.dtype, &i);
  mp_fresh(e, "aten::cumsum", i.dtype, &i);
  mp_bw_give(b, 0, mp_fresh(e, "aten::flip", i.dtype, &i));
}
static void cumprod_backward(mp_em *e, mp_bw *b) { /* reversed cumsum of grad * result, over the operand */
  mp_ten g = mp_bw_grad(b, 0);
  if (g >= 0) mp_bw_give(b, 0, mp_kernels(e, "mul flip ~cumsum ~flip div", MP_TENS(g, mp_bw_saved(b, 0))));
}
static const mp_grad cumsum_grad = {"CumsumBackward0", cumsum_backward}, cumprod_grad = {"CumprodBackward0", cumprod_backward};

static mp_ten running(mp_em *e, mp_ten x) {
  mp_dtype t = mp_arg_dtype_at(e, 2), from = mp_em_info(e, x)->dtype;
  if (t == MP_UNDEFINED) t = mp_em_is_autocast(e) && mp_is_half(from) ? MP_FLOAT : mp_dtype_is_float(from) ? from : MP_INT64;
  return mp_em_new_like_dtype(e, mp_em_call(e)->row->name, x, t);
}
static int64_t axis_at(mp_em *e, mp_ten x, uint32_t i) { return mp_em_axis(e, mp_c_int(e, i, -1), mp_em_info(e, x)->rank); }
static void f_cumsum(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), y = running(e, x);
  mp_record(e, &cumsum_grad, MP_TENS(x), MP_NO_TENS, MP_INTS(axis_at(e, x, 1)), y);
  mp_c_out(e, 0, y);
}
static void f_cumprod(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), y = running(e, x);
  mp_record(e, &cumprod_grad, MP_TENS(x), MP_TENS(x, y), MP_INTS(axis_at(e, x, 1)), y);
  mp_c_out(e, 0, y);
}

/* ---- values and indices ---- */

static void select_backward(mp_em *e, mp_bw *b) { /* value_selecting_reduction_backward: zeros, then an out-of-place scatter */
  if (mp_bw_grad(b, 0) < 0) return;
  mp_tensor_info i = *mp_bw_input(b, 0);
  mp_fresh(e, "aten::new_zeros", i.dtype, &i);
  mp_bw_give(b, 0, mp_fresh(e, "aten::scatter", i.dtype, &i));
}
static const mp_grad max_grad = {"MaxBackward0", select_backward}, min_grad = {"MinBackward0", select_backward},
                     topk_grad = {"TopkBackward0", select_backward}, sort_grad = {"SortBackward0", select_backward},
                     pick_grad = {"KthvalueBackward0", select_backward}, cummax_grad = {"CummaxBackward0", select_backward};

static void values_and_indices(mp_em *e, const mp_grad *row, mp_ten x, int rank, const int64_t *dims, bool keep) {
  size_t s = mp_em_enter(e);
  const char *op = mp_em_call(e)->row->name;
  mp_ten v = mp_em_new(e, op, mp_em_info(e, x)->dtype, rank, dims), k = mp_em_new(e, op, MP_INT64, rank, dims);
  mp_em_set_what(e, k, MP_WHAT_INDICES);
  mp_record(e, row, MP_TENS(x), MP_TENS(k, keep ? x : -1), MP_NO_INTS, v);
  mp_c_out(e, 0, v);
  mp_c_out(e, 1, k);
  mp_em_leave(e, s, MP_NO_TENS);
}

static void over_axis(mp_em *e, const mp_grad *row, int64_t axis, bool keepdim, int64_t extent) {
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t dims[MP_RANK];
  int rank = 0;
  for (int d = 0; d < i.rank; d++)
    if (d != axis || keepdim) dims[rank++] = d == axis ? extent : i.dims[d];
  values_and_indices(e, row, x, rank, dims, false);
}

static void f_max(mp_em *e) {
  if (mp_c_is_ten(e, 1))
    mp_call_extreme(e);
  else if (!mp_c_has(e, 1))
    mp_call_extreme_all(e);
  else
    over_axis(e, strstr(mp_em_call(e)->row->name, "min") ? &min_grad : &max_grad, axis_at(e, mp_c_ten(e, 0), 1), mp_c_bool(e, 2, false), 1);
}
static void f_median(mp_em *e) {
  if (!mp_c_has(e, 1))
    mp_call_extreme_all(e);
  else
    over_axis(e, &pick_grad, axis_at(e, mp_c_ten(e, 0), 1), mp_c_bool(e, 2, false), 1);
}
static void f_kthvalue(mp_em *e) { over_axis(e, &pick_grad, axis_at(e, mp_c_ten(e, 0), 2), mp_c_bool(e, 3, false), 1); }
static void f_topk(mp_em *e) { over_axis(e, &topk_grad, axis_at(e, mp_c_ten(e, 0), 2), true, mp_c_int(e, 1, 1)); }
static void whole(mp_em *e, const mp_grad *row, bool keep) {
  mp_tensor_info i = *mp_em_info(e, mp_c_ten(e, 0));
  values_and_indices(e, row, mp_c_ten(e, 0), i.rank, i.dims, keep);
}
static void f_sort(mp_em *e) { whole(e, &sort_grad, false); }
static void f_cummax(mp_em *e) { whole(e, &cummax_grad, true); }
static void f_argsort(mp_em *e) { /* sort, whose values are let go */
  mp_tensor_info i = *mp_em_info(e, mp_c_ten(e, 0));
  size_t s = mp_em_enter(e);
  mp_fresh(e, "aten::sort", i.dtype, &i);
  mp_c_out(e, 0, mp_fresh(e, "aten::sort", MP_INT64, &i));
  mp_em_leave(e, s, MP_NO_TENS);
}

static const mp_call_row rows[] = {
    {"aten::softmax", f_softmax, MP_CAST_NONE, "keeps its result"},
    {"aten::special_softmax", f_softmax, MP_CAST_NONE, "keeps its result"},
    {"aten::_softmax", f_softmax_raw, MP_CAST_NONE, "keeps its result"},
    {"aten::softmin", f_softmin, MP_CAST_NONE, "keeps its result"},
    {"aten::log_softmax", f_log_softmax, MP_CAST_NONE, "keeps its result"},
    {"aten::special_log_softmax", f_log_softmax, MP_CAST_NONE, "keeps its result"},
    {"aten::_log_softmax", f_log_softmax_raw, MP_CAST_NONE, "keeps its result"},
    {"aten::cumsum", f_cumsum, MP_CAST_NONE, ""},
    {"aten::cumprod", f_cumprod, MP_CAST_NONE, "keeps its input and result"},
    {"aten::logcumsumexp", f_cumprod, MP_CAST_NONE, "keeps its input and result"},
    {"aten::max", f_max, MP_CAST_NONE, "keeps int64 indices; of all elements: input and result"},
    {"aten::min", f_max, MP_CAST_NONE, "keeps int64 indices; of all elements: input and result"},
    {"aten::median", f_median, MP_CAST_NONE, "keeps int64 indices"},
    {"aten::nanmedian", f_median, MP_CAST_NONE, "keeps int64 indices"},
    {"aten::mode", f_median, MP_CAST_NONE, "keeps int64 indices"},
    {"aten::kthvalue", f_kthvalue, MP_CAST_NONE, "keeps int64 indices"},
    {"aten::topk", f_topk, MP_CAST_NONE, "keeps int64 indices"},
    {"aten::sort", f_sort, MP_CAST_NONE, "keeps int64 indices"},
    {"aten::argsort", f_argsort, MP_CAST_NONE, ""},
    {"aten::cummax", f_cummax, MP_CAST_NONE, "keeps its input and int64 indices"},
    {"aten::cummin", f_cummax, MP_CAST_NONE, "keeps its input and int64 indices"},
};
const mp_call_table mp_calls_order = {rows, MP_COUNT(rows)};
