/* Do the arguments of a call make sense for its operands? Metadata is text that anybody may have edited: a call that names dimensions that its
 * operand does not have, or no operand at all, sends the whole file to the recoverer that looks at nodes. */
#include "planner/fx.h"

/* Which arguments are dimensions of the first operand, how many leading arguments are tensors, and of what rank at least. */
static const struct {
  const char *op;
  int8_t dims[2]; /* -1: none */
  uint8_t tensors, rank;
  bool grows; /* the dimension is one of the result, which has one more */
} rules[] = {{"aten::transpose", {1, 2}, 1, 1, false},
             {"aten::select", {1, -1}, 1, 1, false},
             {"aten::slice", {1, -1}, 1, 1, false},
             {"aten::unsqueeze", {1, -1}, 1, 0, true},
             {"aten::squeeze", {1, -1}, 1, 0, false},
             {"aten::softmax", {1, -1}, 1, 0, false},
             {"aten::log_softmax", {1, -1}, 1, 0, false},
             {"aten::cumsum", {1, -1}, 1, 0, false},
             {"aten::unbind", {1, -1}, 1, 1, false},
             {"aten::split", {2, -1}, 1, 1, false},
             {"aten::split_with_sizes", {2, -1}, 1, 1, false},
             {"aten::chunk", {2, -1}, 1, 1, false},
             {"aten::gather", {1, -1}, 1, 1, false},
             {"aten::index_select", {1, -1}, 1, 1, false},
             {"aten::scatter_add", {1, -1}, 1, 1, false},
             {"aten::repeat_interleave", {2, -1}, 1, 1, false},
             {"aten::glu", {1, -1}, 1, 1, false},
             {"aten::sort", {1, -1}, 1, 1, false},
             {"aten::topk", {2, -1}, 1, 1, false},
             {"aten::slice_scatter", {2, -1}, 2, 1, false},
             {"aten::select_scatter", {2, -1}, 2, 0, false},
             {"aten::matmul", {-1, -1}, 2, 1, false},
             {"aten::bmm", {-1, -1}, 2, 3, false},
             {"aten::mm", {-1, -1}, 2, 2, false},
             {"aten::_grouped_mm", {-1, -1}, 2, 2, false},
             {"aten::addmm", {-1, -1}, 3, 0, false},
             {"aten::baddbmm", {-1, -1}, 3, 0, false},
             {"aten::linear", {-1, -1}, 2, 1, false},
             {"aten::conv1d", {-1, -1}, 2, 3, false},
             {"aten::conv2d", {-1, -1}, 2, 3, false},
             {"aten::conv3d", {-1, -1}, 2, 4, false},
             {"aten::convolution", {-1, -1}, 2, 3, false},
             {"aten::embedding", {-1, -1}, 2, 0, false},
             {"aten::scaled_dot_product_attention", {-1, -1}, 3, 3, false},
             {"aten::cross_entropy_loss", {-1, -1}, 2, 0, false},
             {"aten::mse_loss", {-1, -1}, 2, 0, false},
             {"aten::where", {-1, -1}, 1, 0, false}};

static bool makes_from_nothing(const char *op) {
  return FX_ONE_OF(op, "aten::arange", "aten::full", "aten::zeros", "aten::ones", "aten::empty", "aten::rand", "aten::randn", "aten::randint",
                   "aten::scalar_tensor", "aten::einsum", "aten::eye", "aten::linspace", "aten::normal", "aten::tril_indices", "aten::triu_indices",
                   "aten::empty_strided", "aten::randperm", "aten::logspace", "aten::hann_window", "aten::meshgrid", "aten::cat", "aten::stack");
}

static bool in_range(const mp_arg *a, int rank) {
  if (a->kind != MP_ARG_INT) return true;
  int most = rank ? rank : 1; /* dimension 0 and -1 of a scalar are allowed */
  return a->as.i >= -most && a->as.i < most;
}

/* a list of dimensions: each in range and named once */
static bool dims_in_range(const mp_arg *a, int rank) {
  bool seen[MP_RANK] = {false};
  for (uint32_t i = 0; i < a->n; i++) {
    mp_arg one = mp_arg_int(a->as.ints[i]);
    if (!in_range(&one, rank)) return false;
    int64_t d = a->as.ints[i] < 0 ? a->as.ints[i] + (rank ? rank : 1) : a->as.ints[i];
    if (d >= MP_RANK || seen[d]) return false;
    seen[d] = true;
  }
  return true;
}

bool fx_sound(fx_rec *r, const char *name, const mp_arg *args, uint32_t n) {
  if (strncmp(name, "aten::", 6) != 0 || makes_from_nothing(name)) return true;
  bool power = !strcmp(name, "aten::pow") && n > 1 && args[1].kind == MP_ARG_VAR && args[0].kind != MP_ARG_NONE; /* 25.0 ** t */
  if (!power && (!n || (args[0].kind != MP_ARG_VAR && args[0].kind != MP_ARG_VARS))) return false;
  int rank = args[0].kind == MP_ARG_VAR ? mp_builder_at(r->b, args[0].as.var)->rank : MP_RANK;
  bool lists = FX_ONE_OF(name, "aten::permute", "aten::sum", "aten::mean", "aten::flip", "aten::amax", "aten::var", "aten::std");
  if (lists && n > 1 && args[1].kind == MP_ARG_INTS && !dims_in_range(&args[1], rank)) return false;
  if (!strcmp(name, "aten::permute") && (n < 2 || args[1].kind != MP_ARG_INTS || args[1].n != (uint32_t)rank)) return false;
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    if (strcmp(rules[i].op, name) != 0) continue;
    for (uint32_t k = 0; k < rules[i].tensors; k++) {
      if (k >= n || args[k].kind != MP_ARG_VAR) return false;
      if (mp_builder_at(r->b, args[k].as.var)->rank < rules[i].rank) return false;
    }
    for (int k = 0; k < 2; k++) {
      int8_t at = rules[i].dims[k];
      if (at >= 0 && (uint32_t)at < n && !in_range(&args[at], rank + rules[i].grows)) return false;
    }
  }
  return true;
}
