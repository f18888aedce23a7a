/* The commands. Each cmd_*.c parses its options, calls the library, prints what it hands back and returns the exit code of the contract:
 * 0 done (a verdict: everything fits), 1 something does not fit, 2 bad input or options, 3 memplan's own fault. */
#ifndef MP_CMD_H
#define MP_CMD_H

typedef struct mp_command {
  const char *name, *summary;
  int (*run)(int argc, char **argv); /* argv[0] is "memplan NAME" */
} mp_command;

int mp_cmd_inspect(int argc, char **argv);
int mp_cmd_fit(int argc, char **argv);
int mp_cmd_plan(int argc, char **argv);
int mp_cmd_check(int argc, char **argv);
int mp_cmd_export(int argc, char **argv);
int mp_cmd_max_batch(int argc, char **argv);
int mp_cmd_checkpoint(int argc, char **argv);
int mp_cmd_compute(int argc, char **argv);
int mp_cmd_diff(int argc, char **argv);
int mp_cmd_devices(int argc, char **argv);
int mp_cmd_ops(int argc, char **argv);

#endif
