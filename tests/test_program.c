#include "planner/inside.h"
#include "support_base.h"

static mp_builder *builder(mp_arena *a) {
  static const mp_graph none = {.path = "drawn"};
  return mp_builder_new(a, &none);
}

static int32_t result(mp_builder *b, const char *name, int64_t n) { return mp_builder_var(b, MP_ROLE_RESULT, name, MP_FLOAT, 1, &n, -1); }

/* one call of one operand in the module `path` */
static int32_t call1(mp_builder *b, const char *path, const char *op, int32_t x, const char *name, int64_t n) {
  mp_arg args[] = {mp_arg_var(x)};
  int32_t out = result(b, name, n);
  mp_builder_call(b, op, args, 1, &out, 1, mp_builder_module(b, path, NULL), NULL, 0);
  return out;
}

static int32_t call2(mp_builder *b, const char *path, const char *op, int32_t x, int32_t y, const char *name, int64_t n) {
  mp_arg args[] = {mp_arg_var(x), mp_arg_var(y)};
  int32_t out = result(b, name, n);
  mp_builder_call(b, op, args, 2, &out, 1, mp_builder_module(b, path, NULL), NULL, 0);
  return out;
}

static int32_t input(mp_builder *b, int64_t n) { return mp_builder_var(b, MP_ROLE_INPUT, "x", MP_FLOAT, 1, &n, -1); }

static const mp_program *finish(mp_builder *b, int32_t in, int32_t out) { return mp_builder_finish(b, &in, 1, &out, 1, "unknown", true); }

static void modules_nest_and_take_turns(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_builder *b = builder(a);
  int32_t x = input(b, 4);
  int32_t y = call1(b, "layer.0.act", "aten::relu", x, "y", 4);
  y = call1(b, "layer.0.drop", "aten::tanh", y, "z", 4);
  y = call1(b, "layer.0.act", "aten::relu", y, "w", 4);
  const mp_program *p = finish(b, x, y);
  assert_int_equal(p->instance_count, 5); /* the model, layer.0, its act, its drop, its act again; "layer" is a list and runs nothing */
  assert_string_equal(p->instances[1].path, "layer.0");
  assert_int_equal(p->instances[1].first, 0);
  assert_int_equal(p->instances[1].end, 3);
  assert_string_equal(p->instances[4].path, "layer.0.act");
  assert_int_equal(p->instances[4].turn, 1);
  assert_int_equal(p->instances[4].parent, 1);
  assert_int_equal(p->instances[4].first, 2);
  mp_arena_free(a);
}

static void a_chain_opens_a_sequential_before_its_members(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_builder *b = builder(a);
  const char *first[] = {"net", "net.0"}, *second[] = {"net", "net.1"}, *types[] = {"Sequential", "ReLU"};
  mp_builder_modules(b, first, types, 2);
  int32_t m = mp_builder_modules(b, second, types, 2);
  int32_t x = input(b, 4), y = call1(b, "net.1", "aten::relu", x, "y", 4);
  const mp_program *p = finish(b, x, y);
  assert_int_equal(p->instance_count, 4);
  assert_string_equal(p->instances[m].path, "net.1");
  assert_int_equal(p->instances[m].parent, 1);
  assert_string_equal(p->instances[1].type, "Sequential");
  assert_int_equal(p->calls[0].module, m);
  mp_arena_free(a);
}

static void leaving_a_module_makes_its_next_run_a_new_turn(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_builder *b = builder(a);
  int32_t x = input(b, 4), y = call1(b, "act", "aten::relu", x, "y", 4);
  mp_builder_leave(b, "act");
  y = call1(b, "act", "aten::relu", y, "z", 4);
  const mp_program *p = finish(b, x, y);
  assert_int_equal(p->calls[0].module, 1);
  assert_int_equal(p->calls[1].module, 2);
  assert_int_equal(p->instances[2].turn, 1);
  mp_arena_free(a);
}

static void a_name_without_a_row_is_one_warning(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_builder *b = builder(a);
  int32_t x = input(b, 4), y = call1(b, "", "aten::no_such_call", x, "y", 4);
  y = call1(b, "", "aten::no_such_call", y, "z", 4);
  const mp_program *p = finish(b, x, y);
  assert_ptr_equal(p->calls[0].row, p->calls[1].row);
  assert_null(mp_call_find(p->calls[0].row->name));
  assert_int_equal(p->warning_count, 1);
  assert_non_null(strstr(p->warnings[0], "aten::no_such_call"));
  assert_int_equal(p->vars[y].dies, 2); /* an output */
  mp_arena_free(a);
}

static const void *nine_dimensions(mp_arena *a, void *arg) {
  const int64_t dims[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
  mp_builder_var(arg, MP_ROLE_INPUT, "x", MP_FLOAT, 9, dims, -1);
  return a;
}

static void too_many_dimensions_are_refused(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_err err;
  assert_null(mp_protect(a, &err, nine_dimensions, builder(a)));
  assert_int_equal(err.code, MP_BAD_INPUT);
  assert_null(mp_program_recover(a, NULL, &err));
  mp_arena_free(a);
}

/* ---- lifetimes ---- */

/* scores = scale(x); probs = softmax(scores): each dies when the next is made */
static void what_one_call_works_on_alone_dies_with_it(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_builder *b = builder(a);
  int32_t x = input(b, 4), s = call1(b, "attn", "aten::neg", x, "s", 4), t = call1(b, "attn", "aten::exp", s, "t", 4),
          u = call1(b, "attn", "aten::sum", t, "u", 1);
  const mp_program *p = finish(b, x, u);
  assert_int_equal(p->vars[s].dies, 1);
  assert_int_equal(p->vars[t].dies, 2);
  mp_arena_free(a);
}

/* q, k = f(x), g(x); s = q k: q and k are local variables of the module's frame, which returns after two more calls */
static void local_variables_live_until_the_frame_returns(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_builder *b = builder(a);
  int32_t x = input(b, 4), q = call1(b, "attn.q", "aten::neg", x, "q", 4), k = call1(b, "attn.k", "aten::exp", x, "k", 4);
  int32_t s = call2(b, "attn", "aten::mul", q, k, "s", 4), t = call1(b, "attn", "aten::exp", s, "t", 4),
          u = call1(b, "attn", "aten::tanh", t, "u", 4);
  int32_t v = call1(b, "", "aten::sum", u, "v", 1);
  const mp_program *p = finish(b, x, v);
  assert_int_equal(p->vars[q].dies, 4); /* the last call of attn, not that of attn.q */
  assert_int_equal(p->vars[k].dies, 4);
  assert_int_equal(p->vars[s].dies, 3);
  assert_int_equal(p->vars[u].dies, 5);
  mp_arena_free(a);
}

/* y = block(h): h is an argument, so block's caller holds it until block returns */
static void arguments_live_until_the_module_returns(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_builder *b = builder(a);
  int32_t x = input(b, 4), h = call1(b, "", "aten::neg", x, "h", 4);
  int32_t i = call1(b, "block", "aten::exp", h, "i", 4), j = call1(b, "block", "aten::tanh", i, "j", 4), o = call1(b, "", "aten::sum", j, "o", 1);
  const mp_program *p = finish(b, x, o);
  assert_int_equal(p->vars[h].dies, 2);
  assert_int_equal(p->vars[i].dies, 2);
  mp_arena_free(a);
}

static void what_nothing_reads_dies_at_once(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_builder *b = builder(a);
  int32_t x = input(b, 4), lost = call1(b, "", "aten::neg", x, "lost", 4), y = call1(b, "", "aten::sum", x, "y", 1);
  const mp_program *p = finish(b, x, y);
  assert_int_equal(p->vars[lost].dies, 0);
  assert_int_equal(p->vars[y].dies, 2);
  assert_int_equal(p->vars[x].dies, 2);
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(modules_nest_and_take_turns),
      cmocka_unit_test(a_chain_opens_a_sequential_before_its_members),
      cmocka_unit_test(leaving_a_module_makes_its_next_run_a_new_turn),
      cmocka_unit_test(a_name_without_a_row_is_one_warning),
      cmocka_unit_test(too_many_dimensions_are_refused),
      cmocka_unit_test(what_one_call_works_on_alone_dies_with_it),
      cmocka_unit_test(local_variables_live_until_the_frame_returns),
      cmocka_unit_test(arguments_live_until_the_module_returns),
      cmocka_unit_test(what_nothing_reads_dies_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
