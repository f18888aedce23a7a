/* The inside of the emitter, for em.c, trace.c, engine.c and tape.c.
 *
 * One machine, two uses. Recording (trace.c): the program's calls run once and leave events. Performing (tape.c): events are replayed, and backward functions run directly;
 * each event changes reference counts, and a storage that nobody holds is freed, which is a step of the tape.
 *
 * Who holds what: a tensor has `holds` (scopes, variables of the program, gradient buffers, saved slots); a storage is held by its tensors that are
 * held. This is PyTorch's TensorImpl and StorageImpl use counts without the machinery. */
#ifndef MP_EM_H
#define MP_EM_H

#include "planner/inside.h"

typedef struct mp_live {
  MP_VEC(uint32_t) refs;   /* of each storage */
  MP_VEC(int32_t) id;      /* of each storage: the instance that is alive, -1 */
  MP_VEC(uint8_t) category; /* of each storage now */
  MP_VEC(mp_step) steps;
  int32_t next_id;
  uint8_t phase, iteration;
  uint32_t skip_saves;     /* > 0: nodes made now keep nothing (inside a recomputed region) */
} mp_live;

typedef struct mp_cast_entry {
  mp_ten from, to;
} mp_cast_entry;

struct mp_em {
  mp_arena *a;
  const mp_run *run;
  const mp_program *p;
  MP_VEC(mp_tensor_info) tens;
  MP_VEC(uint32_t) holds;
  MP_VEC(mp_storage) stor;
  MP_VEC(mp_fn) fns;
  MP_VEC(mp_event) events;
  MP_VEC(mp_ten) owned;       /* the stack of what open scopes hold */
  MP_VEC(mp_cast_entry) casts; /* autocast's cache of half weights */
  mp_live *live;              /* NULL: recording */
  bool grad, autocast_in_call;
  mp_dtype autocast;          /* MP_UNDEFINED: off */
  mp_category born;           /* category of new storages */
  int32_t call;               /* of the program, -1 */
  const mp_call *c;
  mp_ten *var_ten;            /* of each program variable */
  mp_ten *arg_ten;            /* of the call's arguments after autocast: one slot a VAR argument */
  mp_fn pending;              /* mp_fn_begin .. mp_fn_end */
  bool is_pending;
};

struct mp_bw {
  mp_em *e;
  int32_t fn;
  const mp_ten *grads;
  mp_ten *given; /* one for each edge */
};

/* one thing happens: recorded, or performed at once */
void mp_em_event(mp_em *e, mp_event_kind kind, int32_t a, uint64_t b);
/* performs an event: tensors and storages by number */
void mp_live_event(mp_em *e, mp_event_kind kind, int32_t a, uint64_t b);
void mp_live_step(mp_em *e, mp_step_kind kind, int32_t id, mp_category c, uint64_t bytes, const char *op);
void mp_live_become(mp_em *e, int32_t storage, mp_category c);
void mp_em_hold(mp_em *e, mp_ten t);    /* one more holder */
void mp_em_release(mp_em *e, mp_ten t); /* one less; the last one is the DROP event */
int32_t mp_em_leaf(mp_em *e, mp_ten param); /* the AccumulateGrad node of a parameter */
void mp_em_clear_casts(mp_em *e);
void mp_trace_bury(mp_arena *a, mp_trace *t, mp_fn *fns); /* dead.c: nodes that backward does not reach let go in time; fns: the trace's */
void mp_em_cast_args(mp_em *e);            /* before a call's forward: its arguments as autocast wants them */
extern const mp_grad mp_grad_accumulate;
mp_ten mp_op_autocast_to(mp_em *e, mp_ten t, mp_dtype dtype); /* cached_cast: caches copies of fp32 leaves that require grad */

/* engine.c: runs backward from the roots (the loss, or a stage's outputs). grads: one gradient of each root's shape, of which the engine takes over one hold. grads: of each parameter tensor (by tensor number), -1 none. */
typedef struct mp_checkpoint_state mp_checkpoint_state;
void mp_engine_backward(mp_em *e, const mp_ten *roots, const mp_ten *grads, uint32_t n, mp_ten *param_grad, mp_checkpoint_state *ck);

#endif
