/* ONNX Runtime's training graphs: gradients of operators, accumulation, optimizers. A gradient has the shape of what it is the gradient of. */
#include "onnx/shape_tools.h"

#define SAME(name, ...)                                                                                       \
  static void name(mp_infer *c) {                                                                             \
    static const int from[] = {__VA_ARGS__};                                                                  \
    for (int o = 0; o < (int)(sizeof from / sizeof *from); o++)                                               \
      if (mp_infer_wants(c, o) && from[o] >= 0) mp_infer_same(c, o, from[o]);                                 \
  }

SAME(layer_norm_grad, 1, 2, 2)      /* dY, X, scale, mean, deviation -> dX, dscale, dbias */
SAME(simplified_norm_grad, 1, 2)    /* dY, X, scale, deviation -> dX, dscale */
SAME(batch_norm_grad, 1, 2, 2)      /* dY, X, scale, mean, variance -> dX, dscale, dbias */
SAME(adam_optimizer, 1, 4, 5, 2, 3) /* rate, count, W, G, M1, M2 -> count, M1, M2, W, G */
SAME(sgd_optimizer, 1, 2)           /* rate, W, G -> W, G */
SAME(second, 1)

/* dY, X, W -> dX, dW, db: each of dX and dW costs what the forward product does */
static void conv_grad(mp_infer *c) {
  mp_shape dy, w;
  mp_infer_shape(c, 0, &dy);
  mp_infer_shape(c, 2, &w);
  if (mp_infer_wants(c, 0)) mp_infer_same(c, 0, 1);
  if (mp_infer_wants(c, 1)) mp_infer_same(c, 1, 2);
  if (mp_infer_wants(c, 2) && w.rank > 0) mp_infer_set_dims(c, 2, mp_infer_dtype(c, 0), 1, w.dims);
  mp_int each = mp_sym_mul(c, mp_elements(c, &dy), w.rank > 1 ? mp_shape_elements(c, &w, 1, w.rank) : mp_int_unknown());
  mp_cost_macs(c, mp_mul_n(c, each, mp_infer_wants(c, 0) + mp_infer_wants(c, 1)), mp_num(0));
}

/* dY (or its absence: the loss is reduced to one number), log probabilities, labels; without dY the log probabilities come first */
static void loss_grad(mp_infer *c) {
  bool bare = mp_infer_ins(c) == 2;
  mp_infer_same(c, 0, bare ? 0 : 1);
}

/* output 0 has the dims that are the contents of input i, dtype of input t */
static void from_contents(mp_infer *c, int i, int t) {
  uint32_t n = 0;
  const mp_int *dims = mp_infer_ints(c, i, &n);
  if (dims && n <= MP_MAX_RANK) {
    mp_shape s = {.rank = 0};
    for (uint32_t k = 0; k < n; k++) mp_shape_append(&s, dims[k]);
    mp_infer_set(c, 0, mp_infer_dtype(c, t), &s);
    return;
  }
  mp_int rank = mp_infer_rank(c, i) == 1 ? mp_infer_dim(c, i, 0) : mp_int_unknown();
  mp_shape s = {.rank = mp_int_is_number(rank) && rank.n <= MP_MAX_RANK ? (int)rank.n : -1};
  for (int k = 0; k < s.rank; k++) s.dims[k] = mp_int_unknown();
  mp_infer_set(c, 0, mp_infer_dtype(c, t), s.rank < 0 ? NULL : &s);
  mp_infer_depends(c, i, "the contents");
}

static void shape_first(mp_infer *c) { from_contents(c, 0, 2); }  /* shape, indices, dY */
static void shape_second(mp_infer *c) { from_contents(c, 1, 0); } /* dY, shape, ... */

/* concatenation, and the length of each input along the axis */
static void concat_training(mp_infer *c) {
  mp_shape s, part;
  int64_t axis = mp_infer_int(c, "axis", 0);
  mp_infer_shape(c, 0, &s);
  if (s.rank >= 0 && !mp_axis(c, &axis, s.rank)) return;
  mp_int lengths[64], n = mp_num(mp_infer_ins(c));
  for (int i = 0; i < mp_infer_ins(c); i++) {
    mp_infer_shape(c, i, &part);
    bool clash = s.rank >= 0 && part.rank >= 0 && part.rank != s.rank;
    if (part.rank < 0) s.rank = -1;
    if (i < 64) lengths[i] = s.rank < 0 || clash ? mp_int_unknown() : part.dims[axis];
    for (int k = 0; k < s.rank && i && !clash; k++)
      s.dims[k] = k == axis ? mp_sym_add(c, s.dims[k], part.dims[k]) : mp_dim_unify(s.dims[k], part.dims[k], &clash);
    if (!clash) continue;
    mp_infer_bad(c, "the parts do not fit together");
    return;
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank < 0 ? NULL : &s);
  if (mp_infer_wants(c, 1)) {
    mp_infer_set_dims(c, 1, MP_INT64, 1, &n);
    if (n.n <= 64) mp_infer_set_ints(c, 1, lengths, (uint32_t)n.n);
  }
  mp_infer_no_cost(c);
  /* small vectors are shapes: their contents go along */
  mp_int all[64];
  uint32_t have = 0, k = 0;
  for (int i = 0; i < mp_infer_ins(c) && s.rank == 1; i++) {
    const mp_int *at = mp_infer_ints(c, i, &have);
    if (!at || k + have > 64) return;
    for (uint32_t j = 0; j < have; j++) all[k++] = at[j];
  }
  if (s.rank == 1) mp_infer_set_ints(c, 0, all, k);
}

/* Two shapes -> the axes, from the last on, over which each one's gradient is summed after broadcasting. */
static void broadcast_axes(mp_infer *c) {
  uint32_t n[2] = {0, 0}, count[2] = {0, 0};
  const mp_int *shape[2] = {mp_infer_ints(c, 0, &n[0]), mp_infer_ints(c, 1, &n[1])};
  mp_int axes[2][MP_MAX_RANK], open = mp_int_unknown(), one = mp_num(1);
  bool sure = shape[0] && shape[1] && n[0] <= MP_MAX_RANK && n[1] <= MP_MAX_RANK;
  uint32_t rank = n[0] > n[1] ? n[0] : n[1];
  for (uint32_t back = 1; sure && back <= rank; back++) {
    mp_int axis = mp_num((int64_t)rank - back);
    if (back > n[0] || back > n[1]) {
      int shorter = back > n[0] ? 0 : 1;
      axes[shorter][count[shorter]++] = axis;
      continue;
    }
    mp_int a = shape[0][n[0] - back], b = shape[1][n[1] - back];
    if (mp_sym_equal(a, b)) continue;
    int ones = mp_sym_equal(a, one) ? 0 : mp_sym_equal(b, one) ? 1 : -1;
    sure = ones >= 0 && mp_sym_compare(c, ones ? a : b, one) != 2; /* the other is surely not 1 */
    if (sure && mp_sym_compare(c, ones ? a : b, one) != 0) axes[ones][count[ones]++] = axis;
  }
  for (int o = 0; o < 2; o++) {
    mp_int length = mp_num(count[o]);
    if (!mp_infer_wants(c, o)) continue;
    mp_infer_set_dims(c, o, MP_INT64, 1, sure ? &length : &open);
    if (sure) mp_infer_set_ints(c, o, axes[o], count[o]);
  }
  if (!sure) mp_infer_depends(c, 0, "the contents");
  mp_infer_no_cost(c);
}

/* old sum, value, reset -> updated (1) */
MP_SIGNATURE(accumulated, ". -> 1:b .:0")
/* rate, count, sequences of tensors -> updated (1) and the sequences */
static void multi_tensor(mp_infer *c) {
  mp_int one = mp_num(1);
  mp_infer_set_dims(c, 0, mp_infer_ins(c) == 6 ? MP_INT64 : MP_BOOL, 1, &one);
  for (int o = 1; o < mp_infer_outs(c); o++) {
    int i = o == 1 ? 2 : o + 2;
    if (mp_infer_wants(c, o) && mp_infer_has(c, i)) mp_infer_same(c, o, i);
  }
}

MP_SIGNATURE(scalar_bool, "_ -> ():b")
MP_SIGNATURE(scalar, "_ -> ():f")
MP_SIGNATURE(bool_same, ". -> .:b")

/* signal, remote -> signal, tensors of the types listed, whose shapes only the sender knows */
static void receive(mp_infer *c) {
  uint32_t n = 0;
  const int64_t *types = mp_infer_attr_ints(c, "element_types", &n);
  mp_infer_set_scalar(c, 0, MP_BOOL);
  for (int o = 1; o < mp_infer_outs(c); o++)
    mp_infer_set(c, o, types && (uint32_t)o <= n && types[o - 1] > 0 && types[o - 1] < MP_DTYPES ? (mp_dtype)types[o - 1] : MP_UNDEFINED, NULL);
  mp_infer_depends(c, 0, "the sender");
  mp_infer_no_cost(c);
}

/* What the outer framework hands back for each module output is its gradient: the same shape where full_shape_outputs lists it. */
static void yield_op(mp_infer *c) {
  uint32_t n = 0;
  const int64_t *full = mp_infer_attr_ints(c, "full_shape_outputs", &n);
  for (uint32_t i = 0; i < n; i++)
    if (full[i] >= 0 && full[i] < mp_infer_outs(c) && full[i] < mp_infer_ins(c)) mp_infer_same(c, (int)full[i], (int)full[i]);
  for (int o = 0; o < mp_infer_outs(c) && o < mp_infer_ins(c); o++)
    if (!n) mp_infer_same(c, o, o);
  mp_infer_no_cost(c);
}

#define MS "com.microsoft"
static const mp_op rows[] = {
  {MS, "AdamOptimizer", 1, adam_optimizer},
  {MS, "AdamWOptimizer", 1, multi_tensor},
  {MS, "BatchNormalizationGrad", 1, batch_norm_grad},
  {MS, "BiasFastGeluGrad_dX", 1, mp_rule_same},
  {MS, "BiasGeluGrad_dX", 1, mp_rule_same},
  {MS, "BitmaskDropoutGrad", 1, mp_rule_same},
  {MS, "BroadcastGradientArgs", 1, broadcast_axes},
  {MS, "ConcatTraining", 1, concat_training},
  {MS, "ConvGrad", 1, conv_grad},
  {"", "ConvGrad", 9, conv_grad},
  {MS, "DropoutGrad", 1, mp_rule_same},
  {MS, "EluGrad", 1, mp_rule_same},
  {MS, "FakeQuantGrad", 1, mp_rule_same},
  {MS, "FastGeluGrad", 1, mp_rule_same},
  {MS, "GatherElementsGrad", 1, shape_second},
  {MS, "GatherGrad", 1, shape_first},
  {MS, "GatherNDGrad", 1, shape_first},
  {MS, "GeluGrad", 1, mp_rule_same},
  {"", "GeluGrad", 1, mp_rule_same},
  {MS, "InPlaceAccumulator", 1, mp_rule_same},
  {MS, "InPlaceAccumulatorV2", 1, accumulated},
  {MS, "InvertibleLayerNormalizationGrad", 1, layer_norm_grad},
  {MS, "IsAllFinite", 1, scalar_bool},
  {MS, "IsFinite", 1, bool_same},
  {MS, "LayerNormalizationGrad", 1, layer_norm_grad},
  {MS, "LeakyReluGrad", 1, mp_rule_same},
  {MS, "LogSoftmaxGrad", 1, mp_rule_same},
  {MS, "LogSoftmaxGrad_13", 1, mp_rule_same},
  {MS, "QuickGeluGrad", 1, mp_rule_same},
  {MS, "Recv", 1, receive},
  {MS, "ReduceAllL2", 1, scalar},
  {MS, "ReluGrad", 1, mp_rule_same},
  {MS, "Scale", 1, mp_rule_same},
  {MS, "Send", 1, scalar_bool},
  {MS, "SGDOptimizer", 1, sgd_optimizer},
  {MS, "SGDOptimizerV2", 1, multi_tensor},
  {MS, "SigmoidGrad", 1, mp_rule_same},
  {MS, "SimplifiedLayerNormalizationGrad", 1, simplified_norm_grad},
  {MS, "SliceGrad", 1, shape_second},
  {MS, "SoftmaxCrossEntropyLossGrad", 1, loss_grad},
  {MS, "SoftmaxCrossEntropyLossInternalGrad", 1, loss_grad},
  {MS, "SoftmaxGrad", 1, mp_rule_same},
  {MS, "SoftmaxGrad_13", 1, mp_rule_same},
  {MS, "TanhGrad", 1, mp_rule_same},
  {MS, "YieldOp", 1, yield_op},
  {MS, "ZeroGradient", 1, mp_rule_same},
  {MS, "NegativeLogLikelihoodLossGrad", 1, second},
};
const mp_op_table mp_ops_grad = {rows, sizeof rows / sizeof *rows};
