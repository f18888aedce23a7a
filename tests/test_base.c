#include "support_base.h"

static const void *body_fails(mp_arena *a, void *arg) {
  mp_alloc(a, 100);
  mp_fail(a, MP_BAD_INPUT, "%s: what\nwhy", (const char *)arg);
}

static void a_failure_comes_back_as_one_line(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_err err;
  assert_null(mp_protect(a, &err, body_fails, "file.onnx"));
  assert_int_equal(err.code, MP_BAD_INPUT);
  assert_string_equal(err.text, "file.onnx: what why");
  mp_arena_free(a);
}

static const void *body_grows(mp_arena *a, void *arg) {
  MP_VEC(int) v = {0};
  for (int i = 0; i < 1000; i++) *mp_push(a, &v) = i;
  *(int *)arg = v.at[999];
  return v.at;
}

static void every_request_may_fail(void **state) {
  (void)state;
  for (uint64_t n = 1;; n++) {
    mp_arena *a = mp_arena_new(0);
    mp_err err;
    int last = 0;
    mp_arena_fail_at(a, n);
    const void *r = mp_protect(a, &err, body_grows, &last);
    mp_arena_free(a);
    if (r) {
      assert_int_equal(last, 999);
      assert_true(n > 3);
      break;
    }
    assert_int_equal(err.code, MP_INTERNAL);
  }
}

static void the_limit_holds(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(1 << 10);
  mp_err err;
  int last;
  assert_null(mp_protect(a, &err, body_grows, &last));
  assert_int_equal(err.code, MP_BAD_INPUT);
  mp_arena_free(a);
}

static const void *body_marks(mp_arena *a, void *arg) {
  (void)arg;
  char *kept = mp_strdup(a, "kept");
  mp_mark m = mp_arena_mark(a);
  for (int i = 0; i < 100; i++) memset(mp_alloc(a, 10000), 1, 10000);
  mp_arena_rewind(a, m);
  char *again = mp_alloc(a, 16);
  for (int i = 0; i < 16; i++) assert_int_equal(again[i], 0);
  return kept;
}

static void rewinding_keeps_what_was_before(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_err err;
  assert_string_equal(mp_protect(a, &err, body_marks, NULL), "kept");
  mp_arena_free(a);
}

static const void *body_searches(mp_arena *a, void *arg) { /* small and large objects, over and over: what a search does */
  uint64_t *most = arg;
  mp_strdup(a, "kept");
  for (int i = 0; i < 200; i++) {
    mp_mark m = mp_arena_mark(a);
    for (int k = 0; k < 10; k++) memset(mp_alloc(a, 100000), 1, 100000);
    mp_mark inner = mp_arena_mark(a);
    for (int k = 0; k < 300; k++) memset(mp_alloc(a, 1000), 1, 1000);
    memset(mp_alloc(a, 1000000), 1, 1000000);
    mp_arena_rewind(a, inner);
    memset(mp_alloc(a, 1000), 1, 1000);
    mp_arena_rewind(a, m);
    if (mp_arena_used(a) > *most) *most = mp_arena_used(a);
  }
  return most;
}

static void rewinding_gives_everything_back(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_err err;
  uint64_t most = 0;
  assert_non_null(mp_protect(a, &err, body_searches, &most));
  assert_true(most < 400000); /* two chunks and what is kept for the next round */
  mp_arena_free(a);
}

static const void *body_names(mp_arena *a, void *arg) {
  (void)arg;
  mp_names *t = mp_names_new(a, 1);
  char text[16];
  for (uint32_t i = 0; i < 5000; i++) {
    int n = snprintf(text, sizeof text, "n%u", i);
    assert_int_equal(mp_names_add(a, t, text, (size_t)n, NULL), i);
  }
  assert_int_equal(mp_names_find(t, "n4711", 5), 4711);
  assert_int_equal(mp_names_find(t, "absent", 6), UINT32_MAX);
  assert_string_equal(mp_names_text(t, 17), "n17");
  return t;
}

static void names_keep_their_numbers(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_err err;
  assert_non_null(mp_protect(a, &err, body_names, NULL));
  mp_arena_free(a);
}

static void globs(void **state) {
  (void)state;
  assert_true(mp_glob("*.bias", "a.b.bias"));
  assert_true(mp_glob("a.*.w", "a.b.c.w"));
  assert_true(mp_glob("*", ""));
  assert_true(mp_glob("a?c", "abc"));
  assert_false(mp_glob("a", "ab"));
  assert_false(mp_glob("*.w", "a.b"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_failure_comes_back_as_one_line), cmocka_unit_test(every_request_may_fail), cmocka_unit_test(the_limit_holds),
      cmocka_unit_test(rewinding_keeps_what_was_before), cmocka_unit_test(rewinding_gives_everything_back),  cmocka_unit_test(names_keep_their_numbers), cmocka_unit_test(globs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
