/* Convolutions, pooling and what else slides a window over an image: one description of a window, and each operator says what it does with it. */
#include "onnx/shape_tools.h"

#define SPATIAL (MP_MAX_RANK - 2)

enum pads { EXPLICIT, VALID, SAME };

/* The spatial axes of one operator call. Kernel sizes may be symbolic; strides, dilations and pads are attributes. */
struct window {
  int n;
  bool ceil;
  enum pads pads;
  mp_int in[SPATIAL], kernel[SPATIAL];
  int64_t stride[SPATIAL], dilation[SPATIAL], begin[SPATIAL], end[SPATIAL];
};

/* an attribute of w->n integers, each at least `least`; absent: all `otherwise` */
static bool list(mp_infer *c, const char *name, int n, int64_t least, int64_t otherwise, int64_t *r) {
  uint32_t have = 0;
  const int64_t *at = mp_infer_attr_ints(c, name, &have);
  for (int i = 0; i < n; i++) r[i] = otherwise;
  if (!at || !have) return true;
  if (have != (uint32_t)n) {
    mp_infer_bad(c, "attribute %s has %u values, expected %d", name, have, n);
    return false;
  }
  for (int i = 0; i < n; i++) {
    r[i] = at[i];
    if (r[i] >= least && r[i] <= INT32_MAX) continue;
    mp_infer_bad(c, "attribute %s holds %lld, expected at least %lld", name, (long long)r[i], (long long)least);
    return false;
  }
  return true;
}

/* Reads the window's attributes; w->n and w->in are set. weights: the input whose dims from `first` on are the kernel, -1: there is none. */
static bool read_window(mp_infer *c, struct window *w, int weights, int first) {
  int64_t kernel[SPATIAL], pads[2 * SPATIAL];
  if (!list(c, "strides", w->n, 1, 1, w->stride) || !list(c, "dilations", w->n, 1, 1, w->dilation)) return false;
  if (!list(c, "pads", 2 * w->n, INT32_MIN, 0, pads) || !list(c, "kernel_shape", w->n, 1, 0, kernel)) return false;
  for (int i = 0; i < w->n; i++) {
    w->begin[i] = pads[i];
    w->end[i] = pads[w->n + i];
    bool from_weights = weights >= 0 && mp_infer_rank(c, weights) >= 0;
    w->kernel[i] = kernel[i] ? mp_num(kernel[i]) : from_weights ? mp_infer_dim(c, weights, first + i) : mp_int_unknown();
  }
  const char *pad = mp_infer_string(c, "auto_pad", "NOTSET");
  w->pads = !strcmp(pad, "VALID") ? VALID : !strcmp(pad, "SAME_UPPER") || !strcmp(pad, "SAME_LOWER") ? SAME : EXPLICIT;
  if (w->pads != EXPLICIT)
    for (int i = 0; i < w->n; i++) w->begin[i] = w->end[i] = 0;
  return true;
}

/* dilation * (kernel - 1) + 1 */
static mp_int reach(mp_infer *c, const struct window *w, int i) {
  return mp_add_n(c, mp_mul_n(c, mp_add_n(c, w->kernel[i], -1), w->dilation[i]), 1);
}

/* How many windows fit along axis i. With ceil_mode a last window that would begin in the padding behind the image does not count: PyTorch and ONNX
 * Runtime do so in every opset, the specification says it since 19 (AveragePool) and 22 (MaxPool, LpPool). */
static mp_int windows(mp_infer *c, const struct window *w, int i) {
  mp_int stride = mp_num(w->stride[i]);
  if (w->pads == SAME) return mp_sym_ceil_div(c, w->in[i], stride);
  mp_int room = mp_sym_sub(c, mp_add_n(c, w->in[i], w->begin[i] + w->end[i]), reach(c, w, i));
  if (mp_below(room, w->ceil ? 1 - w->stride[i] : 0)) { /* with ceil_mode one window may hang over by less than a stride */
    mp_infer_bad(c, "the kernel is larger than spatial axis %d", i);
    return mp_int_unknown();
  }
  if (!w->ceil) return mp_add_n(c, mp_sym_div(c, room, stride), 1);
  mp_int fit = mp_add_n(c, mp_sym_ceil_div(c, room, stride), 1);
  bool may_overhang = !mp_int_is_number(w->kernel[i]) || w->end[i] + w->stride[i] - 1 >= w->dilation[i] * (w->kernel[i].n - 1) + 1;
  return may_overhang ? mp_sym_min(c, fit, mp_sym_ceil_div(c, mp_add_n(c, w->in[i], w->begin[i]), stride)) : fit;
}

/* where the channels and the spatial axes of an image of this rank are */
static int channel_axis(int rank, bool last) { return last ? rank - 1 : 1; }
static int spatial_axis(int i, bool last) { return last ? i + 1 : i + 2; }

/* w->n and w->in from image input x, or from the weights' rank where the image is not known; false when neither is, or the rank is no image's */
static bool read_image(mp_infer *c, struct window *w, int x, int weights, bool last) {
  int rank = mp_infer_rank(c, x);
  bool known = rank >= 0;
  if (!known && weights >= 0) rank = mp_infer_rank(c, weights);
  if (rank < 0) return false;
  if (rank < 3) {
    mp_infer_bad(c, "input %d has rank %d, expected batch, channels and at least one spatial axis", known ? x : weights, rank);
    return false;
  }
  w->n = rank - 2;
  for (int i = 0; i < w->n; i++) w->in[i] = known ? mp_infer_dim(c, x, spatial_axis(i, last)) : mp_int_unknown();
  return true;
}

/* sets output o: batch of input x, channels, spatial dims */
static void set_image(mp_infer *c, int o, mp_dtype t, int x, mp_int channels, const mp_int *spatial, int n, bool last, mp_shape *s) {
  s->rank = n + 2;
  s->dims[0] = mp_infer_rank(c, x) < 0 ? mp_int_unknown() : mp_infer_dim(c, x, 0);
  s->dims[channel_axis(s->rank, last)] = channels;
  for (int i = 0; i < n; i++) s->dims[spatial_axis(i, last)] = mp_below(spatial[i], 0) ? mp_int_unknown() : spatial[i];
  mp_infer_set(c, o, t, s);
}

/* ---- convolutions ---- */

/* Input x convolved with weights (out, in / group, kernel ...; channels last: out, kernel ..., in / group). bias: its input, -1 for none */
static void convolve(mp_infer *c, int x, int weights, int bias, mp_dtype t, bool last) {
  struct window w = {.ceil = false};
  mp_shape filter, out;
  if (!read_image(c, &w, x, weights, last)) {
    mp_infer_set(c, 0, t, NULL);
    return;
  }
  mp_infer_shape(c, weights, &filter);
  if (filter.rank >= 0 && filter.rank != w.n + 2) {
    mp_infer_bad(c, "the weights have rank %d, the image %d", filter.rank, w.n + 2);
    return;
  }
  if (!read_window(c, &w, weights, last ? 1 : 2)) return;
  mp_int spatial[SPATIAL];
  for (int i = 0; i < w.n; i++) spatial[i] = windows(c, &w, i);
  set_image(c, 0, t, x, filter.rank < 0 ? mp_int_unknown() : filter.dims[0], spatial, w.n, last, &out);
  mp_int elements = mp_elements(c, &out);
  mp_int each = filter.rank < 0 ? mp_int_unknown() : mp_shape_elements(c, &filter, 1, filter.rank);
  mp_cost_macs(c, mp_sym_mul(c, elements, each), bias >= 0 && mp_infer_has(c, bias) ? elements : mp_num(0));
}

static void conv(mp_infer *c) { convolve(c, 0, 1, 2, mp_infer_dtype(c, 0), false); }
static void conv_integer(mp_infer *c) { convolve(c, 0, 1, -1, MP_INT32, false); }
static void nhwc_conv(mp_infer *c) { convolve(c, 0, 1, 2, mp_infer_dtype(c, 0), true); }
static void qlinear_conv(mp_infer *c) { convolve(c, 0, 3, 8, mp_dtype_or(c, 7, 0), mp_infer_int(c, "channels_last", 0) != 0); }

static void deform_conv(mp_infer *c) { convolve(c, 0, 1, 3, mp_infer_dtype(c, 0), false); }

/* output_shape: the spatial dims, or all of them as early exporters wrote it */
static bool output_shape(mp_infer *c, const struct window *w, mp_int *spatial) {
  uint32_t n = 0;
  const int64_t *at = mp_infer_attr_ints(c, "output_shape", &n);
  if (!at || (n != (uint32_t)w->n && n != (uint32_t)w->n + 2)) return false;
  for (int i = 0; i < w->n; i++) spatial[i] = mp_num(at[n - (uint32_t)w->n + (uint32_t)i]);
  return true;
}

/* ConvTranspose; pads_input: the input that holds the pads (com.microsoft ConvTransposeWithDynamicPads), -1 for the attribute */
static void transpose_conv(mp_infer *c, int pads_input, int bias) {
  struct window w = {.ceil = false};
  mp_shape filter, out, in;
  mp_dtype t = mp_infer_dtype(c, 0);
  mp_infer_shape(c, 0, &in);
  mp_infer_shape(c, 1, &filter);
  if (!read_image(c, &w, 0, 1, false)) {
    mp_infer_set(c, 0, t, NULL);
    return;
  }
  if (filter.rank >= 0 && filter.rank != w.n + 2) {
    mp_infer_bad(c, "the weights have rank %d, the image %d", filter.rank, w.n + 2);
    return;
  }
  int64_t extra[SPATIAL];
  if (!read_window(c, &w, 1, 2) || !list(c, "output_padding", w.n, 0, 0, extra)) return;
  uint32_t pads = 0;
  const mp_int *dynamic = pads_input >= 0 ? mp_infer_ints(c, pads_input, &pads) : NULL;
  bool open = pads_input >= 0 && mp_infer_has(c, pads_input) && (!dynamic || pads != (uint32_t)(2 * w.n));
  mp_int spatial[SPATIAL];
  if (!output_shape(c, &w, spatial))
    for (int i = 0; i < w.n; i++) {
      mp_int full = mp_mul_n(c, mp_add_n(c, w.in[i], -1), w.stride[i]);
      full = mp_add_n(c, mp_sym_add(c, full, reach(c, &w, i)), extra[i] - w.begin[i] - w.end[i]);
      if (dynamic && !open) full = mp_sym_sub(c, full, mp_sym_add(c, dynamic[i], dynamic[w.n + i]));
      spatial[i] = open ? mp_int_unknown() : w.pads == SAME ? mp_mul_n(c, w.in[i], w.stride[i]) : full;
    }
  mp_int channels = filter.rank < 0 ? mp_int_unknown() : mp_mul_n(c, filter.dims[1], mp_infer_int(c, "group", 1));
  set_image(c, 0, t, 0, channels, spatial, w.n, false, &out);
  mp_int each = filter.rank < 0 ? mp_int_unknown() : mp_shape_elements(c, &filter, 1, filter.rank);
  mp_cost_macs(c, mp_sym_mul(c, mp_elements(c, &in), each), mp_infer_has(c, bias) ? mp_elements(c, &out) : mp_num(0));
}

static void conv_transpose(mp_infer *c) { transpose_conv(c, -1, 2); }
static void conv_transpose_dynamic(mp_infer *c) { transpose_conv(c, 2, 3); }

/* input (batch, channels, length), weight (channels, 1, k), bias, past (batch, channels, k - 1) */
MP_SIGNATURE(causal_conv, "bcl c_k _ bcp -> b,c,l b,c,k-1 ; b*c*l*k")

/* ---- pooling ---- */

static void pool_window(mp_infer *c, int x, mp_dtype t, bool last) {
  struct window w = {.n = 0};
  mp_shape out;
  if (!read_image(c, &w, x, -1, last)) {
    uint32_t n = 0;
    if (mp_infer_rank(c, x) < 0 && mp_infer_attr_ints(c, "kernel_shape", &n) && n > 0 && n <= SPATIAL) {
      out.rank = (int)n + 2;
      for (int i = 0; i < out.rank; i++) out.dims[i] = mp_int_unknown();
      mp_infer_set(c, 0, t, &out);
    }
    return;
  }
  if (!mp_infer_has_attr(c, "kernel_shape")) {
    mp_infer_bad(c, "attribute kernel_shape is missing");
    return;
  }
  if (!read_window(c, &w, -1, 0)) return;
  w.ceil = mp_infer_int(c, "ceil_mode", 0) != 0;
  mp_int spatial[SPATIAL];
  for (int i = 0; i < w.n; i++) spatial[i] = windows(c, &w, i);
  mp_int channels = mp_infer_dim(c, x, channel_axis(w.n + 2, last));
  set_image(c, 0, t, x, channels, spatial, w.n, last, &out);
  if (mp_infer_outs(c) > 1 && mp_infer_wants(c, 1)) mp_infer_set(c, 1, MP_INT64, &out);
}

static void pool(mp_infer *c) { pool_window(c, 0, mp_infer_dtype(c, 0), false); }
static void nhwc_pool(mp_infer *c) { pool_window(c, 0, mp_infer_dtype(c, 0), true); }
static void qlinear_pool(mp_infer *c) { pool_window(c, 0, mp_infer_dtype(c, 0), mp_infer_int(c, "channels_last", 0) != 0); }

/* every spatial axis becomes 1; an addition for each element read */
static void global(mp_infer *c, bool last) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  if (s.rank >= 0 && s.rank < 2) {
    mp_infer_bad(c, "the image has rank %d, expected batch, channels and spatial axes", s.rank);
    return;
  }
  for (int i = 0; i < s.rank - 2; i++) s.dims[spatial_axis(i, last)] = mp_num(1);
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &s);
  mp_infer_shape(c, 0, &s);
  mp_cost_macs(c, mp_num(0), mp_elements(c, &s));
}

static void global_pool(mp_infer *c) { global(c, false); }
static void qlinear_global_pool(mp_infer *c) { global(c, mp_infer_int(c, "channels_last", 0) != 0); }

static void max_unpool(mp_infer *c) {
  struct window w = {.n = 0};
  mp_shape out;
  uint32_t n = 0;
  mp_dtype t = mp_infer_dtype(c, 0);
  if (!read_image(c, &w, 0, -1, false)) return;
  if (!read_window(c, &w, -1, 0)) return;
  mp_int spatial[SPATIAL];
  const mp_int *given = mp_infer_ints(c, 2, &n);
  for (int i = 0; i < w.n; i++) {
    mp_int full = mp_sym_add(c, mp_mul_n(c, mp_add_n(c, w.in[i], -1), w.stride[i]), w.kernel[i]);
    spatial[i] = mp_infer_has(c, 2) ? mp_int_unknown() : mp_add_n(c, full, -w.begin[i] - w.end[i]);
    if (given && n == (uint32_t)w.n + 2) spatial[i] = given[i + 2];
  }
  if (mp_infer_has(c, 2) && !given) mp_infer_depends(c, 2, "the contents");
  set_image(c, 0, t, 0, mp_infer_dim(c, 0, 1), spatial, w.n, false, &out);
}

/* ---- regions and grids ---- */

MP_SIGNATURE(roi_align, "nchw rd _ -> r,c,@output_height=1,@output_width=1")

static void max_roi_pool(mp_infer *c) {
  uint32_t n = 0;
  const int64_t *size = mp_infer_attr_ints(c, "pooled_shape", &n);
  bool known = size && n == 2 && size[0] > 0 && size[1] > 0;
  mp_int dims[4] = {mp_int_unknown(), mp_int_unknown(), known ? mp_num(size[0]) : mp_int_unknown(), known ? mp_num(size[1]) : mp_int_unknown()};
  if (mp_infer_rank(c, 1) >= 1) dims[0] = mp_infer_dim(c, 1, 0);
  if (mp_infer_rank(c, 0) >= 2) dims[1] = mp_infer_dim(c, 0, 1);
  mp_infer_set_dims(c, 0, mp_infer_dtype(c, 0), 4, dims);
}

/* image (batch, channels, ...), grid (batch, out ..., spatial axes) */
static void grid_sample(mp_infer *c) {
  mp_shape x, grid;
  mp_infer_shape(c, 0, &x);
  mp_infer_shape(c, 1, &grid);
  if (x.rank < 0 && grid.rank < 0) return;
  if ((x.rank >= 0 && x.rank < 3) || (grid.rank >= 0 && grid.rank < 3) || (x.rank >= 0 && grid.rank >= 0 && x.rank != grid.rank)) {
    mp_infer_bad(c, "an image of rank %d and a grid of rank %d do not fit", x.rank, grid.rank);
    return;
  }
  bool clash = false;
  mp_shape out = {.rank = x.rank < 0 ? grid.rank : x.rank};
  for (int i = 0; i < out.rank; i++) out.dims[i] = i >= 2 && grid.rank >= 0 ? grid.dims[i - 1] : mp_int_unknown();
  if (x.rank >= 0) out.dims[0] = x.dims[0], out.dims[1] = x.dims[1];
  if (grid.rank >= 0) out.dims[0] = mp_dim_unify(out.dims[0], grid.dims[0], &clash);
  if (clash) mp_infer_bad(c, "image and grid have different batch sizes");
  else mp_infer_set(c, 0, mp_infer_dtype(c, 0), &out);
}

/* Crop of the experimental operators (until opset 9): border left, top, right, bottom; scale height, width */
static void crop(mp_infer *c) {
  uint32_t n = 0, scales = 0;
  const int64_t *border = mp_infer_attr_ints(c, "border", &n), *scale = mp_infer_attr_ints(c, "scale", &scales);
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  if (s.rank >= 0 && (s.rank != 4 || !border || n != 4)) {
    mp_infer_bad(c, "expected an image of rank 4 and four borders");
    return;
  }
  if (s.rank == 4)
    for (int i = 0; i < 2; i++) {
      mp_int rest = mp_add_n(c, mp_add_n(c, s.dims[2 + i], -border[1 - i]), -border[3 - i]);
      s.dims[2 + i] = scale && scales == 2 ? mp_num(scale[i]) : mp_below(rest, 0) ? mp_int_unknown() : rest;
    }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank < 0 ? NULL : &s);
  mp_infer_no_cost(c);
}

static const mp_op rows[] = {
  {"", "Conv", 1, conv},
  {"", "ConvTranspose", 1, conv_transpose},
  {"", "ConvInteger", 10, conv_integer},
  {"", "QLinearConv", 10, qlinear_conv},
  {"", "DeformConv", 19, deform_conv},
  {"", "CausalConvWithState", 27, causal_conv},
  {"com.microsoft", "FusedConv", 1, conv},
  {"com.microsoft", "NhwcConv", 1, nhwc_conv},
  {"com.microsoft", "NhwcFusedConv", 1, nhwc_conv},
  {"com.microsoft", "QLinearConv", 1, qlinear_conv},
  {"com.microsoft", "ConvTransposeWithDynamicPads", 1, conv_transpose_dynamic},
  {"", "MaxPool", 1, pool},
  {"", "AveragePool", 1, pool},
  {"", "LpPool", 1, pool},
  {"com.microsoft", "MaxpoolWithMask", 1, pool},
  {"com.microsoft", "NhwcMaxPool", 1, nhwc_pool},
  {"com.microsoft", "QLinearAveragePool", 1, qlinear_pool},
  {"", "GlobalAveragePool", 1, global_pool},
  {"", "GlobalMaxPool", 1, global_pool},
  {"", "GlobalLpPool", 1, global_pool},
  {"com.microsoft", "QLinearGlobalAveragePool", 1, qlinear_global_pool},
  {"", "MaxUnpool", 9, max_unpool},
  {"", "MaxRoiPool", 1, max_roi_pool},
  {"", "RoiAlign", 10, roi_align},
  {"", "GridSample", 16, grid_sample},
  {"com.microsoft", "GridSample", 1, grid_sample},
  {"", "Crop", 1, crop},
};
const mp_op_table mp_ops_nn = {rows, sizeof rows / sizeof *rows};
