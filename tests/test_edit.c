/* What a run asks for and the file lacks: a loss behind logits, dropout, adapters. (Attention in one kernel: test_fuse.c.) */
#include "planner/inside.h"
#include "planner/reading.h"
#include "support_base.h"
#include "support_program.h"
#include "support_recover.h"

static const mp_program *edited(mp_arena *a, const char *drawing, const mp_run *run) {
  mp_err err;
  const mp_program *p = mp_program_edit(a, test_recovered(a, drawing), run, &err);
  if (!p) fail_msg("%s", err.text);
  return p;
}

static const char logits[] = "x: float[2,4]; fc.weight = float[3,4]; y = Gemm(x, fc.weight) transB=1 name=\"/fc/Gemm\"; -> y";

static void a_loss_is_put_behind_logits(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_run run = mp_run_default();
  const mp_program *p = edited(a, logits, &run);
  assert_string_equal(test_calls_text(a, p), "linear(x,fc.weight) cross_entropy_loss(%,labels,none,1,-100,0)");
  assert_true(test_program_warned(p, "no loss"));
  assert_int_equal(p->input_count, 2);
  assert_int_equal(p->vars[p->inputs[1]].rank, 1);
  assert_int_equal(p->vars[p->outputs[0]].rank, 0);
  run.loss = MP_LOSS_SUM;
  assert_string_equal(test_calls_text(a, edited(a, logits, &run)), "linear(x,fc.weight) sum(%)");
  run.loss = MP_LOSS_MSE;
  assert_string_equal(test_calls_text(a, edited(a, logits, &run)), "linear(x,fc.weight) mse_loss(%,target,1)");
  run.loss = MP_LOSS_NONE;
  assert_string_equal(test_calls_text(a, edited(a, logits, &run)), "linear(x,fc.weight)");
  mp_arena_free(a);
}

/* after the embedding, on probabilities, on what is added to the residual stream */
static void dropout_goes_where_a_block_has_it(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_run run = mp_run_default();
  run.dropout = 0.1;
  run.loss = MP_LOSS_SUM;
  const char *block =
      "ids: int64[2,3]; e = float[10,8]; o.weight = float[8,8]; t = Transpose(o.weight) perm=[1,0] name=\"/h.0/o/Transpose\";"
      "x = Gather(e, ids) name=\"/wte/Gather\"; k = Transpose(x) perm=[0,2,1] name=\"/h.0/Transpose\"; s = MatMul(x, k) name=\"/h.0/MatMul\";"
      "p = Softmax(s) axis=-1 name=\"/h.0/Softmax\"; v = MatMul(p, x) name=\"/h.0/MatMul_1\"; m = MatMul(v, t) name=\"/h.0/o/MatMul\";"
      "y = Add(m, x) name=\"/h.0/Add\"; -> y";
  const mp_program *p = edited(a, block, &run);
  assert_string_equal(test_calls_text(a, p),
                      "embedding(e,ids) dropout(%,0.1,T) transpose(%,1,2) matmul(%,%) softmax(%,-1,none) dropout(%,0.1,T) matmul(%,%) "
                      "linear(%,o.weight) dropout(%,0.1,T) add(%,%) sum(%)");
  assert_true(test_program_warned(p, "3 places"));
  assert_string_equal(p->instances[p->calls[8].module].path, "h.0");
  mp_arena_free(a);
}

static const mp_program *edited_text(mp_arena *a, const char *text, const mp_run *run) {
  mp_err err;
  mp_program inference = *test_program(a, text);
  inference.training = false;
  const mp_program *p = mp_program_edit(a, &inference, run, &err);
  if (!p) fail_msg("%s", err.text);
  return p;
}

static uint32_t count_calls(const mp_program *p, const char *name) {
  uint32_t n = 0;
  for (uint32_t c = 0; c < p->call_count; c++) n += mp_call_is(&p->calls[c], name);
  return n;
}

/* XGLM and DeBERTa turn the probabilities into (batch * heads, queries, keys) behind the dropout, XLNet's product is an einsum */
static void dropout_goes_on_probabilities_before_their_views(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_run run = mp_run_default();
  run.dropout = 0.1;
  run.loss = MP_LOSS_SUM;
#define SCORES "in s float32 2 3 4 4\nin v float32 6 4 8\nin w float32 2 3 4 8\ncall mul vs v 2.0\ncall mul ws w 2.0\ncall softmax p s -1\n"
  static const char *const products[] = {SCORES "call reshape r p [6,4,4]\ncall matmul y:6x4x8 r vs\nout y\n", SCORES "call einsum y:2x3x4x8 \"bnij,bnjd->bnid\" (p,ws)\nout y\n"};
  for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
    const mp_program *p = edited_text(a, products[i], &run);
    assert_int_equal(count_calls(p, "aten::dropout"), 1);
    assert_true(mp_call_is(&p->calls[3], "aten::dropout")); /* the two values, the softmax, then it */
  }
  mp_arena_free(a);
}

/* A model that predicts the next token: transformers' loss is of float32 logits and shifted labels. A decoder behind an encoder has labels of its own, and its
 * tokens may be made of the encoder's. */
static void the_loss_of_a_decoder_alone_is_shifted(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_run run = mp_run_default();
#define HEAD "call linear logits:2x4x16 h table none\nout logits\n"
#define IDS "in ids int64 2 4\np table float32 16 8\nb triangle float32 1 1 4 4\ncall embedding x table ids\n"
#define SELF "call view q x [2,4,2,4]\ncall transpose t q 1 2\ncall transpose k t 2 3\ncall matmul s:2x2x4x4 t k\ncall slice m triangle 2 none 4\ncall mul f s m\ncall softmax p f -1\ncall matmul o p t\ncall transpose u o 1 2\ncall reshape h u [2,4,8]\n"
  const mp_program *alone = edited_text(a, IDS SELF HEAD, &run);
  assert_int_equal(count_calls(alone, "aten::pad"), 1);
  const mp_program *behind = edited_text(a, IDS "call roll turned ids [1] [1]\ncall embedding z table turned\n" SELF HEAD, &run);
  assert_int_equal(count_calls(behind, "aten::pad"), 0);
  mp_arena_free(a);
}

static void lora_adds_two_products(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_run run = mp_run_default();
  run.lora_rank = 2;
  run.loss = MP_LOSS_SUM;
  const mp_program *p = edited(a, logits, &run);
  assert_string_equal(test_calls_text(a, p),
                      "linear(x,fc.weight) type_as(x,fc.lora_A.default.weight) linear(%,fc.lora_A.default.weight) linear(%,fc.lora_B.default.weight) mul(%,2) add(%,%) sum(%)");
  assert_int_equal(test_var_named(p, "fc.lora_A.default.weight")->dims[0], 2);
  assert_int_equal(test_var_named(p, "fc.lora_B.default.weight")->dims[0], 3);
  mp_err err;
  mp_plan plan = {0};
  const mp_timeline *t = mp_timeline_make(a, mp_tape_make(a, mp_trace_make(a, p, &run, &err), &run, &plan, &err), &err);
  assert_non_null(t);
  assert_int_equal(t->gradient_bytes, 4 * (2 * 4 + 3 * 2)); /* A and B alone */
  assert_int_equal(p->vars[p->calls[1].outs[0]].dies, 5); /* x, cast: peft's variable until the sum */
  assert_int_equal(p->calls[2].macs, 2 * 4 * 2);            /* rows x in x rank */
  run.lora_glob = "attn*";
  assert_null(mp_program_edit(a, test_recovered(a, logits), &run, &err));
  assert_int_equal(err.code, MP_BAD_INPUT);
  mp_arena_free(a);
}

/* The head is as large as the table of tokens and gets no adapter. fc is as large as the table of positions, which the model counts itself. */
static void lora_leaves_heads_and_attention_alone(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_run run = mp_run_default();
  run.lora_rank = 2;
  run.loss = MP_LOSS_SUM;
  const mp_program *p = edited(a, "ids: int64[2,3]; wte.weight = float[10,4]; wpe.weight = float[3,4]; fc.weight = float[3,4];"
                                  "i = int64[3]{0,1,2}; e = Gather(wte.weight, ids) name=\"/wte/Gather\"; q = Gather(wpe.weight, i) name=\"/wpe/Gather\"; x = Add(e, q) name=\"/Add\";"
                                  "t = Transpose(fc.weight) perm=[1,0] name=\"/fc/Transpose\"; y = MatMul(x, t) name=\"/fc/MatMul\"; -> y", &run);
  assert_non_null(strstr(test_calls_text(a, p), "fc.lora_A.default.weight"));
  p = edited(a, "ids: int64[2,3]; wte.weight = float[10,4]; head.weight = float[10,4]; fc.weight = float[4,4]; x = Gather(wte.weight, ids) name=\"/wte/Gather\";"
                "s = Transpose(fc.weight) perm=[1,0] name=\"/fc/Transpose\"; h = MatMul(x, s) name=\"/fc/MatMul\";"
                "t = Transpose(head.weight) perm=[1,0] name=\"/head/Transpose\"; y = MatMul(h, t) name=\"/head/MatMul\"; -> y", &run);
  assert_non_null(strstr(test_calls_text(a, p), "fc.lora_B.default.weight"));
  assert_null(strstr(test_calls_text(a, p), "head.lora_B.default.weight"));
  p = edited(a, "ids: int64[2,3]; kind: int64[2,3]; wte.weight = float[10,4]; type.weight = float[2,4]; qa.weight = float[2,4]; e = Gather(wte.weight, ids) name=\"/wte/Gather\";"
                "k = Gather(type.weight, kind) name=\"/type/Gather\"; x = Add(e, k) name=\"/Add\"; t = Transpose(qa.weight) perm=[1,0] name=\"/qa/Transpose\"; y = MatMul(x, t) name=\"/qa/MatMul\"; -> y", &run);
  assert_non_null(strstr(test_calls_text(a, p), "qa.lora_B.default.weight")); /* as large as a table, not as that of the tokens */
  p = edited(a, "x: float[2,4]; a.in_proj_weight = float[12,4]; a.out_proj.weight = float[3,12]; out_proj.weight = float[5,3]; h = Gemm(x, a.in_proj_weight) transB=1 name=\"/a/Gemm\";"
                "o = Gemm(h, a.out_proj.weight) transB=1 name=\"/a/Gemm_1\"; y = Gemm(o, out_proj.weight) transB=1 name=\"/out_proj/Gemm\"; -> y", &run);
  assert_string_equal(test_calls_text(a, p), "linear(x,a.in_proj_weight) linear(%,a.out_proj.weight) linear(%,out_proj.weight) type_as(%,out_proj.lora_A.default.weight) "
                                             "linear(%,out_proj.lora_A.default.weight) linear(%,out_proj.lora_B.default.weight) mul(%,2) add(%,%) sum(%)"); /* none in nn.MultiheadAttention */
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_loss_is_put_behind_logits), cmocka_unit_test(dropout_goes_where_a_block_has_it), cmocka_unit_test(dropout_goes_on_probabilities_before_their_views),
                                     cmocka_unit_test(the_loss_of_a_decoder_alone_is_shifted), cmocka_unit_test(lora_adds_two_products), cmocka_unit_test(lora_leaves_heads_and_attention_alone)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
