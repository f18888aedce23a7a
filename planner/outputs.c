/* What a training loop holds that keeps the model's outputs: outputs = model(**batch); outputs.loss.backward(). They live until the next forward pass gives others.
 *
 * Logits: what the loss is of, behind the views and casts that the loss function makes.
 *
 * The cache. A decoder of transformers returns the keys and values of its layers too (past_key_values: config.use_cache is true unless gradient checkpointing
 * is on). Since transformers 4.56 DynamicLayer.update concatenates them to an empty tensor, and attention reads that copy; from 4.48 to 4.55 the cache takes them as they are, and
 * sdpa_attention_forward copies what is not contiguous (cache_utils.py, integrations/sdpa_attention.py).
 *
 * Which layers: with cross attention those behind the encoder, without it all of a model whose attention is causal. */
#include "planner/outputs.h"

#include <string.h>

#include "planner/calls.h"
#include "planner/fuse.h"
#include "planner/reading.h"

/* ---- logits ---- */

int32_t mp_find_logits(const mp_program *p) {
  static const char *const passing[] = {"aten::view", "aten::reshape", "aten::_unsafe_view", "aten::flatten", "aten::slice", "aten::transpose", "aten::permute", "aten::contiguous",
                                        "aten::clone", "aten::to", "aten::_to_copy", "aten::cross_entropy_loss", "aten::nll_loss", "aten::mse_loss", "aten::log_softmax", "aten::add",
                                        "aten::mean", "aten::sum"};
  for (uint32_t i = 0; i < p->output_count; i++) {
    int32_t v = p->outputs[i];
    if (p->vars[v].rank || !mp_dtype_is_float(p->vars[v].dtype)) continue;
    for (uint32_t hops = 0; hops < 16 && v >= 0 && mp_maker_of(p, v); hops++) {
      const mp_call *c = mp_maker_of(p, v);
      if (!mp_call_is_one(c, passing, MP_COUNT(passing)) || mp_call_operand(c, 0) < 0) return hops ? v : -1;
      v = mp_call_operand(c, 0);
    }
  }
  return -1;
}

/* ---- attention ---- */

/* back through calls of these names, by the first operand */
static int32_t behind(const mp_program *p, int32_t v, const char *const *names, size_t n) {
  for (uint32_t hops = 0; hops < 12; hops++) {
    const mp_call *c = mp_maker_of(p, v);
    if (!mp_call_is_one(c, names, n) || mp_call_operand(c, 0) < 0) break;
    v = mp_call_operand(c, 0);
  }
  return v;
}

/* softmax(q k^T ...) v: the product of the probabilities, and back to the scores */
static bool written_out(const mp_program *p, uint32_t at, mp_attention_call *r) {
  static const char *const turns[] = {"aten::transpose", "aten::permute"};
  mp_written_out w;
  if (!mp_written_attention(p, at, &w)) return false;
  int32_t k = mp_call_is_one(mp_maker_of(p, w.kt), turns, MP_COUNT(turns)) ? mp_call_operand(mp_maker_of(p, w.kt), 0) : w.kt;
  *r = (mp_attention_call){.q = w.q, .k = mp_unrepeated(p, k), .v = mp_unrepeated(p, w.v), .call = at};
  return r->q >= 0 && r->k >= 0 && r->v >= 0;
}

static bool kernel(const mp_program *p, uint32_t at, mp_attention_call *r) {
  const mp_call *c = &p->calls[at];
  if (!mp_call_is(c, "aten::scaled_dot_product_attention") || mp_call_operand(c, 0) < 0 || mp_call_operand(c, 1) < 0 || mp_call_operand(c, 2) < 0) return false;
  *r = (mp_attention_call){.q = mp_call_operand(c, 0), .k = mp_unrepeated(p, mp_call_operand(c, 1)), .v = mp_unrepeated(p, mp_call_operand(c, 2)), .call = at, .is_kernel = true};
  return true;
}

/* the hidden states that a projection reads */
static int32_t hidden(const mp_program *p, int32_t v) {
  static const char *const ways[] = {"aten::transpose", "aten::permute", "aten::view", "aten::reshape", "aten::contiguous", "aten::clone", "aten::add", "aten::mul", "aten::slice", "aten::select",
                                     "aten::split", "aten::split_with_sizes", "aten::chunk", "aten::unbind", "aten::to", "aten::_to_copy", "aten::squeeze", "aten::unsqueeze"};
  v = behind(p, v, ways, MP_COUNT(ways));
  const mp_call *c = mp_maker_of(p, v);
  if (mp_call_is(c, "aten::linear") || mp_call_is(c, "aten::matmul") || mp_call_is(c, "aten::mm")) v = mp_call_operand(c, 0);
  else if (mp_call_is(c, "aten::addmm")) v = mp_call_operand(c, 1);
  return behind(p, v, ways, MP_COUNT(ways));
}

static bool compares_positions(const mp_program *p, const mp_call *c) {
  static const char *const comparisons[] = {"aten::le", "aten::lt", "aten::ge", "aten::gt"};
  int32_t x = mp_call_operand(c, 0), y = mp_call_operand(c, 1);
  return mp_call_is_one(c, comparisons, MP_COUNT(comparisons)) && x >= 0 && y >= 0 && c->out_count && c->outs[0] >= 0 && p->vars[c->outs[0]].rank >= 2 && !mp_dtype_is_float(p->vars[x].dtype) &&
         !mp_dtype_is_float(p->vars[y].dtype);
}

static bool is_square(const mp_program *p, int32_t mask) {
  const mp_var *v = mask < 0 ? NULL : &p->vars[mask];
  return v && (v->role == MP_ROLE_BUFFER || v->role == MP_ROLE_CONSTANT) && v->rank >= 2 && v->dims[v->rank - 1] > 1 && v->dims[v->rank - 1] == v->dims[v->rank - 2];
}

bool mp_is_triangle(const mp_value *v) {
  if (v->kind != MP_VALUE_INITIALIZER || !v->raw || v->rank < 2) return false;
  for (int i = 0; i < v->rank; i++)
    if (!mp_int_is_number(v->dims[i]) || v->dims[i].n < 1) return false;
  mp_int rows = v->dims[v->rank - 2], columns = v->dims[v->rank - 1];
  if (rows.n != columns.n || columns.n < 2) return false;
  if (v->dtype == MP_BOOL) { /* of what is seen, or of what is hidden */
    bool next = v->raw[1], before = v->raw[columns.n];
    return next != before;
  }
  float itself, next, before;
  if (v->dtype != MP_FLOAT) return false;
  memcpy(&itself, v->raw, sizeof itself);
  memcpy(&next, v->raw + sizeof next, sizeof next);
  memcpy(&before, v->raw + (uint64_t)columns.n * sizeof before, sizeof before);
  return itself == 0 && before == 0 && next < -1000; /* added to scores */
}

bool mp_looks_back(const mp_program *p) {
  static const char *const triangles[] = {"aten::tril", "aten::triu"}, *const views[] = {"aten::slice", "aten::view", "aten::unsqueeze", "aten::to"};
  for (uint32_t c = 0; c < p->call_count; c++) {
    const mp_call *x = &p->calls[c];
    if (mp_call_is(x, "aten::scaled_dot_product_attention") && x->arg_count > 5 && x->args[5].kind == MP_ARG_BOOL && x->args[5].as.b) return true;
    if (mp_call_is_one(x, triangles, MP_COUNT(triangles)) || compares_positions(p, x)) return true;
    if (mp_call_is(x, "aten::where") && is_square(p, behind(p, mp_call_operand(x, 0), views, MP_COUNT(views)))) return true;
    if (mp_call_is(x, "aten::mul") && mp_call_operand(x, 0) >= 0 && p->vars[mp_call_operand(x, 0)].rank == 4 && is_square(p, behind(p, mp_call_operand(x, 1), views, MP_COUNT(views)))) return true;
  }
  for (uint32_t i = 0; p->graph && i < p->graph->value_count; i++)
    if (mp_is_triangle(&p->graph->values[i])) return true;
  return false;
}

uint32_t mp_find_cached(mp_arena *a, const mp_program *p, const mp_attention_call **list) {
  MP_VEC(mp_attention_call) all = {0};
  int32_t encoded = -1; /* the call that ends the encoder */
  for (uint32_t c = 0; c < p->call_count; c++) {
    mp_attention_call x;
    if (!kernel(p, c, &x) && !written_out(p, c, &x)) continue;
    int32_t q = hidden(p, x.q), k = hidden(p, x.k);
    if (q != k && k >= 0 && encoded < 0) encoded = p->vars[k].call;
    *mp_push(a, &all) = x;
  }
  *list = all.at;
  if (encoded < 0) return mp_looks_back(p) ? (uint32_t)all.n : 0;
  uint32_t n = 0;
  for (size_t i = 0; i < all.n; i++)
    if ((int32_t)all.at[i].call > encoded) all.at[n++] = all.at[i];
  return n;
}
