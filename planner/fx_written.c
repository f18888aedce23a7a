/* What a source line says of types: text alone, nothing of the graph. */
#include "planner/fx_written.h"

#include <string.h>

static bool ends_with(const char *text, size_t n, const char *end) {
  size_t m = strlen(end);
  return n >= m && !memcmp(text + n - m, end, m);
}

static bool is_widened(const char *text, size_t n) {
  static const char *const ways[] = {".float()", ".to(torch.float32)", ".to(dtype=torch.float32)", ".to(torch.float)", ".type(torch.float32)", ".type(torch.float)"};
  while (n && text[n - 1] == ' ') n--;
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
    if (ends_with(text, n, ways[i])) return true;
  return false;
}

static bool is_letter(char c) { return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* is what stands before the dot a module of functions, whose calls take the operand as their first argument? */
static bool names_functions(const char *line, const char *dot) {
  static const char *const modules[] = {"torch", "F", "functional", "special"};
  for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
    size_t m = strlen(modules[i]), n = (size_t)(dot - line);
    if (ends_with(line, n, modules[i]) && (n == m || !is_letter(line[n - m - 1]))) return true;
  }
  return false;
}

/* the first place where the line calls `stem`, behind its bracket; NULL */
static const char *find_call(const char *line, const char *stem) {
  size_t n = strlen(stem);
  for (const char *at = strstr(line, stem); at; at = strstr(at + n, stem))
    if (at[n] == '(' && (at == line || !is_letter(at[-1]))) return at + n + 1;
  return NULL;
}

static const char *stem_of(const char *op) {
  static const char *const before[] = {"aten::", "_", "native_"};
  for (size_t i = 0; i < sizeof before / sizeof *before; i++)
    if (!strncmp(op, before[i], strlen(before[i]))) op += strlen(before[i]);
  return op;
}

fx_written fx_as_written(const char *source, const char *op) {
  fx_written w = {0};
  const char *stem = stem_of(op), *at = source ? find_call(source, stem) : NULL;
  if (!at) return w;
  const char *name = at - strlen(stem) - 1, *from = at;
  bool method = name > source && name[-1] == '.' && !names_functions(source, name - 1);
  if (method) w.widened = is_widened(source, (size_t)(name - 1 - source));
  int depth = 0, argument = method; /* of a method the operand stands before it */
  for (const char *p = at; *p; p++) {
    if (*p == '(' || *p == '[') depth++;
    if (!depth && (*p == ',' || *p == ')')) {
      bool widened = is_widened(from, (size_t)(p - from));
      if (!argument) w.widened = widened;
      if (argument == 1) w.second = widened;
      argument++;
      from = p + 1;
    }
    if (*p == ')' && !depth) {
      w.back = !strncmp(p + 1, ".to(", 4) || !strncmp(p + 1, ".type_as(", 9);
      break;
    }
    if (*p == ')' || *p == ']') depth--;
  }
  return w;
}

bool fx_keeps_type(const char *source) {
  const char *at = source ? strstr(source, "dtype=") : NULL;
  size_t n = at ? strcspn(at, ",)") : 0;
  return n && ends_with(at, n, ".dtype");
}

/* what is assigned or returned: "y = x + z  # note" -> "x + z"; NULL: the line does neither, or does it to several */
static const char *right_side(const char *line, size_t *n) {
  int depth = 0;
  const char *from = strncmp(line, "return ", 7) ? NULL : line + 7, *p = line;
  for (; *p && *p != '\n' && *p != '#'; p++) {
    if (*p == '\'' || *p == '"') return NULL;
    depth += (*p == '(' || *p == '[' || *p == '{') - (*p == ')' || *p == ']' || *p == '}');
    if (depth < 0 || (!depth && *p == ',')) return NULL;
    if (!from && !depth && *p == '=') {
      if (p == line || strchr("+-*/@%&|^<>=!:", p[-1]) || p[1] == '=') return NULL;
      from = p + 1;
    }
  }
  if (!from || depth) return NULL;
  while (*from == ' ') from++;
  *n = (size_t)(p - from);
  while (*n && from[*n - 1] == ' ') --*n;
  return *n ? from : NULL;
}

fx_widening fx_widening_of(const char *line) {
  size_t n, at = 0;
  const char *text = line ? right_side(line, &n) : NULL;
  int depth = 0;
  if (!text) return (fx_widening){0};
  for (size_t i = 0; i < n; i++) {
    depth += (text[i] == '(' || text[i] == '[' || text[i] == '{') - (text[i] == ')' || text[i] == ']' || text[i] == '}');
    if (depth || !strchr("+-*/@%&|^<>~ ", text[i])) continue;
    bool spaced = i && i + 2 < n && text[i] == ' ' && strchr("+-*/@", text[i + 1]) && text[i + 2] == ' ';
    if (!spaced || at) return (fx_widening){0}; /* a sign, a comparison, a condition, several operators */
    at = i + 1;
    i += 2;
  }
  if (!at) return (fx_widening){.whole = is_widened(text, n)};
  return (fx_widening){.sign = text[at], .left = is_widened(text, at), .right = is_widened(text + at + 1, n - at - 1)};
}
