/* Elementwise operators: dims by numpy's broadcasting, small contents folded, one flop an output element.
 * Up to opset 6 the second operand was aligned by an attribute and the result had the shape of the first. */
#include <math.h>

#include "onnx/fold.h"
#include "onnx/shape_tools.h"

/* ---- one operand ---- */

static void unary(mp_infer *c, mp_dtype t, mp_fold_ints ints, mp_fold_floats floats) {
  mp_infer_same(c, 0, 0);
  if (t != MP_UNDEFINED) {
    mp_shape s;
    mp_infer_shape(c, 0, &s);
    mp_infer_set(c, 0, t, &s);
  }
  mp_fold(c, 0, 0, -1, ints, floats);
}

static mp_int same_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)c, (void)b, (void)t;
  return a;
}

static mp_int neg_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)b, (void)t;
  return mp_sym_mul(c, a, mp_int_of(-1));
}

static mp_int abs_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  int order = mp_sym_compare(c, a, mp_int_of(0));
  if (order == 2) return mp_sym_equal(a, mp_sym_max(c, a, mp_int_of(0))) ? a : mp_int_unknown();
  return order < 0 ? neg_int(c, a, b, t) : a;
}

static mp_int sign_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)b, (void)t;
  int order = mp_sym_compare(c, a, mp_int_of(0));
  return order == 2 ? mp_int_unknown() : mp_int_of(order);
}

static mp_int not_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)b, (void)t;
  int order = mp_sym_compare(c, a, mp_int_of(0));
  return order == 2 ? mp_int_unknown() : mp_int_of(order == 0);
}

static mp_int bits_not_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)c, (void)b;
  if (a.e) return mp_int_unknown();
  bool is_unsigned = t == MP_UINT8 || t == MP_UINT16 || t == MP_UINT32;
  return mp_int_of(is_unsigned ? (int64_t)(~(uint64_t)a.n & (((uint64_t)1 << mp_dtype_bits(t)) - 1)) : ~a.n);
}

#define UNARY(name, t, ints, x_to_y)            \
  static double name##_float(double x, double y) { \
    (void)y;                                    \
    return x_to_y;                              \
  }                                             \
  static void name(mp_infer *c) { unary(c, t, ints, name##_float); }

UNARY(rule_abs, MP_UNDEFINED, abs_int, fabs(x))
UNARY(rule_neg, MP_UNDEFINED, neg_int, -x)
UNARY(rule_sign, MP_UNDEFINED, sign_int, (x > 0) - (x < 0))
UNARY(rule_ceil, MP_UNDEFINED, same_int, ceil(x))
UNARY(rule_floor, MP_UNDEFINED, same_int, floor(x))
UNARY(rule_round, MP_UNDEFINED, same_int, nearbyint(x))
UNARY(rule_sqrt, MP_UNDEFINED, NULL, sqrt(x))
UNARY(rule_reciprocal, MP_UNDEFINED, NULL, 1 / x)
UNARY(rule_exp, MP_UNDEFINED, NULL, exp(x))
UNARY(rule_log, MP_UNDEFINED, NULL, log(x))
UNARY(rule_erf, MP_UNDEFINED, NULL, erf(x))
UNARY(rule_sin, MP_UNDEFINED, NULL, sin(x))
UNARY(rule_cos, MP_UNDEFINED, NULL, cos(x))
UNARY(rule_tan, MP_UNDEFINED, NULL, tan(x))
UNARY(rule_asin, MP_UNDEFINED, NULL, asin(x))
UNARY(rule_acos, MP_UNDEFINED, NULL, acos(x))
UNARY(rule_atan, MP_UNDEFINED, NULL, atan(x))
UNARY(rule_sinh, MP_UNDEFINED, NULL, sinh(x))
UNARY(rule_cosh, MP_UNDEFINED, NULL, cosh(x))
UNARY(rule_tanh, MP_UNDEFINED, NULL, tanh(x))
UNARY(rule_asinh, MP_UNDEFINED, NULL, asinh(x))
UNARY(rule_acosh, MP_UNDEFINED, NULL, acosh(x))
UNARY(rule_atanh, MP_UNDEFINED, NULL, atanh(x))
UNARY(rule_is_nan, MP_BOOL, NULL, isnan(x) != 0)
UNARY(rule_not, MP_BOOL, not_int, x == 0)

static void rule_is_inf(mp_infer *c) { unary(c, MP_BOOL, NULL, NULL); }
static void rule_bits_not(mp_infer *c) { unary(c, MP_UNDEFINED, bits_not_int, NULL); }

/* ---- two operands ---- */

static void binary(mp_infer *c, mp_dtype t, mp_fold_ints ints, mp_fold_floats floats) {
  mp_shape a, b, r;
  mp_infer_shape(c, 0, &a);
  mp_infer_shape(c, 1, &b);
  if (t == MP_UNDEFINED) t = mp_dtype_or(c, 0, 1);
  mp_infer_set(c, 0, t, NULL);
  if (mp_infer_opset(c) < 7 && mp_infer_int(c, "broadcast", 0)) {
    mp_infer_set(c, 0, t, &a);
    if (b.rank > 0 && mp_infer_has_attr(c, "axis")) return; /* aligned to the middle of a: not a computation of shapes */
  } else {
    if (!mp_shape_broadcast(c, &a, &b, &r)) return;
    mp_infer_set(c, 0, t, &r);
  }
  mp_fold(c, 0, 0, 1, ints, floats);
}

static mp_int add_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  return mp_sym_add(c, a, b);
}
static mp_int sub_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  return mp_sym_sub(c, a, b);
}
static mp_int mul_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  if (mp_dtype_is_float(t) && (mp_int_is_unknown(a) || mp_int_is_unknown(b))) return mp_int_unknown(); /* 0 times infinity */
  return mp_sym_mul(c, a, b);
}
static mp_int div_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  mp_int q = mp_sym_div_trunc(c, a, b);
  if (!mp_dtype_is_float(t) || mp_sym_equal(mp_sym_mul(c, q, b), a)) return q; /* a quotient of floats stays whole only where nothing is left */
  return mp_int_unknown();
}
static mp_int mod_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  if (!mp_infer_int(c, "fmod", 0)) return mp_sym_mod(c, a, b);
  return mp_sym_sub(c, a, mp_sym_mul(c, mp_sym_div_trunc(c, a, b), b)); /* of the dividend's sign */
}
static mp_int pow_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  if (b.e || b.n < 0 || b.n > 62) return mp_int_unknown();
  mp_int r = mp_int_of(1);
  for (int64_t i = 0; i < b.n; i++) r = mp_sym_mul(c, r, a);
  return r;
}
static mp_int max_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  return mp_sym_max(c, a, b);
}
static mp_int min_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  return mp_sym_min(c, a, b);
}

static bool truth(mp_infer *c, mp_int a, int64_t *v) {
  int order = mp_sym_compare(c, a, mp_int_of(0));
  *v = order != 0;
  return order != 2;
}
static mp_int and_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  int64_t x, y;
  bool p = truth(c, a, &x), q = truth(c, b, &y);
  if ((p && !x) || (q && !y)) return mp_int_of(0);
  return p && q ? mp_int_of(1) : mp_int_unknown();
}
static mp_int or_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  int64_t x, y;
  bool p = truth(c, a, &x), q = truth(c, b, &y);
  if ((p && x) || (q && y)) return mp_int_of(1);
  return p && q ? mp_int_of(0) : mp_int_unknown();
}
static mp_int xor_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  int64_t x, y;
  return truth(c, a, &x) && truth(c, b, &y) ? mp_int_of(x ^ y) : mp_int_unknown();
}

#define BITS(name, expression)                                                    \
  static mp_int name(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {               \
    (void)c, (void)t;                                                             \
    return a.e || b.e ? mp_int_unknown() : mp_int_of((int64_t)(expression));      \
  }
BITS(bits_and_int, a.n & b.n)
BITS(bits_or_int, a.n | b.n)
BITS(bits_xor_int, a.n ^ b.n)

static mp_int shift_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  if (a.e || b.e || a.n < 0 || b.n < 0) return mp_int_unknown();
  unsigned bits = mp_dtype_bits(t);
  if (b.n >= 63 || b.n >= (int64_t)bits) return mp_int_of(0);
  bool left = strcmp(mp_infer_string(c, "direction", ""), "LEFT") == 0;
  if (!left) return mp_int_of(a.n >> b.n);
  return bits < 63 ? mp_int_of((int64_t)(((uint64_t)a.n << b.n) & (((uint64_t)1 << bits) - 1))) : mp_sym_mul(c, a, mp_int_of((int64_t)1 << b.n));
}

static mp_int equal_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  int order = mp_sym_compare(c, a, b);
  return order == 2 ? mp_int_unknown() : mp_int_of(order == 0);
}
static mp_int less_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) {
  (void)t;
  int order = mp_sym_compare(c, a, b);
  if (order != 2) return mp_int_of(order < 0);
  return mp_sym_equal(mp_sym_max(c, a, b), a) ? mp_int_of(0) : mp_int_unknown(); /* surely a >= b */
}
static mp_int greater_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) { return less_int(c, b, a, t); }
static mp_int less_equal_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) { return not_int(c, less_int(c, b, a, t), b, t); }
static mp_int greater_equal_int(mp_infer *c, mp_int a, mp_int b, mp_dtype t) { return not_int(c, less_int(c, a, b, t), b, t); }

static double float_mod(double x, double y) { return fmod(x, y); }
static double float_max(double x, double y) { return isnan(x) || isnan(y) ? NAN : fmax(x, y); }
static double float_min(double x, double y) { return isnan(x) || isnan(y) ? NAN : fmin(x, y); }

#define BINARY(name, t, ints, xy)                           \
  static double name##_float(double x, double y) { return xy; } \
  static void name(mp_infer *c) { binary(c, t, ints, name##_float); }

BINARY(rule_add, MP_UNDEFINED, add_int, x + y)
BINARY(rule_sub, MP_UNDEFINED, sub_int, x - y)
BINARY(rule_mul, MP_UNDEFINED, mul_int, x *y)
BINARY(rule_div, MP_UNDEFINED, div_int, x / y)
BINARY(rule_mod, MP_UNDEFINED, mod_int, float_mod(x, y))
BINARY(rule_equal, MP_BOOL, equal_int, x == y)
BINARY(rule_less, MP_BOOL, less_int, x < y)
BINARY(rule_greater, MP_BOOL, greater_int, x > y)
BINARY(rule_less_equal, MP_BOOL, less_equal_int, x <= y)
BINARY(rule_greater_equal, MP_BOOL, greater_equal_int, x >= y)

static double rule_pow_float(double x, double y) { return pow(x, y); }
static void rule_pow(mp_infer *c) { binary(c, mp_infer_dtype(c, 0), pow_int, rule_pow_float); }
static void rule_and(mp_infer *c) { binary(c, MP_BOOL, and_int, NULL); }
static void rule_or(mp_infer *c) { binary(c, MP_BOOL, or_int, NULL); }
static void rule_xor(mp_infer *c) { binary(c, MP_BOOL, xor_int, NULL); }
static void rule_bits_and(mp_infer *c) { binary(c, MP_UNDEFINED, bits_and_int, NULL); }
static void rule_bits_or(mp_infer *c) { binary(c, MP_UNDEFINED, bits_or_int, NULL); }
static void rule_bits_xor(mp_infer *c) { binary(c, MP_UNDEFINED, bits_xor_int, NULL); }
static void rule_shift(mp_infer *c) { binary(c, MP_UNDEFINED, shift_int, NULL); }

/* ---- any number of operands ---- */

static void variadic(mp_infer *c, mp_fold_ints ints, mp_fold_floats floats) {
  mp_shape r, x;
  mp_infer_shape(c, 0, &r);
  for (int i = 1; i < mp_infer_ins(c); i++) {
    mp_infer_shape(c, i, &x);
    if (!mp_shape_broadcast(c, &r, &x, &r)) return;
  }
  mp_infer_set(c, 0, mp_dtype_or(c, 0, 1), &r);
  int n = mp_infer_ins(c);
  if (n <= 2) mp_fold(c, 0, 0, n == 2 ? 1 : -1, n == 2 ? ints : same_int, n == 2 ? floats : NULL);
  mp_int elements = mp_elements(c, &r); /* one flop for each element and operand after the first */
  mp_cost_macs(c, mp_int_of(0), mp_int_is_number(elements) ? mp_sym_mul(c, elements, mp_int_of(n > 1 ? n - 1 : 0)) : elements);
}

static double sum_float(double x, double y) { return x + y; }
static double mean_float(double x, double y) { return (x + y) / 2; }
static void rule_max(mp_infer *c) { variadic(c, max_int, float_max); }
static void rule_min(mp_infer *c) { variadic(c, min_int, float_min); }
static void rule_sum(mp_infer *c) { variadic(c, add_int, sum_float); }
static void rule_mean(mp_infer *c) { variadic(c, NULL, mean_float); }

/* Up to opset 10 the limits are attributes, then inputs 1 and 2. */
static void rule_clip(mp_infer *c) {
  mp_infer_same(c, 0, 0);
  uint32_t n, m;
  double room[64], one[64], lo = -INFINITY, hi = INFINITY;
  const double *x = mp_fold_read_floats(c, 0, &n, room);
  if (mp_infer_opset(c) < 11) {
    lo = mp_infer_float(c, "min", lo);
    hi = mp_infer_float(c, "max", hi);
  } else {
    for (int i = 1; i <= 2; i++) {
      if (!mp_infer_has(c, i)) continue;
      const double *limit = mp_fold_read_floats(c, i, &m, one);
      if (!limit || m != 1) return;
      *(i == 1 ? &lo : &hi) = *limit;
    }
  }
  mp_dtype t = mp_infer_dtype(c, 0);
  if (x && n <= 64 && mp_dtype_is_float(t)) {
    double r[64];
    for (uint32_t i = 0; i < n; i++) r[i] = fmin(fmax(x[i], lo), hi);
    mp_infer_set_floats(c, 0, r, n);
    return;
  }
  const mp_int *k = mp_infer_ints(c, 0, &n);
  mp_int r[MP_MAX_CONTENTS];
  for (uint32_t i = 0; k && i < n; i++) {
    r[i] = k[i];
    if (lo > -9e15) r[i] = lo < 9e15 ? mp_sym_max(c, r[i], mp_int_of((int64_t)ceil(lo))) : mp_int_unknown();
    if (hi < 9e15) r[i] = hi > -9e15 ? mp_sym_min(c, r[i], mp_int_of((int64_t)floor(hi))) : mp_int_unknown();
  }
  if (k) mp_infer_set_ints(c, 0, r, n);
}

/* ---- Where ---- */

static void pick_floats(mp_infer *c, uint32_t n, const mp_int *cond, uint32_t cn) {
  uint32_t m[2];
  double room[2][64], r[64];
  const double *x[2] = {mp_fold_read_floats(c, 1, &m[0], room[0]), mp_fold_read_floats(c, 2, &m[1], room[1])};
  if (n > 64) return;
  for (uint32_t k = 0; k < n; k++) {
    mp_int p = cond[cn == 1 ? 0 : k];
    if (p.e) return;
    int s = p.n ? 0 : 1;
    if (!x[s] || (m[s] != 1 && m[s] != n)) return;
    r[k] = x[s][m[s] == 1 ? 0 : k];
  }
  mp_infer_set_floats(c, 0, r, n);
}

/* Contents are followed where each operand has one element or as many as the result. */
static void rule_where(mp_infer *c) {
  mp_shape p, x, y, r;
  uint32_t n, cn, xn, yn;
  mp_infer_shape(c, 0, &p);
  mp_infer_shape(c, 1, &x);
  mp_infer_shape(c, 2, &y);
  if (!mp_shape_broadcast(c, &p, &x, &r) || !mp_shape_broadcast(c, &r, &y, &r)) return;
  mp_infer_set(c, 0, mp_dtype_or(c, 1, 2), &r);
  const mp_int *cond = mp_infer_ints(c, 0, &cn);
  if (!mp_fold_count(&r, &n) || !mp_fold_count(&x, &xn) || !mp_fold_count(&y, &yn)) return;
  if ((xn != 1 && xn != n) || (yn != 1 && yn != n) || (cond && cn != 1 && cn != n)) return;
  if (cond && mp_dtype_is_float(mp_infer_out_dtype(c, 0))) pick_floats(c, n, cond, cn);
  mp_infer_out_shape(c, 0, &r);
  const mp_int *a = mp_infer_ints(c, 1, &xn), *b = mp_infer_ints(c, 2, &yn);
  mp_int out[MP_MAX_CONTENTS];
  if (!a && !b) return;
  for (uint32_t k = 0; k < n; k++) {
    mp_int u = a ? a[xn == 1 ? 0 : k] : mp_int_unknown(), v = b ? b[yn == 1 ? 0 : k] : mp_int_unknown();
    mp_int q = cond ? cond[cn == 1 ? 0 : k] : mp_int_unknown();
    int64_t yes;
    if (truth(c, q, &yes)) out[k] = yes ? u : v;
    else out[k] = mp_sym_equal(u, v) ? u : mp_int_unknown();
  }
  mp_infer_set_ints(c, 0, out, n);
}

/* ---- casts ---- */

static void cast_to(mp_infer *c, mp_dtype t) {
  mp_shape s;
  uint32_t n;
  mp_infer_shape(c, 0, &s);
  mp_infer_set(c, 0, t, &s);
  const double *f = mp_infer_floats(c, 0, &n);
  const mp_int *x = mp_infer_ints(c, 0, &n);
  bool to_float = mp_dtype_is_float(t);
  if (t == MP_STRING || t == MP_UNDEFINED || (!f && !x) || (to_float && mp_dtype_bits(t) < 16)) return;
  if (f) {
    double r[64];
    mp_int k[64];
    mp_infer_floats(c, 0, &n);
    for (uint32_t i = 0; i < n && i < 64; i++) {
      r[i] = mp_fold_round(t, f[i]);
      if (t == MP_BOOL) k[i] = mp_int_of(f[i] != 0);
      else k[i] = fabs(f[i]) < 9.2e18 ? mp_fold_clip(t, mp_int_of((int64_t)f[i])) : mp_int_unknown();
    }
    if (to_float) mp_infer_set_floats(c, 0, r, n);
    else mp_infer_set_ints(c, 0, k, n);
    return;
  }
  bool numbers = n <= 64;
  mp_int r[MP_MAX_CONTENTS];
  double d[64];
  for (uint32_t i = 0; i < n; i++) {
    int64_t yes;
    r[i] = t == MP_BOOL ? (truth(c, x[i], &yes) ? mp_int_of(yes) : mp_int_unknown()) : mp_fold_clip(t, x[i]);
    if (x[i].e) numbers = false;
    if (numbers) d[i] = mp_fold_round(t, (double)x[i].n);
  }
  if (numbers && to_float) mp_infer_set_floats(c, 0, d, n);
  else mp_infer_set_ints(c, 0, r, n);
}

/* Up to opset 5 the target type is a name. */
static mp_dtype dtype_named(const char *name) {
  static const struct {
    const char *name;
    mp_dtype t;
  } names[] = {{"FLOAT", MP_FLOAT},   {"UINT8", MP_UINT8},   {"INT8", MP_INT8},       {"UINT16", MP_UINT16}, {"INT16", MP_INT16},
               {"INT32", MP_INT32},   {"INT64", MP_INT64},   {"STRING", MP_STRING},   {"BOOL", MP_BOOL},     {"FLOAT16", MP_FLOAT16},
               {"DOUBLE", MP_DOUBLE}, {"UINT32", MP_UINT32}, {"UINT64", MP_UINT64},   {"COMPLEX64", MP_COMPLEX64}, {"COMPLEX128", MP_COMPLEX128}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(names[i].name, name) == 0) return names[i].t;
  return MP_UNDEFINED;
}

static mp_dtype attr_dtype(mp_infer *c, const char *name) {
  int64_t t = mp_infer_int(c, name, 0);
  if (!t) return dtype_named(mp_infer_string(c, name, ""));
  return t > 0 && t < MP_DTYPES ? (mp_dtype)t : MP_UNDEFINED;
}

static void rule_cast(mp_infer *c) { cast_to(c, attr_dtype(c, "to")); }
static void rule_cast_like(mp_infer *c) { cast_to(c, mp_infer_dtype(c, 1)); }

static void rule_bit_cast(mp_infer *c) { /* the types have equal widths */
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  mp_infer_set(c, 0, attr_dtype(c, "to"), &s);
  mp_infer_no_cost(c);
}

static const mp_op rows[] = {
  {"", "Abs", 1, rule_abs},
  {"", "Acos", 7, rule_acos},
  {"", "Acosh", 9, rule_acosh},
  {"", "Add", 1, rule_add},
  {"", "Add", 7, rule_add},
  {"", "And", 1, rule_and},
  {"", "And", 7, rule_and},
  {"", "Asin", 7, rule_asin},
  {"", "Asinh", 9, rule_asinh},
  {"", "Atan", 7, rule_atan},
  {"", "Atanh", 9, rule_atanh},
  {"", "BitCast", 26, rule_bit_cast},
  {"", "BitShift", 11, rule_shift},
  {"", "BitwiseAnd", 18, rule_bits_and},
  {"", "BitwiseNot", 18, rule_bits_not},
  {"", "BitwiseOr", 18, rule_bits_or},
  {"", "BitwiseXor", 18, rule_bits_xor},
  {"", "Cast", 1, rule_cast},
  {"", "Cast", 6, rule_cast},
  {"", "CastLike", 15, rule_cast_like},
  {"", "Ceil", 1, rule_ceil},
  {"", "Clip", 1, rule_clip},
  {"", "Clip", 11, rule_clip},
  {"", "Cos", 7, rule_cos},
  {"", "Cosh", 9, rule_cosh},
  {"", "Div", 1, rule_div},
  {"", "Div", 7, rule_div},
  {"", "Equal", 1, rule_equal},
  {"", "Equal", 7, rule_equal},
  {"", "Erf", 9, rule_erf},
  {"", "Exp", 1, rule_exp},
  {"", "Floor", 1, rule_floor},
  {"", "Greater", 1, rule_greater},
  {"", "Greater", 7, rule_greater},
  {"", "GreaterOrEqual", 12, rule_greater_equal},
  {"", "IsInf", 10, rule_is_inf},
  {"", "IsNaN", 9, rule_is_nan},
  {"", "Less", 1, rule_less},
  {"", "Less", 7, rule_less},
  {"", "LessOrEqual", 12, rule_less_equal},
  {"", "Log", 1, rule_log},
  {"", "Max", 1, rule_max},
  {"", "Mean", 1, rule_mean},
  {"", "Min", 1, rule_min},
  {"", "Mod", 10, rule_mod},
  {"", "Mul", 1, rule_mul},
  {"", "Mul", 7, rule_mul},
  {"", "Neg", 1, rule_neg},
  {"", "Not", 1, rule_not},
  {"", "Or", 1, rule_or},
  {"", "Or", 7, rule_or},
  {"", "Pow", 1, rule_pow},
  {"", "Pow", 7, rule_pow},
  {"", "Reciprocal", 1, rule_reciprocal},
  {"", "Round", 11, rule_round},
  {"", "Sign", 9, rule_sign},
  {"", "Sin", 7, rule_sin},
  {"", "Sinh", 9, rule_sinh},
  {"", "Sqrt", 1, rule_sqrt},
  {"", "Sub", 1, rule_sub},
  {"", "Sub", 7, rule_sub},
  {"", "Sum", 1, rule_sum},
  {"", "Tan", 7, rule_tan},
  {"", "Tanh", 1, rule_tanh},
  {"", "Where", 9, rule_where},
  {"", "Xor", 1, rule_xor},
  {"", "Xor", 7, rule_xor},
};
const mp_op_table mp_ops_elementwise = {rows, sizeof rows / sizeof *rows};
