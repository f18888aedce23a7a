#include "support_base.h"

#include <sys/stat.h>

const char *test_shared(void) {
  const char *dir = getenv("MEMPLAN_SHARED");
  if (!dir) dir = MEMPLAN_SOURCE "/../shared";
  struct stat st;
  if (stat(dir, &st) == 0) return dir;
  print_message("skipped: no reference data at %s (set MEMPLAN_SHARED)\n", dir);
  return NULL;
}
