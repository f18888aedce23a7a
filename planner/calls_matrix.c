/* Rows of matrix products. */
#include "planner/calls.h"

static void linear(mp_em *e) { mp_c_out(e, 0, mp_op_linear(e, mp_c_ten(e, 0), mp_c_ten(e, 1), mp_c_ten(e, 2))); }
static void matmul(mp_em *e) { mp_c_out(e, 0, mp_op_matmul(e, mp_c_ten(e, 0), mp_c_ten(e, 1))); }
static void addmm(mp_em *e) { mp_c_out(e, 0, mp_op_addmm(e, mp_c_ten(e, 0), mp_c_ten(e, 1), mp_c_ten(e, 2))); }
static void mm(mp_em *e) { mp_c_out(e, 0, mp_op_mm(e, mp_c_ten(e, 0), mp_c_ten(e, 1))); }
static void bmm(mp_em *e) { mp_c_out(e, 0, mp_op_bmm(e, mp_c_ten(e, 0), mp_c_ten(e, 1))); }
static void mv(mp_em *e) { mp_c_out(e, 0, mp_op_mv(e, mp_c_ten(e, 0), mp_c_ten(e, 1))); }

/* baddbmm(self, batch1, batch2): like bmm with self added in the kernel; FunctionsManual: batch1, batch2, self */
static void back_baddbmm(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mp_op_bmm(e, g, mp_op_transpose(e, mp_bw_saved(b, 1), 1, 2)));
  if (mp_bw_wants(b, 2)) mp_bw_give(b, 2, mp_op_bmm(e, mp_op_transpose(e, mp_bw_saved(b, 0), 1, 2), g));
  mp_bw_give(b, 0, g);
}
static const mp_grad grad_baddbmm = {"BaddbmmBackward0", back_baddbmm};

static void baddbmm(mp_em *e) {
  mp_ten in[] = {mp_c_ten(e, 0), mp_c_ten(e, 1), mp_c_ten(e, 2)};
  const mp_tensor_info *x = mp_em_info(e, in[1]), *y = mp_em_info(e, in[2]);
  int64_t dims[] = {x->dims[0], x->dims[1], y->dims[2]};
  mp_ten r = mp_em_new(e, "aten::baddbmm", x->dtype, 3, dims);
  if (mp_fn_begin(e, &grad_baddbmm, in, 3)) {
    if (mp_em_needs(e, in[2])) mp_fn_save(e, 0, in[1]);
    if (mp_em_needs(e, in[1])) mp_fn_save(e, 1, in[2]);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  mp_c_out(e, 0, r);
}

static void back_dot(mp_em *e, mp_bw *b) { /* grad * the other */
  for (uint32_t k = 0; k < 2; k++)
    if (mp_bw_wants(b, k)) mp_bw_give(b, k, mp_kernel1(e, "aten::mul", mp_bw_saved(b, 1 - k)));
}
static const mp_grad grad_dot = {"DotBackward0", back_dot};

static void dot(mp_em *e) {
  mp_ten in[] = {mp_c_ten(e, 0), mp_c_ten(e, 1)}, r = mp_em_scalar(e, "aten::dot", mp_em_info(e, in[0])->dtype);
  if (mp_fn_begin(e, &grad_dot, in, 2)) {
    if (mp_em_needs(e, in[1])) mp_fn_save(e, 0, in[0]);
    if (mp_em_needs(e, in[0])) mp_fn_save(e, 1, in[1]);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  mp_c_out(e, 0, r);
}

/* grouped_mm(x (S, K), w (E, K, N), offsets (E)): rows of x by group times one matrix each. derivatives.yaml, _grouped_mm: each operand's gradient is laid out as the
 * operand, so that w's is its parameter's (native/GroupedMMUtils.h). */
static void back_grouped(mp_em *e, mp_bw *b) {
  for (uint32_t k = 0; k < 2; k++)
    if (mp_bw_wants(b, k)) mp_bw_give(b, k, mp_fresh_as(e, "aten::_grouped_mm", mp_em_info(e, mp_bw_saved(b, k))));
}
static const mp_grad grad_grouped = {"GroupedMmBackward0", back_grouped};

static void grouped(mp_em *e) {
  mp_ten in[] = {mp_c_ten(e, 0), mp_c_ten(e, 1)};
  const mp_tensor_info *x = mp_em_info(e, in[0]), *w = mp_em_info(e, in[1]);
  if (x->rank != 2 || w->rank != 3) mp_fail(mp_em_arena(e), MP_BAD_INPUT, "aten::_grouped_mm: a matrix and one for each group are expected, not %d and %d dimensions", x->rank, w->rank);
  int64_t dims[] = {x->dims[0], w->dims[2]};
  mp_ten r = mp_em_new(e, "aten::_grouped_mm", x->dtype, 2, dims);
  if (mp_fn_begin(e, &grad_grouped, in, 2)) {
    for (uint32_t k = 0; k < 2; k++) mp_fn_save(e, k, in[k]);
    if (mp_c_is_ten(e, 2)) mp_fn_save(e, 2, mp_c_ten(e, 2));
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  mp_c_out(e, 0, r);
}

static const mp_call_row rows[] = {
    {"aten::einsum", mp_call_einsum, MP_CAST_NONE, "both operands, contiguous in (batch, rows, columns): a bmm"},
    {"aten::linear", linear, MP_CAST_HALF, "its input, when the weight is trained; the weight by reference"},
    {"aten::matmul", matmul, MP_CAST_HALF, "each operand whose partner needs a gradient, contiguous (bmm copies what it cannot view as 3-D)"},
    {"aten::addmm", addmm, MP_CAST_HALF, "mat1 and mat2, each when the other needs a gradient"},
    {"aten::mm", mm, MP_CAST_HALF, "each operand whose partner needs a gradient"},
    {"aten::bmm", bmm, MP_CAST_HALF, "each operand whose partner needs a gradient"},
    {"aten::baddbmm", baddbmm, MP_CAST_HALF, "batch1 and batch2, each when the other needs a gradient"},
    {"aten::_grouped_mm", grouped, MP_CAST_NONE, "both operands and the offsets"},
    {"aten::dot", dot, MP_CAST_PROMOTE, "each vector whose partner needs a gradient"},
    {"aten::vdot", dot, MP_CAST_PROMOTE, "each vector whose partner needs a gradient"},
    {"aten::mv", mv, MP_CAST_HALF, "the matrix and the vector, each when the other needs a gradient"},
};
const mp_call_table mp_calls_matrix = {rows, sizeof rows / sizeof *rows};
