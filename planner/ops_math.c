/* Sums and products: each function is the aten function of its name, with its autograd node (tools/autograd/derivatives.yaml). Where a node has several gradients, the generated
 * code computes them in alphabetical order of the arguments' names, which decides what is alive. */
#include <string.h>

#include "planner/em.h"

static mp_ten same_dtype(mp_em *e, const char *op, const mp_ten *in, uint32_t n, int rank, const int64_t *dims, mp_dtype t) {
  int64_t strides[MP_RANK];
  mp_strides_elementwise(e, in, n, rank, dims, strides);
  return mp_em_new_strided(e, op, t, rank, dims, strides);
}

/* ---- sums ---- */

static void back_sum(mp_em *e, mp_bw *b) {
  mp_tensor_info in = *mp_bw_input(b, 0);
  const int64_t *meta = mp_bw_meta(b); /* keepdim, then the summed dims */
  mp_ten g = mp_bw_grad(b, 0);
  if (!meta[0])
    for (int d = 0; d < in.rank; d++)
      for (uint32_t k = 1; k < mp_bw_meta_count(b); k++)
        if (meta[k] == d && mp_em_info(e, g)->rank) g = mp_op_unsqueeze(e, g, d);
  mp_bw_give(b, 0, mp_op_expand(e, g, in.rank, in.dims));
}
static const mp_grad grad_sum = {"SumBackward1", back_sum}, grad_sum_all = {"SumBackward0", back_sum};

mp_ten mp_op_sum_dims(mp_em *e, mp_ten t, const int64_t *dims, uint32_t n, bool keepdim) {
  mp_tensor_info i = *mp_em_info(e, t);
  bool gone[MP_RANK] = {false};
  int64_t meta[MP_RANK + 1] = {keepdim}, out[MP_RANK];
  for (uint32_t k = 0; k < n; k++) gone[mp_em_axis(e, dims[k], i.rank)] = true;
  int rank = 0;
  uint32_t m = 1;
  for (int d = 0; d < i.rank; d++) {
    if (n == 0) gone[d] = true;
    if (gone[d]) meta[m++] = d;
    if (!gone[d] || keepdim) out[rank++] = gone[d] ? 1 : i.dims[d];
  }
  mp_dtype dtype = i.dtype == MP_BOOL || (!mp_dtype_is_float(i.dtype) && mp_dtype_bits(i.dtype) < 64) ? MP_INT64 : i.dtype;
  mp_ten r = mp_em_new(e, n ? "aten::sum.dim_IntList" : "aten::sum", dtype, rank, out);
  if (mp_fn_begin(e, n ? &grad_sum : &grad_sum_all, &t, 1)) {
    mp_fn_meta(e, meta, m);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  return r;
}

/* aten/src/ATen/ExpandUtils.h, _sum_to */
mp_ten mp_op_sum_to(mp_em *e, mp_ten t, int rank, const int64_t *dims) {
  mp_tensor_info i = *mp_em_info(e, t);
  if (rank == 0 && i.rank) return mp_op_sum_dims(e, t, NULL, 0, false);
  int lead = i.rank - rank;
  int64_t sum[MP_RANK];
  uint32_t n = 0;
  for (int d = 0; d < i.rank; d++)
    if (d < lead || (dims[d - lead] == 1 && i.dims[d] != 1)) sum[n++] = d;
  if (!n) return t;
  size_t scope = mp_em_enter(e);
  mp_ten r = mp_op_sum_dims(e, t, sum, n, true);
  if (lead > 0) r = mp_op_view(e, r, rank, dims);
  return mp_em_leave1(e, scope, r);
}

/* ---- elementwise ---- */

static void back_add(mp_em *e, mp_bw *b) {
  (void)e;
  mp_bw_give(b, 1, mp_bw_grad(b, 0));
  mp_bw_give(b, 0, mp_bw_grad(b, 0));
}
static const mp_grad grad_add = {"AddBackward0", back_add};

mp_ten mp_op_add(mp_em *e, mp_ten a, mp_ten b) {
  int64_t dims[MP_RANK];
  mp_ten in[] = {a, b};
  int rank = mp_broadcast(e, a, b, dims);
  mp_ten r = same_dtype(e, "aten::add", in, 2, rank, dims, mp_promote(e, a, b));
  if (mp_fn_begin(e, &grad_add, in, 2)) {
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  return r;
}

static void back_mul(mp_em *e, mp_bw *b) {
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mp_op_mul(e, mp_bw_grad(b, 0), mp_bw_saved(b, 0)));
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, mp_op_mul(e, mp_bw_grad(b, 0), mp_bw_saved(b, 1)));
}
static const mp_grad grad_mul = {"MulBackward0", back_mul};

mp_ten mp_op_mul(mp_em *e, mp_ten a, mp_ten b) {
  int64_t dims[MP_RANK];
  mp_ten in[] = {a, b};
  int rank = mp_broadcast(e, a, b, dims);
  mp_ten r = same_dtype(e, "aten::mul", in, 2, rank, dims, mp_promote(e, a, b));
  if (mp_fn_begin(e, &grad_mul, in, 2)) {
    if (mp_em_needs(e, b)) mp_fn_save(e, 0, a);
    if (mp_em_needs(e, a)) mp_fn_save(e, 1, b);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  return r;
}

static void back_scaled(mp_em *e, mp_bw *b) { mp_bw_give(b, 0, mp_em_new_like(e, "aten::mul", mp_bw_grad(b, 0))); }
static void back_divided(mp_em *e, mp_bw *b) { mp_bw_give(b, 0, mp_em_new_like(e, "aten::div", mp_bw_grad(b, 0))); }
static void back_negated(mp_em *e, mp_bw *b) { mp_bw_give(b, 0, mp_op_neg(e, mp_bw_grad(b, 0))); }
static const mp_grad grad_mul_scalar = {"MulBackward0", back_scaled}, grad_div_scalar = {"DivBackward0", back_divided}, grad_neg = {"NegBackward0", back_negated};

static mp_ten unary(mp_em *e, const char *op, const mp_grad *row, mp_ten a) {
  mp_ten r = mp_em_new_like(e, op, a);
  if (mp_fn_begin(e, row, &a, 1)) {
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  return r;
}
mp_ten mp_op_mul_scalar(mp_em *e, mp_ten a, double s) {
  (void)s;
  return unary(e, "aten::mul", &grad_mul_scalar, a);
}
mp_ten mp_op_div_scalar(mp_em *e, mp_ten a, double s) {
  (void)s;
  return unary(e, "aten::div", &grad_div_scalar, a);
}
mp_ten mp_op_neg(mp_em *e, mp_ten a) { return unary(e, "aten::neg", &grad_neg, a); }

/* ---- matrix products ---- */

static bool is_column_major(const mp_tensor_info *t) { return t->rank == 2 && t->strides[0] == 1 && t->strides[1] == t->dims[0]; }

/* FunctionsManual.cpp, mm_mat1_backward and mm_mat2_backward: the gradient in the operand's layout */
static mp_ten mat1_gradient(mp_em *e, mp_ten g, mp_ten mat2, const mp_tensor_info *mat1) {
  if (is_column_major(mat1)) return mp_op_t(e, mp_op_mm(e, mat2, mp_op_t(e, g)));
  return mp_op_mm(e, g, mp_op_t(e, mat2));
}
static mp_ten mat2_gradient(mp_em *e, mp_ten g, mp_ten mat1, const mp_tensor_info *mat2) {
  if (is_column_major(mat2)) return mp_op_t(e, mp_op_mm(e, mp_op_t(e, g), mat1));
  return mp_op_mm(e, mp_op_t(e, mat1), g);
}

static void back_mm(mp_em *e, mp_bw *b) {
  mp_tensor_info a = *mp_bw_input(b, 0), m = *mp_bw_input(b, 1);
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mat2_gradient(e, mp_bw_grad(b, 0), mp_bw_saved(b, 0), &m));
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, mat1_gradient(e, mp_bw_grad(b, 0), mp_bw_saved(b, 1), &a));
}
static const mp_grad grad_mm = {"MmBackward0", back_mm};

mp_ten mp_op_mm(mp_em *e, mp_ten a, mp_ten b) {
  int64_t dims[] = {mp_em_info(e, a)->dims[0], mp_em_info(e, b)->dims[1]};
  mp_ten in[] = {a, b}, r = mp_em_new(e, "aten::mm", mp_em_info(e, a)->dtype, 2, dims);
  if (mp_fn_begin(e, &grad_mm, in, 2)) {
    if (mp_em_needs(e, b)) mp_fn_save(e, 0, a);
    if (mp_em_needs(e, a)) mp_fn_save(e, 1, b);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  return r;
}

static void back_addmm(mp_em *e, mp_bw *b) { /* inputs: self, mat1, mat2 */
  mp_tensor_info m1 = *mp_bw_input(b, 1), m2 = *mp_bw_input(b, 2);
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mat1_gradient(e, mp_bw_grad(b, 0), mp_bw_saved(b, 1), &m1));
  if (mp_bw_wants(b, 2)) mp_bw_give(b, 2, mat2_gradient(e, mp_bw_grad(b, 0), mp_bw_saved(b, 0), &m2));
  mp_bw_give(b, 0, mp_bw_grad(b, 0));
}
static const mp_grad grad_addmm = {"AddmmBackward0", back_addmm};

mp_ten mp_op_addmm(mp_em *e, mp_ten bias, mp_ten a, mp_ten b) {
  int64_t dims[] = {mp_em_info(e, a)->dims[0], mp_em_info(e, b)->dims[1]};
  mp_ten in[] = {bias, a, b}, r = mp_em_new(e, "aten::addmm", mp_em_info(e, a)->dtype, 2, dims);
  if (mp_fn_begin(e, &grad_addmm, in, 3)) {
    if (mp_em_needs(e, b)) mp_fn_save(e, 0, a);
    if (mp_em_needs(e, a)) mp_fn_save(e, 1, b);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  return r;
}

static void back_bmm(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mp_op_bmm(e, mp_op_transpose(e, mp_bw_saved(b, 0), 1, 2), g));
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, mp_op_bmm(e, g, mp_op_transpose(e, mp_bw_saved(b, 1), 1, 2)));
}
static const mp_grad grad_bmm = {"BmmBackward0", back_bmm};

mp_ten mp_op_bmm(mp_em *e, mp_ten a, mp_ten b) {
  int64_t dims[] = {mp_em_info(e, a)->dims[0], mp_em_info(e, a)->dims[1], mp_em_info(e, b)->dims[2]};
  mp_ten in[] = {a, b}, r = mp_em_new(e, "aten::bmm", mp_em_info(e, a)->dtype, 3, dims);
  if (mp_fn_begin(e, &grad_bmm, in, 2)) {
    if (mp_em_needs(e, b)) mp_fn_save(e, 0, a);
    if (mp_em_needs(e, a)) mp_fn_save(e, 1, b);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  return r;
}

static void back_mv(mp_em *e, mp_bw *b) { /* self: grad.ger(vec), which is grad.unsqueeze * vec; vec: self.t().mv(grad) */
  mp_ten g = mp_bw_grad(b, 0);
  mp_tensor_info m = *mp_bw_input(b, 0), v = *mp_bw_input(b, 1);
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, mp_em_new(e, "aten::mul", m.dtype, 2, m.dims));
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mp_em_new(e, "aten::mv", v.dtype, 1, v.dims));
  (void)g;
}
static const mp_grad grad_mv = {"MvBackward0", back_mv};

mp_ten mp_op_mv(mp_em *e, mp_ten a, mp_ten b) {
  mp_ten in[] = {a, b}, r = mp_em_new(e, "aten::mv", mp_em_info(e, a)->dtype, 1, mp_em_info(e, a)->dims);
  if (mp_fn_begin(e, &grad_mv, in, 2)) {
    if (mp_em_needs(e, b)) mp_fn_save(e, 0, a);
    if (mp_em_needs(e, a)) mp_fn_save(e, 1, b);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  return r;
}

/* ---- matmul: aten/src/ATen/native/LinearAlgebra.cpp, should_fold and _matmul_impl ---- */

static bool should_fold(mp_em *e, mp_ten a, mp_ten b) {
  mp_tensor_info x = *mp_em_info(e, a), y = *mp_em_info(e, b);
  bool larger = x.rank >= y.rank;
  int d1 = larger ? x.rank : y.rank, d2 = larger ? y.rank : x.rank;
  if (!(d1 >= 3 && d2 <= 2)) return false;
  if (mp_em_needs(e, larger ? b : a)) return true;
  if (x.rank == 2) return false;
  mp_tensor_info t = larger ? x : y;
  if (!larger) { /* .mT */
    int64_t d = t.dims[t.rank - 1], s = t.strides[t.rank - 1];
    t.dims[t.rank - 1] = t.dims[t.rank - 2];
    t.strides[t.rank - 1] = t.strides[t.rank - 2];
    t.dims[t.rank - 2] = d;
    t.strides[t.rank - 2] = s;
  }
  if (mp_numel(&t) == 0) return true;
  for (int i = 0; i < t.rank - 2; i++)
    if (t.strides[i] != t.strides[i + 1] * t.dims[i + 1]) return false;
  return true;
}

static mp_ten folded(mp_em *e, mp_ten a, mp_ten b) {
  bool larger = mp_em_info(e, a)->rank >= mp_em_info(e, b)->rank;
  mp_ten t1 = larger ? a : mp_op_transpose(e, b, -2, -1);
  mp_ten t2 = larger ? b : mp_em_info(e, a)->rank == 2 ? mp_op_t(e, a) : a;
  mp_tensor_info i = *mp_em_info(e, t1);
  bool matrix = mp_em_info(e, t2)->rank == 2;
  int64_t out[MP_RANK], flat[2] = {1, i.dims[i.rank - 1]};
  int n = 0;
  for (; n < i.rank - 1; n++) {
    out[n] = i.dims[n];
    flat[0] *= i.dims[n];
  }
  if (matrix) out[n++] = mp_em_info(e, t2)->dims[1];
  mp_ten f = mp_op_reshape(e, t1, 2, flat);
  mp_ten r = mp_op_unsafe_view(e, matrix ? mp_op_mm(e, f, t2) : mp_op_mv(e, f, t2), n, out);
  return larger || !matrix ? r : mp_op_contiguous(e, mp_op_transpose(e, r, -2, -1));
}

static mp_ten batched(mp_em *e, mp_ten a, mp_ten b) {
  mp_tensor_info x = *mp_em_info(e, a), y = *mp_em_info(e, b);
  bool vector = y.rank == 1;
  int64_t n = x.rank > 1 ? x.dims[x.rank - 2] : 1, m = x.dims[x.rank - 1], p = vector ? 1 : y.dims[y.rank - 1], m2 = vector ? y.dims[0] : y.dims[y.rank - 2];
  int bx = x.rank > 2 ? x.rank - 2 : 0, by = y.rank > 2 ? y.rank - 2 : 0, nb = bx > by ? bx : by;
  int64_t batch[MP_RANK], size[MP_RANK], out[MP_RANK], product = 1;
  for (int k = 1; k <= nb; k++) {
    int64_t u = k <= bx ? x.dims[bx - k] : 1, w = k <= by ? y.dims[by - k] : 1;
    batch[nb - k] = u == 1 ? w : u;
    product *= batch[nb - k];
  }
  memcpy(size, batch, sizeof size);
  memcpy(out, batch, sizeof out);
  size[nb] = n;
  size[nb + 1] = m;
  mp_ten l = mp_op_reshape(e, mp_op_expand(e, a, nb + 2, size), 3, (int64_t[]){product, n, m});
  if (vector) b = mp_op_unsqueeze(e, b, 1);
  size[nb] = m2;
  size[nb + 1] = p;
  mp_ten r = mp_op_reshape(e, mp_op_expand(e, b, nb + 2, size), 3, (int64_t[]){product, m2, p});
  mp_ten z = mp_op_bmm(e, l, r);
  int rank = nb;
  if (x.rank > 1) out[rank++] = n;
  if (!vector) out[rank++] = p;
  return mp_op_unsafe_view(e, z, rank, out);
}

mp_ten mp_op_matmul(mp_em *e, mp_ten a, mp_ten b) {
  int ra = mp_em_ranked(e, a, 1)->rank, rb = mp_em_ranked(e, b, 1)->rank;
  size_t scope = mp_em_enter(e);
  mp_ten r;
  if (ra == 1 && rb == 1) r = mp_op_sum_dims(e, mp_op_mul(e, a, b), NULL, 0, false); /* dot */
  else if (ra == 2 && rb == 1) r = mp_op_mv(e, a, b);
  else if (ra == 1 && rb == 2) r = mp_op_squeeze(e, mp_op_mm(e, mp_op_unsqueeze(e, a, 0), b), 0);
  else if (ra == 2 && rb == 2) r = mp_op_mm(e, a, b);
  else r = should_fold(e, a, b) ? folded(e, a, b) : batched(e, a, b);
  return mp_em_leave1(e, scope, r);
}

/* aten/src/ATen/native/Linear.cpp, linear and _flatten_nd_linear */
mp_ten mp_op_linear(mp_em *e, mp_ten x, mp_ten w, mp_ten bias) {
  size_t scope = mp_em_enter(e);
  mp_tensor_info i = *mp_em_ranked(e, x, 1);
  mp_ten wt = mp_op_t(e, w), r;
  if (bias >= 0 && i.rank == 2) {
    r = mp_op_addmm(e, bias, x, wt);
  } else if (bias >= 0 && i.rank > 2 && mp_is_contiguous(&i)) {
    int64_t flat[] = {-1, i.dims[i.rank - 1]};
    r = mp_op_addmm(e, bias, mp_op_reshape(e, x, 2, flat), wt);
    i.dims[i.rank - 1] = mp_em_info(e, w)->dims[0];
    r = mp_op_view(e, r, i.rank, i.dims);
  } else {
    r = mp_op_matmul(e, x, wt);
    if (bias >= 0) r = mp_op_add(e, r, bias);
  }
  return mp_em_leave1(e, scope, r);
}
