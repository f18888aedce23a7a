/* Convolutions: keep input and weight; backward is one call that makes all wanted gradients. */
#include <string.h>

#include "planner/calls.h"

typedef struct conv {
  int64_t stride[3], pad[3], dilation[3], output_pad[3];
  int64_t groups;
  bool transposed;
  int n; /* spatial dims */
} conv;

static void convolution_backward(mp_em *e, mp_bw *b) {
  if (mp_bw_grad(b, 0) < 0) return;
  const char *op = "aten::convolution_backward";
  mp_ten g[3] = {-1, -1, -1};
  bool last = mp_bw_meta(b)[0];
  for (uint32_t k = 0; k < 3; k++) {
    if (!mp_bw_wants(b, k)) continue;
    mp_tensor_info i = *mp_bw_input(b, k);
    g[k] = mp_em_new_format(e, op, i.dtype, i.rank, i.dims, last && i.rank >= 4);
  }
  for (uint32_t k = 0; k < 3; k++) mp_bw_give(b, k, g[k]);
}
static const mp_grad convolution_grad = {"ConvolutionBackward0", convolution_backward};

static void wrong(mp_em *e, const char *what) {
  mp_fail(mp_em_arena(e), MP_BAD_INPUT, "%s: %s; expected operands of (N, C, ...) and (out, C / groups, ...)", mp_em_call(e)->row->name, what);
}

static mp_ten convolution(mp_em *e, mp_ten x, mp_ten w, mp_ten bias, const conv *c) {
  bias = mp_em_autocast(e, bias, MP_CAST_HALF); /* here, not by the row: uneven padding pads the operand as it comes */
  w = mp_em_autocast(e, w, MP_CAST_HALF);
  x = mp_em_autocast(e, x, MP_CAST_HALF);
  mp_tensor_info i = *mp_em_info(e, x), k = *mp_em_info(e, w);
  if (i.rank != c->n + 2 || k.rank != i.rank) wrong(e, "operands of unequal rank");
  bool last = mp_is_channels_last(&i) || mp_is_channels_last(&k);
  int64_t dims[MP_RANK] = {i.dims[0], c->transposed ? mp_em_product(e, k.dims[1], c->groups) : k.dims[0]};
  for (int d = 0; d < c->n; d++) {
    int64_t in = i.dims[d + 2], reach = mp_em_product(e, c->dilation[d], k.dims[d + 2] - 1) + 1;
    if (c->stride[d] < 1) wrong(e, "a stride below 1");
    dims[d + 2] =
        c->transposed ? mp_em_product(e, in - 1, c->stride[d]) - 2 * c->pad[d] + reach + c->output_pad[d] : (in + 2 * c->pad[d] - reach) / c->stride[d] + 1;
    if (dims[d + 2] < 1) wrong(e, "a kernel larger than its input");
  }
  mp_ten y = mp_em_new_format(e, "aten::convolution", i.dtype, i.rank, dims, last);
  mp_record(e, &convolution_grad, MP_TENS(x, w, bias), MP_TENS(x, w), MP_INTS(last), y);
  return y;
}

/* a list argument: one number stands for all dims */
static void spread(mp_em *e, uint32_t at, int n, int64_t otherwise, int64_t *out) {
  uint32_t got = mp_c_ints(e, at, out, 3);
  for (int d = (int)got; d < n; d++) out[d] = got ? out[0] : otherwise;
}

/* padding="same": where it is uneven, the input is padded first, and the copy is kept */
static mp_ten same_padding(mp_em *e, mp_ten x, mp_ten w, conv *c) {
  mp_tensor_info k = *mp_em_info(e, w);
  int64_t pads[6] = {0};
  bool uneven = false;
  for (int d = 0; d < c->n; d++) {
    int64_t total = mp_em_product(e, c->dilation[d], k.dims[d + 2] - 1);
    c->pad[d] = total / 2;
    if (total % 2) {
      uneven = true;
      pads[2 * (c->n - 1 - d) + 1] = 1;
    }
  }
  return uneven ? mp_constant_pad(e, x, pads, (uint32_t)(2 * c->n)) : x;
}

static void run(mp_em *e, conv *c, bool same) {
  mp_ten x = mp_c_ten(e, 0), w = mp_c_ten(e, 1), bias = mp_c_ten(e, 2);
  size_t s = mp_em_enter(e);
  bool unbatched = mp_em_info(e, x)->rank == c->n + 1;
  if (unbatched) x = mp_op_unsqueeze(e, x, 0);
  if (same) x = same_padding(e, x, w, c);
  mp_ten y = convolution(e, x, w, bias, c);
  if (unbatched) y = mp_op_squeeze(e, y, 0);
  mp_em_leave1(e, s, y);
  mp_c_out(e, 0, y);
}

static int spatial(mp_em *e) { /* by the weight: the input may lack its batch */
  int n = mp_em_info(e, mp_c_ten(e, 1))->rank - 2;
  if (n < 1 || n > 3) wrong(e, "a weight of a rank that is not 3, 4 or 5");
  return n;
}

static void f_conv(mp_em *e) { /* (x, weight, bias, stride, padding, dilation, groups) */
  conv c = {.n = spatial(e), .groups = mp_c_int(e, 6, 1)};
  const char *mode = mp_c_str(e, 4);
  spread(e, 3, c.n, 1, c.stride);
  spread(e, 4, c.n, 0, c.pad);
  spread(e, 5, c.n, 1, c.dilation);
  run(e, &c, mode && !strcmp(mode, "same"));
}
static void f_conv_transpose(mp_em *e) { /* (x, weight, bias, stride, padding, output_padding, groups, dilation) */
  conv c = {.n = spatial(e), .groups = mp_c_int(e, 6, 1), .transposed = true};
  spread(e, 3, c.n, 1, c.stride);
  spread(e, 4, c.n, 0, c.pad);
  spread(e, 5, c.n, 0, c.output_pad);
  spread(e, 7, c.n, 1, c.dilation);
  run(e, &c, false);
}
static void f_convolution(mp_em *e) { /* (x, weight, bias, stride, padding, dilation, transposed, output_padding, groups) */
  conv c = {.n = spatial(e), .groups = mp_c_int(e, 8, 1), .transposed = mp_c_bool(e, 6, false)};
  spread(e, 3, c.n, 1, c.stride);
  spread(e, 4, c.n, 0, c.pad);
  spread(e, 5, c.n, 1, c.dilation);
  spread(e, 7, c.n, 0, c.output_pad);
  run(e, &c, false);
}

static const mp_call_row rows[] = {
    {"aten::conv1d", f_conv, MP_CAST_NONE, "under autocast in half; keeps its input; uneven padding: the padded copy"},
    {"aten::conv2d", f_conv, MP_CAST_NONE, "under autocast in half; keeps its input; uneven padding: the padded copy"},
    {"aten::conv3d", f_conv, MP_CAST_NONE, "under autocast in half; keeps its input; uneven padding: the padded copy"},
    {"aten::conv_transpose1d", f_conv_transpose, MP_CAST_NONE, "under autocast in half; keeps its input"},
    {"aten::conv_transpose2d", f_conv_transpose, MP_CAST_NONE, "under autocast in half; keeps its input"},
    {"aten::conv_transpose3d", f_conv_transpose, MP_CAST_NONE, "under autocast in half; keeps its input"},
    {"aten::convolution", f_convolution, MP_CAST_NONE, "under autocast in half; keeps its input"},
    {"aten::_convolution", f_convolution, MP_CAST_NONE, "under autocast in half; keeps its input"},
    {"aten::cudnn_convolution", f_convolution, MP_CAST_NONE, "under autocast in half; keeps its input"},
};
const mp_call_table mp_calls_conv = {rows, MP_COUNT(rows)};
