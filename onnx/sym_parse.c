/* Names of dimensions that are expressions: exporters write "past_seq+seq", "s0 + 1", "2*(s1//8)". What does not read as one is a name as it stands, and so is
 * a hyphenated word: a minus counts only between blanks or before a number. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/shape.h"

enum { MAX_NESTED = 32 };

typedef struct reader {
  mp_infer *c;
  const char *at;
  mp_int (*value)(void *arg, const char *name, size_t n);
  void *arg;
  int depth;
  bool bad, any; /* any: an operator was there */
} reader;

static mp_int sum(reader *r);

static bool eat(reader *r, const char *token) {
  const char *p = r->at;
  while (*p == ' ') p++;
  size_t n = strlen(token);
  if (strncmp(p, token, n) != 0) return false;
  r->at = p + n;
  return true;
}

static mp_int fail(reader *r) {
  r->bad = true;
  return mp_int_unknown();
}

static mp_int extreme(reader *r, bool max) { /* behind "max(" */
  mp_int x = sum(r);
  r->any = true;
  while (!r->bad && eat(r, ",")) {
    mp_int y = sum(r);
    x = max ? mp_sym_max(r->c, x, y) : mp_sym_min(r->c, x, y);
  }
  return eat(r, ")") ? x : fail(r);
}

static mp_int atom(reader *r) {
  if (r->bad) return mp_int_unknown();
  if (eat(r, "max(") || eat(r, "Max(")) return extreme(r, true);
  if (eat(r, "min(") || eat(r, "Min(")) return extreme(r, false);
  if (eat(r, "(")) {
    mp_int x = sum(r);
    return eat(r, ")") ? x : fail(r);
  }
  while (*r->at == ' ') r->at++;
  const char *start = r->at;
  if (isdigit((unsigned char)*start)) {
    char *end;
    long long n = strtoll(start, &end, 10);
    r->at = end;
    return isalpha((unsigned char)*end) || *end == '_' ? fail(r) : mp_int_of(n);
  }
  while (isalnum((unsigned char)*r->at) || (*r->at && strchr("_.:", *r->at))) r->at++;
  return r->at == start ? fail(r) : r->value(r->arg, start, (size_t)(r->at - start));
}

static mp_int product(reader *r) {
  mp_int x = atom(r);
  for (; !r->bad; r->any = true) {
    if (eat(r, "//")) x = mp_sym_div(r->c, x, atom(r));
    else if (eat(r, "*")) x = mp_sym_mul(r->c, x, atom(r));
    else if (eat(r, "%")) x = mp_sym_mod(r->c, x, atom(r));
    else break;
  }
  return x;
}

static bool minus(reader *r) {
  const char *p = r->at;
  if (!((p[0] == ' ' && p[1] == '-' && p[2] == ' ') || (p[0] == '-' && isdigit((unsigned char)p[1])))) return false;
  return eat(r, "-");
}

static mp_int sum(reader *r) {
  if (++r->depth > MAX_NESTED) return fail(r);
  mp_int x = product(r);
  for (; !r->bad; r->any = true) {
    if (eat(r, "+")) x = mp_sym_add(r->c, x, product(r));
    else if (minus(r)) x = mp_sym_sub(r->c, x, product(r));
    else break;
  }
  r->depth--;
  return x;
}

static mp_int no_value(void *arg, const char *name, size_t n) {
  (void)arg, (void)name, (void)n;
  return mp_int_of(1);
}

mp_int mp_syms_parse(mp_arena *a, mp_syms *t, const char *text, mp_int (*value)(void *arg, const char *name, size_t n), void *arg) {
  if (strpbrk(text, "+*-/%(")) { /* first whether it reads as an expression, then what it is */
    reader r = {.c = mp_infer_bare(a, t), .at = text, .value = no_value};
    sum(&r);
    while (*r.at == ' ') r.at++;
    if (!r.bad && r.any && !*r.at) {
      r.at = text, r.value = value, r.arg = arg;
      return sum(&r);
    }
  }
  return value(arg, text, strlen(text));
}
