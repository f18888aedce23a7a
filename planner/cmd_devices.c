/* memplan devices [--json] [NAME...] */
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "planner/cmd.h"
#include "planner/memplan.h"

#define MAX_NAMES 256

typedef struct options {
  bool json;
  const char *names[MAX_NAMES];
  size_t count;
} options;

static error_t parse(int key, char *arg, struct argp_state *state) {
  options *o = state->input;
  if (key == 'j') {
    o->json = true;
  } else if (key == 'q') {
  } else if (key == ARGP_KEY_ARG) {
    if (o->count == MAX_NAMES) argp_error(state, "more than %d names", MAX_NAMES);
    o->names[o->count++] = arg;
  } else {
    return ARGP_ERR_UNKNOWN;
  }
  return 0;
}

int mp_cmd_devices(int argc, char **argv) {
  static const struct argp_option list[] = {
      {"json", 'j', NULL, 0, "one JSON object: {\"devices\": [...]}", 0}, {"quiet", 'q', NULL, 0, "no notes", 0}, {0}};
  static const struct argp argp = {.options = list,
                                   .parser = parse,
                                   .args_doc = "[NAME...]",
                                   .doc =
                                       "Prints the catalogue of devices, or the named ones with the source of every figure. A NAME is a name, an "
                                       "alias or a size."};
  options o = {0};
  argp_err_exit_status = 2;
  argp_parse(&argp, argc, argv, 0, NULL, &o);

  mp_arena *a = mp_arena_new(0);
  mp_err err = {0};
  const mp_device *found[MAX_NAMES];
  const char *text = NULL;
  if (a) {
    for (size_t i = 0; i < o.count && !err.code; i++) found[i] = mp_device_find(a, o.names[i], &err);
    if (!err.code) text = mp_report_devices(a, o.count ? found : NULL, o.count, o.json, &err);
  }
  if (text)
    fputs(text, stdout), fputs(o.json ? "\n" : "", stdout);
  else
    fprintf(stderr, "memplan devices: %s\n", a ? err.text : "out of memory");
  mp_arena_free(a);
  return text ? 0 : a ? err.code : MP_INTERNAL;
}
