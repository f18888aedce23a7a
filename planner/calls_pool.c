/* Pooling, resampling, padding and windows. A max pooling keeps its input and int64 indices, an average its input; resampling and padding keep
 * nothing. */
#include <string.h>

#include "planner/calls.h"

/* a backward that is one kernel making the input's gradient; its name is the forward's with _backward */
static void one_kernel(mp_em *e, mp_bw *b, const char *op) {
  if (mp_bw_grad(b, 0) >= 0) mp_bw_give(b, 0, mp_fresh_as(e, op, mp_bw_input(b, 0)));
}
#define ONE_KERNEL(NAME, NODE, OP)                                                   \
  static void NAME##_backward(mp_em *e, mp_bw *b) { one_kernel(e, b, "aten::" OP); } \
  static const mp_grad NAME##_grad = {NODE, NAME##_backward}
ONE_KERNEL(max_pool, "MaxPool2DWithIndicesBackward0", "max_pool2d_with_indices_backward");
ONE_KERNEL(max_pool3d, "MaxPool3DWithIndicesBackward0", "max_pool3d_with_indices_backward");
ONE_KERNEL(avg_pool, "AvgPool2DBackward0", "avg_pool2d_backward");
ONE_KERNEL(avg_pool3d, "AvgPool3DBackward0", "avg_pool3d_backward");
ONE_KERNEL(adaptive_avg, "AdaptiveAvgPool2DBackward0", "_adaptive_avg_pool2d_backward");
ONE_KERNEL(adaptive_avg3d, "AdaptiveAvgPool3DBackward0", "_adaptive_avg_pool3d_backward");
ONE_KERNEL(restride, "AsStridedBackward0", "new_zeros");
ONE_KERNEL(adaptive_max, "AdaptiveMaxPool2DBackward0", "adaptive_max_pool2d_backward");
ONE_KERNEL(max_unpool, "MaxUnpool2DBackward0", "gather");
ONE_KERNEL(upsample, "UpsampleBackward0", "upsample_backward");
ONE_KERNEL(shuffle, "PixelShuffleBackward0", "pixel_unshuffle");
ONE_KERNEL(unshuffle, "PixelUnshuffleBackward0", "pixel_shuffle");
ONE_KERNEL(channels, "ChannelShuffleBackward0", "channel_shuffle");
ONE_KERNEL(pad, "ConstantPadNdBackward0", "constant_pad_nd");
ONE_KERNEL(reflect, "ReflectionPadBackward0", "reflection_pad_backward");
ONE_KERNEL(replicate, "ReplicationPadBackward0", "replication_pad_backward");
ONE_KERNEL(im2col, "Im2ColBackward0", "col2im");
ONE_KERNEL(col2im, "Col2ImBackward0", "im2col");

static void spread(mp_em *e, uint32_t at, int n, const int64_t *otherwise, int64_t *out) {
  uint32_t got = mp_c_ints(e, at, out, 3);
  for (int d = (int)got; d < n; d++) out[d] = got ? out[0] : otherwise[d];
}
static const int64_t ones[3] = {1, 1, 1}, zeros[3] = {0, 0, 0};

static void wrong(mp_em *e, const char *what) { mp_fail(mp_em_arena(e), MP_BAD_INPUT, "%s: %s", mp_em_call(e)->row->name, what); }

/* a result of x's batch and channels and the last n dims given, in x's memory format */
static mp_ten resized(mp_em *e, const char *op, mp_dtype t, mp_ten x, int n, const int64_t *last) {
  mp_tensor_info i = *mp_em_info(e, x);
  if (i.rank < n + 1) wrong(e, "an input of too few dimensions");
  bool channels_last = mp_is_channels_last(&i);
  memcpy(i.dims + i.rank - n, last, (size_t)n * sizeof *last);
  return mp_em_new_format(e, op, t, i.rank, i.dims, channels_last);
}

static int pool_dims(mp_em *e) { /* max_pool2d: 2 */
  const char *at = strstr(mp_em_call(e)->row->name, "pool");
  return at ? at[4] - '0' : 2;
}

/* pooling_output_shape */
static void pooled(mp_em *e, mp_ten x, int n, const int64_t *k, const int64_t *stride, const int64_t *pad, const int64_t *dilation, bool ceil_mode,
                   int64_t *out) {
  const mp_tensor_info *i = mp_em_info(e, x);
  if (i->rank < n + 1) wrong(e, "an input of too few dimensions");
  for (int d = 0; d < n; d++) {
    int64_t in = i->dims[i->rank - n + d];
    if (stride[d] < 1) wrong(e, "a stride below 1");
    out[d] = (in + 2 * pad[d] - mp_em_product(e, dilation[d], k[d] - 1) - 1 + (ceil_mode ? stride[d] - 1 : 0)) / stride[d] + 1;
    if (ceil_mode && mp_em_product(e, out[d] - 1, stride[d]) >= in + pad[d]) out[d]--;
    if (out[d] < 1) wrong(e, "a window larger than its input");
  }
}

static void with_indices(mp_em *e, const mp_grad *row, const char *op, mp_ten x, int n, const int64_t *out) {
  size_t s = mp_em_enter(e);
  mp_ten y = resized(e, op, mp_em_info(e, x)->dtype, x, n, out), k = resized(e, op, MP_INT64, x, n, out);
  mp_em_set_what(e, k, MP_WHAT_INDICES);
  mp_record(e, row, MP_TENS(x), MP_TENS(x, k), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
  mp_c_out(e, 1, k);
  mp_em_leave(e, s, MP_NO_TENS);
}

static void f_max_pool(mp_em *e) { /* (x, kernel, stride, padding, dilation, ceil_mode) */
  int n = pool_dims(e);
  int64_t k[3], stride[3], pad[3], dilation[3], out[3];
  spread(e, 1, n, ones, k);
  spread(e, 2, n, k, stride);
  spread(e, 3, n, zeros, pad);
  spread(e, 4, n, ones, dilation);
  mp_ten x = mp_c_ten(e, 0);
  pooled(e, x, n, k, stride, pad, dilation, mp_c_bool(e, 5, false), out);
  with_indices(e, n == 3 ? &max_pool3d_grad : &max_pool_grad, n == 3 ? "aten::max_pool3d_with_indices" : "aten::max_pool2d_with_indices", x, n, out);
}

static void f_avg_pool(mp_em *e) { /* (x, kernel, stride, padding, ceil_mode, ...) */
  int n = pool_dims(e);
  int64_t k[3], stride[3], pad[3], out[3];
  spread(e, 1, n, ones, k);
  spread(e, 2, n, k, stride);
  spread(e, 3, n, zeros, pad);
  mp_ten x = mp_c_ten(e, 0);
  pooled(e, x, n, k, stride, pad, ones, mp_c_bool(e, 4, false), out);
  mp_ten y = resized(e, n == 3 ? "aten::avg_pool3d" : "aten::avg_pool2d", mp_em_info(e, x)->dtype, x, n, out);
  mp_record(e, n == 3 ? &avg_pool3d_grad : &avg_pool_grad, MP_TENS(x), MP_TENS(x), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}

static void adaptive_size(mp_em *e, int n, int64_t *out) {
  mp_tensor_info i = *mp_em_info(e, mp_c_ten(e, 0));
  if (i.rank < n + 1) wrong(e, "an input of too few dimensions");
  spread(e, 1, n, i.dims + i.rank - n, out);
  for (int d = 0; d < n; d++)
    if (out[d] < 1) out[d] = i.dims[i.rank - n + d];
}

static void f_adaptive_avg(mp_em *e) { /* to one element: a mean, which keeps nothing */
  int n = pool_dims(e);
  int64_t out[3], axes[3] = {-n, 1 - n, 2 - n};
  adaptive_size(e, n, out);
  mp_ten x = mp_c_ten(e, 0);
  bool one = true;
  for (int d = 0; d < n; d++) one = one && out[d] == 1;
  if (one) {
    for (int d = 0; d < n; d++) axes[d] += mp_em_info(e, x)->rank;
    size_t s = mp_em_enter(e);
    mp_ten y = mp_mean(e, x, axes, (uint32_t)n, true, MP_UNDEFINED);
    if (n == 2 && mp_is_channels_last(mp_em_info(e, x))) { /* as_strided_, whose backward copies */
      mp_ten z = mp_em_alias(e, y);
      mp_record(e, &restride_grad, MP_TENS(y), MP_NO_TENS, MP_NO_INTS, z);
      y = z;
    }
    mp_em_leave1(e, s, y);
    mp_c_out(e, 0, y);
    return;
  }
  mp_ten y = resized(e, n == 3 ? "aten::_adaptive_avg_pool3d" : "aten::_adaptive_avg_pool2d", mp_em_info(e, x)->dtype, x, n, out);
  mp_record(e, n == 3 ? &adaptive_avg3d_grad : &adaptive_avg_grad, MP_TENS(x), MP_TENS(x), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}

static void f_adaptive_max(mp_em *e) {
  int n = pool_dims(e);
  int64_t out[3];
  adaptive_size(e, n, out);
  with_indices(e, &adaptive_max_grad, "aten::adaptive_max_pool2d", mp_c_ten(e, 0), n, out);
}

/* ---- resampling: the size is what the file says of the result ---- */

static void f_upsample(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  const mp_var *v = mp_c_out_var(e, 0);
  int n = i.rank - 2;
  int64_t out[MP_RANK];
  uint32_t given = mp_c_ints(e, 1, out, MP_RANK);
  if (n < 1 || n > 3 || ((int)given != n && (!v || v->rank != i.rank))) wrong(e, "neither an output size nor a result of known dimensions");
  if ((int)given != n) memcpy(out, v->dims + 2, (size_t)n * sizeof *out);
  mp_ten y = resized(e, mp_em_call(e)->row->name, i.dtype, x, n, out);
  mp_record(e, &upsample_grad, MP_TENS(x), MP_NO_TENS, MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}

static void f_max_unpool(mp_em *e) { /* (x, indices, size) */
  mp_ten x = mp_c_ten(e, 0);
  int64_t out[3];
  if (mp_c_ints(e, 2, out, 3) != 2) wrong(e, "no output size");
  mp_ten y = resized(e, "aten::max_unpool2d", mp_em_info(e, x)->dtype, x, 2, out);
  mp_record(e, &max_unpool_grad, MP_TENS(x), MP_TENS(mp_c_ten(e, 1)), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}

static void shuffled(mp_em *e, const mp_grad *row, bool up) { /* (x, factor) on the last three dims */
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t r = mp_c_int(e, 1, 1);
  if (i.rank < 3 || r < 1) wrong(e, "expected at least three dimensions and a factor of at least 1");
  int64_t *c = &i.dims[i.rank - 3], square = mp_em_product(e, r, r);
  if (up)
    c[0] /= square, c[1] = mp_em_product(e, c[1], r), c[2] = mp_em_product(e, c[2], r);
  else
    c[0] = mp_em_product(e, c[0], square), c[1] /= r, c[2] /= r;
  mp_ten y = mp_em_new(e, mp_em_call(e)->row->name, i.dtype, i.rank, i.dims);
  mp_record(e, row, MP_TENS(x), MP_NO_TENS, MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}
static void f_pixel_shuffle(mp_em *e) { shuffled(e, &shuffle_grad, true); }
static void f_pixel_unshuffle(mp_em *e) { shuffled(e, &unshuffle_grad, false); }

static void f_channel_shuffle(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  mp_ten y = mp_em_new(e, "aten::channel_shuffle", i.dtype, i.rank, i.dims);
  mp_record(e, &channels_grad, MP_TENS(x), MP_NO_TENS, MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}

/* ---- padding ---- */

static mp_ten padded(mp_em *e, const char *op, mp_ten x, const int64_t *pads, uint32_t n) {
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t last[MP_RANK];
  int m = (int)(n / 2);
  if (m > i.rank) wrong(e, "more paddings than dimensions");
  bool channels_last = mp_is_channels_last(&i);
  for (int d = 0; d < m; d++) {
    last[d] = i.dims[i.rank - 1 - d] + pads[2 * d] + pads[2 * d + 1];
    if (last[d] < 0) wrong(e, "a negative padding larger than its dimension");
    i.dims[i.rank - 1 - d] = last[d];
  }
  return mp_em_new_format(e, op, i.dtype, i.rank, i.dims, channels_last);
}

mp_ten mp_constant_pad(mp_em *e, mp_ten x, const int64_t *pads, uint32_t n) {
  mp_ten y = padded(e, "aten::constant_pad_nd", x, pads, n);
  mp_record(e, &pad_grad, MP_TENS(x), MP_NO_TENS, MP_NO_INTS, y);
  return y;
}

static void f_pad(mp_em *e) { /* (x, pads, mode, value) */
  mp_ten x = mp_c_ten(e, 0);
  int64_t pads[2 * MP_RANK];
  uint32_t n = mp_c_ints(e, 1, pads, MP_COUNT(pads));
  const char *mode = mp_c_str(e, 2);
  if (!mode || !strcmp(mode, "constant")) {
    mp_c_out(e, 0, mp_constant_pad(e, x, pads, n));
    return;
  }
  if (!strcmp(mode, "circular")) { /* copies of slices into a new tensor */
    mp_ten y = padded(e, "aten::new_empty", x, pads, n);
    mp_record(e, &pad_grad, MP_TENS(x), MP_NO_TENS, MP_NO_INTS, y);
    mp_c_out(e, 0, y);
    return;
  }
  bool reflect = !strcmp(mode, "reflect");
  mp_ten y = padded(e, reflect ? "aten::reflection_pad" : "aten::replication_pad", x, pads, n);
  mp_record(e, reflect ? &reflect_grad : &replicate_grad, MP_TENS(x), MP_TENS(x), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}
static void pad_kept(mp_em *e, const mp_grad *row) {
  mp_ten x = mp_c_ten(e, 0);
  int64_t pads[2 * MP_RANK];
  uint32_t n = mp_c_ints(e, 1, pads, MP_COUNT(pads));
  mp_ten y = padded(e, mp_em_call(e)->row->name, x, pads, n);
  mp_record(e, row, MP_TENS(x), MP_TENS(x), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}
static void f_reflection_pad(mp_em *e) { pad_kept(e, &reflect_grad); }
static void f_replication_pad(mp_em *e) { pad_kept(e, &replicate_grad); }

/* ---- im2col(x, kernel, dilation, padding, stride), col2im(x, output_size, kernel, ...) ---- */

static void f_im2col(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t k[3], dilation[3], pad[3], stride[3], out[3];
  if (i.rank != 4) wrong(e, "expected an input of (N, C, H, W)");
  spread(e, 1, 2, ones, k);
  spread(e, 2, 2, ones, dilation);
  spread(e, 3, 2, zeros, pad);
  spread(e, 4, 2, ones, stride);
  pooled(e, x, 2, k, stride, pad, dilation, false, out);
  int64_t dims[] = {i.dims[0], i.dims[1] * k[0] * k[1], out[0] * out[1]};
  mp_ten y = mp_em_new(e, "aten::im2col", i.dtype, 3, dims);
  mp_record(e, &im2col_grad, MP_TENS(x), MP_NO_TENS, MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}
static void f_col2im(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t size[3], k[3];
  if (i.rank != 3) wrong(e, "expected an input of (N, C * kernel, L)");
  spread(e, 1, 2, ones, size);
  spread(e, 2, 2, ones, k);
  int64_t dims[] = {i.dims[0], i.dims[1] / (k[0] * k[1]), size[0], size[1]};
  mp_ten y = mp_em_new(e, "aten::col2im", i.dtype, 4, dims);
  mp_record(e, &col2im_grad, MP_TENS(x), MP_NO_TENS, MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}

/* ---- grid_sampler(x, grid, ...): keeps both ---- */

static void grid_backward(mp_em *e, mp_bw *b) {
  if (mp_bw_grad(b, 0) < 0) return;
  mp_ten g[2];
  for (uint32_t k = 0; k < 2; k++) g[k] = mp_fresh_as(e, "aten::grid_sampler_2d_backward", mp_bw_input(b, k));
  for (uint32_t k = 0; k < 2; k++) mp_bw_give(b, k, g[k]);
}
static const mp_grad grid_grad = {"GridSampler2DBackward0", grid_backward};
static void f_grid_sampler(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), grid = mp_c_ten(e, 1);
  mp_tensor_info i = *mp_em_info(e, x), g = *mp_em_info(e, grid);
  if (g.rank != i.rank || i.rank < 4) wrong(e, "expected an input of (N, C, H, W) and a grid of (N, H, W, 2)");
  for (int d = 2; d < i.rank; d++) i.dims[d] = g.dims[d - 1];
  mp_ten y = mp_em_new(e, "aten::grid_sampler_2d", i.dtype, i.rank, i.dims);
  mp_record(e, &grid_grad, MP_TENS(x, grid), MP_TENS(x, grid), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}

#define KEEPS_INDICES "keeps its input and int64 indices of its result's size"
static const mp_call_row rows[] = {
    {"aten::max_pool1d", f_max_pool, MP_CAST_NONE, KEEPS_INDICES},
    {"aten::max_pool2d", f_max_pool, MP_CAST_NONE, KEEPS_INDICES},
    {"aten::max_pool3d", f_max_pool, MP_CAST_NONE, KEEPS_INDICES},
    {"aten::max_pool1d_with_indices", f_max_pool, MP_CAST_NONE, KEEPS_INDICES},
    {"aten::max_pool2d_with_indices", f_max_pool, MP_CAST_NONE, KEEPS_INDICES},
    {"aten::max_pool3d_with_indices", f_max_pool, MP_CAST_NONE, KEEPS_INDICES},
    {"aten::avg_pool1d", f_avg_pool, MP_CAST_NONE, "keeps its input"},
    {"aten::avg_pool2d", f_avg_pool, MP_CAST_NONE, "keeps its input"},
    {"aten::avg_pool3d", f_avg_pool, MP_CAST_NONE, "keeps its input"},
    {"aten::adaptive_avg_pool1d", f_adaptive_avg, MP_CAST_NONE, "keeps its input; to one element it is a mean, which keeps nothing"},
    {"aten::adaptive_avg_pool2d", f_adaptive_avg, MP_CAST_NONE, "keeps its input; to one element it is a mean, which keeps nothing"},
    {"aten::adaptive_avg_pool3d", f_adaptive_avg, MP_CAST_NONE, "keeps its input; to one element it is a mean, which keeps nothing"},
    {"aten::_adaptive_avg_pool2d", f_adaptive_avg, MP_CAST_NONE, "keeps its input"},
    {"aten::_adaptive_avg_pool3d", f_adaptive_avg, MP_CAST_NONE, "keeps its input"},
    {"aten::adaptive_max_pool1d", f_adaptive_max, MP_CAST_NONE, KEEPS_INDICES},
    {"aten::adaptive_max_pool2d", f_adaptive_max, MP_CAST_NONE, KEEPS_INDICES},
    {"aten::adaptive_max_pool3d", f_adaptive_max, MP_CAST_NONE, KEEPS_INDICES},
    {"aten::upsample_nearest1d", f_upsample, MP_CAST_FP32, ""},
    {"aten::upsample_nearest2d", f_upsample, MP_CAST_FP32, ""},
    {"aten::upsample_nearest3d", f_upsample, MP_CAST_FP32, ""},
    {"aten::_upsample_nearest_exact1d", f_upsample, MP_CAST_FP32, ""},
    {"aten::max_unpool2d", f_max_unpool, MP_CAST_NONE, "keeps the indices"},
    {"aten::_upsample_nearest_exact2d", f_upsample, MP_CAST_FP32, ""},
    {"aten::upsample_linear1d", f_upsample, MP_CAST_FP32, ""},
    {"aten::upsample_bilinear2d", f_upsample, MP_CAST_FP32, ""},
    {"aten::_upsample_bilinear2d_aa", f_upsample, MP_CAST_FP32, ""},
    {"aten::upsample_bicubic2d", f_upsample, MP_CAST_FP32, ""},
    {"aten::_upsample_bicubic2d_aa", f_upsample, MP_CAST_FP32, ""},
    {"aten::upsample_trilinear3d", f_upsample, MP_CAST_FP32, ""},
    {"aten::pixel_shuffle", f_pixel_shuffle, MP_CAST_NONE, ""},
    {"aten::pixel_unshuffle", f_pixel_unshuffle, MP_CAST_NONE, ""},
    {"aten::channel_shuffle", f_channel_shuffle, MP_CAST_NONE, ""},
    {"aten::native_channel_shuffle", f_channel_shuffle, MP_CAST_NONE, ""},
    {"aten::pad", f_pad, MP_CAST_NONE, "reflect and replicate keep their input"},
    {"aten::constant_pad_nd", f_pad, MP_CAST_NONE, ""},
    {"aten::reflection_pad1d", f_reflection_pad, MP_CAST_NONE, "keeps its input"},
    {"aten::reflection_pad2d", f_reflection_pad, MP_CAST_NONE, "keeps its input"},
    {"aten::reflection_pad3d", f_reflection_pad, MP_CAST_NONE, "keeps its input"},
    {"aten::replication_pad1d", f_replication_pad, MP_CAST_NONE, "keeps its input"},
    {"aten::replication_pad2d", f_replication_pad, MP_CAST_NONE, "keeps its input"},
    {"aten::replication_pad3d", f_replication_pad, MP_CAST_NONE, "keeps its input"},
    {"aten::im2col", f_im2col, MP_CAST_NONE, ""},
    {"aten::col2im", f_col2im, MP_CAST_NONE, ""},
    {"aten::grid_sampler", f_grid_sampler, MP_CAST_PROMOTE, "keeps both operands"},
    {"aten::grid_sampler_2d", f_grid_sampler, MP_CAST_PROMOTE, "keeps both operands"},
};
const mp_call_table mp_calls_pool = {rows, MP_COUNT(rows)};
