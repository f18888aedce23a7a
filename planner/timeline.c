/* tape -> bytes alive after every step, by category, and the peak. The only place that adds bytes up. */
#include <string.h>

#include "planner/inside.h"

static const char *const categories[] = {[MP_CAT_PARAMETER] = "parameter",   [MP_CAT_BUFFER] = "buffer",       [MP_CAT_INPUT] = "input",
                                         [MP_CAT_SAVED] = "saved activation", [MP_CAT_ACTIVATION] = "other activation", [MP_CAT_GRADIENT] = "gradient",
                                         [MP_CAT_OPTIMIZER] = "optimizer state", [MP_CAT_WORKSPACE] = "workspace", [MP_CAT_MASTER] = "master copy"};
const char *mp_category_name(mp_category c) { return categories[c]; }

static const char *const phases[] = {[MP_SETUP] = "setup", [MP_FORWARD] = "forward", [MP_BACKWARD] = "backward", [MP_STEP] = "step"};
const char *mp_phase_name(mp_phase p) { return phases[p]; }

/* the allocator's unit: c10/cuda/CUDACachingAllocator.cpp, kMinBlockSize */
static uint64_t rounded(uint64_t bytes) { return bytes ? (bytes + 511) / 512 * 512 : 0; }

typedef struct sums {
  uint64_t now, by[MP_CATEGORIES];
  uint8_t *category; /* of each instance */
} sums;

static void add(mp_arena *a, sums *s, const mp_step *step) {
  uint64_t n = rounded(step->bytes);
  switch (step->kind) {
    case MP_ALLOC:
      s->category[step->id] = step->category;
      s->now += n; /* n is below 2^61 (em.c), so that neither this nor the allocator's segments overflow */
      if (s->now >> 62) mp_fail(a, MP_BAD_INPUT, "more than 2^62 bytes at once; check the dimensions given with --dim");
      s->by[step->category] += n;
      break;
    case MP_FREE:
      s->now -= n;
      s->by[s->category[step->id]] -= n;
      break;
    case MP_BECOME:
      s->by[s->category[step->id]] -= n;
      s->by[step->category] += n;
      s->category[step->id] = step->category;
      break;
    default: break;
  }
}

void mp_timeline_walk(mp_arena *a, const mp_tape *t, mp_timeline_visit *see, void *arg) {
  sums s = {.category = mp_alloc(a, t->instance_count + 1)};
  for (uint32_t i = 0; i < t->step_count; i++) {
    add(a, &s, &t->steps[i]);
    see(arg, i, s.now, s.by);
  }
}

uint64_t mp_timeline_peak(const mp_tape *t) {
  uint64_t now = 0, peak = 0;
  uint8_t last = 0;
  for (uint32_t i = 0; i < t->step_count; i++) {
    const mp_step *s = &t->steps[i];
    if (s->kind == MP_ALLOC) now += rounded(s->bytes);
    if (s->kind == MP_FREE) now -= rounded(s->bytes);
    if (s->iteration != last) peak = 0; /* only the last one's counts */
    last = s->iteration;
    if (now > peak) peak = now;
  }
  return peak;
}

typedef struct maker {
  const mp_tape *t;
  mp_timeline *r;
  uint8_t last; /* iteration */
} maker;

static void take_peak(const mp_tape *t, mp_peak *p, uint32_t i, uint64_t now, const uint64_t *by) {
  const mp_step *step = &t->steps[i];
  const mp_program *prog = t->trace->program;
  p->allocated = now;
  p->phase = (mp_phase)step->phase;
  p->call = step->op ? step->op : "";
  p->module = step->call >= 0 ? prog->instances[prog->calls[step->call].module].path : "";
  p->step = i;
  memcpy(p->by, by, sizeof p->by);
}

static void look(void *arg, uint32_t i, uint64_t now, const uint64_t *by) {
  maker *m = arg;
  const mp_step *step = &m->t->steps[i];
  mp_timeline *r = m->r;
  if (step->iteration == 0 && now > r->peak.first_iteration) r->peak.first_iteration = now;
  if (step->iteration != m->last) return;
  if (step->kind == MP_FORWARD_END) r->after_forward = now;
  if (step->kind == MP_ITERATION || now > r->peak.allocated) take_peak(m->t, &r->peak, i, now, by);
}

static void sum_program(const mp_tape *t, mp_timeline *r) {
  const mp_trace *tr = t->trace;
  const mp_program *p = tr->program;
  for (uint32_t v = 0; v < p->var_count; v++) {
    const mp_var *x = &p->vars[v];
    mp_ten ten = tr->var_tensor[v];
    if (x->tied >= 0 || ten < 0) continue;
    uint64_t bytes = tr->storages[tr->tensors[ten].storage].bytes;
    if (x->role == MP_ROLE_PARAMETER) {
      r->parameters += mp_numel(&tr->tensors[ten]);
      r->parameter_bytes += bytes;
    } else if (x->role == MP_ROLE_BUFFER) {
      r->buffer_bytes += bytes;
    }
  }
  for (uint32_t c = p->first_call; c < p->call_count; c++) {
    r->flops_forward += p->calls[c].flops;
    if (tr->train) r->flops_backward += 2 * p->calls[c].flops; /* one product for each operand's gradient */
  }
  r->flops_forward *= t->run->accumulate;
  r->flops_backward *= t->run->accumulate;
  r->flops_recompute = t->flops_recompute;
  for (uint32_t i = 0; i < t->saved_count; i++) r->saved_bytes += t->saved[i].bytes;
}

/* ---- cuDNN ---- */

static uint64_t bytes_of(const mp_trace *t, int32_t var) {
  if (var < 0 || t->var_tensor[var] < 0) return 0;
  const mp_tensor_info *i = &t->tensors[t->var_tensor[var]];
  uint64_t bytes = 0;
  return mp_dtype_bytes(i->dtype, mp_numel(i), &bytes) ? bytes : 0;
}

static uint64_t min_u64(uint64_t x, uint64_t y) { return x < y ? x : y; }

/* Without benchmark mode cuDNN takes the first algorithm of its heuristic that gets its workspace: none for implicit GEMM, and for kernels that want another layout a copy of
 * the operands. A workspace comes from the caching allocator and goes back at once, but its segment stays and is cut for later tensors, so that it may as well
 * save as cost. On 31 training runs of image networks whose peak the driver measured (RTX 3060 and 4060, PyTorch 2.3 and 2.6) reserved bytes were between half of the replay's fragmentation less and a
 * third of it more, or a copy of the largest operands more, on 29. Where convolutions have little to copy, they change as little. */
static void find_cudnn(const mp_trace *t, mp_timeline *r) {
  uint64_t largest = 0, all = 0;
  const mp_program *p = t->program;
  for (uint32_t c = p->first_call; c < p->call_count; c++) {
    const mp_call *call = &p->calls[c];
    if (!strstr(call->row->name, "::conv") || call->out_count < 1) continue;
    uint64_t sum = bytes_of(t, call->outs[0]);
    for (uint32_t i = 0; i < 2 && i < call->arg_count; i++)
      if (call->args[i].kind == MP_ARG_VAR) sum += bytes_of(t, call->args[i].as.var);
    if (sum > largest) largest = sum;
    all = all > UINT64_MAX - sum ? UINT64_MAX : all + sum;
  }
  uint64_t unused = r->peak.reserved > r->peak.allocated ? r->peak.reserved - r->peak.allocated : 0, more = min_u64(unused / 3, all);
  r->cudnn_low = -(int64_t)min_u64(unused / 2, all);
  r->cudnn_high = (int64_t)(more > largest ? more : largest);
}

static const void *make(mp_arena *a, void *arg) {
  const mp_tape *t = arg;
  mp_timeline *r = mp_alloc(a, sizeof *r);
  maker m = {t, r, 0};
  for (uint32_t i = 0; i < t->step_count; i++)
    if (t->steps[i].iteration > m.last) m.last = t->steps[i].iteration;
  mp_timeline_walk(a, t, look, &m);
  r->peak.reserved = mp_allocator_replay(a, t, t->run->expandable_segments).reserved;
  r->gradient_bytes = t->gradient_bytes;
  r->optimizer_bytes = t->optimizer_bytes;
  r->input_bytes = t->input_bytes;
  r->saved = t->saved;
  r->saved_count = t->saved_count;
  r->warnings = t->warnings;
  r->warning_count = t->warning_count;
  sum_program(t, r);
  find_cudnn(t->trace, r);
  return r;
}

const mp_timeline *mp_timeline_make(mp_arena *a, const mp_tape *t, mp_err *err) {
  if (!t) return NULL;
  union {
    const mp_tape *c;
    void *p;
  } arg = {t};
  return mp_protect(a, err, make, arg.p);
}
