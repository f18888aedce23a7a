/* memplan checkpoint: the JSON of the contract, exit codes, one line for bad input; every failed allocation; interruption; scale. */
#include <jansson.h>
#include <math.h>
#include <time.h>
#include <unistd.h>

#include "planner/remat.h"
#include "support_command.h"

#define HEADER "index,name,cost,bytes,backward,inputs\n"

typedef struct ran {
  int code;
  char out[1 << 14], err[2048];
} ran;

/* memplan checkpoint --instance FILE args, FILE holding text */
static ran run(const char *text, const char *args) {
  ran r;
  char path[] = "/tmp/memplan-remat-XXXXXX", line[256];
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  FILE *f = fdopen(fd, "wb");
  fputs(text, f);
  fclose(f);
  snprintf(line, sizeof line, "checkpoint --instance %s %s", path, args);
  char *out = test_command(line, &r.code, r.err, sizeof r.err);
  snprintf(r.out, sizeof r.out, "%s", out ? out : "");
  free(out);
  remove(path);
  return r;
}

/* 0 -> 1 -> 2 -> 3, and 3 reads 0 again: dropping 0 (cost 5) frees 40 while 2 is computed */
static const char *const skip = HEADER "0,a,5,40,0,\n1,b,1,10,0,0\n2,\"c, big\",1,100,0,1\n3,d,1,1,1,0 2\n";

static void json_as_the_contract_says(void **unused) {
  (void)unused;
  ran r = run(skip, "--budget 145 --json");
  assert_int_equal(r.code, 0);
  json_t *o = json_loads(r.out, 0, NULL);
  assert_non_null(o);
  assert_true(json_is_true(json_object_get(o, "feasible")));
  assert_int_equal(json_integer_value(json_object_get(o, "budget")), 145);
  assert_int_equal(json_integer_value(json_object_get(o, "base_peak")), 150);
  assert_true(json_real_value(json_object_get(o, "base_cost")) == 8);
  assert_true(json_real_value(json_object_get(o, "cost")) == 13); /* 0 again, before 3 */
  assert_true(json_real_value(json_object_get(o, "bound")) == 13);
  assert_int_equal(json_integer_value(json_object_get(o, "peak")), 141);
  assert_string_equal(json_string_value(json_array_get(json_array_get(json_object_get(o, "schedule"), 0), 0)), "compute");
  json_decref(o);
  r = run(skip, "--budget 0.99 --json"); /* 148.5, rounded up */
  o = json_loads(r.out, 0, NULL);
  assert_int_equal(json_integer_value(json_object_get(o, "budget")), 149);
  json_decref(o);
  r = run(skip, "--budget 150");
  assert_non_null(strstr(r.out, "0.0000 % over no recomputation"));
  r = run(skip, "--pareto");
  assert_int_equal(r.code, 0);
  assert_ptr_equal(strstr(r.out, "budget,peak,cost"), r.out);
}

static void what_cannot_be_is_a_result(void **unused) {
  (void)unused;
  ran r = run(skip, "--budget 140 --json"); /* 3 reads 0 and 2: 141 */
  assert_int_equal(r.code, 1);
  json_t *o = json_loads(r.out, 0, NULL);
  assert_true(json_is_false(json_object_get(o, "feasible")));
  assert_true(json_is_true(json_object_get(o, "impossible")));
  json_decref(o);
}

static void bad_input_is_one_line(void **unused) {
  (void)unused;
  static const struct {
    const char *text, *args, *says;
  } bad[] = {
      {"", "--budget 1", "no nodes"},
      {HEADER, "--budget 1", "no nodes"},
      {"a,b\n", "--budget 1", ":1: header"},
      {HEADER "0,a,1,1,0\n", "--budget 1", ":2: 5 columns"},
      {HEADER "1,a,1,1,0,\n", "--budget 1", "expected 0"},
      {HEADER "0,a,-1,1,0,\n", "--budget 1", "cost '-1'"},
      {HEADER "0,a,nan,1,0,\n", "--budget 1", "cost 'nan'"},
      {HEADER "0,a,1,1.5,0,\n", "--budget 1", "bytes '1.5'"},
      {HEADER "0,a,1,99999999999999999999,0,\n", "--budget 1", "bytes"},
      {HEADER "0,a,1,9000000000000000000,0,\n", "--budget 1", "2^61"},
      {HEADER "0,a,1,1,2,\n", "--budget 1", "backward '2'"},
      {HEADER "0,a,1,1,0,0\n", "--budget 1", "not an earlier node"},
      {HEADER "0,a,1,1,0,\n1,b,1,1,0,0;0\n", "--budget 1", "separated by spaces"},
      {HEADER "0,\"a,1,1,0,\n", "--budget 1", "quote"},
      {HEADER "0,a,1,1,0,\n", "--budget lots", "--budget 'lots'"},
      {HEADER "0,a,1,1,0,\n", "", "--budget is missing"},
      {HEADER "0,a,1,1,0,\n", "--budget 1 --time-limit 0", "--time-limit"},
  };
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    ran r = run(bad[k].text, bad[k].args);
    if (r.code != 2 || r.out[0] || !strstr(r.err, bad[k].says)) fail_msg("case %zu: exit %d, '%s' lacks '%s'", k, r.code, r.err, bad[k].says);
  }
  int code;
  free(test_command("checkpoint --instance /nowhere/x.csv --budget 1", &code, NULL, 0));
  assert_int_equal(code, 2);
}

/* ---- a chain and its backward, with sizes and costs of many kinds ---- */

typedef struct shape {
  uint32_t m;
} shape;

static const void *make(mp_arena *a, void *arg) {
  uint32_t m = ((shape *)arg)->m, n = 2 * m + 1, r = 12345;
  mp_remat_node *node = mp_alloc_array(a, n, sizeof *node);
  for (uint32_t v = 0; v < n; v++) {
    uint32_t *in = mp_alloc_array(a, 3, sizeof *in), k = 0, fwd = 2 * m - v;
    if (v && v <= m) in[k++] = v - 1;
    if (v > m) {
      if (fwd) in[k++] = fwd - 1;
      in[k++] = fwd, in[k++] = v - 1;
    }
    r = r * 1664525 + 1013904223;
    node[v] = (mp_remat_node){.cost = 50 + (r >> 8) % 950, .bytes = 1000 + (r >> 20) % 4000, .backward = v > m, .inputs = in, .n_inputs = k};
    if (v > m) node[v].bytes = node[fwd].bytes, node[v].cost = 2 * node[fwd].cost;
    if (v == m) node[v].bytes = 4;
  }
  mp_remat *x = mp_alloc(a, sizeof *x);
  *x = (mp_remat){.name = "chain", .n = n, .nodes = node};
  return x;
}

static void every_failed_allocation_is_an_error(void **unused) {
  (void)unused;
  for (uint64_t k = 1;; k = k < 400 ? k + 1 : k + k / 7) {
    mp_arena *a = mp_arena_new(0);
    mp_err err;
    shape s = {12};
    const mp_remat *in = mp_protect(a, &err, make, &s);
    mp_arena_fail_at(a, k);
    const mp_remat_result *r = mp_remat_solve(a, in, 20000, &(mp_remat_options){.time_limit = 0.02}, &err);
    const char *json = mp_remat_json(a, in, r, &err);
    bool done = r && json;
    if (!done) assert_int_equal(err.code, MP_INTERNAL);
    mp_arena_free(a);
    if (done) {
      assert_true(k > 50);
      break;
    }
  }
}

static void an_interrupt_hands_back_the_best_so_far(void **unused) {
  (void)unused;
  mp_arena *a = mp_arena_new(0);
  mp_err err;
  shape s = {2000};
  const mp_remat *in = mp_protect(a, &err, make, &s);
  const mp_remat_result *base = mp_remat_base(a, in, &err);
  volatile int stop = 1;
  mp_remat_options opt = {.time_limit = 60, .interrupt = &stop};
  clock_t t = clock();
  const mp_remat_result *r = mp_remat_solve(a, in, base->base_peak / 2, &opt, &err);
  assert_non_null(r);
  assert_true((double)(clock() - t) / CLOCKS_PER_SEC < 5);
  assert_true(r->feasible || r->why);
  mp_arena_free(a);
}

static void ten_thousand_nodes(void **unused) {
  (void)unused;
  mp_arena *a = mp_arena_new((uint64_t)256 << 20);
  mp_err err;
  shape s = {5000};
  const mp_remat *in = mp_protect(a, &err, make, &s);
  const mp_remat_result *base = mp_remat_base(a, in, &err);
  for (int tenth = 2; tenth <= 8; tenth += 3) {
    const mp_remat_result *r = mp_remat_solve(a, in, base->base_peak * (uint64_t)tenth / 10, NULL, &err);
    if (!r) fail_msg("%s", err.text);
    assert_true(r->feasible);
    const mp_remat_replayed *p = mp_remat_replay(a, in, r->steps, r->n_steps, &err);
    if (!p) fail_msg("%s", err.text);
    assert_true(p->peak == r->peak && p->peak <= r->budget && p->cost == r->cost);
    print_message("%u nodes at 0.%d of the peak: +%.2f %%, %.3f %% over the bound\n", in->n, tenth, (r->cost / r->base_cost - 1) * 100,
                  (r->cost / r->bound - 1) * 100);
    assert_true(r->cost <= 1.05 * r->bound);
  }
  mp_arena_free(a);
}

static void the_replay_names_the_broken_rule(void **unused) {
  (void)unused;
  mp_arena *a = mp_arena_new(0);
  mp_err err;
  const uint32_t zero = 0;
  const mp_remat_node node[] = {{.cost = 1, .bytes = 1}, {.cost = 1, .bytes = 1, .inputs = &zero, .n_inputs = 1}};
  const mp_remat in = {.n = 2, .nodes = node};
  static const struct {
    mp_remat_step steps[3];
    size_t n;
    const char *says;
  } bad[] = {
      {{{MP_REMAT_COMPUTE, 1}}, 1, "before node 0"},
      {{{MP_REMAT_COMPUTE, 0}, {MP_REMAT_COMPUTE, 0}}, 2, "which is resident"},
      {{{MP_REMAT_COMPUTE, 0}, {MP_REMAT_FREE, 1}}, 2, "frees node 1"},
      {{{MP_REMAT_COMPUTE, 0}, {MP_REMAT_FREE, 0}, {MP_REMAT_COMPUTE, 1}}, 3, "its input 0 is not resident"},
      {{{MP_REMAT_COMPUTE, 0}}, 1, "ends before node 1"},
      {{{MP_REMAT_COMPUTE, 7}}, 1, "expected less than 2"},
  };
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    assert_null(mp_remat_replay(a, &in, bad[k].steps, bad[k].n, &err));
    if (!strstr(err.text, bad[k].says)) fail_msg("'%s' lacks '%s'", err.text, bad[k].says);
  }
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(json_as_the_contract_says),
      cmocka_unit_test(what_cannot_be_is_a_result),
      cmocka_unit_test(bad_input_is_one_line),
      cmocka_unit_test(the_replay_names_the_broken_rule),
      cmocka_unit_test(every_failed_allocation_is_an_error),
      cmocka_unit_test(an_interrupt_hands_back_the_best_so_far),
      cmocka_unit_test(ten_thousand_nodes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
