/* Which modules can be run backwards: each call says which operand follows from its result. */
#include "planner/invertible.h"

#include <string.h>

#include "planner/calls.h"
#include "planner/reading.h"

/* ---- the table: what an operand follows from ---- */

typedef enum kind {
  ONE_TO_ONE, /* the result alone */
  EITHER,     /* the result and the other operand; a number is always known */
  JOINED,     /* every part follows from the whole */
  PARTED,     /* the whole follows from all parts */
  PRODUCT,    /* the result, where the kernel is a square matrix for each place */
} kind;
static const char *const in_words[] = {"its operand follows from its result", "either operand follows from the result and the other", "its parts follow from the whole",
                                       "the whole follows from its parts", "its operand follows from its result where the kernel is 1x1 and square"};
static const struct {
  const char *call;
  kind kind;
} rows[] = {
    {"aten::view", ONE_TO_ONE},      {"aten::reshape", ONE_TO_ONE},   {"aten::_unsafe_view", ONE_TO_ONE}, {"aten::flatten", ONE_TO_ONE},   {"aten::transpose", ONE_TO_ONE},
    {"aten::permute", ONE_TO_ONE},   {"aten::unsqueeze", ONE_TO_ONE}, {"aten::squeeze", ONE_TO_ONE},      {"aten::contiguous", ONE_TO_ONE}, {"aten::clone", ONE_TO_ONE},
    {"aten::alias", ONE_TO_ONE},     {"aten::flip", ONE_TO_ONE},      {"aten::roll", ONE_TO_ONE},         {"aten::pixel_shuffle", ONE_TO_ONE},
    {"aten::pixel_unshuffle", ONE_TO_ONE}, {"aten::neg", ONE_TO_ONE}, {"aten::exp", ONE_TO_ONE},          {"aten::log", ONE_TO_ONE},       {"aten::sigmoid", ONE_TO_ONE},
    {"aten::tanh", ONE_TO_ONE},      {"aten::add", EITHER},           {"aten::sub", EITHER},              {"aten::mul", EITHER},           {"aten::div", EITHER},
    {"aten::cat", JOINED},           {"aten::stack", JOINED},         {"aten::split", PARTED},            {"aten::split_with_sizes", PARTED},
    {"aten::chunk", PARTED},         {"aten::unbind", PARTED},        {"aten::conv1d", PRODUCT},          {"aten::conv2d", PRODUCT},       {"aten::conv3d", PRODUCT},
};

const char *mp_inverse_of(const char *call) {
  for (uint32_t i = 0; i < MP_COUNT(rows); i++)
    if (!strcmp(rows[i].call, call)) return in_words[rows[i].kind];
  return NULL;
}

/* ---- what is known ---- */

typedef struct search {
  mp_arena *a;
  const mp_program *p;
  uint32_t first, end;
  bool *known; /* of each variable */
  bool more;
} search;

static void learn(search *s, int32_t v) {
  if (v < 0 || s->known[v]) return;
  s->known[v] = s->more = true;
}

static bool is_inside(const search *s, int32_t call) { return call >= (int32_t)s->first && call < (int32_t)s->end; }

static bool same_dims(const mp_var *x, const mp_var *y) {
  if (x->rank != y->rank) return false;
  for (int i = 0; i < x->rank; i++)
    if (x->dims[i] != y->dims[i]) return false;
  return true;
}

static void visit_args(const mp_call *c, void (*see)(void *, int32_t), void *arg) {
  for (uint32_t i = 0; i < c->arg_count; i++) {
    if (c->args[i].kind == MP_ARG_VAR) see(arg, c->args[i].as.var);
    for (uint32_t k = 0; c->args[i].kind == MP_ARG_VARS && k < c->args[i].n; k++)
      if (c->args[i].as.vars[k] >= 0) see(arg, c->args[i].as.vars[k]);
  }
}

typedef struct all_known {
  const search *s;
  bool all;
} all_known;
static void check_known(void *arg, int32_t v) {
  all_known *k = arg;
  k->all = k->all && k->s->known[v];
}

static bool outputs_known(const search *s, const mp_call *c) {
  for (uint32_t i = 0; i < c->out_count; i++)
    if (c->outs[i] >= 0 && !s->known[c->outs[i]]) return false;
  return true;
}

static void learn_it(void *arg, int32_t v) { learn(arg, v); }

static bool square_kernel(const search *s, const mp_call *c) {
  int32_t w = mp_call_operand(c, 1);
  if (w < 0 || s->p->vars[w].rank < 3) return false;
  const mp_var *v = &s->p->vars[w];
  for (int i = 2; i < v->rank; i++)
    if (v->dims[i] != 1) return false;
  return v->dims[0] == v->dims[1] && c->outs[0] >= 0 && mp_call_operand(c, 0) >= 0 && same_dims(&s->p->vars[c->outs[0]], &s->p->vars[mp_call_operand(c, 0)]);
}

/* an operand that was spread over the result is not one that the result alone tells */
static void learn_either(search *s, const mp_call *c) {
  int32_t x = mp_call_operand(c, 0), y = mp_call_operand(c, 1), out = c->outs[0];
  const mp_var *vars = s->p->vars;
  if (x >= 0 && (y < 0 || s->known[y]) && same_dims(&vars[x], &vars[out])) learn(s, x);
  if (y >= 0 && (x < 0 || s->known[x]) && same_dims(&vars[y], &vars[out])) learn(s, y);
}

static void step_back(search *s, const mp_call *c) {
  if (!c->out_count || c->outs[0] < 0 || !outputs_known(s, c)) return;
  for (uint32_t i = 0; i < MP_COUNT(rows); i++) {
    if (strcmp(rows[i].call, c->row->name) != 0) continue;
    switch (rows[i].kind) {
      case ONE_TO_ONE: case PARTED: learn(s, mp_call_operand(c, 0)); break;
      case EITHER: learn_either(s, c); break;
      case JOINED: visit_args(c, learn_it, s); break;
      case PRODUCT: if (square_kernel(s, c) && s->known[mp_call_operand(c, 1)]) learn(s, mp_call_operand(c, 0)); break;
    }
    return;
  }
}

/* x[:, :n] and x[:, n:], as exporters write a split: the slices of x along one axis that are known cover it */
static void learn_from_slices(search *s, int32_t x) {
  const mp_var *v = &s->p->vars[x];
  for (int64_t axis = 0; axis < v->rank; axis++)
    for (int64_t at = 0, before = -1; at != before;) {
      before = at;
      for (uint32_t c = s->first; c < s->end; c++) {
        const mp_call *call = &s->p->calls[c];
        if (strcmp(call->row->name, "aten::slice") != 0 || mp_call_operand(call, 0) != x || !outputs_known(s, call) || call->arg_count < 4) continue;
        if (call->args[1].kind != MP_ARG_INT || call->args[2].kind != MP_ARG_INT || (call->arg_count > 4 && call->args[4].kind == MP_ARG_INT && call->args[4].as.i != 1)) continue;
        int64_t dim = call->args[1].as.i < 0 ? call->args[1].as.i + v->rank : call->args[1].as.i, start = call->args[2].as.i < 0 ? call->args[2].as.i + v->dims[axis] : call->args[2].as.i;
        if (dim == axis && start == at && call->outs[0] >= 0) at += s->p->vars[call->outs[0]].dims[axis];
        if (at == v->dims[axis]) {
          learn(s, x);
          return;
        }
      }
    }
}

static void settle(search *s) {
  for (s->more = true; s->more;) {
    s->more = false;
    for (uint32_t c = s->first; c < s->end; c++) {
      const mp_call *call = &s->p->calls[c];
      all_known k = {s, true};
      visit_args(call, check_known, &k);
      for (uint32_t i = 0; k.all && i < call->out_count; i++) learn(s, call->outs[i]);
      if (!k.all) step_back(s, call);
      if (!strcmp(call->row->name, "aten::slice") && mp_call_operand(call, 0) >= 0 && !s->known[mp_call_operand(call, 0)]) learn_from_slices(s, mp_call_operand(call, 0));
    }
  }
}

/* ---- the module's edges ---- */

typedef struct reading {
  const search *s;
  bool inside_now;
  bool *inside, *outside; /* variables that are read there */
} reading;
static void note_reader(void *arg, int32_t v) {
  reading *r = arg;
  (r->inside_now ? r->inside : r->outside)[v] = true;
}

static bool is_state(const mp_var *v) { return v->role == MP_ROLE_RESULT && mp_dtype_is_float(v->dtype); }

const mp_inverse *mp_inverse_find(mp_arena *a, const mp_program *p, uint32_t first, uint32_t end) {
  search s = {.a = a, .p = p, .first = first, .end = end, .known = mp_alloc_array(a, p->var_count + 1, sizeof(bool))};
  reading r = {&s, false, mp_alloc_array(a, p->var_count + 1, sizeof(bool)), mp_alloc_array(a, p->var_count + 1, sizeof(bool))};
  for (uint32_t c = 0; c < p->call_count; c++) {
    r.inside_now = is_inside(&s, (int32_t)c);
    visit_args(&p->calls[c], note_reader, &r);
  }
  MP_VEC(int32_t) rebuilt = {0}, outputs = {0};
  bool large = false;
  for (uint32_t v = 0; v < p->var_count; v++) {
    const mp_var *x = &p->vars[v];
    bool made_inside = x->call >= 0 && is_inside(&s, x->call);
    bool leaves = r.outside[v] || x->is_output || x->is_held;
    if (made_inside && leaves) *mp_push(a, &outputs) = (int32_t)v;
    if (!made_inside && r.inside[v] && !leaves && is_state(x)) {
      *mp_push(a, &rebuilt) = (int32_t)v;
      large = large || x->rank > 1;
    } else {
      s.known[v] = !made_inside || leaves; /* parameters, inputs, and what others keep */
    }
  }
  mp_inverse *inverse = mp_alloc(a, sizeof *inverse);
  *inverse = (mp_inverse){rebuilt.at, outputs.at, (uint32_t)rebuilt.n, (uint32_t)outputs.n, NULL};
  settle(&s);
  if (!large) inverse->why = "all that it is given is read by others too";
  for (size_t i = 0; i < rebuilt.n && !inverse->why; i++)
    if (!s.known[rebuilt.at[i]]) inverse->why = mp_format(a, "'%s' does not follow from its outputs by additive or affine coupling, 1x1 convolutions, concatenation and views", p->vars[rebuilt.at[i]].name);
  return inverse;
}
