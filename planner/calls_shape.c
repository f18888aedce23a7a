/* Rows of views: reshapes, permutations, parts. A view never allocates; reshape copies where no strides exist. */
#include <string.h>

#include "planner/em.h"

/* ---- one result that is a view of the first argument ---- */

static void view(mp_em *e) {
  int64_t dims[64];
  uint32_t n = mp_c_ints(e, 1, dims, 64);
  mp_c_out(e, 0, mp_op_view(e, mp_c_ten(e, 0), (int)n, dims));
}
static void reshape(mp_em *e) {
  int64_t dims[64];
  uint32_t n = mp_c_ints(e, 1, dims, 64);
  mp_c_out(e, 0, mp_op_reshape(e, mp_c_ten(e, 0), (int)n, dims));
}
static void reshape_as(mp_em *e) {
  mp_tensor_info i = *mp_em_info(e, mp_c_ten(e, 1));
  mp_c_out(e, 0, mp_op_reshape(e, mp_c_ten(e, 0), i.rank, i.dims));
}
static void flatten(mp_em *e) { /* flatten(x, start=0, end=-1) */
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t from = mp_c_int(e, 1, 0), to = mp_c_int(e, 2, -1), dims[MP_RANK], product = 1;
  from = mp_em_axis(e, from, i.rank);
  to = mp_em_axis(e, to, i.rank);
  int n = 0;
  for (int k = 0; k < i.rank; k++) {
    if (k >= from && k <= to) product *= i.dims[k];
    if (k < from || k > to) dims[n++] = i.dims[k];
    else if (k == to) dims[n++] = product;
  }
  if (!i.rank) dims[n++] = 1;
  mp_c_out(e, 0, i.rank && from == to ? x : mp_op_reshape(e, x, n, dims));
}
static void unflatten(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t dim = mp_c_int(e, 1, 0), parts[MP_RANK], dims[2 * MP_RANK];
  uint32_t m = mp_c_ints(e, 2, parts, MP_RANK);
  int n = 0;
  dim = mp_em_axis(e, dim, i.rank);
  for (int k = 0; k < i.rank; k++) {
    if (k != dim) dims[n++] = i.dims[k];
    for (uint32_t p = 0; k == dim && p < m; p++) dims[n++] = parts[p];
  }
  mp_c_out(e, 0, mp_op_view(e, x, n, dims));
}
static void permute(mp_em *e) {
  int64_t perm[MP_RANK];
  mp_c_ints(e, 1, perm, MP_RANK);
  mp_c_out(e, 0, mp_op_permute(e, mp_c_ten(e, 0), perm));
}
static void transpose(mp_em *e) { mp_c_out(e, 0, mp_op_transpose(e, mp_c_ten(e, 0), mp_c_int(e, 1, 0), mp_c_int(e, 2, 1))); }
static void t(mp_em *e) { mp_c_out(e, 0, mp_op_t(e, mp_c_ten(e, 0))); }
static void last_two(mp_em *e) { mp_c_out(e, 0, mp_op_transpose(e, mp_c_ten(e, 0), -2, -1)); }
static void expand(mp_em *e) {
  int64_t dims[MP_RANK];
  uint32_t n = mp_c_ints(e, 1, dims, MP_RANK);
  mp_c_out(e, 0, mp_op_expand(e, mp_c_ten(e, 0), (int)n, dims));
}
static void expand_as(mp_em *e) {
  mp_tensor_info i = *mp_em_info(e, mp_c_ten(e, 1));
  mp_c_out(e, 0, mp_op_expand(e, mp_c_ten(e, 0), i.rank, i.dims));
}
static void unsqueeze(mp_em *e) { mp_c_out(e, 0, mp_op_unsqueeze(e, mp_c_ten(e, 0), mp_c_int(e, 1, 0))); }
static void squeeze(mp_em *e) { /* squeeze(x), squeeze(x, dim), squeeze(x, dims) */
  mp_ten x = mp_c_ten(e, 0);
  int64_t dims[MP_RANK];
  uint32_t n = mp_c_ints(e, 1, dims, MP_RANK);
  int rank = mp_em_info(e, x)->rank;
  if (!mp_c_has(e, 1))
    for (int k = 0; k < rank; k++) dims[n++] = k;
  for (int k = rank - 1; k >= 0; k--)
    for (uint32_t m = 0; m < n; m++)
      if (mp_em_axis(e, dims[m], rank) == k) x = mp_op_squeeze(e, x, k);
  mp_c_out(e, 0, x);
}
static void select_(mp_em *e) { mp_c_out(e, 0, mp_op_select(e, mp_c_ten(e, 0), mp_c_int(e, 1, 0), mp_c_int(e, 2, 0))); }
static void slice(mp_em *e) { /* slice(x, dim=0, start=None, end=None, step=1) */
  mp_c_out(e, 0, mp_op_slice(e, mp_c_ten(e, 0), mp_c_int(e, 1, 0), mp_c_int(e, 2, 0), mp_c_int(e, 3, INT64_MAX), mp_c_int(e, 4, 1)));
}
static void narrow(mp_em *e) { /* narrow(x, dim, start, length) */
  int64_t start = mp_c_int(e, 2, 0);
  mp_c_out(e, 0, mp_op_slice(e, mp_c_ten(e, 0), mp_c_int(e, 1, 0), start, start + mp_c_int(e, 3, 0), 1));
}
static void alias(mp_em *e) { mp_c_out(e, 0, mp_c_ten(e, 0)); }
static void detach(mp_em *e) { mp_c_out(e, 0, mp_em_alias(e, mp_c_ten(e, 0))); }

/* unfold(x, dim, size, step): the windows of one dimension, a view */
static void back_unfold(mp_em *e, mp_bw *b) {
  mp_tensor_info in = *mp_bw_input(b, 0);
  mp_bw_give(b, 0, mp_em_new(e, "aten::unfold_backward", in.dtype, in.rank, in.dims));
}
static const mp_grad grad_unfold = {"UnfoldBackward0", back_unfold}, grad_diagonal = {"DiagonalBackward0", back_unfold}, grad_as_strided = {"AsStridedBackward0", back_unfold};

static mp_ten viewed(mp_em *e, const mp_grad *row, mp_ten in, mp_ten out) {
  if (mp_fn_begin(e, row, &in, 1)) {
    mp_fn_output(e, out);
    mp_fn_end(e);
  }
  return out;
}
static void unfold(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t dim = mp_c_int(e, 1, 0), size = mp_c_int(e, 2, 1), step = mp_c_int(e, 3, 1), dims[MP_RANK + 1], strides[MP_RANK + 1];
  dim = mp_em_axis(e, dim, i.rank);
  memcpy(dims, i.dims, sizeof i.dims);
  memcpy(strides, i.strides, sizeof i.strides);
  if (size < 0 || size > i.dims[dim] || step < 1)
    mp_fail(mp_em_arena(e), MP_BAD_INPUT, "aten::unfold of a dimension of %lld into windows of %lld every %lld; the recovered program is wrong here", (long long)i.dims[dim], (long long)size, (long long)step);
  dims[i.rank] = size;
  strides[i.rank] = i.strides[dim];
  dims[dim] = (i.dims[dim] - size) / step + 1;
  strides[dim] = mp_em_product(e, i.strides[dim], step);
  mp_c_out(e, 0, viewed(e, &grad_unfold, x, mp_em_view(e, x, i.rank + 1, dims, strides, i.offset)));
}
static void diagonal(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_ranked(e, x, 2);
  int64_t off = mp_c_int(e, 1, 0), d1 = mp_c_int(e, 2, 0), d2 = mp_c_int(e, 3, 1), dims[MP_RANK], strides[MP_RANK];
  d1 = mp_em_axis(e, d1, i.rank);
  d2 = mp_em_axis(e, d2, i.rank);
  if (d1 == d2) mp_fail(mp_em_arena(e), MP_BAD_INPUT, "aten::diagonal of dimension %lld with itself; the recovered program is wrong here", (long long)d1);
  int64_t rows = i.dims[d1] - (off < 0 ? -off : 0), cols = i.dims[d2] - (off > 0 ? off : 0);
  int n = 0;
  for (int k = 0; k < i.rank; k++)
    if (k != d1 && k != d2) {
      dims[n] = i.dims[k];
      strides[n++] = i.strides[k];
    }
  dims[n] = rows < cols ? rows : cols;
  if (dims[n] < 0) dims[n] = 0;
  strides[n++] = i.strides[d1] + i.strides[d2];
  mp_c_out(e, 0, viewed(e, &grad_diagonal, x, mp_em_view(e, x, n, dims, strides, i.offset)));
}
static void as_strided(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  int64_t dims[MP_RANK], strides[MP_RANK];
  uint32_t n = mp_c_ints(e, 1, dims, MP_RANK);
  if (mp_c_ints(e, 2, strides, MP_RANK) != n) mp_fail(mp_em_arena(e), MP_BAD_INPUT, "aten::as_strided with other strides than sizes; the recovered program is wrong here");
  mp_c_out(e, 0, viewed(e, &grad_as_strided, x, mp_em_view(e, x, (int)n, dims, strides, mp_c_int(e, 3, mp_em_info(e, x)->offset))));
}

/* movedim(x, source, destination) */
static void movedim(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  int rank = mp_em_info(e, x)->rank;
  int64_t from[MP_RANK], to[MP_RANK], perm[MP_RANK];
  uint32_t n = mp_c_ints(e, 1, from, MP_RANK);
  if (mp_c_ints(e, 2, to, MP_RANK) != n) mp_fail(mp_em_arena(e), MP_BAD_INPUT, "aten::movedim of %u dimensions to other places; the recovered program is wrong here", n);
  bool used[MP_RANK] = {false};
  for (int k = 0; k < rank; k++) perm[k] = -1;
  for (uint32_t k = 0; k < n; k++) {
    from[k] = mp_em_axis(e, from[k], rank);
    to[k] = mp_em_axis(e, to[k], rank);
    if (used[from[k]] || (to[k] < rank && perm[to[k]] >= 0)) mp_fail(mp_em_arena(e), MP_BAD_INPUT, "aten::movedim of one dimension twice; the recovered program is wrong here");
    perm[to[k]] = from[k];
    used[from[k]] = true;
  }
  for (int k = 0, next = 0; k < rank; k++) {
    if (perm[k] >= 0) continue;
    while (used[next]) next++;
    perm[k] = next++;
  }
  mp_c_out(e, 0, mp_op_permute(e, x, perm));
}

/* ---- several results: one node for all of them (SplitBackward0, SplitWithSizesBackward0, UnbindBackward0) ---- */

/* missing gradients become zeros, then cat; FunctionsManual.cpp, split_with_sizes_backward */
static void back_split(mp_em *e, mp_bw *b) {
  mp_tensor_info in = *mp_bw_input(b, 0);
  uint32_t outs = e->fns.at[b->fn].out_count;
  mp_dtype dtype = in.dtype;
  for (uint32_t k = 0; k < outs; k++)
    if (mp_bw_grad(b, k) >= 0) dtype = mp_em_info(e, mp_bw_grad(b, k))->dtype;
  for (uint32_t k = 0; k < outs; k++) {
    mp_tensor_info o = *mp_bw_output(b, k);
    if (mp_bw_grad(b, k) < 0) mp_em_new(e, "aten::zeros", dtype, o.rank, o.dims);
  }
  mp_bw_give(b, 0, mp_em_new(e, "aten::cat", dtype, in.rank, in.dims));
}
/* FunctionsManual.cpp, unbind_backward: at::stack of the gradients, zeros for missing ones */
static void back_unbind(mp_em *e, mp_bw *b) {
  mp_tensor_info in = *mp_bw_input(b, 0);
  uint32_t outs = e->fns.at[b->fn].out_count;
  for (uint32_t k = 0; k < outs; k++) {
    mp_tensor_info o = *mp_bw_output(b, k);
    if (mp_bw_grad(b, k) < 0) mp_em_new(e, "aten::zeros", in.dtype, o.rank, o.dims);
  }
  mp_bw_give(b, 0, mp_em_new(e, "aten::stack", in.dtype, in.rank, in.dims));
}
static const mp_grad grad_split = {"SplitBackward0", back_split}, grad_split_sizes = {"SplitWithSizesBackward0", back_split}, grad_unbind = {"UnbindBackward0", back_unbind};

static void parts(mp_em *e, const mp_grad *row, int64_t dim, const int64_t *sizes, uint32_t n) {
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  dim = mp_em_axis(e, dim, i.rank);
  bool node = mp_fn_begin(e, row, &x, 1);
  int64_t at = 0;
  for (uint32_t k = 0; k < n; k++) {
    mp_tensor_info part = i;
    if (sizes[k] < 0 || sizes[k] > i.dims[dim] - at)
      mp_fail(mp_em_arena(e), MP_BAD_INPUT, "%s: %lld more of a dimension of %lld, of which %lld are split off; the recovered program is wrong here", mp_em_call(e)->row->name,
              (long long)sizes[k], (long long)i.dims[dim], (long long)at);
    part.dims[dim] = sizes[k];
    mp_ten v = mp_em_view(e, x, i.rank, part.dims, i.strides, i.offset + at * i.strides[dim]);
    at += sizes[k];
    if (node) mp_fn_output(e, v);
    mp_c_out(e, k, v);
  }
  if (node) mp_fn_end(e);
}

#define MOST_PARTS 4096
static void split_by(mp_em *e, int64_t dim, int64_t size) {
  const mp_tensor_info *i = mp_em_info(e, mp_c_ten(e, 0));
  int64_t sizes[MOST_PARTS], n = i->dims[mp_em_axis(e, dim, i->rank)];
  uint32_t count = 0;
  if (size < 1) size = 1;
  for (int64_t at = 0; (at < n || !count) && count < MOST_PARTS; at += size) sizes[count++] = n - at < size ? n - at : size;
  parts(e, &grad_split, dim, sizes, count);
}
static void split(mp_em *e) { /* split(x, size or sizes, dim=0) */
  int64_t sizes[MOST_PARTS];
  uint32_t n = mp_c_ints(e, 1, sizes, MOST_PARTS);
  if (mp_c_count(e) > 1 && mp_em_call(e)->args[1].kind == MP_ARG_INTS) parts(e, &grad_split_sizes, mp_c_int(e, 2, 0), sizes, n);
  else split_by(e, mp_c_int(e, 2, 0), mp_c_int(e, 1, 1));
}
static void chunk(mp_em *e) { /* chunk(x, chunks, dim=0): split by ceil(n / chunks) */
  int64_t dim = mp_c_int(e, 2, 0), k = mp_c_int(e, 1, 1);
  const mp_tensor_info *i = mp_em_info(e, mp_c_ten(e, 0));
  int64_t n = i->dims[mp_em_axis(e, dim, i->rank)];
  split_by(e, dim, k > 0 ? (n + k - 1) / k : n);
}
static void unbind(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t dim = mp_c_int(e, 1, 0), dims[MP_RANK], strides[MP_RANK];
  dim = mp_em_axis(e, dim, i.rank);
  int n = 0;
  for (int k = 0; k < i.rank; k++)
    if (k != dim) {
      dims[n] = i.dims[k];
      strides[n++] = i.strides[k];
    }
  if (i.dims[dim] > MOST_PARTS) mp_fail(mp_em_arena(e), MP_BAD_INPUT, "aten::unbind of a dimension of %lld; memplan follows up to %d parts", (long long)i.dims[dim], MOST_PARTS);
  bool node = mp_fn_begin(e, &grad_unbind, &x, 1);
  for (int64_t k = 0; k < i.dims[dim]; k++) {
    mp_ten v = mp_em_view(e, x, n, dims, strides, i.offset + k * i.strides[dim]);
    if (node) mp_fn_output(e, v);
    mp_c_out(e, (uint32_t)k, v);
  }
  if (node) mp_fn_end(e);
}
static void meshgrid(mp_em *e) { /* views of each vector, expanded to the grid */
  mp_ten x[MP_RANK];
  uint32_t n = mp_c_tens(e, 0, x, MP_RANK);
  int64_t dims[MP_RANK];
  for (uint32_t k = 0; k < n; k++) dims[k] = (int64_t)mp_numel(mp_em_info(e, x[k]));
  for (uint32_t k = 0; k < n; k++) {
    int64_t one[MP_RANK];
    for (uint32_t d = 0; d < n; d++) one[d] = d == k ? dims[k] : 1;
    mp_c_out(e, k, mp_op_expand(e, mp_op_view(e, x[k], (int)n, one), (int)n, dims));
  }
}

static const mp_call_row rows[] = {
    {"aten::view", view, MP_CAST_NONE, "nothing: a view"},
    {"aten::reshape", reshape, MP_CAST_NONE, "nothing: a view where strides exist, else a copy"},
    {"aten::_unsafe_view", reshape, MP_CAST_NONE, "nothing: a view"},
    {"aten::view_as", reshape_as, MP_CAST_NONE, "nothing: a view"},
    {"aten::reshape_as", reshape_as, MP_CAST_NONE, "nothing: a view where strides exist, else a copy"},
    {"aten::flatten", flatten, MP_CAST_NONE, "nothing: a view where strides exist, else a copy"},
    {"aten::unflatten", unflatten, MP_CAST_NONE, "nothing: a view"},
    {"aten::permute", permute, MP_CAST_NONE, "nothing: a view"},
    {"aten::transpose", transpose, MP_CAST_NONE, "nothing: a view"},
    {"aten::swapaxes", transpose, MP_CAST_NONE, "nothing: a view"},
    {"aten::t", t, MP_CAST_NONE, "nothing: a view"},
    {"aten::numpy_T", t, MP_CAST_NONE, "nothing: a view"},
    {"aten::mT", last_two, MP_CAST_NONE, "nothing: a view"},
    {"aten::movedim", movedim, MP_CAST_NONE, "nothing: a view"},
    {"aten::expand", expand, MP_CAST_NONE, "nothing: a view"},
    {"aten::broadcast_to", expand, MP_CAST_NONE, "nothing: a view"},
    {"aten::expand_as", expand_as, MP_CAST_NONE, "nothing: a view"},
    {"aten::unsqueeze", unsqueeze, MP_CAST_NONE, "nothing: a view"},
    {"aten::squeeze", squeeze, MP_CAST_NONE, "nothing: a view"},
    {"aten::select", select_, MP_CAST_NONE, "nothing: a view; backward makes a zero tensor of the whole size"},
    {"aten::slice", slice, MP_CAST_NONE, "nothing: a view; backward makes a zero tensor of the whole size"},
    {"aten::narrow", narrow, MP_CAST_NONE, "nothing: a view; backward makes a zero tensor of the whole size"},
    {"aten::alias", alias, MP_CAST_NONE, "nothing: the tensor itself"},
    {"aten::lift_fresh_copy", alias, MP_CAST_NONE, "nothing: the constant itself"},
    {"aten::detach", detach, MP_CAST_NONE, "nothing: a view without history"},
    {"aten::unfold", unfold, MP_CAST_NONE, "nothing: a view"},
    {"aten::diagonal", diagonal, MP_CAST_NONE, "nothing: a view"},
    {"aten::as_strided", as_strided, MP_CAST_NONE, "nothing: a view"},
    {"aten::split", split, MP_CAST_NONE, "nothing: views; backward concatenates"},
    {"aten::split_with_sizes", split, MP_CAST_NONE, "nothing: views; backward concatenates"},
    {"aten::chunk", chunk, MP_CAST_NONE, "nothing: views; backward concatenates"},
    {"aten::unbind", unbind, MP_CAST_NONE, "nothing: views; backward stacks"},
    {"aten::meshgrid", meshgrid, MP_CAST_NONE, "nothing: views"},
};
const mp_call_table mp_calls_shape = {rows, sizeof rows / sizeof *rows};
