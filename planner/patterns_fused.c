/* Rows of the table: operators that an optimizer fused (domain com.microsoft), back into the framework's calls. */
#include <string.h>

#include "planner/patterns.h"

/* one call with one result of the dims of `like` */
static mp_arg step(mp_rec *r, const mp_hit *h, const char *name, const mp_arg *args, uint32_t n, mp_arg like) {
  int32_t out = mp_r_new_like(r, like.as.var);
  mp_r_call(r, h, name, args, n, &out, 1);
  return mp_arg_var(out);
}

static mp_arg added(mp_rec *r, const mp_hit *h, mp_arg x, mp_arg y) {
  mp_arg args[] = {x, y};
  return y.kind == MP_ARG_NONE ? x : step(r, h, "aten::add", args, 2, x);
}

static mp_arg shaped(mp_rec *r, const mp_hit *h, mp_arg x, int rank, const int64_t *dims) {
  const mp_var v = *mp_builder_at(r->b, x.as.var);
  mp_arg args[] = {x, mp_arg_ints(r->a, dims, (uint32_t)rank)};
  int32_t out = mp_r_new(r, v.name, v.dtype, rank, dims);
  mp_r_call(r, h, "aten::reshape", args, 2, &out, 1);
  return mp_arg_var(out);
}

static mp_arg swapped(mp_rec *r, const mp_hit *h, mp_arg x) {
  mp_var v = *mp_builder_at(r->b, x.as.var);
  int64_t d = v.dims[1];
  v.dims[1] = v.dims[2];
  v.dims[2] = d;
  mp_arg args[] = {x, mp_arg_int(1), mp_arg_int(2)};
  int32_t out = mp_r_new(r, v.name, v.dtype, v.rank, v.dims);
  mp_r_call(r, h, "aten::transpose", args, 3, &out, 1);
  return mp_arg_var(out);
}

static mp_arg input(mp_rec *r, const mp_hit *h, int i) { return mp_r_tensor(r, mp_r_in(r, h->root, i)); }

/* gelu(x + bias), of either form */
MP_ROW_EMIT(mp_row_bias_gelu) {
  bool fast = !strcmp(mp_r_node(r, h->root)->type, "FastGelu");
  mp_arg args[] = {added(r, h, input(r, h, 0), input(r, h, 1)), mp_arg_str(fast ? "tanh" : "none")};
  mp_r_last(r, h, "aten::gelu", args, 2);
}

/* x * sigmoid(1.702 x) */
MP_ROW_EMIT(mp_row_quick_gelu) {
  mp_arg x = input(r, h, 0), scale[] = {x, mp_arg_float(mp_node_float(mp_r_node(r, h->root), "alpha", 1.702))};
  mp_arg scaled = step(r, h, "aten::mul", scale, 2, x), gate = step(r, h, "aten::sigmoid", &scaled, 1, x), product[] = {x, gate};
  mp_r_last(r, h, "aten::mul", product, 2);
}

static void emit_norm(mp_rec *r, const mp_hit *h, mp_arg x, mp_arg weight, mp_arg bias, bool root_mean_square) {
  const mp_node *n = mp_r_node(r, h->root);
  const mp_var v = *mp_builder_at(r->b, x.as.var);
  double eps = mp_node_float(n, "epsilon", 1e-5);
  if (v.rank < 1) mp_fail(r->a, MP_BAD_INPUT, "%s: node '%s' (%s): '%s' is a scalar; a norm takes at least one dimension", r->g->path, n->name, n->type, v.name);
  int64_t last = v.dims[v.rank - 1], dim = -1;
  if (!root_mean_square) {
    mp_arg args[] = {x, mp_arg_ints(r->a, &last, 1), weight, bias, mp_arg_float(eps), mp_arg_bool(true)};
    mp_r_last(r, h, "aten::layer_norm", args, 6);
    return;
  }
  mp_arg square[] = {x, mp_arg_int(2)}, mean[] = {step(r, h, "aten::pow", square, 2, x), mp_arg_ints(r->a, &dim, 1), mp_arg_bool(true)};
  mp_var rows = v;
  rows.dims[v.rank - 1] = 1;
  int32_t m = mp_r_new(r, v.name, v.dtype, v.rank, rows.dims);
  mp_r_call(r, h, "aten::mean", mean, 3, &m, 1);
  mp_arg plus[] = {mp_arg_var(m), mp_arg_float(eps)}, sum = step(r, h, "aten::add", plus, 2, plus[0]), root = step(r, h, "aten::rsqrt", &sum, 1, sum);
  mp_arg product[] = {x, root}, whole[] = {weight, step(r, h, "aten::mul", product, 2, x)};
  mp_r_last(r, h, "aten::mul", whole, 2);
}

/* norm(x + skip + bias); the fourth output is the sum */
MP_ROW_EMIT(mp_row_skip_norm) {
  const mp_node *n = mp_r_node(r, h->root);
  bool simple = !strcmp(n->type, "SkipSimplifiedLayerNormalization");
  mp_arg x = added(r, h, added(r, h, input(r, h, 0), input(r, h, simple ? 3 : 4)), input(r, h, 1));
  if (n->outs > 3 && n->out[3] >= 0) r->var[n->out[3]] = x.as.var;
  emit_norm(r, h, x, input(r, h, 2), simple ? mp_arg_none() : input(r, h, 3), simple);
}

MP_ROW_EMIT(mp_row_rms_norm) { emit_norm(r, h, input(r, h, 0), input(r, h, 1), mp_arg_none(), true); }

/* word, position and segment embeddings, their sum, its norm. Positions count from 0. */
MP_ROW_EMIT(mp_row_embed_norm) {
  mp_arg ids = input(r, h, 0), word = input(r, h, 2), position = input(r, h, 3), segment = input(r, h, 4);
  const mp_var i = *mp_builder_at(r->b, ids.as.var), w = *mp_builder_at(r->b, word.as.var);
  int64_t dims[3] = {i.dims[0], i.dims[1], w.dims[1]}, row[2] = {i.dims[1], w.dims[1]};
  int32_t x = mp_r_new(r, "word", w.dtype, 3, dims), p = mp_r_new(r, "position", w.dtype, 2, row),
          at = mp_r_new(r, "positions", MP_INT64, 1, &i.dims[1]);
  mp_arg look[] = {word, ids};
  mp_r_call(r, h, "aten::embedding", look, 2, &x, 1);
  mp_arg sum = mp_arg_var(x);
  if (segment.kind == MP_ARG_VAR && input(r, h, 1).kind == MP_ARG_VAR) {
    mp_arg kinds[] = {segment, input(r, h, 1)};
    sum = added(r, h, sum, step(r, h, "aten::embedding", kinds, 2, sum));
  }
  mp_arg count[] = {mp_arg_int(i.dims[1]), mp_arg_dtype(MP_INT64)};
  mp_r_call(r, h, "aten::arange", count, 2, &at, 1);
  mp_arg where[] = {position, mp_arg_var(at)};
  mp_r_call(r, h, "aten::embedding", where, 2, &p, 1);
  emit_norm(r, h, added(r, h, sum, mp_arg_var(p)), input(r, h, 5), input(r, h, 6), false);
}

/* ---- attention ---- */

MP_ROW_CHECK(mp_row_is_contrib) { return !strcmp(mp_r_node(r, h->root)->domain, "com.microsoft") && mp_r_rank(r, mp_r_in(r, h->root, 0)) == 3; }

/* (B, S, heads * d) -> (B, heads, S, d) */
static mp_arg heads_of(mp_rec *r, const mp_hit *h, mp_arg x, int64_t heads) {
  const mp_var v = *mp_builder_at(r->b, x.as.var);
  int64_t dims[4] = {v.dims[0], v.dims[1], heads, heads ? v.dims[2] / heads : 0};
  return swapped(r, h, shaped(r, h, x, 4, dims));
}

static void attend(mp_rec *r, const mp_hit *h, mp_arg q, mp_arg k, mp_arg v) {
  const mp_node *n = mp_r_node(r, h->root);
  int64_t heads = mp_node_int(n, "num_heads", 1);
  bool causal = mp_node_int(n, "unidirectional", 0) != 0;
  mp_arg qh = heads_of(r, h, q, heads), kh = heads_of(r, h, k, heads), vh = heads_of(r, h, v, heads);
  mp_arg args[] = {qh, kh, vh, mp_arg_none(), mp_arg_float(0), mp_arg_bool(causal), mp_arg_none(), mp_arg_bool(false)};
  int64_t dims[MP_RANK];
  mp_var out = *mp_builder_at(r->b, qh.as.var);
  out.dims[3] = mp_builder_at(r->b, vh.as.var)->dims[3];
  int32_t result = mp_r_new(r, "attention", out.dtype, 4, out.dims);
  mp_r_call(r, h, "aten::scaled_dot_product_attention", args, 8, &result, 1);
  for (int i = 0; i < 3; i++) dims[i] = mp_r_dim(r, n->out[0], i);
  mp_arg merge[] = {swapped(r, h, mp_arg_var(result)), mp_arg_ints(r->a, dims, 3)};
  mp_r_last(r, h, "aten::reshape", merge, 2);
}

/* Attention(x, weight of q, k and v side by side, bias): one projection, split */
MP_ROW_EMIT(mp_row_contrib_attention) {
  mp_arg x = input(r, h, 0), w = input(r, h, 1);
  const mp_var v = *mp_builder_at(r->b, x.as.var), weight = *mp_builder_at(r->b, w.as.var);
  int64_t rows = v.dims[0] * v.dims[1], flat[2] = {rows, v.dims[2]}, wide[3] = {v.dims[0], v.dims[1], weight.dims[1]},
          part[3] = {wide[0], wide[1], wide[2] / 3};
  mp_arg product[] = {input(r, h, 2), shaped(r, h, x, 2, flat), w};
  int32_t out = mp_r_new(r, "qkv", v.dtype, 2, (int64_t[]){rows, weight.dims[1]}), parts[3];
  bool bias = product[0].kind == MP_ARG_VAR;
  mp_r_call(r, h, bias ? "aten::addmm" : "aten::mm", bias ? product : product + 1, bias ? 3 : 2, &out, 1);
  mp_arg cut[] = {shaped(r, h, mp_arg_var(out), 3, wide), mp_arg_int(part[2]), mp_arg_int(2)};
  for (int i = 0; i < 3; i++) parts[i] = mp_r_new(r, "part", v.dtype, 3, part);
  mp_r_call(r, h, "aten::split", cut, 3, parts, 3);
  attend(r, h, mp_arg_var(parts[0]), mp_arg_var(parts[1]), mp_arg_var(parts[2]));
}

MP_ROW_EMIT(mp_row_contrib_heads) { attend(r, h, input(r, h, 0), input(r, h, 1), input(r, h, 2)); }
