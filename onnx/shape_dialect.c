/* Operators that are in no published operator set but that published exporters write: integer networks (quantlib, Deeploy), arbitrary-precision
 * quantization (Brevitas, QONNX, FINN), Windows ML's debug probes, and com.microsoft operators written without their domain. */
#include "onnx/shape_tools.h"

/* attribute axes, keepdims */
static void mean(mp_infer *c) {
  mp_shape s, r = {.rank = 0};
  bool drop[MP_MAX_RANK] = {false}, keep = mp_infer_int(c, "keepdims", 1) != 0;
  uint32_t n = 0;
  const int64_t *axes = mp_infer_attr_ints(c, "axes", &n);
  mp_infer_shape(c, 0, &s);
  for (uint32_t i = 0; i < n && s.rank >= 0; i++) {
    int64_t axis = axes[i];
    if (!mp_axis(c, &axis, s.rank)) return;
    drop[axis] = true;
  }
  for (int i = 0; i < s.rank; i++)
    if (n && !drop[i]) mp_shape_append(&r, s.dims[i]);
    else if (keep) mp_shape_append(&r, mp_num(1));
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank < 0 ? NULL : &r);
}

static void microsoft(mp_infer *c) {
  const mp_op *op = mp_op_find("com.microsoft", mp_infer_node(c)->type, 1);
  if (op && op->rule != microsoft) op->rule(c);
}

/* A PyTorch operator kept as it is in ONNX Runtime's training graphs; the attribute names it. */
static void aten(mp_infer *c) {
  const char *name = mp_infer_string(c, "operator", "");
  mp_shape s;
  if (!strcmp(name, "embedding")) { /* weight, indices, ... */
    mp_infer_shape(c, 1, &s);
    mp_shape_append(&s, mp_infer_rank(c, 0) == 2 ? mp_infer_dim(c, 0, 1) : mp_int_unknown());
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank < 0 ? NULL : &s);
  } else if (!strcmp(name, "embedding_backward")) { /* gradient, indices, rows of the weight, ... */
    mp_int width = mp_infer_rank(c, 0) > 0 ? mp_infer_dim(c, 0, -1) : mp_int_unknown();
    mp_infer_set_dims(c, 0, mp_infer_dtype(c, 0), 2, (mp_int[]){mp_scalar_dim(c, 2), width});
  }
  mp_infer_no_cost(c);
}

static const mp_op rows[] = {
  {"org.pytorch.aten", "ATen", 1, aten},
  /* integer networks: the tensors keep their dims, their values are integers in a float's clothes */
  {"", "RequantShift", 1, mp_rule_same},
  {"", "TrueIntegerDiv", 1, mp_rule_same},
  {"", "IntegerDiv", 1, mp_rule_same},
  {"", "IntegerMean", 1, mean},
  {"", "ITAMax", 1, mp_rule_same},
  {"", "ITAPartialMax", 1, mp_rule_same},
  {"", "iGELU", 1, mp_rule_same},
  {"", "iHardswish", 1, mp_rule_same},
  {"", "iLayerNorm", 1, mp_rule_same},
  {"", "iLeakyReLU", 1, mp_rule_same},
  {"", "iNoNorm", 1, mp_rule_same},
  {"", "iRMSNorm", 1, mp_rule_same},
  {"", "iSoftmax", 1, mp_rule_same},
  {"", "RMSNorm", 1, mp_rule_same},
  {"", "SGD", 1, mp_rule_same},
  {"PACTOps", "RequantShift", 1, mp_rule_same},
  {"PACTOps", "IntegerDiv", 1, mp_rule_same},
  {"PACTOps", "IntegerMean", 1, mean},
  {"PACTOps", "iGELU", 1, mp_rule_same},
  {"PACTOps", "iLayerNorm", 1, mp_rule_same},
  {"PACTOps", "iSoftmax", 1, mp_rule_same},
  {"ai.onnx.contrib", "RequantShift", 1, mp_rule_same},
  /* arbitrary precision: values rounded, the shape stays */
  {"onnx.brevitas", "Quant", 1, mp_rule_same},
  {"onnx.brevitas", "BipolarQuant", 1, mp_rule_same},
  {"onnx.brevitas", "FloatQuant", 1, mp_rule_same},
  {"onnx.brevitas", "Trunc", 1, mp_rule_same},
  {"qonnx.custom_op.general", "Quant", 1, mp_rule_same},
  {"qonnx.custom_op.general", "BipolarQuant", 1, mp_rule_same},
  {"qonnx.custom_op.general", "FloatQuant", 1, mp_rule_same},
  {"qonnx.custom_op.general", "Trunc", 1, mp_rule_same},
  {"qonnx.custom_op.general", "MultiThreshold", 1, mp_rule_same},
  {"finn.custom_op.general", "MultiThreshold", 1, mp_rule_same},
  {"", "MXQuantizeDequantize", 1, mp_rule_same},
  {"", "Debug", 1, mp_rule_same},
  {"ai.onnx.contrib", "FastGelu", 1, mp_rule_same},
  /* com.microsoft without its domain */
  {"", "Attention", 1, microsoft}, /* until opset 23 */
  {"", "BiasGelu", 1, microsoft},
  {"", "FastGelu", 1, microsoft},
  {"", "FusedMatMul", 1, microsoft},
  {"", "GroupNorm", 1, microsoft},
  {"", "GroupQueryAttention", 1, microsoft},
  {"", "MatMulBnb4", 1, microsoft},
  {"", "MatMulIntegerToFloat", 1, microsoft},
  {"", "MatMulNBits", 1, microsoft},
  {"", "MultiHeadAttention", 1, microsoft},
  {"", "NhwcConv", 1, microsoft},
  {"", "QLinearAdd", 1, microsoft},
  {"", "QLinearAveragePool", 1, microsoft},
  {"", "QLinearConcat", 1, microsoft},
  {"", "QLinearGlobalAveragePool", 1, microsoft},
  {"", "QLinearLeakyRelu", 1, microsoft},
  {"", "QLinearMul", 1, microsoft},
  {"", "QLinearSigmoid", 1, microsoft},
  {"", "QuickGelu", 1, microsoft},
  {"", "RotaryEmbedding", 1, microsoft}, /* until opset 23 */
  {"", "SkipLayerNormalization", 1, microsoft},
  {"", "SkipSimplifiedLayerNormalization", 1, microsoft},
};
const mp_op_table mp_ops_dialect = {rows, sizeof rows / sizeof *rows};
