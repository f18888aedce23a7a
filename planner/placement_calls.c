/* Granularity calls: what to keep inside the regions. */
#include <stdlib.h>
#include <string.h>

#include "planner/placement_inside.h"

typedef struct heavy {
  uint32_t call;
  double cost;
  uint64_t bytes;
} heavy;
static int dear_first(const void *x, const void *y) {
  const heavy *a = x, *b = y;
  double l = a->cost * (double)b->bytes, r = b->cost * (double)a->bytes;
  if (l != r) return l > r ? -1 : 1;
  return a->call < b->call ? -1 : 1; /* of equals the first: its region is recomputed last, when least is alive */
}

void mp_place_keep_calls(mp_place *s, const mp_choice *best, mp_trial *got, int8_t **save) {
  const mp_trace *t = s->t;
  heavy *h = mp_alloc_array(s->a, t->storage_count + 1, sizeof *h);
  uint32_t n = 0;
  bool *in = mp_alloc(s->a, t->program->call_count + 1);
  for (uint32_t k = 0; k < best->n; k++) memset(in + s->all.at[best->at[k]].first, 1, s->all.at[best->at[k]].end - s->all.at[best->at[k]].first);
  bool *written = mp_alloc(s->a, t->storage_count + 1); /* in place, later: PyTorch refuses to keep those */
  for (uint32_t c = 0; c < t->program->call_count; c++) {
    const mp_call *x = &t->program->calls[c];
    if (x->in_place && x->arg_count && x->args[0].kind == MP_ARG_VAR && t->var_tensor[x->args[0].as.var] >= 0)
      written[t->tensors[t->var_tensor[x->args[0].as.var]].storage] = true;
  }
  for (uint32_t i = 0; i < t->storage_count; i++) {
    const mp_storage *x = &t->storages[i];
    if (x->call < 0 || !in[x->call] || !mp_op_is_heavy(x->op) || !x->bytes || s->cost[x->call] <= 0 || written[i]) continue;
    if (n && h[n - 1].call == (uint32_t)x->call) h[n - 1].bytes += x->bytes;
    else h[n++] = (heavy){(uint32_t)x->call, s->cost[x->call], x->bytes};
  }
  if (n) qsort(h, n, sizeof *h, dear_first);
  int8_t *now = mp_alloc(s->a, t->program->call_count + 1);
  uint32_t lo = 0, hi = n; /* the first lo are kept for sure */
  while (lo < hi && !mp_place_late(s)) {
    uint32_t mid = (lo + hi + 1) / 2;
    memset(now, 0, t->program->call_count + 1);
    for (uint32_t k = 0; k < mid; k++) now[h[k].call] = 1;
    mp_trial r = mp_place_attempt(s, best, now);
    if (r.peak <= s->ask->budget) {
      lo = mid;
      if (r.cost < got->cost) *got = r;
    } else {
      hi = mid - 1;
    }
  }
  memset(now, 0, t->program->call_count + 1);
  for (uint32_t k = 0; k < lo; k++) now[h[k].call] = 1;
  for (uint32_t k = lo + 1; k < n && k < lo + 12 && !mp_place_late(s); k++) { /* smaller ones may still fit behind one that does not */
    now[h[k].call] = 1;
    mp_trial r = mp_place_attempt(s, best, now);
    if (r.peak <= s->ask->budget && r.cost <= got->cost) *got = r;
    else now[h[k].call] = 0;
  }
  *save = now;
}
