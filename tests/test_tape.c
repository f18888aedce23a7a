/* Properties of traces, tapes and timelines on random small programs, against slow second opinions that are written from the definitions. */
#include "planner/checkpointing.h"
#include "support_program.h"

/* ---- random programs ----
 * One dimension of every value is a multiple of the batch, and choices do not depend on the batch: the same seed at two batches draws the same program. */

typedef struct dim {
  int64_t n;
  bool batch; /* n times the batch */
} dim;
typedef struct value {
  char name[16];
  int rank;
  dim d[4];
} value;

typedef struct maker {
  uint64_t seed;
  int64_t batch;
  char text[8192];
  size_t n;
  value v[40];
  int values, params, modules, last_weight;
  value weight; /* the last linear's operand */
} maker;

static uint32_t pick(maker *m, uint32_t n) {
  m->seed = m->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(m->seed >> 33) % n;
}

__attribute__((format(printf, 2, 3))) static void say(maker *m, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  m->n += (size_t)vsnprintf(m->text + m->n, sizeof m->text - m->n, fmt, ap);
  va_end(ap);
  assert_true(m->n < sizeof m->text);
}

static int64_t size_of(const maker *m, dim d) { return d.batch ? d.n * m->batch : d.n; }
static dim last(const value *x) { return x->d[x->rank - 1]; }
static bool same(const value *a, const value *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (a->d[i].n != b->d[i].n || a->d[i].batch != b->d[i].batch) return false;
  return true;
}

static value *fresh(maker *m, const value *like) {
  value *y = &m->v[m->values];
  *y = *like;
  snprintf(y->name, sizeof y->name, "v%d", m->values++);
  return y;
}

static int parameter(maker *m, int64_t rows, int64_t columns) {
  if (columns) say(m, "p p%d float32 %lld %lld\n", m->params, (long long)rows, (long long)columns);
  else say(m, "p p%d float32 %lld\n", m->params, (long long)rows);
  return m->params++;
}

static void put_linear(maker *m, const value *x) {
  int64_t out = 4 * (1 + pick(m, 4));
  bool bias = pick(m, 2), shared = m->last_weight >= 0 && pick(m, 3) == 0 && m->weight.d[0].n == last(x).n; /* a weight that two layers share */
  if (shared) out = m->weight.d[1].n;
  int w = shared ? m->last_weight : parameter(m, out, last(x).n), b = bias ? parameter(m, out, 0) : -1;
  value in = *x, *y = fresh(m, x);
  y->d[y->rank - 1] = (dim){out, false};
  m->last_weight = w;
  m->weight.d[0] = last(&in);
  m->weight.d[1] = last(y);
  if (bias) say(m, "call linear %s %s p%d p%d\n", y->name, in.name, w, b);
  else say(m, "call linear %s %s p%d none\n", y->name, in.name, w);
  if (pick(m, 4)) return;
  value made = *y, *z = fresh(m, y);
  say(m, "call! relu %s %s\n", z->name, made.name);
  m->v[m->values - 2] = *z; /* what was written over is not read again */
}

static void put_norm(maker *m, const value *x) {
  int w = parameter(m, last(x).n, 0), b = parameter(m, last(x).n, 0);
  value in = *x, *y = fresh(m, x);
  say(m, "call layer_norm %s %s [%lld] p%d p%d 0.001 true\n", y->name, in.name, (long long)last(&in).n, w, b);
}

static void put_matmul(maker *m, const value *x) { /* x by its own transpose: scores of attention */
  value in = *x, *t = fresh(m, x);
  dim rows = t->d[1];
  t->d[1] = t->d[2];
  t->d[2] = rows;
  say(m, "call transpose %s %s 1 2\n", t->name, in.name);
  value turned = *t, *y = fresh(m, &in);
  y->d[2] = rows;
  say(m, "call matmul %s %s %s\n", y->name, in.name, turned.name);
}

static void put_binary(maker *m, const value *x) {
  const char *op = pick(m, 2) ? "add" : "mul";
  value in = *x;
  for (int k = m->values - 1; k >= 0; k--)
    if (same(&m->v[k], &in) && pick(m, 2)) {
      value other = m->v[k], *y = fresh(m, &in);
      say(m, "call %s %s %s %s\n", op, y->name, in.name, other.name);
      return;
    }
  int p = last(&in).batch ? parameter(m, 1, 0) : parameter(m, last(&in).n, 0);
  value *y = fresh(m, &in);
  say(m, "call %s %s %s p%d\n", op, y->name, in.name, p);
}

static void put_reshape(maker *m, const value *x) { /* two neighbours become one, or the last is split */
  value in = *x, *y = fresh(m, x);
  if (in.rank > 2 && pick(m, 2)) {
    int at = (int)pick(m, (uint32_t)in.rank - 1);
    y->d[at] = (dim){in.d[at].n * in.d[at + 1].n, in.d[at].batch || in.d[at + 1].batch};
    for (int i = at + 1; i + 1 < in.rank; i++) y->d[i] = in.d[i + 1];
    y->rank--;
  } else if (in.rank < 4 && last(&in).n % 2 == 0) {
    y->d[in.rank - 1] = (dim){2, false};
    y->d[in.rank] = (dim){last(&in).n / 2, last(&in).batch};
    y->rank++;
  }
  say(m, "call reshape %s %s [", y->name, in.name);
  for (int i = 0; i < y->rank; i++) say(m, "%s%lld", i ? "," : "", (long long)size_of(m, y->d[i]));
  say(m, "]\n");
}

static void put_transpose(maker *m, const value *x) {
  value in = *x, *y = fresh(m, x);
  int a = (int)pick(m, (uint32_t)in.rank), b = (int)pick(m, (uint32_t)in.rank);
  y->d[a] = in.d[b];
  y->d[b] = in.d[a];
  say(m, "call transpose %s %s %d %d\n", y->name, in.name, a, b);
}

static void put_cat(maker *m, const value *x) {
  value in = *x, *y = fresh(m, x);
  int at = (int)pick(m, (uint32_t)in.rank);
  y->d[at].n *= 2;
  say(m, "call cat %s (%s,%s) %d\n", y->name, in.name, in.name, at);
}

static void put_unary(maker *m, const value *x) {
  value in = *x, *y = fresh(m, x);
  switch (pick(m, 4)) {
    case 0: say(m, "call gelu %s %s \"none\"\n", y->name, in.name); break;
    case 1: say(m, "call dropout %s %s 0.1 true\n", y->name, in.name); break;
    case 2: say(m, "call tanh %s %s\n", y->name, in.name); break;
    default: say(m, "call softmax %s %s -1\n", y->name, in.name);
  }
}

static void put_call(maker *m) {
  value x = m->v[m->values - 1 - (int)pick(m, m->values < 3 ? (uint32_t)m->values : 3)]; /* mostly a chain */
  switch (pick(m, 9)) {
    case 0:
    case 1:
      if (last(&x).batch) put_unary(m, &x);
      else put_linear(m, &x);
      break;
    case 2:
      if (last(&x).batch) put_unary(m, &x);
      else put_norm(m, &x);
      break;
    case 3:
      if (x.rank == 3 && x.d[0].batch) put_matmul(m, &x);
      else put_binary(m, &x);
      break;
    case 4: put_binary(m, &x); break;
    case 5: put_reshape(m, &x); break;
    case 6: put_transpose(m, &x); break;
    case 7:
      if (m->values < 12) put_cat(m, &x);
      else put_unary(m, &x);
      break;
    default: put_unary(m, &x);
  }
}

/* neat: every module begins with a linear layer, which keeps what it reads in any case */
static const char *draw(maker *m, uint64_t seed, int64_t batch, bool neat) {
  *m = (maker){.seed = seed * 977 + 13, .batch = batch, .last_weight = -1};
  for (int i = 0; i < 8; i++) pick(m, 2);
  value x = {.rank = 3, .d = {{1, true}, {2 + pick(m, 5), false}, {4 * (1 + pick(m, 4)), false}}};
  value *in = fresh(m, &x);
  say(m, "in %s float32 %lld %lld %lld\n", in->name, (long long)batch, (long long)x.d[1].n, (long long)x.d[2].n);
  put_linear(m, in);
  uint32_t modules = 1 + pick(m, 4);
  for (uint32_t k = 0; k < modules; k++) {
    value before_it = m->v[m->values - 1];
    if (neat && last(&before_it).batch) break; /* a linear layer cannot read it */
    say(m, "module net.%u\n", k);
    m->modules++;
    uint32_t calls = 1 + pick(m, 5);
    if (neat) {
      put_linear(m, &before_it);
      value made = m->v[m->values - 1];
      for (int i = 0; i < m->values; i++) m->v[i] = made; /* the module reads nothing else from outside */
      m->last_weight = -1;
    }
    for (uint32_t c = 0; c < calls && (!c || m->values < 32); c++) put_call(m);
  }
  say(m, "module head\np k float32 1\ncall mul y v%d k\ncall sum loss y\nout loss\n", m->values - 1);
  return m->text;
}

static mp_run random_run(maker *m) {
  mp_run r = mp_run_default();
  static const char *const freeze[] = {"p0"};
  r.precision = (mp_precision)pick(m, MP_BF16_MASTER + 1);
  r.optimizer = pick(m, 8) ? mp_optimizer_find(mp_optimizer_name(pick(m, mp_optimizer_count()))) : NULL;
  r.accumulate = 1 + pick(m, 5);
  r.zero_grad = (mp_zero_grad)pick(m, 3);
  r.grad_scaler = pick(m, 4) == 0;
  r.clip_grad = pick(m, 4) == 0;
  r.ema = pick(m, 4) == 0;
  if (pick(m, 4) == 0) {
    r.freeze = freeze;
    r.freezes = 1;
  }
  return r;
}

typedef struct built {
  const mp_trace *trace;
  const mp_tape *tape;
  const mp_timeline *line;
} built;

static built build(mp_arena *a, const maker *m, const mp_run *run, const mp_plan *plan) {
  mp_err err = {0};
  built b = {.trace = mp_trace_make(a, test_program(a, m->text), run, &err)};
  b.tape = mp_tape_make(a, b.trace, run, plan, &err);
  b.line = mp_timeline_make(a, b.tape, &err);
  if (!b.line) fail_msg("%s in\n%s", err.text, m->text);
  return b;
}

static uint64_t to512(uint64_t n) { return (n + 511) / 512 * 512; }

/* ---- the slow opinions ---- */

/* Everything that is alive, listed; summed afresh at each step. Checks that steps make sense, and what is alive at the end. */
static uint64_t slow_peak(mp_arena *a, const built *b, const maker *m) {
  const mp_tape *t = b->tape;
  typedef struct alive {
    int32_t id;
    uint8_t category;
    uint64_t bytes;
  } alive;
  alive *at = mp_alloc_array(a, t->instance_count + 1, sizeof *at);
  uint32_t n = 0;
  uint64_t peak = 0;
  for (uint32_t i = 0; i < t->step_count; i++) {
    const mp_step *s = &t->steps[i];
    uint32_t k = 0;
    while (k < n && at[k].id != s->id) k++;
    if (s->kind == MP_ALLOC) {
      assert_int_equal(k, n); /* once */
      at[n++] = (alive){s->id, s->category, s->bytes};
    } else if (s->kind == MP_FREE) {
      if (k == n || at[k].bytes != s->bytes) fail_msg("step %u frees what is not alive, or other bytes\n%s", i, m->text);
      at[k] = at[--n];
    } else if (s->kind == MP_BECOME) {
      assert_true(k < n);
      at[k].category = s->category;
    }
    uint64_t now = 0;
    for (k = 0; k < n; k++) now += to512(at[k].bytes);
    if (s->iteration == 2 && now > peak) peak = now;
  }
  uint64_t gradients = 0, inputs = 0;
  uint32_t others = 0;
  for (uint32_t k = 0; k < n; k++) { /* what the loop itself still holds */
    if (at[k].category == MP_CAT_GRADIENT) gradients += at[k].bytes;
    else if (at[k].category == MP_CAT_INPUT) inputs += at[k].bytes;
    else if (at[k].category == MP_CAT_ACTIVATION || at[k].category == MP_CAT_SAVED || at[k].category == MP_CAT_WORKSPACE) {
      others++;
      assert_int_equal(at[k].bytes, b->trace->storages[b->trace->tensors[b->trace->loss].storage].bytes);
    }
  }
  if (others != 1) fail_msg("%u activations are alive at the end; expected the loss alone\n%s", others, m->text);
  assert_int_equal(inputs, t->input_bytes);
  bool kept = t->run->zero_grad != MP_ZERO_END || !t->run->optimizer;
  assert_int_equal(gradients, kept ? t->gradient_bytes : 0);
  return peak;
}

static int32_t region_of(const mp_region *r, uint32_t n, int32_t call) {
  for (uint32_t i = 0; i < n; i++)
    if (call >= (int32_t)r[i].first && call < (int32_t)r[i].end) return (int32_t)i;
  return -1;
}

/* marks what region r is handed: the values that its calls read and that no call of it makes */
static void mark_inputs(const mp_trace *t, mp_region r, bool *in) {
  const mp_program *p = t->program;
  for (uint32_t c = r.first; c < r.end; c++)
    for (uint32_t k = 0; k < p->calls[c].arg_count; k++) {
      const mp_arg *x = &p->calls[c].args[k];
      uint32_t n = x->kind == MP_ARG_VAR ? 1 : x->kind == MP_ARG_VARS ? x->n : 0;
      for (uint32_t i = 0; i < n; i++) {
        const mp_var *v = &p->vars[x->kind == MP_ARG_VAR ? x->as.var : x->as.vars[i]];
        if (v->role == MP_ROLE_PARAMETER || (v->role == MP_ROLE_RESULT && v->call >= (int32_t)r.first && v->call < (int32_t)r.end)) continue;
        in[t->tensors[t->var_tensor[v - p->vars]].storage] = true;
      }
    }
}

/* What is kept for backward, and what is alive at the end of the forward pass besides state, from the trace: a storage lives while a tensor of it is held, or while it is kept. */
static void by_definition(mp_arena *a, const mp_trace *t, const mp_plan *plan, uint64_t *saved, uint64_t *alive) {
  const mp_region *r;
  uint32_t n = mp_plan_regions(a, t->program, plan, &r);
  bool *kept = mp_alloc(a, t->storage_count + 1), *held = mp_alloc(a, t->tensor_count + 1), *lives = mp_alloc(a, t->storage_count + 1);
  bool *reached = mp_alloc(a, t->fn_count + 1); /* from the loss; edges lead to earlier nodes or to leaves */
  for (uint32_t turn = 0; turn <= t->fn_count; turn++)
    for (uint32_t f = t->fn_count; f-- > 0;) {
      reached[f] = reached[f] || (int32_t)f == t->tensors[t->loss].fn;
      for (uint32_t k = 0; reached[f] && k < t->fns[f].edge_count; k++)
        if (t->fns[f].edges[k].fn >= 0) reached[t->fns[f].edges[k].fn] = true;
    }
  for (uint32_t f = 0; f < t->fn_count; f++)
    for (uint32_t k = 0; reached[f] && k < t->fns[f].saved_count; k++)
      if (t->fns[f].saved[k] >= 0 && region_of(r, n, t->fns[f].call) < 0) kept[t->tensors[t->fns[f].saved[k]].storage] = true;
  for (uint32_t i = 0; i < n; i++) {
    bool needed = false; /* something in it is kept for backward */
    for (uint32_t f = 0; f < t->fn_count; f++) needed = needed || (reached[f] && t->fns[f].saved_count && region_of(r, n, t->fns[f].call) == (int32_t)i);
    if (needed) mark_inputs(t, r[i], kept);
  }
  for (uint32_t i = 0; i < t->event_count; i++) {
    if (t->events[i].kind == MP_EV_TENSOR) held[t->events[i].a] = true;
    if (t->events[i].kind == MP_EV_DROP) held[t->events[i].a] = false;
  }
  for (uint32_t k = 0; k < t->tensor_count; k++)
    if (held[k]) lives[t->tensors[k].storage] = true;
  *saved = *alive = 0;
  for (uint32_t s = 0; s < t->storage_count; s++) {
    bool state = t->storages[s].category == MP_CAT_PARAMETER || t->storages[s].category == MP_CAT_BUFFER;
    if (kept[s] && !state) *saved += t->storages[s].bytes;
    if (kept[s] || lives[s] || state) *alive += to512(t->storages[s].bytes);
  }
}

typedef struct at_forward_end {
  const mp_tape *t;
  uint64_t state; /* gradients, optimizer state, master copies */
} at_forward_end;

static void watch(void *arg, uint32_t i, uint64_t now, const uint64_t *by) {
  at_forward_end *w = arg;
  uint64_t sum = 0;
  for (int c = 0; c < MP_CATEGORIES; c++) sum += by[c];
  assert_int_equal(sum, now);
  if (w->t->steps[i].iteration == 2 && w->t->steps[i].kind == MP_FORWARD_END) w->state = by[MP_CAT_GRADIENT] + by[MP_CAT_OPTIMIZER] + by[MP_CAT_MASTER];
}

static mp_plan random_plan(mp_arena *a, maker *m) {
  const char **paths = mp_alloc_array(a, 8, sizeof *paths);
  mp_plan p = {.checkpoint = paths};
  for (int k = 0; k < m->modules; k++)
    if (pick(m, 2)) paths[p.checkpoints++] = mp_format(a, "net.%d", k);
  return p;
}

/* ---- the properties ---- */

#define PROGRAMS 4000

static void tapes_agree_with_definitions(void **state) {
  (void)state;
  static maker m;
  mp_arena *a = mp_arena_new(0);
  for (uint64_t seed = 0; seed < PROGRAMS; seed++) {
    mp_mark mark = mp_arena_mark(a);
    draw(&m, seed, 1 + (int64_t)(seed % 7), false);
    mp_run run = random_run(&m);
    mp_plan plan = random_plan(a, &m);
    built b = build(a, &m, &run, &plan);
    assert_true(b.trace->train);
    uint64_t saved, alive;
    by_definition(a, b.trace, &plan, &saved, &alive);
    if (b.line->saved_bytes != saved)
      fail_msg("seed %d: %llu bytes saved, %llu by definition\n%s", (int)seed, (unsigned long long)b.line->saved_bytes, (unsigned long long)saved, m.text);
    at_forward_end w = {.t = b.tape};
    mp_timeline_walk(a, b.tape, watch, &w);
    if (b.line->after_forward != alive + w.state)
      fail_msg("seed %d, %s x %d, %u regions: %llu bytes alive after forward, %llu by definition\n%s", (int)seed, mp_precision_name(run.precision), (int)run.accumulate, plan.checkpoints, (unsigned long long)b.line->after_forward,
               (unsigned long long)(alive + w.state), m.text);
    assert_int_equal(b.line->peak.allocated, slow_peak(a, &b, &m));
    assert_true(b.line->peak.allocated <= b.line->peak.reserved);
    uint64_t sum = 0;
    for (int c = 0; c < MP_CATEGORIES; c++) sum += b.line->peak.by[c];
    assert_int_equal(sum, b.line->peak.allocated);
    mp_arena_rewind(a, mark);
  }
  mp_arena_free(a);
}

/* One more region adds what it is handed at most; where that is kept in any case it never adds. */
static void more_recomputation_saves_no_more(void **state) {
  (void)state;
  static maker m;
  mp_arena *a = mp_arena_new(0);
  uint32_t less = 0;
  for (uint64_t seed = 0; seed < PROGRAMS / 2; seed++) {
    mp_mark mark = mp_arena_mark(a);
    bool neat = seed % 2;
    draw(&m, seed, 3, neat);
    mp_run run = random_run(&m);
    if (neat) run.precision = MP_FP32; /* autocast keeps a half copy instead of what the layer reads */
    run.freezes = 0;
    mp_plan plan = random_plan(a, &m), more = plan;
    if (plan.checkpoints == (uint32_t)m.modules) {
      mp_arena_rewind(a, mark);
      continue;
    }
    const char **paths = mp_alloc_array(a, 8, sizeof *paths), *extra = NULL;
    for (int k = 0; k < m.modules && !extra; k++) {
      extra = mp_format(a, "net.%d", k);
      for (uint32_t i = 0; extra && i < plan.checkpoints; i++)
        if (!strcmp(plan.checkpoint[i], extra)) extra = NULL;
    }
    if (plan.checkpoints) memcpy(paths, plan.checkpoint, plan.checkpoints * sizeof *paths);
    paths[plan.checkpoints] = extra;
    more.checkpoint = paths;
    more.checkpoints++;
    built one = build(a, &m, &run, &plan), two = build(a, &m, &run, &more);
    mp_plan alone = {.checkpoint = &extra, .checkpoints = 1};
    const mp_region *r;
    bool *in = mp_alloc(a, two.trace->storage_count + 1);
    assert_int_equal(mp_plan_regions(a, two.trace->program, &alone, &r), 1);
    mark_inputs(two.trace, r[0], in);
    uint64_t handed = 0;
    for (uint32_t s = 0; s < two.trace->storage_count; s++) handed += in[s] ? two.trace->storages[s].bytes : 0;
    if (two.line->saved_bytes > one.line->saved_bytes + (neat ? 0 : handed)) fail_msg("seed %d: recomputing %s too saves more\n%s", (int)seed, extra, m.text);
    less += two.line->saved_bytes < one.line->saved_bytes;
    assert_true(two.line->peak.allocated >= two.line->parameter_bytes);
    mp_arena_rewind(a, mark);
  }
  assert_true(less > PROGRAMS / 8);
  mp_arena_free(a);
}

static void saved_bytes_are_linear_in_the_batch(void **state) {
  (void)state;
  static maker m;
  mp_arena *a = mp_arena_new(0);
  for (uint64_t seed = 0; seed < PROGRAMS / 2; seed++) {
    mp_mark mark = mp_arena_mark(a);
    uint64_t saved[5] = {0}, inputs[5] = {0};
    bool copies = false; /* autocast's half copies of weights do not grow with the batch */
    for (int64_t batch = 2; batch <= 4; batch++) { /* with a batch of 1 more tensors are contiguous */
      draw(&m, seed, batch, false);
      mp_run run = random_run(&m);
      mp_plan plan = random_plan(a, &m);
      built b = build(a, &m, &run, &plan);
      saved[batch] = b.line->saved_bytes;
      inputs[batch] = b.line->input_bytes;
      copies = run.precision == MP_AMP_BF16 || run.precision == MP_AMP_FP16;
    }
    if (saved[4] - saved[3] != saved[3] - saved[2]) fail_msg("seed %d: %d, %d, %d bytes at batch 2, 3, 4\n%s", (int)seed, (int)saved[2], (int)saved[3], (int)saved[4], m.text);
    if (!copies && saved[4] != 2 * saved[2]) fail_msg("seed %d: %d bytes at batch 2, %d at 4\n%s", (int)seed, (int)saved[2], (int)saved[4], m.text);
    assert_int_equal(inputs[4], 2 * inputs[2]);
    mp_arena_rewind(a, mark);
  }
  mp_arena_free(a);
}

static void micro_batches_behind_the_second_are_alike(void **state) {
  (void)state;
  static maker m;
  mp_arena *a = mp_arena_new(0);
  mp_err err = {0};
  for (uint64_t seed = 0; seed < PROGRAMS / 4; seed++) {
    mp_mark mark = mp_arena_mark(a);
    draw(&m, seed, 2, false);
    mp_run run = random_run(&m);
    run.accumulate = 4 + pick(&m, 4);
    mp_plan plan = random_plan(a, &m);
    built b = build(a, &m, &run, &plan);
    const mp_tape *whole = mp_tape_make_whole(a, b.trace, &run, &plan, &err);
    const mp_timeline *line = mp_timeline_make(a, whole, &err);
    assert_non_null(line);
    assert_true(whole->step_count > b.tape->step_count);
    if (line->peak.allocated != b.line->peak.allocated) fail_msg("seed %d, %s x %d, %u regions: peak %llu, of the whole tape %llu\n%s", (int)seed, mp_precision_name(run.precision), (int)run.accumulate, plan.checkpoints,(unsigned long long)b.line->peak.allocated, (unsigned long long)line->peak.allocated, m.text);
    assert_int_equal(line->peak.first_iteration, b.line->peak.first_iteration);
    assert_int_equal(line->peak.reserved, b.line->peak.reserved);
    assert_int_equal(line->after_forward, b.line->after_forward);
    assert_int_equal(line->saved_bytes, b.line->saved_bytes);
    assert_int_equal(line->gradient_bytes, b.line->gradient_bytes);
    assert_int_equal(line->flops_recompute, b.line->flops_recompute);
    mp_arena_rewind(a, mark);
  }
  mp_arena_free(a);
}

/* Searches build two iterations: the second's peak is the third's. */
static void the_second_iteration_is_steady(void **state) {
  (void)state;
  static maker m;
  mp_arena *a = mp_arena_new(0);
  mp_err err = {0};
  for (uint64_t seed = 0; seed < PROGRAMS / 4; seed++) {
    mp_mark mark = mp_arena_mark(a);
    draw(&m, seed, 2, false);
    mp_run run = random_run(&m);
    mp_plan plan = random_plan(a, &m);
    built b = build(a, &m, &run, &plan);
    const mp_region *regions;
    uint32_t n = mp_plan_regions(a, b.trace->program, &plan, &regions);
    const mp_tape *tape = mp_tape_make_short(a, b.trace, &run, regions, n, plan.save_calls, &err);
    assert_non_null(tape);
    assert_int_equal(mp_timeline_peak(tape), b.line->peak.allocated);
    assert_int_equal(tape->flops_recompute, b.line->flops_recompute);
    mp_arena_rewind(a, mark);
  }
  mp_arena_free(a);
}

/* ---- every allocation fails once ---- */

static const void *chain(mp_arena *a, void *arg) {
  (void)arg;
  static const char text[] =
      "in x float32 2 8\np w float32 8 8\np g float32 8\np b float32 8\nmodule net.0\ncall layer_norm n x [8] g b 0.001 true\ncall linear h n w none\n"
      "call dropout d h 0.1 true\nmodule head\ncall sum loss d\nout loss\n";
  static const char *const paths[] = {"net.0"};
  mp_run *run = mp_alloc(a, sizeof *run);
  mp_plan *plan = mp_alloc(a, sizeof *plan);
  *run = mp_run_default();
  *plan = (mp_plan){.checkpoint = paths, .checkpoints = 1};
  run->precision = MP_AMP_BF16;
  run->accumulate = 2;
  mp_err err = {0};
  const mp_program *p = test_program(a, text);
  const mp_tape *t = mp_tape_make(a, mp_trace_make(a, p, run, &err), run, plan, &err);
  const mp_timeline *l = mp_timeline_make(a, t, &err);
  if (!l) mp_fail(a, err.code, "%s", err.text);
  return l;
}

static void every_failed_allocation_is_an_error(void **state) {
  (void)state;
  mp_err err;
  mp_arena *a = mp_arena_new(0);
  assert_non_null(mp_protect(a, &err, chain, NULL));
  uint64_t requests = mp_arena_requests(a), failed = 0;
  mp_arena_free(a);
  assert_true(requests > 200);
  for (uint64_t n = 1; n <= requests + 1; n++) {
    a = mp_arena_new(0);
    mp_arena_fail_at(a, n);
    const void *r = mp_protect(a, &err, chain, NULL);
    assert_true((r != NULL) == (err.code == MP_OK));
    if (!r) {
      assert_int_equal(err.code, MP_INTERNAL);
      assert_non_null(strstr(err.text, "memory"));
      failed++;
    }
    mp_arena_free(a);
  }
  assert_true(failed + 2 >= requests && failed <= requests); /* the arena's own first request may lie before */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tapes_agree_with_definitions),
      cmocka_unit_test(more_recomputation_saves_no_more),
      cmocka_unit_test(saved_bytes_are_linear_in_the_batch),
      cmocka_unit_test(micro_batches_behind_the_second_are_alike),
      cmocka_unit_test(the_second_iteration_is_steady),
      cmocka_unit_test(every_failed_allocation_is_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
