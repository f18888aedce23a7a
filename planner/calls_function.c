/* A torch.autograd.Function of one's own (own_functions.c). Its forward runs without gradients, by calls of the program; what it keeps, and how its backward goes, is in no file. Taken:
 * ctx.save_for_backward(*operands), and a derivative that has three tensors of the gradient's size at once, the result among them, or five where the forward is long. */
#include "planner/calls.h"
#include "planner/em.h"

static bool same_dims(const mp_tensor_info *a, const mp_tensor_info *b) {
  bool same = a->rank == b->rank;
  for (int d = 0; same && d < a->rank; d++) same = a->dims[d] == b->dims[d];
  return same;
}

static void function_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (g < 0) return;
  for (uint32_t k = 0; k < (uint32_t)mp_bw_meta(b)[0]; k++) {
    if (!mp_bw_wants(b, k)) continue;
    mp_ten d = mp_statement(e, mp_bw_meta(b)[1] > 4 ? "mul mul mul mul mul" : "mul mul mul", MP_TENS(g));
    if (!same_dims(mp_em_info(e, d), mp_bw_input(b, k))) d = mp_fresh_as(e, "aten::sum", mp_bw_input(b, k));
    mp_bw_give(b, k, d);
  }
}
static const mp_grad function_grad = {"FunctionBackward", function_backward};

/* Function(result, operands, calls of its forward): the result, which has a history now */
static void function(mp_em *e) {
  mp_ten in[MP_MAX_SAVED], y = mp_em_alias(e, mp_c_ten(e, 0));
  uint32_t n = mp_c_tens(e, 1, in, MP_MAX_SAVED);
  mp_record(e, &function_grad, in, n, in, n, MP_INTS(n, mp_c_int(e, 2, 0)), y);
  mp_c_out(e, 0, y);
}

static const mp_call_row rows[] = {{"autograd::Function", function, MP_CAST_NONE, "its operands: a torch.autograd.Function of the model's own, as far as is known"}};
const mp_call_table mp_calls_function = {rows, MP_COUNT(rows)};
