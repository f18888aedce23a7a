/* The largest batch that fits: doubling, then bisection; each batch is an answer of its own. */
#include <string.h>

#include "planner/inside.h"

typedef struct place_job {
  const mp_answer *x;
  const mp_device *d;
  const mp_search *ask;
} place_job;

static const void *place(mp_arena *a, void *arg) {
  const place_job *j = arg;
  const mp_question *q = j->x->question;
  mp_verdict none = mp_verdict_make(j->x->timeline, j->d, &q->workspaces);
  uint64_t besides = none.needed - j->x->timeline->peak.reserved + none.overhead.held;
  mp_search ask = *j->ask;
  ask.budget = j->d->usable > besides ? j->d->usable - besides : 0;
  if (j->ask->budget && j->ask->budget < ask.budget) ask.budget = j->ask->budget;
  const mp_placement *p = NULL;
  for (int round = 0; round < 8; round++) { /* fragmentation: reserved may pass the device while allocated does not */
    mp_err err;
    p = mp_placement_make(a, j->x->trace, q->run, &ask, &err);
    if (!p) mp_fail(a, err.code, "%s", err.text);
    mp_verdict v = mp_verdict_make(p->timeline, j->d, &q->workspaces);
    if (!p->feasible || v.fits != MP_FITS_NOT) break;
    uint64_t over = (uint64_t)-v.spare, step = over > ask.budget / 200 ? over : ask.budget / 200;
    if (p->timeline->peak.allocated < step) break;
    ask.budget = p->timeline->peak.allocated - step;
  }
  return p;
}

const mp_placement *mp_placement_for_device(mp_arena *a, const mp_answer *x, const mp_device *d, const mp_search *ask, mp_err *err) {
  if (!x || !d) return NULL;
  place_job j = {x, d, ask};
  return mp_protect(a, err, place, &j);
}

typedef struct job {
  const mp_question *q;
  const char *dim;
  bool automatic;
  mp_granularity g;
} job;

/* the question at another batch */
static const mp_question *at_batch(mp_arena *a, const job *j, int64_t n) {
  mp_question *q = mp_alloc(a, sizeof *q);
  *q = *j->q;
  mp_binding *b = mp_alloc_array(a, q->binding_count + 1, sizeof *b);
  uint32_t m = 0;
  for (uint32_t i = 0; i < j->q->binding_count; i++)
    if (j->q->bindings[i].axis >= 0 || strcmp(j->q->bindings[i].name, j->dim)) b[m++] = j->q->bindings[i];
  b[m++] = (mp_binding){.name = j->dim, .axis = -1, .n = n};
  q->bindings = b;
  q->binding_count = m;
  q->device_count = 1;
  return q;
}

static bool fits(mp_arena *a, const job *j, int64_t n, mp_max_batch *r) {
  mp_err err;
  const mp_answer *x = mp_answer_make(a, at_batch(a, j, n), &err);
  if (!x) mp_fail(a, err.code, "%s", err.text);
  if (x->verdicts[0].fits != MP_FITS_NOT) {
    *r = (mp_max_batch){n, j->dim, x, NULL};
    return true;
  }
  if (!j->automatic) return false;
  mp_search ask = {.granularity = j->g, .invertible = j->q->plan->invertible, .invertibles = j->q->plan->invertibles};
  const mp_placement *p = mp_placement_for_device(a, x, j->q->devices[0], &ask, &err);
  if (!p) mp_fail(a, err.code, "%s", err.text);
  mp_verdict v = mp_verdict_make(p->timeline, j->q->devices[0], &j->q->workspaces);
  if (!p->feasible || v.fits == MP_FITS_NOT) return false;
  *r = (mp_max_batch){n, j->dim, x, p};
  return true;
}

#define MOST_SAMPLES ((int64_t)1 << 24)

static const void *make(mp_arena *a, void *arg) {
  const job *j = arg;
  mp_max_batch *best = mp_alloc(a, sizeof *best);
  *best = (mp_max_batch){.dim = j->dim};
  int64_t lo = 0, hi = 1;
  for (; hi <= MOST_SAMPLES; hi *= 2) {
    if (!fits(a, j, hi, best)) break;
    lo = hi;
  }
  while (hi - lo > 1) {
    int64_t mid = lo + (hi - lo) / 2;
    if (fits(a, j, mid, best)) lo = mid;
    else hi = mid;
  }
  return best;
}

const mp_max_batch *mp_max_batch_find(mp_arena *a, const mp_question *q, const char *dim, bool automatic, mp_granularity g, mp_err *err) {
  if (!q) return NULL;
  job j = {q, dim, automatic, g};
  return mp_protect(a, err, make, &j);
}
