/* program -> program: the loss, the dropout, the LoRA adapters and the attention kernel that the run asks for and the file lacks.
 *
 * An inference export ends in logits and has no dropout. A loss is put behind them, its labels become one more input. Dropout goes where a
 * transformer block has it: after the embeddings' sum, on attention probabilities, and on what a projection adds to the residual stream. Everything
 * that is assumed is a warning. */
#include <string.h>

#include "planner/fuse.h"
#include "planner/outputs.h"
#include "planner/reading.h"

typedef struct edit {
  mp_arena *a;
  const mp_program *p;
  const mp_run *run;
  mp_builder *b;
  uint32_t *reads; /* of each old variable */
  bool *drop;      /* old variables that dropout follows */
  int32_t *now;    /* what readers of an old variable read */
  int32_t module;  /* old instance that calls go to now */
  uint32_t dropped;
  bool copies; /* the file shows where dropout was */
  const mp_fusion *fusion; /* attention that is written out becomes one call; NULL: it stays */
  bool *table;          /* of each old variable: embeddings look it up */
  const mp_var *tokens; /* the table of tokens, NULL */
  uint8_t *cached; /* of each old variable: keys or values that the model returns, CACHED until it did */
  MP_VEC(int32_t) inputs;
  MP_VEC(int32_t) outputs;
} edit;

typedef struct request {
  const mp_program *p;
  const mp_run *run;
} request;

static const mp_var *var_at(const edit *e, int32_t v) { return &e->p->vars[v]; }
static const mp_call *maker(const edit *e, int32_t v) { return v < 0 || var_at(e, v)->call < 0 ? NULL : &e->p->calls[var_at(e, v)->call]; }

static bool view(const mp_call *c) {
  return mp_call_is(c, "aten::reshape") || mp_call_is(c, "aten::view") || mp_call_is(c, "aten::_unsafe_view") || mp_call_is(c, "aten::transpose") || mp_call_is(c, "aten::contiguous") ||
         mp_call_is(c, "aten::clone");
}

static void count_reads(edit *e) {
  e->reads = mp_alloc_array(e->a, e->p->var_count, sizeof *e->reads);
  for (uint32_t c = 0; c < e->p->call_count; c++) {
    const mp_call *call = &e->p->calls[c];
    for (uint32_t i = 0; i < call->arg_count; i++) {
      if (call->args[i].kind == MP_ARG_VAR) e->reads[call->args[i].as.var]++;
      for (uint32_t k = 0; call->args[i].kind == MP_ARG_VARS && k < call->args[i].n; k++)
        if (call->args[i].as.vars[k] >= 0) e->reads[call->args[i].as.vars[k]]++;
    }
  }
}

/* ---- where dropout goes ---- */

static bool same_dims(const edit *e, int32_t a, int32_t b) {
  const mp_var *x = var_at(e, a), *y = var_at(e, b);
  if (x->rank != y->rank) return false;
  for (int i = 0; i < x->rank; i++)
    if (x->dims[i] != y->dims[i]) return false;
  return true;
}

/* does v follow from embeddings (and positions) alone, by sums, scales and norms */
static bool embedded(const edit *e, int32_t v) {
  const mp_call *m = maker(e, v);
  if (mp_call_is(m, "aten::embedding")) return true;
  if (mp_call_is(m, "aten::layer_norm")) return embedded(e, mp_call_operand(m, 0)) && e->reads[mp_call_operand(m, 0)] == 1;
  if (!mp_call_is(m, "aten::add") && !mp_call_is(m, "aten::mul")) return false;
  int32_t a = mp_call_operand(m, 0), b = mp_call_operand(m, 1);
  if (a < 0 || e->reads[a] != 1 || !embedded(e, a)) return false;
  return b < 0 || var_at(e, b)->role != MP_ROLE_RESULT || (e->reads[b] == 1 && embedded(e, b)) || var_at(e, b)->rank < 3;
}

static bool acts(const mp_call *c) { return c->arg_count < 3 || c->args[2].kind != MP_ARG_BOOL || c->args[2].as.b; }

/* A dropout that does not act is one of an inference export. The dynamo exporter writes it as a copy. A copy of what is contiguous already is none
 * that a program asks for: it is a dropout. */
static bool inert_copy(const edit *e, const mp_call *c) {
  static const char *const strided[] = {"aten::transpose",
                                        "aten::permute",
                                        "aten::t",
                                        "aten::expand",
                                        "aten::slice",
                                        "aten::select",
                                        "aten::split",
                                        "aten::split_with_sizes",
                                        "aten::chunk",
                                        "aten::unbind",
                                        "aten::scaled_dot_product_attention",
                                        "aten::unfold"};
  if (mp_call_is(c, "aten::dropout")) return !acts(c);
  if (strcmp(e->p->exporter, "dynamo") != 0 || (!mp_call_is(c, "aten::contiguous") && !mp_call_is(c, "aten::clone"))) return false;
  const mp_call *m = maker(e, mp_call_operand(c, 0));
  while (mp_call_is(m, "aten::view") || mp_call_is(m, "aten::unsqueeze") || mp_call_is(m, "aten::squeeze")) m = maker(e, mp_call_operand(m, 0));
  for (size_t i = 0; i < sizeof strided / sizeof *strided; i++)
    if (mp_call_is(m, strided[i])) return false;
  return m && c->out_count == 1 && c->outs[0] >= 0 && mp_dtype_is_float(var_at(e, c->outs[0])->dtype);
}

/* a projection's result, through views that nobody else reads; not where its dropout shows */
static bool projected(const edit *e, int32_t v) {
  for (int step = 0; step < 6; step++) {
    const mp_call *m = maker(e, v);
    if (!m || e->reads[v] != 1 || inert_copy(e, m)) return false;
    if (mp_call_is(m, "aten::linear") || mp_call_is(m, "aten::addmm")) return true;
    if (!view(m)) return false;
    v = mp_call_operand(m, 0);
  }
  return false;
}

/* Attention's probabilities, before views and behind a cast, where a product with the values reads them; else -1. */
static int32_t probabilities(const edit *e, const mp_call *product) {
  bool sums = mp_call_is(product, "aten::einsum") && product->arg_count > 1 && product->args[1].kind == MP_ARG_VARS && product->args[1].n == 2;
  if (!sums && !mp_call_is(product, "aten::matmul") && !mp_call_is(product, "aten::bmm")) return -1;
  int32_t a = sums ? product->args[1].as.vars[0] : mp_call_operand(product, 0), b = sums ? product->args[1].as.vars[1] : mp_call_operand(product, 1);
  if (a < 0 || b < 0 || var_at(e, b)->role != MP_ROLE_RESULT) return -1;
  while (maker(e, a) && view(maker(e, a)) && e->reads[a] == 1 && mp_call_operand(maker(e, a), 0) >= 0) a = mp_call_operand(maker(e, a), 0);
  const mp_call *m = maker(e, a);
  if (mp_call_is(m, "aten::to") || mp_call_is(m, "aten::type_as") || mp_call_is(m, "aten::_to_copy")) m = maker(e, mp_call_operand(m, 0));
  return mp_call_is(m, "aten::softmax") ? a : -1;
}

/* -> how many; their calls are copied as dropouts */
static uint32_t find_inert_copies(edit *e) {
  uint32_t n = 0;
  for (uint32_t c = 0; c < e->p->call_count; c++) n += inert_copy(e, &e->p->calls[c]);
  return n;
}

static void place_dropout(edit *e) {
  const mp_program *p = e->p;
  e->dropped = find_inert_copies(e);
  e->copies = e->dropped > 0;
  for (uint32_t c = 0; c < p->call_count && !e->copies; c++) { /* a file that shows one shows all */
    const mp_call *call = &p->calls[c];
    int32_t a = mp_call_operand(call, 0), b = mp_call_operand(call, 1), out = call->out_count ? call->outs[0] : -1, attended = probabilities(e, call);
    if (mp_call_is(call, "aten::add") && a >= 0 && b >= 0 && var_at(e, a)->rank == 3 && same_dims(e, a, b)) {
      if (projected(e, a)) e->drop[a] = true;
      if (projected(e, b)) e->drop[b] = true;
    } else if (attended >= 0) {
      e->drop[attended] = true;
    } else if (out >= 0 && e->reads[out] > 1 && var_at(e, out)->rank == 3 && embedded(e, out)) {
      e->drop[out] = true;
    }
  }
}

static bool has_dropout(const mp_program *p) {
  for (uint32_t c = 0; c < p->call_count; c++) {
    const mp_call *call = &p->calls[c];
    if ((mp_call_is(call, "aten::dropout") || mp_call_is(call, "aten::native_dropout")) && acts(call)) return true;
    if (mp_call_is(call, "aten::scaled_dot_product_attention") && call->arg_count > 4 && call->args[4].kind == MP_ARG_FLOAT && call->args[4].as.f > 0)
      return true;
  }
  return false;
}

/* ---- copying ---- */

/* opens the module instance that old calls of `instance` belong to */
static int32_t enter(edit *e, int32_t instance) {
  const char *paths[64], *types[64];
  uint32_t n = 0;
  const mp_instance *at = e->p->instances;
  for (int32_t m = instance; m > 0 && n < 64; m = at[m].parent) n++;
  uint32_t k = n;
  for (int32_t m = instance; m > 0 && k > 0; m = at[m].parent) {
    paths[--k] = at[m].path;
    types[k] = at[m].type;
  }
  for (int32_t m = instance; m > 0; m = at[m].parent) { /* another run of a module that is open */
    for (int32_t o = e->module; o > 0; o = at[o].parent)
      if (o != m && !strcmp(at[o].path, at[m].path)) mp_builder_leave(e->b, at[m].path);
  }
  e->module = instance;
  return n ? mp_builder_modules(e->b, paths, types, n) : mp_builder_module(e->b, "", NULL);
}

static mp_arg renamed(edit *e, mp_arg a) {
  if (a.kind == MP_ARG_VAR) a.as.var = e->now[a.as.var];
  if (a.kind == MP_ARG_VARS) {
    int32_t *list = mp_alloc_array(e->a, a.n, sizeof *list);
    for (uint32_t i = 0; i < a.n; i++) list[i] = a.as.vars[i] < 0 ? -1 : e->now[a.as.vars[i]];
    a.as.vars = list;
  }
  return a;
}

static int32_t like(edit *e, int32_t v, const char *name) {
  const mp_var x = *mp_builder_at(e->b, v);
  return mp_builder_var(e->b, MP_ROLE_RESULT, name, x.dtype, x.rank, x.dims, -1);
}

/* a new call with one result */
static int32_t call(edit *e, int32_t module, const char *name, const mp_arg *args, uint32_t n, int32_t out) {
  mp_builder_call(e->b, name, args, n, &out, 1, module, NULL, 0);
  return out;
}

static void add_dropout(edit *e, int32_t old, int32_t instance) {
  int32_t parent = e->p->instances[instance].parent;
  int32_t module = enter(e, parent > 0 && !mp_call_is(maker(e, old), "aten::softmax") ? parent : instance);
  mp_arg args[] = {mp_arg_var(e->now[old]), mp_arg_float(e->run->dropout), mp_arg_bool(true)};
  e->now[old] = call(e, module, "aten::dropout", args, 3, like(e, e->now[old], "dropout"));
  e->dropped++;
}

/* ---- LoRA (Hu et al. 2021; the form of peft): y = linear(x, W) + scale * linear(linear(x, A), B), W frozen ---- */

/* Does the embedding look up what the model is given (tokens), and not what it counts (positions)? */
static bool of_input(const edit *e, const mp_call *c) {
  int32_t x = mp_call_operand(c, 1);
  while (x >= 0 && maker(e, x)) x = mp_call_operand(maker(e, x), 0);
  return x >= 0 && var_at(e, x)->role == MP_ROLE_INPUT;
}

/* notes the tables that embeddings look up, and the longest that an input looks up: that of the tokens */
static void find_tables(edit *e) {
  e->table = mp_alloc_array(e->a, e->p->var_count + 1, sizeof *e->table);
  for (uint32_t c = 0; c < e->p->call_count; c++) {
    int32_t t = mp_call_is(&e->p->calls[c], "aten::embedding") ? mp_call_operand(&e->p->calls[c], 0) : -1;
    if (t < 0) continue;
    e->table[t] = true;
    if (of_input(e, &e->p->calls[c]) && (!e->tokens || e->tokens->dims[0] < var_at(e, t)->dims[0])) e->tokens = var_at(e, t);
  }
}

/* is the matrix a table, or as large as that of the tokens: a language model's head, which is not adapted unless it is asked for */
static bool is_head(const edit *e, int32_t w) {
  const mp_var *v = var_at(e, w);
  return e->table[w] || (e->tokens && v->dims[0] == e->tokens->dims[0] && v->dims[1] == e->tokens->dims[1]);
}

/* nn.MultiheadAttention reads the weights of its layers itself: peft's adapters in their place would do nothing */
static bool is_of_attention(const edit *e, int32_t w) {
  static const char in[] = ".in_proj_weight", out[] = ".out_proj.weight";
  const char *name = var_at(e, w)->name;
  size_t n = strlen(name);
  if (n > sizeof in - 1 && !strcmp(name + n - (sizeof in - 1), in)) return true;
  if (n < sizeof out || strcmp(name + n - (sizeof out - 1), out) != 0) return false;
  n -= sizeof out - 1;
  for (uint32_t v = 0; v < e->p->var_count; v++)
    if (!strncmp(e->p->vars[v].name, name, n) && !strcmp(e->p->vars[v].name + n, in)) return true;
  return false;
}

/* The weight of a layer that gets an adapter, else -1. linear holds it as (out, in), addmm (GPT-2's Conv1D) as (in, out). */
static int32_t adapted(const edit *e, const mp_call *c, bool *turned) {
  *turned = mp_call_is(c, "aten::addmm");
  int32_t w = mp_call_operand(c, *turned ? 2 : 1);
  if (!c->out_count || c->outs[0] < 0 || !var_at(e, c->outs[0])->rank) return -1;
  if (!e->run->lora_rank || (!*turned && !mp_call_is(c, "aten::linear")) || w < 0 || var_at(e, w)->role != MP_ROLE_PARAMETER || var_at(e, w)->rank != 2)
    return -1;
  const char *glob = e->run->lora_glob, *path = e->p->instances[c->module].path;
  if (glob) return mp_glob(glob, path) || mp_glob(glob, var_at(e, w)->name) ? w : -1;
  return is_head(e, w) || is_of_attention(e, w) ? -1 : w;
}

/* the arithmetic of the product that was added last */
static void count_product(edit *e, int64_t rows, int64_t in, int64_t out) { mp_builder_count_product(e->b, mp_builder_call_count(e->b) - 1, rows, in, out); }

static void add_lora(edit *e, const mp_call *c, int32_t weight, bool turned, int32_t module) {
  const mp_var w = *mp_builder_at(e->b, e->now[weight]), y = *mp_builder_at(e->b, e->now[c->outs[0]]);
  const char *path = e->p->instances[c->module].path;
  int64_t rank = e->run->lora_rank, down[2] = {rank, w.dims[turned ? 0 : 1]}, up[2] = {w.dims[turned ? 1 : 0], rank}, inner[MP_RANK];
  int32_t a = mp_builder_var(e->b, MP_ROLE_PARAMETER, mp_format(e->a, "%s.lora_A.default.weight", path), w.dtype, 2, down, -1);
  int32_t b = mp_builder_var(e->b, MP_ROLE_PARAMETER, mp_format(e->a, "%s.lora_B.default.weight", path), w.dtype, 2, up, -1);
  memcpy(inner, y.dims, sizeof inner);
  inner[y.rank - 1] = rank;
  int64_t rows = 1;
  for (int i = 0; i + 1 < y.rank; i++) rows *= y.dims[i];
  mp_arg cast[] = {renamed(e, c->args[turned ? 1 : 0]), mp_arg_var(a)}; /* the adapter's type, which autocast narrows once more: peft/tuners/tuners_utils.py, _cast_input_dtype */
  int32_t x = call(e, module, "aten::type_as", cast, 2, like(e, cast[0].as.var, "cast"));
  mp_arg first[] = {mp_arg_var(x), mp_arg_var(a)};
  int32_t t = call(e, module, "aten::linear", first, 2, mp_builder_var(e->b, MP_ROLE_RESULT, "lora_A", y.dtype, y.rank, inner, -1));
  count_product(e, rows, down[1], rank);
  mp_arg second[] = {mp_arg_var(t), mp_arg_var(b)};
  t = call(e, module, "aten::linear", second, 2, like(e, e->now[c->outs[0]], "lora_B"));
  count_product(e, rows, rank, up[0]);
  mp_arg scale[] = {mp_arg_var(t), mp_arg_float(2.0)};
  t = call(e, module, "aten::mul", scale, 2, like(e, t, "scaled"));
  mp_arg sum[] = {mp_arg_var(e->now[c->outs[0]]), mp_arg_var(t)};
  e->now[c->outs[0]] = call(e, module, "aten::add", sum, 2, like(e, t, "adapted"));
  mp_builder_at(e->b, x)->until = (int32_t)mp_builder_call_count(e->b) - 1; /* a variable of peft's forward */
}

/* the innermost module around both the dropout and what it reads */
static int32_t common_module(const edit *e, const mp_call *c) {
  const mp_call *m = maker(e, mp_call_operand(c, 0));
  for (int32_t i = c->module; i > 0; i = e->p->instances[i].parent)
    for (int32_t k = m ? m->module : 0; k > 0; k = e->p->instances[k].parent)
      if (i == k) return i;
  return 0;
}

/* ---- the outputs that a loop holds (outputs.c) ---- */

enum { CACHED = 1, RETURNED };

static void find_cached(edit *e) {
  e->cached = mp_alloc_array(e->a, e->p->var_count + 1, sizeof *e->cached);
  if (e->run->hold_outputs < MP_HOLD_CACHE) return;
  const mp_attention_call *list;
  uint32_t n = mp_find_cached(e->a, e->p, &list);
  for (uint32_t i = 0; i < n; i++) e->cached[list[i].k] = e->cached[list[i].v] = CACHED;
}

/* Before the first call that reads them: the cache gets them, or a copy that is read from then on. */
static void hold_cached(edit *e, const mp_call *old, int32_t module) {
  for (uint32_t i = 0; i < old->arg_count; i++) {
    int32_t v = mp_call_operand(old, i);
    if (v < 0 || e->cached[v] != CACHED || var_at(e, v)->role != MP_ROLE_RESULT) continue;
    e->cached[v] = RETURNED;
    if (e->run->hold_outputs == MP_HOLD_CACHE) {
      mp_arg args[] = {mp_arg_vars(e->a, &e->now[v], 1), mp_arg_int(-2)};
      e->now[v] = call(e, module, "aten::cat", args, 2, like(e, e->now[v], "cache"));
    }
    mp_builder_at(e->b, e->now[v])->is_held = true;
  }
}

/* sdpa_attention_forward of transformers 4.48 to 4.55 copies what the kernel reads, where it has gaps. (A model that called the kernel itself, as OPT did, copied nothing; its file is the same.) */
static void without_gaps(edit *e, const mp_call *old, mp_arg *args, int32_t module) {
  if (e->run->hold_outputs != MP_HOLD_OLD_CACHE || !mp_call_is(old, "aten::scaled_dot_product_attention")) return;
  for (uint32_t i = 0; i < 3 && i < old->arg_count; i++)
    if (args[i].kind == MP_ARG_VAR) args[i] = mp_arg_var(call(e, module, "aten::contiguous", &args[i], 1, like(e, args[i].as.var, "contiguous")));
}

/* what the loss is of, the file's or the one that was added */
static void hold_logits(edit *e) {
  if (!e->run->hold_outputs || !mp_builder_call_count(e->b) || !mp_builder_var_count(e->b)) return;
  mp_program p = {.calls = mp_builder_call_at(e->b, 0), .vars = mp_builder_at(e->b, 0), .outputs = e->outputs.at, .output_count = (uint32_t)e->outputs.n};
  int32_t logits = mp_find_logits(&p);
  if (logits >= 0) mp_builder_at(e->b, logits)->is_held = true;
}

/* ---- attention that the file writes out, as the kernel's call ---- */

static int32_t turned(edit *e, int32_t v, int32_t module) { /* (..., m, n) -> (..., n, m) */
  mp_var x = *mp_builder_at(e->b, v);
  int64_t last = x.dims[x.rank - 1];
  x.dims[x.rank - 1] = x.dims[x.rank - 2];
  x.dims[x.rank - 2] = last;
  mp_arg args[] = {mp_arg_var(v), mp_arg_int(-2), mp_arg_int(-1)};
  return call(e, module, "aten::transpose", args, 3, mp_builder_var(e->b, MP_ROLE_RESULT, "key", x.dtype, x.rank, x.dims, -1));
}

/* the sum of two masks, as large as both */
static int32_t both_masks(edit *e, int32_t a, int32_t b, int32_t module) {
  mp_var x = *mp_builder_at(e->b, a), y = *mp_builder_at(e->b, b), *wide = x.rank < y.rank ? &y : &x, *other = wide == &x ? &y : &x;
  for (int i = 0; i < other->rank; i++) {
    int64_t *d = &wide->dims[wide->rank - other->rank + i];
    if (other->dims[i] > *d) *d = other->dims[i];
  }
  mp_arg args[] = {mp_arg_var(a), mp_arg_var(b)};
  return call(e, module, "aten::add", args, 2, mp_builder_var(e->b, MP_ROLE_RESULT, "attn_mask", mp_dtype_is_float(y.dtype) ? y.dtype : x.dtype, wide->rank, wide->dims, -1));
}

static void put_attention(edit *e, const mp_call *old, const mp_fused *x, int32_t module) {
  mp_arg keys[] = {mp_arg_var(x->k >= 0 ? x->k : x->kt), mp_arg_var(x->v)};
  hold_cached(e, &(mp_call){.args = keys, .arg_count = 2}, module);
  int32_t k = x->k >= 0 ? e->now[x->k] : turned(e, e->now[x->kt], module), mask = x->mask < 0 ? -1 : e->now[x->mask];
  mp_arg hidden[] = {mp_arg_var(mask)};
  if (x->hides) mask = call(e, module, "aten::logical_not", hidden, 1, like(e, mask, "attn_mask"));
  if (x->and >= 0) mask = both_masks(e, mask, e->now[x->and], module);
  double p = e->run->dropout >= 0 ? e->run->dropout : x->p;
  mp_arg args[] = {mp_arg_var(e->now[x->q]), mp_arg_var(k), mp_arg_var(e->now[x->v]), mask < 0 ? mp_arg_none() : mp_arg_var(mask), mp_arg_float(p), mp_arg_bool(x->causal), mp_arg_none(), mp_arg_bool(x->grouped)};
  without_gaps(e, &(mp_call){.row = mp_call_find("aten::scaled_dot_product_attention"), .arg_count = 8}, args, module);
  mp_call *made = mp_builder_call_at(e->b, mp_builder_call(e->b, "aten::scaled_dot_product_attention", args, 8, old->outs, 1, module, old->nodes, old->node_count));
  made->stack = old->stack;
  made->macs = x->macs;
  made->flops = x->flops;
}

static void copy_calls(edit *e) {
  const mp_program *p = e->p;
  uint32_t adapters = 0;
  for (uint32_t c = 0; c < p->call_count; c++) {
    const mp_call *old = &p->calls[c];
    if (e->fusion && e->fusion->skip[c]) continue;
    if (e->fusion && e->fusion->at[c]) {
      put_attention(e, old, e->fusion->at[c], enter(e, old->module));
      continue;
    }
    if (e->copies && old->out_count && inert_copy(e, old)) {
      int32_t at = enter(e, common_module(e, old));
      mp_arg drop[] = {renamed(e, old->args[0]), mp_arg_float(e->run->dropout), mp_arg_bool(true)};
      call(e, at, "aten::dropout", drop, 3, old->outs[0]);
      continue;
    }
    int32_t module = enter(e, old->module);
    hold_cached(e, old, module);
    mp_arg *args = mp_alloc_array(e->a, old->arg_count, sizeof *args);
    for (uint32_t i = 0; i < old->arg_count; i++) args[i] = renamed(e, old->args[i]);
    without_gaps(e, old, args, module);
    if (e->run->dropout >= 0 && old->arg_count > 4 && mp_call_is(old, "aten::scaled_dot_product_attention")) args[4] = mp_arg_float(e->run->dropout);
    if (e->run->dropout >= 0 && old->arg_count > 1 && (mp_call_is(old, "aten::dropout") || mp_call_is(old, "aten::native_dropout")))
      args[1] = mp_arg_float(e->run->dropout);
    int32_t *outs = mp_alloc_array(e->a, old->out_count, sizeof *outs);
    for (uint32_t i = 0; i < old->out_count; i++) outs[i] = old->outs[i];
    mp_call *copy = mp_builder_call_at(
        e->b, mp_builder_call(e->b, old->row->name, args, old->arg_count, outs, old->out_count, module, old->nodes, old->node_count));
    copy->in_place = old->in_place;
    copy->no_grad = old->no_grad;
    copy->source = old->source;
    copy->stack = old->stack;
    copy->macs = old->macs;
    copy->flops = old->flops;
    bool turned;
    int32_t weight = adapted(e, old, &turned);
    if (weight >= 0) {
      add_lora(e, old, weight, turned, module);
      adapters++;
    }
    for (uint32_t i = 0; i < old->out_count; i++)
      if (old->outs[i] >= 0 && e->drop[old->outs[i]]) add_dropout(e, old->outs[i], old->module);
  }
  if (e->run->lora_rank && !adapters)
    mp_fail(e->a, MP_BAD_INPUT, "%s: --lora '%s' matches no linear layer", p->path, e->run->lora_glob ? e->run->lora_glob : "*");
}

static void copy_vars(edit *e) {
  const mp_program *p = e->p;
  e->now = mp_alloc_array(e->a, p->var_count, sizeof *e->now);
  for (uint32_t i = 0; i < p->var_count; i++) {
    const mp_var *v = &p->vars[i];
    e->now[i] = mp_builder_var(e->b, v->role, v->name, v->dtype, v->rank, v->dims, v->value);
    mp_builder_at(e->b, e->now[i])->tied = v->tied;
  }
}

/* ---- the loss ---- */

static bool scalar_loss(const mp_program *p) {
  return p->output_count == 1 && p->vars[p->outputs[0]].rank == 0 && mp_dtype_is_float(p->vars[p->outputs[0]].dtype);
}

/* what an embedding looks up, before views; -1: the call is none */
static int32_t looked_up(const mp_program *p, const mp_call *c) {
  int32_t ids = mp_call_is(c, "aten::embedding") && mp_call_operand(c, 0) >= 0 ? mp_call_operand(c, 1) : -1;
  while (mp_maker_of(p, ids) && view(mp_maker_of(p, ids))) ids = mp_call_operand(mp_maker_of(p, ids), 0);
  return ids;
}

/* Does the model predict the next token: it looks at the past alone, and reads one sequence only. An encoder and a decoder read two (the decoder's may be made of the
 * encoder's: it looks up a table as long as that of the tokens); the decoder's labels are its own, not shifted. */
static bool causal(const mp_program *p) {
  int32_t sequence = -1;
  int64_t tokens = 0;
  for (uint32_t c = 0; c < p->call_count; c++) {
    int32_t ids = looked_up(p, &p->calls[c]);
    if (ids < 0 || p->vars[ids].role != MP_ROLE_INPUT) continue;
    int64_t length = p->vars[mp_call_operand(&p->calls[c], 0)].dims[0];
    if (sequence >= 0 && sequence != ids) return false;
    if (length > tokens) tokens = length;
    sequence = ids;
  }
  for (uint32_t c = 0; c < p->call_count && tokens; c++) {
    int32_t ids = looked_up(p, &p->calls[c]);
    if (ids >= 0 && ids != sequence && p->vars[mp_call_operand(&p->calls[c], 0)].dims[0] == tokens) return false;
  }
  for (uint32_t i = 0; i < p->input_count; i++)
    if (mp_dtype_is_float(p->vars[p->inputs[i]].dtype)) return false;
  return mp_looks_back(p);
}

static int32_t reshaped(edit *e, int32_t v, int rank, const int64_t *dims) {
  const mp_var x = *mp_builder_at(e->b, v);
  mp_arg args[] = {mp_arg_var(v), mp_arg_ints(e->a, dims, (uint32_t)rank)};
  return call(e, 0, "aten::reshape", args, 2, mp_builder_var(e->b, MP_ROLE_RESULT, x.name, x.dtype, rank, dims, -1));
}

/* labels[:, 1:] with one ignored label behind, as causal language models shift them */
static int32_t shifted(edit *e, int32_t labels) {
  mp_var v = *mp_builder_at(e->b, labels);
  int64_t pad[2] = {0, 1}, full = v.dims[1];
  mp_arg padding[] = {mp_arg_var(labels), mp_arg_ints(e->a, pad, 2), mp_arg_str("constant"), mp_arg_float(-100)};
  v.dims[1] = full + 1;
  int32_t t = call(e, 0, "aten::pad", padding, 4, mp_builder_var(e->b, MP_ROLE_RESULT, v.name, v.dtype, v.rank, v.dims, -1));
  mp_arg cut[] = {mp_arg_var(t), mp_arg_int(1), mp_arg_int(1), mp_arg_int(full + 1), mp_arg_int(1)};
  v.dims[1] = full;
  return call(e, 0, "aten::slice", cut, 5, mp_builder_var(e->b, MP_ROLE_RESULT, v.name, v.dtype, v.rank, v.dims, -1));
}

/* cross entropy over the classes: (N, C), (B, S, V) flattened, (B, C, H, W) */
static int32_t cross_entropy(edit *e, int32_t logits) {
  const mp_var x = *mp_builder_at(e->b, logits);
  int64_t dims[MP_RANK];
  int rank = 0;
  for (int i = 0; i < x.rank; i++)
    if (i != (x.rank == 3 ? 2 : 1)) dims[rank++] = x.dims[i];
  int32_t labels = mp_builder_var(e->b, MP_ROLE_INPUT, mp_format(e->a, "labels%s%s", e->outputs.n > 1 ? "." : "", e->outputs.n > 1 ? x.name : ""),
                                  MP_INT64, rank, dims, -1);
  *mp_push(e->a, &e->inputs) = labels;
  if (x.rank == 3) {
    int64_t rows = x.dims[0] * x.dims[1], flat[2] = {rows, x.dims[2]};
    if (causal(e->p)) {
      mp_arg wide[] = {mp_arg_var(logits), mp_arg_dtype(MP_FLOAT)};
      logits = call(e, 0, "aten::to", wide, 2, mp_builder_var(e->b, MP_ROLE_RESULT, x.name, MP_FLOAT, x.rank, x.dims, -1));
      labels = shifted(e, labels);
    }
    logits = reshaped(e, logits, 2, flat);
    labels = reshaped(e, labels, 1, flat);
  }
  mp_arg args[] = {mp_arg_var(logits), mp_arg_var(labels), mp_arg_none(), mp_arg_int(1), mp_arg_int(-100), mp_arg_float(0)};
  return call(e, 0, "aten::cross_entropy_loss", args, 6, mp_builder_var(e->b, MP_ROLE_RESULT, "loss", x.dtype, 0, NULL, -1));
}

static int32_t other_loss(edit *e, int32_t out, mp_loss kind) {
  const mp_var x = *mp_builder_at(e->b, out);
  int32_t loss = mp_builder_var(e->b, MP_ROLE_RESULT, "loss", x.dtype, 0, NULL, -1);
  if (kind == MP_LOSS_SUM) {
    mp_arg args[] = {mp_arg_var(out)};
    return call(e, 0, "aten::sum", args, 1, loss);
  }
  int32_t target = mp_builder_var(e->b, MP_ROLE_INPUT, "target", x.dtype, x.rank, x.dims, -1);
  *mp_push(e->a, &e->inputs) = target;
  mp_arg args[] = {mp_arg_var(out), mp_arg_var(target), mp_arg_int(1)};
  return call(e, 0, "aten::mse_loss", args, 3, loss);
}

static bool named_logits(const char *name) { return strstr(name, "logits") != NULL; }

/* the outputs that a loss reads: those called logits, else the first floating one */
static void add_loss(edit *e) {
  const mp_program *p = e->p;
  mp_loss kind = e->run->loss;
  MP_VEC(int32_t) heads = {0};
  for (int pass = 0; pass < 2 && !heads.n; pass++)
    for (uint32_t i = 0; i < p->output_count && (!pass || !heads.n); i++) {
      const mp_var *v = &p->vars[p->outputs[i]];
      if (mp_dtype_is_float(v->dtype) && v->rank > 0 && (pass || named_logits(v->name))) *mp_push(e->a, &heads) = e->now[p->outputs[i]];
    }
  if (!heads.n) mp_fail(e->a, MP_BAD_INPUT, "%s: no output is a floating tensor that a loss can read; use --loss none or --infer", p->path);
  e->module = 0;
  mp_builder_module(e->b, "", NULL);
  int32_t total = -1;
  for (size_t i = 0; i < heads.n; i++) {
    const mp_var v = *mp_builder_at(e->b, heads.at[i]);
    mp_loss now = kind;
    if (kind == MP_LOSS_AUTO) {
      now = v.rank >= 2 && v.dims[v.rank == 3 ? 2 : 1] >= 2 ? MP_LOSS_CROSS_ENTROPY : MP_LOSS_MSE;
      mp_builder_warn(e->b, "the file has no loss: %s of output '%s' is assumed (--loss says another)",
                      now == MP_LOSS_MSE ? "the mean squared error" : "the cross entropy", v.name);
    }
    if (now == MP_LOSS_CROSS_ENTROPY && v.rank < 2)
      mp_fail(e->a, MP_BAD_INPUT, "%s: --loss cross-entropy needs an output with classes, and '%s' has rank %d; use --loss mse or sum", p->path,
              v.name, v.rank);
    int32_t loss = now == MP_LOSS_CROSS_ENTROPY ? cross_entropy(e, heads.at[i]) : other_loss(e, heads.at[i], now);
    mp_arg sum[] = {mp_arg_var(total), mp_arg_var(loss)};
    total = total < 0 ? loss : call(e, 0, "aten::add", sum, 2, like(e, loss, "loss"));
  }
  e->outputs.n = 0;
  *mp_push(e->a, &e->outputs) = total;
}

/* ---- the stage ---- */

static void say_fused(edit *e) {
  const mp_fusion *f = e->fusion;
  if (f->count) mp_builder_warn(e->b, "--attention: %u attentions that the file writes out are one call of scaled_dot_product_attention each, with is_causal for a mask that compares positions", f->count);
  if (f->left) mp_builder_warn(e->b, "--attention: %u attentions stay written out: their scores are read elsewhere, are not of rank 4, or have masks that no kernel takes", f->left);
}

static const void *apply(mp_arena *a, void *arg) {
  const request *q = arg;
  const mp_program *p = q->p;
  bool loss = !q->run->infer && q->run->loss != MP_LOSS_NONE && !scalar_loss(p);
  bool place = q->run->dropout > 0 && !has_dropout(p) && !p->training;
  bool hold = q->run->hold_outputs && !q->run->infer;
  bool fuse = q->run->attention > MP_ATTN_WRITTEN_OUT;
  if (!loss && q->run->dropout < 0 && !q->run->lora_rank && !hold && !fuse) return p;
  edit *e = mp_alloc(a, sizeof *e);
  *e = (edit){.a = a, .p = p, .run = q->run, .b = mp_builder_new(a, p->graph)};
  e->drop = mp_alloc_array(a, p->var_count, sizeof *e->drop);
  count_reads(e);
  if (fuse) e->fusion = mp_fuse_attention(a, p);
  if (q->run->lora_rank) find_tables(e);
  if (place) place_dropout(e);
  find_cached(e);
  copy_vars(e);
  for (uint32_t i = 0; i < p->warning_count; i++)
    if (strncmp(p->warnings[i], "no rule for", 11) != 0) mp_builder_warn(e->b, "%s", p->warnings[i]); /* the builder says that itself */
  for (uint32_t i = 0; i < p->input_count; i++) *mp_push(a, &e->inputs) = e->now[p->inputs[i]];
  copy_calls(e);
  if (fuse) say_fused(e);
  for (uint32_t i = 0; i < p->output_count; i++) *mp_push(a, &e->outputs) = e->now[p->outputs[i]];
  if (loss) add_loss(e);
  if (hold) hold_logits(e);
  if (place && e->copies) mp_builder_warn(e->b, "dropout %g acts on the %u places that the file, an inference export, shows", q->run->dropout, e->dropped);
  else if (place) mp_builder_warn(e->b, "dropout %g is put on %u places where transformer blocks have it: the file has none", q->run->dropout, e->dropped);
  return mp_builder_finish(e->b, e->inputs.at, (uint32_t)e->inputs.n, e->outputs.at, (uint32_t)e->outputs.n, p->exporter, p->training);
}

const mp_program *mp_program_edit(mp_arena *a, const mp_program *p, const mp_run *run, mp_err *err) {
  request q = {p, run};
  return p ? mp_protect(a, err, apply, &q) : NULL;
}
