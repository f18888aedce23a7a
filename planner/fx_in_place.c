/* Which calls write their result over their first operand. A functionalised trace does not say; the source line does, and the way that a call is
 * written out (habits.c adds what is usual where nothing is said). */
#include <stdio.h>

#include "planner/fx.h"

/* does the source line write its result into an operand: "x += y", "y.relu_()" */
static bool says_in_place(const mp_fx_call *c, const char *source) {
  if (!source) return false;
  const char *op = strstr(c->op, "::");
  if (strstr(source, "inplace=True"))
    return FX_ONE_OF(c->op, "aten::relu", "aten::hardtanh", "aten::leaky_relu", "aten::elu", "aten::silu", "aten::hardswish", "aten::hardsigmoid",
                     "aten::selu", "aten::celu", "aten::mish", "aten::clamp");
  static const struct {
    const char *op, *sign;
  } signs[] = {{"add", "+="}, {"sub", "-="}, {"mul", "*="}, {"div", "/="}, {"bitwise_and", "&="}, {"bitwise_or", "|="}};
  for (size_t i = 0; op && i < sizeof signs / sizeof *signs; i++)
    if (!strcmp(op + 2, signs[i].op)) {
      const char *p = source;
      while (*p && *p != '=' && *p != '(' && *p != '+' && *p != '-' && *p != '*' && *p != '/' && *p != '&' && *p != '|') p++;
      if (!strncmp(p, signs[i].sign, 2)) return true;
    }
  char name[64];
  size_t n = op ? strlen(op + 2) : 0;
  if (!n || n > sizeof name - 4) return false;
  snprintf(name, sizeof name, ".%s_(", op + 2);
  const char *call = strstr(source, name), *flag = call ? strstr(call, " if ") : NULL;
  return call && !(flag && strstr(flag, " else ")); /* x.mul_(g) if self.inplace else x * g: such flags are False unless somebody sets them */
}

/* The call that made an argument, or NULL. */
static const mp_call *maker(fx_rec *r, const mp_arg *a) {
  if (a->kind != MP_ARG_VAR) return NULL;
  const mp_var *v = mp_builder_at(r->b, a->as.var);
  return v->call >= 0 ? mp_builder_call_at(r->b, (uint32_t)v->call) : NULL;
}

static bool made_by(fx_rec *r, const mp_arg *a, const char *name) {
  const mp_call *c = maker(r, a);
  return c && !strcmp(c->row->name, name);
}

/* AlphaDropout (ATen/native/Dropout.cpp, _dropout_impl<true, true>): all but noise - 1 and x * noise are written over the first operand */
static bool alpha_dropout(fx_rec *r, const fx_group *g, const char *name, const mp_arg *args) {
  const mp_call *made = maker(r, &args[0]);
  if (!g->type || !strstr(g->type, ".dropout.") || !strstr(g->type, "AlphaDropout") || !made || !FX_ONE_OF(name, "aten::add", "aten::mul")) return false;
  bool own = made->module >= 0 && !strcmp(mp_builder_instance(r->b, made->module)->path, g->path);
  return own && (strcmp(name, "aten::add") != 0 || strcmp(made->row->name, "aten::bernoulli") != 0);
}

bool fx_in_place(fx_rec *r, const fx_group *g, const char *name, const mp_arg *args, uint32_t n) {
  if (!n) return false;
  if (says_in_place(g->call, g->source)) return true;
  if (FX_ONE_OF(name, "aten::slice_scatter", "aten::select_scatter", "aten::index_put", "aten::fill"))
    return true;                                      /* functionalised writes into a view */
  if (!strcmp(name, "aten::bernoulli")) return n > 1; /* the noise of dropout: empty_like().bernoulli_(p).div_(p) */
  if (!strcmp(name, "aten::div") && made_by(r, &args[0], "aten::bernoulli")) return true;
  if (alpha_dropout(r, g, name, args)) return true;
  if (!strcmp(name, "aten::mul") && n > 1 && g->type && strstr(g->type, ".dropout.Dropout") && made_by(r, &args[1], "aten::div"))
    return g->type[strlen(g->type) - 1] == 't'; /* nn.Dropout writes out only its in-place form; Dropout2d both: taken for the other */
  return false;
}
