/* aten::einsum as products of two, each one bmm as a rule: aten/src/ATen/native/Linear.cpp, einsum and sumproduct_pair. */
#include <ctype.h>
#include <string.h>

#include "planner/calls.h"
#include "planner/em.h"

typedef struct letters { /* of one operand or the result: dimension of each letter, -1 */
  int8_t dim[128];
} letters;

static const char *parse_letters(mp_em *e, const char *s, letters *l, int rank) {
  memset(l->dim, -1, sizeof l->dim);
  int n = 0;
  for (; *s && *s != ',' && *s != '-'; s++) {
    if (*s == ' ') continue;
    bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z');
    if (!letter || l->dim[(unsigned char)*s] >= 0) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: memplan follows equations of plain distinct letters, not '%s'", s);
    l->dim[(unsigned char)*s] = (int8_t)n++;
  }
  if (rank >= 0 && n != rank) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: an operand of rank %d has %d letters; the recovered program is wrong here", rank, n);
  return s;
}

/* x with its dims in the order of `order`, missing ones of size 1 */
static mp_ten arranged(mp_em *e, mp_ten x, const letters *l, const char *order, int n) {
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t perm[MP_RANK];
  int at = 0;
  for (int k = 0; k < n; k++)
    if (l->dim[(unsigned char)order[k]] >= 0) perm[at++] = l->dim[(unsigned char)order[k]];
  for (int k = 0; k < i.rank; k++)
    if (perm[k] != k) {
      x = mp_op_permute(e, x, perm);
      break;
    }
  return x;
}

static int64_t product(const mp_tensor_info *x, const letters *l, const char *of, int n) {
  int64_t p = 1;
  for (int k = 0; k < n; k++) p *= x->dims[l->dim[(unsigned char)of[k]]];
  return p;
}

/* The letters by what becomes of them: in both operands and the result (batch), only left, in both and summed, only right; in the result's order. */
enum { BATCH, LEFT, SUM, RIGHT, GROUPS };
typedef struct groups {
  char at[GROUPS][2 * MP_RANK];
  int n[GROUPS];
} groups;

static void put(mp_em *e, groups *g, int group, unsigned char c) {
  if (g->n[group] >= MP_RANK) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: more than %d letters of one kind", MP_RANK);
  g->at[group][g->n[group]++] = (char)c;
}

static groups grouped(mp_em *e, const letters *la, const letters *lb, const letters *lr, const char *result, int rank) {
  groups g = {0};
  for (int k = 0; k < rank; k++) {
    unsigned char c = (unsigned char)result[k];
    bool in_a = la->dim[c] >= 0, in_b = lb->dim[c] >= 0;
    if (!in_a && !in_b) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: letter '%c' of the result is in no operand", c);
    put(e, &g, in_a && in_b ? BATCH : in_a ? LEFT : RIGHT, c);
  }
  for (int c = 0; c < 128; c++) {
    bool in_a = la->dim[c] >= 0, in_b = lb->dim[c] >= 0;
    if (lr->dim[c] >= 0 || (!in_a && !in_b)) continue;
    if (in_a != in_b) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: letter '%c' is summed over one operand alone; memplan does not follow that", c);
    put(e, &g, SUM, (unsigned char)c);
  }
  return g;
}

/* the letters of three groups, one after the other */
static int joined(const groups *g, int first, int second, int third, char *out) {
  int n = 0;
  const int order[] = {first, second, third};
  for (int k = 0; k < 3; k++) {
    memcpy(out + n, g->at[order[k]], (size_t)g->n[order[k]]);
    n += g->n[order[k]];
  }
  return n;
}

/* z is (batch, left, right): split into the letters, then permuted to the result */
static mp_ten unfolded(mp_em *e, mp_ten z, const groups *g, const mp_tensor_info *x, const mp_tensor_info *y, const letters *la, const letters *lb, const char *result) {
  char got[3 * MP_RANK];
  int64_t dims[3 * MP_RANK], perm[MP_RANK];
  int rank = joined(g, BATCH, LEFT, RIGHT, got);
  if (rank > MP_RANK) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: a result of rank %d; memplan follows up to %d", rank, MP_RANK);
  for (int k = 0; k < rank; k++) {
    unsigned char c = (unsigned char)got[k];
    dims[k] = la->dim[c] >= 0 ? x->dims[la->dim[c]] : y->dims[lb->dim[c]];
  }
  z = mp_op_view(e, z, rank, dims);
  bool same = true;
  for (int k = 0; k < rank; k++)
    for (int j = 0; j < rank; j++)
      if (got[j] == result[k]) {
        perm[k] = j;
        same = same && j == k;
      }
  return same ? z : mp_op_permute(e, z, perm);
}

/* nothing is summed: both in the result's order, ones where a letter is missing, multiplied (sumproduct_pair) */
static mp_ten outer(mp_em *e, mp_ten a, mp_ten b, const letters *la, const letters *lb, const char *result, int rank) {
  a = arranged(e, a, la, result, rank);
  b = arranged(e, b, lb, result, rank);
  for (int k = 0; k < rank; k++) {
    if (la->dim[(unsigned char)result[k]] < 0) a = mp_op_unsqueeze(e, a, k);
    if (lb->dim[(unsigned char)result[k]] < 0) b = mp_op_unsqueeze(e, b, k);
  }
  return mp_op_mul(e, a, b);
}

/* letters of one operand that neither the other nor the result has are summed first */
static mp_ten without_own(mp_em *e, mp_ten x, letters *own, const letters *other, const letters *result) {
  int64_t dims[MP_RANK];
  uint32_t n = 0;
  bool gone[MP_RANK] = {false};
  for (int c = 0; c < 128; c++)
    if (own->dim[c] >= 0 && other->dim[c] < 0 && result->dim[c] < 0) {
      gone[own->dim[c]] = true;
      dims[n++] = own->dim[c];
    }
  if (!n) return x;
  letters left = *own;
  for (int c = 0; c < 128; c++) {
    if (own->dim[c] < 0) continue;
    for (int d = 0; d < own->dim[c]; d++) left.dim[c] = (int8_t)(left.dim[c] - gone[d]);
    if (gone[own->dim[c]]) left.dim[c] = -1;
  }
  *own = left;
  return mp_op_sum_dims(e, x, dims, n, false);
}

/* two operands: one bmm, or where nothing is summed a product */
static mp_ten pair(mp_em *e, mp_ten a, mp_ten b, const letters *given_a, const letters *given_b, const letters *lr, const char *result, int result_rank) {
  letters kept[2] = {*given_a, *given_b}, *la = &kept[0], *lb = &kept[1];
  a = mp_em_autocast(e, a, MP_CAST_HALF);
  b = mp_em_autocast(e, b, MP_CAST_HALF);
  a = without_own(e, a, la, given_b, lr);
  b = without_own(e, b, lb, given_a, lr);
  groups g = grouped(e, la, lb, lr, result, result_rank);
  if (!g.n[SUM]) return outer(e, a, b, la, lb, result, result_rank);
  mp_tensor_info x = *mp_em_info(e, a), y = *mp_em_info(e, b);
  char left[3 * MP_RANK], right[3 * MP_RANK];
  int nl = joined(&g, BATCH, LEFT, SUM, left), nr = joined(&g, BATCH, SUM, RIGHT, right);
  int64_t batch = product(&x, la, g.at[BATCH], g.n[BATCH]), m = product(&x, la, g.at[LEFT], g.n[LEFT]);
  int64_t s = product(&x, la, g.at[SUM], g.n[SUM]), w = product(&y, lb, g.at[RIGHT], g.n[RIGHT]);
  mp_ten l = mp_op_reshape(e, arranged(e, a, la, left, nl), 3, (int64_t[]){batch, m, s});
  mp_ten r = mp_op_reshape(e, arranged(e, b, lb, right, nr), 3, (int64_t[]){batch, s, w});
  return unfolded(e, mp_op_bmm(e, l, r), &g, &x, &y, la, lb, result);
}

/* one operand: its letters in the result's order, the rest summed */
static mp_ten alone(mp_em *e, mp_ten a, const letters *la, const char *mine, const char *result, int rank) {
  char order[2 * MP_RANK + 1] = {0};
  int64_t dims[MP_RANK];
  int n = 0;
  for (int k = 0; k < rank; k++)
    if (la->dim[(unsigned char)result[k]] < 0) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: no operand has the result's letter '%c'", result[k]);
  for (; n < rank; n++) order[n] = result[n];
  for (const char *c = mine; *c; c++)
    if (!strchr(result, *c)) order[n++] = *c;
  a = arranged(e, a, la, order, n);
  for (int k = rank; k < n; k++) dims[k - rank] = k;
  return n > rank ? mp_op_sum_dims(e, a, dims, (uint32_t)(n - rank), false) : a;
}

/* the letters up to the next operand or the result, without blanks */
static int text_of(const char *from, const char *to, char *out) {
  int n = 0;
  for (; from < to && n < MP_RANK; from++)
    if (*from != ' ') out[n++] = *from;
  out[n] = 0;
  return n;
}

static int letters_in(const char *s, const char *end) {
  int n = 0;
  for (; s < end; s++) n += isalpha((unsigned char)*s) != 0;
  return n;
}

/* '...' as letters that the equation does not use: of an operand the dims that its own letters leave, the last ones alike; of the result all. */
static const char *without_ellipsis(mp_em *e, const char *s, const mp_ten *x, uint32_t n) {
  char fresh[MP_RANK + 1] = {0};
  int unused = 0, most = 0;
  for (int c = 'A'; c <= 'z' && unused < MP_RANK; c++)
    if (isalpha(c) && !strchr(s, c)) fresh[unused++] = (char)c;
  const char *operand = s;
  for (uint32_t k = 0; k < n && *operand; k++) {
    const char *end = operand + strcspn(operand, ",-");
    int rest = mp_em_info(e, x[k])->rank - letters_in(operand, end);
    if (rest < 0 || rest > unused) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: an operand of rank %d does not go with '%s'; the recovered program is wrong here", mp_em_info(e, x[k])->rank, s);
    if (rest > most) most = rest;
    operand = end + (*end == ',');
  }
  mp_text t = {0};
  for (uint32_t k = 0; *s; k++) { /* the operands, then the result */
    size_t length = strcspn(s, ",-");
    const char *dots = strstr(s, "...");
    int rest = k < n ? mp_em_info(e, x[k])->rank - letters_in(s, s + length) : most;
    if (dots && dots < s + length) mp_text_add(e->a, &t, "%.*s%.*s%.*s", (int)(dots - s), s, rest, fresh + most - rest, (int)(s + length - dots - 3), dots + 3);
    else mp_text_add(e->a, &t, "%.*s", (int)length, s);
    s += length;
    if (*s == ',') mp_text_add(e->a, &t, "%c", *s++);
    else if (*s) {
      mp_text_add(e->a, &t, "->");
      s += s[1] == '>' ? 2 : 1;
      k = n - 1;
    }
  }
  return t.at;
}

/* einsum(equation, tensors): from left to right, two at a time; what neither a later operand nor the result names is summed */
void mp_call_einsum(mp_em *e) {
  size_t scope = mp_em_enter(e);
  mp_ten x[MP_RANK];
  uint32_t n = mp_c_tens(e, 1, x, MP_RANK);
  const char *s = mp_c_str(e, 0);
  if (s && strstr(s, "...")) s = without_ellipsis(e, s, x, n);
  const char *arrow = s ? strstr(s, "->") : NULL;
  letters mine, next, out;
  char have[2 * MP_RANK + 1], other[2 * MP_RANK + 1], result[2 * MP_RANK + 1];
  if (!n || !arrow) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: expected operands, '->' and the result's letters");
  int rank = text_of(arrow + 2, arrow + 2 + strlen(arrow + 2), result);
  const char *end = parse_letters(e, s, &mine, mp_em_info(e, x[0])->rank);
  text_of(s, end, have);
  mp_ten z = x[0];
  for (uint32_t k = 1; k < n; k++) {
    const char *from = *end == ',' ? end + 1 : end;
    end = parse_letters(e, from, &next, mp_em_info(e, x[k])->rank);
    text_of(from, end, other);
    char both[4 * MP_RANK + 1], kept[4 * MP_RANK + 1] = {0};
    int m = 0;
    strcat(strcpy(both, have), other);
    for (const char *c = both; *c; c++)
      if (strchr(end, *c) && !strchr(kept, *c)) kept[m++] = *c;
    const char *to = k + 1 == n ? result : kept;
    if (strlen(to) > MP_RANK) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: more than %d letters of one kind", MP_RANK);
    parse_letters(e, to, &out, (int)strlen(to));
    z = pair(e, z, x[k], &mine, &next, &out, to, (int)strlen(to));
    strcpy(have, to);
    mine = out;
  }
  mp_c_out(e, 0, n > 1 ? z : alone(e, z, &mine, have, result, rank));
  mp_em_leave(e, scope, NULL, 0);
}
