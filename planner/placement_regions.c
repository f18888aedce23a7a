/* What may be a region, and what recomputing it does besides. */
#include <string.h>

#include "planner/placement.h"

/* An in-place call on what the region was given would run twice on it: torch.utils.checkpoint must not get such a region. */
bool mp_region_spoils_input(const mp_program *p, uint32_t first, uint32_t end) {
  for (uint32_t c = first; c < end; c++) {
    const mp_call *x = &p->calls[c];
    if (x->in_place && x->arg_count && x->args[0].kind == MP_ARG_VAR && p->vars[x->args[0].as.var].call < (int32_t)first) return true;
  }
  return false;
}

bool mp_instance_runs_once(const mp_program *p, uint32_t i) {
  for (uint32_t k = 1; k < p->instance_count; k++)
    if (k != i && p->instances[k].first < p->instances[k].end && !strcmp(p->instances[k].path, p->instances[i].path)) return false;
  return true;
}

static bool named(const mp_call *c, const char *part) { return strstr(c->row->name, part) != NULL; }

const char *const *mp_placement_notes(mp_arena *a, const mp_trace *t, const mp_plan *plan, uint32_t *n) {
  const mp_region *r;
  uint32_t count = mp_plan_regions(a, t->program, plan, &r), dropout = 0, norm = 0, drawn = 0;
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t c = r[i].first; c < r[i].end; c++) {
      const mp_call *x = &t->program->calls[c];
      uint32_t *random = r[i].inverse ? &drawn : &dropout;
      *random += named(x, "dropout") || named(x, "bernoulli") || (named(x, "scaled_dot_product") && x->arg_count > 4 && x->args[4].kind == MP_ARG_FLOAT && x->args[4].as.f > 0);
      norm += named(x, "batch_norm");
    }
  const char **notes = mp_alloc_array(a, 4, sizeof *notes);
  *n = 0;
  if (dropout) notes[(*n)++] = mp_format(a, "%u calls of dropout are recomputed: torch.utils.checkpoint has to restore the RNG state (preserve_rng_state, its default)", dropout);
  if (drawn) notes[(*n)++] = mp_format(a, "%u calls of dropout lie in modules whose inputs are rebuilt: their inverse has to draw the same masks", drawn);
  if (norm) notes[(*n)++] = mp_format(a, "%u batch norms are recomputed: in training they update their running statistics twice a step; halve their momentum or accept it", norm);
  return notes;
}
