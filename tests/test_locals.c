/* When a frame lets go of a value, from source lines. One model whose layer runs five calls:
 *
 *     m.py      1   h = self.layer(x)
 *     layer.py  10  a, _ = self.attn(x)         call 0, in attn
 *               11  a = self.norm(a + x)        call 1; call 2, in norm
 *               12  b = self.mlp(a)             call 3, in mlp
 *               13  return b == a               call 4 */
#include "planner/inside.h"
#include "support_base.h"
#include "support_program.h"

#define TOP "File \"m.py\", line 1, in forward\n    h = self.layer(x)\n"
#define AT(file, line, text) "  File \"" file ".py\", line " line ", in forward\n    " text "\n"

static const char *const stacks[] = {TOP AT("layer", "10", "a, _ = self.attn(x)") AT("attn", "3", "return f(x)"), TOP AT("layer", "11", "a = self.norm(a + x)"),
                                     TOP AT("layer", "11", "a = self.norm(a + x)") AT("norm", "5", "return g(x)"), TOP AT("layer", "12", "b = self.mlp(a)") AT("mlp", "7", "return k(x)"),
                                     TOP AT("layer", "13", "return b == a")};

static mp_call calls[5];
static const mp_instance instances[] = {{.path = "", .parent = -1, .first = 0, .end = 5}, {.path = "layer", .parent = 0, .first = 0, .end = 5},
                                        {.path = "layer.attn", .parent = 1, .first = 0, .end = 1}, {.path = "layer.norm", .parent = 1, .first = 2, .end = 3},
                                        {.path = "layer.mlp", .parent = 1, .first = 3, .end = 4}};

static const mp_sources *sources(mp_arena *a) {
  for (int i = 0; i < 5; i++) calls[i].stack = stacks[i];
  return mp_sources_new(a, calls, 5, instances, 5);
}

static void a_variable_that_is_assigned_anew_lets_go_when_the_statement_ends(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  assert_int_equal(mp_source_death(sources(a), 1, 0, 0, 1), 2); /* the first a, at the end of line 11: with norm's return */
  mp_arena_free(a);
}

static void a_variable_lives_until_its_frame_returns(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  assert_int_equal(mp_source_death(sources(a), 1, 2, 0, 3), 4); /* the second a: b is another, and line 13 compares */
  assert_int_equal(mp_source_death(sources(a), 1, 0, 1, 3), 4); /* "_", the second result of line 10 */
  mp_arena_free(a);
}

static void what_an_expression_makes_goes_when_it_is_read(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  assert_int_equal(mp_source_death(sources(a), 1, 1, 0, 2), 2); /* a + x, inside line 11 */
  mp_arena_free(a);
}

/* return self.down(self.act(x) * self.up(x)): no traces part in the module's frame, yet every value goes with its reader. return attend(x) is a function, whose variables are not shown. */
static void a_module_of_one_statement_holds_nothing(void **state) {
  (void)state;
  static const mp_instance parts[] = {{.path = "mlp", .parent = -1, .first = 0, .end = 4}, {.path = "mlp.act", .parent = 0, .first = 0, .end = 1}, {.path = "mlp.up", .parent = 0, .first = 1, .end = 2},
                                      {.path = "mlp.down", .parent = 0, .first = 3, .end = 4}};
  static const int32_t module[] = {1, 2, 0, 3};
  static const char *const texts[] = {"return self.down(self.act(x) * self.up(x))", "return attend"};
  for (int i = 0; i < 2; i++) {
    mp_arena *a = mp_arena_new(0);
    mp_call four[4] = {0};
    for (int c = 0; c < 4; c++) {
      four[c].module = module[c];
      four[c].stack = mp_format(a, TOP AT("mlp", "4", "%s") "%s", texts[i], module[c] ? AT("part", "9", "return f(x)") : "");
    }
    const mp_sources *s = mp_sources_new(a, four, 4, parts, 4);
    assert_int_equal(mp_source_death(s, 0, 0, 0, 2), i ? -1 : 2);
    assert_int_equal(mp_source_death(s, 0, 2, 0, 3), i ? -1 : 3);
    mp_arena_free(a);
  }
}

/* for layer in self.layers: h = layer(h): what was given to the first goes when that returns, though the next turn stands on the same line */
static void a_turn_of_a_loop_ends_its_statement(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  static const char *const lines[] = {AT("m", "2", "h = self.embed(x)"), AT("m", "4", "h = layer(h)") AT("layer", "7", "return f(x)"), AT("m", "4", "h = layer(h)") AT("layer", "8", "return g(x)"),
                                     AT("m", "4", "h = layer(h)") AT("layer", "7", "return f(x)"), AT("m", "4", "h = layer(h)") AT("layer", "8", "return g(x)")};
  static const mp_instance list[] = {{.path = "", .parent = -1, .first = 0, .end = 5}, {.path = "layers.0", .parent = 0, .first = 1, .end = 3}, {.path = "layers.1", .parent = 0, .first = 3, .end = 5}};
  static const int32_t module[] = {0, 1, 1, 2, 2};
  mp_call five[5] = {0};
  for (int i = 0; i < 5; i++) {
    five[i].stack = lines[i];
    five[i].module = module[i];
  }
  const mp_sources *s = mp_sources_new(a, five, 5, list, 3);
  assert_int_equal(mp_source_death(s, 0, 0, 0, 1), 2);
  assert_int_equal(mp_source_death(s, 0, 2, 0, 3), 3); /* the second turn's: it stays, as an argument, until layers.1 returns */
  mp_arena_free(a);
}

/* 2  x = self.conv(x)  3  x = self.bn(x)  4  x = self.act(x), whose norm has lost its trace: what the convolution was given goes before it runs; x = self.bn(self.conv(x)) leaves no line between */
static void a_call_without_a_trace_has_a_line_of_its_own_where_one_is_left(void **state) {
  (void)state;
  static const mp_instance parts[] = {{.path = "", .parent = -1, .first = 0, .end = 4}, {.path = "stem", .parent = 0, .first = 0, .end = 1}, {.path = "conv", .parent = 0, .first = 1, .end = 2},
                                      {.path = "bn", .parent = 0, .first = 2, .end = 3}, {.path = "act", .parent = 0, .first = 3, .end = 4}};
  static const char *const act[] = {AT("m", "4", "x = self.act(x)") AT("act", "9", "return f(x)"), AT("m", "3", "x = self.act(x)") AT("act", "9", "return f(x)")};
  for (int i = 0; i < 2; i++) {
    mp_arena *a = mp_arena_new(0);
    mp_call four[4] = {{.stack = AT("m", "1", "x = self.stem(x)") AT("stem", "9", "return f(x)"), .module = 1}, {.stack = AT("m", "2", "x = self.conv(x)") AT("conv", "9", "return f(x)"), .module = 2}, {.module = 3},
                       {.stack = act[i], .module = 4}};
    assert_int_equal(mp_source_death(mp_sources_new(a, four, 4, parts, 5), 0, 0, 0, 1), i ? 2 : 1);
    mp_arena_free(a);
  }
}

/* two.py: 1  seen = []; 2  seen.append(f(x)); 3  seen["a"] = g(x); 4  y = cat(seen); 5  seen = h(y); 6  return k(y) */
static void a_list_holds_what_was_appended(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  static const char *const lines[] = {AT("two", "2", "seen.append(f(x))"), AT("two", "3", "seen[\"a\"] = g(x)"), AT("two", "4", "y = cat(seen)"), AT("two", "5", "seen = h(y)"), AT("two", "6", "return k(y)")};
  static const mp_instance one[] = {{.path = "", .parent = -1, .first = 0, .end = 5}};
  mp_call five[5] = {0};
  for (int i = 0; i < 5; i++) five[i].stack = lines[i];
  const mp_sources *s = mp_sources_new(a, five, 5, one, 1);
  assert_int_equal(mp_source_death(s, 0, 0, 0, 2), 3); /* not at line 3, which assigns a member */
  assert_int_equal(mp_source_death(s, 0, 1, 0, 2), 3);
  mp_arena_free(a);
}

static void no_source_does_not_say(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  assert_int_equal(mp_source_death(NULL, 1, 0, 0, 1), -1);
  for (int i = 0; i < 5; i++) calls[i].stack = i % 2 ? "File \"" : "not a trace";
  assert_null(mp_sources_new(a, calls, 5, instances, 5));
  mp_arena_free(a);
}

static void a_statement_says_how_many_values_it_takes(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  assert_int_equal(mp_source_targets(sources(a), 1, 0), 2);
  assert_int_equal(mp_source_targets(sources(a), 1, 2), 1);
  assert_int_equal(mp_source_targets(sources(a), 1, 4), 0);
  assert_int_equal(mp_source_targets(NULL, 1, 0), -1);
  static const char *const lines[] = {AT("m", "2", "self.norm1(x), mask, is_causal=is_causal"), AT("m", "3", "value=self.v(x),"), AT("m", "4", "x=self.v(x)"), AT("m", "5", "a[0], b = f(x)"),
                                     AT("m", "6", "attention_outputs = self.attention(")};
  static const mp_instance one[] = {{.path = "", .parent = -1, .first = 0, .end = 5}};
  static const int32_t taken[] = {0, 0, 1, 3, 2};
  mp_call five[5] = {0};
  for (int i = 0; i < 5; i++) five[i].stack = lines[i];
  for (int i = 0; i < 5; i++) assert_int_equal(mp_source_targets(mp_sources_new(a, five, 5, one, 1), 0, i), taken[i]);
  mp_arena_free(a);
}

static int32_t death_of(const mp_program *p, const char *name) {
  for (uint32_t i = 0; i < p->var_count; i++)
    if (!strcmp(p->vars[i].name, name)) return p->vars[i].dies;
  fail_msg("no variable %s", name);
  return -1;
}

/* T5's block: x, bias, _ = self.layer[0](x); x, bias, _ = self.layer[1](x); x = self.layer[2](x). The sublayers are a list and no layers. */
static void probabilities_stay_until_the_layer_s_next_attention(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_text t = {0};
  mp_text_add(a, &t, "in x0 float32 2 4 4\n");
  for (int b = 0, x = 0; b < 2; b++) {
    for (int l = 0; l < 2; l++, x++)
      mp_text_add(a, &t, "module block.%d.layer.%d.%s\ncall matmul s%d x%d x%d\ncall softmax p%d s%d -1\ncall matmul v%d p%d x%d\nmodule block.%d.layer.%d\ncall tanh x%d v%d\n", b, l, l ? "cross" : "own", x, x, x,
                  x, x, x, x, x, b, l, x + 1, x);
    mp_text_add(a, &t, "module block.%d.layer.2.wo\ncall tanh y%d x%d\nmodule block.%d.layer.2\ncall tanh x%d y%d\n", b, b, x, b, x + 1, b);
    x++;
  }
  mp_text_add(a, &t, "module\ncall sum loss x6\nout loss\n");
  const mp_program *p = test_program(a, t.at);
  assert_int_equal(death_of(p, "p0"), 7); /* block.0.layer.0 is calls 0 to 3, layer.1 calls 4 to 7, layer.2 calls 8 and 9 */
  assert_int_equal(death_of(p, "p1"), 9);
  mp_arena_free(a);
}

/* a class of one's own gives its result alone: the attention's probabilities go with its frame */
static void probabilities_of_written_attention_go_with_it(void **state) {
  (void)state;
  static const char *const classes[] = {"transformers.models.x.Attention", "model.Attention"};
  for (int i = 0; i < 2; i++) {
    mp_arena *a = mp_arena_new(0);
    mp_text t = {0};
    mp_text_add(a, &t, "in x0 float32 2 4 4\n");
    for (int l = 0; l < 2; l++)
      mp_text_add(a, &t, "module layer.%d.attn %s\ncall matmul s%d x%d x%d\ncall softmax p%d s%d -1\ncall matmul v%d p%d x%d\nmodule layer.%d Layer\ncall tanh x%d v%d\n", l, classes[i], l, l, l, l, l, l, l, l, l,
                  l + 1, l);
    mp_text_add(a, &t, "module\ncall sum loss x2\nout loss\n");
    assert_int_equal(death_of(test_program(a, t.at), "p0"), i ? 2 : 3); /* layer.0 is calls 0 to 3, its attention calls 0 to 2 */
    mp_arena_free(a);
  }
}

/* for x in steps: a = self.in(x); b = self.hidden(h); s = a + b; h = tanh(s): a is assigned anew in the next turn, and does not wait for the frame's end */
static void a_loop_assigns_its_variables_anew(void **state) {
  (void)state;
  for (int turns = 3; turns < 6; turns++) {
    mp_arena *a = mp_arena_new(0);
    mp_text t = {0};
    mp_text_add(a, &t, "in x float32 2 4\nparam u float32 4 4\nparam w float32 4 4\nmodule\ncall tanh h0 x\n");
    for (int i = 0; i < turns; i++)
      mp_text_add(a, &t, "module in\ncall linear a%d x u\nleave in\nmodule hidden\ncall linear b%d h%d w\nleave hidden\nmodule\ncall add s%d a%d b%d\ncall tanh h%d s%d\n", i, i, i, i, i, i, i + 1, i);
    mp_text_add(a, &t, "call sum loss h%d\nout loss\n", turns);
    const mp_program *p = test_program(a, t.at); /* a turn is four calls from call 1 */
    assert_int_equal(death_of(p, "a0"), turns > 3 ? 5 : 13);
    assert_int_equal(death_of(p, "b0"), turns > 3 ? 6 : 13);
    mp_arena_free(a);
  }
}

/* for layer in self.layers: h = layer(x); x = x + h: the same, where the list's members take turns; in for f, _ in self.layers they are lists themselves */
static void a_loop_over_a_list_assigns_its_variables_anew(void **state) {
  (void)state;
  static const char *const inner[] = {"", ".0"};
  for (int l = 0; l < 2; l++) {
    mp_arena *a = mp_arena_new(0);
    mp_text t = {0};
    mp_text_add(a, &t, "in x0 float32 2 4\nparam u float32 4 4\n");
    for (int i = 0; i < 3; i++) mp_text_add(a, &t, "module layers.%d%s\ncall linear h%d x%d u\nmodule\ncall relu t%d h%d\ncall add x%d x%d t%d\n", i, inner[l], i, i, i, i, i + 1, i, i);
    mp_text_add(a, &t, "call mul y x3 x3\ncall sum loss y\nout loss\n");
    const mp_program *p = test_program(a, t.at); /* a turn is three calls from call 0 */
    assert_int_equal(death_of(p, "t1"), 7);      /* meets x1, and is made again in call 7 */
    assert_int_equal(death_of(p, "t2"), 10);     /* nothing takes the last one's variable */
    mp_arena_free(a);
  }
}

/* y = self.norm(y + x) takes y's variable when the norm returns; e = a + b, then self.norm(e): the embeddings have their own until the frame returns */
static void a_sum_that_only_a_norm_reads_takes_its_variable(void **state) {
  (void)state;
  for (int embeds = 0; embeds < 2; embeds++) {
    mp_arena *a = mp_arena_new(0);
    const mp_program *p = test_program(a, mp_format(a, "in i int64 2\nin x0 float32 2 4\np w float32 9 4\nmodule\ncall tanh x x0\nmodule part\ncall %s\nmodule\ncall add s y x\nmodule norm\ncall layer_norm n s [4] none none 0.001 true\n"
                                                       "module\ncall tanh t n\ncall sum loss t\nout loss\n", embeds ? "embedding y w i" : "relu y x"));
    assert_int_equal(death_of(p, "y"), embeds ? 5 : 3);
    mp_arena_free(a);
  }
}

/* a = self.one(x); b = self.two(a); c = self.three(b, a): a has a variable of its own until the forward returns, and b has c's */
static void what_two_modules_are_given_has_a_variable_of_its_own(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_program(a, "in x float32 2 4\nmodule one\ncall tanh a x\nmodule two\ncall relu b a\nmodule three\ncall mul c b a\nmodule\ncall relu d c\ncall sum loss d\nout loss\n");
  assert_int_equal(death_of(p, "a"), 4);
  assert_int_equal(death_of(p, "b"), 2);
  mp_arena_free(a);
}

/* a, b = x.chunk(2): both are variables; x.chunk(2)[0] is none */
static void what_is_unpacked_has_variables(void **state) {
  (void)state;
  static const char *const uses[] = {"call tanh u a\ncall sigmoid w b\ncall mul y u w\n", "call tanh u a\ncall relu y u\n"};
  for (int i = 0; i < 2; i++) {
    mp_arena *a = mp_arena_new(0);
    const mp_program *p = test_program(a, mp_format(a, "in x float32 2 8\nmodule\ncall relu z x\ncall chunk a,b z 2 1\n%scall sum loss y\nout loss\n", uses[i]));
    assert_int_equal(death_of(p, "a"), i ? 2 : 5);
    mp_arena_free(a);
  }
}

/* w = self.up[chosen]; u = bmm(w, x); w = self.down[chosen]; y = bmm(w, u): the experts' weights are a variable, which the next ones take */
static void chosen_weights_have_a_variable(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_program(a, "in x float32 6 8 1\nin chosen int64 6\np up float32 3 4 8\np down float32 3 8 4\nmodule experts\ncall index w up (chosen)\ncall bmm u w x\ncall tanh t u\n"
                                        "call index v down (chosen)\ncall bmm y v t\ncall relu z y\nmodule\ncall sum loss z\nout loss\n");
  assert_int_equal(death_of(p, "w"), 3); /* not at the product, call 1 */
  assert_int_equal(death_of(p, "v"), 5); /* the module's last */
  /* both are looked up before they are read: two variables */
  p = test_program(a, "in x float32 6 8 1\nin chosen int64 6\np up float32 3 4 8\np down float32 3 8 4\nmodule experts\ncall index w up (chosen)\ncall index v down (chosen)\ncall bmm u w x\ncall bmm y v u\n"
                      "module\ncall sum loss y\nout loss\n");
  assert_int_equal(death_of(p, "w"), 2);
  mp_arena_free(a);
}

/* logits = self.head(hidden); loss(logits.float().view(-1, 4), labels): both are variables until the forward returns */
static void logits_and_what_they_were_made_of_are_held_over_the_loss(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_program(a, "in x float32 2 3 8\nin labels int64 6\nparam w float32 4 8\nmodule norm\ncall tanh hidden x\nmodule head\ncall linear logits hidden w\nmodule\n"
                                        "call to wide logits float32\ncall view flat wide [6,4]\ncall cross_entropy_loss loss flat labels\ncall mul end loss 2.0\nout end\n");
  assert_int_equal(death_of(p, "hidden"), 5);
  assert_int_equal(death_of(p, "logits"), 5);
  assert_int_equal(death_of(p, "loss"), 5);
  mp_arena_free(a);
}

static void members_of_one_list_differ_in_a_number(void **state) {
  (void)state;
  assert_true(mp_in_one_list("layers.3", "layers.12"));
  assert_true(mp_in_one_list("a.layers.3.0", "a.layers.4.0"));
  assert_true(mp_in_one_list("a.layers.3.0", "a.layers.3.1"));
  static const char *const others[] = {"layers.3", "layer.4", "layers.3.0", "layers.x", "layers", "4", "layers.4.norm", ""};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) assert_false(mp_in_one_list("layers.3", others[i]));
  assert_false(mp_in_one_list("block.0.layer.0", "block.1.layer.0"));
}

/* logits = logits.float(); shift_logits = logits[..., :-1, :]: the widened ones take the variable, and stay */
static void logits_that_are_widened_and_then_cut_take_the_variable(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_program(a, "in x float32 2 3 8\nin labels int64 4\nparam w float32 4 8\nmodule norm\ncall tanh hidden x\nmodule head\ncall linear logits hidden w\nmodule\n"
                                        "call to wide logits float32\ncall slice cut wide 1 0 2\ncall view flat cut [4,4]\ncall cross_entropy_loss loss flat labels\ncall mul end loss 2.0\nout end\n");
  assert_int_equal(death_of(p, "logits"), 2);
  assert_int_equal(death_of(p, "wide"), 6);
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_variable_that_is_assigned_anew_lets_go_when_the_statement_ends),
      cmocka_unit_test(a_variable_lives_until_its_frame_returns),
      cmocka_unit_test(what_an_expression_makes_goes_when_it_is_read),
      cmocka_unit_test(a_module_of_one_statement_holds_nothing),
      cmocka_unit_test(a_turn_of_a_loop_ends_its_statement),
      cmocka_unit_test(a_call_without_a_trace_has_a_line_of_its_own_where_one_is_left),
      cmocka_unit_test(a_list_holds_what_was_appended),
      cmocka_unit_test(no_source_does_not_say),
      cmocka_unit_test(a_statement_says_how_many_values_it_takes),
      cmocka_unit_test(probabilities_stay_until_the_layer_s_next_attention),
      cmocka_unit_test(probabilities_of_written_attention_go_with_it),
      cmocka_unit_test(members_of_one_list_differ_in_a_number),
      cmocka_unit_test(what_two_modules_are_given_has_a_variable_of_its_own),
      cmocka_unit_test(what_is_unpacked_has_variables),
      cmocka_unit_test(chosen_weights_have_a_variable),
      cmocka_unit_test(logits_that_are_widened_and_then_cut_take_the_variable),
      cmocka_unit_test(a_loop_assigns_its_variables_anew),
      cmocka_unit_test(a_sum_that_only_a_norm_reads_takes_its_variable),
      cmocka_unit_test(logits_and_what_they_were_made_of_are_held_over_the_loss),
      cmocka_unit_test(a_loop_over_a_list_assigns_its_variables_anew),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
