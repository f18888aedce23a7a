/* Which calls a plan recomputes: module paths, globs and runs of siblings -> disjoint regions. */
#include <stdlib.h>
#include <string.h>

#include "planner/checkpointing.h"
#include "planner/invertible.h"

static bool in_range(const char *pattern, const char *path) { /* PATH.FIRST..PATH.LAST */
  const char *dots = strstr(pattern, "..");
  if (!dots) return false;
  const char *last = dots + 2, *pdot = strrchr(last, '.');
  size_t stem = pdot ? (size_t)(pdot - last) + 1 : 0;
  if (strncmp(path, last, stem) != 0 || strncmp(pattern, last, stem) != 0) return false;
  char *end;
  long n = strtol(path + stem, &end, 10);
  if (end == path + stem || *end) return false;
  return n >= strtol(pattern + stem, NULL, 10) && n <= strtol(last + stem, NULL, 10);
}

static bool matches(const char *pattern, const mp_instance *m) {
  if (!strcmp(pattern, "blocks")) return m->block >= 0;
  return strcmp(pattern, m->path) == 0 || in_range(pattern, m->path) || mp_glob(pattern, m->path);
}

static int by_first(const void *x, const void *y) {
  const mp_region *a = x, *b = y;
  if (a->first != b->first) return a->first < b->first ? -1 : 1;
  if (a->end != b->end) return a->end > b->end ? -1 : 1; /* the wider first */
  return (b->inverse != NULL) - (a->inverse != NULL);
}

typedef MP_VEC(mp_region) region_list;

static void add_matches(mp_arena *a, const mp_program *p, const char *pattern, region_list *all) {
  size_t before = all->n;
  bool range = strstr(pattern, "..") != NULL;
  for (uint32_t i = 1; i < p->instance_count; i++) {
    const mp_instance *m = &p->instances[i];
    bool within = all->n > before && m->end <= all->at[all->n - 1].end; /* instances come in the order of their first calls, the outer first */
    if (m->first >= m->end || within || !matches(pattern, m)) continue;
    mp_region *last = range && all->n > before ? &all->at[all->n - 1] : NULL;
    if (last && last->end == m->first) last->end = m->end; /* a run of siblings is one region */
    else *mp_push(a, all) = (mp_region){m->first, m->end, -1, NULL};
  }
  if (all->n == before)
    mp_fail(a, MP_BAD_INPUT, "--checkpoint '%s' matches no module of %s that runs; memplan fit --tree lists their paths%s", pattern, p->path,
            !strcmp(pattern, "blocks") ? " (no repeated blocks were found)" : "");
}

static bool computes(const mp_program *p, const mp_instance *m) {
  for (uint32_t c = m->first; c < m->end; c++)
    if (p->calls[c].macs) return true;
  return false;
}

/* "auto": the repeated modules that are invertible; without such, any that multiply */
static void add_invertible(mp_arena *a, const mp_program *p, region_list *all) {
  for (int pass = 0; pass < 2; pass++) {
    size_t before = all->n;
    for (uint32_t i = 1; i < p->instance_count; i++) {
      const mp_instance *m = &p->instances[i];
      if (m->first >= m->end || !(pass ? computes(p, m) : m->block >= 0)) continue;
      const mp_inverse *inverse = mp_inverse_find(a, p, m->first, m->end);
      if (!inverse->why) *mp_push(a, all) = (mp_region){m->first, m->end, -1, inverse};
    }
    if (all->n > before) return;
  }
  mp_fail(a, MP_BAD_INPUT, "--invertible auto: no module of %s is seen to be invertible (additive or affine coupling, 1x1 convolution)", p->path);
}

static void add_inverses(mp_arena *a, const mp_program *p, const char *pattern, region_list *all) {
  size_t before = all->n;
  for (uint32_t i = 1; i < p->instance_count; i++) {
    const mp_instance *m = &p->instances[i];
    bool within = all->n > before && m->end <= all->at[all->n - 1].end; /* instances come in the order of their first calls, the outer first */
    if (m->first >= m->end || within || !matches(pattern, m)) continue;
    const mp_inverse *inverse = mp_inverse_find(a, p, m->first, m->end);
    if (inverse->why) mp_fail(a, MP_BAD_INPUT, "--invertible '%s': %s is not invertible: %s", pattern, m->path, inverse->why);
    *mp_push(a, all) = (mp_region){m->first, m->end, -1, inverse};
  }
  if (all->n == before) mp_fail(a, MP_BAD_INPUT, "--invertible '%s' matches no module of %s that runs; memplan fit --tree lists their paths", pattern, p->path);
}

uint32_t mp_regions_nest(mp_region *all, uint32_t count) {
  if (count) qsort(all, count, sizeof *all, by_first);
  uint32_t n = 0, end = 0, inner_end = 0; /* of the last region around others, and of the last inside it */
  int32_t outer = -1;
  for (uint32_t i = 0; i < count; i++) {
    mp_region r = all[i];
    if (r.first >= end) {
      outer = (int32_t)n;
      end = r.end;
      inner_end = r.first;
      all[n++] = r;
    } else if (r.first >= inner_end && r.end <= end && !r.inverse && !all[outer].inverse && (r.first != all[outer].first || r.end != end)) {
      r.outer = outer;
      inner_end = r.end;
      all[n++] = r;
    }
  }
  return n;
}

/* what of the regions a pipeline's stage runs: a cut ends a region, and a module that is cut can't be rebuilt from its outputs */
static void keep_stage(const mp_program *p, region_list *all) {
  size_t n = 0;
  for (size_t i = 0; i < all->n; i++) {
    mp_region r = all->at[i];
    bool cut = r.first < p->first_call || r.end > p->call_count;
    if (r.first < p->first_call) r.first = p->first_call;
    if (r.end > p->call_count) r.end = p->call_count;
    if (r.first < r.end && !(cut && r.inverse)) all->at[n++] = r;
  }
  all->n = n;
}

uint32_t mp_plan_regions(mp_arena *a, const mp_program *p, const mp_plan *plan, const mp_region **regions) {
  region_list all = {0};
  for (uint32_t k = 0; plan && k < plan->checkpoints; k++)
    if (strcmp(plan->checkpoint[k], "none") != 0) add_matches(a, p, plan->checkpoint[k], &all);
  for (uint32_t k = 0; plan && k < plan->invertibles; k++) {
    if (!strcmp(plan->invertible[k], "auto")) add_invertible(a, p, &all);
    else add_inverses(a, p, plan->invertible[k], &all);
  }
  if (p->is_stage) keep_stage(p, &all);
  *regions = all.at;
  return mp_regions_nest(all.at, (uint32_t)all.n);
}

const char *mp_region_path(const mp_program *p, const mp_region *r) {
  for (uint32_t i = 1; i < p->instance_count; i++)
    if (p->instances[i].first == r->first && p->instances[i].end == r->end) return p->instances[i].path;
  return "";
}
