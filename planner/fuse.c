#include "planner/fuse.h"

#include "planner/calls.h"
#include "planner/reading.h"

static uint32_t number(const mp_program *p, const mp_call *c) { return (uint32_t)(c - p->calls); }

/* ---- the pattern ---- */

static bool is_product(const mp_call *c) { return mp_call_is(c, "aten::matmul") || mp_call_is(c, "aten::bmm"); }

static bool take(const mp_program *p, mp_written_out *w, const mp_call *c) {
  if (!c || w->inside_count == MP_WRITTEN_CALLS) return false;
  w->inside[w->inside_count++] = number(p, c);
  return true;
}

static bool take_mask(mp_written_out *w, int32_t mask, bool hides) {
  if (mask < 0 || w->mask_count == MP_WRITTEN_MASKS) return false;
  w->masks[w->mask_count] = mask;
  w->hides[w->mask_count++] = hides;
  return true;
}

/* softmax(scores), dropout, casts -> the call that makes the softmax */
static const mp_call *behind_probabilities(const mp_program *p, mp_written_out *w, int32_t v) {
  static const char *const casts[] = {"aten::to", "aten::_to_copy", "aten::type_as"};
  const mp_call *c = mp_maker_of(p, v);
  for (; c && !mp_call_is(c, "aten::softmax") && !mp_call_is(c, "aten::_softmax"); c = mp_maker_of(p, mp_call_operand(c, 0))) {
    bool drop = mp_call_is(c, "aten::dropout") || mp_call_is(c, "aten::native_dropout");
    if ((!drop && !mp_call_is_one(c, casts, MP_COUNT(casts))) || !take(p, w, c)) return NULL;
    bool acts = c->arg_count < 3 || c->args[2].kind != MP_ARG_BOOL || c->args[2].as.b;
    if (drop && acts && c->arg_count > 1 && c->args[1].kind == MP_ARG_FLOAT) w->p = c->args[1].as.f;
  }
  return c;
}

/* one call on the way from the softmax to the product: *v, the scores that it reads */
static bool step(const mp_program *p, mp_written_out *w, const mp_call *c, int32_t *v) {
  static const char *const plain[] = {"aten::mul", "aten::div", "aten::to", "aten::_to_copy", "aten::clamp", "aten::maximum"};
  if (mp_call_is(c, "aten::where")) { /* where(visible, scores, least) or where(hidden, least, scores) */
    bool second = mp_maker_of(p, mp_call_operand(c, 1)) != NULL;
    *v = mp_call_operand(c, second ? 1 : 2);
    return take_mask(w, mp_call_operand(c, 0), !second);
  }
  *v = mp_call_operand(c, 0);
  if (mp_call_is(c, "aten::add")) return mp_call_operand(c, 1) < 0 || take_mask(w, mp_call_operand(c, 1), false);
  if (mp_call_is(c, "aten::masked_fill")) return take_mask(w, mp_call_operand(c, 1), true);
  return mp_call_is_one(c, plain, MP_COUNT(plain));
}

bool mp_written_attention(const mp_program *p, uint32_t at, mp_written_out *w) {
  const mp_call *c = &p->calls[at];
  *w = (mp_written_out){.q = -1};
  if (!is_product(c)) return false;
  const mp_call *softmax = behind_probabilities(p, w, mp_call_operand(c, 0));
  if (!softmax || !take(p, w, softmax)) return false;
  int32_t v = mp_call_operand(softmax, 0);
  const mp_call *m = mp_maker_of(p, v);
  for (; m && !is_product(m); m = mp_maker_of(p, v))
    if (!take(p, w, m) || !step(p, w, m, &v)) return false;
  if (!m || !take(p, w, m)) return false;
  w->q = mp_call_operand(m, 0);
  w->kt = mp_call_operand(m, 1);
  w->v = mp_call_operand(c, 1);
  return w->q >= 0 && w->kt >= 0 && w->v >= 0;
}

int32_t mp_unrepeated(const mp_program *p, int32_t v) {
  static const char *const copies[] = {"aten::reshape", "aten::view", "aten::clone", "aten::contiguous"}, *const repeats[] = {"aten::expand", "aten::unsqueeze"};
  int32_t wide = v;
  for (uint32_t hops = 0; hops < 12 && mp_call_is_one(mp_maker_of(p, wide), copies, MP_COUNT(copies)) && mp_call_operand(mp_maker_of(p, wide), 0) >= 0; hops++) wide = mp_call_operand(mp_maker_of(p, wide), 0);
  if (mp_call_is(mp_maker_of(p, wide), "aten::repeat_interleave")) return mp_call_operand(mp_maker_of(p, wide), 0);
  if (!mp_call_is(mp_maker_of(p, wide), "aten::expand")) return v;
  for (uint32_t hops = 0; hops < 12 && mp_call_is_one(mp_maker_of(p, wide), repeats, MP_COUNT(repeats)) && mp_call_operand(mp_maker_of(p, wide), 0) >= 0; hops++) wide = mp_call_operand(mp_maker_of(p, wide), 0);
  return wide;
}

/* ---- what a mask follows from ---- */

typedef struct origin {
  const mp_program *p;
  bool *seen;
  bool told;      /* by an input, or learnt */
  uint32_t looks; /* comparisons of positions, triangles, square masks among the buffers */
  bool varies;    /* it is not the same everywhere: positions, tables */
} origin;

static void follow(origin *o, int32_t v, uint32_t depth) {
  static const char *const of_no_value[] = {"aten::new_zeros", "aten::new_ones", "aten::new_full", "aten::new_empty", "aten::zeros_like", "aten::ones_like", "aten::full_like", "aten::empty_like"};
  static const char *const looks[] = {"aten::le", "aten::lt", "aten::ge", "aten::gt", "aten::tril", "aten::triu"};
  if (v < 0 || o->seen[v] || depth > 64) return;
  o->seen[v] = true;
  const mp_var *x = &o->p->vars[v];
  if (x->role == MP_ROLE_INPUT || (x->role == MP_ROLE_PARAMETER && mp_dtype_is_float(x->dtype))) o->told = true;
  bool table = x->role == MP_ROLE_BUFFER || x->role == MP_ROLE_CONSTANT;
  if (table && x->rank >= 2 && x->dims[x->rank - 1] > 1 && x->dims[x->rank - 1] == x->dims[x->rank - 2]) o->looks++;
  const mp_call *c = mp_maker_of(o->p, v);
  o->varies |= mp_call_is(c, "aten::arange") || (!c && x->rank > 0 && (x->rank > 1 || x->dims[0] != 1));
  if (!c || mp_call_is_one(c, of_no_value, MP_COUNT(of_no_value))) return;
  o->looks += mp_call_is_one(c, looks, MP_COUNT(looks));
  uint32_t n = mp_call_is(c, "aten::type_as") || mp_call_is(c, "aten::to") ? 1 : c->arg_count;
  for (uint32_t i = 0; i < n; i++) {
    follow(o, mp_call_operand(c, i), depth + 1);
    for (uint32_t k = 0; c->args[i].kind == MP_ARG_VARS && k < c->args[i].n; k++) follow(o, c->args[i].as.vars[k], depth + 1);
  }
}

/* ---- one call of several ---- */

typedef struct work {
  mp_arena *a;
  const mp_program *p;
  mp_fusion *f;
  uint32_t *reads;  /* of each variable; what the model returns is read once more */
  uint8_t *kind;    /* of each variable that is a mask */
} work;

/* NOTHING: the same everywhere, which is what is left of a mask that an exporter could look into */
enum { NOT_ASKED, HIDES_THE_FUTURE, HIDES_NOTHING, A_MASK };

static uint8_t kind_of(work *k, int32_t mask) {
  if (k->kind[mask] == NOT_ASKED) {
    origin o = {.p = k->p, .seen = mp_alloc_array(k->a, k->p->var_count, sizeof *o.seen)};
    follow(&o, mask, 0);
    k->kind[mask] = o.told ? A_MASK : o.looks == 1 ? HIDES_THE_FUTURE : o.looks || o.varies ? A_MASK : HIDES_NOTHING;
  }
  return k->kind[mask];
}

static void count(work *k, const mp_call *c, int by) {
  for (uint32_t i = 0; i < c->arg_count; i++) {
    if (mp_call_operand(c, i) >= 0) k->reads[mp_call_operand(c, i)] += (uint32_t)by;
    for (uint32_t j = 0; c->args[i].kind == MP_ARG_VARS && j < c->args[i].n; j++)
      if (c->args[i].as.vars[j] >= 0) k->reads[c->args[i].as.vars[j]] += (uint32_t)by;
  }
}

/* nothing but the attention itself reads what is inside: the next call, and a cast for its type */
static bool is_closed(const work *k, const mp_written_out *w) {
  for (uint32_t i = 0; i < w->inside_count; i++) {
    const mp_call *c = &k->p->calls[w->inside[i]];
    uint32_t most = 1;
    for (uint32_t j = 0; j < w->inside_count && c->out_count && c->outs[0] >= 0; j++) {
      const mp_call *cast = &k->p->calls[w->inside[j]];
      most += mp_call_is(cast, "aten::type_as") && mp_call_operand(cast, 1) == c->outs[0];
    }
    for (uint32_t o = 0; o < c->out_count; o++)
      if (c->outs[o] >= 0 && k->reads[c->outs[o]] > (o ? 0 : most)) return false;
  }
  return true;
}

static bool is_single(const mp_program *p, const mp_call *c, uint32_t i) {
  int32_t v = mp_call_operand(c, i);
  return v < 0 || !p->vars[v].rank || (p->vars[v].rank == 1 && p->vars[v].dims[0] == 1);
}

/* where(visible, 0, least), which models make to add it to the scores: a kernel is given what is visible */
static int32_t as_boolean(const work *k, int32_t mask) {
  const mp_call *c = mp_maker_of(k->p, mask);
  int32_t visible = mp_call_is(c, "aten::where") && is_single(k->p, c, 1) && is_single(k->p, c, 2) ? mp_call_operand(c, 0) : -1;
  return visible >= 0 && k->p->vars[visible].dtype == MP_BOOL ? visible : mask;
}

static const mp_fused *fused(work *k, const mp_written_out *w, const mp_call *last) {
  const mp_var *vars = k->p->vars;
  if (vars[w->q].rank != 4 || vars[w->kt].rank != 4 || vars[w->v].rank != 4 || !is_closed(k, w)) return NULL;
  mp_fused x = {.q = w->q, .kt = w->kt, .v = w->v, .k = -1, .mask = -1, .and = -1, .p = w->p, .macs = last->macs, .flops = last->flops};
  for (uint32_t i = 0; i < w->inside_count; i++) {
    x.macs += k->p->calls[w->inside[i]].macs;
    x.flops += k->p->calls[w->inside[i]].flops;
  }
  int32_t future = -1;
  for (uint32_t i = 0; i < w->mask_count; i++) {
    uint8_t kind = kind_of(k, w->masks[i]);
    if (kind == HIDES_THE_FUTURE) future = w->masks[i];
    if (kind != A_MASK) continue;
    if (x.and >= 0 || (x.mask >= 0 && (w->hides[i] || x.hides))) return NULL;
    if (x.mask >= 0) x.and = w->masks[i];
    else {
      x.mask = w->masks[i];
      x.hides = w->hides[i];
    }
  }
  if (future >= 0 && x.mask >= 0) { /* is_causal goes with no mask: the two are one, as large as both */
    if (x.and >= 0 || x.hides) return NULL;
    x.and = future;
  }
  if (x.mask >= 0 && x.and < 0 && !x.hides) x.mask = as_boolean(k, x.mask);
  x.causal = future >= 0 && x.mask < 0;
  const mp_call *turn = mp_maker_of(k->p, w->kt);
  int32_t keys = mp_call_is(turn, "aten::transpose") ? mp_call_operand(turn, 0) : -1, few = keys < 0 ? -1 : mp_unrepeated(k->p, keys), values = mp_unrepeated(k->p, w->v);
  if (x.mask < 0 && keys >= 0 && few != keys && values != w->v && vars[few].rank == 4 && vars[values].rank == 4 && vars[few].dims[3] == vars[w->kt].dims[2]) {
    x.k = few;
    x.v = values;
    x.grouped = true;
  }
  mp_fused *made = mp_alloc(k->a, sizeof *made);
  *made = x;
  return made;
}

/* skips what only skipped calls read: the masks' and the repeated heads' makers */
static void skip_unread(work *k) {
  bool *fed = mp_alloc_array(k->a, k->p->var_count, sizeof *fed);
  for (uint32_t c = k->p->call_count; c-- > 0;) {
    const mp_call *x = &k->p->calls[c];
    bool unread = x->out_count > 0, mine = false;
    for (uint32_t o = 0; o < x->out_count; o++)
      if (x->outs[o] >= 0) {
        unread &= !k->reads[x->outs[o]];
        mine |= fed[x->outs[o]];
      }
    bool gone = k->f->skip[c] || k->f->at[c];
    if (!gone && (!unread || !mine)) continue;
    if (!gone) count(k, x, -1);
    k->f->skip[c] = !k->f->at[c];
    for (uint32_t i = 0; i < x->arg_count; i++) {
      if (mp_call_operand(x, i) >= 0) fed[mp_call_operand(x, i)] = true;
      for (uint32_t j = 0; x->args[i].kind == MP_ARG_VARS && j < x->args[i].n; j++)
        if (x->args[i].as.vars[j] >= 0) fed[x->args[i].as.vars[j]] = true;
    }
  }
}

const mp_fusion *mp_fuse_attention(mp_arena *a, const mp_program *p) {
  mp_fusion *f = mp_alloc(a, sizeof *f);
  *f = (mp_fusion){.skip = mp_alloc_array(a, p->call_count + 1, sizeof *f->skip), .at = mp_alloc_array(a, p->call_count + 1, sizeof *f->at)};
  work k = {a, p, f, mp_alloc_array(a, p->var_count + 1, sizeof *k.reads), mp_alloc_array(a, p->var_count + 1, sizeof *k.kind)};
  for (uint32_t c = 0; c < p->call_count; c++) count(&k, &p->calls[c], 1);
  for (uint32_t i = 0; i < p->output_count; i++) k.reads[p->outputs[i]]++;
  for (uint32_t c = 0; c < p->call_count; c++) {
    mp_written_out w;
    if (!mp_written_attention(p, c, &w)) continue;
    const mp_fused *x = fused(&k, &w, &p->calls[c]);
    if (!x) {
      f->left++;
      continue;
    }
    f->count++;
    f->at[c] = x;
    for (uint32_t i = 0; i < w.inside_count; i++) f->skip[w.inside[i]] = true;
  }
  for (uint32_t c = 0; c < p->call_count; c++) { /* what the new calls read instead of what they replace */
    if (f->skip[c] || f->at[c]) count(&k, &p->calls[c], -1);
    if (!f->at[c]) continue;
    const int32_t reads[] = {f->at[c]->q, f->at[c]->k >= 0 ? f->at[c]->k : f->at[c]->kt, f->at[c]->v, f->at[c]->mask, f->at[c]->and};
    for (size_t i = 0; i < MP_COUNT(reads); i++)
      if (reads[i] >= 0) k.reads[reads[i]]++;
  }
  skip_unread(&k);
  return f;
}
