#include "support_graph.h"

#include <ctype.h>

#include "onnx-ml.pb-c.h"

/* ---- the scanner ---- */

typedef struct draw {
  mp_arena *a;
  const char *at, *start;
} draw;

static void blanks(draw *d) { /* blanks, but not line ends: those separate statements */
  while (*d->at == ' ' || *d->at == '\t') d->at++;
}

static void skip_all(draw *d) {
  for (;; d->at++) {
    if (*d->at == '#')
      while (d->at[1] && d->at[1] != '\n') d->at++;
    else if (!isspace((unsigned char)*d->at) && *d->at != ';')
      return;
  }
}

_Noreturn static void wrong(const draw *d, const char *expected) {
  fail_msg("drawing: %s expected at '%.40s'", expected, d->at);
  abort();
}

static bool eat(draw *d, const char *token) {
  blanks(d);
  size_t n = strlen(token);
  if (strncmp(d->at, token, n)) return false;
  d->at += n;
  return true;
}

static void need(draw *d, const char *token) {
  if (!eat(d, token)) wrong(d, token);
}

static bool is_word(char c) { return isalnum((unsigned char)c) || (c && strchr("_./$", c)); }

static char *word(draw *d) {
  blanks(d);
  const char *p = d->at;
  while (is_word(*d->at)) d->at++;
  if (p == d->at) wrong(d, "a name");
  return mp_strndup(d->a, p, (size_t)(d->at - p));
}

static bool eat_word(draw *d, const char *w) {
  blanks(d);
  size_t n = strlen(w);
  if (strncmp(d->at, w, n) || is_word(d->at[n])) return false;
  d->at += n;
  return true;
}

static char *quoted(draw *d) {
  need(d, "\"");
  const char *p = d->at;
  while (*d->at && *d->at != '"') d->at++;
  char *s = mp_strndup(d->a, p, (size_t)(d->at - p));
  for (char *c = s; *c; c++)
    if (*c == '`') *c = '"';
  need(d, "\"");
  return s;
}

static double number(draw *d) {
  blanks(d);
  char *end;
  double x = strtod(d->at, &end);
  if (end == d->at) wrong(d, "a number");
  d->at = end;
  return x;
}

static long long integer(draw *d) {
  blanks(d);
  char *end;
  long long n = strtoll(d->at, &end, 10);
  if (end == d->at) wrong(d, "an integer");
  d->at = end;
  return n;
}

/* protobuf-c lists: n and pointers, grown one by one */
#define APPEND(d, list, count, item)                                    \
  do {                                                                  \
    void **fresh = mp_alloc_array((d)->a, (count) + 1, sizeof(void *)); \
    if (count) memcpy(fresh, (void *)(list), (count) * sizeof(void *)); \
    fresh[count] = (void *)(item);                                      \
    (list) = (void *)fresh;                                             \
    (count)++;                                                          \
  } while (0)
#define MAKE(d, T, init) ((T *)memcpy(mp_alloc((d)->a, sizeof(T)), &(T)init, sizeof(T)))

/* ---- types ---- */

static int32_t dtype(draw *d) {
  char *w = word(d);
  static const char *const aliases[][2] = {{"float", "float32"}, {"double", "float64"}, {"half", "float16"}};
  for (size_t i = 0; i < 3; i++)
    if (!strcmp(w, aliases[i][0])) w = (char *)(uintptr_t)aliases[i][1];
  for (int t = 1; t < MP_DTYPES; t++)
    if (!strcmp(w, mp_dtype_name((mp_dtype)t))) return t;
  d->at -= strlen(w);
  wrong(d, "a type");
}

static Onnx__TensorShapeProto *shape(draw *d) {
  if (!eat(d, "[")) return NULL;
  Onnx__TensorShapeProto *s = MAKE(d, Onnx__TensorShapeProto, ONNX__TENSOR_SHAPE_PROTO__INIT);
  while (!eat(d, "]")) {
    Onnx__TensorShapeProto__Dimension *x = MAKE(d, Onnx__TensorShapeProto__Dimension, ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT);
    blanks(d);
    if (eat(d, "?")) {
    } else if (isdigit((unsigned char)*d->at) || *d->at == '-') {
      x->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
      x->dim_value = integer(d);
    } else {
      x->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
      x->dim_param = word(d);
    }
    APPEND(d, s->dim, s->n_dim, x);
    eat(d, ",");
  }
  return s;
}

static Onnx__TypeProto *type(draw *d) {
  Onnx__TypeProto *t = MAKE(d, Onnx__TypeProto, ONNX__TYPE_PROTO__INIT);
  if (eat(d, "seq(")) {
    t->value_case = ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE;
    t->sequence_type = MAKE(d, Onnx__TypeProto__Sequence, ONNX__TYPE_PROTO__SEQUENCE__INIT);
    t->sequence_type->elem_type = type(d);
    need(d, ")");
  } else if (eat(d, "optional(")) {
    t->value_case = ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE;
    t->optional_type = MAKE(d, Onnx__TypeProto__Optional, ONNX__TYPE_PROTO__OPTIONAL__INIT);
    t->optional_type->elem_type = type(d);
    need(d, ")");
  } else if (eat(d, "map(")) {
    t->value_case = ONNX__TYPE_PROTO__VALUE_MAP_TYPE;
    t->map_type = MAKE(d, Onnx__TypeProto__Map, ONNX__TYPE_PROTO__MAP__INIT);
    t->map_type->has_key_type = 1;
    t->map_type->key_type = dtype(d);
    need(d, ",");
    t->map_type->value_type = type(d);
    need(d, ")");
  } else if (eat(d, "sparse(")) {
    t->value_case = ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE;
    t->sparse_tensor_type = MAKE(d, Onnx__TypeProto__SparseTensor, ONNX__TYPE_PROTO__SPARSE_TENSOR__INIT);
    t->sparse_tensor_type->has_elem_type = 1;
    t->sparse_tensor_type->elem_type = dtype(d);
    t->sparse_tensor_type->shape = shape(d);
    need(d, ")");
  } else {
    t->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    t->tensor_type = MAKE(d, Onnx__TypeProto__Tensor, ONNX__TYPE_PROTO__TENSOR__INIT);
    t->tensor_type->has_elem_type = 1;
    t->tensor_type->elem_type = dtype(d);
    t->tensor_type->shape = shape(d);
  }
  return t;
}

static Onnx__StringStringEntryProto *entry(draw *d, const char *key, const char *value) {
  Onnx__StringStringEntryProto *e = MAKE(d, Onnx__StringStringEntryProto, ONNX__STRING_STRING_ENTRY_PROTO__INIT);
  e->key = (char *)(uintptr_t)key;
  e->value = (char *)(uintptr_t)value;
  return e;
}

static Onnx__ValueInfoProto *value_info(draw *d, char *name, bool typed) {
  Onnx__ValueInfoProto *v = MAKE(d, Onnx__ValueInfoProto, ONNX__VALUE_INFO_PROTO__INIT);
  v->name = name;
  if (typed) v->type = type(d);
  while (eat(d, "meta.")) {
    char *key = word(d);
    need(d, "=");
    APPEND(d, v->metadata_props, v->n_metadata_props, entry(d, key, quoted(d)));
  }
  return v;
}

/* ---- tensors ---- */

static void put_number(Onnx__TensorProto *t, double x) { /* the lists have room */
  switch (t->data_type) {
    case MP_FLOAT:
      t->float_data[t->n_float_data++] = (float)x;
      break;
    case MP_DOUBLE:
      t->double_data[t->n_double_data++] = x;
      break;
    case MP_INT64:
      t->int64_data[t->n_int64_data++] = (int64_t)x;
      break;
    case MP_UINT32:
    case MP_UINT64:
      t->uint64_data[t->n_uint64_data++] = (uint64_t)x;
      break;
    default:
      t->int32_data[t->n_int32_data++] = (int32_t)x;
  }
}

static void put_raw(Onnx__TensorProto *t, double x) {
  unsigned n = mp_dtype_bits((mp_dtype)t->data_type) / 8;
  uint8_t *to = t->raw_data.data + t->raw_data.len;
  float f = (float)x;
  int64_t i = (int64_t)x;
  if (t->data_type == MP_FLOAT)
    memcpy(to, &f, n);
  else if (t->data_type == MP_DOUBLE)
    memcpy(to, &x, n);
  else
    memcpy(to, &i, n);
  t->raw_data.len += n;
}

static void payload(draw *d, Onnx__TensorProto *t, bool raw) {
  enum { MOST = 8192 };
  if (raw) {
    t->has_raw_data = 1;
    t->raw_data.data = mp_alloc_array(d->a, MOST, 8);
  } else {
    t->float_data = mp_alloc_array(d->a, MOST, sizeof *t->float_data);
    t->double_data = mp_alloc_array(d->a, MOST, sizeof *t->double_data);
    t->int64_data = mp_alloc_array(d->a, MOST, sizeof *t->int64_data);
    t->uint64_data = mp_alloc_array(d->a, MOST, sizeof *t->uint64_data);
    t->int32_data = mp_alloc_array(d->a, MOST, sizeof *t->int32_data);
  }
  for (int n = 0; !eat(d, "}"); n++) {
    if (n == MOST) wrong(d, "fewer numbers");
    (raw ? put_raw : put_number)(t, number(d));
    eat(d, ",");
  }
}

static Onnx__TensorProto *tensor(draw *d,
                                 char *name) { /* float[3,4], int64[2]{1, 2}, int64[2]raw{1, 2}, float[2]external{location, offset, length} */
  Onnx__TensorProto *t = MAKE(d, Onnx__TensorProto, ONNX__TENSOR_PROTO__INIT);
  t->name = name;
  t->has_data_type = 1;
  t->data_type = dtype(d);
  need(d, "[");
  t->dims = mp_alloc_array(d->a, 64, sizeof *t->dims);
  while (!eat(d, "]")) {
    t->dims[t->n_dims++] = integer(d);
    eat(d, ",");
  }
  if (eat(d, "external{")) {
    static const char *const keys[] = {"location", "offset", "length"};
    t->has_data_location = 1;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    for (int i = 0; !eat(d, "}"); i++) {
      APPEND(d, t->external_data, t->n_external_data, entry(d, keys[i % 3], word(d)));
      eat(d, ",");
    }
  } else if (eat(d, "raw{")) {
    payload(d, t, true);
  } else if (eat(d, "{")) {
    payload(d, t, false);
  }
  return t;
}

/* ---- nodes ---- */

static Onnx__GraphProto *graph(draw *d, const char *end, Onnx__ModelProto *model);

static bool starts_type(const draw *d) { /* int64[...] */
  const char *p = d->at;
  while (is_word(*p)) p++;
  return p > d->at && *p == '[';
}

static Onnx__AttributeProto *attribute(draw *d, char *name) {
  Onnx__AttributeProto *x = MAKE(d, Onnx__AttributeProto, ONNX__ATTRIBUTE_PROTO__INIT);
  x->name = name;
  x->has_type = 1;
  blanks(d);
  if (eat(d, "@")) {
    x->ref_attr_name = word(d);
    x->has_type = 0;
  } else if (*d->at == '"') {
    x->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
    char *s = quoted(d);
    x->has_s = 1;
    x->s = (ProtobufCBinaryData){strlen(s), (uint8_t *)s};
  } else if (eat(d, "{")) {
    x->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
    x->g = graph(d, "}", NULL);
  } else if (starts_type(d)) {
    x->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
    x->t = tensor(d, (char *)(uintptr_t) "");
  } else if (eat(d, "[")) {
    bool real = false, text = *d->at == '"';
    for (const char *p = d->at; *p && *p != ']'; p++) real |= *p == '.';
    x->type = text   ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS
              : real ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS
                     : ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
    x->ints = mp_alloc_array(d->a, 256, sizeof *x->ints);
    x->floats = mp_alloc_array(d->a, 256, sizeof *x->floats);
    x->strings = mp_alloc_array(d->a, 256, sizeof *x->strings);
    while (!eat(d, "]")) {
      if (text) {
        char *s = quoted(d);
        x->strings[x->n_strings++] = (ProtobufCBinaryData){strlen(s), (uint8_t *)s};
      } else if (real) {
        x->floats[x->n_floats++] = (float)number(d);
      } else {
        x->ints[x->n_ints++] = integer(d);
      }
      eat(d, ",");
    }
  } else {
    const char *p = d->at + strspn(d->at, "+-0123456789");
    if (*p == '.' || *p == 'e') {
      x->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
      x->has_f = 1;
      x->f = (float)number(d);
    } else {
      x->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
      x->has_i = 1;
      x->i = integer(d);
    }
  }
  return x;
}

static char *name_or_none(draw *d) {
  char *w = word(d);
  return strcmp(w, "_") ? w : (char *)(uintptr_t) "";
}

static void node_extras(draw *d, Onnx__NodeProto *n) {
  for (;;) {
    blanks(d);
    if (!is_word(*d->at)) return;
    char *key = word(d);
    need(d, "=");
    if (!strncmp(key, "meta.", 5))
      APPEND(d, n->metadata_props, n->n_metadata_props, entry(d, key + 5, quoted(d)));
    else if (!strcmp(key, "name"))
      n->name = quoted(d);
    else if (!strcmp(key, "doc"))
      n->doc_string = quoted(d);
    else
      APPEND(d, n->attribute, n->n_attribute, attribute(d, key));
  }
}

static Onnx__NodeProto *node(draw *d, char **outs, size_t n_outs) { /* Op(a, b) attr=... */
  Onnx__NodeProto *n = MAKE(d, Onnx__NodeProto, ONNX__NODE_PROTO__INIT);
  char *op = word(d), *dot = strrchr(op, '.');
  if (dot) *dot = 0;
  n->op_type = dot ? dot + 1 : op;
  if (dot) n->domain = op;
  if (eat(d, ":")) n->overload = word(d);
  n->output = outs;
  n->n_output = n_outs;
  need(d, "(");
  while (!eat(d, ")")) {
    APPEND(d, n->input, n->n_input, name_or_none(d));
    eat(d, ",");
  }
  node_extras(d, n);
  return n;
}

/* ---- graphs, functions, models ---- */

static Onnx__OperatorSetIdProto *opset(draw *d) { /* 13, com.microsoft 1 */
  Onnx__OperatorSetIdProto *o = MAKE(d, Onnx__OperatorSetIdProto, ONNX__OPERATOR_SET_ID_PROTO__INIT);
  blanks(d);
  if (!isdigit((unsigned char)*d->at)) o->domain = word(d);
  o->has_version = 1;
  o->version = integer(d);
  return o;
}

static void function(draw *d, Onnx__ModelProto *m) {
  Onnx__FunctionProto *f = MAKE(d, Onnx__FunctionProto, ONNX__FUNCTION_PROTO__INIT);
  char *name = word(d), *dot = strrchr(name, '.');
  if (dot) *dot = 0;
  f->name = dot ? dot + 1 : name;
  f->domain = dot ? name : (char *)(uintptr_t) "";
  if (eat(d, ":")) f->overload = word(d);
  need(d, "(");
  while (!eat(d, ")")) {
    APPEND(d, f->input, f->n_input, word(d));
    eat(d, ",");
  }
  while (!eat(d, "{")) {
    char *attr = word(d);
    if (eat(d, "="))
      APPEND(d, f->attribute_proto, f->n_attribute_proto, attribute(d, attr));
    else
      APPEND(d, f->attribute, f->n_attribute, attr);
  }
  Onnx__ModelProto inner = ONNX__MODEL_PROTO__INIT;
  Onnx__GraphProto *body = graph(d, "}", &inner);
  f->node = body->node;
  f->n_node = body->n_node;
  f->opset_import = inner.opset_import;
  f->n_opset_import = inner.n_opset_import;
  for (size_t i = 0; i < body->n_output; i++) APPEND(d, f->output, f->n_output, body->output[i]->name);
  APPEND(d, m->functions, m->n_functions, f);
}

static void outputs(draw *d, Onnx__GraphProto *g) {
  do {
    char *name = word(d);
    bool typed = eat(d, ":");
    APPEND(d, g->output, g->n_output, value_info(d, name, typed));
  } while (eat(d, ","));
}

static void defined(draw *d, Onnx__GraphProto *g) { /* x: type | w = tensor | a, b = Op(...) */
  char **names = NULL;
  size_t n = 0;
  do APPEND(d, names, n, name_or_none(d));
  while (eat(d, ","));
  if (eat(d, ":")) {
    APPEND(d, g->input, g->n_input, value_info(d, names[0], true));
    return;
  }
  need(d, "=");
  blanks(d);
  if (starts_type(d))
    APPEND(d, g->initializer, g->n_initializer, tensor(d, names[0]));
  else
    APPEND(d, g->node, g->n_node, node(d, names, n));
}

static Onnx__GraphProto *graph(draw *d, const char *end, Onnx__ModelProto *m) {
  Onnx__GraphProto *g = MAKE(d, Onnx__GraphProto, ONNX__GRAPH_PROTO__INIT);
  g->name = (char *)(uintptr_t) "drawing";
  for (skip_all(d); *end ? !eat(d, end) : *d->at; skip_all(d)) {
    if (!*d->at) wrong(d, end);
    if (eat(d, "->")) {
      outputs(d, g);
    } else if (eat_word(d, "info")) {
      char *name = word(d);
      need(d, ":");
      APPEND(d, g->value_info, g->n_value_info, value_info(d, name, true));
    } else if (m && eat_word(d, "opset")) {
      if (eat_word(d, "none"))
        m->model_version = -1;
      else
        APPEND(d, m->opset_import, m->n_opset_import, opset(d));
    } else if (m && eat_word(d, "ir")) {
      m->ir_version = integer(d);
    } else if (m && eat_word(d, "fun")) {
      function(d, m);
    } else if (eat_word(d, "graphmeta")) {
      char *key = word(d);
      need(d, "=");
      APPEND(d, g->metadata_props, g->n_metadata_props, entry(d, key, quoted(d)));
    } else if (m && eat_word(d, "modelmeta")) {
      char *key = word(d);
      need(d, "=");
      APPEND(d, m->metadata_props, m->n_metadata_props, entry(d, key, quoted(d)));
    } else {
      defined(d, g);
    }
  }
  return g;
}

const uint8_t *test_model(mp_arena *a, const char *drawing, size_t *n) {
  draw d = {a, drawing, drawing};
  Onnx__ModelProto m = ONNX__MODEL_PROTO__INIT;
  m.has_ir_version = 1;
  m.ir_version = 8;
  m.graph = graph(&d, "", &m);
  if (!m.n_opset_import && m.model_version != -1) {
    draw latest = {a, "17", "17"};
    APPEND(&d, m.opset_import, m.n_opset_import, opset(&latest));
  }
  uint8_t *bytes = mp_alloc(a, onnx__model_proto__get_packed_size(&m));
  *n = onnx__model_proto__pack(&m, bytes);
  return bytes;
}

/* ---- reading it back ---- */

const mp_graph *test_graph_with(mp_arena *a, const char *drawing, const mp_graph_options *o) {
  size_t n;
  const uint8_t *bytes = test_model(a, drawing, &n);
  mp_err err = {0};
  const mp_graph *g = mp_graph_build(a, mp_model_read_memory(a, "drawing", bytes, n, &err), o, &err);
  if (!g) fail_msg("%s", err.text);
  return g;
}

const mp_graph *test_graph(mp_arena *a, const char *drawing) { return test_graph_with(a, drawing, NULL); }

const char *test_graph_error(mp_arena *a, const char *drawing, const mp_graph_options *o) {
  size_t n;
  const uint8_t *bytes = test_model(a, drawing, &n);
  static mp_err err;
  err = (mp_err){0};
  const mp_graph *g = mp_graph_build(a, mp_model_read_memory(a, "drawing", bytes, n, &err), o, &err);
  if (g) fail_msg("no error from: %s", drawing);
  assert_int_equal(err.code, MP_BAD_INPUT);
  return err.text;
}

const mp_value *test_value(const mp_graph *g, const char *name) {
  for (uint32_t i = 0; i < g->value_count; i++)
    if (!strcmp(g->values[i].name, name)) return &g->values[i];
  fail_msg("no value '%s'", name);
  abort();
}

const mp_node *test_node(const mp_graph *g, const char *output) {
  const mp_value *v = test_value(g, output);
  if (v->producer < 0) fail_msg("'%s' has no producer", output);
  return &g->nodes[v->producer];
}

const char *test_shown(mp_arena *a, const mp_graph *g, const char *name) {
  static const char *const forms[] = {[MP_FORM_TENSOR] = "",
                                      [MP_FORM_SEQUENCE] = "sequence ",
                                      [MP_FORM_OPTIONAL] = "optional ",
                                      [MP_FORM_MAP] = "map ",
                                      [MP_FORM_SPARSE] = "sparse "};
  const mp_value *v = test_value(g, name);
  mp_text t = {0};
  mp_text_add(a, &t, "%s%s", forms[v->form], mp_dtype_name(v->dtype));
  if (v->rank >= 0) mp_text_add(a, &t, "[");
  for (int i = 0; i < v->rank; i++) mp_text_add(a, &t, "%s%s", i ? ", " : "", mp_int_text(a, v->dims[i]));
  if (v->rank >= 0) mp_text_add(a, &t, "]");
  if (!v->ints && !v->floats) return t.at;
  mp_text_add(a, &t, "{");
  for (uint32_t i = 0; i < v->contents; i++) {
    if (v->ints)
      mp_text_add(a, &t, "%s%s", i ? ", " : "", mp_int_text(a, v->ints[i]));
    else
      mp_text_add(a, &t, "%s%g", i ? ", " : "", v->floats[i]);
  }
  mp_text_add(a, &t, "}");
  return t.at;
}

bool test_warned(const mp_graph *g, const char *part) {
  for (uint32_t i = 0; i < g->warning_count; i++)
    if (strstr(g->warnings[i], part)) return true;
  return false;
}
