/* Model -> graph: names become numbers of values, nodes become rows.
 *
 * A graph is read in three walks: the first counts, the second gives a value to every name that is defined (so the order of nodes does not matter),
 * the third makes the node rows, inlines calls of the model's functions and descends into subgraphs. A subgraph's names are looked up in it, then in
 * the graph around its node; what comes from there is a capture. */
#include <stdio.h>
#include <string.h>

#include "onnx/model.h"

#define MAX_WARNINGS 500
#define AHEAD 16 /* names whose place in the table is fetched ahead */

/* ---- words, warnings ---- */

const char *mp_word(mp_build *b, mp_span s) {
  return s.n ? mp_names_text(b->words, mp_names_add(b->a, b->words, (const char *)s.at, s.n, NULL)) : "";
}

void mp_build_warn(mp_build *b, const char *fmt, ...) {
  if (b->warnings.n > MAX_WARNINGS) return;
  char text[768];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  const char *kept = b->warnings.n == MAX_WARNINGS ? "there are more warnings of this kind" : mp_strdup(b->a, text);
  *mp_push(b->a, &b->warnings) = kept;
}

/* ---- names ---- */

int32_t mp_rows_declare(mp_rows *r, mp_span name, mp_value_kind kind, bool *added) {
  uint32_t id = mp_names_add(r->build->a, r->names, (const char *)name.at, name.n, added);
  if (!*added) return (int32_t)id;
  if (id >= INT32_MAX) mp_fail(r->build->a, MP_BAD_INPUT, "%s: more than 2^31 values", r->build->source.label);
  *mp_push(r->build->a, &r->values) = (mp_value){.name = mp_names_text(r->names, id), .kind = (uint8_t)kind, .rank = -1, .producer = -1};
  return (int32_t)id;
}

static int32_t capture(mp_rows *r, mp_span name, mp_rows *from, int32_t outer) {
  bool added;
  int32_t v = mp_rows_declare(r, name, MP_VALUE_CAPTURE, &added);
  r->values.at[v].slot = -1;
  *mp_push(r->build->a, &r->captures) = (mp_capture){v, outer};
  const mp_value *o = &from->values.at[outer];
  if (o->kind == MP_VALUE_NODE && o->producer < 0) from->unsorted = true;
  return v;
}

int32_t mp_frame_find(const mp_frame *f, mp_span name) {
  uint32_t id = mp_names_find(f->names, (const char *)name.at, name.n);
  if (id != UINT32_MAX) return f->function ? f->values.at[id] : id < f->rows->current_count ? f->rows->current[id] : (int32_t)id;
  if (!f->outer) return MP_NOT_FOUND;
  int32_t outer = mp_frame_find(f->outer, name);
  return outer < 0 ? outer : capture(f->rows, name, f->outer->rows, outer);
}

/* ---- the second walk: what is defined ---- */

_Noreturn static void twice(const mp_rows *r, const char *what, int32_t v) {
  const mp_build *b = r->build;
  mp_fail(b->a, MP_BAD_INPUT, "%s: %s '%.200s' is defined twice; every value needs a name of its own: the file is damaged, export it again",
          b->source.label, what, r->values.at[v].name);
}

static mp_span name_of(mp_walk w, unsigned offset) {
  mp_span s = {0};
  for (mp_field f; mp_walk_next(&w, &f);)
    if (f.d->offset == offset) s = mp_field_name(&w, &f);
  return s;
}

static void declare_initializer(mp_rows *r, mp_tensor *t, mp_value_form form) {
  mp_build *b = r->build;
  bool added;
  int32_t v = mp_rows_declare(r, (mp_span){(const uint8_t *)t->name, strlen(t->name)}, MP_VALUE_INITIALIZER, &added);
  mp_value *to = &r->values.at[v];
  if (!added && to->kind == MP_VALUE_INITIALIZER) {
    bool same = to->dtype == t->dtype && to->rank == t->rank;
    for (int i = 0; same && i < t->rank; i++) same = to->dims[i].n == t->dims[i];
    if (!same) twice(r, "initializer", v);
    mp_build_warn(b, "initializer '%.200s' is in the file twice: the last one counts", t->name);
  } else if (!added && to->kind != MP_VALUE_INPUT) {
    twice(r, "initializer", v);
  }
  to->kind = MP_VALUE_INITIALIZER; /* also where an input of that name exists: the initializer is its default */
  to->form = (uint8_t)form;
  to->dtype = t->dtype;
  to->rank = (int8_t)t->rank;
  to->dims = mp_alloc_array(b->a, (size_t)t->rank, sizeof *to->dims);
  for (int i = 0; i < t->rank; i++) to->dims[i] = mp_int_of(t->dims[i]);
  to->ints = t->ints;
  to->floats = t->floats;
  to->contents = t->contents;
  to->raw = t->whole ? t->raw : NULL;
  if (b->options && b->options->binding_count) mp_bind_input(b, to);
}

static int32_t declare_input(mp_rows *r, mp_walk w) {
  mp_build *b = r->build;
  mp_span name = name_of(w, offsetof(Onnx__ValueInfoProto, name));
  bool added;
  int32_t v = mp_rows_declare(r, name, MP_VALUE_INPUT, &added);
  mp_value *to = &r->values.at[v];
  if (!added && to->kind != MP_VALUE_INITIALIZER) twice(r, "input", v);
  to->meta = mp_metas_read(b, w, b->value_metas, &to->metas);
  if (!added) return v;
  for (mp_field f; mp_walk_next(&w, &f);)
    if (f.d->offset == offsetof(Onnx__ValueInfoProto, type)) mp_value_type_read(b, mp_walk_into(&w, &f), to);
  if (!r->g->outer) mp_bind_input(b, to);
  return v;
}

/* A name that several nodes define: each of them makes a value of its own, and a node reads the one that stands before it in the file, as an interpreter
 * that goes through the file would; of Constant nodes the last one counts. The last definition keeps the name. */
static void rename_first(mp_rows *r, int32_t v) {
  mp_build *b = r->build;
  bool added = false;
  for (int32_t other; !added;) {
    const char *name = mp_format(b->a, "%s#%u", r->values.at[v].name, ++b->serial);
    other = mp_rows_declare(r, (mp_span){(const uint8_t *)name, strlen(name)}, MP_VALUE_NODE, &added);
    if (!added) continue;
    r->made.at[r->values.at[v].slot] = other;
    r->values.at[other].producer = MP_STANDS_FOR(v);
    r->redefined = true;
  }
  mp_build_warn(b, "value '%.200s' is defined by more than one node: a node reads the definition before it, of constants the last one", r->values.at[v].name);
}

static void declare_output(mp_rows *r, mp_span name) {
  bool added;
  int32_t v = mp_rows_declare(r, name, MP_VALUE_NODE, &added);
  if (!added && r->values.at[v].kind != MP_VALUE_NODE) twice(r, "value", v);
  if (!added) rename_first(r, v);
  r->values.at[v].slot = (int32_t)r->made.n; /* until the node is read: where to find it in `made` */
  *mp_push(r->build->a, &r->made) = v;
}

/* Names wait in a ring for a while: by the time that one is declared, its place in the table is in the cache. */
typedef struct ring {
  mp_span names[AHEAD];
  uint32_t n; /* ever put in */
} ring;

static void declare_outputs(mp_rows *r, mp_walk w, ring *waiting) {
  for (mp_field f; mp_walk_next(&w, &f);) {
    if (f.d->offset != offsetof(Onnx__NodeProto, output) || !f.span.n) continue;
    mp_span name = mp_field_name(&w, &f), *place = &waiting->names[waiting->n % AHEAD];
    mp_names_prefetch(r->names, (const char *)name.at, name.n);
    if (waiting->n++ >= AHEAD) declare_output(r, *place);
    *place = name;
  }
}

static void declare_waiting(mp_rows *r, const ring *waiting) {
  for (uint32_t i = waiting->n < AHEAD ? 0 : waiting->n - AHEAD; i < waiting->n; i++) declare_output(r, waiting->names[i % AHEAD]);
}

typedef struct counts {
  size_t nodes, values, inputs, outputs;
} counts;

static counts count(mp_walk w) {
  counts c = {0};
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->offset) {
      case offsetof(Onnx__GraphProto, node):
        c.nodes++;
        break;
      case offsetof(Onnx__GraphProto, initializer):
        c.values++;
        break;
      case offsetof(Onnx__GraphProto, input):
        c.inputs++;
        break;
      case offsetof(Onnx__GraphProto, output):
        c.outputs++;
        break;
    }
  c.values += c.nodes + c.inputs; /* most nodes have one output */
  return c;
}

static void reserve(mp_rows *r, counts c) {
  mp_arena *a = r->build->a;
  r->names = mp_names_new(a, c.values);
  r->values.at = mp_alloc_array(a, r->values.cap = c.values + 1, sizeof *r->values.at);
  r->made.at = mp_alloc_array(a, r->made.cap = c.nodes + 1, sizeof *r->made.at);
  r->nodes.at = mp_alloc_array(a, r->nodes.cap = c.nodes + 1, sizeof *r->nodes.at);
}

/* layer.0.weight, but not input.1, as the exporter calls an input without a name */
static bool named_in_state(const char *name) {
  const char *last = strrchr(name, '.');
  return last && last[1] && strspn(last + 1, "0123456789") != strlen(last + 1);
}

/* torch.onnx.export(export_params=False) leaves parameters and buffers among the inputs, without a value, under their names in the state_dict: sizes are all that is asked of them here. */
static void take_parameters(mp_rows *r, const int32_t *inputs, uint32_t n) {
  bool weight = false;
  uint32_t taken = 0;
  for (size_t i = 0; i < r->values.n; i++)
    if (r->values.at[i].kind == MP_VALUE_INITIALIZER && mp_dtype_is_float(r->values.at[i].dtype) && r->values.at[i].rank > 0) return;
  for (uint32_t i = 0; i < n; i++) {
    const char *end = strrchr(r->values.at[inputs[i]].name, '.');
    weight |= end && !strcmp(end, ".weight");
  }
  for (uint32_t i = 0; i < n && weight; i++) {
    mp_value *v = &r->values.at[inputs[i]];
    bool sized = v->kind == MP_VALUE_INPUT && v->rank >= 0;
    for (int k = 0; sized && k < v->rank; k++) sized = mp_int_is_number(v->dims[k]);
    if (!sized || !named_in_state(v->name)) continue;
    v->kind = MP_VALUE_INITIALIZER;
    taken++;
  }
  if (taken) mp_build_warn(r->build, "the file was exported without its parameters (export_params=False): %u inputs that are named as in a state_dict are taken for them", taken);
}

static void declare_all(mp_rows *r, mp_walk w, counts c) {
  mp_build *b = r->build;
  int32_t *inputs = mp_alloc_array(b->a, c.inputs, sizeof *inputs);
  uint32_t n = 0;
  ring waiting = {.n = 0};
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->offset) {
      case offsetof(Onnx__GraphProto, name):
        r->g->name = mp_word(b, mp_field_text(&f));
        break;
      case offsetof(Onnx__GraphProto, node):
        declare_outputs(r, mp_walk_into(&w, &f), &waiting);
        break;
      case offsetof(Onnx__GraphProto, input):
        inputs[n++] = declare_input(r, mp_walk_into(&w, &f));
        break;
      case offsetof(Onnx__GraphProto, initializer): {
        mp_tensor t;
        mp_tensor_read(b, mp_walk_into(&w, &f), &t);
        declare_initializer(r, &t, MP_FORM_TENSOR);
        break;
      }
      case offsetof(Onnx__GraphProto, sparse_initializer): {
        mp_tensor t;
        mp_sparse_read(b, mp_walk_into(&w, &f), &t);
        declare_initializer(r, &t, MP_FORM_SPARSE);
        break;
      }
    }
  declare_waiting(r, &waiting);
  if (r->redefined) {
    r->current = mp_alloc_array(b->a, r->values.n, sizeof *r->current);
    r->current_count = (uint32_t)r->values.n;
    for (uint32_t i = 0; i < r->current_count; i++) r->current[i] = (int32_t)i;
  }
  if (!r->g->outer) take_parameters(r, inputs, n);
  r->g->inputs = inputs;
  for (uint32_t i = 0; i < n; i++) /* an input with a default is an initializer */
    if (r->values.at[inputs[i]].kind == MP_VALUE_INPUT) inputs[r->g->input_count++] = inputs[i];
}

/* ---- the third walk: nodes, declared types, outputs ---- */

static void read_value_info(mp_rows *r, mp_walk w) {
  mp_build *b = r->build;
  mp_span name = name_of(w, offsetof(Onnx__ValueInfoProto, name));
  uint32_t id = mp_names_find(r->names, (const char *)name.at, name.n);
  if (id == UINT32_MAX) return; /* describes nothing that is there */
  mp_value *v = &r->values.at[id];
  if (!v->metas) v->meta = mp_metas_read(b, w, b->value_metas, &v->metas);
  if (v->kind != MP_VALUE_NODE || (b->options && b->options->from_scratch)) return;
  for (mp_field f; mp_walk_next(&w, &f);)
    if (f.d->offset == offsetof(Onnx__ValueInfoProto, type)) mp_value_type_read(b, mp_walk_into(&w, &f), v);
}

static int32_t find_output(const mp_frame *frame, mp_walk w) {
  mp_span name = name_of(w, offsetof(Onnx__ValueInfoProto, name));
  int32_t v = mp_frame_find(frame, name);
  if (v < 0)
    mp_fail(frame->rows->build->a, MP_BAD_INPUT, "%s: output '%.*s' of graph '%.100s' is made by no node; the file is incomplete: export it again",
            frame->rows->build->source.label, (int)(name.n < 200 ? name.n : 200), name.n ? (const char *)name.at : "", frame->rows->g->name);
  return v;
}

/* The next node of the walk: its inputs' places are fetched ahead. False at the end. */
static bool fetch_inputs(mp_rows *r, mp_walk *w) {
  for (mp_field f; mp_walk_next(w, &f);) {
    if (f.d->offset != offsetof(Onnx__GraphProto, node)) continue;
    mp_walk node = mp_walk_into(w, &f);
    for (mp_field x; mp_walk_next(&node, &x) && x.d->offset == offsetof(Onnx__NodeProto, input);)
      mp_names_prefetch(r->names, (const char *)x.span.at, x.span.n);
    return true;
  }
  return false;
}

static void build_nodes(const mp_frame *frame, mp_walk w) {
  mp_rows *r = frame->rows;
  mp_walk ahead = w;
  uint32_t fetched = 0, built = 0;
  for (mp_field f; mp_walk_next(&w, &f);) {
    if (f.d->offset != offsetof(Onnx__GraphProto, node)) continue;
    for (; fetched < built + AHEAD / 2 && fetch_inputs(r, &ahead); fetched++) {
    }
    mp_node_build(frame, mp_walk_into(&w, &f));
    built++;
  }
}

static void read_outputs(const mp_frame *frame, mp_walk w, counts c) { /* and what the file says of the values between */
  mp_rows *r = frame->rows;
  int32_t *outputs = mp_alloc_array(r->build->a, c.outputs, sizeof *outputs);
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->offset) {
      case offsetof(Onnx__GraphProto, value_info):
        read_value_info(r, mp_walk_into(&w, &f));
        break;
      case offsetof(Onnx__GraphProto, output): {
        mp_walk inner = mp_walk_into(&w, &f);
        int32_t v = find_output(frame, inner);
        read_value_info(r, inner);
        r->values.at[v].is_output = true;
        r->values.at[v].users++;
        outputs[r->g->output_count++] = v;
        break;
      }
    }
  r->g->outputs = outputs;
}

static void count_users(mp_rows *r, const mp_frame *outer) {
  for (size_t i = 0; i < r->nodes.n; i++) {
    const mp_node *n = &r->nodes.at[i];
    for (int k = 0; k < n->ins; k++)
      if (n->in[k] >= 0) r->values.at[n->in[k]].users++;
  }
  for (size_t i = 0; i < r->captures.n; i++) outer->rows->values.at[r->captures.at[i].outer].users += r->values.at[r->captures.at[i].inner].users;
}

static void finish(mp_rows *r, const mp_frame *outer) {
  mp_graph *g = r->g;
  if (r->unsorted) mp_rows_sort(r);
  count_users(r, outer);
  g->nodes = r->nodes.at;
  g->node_count = (uint32_t)r->nodes.n;
  g->values = r->values.at;
  g->value_count = (uint32_t)r->values.n;
  g->captures = r->captures.at;
  g->capture_count = (uint32_t)r->captures.n;
}

mp_graph *mp_rows_build(mp_build *b, mp_walk w, const mp_frame *outer, int depth) {
  w.depth = depth;
  mp_graph *g = mp_alloc(b->a, sizeof *g);
  *g = (mp_graph){.path = b->model->path,
                  .name = "",
                  .producer = b->model->producer,
                  .producer_version = b->model->producer_version,
                  .ir_version = b->model->ir_version};
  mp_rows r = {.build = b, .g = g};
  mp_frame frame = {.rows = &r, .outer = outer};
  if (outer) {
    g->outer = outer->rows->g;
    frame.opsets = outer->opsets;
    frame.opset_count = outer->opset_count;
    frame.caller = outer->function ? outer : outer->caller;
    frame.call = outer->call;
  } else {
    frame.opsets = b->model->opsets.at;
    frame.opset_count = b->model->opsets.n;
  }
  g->opsets = frame.opsets;
  g->opset_count = (uint32_t)frame.opset_count;
  for (size_t i = 0; i < frame.opset_count; i++)
    if (!frame.opsets[i].domain[0]) g->opset = frame.opsets[i].version;
  counts c = count(w);
  reserve(&r, c);
  frame.names = r.names;
  declare_all(&r, w, c);
  build_nodes(&frame, w);
  read_outputs(&frame, w, c);
  finish(&r, outer);
  return g;
}

/* ---- the stage ---- */

static void add_metas(mp_build *b, mp_graph *g, const mp_walk *graph) { /* the graph's, then the model's */
  uint32_t own;
  const mp_kv *first = mp_metas_read(b, *graph, protobuf_c_message_descriptor_get_field_by_name(graph->message, "metadata_props"), &own);
  mp_kv *all = mp_alloc_array(b->a, own + b->model->metas.n, sizeof *all);
  if (own) memcpy(all, first, own * sizeof *all);
  for (size_t i = 0; i < b->model->metas.n; i++) {
    mp_span key, value;
    mp_kv_read(mp_walk_span(&b->source, b->model->metas.at[i], &onnx__string_string_entry_proto__descriptor), &key, &value);
    all[own++] = (mp_kv){mp_word(b, key), mp_word(b, value)};
  }
  g->meta = all;
  g->metas = own;
}

typedef struct build_arg {
  const mp_model *model;
  const mp_graph_options *options;
} build_arg;

static const void *build_graph(mp_arena *a, void *arg) {
  const build_arg *in = arg;
  mp_build b = {.a = a, .model = in->model, .options = in->options};
  b.source = (mp_source){a, in->model->path, in->model->bytes, in->model->mapped};
  b.syms = mp_syms_new(a);
  b.words = mp_names_new(a, 64);
  b.value_metas = protobuf_c_message_descriptor_get_field_by_name(&onnx__value_info_proto__descriptor, "metadata_props");
  b.node_metas = protobuf_c_message_descriptor_get_field_by_name(&onnx__node_proto__descriptor, "metadata_props");
  b.locations = mp_names_new(a, 4);
  b.domains_missed = mp_names_new(a, 4);
  b.binding_used = mp_alloc_array(a, in->options ? in->options->binding_count : 0, sizeof *b.binding_used);
  b.functions = mp_alloc_array(a, in->model->functions.n, sizeof *b.functions);
  for (size_t i = 0; i < in->model->warnings.n; i++) mp_build_warn(&b, "%s", in->model->warnings.at[i]);
  mp_walk w = mp_walk_span(&b.source, in->model->graph, &onnx__graph_proto__descriptor);
  mp_graph *g = mp_rows_build(&b, w, NULL, 2);
  add_metas(&b, g, &w);
  mp_check_bindings(&b, g);
  g->warnings = b.warnings.at;
  g->warning_count = (uint32_t)b.warnings.n;
  mp_graph_infer(a, g, b.syms, in->options && in->options->from_scratch);
  return g;
}

const mp_graph *mp_graph_build(mp_arena *a, const mp_model *m, const mp_graph_options *o, mp_err *err) {
  if (!m) return NULL;
  build_arg arg = {m, o};
  return mp_protect(a, err, build_graph, &arg);
}
