/* Reductions, sequences of numbers, random tensors and Einsum. */
#include <ctype.h>
#include <math.h>

#include "onnx/fold.h"
#include "onnx/shape_tools.h"

/* ---- reductions ---- */

typedef struct reduction {
  mp_fold_ints ints;     /* joins two elements, NULL: contents are not followed */
  mp_fold_floats floats;
  bool mean;
} reduction;

static mp_int sum_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  return mp_sym_add(c, a, b);
}
static mp_int product_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  return mp_sym_mul(c, a, b);
}
static mp_int max_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  return mp_sym_max(c, a, b);
}
static mp_int min_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  return mp_sym_min(c, a, b);
}
static double sum_float(double x, double y) { return x + y; }
static double product_float(double x, double y) { return x * y; }
static double max_float(double x, double y) { return fmax(x, y); }
static double min_float(double x, double y) { return fmin(x, y); }

/* contents of a tensor reduced over all its axes, or of one of rank 1 at most */
static void reduce_contents(mp_infer *c, const reduction *r) {
  uint32_t n, k;
  mp_shape out;
  mp_infer_out_shape(c, 0, &out);
  if (!mp_fold_count(&out, &k) || k != 1) return;
  mp_dtype t = mp_infer_dtype(c, 0);
  const double *f = mp_infer_floats(c, 0, &n);
  if (f && n && r->floats) {
    double x = f[0];
    for (uint32_t i = 1; i < n; i++) x = r->floats(x, f[i]);
    if (r->mean) x /= n;
    x = mp_fold_round(t, x);
    mp_infer_set_floats(c, 0, &x, 1);
    return;
  }
  const mp_int *v = mp_infer_ints(c, 0, &n);
  if (!v || !n || !r->ints) return;
  mp_int x = v[0];
  for (uint32_t i = 1; i < n; i++) x = r->ints(c, x, v[i], t);
  if (r->mean) x = mp_dtype_is_float(t) ? mp_int_unknown() : mp_sym_div_trunc(c, x, mp_int_of(n));
  x = mp_fold_clip(t, x);
  mp_infer_set_ints(c, 0, &x, 1);
}

/* Which axes go: an attribute, from opset 18 on (ReduceSum 13) input 1. Absent or empty: all, or none with noop_with_empty_axes. */
static void reduce(mp_infer *c, const reduction *r) {
  mp_shape s, d = {.rank = 0};
  int64_t axes[MP_MAX_RANK];
  uint32_t n = 0;
  bool gone[MP_MAX_RANK] = {false}, keep = mp_infer_int(c, "keepdims", 1) != 0;
  bool given = mp_infer_has_attr(c, "axes") || mp_infer_has(c, 1), known = !given || mp_infer_attr_or_input(c, "axes", 1, axes, MP_MAX_RANK, &n);
  mp_infer_shape(c, 0, &s);
  mp_cost_macs(c, mp_int_of(0), mp_elements(c, &s));
  if (s.rank < 0) {
    bool scalar = !keep && !given && !mp_infer_int(c, "noop_with_empty_axes", 0);
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), scalar ? &d : NULL);
    return;
  }
  if (!known) { /* the axes are computed: their count still gives the rank */
    mp_int count = mp_infer_dim(c, 1, 0);
    mp_infer_depends(c, 1, "the axes");
    if (mp_infer_rank(c, 1) == 0) count = mp_int_of(1);
    d.rank = keep ? s.rank : mp_int_is_number(count) && count.n > 0 && count.n <= s.rank ? s.rank - (int)count.n : -1;
    for (int i = 0; i < d.rank; i++) d.dims[i] = keep && mp_sym_equal(s.dims[i], mp_int_of(1)) ? s.dims[i] : mp_int_unknown();
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), &d);
    return;
  }
  for (uint32_t i = 0; i < n; i++) {
    if (!mp_axis(c, &axes[i], s.rank)) return;
    gone[axes[i]] = true;
  }
  bool all = !n && !mp_infer_int(c, "noop_with_empty_axes", 0);
  for (int i = 0; i < s.rank; i++) {
    if (!all && !gone[i]) d.dims[d.rank++] = s.dims[i];
    else if (keep) d.dims[d.rank++] = mp_int_of(1);
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &d);
  reduce_contents(c, r);
}

#define REDUCE(name, ...)              \
  static void name(mp_infer *c) {      \
    reduction r = {__VA_ARGS__};       \
    reduce(c, &r);                     \
  }
REDUCE(reduce_sum, sum_int, sum_float, false)
REDUCE(reduce_prod, product_int, product_float, false)
REDUCE(reduce_max, max_int, max_float, false)
REDUCE(reduce_min, min_int, min_float, false)
REDUCE(reduce_mean, sum_int, sum_float, true)
REDUCE(reduce_other, NULL, NULL, false)

static void arg_extreme(mp_infer *c) {
  mp_shape s, d = {.rank = 0};
  int64_t axis = mp_infer_int(c, "axis", 0);
  mp_infer_shape(c, 0, &s);
  mp_cost_macs(c, mp_int_of(0), mp_elements(c, &s));
  if (s.rank < 0) {
    mp_infer_set(c, 0, MP_INT64, NULL);
    return;
  }
  if (!mp_axis(c, &axis, s.rank)) return;
  for (int i = 0; i < s.rank; i++) {
    if (i != axis) d.dims[d.rank++] = s.dims[i];
    else if (mp_infer_int(c, "keepdims", 1)) d.dims[d.rank++] = mp_int_of(1);
  }
  mp_infer_set(c, 0, MP_INT64, &d);
}

static void cumulate(mp_infer *c, bool product) {
  mp_infer_same(c, 0, 0);
  uint32_t n;
  const mp_int *x = mp_infer_ints(c, 0, &n);
  if (!x || mp_infer_rank(c, 0) != 1) return;
  bool reverse = mp_infer_int(c, "reverse", 0), exclusive = mp_infer_int(c, "exclusive", 0);
  mp_int r[MP_MAX_CONTENTS], all = mp_int_of(product ? 1 : 0);
  for (uint32_t k = 0; k < n; k++) {
    uint32_t i = reverse ? n - 1 - k : k;
    mp_int next = product ? mp_sym_mul(c, all, x[i]) : mp_sym_add(c, all, x[i]);
    r[i] = mp_fold_clip(mp_infer_dtype(c, 0), exclusive ? all : next);
    all = next;
  }
  mp_infer_set_ints(c, 0, r, n);
}

static void cum_sum(mp_infer *c) { cumulate(c, false); }
static void cum_prod(mp_infer *c) { cumulate(c, true); }

static void determinant(mp_infer *c) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  if (s.rank >= 0 && s.rank < 2) {
    mp_infer_bad(c, "rank %d, expected matrices", s.rank);
    return;
  }
  if (s.rank > 0) s.rank -= 2;
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &s);
}

/* ---- Range: max(ceil((limit - start) / delta), 0) numbers ---- */

static void range_of_floats(mp_infer *c, mp_dtype t, const double *v) {
  double n = v[2] != 0 ? ceil((v[1] - v[0]) / v[2]) : NAN, r[64];
  if (!isfinite(n) || n > 1e15) {
    mp_infer_bad(c, "from %g to %g by %g", v[0], v[1], v[2]);
    return;
  }
  mp_int dim = mp_int_of(n > 0 ? (int64_t)n : 0);
  mp_infer_set_dims(c, 0, t, 1, &dim);
  for (int64_t i = 0; i < dim.n && dim.n <= 64; i++) r[i] = mp_fold_round(t, v[0] + (double)i * v[2]);
  if (dim.n <= 64) mp_infer_set_floats(c, 0, r, (uint32_t)dim.n);
}

static void range(mp_infer *c) {
  mp_dtype t = mp_dtype_or(c, 0, 1);
  mp_int v[3], dim = mp_int_unknown(), r[MP_MAX_CONTENTS];
  double f[3], room[64];
  bool floats = true;
  for (int i = 0; i < 3; i++) {
    uint32_t n;
    mp_int one[64];
    const double *x = mp_fold_read_floats(c, i, &n, room);
    if (x && n == 1) f[i] = *x;
    else floats = false;
    const mp_int *k = mp_fold_read_ints(c, i, &n, one);
    v[i] = k && n == 1 ? *k : mp_int_unknown();
    if (mp_int_is_unknown(v[i]) && !(x && n == 1)) mp_infer_depends(c, i, "the value");
  }
  if (floats && mp_dtype_is_float(t)) {
    range_of_floats(c, t, f);
    return;
  }
  if (!v[2].e && !v[2].n) {
    mp_infer_bad(c, "delta is 0");
    return;
  }
  dim = mp_sym_max(c, mp_sym_ceil_div(c, mp_sym_sub(c, v[1], v[0]), v[2]), mp_int_of(0));
  mp_infer_set_dims(c, 0, t, 1, &dim);
  if (dim.e || dim.n > MP_MAX_CONTENTS) return;
  for (int64_t i = 0; i < dim.n; i++) r[i] = mp_fold_clip(t, mp_sym_add(c, v[0], mp_sym_mul(c, mp_int_of(i), v[2])));
  mp_infer_set_ints(c, 0, r, (uint32_t)dim.n);
}

/* ---- random numbers ---- */

static mp_dtype attr_dtype(const mp_infer *c, mp_dtype otherwise) {
  int64_t t = mp_infer_int(c, "dtype", 0);
  return t > 0 && t < MP_DTYPES ? (mp_dtype)t : otherwise;
}

static void random_of_shape(mp_infer *c) {
  uint32_t n;
  mp_shape s = {.rank = 0};
  const int64_t *dims = mp_infer_attr_ints(c, "shape", &n);
  if (!dims || n > MP_MAX_RANK) s.rank = -1;
  for (uint32_t i = 0; s.rank >= 0 && i < n; i++) s.dims[s.rank++] = mp_int_of(dims[i]);
  mp_infer_set(c, 0, attr_dtype(c, MP_FLOAT), &s);
}

static void random_like(mp_infer *c) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  mp_infer_set(c, 0, attr_dtype(c, mp_infer_dtype(c, 0)), &s);
}

static void multinomial(mp_infer *c) {
  mp_int dims[2] = {mp_infer_dim(c, 0, 0), mp_int_of(mp_infer_int(c, "sample_size", 1))};
  mp_infer_set_dims(c, 0, attr_dtype(c, MP_INT32), 2, dims);
}

/* ---- Einsum ---- */

enum { LABELS = 128, MAX_TERMS = 16 };

typedef struct einsum {
  mp_int dims[LABELS];          /* by letter */
  bool seen[LABELS], twice[LABELS];
  mp_shape dots;                /* what "..." stands for, broadcast; rank -1 where it is not known */
  bool any_dots;
  const char *terms[MAX_TERMS]; /* the operands' letters, then the output's */
} einsum;

static bool join_label(mp_infer *c, einsum *e, unsigned char l, mp_int d) {
  mp_shape a = {.rank = 1, .dims = {e->dims[l]}}, b = {.rank = 1, .dims = {d}}, r;
  if (!e->seen[l]) {
    e->seen[l] = true;
    e->dims[l] = d;
    return true;
  }
  e->twice[l] = true;
  if (!mp_shape_broadcast(c, &a, &b, &r)) return false;
  e->dims[l] = r.dims[0];
  return true;
}

static bool read_term(mp_infer *c, einsum *e, int i, const char *term) {
  mp_shape s, dots = {.rank = 0};
  int letters = 0, at = 0;
  bool has_dots = strchr(term, '.') != NULL;
  for (const char *p = term; *p; p++) letters += isalpha((unsigned char)*p) != 0;
  mp_infer_shape(c, i, &s);
  if (s.rank >= 0 && (has_dots ? s.rank < letters : s.rank != letters)) {
    mp_infer_bad(c, "operand %d has rank %d, the equation says '%s'", i, s.rank, term);
    return false;
  }
  bool after = false;
  for (const char *p = term; *p; p++) {
    if (*p == '.') {
      if (!after && s.rank >= 0)
        for (int k = letters; k < s.rank; k++) dots.dims[dots.rank++] = s.dims[at++];
      after = true;
    } else if (!join_label(c, e, (unsigned char)*p, s.rank >= 0 ? s.dims[at++] : mp_int_unknown())) {
      return false;
    }
  }
  if (!has_dots) return true;
  if (s.rank < 0) dots.rank = -1;
  e->any_dots = true;
  return mp_shape_broadcast(c, &e->dots, &dots, &e->dots);
}

/* multiply-adds of contracting the operands from left to right */
static void einsum_cost(mp_infer *c, const einsum *e, int n, const char *output) {
  bool have[LABELS] = {false}, dots = false;
  mp_int macs = mp_int_of(0), flops = mp_int_of(0);
  for (int i = 0; i < n; i++) {
    bool sums = false;
    for (const char *p = e->terms[i]; *p; p++) have[(unsigned char)*p] = true;
    dots |= strchr(e->terms[i], '.') != NULL;
    mp_int work = dots ? mp_elements(c, &e->dots) : mp_int_of(1);
    for (int l = 'A'; l <= 'z'; l++) {
      if (!have[l]) continue;
      bool later = strchr(output, l) != NULL;
      for (int k = i + 1; k < n && !later; k++) later = strchr(e->terms[k], l) != NULL;
      work = mp_sym_mul(c, work, e->dims[l]);
      if (!later) sums = true, have[l] = false;
    }
    if (!i && n > 1) {
      for (const char *p = e->terms[0]; *p; p++) have[(unsigned char)*p] = true; /* nothing to multiply yet */
    } else if (sums && n > 1) {
      macs = mp_sym_add(c, macs, work);
    } else if (sums || n > 1) {
      flops = mp_sym_add(c, flops, work);
    }
  }
  mp_cost_macs(c, macs, flops);
}

static const char *equation(mp_infer *c, einsum *e, int n) {
  const char *text = mp_infer_string(c, "equation", "");
  char *copy = mp_alloc(mp_infer_arena(c), strlen(text) + 1), *p = copy, *output;
  int terms = 1;
  for (const char *t = text; *t; t++) {
    if (*t == ' ') continue;
    if (!isalpha((unsigned char)*t) && !strchr(".,->", *t)) return NULL;
    *p++ = *t;
  }
  output = strstr(copy, "->");
  if (output) {
    *output = 0;
    output += 2;
    if (strchr(output, ',') || strchr(output, '>')) return NULL;
  }
  e->terms[0] = copy;
  for (p = copy; *p; p++)
    if (*p == ',') {
      if (terms == MAX_TERMS) return NULL;
      *p = 0;
      e->terms[terms++] = p + 1;
    } else if (*p == '-' || *p == '>') {
      return NULL;
    }
  return terms != n ? NULL : output ? output : "";
}

static void einsum_rule(mp_infer *c) {
  einsum *e = mp_alloc(mp_infer_arena(c), sizeof *e);
  int n = mp_infer_ins(c);
  const char *output = equation(c, e, n);
  bool implicit = !strstr(mp_infer_string(c, "equation", ""), "->");
  mp_infer_no_cost(c);
  if (!output) {
    mp_infer_bad(c, "equation '%.60s' does not describe %d operands", mp_infer_string(c, "equation", ""), n);
    return;
  }
  for (int i = 0; i < n; i++)
    if (!read_term(c, e, i, e->terms[i])) return;
  char letters[LABELS + 4] = "";
  if (implicit) { /* the ellipsis, then the letters that stand once, in order */
    int k = 0;
    if (e->any_dots) letters[k++] = '.';
    for (int l = 'A'; l <= 'z'; l++)
      if (e->seen[l] && !e->twice[l]) letters[k++] = (char)l;
    output = letters;
  }
  mp_shape r = {.rank = 0};
  bool done = false;
  for (const char *p = output; *p && r.rank >= 0; p++) {
    if (*p != '.') {
      mp_shape_append(&r, e->seen[(unsigned char)*p] ? e->dims[(unsigned char)*p] : mp_int_unknown());
    } else if (!done) {
      done = true;
      if (e->dots.rank < 0) r.rank = -1;
      for (int i = 0; i < e->dots.rank; i++) mp_shape_append(&r, e->dots.dims[i]);
    }
  }
  mp_infer_set(c, 0, mp_dtype_or(c, 0, 1), &r);
  einsum_cost(c, e, n, output);
}

static const mp_op rows[] = {
  {"", "ArgMax", 1, arg_extreme},
  {"", "ArgMin", 1, arg_extreme},
  {"", "Bernoulli", 15, random_like},
  {"", "CumProd", 26, cum_prod},
  {"", "CumSum", 11, cum_sum},
  {"", "Det", 11, determinant},
  {"", "Einsum", 12, einsum_rule},
  {"", "Multinomial", 7, multinomial},
  {"", "RandomNormal", 1, random_of_shape},
  {"", "RandomNormalLike", 1, random_like},
  {"", "RandomUniform", 1, random_of_shape},
  {"", "RandomUniformLike", 1, random_like},
  {"", "Range", 11, range},
  {"", "ReduceL1", 1, reduce_other},
  {"", "ReduceL1", 18, reduce_other},
  {"", "ReduceL2", 1, reduce_other},
  {"", "ReduceL2", 18, reduce_other},
  {"", "ReduceLogSum", 1, reduce_other},
  {"", "ReduceLogSum", 18, reduce_other},
  {"", "ReduceLogSumExp", 1, reduce_other},
  {"", "ReduceLogSumExp", 18, reduce_other},
  {"", "ReduceMax", 1, reduce_max},
  {"", "ReduceMax", 18, reduce_max},
  {"", "ReduceMean", 1, reduce_mean},
  {"", "ReduceMean", 18, reduce_mean},
  {"", "ReduceMin", 1, reduce_min},
  {"", "ReduceMin", 18, reduce_min},
  {"", "ReduceProd", 1, reduce_prod},
  {"", "ReduceProd", 18, reduce_prod},
  {"", "ReduceSum", 1, reduce_sum},
  {"", "ReduceSum", 13, reduce_sum},
  {"", "ReduceSumSquare", 1, reduce_other},
  {"", "ReduceSumSquare", 18, reduce_other},
};
const mp_op_table mp_ops_math = {rows, sizeof rows / sizeof *rows};
