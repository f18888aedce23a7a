/* Casts that an export in float32 cannot show: `.float()` and `.to(x.dtype)` of a value that has the type already leave no node, yet in half
 * precision they are copies. Where the idiom is known they are put back; in float32 they make nothing. */
#include "planner/fx.h"
#include "planner/fx_written.h"

static int32_t cast(fx_rec *r, const fx_group *g, const char *op, int32_t x, mp_arg to) {
  mp_var v = *mp_builder_at(r->b, x);
  int32_t out = fx_result_dims(r, mp_format(r->a, "%s.cast", v.name), v.dtype, v.rank, v.dims);
  fx_emit(r, g, op, (mp_arg[]){mp_arg_var(x), to}, 2, fx_module(r, g), &out, 1, false);
  return out;
}

static bool is_float32(fx_rec *r, const mp_arg *a) { return a->kind == MP_ARG_VAR && mp_builder_at(r->b, a->as.var)->dtype == MP_FLOAT; }

static const mp_call *maker(fx_rec *r, int32_t var) {
  int32_t call = mp_builder_at(r->b, var)->call;
  return call < 0 ? NULL : mp_builder_call_at(r->b, (uint32_t)call);
}

/* labels padded by one ignored position, then shifted: the loss of causal models in transformers, which begins with logits.float() */
static bool shifted_labels(fx_rec *r, const mp_arg *target) {
  if (target->kind != MP_ARG_VAR) return false;
  const mp_call *c = maker(r, target->as.var);
  for (int i = 0; c && i < 6 && c->arg_count && c->args[0].kind == MP_ARG_VAR; i++, c = maker(r, c->args[0].as.var)) {
    if (FX_ONE_OF(c->row->name, "aten::pad", "aten::constant_pad_nd")) return c->arg_count > 2;
    if (!FX_ONE_OF(c->row->name, "aten::view", "aten::contiguous", "aten::clone", "aten::slice", "aten::reshape")) return false;
  }
  return false;
}

/* self.loss_function(logits, labels, vocab_size=...), of transformers: the losses of tokens begin with logits.float(), those of sequences and answers do not */
static bool widens_logits(const char *source) {
  const char *call = source ? strstr(source, ".loss_function(") : NULL;
  return call && (strstr(call, "vocab_size") || strstr(call, "(logits, labels"));
}

static bool is_weight(fx_rec *r, const mp_arg *x) { return x->kind == MP_ARG_VAR && mp_builder_at(r->b, x->as.var)->role == MP_ROLE_PARAMETER; }

/* Norms of transformers, each in a module of its own.
 *   RMS norm     x = x.to(float32); x * rsqrt(mean(x^2)); weight * x.to(input dtype)
 *   layer norm   the same of x - mean(x): what centres is written out in float32, too
 *   T5 and kin   call an RMS norm LayerNorm and cast for the square alone: x * rsqrt(mean(x.to(float32)^2)), to the weight's type where that is half; those of diffusers
 *                do so, too, and say so in the line alone */
static bool squares_alone(const fx_group *g) {
  return strstr(g->type, "LayerNorm") || (g->source && (strstr(g->source, ".to(torch.float32).pow(") || strstr(g->source, ".float().pow(")));
}

static void open_norm(fx_rec *r, const fx_group *g, const char *name, mp_arg *args) {
  bool centres = !strcmp(name, "aten::mean") && strstr(g->type, "LayerNorm"), known = r->norm.path && !strcmp(r->norm.path, g->path) && r->norm.centres;
  if (known || (!centres && strcmp(name, "aten::pow") != 0) || !is_float32(r, &args[0])) return;
  r->norm = (fx_norm){.path = g->path, .x = args[0].as.var, .centres = centres};
  r->norm.wide = cast(r, g, "aten::to", args[0].as.var, mp_arg_dtype(MP_FLOAT));
  r->norm.alone = !centres && squares_alone(g);
  if (!r->norm.alone) return;
  args[0].as.var = r->norm.wide;
  r->norm.wide = r->norm.x;
}

static void in_norm(fx_rec *r, const fx_group *g, const char *name, mp_arg *args, uint32_t n) {
  open_norm(r, g, name, args);
  if (!r->norm.path || strcmp(r->norm.path, g->path) != 0) return;
  for (uint32_t i = 0; i < n; i++)
    if (args[i].kind == MP_ARG_VAR && args[i].as.var == r->norm.x) args[i].as.var = r->norm.wide;
  if (strcmp(name, "aten::mul") != 0 || n < 2 || args[0].kind != MP_ARG_VAR || args[1].kind != MP_ARG_VAR) return;
  int weight = is_weight(r, &args[0]) ? 0 : is_weight(r, &args[1]) ? 1 : -1;
  if (weight < 0) return;
  bool widened = g->source && (strstr(g->source, "weight.to(torch.float32)") || strstr(g->source, "weight.float()"));
  if (widened) args[weight].as.var = cast(r, g, "aten::to", args[weight].as.var, mp_arg_dtype(MP_FLOAT));
  r->norm.ends = widened || (g->source && (strstr(g->source, ").to(") || strstr(g->source, ").type_as("))); /* (weight * x).to(dtype): the weight's product is in float32, too */
  if (r->norm.ends) return;
  args[1 - weight].as.var = cast(r, g, "aten::type_as", args[1 - weight].as.var, r->norm.alone ? args[weight] : mp_arg_var(r->norm.x));
  r->norm.path = NULL;
}

static bool is_of_transformers(const fx_group *g) { return g->type && !strncmp(g->type, "transformers.", strlen("transformers.")); }

#define NEAR 32 /* groups: more than a norm has */

/* A module of one's own that is called a norm. RMS norms are written after Llama's, with casts, and so are the layer norms of transformers. Where the file
 * has all source lines of the module, one of them says so. */
static bool norm_with_casts(const fx_rec *r, const fx_group *g) {
  if (!g->type || !strncmp(g->type, "torch.", 6)) return false;
  if (!strstr(g->type, "RMSNorm") && (!strstr(g->type, "LayerNorm") || !(g->stack || is_of_transformers(g)))) return false;
  if (!g->stack || is_of_transformers(g)) return true;
  size_t at = (size_t)(g - r->groups.at), first = at > NEAR ? at - NEAR : 0;
  for (size_t i = first; i < r->groups.n && i < at + NEAR; i++) {
    const fx_group *other = &r->groups.at[i];
    if (!other->path || strcmp(other->path, g->path) != 0) continue;
    if (!other->stack || strstr(other->stack, ".to(") || strstr(other->stack, ".float()") || strstr(other->stack, ".type_as(") || strstr(other->stack, "float32")) return true;
  }
  return false;
}

/* Does a reader name the result by a type_as that the exporter's optimizer removed, as it changed nothing in float32? softmax(x.float()).type_as(x) */
static bool is_typed_back(fx_rec *r, const fx_group *g) {
  int32_t value = fx_value_output(r, g);
  size_t at = (size_t)(g - r->groups.at);
  for (size_t i = at + 1; value >= 0 && i < r->groups.n && i < at + NEAR; i++) {
    const fx_group *reader = &r->groups.at[i];
    const mp_node *n = &r->g->nodes[reader->nodes[0]];
    for (uint32_t k = 0; reader->call && k < reader->call->arg_count && k < n->ins; k++) {
      const mp_fx_item *a = &reader->call->args[k];
      if (n->in[k] == value && a->kind == MP_FX_REF && !strcmp(fx_stem(r->a, a->text), "type_as") && fx_ref_of(r, a->text)->kind == FX_UNKNOWN) return true;
    }
  }
  return false;
}

/* What is done with the first argument of a call and with its result, where the source line says so. Without one, a layer norm in a module that is named for
 * float32 (Fp32LayerNorm), or of transformers' own that has no weights, which torch.nn's would have done otherwise, is widened and cast back. */
static fx_written casts_of(fx_rec *r, const fx_group *g, const char *name, const mp_arg *args, uint32_t n) {
  bool precise = FX_ONE_OF(name, "aten::softmax", "aten::_softmax", "aten::layer_norm", "aten::native_layer_norm", "aten::exp", "aten::log", "aten::softplus", "aten::sigmoid");
  if (precise && is_typed_back(r, g)) return (fx_written){.widened = true, .back = true};
  if (g->source) return fx_as_written(g->source, name);
  bool own = FX_ONE_OF(name, "aten::layer_norm", "aten::native_layer_norm") && g->type && strstr(g->type, "LayerNorm") && strncmp(g->type, "torch.", 6) != 0;
  bool wide = own && (strstr(g->type, "32") || (is_of_transformers(g) && n > 2 && args[2].kind == MP_ARG_NONE));
  return (fx_written){.widened = wide, .back = wide};
}

/* logits = self.lm_head(hidden_states); logits = logits.float(); shift_logits = logits[..., :-1, :].contiguous(): transformers before 4.46. OPT's head ends in .contiguous() and widens nothing.
 * Without source lines: a head behind an RMS norm, as the models have that do so. */
static bool shifts_widened(fx_rec *r, const fx_group *g, const mp_arg *args, uint32_t n) {
  const mp_call *head = n > 3 && args[0].kind == MP_ARG_VAR ? maker(r, args[0].as.var) : NULL;
  if (!head || !is_of_transformers(g) || strcmp(head->row->name, "aten::linear") != 0 || args[3].kind != MP_ARG_INT || args[3].as.i != -1) return false;
  const mp_call *norm = head->args[0].kind == MP_ARG_VAR ? maker(r, head->args[0].as.var) : NULL;
  if (!g->source) return norm && !strcmp(norm->row->name, "aten::mul") && norm->arg_count > 1 && is_weight(r, &norm->args[0]);
  const char *line = strstr(g->source, "shift_logits = logits[") && head->stack ? strstr(head->stack, "logits = self.") : NULL;
  return line && !strstr(mp_strndup(r->a, line, strcspn(line, "\n")), ".contiguous()");
}

/* Is the group the last of its source line: no other of the line stands behind it before one of another line does? */
static bool ends_line(const fx_rec *r, const fx_group *g) {
  for (size_t i = (size_t)(g - r->groups.at) + 1; i < r->groups.n; i++)
    if (r->groups.at[i].stack) return strcmp(r->groups.at[i].stack, g->stack) != 0;
  return true;
}

/* y = x * dt.float(): the operands of the line's only operator */
static void widen_operands(fx_rec *r, const fx_group *g, const char *name, mp_arg *args, uint32_t n) {
  static const struct {
    char sign;
    const char *names[2];
  } rows[] = {{'+', {"aten::add", ""}}, {'-', {"aten::sub", ""}}, {'*', {"aten::mul", ""}}, {'/', {"aten::div", ""}}, {'@', {"aten::matmul", "aten::bmm"}}};
  fx_widening w = n > 1 && g->stack ? fx_widening_of(g->source) : (fx_widening){0};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (rows[i].sign != w.sign || !FX_ONE_OF(name, rows[i].names[0], rows[i].names[1]) || !ends_line(r, g)) continue;
    if (w.left && is_float32(r, &args[0])) args[0].as.var = cast(r, g, "aten::to", args[0].as.var, mp_arg_dtype(MP_FLOAT));
    if (w.right && is_float32(r, &args[1])) args[1].as.var = cast(r, g, "aten::to", args[1].as.var, mp_arg_dtype(MP_FLOAT));
  }
}

void fx_casts_before(fx_rec *r, const fx_group *g, const char *name, mp_arg *args, uint32_t n) {
  if (!strcmp(name, "aten::slice") && n && is_float32(r, &args[0]) && shifts_widened(r, g, args, n)) args[0].as.var = cast(r, g, "aten::to", args[0].as.var, mp_arg_dtype(MP_FLOAT));
  if (n && norm_with_casts(r, g)) in_norm(r, g, name, args, n);
  if (n > 2 && FX_ONE_OF(name, "aten::softmax", "aten::log_softmax") && fx_keeps_type(g->source)) args[2] = mp_arg_none();
  if (n > 1 && is_float32(r, &args[1]) && fx_as_written(g->source, name).second) args[1].as.var = cast(r, g, "aten::to", args[1].as.var, mp_arg_dtype(MP_FLOAT));
  if (n && is_float32(r, &args[0]) && casts_of(r, g, name, args, n).widened) {
    r->narrow = args[0].as.var;
    args[0].as.var = cast(r, g, "aten::to", args[0].as.var, mp_arg_dtype(MP_FLOAT));
    for (uint32_t i = 2; i < n && i < 4 && !g->source; i++) /* a layer norm takes weights of the same type */
      if (is_weight(r, &args[i])) args[i].as.var = cast(r, g, "aten::to", args[i].as.var, mp_arg_dtype(MP_FLOAT));
  }
  if (!strcmp(name, "aten::cross_entropy_loss") && n > 1 && is_float32(r, &args[0]) && (shifted_labels(r, &args[1]) || widens_logits(g->source)))
    args[0].as.var = cast(r, g, "aten::to", args[0].as.var, mp_arg_dtype(MP_FLOAT));
  widen_operands(r, g, name, args, n);
}

void fx_casts_after(fx_rec *r, const fx_group *g, const char *name, const mp_arg *args, uint32_t n, int32_t out) {
  int32_t again = -1;
  if (r->norm.path && r->norm.ends) {
    again = cast(r, g, "aten::type_as", out, mp_arg_var(r->norm.x));
    r->norm.path = NULL;
  }
  if (r->narrow >= 0 && casts_of(r, g, name, args, n).back) again = cast(r, g, "aten::type_as", out, mp_arg_var(r->narrow));
  r->narrow = -1;
  /* softmax(x, dtype=float32).to(x.dtype): the next product would refuse two types */
  if (again < 0 && FX_ONE_OF(name, "aten::softmax", "aten::log_softmax") && n > 2 && args[2].kind == MP_ARG_DTYPE && is_float32(r, &args[0]))
    again = cast(r, g, "aten::type_as", out, args[0]);
  /* a rotary embedding's tables, .to(x.dtype): the model's type */
  if (FX_ONE_OF(name, "aten::cos", "aten::sin") && g->type && strstr(g->type, "Rotary"))
    for (size_t i = 0; i < r->params.n && again < 0; i++)
      if (mp_builder_at(r->b, r->params.at[i].var)->role == MP_ROLE_PARAMETER)
        again = cast(r, g, "aten::type_as", out, mp_arg_var(r->params.at[i].var));
  if (again < 0 && g->stack && fx_widening_of(g->source).whole && mp_builder_at(r->b, out)->dtype == MP_FLOAT && ends_line(r, g)) again = cast(r, g, "aten::to", out, mp_arg_dtype(MP_FLOAT));
  if (again < 0) return;
  int32_t value = mp_builder_at(r->b, out)->value;
  if (value >= 0) r->var_of_value[value] = again;
  fx_set(r, g->call->name, again);
}
