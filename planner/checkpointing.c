#include "planner/checkpointing.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct region {
  mp_region calls;
  uint32_t from, to;       /* events */
  uint32_t savers, left;   /* nodes that save something: all, and those that have not run */
  bool needed;             /* backward reaches one of them; otherwise nothing holds the region's inputs */
  bool entered, recomputed;
  MP_VEC(mp_ten) inputs;   /* tensors of the trace that are made outside and read inside */
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

/* ---- which calls ---- */

static bool in_range(const char *pattern, const char *path) { /* PATH.FIRST..PATH.LAST */
  const char *dots = strstr(pattern, "..");
  if (!dots) return false;
  const char *last = dots + 2, *pdot = strrchr(last, '.');
  size_t stem = pdot ? (size_t)(pdot - last) + 1 : 0;
  if (strncmp(path, last, stem) != 0 || strncmp(pattern, last, stem) != 0) return false;
  char *end;
  long n = strtol(path + stem, &end, 10);
  if (end == path + stem || *end) return false;
  return n >= strtol(pattern + stem, NULL, 10) && n <= strtol(last + stem, NULL, 10);
}

static bool matches(const char *pattern, const mp_instance *m) {
  if (!strcmp(pattern, "blocks")) return m->block >= 0;
  return strcmp(pattern, m->path) == 0 || in_range(pattern, m->path) || mp_glob(pattern, m->path);
}

static int by_first(const void *x, const void *y) {
  const mp_region *a = x, *b = y;
  if (a->first != b->first) return a->first < b->first ? -1 : 1;
  return a->end > b->end ? -1 : a->end < b->end; /* the wider first */
}

uint32_t mp_plan_regions(mp_arena *a, const mp_program *p, const mp_plan *plan, const mp_region **regions) {
  MP_VEC(mp_region) all = {0};
  for (uint32_t k = 0; plan && k < plan->checkpoints; k++) {
    const char *pattern = plan->checkpoint[k];
    if (!strcmp(pattern, "none")) continue;
    size_t before = all.n;
    bool range = strstr(pattern, "..") != NULL;
    for (uint32_t i = 1; i < p->instance_count; i++) {
      const mp_instance *m = &p->instances[i];
      if (m->first >= m->end || !matches(pattern, m)) continue;
      mp_region *last = range && all.n > before ? &all.at[all.n - 1] : NULL;
      if (last && last->end == m->first) last->end = m->end; /* a run of siblings is one region */
      else *mp_push(a, &all) = (mp_region){m->first, m->end};
    }
    if (all.n == before)
      mp_fail(a, MP_BAD_INPUT, "--checkpoint '%s' matches no module of %s that runs; memplan fit --tree lists their paths%s", pattern, p->path,
              !strcmp(pattern, "blocks") ? " (no repeated blocks were found)" : "");
  }
  if (all.n) qsort(all.at, all.n, sizeof *all.at, by_first);
  size_t n = 0;
  for (size_t i = 0; i < all.n; i++)
    if (!n || all.at[i].first >= all.at[n - 1].end) all.at[n++] = all.at[i];
  *regions = all.at;
  return (uint32_t)n;
}

/* ---- the regions of a trace ---- */

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
        if (outside && ck->t->var_tensor[v] >= 0) *mp_push(a, &r->inputs) = ck->t->var_tensor[v];
      }
    }
  }
}

static void find_events(mp_checkpoint_state *ck) {
  const mp_trace *t = ck->t;
  int32_t now = -1;
  for (uint32_t i = t->input_events; i < t->event_count; i++) {
    const mp_event *ev = &t->events[i];
    if (ev->kind == MP_EV_CALL || ev->kind == MP_EV_MARK) {
      int32_t next = ev->kind == MP_EV_CALL ? ck->of_call[ev->a] : -1;
      if (next != now && now >= 0) ck->regions[now].to = i;
      if (next != now && next >= 0) ck->regions[next].from = i;
      now = next;
    }
    if (ev->kind == MP_EV_FN && now >= 0 && t->fns[ev->a].saved_count) {
      ck->regions[now].savers++;
      ck->regions[now].needed |= !t->fns[ev->a].dead;
    }
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
    find_inputs(a, ck, &ck->regions[i]);
  }
  find_events(ck);
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
    ck->regions[i].kept.n = 0;
  }
  if (ck) ck->flops = 0;
}

uint64_t mp_checkpoint_flops(const mp_checkpoint_state *ck) { return ck ? ck->flops : 0; }

/* ---- the policy ---- */

bool mp_op_is_heavy(const char *op) {
  static const char *const heavy[] = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::convolution", "aten::_scaled_dot_product_flash_attention",
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
  if (!ck || !ck->save_calls || e->call < 0 || ck->of_call[e->call] < 0 || ck->t->tensors[t].is_view || !is_kept(ck, ck->t->tensors[t].storage)) return;
  mp_em_hold(e, t);
  *mp_push(e->a, &ck->regions[ck->of_call[e->call]].kept) = t;
}

void mp_checkpoint_enter(mp_em *e, mp_checkpoint_state *ck, int32_t i) {
  region *r = &ck->regions[i];
  if (r->entered || !r->needed) return;
  r->entered = true;
  for (size_t k = 0; k < r->inputs.n; k++) mp_em_hold(e, r->inputs.at[k]);
}

uint32_t mp_checkpoint_inputs(const mp_checkpoint_state *ck, uint32_t i, const mp_ten **inputs) {
  if (!ck || i >= ck->count) return UINT32_MAX;
  *inputs = ck->regions[i].inputs.at;
  return ck->regions[i].needed ? (uint32_t)ck->regions[i].inputs.n : 0;
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

static void recompute(mp_em *e, mp_checkpoint_state *ck, region *r) {
  const mp_event *ev = ck->t->events;
  MP_VEC(mp_ten) open = {0}; /* tensors of the trace whose copies the frames of the recomputation hold */
  uint32_t savers = 0, i = r->from;
  for (; i < r->to && savers < r->savers; i++) {
    int32_t a = ev[i].a;
    switch (ev[i].kind) {
      case MP_EV_CALL:
        e->call = a;
        if (!ck->save_calls || !ck->save_calls[a]) ck->flops += ck->t->program->calls[a].flops;
        break;
      case MP_EV_NEW:
        if (!is_kept(ck, a)) copy_storage(e, ck, a);
        break;
      case MP_EV_TENSOR:
        copy_tensor(e, ck, a);
        *mp_push(e->a, &open) = a;
        break;
      case MP_EV_DROP:
        if (ck->ten_map[a] < 0) break;
        mp_em_release(e, ck->ten_map[a]);
        for (size_t k = open.n; k-- > 0;)
          if (open.at[k] == a) {
            open.at[k] = -1;
            break;
          }
        break;
      case MP_EV_FN:
        if (!ck->t->fns[a].dead) keep_saved(e, ck, a);
        savers += ck->t->fns[a].saved_count > 0;
        break;
      case MP_EV_SCRATCH: mp_live_event(e, MP_EV_SCRATCH, 0, ev[i].b); break;
      default: break;
    }
  }
  for (size_t k = 0; k < r->kept.n; k++) mp_em_release(e, r->kept.at[k]); /* popped from the policy's cache */
  for (size_t k = 0; k < open.n; k++)
    if (open.at[k] >= 0) mp_em_release(e, ck->ten_map[open.at[k]]);
  for (uint32_t j = r->from; j < i; j++) {
    if (ev[j].kind == MP_EV_TENSOR) ck->ten_map[ev[j].a] = -1;
    if (ev[j].kind == MP_EV_NEW) ck->stor_map[ev[j].a] = -1;
  }
}

void mp_checkpoint_before(mp_em *e, mp_checkpoint_state *ck, int32_t fn) {
  int32_t i = mp_checkpoint_region(ck, e->fns.at[fn].call);
  if (i < 0 || ck->regions[i].recomputed || !e->fns.at[fn].saved_count) return;
  ck->regions[i].recomputed = true;
  recompute(e, ck, &ck->regions[i]);
}

bool mp_checkpoint_keeps(const mp_checkpoint_state *ck, int32_t fn) {
  int32_t i = mp_checkpoint_region(ck, ck->t->fns[fn].call);
  return i < 0 || ck->regions[i].recomputed;
}

void mp_checkpoint_after(mp_em *e, mp_checkpoint_state *ck, int32_t fn) {
  int32_t i = mp_checkpoint_region(ck, e->fns.at[fn].call);
  if (i < 0 || !e->fns.at[fn].saved_count) return;
  region *r = &ck->regions[i];
  if (--r->left || !r->entered) return;
  for (size_t k = 0; k < r->inputs.n; k++) mp_em_release(e, r->inputs.at[k]);
}
