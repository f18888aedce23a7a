/* One NodeProto -> one row, or the rows of the function that it calls. */
#include <string.h>

#include "onnx/model.h"

/* ---- metadata ---- */

static const mp_kv *read_metas(mp_build *b, mp_walk w, const ProtobufCFieldDescriptor *metas, size_t n) {
  if (!n) return NULL;
  mp_kv *kv = mp_alloc_array(b->a, n, sizeof *kv);
  size_t at = 0;
  for (mp_field f; mp_walk_next(&w, &f);) {
    if (f.d != metas) continue;
    mp_span key, value;
    mp_kv_read(mp_walk_into(&w, &f), &key, &value);
    kv[at++] = (mp_kv){mp_word(b, key), mp_word(b, value)};
  }
  return kv;
}

const mp_kv *mp_metas_read(mp_build *b, mp_walk w, const ProtobufCFieldDescriptor *metas, uint32_t *n) {
  size_t total = 0;
  mp_walk count = w;
  for (mp_field f; metas && mp_walk_next(&count, &f);) total += f.d == metas;
  if (total > UINT32_MAX) mp_walk_fail(&w, w.at, "too many metadata entries");
  *n = (uint32_t)total;
  return read_metas(b, w, metas, total);
}

/* ---- attributes ---- */

typedef struct found { /* what an AttributeProto holds, before its kind is known */
  mp_span name, ref, s;
  mp_field t, g, sparse;
  uint64_t type, f, i;
  size_t floats, ints, strings;
  bool has_f, has_i, has_s, other;
} found;

static size_t numbers_in(const mp_field *f) { /* how many a packed field holds; a varint ends with a byte below 128 */
  if (!f->packed) return 1;
  if (f->d->type == PROTOBUF_C_TYPE_FLOAT) return f->span.n / 4;
  size_t n = 0;
  for (size_t i = 0; i < f->span.n; i++) n += f->span.at[i] < 128;
  return n;
}

static found look(mp_walk w) {
  found a = {0};
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->offset) {
      case offsetof(Onnx__AttributeProto, name):
        a.name = mp_field_name(&w, &f);
        break;
      case offsetof(Onnx__AttributeProto, ref_attr_name):
        a.ref = mp_field_name(&w, &f);
        break;
      case offsetof(Onnx__AttributeProto, type):
        a.type = f.bits;
        break;
      case offsetof(Onnx__AttributeProto, f):
        a.f = f.bits, a.has_f = true;
        break;
      case offsetof(Onnx__AttributeProto, i):
        a.i = f.bits, a.has_i = true;
        break;
      case offsetof(Onnx__AttributeProto, s):
        a.s = f.span, a.has_s = true;
        break;
      case offsetof(Onnx__AttributeProto, t):
        a.t = f;
        break;
      case offsetof(Onnx__AttributeProto, g):
        a.g = f;
        break;
      case offsetof(Onnx__AttributeProto, sparse_tensor):
        a.sparse = f;
        break;
      case offsetof(Onnx__AttributeProto, floats):
        a.floats += numbers_in(&f);
        break;
      case offsetof(Onnx__AttributeProto, ints):
        a.ints += numbers_in(&f);
        break;
      case offsetof(Onnx__AttributeProto, strings):
        a.strings++;
        break;
    }
  return a;
}

/* IR versions 1 and 2 may leave the type out: then what is there says it. */
static uint64_t type_of(const found *a) {
  if (a->type) return a->type;
  if (a->t.d) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
  if (a->g.d) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
  if (a->ints) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
  if (a->floats) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS;
  if (a->strings) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS;
  if (a->has_i) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
  if (a->has_f) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
  return a->has_s ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING : 0;
}

static void read_list(mp_arena *a, mp_walk w, unsigned offset, size_t n, mp_attr *to) {
  int64_t *ints = to->kind == MP_ATTR_INTS ? mp_alloc_array(a, n, sizeof *ints) : NULL;
  double *floats = to->kind == MP_ATTR_FLOATS ? mp_alloc_array(a, n, sizeof *floats) : NULL;
  const char **strings = to->kind == MP_ATTR_STRINGS ? mp_alloc_array(a, n, sizeof *strings) : NULL;
  for (mp_field f; mp_walk_next(&w, &f);) {
    if (f.d->offset != offset) continue;
    if (strings) {
      strings[to->n++] = f.span.n ? mp_strndup(a, (const char *)f.span.at, f.span.n) : "";
      continue;
    }
    for (uint64_t bits; to->n < n && mp_field_take(&w, &f, &bits); to->n++) {
      if (ints)
        ints[to->n] = mp_bits_int(bits);
      else
        floats[to->n] = mp_bits_float(bits);
    }
  }
  if (ints)
    to->as.ints = ints;
  else if (floats)
    to->as.floats = floats;
  else
    to->as.strings = strings;
}

static const mp_attr *attr_of(const mp_node *call, const mp_function *fn, mp_span name) {
  for (int i = 0; call && i < call->attrs; i++)
    if (mp_span_is(name, call->attr[i].name)) return &call->attr[i];
  for (size_t i = 0; fn && i < fn->defaults.n; i++)
    if (mp_span_is(name, fn->defaults.at[i].name)) return &fn->defaults.at[i];
  return NULL;
}

/* An attribute of a function's node that stands for one of the call. */
static bool refer(const mp_frame *f, const found *a, mp_attr *to) {
  const mp_frame *in = f;
  while (in && !in->function) in = in->outer; /* subgraphs of a function see its attributes */
  const mp_attr *given = in ? attr_of(in->call, in->function, a->ref) : NULL;
  if (!given) return false;
  const char *name = to->name;
  *to = *given;
  to->name = name;
  if (to->kind == MP_ATTR_GRAPH && to->as.graph->outer != f->rows->g)
    mp_fail(f->rows->build->a, MP_BAD_INPUT,
            "%s: attribute '%.100s' passes a graph into a graph inside a function, which memplan does not follow; inline the functions first",
            f->rows->build->source.label, name);
  return true;
}

bool mp_attr_read(const mp_frame *f, mp_walk w, mp_attr *to) {
  mp_build *b = f->rows->build;
  found a = look(w);
  if (!a.name.n) mp_walk_fail(&w, w.at, "an attribute has no name");
  *to = (mp_attr){.name = mp_word(b, a.name)};
  if (a.ref.n) return refer(f, &a, to);
  switch (type_of(&a)) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
      to->kind = MP_ATTR_INT;
      to->as.i = mp_bits_int(a.i);
      break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
      to->kind = MP_ATTR_FLOAT;
      to->as.f = mp_bits_float(a.f);
      break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
      to->kind = MP_ATTR_STRING;
      to->n = a.s.n > UINT32_MAX ? UINT32_MAX : (uint32_t)a.s.n;
      to->as.string = mp_strndup(b->a, (const char *)a.s.at, to->n);
      break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
      to->kind = MP_ATTR_INTS;
      read_list(b->a, w, offsetof(Onnx__AttributeProto, ints), a.ints, to);
      break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
      to->kind = MP_ATTR_FLOATS;
      read_list(b->a, w, offsetof(Onnx__AttributeProto, floats), a.floats, to);
      break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS:
      to->kind = MP_ATTR_STRINGS;
      read_list(b->a, w, offsetof(Onnx__AttributeProto, strings), a.strings, to);
      break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR: {
      const mp_field *tensor = a.t.d ? &a.t : &a.sparse;
      if (!tensor->d) break;
      mp_tensor *t = mp_alloc(b->a, sizeof *t);
      (a.t.d ? mp_tensor_read : mp_sparse_read)(b, mp_walk_into(&w, tensor), t);
      to->kind = MP_ATTR_TENSOR;
      to->as.tensor = t;
      break;
    }
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH:
      if (!a.g.d) break;
      to->kind = MP_ATTR_GRAPH;
      to->as.graph = mp_rows_build(b, mp_walk_into(&w, &a.g), f, w.depth + 1);
      break;
    default:
      to->kind = MP_ATTR_OTHER;
  }
  return true;
}

/* ---- the node ---- */

typedef struct header {
  mp_span type, domain, name, overload, doc;
  size_t ins, outs, attrs, metas;
} header;

static header read_header(mp_walk w, const ProtobufCFieldDescriptor *metas) {
  header h = {0};
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->offset) {
      case offsetof(Onnx__NodeProto, input):
        h.ins++;
        break;
      case offsetof(Onnx__NodeProto, output):
        h.outs++;
        break;
      case offsetof(Onnx__NodeProto, attribute):
        h.attrs++;
        break;
      case offsetof(Onnx__NodeProto, op_type):
        h.type = mp_field_name(&w, &f);
        break;
      case offsetof(Onnx__NodeProto, domain):
        h.domain = mp_domain_of(mp_field_name(&w, &f));
        break;
      case offsetof(Onnx__NodeProto, name):
        h.name = mp_field_text(&f);
        break;
      case offsetof(Onnx__NodeProto, doc_string):
        h.doc = mp_field_text(&f);
        break;
      default:
        if (f.d == metas)
          h.metas++;
        else if (!strcmp(f.d->name, "overload"))
          h.overload = mp_field_name(&w, &f); /* not in the oldest schema that is supported */
    }
  return h;
}

static int32_t opset_of(const mp_frame *f, const char *domain) {
  for (size_t i = 0; i < f->opset_count; i++)
    if (!strcmp(f->opsets[i].domain, domain)) return (int32_t)f->opsets[i].version;
  mp_build *b = f->rows->build;
  bool added;
  mp_names_add(b->a, b->domains_missed, domain, strlen(domain), &added);
  if (added) mp_build_warn(b, "operators of domain '%.100s' are used without an opset import: read as of version 1", domain[0] ? domain : "ai.onnx");
  return 1;
}

static int32_t find_input(const mp_frame *f, const mp_node *n, mp_span name) {
  if (!name.n) return -1;
  int32_t v = mp_frame_find(f, name);
  if (v == MP_NOT_FOUND)
    mp_fail(f->rows->build->a, MP_BAD_INPUT,
            "%s: node '%.200s' (%.60s) reads '%.*s', which no node, input or initializer makes; the file is incomplete: export it again",
            f->rows->build->source.label, n->name, n->type, (int)(name.n < 200 ? name.n : 200), (const char *)name.at);
  if (v >= 0) {
    const mp_value *from = &f->rows->values.at[v];
    if (from->kind == MP_VALUE_NODE && from->producer < 0) f->rows->unsorted = true;
  }
  return v;
}

/* Inputs and outputs share one piece of memory. */
static void read_links(const mp_frame *f, mp_walk w, mp_node *n, int32_t *links) {
  int32_t *in = links, *out = links + n->ins;
  mp_rows *r = f->rows;
  n->in = in;
  n->out = out;
  for (mp_field x; mp_walk_next(&w, &x);) switch (x.d->offset) {
      case offsetof(Onnx__NodeProto, input):
        *in++ = find_input(f, n, mp_field_name(&w, &x));
        break;
      case offsetof(Onnx__NodeProto, output):
        *out++ = !x.span.n ? -1 : f->function ? mp_frame_find(f, x.span) : r->made.at[r->next_made++];
        break;
    }
}

static void read_attrs(const mp_frame *f, mp_walk w, mp_node *n, size_t count) {
  mp_attr *attr = mp_alloc_array(f->rows->build->a, count, sizeof *attr);
  n->attr = attr;
  for (mp_field x; mp_walk_next(&w, &x);)
    if (x.d->offset == offsetof(Onnx__NodeProto, attribute)) n->attrs = (uint16_t)(n->attrs + mp_attr_read(f, mp_walk_into(&w, &x), &attr[n->attrs]));
}

/* Inside functions: the call's name, then the node's own or its operator. */
static const char *name_in(const mp_frame *f, mp_span name, mp_span type) {
  mp_arena *a = f->rows->build->a;
  const mp_frame *in = f;
  while (in && !in->function) in = in->outer;
  if (!in) return name.n ? mp_strndup(a, (const char *)name.at, name.n) : "";
  if (!name.n) name = type;
  return mp_format(a, "%s%.*s", in->prefix, (int)(name.n < 4096 ? name.n : 4096), (const char *)name.at);
}

/* The row goes behind the others; its outputs now know who makes them. */
void mp_node_add(const mp_frame *f, const mp_node *given) {
  mp_node n = *given;
  n.opset = opset_of(f, n.domain);
  n.op = mp_op_find(n.domain, n.type, n.opset);
  int32_t at = (int32_t)f->rows->nodes.n;
  for (int i = 0; i < n.outs; i++) {
    if (n.out[i] < 0) continue;
    mp_value *v = &f->rows->values.at[n.out[i]];
    int32_t name = v->producer <= MP_STANDS_FOR(0) ? MP_STANDS_FOR(v->producer) : n.out[i];
    /* a Constant counts as an initializer: of several the last one counts, wherever it stands (ONNX Runtime, Graph's constructor) */
    if ((uint32_t)name < f->rows->current_count && strcmp(n.type, "Constant")) f->rows->current[name] = n.out[i];
    v->producer = at;
    v->slot = i;
  }
  *mp_push(f->rows->build->a, &f->rows->nodes) = n;
}

void mp_node_build(const mp_frame *f, mp_walk w) {
  mp_build *b = f->rows->build;
  header h = read_header(w, b->node_metas);
  if (!h.type.n) mp_walk_fail(&w, w.at, "a node has no operator type");
  if (h.ins > UINT16_MAX || h.outs > UINT16_MAX || h.attrs > UINT16_MAX || h.metas > UINT16_MAX)
    mp_walk_fail(&w, w.at, "a node has more than 65535 inputs, outputs, attributes or metadata entries");
  mp_node n = {.type = mp_word(b, h.type), .domain = mp_word(b, h.domain), .doc = mp_word(b, h.doc), .name = name_in(f, h.name, h.type)};
  n.ins = (uint16_t)h.ins;
  n.outs = (uint16_t)h.outs;
  read_links(f, w, &n, mp_alloc_array(b->a, h.ins + h.outs, sizeof(int32_t)));
  if (h.attrs) read_attrs(f, w, &n, h.attrs);
  n.meta = read_metas(b, w, b->node_metas, h.metas);
  n.metas = (uint16_t)h.metas;
  if (!h.metas && f->call) { /* a function's node without metadata of its own stands for the call */
    n.meta = f->call->meta;
    n.metas = f->call->metas;
  }
  const mp_function *fn = b->model->functions.n ? mp_function_find(b, h.domain, h.type, h.overload) : NULL;
  if (fn) {
    mp_function_inline(f, fn, &n, w.depth);
    return;
  }
  mp_node_add(f, &n);
}
