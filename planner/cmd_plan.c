/* memplan plan, check, export, max-batch: what to recompute so that it fits, and what becomes of the answer. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "planner/cmd.h"
#include "planner/cmd_options.h"

enum { BUDGET = 0x400, GRANULARITY, TIME_LIMIT, PARETO, TO, DIM_NAME, AUTO };

typedef struct plan_line {
  mp_options o;
  mp_search ask;
  bool pareto;
  int code;
} plan_line;

static volatile int interrupted;
static void on_interrupt(int s) {
  (void)s;
  interrupted = 1;
}

static void show_progress(void *arg, uint32_t tried, uint64_t peak) {
  clock_t *began = arg;
  double seconds = (double)(clock() - *began) / CLOCKS_PER_SEC;
  if (seconds < 0.5 || !isatty(2)) return;
  fprintf(stderr, "\r%u plans tried, the last peaks at %.2f GiB (%.1f s) ", tried, peak == UINT64_MAX ? 0.0 : (double)peak / (1 << 30), seconds);
}

static int granularity(struct argp_state *state, const char *arg) {
  for (int g = MP_BY_BLOCKS; g <= MP_FREELY; g++)
    if (!strcmp(mp_granularity_name((mp_granularity)g), arg)) return g;
  argp_error(state, "--granularity: '%s' is none of blocks, modules, calls, free", arg);
  return 0;
}

static error_t parse_plan(int key, char *arg, struct argp_state *state) {
  plan_line *f = state->input;
  switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &f->o; break;
    case BUDGET:
      if (!mp_size_parse(arg, &f->ask.budget) || !f->ask.budget) argp_error(state, "--budget: '%s' is no size; expected bytes, or a number with KB, MB, GB", arg);
      break;
    case GRANULARITY: f->ask.granularity = (mp_granularity)granularity(state, arg); break;
    case TIME_LIMIT: f->ask.time_limit = strtod(arg, NULL); break;
    case PARETO: f->pareto = true; break;
    default: return ARGP_ERR_UNKNOWN;
  }
  return 0;
}

static mp_question question(mp_arena *a, const mp_options *o) {
  mp_plan *plan = mp_alloc(a, sizeof *plan);
  *plan = (mp_plan){.invertible = o->invertible.at, .invertibles = o->invertible.n};
  mp_err err;
  mp_question q = {.path = o->models.at[0], .run = &o->run, .plan = plan, .workspaces = o->workspaces};
  q.bindings = mp_or_fail(a, mp_options_bindings(o, &q.binding_count, &err), &err);
  q.devices = mp_or_fail(a, mp_options_devices(o, &q.device_count, &err), &err);
  return q;
}

/* peak against overhead, from the plain peak down to the least that the granularity reaches */
static const char *pareto(mp_arena *a, plan_line *f, const mp_answer *x) {
  mp_text csv = {0}, t = {0};
  mp_text_add(a, &csv, "budget,peak,overhead,bound,regions\n");
  uint64_t top = x->timeline->peak.allocated;
  double seen = 0;
  for (int i = 0; i <= 20 && !interrupted; i++) {
    mp_search ask = f->ask;
    ask.budget = top - top / 25 * (uint64_t)i;
    mp_err err;
    const mp_placement *p = mp_or_fail(a, mp_placement_make(a, x->trace, x->question->run, &ask, &err), &err);
    if (!p->feasible) break;
    if (p->overhead > seen) seen = p->overhead;
    mp_text_add(a, &csv, "%llu,%llu,%.6f,%.6f,%u\n", (unsigned long long)ask.budget, (unsigned long long)p->timeline->peak.allocated, p->overhead, p->bound, p->plan.checkpoints);
    mp_text_add(a, &t, "# %8.2f GiB %6.2f %% |%*s*\n", (double)p->timeline->peak.allocated / (1 << 30), 100 * p->overhead, (int)(p->overhead * 150), "");
  }
  return mp_format(a, "%s%s", csv.at, f->o.quiet || !t.at ? "" : t.at);
}

/* any schedule, for compilers */
static const char *freely(mp_arena *a, plan_line *f, const mp_answer *x) {
  const mp_question *q = x->question;
  mp_err err;
  uint64_t budget = f->ask.budget;
  if (q->device_count) {
    uint64_t besides = x->verdicts[0].needed - x->timeline->peak.reserved + x->verdicts[0].overhead.held, usable = q->devices[0]->usable;
    uint64_t room = usable > besides ? usable - besides : 0;
    if (!budget || room < budget) budget = room;
  }
  const mp_free_plan *p = mp_or_fail(a, mp_free_plan_make(a, x, budget, &f->ask, &err), &err);
  f->code = !p->feasible;
  if (f->o.json)
    return mp_format(a, "{\"granularity\": \"free\", \"feasible\": %s, \"budget\": %llu, \"base_peak\": %llu, \"peak\": %llu, \"overhead\": %.9g, \"bound\": %.9g, \"nodes\": %u, \"steps\": %u}",
                     p->feasible ? "true" : "false", (unsigned long long)budget, (unsigned long long)p->base_peak, (unsigned long long)p->peak, p->overhead, p->bound, p->nodes, p->steps);
  if (!p->feasible) return mp_format(a, "%s: no schedule found inside %llu bytes: %s\n", q->path, (unsigned long long)budget, p->why ? p->why : "");
  return mp_format(a,
                   "%s: any schedule, as a compiler could run it (%u nodes, %u steps; not exported)\n  peak %.2f GiB of %.2f GiB without recomputation, budget %.2f GiB\n"
                   "  extra compute %.3f %%; no schedule needs less than %.3f %%\n",
                   q->path, p->nodes, p->steps, (double)p->peak / (1 << 30), (double)p->base_peak / (1 << 30), (double)budget / (1 << 30), 100 * p->overhead, 100 * p->bound);
}

static const void *run_plan(mp_arena *a, void *arg) {
  plan_line *f = arg;
  mp_err err;
  mp_question *q = mp_alloc(a, sizeof *q);
  *q = question(a, &f->o);
  const mp_answer *x = mp_or_fail(a, mp_answer_make(a, q, &err), &err);
  f->ask.invertible = q->plan->invertible;
  f->ask.invertibles = q->plan->invertibles;
  if (f->pareto) return pareto(a, f, x);
  if (!f->ask.budget && !q->device_count) mp_fail(a, MP_BAD_INPUT, "what is the limit? give --device D or --budget BYTES");
  if (f->ask.granularity == MP_FREELY) return freely(a, f, x);
  const mp_placement *p = q->device_count ? mp_placement_for_device(a, x, q->devices[0], &f->ask, &err) : mp_placement_make(a, x->trace, q->run, &f->ask, &err);
  mp_or_fail(a, p, &err);
  if (!f->ask.budget) f->ask.budget = p->timeline->peak.allocated;
  f->code = !p->feasible;
  for (uint32_t i = 0; i < q->device_count; i++)
    f->code |= mp_verdict_make(p->timeline, q->devices[i], &q->workspaces).fits == MP_FITS_NOT;
  return mp_or_fail(a, f->o.json ? mp_report_plan_json(a, x, p, &f->ask, &err) : mp_report_plan_text(a, x, p, &f->ask, &err), &err);
}

static int finish(mp_arena *a, const char *command, const char *text, const mp_err *err, int code) {
  if (!text) code = mp_complain(command, err);
  else fputs(text, stdout);
  if (text && *text && text[strlen(text) - 1] != '\n') fputc('\n', stdout);
  mp_arena_free(a);
  return code;
}

int mp_cmd_plan(int argc, char **argv) {
  static const struct argp_option more[] = {
      {"budget", BUDGET, "BYTES", 0, "bounds the peak of allocated bytes in the steady iteration", 3},
      {"granularity", GRANULARITY, "G", 0, "blocks (default), modules, calls, free", 3},
      {"time-limit", TIME_LIMIT, "SECONDS", 0, "stop the search with the best plan so far", 3},
      {"pareto", PARETO, 0, 0, "the whole curve of peak against overhead, as CSV", 3},
      {0},
  };
  static const struct argp_child children[] = {{&mp_options_argp, 0, NULL, 0}, {0}};
  static const struct argp argp = {more, parse_plan, "MODEL", "What to recompute so that training fits, at the least extra compute, with a proved lower limit.", children, NULL, NULL};
  static plan_line f;
  static clock_t began;
  mp_arena *a = mp_arena_new(0);
  if (!a) return 3;
  mp_options_init(&f.o, a);
  f.o.recomputes = true;
  argp_err_exit_status = 2;
  argp_parse(&argp, argc, argv, 0, NULL, &f);
  began = clock();
  f.ask.interrupt = &interrupted;
  if (!f.o.quiet) f.ask.progress = show_progress;
  f.ask.progress_arg = &began;
  signal(SIGINT, on_interrupt);
  mp_err err;
  const char *text = mp_protect(a, &err, run_plan, &f);
  if (!f.o.quiet && isatty(2)) fputs("\r", stderr);
  return finish(a, "memplan plan", text, &err, f.code);
}

/* ---- check ---- */

static const void *run_check(mp_arena *a, void *arg) {
  plan_line *f = arg;
  mp_err err;
  if (f->o.models.n != 2) mp_fail(a, MP_BAD_INPUT, "expected MODEL and PLAN.json");
  mp_question *q = mp_alloc(a, sizeof *q);
  *q = question(a, &f->o);
  q->plan_file = f->o.models.at[1];
  const mp_plan_file *file = mp_or_fail(a, mp_plan_read(a, q->plan_file, &err), &err);
  const mp_answer *x = mp_or_fail(a, mp_answer_make(a, q, &err), &err);
  const mp_check *c = mp_or_fail(a, mp_check_plan(a, x, file, &err), &err);
  f->code = !c->valid;
  if (f->o.json) return mp_format(a, "{\"valid\": %s, \"peak\": %llu, \"overhead\": %.9g}", c->valid ? "true" : "false", (unsigned long long)c->peak, c->overhead);
  if (!c->valid) return mp_format(a, "%s: broken rule: %s\n", q->plan_file, c->rule);
  return mp_format(a, "%s: valid; peak allocated %llu bytes, budget %llu, overhead %.2f %%\n", q->plan_file, (unsigned long long)c->peak, (unsigned long long)file->budget, 100 * c->overhead);
}

static error_t parse_shared(int key, char *arg, struct argp_state *state) {
  (void)arg;
  if (key != ARGP_KEY_INIT) return ARGP_ERR_UNKNOWN;
  state->child_inputs[0] = &((plan_line *)state->input)->o;
  return 0;
}

int mp_cmd_check(int argc, char **argv) {
  static const struct argp_child children[] = {{&mp_options_argp, 0, NULL, 0}, {0}};
  static const struct argp argp = {NULL, parse_shared, "MODEL PLAN.json", "Replays a plan the slow way and names the rule that it breaks.", children, NULL, NULL};
  static plan_line f;
  mp_arena *a = mp_arena_new(0);
  if (!a) return 3;
  mp_options_init(&f.o, a);
  f.o.recomputes = true;
  argp_err_exit_status = 2;
  argp_parse(&argp, argc, argv, 0, NULL, &f);
  mp_err err;
  const char *text = mp_protect(a, &err, run_check, &f); /* sets f.code */
  return finish(a, "memplan check", text, &err, f.code);
}

/* ---- export ---- */

typedef struct export_line {
  const char *path, *to;
} export_line;

static error_t parse_export(int key, char *arg, struct argp_state *state) {
  export_line *f = state->input;
  switch (key) {
    case TO: f->to = arg; break;
    case ARGP_KEY_ARG:
      if (f->path) argp_error(state, "one plan at a time");
      f->path = arg;
      break;
    case ARGP_KEY_END:
      if (!f->path || !f->to) argp_error(state, "expected PLAN.json --to torch|fsdp|deepspeed|megatron|torchtitan");
      break;
    default: return ARGP_ERR_UNKNOWN;
  }
  return 0;
}

static const void *run_export(mp_arena *a, void *arg) {
  const export_line *f = arg;
  mp_err err;
  return mp_or_fail(a, mp_plan_export(a, mp_or_fail(a, mp_plan_read(a, f->path, &err), &err), f->to, &err), &err);
}

int mp_cmd_export(int argc, char **argv) {
  static const struct argp_option options[] = {{"to", TO, "TARGET", 0, "torch, fsdp, deepspeed, megatron, torchtitan", 0}, {0}};
  static const struct argp argp = {options, parse_export, "PLAN.json", "Hands a plan to a framework.", NULL, NULL, NULL};
  export_line f = {0};
  mp_arena *a = mp_arena_new(0);
  if (!a) return 3;
  argp_err_exit_status = 2;
  argp_parse(&argp, argc, argv, 0, NULL, &f);
  mp_err err;
  return finish(a, "memplan export", mp_protect(a, &err, run_export, &f), &err, 0);
}

/* ---- max-batch ---- */

typedef struct batch_line {
  mp_options o;
  const char *dim;
  mp_granularity g;
  int code;
} batch_line;

static error_t parse_batch(int key, char *arg, struct argp_state *state) {
  batch_line *f = state->input;
  switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &f->o; break;
    case DIM_NAME: f->dim = arg; break;
    case GRANULARITY: f->g = (mp_granularity)granularity(state, arg); break;
    default: return ARGP_ERR_UNKNOWN;
  }
  return 0;
}

static const void *run_batch(mp_arena *a, void *arg) {
  batch_line *f = arg;
  mp_err err;
  mp_question *q = mp_alloc(a, sizeof *q);
  *q = question(a, &f->o);
  if (q->device_count != 1) mp_fail(a, MP_BAD_INPUT, "expected one --device D");
  bool automatic = f->o.checkpoint.n == 1 && !strcmp(f->o.checkpoint.at[0], "auto");
  mp_plan plan = *mp_options_plan(&f->o);
  if (automatic) plan.checkpoints = 0;
  q->plan = &plan;
  const mp_max_batch *m = mp_or_fail(a, mp_max_batch_find(a, q, f->dim, automatic, f->g, &err), &err);
  f->code = m->batch == 0;
  const mp_timeline *l = m->placement ? m->placement->timeline : m->answer ? m->answer->timeline : NULL;
  double overhead = l ? mp_overhead(l) : 0;
  if (f->o.json)
    return mp_format(a, "{\"dim\": \"%s\", \"max_batch\": %lld, \"peak\": %llu, \"overhead\": %.9g}", m->dim, (long long)m->batch, l ? (unsigned long long)l->peak.allocated : 0ull, overhead);
  if (!m->batch) return mp_format(a, "%s: not even one sample fits %s\n", q->path, q->devices[0]->name);
  return mp_format(a, "%s: %s=%lld is the largest that fits %s (peak allocated %.2f GiB, %.1f %% recomputed)\n", q->path, m->dim, (long long)m->batch, q->devices[0]->name,
                   (double)l->peak.allocated / (1 << 30), 100 * overhead);
}

int mp_cmd_max_batch(int argc, char **argv) {
  static const struct argp_option more[] = {
      {"batch-dim", DIM_NAME, "NAME", 0, "the dimension that counts samples (default batch)", 1},
      {"granularity", GRANULARITY, "G", 0, "with --checkpoint auto: blocks (default), modules, calls", 3},
      {0},
  };
  static const struct argp_child children[] = {{&mp_options_argp, 0, NULL, 0}, {0}};
  static const struct argp argp = {more, parse_batch, "MODEL", "The largest batch with which training fits a device; --checkpoint auto recomputes as needed.", children, NULL, NULL};
  static batch_line f = {.dim = "batch"};
  mp_arena *a = mp_arena_new(0);
  if (!a) return 3;
  mp_options_init(&f.o, a);
  argp_err_exit_status = 2;
  argp_parse(&argp, argc, argv, 0, NULL, &f);
  mp_err err;
  const char *text = mp_protect(a, &err, run_batch, &f); /* sets f.code */
  return finish(a, "memplan max-batch", text, &err, f.code);
}
