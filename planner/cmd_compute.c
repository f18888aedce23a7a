/* memplan compute: a model's operations, a machine's, or the published table. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/cmd.h"
#include "planner/cmd_options.h"

#define MANY 64

enum { SAMPLES = 0x100, EPOCHS, BATCH, RECOMPUTE, PHASE, COUNT, DAYS, UTILIZATION, MATH, PEAK, CPU, PRICE, PUBLISHED, MODELS };

typedef struct state {
  mp_arena *a;
  mp_options common;
  mp_compute_options o;
  mp_compute_phase phases[MANY];
  const char *models;
  double epochs;
  bool published, scheduled;
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

/* clang-format off */
static error_t parse(int key, char *arg, struct argp_state *s) {
  state *st = s->input;
  mp_compute_options *o = &st->o;
  switch (key) {
    case ARGP_KEY_INIT: s->child_inputs[0] = &st->common; break;
    case SAMPLES: o->samples = number(s, "--samples", arg); break;
    case EPOCHS: st->epochs = number(s, "--epochs", arg); break;
    case BATCH: o->batch = whole(s, "--batch", arg); break;
    case RECOMPUTE: recompute(s, st, arg); break;
    case PHASE: phase(s, st, arg); break;
    case COUNT: o->count = number(s, "--count", arg); break;
    case DAYS: o->days = number(s, "--days", arg); break;
    case UTILIZATION:
      o->utilization = number(s, "--utilization", arg);
      if (o->utilization > 1) argp_failure(s, 2, 0, "--utilization '%s': expected a fraction of the peak, above 0 and at most 1", arg);
      break;
    case MATH: o->precision = arg; break;
    case PEAK: o->peak = number(s, "--peak", arg); break;
    case CPU: o->cpu = true; break;
    case PRICE: o->price = number(s, "--price", arg); break;
    case PUBLISHED: st->published = true; break;
    case MODELS: st->models = arg; break;
    default: return ARGP_ERR_UNKNOWN;
  }
  return 0;
}

static const struct argp_option list[] = {
    {NULL, 0, NULL, 0, "Method 1: counted from the model; with its micro-batch bound, memory too", 1},
    {"samples", SAMPLES, "N", 0, "samples in an epoch", 1},
    {"epochs", EPOCHS, "E", 0, "epochs (default 1)", 1},
    {"phase", PHASE, "EPOCHS:DIM=N,...", 0, "a stretch of a schedule with dims of its own; repeat for each", 1},
    {"batch", BATCH, "N", 0, "samples that one pass of the file runs (default: the first axis of the first input, 1 where it is open)", 1},
    {"recompute", RECOMPUTE, "WHAT", 0,
     "what backward runs again, if --checkpoint does not say: none, selective (products of two activations), full, or a fraction", 1},
    {NULL, 0, NULL, 0, "Method 2: by time; with a model, also time, energy and cost", 2},
    {"count", COUNT, "N", 0, "how many devices (default 1)", 2},
    {"days", DAYS, "T", 0, "how long they ran", 2},
    {"utilization", UTILIZATION, "U", 0, "fraction of the peak (default 0.33; for a CPU 0.17)", 2},
    {"math", MATH, "P", 0, "whose peak: fp32, tf32, fp16, bf16, fp8 (default: what --precision multiplies in)", 2},
    {"peak", PEAK, "TFLOPS", 0, "peak of one device, instead of the catalogue's", 2},
    {"cpu", CPU, NULL, 0, "the devices are CPUs", 2},
    {"price", PRICE, "X", 0, "price of a device-hour", 2},
    {NULL, 0, NULL, 0, "Published figures", 3},
    {"published", PUBLISHED, NULL, 0, "print the table of known results: published, recomputed, ratio", 3},
    {"models", MODELS, "DIR", 0, "where the sample models are, whose own count then stands beside (default samples)", 3},
    {0}};
/* clang-format on */

static const char *work(state *st, mp_err *err) {
  mp_compute_options *o = &st->o;
  mp_options *common = &st->common;
  if (st->published) return mp_report_published(st->a, st->models, common->json, err);
  if (common->models.n > 1 || common->devices.n > 1) {
    mp_err_set(err, MP_BAD_INPUT, "one model and one device at a time: '%s' is the second",
               (common->models.n > 1 ? &common->models : &common->devices)->at[1]);
    return NULL;
  }
  uint32_t devices = 0;
  const mp_device *const *d = mp_options_devices(common, &devices, err);
  o->bindings = d ? mp_options_bindings(common, &o->binding_count, err) : NULL;
  if (!o->bindings) return NULL;
  if (devices > 1) {
    mp_err_set(err, MP_BAD_INPUT, "--device all: which one? compute takes one device");
    return NULL;
  }
  if (devices) o->device = d[0];
  if (common->models.n) o->model = common->models.at[0];
  o->run = &common->run;
  o->plan = mp_options_plan(common);
  o->workspaces = common->workspaces;
  if (!st->scheduled) st->phases[o->phase_count++] = (mp_compute_phase){.epochs = st->epochs > 0 ? st->epochs : 1};
  const mp_compute *c = mp_compute_make(st->a, o, err);
  for (uint32_t i = 0; c && i < c->warning_count && !common->quiet && !common->json; i++) fprintf(stderr, "warning: %s\n", c->warnings[i]);
  return c ? mp_report_compute(st->a, o, c, common->json, err) : NULL;
}

typedef struct call {
  int argc;
  char **argv;
  state *st;
} call;

static const void *body(mp_arena *a, void *arg) {
  static const struct argp_child children[] = {{&mp_options_argp, 0, "The run, as memplan fit has it", 4}, {0}};
  static const struct argp argp = {
      list, parse, NULL, "Counts the floating-point operations of a whole training run, and its time, energy and cost.", children, NULL, NULL};
  call *c = arg;
  argp_parse(&argp, c->argc, c->argv, 0, NULL, c->st);
  mp_err err = {0};
  if (c->st->scheduled && c->st->epochs > 0) mp_fail(a, MP_BAD_INPUT, "--epochs and --phase: each phase states its own epochs; leave out --epochs");
  const char *text = work(c->st, &err);
  if (!text) mp_fail(a, err.code, "%s", err.text);
  return text;
}

int mp_cmd_compute(int argc, char **argv) {
  mp_arena *a = mp_arena_new(0);
  if (!a) return fputs("memplan compute: out of memory\n", stderr), MP_INTERNAL;
  static state st;
  st = (state){.a = a, .models = "samples", .o = {.count = 1, .phases = st.phases}};
  mp_options_init(&st.common, a);
  st.common.model_optional = true;
  argp_err_exit_status = 2;
  call c = {argc, argv, &st};
  mp_err err = {0};
  const char *text = mp_protect(a, &err, body, &c);
  int code = text ? 0 : mp_complain("memplan compute", &err);
  if (text) printf("%s%s", text, st.common.json ? "\n" : "");
  mp_arena_free(a);
  return code;
}
