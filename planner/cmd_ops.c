/* memplan ops [--json] [GLOB...] */
#include <argp.h>
#include <stdio.h>

#include "planner/cmd.h"
#include "planner/memplan.h"

enum { MAX_GLOBS = 64 };

typedef struct options {
  bool json;
  const char *globs[MAX_GLOBS];
  uint32_t count;
} options;

static error_t parse(int key, char *arg, struct argp_state *state) {
  options *o = state->input;
  switch (key) {
    case 'j': o->json = true; break;
    case 'q': break;
    case ARGP_KEY_ARG:
      if (o->count == MAX_GLOBS) argp_error(state, "more than %d globs", MAX_GLOBS);
      o->globs[o->count++] = arg;
      break;
    default: return ARGP_ERR_UNKNOWN;
  }
  return 0;
}

int mp_cmd_ops(int argc, char **argv) {
  static const struct argp_option list[] = {
      {"json", 'j', NULL, 0, "one JSON object: {\"operators\": [...], \"calls\": [...], \"patterns\": [...]}", 0}, {"quiet", 'q', NULL, 0, "no notes", 0}, {0}};
  static const struct argp argp = {.options = list,
                                   .parser = parse,
                                   .args_doc = "[GLOB...]",
                                   .doc = "Prints the tables of ONNX operators, of framework calls with what each keeps for backward, and of the patterns from "
                                          "one to the other; or the rows that a GLOB names."};
  options o = {0};
  argp_err_exit_status = 2;
  argp_parse(&argp, argc, argv, 0, NULL, &o);
  mp_arena *a = mp_arena_new(0);
  mp_err err = {0};
  const char *text = a ? mp_report_ops(a, o.globs, o.count, o.json, &err) : NULL;
  if (text) fputs(text, stdout), fputs(o.json ? "\n" : "", stdout);
  else fprintf(stderr, "memplan ops: %s\n", a ? err.text : "out of memory");
  mp_arena_free(a);
  return text ? 0 : a ? err.code : MP_INTERNAL;
}
