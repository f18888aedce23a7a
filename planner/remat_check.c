/* Replays a schedule by the rules alone, from the instance as it was given. */
#include "planner/remat.h"

typedef struct replay_job {
  const mp_remat *in;
  const mp_remat_step *steps;
  size_t n;
} replay_job;

static const void *replay(mp_arena *a, void *arg) {
  const replay_job *j = arg;
  const mp_remat *in = j->in;
  bool *resident = mp_alloc_array(a, in->n, sizeof *resident);
  uint64_t now = 0, peak = 0;
  uint32_t first = 0;
  double cost = 0;
  for (size_t i = 0; i < j->n; i++) {
    uint32_t v = j->steps[i].node;
    if (v >= in->n) mp_fail(a, MP_BAD_INPUT, "step %zu: node %u, expected less than %u", i, v, in->n);
    const mp_remat_node *x = &in->nodes[v];
    if (j->steps[i].act == MP_REMAT_FREE) {
      if (!resident[v]) mp_fail(a, MP_BAD_INPUT, "step %zu: frees node %u, which is not resident", i, v);
      resident[v] = false;
      now -= x->bytes;
      continue;
    }
    if (resident[v]) mp_fail(a, MP_BAD_INPUT, "step %zu: computes node %u, which is resident", i, v);
    if (v > first) mp_fail(a, MP_BAD_INPUT, "step %zu: computes node %u before node %u", i, v, first);
    for (uint32_t k = 0; k < x->n_inputs; k++)
      if (!resident[x->inputs[k]]) mp_fail(a, MP_BAD_INPUT, "step %zu: computes node %u while its input %u is not resident", i, v, x->inputs[k]);
    if (v == first) first++;
    resident[v] = true;
    cost += x->cost;
    if (!mp_add_u64(now, x->bytes, &now)) mp_fail(a, MP_BAD_INPUT, "step %zu: more than 2^64 bytes are resident", i);
    if (now > peak) peak = now;
  }
  if (first < in->n) mp_fail(a, MP_BAD_INPUT, "the schedule ends before node %u is computed", first);
  mp_remat_replayed *r = mp_alloc(a, sizeof *r);
  *r = (mp_remat_replayed){cost, peak};
  return r;
}

const mp_remat_replayed *mp_remat_replay(mp_arena *a, const mp_remat *in, const mp_remat_step *steps, size_t n_steps, mp_err *err) {
  replay_job j = {in, steps, n_steps};
  return in ? mp_protect(a, err, replay, &j) : NULL;
}
