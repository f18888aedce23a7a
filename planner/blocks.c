/* Repeated modules. */
#include "planner/inside.h"

void mp_find_blocks(mp_arena *a, mp_instance *instances, uint32_t instance_count, const mp_call *calls, uint32_t call_count) {
  (void)a;
  (void)calls;
  (void)call_count;
  for (uint32_t i = 0; i < instance_count; i++) instances[i].block = -1;
}
