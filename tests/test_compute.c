#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "planner/memplan.h"
#include "support_command.h"
#include "support_draw.h"

/* a product of 8 x 16 weights, a product of two activations, an image network */
static const char *const attention_like =
    "in x float batch seq 8\n"
    "in k float batch 16 seq\n"
    "w W float 8 16\n"
    "node MatMul x W -> y\n" /* seq x 8 x 16 multiply-adds a sample */
    "node MatMul y k -> z\n" /* seq x 16 x seq */
    "out z float\n";
static const char *const image = "in x float batch 3 size size\nw W float 4 3 3 3\nnode Conv x W -> y pads=[1,1,1,1]\nout y float\n";

static char path[256];
static mp_arena *arena;
static int up(void **state) {
  (void)state;
  arena = mp_arena_new(0);
  return arena ? 0 : -1;
}
static int down(void **state) {
  (void)state;
  mp_arena_free(arena);
  return 0;
}

static const mp_compute *make(const char *drawing, mp_compute_options o, const mp_binding *b, uint32_t n, double epochs) {
  test_draw_file(drawing, path, sizeof path);
  mp_compute_phase one = {.epochs = epochs};
  o.model = path;
  o.bindings = b;
  o.binding_count = n;
  if (!o.phase_count) {
    o.phases = &one;
    o.phase_count = 1;
  }
  if (!(o.count > 0)) o.count = 1;
  mp_err err = {0};
  const mp_compute *c = mp_compute_make(arena, &o, &err);
  unlink(path);
  if (!c) print_message("%s\n", err.text);
  return c;
}

static void multiply_adds_are_a_samples(void **state) {
  (void)state;
  const uint64_t a_sample = 10 * 8 * 16 + 10 * 16 * 10;
  mp_binding seq[] = {{"seq", -1, 10}, {"batch", -1, 4}};
  const mp_compute *c = make(attention_like, (mp_compute_options){.samples = 100}, seq, 1, 3); /* batch open */
  assert_non_null(c);
  assert_int_equal(c->phases[0].per_pass, 1);
  assert_int_equal(c->phases[0].macs, a_sample);
  assert_close(c->model_flops, (double)a_sample * 6 * 100 * 3, 0.5);
  assert_close(c->hardware_flops, c->model_flops, 0);
  const mp_compute *four = make(attention_like, (mp_compute_options){.samples = 100}, seq, 2, 3); /* batch bound */
  assert_int_equal(four->phases[0].per_pass, 4);
  assert_int_equal(four->phases[0].macs, 4 * a_sample);
  assert_close(four->model_flops, c->model_flops, 0);
  const mp_compute *given = make(attention_like, (mp_compute_options){.samples = 100, .batch = 2}, seq, 2, 3); /* the user knows better */
  assert_close(given->model_flops, 2 * c->model_flops, 0.5);
}

static void recomputation_is_what_the_hardware_does_more(void **state) {
  (void)state;
  mp_binding seq[] = {{"seq", -1, 10}};
  const mp_compute *full = make(attention_like, (mp_compute_options){.samples = 1, .fraction = 1}, seq, 1, 1);
  assert_close(full->hardware_flops / full->model_flops, 4.0 / 3, 1e-12);
  const mp_compute *half = make(attention_like, (mp_compute_options){.samples = 1, .fraction = 0.5}, seq, 1, 1);
  assert_close(half->hardware_flops / half->model_flops, 3.5 / 3, 1e-12);
  /* selective: the product of two activations alone, 10 x 16 x 10 */
  const mp_compute *some = make(attention_like, (mp_compute_options){.samples = 1, .recompute = MP_RECOMPUTE_SELECTIVE}, seq, 1, 1);
  assert_close(some->hardware_flops - some->model_flops, 2 * 10 * 16 * 10, 1e-9);
}

static void accumulation_only_adds_gradients_up(void **state) {
  (void)state;
  mp_binding b[] = {{"seq", -1, 10}, {"batch", -1, 4}};
  mp_run plain = mp_run_default(), thrice = mp_run_default();
  thrice.accumulate = 3;
  const mp_compute *one = make(attention_like, (mp_compute_options){.samples = 96, .run = &plain}, b, 2, 2);
  const mp_compute *three = make(attention_like, (mp_compute_options){.samples = 96, .run = &thrice}, b, 2, 2);
  assert_close(three->model_flops, one->model_flops, 0);
  assert_close(one->accumulate_flops, 0, 0);
  assert_close(one->phases[0].steps, 48, 0);
  /* 96 / (4 x 3) = 8 steps an epoch, two additions of 8 x 16 parameters each */
  assert_close(three->phases[0].steps, 16, 0);
  assert_close(three->accumulate_flops, 8.0 * 2 * 2 * 8 * 16, 1e-9);
  thrice.infer = true;
  const mp_compute *forward = make(attention_like, (mp_compute_options){.samples = 96, .run = &thrice}, b, 1, 2);
  assert_close(forward->model_flops * 3, one->model_flops, 0.5);
}

/* progressive resizing with a growing batch: each phase has its own memory, the peak is the largest */
static void memory_goes_by_phase(void **state) {
  (void)state;
  snprintf(path, sizeof path, MEMPLAN_SOURCE "/samples/bert-base.onnx");
  mp_binding shorter[] = {{"seq", -1, 32}, {"batch", -1, 16}}, longer[] = {{"seq", -1, 128}, {"batch", -1, 8}};
  mp_compute_phase phases[] = {{9, longer, 2}, {1, shorter, 2}};
  mp_run run = mp_run_default();
  mp_compute_options o = {
      .model = path, .samples = 1000, .count = 1, .run = &run, .phases = phases, .phase_count = 2, .device = mp_device_find(arena, "t4", NULL)};
  o.workspaces = mp_workspaces_default();
  mp_err err = {0};
  const mp_compute *c = mp_compute_make(arena, &o, &err);
  if (!c) fail_msg("%s", err.text);
  assert_int_equal(c->peak_phase, 0);
  assert_close(c->phases[0].steps, 125 * 9, 0);
  assert_close(c->phases[1].steps, 63, 0); /* the last batch is not full */
  for (int i = 0; i < 2; i++) {
    mp_question q = {.path = path, .bindings = phases[i].bindings, .binding_count = 2, .run = &run, .workspaces = mp_workspaces_default()};
    const mp_answer *alone = mp_answer_make(arena, &q, &err);
    assert_non_null(alone);
    assert_int_equal(c->phases[i].memory->timeline->peak.reserved, alone->timeline->peak.reserved);
  }
  assert_int_equal(c->phases[0].memory->verdicts[0].fits, MP_FITS);
  assert_close(c->hardware_flops, c->model_flops, 0);
  /* recomputing the twelve layers runs nearly the whole forward pass again: all but the embeddings and the pooler */
  const char *const what[] = {"encoder.layer.*"};
  mp_plan plan = {.checkpoint = what, .checkpoints = 1};
  o.plan = &plan;
  const mp_compute *again = mp_compute_make(arena, &o, &err);
  if (!again) fail_msg("%s", err.text);
  assert_close(again->model_flops, c->model_flops, 0);
  assert_true(again->hardware_flops > 1.3 * c->model_flops && again->hardware_flops < 4.0 / 3 * c->model_flops);
  assert_true(again->phases[0].memory->timeline->after_forward < c->phases[0].memory->timeline->after_forward);
}

static void a_schedule_is_the_sum_of_its_phases(void **state) {
  (void)state;
  mp_binding small[] = {{"size", -1, 8}}, large[] = {{"size", -1, 16}, {"batch", -1, 2}};
  mp_compute_phase phases[] = {{3, small, 1}, {2, large, 2}};
  const mp_compute *c = make(image, (mp_compute_options){.samples = 10, .phases = phases, .phase_count = 2}, NULL, 0, 0);
  assert_non_null(c);
  const double a = 8 * 8 * 4 * 27, b = 16 * 16 * 4 * 27; /* multiply-adds of a sample */
  assert_close(c->phases[0].multiply_adds, a, 0);
  assert_close(c->phases[1].multiply_adds, b, 0);
  assert_int_equal(c->phases[1].per_pass, 2);
  assert_close(c->model_flops, 6 * 10 * (3 * a + 2 * b), 0.5);
  /* a phase's word goes before the run's */
  mp_binding run[] = {{"size", -1, 4}};
  const mp_compute *again = make(image, (mp_compute_options){.samples = 10, .phases = phases, .phase_count = 2}, run, 1, 0);
  assert_close(again->model_flops, c->model_flops, 0);
}

static const mp_device *device(const char *name) {
  mp_err err;
  return mp_device_find(arena, name, &err);
}

static void time_energy_and_cost(void **state) {
  (void)state;
  mp_err err = {0};
  /* AlexNet's two GTX 580 as the appendix has them: 2 x 1.58 TFLOP/s x 5.5 days x 0.33 */
  mp_compute_options o = {.device = device("gtx580"), .count = 2, .days = 5.5, .price = 0.5};
  const mp_compute *c = mp_compute_make(arena, &o, &err);
  assert_non_null(c);
  assert_close(c->spent_flops / MP_PFS_DAY, 0.0057354, 1e-7);
  assert_close(mp_compute_flops(c), c->spent_flops, 0);
  assert_close(c->device_hours, 2 * 5.5 * 24, 1e-9);
  assert_close(c->cost, 132, 1e-9);
  assert_close(c->joules, 2 * 5.5 * 86400 * 244, 1);
  assert_int_equal(c->warning_count, 1); /* the utilization is assumed, and said */
  o.cpu = true;
  assert_close(mp_compute_make(arena, &o, &err)->spent_flops / c->spent_flops, 0.17 / 0.33, 1e-12);
  o.utilization = 0.5;
  assert_close(mp_compute_make(arena, &o, &err)->spent_flops / c->spent_flops, 0.5 / 0.33, 1e-12);
  assert_int_equal(mp_compute_make(arena, &o, &err)->warning_count, 0);
  /* the time follows from the count: 1e6 x 10 x 16 x 8 x 6 ... at half of 2 TFLOP/s */
  mp_binding seq[] = {{"seq", -1, 10}};
  const mp_compute *t =
      make(attention_like, (mp_compute_options){.samples = 1e6, .peak = 1, .count = 2, .utilization = 0.5, .fraction = 1}, seq, 1, 1);
  assert_close(t->seconds, (double)(10 * 8 * 16 + 10 * 16 * 10) * 8 * 1e6 / 1e12, 1e-9);
  assert_close(t->joules, 0, 0); /* no board, no power */
}

static void what_is_missing_is_said(void **state) {
  (void)state;
  mp_err err = {0};
  const struct {
    mp_compute_options o;
    const char *text;
  } rows[] = {
      {{.device = NULL, .count = 1}, "nothing to compute"},
      {{.days = 3, .count = 1}, "nothing to compute"},
      {{.device = device("v100"), .count = 1}, "--days"},
      {{.device = device("tpu-v3"), .count = 1, .days = 1}, "no fp32 peak is known; give --peak TFLOPS, or --math with one that is: bf16"},
      {{.device = device("24GB"), .count = 1, .days = 1}, "no fp32 peak is known; give --peak TFLOPS"},
      {{.device = device("v100"), .count = 1, .days = 1, .precision = "fp12"}, "fp12"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    assert_null(mp_compute_make(arena, &rows[i].o, &err));
    assert_int_equal(err.code, MP_BAD_INPUT);
    if (!strstr(err.text, rows[i].text)) fail_msg("'%s' does not say '%s'", err.text, rows[i].text);
  }
  assert_null(make(attention_like, (mp_compute_options){.samples = 1}, NULL, 0, 1)); /* seq is open */
  assert_null(make(attention_like, (mp_compute_options){0}, NULL, 0, 1));            /* no samples */
}

static void follows_is_strict(void **state) {
  (void)state;
  assert_true(mp_follows(5.049, "5.0"));
  assert_true(mp_follows(22.2222, "22"));
  assert_false(mp_follows(0.0986666, "0.098"));
  assert_true(mp_follows(0.0986666, "0.099"));
  assert_true(mp_follows(2.7e-5, "2.7e-5"));
  assert_false(mp_follows(2.778e-5, "2.7e-5"));
  assert_true(mp_follows(0.2999, "0.30"));
  assert_false(mp_follows(0.294, "0.30"));
  assert_false(mp_follows(0, "1"));
}

static const mp_published *published(const char *id) {
  for (uint32_t i = 0; i < mp_published_count(); i++)
    if (!strcmp(mp_published_at(i)->id, id)) return mp_published_at(i);
  fail_msg("no row %s", id);
  return NULL;
}

static void published_figures_are_recomputed(void **state) {
  (void)state;
  assert_int_equal(mp_published_count(), 22);
  assert_close(mp_published_pfs_days(published("alexnet-1")), 0.005625, 1e-9); /* 0.75e9 x 1.2e6 x 90 x 6 / 8.64e19 */
  assert_close(mp_published_pfs_days(published("seq2seq-1")), 0.1290417, 1e-6);
  assert_close(mp_published_pfs_days(published("nas-2")), 31.0464, 1e-4);
  assert_close(mp_published_pfs_days(published("attention")), 0, 0);
  unsigned follow = 0;
  for (uint32_t i = 0; i < mp_published_count(); i++) {
    const mp_published *p = mp_published_at(i);
    bool yes = p->method && mp_follows(mp_published_pfs_days(p), p->printed);
    follow += yes;
    assert_true(yes || *p->why); /* a figure that does not follow has a line that says why */
  }
  assert_int_equal(follow, 3); /* Xception, both of Architecture Search */
}

/* multiply-adds of one sample, and parameters: counted by hand or published */
static void the_sample_models_count_right(void **state) {
  (void)state;
  const struct {
    const char *file;
    mp_binding dims[3];
    uint32_t n;
    uint64_t macs, parameters;
  } rows[] = {
      {"alexnet", {{0}}, 0, 724406816, 60965224},
      {"zeiler-fergus", {{0}}, 0, 1168032896, 62357608},
      {"vgg16", {{0}}, 0, 15470264320, 138357544},
      {"resnet50", {{0}}, 0, 4089184256, 25557032},
      {"xception", {{0}}, 0, 8357403496, 22855952},
      {"dqn", {{0}}, 0, 20 * 20 * 16 * 4 * 64 + 9 * 9 * 32 * 16 * 16 + 2592 * 256 + 256 * 4, 677172},
      {"vae", {{0}}, 0, 784 * 500 + 2 * 500 * 20 + 20 * 500 + 500 * 784, 815824},
      /* a word in and a word out: two stacks of four layers, each 4 x 1000 x 2000, and 80,000 scores */
      {"seq2seq", {{"source_seq", -1, 1}, {"target_seq", -1, 1}}, 2, 2 * 4 * 4 * 1000 * 2000 + 80000000ull, 384144000},
      /* 12 layers of four 768 x 768 and two 768 x 3072 a place, attention 2 x 128 x 768 a place; the pooler */
      {"bert-base", {{"seq", -1, 128}}, 1, 12ull * 128 * (12 * 768 * 768 + 2 * 128 * 768) + 768 * 768, 109482240},
      {"gpt2", {{"seq", -1, 64}}, 1, 12ull * 64 * (12 * 768 * 768 + 2 * 64 * 768) + 64ull * 768 * 50257, 124439808},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    snprintf(path, sizeof path, MEMPLAN_SOURCE "/samples/%s.onnx", rows[i].file);
    mp_compute_phase one = {.epochs = 1};
    mp_compute_options o = {
        .model = path, .samples = 1, .count = 1, .phases = &one, .phase_count = 1, .bindings = rows[i].dims, .binding_count = rows[i].n};
    mp_err err = {0};
    const mp_compute *c = mp_compute_make(arena, &o, &err);
    if (!c) fail_msg("%s", err.text);
    if (c->phases[0].macs != rows[i].macs) fail_msg("%s: %llu", rows[i].file, (unsigned long long)c->phases[0].macs);
    assert_int_equal(c->warning_count, 0);
    const mp_model *m = mp_model_read(arena, path, &err);
    const mp_graph *g = mp_graph_build(arena, m, &(mp_graph_options){0}, &err);
    uint64_t parameters = 0, n;
    for (uint32_t v = 0; v < g->value_count; v++)
      if (g->values[v].kind == MP_VALUE_INITIALIZER && mp_dtype_is_float(g->values[v].dtype) && mp_value_elements(&g->values[v], &n) &&
          !strstr(g->values[v].name, "running_"))
        parameters += n;
    assert_int_equal(parameters, rows[i].parameters);
    mp_model_close(m);
  }
}

static void the_commands_json(void **state) {
  (void)state;
  int code;
  char errors[1024], args[512];
  char *text = test_command("compute --published --models '" MEMPLAN_SOURCE "/samples' --json", &code, errors, sizeof errors);
  assert_int_equal(code, 0);
  json_t *j = json_loads(text, 0, NULL);
  json_t *published_rows = json_object_get(j, "rows"), *first = json_array_get(published_rows, 0);
  assert_int_equal(json_array_size(published_rows), 22);
  /* AlexNet: the printed 0.0054 follows from the file's own count, and not from the printed 0.75e9 */
  assert_string_equal(json_string_value(json_object_get(first, "id")), "alexnet-1");
  assert_true(json_is_false(json_object_get(first, "follows")));
  assert_true(mp_follows(json_number_value(json_object_get(first, "model_pfs_days")), "0.0054"));
  json_decref(j);
  free(text);
  test_draw_file(attention_like, path, sizeof path);
  snprintf(args, sizeof args, "compute %s --samples 100 --epochs 3 --dim seq=10 --device v100 --count 8 --days 1e-6 --json", path);
  text = test_command(args, &code, errors, sizeof errors);
  assert_int_equal(code, 0);
  j = json_loads(text, 0, NULL);
  assert_non_null(j);
  double flops = (10 * 8 * 16 + 10 * 16 * 10) * 6.0 * 300, spent = 8 * 15.7e12 * 0.0864 * 0.33;
  assert_close(json_number_value(json_object_get(j, "flops")), flops, 1);
  assert_close(json_number_value(json_object_get(j, "pfs_days")), flops / MP_PFS_DAY, 1e-20);
  assert_close(json_number_value(json_object_get(j, "ratio")), spent / flops, 1e-6 * spent / flops);
  json_decref(j);
  free(text);
  const char *bad[] = {
      "compute --samples 0 m.onnx",   "compute --days 1 --device v10",   "compute --utilization 2",         "compute --phase x:seq=1 m.onnx",
      "compute --phase 1:seq m.onnx", "compute --recompute some m.onnx", "compute absent.onnx --samples 1", "compute"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    text = test_command(bad[i], &code, errors, sizeof errors);
    if (code != 2 || *text || !*errors) fail_msg("'%s': exit %d, '%s'", bad[i], code, errors);
    free(text);
  }
  unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(multiply_adds_are_a_samples),
      cmocka_unit_test(recomputation_is_what_the_hardware_does_more),
      cmocka_unit_test(accumulation_only_adds_gradients_up),
      cmocka_unit_test(memory_goes_by_phase),
      cmocka_unit_test(a_schedule_is_the_sum_of_its_phases),
      cmocka_unit_test(time_energy_and_cost),
      cmocka_unit_test(what_is_missing_is_said),
      cmocka_unit_test(follows_is_strict),
      cmocka_unit_test(published_figures_are_recomputed),
      cmocka_unit_test(the_sample_models_count_right),
      cmocka_unit_test(the_commands_json),
  };
  return cmocka_run_group_tests(tests, up, down);
}
