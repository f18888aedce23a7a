#include "planner/split.h"

#include <string.h>

/* ---- a stage's program ---- */

static void mark_reads(const mp_call *c, uint8_t *read) {
  for (uint32_t i = 0; i < c->arg_count; i++) {
    const mp_arg *x = &c->args[i];
    if (x->kind == MP_ARG_VAR) read[x->as.var] = 1;
    for (uint32_t k = 0; x->kind == MP_ARG_VARS && k < x->n; k++)
      if (x->as.vars[k] >= 0) read[x->as.vars[k]] = 1;
  }
}

const mp_program *mp_program_slice(mp_arena *a, const mp_program *p, uint32_t first, uint32_t end) {
  uint8_t *here = mp_alloc(a, p->var_count + 1), *later = mp_alloc(a, p->var_count + 1);
  for (uint32_t c = first; c < end; c++) mark_reads(&p->calls[c], here);
  for (uint32_t c = end; c < p->call_count; c++) mark_reads(&p->calls[c], later);
  mp_var *vars = mp_alloc_array(a, p->var_count + 1, sizeof *vars);
  int32_t *inputs = mp_alloc_array(a, p->var_count + 1, sizeof *inputs), *outputs = mp_alloc_array(a, p->var_count + 1, sizeof *outputs);
  mp_program *s = mp_alloc(a, sizeof *s);
  *s = *p;
  s->input_count = s->output_count = 0;
  for (uint32_t v = 0; v < p->var_count; v++) {
    mp_var *x = &vars[v];
    *x = p->vars[v];
    bool made_here = x->call >= (int32_t)first && x->call < (int32_t)end, made_before = x->call >= 0 && x->call < (int32_t)first;
    if (x->role == MP_ROLE_RESULT && made_before && here[v]) {
      x->role = MP_ROLE_INPUT;
      x->is_boundary = true;
    }
    if (x->role == MP_ROLE_INPUT && here[v]) inputs[s->input_count++] = (int32_t)v;
    bool state = x->role == MP_ROLE_PARAMETER || x->role == MP_ROLE_BUFFER || x->role == MP_ROLE_CONSTANT;
    if (x->tied >= 0 && here[v] && !here[x->tied]) x->tied = -1; /* each stage has its own copy of a tied parameter */
    if (state && !here[v]) {
      x->role = MP_ROLE_RESULT; /* on another stage: never made here */
      x->call = x->tied = -1;
    }
    x->is_output = made_here && (later[v] || p->vars[v].is_output);
    if (x->is_output) outputs[s->output_count++] = (int32_t)v;
  }
  s->vars = vars;
  s->inputs = inputs;
  s->outputs = outputs;
  s->first_call = first;
  s->call_count = end;
  s->is_stage = true;
  return s;
}

/* ---- where to cut ---- */

typedef struct work {
  const mp_program *p;
  const mp_run *run;
  const mp_plan *plan;
  uint32_t n;
  uint32_t *places, place_count; /* calls before which a cut may be */
} work;

static void add_places(mp_arena *a, work *w, bool blocks_only) {
  uint8_t *at = mp_alloc(a, w->p->call_count + 1);
  for (uint32_t i = 1; i < w->p->instance_count; i++) {
    const mp_instance *m = &w->p->instances[i];
    if (m->first < m->end && (!blocks_only || m->block >= 0)) at[m->first] = 1;
  }
  w->places = mp_alloc_array(a, w->p->call_count + 1, sizeof *w->places);
  w->place_count = 0;
  for (uint32_t c = 1; c < w->p->call_count; c++)
    if (at[c]) w->places[w->place_count++] = c;
}

static uint64_t peak_of(mp_arena *a, const work *w, uint32_t i, uint32_t first, uint32_t end, mp_stage *out) {
  mp_plan plan = w->plan ? *w->plan : (mp_plan){0};
  plan.stage = i;
  plan.stages = w->n;
  mp_err err;
  const mp_program *s = mp_program_slice(a, w->p, first, end);
  const mp_trace *t = mp_trace_make(a, s, w->run, &err);
  const mp_tape *tape = mp_tape_make(a, t, w->run, &plan, &err);
  const mp_timeline *l = mp_timeline_make(a, tape, &err);
  if (!l) mp_fail(a, err.code, "stage %u: %s", i, err.text);
  if (out) *out = (mp_stage){.first = first, .end = end, .timeline = l};
  return l->peak.reserved;
}

typedef struct cuts {
  uint32_t at[64]; /* indices of places: stage i begins at places[at[i - 1]] */
} cuts;

static uint32_t begin_of(const work *w, const cuts *c, uint32_t i) { return i ? w->places[c->at[i - 1]] : 0; }
static uint32_t end_of(const work *w, const cuts *c, uint32_t i) { return i + 1 < w->n ? w->places[c->at[i]] : w->p->call_count; }

static uint64_t measure(mp_arena *a, const work *w, const cuts *c, uint64_t *of_stage) {
  uint64_t worst = 0;
  for (uint32_t i = 0; i < w->n; i++) {
    mp_mark m = mp_arena_mark(a);
    of_stage[i] = peak_of(a, w, i, begin_of(w, c, i), end_of(w, c, i), NULL);
    mp_arena_rewind(a, m);
    if (of_stage[i] > worst) worst = of_stage[i];
  }
  return worst;
}

/* From even cuts, the worst stage gives its first or last block away as long as the worst peak falls. */
static cuts balanced(mp_arena *a, const work *w) {
  cuts best;
  uint64_t of[64], next_of[64];
  for (uint32_t i = 0; i + 1 < w->n; i++) best.at[i] = (i + 1) * w->place_count / w->n;
  uint64_t worst = measure(a, w, &best, of);
  for (int round = 0; round < 24; round++) {
    uint32_t i = 0;
    for (uint32_t k = 1; k < w->n; k++)
      if (of[k] > of[i]) i = k;
    bool better = false;
    for (int side = 0; side < 2 && !better; side++) {
      cuts next = best;
      if (side == 0 && i > 0) next.at[i - 1]++;
      else if (side == 1 && i + 1 < w->n) next.at[i]--;
      else continue;
      bool legal = next.at[0] < w->place_count && next.at[w->n - 2] < w->place_count;
      for (uint32_t k = 1; k + 1 < w->n; k++) legal = legal && next.at[k] > next.at[k - 1] && next.at[k] < w->place_count;
      if (!legal) continue;
      uint64_t got = measure(a, w, &next, next_of);
      if (got >= worst) continue;
      worst = got;
      best = next;
      memcpy(of, next_of, sizeof of);
      better = true;
    }
    if (!better) break;
  }
  return best;
}

static const char *path_at(const mp_program *p, uint32_t call) {
  for (int32_t i = p->calls[call].module; i > 0; i = p->instances[i].parent)
    if (p->instances[i].block >= 0) return p->instances[i].path;
  return p->instances[p->calls[call].module].path;
}

static const void *make(mp_arena *a, void *arg) {
  work *w = arg;
  add_places(a, w, true);
  if (w->place_count < w->n) add_places(a, w, false);
  if (w->n > 64 || w->place_count + 1 < w->n)
    mp_fail(a, MP_BAD_INPUT, "--devices %u: %s has %u places to cut; give at most %u devices", w->n, w->p->path, w->place_count, w->place_count + 1 < 64 ? w->place_count + 1 : 64);
  cuts c = balanced(a, w);
  mp_stage *s = mp_alloc_array(a, w->n, sizeof *s);
  for (uint32_t i = 0; i < w->n; i++) {
    peak_of(a, w, i, begin_of(w, &c, i), end_of(w, &c, i), &s[i]);
    s[i].from = path_at(w->p, s[i].first);
    s[i].to = path_at(w->p, s[i].end - 1);
  }
  return s;
}

const mp_stage *mp_split_make(mp_arena *a, const mp_program *p, const mp_run *run, const mp_plan *plan, uint32_t n, mp_err *err) {
  if (!p || !n) return NULL;
  work w = {.p = p, .run = run, .plan = plan, .n = n};
  return mp_protect(a, err, make, &w);
}

/* ---- for an answer ---- */

typedef struct split_job {
  const mp_answer *x;
  uint32_t n;
} split_job;

static const void *split(mp_arena *a, void *arg) {
  const split_job *j = arg;
  const mp_question *q = j->x->question;
  mp_err err;
  const mp_stage *s = mp_split_make(a, j->x->program, q->run, q->plan, j->n, &err);
  if (!s) mp_fail(a, err.code, "%s", err.text);
  mp_split_row *rows = mp_alloc_array(a, j->n, sizeof *rows);
  mp_split *r = mp_alloc(a, sizeof *r);
  for (uint32_t i = 0; i < j->n; i++) {
    mp_verdict *v = mp_alloc_array(a, q->device_count + 1, sizeof *v);
    for (uint32_t d = 0; d < q->device_count; d++) v[d] = mp_verdict_make(s[i].timeline, q->devices[d], &q->workspaces);
    rows[i] = (mp_split_row){s[i].from, s[i].to, s[i].timeline, v};
    if (s[i].timeline->peak.reserved > s[r->worst].timeline->peak.reserved) r->worst = i;
  }
  r->count = j->n;
  r->rows = rows;
  return r;
}

const mp_split *mp_split_answer(mp_arena *a, const mp_answer *x, uint32_t n, mp_err *err) {
  if (!x || !n) return NULL;
  split_job j = {x, n};
  return mp_protect(a, err, split, &j);
}
