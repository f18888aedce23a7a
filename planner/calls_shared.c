/* Kernels and bookkeeping that all families of calls share: see calls.h. */
#include <string.h>

#include "planner/calls.h"

/* ---- kernels ---- */

static int broadcast_all(mp_em *e, const mp_ten *x, uint32_t n, int64_t *dims) {
  int rank = 0;
  for (uint32_t k = 0; k < n; k++)
    if (x[k] >= 0 && mp_em_info(e, x[k])->rank > rank) rank = mp_em_info(e, x[k])->rank;
  for (int i = 0; i < rank; i++) dims[i] = 1;
  for (uint32_t k = 0; k < n; k++) {
    if (x[k] < 0) continue;
    const mp_tensor_info *t = mp_em_info(e, x[k]);
    int lead = rank - t->rank;
    for (int i = 0; i < t->rank; i++) {
      if (t->dims[i] == 1 || t->dims[i] == dims[lead + i]) continue;
      if (dims[lead + i] != 1)
        mp_fail(mp_em_arena(e), MP_BAD_INPUT, "%s: operands of %lld and %lld elements along axis %d do not broadcast",
                mp_em_call(e) ? mp_em_call(e)->row->name : "backward", (long long)dims[lead + i], (long long)t->dims[i], lead + i);
      dims[lead + i] = t->dims[i];
    }
  }
  return rank;
}

static mp_dtype promote_all(mp_em *e, const mp_ten *x, uint32_t n) {
  mp_ten first = -1;
  mp_dtype t = MP_FLOAT;
  for (uint32_t k = 0; k < n; k++) {
    if (x[k] < 0) continue;
    if (first < 0) {
      first = x[k];
      t = mp_em_info(e, first)->dtype;
    } else {
      mp_dtype both = mp_promote(e, first, x[k]);
      if (both != t) t = both;
      if (mp_em_info(e, x[k])->dtype == t && mp_em_info(e, x[k])->rank > 0) first = x[k];
    }
  }
  return t;
}

mp_ten mp_kernel(mp_em *e, const char *op, mp_dtype t, const mp_ten *x, uint32_t n) {
  int64_t dims[MP_RANK], strides[MP_RANK];
  mp_ten tens[8];
  uint32_t m = 0;
  for (uint32_t k = 0; k < n && m < MP_COUNT(tens); k++)
    if (x[k] >= 0) tens[m++] = x[k];
  int rank = broadcast_all(e, tens, m, dims);
  if (t == MP_UNDEFINED) t = promote_all(e, tens, m);
  mp_strides_elementwise(e, tens, m, rank, dims, strides);
  return mp_em_new_strided(e, op, t, rank, dims, strides);
}

mp_ten mp_kernels(mp_em *e, const char *words, const mp_ten *x, uint32_t n) {
  mp_ten made[16], last = -1;
  uint32_t held = 0;
  mp_dtype t = promote_all(e, x, n);
  while (*words) {
    const char *w = words, *end = strchr(w, ' ');
    size_t len = end ? (size_t)(end - w) : strlen(w);
    words = end ? end + 1 : w + len;
    bool gone = *w == '~', flag = false, scalar = false;
    if (gone) w++, len--;
    if (*w == '?') flag = true;
    if (*w == '.') scalar = true;
    if (flag || scalar) w++, len--;
    char *op = mp_format(mp_em_arena(e), "aten::%.*s", (int)len, w);
    last = scalar ? mp_em_scalar(e, op, t) : mp_kernel(e, op, flag ? MP_BOOL : t, x, n);
    while (gone && held) mp_em_drop(e, made[--held]);
    if (held < MP_COUNT(made)) made[held++] = last;
  }
  return last;
}

mp_ten mp_statement(mp_em *e, const char *words, const mp_ten *x, uint32_t n) {
  size_t s = mp_em_enter(e);
  return mp_em_leave1(e, s, mp_kernels(e, words, x, n));
}

mp_ten mp_reduced(mp_em *e, const char *op, mp_dtype t, mp_ten x, const int64_t *dims, uint32_t n, bool keepdim) {
  mp_tensor_info i = *mp_em_info(e, x);
  bool out[MP_RANK] = {false};
  for (uint32_t k = 0; k < n; k++)
    if (i.rank) out[mp_em_axis(e, dims[k], i.rank)] = true;
  int64_t left[MP_RANK];
  int rank = 0;
  for (int k = 0; k < i.rank; k++) {
    if (n && !out[k])
      left[rank++] = i.dims[k];
    else if (keepdim)
      left[rank++] = 1;
  }
  return mp_em_new(e, op, t, rank, left);
}

mp_ten mp_fresh(mp_em *e, const char *op, mp_dtype t, const mp_tensor_info *shape) {
  int64_t dims[MP_RANK];
  memcpy(dims, shape->dims, sizeof dims);
  return mp_em_new(e, op, t, shape->rank, dims);
}

mp_ten mp_fresh_as(mp_em *e, const char *op, const mp_tensor_info *like) {
  mp_tensor_info i = *like;
  return mp_is_dense(&i) ? mp_em_new_strided(e, op, i.dtype, i.rank, i.dims, i.strides) : mp_em_new(e, op, i.dtype, i.rank, i.dims);
}

/* is_channels_last_strides_2d and _3d of c10/core/MemoryFormat.h */
bool mp_is_channels_last(const mp_tensor_info *t) {
  if (t->rank != 4 && t->rank != 5) return false;
  if (t->strides[1] == 0) return false;
  int64_t min = 0;
  int order[5] = {1}, n = 1;
  for (int i = t->rank - 1; i >= 2; i--) order[n++] = i;
  order[n++] = 0;
  for (int k = 0; k < n; k++) {
    int d = order[k];
    if (t->dims[d] == 0 || t->strides[d] < min) return false;
    if (d == 0 && min == t->strides[1]) return false;
    min = t->strides[d];
    if (t->dims[d] > 1) min *= t->dims[d];
  }
  return true;
}

/* ---- autograd ---- */

void mp_record(mp_em *e, const mp_grad *row, const mp_ten *inputs, uint32_t n, const mp_ten *saved, uint32_t saved_n, const int64_t *meta,
               uint32_t meta_n, mp_ten out) {
  if (!mp_fn_begin(e, row, inputs, n)) return;
  for (uint32_t k = 0; k < saved_n; k++) mp_fn_save(e, k, saved[k]);
  if (meta_n) mp_fn_meta(e, meta, meta_n);
  mp_fn_output(e, out);
  mp_fn_end(e);
}

mp_ten mp_write(mp_em *e, mp_ten x) { return mp_em_alias(e, x); }

void mp_written(mp_em *e, mp_ten x, mp_ten y) {
  if (mp_em_needs(e, y)) mp_em_copy_needs(e, x, y);
  mp_c_out(e, 0, x);
}

bool mp_needs_slices(mp_em *e, mp_ten x) { return mp_em_info(e, x)->is_view && mp_em_needs(e, x); }

/* CopySlices::apply (torch/csrc/autograd/functions/tensor.cpp): a copy of the whole gradient, and one of the slice that the wrapped node reads */
mp_ten mp_slices_open(mp_em *e, mp_ten g, mp_ten *whole) {
  mp_tensor_info i = *mp_em_info(e, g);
  *whole = mp_em_new(e, "aten::new_empty_strided", i.dtype, i.rank, i.dims);
  return mp_kernel1(e, "aten::clone", *whole);
}

void mp_slices_shut(mp_bw *b, uint32_t input, mp_ten whole) { mp_bw_give(b, input, whole); }

/* ---- arguments ---- */

bool mp_is_half(mp_dtype t) { return t == MP_FLOAT16 || t == MP_BFLOAT16; }
mp_dtype mp_with_number(const mp_em *e, mp_ten a, bool is_float) {
  mp_dtype t = mp_em_info(e, a)->dtype;
  if (mp_dtype_is_float(t)) return t;
  if (is_float) return MP_FLOAT;
  return t == MP_BOOL ? MP_INT64 : t;
}
mp_dtype mp_arg_dtype_at(mp_em *e, uint32_t i) { return mp_c_dtype(e, i, MP_UNDEFINED); }
