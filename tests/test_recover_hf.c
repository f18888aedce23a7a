/* What transformers' own exporter (transformers/exporters/exporter_onnx.py) writes differently from the one of PyTorch that it calls. */
#include "planner/inside.h"
#include "support_base.h"
#include "support_recover.h"

#define CAST(out, x) FX("%" out " : [num_users=1] = call_function[target=torch.ops.aten._to_copy.default](args = (%" x ",), kwargs = {dtype: torch.float32})") IN("['', 'attn', '" out "']", "['M', 'Layer', 'aten']") "\n"
#define ZEROED "t = ReduceSum(c, axis) keepdims=1" AT("t", "sum.dim_IntList", "%c, [-1], True", "attn") "few = Less(t, one)" AT("few", "lt.Scalar", "%t, 1", "attn") \
               "y = Attention(q, q, q, mask)" AT("y", "scaled_dot_product_attention.default", "%q, %q, %q, %mask", "attn") "w = Where(few, zero, y)" AT("w", "where.self", "%few, %zero, %y", "attn") "e = Exp(w)" AT("e", "exp.default", "%w", "attn")

/* q attends under a boolean mask:
 *   m -> float -> sum < 1 ----------------\
 *   m -> not -> float -> * least -> sdpa -> where(., 0, .)     is sdpa(q, q, q, m) */
static void a_boolean_mask_goes_to_the_kernel_itself(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 23\nq: float[2,4,8,16]; m: bool[2,1,8,8]; one = float[]{1}; zero = float[]{0}; least = float[]{-3e38}; axis = int64[1]{-1}\n"
                                             "c = Cast(m) to=1" CAST("c", "m") "n = Not(m)" AT("n", "bitwise_not.default", "%m", "attn") "f = Cast(n) to=1" CAST("f", "n")
                                             "mask = Mul(f, least)" AT("mask", "mul.Tensor", "%f, -3e38", "attn") ZEROED SIGNATURE("q: USER_INPUT\nm: USER_INPUT") "-> e");
  assert_int_equal(p->call_count, 2);
  assert_non_null(strstr(test_call_line(a, p, 0), "aten::scaled_dot_product_attention(%q, %q, %q, %m"));
  mp_arena_free(a);
}

/* an additive one stays as it is: only the zeros go */
static void an_additive_mask_stays(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 23\nq: float[2,4,8,16]; mask: float[2,1,8,8]; one = float[]{1}; zero = float[]{0}; least = float[]{-3e38}; axis = int64[1]{-1}\n"
                                             "over = Greater(mask, least)" AT("over", "gt.Scalar", "%mask, -3e38", "attn") "c = Cast(over) to=1" CAST("c", "over") ZEROED
                                             SIGNATURE("q: USER_INPUT\nmask: USER_INPUT") "-> e");
  assert_int_equal(p->call_count, 2);
  assert_non_null(strstr(test_call_line(a, p, 0), "aten::scaled_dot_product_attention(%q, %q, %q, %mask"));
  mp_arena_free(a);
}

/* Zeros where a row of something else is less than one are the model's own. */
static void other_zeros_are_the_models(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 23\nq: float[2,4,8,16]; mask: float[2,1,8,8]; c: float[2,1,8,8]; one = float[]{1}; zero = float[]{0}; axis = int64[1]{-1}\n" ZEROED
                                             SIGNATURE("q: USER_INPUT\nmask: USER_INPUT\nc: USER_INPUT") "-> e");
  assert_int_equal(p->call_count, 6);
  mp_arena_free(a);
}

/* attention_mask[rows, columns] with constants: one lookup in both dims as one, of which no node says what it was */
static void a_lookup_in_flattened_dims_is_an_index(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,3]; flat = int64[1]{6}; at = Constant() value=int64[2,1,2]{0,1,3,4}; r = Reshape(x, flat); index = Gather(r, at)\n"
                                             "y = Exp(index)" AT("y", "exp.default", "%index", "") "z = Exp(y)" AT("z", "exp.default", "%y", "") "u = Exp(z)" AT("u", "exp.default", "%z", "")
                                             "v = Exp(u)" AT("v", "exp.default", "%u", "") SIGNATURE("x: USER_INPUT") "-> v");
  assert_int_equal(p->call_count, 6);
  assert_non_null(strstr(test_call_line(a, p, 0), "aten::reshape(%x, [6])"));
  assert_non_null(strstr(test_call_line(a, p, 1), "aten::index(%r, [%at])"));
  mp_arena_free(a);
}

/* x.transpose(1, 2).reshape(2, 2, 2, 3): sizes that cannot be compared with strides are copied at export, where a run makes a view. A copy that a line asks for stays. */
static void a_copy_for_a_view_is_a_reshape(void **state) {
  (void)state;
  static const struct {
    const char *line, *call;
  } cases[] = {{"h = x.transpose(1, 2).reshape(2, 2, 2, 3)", ".  aten::reshape(%transpose, [2, 2, 2, 3])"}, {"h = x.transpose(1, 2).contiguous().view(2, 2, 2, 3)", ".  aten::contiguous(%transpose)"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_arena *a = mp_arena_new(0);
    const char *line = cases[i].line;
    const mp_program *p =
        test_recovered_fx(a, mp_format(a, "opset 20\nx: float[2,3,4]; d = int64[4]{2,2,2,3}\ntranspose = Transpose(x) perm=[0,2,1]" LINE("%s") FX("%%transpose : [num_users=1] = call_function[target=torch.ops.aten.transpose.int](args = (%%x, 1, 2), kwargs = {})")
                                          "\nview = Reshape(transpose, d)" LINE("%s") FX("%%view : [num_users=1] = call_function[target=torch.ops.aten.view.default](args = (%%clone, [2, 2, 2, 3]), kwargs = {})") "\n"
                                          SIGNATURE("x: USER_INPUT") "-> view", line, line));
    assert_string_equal(test_call_line(a, p, 1), cases[i].call);
    mp_arena_free(a);
  }
}

/* Experts: rows sorted by expert, one product for each group of them, of sizes that only a run knows. The arithmetic is that of all rows: 6 * 8 * 4 multiply-adds. */
static void a_product_by_groups_counts_every_row_once(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define GROUPED "y = Concat(m, n) axis=0" FX("%y : [num_users=1] = call_function[target=torch.ops.transformers.grouped_mm_fallback.default](args = (%x, %w, %ends), kwargs = {})") IN("['', 'experts', 'y']", "['M', 'Layer', 'aten']") "\n"
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[6,8]; w: float[2,8,4]; ends: int32[2]; m: float[2,4]; n: float[4,4]\n" GROUPED "e = Exp(y)" AT("e", "exp.default", "%y", "")
                                             SIGNATURE("x: USER_INPUT\nw: USER_INPUT\nends: USER_INPUT\nm: USER_INPUT\nn: USER_INPUT") "-> e");
  assert_string_equal(test_call_line(a, p, 0), "experts  aten::_grouped_mm(%x, %w, %ends)");
  assert_int_equal(p->calls[0].macs, 6 * 8 * 4);
  assert_int_equal(p->calls[0].flops, 2 * 6 * 8 * 4);
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_boolean_mask_goes_to_the_kernel_itself), cmocka_unit_test(an_additive_mask_stays), cmocka_unit_test(other_zeros_are_the_models),
                                     cmocka_unit_test(a_lookup_in_flattened_dims_is_an_index), cmocka_unit_test(a_copy_for_a_view_is_a_reshape), cmocka_unit_test(a_product_by_groups_counts_every_row_once)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
