/* The caching allocator on drawn tapes: one letter an allocation ("A30" takes 30 MiB), the same in small lets go of it. */
#include <ctype.h>

#include "planner/inside.h"
#include "support_base.h"

#define MIB ((uint64_t)1 << 20)

static const mp_tape *tape(mp_arena *a, const char *drawing) {
  MP_VEC(mp_step) steps = {0};
  for (const char *p = drawing; *p; p++) {
    if (!isalpha((unsigned char)*p)) continue;
    bool takes = isupper((unsigned char)*p);
    int32_t id = toupper((unsigned char)*p) - 'A';
    uint64_t bytes = takes ? (uint64_t)atoi(p + 1) * MIB : 0;
    for (size_t i = 0; i < steps.n && !takes; i++)
      if (steps.at[i].id == id) bytes = steps.at[i].bytes;
    *mp_push(a, &steps) = (mp_step){.kind = takes ? MP_ALLOC : MP_FREE, .id = id, .bytes = bytes};
  }
  mp_tape *t = mp_alloc(a, sizeof *t);
  *t = (mp_tape){.steps = steps.at, .step_count = (uint32_t)steps.n, .instance_count = 26};
  return t;
}

static void segments_are_kept(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  assert_int_equal(mp_allocator_replay(a, tape(a, "A30 a B40"), false).reserved, 70 * MIB);
  assert_int_equal(mp_allocator_replay(a, tape(a, "A30 a B12"), false).reserved, 30 * MIB); /* the rest is split off */
  assert_int_equal(mp_allocator_replay(a, tape(a, "A30 a B40"), true).reserved, 40 * MIB);  /* grown in place */
  mp_arena_free(a);
}

static void a_full_device_gets_whole_segments_back(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  assert_true(mp_allocator_runs_in(a, tape(a, "A30 a B40"), false, 40 * MIB));       /* A's segment goes */
  assert_false(mp_allocator_runs_in(a, tape(a, "A30 a B40"), false, 39 * MIB));
  assert_false(mp_allocator_runs_in(a, tape(a, "A30 a B12 C40"), false, 69 * MIB)); /* B has a part of it */
  assert_true(mp_allocator_runs_in(a, tape(a, "A30 a B12 C40"), false, 70 * MIB));
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(segments_are_kept),
      cmocka_unit_test(a_full_device_gets_whole_segments_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
