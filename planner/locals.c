/* When Python lets go of a value. */
#include "planner/inside.h"

static void read_by(mp_var *vars, const mp_arg *a, int32_t call) {
  if (a->kind == MP_ARG_VAR && vars[a->as.var].dies < call) vars[a->as.var].dies = call;
  for (uint32_t i = 0; a->kind == MP_ARG_VARS && i < a->n; i++)
    if (a->as.vars[i] >= 0 && vars[a->as.vars[i]].dies < call) vars[a->as.vars[i]].dies = call;
}

void mp_lifetimes(mp_arena *a, mp_var *vars, uint32_t var_count, const mp_call *calls, uint32_t call_count, const mp_instance *instances, uint32_t instance_count) {
  (void)a;
  (void)instances;
  (void)instance_count;
  for (uint32_t i = 0; i < var_count; i++) vars[i].dies = vars[i].call;
  for (uint32_t c = 0; c < call_count; c++)
    for (uint32_t i = 0; i < calls[c].arg_count; i++) read_by(vars, &calls[c].args[i], (int32_t)c);
  for (uint32_t i = 0; i < var_count; i++)
    if (vars[i].is_output || vars[i].role != MP_ROLE_RESULT) vars[i].dies = (int32_t)call_count;
}
