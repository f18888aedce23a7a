#include <ctype.h>
#include <jansson.h>

#include "devices/devices.h"
#include "support_base.h"
#include "support_command.h"

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

static const mp_device *find(const char *text) {
  mp_err err = {0};
  const mp_device *d = mp_device_find(arena, text, &err);
  if (!d) print_message("%s\n", err.text);
  assert_non_null(d);
  return d;
}

static void sizes(void **state) {
  (void)state;
  const struct {
    const char *text;
    uint64_t bytes;
  } good[] = {{"24GB", 24ull << 30},
              {"24GiB", 24ull << 30},
              {"80g", 80ull << 30},
              {"80 G", 80ull << 30},
              {"1TB", 1ull << 40},
              {"512MiB", 512ull << 20},
              {"1000000", 1000000},
              {"1.5GB", 3ull << 29},
              {"0.5k", 512},
              {"18446744073709551615", UINT64_MAX},
              {"7B", 7}};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    uint64_t bytes = 0;
    assert_true(mp_size_parse(good[i].text, &bytes));
    assert_int_equal(bytes, good[i].bytes);
  }
  const char *bad[] = {"", "GB", "24XB", "24GBs", "-1", "1.5", "18446744073709551616", "99999999PB", "24 Gi", "1.G", "0x10", "4090x"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    uint64_t bytes;
    if (mp_size_parse(bad[i], &bytes)) fail_msg("'%s' is taken as a size", bad[i]);
  }
}

static void a_size_is_a_device(void **state) {
  (void)state;
  const mp_device *d = find("24GiB");
  assert_true(mp_device_is_size(d));
  assert_int_equal(d->usable, 24ull << 30);
  assert_int_equal(d->parts, 1);
  mp_err err = {0};
  assert_null(mp_device_find(arena, "0GB", &err));
  assert_int_equal(err.code, MP_BAD_INPUT);
}

static void words_lead_to_rows(void **state) {
  (void)state;
  const struct {
    const char *text, *name;
  } rows[] = {{"a100-80g", "A100 SXM4 80GB"},
              {"A100 80GB", "A100 SXM4 80GB"},
              {"a100", "A100 SXM4 40GB"},
              {"NVIDIA A100-SXM4-80GB", "A100 SXM4 80GB"},
              {"h100", "H100 SXM5 80GB"},
              {"v100-32g", "Tesla V100 SXM2 32GB"},
              {"k80", "Tesla K80"},
              {"rtx8000", "Quadro RTX 8000"},
              {"4090", "GeForce RTX 4090"},
              {"RTX 4090", "GeForce RTX 4090"},
              {"nvidia geforce rtx 4090", "GeForce RTX 4090"},
              {"tpu-v3", "TPU v3 (board, 4 chips)"},
              {"TPU V3", "TPU v3 (board, 4 chips)"},
              {"Tesla T4", "Tesla T4"},
              {"mi300x", "Instinct MI300X"},
              {"1080 Ti", "GeForce GTX 1080 Ti"},
              {"rtx_2080_ti", "GeForce RTX 2080 Ti"},
              {"AMD Instinct MI250X", "Instinct MI250X"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) assert_string_equal(find(rows[i].text)->name, rows[i].name);
}

static void a_miss_names_the_nearest(void **state) {
  (void)state;
  const struct {
    const char *text, *near;
  } rows[] = {{"a1000-80g", "A100"}, {"rtx490", "4090"}, {"h1000", "H100"}, {"tpuv33", "TPU v3"}, {"geforce rtx 4091", "4090"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    mp_err err = {0};
    assert_null(mp_device_find(arena, rows[i].text, &err));
    assert_int_equal(err.code, MP_BAD_INPUT);
    assert_non_null(strstr(err.text, "did you mean"));
    if (!strstr(err.text, rows[i].near)) fail_msg("%s", err.text);
  }
  mp_err err = {0};
  assert_null(mp_device_find(arena, "qqqqqqqqqqqqqqqq", &err));
  assert_null(strstr(err.text, "did you mean"));
  assert_null(mp_device_find(arena, "", &(mp_err){0}));
  assert_null(mp_device_find(arena, "---", &(mp_err){0}));
}

static void boards_are_several_memories(void **state) {
  (void)state;
  const struct {
    const char *text;
    unsigned parts, gib;
  } rows[] = {{"k80", 2, 12}, {"tpu-v2", 8, 8}, {"tpu-v3", 8, 16}, {"mi250x", 2, 64}, {"m60", 2, 8}, {"a16", 4, 16}, {"h100", 1, 80}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    assert_int_equal(find(rows[i].text)->parts, rows[i].parts);
    assert_int_equal(find(rows[i].text)->memory, (uint64_t)rows[i].gib << 30);
  }
}

static void squeeze(const char *s, char *word) {
  for (; *s; s++)
    if (isalnum((unsigned char)*s)) *word++ = (char)tolower((unsigned char)*s);
  *word = 0;
}

/* Every row: sound figures; its name and aliases lead to it and to no other row. */
static void the_catalogue_is_sound(void **state) {
  (void)state;
  assert_true(mp_device_count() > 150);
  assert_null(mp_device_at(mp_device_count()));
  mp_names *seen = mp_names_new(arena, 1024);
  for (uint32_t i = 0; i < mp_device_count(); i++) {
    const mp_device *d = mp_device_at(i);
    assert_true(d->year >= 2010 && d->year <= 2026 && d->parts >= 1);
    assert_true(d->usable <= d->memory && d->usable > d->memory / 2);
    assert_true(*d->source && *d->usable_from && *d->vendor);
    assert_true(d->bandwidth > 0);
    assert_true((d->runs == MP_RUNS_CUDA) == (d->cc >= 35));
    if (d->fp16 > 0 && d->fp32 > 0) assert_true(d->fp16 > d->fp32);
    if (d->fp8 > 0 && d->bf16 > 0) assert_true(d->fp8 >= d->bf16);
    assert_ptr_equal(find(d->name), d);
    char word[128], list[512];
    bool added;
    snprintf(list, sizeof list, "%s", d->aliases);
    for (char *p = strtok(list, " "); p; p = strtok(NULL, " ")) {
      assert_ptr_equal(find(p), d);
      squeeze(p, word);
      mp_names_add(arena, seen, word, strlen(word), &added);
      if (!added) fail_msg("%s: the alias %s is taken twice", d->name, p);
    }
  }
}

static void the_drivers_figures_stand(void **state) {
  (void)state;
  const struct {
    const char *text;
    uint64_t mib;
  } rows[] = {{"k80", 11441},  {"t4", 15360},        {"l4", 23034},   {"4090", 24564},  {"5090", 32607}, {"a40", 46068},
              {"l40s", 46068}, {"a100-80gb", 81920}, {"h100", 81559}, {"h200", 143771}, {"b200", 183359}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) assert_int_equal(find(rows[i].text)->usable, rows[i].mib << 20);
}

/* devices.csv of the reference data: memory, bandwidth and peaks agree wherever both state them */
static void the_reference_rows_agree(void **state) {
  (void)state;
  if (!test_shared()) return;
  char path[512], line[1024];
  snprintf(path, sizeof path, "%s/devices/devices.csv", test_shared());
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  unsigned n = 0;
  for (bool head = true; fgets(line, sizeof line, f); head = false) {
    if (head) continue;
    char *cell[10] = {0};
    cell[0] = line;
    for (int k = 1; k < 10; k++) {
      cell[k] = strchr(cell[k - 1], ',');
      assert_non_null(cell[k]);
      *cell[k]++ = 0;
    }
    /* names of that table that are written otherwise here */
    static const struct {
      const char *theirs, *ours;
    } other[] = {{"Tesla K80 (per GPU; board=2x)", "k80-gpu"}, {"Instinct MI250X (package; 2 GCD x 64GB)", "mi250x"},
                 {"Instinct MI250X (per GCD)", "mi250x-gcd"},  {"H100 NVL (per GPU)", "h100-nvl"},
                 {"TPU v2 (per core)", "tpu-v2-core"},         {"TPU v2 (board; 4 chips)", "tpu-v2"},
                 {"TPU v3 (per core)", "tpu-v3-core"},         {"TPU v3 (board; 4 chips)", "tpu-v3"}};
    const char *text = cell[0];
    for (size_t k = 0; k < sizeof other / sizeof *other; k++)
      if (!strcmp(other[k].theirs, text)) text = other[k].ours;
    if (text == cell[0] && strstr(text, " (per chip)")) *strstr(cell[0], " (per chip)") = 0;
    if (text == cell[0] && strstr(text, " (max config)")) *strstr(cell[0], " (max config)") = 0;
    const mp_device *d = find(text);
    assert_int_equal(d->memory * d->parts, (uint64_t)atoi(cell[3]) << 30);
    const double ours[] = {d->bandwidth, d->fp32, d->tf32, d->fp16, d->bf16, d->fp8};
    for (int k = 0; k < 6; k++)
      if (*cell[4 + k]) assert_close(ours[k], atof(cell[4 + k]), 1e-6);
    assert_int_equal(d->year, atoi(cell[2]));
    n++;
  }
  fclose(f);
  assert_true(n > 60);
}

static void overheads_follow_the_architecture(void **state) {
  (void)state;
  const struct {
    const char *text;
    uint64_t stream;
  } rows[] = {{"v100", 8519680},  {"a100", 8519680},  {"4090", 8519680},  {"24GB", 8519680},    {"tpu-v3", 8519680},
              {"h100", 32 << 20}, {"b200", 32 << 20}, {"5090", 32 << 20}, {"mi250x", 32 << 20}, {"mi300x", 128 << 20}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    mp_device_overhead o;
    mp_device_overheads(find(rows[i].text), &o);
    assert_int_equal(o.cublas_stream, rows[i].stream);
    assert_int_equal(o.cublas, 2 * rows[i].stream);
    assert_in_range(o.context, 300ull << 20, 430ull << 20);
    assert_true(o.held < 1ull << 30);
    assert_non_null(o.context_from);
  }
  mp_device_overhead o;
  mp_device_overheads(find("3090"), &o);
  assert_int_equal(o.held, (24576ull << 20) - (24258ull << 20)); /* 23.69 GiB of 24 */
  mp_device_overheads(find("a100-pcie-80g"), &o); /* by rule: 0.2 GiB + 0.6 % of 80 GiB */
  assert_in_range(o.held, 690ull << 20, 700ull << 20);
  mp_device_overheads(find("jetson-orin"), &o);
  assert_int_equal(o.held, 0); /* the rule of its usable memory has it */
  mp_device_overheads(find("24GB"), &o);
  assert_int_equal(o.held, 0);
  mp_device_overheads(NULL, &o);
  assert_int_equal(o.cublas_stream, 8519680);
}

static void the_command_prints_the_table(void **state) {
  (void)state;
  int code;
  char errors[1024];
  char *text = test_command("devices --json", &code, errors, sizeof errors);
  assert_int_equal(code, 0);
  json_t *j = json_loads(text, 0, NULL);
  assert_non_null(j);
  assert_int_equal(json_array_size(json_object_get(j, "devices")), mp_device_count());
  json_decref(j);
  free(text);
  text = test_command("devices --json k80 24GB", &code, errors, sizeof errors);
  assert_int_equal(code, 0);
  j = json_loads(text, 0, NULL);
  json_t *row = json_array_get(json_object_get(j, "devices"), 0);
  assert_string_equal(json_string_value(json_object_get(row, "name")), "Tesla K80");
  assert_int_equal(json_integer_value(json_object_get(row, "parts")), 2);
  assert_int_equal(json_integer_value(json_object_get(row, "usable")), 11441ll << 20);
  assert_true(json_array_size(json_object_get(row, "aliases")) >= 1);
  json_decref(j);
  free(text);
  text = test_command("devices h1000", &code, errors, sizeof errors);
  assert_int_equal(code, 2);
  assert_string_equal(text, "");
  assert_non_null(strstr(errors, "H100"));
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sizes),
      cmocka_unit_test(a_size_is_a_device),
      cmocka_unit_test(words_lead_to_rows),
      cmocka_unit_test(a_miss_names_the_nearest),
      cmocka_unit_test(boards_are_several_memories),
      cmocka_unit_test(the_catalogue_is_sound),
      cmocka_unit_test(the_drivers_figures_stand),
      cmocka_unit_test(the_reference_rows_agree),
      cmocka_unit_test(overheads_follow_the_architecture),
      cmocka_unit_test(the_command_prints_the_table),
  };
  return cmocka_run_group_tests(tests, up, down);
}
