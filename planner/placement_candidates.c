/* What can be recomputed as a whole, what each frees and costs, and the cheapest disjoint set of them for a price of bytes. */
#include <stdlib.h>
#include <string.h>

#include "planner/placement_inside.h"

/* ---- what the trace saves ---- */

void mp_place_measure(mp_place *s) {
  const mp_trace *t = s->t;
  int32_t *index = mp_alloc_array(s->a, t->storage_count + 1, sizeof *index);
  memset(index, -1, (t->storage_count + 1) * sizeof *index);
  s->stor = mp_alloc_array(s->a, t->storage_count + 1, sizeof *s->stor);
  uint32_t n = t->program->call_count;
  s->cost = mp_alloc_array(s->a, n + 1, sizeof *s->cost);
  s->saves = mp_alloc_array(s->a, n + 1, sizeof *s->saves);
  s->share = mp_alloc_array(s->a, n + 1, sizeof *s->share);
  s->made = mp_alloc_array(s->a, n + 1, sizeof *s->made);
  for (uint32_t c = 0; c < n; c++) s->cost[c] = (double)t->program->calls[c].flops;
  for (int pass = 0; pass < 2; pass++) /* first count the savers, then share the bytes */
    for (uint32_t f = 0; f < t->fn_count; f++) {
      const mp_fn *fn = &t->fns[f];
      if (fn->dead) continue; /* keeps nothing when backward begins */
      if (fn->call >= 0 && fn->saved_count) s->saves[fn->call] = true;
      for (uint32_t k = 0; k < fn->saved_count; k++) {
        if (fn->saved[k] < 0 || fn->call < 0) continue;
        int32_t id = t->tensors[fn->saved[k]].storage;
        const mp_storage *st = &t->storages[id];
        if (st->category != MP_CAT_ACTIVATION && st->category != MP_CAT_INPUT) continue;
        if (index[id] < 0) {
          index[id] = (int32_t)s->stor_count;
          s->stor[s->stor_count++] = (mp_saved_storage){.made = st->call, .first = fn->call, .last = fn->call, .bytes = (st->bytes + 511) / 512 * 512};
          if (st->call >= 0) s->made[st->call] += s->stor[index[id]].bytes;
        }
        mp_saved_storage *x = &s->stor[index[id]];
        if (fn->call < x->first) x->first = fn->call;
        if (fn->call > x->last) x->last = fn->call;
        if (pass == 0) x->savers++;
        else s->share[fn->call] += (double)x->bytes / x->savers;
      }
    }
}

/* ---- candidates ---- */

static bool add(mp_place *s, uint32_t first, uint32_t end, const char *pattern, bool is_block) {
  for (uint32_t i = 0; i < s->inverted_count; i++)
    if (first < s->inverted[i].end && s->inverted[i].first < end) return false;
  if (mp_region_spoils_input(s->t->program, first, end)) return false;
  mp_candidate c = {.first = first, .end = end, .pattern = pattern, .is_block = is_block};
  int32_t last = -1;
  for (uint32_t k = first; k < end; k++)
    if (s->saves[k]) last = (int32_t)k;
  if (last < 0) return false;
  double share = 0;
  for (uint32_t k = first; k < end; k++) {
    share += s->share[k];
    if ((int32_t)k <= last) c.cost += s->cost[k];
  }
  c.share = (uint64_t)share + 1;
  for (uint32_t k = 0; k < s->stor_count; k++) {
    const mp_saved_storage *x = &s->stor[k];
    if (x->first >= (int32_t)first && x->last < (int32_t)end && x->made >= (int32_t)first) c.frees += x->bytes;
  }
  if (!c.frees) return false;
  *mp_push(s->a, &s->all) = c;
  return true;
}

static bool is_child_of(const mp_instance *child, const mp_instance *parent, long *number) { /* PATH.NUMBER of a Sequential that runs itself */
  size_t n = strlen(parent->path);
  const char *rest = child->path + n + (n > 0);
  if (strncmp(child->path, parent->path, n) != 0 || (n && child->path[n] != '.')) return false;
  char *end;
  *number = strtol(rest, &end, 10);
  return end != rest && !*end;
}

#define LONGEST_RUN 48
/* runs of siblings of a Sequential: their calls follow one another and cover it */
static void add_runs(mp_place *s, int32_t parent) {
  const mp_program *p = s->t->program;
  const mp_instance *m = &p->instances[parent];
  MP_VEC(int32_t) child = {0};
  uint32_t covered = m->first;
  long number, before = -1;
  for (uint32_t i = (uint32_t)parent + 1; i < p->instance_count; i++) {
    if (p->instances[i].parent != parent || p->instances[i].first >= p->instances[i].end) continue; /* one that calls nothing is named nowhere */
    if (!is_child_of(&p->instances[i], m, &number) || p->instances[i].first != covered || number <= before) return; /* PATH.FIRST..PATH.LAST are those between */
    covered = p->instances[i].end;
    before = number;
    *mp_push(s->a, &child) = (int32_t)i;
  }
  if (child.n < 2 || covered != m->end) return;
  for (size_t i = 0; i < child.n; i++)
    for (size_t j = i + 1; j < child.n && j < i + LONGEST_RUN; j++) {
      const mp_instance *x = &p->instances[child.at[i]], *y = &p->instances[child.at[j]];
      if (i == 0 && j + 1 == child.n) continue; /* that is the parent */
      add(s, x->first, y->end, mp_format(s->a, "%s..%s", x->path, y->path), !s->found_blocks || x->block < 0);
    }
}

static void find(mp_place *s) {
  const mp_program *p = s->t->program;
  bool blocks_only = s->ask->granularity != MP_BY_MODULES;
  for (uint32_t i = 1; i < p->instance_count; i++) {
    const mp_instance *m = &p->instances[i];
    if (m->first >= m->end || !mp_instance_runs_once(p, i) || (m->first == 0 && m->end == p->call_count)) continue;
    if (blocks_only && m->block < 0) continue;
    if (!add(s, m->first, m->end, m->path, m->block >= 0)) continue;
    s->all.at[s->all.n - 1].is_module = m->block >= 0;
    s->found_blocks |= m->block >= 0;
  }
  for (uint32_t i = 0; i < p->instance_count; i++)
    if (p->instances[i].first < p->instances[i].end && (!blocks_only || !s->found_blocks || p->instances[i].block < 0)) add_runs(s, (int32_t)i);
  if (s->all.n) return;
  for (uint32_t i = 1; i < p->instance_count; i++) /* nothing repeats: any module */
    if (p->instances[i].first < p->instances[i].end && mp_instance_runs_once(p, i)) add(s, p->instances[i].first, p->instances[i].end, p->instances[i].path, true);
}

int mp_place_by_end(const void *x, const void *y) {
  const mp_candidate *a = x, *b = y;
  if (a->end != b->end) return a->end < b->end ? -1 : 1;
  return a->first < b->first ? -1 : a->first > b->first;
}

void mp_place_candidates(mp_place *s) {
  find(s);
  if (s->all.n) qsort(s->all.at, s->all.n, sizeof *s->all.at, mp_place_by_end);
}

/* ---- the cheapest disjoint set for a price of bytes: intervals by their end, a dynamic program over calls ---- */

/* min over disjoint sets of sum(cost - lambda * gain); gain: what it frees (for plans) or its share (for the bound) */
double mp_place_priced(const mp_place *s, double lambda, bool bound, mp_choice *out) {
  uint32_t calls = s->t->program->call_count;
  mp_mark m = mp_arena_mark(s->a);
  double *best = mp_alloc_array(s->a, calls + 2, sizeof *best);
  int32_t *took = mp_alloc_array(s->a, calls + 2, sizeof *took);
  size_t k = 0;
  for (uint32_t c = 1; c <= calls; c++) {
    best[c] = best[c - 1];
    took[c] = -1;
    for (; k < s->all.n && s->all.at[k].end == c; k++) {
      const mp_candidate *x = &s->all.at[k];
      if (!bound && (x->frees > s->cap || (s->only_blocks && !x->is_block))) continue;
      double v = best[x->first] + x->cost - lambda * (double)(bound ? x->share : x->frees);
      if (v < best[c]) {
        best[c] = v;
        took[c] = (int32_t)k;
      }
    }
  }
  double value = best[calls];
  if (out) {
    out->n = 0;
    for (uint32_t c = calls; c;) {
      if (took[c] < 0) {
        c--;
        continue;
      }
      out->at[out->n++] = (uint32_t)took[c];
      c = s->all.at[took[c]].first;
    }
  }
  mp_arena_rewind(s->a, m);
  return value;
}

/* a price of bytes at which everything that frees some is taken */
double mp_place_price_of_all(const mp_place *s) {
  double everything = 0;
  for (size_t k = 0; k < s->all.n; k++) everything += s->all.at[k].cost;
  return 1e6 * (everything + 1);
}
