/* Files that are cut short, damaged or made to hurt: always an error or a graph, never a crash, a hang or a flood of memory. */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "support_any.h"
#include "support_graph.h"

#if defined(__SANITIZE_ADDRESS__)
#define SLOWER 20
#else
#define SLOWER 1
#endif

static const char rich[] =
    "opset 17; opset my 1; ir 8; c: bool[]; x: float[b,3] meta.k=\"v\"; s: seq(float[2]); o: optional(map(int64, float[2])); w = float[3,4]; k = "
    "int64[2]{1, 2}; h = int64[1]raw{5}\n"
    "z = Neg(y) name=\"n\" doc=\"d\" meta.k=\"v\"; y = my.F(x, w) axis=1; r = If(c) then_branch={ p = Neg(z); -> p } else_branch={ -> z }\n"
    "q = Constant() value=int64[2]{3, 4}; u = Reshape(x, q) i=1 f=1.5 is=[1,2] fs=[1.5] ss=[\"a\"]; -> r, q\n"
    "w2 = float[4]external{../w.bin, 0, 16}; graphmeta a=\"b\"; modelmeta c=\"d\"; info y: float[b,4]\n"
    "fun my.F(a, b) axis more=2 { opset 17; m = MatMul(a, b); c = Softmax(m) axis=@axis; -> c }";

/* What the command does with it, but printing; memory may not pass 80 MB. True: a graph came out. */
static bool survives(const char *label, const void *bytes, size_t n) {
  void *copy = malloc(n ? n : 1); /* exactly as long: a sanitizer sees the first byte too far */
  assert_non_null(copy);
  if (n) memcpy(copy, bytes, n);
  mp_arena *a = mp_arena_new((uint64_t)80 << 20);
  mp_err err = {0};
  clock_t start = clock();
  const mp_model *m = mp_model_read_memory(a, label, copy, n, &err);
  const mp_graph *g = m ? mp_graph_build(a, m, NULL, &err) : NULL;
  double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
  if (!g && err.code != MP_BAD_INPUT) fail_msg("%s: code %d: %s", label, err.code, err.text);
  if (!g && (!err.text[0] || strchr(err.text, '\n'))) fail_msg("%s: not one line: '%s'", label, err.text);
  if (mp_arena_used(a) > (uint64_t)100 << 20) fail_msg("%s: %llu bytes", label, (unsigned long long)mp_arena_used(a));
  if (seconds > 1.0 * SLOWER) fail_msg("%s: %.2f s", label, seconds);
  bool done = g != NULL;
  mp_arena_free(a);
  free(copy);
  return done;
}

static void cut_at_every_byte(void **state) {
  mp_arena *a = *state;
  size_t n;
  const uint8_t *bytes = test_model(a, rich, &n);
  uint32_t graphs = 0;
  for (size_t i = 0; i <= n; i++) graphs += survives("cut", bytes, i);
  assert_true(survives("whole", bytes, n));
  assert_true(graphs < 40); /* only where the cut falls between fields behind the graph */
}

static void every_byte_changed(void **state) {
  mp_arena *a = *state;
  size_t n;
  const uint8_t *bytes = test_model(a, rich, &n);
  uint8_t *copy = mp_alloc(a, n);
  static const uint8_t masks[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff};
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < sizeof masks; k++) {
      memcpy(copy, bytes, n);
      copy[i] ^= masks[k];
      survives("changed", copy, n);
    }
}

/* ---- bytes by hand ---- */

typedef struct bytes {
  uint8_t *at;
  size_t n, cap;
} bytes;

static void put(bytes *b, const void *from, size_t n) {
  if (b->n + n > b->cap) {
    b->cap = (b->n + n) * 2;
    b->at = realloc(b->at, b->cap);
    assert_non_null(b->at);
  }
  if (n) memcpy(b->at + b->n, from, n);
  b->n += n;
}

static void put_varint(bytes *b, uint64_t x) {
  do {
    uint8_t c = (uint8_t)((x & 127) | (x > 127 ? 128 : 0));
    put(b, &c, 1);
    x >>= 7;
  } while (x);
}

static void put_message(bytes *b, unsigned field, const bytes *m) {
  put_varint(b, field << 3 | 2);
  put_varint(b, m->n);
  put(b, m->at, m->n);
}

static bytes wrap(unsigned field, bytes inner) { /* takes inner */
  bytes b = {0};
  put_message(&b, field, &inner);
  free(inner.at);
  return b;
}

static void subgraphs_8000_deep(void **state) {
  (void)state;
  /* from the innermost out: graph { node(1) { op_type(4) "If" attribute(5) { name(1) "b" g(6) { ... } type(20) GRAPH } } }; three messages a level */
  enum { LEVELS = 8000 };
  bytes g = {0};
  for (int i = 0; i < LEVELS; i++) {
    bytes attr = {0}, node = {0};
    put(&attr,
        "\x0a\x01"
        "b",
        3);
    put_message(&attr, 6, &g);
    put(&attr, "\xa0\x01\x05", 3);
    put(&node, "\x22\x02If", 4);
    put_message(&node, 5, &attr);
    free(g.at);
    free(attr.at);
    g = wrap(1, node);
  }
  bytes model = wrap(7, g);
  assert_false(survives("deep", model.at, model.n));
  free(model.at);
}

static void types_8000_deep(void **state) {
  (void)state;
  bytes t = {0};
  for (int i = 0; i < 8000; i++) t = wrap(4, wrap(1, t)); /* sequence_type { elem_type { ... } } */
  bytes input = {0};
  put(&input, "\x0a\x01x", 3);
  put_message(&input, 2, &t);
  free(t.at);
  bytes model = wrap(7, wrap(11, input));
  assert_false(survives("deep type", model.at, model.n));
  free(model.at);
}

/* A megabyte of one small thing, many times over: `piece` inside graph field `field`, or straight in a node where node is set. */
static void flood(const char *label, unsigned field, const char *piece, size_t n, bool numbered) {
  bytes graph = {0};
  for (uint32_t i = 0; graph.n < ((size_t)1 << 20) - 40; i++) {
    bytes m = {0};
    put(&m, piece, n);
    if (numbered) { /* the last field is a string: four more bytes make it another one each time */
      char digits[4];
      for (int k = 0; k < 4; k++) digits[k] = (char)('@' + (i >> 6 * k & 63));
      put(&m, digits, 4);
    }
    put_message(&graph, field, &m);
    free(m.at);
  }
  bytes model = wrap(7, graph);
  survives(label, model.at, model.n);
  free(model.at);
}

static void floods_of_small_things(void **state) {
  (void)state;
#define FLOOD(label, field, piece, numbered) flood(label, field, piece, sizeof(piece) - 1, numbered)
  FLOOD("empty nodes", 1, "", false);
  FLOOD("nodes with an operator", 1,
        "\x22\x01"
        "A",
        false);
  FLOOD("nodes with an output each", 1,
        "\x22\x01"
        "A\x12\x04",
        true);
  FLOOD("nodes of many types", 1, "\x22\x04", true);
  FLOOD("nodes of many domains", 1,
        "\x22\x01"
        "A\x3a\x04",
        true);
  FLOOD("known operators", 1,
        "\x22\x03"
        "Add\x12\x04",
        true);
  FLOOD("inputs", 11, "\x0a\x04", true);
  FLOOD("typed inputs", 11, "\x12\x06\x0a\x04\x08\x01\x12\x00\x0a\x04", true);
  FLOOD("inputs of named dims", 11,
        "\x12\x0b\x0a\x09\x08\x01\x12\x05\x0a\x03\x12\x01"
        "b\x0a\x04",
        true);
  FLOOD("initializers", 5, "\x08\x01\x10\x01\x42\x04", true);
  FLOOD("initializers without a name", 5, "\x08\x01\x10\x01", false);
  FLOOD("value_infos", 13, "\x0a\x04", true);
  FLOOD("outputs", 12, "\x0a\x01x", false);
  FLOOD("metadata of the graph", 16, "\x0a\x04", true);
  FLOOD("metadata without a text", 16, "", false);
  FLOOD("initializers of contents", 5, "\x08\x01\x10\x07\x3a\x01\x05\x42\x04", true);
}

static void flood_node(const char *label, const char *piece, size_t n) {
  bytes node = {0};
  put(&node,
      "\x22\x01"
      "A",
      3);
  while (node.n < (1 << 20)) put(&node, piece, n);
  bytes model = wrap(7, wrap(1, node));
  survives(label, model.at, model.n);
  free(model.at);
}

static void flood_attr(const char *label, const char *piece, size_t n, char type) {
  bytes attr = {0}, node = {0};
  put(&attr,
      "\x0a\x01"
      "a\xa0\x01",
      5);
  put(&attr, &type, 1);
  while (attr.n < (1 << 20)) put(&attr, piece, n);
  put(&node,
      "\x22\x01"
      "A",
      3);
  put_message(&node, 5, &attr);
  free(attr.at);
  bytes model = wrap(7, wrap(1, node));
  survives(label, model.at, model.n);
  free(model.at);
}

static void floods_inside_a_node(void **state) {
  (void)state;
#define FLOOD_NODE(label, piece) flood_node(label, piece, sizeof(piece) - 1)
#define FLOOD_ATTR(label, piece, type) flood_attr(label, piece, sizeof(piece) - 1, type)
  FLOOD_NODE("empty inputs", "\x0a\x00");
  FLOOD_NODE("empty outputs", "\x12\x00");
  FLOOD_NODE("empty attributes", "\x2a\x00");
  FLOOD_NODE("named attributes",
             "\x2a\x03\x0a\x01"
             "a");
  FLOOD_NODE("empty metadata", "\x4a\x00");
  FLOOD_ATTR("single ints", "\x40\x01", 7);
  FLOOD_ATTR("packed ints", "\x42\x04\x01\x01\x01\x01", 7);
  FLOOD_ATTR("empty strings", "\x4a\x00", 8);
  FLOOD_ATTR("short strings",
             "\x4a\x01"
             "a",
             8);
  FLOOD_ATTR("empty tensors", "\x52\x00", 9);
  FLOOD_ATTR("tensors over and over", "\x2a\x00", 4);
  FLOOD_ATTR("graphs over and over", "\x32\x00", 5);
}

static void contents_that_swell(void **state) {
  (void)state;
  /* int8 initializers of 4096 bytes: each element becomes 16 bytes of contents */
  bytes graph = {0};
  uint8_t raw[4096] = {0};
  for (uint32_t i = 0; graph.n < (1 << 20); i++) {
    bytes t = {0};
    char name[16];
    snprintf(name, sizeof name, "%08x", i);
    put(&t, "\x08\x80\x20\x10\x03\x42\x08", 7);
    put(&t, name, 8);
    put_varint(&t, 9 << 3 | 2);
    put_varint(&t, sizeof raw);
    put(&t, raw, sizeof raw);
    put_message(&graph, 5, &t);
    free(t.at);
  }
  bytes model = wrap(7, graph);
  assert_true(survives("contents", model.at, model.n));
  free(model.at);
}

/* One shape chain in which every element of a shape doubles: expressions must not grow without end. */
static void expressions_that_grow(void **state) {
  mp_arena *a = *state;
  mp_text t = {0};
  mp_text_add(a, &t, "x: float[a,b,c,d]; s0 = Shape(x)\n");
  for (int i = 0; i < 300; i++) mp_text_add(a, &t, "m%d = Mul(s%d, s%d); s%d = Add(m%d, s%d)\n", i, i, i, i + 1, i, i);
  mp_text_add(a, &t, "y = Expand(x, s300); -> y");
  size_t n;
  const uint8_t *bytes_of = test_model(a, t.at, &n);
  assert_true(survives("growing expressions", bytes_of, n));
}

static void loops_in_loops(void **state) {
  mp_arena *a = *state;
  mp_text open = {0};
  mp_text_add(a, &open, "n: int64[]; c: bool[]; x: float[2]\n");
  for (int i = 0; i < 24; i++) mp_text_add(a, &open, "y%d = Loop(n, c, x) body={ i%d: int64[]; k%d: bool[]; v%d: float[?]; ", i, i, i, i);
  mp_text_add(a, &open, "z = Concat(x, x) axis=0; kk = Identity(c); -> kk, z");
  for (int i = 24; i-- > 0;) {
    mp_text_add(a, &open, " }\n");
    if (i) mp_text_add(a, &open, "o%d = Concat(y%d, v%d) axis=0; ko%d = Identity(k%d); -> ko%d, o%d", i, i, i - 1, i, i - 1, i, i);
  }
  mp_text_add(a, &open, "-> y0");
  size_t n;
  const uint8_t *bytes_of = test_model(a, open.at, &n);
  survives("loops in loops", bytes_of, n);
}

/* ---- files ---- */

static void refused(const char *path, const char *part) {
  mp_arena *a = mp_arena_new(0);
  mp_err err = {0};
  const mp_model *m = mp_model_read(a, path, &err);
  const mp_graph *g = m ? mp_graph_build(a, m, NULL, &err) : NULL;
  if (g) fail_msg("%s was accepted", path);
  assert_int_equal(err.code, MP_BAD_INPUT);
  if (!strstr(err.text, part) || !strstr(err.text, path)) fail_msg("'%s' lacks '%s'", err.text, part);
  mp_model_close(m);
  mp_arena_free(a);
}

static void what_is_no_file(void **state) {
  mp_arena *a = *state;
  char dir[] = "/tmp/memplan-test-XXXXXX";
  assert_non_null(mkdtemp(dir));
  const char *path = mp_format(a, "%s/m.onnx", dir);
  refused(path, "cannot be opened");
  refused(dir, "is a directory");
  refused("/dev/zero", "no regular file");
  assert_int_equal(mkfifo(path, 0600), 0);
  refused(path, "no regular file");
  unlink(path);
  int fd = open(path, O_CREAT | O_WRONLY, 0600);
  assert_true(fd >= 0);
  refused(path, "the file is empty");
  assert_int_equal(ftruncate(fd, (off_t)3 << 30), 0); /* 3 GB of nothing */
  refused(path, "a field number that does not exist");
  assert_int_equal(pwrite(fd, "version https://git-lfs.github.com/spec/v1\noid sha256:0123456789", 64, 0), 64);
  refused(path, "git lfs pull");
  close(fd);
  unlink(path);
  assert_int_equal(rmdir(dir), 0);
}

static void weights_over_4_gib_cost_nothing(void **state) {
  mp_arena *a = *state;
  char path[] = "/tmp/memplan-test-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  /* y = Relu(w), w = float[1342177280] with 5 GiB of raw_data as a hole in the file; what follows the weights is read too */
  const uint64_t raw = (uint64_t)5 << 30;
  bytes head = {0}, tail = {0}, node = {0}, out = {0}, tensor = {0};
  put(&node, "\x0a\x01w\x12\x01y\x22\x04Relu", 12);
  put(&tensor, "\x08\x80\x80\x80\x80\x05\x10\x01\x42\x01w", 11); /* dims, data_type, name */
  put_varint(&tensor, 9 << 3 | 2);
  put_varint(&tensor, raw);
  put(&out, "\x0a\x01y", 3);
  put_message(&tail, 1, &node);
  put_message(&tail, 12, &out);
  bytes graph_head = {0};
  put_varint(&graph_head, 5 << 3 | 2);
  put_varint(&graph_head, tensor.n + raw);
  put(&head, "\x08\x08\x42\x02\x10\x11", 6); /* ir 8, opset 17 */
  put_varint(&head, 7 << 3 | 2);
  put_varint(&head, graph_head.n + tensor.n + raw + tail.n);
  put(&head, graph_head.at, graph_head.n);
  put(&head, tensor.at, tensor.n);
  assert_int_equal(pwrite(fd, head.at, head.n, 0), head.n);
  assert_int_equal(pwrite(fd, tail.at, tail.n, (off_t)(head.n + raw)), tail.n);
  mp_err err = {0};
  clock_t start = clock();
  const mp_model *m = mp_model_read(a, path, &err);
  const mp_graph *g = mp_graph_build(a, m, NULL, &err);
  if (!g) fail_msg("%s", err.text);
  assert_value(a, g, "y", "float32[1342177280]");
  assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 0.5 * SLOWER);
  mp_model_close(m);
  close(fd);
  unlink(path);
  free(head.at), free(tail.at), free(node.at), free(out.at), free(tensor.at), free(graph_head.at);
}

/* What crashed once: tests/crashes. */
static void old_crashes(void **state) {
  mp_arena *a = *state;
  int i = 0;
  for (;; i++) {
    FILE *f = fopen(mp_format(a, "%s/tests/crashes/%02d.onnx", MEMPLAN_SOURCE, i), "rb");
    if (!f) break;
    static uint8_t buffer[1 << 20];
    size_t n = fread(buffer, 1, sizeof buffer, f);
    fclose(f);
    const char *label = mp_format(a, "crash %d", i);
    survives(label, buffer, n);
    const char *fault = test_inspect_any(buffer, n);
    if (!fault) fault = test_fit_any(buffer, n);
    if (fault) fail_msg("%s: %s", label, fault);
  }
  assert_true(i >= 2);
}

static int new_arena(void **state) { return !(*state = mp_arena_new(0)); }
static int free_arena(void **state) { return mp_arena_free(*state), 0; }

#define TEST(f) cmocka_unit_test_setup_teardown(f, new_arena, free_arena)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(cut_at_every_byte),
      TEST(every_byte_changed),
      TEST(subgraphs_8000_deep),
      TEST(types_8000_deep),
      TEST(floods_of_small_things),
      TEST(floods_inside_a_node),
      TEST(contents_that_swell),
      TEST(expressions_that_grow),
      TEST(loops_in_loops),
      TEST(what_is_no_file),
      TEST(weights_over_4_gib_cost_nothing),
      TEST(old_crashes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
