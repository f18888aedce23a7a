#include <math.h>

#include "planner/fx_text.h"
#include "planner/inside.h"
#include "support_base.h"
#include "support_graph.h"
#include "support_recover.h"

/* ---- the text of a call ---- */

static void a_call_is_read_with_all_that_python_prints(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_fx_call *c = mp_fx_parse(
      a,
      "%index_put : [num_users=1] = call_function[target=torch.ops.aten.index_put.default](args = (%x, [None, %i], -inf, 1e-05, -3, "
      "(True, False), 'none', torch.float32, s77, slice(None, 2, None)), kwargs = {device: cuda:0, dtype: torch.int64, pin_memory: False})");
  assert_non_null(c);
  assert_string_equal(c->name, "index_put");
  assert_string_equal(c->op, "aten::index_put");
  assert_string_equal(c->overload, "default");
  assert_int_equal(c->arg_count, 10);
  assert_int_equal(c->args[0].kind, MP_FX_REF);
  assert_string_equal(c->args[0].text, "x");
  assert_int_equal(c->args[1].n, 2);
  assert_int_equal(c->args[1].at[0].kind, MP_FX_NONE);
  assert_string_equal(c->args[1].at[1].text, "i");
  assert_true(isinf(c->args[2].f) && c->args[2].f < 0);
  assert_true(c->args[3].f == 1e-05);
  assert_int_equal(c->args[4].i, -3);
  assert_true(c->args[5].at[0].b && !c->args[5].at[1].b);
  assert_string_equal(c->args[6].text, "none");
  assert_int_equal(mp_fx_dtype(c->args[7].text), MP_FLOAT);
  assert_int_equal(c->args[8].kind, MP_FX_WORD);
  assert_string_equal(c->args[9].text, "slice(None, 2, None)");
  assert_int_equal(c->kwarg_count, 3);
  assert_string_equal(c->kwargs[0].value.text, "cuda:0");
  assert_int_equal(mp_fx_dtype(c->kwargs[1].value.text), MP_INT64);
  mp_arena_free(a);
}

static void other_spellings_of_a_call(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_fx_call *c = mp_fx_parse(a, "%relu : [num_users=1] = call_function[target=torch.ops.aten.relu.default](args = (%x,), kwargs = {})");
  assert_int_equal(c->arg_count, 1);
  c = mp_fx_parse(a, "%mul_3 = call_function[target=operator.mul](args = (%sym_size_int, 2), kwargs = {})");
  assert_string_equal(c->op, "mul");
  c = mp_fx_parse(a, "%g : [num_users=2] = call_function[target=<built-in function getitem>](args = (%split, 1), kwargs = {})");
  assert_string_equal(c->op, "getitem");
  assert_null(mp_fx_parse(a, "%x : [num_users=1] = placeholder[target=x]"));
  assert_null(mp_fx_parse(a, "%x : [num_users=1] = call_function[target=torch.ops.aten.relu.default](args = (%x, [1, kwargs = {})"));
  assert_null(mp_fx_parse(a, ""));
  char deep[512] = "%x = call_function[target=torch.ops.aten.cat.default](args = (";
  memset(deep + strlen(deep), '[', 100);
  assert_null(mp_fx_parse(a, deep));
  mp_arena_free(a);
}

static void the_signature_names_parameters(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_fx_spec *s;
  uint32_t n =
      mp_fx_signature(a,
                      "\n# inputs\np_w: PARAMETER target='fc.weight'\nb_m: BUFFER target='bn.mean' persistent=False\nx: USER_INPUT\n\n# outputs\n"
                      "add: BUFFER_MUTATION target='bn.mean'\nsum_1: USER_OUTPUT\n",
                      &s);
  assert_int_equal(n, 5);
  assert_string_equal(s[0].name, "p_w");
  assert_string_equal(s[0].target, "fc.weight");
  assert_false(s[1].persistent);
  assert_null(s[2].target);
  assert_false(s[2].is_output);
  assert_true(s[3].is_output && s[4].is_output);
  n = mp_fx_signature(a, /* as torch 2.7 and 2.8 write it */
                      "ExportGraphSignature(input_specs=[InputSpec(kind=<InputKind.PARAMETER: 2>, arg=TensorArgument(name='p_w'), "
                      "target='fc.weight', persistent=None), "
                      "InputSpec(kind=<InputKind.BUFFER: 3>, arg=TensorArgument(name='b_m'), target='m', persistent=False), "
                      "InputSpec(kind=<InputKind.USER_INPUT: 1>, "
                      "arg=TensorArgument(name='x'), target=None, persistent=None)], output_specs=[OutputSpec(kind=<OutputKind.USER_OUTPUT: 1>, "
                      "arg=TensorArgument(name='y'), target=None)])",
                      &s);
  assert_int_equal(n, 4);
  assert_string_equal(s[0].name, "p_w");
  assert_string_equal(s[0].kind, "PARAMETER");
  assert_string_equal(s[0].target, "fc.weight");
  assert_false(s[1].persistent);
  assert_string_equal(s[2].kind, "USER_INPUT");
  assert_null(s[2].target);
  assert_true(s[3].is_output && !s[2].is_output);
  assert_string_equal(s[3].name, "y");
  mp_arena_free(a);
}

/* ---- whole files ---- */

/* a convolution under the batch norm n, whose node has the norm's call and, if any, its line */
#define FOLDED(line) \
        "opset 20\nx: float[2,3,8,8]; c.weight = float[4,3,3,3]; c.weight_bias = float[4]\n" \
        "getitem = Conv(x, c.weight, c.weight_bias) pads=[1,1,1,1] strides=[2,2] name=\"conv\"" line FX( \
            "%_native_batch_norm_legit_functional : [num_users=1] = " \
            "call_function[target=torch.ops.aten._native_batch_norm_legit_functional.default](args = (%conv2d, %p_n_weight, " \
            "%p_n_bias, %b_n_running_mean, %b_n_running_var, True, 0.1, 1e-05), kwargs = {})") \
            IN("['', 'n', 'bn']", "['M', 'torch.nn.BatchNorm2d', 'aten']") "\n" SIGNATURE( \
                "p_c_weight: PARAMETER target='c.weight'\np_n_weight: PARAMETER target='n.weight'\np_n_bias: PARAMETER " \
                "target='n.bias'\nb_n_running_mean: BUFFER target='n.running_mean'\n" \
                "b_n_running_var: BUFFER target='n.running_var'\nb_n_num_batches_tracked: BUFFER target='n.num_batches_tracked'\nx: " \
                "USER_INPUT") "-> getitem"

static void a_folded_batch_norm_is_two_calls(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, FOLDED(""));
  assert_int_equal(p->call_count, 2);
  assert_int_equal(p->instance_count, 3); /* the model, c, n, each once */
  assert_string_equal(test_call_line(a, p, 0), "c  aten::conv2d(%x, %c.weight, None, [2, 2], [1, 1], [1, 1], 1)");
  assert_string_equal(test_call_line(a, p, 1),
                      "n  aten::_native_batch_norm_legit_functional(%conv2d, %n.weight, %n.bias, %n.running_mean, %n.running_var, True, 0.1, 1e-05)");
  const mp_var *conv = &p->vars[p->calls[0].outs[0]];
  assert_int_equal(conv->value, -1);
  assert_int_equal(conv->dims[2], 4);
  assert_int_equal(p->calls[0].node_count, 1); /* the node's arithmetic is the convolution's, once */
  assert_int_equal(p->calls[1].node_count, 0);
  uint64_t elements[4] = {0};
  for (uint32_t i = 0; i < p->var_count; i++) {
    uint64_t n = 1;
    for (int k = 0; k < p->vars[i].rank; k++) n *= (uint64_t)p->vars[i].dims[k];
    if (p->vars[i].role != MP_ROLE_RESULT) elements[p->vars[i].role] += n;
  }
  assert_int_equal(elements[MP_ROLE_PARAMETER], 4 * 27 + 4 + 4);
  assert_int_equal(elements[MP_ROLE_BUFFER], 4 + 4 + 1);
  assert_true(p->training);
  mp_arena_free(a);
}

static void merged_transposes_a_copy_and_symbolic_sizes_come_back(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(
      a, "opset 20\nx: float[2,5,3,4]; s = int64[2]{10,12}\n"
         "transpose_1 = Transpose(x) perm=[0,2,3,1]" FX("%transpose_1 : [num_users=1] = call_function[target=torch.ops.aten.transpose.int](args = (%transpose, -1, -2), kwargs = {})") "\n"
         "view = Reshape(transpose_1, s)" FX("%view : [num_users=1] = call_function[target=torch.ops.aten.view.default](args = (%clone, [%mul_7, 12]), kwargs = {})") "\n"
         SIGNATURE("x: USER_INPUT") "-> view");
  assert_int_equal(p->call_count, 4);
  assert_string_equal(test_call_line(a, p, 0), ".  aten::permute(%x, [0, 2, 1, 3])");
  assert_string_equal(test_call_line(a, p, 1), ".  aten::transpose(%transpose, -1, -2)");
  assert_string_equal(test_call_line(a, p, 2), ".  aten::contiguous(%transpose_1)");
  assert_string_equal(test_call_line(a, p, 3), ".  aten::view(%clone, [10, 12])");
  mp_arena_free(a);
}

static void a_removed_bias_and_a_transposed_weight_keep_their_size(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p =
      test_recovered_fx(a,
                "opset 20\nx: float[2,5,3]; val_0 = float[3,7]\n"
                "linear = MatMul(x, val_0)" FX("%linear : [num_users=1] = call_function[target=torch.ops.aten.linear.default](args "
                                               "= (%args_0, %p_w, %p_b), kwargs = {})") "\n" SIGNATURE("p_w: PARAMETER target='w'\np_b: PARAMETER "
                                                                                                       "target='b'\nargs_0: USER_INPUT") "-> linear");
  assert_string_equal(test_call_line(a, p, 0), ".  aten::linear(%x, %w, %b)");
  const mp_var *w = &p->vars[p->calls[0].args[1].as.var], *b = &p->vars[p->calls[0].args[2].as.var];
  assert_int_equal(w->rank, 2);
  assert_int_equal(w->dims[0], 7);
  assert_int_equal(w->dims[1], 3);
  assert_int_equal(b->dims[0], 7);
  mp_arena_free(a);
}

/* Of a's scale only its sum times a number is left. b, of the same class, still has its own: where b has 5, a has 3. */
static void a_folded_parameter_has_the_size_of_its_like(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define CALL(out, op, args, module) \
  FX("%" out " : [num_users=1] = call_function[target=torch.ops.aten." op ".Tensor](args = (" args "), kwargs = {})") IN("['', '" module "', '" out "']", "['M', 'Step', 'aten']") "\n"
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,3]; y: float[2,5]; a.bias = float[3]; total = float[]; b.bias = float[5]; b.scale = float[5]\n"
                                     "add = Add(x, a.bias)" CALL("add", "add", "%x, %p_a_bias", "a") "mul_1 = Mul(add, total)" CALL("mul_1", "mul", "%add, %mul", "a")
                                     "add_1 = Add(y, b.bias)" CALL("add_1", "add", "%y, %p_b_bias", "b") "mul_2 = Mul(add_1, b.scale)" CALL("mul_2", "mul", "%add_1, %p_b_scale", "b")
                                     SIGNATURE("p_a_bias: PARAMETER target='a.bias'\np_a_scale: PARAMETER target='a.scale'\np_b_bias: PARAMETER target='b.bias'\np_b_scale: PARAMETER "
                                               "target='b.scale'\nx: USER_INPUT\ny: USER_INPUT") "-> mul_1, mul_2");
  assert_string_equal(test_call_line(a, p, 1), "a  aten::sum(%a.scale)");
  const mp_var *scale = &p->vars[p->calls[1].args[0].as.var];
  assert_int_equal(scale->rank, 1);
  assert_int_equal(scale->dims[0], 3);
  mp_arena_free(a);
}

static void a_sinusoidal_table_is_not_learnt(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\ni: int64[3]; t = float[8,2]\n"
                                     "embedding = Gather(t, i)" FX("%embedding : [num_users=1] = call_function[target=torch.ops.aten.embedding.default](args = (%p_t, %i), kwargs = {})")
                                         IN("['', 'pos', 'embedding']", "['M', 'lib.SinusoidalPositionalEmbedding', 'aten']") "\n"
                                     SIGNATURE("p_t: PARAMETER target='t'\ni: USER_INPUT") "-> embedding");
  assert_true(p->calls[0].no_grad);
  assert_non_null(strstr(p->warnings[0], "sinusoidal table"));
  mp_arena_free(a);
}

/* layer.1's dropout of the table and its view were merged with layer.0's; their readers differ, and are left */
static void equal_calls_of_two_layers_are_two(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\ntable = float[4,3]; x: float[1,4,3]; p = float[]{0.1}; on = bool[]{1}; zero = int64[1]{0}\n"
                                     "getitem = Dropout(table, p, on)" AT("native_dropout", "native_dropout.default", "%p_table, 0.1, True", "layer.0")
                                     "unsqueeze = Unsqueeze(getitem, zero)" AT("unsqueeze", "unsqueeze.default", "%getitem, 0", "layer.0")
                                     "mul = Mul(x, unsqueeze)" AT("mul", "mul.Tensor", "%x, %unsqueeze", "layer.0")
                                     "mul_1 = Mul(mul, unsqueeze)" AT("mul_1", "mul.Tensor", "%mul, %unsqueeze_1", "layer.1")
                                     SIGNATURE("p_table: PARAMETER target='table'\nx: USER_INPUT") "-> mul_1");
  assert_int_equal(p->call_count, 6);
  assert_string_equal(test_call_line(a, p, 3), "layer.1  aten::native_dropout(%table, 0.1, True)");
  assert_string_equal(test_call_line(a, p, 4), "layer.1  aten::unsqueeze(%getitem.again, 0)");
  assert_string_equal(test_call_line(a, p, 5), "layer.1  aten::mul(%mul, %unsqueeze_1)");
  mp_arena_free(a);
}

/* dropout was clone, which the exporter removes but for its name; the linear layer's result has none */
static void an_inference_export_shows_its_dropouts(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_err err;
  mp_run run = mp_run_default();
  run.dropout = 0.1;
  run.loss = MP_LOSS_SUM;
  const mp_program *p = test_recovered_fx(a, "opset 20\ni: int64[2,3]; e = float[8,4]; w = float[4,4]\n"
                                     "embedding = Gather(e, i)" AT("embedding", "embedding.default", "%p_e, %i", "wte")
                                     "linear = MatMul(embedding, w)" AT("linear", "linear.default", "%clone, %p_w", "layer.0")
                                     "add = Add(linear, embedding)" LINE("return y + x") AT("add", "add.Tensor", "%linear, %clone", "layer.0")
                                     SIGNATURE("p_e: PARAMETER target='e'\np_w: PARAMETER target='w'\ni: USER_INPUT") "-> add");
  const mp_program *q = mp_program_edit(a, p, &run, &err);
  assert_non_null(q);
  assert_string_equal(test_call_line(a, q, 1), "wte  aten::dropout(%embedding, 0.1, True)");
  assert_string_equal(test_call_line(a, q, 3), "layer.0  aten::add(%linear, %clone)");
  assert_non_null(strstr(q->calls[3].stack, "return y + x")); /* an edited program keeps its source lines */
  assert_non_null(strstr(q->warnings[q->warning_count - 1], "on the 1 places that the file"));
  mp_arena_free(a);
}

/* A clone that is left of contiguous() follows what turns a tensor; behind anything else it was a dropout, whichever call reads it. It stands where its operand was made, in that statement's frame. */
static void a_lost_clone_is_a_dropout_or_a_copy(void **state) {
  (void)state;
#define READ "b = Mul(a, x)" LINE("return y * x") AT("b", "mul.Tensor", "%clone, %x", "mlp") SIGNATURE("x: USER_INPUT") "-> b"
#define SHORTCUT "b = Add(a, x)" AT("b", "add.Tensor", "%clone, %x", "up") SIGNATURE("x: USER_INPUT") "-> b"
  static const char *const cases[][2] = {
      {"opset 20\nx: float[2,4,4]\na = Gelu(x)" LINE("x = self.act(x)") AT("a", "gelu.default", "%x", "mlp.act") READ, "mlp  aten::dropout(%a, 0, False)"},
      {"opset 20\nx: float[2,4,4]\na = Transpose(x) perm=[0,2,1]" LINE("x = self.act(x)") AT("a", "transpose.int", "%x, 1, 2", "mlp.act") READ, "mlp  aten::contiguous(%a)"},
      /* of what is joined, and of maps (N, H, W, C) that are turned and have a shortcut added; a dropout is what else lies before a shortcut */
      {"opset 20\nx: float[2,4,4]\na = Concat(x, x) axis=1" AT("a", "cat.default", "[%x, %x], 1", "up") "b = Gelu(a)" AT("b", "gelu.default", "%clone", "up.act") SIGNATURE("x: USER_INPUT") "-> b", "up  aten::contiguous(%a)"},
      {"opset 20\nx: float[2,4,4,4]\na = Transpose(x) perm=[0,3,1,2]" AT("a", "permute.default", "%x, [0, 3, 1, 2]", "up") SHORTCUT, "up  aten::contiguous(%a)"},
      {"opset 20\nx: float[2,4,4]\na = Transpose(x) perm=[0,2,1]" AT("a", "transpose.int", "%x, 1, 2", "up") SHORTCUT, "up  aten::dropout(%a, 0, False)"},
      {"opset 20\nx: float[2,4,4]; s = int64[3]{2,4,4}\na = Reshape(x, s)" AT("a", "view.default", "%x, [2, 4, 4]", "up") SHORTCUT, "up  aten::dropout(%a, 0, False)"}};
#undef READ
#undef SHORTCUT
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_arena *a = mp_arena_new(0);
    assert_string_equal(test_call_line(a, test_recovered_fx(a, cases[i][0]), 1), cases[i][1]);
    mp_arena_free(a);
  }
}

/* cos * 1: only an argument of layer.0 names it */
static void a_removed_call_ran_where_its_operand_was_made(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[4]; y: float[4]\n"
                                     "cos = Cos(x)" LINE("cos = emb.cos()") AT("cos", "cos.default", "%x", "rot") "add = Add(y, y)" AT("add", "add.Tensor", "%y, %y", "layer.0")
                                     "mul_1 = Mul(add, cos)" AT("mul_1", "mul.Tensor", "%add, %mul", "layer.0")
                                     "mul_3 = Mul(mul_1, x)" AT("mul_3", "mul.Tensor", "%div, %x", "head")
                                     SIGNATURE("x: USER_INPUT\ny: USER_INPUT") "-> mul_3");
  assert_string_equal(test_call_line(a, p, 1), "rot  aten::mul(%cos, 1)");
  assert_non_null(strstr(p->calls[1].stack, "emb.cos()")); /* its frame */
  assert_string_equal(test_call_line(a, p, 3), "layer.0  aten::mul(%add, %mul)");
  assert_string_equal(test_call_line(a, p, 4), "head  aten::div(%mul_1, 1)"); /* not in layer.0, which is like the others of its list */
  mp_arena_free(a);
}

/* a.permute(1, 0).contiguous().permute(1, 0): the turns undo each other in the file, which has an Identity; the copy is of what was turned */
static void a_copy_between_two_turns_is_of_the_turned(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,3]\ny = Identity(x)" AT("y", "permute.default", "%clone, [1, 0]", "norm") SIGNATURE("x: USER_INPUT") "-> y");
  assert_int_equal(p->call_count, 3);
  assert_string_equal(test_call_line(a, p, 0), "norm  aten::permute(%x, [1, 0])");
  assert_string_equal(test_call_line(a, p, 1), "norm  aten::contiguous(%clone.turned)");
  assert_string_equal(test_call_line(a, p, 2), "norm  aten::permute(%clone, [1, 0])");
  mp_arena_free(a);
}

/* x[2] was constant: what is left is unsqueeze(x, 1).expand(2, 3), which the reshape makes one of */
static void a_repeated_constant_has_one_axis_less(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\ny: float[6]; val = float[2,3]; six = int64[1]{6}\n"
                                     "r = Reshape(val, six)" AT("r", "repeat_interleave.self_int", "%full, 3, 0", "rel") "add = Add(y, r)" AT("add", "add.Tensor", "%y, %r", "rel")
                                     SIGNATURE("y: USER_INPUT") "-> add");
  assert_string_equal(test_call_line(a, p, 1), "rel  aten::repeat_interleave(%full, 3, 0)");
  const mp_var *x = &p->vars[p->calls[0].outs[0]];
  assert_int_equal(x->rank, 1);
  assert_int_equal(x->dims[0], 2);
  mp_arena_free(a);
}

/* q and v were equal when exported (zeros): their views are one constant */
static void an_equal_constant_was_made_of_the_next_parameter(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,1,4]; view = float[1,1,4]\n"
                                     "add = Add(x, view)" AT("add", "add.Tensor", "%x, %view", "layer.0") "add_1 = Add(add, view)" AT("add_1", "add.Tensor", "%add, %view_1", "layer.0")
                                     SIGNATURE("p_q: PARAMETER target='layer.0.q'\np_v: PARAMETER target='layer.0.v'\nx: USER_INPUT") "-> add_1");
  assert_string_equal(test_call_line(a, p, 0), "layer.0  aten::view(%layer.0.q, [1, 1, 4])");
  assert_string_equal(test_call_line(a, p, 2), "layer.0  aten::view(%layer.0.v, [1, 1, 4])");
  assert_string_equal(test_call_line(a, p, 3), "layer.0  aten::add(%add, %view_1)");
  mp_arena_free(a);
}

/* two equal tokens are one, and so are their views; joined, each stands in its place */
static void equal_tokens_are_joined_in_their_places(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,5,4]; e.one = float[1,1,4]; to = int64[3]{2,1,4}\n"
                                     "expand = Expand(e.one, to)" AT("expand", "expand.default", "%p_e_one, [2, -1, -1]", "e")
                                     "cat = Concat(expand, expand, x) axis=1" AT("cat", "cat.default", "[%expand, %expand_1, %x], 1", "e")
                                     SIGNATURE("p_e_one: PARAMETER target='e.one'\np_e_two: PARAMETER target='e.two'\nx: USER_INPUT") "-> cat");
  assert_int_equal(p->call_count, 3);
  assert_string_equal(test_call_line(a, p, 0), "e  aten::expand(%e.one, [2, 1, 4])");
  assert_string_equal(test_call_line(a, p, 1), "e  aten::expand(%e.two, [2, 1, 4])");
  assert_string_equal(test_call_line(a, p, 2), "e  aten::cat([%expand, %expand_1, %x], 1)");
  assert_int_equal(p->vars[p->calls[1].args[0].as.var].dims[2], 4);
  mp_arena_free(a);
}

/* bias.clone() of which a slice was set to zero, folded: of the bias beside the weight, not of another parameter of the module */
static void a_folded_bias_is_the_one_beside_the_weight(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,4]; val_0 = float[4,6]; slice_scatter = float[6]\n"
                                     "val_1 = MatMul(x, val_0)" AT("linear", "linear.default", "%x, %p_f_qkv_weight, %slice_scatter", "f")
                                     "linear = Add(val_1, slice_scatter)" AT("linear", "linear.default", "%x, %p_f_qkv_weight, %slice_scatter", "f")
                                     SIGNATURE("p_f_scale: PARAMETER target='f.scale'\np_f_qkv_weight: PARAMETER target='f.qkv.weight'\np_f_qkv_bias: PARAMETER target='f.qkv.bias'\nx: USER_INPUT") "-> linear");
  assert_string_equal(test_call_line(a, p, 0), "f  aten::clone(%f.qkv.bias)");
  assert_string_equal(test_call_line(a, p, 1), "f  aten::linear(%x, %f.qkv.weight, %slice_scatter)");
  mp_arena_free(a);
}

/* the node's line is the norm's: the convolution's only where it calls that, too */
static void a_folded_convolution_has_the_line_that_names_it(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  assert_null(test_recovered_fx(a, FOLDED(LINE("x = self.n(x)")))->calls[0].stack);
  assert_non_null(test_recovered_fx(a, FOLDED(LINE("x = self.n(self.c(x))")))->calls[0].stack);
  assert_non_null(test_recovered_fx(a, FOLDED(LINE("x = self.n(x)")))->calls[1].stack);
  mp_arena_free(a);
}

#define BEHIND(weight, kernel, strides) \
        "opset 20\nx: float[2,3,8,8]; " weight " = float[3,3," kernel "]; c.weight = float[4,3,3,3]; c.weight_bias = float[4]\n" \
        "h = Conv(x, " weight ") pads=[0,0,1,1] " strides " name=\"first\"" FX("%h : [num_users=1] = call_function[target=torch.ops.aten.conv2d.default](args = (%constant_pad_nd, %p_d_weight, None, [1, 1], [0, 0], [1, 1], 1), kwargs = {})") \
            IN("['', 'd', 'h']", "['M', 'torch.nn.Conv2d', 'aten']") "\n" \
        "getitem = Conv(h, c.weight, c.weight_bias) pads=[1,1,1,1] name=\"conv\"" FX( \
            "%_native_batch_norm_legit_functional : [num_users=1] = " \
            "call_function[target=torch.ops.aten._native_batch_norm_legit_functional.default](args = (%convolution, %p_n_weight, " \
            "%p_n_bias, %b_n_running_mean, %b_n_running_var, True, 0.1, 1e-05), kwargs = {})") \
            IN("['', 'n', 'bn']", "['M', 'torch.nn.BatchNorm2d', 'aten']") "\n" SIGNATURE( \
                "p_d_weight: PARAMETER target='" weight "'\np_c_weight: PARAMETER target='c.weight'\np_n_weight: PARAMETER target='n.weight'\np_n_bias: PARAMETER " \
                "target='n.bias'\nb_n_running_mean: BUFFER target='n.running_mean'\n" \
                "b_n_running_var: BUFFER target='n.running_var'\nx: USER_INPUT") "-> getitem"

/* F.pad(x, (0, 1, 0, 1)) was merged into the convolution before that was folded under the batch norm */
static void padding_under_a_folded_batch_norm_comes_back(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p =
      test_recovered_fx(a,
                "opset 20\nx: float[2,3,8,8]; c.weight = float[4,3,3,3]; c.weight_bias = float[4]\n"
                "getitem = Conv(x, c.weight, c.weight_bias) pads=[0,0,1,1] strides=[2,2] name=\"conv\"" FX(
                    "%_native_batch_norm_legit_functional : [num_users=1] = "
                    "call_function[target=torch.ops.aten._native_batch_norm_legit_functional.default](args = (%convolution, %p_n_weight, "
                    "%p_n_bias, %b_n_running_mean, %b_n_running_var, True, 0.1, 1e-05), kwargs = {})")
                    IN("['', 'n', 'bn']", "['M', 'torch.nn.BatchNorm2d', 'aten']") "\n" SIGNATURE(
                        "p_c_weight: PARAMETER target='c.weight'\np_n_weight: PARAMETER target='n.weight'\np_n_bias: PARAMETER "
                        "target='n.bias'\nb_n_running_mean: BUFFER target='n.running_mean'\n"
                        "b_n_running_var: BUFFER target='n.running_var'\nx: USER_INPUT") "-> getitem");
  assert_int_equal(p->call_count, 3);
  assert_non_null(strstr(test_call_line(a, p, 0), "aten::constant_pad_nd(%x, [0, 1, 0, 1], 0)"));
  assert_string_equal(test_call_line(a, p, 1), "c  aten::convolution(%convolution.padded, %c.weight, None, [2, 2], [0, 0], [1, 1], False, [0, 0], 1)");
  assert_int_equal(p->vars[p->calls[1].outs[0]].dims[2], 4);
  /* where another convolution pads so, one whose sides are alike was padded by a call, too (TensorFlow's way); a kernel of two has no sides that are alike, and says nothing of others */
  p = test_recovered_fx(a, BEHIND("d.weight", "3,3", "strides=[2,2]"));
  assert_int_equal(p->call_count, 5);
  assert_non_null(strstr(test_call_line(a, p, 2), "aten::constant_pad_nd(%h, [1, 1, 1, 1], 0)"));
  p = test_recovered_fx(a, BEHIND("d.weight", "2,2", ""));
  assert_int_equal(p->call_count, 4);
  /* nor does another part of the model, whose convolutions are of another hand */
  p = test_recovered_fx(a, BEHIND("enc.stem.weight", "3,3", "strides=[2,2]"));
  assert_int_equal(p->call_count, 4);
  mp_arena_free(a);
}

/* addcmul(bias.view(..), weight.view(..), x), both zeros when exported: one constant, two parameters */
static void equal_arguments_of_one_call_are_two_parameters(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,4]; view = float[1,4]\n"
                                     "n3 = Mul(view, x)" AT("addcmul", "addcmul.default", "%view, %view_1, %x", "grn") "addcmul = Add(view, n3)" AT("addcmul", "addcmul.default", "%view, %view_1, %x", "grn")
                                     SIGNATURE("p_w: PARAMETER target='grn.weight'\np_b: PARAMETER target='grn.bias'\nx: USER_INPUT") "-> addcmul");
  assert_int_equal(p->call_count, 3);
  assert_string_equal(test_call_line(a, p, 0), "grn  aten::view(%grn.weight, [1, 4])");
  assert_string_equal(test_call_line(a, p, 1), "grn  aten::view(%grn.bias, [1, 4])");
  assert_string_equal(test_call_line(a, p, 2), "grn  aten::addcmul(%view, %view_1, %x)");
  mp_arena_free(a);
}

/* biases[:, ids]: GatherND wants the indexed dimension in front, and so the file has the table turned */
static void a_table_indexed_behind_its_heads_is_turned_back(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nval_0 = float[9,2]; ids = int64[3]; ax = int64[1]{1}\n"
                                     "val_1 = Unsqueeze(ids, ax)" AT("index", "index.Tensor", "%p_b, [None, %b_ids]", "attn")
                                     "val_2 = GatherND(val_0, val_1)" AT("index", "index.Tensor", "%p_b, [None, %b_ids]", "attn")
                                     "index = Transpose(val_2) perm=[1,0]" AT("index", "index.Tensor", "%p_b, [None, %b_ids]", "attn")
                                     SIGNATURE("p_b: PARAMETER target='attn.b'\nb_ids: BUFFER target='ids'\n") "-> index");
  const mp_var *b = &p->vars[p->calls[0].args[0].as.var];
  assert_int_equal(b->dims[0], 2);
  assert_int_equal(b->dims[1], 9);
  mp_arena_free(a);
}

/* x.new_empty(..) reads nothing of x, whose name may be gone; the sum that reads x tells what it was */
static void a_factory_does_not_decide_what_its_model_was(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,3]; to = int64[1]{2}\n"
                                     "relu = Relu(x)" AT("relu", "relu.default", "%x", "drop") "new_empty = ConstantOfShape(to)" AT("new_empty", "new_empty.default", "%clone, [2]", "drop")
                                     "exp = Exp(new_empty)" AT("exp", "exp.default", "%new_empty", "drop") "add = Add(relu, x)" AT("add", "add.Tensor", "%clone, %x", "drop")
                                     SIGNATURE("x: USER_INPUT") "-> add, exp");
  bool joined = false;
  for (uint32_t c = 0; c < p->call_count; c++) joined |= strstr(test_call_line(a, p, c), "aten::new_empty(%relu, ") != NULL;
  assert_true(joined);
  assert_string_equal(test_call_line(a, p, p->call_count - 1), "drop  aten::add(%clone, %x)");
  assert_int_equal(p->vars[p->calls[p->call_count - 1].args[0].as.var].rank, 2);
  mp_arena_free(a);
}

/* 512 - torch.tensor(8), sqrt(torch.tensor(4.0)): numbers on the CPU, no calls */
static void arithmetic_on_numbers_is_no_call(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[8,2]; most = int64[]{512}; sqrt = float[]{2}; one = int64[1]{1}\n"
                                     "s = Shape(x) start=0 end=1" AT("sym_size_int", "sym_size.int", "%x, 0", "layer.0")
                                     "sub = Sub(most, s)" AT("sub", "sub.Tensor", "512, %sym_size_int", "layer.0")
                                     "div = Div(x, sqrt)" AT("div", "div.Tensor", "%x, %sqrt", "layer.0") "div_1 = Div(div, sqrt)" AT("div_1", "div.Tensor", "%div, %sqrt_1", "layer.0")
                                     SIGNATURE("x: USER_INPUT") "-> div_1");
  assert_int_equal(p->call_count, 2);
  assert_string_equal(test_call_line(a, p, 0), "layer.0  aten::div(%x, 2)");
  assert_string_equal(test_call_line(a, p, 1), "layer.0  aten::div(%div, 2)");
  mp_arena_free(a);
}

#define N(name, op, args, type)                                                                                 \
  FX("%" name " : [num_users=1] = call_function[target=torch.ops.aten." op "](args = (" args "), kwargs = {})") \
  IN("['', 'n', '" name "']", "['M', '" type "', 'aten']") "\n"
#define NORM(type, add)                                                                                                                                   \
  "opset 20\nx: float[2,5,8]; n.weight = float[8]; two = float[]{2}; ax = int64[1]{2}; eps = float[]{0.000001}\n"                                       \
  "pow_1 = Pow(x, two)" N("pow_1", "pow.Tensor_Scalar", "%x, 2", type) "mean = ReduceMean(pow_1, ax)" N("mean", "mean.dim", "%pow_1, [2], True", type) \
  "add = Add(mean, eps)" N("add", add, "%mean, 1e-06", type) "v = Sqrt(add)" N("rsqrt", "rsqrt.default", "%add", type)                         \
  "rsqrt = Reciprocal(v)" N("rsqrt", "rsqrt.default", "%add", type) "mul = Mul(x, rsqrt)" N("mul", "mul.Tensor", "%x, %rsqrt", type)                    \
  "mul_1 = Mul(mul, n.weight)" N("mul_1", "mul.Tensor", "%mul, %p_n_weight", type)                                                                     \
  "sum_1 = ReduceSum(mul_1)" FX("%sum_1 : [num_users=1] = call_function[target=torch.ops.aten.sum.default](args = (%type_as,), kwargs = {})") "\n"       \
  SIGNATURE("p_n_weight: PARAMETER target='n.weight'\nx: USER_INPUT") "-> sum_1"

static void rms_norm_is_made_whole(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, NORM("torch.nn.modules.normalization.RMSNorm", "add.Tensor"));
  assert_int_equal(p->call_count, 2);
  assert_string_equal(test_call_line(a, p, 0), "n  aten::rms_norm(%x, [8], %n.weight, 1e-06)");
  assert_int_equal(p->calls[0].node_count, 7);
  assert_string_equal(test_call_line(a, p, 1), ".  aten::sum(%mul_1)");
  mp_arena_free(a);
}

/* F.rms_norm in a forward: the exporter adds eps by another overload than a program that writes x + eps */
static void a_called_rms_norm_is_made_whole(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, NORM("model.Block", "add.Scalar"));
  assert_string_equal(test_call_line(a, p, 0), "n  aten::rms_norm(%x, [8], %n.weight, 1e-06)");
  mp_arena_free(a);
}

/* a class of the same name, written by hand: its calls are its own */
static void a_written_rms_norm_stays_in_parts(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, NORM("model.RMSNorm", "add.Tensor"));
  for (uint32_t c = 0; c < p->call_count; c++) assert_null(strstr(test_call_line(a, p, c), "rms_norm"));
  mp_arena_free(a);
}

/* v (g / |v|) as the exporter writes nn.utils.weight_norm out; of a small weight only the product is left */
static void weight_norm_is_made_whole(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define SIGNED SIGNATURE("p_c_weight_g: PARAMETER target='c.weight_g'\np_c_weight_v: PARAMETER target='c.weight_v'\nx: USER_INPUT") "-> conv1d"
#define CONV AT("conv1d", "conv1d.default", "%x, %mul, None, [1], [0], [1], 1", "c")
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,3,8]; c.weight_g = float[5,1,1]; c.weight_v = float[5,3,4]; ax = int64[2]{1,2}; n = ReduceL2(c.weight_v, ax)" AT(
                                         "linalg_vector_norm", "linalg_vector_norm.default", "%p_c_weight_v, 2, [1, 2], True", "c") "div = Div(c.weight_g, n)" AT("div", "div.Tensor", "%p_c_weight_g, %linalg_vector_norm", "c")
                                         "mul = Mul(c.weight_v, div)" AT("mul", "mul.Tensor", "%p_c_weight_v, %div", "c") "conv1d = Conv(x, mul)" CONV SIGNED);
  assert_string_equal(test_call_line(a, p, 0), "c  aten::_weight_norm_interface(%c.weight_v, %c.weight_g, 0)");
  assert_int_equal(p->call_count, 2);
  p = test_recovered_fx(a, "opset 20\nx: float[2,3,8]; mul = float[5,3,4]; conv1d = Conv(x, mul)" CONV SIGNED);
  assert_string_equal(test_call_line(a, p, 0), "c  aten::_weight_norm_interface(%c.weight_v, %c.weight_g, 0)");
  assert_int_equal(p->call_count, 2);
  mp_arena_free(a);
}

/* query.unsqueeze(1).repeat(1, n, 1): what is repeated, not the number of times, stands for the call that was done at export */
static void what_is_repeated_stands_for_what_was_made_at_export(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define REPEAT AT("repeat", "repeat.default", "%unsqueeze, [1, %sym_size_int, 1]", "")
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[3,4]; one = int64[1]{1}; q = float[5,1,4]; n = Shape(x) start=0 end=1" AT("sym_size_int", "sym_size.int", "%x, 0", "") "k = Concat(one, n, one) axis=0" REPEAT
                                         "repeat = Tile(q, k)" REPEAT SIGNATURE("p_query: PARAMETER target='query'\nx: USER_INPUT") "-> repeat");
  assert_string_equal(test_call_line(a, p, 0), ".  aten::view(%query, [5, 1, 4])");
  assert_string_equal(test_call_line(a, p, 1), ".  aten::repeat(%unsqueeze, [1, 3, 1])");
  mp_arena_free(a);
}

/* order = torch.argsort(x): the second result of sort, whose first nobody reads */
static void indices_alone_are_the_second_result(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,4]; k = int64[1]{4}; sort__0, getitem_1 = TopK(x, k) axis=1" AT("sort", "sort.default", "%x, 1", "") "neg = Neg(getitem_1)" AT("neg", "neg.default", "%getitem_1", "")
                                     SIGNATURE("x: USER_INPUT") "-> neg");
  assert_int_equal(p->calls[0].out_count, 2);
  assert_int_equal(p->calls[0].outs[0], -1);
  assert_int_equal(p->vars[p->calls[0].outs[1]].dtype, MP_INT64);
  mp_arena_free(a);
}

/* xa, xb = x.chunk(2); net(xa) + xb: a node without metadata runs where both its readers are */
static void a_bare_node_runs_around_its_readers(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,4]; h, k = Split(x) axis=1 num_outputs=2\n"
                                     "tanh = Tanh(h)" AT("tanh", "tanh.default", "%getitem", "net") "add = Add(tanh, k)" FX("%add : [num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%tanh, %getitem_1), kwargs = {})")
                                     IN("['', 'add']", "['M', 'aten']") "\n" SIGNATURE("x: USER_INPUT") "-> add");
  assert_string_equal(p->instances[p->calls[0].module].path, "");
  assert_string_equal(p->instances[p->calls[1].module].path, "net");
  mp_arena_free(a);
}

/* x @ table.t(), turned at export: the table that rows are looked up in */
static void a_table_that_was_turned_at_export_is_the_table(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nids: int64[2]; e.weight = float[6,4]; t = float[4,6]; embedding = Gather(e.weight, ids)" AT("embedding", "embedding.default", "%p_e_weight, %ids", "e")
                                         "matmul = MatMul(embedding, t)" AT("matmul", "matmul.default", "%embedding, %t", "") SIGNATURE("p_e_weight: PARAMETER target='e.weight'\nids: USER_INPUT") "-> matmul");
  assert_int_equal(p->call_count, 3);
  assert_string_equal(test_call_line(a, p, 1), ".  aten::permute(%e.weight, [1, 0])");
  mp_arena_free(a);
}

/* z + (q - z).detach(), whose difference was merged with the one inside mse_loss(q, z) */
static void a_call_that_was_merged_with_another_s_node_is_made_again(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define LOSS AT("mse_loss", "mse_loss.default", "%q, %z", "")
  const mp_program *p = test_recovered_fx(a, "opset 20\nq: float[2,4]; z: float[2,4]; s = Sub(q, z)" LOSS "s2 = Mul(s, s)" LOSS "mse_loss = ReduceMean(s2)" LOSS "add = Add(z, s)" AT("add", "add.Tensor", "%z, %detach", "")
                                         SIGNATURE("q: USER_INPUT\nz: USER_INPUT") "-> mse_loss, add");
  assert_int_equal(p->call_count, 4);
  assert_string_equal(test_call_line(a, p, 1), ".  aten::sub(%q, %z)");
  assert_string_equal(test_call_line(a, p, 2), ".  aten::detach(%s)");
  assert_string_equal(test_call_line(a, p, 3), ".  aten::add(%z, %detach)");
  /* (z - q) / w, whose difference is inside the loss, too: w, which is at hand, does not stand for it */
  p = test_recovered_fx(a, "opset 20\nq: float[2,4]; z: float[2,4]; w: float[2,4]; s = Sub(q, z)" LOSS "s2 = Mul(s, s)" LOSS "mse_loss = ReduceMean(s2)" LOSS "div = Div(s, w)" AT("div", "div.Tensor", "%sub, %w", "")
                       SIGNATURE("q: USER_INPUT\nz: USER_INPUT\nw: USER_INPUT") "-> mse_loss, div");
  assert_string_equal(test_call_line(a, p, 1), ".  aten::sub(%q, %z)");
  assert_string_equal(test_call_line(a, p, p->call_count - 1), ".  aten::div(%s, %w)");
  mp_arena_free(a);
}

static void arguments_that_make_no_sense_are_not_trusted(void **state) {
  (void)state;
  static const char *const wrong[] = {"%x, 0, 9", "%x, -7, 1", "None, 0, 1", ""};
  mp_arena *a = mp_arena_new(0);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    const mp_graph *g = test_graph(a, mp_format(a,
                                                "x: float[2,3]\ntranspose = Transpose(x) perm=[1,0] meta.pkg.torch.onnx.fx_node=\"%%transpose : [num_users=1] = "
                                                "call_function[target=torch.ops.aten.transpose.int](args = (%s), kwargs = {})\"\n-> transpose",
                                                wrong[i]));
    const char *unsound;
    mp_err err;
    assert_null(mp_recover_fx(a, g, &unsound));
    assert_string_equal(unsound, "aten::transpose of transpose");
    const mp_program *p = mp_program_recover(a, g, &err); /* from its nodes, and says so */
    assert_non_null(strstr(p->warnings[0], "makes no sense at aten::transpose of transpose"));
  }
  mp_arena_free(a);
}

/* a layer that shares its weights: nothing but the order of its submodules says where its second run begins */
static void a_shared_layer_runs_twice(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define STEP(in, out, child)                                                                                                               \
  out " = Relu(" in ")" FX("%" out " : [num_users=1] = call_function[target=torch.ops.aten.relu.default](args = (%" in ",), kwargs = {})") \
      IN("['', 'layer.0', 'layer.0." child "', '" out "']", "['M', 'Layer', 'Part', 'aten']") "\n"
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[4]\n" STEP("x", "r1", "a") STEP("r1", "r2", "b") STEP("r2", "r3", "c") STEP("r3", "r4", "a")
                                         STEP("r4", "r5", "b") STEP("r5", "r6", "c") SIGNATURE("x: USER_INPUT") "-> r6");
  uint32_t turns = 0;
  for (uint32_t i = 0; i < p->instance_count; i++) {
    if (strcmp(p->instances[i].path, "layer.0") != 0) continue;
    assert_int_equal(p->instances[i].first, 3 * turns);
    assert_int_equal(p->instances[i].end, 3 * turns + 3);
    turns++;
  }
  assert_int_equal(turns, 2);
  mp_arena_free(a);
}

static void a_file_without_the_metadata_is_not_taken(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const char *unsound = NULL;
  assert_null(mp_recover_fx(a, test_graph(a, "x: float[2]; y = Relu(x) -> y"), &unsound));
  assert_null(unsound);
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_call_is_read_with_all_that_python_prints),
      cmocka_unit_test(other_spellings_of_a_call),
      cmocka_unit_test(the_signature_names_parameters),
      cmocka_unit_test(a_folded_batch_norm_is_two_calls),
      cmocka_unit_test(a_folded_convolution_has_the_line_that_names_it),
      cmocka_unit_test(merged_transposes_a_copy_and_symbolic_sizes_come_back),
      cmocka_unit_test(a_removed_bias_and_a_transposed_weight_keep_their_size),
      cmocka_unit_test(a_folded_parameter_has_the_size_of_its_like),
      cmocka_unit_test(a_sinusoidal_table_is_not_learnt),
      cmocka_unit_test(equal_calls_of_two_layers_are_two),
      cmocka_unit_test(an_inference_export_shows_its_dropouts),
      cmocka_unit_test(a_lost_clone_is_a_dropout_or_a_copy),
      cmocka_unit_test(a_removed_call_ran_where_its_operand_was_made),
      cmocka_unit_test(a_repeated_constant_has_one_axis_less),
      cmocka_unit_test(a_copy_between_two_turns_is_of_the_turned),
      cmocka_unit_test(an_equal_constant_was_made_of_the_next_parameter),
      cmocka_unit_test(equal_tokens_are_joined_in_their_places),
      cmocka_unit_test(a_folded_bias_is_the_one_beside_the_weight),
      cmocka_unit_test(padding_under_a_folded_batch_norm_comes_back),
      cmocka_unit_test(equal_arguments_of_one_call_are_two_parameters),
      cmocka_unit_test(a_table_indexed_behind_its_heads_is_turned_back),
      cmocka_unit_test(a_factory_does_not_decide_what_its_model_was),
      cmocka_unit_test(arithmetic_on_numbers_is_no_call),
      cmocka_unit_test(rms_norm_is_made_whole),
      cmocka_unit_test(a_called_rms_norm_is_made_whole),
      cmocka_unit_test(a_written_rms_norm_stays_in_parts),
      cmocka_unit_test(weight_norm_is_made_whole),
      cmocka_unit_test(indices_alone_are_the_second_result),
      cmocka_unit_test(a_bare_node_runs_around_its_readers),
      cmocka_unit_test(what_is_repeated_stands_for_what_was_made_at_export),
      cmocka_unit_test(a_table_that_was_turned_at_export_is_the_table),
      cmocka_unit_test(a_call_that_was_merged_with_another_s_node_is_made_again),
      cmocka_unit_test(a_shared_layer_runs_twice),
      cmocka_unit_test(arguments_that_make_no_sense_are_not_trusted),
      cmocka_unit_test(a_file_without_the_metadata_is_not_taken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
