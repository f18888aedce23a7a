/* Placements, plans as files, the checker, exports: on samples, and against every set of blocks of drawn programs. */
#include <unistd.h>

#include "support_command.h"
#include "support_program.h"

#define GPT2_DIMS "batch=8 seq=512" /* activations outweigh gradients: blocks can help */
#define GPT2 "samples/gpt2.onnx --dim batch=8 --dim seq=512 --optimizer sgd"

static const mp_answer *answer(mp_arena *a, const char *path, const char *dims) { /* "batch=2 seq=64" */
  static const mp_plan none;
  mp_question *q = mp_alloc(a, sizeof *q);
  mp_run *run = mp_alloc(a, sizeof *run);
  *run = mp_run_default();
  run->optimizer = mp_optimizer_find("sgd");
  MP_VEC(mp_binding) b = {0};
  char *rest = NULL;
  for (char *w = strtok_r(mp_strdup(a, dims), " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
    char *eq = strchr(w, '=');
    *eq = 0;
    *mp_push(a, &b) = (mp_binding){w, -1, atoll(eq + 1)};
  }
  *q = (mp_question){.path = mp_format(a, "%s/%s", MEMPLAN_SOURCE, path), .bindings = b.at, .binding_count = (uint32_t)b.n, .run = run, .plan = &none,
                     .workspaces = mp_workspaces_default()};
  mp_err err = {0};
  const mp_answer *x = mp_answer_make(a, q, &err);
  if (!x) fail_msg("%s", err.text);
  return x;
}

/* most alive at once in the last iteration, from the steps alone */
static uint64_t replayed(mp_arena *a, const mp_tape *t) {
  uint64_t *bytes = mp_alloc_array(a, t->instance_count + 1, sizeof *bytes), now = 0, peak = 0;
  for (uint32_t i = 0; i < t->step_count; i++) {
    const mp_step *s = &t->steps[i];
    if (s->kind == MP_ALLOC) now += bytes[s->id] = (s->bytes + 511) / 512 * 512;
    if (s->kind == MP_FREE) now -= bytes[s->id];
    if (s->iteration == 2 && now > peak) peak = now;
  }
  return peak;
}

static const mp_placement *place(mp_arena *a, const mp_answer *x, mp_granularity g, uint64_t budget) {
  mp_err err = {0};
  mp_search ask = {.granularity = g, .budget = budget, .time_limit = 0.5};
  const mp_placement *p = mp_placement_make(a, x->trace, x->question->run, &ask, &err);
  if (!p) fail_msg("%s", err.text);
  return p;
}

static void plans_stay_inside_their_budget(void **state) {
  (void)state;
  static const struct {
    const char *path, *dims;
  } models[] = {{"samples/gpt2.onnx", GPT2_DIMS}, {"samples/resnet50.onnx", "batch=32"}};
  for (size_t m = 0; m < 2; m++) {
    mp_arena *a = mp_arena_new(0);
    const mp_answer *x = answer(a, models[m].path, models[m].dims);
    uint64_t plain = x->timeline->peak.allocated, saved = x->timeline->saved_bytes;
    uint32_t feasible = 0;
    for (int g = MP_BY_BLOCKS; g <= MP_BY_CALLS; g++) {
      double before = 0;
      for (uint64_t part = 1; part <= (g == MP_BY_BLOCKS ? 3 : 1); part++) { /* of an eighth of what autograd keeps */
        uint64_t budget = plain - saved / 8 * part;
        const mp_placement *p = place(a, x, (mp_granularity)g, budget);
        assert_int_equal(replayed(a, p->tape), p->timeline->peak.allocated);
        assert_true(p->feasible == (p->timeline->peak.allocated <= budget));
        if (!p->feasible) continue;
        feasible++;
        assert_true(p->bound >= 0 && p->bound <= p->overhead);
        assert_true(p->overhead > 0 && p->overhead < 1.0 / 3 + 1e-9); /* a block once more is a third of forward and backward at most */
        assert_true(p->bound >= before - 1e-9);                       /* less memory never gets cheaper */
        before = p->bound;
      }
    }
    assert_true(feasible >= 3);
    assert_false(place(a, x, MP_BY_BLOCKS, plain / 100)->feasible);
    const mp_placement *free_one = place(a, x, MP_BY_BLOCKS, plain);
    assert_true(free_one->feasible && free_one->plan.checkpoints == 0);
    mp_arena_free(a);
  }
}

/* ---- every set of blocks ---- */

static const mp_program *drawn(mp_arena *a, uint64_t *seed, uint32_t blocks) {
  mp_text t = {0};
  mp_text_add(a, &t, "in x float32 64 64\nflops 1000\n");
  const char *last = "x";
  for (uint32_t k = 0; k < blocks; k++) {
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    uint32_t width = 32 + (uint32_t)(*seed >> 40) % 224, cost = 500 + (uint32_t)(*seed >> 33) % 3000;
    mp_text_add(a, &t, "p u%u float32 %u 64\np w%u float32 64 %u\nmodule layer.%u\nflops %u\n", k, width, k, width, k, cost);
    mp_text_add(a, &t, "call linear a%u %s u%u none\ncall gelu b%u a%u \"none\"\ncall linear c%u b%u w%u none\ncall add d%u c%u %s\n", k, last, k, k, k, k, k, k, k, k, last);
    last = mp_format(a, "d%u", k);
  }
  mp_text_add(a, &t, "module head\ncall sum loss %s\nout loss\n", last);
  return test_program(a, t.at);
}

static void no_set_of_blocks_is_cheaper(void **state) {
  (void)state;
  uint64_t seed = 5;
  uint32_t solved = 0;
  for (uint32_t round = 0; round < 24; round++) {
    mp_arena *a = mp_arena_new(0);
    mp_err err = {0};
    uint32_t n = 3 + round % 6;
    mp_run run = mp_run_default();
    if (round % 2) run.accumulate = 2;
    const mp_trace *t = mp_trace_make(a, drawn(a, &seed, n), &run, &err);
    uint64_t peaks[256], least_peak = UINT64_MAX;
    double costs[256];
    for (uint32_t bits = 0; bits < (uint32_t)1 << n; bits++) {
      const char *paths[8];
      mp_plan plan = {.checkpoint = paths};
      for (uint32_t k = 0; k < n; k++)
        if (bits >> k & 1) paths[plan.checkpoints++] = mp_format(a, "layer.%u", k);
      const mp_timeline *l = mp_timeline_make(a, mp_tape_make(a, t, &run, &plan, &err), &err);
      if (!l) fail_msg("%s", err.text);
      peaks[bits] = l->peak.allocated;
      costs[bits] = mp_overhead(l);
      if (peaks[bits] < least_peak) least_peak = peaks[bits];
    }
    for (uint64_t part = 0; part < 4; part++) {
      mp_search ask = {.granularity = MP_BY_BLOCKS, .budget = least_peak + (peaks[0] - least_peak) / 4 * part};
      double least = 1;
      for (uint32_t bits = 0; bits < (uint32_t)1 << n; bits++)
        if (peaks[bits] <= ask.budget && costs[bits] < least) least = costs[bits];
      const mp_placement *p = mp_placement_make(a, t, &run, &ask, &err);
      assert_non_null(p);
      if (!p->feasible) fail_msg("round %u: %u blocks, a set fits %llu bytes and none was found", round, n, (unsigned long long)ask.budget);
      assert_close(p->overhead, least, 1e-9);
      assert_true(p->bound <= least + 1e-9);
      solved += least > 0;
    }
    mp_arena_free(a);
  }
  assert_true(solved > 40);
}

/* ---- plans as files ---- */

/* Four blocks of 16 x 16, a linear layer and its tanh, in one module: each value takes 1 KiB.
 *   flat: each block keeps its input; nested: the outer module keeps its input alone. Its second run makes the blocks' inputs, and each block runs a third time. */
static void regions_nest_once(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_err err;
  mp_text t = {0};
  mp_text_add(a, &t, "in x float32 16 16\np w float32 16 16\ncall linear z0 x w none\n");
  for (int i = 0; i < 4; i++)
    mp_text_add(a, &t, "module all.%d\nflops 1000\ncall linear f%d z%d w none\ncall tanh z%d f%d\n", i, i, i, i + 1, i);
  mp_text_add(a, &t, "module\nflops 0\ncall linear y z4 w none\ncall sum loss y\nout loss\n");
  mp_run run = mp_run_default();
  run.optimizer = NULL;
  const mp_trace *trace = mp_trace_make(a, test_program(a, t.at), &run, &err);
  static const char *const flat[] = {"all.0", "all.1", "all.2", "all.3"}, *const nested[] = {"all.0..all.3", "all.0", "all.1", "all.2", "all.3"};
  const struct {
    const char *const *paths;
    uint32_t n;
    uint64_t saved, again;
  } cases[] = {
      {NULL, 0, (1 + 1 + 4) * 1024, 0},      /* x, z0 and each tanh's result */
      {flat, 4, (1 + 4 + 1) * 1024, 8000},   /* x, the inputs z0 .. z3, and z4 for the last product; all eight calls again */
      {nested, 1, (1 + 1 + 1) * 1024, 8000}, /* x, z0, z4 */
      {nested, 5, (1 + 1 + 1) * 1024, 14000}, /* the outer run again, until the last block's input is there: 6 calls; then each block: 8 */
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const mp_plan plan = {.checkpoint = cases[i].paths, .checkpoints = cases[i].n};
    const mp_timeline *l = mp_timeline_make(a, mp_tape_make(a, trace, &run, &plan, &err), &err);
    if (!l) fail_msg("%s", err.text);
    assert_int_equal(l->saved_bytes, cases[i].saved);
    assert_int_equal(l->flops_recompute, cases[i].again);
  }
  mp_arena_free(a);
}

/* frees between the gradients of `c = mul(a, b)` and the cast of a's */
static int frees_before_the_cast(mp_arena *a, const mp_trace *trace, const mp_run *run, const mp_plan *plan) {
  mp_err err;
  const mp_tape *t = mp_tape_make(a, trace, run, plan, &err);
  assert_non_null(t);
  int products = 0, frees = 0;
  for (uint32_t i = 0; i < t->step_count; i++) {
    const mp_step *s = &t->steps[i];
    if (s->iteration != 2 || s->phase != MP_BACKWARD) continue;
    if (s->kind == MP_ALLOC && products == 2) return strcmp(s->op, "aten::_to_copy") ? -1 : frees;
    if (s->kind == MP_ALLOC) products = strcmp(s->op, "aten::mul") ? 0 : products + 1;
    if (s->kind == MP_FREE && products < 2) products = 0; /* the product itself, where the region runs again */
    frees += products == 2 && s->kind == MP_FREE;
  }
  return -1;
}

/* torch.utils.checkpoint hands a saved tensor out and forgets it: the function that unpacks it holds it alone, and lets go when it returns; else the node does, after casts.
 *
 *   z bfloat16 -> [ a = linear(z, w) bfloat16, b = x + p float32, c = a * b ] -> sum */
static void what_is_computed_again_goes_with_its_function(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_err err;
  mp_run run = mp_run_default();
  run.optimizer = NULL;
  run.precision = MP_AMP_BF16;
  const char *text = "in x float32 16 16\np w float32 16 16\np p float32 16 16\ncall linear z x w none\n"
                     "module m\ncall linear a z w none\ncall add b x p\ncall mul c a b\nmodule\ncall sum loss c\nout loss\n";
  const mp_trace *trace = mp_trace_make(a, test_program(a, text), &run, &err);
  const char *region = "m";
  const mp_plan none = {0}, plan = {.checkpoint = &region, .checkpoints = 1};
  assert_int_equal(frees_before_the_cast(a, trace, &run, &none), 0);
  assert_int_equal(frees_before_the_cast(a, trace, &run, &plan), 2); /* a and b */
  mp_arena_free(a);
}

static void write_file(char *path, const char *text) {
  strcpy(path, "/tmp/memplan-plan-XXXXXX");
  int fd = mkstemp(path);
  assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
}

static char *replaced(mp_arena *a, const char *text, const char *from, const char *to) { /* the first time */
  const char *at = strstr(text, from);
  assert_non_null(at);
  return mp_format(a, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static uint64_t half_budget(mp_arena *a, const mp_answer **x) {
  *x = answer(a, "samples/gpt2.onnx", GPT2_DIMS);
  return (*x)->timeline->peak.allocated - (*x)->timeline->saved_bytes / 4;
}

static void a_plan_survives_its_file(void **state) {
  (void)state;
  for (int g = MP_BY_BLOCKS; g <= MP_BY_CALLS; g++) {
    mp_arena *a = mp_arena_new(0);
    mp_err err = {0};
    const mp_answer *x;
    uint64_t budget = half_budget(a, &x);
    const mp_placement *p = place(a, x, (mp_granularity)g, budget);
    assert_true(p->feasible);
    char path[40];
    write_file(path, mp_plan_write(a, x, p, (mp_granularity)g, budget, &err));
    const mp_plan_file *f = mp_plan_read(a, path, &err);
    if (!f) fail_msg("%s", err.text);
    assert_string_equal(f->granularity, mp_granularity_name((mp_granularity)g));
    assert_int_equal(f->budget, budget);
    const mp_timeline *l = mp_timeline_make(a, mp_tape_make(a, x->trace, x->question->run, mp_plan_bind(a, f, x->trace, &err), &err), &err);
    assert_int_equal(l->peak.allocated, p->timeline->peak.allocated);
    assert_int_equal(l->peak.reserved, p->timeline->peak.reserved);
    assert_int_equal(l->flops_recompute, p->timeline->flops_recompute);

    mp_run other = *x->question->run; /* another run, other dims, another model */
    other.precision = MP_AMP_BF16;
    const mp_trace *t = mp_trace_make(a, x->program, &other, &err);
    assert_null(mp_plan_bind(a, f, t, &err));
    assert_int_equal(err.code, MP_BAD_INPUT);
    assert_non_null(strstr(err.text, "another run"));
    assert_null(mp_plan_bind(a, f, answer(a, "samples/gpt2.onnx", "batch=8 seq=511")->trace, &err));
    assert_int_equal(err.code, MP_BAD_INPUT);
    assert_null(mp_plan_bind(a, f, answer(a, "samples/resnet50.onnx", "batch=2")->trace, &err));
    assert_non_null(strstr(err.text, "another model"));
    unlink(path);
    mp_arena_free(a);
  }
}

/* the rule that `memplan check` names for a plan, or "" for a valid one */
static void check_says(const char *text, const char *rule, int expected) {
  char path[40], args[512], said[1024];
  write_file(path, text);
  snprintf(args, sizeof args, "check " GPT2 " %s", path);
  int code;
  char *out = test_command(args, &code, said, sizeof said);
  if (code != expected || !strstr(expected == 2 ? said : out, rule)) fail_msg("exit %d, expected %d and '%s': %s%s", code, expected, rule, out, said);
  if (expected == 2) assert_string_equal(out, "");
  free(out);
  unlink(path);
}

static void the_checker_names_the_rule(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_err err = {0};
  const mp_answer *x;
  uint64_t budget = half_budget(a, &x);
  const mp_placement *p = place(a, x, MP_BY_BLOCKS, budget);
  const char *plan = mp_plan_write(a, x, p, MP_BY_BLOCKS, budget, &err), *first = p->plan.checkpoint[0];
  const char *path = x->question->path; /* the command is given the relative path: only the fingerprints count */
  assert_non_null(strstr(plan, path));
  check_says(plan, "valid", 0);
  check_says(replaced(a, plan, mp_format(a, "\"%s\"", first), mp_format(a, "\"%s\", \"%s.mlp\", \"%s.mlp.c_fc\"", first, first, first)), "regions nest once", 1);
  check_says(replaced(a, plan, mp_format(a, "\"%s\"", first), mp_format(a, "\"%s\"", p->plan.checkpoints > 1 ? p->plan.checkpoint[1] : first)), "the peak stays inside", 1);
  char *lower = replaced(a, plan, mp_format(a, "\"budget\": %llu", (unsigned long long)budget), "\"budget\": 1048576");
  check_says(replaced(a, lower, mp_format(a, "\"peak\": %llu", (unsigned long long)p->timeline->peak.allocated), "\"peak\": 1048576"), "the peak stays inside the budget", 1);
  check_says(replaced(a, plan, mp_format(a, "\"peak\": %llu", (unsigned long long)p->timeline->peak.allocated), "\"peak\": 1048576"), "the peak is what the plan says", 1);
  check_says(replaced(a, plan, "\"save_calls\": []", "\"save_calls\": [0]"), "what is kept is a matrix product", 1);
  check_says(replaced(a, plan, "\"version\": 1", "\"version\": 99"), "version 99", 2);
  check_says(replaced(a, plan, mp_format(a, "\"%s\"", first), "\"no.such.module\""), "no.such.module", 2);
  char *print = strstr(mp_strdup(a, plan), "\"fingerprint\": \"");
  check_says(replaced(a, plan, mp_strndup(a, print, 20), "\"fingerprint\": \"....."), "plan again", 2);
  check_says("{", "expected a plan", 2);
  mp_arena_free(a);
}

static bool has_python(const char *python, const char *module) {
  char line[512];
  snprintf(line, sizeof line, "'%s' -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec(\"%s\") is None)' >/dev/null 2>&1", python, module);
  return system(line) == 0;
}

static void the_command_plans_checks_and_exports(void **state) {
  (void)state;
  int code;
  char path[40], args[512], line[512];
  mp_arena *a = mp_arena_new(0);
  const mp_answer *x;
  uint64_t budget = half_budget(a, &x);
  for (int g = MP_BY_BLOCKS; g <= MP_BY_CALLS; g++) {
    snprintf(args, sizeof args, "plan " GPT2 " --budget %llu --granularity %s --json", (unsigned long long)budget, mp_granularity_name((mp_granularity)g));
    char *plan = test_command(args, &code, NULL, 0);
    assert_int_equal(code, 0);
    write_file(path, plan);
    free(plan);
    snprintf(args, sizeof args, "check " GPT2 " %s --json", path);
    char *out = test_command(args, &code, NULL, 0);
    assert_int_equal(code, 0);
    assert_non_null(strstr(out, "\"valid\": true"));
    free(out);
    snprintf(args, sizeof args, "check " GPT2 " --precision amp-bf16 %s", path);
    free(test_command(args, &code, line, sizeof line));
    assert_int_equal(code, 2);
    assert_non_null(strstr(line, "another run"));
    static const char *const targets[] = {"torch", "fsdp", "deepspeed", "megatron", "torchtitan"};
    static const char *const words[] = {"def apply(model)", "apply_activation_checkpointing", "activation_checkpointing", "--recompute-granularity", "[activation_checkpoint]"};
    for (size_t k = 0; k < 5; k++) {
      snprintf(args, sizeof args, "export %s --to %s", path, targets[k]);
      out = test_command(args, &code, NULL, 0);
      assert_int_equal(code, 0);
      assert_non_null(strstr(out, words[k]));
      if (k < 2 && has_python("python3", "py_compile")) {
        char source[48];
        char plain[40];
        write_file(plain, out);
        snprintf(source, sizeof source, "%s.py", plain);
        assert_int_equal(rename(plain, source), 0);
        snprintf(line, sizeof line, "python3 -c 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], \"exec\")' %s", source);
        assert_int_equal(system(line), 0);
        unlink(source);
      }
      free(out);
    }
    snprintf(args, sizeof args, "export %s --to jax", path);
    free(test_command(args, &code, line, sizeof line));
    assert_int_equal(code, 2);
    unlink(path);
  }
  mp_arena_free(a);
}

/* the exported module and a script behind it, with the real PyTorch */
static void run_with_torch(const mp_plan_file *f, const char *script) {
  const char *python = getenv("MEMPLAN_PYTHON") ? getenv("MEMPLAN_PYTHON") : "python3";
  if (!has_python(python, "torch")) {
    print_message("skipped: %s has no torch (MEMPLAN_PYTHON names another)\n", python);
    skip();
  }
  mp_arena *a = mp_arena_new(0);
  mp_err err = {0};
  const char *module = mp_plan_export(a, f, "torch", &err);
  assert_non_null(module);
  char path[40], line[256];
  write_file(path, mp_format(a, "%s\n\n%s", module, script));
  snprintf(line, sizeof line, "'%s' %s", python, path);
  assert_int_equal(system(line), 0);
  unlink(path);
  mp_arena_free(a);
}

/* Gradients with the exported plan applied are those without it. */
static void pytorch_runs_an_exported_plan(void **state) {
  (void)state;
  static const char *const regions[] = {"first", "rest.0..rest.1"};
  static const mp_policy_row rows[] = {{0, 0, "aten.addmm.default"}};
  mp_plan_file f = {.path = "plan.json", .model = "two.onnx", .checkpoint = regions, .checkpoints = 2, .policy = rows, .policies = 1};
  static const char script[] =
      "import copy, torch\n"
      "class Two(torch.nn.Module):\n"
      "    def __init__(self):\n"
      "        super().__init__()\n"
      "        L, S = torch.nn.Linear, torch.nn.Sequential\n"
      "        self.first = S(L(8, 16), torch.nn.GELU(), L(16, 8))\n"
      "        self.rest = S(S(L(8, 8), torch.nn.Tanh()), S(L(8, 8), torch.nn.Dropout(0.5)), L(8, 1))\n"
      "    def forward(self, x): return self.rest(self.first(x)).sum()\n"
      "torch.manual_seed(0)\n"
      "plain = Two(); wrapped = apply(copy.deepcopy(plain)); x = torch.randn(4, 8)\n"
      "runs = []\n"
      "gelu = torch.nn.functional.gelu\n"
      "torch.nn.functional.gelu = lambda *a, **k: runs.append(1) or gelu(*a, **k)\n"
      "for m in plain, wrapped:\n"
      "    torch.manual_seed(1); m(x).backward()\n"
      "assert len(runs) == 3, runs              # once without, twice with the plan\n"
      "names = [n for n, p in plain.named_parameters()]\n"
      "assert names == [n for n, p in wrapped.named_parameters()] and len(names) == 10\n"
      "for (n, p), q in zip(plain.named_parameters(), wrapped.parameters()): assert torch.equal(p.grad, q.grad), n\n";
  run_with_torch(&f, script);
}

/* A chain of couplings of two streams: between forward and backward only what the last gave is there, and gradients agree. */
static void pytorch_rebuilds_inputs(void **state) {
  (void)state;
  static const char *const modules[] = {"steps.0", "steps.1", "steps.2"};
  mp_plan_file f = {.path = "plan.json", .model = "coupled.onnx", .invertible = modules, .invertibles = 3};
  static const char script[] =
      "import copy\n"
      "class Step(torch.nn.Module):\n"
      "    def __init__(self):\n"
      "        super().__init__()\n"
      "        self.f, self.g = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh()), torch.nn.Linear(8, 8)\n"
      "    def forward(self, a, b): a = a + self.f(b); return a, b * torch.sigmoid(self.g(a)) + self.g(a)\n"
      "    def inverse(self, a, b): b = (b - self.g(a)) / torch.sigmoid(self.g(a)); return a - self.f(b), b\n"
      "seen = []\n"
      "class Net(torch.nn.Module):\n"
      "    def __init__(self): super().__init__(); self.head = torch.nn.Linear(8, 8); self.steps = torch.nn.ModuleList(Step() for _ in range(3))\n"
      "    def forward(self, x):\n"
      "        a, b = self.head(x).tanh(), self.head(-x)\n"
      "        for s in self.steps: seen[:] = [*seen, (a, b)]; a, b = s(a, b)\n"
      "        return (a * b).sum()\n"
      "torch.manual_seed(0)\n"
      "plain = Net().double(); rebuilt = apply(copy.deepcopy(plain)); x = torch.randn(4, 8).double()\n"
      "plain(x).backward(); seen.clear(); loss = rebuilt(x)\n"
      "assert all(t.untyped_storage().nbytes() == 0 for pair in seen for t in pair)\n"
      "loss.backward()\n"
      "for (n, p), q in zip(plain.named_parameters(), rebuilt.named_parameters()): torch.testing.assert_close(p.grad, q[1].grad, msg=n)\n"
      "assert not Rebuilt.givers or all(c.outputs is None for c, _ in Rebuilt.givers.values())\n";
  run_with_torch(&f, script);
}

/* A run of a Sequential's layers that is tried is the run that its name says, also where a layer was opened and ran nothing: what fits a budget fits every larger one. */
static void a_run_is_what_its_name_says(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_err err = {0};
  mp_run run = mp_run_default();
  run.optimizer = NULL;
  mp_text t = {0};
  mp_text_add(a, &t, "in v0 float32 512 64\np w float32 64 64\nmodule net\n");
  for (int i = 0; i < 16; i++) mp_text_add(a, &t, "module net.%d\nmodule net.%d\ncall %s v%d v%d%s\n", i % 3 || i == 15 ? i : i + 1, i, i % 2 ? "gelu" : "linear", i + 1, i, i % 2 ? " \"none\"" : " w none");
  mp_text_add(a, &t, "module\ncall sum loss v16\nout loss\n");
  const mp_trace *trace = mp_trace_make(a, test_program(a, t.at), &run, &err);
  if (!trace) fail_msg("%s", err.text);
  mp_plan none = {0};
  uint64_t plain = mp_timeline_make(a, mp_tape_make(a, trace, &run, &none, &err), &err)->peak.allocated;
  bool before = false;
  uint32_t feasible = 0;
  for (uint64_t budget = plain / 3; budget <= plain; budget += plain / 64) {
    mp_search ask = {.granularity = MP_BY_MODULES, .budget = budget, .time_limit = 0.5};
    const mp_placement *p = mp_placement_make(a, trace, &run, &ask, &err);
    if (!p) fail_msg("%s", err.text);
    if (before && !p->feasible) fail_msg("%llu bytes have no plan, fewer have", (unsigned long long)budget);
    if (p->feasible) assert_true(replayed(a, p->tape) <= budget);
    before = p->feasible;
    feasible += p->feasible;
  }
  assert_true(feasible > 4);
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_run_is_what_its_name_says), cmocka_unit_test(plans_stay_inside_their_budget), cmocka_unit_test(no_set_of_blocks_is_cheaper),          cmocka_unit_test(a_plan_survives_its_file), cmocka_unit_test(regions_nest_once),
      cmocka_unit_test(the_checker_names_the_rule),     cmocka_unit_test(the_command_plans_checks_and_exports), cmocka_unit_test(pytorch_runs_an_exported_plan),
      cmocka_unit_test(pytorch_rebuilds_inputs),        cmocka_unit_test(what_is_computed_again_goes_with_its_function),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
