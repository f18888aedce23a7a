/* The emitter: tensors, scopes, and the recording of autograd nodes. See em.h for its one idea. */
#include "planner/em.h"

#include <assert.h>
#include <string.h>

mp_arena *mp_em_arena(mp_em *e) { return e->a; }
const mp_tensor_info *mp_em_info(const mp_em *e, mp_ten t) {
  if (t < 0) mp_fail(e->a, MP_BAD_INPUT, "%s: a tensor argument is missing; memplan inspect --node shows what the file gives", e->c ? e->c->row->name : "backward");
  return &e->tens.at[t];
}
const mp_tensor_info *mp_em_ranked(const mp_em *e, mp_ten t, int least) {
  const mp_tensor_info *i = mp_em_info(e, t);
  if (i->rank < least)
    mp_fail(e->a, MP_BAD_INPUT, "%s: an operand of %d dimensions, at least %d were expected; memplan inspect --node shows what the file gives", e->c ? e->c->row->name : "backward", i->rank, least);
  return i;
}
int64_t mp_em_axis(const mp_em *e, int64_t axis, int rank) {
  int n = rank ? rank : 1; /* c10::maybe_wrap_dim takes 0 and -1 for a scalar */
  if (axis < -n || axis >= n)
    mp_fail(e->a, MP_BAD_INPUT, "%s: dimension %lld of a tensor of rank %d; the recovered program is wrong here", e->c ? e->c->row->name : "backward", (long long)axis, rank);
  return axis < 0 ? axis + n : axis;
}

bool mp_em_grad_enabled(const mp_em *e) { return e->grad; }
const mp_run *mp_em_run(const mp_em *e) { return e->run; }
const mp_call *mp_em_call(const mp_em *e) { return e->c; }

#define MP_FIRST_OUTS 4

/* ---- events ---- */

void mp_live_step(mp_em *e, mp_step_kind kind, int32_t id, mp_category c, uint64_t bytes, const char *op) {
  mp_live *l = e->live;
  *mp_push(e->a, &l->steps) = (mp_step){.kind = (uint8_t)kind, .phase = l->phase, .category = (uint8_t)c, .iteration = l->iteration, .id = id, .call = e->call, .op = op, .bytes = bytes};
}

static void live_grow(mp_em *e, int32_t storage) {
  mp_live *l = e->live;
  while (l->refs.n <= (size_t)storage) {
    *mp_push(e->a, &l->refs) = 0;
    *mp_push(e->a, &l->id) = -1;
    *mp_push(e->a, &l->category) = 0;
  }
}

void mp_live_become(mp_em *e, int32_t storage, mp_category c) {
  mp_live *l = e->live;
  if (l->category.at[storage] == c) return;
  l->category.at[storage] = (uint8_t)c;
  if (l->id.at[storage] >= 0) mp_live_step(e, MP_BECOME, l->id.at[storage], c, e->stor.at[storage].bytes, "");
}

static void live_unref(mp_em *e, int32_t storage) {
  mp_live *l = e->live;
  assert(l->refs.at[storage] > 0);
  if (--l->refs.at[storage]) return;
  if (l->id.at[storage] >= 0) mp_live_step(e, MP_FREE, l->id.at[storage], l->category.at[storage], e->stor.at[storage].bytes, "");
  l->id.at[storage] = -1;
}

void mp_live_event(mp_em *e, mp_event_kind kind, int32_t a, uint64_t b) {
  mp_live *l = e->live;
  switch (kind) {
    case MP_EV_NEW: {
      const mp_storage *s = &e->stor.at[a];
      live_grow(e, a);
      assert(l->refs.at[a] == 0);
      l->category.at[a] = (uint8_t)s->category;
      if (s->bytes) {
        l->id.at[a] = l->next_id++;
        mp_live_step(e, MP_ALLOC, l->id.at[a], s->category, s->bytes, s->op);
      }
      break;
    }
    case MP_EV_TENSOR: l->refs.at[e->tens.at[a].storage]++; break;
    case MP_EV_DROP: live_unref(e, e->tens.at[a].storage); break;
    case MP_EV_SCRATCH: {
      int32_t id = l->next_id++;
      mp_live_step(e, MP_ALLOC, id, MP_CAT_WORKSPACE, b, "scratch");
      mp_live_step(e, MP_FREE, id, MP_CAT_WORKSPACE, b, "");
      break;
    }
    default: break;
  }
}

void mp_em_event(mp_em *e, mp_event_kind kind, int32_t a, uint64_t b) {
  if (e->live) mp_live_event(e, kind, a, b);
  else *mp_push(e->a, &e->events) = (mp_event){.kind = (uint8_t)kind, .a = a, .b = b};
}

void mp_em_hold(mp_em *e, mp_ten t) {
  if (t < 0) return;
  if (!e->holds.at[t]++ && e->live) mp_live_event(e, MP_EV_TENSOR, t, 0);
}

void mp_em_release(mp_em *e, mp_ten t) {
  if (t < 0) return;
  assert(e->holds.at[t] > 0);
  if (!--e->holds.at[t]) mp_em_event(e, MP_EV_DROP, t, 0);
}

/* ---- scopes ---- */

size_t mp_em_enter(mp_em *e) { return e->owned.n; }

static mp_ten own(mp_em *e, mp_ten t) {
  *mp_push(e->a, &e->owned) = t;
  return t;
}

void mp_em_drop(mp_em *e, mp_ten t) {
  for (size_t i = e->owned.n; i-- > 0;)
    if (e->owned.at[i] == t) {
      e->owned.at[i] = -1;
      mp_em_release(e, t);
      return;
    }
}

void mp_em_leave(mp_em *e, size_t scope, const mp_ten *keep, uint32_t n) {
  for (uint32_t k = 0; k < n; k++) mp_em_hold(e, keep[k]);
  while (e->owned.n > scope) {
    mp_ten t = e->owned.at[--e->owned.n];
    e->owned.at[e->owned.n] = 0;
    if (t >= 0) mp_em_release(e, t);
  }
  for (uint32_t k = 0; k < n; k++)
    if (keep[k] >= 0) own(e, keep[k]);
}

mp_ten mp_em_leave1(mp_em *e, size_t scope, mp_ten keep) {
  mp_em_leave(e, scope, &keep, 1);
  return keep;
}

/* ---- tensors ---- */

static mp_ten add_tensor(mp_em *e, const mp_tensor_info *info) {
  mp_ten t = (mp_ten)e->tens.n;
  *mp_push(e->a, &e->tens) = *info;
  *mp_push(e->a, &e->holds) = 1;
  mp_em_event(e, MP_EV_TENSOR, t, 0);
  return own(e, t);
}

int64_t mp_em_product(const mp_em *e, int64_t a, int64_t b) {
  int64_t n;
  if (!mp_mul_i64(a, b, &n) || n >= (int64_t)MP_MOST_ELEMENTS || n <= -(int64_t)MP_MOST_ELEMENTS)
    mp_fail(e->a, MP_BAD_INPUT, "%s: a size of %lld times %lld; check the dimensions given with --dim", e->c ? e->c->row->name : "backward", (long long)a, (long long)b);
  return n;
}

/* Every tensor and view passes the two checks here, so that neither products of dims nor of strides overflow behind them. */
static void check_dims(mp_em *e, const char *op, int rank, const int64_t *dims) {
  if (rank > MP_RANK) mp_fail(e->a, MP_BAD_INPUT, "a tensor of rank %d: memplan follows tensors of up to %d dimensions on the device", rank, MP_RANK);
  uint64_t n = 1;
  for (int i = 0; i < rank; i++) {
    if (dims[i] < 0) mp_fail(e->a, MP_BAD_INPUT, "%s: a tensor with a dimension of %lld; check the dimensions given with --dim", op, (long long)dims[i]);
    if (dims[i] && (!mp_mul_u64(n, (uint64_t)dims[i], &n) || n >= MP_MOST_ELEMENTS)) mp_fail(e->a, MP_BAD_INPUT, "%s: a tensor of more than 2^56 elements; check the dimensions given with --dim", op);
  }
}

/* -> elements from the first to the last, both included, where all strides are laid out; 0 for an empty tensor */
static uint64_t check_strides(mp_em *e, const char *op, int rank, const int64_t *dims, const int64_t *strides) {
  uint64_t last = 0, far;
  bool empty = false, ok = true;
  for (int i = 0; i < rank; i++) {
    ok = ok && strides[i] >= 0 && strides[i] <= (int64_t)MP_MOST_ELEMENTS;
    if (!dims[i]) empty = true;
    else ok = ok && mp_mul_u64((uint64_t)(dims[i] - 1), (uint64_t)strides[i], &far) && mp_add_u64(last, far, &last) && last <= MP_MOST_ELEMENTS;
  }
  if (!ok) mp_fail(e->a, MP_BAD_INPUT, "%s: a tensor whose elements lie more than 2^56 apart; check the dimensions given with --dim", op);
  return empty ? 0 : last + 1;
}

static void set_layout(mp_tensor_info *i, int rank, const int64_t *dims, const int64_t *strides) {
  i->rank = rank;
  if (!rank) return;
  memcpy(i->dims, dims, (size_t)rank * sizeof *dims);
  memcpy(i->strides, strides, (size_t)rank * sizeof *strides);
}

mp_ten mp_em_new_strided(mp_em *e, const char *op, mp_dtype t, int rank, const int64_t *dims, const int64_t *strides) {
  check_dims(e, op, rank, dims);
  uint64_t bytes = 0, n = check_strides(e, op, rank, dims, strides);
  mp_tensor_info info = {.storage = (int32_t)e->stor.n, .dtype = t, .fn = -1};
  set_layout(&info, rank, dims, strides);
  if (n && (!mp_dtype_bytes(t, n, &bytes) || bytes >= (UINT64_C(1) << 60))) mp_fail(e->a, MP_BAD_INPUT, "%s: a tensor of more than 2^60 bytes; check the dimensions given with --dim", op);
  *mp_push(e->a, &e->stor) = (mp_storage){.bytes = bytes, .category = e->born, .op = op, .call = e->call, .var = -1, .what = MP_WHAT_RESULT};
  mp_em_event(e, MP_EV_NEW, info.storage, 0);
  return add_tensor(e, &info);
}

mp_ten mp_em_new_format(mp_em *e, const char *op, mp_dtype t, int rank, const int64_t *dims, bool channels_last) {
  int64_t strides[MP_RANK];
  check_dims(e, op, rank, dims);
  (channels_last ? mp_strides_channels_last : mp_strides_contiguous)(rank, dims, strides);
  return mp_em_new_strided(e, op, t, rank, dims, strides);
}

mp_ten mp_em_new(mp_em *e, const char *op, mp_dtype t, int rank, const int64_t *dims) { return mp_em_new_format(e, op, t, rank, dims, false); }

mp_ten mp_em_new_like_dtype(mp_em *e, const char *op, mp_ten like, mp_dtype t) {
  mp_tensor_info i = *mp_em_info(e, like);
  if (mp_is_dense(&i)) return mp_em_new_strided(e, op, t, i.rank, i.dims, i.strides);
  int64_t strides[MP_RANK];
  mp_strides_elementwise(e, &like, 1, i.rank, i.dims, strides); /* empty_like of a tensor with gaps keeps the order of its strides */
  return mp_em_new_strided(e, op, t, i.rank, i.dims, strides);
}

mp_ten mp_em_new_like(mp_em *e, const char *op, mp_ten like) { return mp_em_new_like_dtype(e, op, like, mp_em_info(e, like)->dtype); }
mp_ten mp_em_scalar(mp_em *e, const char *op, mp_dtype t) { return mp_em_new(e, op, t, 0, NULL); }
void mp_em_set_what(mp_em *e, mp_ten t, mp_what what) { e->stor.at[mp_em_info(e, t)->storage].what = (uint8_t)what; }

mp_ten mp_em_view(mp_em *e, mp_ten t, int rank, const int64_t *dims, const int64_t *strides, int64_t offset) {
  check_dims(e, "a view", rank, dims);
  check_strides(e, "a view", rank, dims, strides);
  mp_tensor_info from = *mp_em_info(e, t), info = {.storage = from.storage, .dtype = from.dtype, .offset = offset, .fn = -1, .is_view = true};
  set_layout(&info, rank, dims, strides);
  return add_tensor(e, &info);
}

mp_ten mp_em_alias(mp_em *e, mp_ten t) {
  mp_tensor_info i = *mp_em_info(e, t);
  return mp_em_view(e, t, i.rank, i.dims, i.strides, i.offset);
}

void mp_em_scratch(mp_em *e, const char *op, uint64_t bytes) {
  if (bytes >= UINT64_C(1) << 60) mp_fail(e->a, MP_BAD_INPUT, "%s: a workspace of more than 2^60 bytes; check the dimensions given with --dim", op);
  if (bytes) mp_em_event(e, MP_EV_SCRATCH, 0, bytes);
}

/* ---- autograd: recording ---- */

bool mp_em_needs(const mp_em *e, mp_ten t) { return t >= 0 && e->grad && e->tens.at[t].requires_grad; }

int32_t mp_em_leaf(mp_em *e, mp_ten param) {
  mp_tensor_info *i = &e->tens.at[param];
  if (i->fn < 0) {
    i->fn = (int32_t)e->fns.n;
    i->fn_out = 0;
    mp_ten *meta = mp_alloc(e->a, sizeof *meta);
    *meta = param;
    *mp_push(e->a, &e->fns) = (mp_fn){.row = &mp_grad_accumulate, .call = -1, .param = param, .out_count = 1, .outs = meta};
  }
  return e->tens.at[param].fn;
}

bool mp_fn_begin(mp_em *e, const mp_grad *row, const mp_ten *inputs, uint32_t n) {
  assert(!e->is_pending);
  bool any = false;
  for (uint32_t i = 0; i < n; i++) any = any || mp_em_needs(e, inputs[i]);
  if (!any) return false;
  mp_fn *f = &e->pending;
  memset(f, 0, sizeof *f);
  f->row = row;
  f->call = e->call;
  f->param = -1;
  f->edge_count = (uint16_t)n;
  f->edges = mp_alloc_array(e->a, n, sizeof *f->edges);
  f->in_meta = mp_alloc_array(e->a, n, sizeof *f->in_meta);
  f->outs = mp_alloc_array(e->a, MP_FIRST_OUTS, sizeof *f->outs);
  for (uint32_t i = 0; i < n; i++) {
    mp_ten t = inputs[i];
    f->in_meta[i] = t;
    f->edges[i] = (mp_edge){-1, 0};
    if (!mp_em_needs(e, t)) continue;
    int32_t fn = e->tens.at[t].is_leaf_param ? mp_em_leaf(e, t) : e->tens.at[t].fn;
    f->edges[i] = (mp_edge){fn, e->tens.at[t].fn_out};
  }
  e->is_pending = true;
  return true;
}

void mp_fn_save(mp_em *e, uint32_t slot, mp_ten t) {
  mp_fn *f = &e->pending;
  assert(e->is_pending && slot < MP_MAX_SAVED);
  for (; f->saved_count <= slot; f->saved_count++) f->saved[f->saved_count] = -1;
  f->saved[slot] = t;
}

void mp_fn_meta(mp_em *e, const int64_t *ints, uint32_t n) {
  mp_fn *f = &e->pending;
  f->meta = mp_alloc_array(e->a, n, sizeof *f->meta);
  f->meta_count = n;
  if (n) memcpy(f->meta, ints, n * sizeof *ints);
}

void mp_fn_output(mp_em *e, mp_ten t) {
  mp_fn *f = &e->pending;
  if (f->out_count >= MP_FIRST_OUTS && (f->out_count & (f->out_count - 1)) == 0) { /* many outputs (unbind): double the room */
    mp_ten *more = mp_alloc_array(e->a, (size_t)f->out_count * 2, sizeof *more);
    memcpy(more, f->outs, f->out_count * sizeof *more);
    f->outs = more;
  }
  f->outs[f->out_count] = t;
  if (t >= 0) {
    mp_tensor_info *i = &e->tens.at[t];
    i->fn = (int32_t)e->fns.n;
    i->fn_out = f->out_count;
    i->requires_grad = mp_dtype_is_float(i->dtype);
  }
  f->out_count++;
}

void mp_fn_end(mp_em *e) {
  int32_t fn = (int32_t)e->fns.n;
  *mp_push(e->a, &e->fns) = e->pending;
  e->is_pending = false;
  assert(!e->live); /* backward runs without grad */
  mp_em_event(e, MP_EV_FN, fn, 0);
}

void mp_em_copy_needs(mp_em *e, mp_ten to, mp_ten from) {
  e->tens.at[to].fn = e->tens.at[from].fn;
  e->tens.at[to].fn_out = e->tens.at[from].fn_out;
  e->tens.at[to].requires_grad = e->tens.at[from].requires_grad;
}

/* ---- autograd: what a backward row reads ---- */

mp_ten mp_bw_grad(const mp_bw *b, uint32_t out) { return out < b->e->fns.at[b->fn].out_count ? b->grads[out] : -1; }
mp_ten mp_bw_saved(const mp_bw *b, uint32_t slot) {
  const mp_fn *f = &b->e->fns.at[b->fn];
  return slot < f->saved_count ? f->saved[slot] : -1;
}
bool mp_bw_wants(const mp_bw *b, uint32_t input) { return input < b->e->fns.at[b->fn].edge_count && b->e->fns.at[b->fn].edges[input].fn >= 0; }
const int64_t *mp_bw_meta(const mp_bw *b) { return b->e->fns.at[b->fn].meta; }
uint32_t mp_bw_meta_count(const mp_bw *b) { return b->e->fns.at[b->fn].meta_count; }
const mp_tensor_info *mp_bw_input(const mp_bw *b, uint32_t input) { return &b->e->tens.at[b->e->fns.at[b->fn].in_meta[input]]; }
const mp_tensor_info *mp_bw_output(const mp_bw *b, uint32_t out) { return &b->e->tens.at[b->e->fns.at[b->fn].outs[out]]; }
void mp_bw_give(mp_bw *b, uint32_t input, mp_ten g) {
  if (!mp_bw_wants(b, input) || g < 0) return;
  mp_em_hold(b->e, g);
  if (b->given[input] >= 0) mp_em_release(b->e, b->given[input]);
  b->given[input] = g;
}
