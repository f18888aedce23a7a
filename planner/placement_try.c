/* One set of regions: its plan, its tape, and the best of those that were tried. */
#include <string.h>

#include "planner/placement_inside.h"

bool mp_place_late(mp_place *s) {
  double limit = s->ask->time_limit > 0 ? s->ask->time_limit : 20;
  if ((s->ask->interrupt && *s->ask->interrupt) || (double)(clock() - s->began) / CLOCKS_PER_SEC > limit) s->out_of_time = true;
  return s->out_of_time;
}

mp_choice mp_place_choice(const mp_place *s) { /* disjoint regions, and as many inside them */
  return (mp_choice){mp_alloc_array(s->a, 2 * (size_t)s->t->program->call_count + 2, sizeof(uint32_t)), 0};
}

mp_plan mp_place_plan(mp_arena *a, const mp_place *s, const mp_choice *c, const int8_t *save) {
  const char **paths = mp_alloc_array(a, c->n + 1, sizeof *paths);
  for (uint32_t i = 0; i < c->n; i++) paths[i] = s->all.at[c->at[c->n - 1 - i]].pattern;
  return (mp_plan){.checkpoint = paths, .checkpoints = c->n, .save_calls = save, .invertible = s->ask->invertible, .invertibles = s->ask->invertibles};
}

static const mp_region *regions_of(mp_arena *a, const mp_place *s, const mp_choice *c, uint32_t *n) {
  mp_region *r = mp_alloc_array(a, c->n + s->inverted_count + 1, sizeof *r);
  for (uint32_t i = 0; i < c->n; i++) r[i] = (mp_region){s->all.at[c->at[i]].first, s->all.at[c->at[i]].end, -1, NULL};
  for (uint32_t i = 0; i < s->inverted_count; i++) r[c->n + i] = s->inverted[i];
  *n = mp_regions_nest(r, c->n + s->inverted_count);
  return r;
}

mp_trial mp_place_attempt(mp_place *s, const mp_choice *c, const int8_t *save) {
  mp_arena *own = mp_arena_new(0);
  mp_err err;
  mp_trial r = {UINT64_MAX, 0};
  if (own) {
    uint32_t n;
    const mp_region *regions = regions_of(own, s, c, &n);
    const mp_tape *t = mp_tape_make_short(own, s->t, s->run, regions, n, save, &err);
    if (t) r = (mp_trial){mp_timeline_peak(t), (double)t->flops_recompute / s->run->accumulate};
  }
  mp_arena_free(own);
  s->tried++;
  if (s->ask->progress) s->ask->progress(s->ask->progress_arg, s->tried, r.peak);
  return r;
}

void mp_place_copy(mp_choice *to, const mp_choice *from) {
  to->n = from->n;
  if (from->n) memcpy(to->at, from->at, from->n * sizeof *to->at);
}

bool mp_place_note(mp_place *s, mp_record *r, const mp_choice *c, mp_trial t) {
  if (t.peak < r->near.peak) {
    r->near = t;
    mp_place_copy(&r->nearest, c);
  }
  if (t.peak > s->ask->budget) return false;
  if (!r->found || t.cost < r->got.cost) {
    r->got = t;
    mp_place_copy(&r->best, c);
    r->found = true;
  }
  return true;
}
