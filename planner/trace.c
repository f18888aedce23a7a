/* program + run -> trace: runs the program's calls once under the run's precision and kernels, recording what PyTorch would dispatch. */
#include <string.h>

#include "planner/em.h"

mp_run mp_run_default(void) {
  return (mp_run){.precision = MP_FP32, .attention = MP_ATTN_AS_EXPORTED, .loss = MP_LOSS_AUTO, .zero_grad = MP_ZERO_START, .optimizer = mp_optimizer_find("adamw"),
                  .accumulate = 1, .dropout = -1};
}

static const struct {
  const char *name;
  mp_dtype storage, autocast; /* of parameters; of autocast */
} precisions[] = {
    [MP_FP32] = {"fp32", MP_FLOAT, MP_UNDEFINED},
    [MP_AMP_FP16] = {"amp-fp16", MP_FLOAT, MP_FLOAT16},
    [MP_AMP_BF16] = {"amp-bf16", MP_FLOAT, MP_BFLOAT16},
    [MP_PURE_BF16] = {"bf16", MP_BFLOAT16, MP_UNDEFINED},
    [MP_PURE_FP16] = {"fp16", MP_FLOAT16, MP_UNDEFINED},
    [MP_BF16_MASTER] = {"bf16-master", MP_BFLOAT16, MP_UNDEFINED},
};

const char *mp_precision_name(mp_precision p) { return precisions[p].name; }

/* A file exported in half runs in half whatever fp32 was asked for; a pure half run makes every float32 value half. */
static mp_dtype run_dtype(const mp_run *run, mp_dtype t) {
  mp_dtype want = precisions[run->precision].storage;
  return t == MP_FLOAT && want != MP_FLOAT ? want : t;
}

mp_dtype mp_em_made_dtype(const mp_em *e, mp_dtype t) { return run_dtype(e->run, t); }

typedef struct job {
  const mp_program *p;
  const mp_run *run;
} job;

static bool frozen(const mp_run *run, const char *name) {
  if (run->lora_rank && !strstr(name, ".lora_")) return true; /* only the adapters train (edit.c names them) */
  for (uint32_t i = 0; i < run->freezes; i++)
    if (mp_glob(run->freeze[i], name)) return true;
  return false;
}

static void check_freeze(mp_arena *a, const mp_program *p, const mp_run *run) {
  for (uint32_t i = 0; i < run->freezes; i++) {
    bool hit = false;
    for (uint32_t v = 0; v < p->var_count && !hit; v++) hit = p->vars[v].role == MP_ROLE_PARAMETER && mp_glob(run->freeze[i], p->vars[v].name);
    if (!hit) mp_fail(a, MP_BAD_INPUT, "--freeze '%s' matches no parameter of %s; memplan inspect lists their names", run->freeze[i], p->path);
  }
}

static mp_ten make_var(mp_em *e, int32_t v, mp_category born, const char *op) {
  const mp_var *x = &e->p->vars[v];
  e->born = born;
  mp_ten t = mp_em_new(e, op, run_dtype(e->run, x->dtype), x->rank, x->dims);
  e->stor.at[e->tens.at[t].storage].var = v;
  e->stor.at[e->tens.at[t].storage].what = MP_WHAT_INPUT;
  e->var_ten[v] = t;
  return t;
}

/* Parameters and buffers, in the program's order. Tied ones are one tensor, which stands where the first of them does and is frozen by any of its names. */
static void make_state(mp_em *e) {
  for (uint32_t v = 0; v < e->p->var_count; v++) {
    const mp_var *x = &e->p->vars[v];
    if (x->role == MP_ROLE_INPUT || x->role == MP_ROLE_RESULT) continue;
    int32_t own = x->tied >= 0 ? x->tied : (int32_t)v;
    bool param = e->p->vars[own].role == MP_ROLE_PARAMETER, trains = param && mp_dtype_is_float(e->p->vars[own].dtype);
    if (e->var_ten[own] < 0) {
      mp_ten t = make_var(e, own, param ? MP_CAT_PARAMETER : MP_CAT_BUFFER, param ? "parameter" : "buffer");
      e->tens.at[t].is_leaf_param = trains;
      e->tens.at[t].requires_grad = trains && !frozen(e->run, e->p->vars[own].name);
    }
    e->var_ten[v] = e->var_ten[own];
    if (frozen(e->run, x->name)) e->tens.at[e->var_ten[v]].requires_grad = false;
  }
}

/* what an earlier stage made arrives like an input, and its gradient goes back */
static void make_input(mp_em *e, int32_t v) {
  mp_ten t = make_var(e, v, MP_CAT_INPUT, "input");
  if (!e->p->vars[v].is_boundary || !mp_dtype_is_float(e->tens.at[t].dtype) || e->run->infer) return;
  e->tens.at[t].is_leaf_param = e->tens.at[t].requires_grad = true;
}

/* variables by the call after which they die: counting sort, so that the whole pass is linear */
typedef struct dying {
  uint32_t *start; /* call_count + 2 */
  int32_t *vars;
} dying;

static dying sort_by_death(mp_arena *a, const mp_program *p) {
  dying d = {mp_alloc_array(a, p->call_count + 2, sizeof *d.start), mp_alloc_array(a, p->var_count + 1, sizeof *d.vars)};
  for (uint32_t v = 0; v < p->var_count; v++)
    if (p->vars[v].role == MP_ROLE_RESULT && p->vars[v].dies >= 0 && (uint32_t)p->vars[v].dies < p->call_count) d.start[p->vars[v].dies + 1]++;
  for (uint32_t c = 0; c < p->call_count; c++) d.start[c + 1] += d.start[c];
  uint32_t *at = mp_alloc_array(a, p->call_count + 1, sizeof *at);
  for (uint32_t v = 0; v < p->var_count; v++)
    if (p->vars[v].role == MP_ROLE_RESULT && p->vars[v].dies >= 0 && (uint32_t)p->vars[v].dies < p->call_count)
      d.vars[d.start[p->vars[v].dies] + at[p->vars[v].dies]++] = (int32_t)v;
  return d;
}

static void drop_var(mp_em *e, int32_t v) {
  if (e->p->vars[v].role != MP_ROLE_RESULT || e->var_ten[v] < 0 || e->p->vars[v].is_output || e->p->vars[v].is_held) return;
  mp_em_release(e, e->var_ten[v]);
  e->var_ten[v] = -1;
}

static int32_t missing_argument(mp_em *e, const mp_call *c) {
  for (uint32_t i = 0; i < c->arg_count; i++) {
    const mp_arg *x = &c->args[i];
    if (x->kind == MP_ARG_VAR && e->var_ten[x->as.var] < 0) return x->as.var;
    for (uint32_t k = 0; x->kind == MP_ARG_VARS && k < x->n; k++)
      if (x->as.vars[k] >= 0 && e->var_ten[x->as.vars[k]] < 0) return x->as.vars[k];
  }
  return -1;
}

static void run_call(mp_em *e, uint32_t n, mp_ten *made) {
  const mp_call *c = &e->p->calls[n];
  e->call = (int32_t)n;
  e->c = c;
  e->grad = !c->no_grad && !e->run->infer;
  mp_em_event(e, MP_EV_CALL, (int32_t)n, 0);
  int32_t v = missing_argument(e, c);
  if (v >= 0 && made[v] < 0 && e->p->vars[v].call >= 0) /* a split into fewer parts than the file names */
    mp_fail(e->a, MP_BAD_INPUT, "%s: call %u (%s) reads '%s', which call %d (%s) does not give; memplan inspect --program shows both", e->p->path, n, c->row->name, e->p->vars[v].name,
            e->p->vars[v].call, e->p->calls[e->p->vars[v].call].row->name);
  if (v >= 0) mp_fail(e->a, MP_INTERNAL, "%s: call %u (%s in '%s') reads '%s', which is gone", e->p->path, n, c->row->name, e->p->instances[c->module].path, e->p->vars[v].name);
  size_t scope = mp_em_enter(e);
  e->arg_ten = mp_alloc_array(e->a, c->arg_count + 1, sizeof *e->arg_ten);
  mp_em_cast_args(e);
  c->row->forward(e);
  for (uint32_t i = 0; i < c->out_count; i++)
    if (c->outs[i] >= 0) made[c->outs[i]] = e->var_ten[c->outs[i]];
  mp_em_leave(e, scope, NULL, 0);
}

/* the tensor to differentiate: a floating scalar among the outputs */
static mp_ten find_loss(const mp_em *e) {
  for (uint32_t i = 0; i < e->p->output_count; i++) {
    mp_ten t = e->var_ten[e->p->outputs[i]];
    if (t >= 0 && mp_dtype_is_float(e->tens.at[t].dtype) && mp_numel(&e->tens.at[t]) == 1) return t;
  }
  return -1;
}

static void find_held(mp_arena *a, mp_trace *t) {
  const mp_program *p = t->program;
  MP_VEC(mp_ten) held = {0};
  for (uint32_t v = 0; v < p->var_count; v++)
    if (p->vars[v].is_held && t->var_tensor[v] >= 0 && t->var_tensor[v] != t->loss) *mp_push(a, &held) = t->var_tensor[v];
  t->held = held.at;
  t->held_count = (uint32_t)held.n;
}

static void find_roots(mp_em *e, mp_trace *t) {
  mp_ten *roots = mp_alloc_array(e->a, e->p->output_count + 1, sizeof *roots);
  for (uint32_t i = 0; i < e->p->output_count && e->p->is_stage && t->loss < 0; i++) {
    mp_ten out = e->var_ten[e->p->outputs[i]];
    if (out >= 0 && e->tens.at[out].requires_grad && e->tens.at[out].fn >= 0) roots[t->root_count++] = out;
  }
  if (t->loss >= 0 && e->tens.at[t->loss].requires_grad && e->tens.at[t->loss].fn >= 0) roots[t->root_count++] = t->loss;
  t->roots = roots;
}

static const void *make(mp_arena *a, void *arg) {
  const job *j = arg;
  const mp_program *p = j->p;
  check_freeze(a, p, j->run);
  mp_em *e = mp_alloc(a, sizeof *e);
  e->a = a;
  e->run = j->run;
  e->p = p;
  e->call = -1;
  e->var_ten = mp_alloc_array(a, p->var_count + 1, sizeof *e->var_ten);
  for (uint32_t v = 0; v < p->var_count; v++) e->var_ten[v] = -1;
  mp_trace *t = mp_alloc(a, sizeof *t);
  *t = (mp_trace){.program = p, .run = j->run, .warnings = p->warnings, .warning_count = p->warning_count};
  make_state(e);
  t->setup_events = (uint32_t)e->events.n;
  for (uint32_t i = 0; i < p->input_count; i++) make_input(e, p->inputs[i]);
  t->input_events = (uint32_t)e->events.n;
  e->owned.n = 0; /* the program holds what was made so far */
  e->born = MP_CAT_ACTIVATION;
  e->autocast = precisions[j->run->precision].autocast;
  dying d = sort_by_death(a, p);
  mp_ten *made = mp_alloc_array(a, p->var_count + 1, sizeof *made);
  memcpy(made, e->var_ten, p->var_count * sizeof *made);
  for (uint32_t n = p->first_call; n < p->call_count; n++) {
    run_call(e, n, made);
    for (uint32_t k = d.start[n]; k < d.start[n + 1]; k++) drop_var(e, d.vars[k]);
  }
  e->call = -1;
  for (uint32_t v = 0; v < p->var_count; v++) drop_var(e, (int32_t)v);
  mp_ten loss = find_loss(e);
  for (uint32_t i = 0; i < p->output_count; i++) {
    int32_t v = p->outputs[i];
    if (p->vars[v].role != MP_ROLE_RESULT || e->var_ten[v] < 0 || e->var_ten[v] == loss || j->run->infer || p->is_stage) continue;
    mp_em_release(e, e->var_ten[v]); /* `loss = step(model, batch)`: only the loss leaves the step */
    e->var_ten[v] = -1;
  }
  mp_em_clear_casts(e);
  mp_em_event(e, MP_EV_MARK, 0, 0);
  t->tensors = e->tens.at;
  t->storages = e->stor.at;
  t->fns = e->fns.at;
  t->events = e->events.at;
  t->tensor_count = (uint32_t)e->tens.n;
  t->storage_count = (uint32_t)e->stor.n;
  t->fn_count = (uint32_t)e->fns.n;
  t->event_count = (uint32_t)e->events.n;
  t->var_tensor = made;
  t->loss = loss;
  find_held(a, t);
  find_roots(e, t);
  mp_trace_bury(a, t, e->fns.at);
  t->train = !j->run->infer && t->root_count > 0;
  return t;
}

const mp_trace *mp_trace_make(mp_arena *a, const mp_program *p, const mp_run *run, mp_err *err) {
  if (!p || !run) return NULL;
  job j = {p, run};
  return mp_protect(a, err, make, &j);
}
