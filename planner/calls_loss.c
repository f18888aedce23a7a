/* Embeddings and losses. Cross entropy is log_softmax and nll_loss: it keeps the log probabilities once, not the logits. */
#include "planner/calls.h"

enum { REDUCE_NONE, REDUCE_MEAN, REDUCE_SUM };

/* ---- embedding(weight, indices, padding_idx, scale_grad_by_freq, sparse): the gradient is dense, of the weight's size ---- */

static void embedding_backward(mp_em *e, mp_bw *b) {
  if (mp_bw_grad(b, 0) < 0) return;
  const mp_tensor_info *w = mp_bw_input(b, 0);
  mp_bw_give(b, 0, mp_fresh(e, "aten::embedding_dense_backward", w->dtype, w));
}
static const mp_grad embedding_grad = {"EmbeddingBackward0", embedding_backward};

static void f_embedding(mp_em *e) {
  mp_ten w = mp_c_ten(e, 0), ids = mp_c_ten(e, 1);
  mp_tensor_info i = *mp_em_info(e, ids), wi = *mp_em_info(e, w);
  if (wi.rank != 2 || i.rank >= MP_RANK)
    mp_fail(mp_em_arena(e), MP_BAD_INPUT, "aten::embedding: a weight of %d dimensions, expected (rows, columns)", wi.rank);
  i.dims[i.rank] = wi.dims[1];
  mp_ten y = mp_em_new(e, "aten::embedding", wi.dtype, i.rank + 1, i.dims);
  mp_record(e, &embedding_grad, MP_TENS(w), MP_TENS(ids), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}

static const mp_grad embedding_bag_grad = {"EmbeddingBagBackward0", embedding_backward};
static void f_embedding_bag(mp_em *e) { /* (weight, indices, offsets, ...) */
  mp_ten w = mp_c_ten(e, 0), ids = mp_c_ten(e, 1), offsets = mp_c_is_ten(e, 2) ? mp_c_ten(e, 2) : -1;
  size_t s = mp_em_enter(e);
  mp_tensor_info i = *mp_em_info(e, ids), wi = *mp_em_info(e, w);
  int64_t count = (int64_t)mp_numel(&i), bags = offsets >= 0 ? mp_em_info(e, offsets)->dims[0] : i.dims[0], dims[] = {bags, wi.dims[1]};
  if (offsets < 0) offsets = mp_em_new(e, "aten::arange", MP_INT64, 1, &bags);
  const char *op = "aten::_embedding_bag";
  mp_ten y = mp_em_new(e, op, wi.dtype, 2, dims), bag_of = mp_em_new(e, op, MP_INT64, 1, &count), size = mp_em_new(e, op, MP_INT64, 1, &bags);
  mp_record(e, &embedding_bag_grad, MP_TENS(w), MP_TENS(ids, offsets, bag_of, size), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
  mp_em_leave(e, s, MP_NO_TENS);
}

/* ---- nll_loss ---- */

static void nll_backward(mp_em *e, mp_bw *b) {
  if (mp_bw_grad(b, 0) < 0) return;
  const mp_tensor_info *x = mp_bw_input(b, 0);
  mp_bw_give(b, 0, mp_fresh(e, x->rank == 4 ? "aten::nll_loss2d_backward" : "aten::nll_loss_backward", x->dtype, x));
}
static const mp_grad nll_grad = {"NllLossBackward0", nll_backward}, nll2d_grad = {"NllLoss2DBackward0", nll_backward};

static mp_ten nll_kernel(mp_em *e, mp_ten x, mp_ten target, mp_ten w, int64_t reduction) {
  w = mp_em_autocast(e, w, MP_CAST_FP32);
  x = mp_em_autocast(e, x, MP_CAST_FP32);
  mp_tensor_info i = *mp_em_info(e, x), t = *mp_em_info(e, target);
  bool two_d = i.rank == 4;
  const char *op = two_d ? "aten::nll_loss2d_forward" : "aten::nll_loss_forward";
  mp_ten y = reduction == REDUCE_NONE ? mp_em_new(e, op, i.dtype, t.rank, t.dims) : mp_em_scalar(e, op, i.dtype);
  mp_ten total = mp_em_scalar(e, op, i.dtype);
  mp_em_set_what(e, total, MP_WHAT_STATISTICS);
  mp_record(e, two_d ? &nll2d_grad : &nll_grad, MP_TENS(x), MP_TENS(x, target, w, total), MP_NO_INTS, y);
  return y;
}

/* nll_loss_nd: (N, C), (N, C, H, W); other ranks are viewed as the latter */
static mp_ten nll(mp_em *e, mp_ten x, mp_ten target, mp_ten w, int64_t reduction) {
  size_t s = mp_em_enter(e);
  mp_tensor_info i = *mp_em_info(e, x), t = *mp_em_info(e, target);
  if (i.rank <= 2 || i.rank == 4) return mp_em_leave1(e, s, nll_kernel(e, x, target, w, reduction));
  int64_t four[] = {i.dims[0], i.dims[1], 1, -1}, three[] = {i.dims[0], 1, -1};
  x = mp_op_reshape(e, mp_op_contiguous(e, x), 4, four);
  mp_ten flat = mp_op_reshape(e, mp_op_contiguous(e, target), 3, three);
  mp_ten y = nll_kernel(e, x, flat, w, reduction);
  if (reduction == REDUCE_NONE) y = mp_op_view(e, y, t.rank, t.dims);
  return mp_em_leave1(e, s, y);
}

static void f_nll_loss(mp_em *e) { mp_c_out(e, 0, nll(e, mp_c_ten(e, 0), mp_c_ten(e, 1), mp_c_ten(e, 2), mp_c_int(e, 3, REDUCE_MEAN))); }

/* ---- cross_entropy_loss(x, target, weight, reduction, ignore_index, label_smoothing) ---- */

static mp_dtype wide_sum(mp_em *e, mp_ten x) { return mp_em_is_autocast(e) && mp_is_half(mp_em_info(e, x)->dtype) ? MP_FLOAT : MP_UNDEFINED; }

static mp_ten class_weight(mp_em *e, mp_ten w, int rank) { /* viewed to broadcast over the classes */
  int64_t dims[MP_RANK];
  for (int d = 0; d < rank; d++) dims[d] = 1;
  dims[rank > 1 ? 1 : 0] = mp_em_info(e, w)->dims[0];
  return mp_op_view(e, w, rank, dims);
}

static mp_ten soft_targets(mp_em *e, mp_ten x, mp_ten target, mp_ten w, int64_t reduction, bool smooth) {
  int rank = mp_em_info(e, x)->rank;
  int64_t axis = rank > 1 ? 1 : 0;
  mp_ten logp = mp_log_softmax(e, x, axis, mp_em_info(e, x)->dtype);
  if (smooth) target = mp_kernels(e, "mul ~add", MP_TENS(target));
  mp_ten p = mp_op_mul(e, logp, target);
  if (w >= 0) p = mp_op_mul(e, p, class_weight(e, w, rank));
  if (reduction == REDUCE_NONE) return mp_op_neg(e, mp_sum(e, p, &axis, 1, false, wide_sum(e, p)));
  mp_ten y = mp_op_neg(e, mp_sum(e, p, MP_NO_INTS, false, wide_sum(e, p)));
  return reduction == REDUCE_MEAN ? mp_op_div_scalar(e, y, 1.0) : y;
}

static void filled_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (g >= 0) mp_bw_give(b, 0, mp_kernel(e, "aten::masked_fill", mp_em_info(e, g)->dtype, MP_TENS(g)));
}
static void ratio_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (g >= 0) mp_bw_give(b, 0, mp_kernel2(e, "aten::div", g, mp_bw_saved(b, 0)));
}
static const mp_grad filled_grad = {"MaskedFillBackward0", filled_backward}, ratio_grad = {"DivBackward0", ratio_backward};

static mp_ten ratio(mp_em *e, mp_ten a, mp_ten b) {
  mp_ten y = mp_kernel(e, "aten::div", mp_em_info(e, a)->dtype, MP_TENS(a));
  mp_record(e, &ratio_grad, MP_TENS(a), MP_TENS(b), MP_NO_INTS, y);
  return y;
}

/* cross_entropy_loss_label_smoothing: the usual loss, and the mean over all classes beside it */
static mp_ten smoothed(mp_em *e, mp_ten x, mp_ten target, mp_ten w, int64_t reduction) {
  int rank = mp_em_info(e, x)->rank;
  int64_t axis = rank > 1 ? 1 : 0;
  mp_ten logp = mp_log_softmax(e, x, axis, mp_em_info(e, x)->dtype);
  mp_ten hard = nll(e, logp, target, w, reduction);
  mp_ten each = w >= 0 ? mp_op_mul(e, logp, class_weight(e, w, rank)) : logp;
  mp_ten total = mp_sum(e, each, &axis, 1, false, wide_sum(e, each)), all = mp_op_neg(e, total);
  mp_em_drop(e, total);
  if (w >= 0) mp_em_drop(e, each);
  mp_ten ignored = mp_kernel(e, "aten::eq", MP_BOOL, MP_TENS(target));
  mp_em_set_what(e, ignored, MP_WHAT_MASK);
  mp_ten soft = mp_em_alias(e, all); /* masked_fill_ */
  mp_record(e, &filled_grad, MP_TENS(all), MP_TENS(ignored), MP_NO_INTS, soft);
  if (reduction == REDUCE_MEAN) {
    mp_ten kept = w >= 0 ? mp_kernel1(e, "aten::masked_fill", target) : mp_kernel(e, "aten::bitwise_not", MP_BOOL, MP_TENS(ignored)),
           each_weight = -1;
    if (w >= 0) each_weight = mp_kernel(e, "aten::gather", mp_em_info(e, w)->dtype, MP_TENS(target));
    mp_ten count = mp_em_scalar(e, "aten::sum", w >= 0 ? mp_em_info(e, w)->dtype : MP_INT64),
           sum = mp_sum(e, soft, MP_NO_INTS, false, wide_sum(e, soft));
    soft = ratio(e, sum, count);
    mp_em_drop(e, kept);
    if (each_weight >= 0) mp_em_drop(e, each_weight);
    mp_em_drop(e, sum);
  } else if (reduction == REDUCE_SUM)
    soft = mp_sum(e, soft, MP_NO_INTS, false, wide_sum(e, soft));
  mp_ten right = mp_op_mul_scalar(e, soft, 0.1), left = mp_op_mul_scalar(e, hard, 0.9);
  return mp_op_add(e, left, right);
}

static void f_cross_entropy(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), target = mp_c_ten(e, 1), w = mp_c_ten(e, 2);
  int64_t reduction = mp_c_int(e, 3, REDUCE_MEAN);
  bool smooth = mp_c_float(e, 5, 0.0) > 0.0;
  size_t s = mp_em_enter(e);
  mp_tensor_info t = *mp_em_info(e, target);
  mp_ten y;
  if (mp_dtype_is_float(t.dtype))
    y = soft_targets(e, x, target, w, reduction, smooth);
  else if (smooth)
    y = smoothed(e, x, target, w, reduction);
  else {
    mp_ten logp = mp_log_softmax(e, x, 1, mp_em_info(e, x)->dtype);
    y = nll(e, logp, target, w, reduction);
  }
  mp_em_leave1(e, s, y);
  mp_c_out(e, 0, y);
}

/* ---- losses that are one kernel each way: keep both operands ---- */

static void pair_backward(mp_em *e, mp_bw *b, const char *op) {
  mp_ten g = mp_bw_grad(b, 0);
  if (g < 0) return;
  for (uint32_t k = 0; k < 2; k++)
    if (mp_bw_wants(b, k)) mp_bw_give(b, k, mp_kernel(e, op, MP_UNDEFINED, MP_TENS(mp_bw_saved(b, 0), mp_bw_saved(b, 1))));
}
#define PAIR(NAME, NODE)                                                                               \
  static void NAME##_backward(mp_em *e, mp_bw *b) { pair_backward(e, b, "aten::" #NAME "_backward"); } \
  static const mp_grad NAME##_grad = {NODE, NAME##_backward};                                          \
  static void f_##NAME(mp_em *e) { pair(e, &NAME##_grad); }

static void pair_loss(mp_em *e, const mp_grad *row, int64_t reduction) {
  mp_ten x = mp_c_ten(e, 0), t = mp_c_ten(e, 1);
  const char *op = mp_em_call(e)->row->name;
  mp_ten y = reduction == REDUCE_NONE ? mp_kernel2(e, op, x, t) : mp_em_scalar(e, op, mp_promote(e, x, t));
  mp_record(e, row, MP_TENS(x, t), MP_TENS(x, t), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}
static void pair(mp_em *e, const mp_grad *row) { pair_loss(e, row, mp_c_int(e, 2, REDUCE_MEAN)); }

PAIR(mse_loss, "MseLossBackward0")
PAIR(smooth_l1_loss, "SmoothL1LossBackward0")
PAIR(huber_loss, "HuberLossBackward0")
PAIR(soft_margin_loss, "SoftMarginLossBackward0")

/* ---- binary cross entropy: (x, target, weight, reduction), with logits (x, target, weight, pos_weight, reduction) ---- */

static void bce_backward(mp_em *e, mp_bw *b) { pair_backward(e, b, "aten::binary_cross_entropy_backward"); }
static const mp_grad bce_grad = {"BinaryCrossEntropyBackward0", bce_backward};
static void f_bce(mp_em *e) { pair_loss(e, &bce_grad, mp_c_int(e, 3, REDUCE_MEAN)); }

static void bce_logits_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0), x = mp_bw_saved(b, 0), t = mp_bw_saved(b, 1), p = mp_bw_saved(b, 2);
  if (g < 0) return;
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, mp_statement(e, p >= 0 ? "mul add sub sigmoid mul ~sub mul" : "sigmoid ~sub mul", MP_TENS(x, t)));
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mp_statement(e, "neg mul", MP_TENS(x, t)));
}
static const mp_grad bce_logits_grad = {"BinaryCrossEntropyWithLogitsBackward0", bce_logits_backward};
static void f_bce_logits(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), t = mp_c_ten(e, 1), w = mp_c_ten(e, 2), p = mp_c_ten(e, 3);
  const char *op = mp_em_call(e)->row->name;
  mp_ten y = mp_c_int(e, 4, REDUCE_MEAN) == REDUCE_NONE ? mp_kernel2(e, op, x, t) : mp_em_scalar(e, op, mp_em_info(e, x)->dtype);
  mp_record(e, &bce_logits_grad, MP_TENS(x, t), MP_TENS(x, t, p, w), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}

/* ---- losses made of elementwise calls and a reduction ---- */

static mp_ten reduced(mp_em *e, mp_ten y, int64_t reduction) {
  if (reduction == REDUCE_MEAN) return mp_mean(e, y, MP_NO_INTS, false, MP_UNDEFINED);
  return reduction == REDUCE_SUM ? mp_sum(e, y, MP_NO_INTS, false, wide_sum(e, y)) : y;
}
static void f_l1_loss(mp_em *e) {
  size_t s = mp_em_enter(e);
  mp_ten y = mp_unary(e, "abs", mp_sub(e, mp_c_ten(e, 0), mp_c_ten(e, 1)));
  y = reduced(e, y, mp_c_int(e, 2, REDUCE_MEAN));
  mp_em_leave1(e, s, y);
  mp_c_out(e, 0, y);
}
static void f_kl_div(mp_em *e) { /* (x, target, reduction, log_target) */
  mp_ten x = mp_c_ten(e, 0), t = mp_c_ten(e, 1);
  size_t s = mp_em_enter(e);
  mp_ten y;
  if (mp_c_bool(e, 3, false)) {
    mp_ten d = mp_sub(e, t, x);
    y = mp_op_mul(e, mp_unary(e, "exp", t), d);
    mp_em_drop(e, d);
  } else {
    mp_ten cross = mp_op_mul(e, t, x);
    mp_ten own = mp_kernel2(e, "aten::xlogy", t, t);
    y = mp_sub(e, own, cross);
    mp_em_drop(e, own);
    mp_em_drop(e, cross);
  }
  y = reduced(e, y, mp_c_int(e, 2, REDUCE_MEAN));
  mp_em_leave1(e, s, y);
  mp_c_out(e, 0, y);
}

static void f_cosine_similarity(mp_em *e) { /* (x1, x2, dim, eps): both, made as large as each other, over their norms, which clamp_ then changes, multiplied, summed */
  size_t s = mp_em_enter(e);
  mp_ten x = mp_c_ten(e, 0), y = mp_c_ten(e, 1);
  mp_tensor_info to = *mp_em_info(e, x), other = *mp_em_info(e, y);
  for (int k = 1; k <= to.rank && to.rank == other.rank; k++)
    if (to.dims[to.rank - k] == 1) to.dims[to.rank - k] = other.dims[to.rank - k];
  if (to.rank == other.rank) {
    x = mp_op_expand(e, x, to.rank, to.dims);
    y = mp_op_expand(e, y, to.rank, to.dims);
  }
  int64_t dim = mp_em_axis(e, mp_c_int(e, 2, 1), mp_em_info(e, x)->rank);
  mp_ten nx = mp_op_clone(e, mp_norm(e, x, dim), false), ny = mp_op_clone(e, mp_norm(e, y, dim), false);
  mp_em_scalar(e, "aten::scalar_tensor", mp_em_info(e, x)->dtype);
  mp_ten right = mp_div(e, y, ny), left = mp_div(e, x, nx);
  mp_ten out = mp_sum(e, mp_op_mul(e, left, right), &dim, 1, false, MP_UNDEFINED);
  mp_em_leave1(e, s, out);
  mp_c_out(e, 0, out);
}

/* ---- distances of every row of x1 to every row of x2: cdist of more than 25 rows (aten/src/ATen/native/Distance.cpp, _euclidean_dist) ---- */

static mp_ten rows_by_rows(mp_em *e, const char *op, mp_ten x1, int64_t columns) {
  mp_tensor_info i = *mp_em_info(e, x1);
  i.dims[i.rank - 1] = columns;
  return mp_em_new(e, op, i.dtype, i.rank, i.dims);
}

static void euclidean_backward(mp_em *e, mp_bw *b) { /* FunctionsManual.cpp, _euclidean_dist_backward: the temporaries of both gradients die together */
  mp_ten g = mp_bw_grad(b, 0), x[] = {mp_bw_saved(b, 0), mp_bw_saved(b, 1)}, r = mp_bw_saved(b, 2), back[2];
  if (g < 0) return;
  size_t s = mp_em_enter(e);
  int rank = mp_em_info(e, r)->rank;
  mp_ten ratio = mp_kernel2(e, "aten::div", g, r);
  mp_statement(e, "?eq", MP_TENS(r));
  for (int k = 0; k < 2; k++) {
    int64_t over = rank - 1 - k;
    mp_ten sum = mp_reduced(e, "aten::sum", mp_em_info(e, ratio)->dtype, ratio, &over, 1, k == 0);
    if (k) sum = mp_op_unsqueeze(e, sum, -1);
    mp_ten scaled = mp_kernel2(e, "aten::mul", x[k], sum), product = mp_fresh_as(e, "aten::bmm", mp_em_info(e, x[k]));
    back[k] = mp_kernel2(e, "aten::sub", scaled, product);
  }
  mp_em_leave(e, s, back, 2);
  for (uint32_t k = 0; k < 2; k++) mp_bw_give(b, k, back[k]);
}
static const mp_grad euclidean_grad = {"EuclideanDistBackward0", euclidean_backward};

static void f_euclidean_dist(mp_em *e) {
  mp_ten x[] = {mp_c_ten(e, 0), mp_c_ten(e, 1)}, norm[2], ones[2];
  size_t s = mp_em_enter(e);
  int64_t last = mp_em_ranked(e, x[0], 2)->rank - 1, columns = mp_em_info(e, x[0])->dims[last];
  for (int k = 0; k < 2; k++) {
    mp_ten square = mp_kernel1(e, "aten::pow", x[k]);
    norm[k] = mp_reduced(e, "aten::sum", mp_em_info(e, x[k])->dtype, square, &last, 1, true);
    mp_em_drop(e, square);
    ones[k] = mp_kernel1(e, "aten::ones_like", norm[k]);
  }
  mp_ten twice = mp_kernel1(e, "aten::mul", x[0]);
  for (int k = 0; k < 2; k++) rows_by_rows(e, "aten::cat", x[k], columns + 2);
  mp_em_drop(e, twice);
  for (int k = 0; k < 2; k++) {
    mp_em_drop(e, norm[k]);
    mp_em_drop(e, ones[k]);
  }
  mp_ten out = rows_by_rows(e, "aten::_euclidean_dist", x[0], mp_em_ranked(e, x[1], 2)->dims[last - 1]);
  mp_record(e, &euclidean_grad, x, 2, MP_TENS(x[0], x[1], out), MP_NO_INTS, out);
  mp_em_leave1(e, s, out);
  mp_c_out(e, 0, out);
}

static const mp_call_row rows[] = {
    {"aten::_euclidean_dist", f_euclidean_dist, MP_CAST_FP32, "keeps both operands and the result"},
    {"aten::embedding", f_embedding, MP_CAST_NONE, "keeps its indices"},
    {"aten::embedding_bag", f_embedding_bag, MP_CAST_NONE, "keeps its indices and offsets"},
    {"aten::_embedding_bag", f_embedding_bag, MP_CAST_NONE, "keeps its indices and offsets"},
    {"aten::nll_loss", f_nll_loss, MP_CAST_NONE, "keeps its input and target"},
    {"aten::nll_loss2d", f_nll_loss, MP_CAST_NONE, "keeps its input and target"},
    {"aten::nll_loss_nd", f_nll_loss, MP_CAST_NONE, "keeps its input and target"},
    {"aten::nll_loss_forward", f_nll_loss, MP_CAST_NONE, "keeps its input and target"},
    {"aten::cross_entropy_loss", f_cross_entropy, MP_CAST_NONE,
     "keeps the log probabilities and the target; half logits under autocast: an fp32 copy of them too"},
    {"aten::mse_loss", f_mse_loss, MP_CAST_FP32, "keeps its input and target"},
    {"aten::smooth_l1_loss", f_smooth_l1_loss, MP_CAST_FP32, "keeps its input and target"},
    {"aten::huber_loss", f_huber_loss, MP_CAST_FP32, "keeps its input and target"},
    {"aten::soft_margin_loss", f_soft_margin_loss, MP_CAST_FP32, "keeps its input and target"},
    {"aten::binary_cross_entropy", f_bce, MP_CAST_NONE, "keeps its input and target"},
    {"aten::binary_cross_entropy_with_logits", f_bce_logits, MP_CAST_FP32, "keeps its input and target"},
    {"aten::l1_loss", f_l1_loss, MP_CAST_FP32, "keeps the difference"},
    {"aten::cosine_similarity", f_cosine_similarity, MP_CAST_FP32, "keeps both operands, their norms twice, both unit vectors"},
    {"aten::kl_div", f_kl_div, MP_CAST_FP32, "keeps the target"},
};
const mp_call_table mp_calls_loss = {rows, MP_COUNT(rows)};
