/* tape -> reserved bytes: PyTorch's CUDA caching allocator for one stream (c10/cuda/CUDACachingAllocator.cpp).
 *
 * Sizes are rounded to 512 B. Up to 1 MiB comes from the small pool (2 MiB segments), up to 10 MiB from 20 MiB segments, more from segments rounded to 2 MiB. Best fit, then lowest
 * address; a block is split when the rest is at least 512 B (small) or more than 1 MiB (large); freed neighbours merge; segments are kept.
 *
 * Where the device has no more, wholly free segments are given back to it and the request is tried again (release_cached_blocks); then it fails.
 *
 * With expandable_segments:True a pool is one stretch of addresses that is mapped page by page (2 MiB small, 20 MiB large) as its end is needed, so a request need
 * not find or open a segment of its own size; every rest of 512 B is split off (find_expandable_block, map_block, should_split of the same file). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "planner/inside.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)

typedef struct block {
  uint64_t size, address;
  int32_t prev, next; /* neighbours in the segment, -1 */
  int32_t id;         /* storage instance in it */
  bool is_free, small;
} block;

typedef struct pool { /* free blocks by (size, address) */
  int32_t *at;
  size_t n, cap;
  int32_t end;        /* expandable: the last mapped block, -1 */
} pool;

typedef struct allocator {
  mp_arena *a;
  MP_VEC(block) blocks;
  MP_VEC(int32_t) spare; /* block records that merged away */
  pool pools[2];
  uint64_t next_address, reserved, allocated;
  uint64_t limit; /* of reserved bytes */
  bool expandable, failed;
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

/* release_cached_blocks: free blocks that are whole segments go */
static void release_cached(allocator *m) {
  for (int k = 0; k < 2; k++) {
    pool *p = &m->pools[k];
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
      const block *b = &m->blocks.at[p->at[i]];
      bool whole = b->prev < 0 && b->next < 0 && !m->expandable;
      if (whole) m->reserved -= b->size;
      if (whole) *mp_push(m->a, &m->spare) = p->at[i];
      else p->at[kept++] = p->at[i];
    }
    p->n = kept;
  }
}

/* a segment of its own */
static int32_t open_segment(allocator *m, uint64_t n, bool small) {
  uint64_t size = segment_size(n);
  if (size > m->limit - m->reserved) release_cached(m);
  m->failed |= size > m->limit - m->reserved;
  int32_t b = new_block(m, (block){size, m->next_address, -1, -1, -1, false, small});
  m->next_address += size + (1 << 30); /* segments never touch */
  m->reserved += size;
  return b;
}

/* more pages at the pool's end, joined to a free block that lies there */
static int32_t expand(allocator *m, uint64_t n, bool small) {
  pool *p = &m->pools[small];
  uint64_t page = small ? 2 * MIB : 20 * MIB, have = 0;
  int32_t b = p->end;
  if (b >= 0 && m->blocks.at[b].is_free) {
    take_out(m, b);
    have = m->blocks.at[b].size;
  }
  uint64_t pages = (n - have + page - 1) / page * page;
  m->failed |= pages > m->limit - m->reserved;
  m->reserved += pages;
  if (have) {
    m->blocks.at[b].size += pages;
    return b;
  }
  uint64_t address = b < 0 ? (uint64_t)small << 60 : m->blocks.at[b].address + m->blocks.at[b].size;
  p->end = new_block(m, (block){pages, address, b, -1, -1, false, small});
  if (b >= 0) m->blocks.at[b].next = p->end;
  return p->end;
}

/* Best fit among the free blocks. The one at the end of an expandable pool counts as large as it can grow, so the next larger one goes before it. */
static int32_t fitting(const allocator *m, const pool *p, uint64_t n) {
  size_t i = lower(m, p, n, 0);
  if (i + 1 < p->n && m->expandable && p->at[i] == p->end) i++;
  return i < p->n ? p->at[i] : -1;
}

static int32_t give(allocator *m, uint64_t bytes, int32_t id) {
  uint64_t n = bytes < 512 ? 512 : (bytes + 511) / 512 * 512;
  bool small = n <= MIB;
  pool *p = &m->pools[small];
  int32_t b = fitting(m, p, n);
  if (b >= 0) take_out(m, b);
  else b = m->expandable ? expand(m, n, small) : open_segment(m, n, small);
  block *x = &m->blocks.at[b];
  uint64_t rest = x->size - n;
  if (small || m->expandable ? rest >= 512 : rest > MIB) {
    block tail = {rest, x->address + n, b, x->next, -1, true, small};
    int32_t t = new_block(m, tail);
    if (p->end == b) p->end = t;
    x = &m->blocks.at[b];
    if (x->next >= 0) m->blocks.at[x->next].prev = t;
    x->next = t;
    x->size = n;
    insert(m, t);
  }
  x->is_free = false;
  x->id = id;
  m->allocated += x->size;
  return b;
}

static void merge_next(allocator *m, int32_t b) {
  int32_t n = m->blocks.at[b].next;
  m->blocks.at[b].size += m->blocks.at[n].size;
  m->blocks.at[b].next = m->blocks.at[n].next;
  if (m->blocks.at[n].next >= 0) m->blocks.at[m->blocks.at[n].next].prev = b;
  pool *p = &m->pools[m->blocks.at[b].small];
  if (p->end == n) p->end = b;
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

/* up to and including one step of the tape */
static void replay(allocator *m, const mp_tape *t, uint32_t from, uint32_t end, int32_t *where, uint64_t *peak) {
  for (uint32_t i = from; i < end && !m->failed; i++) {
    const mp_step *s = &t->steps[i];
    if (s->kind == MP_ALLOC && s->bytes) where[s->id] = give(m, s->bytes, s->id);
    if (s->kind == MP_FREE && s->bytes) take_back(m, where[s->id]);
    if (m->allocated > *peak) *peak = m->allocated;
  }
}

static allocator *start(mp_arena *a, bool expandable) {
  allocator *m = mp_alloc(a, sizeof *m);
  *m = (allocator){.a = a, .expandable = expandable, .limit = UINT64_MAX};
  m->pools[0].end = m->pools[1].end = -1;
  return m;
}

mp_reserved mp_allocator_replay(mp_arena *a, const mp_tape *t, bool expandable_segments) {
  allocator *m = start(a, expandable_segments);
  int32_t *where = mp_alloc_array(a, t->instance_count + 1, sizeof *where);
  uint64_t peak = 0;
  replay(m, t, 0, t->step_count, where, &peak);
  return (mp_reserved){m->reserved, m->reserved > peak ? m->reserved - peak : 0};
}

bool mp_allocator_runs_in(mp_arena *a, const mp_tape *t, bool expandable_segments, uint64_t limit) {
  allocator *m = start(a, expandable_segments);
  m->limit = limit;
  int32_t *where = mp_alloc_array(a, t->instance_count + 1, sizeof *where);
  uint64_t peak = 0;
  replay(m, t, 0, t->step_count, where, &peak);
  return !m->failed;
}

/* ---- where reserved memory lies idle ---- */

static int larger(const void *x, const void *y) {
  const mp_hole *a = x, *b = y;
  return a->bytes != b->bytes ? (a->bytes < b->bytes ? 1 : -1) : (a->address > b->address) - (a->address < b->address);
}

mp_fragments mp_allocator_at(mp_arena *a, const mp_tape *t, bool expandable_segments, uint32_t step) {
  allocator *m = start(a, expandable_segments);
  int32_t *where = mp_alloc_array(a, t->instance_count + 1, sizeof *where);
  uint64_t peak = 0, free_bytes = 0;
  MP_VEC(mp_hole) holes = {0};
  replay(m, t, 0, step + 1, where, &peak);
  mp_fragments f = {.reserved = m->reserved, .held = m->allocated};
  for (int k = 0; k < 2; k++)
    for (size_t i = 0; i < m->pools[k].n; i++) {
      const block *b = &m->blocks.at[m->pools[k].at[i]];
      int32_t before = b->prev < 0 ? -1 : m->blocks.at[b->prev].id, after = b->next < 0 ? -1 : m->blocks.at[b->next].id;
      *mp_push(a, &holes) = (mp_hole){b->size, b->address, before, after};
      free_bytes += b->size;
    }
  assert(free_bytes + f.held == f.reserved);
  (void)free_bytes; /* release builds do not check */
  if (holes.n) qsort(holes.at, holes.n, sizeof *holes.at, larger);
  f.holes = holes.at;
  f.hole_count = (uint32_t)holes.n;
  return f;
}
