/* Runs the operators' rules over a sorted graph. The one idea: a rule sees one node through a small context (mp_infer), reads dtype, dims and small contents of
 * its inputs, writes those of its outputs; one pass in topological order then gives every shape that follows from constants and named dimensions.
 * Arrays of dims are shared between values that have equal ones, so a deep network costs little more than its nodes. */
#include "onnx/shape.h"

#include <stdio.h>
#include <string.h>

enum {
  MAX_DEPTH = 64,          /* of nested bodies */
  MAX_RUNS = 2000000,      /* of rules in bodies: loops in loops are inferred several times */
  MAX_WARNINGS = 200,
  BIG_CONTENTS = 64,       /* contents longer than this are followed only while the total is below MAX_TOTAL elements */
  MAX_TOTAL = 1 << 22,
  MAX_FLOATS = 64,
  SHARED_DIMS = 1024       /* slots of the cache of dims arrays */
};

/* what one run over a graph and its bodies shares */
typedef struct run {
  MP_VEC(const char *) warnings;
  uint64_t body_runs, contents;
  struct {
    const mp_int *dims;
    int rank;
  } shared[SHARED_DIMS];
} run;

struct mp_infer {
  mp_arena *a;
  mp_syms *syms;
  run *run;
  mp_graph *g;
  mp_node *node;
  int64_t opset;
  int32_t index, depth;
  bool bad, costed;
  MP_VEC(mp_reason) reasons;
};

/* ---- reading ---- */

mp_arena *mp_infer_arena(mp_infer *c) { return c->a; }
mp_syms *mp_infer_syms(const mp_infer *c) { return c->syms; }
const mp_node *mp_infer_node(const mp_infer *c) { return c->node; }
int64_t mp_infer_opset(const mp_infer *c) { return c->opset; }
int mp_infer_ins(const mp_infer *c) { return c->node->ins; }
int mp_infer_outs(const mp_infer *c) { return c->node->outs; }

static mp_value *in(const mp_infer *c, int i) { return i >= 0 && i < c->node->ins && c->node->in[i] >= 0 ? &c->g->values[c->node->in[i]] : NULL; }
static mp_value *out(const mp_infer *c, int o) { return o >= 0 && o < c->node->outs && c->node->out[o] >= 0 ? &c->g->values[c->node->out[o]] : NULL; }

bool mp_infer_has(const mp_infer *c, int i) { return in(c, i) != NULL; }
bool mp_infer_wants(const mp_infer *c, int o) { return out(c, o) != NULL; }
const char *mp_infer_out_name(const mp_infer *c, int o) { return out(c, o) ? out(c, o)->name : ""; }
mp_dtype mp_infer_dtype(const mp_infer *c, int i) { return in(c, i) ? in(c, i)->dtype : MP_UNDEFINED; }
mp_value_form mp_infer_form(const mp_infer *c, int i) { return in(c, i) ? (mp_value_form)in(c, i)->form : MP_FORM_TENSOR; }
int mp_infer_rank(const mp_infer *c, int i) { return in(c, i) ? in(c, i)->rank : -1; }

mp_int mp_infer_dim(const mp_infer *c, int i, int axis) {
  const mp_value *v = in(c, i);
  if (!v || v->rank < 0) return mp_int_unknown();
  if (axis < 0) axis += v->rank;
  return axis >= 0 && axis < v->rank ? v->dims[axis] : mp_int_unknown();
}

const mp_value *mp_infer_input_of(const mp_infer *c, const mp_node *n, int i) { return i < n->ins && n->in[i] >= 0 ? &c->g->values[n->in[i]] : NULL; }

void mp_infer_shape(const mp_infer *c, int i, mp_shape *s) {
  const mp_value *v = in(c, i);
  s->rank = v ? v->rank : -1;
  if (s->rank > 0) memcpy(s->dims, v->dims, (size_t)s->rank * sizeof *s->dims);
}

const mp_int *mp_infer_ints(const mp_infer *c, int i, uint32_t *n) {
  const mp_value *v = in(c, i);
  bool known = v && v->ints && v->form != MP_FORM_SEQUENCE;
  *n = known ? v->contents : 0;
  return known ? v->ints : NULL;
}

const mp_int *mp_infer_length(const mp_infer *c, int i) {
  const mp_value *v = in(c, i);
  return v && v->form == MP_FORM_SEQUENCE ? v->ints : NULL;
}

const double *mp_infer_floats(const mp_infer *c, int i, uint32_t *n) {
  const mp_value *v = in(c, i);
  *n = v && v->floats ? v->contents : 0;
  return v ? v->floats : NULL;
}

const mp_node *mp_infer_producer(const mp_infer *c, int i) {
  const mp_value *v = in(c, i);
  return v && v->producer >= 0 && v->kind == MP_VALUE_NODE ? &c->g->nodes[v->producer] : NULL;
}

static const mp_attr *attr(const mp_infer *c, const char *name) {
  for (uint32_t i = 0; i < c->node->attrs; i++)
    if (strcmp(c->node->attr[i].name, name) == 0) return &c->node->attr[i];
  return NULL;
}

const mp_tensor *mp_infer_attr_tensor(const mp_infer *c, const char *name) {
  const mp_attr *x = attr(c, name);
  return x && x->kind == MP_ATTR_TENSOR ? x->as.tensor : NULL;
}

const double *mp_infer_attr_floats(const mp_infer *c, const char *name, uint32_t *n) {
  const mp_attr *x = attr(c, name);
  *n = x && x->kind == MP_ATTR_FLOATS ? x->n : 0;
  return *n ? x->as.floats : NULL;
}

const mp_attr *mp_infer_attr(const mp_infer *c, const char *name) { return attr(c, name); }
bool mp_infer_has_attr(const mp_infer *c, const char *name) { return attr(c, name) != NULL; }

int64_t mp_infer_int(const mp_infer *c, const char *name, int64_t otherwise) {
  const mp_attr *x = attr(c, name);
  return x && x->kind == MP_ATTR_INT ? x->as.i : otherwise;
}

double mp_infer_float(const mp_infer *c, const char *name, double otherwise) {
  const mp_attr *x = attr(c, name);
  return x && x->kind == MP_ATTR_FLOAT ? x->as.f : otherwise;
}

const char *mp_infer_string(const mp_infer *c, const char *name, const char *otherwise) {
  const mp_attr *x = attr(c, name);
  return x && x->kind == MP_ATTR_STRING ? x->as.string : otherwise;
}

const int64_t *mp_infer_attr_ints(const mp_infer *c, const char *name, uint32_t *n) {
  static const int64_t none;
  const mp_attr *x = attr(c, name);
  *n = 1;
  if (x && x->kind == MP_ATTR_INT) return &x->as.i; /* a lone axis written as a number */
  *n = 0;
  if (!x || x->kind != MP_ATTR_INTS) return NULL;
  *n = x->n;
  return x->n ? x->as.ints : &none;
}

bool mp_infer_attr_or_input(mp_infer *c, const char *name, int i, int64_t *ints, uint32_t max, uint32_t *n) {
  const int64_t *x = mp_infer_attr_ints(c, name, n);
  if (x) {
    if (*n > max) return false;
    if (*n) memcpy(ints, x, *n * sizeof *ints);
    return true;
  }
  const mp_int *y = mp_infer_ints(c, i, n);
  if (!y || *n > max) return false;
  for (uint32_t k = 0; k < *n; k++) {
    if (y[k].e) return false;
    ints[k] = y[k].n;
  }
  return true;
}

mp_dtype mp_infer_out_dtype(const mp_infer *c, int o) { return out(c, o) ? out(c, o)->dtype : MP_UNDEFINED; }

void mp_infer_out_shape(const mp_infer *c, int o, mp_shape *s) {
  const mp_value *v = out(c, o);
  s->rank = v ? v->rank : -1;
  if (s->rank > 0) memcpy(s->dims, v->dims, (size_t)s->rank * sizeof *s->dims);
}

/* ---- writing ---- */

static void forget_dims(mp_value *v) {
  v->rank = -1;
  v->dims = NULL;
  v->ints = NULL;
  v->floats = NULL;
  v->contents = 0;
}

static void forget(mp_value *v) {
  v->dtype = MP_UNDEFINED;
  v->form = MP_FORM_TENSOR;
  forget_dims(v);
}

static mp_int *share_dims(mp_infer *c, int rank, const mp_int *dims) {
  static mp_int scalar;
  if (!rank) return &scalar;
  uint64_t h = (uint64_t)rank;
  for (int i = 0; i < rank; i++) h = (h ^ (uint64_t)dims[i].n ^ (uint64_t)(uintptr_t)dims[i].e >> 4) * 0x9E3779B97F4A7C15u;
  size_t slot = (size_t)(h >> 40) % SHARED_DIMS;
  const mp_int *old = c->run->shared[slot].dims;
  bool same = old && c->run->shared[slot].rank == rank;
  for (int i = 0; same && i < rank; i++) same = old[i].n == dims[i].n && old[i].e == dims[i].e;
  if (!same) {
    mp_int *fresh = mp_alloc_array(c->a, (size_t)rank, sizeof *fresh);
    for (int i = 0; i < rank; i++) fresh[i] = dims[i];
    c->run->shared[slot].dims = old = fresh;
    c->run->shared[slot].rank = rank;
  }
  return (mp_int *)(uintptr_t)old;
}

static void set_value(mp_infer *c, mp_value *v, mp_dtype t, int rank, const mp_int *dims) {
  v->dtype = t;
  v->rank = -1;
  v->dims = NULL;
  if (rank > MP_MAX_RANK) {
    mp_infer_bad(c, "rank %d, expected %d at most", rank, MP_MAX_RANK);
    return;
  }
  for (int i = 0; i < rank; i++)
    if (!dims[i].e && dims[i].n < 0) {
      mp_infer_bad(c, "dim %d of an output would be %lld", i, (long long)dims[i].n);
      return;
    }
  v->rank = (int8_t)rank;
  if (rank >= 0) v->dims = share_dims(c, rank, dims);
}

void mp_infer_set_dims(mp_infer *c, int o, mp_dtype t, int rank, const mp_int *dims) {
  mp_value *v = out(c, o);
  if (v) set_value(c, v, t, rank, dims);
}

void mp_infer_set(mp_infer *c, int o, mp_dtype t, const mp_shape *s) { mp_infer_set_dims(c, o, t, s ? s->rank : -1, s ? s->dims : NULL); }
void mp_infer_set_scalar(mp_infer *c, int o, mp_dtype t) { mp_infer_set_dims(c, o, t, 0, NULL); }

void mp_infer_set_form(mp_infer *c, int o, mp_value_form f) {
  mp_value *v = out(c, o);
  if (v) v->form = (uint8_t)f;
}

void mp_infer_same(mp_infer *c, int o, int i) {
  mp_value *v = out(c, o);
  const mp_value *x = in(c, i);
  if (!v || !x) return;
  v->dtype = x->dtype;
  v->form = x->form;
  v->rank = x->rank;
  v->dims = x->dims;
}

/* contents must have as many elements as the dims say */
static bool fits_dims(mp_infer *c, const mp_value *v, uint32_t n) {
  uint64_t elements = 1;
  if (v->form == MP_FORM_SEQUENCE) return n == 1; /* its length */
  for (int i = 0; i < v->rank; i++)
    if (v->dims[i].e || !mp_mul_u64(elements, (uint64_t)v->dims[i].n, &elements)) return false;
  if (v->rank < 0 || elements != n) return false;
  if (n <= BIG_CONTENTS) return true;
  return (c->run->contents += n) <= MAX_TOTAL;
}

void mp_infer_set_ints(mp_infer *c, int o, const mp_int *ints, uint32_t n) {
  mp_value *v = out(c, o);
  if (!v || n > MP_MAX_CONTENTS || !fits_dims(c, v, n)) return;
  bool any = n == 0;
  for (uint32_t i = 0; i < n && !any; i++) any = !mp_int_is_unknown(ints[i]);
  if (!any) return;
  v->ints = NULL;
  for (int i = 0; i < c->node->ins && i < 3; i++) /* Squeeze, Identity, ...: the same array serves */
    if (in(c, i) && in(c, i)->ints == ints && in(c, i)->contents == n) v->ints = in(c, i)->ints;
  if (!v->ints) {
    v->ints = mp_alloc_array(c->a, n, sizeof *ints);
    if (n) memcpy(v->ints, ints, n * sizeof *ints);
  }
  v->floats = NULL;
  v->contents = n;
}

void mp_infer_set_floats(mp_infer *c, int o, const double *x, uint32_t n) {
  mp_value *v = out(c, o);
  if (!v || n > MAX_FLOATS || !fits_dims(c, v, n)) return;
  v->floats = mp_alloc_array(c->a, n, sizeof *x);
  if (n) memcpy(v->floats, x, n * sizeof *x);
  v->ints = NULL;
  v->contents = n;
}

void mp_infer_cost(mp_infer *c, uint64_t macs, uint64_t flops) {
  c->costed = true;
  c->node->macs = macs;
  c->node->flops = flops;
}

void mp_infer_no_cost(mp_infer *c) { mp_infer_cost(c, 0, 0); }

static const char *label(const mp_infer *c) {
  const mp_node *n = c->node;
  if (*n->name || !n->outs || n->out[0] < 0) return n->name;
  return c->g->values[n->out[0]].name;
}

static void warn(mp_infer *c, const char *text) {
  if (c->run->warnings.n > MAX_WARNINGS) return;
  for (size_t i = 0; i < c->run->warnings.n; i++)
    if (strcmp(c->run->warnings.at[i], text) == 0) return; /* a body is inferred more than once */
  if (c->run->warnings.n == MAX_WARNINGS) text = "more warnings of this kind are left out";
  *mp_push(c->a, &c->run->warnings) = text;
}

void mp_infer_depends(mp_infer *c, int i, const char *what) {
  for (size_t k = c->reasons.n; k-- && c->reasons.at[k].node == c->index;)
    if (c->reasons.at[k].input == i) return;
  *mp_push(c->a, &c->reasons) = (mp_reason){c->index, i, what};
}

void mp_infer_warn(mp_infer *c, const char *text) {
  if (c->node) warn(c, mp_format(c->a, "node '%s' (%s): %s", label(c), c->node->type, text)); /* none: arithmetic outside a node */
}

void mp_infer_bad(mp_infer *c, const char *fmt, ...) {
  char text[256];
  va_list ap;
  if (c->bad) return;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  c->bad = true;
  if (!c->node) return;
  mp_infer_warn(c, text);
  mp_infer_depends(c, -1, mp_strdup(c->a, text));
}

/* ---- shapes ---- */

mp_int mp_shape_elements(mp_infer *c, const mp_shape *s, int from, int to) {
  mp_int n = mp_int_of(1);
  if (s->rank < 0) return mp_int_unknown();
  for (int i = from; i < to; i++) n = mp_sym_mul(c, n, s->dims[i]);
  return n;
}

/* One axis. Equal dims, or one of them 1. Two that differ and are not numbers: one of them is 1 and the other the answer, so their maximum. */
static bool join(mp_infer *c, mp_int a, mp_int b, mp_int *r) {
  if (a.e == b.e && a.n == b.n) *r = a;
  else if (!a.e && a.n == 1) *r = b;
  else if (!b.e && b.n == 1) *r = a;
  else if (!a.e && !b.e) return false;
  else if (!a.e) *r = a;
  else if (!b.e) *r = b;
  else *r = mp_sym_max(c, a, b);
  return true;
}

bool mp_shape_broadcast(mp_infer *c, const mp_shape *a, const mp_shape *b, mp_shape *r) {
  if (a->rank < 0 || b->rank < 0) {
    r->rank = -1;
    return true;
  }
  int rank = a->rank > b->rank ? a->rank : b->rank;
  for (int i = 1; i <= rank; i++) { /* from the last axis on; r may be a or b, whose dims are read before they are written */
    mp_int x = i <= a->rank ? a->dims[a->rank - i] : mp_int_of(1), y = i <= b->rank ? b->dims[b->rank - i] : mp_int_of(1), z;
    if (!join(c, x, y, &z)) {
      mp_infer_bad(c, "dims %lld and %lld of axis -%d do not broadcast", (long long)x.n, (long long)y.n, i);
      r->rank = -1;
      return false;
    }
    r->dims[rank - i] = z;
  }
  r->rank = rank;
  return true;
}

/* ---- one node ---- */

static int64_t opset_of(const mp_graph *g, const char *domain) {
  for (uint32_t i = 0; i < g->opset_count; i++)
    if (strcmp(g->opsets[i].domain, domain) == 0) return g->opsets[i].version;
  return *domain || g->opset < 1 ? 1 : g->opset;
}

typedef struct declared {
  mp_dtype dtype;
  int rank;
  mp_int *dims;
} declared;

/* What the file declares fills what inference leaves open; where both are numbers and differ, inference stands and the user is told. */
static void merge(mp_infer *c, mp_value *v, const declared *d) {
  if (v->dtype == MP_UNDEFINED) v->dtype = d->dtype;
  if (d->rank < 0) return;
  if (v->rank < 0) {
    if (v->form != MP_FORM_TENSOR && v->form != MP_FORM_SEQUENCE) return;
    v->rank = (int8_t)d->rank;
    v->dims = d->dims;
    return;
  }
  bool differ = v->rank != d->rank, fill = false;
  for (int i = 0; i < v->rank && !differ; i++) {
    differ = !v->dims[i].e && !d->dims[i].e && v->dims[i].n != d->dims[i].n;
    fill |= mp_int_is_unknown(v->dims[i]) && !mp_int_is_unknown(d->dims[i]);
  }
  if (differ) {
    mp_text x = {0}, y = {0};
    for (int i = 0; i < v->rank; i++) mp_text_add(c->a, &x, "%s%s", i ? "x" : "", mp_int_text(c->a, v->dims[i]));
    for (int i = 0; i < d->rank; i++) mp_text_add(c->a, &y, "%s%s", i ? "x" : "", mp_int_text(c->a, d->dims[i]));
    warn(c, mp_format(c->a, "value '%s': the file declares %s, the operators give %s, which is used", v->name, y.n ? y.at : "a scalar", x.n ? x.at : "a scalar"));
  } else if (fill) {
    mp_int dims[MP_MAX_RANK];
    for (int i = 0; i < v->rank; i++) dims[i] = mp_int_is_unknown(v->dims[i]) ? d->dims[i] : v->dims[i];
    v->dims = share_dims(c, v->rank, dims);
  }
}

static void default_cost(mp_infer *c) {
  const mp_value *v = out(c, 0);
  uint64_t n = 1;
  if (!v || v->rank < 0 || v->form != MP_FORM_TENSOR) return;
  for (int i = 0; i < v->rank; i++)
    if (v->dims[i].e || !mp_mul_u64(n, (uint64_t)v->dims[i].n, &n)) return;
  c->node->flops = n;
}

static void infer_node(mp_infer *c, declared *keep) {
  mp_node *n = c->node;
  for (int o = 0; o < n->outs; o++) {
    mp_value *v = out(c, o);
    if (!v) continue;
    if (keep) keep[o] = (declared){v->dtype, v->rank, v->dims};
    forget(v);
  }
  n->macs = n->flops = 0;
  int64_t opset = n->opset > 0 ? n->opset : opset_of(c->g, n->domain);
  if (!n->op) n->op = mp_op_find(n->domain, n->type, opset);
  if (n->op) {
    c->opset = mp_op_opset(n->op, opset);
    c->bad = c->costed = false;
    n->op->rule(c);
    if (c->bad)
      for (int o = 0; o < n->outs; o++)
        if (out(c, o)) forget_dims(out(c, o)); /* its dtype does not hang on the contradiction */
    if (!c->costed) default_cost(c);
  }
  for (int o = 0; keep && o < n->outs; o++)
    if (out(c, o)) merge(c, out(c, o), &keep[o]);
}

static void infer_nodes(mp_infer *c, bool from_scratch) {
  uint32_t outs = 0;
  for (uint32_t i = 0; i < c->g->node_count; i++)
    if (c->g->nodes[i].outs > outs) outs = c->g->nodes[i].outs;
  declared *keep = from_scratch ? NULL : mp_alloc_array(c->a, outs, sizeof *keep);
  for (uint32_t i = 0; i < c->g->node_count; i++) {
    c->node = &c->g->nodes[i];
    c->index = (int32_t)i;
    infer_node(c, keep);
  }
  c->g->reasons = c->reasons.at;
  c->g->reason_count = (uint32_t)c->reasons.n;
}

mp_infer *mp_infer_bare(mp_arena *a, mp_syms *t) {
  mp_infer *c = mp_alloc(a, sizeof *c);
  *c = (mp_infer){.a = a, .syms = t};
  return c;
}

void mp_graph_infer(mp_arena *a, mp_graph *g, mp_syms *syms, bool from_scratch) {
  mp_infer *c = mp_infer_bare(a, syms);
  c->run = mp_alloc(a, sizeof *c->run);
  c->g = g;
  infer_nodes(c, from_scratch);
  if (!c->run->warnings.n) return;
  const char **all = mp_alloc_array(a, g->warning_count + c->run->warnings.n, sizeof *all);
  if (g->warning_count) memcpy(all, g->warnings, g->warning_count * sizeof *all);
  memcpy(all + g->warning_count, c->run->warnings.at, c->run->warnings.n * sizeof *all);
  g->warnings = all;
  g->warning_count += (uint32_t)c->run->warnings.n;
}

/* ---- bodies of If, Loop, Scan ---- */

void mp_infer_body_input(mp_infer *c, mp_graph *body, uint32_t i, mp_value_form form, mp_dtype t, const mp_shape *s, const mp_int *ints, uint32_t n) {
  if (i >= body->input_count || body->inputs[i] < 0) return;
  mp_value *v = &body->values[body->inputs[i]];
  forget(v);
  set_value(c, v, t, s ? s->rank : -1, s ? s->dims : NULL);
  v->form = (uint8_t)form;
  if (!ints || n > MP_MAX_CONTENTS || !fits_dims(c, v, n)) return;
  v->ints = mp_alloc_array(c->a, n, sizeof *ints);
  if (n) memcpy(v->ints, ints, n * sizeof *ints);
  v->contents = n;
}

void mp_infer_body(mp_infer *c, mp_graph *body) {
  for (uint32_t i = 0; i < body->capture_count; i++) {
    mp_value *v = &body->values[body->captures[i].inner];
    const mp_value *x = &c->g->values[body->captures[i].outer];
    v->dtype = x->dtype;
    v->form = x->form;
    v->rank = x->rank;
    v->dims = x->dims;
    v->ints = x->ints;
    v->floats = x->floats;
    v->contents = x->contents;
  }
  c->run->body_runs += body->node_count + 1;
  if (c->depth >= MAX_DEPTH || c->run->body_runs > MAX_RUNS) {
    for (uint32_t i = 0; i < body->value_count; i++)
      if (body->values[i].kind == MP_VALUE_NODE) forget(&body->values[i]);
    return;
  }
  mp_infer *inner = mp_infer_bare(c->a, c->syms);
  inner->run = c->run;
  inner->g = body;
  inner->depth = c->depth + 1;
  infer_nodes(inner, true);
}

const mp_value *mp_infer_body_output(const mp_infer *c, const mp_graph *body, uint32_t i) {
  (void)c;
  return i < body->output_count && body->outputs[i] >= 0 ? &body->values[body->outputs[i]] : NULL;
}
