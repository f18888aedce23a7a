/* com.microsoft: fused and quantized products, activations, dropout, and the small operators that ONNX Runtime adds to the standard ones.
 * Shapes and defaults: ONNX Runtime's ContribOperators.md. (Attention and its surroundings: shape_contrib.c.) */
#include "onnx/shape_tools.h"

/* ---- products ---- */

/* transBatchA: the rows stand on axis 0 and the batch behind it (m, batch ..., k) */
static void fused_matmul(mp_infer *c) {
  bool fa = mp_infer_int(c, "transA", 0) != 0, fb = mp_infer_int(c, "transB", 0) != 0;
  mp_rule_batched_product(c, mp_infer_int(c, "transBatchA", 0) != 0, mp_infer_int(c, "transBatchB", 0) != 0, fa, fb, mp_dtype_or(c, 1, 0));
}

static void product(mp_infer *c) { mp_rule_product(c, 0, 1, false, false, mp_infer_dtype(c, 0)); }
static void product_int32(mp_infer *c) { mp_rule_product(c, 0, 1, false, false, MP_INT32); }
static void product_scaled(mp_infer *c) { mp_rule_product(c, 0, 1, false, false, mp_dtype_or(c, 2, 3)); }
static void ordered_product(mp_infer *c) { mp_rule_product(c, 0, 2, false, false, mp_infer_dtype(c, 0)); }
static void gemm(mp_infer *c) { mp_rule_gemm(c, 0, 1, 2, mp_infer_dtype(c, 0)); }

static void gemm_float8(mp_infer *c) {
  int64_t t = mp_infer_int(c, "dtype", MP_FLOAT);
  mp_rule_gemm(c, 0, 1, 2, t > 0 && t < MP_DTYPES ? (mp_dtype)t : MP_FLOAT);
}

/* A, scale, zero, B, scale, zero, C, Y scale, Y zero: quantized again where a scale says how */
static void quantized_gemm(mp_infer *c) { mp_rule_gemm(c, 0, 3, 6, mp_infer_has(c, 8) ? mp_infer_dtype(c, 8) : mp_dtype_or(c, 1, 4)); }

MP_SIGNATURE(nbits, ".k -> .,@N ; .*k*@N")
MP_SIGNATURE(nbits_back, ".n -> .,@K ; .*n*@K")
MP_SIGNATURE(nbits_qkv, ".k -> .,@Nq .,@Nkv .,@Nkv .,k ; @Nkv*2+@Nq*.*k")
MP_SIGNATURE(nbits_mlp, ".k -> .,@N .,k ; .*k*@N*2")
MP_SIGNATURE(block_weight, ".k n_ -> .,n ; .*k*n")

/* weights quantized in blocks, stored as (N, K): transB 0 multiplies by them the other way around */
static void bnb4(mp_infer *c) {
  if (mp_infer_int(c, "transB", 1)) nbits(c);
  else nbits_back(c);
}

/* A, packed B, the shape (K, N) of B */
static void fp_q4(mp_infer *c) {
  uint32_t n = 0;
  const mp_int *shape = mp_infer_ints(c, 2, &n);
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  if (s.rank > 0) s.dims[s.rank - 1] = shape && n == 2 ? shape[1] : mp_int_unknown();
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank <= 0 ? NULL : &s);
  if (shape && n == 2 && s.rank > 0) mp_cost_macs(c, mp_sym_mul(c, mp_elements(c, &s), shape[0]), mp_num(0));
}

/* ---- activations, dropout ---- */

MP_SIGNATURE(split_gelu, ".d -> .,d/2")

static void bias_dropout(mp_infer *c) {
  mp_shape s;
  mp_infer_same(c, 0, 0);
  mp_infer_shape(c, 0, &s);
  if (mp_infer_wants(c, 1)) mp_infer_set(c, 1, MP_BOOL, s.rank < 0 ? NULL : &s);
}

/* one bit an element, in words of 32 */
static void bitmask_dropout(mp_infer *c) {
  mp_shape s;
  mp_infer_same(c, 0, 0);
  mp_infer_shape(c, 0, &s);
  mp_int words = mp_sym_ceil_div(c, mp_elements(c, &s), mp_num(32));
  if (mp_infer_wants(c, 1)) mp_infer_set_dims(c, 1, MP_UINT32, 1, &words);
}

static void skip_group_norm(mp_infer *c) {
  mp_infer_same(c, 0, 0);
  if (mp_infer_wants(c, 1)) mp_infer_same(c, 1, 0);
}

static void with_order(mp_infer *c) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  int64_t to = mp_infer_int(c, "to", MP_FLOAT);
  bool back = !strcmp(mp_infer_node(c)->type, "DequantizeWithOrder");
  mp_infer_set(c, 0, !back ? MP_INT8 : to > 0 && to < MP_DTYPES ? (mp_dtype)to : MP_FLOAT, s.rank < 0 ? NULL : &s);
}

/* ---- images, shapes, indices ---- */

static void crop_and_resize(mp_infer *c) {
  uint32_t n = 0;
  const mp_int *size = mp_infer_ints(c, 3, &n), none = mp_int_unknown();
  bool known = size && n == 2;
  if (!known) mp_infer_depends(c, 3, "the contents");
  mp_int rois = mp_infer_rank(c, 1) > 0 ? mp_infer_dim(c, 1, 0) : none, channels = mp_infer_rank(c, 0) == 4 ? mp_infer_dim(c, 0, 1) : none;
  mp_infer_set_dims(c, 0, mp_infer_dtype(c, 0), 4, (mp_int[]){rois, channels, known ? size[0] : none, known ? size[1] : none});
}

static void expand_dims(mp_infer *c) {
  mp_shape s;
  int64_t axis = 0;
  mp_infer_shape(c, 0, &s);
  mp_infer_no_cost(c);
  if (s.rank < 0 || s.rank >= MP_MAX_RANK || !mp_scalar_int(c, 1, &axis)) {
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), NULL);
    return;
  }
  if (!mp_axis(c, &axis, s.rank + 1)) return;
  memmove(&s.dims[axis + 1], &s.dims[axis], (size_t)(s.rank - axis) * sizeof *s.dims);
  s.dims[axis] = mp_num(1);
  s.rank++;
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &s);
}

static void pad(mp_infer *c) {
  mp_shape s;
  uint32_t n = 0;
  const mp_int *pads = mp_infer_ints(c, 1, &n);
  mp_infer_shape(c, 0, &s);
  bool known = pads && s.rank >= 0 && n == 2 * (uint32_t)s.rank;
  for (int i = 0; i < s.rank; i++) s.dims[i] = known ? mp_sym_add(c, s.dims[i], mp_sym_add(c, pads[i], pads[s.rank + i])) : mp_int_unknown();
  if (!known) mp_infer_depends(c, 1, "the contents");
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank < 0 ? NULL : &s);
  mp_infer_no_cost(c);
}

static void range(mp_infer *c) {
  mp_int first = mp_scalar_dim(c, 0), limit = mp_scalar_dim(c, 1), step = mp_infer_has(c, 2) ? mp_scalar_dim(c, 2) : mp_num(1);
  bool sound = mp_int_is_number(step) && step.n != 0;
  mp_int n = sound ? mp_sym_max(c, mp_sym_ceil_div(c, mp_sym_sub(c, limit, first), step), mp_num(0)) : mp_int_unknown();
  mp_infer_set_dims(c, 0, mp_infer_dtype(c, 0), 1, &n);
  if (mp_int_is_unknown(n)) mp_infer_depends(c, 1, "the contents");
}

/* indices (..., k) select along the first k axes */
static void gather_nd(mp_infer *c) {
  mp_shape data, index;
  mp_infer_shape(c, 0, &data);
  mp_infer_shape(c, 1, &index);
  mp_int k = index.rank > 0 ? index.dims[index.rank - 1] : mp_int_unknown();
  if (data.rank < 0 || index.rank <= 0 || !mp_int_is_number(k) || k.n > data.rank) {
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), NULL);
    return;
  }
  index.rank--;
  for (int i = (int)k.n; i < data.rank; i++) mp_shape_append(&index, data.dims[i]);
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), index.rank < 0 ? NULL : &index);
  mp_infer_no_cost(c);
}

/* Gather from data quantized in blocks; data of small integers in bytes holds several in each of the last axis */
static void gather_quantized(mp_infer *c) {
  mp_shape data, index, out = {.rank = 0};
  int64_t axis = mp_infer_int(c, "gather_axis", 0), bits = mp_infer_int(c, "bits", 4);
  mp_infer_shape(c, 0, &data);
  mp_infer_shape(c, 1, &index);
  if (data.rank < 0 || index.rank < 0) {
    mp_infer_set(c, 0, mp_infer_dtype(c, 2), NULL);
    return;
  }
  if (!mp_axis(c, &axis, data.rank)) return;
  bool packed = mp_infer_dtype(c, 0) == MP_UINT8 && bits > 0 && bits < 8 && 8 % bits == 0;
  if (packed) data.dims[data.rank - 1] = mp_mul_n(c, data.dims[data.rank - 1], 8 / bits);
  for (int i = 0; i < data.rank; i++)
    if (i != axis) mp_shape_append(&out, data.dims[i]);
    else
      for (int k = 0; k < index.rank; k++) mp_shape_append(&out, index.dims[k]);
  mp_infer_set(c, 0, mp_infer_dtype(c, 2), out.rank < 0 ? NULL : &out);
  mp_infer_no_cost(c);
}

/* windows of `size` along an axis, `step` apart, as a new last axis */
static void unfold(mp_infer *c) {
  mp_shape s;
  int64_t axis = mp_infer_int(c, "dim", -1), size = mp_infer_int(c, "size", 0), step = mp_infer_int(c, "step", 1);
  mp_infer_shape(c, 0, &s);
  if (s.rank < 0 || !mp_axis(c, &axis, s.rank)) return;
  if (size < 1 || step < 1) {
    mp_infer_bad(c, "size and step must be positive");
    return;
  }
  s.dims[axis] = mp_add_n(c, mp_sym_div(c, mp_add_n(c, s.dims[axis], -size), mp_num(step)), 1);
  mp_shape_append(&s, mp_num(size));
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank < 0 ? NULL : &s);
}

static void torch_embedding(mp_infer *c) {
  mp_shape s;
  mp_infer_shape(c, 1, &s);
  mp_shape_append(&s, mp_infer_rank(c, 0) == 2 ? mp_infer_dim(c, 0, 1) : mp_int_unknown());
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank < 0 ? NULL : &s);
  mp_infer_no_cost(c);
}

static void unique(mp_infer *c) {
  mp_int n = mp_int_unknown();
  for (int o = 0; o < 3; o++) {
    mp_shape all = {.rank = 1};
    mp_shape s;
    mp_infer_shape(c, 0, &s);
    all.dims[0] = o == 1 ? mp_elements(c, &s) : n;
    if (mp_infer_wants(c, o)) mp_infer_set(c, o, o ? MP_INT64 : mp_infer_dtype(c, 0), &all);
  }
  mp_infer_depends(c, 0, "the contents");
}

static void mul_integer(mp_infer *c) {
  mp_shape a, b, r;
  bool zero = mp_infer_ins(c) == 4; /* A, its zero point, B, its zero point */
  mp_infer_shape(c, 0, &a);
  mp_infer_shape(c, zero ? 2 : 1, &b);
  bool known = a.rank >= 0 && b.rank >= 0;
  if (known && !mp_shape_broadcast(c, &a, &b, &r)) return;
  mp_infer_set(c, 0, MP_INT32, known ? &r : NULL);
}

MP_SIGNATURE(distances, "md nd -> m,n")
MP_SIGNATURE(warping, "_ -> 2,?:i")
MP_SIGNATURE(word_conv, ".w e -> .,e:1")
MP_SIGNATURE(ngram_block, "_ . -> .:1")
MP_SIGNATURE(bifurcation, "_ _ _ -> ?:0 ():2")

/* the text says how large: the bytes, the dims and the strides of what was quantized */
static void quantize_bfp(mp_infer *c) {
  mp_int rank = mp_infer_rank(c, 0) < 0 ? mp_int_unknown() : mp_num(mp_infer_rank(c, 0)), n = mp_int_unknown();
  mp_infer_set_dims(c, 0, MP_UINT8, 1, &n);
  for (int o = 1; o < 3; o++) mp_infer_set_dims(c, o, MP_INT64, 1, &rank);
}

/* bytes, the dims of what they were, the strides */
static void dequantize_bfp(mp_infer *c) {
  uint32_t n = 0;
  const mp_int *dims = mp_infer_ints(c, 1, &n);
  int64_t t = mp_infer_int(c, "dtype", MP_FLOAT);
  mp_shape s = {.rank = dims && n <= MP_MAX_RANK ? 0 : -1};
  for (uint32_t i = 0; i < n && s.rank >= 0; i++) mp_shape_append(&s, dims[i]);
  if (s.rank < 0) mp_infer_depends(c, 1, "the contents");
  mp_infer_set(c, 0, t > 0 && t < MP_DTYPES ? (mp_dtype)t : MP_FLOAT, s.rank < 0 ? NULL : &s);
}

MP_SIGNATURE(gather_packed, "_ . -> .,@K:@output_dtype")

#define MS "com.microsoft"
static const mp_op rows[] = {
  {MS, "FusedMatMul", 1, fused_matmul},
  {MS, "FusedMatMulActivation", 1, fused_matmul},
  {MS, "TransposeMatMul", 1, fused_matmul},
  {MS, "TransposeScaleMatMul", 1, fused_matmul},
  {MS, "SparseToDenseMatMul", 1, fused_matmul},
  {MS, "MatMulPacked", 1, product},
  {MS, "GemmFastGelu", 1, product},
  {MS, "DynamicQuantizeMatMul", 1, product},
  {MS, "MatMulIntegerToFloat", 1, product_scaled},
  {MS, "MatMulInteger16", 1, product_int32},
  {MS, "QOrderedMatMul", 1, ordered_product},
  {MS, "FusedGemm", 1, gemm},
  {MS, "GemmFloat8", 1, gemm_float8},
  {MS, "QGemm", 1, quantized_gemm},
  {MS, "MatMulNBits", 1, nbits},
  {MS, "MatMulNBitsQLoRA", 1, nbits},
  {MS, "MatMulNBitsQkv", 1, nbits_qkv},
  {MS, "MatMulNBitsMlp", 1, nbits_mlp},
  {MS, "MatMulBnb4", 1, bnb4},
  {MS, "MatMulFpQ4", 1, fp_q4},
  {MS, "MatMulBlockQuantizedFp8Weight", 1, block_weight},
  {MS, "MatMulBlockQuantizedFp4Weight", 1, block_weight},
  {MS, "Gelu", 1, mp_rule_same},
  {MS, "FastGelu", 1, mp_rule_same},
  {MS, "BiasGelu", 1, mp_rule_same},
  {MS, "AddGeluFusion", 1, mp_rule_broadcast},
  {MS, "QuickGelu", 1, mp_rule_same},
  {MS, "BiasSplitGelu", 1, split_gelu},
  {MS, "BiasAdd", 1, mp_rule_same},
  {MS, "BiasSoftmax", 1, mp_rule_same},
  {MS, "BiasDropout", 1, bias_dropout},
  {MS, "BitmaskDropout", 1, bitmask_dropout},
  {MS, "BitmaskBiasDropout", 1, bitmask_dropout},
  {MS, "GroupNorm", 1, mp_rule_same},
  {MS, "SkipGroupNorm", 1, skip_group_norm},
  {MS, "QOrderedGelu", 1, mp_rule_same},
  {MS, "QOrderedLayerNormalization", 1, mp_rule_same},
  {MS, "QOrderedAttention", 1, mp_rule_same},
  {MS, "QuantizeWithOrder", 1, with_order},
  {MS, "DequantizeWithOrder", 1, with_order},
  {MS, "QuantizeBFP", 1, quantize_bfp},
  {MS, "DequantizeBFP", 1, dequantize_bfp},
  {MS, "GatherPacked", 1, gather_packed},
  {MS, "Inverse", 1, mp_rule_same},
  {MS, "ComplexMul", 1, mp_rule_broadcast},
  {MS, "ComplexMulConj", 1, mp_rule_broadcast},
  {MS, "CDist", 1, distances},
  {MS, "CropAndResize", 1, crop_and_resize},
  {MS, "DynamicTimeWarping", 1, warping},
  {MS, "ExpandDims", 1, expand_dims},
  {MS, "GatherBlockQuantized", 1, gather_quantized},
  {MS, "GatherND", 1, gather_nd},
  {MS, "MulInteger", 1, mul_integer},
  {MS, "NGramRepeatBlock", 1, ngram_block},
  {MS, "Pad", 1, pad},
  {MS, "Range", 1, range},
  {MS, "SampleOp", 1, mp_rule_same},
  {MS, "TorchEmbedding", 1, torch_embedding},
  {MS, "Trilu", 1, mp_rule_same},
  {MS, "UnfoldTensor", 1, unfold},
  {MS, "Unique", 1, unique},
  {MS, "WordConvEmbedding", 1, word_conv},
  {MS, "BifurcationDetector", 1, bifurcation},
};
const mp_op_table mp_ops_fused = {rows, sizeof rows / sizeof *rows};
