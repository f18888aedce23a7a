/* The modules of a program from the scopes in node names: "/encoder/layer.0/attn/MatMul". */
#include <string.h>

#include "planner/recover.h"

size_t mp_r_scope_length(const mp_node *n) {
  const char *end = strrchr(n->name, '/');
  return end ? (size_t)(end - n->name) : 0;
}

bool mp_r_same_scope(const mp_rec *r, int32_t node, int32_t other) {
  const mp_node *a = mp_r_node(r, node), *b = mp_r_node(r, other);
  size_t n = mp_r_scope_length(a);
  return n == mp_r_scope_length(b) && !strncmp(a->name, b->name, n);
}

static bool has_parameters(const mp_rec *r, const char *path, size_t len) {
  for (uint32_t v = 0; v < r->g->value_count; v++) {
    const mp_value *x = &r->g->values[v];
    if (x->kind == MP_VALUE_INITIALIZER && !strncmp(x->name, path, len) && x->name[len] == '.') return true;
  }
  return false;
}

/* The exporter names a module's second run "relu_1". [name, name + len) is a scope whose last part may be such a name: -> the length without the
 * number. */
static size_t without_turn(const mp_rec *r, const char *name, size_t len, const char *path, size_t path_len) {
  size_t n = len;
  while (n > 0 && name[n - 1] >= '0' && name[n - 1] <= '9') n--;
  if (n == len || n < 2 || name[n - 1] != '_' || mp_names_find(r->scopes, name, n - 1) == UINT32_MAX) return len;
  return has_parameters(r, path, path_len) ? len : n - 1;
}

/* the container of the outermost module, whose name begins at `part`; NULL */
static const char *home_of(const mp_rec *r, const char *part, const char *end) {
  if (!r->homes || end <= part) return NULL; /* "/Relu" is in no module */
  const char *stop = memchr(part, '/', (size_t)(end - part));
  if (stop) end = stop;
  uint32_t id = mp_names_find(r->tops, part, (size_t)(end - part));
  return id != UINT32_MAX && *r->homes[id] ? r->homes[id] : NULL;
}

/* The modules around a node, outermost first: "/fn/fn.0/relu_1" -> "fn", "fn.0", "fn.0.relu". A child of a Sequential repeats its parent's name, a
 * second run has a number. raw: where each one's scope ends in the node's name. */
static uint32_t modules_of(mp_rec *r, const mp_node *n, const char **paths, size_t *raw, uint32_t max) {
  if (n->name[0] != '/') return 0;
  const char *end = n->name + mp_r_scope_length(n), *prev = NULL;
  size_t prev_len = 0, len = 0;
  uint32_t count = 0;
  const char *home = home_of(r, n->name + 1, end);
  size_t home_len = home ? strlen(home) : 0;
  char *path = mp_alloc(r->a, (size_t)(end - n->name) + home_len + 3);
  memcpy(path, home ? home : "", home_len);
  len = home_len;
  for (const char *p = n->name; p < end && count < max;) {
    const char *part = p + 1, *stop = memchr(part, '/', (size_t)(end - part));
    if (!stop) stop = end;
    size_t size = (size_t)(stop - part);
    if (prev && size > prev_len && !strncmp(part, prev, prev_len) && part[prev_len] == '.')
      len -= prev_len;
    else if (len)
      path[len++] = '.';
    memcpy(path + len, part, size);
    len += size;
    prev_len = size;
    size_t scope = (size_t)(stop - n->name), kept = without_turn(r, n->name, scope, path, len);
    if (kept < scope && kept > (size_t)(part - n->name)) {
      len -= scope - kept;
      prev_len -= scope - kept;
    }
    paths[count] = mp_strndup(r->a, path, len);
    raw[count++] = scope;
    prev = part;
    p = stop;
  }
  return count;
}

enum { MAX_DEPTH = 32 };

/* What a node of module `path` says of the outermost one's container by reading an initializer: NULL nothing, "" that there is none. */
static const char *told_by(mp_rec *r, const char *initializer, const char *path, const char *top) {
  const char *dot = strrchr(initializer, '.');
  size_t n = dot ? (size_t)(dot - initializer) : 0, m = strlen(path), t = strlen(top);
  if (!strncmp(initializer, top, t) && initializer[t] == '.') return "";
  if (n <= m + 1 || strncmp(initializer + n - m, path, m) != 0 || initializer[n - m - 1] != '.') return NULL;
  return mp_strndup(r->a, initializer, n - m - 1);
}

/* self.transformer = nn.ModuleDict(...): no scope names the container, but the weights do: /h.0/fc/MatMul reads transformer.h.0.fc.weight. */
static void find_homes(mp_rec *r) {
  MP_VEC(const char *) homes = {0};
  r->tops = mp_names_new(r->a, 16);
  for (uint32_t i = 0; i < r->g->node_count; i++) {
    const mp_node *n = &r->g->nodes[i];
    const char *paths[MAX_DEPTH], *told = NULL;
    size_t raw[MAX_DEPTH];
    uint32_t count = 0;
    for (uint32_t k = 0; k < n->ins; k++) {
      const mp_value *v = n->in[k] < 0 ? NULL : &r->g->values[n->in[k]];
      if (!v || v->kind != MP_VALUE_INITIALIZER || (!count && !(count = modules_of(r, n, paths, raw, MAX_DEPTH)))) continue;
      told = told_by(r, v->name, paths[count - 1], paths[0]);
      if (!told) continue;
      bool fresh = false;
      uint32_t id = mp_names_add(r->a, r->tops, paths[0], strlen(paths[0]), &fresh);
      if (fresh) *mp_push(r->a, &homes) = told;
      if (strcmp(homes.at[id], told) != 0) homes.at[id] = ""; /* they differ */
    }
  }
  r->homes = homes.at;
}

/* every "/a", "/a/b" of the nodes' names */
void mp_r_find_scopes(mp_rec *r) {
  r->scopes = mp_names_new(r->a, 64);
  for (uint32_t i = 0; i < r->g->node_count; i++) {
    const mp_node *n = &r->g->nodes[i];
    size_t end = mp_r_scope_length(n);
    bool fresh = n->name[0] == '/';
    r->slashed |= fresh;
    while (fresh && end > 0) {
      mp_names_add(r->a, r->scopes, n->name, end, &fresh);
      while (end > 0 && n->name[--end] != '/') {
      }
    }
  }
  find_homes(r);
}

const char *mp_r_module_path(mp_rec *r, int32_t node) {
  const char *paths[MAX_DEPTH];
  size_t raw[MAX_DEPTH];
  uint32_t n = modules_of(r, mp_r_node(r, node), paths, raw, MAX_DEPTH);
  return n ? paths[n - 1] : "";
}

/* opens the modules of a node; one whose scope has another name than before has begun a new run */
void mp_r_enter(mp_rec *r, int32_t node) {
  const char *paths[MAX_DEPTH], *name = mp_r_node(r, node)->name;
  size_t raw[MAX_DEPTH];
  if (name[0] != '/') return;
  uint32_t n = modules_of(r, mp_r_node(r, node), paths, raw, MAX_DEPTH);
  size_t last = r->scope ? (size_t)(strrchr(r->scope, '/') - r->scope) : 0;
  for (uint32_t i = 0; i < n && r->scope; i++)
    if (raw[i] > last || strncmp(r->scope, name, raw[i]) != 0 || r->scope[raw[i]] != '/') {
      mp_builder_leave(r->b, paths[i]);
      break;
    }
  r->module = n ? mp_builder_modules(r->b, paths, NULL, n) : mp_builder_module(r->b, "", NULL);
  r->path = n ? paths[n - 1] : "";
  r->scope = name;
}
