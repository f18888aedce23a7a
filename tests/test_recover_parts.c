/* Calls that an exporter writes out as their parts, and branches that it leaves to the run: drawn as the exporters write them. */
#include "planner/inside.h"
#include "support_draw.h"
#include "support_graph.h"
#include "support_program.h"
#include "support_recover.h"

/* ---- the TorchScript exporter ---- */

static void the_branch_that_is_taken_stands_in_place_of_the_if(void **state) {
  (void)state;
#define CHOICE(c) "x: float[2,4]; c = bool[]{" c "}; y = If(c) name=\"/If\" then_branch={ p = Neg(x); q = Exp(p); -> q } else_branch={ r = Sin(x); -> r }; z = Cos(y) name=\"/Cos\"; -> z"
  test_expect_calls(CHOICE("1"), "neg(x) exp(%) cos(%)");
  test_expect_calls(CHOICE("0"), "sin(x) cos(%)");
  /* what comes in goes out; one inside another; two results */
  test_expect_calls("x: float[2,4]; c = bool[]{0}; y = If(c) then_branch={ p = Neg(x); -> p } else_branch={ -> x }; z = Cos(y) name=\"/Cos\"; -> z", "cos(x)");
  test_expect_calls("x: float[2,4]; c = bool[]{1}; d = bool[]{0}\n"
                    "y, w = If(c) then_branch={ a = Neg(x); s = If(d) then_branch={ -> x } else_branch={ t = Abs(a); -> t }; -> s, a } else_branch={ -> x, x }\n"
                    "z = Add(y, w) name=\"/Add\"; -> z",
                    "neg(x) abs(%) add(%,%)");
}

static void a_choice_that_the_run_makes_stays(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered(a, "x: float[2,4]; c: bool[]; y = If(c) name=\"/If\" then_branch={ p = Neg(x); -> p } else_branch={ r = Sin(x); -> r }; -> y");
  assert_string_equal(p->calls[0].row->name, "onnx::If");
  mp_arena_free(a);
}

static void losses_and_distances_are_one_call(void **state) {
  (void)state;
  test_expect_calls("x: float[2,4]; y: float[2,4]; d = Constant() value=int64[1]{-1}; e = Constant() value=float[]{0.00000001}\n"
                    "m = Mul(x, y) name=\"/Mul\"; s = ReduceSum(m, d) keepdims=0 name=\"/ReduceSum\"; a = Mul(x, x) name=\"/Mul_1\"; b = ReduceSum(a, d) keepdims=0 name=\"/ReduceSum_1\"\n"
                    "f = Mul(y, y) name=\"/Mul_2\"; g = ReduceSum(f, d) keepdims=0 name=\"/ReduceSum_2\"; n = Mul(b, g) name=\"/Mul_3\"; r = Sqrt(n) name=\"/Sqrt\"\n"
                    "o = Max(r, e) name=\"/Max\"; z = Div(s, o) name=\"/Div\"; -> z",
                    "cosine_similarity(x,y,-1,1e-08)");
  test_expect_calls("x: float[30,4]; y: float[40,4]; d = Constant() value=int64[1]{-1}; t = Constant() value=float[]{2}; u = Constant() value=float[]{-2}; o = Constant() value=float[]{0}\n"
                    "p = Pow(x, t) name=\"/Pow\"; s = ReduceSum(p, d) keepdims=1 name=\"/ReduceSum\"; h = Shape(s); i = ConstantOfShape(h) name=\"/ConstantOfShape\"\n"
                    "q = Pow(y, t) name=\"/Pow_1\"; r = ReduceSum(q, d) keepdims=1 name=\"/ReduceSum_1\"; j = Shape(r); k = ConstantOfShape(j) name=\"/ConstantOfShape_1\"\n"
                    "m = Mul(u, x) name=\"/Mul\"; a = Concat(m, s, i) axis=-1 name=\"/Concat\"; b = Concat(y, k, r) axis=-1 name=\"/Concat_1\"; c = Transpose(b) perm=[1,0] name=\"/Transpose\"\n"
                    "e = MatMul(a, c) name=\"/MatMul\"; f = Max(e, o) name=\"/Max\"; z = Sqrt(f) name=\"/Sqrt\"; -> z",
                    "_euclidean_dist(x,y)");
  /* a GAN's labels are written once for each of their readers: made by the forward, and one */
  test_expect_calls("x: float[2,2]; one = Constant() value=float[1]{1}; t = Constant() value=float[2,2]raw{1,1,1,1}; u = Constant() value=float[2,2]raw{1,1,1,1}\n"
                    "s = Sigmoid(x) name=\"/Sigmoid\"; l = Log(s) name=\"/Log\"; n = Sub(one, s) name=\"/Sub\"; v = Sub(one, t) name=\"/Sub_1\"; k = Log(n) name=\"/Log_1\"\n"
                    "a = Mul(u, l) name=\"/Mul\"; b = Mul(v, k) name=\"/Mul_1\"; c = Add(a, b) name=\"/Add\"; d = Neg(c) name=\"/Neg\"; z = ReduceMean(d) keepdims=0 name=\"/ReduceMean\"; -> z",
                    "full'(2x2,0,float32) binary_cross_entropy_with_logits(x,%,none,none,1)");
}

static void elementwise_calls_of_several_nodes(void **state) {
  (void)state;
  test_expect_calls("x: float[4]; a = Constant() value=float[]{0.5}; b = Constant() value=float[]{-0.5}; o = Constant() value=float[]{0}\n"
                    "g = Greater(x, a) name=\"/Greater\"; l = Less(x, b) name=\"/Less\"; c = Cast(g) to=9; d = Cast(l) to=9; e = Or(c, d) name=\"/Or\"; z = Where(e, x, o) name=\"/Where\"; -> z",
                    "hardshrink(x,0.5)");
  test_expect_calls("x: float[4]; y: float[4]; d = Div(x, y) name=\"/Div\"; f = Floor(d) name=\"/Floor\"; m = Mul(f, y) name=\"/Mul\"; z = Sub(x, m) name=\"/Sub\"; -> z", "remainder(x,y)");
  test_expect_calls("x: float[4]; y: float[4]; w: float[4]; h = Constant() value=float[]{0.5}; one = Constant() value=float[]{1}\n"
                    "s = Sub(y, x) name=\"/Sub\"; l = Less(w, h) name=\"/Less\"; m = Mul(w, s) name=\"/Mul\"; a = Add(x, m) name=\"/Add\"; r = Sub(one, w) name=\"/Sub_1\"\n"
                    "n = Mul(s, r) name=\"/Mul_1\"; b = Sub(y, n) name=\"/Sub_2\"; z = Where(l, a, b) name=\"/Where\"; -> z",
                    "lerp(x,y,w)");
}

/* a file in half precision rounds the constants (0x3fb5 is 1.4140625) */
static void files_in_half_precision(void **state) {
  (void)state;
  test_expect_calls("x: bfloat16[2,4]; c = Constant() value=bfloat16[]{16309}; one = Constant() value=bfloat16[]{16256}; h = Constant() value=bfloat16[]{16128}\n"
                    "d = Div(x, c) name=\"/act/Div\"; e = Erf(d) name=\"/act/Erf\"; s = Add(e, one) name=\"/act/Add\"; m = Mul(x, s) name=\"/act/Mul\"; y = Mul(m, h) name=\"/act/Mul_1\"; -> y",
                    "gelu(x,'none')");
  test_expect_calls("x: bfloat16[2,4]; s = Softmax(x) axis=-1 name=\"/Softmax\"; c = Cast(s) to=1 name=\"/Cast\"; y = Cast(c) to=16 name=\"/Cast_1\"; -> y", "softmax(x,-1,float32) to(%,bfloat16)");
}

static void parts_of_a_tensor_are_written_without_an_index(void **state) {
  (void)state;
  /* y = zeros_like(x); y[:, 1:] = x[:, :-1]: the places are constants */
  test_expect_calls("x: float[2,3]; z = Constant() value=float[2,3]raw{0,0,0,0,0,0}; i = Constant() value=int64[2,2,1]{0,0,1,1}; j = Constant() value=int64[2,2,1]{1,2,1,2}\n"
                    "a = Constant() value=int64[1]{0}; b = Constant() value=int64[1]{2}; c = Constant() value=int64[1]{1}; s = Slice(x, a, b, c) name=\"/Slice\"; k = Concat(i, j) axis=-1 name=\"/Concat\"\n"
                    "y = ScatterND(z, k, s) name=\"/ScatterND\"; -> y",
                    "slice(x,1,0,2,1) new_full(%,2x3,0) slice_scatter_(%,%)");
  /* hstack */
  test_expect_calls("x: float[2,3]; y: float[2,3]; s = SequenceConstruct(x, y); z = ConcatFromSequence(s) axis=1 name=\"/ConcatFromSequence\"; -> z", "cat(x+y,1)");
}

/* a number that the model trains has a name of its own, even where no module does */
static void a_named_number_is_a_parameter(void **state) {
  (void)state;
  test_expect_calls("x: float[4]; gate = float[]{0.5}; two = Constant() value=float[]{2}; m = Mul(x, gate) name=\"/Mul\"; y = Mul(m, two) name=\"/Mul_1\"; -> y", "mul(x,gate) mul(%,2)");
}

/* ---- recurrent cells, from either exporter ---- */

#define LSTM_CELL                                                                                                                                                         \
  "a = Gemm(h, c.weight_hh, c.bias_hh) transB=1 name=\"/c/Gemm\"; b = Gemm(x, c.weight_ih, c.bias_ih) transB=1 name=\"/c/Gemm_1\"; s = Add(a, b) name=\"/c/Add\"\n"       \
  "i, f, g, o = Split(s) axis=1 name=\"/c/Split\"; si = Sigmoid(i) name=\"/c/Sigmoid\"; sf = Sigmoid(f) name=\"/c/Sigmoid_1\"; tg = Tanh(g) name=\"/c/Tanh\"\n"            \
  "so = Sigmoid(o) name=\"/c/Sigmoid_2\"; m = Mul(sf, k) name=\"/c/Mul\"; n = Mul(si, tg) name=\"/c/Mul_1\"; next = Add(m, n) name=\"/c/Add_1\"\n"                         \
  "t = Tanh(next) name=\"/c/Tanh_1\"; y = Mul(so, t) name=\"/c/Mul_2\"\n"
#define LSTM_HEAD "x: float[2,3]; h: float[2,4]; k: float[2,4]; c.weight_ih = float[16,3]; c.weight_hh = float[16,4]; c.bias_ih = float[16]; c.bias_hh = float[16]\n"

static void a_cell_is_one_call_with_two_results(void **state) {
  (void)state;
  test_expect_calls(LSTM_HEAD LSTM_CELL "z = Add(y, next) name=\"/Add\"; -> z", "lstm_cell(x,h+k,c.weight_ih,c.weight_hh,c.bias_ih,c.bias_hh) add(%,%)");
}

/* a gate that others read is none of nn.LSTMCell's */
static void a_cell_whose_gates_are_read_stays_in_parts(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered(a, LSTM_HEAD LSTM_CELL "z = Add(y, so) name=\"/Add\"; -> z");
  assert_null(strstr(test_calls_text(a, p), "lstm_cell"));
  mp_arena_free(a);
}

/* ---- the dynamo exporter ---- */

#define CALL(name, target, args) FX("%" name " : [num_users=1] = call_function[target=torch.ops." target "](args = (" args "), kwargs = {})") IN("['', 'n', '" name "']", "['M', 'Layer', 'aten']") "\n"

static void variances_and_means_are_one_call(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,8]; ax = int64[1]{1}; n = float[]{8}; s = int64[2]{2,1}\n"
                                             "m = ReduceMean(x, ax)" CALL("var", "prims.var.default", "%x, [1], 0.0") "d = Sub(x, m)" CALL("var", "prims.var.default", "%x, [1], 0.0")
                                             "q = Mul(d, d)" CALL("var", "prims.var.default", "%x, [1], 0.0") "var = ReduceMean(q, ax) keepdims=0" CALL("var", "prims.var.default", "%x, [1], 0.0")
                                             "b = Reshape(var, s)" CALL("broadcast_in_dim", "prims.broadcast_in_dim.default", "%var, [2, 1], [0]")
                                             "sum_1 = ReduceSum(x, ax) keepdims=0" CALL("sum_1", "prims.sum.default", "%x, [1]")
                                             "c = Reshape(sum_1, s)" CALL("broadcast_in_dim_1", "prims.broadcast_in_dim.default", "%sum_1, [2, 1], [0]")
                                             "div = Div(c, n)" CALL("div", "prims.div.default", "%broadcast_in_dim_1, 8.0") "add = Add(b, div)" CALL("add", "aten.add.Tensor", "%broadcast_in_dim, %div")
                                             SIGNATURE("x: USER_INPUT") "-> add");
  assert_int_equal(p->call_count, 2);
  assert_string_equal(test_call_line(a, p, 0), "n  aten::var_mean(%x, [1], 0, True)");
  assert_int_equal(p->calls[0].out_count, 2);
  assert_string_equal(test_call_line(a, p, 1), "n  aten::add(%broadcast_in_dim, %div)");
  mp_arena_free(a);
}

/* F.hardshrink's zero is a tensor that the exporter made; a program's own choice of a number is none */
static void a_choice_of_a_number_is_the_exporters_or_the_programs(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define SHRINK(over, zero)                                                                                                                                              \
  "opset 20\nx: float[2,8]; half = float[]{0.5}; scalar_tensor_default = float[]{0}\nabs_1 = Abs(x)" CALL("abs_1", "aten.abs.default", "%x")                               \
  "le = LessOrEqual(abs_1, half)" CALL("le", "aten.le.Scalar", "%abs_1, 0.5") "where = Where(le, scalar_tensor_default, x)" CALL("where", "aten.where." over, "%le, " zero ", %x") \
  SIGNATURE("x: USER_INPUT") "-> where"
  const mp_program *p = test_recovered_fx(a, SHRINK("self", "%scalar_tensor_default"));
  assert_string_equal(test_call_line(a, p, 0), "n  aten::hardshrink(%x, 0.5)");
  p = test_recovered_fx(a, SHRINK("ScalarSelf", "0.0"));
  assert_int_equal(p->call_count, 3);
  mp_arena_free(a);
}

/* a linear's weight that was made at export stands turned in the file */
static void what_was_made_of_a_weight_has_the_weights_own_shape(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,8]; val = float[8,5]; linear = MatMul(x, val)" CALL("linear", "aten.linear.default", "%x, %mul")
                                             SIGNATURE("p_n_w: PARAMETER target='n.w'\nx: USER_INPUT") "-> linear");
  assert_string_equal(test_call_line(a, p, 0), "n  aten::mul(%n.w, 1)");
  assert_int_equal(test_var_named(p, "n.w")->dims[0], 5);
  assert_int_equal(test_var_named(p, "n.w")->dims[1], 8);
  mp_arena_free(a);
}

static void a_weight_under_spectral_norm_is_over_its_largest_singular_value(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,3,8,8]; div_2 = float[5,3,4,4]; conv2d = Conv(x, div_2)" CALL("conv2d", "aten.conv2d.default", "%x, %div_2")
                                             SIGNATURE("p_o: PARAMETER target='n.parametrizations.weight.original'\nb_u: BUFFER target='n.parametrizations.weight.0._u' persistent=True\n"
                                                       "b_v: BUFFER target='n.parametrizations.weight.0._v' persistent=True\nx: USER_INPUT") "-> conv2d");
  static const char *const calls[] = {"aten::clone", "aten::clone", "aten::view", "aten::mv", "aten::dot", "aten::div", "aten::conv2d"};
  assert_int_equal(p->call_count, 7);
  for (uint32_t i = 0; i < 7; i++) assert_string_equal(p->calls[i].row->name, calls[i]);
  assert_int_equal(test_var_named(p, "n.parametrizations.weight.0._v")->dims[0], 3 * 4 * 4);
  mp_arena_free(a);
}

/* 1 - gate, done at export, where the gate itself is read, too */
static void an_operation_on_a_parameter_that_others_read(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,8]; n.gate = float[8]; sub = float[8]; mul = Mul(n.gate, x)" CALL("mul", "aten.mul.Tensor", "%p_n_gate, %x")
                                             "mul_1 = Mul(sub, mul)" CALL("mul_1", "aten.mul.Tensor", "%sub, %mul") SIGNATURE("p_n_gate: PARAMETER target='n.gate'\nx: USER_INPUT") "-> mul_1");
  assert_string_equal(test_call_line(a, p, 1), "n  aten::sub(%n.gate, 1)");
  mp_arena_free(a);
}

/* values whose view left no name have the keys' shape, one head of 8 rows, not the queries': 4 heads of 2 */
static void a_lost_view_of_values_is_like_the_keys(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define SDPA CALL("sdpa", "aten.scaled_dot_product_attention.default", "%q, %k, %view_3")
  const mp_program *p = test_recovered_fx(a, "opset 20\nq: float[2,4,8,6]; k: float[2,1,8,6]; v: float[2,8,6]; one = int64[1]{1}\n"
                                             "t = Transpose(k) perm=[0,1,3,2]" SDPA "s = MatMul(q, t)" SDPA "m = Softmax(s) axis=-1" SDPA "u = Unsqueeze(v, one)" SDPA
                                             "sdpa = MatMul(m, u)" SDPA SIGNATURE("q: USER_INPUT\nk: USER_INPUT\nv: USER_INPUT") "-> sdpa");
  assert_string_equal(test_call_line(a, p, 0), "n  aten::view(%v, [2, 1, 8, 6])");
  mp_arena_free(a);
}

/* a constant is not made of wte.weight, which nothing names: that is head.weight, which the calls of wte read */
static void a_tied_parameter_is_no_constants_origin(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p =
      test_recovered_fx(a, "opset 20\nk: int64[2,3]; head.weight = float[10,8]; squeeze = float[3,8]\n"
                           "embedding = Gather(head.weight, k)" AT("embedding", "embedding.default", "%p_head_weight, %k", "wte")
                           "add = Add(embedding, squeeze)" FX("%add : [num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%embedding, %squeeze), kwargs = {})") IN("['', 'add']", "['M', 'aten']") "\n"
                           SIGNATURE("p_head_weight: PARAMETER target='head.weight'\np_wte_weight: PARAMETER target='wte.weight'\nk: USER_INPUT") "-> add");
  assert_int_equal(test_var_named(p, "wte.weight")->dims[0], 10);
  assert_ptr_equal(&p->vars[test_var_named(p, "wte.weight")->tied], test_var_named(p, "head.weight"));
  static const char *const freeze[] = {"wte.*"}; /* either name freezes it */
  mp_run run = mp_run_default();
  mp_err err = {0};
  run.freeze = freeze;
  for (run.freezes = 0; run.freezes < 2; run.freezes++) {
    const mp_trace *t = mp_trace_make(a, p, &run, &err);
    assert_int_equal(t->tensors[t->var_tensor[test_var_named(p, "head.weight") - p->vars]].requires_grad, !run.freezes);
  }
  mp_arena_free(a);
}

/* model.parameters() has a tied one where its first name stands: wte, norm, and head is wte */
static void a_tied_parameter_stands_at_its_first_name(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nk: int64[2,3]; head.weight = float[10,8]; norm.weight = float[8]\n"
                                             "embedding = Gather(head.weight, k)" AT("embedding", "embedding.default", "%p_head_weight, %k", "wte")
                                             "mul = Mul(embedding, norm.weight)" AT("mul", "mul.Tensor", "%embedding, %p_norm_weight", "norm")
                                             SIGNATURE("p_wte_weight: PARAMETER target='wte.weight'\np_norm_weight: PARAMETER target='norm.weight'\np_head_weight: PARAMETER target='head.weight'\nk: USER_INPUT") "-> mul");
  mp_run run = mp_run_default();
  mp_err err = {0};
  const mp_trace *t = mp_trace_make(a, p, &run, &err);
  mp_ten head = t->var_tensor[test_var_named(p, "head.weight") - p->vars], norm = t->var_tensor[test_var_named(p, "norm.weight") - p->vars];
  assert_true(head < norm);
  assert_int_equal(t->var_tensor[test_var_named(p, "wte.weight") - p->vars], head);
  mp_arena_free(a);
}

/* T5: self.shared is read under two other names, and the module itself never runs. A weight beside others in its module is none of that. */
static void a_table_that_nothing_reads_is_the_shared_one(void **state) {
  (void)state;
  static const char *const names[] = {"shared.weight", "pooler.dense.weight"};
  for (int i = 0; i < 2; i++) {
    mp_arena *a = mp_arena_new(0);
#define SHARED(name, more)                                                                                                                                                        \
  "opset 20\nk: int64[2,3]; head.weight = float[10,8]\n"                                                                                                                          \
  "embedding = Gather(head.weight, k)" AT("embedding", "embedding.default", "%p_head_weight, %k", "one") "embedding_1 = Gather(head.weight, k)"                                    \
      AT("embedding_1", "embedding.default", "%p_head_weight, %k", "two") "add = Add(embedding, embedding_1)" AT("add", "add.Tensor", "%embedding, %embedding_1", "two")            \
          SIGNATURE("p_x: PARAMETER target='" name "'\n" more "p_one_weight: PARAMETER target='one.weight'\np_two_weight: PARAMETER target='two.weight'\n"                          \
                    "p_head_weight: PARAMETER target='head.weight'\nk: USER_INPUT") "-> add"
    const mp_program *p = test_recovered_fx(a, i ? SHARED("pooler.dense.weight", "p_y: PARAMETER target='pooler.dense.bias'\n") : SHARED("shared.weight", ""));
#undef SHARED
    const mp_var *x = test_var_named(p, names[i]), *head = test_var_named(p, "head.weight");
    assert_int_equal(x->tied, i ? -1 : (int32_t)(head - p->vars));
    assert_int_equal(x->dims[0], i ? 0 : 10);
    mp_arena_free(a);
  }
}

/* In transformers a mask that follows from positions alone is not made in a run, the kernel is told is_causal: unless it is one of a window (kv > q - window) that the 8 keys fill. Chunks and
 * windows to both sides go by the same rule. */
static void a_mask_of_a_window_is_made_where_the_keys_fill_it(void **state) {
  (void)state;
#define IN_LAYER(out, op, args) FX("%%" out " : [num_users=1] = call_function[target=torch.ops.aten." op "](args = (" args "), kwargs = {})") IN("['', 'attn', '" out "']", "['M', 'transformers.Attention', 'aten']") "\n"
  static const char *const left[] = {"sub.Tensor|Sub", "floor_divide.default|Div"};
  for (int chunks = 0; chunks < 2; chunks++)
    for (int window = 8; window <= 9; window++) {
      mp_arena *a = mp_arena_new(0);
      const char *bar = strchr(left[chunks], '|');
      const char *drawing = mp_format(a, "opset 23\nq: float[2,4,8,16]; zero = int64[]{0}; eight = int64[]{8}; one = int64[]{1}; w = int64[]{%d}; col = int64[2]{8,1}\n"
                                         "arange = Range(zero, eight, one)" IN_LAYER("arange", "arange.default", "8") "view = Reshape(arange, col)" IN_LAYER("view", "view.default", "%%arange, [8, 1]")
                                         "le = LessOrEqual(arange, view)" IN_LAYER("le", "le.Tensor", "%%arange, %%view") "s = %s(view, w)" IN_LAYER("s", "%.*s", "%%view, %d")
                                         "gt = Greater(arange, s)" IN_LAYER("gt", "gt.Tensor", "%%arange, %%s") "m = And(le, gt)" IN_LAYER("m", "bitwise_and.Tensor", "%%le, %%gt")
                                         "y = Attention(q, q, q, m)" IN_LAYER("y", "scaled_dot_product_attention.default", "%%q, %%q, %%q, %%m") SIGNATURE("q: USER_INPUT") "-> y",
                                      window, bar + 1, (int)(bar - left[chunks]), left[chunks], window);
      const mp_program *p = test_recovered_fx(a, drawing);
      const char *last = test_call_line(a, p, p->call_count - 1);
      assert_int_equal(p->call_count, window == 8 ? 7 : 1);
      assert_non_null(strstr(last, window == 8 ? "(%q, %q, %q, %m)" : "(%q, %q, %q, None, None, True"));
      mp_arena_free(a);
    }
#undef IN_LAYER
}

/* (x - x.mean(1)) / x.var(1): mean and difference were merged with those inside var */
static void a_mean_merged_with_one_inside_var_is_made_again(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define VAR AT("var", "var.correction", "%x, [1]", "norm")
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,4]; one = int64[1]{1}\nval_1 = ReduceMean(x, one) keepdims=1" VAR "val_2 = Sub(x, val_1)" VAR "val_3 = Mul(val_2, val_2)" VAR
                                         "var = ReduceMean(val_3, one) keepdims=1" VAR "div = Div(val_2, var)" AT("div", "div.Tensor", "%sub, %var", "norm") SIGNATURE("x: USER_INPUT") "-> div");
#undef VAR
  assert_int_equal(p->call_count, 4);
  assert_string_equal(test_call_line(a, p, 1), "norm  aten::mean(%x, [1], True)");
  assert_string_equal(test_call_line(a, p, 2), "norm  aten::sub(%x, %val_1)");
  assert_string_equal(test_call_line(a, p, 3), "norm  aten::div(%val_2, %var)");
  mp_arena_free(a);
}

/* pe[:, :2] = x.sin(): the copy that is written left no node, and the last node turns the result back */
static void what_is_written_into_a_part_is_what_scatter_reads(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define WRITE AT("slice_scatter", "slice_scatter.default", "%zeros, %copy_1, 1, 0, 2", "")
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[3,2]; zeros: float[3,4]; ids = int64[2,1]\nsin = Sin(x)" AT("sin", "sin.default", "%x", "") "val_1 = Transpose(sin) perm=[1,0]" WRITE
                                         "val_2 = Transpose(zeros) perm=[1,0]" WRITE "val_3 = ScatterND(val_2, ids, val_1)" WRITE "slice_scatter = Transpose(val_3) perm=[1,0]" WRITE
                                         SIGNATURE("x: USER_INPUT\nzeros: USER_INPUT") "-> slice_scatter");
#undef WRITE
  assert_string_equal(test_call_line(a, p, 1), ".  aten::slice_scatter_(%zeros, %sin, 1, 0, 2)");
  mp_arena_free(a);
}

/* k = x.new_empty(3, 4); k[:, :2] = x, in two layers: the second's k was merged with the first's, and the node that turns it stands in the first's write */
static void what_is_written_into_is_made_for_each_layer(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define EMPTY AT("new_empty", "new_empty.default", "%x, [3, 4]", "h.0")
#define FIRST AT("slice_scatter", "slice_scatter.default", "%new_empty, %copy, 1, 0, 2", "h.0")
#define SECOND AT("slice_scatter_1", "slice_scatter.default", "%new_empty_1, %copy_1, 1, 0, 2", "h.1")
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[3,2]; y: float[3,2]; sizes = int64[2]{3,4}; ids = int64[2,1]\nnew_empty = ConstantOfShape(sizes)" EMPTY
                                             "val_1 = Transpose(x) perm=[1,0]" FIRST "val_2 = Transpose(new_empty) perm=[1,0]" FIRST "val_3 = ScatterND(val_2, ids, val_1)" FIRST "slice_scatter = Transpose(val_3) perm=[1,0]" FIRST
                                             "val_4 = Transpose(y) perm=[1,0]" SECOND "val_5 = ScatterND(val_2, ids, val_4)" SECOND "slice_scatter_1 = Transpose(val_5) perm=[1,0]" SECOND
                                             "z = Add(slice_scatter, slice_scatter_1)" AT("z", "add.Tensor", "%slice_scatter, %slice_scatter_1", "") SIGNATURE("x: USER_INPUT\ny: USER_INPUT") "-> z");
  assert_string_equal(test_call_line(a, p, 1), "h.0  aten::slice_scatter_(%new_empty, %x, 1, 0, 2)");
  assert_non_null(strstr(test_call_line(a, p, 2), "h.1  aten::new_empty(")); /* of which it reads nothing */
  assert_string_equal(test_call_line(a, p, 3), "h.1  aten::slice_scatter_(%new_empty_1, %y, 1, 0, 2)");
  mp_arena_free(a);
#undef EMPTY
#undef FIRST
#undef SECOND
}

/* bias[ids]: GatherND wants an axis that counts the indices, which the folded constant has and the buffer has not */
static void a_buffer_of_indices_lacks_their_axis(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nb = float[9]; val_1 = int64[3,3,1]\nindex = GatherND(b, val_1)" AT("index", "index.Tensor", "%p_b, [%b_ids]", "attn")
                                         SIGNATURE("p_b: PARAMETER target='b'\nb_ids: BUFFER target='ids'\n") "-> index");
  assert_int_equal(test_var_named(p, "ids")->rank, 2);
  mp_arena_free(a);
}

/* mask[i, j] and other[i, j]: equal indices were merged, and with them the node that joins them */
static void equal_indices_are_those_that_were_joined(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define FIRST(out) AT(out, "index.Tensor", "%x, [%i, %j]", "a")
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[4,4]; z: float[4,4]; i: int64[4]; j: int64[4]; last = int64[1]{-1}\nval_1 = Unsqueeze(i, last)" FIRST("index") "val_2 = Unsqueeze(j, last)" FIRST("index")
                                         "val_3 = Concat(val_1, val_2) axis=-1" FIRST("index") "index = GatherND(x, val_3)" FIRST("index")
                                         "index_1 = GatherND(z, val_3)" AT("index_1", "index.Tensor", "%z, [%unsqueeze_7, %unsqueeze_8]", "b") "y = Add(index, index_1)" AT("y", "add.Tensor", "%index, %index_1", "")
                                         SIGNATURE("x: USER_INPUT\nz: USER_INPUT\ni: USER_INPUT\nj: USER_INPUT") "-> y");
#undef FIRST
  assert_string_equal(test_call_line(a, p, 1), "b  aten::index(%z, [%i, %j])");
  mp_arena_free(a);
}

/* whole numbers that follow from positions are T5's buckets: no mask, though compared and chosen by where and added */
static void buckets_are_no_mask(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define IN_LAYER(out, op, args) FX("%" out " : [num_users=1] = call_function[target=torch.ops.aten." op "](args = (" args "), kwargs = {})") IN("['', 'attn', '" out "']", "['M', 'transformers.Attention', 'aten']") "\n"
  const mp_program *p = test_recovered_fx(a, "opset 20\nq: int64[8]; zero = int64[]{0}; eight = int64[]{8}; one = int64[]{1}\narange = Range(zero, eight, one)" IN_LAYER("arange", "arange.default", "8")
                                         "lt = Less(arange, eight)" IN_LAYER("lt", "lt.Scalar", "%arange, 8") "where = Where(lt, arange, arange)" IN_LAYER("where", "where.self", "%lt, %arange, %arange")
                                         "add = Add(q, where)" IN_LAYER("add", "add.Tensor", "%q, %where") SIGNATURE("q: USER_INPUT") "-> add");
#undef IN_LAYER
  assert_int_equal(p->call_count, 4);
  mp_arena_free(a);
}

/* Buffers that no call reads and no state_dict has: beside rotary tables of (positions, features) their frequencies, beside a square mask the number that it puts in, else one like its neighbour. */
static void unread_buffers_are_like_their_neighbours(void **state) {
  (void)state;
  static const struct {
    const char *table, *unread;
    int rank;
    int64_t first;
  } cases[] = {{"float[16,8]", "r.inv_freq", 1, 4}, {"bool[1,1,8,8]", "r.masked_bias", 0, 0}, {"int64[1,8]", "r.position_ids", 2, 1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_arena *a = mp_arena_new(0);
    char *text = mp_strdup(a, "opset 20\nr.table = TYPE\ny = Identity(r.table)" AT("y", "neg.default", "%b_table", "r") SIGNATURE("b_table: BUFFER target='r.table' persistent=False\nb_x: BUFFER target='NAME' persistent=False") "-> y");
    char *type = strstr(text, "TYPE"), *name = strstr(text, "NAME");
    const mp_program *p = test_recovered_fx(a, mp_format(a, "%.*s%s%.*s%s%s", (int)(type - text), text, cases[i].table, (int)(name - type - 4), type + 4, cases[i].unread, name + 4));
    const mp_var *v = test_var_named(p, cases[i].unread);
    assert_int_equal(v->rank, cases[i].rank);
    if (v->rank) assert_int_equal(v->dims[0], cases[i].first);
    assert_true(test_program_warned(p, "read by no call: taken to"));
    mp_arena_free(a);
  }
}

static void what_is_added_at_an_index_keeps_its_source(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[6,8]; k: int64[6]; one = int64[1]{-1}; zeros = float[3,8]\n"
                                             "u = Unsqueeze(k, one)" CALL("index_put", "aten.index_put.default", "%zeros, [%k], %x, True")
                                             "val = ScatterND(zeros, u, x) reduction=\"add\"" CALL("index_put", "aten.index_put.default", "%zeros, [%k], %x, True")
                                             SIGNATURE("x: USER_INPUT\nk: USER_INPUT") "-> val");
  assert_string_equal(p->calls[p->call_count - 1].row->name, "aten::index_add");
  mp_arena_free(a);
}

/* F.softmax(x.float(), -1).type_as(x): in float32 neither cast leaves a node, but a reader still names the second */
static void what_is_cast_back_had_been_widened(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define SOFTMAX(read)                                                                                                                                                     \
  "opset 20\nx: float[2,8]; softmax = Softmax(x) axis=-1" CALL("softmax", "aten.softmax.int", "%x, -1") "exp = Exp(softmax)" CALL("exp", "aten.exp.default", "%" read)     \
  SIGNATURE("x: USER_INPUT") "-> exp"
  const mp_program *p = test_recovered_fx(a, SOFTMAX("type_as"));
  assert_int_equal(p->call_count, 4);
  assert_string_equal(test_call_line(a, p, 0), "n  aten::to(%x, float32)");
  assert_string_equal(p->calls[2].row->name, "aten::type_as");
  p = test_recovered_fx(a, SOFTMAX("softmax"));
  assert_int_equal(p->call_count, 2);
  mp_arena_free(a);
}

/* nn.MultiheadAttention's average of its weights, which nothing reads: (4 * 2 heads, 3, 5) -> (4, 3, 5). `y, _ = n(x)` holds it, n(x)[0] does not */
static void weights_are_averaged_though_nothing_reads_them(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define MHA(name, target, args) FX("%" name " : [num_users=1] = call_function[target=torch.ops.aten." target "](args = (" args "), kwargs = {})") IN("['', 'n', '" name "']", "['M', 'torch.nn.modules.activation.MultiheadAttention', 'aten']")
#define WEIGHTS(line)                                                                                                                                                   \
  "opset 20\nx: float[8,3,5]; v: float[8,5,6]; s = int64[2]{12,12}; n.out_proj.weight = float[12,12]\n"                                                                  \
  "softmax = Softmax(x) axis=-1" MHA("softmax", "softmax.int", "%x, -1") " meta.pkg.torch.onnx.stack_trace=\"File `m.py`, line 1\n    " line "\"\n"                      \
  "bmm = MatMul(softmax, v)" MHA("bmm", "bmm.default", "%softmax, %v") "\nview = Reshape(bmm, s)" MHA("view", "view.default", "%bmm, [12, 12]") "\n"                       \
  "linear = MatMul(view, n.out_proj.weight)" MHA("linear", "linear.default", "%view, %p_w") "\nsum_1 = ReduceSum(linear)"                                                \
  FX("%sum_1 : [num_users=1] = call_function[target=torch.ops.aten.sum.default](args = (%linear,), kwargs = {})") IN("['', 'sum_1']", "['M', 'aten']") "\n"              \
  SIGNATURE("p_w: PARAMETER target='n.out_proj.weight'\nx: USER_INPUT\nv: USER_INPUT") "-> sum_1"
  const mp_program *p = test_recovered_fx(a, WEIGHTS("y, _ = self.n(x)"));
  assert_int_equal(p->call_count, 7);
  assert_string_equal(p->calls[5].row->name, "aten::mean");
  const mp_var *mean = &p->vars[p->calls[5].outs[0]];
  assert_int_equal(mean->rank, 3);
  assert_int_equal(mean->dims[0], 4);
  assert_int_equal(mean->dies, 6);
  p = test_recovered_fx(a, WEIGHTS("y = self.n(x)[0]"));
  assert_int_equal(p->vars[p->calls[5].outs[0]].dies, 5);
  mp_arena_free(a);
}

/* ---- what the calls keep: x and y need gradients, 4 bytes an element ---- */

static uint64_t kept(const char *program) {
  mp_arena *a = mp_arena_new(0);
  uint64_t n = test_program_run(a, program, "fp32").saved;
  mp_arena_free(a);
  return n;
}

static void products_of_letters_and_distances(void **state) {
  (void)state;
#define TWO "in x float32 3 8\nin y float32 3 6\np p float32 8\np q float32 6\ncall add a x p\ncall add b y q\n"
  assert_int_equal(kept(TWO "call einsum z \"bi,bj->bij\" (a,b)\ncall sum s z\nout s\n"), 4 * (24 + 18));  /* mul: both, as they are */
  assert_int_equal(kept(TWO "call einsum z \"bi,bj->b\" (a,b)\ncall sum s z\nout s\n"), 4 * (3 + 3));      /* what neither shares is summed first */
#define ROWS "in x float32 30 8\nin y float32 40 8\np p float32 8\ncall add a x p\ncall add b y p\n"
  assert_int_equal(kept(ROWS "call _euclidean_dist z a b\ncall sum s z\nout s\n"), 4 * (30 * 8 + 40 * 8 + 30 * 40));
}

/* what the exporter fuses at opset 23 is the calls that it was, in the module of the fused node: an RMS norm whose result the text names, */
static void a_fused_norm_is_its_calls_again(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 23\nx: float[2,4]; norm.weight = float[4]\n"
                                     "mul_1 = RMSNormalization(x, norm.weight) axis=-1 epsilon=0.5" AT("mul_1", "mul.Tensor", "%p_norm_weight, %mul", "norm")
                                     SIGNATURE("p_norm_weight: PARAMETER target='norm.weight'\nx: USER_INPUT") "-> mul_1");
  static const char *const lines[] = {"norm  aten::pow(%x, 2)", "norm  aten::mean(%pow_10000000, [-1], True)", "norm  aten::add(%mean_10000001, 0.5)", "norm  aten::rsqrt(%add_10000002)",
                                      "norm  aten::mul(%x, %rsqrt_10000003)", "norm  aten::mul(%norm.weight, %mul)"};
  assert_int_equal(p->call_count, 6);
  for (uint32_t i = 0; i < p->call_count; i++) assert_string_equal(test_call_line(a, p, i), lines[i]);
  assert_int_equal(p->vars[p->calls[1].outs[0]].dims[1], 1);
  mp_arena_free(a);
}

/* and a rotary embedding, whose tables were made once of all angles; the halves that the fusion took of them are gone */
static void a_fused_rotary_embedding_is_its_calls_again(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 23\nx: float[2,1,3,4]; f: float[2,3,2]\n"
                                     "mul = Mul(f, f)" AT("mul", "mul.Tensor", "%f, %f", "rope")
                                     "val_1 = Cos(mul)" AT("add", "add.Tensor", "%mul_1, %mul_2", "attn") "val_2 = Sin(mul)" AT("add", "add.Tensor", "%mul_1, %mul_2", "attn")
                                     "add = RotaryEmbedding(x, val_1, val_2) interleaved=0 num_heads=1" AT("add", "add.Tensor", "%mul_1, %mul_2", "attn")
                                     SIGNATURE("x: USER_INPUT\nf: USER_INPUT") "-> add");
  static const char *const calls[] = {"rope aten::mul", "rope aten::cat", "rope aten::cos", "rope aten::sin", "attn aten::unsqueeze", "attn aten::unsqueeze", "attn aten::mul",
                                      "attn aten::slice", "attn aten::slice", "attn aten::neg", "attn aten::cat", "attn aten::mul", "attn aten::add"};
  assert_int_equal(p->call_count, sizeof calls / sizeof *calls);
  for (uint32_t i = 0; i < p->call_count; i++) {
    const char *module = strchr(calls[i], ' ');
    const char *line = mp_format(a, "%.*s  %s(", (int)(module - calls[i]), calls[i], module + 1);
    assert_memory_equal(test_call_line(a, p, i), line, strlen(line));
  }
  const mp_var *cos = &p->vars[p->calls[4].outs[0]], *half = &p->vars[p->calls[8].outs[0]];
  assert_int_equal(cos->rank, 4);
  assert_int_equal(cos->dims[3], 4);
  assert_int_equal(half->dims[3], 2);
  mp_arena_free(a);
}

/* Tables folded at export that a model hands to its layers, each of which looks at them anew: made once. Another constant, read second, is another. */
static void a_table_handed_to_layers_is_one(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,1,3,40]; unsqueeze = float[1,1,3,40]; unsqueeze_1 = float[1,1,3,40]; unsqueeze_2 = float[1,1,3,40]\n"
                                     "mul = Mul(x, unsqueeze)" AT("mul", "mul.Tensor", "%x, %unsqueeze", "layers.0") "mul_1 = Mul(mul, unsqueeze_1)" AT("mul_1", "mul.Tensor", "%mul, %unsqueeze_1", "layers.0")
                                     "mul_2 = Mul(mul_1, unsqueeze_2)" AT("mul_2", "mul.Tensor", "%mul_1, %unsqueeze_2", "layers.1") SIGNATURE("x: USER_INPUT") "-> mul_2");
  assert_string_equal(test_call_line(a, p, 0), "layers.0  aten::full([1, 1, 3, 40], 0, float32)");
  assert_string_equal(test_call_line(a, p, 2), "layers.0  aten::new_full(%mul, [1, 1, 3, 40], 0)");
  assert_string_equal(test_call_line(a, p, 4), "layers.1  aten::view(%unsqueeze, [1, 1, 3, 40])");
  mp_arena_free(a);
}

#define NORMED(out, conv, norm) \
  FX("%%bn_" out " : [num_users=1] = call_function[target=torch.ops.aten._native_batch_norm_legit_functional.default](args = (%%" conv ", %%p_" norm "_weight, %%p_" norm "_bias, %%b_" norm \
     "_mean, %%b_" norm "_var, True, 0.1, 1e-05), kwargs = {})") IN("['', '" norm "', 'bn']", "['M', 'torch.nn.BatchNorm2d', 'aten']") "\n"
#define NORM(norm) "p_" norm "_weight: PARAMETER target='" norm ".weight'\np_" norm "_bias: PARAMETER target='" norm ".bias'\nb_" norm "_mean: BUFFER target='" norm ".running_mean'\nb_" norm "_var: BUFFER target='" norm ".running_var'\n"

/* Calls are numbered: in front of pad_2 there were pad and pad_1, and so one in front of each of the two convolutions, even of that which it adds nothing to. Without a number nothing says so. */
static void numbers_tell_which_calls_were_merged(void **state) {
  (void)state;
  static const char *const form = "opset 20\nx: float[1,2,8,8]; c.weight = float[2,2,3,3]; b1 = float[2]; d.weight = float[2,2,1,1]; b2 = float[2]; to = int64[8]{0,0,0,0,0,0,1,1}\n"
                                  "getitem = Conv(x, c.weight, b1) pads=[1,1,1,1]" NORMED("1", "conv2d", "n") "getitem_3 = Conv(getitem, d.weight, b2) pads=[0,0,0,0]" NORMED("2", "conv2d_1", "m")
                                  "%s = Pad(getitem_3, to)" FX("%%%s : [num_users=1] = call_function[target=torch.ops.aten.pad.default](args = (%%getitem_3, [0, 1, 0, 1]), kwargs = {})") "\n"
                                  SIGNATURE("p_c_weight: PARAMETER target='c.weight'\np_d_weight: PARAMETER target='d.weight'\n" NORM("n") NORM("m") "x: USER_INPUT") "-> %s";
  mp_arena *a = mp_arena_new(0);
  for (int numbered = 0; numbered < 2; numbered++) {
    const char *name = numbered ? "pad_2" : "pad";
    const mp_program *p = test_recovered_fx(a, mp_format(a, form, name, name, name));
    uint32_t pads = 0;
    for (uint32_t i = 0; i < p->call_count; i++) pads += strstr(test_call_line(a, p, i), "pad(") || strstr(test_call_line(a, p, i), "pad_nd(");
    assert_int_equal(pads, numbered ? 3 : 1);
  }
  mp_arena_free(a);
}

#define READ(out, users, op, args) FX("%" out " : [num_users=" users "] = call_function[target=torch.ops.aten." op "](args = (" args "), kwargs = {})") "\n"

/* exp(2 x) + 1 and exp(2 x) - 1, each from its own 2 x: merged, the second reads sub's %exp_1, which is no more. What made it read a product of its own (mul has one reader, exp),
 * else (two readers) the same. */
static void operands_of_a_merged_call_were_merged_too(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  for (int own = 0; own < 2; own++) {
    const char *users = own ? "1" : "2";
    const mp_program *p = test_recovered_fx(a, mp_format(a, "opset 20\nx: float[2,4]; two = float[]\n"
                                                            "mul = Mul(x, two)" FX("%%mul : [num_users=%s] = call_function[target=torch.ops.aten.mul.Tensor](args = (%%x, 2), kwargs = {})") "\n"
                                                            "%s", users, "exp = Exp(mul)" READ("exp", "1", "exp.default", "%mul") "add = Add(exp, two)" READ("add", "1", "add.Tensor", "%exp, 1")
                                                            "sub = Sub(exp, two)" READ("sub", "1", "sub.Tensor", "%exp_1, 1") "y = Add(add, sub)" READ("y", "1", "add.Tensor", "%add, %sub") SIGNATURE("x: USER_INPUT") "-> y"));
    uint32_t products = 0, powers = 0;
    for (uint32_t i = 0; i < p->call_count; i++) {
      products += strstr(test_call_line(a, p, i), "aten::mul(") != NULL;
      powers += strstr(test_call_line(a, p, i), "aten::exp(") != NULL;
    }
    assert_int_equal(powers, 2);
    assert_int_equal(products, own ? 2 : 1);
  }
  mp_arena_free(a);
}

/* x * x is one reader of x: made again, it reads one x that was made again. A chain of such, whose counts say that nobody else read, stays as long as it is. */
static void a_square_reads_its_operand_once(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,4]; one = float[]\n"
                                     "neg = Neg(x)" READ("neg", "1", "neg.default", "%x") "mul = Mul(neg, neg)" READ("mul", "1", "mul.Tensor", "%neg, %neg") "mul_1 = Mul(mul, mul)" READ("mul_1", "1", "mul.Tensor", "%mul, %mul")
                                     "exp = Exp(mul_1)" READ("exp", "1", "exp.default", "%mul_1") "add = Add(exp, one)" READ("add", "1", "add.Tensor", "%exp, 1") "sub = Sub(exp, one)" READ("sub", "1", "sub.Tensor", "%exp_1, 1")
                                     "y = Add(add, sub)" READ("y", "1", "add.Tensor", "%add, %sub") SIGNATURE("x: USER_INPUT") "-> y");
  uint32_t negatives = 0, squares = 0;
  for (uint32_t i = 0; i < p->call_count; i++) {
    negatives += strstr(test_call_line(a, p, i), "aten::neg(") != NULL;
    squares += strstr(test_call_line(a, p, i), "aten::mul(") != NULL;
  }
  assert_int_equal(negatives, 2);
  assert_int_equal(squares, 4);
  mp_arena_free(a);
}

/* Two calls read one index: the node that made it ready (Unsqueeze) is the first's, and the second reads it under another name. */
static void an_index_that_two_calls_read_is_found_behind_the_first(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[5,4]; e: int64[2,7]; one = int64[1]{-1}; zero = int64[]\n"
                                     "select = Gather(e, zero) axis=0" READ("select", "1", "select.int", "%e, 0, 0") "val_1 = Unsqueeze(select, one)" READ("index", "1", "index.Tensor", "%x, [%select]")
                                     "index = GatherND(x, val_1)" READ("index", "1", "index.Tensor", "%x, [%select]") "relu = Relu(x)" READ("relu", "1", "relu.default", "%x")
                                     "index_1 = GatherND(relu, val_1)" READ("index_1", "1", "index.Tensor", "%relu, [%select_1]") "y = Add(index, index_1)" READ("y", "1", "add.Tensor", "%index, %index_1")
                                     SIGNATURE("x: USER_INPUT\ne: USER_INPUT") "-> y");
  uint32_t found = 0;
  for (uint32_t i = 0; i < p->call_count; i++) found += strstr(test_call_line(a, p, i), "aten::index(%relu, [%select_1])") != NULL;
  assert_int_equal(found, 1);
  mp_arena_free(a);
}

/* log_sigmoid(x) is written out as Log(Sigmoid(x)), and the program's own sigmoid(x) reads that node: it is a call all the same */
static void a_call_that_is_a_part_of_another_is_made_too(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,4]; to = int64[1]{8}\n"
                                     "tmp = Sigmoid(x)" READ("log_sigmoid", "1", "log_sigmoid.default", "%x") "log_sigmoid = Log(tmp)" READ("log_sigmoid", "1", "log_sigmoid.default", "%x")
                                     "view = Reshape(tmp, to)" READ("view", "1", "view.default", "%sigmoid, [8]") "view_1 = Reshape(log_sigmoid, to)" READ("view_1", "1", "view.default", "%log_sigmoid, [8]")
                                     "y = Mul(view, view_1)" READ("y", "1", "mul.Tensor", "%view, %view_1") SIGNATURE("x: USER_INPUT") "-> y");
  assert_string_equal(test_calls_text(a, p), "log_sigmoid(x) sigmoid(x) view(%,8) view(%,8) mul(%,%)");
  mp_arena_free(a);
}

/* A file that was not optimized keeps the clones: of a softmax, a dropout that did not act; of what was turned, or in a memory format, a copy. */
static void a_kept_clone_is_a_dropout_or_a_copy(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,4]\nsoftmax = Softmax(x) axis=-1" READ("softmax", "1", "softmax.int", "%x, -1") "clone = Identity(softmax)" READ("clone", "1", "clone.default", "%softmax")
                                     "t = Transpose(clone) perm=[1,0]" READ("t", "1", "transpose.int", "%clone, 0, 1") "clone_1 = Identity(t)" READ("clone_1", "1", "clone.default", "%t")
                                     SIGNATURE("x: USER_INPUT") "-> clone_1");
  assert_string_equal(test_call_line(a, p, 1), ".  aten::dropout(%softmax, 0, False)");
  assert_string_equal(test_call_line(a, p, 3), ".  aten::clone(%t)");
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_branch_that_is_taken_stands_in_place_of_the_if),
      cmocka_unit_test(a_choice_that_the_run_makes_stays),
      cmocka_unit_test(losses_and_distances_are_one_call),
      cmocka_unit_test(elementwise_calls_of_several_nodes),
      cmocka_unit_test(files_in_half_precision),
      cmocka_unit_test(parts_of_a_tensor_are_written_without_an_index),
      cmocka_unit_test(a_named_number_is_a_parameter),
      cmocka_unit_test(a_cell_is_one_call_with_two_results),
      cmocka_unit_test(a_cell_whose_gates_are_read_stays_in_parts),
      cmocka_unit_test(variances_and_means_are_one_call),
      cmocka_unit_test(a_choice_of_a_number_is_the_exporters_or_the_programs),
      cmocka_unit_test(what_was_made_of_a_weight_has_the_weights_own_shape),
      cmocka_unit_test(a_weight_under_spectral_norm_is_over_its_largest_singular_value),
      cmocka_unit_test(an_operation_on_a_parameter_that_others_read),
      cmocka_unit_test(a_mask_of_a_window_is_made_where_the_keys_fill_it),
      cmocka_unit_test(a_mean_merged_with_one_inside_var_is_made_again),
      cmocka_unit_test(what_is_written_into_a_part_is_what_scatter_reads),
      cmocka_unit_test(what_is_written_into_is_made_for_each_layer),
      cmocka_unit_test(a_buffer_of_indices_lacks_their_axis),
      cmocka_unit_test(buckets_are_no_mask),
      cmocka_unit_test(equal_indices_are_those_that_were_joined),
      cmocka_unit_test(a_lost_view_of_values_is_like_the_keys),
      cmocka_unit_test(a_tied_parameter_is_no_constants_origin),
      cmocka_unit_test(a_tied_parameter_stands_at_its_first_name),
      cmocka_unit_test(a_table_that_nothing_reads_is_the_shared_one),
      cmocka_unit_test(unread_buffers_are_like_their_neighbours),
      cmocka_unit_test(what_is_added_at_an_index_keeps_its_source),
      cmocka_unit_test(what_is_cast_back_had_been_widened),
      cmocka_unit_test(weights_are_averaged_though_nothing_reads_them),
      cmocka_unit_test(products_of_letters_and_distances),
      cmocka_unit_test(a_fused_norm_is_its_calls_again),
      cmocka_unit_test(a_fused_rotary_embedding_is_its_calls_again),
      cmocka_unit_test(a_table_handed_to_layers_is_one),
      cmocka_unit_test(numbers_tell_which_calls_were_merged),
      cmocka_unit_test(operands_of_a_merged_call_were_merged_too),
      cmocka_unit_test(a_square_reads_its_operand_once),
      cmocka_unit_test(an_index_that_two_calls_read_is_found_behind_the_first),
      cmocka_unit_test(a_call_that_is_a_part_of_another_is_made_too),
      cmocka_unit_test(a_kept_clone_is_a_dropout_or_a_copy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
