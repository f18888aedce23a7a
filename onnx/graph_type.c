/* Declared types -> a value's form, dtype and dims, with --dim NAME=N applied where a name stands.
 *
 * A dimension is a number (0 is legal), a name, or nothing; a negative number is nothing, as exporters write -1 for "not known". */
#include <string.h>

#include "onnx/model.h"

static bool bound_dim(mp_build *b, mp_span name, mp_int *d) {
  const mp_graph_options *o = b->options;
  for (uint32_t i = 0; o && i < o->binding_count; i++)
    if (o->bindings[i].axis < 0 && mp_span_is(name, o->bindings[i].name)) {
      b->binding_used[i] = true;
      *d = mp_int_of(o->bindings[i].n);
      return true;
    }
  return false;
}

static mp_int dim_of_name(void *arg, const char *name, size_t n) {
  mp_build *b = arg;
  mp_span span = {(const uint8_t *)name, n};
  mp_int d;
  return bound_dim(b, span, &d) ? d : mp_syms_name(b->syms, mp_word(b, span));
}

static mp_int named_dim(mp_build *b, mp_span name) {
  mp_int d;
  if (!name.n) return mp_int_unknown();
  if (bound_dim(b, name, &d)) return d;
  const char *text = mp_word(b, name);
  d = mp_syms_parse(b->a, b->syms, text, dim_of_name, b);
  if (mp_int_is_number(d) && d.n < 0)
    mp_fail(b->a, MP_BAD_INPUT, "%s: dimension '%.200s' comes out as %lld; give larger numbers to --dim", b->source.label, text, (long long)d.n);
  return d;
}

static mp_int read_dim(mp_build *b, mp_walk w) {
  mp_int d = mp_int_unknown();
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->id) { /* the two share their place in the struct: the oneof's enum tells them apart */
      case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE:
        d = mp_bits_int(f.bits) < 0 ? mp_int_unknown() : mp_int_of(mp_bits_int(f.bits));
        break;
      case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM:
        d = named_dim(b, mp_field_text(&f));
        break;
    }
  return d;
}

static void read_shape(mp_build *b, mp_walk w, mp_value *v) {
  uint32_t n = 0;
  mp_walk count = w;
  for (mp_field f; mp_walk_next(&count, &f);) n += f.d->offset == offsetof(Onnx__TensorShapeProto, dim);
  if (n > MP_MAX_RANK) mp_walk_fail(&w, w.at, "a shape has more than 32 dimensions");
  v->dims = mp_alloc_array(b->a, n, sizeof *v->dims);
  v->rank = 0;
  for (mp_field f; mp_walk_next(&w, &f);)
    if (f.d->offset == offsetof(Onnx__TensorShapeProto, dim)) v->dims[v->rank++] = read_dim(b, mp_walk_into(&w, &f));
}

/* Tensor and SparseTensor have the same two fields, but not the same struct. */
static void read_tensor_type(mp_build *b, mp_walk w, mp_value *v, unsigned elem_type, unsigned shape) {
  for (mp_field f; mp_walk_next(&w, &f);) {
    if (f.d->offset == elem_type && f.bits < MP_DTYPES) v->dtype = (mp_dtype)f.bits;
    if (f.d->offset == shape) read_shape(b, mp_walk_into(&w, &f), v);
  }
}

static void read_type(mp_build *b, mp_walk w, mp_value *v);

static void read_inner(mp_build *b, mp_walk w, mp_value *v, unsigned inner, mp_value_form form) {
  for (mp_field f; mp_walk_next(&w, &f);)
    if (f.d->offset == inner) read_type(b, mp_walk_into(&w, &f), v);
  v->form = (uint8_t)form; /* the outermost container counts; dtype and dims are the innermost tensor's */
}

static void read_type(mp_build *b, mp_walk w, mp_value *v) {
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->id) {
      case ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE:
        read_tensor_type(b, mp_walk_into(&w, &f), v, offsetof(Onnx__TypeProto__Tensor, elem_type), offsetof(Onnx__TypeProto__Tensor, shape));
        break;
      case ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE:
        read_tensor_type(b, mp_walk_into(&w, &f), v, offsetof(Onnx__TypeProto__SparseTensor, elem_type),
                         offsetof(Onnx__TypeProto__SparseTensor, shape));
        v->form = MP_FORM_SPARSE;
        break;
      case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
        read_inner(b, mp_walk_into(&w, &f), v, offsetof(Onnx__TypeProto__Sequence, elem_type), MP_FORM_SEQUENCE);
        break;
      case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
        read_inner(b, mp_walk_into(&w, &f), v, offsetof(Onnx__TypeProto__Optional, elem_type), MP_FORM_OPTIONAL);
        break;
      case ONNX__TYPE_PROTO__VALUE_MAP_TYPE:
        read_inner(b, mp_walk_into(&w, &f), v, offsetof(Onnx__TypeProto__Map, value_type), MP_FORM_MAP);
        break;
    }
}

void mp_value_type_read(mp_build *b, mp_walk w, mp_value *v) { read_type(b, w, v); }
