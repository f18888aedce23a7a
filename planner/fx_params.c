/* Parameters, buffers and constants: what the graph signature says of them, and what follows about those whose initializer is gone. */
#include <stdlib.h>

#include "planner/fx.h"

void fx_give_dims(fx_rec *r, fx_param *p, mp_dtype t, int rank, const int64_t *dims) {
  mp_var *v = mp_builder_at(r->b, p->var);
  v->rank = rank;
  v->dtype = t;
  for (int i = 0; i < rank; i++) v->dims[i] = dims[i];
  p->known = true;
}

/* p_fc_weight is fc.weight: dots are written as '_', letters in lower case */
static bool same_placeholder(const char *mangled, const char *target) {
  for (; *mangled && *target; mangled++, target++) {
    char c = *target == '.' ? '_' : *target >= 'A' && *target <= 'Z' ? (char)(*target - 'A' + 'a') : *target;
    if (*mangled != c) return false;
  }
  return !*mangled && !*target;
}

/* A file that was saved anew may have lost the signature. The names of placeholders still tell parameters (p_), buffers (b_) and constants (c_). */
uint32_t fx_signature_from_names(fx_rec *r, mp_fx_spec **out) {
  MP_VEC(mp_fx_spec) v = {0};
  for (uint32_t i = 0; i < mp_names_count(r->names); i++) {
    const char *name = mp_names_text(r->names, i);
    const char *kind = !strncmp(name, "p_", 2)   ? "PARAMETER"
                       : !strncmp(name, "b_", 2) ? "BUFFER"
                       : !strncmp(name, "c_", 2) ? "CONSTANT_TENSOR"
                                                 : NULL;
    if (!kind) continue;
    mp_fx_spec spec = {.name = name, .kind = kind, .target = name + 2, .persistent = true};
    for (uint32_t k = 0; k < r->g->value_count; k++)
      if (r->g->values[k].kind == MP_VALUE_INITIALIZER && same_placeholder(name + 2, r->g->values[k].name)) spec.target = r->g->values[k].name;
    *mp_push(r->a, &v) = spec;
  }
  *out = v.at;
  return (uint32_t)v.n;
}

void fx_add_placeholder(fx_rec *r, const mp_fx_spec *s) {
  if (strstr(s->name, "lifted_tensor")) {
    *mp_push(r->a, &r->lifted) = s;
    return;
  }
  mp_role role = !strcmp(s->kind, "PARAMETER") ? MP_ROLE_PARAMETER : !strcmp(s->kind, "BUFFER") ? MP_ROLE_BUFFER : MP_ROLE_CONSTANT;
  int64_t dims[MP_RANK] = {0};
  int32_t value = s->target ? fx_value_named(r, s->target) : -1;
  if (value >= 0 && r->g->values[value].kind != MP_VALUE_INITIALIZER) value = -1;
  int rank = value >= 0 ? fx_dims_of_value(r, value, dims) : 0;
  bool counter =
      role == MP_ROLE_BUFFER && s->target && strstr(s->target, "num_batches_tracked"); /* a batch norm's: an int64 scalar that no node reads */
  mp_dtype t = value >= 0 ? r->g->values[value].dtype : counter ? MP_INT64 : MP_FLOAT;
  int32_t var = mp_builder_var(r->b, role, s->target ? s->target : s->name, t, rank, dims, value);
  if (value >= 0) r->var_of_value[value] = var;
  *mp_push(r->a, &r->params) = (fx_param){.spec = s, .var = var, .known = value >= 0 || counter};
  fx_set(r, s->name, var);
}

/* ---- parameters whose initializer is gone: their size follows from where they are used ---- */

static int64_t last_dim(fx_rec *r, int32_t value) {
  int64_t dims[MP_RANK] = {0};
  int rank = value >= 0 ? fx_dims_of_value(r, value, dims) : 0;
  return rank ? dims[rank - 1] : 1;
}

static int64_t channels(fx_rec *r, int32_t value) {
  int64_t dims[MP_RANK] = {0};
  int rank = value >= 0 ? fx_dims_of_value(r, value, dims) : 0;
  return rank > 1 ? dims[1] : 1;
}

/* x[:, ids]: the file's constant is x with the indexed dimensions in front, as GatherND wants them; dims become x's own */
static void index_behind(const fx_group *g, int rank, int64_t *dims) {
  const mp_fx_item *list = !strcmp(g->call->op, "aten::index") && g->call->arg_count > 1 ? &g->call->args[1] : NULL;
  if (!list || list->kind != MP_FX_LIST) return;
  uint32_t behind = 0, indexed = 0;
  while (behind < list->n && list->at[behind].kind == MP_FX_NONE) behind++;
  while (behind + indexed < list->n && list->at[behind + indexed].kind == MP_FX_REF) indexed++;
  if (!behind || behind + indexed > (uint32_t)rank) return;
  int64_t file[MP_RANK];
  memcpy(file, dims, sizeof file);
  for (uint32_t i = 0; i < behind; i++) dims[i] = file[indexed + i];
  for (uint32_t i = 0; i < indexed; i++) dims[behind + i] = file[i];
}

/* GatherND's indices have one axis more, which counts them */
static bool is_gather_index(const fx_rec *r, const fx_group *g, int32_t value) {
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &r->g->nodes[g->nodes[i]];
    if (!strcmp(n->type, "GatherND") && n->ins > 1 && n->in[1] == value) return true;
  }
  return false;
}

/* the constant that the group reads in the parameter's place: merged with an equal one, transposed or cast */
static bool size_from_constant(fx_rec *r, const fx_group *g, fx_param *p, mp_dtype t) {
  uint32_t n;
  const int32_t *in = fx_externals(r, g, &n);
  for (uint32_t i = 0; i < n; i++) {
    const mp_value *v = &r->g->values[in[i]];
    if (v->kind != MP_VALUE_INITIALIZER || fx_is_taken(r, in[i]) || fx_item_has_value(r, g->call->args, g->call->arg_count, in[i])) continue;
    if (t != MP_UNDEFINED && v->dtype != t) continue;
    if (!mp_dtype_is_float(v->dtype) && mp_builder_at(r->b, p->var)->role == MP_ROLE_PARAMETER) continue;
    int64_t dims[MP_RANK] = {0};
    int rank = fx_dims_of_value(r, in[i], dims);
    if (rank && is_gather_index(r, g, in[i])) rank--;
    *mp_push(r->a, &r->taken) = in[i];
    index_behind(g, rank, dims);
    fx_give_dims(r, p, v->dtype, rank, dims);
    return true;
  }
  return false;
}

/* weights of a recurrent layer: argument 2 or 3 lists w_ih, w_hh, [b_ih, b_hh] for each layer and direction */
static bool size_recurrent(fx_rec *r, const fx_group *g, fx_param *p) {
  int64_t gates = !strcmp(g->call->op, "aten::lstm") ? 4 : !strcmp(g->call->op, "aten::gru") ? 3 : !strncmp(g->call->op, "aten::rnn_", 10) ? 1 : 0;
  if (!gates) return false;
  int64_t hidden = 0, in = 0;
  uint32_t directions = 1;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &r->g->nodes[g->nodes[i]];
    if (!FX_ONE_OF(n->type, "LSTM", "GRU", "RNN")) continue;
    const mp_attr *direction = mp_node_attr(n, "direction");
    if (!hidden && n->ins) in = last_dim(r, n->in[0]);
    hidden = mp_node_int(n, "hidden_size", 0);
    if (direction && direction->kind == MP_ATTR_STRING && !strcmp(direction->as.string, "bidirectional")) directions = 2;
  }
  const char *leaf = strrchr(p->spec->target, '.');
  leaf = leaf ? leaf + 1 : p->spec->target;
  const char *layer = strstr(leaf, "_l");
  if (hidden < 1 || hidden > INT32_MAX || !layer) return false;
  if (atoi(layer + 2) > 0) in = hidden * directions;
  if (!strncmp(leaf, "bias", 4))
    fx_give_dims(r, p, MP_FLOAT, 1, (int64_t[]){gates * hidden});
  else
    fx_give_dims(r, p, MP_FLOAT, 2, (int64_t[]){gates * hidden, strstr(leaf, "_hh") ? hidden : in});
  return true;
}

/* table @ weight was done at export, where the table is a constant, too: what is left has the product's dims */
static bool product_is_folded(const fx_rec *r, const fx_group *g, const mp_var *x) {
  for (uint32_t i = 0; i < g->node_count; i++)
    if (FX_ONE_OF(r->g->nodes[g->nodes[i]].type, "MatMul", "Gemm")) return false;
  return x->role == MP_ROLE_BUFFER;
}

/* How wide the table was is not in the file. One of coordinates has as many as its grid has axes: (1, h, w, 2). */
static void size_table(fx_rec *r, fx_param *table, int32_t var) {
  mp_var v = *mp_builder_at(r->b, var);
  if (!table || v.rank < 2) return;
  v.dims[v.rank - 1] = strstr(table->spec->target, "coord") && v.rank > 2 ? v.rank - 2 : 1;
  fx_give_dims(r, table, v.dtype, v.rank, v.dims);
  fx_note(r, &r->guessed, table->spec->target);
}

void fx_size_param(fx_rec *r, const fx_group *g, fx_param *p, uint32_t arg) {
  const char *op = g->call->op;
  int32_t out = fx_value_output(r, g);
  mp_dtype t = out >= 0 ? r->g->values[out].dtype : MP_FLOAT;
  int64_t n = -1, dims[MP_RANK] = {0};
  if (size_recurrent(r, g, p)) return;
  if (!strcmp(op, "aten::linear")) {
    if (arg == 2)
      n = last_dim(r, out);
    else if (arg == 1) {
      const char *name = g->call->arg_count && g->call->args[0].kind == MP_FX_REF ? g->call->args[0].text : NULL;
      const fx_ref *x = name ? fx_ref_of(r, name) : NULL;
      if (x && x->kind == FX_TENSOR) {
        const mp_var *v = mp_builder_at(r->b, x->var);
        if (product_is_folded(r, g, v)) size_table(r, fx_param_named(r, name), x->var);
        v = mp_builder_at(r->b, x->var);
        fx_give_dims(r, p, t, 2, (int64_t[]){last_dim(r, out), v->rank ? v->dims[v->rank - 1] : 1});
        return;
      }
    }
  } else if (FX_ONE_OF(op, "aten::addmm", "aten::baddbmm") && arg == 0)
    n = last_dim(r, out);
  else if (FX_ONE_OF(op, "aten::layer_norm", "aten::rms_norm") && g->call->arg_count > 1 && g->call->args[1].kind == MP_FX_LIST &&
           g->call->args[1].n <= MP_RANK) {
    for (uint32_t i = 0; i < g->call->args[1].n; i++) dims[i] = g->call->args[1].at[i].i;
    fx_give_dims(r, p, t, (int)g->call->args[1].n, dims);
    return;
  } else if (!strncmp(op, "aten::_native_batch_norm", 24) || FX_ONE_OF(op, "aten::group_norm", "aten::instance_norm", "aten::batch_norm") ||
             (FX_ONE_OF(op, "aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::convolution") && arg == 2))
    n = channels(r, out);
  if (n >= 0)
    fx_give_dims(r, p, t, 1, &n);
  else if (!size_from_constant(r, g, p, !arg && FX_ONE_OF(op, "aten::index", "aten::gather", "aten::index_select") ? t : MP_UNDEFINED)) /* rows are taken from it: it has their type */
    mp_builder_warn(r->b, "the size of '%s' is not in the file; taken as one element", p->spec->target ? p->spec->target : p->spec->name);
}

const fx_param *fx_twin_of(fx_rec *r, const fx_param *p) {
  const char *dot = strrchr(p->spec->target, '.');
  if (!dot) return NULL;
  char *path = mp_strndup(r->a, p->spec->target, (size_t)(dot - p->spec->target));
  for (size_t i = 0; i < r->groups.n; i++) {
    const fx_group *g = &r->groups.at[i];
    if (!g->call || strcmp(g->path, path) != 0) continue;
    for (uint32_t k = 0; k < g->call->arg_count; k++) {
      const fx_param *q = g->call->args[k].kind == MP_FX_REF ? fx_param_named(r, g->call->args[k].text) : NULL;
      const char *leaf = q && q->spec->target ? strrchr(q->spec->target, '.') : NULL;
      if (leaf && !strcmp(leaf, dot)) return q;
    }
  }
  return NULL;
}

static void find_tied(fx_rec *r, fx_param *p) {
  const fx_param *q = fx_twin_of(r, p);
  if (!q || !q->known) return;
  const mp_var *v = mp_builder_at(r->b, q->var);
  fx_give_dims(r, p, v->dtype, v->rank, v->dims);
  mp_builder_at(r->b, p->var)->tied = q->var;
}

/* T5 and BART make one table for the encoder, the decoder and the head, in a module of its own that never runs: the parameter that two others are tied to. -1 where there is none, or more */
static int32_t shared_table(fx_rec *r) {
  int32_t table = -1;
  for (size_t i = 0; i < r->params.n; i++) {
    int32_t to = mp_builder_at(r->b, r->params.at[i].var)->tied;
    for (size_t k = 0; to >= 0 && k < i; k++) {
      if (mp_builder_at(r->b, r->params.at[k].var)->tied != to || to == table) continue;
      if (table >= 0) return -1;
      table = to;
    }
  }
  return table;
}

static bool is_alone(const fx_rec *r, const fx_param *p) {
  const char *dot = p->spec->target ? strrchr(p->spec->target, '.') : NULL;
  size_t n = dot ? (size_t)(dot - p->spec->target) + 1 : 0;
  for (size_t i = 0; i < r->params.n && n; i++)
    if (&r->params.at[i] != p && r->params.at[i].spec->target && !strncmp(r->params.at[i].spec->target, p->spec->target, n)) return false;
  return n > 0;
}

static void tie_to_table(fx_rec *r) {
  int32_t table = shared_table(r);
  for (size_t i = 0; i < r->params.n && table >= 0; i++) {
    fx_param *p = &r->params.at[i];
    mp_var *v = mp_builder_at(r->b, p->var), *t = mp_builder_at(r->b, table);
    if (p->known || v->tied >= 0 || v->role != MP_ROLE_PARAMETER || fx_uses(r, p->spec->name) || !is_alone(r, p)) continue;
    fx_give_dims(r, p, t->dtype, t->rank, t->dims);
    mp_builder_at(r->b, p->var)->tied = table;
  }
}

/* A buffer that is not in the state_dict and that no call reads: position_ids beside token_type_ids. It has the size of a neighbour in its module, if
 * there is one. */
static void like_sibling(fx_rec *r, const fx_param *p) {
  const char *dot = strrchr(p->spec->target, '.');
  size_t n = dot ? (size_t)(dot - p->spec->target) + 1 : 0;
  mp_var *v = mp_builder_at(r->b, p->var);
  v->rank = 1;
  for (size_t i = 0; i < r->params.n; i++) {
    const fx_param *q = &r->params.at[i];
    const mp_var *w = mp_builder_at(r->b, q->var);
    bool beside = q->known && w->role == MP_ROLE_BUFFER && !q->spec->persistent && !strncmp(q->spec->target, p->spec->target, n) &&
                  !strchr(q->spec->target + n, '.');
    if (!beside) continue;
    bool square = w->rank > 2 && w->dims[w->rank - 1] == w->dims[w->rank - 2]; /* a mask; what is beside it is the number that it puts in: GPT-2's masked_bias */
    if (square) {
      v->dtype = MP_FLOAT;
      v->rank = 0;
      mp_builder_warn(r->b, "buffer '%s' is read by no call: taken to be one number, as beside a mask like '%s'", v->name, w->name);
      return;
    }
    bool frequencies = !strcmp(dot ? dot + 1 : p->spec->target, "inv_freq") && w->rank == 2; /* of rotary tables (positions x head size): one for two features */
    v->dtype = w->dtype;
    v->rank = frequencies ? 1 : w->rank;
    memcpy(v->dims, w->dims, sizeof v->dims);
    if (frequencies) v->dims[0] = w->dims[1] / 2;
    mp_builder_warn(r->b, frequencies ? "buffer '%s' is read by no call: taken to be a number for two features of '%s'" : "buffer '%s' is read by no call: taken to have the size of '%s'", v->name, w->name);
    return;
  }
}

/* A parameter that no call names: the same tensor as another (tied), when the calls of its module use another of its last name; else one that the
 * forward pass leaves alone. */
void fx_settle_params(fx_rec *r) {
  fx_size_by_analogy(r);
  for (size_t i = 0; i < r->params.n; i++) {
    fx_param *p = &r->params.at[i];
    if (p->spec->target && !fx_uses(r, p->spec->name) && p->known == false) find_tied(r, p);
  }
  tie_to_table(r);
  for (size_t i = 0; i < r->params.n; i++) {
    fx_param *p = &r->params.at[i];
    mp_var *v = mp_builder_at(r->b, p->var);
    if (p->known || v->tied >= 0 || v->role == MP_ROLE_CONSTANT) continue;
    if (v->role == MP_ROLE_BUFFER && !p->spec->persistent) {
      like_sibling(r, p);
      continue;
    }
    fx_note(r, &r->unread, v->name);
    v->rank = 1; /* of no elements */
  }
  if (r->unread.n)
    mp_builder_warn(r->b, "%s: in the graph signature, but no call reads it: taken to be tied to another or not to train, and not counted",
                    r->unread.at);
  if (r->likened.n) mp_builder_warn(r->b, "%s: folded into constants at export; sizes are taken from modules of the same class", r->likened.at);
  if (r->guessed.n) mp_builder_warn(r->b, "%s: folded into constants at export; sizes are taken from those", r->guessed.at);
}
