/* Recurrent layers as cuDNN runs them: one call for all layers, directions and steps. It keeps input, states, output and a reserve whose size only
 * cuDNN knows; here it is what the steps of every layer and direction must leave for backward: the gates after their nonlinearities, the state of the
 * cell, and the hidden state that the next layer reads. An estimate: measured sizes differ between cuDNN's versions. */
#include <string.h>

#include "planner/calls.h"

#define MAX_WEIGHTS 256

typedef struct cell {
  const char *op;
  int64_t gates, states; /* states: of LSTM two, hidden and cell */
} cell;
static const cell lstm = {"aten::_cudnn_rnn", 4, 2}, gru = {"aten::_cudnn_rnn", 3, 1}, plain = {"aten::_cudnn_rnn", 1, 1};

typedef struct rnn {
  int64_t layers, directions, time, batch, in, hidden, out;
  bool batch_first, train, unbatched;
  double dropout;
} rnn;

enum { IN_X, IN_H, IN_C, IN_WEIGHTS };

/* saved: x, hx, cx, output, reserve; inputs: x, hx, cx, weights; meta: elements of the weight buffer */
static void rnn_backward(mp_em *e, mp_bw *b) {
  const char *op = "aten::_cudnn_rnn_backward";
  mp_ten x = mp_bw_saved(b, 0), hx = mp_bw_saved(b, 1), cx = mp_bw_saved(b, 2), y = mp_bw_saved(b, 3);
  if (mp_bw_grad(b, 0) < 0 && mp_bw_grad(b, 1) < 0 && mp_bw_grad(b, 2) < 0) return;
  if (mp_bw_grad(b, 0) < 0) mp_kernel1(e, "aten::zeros_like", y);
  if (mp_bw_grad(b, 1) < 0) mp_kernel1(e, "aten::zeros_like", hx);
  if (cx >= 0 && mp_bw_grad(b, 2) < 0) mp_kernel1(e, "aten::zeros_like", cx);
  mp_ten dx = mp_kernel1(e, op, x), dh = mp_kernel1(e, op, hx), dc = cx >= 0 ? mp_kernel1(e, op, cx) : -1;
  const int64_t *m = mp_bw_meta(b);
  mp_ten buffer = mp_em_new(e, op, mp_em_info(e, x)->dtype, 1, &m[0]); /* gradients of the weights are views of it */
  mp_bw_give(b, IN_X, dx);
  mp_bw_give(b, IN_H, dh);
  if (dc >= 0) mp_bw_give(b, IN_C, dc);
  int64_t at = 0;
  for (int64_t k = 0; k < m[1]; k++) {
    mp_tensor_info w = *mp_bw_input(b, (uint32_t)(IN_WEIGHTS + k));
    int64_t strides[MP_RANK];
    mp_strides_contiguous(w.rank, w.dims, strides);
    mp_bw_give(b, (uint32_t)(IN_WEIGHTS + k), mp_em_view(e, buffer, w.rank, w.dims, strides, at));
    at += (int64_t)mp_numel(&w);
  }
}
static const mp_grad rnn_grad = {"CudnnRnnBackward0", rnn_backward};

static mp_ten zeros_state(mp_em *e, const rnn *r, mp_dtype t, int64_t width) {
  int64_t dims[] = {r->layers * r->directions, r->batch, width};
  return mp_em_new(e, "aten::zeros", t, 3, dims);
}

static int64_t reserve_elements(const mp_em *e, const rnn *r, const cell *c) {
  int64_t steps = mp_em_product(e, r->time, r->batch), one = mp_em_product(e, mp_em_product(e, steps, r->hidden), c->gates + c->states);
  int64_t n = mp_em_product(e, r->layers * r->directions, one);
  if (r->dropout > 0 && r->train) n += mp_em_product(e, r->layers - 1, mp_em_product(e, steps, r->out));
  return n;
}

static void run(mp_em *e, const cell *c, rnn *r, mp_ten x, mp_ten *state, const mp_ten *weights, uint32_t n) {
  mp_dtype half = mp_em_is_autocast(e) ? mp_em_autocast_dtype(e) : MP_UNDEFINED;
  mp_ten inputs[MAX_WEIGHTS + IN_WEIGHTS] = {0};
  if (half != MP_UNDEFINED) { /* _cudnn_rnn_cast_reflatten: one flat half copy of the weights */
    for (int k = 0; k < 2; k++) state[k] = mp_em_autocast(e, state[k], MP_CAST_HALF);
    x = mp_em_autocast(e, x, MP_CAST_HALF);
  }
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t elements = 0;
  for (uint32_t k = 0; k < n; k++) elements += (int64_t)mp_numel(mp_em_info(e, weights[k]));
  if (half != MP_UNDEFINED) mp_em_new(e, "aten::zeros", half, 1, &elements);
  if (r->batch_first && !r->unbatched) mp_em_scratch(e, c->op, mp_numel(&i) * mp_dtype_bits(i.dtype) / 8); /* input.transpose(0, 1).contiguous() */
  int64_t dims[3] = {r->time, r->batch, r->out}, strides[3];
  mp_strides_contiguous(3, dims, strides);
  if (r->batch_first) {
    int64_t d = dims[0], s = strides[0];
    dims[0] = dims[1], strides[0] = strides[1];
    dims[1] = d, strides[1] = s;
  }
  mp_ten y = mp_em_new_strided(e, c->op, i.dtype, 3, dims, strides), last[2] = {-1, -1};
  for (int k = 0; k < c->states; k++) last[k] = mp_em_new_like(e, c->op, state[k]);
  mp_ten reserve = -1;
  if (r->train) {
    int64_t size = reserve_elements(e, r, c);
    reserve = mp_em_new(e, c->op, i.dtype, 1, &size);
    mp_em_set_what(e, reserve, MP_WHAT_STATISTICS);
  }
  inputs[IN_X] = x, inputs[IN_H] = state[0], inputs[IN_C] = state[1];
  memcpy(inputs + IN_WEIGHTS, weights, n * sizeof *weights);
  if (mp_fn_begin(e, &rnn_grad, inputs, n + IN_WEIGHTS)) {
    const mp_ten saved[] = {x, state[0], state[1], y, reserve};
    for (uint32_t k = 0; k < MP_COUNT(saved); k++) mp_fn_save(e, k, saved[k]);
    mp_fn_meta(e, MP_INTS(elements, n));
    mp_fn_output(e, y);
    for (int k = 0; k < 2; k++) mp_fn_output(e, last[k]);
    mp_fn_end(e);
  }
  mp_c_out(e, 0, r->unbatched ? mp_op_squeeze(e, y, r->batch_first ? 0 : 1) : y);
  for (uint32_t k = 0; k < 2; k++) mp_c_out(e, k + 1, last[k]);
}

/* (x, states, weights, has_biases, num_layers, dropout, train, bidirectional, batch_first) */
static void recurrent(mp_em *e, const cell *c) {
  mp_ten x = mp_c_ten(e, 0), state[2] = {-1, -1}, weights[MAX_WEIGHTS];
  size_t s = mp_em_enter(e);
  mp_c_tens(e, 1, state, 2);
  uint32_t n = mp_c_tens(e, 2, weights, MAX_WEIGHTS);
  if (n < 2 || mp_em_info(e, weights[1])->rank != 2)
    mp_fail(mp_em_arena(e), MP_BAD_INPUT, "%s: expected a list of weights, input and hidden ones of two dimensions", mp_em_call(e)->row->name);
  rnn r = {.layers = mp_c_int(e, 4, 1),
           .dropout = mp_c_float(e, 5, 0.0),
           .train = mp_c_bool(e, 6, true),
           .directions = mp_c_bool(e, 7, false) ? 2 : 1,
           .batch_first = mp_c_bool(e, 8, false)};
  if (mp_em_info(e, x)->rank == 2) {
    r.unbatched = true;
    x = mp_op_unsqueeze(e, x, r.batch_first ? 0 : 1);
  }
  mp_tensor_info i = *mp_em_info(e, x);
  r.time = i.dims[r.batch_first ? 1 : 0];
  r.batch = i.dims[r.batch_first ? 0 : 1];
  r.in = i.dims[2];
  r.hidden = mp_em_info(e, weights[0])->dims[0] / c->gates;
  int64_t width = mp_em_info(e, weights[1])->dims[1]; /* of the hidden state: less than hidden with a projection */
  r.out = width * r.directions;
  for (int k = 0; k < c->states; k++)
    if (state[k] < 0) state[k] = zeros_state(e, &r, i.dtype, k ? r.hidden : width);
  run(e, c, &r, x, state, weights, n);
  mp_em_leave(e, s, MP_NO_TENS);
}
static void f_lstm(mp_em *e) { recurrent(e, &lstm); }
static void f_gru(mp_em *e) { recurrent(e, &gru); }
static void f_rnn(mp_em *e) { recurrent(e, &plain); }

#define KEEPS "keeps input, states, output and cuDNN's reserve (estimated)"
static const mp_call_row rows[] = {
    {"aten::lstm", f_lstm, MP_CAST_NONE, KEEPS},
    {"aten::gru", f_gru, MP_CAST_NONE, KEEPS},
    {"aten::rnn_tanh", f_rnn, MP_CAST_NONE, KEEPS},
    {"aten::rnn_relu", f_rnn, MP_CAST_NONE, KEEPS},
};
const mp_call_table mp_calls_rnn = {rows, MP_COUNT(rows)};
