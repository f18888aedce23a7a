/* Recurrent cells: RNN, GRU, LSTM and their relatives differ in the number of gates and in whether a cell state goes along. */
#include "onnx/shape_tools.h"

/* Inputs X (length, batch, size), W (directions, gates * hidden, size), R (directions, gates * hidden, hidden); outputs Y, Y_h, and for an LSTM Y_c.
 * packed: the weights are stored transposed (com.microsoft DynamicQuantizeLSTM). */
static void recurrent(mp_infer *c, int gates, int states, bool packed) {
  bool batch_first = mp_infer_int(c, "layout", 0) == 1, clash = false;
  mp_int none = mp_int_unknown();
  mp_int x[3] = {none, none, none};
  int rank = mp_infer_rank(c, 0), hidden_axis = packed ? 1 : 2;
  if (rank >= 0 && rank != 3) {
    mp_infer_bad(c, "X has rank %d, expected 3", rank);
    return;
  }
  for (int i = 0; i < 3 && rank == 3; i++) x[i] = mp_infer_dim(c, 0, i);
  mp_int length = x[batch_first ? 1 : 0], batch = x[batch_first ? 0 : 1];
  mp_int hidden = mp_infer_has_attr(c, "hidden_size") ? mp_num(mp_infer_int(c, "hidden_size", 0)) : none;
  if (mp_infer_rank(c, 2) == 3) hidden = mp_dim_unify(hidden, mp_infer_dim(c, 2, hidden_axis), &clash);
  if (clash || mp_below(hidden, 1)) {
    mp_infer_bad(c, "hidden_size contradicts the recurrent weights");
    return;
  }
  mp_int directions = mp_num(!strcmp(mp_infer_string(c, "direction", "forward"), "bidirectional") ? 2 : 1);
  mp_dtype t = mp_infer_dtype(c, 0);
  const mp_int y[2][4] = {{length, directions, batch, hidden}, {batch, length, directions, hidden}};
  const mp_int h[2][3] = {{directions, batch, hidden}, {batch, directions, hidden}};
  if (mp_infer_outs(c) > 0 && mp_infer_wants(c, 0)) mp_infer_set_dims(c, 0, t, 4, y[batch_first]);
  for (int o = 1; o <= states; o++)
    if (o < mp_infer_outs(c) && mp_infer_wants(c, o)) mp_infer_set_dims(c, o, t, 3, h[batch_first]);
  mp_int cells = mp_sym_mul(c, mp_sym_mul(c, length, batch), mp_sym_mul(c, directions, mp_mul_n(c, hidden, gates)));
  mp_cost_macs(c, mp_sym_mul(c, cells, mp_sym_add(c, x[2], hidden)), cells); /* one elementwise result for each gate */
}

static void rnn(mp_infer *c) { recurrent(c, 1, 1, false); }
static void gru(mp_infer *c) { recurrent(c, 3, 1, false); }
static void lstm(mp_infer *c) { recurrent(c, 4, 2, false); }
static void quantized_lstm(mp_infer *c) { recurrent(c, 4, 2, true); }

static const mp_op rows[] = {
  {"", "RNN", 1, rnn},
  {"", "GRU", 1, gru},
  {"", "LSTM", 1, lstm},
  {"com.microsoft", "AttnLSTM", 1, lstm},
  {"com.microsoft", "DynamicQuantizeLSTM", 1, quantized_lstm},
};
const mp_op_table mp_ops_rnn = {rows, sizeof rows / sizeof *rows};
