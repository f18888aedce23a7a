/* Rows of the table: views, copies, factories. Sizes that Python knew are read from the values' contents, else from the result's dims. */
#include <string.h>

#include "planner/patterns.h"

/* the root's result dims as an argument */
static mp_arg result_dims(mp_rec *r, const mp_hit *h) {
  int32_t v = mp_r_node(r, h->root)->out[0];
  int64_t dims[MP_RANK];
  int rank = mp_r_rank(r, v);
  if (rank < 0) mp_r_dim(r, v, 0);
  for (int i = 0; i < rank && i < MP_RANK; i++) dims[i] = mp_r_dim(r, v, i);
  return mp_arg_ints(r->a, dims, (uint32_t)rank);
}

/* the name of the row's call */
static const char *name_of(mp_rec *r, const mp_hit *h) { return mp_strndup(r->a, h->row->call, strcspn(h->row->call, "(;")); }

MP_ROW_EMIT(mp_row_reshape) {
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), result_dims(r, h)};
  mp_r_last(r, h, "aten::reshape", args, 2);
}

/* dims of the variable `from` permuted, for a value that the file does not have */
static int32_t swapped(mp_rec *r, int32_t from, int64_t a, int64_t b) {
  mp_var v = *mp_builder_at(r->b, from);
  int64_t d = v.dims[a];
  v.dims[a] = v.dims[b];
  v.dims[b] = d;
  return mp_r_new(r, v.name, v.dtype, v.rank, v.dims);
}

/* how many axes are not where they were; the first two of them */
static int moved_axes(const int64_t *perm, int rank, int64_t two[2]) {
  int n = 0;
  for (int i = 0; i < rank; i++)
    if (perm[i] != i && n++ < 2) two[n - 1] = i;
  return n;
}

static void permutation(mp_rec *r, const mp_hit *h, int rank, int64_t *perm) {
  const mp_node *n = mp_r_node(r, h->root);
  const mp_attr *a = mp_node_attr(n, "perm");
  uint32_t seen = 0;
  for (int i = 0; i < rank; i++) {
    perm[i] = a && a->kind == MP_ATTR_INTS && (int)a->n == rank ? a->as.ints[i] : rank - 1 - i;
    if (perm[i] < 0) perm[i] += rank; /* of moveaxis, as the exporter writes it */
    if (perm[i] >= 0 && perm[i] < rank) seen |= 1u << perm[i];
  }
  if (seen != (1u << rank) - 1) mp_fail(r->a, MP_BAD_INPUT, "%s: node '%s' (Transpose): perm is no permutation of %d axes", r->g->path, n->name, rank);
}

/* How many transpositions make this permutation; the pairs in the order of their calls. Two at most are looked for: exporters merge x.transpose(1,
 * 2).transpose(2, 3). */
static int transpositions(const int64_t *perm, int rank, int64_t pair[2][2]) {
  int64_t first[MP_RANK];
  int n = moved_axes(perm, rank, pair[0]);
  if (n == 2) return 1;
  if (n != 3) return 0;
  memcpy(first, perm, (size_t)rank * sizeof *perm); /* the second call swaps the last two axes, as in q @ k.transpose(-1, -2) */
  first[rank - 1] = perm[rank - 2];
  first[rank - 2] = perm[rank - 1];
  if (moved_axes(first, rank, pair[0]) != 2) return 0;
  pair[1][0] = rank - 2;
  pair[1][1] = rank - 1;
  return 2;
}

MP_ROW_EMIT(mp_row_transpose) {
  int rank = mp_r_rank(r, h->values[0]);
  int64_t perm[MP_RANK], pair[2][2];
  permutation(r, h, rank, perm);
  mp_arg x = mp_r_tensor(r, h->values[0]);
  int n = transpositions(perm, rank, pair);
  int32_t user;
  if (n == 2 && (mp_r_users(r, mp_r_node(r, h->root)->out[0], &user, 1) != 1 || strcmp(mp_r_node(r, user)->type, "MatMul") != 0))
    n = 0; /* a permute */
  if (!n) {
    mp_arg args[] = {x, mp_arg_ints(r->a, perm, (uint32_t)rank)};
    mp_r_last(r, h, "aten::permute", args, 2);
    return;
  }
  if (n == 2) {
    mp_arg args[] = {x, mp_arg_int(pair[0][0]), mp_arg_int(pair[0][1])};
    int32_t out = swapped(r, x.as.var, pair[0][0], pair[0][1]);
    mp_r_call(r, h, "aten::transpose", args, 3, &out, 1);
    x = mp_arg_var(out);
  }
  mp_arg args[] = {x, mp_arg_int(pair[n - 1][0]), mp_arg_int(pair[n - 1][1])};
  mp_r_last(r, h, "aten::transpose", args, 3);
}

MP_ROW_EMIT(mp_row_unsqueeze) {
  int64_t axes[MP_RANK];
  uint32_t n = mp_r_axes(r, h->root, 1, axes);
  int rank = mp_r_rank(r, h->values[0]) + (int)n;
  mp_arg x = mp_r_tensor(r, h->values[0]);
  if (!n || rank > MP_RANK) { /* axes that only a run knows: the result's dims say as much */
    mp_arg args[] = {x, result_dims(r, h)};
    mp_r_last(r, h, "aten::reshape", args, 2);
    return;
  }
  for (uint32_t i = 0; i < n; i++) { /* in ascending order, so that each is where it will stay */
    int64_t axis = mp_r_axis(r, h->root, axes[i], rank);
    uint32_t k = i;
    for (; k > 0 && axes[k - 1] > axis; k--) axes[k] = axes[k - 1];
    axes[k] = axis;
  }
  for (uint32_t i = 0; i < n; i++) {
    mp_arg args[] = {x, mp_arg_int(axes[i])};
    if (i + 1 == n) {
      mp_r_last(r, h, "aten::unsqueeze", args, 2);
      return;
    }
    mp_var v = *mp_builder_at(r->b, x.as.var);
    for (int k = v.rank; k > axes[i]; k--) v.dims[k] = v.dims[k - 1];
    v.dims[axes[i]] = 1;
    int32_t out = mp_r_new(r, v.name, v.dtype, v.rank + 1, v.dims);
    mp_r_call(r, h, "aten::unsqueeze", args, 2, &out, 1);
    x = mp_arg_var(out);
  }
}

MP_ROW_EMIT(mp_row_squeeze) {
  int64_t axes[MP_RANK];
  uint32_t n = mp_r_axes(r, h->root, 1, axes);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), n == 1 ? mp_arg_int(axes[0]) : mp_arg_ints(r->a, axes, n)};
  mp_r_last(r, h, "aten::squeeze", args, n ? 2 : 1);
}

/* squeeze(1) of a value whose shape the exporter lost: If(the size is 1) then Squeeze else Identity */
MP_ROW_CHECK(mp_row_is_squeeze) {
  const mp_attr *a = mp_node_attr(mp_r_node(r, h->root), "then_branch");
  h->values[0] = -1;
  if (!a || a->kind != MP_ATTR_GRAPH) return false;
  const mp_graph *g = a->as.graph;
  for (uint32_t i = 0; i < g->node_count; i++)
    if (!strcmp(g->nodes[i].type, "Squeeze") && g->nodes[i].ins)
      for (uint32_t k = 0; k < g->capture_count; k++)
        if (g->captures[k].inner == g->nodes[i].in[0]) h->values[0] = g->captures[k].outer;
  return h->values[0] >= 0;
}

MP_ROW_EMIT(mp_row_squeeze_if) {
  int32_t out = mp_r_node(r, h->root)->out[0];
  int rank = mp_r_rank(r, h->values[0]), now = mp_r_rank(r, out);
  int axis = 0;
  if (now == rank) { /* the size is not 1: the value itself */
    mp_arg args[] = {mp_r_tensor(r, h->values[0])};
    mp_r_last(r, h, "aten::alias", args, 1);
    return;
  }
  while (axis < now && mp_r_dim(r, out, axis) == mp_r_dim(r, h->values[0], axis)) axis++;
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_int(axis)};
  mp_r_last(r, h, "aten::squeeze", args, 2);
}

MP_ROW_EMIT(mp_row_expand) {
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), result_dims(r, h)};
  mp_r_last(r, h, "aten::expand", args, 2);
}

/* contents of an input or, in old opsets, of the attribute of that name */
static uint32_t numbers(mp_rec *r, const mp_hit *h, int input, const char *attribute, int64_t *out) {
  const mp_node *n = mp_r_node(r, h->root);
  const mp_attr *a = mp_node_attr(n, attribute);
  if (a && a->kind == MP_ATTR_INTS && a->n <= MP_RANK) {
    memcpy(out, a->as.ints, a->n * sizeof *out);
    return a->n;
  }
  return input < n->ins ? mp_r_ints(r, n->in[input], out, MP_RANK) : 0;
}

MP_ROW_EMIT(mp_row_slice) {
  const mp_node *node = mp_r_node(r, h->root);
  int64_t starts[MP_RANK], axes[MP_RANK], steps[MP_RANK], flips[MP_RANK];
  int32_t from = h->values[0], to = node->out[0];
  int rank = mp_r_rank(r, from);
  uint32_t n = numbers(r, h, 1, "starts", starts), m = numbers(r, h, 3, "axes", axes), s = numbers(r, h, 4, "steps", steps), flipped = 0;
  uint32_t cuts = m ? m : n ? n : (uint32_t)rank;
  mp_arg x = mp_r_tensor(r, from);
  int32_t last = -1;
  for (uint32_t i = 0; i < cuts; i++) {
    int64_t axis = mp_r_axis(r, h->root, m ? axes[i] : (int64_t)i, rank), size = mp_r_dim(r, from, (int)axis), left = mp_r_dim(r, to, (int)axis);
    int64_t step = s && steps[i] != INT64_MIN ? steps[i] : 1, start = n && starts[i] != INT64_MIN ? starts[i] : 0;
    if (step < 0) {
      flips[flipped++] = axis;
      continue;
    }
    start = start < 0 ? start + size : start < size ? start : size;
    if (start < 0) start = 0;
    if (left == size && cuts > 1) continue; /* the full slices that x[:, a:b] writes for the other axes */
    mp_var v = *mp_builder_at(r->b, x.as.var);
    v.dims[axis] = left;
    if (step > size) step = size > 0 ? size : 1; /* takes one element, as any larger step does */
    mp_arg args[] = {x, mp_arg_int(axis), mp_arg_int(start), mp_arg_int(start + (left - 1) * step + 1), mp_arg_int(step)};
    last = mp_r_new(r, v.name, v.dtype, v.rank, v.dims);
    mp_r_call(r, h, "aten::slice", args, 5, &last, 1);
    x = mp_arg_var(last);
  }
  if (flipped) {
    mp_arg args[] = {x, mp_arg_ints(r->a, flips, flipped)};
    mp_r_last(r, h, "aten::flip", args, 2);
    return;
  }
  if (last < 0) {
    mp_r_last(r, h, "aten::alias", &x, 1);
    return;
  }
  mp_builder_at(r->b, last)->value = to;
  mp_builder_at(r->b, last)->name = r->g->values[to].name;
  r->var[to] = last;
}

/* x.chunk(n, dim) of the tracer: n slices, part k from (size + n - 1) / n * k on, reckoned with the size. -> the node that divides, and k; -1 */
static int32_t chunk_of(const mp_rec *r, int32_t slice, int64_t *k) {
  const mp_node *n = mp_r_node(r, slice);
  if (strcmp(n->type, "Slice") != 0 || n->ins != 4) return -1;
  int32_t mul = mp_r_maker(r, n->in[2], "Mul"), div = mul < 0 ? -1 : mp_r_maker(r, mp_r_in(r, mul, 0), "Div");
  double end, parts;
  if (div < 0 || mp_r_maker(r, mp_r_in(r, div, 0), "Add") < 0) return -1;
  if (!mp_r_number(r, mp_r_raw(r, mul, 1), &end) || !mp_r_number(r, mp_r_raw(r, div, 1), &parts) || !(end >= 1 && end <= parts) || parts > 256) return -1;
  *k = mp_whole(end) - 1;
  return div;
}

MP_ROW_CHECK(mp_row_is_chunk) {
  int64_t k;
  return chunk_of(r, h->root, &k) >= 0;
}

/* all parts at once, those that nothing reads, too */
MP_ROW_EMIT(mp_row_chunk) {
  int32_t users[512], x = h->values[0], out = mp_r_node(r, h->root)->out[0], div;
  int64_t k, axes[1], size[1];
  if (r->var[out] >= 0) return;
  div = chunk_of(r, h->root, &k);
  int64_t axis = mp_r_ints(r, mp_r_node(r, h->root)->in[3], axes, 1) == 1 ? mp_r_axis(r, h->root, axes[0], mp_r_rank(r, x)) : 0, whole = mp_r_dim(r, x, (int)axis);
  if (mp_r_ints(r, mp_r_node(r, div)->out[0], size, 1) != 1 || size[0] < 1 || whole < 1 || (whole + size[0] - 1) / size[0] > 256 || k >= (whole + size[0] - 1) / size[0]) {
    mp_row_slice(r, h);
    return;
  }
  uint32_t n = mp_r_users(r, x, users, 512), count = (uint32_t)((whole + size[0] - 1) / size[0]);
  int32_t *outs = mp_alloc_array(r->a, count, sizeof *outs);
  for (uint32_t i = 0; i < count; i++) outs[i] = -1;
  outs[k] = mp_r_result(r, h, 0);
  for (uint32_t i = 0; i < n && i < 512; i++) {
    const mp_hit *of = r->owner[users[i]];
    if (chunk_of(r, users[i], &k) != div || k >= count || outs[k] >= 0 || !of || of->root != users[i] || of->row != h->row || r->var[mp_r_node(r, users[i])->out[0]] >= 0) continue;
    outs[k] = mp_r_result(r, of, 0);
  }
  mp_var part = *mp_builder_at(r->b, mp_r_var(r, x));
  for (uint32_t i = 0; i < count; i++) {
    part.dims[axis] = i + 1 < count ? size[0] : whole - size[0] * (count - 1);
    if (outs[i] < 0) outs[i] = mp_r_new(r, part.name, part.dtype, part.rank, part.dims);
  }
  mp_arg args[] = {mp_r_tensor(r, x), mp_arg_int(size[0]), mp_arg_int(axis)};
  mp_r_call(r, h, "aten::split", args, 3, outs, count);
}

MP_ROW_EMIT(mp_row_split) {
  const mp_node *n = mp_r_node(r, h->root);
  int64_t axis = mp_r_axis(r, h->root, mp_node_int(n, "axis", 0), mp_r_rank(r, h->values[0]));
  int32_t *outs = mp_alloc_array(r->a, n->outs, sizeof *outs);
  int64_t *sizes = mp_alloc_array(r->a, n->outs, sizeof *sizes);
  bool even = true;
  for (int i = 0; i < n->outs; i++) {
    outs[i] = mp_r_result(r, h, i);
    sizes[i] = outs[i] < 0 ? 0 : mp_builder_at(r->b, outs[i])->dims[axis];
    if (i && sizes[i] != sizes[0] && (i + 1 < n->outs || sizes[i] > sizes[0])) even = false;
  }
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), even && n->outs ? mp_arg_int(sizes[0]) : mp_arg_ints(r->a, sizes, n->outs), mp_arg_int(axis)};
  mp_r_call(r, h, even ? "aten::split" : "aten::split_with_sizes", args, 3, outs, n->outs);
}

/* ---- Gather ---- */

MP_ROW_CHECK(mp_row_is_select) {
  return mp_r_rank(r, h->values[1]) == 0 && (r->host[h->values[1]] || mp_r_rank(r, h->values[0]) > 1) &&
         r->g->values[h->values[1]].kind != MP_VALUE_INPUT;
}

MP_ROW_EMIT(mp_row_select) {
  const mp_node *n = mp_r_node(r, h->root);
  double x = 0;
  mp_r_number(r, h->values[1], &x);
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_int(mp_r_axis(r, h->root, mp_node_int(n, "axis", 0), mp_r_rank(r, h->values[0]))), mp_arg_int(mp_whole(x))};
  mp_r_last(r, h, "aten::select", args, 3);
}

/* a table of rows looked up by a tensor: the exporter leaves the axis out */
MP_ROW_CHECK(mp_row_is_embedding) {
  const mp_node *n = mp_r_node(r, h->root);
  bool scalar = r->host[h->values[1]] && mp_r_rank(r, h->values[1]) == 0;
  return mp_r_rank(r, h->values[0]) == 2 && !scalar && !mp_node_int(n, "axis", 0) &&
         (r->scoped ? !mp_node_attr(n, "axis") : mp_r_is_parameter(r, h->values[0]));
}

MP_ROW_EMIT(mp_row_gather) {
  const mp_node *n = mp_r_node(r, h->root);
  int64_t axis = mp_r_axis(r, h->root, mp_node_int(n, "axis", 0), mp_r_rank(r, h->values[0]));
  if (mp_r_rank(r, h->values[1]) > 1) { /* x[:, ids] */
    int32_t list[MP_RANK];
    for (int64_t i = 0; i < axis; i++) list[i] = -1;
    list[axis] = mp_r_var(r, h->values[1]);
    mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_vars(r->a, list, (uint32_t)axis + 1)};
    mp_r_last(r, h, "aten::index", args, 2);
    return;
  }
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_int(axis), mp_r_tensor(r, h->values[1])};
  mp_r_last(r, h, "aten::index_select", args, 3);
}

/* torch.onnx.symbolic_opset9.index_add: what is scattered into zeros is added */
static int32_t scattered(const mp_rec *r, const mp_hit *h) {
  for (uint32_t i = 0; i < h->node_count; i++)
    if (!strcmp(mp_r_node(r, h->nodes[i])->type, "ScatterElements")) return h->nodes[i];
  return -1;
}

MP_ROW_CHECK(mp_row_is_index_add) {
  int32_t s = scattered(r, h);
  return s >= 0 && !mp_node_attr(mp_r_node(r, s), "reduction") && mp_r_maker(r, mp_r_raw(r, s, 0), "Constant") >= 0;
}

MP_ROW_EMIT(mp_row_index_add) {
  int32_t s = scattered(r, h);
  mp_arg dim = mp_arg_int(mp_r_axis(r, s, mp_node_int(mp_r_node(r, s), "axis", 0), mp_r_rank(r, h->values[0])));
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), dim, mp_r_tensor(r, h->values[1]), mp_r_tensor(r, h->values[2])};
  mp_r_last(r, h, "aten::index_add", args, 4);
}

/* calls of (tensor, dim, ...) */
MP_ROW_EMIT(mp_row_dim_index) {
  const mp_node *n = mp_r_node(r, h->root);
  mp_arg x = mp_r_tensor(r, h->values[0]), dim = mp_arg_int(mp_r_axis(r, h->root, mp_node_int(n, "axis", 0), mp_r_rank(r, h->values[0])));
  if (!strcmp(n->type, "DepthToSpace")) {
    mp_arg args[] = {x, mp_arg_int(mp_node_int(n, "blocksize", 1))};
    mp_r_last(r, h, "aten::pixel_shuffle", args, 2);
  } else if (n->type[0] == 'A') {
    mp_arg args[] = {x, dim, mp_arg_bool(mp_node_int(n, "keepdims", 1) != 0)};
    mp_r_last(r, h, name_of(r, h), args, 3);
  } else if (n->type[0] == 'S') {
    const mp_attr *how = mp_node_attr(n, "reduction");
    mp_arg args[] = {x, dim, mp_r_tensor(r, h->values[1]), mp_r_arg(r, h->values[2])};
    mp_r_last(r, h, how && how->kind == MP_ATTR_STRING && !strcmp(how->as.string, "add") ? "aten::scatter_add" : "aten::scatter", args, 4);
  } else {
    mp_arg args[] = {x, dim, mp_r_tensor(r, h->values[1])};
    mp_r_last(r, h, name_of(r, h), args, 3);
  }
}

/* x[i, j]: the exporter flattens x and the two indices */
MP_ROW_EMIT(mp_row_index) {
  int32_t list[2] = {mp_r_var(r, h->values[2]), mp_r_var(r, h->values[1])};
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_vars(r->a, list, 2)};
  mp_r_last(r, h, "aten::index", args, 2);
}

/* ---- Concat ---- */

MP_ROW_EMIT(mp_row_cat) {
  const mp_node *n = mp_r_node(r, h->root);
  int32_t *list = mp_alloc_array(r->a, n->ins, sizeof *list);
  for (int i = 0; i < n->ins; i++) list[i] = mp_r_var(r, mp_r_in(r, h->root, i));
  mp_arg args[] = {mp_arg_vars(r->a, list, n->ins), mp_arg_int(mp_r_axis(r, h->root, mp_node_int(n, "axis", 0), mp_r_rank(r, n->out[0])))};
  mp_r_last(r, h, "aten::cat", args, 2);
}

MP_ROW_CHECK(mp_row_is_stack) {
  const mp_node *n = mp_r_node(r, h->root);
  int64_t axes[MP_RANK], axis = mp_r_axis(r, h->root, mp_node_int(n, "axis", 0), mp_r_rank(r, n->out[0]));
  if (n->ins < 2) return false;
  int32_t *parts = mp_alloc_array(r->a, n->ins, sizeof *parts);
  for (int i = 0; i < n->ins; i++) {
    int32_t u = mp_r_maker(r, mp_r_in(r, h->root, i), "Unsqueeze");
    if (u < 0 || mp_r_axes(r, u, 1, axes) != 1 || mp_r_axis(r, u, axes[0], mp_r_rank(r, mp_r_node(r, u)->out[0])) != axis) return false;
    if (r->fixed[mp_r_node(r, u)->out[0]]) return false;
    parts[i] = mp_r_in(r, u, 0);
  }
  h->needs = parts;
  h->need_count = n->ins;
  h->listed = true;
  return true;
}

MP_ROW_EMIT(mp_row_stack) {
  const mp_node *n = mp_r_node(r, h->root);
  int32_t *list = mp_alloc_array(r->a, n->ins, sizeof *list);
  for (int i = 0; i < n->ins; i++) list[i] = mp_r_var(r, h->needs[i]);
  mp_arg args[] = {mp_arg_vars(r->a, list, n->ins), mp_arg_int(mp_r_axis(r, h->root, mp_node_int(n, "axis", 0), mp_r_rank(r, n->out[0])))};
  mp_r_last(r, h, "aten::stack", args, 2);
}

MP_ROW_EMIT(mp_row_one_hot) {
  int32_t out = mp_r_node(r, h->root)->out[0];
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_int(mp_r_dim(r, out, -1))};
  mp_r_last(r, h, "aten::one_hot", args, 2);
}

/* a list of tensors that is joined: torch.hstack, vstack */
MP_ROW_CHECK(mp_row_is_sequence) {
  int32_t list = mp_r_maker(r, mp_r_in(r, h->root, 0), "SequenceConstruct");
  if (list < 0) return false;
  const mp_node *n = mp_r_node(r, list);
  int32_t *parts = mp_alloc_array(r->a, n->ins, sizeof *parts);
  for (int i = 0; i < n->ins; i++) parts[i] = mp_r_in(r, list, i);
  h->needs = parts;
  h->need_count = n->ins;
  h->listed = true;
  return true;
}

MP_ROW_EMIT(mp_row_cat_sequence) {
  const mp_node *n = mp_r_node(r, h->root);
  int32_t *list = mp_alloc_array(r->a, h->need_count, sizeof *list);
  for (uint32_t i = 0; i < h->need_count; i++) list[i] = mp_r_var(r, h->needs[i]);
  mp_arg args[] = {mp_arg_vars(r->a, list, h->need_count), mp_arg_int(mp_r_axis(r, h->root, mp_node_int(n, "axis", 0), mp_r_rank(r, n->out[0])))};
  mp_r_last(r, h, mp_node_int(n, "new_axis", 0) ? "aten::stack" : "aten::cat", args, 2);
}

/* one part of a tensor that was split into a list; where it begins follows from the sizes, where they are known */
MP_ROW_EMIT(mp_row_part) {
  int32_t split = h->nodes[1], out = mp_r_node(r, h->root)->out[0];
  const mp_node *n = mp_r_node(r, split);
  int64_t axis = mp_r_axis(r, split, mp_node_int(n, "axis", 0), mp_r_rank(r, h->values[0])), sizes[256], start = 0;
  uint32_t known = n->ins > 1 ? mp_r_ints(r, n->in[1], sizes, 256) : 0;
  int64_t size = mp_r_dim(r, out, (int)axis), which = mp_whole(h->numbers[0]);
  for (int64_t i = 0; i < which && i < 256; i++) {
    int64_t more = known > 1 && i < known ? sizes[i] : known == 1 ? sizes[0] : size;
    if (more > 0 && start <= mp_r_dim(r, h->values[0], (int)axis) - size - more) start += more;
  }
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_int(axis), mp_arg_int(start), mp_arg_int(start + size), mp_arg_int(1)};
  mp_r_last(r, h, "aten::slice", args, 5);
}

/* the one cut of a Slice; false when it is not one simple cut */
static bool cut(mp_rec *r, int32_t slice, int64_t *axis, int64_t *start, int64_t *size) {
  const mp_node *n = mp_r_node(r, slice);
  int64_t starts[MP_RANK], axes[MP_RANK], steps[MP_RANK];
  if (n->ins < 4 || mp_r_ints(r, n->in[1], starts, MP_RANK) != 1 || starts[0] == INT64_MIN) return false;
  if (n->ins > 4 && mp_r_ints(r, n->in[4], steps, MP_RANK) == 1 && steps[0] != 1) return false;
  int rank = mp_r_rank(r, n->in[0]);
  if (mp_r_ints(r, n->in[3], axes, MP_RANK) != 1 || rank < 1) return false;
  *axis = mp_r_axis(r, slice, axes[0], rank);
  *start = starts[0] < 0 ? starts[0] + mp_r_dim(r, n->in[0], (int)*axis) : starts[0];
  *size = mp_r_dim(r, n->out[0], (int)*axis);
  return true;
}

/* cat(x[-k:], x[:-k]): together the whole of x, cut at one place */
MP_ROW_CHECK(mp_row_is_roll) {
  const mp_node *n = mp_r_node(r, h->root);
  int64_t axis[2], start[2], size[2];
  for (int i = 0; i < 2; i++) {
    int32_t s = mp_r_maker(r, mp_r_in(r, h->root, i), "Slice");
    if (s < 0 || !cut(r, s, &axis[i], &start[i], &size[i])) return false;
  }
  h->note = size[0];
  return axis[0] == axis[1] && axis[0] == mp_r_axis(r, h->root, mp_node_int(n, "axis", 0), mp_r_rank(r, h->values[0])) && start[1] == 0 && start[0] == size[1] &&
         size[0] + size[1] == mp_r_dim(r, h->values[0], (int)axis[0]);
}

MP_ROW_EMIT(mp_row_roll) {
  int64_t shift = h->note, axis = mp_r_axis(r, h->root, mp_node_int(mp_r_node(r, h->root), "axis", 0), mp_r_rank(r, h->values[0]));
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_ints(r->a, &shift, 1), mp_arg_ints(r->a, &axis, 1)};
  mp_r_last(r, h, "aten::roll", args, 3);
}

/* x.unfold(dim, size, step): one Slice (Transpose) Unsqueeze for every window, in steps */
MP_ROW_CHECK(mp_row_is_unfold) {
  const mp_node *n = mp_r_node(r, h->root);
  int64_t axis = 0, start = 0, size = 0, step = 0;
  if (n->ins < 2) return false;
  for (int i = 0; i < n->ins; i++) {
    int32_t u = mp_r_maker(r, mp_r_in(r, h->root, i), "Unsqueeze");
    int32_t t = u < 0 ? -1 : mp_r_maker(r, mp_r_in(r, u, 0), "Transpose");
    int32_t s = t < 0 ? -1 : mp_r_maker(r, mp_r_in(r, t, 0), "Slice");
    int64_t a, b, c;
    if (s < 0 || !cut(r, s, &a, &b, &c)) return false;
    if (!i) axis = a, size = c, h->values[0] = mp_r_in(r, s, 0);
    if (i == 1) step = b;
    if (a != axis || c != size || b != start + (i ? step : 0) || mp_r_in(r, s, 0) != h->values[0]) return false;
    start = b;
    if (h->node_count + 3 <= MP_HIT_NODES) mp_hit_node(h, u), mp_hit_node(h, t), mp_hit_node(h, s);
  }
  h->note = step;
  h->listed = true;
  h->numbers[0] = (double)axis;
  h->numbers[1] = (double)size;
  return true;
}

MP_ROW_EMIT(mp_row_unfold) {
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_int((int64_t)h->numbers[0]), mp_arg_int((int64_t)h->numbers[1]), mp_arg_int(h->note)};
  mp_r_last(r, h, "aten::unfold", args, 4);
}

/* ---- copies ---- */

MP_ROW_EMIT(mp_row_pad) {
  const mp_node *n = mp_r_node(r, h->root);
  int32_t from = h->values[0], to = n->out[0];
  int rank = mp_r_rank(r, from);
  int64_t pads[2 * MP_RANK], torch[2 * MP_RANK];
  const mp_attr *given = mp_node_attr(n, "pads"), *mode = mp_node_attr(n, "mode");
  uint32_t m = 0;
  if (given && given->kind == MP_ATTR_INTS && given->n <= 2 * MP_RANK) {
    m = given->n;
    memcpy(pads, given->as.ints, m * sizeof *pads);
  } else if (n->ins > 1) {
    m = mp_r_ints(r, n->in[1], pads, 2 * MP_RANK);
  }
  uint32_t used = 0;
  for (int i = rank - 1, k = 0; i >= 0; i--, k += 2) { /* PyTorch counts from the last dimension */
    int64_t more = mp_r_dim(r, to, i) - mp_r_dim(r, from, i);
    bool known = m == 2 * (uint32_t)rank && pads[i] != INT64_MIN;
    torch[k] = known ? pads[i] : 0;
    torch[k + 1] = more - torch[k];
    if (more || torch[k]) used = (uint32_t)k + 2;
  }
  mp_arg args[] = {mp_r_tensor(r, from), mp_arg_ints(r->a, torch, used),
                   mp_arg_str(mode && mode->kind == MP_ATTR_STRING ? mode->as.string : "constant"), mp_arg_none()};
  mp_r_last(r, h, "aten::pad", args, 4);
}

MP_ROW_EMIT(mp_row_tile) {
  int32_t from = h->values[0], to = mp_r_node(r, h->root)->out[0];
  int rank = mp_r_rank(r, to), lead = rank - mp_r_rank(r, from);
  int64_t n[MP_RANK];
  for (int i = 0; i < rank; i++) {
    int64_t was = i < lead ? 1 : mp_r_dim(r, from, i - lead);
    n[i] = was ? mp_r_dim(r, to, i) / was : 1;
  }
  mp_arg args[] = {mp_r_tensor(r, from), mp_arg_ints(r->a, n, (uint32_t)rank)};
  mp_r_last(r, h, "aten::repeat", args, 2);
}

MP_ROW_EMIT(mp_row_repeat_interleave) {
  int32_t from = h->values[0], to = mp_r_node(r, h->root)->out[0];
  int axis = 0, rank = mp_r_rank(r, from);
  while (axis + 1 < rank && mp_r_dim(r, from, axis) == mp_r_dim(r, to, axis)) axis++;
  int64_t was = mp_r_dim(r, from, axis);
  mp_arg args[] = {mp_r_tensor(r, from), mp_arg_int(was ? mp_r_dim(r, to, axis) / was : 1), mp_arg_int(axis)};
  mp_r_last(r, h, "aten::repeat_interleave", args, 3);
}

MP_ROW_EMIT(mp_row_im2col) {
  int32_t to = mp_r_node(r, h->root)->out[0], pad = mp_r_maker(r, mp_r_in(r, h->root, 0), "Transpose");
  (void)pad;
  int64_t kernel[2] = {3, 3}, one[2] = {1, 1}, padding[2] = {0, 0};
  int32_t gather = mp_r_maker(r, mp_r_in(r, mp_r_maker(r, mp_r_in(r, h->root, 0), "Transpose"), 0), "Gather");
  int32_t picked = mp_r_node(r, gather)->out[0]; /* (N, C, kh, oh, kw, ow) */
  int32_t padded = mp_r_in(r, mp_r_maker(r, mp_r_in(r, gather, 0), "Gather"), 0);
  kernel[0] = mp_r_dim(r, picked, 2);
  kernel[1] = mp_r_dim(r, picked, 4);
  for (int i = 0; i < 2; i++) padding[i] = (mp_r_dim(r, padded, 2 + i) - mp_r_dim(r, h->values[0], 2 + i)) / 2;
  int64_t stride[2];
  for (int i = 0; i < 2; i++) {
    int64_t out = mp_r_dim(r, picked, 3 + 2 * i), room = mp_r_dim(r, padded, 2 + i) - kernel[i];
    stride[i] = out > 1 ? room / (out - 1) : 1;
  }
  (void)to;
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_ints(r->a, kernel, 2), mp_arg_ints(r->a, one, 2), mp_arg_ints(r->a, padding, 2),
                   mp_arg_ints(r->a, stride, 2)};
  mp_r_last(r, h, "aten::im2col", args, 5);
}

/* x[:, a:b] = y, whose positions the exporter writes out as a grid of indices: every element by its place in all dimensions */
MP_ROW_CHECK(mp_row_is_slice_write) {
  int32_t ids = mp_r_in(r, h->root, 1), rank = mp_r_rank(r, h->values[0]), last = mp_r_rank(r, ids) - 1;
  if (rank < 1 || last < 1) return false;
  if (mp_r_maker(r, ids, "Concat") >= 0) return mp_r_dim(r, ids, last) <= rank; /* the places of x[:, 0], x[:, 1:] = ..., one index a dimension */
  return last == rank && mp_r_dim(r, ids, rank) == rank && mp_r_rank(r, h->values[1]) == rank;
}

MP_ROW_EMIT(mp_row_slice_write) {
  bool number = r->fixed[h->values[1]]; /* x[:, 0] = 0 */
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), number ? mp_arg_float(0) : mp_r_tensor(r, h->values[1])};
  int32_t out = mp_r_result(r, h, 0);
  mp_r_call(r, h, "aten::slice_scatter", args, 2, &out, 1)->in_place = true;
}

/* ---- factories ---- */

MP_ROW_EMIT(mp_row_full) {
  const mp_node *n = mp_r_node(r, h->root);
  mp_dtype t = r->g->values[n->out[0]].dtype;
  if (!strncmp(n->type, "Random", 6)) {
    mp_arg args[] = {result_dims(r, h), mp_arg_dtype(t)};
    mp_r_last(r, h, name_of(r, h), args, 2);
    return;
  }
  int32_t user, x = -1;
  if (!mp_r_rank(r, n->out[0]) && mp_r_users(r, n->out[0], &user, 1) == 1)
    x = mp_r_in(r, user, 0); /* torch.full([], v, dtype=x.dtype), to divide x by */
  if (x >= 0 && x != n->out[0] && r->var[x] >= 0 && mp_dtype_is_float(t)) {
    mp_arg args[] = {mp_r_tensor(r, x), result_dims(r, h), mp_arg_int(0)};
    mp_r_last(r, h, "aten::new_full", args, 3);
    return;
  }
  mp_arg like = mp_dtype_is_float(t) ? mp_r_latest_type(r, t) : mp_arg_dtype(t);
  if (like.kind == MP_ARG_VAR) { /* torch.zeros(shape, dtype=x.dtype): in another precision it has that */
    mp_arg args[] = {like, result_dims(r, h), mp_arg_int(0)};
    mp_r_last(r, h, "aten::new_full", args, 3);
    return;
  }
  mp_arg args[] = {result_dims(r, h), mp_arg_int(0), like};
  mp_r_last(r, h, "aten::full", args, 3);
}

MP_ROW_EMIT(mp_row_arange) {
  int32_t out = mp_r_node(r, h->root)->out[0];
  mp_arg args[] = {mp_arg_int(mp_r_dim(r, out, 0)), mp_arg_dtype(r->g->values[out].dtype)};
  mp_r_last(r, h, "aten::arange", args, 2);
}

MP_ROW_EMIT(mp_row_trilu) {
  mp_arg args[] = {mp_r_tensor(r, h->values[0]), mp_arg_int(0)};
  mp_r_last(r, h, mp_node_int(mp_r_node(r, h->root), "upper", 1) ? "aten::triu" : "aten::tril", args, 2);
}

/* x.new_empty(size).bernoulli_(p).div_(p): the noise of a dropped path, in the type of the path's latest result */
MP_ROW_EMIT(mp_row_bernoulli) {
  mp_arg like = mp_r_latest_type(r, r->g->values[mp_r_node(r, h->root)->out[0]].dtype), size = result_dims(r, h);
  mp_arg empty[] = {size, like}, as[] = {like, size};
  bool typed = like.kind == MP_ARG_VAR;
  int32_t out = mp_r_result(r, h, 0), noise = mp_r_new_like(r, out), drawn = mp_r_new_like(r, out);
  mp_r_call(r, h, typed ? "aten::new_empty" : "aten::empty", typed ? as : empty, 2, &noise, 1);
  mp_arg draw[] = {mp_arg_var(noise), mp_arg_float(h->numbers[0])};
  mp_r_call(r, h, "aten::bernoulli", draw, 2, &drawn, 1)->in_place = true;
  mp_arg scale[] = {mp_arg_var(drawn), mp_arg_float(h->numbers[0])};
  mp_r_call(r, h, "aten::div", scale, 2, &out, 1)->in_place = true;
}
