/* Operators that rearrange a tensor or make one from a shape. They compute nothing, so they cost nothing; their point is that dims written as tensors
 * (Shape, Concat, Reshape, ...) are followed as contents, symbolic where the dims are. */
#include <math.h>
#include <stdio.h>


#include "onnx/fold.h"
#include "onnx/shape_tools.h"

static void rule_shape(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s;
  mp_int n = mp_int_unknown();
  mp_infer_shape(c, 0, &s);
  if (s.rank < 0) {
    mp_infer_set_dims(c, 0, MP_INT64, 1, &n);
    return;
  }
  int64_t from = mp_infer_int(c, "start", 0), to = mp_infer_int(c, "end", s.rank);
  if (from < 0) from += s.rank;
  if (to < 0) to += s.rank;
  from = from < 0 ? 0 : from > s.rank ? s.rank : from;
  to = to < from ? from : to > s.rank ? s.rank : to;
  n = mp_int_of(to - from);
  mp_infer_set_dims(c, 0, MP_INT64, 1, &n);
  mp_infer_set_ints(c, 0, s.dims + from, (uint32_t)n.n);
}

static void rule_size(mp_infer *c) {
  mp_shape s;
  mp_infer_no_cost(c);
  mp_infer_shape(c, 0, &s);
  mp_int n = mp_elements(c, &s);
  mp_infer_set_scalar(c, 0, MP_INT64);
  mp_infer_set_ints(c, 0, &n, 1);
}

/* ---- Reshape ---- */

/* The one dim that is left open follows from the number of elements. Dims that are copied (0) cancel, whether they are known or not. */
static mp_int open_dim(mp_infer *c, const mp_shape *in, const mp_shape *out, int open, const bool *copied) {
  mp_int have = mp_int_of(1), named = mp_int_of(1);
  for (int i = 0; i < in->rank; i++)
    if (i >= out->rank || !copied[i]) have = mp_sym_mul(c, have, in->dims[i]);
  for (int i = 0; i < out->rank; i++)
    if (i != open && !copied[i]) named = mp_sym_mul(c, named, out->dims[i]);
  if (mp_int_is_number(named) && !named.n) return mp_int_unknown();
  mp_int d = mp_sym_div(c, have, named);
  if (mp_int_is_number(have) && mp_int_is_number(named) && d.n * named.n != have.n)
    mp_infer_bad(c, "%lld elements do not divide by %lld", (long long)have.n, (long long)named.n);
  return d;
}

/* An exporter that traced a size as a number (nn.MultiheadAttention's key length) froze it into the target. Where one axis is off, and the operand's own size there
 * makes the elements fit, that size is meant: a warning. */
static bool thaw(mp_infer *c, const mp_shape *in, mp_shape *out, int64_t have) {
  if (!have) return false; /* an empty tensor fits any axis that is 0 */
  for (int i = 0; i < in->rank && i < out->rank; i++) {
    if (!mp_int_is_number(in->dims[i]) || mp_sym_equal(in->dims[i], out->dims[i])) continue;
    mp_int was = out->dims[i];
    out->dims[i] = in->dims[i];
    mp_int now = mp_elements(c, out);
    if (mp_int_is_number(now) && now.n == have) {
      char text[128];
      snprintf(text, sizeof text, "the exporter froze axis %d at %lld; the operand's %lld is taken", i, (long long)was.n, (long long)in->dims[i].n);
      mp_infer_warn(c, text);
      return true;
    }
    out->dims[i] = was;
  }
  return false;
}

static void rule_reshape(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape in, out;
  bool copied[MP_MAX_RANK] = {false}, keep_zero = mp_infer_int(c, "allowzero", 0) != 0;
  int open = -1, holes = 0;
  mp_infer_shape(c, 0, &in);
  out.rank = mp_fold_list(c, "shape", 1, out.dims, MP_MAX_RANK);
  for (int i = 0; i < out.rank; i++) {
    if (mp_sym_equal(out.dims[i], mp_int_of(0)) && !keep_zero) {
      if (in.rank >= 0 && i >= in.rank) {
        mp_infer_bad(c, "axis %d is copied from a tensor of rank %d", i, in.rank);
        return;
      }
      out.dims[i] = in.rank < 0 ? mp_int_unknown() : in.dims[i];
      copied[i] = true;
    } else if (mp_int_is_unknown(out.dims[i]) || mp_sym_equal(out.dims[i], mp_int_of(-1))) {
      if (mp_int_is_unknown(out.dims[i])) mp_infer_depends(c, 1, "the contents");
      out.dims[i] = mp_int_unknown();
      open = i;
      holes++;
    }
  }
  if (out.rank < 0) mp_infer_depends(c, 1, "the contents");
  if (holes == 1 && in.rank >= 0) { /* -1, or a number that was not followed: the same arithmetic */
    out.dims[open] = open_dim(c, &in, &out, open, copied);
  } else if (!holes && in.rank >= 0 && out.rank >= 0) {
    mp_int have = mp_elements(c, &in), want = mp_elements(c, &out);
    if (mp_int_is_number(have) && mp_int_is_number(want) && have.n != want.n && !thaw(c, &in, &out, have.n))
      mp_infer_bad(c, "%lld elements cannot take a shape of %lld", (long long)have.n, (long long)want.n);
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &out);
  mp_fold_copy(c, 0, 0);
}

static void rule_flatten(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s;
  int64_t axis = mp_infer_int(c, "axis", 1);
  mp_int dims[2] = {mp_int_unknown(), mp_int_unknown()};
  mp_infer_shape(c, 0, &s);
  if (s.rank >= 0) {
    if (axis != s.rank && !mp_axis(c, &axis, s.rank)) return;
    dims[0] = mp_shape_elements(c, &s, 0, (int)axis);
    dims[1] = mp_shape_elements(c, &s, (int)axis, s.rank);
  }
  mp_infer_set_dims(c, 0, mp_infer_dtype(c, 0), 2, dims);
  mp_fold_copy(c, 0, 0);
}

static void rule_transpose(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s, r;
  uint32_t n, count;
  int64_t strides[MP_MAX_RANK], step[MP_MAX_RANK], from[MP_MAX_CONTENTS];
  const int64_t *perm = mp_infer_attr_ints(c, "perm", &n);
  bool seen[MP_MAX_RANK] = {false};
  mp_infer_shape(c, 0, &s);
  if (s.rank < 0) {
    r.rank = perm && n <= MP_MAX_RANK ? (int)n : -1;
    for (int i = 0; i < r.rank; i++) r.dims[i] = mp_int_unknown();
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), &r);
    return;
  }
  if (perm && n != (uint32_t)s.rank) {
    mp_infer_bad(c, "perm has %u entries for a tensor of rank %d", n, s.rank);
    return;
  }
  r.rank = s.rank;
  mp_fold_strides(&s, &s, step);
  for (int i = 0; i < s.rank; i++) {
    int64_t k = perm ? perm[i] : s.rank - 1 - i;
    if (!mp_axis(c, &k, s.rank)) return;
    if (seen[k]) {
      mp_infer_bad(c, "perm names axis %lld twice", (long long)k);
      return;
    }
    seen[k] = true;
    r.dims[i] = s.dims[k];
    strides[i] = step[k];
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &r);
  uint32_t have;
  if ((!mp_infer_ints(c, 0, &have) && !mp_infer_floats(c, 0, &have)) || !mp_fold_count(&r, &count)) return;
  mp_fold_walk(&r, strides, 0, count, from);
  mp_fold_pick(c, 0, 0, from, count);
}

/* ---- Squeeze, Unsqueeze ---- */

static void unknown_axes(mp_infer *c, int rank) {
  mp_shape s = {.rank = rank};
  mp_infer_depends(c, 1, "the axes");
  for (int i = 0; i < rank && i < MP_MAX_RANK; i++) s.dims[i] = mp_int_unknown();
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &s);
}

static void rule_squeeze(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s, r = {.rank = 0};
  int64_t axes[MP_MAX_RANK];
  uint32_t n = 0;
  bool given = mp_infer_has_attr(c, "axes") || mp_infer_has(c, 1), gone[MP_MAX_RANK] = {false};
  mp_infer_shape(c, 0, &s);
  if (given && !mp_infer_attr_or_input(c, "axes", 1, axes, MP_MAX_RANK, &n)) {
    mp_int count = mp_infer_rank(c, 1) == 0 ? mp_int_of(1) : mp_infer_dim(c, 1, 0);
    unknown_axes(c, s.rank >= 0 && mp_int_is_number(count) && count.n <= s.rank ? s.rank - (int)count.n : -1);
    return;
  }
  if (s.rank < 0) {
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), NULL);
    return;
  }
  for (uint32_t i = 0; i < n; i++) {
    if (!mp_axis(c, &axes[i], s.rank)) return;
    gone[axes[i]] = true;
  }
  for (int i = 0; i < s.rank; i++) {
    bool one = mp_sym_equal(s.dims[i], mp_int_of(1));
    if (n ? !gone[i] : !one) r.dims[r.rank++] = s.dims[i];
    if (n && gone[i] && mp_int_is_number(s.dims[i]) && !one) {
      mp_infer_bad(c, "axis %d has %lld elements, expected 1", i, (long long)s.dims[i].n);
      return;
    }
    if (!n && mp_sym_compare(c, s.dims[i], mp_int_of(1)) == 2) { /* an open dim may turn out to be 1 */
      mp_infer_depends(c, 0, "which dims are 1");
      mp_infer_set(c, 0, mp_infer_dtype(c, 0), NULL);
      return;
    }
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &r);
  mp_fold_copy(c, 0, 0);
}

static void rule_unsqueeze(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s, r = {.rank = 0};
  int64_t axes[MP_MAX_RANK];
  uint32_t n = 0;
  bool fresh[MP_MAX_RANK] = {false};
  mp_infer_shape(c, 0, &s);
  if (!mp_infer_attr_or_input(c, "axes", 1, axes, MP_MAX_RANK, &n)) {
    mp_int count = mp_infer_rank(c, 1) == 0 ? mp_int_of(1) : mp_infer_dim(c, 1, 0);
    unknown_axes(c, s.rank >= 0 && mp_int_is_number(count) && count.n <= MP_MAX_RANK - s.rank ? s.rank + (int)count.n : -1);
    return;
  }
  if (s.rank < 0 || s.rank + (int)n > MP_MAX_RANK) {
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), NULL);
    return;
  }
  int rank = s.rank + (int)n, k = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (!mp_axis(c, &axes[i], rank)) return;
    if (fresh[axes[i]]) {
      mp_infer_bad(c, "axis %lld is given twice", (long long)axes[i]);
      return;
    }
    fresh[axes[i]] = true;
  }
  for (int i = 0; i < rank; i++) r.dims[r.rank++] = fresh[i] ? mp_int_of(1) : s.dims[k++];
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &r);
  mp_fold_copy(c, 0, 0);
}

/* ---- Concat, Split ---- */

/* Joins contents where the axis is the first that has more than one element. */
static void concat_contents(mp_infer *c, int n, const mp_shape *r, int64_t axis) {
  mp_int at[MP_MAX_CONTENTS], room[MP_MAX_CONTENTS];
  double f[64], f_room[64];
  uint32_t total, k = 0, count;
  bool floats = mp_dtype_is_float(mp_infer_out_dtype(c, 0)), any = false;
  if (!mp_fold_count(r, &total)) return;
  for (int i = 0; i < axis; i++)
    if (r->dims[i].n != 1) return;
  for (int i = 0; i < n; i++) {
    mp_shape s;
    uint32_t elements;
    mp_infer_shape(c, i, &s);
    if (!mp_fold_count(&s, &elements) || k + elements > total) return;
    const double *x = floats && total <= 64 ? mp_fold_read_floats(c, i, &count, f_room) : NULL;
    for (uint32_t j = 0; x && j < elements; j++) f[k + j] = x[j];
    if (!x && elements) floats = false;
    const mp_int *y = mp_fold_read_ints(c, i, &count, room);
    any |= y != NULL;
    for (uint32_t j = 0; j < elements; j++) at[k + j] = y ? y[j] : mp_int_unknown();
    k += elements;
  }
  if (k != total || !any) return;
  if (floats && total <= 64) mp_infer_set_floats(c, 0, f, total);
  else mp_infer_set_ints(c, 0, at, total);
}

/* Some files join scalars: each is a vector of one element. */
static void concat_input(mp_infer *c, int i, mp_shape *s) {
  mp_infer_shape(c, i, s);
  if (s->rank) return;
  mp_infer_warn(c, "joins scalars, taken as vectors of one element");
  s->rank = 1;
  s->dims[0] = mp_int_of(1);
}

static void rule_concat(mp_infer *c) {
  mp_infer_no_cost(c);
  int n = mp_infer_ins(c);
  mp_shape r, s;
  int64_t axis = mp_infer_int(c, "axis", 1);
  r.rank = -1;
  for (int i = 0; i < n && r.rank < 0; i++) concat_input(c, i, &r);
  mp_dtype t = mp_dtype_or(c, 0, 1);
  if (r.rank < 0) {
    mp_infer_set(c, 0, t, NULL);
    return;
  }
  if (!mp_axis(c, &axis, r.rank)) return;
  mp_int sum = mp_int_of(0);
  for (int i = 0; i < n; i++) {
    concat_input(c, i, &s);
    if (s.rank >= 0 && s.rank != r.rank) {
      mp_infer_bad(c, "inputs of rank %d and %d", r.rank, s.rank);
      return;
    }
    bool clash = false;
    for (int k = 0; k < s.rank && !clash; k++)
      if (k != axis) r.dims[k] = mp_dim_unify(r.dims[k], s.dims[k], &clash);
    if (clash) {
      mp_infer_bad(c, "input %d differs from the others along another axis than %lld", i, (long long)axis);
      return;
    }
    sum = mp_sym_add(c, sum, s.rank < 0 ? mp_int_unknown() : s.dims[axis]);
  }
  r.dims[axis] = sum;
  mp_infer_set(c, 0, t, &r);
  concat_contents(c, n, &r, axis);
}

static void split_output(mp_infer *c, int o, const mp_shape *in, int64_t axis, mp_int from, mp_int size) {
  mp_shape s = *in;
  uint32_t n;
  int64_t step[MP_MAX_RANK], at[MP_MAX_CONTENTS];
  s.dims[axis] = size;
  mp_infer_set(c, o, mp_infer_dtype(c, 0), &s);
  if (from.e || !mp_fold_count(&s, &n) || !mp_fold_count(in, &(uint32_t){0})) return;
  mp_fold_strides(in, in, step);
  mp_fold_walk(&s, step, (int64_t)((uint64_t)from.n * (uint64_t)step[axis]), n, at);
  mp_fold_pick(c, o, 0, at, n);
}

static void rule_split(mp_infer *c) {
  mp_infer_no_cost(c);
  enum { MAX_PARTS = 256 };
  mp_shape s;
  mp_int sizes[MAX_PARTS], from = mp_int_of(0);
  int64_t axis = mp_infer_int(c, "axis", 0);
  int outs = mp_infer_outs(c);
  mp_infer_shape(c, 0, &s);
  if (s.rank < 0) {
    for (int o = 0; o < outs; o++) mp_infer_set(c, o, mp_infer_dtype(c, 0), NULL);
    return;
  }
  if (!mp_axis(c, &axis, s.rank)) return;
  mp_int dim = s.dims[axis], count = mp_int_of(outs);
  bool given = mp_infer_has_attr(c, "split") || mp_infer_has(c, 1), uneven = mp_infer_opset(c) >= 18;
  int n = given ? mp_fold_list(c, "split", 1, sizes, MAX_PARTS) : -1;
  mp_int sum = mp_int_of(0);
  for (int o = 0; o < n; o++) sum = mp_sym_add(c, sum, sizes[o]);
  if (given && n >= 0 && (n != outs || (mp_int_is_number(sum) && mp_int_is_number(dim) && sum.n != dim.n))) {
    mp_infer_bad(c, "%d sizes of %s in all for %d outputs of %s", n, mp_int_text(mp_infer_arena(c), sum), outs, mp_int_text(mp_infer_arena(c), dim));
    return;
  }
  if (uneven && mp_infer_int(c, "num_outputs", outs) != outs) {
    mp_infer_bad(c, "num_outputs is %lld, the node has %d", (long long)mp_infer_int(c, "num_outputs", outs), outs);
    return;
  }
  mp_int each = uneven ? mp_sym_ceil_div(c, dim, count) : mp_sym_div(c, dim, count);
  if (!given && !uneven && mp_int_is_number(dim) && outs && dim.n % outs) {
    mp_infer_bad(c, "%lld elements do not split into %d equal parts", (long long)dim.n, outs);
    return;
  }
  for (int o = 0; o < outs; o++) {
    mp_int size = given ? n >= 0 ? sizes[o] : mp_int_unknown() : each;
    if (!given && uneven) size = mp_sym_min(c, each, mp_sym_max(c, mp_sym_sub(c, dim, from), mp_int_of(0)));
    if (given && mp_int_is_unknown(size)) mp_infer_depends(c, 1, "the contents");
    split_output(c, o, &s, axis, from, size);
    from = mp_sym_add(c, from, size);
  }
}

/* ---- Expand, Tile, Pad ---- */

static void rule_expand(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s, want, r;
  uint32_t n, have;
  int64_t strides[MP_MAX_RANK], from[MP_MAX_CONTENTS];
  mp_infer_shape(c, 0, &s);
  mp_fold_dims(c, 1, &want);
  if (!mp_shape_broadcast(c, &s, &want, &r)) return;
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &r);
  if ((!mp_infer_ints(c, 0, &have) && !mp_infer_floats(c, 0, &have)) || !mp_fold_count(&r, &n) || s.rank > r.rank) return;
  mp_fold_strides(&s, &r, strides);
  mp_fold_walk(&r, strides, 0, n, from);
  mp_fold_pick(c, 0, 0, from, n);
}

static void tile_contents(mp_infer *c, const mp_shape *s, const mp_shape *r) {
  uint32_t n, have;
  int64_t step[MP_MAX_RANK], at[MP_MAX_RANK] = {0}, from[MP_MAX_CONTENTS];
  if ((!mp_infer_ints(c, 0, &have) && !mp_infer_floats(c, 0, &have)) || !mp_fold_count(r, &n) || !have) return;
  mp_fold_strides(s, s, step);
  for (uint32_t i = 0; i < n; i++) {
    from[i] = 0;
    for (int d = 0; d < r->rank; d++) from[i] += at[d] % s->dims[d].n * step[d];
    for (int d = r->rank - 1; d >= 0 && ++at[d] == r->dims[d].n; d--) at[d] = 0;
  }
  mp_fold_pick(c, 0, 0, from, n);
}

/* Up to opset 5 one axis is repeated: inputs tiles and axis. */
static void rule_tile(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s, r;
  mp_int times[MP_MAX_RANK];
  mp_infer_shape(c, 0, &s);
  r = s;
  if (mp_infer_opset(c) < 6) {
    int64_t axis;
    if (s.rank >= 0 && mp_scalar_int(c, 2, &axis)) {
      if (!mp_axis(c, &axis, s.rank)) return;
      r.dims[axis] = mp_sym_mul(c, s.dims[axis], mp_scalar_dim(c, 1));
    } else {
      r.rank = -1;
    }
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), &r);
    return;
  }
  int n = mp_fold_list(c, NULL, 1, times, MP_MAX_RANK);
  if (s.rank >= 0 && n >= 0 && n != s.rank) {
    mp_infer_bad(c, "%d repeats for a tensor of rank %d", n, s.rank);
    return;
  }
  if (r.rank < 0 && n >= 0) {
    r.rank = n;
    for (int i = 0; i < n; i++) r.dims[i] = mp_int_unknown();
  }
  for (int i = 0; i < r.rank; i++) {
    r.dims[i] = mp_sym_mul(c, r.dims[i], n < 0 ? mp_int_unknown() : times[i]);
    if (n < 0 || mp_int_is_unknown(times[i])) mp_infer_depends(c, 1, "the contents");
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &r);
  if (s.rank >= 0) tile_contents(c, &s, &r);
}

/* Attribute paddings in opset 1, pads up to 10, then input 1; axes by input 3 from 18. */
static void rule_pad(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s;
  mp_int pads[2 * MP_MAX_RANK], axes[MP_MAX_RANK];
  mp_infer_shape(c, 0, &s);
  if (s.rank < 0) {
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), NULL);
    return;
  }
  int n = mp_fold_list(c, mp_infer_has_attr(c, "paddings") ? "paddings" : "pads", 1, pads, 2 * MP_MAX_RANK), k = s.rank;
  for (int i = 0; i < k; i++) axes[i] = mp_int_of(i);
  if (mp_infer_has(c, 3)) k = mp_fold_list(c, NULL, 3, axes, MP_MAX_RANK);
  bool known = n >= 0 && k >= 0;
  if (known && n != 2 * k) {
    mp_infer_bad(c, "%d pads for %d axes", n, k);
    return;
  }
  for (int i = 0; known && i < k; i++) {
    int64_t axis = axes[i].n;
    if (axes[i].e) known = false;
    else if (!mp_axis(c, &axis, s.rank)) return;
    else s.dims[axis] = mp_sym_add(c, s.dims[axis], mp_sym_add(c, pads[i], pads[i + k]));
    if (mp_int_is_unknown(pads[i])) mp_infer_depends(c, 1, "the contents");
  }
  for (int i = 0; !known && i < s.rank; i++) s.dims[i] = mp_int_unknown();
  if (!known) mp_infer_depends(c, n < 0 ? 1 : 3, "the contents");
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &s);
}

/* ---- tensors made from nothing ---- */

static void set_tensor_contents(mp_infer *c, const mp_tensor *t) {
  if (t->ints) mp_infer_set_ints(c, 0, t->ints, t->contents);
  else if (t->floats) mp_infer_set_floats(c, 0, t->floats, t->contents);
}

static void rule_constant(mp_infer *c) {
  mp_infer_no_cost(c);
  const mp_tensor *t = mp_infer_attr_tensor(c, "value");
  const mp_attr *x;
  mp_int dims[MP_MAX_RANK], ints[MP_MAX_CONTENTS];
  if (t) {
    for (int i = 0; i < t->rank && i < MP_MAX_RANK; i++) dims[i] = mp_int_of(t->dims[i]);
    mp_infer_set_dims(c, 0, t->dtype, t->rank, dims);
    set_tensor_contents(c, t);
  } else if ((x = mp_infer_attr(c, "value_int")) && x->kind == MP_ATTR_INT) {
    ints[0] = mp_int_of(x->as.i);
    mp_infer_set_scalar(c, 0, MP_INT64);
    mp_infer_set_ints(c, 0, ints, 1);
  } else if ((x = mp_infer_attr(c, "value_float")) && x->kind == MP_ATTR_FLOAT) {
    mp_infer_set_scalar(c, 0, MP_FLOAT);
    mp_infer_set_floats(c, 0, &x->as.f, 1);
  } else if (mp_infer_has_attr(c, "value_string")) {
    mp_infer_set_scalar(c, 0, MP_STRING);
  } else if ((x = mp_infer_attr(c, "value_ints")) || (x = mp_infer_attr(c, "value_floats")) || (x = mp_infer_attr(c, "value_strings"))) {
    dims[0] = mp_int_of(x->n);
    mp_infer_set_dims(c, 0, x->kind == MP_ATTR_INTS ? MP_INT64 : x->kind == MP_ATTR_FLOATS ? MP_FLOAT : MP_STRING, 1, dims);
    for (uint32_t i = 0; x->kind == MP_ATTR_INTS && i < x->n && i < MP_MAX_CONTENTS; i++) ints[i] = mp_int_of(x->as.ints[i]);
    if (x->kind == MP_ATTR_INTS) mp_infer_set_ints(c, 0, ints, x->n);
    else if (x->kind == MP_ATTR_FLOATS) mp_infer_set_floats(c, 0, x->as.floats, x->n);
  } else if (mp_infer_has_attr(c, "sparse_value")) {
    mp_infer_set(c, 0, MP_UNDEFINED, NULL);
    mp_infer_depends(c, -1, "a sparse constant");
  }
}

static void rule_constant_of_shape(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s;
  uint32_t n;
  const mp_tensor *t = mp_infer_attr_tensor(c, "value");
  mp_int ints[MP_MAX_CONTENTS];
  double floats[64];
  mp_fold_dims(c, 0, &s);
  mp_infer_set(c, 0, t ? t->dtype : MP_FLOAT, &s);
  if (!mp_fold_count(&s, &n)) return;
  for (uint32_t i = 0; i < n; i++) ints[i] = t && t->ints && t->contents ? t->ints[0] : mp_int_of(0);
  for (uint32_t i = 0; i < n && i < 64; i++) floats[i] = t && t->floats && t->contents ? t->floats[0] : 0;
  if (t && t->ints) mp_infer_set_ints(c, 0, ints, n);
  else if (!t || t->floats) mp_infer_set_floats(c, 0, floats, n);
}

static void rule_identity(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_infer_same(c, 0, 0);
  mp_fold_copy(c, 0, 0);
}

static void rule_eye_like(mp_infer *c) {
  mp_shape s;
  int64_t t = mp_infer_int(c, "dtype", 0);
  mp_infer_no_cost(c);
  mp_infer_shape(c, 0, &s);
  mp_infer_set(c, 0, t > 0 && t < MP_DTYPES ? (mp_dtype)t : mp_infer_dtype(c, 0), &s);
}

static void rule_same(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_infer_same(c, 0, 0);
}

static const mp_op rows[] = {
  {"", "Concat", 1, rule_concat},
  {"", "Constant", 1, rule_constant},
  {"", "ConstantOfShape", 9, rule_constant_of_shape},
  {"", "Expand", 8, rule_expand},
  {"", "EyeLike", 9, rule_eye_like},
  {"", "Flatten", 1, rule_flatten},
  {"", "Identity", 1, rule_identity},
  {"", "Pad", 1, rule_pad},
  {"", "Pad", 2, rule_pad},
  {"", "Pad", 11, rule_pad},
  {"", "Pad", 18, rule_pad},
  {"", "Reshape", 1, rule_reshape},
  {"", "Reshape", 5, rule_reshape},
  {"", "Reshape", 14, rule_reshape},
  {"", "ReverseSequence", 10, rule_same},
  {"", "Shape", 1, rule_shape},
  {"", "Shape", 15, rule_shape},
  {"", "Size", 1, rule_size},
  {"", "Split", 1, rule_split},
  {"", "Split", 13, rule_split},
  {"", "Split", 18, rule_split},
  {"", "Squeeze", 1, rule_squeeze},
  {"", "Squeeze", 13, rule_squeeze},
  {"", "Tile", 1, rule_tile},
  {"", "Tile", 6, rule_tile},
  {"", "Transpose", 1, rule_transpose},
  {"", "Trilu", 14, rule_same},
  {"", "Unsqueeze", 1, rule_unsqueeze},
  {"", "Unsqueeze", 13, rule_unsqueeze},
};
const mp_op_table mp_ops_move = {rows, sizeof rows / sizeof *rows};
