/* Convolution, pooling, normalization, cells, quantization, products, sequences, control flow, losses, classical models, com.microsoft, dialects. */
#include "support_cases.h"

#define FILE_TEST(name) \
  static void name(void **state) { \
    (void)state;                   \
    test_cases("cases_" #name ".txt"); \
  }
FILE_TEST(nn)
FILE_TEST(matmul)
FILE_TEST(seq)
FILE_TEST(loss)
FILE_TEST(ml)
FILE_TEST(contrib)
FILE_TEST(fused)
FILE_TEST(dialect)

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(nn), cmocka_unit_test(matmul),  cmocka_unit_test(seq),   cmocka_unit_test(loss),
                                     cmocka_unit_test(ml), cmocka_unit_test(contrib), cmocka_unit_test(fused), cmocka_unit_test(dialect)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
