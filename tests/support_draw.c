#include "support_draw.h"

#include <ctype.h>
#include <unistd.h>

/* ---- protobuf, the writing half ---- */

typedef struct bytes {
  uint8_t *at;
  size_t n, cap;
} bytes;

static void put(bytes *b, const void *p, size_t n) {
  while (b->n + n > b->cap) {
    b->cap = b->cap ? 2 * b->cap : 256;
    b->at = realloc(b->at, b->cap);
    assert_non_null(b->at);
  }
  if (n) memcpy(b->at + b->n, p, n);
  b->n += n;
}

static void varint(bytes *b, uint64_t x) {
  do {
    uint8_t c = (uint8_t)((x & 127) | (x > 127 ? 128 : 0));
    put(b, &c, 1);
  } while (x >>= 7);
}

static void number(bytes *b, unsigned field, int64_t x) {
  varint(b, field << 3);
  varint(b, (uint64_t)x);
}

static void real(bytes *b, unsigned field, float x) {
  varint(b, field << 3 | 5);
  put(b, &x, 4);
}

static void string(bytes *b, unsigned field, const char *s) {
  varint(b, field << 3 | 2);
  varint(b, strlen(s));
  put(b, s, strlen(s));
}

static void message(bytes *b, unsigned field, bytes *inner) {
  varint(b, field << 3 | 2);
  varint(b, inner->n);
  put(b, inner->at, inner->n);
  free(inner->at);
  *inner = (bytes){0};
}

/* ---- words of a line ---- */

#define WORDS 64
typedef struct line {
  char text[1024];
  char *word[WORDS];
  int n;
} line;

static void split(line *l, const char *from, size_t len) {
  assert_true(len < sizeof l->text);
  memcpy(l->text, from, len);
  l->text[len] = 0;
  l->n = 0;
  for (char *p = strtok(l->text, " \t"); p; p = strtok(NULL, " \t")) {
    assert_true(l->n < WORDS);
    l->word[l->n++] = p;
  }
}

static int dtype(const char *word) {
  const struct {
    const char *name;
    int type;
  } types[] = {{"float", MP_FLOAT}, {"float16", MP_FLOAT16}, {"bfloat16", MP_BFLOAT16}, {"double", MP_DOUBLE},
               {"int64", MP_INT64}, {"int32", MP_INT32},     {"bool", MP_BOOL}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcmp(types[i].name, word)) return types[i].type;
  fail_msg("element type '%s'", word);
  return 0;
}

/* NAME TYPE DIMS... from word 1 */
static void value_info(bytes *graph, unsigned field, const line *l) {
  bytes info = {0}, type = {0}, tensor = {0}, shape = {0};
  string(&info, 1, l->word[1]);
  if (l->n > 2) {
    number(&tensor, 1, dtype(l->word[2]));
    for (int i = 3; i < l->n; i++) {
      bytes dim = {0};
      if (isdigit((unsigned char)*l->word[i]))
        number(&dim, 1, atoll(l->word[i]));
      else if (strcmp(l->word[i], "?"))
        string(&dim, 2, l->word[i]);
      message(&shape, 1, &dim);
    }
    if (field == 11 || l->n > 3) message(&tensor, 2, &shape);
    message(&type, 1, &tensor);
    message(&info, 2, &type);
  }
  message(graph, field, &info);
}

static void initializer(bytes *graph, const line *l) {
  bytes t = {0};
  int i = 3;
  for (; i < l->n && strcmp(l->word[i], ":"); i++) number(&t, 1, atoll(l->word[i]));
  number(&t, 2, dtype(l->word[2]));
  string(&t, 8, l->word[1]);
  if (*l->word[0] == 'w') {
    bytes entry = {0};
    string(&entry, 1, "location");
    string(&entry, 2, "absent.bin");
    message(&t, 13, &entry);
    number(&t, 14, 1);
  }
  bytes raw = {0};
  for (int k = i + 1; k < l->n && *l->word[0] == 'r'; k++) put(&raw, &(float){strtof(l->word[k], NULL)}, 4);
  if (raw.n) message(&t, 9, &raw);
  for (i++; i < l->n && *l->word[0] == 'c'; i++) {
    if (dtype(l->word[2]) == MP_FLOAT)
      real(&t, 4, strtof(l->word[i], NULL));
    else
      number(&t, dtype(l->word[2]) == MP_INT64 ? 7 : 5, atoll(l->word[i]));
  }
  message(graph, 5, &t);
}

static void attribute(bytes *node, char *word) {
  char *eq = strchr(word, '='), *v = eq + 1;
  *eq = 0;
  if (!strcmp(word, "name") || !strcmp(word, "domain")) {
    string(node, *word == 'n' ? 3 : 7, v);
    return;
  }
  bytes a = {0};
  string(&a, 1, word);
  if (*v == '"') {
    v[strlen(v) - 1] = 0;
    string(&a, 4, v + 1);
    number(&a, 20, 3);
  } else if (*v == '[') {
    for (char *p = v + 1; *p && *p != ']'; p += *p == ',') number(&a, 8, strtoll(p, &p, 10));
    number(&a, 20, 7);
  } else if (strpbrk(v, ".e")) {
    real(&a, 2, strtof(v, NULL));
    number(&a, 20, 1);
  } else {
    number(&a, 3, atoll(v));
    number(&a, 20, 2);
  }
  message(node, 5, &a);
}

static void node(bytes *graph, const line *l) {
  bytes n = {0};
  int i = 2;
  for (; i < l->n && strcmp(l->word[i], "->"); i++) string(&n, 1, strcmp(l->word[i], "\"\"") ? l->word[i] : "");
  for (i++; i < l->n && !strchr(l->word[i], '='); i++) string(&n, 2, strcmp(l->word[i], "\"\"") ? l->word[i] : "");
  string(&n, 4, l->word[1]);
  for (; i < l->n; i++) attribute(&n, l->word[i]);
  message(graph, 1, &n);
}

uint8_t *test_draw(const char *text, size_t *size) {
  bytes model = {0}, graph = {0};
  bool opset = false;
  number(&model, 1, 8);
  while (*text) {
    size_t len = strcspn(text, "\n");
    line l;
    split(&l, text, len);
    text += len + (text[len] == '\n');
    if (!l.n) continue;
    if (!strcmp(l.word[0], "opset")) {
      bytes set = {0};
      if (l.n > 2)
        string(&set, 1, l.word[1]);
      else
        opset = true;
      number(&set, 2, atoll(l.word[l.n - 1]));
      message(&model, 8, &set);
    } else if (!strcmp(l.word[0], "in")) {
      value_info(&graph, 11, &l);
    } else if (!strcmp(l.word[0], "out")) {
      value_info(&graph, 12, &l);
    } else if (!strcmp(l.word[0], "w") || !strcmp(l.word[0], "c") || !strcmp(l.word[0], "r")) {
      initializer(&graph, &l);
    } else if (!strcmp(l.word[0], "node")) {
      node(&graph, &l);
    } else {
      fail_msg("a drawing has no '%s'", l.word[0]);
    }
  }
  if (!opset) {
    bytes set = {0};
    number(&set, 2, 17);
    message(&model, 8, &set);
  }
  string(&graph, 2, "drawing");
  message(&model, 7, &graph);
  *size = model.n;
  return model.at;
}

void test_draw_file(const char *text, char *path, size_t size) {
  size_t n;
  uint8_t *model = test_draw(text, &n);
  snprintf(path, size, "/tmp/memplan-drawing-XXXXXX");
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, model, n), n);
  close(fd);
  free(model);
}
