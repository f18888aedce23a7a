/* Patterns as text: one small recursive matcher over nodes, and one writer of calls.
 *
 *   $3                    a value: the first time it is bound, then it must be the same
 *   #a   #0.5             a number that Python knew: bound, or equal to this one (to 1 in 10,000, or as its type rounds)
 *   ~                     a value that follows from constants and shapes alone
 *   _                     anything, absent too
 *   Op(x, y)              the node of this type that makes the value; inputs that the text leaves out must be absent, `...` allows more;
 *   Op(...)               one or more
 *   Op[perm=1 0, k](x)    with this attribute; `k=-`: the attribute is absent
 *   Op(x):1               its second output
 *
 * Operands match in order: the order is part of what tells a call from another. Casts to the same type are looked through unless the text asks for a
 * Cast. All nodes of a match but the last must be read by the match alone (readers of their shape do not count), unless they follow from parameters
 * and constants only.
 *
 * A call's text: "aten::gelu($0, 'none')". $n a tensor or a number, %n a tensor, #a a number bound above, none, true, false, integers, reals (with a
 * dot), 'strings', [1, 2] integers. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/recover.h"

typedef struct text {
  mp_rec *r;
  mp_hit *h;
  const char *p;
} text;

static void blanks(text *t) {
  while (*t->p == ' ') t->p++;
}

static bool take(text *t, char c) {
  blanks(t);
  if (*t->p != c) return false;
  t->p++;
  return true;
}

bool mp_hit_node(mp_hit *h, int32_t node) {
  for (uint32_t i = 0; i < h->node_count; i++)
    if (h->nodes[i] == node) return true;
  if (h->node_count == MP_HIT_NODES) return false;
  h->nodes[h->node_count++] = node;
  return true;
}

/* are they the same as far as the type holds them: of a file in half precision the constants are rounded, too */
static bool near(double x, double y, mp_dtype t) {
  double eps = t == MP_BFLOAT16 ? 1.0 / 256 : t == MP_FLOAT16 ? 1.0 / 2048 : 1e-4;
  return x == y || fabs(x - y) <= eps * fmax(fabs(x), fabs(y));
}

static bool match_number(text *t, int32_t value) {
  double x, want;
  char c = *t->p;
  if (c >= 'a' && c <= 'd' && !isalnum((unsigned char)t->p[1])) {
    t->p++;
    if (value < 0 || !mp_r_number(t->r, value, &x)) return false;
    t->h->numbers[c - 'a'] = x;
    return true;
  }
  char *end;
  want = strtod(t->p, &end);
  t->p = end;
  return value >= 0 && mp_r_number(t->r, value, &x) && near(x, want, t->r->g->values[value].dtype);
}

/* "perm=1 0, keepdims=-" after '[' */
static bool match_attributes(text *t, const mp_node *n) {
  do {
    char name[32];
    size_t len = 0;
    blanks(t);
    while (isalnum((unsigned char)*t->p) || *t->p == '_') {
      if (len + 1 < sizeof name) name[len++] = *t->p;
      t->p++;
    }
    name[len] = 0;
    const mp_attr *a = mp_node_attr(n, name);
    if (take(t, '=')) {
      blanks(t);
      if (*t->p == '-' && !isdigit((unsigned char)t->p[1])) {
        t->p++;
        if (a) return false;
        continue;
      }
      if (!a) return false;
      uint32_t k = 0;
      while (isdigit((unsigned char)*t->p) || *t->p == '-') {
        char *end;
        long want = strtol(t->p, &end, 10);
        t->p = end;
        blanks(t);
        if (a->kind == MP_ATTR_INT ? (k || a->as.i != want) : (a->kind != MP_ATTR_INTS || k >= a->n || a->as.ints[k] != want)) return false;
        k++;
      }
      if (a->kind == MP_ATTR_INTS && k != a->n) return false;
    } else if (!a) {
      return false;
    }
  } while (take(t, ','));
  return take(t, ']');
}

static bool match_expr(text *t, int32_t consumer, int input);

static bool word_is(text *t, const char *type) {
  blanks(t);
  size_t n = strlen(type);
  if (strncmp(t->p, type, n) != 0 || isalnum((unsigned char)t->p[n])) return false;
  t->p += n;
  return true;
}

/* the text stands at a type; node is the candidate */
static bool match_node(text *t, int32_t node, int slot) {
  const mp_node *n = mp_r_node(t->r, node);
  if (!word_is(t, n->type) || !mp_hit_node(t->h, node)) return false;
  if (take(t, '[') && !match_attributes(t, n)) return false;
  if (!take(t, '(')) return false;
  int i = 0;
  bool more = false;
  if (!take(t, ')')) {
    do {
      blanks(t);
      if (!strncmp(t->p, "...", 3)) {
        t->p += 3;
        more = true;
        break;
      }
      if (!match_expr(t, node, i++)) return false;
    } while (take(t, ','));
    if (!take(t, ')')) return false;
  }
  if (more && !i && !n->ins) return false; /* as ONNX's variadic inputs: one at least */
  for (; !more && i < n->ins; i++)
    if (n->in[i] >= 0) return false;
  int want = 0;
  if (take(t, ':')) {
    want = *t->p - '0';
    t->p++;
  }
  return slot == want || slot < 0;
}

static bool match_value(text *t, int32_t value) {
  int digit = *t->p - '0';
  t->p++;
  if (value < 0) return false;
  if (t->h->values[digit] < 0) t->h->values[digit] = value;
  return t->h->values[digit] == value;
}

static bool match_expr(text *t, int32_t consumer, int input) {
  blanks(t);
  const mp_node *n = mp_r_node(t->r, consumer);
  int32_t raw = input < n->ins ? n->in[input] : -1;
  int32_t value = mp_r_in(t->r, consumer, input);
  switch (*t->p) {
    case '_':
      t->p++;
      return true;
    case '~':
      t->p++;
      return value >= 0 && t->r->fixed[value];
    case '$':
      t->p++;
      return match_value(t, value);
    case '#':
      t->p++;
      return match_number(t, value);
    default:
      break;
  }
  bool cast = !strncmp(t->p, "Cast", 4) && !isalnum((unsigned char)t->p[4]);
  int32_t from = cast ? raw : value;
  if (from < 0) return false;
  int32_t node = t->r->g->values[from].producer;
  return node >= 0 && match_node(t, node, t->r->g->values[from].slot);
}

/* An Expand to the size that its operand has: a view of it all, which the tracer hands to later readers of the operand, too. */
bool mp_r_expands_nothing(const mp_rec *r, int32_t node) {
  const mp_node *n = mp_r_node(r, node);
  if (strcmp(n->type, "Expand") != 0 || n->ins < 1 || n->in[0] < 0 || !n->outs || n->out[0] < 0) return false;
  const mp_value *x = &r->g->values[n->in[0]], *y = &r->g->values[n->out[0]];
  bool same = x->rank >= 0 && x->rank == y->rank;
  for (int i = 0; same && i < x->rank; i++) same = mp_int_is_number(x->dims[i]) && mp_int_is_number(y->dims[i]) && x->dims[i].n == y->dims[i].n;
  return same;
}

/* does only the hit read the node's results, or may the node be shared: it follows from parameters and constants, or expands nothing */
static bool owned(mp_rec *r, const mp_hit *h, int32_t node) {
  const mp_node *n = mp_r_node(r, node);
  bool given = n->ins > 0;
  for (int i = 0; i < n->ins; i++)
    if (n->in[i] >= 0 && !r->fixed[n->in[i]] && !mp_r_is_parameter(r, n->in[i])) given = false;
  if (given || (n->outs && n->out[0] >= 0 && r->fixed[n->out[0]]) || mp_r_expands_nothing(r, node)) return true;
  if (r->owner[node]) return false;
  for (int o = 0; o < n->outs; o++) {
    if (n->out[o] < 0) continue;
    if (r->g->values[n->out[o]].is_output) return false;
    for (uint32_t u = r->use_first[n->out[o]]; u < r->use_first[n->out[o] + 1]; u++) {
      const char *type = mp_r_node(r, r->use[u])->type;
      bool in = !strcmp(type, "Shape") || !strcmp(type, "Size");
      for (uint32_t i = 0; i < h->node_count && !in; i++) in = h->nodes[i] == r->use[u];
      if (!in) return false;
    }
  }
  return true;
}

bool mp_match(mp_rec *r, const mp_pattern *row, int32_t node, mp_hit *h) {
  if (!mp_r_node(r, node)->outs) return false; /* checks read the first result */
  memset(h, 0, sizeof *h);
  h->row = row;
  h->root = node;
  for (int i = 0; i < MP_HIT_VALUES; i++) h->values[i] = -1;
  text t = {r, h, row->nodes};
  if (!match_node(&t, node, -1)) return false;
  if (row->check && !row->check(r, h)) return false;
  for (uint32_t i = 1; i < h->node_count; i++)
    if (!owned(r, h, h->nodes[i])) return false;
  return true;
}

/* ---- calls ---- */

static bool literal(text *t, const char *word) {
  size_t n = strlen(word);
  if (strncmp(t->p, word, n) != 0) return false;
  t->p += n;
  return true;
}

static mp_arg ints_of(text *t) {
  int64_t ints[MP_RANK];
  uint32_t n = 0;
  while (!take(t, ']')) {
    char *end;
    ints[n++] = strtol(t->p, &end, 10);
    t->p = end;
    take(t, ',');
  }
  return mp_arg_ints(t->r->a, ints, n);
}

static mp_arg argument(text *t) {
  blanks(t);
  char c = *t->p;
  if (c == '$' || c == '%') {
    int32_t v = t->h->values[t->p[1] - '0'];
    t->p += 2;
    return c == '$' ? mp_r_arg(t->r, v) : mp_r_tensor(t->r, v);
  }
  if (c == '#') {
    t->p += 2;
    return mp_arg_float(t->h->numbers[t->p[-1] - 'a']);
  }
  if (c == '\'') {
    const char *from = ++t->p;
    while (*t->p != '\'') t->p++;
    return mp_arg_str(mp_strndup(t->r->a, from, (size_t)(t->p++ - from)));
  }
  if (c == '[') {
    t->p++;
    return ints_of(t);
  }
  if (literal(t, "none")) return mp_arg_none();
  if (literal(t, "true")) return mp_arg_bool(true);
  if (literal(t, "false")) return mp_arg_bool(false);
  char *end;
  double x = strtod(t->p, &end);
  bool real = memchr(t->p, '.', (size_t)(end - t->p)) != NULL;
  t->p = end;
  return real ? mp_arg_float(x) : mp_arg_int((int64_t)x);
}

void mp_emit_text(mp_rec *r, const mp_hit *h) {
  mp_hit copy = *h;
  text t = {r, &copy, h->row->call};
  const char *open = strchr(t.p, '(');
  char *name = mp_strndup(r->a, t.p, (size_t)(open - t.p));
  mp_arg args[12];
  uint32_t n = 0;
  t.p = open + 1;
  if (!take(&t, ')')) {
    do args[n++] = argument(&t);
    while (take(&t, ','));
  }
  mp_r_last(r, h, name, args, n);
}
