/* Reversible modules: which calls are seen to be invertible, and the bytes that a chain of such modules keeps, by hand. */
#include "planner/checkpointing.h"
#include "planner/invertible.h"
#include "support_program.h"

/* ---- which are invertible ---- */

static const mp_inverse *inverse(mp_arena *a, const char *module) {
  const mp_program *p = test_program(a, mp_format(a, "in x float32 2 4 4 4\np w float32 2 2 3 3\np one float32 4 4 1 1\np three float32 4 4 3 3\np s float32 4 1 1\ncall neg z:2x4x4x4 x\nmodule m\n%s"
                                                     "module\ncall sum loss y\nout loss\n", module));
  for (uint32_t i = 1; i < p->instance_count; i++)
    if (!strcmp(p->instances[i].path, "m")) return mp_inverse_find(a, p, p->instances[i].first, p->instances[i].end);
  fail_msg("no module m");
  return NULL;
}

#define WHOLE ":2x4x4x4"
#define HALF ":2x2x4x4"
#define HALVES "call split a" HALF ",b" HALF " z 2 1\n"
#define NET "call conv2d f" HALF " a w none [1,1] [1,1]\ncall relu t" HALF " f\n"

static void couplings_are_invertible(void **state) {
  static const char *const modules[] = {
      HALVES NET "call add c" HALF " b t\ncall cat y" WHOLE " (a,c) 1\n",                                           /* additive, as RevNet */
      HALVES NET "call sigmoid g" HALF " t\ncall add d" HALF " b t\ncall mul c" HALF " d g\ncall cat y" WHOLE " (a,c) 1\n",         /* affine, as Glow */
      "call slice a" HALF " z 1 0 2 1\ncall slice b" HALF " z 1 2 4 1\n" NET "call sub c" HALF " b t\ncall cat y" WHOLE " (a,c) 1\n", /* the halves as exporters write them */
      "call mul n" WHOLE " z s\ncall conv2d y" WHOLE " n one none\n",                                                /* a scale and a 1x1 convolution */
      "call transpose n" WHOLE " z 1 2\ncall mul y" WHOLE " n 2.0\n",
  };
  for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
    const mp_inverse *x = inverse(*state, modules[i]);
    if (x->why) fail_msg("module %zu: %s", i, x->why);
    assert_int_equal(x->rebuilt_count, 1);
    assert_int_equal(x->output_count, 1);
  }
}

static void other_modules_are_not(void **state) {
  static const char *const modules[] = {
      "call conv2d f" WHOLE " z three none [1,1] [1,1]\ncall add y" WHOLE " z f\n", /* a residual block of one stream */
      "call relu y" WHOLE " z\n",
      "call conv2d y" WHOLE " z three none [1,1] [1,1]\n",
      HALVES NET "call add c" HALF " b t\ncall clone y" HALF " c\n",              /* half of what it was given is lost */
      HALVES NET "call mul c" HALF " t t\ncall cat y" WHOLE " (a,c) 1\n",
      "call slice a" HALF " z 1 0 2 1\ncall slice b:2x1x4x4 z 1 3 4 1\ncall cat y:2x3x4x4 (a,b) 1\n", /* a row is left out */
  };
  for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
    if (!inverse(*state, modules[i])->why) fail_msg("module %zu is taken to be invertible", i);
}

/* RevNet's two streams: y1 = x1 + F(x2), y2 = x2 + G(y1) */
static void two_streams_follow_from_one_another(void **state) {
  const mp_program *p = test_program(*state, "in a float32 2 8\np f float32 8 8\np g float32 8 8\ncall neg x1:2x8 a\ncall exp x2:2x8 a\nmodule m\n"
                                             "call linear u:2x8 x2 f none\ncall add y1:2x8 x1 u\ncall linear v:2x8 y1 g none\ncall add y2:2x8 x2 v\nmodule\ncall add o y1 y2\ncall sum loss o\nout loss\n");
  const mp_inverse *x = mp_inverse_find(*state, p, 2, 6);
  if (x->why) fail_msg("%s", x->why);
  assert_int_equal(x->rebuilt_count, 2);
  assert_int_equal(x->output_count, 2);
}

/* ---- what they keep ---- */

/* n blocks of additive coupling on 4 x 64: each half is 4 x 32 x 4 = 512 bytes, a whole 1024. */
static const char *chain(mp_arena *a, int n) {
  mp_text t = {0};
  mp_text_add(a, &t, "in x float32 4 64\n");
  for (int i = 0; i < n; i++) mp_text_add(a, &t, "p w%d float32 32 32\n", i);
  mp_text_add(a, &t, "p w float32 64 64\np v float32 8 64\ncall linear z0:4x64 x w none\n");
  for (int i = 0; i < n; i++)
    mp_text_add(a, &t, "module block.%d\nflops 1000\ncall split a%d:4x32,b%d:4x32 z%d 32 1\ncall linear f%d:4x32 a%d w%d none\ncall tanh t%d:4x32 f%d\ncall add c%d:4x32 b%d t%d\ncall cat z%d:4x64 (a%d,c%d) 1\n", i, i, i, i, i, i,
                i, i, i, i, i, i, i + 1, i, i);
  mp_text_add(a, &t, "module\nflops 0\ncall linear y z%d v none\ncall sum loss y\nout loss\n", n);
  return t.at;
}

static const mp_timeline *line(mp_arena *a, const char *text, const char *checkpoint, const char *invertible, mp_err *err) {
  mp_run run = mp_run_default();
  run.optimizer = NULL;
  const mp_plan plan = {.checkpoint = &checkpoint, .checkpoints = checkpoint ? 1 : 0, .invertible = &invertible, .invertibles = invertible ? 1 : 0};
  return mp_timeline_make(a, mp_tape_make(a, mp_trace_make(a, test_program(a, text), &run, err), &run, &plan, err), err);
}

static const mp_timeline *timeline(mp_arena *a, const char *text, const char *checkpoint, const char *invertible) {
  mp_err err = {0};
  const mp_timeline *l = line(a, text, checkpoint, invertible, &err);
  if (!l) fail_msg("%s", err.text);
  return l;
}

static void memory_does_not_grow_with_depth(void **state) {
  mp_arena *a = *state;
  for (int n = 2; n <= 16; n *= 2) {
    const mp_timeline *plain = timeline(a, chain(a, n), NULL, NULL), *kept = timeline(a, chain(a, n), "block.*", NULL), *rebuilt = timeline(a, chain(a, n), NULL, "block.*");
    assert_int_equal(plain->saved_bytes, 1024 + (uint64_t)n * (1024 + 512) + 1024); /* x; each block's halves, of one storage, and its tanh; z for the last product */
    assert_int_equal(kept->saved_bytes, 1024 + (uint64_t)n * 1024 + 1024);          /* each block's input */
    assert_int_equal(rebuilt->saved_bytes, 1024 + 1024);                            /* x, and what the last block gave */
    assert_int_equal(rebuilt->flops_recompute, 2 * 5000 * (uint64_t)n);             /* the inverse and the block again: five calls of 1000 */
    assert_int_equal(kept->flops_recompute, (5000 - 2000) * (uint64_t)n);           /* up to the tanh, the last that saves */
    assert_true(rebuilt->peak.allocated <= kept->peak.allocated || n < 4);
  }
}

/* the most that is alive in backward, parameters and gradients apart, is the same at any depth */
static void backward_holds_one_block(void **state) {
  uint64_t peaks[2];
  for (int i = 0; i < 2; i++) {
    const mp_timeline *l = timeline(*state, chain(*state, i ? 24 : 6), NULL, "auto");
    peaks[i] = l->peak.allocated - l->peak.by[MP_CAT_PARAMETER] - l->peak.by[MP_CAT_GRADIENT];
  }
  assert_int_equal(peaks[0], peaks[1]);
}

static void what_is_not_invertible_is_refused(void **state) {
  mp_arena *a = *state;
  mp_err err = {0};
  const char *residual = "in x float32 4 8\np w float32 8 8\ncall neg z:4x8 x\nmodule block.0\ncall linear f:4x8 z w none\ncall add y:4x8 z f\nmodule\ncall sum loss y\nout loss\n";
  assert_null(line(a, residual, NULL, "block.*", &err));
  assert_int_equal(err.code, MP_BAD_INPUT);
  assert_non_null(strstr(err.text, "block.0 is not invertible: 'z' does not follow"));
  assert_null(line(a, residual, NULL, "auto", &err));
  assert_non_null(strstr(err.text, "no module"));
  assert_null(line(a, chain(a, 2), NULL, "blok.*", &err));
  assert_non_null(strstr(err.text, "matches no module"));
}

static int new_arena(void **state) { return !(*state = mp_arena_new(0)); }
static int free_arena(void **state) { return mp_arena_free(*state), 0; }

#define TEST(f) cmocka_unit_test_setup_teardown(f, new_arena, free_arena)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(couplings_are_invertible),       TEST(other_modules_are_not),    TEST(two_streams_follow_from_one_another),
      TEST(memory_does_not_grow_with_depth), TEST(backward_holds_one_block), TEST(what_is_not_invertible_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
