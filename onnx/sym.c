/* Symbolic integers. The one idea: an expression is a sum of products of atoms, its terms sorted and its like terms joined, and every expression is interned;
 * so equal means the same pointer, batch*seq/batch is seq, and nothing is ever simplified twice. An atom is a name, or a floor division, a division towards
 * zero, a minimum or a maximum that could not be resolved. A remainder is written a - b*(a//b), which lets it cancel too.
 * Each expression knows an interval that holds it (names are >= 1); what grows past MP_MAX_EXPR becomes unknown. */
#include "onnx/sym.h"

#include <string.h>

const mp_expr mp_expr_unknown = {0};

struct mp_syms {
  mp_arena *a;
  const mp_expr **exprs; /* open addressing */
  const atom **atoms;
  uint32_t expr_mask, expr_count, atom_mask, atom_count;
};

typedef struct poly {
  uint32_t n;
  bool bad; /* overflow, or grown past the cap */
  term t[MP_MAX_EXPR];
} poly;

mp_syms *mp_syms_new(mp_arena *a) {
  mp_syms *s = mp_alloc(a, sizeof *s);
  s->a = a;
  s->expr_mask = s->atom_mask = 63;
  s->exprs = mp_alloc_array(a, 64, sizeof *s->exprs);
  s->atoms = mp_alloc_array(a, 64, sizeof *s->atoms);
  return s;
}

static bool same(mp_int a, mp_int b) { return a.e == b.e && a.n == b.n; }
static bool unknown(mp_int i) { return i.e == &mp_expr_unknown; }

/* ---- intervals; the ends of int64 stand for infinity ---- */

static bool infinite(int64_t x) { return x == INF || x == NINF; }

static int64_t sat_add(int64_t a, int64_t b) {
  int64_t r;
  if (infinite(a)) return a;
  if (infinite(b)) return b;
  if (!mp_add_i64(a, b, &r)) return a > 0 ? INF : NINF;
  return r;
}

static int64_t sat_mul(int64_t a, int64_t b) {
  int64_t r;
  if (!a || !b) return 0;
  if (infinite(a) || infinite(b) || !mp_mul_i64(a, b, &r)) return (a > 0) == (b > 0) ? INF : NINF;
  return r;
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }

static int64_t gcd(int64_t a, int64_t b) {
  if (a == NINF || b == NINF) return 1;
  a = a < 0 ? -a : a;
  b = b < 0 ? -b : b;
  while (b) {
    int64_t r = a % b;
    a = b;
    b = r;
  }
  return a;
}

static void times(int64_t *lo, int64_t *hi, int64_t lo2, int64_t hi2) {
  int64_t p[4] = {sat_mul(*lo, lo2), sat_mul(*lo, hi2), sat_mul(*hi, lo2), sat_mul(*hi, hi2)};
  *lo = *hi = p[0];
  for (int i = 1; i < 4; i++) {
    if (p[i] < *lo) *lo = p[i];
    if (p[i] > *hi) *hi = p[i];
  }
}

static void bounds(mp_int i, int64_t *lo, int64_t *hi) {
  if (!i.e) *lo = *hi = i.n;
  else if (unknown(i)) *lo = NINF, *hi = INF;
  else *lo = i.e->lo, *hi = i.e->hi;
}

/* ---- terms and polynomials ---- */

/* graded lexicographic, larger monomials first: <0 when a comes first */
static int order(const term *a, const term *b) {
  if (a->n != b->n) return a->n > b->n ? -1 : 1;
  for (uint32_t i = 0; i < a->n; i++)
    if (a->f[i] != b->f[i]) return a->f[i]->id < b->f[i]->id ? -1 : 1;
  return 0;
}

static void add_term(poly *p, term t) {
  if (!t.k || p->bad) return;
  uint32_t i = p->n;
  while (i && order(&p->t[i - 1], &t) > 0) i--;
  if (i && order(&p->t[i - 1], &t) == 0) {
    i--;
    if (!mp_add_i64(p->t[i].k, t.k, &p->t[i].k)) p->bad = true;
    else if (!p->t[i].k) {
      memmove(&p->t[i], &p->t[i + 1], (p->n - i - 1) * sizeof *p->t);
      p->n--;
    }
    return;
  }
  if (p->n == MP_MAX_EXPR) {
    p->bad = true;
    return;
  }
  memmove(&p->t[i + 1], &p->t[i], (p->n - i) * sizeof *p->t);
  p->t[i] = t;
  p->n++;
}

static term constant(int64_t k) { return (term){.k = k}; }

/* p += k * i */
static void add_scaled(poly *p, mp_int i, int64_t k) {
  if (unknown(i)) {
    p->bad = true;
  } else if (!i.e) {
    int64_t r;
    if (!mp_mul_i64(i.n, k, &r)) p->bad = true;
    else add_term(p, constant(r));
  } else {
    for (uint32_t j = 0; j < i.e->n && !p->bad; j++) {
      term t = i.e->t[j];
      if (!mp_mul_i64(t.k, k, &t.k)) p->bad = true;
      add_term(p, t);
    }
  }
}

/* p += a * b */
static void add_product(mp_syms *s, poly *p, const term *a, const term *b) {
  term t = {.n = a->n + b->n};
  if (!mp_mul_i64(a->k, b->k, &t.k) || t.n > MAX_DEGREE) {
    p->bad = true;
    return;
  }
  if (!b->n) t.f = a->f;
  else if (!a->n) t.f = b->f;
  else {
    t.f = mp_alloc_array(s->a, t.n, sizeof *t.f);
    for (uint32_t i = 0, j = 0, k = 0; k < t.n; k++)
      t.f[k] = j == b->n || (i < a->n && a->f[i]->id <= b->f[j]->id) ? a->f[i++] : b->f[j++];
  }
  add_term(p, t);
}

static uint32_t mix(uint32_t h, uint64_t x) {
  x = (x ^ h) * 0x9E3779B97F4A7C15u;
  return (uint32_t)(x >> 32) ^ (uint32_t)x;
}

static bool same_terms(const mp_expr *e, const poly *p) {
  if (e->n != p->n) return false;
  for (uint32_t i = 0; i < p->n; i++)
    if (e->t[i].k != p->t[i].k || order(&e->t[i], &p->t[i])) return false;
  return true;
}

static void grow_exprs(mp_syms *s) {
  uint32_t mask = s->expr_mask * 2 + 1;
  const mp_expr **t = mp_alloc_array(s->a, mask + (size_t)1, sizeof *t);
  for (uint32_t i = 0; i <= s->expr_mask; i++) {
    if (!s->exprs[i]) continue;
    uint32_t j = s->exprs[i]->hash & mask;
    while (t[j]) j = (j + 1) & mask;
    t[j] = s->exprs[i];
  }
  s->exprs = t;
  s->expr_mask = mask;
}

/* ends of the interval, each term on its own */
static void interval(const poly *p, int64_t *low, int64_t *high) {
  *low = *high = 0;
  for (uint32_t i = 0; i < p->n; i++) {
    int64_t lo = p->t[i].k, hi = lo;
    for (uint32_t j = 0; j < p->t[i].n; j++) times(&lo, &hi, p->t[i].f[j]->lo, p->t[i].f[j]->hi);
    *low = sat_add(*low, lo);
    *high = sat_add(*high, hi);
  }
}

static bool floors(const term *t) { return t->n == 1 && t->f[0]->kind == DIV && !t->f[0]->b.e && t->f[0]->b.n > 0; }

static void refine(const poly *p, int64_t *low, int64_t *high, int depth);

/* k*min(x,c) - k*min(y,c), or the same of max, with the sign of x-y known, lies between 0 and k*(x-y). *d is x-y; 1, -1 its sign; 0: no such pair. */
static int paired(const term *t, const term *u, poly *d, int depth) {
  const atom *x = t->n == 1 ? t->f[0] : NULL, *y = u->n == 1 ? u->f[0] : NULL;
  int64_t lo, hi;
  if (!x || !y || x->kind != y->kind || (x->kind != MIN && x->kind != MAX) || t->k <= 0 || u->k != -t->k) return 0;
  d->n = 0, d->bad = false;
  bool first = same(x->a, y->a) || same(x->a, y->b), second = same(x->b, y->a) || same(x->b, y->b);
  if (!first && !second) return 0;
  mp_int shared = first ? x->a : x->b;
  add_scaled(d, first ? x->b : x->a, 1);
  add_scaled(d, same(y->a, shared) ? y->b : y->a, -1);
  if (d->bad) return 0;
  interval(d, &lo, &hi);
  refine(d, &lo, &hi, depth + 1);
  return lo >= 0 ? 1 : hi <= 0 ? -1 : 0;
}

/* q = m times p with floor divisions by numbers and pairs of minima replaced by a limit of theirs: the lower one (side 0) or the upper */
static void limit(const poly *p, int64_t m, int side, poly *q, int depth) {
  bool done[MP_MAX_EXPR] = {false};
  int64_t k;
  q->n = 0, q->bad = false;
  for (uint32_t i = 0; i < p->n; i++)
    for (uint32_t j = 0; j < p->n && !done[i]; j++) {
      poly d;
      int sign = done[j] || i == j ? 0 : paired(&p->t[i], &p->t[j], &d, depth);
      if (!sign) continue;
      done[i] = done[j] = true;
      if ((sign > 0) != (side > 0)) continue; /* the limit is 0 */
      for (uint32_t l = 0; l < d.n && !q->bad; l++) {
        q->bad |= !mp_mul_i64(p->t[i].k, m, &k) || !mp_mul_i64(d.t[l].k, k, &d.t[l].k);
        add_term(q, d.t[l]);
      }
    }
  for (uint32_t i = 0; i < p->n && !q->bad; i++) {
    term t = p->t[i];
    if (done[i]) continue;
    if (!floors(&t)) {
      q->bad |= !mp_mul_i64(t.k, m, &t.k);
      add_term(q, t);
      continue;
    }
    int64_t b = t.f[0]->b.n;
    q->bad |= !mp_mul_i64(t.k, m / b, &k) || infinite(k);
    if (!q->bad) add_scaled(q, t.f[0]->a, k);
    if ((t.k > 0) == !side && !q->bad) add_scaled(q, mp_int_of(b - 1), -k);
  }
}

/* A floor division lies between (a-b+1)/b and a/b, a difference of minima between 0 and that of what they are taken of: with such limits in their place, terms
 * cancel that move together, as in n - n//2 >= 1 or n - (min(p+n,c) - min(p,c)) >= 0. */
static void refine(const poly *p, int64_t *low, int64_t *high, int depth) {
  int64_t m = 1;
  uint32_t extremes = 0;
  for (uint32_t i = 0; i < p->n; i++) {
    extremes += p->t[i].n == 1 && (p->t[i].f[0]->kind == MIN || p->t[i].f[0]->kind == MAX);
    if (!floors(&p->t[i])) continue;
    int64_t b = p->t[i].f[0]->b.n;
    if (b > 1 << 20 || m > 1 << 20) return;
    m = m / gcd(m, b) * b;
  }
  if ((m == 1 && extremes < 2) || depth > 2) return;
  for (int side = 0; side < 2; side++) {
    poly q;
    int64_t lo, hi;
    limit(p, m, side, &q, depth);
    if (q.bad) return;
    interval(&q, &lo, &hi);
    refine(&q, &lo, &hi, depth + 1);
    if (!side && !infinite(lo) && -floor_div(-lo, m) > *low) *low = -floor_div(-lo, m);
    if (side && !infinite(hi) && floor_div(hi, m) < *high) *high = floor_div(hi, m);
  }
}

static mp_int result(mp_syms *s, const poly *p) {
  if (p->bad) return mp_int_unknown();
  if (!p->n) return mp_int_of(0);
  if (p->n == 1 && !p->t[0].n) return mp_int_of(p->t[0].k);
  uint32_t h = p->n, size = 0;
  for (uint32_t i = 0; i < p->n; i++) {
    h = mix(h, (uint64_t)p->t[i].k);
    size++;
    for (uint32_t j = 0; j < p->t[i].n; j++) h = mix(h, p->t[i].f[j]->id), size += p->t[i].f[j]->size;
  }
  if (size > MAX_SIZE) return mp_int_unknown();
  uint32_t i = h & s->expr_mask;
  for (; s->exprs[i]; i = (i + 1) & s->expr_mask)
    if (s->exprs[i]->hash == h && same_terms(s->exprs[i], p)) return (mp_int){0, s->exprs[i]};
  mp_expr *e = mp_alloc(s->a, sizeof *e + p->n * sizeof *e->t);
  *e = (mp_expr){.id = s->expr_count, .hash = h, .n = (uint16_t)p->n, .size = (uint16_t)size};
  memcpy(e->t, p->t, p->n * sizeof *e->t);
  interval(p, &e->lo, &e->hi);
  refine(p, &e->lo, &e->hi, 0);
  s->exprs[i] = e;
  if (++s->expr_count * 2 > s->expr_mask) grow_exprs(s);
  return (mp_int){0, e};
}

/* ---- atoms ---- */

static void grow_atoms(mp_syms *s) {
  uint32_t mask = s->atom_mask * 2 + 1;
  const atom **t = mp_alloc_array(s->a, mask + (size_t)1, sizeof *t);
  for (uint32_t i = 0; i <= s->atom_mask; i++) {
    if (!s->atoms[i]) continue;
    uint32_t j = s->atoms[i]->hash & mask;
    while (t[j]) j = (j + 1) & mask;
    t[j] = s->atoms[i];
  }
  s->atoms = t;
  s->atom_mask = mask;
}

static uint32_t size_of(mp_int i) { return i.e ? i.e->size : 1; }

static void atom_bounds(atom *t) {
  int64_t al, ah, bl, bh;
  bounds(t->a, &al, &ah);
  bounds(t->b, &bl, &bh);
  t->lo = NINF, t->hi = INF;
  if (t->kind == NAME) {
    t->lo = 1;
  } else if (t->kind == MAX) {
    t->lo = al > bl ? al : bl, t->hi = ah > bh ? ah : bh;
  } else if (t->kind == MIN) {
    t->lo = al < bl ? al : bl, t->hi = ah < bh ? ah : bh;
  } else if (bl > 0 && bl == bh) {
    if (!infinite(al)) t->lo = t->kind == DIV ? floor_div(al, bl) : al / bl;
    if (!infinite(ah)) t->hi = t->kind == DIV ? floor_div(ah, bl) : ah / bl;
  } else if (bl > 0 && al >= 0) {
    t->lo = 0, t->hi = ah;
  }
}

static mp_int atom_of(mp_syms *s, uint8_t kind, const char *name, mp_int a, mp_int b) {
  uint32_t size = kind == NAME ? 1 : 1 + size_of(a) + size_of(b);
  if (size > MAX_SIZE) return mp_int_unknown();
  uint32_t h = kind;
  if (name) {
    for (const char *p = name; *p; p++) h = (h ^ (unsigned char)*p) * 16777619u;
  } else {
    h = mix(mix(h, a.e ? a.e->id : (uint64_t)a.n + 77), b.e ? b.e->id : (uint64_t)b.n + 77);
  }
  uint32_t i = h & s->atom_mask;
  const atom *found = NULL;
  for (; s->atoms[i] && !found; i = (i + 1) & s->atom_mask) {
    const atom *t = s->atoms[i];
    if (t->hash == h && t->kind == kind && (name ? !strcmp(t->name, name) : same(t->a, a) && same(t->b, b))) found = t;
  }
  if (!found) {
    atom *t = mp_alloc(s->a, sizeof *t);
    *t = (atom){.id = s->atom_count, .kind = kind, .size = (uint16_t)size, .hash = h, .name = name ? mp_strdup(s->a, name) : NULL, .a = a, .b = b};
    atom_bounds(t);
    s->atoms[i] = found = t;
    if (++s->atom_count * 2 > s->atom_mask) grow_atoms(s);
  }
  const atom **f = mp_alloc(s->a, sizeof *f);
  *f = found;
  poly p = {.n = 1};
  p.t[0] = (term){.k = 1, .n = 1, .f = f};
  return result(s, &p);
}

mp_int mp_syms_name(mp_syms *s, const char *name) { return atom_of(s, NAME, name, mp_int_of(0), mp_int_of(0)); }
mp_int mp_sym_name(mp_infer *c, const char *name) { return mp_syms_name(mp_infer_syms(c), name); }

/* ---- sums and products ---- */

static mp_int sum(mp_syms *s, mp_int a, mp_int b, int64_t k) { /* a + k*b */
  if (unknown(a) || unknown(b)) return mp_int_unknown();
  poly p;
  p.n = 0, p.bad = false;
  add_scaled(&p, a, 1);
  add_scaled(&p, b, k);
  return result(s, &p);
}

mp_int mp_sym_add(mp_infer *c, mp_int a, mp_int b) {
  int64_t r;
  if (!a.e && !b.e) return mp_add_i64(a.n, b.n, &r) ? mp_int_of(r) : mp_int_unknown();
  return sum(mp_infer_syms(c), a, b, 1);
}

mp_int mp_sym_sub(mp_infer *c, mp_int a, mp_int b) {
  int64_t r;
  if (!a.e && !b.e) return __builtin_sub_overflow(a.n, b.n, &r) ? mp_int_unknown() : mp_int_of(r);
  return sum(mp_infer_syms(c), a, b, -1);
}

mp_int mp_sym_mul(mp_infer *c, mp_int a, mp_int b) {
  int64_t r;
  if (!a.e && !b.e) return mp_mul_i64(a.n, b.n, &r) ? mp_int_of(r) : mp_int_unknown();
  if ((!a.e && !a.n) || (!b.e && !b.n)) return mp_int_of(0); /* even of something unknown */
  if (unknown(a) || unknown(b)) return mp_int_unknown();
  if (!b.e && b.n == 1) return a;
  if (!a.e && a.n == 1) return b;
  poly p;
  p.n = 0, p.bad = false;
  if (!a.e) add_scaled(&p, b, a.n);
  else if (!b.e) add_scaled(&p, a, b.n);
  else
    for (uint32_t i = 0; i < a.e->n; i++)
      for (uint32_t j = 0; j < b.e->n && !p.bad; j++) add_product(mp_infer_syms(c), &p, &a.e->t[i], &b.e->t[j]);
  return result(mp_infer_syms(c), &p);
}

/* ---- division ---- */

/* q * t = a, as monomials */
static bool divide_term(mp_syms *s, const term *a, const term *t, term *q) {
  if ((t->k == -1 && a->k == NINF) || a->k % t->k || a->n < t->n) return false;
  const atom *left[MAX_DEGREE];
  uint32_t n = 0, j = 0;
  for (uint32_t i = 0; i < a->n; i++) {
    if (j < t->n && a->f[i] == t->f[j]) j++;
    else left[n++] = a->f[i];
  }
  if (j < t->n) return false;
  *q = (term){.k = a->k / t->k, .n = n};
  if (n) {
    q->f = mp_alloc_array(s->a, n, sizeof *q->f);
    memcpy(q->f, left, n * sizeof *q->f);
  }
  return true;
}

/* a = q*b + r with every term of b's multiples taken out of r */
static void divide_poly(mp_syms *s, mp_int a, mp_int b, poly *q, poly *r) {
  poly left;
  left.n = q->n = r->n = 0;
  left.bad = q->bad = r->bad = false;
  add_scaled(&left, a, 1);
  for (int step = 0; left.n && !left.bad && !r->bad; step++) {
    term t;
    if (step > 4 * MP_MAX_EXPR) left.bad = true;
    if (!divide_term(s, &left.t[0], &b.e->t[0], &t)) {
      add_term(r, left.t[0]);
      memmove(&left.t[0], &left.t[1], --left.n * sizeof *left.t);
      continue;
    }
    add_term(q, t);
    if (t.k == NINF) left.bad = true;
    else t.k = -t.k;
    for (uint32_t j = 0; j < b.e->n; j++) add_product(s, &left, &b.e->t[j], &t);
  }
  q->bad |= left.bad;
}

/* takes the common factor out of every term of a and b */
static void cancel(mp_syms *s, mp_int *a, mp_int *b) {
  if (!a->e || !b->e) return;
  term g = b->e->t[0];
  for (int side = 0; side < 2; side++) {
    const mp_expr *e = side ? a->e : b->e;
    for (uint32_t i = 0; i < e->n; i++) {
      const term *t = &e->t[i];
      const atom *f[MAX_DEGREE];
      uint32_t n = 0;
      for (uint32_t x = 0, y = 0; x < g.n && y < t->n;) {
        if (g.f[x] == t->f[y]) f[n++] = g.f[x], x++, y++;
        else if (g.f[x]->id < t->f[y]->id) x++;
        else y++;
      }
      if (n < g.n) {
        g.f = mp_alloc_array(s->a, n, sizeof *g.f);
        memcpy(g.f, f, n * sizeof *f);
        g.n = n;
      }
      g.k = gcd(g.k, t->k);
    }
  }
  if (!g.n && (g.k == 1 || !g.k)) return;
  poly p[2];
  for (int side = 0; side < 2; side++) {
    const mp_expr *e = side ? b->e : a->e;
    p[side].n = 0, p[side].bad = false;
    for (uint32_t i = 0; i < e->n; i++) {
      term t;
      if (!divide_term(s, &e->t[i], &g, &t)) return;
      add_term(&p[side], t);
    }
  }
  *a = result(s, &p[0]);
  *b = result(s, &p[1]);
}

/* floor(a / b), b > 1 a number: coefficients are brought into (-b/2, b/2], the leading one made positive, common factors taken out; nested divisions are joined */
static mp_int div_number(mp_syms *s, mp_int a, int64_t b, int depth) {
  if (unknown(a)) return a;
  if (!a.e) return mp_int_of(floor_div(a.n, b));
  poly q, r;
  q.n = r.n = 0, q.bad = r.bad = false;
  int64_t g = b;
  for (uint32_t i = 0; i < a.e->n; i++) {
    term t = a.e->t[i], rest = t;
    rest.k = t.k % b < 0 ? t.k % b + b : t.k % b;
    t.k = floor_div(t.k, b);
    if (t.n && rest.k > b / 2) rest.k -= b, t.k++;
    if (t.n && rest.k) g = gcd(g, rest.k);
    add_term(&q, t);
    add_term(&r, rest);
  }
  if (!r.n || !r.t[0].n) return result(s, &q); /* the rest is a number below b */
  if (r.t[0].k < 0) { /* floor(x/b) = -floor((b-1-x)/b) */
    poly flip;
    flip.n = 0, flip.bad = r.bad;
    for (uint32_t i = 0; i < r.n; i++) r.t[i].k = -r.t[i].k, add_term(&flip, r.t[i]);
    add_term(&flip, constant(b - 1));
    mp_int whole = result(s, &q), part = depth > 8 ? mp_int_unknown() : div_number(s, result(s, &flip), b, depth + 1);
    return sum(s, whole, part, -1);
  }
  if (g > 1)
    for (uint32_t i = 0; i < r.n; i++) r.t[i].k = floor_div(r.t[i].k, g);
  if (r.n && !r.t[r.n - 1].k) r.n--;
  b /= g;
  mp_int rest = result(s, &r), whole = result(s, &q);
  if (b == 1) return sum(s, whole, rest, 1);
  int64_t lo, hi;
  bounds(rest, &lo, &hi);
  if (lo >= 0 && hi < b) return whole;
  const atom *inner = r.t[0].k == 1 && r.t[0].n == 1 && (r.n == 1 || (r.n == 2 && !r.t[1].n)) ? r.t[0].f[0] : NULL;
  int64_t bm, cm;
  if (inner && inner->kind == DIV && !inner->b.e && inner->b.n > 0 && depth <= 8 && mp_mul_i64(b, inner->b.n, &bm) &&
      mp_mul_i64(r.n == 2 ? r.t[1].k : 0, inner->b.n, &cm))
    return sum(s, whole, div_number(s, sum(s, inner->a, mp_int_of(cm), 1), bm, depth + 1), 1);
  return sum(s, whole, unknown(rest) ? rest : atom_of(s, DIV, NULL, rest, mp_int_of(b)), 1);
}

mp_int mp_sym_div(mp_infer *c, mp_int a, mp_int b) {
  mp_syms *s = mp_infer_syms(c);
  if (unknown(a) || unknown(b) || (!b.e && !b.n)) return mp_int_unknown();
  if (!b.e) {
    if (b.n == NINF || (!a.e && a.n == NINF)) return mp_int_unknown();
    if (b.n < 0) return mp_sym_div(c, mp_sym_mul(c, a, mp_int_of(-1)), mp_int_of(-b.n));
    return b.n == 1 ? a : div_number(s, a, b.n, 0);
  }
  if (!a.e && !a.n) return a;
  poly q, r;
  divide_poly(s, a, b, &q, &r);
  mp_int whole = result(s, &q), rest = result(s, &r);
  if (unknown(whole) || unknown(rest)) return mp_int_unknown();
  if (!rest.e && !rest.n) return whole;
  int64_t lo, hi;
  bounds(rest, &lo, &hi);
  if (lo >= 0 && mp_sym_compare(c, rest, b) == -1) return whole;
  cancel(s, &rest, &b);
  if (!b.e) return mp_sym_add(c, whole, mp_sym_div(c, rest, b));
  return mp_sym_add(c, whole, atom_of(s, DIV, NULL, rest, b));
}

mp_int mp_sym_ceil_div(mp_infer *c, mp_int a, mp_int b) {
  mp_int minus = mp_int_of(-1);
  if (!b.e && b.n > 0) return mp_sym_div(c, mp_sym_add(c, a, mp_int_of(b.n - 1)), b);
  return mp_sym_mul(c, mp_sym_div(c, mp_sym_mul(c, a, minus), b), minus);
}

mp_int mp_sym_div_trunc(mp_infer *c, mp_int a, mp_int b) {
  if (unknown(a) || unknown(b) || (!b.e && !b.n)) return mp_int_unknown();
  if (!a.e && !b.e) return a.n == NINF && b.n == -1 ? mp_int_unknown() : mp_int_of(a.n / b.n);
  int64_t al, ah, bl, bh;
  bounds(a, &al, &ah);
  bounds(b, &bl, &bh);
  if ((al >= 0 && bl >= 0) || (ah <= 0 && bh <= 0)) return mp_sym_div(c, a, b);
  if ((ah <= 0 && bl >= 0) || (al >= 0 && bh <= 0)) return mp_sym_ceil_div(c, a, b);
  mp_int q = mp_sym_div(c, a, b); /* the same both ways where the division leaves no rest */
  if (mp_sym_equal(mp_sym_mul(c, q, b), a)) return q;
  return atom_of(mp_infer_syms(c), TDIV, NULL, a, b);
}

mp_int mp_sym_mod(mp_infer *c, mp_int a, mp_int b) {
  if (!a.e && !b.e && b.n) {
    int64_t r = b.n == -1 ? 0 : a.n % b.n;
    return mp_int_of(r && (r < 0) != (b.n < 0) ? r + b.n : r);
  }
  return mp_sym_sub(c, a, mp_sym_mul(c, mp_sym_div(c, a, b), b));
}

/* ---- order ---- */

bool mp_sym_equal(mp_int a, mp_int b) { return a.e ? a.e == b.e && !unknown(a) : !b.e && a.n == b.n; }

int mp_sym_compare(mp_infer *c, mp_int a, mp_int b) {
  if (!a.e && !b.e) return a.n < b.n ? -1 : a.n > b.n;
  if (unknown(a) || unknown(b)) return 2;
  if (a.e == b.e) return 0;
  int64_t lo, hi, bl, bh;
  bounds(mp_sym_sub(c, a, b), &lo, &hi);
  if (lo > 0 || hi < 0) return lo > 0 ? 1 : -1;
  bounds(a, &lo, &hi);
  bounds(b, &bl, &bh);
  return lo > bh ? 1 : hi < bl ? -1 : 2;
}

/* surely a <= b */
static bool below(mp_syms *s, mp_int a, mp_int b, int depth) {
  int64_t lo, hi;
  bounds(sum(s, a, b, -1), &lo, &hi);
  if (hi <= 0) return true;
  if (depth > 3) return false;
  const atom *x = mp_sym_lone(a), *y = mp_sym_lone(b);
  if (x && x->kind == MIN && (below(s, x->a, b, depth + 1) || below(s, x->b, b, depth + 1))) return true;
  return y && y->kind == MAX && (below(s, a, y->a, depth + 1) || below(s, a, y->b, depth + 1));
}

static mp_int extreme(mp_infer *c, mp_int a, mp_int b, uint8_t kind) {
  mp_syms *s = mp_infer_syms(c);
  if (unknown(a) || unknown(b)) return mp_int_unknown();
  if (below(s, a, b, 0)) return kind == MAX ? b : a;
  if (below(s, b, a, 0)) return kind == MAX ? a : b;
  if (!a.e || (b.e && b.e->id < a.e->id)) { /* expressions by age, a number last */
    mp_int t = a;
    a = b;
    b = t;
  }
  return atom_of(s, kind, NULL, a, b);
}

mp_int mp_sym_min(mp_infer *c, mp_int a, mp_int b) { return !a.e && !b.e ? (a.n < b.n ? a : b) : extreme(c, a, b, MIN); }
mp_int mp_sym_max(mp_infer *c, mp_int a, mp_int b) { return !a.e && !b.e ? (a.n > b.n ? a : b) : extreme(c, a, b, MAX); }
