/* Rows of the table: attention. The exporter writes scaled_dot_product_attention out, with the root of the scale on both operands; written-out
 * attention scales the product. */
#include <math.h>
#include <string.h>

#include "planner/patterns.h"

enum { Q, K, V, MASK }; /* the hit's values */
enum { SWAPPED = -1 };  /* the hit's note; else 1 + the node that transposes the key, 0: it is there */

static int permutation(const mp_rec *r, int32_t transpose, int64_t *perm) {
  const mp_attr *a = mp_node_attr(mp_r_node(r, transpose), "perm");
  if (!a || a->kind != MP_ATTR_INTS || a->n > MP_RANK) return 0;
  memcpy(perm, a->as.ints, a->n * sizeof *perm);
  return (int)a->n;
}

/* Mul(x, sqrt(scale)): -> the node */
static int32_t scaled(mp_rec *r, int32_t value) {
  int32_t m = mp_r_maker(r, value, "Mul");
  if (m < 0) return -1;
  int32_t s = mp_r_in(r, m, 1);
  return s >= 0 && r->host[s] && !r->host[mp_r_in(r, m, 0)] ? m : -1;
}

/* Transpose(x, perm) that the file has: its value, else -1 */
static int32_t transposed(const mp_rec *r, int32_t x, const int64_t *perm, int rank) {
  int32_t users[32];
  int64_t other[MP_RANK];
  uint32_t n = mp_r_users(r, x, users, 32);
  for (uint32_t i = 0; i < n; i++)
    if (!strcmp(mp_r_node(r, users[i])->type, "Transpose") && mp_r_node(r, users[i])->outs && permutation(r, users[i], other) == rank &&
        !memcmp(perm, other, (size_t)rank * sizeof *perm))
      return mp_r_node(r, users[i])->out[0];
  return -1;
}

/* What the key's last transposition in the file did before it swapped the last two axes; nothing where `transpose` is -1: k had been swapped, and the two left no node. -> the rank, 0 */
static int before_swap(const mp_rec *r, int32_t transpose, int rank, int64_t *perm) {
  if (rank > MP_RANK) return 0;
  for (int i = 0; i < rank; i++) perm[i] = i;
  if (transpose >= 0) rank = permutation(r, transpose, perm);
  if (rank < 2) return 0;
  int64_t last = perm[rank - 1];
  perm[rank - 1] = perm[rank - 2];
  perm[rank - 2] = last;
  return rank;
}

/* k of k.transpose(-2, -1), which the exporter merges with a transposition before it */
static bool find_key(mp_rec *r, mp_hit *h, int32_t value) {
  int64_t perm[MP_RANK];
  int32_t t = mp_r_maker(r, value, "Transpose");
  int rank = before_swap(r, t, mp_r_rank(r, value), perm);
  if (!rank) return false;
  if (t < 0) {
    h->values[K] = value;
    h->note = SWAPPED;
    return true;
  }
  bool same = true;
  for (int i = 0; i < rank; i++) same &= perm[i] == i;
  int32_t x = mp_r_in(r, t, 0), made = same ? x : transposed(r, x, perm, rank);
  h->values[K] = made < 0 ? x : made;
  h->note = made < 0 ? t + 1 : 0; /* to be transposed here */
  return mp_hit_node(h, t);
}

static bool causal(mp_rec *r, int32_t mask) {
  int32_t w = mp_r_maker(r, mask, "Where"), e = w < 0 ? -1 : mp_r_maker(r, mp_r_in(r, w, 0), "Equal");
  return e >= 0 && mp_r_maker(r, mp_r_in(r, e, 0), "Trilu") >= 0;
}

/* Where(mask, [0.], [-inf]): the exporter's, of a mask of booleans */
static int32_t boolean_mask(mp_rec *r, int32_t mask, int32_t reader) {
  int32_t w = mp_r_maker(r, mask, "Where");
  double yes, no;
  if (w < 0 || !mp_r_same_scope(r, w, reader)) return -1;
  if (!mp_r_number(r, mp_r_in(r, w, 1), &yes) || !mp_r_number(r, mp_r_in(r, w, 2), &no) || yes != 0 || !isinf(no)) return -1;
  return mp_r_rank(r, mp_r_in(r, w, 1)) == 1 ? w : -1;
}

static bool widens(const mp_rec *r, int32_t from, int32_t to) {
  mp_dtype t = r->g->values[from].dtype;
  return (t == MP_FLOAT16 || t == MP_BFLOAT16) && r->g->values[to].dtype == MP_FLOAT;
}

/* In a file in half precision the exporter adds a mask, which it makes in float32, to the scores in float32, and goes on so: what was cast. */
static int32_t before_widening(mp_rec *r, mp_hit *h, int32_t value) {
  int32_t c = mp_r_maker(r, value, "Cast");
  if (c < 0 || mp_r_in(r, c, 0) < 0 || !widens(r, mp_r_in(r, c, 0), value)) return value;
  mp_hit_node(h, c);
  return mp_r_in(r, c, 0);
}

MP_ROW_CHECK(mp_row_is_sdpa) {
  int32_t x = mp_r_in(r, h->root, 0), d = mp_r_maker(r, x, "Dropout");
  if (d >= 0) {
    if (mp_r_in(r, d, 2) >= 0 || !mp_hit_node(h, d)) return false;
    mp_r_number(r, mp_r_in(r, d, 1), &h->numbers[0]);
    x = mp_r_in(r, d, 0);
  }
  int32_t w = mp_r_maker(r, x, "Where"), nan = w < 0 ? -1 : mp_r_maker(r, mp_r_in(r, w, 0), "IsNaN");
  if (nan >= 0) {
    mp_hit_node(h, w);
    mp_hit_node(h, nan);
    x = mp_r_in(r, w, 2);
  }
  int32_t s = mp_r_maker(r, x, "Softmax");
  if (s < 0) return false;
  mp_hit_node(h, s);
  int32_t a = mp_r_maker(r, mp_r_in(r, s, 0), "Add"), m = mp_r_maker(r, before_widening(r, h, mp_r_in(r, a >= 0 ? a : s, 0)), "MatMul");
  if (m < 0) return false;
  int32_t q = scaled(r, mp_r_in(r, m, 0)), k = scaled(r, mp_r_in(r, m, 1));
  if (q < 0 || k < 0) return false;
  mp_hit_node(h, m);
  mp_hit_node(h, q);
  mp_hit_node(h, k);
  h->values[Q] = mp_r_in(r, q, 0);
  h->values[V] = before_widening(r, h, h->values[V]);
  if (!find_key(r, h, mp_r_in(r, k, 0))) return false;
  if (a < 0) return true;
  mp_hit_node(h, a);
  int32_t mask = mp_r_in(r, a, 1);
  h->numbers[1] = causal(r, mask);
  if (h->numbers[1] != 0) return true;
  int32_t booleans = boolean_mask(r, mask, h->root);
  if (booleans >= 0) mp_hit_node(h, booleans);
  h->values[MASK] = booleans >= 0 ? mp_r_in(r, booleans, 0) : mask;
  return true;
}

MP_ROW_EMIT(mp_row_sdpa) {
  mp_arg k = mp_r_tensor(r, h->values[K]);
  if (h->note) {
    mp_var v = *mp_builder_at(r->b, k.as.var);
    int64_t perm[MP_RANK], dims[MP_RANK];
    int rank = before_swap(r, h->note == SWAPPED ? -1 : (int32_t)h->note - 1, v.rank, perm);
    for (int i = 0; i < rank; i++) dims[i] = v.dims[perm[i]];
    int32_t out = mp_r_new(r, v.name, v.dtype, rank, dims);
    bool heads = rank == 4 && perm[0] == 0 && perm[1] == 2 && perm[2] == 1;
    mp_arg swap[] = {k, mp_arg_int(1), mp_arg_int(2)}, any[] = {k, mp_arg_ints(r->a, perm, (uint32_t)rank)};
    mp_r_call(r, h, heads ? "aten::transpose" : "aten::permute", heads ? swap : any, heads ? 3 : 2, &out, 1);
    k = mp_arg_var(out);
  }
  mp_arg args[] = {mp_r_tensor(r, h->values[Q]),
                   k,
                   mp_r_tensor(r, h->values[V]),
                   mp_r_tensor(r, h->values[MASK]),
                   mp_arg_float(h->numbers[0]),
                   mp_arg_bool(h->numbers[1] != 0),
                   mp_arg_none(),
                   mp_arg_bool(false)};
  mp_r_last(r, h, "aten::scaled_dot_product_attention", args, 8);
}

/* softmax(x, dtype=float32), in a file in half precision */
MP_ROW_CHECK(mp_row_is_wide_softmax) { return widens(r, h->values[0], mp_r_node(r, h->root)->out[0]); }
MP_ROW_EMIT(mp_row_wide_softmax) {
  const mp_node *n = mp_r_node(r, h->nodes[1]);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_int(mp_node_int(n, "axis", -1)), mp_arg_dtype(MP_FLOAT)};
  mp_r_last(r, h, "aten::softmax", args, 3);
}

/* softmax(dtype=float32).to(q.dtype), softmax().type(v.dtype): casts that do something only in half precision. The type is that of the product's
 * other operand, where nothing is known of one that of the softmax's. */
MP_ROW_CHECK(mp_row_is_softmax_cast) {
  int32_t users[8], value = mp_r_node(r, h->root)->out[0];
  if (r->cast[h->root] != MP_CAST_BACK || r->g->values[value].dtype != r->g->values[h->values[0]].dtype) return false;
  for (int step = 0; step < 2; step++) {
    uint32_t n = mp_r_users(r, value, users, 8);
    for (uint32_t i = 0; i < n; i++) {
      const mp_node *u = mp_r_node(r, users[i]);
      bool product = !strcmp(u->type, "MatMul") || (!strcmp(u->type, "Einsum") && u->ins == 2);
      if (product && mp_r_in(r, users[i], 0) == value) {
        int32_t other = mp_r_in(r, users[i], 1), p = mp_r_producer(r, other);
        if (p < h->root) h->values[1] = other;
        return true;
      }
    }
    if (n != 1 || strcmp(mp_r_node(r, users[0])->type, "Dropout") != 0 || !mp_r_node(r, users[0])->outs) return true;
    value = mp_r_node(r, users[0])->out[0];
  }
  return true;
}

MP_ROW_EMIT(mp_row_softmax_cast) {
  const mp_node *softmax = NULL;
  uint32_t casts = 0;
  for (uint32_t i = 0; i < h->node_count; i++) {
    const mp_node *n = mp_r_node(r, h->nodes[i]);
    if (!strcmp(n->type, "Softmax"))
      softmax = n;
    else
      casts++;
  }
  mp_arg x = mp_r_tensor(r, h->values[0]);
  mp_arg args[] = {x, mp_arg_int(mp_node_int(softmax, "axis", -1)), casts > 1 ? mp_arg_dtype(MP_FLOAT) : mp_arg_none()};
  int32_t probabilities = mp_r_new_like(r, x.as.var);
  mp_r_call(r, h, "aten::softmax", args, 3, &probabilities, 1);
  mp_r_last(r, h, "aten::type_as", (mp_arg[]){mp_arg_var(probabilities), h->values[1] >= 0 ? mp_r_tensor(r, h->values[1]) : x}, 2);
}

/* nn.MultiheadAttention's packed projection: unsqueeze(0).transpose(0, -2).squeeze(-2).contiguous(); the last leaves no node */
MP_ROW_EMIT(mp_row_mha_pack) {
  mp_arg x = mp_r_tensor(r, h->values[0]);
  mp_var v = *mp_builder_at(r->b, x.as.var);
  int64_t s = v.dims[0], b = v.dims[1], three = v.dims[2], e = v.dims[3];
  int32_t out;
  mp_arg first[] = {x, mp_arg_int(0)};
  out = mp_r_new(r, v.name, v.dtype, 5, (int64_t[]){1, s, b, three, e});
  mp_r_call(r, h, "aten::unsqueeze", first, 2, &out, 1);
  mp_arg second[] = {mp_arg_var(out), mp_arg_int(0), mp_arg_int(-2)};
  out = mp_r_new(r, v.name, v.dtype, 5, (int64_t[]){three, s, b, 1, e});
  mp_r_call(r, h, "aten::transpose", second, 3, &out, 1);
  mp_arg third[] = {mp_arg_var(out), mp_arg_int(-2)};
  out = mp_r_new(r, v.name, v.dtype, 4, (int64_t[]){three, s, b, e});
  mp_r_call(r, h, "aten::squeeze", third, 2, &out, 1);
  mp_arg last[] = {mp_arg_var(out)};
  mp_r_last(r, h, "aten::contiguous", last, 1);
}

/* ONNX's own Attention (opset 23) on four dimensions is the framework's call */
MP_ROW_CHECK(mp_row_is_attention) { return !mp_r_node(r, h->root)->domain[0] && mp_r_rank(r, h->values[Q]) == 4; }

MP_ROW_EMIT(mp_row_attention) {
  mp_arg args[] = {mp_r_tensor(r, h->values[Q]),
                   mp_r_tensor(r, h->values[K]),
                   mp_r_tensor(r, h->values[V]),
                   mp_r_tensor(r, h->values[MASK]),
                   mp_arg_float(0),
                   mp_arg_bool(mp_node_int(mp_r_node(r, h->root), "is_causal", 0) != 0),
                   mp_arg_none(),
                   mp_arg_bool(mp_r_dim(r, h->values[Q], 1) != mp_r_dim(r, h->values[K], 1))};
  mp_r_last(r, h, "aten::scaled_dot_product_attention", args, 8);
}
