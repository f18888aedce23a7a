/* Which statement of which frame made a value, and which assigns its variable anew: the dynamo exporter's stack traces have the source lines.
 *
 *     File "m.py", line 255, in forward          a module instance's own frame is the first at which its calls' traces part:
 *       y = self.ffn(x)                          what leads to it is the call of the instance
 *     File "ffn.py", line 9, in forward
 *       return self.lin(x)
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "planner/inside.h"

#define LONGEST 256  /* of a statement's line */
#define FARTHEST 500 /* calls that are looked through for another assignment */

typedef struct span {
  const char *at;
  size_t n;
} span;

typedef struct place { /* one frame of a stack trace */
  span file, function, text;
  long line;
} place;

typedef struct places {
  const place *at;
  uint32_t n;
} places;

struct mp_sources {
  const mp_call *calls;
  const mp_instance *instances;
  places *of;      /* of each call */
  uint32_t *depth; /* of each instance: its frame */
};

static bool same(span a, span b) { return a.n == b.n && !memcmp(a.at, b.at, a.n); }
static bool same_frame(const place *a, const place *b) { return same(a->file, b->file) && same(a->function, b->function); }

static span line_of(const char **p) {
  while (**p == ' ') (*p)++;
  span s = {*p, strcspn(*p, "\n")};
  *p += s.n + ((*p)[s.n] == '\n');
  return s;
}

/* `what` inside a line; NULL */
static const char *find(const char *from, const char *end, const char *what) {
  size_t n = strlen(what);
  for (; from && from + n <= end; from++)
    if (!memcmp(from, what, n)) return from;
  return NULL;
}

static places parse(mp_arena *a, const char *stack) {
  MP_VEC(place) v = {0};
  for (const char *p = stack; p && *p;) {
    span s = line_of(&p);
    const char *file = s.n > 6 && !memcmp(s.at, "File \"", 6) ? s.at + 6 : NULL, *quote = file ? memchr(file, '"', s.n - 6) : NULL;
    const char *line = find(quote, s.at + s.n, ", line "), *in = find(line, s.at + s.n, ", in ");
    if (!in) continue;
    place x = {.file = {file, (size_t)(quote - file)}, .line = strtol(line + 7, NULL, 10), .function = {in + 5, (size_t)(s.at + s.n - in) - 5}};
    x.text = line_of(&p);
    if (x.text.n > LONGEST) x.text.n = LONGEST;
    *mp_push(a, &v) = x;
  }
  return (places){v.at, (uint32_t)v.n};
}

static uint32_t common(const places *a, const places *b, uint32_t most) {
  uint32_t n = 0;
  while (n < most && n < a->n && n < b->n && a->at[n].line == b->at[n].line && same_frame(&a->at[n], &b->at[n])) n++;
  return n;
}

mp_sources *mp_sources_new(mp_arena *a, const mp_call *calls, uint32_t call_count, const mp_instance *instances, uint32_t instance_count) {
  mp_sources *s = mp_alloc(a, sizeof *s);
  *s = (mp_sources){calls, instances, mp_alloc_array(a, call_count + 1, sizeof *s->of), mp_alloc_array(a, instance_count + 1, sizeof *s->depth)};
  bool any = false;
  for (uint32_t c = 0; c < call_count; c++) {
    s->of[c] = c && calls[c].stack && calls[c].stack == calls[c - 1].stack ? s->of[c - 1] : parse(a, calls[c].stack);
    any |= s->of[c].n > 0;
  }
  for (uint32_t i = 0; any && i < instance_count; i++) {
    const places *first = NULL;
    uint32_t depth = UINT32_MAX;
    for (uint32_t c = instances[i].first; c < instances[i].end; c++) {
      if (!s->of[c].n) continue;
      if (!first) first = &s->of[c];
      depth = common(first, &s->of[c], depth);
    }
    s->depth[i] = depth;
  }
  return any ? s : NULL;
}

/* Is it a line inside a call's parentheses, "self.norm(x), mask, causal=True" or "value=self.v(x),", whose '=' at `end` names an argument? */
static bool is_argument(span text, size_t end) {
  for (size_t i = 1; i < end; i++)
    if (text.at[i] == '(' && (isalnum((unsigned char)text.at[i - 1]) || text.at[i - 1] == '_')) return true;
  return end && text.at[end - 1] != ' ' && text.at[text.n - 1] == ',';
}

/* the names on the left of a statement's '=': their count, the name at `index` (the first where there are fewer) in *name */
static uint32_t targets(span text, uint32_t index, span *name) {
  size_t end = 0;
  int depth = 0;
  for (; end < text.n; end++) {
    char c = text.at[end];
    if (c == '(' || c == '[' || c == '{') depth++;
    if (c == ')' || c == ']' || c == '}') depth--;
    if (c != '=' || depth) continue;
    if (end + 1 < text.n && text.at[end + 1] == '=') return 0;
    if (end && strchr("=!<>", text.at[end - 1])) return 0;
    break;
  }
  if (end == text.n || is_argument(text, end)) return 0;
  uint32_t n = 0;
  for (size_t i = 0; i < end;) {
    while (i < end && !isalnum((unsigned char)text.at[i]) && text.at[i] != '_') i++;
    size_t from = i;
    while (i < end && (isalnum((unsigned char)text.at[i]) || text.at[i] == '_' || text.at[i] == '.')) i++;
    if (i == from) break;
    if (!n || n == index) *name = (span){text.at + from, i - from};
    n++;
  }
  return n;
}

/* skips.append(f(x)): the list that holds what the statement makes */
static bool collects(span text, span *name) {
  size_t n = 0;
  while (n < text.n && (isalnum((unsigned char)text.at[n]) || text.at[n] == '_' || text.at[n] == '.')) n++;
  span method = {".append", 7};
  *name = (span){text.at, n - (n > method.n ? method.n : n)};
  return name->n && n < text.n && text.at[n] == '(' && same((span){text.at + name->n, method.n}, method);
}

/* y = torch.stack(outputs, dim=1): the list that holds what is joined, though nothing shows how it got there */
static bool joins(span text, span *name) {
  static const char *const calls[] = {"stack(", "cat("};
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    const char *end = text.at + text.n, *at = find(text.at, end, calls[i]);
    if (!at) continue;
    at += strlen(calls[i]);
    size_t n = 0;
    while (at + n < end && (isalnum((unsigned char)at[n]) || at[n] == '_')) n++;
    *name = (span){at, n};
    if (n && at + n < end && (at[n] == ',' || at[n] == ')')) return true;
  }
  return false;
}

static bool assigns(span text, span name) {
  span other;
  uint32_t n = targets(text, 0, &other);
  for (uint32_t i = 0; i < n; i++) {
    targets(text, i, &other);
    bool member = other.at + other.n < text.at + text.n && other.at[other.n] == '['; /* seen["x"] = ... leaves the rest of `seen` */
    if (same(other, name) && !member) return true;
  }
  return false;
}

/* the part of `owner` that the call runs in, -1: none */
static int32_t part_of(const mp_sources *s, int32_t owner, int32_t call) {
  int32_t part = -1;
  for (int32_t m = s->calls[call].module; m >= 0 && m != owner; m = s->instances[m].parent) part = m;
  return part;
}

/* x = layer(x) in a loop over a list: the call after this one is the next member's */
static bool next_turn(const mp_sources *s, int32_t owner, int32_t call) {
  int32_t a = part_of(s, owner, call), b = part_of(s, owner, call + 1);
  return a >= 0 && b >= 0 && mp_in_one_list(s->instances[a].path, s->instances[b].path);
}

/* Does the statement at `at` run the next call, too? One without a trace (a norm that was folded into its convolution) belongs to it unless the trace behind it leaves a line between. */
static bool goes_on(const mp_sources *s, int32_t owner, int32_t call, const place *at, uint32_t k) {
  const places *next = &s->of[call + 1];
  if (next_turn(s, owner, call)) return false;
  if (next->n) return k < next->n && next->at[k].line == at->line;
  int32_t c = call + 2, end = (int32_t)s->instances[owner].end;
  if (part_of(s, owner, call) == part_of(s, owner, call + 1)) return true;
  while (c < end && !s->of[c].n) c++;
  return c >= end || k >= s->of[c].n || !same_frame(&s->of[c].at[k], at) || (s->of[c].at[k].line >= at->line && s->of[c].at[k].line <= at->line + 1);
}

/* Does the statement show that many operations? Else it calls a function, of whose frame the traces tell nothing. */
static bool shows(span text, uint32_t operations) {
  uint32_t n = 0;
  for (size_t i = 0; i < text.n; i++) n += strchr("(*+-/@", text.at[i]) != NULL;
  return operations <= n;
}

/* All that the module does stands on one line, at which no traces part: self.down(self.act(self.gate(x)) * self.up(x)). */
static bool in_one_statement(const mp_sources *s, int32_t owner, int32_t made, int32_t read) {
  const places *m = &s->of[made], *r = &s->of[read];
  uint32_t k = m->n < r->n ? m->n : r->n, own = 0;
  if (!k-- || (s->calls[made].module != owner && s->calls[read].module != owner)) return false;
  if (s->depth[owner] != k + 1 || m->at[k].line != r->at[k].line || !same_frame(&m->at[k], &r->at[k])) return false;
  for (uint32_t c = s->instances[owner].first; c < s->instances[owner].end; c++) own += s->calls[c].module == owner;
  return shows(m->at[k].text, own);
}

int32_t mp_source_death(const mp_sources *s, int32_t owner, int32_t made, uint32_t slot, int32_t read) {
  if (!s || owner < 0) return -1;
  uint32_t k = s->depth[owner];
  const places *m = &s->of[made], *r = &s->of[read];
  span name;
  if (in_one_statement(s, owner, made, read)) return read;
  if (k >= m->n || k >= r->n || !same_frame(&m->at[k], &r->at[k])) return -1;
  if (m->at[k].line == r->at[k].line) return read; /* inside one expression */
  const mp_call *reader = &s->calls[read];
  bool joined = reader->arg_count && reader->args[0].kind == MP_ARG_VARS && reader->args[0].n > 2 && joins(r->at[k].text, &name);
  if (!joined && !targets(m->at[k].text, slot, &name) && !collects(m->at[k].text, &name)) return -1; /* the rest of a statement of several lines */
  int32_t end = (int32_t)s->instances[owner].end;
  long line = -1;
  for (int32_t c = read; c < end && c - read < FARTHEST; c++) {
    const places *p = &s->of[c];
    if (k >= p->n || p->at[k].line == line || !same_frame(&p->at[k], &m->at[k])) continue;
    line = p->at[k].line;
    if (!assigns(p->at[k].text, name)) continue;
    while (c + 1 < end && goes_on(s, owner, c, &p->at[k], k)) c++;
    return c;
  }
  return end - 1;
}

int32_t mp_source_targets(const mp_sources *s, int32_t owner, int32_t call) {
  if (!s || owner < 0 || s->depth[owner] >= s->of[call].n) return -1;
  static const char outputs[] = "outputs"; /* self_attention_outputs = self.attention(x): all that it returned */
  span name;
  uint32_t n = targets(s->of[call].at[s->depth[owner]].text, 0, &name);
  bool several = n == 1 && name.n >= strlen(outputs) && same((span){name.at + name.n - strlen(outputs), strlen(outputs)}, (span){outputs, strlen(outputs)});
  return several ? 2 : (int32_t)n;
}
