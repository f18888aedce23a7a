/* memplan checkpoint --instance FILE.csv --budget BYTES|F [--pareto] [--json] [--time-limit S] [--quiet] */
#include <argp.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/devices.h"
#include "planner/cmd.h"
#include "planner/remat.h"

typedef struct options {
  const char *instance, *budget;
  double time_limit;
  bool json, quiet, pareto;
} options;

static volatile int interrupted;

static void stop(int sig) {
  interrupted = 1;
  signal(sig, SIG_DFL); /* a second one ends the process */
}

static error_t parse(int key, char *arg, struct argp_state *state) {
  options *o = state->input;
  char *end;
  switch (key) {
    case 'i':
      o->instance = arg;
      break;
    case 'b':
      o->budget = arg;
      break;
    case 'j':
      o->json = true;
      break;
    case 'q':
      o->quiet = true;
      break;
    case 'p':
      o->pareto = true;
      break;
    case 't':
      o->time_limit = strtod(arg, &end);
      if (end == arg || *end || !(o->time_limit > 0) || o->time_limit > 1e9)
        argp_error(state, "--time-limit '%s': expected seconds, more than 0", arg);
      break;
    case ARGP_KEY_ARG:
      argp_error(state, "'%s' is not an option; give --instance FILE.csv", arg);
      break;
    case ARGP_KEY_END:
      if (!o->instance) argp_error(state, "--instance FILE.csv is missing");
      if (!o->budget && !o->pareto) argp_error(state, "--budget is missing; give bytes (8GB), or a fraction below 1 of the peak");
      break;
    default:
      return ARGP_ERR_UNKNOWN;
  }
  return 0;
}

/* bytes, or a fraction of the peak without recomputation, rounded up; an error in err */
static uint64_t read_budget(const char *text, uint64_t base_peak, mp_err *err) {
  char *end;
  double f = strtod(text, &end);
  uint64_t n = 0;
  if (end != text && !*end && f > 0 && f < 1) return (uint64_t)ceil(f * (double)base_peak);
  if (!mp_size_parse(text, &n)) mp_err_set(err, MP_BAD_INPUT, "--budget '%.40s': expected bytes (8GB, 512MiB, 1000000) or a fraction below 1", text);
  return n;
}

static void say_progress(void *arg, double seconds, double cost, double bound) {
  const mp_remat_result *base = arg;
  if (cost < 0 || isinf(cost))
    fprintf(stderr, "checkpoint: %.1f s, no schedule yet, bound %.10g\n", seconds, bound);
  else
    fprintf(stderr, "checkpoint: %.1f s, cost %.10g (+%.3f %%), bound %.10g\n", seconds, cost, (cost / base->base_cost - 1) * 100, bound);
}

/* a table of what each budget costs, from the least that could do to the peak without recomputation */
static int print_pareto(const mp_remat *in, const mp_remat_result *base, const mp_remat_options *opt, mp_err *err) {
  enum { ROWS = 20 };
  double low = (double)base->least, high = (double)base->base_peak;
  puts("budget,peak,cost,overhead_percent,bound,optimal");
  for (int k = 0; k <= ROWS && !interrupted; k++) {
    mp_arena *a = mp_arena_new(0);
    uint64_t budget = k == ROWS ? base->base_peak : (uint64_t)(low + (high - low) * k / ROWS);
    const mp_remat_result *r = a ? mp_remat_solve(a, in, budget, opt, err) : NULL;
    if (r && r->feasible)
      printf("%llu,%llu,%.17g,%.6f,%.17g,%s\n", (unsigned long long)budget, (unsigned long long)r->peak, r->cost,
             base->base_cost > 0 ? (r->cost / base->base_cost - 1) * 100 : 0, r->bound, r->optimal ? "yes" : "no");
    bool bad = !r;
    mp_arena_free(a);
    if (bad) return err->code ? err->code : MP_INTERNAL;
    fflush(stdout);
  }
  return 0;
}

static int run(mp_arena *a, const options *o, mp_err *err) {
  const mp_remat *in = mp_remat_read(a, o->instance, err);
  const mp_remat_result *base = mp_remat_base(a, in, err);
  if (!base) return err->code;
  mp_remat_options opt = {.time_limit = o->time_limit, .interrupt = &interrupted};
  if (!o->quiet) {
    opt.progress = say_progress;
    opt.progress_arg = (void *)(uintptr_t)base;
  }
  signal(SIGINT, stop);
  if (o->pareto) return print_pareto(in, base, &opt, err);
  uint64_t budget = read_budget(o->budget, base->base_peak, err);
  if (err->code) return err->code;
  const mp_remat_result *r = mp_remat_solve(a, in, budget, &opt, err);
  if (!r) return err->code;
  if (interrupted && !o->quiet) fputs("checkpoint: interrupted; the best so far\n", stderr);
  const char *text = o->json ? mp_remat_json(a, in, r, err) : mp_remat_text(a, in, r, err);
  if (!text) return err->code;
  fputs(text, stdout);
  if (o->json) putchar('\n');
  return r->feasible ? 0 : 1;
}

int mp_cmd_checkpoint(int argc, char **argv) {
  static const struct argp_option list[] = {
      {"instance", 'i', "FILE.csv", 0, "columns index,name,cost,bytes,backward,inputs; inputs separated by spaces, nodes in topological order", 0},
      {"budget", 'b', "BYTES|F", 0, "8GB, 512MiB, 1000000; below 1: that fraction of the peak without recomputation", 0},
      {"pareto", 'p', NULL, 0, "print a CSV table of what each budget costs", 0},
      {"json", 'j', NULL, 0, "one JSON object, with the schedule", 0},
      {"time-limit", 't', "S", 0, "seconds of search (default: under one for instances of some thousand nodes)", 0},
      {"quiet", 'q', NULL, 0, "no progress", 0},
      {0}};
  static const struct argp argp = {
      .options = list,
      .parser = parse,
      .doc =
          "Which values to compute again so that an instance runs within a memory budget at the least extra cost, with a "
          "proved lower bound on it."};
  options o = {0};
  argp_err_exit_status = 2;
  argp_parse(&argp, argc, argv, 0, NULL, &o);
  mp_arena *a = mp_arena_new(0);
  mp_err err = {0};
  int code = a ? run(a, &o, &err) : MP_INTERNAL;
  if (err.code || !a) fprintf(stderr, "memplan checkpoint: %s\n", a ? err.text : "out of memory");
  mp_arena_free(a);
  return code;
}
