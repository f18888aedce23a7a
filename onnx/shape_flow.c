/* If, Loop, Scan. A body is inferred like any graph; what leaves it must hold for every way to get there: both branches of an If whose condition is
 * not known, every turn of a Loop. So a carried value is widened (dims that change become unknown) until a turn changes nothing. A Loop that surely
 * turns a few times is run through turn by turn instead, which is exact. */
#include "onnx/shape_tools.h"

#include <stdlib.h>

enum { MAX_TURNS = 64, MAX_TURN_NODES = 4096, MAX_WIDEN = 2 * MP_MAX_RANK + 4 };

/* what is known of a value */
struct known {
  mp_dtype dtype;
  mp_value_form form;
  mp_shape shape;
  const mp_int *ints;
  const double *floats;
  uint32_t contents;
};

static struct known of_value(const mp_value *v) {
  struct known k = {.shape = {.rank = -1}};
  if (!v) return k;
  k.dtype = v->dtype;
  k.form = (mp_value_form)v->form;
  mp_shape_of_value(v, &k.shape);
  k.ints = v->ints;
  k.floats = v->floats;
  k.contents = v->ints || v->floats ? v->contents : 0;
  return k;
}

static struct known of_input(mp_infer *c, int i) {
  struct known k = {mp_infer_dtype(c, i), mp_infer_form(c, i), {.rank = -1}, NULL, NULL, 0};
  uint32_t floats = 0;
  mp_infer_shape(c, i, &k.shape);
  k.ints = mp_infer_ints(c, i, &k.contents);
  if (mp_infer_length(c, i)) k.ints = mp_infer_length(c, i), k.contents = 1;
  if (!k.ints) k.floats = mp_infer_floats(c, i, &floats), k.contents = floats;
  return k;
}

static bool same_contents(const struct known *a, const struct known *b) {
  if (a->contents != b->contents || !a->ints != !b->ints || !a->floats != !b->floats) return false;
  for (uint32_t i = 0; i < a->contents; i++) {
    if (a->ints && !mp_sym_equal(a->ints[i], b->ints[i])) return false;
    if (a->floats && memcmp(&a->floats[i], &b->floats[i], sizeof *a->floats)) return false;
  }
  return true;
}

static bool is_empty_sequence(const struct known *k) {
  return k->form == MP_FORM_SEQUENCE && k->ints && k->contents == 1 && mp_int_is_number(k->ints[0]) && k->ints[0].n == 0;
}

/* what holds for both; true when that is less than what was known of a */
static bool widen(struct known *a, const struct known *b) {
  mp_shape before = a->shape;
  bool less = false;
  if (a->dtype != b->dtype) a->dtype = a->dtype && b->dtype ? MP_UNDEFINED : a->dtype ? a->dtype : b->dtype;
  if (is_empty_sequence(a) && b->form == MP_FORM_SEQUENCE) {
    less = b->shape.rank >= 0;
    a->shape = before = b->shape;
  } else if (!(is_empty_sequence(b) && a->form == MP_FORM_SEQUENCE)) {
    mp_shape_merge(&a->shape, &b->shape);
    if (a->form != b->form) a->shape.rank = -1, a->form = a->form == MP_FORM_TENSOR ? b->form : a->form;
  }
  less |= a->shape.rank != before.rank;
  for (int i = 0; i < a->shape.rank && !less; i++) less = !mp_sym_equal(a->shape.dims[i], before.dims[i]) && !mp_int_is_unknown(before.dims[i]);
  if ((a->ints || a->floats) && !same_contents(a, b)) {
    a->ints = NULL;
    a->floats = NULL;
    a->contents = 0;
    less = true;
  }
  return less;
}

static void set_known(mp_infer *c, int o, const struct known *k) {
  if (o >= mp_infer_outs(c) || !mp_infer_wants(c, o)) return;
  mp_infer_set(c, o, k->dtype, k->shape.rank < 0 ? NULL : &k->shape);
  mp_infer_set_form(c, o, k->form);
  if (k->ints) mp_infer_set_ints(c, o, k->ints, k->contents);
  else if (k->floats) mp_infer_set_floats(c, o, k->floats, k->contents);
}

static void body_input(mp_infer *c, mp_graph *body, uint32_t i, const struct known *k) {
  mp_infer_body_input(c, body, i, k->form, k->dtype, k->shape.rank < 0 ? NULL : &k->shape, k->ints, k->ints ? k->contents : 0);
}

static mp_graph *graph_attr(mp_infer *c, const char *name) {
  const mp_attr *a = mp_node_attr(mp_infer_node(c), name);
  return a && a->kind == MP_ATTR_GRAPH ? a->as.graph : NULL;
}

static void body_sum(const mp_graph *g, uint64_t *macs, uint64_t *flops) {
  *macs = *flops = 0;
  for (uint32_t i = 0; i < g->node_count; i++)
    if (!mp_add_u64(*macs, g->nodes[i].macs, macs) || !mp_add_u64(*flops, g->nodes[i].flops, flops)) *macs = *flops = UINT64_MAX;
}

void mp_cost_body(mp_infer *c, const mp_graph *body, mp_int turns) {
  uint64_t macs, flops;
  body_sum(body, &macs, &flops);
  bool known = mp_int_is_number(turns) && turns.n >= 0 && mp_mul_u64(macs, (uint64_t)turns.n, &macs) && mp_mul_u64(flops, (uint64_t)turns.n, &flops);
  if (known) mp_infer_cost(c, macs, flops);
  else mp_infer_no_cost(c);
}

/* ---- If ---- */

static void choose(mp_infer *c) {
  mp_graph *branch[2] = {graph_attr(c, "else_branch"), graph_attr(c, "then_branch")};
  int64_t which = 0;
  bool sure = mp_scalar_int(c, 0, &which);
  uint64_t macs[2] = {0, 0}, flops[2] = {0, 0};
  if (!branch[0] || !branch[1]) {
    mp_infer_bad(c, "a branch is missing");
    return;
  }
  for (int b = 0; b < 2; b++) {
    if (sure && b != (which != 0)) continue;
    mp_infer_body(c, branch[b]);
    body_sum(branch[b], &macs[b], &flops[b]);
  }
  for (int o = 0; o < mp_infer_outs(c); o++) {
    struct known a = of_value(mp_infer_body_output(c, branch[sure ? which != 0 : 0], (uint32_t)o));
    struct known b = sure ? a : of_value(mp_infer_body_output(c, branch[1], (uint32_t)o));
    widen(&a, &b);
    set_known(c, o, &a);
  }
  if (!sure) mp_infer_depends(c, 0, "the contents");
  bool more = macs[1] > macs[0] || (macs[1] == macs[0] && flops[1] > flops[0]);
  mp_infer_cost(c, macs[more], flops[more]); /* not sure: the dearer branch */
}

/* ---- Loop ---- */

struct loop {
  mp_graph *body;
  uint32_t carried, scans;
  struct known *state, *scan; /* carried values; what one turn adds to each scan output */
  bool stops;                 /* the condition may become false in the body */
};

static bool is_bool(const struct known *k, int64_t n) {
  return k->ints && k->contents == 1 && mp_int_is_number(k->ints[0]) && (k->ints[0].n != 0) == (n != 0);
}

/* One turn from l->state; turn: its number or unknown. The results are in the body's outputs. */
static struct known turn(mp_infer *c, struct loop *l, mp_int number, const struct known *condition) {
  struct known i = {.dtype = MP_INT64, .shape = {.rank = 0}, .ints = mp_int_is_unknown(number) ? NULL : &number, .contents = 1};
  body_input(c, l->body, 0, &i);
  body_input(c, l->body, 1, condition);
  for (uint32_t k = 0; k < l->carried; k++) body_input(c, l->body, k + 2, &l->state[k]);
  mp_infer_body(c, l->body);
  return of_value(mp_infer_body_output(c, l->body, 0));
}

static struct known next_state(mp_infer *c, const struct loop *l, uint32_t k) { return of_value(mp_infer_body_output(c, l->body, k + 1)); }
static struct known scanned(mp_infer *c, const struct loop *l, uint32_t k) { return of_value(mp_infer_body_output(c, l->body, k + 1 + l->carried)); }

static const struct known yes_or_no = {.dtype = MP_BOOL, .shape = {.rank = 0}};

/* Turn by turn, where the number of turns is sure and small. False when the condition is not known after a turn; *done turns were made. */
static bool run_through(mp_infer *c, struct loop *l, int64_t trips, int64_t *done) {
  mp_int one = mp_num(1);
  struct known condition = yes_or_no;
  condition.ints = &one;
  condition.contents = 1;
  for (*done = 0; *done < trips; ++*done) {
    if (is_bool(&condition, 0)) return true;
    if (!is_bool(&condition, 1) || *done >= MAX_TURNS || *done * l->body->node_count > MAX_TURN_NODES) return false;
    condition = turn(c, l, mp_num(*done), &condition);
    for (uint32_t k = 0; k < l->carried; k++) l->state[k] = next_state(c, l, k);
    for (uint32_t k = 0; k < l->scans; k++) {
      struct known s = scanned(c, l, k);
      if (*done) widen(&l->scan[k], &s);
      else l->scan[k] = s;
    }
  }
  return true;
}

/* until a turn changes nothing */
static void widen_through(mp_infer *c, struct loop *l) {
  const struct known *given = &yes_or_no;
  mp_int one = mp_num(1);
  struct known sure = yes_or_no;
  sure.ints = &one;
  sure.contents = 1;
  if (!l->stops) given = &sure;
  for (int round = 0; round < MAX_WIDEN; round++) {
    bool changed = false;
    struct known condition = turn(c, l, mp_int_unknown(), given);
    if (!l->stops && !is_bool(&condition, 1)) {
      l->stops = true;
      given = &yes_or_no;
      changed = true;
    }
    for (uint32_t k = 0; k < l->carried; k++) {
      struct known next = next_state(c, l, k);
      changed |= widen(&l->state[k], &next);
    }
    for (uint32_t k = 0; k < l->scans; k++) l->scan[k] = scanned(c, l, k);
    if (!changed) return;
  }
  for (uint32_t k = 0; k < l->carried; k++) l->state[k] = (struct known){.shape = {.rank = -1}, .form = l->state[k].form, .dtype = l->state[k].dtype};
  for (uint32_t k = 0; k < l->scans; k++) l->scan[k].shape.rank = -1;
}

static void set_loop(mp_infer *c, struct loop *l, mp_int turns) {
  for (uint32_t k = 0; k < l->carried; k++) set_known(c, (int)k, &l->state[k]);
  for (uint32_t k = 0; k < l->scans; k++) {
    mp_shape s = {.rank = l->scan[k].shape.rank < 0 ? -1 : 0};
    mp_shape_append(&s, turns);
    for (int i = 0; i < l->scan[k].shape.rank; i++) mp_shape_append(&s, l->scan[k].shape.dims[i]);
    mp_infer_set(c, (int)(l->carried + k), l->scan[k].dtype, s.rank < 0 ? NULL : &s);
  }
}

static void start(mp_infer *c, struct loop *l, int first) {
  for (uint32_t k = 0; k < l->carried; k++) l->state[k] = of_input(c, first + (int)k);
  for (uint32_t k = 0; k < l->scans; k++) l->scan[k] = (struct known){.shape = {.rank = -1}};
}

/* trip count, condition, carried ... -> carried ..., scanned ...; the body: number, condition, carried ... -> condition, carried ..., scanned ... */
static void loop(mp_infer *c) {
  struct loop l = {.body = graph_attr(c, "body")};
  int carried = mp_infer_ins(c) - 2, scans = mp_infer_outs(c) - carried;
  if (!l.body || carried < 0 || scans < 0 || l.body->input_count < (uint32_t)carried + 2 || l.body->output_count < (uint32_t)mp_infer_outs(c) + 1) {
    mp_infer_bad(c, "the body's inputs and outputs do not match the node's");
    return;
  }
  l.carried = (uint32_t)carried;
  l.scans = (uint32_t)scans;
  l.state = mp_alloc_array(mp_infer_arena(c), l.carried + 1, sizeof *l.state);
  l.scan = mp_alloc_array(mp_infer_arena(c), l.scans + 1, sizeof *l.scan);
  mp_int trips = mp_infer_has(c, 0) ? mp_scalar_dim(c, 0) : mp_num(INT64_MAX);
  if (mp_below(trips, 0)) trips = mp_num(0);
  int64_t go = 1, done = 0;
  bool begins = !mp_infer_has(c, 1) || mp_scalar_int(c, 1, &go);
  if (begins && !go) trips = mp_num(0);
  start(c, &l, 2);
  if (begins && mp_int_is_number(trips) && run_through(c, &l, trips.n, &done) && (done || !l.scans)) {
    set_loop(c, &l, mp_num(done));
    mp_cost_body(c, l.body, mp_num(done));
    return;
  }
  start(c, &l, 2);
  l.stops = !begins;
  widen_through(c, &l);
  if (l.stops || mp_sym_compare(c, trips, mp_num(INT64_MAX)) == 0) trips = mp_int_unknown();
  if (mp_sym_compare(c, trips, mp_num(0)) == 2) trips = mp_sym_max(c, trips, mp_num(0));
  if (mp_int_is_unknown(trips)) mp_infer_depends(c, l.stops ? -1 : 0, l.stops ? "its body decides how often it runs" : "the contents");
  set_loop(c, &l, trips);
  mp_cost_body(c, l.body, trips);
}

/* ---- Scan ---- */

static int64_t nth(mp_infer *c, const char *name, uint32_t i, int64_t otherwise) {
  uint32_t n = 0;
  const int64_t *at = mp_infer_attr_ints(c, name, &n);
  return at && i < n ? at[i] : otherwise;
}

/* Takes `axis` out of the shape and says what it was. */
static bool take_axis(mp_infer *c, mp_shape *s, int64_t axis, mp_int *what) {
  *what = mp_int_unknown();
  if (s->rank < 0) return true;
  if (!mp_axis(c, &axis, s->rank)) return false;
  *what = s->dims[axis];
  memmove(&s->dims[axis], &s->dims[axis + 1], (size_t)(s->rank - 1 - axis) * sizeof *s->dims);
  s->rank--;
  return true;
}

static bool put_axis(mp_infer *c, mp_shape *s, int64_t axis, mp_int what) {
  if (s->rank < 0 || s->rank >= MP_MAX_RANK) return s->rank = -1, true;
  if (!mp_axis(c, &axis, s->rank + 1)) return false;
  memmove(&s->dims[axis + 1], &s->dims[axis], (size_t)(s->rank - axis) * sizeof *s->dims);
  s->dims[axis] = what;
  s->rank++;
  return true;
}

struct scan {
  mp_graph *body;
  uint32_t states, inputs, first; /* first: 1 in opset 8, whose input 0 is the sequences' lengths */
  bool batched;                   /* opset 8: axis 0 of everything is the batch */
  mp_int batch, turns;
  struct known *state;
};

static bool scan_inputs(mp_infer *c, struct scan *s) {
  bool clash = false;
  for (uint32_t i = 0; i < s->states + s->inputs; i++) {
    struct known k = of_input(c, (int)(s->first + i));
    mp_int d;
    if (s->batched) {
      if (!take_axis(c, &k.shape, 0, &d)) return false;
      s->batch = mp_dim_unify(s->batch, d, &clash);
      k.ints = NULL;
      k.floats = NULL;
      k.contents = 0;
    }
    if (i < s->states) {
      s->state[i] = k;
      continue;
    }
    if (!take_axis(c, &k.shape, s->batched ? 0 : nth(c, "scan_input_axes", i - s->states, 0), &d)) return false;
    s->turns = mp_dim_unify(s->turns, d, &clash);
    k.ints = NULL;
    k.floats = NULL;
    k.contents = 0;
    body_input(c, s->body, i, &k);
  }
  if (clash) mp_infer_bad(c, "the scanned inputs differ in length");
  return !clash;
}

static void scan_outputs(mp_infer *c, const struct scan *s) {
  for (uint32_t o = 0; o < (uint32_t)mp_infer_outs(c); o++) {
    struct known k = o < s->states ? s->state[o] : of_value(mp_infer_body_output(c, s->body, o));
    if (o >= s->states) {
      if (!put_axis(c, &k.shape, s->batched ? 0 : nth(c, "scan_output_axes", o - s->states, 0), s->turns)) return;
      k.ints = NULL;
      k.floats = NULL;
    }
    if (s->batched && !put_axis(c, &k.shape, 0, s->batch)) return;
    set_known(c, (int)o, &k);
  }
}

static void scan(mp_infer *c) {
  struct scan s = {.body = graph_attr(c, "body"), .batch = mp_int_unknown(), .turns = mp_int_unknown()};
  s.batched = mp_infer_opset(c) < 9;
  s.first = s.batched;
  int64_t inputs = mp_infer_int(c, "num_scan_inputs", 0), all = mp_infer_ins(c) - (int64_t)s.first, states = inputs < 1 || inputs > all ? -1 : all - inputs;
  if (!s.body || states < 0 || s.body->input_count < (uint64_t)(inputs + states) || s.body->output_count < (uint32_t)mp_infer_outs(c)) {
    mp_infer_bad(c, "the body's inputs and outputs do not match the node's");
    return;
  }
  s.states = (uint32_t)states;
  s.inputs = (uint32_t)inputs;
  s.state = mp_alloc_array(mp_infer_arena(c), s.states + 1, sizeof *s.state);
  if (!scan_inputs(c, &s)) return;
  bool changed = true;
  for (int round = 0; changed && round < MAX_WIDEN; round++) {
    changed = false;
    for (uint32_t i = 0; i < s.states; i++) body_input(c, s.body, i, &s.state[i]);
    mp_infer_body(c, s.body);
    for (uint32_t i = 0; i < s.states; i++) {
      struct known next = of_value(mp_infer_body_output(c, s.body, i));
      changed |= widen(&s.state[i], &next);
    }
  }
  scan_outputs(c, &s);
  mp_cost_body(c, s.body, s.batched ? mp_sym_mul(c, s.batch, s.turns) : s.turns);
}

static const mp_op rows[] = {
  {"", "If", 1, choose},
  {"", "Loop", 1, loop},
  {"", "Scan", 8, scan},
};
const mp_op_table mp_ops_flow = {rows, sizeof rows / sizeof *rows};
