/* Losses of the standard domain and the optimizers and Gradient of ai.onnx.preview.training. */
#include "onnx/shape_tools.h"

/* ONNX Runtime's gradient builder names the log probabilities log_prob; a training graph for small devices that nobody asks for the loss (Deeploy)
 * keeps only them, as the first output. */
static bool loss_dropped(const mp_infer *c) { return mp_infer_outs(c) == 1 && strstr(mp_infer_out_name(c, 0), "log_prob"); }

/* The labels (batch, ...) give the unreduced loss its shape; the scores have the classes as axis 1 besides. */
static void loss(mp_infer *c) {
  mp_shape scores, labels;
  mp_infer_shape(c, 0, &scores);
  mp_infer_shape(c, 1, &labels);
  if (loss_dropped(c)) mp_infer_same(c, 0, 0);
  else if (strcmp(mp_infer_string(c, "reduction", "mean"), "none")) mp_infer_set_scalar(c, 0, mp_infer_dtype(c, 0));
  else {
    bool clash = false;
    if (labels.rank < 0 && scores.rank >= 2) {
      labels.rank = scores.rank - 1;
      for (int i = 0; i < labels.rank; i++) labels.dims[i] = mp_int_unknown();
    }
    if (scores.rank >= 0 && labels.rank >= 0 && scores.rank != labels.rank + 1) {
      mp_infer_bad(c, "scores of rank %d and labels of rank %d do not fit", scores.rank, labels.rank);
      return;
    }
    for (int i = 0; i < labels.rank && scores.rank >= 0; i++) labels.dims[i] = mp_dim_unify(labels.dims[i], scores.dims[i ? i + 1 : 0], &clash);
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), labels.rank < 0 ? NULL : &labels);
  }
  if (mp_infer_wants(c, 1)) mp_infer_same(c, 1, 0);
  mp_cost_macs(c, mp_num(0), mp_elements(c, &scores));
}

/* Inputs: rate, count, then groups of n tensors each: the parameters, their gradients, their states. Outputs: the parameters, their states. */
static void optimizer(mp_infer *c, int states) {
  int n = (mp_infer_ins(c) - 2) / (2 + states);
  mp_int all = mp_num(0);
  mp_shape s;
  if (mp_infer_ins(c) < 2 || (mp_infer_ins(c) - 2) % (2 + states) || mp_infer_outs(c) != n * (1 + states)) {
    mp_infer_bad(c, "expected a rate, a count and groups of %d tensors", 2 + states);
    return;
  }
  for (int group = 0; group <= states; group++)
    for (int i = 0; i < n; i++) {
      mp_infer_same(c, group * n + i, 2 + (group ? group + 1 : 0) * n + i);
      mp_infer_shape(c, 2 + (group ? group + 1 : 0) * n + i, &s);
      all = mp_sym_add(c, all, mp_elements(c, &s));
    }
  mp_cost_macs(c, mp_num(0), all);
}

static void momentum(mp_infer *c) { optimizer(c, 1); }
static void adam(mp_infer *c) { optimizer(c, 2); }

static const mp_op rows[] = {
  {"", "SoftmaxCrossEntropyLoss", 12, loss},
  {"", "NegativeLogLikelihoodLoss", 12, loss},
  {"com.microsoft", "SoftmaxCrossEntropyLossInternal", 1, loss},
  {"com.microsoft", "NegativeLogLikelihoodLossInternal", 1, loss},
  {"ai.onnx.preview.training", "Adagrad", 1, momentum},
  {"ai.onnx.preview.training", "Adam", 1, adam},
  {"ai.onnx.preview.training", "Momentum", 1, momentum},
  {"ai.onnx.preview.training", "Gradient", 1, mp_rule_same_all},
};
const mp_op_table mp_ops_loss = {rows, sizeof rows / sizeof *rows};
