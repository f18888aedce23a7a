/* The program's builder, which both recoverers and the edits use, and the stage that tries them in turn.
 *
 * Module instances nest as calls do: the builder keeps the path of modules that are open now. Asking for a path closes what is not around it, so a
 * module that runs again after its caller went on is a new turn of it. */
#include <stdio.h>
#include <string.h>

#include "planner/inside.h"

struct mp_builder {
  mp_arena *arena;
  const mp_graph *graph;
  MP_VEC(mp_var) vars;
  MP_VEC(mp_call) calls;
  MP_VEC(mp_instance) instances;
  MP_VEC(int32_t) open; /* instances from the whole model inwards */
  MP_VEC(const char *) warnings;
  MP_VEC(mp_call_row *) unknown; /* rows for names that no table has */
  mp_names *paths;
  MP_VEC(uint32_t) turns; /* of each path so far */
};

/* ---- arguments ---- */

mp_arg mp_arg_ints(mp_arena *a, const int64_t *ints, uint32_t n) {
  int64_t *copy = mp_alloc_array(a, n, sizeof *copy);
  if (n) memcpy(copy, ints, n * sizeof *copy);
  return (mp_arg){.kind = MP_ARG_INTS, .n = n, .as.ints = copy};
}

mp_arg mp_arg_vars(mp_arena *a, const int32_t *vars, uint32_t n) {
  int32_t *copy = mp_alloc_array(a, n, sizeof *copy);
  if (n) memcpy(copy, vars, n * sizeof *copy);
  return (mp_arg){.kind = MP_ARG_VARS, .n = n, .as.vars = copy};
}

/* ---- module instances ---- */

static int32_t add_instance(mp_builder *b, const char *path, size_t len, const char *type) {
  bool fresh;
  uint32_t id = mp_names_add(b->arena, b->paths, path, len, &fresh);
  if (fresh) *mp_push(b->arena, &b->turns) = 0;
  mp_instance *i = mp_push(b->arena, &b->instances);
  *i = (mp_instance){.path = mp_names_text(b->paths, id),
                     .type = type ? mp_strdup(b->arena, type) : NULL,
                     .parent = b->open.n ? b->open.at[b->open.n - 1] : -1,
                     .turn = b->turns.at[id]++,
                     .first = (uint32_t)b->calls.n,
                     .end = (uint32_t)b->calls.n,
                     .block = -1};
  int32_t number = (int32_t)(b->instances.n - 1);
  *mp_push(b->arena, &b->open) = number;
  return number;
}

/* does the module `outer` contain `path`, or is it the same */
static bool within(const char *outer, const char *path) {
  size_t n = strlen(outer);
  return !n || (!strncmp(outer, path, n) && (path[n] == '.' || !path[n]));
}

static bool starts_with_number(const char *s) { return *s >= '0' && *s <= '9'; }

int32_t mp_builder_module(mp_builder *b, const char *path, const char *type) {
  while (b->open.n > 1 && !within(b->instances.at[b->open.at[b->open.n - 1]].path, path)) b->open.n--;
  int32_t top = b->open.at[b->open.n - 1];
  mp_instance *inner = &b->instances.at[top];
  size_t n = strlen(inner->path);
  if (!strcmp(inner->path, path)) {
    if (type && !inner->type) inner->type = mp_strdup(b->arena, type);
    return top;
  }
  for (const char *p = path + (n ? n + 1 : 0); (p = strchr(p, '.')); p++)
    if (!starts_with_number(p + 1)) add_instance(b, path, (size_t)(p - path), NULL);
  return add_instance(b, path, strlen(path), type);
}

int32_t mp_builder_modules(mp_builder *b, const char *const *paths, const char *const *types, uint32_t n) {
  if (!n) return mp_builder_module(b, "", NULL);
  while (b->open.n > 1 && !within(b->instances.at[b->open.at[b->open.n - 1]].path, paths[n - 1])) b->open.n--;
  for (uint32_t i = 0; i < n; i++) {
    bool is_open = false;
    for (size_t k = 1; k < b->open.n && !is_open; k++) is_open = !strcmp(b->instances.at[b->open.at[k]].path, paths[i]);
    if (!is_open) mp_builder_module(b, paths[i], types ? types[i] : NULL);
  }
  return mp_builder_module(b, paths[n - 1], types ? types[n - 1] : NULL);
}

void mp_builder_leave(mp_builder *b, const char *path) {
  for (size_t i = 1; i < b->open.n; i++)
    if (!strcmp(b->instances.at[b->open.at[i]].path, path)) b->open.n = i;
}

static void fix_ranges(mp_builder *b) {
  for (size_t i = 0; i < b->instances.n; i++) b->instances.at[i].first = UINT32_MAX;
  for (uint32_t c = 0; c < b->calls.n; c++)
    for (int32_t m = b->calls.at[c].module; m >= 0; m = b->instances.at[m].parent) {
      mp_instance *i = &b->instances.at[m];
      if (i->first > c) i->first = c;
      i->end = c + 1;
    }
  for (size_t i = b->instances.n; i-- > 0;) { /* modules that call nothing */
    mp_instance *m = &b->instances.at[i];
    if (m->end > b->calls.n) m->end = (uint32_t)b->calls.n;
    if (m->first == UINT32_MAX) m->first = m->end;
  }
  b->instances.at[0].first = 0;
  b->instances.at[0].end = (uint32_t)b->calls.n;
}

/* ---- the builder ---- */

mp_builder *mp_builder_new(mp_arena *a, const mp_graph *g) {
  mp_builder *b = mp_alloc(a, sizeof *b);
  b->arena = a;
  b->graph = g;
  b->paths = mp_names_new(a, 64);
  add_instance(b, "", 0, NULL);
  return b;
}

mp_arena *mp_builder_arena(mp_builder *b) { return b->arena; }
const mp_graph *mp_builder_graph(mp_builder *b) { return b->graph; }
mp_var *mp_builder_at(mp_builder *b, int32_t var) { return &b->vars.at[var]; }
int32_t mp_builder_var_count(mp_builder *b) { return (int32_t)b->vars.n; }
mp_call *mp_builder_call_at(mp_builder *b, uint32_t call) { return &b->calls.at[call]; }
uint32_t mp_builder_call_count(mp_builder *b) { return (uint32_t)b->calls.n; }
const mp_instance *mp_builder_instance(mp_builder *b, int32_t module) { return &b->instances.at[module]; }

int32_t mp_builder_var(mp_builder *b, mp_role role, const char *name, mp_dtype t, int rank, const int64_t *dims, int32_t value) {
  if (rank > MP_RANK)
    mp_fail(b->arena, MP_BAD_INPUT, "%s: '%s' has %d dimensions, and a tensor on a device has at most %d",
            b->graph && b->graph->path ? b->graph->path : "program", name, rank, MP_RANK);
  mp_var *v = mp_push(b->arena, &b->vars);
  *v = (mp_var){.name = mp_strdup(b->arena, name), .dtype = t, .role = role, .rank = rank, .call = -1, .slot = -1, .value = value, .tied = -1};
  uint64_t n = 1;
  for (int i = 0; i < rank; i++) {
    v->dims[i] = dims[i];
    if (dims[i] > 0 && (!mp_mul_u64(n, (uint64_t)dims[i], &n) || n >= MP_MOST_ELEMENTS))
      mp_fail(b->arena, MP_BAD_INPUT, "%s: '%s' has more than 2^56 elements; check the dimensions given with --dim", b->graph && b->graph->path ? b->graph->path : "program", name);
  }
  return (int32_t)(b->vars.n - 1);
}

static const mp_call_row *row_of(mp_builder *b, const char *name) {
  const mp_call_row *known = mp_call_find(name);
  if (known) return known;
  for (size_t i = 0; i < b->unknown.n; i++)
    if (!strcmp(b->unknown.at[i]->name, name)) return b->unknown.at[i];
  mp_call_row *row = mp_alloc(b->arena, sizeof *row);
  row->name = mp_strdup(b->arena, name);
  row->forward = mp_call_unknown;
  return *mp_push(b->arena, &b->unknown) = row;
}

static void *copy_of(mp_arena *a, const void *from, size_t n, size_t size) {
  void *to = mp_alloc_array(a, n, size);
  if (n) memcpy(to, from, n * size);
  return to;
}

uint32_t mp_builder_call(mp_builder *b, const char *name, const mp_arg *args, uint32_t n, const int32_t *outs, uint32_t outs_n, int32_t module,
                         const int32_t *nodes, uint32_t node_count) {
  const mp_call_row *row = row_of(b, name);
  uint32_t number = (uint32_t)b->calls.n;
  mp_call *c = mp_push(b->arena, &b->calls);
  *c = (mp_call){.row = row,
                 .args = copy_of(b->arena, args, n, sizeof *args),
                 .outs = copy_of(b->arena, outs, outs_n, sizeof *outs),
                 .nodes = copy_of(b->arena, nodes, node_count, sizeof *nodes),
                 .arg_count = n,
                 .out_count = outs_n,
                 .node_count = node_count,
                 .module = module};
  for (uint32_t i = 0; i < node_count; i++) {
    const mp_node *node = &b->graph->nodes[nodes[i]];
    if (!mp_add_u64(c->macs, node->macs, &c->macs) || !mp_add_u64(c->flops, node->flops, &c->flops))
      mp_fail(b->arena, MP_BAD_INPUT, "%s: the arithmetic of %s is beyond 64 bits", b->graph->path, name);
  }
  for (uint32_t i = 0; i < outs_n; i++)
    if (outs[i] >= 0) {
      b->vars.at[outs[i]].call = (int32_t)number;
      b->vars.at[outs[i]].slot = (int32_t)i;
    }
  return number;
}

void mp_builder_count_product(mp_builder *b, uint32_t call, int64_t rows, int64_t in, int64_t out) {
  mp_call *c = &b->calls.at[call];
  uint64_t n;
  if (!mp_mul_u64((uint64_t)rows, (uint64_t)in, &n) || !mp_mul_u64(n, (uint64_t)out, &c->macs) || !mp_mul_u64(c->macs, 2, &c->flops))
    mp_fail(b->arena, MP_BAD_INPUT, "%s: the arithmetic of %s is beyond 64 bits", b->graph ? b->graph->path : "", c->row->name);
}

void mp_builder_remove(mp_builder *b, const bool *dead) {
  uint32_t kept = 0;
  for (uint32_t c = 0; c < b->calls.n; c++) {
    const mp_call call = b->calls.at[c];
    for (uint32_t i = 0; i < call.out_count; i++)
      if (call.outs[i] >= 0) b->vars.at[call.outs[i]].call = dead[c] ? -1 : (int32_t)kept;
    if (!dead[c]) b->calls.at[kept++] = call;
  }
  b->calls.n = kept;
}

static void renumber(mp_builder *b, uint32_t from, uint32_t end) {
  for (uint32_t c = from; c < end; c++)
    for (uint32_t i = 0; i < b->calls.at[c].out_count; i++)
      if (b->calls.at[c].outs[i] >= 0) b->vars.at[b->calls.at[c].outs[i]].call = (int32_t)c;
}

void mp_builder_move(mp_builder *b, uint32_t from, uint32_t to, int32_t module) {
  mp_call c = b->calls.at[from];
  c.module = module;
  if (to) c.stack = b->calls.at[to - 1].stack; /* its frames are those of what it now follows */
  memmove(&b->calls.at[to + 1], &b->calls.at[to], (from - to) * sizeof c);
  b->calls.at[to] = c;
  renumber(b, to, from + 1);
}

void mp_builder_insert(mp_builder *b, uint32_t at, const char *name, const mp_arg *args, uint32_t n, int32_t out) {
  int32_t module = b->calls.at[at - 1].module;
  mp_builder_call(b, name, args, n, &out, 1, module, NULL, 0);
  mp_call made = b->calls.at[b->calls.n - 1];
  made.source = b->calls.at[at - 1].source;
  made.stack = b->calls.at[at - 1].stack;
  memmove(&b->calls.at[at + 1], &b->calls.at[at], (b->calls.n - 1 - at) * sizeof made);
  b->calls.at[at] = made;
  renumber(b, at, (uint32_t)b->calls.n);
}

static int32_t instead_of(int32_t v, const int32_t *instead, int32_t count) { return v >= 0 && v < count && instead[v] ? instead[v] : v; }

void mp_builder_reread(mp_builder *b, uint32_t call, const int32_t *instead, int32_t count) {
  mp_call *c = &b->calls.at[call];
  bool any = false;
  for (uint32_t i = 0; i < c->arg_count && !any; i++) {
    any = c->args[i].kind == MP_ARG_VAR && instead_of(c->args[i].as.var, instead, count) != c->args[i].as.var;
    for (uint32_t k = 0; c->args[i].kind == MP_ARG_VARS && k < c->args[i].n; k++) any |= instead_of(c->args[i].as.vars[k], instead, count) != c->args[i].as.vars[k];
  }
  if (!any) return;
  mp_arg *args = memcpy(mp_alloc_array(b->arena, c->arg_count, sizeof *args), c->args, c->arg_count * sizeof *args);
  for (uint32_t i = 0; i < c->arg_count; i++) {
    if (args[i].kind == MP_ARG_VAR) args[i] = mp_arg_var(instead_of(args[i].as.var, instead, count));
    if (args[i].kind != MP_ARG_VARS) continue;
    int32_t *list = mp_alloc_array(b->arena, args[i].n, sizeof *list);
    for (uint32_t k = 0; k < args[i].n; k++) list[k] = instead_of(args[i].as.vars[k], instead, count);
    args[i] = mp_arg_vars(b->arena, list, args[i].n);
  }
  c->args = args;
}

void mp_builder_warn(mp_builder *b, const char *fmt, ...) {
  char line[768];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  for (size_t i = 0; i < b->warnings.n; i++)
    if (!strcmp(b->warnings.at[i], line)) return; /* once is enough */
  *mp_push(b->arena, &b->warnings) = mp_strdup(b->arena, line);
}

static void warn_unknown(mp_builder *b) {
  if (!b->unknown.n) return;
  mp_text t = {0};
  for (size_t i = 0; i < b->unknown.n; i++) mp_text_add(b->arena, &t, "%s%s", i ? ", " : "", b->unknown.at[i]->name);
  mp_builder_warn(b, "no rule for %zu call%s (%s): taken to make fresh results and to keep their operands", b->unknown.n, b->unknown.n > 1 ? "s" : "",
                  t.at);
}

const mp_program *mp_builder_finish(mp_builder *b, const int32_t *inputs, uint32_t input_count, const int32_t *outputs, uint32_t output_count,
                                    const char *exporter, bool training) {
  mp_program *p = mp_alloc(b->arena, sizeof *p);
  for (uint32_t i = 0; i < output_count; i++) b->vars.at[outputs[i]].is_output = true;
  fix_ranges(b);
  warn_unknown(b);
  mp_lifetimes(b->arena, b->vars.at, (uint32_t)b->vars.n, b->calls.at, (uint32_t)b->calls.n, b->instances.at, (uint32_t)b->instances.n);
  mp_find_blocks(b->arena, b->instances.at, (uint32_t)b->instances.n, b->calls.at);
  *p = (mp_program){.path = b->graph ? b->graph->path : "",
                    .graph = b->graph,
                    .calls = b->calls.at,
                    .vars = b->vars.at,
                    .instances = b->instances.at,
                    .inputs = copy_of(b->arena, inputs, input_count, sizeof *inputs),
                    .outputs = copy_of(b->arena, outputs, output_count, sizeof *outputs),
                    .call_count = (uint32_t)b->calls.n,
                    .var_count = (uint32_t)b->vars.n,
                    .instance_count = (uint32_t)b->instances.n,
                    .input_count = input_count,
                    .output_count = output_count,
                    .exporter = exporter,
                    .training = training,
                    .warnings = b->warnings.at,
                    .warning_count = (uint32_t)b->warnings.n};
  return p;
}

/* ---- the stage ---- */

static const void *recover(mp_arena *a, void *arg) {
  const mp_graph *g = arg;
  const char *open = mp_graph_open_dim(g);
  if (open) mp_fail(a, MP_BAD_INPUT, "%s: dimension '%s' is open; add --dim %s=512", g->path, open, open);
  const char *unsound = NULL;
  g = mp_graph_decided(a, g);
  const mp_program *p = mp_recover_fx(a, g, &unsound);
  return p ? p : mp_recover_ts(a, g, unsound);
}

const mp_program *mp_program_recover(mp_arena *a, const mp_graph *g, mp_err *err) {
  return g ? mp_protect(a, err, recover, (void *)(uintptr_t)g) : NULL;
}
