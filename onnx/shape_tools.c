/* What several families of operator rules share: dims that two sources describe, costs, and rules written as one line of text. */
#include "onnx/shape_tools.h"

#include <ctype.h>
#include <stdlib.h>

mp_int mp_dim_unify(mp_int a, mp_int b, bool *clash) {
  if (mp_int_is_unknown(a)) return b;
  if (mp_int_is_unknown(b)) return a;
  if (mp_int_is_number(a) && mp_int_is_number(b) && a.n != b.n) *clash = true;
  return mp_int_is_number(a) ? a : mp_int_is_number(b) ? b : a;
}

void mp_shape_merge(mp_shape *into, const mp_shape *other) {
  if (into->rank != other->rank) into->rank = -1;
  for (int i = 0; i < into->rank; i++)
    if (!mp_sym_equal(into->dims[i], other->dims[i])) into->dims[i] = mp_int_unknown();
}

void mp_shape_append(mp_shape *s, mp_int d) {
  if (s->rank < 0) return;
  if (s->rank == MP_MAX_RANK) s->rank = -1;
  else s->dims[s->rank++] = d;
}

void mp_shape_of_value(const mp_value *v, mp_shape *s) {
  s->rank = v ? v->rank : -1;
  if (s->rank > MP_MAX_RANK) s->rank = -1;
  for (int i = 0; i < s->rank; i++) s->dims[i] = v->dims[i];
}

bool mp_axis(mp_infer *c, int64_t *axis, int rank) {
  if (*axis < -rank || *axis >= rank) {
    mp_infer_bad(c, "axis %lld is outside of a tensor of rank %d", (long long)*axis, rank);
    return false;
  }
  if (*axis < 0) *axis += rank;
  return true;
}

mp_int mp_scalar_dim(const mp_infer *c, int i) {
  uint32_t n = 0;
  const mp_int *at = mp_infer_ints(c, i, &n);
  return at && n == 1 ? at[0] : mp_int_unknown();
}

bool mp_scalar_int(const mp_infer *c, int i, int64_t *n) {
  mp_int d = mp_scalar_dim(c, i);
  *n = d.n;
  return mp_int_is_number(d);
}

mp_dtype mp_dtype_or(const mp_infer *c, int i, int j) {
  mp_dtype t = mp_infer_dtype(c, i);
  return t ? t : mp_infer_dtype(c, j);
}

void mp_cost_macs(mp_infer *c, mp_int macs, mp_int elementwise) {
  uint64_t flops = 0;
  if (!mp_int_is_number(macs) || !mp_int_is_number(elementwise) || macs.n < 0 || elementwise.n < 0) mp_infer_no_cost(c);
  else if (mp_mul_u64((uint64_t)macs.n, 2, &flops) && mp_add_u64(flops, (uint64_t)elementwise.n, &flops)) mp_infer_cost(c, (uint64_t)macs.n, flops);
  else mp_infer_no_cost(c);
}

mp_int mp_elements(mp_infer *c, const mp_shape *s) { return s->rank < 0 ? mp_int_unknown() : mp_shape_elements(c, s, 0, s->rank); }

void mp_rule_same(mp_infer *c) { mp_infer_same(c, 0, 0); }

void mp_rule_same_all(mp_infer *c) {
  for (int i = 0; i < mp_infer_ins(c) && i < mp_infer_outs(c); i++) mp_infer_same(c, i, i);
}

void mp_rule_broadcast(mp_infer *c) {
  mp_shape a, b, r;
  mp_infer_shape(c, 0, &a);
  mp_infer_shape(c, 1, &b);
  bool known = a.rank >= 0 && b.rank >= 0;
  if (known && !mp_shape_broadcast(c, &a, &b, &r)) return;
  mp_infer_set(c, 0, mp_dtype_or(c, 0, 1), known ? &r : NULL);
}

/* ---- one-line rules ---- */

struct bound {
  mp_infer *c;
  mp_int letter[128];
  mp_shape lead; /* what "." stands for */
};

static const char *skip(const char *t) {
  while (*t == ' ') t++;
  return t;
}

/* binds the letters of one input's word; false on a contradiction. Returns through *t the word's end. */
static bool bind_input(struct bound *b, int i, const char **t) {
  const char *word = *t;
  size_t n = strcspn(word, " ");
  *t = word + n;
  int rank = mp_infer_rank(b->c, i);
  if (*word == '_' || rank < 0) return true;
  bool lead = *word == '.', clash = false;
  int letters = (int)n - lead;
  if (lead ? rank < letters : rank != letters) {
    mp_infer_bad(b->c, "input %d has rank %d, expected %s%d", i, rank, lead ? "at least " : "", letters);
    return false;
  }
  mp_shape s;
  mp_infer_shape(b->c, i, &s);
  int front = rank - letters;
  for (int k = 0; k < letters; k++) {
    mp_int *at = &b->letter[word[k + lead] & 127];
    *at = mp_dim_unify(*at, s.dims[front + k], &clash);
    if (clash) {
      mp_infer_bad(b->c, "dim %d of input %d contradicts another input", front + k, i);
      return false;
    }
  }
  if (!lead || (b->lead.rank >= front && front == 0)) return true;
  s.rank = front;
  if (b->lead.rank < 0) b->lead = s;
  else if (b->lead.rank == front)
    for (int k = 0; k < front; k++) b->lead.dims[k] = mp_dim_unify(b->lead.dims[k], s.dims[k], &clash);
  return true;
}

static mp_int attribute(struct bound *b, const char **t) {
  char name[64];
  size_t n = strcspn(*t, " ,*/+-=:|");
  if (n >= sizeof name) n = sizeof name - 1;
  memcpy(name, *t, n);
  name[n] = 0;
  *t += n;
  mp_int otherwise = mp_int_unknown();
  if (**t == '=') {
    char *end;
    otherwise = mp_num(strtoll(*t + 1, &end, 10));
    *t = end;
  }
  return mp_infer_has_attr(b->c, name) ? mp_num(mp_infer_int(b->c, name, 0)) : otherwise;
}

static mp_int factor(struct bound *b, const char **t) {
  if (**t == '@') return ++*t, attribute(b, t);
  if (**t == '.') return ++*t, mp_elements(b->c, &b->lead);
  if (isdigit((unsigned char)**t)) {
    char *end;
    long long n = strtoll(*t, &end, 10);
    *t = end;
    return mp_num(n);
  }
  return b->letter[*(*t)++ & 127];
}

static mp_int expression(struct bound *b, const char **t) {
  mp_int r = factor(b, t);
  for (char op = **t; op && strchr("*/+-", op); op = **t) {
    ++*t;
    mp_int f = factor(b, t);
    bool zero = mp_int_is_number(f) && f.n == 0;
    if (op == '*') r = mp_sym_mul(b->c, r, f);
    else if (op == '/') r = zero ? mp_int_unknown() : mp_sym_div(b->c, r, f);
    else r = op == '+' ? mp_sym_add(b->c, r, f) : mp_sym_sub(b->c, r, f);
  }
  return r;
}

static mp_dtype output_dtype(struct bound *b, const char **t) {
  static const struct {
    char letter;
    mp_dtype t;
  } letters[] = {{'f', MP_FLOAT}, {'h', MP_FLOAT16}, {'d', MP_DOUBLE}, {'l', MP_INT64},
                 {'i', MP_INT32}, {'b', MP_BOOL},    {'u', MP_UINT8},  {'s', MP_STRING}};
  if (**t != ':') return mp_infer_dtype(b->c, 0);
  mp_dtype got = MP_UNDEFINED;
  do {
    ++*t;
    if (**t == '@') {
      ++*t;
      mp_int a = attribute(b, t);
      if (!got && mp_int_is_number(a) && a.n > 0 && a.n < MP_DTYPES) got = (mp_dtype)a.n;
      continue;
    }
    if (isdigit((unsigned char)**t)) {
      char *end;
      int i = (int)strtol(*t, &end, 10);
      *t = end;
      if (!got) got = mp_infer_dtype(b->c, i);
      continue;
    }
    for (size_t k = 0; k < sizeof letters / sizeof *letters; k++)
      if (letters[k].letter == **t && !got) got = letters[k].t;
    ++*t;
  } while (**t == '|');
  return got;
}

static void write_output(struct bound *b, int o, const char **t) {
  if (**t == '_') {
    ++*t;
    return;
  }
  mp_shape s = {.rank = 0};
  if (**t == '(') *t += 2;
  else
    for (bool first = true; first || **t == ','; first = false) {
      if (!first) ++*t;
      if (**t == '.' && ((*t)[1] == ',' || (*t)[1] == ' ' || (*t)[1] == ':' || !(*t)[1])) {
        ++*t;
        s = b->lead;
        continue;
      }
      mp_int d = expression(b, t);
      mp_shape_append(&s, mp_below(d, 0) ? mp_int_unknown() : d);
    }
  mp_dtype type = output_dtype(b, t);
  if (o < mp_infer_outs(b->c) && mp_infer_wants(b->c, o)) mp_infer_set(b->c, o, type, s.rank < 0 ? NULL : &s);
}

void mp_rule_signature(mp_infer *c, const char *text) {
  struct bound b = {.c = c, .lead = {.rank = -1}};
  for (size_t i = 0; i < sizeof b.letter / sizeof *b.letter; i++) b.letter[i] = mp_int_unknown();
  const char *t = skip(text);
  for (int i = 0; strncmp(t, "->", 2); i++, t = skip(t))
    if (!bind_input(&b, i, &t)) return;
  t = skip(t + 2);
  for (int o = 0; *t && *t != ';'; o++, t = skip(t)) write_output(&b, o, &t);
  if (*t != ';') return;
  t = skip(t + 1);
  mp_int macs = expression(&b, &t);
  mp_cost_macs(c, macs, mp_num(0));
}
