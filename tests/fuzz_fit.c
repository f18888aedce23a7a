/* Any bytes through the chain of fit: support_any.c has what must hold. Build and run as CONTRIBUTING.md says. */
#include <stdio.h>
#include <stdlib.h>

#include "support_any.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  const char *fault = test_fit_any(bytes, n);
  if (!fault) return 0;
  fprintf(stderr, "%s\n", fault);
  abort();
}
