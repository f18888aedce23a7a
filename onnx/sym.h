/* What an expression is made of: for sym.c, which makes them, and sym_text.c, which writes them. */
#ifndef MP_SYM_H
#define MP_SYM_H

#include "onnx/shape.h"

/* kinds of atoms; TDIV divides towards zero */
enum { NAME, DIV, TDIV, MAX, MIN };
enum { MAX_DEGREE = 16, MAX_SIZE = 4 * MP_MAX_EXPR };
#define INF INT64_MAX
#define NINF INT64_MIN

typedef struct atom {
  uint32_t id;      /* order of arrival: the order of factors in a term */
  uint8_t kind;
  uint16_t size;    /* names and numbers in it */
  uint32_t hash;
  const char *name;
  mp_int a, b;      /* operands */
  int64_t lo, hi;
} atom;

typedef struct term {
  int64_t k;        /* coefficient */
  uint32_t n;       /* factors, sorted by id, powers repeated; 0: the constant */
  const atom **f;
} term;

struct mp_expr {
  uint32_t id, hash;
  uint16_t n, size;
  int64_t lo, hi;
  term t[];
};

/* the atom that i is, alone and once; NULL */
static inline const atom *mp_sym_lone(mp_int i) {
  return i.e && !mp_int_is_unknown(i) && i.e->n == 1 && i.e->t[0].k == 1 && i.e->t[0].n == 1 ? i.e->t[0].f[0] : NULL;
}

#endif
