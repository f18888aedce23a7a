/* Can node v be computed from nothing within the budget? Searched backwards over sets of values that must be resident together.
 *
 * Let S be resident at some moment and j the member that was computed last. When j was computed, S and the inputs of j were resident; right
 * before, S without j and with the inputs of j. So S can be reached within the budget iff it is empty or some j in S has
 * bytes(S + inputs(j)) within the budget and (S - j) + inputs(j) can be reached. Starting from {v}, a path to the empty set is, read from its
 * end, an order of computations; and where the search ends without one, none exists.
 *
 * A schedule exists iff every v has such a path: one direction is the paragraph above, in the other each node is computed from nothing
 * in its turn, and everything else freed. Sets with the fewest ancestors left go first, then those of the fewest bytes. */
#include <string.h>

#include "planner/remat_inside.h"

typedef struct state {
  uint32_t parent, removed; /* how it was reached: parent without removed, with its inputs */
  uint32_t left;            /* members and their ancestors */
  int64_t bytes;
} state;

typedef struct maze {
  mp_arena *arena;
  const rgraph *g;
  int64_t budget;
  uint32_t words, n, limit, n_table;
  uint64_t *sets; /* by state: words each */
  state *states;
  uint32_t *heap, n_heap, *table;
  const uint64_t *ancestors;
  bool thorough; /* drop supersets of known sets: slow, but what is left is worth looking at */
} maze;

static void set_bit(uint64_t *s, uint32_t i) { s[i / 64] |= (uint64_t)1 << i % 64; }
static bool get_bit(const uint64_t *s, uint32_t i) { return s[i / 64] >> i % 64 & 1; }

static bool before(const maze *m, uint32_t a, uint32_t b) {
  const state *x = &m->states[a], *y = &m->states[b];
  return x->left != y->left ? x->left < y->left : x->bytes < y->bytes;
}

static void heap_push(maze *m, uint32_t id) {
  uint32_t at = m->n_heap++;
  for (; at && before(m, id, m->heap[(at - 1) / 2]); at = (at - 1) / 2) m->heap[at] = m->heap[(at - 1) / 2];
  m->heap[at] = id;
}

static uint32_t heap_pop(maze *m) {
  uint32_t top = m->heap[0], last = m->heap[--m->n_heap], at = 0;
  for (uint32_t child; (child = 2 * at + 1) < m->n_heap; at = child) {
    if (child + 1 < m->n_heap && before(m, m->heap[child + 1], m->heap[child])) child++;
    if (!before(m, m->heap[child], last)) break;
    m->heap[at] = m->heap[child];
  }
  m->heap[at] = last;
  return top;
}

/* the set in the next free place, unless it is known; true when it is new */
static bool add_state(maze *m, uint32_t parent, uint32_t removed) {
  const uint64_t *s = m->sets + (size_t)m->n * m->words;
  uint64_t hash = 1469598103934665603u;
  for (uint32_t w = 0; w < m->words; w++) hash = (hash ^ s[w]) * 1099511628211u, hash ^= hash >> 29;
  uint32_t at = (uint32_t)(hash % m->n_table);
  for (; m->table[at] != NONE; at = at + 1 == m->n_table ? 0 : at + 1)
    if (!memcmp(m->sets + (size_t)m->table[at] * m->words, s, m->words * sizeof *s)) return false;
  for (uint32_t k = m->thorough ? m->n : 0; k-- > 0;) { /* a set that holds a known one is no easier to reach */
    const uint64_t *known = m->sets + (size_t)k * m->words;
    uint32_t w = 0;
    while (w < m->words && !(known[w] & ~s[w])) w++;
    if (w == m->words) return false;
  }
  m->table[at] = m->n;
  state *x = &m->states[m->n];
  *x = (state){.parent = parent, .removed = removed};
  for (uint32_t w = 0; w < m->words; w++) {
    uint64_t all = s[w];
    for (uint64_t rest = s[w]; rest; rest &= rest - 1) x->bytes += m->g->bytes[w * 64 + (uint32_t)__builtin_ctzll(rest)];
    for (uint32_t v = 0; v < m->words; v++)
      for (uint64_t rest = s[v]; rest; rest &= rest - 1) all |= m->ancestors[((size_t)v * 64 + (size_t)__builtin_ctzll(rest)) * m->words + w];
    x->left += (uint32_t)__builtin_popcountll(all);
  }
  heap_push(m, m->n++);
  return true;
}

/* all sets one computation earlier; the id of the empty one when it is reached, else NONE */
static uint32_t expand(maze *m, uint32_t id) {
  const rgraph *g = m->g;
  for (uint32_t j = 0; j < g->n && m->n < m->limit; j++) {
    const uint64_t *s = m->sets + (size_t)id * m->words;
    if (!get_bit(s, j)) continue;
    uint64_t *t = m->sets + (size_t)m->n * m->words;
    int64_t bytes = m->states[id].bytes;
    memcpy(t, s, m->words * sizeof *t);
    for (uint32_t k = g->in_at[j]; k < g->in_at[j + 1]; k++) {
      if (!get_bit(t, g->in[k])) bytes += g->bytes[g->in[k]];
      set_bit(t, g->in[k]);
    }
    if (bytes > m->budget) continue;
    t[j / 64] &= ~((uint64_t)1 << j % 64);
    uint32_t fresh = m->n;
    if (add_state(m, id, j) && !m->states[fresh].left) return fresh;
  }
  return NONE;
}

uint64_t *mp_scratch_ancestors(mp_arena *a, const rgraph *g) {
  uint32_t words = (g->n + 63) / 64;
  uint64_t *up = mp_alloc_array(a, (size_t)g->n * words, sizeof *up);
  for (uint32_t v = 0; v < g->n; v++) {
    set_bit(up + (size_t)v * words, v);
    for (uint32_t k = g->in_at[v]; k < g->in_at[v + 1]; k++)
      for (uint32_t w = 0; w < words; w++) up[(size_t)v * words + w] |= up[(size_t)g->in[k] * words + w];
  }
  return up;
}

static mp_scratch_end look(mp_arena *a, const rgraph *g, const uint64_t *ancestors, uint32_t v, int64_t budget, uint32_t limit, bool thorough,
                           list *path) {
  mp_mark mark = mp_arena_mark(a);
  maze m = {.arena = a,
            .g = g,
            .budget = budget,
            .words = (g->n + 63) / 64,
            .limit = limit,
            .n_table = 2 * limit + 1,
            .ancestors = ancestors,
            .thorough = thorough};
  m.sets = mp_alloc_array(a, ((size_t)limit + 1) * m.words, sizeof *m.sets);
  m.states = mp_alloc_array(a, (size_t)limit + 1, sizeof *m.states);
  m.heap = mp_alloc_array(a, (size_t)limit + 1, sizeof *m.heap);
  m.table = mp_alloc_array(a, m.n_table, sizeof *m.table);
  memset(m.table, 0xff, m.n_table * sizeof *m.table);
  path->n = 0;
  if (g->bytes[v] > budget) {
    mp_arena_rewind(a, mark);
    return MP_SCRATCH_NEVER;
  }
  set_bit(m.sets, v);
  add_state(&m, NONE, NONE);
  uint32_t goal = NONE;
  while (m.n_heap && goal == NONE && m.n < m.limit) goal = expand(&m, heap_pop(&m));
  mp_scratch_end end = goal != NONE ? MP_SCRATCH_FOUND : m.n < m.limit ? MP_SCRATCH_NEVER : MP_SCRATCH_UNKNOWN;
  for (uint32_t id = goal; id != NONE && m.states[id].parent != NONE && path->n < path->cap; id = m.states[id].parent)
    path->at[path->n++] = m.states[id].removed;
  if (goal != NONE && m.states[goal].parent != NONE && path->n == path->cap) end = MP_SCRATCH_UNKNOWN;
  mp_arena_rewind(a, mark);
  return end;
}

mp_scratch_end mp_scratch(mp_arena *a, const rgraph *g, const uint64_t *ancestors, uint32_t v, int64_t budget, uint32_t limit, list *path) {
  mp_scratch_end end = look(a, g, ancestors, v, budget, limit, false, path);
  return end == MP_SCRATCH_UNKNOWN ? look(a, g, ancestors, v, budget, limit / 8, true, path) : end;
}
