/* A schedule as a sequence of events that can be edited: insert and remove cost O(sqrt L) each, and can be undone.
 *
 * Memory at an event is the sum over values whose life [event, last user] covers it. The events stand in blocks; a block has one figure to
 * add to all its members and its maximum, so that adding to a range touches two blocks and one pair of numbers for each block between. */
#include <string.h>

#include "planner/remat_inside.h"

#define BLOCK 64u
#define EMPTY (INT64_MIN / 2)

typedef struct block {
  uint32_t n, ev[BLOCK];
  int64_t mem[BLOCK];
} block;

typedef struct change {
  uint32_t node, event, before;
  bool inserted;
} change;

/* ---- sorted lists of event ids, storage reused by size class ---- */

static void list_reserve(seq *s, list *l, uint32_t n) {
  if (n <= l->cap) return;
  uint32_t class = 2, cap = 4;
  while (cap < n) cap *= 2, class ++;
  list *pool = &s->pools[class];
  uint32_t *at;
  if (pool->n) {
    /* a freed array holds in its first element pair the address of the next one */
    memcpy(&at, &pool->at, sizeof at);
    memcpy(&pool->at, at, sizeof pool->at);
    pool->n--;
  } else {
    at = mp_alloc_array(s->arena, cap, sizeof *at);
  }
  if (l->n) memcpy(at, l->at, l->n * sizeof *at);
  if (l->cap) {
    uint32_t old = 2;
    while ((1u << old) < l->cap) old++;
    memcpy(l->at, &s->pools[old].at, sizeof(uint32_t *));
    s->pools[old].at = l->at;
    s->pools[old].n++;
  }
  l->at = at;
  l->cap = cap;
}

static void list_put(seq *s, list *l, uint32_t at, uint32_t id) {
  list_reserve(s, l, l->n + 1);
  memmove(l->at + at + 1, l->at + at, (l->n - at) * sizeof *l->at);
  l->at[at] = id;
  l->n++;
}

static void list_cut(list *l, uint32_t at) {
  l->n--;
  memmove(l->at + at, l->at + at + 1, (l->n - at) * sizeof *l->at);
}

/* how many events of l stand before key */
static uint32_t list_rank(const seq *s, const list *l, uint64_t key) {
  uint32_t lo = 0, hi = l->n;
  while (lo < hi) {
    uint32_t mid = (lo + hi) / 2;
    if (mp_seq_key(s, l->at[mid]) < key)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

/* ---- positions ---- */

static uint64_t key_of(uint32_t rank, uint32_t slot) { return (uint64_t)rank << 32 | slot; }
static uint32_t rank_of(const seq *s, uint32_t e) { return (uint32_t)(s->ev[e].key >> 32); }
static uint32_t slot_of(const seq *s, uint32_t e) { return (uint32_t)s->ev[e].key; }

uint32_t mp_seq_next(const seq *s, uint32_t e) {
  uint32_t r = rank_of(s, e), slot = slot_of(s, e) + 1;
  for (; r < s->n_blocks; r++, slot = 0) {
    const block *b = &s->blocks[s->order[r]];
    if (slot < b->n) return b->ev[slot];
  }
  return NONE;
}

uint32_t mp_seq_before(const seq *s, uint32_t node, uint64_t key) {
  const list *l = &s->of_node[node];
  return l->n == 1 ? l->at[0] : l->at[list_rank(s, l, key) - 1];
}

uint32_t mp_seq_user_after(const seq *s, uint32_t e, uint64_t key) {
  const list *u = &s->ev[e].users;
  uint32_t r = list_rank(s, u, key);
  return r < u->n ? u->at[r] : NONE;
}

static void refresh(seq *s, uint32_t rank) {
  const block *b = &s->blocks[s->order[rank]];
  int64_t m = EMPTY;
  for (uint32_t i = 0; i < b->n; i++)
    if (b->mem[i] > m) m = b->mem[i];
  s->max[rank] = m == EMPTY ? EMPTY : m + s->add[rank];
}

static void add_slots(seq *s, uint32_t rank, uint32_t lo, uint32_t hi, int64_t d) {
  block *b = &s->blocks[s->order[rank]];
  if (hi > b->n) hi = b->n;
  for (uint32_t i = lo; i < hi; i++) b->mem[i] += d;
  refresh(s, rank);
}

/* adds d to every event with from <= key < to */
static void add_range(seq *s, uint64_t from, uint64_t to, int64_t d) {
  if (from >= to || !d) return;
  uint32_t r1 = (uint32_t)(from >> 32), r2 = (uint32_t)(to >> 32), s1 = (uint32_t)from, s2 = (uint32_t)to;
  if (r1 == r2) {
    add_slots(s, r1, s1, s2, d);
    return;
  }
  add_slots(s, r1, s1, BLOCK, d);
  for (uint32_t r = r1 + 1; r < r2; r++) s->add[r] += d, s->max[r] += s->max[r] == EMPTY ? 0 : d;
  if (r2 < s->n_blocks) add_slots(s, r2, 0, s2, d);
}

int64_t mp_seq_mem(const seq *s, uint32_t e) {
  uint32_t r = rank_of(s, e);
  return s->blocks[s->order[r]].mem[slot_of(s, e)] + s->add[r];
}

static int64_t max_slots(const seq *s, uint32_t rank, uint32_t lo, uint32_t hi) {
  const block *b = &s->blocks[s->order[rank]];
  if (hi > b->n) hi = b->n;
  int64_t m = EMPTY;
  for (uint32_t i = lo; i < hi; i++)
    if (b->mem[i] > m) m = b->mem[i];
  return m == EMPTY ? INT64_MIN : m + s->add[rank];
}

int64_t mp_seq_max(const seq *s, uint64_t after, uint64_t before) {
  uint64_t from = after + 1;
  if (from >= before) return INT64_MIN;
  uint32_t r1 = (uint32_t)(from >> 32), r2 = (uint32_t)(before >> 32);
  if (r1 == r2) return max_slots(s, r1, (uint32_t)from, (uint32_t)before);
  int64_t m = max_slots(s, r1, (uint32_t)from, BLOCK);
  for (uint32_t r = r1 + 1; r < r2; r++)
    if (s->max[r] != EMPTY && s->max[r] > m) m = s->max[r];
  int64_t last = max_slots(s, r2, 0, (uint32_t)before);
  return last > m ? last : m;
}

int64_t mp_seq_peak(const seq *s) {
  int64_t m = EMPTY;
  for (uint32_t r = 0; r < s->n_blocks; r++)
    if (s->max[r] > m) m = s->max[r];
  return m;
}

uint32_t mp_seq_argpeak(const seq *s, bool last) {
  int64_t m = mp_seq_peak(s);
  for (uint32_t k = 0; k < s->n_blocks; k++) {
    uint32_t r = last ? s->n_blocks - 1 - k : k;
    if (s->max[r] != m) continue;
    const block *b = &s->blocks[s->order[r]];
    for (uint32_t j = 0; j < b->n; j++) {
      uint32_t i = last ? b->n - 1 - j : j;
      if (b->mem[i] + s->add[r] == m) return b->ev[i];
    }
  }
  return NONE;
}

/* ---- blocks ---- */

static void number(seq *s, uint32_t rank, uint32_t slot) {
  const block *b = &s->blocks[s->order[rank]];
  for (uint32_t i = slot; i < b->n; i++) s->ev[b->ev[i]].key = key_of(rank, i);
}

static void fresh_block(seq *s, uint32_t rank) {
  if (s->n_blocks == s->cap_blocks) {
    uint32_t cap = s->cap_blocks ? s->cap_blocks * 2 : 8;
#define GROW(p)                                                 \
  do {                                                          \
    void *q = mp_alloc_array(s->arena, cap, sizeof *(p));       \
    if (s->n_blocks) memcpy(q, (p), s->n_blocks * sizeof *(p)); \
    (p) = q;                                                    \
  } while (0)
    GROW(s->blocks);
    GROW(s->order);
    GROW(s->add);
    GROW(s->max);
#undef GROW
    s->cap_blocks = cap;
  }
  uint32_t id = s->n_blocks, tail = s->n_blocks - rank;
  memmove(s->order + rank + 1, s->order + rank, tail * sizeof *s->order);
  memmove(s->add + rank + 1, s->add + rank, tail * sizeof *s->add);
  memmove(s->max + rank + 1, s->max + rank, tail * sizeof *s->max);
  s->n_blocks++;
  s->order[rank] = id;
  s->add[rank] = 0;
  s->max[rank] = EMPTY;
  s->blocks[id].n = 0;
}

static void split(seq *s, uint32_t rank) {
  fresh_block(s, rank + 1);
  block *b = &s->blocks[s->order[rank]], *c = &s->blocks[s->order[rank + 1]];
  uint32_t half = b->n / 2;
  c->n = b->n - half;
  memcpy(c->ev, b->ev + half, c->n * sizeof *c->ev);
  memcpy(c->mem, b->mem + half, c->n * sizeof *c->mem);
  b->n = half;
  s->add[rank + 1] = s->add[rank];
  for (uint32_t r = rank + 1; r < s->n_blocks; r++) number(s, r, 0);
  refresh(s, rank);
  refresh(s, rank + 1);
}

static void place(seq *s, uint32_t e, uint32_t rank, uint32_t slot, int64_t mem) {
  block *b = &s->blocks[s->order[rank]];
  memmove(b->ev + slot + 1, b->ev + slot, (b->n - slot) * sizeof *b->ev);
  memmove(b->mem + slot + 1, b->mem + slot, (b->n - slot) * sizeof *b->mem);
  b->ev[slot] = e;
  b->mem[slot] = mem - s->add[rank];
  b->n++;
  number(s, rank, slot);
  if (mem > s->max[rank]) s->max[rank] = mem;
}

static void displace(seq *s, uint32_t e) {
  uint32_t rank = rank_of(s, e), slot = slot_of(s, e);
  block *b = &s->blocks[s->order[rank]];
  b->n--;
  memmove(b->ev + slot, b->ev + slot + 1, (b->n - slot) * sizeof *b->ev);
  memmove(b->mem + slot, b->mem + slot + 1, (b->n - slot) * sizeof *b->mem);
  number(s, rank, slot);
  refresh(s, rank);
}

/* ---- edits ---- */

static uint32_t fresh_event(seq *s) {
  if (s->spare.n) return s->spare.at[--s->spare.n];
  if (s->n_ev == s->cap_ev) {
    uint32_t cap = s->cap_ev ? s->cap_ev * 2 : 64;
    event *ev = mp_alloc_array(s->arena, cap, sizeof *ev);
    if (s->n_ev) memcpy(ev, s->ev, s->n_ev * sizeof *ev);
    s->ev = ev;
    s->cap_ev = cap;
  }
  return s->n_ev++;
}

static void note(seq *s, uint32_t node, uint32_t e, uint32_t before, bool inserted) {
  s->log = mp_vec_grow(s->arena, s->log, s->n_log, &s->cap_log, sizeof *s->log);
  s->log[s->n_log++] = (change){node, e, before, inserted};
}

/* e stands at its place; takes its inputs from the latest events before it */
static void read_inputs(seq *s, uint32_t e) {
  const rgraph *g = s->g;
  uint32_t node = s->ev[e].node;
  uint64_t key = mp_seq_key(s, e);
  for (uint32_t k = g->in_at[node]; k < g->in_at[node + 1]; k++) {
    uint32_t j = g->in[k], p = mp_seq_before(s, j, key);
    uint64_t end = mp_seq_key(s, mp_seq_end(s, p));
    if (end < key) add_range(s, end + 1, key + 1, g->bytes[j]);
    list *u = &s->ev[p].users;
    list_put(s, u, list_rank(s, u, key), e);
  }
}

static uint32_t insert(seq *s, uint32_t node, uint32_t before) {
  const rgraph *g = s->g;
  if (s->blocks[s->order[rank_of(s, before)]].n == BLOCK) split(s, rank_of(s, before));
  uint32_t e = fresh_event(s);
  event *x = &s->ev[e];
  x->node = node;
  x->users.n = 0;
  place(s, e, rank_of(s, before), slot_of(s, before), mp_seq_mem(s, before) - g->bytes[s->ev[before].node]);
  uint64_t key = mp_seq_key(s, e);
  list *own = &s->of_node[node];
  uint32_t r = list_rank(s, own, key), older = own->at[r - 1];
  list_put(s, own, r, e);
  read_inputs(s, e);
  list *from = &s->ev[older].users;
  uint32_t k = list_rank(s, from, key), moved = from->n - k;
  if (moved) {
    list_reserve(s, &x->users, moved);
    memcpy(x->users.at, from->at + k, moved * sizeof *from->at);
    x->users.n = moved;
    from->n = k;
    add_range(s, mp_seq_key(s, mp_seq_end(s, older)) + 1, key, -g->bytes[node]);
  } else {
    add_range(s, key, key + 1, g->bytes[node]);
  }
  x->extra = s->extras.n;
  list_put(s, &s->extras, s->extras.n, e);
  s->cost += g->cost[node];
  return e;
}

static void erase(seq *s, uint32_t e) {
  const rgraph *g = s->g;
  event *x = &s->ev[e];
  uint32_t node = x->node;
  uint64_t key = mp_seq_key(s, e);
  list *own = &s->of_node[node];
  uint32_t r = list_rank(s, own, key), older = own->at[r - 1];
  if (x->users.n) {
    list *to = &s->ev[older].users;
    add_range(s, mp_seq_key(s, mp_seq_end(s, older)) + 1, key, g->bytes[node]);
    list_reserve(s, to, to->n + x->users.n);
    memcpy(to->at + to->n, x->users.at, x->users.n * sizeof *to->at);
    to->n += x->users.n;
    x->users.n = 0;
  }
  for (uint32_t k = g->in_at[node]; k < g->in_at[node + 1]; k++) {
    uint32_t j = g->in[k], p = mp_seq_before(s, j, key);
    list *u = &s->ev[p].users;
    uint32_t at = list_rank(s, u, key);
    bool last = at + 1 == u->n;
    list_cut(u, at);
    if (last) add_range(s, mp_seq_key(s, mp_seq_end(s, p)) + 1, key + 1, -g->bytes[j]);
  }
  list_cut(own, r);
  displace(s, e);
  uint32_t last = s->extras.at[--s->extras.n];
  s->extras.at[x->extra] = last;
  s->ev[last].extra = x->extra;
  list_put(s, &s->spare, s->spare.n, e);
  s->cost -= g->cost[node];
}

uint32_t mp_seq_insert(seq *s, uint32_t node, uint32_t before) {
  uint32_t e = insert(s, node, before);
  note(s, node, e, before, true);
  return e;
}

void mp_seq_remove(seq *s, uint32_t e) {
  note(s, s->ev[e].node, e, mp_seq_next(s, e), false);
  erase(s, e);
}

size_t mp_seq_mark(const seq *s) { return s->n_log; }

/* edits leave blocks behind that hold little */
static void repack(seq *s) {
  uint32_t live = s->g->n + s->extras.n, n = 0;
  if (s->n_blocks < 16 + 4 * (live / (BLOCK / 2))) return;
  mp_mark mark = mp_arena_mark(s->arena);
  uint32_t *ev = mp_alloc_array(s->arena, live, sizeof *ev);
  int64_t *mem = mp_alloc_array(s->arena, live, sizeof *mem);
  for (uint32_t r = 0; r < s->n_blocks; r++) {
    const block *b = &s->blocks[s->order[r]];
    for (uint32_t i = 0; i < b->n; i++) ev[n] = b->ev[i], mem[n++] = b->mem[i] + s->add[r];
  }
  s->n_blocks = (live + BLOCK / 2 - 1) / (BLOCK / 2);
  for (uint32_t r = 0, i = 0; r < s->n_blocks; r++) {
    block *b = &s->blocks[r];
    s->order[r] = r;
    s->add[r] = 0;
    for (b->n = 0; b->n < BLOCK / 2 && i < live; i++) {
      s->ev[ev[i]].key = key_of(r, b->n);
      b->ev[b->n] = ev[i];
      b->mem[b->n++] = mem[i];
    }
    refresh(s, r);
  }
  mp_arena_rewind(s->arena, mark);
}

void mp_seq_commit(seq *s) {
  s->n_log = 0;
  repack(s);
}

void mp_seq_undo(seq *s, size_t mark) {
  while (s->n_log > mark) {
    change c = s->log[--s->n_log];
    if (c.inserted)
      erase(s, c.event);
    else
      insert(s, c.node, c.before); /* takes the same id: ids come back last in, first out */
  }
}

/* ---- whole sequences ---- */

void mp_seq_save(const seq *s, list *nodes) {
  uint32_t total = s->g->n + s->extras.n;
  if (total > nodes->cap) {
    nodes->cap = total + total / 4;
    nodes->at = mp_alloc_array(s->arena, nodes->cap, sizeof *nodes->at);
  }
  nodes->n = 0;
  for (uint32_t r = 0; r < s->n_blocks; r++) {
    const block *b = &s->blocks[s->order[r]];
    for (uint32_t i = 0; i < b->n; i++) nodes->at[nodes->n++] = s->ev[b->ev[i]].node;
  }
}

/* memory of every event, once all users are known */
static void fill_memory(seq *s, uint32_t n) {
  mp_mark mark = mp_arena_mark(s->arena);
  int64_t now = 0;
  list *dying = mp_alloc_array(s->arena, n, sizeof *dying); /* events that die after the i-th, as chains through .n */
  uint32_t *next = mp_alloc_array(s->arena, n, sizeof *next);
  for (uint32_t i = 0; i < n; i++) dying[i].n = NONE;
  for (uint32_t e = 0; e < n; e++) {
    uint32_t end = mp_seq_end(s, e);
    next[e] = dying[end].n;
    dying[end].n = e;
  }
  for (uint32_t e = 0; e < n; e++) {
    now += s->g->bytes[s->ev[e].node];
    s->blocks[s->order[rank_of(s, e)]].mem[slot_of(s, e)] = now;
    for (uint32_t d = dying[e].n; d != NONE; d = next[d]) now -= s->g->bytes[s->ev[d].node];
  }
  for (uint32_t r = 0; r < s->n_blocks; r++) refresh(s, r);
  mp_arena_rewind(s->arena, mark);
}

void mp_seq_load(seq *s, const list *nodes) {
  const rgraph *g = s->g;
  for (uint32_t e = 0; e < s->n_ev; e++) s->ev[e].users.n = 0; /* storage stays */
  for (uint32_t v = 0; v < g->n; v++) s->of_node[v].n = 0;
  s->n_ev = s->n_blocks = s->spare.n = s->extras.n = 0;
  s->n_log = 0;
  s->cost = 0;
  for (uint32_t i = 0; i < nodes->n; i++) {
    if (i % (BLOCK / 2) == 0) fresh_block(s, s->n_blocks);
    uint32_t e = fresh_event(s), v = nodes->at[i], rank = s->n_blocks - 1;
    event *x = &s->ev[e];
    block *b = &s->blocks[s->order[rank]];
    x->node = v;
    x->key = key_of(rank, b->n);
    x->extra = NONE;
    b->ev[b->n++] = e;
    for (uint32_t k = g->in_at[v]; k < g->in_at[v + 1]; k++) {
      const list *l = &s->of_node[g->in[k]];
      list *u = &s->ev[l->at[l->n - 1]].users;
      list_put(s, u, u->n, e);
    }
    if (s->of_node[v].n) {
      x->extra = s->extras.n;
      list_put(s, &s->extras, s->extras.n, e);
    }
    list_put(s, &s->of_node[v], s->of_node[v].n, e);
    s->cost += g->cost[v];
  }
  fill_memory(s, nodes->n);
}

seq *mp_seq_make(mp_arena *a, const rgraph *g, const list *nodes) {
  seq *s = mp_alloc(a, sizeof *s);
  s->arena = a;
  s->g = g;
  s->pools = mp_alloc_array(a, 34, sizeof *s->pools);
  s->of_node = mp_alloc_array(a, g->n, sizeof *s->of_node);
  mp_seq_load(s, nodes);
  return s;
}
