/* Instances from CSV: index,name,cost,bytes,backward,inputs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/remat_inside.h"

typedef MP_VEC(mp_remat_node) node_vec;

typedef struct reader {
  mp_arena *a;
  const char *path;
  unsigned line;
  node_vec nodes;
} reader;

static char *slurp(mp_arena *a, const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  if (!f) mp_fail(a, MP_BAD_INPUT, "%s: %s; give a rematerialization instance (CSV)", path, strerror(errno));
  char *text = NULL;
  size_t cap = 0, got;
  *n = 0;
  do { /* grown by hand: the file may be a pipe */
    if (cap - *n < 65536) {
      cap = cap ? cap * 2 : 131072;
      char *more = cap > (size_t)4 << 30 ? NULL : realloc(text, cap);
      if (!more) {
        free(text);
        fclose(f);
        mp_fail(a, MP_BAD_INPUT, "%s: larger than 4 GiB or than memory; give a smaller instance", path);
      }
      text = more;
    }
    got = fread(text + *n, 1, cap - *n - 1, f);
    *n += got;
  } while (got);
  bool bad = ferror(f) != 0;
  fclose(f);
  char *copy = bad ? NULL : mp_strndup(a, text, *n);
  free(text);
  if (bad) mp_fail(a, MP_BAD_INPUT, "%s: cannot be read (%s)", path, strerror(EIO));
  return copy;
}

/* cuts the next field off *at; NULL at the end of the line. Quotes as in RFC 4180, without line breaks inside. */
static char *field(reader *r, char **at) {
  char *p = *at;
  if (!p) return NULL;
  if (*p == '"') {
    char *to = p, *from = p + 1;
    while (*from && !(from[0] == '"' && from[1] != '"')) {
      if (*from == '"') from++;
      *to++ = *from++;
    }
    if (!*from || (from[1] && from[1] != ','))
      mp_fail(r->a, MP_BAD_INPUT, "%s:%u: a quote is not closed; write \"...\" around a name with commas", r->path, r->line);
    *at = from[1] ? from + 2 : NULL;
    *to = 0;
    return p;
  }
  char *comma = strchr(p, ',');
  if (comma) *comma = 0;
  *at = comma ? comma + 1 : NULL;
  return p;
}

static uint64_t whole(reader *r, const char *column, const char *text, char **end) {
  errno = 0;
  char *stop;
  unsigned long long x = strtoull(text, &stop, 10);
  if (stop == text || *text == '-' || *text == '+' || errno || (!end && *stop))
    mp_fail(r->a, MP_BAD_INPUT, "%s:%u: %s '%.40s', expected a whole number of 0 or more", r->path, r->line, column, text);
  if (end) *end = stop;
  return x;
}

static double real(reader *r, const char *column, const char *text) {
  char *stop;
  double x = strtod(text, &stop);
  if (stop == text || *stop || !(x >= 0) || x > 1e300)
    mp_fail(r->a, MP_BAD_INPUT, "%s:%u: %s '%.40s', expected a number of 0 or more", r->path, r->line, column, text);
  return x;
}

static void read_inputs(reader *r, mp_remat_node *x, char *text) {
  uint32_t index = (uint32_t)r->nodes.n;
  MP_VEC(uint32_t) in = {0};
  for (char *p = text;;) {
    while (*p == ' ') p++;
    if (!*p) break;
    uint64_t j = whole(r, "inputs", p, &p);
    if (*p && *p != ' ') mp_fail(r->a, MP_BAD_INPUT, "%s:%u: inputs '%.40s', expected indices separated by spaces", r->path, r->line, text);
    if (j >= index)
      mp_fail(r->a, MP_BAD_INPUT, "%s:%u: input %llu of node %u is not an earlier node; list the nodes in topological order", r->path, r->line,
              (unsigned long long)j, index);
    *mp_push(r->a, &in) = (uint32_t)j;
  }
  x->inputs = in.at;
  x->n_inputs = (uint32_t)in.n;
}

static void read_row(reader *r, char *line) {
  enum { INDEX, NAME, COST, BYTES, BACKWARD, INPUTS, COLUMNS };
  char *at = line, *f[COLUMNS];
  int n = 0;
  for (char *x; (x = field(r, &at)); n++)
    if (n < COLUMNS) f[n] = x;
  if (n != COLUMNS) mp_fail(r->a, MP_BAD_INPUT, "%s:%u: %d columns, expected 6: index,name,cost,bytes,backward,inputs", r->path, r->line, n);
  uint64_t index = whole(r, "index", f[INDEX], NULL);
  if (index != r->nodes.n)
    mp_fail(r->a, MP_BAD_INPUT, "%s:%u: index %llu, expected %zu: rows are numbered 0, 1, 2, ...", r->path, r->line, (unsigned long long)index,
            r->nodes.n);
  if (index >= NONE / 4) mp_fail(r->a, MP_BAD_INPUT, "%s:%u: more than 2^30 nodes", r->path, r->line);
  uint64_t backward = whole(r, "backward", f[BACKWARD], NULL);
  if (backward > 1) mp_fail(r->a, MP_BAD_INPUT, "%s:%u: backward '%s', expected 0 or 1", r->path, r->line, f[BACKWARD]);
  mp_remat_node x = {.name = f[NAME], .cost = real(r, "cost", f[COST]), .bytes = whole(r, "bytes", f[BYTES], NULL), .backward = backward != 0};
  read_inputs(r, &x, f[INPUTS]);
  *mp_push(r->a, &r->nodes) = x;
}

static const void *read_file(mp_arena *a, void *arg) {
  reader r = {.a = a, .path = arg};
  size_t n;
  char *text = slurp(a, r.path, &n);
  if (strlen(text) != n) mp_fail(a, MP_BAD_INPUT, "%s: not a text file; expected CSV", r.path);
  for (char *p = text; p && *p;) {
    char *end = strchr(p, '\n'), *next = end ? end + 1 : NULL;
    if (end) *end = 0;
    size_t len = strlen(p);
    if (len && p[len - 1] == '\r') p[--len] = 0;
    r.line++;
    if (r.line == 1) {
      if (strcmp(p, "index,name,cost,bytes,backward,inputs"))
        mp_fail(a, MP_BAD_INPUT, "%s:1: header '%.60s', expected index,name,cost,bytes,backward,inputs", r.path, p);
    } else if (len) {
      read_row(&r, p);
    }
    p = next;
  }
  if (!r.nodes.n) mp_fail(a, MP_BAD_INPUT, "%s: no nodes; expected a header and one row a node", r.path);
  mp_remat *in = mp_alloc(a, sizeof *in);
  const char *slash = strrchr(r.path, '/');
  *in = (mp_remat){.name = mp_strdup(a, slash ? slash + 1 : r.path), .n = (uint32_t)r.nodes.n, .nodes = r.nodes.at};
  return in;
}

const mp_remat *mp_remat_read(mp_arena *a, const char *path, mp_err *err) {
  return path ? mp_protect(a, err, read_file, (void *)(uintptr_t)path) : NULL;
}
