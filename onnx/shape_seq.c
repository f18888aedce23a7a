/* Sequences and optionals. A sequence is described by what holds for every element (dtype, dims; rank not known where elements differ) and, as its
 * one integer of contents, its length. An empty sequence says nothing about elements: what joins it first decides. An optional of a sequence is
 * described as the sequence itself. */
#include "onnx/shape_tools.h"

static mp_int length(const mp_infer *c, int i) {
  const mp_int *n = mp_infer_length(c, i);
  return n ? *n : mp_int_unknown();
}

static bool is_empty(mp_int n) { return mp_int_is_number(n) && n.n == 0; }

static void set_sequence(mp_infer *c, int o, mp_dtype t, const mp_shape *element, mp_int n) {
  mp_infer_set(c, o, t, element && element->rank >= 0 ? element : NULL);
  mp_infer_set_form(c, o, MP_FORM_SEQUENCE);
  mp_infer_set_ints(c, o, &n, 1);
}

static void empty(mp_infer *c) {
  int64_t t = mp_infer_int(c, "dtype", MP_FLOAT);
  set_sequence(c, 0, t > 0 && t < MP_DTYPES ? (mp_dtype)t : MP_UNDEFINED, NULL, mp_num(0));
  mp_infer_no_cost(c);
}

static void construct(mp_infer *c) {
  mp_shape s, one;
  mp_infer_shape(c, 0, &s);
  for (int i = 1; i < mp_infer_ins(c); i++) {
    mp_infer_shape(c, i, &one);
    mp_shape_merge(&s, &one);
  }
  set_sequence(c, 0, mp_infer_dtype(c, 0), &s, mp_num(mp_infer_ins(c)));
  mp_infer_no_cost(c);
}

static void insert(mp_infer *c) {
  mp_shape s, one;
  mp_int n = length(c, 0);
  mp_infer_shape(c, 0, &s);
  mp_infer_shape(c, 1, &one);
  if (is_empty(n)) s = one;
  else mp_shape_merge(&s, &one);
  set_sequence(c, 0, mp_dtype_or(c, 1, 0), &s, mp_add_n(c, n, 1));
  mp_infer_no_cost(c);
}

static void erase(mp_infer *c) {
  mp_shape s;
  mp_int n = length(c, 0);
  mp_infer_shape(c, 0, &s);
  if (is_empty(n)) mp_infer_bad(c, "erases from an empty sequence");
  else set_sequence(c, 0, mp_infer_dtype(c, 0), &s, mp_add_n(c, n, -1));
  mp_infer_no_cost(c);
}

/* the node of this type that made the sequence: what it says of each element, no description of all of them does */
static const mp_node *made_by(const mp_infer *c, const char *type) {
  const mp_node *n = mp_infer_producer(c, 0);
  return n && !*n->domain && !strcmp(n->type, type) ? n : NULL;
}

/* element i of a list of tensors, or of parts whose sizes are listed */
static void element_shape(mp_infer *c, int64_t i, mp_shape *s) {
  const mp_node *list = made_by(c, "SequenceConstruct"), *parts = made_by(c, "SplitToSequence");
  if (list) {
    if (i < 0) i += list->ins;
    if (i >= 0 && i < list->ins) mp_shape_of_value(mp_infer_input_of(c, list, (int)i), s);
  }
  const mp_value *sizes = parts ? mp_infer_input_of(c, parts, 1) : NULL, *whole = parts ? mp_infer_input_of(c, parts, 0) : NULL;
  int64_t axis = parts ? mp_node_int(parts, "axis", 0) : 0;
  if (axis < 0) axis += s->rank;
  if (!sizes || !sizes->ints || !whole || whole->rank != s->rank || axis < 0 || axis >= s->rank) return;
  if (sizes->rank == 1) {
    if (i < 0) i += sizes->contents;
    if (i >= 0 && i < sizes->contents) s->dims[axis] = sizes->ints[i];
    return;
  }
  mp_int size = sizes->ints[0], all = whole->dims[axis]; /* one size for all but the last */
  if (!mp_int_is_number(size) || !mp_int_is_number(all) || size.n < 1 || i < 0 || i > all.n / size.n) return;
  s->dims[axis] = mp_num(all.n - i * size.n < size.n ? all.n - i * size.n : size.n);
}

static void at(mp_infer *c) {
  mp_shape s;
  int64_t i;
  mp_infer_shape(c, 0, &s);
  if (mp_scalar_int(c, 1, &i)) element_shape(c, i, &s);
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank < 0 ? NULL : &s);
  if (s.rank < 0) mp_infer_depends(c, 1, "the contents");
  mp_infer_no_cost(c);
}

static void count(mp_infer *c) {
  mp_int n = length(c, 0);
  mp_infer_set_scalar(c, 0, MP_INT64);
  mp_infer_set_ints(c, 0, &n, 1);
  mp_infer_no_cost(c);
}

/* Parts of one size where `split` is one number or absent (then 1); else as `split` lists them. */
static void split(mp_infer *c) {
  mp_shape s;
  int64_t axis = mp_infer_int(c, "axis", 0);
  mp_infer_shape(c, 0, &s);
  mp_infer_no_cost(c);
  if (s.rank < 0) {
    set_sequence(c, 0, mp_infer_dtype(c, 0), NULL, mp_int_unknown());
    return;
  }
  if (!mp_axis(c, &axis, s.rank)) return;
  mp_int whole = s.dims[axis], parts = mp_int_unknown(), size = mp_int_unknown();
  uint32_t n = 0;
  const mp_int *sizes = mp_infer_ints(c, 1, &n);
  if (!mp_infer_has(c, 1)) {
    parts = whole;
    size = mp_num(1);
  } else if (mp_infer_rank(c, 1) == 1) {
    if (mp_int_is_number(mp_infer_dim(c, 1, 0))) parts = mp_infer_dim(c, 1, 0);
    for (uint32_t i = 0; i < n; i++) size = i == 0 || mp_sym_equal(size, sizes[i]) ? sizes[i] : mp_int_unknown();
  } else if (sizes && n == 1 && mp_int_is_number(sizes[0]) && sizes[0].n > 0) {
    parts = mp_sym_ceil_div(c, whole, sizes[0]);
    mp_int rest = mp_sym_mod(c, whole, sizes[0]);
    if (mp_int_is_number(rest) && rest.n == 0) size = sizes[0];
  }
  s.dims[axis] = size;
  if (!mp_infer_has(c, 1) && !mp_infer_int(c, "keepdims", 1)) {
    memmove(&s.dims[axis], &s.dims[axis + 1], (size_t)(s.rank - 1 - axis) * sizeof *s.dims);
    s.rank--;
  }
  set_sequence(c, 0, mp_infer_dtype(c, 0), &s, parts);
}

static void concat(mp_infer *c) {
  mp_shape s;
  bool fresh = mp_infer_int(c, "new_axis", 0) != 0;
  int64_t axis = mp_infer_int(c, "axis", 0);
  mp_int n = length(c, 0);
  mp_infer_shape(c, 0, &s);
  mp_infer_no_cost(c);
  if (s.rank < 0) {
    mp_infer_set(c, 0, mp_infer_dtype(c, 0), NULL);
    return;
  }
  if (!mp_axis(c, &axis, s.rank + fresh)) return;
  const mp_node *list = made_by(c, "SequenceConstruct");
  if (!fresh && list && list->ins) {
    mp_int sum = mp_num(0);
    for (int i = 0; i < list->ins; i++) {
      mp_shape one;
      mp_shape_of_value(mp_infer_input_of(c, list, i), &one);
      sum = one.rank == s.rank ? mp_sym_add(c, sum, one.dims[axis]) : mp_int_unknown();
    }
    s.dims[axis] = sum;
  } else if (!fresh) s.dims[axis] = mp_sym_mul(c, s.dims[axis], n);
  else if (s.rank < MP_MAX_RANK) {
    memmove(&s.dims[axis + 1], &s.dims[axis], (size_t)(s.rank - axis) * sizeof *s.dims);
    s.dims[axis] = n;
    s.rank++;
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), &s);
}

/* The body runs once for each element of the first sequence; other sequences go along element by element, tensors as they are. */
static void map(mp_infer *c) {
  const mp_attr *body = mp_node_attr(mp_infer_node(c), "body");
  mp_int n = length(c, 0);
  if (!body || body->kind != MP_ATTR_GRAPH) return;
  for (int i = 0; i < mp_infer_ins(c); i++) {
    mp_shape s;
    uint32_t ints = 0;
    bool tensor = mp_infer_form(c, i) == MP_FORM_TENSOR;
    const mp_int *contents = tensor ? mp_infer_ints(c, i, &ints) : NULL;
    mp_infer_shape(c, i, &s);
    mp_infer_body_input(c, body->as.graph, (uint32_t)i, MP_FORM_TENSOR, mp_infer_dtype(c, i), s.rank < 0 ? NULL : &s, contents, ints);
  }
  mp_infer_body(c, body->as.graph);
  for (int o = 0; o < mp_infer_outs(c); o++) {
    mp_shape s;
    const mp_value *v = mp_infer_body_output(c, body->as.graph, (uint32_t)o);
    mp_shape_of_value(v, &s);
    if (mp_infer_wants(c, o)) set_sequence(c, o, v ? v->dtype : MP_UNDEFINED, &s, n);
  }
  mp_cost_body(c, body->as.graph, n);
}

/* ---- optionals ---- */

static void optional(mp_infer *c) {
  mp_infer_no_cost(c);
  if (!mp_infer_has(c, 0)) {
    mp_infer_set(c, 0, MP_UNDEFINED, NULL);
    mp_infer_set_form(c, 0, MP_FORM_OPTIONAL);
    return;
  }
  mp_int n = length(c, 0);
  mp_infer_same(c, 0, 0);
  if (mp_infer_form(c, 0) == MP_FORM_TENSOR) mp_infer_set_form(c, 0, MP_FORM_OPTIONAL);
  else mp_infer_set_ints(c, 0, &n, 1);
}

static void element(mp_infer *c) {
  mp_int n = length(c, 0);
  mp_infer_same(c, 0, 0);
  if (mp_infer_form(c, 0) == MP_FORM_OPTIONAL) mp_infer_set_form(c, 0, MP_FORM_TENSOR);
  else mp_infer_set_ints(c, 0, &n, 1);
  mp_infer_no_cost(c);
}

static void has_element(mp_infer *c) {
  mp_int yes = mp_num(mp_infer_has(c, 0));
  mp_infer_set_scalar(c, 0, MP_BOOL);
  if (!mp_infer_has(c, 0) || mp_infer_form(c, 0) == MP_FORM_TENSOR) mp_infer_set_ints(c, 0, &yes, 1);
  mp_infer_no_cost(c);
}

static const mp_op rows[] = {
  {"", "SequenceEmpty", 11, empty},
  {"", "SequenceConstruct", 11, construct},
  {"", "SequenceInsert", 11, insert},
  {"", "SequenceErase", 11, erase},
  {"", "SequenceAt", 11, at},
  {"", "SequenceLength", 11, count},
  {"", "SplitToSequence", 11, split},
  {"", "ConcatFromSequence", 11, concat},
  {"", "SequenceMap", 17, map},
  {"", "Optional", 15, optional},
  {"", "OptionalGetElement", 15, element},
  {"", "OptionalHasElement", 15, has_element},
};
const mp_op_table mp_ops_seq = {rows, sizeof rows / sizeof *rows};
