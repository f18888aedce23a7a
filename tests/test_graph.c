#include "support_graph.h"

static void shapes_follow_a_drawing(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a, "x: float[batch,3]; w = float[3,4]; y = MatMul(x, w); z = Relu(y); -> z");
  assert_int_equal(g->node_count, 2);
  assert_int_equal(g->opset, 17);
  assert_int_equal(g->input_count, 1);
  assert_value(a, g, "z", "float32[batch, 4]");
  assert_true(test_value(g, "z")->is_output);
  assert_int_equal(test_value(g, "y")->users, 1);
}

static int new_arena(void **state) { return !(*state = mp_arena_new(0)); }
static int free_arena(void **state) { return mp_arena_free(*state), 0; }

#define TEST(f) cmocka_unit_test_setup_teardown(f, new_arena, free_arena)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(shapes_follow_a_drawing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
