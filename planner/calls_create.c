/* Factories: tensors from nothing, or of another's shape. Nothing is kept. */
#include <string.h>

#include "planner/calls.h"

static mp_dtype dtype_among(mp_em *e) { /* the keyword stands at a different place in every schema */
  for (uint32_t i = 0; i < mp_c_count(e); i++)
    if (mp_arg_dtype_at(e, i) != MP_UNDEFINED) return mp_em_made_dtype(e, mp_arg_dtype_at(e, i));
  return MP_UNDEFINED;
}

/* the size argument at `at` (-1: none), else what the file says of the result */
static mp_ten made(mp_em *e, int at, mp_dtype t) {
  const mp_var *v = mp_c_out_var(e, 0);
  int64_t dims[MP_RANK];
  bool given = at >= 0 && (uint32_t)at < mp_c_count(e) && (mp_em_call(e)->args[at].kind == MP_ARG_INTS || mp_em_call(e)->args[at].kind == MP_ARG_INT);
  int rank = given ? (int)mp_c_ints(e, (uint32_t)at, dims, MP_RANK) : v ? v->rank : 0;
  if (!given && v && rank > 0) memcpy(dims, v->dims, (size_t)rank * sizeof *dims);
  if (t == MP_UNDEFINED) t = dtype_among(e);
  if (t == MP_UNDEFINED) t = v && !mp_dtype_is_float(v->dtype) && v->dtype != MP_UNDEFINED ? v->dtype : mp_em_made_dtype(e, MP_FLOAT);
  return mp_em_new(e, mp_em_call(e)->row->name, t, rank, dims);
}

static void f_sized(mp_em *e) { mp_c_out(e, 0, made(e, 0, MP_UNDEFINED)); }      /* zeros(size), rand(size) */
static void f_by_result(mp_em *e) { mp_c_out(e, 0, made(e, -1, MP_UNDEFINED)); } /* arange, linspace, eye, randint */
static void f_indices(mp_em *e) { mp_c_out(e, 0, made(e, -1, MP_INT64)); }

static void f_full(mp_em *e) { /* (size, value): an integer value makes integers */
  mp_dtype t = dtype_among(e);
  if (t == MP_UNDEFINED && mp_c_count(e) > 1)
    t = mp_em_call(e)->args[1].kind == MP_ARG_INT ? MP_INT64 : mp_em_call(e)->args[1].kind == MP_ARG_BOOL ? MP_BOOL : mp_em_made_dtype(e, MP_FLOAT);
  mp_c_out(e, 0, made(e, 0, t));
}
static void f_scalar_tensor(mp_em *e) {
  mp_dtype t = dtype_among(e);
  const mp_var *v = mp_c_out_var(e, 0);
  mp_c_out(e, 0,
           mp_em_scalar(e, "aten::scalar_tensor",
                        t != MP_UNDEFINED                                               ? t
                        : v && v->dtype != MP_UNDEFINED && !mp_dtype_is_float(v->dtype) ? v->dtype
                                                                                        : mp_em_made_dtype(e, MP_FLOAT)));
}
static void f_like(mp_em *e) { /* zeros_like(x), rand_like(x) */
  mp_dtype t = dtype_among(e);
  mp_ten x = mp_c_ten(e, 0);
  mp_c_out(e, 0, mp_em_new_like_dtype(e, mp_em_call(e)->row->name, x, t != MP_UNDEFINED ? t : mp_em_info(e, x)->dtype));
}
static void f_new(mp_em *e) { /* new_zeros(x, size) */
  mp_dtype t = dtype_among(e);
  mp_c_out(e, 0, made(e, 1, t != MP_UNDEFINED ? t : mp_em_info(e, mp_c_ten(e, 0))->dtype));
}

/* ---- fill: a constant over x's shape; in place it is x ---- */

static void fill_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (g >= 0) mp_bw_give(b, 0, mp_kernel1(e, "aten::zeros_like", g));
}
static const mp_grad fill_grad = {"FillBackward0", fill_backward};
static void f_fill(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  if (mp_em_call(e)->in_place) {
    mp_c_out(e, 0, x);
    return;
  }
  mp_ten y = mp_em_new_like(e, mp_em_call(e)->row->name, x);
  mp_record(e, &fill_grad, MP_TENS(x), MP_NO_TENS, MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}

/* ---- copy(x, source): copy_ writes into x, whose history is then the source's ---- */

static void copy_backward(mp_em *e, mp_bw *b) { /* inputs x, source */
  mp_ten g = mp_bw_grad(b, 0);
  if (g < 0) return;
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, mp_kernel1(e, "aten::zeros_like", g));
  mp_bw_give(b, 1, g);
}
static const mp_grad copy_grad = {"CopyBackwards", copy_backward};
static void f_copy(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0), from = mp_c_ten(e, 1);
  size_t s = mp_em_enter(e);
  bool in_place = mp_em_call(e)->in_place;
  mp_ten y = in_place ? mp_write(e, x) : mp_em_new_like(e, "aten::copy", x);
  mp_record(e, &copy_grad, MP_TENS(x, from), MP_NO_TENS, MP_NO_INTS, y);
  if (in_place)
    mp_written(e, x, y);
  else
    mp_c_out(e, 0, y);
  mp_em_leave(e, s, MP_NO_TENS);
}

/* ---- tril, triu ---- */

static void tril_backward(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (g >= 0) mp_bw_give(b, 0, mp_kernel1(e, "aten::tril", g));
}
static const mp_grad tril_grad = {"TrilBackward0", tril_backward}, triu_grad = {"TriuBackward0", tril_backward};
static void f_tril(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  mp_ten y = mp_em_new(e, mp_em_call(e)->row->name, i.dtype, i.rank, i.dims);
  mp_record(e, strstr(mp_em_call(e)->row->name, "tril") ? &tril_grad : &triu_grad, MP_TENS(x), MP_NO_TENS, MP_NO_INTS, y);
  mp_c_out(e, 0, y);
}

/* ---- integers from values ---- */

static void f_one_hot(mp_em *e) { /* (x, classes) */
  mp_tensor_info i = *mp_em_info(e, mp_c_ten(e, 0));
  int64_t n = mp_c_int(e, 1, -1);
  const mp_var *v = mp_c_out_var(e, 0);
  if (n < 0 && v && v->rank) n = v->dims[v->rank - 1];
  if (n < 0 || i.rank >= MP_RANK) mp_fail(mp_em_arena(e), MP_BAD_INPUT, "aten::one_hot: the number of classes is not known; give it in the model");
  i.dims[i.rank] = n;
  mp_c_out(e, 0, mp_em_new(e, "aten::one_hot", MP_INT64, i.rank + 1, i.dims));
}
static void ranked(mp_em *e, uint32_t at) {
  mp_ten x = mp_c_is_ten(e, at) ? mp_c_ten(e, at) : -1;
  mp_c_out(e, 0, mp_kernel(e, mp_em_call(e)->row->name, MP_INT64, MP_TENS(x)));
}
static void f_bucketize(mp_em *e) { ranked(e, 0); }
static void f_searchsorted(mp_em *e) { ranked(e, 1); }
static void f_isin(mp_em *e) { mp_c_out(e, 0, mp_kernel(e, "aten::isin", MP_BOOL, MP_TENS(mp_c_is_ten(e, 0) ? mp_c_ten(e, 0) : -1))); }

#define FACTORY(NAME, FORWARD) \
  { "aten::" NAME, FORWARD, MP_CAST_NONE, "" }
static const mp_call_row rows[] = {
    FACTORY("zeros", f_sized),
    FACTORY("ones", f_sized),
    FACTORY("empty", f_sized),
    FACTORY("empty_strided", f_sized),
    FACTORY("rand", f_sized),
    FACTORY("randn", f_sized),
    FACTORY("full", f_full),
    FACTORY("scalar_tensor", f_scalar_tensor),
    FACTORY("arange", f_by_result),
    FACTORY("linspace", f_by_result),
    FACTORY("logspace", f_by_result),
    FACTORY("eye", f_by_result),
    FACTORY("normal", f_by_result),
    FACTORY("hann_window", f_by_result),
    FACTORY("randint", f_indices),
    FACTORY("randperm", f_indices),
    FACTORY("multinomial", f_indices),
    FACTORY("tril_indices", f_indices),
    FACTORY("triu_indices", f_indices),
    FACTORY("bincount", f_indices),
    FACTORY("zeros_like", f_like),
    FACTORY("ones_like", f_like),
    FACTORY("full_like", f_like),
    FACTORY("empty_like", f_like),
    FACTORY("rand_like", f_like),
    FACTORY("randn_like", f_like),
    FACTORY("randint_like", f_like),
    FACTORY("normal_functional", f_like),
    FACTORY("uniform", f_like),
    FACTORY("exponential", f_like),
    FACTORY("new_zeros", f_new),
    FACTORY("new_ones", f_new),
    FACTORY("new_full", f_new),
    FACTORY("new_empty", f_new),
    FACTORY("fill", f_fill),
    FACTORY("zero", f_fill),
    FACTORY("copy", f_copy),
    FACTORY("tril", f_tril),
    FACTORY("triu", f_tril),
    FACTORY("one_hot", f_one_hot),
    FACTORY("bucketize", f_bucketize),
    FACTORY("searchsorted", f_searchsorted),
    FACTORY("isin", f_isin),
};
const mp_call_table mp_calls_create = {rows, MP_COUNT(rows)};
