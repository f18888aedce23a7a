/* Any bytes through inspect and through the chain of fit. What has to hold: a refusal gives its reason in one line and is no fault of memplan's own; a peak is the sum of its
 * categories; a small file takes little memory. */
#include "support_any.h"

#include <stdio.h>
#include <string.h>

static const char *fault_of(const mp_err *err, bool done, bool memory_counts) {
  static char line[sizeof err->text + 64];
  if (done && !err->code) return NULL;
  bool memory = !strncmp(err->text, "the model needs more than ", 26); /* the arena's limit; no name from the file comes first in a line */
  if (err->code == MP_BAD_INPUT && *err->text && !strchr(err->text, '\n') && !(memory && memory_counts)) return NULL;
  snprintf(line, sizeof line, "%s, code %d: '%s'", done ? "a result" : "no result", err->code, err->text);
  return line;
}

const char *test_inspect_any(const uint8_t *bytes, size_t n) {
  mp_arena *a = mp_arena_new((uint64_t)100 << 20);
  mp_err err = {0};
  uint8_t how = n ? bytes[n - 1] : 0;
  const mp_model *m = mp_model_read_memory(a, "any", bytes, n, &err);
  const mp_binding dims[] = {{"batch", -1, 2}};
  const mp_graph_options o = {.from_scratch = how & 1, .bindings = dims, .binding_count = how & 2 ? 1 : 0};
  const mp_inspect_options report = {.json = how & 4, .tree = how & 8, .unknown = how & 16};
  const mp_graph *g = m ? mp_graph_build(a, m, &o, &err) : NULL;
  const char *text = g ? mp_report_inspect(a, g, &report, &err) : NULL, *fault = fault_of(&err, text, true);
  mp_arena_free(a);
  return fault;
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

static mp_run run_of(uint8_t how, uint8_t more) {
  mp_run run = mp_run_default();
  run.precision = (mp_precision)(how % 6);
  run.attention = (mp_attention)(how / 8 % 6);
  run.loss = (mp_loss)(how / 64 % 4 + (how / 64 % 4 ? 1 : 0));
  run.accumulate = 1 + more % 3;
  run.hold_outputs = (mp_hold)(more / 4 % 4);
  run.lora_rank = more % 7 == 3 ? 2 : 0;
  run.infer = (more & 48) == 48;
  run.grad_scaler = more % 9 == 2;
  run.clip_grad = more % 11 == 4;
  run.ema = more % 13 == 5;
  run.optimizer = mp_optimizer_find(mp_optimizer_name(more % mp_optimizer_count()));
  run.dropout = more & 64 ? 0.1 : -1;
  return run;
}

static const char *wrong_sum(const mp_timeline *t) {
  uint64_t sum = 0;
  for (int c = 0; c < MP_CATEGORIES; c++) sum += t->peak.by[c];
  return sum != t->peak.allocated ? "the categories do not sum to the peak" : t->peak.reserved < t->peak.allocated ? "less is reserved than allocated" : NULL;
}

const char *test_fit_any(const uint8_t *bytes, size_t n) {
  if (n < 2) return NULL;
  mp_arena *a = mp_arena_new((uint64_t)256 << 20);
  mp_err err = {0};
  const mp_run run = run_of(bytes[n - 1], bytes[n - 2]);
  const char *blocks = "blocks";
  const mp_plan plan = {.checkpoint = &blocks, .checkpoints = bytes[n - 2] & 128 ? 1 : 0};
  const mp_model *m = mp_model_read_memory(a, "any", bytes, n, &err);
  const mp_graph *g = m ? bound(a, m, &err) : NULL;
  const mp_program *found = g ? mp_program_recover(a, g, &err) : NULL, *p = found ? mp_program_edit(a, found, &run, &err) : NULL;
  const mp_trace *t = p ? mp_trace_make(a, p, &run, &err) : NULL;
  const mp_tape *tape = t ? mp_tape_make(a, t, &run, &plan, &err) : NULL;
  const mp_timeline *line = tape ? mp_timeline_make(a, tape, &err) : NULL;
  const char *fault = line ? wrong_sum(line) : NULL;
  if (!fault) fault = fault_of(&err, line, false);
  mp_arena_free(a);
  return fault;
}
