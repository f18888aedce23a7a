#include "support_command.h"

#include <sys/wait.h>
#include <unistd.h>

static char *read_all(FILE *f) {
  size_t n = 0, cap = 1 << 16;
  char *text = malloc(cap);
  for (size_t k; text && (k = fread(text + n, 1, cap - n - 1, f)) > 0;) {
    n += k;
    if (n + 1 == cap) text = realloc(text, cap *= 2);
  }
  assert_non_null(text);
  text[n] = 0;
  return text;
}

char *test_command(const char *args, int *code, char *errors, size_t size) {
  char path[] = "/tmp/memplan-test-XXXXXX", line[4096];
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_true(snprintf(line, sizeof line, "'%s' %s 2>'%s'", MEMPLAN_BINARY, args, path) < (int)sizeof line);
  FILE *p = popen(line, "r");
  assert_non_null(p);
  char *text = read_all(p);
  int status = pclose(p);
  *code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  FILE *e = fdopen(fd, "r");
  assert_non_null(e);
  char *said = read_all(e);
  if (errors) snprintf(errors, size, "%s", said);
  free(said);
  fclose(e);
  unlink(path);
  return text;
}
