/* memplan diff MODEL MEASURED.csv|SNAPSHOT.json [fit options]: prediction and measurement side by side. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/cmd.h"
#include "planner/cmd_options.h"
#include "planner/measured.h"

enum { TOP = 0x500 };

typedef struct diff {
  mp_options o;
  uint32_t top;
  int argc;
  char **argv;
} diff;

static const struct argp_option more[] = {
    {"top", TOP, "N", 0, "of a snapshot: the first N places where the allocations part (default 5)", 5},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state) {
  diff *d = state->input;
  char *end;
  switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &d->o; break;
    case TOP:
      d->top = (uint32_t)strtoul(arg, &end, 10);
      if (*end || !d->top || *arg == '-') argp_error(state, "--top: '%s' is not a number from 1 on", arg);
      break;
    default: return ARGP_ERR_UNKNOWN;
  }
  return 0;
}

static const struct argp_child children[] = {{&mp_options_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {more, parse, "MODEL MEASURED.csv|SNAPSHOT.json",
                                 "Sets what was measured beside what is predicted, and shows where they part.\vA table has a header and a line for each run. Columns of "
                                 "bytes: param_bytes, buffer_bytes, input_bytes, grad_bytes, optimizer_bytes, saved_bytes, after_forward_bytes, first_peak_bytes, peak_bytes, "
                                 "reserved_bytes. Columns that say how it was run go before the options: dims (batch=4;seq=512), precision, optimizer, attention, checkpoint, "
                                 "accumulate, zero_grad, loss, freeze; onnx_file or model picks the rows. A snapshot is json.dump(torch.cuda.memory._snapshot(), file) after "
                                 "torch.cuda.memory._record_memory_history().",
                                 children, NULL, NULL};

static const mp_question *question(mp_arena *a, const mp_options *o) {
  mp_err err;
  mp_question *q = mp_alloc(a, sizeof *q);
  *q = (mp_question){.path = o->models.at[0], .run = &o->run, .plan = mp_options_plan(o), .plan_file = mp_options_plan_file(o), .workspaces = o->workspaces};
  q->bindings = mp_or_fail(a, mp_options_bindings(o, &q->binding_count, &err), &err);
  q->devices = mp_or_fail(a, mp_options_devices(o, &q->device_count, &err), &err);
  return q;
}

/* the words of a row that are memplan's options under another name */
static const char *option_of(mp_setting s, const char *value) {
  static const char *const names[MP_SETTINGS] = {"dim", "precision", "optimizer", "attention", "checkpoint", "accumulate", "zero-grad", "loss", "freeze"};
  if (s == MP_SET_ATTENTION && !strcmp(value, "eager")) return NULL; /* Hugging Face's word for attention that the model writes out: as the file has it */
  return names[s];
}

/* the command's own options, then what the row says, read as one command line */
static const mp_options *options_of(mp_arena *a, const diff *d, const mp_measured_row *r) {
  MP_VEC(char *) line = {0};
  for (int i = 0; i < d->argc; i++) *mp_push(a, &line) = mp_strdup(a, d->argv[i]);
  for (int s = 0; s < MP_SETTINGS; s++) {
    const char *value = r->setting[s], *option = value ? option_of((mp_setting)s, value) : NULL;
    if (!option) continue;
    bool list = s == MP_SET_DIMS || s == MP_SET_FREEZE;
    char *rest = NULL, *copy = mp_strdup(a, value);
    for (char *w = list ? strtok_r(copy, s == MP_SET_DIMS ? ";, " : ";", &rest) : copy; w; w = list ? strtok_r(NULL, s == MP_SET_DIMS ? ";, " : ";", &rest) : NULL)
      *mp_push(a, &line) = mp_format(a, "--%s=%s", option, w);
  }
  diff *own = mp_alloc(a, sizeof *own);
  mp_options_init(&own->o, a);
  argp_parse(&argp, (int)line.n, line.at, 0, NULL, own);
  return &own->o;
}

static const void *run(mp_arena *a, void *arg) {
  diff *d = arg;
  mp_err err;
  if (d->o.models.n != 2) mp_fail(a, MP_BAD_INPUT, "expected MODEL and MEASURED.csv or SNAPSHOT.json");
  const mp_measured *m = mp_or_fail(a, mp_measured_read(a, d->o.models.at[1], d->o.models.at[0], &err), &err);
  if (!m->row_count) {
    const mp_answer *x = mp_or_fail(a, mp_answer_make(a, question(a, &d->o), &err), &err);
    return mp_or_fail(a, mp_report_diff_snapshot(a, m, x, d->top, d->o.json, &err), &err);
  }
  const mp_answer **x = mp_alloc_array(a, m->row_count + 1, sizeof *x);
  const char **why = mp_alloc_array(a, m->row_count + 1, sizeof *why);
  uint32_t answered = 0;
  for (uint32_t i = 0; i < m->row_count; i++) {
    x[i] = mp_answer_make(a, question(a, options_of(a, d, &m->rows[i])), &err);
    answered += x[i] != NULL;
    if (!x[i]) why[i] = mp_strdup(a, err.text);
  }
  if (!answered) mp_fail(a, MP_BAD_INPUT, "%s:%u: %s", m->path, m->rows[0].line, why[0]);
  return mp_or_fail(a, mp_report_diff_rows(a, m, x, why, d->o.json, &err), &err);
}

int mp_cmd_diff(int argc, char **argv) {
  mp_arena *a = mp_arena_new(0);
  diff *d = a ? mp_alloc(a, sizeof *d) : NULL;
  if (!d) return MP_INTERNAL;
  mp_options_init(&d->o, a);
  d->top = 5;
  d->argc = argc;
  d->argv = argv;
  argp_err_exit_status = 2;
  argp_parse(&argp, argc, argv, 0, NULL, d);
  mp_err err;
  const char *text = mp_protect(a, &err, run, d);
  int code = text ? 0 : mp_complain("memplan diff", &err);
  if (text) fputs(text, stdout);
  if (text && d->o.json) fputc('\n', stdout);
  mp_arena_free(a);
  return code;
}
