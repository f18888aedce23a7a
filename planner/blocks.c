/* Repeated modules: members of one list that are alike, by class where the file has it, else by what they are made of.
 *
 * "encoder.layer.0", "encoder.layer.1", ... are a family when they are more than single operations; of a list of lists (for attention, mlp in self.layers)
 * "layers.0.1", "layers.1.1", ... are one. Only the outermost families count: a block inside a block is part of it. */
#include <string.h>

#include "planner/inside.h"

/* "encoder.layer.3" -> 13, the length of "encoder.layer"; 0 where the last component is no number */
static size_t list_length(const char *path) {
  size_t n = strlen(path), end = n;
  while (end && path[end - 1] >= '0' && path[end - 1] <= '9') end--;
  return end < n && end > 1 && path[end - 1] == '.' ? end - 1 : 0;
}

bool mp_is_member(const char *path) {
  const char *dot = strrchr(path, '.');
  return dot && dot[1] >= '0' && dot[1] <= '9';
}

bool mp_in_one_list(const char *a, const char *b) {
  size_t n = 0;
  while (a[n] && a[n] == b[n]) n++;
  if (!a[n] || !b[n]) return false;
  while (n && a[n - 1] != '.') n--;
  size_t i = strspn(a + n, "0123456789"), k = strspn(b + n, "0123456789");
  const char *rest = a + n + i;
  return n && i && k && !strcmp(rest, b + n + k) && strspn(rest, ".0123456789") == strlen(rest);
}

/* more than one operation: a layer in a Sequential that is a single call is no block */
static bool is_composite(const mp_instance *all, uint32_t count, uint32_t i) {
  if (all[i].end - all[i].first < 3) return false;
  for (uint32_t k = i + 1; k < count && all[k].first < all[i].end; k++)
    if (all[k].parent == (int32_t)i) return true;
  return all[i].end - all[i].first >= 4;
}

static bool same_calls(const mp_call *calls, const mp_instance *a, const mp_instance *b) {
  if (a->end - a->first != b->end - b->first) return false;
  for (uint32_t i = 0; i < a->end - a->first; i++)
    if (strcmp(calls[a->first + i].row->name, calls[b->first + i].row->name) != 0) return false;
  return true;
}

/* does a submodule run again that its parent has run: a norm for hidden states, and for global ones */
static bool is_again(const mp_instance *all, uint32_t k) {
  for (uint32_t i = (uint32_t)all[k].parent + 1; all[k].turn && i < k; i++)
    if (all[i].parent == all[k].parent && !strcmp(all[i].path, all[k].path)) return true;
  return false;
}

static int32_t next_child(const mp_instance *all, uint32_t count, int32_t parent, int32_t after) {
  for (uint32_t k = (uint32_t)after + 1; k < count && all[k].first < all[parent].end; k++)
    if (all[k].parent == parent && !is_again(all, k)) return (int32_t)k;
  return -1;
}

static const char *leaf(const char *path, const char *parent) { return path + (*parent ? strlen(parent) + 1 : 0); }

/* two submodules of one name, or neither list has another */
static bool meet(const mp_instance *all, uint32_t a, uint32_t b, int32_t x, int32_t y) {
  return x < 0 || y < 0 ? x == y : !strcmp(leaf(all[x].path, all[a].path), leaf(all[y].path, all[b].path));
}

/* The same direct submodules by name. One may be missing where three are the same: a first layer without its norm has an nn.Identity there, which calls nothing. */
static bool same_parts(const mp_instance *all, uint32_t count, uint32_t a, uint32_t b) {
  int32_t i = next_child(all, count, (int32_t)a, (int32_t)a), k = next_child(all, count, (int32_t)b, (int32_t)b);
  uint32_t same = 0, missing = 0;
  while (i >= 0 || k >= 0) {
    int32_t after_i = i < 0 ? -1 : next_child(all, count, (int32_t)a, i), after_k = k < 0 ? -1 : next_child(all, count, (int32_t)b, k);
    bool pair = meet(all, a, b, i, k), skip_i = !pair && i >= 0 && meet(all, a, b, after_i, k), skip_k = !pair && !skip_i && k >= 0 && meet(all, a, b, i, after_k);
    if (!pair && (missing++ || (!skip_i && !skip_k))) return false;
    same += pair;
    if (pair || skip_i) i = after_i;
    if (pair || skip_k) k = after_k;
  }
  return same > (missing ? 2 : 1);
}

static bool alike(const mp_instance *all, uint32_t count, const mp_call *calls, uint32_t a, uint32_t b) {
  if (all[a].type && all[b].type) return !strcmp(all[a].type, all[b].type);
  return same_calls(calls, &all[a], &all[b]) || same_parts(all, count, a, b);
}

static bool inside_block(const mp_instance *all, uint32_t i) {
  for (int32_t p = all[i].parent; p >= 0; p = all[p].parent)
    if (all[p].block >= 0) return true;
  return false;
}

/* families inside others are dropped, the rest numbered anew */
static void keep_outermost(mp_arena *a, mp_instance *all, uint32_t count, int32_t families) {
  int32_t *number = mp_alloc_array(a, (size_t)families, sizeof *number), next = 0;
  for (uint32_t i = count; i-- > 0;) /* children come after their parents */
    if (all[i].block >= 0 && inside_block(all, i)) all[i].block = -1;
  for (uint32_t i = 0; i < count; i++) {
    if (all[i].block < 0) continue;
    if (!number[all[i].block]) number[all[i].block] = ++next;
    all[i].block = number[all[i].block] - 1;
  }
}

/* what the members of one list share: "layers" of layers.3; among: of members that are lists, "layers..0" of layers.3.0. NULL: no member */
static const char *list_of(mp_arena *a, const mp_instance *m, bool among) {
  size_t n = list_length(m->path);
  if (!among) return n ? mp_strndup(a, m->path, n) : m->turn > 0 ? m->path : NULL;
  const char *outer = n ? mp_strndup(a, m->path, n) : "";
  size_t k = list_length(outer);
  return k ? mp_format(a, "%.*s.%s", (int)k, outer, m->path + n) : NULL;
}

/* the latest composite member of each kind that a list has: attention and feed-forward take turns in some */
#define KINDS 4
typedef struct kinds {
  uint32_t member[KINDS], count;
} kinds;

/* Members of one list that are alike are a family; those that are in one already keep it. -> families so far */
static int32_t join(mp_arena *a, mp_instance *all, uint32_t count, const mp_call *calls, bool among, int32_t families) {
  mp_names *lists = mp_names_new(a, 16);
  MP_VEC(kinds) of_list = {0};
  for (uint32_t i = 1; i < count; i++) {
    const char *list = all[i].block < 0 ? list_of(a, &all[i], among) : NULL;
    if (!list || !is_composite(all, count, i)) continue;
    bool fresh;
    uint32_t id = mp_names_add(a, lists, list, strlen(list), &fresh), k = 0;
    if (fresh) *mp_push(a, &of_list) = (kinds){0};
    kinds *own = &of_list.at[id];
    while (k < own->count && !alike(all, count, calls, own->member[k], i)) k++;
    if (k < own->count) {
      mp_instance *before = &all[own->member[k]];
      if (before->block < 0) before->block = families++;
      all[i].block = before->block;
    }
    if (k == KINDS) k = 0; /* of more kinds the first is given up */
    own->member[k] = i;
    if (k == own->count) own->count++;
  }
  return families;
}

void mp_find_blocks(mp_arena *a, mp_instance *instances, uint32_t instance_count, const mp_call *calls) {
  for (uint32_t i = 0; i < instance_count; i++) instances[i].block = -1;
  int32_t families = join(a, instances, instance_count, calls, false, 0);
  keep_outermost(a, instances, instance_count, join(a, instances, instance_count, calls, true, families));
}
