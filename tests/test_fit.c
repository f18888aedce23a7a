/* memplan fit as a user meets it: exit codes, messages, tables, JSON; and figures that papers state. */
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support_command.h"
#include "support_draw.h"
#include "support_program.h"

#define SAMPLES MEMPLAN_SOURCE "/samples/"
#define BERT SAMPLES "bert-base.onnx --dim batch=2 --dim seq=32"

typedef struct said {
  char *out;
  char err[4096];
  int code;
} said;

static said ask(const char *args) {
  said s;
  s.out = test_command(args, &s.code, s.err, sizeof s.err);
  return s;
}

static json_t *ask_json(const char *args, int code) {
  said s = ask(args);
  json_error_t e;
  json_t *root = json_loads(s.out, 0, &e);
  if (s.code != code) fail_msg("memplan %s: exit code %d, expected %d: %s", args, s.code, code, s.err);
  if (!root) fail_msg("memplan %s: %s", args, e.text);
  free(s.out);
  return root;
}

static json_int_t number(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  if (!json_is_integer(v)) fail_msg("'%s' is no integer", key);
  return json_integer_value(v);
}

static const char *text_of(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  if (!json_is_string(v)) fail_msg("'%s' is no text", key);
  return json_string_value(v);
}

static const json_t *member(const json_t *o, const char *key, json_type type) {
  const json_t *v = json_object_get(o, key);
  if (!v || json_typeof(v) != type) fail_msg("'%s' is missing or of another type", key);
  return v;
}

/* ---- the contract: exit codes ---- */

static void fits_or_not_is_the_exit_code(void **state) {
  (void)state;
  const struct {
    const char *args;
    int code;
  } cases[] = {
      {"fit " BERT, 0}, /* no device: nothing that could fail to fit */
      {"fit " BERT " --device 24GB", 0},
      {"fit " BERT " --device 1GB", 1},
      {"fit " BERT " --device 24GB,1GB", 1}, /* all of them */
      {"fit " BERT " --device all", 0},      /* at least one */
      {"fit " SAMPLES "bert-base.onnx --dim seq=512 --dim batch=100000 --device all", 1},
      {"fit " SAMPLES "bert-base.onnx --dim seq=32 --dim batch=1,4096 --device 8GB", 1},
      {"fit " SAMPLES "dqn.onnx " SAMPLES "vae.onnx --dim batch=2 --device 8GB", 0},
      {"fit " BERT " --device 3GB --checkpoint blocks --json", 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    said s = ask(cases[i].args);
    if (s.code != cases[i].code) fail_msg("memplan %s: exit code %d, expected %d: %s", cases[i].args, s.code, cases[i].code, s.err);
    if (!*s.out) fail_msg("memplan %s says nothing", cases[i].args);
    free(s.out);
  }
}

static void wrong_input_is_one_line_and_code_2(void **state) {
  (void)state;
  const struct {
    const char *args, *part;
  } cases[] = {
      {"fit", "which model"},
      {"fit /nowhere.onnx --device 24GB", "/nowhere.onnx"},
      {"fit " SAMPLES "README.md", "README.md"},
      {"fit " SAMPLES "bert-base.onnx --dim batch=2", "dimension 'seq' is open; add --dim seq="},
      {"fit " BERT " --dim nothing=3", "nothing"},
      {"fit " BERT " --dim batch", "batch"},
      {"fit " BERT " --dim batch=0", "batch"},
      {"fit " SAMPLES "bert-base.onnx --dim seq=8 --dim batch=8..2", "batch=8..2"},
      {"fit " BERT " --device rtx309", "did you mean GeForce RTX 3090"},
      {"fit " BERT " --device a100-80", "A100"},
      {"fit " BERT " --optimizer adamwx", "adamw"},
      {"fit " BERT " --precision fp17", "fp16"},
      {"fit " BERT " --attention flesh", "flash"},
      {"fit " BERT " --loss hinge", "cross-entropy"},
      {"fit " BERT " --zero-grad never", "after-forward"},
      {"fit " BERT " --accumulate 0", "accumulate"},
      {"fit " BERT " --dropout 1.5", "probability"},
      {"fit " BERT " --lora x", "RANK"},
      {"fit " BERT " --freeze nothing.like.it", "nothing.like.it"},
      {"fit " BERT " --checkpoint nothing.like.it", "nothing.like.it"},
      {"fit " BERT " --workspace cublas", "cublas"},
      {"fit " BERT " --timeline x.txt", ".csv"},
      {"fit " BERT " --timeline /nowhere/x.csv", "/nowhere/x.csv"},
      {"fit " BERT " --devices 100000", "places to cut"},
      {"fit " MEMPLAN_SOURCE "/cmake", "without .onnx files"},
      {"diff " BERT, "MEASURED.csv"},
      {"frobnicate", "frobnicate"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    said s = ask(cases[i].args);
    if (s.code != 2) fail_msg("memplan %s: exit code %d, expected 2", cases[i].args, s.code);
    if (*s.out) fail_msg("memplan %s: stdout is not empty: %s", cases[i].args, s.out);
    if (!strstr(s.err, cases[i].part)) fail_msg("memplan %s: no '%s' in: %s", cases[i].args, cases[i].part, s.err);
    char *end = strchr(s.err, '\n');
    bool usage = end && !strncmp(end + 1, "Try `memplan", 12); /* argp's second line */
    if (!end || (end[1] && !usage)) fail_msg("memplan %s: not one line: %s", cases[i].args, s.err);
    free(s.out);
  }
}

/* ---- several at once ---- */

static void dims_give_a_row_each(void **state) {
  (void)state;
  said s = ask("fit " SAMPLES "bert-base.onnx --dim seq=128 --dim batch=1..64 --device 6GB");
  assert_int_equal(s.code, 1);
  for (int b = 1; b <= 64; b *= 2) {
    char row[32];
    snprintf(row, sizeof row, "batch=%d ", b);
    if (!strstr(s.out, row)) fail_msg("no row of %sin:\n%s", row, s.out);
  }
  const char *mark = strstr(s.out, "stops fitting");
  assert_non_null(mark);
  assert_null(strstr(mark + 1, "stops fitting")); /* once */
  free(s.out);
  json_t *root = ask_json("fit " SAMPLES "bert-base.onnx --dim seq=16,32 --dim batch=1,2,4 --json", 0);
  const json_t *rows = member(root, "rows", JSON_ARRAY);
  assert_int_equal(json_array_size(rows), 6);
  json_int_t small = number(json_object_get(json_array_get(rows, 0), "bytes"), "saved"), large = number(json_object_get(json_array_get(rows, 5), "bytes"), "saved");
  assert_true(large > 7 * small); /* 8 times the tokens, attention more */
  json_decref(root);
}

static void a_folder_gives_a_row_for_each_model(void **state) {
  (void)state;
  char folder[] = "/tmp/memplan-test-XXXXXX", args[256], file[2][64];
  assert_non_null(mkdtemp(folder));
  for (int i = 0; i < 2; i++) {
    char path[256], command[512];
    test_draw_file("in x float batch 4\nw W float 4 4\nnode MatMul x W -> y\nout y float\n", path, sizeof path);
    snprintf(file[i], sizeof file[i], "%s/m%d.onnx", folder, i);
    snprintf(command, sizeof command, "mv '%s' '%s'", path, file[i]);
    assert_int_equal(system(command), 0);
  }
  snprintf(args, sizeof args, "fit %s --dim batch=2,3 --json", folder);
  json_t *root = ask_json(args, 0);
  const json_t *rows = member(root, "rows", JSON_ARRAY);
  assert_int_equal(json_array_size(rows), 4);
  assert_string_equal(text_of(json_array_get(rows, 0), "model"), file[0]); /* by name, then by dims */
  assert_string_equal(text_of(json_array_get(rows, 3), "model"), file[1]);
  json_decref(root);
  for (int i = 0; i < 2; i++) unlink(file[i]);
  rmdir(folder);
}

static void all_devices_are_ranked_by_size(void **state) {
  (void)state;
  said s = ask("fit " BERT " --device all");
  assert_int_equal(s.code, 0);
  const char *small = strstr(s.out, "GeForce GTX 1060 6GB"), *large = strstr(s.out, "H100");
  assert_non_null(small);
  assert_non_null(large);
  assert_true(small < large);
  free(s.out);
  json_t *root = ask_json("fit " BERT " --device all --json", 0);
  json_t *catalogue = ask_json("devices --json", 0);
  assert_int_equal(json_array_size(json_object_get(root, "devices")), json_array_size(json_object_get(catalogue, "devices")));
  json_decref(catalogue);
  json_decref(root);
}

/* ---- JSON: the keys of the contract, and sums ---- */

static void sums_hold(const json_t *root) {
  const json_t *peak = member(root, "peak", JSON_OBJECT), *v;
  const char *k;
  json_int_t sum = 0, saved = 0;
  json_object_foreach((json_t *)(uintptr_t)member(peak, "bytes", JSON_OBJECT), k, *(json_t **)&v) sum += json_integer_value(v);
  assert_int_equal(sum, number(peak, "allocated"));
  assert_true(number(peak, "reserved") >= number(peak, "allocated"));
  const json_t *list = member(root, "saved", JSON_ARRAY);
  assert_true(json_array_size(list) > 0);
  for (size_t i = 0; (v = json_array_get(list, i)); i++) {
    saved += number(v, "bytes");
    text_of(v, "call"), text_of(v, "module"), text_of(v, "what"), text_of(v, "dtype");
    member(v, "dims", JSON_ARRAY);
  }
  assert_int_equal(saved, number(member(root, "bytes", JSON_OBJECT), "saved"));
}

static void json_has_what_the_contract_says(void **state) {
  (void)state;
  const char *const bytes[] = {"parameters", "buffers", "inputs", "gradients", "optimizer", "saved"};
  const char *const flops[] = {"forward", "backward", "recompute"}, *const work[] = {"cublas", "cudnn_low", "cudnn_high", "context"};
  json_t *root = ask_json("fit " BERT " --device 24GB --json", 0);
  text_of(root, "model");
  assert_int_equal(number(root, "parameters"), 109482240);
  for (size_t i = 0; i < 6; i++) number(member(root, "bytes", JSON_OBJECT), bytes[i]);
  for (size_t i = 0; i < 3; i++) number(member(root, "flops", JSON_OBJECT), flops[i]);
  for (size_t i = 0; i < 4; i++) number(member(root, "workspace", JSON_OBJECT), work[i]);
  number(root, "after_forward");
  const json_t *peak = member(root, "peak", JSON_OBJECT), *d = json_array_get(member(root, "devices", JSON_ARRAY), 0);
  number(peak, "first_iteration"), text_of(peak, "phase"), text_of(peak, "call"), text_of(peak, "module");
  assert_string_equal(text_of(d, "verdict"), "fits");
  assert_true(json_is_true(json_object_get(d, "fits")));
  assert_int_equal(number(d, "usable"), (json_int_t)24 << 30); /* a size: all of it */
  assert_int_equal(number(d, "needed") + number(d, "spare"), number(d, "usable"));
  assert_int_equal(number(d, "needed"), number(peak, "reserved") + number(json_object_get(root, "workspace"), "cublas") + number(json_object_get(root, "workspace"), "cudnn_low") +
                                            number(json_object_get(root, "workspace"), "context"));
  assert_int_equal(number(json_object_get(root, "workspace"), "cublas"), 2 * 8519680);
  sums_hold(root);
  json_decref(root);
}

/* the largest first; all of them are the peak, each as the allocator rounds it */
static void the_largest_storages_are_the_peak(void **state) {
  (void)state;
  json_t *root = ask_json("fit " BERT " --device 24GB --top 100000 --json", 0);
  const json_t *all = member(root, "largest", JSON_ARRAY);
  json_int_t sum = 0, before = INT64_MAX;
  for (size_t i = 0; i < json_array_size(all); i++) {
    const json_t *x = json_array_get(all, i);
    assert_true(number(x, "bytes") <= before);
    before = number(x, "bytes");
    sum += (before + 511) / 512 * 512;
    text_of(x, "category"), text_of(x, "call"), text_of(x, "module");
  }
  assert_int_equal(sum, number(member(root, "peak", JSON_OBJECT), "allocated"));
  json_decref(root);
}

static void sums_hold_for_other_models_and_runs(void **state) {
  (void)state;
  const char *const cases[] = {"fit " SAMPLES "resnet50.onnx --dim batch=2 --loss cross-entropy --precision amp-fp16 --optimizer sgd-momentum --json",
                               "fit " SAMPLES "gpt2.onnx --dim batch=2 --dim seq=16 --precision bf16-master --accumulate 3 --json",
                               "fit " BERT " --checkpoint blocks --optimizer adafactor --json"};
  for (size_t i = 0; i < 3; i++) {
    json_t *root = ask_json(cases[i], 0);
    sums_hold(root);
    json_decref(root);
  }
}

/* cuDNN's workspaces: none without convolutions; with them at most half of what the replay leaves unused goes, at least a third of it or a copy of the largest operands comes. What may
 * go is not counted on: needed stays what reserved asks for. */
static void cudnn_moves_reserved_by_a_range(void **state) {
  (void)state;
  json_t *root = ask_json("fit " BERT " --device 24GB --json", 0), *w = json_object_get(root, "workspace");
  assert_int_equal(number(w, "cudnn_low"), 0);
  assert_int_equal(number(w, "cudnn_high"), 0);
  json_decref(root);
  root = ask_json("fit " SAMPLES "resnet50.onnx --dim batch=8 --loss cross-entropy --device 24GB --json", 0);
  w = json_object_get(root, "workspace");
  json_int_t reserved = number(json_object_get(root, "peak"), "reserved"), unused = reserved - number(json_object_get(root, "peak"), "allocated");
  assert_int_equal(number(w, "cudnn_low"), -(unused / 2));
  assert_in_range(number(w, "cudnn_high"), unused / 3, unused);
  /* layer1.0.conv3: 8 x 64 x 56 x 56 in, 8 x 256 x 56 x 56 out, its weight */
  assert_true(number(w, "cudnn_high") >= 4 * (8 * (64 + 256) * 56 * 56 + 64 * 256));
  assert_int_equal(number(json_array_get(json_object_get(root, "devices"), 0), "needed"), reserved + number(w, "cublas") + number(w, "context"));
  json_decref(root);
}

static void overrides_count(void **state) {
  (void)state;
  json_t *root = ask_json("fit " BERT " --device 24GB --workspace cublas=0,cudnn=1MB,context=100MB --json", 0);
  const json_t *w = member(root, "workspace", JSON_OBJECT);
  assert_int_equal(number(w, "cublas"), 0);
  assert_int_equal(number(w, "cudnn_low"), 1 << 20);
  assert_int_equal(number(w, "cudnn_high"), 1 << 20);
  assert_int_equal(number(w, "context"), 100 << 20);
  json_decref(root);
}

static bool warns(const json_t *root, const char *part) {
  const json_t *list = member(root, "warnings", JSON_ARRAY), *v;
  for (size_t i = 0; (v = json_array_get(list, i)); i++)
    if (strstr(json_string_value(v), part)) return true;
  return false;
}

static void what_is_assumed_is_said(void **state) {
  (void)state;
  json_t *root = ask_json("fit " SAMPLES "resnet50.onnx --dim batch=2 --json", 0);
  assert_true(warns(root, "no loss"));
  json_decref(root);
  root = ask_json("fit " SAMPLES "resnet50.onnx --dim batch=2 --loss cross-entropy --json", 0);
  assert_false(warns(root, "no loss")); /* asked for */
  json_decref(root);
  root = ask_json("fit " SAMPLES "gpt2.onnx --dim batch=2 --dim seq=8 --json", 0);
  assert_false(warns(root, "no loss")); /* the file has it */
  json_decref(root);
  said s = ask("fit " SAMPLES "resnet50.onnx --dim batch=2,4");
  assert_non_null(strstr(s.out, "no loss")); /* tables say it too */
  free(s.out);
}

/* ---- files that fit writes ---- */

static void the_timeline_adds_up(void **state) {
  (void)state;
  char path[] = "/tmp/memplan-test-XXXXXX.csv", args[512], line[1024];
  int fd = mkstemps(path, 4);
  assert_true(fd >= 0);
  snprintf(args, sizeof args, "fit " BERT " --timeline %s --json", path);
  json_t *root = ask_json(args, 0);
  FILE *f = fdopen(fd, "r");
  assert_non_null(fgets(line, sizeof line, f));
  assert_true(!strncmp(line, "step,iteration,phase,event,call,module,bytes,allocated,parameter,", 65));
  long long top = 0, rows = 0;
  while (fgets(line, sizeof line, f)) {
    int commas = 0;
    long long sum = 0, all = 0;
    for (char *p = line; (p = strchr(p, ',')); p++)
      if (++commas == 7) all = atoll(p + 1);
      else if (commas > 7) sum += atoll(p + 1);
    assert_int_equal(sum, all);
    if (strstr(line, ",3,") && all > top) top = all;
    rows++;
  }
  fclose(f);
  unlink(path);
  assert_true(rows > 1000);
  assert_int_equal(top, number(json_object_get(root, "peak"), "allocated"));
  json_decref(root);
}

static void expandable_segments_leave_less_idle(void **state) {
  (void)state;
  json_t *plain = ask_json("fit " BERT " --json", 0), *grown = ask_json("fit " BERT " --expandable-segments --json", 0);
  const json_t *p = json_object_get(plain, "peak"), *g = json_object_get(grown, "peak");
  assert_int_equal(number(p, "allocated"), number(g, "allocated"));
  assert_true(number(g, "reserved") < number(p, "reserved"));
  assert_int_equal(number(g, "reserved") % (2 << 20), 0); /* pages of 2 and of 20 MiB */
  json_decref(plain);
  json_decref(grown);
}

/* ---- measured beside predicted ---- */

static void diff_finds_the_quantity_that_parts(void **state) {
  (void)state;
  json_t *fit = ask_json("fit " BERT " --precision amp-bf16 --json", 0);
  char path[] = "/tmp/memplan-test-XXXXXX.csv", args[512];
  FILE *f = fdopen(mkstemps(path, 4), "w");
  json_int_t saved = number(json_object_get(fit, "bytes"), "saved"), peak = number(json_object_get(fit, "peak"), "allocated");
  fprintf(f, "model,dims,precision,saved_bytes,peak_bytes\nbert-base,batch=2;seq=32,amp-bf16,%lld,%lld\nbert-base,batch=2;seq=32,amp-bf16,%lld,%lld\nother,batch=9,,1,1\n",
          (long long)saved, (long long)peak, (long long)saved + 4, (long long)peak);
  fclose(f);
  snprintf(args, sizeof args, "diff " SAMPLES "bert-base.onnx %s --json", path);
  json_t *root = ask_json(args, 0);
  const json_t *rows = member(root, "rows", JSON_ARRAY);
  assert_int_equal(json_array_size(rows), 2);
  assert_true(json_is_null(json_object_get(json_array_get(rows, 0), "parts_at")));
  assert_string_equal(text_of(json_array_get(rows, 1), "parts_at"), "saved_bytes");
  json_decref(root);
  json_decref(fit);
  unlink(path);
}

/* a snapshot as PyTorch would take of the tape itself, but for one allocation of another size, one that is not predicted, and cuBLAS's workspace */
static void diff_finds_the_allocation_that_parts(void **state) {
  (void)state;
  char csv[] = "/tmp/memplan-test-XXXXXX.csv", json[] = "/tmp/memplan-test-XXXXXX.json", args[512], line[1024];
  int fd = mkstemps(csv, 4);
  snprintf(args, sizeof args, "fit " SAMPLES "vae.onnx --dim batch=64 --timeline %s --json", csv);
  json_decref(ask_json(args, 0));
  FILE *in = fdopen(fd, "r"), *out = fdopen(mkstemps(json, 5), "w");
  fprintf(out, "{\"segments\": [], \"device_traces\": [[{\"action\": \"segment_alloc\", \"addr\": 1, \"size\": 2097152}");
  for (int allocs = 0; fgets(line, sizeof line, in);) {
    const char *event = strstr(line, ",alloc,"), *p = line;
    for (int commas = 0; commas < 6 && p; commas++) p = strchr(p, ',') + 1;
    long long bytes = atoll(p);
    if (!event || !bytes) continue;
    allocs++;
    if (allocs == 60) fprintf(out, ", {\"action\": \"alloc\", \"addr\": 2, \"size\": 8519680, \"frames\": []}");
    if (allocs == 70) bytes += 4096;
    fprintf(out, ", {\"action\": \"alloc\", \"addr\": 2, \"size\": %lld, \"frames\": [{\"filename\": \"/x/torch/nn/linear.py\", \"line\": 1, \"name\": \"forward\"}, {\"filename\": \"/x/vae.py\", "
                 "\"line\": 7, \"name\": \"decode\"}]}", bytes);
    if (allocs == 90) fprintf(out, ", {\"action\": \"alloc\", \"addr\": 3, \"size\": 123456789, \"frames\": []}");
  }
  fprintf(out, "]]}");
  fclose(out);
  fclose(in);
  snprintf(args, sizeof args, "diff " SAMPLES "vae.onnx %s --dim batch=64 --json", json);
  json_t *root = ask_json(args, 0);
  assert_int_equal(number(root, "parts"), 2);
  assert_int_equal(number(root, "workspaces"), 1);
  const json_t *places = member(root, "places", JSON_ARRAY), *first = json_array_get(places, 0), *second = json_array_get(places, 1);
  assert_int_equal(number(first, "allocation"), 70);
  const json_t *is = json_array_get(json_object_get(first, "measured"), 0), *was = json_array_get(json_object_get(first, "predicted"), 0);
  assert_int_equal(number(is, "bytes") - number(was, "bytes"), 4096);
  assert_string_equal(text_of(is, "where"), "vae.py:7 decode");
  assert_int_equal(number(json_array_get(json_object_get(second, "measured"), 0), "bytes"), 123456789);
  assert_int_equal(json_array_size(json_object_get(second, "predicted")), 0);
  json_decref(root);
  unlink(csv);
  unlink(json);
}

/* ---- figures that papers state ---- */

static void samples_have_the_published_parameters(void **state) {
  (void)state;
  const struct {
    const char *args;
    json_int_t parameters;
  } cases[] = {{"fit " BERT " --json", 109482240},
               {"fit " SAMPLES "bert-large.onnx --dim batch=1 --dim seq=8 --json", 336226108},
               {"fit " SAMPLES "gpt2.onnx --dim batch=1 --dim seq=8 --json", 124439808},
               {"fit " SAMPLES "alexnet.onnx --dim batch=1 --json", 60965224},
               {"fit " SAMPLES "resnet50.onnx --dim batch=1 --json", 25557032}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_t *root = ask_json(cases[i].args, 0);
    assert_int_equal(number(root, "parameters"), cases[i].parameters);
    json_decref(root);
  }
}

/* Korthikanti et al. 2022, equation 1: a layer of a pre-LN transformer keeps sbh (34 + 5 as/h) bytes in half precision. The layer norms' statistics, two fp32
 * numbers a token each, are the paper's "2sb", which it leaves out: 16 sb. Its last addition feeds the next layer, which keeps it. */
static uint64_t layer(int b, int s, int h, int a) {
  mp_arena *m = mp_arena_new(0);
  int d = h / a;
  mp_text t = {0};
  mp_text_add(m, &t, "in x float32 %d %d %d\n", b, s, h);
  for (const char *w = "qkvo"; *w; w++) mp_text_add(m, &t, "p w%c float32 %d %d\np b%c float32 %d\n", *w, h, h, *w, h);
  mp_text_add(m, &t, "p w1 float32 %d %d\np b1 float32 %d\np w2 float32 %d %d\np b2 float32 %d\n", 4 * h, h, 4 * h, h, 4 * h, h);
  mp_text_add(m, &t, "p g1 float32 %d\np c1 float32 %d\np g2 float32 %d\np c2 float32 %d\n", h, h, h, h);
  mp_text_add(m, &t, "call layer_norm n x [%d] g1 c1 0.00001\n", h);
  for (const char *w = "qkv"; *w; w++) {
    mp_text_add(m, &t, "call linear %cl n w%c b%c\ncall view %cw %cl [%d,%d,%d,%d]\n", *w, *w, *w, *w, *w, b, s, a, d);
    mp_text_add(m, &t, "call transpose %ct %cw 1 2\n", *w, *w);
  }
  mp_text_add(m, &t, "call transpose kk kt 2 3\ncall matmul scores qt kk\ncall div scaled scores %.1f\n", 8.0);
  mp_text_add(m, &t, "call softmax p scaled -1\ncall dropout pd p 0.1 true\ncall matmul ctx pd vt\ncall transpose ct ctx 1 2\n");
  mp_text_add(m, &t, "call reshape cr ct [%d,%d,%d]\ncall linear o cr wo bo\ncall dropout od o 0.1 true\ncall add r x od\n", b, s, h);
  mp_text_add(m, &t, "call layer_norm n2 r [%d] g2 c2 0.00001\ncall linear u n2 w1 b1\ncall gelu g u \"none\"\ncall linear y g w2 b2\ncall dropout yd y 0.1 true\n", h);
  mp_text_add(m, &t, "call add z r yd\ncall sum loss z\nout loss\n");
  uint64_t saved = test_program_run(m, t.at, "bf16").saved;
  mp_arena_free(m);
  return saved;
}

static void a_transformer_layer_keeps_what_the_paper_says(void **state) {
  (void)state;
  const int cases[][4] = {{2, 16, 64, 4}, {1, 128, 256, 8}, {4, 32, 128, 2}};
  for (size_t i = 0; i < 3; i++) {
    uint64_t b = (uint64_t)cases[i][0], s = (uint64_t)cases[i][1], h = (uint64_t)cases[i][2], a = (uint64_t)cases[i][3];
    assert_int_equal(layer(cases[i][0], cases[i][1], cases[i][2], cases[i][3]), 34 * s * b * h + 5 * a * s * s * b + 16 * s * b);
  }
}

/* 8.62 GiB of segments for 7.92 GiB of tensors: segments that grow hold them in less */
static void segments_that_expand_are_an_advice(void **state) {
  (void)state;
  said s = ask("fit " SAMPLES "gpt2.onnx --dim batch=4 --dim seq=1024 --device 8.6GB");
  assert_int_equal(s.code, 1);
  assert_non_null(strstr(s.out, "\n  --expandable-segments   "));
  free(s.out);
  s = ask("fit " SAMPLES "gpt2.onnx --dim batch=4 --dim seq=1024 --device 8.6GB --expandable-segments");
  assert_int_equal(s.code, 0);
  free(s.out);
}

static bool answer_warns(const char *args, int code, const char *part) {
  json_t *root = ask_json(args, code);
  bool found = warns(root, part);
  json_decref(root);
  return found;
}

/* needed: 9,689,104,384 bytes */
static void a_narrow_verdict_is_a_warning(void **state) {
  (void)state;
  assert_true(answer_warns("fit " SAMPLES "gpt2.onnx --dim batch=4 --dim seq=1024 --device 9.1GB --json", 0, "9.1GB: fits with 78.1 MiB to spare"));
  assert_false(answer_warns("fit " SAMPLES "gpt2.onnx --dim batch=4 --dim seq=1024 --device 12GB --json", 0, "to spare"));
  assert_true(answer_warns("fit " SAMPLES "vgg16.onnx --dim batch=64 --device 8GB --loss cross-entropy --optimizer sgd-momentum --json", 1, "8GB: what is missing is cached by the allocator"));
  assert_false(answer_warns("fit " SAMPLES "vgg16.onnx --dim batch=64 --device 6GB --loss cross-entropy --optimizer sgd-momentum --json", 1, "cached"));
}

static json_int_t peak_of(const char *args) {
  json_t *root = ask_json(args, 0);
  json_int_t n = number(member(root, "peak", JSON_OBJECT), "allocated");
  json_decref(root);
  return n;
}

static void inference_is_one_pass(void **state) {
  (void)state;
  assert_int_equal(peak_of("fit " SAMPLES "resnet50.onnx --dim batch=2 --device 16GB --infer --accumulate 3 --json"),
                   peak_of("fit " SAMPLES "resnet50.onnx --dim batch=2 --device 16GB --infer --json"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fits_or_not_is_the_exit_code),
      cmocka_unit_test(segments_that_expand_are_an_advice),
      cmocka_unit_test(inference_is_one_pass),
      cmocka_unit_test(a_narrow_verdict_is_a_warning),
      cmocka_unit_test(wrong_input_is_one_line_and_code_2),
      cmocka_unit_test(dims_give_a_row_each),
      cmocka_unit_test(a_folder_gives_a_row_for_each_model),
      cmocka_unit_test(all_devices_are_ranked_by_size),
      cmocka_unit_test(json_has_what_the_contract_says),
      cmocka_unit_test(the_largest_storages_are_the_peak), cmocka_unit_test(sums_hold_for_other_models_and_runs),
      cmocka_unit_test(cudnn_moves_reserved_by_a_range), cmocka_unit_test(overrides_count),
      cmocka_unit_test(what_is_assumed_is_said),
      cmocka_unit_test(the_timeline_adds_up),
      cmocka_unit_test(expandable_segments_leave_less_idle),
      cmocka_unit_test(diff_finds_the_quantity_that_parts),
      cmocka_unit_test(diff_finds_the_allocation_that_parts),
      cmocka_unit_test(samples_have_the_published_parameters),
      cmocka_unit_test(a_transformer_layer_keeps_what_the_paper_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
