/* Symbolic integers: one canonical form, so equal expressions are the same pointer, and text that reads like arithmetic. */
#include "onnx/shape.h"
#include "support_base.h"

typedef struct fix {
  mp_arena *a;
  mp_infer *c;
  mp_int n, m, k;
} fix;

static int set_up(void **state) {
  fix *f = calloc(1, sizeof *f);
  f->a = mp_arena_new(0);
  f->c = mp_infer_bare(f->a, mp_syms_new(f->a));
  f->n = mp_sym_name(f->c, "n");
  f->m = mp_sym_name(f->c, "m");
  f->k = mp_sym_name(f->c, "k");
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fix *f = *state;
  mp_arena_free(f->a);
  free(f);
  return 0;
}

#define N(x) mp_int_of(x)
#define ADD(a, b) mp_sym_add(f->c, a, b)
#define SUB(a, b) mp_sym_sub(f->c, a, b)
#define MUL(a, b) mp_sym_mul(f->c, a, b)
#define DIV(a, b) mp_sym_div(f->c, a, b)
#define IS(i, text) assert_string_equal(mp_int_text(f->a, i), text)
#define SAME(x, y) assert_true(mp_sym_equal(x, y))

static void sums_and_products_have_one_form(void **state) {
  fix *f = *state;
  SAME(mp_sym_name(f->c, "n"), f->n);
  SAME(ADD(f->n, f->m), ADD(f->m, f->n));
  SAME(MUL(ADD(f->n, N(1)), ADD(f->m, N(2))), ADD(MUL(f->m, f->n), ADD(ADD(f->n, f->n), ADD(f->m, N(2)))));
  SAME(SUB(ADD(f->n, f->m), f->n), f->m);
  IS(SUB(f->n, f->n), "0");
  IS(MUL(MUL(f->n, f->m), N(12)), "12*n*m");
  IS(SUB(MUL(f->m, N(2)), ADD(f->n, N(3))), "-n+2*m-3");
  IS(MUL(mp_int_unknown(), N(0)), "0"); /* nothing times anything is nothing */
  IS(ADD(mp_int_unknown(), f->n), "?");
  assert_false(mp_sym_equal(mp_int_unknown(), mp_int_unknown()));
}

static void divisions_cancel(void **state) {
  fix *f = *state;
  mp_int nm = MUL(f->n, f->m);
  SAME(DIV(MUL(nm, N(768)), MUL(f->n, N(768))), f->m);
  SAME(DIV(MUL(nm, N(768)), MUL(nm, N(64))), N(12));
  IS(DIV(ADD(MUL(f->n, N(4)), N(6)), N(2)), "2*n+3");
  IS(DIV(ADD(MUL(f->n, N(4)), N(7)), N(2)), "2*n+3");   /* floor(2n + 3.5) */
  IS(DIV(ADD(MUL(f->n, N(3)), N(1)), N(2)), "n+(n+1)//2");
  IS(DIV(MUL(f->n, N(6)), N(4)), "n+n//2");            /* 6n/4 = n + 2n/4 */
  IS(DIV(DIV(f->n, N(2)), N(3)), "n//6");
  IS(DIV(ADD(DIV(ADD(f->n, N(1)), N(2)), N(1)), N(2)), "(n+3)//4"); /* two convolutions of stride 2 */
  SAME(DIV(MUL(ADD(f->n, N(1)), ADD(f->m, N(2))), ADD(f->m, N(2))), ADD(f->n, N(1)));
  IS(DIV(f->n, f->m), "n//m");
  IS(DIV(MUL(nm, N(2)), MUL(f->k, f->m)), "(2*n)//k");
  IS(DIV(f->n, N(0)), "?");
  IS(DIV(N(-7), N(2)), "-4");
  IS(mp_sym_div_trunc(f->c, N(-7), N(2)), "-3");
  IS(mp_sym_ceil_div(f->c, f->n, N(8)), "(n+7)//8");
  IS(mp_sym_ceil_div(f->c, nm, f->m), "n");
  IS(mp_sym_div_trunc(f->c, SUB(f->n, N(5)), N(2)), "trunc((n-5)/2)"); /* its sign is not known */
  IS(mp_sym_div_trunc(f->c, SUB(f->n, N(1)), N(2)), "(n+1)//2-1"); /* the constant is kept in 0..1 */
}

static void remainders_cancel(void **state) {
  fix *f = *state;
  mp_int rest = mp_sym_mod(f->c, f->n, N(8));
  SAME(ADD(rest, MUL(DIV(f->n, N(8)), N(8))), f->n);
  IS(mp_sym_mod(f->c, MUL(f->n, N(16)), N(8)), "0");
  IS(mp_sym_mod(f->c, N(-7), N(3)), "2");
  IS(mp_sym_mod(f->c, N(7), N(-3)), "-2");
  IS(mp_sym_mod(f->c, N(INT64_MIN), N(-1)), "0");
  IS(mp_sym_mod(f->c, N(INT64_MIN), N(3)), "1");
  /* padding up to a multiple of 8: (8 - n % 8) % 8 + n is ceil(n / 8) * 8 */
  mp_int pad = mp_sym_mod(f->c, SUB(N(8), rest), N(8));
  SAME(ADD(f->n, pad), MUL(mp_sym_ceil_div(f->c, f->n, N(8)), N(8)));
}

static void order_follows_from_intervals(void **state) {
  fix *f = *state;
  assert_int_equal(mp_sym_compare(f->c, f->n, N(0)), 1);
  assert_int_equal(mp_sym_compare(f->c, ADD(f->n, N(1)), f->n), 1);
  assert_int_equal(mp_sym_compare(f->c, f->n, ADD(f->n, f->m)), -1);
  assert_int_equal(mp_sym_compare(f->c, f->n, f->m), 2);
  assert_int_equal(mp_sym_compare(f->c, f->n, N(1)), 2);
  assert_int_equal(mp_sym_compare(f->c, f->n, f->n), 0);
  assert_int_equal(mp_sym_compare(f->c, mp_int_unknown(), mp_int_unknown()), 2);
  assert_int_equal(mp_sym_compare(f->c, SUB(f->n, DIV(f->n, N(2))), N(0)), 1); /* n - n//2 >= n/2 */
  SAME(mp_sym_max(f->c, f->n, N(1)), f->n);
  SAME(mp_sym_min(f->c, f->n, ADD(f->n, N(3))), f->n);
  SAME(mp_sym_max(f->c, f->n, mp_sym_min(f->c, f->n, f->m)), f->n);
  SAME(mp_sym_max(f->c, f->n, f->m), mp_sym_max(f->c, f->m, f->n));
  IS(mp_sym_min(f->c, N(1024), f->n), "min(n,1024)");
  assert_int_equal(mp_sym_compare(f->c, mp_sym_min(f->c, N(1024), f->n), N(2000)), -1);
  /* a causal mask cut out of a table of 1024: rows m..m+n */
  mp_int c = N(1024), rows = SUB(mp_sym_min(f->c, ADD(f->n, f->m), c), mp_sym_min(f->c, f->m, c));
  SAME(mp_sym_max(f->c, rows, N(0)), rows);
  SAME(mp_sym_max(f->c, f->n, rows), f->n);
}

static void what_overflows_or_grows_is_unknown(void **state) {
  fix *f = *state;
  IS(ADD(N(INT64_MAX), N(1)), "?");
  IS(MUL(N(INT64_MAX), N(2)), "?");
  IS(MUL(MUL(f->n, N(INT64_MAX)), N(2)), "?");
  mp_int x = f->n;
  for (int i = 0; i < 200; i++) x = ADD(MUL(x, f->m), mp_sym_max(f->c, x, mp_sym_name(f->c, "other")));
  IS(x, "?");
  x = N(0);
  for (int i = 0; i < MP_MAX_EXPR; i++) {
    char name[16];
    snprintf(name, sizeof name, "d%d", i);
    x = ADD(x, mp_sym_name(f->c, name));
  }
  assert_false(mp_int_is_unknown(x));
  IS(ADD(x, f->k), "?"); /* one term too many */
}

static void dims_broadcast(void **state) {
  fix *f = *state;
  mp_shape a = {.rank = 3, .dims = {f->n, N(1), N(4)}}, b = {.rank = 2, .dims = {f->m, N(4)}}, r;
  assert_true(mp_shape_broadcast(f->c, &a, &b, &r));
  assert_int_equal(r.rank, 3);
  SAME(r.dims[0], f->n);
  SAME(r.dims[1], f->m);
  SAME(r.dims[2], N(4));
  assert_true(mp_shape_broadcast(f->c, &b, &a, &b)); /* in place */
  SAME(b.dims[0], f->n);
  mp_shape three = {.rank = 1, .dims = {N(3)}}, any = {.rank = 1, .dims = {mp_int_unknown()}};
  assert_true(mp_shape_broadcast(f->c, &three, &any, &r)); /* 3 and 1, or 3 and 3 */
  SAME(r.dims[0], N(3));
  assert_false(mp_shape_broadcast(f->c, &a, &three, &r));
}

static mp_int named(void *arg, const char *name, size_t n) {
  fix *f = arg;
  return n == 4 && !memcmp(name, "four", 4) ? N(4) : mp_sym_name(f->c, mp_strndup(f->a, name, n));
}

static void names_of_dimensions_may_be_expressions(void **state) {
  fix *f = *state;
  static const char *const cases[][2] = {
      {"n", "n"},           {"n+m", "n+m"},     {"m + n", "n+m"},     {"2*(n//8)", "2*(n//8)"},     {"n - 1", "n-1"}, {"n-1", "n-1"},     {"n * four", "4*n"}, {"max(n, m + 1)", "max(n,m+1)"},
      {"Min(n, 3)", "min(n,3)"}, {"batch-size", "batch-size"}, {"n/m", "n/m"}, {"12", "12"}, {"n +", "n +"}, {"(n", "(n"}, {"n%3", "n-3*(n//3)"}, {"x:0+m", "m+x:0"}, {"2d", "2d"}, {"n+2d", "n+2d"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) IS(mp_syms_parse(f->a, mp_infer_syms(f->c), cases[i][0], named, f), cases[i][1]);
  char deep[512] = "";
  for (int i = 0; i < 100; i++) strcat(deep, "(n+");
  strcat(deep, "1");
  for (int i = 0; i < 100; i++) strcat(deep, ")");
  IS(mp_syms_parse(f->a, mp_infer_syms(f->c), deep, named, f), deep); /* nested too deep to be meant */
}

/* What the canonical form says must be what the numbers say: expressions are made at random and taken at points. */
static void forms_keep_their_values(void **state) {
  fix *f = *state;
  uint32_t seed = 12345;
  for (int round = 0; round < 3000; round++) {
    int64_t at[3];
    mp_int x[12];
    int64_t v[12];
    for (int i = 0; i < 3; i++) at[i] = 1 + (int64_t)((seed = seed * 1664525u + 1013904223u) >> 24) % 40;
    x[0] = f->n, x[1] = f->m, x[2] = f->k;
    for (int i = 0; i < 3; i++) v[i] = at[i];
    for (int i = 3; i < 12; i++) {
      uint32_t r = (seed = seed * 1664525u + 1013904223u) >> 8;
      int p = (int)(r % (uint32_t)i), q = (int)(r / 16 % (uint32_t)i);
      int64_t c = (int64_t)(r / 256 % 9) - 3;
      switch (r / 4096 % 8) {
        case 0: x[i] = ADD(x[p], x[q]), v[i] = v[p] + v[q]; break;
        case 1: x[i] = SUB(x[p], x[q]), v[i] = v[p] - v[q]; break;
        case 2: x[i] = MUL(x[p], N(c)), v[i] = v[p] * c; break;
        case 3: x[i] = ADD(x[p], N(c)), v[i] = v[p] + c; break;
        case 4: x[i] = DIV(x[p], N(c ? c : 2)), v[i] = mp_sym_div(f->c, N(v[p]), N(c ? c : 2)).n; break;
        case 5: x[i] = mp_sym_mod(f->c, x[p], N(c ? c : 5)), v[i] = mp_sym_mod(f->c, N(v[p]), N(c ? c : 5)).n; break;
        case 6: x[i] = mp_sym_max(f->c, x[p], x[q]), v[i] = v[p] > v[q] ? v[p] : v[q]; break;
        default: x[i] = mp_sym_min(f->c, x[p], x[q]), v[i] = v[p] < v[q] ? v[p] : v[q]; break;
      }
    }
    for (int i = 3; i < 12; i++)
      for (int j = 0; j < i; j++) {
        int order = mp_sym_compare(f->c, x[i], x[j]);
        if (order != 2) assert_int_equal(order, (v[i] > v[j]) - (v[i] < v[j]));
        if (mp_sym_equal(x[i], x[j])) assert_int_equal(v[i], v[j]);
      }
    for (int i = 3; i < 12; i++)
      if (mp_int_is_number(x[i])) assert_int_equal(x[i].n, v[i]);
  }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(sums_and_products_have_one_form), TEST(divisions_cancel), TEST(remainders_cancel),          TEST(order_follows_from_intervals),
      TEST(what_overflows_or_grows_is_unknown), TEST(dims_broadcast), TEST(names_of_dimensions_may_be_expressions), TEST(forms_keep_their_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
