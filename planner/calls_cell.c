/* One step of a recurrent layer (LSTMCell, GRUCell, RNNCell): two linear layers and one fused kernel, which keeps its gates in a workspace. */
#include "planner/calls.h"

/* lstm_cell(x, states, w_ih, w_hh, b_ih, b_hh); inputs of the fused node: gates of x, gates of h, c, b_ih, b_hh */

static void fused_backward(mp_em *e, mp_bw *b, bool gru) {
  const char *op = gru ? "aten::_thnn_fused_gru_cell_backward" : "aten::_thnn_fused_lstm_cell_backward";
  if (mp_bw_grad(b, 0) < 0 && mp_bw_grad(b, 1) < 0) return;
  const mp_tensor_info *gates = mp_bw_input(b, 0), *state = mp_bw_input(b, 2);
  mp_ten gi = mp_fresh(e, op, gates->dtype, gates), gh = gru ? mp_fresh(e, op, mp_bw_input(b, 1)->dtype, mp_bw_input(b, 1)) : gi,
         gs = mp_fresh(e, op, state->dtype, state);
  mp_bw_give(b, 0, gi);
  mp_bw_give(b, 1, gh);
  mp_bw_give(b, 2, gs);
  mp_ten bias = -1;
  for (uint32_t k = 3; k < 5; k++) {
    if (!mp_bw_wants(b, k)) continue;
    const mp_tensor_info *i = mp_bw_input(b, k);
    if (bias < 0 || gru) bias = mp_fresh(e, op, i->dtype, i);
    mp_bw_give(b, k, bias);
  }
}
static void lstm_backward(mp_em *e, mp_bw *b) { fused_backward(e, b, false); }
static void gru_backward(mp_em *e, mp_bw *b) { fused_backward(e, b, true); }
static const mp_grad lstm_grad = {"ThnnFusedLstmCellBackward0", lstm_backward}, gru_grad = {"ThnnFusedGruCellBackward0", gru_backward};

static mp_ten workspace(mp_em *e, const char *op, const mp_tensor_info *state, int64_t times) {
  mp_tensor_info i = *state;
  if (!i.rank) mp_fail(mp_em_arena(e), MP_BAD_INPUT, "%s: a state without dimensions", op);
  i.dims[i.rank - 1] = mp_em_product(e, i.dims[i.rank - 1], times);
  mp_ten w = mp_em_new(e, op, i.dtype, i.rank, i.dims);
  mp_em_set_what(e, w, MP_WHAT_STATISTICS);
  return w;
}

static void lstm_cell(mp_em *e) {
  const char *op = "aten::_thnn_fused_lstm_cell";
  mp_ten state[2] = {-1, -1};
  size_t s = mp_em_enter(e);
  if (mp_c_tens(e, 1, state, 2) != 2) mp_fail(mp_em_arena(e), MP_BAD_INPUT, "aten::lstm_cell: expected the states (h, c)");
  mp_ten c = mp_em_autocast(e, state[1], MP_CAST_HALF), hidden = mp_em_autocast(e, state[0], MP_CAST_HALF);
  mp_ten gi = mp_op_linear(e, mp_c_ten(e, 0), mp_c_ten(e, 2), -1), gh = mp_op_linear(e, hidden, mp_c_ten(e, 3), -1);
  mp_ten bi = mp_c_ten(e, 4), bh = mp_c_ten(e, 5);
  mp_tensor_info i = *mp_em_info(e, c);
  mp_ten h = mp_em_new(e, op, i.dtype, i.rank, i.dims), next = mp_em_new(e, op, i.dtype, i.rank, i.dims), kept = workspace(e, op, &i, 4);
  if (mp_fn_begin(e, &lstm_grad, MP_TENS(gi, gh, c, bi, bh))) {
    mp_fn_save(e, 0, c);
    mp_fn_save(e, 1, next);
    mp_fn_save(e, 2, kept);
    mp_fn_save(e, 3, gi);
    mp_fn_save(e, 4, gh);
    mp_fn_save(e, 5, bi);
    mp_fn_save(e, 6, bh);
    mp_fn_output(e, h);
    mp_fn_output(e, next);
    mp_fn_end(e);
  }
  mp_c_out(e, 0, h);
  mp_c_out(e, 1, next);
  mp_em_leave(e, s, MP_NO_TENS);
}

static void gru_cell(mp_em *e) { /* (x, h, w_ih, w_hh, b_ih, b_hh) */
  const char *op = "aten::_thnn_fused_gru_cell";
  size_t s = mp_em_enter(e);
  mp_ten h = mp_em_autocast(e, mp_c_ten(e, 1), MP_CAST_HALF);
  mp_ten gi = mp_op_linear(e, mp_c_ten(e, 0), mp_c_ten(e, 2), -1), gh = mp_op_linear(e, h, mp_c_ten(e, 3), -1);
  mp_tensor_info i = *mp_em_info(e, h);
  mp_ten y = mp_em_new(e, op, i.dtype, i.rank, i.dims), kept = workspace(e, op, &i, 5);
  mp_record(e, &gru_grad, MP_TENS(gi, gh, h, mp_c_ten(e, 4), mp_c_ten(e, 5)), MP_TENS(kept), MP_NO_INTS, y);
  mp_c_out(e, 0, y);
  mp_em_leave(e, s, MP_NO_TENS);
}

static void rnn_cell(mp_em *e, const char *activation) {
  size_t s = mp_em_enter(e);
  mp_ten gh = mp_op_linear(e, mp_c_ten(e, 1), mp_c_ten(e, 3), mp_c_ten(e, 5)), gi = mp_op_linear(e, mp_c_ten(e, 0), mp_c_ten(e, 2), mp_c_ten(e, 4));
  mp_c_out(e, 0, mp_unary(e, activation, mp_add_into(e, gh, gi)));
  mp_em_leave(e, s, MP_NO_TENS);
}
static void rnn_tanh_cell(mp_em *e) { rnn_cell(e, "tanh"); }
static void rnn_relu_cell(mp_em *e) { rnn_cell(e, "relu"); }

static const mp_call_row rows[] = {
    {"aten::lstm_cell", lstm_cell, MP_CAST_HALF, "keeps both cell states, both linear results and the gates"},
    {"aten::gru_cell", gru_cell, MP_CAST_HALF, "keeps a workspace of five times the state"},
    {"aten::rnn_tanh_cell", rnn_tanh_cell, MP_CAST_HALF, "keeps its result"},
    {"aten::rnn_relu_cell", rnn_relu_cell, MP_CAST_HALF, "keeps its result"},
};
const mp_call_table mp_calls_cell = {rows, MP_COUNT(rows)};
