/* Operators that select: Slice, Gather and Scatter with their kin, TopK, OneHot, and those whose output depends on data (NonZero, Compress, Unique,
 * NonMaxSuppression), which are known only for known contents. */
#include <math.h>

#include "onnx/fold.h"
#include "onnx/shape_tools.h"

static bool has_contents(const mp_infer *c, int i) {
  uint32_t n;
  return mp_infer_ints(c, i, &n) || mp_infer_floats(c, i, &n);
}

/* ---- Slice ---- */

enum { FAR = 1000000000 }; /* what exporters write for "to the end" is at least this; an open dim is taken to be smaller */

/* A bound as Python takes it: negative ones count from the end, then clamped into [lo, hi]. Unknown where its sign is. */
static mp_int bound(mp_infer *c, mp_int at, mp_int dim, mp_int lo, mp_int hi) {
  if (!at.e && at.n >= FAR && dim.e) return hi;
  if (!at.e && at.n <= -FAR && dim.e) return lo;
  int sign = mp_sym_compare(c, at, mp_int_of(0));
  if (sign == 2 && !mp_sym_equal(mp_sym_max(c, at, mp_int_of(0)), at)) return mp_int_unknown();
  if (sign == -1) at = mp_sym_add(c, at, dim);
  return mp_sym_max(c, mp_sym_min(c, at, hi), lo);
}

typedef struct cut {
  mp_int start, size;
  int64_t step;
} cut;

static cut cut_axis(mp_infer *c, mp_int dim, mp_int start, mp_int end, mp_int step) {
  cut r = {mp_int_unknown(), mp_int_unknown(), 1};
  mp_int zero = mp_int_of(0), minus = mp_int_of(-1), last = mp_sym_add(c, dim, minus);
  if (step.e || !step.n) return r;
  r.step = step.n;
  if (step.n > 0) {
    r.start = bound(c, start, dim, zero, dim);
    r.size = mp_sym_sub(c, bound(c, end, dim, zero, dim), r.start);
  } else {
    r.start = bound(c, start, dim, zero, mp_sym_max(c, last, zero));
    if (mp_sym_equal(dim, zero)) r.start = minus;
    r.size = mp_sym_sub(c, r.start, bound(c, end, dim, minus, last));
    step.n = step.n == INT64_MIN ? INT64_MAX : -step.n;
  }
  r.size = mp_sym_max(c, mp_sym_ceil_div(c, r.size, step), zero);
  if (r.step < 0) r.size = mp_sym_min(c, r.size, dim); /* backwards, the start is inside: of an axis that may be empty nothing is taken all the same */
  return r;
}

static void slice_contents(mp_infer *c, const mp_shape *s, const mp_shape *r, const cut *cuts) {
  uint32_t n;
  int64_t strides[MP_MAX_RANK], start = 0, from[MP_MAX_CONTENTS];
  if (!has_contents(c, 0) || !mp_fold_count(s, &n) || !mp_fold_count(r, &n) || !n) return;
  mp_fold_strides(s, s, strides);
  for (int i = 0; i < s->rank; i++) {
    if (cuts[i].start.e) return;
    start += cuts[i].start.n * strides[i];
    strides[i] = r->dims[i].n > 1 ? strides[i] * cuts[i].step : 0;
  }
  mp_fold_walk(r, strides, start, n, from);
  mp_fold_pick(c, 0, 0, from, n);
}

/* Attributes in opset 1; inputs 1 to 4 (starts, ends, axes, steps) from 10. */
static void rule_slice(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s, r;
  mp_int starts[MP_MAX_RANK], ends[MP_MAX_RANK], axes[MP_MAX_RANK], steps[MP_MAX_RANK];
  cut cuts[MP_MAX_RANK];
  mp_infer_shape(c, 0, &s);
  r = s;
  int n = mp_fold_list(c, "starts", 1, starts, MP_MAX_RANK), m = mp_fold_list(c, "ends", 2, ends, MP_MAX_RANK);
  bool has_axes = mp_infer_has_attr(c, "axes") || mp_infer_has(c, 3), has_steps = mp_infer_has(c, 4);
  int k = has_axes ? mp_fold_list(c, "axes", 3, axes, MP_MAX_RANK) : n < 0 ? m : n, l = has_steps ? mp_fold_list(c, NULL, 4, steps, MP_MAX_RANK) : k;
  if (s.rank < 0) {
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), NULL);
    return;
  }
  if ((n >= 0 && k >= 0 && n != k) || (m >= 0 && k >= 0 && m != k) || k > s.rank || (l >= 0 && k >= 0 && l != k)) {
    mp_infer_bad(c, "%d starts, %d ends and %d axes on a tensor of rank %d", n, m, k, s.rank);
    return;
  }
  for (int i = 0; i < s.rank; i++) cuts[i] = (cut){mp_int_of(0), s.dims[i], 1};
  bool known = k >= 0;
  for (int i = 0; i < k && known; i++) {
    int64_t axis = has_axes ? axes[i].n : i;
    if (has_axes && axes[i].e) known = false;
    else if (!mp_axis(c, &axis, s.rank)) return;
    else {
      cuts[axis] = cut_axis(c, s.dims[axis], n < 0 ? mp_int_unknown() : starts[i], m < 0 ? mp_int_unknown() : ends[i],
                            !has_steps ? mp_int_of(1) : l < 0 ? mp_int_unknown() : steps[i]);
      r.dims[axis] = cuts[axis].size;
      if (mp_int_is_unknown(cuts[axis].size) && !mp_int_is_unknown(s.dims[axis])) mp_infer_depends(c, n < 0 || mp_int_is_unknown(starts[i]) ? 1 : 2, "the contents");
    }
  }
  if (!known) {
    mp_infer_depends(c, 3, "the contents");
    for (int i = 0; i < s.rank; i++) r.dims[i] = mp_int_unknown();
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &r);
  if (known) slice_contents(c, &s, &r, cuts);
}

/* ---- Gather ---- */

static void gather_contents(mp_infer *c, const mp_shape *s, int64_t axis) {
  mp_shape r;
  uint32_t n, k, total;
  int64_t from[MP_MAX_CONTENTS], inner = 1;
  const mp_int *index = mp_infer_ints(c, 1, &k);
  mp_infer_out_shape(c, 0, &r);
  if (!index || !has_contents(c, 0) || !mp_fold_count(s, &total) || !mp_fold_count(&r, &n) || !n) return;
  for (int i = (int)axis + 1; i < s->rank; i++) inner *= s->dims[i].n;
  int64_t dim = s->dims[axis].n;
  for (uint32_t i = 0; i < n; i++) { /* output: outer, index, inner */
    int64_t in = i % inner, at = i / inner % k, outer = i / inner / k;
    mp_int x = index[at];
    if (x.n < 0) x.n += dim;
    from[i] = x.e || x.n < 0 || x.n >= dim ? -1 : (outer * dim + x.n) * inner + in;
  }
  mp_fold_pick(c, 0, 0, from, n);
}

static void rule_gather(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s, index, r = {.rank = 0};
  int64_t axis = mp_infer_int(c, "axis", 0);
  mp_infer_shape(c, 0, &s);
  mp_infer_shape(c, 1, &index);
  if (s.rank < 0 || index.rank < 0) {
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), NULL);
    return;
  }
  if (!mp_axis(c, &axis, s.rank)) return;
  for (int i = 0; i < axis; i++) mp_shape_append(&r, s.dims[i]);
  for (int i = 0; i < index.rank; i++) mp_shape_append(&r, index.dims[i]);
  for (int i = (int)axis + 1; i < s.rank; i++) mp_shape_append(&r, s.dims[i]);
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &r);
  if (r.rank >= 0) gather_contents(c, &s, axis);
}

static void rule_gather_elements(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s;
  mp_infer_shape(c, 1, &s);
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &s);
}

static void rule_gather_nd(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s, index, r = {.rank = 0};
  int64_t batch = mp_infer_int(c, "batch_dims", 0);
  mp_infer_shape(c, 0, &s);
  mp_infer_shape(c, 1, &index);
  mp_int tuple = index.rank > 0 ? index.dims[index.rank - 1] : mp_int_unknown();
  if (s.rank < 0 || index.rank < 0 || tuple.e) {
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), NULL);
    return;
  }
  if (batch < 0 || batch >= index.rank || tuple.n > s.rank - batch) {
    mp_infer_bad(c, "tuples of %lld indices after %lld batch dims into a tensor of rank %d", (long long)tuple.n, (long long)batch, s.rank);
    return;
  }
  for (int i = 0; i + 1 < index.rank; i++) mp_shape_append(&r, index.dims[i]);
  for (int i = (int)(batch + tuple.n); i < s.rank; i++) mp_shape_append(&r, s.dims[i]);
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &r);
}

/* ---- Scatter ---- */

/* Contents where a vector is updated at known places: ScatterElements with k indices, ScatterND with k tuples of one. */
static void rule_scatter(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_infer_same(c, 0, 0);
  uint32_t n, k, m;
  const mp_int *data = mp_infer_ints(c, 0, &n), *index = mp_infer_ints(c, 1, &k), *update = mp_infer_ints(c, 2, &m);
  mp_int r[MP_MAX_CONTENTS];
  if (!data || !index || mp_infer_rank(c, 0) != 1 || (update && k != m)) return;
  if (strcmp(mp_infer_string(c, "reduction", "none"), "none") != 0) return;
  memcpy(r, data, n * sizeof *r);
  for (uint32_t i = 0; i < k; i++) {
    int64_t at = index[i].n < 0 ? index[i].n + n : index[i].n;
    if (index[i].e || at < 0 || at >= n) return;
    r[at] = update ? update[i] : mp_int_unknown();
  }
  mp_infer_set_ints(c, 0, r, n);
}

static void rule_same(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_infer_same(c, 0, 0);
}

/* ---- TopK, OneHot ---- */

/* k is an attribute up to opset 9, then input 1. */
static void rule_top_k(mp_infer *c) {
  mp_shape s;
  int64_t axis = mp_infer_int(c, "axis", -1);
  mp_infer_shape(c, 0, &s);
  if (s.rank >= 0) {
    if (!mp_axis(c, &axis, s.rank)) return;
    s.dims[axis] = mp_infer_has_attr(c, "k") ? mp_int_of(mp_infer_int(c, "k", 0)) : mp_scalar_dim(c, 1);
    if (mp_int_is_unknown(s.dims[axis])) mp_infer_depends(c, 1, "the contents");
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &s);
  mp_infer_set(c, 1, MP_INT64, &s);
}

/* Contents where the new axis is the last, or the only one of more than one element: repeats for a Tile are written so (repeat_interleave). */
static void one_hot_contents(mp_infer *c, int64_t depth) {
  uint32_t n, two;
  const mp_int *at = mp_infer_ints(c, 0, &n), *values = mp_infer_ints(c, 2, &two);
  mp_int out[64];
  if (!at || !values || two != 2 || !n || depth < 1 || depth > 64 || n > 64 / (uint64_t)depth) return;
  for (uint32_t i = 0; i < n; i++) {
    if (!mp_int_is_number(at[i])) return;
    int64_t on = at[i].n < 0 ? at[i].n + depth : at[i].n;
    for (int64_t k = 0; k < depth; k++) out[i * (uint64_t)depth + (uint64_t)k] = values[k == on];
  }
  mp_infer_set_ints(c, 0, out, n * (uint32_t)depth);
}

static void rule_one_hot(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s, r = {.rank = 0};
  int64_t axis = mp_infer_int(c, "axis", -1);
  uint32_t n;
  mp_int room[64], depth = mp_int_unknown();
  const mp_int *x = mp_fold_read_ints(c, 1, &n, room);
  if (x && n == 1) depth = *x;
  else mp_infer_depends(c, 1, "the value");
  mp_infer_shape(c, 0, &s);
  if (s.rank < 0) {
    mp_infer_set(c, 0, mp_infer_dtype(c, 2), NULL);
    return;
  }
  if (!mp_axis(c, &axis, s.rank + 1)) return;
  for (int i = 0; i <= s.rank; i++) mp_shape_append(&r, i < axis ? s.dims[i] : i == axis ? depth : s.dims[i - 1]);
  mp_infer_set(c, 0, mp_infer_dtype(c, 2), &r);
  bool one = s.rank == 0 || (s.rank == 1 && mp_int_is_number(s.dims[0]) && s.dims[0].n == 1);
  if (mp_int_is_number(depth) && (axis == s.rank || one)) one_hot_contents(c, depth.n);
}

/* ---- what depends on data ---- */

/* A tensor filled with one number other than 0, of any size: how exporters once wrote Range. */
static bool filled(const mp_infer *c, int i) {
  const mp_node *n = mp_infer_producer(c, i);
  const mp_attr *x = n && strcmp(n->type, "ConstantOfShape") == 0 ? mp_node_attr(n, "value") : NULL;
  const mp_tensor *t = x && x->kind == MP_ATTR_TENSOR ? x->as.tensor : NULL;
  if (!t || !t->contents) return false;
  return t->ints ? !t->ints[0].e && t->ints[0].n : t->floats && t->floats[0] != 0;
}

/* the flat places of elements that are not 0; -1 where some element is not known */
static int64_t places(const mp_infer *c, int i, int64_t *at) {
  uint32_t n;
  const double *f = mp_infer_floats(c, i, &n);
  const mp_int *x = f ? NULL : mp_infer_ints(c, i, &n);
  int64_t k = 0;
  if (!x && !f) return -1;
  for (uint32_t j = 0; j < n; j++) {
    if (x && x[j].e) return -1;
    if (x ? x[j].n != 0 : f[j] != 0) at[k++] = j;
  }
  return k;
}

static void rule_non_zero(mp_infer *c) {
  mp_shape s;
  int64_t at[MP_MAX_CONTENTS], n = places(c, 0, at), step[MP_MAX_RANK];
  mp_int r[MP_MAX_CONTENTS];
  mp_infer_shape(c, 0, &s);
  mp_int dims[2] = {s.rank < 0 ? mp_int_unknown() : mp_int_of(s.rank), n >= 0 ? mp_int_of(n) : filled(c, 0) ? mp_elements(c, &s) : mp_int_unknown()};
  if (n < 0 && !filled(c, 0)) mp_infer_depends(c, 0, "the values");
  mp_infer_set_dims(c, 0, MP_INT64, 2, dims);
  if (n < 0 || s.rank < 0 || n * s.rank > MP_MAX_CONTENTS) return;
  mp_fold_strides(&s, &s, step);
  for (int d = 0; d < s.rank; d++)
    for (int64_t k = 0; k < n; k++) r[d * n + k] = mp_int_of(at[k] / step[d] % s.dims[d].n);
  mp_infer_set_ints(c, 0, r, (uint32_t)(n * s.rank));
}

static void rule_compress(mp_infer *c) {
  mp_infer_no_cost(c);
  mp_shape s;
  int64_t at[MP_MAX_CONTENTS], n = places(c, 1, at), axis = mp_infer_int(c, "axis", 0);
  mp_int k = n < 0 ? mp_int_unknown() : mp_int_of(n);
  if (n < 0) mp_infer_depends(c, 1, "the values");
  mp_infer_shape(c, 0, &s);
  if (!mp_infer_has_attr(c, "axis")) {
    mp_infer_set_dims(c, 0, mp_infer_dtype(c, 0), 1, &k);
    return;
  }
  if (s.rank >= 0) {
    if (!mp_axis(c, &axis, s.rank)) return;
    s.dims[axis] = k;
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &s);
}

static void rule_unique(mp_infer *c) {
  mp_shape s;
  int64_t axis = mp_infer_int(c, "axis", 0);
  uint32_t n;
  const mp_int *x = mp_infer_ints(c, 0, &n);
  mp_int count = mp_int_unknown(), whole;
  mp_infer_shape(c, 0, &s);
  whole = mp_elements(c, &s);
  if (mp_infer_has_attr(c, "axis") && s.rank >= 0) {
    if (!mp_axis(c, &axis, s.rank)) return;
    whole = s.dims[axis];
  } else if (x && !mp_infer_has_attr(c, "axis")) {
    count = mp_int_of(0);
    for (uint32_t i = 0; i < n && i < 256 && !count.e; i++) {
      bool fresh = !x[i].e && n <= 256;
      if (!fresh) count = mp_int_unknown();
      for (uint32_t j = 0; j < i; j++) fresh &= x[j].n != x[i].n;
      count.n += fresh;
    }
  }
  if (mp_int_is_unknown(count)) mp_infer_depends(c, 0, "the values");
  if (!mp_infer_has_attr(c, "axis")) mp_infer_set_dims(c, 0, mp_infer_dtype(c, 0), 1, &count);
  else if (s.rank >= 0) s.dims[axis] = count;
  if (mp_infer_has_attr(c, "axis")) mp_infer_set(c, 0, mp_infer_dtype(c, 0), &s);
  mp_infer_set_dims(c, 1, MP_INT64, 1, &count);
  mp_infer_set_dims(c, 2, MP_INT64, 1, &whole);
  mp_infer_set_dims(c, 3, MP_INT64, 1, &count);
}

static void rule_non_max_suppression(mp_infer *c) {
  uint32_t n;
  const mp_int *most = mp_infer_ints(c, 2, &n);
  mp_int dims[2] = {mp_int_unknown(), mp_int_of(3)};
  bool none = !mp_infer_has(c, 2) || (most && n == 1 && mp_sym_equal(*most, mp_int_of(0))); /* at most 0 boxes of a class */
  if (none) dims[0] = mp_int_of(0);
  else mp_infer_depends(c, 0, "the values");
  mp_infer_set_dims(c, 0, MP_INT64, 2, dims);
}

static const mp_op rows[] = {
  {"", "Compress", 9, rule_compress},
  {"", "Gather", 1, rule_gather},
  {"", "GatherElements", 11, rule_gather_elements},
  {"", "GatherND", 11, rule_gather_nd},
  {"", "NonMaxSuppression", 10, rule_non_max_suppression},
  {"", "NonZero", 9, rule_non_zero},
  {"", "OneHot", 9, rule_one_hot},
  {"", "Scatter", 9, rule_scatter},
  {"", "ScatterElements", 11, rule_scatter},
  {"", "ScatterND", 11, rule_scatter},
  {"", "Slice", 1, rule_slice},
  {"", "Slice", 10, rule_slice},
  {"", "TensorScatter", 24, rule_same},
  {"", "TopK", 1, rule_top_k},
  {"", "TopK", 10, rule_top_k},
  {"", "Unique", 11, rule_unique},
};
const mp_op_table mp_ops_index = {rows, sizeof rows / sizeof *rows};
