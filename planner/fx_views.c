/* Views that the exporter's optimizer merged with their neighbours or removed: what is left of one is its name in a reader's arguments (fx_missing.c). */
#include <string.h>

#include "planner/fx.h"

/* The permutation that a transpose or permute call does. */
static bool own_permutation(const mp_fx_call *c, int rank, int64_t *perm) {
  for (int i = 0; i < rank; i++) perm[i] = i;
  if (!strcmp(c->op, "aten::transpose") && c->arg_count == 3) {
    int64_t x = c->args[1].i, y = c->args[2].i;
    if (x < 0) x += rank;
    if (y < 0) y += rank;
    if (x < 0 || y < 0 || x >= rank || y >= rank) return false;
    perm[x] = y;
    perm[y] = x;
    return true;
  }
  if (!strcmp(c->op, "aten::permute") && c->arg_count == 2 && c->args[1].n == (uint32_t)rank) {
    for (int i = 0; i < rank; i++) perm[i] = c->args[1].at[i].i < 0 ? c->args[1].at[i].i + rank : c->args[1].at[i].i;
    return true;
  }
  return false;
}

/* Two transposes merged into one node, or into none where they undo each other: the first is the whole permutation without the second's own. */
int32_t fx_first_transpose(fx_rec *r, const fx_group *g, const char *name, int32_t x) {
  mp_var v = *mp_builder_at(r->b, x);
  const mp_node *n = &r->g->nodes[g->nodes[0]];
  const mp_attr *whole = !strcmp(n->type, "Transpose") ? mp_node_attr(n, "perm") : NULL;
  int64_t own[MP_RANK], first[MP_RANK] = {0}, dims[MP_RANK] = {0};
  bool none = !strcmp(n->type, "Identity"), turns = false;
  if ((!none && (!whole || whole->kind != MP_ATTR_INTS || whole->n != (uint32_t)v.rank)) || !own_permutation(g->call, v.rank, own)) return x;
  for (int i = 0; i < v.rank; i++) {
    int64_t to = none ? i : whole->as.ints[i];
    if (own[i] < 0 || own[i] >= v.rank || to < 0 || to >= v.rank) return x;
    first[own[i]] = to;
    turns |= own[i] != to;
  }
  if (!turns) return x;
  for (int i = 0; i < v.rank; i++) dims[i] = v.dims[first[i]];
  int32_t out = fx_result_dims(r, name, v.dtype, v.rank, dims);
  mp_arg args[] = {mp_arg_var(x), mp_arg_ints(r->a, first, (uint32_t)v.rank)};
  fx_emit(r, g, "aten::permute", args, 2, fx_module(r, g), &out, 1, false);
  return out;
}

/* unsqueeze(unsqueeze(x)) merged into one node with both axes: the first's is the one that the second does not name */
int32_t fx_first_unsqueeze(fx_rec *r, const fx_group *g, const char *name, int32_t x) {
  mp_var v = *mp_builder_at(r->b, x);
  const mp_node *n = &r->g->nodes[g->nodes[0]];
  const mp_value *axes = !strcmp(n->type, "Unsqueeze") && n->ins > 1 && n->in[1] >= 0 ? &r->g->values[n->in[1]] : NULL;
  if (!axes || !axes->ints || axes->contents != 2 || g->call->arg_count < 2 || v.rank + 2 > MP_RANK) return x;
  int rank = v.rank + 2;
  int64_t own = g->call->args[1].i, first = -1;
  if (!strcmp(g->call->op, "aten::repeat_interleave"))
    own = g->call->arg_count > 2 ? g->call->args[2].i + 1 : 0; /* it repeats along an axis of its own */
  else if (strcmp(g->call->op, "aten::unsqueeze") != 0)
    return x;
  if (own < 0) own += rank;
  for (uint32_t i = 0; i < 2; i++) {
    int64_t axis = axes->ints[i].n < 0 ? axes->ints[i].n + rank : axes->ints[i].n;
    if (axis != own) first = axis - (axis > own);
  }
  if (first < 0 || first > v.rank) return x;
  int64_t dims[MP_RANK] = {0};
  for (int i = 0, k = 0; i < v.rank + 1; i++) dims[i] = i == first ? 1 : v.dims[k++];
  int32_t out = fx_result_dims(r, name, v.dtype, v.rank + 1, dims);
  mp_arg args[] = {mp_arg_var(x), mp_arg_int(first)};
  fx_emit(r, g, "aten::unsqueeze", args, 2, fx_module(r, g), &out, 1, false);
  return out;
}

static int64_t elements(const mp_var *v) {
  int64_t n = 1;
  for (int i = 0; i < v->rank; i++) n *= v->dims[i];
  return n;
}

/* A view whose shape is gone. An operand of attention has the shape of its fellow; elsewhere the next view says all that matters. */
int32_t fx_lost_view(fx_rec *r, const fx_group *g, const char *name, int32_t x, uint32_t arg) {
  mp_var v = *mp_builder_at(r->b, x);
  if (!arg && FX_ONE_OF(g->call->op, "aten::group_norm", "aten::batch_norm")) { /* whose statistics depend on the shape, which the result has, too */
    int64_t dims[MP_RANK] = {0};
    int rank = fx_dims_of_value(r, fx_value_output(r, g), dims);
    if (rank == v.rank && !memcmp(dims, v.dims, (size_t)rank * sizeof *dims)) return x;
    int32_t as = fx_result_dims(r, name, v.dtype, rank, dims);
    fx_emit(r, g, "aten::view", (mp_arg[]){mp_arg_var(x), mp_arg_ints(r->a, dims, (uint32_t)rank)}, 2, fx_module(r, g), &as, 1, false);
    return as;
  }
  if (strcmp(g->call->op, "aten::scaled_dot_product_attention") != 0 || arg > 2 || g->call->arg_count < 3) return x;
  for (uint32_t k = 0; k < 6; k++) { /* one of as many elements first: keys and values may have fewer heads than queries */
    uint32_t i = k % 3;
    const fx_ref *f = i != arg && g->call->args[i].kind == MP_FX_REF ? fx_ref_of(r, g->call->args[i].text) : NULL;
    if (!f || f->kind != FX_TENSOR) continue;
    mp_var like = *mp_builder_at(r->b, f->var);
    if (like.rank < 3) continue;
    bool same = elements(&v) == elements(&like);
    if (!same && k < 3) continue;
    if (!same) { /* another sequence length */
      like.dims[like.rank - 2] = 1;
      int64_t rest = elements(&like);
      if (!rest || elements(&v) % rest) continue;
      like.dims[like.rank - 2] = elements(&v) / rest;
    }
    int32_t out = fx_result_dims(r, name, v.dtype, like.rank, like.dims);
    mp_arg args[] = {mp_arg_var(x), mp_arg_ints(r->a, like.dims, (uint32_t)like.rank)};
    fx_emit(r, g, "aten::view", args, 2, fx_module(r, g), &out, 1, false);
    return out;
  }
  return x;
}
