/* The engine around the rules: what the file declares, warnings, reasons, captures, costs, shared arrays. */
#include "onnx/shape.h"
#include "support_graph.h"

static int set_up(void **state) {
  *state = mp_arena_new(0);
  return 0;
}

static int tear_down(void **state) {
  mp_arena_free(*state);
  return 0;
}

static void declared_shapes_fill_what_is_open(void **state) {
  const char *text = "opset 17; opset dom 1; x: float[2,n]; y = dom.Odd(x); z = Relu(y); k = NonZero(x); -> z, k\ninfo y: float[2,n]\ninfo k: int64[2,5]";
  const mp_graph *g = test_graph(*state, text);
  assert_value(*state, g, "z", "float32[2, n]");
  assert_value(*state, g, "k", "int64[2, 5]");
  mp_graph_options o = {.from_scratch = true};
  g = test_graph_with(*state, text, &o);
  assert_value(*state, g, "z", "undefined");
  assert_value(*state, g, "k", "int64[2, ?]");
}

static void a_contradicted_declaration_warns_and_loses(void **state) {
  const mp_graph *g = test_graph(*state, "x: float[2,3]; y = Transpose(x); z = Relu(y); -> z\ninfo y: float[2,3]");
  assert_value(*state, g, "z", "float32[3, 2]");
  assert_true(test_warned(g, "value 'y': the file declares 2x3, the operators give 3x2"));
  g = test_graph(*state, "x: float[n,3]; y = Relu(x); -> y\ninfo y: float[m,3]"); /* another name for the same is no contradiction */
  assert_int_equal(g->warning_count, 0);
  assert_value(*state, g, "y", "float32[n, 3]");
}

static void a_bad_node_costs_its_own_outputs_only(void **state) {
  const mp_graph *g = test_graph(*state, "x: float[2,3]; w: float[4]; bad = Add(x, w) name=\"adder\"; after = Relu(bad); fine = Relu(x); -> after, fine");
  assert_true(test_warned(g, "node 'adder' (Add): dims 3 and 4 of axis -1 do not broadcast"));
  assert_value(*state, g, "after", "float32");
  assert_value(*state, g, "fine", "float32[2, 3]");
  const char *why = mp_graph_why(*state, g, (int32_t)(test_value(g, "after") - g->values));
  assert_non_null(strstr(why, "node 'adder' (Add): dims 3 and 4"));
  assert_null(mp_graph_why(*state, g, (int32_t)(test_value(g, "fine") - g->values)));
}

static void reasons_lead_up_to_what_blocks(void **state) {
  const mp_graph *g = test_graph(*state, "opset 17; opset dom 1; x: float[2,3]; s: int64[2]; r: float; a = Reshape(x, s) name=\"shaper\"; b = Relu(a); c = dom.Odd(x) name=\"odd\"; d = Relu(c); e = Relu(r); -> b, d, e");
  const char *const cases[][2] = {{"b", "node 'shaper' (Reshape): depends on the contents of 's'"}, {"d", "node 'odd': operator dom::Odd is not known"}, {"e", "input 'r': the file gives no shape"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *why = mp_graph_why(*state, g, (int32_t)(test_value(g, cases[i][0]) - g->values));
    if (!why || !strstr(why, cases[i][1])) fail_msg("%s: '%s' lacks '%s'", cases[i][0], why ? why : "", cases[i][1]);
  }
}

static void bodies_see_what_they_capture(void **state) {
  const mp_graph *g = test_graph(*state, "x: float[2,3,n]; c = bool[]{1}; s = int64[2]{0,-1}; y = If(c) then_branch={ r = Reshape(x, s); -> r } else_branch={ k = Neg(x); -> k }; -> y");
  assert_value(*state, g, "y", "float32[2, 3*n]"); /* dims and contents came through */
}

static void a_condition_is_followed_through_logic(void **state) {
  const mp_graph *g = test_graph(*state,
                                 "x: float[n,4]; i = int64[]{1}; four = int64[]{4}; s = Shape(x); d = Gather(s, i); e = Equal(d, four); p: bool[]; o = Or(e, p); q = Not(o); y = If(q) "
                                 "then_branch={ t = Neg(x); u = Transpose(t); -> u } else_branch={ v = Neg(x); -> v }; -> y");
  assert_value(*state, g, "q", "bool[]{0}");
  assert_value(*state, g, "y", "float32[n, 4]");
}

static void costs_are_counted_where_dims_are_numbers(void **state) {
  const mp_graph *g = test_graph(*state, "x: float[2,3]; w: float[3,4]; y = MatMul(x, w); z = Relu(y); t = Transpose(z); o: float[n,3]; p = Relu(o); -> t, p");
  assert_int_equal(test_node(g, "y")->macs, 24);
  assert_int_equal(test_node(g, "z")->flops, 8);
  assert_int_equal(test_node(g, "t")->flops, 0);
  assert_int_equal(test_node(g, "p")->flops, 0);
}

static void equal_dims_share_one_array(void **state) {
  const mp_graph *g = test_graph(*state, "x: float[n,3]; w: float[3,5]; a = MatMul(x, w); b = MatMul(x, w); c = Relu(a); d = Add(b, c); -> d");
  assert_ptr_equal(test_value(g, "a")->dims, test_value(g, "b")->dims);
  assert_ptr_equal(test_value(g, "a")->dims, test_value(g, "d")->dims);
}

/* The chain that exporters write around attention: batch and sequence stay symbols, and the products cancel. */
static void shape_computations_stay_symbolic(void **state) {
  const mp_graph *g = test_graph(*state,
                                 "x: float[batch,seq,768]; zero = int64[]{0}; one = int64[]{1}; heads = int64[1]{12}; each = int64[1]{64}; minus = int64[1]{-1}; hidden = int64[]{768}\n"
                                 "s = Shape(x); b = Gather(s, zero); q = Gather(s, one); b1 = Unsqueeze(b) axes=[0]; q1 = Unsqueeze(q) axes=[0]\n"
                                 "t = Concat(b1, q1, heads, each) axis=0; y = Reshape(x, t); z = Transpose(y) perm=[0,2,1,3]\n"
                                 "bq = Mul(b, q); bq1 = Unsqueeze(bq) axes=[0]; u = Concat(bq1, minus) axis=0; flat = Reshape(x, u)\n"
                                 "all = Mul(bq, hidden); h = Div(all, q); h1 = Unsqueeze(h) axes=[0]; v = Concat(q1, h1) axis=0; back = Reshape(flat, v)\n"
                                 "r = Range(zero, q, one); f = Cast(q) to=1; half = float[]{0.5}; g = Cast(f) to=7; m = ConstantOfShape(t)\n"
                                 "-> z, flat, back, r, g, m\nopset 11");
  assert_value(*state, g, "z", "float32[batch, 12, seq, 64]");
  assert_value(*state, g, "flat", "float32[batch*seq, 768]");
  assert_value(*state, g, "back", "float32[seq, 768*batch]");
  assert_value(*state, g, "r", "int64[seq]");
  assert_value(*state, g, "g", "int64[]{seq}");
  assert_value(*state, g, "m", "float32[batch, seq, 12, 64]");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(declared_shapes_fill_what_is_open), TEST(a_contradicted_declaration_warns_and_loses), TEST(a_bad_node_costs_its_own_outputs_only),    TEST(reasons_lead_up_to_what_blocks),
      TEST(bodies_see_what_they_capture),      TEST(a_condition_is_followed_through_logic),      TEST(costs_are_counted_where_dims_are_numbers), TEST(equal_dims_share_one_array),
      TEST(shape_computations_stay_symbolic),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
