/* What the optimizer's step takes, and what a loop does around it, by hand. The model is one linear layer of 256 x 256 with a bias:
 *
 *     w   256 x 256 x 4 = 262,144 bytes        b   256 x 4 = 1,024 */
#include "support_program.h"

enum { W = 256 * 256 * 4, B = 256 * 4 };

#define MODEL "in x float32 2 256\np w float32 256 256\np b float32 256\ncall linear y x w b\ncall sum loss y\nout loss\n"

static const mp_tape *taped(mp_arena *a, const char *text, const mp_run *run) {
  static const mp_plan none;
  mp_err err = {0};
  const mp_tape *t = mp_tape_make(a, mp_trace_make(a, test_program(a, text), run, &err), run, &none, &err);
  if (!t) fail_msg("%s", err.text);
  return t;
}

/* the most that the last step holds beyond what was alive when it began */
static uint64_t taken(const mp_tape *t) {
  uint64_t now = 0, top = 0;
  bool steps = false; /* a phase goes on until the next begins, across zero_grad() */
  for (uint32_t i = 0; i < t->step_count; i++) {
    const mp_step *s = &t->steps[i];
    steps |= s->iteration == 2 && s->phase == MP_STEP && s->kind == MP_PHASE;
    if (steps && s->kind == MP_ALLOC) now += s->bytes;
    if (steps && s->kind == MP_FREE) now -= s->bytes;
    if (steps && now > top) top = now;
  }
  return top;
}

static uint64_t step_takes(mp_arena *a, const mp_run *run) { return taken(taped(a, MODEL, run)); }

/* bytes of one category when the last step is over */
static uint64_t left(mp_arena *a, const char *text, const mp_run *run, mp_category category) {
  const mp_tape *t = taped(a, text, run);
  uint64_t now = 0;
  for (uint32_t i = 0; i < t->step_count; i++) {
    if (t->steps[i].kind == MP_ALLOC && t->steps[i].category == category) now += t->steps[i].bytes;
    if (t->steps[i].kind == MP_FREE && t->steps[i].category == category) now -= t->steps[i].bytes;
  }
  return now;
}

static mp_run with(const char *optimizer) {
  mp_run r = mp_run_default();
  r.optimizer = mp_optimizer_find(optimizer);
  return r;
}

static void an_optimizer_keeps_and_takes(void **state) {
  (void)state;
  static const struct {
    const char *name;
    uint64_t keeps, takes;
  } cases[] = {{"sgd", 0, 0},
               {"sgd-momentum", W + B, 0},
               {"adamw", 2 * (W + B), W + B},                                  /* exp_avg_sq_sqrt of all */
               {"adamw-fused", 2 * (W + B) + 2 * 4, 0},                        /* a step on the device for each */
               {"adamw-loop", 2 * (W + B), 2 * W},                             /* sqrt and denom of w; then denom of w, sqrt and denom of b */
               {"adagrad", W + B, 2 * (W + B)},
               {"rmsprop", W + B, W + B},
               {"adadelta", 2 * (W + B), 2 * (W + B)},
               {"adafactor", 2 * 256 * 4 + B, W + B},                          /* row, column; the update of w, held while b is stepped */
               {"adamw-8bit", 2 * 1024 + 2 * (W / 4 + W / 4 / 256 * 4) + 2 * B, 0}, /* two maps; a byte and 1/64 of w each; b is small */
               {"lion", W + B, W + B}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_arena *a = mp_arena_new(0);
    mp_run run = with(cases[i].name);
    uint64_t kept = left(a, MODEL, &run, MP_CAT_OPTIMIZER), most = step_takes(a, &run);
    if (kept != cases[i].keeps || most != cases[i].takes) fail_msg("%s keeps %llu and takes %llu", cases[i].name, (unsigned long long)kept, (unsigned long long)most);
    mp_arena_free(a);
  }
}

/* two weights of one size: the loop still holds the first one's quotient when it makes the second's root and quotient */
static void a_loop_holds_the_denominator_before(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_run run = with("adamw-loop");
  assert_int_equal(taken(taped(a, "in x float32 2 256\np v float32 256 256\np w float32 256 256\ncall linear y x v none\ncall linear z y w none\ncall sum loss z\nout loss\n", &run)), 3 * W);
  mp_arena_free(a);
}

/* states and temporaries are of the fp32 copy, which is stepped with an fp32 gradient */
static void a_master_copy_is_what_is_stepped(void **state) {
  (void)state;
  static const struct {
    const char *name;
    uint64_t keeps, takes;
  } cases[] = {{"adamw", 2 * (W + B), 2 * (W + B)}, {"adamw-loop", 2 * (W + B), W + B + 2 * W}, {"adafactor", 2 * 256 * 4 + B, 2 * (W + B)}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_arena *a = mp_arena_new(0);
    mp_run run = with(cases[i].name);
    run.precision = MP_BF16_MASTER;
    assert_int_equal(left(a, MODEL, &run, MP_CAT_OPTIMIZER), cases[i].keeps);
    assert_int_equal(left(a, MODEL, &run, MP_CAT_MASTER), W + B);
    assert_int_equal(step_takes(a, &run), cases[i].takes);
    mp_arena_free(a);
  }
}

/* clip_grad_norm_: two norms, their stack and the total, gone before the step */
static void clipping_takes_a_norm_of_each_gradient(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_run run = with("sgd");
  run.clip_grad = true;
  assert_int_equal(step_takes(a, &run), 2 * 4 + 8 + 4);
  run.optimizer = mp_optimizer_find("adamw");
  assert_int_equal(step_takes(a, &run), W + B);
  mp_arena_free(a);
}

/* A scale and a growth tracker stay; unscale_ has 16 bytes at most (1 / scale in fp64 and its operand), of which found_inf is there while the optimizer steps. The scaled loss, its
 * gradient and the loss's are three scalars where there was one. */
static void a_scaler_keeps_two_scalars_and_found_inf(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_run run = with("sgd");
  run.grad_scaler = true;
  assert_int_equal(left(a, MODEL, &run, MP_CAT_OPTIMIZER), 4 + 4);
  assert_int_equal(step_takes(a, &run), 16);
  run.optimizer = mp_optimizer_find("adamw");
  assert_int_equal(step_takes(a, &run), W + B + 4);
  uint64_t made[2] = {0};
  for (int scaled = 0; scaled < 2; scaled++) {
    run.grad_scaler = scaled;
    const mp_tape *t = taped(a, MODEL, &run);
    for (uint32_t i = 0; i < t->step_count; i++)
      if (t->steps[i].iteration == 2 && t->steps[i].phase == MP_BACKWARD && t->steps[i].kind == MP_ALLOC && t->steps[i].bytes == 4) made[scaled]++;
  }
  assert_int_equal(made[1] - made[0], 2);
  mp_arena_free(a);
}

/* AveragedModel copies the module: what is frozen and the buffers as well */
static void an_average_is_of_the_whole_module(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  static const char *const freeze[] = {"w"};
  mp_run run = with("sgd");
  run.ema = true;
  run.freeze = freeze;
  run.freezes = 1;
  const char *text = "in x float32 2 256\np w float32 256 256\np b float32 256\nb mean float32 256\ncall linear y x w b\ncall sub z y mean\ncall sum loss z\nout loss\n";
  assert_int_equal(left(a, text, &run, MP_CAT_MASTER), W + B + 256 * 4);
  assert_int_equal(taped(a, text, &run)->gradient_bytes, B);
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(an_optimizer_keeps_and_takes), cmocka_unit_test(a_loop_holds_the_denominator_before), cmocka_unit_test(a_master_copy_is_what_is_stepped),
                                     cmocka_unit_test(clipping_takes_a_norm_of_each_gradient), cmocka_unit_test(a_scaler_keeps_two_scalars_and_found_inf),
                                     cmocka_unit_test(an_average_is_of_the_whole_module)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
