/* Parameters and buffers of TorchScript files: which initializers, and inputs, are what; and what no row of the table claims. */
#include "planner/inside.h"
#include "support_base.h"
#include "support_draw.h"
#include "support_graph.h"
#include "support_recover.h"

static const mp_program *drawn(mp_arena *a, const char *text) {
  size_t n;
  uint8_t *bytes = test_draw(text, &n), *kept = mp_alloc(a, n);
  memcpy(kept, bytes, n);
  free(bytes);
  mp_err err;
  mp_graph_options o = {0};
  const mp_program *p = mp_program_recover(a, mp_graph_build(a, mp_model_read_memory(a, "drawn", kept, n, &err), &o, &err), &err);
  if (!p) fail_msg("%s", err.text);
  return p;
}

static void a_folded_batch_norm_is_put_back(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = drawn(a,
                              "in x float 2 3 8 8\nw onnx::Conv_7 float 5 3 3 3\nw onnx::Conv_8 float 5\n"
                              "node Conv x onnx::Conv_7 onnx::Conv_8 -> y name=/stem/conv/Conv\nout y float\n");
  assert_string_equal(test_calls_text(a, p),
                      "conv2d(x,stem.conv.weight,none,1x1,0x0,1x1,1) batch_norm(%,stem.conv.folded_norm.weight,stem.conv.folded_norm.bias,"
                      "stem.conv.folded_norm.running_mean,stem.conv.folded_norm.running_var,T,0.1,1e-05,T)");
  assert_true(test_program_warned(p, "1 convolutions"));
  assert_int_equal(test_var_named(p, "stem.conv.folded_norm.num_batches_tracked")->role, MP_ROLE_BUFFER);
  mp_arena_free(a);
}

static void a_folded_head_is_tied_to_its_embedding(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = drawn(
      a,
      "in ids int64 2 3\nw wte.weight float 50 8\nw onnx::MatMul_9 float 8 50\nw onnx::MatMul_7 float 8 4\nw fc.bias float 4\n"
      "node Gather wte.weight ids -> e name=/wte/Gather\nnode MatMul e onnx::MatMul_7 -> m name=/fc/MatMul\nnode Add fc.bias m -> f name=/fc/Add\n"
      "node MatMul e onnx::MatMul_9 -> y name=/lm_head/MatMul\nout y float\nout f float\n");
  assert_string_equal(test_calls_text(a, p), "embedding(wte.weight,ids) linear(%,fc.weight,fc.bias) linear(%,wte.weight)");
  assert_int_equal(test_var_named(p, "fc.weight")->dims[0], 4);
  assert_int_equal(test_var_named(p, "fc.weight")->dims[1], 8);
  assert_true(test_program_warned(p, "tied"));
  mp_arena_free(a);
}

/* two tables have the dims of the head: its contents are the second's, turned; with contents of its own it is tied to neither */
static void contents_tell_what_a_folded_head_is_tied_to(void **state) {
  (void)state;
  static const char *const tables = "in ids int64 2 3\nr a.weight float 3 2 : 1 2 3 4 5 6\nr b.weight float 3 2 : 7 8 9 10 11 12\n";
  static const char *const nodes = "node Gather a.weight ids -> e name=/a/Gather\nnode Gather b.weight ids -> f name=/b/Gather\nnode Add e f -> s name=/Add\n"
                                   "node MatMul s onnx::MatMul_9 -> y name=/head/MatMul\nout y float\n";
  mp_arena *a = mp_arena_new(0);
  const mp_program *tied = drawn(a, mp_format(a, "%sr onnx::MatMul_9 float 2 3 : 7 9 11 8 10 12\n%s", tables, nodes));
  assert_string_equal(test_calls_text(a, tied), "embedding(a.weight,ids) embedding(b.weight,ids) add(%,%) linear(%,b.weight)");
  assert_false(test_program_warned(tied, "tied"));
  const mp_program *own = drawn(a, mp_format(a, "%sr onnx::MatMul_9 float 2 3 : 7 9 11 8 10 13\n%s", tables, nodes));
  assert_string_equal(test_calls_text(a, own), "embedding(a.weight,ids) embedding(b.weight,ids) add(%,%) linear(%,head.weight)");
  mp_arena_free(a);
}

/* without contents, one of several weights of such dims is not the head */
static void alike_folded_weights_are_tied_to_no_table(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = drawn(a, "in ids int64 2 3\nw pos.weight float 32 8\nw onnx::MatMul_1 float 8 32\nw onnx::MatMul_2 float 32 8\nw onnx::MatMul_3 float 8 32\n"
                                 "node Gather pos.weight ids -> e name=/pos/Gather\nnode MatMul e onnx::MatMul_1 -> f name=/a/MatMul\nnode MatMul f onnx::MatMul_2 -> g name=/b/MatMul\n"
                                 "node MatMul g onnx::MatMul_3 -> y name=/c/MatMul\nout y float\n");
  assert_string_equal(test_calls_text(a, p), "embedding(pos.weight,ids) linear(%,a.weight) linear(%,b.weight) linear(%,c.weight)");
  mp_arena_free(a);
}

/* opset 13 has no training_mode: in training there are five outputs */
static void an_old_batch_norm_trains_by_its_outputs(void **state) {
  (void)state;
  static const char *const form = "opset 13\nin x float 2 3 8 8\nw bn.weight float 3\nw bn.bias float 3\nw bn.running_mean float 3\nw bn.running_var float 3\n"
                                  "node BatchNormalization x bn.weight bn.bias bn.running_mean bn.running_var -> y%s name=/bn/BatchNormalization\nnode ReduceMean y -> z keepdims=0 name=/ReduceMean\nout z float\n";
  mp_arena *a = mp_arena_new(0);
  assert_non_null(strstr(test_calls_text(a, drawn(a, mp_format(a, form, " m v sm sv"))), "bn.running_var,T,"));
  assert_non_null(strstr(test_calls_text(a, drawn(a, mp_format(a, form, ""))), "bn.running_var,F,"));
  mp_arena_free(a);
}

/* export_params=False: what is named as in a state_dict is no input. input.1 is what the exporter calls an input without a name. */
static void parameters_among_the_inputs_are_parameters(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = drawn(a, "in input.1 float 2 4\nin fc.weight float 3 4\nin fc.bias float 3\nnode Gemm input.1 fc.weight fc.bias -> y transB=1 name=/fc/Gemm\nout y float\n");
  assert_int_equal(test_var_named(p, "fc.weight")->role, MP_ROLE_PARAMETER);
  assert_int_equal(test_var_named(p, "fc.bias")->role, MP_ROLE_PARAMETER);
  assert_int_equal(test_var_named(p, "input.1")->role, MP_ROLE_INPUT);
  assert_int_equal(p->graph->warning_count, 1);
  assert_non_null(strstr(p->graph->warnings[0], "export_params=False"));
  const mp_program *q = drawn(a, "in input.1 float 2 4\nin b.weight float 2 4\nw fc.weight float 3 4\nnode Add input.1 b.weight -> s\nnode Gemm s fc.weight -> y transB=1 name=/fc/Gemm\nout y float\n");
  assert_int_equal(test_var_named(q, "b.weight")->role, MP_ROLE_INPUT);
  mp_arena_free(a);
}

/* A module's buffers stand behind its parameters: what stands behind a buffer is one. Another module's tensors begin anew. */
static void what_stands_behind_a_buffer_is_a_buffer(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = drawn(a, "in x float 3 4\nw m.weight float 3 4\nc m.index int64 1 : 0\nw m.norm float 3 4\nw m.fc.scale float 3 4\nnode Mul x m.norm -> u name=/m/Mul\n"
                                 "node Mul u m.weight -> v name=/m/Mul_1\nnode Mul v m.fc.scale -> w name=/m/fc/Mul\nnode Gather w m.index -> y axis=0 name=/m/Gather\nout y float\n");
  assert_int_equal(test_var_named(p, "m.weight")->role, MP_ROLE_PARAMETER);
  assert_int_equal(test_var_named(p, "m.norm")->role, MP_ROLE_BUFFER);
  assert_int_equal(test_var_named(p, "m.fc.scale")->role, MP_ROLE_PARAMETER);
  mp_arena_free(a);
}

static void modules_alike_have_a_buffer_each(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p =
      test_recovered(a, "x: float[2,2]; m = Constant() value=float[2,2]{1,0,1,1}; a = Mul(x, m) name=\"/h.0/Mul\"; y = Mul(a, m) name=\"/h.1/Mul\"; -> y");
  uint32_t buffers = 0;
  for (uint32_t i = 0; i < p->var_count; i++) buffers += p->vars[i].role == MP_ROLE_BUFFER;
  assert_int_equal(buffers, 2);
  mp_arena_free(a);
}

static void fused_operators_come_apart(void **state) {
  (void)state;
  test_expect_calls(
      "opset com.microsoft 1; x: float[2,3,8]; y: float[2,3,8]; w = float[8]; b = float[8]; c = float[8];"
      "z, _, _, s = com.microsoft.SkipLayerNormalization(x, y, w, b, c) epsilon=0.01; g = com.microsoft.FastGelu(z); -> g, s",
      "add(x,c) add(%,y) layer_norm(%,8,w,b,0.01,T) gelu(%,'tanh')");
  test_expect_calls(
      "opset com.microsoft 1; x: float[2,3,8]; w = float[8,24]; b = float[24]; y = com.microsoft.Attention(x, w, b) num_heads=2 unidirectional=1; -> "
      "y",
      "reshape(x,6x8) addmm(b,%,w) reshape(%,2x3x24) split(%,8,2) reshape(%,2x3x2x4) transpose(%,1,2) reshape(%,2x3x2x4) transpose(%,1,2)"
      " reshape(%,2x3x2x4) transpose(%,1,2) scaled_dot_product_attention(%,%,%,none,0,T,none,F) transpose(%,1,2) reshape(%,2x3x8)");
}

static void an_unknown_operator_is_one_warning(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered(a, "x: float[2,2]; y = Det(x) name=\"/Det\"; -> y");
  assert_string_equal(test_calls_text(a, p), "onnx::Det(x)");
  assert_true(test_program_warned(p, "onnx::Det"));
  mp_arena_free(a);
}

static void an_open_dimension_says_how_to_close_it(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_err err;
  assert_null(mp_program_recover(a, test_graph(a, "x: float[batch,2]; y = Relu(x); -> y"), &err));
  assert_int_equal(err.code, MP_BAD_INPUT);
  assert_non_null(strstr(err.text, "--dim batch="));
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_folded_batch_norm_is_put_back),
      cmocka_unit_test(a_folded_head_is_tied_to_its_embedding),
      cmocka_unit_test(contents_tell_what_a_folded_head_is_tied_to),
      cmocka_unit_test(alike_folded_weights_are_tied_to_no_table),
      cmocka_unit_test(an_old_batch_norm_trains_by_its_outputs),
      cmocka_unit_test(parameters_among_the_inputs_are_parameters),
      cmocka_unit_test(what_stands_behind_a_buffer_is_a_buffer),
      cmocka_unit_test(modules_alike_have_a_buffer_each),
      cmocka_unit_test(fused_operators_come_apart),
      cmocka_unit_test(an_unknown_operator_is_one_warning),
      cmocka_unit_test(an_open_dimension_says_how_to_close_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
