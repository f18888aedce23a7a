/* The base that every room stands on: memory, errors, text, names, checked arithmetic.
 *
 * Memory. A run owns one arena. mp_alloc never returns NULL: when memory or the arena's limit is used up it fails like any
 * other error. Everything in an arena lives until the arena is freed or rewound to a mark; nothing is freed singly.
 *
 * Errors. Code inside a stage calls mp_fail(arena, code, "where: what, what was expected, what to do") and does not come back: control
 * returns to the nearest mp_protect, which fills the caller's mp_err and returns NULL. The first error wins. A stage (the functions
 * in onnx.h, memplan.h) is a thin mp_protect around its body, so a caller sees only "const result or NULL". This is Lua's
 * pcall; it is safe here because a body owns nothing outside the arena. */
#ifndef MP_BASE_H
#define MP_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  MP_OK = 0,
  MP_BAD_INPUT = 2, /* the file, the options: the exit code of the command */
  MP_INTERNAL = 3   /* out of memory, or a fault of memplan's own */
};

typedef struct mp_err {
  int code;       /* MP_OK, MP_BAD_INPUT, MP_INTERNAL */
  char text[768]; /* one line, no newline at its end */
} mp_err;

typedef struct mp_arena mp_arena;

/* limit: bytes that the arena may take from the system, 0 for none. NULL when the system has no memory. */
mp_arena *mp_arena_new(uint64_t limit);
void mp_arena_free(mp_arena *a); /* NULL is fine */
uint64_t mp_arena_used(const mp_arena *a); /* bytes taken from the system */
/* For tests: the n-th request from now (1 is the next) fails as if memory had run out. 0 switches it off. */
void mp_arena_fail_at(mp_arena *a, uint64_t n);
uint64_t mp_arena_requests(const mp_arena *a); /* how many requests there were so far */

/* zeroed, aligned for any type; n may be 0 */
void *mp_alloc(mp_arena *a, size_t n);
/* room for count objects of size bytes; the product is checked */
void *mp_alloc_array(mp_arena *a, size_t count, size_t size);
char *mp_strdup(mp_arena *a, const char *s);
char *mp_strndup(mp_arena *a, const char *s, size_t n);
char *mp_format(mp_arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

typedef struct mp_mark {
  void *chunk;
  size_t used;
  uint64_t serial;
} mp_mark;
mp_mark mp_arena_mark(const mp_arena *a);
void mp_arena_rewind(mp_arena *a, mp_mark m); /* what was allocated since the mark is gone */

_Noreturn void mp_fail(mp_arena *a, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void mp_vfail(mp_arena *a, int code, const char *fmt, va_list ap);
/* Runs body(a, arg). Returns what it returns; NULL with *err filled when it failed. err->code is MP_OK on success. Nests. */
const void *mp_protect(mp_arena *a, mp_err *err, const void *(*body)(mp_arena *a, void *arg), void *arg);
/* Fills err if it holds no error yet. */
void mp_err_set(mp_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A growing array in an arena: struct { T *at; size_t n, cap; }. mp_push returns the new, zeroed element. */
#define MP_VEC(T) \
  struct {        \
    T *at;        \
    size_t n, cap; \
  }
void *mp_vec_grow(mp_arena *a, void *at, size_t n, size_t *cap, size_t size);
#define mp_push(a, v) ((v)->at = mp_vec_grow((a), (v)->at, (v)->n, &(v)->cap, sizeof *(v)->at), &(v)->at[(v)->n++])

/* Text that grows: reports are made in it. `at` is NUL-terminated. */
typedef struct mp_text {
  char *at;
  size_t n, cap;
} mp_text;
void mp_text_add(mp_arena *a, mp_text *t, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Names to small numbers. */
typedef struct mp_names mp_names;
mp_names *mp_names_new(mp_arena *a, size_t expected);
/* the number of s (0, 1, 2, ... in order of arrival); adds it when it is new (*added, may be NULL) */
uint32_t mp_names_add(mp_arena *a, mp_names *t, const char *s, size_t len, bool *added);
/* s will be asked for or added soon: fetches its place in a large table ahead of time */
void mp_names_prefetch(const mp_names *t, const char *s, size_t len);
/* the number of s, or UINT32_MAX */
uint32_t mp_names_find(const mp_names *t, const char *s, size_t len);
const char *mp_names_text(const mp_names *t, uint32_t id); /* NUL-terminated, lives as long as the arena */
uint32_t mp_names_count(const mp_names *t);

/* a + b, a * b; false when the result does not fit */
static inline bool mp_add_u64(uint64_t a, uint64_t b, uint64_t *r) { return !__builtin_add_overflow(a, b, r); }
static inline bool mp_mul_u64(uint64_t a, uint64_t b, uint64_t *r) { return !__builtin_mul_overflow(a, b, r); }
static inline bool mp_add_i64(int64_t a, int64_t b, int64_t *r) { return !__builtin_add_overflow(a, b, r); }
static inline bool mp_mul_i64(int64_t a, int64_t b, int64_t *r) { return !__builtin_mul_overflow(a, b, r); }

/* what a number is worth as a whole one: the nearest that there is beyond 2^62, the least for what is none */
static inline int64_t mp_whole(double x) { return x >= 0x1p62 ? INT64_MAX : x > -0x1p62 ? (int64_t)x : INT64_MIN; }

/* glob: '*' any run of characters (dots included), '?' one. */
bool mp_glob(const char *pattern, const char *text);

#endif
