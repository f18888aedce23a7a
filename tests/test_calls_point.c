/* Elementwise calls, dropout, choices: what they keep, and the most that is alive. x + p is an activation that needs a gradient; the sum at the end
 * keeps nothing. x has 4 * 8 elements: 128 bytes in fp32, 64 in bfloat16, 32 as a mask. */
#include "support_program.h"

#define HEAD "in x float32 4 8\nin m bool 4 8\np p float32 8\ncall add a x p\n"
#define TAIL "call sum s y\nout s\n"

static uint64_t kept(const char *calls, const char *precision) {
  mp_arena *a = mp_arena_new(0);
  uint64_t n = test_program_run(a, mp_format(a, HEAD "%s" TAIL, calls), precision).saved;
  mp_arena_free(a);
  return n;
}

static void activations_keep_their_input_or_their_result_once(void **state) {
  (void)state;
  static const char *const one[] = {"gelu", "silu", "relu", "sigmoid", "tanh", "exp", "sqrt", "sin", "log", "hardswish", "mish", "elu", "abs"};
  for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
    char call[64];
    snprintf(call, sizeof call, "call %s y a\n", one[i]);
    assert_int_equal(kept(call, "fp32"), 128);
  }
  assert_int_equal(kept("call neg y a\n", "fp32"), 0);
  assert_int_equal(kept("call floor y a\n", "fp32"), 0);
  assert_int_equal(kept("call pow y a 2.0\n", "fp32"), 128);
}

static void gelu_written_out_keeps_three_tensors(void **state) {
  (void)state;
  assert_int_equal(kept("call mul h a 0.5\ncall div d a 1.414\ncall erf f d\ncall add g f 1.0\ncall mul y h g\n", "fp32"), 3 * 128);
}

static void products_keep_what_the_other_gradient_needs(void **state) {
  (void)state;
  assert_int_equal(kept("call mul y a 2.0\n", "fp32"), 0);
  assert_int_equal(kept("call mul y a a\n", "fp32"), 128);
  assert_int_equal(kept("call sin b a\ncall mul y a b\n", "fp32"), 2 * 128); /* a, and b: sin keeps a too, once */
  assert_int_equal(kept("call mul y a x\n", "fp32"), 128);                   /* x, the input; x needs no gradient, so a is not kept */
  assert_int_equal(kept("call div y a 8.0\n", "fp32"), 0);
  assert_int_equal(kept("call div y x a\n", "fp32"), 2 * 128);
}

static void dropout_keeps_a_bool_mask_and_in_place_noise(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  test_run r = test_program_run(a, HEAD "call dropout y a 0.1 true\n" TAIL, "fp32");
  assert_int_equal(r.saved, 32);
  assert_int_equal(test_saved_what(&r, "mask"), 32);
  assert_int_equal(test_program_run(a, HEAD "call dropout y a 0.0 true\n" TAIL, "fp32").saved, 0);
  assert_int_equal(test_program_run(a, HEAD "call dropout y a 0.1 false\n" TAIL, "fp32").saved, 0);
  assert_int_equal(test_program_run(a, HEAD "call! dropout y a 0.1 true\n" TAIL, "fp32").saved, 128);
  mp_arena_free(a);
}

static void in_place_relu_shares_its_storage_and_silu_needs_a_copy(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  /* 4 bytes: the loss of the iteration before is held until this one's is there; beside it the sum */
  assert_int_equal(test_program_run(a, HEAD "call relu y a\n" TAIL, "fp32").forward, 2 * 128 + 4);
  assert_int_equal(test_program_run(a, HEAD "call! relu y a\n" TAIL, "fp32").forward, 128 + 4 + 4);
  test_run r = test_program_run(a, HEAD "call! silu y a\n" TAIL, "fp32");
  assert_int_equal(r.forward, 2 * 128 + 4 + 4);
  assert_int_equal(test_saved_what(&r, "copy"), 128);
  mp_arena_free(a);
}

static void backward_runs_the_formula_of_each_call(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  uint64_t ends = 4 + 4; /* the loss and its gradient, which sum's backward only expands */
  assert_int_equal(test_program_run(a, HEAD "call relu y a\n" TAIL, "fp32").backward, ends + 128 + 128);
  assert_int_equal(test_program_run(a, HEAD "call silu y a\n" TAIL, "fp32").backward, ends + 128 + 6 * 128);
  /* a sum over a dimension hands back a view, a mean a tensor (and sin then its cosine and its product) */
  assert_int_equal(test_program_run(a, HEAD "call sin b a\ncall sum y b [1]\n" TAIL, "fp32").backward, ends + 128 + 2 * 128);
  assert_int_equal(test_program_run(a, HEAD "call sin b a\ncall mean y b [1]\n" TAIL, "fp32").backward, ends + 128 + 3 * 128);
  mp_arena_free(a);
}

static void a_gradient_is_reduced_before_the_next_is_cast(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  /* h is half (64), w fp32: both products of the backward are fp32 (128 each); w's is summed to 32 bytes and goes before h's is cast to half (64) */
  const char *text = HEAD "p v float32 8 8\np w float32 8\ncall linear h a v none\ncall mul y w h\n" TAIL;
  uint64_t kept = 64 + 128 /* halves of a and v */ + 64 /* h */, at_products = 2 * 128, later = 128 + 32 + 64;
  assert_true(later < at_products);
  assert_int_equal(test_program_run(a, text, "amp-bf16").backward, 4 + 4 + kept + at_products + 32);
  mp_arena_free(a);
}

static void choices_keep_their_condition(void **state) {
  (void)state;
  assert_int_equal(kept("call where y m a x\n", "fp32"), 32);
  assert_int_equal(kept("call masked_fill y a m 0.0\n", "fp32"), 32);
  assert_int_equal(kept("call bitwise_not n m\ncall masked_fill y a n 0.0\n", "fp32"), 32); /* of a mask: a mask */
  assert_int_equal(kept("call clamp y a -1.0 1.0\n", "fp32"), 128);
}

static void autocast_runs_powers_in_fp32(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  /* linear keeps a half copy of a and, for a's gradient, one of its weight; pow keeps an fp32 copy of the half result */
  const char *text = HEAD "p w float32 8 8\ncall linear h a w none\ncall pow y h 2.0\n" TAIL;
  assert_int_equal(test_program_run(a, text, "amp-bf16").saved, 64 + 128 + 128);
  assert_int_equal(test_program_run(a, text, "bf16").saved, 64 + 64);
  mp_arena_free(a);
}

static void a_call_without_a_row_keeps_its_operands_and_is_named(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  test_run r = test_program_run(a, HEAD "call no_such_call y a\n" TAIL, "fp32");
  assert_int_equal(r.saved, 128);
  bool named = false;
  for (uint32_t i = 0; i < r.program->warning_count; i++) named = named || strstr(r.program->warnings[i], "no_such_call");
  assert_true(named);
  mp_arena_free(a);
}

static void names_are_found_with_overloads_and_in_their_second_form(void **state) {
  (void)state;
  assert_ptr_equal(mp_call_find("aten::add.Tensor"), mp_call_find("aten::add"));
  assert_ptr_equal(mp_call_find("aten::relu_"), mp_call_find("aten::relu"));
  assert_ptr_equal(mp_call_find("aten::multiply_.Scalar"), mp_call_find("aten::mul"));
  assert_null(mp_call_find("aten::no_such_call"));
  assert_null(mp_call_find("aten::ad"));
  for (uint32_t i = 0; i < mp_call_count(); i++) assert_string_equal(mp_call_find(mp_call_at(i)->name)->name, mp_call_at(i)->name);
}

/* einsum takes its operands two at a time; of one it is a permutation and sums, which keep nothing */
static void einsum_of_one_two_and_three(void **state) {
  (void)state;
  assert_int_equal(kept("call einsum y \"ij->ji\" (a)\n", "fp32"), 0);
  assert_int_equal(kept("call einsum y \"ij->i\" (a)\n", "fp32"), 0);
  assert_int_equal(kept("call einsum y \"ij,kj->ik\" (a,x)\n", "fp32"), 128);                   /* x, of which a's gradient is made */
  assert_int_equal(kept("call einsum y \"ij,kj,kl->il\" (a,x,x)\n", "fp32"), 128);              /* x, for both products; what they make needs no gradient of x */
  assert_int_equal(kept("call einsum y \"...j,kj->...k\" (a,x)\n", "fp32"), 128);               /* '...' stands for what is left */
  assert_int_equal(kept("call einsum z \"ij,kj,kl->il\" (a,a,a)\ncall neg y z\n", "fp32"), 128 + 64); /* a, and the 4 x 4 between */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(activations_keep_their_input_or_their_result_once),
      cmocka_unit_test(gelu_written_out_keeps_three_tensors),
      cmocka_unit_test(products_keep_what_the_other_gradient_needs),
      cmocka_unit_test(dropout_keeps_a_bool_mask_and_in_place_noise),
      cmocka_unit_test(in_place_relu_shares_its_storage_and_silu_needs_a_copy),
      cmocka_unit_test(backward_runs_the_formula_of_each_call),
      cmocka_unit_test(a_gradient_is_reduced_before_the_next_is_cast),
      cmocka_unit_test(choices_keep_their_condition),
      cmocka_unit_test(einsum_of_one_two_and_three),
      cmocka_unit_test(autocast_runs_powers_in_fp32),
      cmocka_unit_test(a_call_without_a_row_keeps_its_operands_and_is_named),
      cmocka_unit_test(names_are_found_with_overloads_and_in_their_second_form),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
