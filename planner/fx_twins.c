/* Equal calls are one node in a file: the exporter's optimizer merges what two layers compute of the same operands, random numbers included. A reference from
 * layer.1 to what layer.0 made says that layer.1 made it too, by calls of its own:
 *
 *     layer.0:  dropout(rel) -> slice -> unsqueeze -> linear(_, w0)
 *     layer.1:                    (removed: unsqueeze_9) -> linear(_, w1)      becomes  dropout(rel) -> slice -> unsqueeze_9 -> linear(_, w1) */
#include <stdlib.h>

#include "planner/fx.h"

#define DEEPEST 64

typedef struct twins {
  fx_rec *r;
  const fx_group *g; /* the reader */
  const char *from;  /* "encoder.layer.0.": of what is made again */
  size_t from_length;
  const char *to; /* the reader's: "encoder.layer.1." */
  uint32_t work;
} twins;

#define MOST_WORK 4096 /* calls that are looked at for one reference, and made again in all */

/* the first members of a list at which the paths part: their lengths, 0 where they do not part so */
static size_t parting(const char *a, const char *b, size_t *b_length) {
  size_t at = 0, i = 0;
  for (; a[i] && a[i] == b[i]; i++)
    if (a[i] == '.') at = i + 1;
  char *a_end, *b_end;
  if (a[at] < '0' || a[at] > '9' || b[at] < '0' || b[at] > '9') return 0;
  bool differ = strtol(a + at, &a_end, 10) != strtol(b + at, &b_end, 10);
  if (!differ || (*a_end && *a_end != '.') || (*b_end && *b_end != '.')) return 0;
  *b_length = (size_t)(b_end - b);
  return (size_t)(a_end - a);
}

static const mp_call *made_there(const twins *t, int32_t var) {
  int32_t call = mp_builder_at(t->r->b, var)->call;
  if (call < 0) return NULL;
  const mp_call *c = mp_builder_call_at(t->r->b, (uint32_t)call);
  const char *path = mp_builder_instance(t->r->b, c->module)->path;
  bool inside = !strncmp(path, t->from, t->from_length) && (!path[t->from_length] || path[t->from_length] == '.');
  return inside ? c : NULL;
}

/* x.new_empty(..) reads nothing of x: equal ones were merged whatever their x was */
static bool reads_nothing(const mp_call *c) { return !strncmp(c->row->name, "aten::new_", 10); }

static bool mergeable(twins *t, int32_t var, uint32_t depth);
static bool mergeable_operand(twins *t, const mp_arg *x, uint32_t depth) {
  if (x->kind == MP_ARG_VAR) return mergeable(t, x->as.var, depth);
  for (uint32_t i = 0; x->kind == MP_ARG_VARS && i < x->n; i++)
    if (x->as.vars[i] >= 0 && !mergeable(t, x->as.vars[i], depth)) return false;
  return true;
}

/* What a member made with its own parameters no other member makes. */
static bool mergeable(twins *t, int32_t var, uint32_t depth) {
  const mp_var *v = mp_builder_at(t->r->b, var);
  if (v->role == MP_ROLE_PARAMETER && !strncmp(v->name, t->from, t->from_length) && v->name[t->from_length] == '.') return false;
  const mp_call *c = made_there(t, var);
  if (!c || !c->node_count) return true;
  if (depth > DEEPEST || ++t->work > MOST_WORK) return false;
  for (uint32_t i = 0; i < c->arg_count && !reads_nothing(c); i++)
    if (!mergeable_operand(t, &c->args[i], depth + 1)) return false;
  return true;
}

static int32_t known(const twins *t, int32_t var) {
  for (size_t i = 0; i < t->r->twins.n; i++)
    if (t->r->twins.at[i].of == var && !strcmp(t->r->twins.at[i].in, t->to)) return t->r->twins.at[i].var;
  return -1;
}

static int32_t again(const twins *t, const char *name, int32_t var, uint32_t depth);

static mp_arg operand(const twins *t, mp_arg x, uint32_t depth) {
  if (x.kind == MP_ARG_VAR) x.as.var = again(t, NULL, x.as.var, depth);
  if (x.kind != MP_ARG_VARS) return x;
  int32_t *vars = mp_alloc_array(t->r->a, x.n + 1, sizeof *vars);
  for (uint32_t i = 0; i < x.n; i++) vars[i] = x.as.vars[i] < 0 ? -1 : again(t, NULL, x.as.vars[i], depth);
  x.as.vars = vars;
  return x;
}

static int32_t again(const twins *t, const char *name, int32_t var, uint32_t depth) {
  fx_rec *r = t->r;
  const mp_call *there = made_there(t, var);
  if (!there || !there->node_count || depth > DEEPEST) return var; /* without a node: put back where it was read, which is not where it was made */
  int32_t have = known(t, var);
  if (have >= 0) return have;
  mp_call c = *there;
  mp_arg args[FX_MAX_ARGS];
  int32_t outs[FX_MAX_ARGS], result = -1;
  if (c.arg_count > FX_MAX_ARGS || c.out_count > FX_MAX_ARGS) return var;
  for (uint32_t i = 0; i < c.arg_count; i++) args[i] = reads_nothing(&c) ? c.args[i] : operand(t, c.args[i], depth + 1);
  int32_t like = reads_nothing(&c) && c.arg_count ? fx_latest(r, mp_builder_at(r->b, var)->dtype, 0, NULL) : -1;
  if (like >= 0) args[0] = mp_arg_var(like);
  for (uint32_t i = 0; i < c.out_count; i++) {
    outs[i] = -1;
    if (c.outs[i] < 0) continue;
    mp_var v = *mp_builder_at(r->b, c.outs[i]);
    bool it = c.outs[i] == var;
    outs[i] = fx_result_dims(r, it && name ? name : mp_format(r->a, "%s.again", v.name), v.dtype, v.rank, v.dims);
    if (it) result = outs[i];
    *mp_push(r->a, &r->twins) = (fx_twin){.in = t->to, .of = c.outs[i], .var = outs[i]};
  }
  mp_call *made = mp_builder_call_at(r->b, fx_emit(r, t->g, c.row->name, args, c.arg_count, fx_module(r, t->g), outs, c.out_count, false));
  made->in_place = c.in_place;
  made->flops = c.flops;
  made->macs = c.macs;
  return result;
}

int32_t fx_made_again(fx_rec *r, const fx_group *g, const char *name, const char *stem, int32_t x) {
  int32_t call = mp_builder_at(r->b, x)->call;
  if (call < 0 || !g->path) return -1;
  const mp_call *c = mp_builder_call_at(r->b, (uint32_t)call);
  const char *path = mp_builder_instance(r->b, c->module)->path, *op = strchr(c->row->name, ':');
  bool same = op && !strcmp(op + 2, stem);
  if (!same && !(!strcmp(stem, "getitem") && FX_ONE_OF(c->row->name, "aten::dropout", "aten::native_dropout", "aten::split", "aten::split_with_sizes", "aten::chunk", "aten::unbind"))) return -1;
  size_t to_length, from_length = parting(path, g->path, &to_length);
  if (!from_length) return -1;
  twins t = {.r = r, .g = g, .from = mp_strndup(r->a, path, from_length), .from_length = from_length, .to = mp_strndup(r->a, g->path, to_length)};
  return mergeable(&t, x, 0) ? again(&t, name, x, 0) : -1;
}

/* ---- what merged calls read ---- */

bool fx_has_lost_reader(fx_rec *r, const char *name) {
  const fx_use *u = fx_use_of(r, name);
  return u->users && u->readers + u->lost < u->users;
}

static bool spoken_for(fx_rec *r, const char *name) {
  bool free = !fx_use_of(r, name)->users || fx_has_lost_reader(r, name);
  fx_use_of(r, name)->lost += free;
  return !free;
}

int32_t fx_operand_again(fx_rec *r, const fx_group *g, int32_t var, uint32_t depth) {
  const mp_var v = *mp_builder_at(r->b, var);
  if (v.role != MP_ROLE_RESULT || v.call < 0 || depth > DEEPEST || r->remade.n >= MOST_WORK || !v.name || !spoken_for(r, v.name)) return var;
  for (size_t i = 0; i < r->remade.n; i++)
    if (r->remade.at[i].of == var && r->remade.at[i].left) {
      r->remade.at[i].left--;
      return r->remade.at[i].var;
    }
  const mp_call c = *mp_builder_call_at(r->b, (uint32_t)v.call);
  if (c.out_count != 1 || c.no_grad) return var;
  int32_t out = fx_result_dims(r, mp_format(r->a, "%s.again", v.name), v.dtype, v.rank, v.dims);
  const mp_arg *args = fx_args_again(r, g, &c, depth + 1);
  int32_t module = fx_module(r, g);
  const char *path = c.module < 0 ? "" : mp_builder_instance(r->b, c.module)->path;
  if (strcmp(path, g->path) != 0 && fx_is_inside(path, g->path)) module = mp_builder_module(r->b, path, NULL); /* one of its parts ran again */
  fx_emit(r, g, c.row->name, args, c.arg_count, module, &out, 1, false);
  *mp_push(r->a, &r->remade) = (fx_remade){var, out, fx_use_of(r, v.name)->users - 1};
  return out;
}

const mp_arg *fx_args_again(fx_rec *r, const fx_group *g, const mp_call *c, uint32_t depth) {
  const char *end = strrchr(c->row->name, '_');
  if (reads_nothing(c) || (end && !strcmp(end, "_like"))) return c->args;
  mp_arg *again = mp_alloc_array(r->a, (size_t)c->arg_count + 1, sizeof *again);
  for (uint32_t i = 0; i < c->arg_count; i++) {
    again[i] = c->args[i];
    uint32_t same = 0; /* x * x reads x once */
    while (same < i && (again[i].kind != MP_ARG_VAR || c->args[same].kind != MP_ARG_VAR || c->args[same].as.var != c->args[i].as.var)) same++;
    if (again[i].kind == MP_ARG_VAR) again[i].as.var = same < i ? again[same].as.var : fx_operand_again(r, g, c->args[i].as.var, depth);
    if (again[i].kind != MP_ARG_VARS) continue;
    int32_t *vars = mp_alloc_array(r->a, (size_t)again[i].n + 1, sizeof *vars);
    for (uint32_t k = 0; k < again[i].n; k++) vars[k] = c->args[i].as.vars[k] < 0 ? -1 : fx_operand_again(r, g, c->args[i].as.vars[k], depth);
    again[i].as.vars = vars;
  }
  return again;
}
