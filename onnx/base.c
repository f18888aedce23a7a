/* Arena, errors, text, names: see base.h. */
#include "base.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK ((size_t)64 << 10)
#define HUGE_PAGE ((size_t)2 << 20)
#define ALIGN sizeof(max_align_t)

/* AddressSanitizer sees chunks, not the objects in them: it is told which bytes are nobody's, and every object has some behind it. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED
#include <sanitizer/asan_interface.h>
#define BEHIND 256 /* more than an element of most tables: what lies before the first is seen, too */
#define hide(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define show(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define BEHIND 0
#define hide(p, n) ((void)(p))
#define show(p, n) ((void)(p))
#endif

typedef struct chunk {
  struct chunk *prev;
  uint64_t serial;   /* counts up with every chunk of the arena */
  size_t size, used; /* of the bytes behind this header */
} chunk;
#define HEAD ((sizeof(chunk) + ALIGN - 1) / ALIGN * ALIGN)

typedef struct guard {
  jmp_buf at;
  mp_err *err;
  struct guard *outer;
} guard;

struct mp_arena {
  chunk *last;
  chunk *spare; /* one piece kept from the last rewind: searches mark and rewind all the time */
  guard *inner;
  uint64_t limit, used, requests, fail_at, serial;
};

mp_arena *mp_arena_new(uint64_t limit) {
  mp_arena *a = calloc(1, sizeof *a);
  if (a) a->limit = limit;
  return a;
}

void mp_arena_free(mp_arena *a) {
  if (!a) return;
  for (chunk *c = a->last; c;) {
    chunk *prev = c->prev;
    free(c);
    c = prev;
  }
  free(a->spare);
  free(a);
}

uint64_t mp_arena_used(const mp_arena *a) { return a->used; }
uint64_t mp_arena_requests(const mp_arena *a) { return a->requests; }
void mp_arena_fail_at(mp_arena *a, uint64_t n) { a->fail_at = n ? a->requests + n : 0; }

_Noreturn void mp_vfail(mp_arena *a, int code, const char *fmt, va_list ap) {
  guard *g = a->inner;
  if (!g) { /* a fault of ours: a body ran without mp_protect */
    fputs("memplan: failure outside mp_protect: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    abort();
  }
  g->err->code = code;
  vsnprintf(g->err->text, sizeof g->err->text, fmt, ap);
  for (char *p = g->err->text; *p; p++)
    if ((unsigned char)*p < ' ') *p = ' '; /* names from a hostile file must not break the line */
  longjmp(g->at, 1);
}

_Noreturn void mp_fail(mp_arena *a, int code, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  mp_vfail(a, code, fmt, ap);
}

void mp_err_set(mp_err *err, int code, const char *fmt, ...) {
  if (!err || err->code) return;
  va_list ap;
  va_start(ap, fmt);
  err->code = code;
  vsnprintf(err->text, sizeof err->text, fmt, ap);
  va_end(ap);
}

const void *mp_protect(mp_arena *a, mp_err *err, const void *(*body)(mp_arena *a, void *arg), void *arg) {
  mp_err local;
  guard g = {.err = err ? err : &local, .outer = a->inner};
  g.err->code = MP_OK;
  g.err->text[0] = 0;
  if (setjmp(g.at)) {
    a->inner = g.outer;
    return NULL;
  }
  a->inner = &g;
  const void *r = body(a, arg);
  a->inner = g.outer;
  return r;
}

/* An arena that grows takes larger pieces: fewer of them, and huge pages where the system has them. */
static size_t chunk_size(uint64_t used) { return used < (4 << 20) ? CHUNK : HUGE_PAGE - HEAD; }

static void *obtain(size_t size) {
  if (size < HUGE_PAGE) return malloc(size);
  void *p = aligned_alloc(HUGE_PAGE, (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
#ifdef MADV_HUGEPAGE
  if (p) madvise(p, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* a hint: its failure changes nothing */
#endif
  return p;
}

static chunk *new_chunk(mp_arena *a, size_t n) {
  chunk *c = a->spare;
  size_t size = n > CHUNK / 4 ? n : chunk_size(a->used);
  if (c && n <= CHUNK / 4) {
    a->spare = NULL;
    size = c->size;
  } else {
    if (a->limit && (size > a->limit || a->used > a->limit - size))
      mp_fail(a, MP_BAD_INPUT, "the model needs more than %llu MiB of working memory; raise the limit or give a smaller file",
              (unsigned long long)(a->limit >> 20));
    c = obtain(HEAD + size);
    if (!c) mp_fail(a, MP_INTERNAL, "out of memory after %llu MiB", (unsigned long long)(a->used >> 20));
    a->used += size + HEAD;
  }
  *c = (chunk){.size = size, .serial = ++a->serial};
  hide((char *)c + HEAD, size);
  return c;
}

static void *take(mp_arena *a, size_t n) {
  if (n > SIZE_MAX / 2 - HEAD - ALIGN) mp_fail(a, MP_INTERNAL, "out of memory: one object of %zu bytes", n);
  n = (n + ALIGN - 1) / ALIGN * ALIGN + BEHIND;
  chunk *c = a->last;
  if (!c || c->size - c->used < n) {
    chunk *fresh = new_chunk(a, n);
    /* a large object goes behind the current chunk, whose room stays in use */
    if (c && n > CHUNK / 4 && c->size - c->used > ALIGN) {
      fresh->prev = c->prev;
      c->prev = fresh;
      fresh->used = n;
      return (char *)fresh + HEAD;
    }
    fresh->prev = c;
    a->last = c = fresh;
  }
  void *p = (char *)c + HEAD + c->used;
  c->used += n;
  return p;
}

void *mp_alloc(mp_arena *a, size_t n) {
  a->requests++;
  if (a->fail_at && a->requests >= a->fail_at) {
    a->fail_at = 0;
    mp_fail(a, MP_INTERNAL, "out of memory (request %llu)", (unsigned long long)a->requests);
  }
  void *p = take(a, n);
  show(p, n);
  return memset(p, 0, n);
}

void *mp_alloc_array(mp_arena *a, size_t count, size_t size) {
  uint64_t n;
  if (!mp_mul_u64(count, size, &n)) mp_fail(a, MP_INTERNAL, "out of memory: %zu objects of %zu bytes", count, size);
  return mp_alloc(a, (size_t)n);
}

mp_mark mp_arena_mark(const mp_arena *a) { return (mp_mark){a->last, a->last ? a->last->used : 0, a->serial}; }

static void release(mp_arena *a, chunk *c) {
  if (!a->spare && c->size >= CHUNK && c->size < HUGE_PAGE) {
    a->spare = c;
    return;
  }
  a->used -= c->size + HEAD;
  free(c);
}

void mp_arena_rewind(mp_arena *a, mp_mark m) {
  while (a->last && a->last != m.chunk) {
    chunk *c = a->last;
    a->last = c->prev;
    release(a, c);
  }
  if (!a->last) return;
  a->last->used = m.used;
  hide((char *)a->last + HEAD + m.used, a->last->size - m.used);
  while (a->last->prev && a->last->prev->serial > m.serial) { /* large objects that went behind the marked chunk */
    chunk *c = a->last->prev;
    a->last->prev = c->prev;
    release(a, c);
  }
}

char *mp_strndup(mp_arena *a, const char *s, size_t n) {
  char *r = mp_alloc(a, n + 1);
  if (n) memcpy(r, s, n);
  return r;
}

char *mp_strdup(mp_arena *a, const char *s) { return mp_strndup(a, s, strlen(s)); }

char *mp_format(mp_arena *a, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  char *r = mp_alloc(a, (size_t)(n < 0 ? 0 : n) + 1);
  va_start(ap, fmt);
  if (n > 0) vsnprintf(r, (size_t)n + 1, fmt, ap);
  va_end(ap);
  return r;
}

void *mp_vec_grow(mp_arena *a, void *at, size_t n, size_t *cap, size_t size) {
  if (n < *cap) {
    show((char *)at + n * size, size);
    return at;
  }
  size_t more = *cap ? *cap * 2 : 8;
  char *fresh = mp_alloc_array(a, more, size);
  if (n) memcpy(fresh, at, n * size);
  hide(fresh + (n + 1) * size, (more - n - 1) * size);
  *cap = more;
  return fresh;
}

void mp_text_add(mp_arena *a, mp_text *t, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n < 0) return;
  if (t->n + (size_t)n + 1 > t->cap) {
    size_t cap = t->cap ? t->cap * 2 : 256;
    while (cap < t->n + (size_t)n + 1) cap *= 2;
    char *fresh = mp_alloc(a, cap);
    if (t->n) memcpy(fresh, t->at, t->n);
    t->at = fresh;
    t->cap = cap;
  }
  va_start(ap, fmt);
  vsnprintf(t->at + t->n, (size_t)n + 1, fmt, ap);
  va_end(ap);
  t->n += (size_t)n;
}

/* One slot: number + 1 (0 is free) and hash, so that a probe which misses touches one cache line. */
typedef struct slot {
  uint32_t id, hash;
} slot;

struct mp_names {
  slot *slots;
  size_t mask;
  uint64_t seed; /* from the table's address: a file cannot be written so that its names collide */
  MP_VEC(const char *) texts;
};

/* Eight bytes at a time, each multiplied and folded. */
static uint32_t hash(uint64_t h, const char *s, size_t n) {
  const uint64_t k = 0x9E3779B97F4A7C15u;
  for (; n >= 8; n -= 8, s += 8) {
    uint64_t w;
    memcpy(&w, s, 8);
    h = (h ^ w) * k;
    h ^= h >> 29;
  }
  uint64_t w = 0;
  if (n) memcpy(&w, s, n);
  h = (h ^ w ^ (uint64_t)n << 56) * k;
  h ^= h >> 32;
  return (uint32_t)(h * k >> 32);
}

mp_names *mp_names_new(mp_arena *a, size_t expected) {
  mp_names *t = mp_alloc(a, sizeof *t);
  size_t size = 16;
  while (size / 3 * 2 < expected) size *= 2;
  t->slots = mp_alloc_array(a, size, sizeof *t->slots);
  t->mask = size - 1;
  t->seed = (uint64_t)(uintptr_t)t * 0xD6E8FEB86659FD93u;
  t->texts.at = mp_alloc_array(a, t->texts.cap = expected < 8 ? 8 : expected, sizeof *t->texts.at);
  return t;
}

static size_t slot_of(const mp_names *t, const char *s, size_t len, uint32_t h) {
  size_t i = h & t->mask;
  for (; t->slots[i].id; i = (i + 1) & t->mask)
    if (t->slots[i].hash == h) {
      const char *text = t->texts.at[t->slots[i].id - 1];
      if ((!len || strncmp(text, s, len) == 0) && !text[len]) break; /* s may be NULL where len is 0 */
    }
  return i;
}

void mp_names_prefetch(const mp_names *t, const char *s, size_t len) { __builtin_prefetch(&t->slots[hash(t->seed, s, len) & t->mask]); }

uint32_t mp_names_find(const mp_names *t, const char *s, size_t len) {
  return t->slots[slot_of(t, s, len, hash(t->seed, s, len))].id - 1; /* 0 - 1 is UINT32_MAX */
}

static void grow(mp_arena *a, mp_names *t) {
  size_t size = (t->mask + 1) * 2;
  slot *fresh = mp_alloc_array(a, size, sizeof *fresh);
  for (size_t i = 0; i <= t->mask; i++) {
    if (!t->slots[i].id) continue;
    size_t j = t->slots[i].hash & (size - 1);
    while (fresh[j].id) j = (j + 1) & (size - 1);
    fresh[j] = t->slots[i];
  }
  t->slots = fresh;
  t->mask = size - 1;
}

uint32_t mp_names_add(mp_arena *a, mp_names *t, const char *s, size_t len, bool *added) {
  uint32_t h = hash(t->seed, s, len);
  size_t i = slot_of(t, s, len, h);
  if (added) *added = !t->slots[i].id;
  if (t->slots[i].id) return t->slots[i].id - 1;
  uint32_t id = (uint32_t)t->texts.n;
  *mp_push(a, &t->texts) = mp_strndup(a, s, len);
  t->slots[i] = (slot){id + 1, h};
  if (t->texts.n > t->mask / 3 * 2) grow(a, t);
  return id;
}

const char *mp_names_text(const mp_names *t, uint32_t id) { return t->texts.at[id]; }
uint32_t mp_names_count(const mp_names *t) { return (uint32_t)t->texts.n; }

bool mp_glob(const char *p, const char *s) {
  const char *star = NULL, *from = NULL;
  while (*s) {
    if (*p == '*') {
      star = p++;
      from = s;
    } else if (*p == '?' || *p == *s) {
      p++;
      s++;
    } else if (star) {
      p = star + 1;
      s = ++from;
    } else {
      return false;
    }
  }
  while (*p == '*') p++;
  return !*p;
}
