/* Model -> graph: names, functions, subgraphs, order, contents, bindings, and what is refused. */
#include <sys/stat.h>
#include <unistd.h>

#include "support_graph.h"

/* ---- names and rows ---- */

static void shapes_follow_a_drawing(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a, "x: float[batch,3]; w = float[3,4]; y = MatMul(x, w); z = Relu(y); -> z");
  assert_int_equal(g->node_count, 2);
  assert_int_equal(g->opset, 17);
  assert_int_equal(g->ir_version, 8);
  assert_int_equal(g->input_count, 1);
  assert_value(a, g, "z", "float32[batch, 4]");
  assert_true(test_value(g, "z")->is_output);
  assert_int_equal(test_value(g, "x")->kind, MP_VALUE_INPUT);
  assert_int_equal(test_value(g, "w")->kind, MP_VALUE_INITIALIZER);
  assert_int_equal(test_value(g, "y")->producer, 0);
}

static void users_are_counted(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a,
                                 "x: float[2]; c: bool[]; y = Relu(x); z = Add(y, y); u = Neg(x)\n"
                                 "r = If(c) then_branch={ p = Add(y, y); -> p } else_branch={ q = Neg(y); -> q }; -> z, y, r");
  assert_int_equal(test_value(g, "x")->users, 2);
  assert_int_equal(test_value(g, "y")->users, 2 + 1 + 3); /* Add twice, the graph's output, the branches */
  assert_int_equal(test_value(g, "u")->users, 0);
  assert_int_equal(test_value(g, "z")->users, 1);
}

static void a_name_left_out_is_minus_one(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a, "x: float[2]; m = float[]; y = Clip(x, _, m); _, i = MaxPool(x); -> y");
  assert_int_equal(test_node(g, "y")->ins, 3);
  assert_int_equal(test_node(g, "y")->in[1], -1);
  assert_int_equal(test_node(g, "i")->out[0], -1);
  assert_int_equal(test_value(g, "i")->slot, 1);
}

static void attributes_of_every_kind(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a,
                                 "x: float[2]\n"
                                 "y = dom.Op(x) i=-3 f=1.5 s=\"edge\" is=[1,-2,300] fs=[0.5,2.0] ss=[\"a\",\"\",\"bc\"] t=int64[2]{7,8} e=[] "
                                 "name=\"n\" doc=\"d\" meta.k=\"v\"; -> y\n"
                                 "opset 17; opset dom 3");
  const mp_node *n = test_node(g, "y");
  assert_string_equal(n->type, "Op");
  assert_string_equal(n->domain, "dom");
  assert_string_equal(n->name, "n");
  assert_string_equal(n->doc, "d");
  assert_string_equal(mp_node_meta(n, "k"), "v");
  assert_null(mp_node_meta(n, "absent"));
  assert_int_equal(n->opset, 3);
  assert_null(n->op);
  assert_int_equal(mp_node_int(n, "i", 0), -3);
  assert_int_equal(mp_node_int(n, "f", 9), 9); /* of another kind */
  assert_true(mp_node_float(n, "f", 0) == 1.5);
  const mp_attr *x = mp_node_attr(n, "s");
  assert_string_equal(x->as.string, "edge");
  assert_int_equal(x->n, 4);
  x = mp_node_attr(n, "is");
  assert_true(x->kind == MP_ATTR_INTS && x->n == 3 && x->as.ints[1] == -2 && x->as.ints[2] == 300);
  x = mp_node_attr(n, "fs");
  assert_true(x->kind == MP_ATTR_FLOATS && x->n == 2 && x->as.floats[0] == 0.5);
  x = mp_node_attr(n, "ss");
  assert_true(x->kind == MP_ATTR_STRINGS && x->n == 3);
  assert_string_equal(x->as.strings[1], "");
  assert_string_equal(x->as.strings[2], "bc");
  x = mp_node_attr(n, "t");
  assert_true(x->kind == MP_ATTR_TENSOR && x->as.tensor->rank == 1 && x->as.tensor->dims[0] == 2);
  assert_true(x->as.tensor->contents == 2 && x->as.tensor->ints[1].n == 8);
  assert_true(mp_node_attr(n, "e")->kind == MP_ATTR_INTS && mp_node_attr(n, "e")->n == 0);
  assert_null(mp_node_attr(n, "none"));
}

static void metadata_is_kept(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(
      a, "x: float[2] meta.kind=\"input\"; y = Relu(x); -> y; info y: float[2] meta.m=\"n\"; graphmeta sig=\"s\"; modelmeta author=\"me\"");
  assert_string_equal(mp_graph_meta(g, "sig"), "s");
  assert_string_equal(mp_graph_meta(g, "author"), "me");
  assert_int_equal(test_value(g, "x")->metas, 1);
  assert_string_equal(test_value(g, "x")->meta[0].value, "input");
  assert_string_equal(test_value(g, "y")->meta[0].key, "m");
}

static void an_input_with_an_initializer_is_one(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a, "ir 3; x: float[2]; w: float[2]; w = float[2]{1, 2}; y = Add(x, w); -> y");
  assert_int_equal(g->input_count, 1);
  assert_int_equal(test_value(g, "w")->kind, MP_VALUE_INITIALIZER);
  assert_value(a, g, "w", "float32[2]{1, 2}");
}

/* ---- declared types ---- */

static void declared_types(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a,
                                 "a: seq(float[2,n]); b: optional(int64[]); c: map(int64, float[3]); d: sparse(float[4]); e: float; f: int4[0,-1,?]\n"
                                 "g: optional(seq(double[1])); y = Relu(e); -> y");
  assert_value(a, g, "a", "sequence float32[2, n]");
  assert_value(a, g, "b", "optional int64[]");
  assert_value(a, g, "c", "map float32[3]");
  assert_value(a, g, "d", "sparse float32[4]");
  assert_value(a, g, "e", "float32");
  assert_value(a, g, "f", "int4[0, f:1, f:2]"); /* 0 is a size; a negative one is open, as one without a number is */
  assert_value(a, g, "g", "optional float64[1]");
}

static void declared_shapes_fill_what_inference_leaves_open(void **state) {
  mp_arena *a = *state;
  const char *drawing = "x: float[2]; y = dom.Mystery(x); z = Relu(y); -> z; info y: float[7]; opset 17; opset dom 1";
  assert_value(a, test_graph(a, drawing), "z", "float32[7]");
  const mp_graph_options scratch = {.from_scratch = true};
  assert_value(a, test_graph_with(a, drawing, &scratch), "y", "undefined");
  const mp_graph *g = test_graph(a, "x: float[2]; y = Relu(x); -> y: float[3]");
  assert_value(a, g, "y", "float32[2]");
  assert_true(test_warned(g, "value 'y'"));
}

/* ---- contents ---- */

static void small_contents_are_read(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(
      a,
      "a = int64[2]{1, -2}; b = int64[2]raw{3, -4}; c = int32[]{5}; d = int32[1]raw{-6}; e = bool[2]{1, 0}; f = bool[2]raw{0, 1}\n"
      "g = float[2]{0.5, -1}; h = float[1]raw{2}; i = double[1]{0.25}; j = double[1]raw{0.125}; k = uint8[1]raw{255}; l = int8[1]raw{-1}\n"
      "m = uint64[1]{9}; n = int16[1]raw{-7}; o = int64[0]{}; p = int64[3]{1, 2}; q = float[2]; r = int64[2]raw{1}; x: float[]; y = Relu(x); -> y");
  const char *const want[][2] = {{"a", "int64[2]{1, -2}"},  {"b", "int64[2]{3, -4}"},   {"c", "int32[]{5}"},          {"d", "int32[1]{-6}"},
                                 {"e", "bool[2]{1, 0}"},    {"f", "bool[2]{0, 1}"},     {"g", "float32[2]{0.5, -1}"}, {"h", "float32[1]{2}"},
                                 {"i", "float64[1]{0.25}"}, {"j", "float64[1]{0.125}"}, {"k", "uint8[1]{255}"},       {"l", "int8[1]{-1}"},
                                 {"m", "uint64[1]{9}"},     {"n", "int16[1]{-7}"},      {"o", "int64[0]{}"},          {"p", "int64[3]"} /* too few */,
                                 {"q", "float32[2]"},       {"r", "int64[2]"}};
  for (size_t i = 0; i < sizeof want / sizeof *want; i++) assert_value(a, g, want[i][0], want[i][1]);
  assert_true(test_warned(g, "tensor 'r' holds 8 bytes, its dimensions say 16"));
}

static void half_precision_contents(void **state) {
  mp_arena *a = *state;
  /* binary16: 0x3c00 is 1, 0xc100 -2.5, 1 the smallest subnormal 2^-24, 0x7c00 infinity; bfloat16: 0x3fc0 is 1.5 */
  const mp_graph *g = test_graph(a, "h = half[4]{15360, 49408, 1, 31744}; b = bfloat16[1]{16320}; x: float[]; y = Relu(x); -> y");
  const double *h = test_value(g, "h")->floats;
  assert_true(h[0] == 1 && h[1] == -2.5 && h[2] == 1.0 / (1 << 24) && h[3] > 1e308);
  assert_true(test_value(g, "b")->floats[0] == 1.5);
}

static void constants_of_every_form(void **state) {
  mp_arena *a = *state;
  const mp_graph *g =
      test_graph(a,
                 "a = Constant() value=int64[2]{1,2}; b = Constant() value_int=7; c = Constant() value_ints=[3,4]; d = Constant() value_float=1.5\n"
                 "e = Constant() value_floats=[1.5,2.5]; f = Constant() value_string=\"s\"; -> a, b, c, d, e, f");
  assert_value(a, g, "a", "int64[2]{1, 2}");
  assert_value(a, g, "b", "int64[]{7}");
  assert_value(a, g, "c", "int64[2]{3, 4}");
  assert_value(a, g, "d", "float32[]{1.5}");
  assert_value(a, g, "e", "float32[2]{1.5, 2.5}");
  assert_value(a, g, "f", "string[]");
}

/* ---- order ---- */

static void nodes_are_sorted(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a, "z = Relu(y); k = Neg(x); y = Exp(x); x: float[2]; -> z, k");
  assert_string_equal(g->nodes[0].type, "Exp");
  assert_string_equal(g->nodes[1].type, "Relu");
  assert_string_equal(g->nodes[2].type, "Neg");
  assert_int_equal(test_value(g, "z")->producer, 1);
  assert_value(a, g, "z", "float32[2]");
}

static void what_a_subgraph_reads_comes_first(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(
      a,
      "c: bool[]; x: float[5]\n"
      "r = If(c) then_branch={ s = If(c) then_branch={ p = Neg(y); -> p } else_branch={ p = Exp(y); -> p }; -> s } else_branch={ q = Abs(x); -> q }\n"
      "y = Relu(x); -> r");
  assert_string_equal(g->nodes[0].type, "Relu");
  assert_value(a, g, "r", "float32[5]");
}

static void cycles_are_refused(void **state) {
  mp_arena *a = *state;
  assert_string_equal(test_graph_error(a, "x: float[2]; y = Add(x, z); z = Relu(y) name=\"round\"; -> z", NULL),
                      "drawing: node '' (Add) needs its own result: the graph has a cycle; the file is damaged, export it again");
  assert_non_null(strstr(test_graph_error(a, "y = Relu(y); -> y", NULL), "cycle"));
  assert_non_null(
      strstr(test_graph_error(a, "c: bool[]; r = If(c) then_branch={ p = Neg(r); -> p } else_branch={ q = Neg(c); -> q }; -> r", NULL), "cycle"));
}

/* ---- subgraphs ---- */

static void subgraphs_capture(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a,
                                 "c: bool[]; x: float[5]; w = float[5]\n"
                                 "r = If(c) then_branch={ p = Add(x, w); -> p } else_branch={ x = Neg(w); -> x }; -> r");
  const mp_graph *then = mp_node_attr(&g->nodes[0], "then_branch")->as.graph, *otherwise = mp_node_attr(&g->nodes[0], "else_branch")->as.graph;
  assert_ptr_equal(then->outer, g);
  assert_int_equal(then->capture_count, 2);
  for (uint32_t i = 0; i < 2; i++) {
    const mp_value *in = &then->values[then->captures[i].inner], *out = &g->values[then->captures[i].outer];
    assert_int_equal(in->kind, MP_VALUE_CAPTURE);
    assert_string_equal(in->name, out->name);
  }
  assert_int_equal(otherwise->capture_count, 1); /* its own x hides the outer one */
  assert_int_equal(otherwise->values[otherwise->outputs[0]].kind, MP_VALUE_NODE);
  assert_value(a, g, "r", "float32[5]");
}

static void captures_pass_through_the_graphs_between(void **state) {
  mp_arena *a = *state;
  const mp_graph *g =
      test_graph(a,
                 "c: bool[]; x: float[5]\n"
                 "r = If(c) then_branch={ s = If(c) then_branch={ p = Neg(x); -> p } else_branch={ -> x }; -> s } else_branch={ -> x }; -> r");
  const mp_graph *then = mp_node_attr(&g->nodes[0], "then_branch")->as.graph;
  const mp_graph *inner = mp_node_attr(&then->nodes[0], "then_branch")->as.graph;
  assert_int_equal(inner->capture_count, 1);
  assert_int_equal(then->values[inner->captures[0].outer].kind, MP_VALUE_CAPTURE);
  assert_value(a, g, "r", "float32[5]");
  assert_int_equal(test_value(g, "x")->users, 3);
}

/* ---- functions ---- */

static void functions_are_inlined(void **state) {
  mp_arena *a = *state;
  const mp_graph *g =
      test_graph(a,
                 "opset 17; opset my 1; x: float[2,3]; w = float[3,4]; y = my.Dense(x, w) name=\"fc\" meta.k=\"v\"; z = my.Dense(x, w); -> y, z\n"
                 "fun my.Dense(a, b) { opset 13; h = MatMul(a, b); c = Relu(h) name=\"act\"; -> c }");
  assert_int_equal(g->node_count, 4);
  assert_value(a, g, "y", "float32[2, 4]");
  assert_string_equal(g->nodes[0].name, "fc/MatMul");
  assert_string_equal(g->nodes[1].name, "fc/act");
  assert_int_equal(g->nodes[1].opset, 13);
  assert_string_equal(mp_node_meta(&g->nodes[1], "k"), "v"); /* stands for the call */
  assert_value(a, g, "fc/h", "float32[2, 4]");
  assert_string_equal(g->values[g->nodes[1].out[0]].name, "y");
  assert_string_equal(g->values[g->nodes[2].out[0]].name, "Dense/h");
}

static void names_of_inlined_values_stay_unique(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a,
                                 "opset 17; opset my 1; x: float[2]; y = my.F(x); z = my.F(y); -> z\n"
                                 "fun my.F(a) { opset 17; h = Neg(a); c = Relu(h); -> c }");
  assert_value(a, g, "F/h", "float32[2]");
  assert_value(a, g, "F/h#1", "float32[2]");
}

static void functions_call_functions(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a,
                                 "opset 17; opset my 1; x: float[2]; y = my.Outer(x) name=\"o\"; -> y\n"
                                 "fun my.Inner(a) { opset 17; c = Neg(a) name=\"n\"; -> c }\n"
                                 "fun my.Outer(a) { opset my 1; h = my.Inner(a) name=\"i\"; c = my.Inner(h) name=\"j\"; -> c }");
  assert_int_equal(g->node_count, 2);
  assert_string_equal(g->nodes[0].name, "o/i/n");
  assert_string_equal(g->nodes[1].name, "o/j/n");
  assert_value(a, g, "y", "float32[2]");
}

static void attributes_reach_the_functions_nodes(void **state) {
  mp_arena *a = *state;
  const char *fun = "fun my.Soft(a) axis other=5 { opset 17; c = Softmax(a) axis=@axis k=@other gone=@nobody; -> c }";
  const mp_graph *g =
      test_graph(a, mp_format(a, "opset 17; opset my 1; x: float[2,3]; y = my.Soft(x) axis=1; z = my.Soft(x) other=6; -> y, z\n%s", fun));
  assert_int_equal(mp_node_int(&g->nodes[0], "axis", -9), 1);
  assert_int_equal(mp_node_int(&g->nodes[0], "k", -9), 5); /* the default */
  assert_null(mp_node_attr(&g->nodes[0], "gone"));
  assert_int_equal(mp_node_int(&g->nodes[1], "axis", -9), -9); /* not given: the operator's own default */
  assert_int_equal(mp_node_int(&g->nodes[1], "k", -9), 6);
}

static void optional_inputs_and_outputs_of_functions(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a,
                                 "opset 17; opset my 1; x: float[4]; m = float[]; y = my.F(x, _, m); p, _ = my.G(x); -> y, p\n"
                                 "fun my.F(a, lo, hi, more) { opset 17; c = Clip(a, lo, hi); d = my.G(c); -> c }\n"
                                 "fun my.G(a) { opset 17; c = Neg(a); d = Exp(a); -> c, d }");
  const mp_node *clip = test_node(g, "y");
  assert_int_equal(clip->in[1], -1);
  assert_string_equal(g->values[clip->in[2]].name, "m");
  assert_value(a, g, "p", "float32[4]");
  assert_value(a, g, "G/d", "float32[4]"); /* made, though nobody asked for it */
}

static void a_function_may_hand_out_its_input(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a,
                                 "opset 17; opset my 1; x: float[4]; y, z, u = my.F(x); -> y, z, u\n"
                                 "fun my.F(a) { opset 17; c = Neg(a); -> a, c, c }");
  assert_int_equal(g->node_count, 3);
  assert_string_equal(test_node(g, "y")->type, "Identity");
  assert_string_equal(test_node(g, "z")->type, "Neg");
  assert_string_equal(test_node(g, "u")->type, "Identity");
  assert_value(a, g, "u", "float32[4]");
}

static void overloads_are_told_apart(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a,
                                 "opset 17; opset my 1; x: float[4]; y = my.F:one(x); z = my.F:two(x); -> y, z\n"
                                 "fun my.F:one(a) { opset 17; c = Neg(a); -> c }\nfun my.F:two(a) { opset 17; c = Exp(a); -> c }");
  assert_string_equal(test_node(g, "y")->type, "Neg");
  assert_string_equal(test_node(g, "z")->type, "Exp");
}

static void a_function_wins_over_an_operator(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a, "x: float[4]; y = Relu(x); -> y\nfun Relu(a) { opset 17; c = Neg(a); -> c }");
  assert_string_equal(test_node(g, "y")->type, "Neg");
}

static void subgraphs_in_functions_see_the_functions_names(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(
      a,
      "opset 17; opset my 1; c: bool[]; x: float[4]; y = my.F(c, x) axis=0; -> y\n"
      "fun my.F(k, v) axis { opset 17; h = Neg(v); r = If(k) then_branch={ p = Softmax(h) axis=@axis; -> p } else_branch={ -> v }; -> r }");
  assert_value(a, g, "y", "float32[4]");
  const mp_graph *then = mp_node_attr(test_node(g, "y"), "then_branch")->as.graph;
  assert_int_equal(mp_node_int(&then->nodes[0], "axis", 9), 0);
  assert_string_equal(g->values[then->captures[0].outer].name, "F/h");
}

static void bad_functions_are_refused(void **state) {
  mp_arena *a = *state;
  const char *const head = "opset 17; opset my 1; x: float[4]; y = my.F(x); -> y\n";
  const char *const cases[][2] = {
      {"fun my.F(a) { opset my 1; c = my.F(a); -> c }", "calls itself"},
      {"fun my.F(a) { opset my 1; c = my.G(a); -> c }\nfun my.G(a) { opset my 1; c = my.F(a); -> c }", "calls itself"},
      {"fun my.F(a) { opset 17; c = Neg(a); -> d }", "'d' is an output that no node makes"},
      {"fun my.F(a) { opset 17; c = Neg(a); c = Exp(a); -> c }", "'c' is defined twice"},
      {"fun my.F(a) { opset 17; a = Neg(a); -> a }", "'a' is defined twice"},
      {"fun my.F(a, a) { opset 17; c = Neg(a); -> c }", "is an input twice"},
      {"fun my.F(a) { opset 17; c = Neg(b); -> c }", "reads 'b'"},
      {"fun my.F(a) { opset 17; c = Neg(x); -> c }", "reads 'x'"}, /* a function does not see the graph */
      {"fun my.F(a) { opset 17; c = Neg(a); -> c }\nfun my.F(a) { opset 17; c = Neg(a); -> c }", "defined twice"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *text = test_graph_error(a, mp_format(a, "%s%s", head, cases[i][0]), NULL);
    if (!strstr(text, cases[i][1])) fail_msg("'%s' lacks '%s'", text, cases[i][1]);
  }
}

static void functions_that_explode_are_refused(void **state) {
  mp_arena *a = *state;
  mp_text t = {0};
  mp_text_add(a, &t, "opset 17; opset my 1; x: float[4]; y = my.F0(x); -> y\n");
  for (int i = 0; i < 24; i++) mp_text_add(a, &t, "fun my.F%d(a) { opset my 1; b = my.F%d(a); c = my.F%d(b); -> c }\n", i, i + 1, i + 1);
  mp_text_add(a, &t, "fun my.F24(a) { opset 17; c = Neg(a); -> c }");
  assert_non_null(strstr(test_graph_error(a, t.at, NULL), "stand for more than"));
}

static const char *chain_of_functions(mp_arena *a, int n) { /* each calls the next; the last one does the work */
  mp_text t = {0};
  mp_text_add(a, &t, "opset 17; opset my 1; x: float[4]; y = my.F0(x); -> y\n");
  for (int i = 0; i < n; i++) mp_text_add(a, &t, "fun my.F%d(a) { opset my 1; b = my.F%d(a); -> b }\n", i, i + 1);
  mp_text_add(a, &t, "fun my.F%d(a) { opset 17; c = Neg(a); -> c }", n);
  return t.at;
}

static void functions_nest_to_a_limit(void **state) {
  mp_arena *a = *state;
  assert_int_equal(test_graph(a, chain_of_functions(a, 60))->node_count, 1);
  assert_non_null(strstr(test_graph_error(a, chain_of_functions(a, 5000), NULL), "nested more than 100 deep"));
}

/* ---- opsets ---- */

static void opset_imports(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a, "opset none; x: float[4]; y = Relu(x); -> y");
  assert_int_equal(g->opset, 1);
  assert_true(test_warned(g, "imports no operator set"));
  g = test_graph(a, "opset ai.onnx 11; x: float[4]; y = Relu(x); z = ai.onnx.Relu(y); -> z");
  assert_int_equal(g->opset, 11);
  assert_string_equal(g->nodes[1].domain, "");
  assert_int_equal(g->nodes[1].opset, 11);
  g = test_graph(a, "opset 17; x: float[4]; y = other.Op(x); -> y");
  assert_true(test_warned(g, "domain 'other' are used without an opset import"));
  assert_int_equal(g->nodes[0].opset, 1);
  g = test_graph(a, "opset 0; opset 7; x: float[4]; y = Relu(x); -> y");
  assert_int_equal(g->opset, 7);
}

/* ---- bindings ---- */

static const mp_graph *bound(mp_arena *a, const char *drawing, const char *dim, const char **error) {
  mp_err err = {0};
  mp_binding b[2];
  uint32_t n = 0;
  char *copy = mp_strdup(a, dim);
  for (char *p = strtok(copy, " "); p; p = strtok(NULL, " ")) assert_true(mp_binding_parse(a, p, &b[n++], &err));
  const mp_graph_options o = {.bindings = b, .binding_count = n};
  if (error) return *error = test_graph_error(a, drawing, &o), NULL;
  return test_graph_with(a, drawing, &o);
}

static void dims_are_bound(void **state) {
  mp_arena *a = *state;
  const char *drawing = "x: float[batch,seq]; y: float[batch]; z = Relu(x); u = Neg(y); -> z, u";
  const mp_graph *g = bound(a, drawing, "batch=8", NULL);
  assert_value(a, g, "z", "float32[8, seq]");
  assert_value(a, g, "u", "float32[8]");
  assert_string_equal(mp_graph_open_dim(g), "seq");
  g = bound(a, drawing, "x:0=8 seq=0", NULL);
  assert_value(a, g, "z", "float32[8, 0]");
  assert_value(a, g, "u", "float32[batch]"); /* one axis is one axis */
}

static void a_colon_may_be_part_of_a_name(void **state) {
  mp_arena *a = *state;
  mp_err err = {0};
  mp_binding b;
  assert_true(mp_binding_parse(a, "in:0:1=5", &b, &err));
  assert_string_equal(b.name, "in:0");
  assert_true(b.axis == 1 && b.n == 5);
  assert_true(mp_binding_parse(a, "a:b=5", &b, &err));
  assert_string_equal(b.name, "a:b");
  assert_int_equal(b.axis, -1);
  assert_true(mp_binding_parse(a, "a=b=5", &b, &err));
  assert_string_equal(b.name, "a=b");
  const char *const bad[] = {"batch", "batch=", "=5", "batch=-1", "batch=x", "batch=5x", "batch=99999999999999999999", "batch= 5", ""};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    err = (mp_err){0};
    assert_false(mp_binding_parse(a, bad[i], &b, &err));
    assert_int_equal(err.code, MP_BAD_INPUT);
  }
}

static void a_rank_may_come_from_bindings(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = bound(a, "x: float; y = Relu(x); -> y", "x:0=2 x:1=3", NULL);
  assert_value(a, g, "y", "float32[2, 3]");
  assert_true(test_warned(g, "taken as 2 from --dim"));
}

static void bindings_that_do_not_fit_are_refused(void **state) {
  mp_arena *a = *state;
  const char *drawing = "x: float[batch,3,?]; y = Relu(x); -> y";
  const char *const cases[][2] = {
      {"x:1=4", "contradicts the file, where axis 1 of input 'x' is 3"},
      {"x:3=4", "input 'x' has 3 dimensions; give an axis from 0 to 2"},
      {"seq=4", "binds nothing; open dimensions of the inputs: 'batch', 'x:2'"},
      {"z:0=4", "binds nothing"},
      {"batch=4 batch=5", "gives 'batch' twice, as 4 and 5"},
      {"x:0=4 x:0=5", "contradicts"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *text;
    bound(a, drawing, cases[i][0], &text);
    if (!strstr(text, cases[i][1])) fail_msg("'%s' lacks '%s'", text, cases[i][1]);
  }
  bound(a, drawing, "x:1=3 batch=2", NULL); /* what agrees with the file is fine */
}

static void a_node_reads_the_definition_before_it(void **state) {
  mp_arena *a = *state;
  const mp_graph *g = test_graph(a,
                                 "c: bool[]; x: float[2]; y = Concat(x, x) axis=0; a = Relu(y)\n"
                                 "r = If(c) then_branch={ p = Neg(y); -> p } else_branch={ -> y }; y = Concat(x, y) axis=0; b = Relu(y)\n"
                                 "y = Concat(x, x, x, x) axis=0; d = Relu(y); -> a, b, d, r, y");
  assert_value(a, g, "a", "float32[4]");
  assert_value(a, g, "r", "float32[4]");
  assert_value(a, g, "b", "float32[6]");
  assert_value(a, g, "d", "float32[8]");
  assert_value(a, g, "y", "float32[8]"); /* the graph hands out the last one */
  assert_value(a, g, "y#1", "float32[4]");
  assert_true(test_warned(g, "value 'y' is defined by more than one node"));
  g = test_graph(a, "x: float[2]; y = Relu(x); z = Neg(y); y = Exp(z); -> y"); /* no cycle */
  assert_string_equal(test_node(g, "y")->type, "Exp");
  g = test_graph(a, "k = Constant() value_ints=[1, 2]; y = Identity(k); k = Constant() value_ints=[3]; -> y"); /* as of two initializers */
  assert_value(a, g, "y", "int64[1]{3}");
  g = test_graph(a, "x: float[2]; z = Neg(y); y = Relu(x); y = Exp(x); -> z"); /* none stands before it: the last one */
  assert_string_equal(g->nodes[test_value(g, "y")->producer].type, "Exp");
  assert_string_equal(g->values[test_node(g, "z")->in[0]].name, "y");
}

/* ---- what is refused ---- */

static void bad_graphs_are_refused(void **state) {
  mp_arena *a = *state;
  const char *const cases[][2] = {
      {"x: float[2]; y = Add(x, missing) name=\"add\"; -> y",
       "drawing: node 'add' (Add) reads 'missing', which no node, input or initializer makes; the file is incomplete: export it again"},
      {"x: float[2]; y = Relu(x); -> z", "output 'z' of graph 'drawing' is made by no node"},
      {"x: float[2]; x = Relu(x); -> x", "'x' is defined twice"},
      {"x: float[2]; x: float[2]; y = Relu(x); -> y", "input 'x' is defined twice"},
      {"w = float[2]; w = float[3]; y = Relu(w); -> y", "initializer 'w' is defined twice"},
      {"w = float[2]; w = Relu(w); -> w", "'w' is defined twice"},
      {"w = float[-2]; y = Relu(w); -> y", "tensor 'w': dimension 0 is -2"},
      {"w = float[4294967296,4294967296,4]; y = Relu(w); -> y", "multiply to more than 2^63 bytes"},
      {"x: float[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]; y = Relu(x); -> y", "more than 32 dimensions"},
      {"c: bool[]; r = If(c) then_branch={ p = Neg(nowhere); -> p } else_branch={ -> c }; -> r", "reads 'nowhere'"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *text = test_graph_error(a, cases[i][0], NULL);
    if (!strstr(text, cases[i][1])) fail_msg("'%s' lacks '%s'", text, cases[i][1]);
  }
  assert_true(test_warned(test_graph(a, "w = float[2]; w = float[2]; y = Relu(w); -> y"), "in the file twice"));
  test_graph(a, "w = float[4294967296,0,4294967296]; y = Relu(w); -> y"); /* nothing of a large size is nothing */
}

/* ---- external data ---- */

static const mp_graph *from_file(mp_arena *a, const char *path, const char *drawing) {
  size_t n;
  const uint8_t *bytes = test_model(a, drawing, &n);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(bytes, 1, n, f), n);
  fclose(f);
  mp_err err = {0};
  const mp_model *m = mp_model_read(a, path, &err);
  const mp_graph *g = mp_graph_build(a, m, NULL, &err);
  if (!g) fail_msg("%s", err.text);
  mp_model_close(m);
  return g;
}

static void external_data_is_looked_at_from_outside(void **state) {
  mp_arena *a = *state;
  char dir[] = "/tmp/memplan-test-XXXXXX";
  assert_non_null(mkdtemp(dir));
  const char *model = mp_format(a, "%s/model.onnx", dir), *weights = mp_format(a, "%s/w.bin", dir), *link = mp_format(a, "%s/link.bin", dir);
  const char *const drawing = "w = float[4]external{%s, %d, 16}; y = Relu(w); -> y";
  FILE *f = fopen(weights, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite("0123456789abcdef0123", 1, 20, f), 20);
  fclose(f);
  assert_int_equal(symlink(weights, link), 0);
  const struct {
    const char *location;
    int offset;
    const char *warning;
  } cases[] = {{"w.bin", 4, NULL},
               {"absent.bin", 4, NULL},
               {"w.bin", 5, "cut short or of another model"},
               {"/etc/passwd", 0, "outside the model's folder"},
               {"../w.bin", 0, "outside the model's folder"},
               {"a/../w.bin", 0, "outside"},
               {"link.bin", 0, "a symbolic link"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const mp_graph *g = from_file(a, model, mp_format(a, drawing, cases[i].location, cases[i].offset));
    assert_value(a, g, "y", "float32[4]"); /* sizes come from dims alone */
    assert_int_equal(g->warning_count, cases[i].warning != NULL);
    if (cases[i].warning && !test_warned(g, cases[i].warning)) fail_msg("'%s' lacks '%s'", g->warnings[0], cases[i].warning);
  }
  unlink(link);
  unlink(weights);
  unlink(model);
  assert_int_equal(rmdir(dir), 0);
}

/* ---- memory ---- */

static void every_request_may_fail(void **state) {
  mp_arena *a = *state;
  size_t n;
  const uint8_t *bytes = test_model(
      a,
      "opset 17; opset my 1; c: bool[]; x: float[b,3] meta.k=\"v\"; w = float[3,4]; k = int64[2]{1, 2}; z = Neg(y) name=\"n\" doc=\"d\" "
      "meta.k=\"v\"\n"
      "y = my.F(x, w) axis=1; r = If(c) then_branch={ p = Neg(z); -> p } else_branch={ -> z }; s = Constant() value=int64[2]{3, 4}; -> r, s\n"
      "w2 = float[4]external{../w.bin, 0, 16}; graphmeta a=\"b\"; info y: float[b,4]\n"
      "fun my.F(a, b) axis { opset 17; m = MatMul(a, b); c = Softmax(m) axis=@axis; -> c }",
      &n);
  const mp_binding bind = {"b", -1, 2};
  const mp_graph_options o = {.bindings = &bind, .binding_count = 1};
  uint64_t requests = 0;
  for (uint64_t at = 1;; at++) {
    mp_arena *b = mp_arena_new(0);
    mp_arena_fail_at(b, at);
    mp_err err = {0};
    const mp_model *m = mp_model_read_memory(b, "drawing", bytes, n, &err);
    const mp_graph *g = m ? mp_graph_build(b, m, &o, &err) : NULL;
    requests = mp_arena_requests(b);
    if (g) {
      assert_value(a, g, "r", "float32[2, 4]");
      mp_arena_free(b);
      assert_true(at > 100);
      break;
    }
    assert_int_equal(err.code, MP_INTERNAL);
    assert_non_null(strstr(err.text, "out of memory"));
    mp_arena_free(b);
  }
  assert_true(requests > 100);
}

static void memory_stays_small(void **state) {
  mp_arena *a = *state;
  mp_text t = {0};
  enum { NODES = 4000 };
  mp_text_add(a, &t, "v0: float[batch,seq,64]\n");
  for (int i = 1; i <= NODES; i++) mp_text_add(a, &t, "v%d = Relu(v%d) name=\"/model/layers.%d/Relu\"\n", i, i - 1, i);
  mp_text_add(a, &t, "-> v%d", NODES);
  size_t n;
  const uint8_t *bytes = test_model(a, t.at, &n);
  mp_arena *b = mp_arena_new(0);
  mp_err err = {0};
  const mp_graph *g = mp_graph_build(b, mp_model_read_memory(b, "drawing", bytes, n, &err), NULL, &err);
  assert_non_null(g);
  if (mp_arena_used(b) > (TEST_SANITIZED ? 2000 : 500) * NODES) fail_msg("%llu bytes a node", (unsigned long long)(mp_arena_used(b) / NODES));
  mp_arena_free(b);
}

static int new_arena(void **state) { return !(*state = mp_arena_new(0)); }
static int free_arena(void **state) { return mp_arena_free(*state), 0; }

#define TEST(f) cmocka_unit_test_setup_teardown(f, new_arena, free_arena)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(shapes_follow_a_drawing),
      TEST(users_are_counted),
      TEST(a_name_left_out_is_minus_one),
      TEST(attributes_of_every_kind),
      TEST(metadata_is_kept),
      TEST(an_input_with_an_initializer_is_one),
      TEST(declared_types),
      TEST(declared_shapes_fill_what_inference_leaves_open),
      TEST(small_contents_are_read),
      TEST(half_precision_contents),
      TEST(constants_of_every_form),
      TEST(nodes_are_sorted),
      TEST(what_a_subgraph_reads_comes_first),
      TEST(cycles_are_refused),
      TEST(subgraphs_capture),
      TEST(captures_pass_through_the_graphs_between),
      TEST(functions_are_inlined),
      TEST(names_of_inlined_values_stay_unique),
      TEST(functions_call_functions),
      TEST(attributes_reach_the_functions_nodes),
      TEST(optional_inputs_and_outputs_of_functions),
      TEST(a_function_may_hand_out_its_input),
      TEST(overloads_are_told_apart),
      TEST(a_function_wins_over_an_operator),
      TEST(subgraphs_in_functions_see_the_functions_names),
      TEST(bad_functions_are_refused),
      TEST(functions_that_explode_are_refused),
      TEST(functions_nest_to_a_limit),
      TEST(opset_imports),
      TEST(dims_are_bound),
      TEST(a_colon_may_be_part_of_a_name),
      TEST(a_rank_may_come_from_bindings),
      TEST(bindings_that_do_not_fit_are_refused),
      TEST(a_node_reads_the_definition_before_it),
      TEST(bad_graphs_are_refused),
      TEST(external_data_is_looked_at_from_outside),
      TEST(every_request_may_fail),
      TEST(memory_stays_small),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
