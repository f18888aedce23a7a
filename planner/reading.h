/* Reading a program: what a call is, what it reads, what made that. Every function takes NULL or -1 for "nothing" and says so again. */
#ifndef MP_READING_H
#define MP_READING_H

#include <string.h>

#include "planner/inside.h"

static inline bool mp_call_is(const mp_call *c, const char *name) { return c && !strcmp(c->row->name, name); }

static inline bool mp_call_is_one(const mp_call *c, const char *const *names, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (mp_call_is(c, names[i])) return true;
  return false;
}

/* the variable that argument i is, -1 where it is none or a list */
static inline int32_t mp_call_operand(const mp_call *c, uint32_t i) { return c && i < c->arg_count && c->args[i].kind == MP_ARG_VAR ? c->args[i].as.var : -1; }

/* permute(0, 3, 1, 2): (N, H, W, C) to maps */
static inline bool mp_call_makes_maps(const mp_call *c) {
  static const int64_t order[] = {0, 3, 1, 2};
  return mp_call_is(c, "aten::permute") && c->arg_count > 1 && c->args[1].kind == MP_ARG_INTS && c->args[1].n == 4 && !memcmp(c->args[1].as.ints, order, sizeof order);
}

/* the call that made the variable; NULL for what the program is given */
static inline const mp_call *mp_maker_of(const mp_program *p, int32_t v) { return v < 0 || p->vars[v].call < 0 ? NULL : &p->calls[p->vars[v].call]; }

#endif
