/* Casts that a float32 file does not show, told by what half precision would refuse.
 *
 * `.to(x.dtype)` of a float32 value leaves no node in a float32 export, yet a program without it would not run in half precision: a product of a float32
 * operand with a half weight is an error (at::native, "expected m1 and m2 to have the same dtype"). So the types of a half run are followed from call to
 * call, and where a strict call would be handed two types, a cast is missing on the way from where float32 began:
 *
 *     mask.to(float32) * x -> linear      integers made float:       the cast asked for x's type, whatever that is
 *     cos(float32 angles) * q -> matmul   tables of angles:          cast when they are done
 *     norm: x.float() ... * weight -> linear    a module's own float: cast back before the module's weight, or where its result leaves it
 *
 * In float32 none of these casts makes anything. */
#include <string.h>

#include "planner/inside.h"

typedef enum kind { OTHER, HALF, WIDE } kind; /* not floating; the run's type; float32 in spite of it */

typedef struct cast { /* `as` is `var` in the type of `like` */
  int32_t var, as, like;
} cast;

typedef struct pass {
  mp_arena *a;
  mp_builder *b;
  kind *of; /* of each variable, with room for the casts */
  size_t room;
  MP_VEC(cast) casts;
  mp_text where;
  int32_t model; /* a parameter: it has the type of the run */
  uint32_t found;
  uint64_t work; /* calls that were looked at */
} pass;

/* Programs that people write need a few looks at each call; one that was made to need more keeps the types that it has. */
#define MOST_WORK(calls) (1000 * (uint64_t)(calls) + 1000000)

static bool is_one_of(const char *name, const char *const *list, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!strcmp(name, list[i])) return true;
  return false;
}
#define ONE_OF(name, ...) is_one_of(name, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static const char *name_of(const mp_call *c) { return c->row->name; }
static bool is_cast(const mp_call *c) { return ONE_OF(name_of(c), "aten::to", "aten::_to_copy"); }

/* calls that refuse operands of two floating types */
static bool is_strict(const mp_call *c) {
  return ONE_OF(name_of(c), "aten::linear", "aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm", "aten::_grouped_mm", "aten::matmul", "aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::convolution",
                "aten::conv_transpose1d", "aten::conv_transpose2d", "aten::conv_transpose3d", "aten::scaled_dot_product_attention", "aten::layer_norm", "aten::group_norm");
}

/* the operands, lists of them taken apart; false at the end */
static bool next_operand(const mp_call *c, uint32_t *i, uint32_t *k, int32_t *var) {
  for (; *i < c->arg_count; (*i)++, *k = 0) {
    const mp_arg *x = &c->args[*i];
    if (x->kind == MP_ARG_VAR && !(*k)++) {
      *var = x->as.var;
      return true;
    }
    while (x->kind == MP_ARG_VARS && *k < x->n)
      if ((*var = x->as.vars[(*k)++]) >= 0) return true;
  }
  return false;
}
#define DEEPEST 2000 /* calls between a product and where its float32 began */
#define EACH_OPERAND(c, var) for (uint32_t var##_i = 0, var##_k = 0; next_operand(c, &var##_i, &var##_k, &var);)

static bool asks_for_float32(const mp_call *c) {
  for (uint32_t i = 1; i < c->arg_count; i++)
    if (c->args[i].kind == MP_ARG_DTYPE && c->args[i].as.dtype == MP_FLOAT) return true;
  return false;
}

static bool makes_anew(const mp_call *c) { return strstr(name_of(c), "::new_") || strstr(name_of(c), "_like"); }

/* c10::ResultTypeState: tensors of no dimensions count only among themselves */
static kind type_of(pass *p, const mp_call *c) {
  kind of[2] = {OTHER, OTHER}; /* of scalars, of tensors */
  bool tensors = false;
  int32_t v;
  if (ONE_OF(name_of(c), "aten::type_as") && c->arg_count > 1 && c->args[1].kind == MP_ARG_VAR) return p->of[c->args[1].as.var];
  if (asks_for_float32(c) && !makes_anew(c)) {
    EACH_OPERAND(c, v) return WIDE;
    return HALF; /* a factory: dtype=x.dtype */
  }
  EACH_OPERAND(c, v) {
    bool dims = mp_builder_at(p->b, v)->rank > 0;
    tensors = true;
    if (p->of[v] > of[dims]) of[dims] = p->of[v];
    if (ONE_OF(name_of(c), "aten::embedding", "aten::index", "aten::gather", "aten::index_select", "aten::masked_fill")) break; /* the first decides */
  }
  if (of[1] != OTHER) return of[1];
  if (of[0] != OTHER) return of[0];
  return tensors && !makes_anew(c) ? WIDE : HALF; /* of integers: the default type; a factory's follows the run */
}

static void learn(pass *p, uint32_t first, uint32_t end) {
  p->work += end - first;
  for (uint32_t n = first; n < end; n++) {
    const mp_call *c = mp_builder_call_at(p->b, n);
    bool over = c->in_place && c->arg_count && c->args[0].kind == MP_ARG_VAR; /* whatever type the file's node has */
    kind k = over ? p->of[c->args[0].as.var] : type_of(p, c);
    for (uint32_t o = 0; o < c->out_count; o++)
      if (c->outs[o] >= 0) p->of[c->outs[o]] = over || mp_builder_at(p->b, c->outs[o])->dtype == MP_FLOAT ? k : OTHER;
  }
}

/* ---- mending ---- */

static void read_instead(pass *p, uint32_t first, int32_t var, int32_t as) {
  p->work += mp_builder_call_count(p->b) - first;
  for (uint32_t n = first; n < mp_builder_call_count(p->b); n++) {
    const mp_call *c = mp_builder_call_at(p->b, n);
    for (uint32_t i = 0; i < c->arg_count; i++) {
      mp_arg *x = (mp_arg *)&c->args[i]; /* the builder's own copy */
      if (x->kind == MP_ARG_VAR && x->as.var == var) x->as.var = as;
      for (uint32_t k = 0; x->kind == MP_ARG_VARS && k < x->n; k++)
        if (x->as.vars[k] == var) ((int32_t *)x->as.vars)[k] = as;
    }
  }
}

static void note(pass *p, const mp_call *c) {
  const char *path = c->module < 0 ? "" : mp_builder_instance(p->b, c->module)->path;
  if (p->found++ < 3) mp_text_add(p->a, &p->where, "%s%s", p->found > 1 ? ", " : "", *path ? path : "the model");
}

static void cast_behind(pass *p, uint32_t call, int32_t var, int32_t like) {
  mp_var v = *mp_builder_at(p->b, var);
  if ((size_t)mp_builder_var_count(p->b) >= p->room) return;
  int32_t as = mp_builder_var(p->b, MP_ROLE_RESULT, mp_format(p->a, "%s.cast", v.name), v.dtype, v.rank, v.dims, -1);
  read_instead(p, call + 1, var, as);
  p->of[as] = HALF;
  *mp_push(p->a, &p->casts) = (cast){.var = var, .as = as, .like = like};
  note(p, mp_builder_call_at(p->b, call));
}

static bool within(pass *p, int32_t call, int32_t module) {
  for (int32_t m = mp_builder_call_at(p->b, (uint32_t)call)->module; m >= 0; m = mp_builder_instance(p->b, m)->parent)
    if (m == module) return true;
  return false;
}

static bool is_parameter(pass *p, const mp_arg *x) { return x->kind == MP_ARG_VAR && mp_builder_at(p->b, x->as.var)->role == MP_ROLE_PARAMETER; }

/* y in weight * y + bias, where the weights are the parameters themselves; v as it is where it is something else */
static int32_t before_weights(pass *p, int32_t v) {
  int32_t t = v;
  for (int step = 0; step < 2; step++) {
    int32_t n = mp_builder_at(p->b, t)->call;
    const mp_call *c = n < 0 ? NULL : mp_builder_call_at(p->b, (uint32_t)n);
    if (!c || c->arg_count < 2 || c->args[0].kind != MP_ARG_VAR || c->args[1].kind != MP_ARG_VAR) return v;
    int other = is_parameter(p, &c->args[0]) ? 1 : is_parameter(p, &c->args[1]) ? 0 : -1;
    if (other < 0 || (step && strcmp(name_of(c), "aten::mul") != 0) || !ONE_OF(name_of(c), "aten::mul", "aten::add")) return v;
    t = c->args[other].as.var;
    if (!strcmp(name_of(c), "aten::mul")) return t;
  }
  return v;
}

typedef struct walk {
  uint32_t reader; /* the strict call */
  uint32_t *seen;  /* of each variable: 1 + the last reader from which it was reached */
  uint32_t earliest; /* call that was changed */
} walk;

/* float32 began in call n, whose result var leads to the reader: of integers */
static void mend_source(pass *p, walk *w, uint32_t n, int32_t var) {
  mp_call *c = mp_builder_call_at(p->b, n);
  int32_t x = c->arg_count && c->args[0].kind == MP_ARG_VAR ? c->args[0].as.var : -1;
  if (is_cast(c) && x >= 0 && p->of[x] == OTHER) {
    mp_arg args[] = {c->args[0], mp_arg_var(p->model)};
    c->row = mp_call_find("aten::type_as");
    c->args = mp_alloc_array(p->a, 2, sizeof args[0]);
    memcpy((mp_arg *)c->args, args, sizeof args);
    c->arg_count = 2;
    note(p, c);
  } else if (x < 0 || p->of[x] != HALF)
    cast_behind(p, n, var, p->model);
  else
    return;
  if (n < w->earliest) w->earliest = n;
}

/* Is float32 begun by module m's own calls on the way to var? -> the operand that it was made of, -1 */
static int32_t begun_in(pass *p, int32_t var, int32_t m, uint32_t depth) {
  int32_t n = mp_builder_at(p->b, var)->call, v;
  const mp_call *c = n < 0 ? NULL : mp_builder_call_at(p->b, (uint32_t)n);
  if (!c || c->module != m || p->of[var] != WIDE || depth > 64 || ++p->work > MOST_WORK(mp_builder_call_count(p->b))) return -1;
  bool wide = false;
  EACH_OPERAND(c, v) wide |= p->of[v] == WIDE;
  if (!wide) return c->arg_count && c->args[0].kind == MP_ARG_VAR && p->of[c->args[0].as.var] == HALF ? c->args[0].as.var : -1;
  EACH_OPERAND(c, v) {
    int32_t x = begun_in(p, v, m, depth + 1);
    if (x >= 0) return x;
  }
  return -1;
}

/* var is float32 and read by call read_by, on the way to the strict call */
static void mend(pass *p, walk *w, int32_t var, int32_t read_by, uint32_t depth) {
  int32_t n = mp_builder_at(p->b, var)->call, v;
  if (depth > DEEPEST) return;
  if (n < 0 || p->of[var] != WIDE || w->seen[var] == w->reader + 1) return;
  w->seen[var] = w->reader + 1;
  const mp_call *c = mp_builder_call_at(p->b, (uint32_t)n);
  if (ONE_OF(name_of(c), "aten::cos", "aten::sin")) {
    cast_behind(p, (uint32_t)n, var, p->model);
    if ((uint32_t)n < w->earliest) w->earliest = (uint32_t)n;
    return;
  }
  bool leaves = read_by == (int32_t)w->reader || !within(p, read_by, c->module);
  int32_t own = leaves ? begun_in(p, var, c->module, 0) : -1;
  if (own >= 0) {
    int32_t t = within(p, read_by, c->module) ? var : before_weights(p, var);
    uint32_t at = (uint32_t)mp_builder_at(p->b, t)->call;
    cast_behind(p, at, t, own);
    if (at < w->earliest) w->earliest = at;
    return;
  }
  bool wide = false;
  EACH_OPERAND(c, v) wide |= p->of[v] == WIDE;
  if (!wide) {
    mend_source(p, w, (uint32_t)n, var);
    return;
  }
  EACH_OPERAND(c, v) mend(p, w, v, n, depth + 1);
}

static bool refused(pass *p, const mp_call *c) {
  bool seen[3] = {false};
  int32_t v;
  if (!is_strict(c)) return false;
  EACH_OPERAND(c, v) seen[p->of[v]] = true;
  return seen[HALF] && seen[WIDE];
}

/* the casts as calls, each behind its maker */
static void put_in(pass *p) {
  for (size_t i = 0; i < p->casts.n; i++) {
    const cast *k = &p->casts.at[i];
    mp_arg args[] = {mp_arg_var(k->var), mp_arg_var(k->like)};
    mp_builder_insert(p->b, (uint32_t)mp_builder_at(p->b, k->var)->call + 1, "aten::type_as", args, 2, k->as);
  }
}

void mp_unseen_casts(mp_builder *b) {
  uint32_t calls = mp_builder_call_count(b);
  int32_t vars = mp_builder_var_count(b);
  pass p = {.a = mp_builder_arena(b), .b = b, .model = -1};
  for (int32_t v = 0; v < vars; v++) {
    const mp_var *x = mp_builder_at(b, v);
    if (x->dtype == MP_FLOAT16 || x->dtype == MP_BFLOAT16) return; /* exported in half precision: its casts are in the file */
    if (p.model < 0 && x->role == MP_ROLE_PARAMETER && x->dtype == MP_FLOAT) p.model = v;
  }
  if (p.model < 0) return;
  p.room = 2 * (size_t)vars + 1; /* a variable is cast once */
  p.of = mp_alloc_array(p.a, p.room, sizeof *p.of);
  for (int32_t v = 0; v < vars; v++) p.of[v] = mp_builder_at(b, v)->dtype == MP_FLOAT ? HALF : OTHER;
  uint32_t *seen = mp_alloc_array(p.a, p.room, sizeof *seen);
  for (uint32_t n = 0; n < calls && p.work < MOST_WORK(calls); n++) {
    learn(&p, n, n + 1);
    const mp_call *c = mp_builder_call_at(b, n);
    if (!refused(&p, c)) continue;
    walk w = {.reader = n, .seen = seen, .earliest = n};
    int32_t v;
    EACH_OPERAND(c, v) mend(&p, &w, v, (int32_t)n, 0);
    learn(&p, w.earliest, n + 1);
    EACH_OPERAND(c, v) if (refused(&p, c) && p.of[v] == WIDE && mp_builder_at(b, v)->call >= 0) cast_behind(&p, (uint32_t)mp_builder_at(b, v)->call, v, p.model);
    learn(&p, w.earliest, n + 1);
  }
  if (!p.found) return;
  put_in(&p);
  mp_builder_warn(b, "in half precision %u casts are needed that a float32 file does not show: put where float32 values begin or leave their modules (%s%s)", p.found, p.where.at,
                  p.found > 3 ? ", ..." : "");
}
