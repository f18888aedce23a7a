/* Small contents: see fold.h. */
#include "onnx/fold.h"

#include <math.h>
#include <string.h>

enum { MAX_FLOATS = 64 };

bool mp_fold_count(const mp_shape *s, uint32_t *n) {
  uint64_t k = 1;
  if (s->rank < 0) return false;
  for (int i = 0; i < s->rank; i++)
    if (s->dims[i].e || s->dims[i].n < 0 || !mp_mul_u64(k, (uint64_t)s->dims[i].n, &k)) return false;
  *n = (uint32_t)k;
  return k <= MP_MAX_CONTENTS;
}

static double round_bits(double x, int bits, double limit) { /* to a significand of so many bits */
  int e;
  if (!isfinite(x) || x == 0) return x;
  double m = frexp(x, &e), r = ldexp(nearbyint(ldexp(m, bits)), e - bits);
  return fabs(r) > limit ? copysign(INFINITY, x) : r;
}

double mp_fold_round(mp_dtype t, double x) {
  if (t == MP_DOUBLE) return x;
  if (t == MP_FLOAT16) return round_bits(x, 11, 65504);
  if (t == MP_BFLOAT16) return round_bits(x, 8, 3.3895313892515355e38);
  return fabs(x) > 3.4028235677973366e38 && isfinite(x) ? copysign(INFINITY, x) : (double)(float)x;
}

mp_int mp_fold_clip(mp_dtype t, mp_int i) {
  if (i.e) return i;
  unsigned bits = mp_dtype_bits(t);
  if (t == MP_BOOL) return mp_int_of(i.n != 0);
  if (mp_dtype_is_float(t)) { /* whole numbers that the type holds exactly */
    int64_t limit = (int64_t)1 << (t == MP_DOUBLE ? 53 : t == MP_FLOAT ? 24 : t == MP_FLOAT16 ? 11 : 8);
    return i.n >= -limit && i.n <= limit ? i : mp_int_unknown();
  }
  bool is_unsigned = t == MP_UINT8 || t == MP_UINT16 || t == MP_UINT32 || t == MP_UINT64 || t == MP_UINT4 || t == MP_UINT2;
  if (is_unsigned && (i.n < 0 || (bits < 63 && i.n >> bits))) return mp_int_unknown();
  if (!is_unsigned && bits && bits < 64 && ((i.n >> (bits - 1)) + 1) >> 1) return mp_int_unknown(); /* neither 0 nor -1 above the sign */
  return i;
}

static bool count_of(const mp_infer *c, int i, uint32_t *n) {
  mp_shape s;
  mp_infer_shape(c, i, &s);
  return mp_fold_count(&s, n);
}

const mp_int *mp_fold_read_ints(const mp_infer *c, int i, uint32_t *n, mp_int *at) {
  const mp_int *x = mp_infer_ints(c, i, n);
  if (x) return x;
  const double *f = mp_infer_floats(c, i, n);
  for (uint32_t k = 0; f && k < *n; k++) {
    bool whole = fabs(f[k]) < 9007199254740992.0 && f[k] == trunc(f[k]);
    at[k] = whole ? mp_int_of((int64_t)f[k]) : mp_int_unknown();
  }
  return f ? at : NULL;
}

/* the same, but unknown contents of a small tensor are so many unknowns */
static const mp_int *read_or_unknown(const mp_infer *c, int i, uint32_t *n, mp_int *at) {
  const mp_int *x = mp_fold_read_ints(c, i, n, at);
  if (x) return x;
  if (!count_of(c, i, n) || *n > MP_MAX_GUESSED) return NULL;
  for (uint32_t k = 0; k < *n; k++) at[k] = mp_int_unknown();
  return at;
}

const double *mp_fold_read_floats(const mp_infer *c, int i, uint32_t *n, double *at) {
  const double *f = mp_infer_floats(c, i, n);
  if (f) return f;
  const mp_int *x = mp_infer_ints(c, i, n);
  if (!x || *n > MAX_FLOATS) return NULL;
  for (uint32_t k = 0; k < *n; k++) {
    if (x[k].e) return NULL;
    at[k] = (double)x[k].n;
  }
  return at;
}

void mp_fold_strides(const mp_shape *a, const mp_shape *r, int64_t *strides) {
  int64_t step = 1;
  for (int i = r->rank - 1, j = a->rank - 1; i >= 0; i--, j--) {
    strides[i] = j < 0 || (a->dims[j].n == 1 && r->dims[i].n != 1) ? 0 : step;
    if (j >= 0) step = (int64_t)((uint64_t)step * (uint64_t)a->dims[j].n); /* an empty tensor may have huge dims: no index is taken then */
  }
}

void mp_fold_walk(const mp_shape *r, const int64_t *strides, int64_t start, uint32_t n, int64_t *from) {
  int64_t at[MP_MAX_RANK] = {0}, k = start;
  for (uint32_t i = 0; i < n; i++) {
    from[i] = k;
    for (int d = r->rank - 1; d >= 0; d--) {
      k += strides[d];
      if (++at[d] < r->dims[d].n) break;
      k -= at[d] * strides[d];
      at[d] = 0;
    }
  }
}

int mp_fold_list(mp_infer *c, const char *attr, int i, mp_int *at, int max) {
  uint32_t n;
  const int64_t *x = attr ? mp_infer_attr_ints(c, attr, &n) : NULL;
  for (uint32_t k = 0; x && k < n && k < (uint32_t)max; k++) at[k] = mp_int_of(x[k]);
  if (x) return n <= (uint32_t)max ? (int)n : -1;
  if (!mp_infer_has(c, i)) return -1;
  const mp_int *y = mp_infer_ints(c, i, &n);
  if (!y && !count_of(c, i, &n)) return -1;
  if (n > (uint32_t)max) return -1;
  for (uint32_t k = 0; k < n; k++) at[k] = y ? y[k] : mp_int_unknown();
  return (int)n;
}

void mp_fold_dims(mp_infer *c, int i, mp_shape *s) {
  s->rank = mp_fold_list(c, NULL, i, s->dims, MP_MAX_RANK);
  bool open = s->rank < 0;
  for (int k = 0; k < s->rank; k++) open |= mp_int_is_unknown(s->dims[k]);
  if (open) mp_infer_depends(c, i, "the contents");
}

static bool has_contents(const mp_infer *c, int i) {
  uint32_t n;
  return mp_infer_ints(c, i, &n) || mp_infer_floats(c, i, &n);
}

typedef struct operand {
  mp_shape shape;
  uint32_t n;
  int64_t index[MP_MAX_CONTENTS]; /* for every element of the result, the operand's */
  mp_int room[MP_MAX_CONTENTS];
} operand; /* on the stack: nothing of it outlives the rule */

static bool prepare(mp_infer *c, int i, const mp_shape *r, uint32_t n, operand *x) {
  int64_t strides[MP_MAX_RANK];
  mp_infer_shape(c, i, &x->shape);
  if (!mp_fold_count(&x->shape, &x->n) || x->shape.rank > r->rank) return false;
  mp_fold_strides(&x->shape, r, strides);
  mp_fold_walk(r, strides, 0, n, x->index);
  return true;
}

static void fold_ints(mp_infer *c, int o, operand *x, operand *y, int a, int b, uint32_t n, mp_fold_ints f) {
  uint32_t np, nq;
  mp_dtype t = mp_infer_out_dtype(c, o);
  mp_int r[MP_MAX_CONTENTS];
  const mp_int *p = read_or_unknown(c, a, &np, x->room), *q = b < 0 ? p : read_or_unknown(c, b, &nq, y->room);
  if (!p || !q) return;
  for (uint32_t k = 0; k < n; k++) r[k] = mp_fold_clip(t, f(c, p[x->index[k]], q[y->index[k]], t));
  mp_infer_set_ints(c, o, r, n);
}

/* false: not every element is a number */
static bool fold_floats(mp_infer *c, int o, const operand *x, const operand *y, int a, int b, uint32_t n, mp_fold_floats f) {
  double p_room[MAX_FLOATS], q_room[MAX_FLOATS], r[MAX_FLOATS];
  mp_int whole[MAX_FLOATS];
  uint32_t np, nq;
  mp_dtype t = mp_infer_out_dtype(c, o);
  if (n > MAX_FLOATS) return false;
  const double *p = mp_fold_read_floats(c, a, &np, p_room), *q = b < 0 ? p : mp_fold_read_floats(c, b, &nq, q_room);
  if (!p || !q) return false;
  for (uint32_t k = 0; k < n; k++) {
    r[k] = mp_fold_round(mp_dtype_is_float(t) ? t : MP_DOUBLE, f(p[x->index[k]], q[y->index[k]]));
    /* a comparison's 0 or 1, or a power of integers */
    whole[k] = fabs(r[k]) < 9007199254740992.0 ? mp_fold_clip(t, mp_int_of((int64_t)r[k])) : mp_int_unknown();
  }
  if (mp_dtype_is_float(t)) mp_infer_set_floats(c, o, r, n);
  else mp_infer_set_ints(c, o, whole, n);
  return true;
}

void mp_fold(mp_infer *c, int o, int a, int b, mp_fold_ints ints, mp_fold_floats floats) {
  if (!has_contents(c, a) && (b < 0 || !has_contents(c, b))) return;
  mp_shape r;
  uint32_t n;
  operand x, y;
  mp_infer_out_shape(c, o, &r);
  if (!mp_fold_count(&r, &n) || !prepare(c, a, &r, n, &x) || !prepare(c, b < 0 ? a : b, &r, n, &y)) return;
  bool from_floats = mp_dtype_is_float(mp_infer_dtype(c, a)) || (b >= 0 && mp_dtype_is_float(mp_infer_dtype(c, b)));
  if (floats && from_floats && fold_floats(c, o, &x, &y, a, b, n, floats)) return;
  if (ints) fold_ints(c, o, &x, &y, a, b, n, ints);
}

void mp_fold_copy(mp_infer *c, int o, int i) {
  uint32_t n;
  const mp_int *length = mp_infer_length(c, i);
  if (length) mp_infer_set_ints(c, o, length, 1);
  const mp_int *x = mp_infer_ints(c, i, &n);
  if (x) {
    mp_infer_set_ints(c, o, x, n);
    return;
  }
  const double *f = mp_infer_floats(c, i, &n);
  if (f) mp_infer_set_floats(c, o, f, n);
}

void mp_fold_pick(mp_infer *c, int o, int i, const int64_t *from, uint32_t n) {
  uint32_t have;
  const mp_int *x = mp_infer_ints(c, i, &have);
  if (x && n <= MP_MAX_CONTENTS) {
    mp_int r[MP_MAX_CONTENTS];
    for (uint32_t k = 0; k < n; k++) r[k] = from[k] >= 0 && from[k] < (int64_t)have ? x[from[k]] : mp_int_unknown();
    mp_infer_set_ints(c, o, r, n);
    return;
  }
  const double *f = mp_infer_floats(c, i, &have);
  double r[MAX_FLOATS];
  if (!f || n > MAX_FLOATS) return;
  for (uint32_t k = 0; k < n; k++) {
    if (from[k] < 0 || from[k] >= (int64_t)have) return;
    r[k] = f[from[k]];
  }
  mp_infer_set_floats(c, o, r, n);
}
