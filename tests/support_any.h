/* Any bytes as a model, through everything that memplan does with a file. For the fuzzers (fuzz_*.c), and for the tests that replay what they found. */
#ifndef MP_SUPPORT_ANY_H
#define MP_SUPPORT_ANY_H

#include "planner/memplan.h"

/* Both take the options from the last bytes, and return what does not hold for every input, as a line that stays valid until the next call; NULL: nothing. */
const char *test_inspect_any(const uint8_t *bytes, size_t n); /* read, inferred, reported */
const char *test_fit_any(const uint8_t *bytes, size_t n);     /* recovered, traced, replayed, summed */

#endif
