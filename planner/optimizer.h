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
  uint8_t loop;          /* temporaries of one parameter's size, parameter by parameter */
  enum { MP_OPT_PLAIN, MP_OPT_FACTORED, MP_OPT_BLOCKWISE } kind;
  const char *note;
};

typedef struct mp_opt_state mp_opt_state;
/* params: tensors of the trainable parameters, in the model's order */
mp_opt_state *mp_opt_new(mp_em *e, const mp_optimizer *row, bool master, const mp_ten *params, uint32_t n);
void mp_opt_step(mp_em *e, mp_opt_state *o, const mp_ten *grads); /* grads by parameter, -1: none */
uint64_t mp_opt_bytes(const mp_opt_state *o);                      /* exact, of state on the device */

#endif
