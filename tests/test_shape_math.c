/* Elementwise operators, reductions, ranges, random tensors, Einsum. */
#include "support_cases.h"

static void cases_hold(void **state) {
  (void)state;
  test_cases("cases_math.txt");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(cases_hold)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
