/* memplan fit MODEL --device D[,D...]: does training fit? Exit 0 when everything asked for fits, 1 when something does not. */
#include <stdio.h>
#include <stdlib.h>

#include "planner/cmd.h"
#include "planner/cmd_options.h"

typedef struct fit {
  mp_options *o;
  int code;
} fit;

static const void *or_fail(mp_arena *a, const void *p, const mp_err *err) {
  if (!p) mp_fail(a, err->code, "%s", err->text);
  return p;
}

static const void *run(mp_arena *a, void *arg) {
  fit *f = arg;
  mp_options *o = f->o;
  mp_err err;
  mp_plan plan = {.checkpoint = o->checkpoint.at, .checkpoints = o->checkpoint.n};
  mp_question q = {.path = o->models.at[0], .run = &o->run, .plan = &plan, .workspaces = o->workspaces};
  q.bindings = or_fail(a, mp_options_bindings(o, &q.binding_count, &err), &err);
  q.devices = or_fail(a, mp_options_devices(o, &q.device_count, &err), &err);
  const mp_answer *x = or_fail(a, mp_answer_make(a, &q, &err), &err);
  for (uint32_t i = 0; i < q.device_count; i++) f->code |= x->verdicts[i].fits == MP_FITS_NOT;
  return or_fail(a, mp_report_fit_json(a, &x, 1, &err), &err);
}

static error_t parse(int key, char *arg, struct argp_state *state) {
  (void)arg;
  if (key != ARGP_KEY_INIT) return ARGP_ERR_UNKNOWN;
  state->child_inputs[0] = state->input;
  return 0;
}

typedef struct command_line {
  int argc;
  char **argv;
  fit f;
} command_line;

int mp_cmd_fit(int argc, char **argv) {
  static const struct argp_child children[] = {{&mp_options_argp, 0, NULL, 0}, {0}};
  static const struct argp argp = {NULL, parse, "MODEL...", "How much memory one training step takes, and whether it fits a device.", children, NULL, NULL};
  mp_arena *a = mp_arena_new(0);
  if (!a) return 3;
  static mp_options o;
  mp_options_init(&o, a);
  argp_err_exit_status = 2;
  argp_parse(&argp, argc, argv, 0, NULL, &o);
  fit f = {.o = &o};
  mp_err err;
  const char *text = mp_protect(a, &err, run, &f);
  int code = text ? f.code : mp_complain("memplan fit", &err);
  if (text) puts(text);
  mp_arena_free(a);
  return code;
}
