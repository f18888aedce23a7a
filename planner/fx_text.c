/* One small recursive reader of the texts that the dynamo exporter leaves in metadata. Whatever it cannot read makes the text "not a call": the file
 * then goes to the recoverer that looks at nodes. Nesting is bounded, and nothing but the arena grows. */
#include "planner/fx_text.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 16

typedef struct reader {
  mp_arena *arena;
  const char *p;
  bool bad;
} reader;

static bool take(reader *r, const char *word) {
  size_t n = strlen(word);
  if (strncmp(r->p, word, n) != 0) return false;
  r->p += n;
  return true;
}

static void blanks(reader *r) {
  while (isspace((unsigned char)*r->p)) r->p++;
}

static bool name_char(char c) { return isalnum((unsigned char)c) || c == '_'; }

static const char *name_at(reader *r) {
  const char *start = r->p;
  while (name_char(*r->p)) r->p++;
  if (r->p == start) r->bad = true;
  return mp_strndup(r->arena, start, (size_t)(r->p - start));
}

static const char *quoted(reader *r) {
  char q = *r->p++;
  const char *start = r->p;
  while (*r->p && *r->p != q) r->p += *r->p == '\\' && r->p[1] ? 2 : 1;
  const char *s = mp_strndup(r->arena, start, (size_t)(r->p - start));
  if (*r->p == q)
    r->p++;
  else
    r->bad = true;
  return s;
}

static bool ends_item(char c) { return !c || c == ',' || c == ')' || c == ']' || c == '}' || c == ':'; }

/* None, True, 12, -1e-05, inf, torch.float32, cpu, cuda:0, slice(None, 2, None) */
static mp_fx_item bare(reader *r) {
  const char *start = r->p;
  int depth = 0;
  while (*r->p && (depth || !ends_item(*r->p) || (*r->p == ':' && isdigit((unsigned char)r->p[1])))) {
    depth += (*r->p == '(') - (*r->p == ')');
    r->p++;
  }
  size_t n = (size_t)(r->p - start);
  while (n && isspace((unsigned char)start[n - 1])) n--;
  char *s = mp_strndup(r->arena, start, n), *end;
  if (!n) r->bad = true;
  if (!strcmp(s, "None")) return (mp_fx_item){.kind = MP_FX_NONE};
  if (!strcmp(s, "True") || !strcmp(s, "False")) return (mp_fx_item){.kind = MP_FX_BOOL, .b = *s == 'T', .i = *s == 'T', .f = *s == 'T'};
  long long i = strtoll(s, &end, 10);
  if (!*end && end != s) return (mp_fx_item){.kind = MP_FX_INT, .i = i, .f = (double)i};
  double f = strtod(s, &end); /* reads inf and nan as Python writes them */
  if (!*end && end != s) return (mp_fx_item){.kind = MP_FX_FLOAT, .f = f};
  return (mp_fx_item){.kind = MP_FX_WORD, .text = s};
}

static mp_fx_item item(reader *r, int depth);

/* members up to `close`; a trailing comma is Python's tuple of one */
static mp_fx_item list(reader *r, char close, int depth) {
  MP_VEC(mp_fx_item) v = {0};
  for (blanks(r); !r->bad && *r->p && *r->p != close; blanks(r)) {
    mp_fx_item member = item(r, depth);
    *mp_push(r->arena, &v) = member;
    blanks(r);
    if (*r->p == ',')
      r->p++;
    else if (*r->p != close)
      r->bad = true;
  }
  if (*r->p == close)
    r->p++;
  else
    r->bad = true;
  return (mp_fx_item){.kind = MP_FX_LIST, .n = (uint32_t)v.n, .at = v.at};
}

static mp_fx_item item(reader *r, int depth) {
  blanks(r);
  if (depth > MAX_DEPTH) r->bad = true;
  if (r->bad) return (mp_fx_item){0};
  switch (*r->p) {
    case '%':
      r->p++;
      return (mp_fx_item){.kind = MP_FX_REF, .text = name_at(r)};
    case '[':
      r->p++;
      return list(r, ']', depth + 1);
    case '(':
      r->p++;
      return list(r, ')', depth + 1);
    case '\'':
    case '"':
      return (mp_fx_item){.kind = MP_FX_STRING, .text = quoted(r)};
    default:
      return bare(r);
  }
}

/* torch.ops.aten.linear.default -> aten::linear, default;  operator.getitem, <built-in function mul> -> getitem, mul */
static void target(reader *r, mp_fx_call *c) {
  const char *start = r->p;
  while (*r->p && *r->p != ']') r->p++;
  char *s = mp_strndup(r->arena, start, (size_t)(r->p - start));
  c->overload = "";
  if (!strncmp(s, "torch.ops.", 10)) {
    char *space = s + 10, *op = strchr(space, '.'), *over = op ? strchr(op + 1, '.') : NULL;
    if (!op) {
      r->bad = true;
      return;
    }
    *op++ = '\0';
    if (over) {
      *over++ = '\0';
      c->overload = over;
    }
    c->op = mp_format(r->arena, "%s::%s", space, op);
  } else {
    size_t n = strlen(s);
    while (n && !name_char(s[n - 1])) s[--n] = '\0';
    while (n && name_char(s[n - 1])) n--;
    c->op = s + n;
  }
  if (*r->p == ']')
    r->p++;
  else
    r->bad = true;
}

const mp_fx_call *mp_fx_parse(mp_arena *a, const char *text) {
  reader r = {.arena = a, .p = text};
  blanks(&r);
  if (!take(&r, "%")) return NULL;
  mp_fx_call *c = mp_alloc(a, sizeof *c);
  c->name = name_at(&r);
  const char *kind = strstr(r.p, "call_function[target=");
  if (r.bad || !kind) return NULL;
  static const char users[] = "[num_users=";
  const char *count = strstr(r.p, users);
  if (count && count < kind) c->users = (uint32_t)strtoul(count + sizeof users - 1, NULL, 10);
  r.p = kind + strlen("call_function[target=");
  target(&r, c);
  if (r.bad || !take(&r, "(args = (")) return NULL;
  mp_fx_item args = list(&r, ')', 0);
  if (r.bad || !take(&r, ", kwargs = {")) return NULL;
  MP_VEC(mp_fx_key) keys = {0};
  for (blanks(&r); !r.bad && *r.p && *r.p != '}'; blanks(&r)) {
    const char *key = *r.p == '\'' ? quoted(&r) : name_at(&r);
    if (!take(&r, ":")) return NULL;
    mp_fx_item value = item(&r, 0);
    *mp_push(a, &keys) = (mp_fx_key){key, value};
    blanks(&r);
    if (*r.p == ',') r.p++;
  }
  if (r.bad || *r.p != '}') return NULL;
  c->args = args.at;
  c->arg_count = args.n;
  c->kwargs = keys.at;
  c->kwarg_count = (uint32_t)keys.n;
  return c;
}

uint32_t mp_fx_strings(mp_arena *a, const char *text, const char **out, uint32_t max) {
  reader r = {.arena = a, .p = text};
  blanks(&r);
  if (!take(&r, "[")) return 0;
  mp_fx_item l = list(&r, ']', 0);
  if (r.bad) return 0;
  for (uint32_t i = 0; i < l.n && i < max; i++) out[i] = l.at[i].text ? l.at[i].text : "";
  return l.n;
}

/* name='p_w' after `key` and before `end`, NULL where it is None */
static const char *repr_field(mp_arena *a, const char *text, const char *end, const char *key) {
  const char *at = strstr(text, key);
  if (!at || at >= end) return NULL;
  at += strlen(key);
  const char *close = strchr(at, '\'');
  return close && close < end ? mp_strndup(a, at, (size_t)(close - at)) : NULL;
}

/* Before torch 2.9 the signature is Python's repr: InputSpec(kind=<InputKind.PARAMETER: 2>, arg=TensorArgument(name='p_w'), target='w',
 * persistent=None) */
static uint32_t signature_from_repr(mp_arena *a, const char *text, mp_fx_spec **out) {
  static const char input[] = "InputSpec(kind=<InputKind.", output[] = "OutputSpec(kind=<OutputKind.";
  MP_VEC(mp_fx_spec) v = {0};
  for (const char *p = strstr(text, "Spec(kind=<"); p;) {
    bool is_output = p - text >= 6 && !strncmp(p - 6, output, 10);
    const char *kind = p + (is_output ? sizeof output - 7 : sizeof input - 6), *next = strstr(p + 1, "Spec(kind=<");
    const char *end = next ? next : text + strlen(text), *name = repr_field(a, p, end, "name='");
    if (name)
      *mp_push(a, &v) = (mp_fx_spec){.name = name,
                                     .kind = mp_strndup(a, kind, strcspn(kind, ":>")),
                                     .target = repr_field(a, p, end, "target='"),
                                     .is_output = is_output,
                                     .persistent = !(strstr(p, "persistent=False") && strstr(p, "persistent=False") < end)};
    p = next;
  }
  *out = v.at;
  return (uint32_t)v.n;
}

uint32_t mp_fx_signature(mp_arena *a, const char *text, mp_fx_spec **out) {
  MP_VEC(mp_fx_spec) v = {0};
  if (strstr(text, "ExportGraphSignature(")) return signature_from_repr(a, text, out);
  bool outputs = false;
  for (reader r = {.arena = a, .p = text}; *r.p;) {
    const char *line = r.p, *end = strchr(line, '\n');
    size_t n = end ? (size_t)(end - line) : strlen(line);
    char *s = mp_strndup(a, line, n);
    r.p = end ? end + 1 : line + n;
    if (!strncmp(s, "# outputs", 9)) outputs = true;
    char *colon = strstr(s, ": ");
    if (*s == '#' || !colon) continue;
    *colon = '\0';
    char *kind = colon + 2, *rest = strchr(kind, ' ');
    mp_fx_spec spec = {.name = s, .kind = kind, .is_output = outputs, .persistent = true};
    if (rest) {
      *rest++ = '\0';
      char *target_text = strstr(rest, "target='"), *close = target_text ? strchr(target_text + 8, '\'') : NULL;
      if (strstr(rest, "persistent=False")) spec.persistent = false;
      if (close) {
        *close = '\0';
        spec.target = target_text + 8;
      }
    }
    *mp_push(a, &v) = spec;
  }
  *out = v.at;
  return (uint32_t)v.n;
}

mp_dtype mp_fx_dtype(const char *word) {
  static const struct {
    const char *name;
    mp_dtype dtype;
  } names[] = {{"float32", MP_FLOAT},
               {"float", MP_FLOAT},
               {"float64", MP_DOUBLE},
               {"double", MP_DOUBLE},
               {"float16", MP_FLOAT16},
               {"half", MP_FLOAT16},
               {"bfloat16", MP_BFLOAT16},
               {"int64", MP_INT64},
               {"long", MP_INT64},
               {"int32", MP_INT32},
               {"int", MP_INT32},
               {"int16", MP_INT16},
               {"int8", MP_INT8},
               {"uint8", MP_UINT8},
               {"bool", MP_BOOL},
               {"complex64", MP_COMPLEX64},
               {"complex128", MP_COMPLEX128},
               {"float8_e4m3fn", MP_FLOAT8E4M3FN},
               {"float8_e5m2", MP_FLOAT8E5M2},
               {"uint16", MP_UINT16},
               {"uint32", MP_UINT32},
               {"uint64", MP_UINT64}};
  if (strncmp(word, "torch.", 6) != 0) return MP_UNDEFINED;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(names[i].name, word + 6)) return names[i].dtype;
  return MP_UNDEFINED;
}
