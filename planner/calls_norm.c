/* Normalisations. Each is one call that keeps its input and two numbers for each group that it normalises (mean and 1/std, in fp32 but for group
 * norm). */
#include "planner/calls.h"

static bool contiguous_as(const mp_tensor_info *t, bool channels_last) {
  if (!channels_last) return mp_is_contiguous(t);
  int64_t strides[MP_RANK];
  mp_strides_channels_last(t->rank, t->dims, strides);
  for (int d = 0; d < t->rank; d++)
    if (t->dims[d] != 1 && t->strides[d] != strides[d]) return false;
  return true;
}

/* a tensor of x's dims in x's suggested memory format */
static mp_ten suggested(mp_em *e, const char *op, const mp_tensor_info *x) {
  mp_tensor_info i = *x;
  return mp_em_new_format(e, op, i.dtype, i.rank, i.dims, mp_is_channels_last(&i));
}

static mp_ten statistics(mp_em *e, const char *op, mp_dtype t, int rank, const int64_t *dims) {
  mp_ten s = mp_em_new(e, op, t, rank, dims);
  mp_em_set_what(e, s, MP_WHAT_STATISTICS);
  return s;
}
static mp_dtype wide(mp_dtype t) { return mp_is_half(t) ? MP_FLOAT : t; }

/* gradients of input, weight, bias made by one kernel */
static void three_gradients(mp_em *e, mp_bw *b, const char *op, bool suggest) {
  mp_ten g[3] = {-1, -1, -1};
  for (uint32_t k = 0; k < 3; k++) {
    if (!mp_bw_wants(b, k)) continue;
    const mp_tensor_info *i = mp_bw_input(b, k);
    g[k] = k == 0 && suggest ? suggested(e, op, i) : mp_fresh(e, op, i->dtype, i);
  }
  for (uint32_t k = 0; k < 3; k++) mp_bw_give(b, k, g[k]);
}

static void record3(mp_em *e, const mp_grad *row, mp_ten x, mp_ten w, mp_ten bias, mp_ten mean, mp_ten inv, const int64_t *meta, uint32_t n,
                    mp_ten out) {
  mp_record(e, row, MP_TENS(x, w, bias), MP_TENS(x, mean, inv, w), meta, n, out);
}

/* ---- layer_norm(x, normalized_shape, weight, bias, eps) ---- */

static void layer_norm_backward(mp_em *e, mp_bw *b) {
  if (mp_bw_grad(b, 0) >= 0) three_gradients(e, b, "aten::native_layer_norm_backward", false);
}
static const mp_grad layer_norm_grad = {"NativeLayerNormBackward0", layer_norm_backward};

static uint32_t normalized_axes(mp_em *e) {
  int64_t shape[MP_RANK];
  uint32_t n = mp_c_ints(e, 1, shape, MP_RANK);
  return n ? n : 1;
}

static void f_layer_norm(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), w = mp_c_ten(e, 2), bias = mp_c_ten(e, 3);
  size_t s = mp_em_enter(e);
  mp_tensor_info i = *mp_em_info(e, x), rows = i;
  for (int d = i.rank - (int)normalized_axes(e); d < i.rank; d++)
    if (d >= 0) rows.dims[d] = 1;
  const char *op = "aten::native_layer_norm";
  mp_ten y = mp_em_new(e, op, i.dtype, i.rank, i.dims);
  mp_ten mean = statistics(e, op, wide(i.dtype), i.rank, rows.dims), rstd = statistics(e, op, wide(i.dtype), i.rank, rows.dims);
  record3(e, &layer_norm_grad, x, w, bias, mean, rstd, MP_NO_INTS, y);
  mp_c_out(e, 0, y);
  mp_c_out(e, 1, mean);
  mp_c_out(e, 2, rstd);
  mp_em_leave(e, s, MP_NO_TENS);
}

/* ---- rms_norm(x, normalized_shape, weight, eps): fused on CUDA, unless the weight has another type ---- */

static void two_gradients(mp_em *e, mp_bw *b, const char *op) {
  if (mp_bw_grad(b, 0) < 0) return;
  for (uint32_t k = 0; k < 2; k++) {
    if (!mp_bw_wants(b, k)) continue;
    const mp_tensor_info *i = mp_bw_input(b, k);
    mp_bw_give(b, k, mp_fresh(e, op, i->dtype, i));
  }
}
static void rms_norm_backward(mp_em *e, mp_bw *b) { two_gradients(e, b, "aten::_fused_rms_norm_backward"); }
static const mp_grad rms_norm_grad = {"FusedRmsNormBackward0", rms_norm_backward};

static void rms_norm_by_parts(mp_em *e, mp_ten x, mp_ten w, const int64_t *axes, uint32_t n) { /* rms_norm_composite */
  mp_dtype t = mp_em_info(e, x)->dtype;
  size_t s = mp_em_enter(e);
  mp_ten up = mp_op_to(e, x, wide(t)), square = mp_unary(e, "square", up), mean = mp_mean(e, square, axes, n, true, MP_UNDEFINED);
  mp_em_drop(e, square);
  mp_ten y = mp_op_mul(e, up, mp_unary(e, "rsqrt", mean));
  if (w >= 0) y = mp_op_mul(e, y, w);
  y = mp_op_to(e, y, t);
  mp_em_leave1(e, s, y);
  mp_c_out(e, 0, y);
}

static void f_rms_norm(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), w = mp_c_ten(e, 2);
  mp_tensor_info i = *mp_em_info(e, x), rows = i;
  int64_t axes[MP_RANK];
  uint32_t n = 0;
  for (int d = i.rank - (int)normalized_axes(e); d < i.rank; d++) {
    if (d < 0) continue;
    rows.dims[d] = 1;
    axes[n++] = d;
  }
  if (w >= 0 && mp_em_info(e, w)->dtype != i.dtype) {
    rms_norm_by_parts(e, x, w, axes, n);
    return;
  }
  size_t s = mp_em_enter(e);
  mp_ten rstd = statistics(e, "aten::_fused_rms_norm", wide(i.dtype), i.rank, rows.dims);
  mp_ten y = mp_em_new(e, "aten::_fused_rms_norm", i.dtype, i.rank, i.dims);
  mp_record(e, &rms_norm_grad, MP_TENS(x, w), MP_TENS(x, rstd, w), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
  mp_em_leave(e, s, MP_NO_TENS);
}

/* ---- _weight_norm_interface(v, g, dim): g v / |v|, norms over all but the first or the last dimension ---- */

static void weight_norm_backward(mp_em *e, mp_bw *b) { two_gradients(e, b, "aten::_weight_norm_interface_backward"); }
static const mp_grad weight_norm_grad = {"WeightNormInterfaceBackward0", weight_norm_backward};

static void f_weight_norm(mp_em *e) { /* ATen/native/cuda/WeightNorm.cu, weight_norm_cuda: norms of half in float32 */
  mp_ten v = mp_c_ten(e, 0), g = mp_c_ten(e, 1);
  size_t s = mp_em_enter(e);
  mp_tensor_info i = *mp_em_info(e, v), rows = *mp_em_info(e, g);
  mp_ten w = mp_em_new(e, "aten::_weight_norm_interface", i.dtype, i.rank, i.dims);
  mp_ten norms = statistics(e, "aten::_weight_norm_interface", mp_is_half(rows.dtype) ? MP_FLOAT : rows.dtype, rows.rank, rows.dims);
  mp_record(e, &weight_norm_grad, MP_TENS(v, g), MP_TENS(v, g, norms), MP_NO_INTS, w);
  mp_c_out(e, 0, w);
  mp_em_leave(e, s, MP_NO_TENS);
}

/* ---- group_norm(x, groups, weight, bias, eps), native_group_norm(x, weight, bias, N, C, HxW, group, eps) ---- */

static void group_norm_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (g < 0) return;
  mp_op_contiguous(e, g);
  three_gradients(e, b, "aten::native_group_norm_backward", false);
}
static const mp_grad group_norm_grad = {"NativeGroupNormBackward0", group_norm_backward};

static void group_norm(mp_em *e, mp_ten w, mp_ten bias, int64_t groups) {
  size_t s = mp_em_enter(e);
  mp_ten x = mp_op_contiguous(e, mp_c_ten(e, 0));
  mp_tensor_info i = *mp_em_info(e, x);
  mp_dtype t = w >= 0 ? mp_em_info(e, w)->dtype : i.dtype;
  const char *op = "aten::native_group_norm";
  mp_ten y = mp_em_new(e, op, i.dtype, i.rank, i.dims);
  int64_t dims[] = {i.dims[0], groups};
  mp_ten mean = statistics(e, op, t, 2, dims), rstd = statistics(e, op, t, 2, dims);
  record3(e, &group_norm_grad, x, w, bias, mean, rstd, MP_NO_INTS, y);
  mp_c_out(e, 0, y);
  mp_em_leave(e, s, MP_NO_TENS);
}
static void f_group_norm(mp_em *e) { group_norm(e, mp_c_ten(e, 2), mp_c_ten(e, 3), mp_c_int(e, 1, 1)); }
static void f_native_group_norm(mp_em *e) { group_norm(e, mp_c_ten(e, 1), mp_c_ten(e, 2), mp_c_int(e, 6, 1)); }

/* ---- batch norm: cuDNN where it can (at::_batch_norm_impl_index), else the native kernel ---- */

static void cudnn_batch_norm_backward(mp_em *e, mp_bw *b) { /* grad.contiguous(input.suggest_memory_format()) */
  mp_ten g = mp_bw_grad(b, 0);
  if (g < 0) return;
  mp_tensor_info x = *mp_bw_input(b, 0), gi = *mp_em_info(e, g);
  if (!contiguous_as(&gi, mp_is_channels_last(&x))) suggested(e, "aten::clone", &x);
  three_gradients(e, b, "aten::cudnn_batch_norm_backward", true);
}
static void native_batch_norm_backward(mp_em *e, mp_bw *b) {
  if (mp_bw_grad(b, 0) >= 0) three_gradients(e, b, "aten::native_batch_norm_backward", true);
}
static const mp_grad cudnn_batch_norm_grad = {"CudnnBatchNormBackward0", cudnn_batch_norm_backward};
static const mp_grad cudnn_batch_norm_eval_grad = {"CudnnBatchNormBackward0", native_batch_norm_backward};
static const mp_grad native_batch_norm_grad = {"NativeBatchNormBackward0", native_batch_norm_backward};

mp_ten mp_batch_norm(mp_em *e, mp_ten x, mp_ten w, mp_ten b, bool running, bool training) {
  mp_tensor_info i = *mp_em_info(e, x);
  mp_dtype wt = w >= 0 ? mp_em_info(e, w)->dtype : MP_UNDEFINED;
  bool cudnn = w >= 0 && b >= 0 && i.dtype != MP_BFLOAT16 && wt != MP_BFLOAT16 && (i.dtype != MP_FLOAT16 || wt == MP_FLOAT) &&
               (running || training) && i.rank >= 3 && i.dims[0] <= (training ? 880801 : 65535);
  const char *op = cudnn ? "aten::cudnn_batch_norm" : "aten::native_batch_norm";
  size_t s = mp_em_enter(e);
  if (cudnn && !contiguous_as(&i, mp_is_channels_last(&i))) { /* input.contiguous(input.suggest_memory_format()) */
    x = mp_op_contiguous(e, x);
    i = *mp_em_info(e, x);
  }
  mp_ten y = suggested(e, op, &i), mean = -1, inv = -1;
  if (training || !cudnn) {
    int64_t channels = i.rank > 1 ? i.dims[1] : 1;
    mean = statistics(e, op, wide(i.dtype), 1, &channels);
    inv = statistics(e, op, wide(i.dtype), 1, &channels);
  }
  record3(e, cudnn ? training ? &cudnn_batch_norm_grad : &cudnn_batch_norm_eval_grad : &native_batch_norm_grad, x, w, b, mean, inv, MP_NO_INTS, y);
  return mp_em_leave1(e, s, y);
}

static void batch_norm_call(mp_em *e, bool training) {
  bool running = mp_c_is_ten(e, 3) && mp_c_is_ten(e, 4);
  mp_c_out(e, 0, mp_batch_norm(e, mp_c_ten(e, 0), mp_c_ten(e, 1), mp_c_ten(e, 2), running, training));
}
static void f_batch_norm(mp_em *e) {
  batch_norm_call(e, mp_c_bool(e, mp_c_count(e) > 3 && mp_em_call(e)->args[3].kind == MP_ARG_BOOL ? 3 : 5, true));
}
static void f_batch_norm_eval(mp_em *e) { batch_norm_call(e, false); }

/* ---- instance_norm(x, weight, bias, running_mean, running_var, use_input_stats, ...): a batch norm over (1, N * C) ---- */

static void repeat_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (g < 0) return;
  const mp_tensor_info *i = mp_bw_input(b, 0);
  mp_bw_give(b, 0, mp_fresh(e, "aten::sum", i->dtype, i));
}
static const mp_grad repeat_grad = {"RepeatBackward0", repeat_backward};

static mp_ten repeated(mp_em *e, mp_ten t, int64_t times) {
  if (t < 0) return -1;
  int64_t n = mp_em_product(e, mp_em_info(e, t)->dims[0], times);
  mp_ten r = mp_em_new(e, "aten::repeat", mp_em_info(e, t)->dtype, 1, &n);
  mp_em_set_what(e, r, MP_WHAT_COPY);
  mp_record(e, &repeat_grad, MP_TENS(t), MP_NO_TENS, MP_NO_INTS, r);
  return r;
}

static void f_instance_norm(mp_em *e) {
  size_t s = mp_em_enter(e);
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x), flat = i;
  flat.dims[0] = 1;
  flat.dims[1] = mp_em_product(e, i.dims[0], i.dims[1]);
  mp_ten w = repeated(e, mp_c_ten(e, 1), i.dims[0]), b = repeated(e, mp_c_ten(e, 2), i.dims[0]);
  bool running = mp_c_is_ten(e, 3) && mp_c_is_ten(e, 4), by_input = mp_c_bool(e, 5, true);
  if (running) {
    repeated(e, mp_c_ten(e, 3), i.dims[0]);
    repeated(e, mp_c_ten(e, 4), i.dims[0]);
  }
  x = mp_op_view(e, mp_op_contiguous(e, x), i.rank, flat.dims);
  mp_ten y = mp_batch_norm(e, x, w, b, running, by_input);
  y = mp_op_view(e, y, i.rank, i.dims);
  mp_em_leave1(e, s, y);
  mp_c_out(e, 0, y);
}

static const mp_call_row rows[] = {
    {"aten::layer_norm", f_layer_norm, MP_CAST_FP32, "keeps its input, mean and rstd a row in fp32"},
    {"aten::native_layer_norm", f_layer_norm, MP_CAST_FP32, "keeps its input, mean and rstd a row in fp32"},
    {"aten::rms_norm", f_rms_norm, MP_CAST_NONE, "keeps its input and rstd a row in fp32; of another type than its weight: by parts"},
    {"aten::_fused_rms_norm", f_rms_norm, MP_CAST_NONE, "keeps its input and rstd a row in fp32"},
    {"aten::_weight_norm_interface", f_weight_norm, MP_CAST_NONE, "keeps both its inputs and the norms"},
    {"aten::group_norm", f_group_norm, MP_CAST_FP32, "keeps its input, mean and rstd a group"},
    {"aten::native_group_norm", f_native_group_norm, MP_CAST_FP32, "keeps its input, mean and rstd a group"},
    {"aten::batch_norm", f_batch_norm, MP_CAST_NONE, "keeps its input; in training mean and invstd a channel in fp32"},
    {"aten::native_batch_norm", f_batch_norm, MP_CAST_NONE, "as batch_norm"},
    {"aten::cudnn_batch_norm", f_batch_norm, MP_CAST_NONE, "as batch_norm"},
    {"aten::_batch_norm_with_update", f_batch_norm, MP_CAST_NONE, "as batch_norm"},
    {"aten::_native_batch_norm_legit", f_batch_norm, MP_CAST_NONE, "as batch_norm"},
    {"aten::_native_batch_norm_legit_functional", f_batch_norm, MP_CAST_NONE, "as batch_norm"},
    {"aten::_native_batch_norm_legit_no_training", f_batch_norm_eval, MP_CAST_NONE, "keeps its input"},
    {"aten::instance_norm", f_instance_norm, MP_CAST_NONE, "keeps its input, two numbers for each image and channel in fp32, the weight repeated"},
};
const mp_call_table mp_calls_norm = {rows, MP_COUNT(rows)};
