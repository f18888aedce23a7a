/* Rows of the table: elementwise calls, casts, reductions, losses. */
#include <string.h>

#include "planner/patterns.h"

static const char *name_of(mp_rec *r, const mp_hit *h) { return mp_strndup(r->a, h->row->call, strcspn(h->row->call, "(;")); }
static bool is_tensor(mp_arg a) { return a.kind == MP_ARG_VAR; }

/* weight * (x * rsqrt(...)) where the file cast x for its square alone: the framework casts the product to the weight's type first */
static bool squared_norm(mp_rec *r, const mp_hit *h) {
  const mp_node *n = mp_r_node(r, h->root);
  int32_t m = mp_r_is_parameter(r, n->in[0]) ? mp_r_maker(r, n->in[1], "Mul") : -1;
  int32_t c = m < 0 ? -1 : mp_r_maker(r, mp_r_raw(r, m, 0), "Cast");
  return c >= 0 && r->cast[c] == MP_CAST_SQUARE && mp_r_same_scope(r, c, h->root);
}

static mp_arg typed_like(mp_rec *r, const mp_hit *h, mp_arg x, mp_arg like) {
  mp_arg args[] = {x, like};
  int32_t out = mp_r_new_like(r, x.as.var);
  mp_r_call(r, h, "aten::type_as", args, 2, &out, 1);
  return mp_arg_var(out);
}

/* Two operands, either of them a number: Python's `2 * x` is mul(x, 2), `2 > x` is lt(x, 2). */
MP_ROW_EMIT(mp_row_operands) {
  static const char *const turned[][2] = {{"aten::add", "aten::add"},
                                          {"aten::mul", "aten::mul"},
                                          {"aten::eq", "aten::eq"},
                                          {"aten::gt", "aten::lt"},
                                          {"aten::ge", "aten::le"},
                                          {"aten::lt", "aten::gt"},
                                          {"aten::le", "aten::ge"},
                                          {"aten::bitwise_and", "aten::bitwise_and"},
                                          {"aten::bitwise_or", "aten::bitwise_or"}};
  const mp_node *n = mp_r_node(r, h->root);
  const char *name = name_of(r, h);
  mp_arg a = mp_r_arg(r, mp_r_in(r, h->root, 0)), b = mp_r_arg(r, mp_r_in(r, h->root, 1));
  bool pair = !strcmp(n->type, "Max") || !strcmp(n->type, "Min");
  if (pair && !is_tensor(a)) a = mp_r_tensor(r, mp_r_in(r, h->root, 0));
  if (pair && !is_tensor(b)) b = mp_r_tensor(r, mp_r_in(r, h->root, 1));
  if (is_tensor(a) && is_tensor(b) && !strcmp(name, "aten::mul") && squared_norm(r, h)) b = typed_like(r, h, b, a);
  if (!is_tensor(a) && is_tensor(b) && !strcmp(n->type, "Div")) { /* 2 / x */
    int32_t out = mp_r_result(r, h, 0), one = mp_r_new_like(r, out);
    mp_r_call(r, h, "aten::reciprocal", &b, 1, &one, 1);
    mp_arg args[] = {mp_arg_var(one), a};
    mp_r_call(r, h, "aten::mul", args, 2, &out, 1);
    return;
  }
  if (!is_tensor(a) && is_tensor(b))
    for (size_t i = 0; i < sizeof turned / sizeof *turned; i++)
      if (!strcmp(name, turned[i][0])) {
        mp_arg args[] = {b, a};
        mp_r_last(r, h, turned[i][1], args, 2);
        return;
      }
  mp_arg args[] = {a, b};
  mp_r_last(r, h, name, args, 2);
}

MP_ROW_EMIT(mp_row_where) {
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_r_arg(r, h->values[1]), mp_r_arg(r, h->values[2])};
  if (!is_tensor(args[1]) && !is_tensor(args[2])) { /* one of them is a 0-d tensor, or where would not know its type */
    const mp_node *n = mp_r_node(r, h->root);
    mp_dtype t = r->g->values[n->out[0]].dtype;
    int32_t filler = mp_r_new(r, "value", t, 0, NULL);
    mp_arg like = mp_r_latest_type(r, t), size = mp_arg_ints(r->a, NULL, 0); /* a mask has the type of the hidden states, whatever that is in the run */
    mp_arg full[] = {size, args[1], like}, of[] = {like, size, args[1]};
    bool typed = is_tensor(like);
    mp_r_call(r, h, typed ? "aten::new_full" : "aten::full", typed ? of : full, 3, &filler, 1);
    args[1] = mp_arg_var(filler);
  }
  mp_r_last(r, h, "aten::where", args, 3);
}

/* Only casts that a reader asked for are emitted; one to the same type matters where the run has another type than the file. */
MP_ROW_EMIT(mp_row_cast) {
  const mp_node *n = mp_r_node(r, h->root);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_dtype(r->g->values[n->out[0]].dtype)};
  if (r->cast[h->root] == MP_CAST_BACK) { /* to the type of what came into the norm */
    int32_t head = mp_r_norm_cast(r, mp_r_maker(r, mp_r_in(r, h->root, 0), "Mul"), h->root);
    if (head < 0) head = mp_r_layer_norm_cast(r, mp_r_maker(r, mp_r_in(r, h->root, 0), "LayerNormalization"), h->root);
    if (head >= 0) args[1] = mp_r_tensor(r, mp_r_in(r, head, 0));
    if (args[1].kind == MP_ARG_DTYPE) args[1] = mp_r_model_type(r, args[1].as.dtype); /* sines */
  }
  mp_r_last(r, h, args[1].kind == MP_ARG_VAR ? "aten::type_as" : "aten::to", args, 2);
}

/* hardtanh and relu6 write their limits as constants; clamp casts them to the operand's type */
MP_ROW_EMIT(mp_row_clip) {
  const mp_node *n = mp_r_node(r, h->root);
  int32_t low = n->ins > 1 ? n->in[1] : -1, high = n->ins > 2 ? n->in[2] : -1;
  bool hard = low >= 0 && high >= 0 && mp_r_maker(r, low, "Constant") >= 0 && mp_r_maker(r, high, "Constant") >= 0;
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), low < 0 ? mp_arg_none() : mp_r_arg(r, mp_r_in(r, h->root, 1)),
                   high < 0 ? mp_arg_none() : mp_r_arg(r, mp_r_in(r, h->root, 2))};
  mp_r_last(r, h, hard ? "aten::hardtanh" : "aten::clamp", args, 3);
}

MP_ROW_EMIT(mp_row_softmax) {
  const mp_node *n = mp_r_node(r, h->root);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_int(mp_node_int(n, "axis", -1)), mp_arg_none()};
  mp_r_last(r, h, name_of(r, h), args, 3);
}

MP_ROW_EMIT(mp_row_alpha) {
  const mp_node *n = mp_r_node(r, h->root);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_float(mp_node_float(n, "alpha", n->type[0] == 'L' ? 0.01 : 1.0))};
  mp_r_last(r, h, name_of(r, h), args, 2);
}

/* A module's own call and the same nodes written out in a forward look alike: in the scope of a module of which they are all there is, they are the
 * module's call. `beside`: a node that may stand there, too. */
static bool alone_in_scope(mp_rec *r, const mp_hit *h, int32_t beside) {
  for (int step = 1; step < 6; step++) {
    int32_t near[2] = {h->root - step, h->root + step};
    for (int k = 0; k < 2; k++) {
      if (near[k] < 0 || near[k] >= (int32_t)r->g->node_count || !mp_r_same_scope(r, near[k], h->root)) continue;
      bool own = near[k] == beside;
      for (uint32_t i = 0; i < h->node_count; i++) own |= h->nodes[i] == near[k];
      const char *type = mp_r_node(r, near[k])->type;
      if (!own && strcmp(type, "Constant") != 0 && strcmp(type, "Identity") != 0) return false;
    }
  }
  return true;
}
MP_ROW_CHECK(mp_row_in_module) { return mp_r_same_scope(r, h->root, h->nodes[h->node_count - 1]) && alone_in_scope(r, h, -1); }

/* do modules of the node's own read the value, and nothing else? */
static bool goes_to_modules(mp_rec *r, int32_t node, int32_t value) {
  const mp_node *m = mp_r_node(r, node);
  size_t scope = mp_r_scope_length(m);
  int32_t users[8];
  uint32_t n = mp_r_users(r, value, users, 8);
  for (uint32_t i = 0; i < n && i < 8; i++) {
    const mp_node *u = mp_r_node(r, users[i]);
    if (mp_r_scope_length(u) <= scope || strncmp(u->name, m->name, scope + 1) != 0) return false;
  }
  return n > 0 && n <= 8;
}

/* nn.SiLU; F.silu where it is an activation, handed to a module; the gate of F.silu(w1(x)) * w3(x): multiplied at once by another tensor. Few write
 * x * sigmoid(x) there. */
MP_ROW_CHECK(mp_row_is_silu) {
  int32_t users[2], out = mp_r_node(r, h->root)->out[0];
  if (mp_row_in_module(r, h) || goes_to_modules(r, h->root, out)) return true;
  if (mp_r_users(r, out, users, 2) != 1 || strcmp(mp_r_node(r, users[0])->type, "Mul") != 0 || !mp_r_same_scope(r, h->root, users[0])) return false;
  int32_t other = mp_r_in(r, users[0], mp_r_in(r, users[0], 0) == out);
  return other >= 0 && other != h->values[0] && !mp_r_is_python(r, other) && !mp_r_is_parameter(r, other);
}

/* torch.square(F.relu(x)), a module's, of which autocast makes a float32 power; elsewhere x * x */
MP_ROW_CHECK(mp_row_is_squared_relu) {
  int32_t relu = mp_r_maker(r, h->values[0], "Relu");
  return relu >= 0 && mp_r_same_scope(r, h->root, relu) && alone_in_scope(r, h, relu);
}

/* GLU: both halves of one Split */
MP_ROW_CHECK(mp_row_is_glu) {
  int32_t split = -1;
  for (uint32_t i = 0; i < h->node_count; i++)
    if (!strcmp(mp_r_node(r, h->nodes[i])->type, "Split")) {
      if (split >= 0 && split != h->nodes[i]) return false;
      split = h->nodes[i];
    }
  return split >= 0 && mp_r_node(r, split)->outs == 2;
}

MP_ROW_EMIT(mp_row_glu) {
  int64_t axis = 0;
  for (uint32_t i = 0; i < h->node_count; i++)
    if (!strcmp(mp_r_node(r, h->nodes[i])->type, "Split")) axis = mp_node_int(mp_r_node(r, h->nodes[i]), "axis", 0);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_int(axis)};
  mp_r_last(r, h, "aten::glu", args, 2);
}

/* Sum and Mean of any number of tensors: additions, one after another */
MP_ROW_EMIT(mp_row_sum) {
  const mp_node *n = mp_r_node(r, h->root);
  bool mean = n->type[0] == 'M';
  int32_t out = mp_r_result(r, h, 0);
  mp_arg sum = mp_r_tensor(r, mp_r_in(r, h->root, 0));
  for (int i = 1; i < n->ins; i++) {
    mp_arg args[] = {sum, mp_r_tensor(r, mp_r_in(r, h->root, i))};
    int32_t to = i + 1 == n->ins && !mean ? out : mp_r_new_like(r, out);
    mp_r_call(r, h, "aten::add", args, 2, &to, 1);
    sum = mp_arg_var(to);
  }
  mp_arg args[] = {sum, mp_arg_float(n->ins)};
  if (mean)
    mp_r_call(r, h, "aten::div", args, 2, &out, 1);
  else if (n->ins == 1)
    mp_r_call(r, h, "aten::alias", args, 1, &out, 1);
}

/* ---- reductions ---- */

static mp_arg axes_of(mp_rec *r, const mp_hit *h) {
  int64_t axes[MP_RANK];
  uint32_t n = 0;
  for (uint32_t i = 0; i < h->node_count && !n; i++)
    if (!strncmp(mp_r_node(r, h->nodes[i])->type, "Reduce", 6)) n = mp_r_axes(r, h->nodes[i], 1, axes);
  return n ? mp_arg_ints(r->a, axes, n) : mp_arg_none();
}

/* sum(), mean(), max(): of everything; with dims: sum(dims, keepdim). max(dim) and amax(dim) are the same node: max is the more usual, and keeps its
 * indices. */
MP_ROW_EMIT(mp_row_reduce) {
  const mp_node *n = mp_r_node(r, h->root);
  const char *name = name_of(r, h);
  mp_arg dims = axes_of(r, h), x = mp_r_tensor(r, h->values[0]), keep = mp_arg_bool(mp_node_int(n, "keepdims", 1) != 0);
  int32_t out = mp_r_result(r, h, 0);
  bool one = !strcmp(name, "aten::max") || !strcmp(name, "aten::min") || !strcmp(name, "aten::prod"), indices = one && name[6] == 'm';
  bool spread = !strcmp(name, "aten::var") || !strcmp(name, "aten::std");
  if (dims.kind == MP_ARG_NONE) {
    mp_r_call(r, h, name, &x, 1, &out, 1);
  } else if (spread) {
    mp_arg args[] = {x, dims, mp_arg_int(1), mp_arg_bool(mp_builder_at(r->b, out)->rank == mp_r_rank(r, h->values[0]))};
    mp_r_call(r, h, name, args, 4, &out, 1);
  } else if (one && dims.n == 1) {
    mp_arg args[] = {x, mp_arg_int(dims.as.ints[0]), keep};
    const mp_var v = *mp_builder_at(r->b, out);
    int32_t outs[2] = {out, indices ? mp_r_new(r, "indices", MP_INT64, v.rank, v.dims) : -1};
    mp_r_call(r, h, name, args, 3, outs, indices ? 2 : 1);
  } else {
    mp_arg args[] = {x, dims, keep};
    mp_r_call(r, h, one && indices ? (name[7] == 'a' ? "aten::amax" : "aten::amin") : name, args, 3, &out, 1);
  }
}

MP_ROW_EMIT(mp_row_norm) {
  const mp_node *n = mp_r_node(r, h->root);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_float(n->type[7] == '2' ? 2 : 1), axes_of(r, h),
                   mp_arg_bool(mp_node_int(n, "keepdims", 1) != 0)};
  mp_r_last(r, h, "aten::linalg_vector_norm", args, 4);
}

/* nn.utils.weight_norm: a parameter over its norm, times another parameter; all axes but the first or the last. -> the one that is left, -1 */
static int64_t weight_norm_dim(mp_rec *r, const mp_hit *h) {
  int64_t axes[MP_RANK];
  int rank = mp_r_rank(r, h->values[0]);
  int32_t norm = h->nodes[2];
  uint32_t n = mp_r_axes(r, norm, 1, axes);
  bool reduced[MP_RANK] = {false};
  if (rank < 2 || (int)n != rank - 1) return -1;
  for (uint32_t i = 0; i < n; i++) {
    int64_t d = axes[i] < 0 ? axes[i] + rank : axes[i];
    if (d >= 0 && d < rank) reduced[d] = true;
  }
  return !reduced[0] ? 0 : !reduced[rank - 1] ? rank - 1 : -1;
}
MP_ROW_CHECK(mp_row_is_weight_norm) {
  return mp_r_is_parameter(r, h->values[0]) && mp_r_is_parameter(r, h->values[1]) && mp_node_int(mp_r_node(r, h->nodes[2]), "keepdims", 1) && weight_norm_dim(r, h) >= 0;
}
MP_ROW_EMIT(mp_row_weight_norm) {
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_r_tensor(r, h->values[1]), mp_arg_int(weight_norm_dim(r, h))};
  mp_r_last(r, h, "aten::_weight_norm_interface", args, 3);
}

MP_ROW_EMIT(mp_row_cumsum) {
  double axis = 0;
  mp_r_number(r, mp_r_in(r, h->root, 1), &axis);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_int((int64_t)axis)};
  mp_r_last(r, h, "aten::cumsum", args, 2);
}

/* sort() is a TopK of the whole dimension */
MP_ROW_EMIT(mp_row_sort) {
  const mp_node *n = mp_r_node(r, h->root);
  int rank = mp_r_rank(r, h->values[0]);
  int64_t axis = mp_r_axis(r, h->root, mp_node_int(n, "axis", -1), rank);
  int64_t k = mp_r_dim(r, n->out[0] >= 0 ? n->out[0] : n->out[1], (int)axis);
  bool sort = k == mp_r_dim(r, h->values[0], (int)axis);
  int32_t outs[2] = {mp_r_result(r, h, 0), mp_r_result(r, h, 1)};
  mp_arg x = mp_r_tensor(r, h->values[0]), dim = mp_arg_int(axis), largest = mp_arg_bool(mp_node_int(n, "largest", 1) != 0);
  mp_arg sorting[] = {x, dim, largest}, picking[] = {x, mp_arg_int(k), dim, largest};
  if (sort)
    mp_r_call(r, h, "aten::sort", sorting, 3, outs, 2);
  else
    mp_r_call(r, h, "aten::topk", picking, 4, outs, 2);
}

/* ---- losses ---- */

MP_ROW_EMIT(mp_row_cosine) {
  int64_t axes[MP_RANK] = {1};
  mp_r_axes(r, h->nodes[1], 1, axes);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_r_tensor(r, h->values[1]), mp_arg_int(axes[0]), mp_arg_float(h->numbers[1])};
  mp_r_last(r, h, "aten::cosine_similarity", args, 4);
}

static mp_arg reduction_of(const mp_node *n) {
  const mp_attr *a = mp_node_attr(n, "reduction");
  const char *s = a && a->kind == MP_ATTR_STRING ? a->as.string : "mean";
  return mp_arg_int(!strcmp(s, "none") ? 0 : !strcmp(s, "sum") ? 2 : 1);
}

MP_ROW_EMIT(mp_row_cross_entropy) {
  const mp_node *n = mp_r_node(r, h->root);
  int32_t users[8], of = h->values[0];
  uint32_t count = mp_r_users(r, of, users, 8);
  for (uint32_t i = 0; i < count && i < 8; i++) /* nll_loss(log_softmax(x)), whose log_softmax is read elsewhere, too: the exporter joined the two */
    if (!strcmp(mp_r_node(r, users[i])->type, "LogSoftmax") && r->owner[users[i]] && r->owner[users[i]]->live && users[i] < h->root && mp_r_same_scope(r, users[i], h->root))
      of = mp_r_node(r, users[i])->out[0];
  mp_arg args[] = {mp_r_tensor(r, of),
                   mp_r_tensor(r, h->values[1]),
                   mp_r_tensor(r, h->values[2]),
                   reduction_of(n),
                   mp_arg_int(mp_node_int(n, "ignore_index", -100)),
                   mp_arg_float(0)};
  bool joined = of != h->values[0];
  mp_r_last(r, h, joined ? "aten::nll_loss" : "aten::cross_entropy_loss", args, joined ? 5 : 6);
}

MP_ROW_EMIT(mp_row_loss) {
  const mp_node *n = mp_r_node(r, h->root);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_r_tensor(r, h->values[1]), mp_r_tensor(r, h->values[2]), reduction_of(n),
                   mp_arg_int(mp_node_int(n, "ignore_index", -100))};
  mp_r_last(r, h, "aten::nll_loss", args, 5);
}
