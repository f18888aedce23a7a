/* Sizes and strides as PyTorch computes them. */
#include <string.h>

#include "planner/em.h"

/* The stride of the dim outside one of n elements. Dims whose product is too large come here before the tensor is made, which then is refused: what they give does not matter. */
static int64_t outside(int64_t stride, int64_t n) { return n > 1 ? (int64_t)((uint64_t)stride * (uint64_t)n) : stride; }

void mp_strides_contiguous(int rank, const int64_t *dims, int64_t *strides) {
  int64_t s = 1;
  for (int i = rank - 1; i >= 0; i--) {
    strides[i] = s;
    s = outside(s, dims[i]);
  }
}

void mp_strides_channels_last(int rank, const int64_t *dims, int64_t *strides) {
  int64_t s = outside(1, dims[1]);
  strides[1] = 1;
  for (int i = rank - 1; i >= 2; i--) {
    strides[i] = s;
    s = outside(s, dims[i]);
  }
  strides[0] = s;
}

bool mp_is_contiguous(const mp_tensor_info *t) { /* c10/core/Contiguity.h, _compute_contiguous */
  int64_t z = 1;
  for (int i = t->rank - 1; i >= 0; i--) {
    if (t->dims[i] == 0) return true;
    if (t->dims[i] != 1 && t->strides[i] != z) return false;
    z *= t->dims[i];
  }
  return true;
}

/* dims of size over 1, the smallest stride first; returns how many */
static int by_stride(const mp_tensor_info *t, int *order) {
  int n = 0;
  for (int i = 0; i < t->rank; i++) {
    if (t->dims[i] < 2) continue;
    int k = n++;
    for (; k && t->strides[order[k - 1]] > t->strides[i]; k--) order[k] = order[k - 1];
    order[k] = i;
  }
  return n;
}

bool mp_is_dense(const mp_tensor_info *t) { /* _compute_non_overlapping_and_dense */
  int order[MP_RANK], n = by_stride(t, order);
  int64_t want = 1;
  for (int k = 0; k < n; k++) {
    if (t->strides[order[k]] != want) return false;
    want *= t->dims[order[k]];
  }
  return true;
}

uint64_t mp_numel(const mp_tensor_info *t) {
  uint64_t n = 1;
  for (int i = 0; i < t->rank; i++) n *= (uint64_t)t->dims[i];
  return n;
}

/* aten/src/ATen/TensorUtils.cpp, computeStride_impl */
bool mp_strides_for_view(const mp_tensor_info *t, int rank, const int64_t *dims, int64_t *strides) {
  if (t->rank == 0) {
    for (int i = 0; i < rank; i++) strides[i] = 1;
    return true;
  }
  if (mp_numel(t) == 0) {
    mp_strides_contiguous(rank, dims, strides);
    return true;
  }
  int v = rank - 1;
  int64_t base = t->strides[t->rank - 1], tn = 1, vn = 1;
  for (int d = t->rank - 1; d >= 0; d--) {
    tn *= t->dims[d];
    if (d && (t->dims[d - 1] == 1 || t->strides[d - 1] == tn * base)) continue;
    for (; v >= 0 && (vn < tn || dims[v] == 1); v--) {
      strides[v] = vn * base;
      vn *= dims[v];
    }
    if (vn != tn) return false;
    if (d) {
      base = t->strides[d - 1];
      tn = vn = 1;
    }
  }
  return v == -1;
}

int mp_broadcast(mp_em *e, mp_ten a, mp_ten b, int64_t *dims) {
  const mp_tensor_info *x = mp_em_info(e, a), *y = mp_em_info(e, b);
  int rank = x->rank > y->rank ? x->rank : y->rank;
  for (int i = 1; i <= rank; i++) {
    int64_t p = i <= x->rank ? x->dims[x->rank - i] : 1, q = i <= y->rank ? y->dims[y->rank - i] : 1;
    if (p != q && p != 1 && q != 1)
      mp_fail(mp_em_arena(e), MP_BAD_INPUT, "%s in '%s': sizes %lld and %lld do not broadcast; the recovered program is wrong here, or the dimensions given with --dim do not fit",
              e->c ? e->c->row->name : "backward", e->c ? e->p->instances[e->c->module].path : "", (long long)p, (long long)q);
    dims[rank - i] = p == 1 ? q : p;
  }
  return rank;
}

/* aten/src/ATen/TensorIterator.cpp, reorder_dimensions: which of two dims runs faster; 0: no operand tells */
static int compare_dims(const mp_em *e, const mp_ten *operands, uint32_t n, int rank, const int64_t *dims, int d0, int d1) {
  for (uint32_t k = 0; k < n; k++) {
    const mp_tensor_info *t = mp_em_info(e, operands[k]);
    int lead = rank - t->rank;
    if (d0 < lead || d1 < lead) continue;
    int64_t s0 = t->dims[d0 - lead] == 1 && dims[d0] != 1 ? 0 : t->strides[d0 - lead];
    int64_t s1 = t->dims[d1 - lead] == 1 && dims[d1] != 1 ? 0 : t->strides[d1 - lead];
    if (s0 == 0 || s1 == 0) continue;
    if (s0 != s1) return s0 < s1 ? -1 : 1;
    if (dims[d0] > dims[d1]) return 1;
  }
  return 0;
}

void mp_strides_elementwise(const mp_em *e, const mp_ten *operands, uint32_t n, int rank, const int64_t *dims, int64_t *strides) {
  int perm[MP_RANK];
  for (int i = 0; i < rank; i++) perm[i] = rank - 1 - i;
  for (int i = 1; i < rank; i++) {
    int at = i;
    for (int k = i - 1; k >= 0; k--) {
      int c = compare_dims(e, operands, n, rank, dims, perm[k], perm[at]);
      if (c < 0) break;
      if (c == 0) continue;
      int swap = perm[k];
      perm[k] = perm[at];
      perm[at] = swap;
      at = k;
    }
  }
  int64_t s = 1;
  for (int i = 0; i < rank; i++) {
    strides[perm[i]] = s;
    s = outside(s, dims[perm[i]]);
  }
}

static int category_of(mp_dtype t) { return mp_dtype_is_float(t) ? 2 : t == MP_BOOL ? 0 : 1; }

/* torch.result_type: a 0-d tensor counts only by its category (c10 promoteTypes for the rest) */
mp_dtype mp_promote(mp_em *e, mp_ten a, mp_ten b) {
  const mp_tensor_info *x = mp_em_info(e, a), *y = mp_em_info(e, b);
  if (x->dtype == y->dtype) return x->dtype;
  int cx = category_of(x->dtype), cy = category_of(y->dtype);
  if ((x->rank == 0) != (y->rank == 0)) {
    const mp_tensor_info *big = x->rank ? x : y, *small = x->rank ? y : x;
    return category_of(small->dtype) > category_of(big->dtype) ? small->dtype : big->dtype;
  }
  if (cx != cy) return cx > cy ? x->dtype : y->dtype;
  if (cx == 2 && mp_dtype_bits(x->dtype) == mp_dtype_bits(y->dtype)) return MP_FLOAT; /* half and bfloat16 */
  return mp_dtype_bits(x->dtype) >= mp_dtype_bits(y->dtype) ? x->dtype : y->dtype;
}
