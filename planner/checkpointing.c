#include "planner/checkpointing.h"
#include "planner/invertible.h"

#include <assert.h>
#include <string.h>

/* What a region that inverts was given or gives: a tensor of the trace, and what backward made of it. */
typedef struct edge {
  mp_ten made;             /* the forward pass's */
  mp_ten now;              /* an input: what it was rebuilt as; an output: what the region holds; -1 */
  int32_t region, slot;    /* an input: the region that inverts and its output that this is; an output: the region that rebuilds it, -1 */
} edge;

typedef struct region {
  mp_region calls;
  uint32_t from, to;       /* events */
  uint32_t savers, left;   /* nodes that save something, and regions inside: all, and those that have not run */
  bool needed;             /* backward reaches one of them; otherwise nothing holds the region's inputs */
  bool entered, recomputed; /* entered: of a region inside another, in the outer one's second run */
  MP_VEC(mp_ten) inputs;   /* tensors of the trace that are made outside and read inside, and are kept */
  MP_VEC(mp_ten) keeps;    /* those and the outputs that it keeps */
  MP_VEC(edge) rebuilt;    /* of a region that inverts: inputs that are not kept */
  MP_VEC(edge) outputs;
  MP_VEC(edge) held;       /* of a region inside another: its inputs in the outer one's second run */
  MP_VEC(mp_ten) kept;     /* that the policy keeps until they are handed to the recomputation */
} region;

struct mp_checkpoint_state {
  const mp_trace *t;
  region *regions;
  uint32_t count;
  int32_t *of_call;
  const int8_t *save_calls;
  uint64_t flops;
  mp_ten *ten_map;         /* tensors and storages of the trace -> their second copies, -1 */
  int32_t *stor_map;
};

/* ---- the regions of a trace ---- */

static bool is_rebuilt(const region *r, mp_ten t) {
  for (size_t i = 0; i < r->rebuilt.n; i++)
    if (r->rebuilt.at[i].made == t) return true;
  return false;
}

static void find_edges(mp_arena *a, mp_checkpoint_state *ck, region *r) {
  const mp_inverse *x = r->calls.inverse;
  if (!x) return;
  for (uint32_t i = 0; i < x->rebuilt_count; i++)
    if (ck->t->var_tensor[x->rebuilt[i]] >= 0) *mp_push(a, &r->rebuilt) = (edge){ck->t->var_tensor[x->rebuilt[i]], -1, -1, -1};
  for (uint32_t i = 0; i < x->output_count; i++)
    if (ck->t->var_tensor[x->outputs[i]] >= 0) *mp_push(a, &r->outputs) = (edge){ck->t->var_tensor[x->outputs[i]], -1, -1, -1};
}

/* An output that the next region rebuilds is handed back by it. */
static void join_edges(mp_checkpoint_state *ck) {
  for (uint32_t i = 0; i < ck->count; i++)
    for (size_t k = 0; k < ck->regions[i].rebuilt.n; k++)
      for (uint32_t j = 0; j < i; j++)
        for (size_t o = 0; o < ck->regions[j].outputs.n; o++) {
          edge *in = &ck->regions[i].rebuilt.at[k], *out = &ck->regions[j].outputs.at[o];
          if (in->made != out->made || !ck->regions[i].needed) continue;
          in->region = (int32_t)j;
          in->slot = (int32_t)o;
          out->region = (int32_t)i;
        }
}

static void find_keeps(mp_arena *a, region *r) {
  if (r->calls.outer >= 0) return;
  for (size_t k = 0; k < r->inputs.n; k++) *mp_push(a, &r->keeps) = r->inputs.at[k];
  for (size_t k = 0; k < r->outputs.n; k++)
    if (r->outputs.at[k].region < 0) *mp_push(a, &r->keeps) = r->outputs.at[k].made;
}

/* What a region reads that was made outside, parameters and buffers apart. */
static void find_inputs(mp_arena *a, mp_checkpoint_state *ck, region *r) {
  const mp_program *p = ck->t->program;
  for (uint32_t c = r->calls.first; c < r->calls.end; c++) {
    const mp_call *call = &p->calls[c];
    for (uint32_t i = 0; i < call->arg_count; i++) {
      const mp_arg *x = &call->args[i];
      uint32_t n = x->kind == MP_ARG_VAR ? 1 : x->kind == MP_ARG_VARS ? x->n : 0;
      for (uint32_t k = 0; k < n; k++) {
        int32_t v = x->kind == MP_ARG_VAR ? x->as.var : x->as.vars[k];
        if (v < 0) continue;
        const mp_var *var = &p->vars[v];
        bool outside = var->role == MP_ROLE_INPUT || (var->role == MP_ROLE_RESULT && (var->call < (int32_t)r->calls.first || var->call >= (int32_t)r->calls.end));
        if (outside && ck->t->var_tensor[v] >= 0 && !is_rebuilt(r, ck->t->var_tensor[v])) *mp_push(a, &r->inputs) = ck->t->var_tensor[v];
      }
    }
  }
}

/* the region changes: events of the old one end here, those of the new one begin */
static void turn(mp_checkpoint_state *ck, int32_t *now, int32_t next, uint32_t event) {
  if (next == *now) return;
  if (*now >= 0) ck->regions[*now].to = event;
  if (next >= 0) ck->regions[next].from = event;
  *now = next;
}

static void find_events(mp_checkpoint_state *ck) {
  const mp_trace *t = ck->t;
  int32_t inner = -1, outer = -1;
  for (uint32_t i = t->input_events; i < t->event_count; i++) {
    const mp_event *ev = &t->events[i];
    if (ev->kind == MP_EV_CALL || ev->kind == MP_EV_MARK) {
      int32_t next = ev->kind == MP_EV_CALL ? ck->of_call[ev->a] : -1, around = next >= 0 ? ck->regions[next].calls.outer : -1;
      turn(ck, &outer, around >= 0 ? around : next, i);
      turn(ck, &inner, around >= 0 ? next : -1, i);
    }
    int32_t now = inner >= 0 ? inner : outer;
    if (ev->kind == MP_EV_FN && now >= 0 && t->fns[ev->a].saved_count) {
      ck->regions[now].savers++;
      ck->regions[now].needed |= !t->fns[ev->a].dead;
    }
  }
  for (uint32_t i = 0; i < ck->count; i++) {
    region *r = &ck->regions[i];
    if (r->calls.outer < 0 || !r->savers) continue;
    ck->regions[r->calls.outer].savers++; /* it saves its inputs there */
    ck->regions[r->calls.outer].needed |= r->needed;
  }
}

mp_checkpoint_state *mp_checkpoint_new(mp_arena *a, const mp_trace *t, const mp_region *regions, uint32_t n, const int8_t *save_calls) {
  if (!n) return NULL;
  mp_checkpoint_state *ck = mp_alloc(a, sizeof *ck);
  ck->t = t;
  ck->save_calls = save_calls;
  ck->count = n;
  ck->regions = mp_alloc_array(a, n, sizeof *ck->regions);
  ck->of_call = mp_alloc_array(a, t->program->call_count + 1, sizeof *ck->of_call);
  for (uint32_t c = 0; c < t->program->call_count; c++) ck->of_call[c] = -1;
  for (uint32_t i = 0; i < n; i++) {
    ck->regions[i].calls = regions[i];
    for (uint32_t c = regions[i].first; c < regions[i].end; c++) ck->of_call[c] = (int32_t)i;
    find_edges(a, ck, &ck->regions[i]);
    find_inputs(a, ck, &ck->regions[i]);
  }
  find_events(ck);
  join_edges(ck);
  for (uint32_t i = 0; i < n; i++) find_keeps(a, &ck->regions[i]);
  ck->ten_map = mp_alloc_array(a, t->tensor_count + 1, sizeof *ck->ten_map);
  ck->stor_map = mp_alloc_array(a, t->storage_count + 1, sizeof *ck->stor_map);
  memset(ck->ten_map, -1, (t->tensor_count + 1) * sizeof *ck->ten_map);
  memset(ck->stor_map, -1, (t->storage_count + 1) * sizeof *ck->stor_map);
  return ck;
}

int32_t mp_checkpoint_region(const mp_checkpoint_state *ck, int32_t call) { return ck && call >= 0 ? ck->of_call[call] : -1; }

void mp_checkpoint_forward(mp_checkpoint_state *ck) {
  for (uint32_t i = 0; ck && i < ck->count; i++) {
    ck->regions[i].entered = ck->regions[i].recomputed = false;
    ck->regions[i].left = ck->regions[i].savers;
    ck->regions[i].kept.n = ck->regions[i].held.n = 0;
    for (size_t k = 0; k < ck->regions[i].rebuilt.n; k++) ck->regions[i].rebuilt.at[k].now = -1;
    for (size_t k = 0; k < ck->regions[i].outputs.n; k++) ck->regions[i].outputs.at[k].now = -1;
  }
  if (ck) ck->flops = 0;
}

uint64_t mp_checkpoint_flops(const mp_checkpoint_state *ck) { return ck ? ck->flops : 0; }

/* ---- the policy ---- */

bool mp_op_is_heavy(const char *op) {
  static const char *const heavy[] = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::_grouped_mm", "aten::convolution", "aten::_scaled_dot_product_flash_attention",
                                      "aten::_scaled_dot_product_efficient_attention"};
  for (size_t i = 0; i < sizeof heavy / sizeof *heavy; i++)
    if (!strcmp(op, heavy[i])) return true;
  return false;
}

static bool is_kept(const mp_checkpoint_state *ck, int32_t storage) {
  const mp_storage *s = &ck->t->storages[storage];
  return ck->save_calls && s->call >= 0 && ck->save_calls[s->call] && ck->of_call[s->call] >= 0 && mp_op_is_heavy(s->op);
}

void mp_checkpoint_made(mp_em *e, mp_checkpoint_state *ck, mp_ten t) {
  if (!ck || e->call < 0 || ck->of_call[e->call] < 0) return;
  region *r = &ck->regions[ck->of_call[e->call]];
  for (size_t k = 0; k < r->outputs.n && r->needed; k++)
    if (r->outputs.at[k].made == t && r->outputs.at[k].region < 0 && r->outputs.at[k].now < 0) {
      mp_em_hold(e, t);
      r->outputs.at[k].now = t;
    }
  if (!ck->save_calls || ck->t->tensors[t].is_view || !is_kept(ck, ck->t->tensors[t].storage)) return;
  mp_em_hold(e, t);
  *mp_push(e->a, &ck->regions[ck->of_call[e->call]].kept) = t;
}

void mp_checkpoint_enter(mp_em *e, mp_checkpoint_state *ck, int32_t i) {
  if (ck->regions[i].calls.outer >= 0) i = ck->regions[i].calls.outer;
  region *r = &ck->regions[i];
  if (r->entered || !r->needed) return;
  r->entered = true;
  for (size_t k = 0; k < r->inputs.n; k++) mp_em_hold(e, r->inputs.at[k]);
}

uint32_t mp_checkpoint_inputs(const mp_checkpoint_state *ck, uint32_t i, const mp_ten **inputs) {
  if (!ck || i >= ck->count) return UINT32_MAX;
  *inputs = ck->regions[i].keeps.at;
  return ck->regions[i].needed ? (uint32_t)ck->regions[i].keeps.n : 0;
}

/* ---- recomputation ---- */

static void copy_storage(mp_em *e, mp_checkpoint_state *ck, int32_t s) {
  int32_t fresh = (int32_t)e->stor.n;
  mp_storage copy = e->stor.at[s];
  *mp_push(e->a, &e->stor) = copy;
  ck->stor_map[s] = fresh;
  mp_live_event(e, MP_EV_NEW, fresh, 0);
}

static mp_ten copy_tensor(mp_em *e, mp_checkpoint_state *ck, mp_ten t) {
  mp_ten fresh = (mp_ten)e->tens.n;
  mp_tensor_info info = ck->t->tensors[t];
  if (ck->stor_map[info.storage] >= 0) info.storage = ck->stor_map[info.storage];
  *mp_push(e->a, &e->tens) = info;
  *mp_push(e->a, &e->holds) = 1;
  ck->ten_map[t] = fresh;
  mp_live_event(e, MP_EV_TENSOR, fresh, 0);
  return fresh;
}

static void keep_saved(mp_em *e, mp_checkpoint_state *ck, int32_t fn) {
  const mp_fn *was = &ck->t->fns[fn];
  for (uint32_t s = 0; s < was->saved_count; s++) {
    mp_ten t = was->saved[s];
    if (t >= 0 && ck->ten_map[t] >= 0) t = ck->ten_map[t];
    e->fns.at[fn].saved[s] = t;
    mp_em_hold(e, t);
  }
}

typedef MP_VEC(mp_ten) open_list; /* tensors of the trace whose copies the frames of a second run hold */

static void close_copy(mp_em *e, const mp_checkpoint_state *ck, open_list *open, mp_ten t) {
  if (ck->ten_map[t] < 0) return;
  mp_em_release(e, ck->ten_map[t]);
  for (size_t k = open->n; k-- > 0;)
    if (open->at[k] == t) {
      open->at[k] = -1;
      break;
    }
}

/* The outer region's second run comes to a region inside: that holds its inputs until it runs itself. -> does it come there now */
static bool hold_inner(mp_em *e, mp_checkpoint_state *ck, int32_t i) {
  region *r = &ck->regions[i];
  if (r->entered || !r->savers) return false;
  r->entered = true;
  for (size_t k = 0; k < r->inputs.n; k++) {
    mp_ten t = r->inputs.at[k], now = ck->ten_map[t] >= 0 ? ck->ten_map[t] : t;
    mp_em_hold(e, now);
    *mp_push(e->a, &r->held) = (edge){t, now, -1, -1};
  }
  return true;
}

static void map_held(mp_em *e, mp_checkpoint_state *ck, const region *r, bool on) {
  for (size_t k = 0; k < r->held.n; k++) {
    const edge *in = &r->held.at[k];
    if (in->now == in->made) continue;
    ck->ten_map[in->made] = on ? in->now : -1;
    ck->stor_map[ck->t->tensors[in->made].storage] = on ? e->tens.at[in->now].storage : -1;
  }
}

/* Runs the region's events again. With `save` its nodes keep what they need, and it ends with the last of them; -> the event behind the last one. */
static uint32_t run_again(mp_em *e, mp_checkpoint_state *ck, region *r, bool save, open_list *open) {
  const mp_event *ev = ck->t->events;
  int32_t self = (int32_t)(r - ck->regions), inner = -1;
  uint32_t savers = 0, i = r->from;
  for (; i < r->to && (!save || r->calls.inverse || savers < r->savers); i++) {
    int32_t a = ev[i].a;
    switch (ev[i].kind) {
      case MP_EV_CALL:
        e->call = a;
        inner = ck->of_call[a] != self ? ck->of_call[a] : -1;
        if (inner >= 0 && save && hold_inner(e, ck, inner) && ++savers == r->savers) return i;
        if (!ck->save_calls || !ck->save_calls[a]) ck->flops += ck->t->program->calls[a].flops;
        break;
      case MP_EV_NEW:
        if (!is_kept(ck, a)) copy_storage(e, ck, a);
        break;
      case MP_EV_TENSOR:
        copy_tensor(e, ck, a);
        *mp_push(e->a, open) = a;
        break;
      case MP_EV_DROP: close_copy(e, ck, open, a); break;
      case MP_EV_FN:
        if (inner >= 0) break;
        if (save && !ck->t->fns[a].dead) keep_saved(e, ck, a);
        savers += ck->t->fns[a].saved_count > 0;
        break;
      case MP_EV_SCRATCH: mp_live_event(e, MP_EV_SCRATCH, 0, ev[i].b); break;
      default: break;
    }
  }
  return i;
}

static void leave_frames(mp_em *e, mp_checkpoint_state *ck, const region *r, uint32_t end, const open_list *open) {
  const mp_event *ev = ck->t->events;
  for (size_t k = 0; k < open->n; k++)
    if (open->at[k] >= 0) mp_em_release(e, ck->ten_map[open->at[k]]);
  for (uint32_t j = r->from; j < end; j++) {
    if (ev[j].kind == MP_EV_TENSOR) ck->ten_map[ev[j].a] = -1;
    if (ev[j].kind == MP_EV_NEW) ck->stor_map[ev[j].a] = -1;
  }
}

/* What the inverse made: a tensor of the input's own size, in the storage of a result that is as large where there is one. */
static mp_ten rebuild(mp_em *e, mp_checkpoint_state *ck, const region *r, mp_ten input, bool *taken) {
  mp_tensor_info info = ck->t->tensors[input];
  uint64_t bytes = 0;
  mp_dtype_bytes(info.dtype, mp_numel(&info), &bytes);
  mp_strides_contiguous(info.rank, info.dims, info.strides);
  info.offset = 0;
  info.storage = -1;
  for (size_t k = 0; k < r->outputs.n && info.storage < 0; k++) {
    mp_ten copy = ck->ten_map[r->outputs.at[k].made];
    if (taken[k] || copy < 0 || e->stor.at[e->tens.at[copy].storage].bytes != bytes) continue;
    taken[k] = true;
    info.storage = e->tens.at[copy].storage;
  }
  if (info.storage < 0) {
    mp_storage fresh = ck->t->storages[ck->t->tensors[input].storage];
    info.storage = (int32_t)e->stor.n;
    fresh.bytes = bytes;
    *mp_push(e->a, &e->stor) = fresh;
    mp_live_event(e, MP_EV_NEW, info.storage, 0);
  }
  mp_ten t = (mp_ten)e->tens.n;
  *mp_push(e->a, &e->tens) = info;
  *mp_push(e->a, &e->holds) = 1;
  mp_live_event(e, MP_EV_TENSOR, t, 0);
  return t;
}

/* The inverse runs without gradients and takes what the forward pass takes; then the outputs go. */
static void invert(mp_em *e, mp_checkpoint_state *ck, region *r) {
  open_list open = {0};
  uint32_t end = run_again(e, ck, r, false, &open);
  bool *taken = mp_alloc_array(e->a, r->outputs.n + 1, sizeof *taken);
  for (size_t k = 0; k < r->rebuilt.n; k++) r->rebuilt.at[k].now = rebuild(e, ck, r, r->rebuilt.at[k].made, taken);
  leave_frames(e, ck, r, end, &open);
  for (size_t k = 0; k < r->outputs.n; k++) {
    if (r->outputs.at[k].now >= 0) mp_em_release(e, r->outputs.at[k].now);
    r->outputs.at[k].now = -1;
  }
  for (size_t k = 0; k < r->rebuilt.n; k++) { /* the second run reads these */
    const edge *in = &r->rebuilt.at[k];
    ck->ten_map[in->made] = in->now;
    ck->stor_map[ck->t->tensors[in->made].storage] = e->tens.at[in->now].storage;
    if (in->region < 0) continue;
    mp_em_hold(e, in->now);
    ck->regions[in->region].outputs.at[in->slot].now = in->now;
  }
}

static void recompute(mp_em *e, mp_checkpoint_state *ck, region *r) {
  open_list open = {0};
  if (r->calls.inverse) invert(e, ck, r);
  map_held(e, ck, r, true);
  uint32_t end = run_again(e, ck, r, true, &open);
  for (size_t k = 0; k < r->kept.n; k++) mp_em_release(e, r->kept.at[k]); /* popped from the policy's cache */
  leave_frames(e, ck, r, end, &open);
  map_held(e, ck, r, false);
  for (size_t k = 0; k < r->rebuilt.n; k++) {
    ck->ten_map[r->rebuilt.at[k].made] = -1;
    ck->stor_map[ck->t->tensors[r->rebuilt.at[k].made].storage] = -1;
  }
}

void mp_checkpoint_before(mp_em *e, mp_checkpoint_state *ck, int32_t fn) {
  int32_t i = mp_checkpoint_region(ck, e->fns.at[fn].call);
  if (i < 0 || !e->fns.at[fn].saved_count) return;
  for (int32_t k = ck->regions[i].calls.outer >= 0 ? ck->regions[i].calls.outer : i;; k = i) { /* the outer one first */
    if (!ck->regions[k].recomputed) recompute(e, ck, &ck->regions[k]);
    ck->regions[k].recomputed = true;
    if (k == i) return;
  }
}

bool mp_checkpoint_keeps(const mp_checkpoint_state *ck, int32_t fn) {
  int32_t i = mp_checkpoint_region(ck, ck->t->fns[fn].call);
  return i < 0 || ck->regions[i].recomputed;
}

static void one_less(mp_em *e, mp_checkpoint_state *ck, region *r) {
  if (--r->left) return;
  for (size_t k = 0; k < r->held.n; k++) mp_em_release(e, r->held.at[k].now);
  if (r->calls.outer >= 0) {
    one_less(e, ck, &ck->regions[r->calls.outer]);
    return;
  }
  if (!r->entered) return;
  for (size_t k = 0; k < r->inputs.n; k++) mp_em_release(e, r->inputs.at[k]);
  for (size_t k = 0; k < r->rebuilt.n; k++)
    if (r->rebuilt.at[k].now >= 0) mp_em_release(e, r->rebuilt.at[k].now);
}

void mp_checkpoint_after(mp_em *e, mp_checkpoint_state *ck, int32_t fn) {
  int32_t i = mp_checkpoint_region(ck, e->fns.at[fn].call);
  if (i >= 0 && e->fns.at[fn].saved_count) one_less(e, ck, &ck->regions[i]);
}
