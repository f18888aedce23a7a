/* memplan compute: a model's operations, a machine's, or the published table. */
#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/cmd.h"
#include "planner/memplan.h"

#define MANY 64

enum {
  SAMPLES = 256,
  EPOCHS,
  BATCH,
  RECOMPUTE,
  ACCUMULATE,
  PHASE,
  COUNT,
  DAYS,
  UTILIZATION,
  PRECISION,
  PEAK,
  CPU,
  PRICE,
  PUBLISHED,
  MODELS,
  DIM,
  JSON,
  QUIET
};

typedef struct state {
  mp_arena *a;
  mp_compute_options o;
  mp_binding bindings[MANY];
  mp_compute_phase phases[MANY];
  const char *device, *models;
  double epochs;
  bool published, json, quiet, scheduled;
} state;

/* "90", "1.2e6", "0.33": positive */
static bool parse_number(const char *text, double *x) {
  if (!isdigit((unsigned char)*text) && *text != '.') return false;
  char *end;
  errno = 0;
  *x = strtod(text, &end);
  return !*end && !errno && isfinite(*x) && *x > 0;
}

static double number(struct argp_state *s, const char *option, const char *arg) {
  double x = 0;
  if (!parse_number(arg, &x)) argp_failure(s, 2, 0, "%s '%s': expected a positive number such as 90 or 1.2e6", option, arg);
  return x;
}

static uint32_t whole(struct argp_state *s, const char *option, const char *arg) {
  double x = number(s, option, arg);
  if (x > 4e9 || x != (double)(uint32_t)x) argp_failure(s, 2, 0, "%s '%s': expected a whole number", option, arg);
  return (uint32_t)x;
}

static void bind(struct argp_state *s, state *st, const char *text, mp_binding *to) {
  mp_err err = {0};
  if (!mp_binding_parse(st->a, text, to, &err)) argp_failure(s, 2, 0, "%s", err.text);
}

/* EPOCHS:DIM=N,DIM=N */
static void phase(struct argp_state *s, state *st, const char *arg) {
  if (st->o.phase_count == MANY) argp_failure(s, 2, 0, "more than %d phases", MANY);
  mp_compute_phase *p = &st->phases[st->o.phase_count++];
  size_t head = strcspn(arg, ":");
  char epochs[64];
  snprintf(epochs, sizeof epochs, "%.*s", (int)head, arg);
  mp_binding *b = mp_alloc_array(st->a, MANY, sizeof *b);
  *p = (mp_compute_phase){.bindings = b};
  if (!parse_number(epochs, &p->epochs)) argp_failure(s, 2, 0, "--phase '%s': expected EPOCHS:DIM=N,... such as 10:height=160,width=160", arg);
  for (const char *at = arg + head + (arg[head] == ':'); *at;) {
    size_t n = strcspn(at, ",");
    if (p->binding_count == MANY) argp_failure(s, 2, 0, "--phase '%s': more than %d dimensions", arg, MANY);
    bind(s, st, mp_strndup(st->a, at, n), &b[p->binding_count++]);
    at += n + (at[n] == ',');
  }
  st->scheduled = true;
}

static void recompute(struct argp_state *s, state *st, const char *arg) {
  if (!strcmp(arg, "none"))
    st->o.fraction = 0;
  else if (!strcmp(arg, "full"))
    st->o.fraction = 1;
  else if (!strcmp(arg, "selective"))
    st->o.recompute = MP_RECOMPUTE_SELECTIVE;
  else if (!parse_number(arg, &st->o.fraction) || st->o.fraction > 1)
    argp_failure(s, 2, 0, "--recompute '%s': expected none, selective, full or the fraction of the forward pass (0.5)", arg);
}

static error_t parse(int key, char *arg, struct argp_state *s) {
  state *st = s->input;
  mp_compute_options *o = &st->o;
  switch (key) {
    case SAMPLES:
      o->samples = number(s, "--samples", arg);
      break;
    case EPOCHS:
      st->epochs = number(s, "--epochs", arg);
      break;
    case BATCH:
      o->batch = whole(s, "--batch", arg);
      break;
    case ACCUMULATE:
      o->accumulate = whole(s, "--accumulate", arg);
      break;
    case RECOMPUTE:
      recompute(s, st, arg);
      break;
    case PHASE:
      phase(s, st, arg);
      break;
    case 'd':
      st->device = arg;
      break;
    case COUNT:
      o->count = number(s, "--count", arg);
      break;
    case DAYS:
      o->days = number(s, "--days", arg);
      break;
    case UTILIZATION:
      o->utilization = number(s, "--utilization", arg);
      if (o->utilization > 1) argp_failure(s, 2, 0, "--utilization '%s': expected a fraction of the peak, above 0 and at most 1", arg);
      break;
    case PRECISION:
      o->precision = arg;
      break;
    case PEAK:
      o->peak = number(s, "--peak", arg);
      break;
    case CPU:
      o->cpu = true;
      break;
    case PRICE:
      o->price = number(s, "--price", arg);
      break;
    case PUBLISHED:
      st->published = true;
      break;
    case MODELS:
      st->models = arg;
      break;
    case DIM:
      if (o->binding_count == MANY) argp_failure(s, 2, 0, "more than %d --dim options", MANY);
      bind(s, st, arg, &st->bindings[o->binding_count++]);
      break;
    case JSON:
      st->json = true;
      break;
    case QUIET:
      st->quiet = true;
      break;
    case ARGP_KEY_ARG:
      if (o->model) argp_failure(s, 2, 0, "one model at a time: '%s' and '%s'", o->model, arg);
      o->model = arg;
      break;
    default:
      return ARGP_ERR_UNKNOWN;
  }
  return 0;
}

/* clang-format off: one option a line */
static const struct argp_option list[] = {
    {NULL, 0, NULL, 0, "Method 1: counted from the model", 1},
    {"samples", SAMPLES, "N", 0, "samples in an epoch", 1},
    {"epochs", EPOCHS, "E", 0, "epochs (default 1)", 1},
    {"phase", PHASE, "EPOCHS:DIM=N,...", 0, "a stretch of a schedule with dims of its own; repeat for each", 1},
    {"batch", BATCH, "N", 0, "samples that one pass of the file runs (default: the first axis of the first input, 1 where it is open)", 1},
    {"dim", DIM, "NAME=N", 0, "bind a dimension (INPUT:AXIS=N: one axis); repeatable", 1},
    {"recompute", RECOMPUTE, "WHAT", 0,
     "what backward runs again: none, selective (products of two activations), full, or a fraction of the forward pass", 1},
    {"accumulate", ACCUMULATE, "N", 0, "micro-batches in a step", 1},
    {NULL, 0, NULL, 0, "Method 2: by time; with a model, also time, energy and cost", 2},
    {"device", 'd', "D", 0, "a device of memplan devices", 2},
    {"count", COUNT, "N", 0, "how many of them (default 1)", 2},
    {"days", DAYS, "T", 0, "how long they ran", 2},
    {"utilization", UTILIZATION, "U", 0, "fraction of the peak (default 0.33; for a CPU 0.17)", 2},
    {"precision", PRECISION, "P", 0, "whose peak: fp32 (default), tf32, fp16, bf16, fp8", 2},
    {"peak", PEAK, "TFLOPS", 0, "peak of one device, instead of the catalogue's", 2},
    {"cpu", CPU, NULL, 0, "the devices are CPUs", 2},
    {"price", PRICE, "X", 0, "price of a device-hour", 2},
    {NULL, 0, NULL, 0, "Published figures", 3},
    {"published", PUBLISHED, NULL, 0, "print the table of known results: published, recomputed, ratio", 3},
    {"models", MODELS, "DIR", 0, "where the sample models are, whose own count then stands beside (default samples)", 3},
    {NULL, 0, NULL, 0, "Output", 4},
    {"json", JSON, NULL, 0, "one JSON object", 4},
    {"quiet", QUIET, NULL, 0, "no notes", 4},
    {0}};

/* clang-format on */

static const char *work(state *st, mp_err *err) {
  mp_compute_options *o = &st->o;
  if (st->published) return mp_report_published(st->a, st->models, st->json, err);
  if (st->device && !(o->device = mp_device_find(st->a, st->device, err))) return NULL;
  if (!st->scheduled) st->phases[o->phase_count++] = (mp_compute_phase){.epochs = st->epochs > 0 ? st->epochs : 1};
  const mp_compute *c = mp_compute_make(st->a, o, err);
  for (uint32_t i = 0; c && i < c->warning_count && !st->quiet && !st->json; i++) fprintf(stderr, "warning: %s\n", c->warnings[i]);
  return c ? mp_report_compute(st->a, o, c, st->json, err) : NULL;
}

typedef struct call {
  int argc;
  char **argv;
  state *st;
} call;

static const void *body(mp_arena *a, void *arg) {
  static const struct argp argp = {.options = list,
                                   .parser = parse,
                                   .args_doc = "[MODEL]",
                                   .doc = "Counts the floating-point operations of a whole training run, and its time, energy and cost."};
  call *c = arg;
  argp_parse(&argp, c->argc, c->argv, 0, NULL, c->st);
  mp_err err = {0};
  if (c->st->scheduled && c->st->epochs > 0) mp_fail(a, MP_BAD_INPUT, "--epochs and --phase: each phase states its own epochs; leave out --epochs");
  const char *text = work(c->st, &err);
  if (!text) mp_fail(a, err.code, "%s", err.text);
  return text;
}

int mp_cmd_compute(int argc, char **argv) {
  state st = {.a = mp_arena_new(0), .models = "samples", .o = {.count = 1, .accumulate = 1}};
  if (!st.a) return fputs("memplan compute: out of memory\n", stderr), MP_INTERNAL;
  st.o.bindings = st.bindings;
  st.o.phases = st.phases;
  argp_err_exit_status = 2;
  call c = {argc, argv, &st};
  mp_err err = {0};
  const char *text = mp_protect(st.a, &err, body, &c);
  if (text)
    printf("%s%s", text, st.json ? "\n" : "");
  else
    fprintf(stderr, "memplan compute: %s\n", err.text);
  mp_arena_free(st.a);
  return text ? 0 : err.code;
}
