/* memplan COMMAND ...: picks the command; everything else is in cmd_*.c. */
#include <stdio.h>
#include <string.h>

#include "planner/cmd.h"

static const mp_command commands[] = {
    {"inspect", "read a model: operators, shapes, parameters, FLOPs", mp_cmd_inspect},
    {"compute", "count the operations, time, energy and cost of a training run", mp_cmd_compute},
    {"fit", "how much memory training takes, and whether it fits a device", mp_cmd_fit},
    {"plan", "what to recompute so that it fits, with a proved bound", mp_cmd_plan},
    {"check", "replay a plan and name the rule that it breaks", mp_cmd_check},
    {"export", "hand a plan to PyTorch and others", mp_cmd_export},
    {"max-batch", "the largest batch that fits a device", mp_cmd_max_batch},
    {"diff", "set what was measured beside what is predicted", mp_cmd_diff},
    {"devices", "print the catalogue of devices", mp_cmd_devices},
    {"ops", "print the tables of operators, calls and patterns", mp_cmd_ops},
    {"checkpoint", "compute values again to fit a memory budget, at the least cost", mp_cmd_checkpoint},
    {0},
};

static void help(FILE *f) {
  fputs("usage: memplan COMMAND [OPTIONS]\n\nHow much accelerator memory training a model takes, whether it fits, and what makes it fit.\n\n", f);
  for (const mp_command *c = commands; c->name; c++) fprintf(f, "  %-12s %s\n", c->name, c->summary);
  fputs("\nmemplan COMMAND --help explains one. memplan --version prints the version.\n", f);
}

int main(int argc, char **argv) {
  if (argc < 2) {
    help(stderr);
    return 2;
  }
  if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
    help(stdout);
    return 0;
  }
  if (!strcmp(argv[1], "--version")) {
    puts("memplan " MEMPLAN_VERSION);
    return 0;
  }
  for (const mp_command *c = commands; c->name; c++)
    if (!strcmp(argv[1], c->name)) {
      char name[64];
      snprintf(name, sizeof name, "memplan %s", c->name);
      argv[1] = name;
      return c->run(argc - 1, argv + 1);
    }
  fprintf(stderr, "memplan: '%s' is not a command; memplan --help lists them\n", argv[1]);
  return 2;
}
