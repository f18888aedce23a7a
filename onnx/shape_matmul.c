/* Matrix products and attention of the standard domain. */
#include "onnx/shape_tools.h"

/* Product of inputs a and b as numpy.matmul: the last two axes are matrices, what stands before is broadcast, a vector is a matrix of one row or
 * column whose axis of 1 the result lacks. */
static void multiply(mp_infer *c, mp_shape x, mp_shape y, bool flip_a, bool flip_b, mp_dtype t) {
  mp_shape out = {.rank = -1};
  if (x.rank < 0 || y.rank < 0) {
    mp_infer_set(c, 0, t, NULL);
    return;
  }
  if (!x.rank || !y.rank) {
    mp_infer_bad(c, "a matrix product needs tensors of rank 1 or more");
    return;
  }
  bool vector_x = x.rank == 1, vector_y = y.rank == 1, clash = false;
  mp_int m = vector_x ? mp_num(1) : x.dims[x.rank - (flip_a ? 1 : 2)], n = vector_y ? mp_num(1) : y.dims[y.rank - (flip_b ? 2 : 1)];
  mp_int k = mp_dim_unify(x.dims[x.rank - (flip_a && !vector_x ? 2 : 1)], y.dims[y.rank - (vector_y || flip_b ? 1 : 2)], &clash);
  if (clash) {
    mp_infer_bad(c, "the matrices' inner dims differ");
    return;
  }
  x.rank -= vector_x ? 1 : 2;
  y.rank -= vector_y ? 1 : 2;
  if (!mp_shape_broadcast(c, &x, &y, &out)) return;
  mp_int macs = mp_sym_mul(c, mp_elements(c, &out), mp_sym_mul(c, m, mp_sym_mul(c, n, k)));
  if (!vector_x) mp_shape_append(&out, m);
  if (!vector_y) mp_shape_append(&out, n);
  mp_infer_set(c, 0, t, out.rank < 0 ? NULL : &out);
  mp_cost_macs(c, macs, mp_num(0));
}

void mp_rule_product(mp_infer *c, int a, int b, bool flip_a, bool flip_b, mp_dtype t) {
  mp_shape x, y;
  mp_infer_shape(c, a, &x);
  mp_infer_shape(c, b, &y);
  multiply(c, x, y, flip_a, flip_b, t);
}

/* axis 0 goes behind the batch axes that follow it: (m, batch ..., k) becomes (batch ..., m, k) */
static void move_rows(mp_shape *s) {
  if (s->rank < 3) return;
  mp_int rows_dim = s->dims[0];
  memmove(&s->dims[0], &s->dims[1], (size_t)(s->rank - 2) * sizeof *s->dims);
  s->dims[s->rank - 2] = rows_dim;
}

void mp_rule_batched_product(mp_infer *c, bool batch_a, bool batch_b, bool flip_a, bool flip_b, mp_dtype t) {
  mp_shape x, y;
  mp_infer_shape(c, 0, &x);
  mp_infer_shape(c, 1, &y);
  if (batch_a) move_rows(&x);
  if (batch_b) move_rows(&y);
  multiply(c, x, y, flip_a, flip_b, t);
}

static void matmul(mp_infer *c) { mp_rule_product(c, 0, 1, false, false, mp_dtype_or(c, 0, 1)); }
static void matmul_integer(mp_infer *c) { mp_rule_product(c, 0, 1, false, false, MP_INT32); }
static void qlinear_matmul(mp_infer *c) { mp_rule_product(c, 0, 3, false, false, mp_dtype_or(c, 7, 0)); }

/* a (m, k) b (k, n), each perhaps transposed; c is added where present */
void mp_rule_gemm(mp_infer *c, int a, int b, int add, mp_dtype t) {
  bool ta = mp_infer_int(c, "transA", 0) != 0, tb = mp_infer_int(c, "transB", 0) != 0, clash = false;
  int ra = mp_infer_rank(c, a), rb = mp_infer_rank(c, b);
  if (ra > 2 && rb >= 2) { /* beyond the specification: Deeploy's products with an addition keep their batch axes */
    mp_rule_product(c, a, b, ta, tb, t);
    return;
  }
  if ((ra >= 0 && ra != 2) || (rb >= 0 && rb != 2)) {
    mp_infer_bad(c, "expected two matrices, found ranks %d and %d", ra, rb);
    return;
  }
  mp_int m = mp_infer_dim(c, a, ta ? 1 : 0), n = mp_infer_dim(c, b, tb ? 0 : 1); /* unknown where the rank is */
  mp_int k = mp_dim_unify(mp_infer_dim(c, a, ta ? 0 : 1), mp_infer_dim(c, b, tb ? 1 : 0), &clash);
  if (clash) {
    mp_infer_bad(c, "the matrices' inner dims differ");
    return;
  }
  mp_infer_set_dims(c, 0, t, 2, (mp_int[]){m, n});
  mp_int out = mp_sym_mul(c, m, n);
  mp_cost_macs(c, mp_sym_mul(c, out, k), add >= 0 && mp_infer_has(c, add) ? out : mp_num(0));
}

static void gemm(mp_infer *c) { mp_rule_gemm(c, 0, 1, 2, mp_dtype_or(c, 0, 1)); }

/* ---- attention ---- */

struct heads {
  mp_int batch, heads, length, size;
};

/* Reads (batch, heads, length, size) or (batch, length, heads * size) with the head count from an attribute. */
static bool read_heads(mp_infer *c, int i, const char *count, struct heads *h) {
  mp_shape s;
  mp_infer_shape(c, i, &s);
  mp_int none = mp_int_unknown(), n = mp_infer_has_attr(c, count) ? mp_num(mp_infer_int(c, count, 0)) : none;
  *h = (struct heads){none, n, none, none};
  if (s.rank == 4) *h = (struct heads){s.dims[0], s.dims[1], s.dims[2], s.dims[3]};
  else if (s.rank == 3) {
    h->batch = s.dims[0];
    h->length = s.dims[1];
    if (mp_int_is_number(n) && n.n > 0) h->size = mp_sym_div(c, s.dims[2], n);
  } else if (s.rank >= 0) {
    mp_infer_bad(c, "input %d has rank %d, expected 3 or 4", i, s.rank);
    return false;
  }
  return true;
}

/* Q K V mask past_key past_value nonpad -> Y present_key present_value scores */
static void attention(mp_infer *c) {
  struct heads q, k, v;
  if (!read_heads(c, 0, "q_num_heads", &q) || !read_heads(c, 1, "kv_num_heads", &k) || !read_heads(c, 2, "kv_num_heads", &v)) return;
  bool clash = false;
  mp_int batch = mp_dim_unify(q.batch, mp_dim_unify(k.batch, v.batch, &clash), &clash), length = mp_dim_unify(k.length, v.length, &clash);
  mp_int groups = mp_dim_unify(k.heads, v.heads, &clash), size = mp_dim_unify(q.size, k.size, &clash);
  if (clash) {
    mp_infer_bad(c, "Q, K and V contradict each other");
    return;
  }
  mp_int past = mp_infer_rank(c, 4) == 4 ? mp_infer_dim(c, 4, 2) : mp_infer_has(c, 4) ? mp_int_unknown() : mp_num(0);
  mp_int total = mp_sym_add(c, length, past);
  mp_dtype t = mp_infer_dtype(c, 0);
  int rank = mp_infer_rank(c, 0);
  if (rank == 4) mp_infer_set_dims(c, 0, t, 4, (mp_int[]){batch, q.heads, q.length, v.size});
  else if (rank == 3) mp_infer_set_dims(c, 0, t, 3, (mp_int[]){batch, q.length, mp_sym_mul(c, q.heads, v.size)});
  else mp_infer_set(c, 0, t, NULL);
  const mp_int present[2][4] = {{batch, groups, total, size}, {batch, groups, total, v.size}}, scores[4] = {batch, q.heads, q.length, total};
  for (int o = 1; o < 3; o++)
    if (o < mp_infer_outs(c) && mp_infer_wants(c, o)) mp_infer_set_dims(c, o, mp_dtype_or(c, o + 3, o), 4, present[o - 1]);
  if (mp_infer_outs(c) > 3 && mp_infer_wants(c, 3)) mp_infer_set_dims(c, 3, t, 4, scores);
  mp_int each = mp_sym_mul(c, mp_sym_mul(c, batch, q.heads), mp_sym_mul(c, q.length, total));
  mp_cost_macs(c, mp_sym_mul(c, each, mp_sym_add(c, size, v.size)), each); /* the softmax: one for each score */
}

/* Q (b, h, s, d), K (b, g, t, d), V (b, g, t, e); the modifiers keep the scores' shape */
MP_SIGNATURE(flex_attention, "bhsd bgtd bgte -> b,h,s,e ; d+e*b*h*s*t")

/* query (b, t, q heads * d_k), key (b, t, heads * d_k), value (b, t, heads * d_v) -> (b, t, q heads * d_v), state S (b, heads, d_k, d_v).
 * A token adds k v to the state of each head and multiplies q S for each q head; the delta rules also multiply k S. */
#define LINEAR "btq btk btv bhij -> b,t,v/@kv_num_heads*@q_num_heads b,@kv_num_heads,k/@kv_num_heads,v/@kv_num_heads:3|0 ; "
MP_SIGNATURE(linear_plain, LINEAR "@kv_num_heads+@q_num_heads*k*v/@kv_num_heads/@kv_num_heads*b*t")
MP_SIGNATURE(linear_delta, LINEAR "@kv_num_heads*2+@q_num_heads*k*v/@kv_num_heads/@kv_num_heads*b*t")

static void linear_attention(mp_infer *c) {
  if (strstr(mp_infer_string(c, "update_rule", "gated_delta"), "delta")) linear_delta(c);
  else linear_plain(c);
}

static const mp_op rows[] = {
  {"", "MatMul", 1, matmul},
  {"", "MatMulInteger", 10, matmul_integer},
  {"", "QLinearMatMul", 10, qlinear_matmul},
  {"", "Gemm", 1, gemm},
  {"", "Attention", 23, attention},
  {"", "RotaryEmbedding", 23, mp_rule_same},
  {"", "LinearAttention", 27, linear_attention},
  {"com.microsoft", "LinearAttention", 1, linear_attention},
  {"ai.onnx.preview", "FlexAttention", 1, flex_attention},
};
const mp_op_table mp_ops_matmul = {rows, sizeof rows / sizeof *rows};
