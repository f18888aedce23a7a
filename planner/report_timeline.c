/* The timeline as files for other programs: bytes alive after every step, by category. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "planner/report.h"

static const char *event_name(const mp_step *s) {
  static const char *const names[] = {[MP_ALLOC] = "alloc", [MP_FREE] = "free", [MP_BECOME] = "become", [MP_ITERATION] = "iteration", [MP_PHASE] = "phase", [MP_FORWARD_END] = "forward end"};
  return names[s->kind];
}

static const char *module_of(const mp_tape *t, const mp_step *s) {
  const mp_program *p = t->trace->program;
  return s->call >= 0 ? p->instances[p->calls[s->call].module].path : "";
}

/* ---- CSV ---- */

typedef struct csv {
  mp_arena *a;
  const mp_tape *t;
  mp_text text;
} csv;

static void row(void *arg, uint32_t i, uint64_t now, const uint64_t *by) {
  csv *c = arg;
  const mp_step *s = &c->t->steps[i];
  mp_text_add(c->a, &c->text, "%u,%d,%s,%s,%s,\"%s\",%llu,%llu", i, s->iteration + 1, mp_phase_name((mp_phase)s->phase), event_name(s), s->op ? s->op : "", module_of(c->t, s),
              (unsigned long long)s->bytes, (unsigned long long)now);
  for (int k = 0; k < MP_CATEGORIES; k++) mp_text_add(c->a, &c->text, ",%llu", (unsigned long long)by[k]);
  mp_text_add(c->a, &c->text, "\n");
}

static const void *make_csv(mp_arena *a, void *arg) {
  const mp_answer *x = arg;
  csv c = {.a = a, .t = x->tape};
  mp_text_add(a, &c.text, "step,iteration,phase,event,call,module,bytes,allocated");
  for (int k = 0; k < MP_CATEGORIES; k++) mp_text_add(a, &c.text, ",%s", mp_category_name((mp_category)k));
  mp_text_add(a, &c.text, "\n");
  mp_timeline_walk(a, x->tape, row, &c);
  return c.text.at;
}

/* ---- trace events: the format of chrome://tracing, which Perfetto reads ---- */

enum { ITERATIONS = 1, PHASES, CALLS, TRACKS }; /* thread numbers: each is a row of slices */

typedef struct trace {
  const mp_tape *t;
  json_t *events;
  uint32_t since[TRACKS]; /* the step at which the open slice of a track began */
} trace;

static void slice(trace *c, int track, const char *name, const char *module, uint32_t end) {
  if (!*name || end == c->since[track]) return;
  json_array_append_new(c->events, json_pack("{s:s,s:s,s:i,s:i,s:I,s:I,s:{s:s}}", "name", name, "ph", "X", "pid", 1, "tid", track, "ts", (json_int_t)c->since[track], "dur",
                                             (json_int_t)(end - c->since[track]), "args", "module", module));
}

/* ends the slices that step i does not belong to any more */
static void end_slices(trace *c, uint32_t i) {
  const mp_step *was = &c->t->steps[i - 1], *now = i < c->t->step_count ? &c->t->steps[i] : NULL;
  bool turns = !now || now->iteration != was->iteration, phase = turns || now->phase != was->phase;
  bool other = phase || now->call != was->call || strcmp(now->op ? now->op : "", was->op ? was->op : "");
  if (other) slice(c, CALLS, was->op ? was->op : "", module_of(c->t, was), i), c->since[CALLS] = i;
  if (phase) slice(c, PHASES, mp_phase_name((mp_phase)was->phase), "", i), c->since[PHASES] = i;
  if (turns) {
    static const char *const names[] = {"first iteration", "second iteration", "steady iteration"};
    slice(c, ITERATIONS, names[was->iteration < 2 ? was->iteration : 2], "", i);
    c->since[ITERATIONS] = i;
  }
}

static void event(void *arg, uint32_t i, uint64_t now, const uint64_t *by) {
  trace *c = arg;
  (void)now;
  if (i) end_slices(c, i);
  uint8_t kind = c->t->steps[i].kind;
  if (kind != MP_ALLOC && kind != MP_FREE && kind != MP_BECOME) return;
  json_t *values = json_object();
  for (int k = 0; k < MP_CATEGORIES; k++) json_object_set_new(values, mp_category_name((mp_category)k), json_integer((json_int_t)by[k]));
  json_array_append_new(c->events, json_pack("{s:s,s:s,s:i,s:I,s:o}", "name", "bytes alive", "ph", "C", "pid", 1, "ts", (json_int_t)i, "args", values));
}

static void name_track(trace *c, const char *what, int track, const char *name) {
  json_array_append_new(c->events, json_pack("{s:s,s:s,s:i,s:i,s:{s:s}}", "name", what, "ph", "M", "pid", 1, "tid", track, "args", "name", name));
}

static const void *make_trace(mp_arena *a, void *arg) {
  const mp_answer *x = arg;
  trace c = {.t = x->tape, .events = json_array()};
  name_track(&c, "process_name", 0, x->question->path);
  name_track(&c, "thread_name", ITERATIONS, "iterations");
  name_track(&c, "thread_name", PHASES, "phases");
  name_track(&c, "thread_name", CALLS, "calls");
  mp_timeline_walk(a, x->tape, event, &c);
  if (x->tape->step_count) end_slices(&c, x->tape->step_count);
  json_t *root = json_pack("{s:s,s:o}", "displayTimeUnit", "ms", "traceEvents", c.events);
  char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
  json_decref(root);
  if (!text) mp_fail(a, MP_INTERNAL, "out of memory while writing JSON");
  char *copy = mp_strdup(a, text);
  free(text);
  return copy;
}

static const char *report(mp_arena *a, const mp_answer *x, const void *(*make)(mp_arena *a, void *arg), mp_err *err) {
  union {
    const mp_answer *c;
    void *p;
  } arg = {x};
  return x ? mp_protect(a, err, make, arg.p) : NULL;
}

const char *mp_report_timeline_csv(mp_arena *a, const mp_answer *x, mp_err *err) { return report(a, x, make_csv, err); }
const char *mp_report_timeline_trace(mp_arena *a, const mp_answer *x, mp_err *err) { return report(a, x, make_trace, err); }
