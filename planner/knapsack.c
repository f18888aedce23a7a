/* Which blocks to keep when only so many bytes may be: the dearest set that fits, for every limit at once. PyTorch's activation memory budget chooses so
 * (torch/_functorch/_activation_checkpointing/knapsack.py, dp_knapsack); here it seeds the search. */
#include <string.h>

#include "planner/placement.h"

void mp_knapsack(mp_arena *a, const mp_candidate *items, const uint32_t *at, uint32_t n, bool *keep) {
  enum { U = MP_KNAPSACK_UNITS };
  double total = 0;
  for (uint32_t i = 0; i < n; i++) total += (double)items[at[i]].frees;
  double *best = mp_alloc_array(a, U + 1, sizeof *best);
  bool *took = mp_alloc_array(a, n, U + 1); /* item i is in the best set of the first i + 1 items for this limit */
  uint32_t *units = mp_alloc_array(a, n + 1, sizeof *units);
  for (uint32_t i = 0; i < n; i++) {
    units[i] = (uint32_t)((double)items[at[i]].frees / total * U + 0.5);
    for (uint32_t w = U + 1; w-- > units[i];) {
      double with = best[w - units[i]] + items[at[i]].cost;
      if (with <= best[w]) continue;
      best[w] = with;
      took[(size_t)i * (U + 1) + w] = true;
    }
  }
  for (uint32_t w = 0; w <= U; w++)
    for (uint32_t i = n, left = w; i-- > 0;)
      if (took[(size_t)i * (U + 1) + left]) {
        keep[(size_t)w * n + i] = true;
        left -= units[i];
      }
}
