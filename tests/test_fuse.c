/* Attention that a file writes out, as one call of the kernel: two sequences of 4 tokens, 2 heads of 4. q, k and v stand for what projections made. */
#include "planner/fuse.h"
#include "support_program.h"
#include "support_recover.h"

#define QKV "in x float32 2 2 4 4\ncall relu q:2x2x4x4 x\ncall relu k:2x2x4x4 x\ncall relu v:2x2x4x4 x\ncall transpose kt:2x2x4x4 k -2 -1\ncall matmul s q kt\ncall mul t s 0.5\n"
#define REST(scores) "call softmax w " scores " -1\ncall dropout d w 0.1 true\ncall matmul y d v\ncall sum loss y\nout loss\n"
#define BEFORE "relu(x) relu(x) relu(x) transpose(%,-2,-1) "

static const mp_program *edited(mp_arena *a, const char *text, mp_attention kind) {
  mp_err err = {0};
  mp_run run = mp_run_default();
  run.attention = kind;
  run.loss = MP_LOSS_NONE;
  const mp_program *p = mp_program_edit(a, test_program(a, text), &run, &err);
  if (!p) fail_msg("%s", err.text);
  return p;
}

static void expect(const char *text, const char *calls) {
  mp_arena *a = mp_arena_new(0);
  assert_string_equal(test_calls_text(a, edited(a, text, MP_ATTN_SDPA)), calls);
  mp_arena_free(a);
}

static void written_attention_becomes_one_call(void **state) {
  (void)state;
  expect(QKV REST("t"), BEFORE "transpose(%,-2,-1) scaled_dot_product_attention(%,%,%,none,0.1,F,none,F) sum(%)");
  expect(QKV "call softmax w t -1\ncall type_as c w t\ncall dropout d c 0.1 false\ncall matmul y d v\ncall sum loss y\nout loss\n", /* in float32, and back to the type of the scores; no dropout acts */
         BEFORE "transpose(%,-2,-1) scaled_dot_product_attention(%,%,%,none,0,F,none,F) sum(%)");
}

/* what is added to the scores stays a mask where an input tells it or it is learnt */
static void a_mask_that_is_told_is_handed_on(void **state) {
  (void)state;
  expect("in m float32 2 1 1 4\n" QKV "call add u t m\n" REST("u"), BEFORE "transpose(%,-2,-1) scaled_dot_product_attention(%,%,%,m,0.1,F,none,F) sum(%)");
  expect("p bias float32 1 2 4 4\n" QKV "call add u t bias\n" REST("u"), BEFORE "transpose(%,-2,-1) scaled_dot_product_attention(%,%,%,bias,0.1,F,none,F) sum(%)");
  expect("in m bool 2 1 1 4\n" QKV "call masked_fill u t m -10000.0\n" REST("u"), BEFORE "transpose(%,-2,-1) logical_not(m) scaled_dot_product_attention(%,%,%,%,0.1,F,none,F) sum(%)");
}

/* where(visible, 0, least) is made once to be added: the kernel takes what is visible, and the sum's maker goes */
static void a_boolean_mask_stays_boolean(void **state) {
  (void)state;
  expect("in m bool 2 1 4 4\n" QKV "call where f:2x1x4x4 m 0.0 -10000.0\ncall add u t f\n" REST("u"), BEFORE "transpose(%,-2,-1) scaled_dot_product_attention(%,%,%,m,0.1,F,none,F) sum(%)");
}

static void a_mask_that_is_the_same_everywhere_goes(void **state) {
  (void)state;
  expect(QKV "call full e [1,1,4,1] 0 bool\ncall expand f:2x1x4x4 e [2,1,4,4]\ncall where m:2x1x4x4 f 0.0 -10000.0\ncall add u t m\n" REST("u"), BEFORE "transpose(%,-2,-1) scaled_dot_product_attention(%,%,%,none,0.1,F,none,F) sum(%)");
  expect("b slopes float32 1 2 1 4\n" QKV "call add u t slopes\n" REST("u"), BEFORE "transpose(%,-2,-1) scaled_dot_product_attention(%,%,%,slopes,0.1,F,none,F) sum(%)"); /* as ALiBi adds to the scores */
}

/* a comparison of positions, or a square table: is_causal, and what made the mask goes; with another mask the two are one */
static void a_mask_of_positions_is_causal(void **state) {
  (void)state;
  static const char compared[] = "call arange i:4 4 int64\ncall unsqueeze r:4x1 i 1\ncall le c:4x4 i r\n";
  mp_arena *a = mp_arena_new(0);
  const char *text = mp_format(a, "%s%s", compared, QKV "call where u c t -10000.0\n" REST("u"));
  assert_string_equal(test_calls_text(a, edited(a, text, MP_ATTN_FLASH)), BEFORE "transpose(%,-2,-1) scaled_dot_product_attention(%,%,%,none,0.1,T,none,F) sum(%)");
  expect("b triangle bool 4 4\n" QKV "call where u triangle t -10000.0\n" REST("u"), BEFORE "transpose(%,-2,-1) scaled_dot_product_attention(%,%,%,none,0.1,T,none,F) sum(%)");
  const mp_program *p = edited(a, "b triangle bool 4 4\nin m float32 2 1 1 4\n" QKV "call where u triangle t -10000.0\ncall add z u m\n" REST("z"), MP_ATTN_SDPA);
  assert_string_equal(test_calls_text(a, p), BEFORE "transpose(%,-2,-1) add(m,triangle) scaled_dot_product_attention(%,%,%,%,0.1,F,none,F) sum(%)");
  const mp_var *mask = &p->vars[p->calls[5].outs[0]];
  assert_int_equal(mask->rank, 4);
  assert_int_equal(mask->dims[0] * mask->dims[1] * mask->dims[2] * mask->dims[3], 2 * 1 * 4 * 4);
  mp_arena_free(a);
}

/* a kernel repeats the heads of keys and values itself, unless it has a mask */
static void repeated_heads_are_left_to_the_kernel(void **state) {
  (void)state;
  static const char grouped[] = "in x float32 2 2 4 4\nin few float32 2 1 4 4\nin m float32 2 1 1 4\ncall relu q:2x2x4x4 x\ncall relu k0:2x1x4x4 few\ncall unsqueeze k1:2x1x1x4x4 k0 2\ncall expand k2:2x1x2x4x4 k1 [2,1,2,4,4]\n"
                                "call reshape k:2x2x4x4 k2 [2,2,4,4]\ncall unsqueeze v1:2x1x1x4x4 k0 2\ncall expand v2:2x1x2x4x4 v1 [2,1,2,4,4]\ncall reshape v:2x2x4x4 v2 [2,2,4,4]\n"
                                "call transpose kt:2x2x4x4 k 2 3\ncall matmul s q kt\n%scall softmax w %s -1\ncall matmul y w v\ncall sum loss y\nout loss\n";
  mp_arena *a = mp_arena_new(0);
  assert_string_equal(test_calls_text(a, edited(a, mp_format(a, grouped, "", "s"), MP_ATTN_SDPA)), "relu(x) relu(few) scaled_dot_product_attention(%,%,%,none,0,F,none,T) sum(%)");
  const char *masked = test_calls_text(a, edited(a, mp_format(a, grouped, "call add u s m\n", "u"), MP_ATTN_SDPA));
  assert_non_null(strstr(masked, "scaled_dot_product_attention(%,%,%,m,0,F,none,F)"));
  assert_non_null(strstr(masked, "expand("));
  mp_arena_free(a);
}

/* probabilities that the model returns, and operands of rank 3, which no fused kernel takes */
static void what_cannot_be_one_call_stays(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  static const char *const texts[] = {QKV REST("t") "out w\n", "in x float32 2 4 4\ncall transpose kt x -2 -1\ncall bmm s x kt\ncall softmax w s -1\ncall bmm y w x\ncall sum loss y\nout loss\n"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    const mp_program *p = edited(a, texts[i], MP_ATTN_SDPA);
    assert_non_null(strstr(test_calls_text(a, p), "softmax("));
    assert_true(test_program_warned(p, "1 attentions stay written out"));
  }
  const mp_program *as_is = test_program(a, QKV REST("t"));
  mp_run run = mp_run_default();
  mp_err err;
  assert_ptr_equal(mp_program_edit(a, as_is, &run, &err), as_is); /* nothing is asked for */
  mp_arena_free(a);
}

/* The probabilities, 2 x 2 x 4 x 4 x 4 = 256 bytes, their dropout's result and its mask of 64 are not kept; what is: q, k, v and the result of 256 bytes each, log-sum-exp of 2 x 2 x 32 x 4,
 * two seeds of 8. Written out it is q, k, v, the softmax's result, dropout's result and mask; nothing needs y. */
static void the_kernel_keeps_no_probabilities(void **state) {
  (void)state;
  static const uint64_t saved[] = {5 * 256 + 64, 4 * 256 + 512 + 2 * 8};
  for (int kernel = 0; kernel < 2; kernel++) {
    mp_arena *a = mp_arena_new(0);
    mp_err err = {0};
    mp_run run = mp_run_default();
    run.attention = kernel ? MP_ATTN_SDPA : MP_ATTN_AS_EXPORTED;
    mp_plan plan = {0};
    const mp_program *p = edited(a, "p a float32 4 4\nin x float32 2 2 4 4\ncall linear q:2x2x4x4 x a none\ncall linear k:2x2x4x4 x a none\ncall linear v:2x2x4x4 x a none\ncall transpose kt:2x2x4x4 k -2 -1\ncall matmul s q kt\n" REST("s"), run.attention);
    const mp_tape *t = mp_tape_make(a, mp_trace_make(a, p, &run, &err), &run, &plan, &err);
    if (!t) fail_msg("%s", err.text);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < t->saved_count; i++) bytes += t->saved[i].bytes;
    assert_int_equal(bytes, saved[kernel] + 256); /* x, for the projections */
    mp_arena_free(a);
  }
}

/* The other way, --attention written-out: scores of 8 x 8. Autocast keeps the softmax's float32 result and the half copy that the product reads; a dropout has its mask and result in float32
 * between them. In pure half precision a decoder without dropout has the first two as well, others a half result. */
static void the_kernels_call_is_written_out(void **state) {
  (void)state;
  static const struct {
    const char *precision, *p, *causal;
    uint64_t bytes;
  } cases[] = {{"fp32", "0.0", "true", 256}, {"amp-bf16", "0.0", "false", 256 + 128}, {"amp-bf16", "0.1", "false", 256 + 64 + 128}, {"bf16", "0.0", "true", 256 + 128}, {"bf16", "0.0", "false", 128},
               {"bf16", "0.1", "true", 128 + 64 + 128}};
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    mp_arena *a = mp_arena_new(0);
    mp_err err = {0};
    mp_run run = mp_run_default();
    mp_plan plan = {0};
    run.attention = MP_ATTN_WRITTEN_OUT;
    for (int p = 0; p <= MP_BF16_MASTER; p++)
      if (!strcmp(mp_precision_name((mp_precision)p), cases[c].precision)) run.precision = (mp_precision)p;
    const char *text = mp_format(a, "in x float32 1 1 8 4\np a float32 4 4\ncall linear q x a none\ncall linear k x a none\ncall linear v x a none\n"
                                    "call scaled_dot_product_attention y q k v none %s %s none false\ncall sum loss y\nout loss\n", cases[c].p, cases[c].causal);
    const mp_tape *t = mp_tape_make(a, mp_trace_make(a, test_program(a, text), &run, &err), &run, &plan, &err);
    if (!t) fail_msg("%s", err.text);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < t->saved_count; i++) {
      int64_t n = 1;
      for (int d = 0; d < t->saved[i].rank; d++) n *= t->saved[i].dims[d];
      if (n == 64) bytes += t->saved[i].bytes;
    }
    if (bytes != cases[c].bytes) fail_msg("%s, dropout %s, causal %s: %llu", cases[c].precision, cases[c].p, cases[c].causal, (unsigned long long)bytes);
    mp_arena_free(a);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(written_attention_becomes_one_call), cmocka_unit_test(a_mask_that_is_told_is_handed_on), cmocka_unit_test(a_boolean_mask_stays_boolean), cmocka_unit_test(a_mask_that_is_the_same_everywhere_goes),
                                     cmocka_unit_test(a_mask_of_positions_is_causal), cmocka_unit_test(repeated_heads_are_left_to_the_kernel), cmocka_unit_test(what_cannot_be_one_call_stays),
                                     cmocka_unit_test(the_kernel_keeps_no_probabilities), cmocka_unit_test(the_kernels_call_is_written_out)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
