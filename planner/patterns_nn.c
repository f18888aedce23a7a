/* Rows of the table: convolution, pooling, norms, matrices, recurrent cells. */
#include <string.h>

#include "planner/patterns.h"

/* an attribute of `spatial` integers from `least` on, with a default */
static void spatial_ints(mp_rec *r, const mp_node *n, const char *name, int spatial, int64_t least, int64_t otherwise, int64_t *out) {
  const mp_attr *a = mp_node_attr(n, name);
  for (int i = 0; i < spatial; i++) {
    out[i] = a && a->kind == MP_ATTR_INTS && (int64_t)a->n > i ? a->as.ints[i] : otherwise;
    if (out[i] < least || out[i] > INT32_MAX)
      mp_fail(r->a, MP_BAD_INPUT, "%s: node '%s' (%s): %lld among its %s; expected %lld to %d", r->g->path, n->name, n->type, (long long)out[i], name, (long long)least, INT32_MAX);
  }
}

/* spatial dimensions of a value; fails where its rank is not known or too high */
static int spatial_of(mp_rec *r, int32_t value) {
  int rank = mp_r_rank(r, value);
  if (rank < 2 || rank > MP_RANK)
    mp_fail(r->a, MP_BAD_INPUT, "%s: '%s' has rank %d; a convolution or pooling takes 3 to %d", r->g->path, r->g->values[value].name, rank, MP_RANK);
  return rank - 2;
}

static bool auto_pad(const mp_node *n, const char *what) {
  const mp_attr *a = mp_node_attr(n, "auto_pad");
  return a && a->kind == MP_ATTR_STRING && !strncmp(a->as.string, what, strlen(what));
}

/* Padding before and after each spatial dimension; kernel already dilated. */
static void padding(mp_rec *r, const mp_node *n, int spatial, const int64_t *kernel, const int64_t *stride, int64_t *before, int64_t *after) {
  int64_t both[2 * MP_RANK];
  spatial_ints(r, n, "pads", 2 * spatial, INT32_MIN, 0, both);
  for (int i = 0; i < spatial; i++) {
    before[i] = both[i];
    after[i] = both[spatial + i];
    if (!auto_pad(n, "SAME")) continue;
    int64_t in = mp_r_dim(r, n->in[0], 2 + i), out = (in + stride[i] - 1) / stride[i], total = mp_r_product(r, (int32_t)(n - r->g->nodes), out - 1, stride[i]) + kernel[i] - in;
    if (total < 0) total = 0;
    before[i] = auto_pad(n, "SAME_LOWER") ? total - total / 2 : total / 2;
    after[i] = total - before[i];
  }
}

/* padding='same' with an even kernel, and other asymmetric pads: PyTorch pads the operand by the difference first */
static mp_arg pad_first(mp_rec *r, const mp_hit *h, mp_arg x, int spatial, int64_t *before, const int64_t *after) {
  int64_t extra[2 * MP_RANK];
  bool any = false;
  mp_var v = *mp_builder_at(r->b, x.as.var);
  for (int i = 0; i < spatial; i++) {
    int64_t both = before[i] < after[i] ? before[i] : after[i];
    int k = 2 * (spatial - 1 - i);
    extra[k] = before[i] - both;
    extra[k + 1] = after[i] - both;
    any |= before[i] != after[i];
    v.dims[2 + i] += extra[k] + extra[k + 1];
    before[i] = both;
  }
  if (!any) return x;
  int32_t out = mp_r_new(r, v.name, v.dtype, v.rank, v.dims);
  mp_arg args[] = {x, mp_arg_ints(r->a, extra, 2 * (uint32_t)spatial), mp_arg_float(0)};
  mp_r_call(r, h, "aten::constant_pad_nd", args, 3, &out, 1);
  return mp_arg_var(out);
}

static const char *by_rank(mp_rec *r, const char *stem, int spatial) { return mp_format(r->a, "%s%dd", stem, spatial); }

/* An inference export folds a batch norm into the convolution before it: both its operands are the exporter's own. */
static bool folded_norm(const mp_rec *r, const mp_hit *h) {
  if (!r->scoped || r->training || h->values[2] < 0) return false;
  return !strncmp(r->g->values[h->values[1]].name, "onnx::Conv", 10) && !strncmp(r->g->values[h->values[2]].name, "onnx::Conv", 10);
}

/* The convolution without its bias, and the batch norm of its result, with weights that the file has no more. The bias stands in for the norm's. */
static void emit_folded_norm(mp_rec *r, const mp_hit *h, const char *name, mp_arg *conv, uint32_t conv_args) {
  const char *path = mp_r_module_path(r, h->root);
  int32_t y = mp_r_node(r, h->root)->out[0], bias = conv[2].as.var;
  int64_t dims[MP_RANK];
  for (int i = 0; i < mp_r_rank(r, y); i++) dims[i] = mp_r_dim(r, y, i);
  int32_t x = mp_r_new(r, r->g->values[y].name, r->g->values[y].dtype, mp_r_rank(r, y), dims);
  conv[2] = mp_arg_none();
  mp_r_call(r, h, name, conv, conv_args, &x, 1);
  const mp_var b = *mp_builder_at(r->b, bias);
  int32_t weight = mp_builder_var(r->b, MP_ROLE_PARAMETER, mp_format(r->a, "%s.folded_norm.weight", path), b.dtype, 1, b.dims, -1);
  int32_t mean = mp_builder_var(r->b, MP_ROLE_BUFFER, mp_format(r->a, "%s.folded_norm.running_mean", path), b.dtype, 1, b.dims, -1);
  int32_t var = mp_builder_var(r->b, MP_ROLE_BUFFER, mp_format(r->a, "%s.folded_norm.running_var", path), b.dtype, 1, b.dims, -1);
  mp_builder_var(r->b, MP_ROLE_BUFFER, mp_format(r->a, "%s.folded_norm.num_batches_tracked", path), MP_INT64, 0, NULL, -1);
  mp_builder_at(r->b, bias)->name = mp_format(r->a, "%s.folded_norm.bias", path);
  mp_builder_at(r->b, conv[1].as.var)->name = mp_format(r->a, "%s.weight", path);
  mp_arg args[] = {mp_arg_var(x),     mp_arg_var(weight), mp_arg_var(bias),   mp_arg_var(mean), mp_arg_var(var),
                   mp_arg_bool(true), mp_arg_float(0.1),  mp_arg_float(1e-5), mp_arg_bool(true)};
  mp_r_last(r, h, "aten::batch_norm", args, 9);
  r->folded_norms++;
}

MP_ROW_EMIT(mp_row_conv) {
  const mp_node *n = mp_r_node(r, h->root);
  int spatial = spatial_of(r, h->values[1]);
  int64_t kernel[MP_RANK] = {0}, stride[MP_RANK], dilation[MP_RANK], before[MP_RANK], after[MP_RANK];
  spatial_ints(r, n, "strides", spatial, 1, 1, stride);
  spatial_ints(r, n, "dilations", spatial, 1, 1, dilation);
  for (int i = 0; i < spatial; i++) kernel[i] = mp_r_product(r, h->root, dilation[i], mp_r_dim(r, h->values[1], 2 + i) - 1) + 1;
  padding(r, n, spatial, kernel, stride, before, after);
  mp_arg x = pad_first(r, h, mp_r_tensor(r, h->values[0]), spatial, before, after);
  uint32_t s = (uint32_t)spatial;
  mp_arg args[] = {x,
                   mp_r_tensor(r, h->values[1]),
                   mp_r_tensor(r, h->values[2]),
                   mp_arg_ints(r->a, stride, s),
                   mp_arg_ints(r->a, before, s),
                   mp_arg_ints(r->a, dilation, s),
                   mp_arg_int(mp_node_int(n, "group", 1))};
  const char *name = by_rank(r, "aten::conv", spatial);
  if (folded_norm(r, h))
    emit_folded_norm(r, h, name, args, 7);
  else
    mp_r_last(r, h, name, args, 7);
}

MP_ROW_EMIT(mp_row_conv_transpose) {
  const mp_node *n = mp_r_node(r, h->root);
  int spatial = spatial_of(r, h->values[1]);
  uint32_t s = (uint32_t)spatial;
  int64_t stride[MP_RANK], dilation[MP_RANK], pads[MP_RANK], more[MP_RANK];
  spatial_ints(r, n, "strides", spatial, 1, 1, stride);
  spatial_ints(r, n, "dilations", spatial, 1, 1, dilation);
  spatial_ints(r, n, "pads", spatial, INT32_MIN, 0, pads);
  spatial_ints(r, n, "output_padding", spatial, 0, 0, more);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]),           mp_r_tensor(r, h->values[1]),  mp_r_tensor(r, h->values[2]),
                   mp_arg_ints(r->a, stride, s),           mp_arg_ints(r->a, pads, s),    mp_arg_ints(r->a, more, s),
                   mp_arg_int(mp_node_int(n, "group", 1)), mp_arg_ints(r->a, dilation, s)};
  mp_r_last(r, h, by_rank(r, "aten::conv_transpose", spatial), args, 8);
}

MP_ROW_EMIT(mp_row_max_pool) {
  const mp_node *n = mp_r_node(r, h->root);
  int spatial = spatial_of(r, h->values[0]);
  uint32_t s = (uint32_t)spatial;
  int64_t kernel[MP_RANK] = {0}, stride[MP_RANK], dilation[MP_RANK], before[MP_RANK], after[MP_RANK];
  spatial_ints(r, n, "kernel_shape", spatial, 1, 1, kernel);
  spatial_ints(r, n, "strides", spatial, 1, 1, stride);
  spatial_ints(r, n, "dilations", spatial, 1, 1, dilation);
  padding(r, n, spatial, kernel, stride, before, after);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_ints(r->a, kernel, s),   mp_arg_ints(r->a, stride, s),
                   mp_arg_ints(r->a, before, s), mp_arg_ints(r->a, dilation, s), mp_arg_bool(mp_node_int(n, "ceil_mode", 0) != 0)};
  mp_r_last(r, h, by_rank(r, "aten::max_pool", spatial), args, 6);
}

MP_ROW_EMIT(mp_row_avg_pool) {
  const mp_node *n = mp_r_node(r, h->root);
  int spatial = spatial_of(r, h->values[0]);
  uint32_t s = (uint32_t)spatial;
  int64_t kernel[MP_RANK] = {0}, stride[MP_RANK], before[MP_RANK], after[MP_RANK];
  spatial_ints(r, n, "kernel_shape", spatial, 1, 1, kernel);
  spatial_ints(r, n, "strides", spatial, 1, 1, stride);
  padding(r, n, spatial, kernel, stride, before, after);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]),
                   mp_arg_ints(r->a, kernel, s),
                   mp_arg_ints(r->a, stride, s),
                   mp_arg_ints(r->a, before, s),
                   mp_arg_bool(mp_node_int(n, "ceil_mode", 0) != 0),
                   mp_arg_bool(mp_node_int(n, "count_include_pad", 0) != 0)};
  mp_r_last(r, h, by_rank(r, "aten::avg_pool", spatial), args, 6);
}

MP_ROW_EMIT(mp_row_global_pool) {
  int rank = mp_r_rank(r, h->values[0]);
  int64_t dims[MP_RANK];
  for (int i = 2; i < rank; i++) dims[i - 2] = i - rank;
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_ints(r->a, dims, (uint32_t)(rank > 2 ? rank - 2 : 0)), mp_arg_bool(true)};
  mp_r_last(r, h, strstr(h->row->call, "amax") ? "aten::amax" : "aten::mean", args, 3);
}

MP_ROW_EMIT(mp_row_resize) {
  const mp_node *n = mp_r_node(r, h->root);
  int spatial = spatial_of(r, h->values[0]);
  const mp_attr *mode = mp_node_attr(n, "mode"), *how = mp_node_attr(n, "coordinate_transformation_mode");
  bool linear = mode && mode->kind == MP_ATTR_STRING && !strcmp(mode->as.string, "linear"),
       cubic = mode && mode->kind == MP_ATTR_STRING && !strcmp(mode->as.string, "cubic");
  bool corners = how && how->kind == MP_ATTR_STRING && !strcmp(how->as.string, "align_corners");
  int64_t size[MP_RANK];
  for (int i = 0; i < spatial && i < MP_RANK; i++) size[i] = mp_r_dim(r, n->out[0], 2 + i);
  static const char *const linear_names[] = {"", "linear1", "bilinear2", "trilinear3"};
  mp_arg x = mp_r_tensor(r, h->values[0]), to = mp_arg_ints(r->a, size, (uint32_t)spatial);
  if (linear || cubic) {
    mp_arg args[] = {x, to, mp_arg_bool(corners)};
    const char *stem = cubic || spatial > 3 || spatial < 1 ? "bicubic2" : linear_names[spatial];
    mp_r_last(r, h, mp_format(r->a, "aten::upsample_%sd", stem), args, 3);
    return;
  }
  mp_arg args[] = {x, to};
  mp_r_last(r, h, by_rank(r, "aten::upsample_nearest", spatial), args, 2);
}

/* ---- norms ---- */

/* a weight of ones or a bias of zeros that the exporter made up for an absent one */
static mp_arg weight_or_none(mp_rec *r, int32_t value, double neutral) {
  return mp_r_is_constant(r, value, neutral) ? mp_arg_none() : mp_r_tensor(r, value);
}

MP_ROW_EMIT(mp_row_batch_norm) {
  const mp_node *n = mp_r_node(r, h->root);
  bool train = mp_r_norm_trains(n) || !r->training;
  mp_arg args[] = {mp_r_tensor(r, h->values[0]),
                   weight_or_none(r, h->values[1], 1),
                   weight_or_none(r, h->values[2], 0),
                   mp_r_tensor(r, h->values[3]),
                   mp_r_tensor(r, h->values[4]),
                   mp_arg_bool(train),
                   mp_arg_float(1 - mp_node_float(n, "momentum", 0.9)),
                   mp_arg_float(mp_node_float(n, "epsilon", 1e-5)),
                   mp_arg_bool(true)};
  mp_r_last(r, h, "aten::batch_norm", args, 9);
}

static void emit_layer_norm(mp_rec *r, const mp_hit *h, int first_axis, double eps) {
  int rank = mp_r_rank(r, h->values[0]);
  int64_t shape[MP_RANK];
  uint32_t n = 0;
  for (int i = first_axis; i < rank; i++) shape[n++] = mp_r_dim(r, h->values[0], i);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]),       mp_arg_ints(r->a, shape, n), weight_or_none(r, h->values[1], 1),
                   weight_or_none(r, h->values[2], 0), mp_arg_float(eps),           mp_arg_bool(true)};
  mp_r_last(r, h, "aten::layer_norm", args, 6);
}

MP_ROW_EMIT(mp_row_layer_norm) {
  const mp_node *n = mp_r_node(r, h->root);
  int64_t axis = mp_r_axis(r, h->root, mp_node_int(n, "axis", -1), mp_r_rank(r, h->values[0]));
  emit_layer_norm(r, h, (int)axis, mp_node_float(n, "epsilon", 1e-5));
}

/* written as nine nodes before opset 17 */
MP_ROW_EMIT(mp_row_layer_norm_nodes) {
  int rank = mp_r_rank(r, h->values[0]), first = rank - 1;
  for (uint32_t i = 0; i < h->node_count; i++) {
    int64_t axes[MP_RANK];
    if (strcmp(mp_r_node(r, h->nodes[i])->type, "ReduceMean") != 0) continue;
    uint32_t n = mp_r_axes(r, h->nodes[i], 1, axes);
    if (n) first = rank - (int)n;
  }
  emit_layer_norm(r, h, first, h->numbers[0]);
}

/* A layer norm over the channels, written by hand as ConvNeXt has it:
 *     u = x.mean(1, keepdim=True); s = (x - u).pow(2).mean(1, keepdim=True); (x - u) / torch.sqrt(s + eps)
 * The exporter merges both differences. */
MP_ROW_CHECK(mp_row_is_channel_norm) {
  int64_t axes[MP_RANK];
  uint32_t means = 0;
  for (uint32_t i = 0; i < h->node_count; i++) {
    if (!mp_r_same_scope(r, h->root, h->nodes[i])) return false;
    if (strcmp(mp_r_node(r, h->nodes[i])->type, "ReduceMean") != 0) continue;
    if (mp_r_axes(r, h->nodes[i], 1, axes) != 1 || axes[0] != 1) return false;
    means++;
  }
  return means == 2 && mp_r_rank(r, h->values[0]) == 4;
}

static mp_arg channel_step(mp_rec *r, const mp_hit *h, const char *op, mp_arg a, mp_arg b, bool keeps_channels) {
  mp_var v = *mp_builder_at(r->b, mp_r_tensor(r, h->values[0]).as.var);
  if (!keeps_channels) v.dims[1] = 1;
  int32_t out = mp_r_new(r, v.name, v.dtype, v.rank, v.dims);
  mp_arg args[] = {a, b, mp_arg_bool(true)};
  mp_r_call(r, h, op, args, !strcmp(op, "aten::mean") ? 3 : b.kind == MP_ARG_NONE ? 1 : 2, &out, 1);
  return mp_arg_var(out);
}

MP_ROW_EMIT(mp_row_channel_norm) {
  const int64_t one = 1;
  mp_arg x = mp_r_tensor(r, h->values[0]), axis = mp_arg_ints(r->a, &one, 1);
  mp_arg u = channel_step(r, h, "aten::mean", x, axis, false);
  mp_arg square = channel_step(r, h, "aten::pow", channel_step(r, h, "aten::sub", x, u, true), mp_arg_int(2), true);
  mp_arg s = channel_step(r, h, "aten::mean", square, axis, false);
  mp_arg d = channel_step(r, h, "aten::sub", x, u, true);
  mp_arg root = channel_step(r, h, "aten::sqrt", channel_step(r, h, "aten::add", s, mp_arg_float(h->numbers[0]), false), mp_arg_none(), false);
  mp_r_last(r, h, "aten::div", (mp_arg[]){d, root}, 2);
}

static int32_t inner(mp_rec *r, const mp_hit *h, const char *type) {
  for (uint32_t i = 0; i < h->node_count; i++)
    if (!strcmp(mp_r_node(r, h->nodes[i])->type, type)) return h->nodes[i];
  return h->root;
}

/* a group norm of (N, C), whose weights need no dimensions to broadcast */
MP_ROW_CHECK(mp_row_is_flat_group_norm) {
  return mp_r_rank(r, h->values[0]) == 2 && mp_r_is_parameter(r, h->values[1]) && mp_r_is_parameter(r, h->values[2]);
}

/* Reshape to (N, groups, -1), InstanceNormalization, Reshape back, weight and bias */
MP_ROW_EMIT(mp_row_group_norm) {
  const mp_node *n = mp_r_node(r, inner(r, h, "InstanceNormalization"));
  mp_arg args[] = {mp_r_tensor(r, h->values[0]),
                   mp_arg_int(mp_r_dim(r, n->in[0], 1)),
                   mp_r_tensor(r, h->values[1]),
                   mp_r_tensor(r, h->values[2]),
                   mp_arg_float(mp_node_float(n, "epsilon", 1e-5)),
                   mp_arg_bool(true)};
  mp_r_last(r, h, "aten::group_norm", args, 6);
}

MP_ROW_EMIT(mp_row_group_norm_node) {
  const mp_node *n = mp_r_node(r, h->root);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_int(mp_node_int(n, "num_groups", 1)),     mp_r_tensor(r, h->values[1]),
                   mp_r_tensor(r, h->values[2]), mp_arg_float(mp_node_float(n, "epsilon", 1e-5)), mp_arg_bool(true)};
  mp_r_last(r, h, "aten::group_norm", args, 6);
}

MP_ROW_EMIT(mp_row_rms_norm_node) {
  const mp_node *n = mp_r_node(r, h->root);
  int rank = mp_r_rank(r, h->values[0]);
  int64_t axis = mp_r_axis(r, h->root, mp_node_int(n, "axis", -1), rank), shape[MP_RANK];
  uint32_t count = 0;
  for (int i = (int)axis; i < rank; i++) shape[count++] = mp_r_dim(r, h->values[0], i);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_ints(r->a, shape, count), mp_r_tensor(r, h->values[1]),
                   mp_arg_float(mp_node_float(n, "epsilon", 1e-5))};
  mp_r_last(r, h, "aten::rms_norm", args, 4);
}

MP_ROW_EMIT(mp_row_instance_norm) {
  mp_arg args[] = {mp_r_tensor(r, h->values[0]),
                   weight_or_none(r, h->values[1], 1),
                   weight_or_none(r, h->values[2], 0),
                   mp_arg_none(),
                   mp_arg_none(),
                   mp_arg_bool(true),
                   mp_arg_float(0.1),
                   mp_arg_float(mp_node_float(mp_r_node(r, h->root), "epsilon", 1e-5)),
                   mp_arg_bool(true)};
  mp_r_last(r, h, "aten::instance_norm", args, 9);
}

/* ---- matrices ---- */

/* linear's weight is a matrix and its bias a vector, of the file or put together: cat(q_bias, zeros, v_bias) */
MP_ROW_CHECK(mp_row_is_matrix) { return mp_r_rank(r, h->values[1]) == 2 && (h->values[2] < 0 || mp_r_rank(r, h->values[2]) == 1); }

/* An export that folded constants holds the transposed weight under a name of its own (onnx::MatMul_12). */
MP_ROW_CHECK(mp_row_is_folded_linear) {
  int32_t w = h->values[1];
  bool bias = h->values[2] < 0 || (mp_r_rank(r, h->values[2]) == 1 && mp_r_is_parameter(r, h->values[2]));
  int32_t users[2];
  if (!r->scoped && mp_r_users(r, w, users, 2) != 1) return false;
  return bias && mp_r_rank(r, w) == 2 && mp_r_is_parameter(r, w) && (!r->scoped || !strncmp(r->g->values[w].name, "onnx::MatMul", 12));
}

MP_ROW_EMIT(mp_row_folded_linear) {
  int32_t w = mp_r_var(r, h->values[1]);
  mp_var *v = mp_builder_at(r->b, w);
  if (v->value == h->values[1] && !r->turned[h->values[1]]) { /* its own, not a tied table: once, as the module has it, (out, in) */
    r->turned[h->values[1]] = true;
    int64_t in = v->dims[0];
    v->dims[0] = v->dims[1];
    v->dims[1] = in;
    const char *bias = h->values[2] >= 0 ? r->g->values[h->values[2]].name : NULL;
    size_t n = bias ? strlen(bias) : 0;
    if (strncmp(v->name, "onnx::", 6) != 0)
      n = 0;
    else if (n > 4 && !strcmp(bias + n - 4, "bias"))
      v->name = mp_format(r->a, "%.*sweight", (int)(n - 4), bias);
    else
      v->name = mp_format(r->a, "%s.weight", mp_r_module_path(r, h->root));
  }
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_var(w), mp_r_tensor(r, h->values[2])};
  mp_r_last(r, h, "aten::linear", args, h->values[2] < 0 ? 2 : 3);
}

MP_ROW_EMIT(mp_row_einsum) {
  const mp_node *n = mp_r_node(r, h->root);
  const mp_attr *equation = mp_node_attr(n, "equation");
  int32_t *list = mp_alloc_array(r->a, n->ins, sizeof *list);
  for (int i = 0; i < n->ins; i++) list[i] = mp_r_var(r, mp_r_in(r, h->root, i));
  mp_arg args[] = {mp_arg_str(equation && equation->kind == MP_ATTR_STRING ? equation->as.string : ""), mp_arg_vars(r->a, list, n->ins)};
  mp_r_last(r, h, "aten::einsum", args, 2);
}

MP_ROW_EMIT(mp_row_dropout) {
  double p = mp_node_float(mp_r_node(r, h->root), "ratio", 0.5);
  mp_r_number(r, mp_r_in(r, h->root, 1), &p);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_float(p), mp_arg_bool(true)};
  mp_r_last(r, h, "aten::dropout", args, 3);
}

/* ---- recurrent cells ---- */

/* the parameters that a reordered weight (Slices and Concats of gates) is made of */
static void weights_of(mp_rec *r, int32_t value, int32_t *list, uint32_t *n, int depth) {
  if (value < 0 || depth > 6) return;
  if (mp_r_is_parameter(r, value)) {
    for (uint32_t i = 0; i < *n; i++)
      if (list[i] == mp_r_var(r, value)) return;
    if (*n < 16) list[(*n)++] = mp_r_var(r, value);
    return;
  }
  int32_t p = mp_r_producer(r, value);
  if (p < 0) return;
  const mp_node *node = mp_r_node(r, p);
  bool data_first = strcmp(node->type, "Concat") != 0;
  for (int i = 0; i < node->ins && (!data_first || !i); i++) weights_of(r, mp_r_in(r, p, i), list, n, depth + 1);
}

/* the call reads the operand, the states and the weights as they are in the file: what reorders them is no call */
MP_ROW_CHECK(mp_row_is_lstm) {
  for (int i = 0; i < 2; i++) {
    int32_t state = mp_r_in(r, h->root, 5 + i);
    if (state >= 0 && !r->fixed[state]) h->values[1 + i] = state;
  }
  return true;
}

/* Y is (S, directions, B, H) in the file, (S, B, directions * H) in the framework: the call makes the framework's, the Squeeze that follows is a view
 * of it. */
MP_ROW_EMIT(mp_row_lstm) {
  const mp_node *n = mp_r_node(r, h->root);
  bool lstm = n->type[0] == 'L';
  int32_t weights[16];
  uint32_t count = 0;
  for (int i = 1; i <= 3; i++) weights_of(r, mp_r_in(r, h->root, i), weights, &count, 0);
  int32_t x = mp_r_in(r, h->root, 0), states[2] = {-1, -1};
  const mp_attr *direction = mp_node_attr(n, "direction");
  bool both = direction && direction->kind == MP_ATTR_STRING && !strcmp(direction->as.string, "bidirectional");
  int64_t hidden = mp_node_int(n, "hidden_size", 0), d[3] = {both ? 2 : 1, mp_r_dim(r, x, 1), hidden};
  for (int i = 0; i < (lstm ? 2 : 1); i++) {
    if (h->values[1 + i] >= 0) states[i] = mp_r_var(r, h->values[1 + i]);
    if (states[i] >= 0) continue;
    states[i] = mp_r_new(r, "state", r->g->values[x].dtype, 3, d);
    mp_arg zeros[] = {mp_arg_ints(r->a, d, 3), mp_arg_dtype(r->g->values[x].dtype)};
    mp_r_call(r, h, "aten::zeros", zeros, 2, &states[i], 1);
  }
  mp_arg hx = lstm ? mp_arg_vars(r->a, states, 2) : mp_arg_var(states[0]);
  mp_arg args[] = {mp_r_tensor(r, x),
                   hx,
                   mp_arg_vars(r->a, weights, count),
                   mp_arg_bool(count > 2),
                   mp_arg_int(1),
                   mp_arg_float(0),
                   mp_arg_bool(true),
                   mp_arg_bool(both),
                   mp_arg_bool(false)};
  int32_t outs[3];
  for (int i = 0; i < 3; i++) outs[i] = mp_r_result(r, h, i);
  mp_r_call(r, h, lstm ? "aten::lstm" : n->type[0] == 'G' ? "aten::gru" : "aten::rnn_tanh", args, 9, outs, lstm ? 3 : 2);
}
