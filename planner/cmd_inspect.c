/* memplan inspect MODEL [--dim ...] [--from-scratch] [--json] [--tree] [--node NAME] [--unknown] [--program] [--quiet] */
#include <argp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "planner/cmd.h"
#include "planner/memplan.h"

#define MAX_DIMS 1024

enum { KEY_DIM = 256, KEY_SCRATCH, KEY_JSON, KEY_TREE, KEY_NODE, KEY_UNKNOWN, KEY_PROGRAM };

typedef struct options {
  const char *path;
  const char *dims[MAX_DIMS];
  uint32_t dim_count;
  bool from_scratch, quiet, program;
  mp_inspect_options report;
} options;

static error_t parse(int key, char *arg, struct argp_state *state) {
  options *o = state->input;
  switch (key) {
    case KEY_DIM:
      if (o->dim_count == MAX_DIMS) argp_error(state, "more than %d --dim options", MAX_DIMS);
      o->dims[o->dim_count++] = arg;
      break;
    case KEY_SCRATCH:
      o->from_scratch = true;
      break;
    case KEY_JSON:
      o->report.json = true;
      break;
    case KEY_TREE:
      o->report.tree = true;
      break;
    case KEY_NODE:
      o->report.node = arg;
      break;
    case KEY_PROGRAM:
      o->program = true;
      break;
    case KEY_UNKNOWN:
      o->report.unknown = true;
      break;
    case 'q':
      o->quiet = true;
      break;
    case ARGP_KEY_ARG:
      if (o->path) argp_error(state, "one model at a time: '%s' and '%s'", o->path, arg);
      o->path = arg;
      break;
    case ARGP_KEY_END:
      if (!o->path) argp_error(state, "which model? give the path of an ONNX file");
      if (o->program && o->report.json) argp_error(state, "--program is text; --json is for what the file holds");
      break;
    default:
      return ARGP_ERR_UNKNOWN;
  }
  return 0;
}

static const char *inspect(mp_arena *a, const mp_model *m, const options *o, const mp_graph **g, mp_err *err) {
  mp_binding dims[MAX_DIMS];
  for (uint32_t i = 0; i < o->dim_count; i++)
    if (!mp_binding_parse(a, o->dims[i], &dims[i], err)) return NULL;
  const mp_graph_options build = {.bindings = dims, .binding_count = o->dim_count, .from_scratch = o->from_scratch};
  *g = mp_graph_build(a, m, &build, err);
  if (o->program) return mp_report_program(a, mp_program_recover(a, *g, err), err);
  return *g ? mp_report_inspect(a, *g, &o->report, err) : NULL;
}

/* Working memory that no honest model of this size needs: a hostile file must not take the machine. */
static uint64_t limit_for(const options *o) {
  struct stat st;
  uint64_t nodes = ((uint64_t)48 << 20) + (stat(o->path, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size * 32 : 0);
  return o->program ? 4 * nodes : nodes;
}

int mp_cmd_inspect(int argc, char **argv) {
  static const struct argp_option list[] = {
      {"dim", KEY_DIM, "NAME=N", 0, "bind a named dimension, or one axis of an input: INPUT:AXIS=N (repeatable)", 0},
      {"from-scratch", KEY_SCRATCH, NULL, 0, "ignore every shape that the file declares but the inputs'", 0},
      {"json", KEY_JSON, NULL, 0, "one JSON object", 0},
      {"tree", KEY_TREE, NULL, 0, "by module path", 0},
      {"node", KEY_NODE, "NAME", 0, "one node, by its name or that of an output", 0},
      {"unknown", KEY_UNKNOWN, NULL, 0, "what is not known, and why", 0},
      {"program", KEY_PROGRAM, NULL, 0, "the framework's calls that the nodes came from, instead of the nodes", 0},
      {"quiet", 'q', NULL, 0, "no warnings on stderr", 0},
      {0}};
  static const struct argp argp = {
      .options = list, .parser = parse, .args_doc = "MODEL", .doc = "Reads an ONNX model, checks it, and infers every shape. Weights are not read."};
  options o = {0};
  argp_err_exit_status = 2;
  argp_parse(&argp, argc, argv, 0, NULL, &o);

  mp_err err = {0};
  mp_arena *a = mp_arena_new(limit_for(&o));
  if (!a) {
    fputs("memplan inspect: out of memory\n", stderr);
    return MP_INTERNAL;
  }
  const mp_model *m = mp_model_read(a, o.path, &err);
  const mp_graph *g = NULL;
  const char *text = m ? inspect(a, m, &o, &g, &err) : NULL;
  if (text) {
    for (uint32_t i = 0; i < g->warning_count && !o.quiet && !o.report.json; i++) fprintf(stderr, "warning: %s\n", g->warnings[i]);
    fputs(text, stdout);
  } else {
    fprintf(stderr, "memplan inspect: %s\n", err.text);
  }
  mp_model_close(m);
  mp_arena_free(a);
  return text ? 0 : err.code;
}
