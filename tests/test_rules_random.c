/* Every rule on nonsense: nodes with random inputs, attributes and contents. A rule may refuse or know nothing; it may not crash, hang, overflow (the
 * sanitizers watch) or write what cannot be: a negative dim, contents that do not fit the dims, a dtype that does not exist. */
#include "onnx/shape.h"
#include "support_base.h"

enum { SEEDS = 60, NODES = 60, VALUES = 40, MOST = 6 };

typedef struct dice {
  mp_arena *a;
  mp_syms *syms;
  uint64_t state;
} dice;

static uint32_t roll(dice *d, uint32_t n) {
  d->state = d->state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(d->state >> 33) % n;
}

static int64_t number(dice *d) {
  static const int64_t odd[] = {0, 1, -1, 2, -2, 3, 4, 7, 64, 1 << 20, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, (int64_t)1 << 40, -((int64_t)1 << 40)};
  return roll(d, 3) ? (int64_t)roll(d, 6) : odd[roll(d, sizeof odd / sizeof *odd)];
}

static mp_int integer(dice *d, bool dim) {
  static const char *const names[] = {"n", "m", "batch"};
  uint32_t r = roll(d, 12);
  if (r == 0) return mp_int_unknown();
  if (r == 1) return mp_syms_name(d->syms, names[roll(d, 3)]);
  int64_t n = number(d);
  return mp_int_of(dim && n < 0 ? 1 : n);
}

static mp_dtype dtype(dice *d) {
  static const mp_dtype usual[] = {MP_FLOAT, MP_INT64, MP_INT64, MP_BOOL, MP_FLOAT16, MP_INT32, MP_UINT8, MP_STRING, MP_UNDEFINED, MP_DOUBLE};
  return roll(d, 8) ? usual[roll(d, 10)] : (mp_dtype)roll(d, MP_DTYPES);
}

static void fill_value(dice *d, mp_value *v) {
  *v = (mp_value){.name = "v", .dtype = dtype(d), .kind = MP_VALUE_INPUT, .rank = -1, .producer = -1, .slot = -1};
  if (!roll(d, 10)) v->form = (uint8_t)roll(d, MP_FORM_SPARSE + 1);
  if (!roll(d, 12)) return;
  v->rank = (int8_t)(roll(d, 40) ? roll(d, 6) : roll(d, MP_MAX_RANK + 1));
  v->dims = mp_alloc_array(d->a, (size_t)v->rank, sizeof *v->dims);
  uint64_t n = 1;
  bool small = true;
  for (int i = 0; i < v->rank; i++) {
    v->dims[i] = integer(d, true);
    small = small && !v->dims[i].e && mp_mul_u64(n, (uint64_t)v->dims[i].n, &n) && n <= 64;
  }
  if (!small || v->form != MP_FORM_TENSOR || !roll(d, 3)) return;
  v->contents = (uint32_t)n;
  if (mp_dtype_is_float(v->dtype)) {
    static const double odd[] = {0, 1, -1, 0.5, 2, 1e30, -1e30, 1e-30, 3.7, 1e18};
    v->floats = mp_alloc_array(d->a, n, sizeof *v->floats);
    for (uint64_t i = 0; i < n; i++) v->floats[i] = odd[roll(d, 10)];
  } else {
    v->ints = mp_alloc_array(d->a, n, sizeof *v->ints);
    for (uint64_t i = 0; i < n; i++) v->ints[i] = integer(d, false);
  }
}

static mp_attr attribute(dice *d) {
  static const char *const names[] = {
      "allowzero", "auto_pad", "axes", "axis", "batch_dims", "bits", "blocksize", "block_size", "border", "broadcast", "cast_to", "ceil_mode", "channels_last", "dilations", "direction",
      "dtype", "end", "ends", "equation", "exclusive", "fmod", "group", "height_scale", "hidden_size", "inputdimensions", "inverse", "k", "keep_aspect_ratio_policy",
      "keepdims", "kernel_shape", "layout", "max", "min", "mode", "new_axis", "noop_with_empty_axes", "num_outputs", "num_heads", "kv_num_heads", "q_num_heads", "num_scan_inputs", "onesided",
      "output_datatype", "output_dtype", "output_padding", "output_shape", "paddings", "pads", "perm", "pooled_shape", "qkv_hidden_sizes", "reduction", "reverse",
      "sample_size", "scale", "scales", "shape", "size", "split", "start", "starts", "strides", "time_axis", "to", "transA", "transB", "value", "value_float",
      "value_floats", "value_int", "value_ints", "value_string", "value_strings", "width_scale", "coordinate_transformation_mode", "targets", "stash_type", "spatial_scale"};
  static const char *const texts[] = {"", "SAME_UPPER", "VALID", "LEFT", "not_larger", "tf_crop_and_resize", "ij,jk->ik", "...a,a...->...", "bidirectional", "a,b,c", "->", "none", "INT64"};
  mp_attr x = {.name = names[roll(d, sizeof names / sizeof *names)]};
  uint32_t n = roll(d, 7);
  switch (roll(d, 7)) {
    case 0:
    case 1: x.kind = MP_ATTR_INT, x.as.i = number(d); break;
    case 2: x.kind = MP_ATTR_FLOAT, x.as.f = (double)number(d) / 4; break;
    case 3: x.kind = MP_ATTR_STRING, x.as.string = texts[roll(d, sizeof texts / sizeof *texts)], x.n = (uint32_t)strlen(x.as.string); break;
    case 4: {
      double *f = mp_alloc_array(d->a, n, sizeof *f);
      for (uint32_t i = 0; i < n; i++) f[i] = (double)number(d) / 2;
      x.kind = MP_ATTR_FLOATS, x.n = n, x.as.floats = f;
      break;
    }
    case 5: {
      mp_tensor *t = mp_alloc(d->a, sizeof *t);
      int64_t *dims = mp_alloc_array(d->a, 1, sizeof *dims);
      dims[0] = 2;
      *t = (mp_tensor){.name = "", .dtype = MP_INT64, .rank = 1, .dims = dims, .contents = 2, .ints = mp_alloc_array(d->a, 2, sizeof *t->ints)};
      t->ints[0] = integer(d, false);
      t->ints[1] = integer(d, false);
      x.kind = MP_ATTR_TENSOR, x.as.tensor = t;
      break;
    }
    default: {
      int64_t *k = mp_alloc_array(d->a, n, sizeof *k);
      for (uint32_t i = 0; i < n; i++) k[i] = number(d);
      x.kind = MP_ATTR_INTS, x.n = n, x.as.ints = k;
    }
  }
  return x;
}

static void check_value(const mp_value *v, const char *type) {
  if ((unsigned)v->dtype >= MP_DTYPES || v->rank < -1 || v->rank > MP_MAX_RANK) fail_msg("%s: dtype %d, rank %d", type, (int)v->dtype, v->rank);
  uint64_t n = 1;
  bool numbers = v->rank >= 0;
  for (int i = 0; i < v->rank; i++) {
    if (!v->dims[i].e && v->dims[i].n < 0) fail_msg("%s: dim %d is %lld", type, i, (long long)v->dims[i].n);
    numbers = numbers && !v->dims[i].e && mp_mul_u64(n, (uint64_t)v->dims[i].n, &n);
  }
  if (v->ints && v->floats) fail_msg("%s: contents of two kinds", type);
  if ((v->ints || v->floats) && v->form == MP_FORM_TENSOR && (!numbers || n != v->contents)) fail_msg("%s: %u elements of contents do not fit the dims", type, v->contents);
}

static void one_graph(dice *d, uint32_t row) {
  const char *domain, *type;
  int64_t since;
  mp_graph g = {.opset = 1 + roll(d, 28), .node_count = NODES, .value_count = VALUES + NODES * MOST};
  g.nodes = mp_alloc_array(d->a, NODES, sizeof *g.nodes);
  g.values = mp_alloc_array(d->a, g.value_count, sizeof *g.values);
  for (int i = 0; i < VALUES; i++) fill_value(d, &g.values[i]);
  for (int i = 0; i < NODES; i++) {
    mp_node *n = &g.nodes[i];
    int32_t *in = mp_alloc_array(d->a, MOST + 2, sizeof *in), *out = mp_alloc_array(d->a, MOST, sizeof *out);
    mp_attr *attr = mp_alloc_array(d->a, 12, sizeof *attr);
    mp_op_row(i % 3 ? roll(d, mp_op_count()) : row, &domain, &type, &since);
    *n = (mp_node){.type = type, .domain = domain, .name = "", .doc = "", .in = in, .out = out, .attr = attr, .opset = (int32_t)(since + roll(d, 3))};
    n->ins = (uint16_t)roll(d, MOST + 3);
    n->outs = (uint16_t)(1 + roll(d, MOST - 1));
    n->attrs = (uint16_t)roll(d, 12);
    for (int k = 0; k < n->ins; k++) in[k] = roll(d, 12) ? (int32_t)roll(d, (uint32_t)(VALUES + i * MOST)) : -1;
    for (int k = 0; k < n->attrs; k++) attr[k] = attribute(d);
    for (int k = 0; k < MOST; k++) {
      g.values[VALUES + i * MOST + k] = (mp_value){.name = "o", .kind = MP_VALUE_NODE, .rank = -1, .producer = i, .slot = k};
      out[k] = VALUES + i * MOST + k;
    }
  }
  mp_graph_infer(d->a, &g, d->syms, roll(d, 2));
  for (int i = 0; i < NODES; i++)
    for (int k = 0; k < g.nodes[i].outs; k++) check_value(&g.values[g.nodes[i].out[k]], g.nodes[i].type);
  for (uint32_t i = 0; i < g.value_count; i += 7) (void)mp_graph_why(d->a, &g, (int32_t)i);
}

typedef struct arg {
  dice *d;
  uint32_t row;
} arg;

static const void *body(mp_arena *a, void *x) {
  const arg *in = x;
  (void)a;
  one_graph(in->d, in->row);
  return in;
}

static void rules_survive_nonsense(void **state) {
  (void)state;
  const char *rounds = getenv("MEMPLAN_ROUNDS"); /* more than a test has time for */
  for (uint32_t seed = 0, n = (uint32_t)(rounds ? atoi(rounds) : SEEDS); seed < n; seed++) {
    dice d = {.a = mp_arena_new((uint64_t)512 << 20), .state = seed * 7919u + 1};
    d.syms = mp_syms_new(d.a);
    for (uint32_t k = 0; k < 10; k++) {
      arg in = {&d, (seed * 10 + k) % mp_op_count()};
      mp_err err;
      if (!mp_protect(d.a, &err, body, &in)) fail_msg("seed %u: %s", seed, err.text); /* a rule never fails */
    }
    mp_arena_free(d.a);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(rules_survive_nonsense)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
