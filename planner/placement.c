/* The whole search: blocks first, then other modules, then regions around them; inside them calls. */
#include "planner/placement.h"

#include <stdlib.h>

#include "planner/placement_inside.h"

static mp_record new_record(const mp_place *s, mp_trial plain) {
  return (mp_record){.best = mp_place_choice(s), .nearest = mp_place_choice(s), .got = plain, .near = plain};
}

/* what one way of searching found, beside what is known */
static void take_better(mp_place *s, mp_record *rec, mp_record *other) {
  if (other->near.peak < rec->near.peak) {
    rec->near = other->near;
    mp_place_copy(&rec->nearest, &other->nearest);
  }
  if (!other->found || (rec->found && other->got.cost >= rec->got.cost)) return;
  mp_place_drop_needless(s, &other->best, &other->got);
  mp_place_copy(&rec->best, &other->best);
  rec->got = other->got;
  rec->found = true;
}

static mp_record search_regions(mp_place *s, mp_trial plain) {
  bool modules = s->ask->granularity == MP_BY_MODULES;
  mp_record rec = new_record(s, plain);
  s->only_blocks = true; /* of modules, blocks are the first guess */
  mp_place_by_size(s, &rec);
  if (rec.found) mp_place_drop_needless(s, &rec.best, &rec.got);
  mp_record sets = new_record(s, plain); /* starts from the best so far: cheaper sets alone are of interest */
  mp_place_copy(&sets.best, &rec.best);
  sets.got = rec.got;
  sets.found = rec.found;
  mp_place_by_modules(s, &sets);
  take_better(s, &rec, &sets);
  s->only_blocks = false;
  if (modules) {
    mp_record any = new_record(s, plain);
    mp_place_by_size(s, &any);
    if (any.found) mp_place_drop_needless(s, &any.best, &any.got);
    take_better(s, &rec, &any);
  }
  if (modules && !rec.found) {
    mp_record nested = new_record(s, plain);
    mp_place_by_nesting(s, &nested);
    take_better(s, &rec, &nested);
  }
  if (modules && rec.found) mp_place_exchange(s, &rec.best, &rec.got);
  return rec;
}

/* A policy inside the regions that were found, and one inside every block: whichever costs less. */
static int8_t *search_calls(mp_place *s, mp_record *rec) {
  int8_t *save = NULL, *save_all = NULL;
  mp_choice wide = mp_place_choice(s);
  mp_place_priced(s, mp_place_price_of_all(s), false, &wide);
  mp_trial all = mp_place_attempt(s, &wide, NULL);
  mp_place_keep_calls(s, &rec->best, &rec->got, &save);
  if (all.peak > s->ask->budget) return save;
  mp_place_keep_calls(s, &wide, &all, &save_all);
  if (rec->got.cost < all.cost) return save;
  mp_place_copy(&rec->best, &wide);
  rec->got = all;
  return save_all;
}

static const void *make(mp_arena *a, void *arg) {
  mp_place *s = arg;
  s->a = a;
  s->began = clock();
  mp_err err;
  mp_place_measure(s);
  const mp_plan none = {.invertible = s->ask->invertible, .invertibles = s->ask->invertibles};
  s->inverted_count = mp_plan_regions(a, s->t->program, &none, &s->inverted);
  s->plain = mp_tape_make(a, s->t, s->run, &none, &err);
  s->plain_line = mp_timeline_make(a, s->plain, &err);
  if (!s->plain_line) mp_fail(a, err.code, "%s", err.text);
  s->base = ((double)s->plain_line->flops_forward + (double)s->plain_line->flops_backward) / s->run->accumulate;
  double inverses = (double)s->plain_line->flops_recompute / s->run->accumulate; /* what every plan recomputes */
  mp_placement *r = mp_alloc(a, sizeof *r);
  *r = (mp_placement){.timeline = s->plain_line, .tape = s->plain, .plan = none, .feasible = s->plain_line->peak.allocated <= s->ask->budget, .overhead = inverses / s->base};
  r->bound = r->overhead;
  if (r->feasible || !s->t->train) return r;
  mp_place_candidates(s);
  r->bound = s->bound = mp_place_bound(s) + inverses / s->base;
  mp_record rec = search_regions(s, (mp_trial){s->plain_line->peak.allocated, inverses});
  int8_t *save = rec.found && s->ask->granularity == MP_BY_CALLS ? search_calls(s, &rec) : NULL;
  r->feasible = rec.found;
  r->plan = mp_place_plan(a, s, r->feasible ? &rec.best : &rec.nearest, save);
  r->tape = mp_tape_make(a, s->t, s->run, &r->plan, &err);
  r->timeline = mp_timeline_make(a, r->tape, &err);
  if (!r->timeline) mp_fail(a, err.code, "%s", err.text);
  r->feasible = r->timeline->peak.allocated <= s->ask->budget; /* as replayed, whatever the search took it for */
  r->overhead = (double)r->timeline->flops_recompute / s->run->accumulate / s->base;
  if (r->feasible && r->bound > r->overhead * (1 + 1e-6) + 1e-9)
    mp_fail(a, MP_INTERNAL, "the lower limit of the overhead, %.6f %%, is above a plan's, %.6f %%: please report it", 100 * r->bound, 100 * r->overhead);
  if (r->feasible && r->bound > r->overhead) r->bound = r->overhead; /* rounding */
  r->tried = s->tried;
  r->stopped = s->out_of_time;
  return r;
}

const mp_placement *mp_placement_make(mp_arena *a, const mp_trace *t, const mp_run *run, const mp_search *ask, mp_err *err) {
  if (!t || !run || !ask) return NULL;
  mp_place s = {.t = t, .run = run, .ask = ask, .cap = UINT64_MAX};
  return mp_protect(a, err, make, &s);
}
