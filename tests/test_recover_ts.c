/* Programs recovered from scopes and patterns: nodes as the TorchScript exporter writes them, and the calls that wrote them. */
#include "planner/inside.h"
#include "support_base.h"
#include "support_draw.h"
#include "support_graph.h"
#include "support_recover.h"

/* ---- matrices and activations ---- */

static void a_linear_layer_is_three_nodes_and_its_bias_comes_first(void **state) {
  (void)state;
  test_expect_calls(
      "x: float[2,3,4]; fn.weight = float[5,4]; fn.bias = float[5]; t = Transpose(fn.weight) perm=[1,0] name=\"/fn/Transpose\";"
      "m = MatMul(x, t) name=\"/fn/MatMul\"; y = Add(fn.bias, m) name=\"/fn/Add\"; -> y",
      "linear(x,fn.weight,fn.bias)");
  test_expect_calls("x: float[2,4]; w = float[5,4]; b = float[5]; y = Gemm(x, w, b) transB=1 name=\"/fn/Gemm\"; -> y", "linear(x,w,b)");
  test_expect_calls("x: float[2,4]; w = float[4,5]; b = float[5]; y = Gemm(x, w, b) name=\"/fn/Gemm\"; -> y", "addmm(b,x,w)");
  test_expect_calls("x: float[2,3,4]; y: float[2,4,5]; z = MatMul(x, y) name=\"/MatMul\"; -> z", "matmul(x,y)");
}

/* the order of the last two products tells F.gelu from the same function written out */
static void gelu_is_one_call_and_its_parts_are_five(void **state) {
  (void)state;
  const char *head =
      "x: float[2,4]; c = Constant() value=float[]{1.4142135}; one = Constant() value=float[]{1}; h = Constant() value=float[]{0.5};"
      "d = Div(x, c) name=\"/act/Div\"; e = Erf(d) name=\"/act/Erf\"; s = Add(e, one) name=\"/act/Add\";";
  char text[1024];
  snprintf(text, sizeof text, "%s m = Mul(x, s) name=\"/act/Mul\"; y = Mul(m, h) name=\"/act/Mul_1\"; -> y", head);
  test_expect_calls(text, "gelu(x,'none')");
  snprintf(text, sizeof text, "%s m = Mul(x, h) name=\"/act/Mul\"; y = Mul(m, s) name=\"/act/Mul_1\"; -> y", head);
  test_expect_calls(text, "div(x,1.41421) erf(%) add(%,1) mul(x,0.5) mul(%,%)");
}

/* a value that others read too exists: the pattern does not hold */
static void a_pattern_does_not_swallow_what_others_read(void **state) {
  (void)state;
  test_expect_calls("x: float[2,4]; s = Sigmoid(x) name=\"/act/Sigmoid\"; y = Mul(x, s) name=\"/act/Mul\"; -> y", "silu(x)");
  test_expect_calls("x: float[2,4]; s = Sigmoid(x) name=\"/act/Sigmoid\"; y = Mul(x, s) name=\"/act/Mul\"; z = Exp(s) name=\"/Exp\"; -> y, z",
         "sigmoid(x) mul(x,%) exp(%)");
}

static void silu_is_a_module_or_two_calls(void **state) {
  (void)state;
  test_expect_calls("x: float[2,4]; p = float[4]; a = Add(x, p) name=\"/Add\"; s = Sigmoid(a) name=\"/Sigmoid\"; y = Mul(a, s) name=\"/Mul\"; -> y",
         "add(x,p) sigmoid(%) mul(%,%)");
  /* F.silu(gate) * up: nobody writes that gate out */
  test_expect_calls("x: float[2,4]; w = float[4,4]; v = float[4,4]; t = Transpose(w) perm=[1,0] name=\"/w/Transpose\"; g = MatMul(x, t) name=\"/w/MatMul\"; s = Sigmoid(g) name=\"/mlp/Sigmoid\";"
         "a = Mul(g, s) name=\"/mlp/Mul\"; u = Transpose(v) perm=[1,0] name=\"/v/Transpose\"; up = MatMul(x, u) name=\"/v/MatMul\"; y = Mul(a, up) name=\"/mlp/Mul_1\"; -> y",
         "linear(x,w) silu(%) linear(x,v) mul(%,%)");
  /* self.conv(F.silu(x)): an activation */
  test_expect_calls("x: float[2,4]; w = float[4,4]; t = Transpose(w) perm=[1,0] name=\"/b/fc/Transpose\"; s = Sigmoid(x) name=\"/b/Sigmoid\"; h = Mul(x, s) name=\"/b/Mul\";"
         "y = MatMul(h, t) name=\"/b/fc/MatMul\"; -> y",
         "silu(x) linear(%,w)");
}

static void a_squared_relu_is_a_power_in_a_module_of_its_own(void **state) {
  (void)state;
  test_expect_calls("x: float[2,4]; r = Relu(x) name=\"/act/Relu\"; y = Mul(r, r) name=\"/act/Mul\"; -> y", "relu(x) pow(%,2)");
  test_expect_calls("x: float[2,4]; r = Relu(x) name=\"/Relu\"; y = Mul(r, r) name=\"/Mul\"; z = Exp(y) name=\"/Exp\"; -> z", "relu(x) mul(%,%) exp(%)");
}

static void rsqrt_is_a_quotient_with_a_root(void **state) {
  (void)state;
  test_expect_calls("x: float[2,4]; one = Constant() value=float[]{1}; s = Sqrt(x) name=\"/Sqrt\"; y = Div(one, s) name=\"/Div\"; -> y", "rsqrt(x)");
  test_expect_calls("x: float[2,4]; two = Constant() value=float[]{2}; y = Sub(two, x) name=\"/Sub\"; -> y", "rsub(x,2)");
}

/* ---- norms ---- */

#define NINE_NODES(keep)                                                                                                        \
  "opset 14; x: float[2,4]; w = float[4]; b = float[4]; e = Constant() value=float[]{1e-5}; two = Constant() value=float[]{2};" \
  "m = ReduceMean(x) axes=[-1]" keep                                                                                            \
  " name=\"/ln/ReduceMean\"; d = Sub(x, m) name=\"/ln/Sub\"; q = Pow(d, two) name=\"/ln/Pow\";"                                 \
  "v = ReduceMean(q) axes=[-1]" keep                                                                                            \
  " name=\"/ln/ReduceMean_1\"; a = Add(v, e) name=\"/ln/Add\"; s = Sqrt(a) name=\"/ln/Sqrt\";"                                  \
  "n = Div(d, s) name=\"/ln/Div\"; g = Mul(n, w) name=\"/ln/Mul\"; y = Add(g, b) name=\"/ln/Add_1\"; -> y"

static void layer_norm_before_opset_17_leaves_keepdims_out(void **state) {
  (void)state;
  test_expect_calls(NINE_NODES(""), "layer_norm(x,4,w,b,1e-05,T)");
  test_expect_calls(NINE_NODES(" keepdims=1"), "mean(x,-1,T) sub(x,%) pow(%,2) mean(%,-1,T) add(%,1e-05) sqrt(%) div(%,%) mul(%,w) add(%,b)");
}

static void batch_norm_has_buffers_and_a_counter(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p =
      test_recovered(a,
                "x: float[2,3,8,8]; bn.weight = float[3]; bn.bias = float[3]; bn.running_mean = float[3]; bn.running_var = float[3];"
                "y, m, v = BatchNormalization(x, bn.weight, bn.bias, bn.running_mean, bn.running_var) training_mode=1 epsilon=0.001 momentum=0.9"
                " name=\"/bn/BatchNormalization\"; -> y");
  assert_string_equal(test_calls_text(a, p), "batch_norm(x,bn.weight,bn.bias,bn.running_mean,bn.running_var,T,0.1,0.001,T)");
  assert_int_equal(test_var_named(p, "bn.weight")->role, MP_ROLE_PARAMETER);
  assert_int_equal(test_var_named(p, "bn.running_var")->role, MP_ROLE_BUFFER);
  assert_int_equal(test_var_named(p, "bn.num_batches_tracked")->dtype, MP_INT64);
  assert_true(p->training);
  mp_arena_free(a);
}

static void an_inference_export_trains_its_batch_norms(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered(a,
                                  "x: float[2,3,8,8]; w = float[3]; b = float[3]; m = float[3]; v = float[3];"
                                  "y = BatchNormalization(x, w, b, m, v) epsilon=0.001 name=\"/bn/BatchNormalization\"; -> y");
  assert_string_equal(test_calls_text(a, p), "batch_norm(x,w,b,m,v,T,0.1,0.001,T)");
  assert_false(p->training);
  assert_true(test_program_warned(p, "inference export"));
  mp_arena_free(a);
}

static void group_norm_is_an_instance_norm_between_reshapes(void **state) {
  (void)state;
  test_expect_calls(
      "x: float[2,6,4,4]; w = float[6]; b = float[6]; to = Constant() value=int64[3]{0,3,-1}; back = Constant() value=int64[4]{2,6,4,4};"
      "one = Constant() value=float[3]{1,1,1}; zero = Constant() value=float[3]{0,0,0}; ax = Constant() value=int64[2]{1,2};"
      "r = Reshape(x, to) name=\"/gn/Reshape\"; i = InstanceNormalization(r, one, zero) epsilon=0.01 name=\"/gn/InstanceNormalization\";"
      "s = Reshape(i, back) name=\"/gn/Reshape_1\"; wu = Unsqueeze(w, ax) name=\"/gn/Unsqueeze\"; m = Mul(s, wu) name=\"/gn/Mul\";"
      "bu = Unsqueeze(b, ax) name=\"/gn/Unsqueeze_1\"; y = Add(m, bu) name=\"/gn/Add\"; -> y",
      "group_norm(x,3,w,b,0.01,T)");
}

/* ---- attention ---- */

#define SDPA_HEAD                                                                                                                   \
  "q: float[2,4,8,16]; k: float[2,4,8,16]; v: float[2,4,8,16]; s = Constant() value=float[]{0.5}; t = Transpose(k) perm=[0,1,3,2] " \
  "name=\"/Transpose\";"                                                                                                            \
  "a = Mul(q, s) name=\"/Mul\"; b = Mul(t, s) name=\"/Mul_1\"; m = MatMul(a, b) name=\"/MatMul\";"

static void sdpa_scales_both_operands(void **state) {
  (void)state;
  test_expect_calls(SDPA_HEAD "p = Softmax(m) axis=-1 name=\"/Softmax\"; y = MatMul(p, v) name=\"/MatMul_1\"; -> y",
         "scaled_dot_product_attention(q,k,v,none,0,F,none,F)");
  test_expect_calls(SDPA_HEAD
         "mask: float[2,1,8,8]; n = Add(m, mask) name=\"/Add\"; p = Softmax(n) axis=-1 name=\"/Softmax\"; r = Constant() value=float[]{0.25};"
         "d = Dropout(p, r) name=\"/Dropout\"; y = MatMul(d, v) name=\"/MatMul_1\"; -> y",
         "scaled_dot_product_attention(q,k,v,mask,0.25,F,none,F)");
  test_expect_calls(SDPA_HEAD
         "mask: bool[2,1,8,8]; zero = Constant() value=float[1]{0}; no = Constant() value=float[1]{-inf}; w = Where(mask, zero, no) name=\"/Where\";"
         "n = Add(m, w) name=\"/Add\"; p = Softmax(n) axis=-1 name=\"/Softmax\"; y = MatMul(p, v) name=\"/MatMul_1\"; -> y",
         "scaled_dot_product_attention(q,k,v,mask,0,F,none,F)");
}

/* k was held as (batch, heads, size, length) and swapped for the call: the exporter swaps it back, and neither leaves a node */
static void a_key_may_have_been_swapped_before(void **state) {
  (void)state;
  test_expect_calls("q: float[2,4,8,16]; k: float[2,4,16,8]; v: float[2,4,8,16]; s = Constant() value=float[]{0.5}; a = Mul(q, s) name=\"/Mul\"; b = Mul(k, s) name=\"/Mul_1\";"
         "m = MatMul(a, b) name=\"/MatMul\"; p = Softmax(m) axis=-1 name=\"/Softmax\"; y = MatMul(p, v) name=\"/MatMul_1\"; -> y",
         "permute(k,0x1x3x2) scaled_dot_product_attention(q,%,v,none,0,F,none,F)");
}

/* attention's shape on more dimensions than a tensor on the device has */
static void ten_dimensions_are_refused(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  mp_err err = {0};
  size_t n;
#define TEN "float[1,1,1,1,1,1,1,1,4,4]"
  const uint8_t *bytes = test_model(a, "q: " TEN "; k: " TEN "; v: " TEN "; s = Constant() value=float[]{0.5}; a = Mul(q, s) name=\"/Mul\"; b = Mul(k, s) name=\"/Mul_1\";"
                                       "m = MatMul(a, b) name=\"/MatMul\"; p = Softmax(m) axis=-1 name=\"/Softmax\"; y = MatMul(p, v) name=\"/MatMul_1\"; -> y", &n);
  assert_null(mp_program_recover(a, mp_graph_build(a, mp_model_read_memory(a, "drawing", bytes, n, &err), NULL, &err), &err));
  assert_int_equal(err.code, MP_BAD_INPUT);
  mp_arena_free(a);
}

static void a_constant_triangle_is_the_causal_flag(void **state) {
  (void)state;
  test_expect_calls(SDPA_HEAD
         "one = Constant() value=float[1]{1}; zero = Constant() value=float[1]{0}; no = Constant() value=float[1]{-inf}; to = Constant() "
         "value=int64[2]{8,8};"
         "e = Expand(one, to) name=\"/Expand\"; l = Trilu(e) upper=0 name=\"/Trilu\"; c = Equal(l, zero) name=\"/Equal\"; w = Where(c, no, zero) "
         "name=\"/Where\";"
         "n = Add(m, w) name=\"/Add\"; p = Softmax(n) axis=-1 name=\"/Softmax\"; y = MatMul(p, v) name=\"/MatMul_1\"; -> y",
         "scaled_dot_product_attention(q,k,v,none,0,T,none,F)");
}

/* torch.where(allowed, torch.tensor(0.0, dtype=x.dtype), lowest): under autocast a projected x is in half precision, and so is the mask that it is given */
static void a_mask_has_the_type_of_the_latest_result(void **state) {
  (void)state;
  const char *drawing =
      "x: float[2,4,4]; ok: bool[2,4,4]; w = float[4,4]; t = Transpose(w) perm=[1,0] name=\"/fc/Transpose\"; h = MatMul(x, t) name=\"/fc/MatMul\"; zero = Constant() value=float[]{0};"
      "low = Constant() value=float[]{-3e38}; m = Where(ok, zero, low) name=\"/Where\"; y = Add(h, m) name=\"/Add\"; -> y";
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered(a, drawing);
  assert_string_equal(p->calls[1].row->name, "aten::new_full");
  assert_int_equal(p->calls[1].args[0].as.var, p->calls[0].outs[0]);
  mp_arena_free(a);
}

/* x[:, 0:2] = y: the exporter writes a grid of places, which follow from sizes alone; a grid that was computed is an index_put */
static void a_written_slice_is_no_index_put(void **state) {
  (void)state;
  test_expect_calls("x: float[2,2]; y: float[2,1]; at = Constant() value=int64[2,1,2]{0,0,1,0}; z = ScatterND(x, at, y) name=\"/ScatterND\"; -> z", "slice_scatter_(x,y)");
  test_expect_calls("x: float[2,2]; y: float[2,1]; at: int64[2,1,2]; z = ScatterND(x, at, y) name=\"/ScatterND\"; -> z", "index_put(x,at,y)");
}

/* the noise of a dropped path has the type of the path: half under autocast behind a product */
static void a_dropped_path_has_the_type_of_the_path(void **state) {
  (void)state;
  test_expect_calls("x: float[2,4]; w = float[4,4]; t = Transpose(w) perm=[1,0] name=\"/fc/Transpose\"; h = MatMul(x, t) name=\"/fc/MatMul\"; s = Constant() value=int64[2]{2,1}; p = Constant() value=float[]{0.9};"
         "e = ConstantOfShape(s) name=\"/d/ConstantOfShape\"; u = RandomUniformLike(e) name=\"/d/RandomUniformLike\"; l = Less(u, p) name=\"/d/Less\"; c = Cast(l) to=1 name=\"/d/Cast\";"
         "n = Div(c, p) name=\"/d/Div\"; y = Mul(h, n) name=\"/d/Mul\"; -> y",
         "linear(x,w) new_empty(%,2x1) bernoulli_(%,0.9) div_(%,0.9) mul(%,%)");
}

/* F.linear(x, w, cat([q, v])): the bias is put together */
static void a_linear_layer_may_put_its_bias_together(void **state) {
  (void)state;
  test_expect_calls(
      "x: float[2,4]; w = float[6,4]; q = float[3]; v = float[3]; b = Concat(q, v) axis=0 name=\"/Concat\"; t = Transpose(w) perm=[1,0] name=\"/Transpose\";"
      "m = MatMul(x, t) name=\"/MatMul\"; y = Add(b, m) name=\"/Add\"; -> y",
      "cat(q+v,0) linear(x,w,%)");
}

/* sin(position * frequencies): frequencies are no parameter */
static void frequencies_are_a_buffer(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered(a, "i: float[6,1]; r.inv_freq = float[4]; w = float[4]; f = Mul(i, r.inv_freq) name=\"/Mul\"; s = Sin(f) name=\"/Sin\"; y = Mul(s, w) name=\"/Mul_1\"; -> y");
  assert_int_equal(test_var_named(p, "r.inv_freq")->role, MP_ROLE_BUFFER);
  assert_int_equal(test_var_named(p, "w")->role, MP_ROLE_PARAMETER);
  mp_arena_free(a);
}

/* mse_loss(x, z) broadcasts; the tracer hands what it made of x to whatever reads x later */
static void what_a_loss_broadcast_may_be_read_by_others(void **state) {
  (void)state;
  test_expect_calls("x: float[2,4]; z: float[2,4]; n = Constant() value=int64[2]{2,4}; a = Expand(x, n) name=\"/Expand\"; b = Expand(z, n) name=\"/Expand_1\"; d = Sub(a, b) name=\"/Sub\"; e = Sub(a, b) name=\"/Sub_1\";"
         "q = Mul(d, e) name=\"/Mul\"; m = ReduceMean(q) keepdims=0 name=\"/ReduceMean\"; s = Exp(a) name=\"/Exp\"; -> m, s",
         "expand(x,2x4) mse_loss(x,z,1) exp(%)");
}

/* cos[:2] * x, a mask that is compared, and a weight that happens to be called like a table */
static void tables_are_buffers(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered(
      a, "x: float[2,4]; freqs_cos = float[6,4]; h.bias = float[8,4]; mask.weight = float[4]; pos = float[6,4]; b = Constant() value=int64[1]{0}; e = Constant() value=int64[1]{2}; z = Constant() value=float[]{0};"
         "c = Slice(freqs_cos, b, e) name=\"/Slice\"; q = Mul(x, c) name=\"/Mul\"; m = Slice(h.bias, b, e) name=\"/h/Slice\"; no = Equal(m, z) name=\"/h/Equal\"; u = Where(no, z, q) name=\"/h/Where\";"
         "k = Mul(u, mask.weight) name=\"/n/Mul\"; t = Slice(pos, b, e) name=\"/Slice_1\"; y = Add(k, t) name=\"/Add\"; -> y");
  assert_int_equal(test_var_named(p, "freqs_cos")->role, MP_ROLE_BUFFER);
  assert_int_equal(test_var_named(p, "h.bias")->role, MP_ROLE_BUFFER);
  assert_int_equal(test_var_named(p, "mask.weight")->role, MP_ROLE_PARAMETER);
  assert_int_equal(test_var_named(p, "pos")->role, MP_ROLE_PARAMETER);
  mp_arena_free(a);
}

/* (x * mask.to(x.dtype)) @ w: with a float32 mask it would not run in half precision */
static void a_mask_is_cast_to_what_half_precision_accepts(void **state) {
  (void)state;
  const char *drawing =
      "x: float[2,4]; m: int64[2,4]; w = float[4,4]; t = Transpose(w) perm=[1,0] name=\"/fc/Transpose\"; c = Cast(m) to=1 name=\"/Cast\"; h = Mul(x, c) name=\"/Mul\";"
      "y = MatMul(h, t) name=\"/fc/MatMul\"; -> y";
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered(a, drawing);
  assert_string_equal(test_calls_text(a, p), "type_as(m,w) mul(x,%) linear(%,w)");
  assert_true(test_program_warned(p, "in half precision 1 casts"));
  mp_arena_free(a);
  /* a float32 table that nothing strict reads is what the program says */
  test_expect_calls("x: float[2,4]; m: int64[2,4]; w = float[2,4]; c = Cast(m) to=1 name=\"/Cast\"; h = Mul(x, c) name=\"/Mul\"; y = Add(h, w) name=\"/Add\"; -> y", "to(m,float32) mul(x,%) add(%,w)");
}

#define NORM                                                                                                                                                 \
  "x: float[2,4]; n.weight = float[4]; fc.weight = float[4,4]; two = Constant() value=float[]{2}; ax = Constant() value=int64[1]{-1}; c = Cast(x) to=1 name=\"/n/Cast\";" \
  "s = Pow(c, two) name=\"/n/Pow\"; v = ReduceMean(s) axes=[-1] name=\"/n/ReduceMean\"; d = Mul(c, v) name=\"/n/Mul\";"
#define READ "t = Transpose(fc.weight) perm=[1,0] name=\"/fc/Transpose\"; y = MatMul(z, t) name=\"/fc/MatMul\"; -> y"
/* what follows x.float() / rms(x) in a norm: weight * _.to(x.dtype), (weight * _).to(x.dtype), (_ * (1 + weight.float())).type_as(x) whose last cast is not in the file */
static void a_norm_in_float32_ends_in_a_cast(void **state) {
  (void)state;
  test_expect_calls(NORM "b = Cast(d) to=1 name=\"/n/Cast_1\"; z = Mul(n.weight, b) name=\"/n/Mul_1\";" READ,
         "to(x,float32) pow(%,2) mean(%,-1,T) mul(%,%) type_as(%,x) mul(n.weight,%) linear(%,fc.weight)");
  test_expect_calls(NORM "e = Mul(n.weight, d) name=\"/n/Mul_1\"; z = Cast(e) to=1 name=\"/n/Cast_1\";" READ,
         "to(x,float32) pow(%,2) mean(%,-1,T) mul(%,%) mul(n.weight,%) type_as(%,x) linear(%,fc.weight)");
  test_expect_calls(NORM "f = Cast(n.weight) to=1 name=\"/n/Cast_1\"; one = Constant() value=float[]{1}; g = Add(f, one) name=\"/n/Add\"; z = Mul(d, g) name=\"/n/Mul_1\";" READ,
         "to(x,float32) pow(%,2) mean(%,-1,T) mul(%,%) to(n.weight,float32) add(%,1) mul(%,%) type_as(%,x) linear(%,fc.weight)");
  /* .type_as(x), which leaves no node; a layer norm after T5 casts for the square alone */
  test_expect_calls(NORM "z = Mul(n.weight, d) name=\"/n/Mul_1\";" READ, "to(x,float32) pow(%,2) mean(%,-1,T) mul(%,%) type_as(%,x) mul(n.weight,%) linear(%,fc.weight)");
  test_expect_calls("x: float[2,4]; w = float[4]; two = Constant() value=float[]{2}; c = Cast(x) to=1 name=\"/layer_norm/Cast\"; s = Pow(c, two) name=\"/layer_norm/Pow\"; v = ReduceMean(s) axes=[-1] name=\"/layer_norm/ReduceMean\";"
         "d = Mul(c, v) name=\"/layer_norm/Mul\"; y = Mul(w, d) name=\"/layer_norm/Mul_1\"; -> y",
         "to(x,float32) pow(%,2) mean(%,-1,T) mul(x,%) type_as(%,w) mul(w,%)");
}

/* F.layer_norm(x.float(), ...).type_as(x) in a module of its own */
static void a_layer_norm_may_be_given_a_float(void **state) {
  (void)state;
  test_expect_calls("x: float[2,4]; n.weight = float[4]; n.bias = float[4]; c = Cast(x) to=1 name=\"/n/Cast\"; w = Cast(n.weight) to=1 name=\"/n/Cast_1\"; b = Cast(n.bias) to=1 name=\"/n/Cast_2\";"
                    "l = LayerNormalization(c, w, b) name=\"/n/LayerNormalization\"; z = Cast(l) to=1 name=\"/n/Cast_3\"; y = Add(z, c) name=\"/Add\"; -> y",
                    "to(x,float32) to(n.weight,float32) to(n.bias,float32) layer_norm(%,4,%,%,1e-05,T) type_as(%,x) add(%,x)");
}

/* softmax(x.float()) */
static void a_softmax_may_be_given_a_float(void **state) {
  (void)state;
  test_expect_calls("x: float[2,4]; v: float[4,3]; c = Cast(x) to=1 name=\"/Cast\"; p = Softmax(c) axis=-1 name=\"/Softmax\"; b = Cast(p) to=1 name=\"/Cast_1\"; y = MatMul(b, v) name=\"/MatMul\"; -> y",
         "to(x,float32) softmax(%,-1,none) type_as(%,v) matmul(%,v)");
}

/* k.view(...).transpose(1, 2).transpose(-1, -2) is one Transpose in the file */
static void written_out_attention_stays_written_out(void **state) {
  (void)state;
  test_expect_calls(
      "q: float[2,4,8,16]; k: float[2,8,4,16]; v: float[2,4,8,16]; s = Constant() value=float[]{0.25}; t = Transpose(k) perm=[0,2,3,1] "
      "name=\"/Transpose\";"
      "m = MatMul(q, t) name=\"/MatMul\"; a = Mul(m, s) name=\"/Mul\"; p = Softmax(a) axis=-1 name=\"/Softmax\"; c = Cast(p) to=1 name=\"/Cast\";"
      "d = Cast(c) to=1 name=\"/Cast_1\"; r = Constant() value=float[]{0.1}; on = Constant() value=bool[]{1}; o, mk = Dropout(d, r, on) "
      "name=\"/Dropout\";"
      "y = MatMul(o, v) name=\"/MatMul_1\"; -> y",
      "transpose(k,1,2) transpose(%,2,3) matmul(q,%) mul(%,0.25) softmax(%,-1,float32) type_as(%,v) dropout(%,0.1,T) matmul(%,v)");
}

/* ---- indices ---- */

/* index_add is written as the sum of what it adds to and what is scattered into zeros */
static void index_add_is_one_call(void **state) {
  (void)state;
  test_expect_calls("x: float[3,2]; w = float[4,2]; t: int64[3,1]; s = Constant() value=int64[2]{3,2}; z = Constant() value=float[4,2]{0,0,0,0,0,0,0,0}; i = Expand(t, s) name=\"/Expand\"; e = Expand(x, s) name=\"/Expand_1\";"
                    "q = ScatterElements(z, i, e) axis=0 name=\"/ScatterElements\"; y = Add(w, q) name=\"/Add\"; -> y",
                    "index_add(w,0,t,x)");
}

/* ---- what Python did ---- */

static void shapes_and_numbers_are_no_calls(void **state) {
  (void)state;
  test_expect_calls(
      "x: float[2,3,8]; s = Shape(x) name=\"/Shape\"; i = Constant() value=int64[]{0}; g = Gather(s, i) axis=0 name=\"/Gather\"; ax = Constant() "
      "value=int64[1]{0};"
      "u = Unsqueeze(g, ax) name=\"/Unsqueeze\"; r = Constant() value=int64[1]{-1}; c = Concat(u, r) axis=0 name=\"/Concat\"; y = Reshape(x, c) "
      "name=\"/Reshape\"; -> y",
      "reshape(x,2x24)");
}

static void an_arange_is_made_on_the_device(void **state) {
  (void)state;
  test_expect_calls(
      "ids: int64[2,6]; e = float[10,4]; s = Shape(ids) name=\"/Shape\"; i = Constant() value=int64[]{1}; n = Gather(s, i) axis=0 name=\"/Gather\";"
      "z = Constant() value=int64[]{0}; one = Constant() value=int64[]{1}; r = Range(z, n, one) name=\"/Range\"; y = Gather(e, r) "
      "name=\"/pos/Gather\"; -> y",
      "arange(6,int64) embedding(e,%)");
  test_expect_calls(
      "x: float[2,3]; e = float[10,4]; r = Constant() value=int64[5]{0,1,2,3,4}; y = Gather(e, r) name=\"/pos/Gather\"; z = Exp(x) name=\"/Exp\"; -> "
      "y, z",
      "arange(5,int64) embedding(e,%) exp(x)");
}

static void slices_by_axis(void **state) {
  (void)state;
  test_expect_calls(
      "x: float[2,6,8]; s = Constant() value=int64[2]{0,1}; e = Constant() value=int64[2]{99,5}; ax = Constant() value=int64[2]{0,1};"
      "y = Slice(x, s, e, ax) name=\"/Slice\"; -> y",
      "slice(x,1,1,5,1)");
  test_expect_calls(
      "x: float[2,6]; s = Constant() value=int64[1]{-1}; e = Constant() value=int64[1]{-99}; ax = Constant() value=int64[1]{1}; st = Constant() "
      "value=int64[1]{-1};"
      "y = Slice(x, s, e, ax, st) name=\"/Slice\"; -> y",
      "flip(x,1)");
}

static void same_padding_of_an_even_kernel_pads_first(void **state) {
  (void)state;
  test_expect_calls("x: float[2,3,8,8]; w = float[5,3,4,4]; y = Conv(x, w) auto_pad=\"SAME_UPPER\" kernel_shape=[4,4] name=\"/c/Conv\"; -> y",
         "constant_pad_nd(x,0x1x0x1,0) conv2d(%,w,none,1x1,1x1,1x1,1)");
}

/* (x - u).pow(2).mean(1) and (x - u) / sqrt(s + eps): the exporter merges both differences; over the rows of a matrix it is not known who wrote what */
static void a_norm_over_channels_takes_the_difference_twice(void **state) {
  (void)state;
  const char *drawing = "x: float[%s]; two = Constant() value=float[]{2}; eps = Constant() value=float[]{0.000001}; u = ReduceMean(x) axes=[1] keepdims=1 name=\"/n/ReduceMean\"; d = Sub(x, u) name=\"/n/Sub\";"
                        "q = Pow(d, two) name=\"/n/Pow\"; v = ReduceMean(q) axes=[1] keepdims=1 name=\"/n/ReduceMean_1\"; a = Add(v, eps) name=\"/n/Add\"; s = Sqrt(a) name=\"/n/Sqrt\"; y = Div(d, s) name=\"/n/Div\"; -> y";
  char text[768];
  snprintf(text, sizeof text, drawing, "2,3,4,4");
  test_expect_calls(text, "mean(x,1,T) sub(x,%) pow(%,2) mean(%,1,T) sub(x,%) add(%,1e-06) sqrt(%) div(%,%)");
  snprintf(text, sizeof text, drawing, "2,3");
  test_expect_calls(text, "mean(x,1,T) sub(x,%) pow(%,2) mean(%,1,T) add(%,1e-06) sqrt(%) div(%,%)");
}

/* a parameter over its norm, times another; over the middle of three dimensions it is no fused call */
static void weight_norm_is_one_call(void **state) {
  (void)state;
  const char *drawing = "x: float[2,3,8]; v = float[5,3,4]; g = float[%s]; n = ReduceL2(v) axes=[%s] keepdims=1 name=\"/c/w/ReduceL2\"; d = Div(v, n) name=\"/c/w/Div\"; w = Mul(d, g) name=\"/c/w/Mul\";"
                        "y = Conv(x, w) name=\"/c/Conv\"; -> y";
  char text[512];
  snprintf(text, sizeof text, drawing, "5,1,1", "1,2");
  test_expect_calls(text, "_weight_norm_interface(v,g,0) conv1d(x,%,none,1,0,1,1)");
  snprintf(text, sizeof text, drawing, "1,1,4", "0,1");
  test_expect_calls(text, "_weight_norm_interface(v,g,2) conv1d(x,%,none,1,0,1,1)");
  snprintf(text, sizeof text, drawing, "1,3,1", "0,2");
  test_expect_calls(text, "linalg_vector_norm(v,2,0x2,T) div(v,%) mul(%,g) conv1d(x,%,none,1,0,1,1)");
}

/* an activation of a sequence is out of place, of an image in place */
static void sequences_are_activated_out_of_place(void **state) {
  (void)state;
  test_expect_calls("x: float[2,3,8]; w = float[5,3,4]; c = Conv(x, w) name=\"/c/Conv\"; y = Relu(c) name=\"/r/Relu\"; -> y", "conv1d(x,w,none,1,0,1,1) relu(%)");
}

/* ---- modules ---- */

/* self.transformer = nn.ModuleDict(...) has no scope; what /h.0/fc reads names it. A module that no weight is read in stays where its scope says, one whose weights disagree too. */
static void weights_name_a_container_without_a_scope(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered(a, "x: float[2,4]; transformer.h.0.fc.weight = float[4,4]; head.weight = float[4,4]; one.n.weight = float[4,4]; two.n.weight = float[4,4];"
                                          "a = Gemm(x, transformer.h.0.fc.weight) transB=1 name=\"/h.0/fc/Gemm\"; b = Relu(a) name=\"/h.0/act/Relu\"; c = Tanh(b) name=\"/drop/Tanh\";"
                                          "d = Gemm(c, one.n.weight) transB=1 name=\"/n/Gemm\"; e = Gemm(d, two.n.weight) transB=1 name=\"/n/Gemm_1\"; y = Gemm(e, head.weight) transB=1 name=\"/head/Gemm\"; -> y");
  static const char *const paths[] = {"transformer.h.0.fc", "transformer.h.0.act", "drop", "n", "n", "head"};
  for (uint32_t i = 0; i < p->call_count; i++) assert_string_equal(p->instances[p->calls[i].module].path, paths[i]);
  assert_int_equal(p->call_count, 6);
  mp_arena_free(a);
}

static void scopes_become_modules(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p = test_recovered(a,
                                  "x: float[2,4]; a = Relu(x) name=\"/net/net.0/relu/Relu\"; b = Tanh(a) name=\"/net/net.0/Tanh\"; y = Relu(b) "
                                  "name=\"/net/net.0/relu_1/Relu\"; -> y");
  assert_string_equal(p->instances[p->calls[0].module].path, "net.0.relu");
  assert_string_equal(p->instances[p->calls[1].module].path, "net.0");
  assert_string_equal(p->instances[p->calls[2].module].path, "net.0.relu");
  assert_int_equal(p->instances[p->calls[2].module].turn, 1);
  assert_string_equal(p->instances[1].path, "net");
  mp_arena_free(a);
}

static void a_module_may_be_named_with_a_number(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  const mp_program *p =
      test_recovered(a,
                "x: float[2,4]; fc.weight = float[4,4]; fc.bias = float[4]; fc_1.weight = float[4,4]; fc_1.bias = float[4];"
                "a = Gemm(x, fc.weight, fc.bias) transB=1 name=\"/fc/Gemm\"; y = Gemm(a, fc_1.weight, fc_1.bias) transB=1 name=\"/fc_1/Gemm\"; -> y");
  assert_string_equal(p->instances[p->calls[1].module].path, "fc_1");
  mp_arena_free(a);
}

/* ---- habits ---- */

static void image_networks_write_in_place(void **state) {
  (void)state;
  const char *conv =
      "x: float[2,3,8,8]; w = float[3,3,3,3]; c = Conv(x, w) pads=[1,1,1,1] name=\"/c/Conv\"; r = Relu(c) name=\"/r/Relu\";"
      "d = Conv(r, w) pads=[1,1,1,1] name=\"/d/Conv\";";
  char text[1024];
  snprintf(text, sizeof text, "%s a = Add(d, r) name=\"/Add\"; y = Relu(a) name=\"/s/Relu\"; -> y", conv);
  test_expect_calls(text, "conv2d(x,w,none,1x1,1x1,1x1,1) relu_(%) conv2d(%,w,none,1x1,1x1,1x1,1) add_(%,%) relu_(%)");
  snprintf(text, sizeof text, "%s a = Add(r, d) name=\"/Add\"; y = Relu(a) name=\"/s/Relu\"; -> y", conv);
  test_expect_calls(text, "conv2d(x,w,none,1x1,1x1,1x1,1) relu_(%) conv2d(%,w,none,1x1,1x1,1x1,1) add(%,%) relu_(%)");
  /* behind a shortcut only a ReLU is written so */
  snprintf(text, sizeof text, "%s a = Add(d, r) name=\"/Add\"; y = LeakyRelu(a) alpha=0.1 name=\"/s/LeakyRelu\"; -> y", conv);
  test_expect_calls(text, "conv2d(x,w,none,1x1,1x1,1x1,1) relu_(%) conv2d(%,w,none,1x1,1x1,1x1,1) add_(%,%) leaky_relu(%,0.1)");
  test_expect_calls("x: float[2,3,8,8]; w = float[3,3,3,3]; g = float[3]; b = float[3]; c = Conv(x, w) pads=[1,1,1,1] name=\"/c/Conv\"; n = InstanceNormalization(c, g, b) name=\"/n/InstanceNormalization\";"
         "y = Relu(n) name=\"/r/Relu\"; -> y",
         "conv2d(x,w,none,1x1,1x1,1x1,1) instance_norm(%,g,b,none,none,T,0.1,1e-05,T) relu_(%)");
}

/* A dropout of p = 0 passes its operand on. A module has one flag: it writes behind the shortcut, too, where it does elsewhere. LeakyReLU behind a norm does in any network. */
static void one_module_writes_everywhere(void **state) {
  (void)state;
#define MAPS "x: float[2,3,8,8]; w = float[3,3,3,3]; g = float[3]; b = float[3]; c = Conv(x, w) pads=[1,1,1,1] name=\"/c/Conv\"; n = InstanceNormalization(c, g, b) name=\"/n/InstanceNormalization\";"
#define IN_NORMED "conv2d(x,w,none,1x1,1x1,1x1,1) instance_norm(%,g,b,none,none,T,0.1,1e-05,T) "
  test_expect_calls(MAPS "p = Constant() value=float[]{0}; t = Constant() value=bool[]{1}; d = Dropout(n, p, t) name=\"/d/Dropout\"; y = Relu(d) name=\"/r/Relu\"; -> y", IN_NORMED "dropout(%,0,T) relu_(%)");
  test_expect_calls(MAPS "r = LeakyRelu(n) alpha=0.1 name=\"/r/LeakyRelu\"; d = Conv(r, w) pads=[1,1,1,1] name=\"/d/Conv\"; a = Add(d, r) name=\"/Add\"; y = LeakyRelu(a) alpha=0.1 name=\"/r_1/LeakyRelu\"; -> y",
                    IN_NORMED "leaky_relu_(%,0.1) conv2d(%,w,none,1x1,1x1,1x1,1) add_(%,%) leaky_relu_(%,0.1)");
  test_expect_calls(MAPS "v = float[8,8]; y = LeakyRelu(n) alpha=0.1 name=\"/r/LeakyRelu\"; z = MatMul(y, v) name=\"/l/MatMul\"; q = MatMul(z, v) name=\"/l_1/MatMul\"; -> q",
                    IN_NORMED "leaky_relu_(%,0.1) matmul(%,v) matmul(%,v)");
}

/* view(n, h, w, c).permute(0, 3, 1, 2).contiguous(), whose last call leaves no trace; maps that were never tokens are only turned, and such as are pooled to be tokens again */
static void tokens_become_maps_in_plain_order(void **state) {
  (void)state;
  test_expect_calls("x: float[2,64,3]; w = float[3,3,3,3]; s = int64[4]{2,8,8,3}; v = Reshape(x, s) name=\"/Reshape\"; t = Transpose(v) perm=[0,3,1,2] name=\"/Transpose\";"
                    "y = Conv(t, w) pads=[1,1,1,1] name=\"/c/Conv\"; -> y",
                    "reshape(x,2x8x8x3) permute(%,0x3x1x2) contiguous(%) conv2d(%,w,none,1x1,1x1,1x1,1)");
  test_expect_calls("x: float[2,8,8,3]; w = float[3,3,3,3]; t = Transpose(x) perm=[0,3,1,2] name=\"/Transpose\"; y = Conv(t, w) pads=[1,1,1,1] name=\"/c/Conv\"; -> y",
                    "permute(x,0x3x1x2) conv2d(%,w,none,1x1,1x1,1x1,1)");
  test_expect_calls("x: float[2,64,3]; s = int64[4]{2,8,8,3}; v = Reshape(x, s) name=\"/Reshape\"; t = Transpose(v) perm=[0,3,1,2] name=\"/Transpose\"; y = MaxPool(t) kernel_shape=[2,2] strides=[2,2] name=\"/p/MaxPool\"; -> y",
                    "reshape(x,2x8x8x3) permute(%,0x3x1x2) max_pool2d(%,2x2,2x2,0x0,1x1,F)");
}

/* a student before a teacher's distribution: kl_div is written out, and what leads to its target alone is the teacher's */
static void a_teacher_has_no_gradient(void **state) {
  (void)state;
  test_expect_calls("x: float[2,4]; w = float[4,4]; v = float[4,4]; s = Gemm(x, w) transB=1 name=\"/s/Gemm\"; o = LogSoftmax(s) axis=1 name=\"/LogSoftmax\"; t = Gemm(x, v) transB=1 name=\"/t/Gemm\";"
         "p = Softmax(t) axis=1 name=\"/Softmax\"; l = Log(p) name=\"/Log\"; d = Sub(l, o) name=\"/Sub\"; m = Mul(p, d) name=\"/Mul\"; z = Constant() value=float[]{0}; g = Greater(p, z) name=\"/Greater\";"
         "n = Shape(m) name=\"/Shape\"; c = ConstantOfShape(n) name=\"/ConstantOfShape\"; k = Where(g, m, c) name=\"/Where\"; y = ReduceSum(k) keepdims=0 name=\"/ReduceSum\"; -> y",
         "linear(x,w) log_softmax(%,1,none) linear'(x,v) softmax'(%,1,none) kl_div(%,%,2)");
}

static void a_target_has_no_gradient(void **state) {
  (void)state;
  test_expect_calls(
      "x: float[2,4]; w = float[4,4]; p = Gemm(x, w) transB=1 name=\"/a/Gemm\"; t = Gemm(p, w) transB=1 name=\"/b/Gemm\"; s = Shape(p) "
      "name=\"/Shape\";"
      "e = Expand(p, s) name=\"/Expand\"; f = Expand(t, s) name=\"/Expand_1\"; d = Sub(e, f) name=\"/Sub\"; g = Sub(e, f) name=\"/Sub_1\"; m = "
      "Mul(d, g) name=\"/Mul\";"
      "y = ReduceMean(m) keepdims=0 name=\"/ReduceMean\"; -> y",
      "linear(x,w) linear'(%,w) mse_loss(%,%,1)");
  /* mse_loss(noise, prediction): the prediction stands second */
  test_expect_calls("n: float[2,4]; x: float[2,4]; w = float[4,4]; p = Gemm(x, w) transB=1 name=\"/a/Gemm\"; s = Shape(n) name=\"/Shape\"; e = Expand(n, s) name=\"/Expand\"; f = Expand(p, s) name=\"/Expand_1\";"
                    "d = Sub(e, f) name=\"/Sub\"; g = Sub(e, f) name=\"/Sub_1\"; m = Mul(d, g) name=\"/Mul\";"
                    "y = ReduceMean(m) keepdims=0 name=\"/ReduceMean\"; -> y",
                    "linear(x,w) mse_loss(n,%,1)");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_linear_layer_is_three_nodes_and_its_bias_comes_first),
      cmocka_unit_test(gelu_is_one_call_and_its_parts_are_five),
      cmocka_unit_test(a_pattern_does_not_swallow_what_others_read),
      cmocka_unit_test(silu_is_a_module_or_two_calls),
      cmocka_unit_test(a_squared_relu_is_a_power_in_a_module_of_its_own),
      cmocka_unit_test(rsqrt_is_a_quotient_with_a_root),
      cmocka_unit_test(layer_norm_before_opset_17_leaves_keepdims_out),
      cmocka_unit_test(batch_norm_has_buffers_and_a_counter),
      cmocka_unit_test(an_inference_export_trains_its_batch_norms),
      cmocka_unit_test(group_norm_is_an_instance_norm_between_reshapes),
      cmocka_unit_test(sdpa_scales_both_operands),
      cmocka_unit_test(a_key_may_have_been_swapped_before),
      cmocka_unit_test(ten_dimensions_are_refused),
      cmocka_unit_test(a_constant_triangle_is_the_causal_flag),
      cmocka_unit_test(a_mask_has_the_type_of_the_latest_result),
      cmocka_unit_test(a_written_slice_is_no_index_put),
      cmocka_unit_test(a_dropped_path_has_the_type_of_the_path),
      cmocka_unit_test(a_linear_layer_may_put_its_bias_together),
      cmocka_unit_test(frequencies_are_a_buffer),
      cmocka_unit_test(tables_are_buffers),
      cmocka_unit_test(what_a_loss_broadcast_may_be_read_by_others),
      cmocka_unit_test(a_mask_is_cast_to_what_half_precision_accepts),
      cmocka_unit_test(a_norm_in_float32_ends_in_a_cast),
      cmocka_unit_test(a_layer_norm_may_be_given_a_float),
      cmocka_unit_test(a_softmax_may_be_given_a_float),
      cmocka_unit_test(written_out_attention_stays_written_out),
      cmocka_unit_test(shapes_and_numbers_are_no_calls),
      cmocka_unit_test(an_arange_is_made_on_the_device),
      cmocka_unit_test(slices_by_axis),
      cmocka_unit_test(same_padding_of_an_even_kernel_pads_first),
      cmocka_unit_test(a_norm_over_channels_takes_the_difference_twice),
      cmocka_unit_test(weight_norm_is_one_call),
      cmocka_unit_test(sequences_are_activated_out_of_place),
      cmocka_unit_test(scopes_become_modules),
      cmocka_unit_test(weights_name_a_container_without_a_scope),
      cmocka_unit_test(a_module_may_be_named_with_a_number),
      cmocka_unit_test(image_networks_write_in_place),
      cmocka_unit_test(one_module_writes_everywhere),
      cmocka_unit_test(tokens_become_maps_in_plain_order),
      cmocka_unit_test(a_target_has_no_gradient),
      cmocka_unit_test(a_teacher_has_no_gradient),
      cmocka_unit_test(index_add_is_one_call),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
