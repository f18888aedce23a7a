#include "support_cases.h"

#include <dirent.h>

#include "onnx/shape.h"

typedef struct one {
  char domain[64], type[64];
  long since;
  char *drawing, *expected;
  int line;
} one;

static char *slurp(const char *file) {
  char path[512];
  snprintf(path, sizeof path, "%s/tests/%s", MEMPLAN_SOURCE, file);
  FILE *f = fopen(path, "r");
  if (!f) fail_msg("%s: cannot be opened", path);
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  rewind(f);
  char *text = calloc(1, (size_t)n + 1);
  assert_int_equal(fread(text, 1, (size_t)n, f), n);
  fclose(f);
  return text;
}

static char *next_line(char **at, int *line) { /* NULL at the end; comment lines are passed over */
  for (;;) {
    char *start = *at;
    if (!*start) return NULL;
    char *end = strchr(start, '\n');
    if (end) *end = 0;
    *at = end ? end + 1 : start + strlen(start);
    ++*line;
    if (*start != '#') return start;
  }
}

/* the next case; false at the end of the text */
static bool next_case(char **at, int *line, const char *file, one *c) {
  char *head, name[128];
  while ((head = next_line(at, line)) && !*head) {}
  if (!head) return false;
  c->line = *line;
  if (sscanf(head, "%127s %ld", name, &c->since) != 2) fail_msg("%s:%d: OPERATOR OPSET expected, found '%s'", file, *line, head);
  char *dot = strrchr(name, '.');
  snprintf(c->domain, sizeof c->domain, "%.*s", dot ? (int)(dot - name) : 0, name);
  snprintf(c->type, sizeof c->type, "%.63s", dot ? dot + 1 : name);
  c->drawing = next_line(at, line);
  c->expected = c->drawing ? next_line(at, line) : NULL;
  if (!c->expected || !*c->expected) fail_msg("%s:%d: a case has three lines", file, c->line);
  char *rest = next_line(at, line);
  if (rest && *rest) fail_msg("%s:%d: a blank line expected after a case", file, *line);
  return true;
}

static const char *differs(mp_arena *a, const mp_graph *g, const mp_node *n, const char *part) {
  unsigned long long number;
  char name[128];
  int used = 0;
  if (sscanf(part, "macs %llu", &number) == 1) return n->macs == number ? NULL : mp_format(a, "macs %llu", (unsigned long long)n->macs);
  if (sscanf(part, "flops %llu", &number) == 1) return n->flops == number ? NULL : mp_format(a, "flops %llu", (unsigned long long)n->flops);
  if (strncmp(part, "warns ", 6) == 0) {
    if (test_warned(g, part + 6)) return NULL;
    return g->warning_count ? g->warnings[0] : "no warning";
  }
  if (sscanf(part, "why %127[^:]: %n", name, &used) == 1 && used) {
    const char *why = mp_graph_why(a, g, (int32_t)(test_value(g, name) - g->values));
    return why && strstr(why, part + used) ? NULL : why ? why : "nothing is unknown";
  }
  if (sscanf(part, "%127[^:]: %n", name, &used) != 1 || !used) return "nothing that a case can expect";
  const char *shown = test_shown(a, g, name);
  return strcmp(shown, part + used) == 0 ? NULL : shown;
}

static const mp_graph *case_graph(mp_arena *a, const one *c, const mp_graph_options *o) {
  const char *opset = strstr(c->drawing, "opset") ? "" : *c->domain ? mp_format(a, "opset 17; opset %s %ld; ", c->domain, c->since) : mp_format(a, "opset %ld; ", c->since);
  return test_graph_with(a, mp_format(a, "%s%s", opset, c->drawing), o);
}

static int run_case(mp_arena *a, const char *file, const one *c) {
  int wrong = 0;
  const mp_graph *g = case_graph(a, c, NULL);
  const mp_node *n = NULL;
  for (uint32_t i = 0; i < g->node_count; i++)
    if (strcmp(g->nodes[i].type, c->type) == 0 && strcmp(g->nodes[i].domain, c->domain) == 0) n = &g->nodes[i];
  if (!n || !n->op || n->op->since != c->since) {
    print_error("%s:%d: %s: no node has the row of opset %ld\n", file, c->line, c->type, c->since);
    return 1;
  }
  char *parts = mp_strdup(a, c->expected);
  for (char *part = parts, *end; part; part = end) {
    end = strstr(part, " | ");
    if (end) {
      *end = 0;
      end += 3;
    }
    const char *found = differs(a, g, n, part);
    if (!found) continue;
    print_error("%s:%d: %s: expected %s, found %s\n", file, c->line, c->type, part, found);
    for (uint32_t i = 0; i < g->warning_count; i++) print_error("    %s\n", g->warnings[i]);
    wrong++;
  }
  return wrong;
}

void test_cases(const char *file) {
  char *text = slurp(file), *at = text;
  int line = 0, wrong = 0, n = 0;
  for (one c; next_case(&at, &line, file, &c); n++) {
    mp_arena *a = mp_arena_new(0);
    wrong += run_case(a, file, &c);
    mp_arena_free(a);
  }
  free(text);
  assert_true(n > 0);
  if (wrong) fail_msg("%s: %d of the expectations of %d cases do not hold", file, wrong, n);
}

/* ---- the same cases with numbers ---- */

enum { MAX_NAMES = 16 };

typedef struct numbers {
  mp_binding at[MAX_NAMES];
  char whole[MAX_NAMES][64]; /* the name as expressions hold it: "n", or "x:0" for an axis without a name */
  uint32_t n;
} numbers;

static mp_int number_of(void *arg, const char *name, size_t n) {
  const numbers *b = arg;
  for (uint32_t i = 0; i < b->n; i++)
    if (strlen(b->whole[i]) == n && memcmp(b->whole[i], name, n) == 0) return mp_int_of(b->at[i].n);
  return mp_int_unknown();
}

static void number_names(mp_arena *a, const mp_graph *g, numbers *b) {
  static const int64_t sizes[] = {12, 4, 24, 8};
  for (uint32_t i = 0; i < g->input_count; i++) {
    const mp_value *v = &g->values[g->inputs[i]];
    for (int k = 0; k < v->rank && b->n < MAX_NAMES; k++) {
      const char *text = mp_int_text(a, v->dims[k]), *axis = mp_format(a, "%s:%d", v->name, k);
      if (!v->dims[k].e || strpbrk(text, "+-*/(?") || number_of(b, text, strlen(text)).e == NULL) continue;
      bool unnamed = strcmp(text, axis) == 0;
      snprintf(b->whole[b->n], sizeof b->whole[0], "%s", text);
      b->at[b->n] = (mp_binding){unnamed ? v->name : mp_strdup(a, text), unnamed ? k : -1, sizes[b->n % 4]};
      b->n++;
    }
  }
}

static uint32_t compare_bound(mp_arena *a, const char *file, const one *c) {
  const mp_graph *g = case_graph(a, c, NULL);
  numbers b = {.n = 0};
  uint32_t compared = 0;
  number_names(a, g, &b);
  if (!b.n) return 0;
  mp_graph_options o = {.bindings = b.at, .binding_count = b.n};
  const mp_graph *with = case_graph(a, c, &o);
  if (with->warning_count > g->warning_count) return 0; /* these numbers do not fit the case */
  mp_syms *syms = mp_syms_new(a);
  for (uint32_t i = 0; i < g->value_count; i++) {
    const mp_value *v = &g->values[i];
    if (v->kind != MP_VALUE_NODE || v->rank < 0) continue;
    const mp_value *w = test_value(with, v->name);
    if (w->rank < 0) continue;
    if (w->rank != v->rank) fail_msg("%s:%d: '%s' has rank %d, with numbers %d", file, c->line, v->name, v->rank, w->rank);
    for (int k = 0; k < v->rank; k++) {
      const char *text = mp_int_text(a, v->dims[k]);
      mp_int d = v->dims[k].e ? mp_syms_parse(a, syms, text, number_of, &b) : v->dims[k];
      if (!mp_int_is_number(d) || !mp_int_is_number(w->dims[k])) continue;
      if (d.n != w->dims[k].n) fail_msg("%s:%d: dim %d of '%s' is %s, which makes %lld; with numbers it is %lld", file, c->line, k, v->name, text, (long long)d.n, (long long)w->dims[k].n);
      compared++;
    }
  }
  return compared;
}

uint32_t test_cases_bound(const char *file) {
  char *text = slurp(file), *at = text;
  int line = 0;
  uint32_t compared = 0;
  for (one c; next_case(&at, &line, file, &c);) {
    mp_arena *a = mp_arena_new(0);
    compared += compare_bound(a, file, &c);
    mp_arena_free(a);
  }
  free(text);
  return compared;
}

static void mark(const char *file, bool *covered) {
  char *text = slurp(file), *at = text;
  int line = 0;
  for (one c; next_case(&at, &line, file, &c);) {
    bool found = false;
    for (uint32_t i = 0; i < mp_op_count(); i++) {
      const char *domain, *type;
      int64_t since;
      mp_op_row(i, &domain, &type, &since);
      if (since != c.since || strcmp(type, c.type) != 0 || strcmp(domain, c.domain) != 0) continue;
      covered[i] = found = true;
    }
    if (!found) fail_msg("%s:%d: the operator table has no row '%s %ld'", file, c.line, c.type, c.since);
  }
  free(text);
}

uint32_t test_rows_without_case(void) {
  bool *covered = calloc(mp_op_count() + 1, sizeof *covered);
  uint32_t missing = 0;
  DIR *d = opendir(MEMPLAN_SOURCE "/tests");
  assert_non_null(d);
  for (struct dirent *e; (e = readdir(d));)
    if (strncmp(e->d_name, "cases_", 6) == 0) mark(e->d_name, covered);
  closedir(d);
  for (uint32_t i = 0; i < mp_op_count(); i++) {
    const char *domain, *type;
    int64_t since;
    mp_op_row(i, &domain, &type, &since);
    if (covered[i]) continue;
    print_message("no case: %s%s%s %lld\n", domain, *domain ? "." : "", type, (long long)since);
    missing++;
  }
  free(covered);
  return missing;
}
