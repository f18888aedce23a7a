/* The operator table as a whole: no row without a case, none twice, every operator found. */
#include "onnx/shape.h"
#include "support_cases.h"

static void every_row_has_a_case(void **state) {
  (void)state;
  uint32_t missing = test_rows_without_case();
  if (missing) fail_msg("%u of %u rows of the operator table have no case in tests/cases_*.txt", missing, mp_op_count());
}

/* operators.txt lists the schemas of the newest onnx package */
static void every_operator_of_the_schema_has_a_row(void **state) {
  (void)state;
  char line[256], domain[64], type[64];
  long first;
  int n = 0, missing = 0;
  FILE *f = fopen(MEMPLAN_SOURCE "/tests/operators.txt", "r");
  assert_non_null(f);
  while (fgets(line, sizeof line, f)) {
    if (*line == '#' || sscanf(line, "%63s %63s %ld", domain, type, &first) != 3) continue;
    const mp_op *op = mp_op_find(strcmp(domain, "ai.onnx") ? domain : "", type, first);
    n++;
    if (op && op->since <= first) continue;
    print_error("%s.%s: no row holds from opset %ld\n", domain, type, first);
    missing++;
  }
  fclose(f);
  assert_true(n > 200);
  assert_int_equal(missing, 0);
}

static void no_row_stands_twice(void **state) {
  (void)state;
  const char *domain[2], *type[2];
  int64_t since[2];
  for (uint32_t i = 0; i < mp_op_count(); i++) {
    mp_op_row(i, &domain[i % 2], &type[i % 2], &since[i % 2]);
    if (i && since[0] == since[1] && strcmp(type[0], type[1]) == 0 && strcmp(domain[0], domain[1]) == 0)
      fail_msg("the rows of %s %lld are two", type[0], (long long)since[0]);
  }
}

static void rows_are_found_by_opset(void **state) {
  (void)state;
  for (uint32_t i = 0; i < mp_op_count(); i++) {
    const char *domain, *type;
    int64_t since;
    mp_op_row(i, &domain, &type, &since);
    const mp_op *op = mp_op_find(domain, type, since);
    assert_non_null(op);
    assert_string_equal(op->type, type);
    assert_int_equal(op->since, since);
  }
  assert_int_equal(mp_op_find("", "Slice", 9)->since, 1);
  assert_int_equal(mp_op_find("", "Slice", 10)->since, 10);
  assert_int_equal(mp_op_find("ai.onnx", "Slice", 99)->since, 10);
  assert_int_equal(mp_op_find("", "Range", 1)->since, 11); /* a wrong import: the first row */
  assert_null(mp_op_find("", "NoSuchOperator", 17));
  assert_null(mp_op_find("no.such.domain", "Add", 17));
}

static void symbols_and_numbers_agree(void **state) {
  (void)state;
  static const char *const files[] = {"cases_math.txt", "cases_move.txt", "cases_nn.txt", "cases_matmul.txt", "cases_fused.txt", "cases_contrib.txt", "cases_loss.txt", "cases_dialect.txt", "cases_seq.txt", "cases_ml.txt"};
  uint32_t compared = 0;
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) compared += test_cases_bound(files[i]);
  print_message("%u dims compared\n", compared);
  assert_true(compared > 500);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_row_has_a_case), cmocka_unit_test(every_operator_of_the_schema_has_a_row), cmocka_unit_test(no_row_stands_twice), cmocka_unit_test(rows_are_found_by_opset), cmocka_unit_test(symbols_and_numbers_agree)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
