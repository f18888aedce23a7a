/* graph -> program where the file does not name the calls: scopes from node names (the TorchScript exporter's "/encoder/layer.0/attn/MatMul"),
 * patterns from the table.
 *
 * Four passes: read the values (what Python held, what follows from constants, which casts are none), match the table's rows, find the hits that
 * something needs, emit those in the file's order. A file without scopes goes the same way with one module. */
#include <math.h>
#include <string.h>

#include "planner/recover.h"

static const mp_value *value_at(const mp_rec *r, int32_t v) { return &r->g->values[v]; }
static bool is(const mp_node *n, const char *type) { return !strcmp(n->type, type); }

/* ---- pass 2 and 3: match, find what is needed ---- */

static const mp_pattern unknown_row = {"", "", NULL, NULL};

static void match_all(mp_rec *r) {
  const mp_graph *g = r->g;
  mp_hit *h = mp_alloc(r->a, sizeof *h);
  for (uint32_t k = 0; k < mp_pattern_count; k++) {
    const mp_pattern *row = &mp_patterns[k];
    size_t n = strcspn(row->nodes, "[(");
    for (uint32_t i = 0; i < g->node_count; i++) {
      const char *type = g->nodes[i].type;
      if (r->owner[i] || strncmp(type, row->nodes, n) != 0 || type[n] || !mp_match(r, row, (int32_t)i, h)) continue;
      for (uint32_t j = 0; j < h->node_count; j++)
        if (!j || !r->owner[h->nodes[j]]) {
          const mp_node *inner = &g->nodes[h->nodes[j]];
          bool shared = j && inner->ins && inner->outs && inner->in[0] >= 0 && inner->out[0] >= 0 &&
                        (r->fixed[inner->out[0]] || mp_r_is_parameter(r, inner->in[0]) || mp_r_expands_nothing(r, h->nodes[j]));
          if (!shared) r->owner[h->nodes[j]] = h;
        }
      h = mp_alloc(r->a, sizeof *h);
    }
  }
}

static mp_hit *unknown_hit(mp_rec *r, int32_t node) {
  mp_hit *h = mp_alloc(r->a, sizeof *h);
  h->row = &unknown_row;
  h->root = node;
  for (int i = 0; i < MP_HIT_VALUES; i++) h->values[i] = -1;
  mp_hit_node(h, node);
  return r->owner[node] = h;
}

static void want(const mp_rec *r, bool *needed, int32_t v) {
  if (v >= 0 && !mp_r_is_python(r, v)) needed[v] = true;
}

/* Readers come after what they read, so one pass from the end finds every hit that an output depends on. */
static void find_live(mp_rec *r) {
  const mp_graph *g = r->g;
  bool *needed = mp_alloc_array(r->a, g->value_count, sizeof *needed);
  for (uint32_t i = 0; i < g->output_count; i++) needed[mp_r_resolve(r, g->outputs[i], -1)] = true;
  for (uint32_t i = g->node_count; i-- > 0;) {
    const mp_node *n = &g->nodes[i];
    bool wanted = false;
    for (int o = 0; o < n->outs; o++) wanted |= n->out[o] >= 0 && needed[n->out[o]];
    if (!wanted || is(n, "Constant")) continue;
    mp_hit *h = r->owner[i] ? r->owner[i] : unknown_hit(r, (int32_t)i);
    if (h->root != (int32_t)i) h = unknown_hit(r, (int32_t)i);
    h->live = true;
    if (h->row == &unknown_row || (strstr(h->row->nodes, "(...)") && !h->listed))
      for (int k = 0; k < n->ins; k++) want(r, needed, mp_r_in(r, h->root, k));
    const char *open = strchr(h->row->nodes, '(');
    if (open && !strchr(open + 1, '(') && strstr(open, ", ...)")) /* one node's optional operands, where a call makes them */
      for (int k = 0; k < n->ins; k++)
        if (n->in[k] >= 0 && !r->fixed[n->in[k]]) want(r, needed, mp_r_in(r, h->root, k));
    for (uint32_t k = 0; k < h->need_count; k++) want(r, needed, h->needs[k]);
    for (int k = 0; k < MP_HIT_VALUES; k++) want(r, needed, h->values[k]);
  }
}

/* ---- pass 4: calls ---- */

/* Every tensor that a row reads or makes has a rank that arrays of MP_RANK hold; its functions count on it. */
static void check_rank(mp_rec *r, int32_t v) {
  if (v < 0 || mp_r_is_python(r, v)) return;
  const mp_value *x = value_at(r, v);
  if (x->form != MP_FORM_TENSOR)
    mp_fail(r->a, MP_BAD_INPUT, "%s: '%s' is a sequence, a map or an optional, which no device holds", r->g->path, x->name);
  if (x->rank < 0) mp_r_dim(r, v, 0);
  if (x->rank > MP_RANK) mp_fail(r->a, MP_BAD_INPUT, "%s: '%s' has %d dimensions; at most %d are handled", r->g->path, x->name, x->rank, MP_RANK);
}

static void emit(mp_rec *r, mp_hit *h) {
  if (h->done) return;
  h->done = true;
  const mp_node *root = mp_r_node(r, h->root);
  for (int i = 0; i < MP_HIT_VALUES; i++) check_rank(r, h->values[i]);
  for (int i = 0; i < root->ins && h->row != &unknown_row; i++)
    if (root->in[i] >= 0 && value_at(r, root->in[i])->rank > MP_RANK) check_rank(r, root->in[i]);
  check_rank(r, root->outs ? root->out[0] : -1);
  mp_r_enter(r, h->root);
  bool several = !strcmp(root->type, "Split") || !strcmp(root->type, "TopK") || !strcmp(root->type, "LSTM") || !strcmp(root->type, "GRU") ||
                 !strcmp(root->type, "RNN");
  if (h->row == &unknown_row || (!several && (!root->outs || root->out[0] < 0))) {
    const mp_node *n = mp_r_node(r, h->root);
    mp_arg *args = mp_alloc_array(r->a, n->ins, sizeof *args);
    int32_t *outs = mp_alloc_array(r->a, n->outs, sizeof *outs);
    for (int i = 0; i < n->ins; i++) args[i] = mp_r_arg(r, mp_r_in(r, h->root, i));
    for (int i = 0; i < n->outs; i++) outs[i] = mp_r_result(r, h, i);
    mp_r_call(r, h, mp_format(r->a, "%s::%s", n->domain[0] ? n->domain : "onnx", n->type), args, n->ins, outs, n->outs);
  } else if (h->row->emit) {
    h->row->emit(r, h);
  } else {
    mp_emit_text(r, h);
  }
}

/* 0, 1, 2, ...: torch.arange of a number, which the exporter wrote out */
static bool counts(const mp_rec *r, int32_t value) {
  int32_t p = mp_r_maker(r, value, "Constant");
  const mp_attr *a = p < 0 ? NULL : mp_node_attr(mp_r_node(r, p), "value");
  if (!a || a->kind != MP_ATTR_TENSOR || a->as.tensor->dtype != MP_INT64 || a->as.tensor->rank != 1) return false;
  const mp_tensor *t = a->as.tensor;
  uint64_t n = (uint64_t)t->dims[0];
  if (n < 2 || (t->raw ? t->raw_bytes != n * 8 : t->contents != n)) return false;
  for (uint64_t i = 0; i < n; i++) {
    int64_t x;
    if (t->raw)
      memcpy(&x, t->raw + 8 * i, 8);
    else
      x = t->ints ? t->ints[i].n : -1;
    if (x != (int64_t)i) return false;
  }
  return true;
}

static const mp_tensor *constant_of(const mp_rec *r, int32_t v) {
  int32_t p = mp_r_maker(r, v, "Constant");
  const mp_attr *a = p < 0 ? NULL : mp_node_attr(mp_r_node(r, p), "value");
  return a && a->kind == MP_ATTR_TENSOR ? a->as.tensor : NULL;
}

static bool same_constant(const mp_tensor *x, const mp_tensor *y) {
  return x->dtype == y->dtype && x->raw_bytes == y->raw_bytes && x->rank == y->rank &&
         !memcmp(x->dims, y->dims, (size_t)x->rank * sizeof *x->dims) && !memcmp(x->raw, y->raw, x->raw_bytes);
}

static uint64_t digest(const mp_tensor *t) { /* FNV-1a */
  uint64_t h = 14695981039346656037u;
  for (uint64_t i = 0; i < t->raw_bytes; i++) h = (h ^ (uint8_t)t->raw[i]) * 1099511628211u;
  return h;
}

/* the exporter writes a tensor that the program made once for each of its readers: the first of them that was read, v itself where it is that */
static int32_t first_alike(mp_rec *r, int32_t v) {
  if (r->alike[v] >= 0) return r->alike[v];
  const mp_tensor *t = constant_of(r, v);
  r->alike[v] = v;
  if (!t || !t->raw) return v;
  bool fresh;
  const char *key = mp_format(r->a, "%d %d %llx", t->dtype, t->rank, (unsigned long long)digest(t));
  uint32_t id = mp_names_add(r->a, r->contents, key, strlen(key), &fresh);
  if (fresh)
    *mp_push(r->a, &r->holder) = v;
  else if (same_constant(t, constant_of(r, r->holder.at[id])))
    r->alike[v] = r->holder.at[id];
  return r->alike[v];
}

/* the same number everywhere: torch.ones_like(x) of an x whose size the exporter knew; a bias of zeros that does not train (BEiT's) has one dimension */
static bool is_uniform(const mp_rec *r, int32_t v) {
  const mp_tensor *t = constant_of(r, v);
  uint64_t size = t ? mp_dtype_bits(t->dtype) / 8 : 0;
  return size && t->rank > 1 && t->raw && t->raw_bytes > size && !memcmp(t->raw, t->raw + size, t->raw_bytes - size);
}

/* made anew in every forward pass */
static int32_t full(mp_rec *r, int32_t v) {
  const mp_value *x = value_at(r, v);
  int64_t dims[MP_RANK];
  check_rank(r, v);
  for (int i = 0; i < x->rank; i++) dims[i] = mp_r_dim(r, v, i);
  mp_arg like = mp_r_latest_type(r, x->dtype), size = mp_arg_ints(r->a, dims, (uint32_t)x->rank);
  mp_arg args[] = {size, mp_arg_int(0), like}, typed[] = {like, size, mp_arg_int(0)};
  bool is_typed = like.kind == MP_ARG_VAR;
  int32_t out = mp_r_new(r, x->name, x->dtype, x->rank, dims);
  mp_builder_call(r->b, is_typed ? "aten::new_full" : "aten::full", is_typed ? typed : args, 3, &out, 1, r->module, NULL, 0);
  return out;
}

static int32_t arange(mp_rec *r, int32_t v) {
  int64_t n = mp_r_dim(r, v, 0);
  mp_arg args[] = {mp_arg_int(n), mp_arg_dtype(MP_INT64)};
  int32_t out = mp_r_new(r, value_at(r, v)->name, MP_INT64, 1, &n);
  mp_builder_call(r->b, "aten::arange", args, 2, &out, 1, r->module, NULL, 0);
  return out;
}

/* A tensor that the exporter computed or copied into the file: made by the forward, where its contents say so, else a buffer that is not in the
 * state_dict. Modules alike register buffers alike, and the exporter keeps one copy: each module that reads it has its own. */
static int32_t lifted(mp_rec *r, int32_t v) {
  const mp_value *x = value_at(r, v);
  if (mp_r_maker(r, v, "Constant") < 0 || mp_r_is_scalar(x)) return mp_r_make_var(r, mp_r_is_scalar(x) ? MP_ROLE_CONSTANT : MP_ROLE_BUFFER, v);
  bool fresh;
  const char *key = mp_format(r->a, "%d %s", first_alike(r, v), r->path);
  uint32_t id = mp_names_add(r->a, r->lifted, key, strlen(key), &fresh);
  if (!fresh) return r->lifted_var.at[id];
  int32_t var = counts(r, v) ? arange(r, v) : mp_dtype_is_float(x->dtype) && is_uniform(r, v) ? full(r, v) : mp_r_make_var(r, MP_ROLE_BUFFER, v);
  r->var[v] = -1;
  *mp_push(r->a, &r->lifted_var) = var;
  return var;
}

int32_t mp_r_var(mp_rec *r, int32_t value) {
  if (value < 0) mp_fail(r->a, MP_BAD_INPUT, "%s: an input is left out that its node needs (a member of a Concat, say); memplan inspect --unknown shows what the graph lacks", r->g->path);
  int32_t v = mp_r_resolve(r, value, -1);
  if (r->var[value] >= 0) return r->var[value];
  if (r->var[v] >= 0) return r->var[v];
  int32_t p = mp_r_producer(r, v);
  if (p >= 0 && !is(mp_r_node(r, p), "Constant") && r->owner[p] && r->owner[p]->root == p && r->owner[p]->live) emit(r, r->owner[p]);
  if (r->var[v] >= 0) return r->var[v];
  if (r->fixed[v] || mp_r_is_python(r, v)) return lifted(r, v);
  if (p >= 0 && mp_r_node(r, p)->out[0] != v)
    mp_fail(r->a, MP_BAD_INPUT, "%s: '%s' is read, an output of node '%s' (%s) that the framework's call does not give", r->g->path,
            value_at(r, v)->name, mp_r_node(r, p)->name, mp_r_node(r, p)->type);
  if (p >= 0 && is(mp_r_node(r, p), "Constant"))
    mp_fail(r->a, MP_BAD_INPUT, "%s: '%s' comes from node '%s', a Constant that reads %d values; ONNX's Constant has no inputs", r->g->path, value_at(r, v)->name, mp_r_node(r, p)->name,
            mp_r_node(r, p)->ins);
  mp_fail(r->a, MP_INTERNAL, "%s: '%s' is read before a call makes it", r->g->path, value_at(r, v)->name);
}

mp_arg mp_r_tensor(mp_rec *r, int32_t value) { return value < 0 ? mp_arg_none() : mp_arg_var(mp_r_var(r, value)); }

mp_arg mp_r_arg(mp_rec *r, int32_t value) {
  if (!mp_r_is_number(r, value)) return mp_r_tensor(r, value);
  double x;
  bool known = mp_r_number(r, value, &x), real = mp_dtype_is_float(value_at(r, value)->dtype);
  if (real) return mp_arg_float(known ? x : 1.0);
  if (value_at(r, value)->dtype == MP_BOOL) return mp_arg_bool(known && x != 0);
  return mp_arg_int(known && x > -0x1p63 && x < 0x1p63 ? (int64_t)x : 1);
}

mp_arg mp_r_model_type(mp_rec *r, mp_dtype t) {
  for (int32_t v = 0; v < mp_builder_var_count(r->b); v++) {
    const mp_var *x = mp_builder_at(r->b, v);
    if (x->role == MP_ROLE_PARAMETER && x->dtype == t) return mp_arg_var(v);
  }
  return mp_arg_dtype(t);
}

mp_arg mp_r_latest_type(mp_rec *r, mp_dtype t) {
  for (int32_t v = mp_builder_var_count(r->b); v-- > 0;) {
    const mp_var *x = mp_builder_at(r->b, v);
    if (x->call >= 0 && x->dtype == t) return mp_arg_var(v);
  }
  return mp_r_model_type(r, t);
}

int32_t mp_r_new(mp_rec *r, const char *name, mp_dtype t, int rank, const int64_t *dims) {
  return mp_builder_var(r->b, MP_ROLE_RESULT, name, t, rank, dims, -1);
}

int32_t mp_r_new_like(mp_rec *r, int32_t var) {
  const mp_var v = *mp_builder_at(r->b, var);
  return mp_r_new(r, v.name, v.dtype, v.rank, v.dims);
}

mp_call *mp_r_call(mp_rec *r, const mp_hit *h, const char *name, const mp_arg *args, uint32_t n, const int32_t *out, uint32_t outs) {
  uint32_t nodes = r->charged == h ? 0 : h->node_count; /* one call carries the arithmetic of the nodes */
  r->charged = h;
  return mp_builder_call_at(r->b, mp_builder_call(r->b, name, args, n, out, outs, r->module, h->nodes, nodes));
}

int32_t mp_r_result(mp_rec *r, const mp_hit *h, int slot) {
  const mp_node *n = mp_r_node(r, h->root);
  if (slot >= n->outs || n->out[slot] < 0) return -1;
  return mp_r_make_var(r, MP_ROLE_RESULT, n->out[slot]);
}

void mp_r_last(mp_rec *r, const mp_hit *h, const char *name, const mp_arg *args, uint32_t n) {
  int32_t out = mp_r_result(r, h, 0);
  mp_r_call(r, h, name, args, n, &out, 1);
}

/* ---- the stage ---- */

const mp_program *mp_recover_ts(mp_arena *a, const mp_graph *g, const char *unsound) {
  mp_rec *r = mp_alloc(a, sizeof *r);
  r->a = a;
  r->g = g;
  r->b = mp_builder_new(a, g);
  if (unsound) mp_builder_warn(r->b, "%s: the exporter's metadata makes no sense at %s; the graph's nodes were read instead", g->path, unsound);
  r->path = "";
  r->var = mp_alloc_array(a, g->value_count, sizeof *r->var);
  r->alike = mp_alloc_array(a, g->value_count, sizeof *r->alike);
  for (uint32_t v = 0; v < g->value_count; v++) r->var[v] = r->alike[v] = -1;
  r->contents = mp_names_new(a, 64);
  r->lifted = mp_names_new(a, 64);
  r->turned = mp_alloc_array(a, g->value_count, sizeof *r->turned);
  r->owner = mp_alloc_array(a, g->node_count, sizeof(mp_hit *));
  mp_r_find_scopes(r);
  r->scoped = mp_names_count(r->scopes) > 0;
  mp_r_read_values(r);
  if (!r->training) mp_builder_warn(r->b, "%s is an inference export: dropout and the loss are not in it, batch norms are taken to train", g->path);
  match_all(r);
  find_live(r);
  mp_r_make_parameters(r);
  int32_t *inputs = mp_alloc_array(a, g->input_count, sizeof *inputs), *outputs = mp_alloc_array(a, g->output_count, sizeof *outputs);
  for (uint32_t i = 0; i < g->input_count; i++) inputs[i] = mp_r_make_var(r, MP_ROLE_INPUT, g->inputs[i]);
  for (uint32_t i = 0; i < g->node_count; i++)
    if (r->owner[i] && r->owner[i]->root == (int32_t)i && r->owner[i]->live) emit(r, r->owner[i]);
  for (uint32_t i = 0; i < g->output_count; i++) outputs[i] = mp_r_var(r, g->outputs[i]);
  if (r->folded_norms)
    mp_builder_warn(r->b,
                    "%u convolutions hold a batch norm that the exporter folded into them: it is put back, its weights under names of their own",
                    r->folded_norms);
  mp_whole_cells(r->b, outputs, g->output_count);
  mp_averaged_weights(r->b);
  mp_unseen_casts(r->b);
  mp_maps_of_tokens(r->b);
  mp_program_habits(r->b, outputs, g->output_count);
  return mp_builder_finish(r->b, inputs, g->input_count, outputs, g->output_count,
                           r->scoped || !strcmp(g->producer, "pytorch") ? "torchscript" : "unknown", r->training);
}
