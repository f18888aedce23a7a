/* What a dynamo file's source lines tell beyond its nodes: casts, writes into an operand, regions that run without gradients. */
#include "planner/fx_written.h"
#include "planner/inside.h"
#include "support_base.h"
#include "support_graph.h"
#include "support_recover.h"

/* A float32 file shows no cast to float32; the source line, where the file keeps it, does. */
static void casts_are_read_from_the_source_line(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p =
      test_recovered_fx(a, "opset 20\nx: float[2,3]; v: float[3,4]\n"
                   "softmax = Softmax(x) axis=-1" LINE("p = F.softmax(x.float(), dim=-1).to(v.dtype)")
                       FX("%softmax : [num_users=1] = call_function[target=torch.ops.aten.softmax.int](args = (%x, -1), kwargs = {})") "\n"
                   "matmul = MatMul(softmax, v)" LINE("return p @ v")
                       FX("%matmul : [num_users=1] = call_function[target=torch.ops.aten.matmul.default](args = (%softmax, %v), kwargs = {})") "\n"
                   SIGNATURE("x: USER_INPUT\nv: USER_INPUT") "-> matmul");
  assert_int_equal(p->call_count, 4);
  assert_string_equal(test_call_line(a, p, 0), ".  aten::to(%x, float32)");
  assert_string_equal(test_call_line(a, p, 1), ".  aten::softmax(%x.cast, -1)");
  assert_string_equal(test_call_line(a, p, 2), ".  aten::type_as(%softmax, %x)");
  assert_string_equal(test_call_line(a, p, 3), ".  aten::matmul(%softmax.cast, %v)");
  mp_arena_free(a);
}

/* In float32 dtype=x.dtype shows as float32, which in half precision it is not. */
static void a_softmax_keeps_the_type_that_its_line_names(void **state) {
  (void)state;
  static const struct {
    const char *line, *call;
  } cases[] = {{"p = F.softmax(x, dim=1, dtype=x.dtype)", ".  aten::softmax(%x, -1, None)"}, {"p = F.softmax(x, dim=1, dtype=torch.float32)", ".  aten::softmax(%x, -1, float32)"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_arena *a = mp_arena_new(0);
    const mp_program *p = test_recovered_fx(a, mp_format(a, "opset 20\nx: float[2,3]\nsoftmax = Softmax(x) axis=-1" LINE("%s")
                       FX("%%softmax : [num_users=1] = call_function[target=torch.ops.aten.softmax.int](args = (%%x, -1, torch.float32), kwargs = {})") "\n" SIGNATURE("x: USER_INPUT") "-> softmax", cases[i].line));
    assert_string_equal(test_call_line(a, p, 0), cases[i].call);
    mp_arena_free(a);
  }
}

/* text alone: what a line does to the operand of a call, and to its result */
static void a_line_tells_what_it_widens(void **state) {
  (void)state;
  static const struct {
    const char *line, *op;
    fx_written is;
  } calls[] = {
      {"p = F.softmax(x.float(), dim=-1).to(v.dtype)", "aten::_softmax", {.widened = true, .back = true}},
      {"p = x.float().softmax(-1).type_as(x)", "aten::softmax", {.widened = true, .back = true}},
      {"y = x * torch.nn.functional.silu(gate.to(torch.float32))", "aten::silu", {.widened = true}},
      {"y = F.linear(x.type(torch.float32), self.weight.type(torch.float32), None)", "aten::linear", {.widened = true, .second = true}},
      {"y = x.mul(y.float())", "aten::mul", {.second = true}}, /* not the operand, the other factor */
      {"y = log_softmax(x.float())", "aten::softmax", {0}},
      {"y = F.silu(x)", "aten::silu", {0}},
  };
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    fx_written w = fx_as_written(calls[i].line, calls[i].op), is = calls[i].is;
    if (w.widened != is.widened || w.second != is.second || w.back != is.back) fail_msg("%s", calls[i].line);
  }
  static const struct {
    const char *line;
    fx_widening is;
  } lines[] = {
      {"logits = self.head(x).float()  # of a language model", {.whole = true}},
      {"return x.view(2, -1).to(torch.float32)", {.whole = true}},
      {"a = b[:, :, None] * dt[..., None].float()", {.right = true, .sign = '*'}},
      {"a = (b + c).float() @ d", {.left = true, .sign = '@'}},
      {"a = b.float() * c + d.float()", {0}}, /* which of the two is the last call? */
      {"q, k = q.float(), k.float()", {0}},
      {"a += b.float()", {0}},
      {"a = b if c else d.float()", {0}},
      {"f(x).float()", {0}},
  };
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    fx_widening w = fx_widening_of(lines[i].line), is = lines[i].is;
    if (w.whole != is.whole || w.left != is.left || w.right != is.right || w.sign != is.sign) fail_msg("%s", lines[i].line);
  }
}

/* h = self.proj(x).float(); y = h * w.float(): the line's result, and one operand of its only operator */
static void results_and_operands_are_widened_as_written(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p =
      test_recovered_fx(a, "opset 20\nx: float[2,3]; w: float[2,3]\n"
                   "exp = Exp(x)" LINE("h = x.exp().float()") FX("%exp : [num_users=1] = call_function[target=torch.ops.aten.exp.default](args = (%x,), kwargs = {})") "\n"
                   "mul = Mul(exp, w)" LINE("y = h * w.float()") FX("%mul : [num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%exp, %w), kwargs = {})") "\n"
                   SIGNATURE("x: USER_INPUT\nw: USER_INPUT") "-> mul");
  assert_int_equal(p->call_count, 4);
  assert_string_equal(test_call_line(a, p, 1), ".  aten::to(%exp, float32)");
  assert_string_equal(test_call_line(a, p, 2), ".  aten::to(%w, float32)");
  assert_string_equal(test_call_line(a, p, 3), ".  aten::mul(%exp.cast, %w.cast)");
  mp_arena_free(a);
}

/* A = -torch.exp(self.A_log.float()); a norm of one's own has no casts unless a line of it says so, and a layer norm is not written with any */
static void elementwise_calls_and_norms_are_cast_as_written(void **state) {
  (void)state;
  static const struct {
    const char *type, *line, *first;
  } cases[] = {{"model.Scan", "A = -torch.exp(self.A_log.float())", "to(%x, float32)"},      {"model.Scan", "A = -torch.exp(self.A_log)", "exp(%x)"},
               {"model.RMSNorm", "return self._norm(x.float()).type_as(x)", "to(%x, float32)"}, {"model.RMSNorm", "return x * torch.rsqrt(x.pow(2).mean(-1))", "pow(%x, 2)"},
               {"model.LayerNorm2d", "s = (x - u).pow(2).mean(1)", "pow(%x, 2)"},                {"transformers.LayerNorm", "s = x.pow(2).mean(-1)", "to(%x, float32)"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_arena *a = mp_arena_new(0);
    bool norm = i > 1;
    const char *node = norm ? "opset 20\nx: float[2,3]; two = float[]{2}; y = Pow(x, two)" : "opset 20\nx: float[2,3]; y = Exp(x)";
    const mp_program *p = test_recovered_fx(a, mp_format(a, "%s meta.pkg.torch.onnx.stack_trace=\"File 'm.py', line 1, in forward\n    %s\"" FX("%%y : [num_users=1] = call_function[target=torch.ops.aten.%s](args = (%%x%s,), kwargs = {})")
                                                        IN("['', 'n', 'y']", "['M', '%s', 'aten']") "\n" SIGNATURE("x: USER_INPUT") "-> y",
                                                 node, cases[i].line, norm ? "pow.Tensor_Scalar" : "exp.default", norm ? ", 2" : "", cases[i].type));
    assert_string_equal(test_call_line(a, p, 0), mp_format(a, "n  aten::%s", cases[i].first));
    mp_arena_free(a);
  }
}

/* q and k each go through a Function of the model's own, whose backward no file has: x * sigmoid(x) runs without gradients, and what is kept is x, not its sigmoid */
static void a_function_of_ones_own_keeps_its_operands(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
#define APPLIED " meta.pkg.torch.onnx.stack_trace=\"File 'm.py', line 9, in forward\n    return Swish.apply(q), Swish.apply(k)\n  File 'm.py', line 3, in forward\n    return x * torch.sigmoid(x)\""
  const mp_program *p = test_recovered_fx(a, "opset 20\nq: float[2,8]; k: float[2,8]\ns = Sigmoid(q)" APPLIED AT("s", "sigmoid.default", "%q", "act") "y = Mul(q, s)" APPLIED AT("y", "mul.Tensor", "%q, %s", "act")
                                         "t = Sigmoid(k)" APPLIED AT("t", "sigmoid.default", "%k", "act") "z = Mul(k, t)" APPLIED AT("z", "mul.Tensor", "%k, %t", "act")
                                         "o = Add(y, z)" AT("o", "add.Tensor", "%y, %z", "") SIGNATURE("q: USER_INPUT\nk: USER_INPUT") "-> o");
#undef APPLIED
  assert_string_equal(test_calls_text(a, p), "sigmoid'(q) mul'(q,%) autograd::Function(%,q,2) sigmoid'(k) mul'(k,%) autograd::Function(%,k,2) add(%,%)");
  assert_true(test_program_warned(p, "what they keep is not in the file"));
  /* one that returns more than its last result, and checkpoint's own, which runs its forward again, are left as their calls are */
#define FROM(name) " meta.pkg.torch.onnx.stack_trace=\"File 'm.py', line 9, in forward\n    return " name ".apply(q)\n  File 'm.py', line 3, in forward\n    return x * torch.sigmoid(x)\""
#define ONE(name) "opset 20\nq: float[2,8]\ns = Sigmoid(q)" FROM(name) AT("s", "sigmoid.default", "%q", "act") "y = Mul(q, s)" FROM(name) AT("y", "mul.Tensor", "%q, %s", "act")
  assert_string_equal(test_calls_text(a, test_recovered_fx(a, ONE("Swish") "o = Add(y, s)" AT("o", "add.Tensor", "%y, %s", "") SIGNATURE("q: USER_INPUT") "-> o")), "sigmoid(q) mul(q,%) add(%,%)");
  assert_string_equal(test_calls_text(a, test_recovered_fx(a, ONE("CheckpointFunction") SIGNATURE("q: USER_INPUT") "-> y")), "sigmoid(q) mul(q,%)");
#undef ONE
#undef FROM
  mp_arena_free(a);
}

/* x.mul_(g) writes over x; behind a flag, which is False as a rule, it does not */
static void a_source_line_says_what_is_written_over(void **state) {
  (void)state;
  static const char *const lines[] = {"return x.mul_(g)", "return x.mul_(g) if self.inplace else x * g", "return x * g"};
  for (int i = 0; i < 3; i++) {
    mp_arena *a = mp_arena_new(0);
    const mp_program *p = test_recovered_fx(a, mp_format(a,
                                                 "opset 20\nx: float[2,9]; g: float[9]\nmul = Mul(x, g) meta.pkg.torch.onnx.stack_trace=\"File 'm.py', line 1, in forward\n    %s\"" FX(
                                                     "%%mul : [num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%%x, %%g), kwargs = {})") "\n" SIGNATURE(
                                                     "x: USER_INPUT\ng: USER_INPUT") "-> mul",
                                                 lines[i]));
    assert_int_equal(p->calls[0].in_place, !i);
    mp_arena_free(a);
  }
}

/* transformers' losses of tokens begin with logits.float() */
static void a_loss_of_tokens_widens_its_logits(void **state) {
  (void)state;
  static const char *const lines[] = {"loss = self.loss_function(logits, labels, vocab_size=9)", "loss = self.loss_function(labels=labels, pooled_logits=logits)"};
  for (int i = 0; i < 2; i++) {
    mp_arena *a = mp_arena_new(0);
    const mp_program *p = test_recovered_fx(
        a, mp_format(a,
                     "opset 20\nx: float[2,9]; y: int64[2]\nloss = SoftmaxCrossEntropyLoss(x, y) meta.pkg.torch.onnx.stack_trace=\"File 'm.py', line 1, in forward\n    %s\"" FX(
                         "%%loss : [num_users=1] = call_function[target=torch.ops.aten.cross_entropy_loss.default](args = (%%x, %%y), kwargs = {})") "\n" SIGNATURE(
                         "x: USER_INPUT\ny: USER_INPUT") "-> loss",
                     lines[i]));
    assert_int_equal(p->call_count, i ? 1 : 2);
    if (!i) assert_string_equal(test_call_line(a, p, 0), ".  aten::to(%x, float32)");
    mp_arena_free(a);
  }
}

/* Llama's loss before transformers 4.46 widened the logits in a line of its own, which leaves no node, and cut them then; OPT's head ends in .contiguous() and widens nothing. Without lines an RMS
 * norm in front of the head tells. */
static void logits_are_widened_before_they_are_cut(void **state) {
  (void)state;
#define CUT(first, head, cut)                                                                                                                                                       \
  "opset 20\nx: float[2,4,8]; n.weight = float[8]; w = float[8,9]; i0 = int64[1]{0}; i1 = int64[1]{-1}; ax = int64[1]{1}\n" first                                                     \
  "linear = MatMul(m, w)" head FX("%linear : [num_users=1] = call_function[target=torch.ops.aten.linear.default](args = (%m, %p_w), kwargs = {})")                                  \
      IN("['', 'head', 'linear']", "['transformers.models.llama.LlamaForCausalLM', 'torch.nn.modules.linear.Linear', 'aten']") "\n"                                                 \
  "slice_1 = Slice(linear, i0, i1, ax)" cut FX("%slice_1 : [num_users=1] = call_function[target=torch.ops.aten.slice.Tensor](args = (%linear, 1, 0, -1), kwargs = {})")             \
      IN("['', 'slice_1']", "['transformers.models.llama.LlamaForCausalLM', 'aten']") "\n"                                                                                          \
  SIGNATURE("p_n_weight: PARAMETER target='n.weight'\np_w: PARAMETER target='head.weight'\nx: USER_INPUT") "-> slice_1"
#define NORM "m = Mul(n.weight, x)" FX("%m : [num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%p_n_weight, %x), kwargs = {})") IN("['', 'n', 'm']", "['M', 'N', 'aten']") "\n"
#define TANH "m = Tanh(x)" FX("%m : [num_users=1] = call_function[target=torch.ops.aten.tanh.default](args = (%x,), kwargs = {})") IN("['', 'n', 'm']", "['M', 'N', 'aten']") "\n"
  static const struct {
    const char *file;
    bool widened;
  } cases[] = {{CUT(TANH, LINE("logits = self.head(x)"), LINE("shift_logits = logits[..., :-1, :].contiguous()")), true},
               {CUT(TANH, LINE("logits = self.head(x).contiguous()"), LINE("shift_logits = logits[..., :-1, :].contiguous()")), false},
               {CUT(TANH, LINE("lm_logits = self.head(x)"), LINE("shift_logits = lm_logits[..., :-1, :].contiguous()")), false},
               {CUT(NORM, "", ""), true},
               {CUT(TANH, "", ""), false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_arena *a = mp_arena_new(0);
    const mp_program *p = test_recovered_fx(a, cases[i].file);
    assert_int_equal(p->call_count, cases[i].widened ? 4 : 3);
    if (cases[i].widened) assert_string_equal(test_call_line(a, p, 2), ".  aten::to(%linear, float32)");
    mp_arena_free(a);
  }
}

/* a network that torch.export took aside ran under no_grad where its code names the parameters; under an autocast of its own it numbers them */
static void what_was_taken_aside_runs_without_gradients(void **state) {
  (void)state;
  static const char *const codes[] = {"linear = torch.ops.aten.linear.default(x, p_w)", "linear = torch.ops.aten.linear.default(arg0_1, arg1_1)"};
  for (int i = 0; i < 2; i++) {
    mp_arena *a = mp_arena_new(0);
    const mp_program *p = test_recovered_fx(a, mp_format(a,
                                                 "opset 20\nx: float[2,4]; w = float[4,4]\nlinear = MatMul(x, w) meta.pkg.torch.onnx.stack_trace=\"File '<eval_with_key>.7', line 8, in forward\n    %s\"" FX(
                                                     "%%linear : [num_users=1] = call_function[target=torch.ops.aten.linear.default](args = (%%x, %%p_w), kwargs = {})") "\n"
                                                     "%s-> linear",
                                                 codes[i], SIGNATURE("p_w: PARAMETER target='w'\nx: USER_INPUT")));
    assert_int_equal(p->calls[0].no_grad, !i);
    assert_null(p->calls[0].source);
    mp_arena_free(a);
  }
}

/* without a source line: a layer norm in a module that is named for float32 is widened and cast back */
static void a_layer_norm_named_for_float32_is_widened(void **state) {
  (void)state;
  static const char *const types[] = {"model.Fp32LayerNorm", "model.LayerNorm2d"};
  for (int i = 0; i < 2; i++) {
    mp_arena *a = mp_arena_new(0);
    const mp_program *p = test_recovered_fx(a, mp_format(a, "opset 20\nx: float[2,4]; n.weight = float[4]; y = LayerNormalization(x, n.weight)" FX("%%y : [num_users=1] = call_function[target=torch.ops.aten.layer_norm.default](args = (%%x, [4], %%p_n_weight), kwargs = {})")
                                                                IN("['', 'n', 'y']", "['M', '%s', 'aten']") "\n" SIGNATURE("p_n_weight: PARAMETER target='n.weight'\nx: USER_INPUT") "-> y", types[i]));
    assert_int_equal(p->call_count, i ? 1 : 4); /* x and the weight, the norm, its result */
    if (!i) assert_string_equal(test_call_line(a, p, 3), "n  aten::type_as(%y, %x)");
    mp_arena_free(a);
  }
}

/* a region has lost its module: a parameter that was cast in it at export is the first that nothing names */
static void a_region_s_constants_are_parameters_of_any_module(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered_fx(a, "opset 20\nx: float[2,4]; _to_copy_1 = float[4,4]\nlinear = MatMul(x, _to_copy_1) meta.pkg.torch.onnx.stack_trace=\"File '<eval_with_key>.7', line 8, in forward\n    linear = linear.default(arg0_1, arg1_1)\""
                                             FX("%linear : [num_users=1] = call_function[target=torch.ops.aten.linear.default](args = (%x, %_to_copy_1), kwargs = {})") IN("['', 'linear']", "['M', 'aten']") "\n"
                                             SIGNATURE("p_b_weight: PARAMETER target='b.weight'\nx: USER_INPUT") "-> linear");
  assert_string_equal(test_call_line(a, p, 0), ".  aten::_to_copy(%b.weight, float32)");
  mp_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(casts_are_read_from_the_source_line),
      cmocka_unit_test(a_softmax_keeps_the_type_that_its_line_names),
      cmocka_unit_test(a_line_tells_what_it_widens),
      cmocka_unit_test(results_and_operands_are_widened_as_written),
      cmocka_unit_test(elementwise_calls_and_norms_are_cast_as_written),
      cmocka_unit_test(a_function_of_ones_own_keeps_its_operands),
      cmocka_unit_test(a_source_line_says_what_is_written_over),
      cmocka_unit_test(a_loss_of_tokens_widens_its_logits),
      cmocka_unit_test(logits_are_widened_before_they_are_cut),
      cmocka_unit_test(a_layer_norm_named_for_float32_is_widened),
      cmocka_unit_test(a_region_s_constants_are_parameters_of_any_module),
      cmocka_unit_test(what_was_taken_aside_runs_without_gradients),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
