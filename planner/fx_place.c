/* Where a call ran that the exporter's optimizer removed. Only its name in a reader's arguments is left, so it was put back in front of that reader. What was
 * made in another module was scaled or dropped there: cos * attention_scaling in the rotary embedding and not in the first layer that turns its queries,
 * embedding * multiplier in front of the layers. It matters where a layer is run again. */
#include <string.h>

#include "planner/fx.h"

#define FARTHEST 1000 /* calls that are moved across */

static bool within(const fx_rec *r, int32_t module, int32_t outer) {
  for (; module >= 0; module = mp_builder_instance(r->b, module)->parent)
    if (module == outer) return true;
  return false;
}

/* does the module run inside a member of a list ("layer.3") that `reader` is not in: no place for what the list's other members do not have */
static bool in_member(const fx_rec *r, int32_t module, int32_t reader) {
  for (; module >= 0 && !within(r, reader, module); module = mp_builder_instance(r->b, module)->parent) {
    const char *path = mp_builder_instance(r->b, module)->path, *dot = strrchr(path, '.'), *last = dot ? dot + 1 : path;
    if (*last >= '0' && *last <= '9') return true;
  }
  return false;
}

/* the module whose forward made the call: that of torch.nn's own layers is around them */
static int32_t writer(const fx_rec *r, int32_t module) {
  const mp_instance *m = mp_builder_instance(r->b, module);
  bool layer = m->type && !strncmp(m->type, "torch.nn.", 9) && !strstr(m->type, ".transformer."); /* whose forwards are written of other layers */
  return m->parent >= 0 && layer ? m->parent : module;
}

/* A constant that was put back takes its type from the latest value (fx_missing.c): the moved call's result is that now. */
static void follow(fx_rec *r, uint32_t from, uint32_t end, int32_t old, int32_t new) {
  for (uint32_t i = from; i < end; i++) {
    mp_call *c = mp_builder_call_at(r->b, i);
    if (strcmp(c->row->name, "aten::new_full") != 0 || c->node_count || c->arg_count < 2 || c->args[0].kind != MP_ARG_VAR || c->args[0].as.var != old) continue;
    mp_arg *args = mp_alloc_array(r->a, c->arg_count, sizeof *args);
    memcpy(args, c->args, c->arg_count * sizeof *args);
    args[0] = mp_arg_var(new);
    c->args = args;
  }
}

void fx_place_lost(fx_rec *r) {
  for (size_t i = 0; i < r->lost.n; i++) {
    int32_t at = mp_builder_at(r->b, r->lost.at[i])->call;
    const mp_call *c = at < 0 ? NULL : mp_builder_call_at(r->b, (uint32_t)at);
    const mp_var *x = c && c->arg_count && c->args[0].kind == MP_ARG_VAR ? mp_builder_at(r->b, c->args[0].as.var) : NULL;
    if (!x || x->role != MP_ROLE_RESULT || x->call < 0 || x->call >= at) continue;
    int32_t made = mp_builder_call_at(r->b, (uint32_t)x->call)->module, old = c->args[0].as.var;
    uint32_t to = (uint32_t)x->call + 1;
    if ((uint32_t)at - to > FARTHEST || within(r, made, c->module) || in_member(r, made, c->module)) continue;
    mp_builder_move(r->b, (uint32_t)at, to, writer(r, made));
    follow(r, to + 1, (uint32_t)at + 1, old, r->lost.at[i]);
  }
}
