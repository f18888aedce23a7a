/* Attention: F.scaled_dot_product_attention and the kernel that a run picks for it.
 *
 * Which kernel: aten/src/ATen/native/transformers/cuda/sdp_utils.cpp as a recent GPU answers it: flash for half without a mask, memory-efficient otherwise; the run may force one.
 * What the kernels make: torch/_meta_registrations.py, meta__scaled_dot_product_{flash,efficient}_attention and their backwards. */
#include <string.h>

#include "planner/calls.h"
#include "planner/em.h"

typedef struct sdpa {
  mp_ten q, k, v, mask;
  double p;
  bool causal, grouped;
} sdpa;

/* ---- backward ---- */

static mp_ten by_rows(mp_em *e, const char *op, const mp_tensor_info *x) { /* (B, h, S, d) laid out as (B, S, h, d) */
  const int64_t rows[] = {x->dims[0], x->dims[2], x->dims[1], x->dims[3]};
  int64_t c[4];
  mp_strides_contiguous(4, rows, c);
  return mp_em_new_strided(e, op, x->dtype, 4, x->dims, (int64_t[]){c[0], c[2], c[1], c[3]});
}

/* fp32: the kernel does not compute delta, grad_out * out is a full temporary (attention_backward.cu, _efficient_attention_backward) */
static void back_efficient(mp_em *e, mp_bw *b) {
  static const char op[] = "aten::_scaled_dot_product_efficient_attention_backward";
  mp_tensor_info q = *mp_bw_input(b, 0), k = *mp_bw_input(b, 1), v = *mp_bw_input(b, 2);
  uint64_t rows = (uint64_t)(q.dims[0] * q.dims[1] * q.dims[2]);
  mp_em_scratch(e, op, (q.dtype == MP_FLOAT ? rows * (uint64_t)q.dims[3] * 4 : 0) + rows * 4);
  mp_bw_give(b, 0, by_rows(e, op, &q));
  mp_bw_give(b, 1, by_rows(e, op, &k));
  mp_bw_give(b, 2, by_rows(e, op, &v));
  if (!mp_bw_wants(b, 3)) return;
  mp_tensor_info m = *mp_bw_input(b, 3);
  int64_t last = m.dims[m.rank - 1], full[MP_RANK];
  memcpy(full, m.dims, sizeof full);
  full[m.rank - 1] = (last + 15) / 16 * 16;
  mp_ten bias = mp_em_new(e, op, m.dtype, m.rank, full);
  mp_bw_give(b, 3, full[m.rank - 1] == last ? bias : mp_op_slice(e, bias, -1, 0, last, 1));
}

/* fp32 dq accumulator and row sums, the head size rounded to 32 and rows to 128 (flash_api.cpp, mha_bwd) */
static void back_flash(mp_em *e, mp_bw *b) {
  static const char op[] = "aten::_scaled_dot_product_flash_attention_backward";
  mp_tensor_info q = *mp_bw_input(b, 0);
  uint64_t rows = (uint64_t)(q.dims[0] * q.dims[1]) * (uint64_t)((q.dims[2] + 127) / 128 * 128), d = (uint64_t)((q.dims[3] + 31) / 32 * 32);
  mp_em_scratch(e, op, rows * d * 4 + rows * 4);
  for (uint32_t i = 0; i < 3; i++) mp_bw_give(b, i, mp_em_new_like(e, op, mp_bw_saved(b, i)));
}

static const mp_grad grad_efficient = {"ScaledDotProductEfficientAttentionBackward0", back_efficient}, grad_flash = {"ScaledDotProductFlashAttentionBackward0", back_flash};

static mp_ten fused(mp_em *e, const mp_grad *row, const sdpa *s, const mp_ten *made, uint32_t n) {
  mp_ten in[] = {s->q, s->k, s->v, s->mask};
  for (uint32_t i = 1; i < n; i++) mp_em_set_what(e, made[i], MP_WHAT_STATISTICS);
  if (!mp_fn_begin(e, row, in, s->mask >= 0 ? 4 : 3)) return made[0];
  for (uint32_t i = 0; i < 4; i++) mp_fn_save(e, i, in[i]);
  for (uint32_t i = 0; i < n; i++) mp_fn_save(e, 4 + i, made[i]);
  mp_fn_output(e, made[0]);
  mp_fn_end(e);
  return made[0];
}

static mp_ten flash(mp_em *e, const sdpa *s) {
  static const char op[] = "aten::_scaled_dot_product_flash_attention";
  mp_tensor_info q = *mp_em_info(e, s->q);
  mp_ten made[4];
  made[0] = mp_em_new_like(e, op, s->q);
  made[1] = mp_em_new(e, op, MP_FLOAT, 3, q.dims);
  made[2] = mp_em_new(e, op, MP_UINT64, 1, (int64_t[]){2});
  made[3] = mp_em_scalar(e, op, MP_UINT64);
  return fused(e, &grad_flash, s, made, 4);
}

static mp_ten efficient(mp_em *e, const sdpa *s) {
  static const char op[] = "aten::_scaled_dot_product_efficient_attention";
  mp_tensor_info q = *mp_em_info(e, s->q);
  mp_ten made[4];
  q.dims[3] = mp_em_info(e, s->v)->dims[3];
  made[0] = by_rows(e, op, &q);
  made[1] = mp_em_new(e, op, MP_FLOAT, 3, (int64_t[]){q.dims[0], q.dims[1], mp_em_grad_enabled(e) ? (q.dims[2] + 31) / 32 * 32 : 0});
  made[2] = mp_em_scalar(e, op, MP_INT64);
  made[3] = mp_em_scalar(e, op, MP_INT64);
  return fused(e, &grad_efficient, s, made, 4);
}

/* aten/src/ATen/native/transformers/attention.cpp, _scaled_dot_product_attention_math: in float32 where the operands are in half precision */
static mp_ten math(mp_em *e, const sdpa *s) {
  mp_dtype t = mp_em_info(e, s->q)->dtype, wide = mp_is_half(t) ? MP_FLOAT : t;
  mp_ten q = mp_op_to(e, s->q, wide), k = mp_op_to(e, s->k, wide), v = mp_op_to(e, s->v, wide);
  k = mp_op_mul_scalar(e, mp_op_transpose(e, k, -2, -1), 1);
  mp_ten scores = mp_op_matmul(e, mp_op_mul_scalar(e, q, 1), k);
  if (s->causal) {
    mp_tensor_info i = *mp_em_info(e, scores);
    mp_ten triangle = mp_em_new(e, "aten::tril", i.dtype, 2, i.dims + i.rank - 2);
    scores = mp_op_add(e, scores, triangle);
  }
  if (s->mask >= 0) scores = mp_op_add(e, scores, s->mask);
  mp_ten w = mp_op_softmax(e, scores, -1, MP_UNDEFINED);
  return mp_op_to(e, mp_op_matmul(e, s->p > 0 ? mp_op_dropout(e, w, s->p) : w, v), t);
}

/* softmax(q k^T * scale + mask) v as models write it out: one scaling, after the product. Autocast has the softmax in float32, and the dropout with it. In pure half precision
 * decoders without dropout ask for float32 and go back (transformers: Llama's eager_attention_forward and its kin), others do not (BERT's, BART's, GPT-2's). */
static mp_ten written_out(mp_em *e, const sdpa *s) {
  mp_ten scores = mp_op_mul_scalar(e, mp_op_matmul(e, s->q, mp_op_transpose(e, s->k, -2, -1)), 1);
  if (s->mask >= 0) scores = mp_op_add(e, scores, s->mask);
  mp_dtype t = mp_em_info(e, scores)->dtype;
  bool wide = mp_em_is_autocast(e) || (s->p <= 0 && (s->causal || s->grouped));
  mp_ten w = mp_op_softmax(e, scores, -1, wide && mp_is_half(t) ? MP_FLOAT : MP_UNDEFINED);
  if (s->p > 0) w = mp_op_dropout(e, w, s->p);
  return mp_op_matmul(e, mp_op_to(e, w, t), s->v);
}

/* ---- the call ---- */

/* the efficient kernel takes a float mask whose rows are aligned to 8 elements */
static mp_ten prepared_mask(mp_em *e, mp_ten mask, const mp_tensor_info *q, const mp_tensor_info *k, bool expand) {
  if (mp_em_ranked(e, mask, 1)->dtype == MP_BOOL) {
    mp_tensor_info m = *mp_em_info(e, mask);
    size_t scope = mp_em_enter(e);
    mp_em_scalar(e, "aten::scalar_tensor", q->dtype); /* -inf and 0 */
    mp_em_scalar(e, "aten::scalar_tensor", q->dtype);
    mask = mp_em_leave1(e, scope, mp_em_new(e, "aten::where", q->dtype, m.rank, m.dims));
    mp_em_set_what(e, mask, MP_WHAT_MASK);
  }
  if (!expand) return mask;
  mp_tensor_info m = *mp_em_info(e, mask);
  bool odd = false;
  for (int i = 0; i + 1 < m.rank; i++) odd = odd || m.strides[i] % 8;
  if (odd) {
    int64_t last = m.dims[m.rank - 1];
    size_t scope = mp_em_enter(e);
    mp_ten padded = mp_constant_pad(e, mask, (int64_t[]){0, 8 - last % 8}, 2);
    mp_em_set_what(e, padded, MP_WHAT_MASK);
    mask = mp_em_leave1(e, scope, mp_op_slice(e, padded, -1, 0, last, 1));
  }
  return mp_op_expand(e, mask, 4, (int64_t[]){q->dims[0], q->dims[1], q->dims[2], k->dims[2]});
}

static mp_ten repeated(mp_em *e, mp_ten x, int64_t times) { /* repeat_interleave(times, dim=1) */
  mp_ten wide = mp_op_unsqueeze(e, x, 2);
  mp_tensor_info w = *mp_em_info(e, wide);
  w.dims[2] = times;
  mp_ten c = mp_op_clone(e, mp_op_expand(e, wide, w.rank, w.dims), true);
  return mp_op_view(e, c, 4, (int64_t[]){w.dims[0], mp_em_product(e, w.dims[1], times), w.dims[3], w.dims[4]});
}

typedef mp_ten kernel(mp_em *e, const sdpa *s);

static kernel *pick(mp_em *e, const sdpa *s, mp_dtype dtype) {
  bool half = dtype == MP_FLOAT16 || dtype == MP_BFLOAT16;
  switch (mp_em_run(e)->attention) {
    case MP_ATTN_WRITTEN_OUT: return written_out;
    case MP_ATTN_MATH: return math;
    case MP_ATTN_EFFICIENT: return efficient;
    default: return half && s->mask < 0 ? flash : efficient; /* flash has no fp32 and no mask, so it falls back as PyTorch does */
  }
}

/* scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa) */
static void scaled_dot_product_attention(mp_em *e) {
  size_t scope = mp_em_enter(e);
  sdpa s = {mp_c_ten(e, 0), mp_c_ten(e, 1), mp_c_ten(e, 2), mp_c_ten(e, 3), mp_c_float(e, 4, 0), mp_c_bool(e, 5, false), mp_c_bool(e, 7, false)};
  mp_dtype dtype = mp_em_is_autocast(e) ? mp_em_autocast_dtype(e) : mp_em_info(e, s.q)->dtype;
  kernel *run = pick(e, &s, dtype);
  int rank = mp_em_ranked(e, s.q, 2)->rank;
  int64_t heads = mp_em_info(e, s.q)->dims[1], kv = mp_em_ranked(e, s.k, rank)->dims[1];
  mp_em_ranked(e, s.v, rank);
  bool grouped = heads != kv && mp_c_bool(e, 7, false), one_kernel = run == flash || run == efficient;
  /* the fused kernels want (batch, heads, sequence, head size), and as many heads of each unless they are told to group them
   * (torch/include/ATen/native/transformers/sdp_utils_cpp.h, check_batch_size_and_num_heads_dense) */
  if (rank != 4 || (one_kernel && heads != kv && !grouped)) run = math;
  else if (grouped && kv && run != flash) {
    s.k = repeated(e, s.k, heads / kv);
    s.v = repeated(e, s.v, heads / kv);
  }
  s.q = mp_em_autocast(e, s.q, MP_CAST_HALF);
  s.k = mp_em_autocast(e, s.k, MP_CAST_HALF);
  s.v = mp_em_autocast(e, s.v, MP_CAST_HALF);
  mp_tensor_info q = *mp_em_info(e, s.q), k = *mp_em_info(e, s.k);
  if (s.mask >= 0) {
    if (mp_dtype_is_float(mp_em_info(e, s.mask)->dtype)) s.mask = mp_em_autocast(e, s.mask, MP_CAST_HALF);
    s.mask = prepared_mask(e, s.mask, &q, &k, run == efficient);
  }
  mp_ten out = run(e, &s);
  mp_c_out(e, 0, out);
  mp_em_leave(e, scope, NULL, 0);
}

static const mp_call_row rows[] = {
    {"aten::scaled_dot_product_attention", scaled_dot_product_attention, MP_CAST_NONE,
     "q, k, v, the output, log-sum-exp a row, seed and offset; the mask padded to rows of 8; math: the S x S tensors"},
};
const mp_call_table mp_calls_attention = {rows, sizeof rows / sizeof *rows};
