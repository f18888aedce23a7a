/* Attention masks that only an export makes.
 *
 * transformers drops a mask that hides nothing but the future (or nothing at all) and tells the kernel is_causal instead, and then lets the kernel
 * repeat the heads of keys and values (enable_gqa). While a model is traced it cannot look, and writes both out. So in its modules a mask that
 * follows from positions alone, without the attention_mask input or a buffer, is not what a training run makes, but for one of a window (or of chunks) that
 * the sequence fills (transformers/masking_utils.py, _ignore_causal_mask_sdpa and _ignore_bidirectional_mask_sdpa: local_attention_size).
 *
 * Its own exporter gives the kernel a boolean mask as an additive one, and puts zeros where a row is hidden whole (transformers/exporters/exporter_onnx.py, _patch_sdpa):
 *   attended = mask.to(q.dtype), or (mask > least).to(q.dtype) of one that is additive
 *   where(attended.sum(-1, keepdim=True) < 1, 0, sdpa(q, k, v, ~mask.to(q.dtype) * least)) */
#include "planner/fx.h"
#include "planner/outputs.h"

static const mp_call *maker(fx_rec *r, int32_t var) {
  int32_t call = mp_builder_at(r->b, var)->call;
  return call < 0 ? NULL : mp_builder_call_at(r->b, (uint32_t)call);
}

static bool is_factory(const char *name) {
  return FX_ONE_OF(name, "aten::arange", "aten::full", "aten::new_full", "aten::ones", "aten::zeros", "aten::new_ones", "aten::new_zeros",
                   "aten::empty", "aten::scalar_tensor", "aten::ones_like", "aten::zeros_like", "aten::full_like");
}

typedef struct mask {
  bool *from;    /* calls that it follows from */
  bool plain;    /* no input, parameter or buffer among them */
  bool causal;   /* positions are compared with positions */
  bool compared; /* something is compared: the mask is written out, not a constant of the export */
  int64_t window; /* of a local mask: kv > q - window, |q - kv| <= window, kv / window == q / window; 0 */
} mask;

/* the whole number that a local mask's comparison has: 0 where it has none */
static int64_t window_of(fx_rec *r, const mp_call *c) {
  for (uint32_t i = 0; i < 2 && i < c->arg_count; i++) {
    const mp_call *side = c->args[i].kind == MP_ARG_VAR ? maker(r, c->args[i].as.var) : NULL;
    if (!side) continue;
    const mp_arg *n = FX_ONE_OF(side->row->name, "aten::sub", "aten::floor_divide", "aten::div") && side->arg_count > 1 ? &side->args[1] : NULL;
    if (!strcmp(side->row->name, "aten::abs") && c->arg_count > 1) n = &c->args[1 - i];
    if (n && n->kind == MP_ARG_INT && n->as.i > 0) return n->as.i;
  }
  return 0;
}
/* does a run make it, as the keys are as many as the window or more */
static bool is_local(fx_rec *r, const mask *m, int32_t var) {
  const mp_var *v = mp_builder_at(r->b, var);
  return m->window && v->rank && v->dims[v->rank - 1] >= m->window;
}

static void follow(fx_rec *r, mask *m, int32_t var, uint32_t depth) {
  const mp_var *v = mp_builder_at(r->b, var);
  if (v->call < 0 || depth > 200) {
    m->plain = false;
    return;
  }
  if (m->from[v->call]) return;
  m->from[v->call] = true;
  const mp_call *c = mp_builder_call_at(r->b, (uint32_t)v->call);
  if (v->value >= 0 && mp_is_triangle(&r->g->values[v->value])) m->causal = m->compared = true; /* folded at export */
  if (is_factory(c->row->name)) return;
  bool both = c->arg_count > 1 && c->args[0].kind == MP_ARG_VAR && c->args[1].kind == MP_ARG_VAR;
  if (FX_ONE_OF(c->row->name, "aten::le", "aten::lt", "aten::ge", "aten::gt", "aten::eq", "aten::ne")) {
    m->compared = true;
    if (!m->window) m->window = window_of(r, c);
  }
  if ((both && FX_ONE_OF(c->row->name, "aten::le", "aten::lt", "aten::ge", "aten::gt")) || FX_ONE_OF(c->row->name, "aten::tril", "aten::triu"))
    m->causal = true;
  for (uint32_t i = 0; i < c->arg_count; i++) {
    const mp_arg *a = &c->args[i];
    if (a->kind == MP_ARG_VAR) follow(r, m, a->as.var, depth + 1);
    for (uint32_t k = 0; a->kind == MP_ARG_VARS && k < a->n; k++)
      if (a->as.vars[k] >= 0) follow(r, m, a->as.vars[k], depth + 1);
  }
}

/* repeat_kv: unsqueeze, expand, reshape (taken apart in an export of fixed sizes) -> what was repeated, -1 where it is something else */
static int32_t unrepeated(fx_rec *r, int32_t var) {
  static const struct {
    const char *names[3];
    bool may_lack;
  } chain[] = {{{"aten::reshape", "aten::view", "aten::_unsafe_view"}, false}, {{"aten::contiguous", "aten::clone", ""}, true}, {{"aten::expand", "", ""}, false}, {{"aten::unsqueeze", "", ""}, false}};
  for (size_t i = 0; i < sizeof chain / sizeof *chain; i++) {
    const mp_call *c = maker(r, var);
    if (!c || !c->arg_count || c->args[0].kind != MP_ARG_VAR) return -1;
    bool is = FX_ONE_OF(c->row->name, chain[i].names[0], chain[i].names[1], chain[i].names[2]);
    if (!is && !chain[i].may_lack) return -1;
    if (is) var = c->args[0].as.var;
  }
  return var;
}

static void without_mask(fx_rec *r, mp_call *c, bool causal) {
  mp_arg *args = mp_alloc_array(r->a, 8, sizeof *args);
  memcpy(args, c->args, (c->arg_count < 8 ? c->arg_count : 8) * sizeof *args);
  args[3] = mp_arg_none();
  args[5] = mp_arg_bool(causal);
  int32_t k = unrepeated(r, args[1].as.var), v = unrepeated(r, args[2].as.var);
  if (k >= 0 && v >= 0) {
    args[1] = mp_arg_var(k);
    args[2] = mp_arg_var(v);
    args[7] = mp_arg_bool(true);
  }
  c->args = args;
  c->arg_count = 8;
}

/* calls whose results nothing reads any more, of those marked */
static void drop_unread(fx_rec *r, const bool *candidates) {
  uint32_t calls = mp_builder_call_count(r->b);
  bool *dead = mp_alloc_array(r->a, calls, sizeof *dead), *read = mp_alloc_array(r->a, (size_t)mp_builder_var_count(r->b), sizeof *read);
  for (uint32_t i = 0; i < r->g->output_count; i++)
    if (r->var_of_value[r->g->outputs[i]] >= 0) read[r->var_of_value[r->g->outputs[i]]] = true;
  for (uint32_t c = calls; c-- > 0;) {
    const mp_call *call = mp_builder_call_at(r->b, c);
    bool wanted = !candidates[c];
    for (uint32_t i = 0; i < call->out_count; i++) wanted |= call->outs[i] >= 0 && read[call->outs[i]];
    dead[c] = !wanted;
    for (uint32_t i = 0; wanted && i < call->arg_count; i++) {
      if (call->args[i].kind == MP_ARG_VAR) read[call->args[i].as.var] = true;
      for (uint32_t k = 0; call->args[i].kind == MP_ARG_VARS && k < call->args[i].n; k++)
        if (call->args[i].as.vars[k] >= 0) read[call->args[i].as.vars[k]] = true;
    }
  }
  mp_builder_remove(r->b, dead);
}

static void read_instead(fx_rec *r, int32_t var, int32_t other) {
  for (uint32_t c = 0; c < mp_builder_call_count(r->b); c++) {
    mp_call *call = mp_builder_call_at(r->b, c);
    for (uint32_t i = 0; i < call->arg_count; i++) {
      bool hit = call->args[i].kind == MP_ARG_VAR && call->args[i].as.var == var;
      if (!hit) continue;
      mp_arg *args = mp_alloc_array(r->a, call->arg_count, sizeof *args);
      memcpy(args, call->args, call->arg_count * sizeof *args);
      args[i].as.var = other;
      call->args = args;
    }
  }
}

/* An attention kernel is told that there is no mask. -> was there one to drop */
static bool drop_from_kernel(fx_rec *r, mp_call *call, uint32_t calls, bool *candidates) {
  if (call->arg_count < 4 || call->args[3].kind != MP_ARG_VAR || call->args[1].kind != MP_ARG_VAR || call->args[2].kind != MP_ARG_VAR) return false;
  mask m = {.from = mp_alloc_array(r->a, calls, sizeof(bool)), .plain = true};
  follow(r, &m, call->args[3].as.var, 0);
  if (!m.plain || is_local(r, &m, call->args[3].as.var)) return false;
  int32_t before[2] = {call->args[1].as.var, call->args[2].as.var};
  without_mask(r, call, m.causal);
  for (int i = 0; i < 2; i++) /* the repetition too */
    for (int32_t v = before[i], n = 0; v != call->args[1 + i].as.var && n < 4; n++) {
      int32_t k = mp_builder_at(r->b, v)->call;
      candidates[k] = true;
      v = mp_builder_call_at(r->b, (uint32_t)k)->args[0].as.var;
    }
  for (uint32_t i = 0; i < calls; i++) candidates[i] |= m.from[i];
  return true;
}

/* Attention that is written out adds its mask to the scores: one that hides nothing is not made. A causal one is. */
static bool drop_from_sum(fx_rec *r, uint32_t number, uint32_t calls, bool *candidates) {
  mp_call *call = mp_builder_call_at(r->b, number);
  if (call->arg_count != 2 || !call->out_count || call->outs[0] < 0 || call->args[0].kind != MP_ARG_VAR || call->args[1].kind != MP_ARG_VAR)
    return false;
  const mp_call *made = maker(r, call->args[1].as.var);
  if (!made || !FX_ONE_OF(made->row->name, "aten::where", "aten::masked_fill", "aten::mul") || !mp_dtype_is_float(mp_builder_at(r->b, call->args[1].as.var)->dtype)) return false;
  mask m = {.from = mp_alloc_array(r->a, calls, sizeof(bool)), .plain = true};
  follow(r, &m, call->args[1].as.var, 0);
  if (!m.plain || m.causal || !m.compared || is_local(r, &m, call->args[1].as.var)) return false;
  read_instead(r, call->outs[0], call->args[0].as.var);
  for (uint32_t i = 0; i < calls; i++) candidates[i] |= m.from[i];
  candidates[number] = true;
  return true;
}

/* what made operand `at` of c, if it is a call of this name or the other (NULL: there is one alone); it is to go */
static const mp_call *behind(fx_rec *r, const mp_call *c, uint32_t at, bool *gone, const char *name, const char *other) {
  const mp_call *m = c && c->arg_count > at && c->args[at].kind == MP_ARG_VAR ? maker(r, c->args[at].as.var) : NULL;
  if (!m || (strcmp(m->row->name, name) != 0 && (!other || strcmp(m->row->name, other) != 0))) return NULL;
  gone[mp_builder_at(r->b, c->args[at].as.var)->call] = true;
  return m;
}

/* where(attended.sum() < 1, 0, kernel) -> the kernel itself, with the mask that it was given. -> was it one */
static bool without_zeroed_rows(fx_rec *r, uint32_t number, uint32_t calls, bool *candidates) {
  const mp_call *where = mp_builder_call_at(r->b, number);
  if (strcmp(where->row->name, "aten::where") != 0 || where->arg_count != 3 || where->args[2].kind != MP_ARG_VAR || where->out_count != 1 || where->outs[0] < 0) return false;
  mp_call *kernel = (mp_call *)maker(r, where->args[2].as.var);
  if (!kernel || strcmp(kernel->row->name, "aten::scaled_dot_product_attention") != 0 || kernel->arg_count < 4 || kernel->args[3].kind != MP_ARG_VAR) return false;
  bool *gone = mp_alloc_array(r->a, calls, sizeof *gone);
  const mp_call *less = behind(r, where, 0, gone, "aten::lt", NULL), *sum = behind(r, less, 0, gone, "aten::sum", NULL);
  const mp_call *attended = behind(r, sum, 0, gone, "aten::_to_copy", "aten::type_as");
  if (!attended) return false;
  behind(r, where, 1, gone, "aten::new_full", "aten::zeros");
  if (!behind(r, attended, 0, gone, "aten::gt", NULL)) { /* not of one that is additive: boolean */
    const mp_call *least = behind(r, kernel, 3, gone, "aten::mul", NULL), *cast = behind(r, least, 0, gone, "aten::_to_copy", "aten::type_as");
    const mp_call *negated = behind(r, cast, 0, gone, "aten::bitwise_not", "aten::logical_not");
    if (!negated || !negated->arg_count || negated->args[0].kind != MP_ARG_VAR) return false;
    mp_arg *args = mp_alloc_array(r->a, kernel->arg_count, sizeof *args);
    memcpy(args, kernel->args, kernel->arg_count * sizeof *args);
    args[3] = negated->args[0];
    kernel->args = args;
  }
  read_instead(r, where->outs[0], where->args[2].as.var);
  gone[number] = true;
  for (uint32_t i = 0; i < calls; i++) candidates[i] |= gone[i];
  return true;
}

void fx_drop_masks(fx_rec *r) {
  uint32_t calls = mp_builder_call_count(r->b), dropped = 0;
  bool *candidates = mp_alloc_array(r->a, calls, sizeof *candidates), zeroed = false;
  for (uint32_t c = 0; c < calls; c++) zeroed |= without_zeroed_rows(r, c, calls, candidates);
  for (uint32_t c = 0; c < calls; c++) {
    mp_call *call = mp_builder_call_at(r->b, c);
    const char *type = mp_builder_instance(r->b, call->module)->type;
    if (!type || strncmp(type, "transformers.", 13) != 0) continue;
    if (!strcmp(call->row->name, "aten::scaled_dot_product_attention"))
      dropped += drop_from_kernel(r, call, calls, candidates);
    else if (!strcmp(call->row->name, "aten::add") && strstr(type, "Attention"))
      dropped += drop_from_sum(r, c, calls, candidates);
  }
  if (dropped || zeroed) drop_unread(r, candidates);
  if (!dropped) return;
  mp_builder_warn(r->b,
                  "%u attention calls: the mask follows from positions alone; transformers makes none of it in a training run (is_causal instead)",
                  dropped);
}
