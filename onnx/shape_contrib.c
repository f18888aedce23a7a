/* com.microsoft: attention and what stands around it in fused transformers: caches, embeddings, rotary positions, decoding loops, experts.
 * Shapes and defaults: ONNX Runtime's ContribOperators.md. (Other fused operators: shape_fused.c.) */
#include "onnx/shape_tools.h"

static mp_int attr_dim(mp_infer *c, const char *name) { return mp_infer_has_attr(c, name) ? mp_num(mp_infer_int(c, name, 0)) : mp_int_unknown(); }

static mp_int per(mp_infer *c, mp_int whole, mp_int parts) {
  return mp_below(parts, 1) ? mp_int_unknown() : mp_sym_div(c, whole, parts);
}

static mp_int dim_of(mp_infer *c, int i, int rank, int axis) { return mp_infer_rank(c, i) == rank ? mp_infer_dim(c, i, axis) : mp_int_unknown(); }

static void put(mp_infer *c, int o, mp_dtype t, int rank, const mp_int *dims) {
  if (mp_infer_wants(c, o)) mp_infer_set_dims(c, o, t, rank, dims);
}

/* scores and weighted values: batch * queries * keys * (query hidden + value hidden); `more`: projections */
static void attention_cost(mp_infer *c, mp_int batch, mp_int queries, mp_int keys, mp_int hidden, mp_int heads, mp_int more) {
  mp_int pairs = mp_sym_mul(c, batch, mp_sym_mul(c, queries, keys));
  mp_cost_macs(c, mp_sym_add(c, mp_sym_mul(c, pairs, hidden), more), mp_sym_mul(c, pairs, heads));
}

/* ---- self-attention with its projection ---- */

/* input (batch, length, in), weights (in, q + k + v), past (2, batch, heads, past, size) -> output (batch, length, v), present */
static void projected(mp_infer *c, int past, mp_dtype t) {
  uint32_t n = 0;
  const int64_t *sizes = mp_infer_attr_ints(c, "qkv_hidden_sizes", &n);
  int rank = mp_infer_rank(c, 0);
  if (rank >= 0 && rank != 3) {
    mp_infer_bad(c, "the input has rank %d, expected batch, length, hidden", rank);
    return;
  }
  mp_int batch = dim_of(c, 0, 3, 0), length = dim_of(c, 0, 3, 1), in = dim_of(c, 0, 3, 2), all = dim_of(c, 1, 2, 1), heads = attr_dim(c, "num_heads");
  if (mp_int_is_unknown(all)) all = dim_of(c, 2, 1, 0);
  mp_int q = n == 3 ? mp_num(sizes[0]) : per(c, all, mp_num(3)), v = n == 3 ? mp_num(sizes[2]) : q;
  mp_int before = mp_infer_has(c, past) ? dim_of(c, past, 5, 3) : mp_num(0), total = mp_sym_add(c, before, length);
  put(c, 0, t, 3, (mp_int[]){batch, length, v});
  if (mp_infer_int(c, "past_present_share_buffer", 0) && mp_infer_has(c, past)) total = before;
  put(c, 1, t, 5, (mp_int[]){mp_num(2), batch, heads, total, per(c, v, heads)});
  mp_int projection = mp_sym_mul(c, mp_sym_mul(c, batch, length), mp_sym_mul(c, in, all));
  attention_cost(c, batch, length, total, mp_sym_add(c, q, v), heads, projection);
}

static void attention(mp_infer *c) { projected(c, 4, mp_infer_dtype(c, 0)); }
static void quantized_attention(mp_infer *c) { projected(c, 8, mp_dtype_or(c, 3, 2)); }

/* a decoding step over a shared cache: present is past */
static void masked_self_attention(mp_infer *c) {
  projected(c, 4, mp_infer_dtype(c, 0));
  mp_infer_same(c, 1, 4);
}

/* ---- attention over given queries, keys, values ---- */

struct qkv {
  mp_int batch, length, keys, heads, size, value_size;
  mp_int hidden; /* of the output */
  bool past_in_keys; /* keys are a cache (batch, heads, length, size): nothing is added before them */
};

static bool read_qkv(mp_infer *c, struct qkv *x) {
  mp_shape q, k, v;
  mp_infer_shape(c, 0, &q);
  mp_infer_shape(c, 1, &k);
  mp_infer_shape(c, 2, &v);
  bool clash = false;
  mp_int none = mp_int_unknown();
  *x = (struct qkv){none, none, none, attr_dim(c, "num_heads"), none, none, none, false};
  if (q.rank == 5) { /* packed queries, keys, values: batch, length, heads, 3, size */
    *x = (struct qkv){q.dims[0], q.dims[1], q.dims[1], q.dims[2], q.dims[4], q.dims[4], mp_sym_mul(c, q.dims[2], q.dims[4]), false};
    return true;
  }
  if (q.rank >= 0 && q.rank != 3) {
    mp_infer_bad(c, "the query has rank %d, expected 3 or 5", q.rank);
    return false;
  }
  if (q.rank < 0) return true;
  x->batch = q.dims[0];
  x->length = q.dims[1];
  x->hidden = q.dims[2];
  if (k.rank < 0 && v.rank < 0 && !mp_infer_has(c, 1)) { /* keys and values packed behind the queries */
    x->size = x->value_size = per(c, q.dims[2], mp_mul_n(c, x->heads, 3));
    x->hidden = mp_sym_mul(c, x->heads, x->size);
    x->keys = x->length;
    return true;
  }
  x->size = x->value_size = per(c, q.dims[2], x->heads);
  if (k.rank == 3) x->keys = k.dims[1];
  else if (k.rank == 4) x->keys = k.dims[2], x->past_in_keys = true;
  else if (k.rank == 5) x->keys = k.dims[1]; /* batch, length, heads, 2, size */
  if (v.rank == 3) x->hidden = v.dims[2], x->value_size = per(c, v.dims[2], x->heads), x->keys = mp_dim_unify(x->keys, v.dims[1], &clash);
  else if (v.rank == 4) x->value_size = v.dims[3], x->hidden = mp_sym_mul(c, v.dims[1], v.dims[3]);
  if (clash) mp_infer_bad(c, "keys and values have different lengths");
  return !clash;
}

static void multi_head(mp_infer *c, int past, bool share) {
  struct qkv x;
  if (!read_qkv(c, &x)) return;
  mp_dtype t = mp_infer_dtype(c, 0);
  mp_int before = !mp_infer_has(c, past) || x.past_in_keys ? mp_num(0) : dim_of(c, past, 4, 2);
  mp_int total = share && mp_infer_has(c, past) ? before : mp_sym_add(c, before, x.keys);
  put(c, 0, t, 3, (mp_int[]){x.batch, x.length, x.hidden});
  put(c, 1, mp_dtype_or(c, past, 0), 4, (mp_int[]){x.batch, x.heads, total, x.size});
  put(c, 2, mp_dtype_or(c, past + 1, 0), 4, (mp_int[]){x.batch, x.heads, total, x.value_size});
  put(c, 3, t, 4, (mp_int[]){x.batch, x.heads, x.length, total});
  attention_cost(c, x.batch, x.length, total, mp_sym_mul(c, x.heads, mp_sym_add(c, x.size, x.value_size)), x.heads, mp_num(0));
}

static void multi_head_attention(mp_infer *c) { multi_head(c, 6, mp_infer_has(c, 8) && mp_infer_has(c, 6)); }
static void masked_multi_head(mp_infer *c) { multi_head(c, 5, mp_infer_int(c, "past_present_share_buffer", 0) != 0); }

/* Query (batch, length, heads * size), or with keys and values packed behind; a cache of fewer heads that grows to the total length, or is shared.
 * total: the input that holds the total length, -1 where the cache has a fixed capacity. */
static void grouped(mp_infer *c, int total_input) {
  mp_int heads = attr_dim(c, "num_heads"), groups = attr_dim(c, "kv_num_heads");
  int rank = mp_infer_rank(c, 0);
  if (rank >= 0 && rank != 3) {
    mp_infer_bad(c, "the query has rank %d, expected 3", rank);
    return;
  }
  mp_int batch = dim_of(c, 0, 3, 0), length = dim_of(c, 0, 3, 1), wide = dim_of(c, 0, 3, 2);
  bool packed = !mp_infer_has(c, 1);
  mp_int size = per(c, wide, packed ? mp_sym_add(c, heads, mp_mul_n(c, groups, 2)) : heads), hidden = packed ? mp_sym_mul(c, heads, size) : wide;
  mp_int capacity = mp_infer_has(c, 3) ? dim_of(c, 3, 4, 2) : mp_num(0), total = capacity;
  if (total_input >= 0) {
    mp_int given = mp_scalar_dim(c, total_input);
    total = mp_sym_max(c, given, capacity);
    if (mp_int_is_unknown(given) && mp_infer_wants(c, 1)) mp_infer_depends(c, total_input, "the contents");
  }
  mp_dtype t = mp_infer_dtype(c, 0);
  put(c, 0, t, 3, (mp_int[]){batch, length, hidden});
  for (int o = 1; o < 3; o++) {
    mp_int own = mp_infer_rank(c, o + 2) == 4 ? mp_infer_dim(c, o + 2, 3) : size;
    put(c, o, mp_dtype_or(c, o + 2, 0), 4, (mp_int[]){batch, groups, total, own});
  }
  put(c, 3, t, 4, (mp_int[]){batch, heads, length, total});
  attention_cost(c, batch, length, total, mp_mul_n(c, hidden, 2), heads, mp_num(0));
}

static void group_query(mp_infer *c) { grouped(c, 6); }

/* which keys a query meets is data, and so is the cost; the cache keeps its capacity */
static void sparse_attention(mp_infer *c) {
  grouped(c, -1);
  mp_infer_no_cost(c);
}


/* tokens of all sequences behind each other: (tokens, hidden), or (tokens, heads, 3, size) */
static void packed_multi_head(mp_infer *c) {
  int rank = mp_infer_rank(c, 0);
  mp_int tokens = rank > 0 ? mp_infer_dim(c, 0, 0) : mp_int_unknown();
  mp_int hidden = mp_infer_has(c, 2) ? dim_of(c, 2, 2, 1) : dim_of(c, 0, 2, 1);
  if (rank == 4) hidden = mp_sym_mul(c, mp_infer_dim(c, 0, 1), mp_infer_dim(c, 0, 3));
  put(c, 0, mp_infer_dtype(c, 0), 2, (mp_int[]){tokens, hidden});
}

static void packed_attention(mp_infer *c) {
  uint32_t n = 0;
  const int64_t *sizes = mp_infer_attr_ints(c, "qkv_hidden_sizes", &n);
  mp_int all = dim_of(c, 1, 2, 1), tokens = dim_of(c, 0, 2, 0);
  put(c, 0, mp_infer_dtype(c, 0), 2, (mp_int[]){tokens, n == 3 ? mp_num(sizes[2]) : per(c, all, mp_num(3))});
}

/* query (tokens, heads * size), or keys and values packed behind; caches come back as they are */
static void paged_attention(mp_infer *c) {
  mp_int heads = attr_dim(c, "num_heads"), groups = attr_dim(c, "kv_num_heads"), wide = dim_of(c, 0, 2, 1);
  mp_int own = mp_sym_mul(c, per(c, wide, mp_sym_add(c, heads, mp_mul_n(c, groups, 2))), heads);
  put(c, 0, mp_infer_dtype(c, 0), 2, (mp_int[]){dim_of(c, 0, 2, 0), mp_infer_has(c, 1) ? wide : own});
  for (int o = 1; o < 3; o++)
    if (mp_infer_wants(c, o) && mp_infer_has(c, o + 2)) mp_infer_same(c, o, o + 2);
}

/* query (length, batch, hidden); the caches (batch, heads, so far, size) */
static void decoder_attention(mp_infer *c) {
  mp_int heads = attr_dim(c, "num_heads"), hidden = dim_of(c, 0, 3, 2);
  mp_infer_same(c, 0, 0);
  for (int o = 1; o < 3; o++) put(c, o, mp_infer_dtype(c, 0), 4, (mp_int[]){dim_of(c, 0, 3, 1), heads, mp_int_unknown(), per(c, hidden, heads)});
  if (mp_infer_wants(c, 1)) mp_infer_depends(c, 9, "the contents");
}

MP_SIGNATURE(relative_bias_3d, "bsd -> b,@num_heads,s,s")
MP_SIGNATURE(relative_bias_packed, "_ _ _ _ _ _ bs -> b,@num_heads,s,s")

static void gated_bias(mp_infer *c) {
  if (mp_infer_has(c, 6)) relative_bias_packed(c);
  else relative_bias_3d(c);
}

static void relative_bias(mp_infer *c) {
  put(c, 0, mp_infer_dtype(c, 0), 4, (mp_int[]){mp_num(1), dim_of(c, 0, 2, 1), mp_scalar_dim(c, 1), mp_scalar_dim(c, 2)});
}

/* ---- embeddings, skips, rotary positions ---- */

MP_SIGNATURE(embed_norm, "bs _ vh -> b,s,h:2 b:i b,s,h:2")
MP_SIGNATURE(quantized_embed_norm, "bs _ vh -> b,s,h:8 b:i")

/* result, mean, inverse deviation, sum of input and skip; the statistics' last axis is 1 */
static void skip_norm(mp_infer *c) {
  mp_shape s;
  mp_infer_same(c, 0, 0);
  mp_infer_shape(c, 0, &s);
  if (mp_infer_wants(c, 3)) mp_infer_same(c, 3, 0);
  if (s.rank > 0) s.dims[s.rank - 1] = mp_num(1);
  for (int o = 1; o < 3; o++)
    if (mp_infer_wants(c, o)) mp_infer_set(c, o, MP_FLOAT, s.rank < 0 ? NULL : &s);
}

static void gemma_rotary(mp_infer *c) {
  mp_infer_same(c, 0, 1);
  if (mp_infer_wants(c, 1)) mp_infer_same(c, 1, 3);
}

/* (batch, length, heads, stride) -> (batch, length, heads * width): width is the scale's */
MP_SIGNATURE(norm_rotary, "bshx w -> b,s,h*w b,s,h,w:f")

/* tokens of all sequences behind each other, without padding: how many there are is data */
MP_SIGNATURE(remove_padding, "bsd -> ?,d b,s:i b+1:i 1:i")
MP_SIGNATURE(restore_padding, "td bs -> b,s,d")

/* ---- decoding loops ---- */

/* ids (batch, ...), maximal length in input 1, beams kept for each in input `kept` (-1: one, without an axis of its own) */
static void generate(mp_infer *c, int kept) {
  mp_int batch = mp_infer_dim(c, 0, 0), length = mp_scalar_dim(c, 1), beams = kept < 0 ? mp_num(1) : mp_scalar_dim(c, kept);
  if (kept < 0) put(c, 0, MP_INT32, 2, (mp_int[]){batch, length});
  else put(c, 0, MP_INT32, 3, (mp_int[]){batch, beams, length});
  if (kept >= 0) put(c, 1, mp_dtype_or(c, 5, 6) ? mp_dtype_or(c, 5, 6) : MP_FLOAT, 2, (mp_int[]){batch, beams});
  else put(c, 1, mp_dtype_or(c, 3, 3), 2, (mp_int[]){batch, attr_dim(c, "vocab_size")});
  mp_infer_depends(c, 1, "the contents");
}

static void beam_search(mp_infer *c) { generate(c, 4); }
static void greedy_search(mp_infer *c) { generate(c, -1); }

/* ---- linear attention, state-space models, experts ---- */

MP_SIGNATURE(varlen_conv, "tc c_k _ _ bcp _ -> t,c b,c,p b,@state_update_capacity,c ; t*c*k")
MP_SIGNATURE(plain_state_conv, "bcl c_k _ bcp -> b,c,l b,c,p")
MP_SIGNATURE(fresh_state_conv, "bcl c_k -> b,c,l b,c,k-1")

static void state_conv(mp_infer *c) {
  bool plain = mp_infer_rank(c, 0) == 3 && mp_infer_int(c, "dilation", 1) == 1;
  plain = plain && !mp_infer_int(c, "channels_last", 0) && !mp_infer_int(c, "state_window", 0);
  if (!plain) mp_infer_same(c, 0, 0);
  else if (mp_infer_has(c, 3)) plain_state_conv(c);
  else fresh_state_conv(c);
}

MP_SIGNATURE(low_rank_mix, ".x -> .,x/@num_branches .,@num_branches .,x")
MP_SIGNATURE(flat_pre_mix, ".x -> .,x/@num_branches")
MP_SIGNATURE(grouped_pre_mix, ".bh -> .,h")

static void pre_mix(mp_infer *c) {
  if (mp_infer_int(c, "num_branches", 0) > 0) flat_pre_mix(c);
  else grouped_pre_mix(c);
}

MP_SIGNATURE(router_up, ".k kn -> .,@router_size .,n-@router_size/2 ; .*k*n")
MP_SIGNATURE(halved, ".d -> .,d/2")

static void swiglu(mp_infer *c) {
  if (mp_infer_has(c, 1)) mp_rule_same(c);
  else halved(c);
}

static void mamba(mp_infer *c) {
  mp_int rows = dim_of(c, 0, 2, 0), d = dim_of(c, 8, 1, 0), channels = dim_of(c, 4, 1, 0);
  put(c, 0, mp_infer_dtype(c, 0), 2, (mp_int[]){rows, d});
  mp_infer_same(c, 1, 1);
  mp_infer_same(c, 2, 2);
  put(c, 3, mp_infer_dtype(c, 0), 2, (mp_int[]){rows, channels});
  put(c, 4, MP_FLOAT, 2, (mp_int[]){rows, d});
}

static void expert_router(mp_infer *c) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  mp_int experts = dim_of(c, 1, 1, 0), tokens = s.rank > 0 ? mp_shape_elements(c, &s, 0, s.rank - 1) : mp_int_unknown();
  put(c, 0, mp_infer_dtype(c, 0), 2, (mp_int[]){tokens, experts});
  for (int o = 1; o < 3; o++) put(c, o, MP_FLOAT, 2, (mp_int[]){tokens, experts});
}

static void linear_gate(mp_infer *c) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank < 0 ? NULL : &s);
  if (mp_infer_wants(c, 1)) mp_infer_same(c, 1, mp_infer_has(c, 3) ? 3 : 0);
}

static void engram(mp_infer *c) {
  mp_infer_same(c, 0, 0);
  if (mp_infer_wants(c, 1)) mp_infer_same(c, 1, 0);
}

/* hash of n-grams: one id for each size and head; the ids that the next call needs */
static void ngram_hash(mp_infer *c) {
  mp_int heads = dim_of(c, 2, 1, 0), past = mp_num(mp_infer_int(c, "max_ngram_size", 1) - 1);
  put(c, 0, mp_infer_dtype(c, 0), 3, (mp_int[]){dim_of(c, 0, 2, 0), dim_of(c, 0, 2, 1), heads});
  if (!mp_below(past, 0)) put(c, 1, mp_infer_dtype(c, 0), 2, (mp_int[]){dim_of(c, 0, 2, 0), past});
}

static void packed_ngram_hash(mp_infer *c) {
  mp_int past = mp_num(mp_infer_int(c, "max_ngram_size", 1) - 1), batch = mp_add_n(c, dim_of(c, 3, 1, 0), -1);
  put(c, 0, mp_infer_dtype(c, 0), 2, (mp_int[]){dim_of(c, 0, 1, 0), dim_of(c, 2, 1, 0)});
  if (mp_below(past, 0) || mp_below(batch, 0)) return;
  put(c, 1, mp_infer_dtype(c, 0), 2, (mp_int[]){batch, past});
  put(c, 2, MP_INT32, 2, (mp_int[]){batch, past});
}

/* query (tokens, q heads, size), key, value (tokens, heads, value size), state (batch, heads, value size, size); or all packed in the query */
static void gated_delta(mp_infer *c) {
  mp_int q = dim_of(c, 0, 3, 1), v = dim_of(c, 2, 3, 1);
  if (!mp_infer_has(c, 2)) q = mp_int_unknown();
  mp_int size = mp_infer_has(c, 2) ? dim_of(c, 2, 3, 2) : dim_of(c, 6, 4, 2);
  put(c, 0, mp_infer_dtype(c, 0), 3, (mp_int[]){mp_infer_dim(c, 0, 0), mp_sym_max(c, q, v), size});
  if (mp_infer_has(c, 6) && mp_infer_wants(c, 1)) mp_infer_same(c, 1, 6);
}

/* a state in place: output 0 is input 2 */
static void replay(mp_infer *c) { mp_infer_same(c, 0, 2); }

/* predictions (batch, rows) or (rows); control and context words come back as they are */
static void prefix_commit(mp_infer *c) {
  mp_int batch = mp_infer_rank(c, 0) == 1 ? mp_num(1) : dim_of(c, 0, 2, 0);
  put(c, 0, MP_INT32, 1, &batch);
  mp_infer_same(c, 1, 3);
  mp_infer_same(c, 2, 4);
}

/* for each query the entries that the attention after it may read: as many as the mode keeps */
static void indexer(mp_infer *c) {
  bool tokens = !strcmp(mp_infer_string(c, "policy_mode", ""), "qsa");
  mp_int budget = mp_add_n(c, mp_sym_add(c, attr_dim(c, "token_budget"), attr_dim(c, "compress_ratio")), -1);
  put(c, 0, MP_INT32, 3, (mp_int[]){dim_of(c, 0, 3, 0), dim_of(c, 0, 3, 1), tokens ? budget : attr_dim(c, "index_topk")});
  if (mp_infer_has(c, 12)) mp_infer_same(c, 1, 7);
  else put(c, 1, mp_infer_dtype(c, 0), 3, (mp_int[]){dim_of(c, 0, 3, 0), mp_int_unknown(), dim_of(c, 2, 1, 0)});
}

#define MS "com.microsoft"
static const mp_op rows[] = {
  {MS, "Attention", 1, attention},
  {MS, "QAttention", 1, quantized_attention},
  {MS, "DecoderMaskedSelfAttention", 1, masked_self_attention},
  {MS, "MultiHeadAttention", 1, multi_head_attention},
  {MS, "DecoderMaskedMultiHeadAttention", 1, masked_multi_head},
  {MS, "GroupQueryAttention", 1, group_query},
  {MS, "SparseAttention", 1, sparse_attention},
  {MS, "PackedAttention", 1, packed_attention},
  {MS, "PackedMultiHeadAttention", 1, packed_multi_head},
  {MS, "PagedAttention", 1, paged_attention},
  {MS, "LongformerAttention", 1, mp_rule_same},
  {MS, "QOrderedLongformerAttention", 1, mp_rule_same},
  {MS, "DecoderAttention", 1, decoder_attention},
  {MS, "GatedRelativePositionBias", 1, gated_bias},
  {MS, "RelativePositionBias", 1, relative_bias},
  {MS, "EmbedLayerNormalization", 1, embed_norm},
  {MS, "QEmbedLayerNormalization", 1, quantized_embed_norm},
  {MS, "SkipLayerNormalization", 1, skip_norm},
  {MS, "SkipSimplifiedLayerNormalization", 1, skip_norm},
  {MS, "RotaryEmbedding", 1, mp_rule_same},
  {MS, "MRotaryEmbedding", 1, mp_rule_same},
  {MS, "GemmaRotaryEmbedding", 1, gemma_rotary},
  {MS, "RMSNormRotary", 1, norm_rotary},
  {MS, "RemovePadding", 1, remove_padding},
  {MS, "RestorePadding", 1, restore_padding},
  {MS, "BeamSearch", 1, beam_search},
  {MS, "WhisperBeamSearch", 1, beam_search},
  {MS, "GreedySearch", 1, greedy_search},
  {MS, "Sampling", 1, greedy_search},
  {MS, "MoE", 1, mp_rule_same},
  {MS, "QMoE", 1, mp_rule_same},
  {MS, "MoEPacked", 1, mp_rule_same},
  {MS, "MoEGroupRouter", 1, expert_router},
  {MS, "CausalConvWithState", 1, state_conv},
  {MS, "VarlenCausalConvWithState", 1, varlen_conv},
  {MS, "LinearAttentionGate", 1, linear_gate},
  {MS, "HyperConnectionLowRankMix", 1, low_rank_mix},
  {MS, "HyperConnectionPostMix", 1, mp_rule_same},
  {MS, "HyperConnectionPreMix", 1, pre_mix},
  {MS, "RouterGateUpProj", 1, router_up},
  {MS, "SwiGLU", 1, swiglu},
  {MS, "Mamba2Verify", 1, mamba},
  {MS, "EngramGate", 1, engram},
  {MS, "NGramHashMapping", 1, ngram_hash},
  {MS, "VarlenNGramHashMapping", 1, packed_ngram_hash},
  {MS, "GatedDeltaNet", 1, gated_delta},
  {MS, "GatedDeltaNetStateReplay", 1, replay},
  {MS, "ConvStateReplay", 1, replay},
  {MS, "SpeculativePrefixCommit", 1, prefix_commit},
  {MS, "SparseAttentionIndexer", 1, indexer},
  {MS, "DynamicSparseAttention", 1, sparse_attention},
  {MS, "SparsePagedAttention", 1, paged_attention},
  {MS, "BranchwiseRMSNorm", 1, mp_rule_same},
  {MS, "GatedAdd", 1, mp_rule_same},
  {MS, "GatedRMSNorm", 1, mp_rule_same},
  {MS, "ScaledSiLU", 1, mp_rule_same},
};
const mp_op_table mp_ops_contrib = {rows, sizeof rows / sizeof *rows};
