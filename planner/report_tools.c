/* How reports write numbers, and what they warn of. */
#include <stdio.h>

#include "planner/report.h"

#include "planner/optimizer.h"

const char *mp_count_text(mp_arena *a, uint64_t n) {
  char digits[32], out[48];
  int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), at = 0;
  for (int i = 0; i < len; i++) {
    if (i && (len - i) % 3 == 0) out[at++] = ',';
    out[at++] = digits[i];
  }
  out[at] = 0;
  return mp_strdup(a, out);
}

const char *mp_size_text(mp_arena *a, uint64_t bytes) {
  double b = (double)bytes;
  if (bytes >= (UINT64_C(1) << 30)) return mp_format(a, "%.2f GiB", b / (1 << 30));
  if (bytes >= (1 << 20)) return mp_format(a, "%.1f MiB", b / (1 << 20));
  if (bytes >= (1 << 10)) return mp_format(a, "%.1f KiB", b / (1 << 10));
  return mp_format(a, "%llu B", (unsigned long long)bytes);
}

const char *mp_flops_text(mp_arena *a, uint64_t flops) {
  double f = (double)flops;
  return f >= 1e15 ? mp_format(a, "%.2f PFLOP", f / 1e15) : f >= 1e12 ? mp_format(a, "%.2f TFLOP", f / 1e12) : f >= 1e9 ? mp_format(a, "%.2f GFLOP", f / 1e9) : mp_format(a, "%.2f MFLOP", f / 1e6);
}

/* What a verdict alone does not say; NULL: nothing. */
static const char *remark(mp_arena *a, const mp_answer *x, const mp_verdict *v) {
  if (v->fits == MP_TIGHT)
    return mp_format(a, "%s: fits with %s to spare, which is less than the stated error and cuDNN's range", v->device->name, mp_size_text(a, (uint64_t)v->spare));
  if (!v->gives_back) return NULL;
  return mp_format(a, "%s: what is missing is cached by the allocator, which gives it back before it fails: the step would run, but stop to do so in every iteration%s", v->device->name,
                   x->question->run->expandable_segments ? "" : " (--expandable-segments may avoid that)");
}

const char *const *mp_warnings_of(mp_arena *a, const mp_answer *x, bool split, uint32_t *n) {
  const mp_timeline *t = x->timeline;
  const char **list = mp_alloc_array(a, t->warning_count + x->question->device_count + 1, sizeof *list);
  *n = 0;
  for (uint32_t i = 0; i < t->warning_count; i++) list[(*n)++] = t->warnings[i];
  for (uint32_t i = 0; i < x->question->device_count && !split; i++) {
    list[*n] = remark(a, x, &x->verdicts[i]);
    *n += list[*n] != NULL;
  }
  return list;
}

const char *mp_run_optimizer_name(const mp_run *r) { return r->optimizer ? r->optimizer->name : "no optimizer"; }

mp_alive *mp_alive_at(mp_arena *a, const mp_tape *t, uint32_t step, uint32_t *count) {
  mp_alive *of = mp_alloc_array(a, t->instance_count + 1, sizeof *of); /* by instance; bytes 0: not alive */
  uint32_t n = 0, state = 0;
  const mp_program *p = t->trace->program;
  for (uint32_t i = 0; i <= step && i < t->step_count; i++) {
    const mp_step *s = &t->steps[i];
    if (s->kind == MP_ALLOC) of[s->id] = (mp_alive){.bytes = s->bytes, .category = s->category, .step = i};
    if (s->kind == MP_FREE) of[s->id].bytes = 0;
    if (s->kind == MP_BECOME) of[s->id].category = s->category;
  }
  for (uint32_t e = 0; e < t->trace->setup_events; e++) { /* the first instances are the parameters and buffers, in the trace's order */
    const mp_event *ev = &t->trace->events[e];
    if (ev->kind != MP_EV_NEW || !t->trace->storages[ev->a].bytes) continue;
    int32_t v = t->trace->storages[ev->a].var;
    if (v >= 0 && state < t->instance_count) of[state].name = p->vars[v].name;
    state++;
  }
  for (uint32_t i = 0; i < t->instance_count; i++)
    if (of[i].bytes) of[n++] = of[i];
  *count = n;
  return of;
}

static int larger(const void *x, const void *y) {
  const mp_alive *a = x, *b = y;
  return a->bytes != b->bytes ? (a->bytes < b->bytes ? 1 : -1) : (a->step > b->step) - (a->step < b->step);
}

const mp_largest *mp_largest_of(mp_arena *a, const mp_answer *x, uint32_t *n) {
  uint32_t count;
  mp_alive *all = mp_alive_at(a, x->tape, x->timeline->peak.step, &count);
  if (count) qsort(all, count, sizeof *all, larger);
  if (*n > count) *n = count;
  mp_largest *list = mp_alloc_array(a, *n + 1, sizeof *list);
  const mp_program *p = x->program;
  for (uint32_t i = 0; i < *n; i++) {
    const mp_step *s = &x->tape->steps[all[i].step];
    const char *module = all[i].name ? all[i].name : s->call >= 0 ? p->instances[p->calls[s->call].module].path : "";
    list[i] = (mp_largest){.bytes = all[i].bytes, .category = mp_category_name((mp_category)all[i].category), .call = s->op, .module = module};
  }
  return list;
}
