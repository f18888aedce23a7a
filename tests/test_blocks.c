#include "planner/checkpointing.h"
#include "planner/inside.h"
#include "support_base.h"
#include "support_program.h"

typedef struct row {
  const char *path, *type;
  int32_t parent;
  uint32_t first, end;
} row;

/* every call has the name that its number picks from `ops` */
static mp_instance *find(mp_arena *a, const row *rows, uint32_t n, const char *ops) {
  static mp_call_row names[128];
  static char text[128][2];
  mp_instance *all = mp_alloc_array(a, n, sizeof *all);
  uint32_t calls = (uint32_t)strlen(ops);
  mp_call *c = mp_alloc_array(a, calls, sizeof *c);
  for (uint32_t i = 0; i < calls; i++) {
    text[(int)ops[i]][0] = ops[i];
    names[(int)ops[i]].name = text[(int)ops[i]];
    c[i].row = &names[(int)ops[i]];
  }
  for (uint32_t i = 0; i < n; i++) {
    all[i] = (mp_instance){.path = rows[i].path, .type = rows[i].type, .parent = rows[i].parent, .first = rows[i].first, .end = rows[i].end};
    for (uint32_t k = 0; k < i; k++) all[i].turn += !strcmp(rows[k].path, rows[i].path);
  }
  mp_find_blocks(a, all, n, c);
  return all;
}

static void layers_of_one_class_are_blocks(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const row rows[] = {{"", "M", -1, 0, 9},
                      {"layer.0", "Layer", 0, 0, 4},
                      {"layer.0.fc", "Linear", 1, 0, 1},
                      {"layer.1", "Layer", 0, 4, 9},
                      {"layer.1.fc", "Linear", 3, 4, 5}};
  const mp_instance *m = find(a, rows, 5, "abcdabcde");
  assert_int_equal(m[0].block, -1);
  assert_int_equal(m[1].block, 0); /* one more call does not matter where the class is the same */
  assert_int_equal(m[3].block, 0);
  assert_int_equal(m[2].block, -1);
  mp_arena_free(a);
}

static void without_classes_what_they_call_decides(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const row rows[] = {{"", NULL, -1, 0, 12}, {"a.0", NULL, 0, 0, 4}, {"a.1", NULL, 0, 4, 8}, {"a.2", NULL, 0, 8, 12}};
  const mp_instance *m = find(a, rows, 4, "abcdabcdabxd");
  assert_int_equal(m[1].block, 0);
  assert_int_equal(m[2].block, 0);
  assert_int_equal(m[3].block, -1);
  mp_arena_free(a);
}

/* for attn, mlp in self.layers: two families. Lists whose own members are alike are families by themselves. */
static void members_of_a_list_of_lists_are_blocks(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const row rows[] = {{"", NULL, -1, 0, 32},          {"l.0.0", NULL, 0, 0, 4},   {"l.0.1", NULL, 0, 4, 8},   {"l.1.0", NULL, 0, 8, 12}, {"l.1.1", NULL, 0, 12, 16},
                      {"s.0.0", NULL, 0, 16, 20},     {"s.0.1", NULL, 0, 20, 24}, {"s.1.0", NULL, 0, 24, 28}, {"s.1.1", NULL, 0, 28, 32}};
  const mp_instance *m = find(a, rows, 9, "abcdefghabcdefghabcdabcdabcdabcd");
  static const int family[] = {-1, 0, 1, 0, 1, 2, 2, 3, 3}; /* numbered as they come */
  for (int i = 0; i < 9; i++) assert_int_equal(m[i].block, family[i]);
  mp_arena_free(a);
}

/* attention and feed-forward take turns in one list: two families */
static void kinds_may_take_turns_in_a_list(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const row rows[] = {{"", NULL, -1, 0, 16}, {"l.0", "A", 0, 0, 4}, {"l.1", "F", 0, 4, 8}, {"l.2", "A", 0, 8, 12}, {"l.3", "F", 0, 12, 16}, {"l.4", "G", 0, 16, 20}};
  const mp_instance *m = find(a, rows, 6, "abcdefghabcdefghwxyz");
  static const int family[] = {-1, 0, 1, 0, 1, -1};
  for (int i = 0; i < 6; i++) assert_int_equal(m[i].block, family[i]);
  mp_arena_free(a);
}

/* without classes: {attn, norm, mlp} and {norm1, attn, norm, mlp} are layers of one kind; {attn, mlp} and {attn, gate} are not */
static void a_first_layer_may_lack_a_part(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const row rows[] = {{"", NULL, -1, 0, 12},     {"l.0", NULL, 0, 0, 3},    {"l.0.attn", NULL, 1, 0, 1}, {"l.0.norm", NULL, 1, 1, 2}, {"l.0.mlp", NULL, 1, 2, 3},
                      {"l.1", NULL, 0, 3, 7},    {"l.1.norm1", NULL, 5, 3, 4}, {"l.1.attn", NULL, 5, 4, 5}, {"l.1.norm", NULL, 5, 5, 6}, {"l.1.mlp", NULL, 5, 6, 7},
                      {"k.0", NULL, 0, 7, 10},   {"k.0.attn", NULL, 10, 7, 8}, {"k.0.mlp", NULL, 10, 8, 10}, {"k.1", NULL, 0, 10, 13}, {"k.1.attn", NULL, 13, 10, 11},
                      {"k.1.gate", NULL, 13, 11, 13}};
  const mp_instance *m = find(a, rows, 16, "abcdabcxyzxyw");
  assert_int_equal(m[1].block, 0);
  assert_int_equal(m[5].block, 0);
  assert_int_equal(m[10].block, -1);
  assert_int_equal(m[13].block, -1);
  mp_arena_free(a);
}

/* A layer runs its norm for the hidden states and for the global ones, which nothing reads any more behind the last layer: what runs again does not count. */
static void a_part_that_runs_again_is_one_part(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const row rows[] = {{"", NULL, -1, 0, 8},        {"l.0", NULL, 0, 0, 5},      {"l.0.norm", NULL, 1, 0, 1}, {"l.0.fc", NULL, 1, 1, 2},   {"l.0.norm", NULL, 1, 2, 3},
                      {"l.0.fc", NULL, 1, 3, 5},   {"l.1", NULL, 0, 5, 8},      {"l.1.norm", NULL, 6, 5, 6}, {"l.1.fc", NULL, 6, 6, 8}};
  const mp_instance *m = find(a, rows, 9, "abacdabc");
  assert_int_equal(m[1].block, 0);
  assert_int_equal(m[6].block, 0);
  mp_arena_free(a);
}

static void single_operations_in_a_sequential_are_no_blocks(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const row rows[] = {{"", "M", -1, 0, 3}, {"net.0", "ReLU", 0, 0, 1}, {"net.1", "ReLU", 0, 1, 2}, {"net.2", "ReLU", 0, 2, 3}};
  const mp_instance *m = find(a, rows, 4, "aaa");
  for (int i = 0; i < 4; i++) assert_int_equal(m[i].block, -1);
  mp_arena_free(a);
}

static void only_the_outermost_family_counts_and_each_list_has_its_own(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const row rows[] = {{"", "M", -1, 0, 24},     {"enc.0", "E", 0, 0, 8},        {"enc.0.mlp.0", "L", 1, 0, 4}, {"enc.0.mlp.1", "L", 1, 4, 8},
                      {"enc.1", "E", 0, 8, 16}, {"enc.1.mlp.0", "L", 4, 8, 12}, {"dec.0", "D", 0, 16, 20},     {"dec.1", "D", 0, 20, 24}};
  const mp_instance *m = find(a, rows, 8, "abcdabcdabcdabcdabcdabcd");
  assert_int_equal(m[1].block, m[4].block);
  assert_int_equal(m[6].block, m[7].block);
  assert_int_not_equal(m[1].block, m[6].block);
  assert_true(m[1].block >= 0 && m[6].block >= 0);
  for (int i = 2; i < 6; i++)
    if (i != 4) assert_int_equal(m[i].block, -1); /* inside enc.0, enc.1 */
  mp_arena_free(a);
}

/* two stages of a pipeline, cut inside layer.1:   layer.0 [0 2) | layer.1 [2 3) # [3 4) | layer.2 [4 6)   each recomputes what it runs, and no more */
static void a_stage_recomputes_what_it_runs(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_program(a, "in x float32 4 8\nmodule layer.0\ncall relu a x\ncall sigmoid b a\nmodule layer.1\ncall relu c b\ncall sigmoid d c\n"
                                        "module layer.2\ncall relu e d\ncall sigmoid f e\nout f\n");
  const char *words[] = {"layer.*"};
  const mp_plan plan = {.checkpoint = words, .checkpoints = 1};
  const mp_region *r;
  assert_int_equal(mp_plan_regions(a, p, &plan, &r), 3);
  assert_int_equal(mp_plan_regions(a, mp_program_slice(a, p, 0, 3), &plan, &r), 2);
  assert_int_equal(r[1].first, 2);
  assert_int_equal(r[1].end, 3);
  assert_int_equal(mp_plan_regions(a, mp_program_slice(a, p, 3, 6), &plan, &r), 2);
  assert_int_equal(r[0].first, 3);
  assert_int_equal(r[0].end, 4);
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(layers_of_one_class_are_blocks),
      cmocka_unit_test(a_first_layer_may_lack_a_part),
      cmocka_unit_test(without_classes_what_they_call_decides), cmocka_unit_test(members_of_a_list_of_lists_are_blocks),   cmocka_unit_test(a_part_that_runs_again_is_one_part), cmocka_unit_test(kinds_may_take_turns_in_a_list),
      cmocka_unit_test(single_operations_in_a_sequential_are_no_blocks),
      cmocka_unit_test(only_the_outermost_family_counts_and_each_list_has_its_own),
      cmocka_unit_test(a_stage_recomputes_what_it_runs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
