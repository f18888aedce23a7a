/* Operators that move, select and resize. */
#include "support_cases.h"

static void cases_hold(void **state) {
  (void)state;
  test_cases("cases_move.txt");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(cases_hold)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
