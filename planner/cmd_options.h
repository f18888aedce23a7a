/* Options that several commands share: the model, its dims, the run, the plan, the devices. One table of words for each kind of value. */
#ifndef MP_CMD_OPTIONS_H
#define MP_CMD_OPTIONS_H

#include <argp.h>

#include "planner/memplan.h"

#define MP_MAX_WORDS 1024

typedef struct mp_words { /* what was given for a repeatable or comma-separated option, in order */
  const char *at[MP_MAX_WORDS];
  uint32_t n;
} mp_words;

typedef struct mp_options {
  mp_arena *arena;
  mp_words models, dims, devices, freeze, checkpoint, invertible;
  mp_run run;
  mp_workspaces workspaces;
  uint32_t stages; /* --devices N */
  bool json, quiet;
  bool recomputes;     /* the command may choose to recompute: set after mp_options_init */
  bool model_optional; /* set after mp_options_init by a command that can do without */
} mp_options;

/* The child parser: give it as a child of a command's argp with an mp_options as its input (state->child_inputs). */
extern const struct argp mp_options_argp;
void mp_options_init(mp_options *o, mp_arena *a);
/* splits "a,b,c" (copied into the arena) */
void mp_words_split(mp_arena *a, mp_words *w, const char *text);
/* parsed --dim, --device; NULL with err filled */
const mp_binding *mp_options_bindings(const mp_options *o, uint32_t *n, mp_err *err);
const mp_device *const *mp_options_devices(const mp_options *o, uint32_t *n, mp_err *err);
/* what --checkpoint and --invertible ask for */
const mp_plan *mp_options_plan(const mp_options *o);
/* the plan.json that --checkpoint names, NULL where it names modules */
const char *mp_options_plan_file(const mp_options *o);
/* a stage's result, or the body fails with its error */
const void *mp_or_fail(mp_arena *a, const void *stage, const mp_err *err);
/* prints "memplan COMMAND: text" on stderr, returns the exit code */
int mp_complain(const char *command, const mp_err *err);

#endif
