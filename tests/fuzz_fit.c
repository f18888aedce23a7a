/* Any model through the whole chain: recovered, traced, replayed, reported; the last bytes pick the run. What does not hold for every tape is a fault: the categories sum to the
 * peak, and a refusal says why. Build as fuzz_model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/memplan.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(const mp_timeline *t) {
  uint64_t sum = 0;
  for (int c = 0; c < MP_CATEGORIES; c++) sum += t->peak.by[c];
  if (sum != t->peak.allocated || t->peak.reserved < t->peak.allocated) abort();
}

/* the graph with its first open dimensions bound to small numbers */
static const mp_graph *bound(mp_arena *a, const mp_model *m, mp_err *err) {
  mp_binding dims[4];
  mp_graph_options o = {.bindings = dims};
  const mp_graph *g = mp_graph_build(a, m, &o, err);
  for (const char *open; g && o.binding_count < 4 && (open = mp_graph_open_dim(g));) {
    dims[o.binding_count++] = (mp_binding){open, -1, 2 * o.binding_count + 2};
    g = mp_graph_build(a, m, &o, err);
  }
  return g;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  if (n < 2) return 0;
  mp_arena *a = mp_arena_new((uint64_t)256 << 20);
  if (!a) return 0;
  mp_err err = {0};
  uint8_t how = bytes[n - 1], more = bytes[n - 2];
  mp_run run = mp_run_default();
  run.precision = (mp_precision)(how % 6);
  run.attention = (mp_attention)(how / 8 % 6);
  run.loss = (mp_loss)(how / 64 % 4 + (how / 64 % 4 ? 1 : 0));
  run.accumulate = 1 + more % 3;
  run.hold_outputs = (mp_hold)(more / 4 % 4);
  run.lora_rank = more % 7 == 3 ? 2 : 0;
  run.infer = (more & 48) == 48;
  run.dropout = more & 64 ? 0.1 : -1;
  const char *blocks = "blocks";
  const mp_plan plan = {.checkpoint = &blocks, .checkpoints = more & 128 ? 1 : 0};
  const mp_model *m = mp_model_read_memory(a, "fuzz", bytes, n, &err);
  const mp_graph *g = m ? bound(a, m, &err) : NULL;
  const mp_program *found = g ? mp_program_recover(a, g, &err) : NULL, *p = found ? mp_program_edit(a, found, &run, &err) : NULL;
  const mp_trace *t = p ? mp_trace_make(a, p, &run, &err) : NULL;
  const mp_tape *tape = t ? mp_tape_make(a, t, &run, &plan, &err) : NULL;
  const mp_timeline *line = tape ? mp_timeline_make(a, tape, &err) : NULL;
  if (line) check(line);
  else if (!err.code || !*err.text || (err.code == MP_INTERNAL && !strstr(err.text, "memory"))) { /* NULL without a reason, or a fault of our own; the limit is no fault */
    fprintf(stderr, "%d: %s\n", err.code, err.text);
    abort();
  }
  mp_arena_free(a);
  return 0;
}
