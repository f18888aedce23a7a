/* Declared types -> a value's form, dtype and dims; and what --dim binds.
 *
 * A dimension is a number (0 is legal), a name, or nothing; a negative number is nothing, as exporters write -1 for "not known". */
#include <stdio.h>
#include <string.h>

#include "onnx/model.h"

static mp_int named_dim(mp_build *b, mp_span name) {
  if (!name.n) return mp_int_unknown();
  const mp_graph_options *o = b->options;
  for (uint32_t i = 0; o && i < o->binding_count; i++)
    if (o->bindings[i].axis < 0 && mp_span_is(name, o->bindings[i].name)) {
      b->binding_used[i] = true;
      return mp_int_of(o->bindings[i].n);
    }
  return mp_syms_name(b->syms, mp_word(b, name));
}

static mp_int read_dim(mp_build *b, mp_walk w) {
  mp_int d = mp_int_unknown();
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->id) { /* the two share their place in the struct: the oneof's enum tells them apart */
      case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE: d = mp_bits_int(f.bits) < 0 ? mp_int_unknown() : mp_int_of(mp_bits_int(f.bits)); break;
      case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM: d = named_dim(b, mp_field_text(&f)); break;
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
        read_tensor_type(b, mp_walk_into(&w, &f), v, offsetof(Onnx__TypeProto__SparseTensor, elem_type), offsetof(Onnx__TypeProto__SparseTensor, shape));
        v->form = MP_FORM_SPARSE;
        break;
      case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE: read_inner(b, mp_walk_into(&w, &f), v, offsetof(Onnx__TypeProto__Sequence, elem_type), MP_FORM_SEQUENCE); break;
      case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE: read_inner(b, mp_walk_into(&w, &f), v, offsetof(Onnx__TypeProto__Optional, elem_type), MP_FORM_OPTIONAL); break;
      case ONNX__TYPE_PROTO__VALUE_MAP_TYPE: read_inner(b, mp_walk_into(&w, &f), v, offsetof(Onnx__TypeProto__Map, value_type), MP_FORM_MAP); break;
    }
}

void mp_value_type_read(mp_build *b, mp_walk w, mp_value *v) { read_type(b, w, v); }

/* ---- --dim INPUT:AXIS=N ---- */

static int32_t highest_axis(const mp_build *b, const mp_value *v) {
  int32_t high = -1;
  for (uint32_t i = 0; i < b->options->binding_count; i++) {
    const mp_binding *d = &b->options->bindings[i];
    if (d->axis > high && !strcmp(d->name, v->name)) high = d->axis;
  }
  return high;
}

/* An input of unknown rank gets one where every axis up to the highest is bound. */
static void rank_from_bindings(mp_build *b, mp_value *v) {
  int32_t high = highest_axis(b, v);
  if (high < 0 || high >= MP_MAX_RANK) return;
  v->dims = mp_alloc_array(b->a, (size_t)high + 1, sizeof *v->dims);
  v->rank = (int8_t)(high + 1);
  for (int32_t i = 0; i <= high; i++) v->dims[i] = mp_int_unknown();
  mp_build_warn(b, "input '%.100s' has no declared rank: taken as %d from --dim", v->name, high + 1);
}

void mp_bind_input(mp_build *b, mp_value *v) {
  const mp_graph_options *o = b->options;
  if (!o || !o->binding_count) return;
  if (v->rank < 0) rank_from_bindings(b, v);
  for (uint32_t i = 0; i < o->binding_count; i++) {
    const mp_binding *d = &o->bindings[i];
    if (d->axis < 0 || strcmp(d->name, v->name)) continue;
    if (v->rank >= 0 && d->axis >= v->rank)
      mp_fail(b->a, MP_BAD_INPUT, "%s: --dim %.200s:%d=%lld: input '%.100s' has %d dimension%s; give an axis from 0 to %d", b->source.label, d->name, d->axis,
              (long long)d->n, v->name, v->rank, v->rank == 1 ? "" : "s", v->rank - 1);
    if (v->rank < 0) continue; /* checked later: bound nothing */
    mp_int *dim = &v->dims[d->axis];
    if (mp_int_is_number(*dim) && dim->n != d->n)
      mp_fail(b->a, MP_BAD_INPUT, "%s: --dim %.200s:%d=%lld contradicts the file, where axis %d of input '%.100s' is %lld; leave it out, or export the model with another size",
              b->source.label, d->name, d->axis, (long long)d->n, d->axis, v->name, (long long)dim->n);
    *dim = mp_int_of(d->n);
    b->binding_used[i] = true;
  }
}

static void list_names(mp_build *b, const mp_graph *g, mp_text *t) {
  mp_names *seen = mp_names_new(b->a, 16);
  for (uint32_t i = 0; i < g->input_count && t->n < 300; i++) {
    const mp_value *v = &g->values[g->inputs[i]];
    for (int k = 0; k < v->rank; k++) {
      bool added = true;
      if (mp_int_is_number(v->dims[k])) continue;
      const char *name = mp_int_is_unknown(v->dims[k]) ? mp_format(b->a, "%.60s:%d", v->name, k) : mp_int_text(b->a, v->dims[k]);
      mp_names_add(b->a, seen, name, strlen(name), &added);
      if (added) mp_text_add(b->a, t, "%s'%.60s'", t->n ? ", " : "", name);
    }
  }
}

/* Every binding must have bound something, and one name has one number. */
void mp_check_bindings(mp_build *b, const mp_graph *g) {
  const mp_graph_options *o = b->options;
  for (uint32_t i = 0; o && i < o->binding_count; i++) {
    const mp_binding *d = &o->bindings[i];
    for (uint32_t k = 0; k < i; k++)
      if (o->bindings[k].axis == d->axis && !strcmp(o->bindings[k].name, d->name) && o->bindings[k].n != d->n)
        mp_fail(b->a, MP_BAD_INPUT, "%s: --dim gives '%.200s' twice, as %lld and %lld; give it once", b->source.label, d->name, (long long)o->bindings[k].n,
                (long long)d->n);
    if (b->binding_used[i]) continue;
    bool again = false; /* the same binding given twice */
    for (uint32_t k = 0; k < i; k++) again |= o->bindings[k].axis == d->axis && !strcmp(o->bindings[k].name, d->name);
    if (again) continue;
    mp_text t = {0};
    list_names(b, g, &t);
    char axis[16] = "";
    if (d->axis >= 0) snprintf(axis, sizeof axis, ":%d", d->axis);
    mp_fail(b->a, MP_BAD_INPUT, "%s: --dim %.200s%s=%lld binds nothing; open dimensions of the inputs: %s", b->source.label, d->name, axis, (long long)d->n,
            t.n ? t.at : "none, every one is a number");
  }
}
