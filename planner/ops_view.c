/* Views and copies: each function is the aten function of its name, with its autograd node (tools/autograd/derivatives.yaml). */
#include <assert.h>
#include <string.h>

#include "planner/em.h"

/* a view with a node that keeps nothing; meta: what its backward needs */
static mp_ten record(mp_em *e, const mp_grad *row, mp_ten in, mp_ten out, const int64_t *meta, uint32_t n) {
  if (!mp_fn_begin(e, row, &in, 1)) return out;
  mp_fn_meta(e, meta, n);
  mp_fn_output(e, out);
  mp_fn_end(e);
  return out;
}

/* ---- reshape ---- */

static void back_reshape(mp_em *e, mp_bw *b) {
  mp_tensor_info in = *mp_bw_input(b, 0);
  mp_bw_give(b, 0, mp_op_reshape(e, mp_bw_grad(b, 0), in.rank, in.dims));
}
static const mp_grad grad_view = {"ViewBackward0", back_reshape}, grad_unsafe_view = {"UnsafeViewBackward0", back_reshape};

static void fill_one(mp_em *e, mp_ten t, int rank, const int64_t *dims, int64_t *out) {
  int64_t known = 1, n = (int64_t)mp_numel(mp_em_info(e, t));
  int hole = -1;
  for (int i = 0; i < rank; i++) {
    out[i] = dims[i];
    if (dims[i] == -1) hole = i;
    else known = mp_em_product(e, known, dims[i]);
  }
  if (hole >= 0) out[hole] = known ? n / known : 0;
  if (hole >= 0) known *= out[hole];
  if (known != n)
    mp_fail(e->a, MP_BAD_INPUT, "%s in '%s': a tensor of %lld elements does not take the asked-for shape of %lld; the recovered program is wrong here, or the dimensions given with --dim do not fit",
            e->c ? e->c->row->name : "backward", e->c ? e->p->instances[e->c->module].path : "", (long long)n, (long long)known);
}

mp_ten mp_op_view(mp_em *e, mp_ten t, int rank, const int64_t *dims) {
  int64_t full[MP_RANK], strides[MP_RANK];
  if (rank > MP_RANK) mp_fail(e->a, MP_BAD_INPUT, "a view of rank %d: memplan follows up to %d dimensions", rank, MP_RANK);
  fill_one(e, t, rank, dims, full);
  if (!mp_strides_for_view(mp_em_info(e, t), rank, full, strides)) {
    /* PyTorch would have raised, so the source said reshape */
    return mp_op_reshape(e, t, rank, full);
  }
  return record(e, &grad_view, t, mp_em_view(e, t, rank, full, strides, mp_em_info(e, t)->offset), NULL, 0);
}

mp_ten mp_op_unsafe_view(mp_em *e, mp_ten t, int rank, const int64_t *dims) {
  int64_t full[MP_RANK], strides[MP_RANK];
  fill_one(e, t, rank, dims, full);
  bool fits = mp_strides_for_view(mp_em_info(e, t), rank, full, strides);
  assert(fits);
  (void)fits;
  mp_ten v = mp_em_view(e, t, rank, full, strides, mp_em_info(e, t)->offset);
  e->tens.at[v].is_view = false; /* _unsafe_view is not a view to autograd */
  return record(e, &grad_unsafe_view, t, v, NULL, 0);
}

mp_ten mp_op_reshape(mp_em *e, mp_ten t, int rank, const int64_t *dims) {
  int64_t full[MP_RANK], strides[MP_RANK];
  if (rank > MP_RANK) mp_fail(e->a, MP_BAD_INPUT, "a reshape to rank %d: memplan follows up to %d dimensions", rank, MP_RANK);
  fill_one(e, t, rank, dims, full);
  if (mp_strides_for_view(mp_em_info(e, t), rank, full, strides))
    return record(e, &grad_view, t, mp_em_view(e, t, rank, full, strides, mp_em_info(e, t)->offset), NULL, 0);
  size_t scope = mp_em_enter(e);
  mp_ten copy = mp_op_clone(e, t, true);
  return mp_em_leave1(e, scope, mp_op_unsafe_view(e, copy, rank, full));
}

/* ---- permutations ---- */

static void back_permute(mp_em *e, mp_bw *b) {
  const int64_t *perm = mp_bw_meta(b);
  int64_t inverse[MP_RANK];
  for (uint32_t i = 0; i < mp_bw_meta_count(b); i++) inverse[perm[i]] = (int64_t)i;
  mp_bw_give(b, 0, mp_op_permute(e, mp_bw_grad(b, 0), inverse));
}
static const mp_grad grad_permute = {"PermuteBackward0", back_permute}, grad_transpose = {"TransposeBackward0", back_permute}, grad_t = {"TBackward0", back_permute};

static mp_ten permuted(mp_em *e, mp_ten t, const int64_t *perm, const mp_grad *row) {
  mp_tensor_info i = *mp_em_info(e, t);
  int64_t dims[MP_RANK], strides[MP_RANK], full[MP_RANK];
  for (int k = 0; k < i.rank; k++) {
    full[k] = mp_em_axis(e, perm[k], i.rank);
    dims[k] = i.dims[full[k]];
    strides[k] = i.strides[full[k]];
  }
  return record(e, row, t, mp_em_view(e, t, i.rank, dims, strides, i.offset), full, (uint32_t)i.rank);
}

mp_ten mp_op_permute(mp_em *e, mp_ten t, const int64_t *perm) { return permuted(e, t, perm, &grad_permute); }

mp_ten mp_op_transpose(mp_em *e, mp_ten t, int64_t d0, int64_t d1) {
  int rank = mp_em_info(e, t)->rank;
  int64_t perm[MP_RANK];
  if (!rank) return mp_em_alias(e, t);
  for (int k = 0; k < rank; k++) perm[k] = k;
  d0 = mp_em_axis(e, d0, rank);
  d1 = mp_em_axis(e, d1, rank);
  perm[d0] = d1;
  perm[d1] = d0;
  return permuted(e, t, perm, &grad_transpose);
}

mp_ten mp_op_t(mp_em *e, mp_ten t) {
  static const int64_t swap[] = {1, 0}, same[] = {0};
  int rank = mp_em_info(e, t)->rank;
  if (rank > 2) mp_fail(e->a, MP_BAD_INPUT, "aten::t of a tensor of rank %d; the recovered program is wrong here", rank);
  return permuted(e, t, rank == 2 ? swap : same, &grad_t);
}

/* ---- expand, squeeze, unsqueeze ---- */

static void back_expand(mp_em *e, mp_bw *b) {
  mp_tensor_info in = *mp_bw_input(b, 0);
  mp_bw_give(b, 0, mp_op_sum_to(e, mp_bw_grad(b, 0), in.rank, in.dims));
}
static const mp_grad grad_expand = {"ExpandBackward0", back_expand}, grad_squeeze = {"SqueezeBackward1", back_reshape}, grad_unsqueeze = {"UnsqueezeBackward0", back_reshape};

mp_ten mp_op_expand(mp_em *e, mp_ten t, int rank, const int64_t *dims) {
  mp_tensor_info i = *mp_em_info(e, t);
  int64_t full[MP_RANK], strides[MP_RANK];
  int lead = rank - i.rank;
  if (rank > MP_RANK || lead < 0) mp_fail(e->a, MP_BAD_INPUT, "aten::expand from rank %d to rank %d; the recovered program is wrong here", i.rank, rank);
  for (int k = 0; k < rank; k++) {
    bool inner = k >= lead;
    full[k] = dims[k] == -1 && inner ? i.dims[k - lead] : dims[k];
    strides[k] = inner && full[k] == i.dims[k - lead] ? i.strides[k - lead] : 0;
    if (inner && full[k] != i.dims[k - lead] && i.dims[k - lead] != 1)
      mp_fail(e->a, MP_BAD_INPUT, "aten::expand of a dimension of %lld to %lld; the recovered program is wrong here", (long long)i.dims[k - lead], (long long)full[k]);
  }
  return record(e, &grad_expand, t, mp_em_view(e, t, rank, full, strides, i.offset), NULL, 0);
}

mp_ten mp_op_unsqueeze(mp_em *e, mp_ten t, int64_t dim) {
  mp_tensor_info i = *mp_em_info(e, t);
  int64_t dims[MP_RANK + 1], strides[MP_RANK + 1];
  dim = mp_em_axis(e, dim, i.rank + 1);
  for (int k = 0, from = 0; k <= i.rank; k++) {
    bool fresh = k == dim;
    dims[k] = fresh ? 1 : i.dims[from];
    strides[k] = fresh ? (from < i.rank ? i.dims[from] * i.strides[from] : 1) : i.strides[from];
    from += !fresh;
  }
  return record(e, &grad_unsqueeze, t, mp_em_view(e, t, i.rank + 1, dims, strides, i.offset), NULL, 0);
}

mp_ten mp_op_squeeze(mp_em *e, mp_ten t, int64_t dim) {
  mp_tensor_info i = *mp_em_info(e, t);
  int64_t dims[MP_RANK], strides[MP_RANK];
  int n = 0;
  dim = mp_em_axis(e, dim, i.rank);
  for (int k = 0; k < i.rank; k++) {
    if (k == dim && i.dims[k] == 1) continue;
    dims[n] = i.dims[k];
    strides[n++] = i.strides[k];
  }
  return record(e, &grad_squeeze, t, mp_em_view(e, t, n, dims, strides, i.offset), NULL, 0);
}

/* ---- parts: their gradient is a zero tensor of the whole size with the part filled in ---- */

static void back_part(mp_em *e, mp_bw *b, const char *op) {
  mp_tensor_info in = *mp_bw_input(b, 0);
  mp_bw_give(b, 0, mp_em_new(e, op, mp_em_info(e, mp_bw_grad(b, 0))->dtype, in.rank, in.dims));
}
static void back_select(mp_em *e, mp_bw *b) { back_part(e, b, "aten::select_backward"); }
static void back_slice(mp_em *e, mp_bw *b) { back_part(e, b, "aten::slice_backward"); }
static const mp_grad grad_select = {"SelectBackward0", back_select}, grad_slice = {"SliceBackward0", back_slice};

mp_ten mp_op_select(mp_em *e, mp_ten t, int64_t dim, int64_t index) {
  mp_tensor_info i = *mp_em_info(e, t);
  int64_t dims[MP_RANK], strides[MP_RANK];
  dim = mp_em_axis(e, dim, i.rank);
  if (index < 0) index += i.dims[dim];
  if (index < 0 || index >= i.dims[dim]) mp_fail(e->a, MP_BAD_INPUT, "aten::select of element %lld of a dimension of %lld; the recovered program is wrong here", (long long)index, (long long)i.dims[dim]);
  int n = 0;
  for (int k = 0; k < i.rank; k++) {
    if (k == dim) continue;
    dims[n] = i.dims[k];
    strides[n++] = i.strides[k];
  }
  return record(e, &grad_select, t, mp_em_view(e, t, n, dims, strides, i.offset + index * i.strides[dim]), NULL, 0);
}

mp_ten mp_op_slice(mp_em *e, mp_ten t, int64_t dim, int64_t start, int64_t end, int64_t step) {
  mp_tensor_info i = *mp_em_info(e, t);
  dim = mp_em_axis(e, dim, i.rank);
  if (step < 1) mp_fail(e->a, MP_BAD_INPUT, "aten::slice by %lld; the recovered program is wrong here", (long long)step);
  int64_t n = i.dims[dim];
  start = start < 0 ? start + n : start;
  end = end < 0 ? end + n : end;
  start = start < 0 ? 0 : start > n ? n : start;
  end = end < start ? start : end > n ? n : end;
  i.dims[dim] = (end - start + step - 1) / step;
  int64_t offset = i.offset + start * i.strides[dim];
  i.strides[dim] = mp_em_product(e, i.strides[dim], i.dims[dim] > 1 ? step : 1); /* of one element PyTorch takes steps too, which nothing reads */
  return record(e, &grad_slice, t, mp_em_view(e, t, i.rank, i.dims, i.strides, offset), NULL, 0);
}

/* ---- copies ---- */

static void back_same(mp_em *e, mp_bw *b) {
  (void)e;
  mp_bw_give(b, 0, mp_bw_grad(b, 0));
}
static const mp_grad grad_clone = {"CloneBackward0", back_same};

mp_ten mp_op_clone(mp_em *e, mp_ten t, bool contiguous) {
  mp_tensor_info i = *mp_em_info(e, t);
  mp_ten c = contiguous ? mp_em_new(e, "aten::clone", i.dtype, i.rank, i.dims) : mp_em_new_like(e, "aten::clone", t);
  mp_em_set_what(e, c, MP_WHAT_COPY);
  return record(e, &grad_clone, t, c, NULL, 0);
}

mp_ten mp_op_contiguous(mp_em *e, mp_ten t) { return mp_is_contiguous(mp_em_info(e, t)) ? t : mp_op_clone(e, t, true); }

static void back_to(mp_em *e, mp_bw *b) { mp_bw_give(b, 0, mp_op_to(e, mp_bw_grad(b, 0), mp_bw_input(b, 0)->dtype)); }
static const mp_grad grad_to = {"ToCopyBackward0", back_to};

mp_ten mp_op_to(mp_em *e, mp_ten t, mp_dtype dtype) {
  if (dtype == MP_UNDEFINED || mp_em_info(e, t)->dtype == dtype) return t;
  mp_ten c = mp_em_new_like_dtype(e, "aten::_to_copy", t, dtype);
  mp_em_set_what(e, c, MP_WHAT_COPY);
  if (mp_dtype_is_float(dtype)) record(e, &grad_to, t, c, NULL, 0);
  return c;
}
