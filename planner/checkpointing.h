/* Activation checkpointing inside the tape: torch.utils.checkpoint, non-reentrant (torch/utils/checkpoint.py: _checkpoint_hook, _recomputation_hook).
 *
 * In the forward pass the nodes of a recomputed region keep nothing; the region keeps its inputs. The first node of the region that needs a saved tensor in backward runs the
 * region again, up to the last tensor that is to be saved (early stop); then each node frees what it used.
 *
 * A region inside another keeps nothing until the outer one runs again; then it keeps its inputs of that run, and runs a third time when its first node needs something.
 *
 * A region that inverts (invertible.h) keeps its outputs instead of its inputs, and those only where the next region does not rebuild them. Backward runs its inverse without
 * gradients, which takes what the forward pass takes, lets the outputs go, and then runs the region again on what was rebuilt: one forward pass more than
 * a checkpointed region (the way of MemCNN's InvertibleModuleWrapper; van de Leemput et al. 2019). */
#ifndef MP_CHECKPOINTING_H
#define MP_CHECKPOINTING_H

#include "planner/em.h"

typedef struct mp_region {
  uint32_t first, end; /* program calls */
  int32_t outer;       /* the region that it lies in, -1 */
  const struct mp_inverse *inverse; /* its inputs are rebuilt from its outputs; NULL: they are kept */
} mp_region;

/* The regions that a plan recomputes, in order, the outer before those inside it. Of nested matches of one pattern the outermost counts; regions of several patterns nest once: what lies deeper
 * counts no more. A pattern that matches nothing, or names a module that is not invertible, is MP_BAD_INPUT. */
uint32_t mp_plan_regions(mp_arena *a, const mp_program *p, const mp_plan *plan, const mp_region **regions);

/* Puts regions in that order and drops those that overlap or lie too deep; -> how many are left. */
uint32_t mp_regions_nest(mp_region *all, uint32_t count);
/* the outermost module whose calls are the region's, "" where it is none */
const char *mp_region_path(const mp_program *p, const mp_region *r);

/* For searches: two iterations, of which the second is the steady one (tests hold its peak to that of the third); the regions are those of a plan. */
const mp_tape *mp_tape_make_short(mp_arena *a, const mp_trace *t, const mp_run *run, const mp_region *regions, uint32_t n, const int8_t *save_calls, mp_err *err);

/* save_calls: of each program call, 1: selective checkpointing keeps what its heavy kernel made (torch.utils.checkpoint's create_selective_checkpoint_contexts, MUST_SAVE),
 * so that it is not computed again. NULL: nothing is kept. */
mp_checkpoint_state *mp_checkpoint_new(mp_arena *a, const mp_trace *t, const mp_region *regions, uint32_t n, const int8_t *save_calls);
bool mp_op_is_heavy(const char *op);                                        /* matrix products, convolutions, attention: the kernels that a policy may keep */
void mp_checkpoint_made(mp_em *e, mp_checkpoint_state *ck, mp_ten t);       /* the forward pass made a tensor of the trace: the policy may keep it */
uint64_t mp_checkpoint_flops(const mp_checkpoint_state *ck);                /* computed again since the last forward pass began */
void mp_checkpoint_forward(mp_checkpoint_state *ck);                        /* a forward pass begins: nothing is recomputed yet */
int32_t mp_checkpoint_region(const mp_checkpoint_state *ck, int32_t call);  /* -1: none */
void mp_checkpoint_enter(mp_em *e, mp_checkpoint_state *ck, int32_t region); /* the forward pass comes to a region: it holds its inputs */
/* What region i keeps: how many tensors; UINT32_MAX when there is no such region. */
uint32_t mp_checkpoint_inputs(const mp_checkpoint_state *ck, uint32_t i, const mp_ten **inputs);
void mp_checkpoint_before(mp_em *e, mp_checkpoint_state *ck, int32_t fn);   /* recomputes the region of fn if fn needs it */
bool mp_checkpoint_keeps(const mp_checkpoint_state *ck, int32_t fn);        /* does fn hold what it saved (outside regions, or after recomputation) */
void mp_checkpoint_after(mp_em *e, mp_checkpoint_state *ck, int32_t fn);    /* fn is done; the last one of a region lets its inputs go */

#endif
