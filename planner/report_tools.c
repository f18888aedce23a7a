/* How reports write numbers. */
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
