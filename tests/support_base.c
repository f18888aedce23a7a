#include "support_base.h"

#include <sys/stat.h>

void test_close(double a, double b, double tolerance, const char *file, int line) {
  if (a - b <= tolerance && b - a <= tolerance) return;
  print_error("%.17g != %.17g (tolerance %g)\n", a, b, tolerance);
  _fail(file, line);
}

const char *test_shared(void) {
  const char *dir = getenv("MEMPLAN_SHARED");
  if (!dir) dir = MEMPLAN_SOURCE "/../shared";
  struct stat st;
  if (stat(dir, &st) == 0) return dir;
  print_message("skipped: no reference data at %s (set MEMPLAN_SHARED)\n", dir);
  return NULL;
}
