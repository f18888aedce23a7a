/* Images. Resize and its ancestor Upsample: dims by scales, floor(dim * scale) in float32 as the runtimes compute it, or by sizes, with or without the aspect ratio. */
#include <math.h>

#include "onnx/fold.h"
#include "onnx/shape_tools.h"

/* floor(dim * scale). A named dim is followed where the scale is a fraction of a power of two. */
static mp_int scaled(mp_infer *c, mp_int dim, double scale) {
  if (!(scale >= 0) || scale > 1e9) return mp_int_unknown();
  if (!dim.e) {
    double x = floor((double)((float)dim.n * (float)scale));
    return x < 9e15 ? mp_int_of((int64_t)x) : mp_int_unknown();
  }
  for (int64_t b = 1; b <= 1024; b *= 2)
    if (scale * (double)b == floor(scale * (double)b)) return mp_sym_div(c, mp_sym_mul(c, dim, mp_int_of((int64_t)(scale * (double)b))), mp_int_of(b));
  return mp_int_unknown();
}

/* the axes that scales and sizes speak of: attribute axes, or all; their count, -1 on a contradiction */
static int resized_axes(mp_infer *c, int rank, int64_t *axes) {
  uint32_t n;
  const int64_t *given = mp_infer_attr_ints(c, "axes", &n);
  if (!given) n = (uint32_t)rank;
  if (n > (uint32_t)rank) {
    mp_infer_bad(c, "%u axes on a tensor of rank %d", n, rank);
    return -1;
  }
  for (uint32_t i = 0; i < n; i++) {
    axes[i] = given ? given[i] : i;
    if (!mp_axis(c, &axes[i], rank)) return -1;
  }
  return (int)n;
}

/* sizes keep the aspect ratio: one scale for all axes, the smallest or the largest, and dims rounded */
static void keep_ratio(mp_infer *c, mp_shape *s, const mp_int *sizes, const int64_t *axes, int n, bool larger) {
  double scale = larger ? 0 : INFINITY;
  bool known = true;
  for (int i = 0; i < n; i++) {
    mp_int d = s->dims[axes[i]];
    if (d.e || sizes[i].e || d.n <= 0) known = false;
    else scale = larger ? fmax(scale, (double)sizes[i].n / (double)d.n) : fmin(scale, (double)sizes[i].n / (double)d.n);
  }
  for (int i = 0; i < n; i++) {
    double x = known ? floor(scale * (double)s->dims[axes[i]].n + 0.5) : 0;
    s->dims[axes[i]] = known && x < 9e15 ? mp_int_of((int64_t)x) : mp_int_unknown();
  }
  if (!known) mp_infer_depends(c, 3, "the contents");
}

static void by_sizes(mp_infer *c, mp_shape *s, int input, const int64_t *axes, int n) {
  mp_int sizes[MP_MAX_RANK];
  int k = mp_fold_list(c, NULL, input, sizes, MP_MAX_RANK);
  const char *policy = mp_infer_string(c, "keep_aspect_ratio_policy", "stretch");
  if (k >= 0 && k != n) {
    mp_infer_bad(c, "%d sizes for %d axes", k, n);
    return;
  }
  for (int i = 0; k < 0 && i < n; i++) sizes[i] = mp_int_unknown();
  if (strcmp(policy, "stretch") != 0) {
    keep_ratio(c, s, sizes, axes, n, strcmp(policy, "not_smaller") == 0);
    return;
  }
  for (int i = 0; i < n; i++) {
    s->dims[axes[i]] = sizes[i];
    if (mp_int_is_unknown(sizes[i])) mp_infer_depends(c, input, "the contents");
  }
}

/* scales: NULL to read them from the input */
static void by_scales(mp_infer *c, mp_shape *s, int input, const double *scales, uint32_t k, const int64_t *axes, int n) {
  uint32_t m = 0;
  double roi_room[64], room[64];
  if (!scales) scales = mp_fold_read_floats(c, input, &k, room);
  bool crop = strcmp(mp_infer_string(c, "coordinate_transformation_mode", ""), "tf_crop_and_resize") == 0;
  const double *roi = crop ? mp_fold_read_floats(c, 1, &m, roi_room) : NULL;
  uint32_t j;
  const mp_int *whole = mp_infer_ints(c, input, &j); /* scales that are whole but symbolic */
  if (scales && k != (uint32_t)n) {
    mp_infer_bad(c, "%u scales for %d axes", k, n);
    return;
  }
  for (int i = 0; i < n; i++) {
    mp_int *d = &s->dims[axes[i]];
    if (crop && roi && m == 2 * (uint32_t)n && scales && !d->e) *d = scaled(c, mp_int_of(1), (double)d->n * (roi[i + n] - roi[i]) * scales[i]);
    else if (crop) *d = mp_int_unknown();
    else if (scales) *d = scaled(c, *d, scales[i]);
    else *d = whole && j == (uint32_t)n ? mp_sym_mul(c, *d, whole[i]) : mp_int_unknown();
    if (mp_int_is_unknown(*d)) mp_infer_depends(c, input, "the contents");
  }
}

static bool holds(mp_infer *c, int i) { /* an input that is there and not the empty tensor that stands for "left out" */
  return mp_infer_has(c, i) && !mp_sym_equal(mp_infer_dim(c, i, 0), mp_int_of(0));
}

static void rule_resize(mp_infer *c) {
  mp_shape s;
  int64_t axes[MP_MAX_RANK];
  int first = mp_infer_opset(c) < 11 ? 1 : 2; /* scales; roi stands before them from opset 11 */
  mp_infer_shape(c, 0, &s);
  if (s.rank >= 0) {
    int n = resized_axes(c, s.rank, axes);
    if (n < 0) return;
    if (first == 2 && holds(c, 3)) by_sizes(c, &s, 3, axes, n);
    else by_scales(c, &s, first, NULL, 0, axes, n);
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &s);
}

/* Attributes height_scale and width_scale in opset 1, scales in 7, input 1 in 9. */
static void rule_upsample(mp_infer *c) {
  mp_shape s;
  int64_t axes[MP_MAX_RANK];
  double hw[4] = {1, 1, mp_infer_float(c, "height_scale", -1), mp_infer_float(c, "width_scale", -1)};
  uint32_t k = 0;
  mp_infer_shape(c, 0, &s);
  const double *scales = mp_infer_attr_floats(c, "scales", &k);
  if (!scales && hw[2] > 0) scales = hw, k = 4;
  if (s.rank >= 0) {
    int n = resized_axes(c, s.rank, axes);
    if (n < 0) return;
    by_scales(c, &s, 1, scales, k, axes, n);
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &s);
}

/* ---- blocks, crops, grids ---- */

static void rule_depth_to_space(mp_infer *c) {
  mp_infer_no_cost(c);
  int64_t b = mp_infer_int(c, "blocksize", 0);
  mp_int d[4], block = mp_int_of(b);
  if (b <= 0 || b > 1 << 15 || (mp_infer_rank(c, 0) >= 0 && mp_infer_rank(c, 0) != 4)) {
    mp_infer_bad(c, "blocksize %lld on a tensor of rank %d", (long long)b, mp_infer_rank(c, 0));
    return;
  }
  bool deeper = strcmp(mp_infer_node(c)->type, "SpaceToDepth") == 0;
  for (int i = 0; i < 4; i++) d[i] = mp_infer_dim(c, 0, i);
  d[1] = deeper ? mp_sym_mul(c, d[1], mp_int_of(b * b)) : mp_sym_div(c, d[1], mp_int_of(b * b));
  for (int i = 2; i < 4; i++) d[i] = deeper ? mp_sym_div(c, d[i], block) : mp_sym_mul(c, d[i], block);
  mp_infer_set_dims(c, 0, mp_infer_dtype(c, 0), 4, d);
}

static void rule_center_crop_pad(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s;
  mp_int want[MP_MAX_RANK], axes[MP_MAX_RANK];
  mp_infer_shape(c, 0, &s);
  int n = mp_fold_list(c, NULL, 1, want, MP_MAX_RANK), k = mp_infer_has_attr(c, "axes") ? mp_fold_list(c, "axes", -1, axes, MP_MAX_RANK) : n;
  if (n != k || n < 0 || s.rank < 0) {
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), NULL);
    return;
  }
  for (int i = 0; i < k; i++) {
    int64_t axis = mp_infer_has_attr(c, "axes") ? axes[i].n : i;
    if (!mp_axis(c, &axis, s.rank)) return;
    s.dims[axis] = want[i];
    if (mp_int_is_unknown(want[i])) mp_infer_depends(c, 1, "the contents");
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &s);
}

static void rule_col2im(mp_infer *c) {
  mp_shape image, block, r = {.rank = 2};
  mp_fold_dims(c, 1, &image);
  mp_fold_dims(c, 2, &block);
  r.dims[0] = mp_infer_dim(c, 0, 0);
  r.dims[1] = mp_sym_div(c, mp_infer_dim(c, 0, 1), mp_elements(c, &block));
  for (int i = 0; i < image.rank; i++) mp_shape_append(&r, image.dims[i]);
  if (image.rank < 0) r.rank = -1;
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &r);
}

static void rule_affine_grid(mp_infer *c) {
  mp_shape size;
  mp_fold_dims(c, 1, &size); /* n, c, [d,] h, w */
  if (size.rank >= 0 && size.rank != 4 && size.rank != 5) {
    mp_infer_bad(c, "size has %d entries, expected 4 or 5", size.rank);
    return;
  }
  for (int i = 1; i + 1 < size.rank; i++) size.dims[i] = size.dims[i + 1];
  if (size.rank > 0) size.dims[size.rank - 1] = mp_int_of(size.rank - 2);
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &size);
}

static const mp_op rows[] = {
  {"", "AffineGrid", 20, rule_affine_grid},
  {"", "CenterCropPad", 18, rule_center_crop_pad},
  {"", "Col2Im", 18, rule_col2im},
  {"", "DepthToSpace", 1, rule_depth_to_space},
  {"", "SpaceToDepth", 1, rule_depth_to_space},
  {"", "Resize", 10, rule_resize},
  {"", "Resize", 11, rule_resize},
  {"", "Upsample", 1, rule_upsample},
  {"", "Upsample", 7, rule_upsample},
  {"", "Upsample", 9, rule_upsample},
};
const mp_op_table mp_ops_resize = {rows, sizeof rows / sizeof *rows};
