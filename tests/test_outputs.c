/* What a loop holds that keeps the model's outputs: drawings of a decoder, an encoder and both, with the bytes that are alive while the optimizer steps, counted by hand. */
#include "planner/outputs.h"
#include "support_program.h"

/* Two sequences of 4 tokens, 8 features in 2 heads of 4: every tensor of hidden states takes 2 x 4 x 8 x 4 = 256 bytes. */
#define HIDDEN 256

#define ATTENTION(n, q, kv, causal)                                                                                                                                   \
  "call linear q" n " " q " w none\ncall view qs" n " q" n " [2,4,2,4]\ncall transpose qt" n " qs" n " 1 2\n"                                                          \
  "call linear k" n " " kv " w none\ncall view ks" n " k" n " [2,4,2,4]\ncall transpose kt" n " ks" n " 1 2\n"                                                         \
  "call linear v" n " " kv " w none\ncall view vs" n " v" n " [2,4,2,4]\ncall transpose vt" n " vs" n " 1 2\n"                                                         \
  "call scaled_dot_product_attention a" n " qt" n " kt" n " vt" n " none 0.0 " causal "\ncall transpose at" n " a" n " 1 2\ncall reshape o" n " at" n " [2,4,8]\n"
#define LOSS(x) "call linear logits " x " head none\ncall view flat logits [8,10]\ncall cross_entropy_loss loss flat labels\nout loss\n"
#define INPUTS "in ids int64 2 4\nin labels int64 8\np table float32 16 8\np w float32 8 8\np head float32 10 8\ncall embedding x table ids\n"

static const char decoder[] = INPUTS ATTENTION("1", "x", "x", "true") LOSS("o1");
static const char encoder[] = INPUTS ATTENTION("1", "x", "x", "false") LOSS("o1");
static const char both[] = INPUTS "in more int64 2 4\ncall embedding y table more\n" ATTENTION("1", "x", "x", "false") ATTENTION("2", "y", "y", "true") ATTENTION("3", "o2", "o1", "false") LOSS("o3");
/* scores written out, with a square mask among the buffers */
static const char written[] = INPUTS "b triangle bool 4 4\nb least float32 1\n"
                                     "call linear k x w none\ncall view ks k [2,4,2,4]\ncall transpose kt ks 1 2\ncall transpose kk kt 2 3\ncall matmul s kt kk\n"
                                     "call where f triangle s least\ncall softmax p f -1\ncall matmul a2 p kt\ncall transpose at a2 1 2\ncall reshape o at [2,4,8]\n" LOSS("o");

/* bytes that calls made and that are alive when the last step begins, the loss left out */
static uint64_t held(mp_arena *a, const char *text, mp_hold hold) {
  mp_err err;
  mp_run run = mp_run_default();
  run.hold_outputs = hold;
  const mp_program *p = mp_program_edit(a, test_program(a, text), &run, &err);
  const mp_tape *t = mp_tape_make(a, mp_trace_make(a, p, &run, &err), &run, NULL, &err);
  if (!t) fail_msg("%s", err.text);
  uint64_t *bytes = mp_alloc_array(a, t->instance_count + 1, sizeof *bytes), sum = 0;
  for (uint32_t i = 0; i < t->step_count; i++) {
    const mp_step *s = &t->steps[i];
    if (s->kind == MP_PHASE && s->phase == MP_STEP && s->iteration == 2) break;
    bool made = s->category == MP_CAT_ACTIVATION || s->category == MP_CAT_SAVED;
    if (s->kind == MP_ALLOC || s->kind == MP_BECOME) bytes[s->id] = made ? s->bytes : 0;
    if (s->kind == MP_FREE) bytes[s->id] = 0;
  }
  for (uint32_t i = 0; i < t->instance_count; i++) sum += bytes[i];
  return sum - sizeof(float);
}

enum { LOGITS = 8 * 10 * 4 };

static void logits_live_until_the_next_ones(void **state) {
  assert_int_equal(held(*state, decoder, MP_HOLD_NOTHING), 0);
  assert_int_equal(held(*state, decoder, MP_HOLD_LOGITS), LOGITS);
  assert_int_equal(held(*state, encoder, MP_HOLD_LOGITS), LOGITS);
}

static void a_decoder_returns_keys_and_values(void **state) {
  assert_int_equal(held(*state, decoder, MP_HOLD_CACHE), LOGITS + 2 * HIDDEN);     /* copies */
  assert_int_equal(held(*state, decoder, MP_HOLD_OLD_CACHE), LOGITS + 2 * HIDDEN); /* what the projections made */
  assert_int_equal(held(*state, encoder, MP_HOLD_CACHE), LOGITS);                  /* an encoder has none */
}

static void of_an_encoder_and_a_decoder_only_the_decoder(void **state) {
  assert_int_equal(held(*state, both, MP_HOLD_CACHE), LOGITS + 4 * HIDDEN); /* its own layer and the one that reads the encoder */
}

static void keys_are_found_behind_scores(void **state) {
  assert_int_equal(held(*state, written, MP_HOLD_CACHE), LOGITS + HIDDEN); /* here keys and values are one tensor */
}

/* The copies are what attention reads, so autograd keeps them instead of what the projections made. */
static void copies_are_what_is_saved(void **state) {
  mp_err err;
  mp_run run = mp_run_default();
  uint64_t saved[2];
  for (int i = 0; i < 2; i++) {
    run.hold_outputs = i ? MP_HOLD_CACHE : MP_HOLD_LOGITS;
    const mp_program *p = mp_program_edit(*state, test_program(*state, decoder), &run, &err);
    const mp_timeline *t = mp_timeline_make(*state, mp_tape_make(*state, mp_trace_make(*state, p, &run, &err), &run, NULL, &err), &err);
    if (!t) fail_msg("%s", err.text);
    saved[i] = t->saved_bytes;
  }
  assert_int_equal(saved[0], saved[1]);
}

static int new_arena(void **state) { return !(*state = mp_arena_new(0)); }
static int free_arena(void **state) { return mp_arena_free(*state), 0; }

/* folded at export: contents tell a causal mask from one that hides nothing, and from a window to both sides */
static void a_folded_mask_tells_whether_it_is_causal(void **state) {
  (void)state;
  mp_int dims[] = {{.n = 1}, {.n = 3}, {.n = 3}};
  static const uint8_t seen[] = {1, 0, 0, 1, 1, 0, 1, 1, 1}, hidden[] = {0, 1, 1, 0, 0, 1, 0, 0, 0}, all[] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, band[] = {1, 1, 0, 1, 1, 1, 0, 1, 1};
  static const float added[] = {0, -1e9F, -1e9F, 0, 0, -1e9F, 0, 0, 0}, weight[] = {0.1F, -0.2F, 0, 0, 0, 0, 0, 0, 0};
  static const struct {
    mp_dtype dtype;
    const void *raw;
    bool causal;
  } masks[] = {{MP_BOOL, seen, true}, {MP_BOOL, hidden, true}, {MP_BOOL, all, false}, {MP_BOOL, band, false}, {MP_FLOAT, added, true}, {MP_FLOAT, weight, false}, {MP_FLOAT, NULL, false}};
  for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
    mp_value v = {.kind = MP_VALUE_INITIALIZER, .dtype = masks[i].dtype, .rank = 3, .dims = dims, .raw = masks[i].raw};
    assert_int_equal(mp_is_triangle(&v), masks[i].causal);
    v.kind = MP_VALUE_NODE;
    assert_false(mp_is_triangle(&v));
  }
  mp_value empty = {.kind = MP_VALUE_INITIALIZER, .dtype = MP_BOOL, .rank = 3, .dims = (mp_int[]){{.n = 0}, {.n = 3}, {.n = 3}}, .raw = (const uint8_t *)""};
  assert_false(mp_is_triangle(&empty));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, new_arena, free_arena)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(logits_live_until_the_next_ones), TEST(a_decoder_returns_keys_and_values), TEST(of_an_encoder_and_a_decoder_only_the_decoder),
      TEST(keys_are_found_behind_scores),    TEST(copies_are_what_is_saved),
      cmocka_unit_test(a_folded_mask_tells_whether_it_is_causal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
