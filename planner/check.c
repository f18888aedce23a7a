/* The checker: shares nothing with the search, and adds bytes up by itself. */
#include <string.h>

#include "planner/checkpointing.h"

static const char *broken_rule(mp_arena *a, const mp_answer *x, const mp_plan_file *f) {
  const mp_program *p = x->program;
  for (uint32_t i = 0; i < f->checkpoints; i++) {
    const char *path = f->checkpoint[i];
    uint32_t turns = 0;
    for (uint32_t k = 1; k < p->instance_count; k++) turns += !strcmp(p->instances[k].path, path) && p->instances[k].first < p->instances[k].end;
    if (!strstr(path, "..") && turns == 0) return mp_format(a, "a region is a module that runs: '%s' does not", path);
    const char *around[2] = {NULL, NULL};
    for (uint32_t k = 0; k < f->checkpoints; k++) {
      size_t n = strlen(f->checkpoint[k]);
      if (strncmp(f->checkpoint[k], path, n) != 0 || path[n] != '.' || path[n + 1] == '.') continue;
      if (around[0]) around[1] = f->checkpoint[k];
      else around[0] = f->checkpoint[k];
    }
    if (around[1]) return mp_format(a, "regions nest once: '%s' lies inside '%s' and '%s'", path, around[0], around[1]);
    for (uint32_t k = 1; k < p->instance_count; k++) {
      const mp_instance *m = &p->instances[k];
      if (strcmp(m->path, path)) continue;
      for (uint32_t c = m->first; c < m->end; c++) {
        const mp_call *call = &p->calls[c];
        if (call->in_place && call->arg_count && call->args[0].kind == MP_ARG_VAR && p->vars[call->args[0].as.var].call < (int32_t)m->first)
          return mp_format(a, "a region does not write into its input: %s in '%s' does", call->row->name, path);
      }
    }
  }
  for (uint32_t i = 0; i < f->saves; i++) {
    bool heavy = false;
    for (uint32_t s = 0; s < x->trace->storage_count; s++) heavy = heavy || (x->trace->storages[s].call == (int32_t)f->save_calls[i] && mp_op_is_heavy(x->trace->storages[s].op));
    if (!heavy) return mp_format(a, "what is kept is a matrix product, a convolution or attention: call %u is none", f->save_calls[i]);
  }
  return NULL;
}

/* the plain way: after each step, what is alive is summed afresh */
static uint64_t peak_of(mp_arena *a, const mp_tape *t, const char **fault) {
  uint64_t *alive = mp_alloc_array(a, t->instance_count + 1, sizeof *alive), now = 0, peak = 0;
  for (uint32_t i = 0; i < t->step_count; i++) {
    const mp_step *s = &t->steps[i];
    if (s->kind == MP_ALLOC) {
      if (alive[s->id]) *fault = mp_format(a, "a storage is allocated once: instance %d at step %u", s->id, i);
      alive[s->id] = s->bytes;
      now += s->bytes % 512 ? s->bytes + 512 - s->bytes % 512 : s->bytes;
    } else if (s->kind == MP_FREE) {
      if (!alive[s->id]) *fault = mp_format(a, "only what is alive is freed: instance %d at step %u", s->id, i);
      now -= alive[s->id] % 512 ? alive[s->id] + 512 - alive[s->id] % 512 : alive[s->id];
      alive[s->id] = 0;
    }
    if (s->iteration == 2 && now > peak) peak = now;
  }
  return peak;
}

typedef struct job {
  const mp_answer *x;
  const mp_plan_file *f;
} job;

static const void *make(mp_arena *a, void *arg) {
  const job *j = arg;
  mp_check *r = mp_alloc(a, sizeof *r);
  r->rule = broken_rule(a, j->x, j->f);
  const char *fault = NULL;
  r->peak = peak_of(a, j->x->tape, &fault);
  r->overhead = mp_overhead(j->x->timeline);
  if (!r->rule) r->rule = fault;
  if (!r->rule && r->peak > j->f->budget && j->f->peak <= j->f->budget)
    r->rule = mp_format(a, "the peak stays inside the budget: %llu bytes against %llu", (unsigned long long)r->peak, (unsigned long long)j->f->budget);
  if (!r->rule && r->peak != j->f->peak)
    r->rule = mp_format(a, "the peak is what the plan says: %llu bytes replayed, %llu written", (unsigned long long)r->peak, (unsigned long long)j->f->peak);
  r->valid = !r->rule;
  return r;
}

const mp_check *mp_check_plan(mp_arena *a, const mp_answer *x, const mp_plan_file *f, mp_err *err) {
  if (!x || !f) return NULL;
  job j = {x, f};
  return mp_protect(a, err, make, &j);
}
