/* Convolutions, norms, pooling, reductions, losses, recurrent layers: bytes kept, counted by hand. */
#include "support_program.h"

static test_run run(mp_arena *a, const char *text, const char *precision) { return test_program_run(a, text, precision); }

/* an image of 2 * 3 * 8 * 8 elements, 1536 bytes in fp32 */
#define IMAGE "in x float32 2 3 8 8\np p float32 3 1 1\ncall add a x p\n"
#define SUM "call sum s y\nout s\n"

static void convolution_keeps_its_input(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const char *text = IMAGE "p w float32 5 3 3 3\np b float32 5\ncall conv2d y a w b [1,1] [1,1]\n" SUM;
  assert_int_equal(run(a, text, "fp32").saved, 1536);
  /* autocast: half copies of the input and of the weight (5 * 3 * 3 * 3 * 2 bytes) */
  assert_int_equal(run(a, text, "amp-bf16").saved, 768 + 270);
  /* an even kernel and "same": one row and one column are added first, and the copy is kept: 2 * 3 * 9 * 9 * 4 */
  assert_int_equal(run(a, IMAGE "p w float32 5 3 2 2\ncall conv2d y a w none [1,1] \"same\"\n" SUM, "fp32").saved, 1944);
  mp_arena_free(a);
}

/* A mask whose rows of 5 the kernel wants in steps of 8: a padded copy of 2 * 5 * 8 elements is kept, and its gradient is cut to the parameter's 5. */
static void attention_pads_its_mask_and_cuts_the_gradient(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const char *text = "in q float32 1 2 5 8\nin k float32 1 2 5 8\nin v float32 1 2 5 8\np m float32 2 5 5\ncall unsqueeze n m 0\ncall scaled_dot_product_attention y q k v n 0.0 false\n" SUM;
  /* q, k, v and the result: 320 bytes each; a log-sum-exp for 32 rows of both heads; seed and offset */
  assert_int_equal(run(a, text, "fp32").saved, 4 * 320 + 2 * 5 * 8 * 4 + 2 * 32 * 4 + 16);
  mp_arena_free(a);
}

/* One head of keys for two of queries: no fused kernel takes that unless it is told to group them. Kept are the scaled queries, keys for each head, the
 * probabilities and values for each head, in float32 whatever the operands are. Told so, keys and values are repeated. */
static void attention_broadcasts_heads_without_a_kernel(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const char *text =
      "in x float32 2 2 5 8\nin y float32 2 1 5 8\np a float32 8\ncall add q x a\ncall add k y a\ncall add v y a\ncall scaled_dot_product_attention z q k v none 0.0 false none %s\ncall sum s z\nout s\n";
  assert_int_equal(run(a, mp_format(a, text, "false"), "fp32").saved, 640 + 640 + 4 * 5 * 5 * 4 + 640);
  assert_int_equal(run(a, mp_format(a, text, "false"), "bf16").saved, 640 + 640 + 4 * 5 * 5 * 4 + 640);
  assert_int_equal(run(a, mp_format(a, text, "true"), "fp32").saved, 4 * 640 + 4 * 32 * 4 + 16);
  mp_arena_free(a);
}

static void normalisations_keep_input_and_statistics(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const char *batch = IMAGE "p w float32 3\np b float32 3\nb m float32 3\nb v float32 3\ncall batch_norm y a w b m v %s 0.1 0.00001 true\n" SUM;
  assert_int_equal(run(a, mp_format(a, batch, "true"), "fp32").saved, 1536 + 2 * 12);
  assert_int_equal(run(a, mp_format(a, batch, "false"), "fp32").saved, 1536);         /* cuDNN: no statistics */
  assert_int_equal(run(a, mp_format(a, batch, "false"), "bf16").saved, 768 + 2 * 12); /* the native kernel: fp32 ones */
  assert_int_equal(run(a, IMAGE "p w float32 3\np b float32 3\ncall group_norm y a 3 w b\n" SUM, "fp32").saved, 1536 + 2 * 2 * 3 * 4);
  assert_int_equal(run(a, IMAGE "call layer_norm y a [8,8] none none\n" SUM, "fp32").saved, 1536 + 2 * 6 * 4);
  /* instance norm repeats its weight for each image */
  assert_int_equal(run(a, IMAGE "p w float32 3\np b float32 3\ncall instance_norm y a w b none none true\n" SUM, "fp32").saved, 1536 + 3 * 6 * 4);
  mp_arena_free(a);
}

/* A Function of the model's own keeps what it is given, 1536 bytes. Its result is exp's, which exp (here with gradients) and the square keep: once. */
static void a_function_of_ones_own_keeps_what_it_is_given(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const char *text = IMAGE "call exp z a\ncall autograd::Function f z (a) 1\ncall mul y f f\n" SUM;
  assert_int_equal(run(a, text, "fp32").saved, 1536 + 1536);
  mp_arena_free(a);
}

/* Maps whose channels are innermost are joined into such: group_norm then keeps a copy in plain order (2 * 6 * 8 * 8 * 4 bytes) beside the joined ones, which the product keeps. With one
 * operand in plain order so is what is joined, and is kept once. */
static void cat_keeps_a_memory_format_that_all_operands_have(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const char *text = "in x float32 2 8 8 3\np p float32 3\np q float32 1 6 1 1\ncall add t x p\ncall permute m t [0,3,1,2]\ncall contiguous n m\ncall cat c (m,%s) 1\n"
                     "call group_norm g c 3 none none\ncall mul k c q\ncall add y g k\n" SUM;
  uint64_t statistics = 2 * 2 * 3 * 4, joined = 2 * 6 * 8 * 8 * 4;
  assert_int_equal(run(a, mp_format(a, text, "m"), "fp32").saved, joined + joined + statistics);
  assert_int_equal(run(a, mp_format(a, text, "n"), "fp32").saved, joined + statistics);
  mp_arena_free(a);
}

static void rms_norm_is_fused_unless_the_types_differ(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const char *text = "in x float32 4 8\np p float32 8\np w float32 8\ncall add a x p\ncall rms_norm y a [8] w\n" SUM;
  assert_int_equal(run(a, text, "fp32").saved, 128 + 16);
  assert_int_equal(run(a, text, "bf16").saved, 64 + 16);
  mp_arena_free(a);
}

/* w = g v / |v|: 5 norms, and w, which the convolution keeps; v and g are parameters; the image is the convolution's own */
static void weight_norm_keeps_its_norms(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const char *text = IMAGE "p v float32 5 3 3 3\np g float32 5 1 1 1\ncall _weight_norm_interface w v g 0\ncall conv2d y a w none [1,1] [1,1]\n" SUM;
  assert_int_equal(run(a, text, "fp32").saved, 1536 + 540 + 20);
  mp_arena_free(a);
}

static void pooling_keeps_int64_indices(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  test_run r = run(a, IMAGE "call max_pool2d y a [2,2]\n" SUM, "fp32");
  assert_int_equal(r.saved, 1536 + 2 * 3 * 4 * 4 * 8);
  assert_int_equal(test_saved_what(&r, "indices"), 768);
  assert_int_equal(run(a, IMAGE "call avg_pool2d y a [2,2]\n" SUM, "fp32").saved, 1536);
  assert_int_equal(run(a, IMAGE "call adaptive_avg_pool2d y a [1,1]\n" SUM, "fp32").saved, 0); /* a mean */
  assert_int_equal(run(a, IMAGE "call upsample_nearest2d y a [16,16]\n" SUM, "fp32").saved, 0);
  mp_arena_free(a);
}

static void reductions_keep_what_their_gradients_need(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define ROWS "in x float32 4 8\np p float32 8\ncall add a x p\n"
  assert_int_equal(run(a, ROWS "call mean y a [1]\n" SUM, "fp32").saved, 0);
  assert_int_equal(run(a, ROWS "call var y a [1] 1 false\n" SUM, "fp32").saved, 128);
  assert_int_equal(run(a, ROWS "call std y a [1] 1 false\n" SUM, "fp32").saved, 128 + 16);
  assert_int_equal(run(a, ROWS "call softmax y a -1\n" SUM, "fp32").saved, 128);
  assert_int_equal(run(a, ROWS "call amax y a [1]\n" SUM, "fp32").saved, 128 + 16);
  assert_int_equal(run(a, ROWS "call max y,i a 1\n" SUM, "fp32").saved, 4 * 8);
  assert_int_equal(run(a, ROWS "call topk y,i a 3 -1\n" SUM, "fp32").saved, 4 * 3 * 8);
  mp_arena_free(a);
}

/* logits of 4 rows and 10 classes: 160 bytes */
#define LOGITS "in x float32 4 10\nin t int64 4\np p float32 10\ncall add a x p\n"

static void cross_entropy_keeps_log_probabilities(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  assert_int_equal(run(a, LOGITS "call cross_entropy_loss y a t none 1 -100 0.0\nout y\n", "fp32").saved, 160 + 32 + 4);
  assert_int_equal(run(a, LOGITS "call log_softmax l a 1\ncall nll_loss y l t none 1 -100\nout y\n", "fp32").saved, 160 + 32 + 4);
  /* half logits under autocast: half log probabilities and an fp32 copy of them; the linear keeps half copies of a (80) and of its weight (200) */
  assert_int_equal(
      run(a, LOGITS "p w float32 10 10\ncall linear h a w none\ncall cross_entropy_loss y h t none 1 -100 0.0\nout y\n", "amp-bf16").saved,
      80 + 200 + 80 + 160 + 32 + 4);
  mp_arena_free(a);
}

static void losses_keep_both_operands(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define PAIR "in x float32 4 8\nin t float32 4 8\np p float32 8\ncall add a x p\n"
  assert_int_equal(run(a, PAIR "call mse_loss y a t 1\nout y\n", "fp32").saved, 2 * 128);
  assert_int_equal(run(a, PAIR "call l1_loss y a t 1\nout y\n", "fp32").saved, 128); /* the difference */
  assert_int_equal(run(a, PAIR "call binary_cross_entropy_with_logits y a t none none 1\nout y\n", "fp32").saved, 2 * 128);
  mp_arena_free(a);
}

static void embedding_keeps_its_indices_and_has_a_dense_gradient(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  test_run r = run(a, "in ids int64 4 5\np w float32 100 8\ncall embedding y w ids\n" SUM, "fp32");
  assert_int_equal(r.saved, 4 * 5 * 8);
  assert_int_equal(r.tape->gradient_bytes, 100 * 8 * 4);
  mp_arena_free(a);
}

/* A mixture of 3 experts, 6 rows of 8 features to 4 each: the rows and the groups' ends (int32), one matrix for each; a gradient of every expert. */
static void a_product_by_groups_keeps_its_rows_and_their_ends(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const char *text = "in x float32 6 8\nin ends int32 3\np a float32 8\np w float32 3 8 4\ncall add r x a\ncall cumsum o ends 0 int32\ncall _grouped_mm y r w o\n" SUM;
  test_run r = run(a, text, "fp32");
  assert_int_equal(r.saved, 6 * 8 * 4 + 3 * 4);
  assert_int_equal(r.tape->gradient_bytes, (8 + 3 * 8 * 4) * 4);
  assert_int_equal(run(a, text, "amp-bf16").saved, 6 * 8 * 4 + 3 * 4); /* autocast has no rule for it */
  mp_arena_free(a);
}

/* 5 steps of 2 rows, 3 features in, 4 hidden */
static void lstm_keeps_input_states_output_and_a_reserve(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  test_run r = run(a,
                   "in x float32 5 2 3\np p float32 3\np w float32 16 3\np u float32 16 4\np b float32 16\np c float32 16\ncall add a x p\n"
                   "call lstm y,h,k a none (w,u,b,c) true 1 0.0 true false false\n" SUM,
                   "fp32");
  uint64_t input = 5 * 2 * 3 * 4, output = 5 * 2 * 4 * 4, states = 2 * 2 * 4 * 4, reserve = 5 * 2 * 4 * (4 + 2) * 4;
  assert_int_equal(r.saved, input + output + states + reserve);
  assert_int_equal(r.tape->gradient_bytes, (3 + 16 * 3 + 16 * 4 + 16 + 16) * 4);
  mp_arena_free(a);
}

static void wrong_calls_are_refused_with_a_line(void **state) {
  (void)state;
  static const char *const wrong[] = {
      IMAGE "p w float32 5 3 9 9\ncall conv2d y a w none\n" SUM,       /* a kernel larger than the input */
      IMAGE "p w float32 5 3 3 3\ncall conv2d y a w none [0,0]\n" SUM, /* a stride of 0 */
      IMAGE "call conv2d y a none none\n" SUM,
      IMAGE "call mean y a [7]\n" SUM,
      IMAGE "call pixel_shuffle y a 0\n" SUM,
      IMAGE "call channel_shuffle y\n" SUM,
      IMAGE "p w float32 5\ncall mul y a w\n" SUM, /* 8 and 5 do not broadcast */
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    mp_arena *a = mp_arena_new(0);
    mp_run r = mp_run_default();
    mp_err err = {0};
    assert_null(mp_trace_make(a, test_program(a, wrong[i]), &r, &err));
    assert_int_equal(err.code, MP_BAD_INPUT);
    assert_non_null(strstr(err.text, "aten::"));
    mp_arena_free(a);
  }
}

/* autocast keeps the half copy of a weight that trains, under no_grad, too: both are there when the second layer runs */
static void autocast_caches_weights_without_gradients(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_run run = mp_run_default();
  mp_plan plan = {0};
  mp_err err = {0};
  run.infer = true;
  run.precision = MP_AMP_BF16;
  const mp_program *p = test_program(a, "in x float32 1 64\np u float32 64 64\np w float32 64 64\ncall linear y x u none\ncall linear z y w none\nout z\n");
  const mp_tape *t = mp_tape_make(a, mp_trace_make(a, p, &run, &err), &run, &plan, &err);
  assert_non_null(t);
  uint64_t now = 0, most = 0;
  for (uint32_t i = 0; i < t->step_count; i++) {
    const mp_step *s = &t->steps[i];
    if (s->bytes != 64 * 64 * 2) continue;
    if (s->kind == MP_ALLOC) now++;
    if (s->kind == MP_FREE) now--;
    if (now > most) most = now;
  }
  assert_int_equal(most, 2);
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(autocast_caches_weights_without_gradients), cmocka_unit_test(convolution_keeps_its_input),
      cmocka_unit_test(attention_pads_its_mask_and_cuts_the_gradient),
      cmocka_unit_test(attention_broadcasts_heads_without_a_kernel),
      cmocka_unit_test(normalisations_keep_input_and_statistics),
      cmocka_unit_test(a_function_of_ones_own_keeps_what_it_is_given),
      cmocka_unit_test(cat_keeps_a_memory_format_that_all_operands_have),
      cmocka_unit_test(rms_norm_is_fused_unless_the_types_differ),
      cmocka_unit_test(weight_norm_keeps_its_norms),
      cmocka_unit_test(pooling_keeps_int64_indices),
      cmocka_unit_test(reductions_keep_what_their_gradients_need),
      cmocka_unit_test(cross_entropy_keeps_log_probabilities),
      cmocka_unit_test(losses_keep_both_operands),
      cmocka_unit_test(embedding_keeps_its_indices_and_has_a_dense_gradient),
      cmocka_unit_test(a_product_by_groups_keeps_its_rows_and_their_ends),
      cmocka_unit_test(lstm_keeps_input_states_output_and_a_reserve),
      cmocka_unit_test(wrong_calls_are_refused_with_a_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
