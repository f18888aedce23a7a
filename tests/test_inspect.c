/* The command: what it prints, its JSON, its exit codes. */
#include <jansson.h>
#include <unistd.h>

#include "planner/memplan.h"
#include "support_command.h"
#include "support_graph.h"

static char path[64];

static void write_model(mp_arena *a, const char *drawing) {
  size_t n;
  const uint8_t *bytes = test_model(a, drawing, &n);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(bytes, 1, n, f), n);
  fclose(f);
}

static const char mlp[] =
    "x: float[batch,8]; w1 = float[8,16]; b1 = float[16]; w2 = float[16,4]; k = int64[2]{0, -1}; half = float[]{0.5}\n"
    "h = MatMul(x, w1) name=\"/net/fc1/MatMul\"; hb = Add(h, b1) name=\"/net/fc1/Add\"; r = Relu(hb) name=\"/net/act/Relu\"\n"
    "y = MatMul(r, w2) name=\"/net/fc2/MatMul\"; z = Reshape(y, k) name=\"/Reshape\"; -> z";

static char *inspect(const char *args, int *code, char *errors, size_t size) {
  char line[1024];
  snprintf(line, sizeof line, "inspect '%s' %s", path, args);
  return test_command(line, code, errors, size);
}

static json_t *inspect_json(const char *args) {
  int code;
  char errors[2048], line[512];
  snprintf(line, sizeof line, "--json %s", args);
  char *text = inspect(line, &code, errors, sizeof errors);
  if (code) fail_msg("exit %d: %s", code, errors);
  assert_string_equal(errors, "");
  json_t *j = json_loads(text, 0, NULL);
  assert_non_null(j);
  free(text);
  return j;
}

static json_int_t number(const json_t *j, const char *key) {
  assert_true(json_is_integer(json_object_get(j, key)));
  return json_integer_value(json_object_get(j, key));
}

static void json_has_what_was_promised(void **state) {
  write_model(*state, mlp);
  json_t *j = inspect_json("--dim batch=2");
  assert_int_equal(number(j, "opset"), 17);
  assert_int_equal(number(j, "ir_version"), 8);
  assert_int_equal(number(j, "nodes"), 5);
  assert_int_equal(number(j, "static_values"), 5);
  assert_int_equal(number(j, "numeric_values"), 5);
  assert_int_equal(number(j, "parameters"), 8 * 16 + 16 + 16 * 4 + 1);
  assert_int_equal(number(j, "parameter_bytes"), 4 * (8 * 16 + 16 + 16 * 4 + 1));
  assert_int_equal(number(j, "macs"), 2 * 8 * 16 + 2 * 16 * 4);
  assert_int_equal(number(j, "flops"), 2 * (2 * 8 * 16 + 2 * 16 * 4) + 2 * 16 + 2 * 16); /* and one for each element that Add and Relu make */
  assert_true(json_is_string(json_object_get(j, "producer")));
  assert_int_equal(json_array_size(json_object_get(j, "unknown_ops")), 0);
  assert_int_equal(json_array_size(json_object_get(j, "warnings")), 0);
  assert_string_equal(json_string_value(json_array_get(json_object_get(j, "inputs"), 0)), "x");
  assert_string_equal(json_string_value(json_array_get(json_object_get(j, "outputs"), 0)), "z");
  const json_t *values = json_object_get(j, "values");
  assert_int_equal(json_array_size(values), 5);
  const json_t *h = json_array_get(values, 0);
  assert_string_equal(json_string_value(json_object_get(h, "name")), "h");
  assert_string_equal(json_string_value(json_object_get(h, "dtype")), "float32");
  assert_int_equal(json_integer_value(json_array_get(json_object_get(h, "dims"), 1)), 16);
  json_decref(j);
}

static void open_dims_stay_symbolic(void **state) {
  write_model(*state, mlp);
  json_t *j = inspect_json("");
  const json_t *dims = json_object_get(json_array_get(json_object_get(j, "values"), 0), "dims");
  assert_string_equal(json_string_value(json_array_get(dims, 0)), "batch");
  assert_int_equal(number(j, "static_values"), 5);
  assert_int_equal(number(j, "numeric_values"), 0);
  json_decref(j);
}

static void what_is_unknown_is_null(void **state) {
  write_model(*state,
              "opset 17; opset dom 1; x: float[2]; y = dom.Odd(x); z = dom.Odd(y); s = SequenceConstruct(x, x); n = NonZero(x); -> y, s, n; info z: "
              "float[?,3]");
  json_t *j = inspect_json("");
  const json_t *values = json_object_get(j, "values"), *ops = json_object_get(j, "unknown_ops");
  assert_true(json_is_null(json_object_get(json_array_get(values, 0), "dims")));
  assert_string_equal(json_string_value(json_object_get(json_array_get(values, 0), "dtype")), "undefined");
  assert_true(json_is_null(json_array_get(json_object_get(json_array_get(values, 1), "dims"), 0)));
  assert_true(json_is_null(json_object_get(json_array_get(values, 2), "dims"))); /* a sequence */
  assert_int_equal(number(j, "static_values"), 0);
  assert_int_equal(json_array_size(ops), 1);
  assert_string_equal(json_string_value(json_object_get(json_array_get(ops, 0), "domain")), "dom");
  assert_string_equal(json_string_value(json_object_get(json_array_get(ops, 0), "op")), "Odd");
  assert_int_equal(number(json_array_get(ops, 0), "count"), 2);
  json_decref(j);
}

static void statistics_are_no_parameters(void **state) {
  write_model(
      *state,
      "x: float[1,3,4,4]; s = float[3]; b = float[3]; m = float[3]; v = float[3]; k = int64[1]{5}; y = BatchNormalization(x, s, b, m, v); -> y");
  json_t *j = inspect_json("");
  assert_int_equal(number(j, "parameters"), 6);
  json_decref(j);
}

static void parameters_of_subgraphs_count(void **state) {
  write_model(*state, "c: bool[]; x: float[4]; w = float[4]; r = If(c) then_branch={ v = float[4]; p = Mul(x, v); -> p } else_branch={ q = Mul(x, w); -> q }; -> r");
  json_t *j = inspect_json("");
  assert_int_equal(number(j, "parameters"), 8);
  json_decref(j);
}

static void sums_do_not_wrap(void **state) { /* nine products of 2^60 multiply-adds each */
  mp_arena *a = *state;
  mp_text t = {0};
  mp_text_add(a, &t, "v0: float[1048576,1048576]\n");
  for (int i = 1; i <= 9; i++) mp_text_add(a, &t, "v%d = MatMul(v%d, v0)\n", i, i - 1);
  mp_text_add(a, &t, "-> v9");
  write_model(a, t.at);
  json_t *j = inspect_json("");
  assert_true(number(j, "macs") == INT64_MAX && number(j, "flops") == INT64_MAX);
  json_decref(j);
}

static void strange_names_stay_json(void **state) {
  write_model(*state, "x: float[2]; y = Relu(x) name=\"\xff\xfe\" doc=\"a\"; -> y");
  json_t *j = inspect_json("");
  json_decref(j);
  write_model(*state, "opset 17; opset my 1; x: float[2]; y = my.F(x) name=\"\xff\\\"; -> y\nfun my.F(a) { opset 17; h = Neg(a); c = Neg(h); -> c }");
  j = inspect_json("");
  assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(j, "values"), 0), "name")), "?\\/h");
  json_decref(j);
}

static void holds(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("'%s' lacks '%s'", text, part);
}

static void the_table_by_operator(void **state) {
  write_model(*state, mlp);
  int code;
  char *text = inspect("--dim batch=2", &code, NULL, 0);
  assert_int_equal(code, 0);
  holds(text, "input      x float32[2, 8]\n");
  holds(text, "output     z float32[2, 4]\n");
  holds(text, "parameters 209, 836 B\n");
  holds(text, "forward    384 MACs, 832 FLOPs\n");
  holds(text, "known      5 of 5 shapes\n");
  holds(text,
        "operator  nodes  parameters  MACs  FLOPs  output bytes\n"
        "MatMul        2         192   384    768         160 B\n");
  free(text);
}

static void the_tree_by_module(void **state) {
  write_model(*state, mlp);
  int code;
  char *text = inspect("--tree --dim batch=2", &code, NULL, 0);
  assert_int_equal(code, 0);
  holds(text, "(model)      5");
  holds(text, "\n  net        4");
  holds(text, "\n    fc1      2         144   256");
  holds(text, "\n    act      1");
  free(text);
}

static void the_tree_by_name_scopes(void **state) {
  write_model(*state,
              "x: float[2]; a = Relu(x) meta.pkg.torch.onnx.name_scopes=\"['', 'net', 'net.act', 'relu']\"; b = Neg(a) "
              "meta.pkg.torch.onnx.name_scopes=\"['', 'neg']\"; -> b");
  int code;
  char *text = inspect("--tree", &code, NULL, 0);
  holds(text, "\n    act      1");
  holds(text, "(model)      2");
  free(text);
}

static void one_node(void **state) {
  write_model(*state, mlp);
  int code;
  char errors[512];
  char *text = inspect("--node /net/fc1/MatMul", &code, NULL, 0);
  assert_int_equal(code, 0);
  holds(text, "MatMul '/net/fc1/MatMul', opset 17\n  input    x float32[batch, 8]\n  weight   w1 float32[8, 16]\n  output   h float32[batch, 16]\n");
  free(text);
  text = inspect("--node hb", &code, NULL, 0); /* by an output */
  holds(text, "Add '/net/fc1/Add'");
  free(text);
  text = inspect("--node nothing", &code, errors, sizeof errors);
  assert_int_equal(code, 2);
  assert_string_equal(text, "");
  holds(errors, "no node and no node's output is named 'nothing'");
  free(text);
}

static void what_is_not_known_and_why(void **state) {
  write_model(*state, "x: float[2,3]; n = NonZero(x); m = Neg(n); -> m");
  int code;
  char *text = inspect("--unknown", &code, NULL, 0);
  assert_int_equal(code, 0);
  holds(text, "n int64[2, ?]: node 'n' (NonZero): depends on the values of 'x'\n");
  holds(text, "m int64[2, ?]: ");
  free(text);
  write_model(*state, mlp);
  text = inspect("--unknown", &code, NULL, 0);
  assert_string_equal(text, "every value's type and shape is known\n");
  free(text);
}

static void bad_options_are_exit_2(void **state) {
  write_model(*state, mlp);
  const char *const cases[][2] = {
      {"--dim batch", "NAME=N or INPUT:AXIS=N was expected"},
      {"--dim nobody=3", "binds nothing; open dimensions of the inputs: 'batch'"},
      {"--dim x:1=9", "contradicts the file"},
      {"--nonsense", "unrecognized option"},
      {"another.onnx", "one model at a time"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int code;
    char errors[2048];
    char *text = inspect(cases[i][0], &code, errors, sizeof errors);
    assert_int_equal(code, 2);
    assert_string_equal(text, "");
    holds(errors, cases[i][1]);
    free(text);
  }
  int code;
  char errors[2048];
  char *text = test_command("inspect", &code, errors, sizeof errors);
  assert_int_equal(code, 2);
  holds(errors, "which model?");
  free(text);
}

static void warnings_go_to_stderr_unless_quiet(void **state) {
  write_model(*state, "opset none; x: float[2]; y = Relu(x); -> y");
  int code;
  char errors[512];
  char *text = inspect("", &code, errors, sizeof errors);
  assert_int_equal(code, 0);
  holds(errors, "warning: the file imports no operator set");
  free(text);
  text = inspect("-q", &code, errors, sizeof errors);
  assert_string_equal(errors, "");
  free(text);
  json_t *j = inspect_json("");
  assert_int_equal(json_array_size(json_object_get(j, "warnings")), 1);
  json_decref(j);
}

static void every_request_of_the_report_may_fail(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a, mlp);
  for (int kind = 0; kind < 4; kind++) {
    const mp_inspect_options o = {.json = kind == 1, .tree = kind == 2, .unknown = kind == 3};
    for (uint64_t at = 1;; at++) {
      mp_arena *b = mp_arena_new(0);
      mp_err err = {0};
      mp_arena_fail_at(b, at);
      const char *text = mp_report_inspect(b, g, &o, &err);
      if (!text) assert_int_equal(err.code, MP_INTERNAL);
      bool done = text != NULL;
      mp_arena_free(b);
      if (done) break;
      assert_true(at < 100000);
    }
  }
}

/* ---- models of the reference corpus that are refused: tests/refused.csv says which, with what message, and why that is right ---- */

typedef struct refusal {
  char file[512], dims[1024], message[128], reason[256];
} refusal;

static int read_refusals(refusal *to, int max) {
  FILE *f = fopen(MEMPLAN_SOURCE "/tests/refused.csv", "r");
  assert_non_null(f);
  char line[2048];
  int n = 0;
  for (bool head = true; fgets(line, sizeof line, f);) {
    if (line[0] == '#') continue;
    if (!head) {
      assert_true(n < max);
      refusal *r = &to[n++];
      char *fields[4] = {r->file, r->dims, r->message, r->reason}, *p = line;
      const size_t sizes[4] = {sizeof r->file, sizeof r->dims, sizeof r->message, sizeof r->reason};
      for (int i = 0; i < 4; i++) {
        size_t len = i < 3 ? strcspn(p, ",") : strcspn(p, "\n");
        snprintf(fields[i], sizes[i], "%.*s", (int)len, p);
        p += len + 1;
      }
      if (!r->message[0] || !r->reason[0]) fail_msg("refused.csv: file,dims,message,reason expected: %s", line);
    }
    head = false;
  }
  fclose(f);
  return n;
}

static void what_is_refused_is_refused_for_its_reason(void **state) {
  (void)state;
  static refusal list[40]; /* the corpus may have no more of them */
  int n = read_refusals(list, 40);
  assert_true(n > 0);
  const char *shared = test_shared();
  if (!shared) skip();
  char dir[] = "/tmp/memplan-test-XXXXXX", line[4096];
  assert_non_null(mkdtemp(dir));
  snprintf(line, sizeof line, "tail -n +3 '%s/tests/refused.csv' | cut -d, -f1 | sed 's#^#models/#' | tar -xJf '%s/corpus/models.tar.xz' -C %s -T -",
           MEMPLAN_SOURCE, shared, dir);
  assert_int_equal(system(line), 0);
  for (int i = 0; i < n; i++) {
    size_t at = (size_t)snprintf(line, sizeof line, "inspect --from-scratch '%s/models/%s'", dir, list[i].file);
    for (char *d = strtok(list[i].dims, " "); d; d = strtok(NULL, " ")) at += (size_t)snprintf(line + at, sizeof line - at, " --dim '%s'", d);
    int code;
    char errors[2048];
    char *text = test_command(line, &code, errors, sizeof errors);
    if (code != 2) fail_msg("%s: exit %d", list[i].file, code);
    holds(errors, list[i].message);
    assert_string_equal(text, "");
    assert_ptr_equal(strchr(errors, '\n'), errors + strlen(errors) - 1); /* one line */
    free(text);
  }
  snprintf(line, sizeof line, "rm -r %s", dir);
  assert_int_equal(system(line), 0);
}

static int new_arena(void **state) {
  snprintf(path, sizeof path, "/tmp/memplan-inspect-%d.onnx", (int)getpid());
  return !(*state = mp_arena_new(0));
}
static int free_arena(void **state) {
  unlink(path);
  mp_arena_free(*state);
  return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, new_arena, free_arena)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(json_has_what_was_promised),
      TEST(open_dims_stay_symbolic),
      TEST(what_is_unknown_is_null),
      TEST(statistics_are_no_parameters),
      TEST(parameters_of_subgraphs_count),
      TEST(sums_do_not_wrap),
      TEST(strange_names_stay_json),
      TEST(the_table_by_operator),
      TEST(the_tree_by_module),
      TEST(the_tree_by_name_scopes),
      TEST(one_node),
      TEST(what_is_not_known_and_why),
      TEST(bad_options_are_exit_2),
      TEST(warnings_go_to_stderr_unless_quiet),
      TEST(every_request_of_the_report_may_fail),
      TEST(what_is_refused_is_refused_for_its_reason),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
