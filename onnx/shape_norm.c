/* Normalizations, activations and dropout: the result has its input's shape; what differs is the statistics and masks beside it. */
#include "onnx/shape_tools.h"

/* Output o: input 0's dims with those from `axis` on made 1: one figure for each normalized row. */
static void statistic(mp_infer *c, int o, mp_dtype t, int64_t axis) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  if (o >= mp_infer_outs(c) || !mp_infer_wants(c, o)) return;
  if (s.rank >= 0 && !mp_axis(c, &axis, s.rank)) return;
  for (int64_t i = axis; s.rank >= 0 && i < s.rank; i++) s.dims[i] = mp_num(1); /* an axis below 0 is checked only where the rank is known */
  mp_infer_set(c, o, t, s.rank < 0 ? NULL : &s);
}

static mp_dtype stash(mp_infer *c) {
  int64_t t = mp_infer_int(c, "stash_type", MP_FLOAT);
  return t > 0 && t < MP_DTYPES ? (mp_dtype)t : MP_FLOAT;
}

/* outputs: result, mean, inverse deviation */
static void layer_norm(mp_infer *c) {
  mp_infer_same(c, 0, 0);
  for (int o = 1; o < 3; o++) statistic(c, o, stash(c), mp_infer_int(c, "axis", -1));
}

/* The result takes the scale's type; outputs: result, inverse deviation (ONNX Runtime's SimplifiedLayerNormalization). */
static void rms_norm(mp_infer *c) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  mp_infer_set(c, 0, mp_dtype_or(c, 1, 0), s.rank < 0 ? NULL : &s);
  statistic(c, 1, stash(c), mp_infer_int(c, "axis", -1));
}

/* Result, and running (and until opset 8 saved) statistics: as many as the mean, input 3, has, one a channel. */
static void batch_norm(mp_infer *c) {
  mp_infer_same(c, 0, 0);
  mp_shape s;
  for (int o = 1; o < mp_infer_outs(c); o++) {
    int in = 3 + (o - 1) % 2;
    mp_infer_shape(c, in, &s);
    if (s.rank < 0 && mp_infer_rank(c, 0) >= 2) s.rank = 1, s.dims[0] = mp_infer_dim(c, 0, 1);
    if (mp_infer_wants(c, o)) mp_infer_set(c, o, mp_dtype_or(c, in, 0), s.rank < 0 ? NULL : &s);
  }
}

/* result, mask; until opset 9 the mask had the data's type */
static void dropout(mp_infer *c) {
  mp_infer_same(c, 0, 0);
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  bool own = !*mp_infer_node(c)->domain && mp_infer_opset(c) < 10;
  if (mp_infer_outs(c) > 1 && mp_infer_wants(c, 1)) mp_infer_set(c, 1, own ? mp_infer_dtype(c, 0) : MP_BOOL, s.rank < 0 ? NULL : &s);
}

static const mp_op rows[] = {
  {"", "BatchNormalization", 1, batch_norm},
  {"", "InstanceNormalization", 1, mp_rule_same},
  {"", "LayerNormalization", 1, layer_norm},
  {"", "GroupNormalization", 18, mp_rule_same},
  {"", "RMSNormalization", 23, rms_norm},
  {"", "SimplifiedLayerNormalization", 1, rms_norm},
  {"com.microsoft", "SimplifiedLayerNormalization", 1, rms_norm},
  {"com.microsoft", "LayerNormalization", 1, layer_norm},
  {"", "LpNormalization", 1, mp_rule_same},
  {"", "MeanVarianceNormalization", 1, mp_rule_same},
  {"", "LRN", 1, mp_rule_same},
  {"", "Dropout", 1, dropout},
  {"", "Softmax", 1, mp_rule_same},
  {"", "LogSoftmax", 1, mp_rule_same},
  {"", "Hardmax", 1, mp_rule_same},
  {"", "Relu", 1, mp_rule_same},
  {"", "LeakyRelu", 1, mp_rule_same},
  {"", "PRelu", 1, mp_rule_same},
  {"", "ThresholdedRelu", 1, mp_rule_same},
  {"", "Elu", 1, mp_rule_same},
  {"", "Celu", 1, mp_rule_same},
  {"", "Selu", 1, mp_rule_same},
  {"", "Gelu", 1, mp_rule_same},
  {"", "Mish", 1, mp_rule_same},
  {"", "Swish", 1, mp_rule_same},
  {"", "SwiGLU", 28, mp_rule_same},
  {"", "Sigmoid", 1, mp_rule_same},
  {"", "HardSigmoid", 1, mp_rule_same},
  {"", "HardSwish", 1, mp_rule_same},
  {"", "Softplus", 1, mp_rule_same},
  {"", "Softsign", 1, mp_rule_same},
  {"", "Shrink", 1, mp_rule_same},
  {"", "Affine", 1, mp_rule_same},
  {"", "ImageScaler", 1, mp_rule_same},
  {"", "ParametricSoftplus", 1, mp_rule_same},
  {"", "Scale", 1, mp_rule_same},
  {"", "ScaledTanh", 1, mp_rule_same},
};
const mp_op_table mp_ops_norm = {rows, sizeof rows / sizeof *rows};
