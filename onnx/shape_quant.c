/* Quantization: tensors of small integers with scales beside them. (Quantized convolutions: shape_nn.c; products: shape_matmul.c, shape_fused.c.) */
#include "onnx/shape_tools.h"

static mp_dtype output_dtype(mp_infer *c, mp_dtype otherwise) {
  int64_t t = mp_infer_int(c, "output_dtype", 0);
  return t > 0 && t < MP_DTYPES ? (mp_dtype)t : otherwise;
}

static void shaped(mp_infer *c, int o, int i, mp_dtype t) {
  mp_shape s;
  mp_infer_shape(c, i, &s);
  if (o < mp_infer_outs(c) && mp_infer_wants(c, o)) mp_infer_set(c, o, t, s.rank < 0 ? NULL : &s);
}

/* the zero point's type, else the attribute's, else uint8 */
static void quantize(mp_infer *c) {
  shaped(c, 0, 0, mp_infer_has(c, 2) ? mp_infer_dtype(c, 2) : output_dtype(c, MP_UINT8));
}

/* the attribute's type, else the scale's (until opset 18 always float32); float8 scales of blocks give float32 */
static void dequantize(mp_infer *c) {
  bool always_float = !*mp_infer_node(c)->domain && mp_infer_opset(c) < 19;
  mp_dtype scale = mp_infer_dtype(c, 1);
  shaped(c, 0, 0, output_dtype(c, scale || !always_float ? scale : MP_FLOAT));
}

MP_SIGNATURE(dynamic_quantize, ". -> .:u ():f ():u")

/* A, scale, zero, B, scale, zero, scale, zero -> C */
static void binary(mp_infer *c) {
  mp_shape a, b, r;
  mp_infer_shape(c, 0, &a);
  mp_infer_shape(c, 3, &b);
  bool known = a.rank >= 0 && b.rank >= 0;
  if (known && !mp_shape_broadcast(c, &a, &b, &r)) return;
  mp_infer_set(c, 0, mp_dtype_or(c, 0, 3), known ? &r : NULL);
}

/* condition, X, scale, zero, Y, scale, zero, scale, zero */
static void where(mp_infer *c) {
  mp_shape k, x, y, r, all;
  mp_infer_shape(c, 0, &k);
  mp_infer_shape(c, 1, &x);
  mp_infer_shape(c, 4, &y);
  bool known = k.rank >= 0 && x.rank >= 0 && y.rank >= 0;
  if (known && (!mp_shape_broadcast(c, &k, &x, &r) || !mp_shape_broadcast(c, &r, &y, &all))) return;
  mp_infer_set(c, 0, mp_dtype_or(c, 1, 4), known ? &all : NULL);
}

/* scale, zero, then (tensor, scale, zero) for each part */
static void concat(mp_infer *c) {
  mp_shape s, part;
  int64_t axis = mp_infer_int(c, "axis", 0);
  mp_infer_shape(c, 2, &s);
  if (s.rank >= 0 && !mp_axis(c, &axis, s.rank)) return;
  for (int i = 5; i < mp_infer_ins(c) && s.rank >= 0; i += 3) {
    mp_infer_shape(c, i, &part);
    if (part.rank >= 0 && part.rank != s.rank) {
      mp_infer_bad(c, "parts of rank %d and %d", s.rank, part.rank);
      return;
    }
    bool clash = false;
    for (int k = 0; k < s.rank; k++) {
      mp_int d = part.rank < 0 ? mp_int_unknown() : part.dims[k];
      s.dims[k] = k == axis ? mp_sym_add(c, s.dims[k], d) : mp_dim_unify(s.dims[k], d, &clash);
    }
    if (clash) {
      mp_infer_bad(c, "parts differ in a dim that is not axis %lld", (long long)axis);
      return;
    }
  }
  mp_infer_set(c, 0, mp_dtype_or(c, 2, 1), s.rank < 0 ? NULL : &s);
  mp_infer_no_cost(c);
}

static void reduce(mp_infer *c) {
  mp_shape s, r = {.rank = 0};
  bool keep = mp_infer_int(c, "keepdims", 1) != 0, drop[MP_MAX_RANK] = {false};
  uint32_t n = 0;
  const int64_t *axes = mp_infer_attr_ints(c, "axes", &n);
  mp_infer_shape(c, 0, &s);
  mp_dtype t = strcmp(mp_infer_node(c)->type, "ReduceSumInteger") ? mp_infer_dtype(c, 0) : mp_infer_dtype(c, 0) == MP_UINT8 ? MP_UINT32 : MP_INT32;
  for (uint32_t i = 0; i < n && s.rank >= 0; i++) {
    int64_t axis = axes[i];
    if (!mp_axis(c, &axis, s.rank)) return;
    drop[axis] = true;
  }
  for (int i = 0; i < s.rank; i++)
    if (!(n ? drop[i] : true)) mp_shape_append(&r, s.dims[i]);
    else if (keep) mp_shape_append(&r, mp_num(1));
  mp_infer_set(c, 0, t, s.rank < 0 ? NULL : &r);
}

static const mp_op rows[] = {
  {"", "QuantizeLinear", 10, quantize},
  {"", "DequantizeLinear", 10, dequantize},
  {"", "DynamicQuantizeLinear", 11, dynamic_quantize},
  {"com.microsoft", "QuantizeLinear", 1, quantize},
  {"com.microsoft", "DequantizeLinear", 1, dequantize},
  {"com.microsoft", "QLinearAdd", 1, binary},
  {"com.microsoft", "QLinearMul", 1, binary},
  {"com.microsoft", "QLinearWhere", 1, where},
  {"com.microsoft", "QLinearConcat", 1, concat},
  {"com.microsoft", "QLinearReduceMean", 1, reduce},
  {"com.microsoft", "ReduceSumInteger", 1, reduce},
  {"com.microsoft", "QLinearLeakyRelu", 1, mp_rule_same},
  {"com.microsoft", "QLinearSigmoid", 1, mp_rule_same},
  {"com.microsoft", "QLinearSoftmax", 1, mp_rule_same},
};
const mp_op_table mp_ops_quant = {rows, sizeof rows / sizeof *rows};
