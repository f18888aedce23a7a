/* Runs the command as a user does. */
#ifndef MP_TEST_COMMAND_H
#define MP_TEST_COMMAND_H
#include "support_base.h"

/* stdout of `memplan ARGS` (a shell line), freed by the caller; *code its exit code. stderr goes to errors (size bytes), which may be NULL. */
char *test_command(const char *args, int *code, char *errors, size_t size);

#endif
