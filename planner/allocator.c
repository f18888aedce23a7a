/* tape -> reserved bytes: PyTorch's CUDA caching allocator for one stream (c10/cuda/CUDACachingAllocator.cpp).
 *
 * Sizes are rounded to 512 B. Up to 1 MiB comes from the small pool (2 MiB segments), up to 10 MiB from 20 MiB segments, more from segments rounded to 2 MiB. Best fit, then lowest
 * address; a block is split when the rest is at least 512 B (small) or more than 1 MiB (large); freed neighbours merge; segments are kept. */
#include <assert.h>
#include <string.h>

#include "planner/inside.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)

typedef struct block {
  uint64_t size, address;
  int32_t prev, next; /* neighbours in the segment, -1 */
  bool is_free, small;
} block;

typedef struct pool { /* free blocks by (size, address) */
  int32_t *at;
  size_t n, cap;
} pool;

typedef struct allocator {
  mp_arena *a;
  MP_VEC(block) blocks;
  MP_VEC(int32_t) spare; /* block records that merged away */
  pool pools[2];
  uint64_t next_address, reserved, allocated;
  bool expandable;
} allocator;

static bool less(const allocator *m, int32_t x, uint64_t size, uint64_t address) {
  const block *b = &m->blocks.at[x];
  return b->size != size ? b->size < size : b->address < address;
}

static size_t lower(const allocator *m, const pool *p, uint64_t size, uint64_t address) {
  size_t lo = 0, hi = p->n;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (less(m, p->at[mid], size, address)) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

static void insert(allocator *m, int32_t b) {
  pool *p = &m->pools[m->blocks.at[b].small];
  p->at = mp_vec_grow(m->a, p->at, p->n, &p->cap, sizeof *p->at);
  size_t i = lower(m, p, m->blocks.at[b].size, m->blocks.at[b].address);
  memmove(p->at + i + 1, p->at + i, (p->n - i) * sizeof *p->at);
  p->at[i] = b;
  p->n++;
}

static void take_out(allocator *m, int32_t b) {
  pool *p = &m->pools[m->blocks.at[b].small];
  size_t i = lower(m, p, m->blocks.at[b].size, m->blocks.at[b].address);
  assert(p->at[i] == b);
  memmove(p->at + i, p->at + i + 1, (p->n - i - 1) * sizeof *p->at);
  p->n--;
}

static int32_t new_block(allocator *m, block b) {
  if (m->spare.n) {
    int32_t i = m->spare.at[--m->spare.n];
    m->blocks.at[i] = b;
    return i;
  }
  *mp_push(m->a, &m->blocks) = b;
  return (int32_t)m->blocks.n - 1;
}

static uint64_t segment_size(uint64_t n) {
  if (n <= MIB) return 2 * MIB;
  return n < 10 * MIB ? 20 * MIB : (n + 2 * MIB - 1) / (2 * MIB) * (2 * MIB);
}

static int32_t give(allocator *m, uint64_t bytes) {
  uint64_t n = bytes < 512 ? 512 : (bytes + 511) / 512 * 512;
  bool small = n <= MIB;
  pool *p = &m->pools[small];
  size_t i = lower(m, p, n, 0);
  int32_t b;
  if (i < p->n) {
    b = p->at[i];
    take_out(m, b);
  } else {
    uint64_t size = segment_size(n);
    b = new_block(m, (block){size, m->next_address, -1, -1, false, small});
    m->next_address += size + (1 << 30); /* segments never touch */
    m->reserved += size;
  }
  block *x = &m->blocks.at[b];
  uint64_t rest = x->size - n;
  if (small ? rest >= 512 : rest > MIB) {
    block tail = {rest, x->address + n, b, x->next, true, small};
    int32_t t = new_block(m, tail);
    x = &m->blocks.at[b];
    if (x->next >= 0) m->blocks.at[x->next].prev = t;
    x->next = t;
    x->size = n;
    insert(m, t);
  }
  x->is_free = false;
  m->allocated += x->size;
  return b;
}

static void merge_next(allocator *m, int32_t b) {
  int32_t n = m->blocks.at[b].next;
  m->blocks.at[b].size += m->blocks.at[n].size;
  m->blocks.at[b].next = m->blocks.at[n].next;
  if (m->blocks.at[n].next >= 0) m->blocks.at[m->blocks.at[n].next].prev = b;
  *mp_push(m->a, &m->spare) = n;
}

static void take_back(allocator *m, int32_t b) {
  m->allocated -= m->blocks.at[b].size;
  m->blocks.at[b].is_free = true;
  int32_t next = m->blocks.at[b].next, prev = m->blocks.at[b].prev;
  if (next >= 0 && m->blocks.at[next].is_free) {
    take_out(m, next);
    merge_next(m, b);
  }
  if (prev >= 0 && m->blocks.at[prev].is_free) {
    take_out(m, prev);
    merge_next(m, prev);
    b = prev;
  }
  insert(m, b);
}

mp_reserved mp_allocator_replay(mp_arena *a, const mp_tape *t, bool expandable_segments) {
  allocator m = {.a = a, .expandable = expandable_segments};
  int32_t *where = mp_alloc_array(a, t->instance_count + 1, sizeof *where);
  mp_reserved r = {0};
  uint64_t peak = 0;
  for (uint32_t i = 0; i < t->step_count; i++) {
    const mp_step *s = &t->steps[i];
    if (s->kind == MP_ALLOC && s->bytes) where[s->id] = give(&m, s->bytes);
    if (s->kind == MP_FREE && s->bytes) take_back(&m, where[s->id]);
    if (m.allocated > peak) peak = m.allocated;
  }
  r.reserved = m.reserved;
  r.fragmentation = m.reserved > peak ? m.reserved - peak : 0;
  return r;
}
