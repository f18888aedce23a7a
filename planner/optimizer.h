/* What an optimizer keeps and takes: one row each. */
#ifndef MP_OPTIMIZER_H
#define MP_OPTIMIZER_H

#include "planner/em.h"

/* Sizes in units of the parameter. Source: torch/optim/NAME.py of PyTorch 2.13, _init_group and _multi_tensor_NAME / _single_tensor_NAME / _fused_NAME. */
struct mp_optimizer {
  const char *name;
  uint8_t states;        /* tensors of the parameter's size kept for each parameter */
  bool at_construction;  /* made by the constructor, not by the first step */
  bool device_step;      /* `step` is a 4-byte tensor on the device */
  uint8_t temporaries;   /* of all parameters' size at once while it steps (foreach) */
  enum { MP_OPT_FOREACH, MP_OPT_LOOP, MP_OPT_FACTORED, MP_OPT_BLOCKWISE } kind;
  const char *note;
};

typedef struct mp_opt_state mp_opt_state;
/* params: tensors of the trainable parameters, in the model's order */
mp_opt_state *mp_opt_new(mp_em *e, const mp_optimizer *row, bool master, const mp_ten *params, uint32_t n);
void mp_opt_step(mp_em *e, mp_opt_state *o, const mp_ten *grads); /* grads by parameter, -1: none */

/* What a loop may do around the step, in this order. */
void mp_opt_scale(mp_em *e);   /* torch/amp/grad_scaler.py, the first scale(): the scale and its growth tracker, kept */
void mp_opt_unscale(mp_em *e); /* the same file, unscale_: found_inf is left to the scope */
void mp_opt_clip(mp_em *e, const mp_ten *params, uint32_t n, const mp_ten *grads); /* torch/nn/utils/clip_grad.py, clip_grad_norm_ */

uint64_t mp_opt_bytes(const mp_opt_state *o);                      /* exact, of state on the device */

#endif
