/* Any bytes: read as a model, built as a graph, reported. Build with -DMEMPLAN_FUZZ=ON and clang:  fuzz_model -rss_limit_mb=512 -max_len=65536 CORPUS
 */
#include <stdlib.h>
#include <string.h>

#include "planner/memplan.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  mp_arena *a = mp_arena_new((uint64_t)64 << 20);
  if (!a) return 0;
  mp_err err = {0};
  const mp_model *m = mp_model_read_memory(a, "fuzz", bytes, n, &err);
  const mp_binding dims[] = {{"batch", -1, 2}, {"N", -1, 3}};
  /* the last byte picks how: from scratch or not, bound or not */
  const mp_graph_options o = {.from_scratch = n && bytes[n - 1] & 1, .bindings = dims, .binding_count = n && bytes[n - 1] & 2 ? 1 : 0};
  const mp_graph *g = m ? mp_graph_build(a, m, &o, &err) : NULL;
  if (g) {
    const mp_inspect_options report = {.json = bytes[n - 1] & 4, .tree = bytes[n - 1] & 8, .unknown = bytes[n - 1] & 16};
    mp_report_inspect(a, g, &report, &err);
  } else if (!err.code) {
    abort(); /* NULL without a reason */
  }
  mp_arena_free(a);
  return 0;
}
