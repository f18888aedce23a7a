/* Rows of calls that move data into a new tensor: copies, joins, gathers and scatters. */
#include <string.h>

#include "planner/calls.h"
#include "planner/em.h"

static void clone(mp_em *e) { /* clone(x, memory_format): without a format, or preserve_format, the strides stay */
  const char *format = mp_c_str(e, 1);
  mp_c_out(e, 0, mp_op_clone(e, mp_c_ten(e, 0), format && strstr(format, "contiguous")));
}
static void contiguous(mp_em *e) { mp_c_out(e, 0, mp_op_contiguous(e, mp_c_ten(e, 0))); }

static mp_dtype dtype_among(mp_em *e, mp_dtype otherwise) {
  for (uint32_t i = 1; i < mp_c_count(e); i++)
    if (mp_c_dtype(e, i, MP_UNDEFINED) != MP_UNDEFINED) return mp_c_dtype(e, i, otherwise);
  return otherwise;
}
/* to(x, dtype) in all its forms; a pure half run turns every .float() of the file's float32 into what the source says: float32 stays float32 */
static void to(mp_em *e) {
  mp_ten x = mp_c_ten(e, 0);
  mp_c_out(e, 0, mp_op_to(e, x, dtype_among(e, mp_em_info(e, x)->dtype)));
}
static void type_as(mp_em *e) { mp_c_out(e, 0, mp_op_to(e, mp_c_ten(e, 0), mp_em_info(e, mp_c_ten(e, 1))->dtype)); }

/* ---- joins ---- */

#define MOST 1024
/* narrow views of the gradient, one for each operand; FunctionsManual.cpp, cat_tensors_backward and stack's unbind */
static void back_cat(mp_em *e, mp_bw *b) {
  int64_t dim = mp_bw_meta(b)[0], at = 0;
  bool stacked = mp_bw_meta(b)[1];
  mp_ten g = mp_bw_grad(b, 0);
  uint32_t n = e->fns.at[b->fn].edge_count;
  for (uint32_t k = 0; k < n; k++) {
    int64_t size = stacked ? 1 : mp_bw_input(b, k)->dims[dim];
    if (mp_bw_wants(b, k)) mp_bw_give(b, k, stacked ? mp_op_select(e, g, dim, at) : mp_op_slice(e, g, dim, at, at + size, 1));
    at += size;
  }
}
static const mp_grad grad_cat = {"CatBackward0", back_cat}, grad_stack = {"StackBackward0", back_cat};

static uint32_t operands(mp_em *e, mp_ten *x) {
  uint32_t n = mp_c_tens(e, 0, x, MOST), m = 0;
  for (uint32_t k = 0; k < n; k++) {
    const mp_tensor_info *i = mp_em_info(e, x[k]);
    if (!(i->rank == 1 && i->dims[0] == 0)) x[m++] = x[k]; /* the empty tensor that cat has always let pass */
  }
  if (m < 1) mp_fail(e->a, MP_BAD_INPUT, "%s of no tensors; the recovered program is wrong here", e->c->row->name);
  return m;
}
/* the kernel converts narrower operands itself, under autocast too */
static mp_dtype widest(mp_em *e, const mp_ten *x, uint32_t n) {
  mp_dtype t = mp_em_info(e, x[0])->dtype;
  for (uint32_t k = 1; k < n; k++) {
    mp_dtype u = mp_em_info(e, x[k])->dtype;
    if (mp_dtype_is_float(u) != mp_dtype_is_float(t) ? mp_dtype_is_float(u) : mp_dtype_bits(u) > mp_dtype_bits(t)) t = u;
  }
  return t;
}

/* all in one memory format, or none is kept: cat_compute_output_memory_format of TensorShape.cpp */
static bool all_channels_last(mp_em *e, const mp_ten *x, uint32_t n) {
  for (uint32_t k = 0; k < n; k++)
    if (!mp_is_channels_last(mp_em_info(e, x[k]))) return false;
  return true;
}

static void joined(mp_em *e, bool stacked) {
  mp_ten x[MOST];
  uint32_t n = operands(e, x);
  mp_tensor_info i = *mp_em_info(e, x[0]);
  int64_t dim = mp_c_int(e, 1, 0), dims[MP_RANK + 1];
  int rank = i.rank + stacked;
  dim = mp_em_axis(e, dim, rank);
  for (int k = 0; k < rank; k++) dims[k] = i.dims[stacked && k > dim ? k - 1 : k];
  dims[dim] = 0;
  for (uint32_t k = 0; k < n; k++) dims[dim] += stacked ? 1 : mp_em_info(e, x[k])->dims[dim];
  mp_ten r = mp_em_new_format(e, stacked ? "aten::stack" : "aten::cat", widest(e, x, n), rank, dims, !stacked && all_channels_last(e, x, n));
  if (mp_fn_begin(e, stacked ? &grad_stack : &grad_cat, x, n)) {
    mp_fn_meta(e, (int64_t[]){dim, stacked}, 2);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  mp_c_out(e, 0, r);
}
static void cat(mp_em *e) { joined(e, false); }
static void stack(mp_em *e) { joined(e, true); }

/* ---- copies with a pattern: one new tensor forward, one backward ---- */

static void fresh(mp_em *e, const char *op, const mp_grad *row, int rank, const int64_t *dims) {
  mp_ten x = mp_c_ten(e, 0), r = mp_em_new(e, op, mp_em_info(e, x)->dtype, rank, dims);
  if (mp_fn_begin(e, row, &x, 1)) {
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  mp_c_out(e, 0, r);
}
static void back_like(mp_em *e, mp_bw *b, const char *op) {
  mp_tensor_info in = *mp_bw_input(b, 0);
  mp_bw_give(b, 0, mp_em_new(e, op, mp_em_info(e, mp_bw_grad(b, 0))->dtype, in.rank, in.dims));
}
static void back_repeat(mp_em *e, mp_bw *b) { back_like(e, b, "aten::sum.dim_IntList"); }
static void back_roll(mp_em *e, mp_bw *b) { back_like(e, b, "aten::roll"); }
static void back_flip(mp_em *e, mp_bw *b) { back_like(e, b, "aten::flip"); }
static const mp_grad grad_repeat = {"RepeatBackward0", back_repeat}, grad_roll = {"RollBackward0", back_roll}, grad_flip = {"FlipBackward0", back_flip};

static void repeat(mp_em *e) {
  mp_tensor_info i = *mp_em_info(e, mp_c_ten(e, 0));
  int64_t times[MP_RANK], dims[MP_RANK];
  uint32_t n = mp_c_ints(e, 1, times, MP_RANK);
  int rank = (int)n > i.rank ? (int)n : i.rank;
  for (int k = 0; k < rank; k++) {
    int from = k - (rank - i.rank), by = k - (rank - (int)n);
    dims[k] = mp_em_product(e, from >= 0 ? i.dims[from] : 1, by >= 0 ? times[by] : 1);
  }
  fresh(e, "aten::repeat", &grad_repeat, rank, dims);
}
static void roll(mp_em *e) {
  mp_tensor_info i = *mp_em_info(e, mp_c_ten(e, 0));
  fresh(e, "aten::roll", &grad_roll, i.rank, i.dims);
}
static void flip(mp_em *e) {
  mp_tensor_info i = *mp_em_info(e, mp_c_ten(e, 0));
  fresh(e, "aten::flip", &grad_flip, i.rank, i.dims);
}
/* repeat_interleave(x, n, dim) with a number: unsqueeze, expand, clone, flatten (TensorTransformations.cpp) */
static void repeat_interleave(mp_em *e) {
  size_t scope = mp_em_enter(e);
  mp_ten x = mp_c_ten(e, 0);
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t times = mp_c_int(e, 1, 1), dim = mp_c_int(e, 2, 0), dims[MP_RANK];
  if (!mp_c_has(e, 2)) {
    x = mp_op_reshape(e, x, 1, (int64_t[]){-1});
    i = *mp_em_info(e, x);
  }
  dim = mp_em_axis(e, dim, i.rank);
  memcpy(dims, i.dims, sizeof dims);
  mp_ten wide = mp_op_unsqueeze(e, x, dim + 1);
  mp_tensor_info w = *mp_em_info(e, wide);
  w.dims[dim + 1] = times;
  mp_ten c = mp_op_clone(e, mp_op_expand(e, wide, w.rank, w.dims), true);
  dims[dim] = mp_em_product(e, dims[dim], times);
  mp_c_out(e, 0, mp_op_view(e, c, i.rank, dims));
  mp_em_leave(e, scope, NULL, 0);
}

/* ---- gathers: backward makes zeros and adds into a copy of them, as functional tensors do ---- */

static void back_scattered(mp_em *e, mp_bw *b, const char *op) {
  mp_tensor_info in = *mp_bw_input(b, 0);
  mp_dtype t = mp_em_info(e, mp_bw_grad(b, 0))->dtype;
  mp_em_new(e, "aten::new_zeros", t, in.rank, in.dims);
  mp_bw_give(b, 0, mp_em_new(e, op, t, in.rank, in.dims));
}
static void back_index(mp_em *e, mp_bw *b) { back_scattered(e, b, "aten::index_put"); }
static void back_index_select(mp_em *e, mp_bw *b) { back_scattered(e, b, "aten::index_add"); }
static void back_gather(mp_em *e, mp_bw *b) { back_scattered(e, b, "aten::scatter_add"); }
static const mp_grad grad_index = {"IndexBackward0", back_index}, grad_index_select = {"IndexSelectBackward0", back_index_select}, grad_gather = {"GatherBackward0", back_gather};

static void indexed(mp_em *e, const char *op, const mp_grad *row, const mp_ten *index, uint32_t n, bool save_self, int rank, const int64_t *dims) {
  mp_ten x = mp_c_ten(e, 0), r = mp_em_new(e, op, mp_em_info(e, x)->dtype, rank, dims);
  if (mp_fn_begin(e, row, &x, 1)) {
    if (save_self) mp_fn_save(e, 0, x);
    for (uint32_t k = 0; k < n && k + 1 < MP_MAX_SAVED; k++) mp_fn_save(e, k + 1, index[k]);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  mp_c_out(e, 0, r);
}
static void index_select(mp_em *e) { /* index_select(x, dim, index) */
  mp_tensor_info i = *mp_em_info(e, mp_c_ten(e, 0));
  int64_t dim = mp_c_int(e, 1, 0);
  mp_ten index = mp_c_ten(e, 2);
  i.dims[mp_em_axis(e, dim, i.rank)] = (int64_t)mp_numel(mp_em_info(e, index));
  indexed(e, "aten::index_select", &grad_index_select, &index, 1, false, i.rank, i.dims);
}
static void gather(mp_em *e) { /* gather(x, dim, index) */
  mp_ten index = mp_c_ten(e, 2);
  mp_tensor_info i = *mp_em_info(e, index);
  indexed(e, "aten::gather", &grad_gather, &index, 1, true, i.rank, i.dims);
}
/* index(x, [i, None, j ...]): the indexed dims become the indices' broadcast shape, in place when they are neighbours, else in front
 * (aten/src/ATen/native/TensorAdvancedIndexing.cpp, make_info) */
static void index_(mp_em *e) {
  mp_tensor_info i = *mp_em_info(e, mp_c_ten(e, 0));
  mp_ten given[MP_RANK], index[MP_RANK];
  uint32_t n = mp_c_tens(e, 1, given, MP_RANK), m = 0;
  int64_t shape[MP_RANK], dims[2 * MP_RANK];
  int rank = 0, shape_rank = 0, first = -1, last = -1;
  for (uint32_t k = 0; k < n; k++) {
    if (given[k] < 0) continue;
    const mp_tensor_info *x = mp_em_info(e, given[k]);
    if (x->dtype == MP_BOOL)
      mp_fail(e->a, MP_BAD_INPUT, "aten::index with a boolean mask: how many elements it takes depends on the data; memplan cannot know the size of what follows");
    for (int d = 1; d <= x->rank; d++) {
      if (d > shape_rank) shape[MP_RANK - d] = 1;
      if (x->dims[x->rank - d] != 1) shape[MP_RANK - d] = x->dims[x->rank - d];
      if (d > shape_rank) shape_rank = d;
    }
    if (first < 0) first = (int)k;
    last = (int)k;
    index[m++] = given[k];
  }
  bool neighbours = last - first + 1 == (int)m;
  for (int d = 0; d < shape_rank && !neighbours; d++) dims[rank++] = shape[MP_RANK - shape_rank + d];
  for (int k = 0; k < i.rank; k++) {
    if (k == first && neighbours)
      for (int d = 0; d < shape_rank; d++) dims[rank++] = shape[MP_RANK - shape_rank + d];
    if (k >= (int)n || given[k] < 0) dims[rank++] = i.dims[k];
  }
  indexed(e, "aten::index", &grad_index, index, m, false, rank, dims);
}

/* ---- scatters: the result is a copy of self with values put in ---- */

static void back_scatter_add(mp_em *e, mp_bw *b) { /* self: grad; src: grad.gather(index) */
  mp_tensor_info src = *mp_bw_input(b, 1);
  mp_bw_give(b, 0, mp_bw_grad(b, 0));
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mp_em_new(e, "aten::gather", mp_em_info(e, mp_bw_grad(b, 0))->dtype, src.rank, src.dims));
}
static void back_put(mp_em *e, mp_bw *b) { /* self: grad with the places zeroed; src: the places */
  mp_tensor_info in = *mp_bw_input(b, 0);
  mp_dtype t = mp_em_info(e, mp_bw_grad(b, 0))->dtype;
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, mp_em_new(e, "aten::scatter", t, in.rank, in.dims));
  if (!mp_bw_wants(b, 1)) return; /* a number is put in: there is no source */
  mp_tensor_info src = *mp_bw_input(b, 1);
  mp_bw_give(b, 1, mp_em_new(e, "aten::gather", t, src.rank, src.dims));
}
static const mp_grad grad_scatter_add = {"ScatterAddBackward0", back_scatter_add}, grad_scatter = {"ScatterBackward0", back_put}, grad_index_put = {"IndexPutBackward0", back_put};

static void scattered(mp_em *e, const char *op, const mp_grad *row, uint32_t index_at, uint32_t src_at) {
  mp_ten x = mp_c_ten(e, 0), src = mp_c_ten(e, src_at), in[] = {x, src};
  mp_ten r = mp_em_call(e)->in_place ? mp_em_alias(e, x) : mp_em_new_like(e, op, x);
  mp_em_set_what(e, r, MP_WHAT_COPY);
  if (mp_fn_begin(e, row, in, src >= 0 ? 2 : 1)) {
    mp_ten index[MP_RANK];
    uint32_t n = mp_c_tens(e, index_at, index, MP_RANK);
    for (uint32_t k = 0; k < n; k++) mp_fn_save(e, k, index[k]);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  mp_c_out(e, 0, r);
}
static void scatter_add(mp_em *e) { scattered(e, "aten::scatter_add", &grad_scatter_add, 2, 3); }
static void scatter(mp_em *e) { scattered(e, "aten::scatter", &grad_scatter, 2, 3); }
static void index_put(mp_em *e) { scattered(e, "aten::index_put", &grad_index_put, 1, 2); }
static void index_add(mp_em *e) { /* index_add(self, dim, index, source) keeps the source, too, for its shape */
  mp_ten x = mp_c_ten(e, 0), index = mp_c_ten(e, 2), source = mp_c_ten(e, 3), in[] = {x, source};
  mp_ten r = mp_em_call(e)->in_place ? mp_em_alias(e, x) : mp_em_new_like(e, "aten::index_add", x);
  if (mp_fn_begin(e, &grad_scatter_add, in, 2)) {
    mp_fn_save(e, 0, index);
    mp_fn_save(e, 1, source);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  mp_c_out(e, 0, r);
}

static void back_scatter_reduce(mp_em *e, mp_bw *b) { /* FunctionsManual.cpp, scatter_reduce_backward, of sum and mean: self's gradient over the counts, src's gathered */
  mp_tensor_info in = *mp_bw_input(b, 0), src = *mp_bw_input(b, 1);
  mp_dtype t = mp_em_info(e, mp_bw_grad(b, 0))->dtype;
  if (mp_bw_wants(b, 0)) mp_bw_give(b, 0, mp_em_new(e, "aten::div", t, in.rank, in.dims));
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mp_em_new(e, "aten::gather", t, src.rank, src.dims));
}
static const mp_grad grad_scatter_reduce = {"ScatterReduceBackward0", back_scatter_reduce};

static void scatter_reduce(mp_em *e) { /* scatter_reduce(self, dim, index, src, reduce) */
  mp_ten x = mp_c_ten(e, 0), index = mp_c_ten(e, 2), src = mp_c_ten(e, 3), in[] = {x, src}, r = mp_em_new_like(e, "aten::scatter_reduce", x);
  if (mp_fn_begin(e, &grad_scatter_reduce, in, 2)) {
    mp_fn_save(e, 0, x);
    mp_fn_save(e, 1, index);
    mp_fn_save(e, 2, src);
    mp_fn_save(e, 3, r);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  mp_c_out(e, 0, r);
}

/* slice_scatter, select_scatter(self, src, ...): what functionalised writes into a part become */
static void part_scatter(mp_em *e) { scattered(e, "aten::slice_scatter", &grad_scatter, UINT32_MAX, 1); }

static const mp_call_row rows[] = {
    {"aten::clone", clone, MP_CAST_NONE, "nothing: a copy"},
    {"aten::contiguous", contiguous, MP_CAST_NONE, "nothing: a copy where it is not contiguous"},
    {"aten::to", to, MP_CAST_NONE, "nothing: a copy where the type changes"},
    {"aten::_to_copy", to, MP_CAST_NONE, "nothing: a copy where the type changes"},
    {"aten::type_as", type_as, MP_CAST_NONE, "nothing: a copy where the type changes"},
    {"aten::cat", cat, MP_CAST_NONE, "nothing: one new tensor"},
    {"aten::stack", stack, MP_CAST_NONE, "nothing: one new tensor"},
    {"aten::repeat", repeat, MP_CAST_NONE, "nothing: one new tensor"},
    {"aten::tile", repeat, MP_CAST_NONE, "nothing: one new tensor"},
    {"aten::repeat_interleave", repeat_interleave, MP_CAST_NONE, "nothing: one copy"},
    {"aten::roll", roll, MP_CAST_NONE, "nothing: one new tensor"},
    {"aten::flip", flip, MP_CAST_NONE, "nothing: one new tensor"},
    {"aten::index_select", index_select, MP_CAST_NONE, "the index"},
    {"aten::gather", gather, MP_CAST_NONE, "its input and the index"},
    {"aten::take_along_dim", gather, MP_CAST_NONE, "its input and the index"},
    {"aten::index", index_, MP_CAST_NONE, "the indices"},
    {"aten::scatter_add", scatter_add, MP_CAST_NONE, "the index"},
    {"aten::scatter", scatter, MP_CAST_NONE, "the index"},
    {"aten::index_put", index_put, MP_CAST_NONE, "the indices"},
    {"aten::index_add", index_add, MP_CAST_NONE, "the index and the source"},
    {"aten::scatter_reduce", scatter_reduce, MP_CAST_NONE, "self, the index, the source and the result"},
    {"aten::slice_scatter", part_scatter, MP_CAST_NONE, "nothing: a copy"},
    {"aten::select_scatter", part_scatter, MP_CAST_NONE, "nothing: a copy"},
};
const mp_call_table mp_calls_copy = {rows, sizeof rows / sizeof *rows};
