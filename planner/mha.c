/* nn.MultiheadAttention returns its weights beside its result unless told not to, averaged over the heads: where nothing reads them, no exporter keeps the
 * average, yet it is made (torch/nn/functional.py, multi_head_attention_forward: need_weights, average_attn_weights). */
#include <string.h>

#include "planner/inside.h"

static bool is_named(const mp_call *c, const char *name) { return !strcmp(c->row->name, name); }

static const mp_var *operand(mp_builder *b, const mp_call *c, uint32_t i) { return i < c->arg_count && c->args[i].kind == MP_ARG_VAR && c->args[i].as.var >= 0 ? mp_builder_at(b, c->args[i].as.var) : NULL; }

/* is it torch.nn's class: by its name, else by the name of a parameter that only that class has */
static bool is_mha(mp_builder *b, int32_t module, uint32_t first, uint32_t end) {
  const mp_instance *m = module < 0 ? NULL : mp_builder_instance(b, module);
  if (!m) return false;
  if (m->type) return !strncmp(m->type, "torch.nn.", 9) && strstr(m->type, "MultiheadAttention");
  static const char leaf[] = ".in_proj_weight";
  size_t n = strlen(m->path);
  for (uint32_t c = first; c < end; c++)
    for (uint32_t i = 0; i < mp_builder_call_at(b, c)->arg_count; i++) {
      const mp_var *v = operand(b, mp_builder_call_at(b, c), i);
      if (v && v->role == MP_ROLE_PARAMETER && !strncmp(v->name, m->path, n) && !strcmp(v->name + n, leaf + (n == 0))) return true;
    }
  return false;
}

/* `y = self.attention(x, x, x)[0]`: the weights are let go at once. The line is that of the innermost frame outside of torch.nn. */
static bool takes_first_alone(mp_arena *a, const char *stack) {
  const char *line = NULL;
  for (const char *at = stack ? strstr(stack, "File \"") : NULL; at; at = strstr(at + 1, "File \"")) {
    const char *end = strchr(at + 6, '"'), *code = strchr(at, '\n');
    if (!end || !code) break;
    const char *torch = strstr(at, "torch/nn/");
    if (!torch || torch > end) line = code + 1;
  }
  if (!line) return false;
  return strstr(mp_strndup(a, line, strcspn(line, "\n")), ")[0]") != NULL;
}

/* of the softmax at call s, whose module's calls end before call `end`, where the average is made */
static void average(mp_builder *b, uint32_t s, uint32_t end) {
  const mp_call *soft = mp_builder_call_at(b, s), *product = NULL, *out = NULL;
  int32_t weights = soft->out_count ? soft->outs[0] : -1;
  if (weights < 0) return;
  for (uint32_t c = s + 1; c < end; c++) {
    const mp_call *x = mp_builder_call_at(b, c);
    if (is_named(x, "aten::mean")) return; /* somebody reads it */
    bool reads = x->arg_count && x->args[0].kind == MP_ARG_VAR && x->args[0].as.var == weights;
    if (reads && !product && (is_named(x, "aten::dropout") || is_named(x, "aten::native_dropout")) && x->out_count && x->outs[0] >= 0) weights = x->outs[0];
    else if (reads && (is_named(x, "aten::bmm") || is_named(x, "aten::matmul"))) product = x;
    if (is_named(x, "aten::linear") && x->out_count && x->outs[0] >= 0) out = x;
  }
  const mp_var *w = mp_builder_at(b, weights), *v = product ? operand(b, product, 1) : NULL, *y = out ? mp_builder_at(b, out->outs[0]) : NULL;
  if (!v || !y || w->rank != 3 || v->rank != 3 || y->rank < 1 || v->dims[2] < 1 || y->dims[y->rank - 1] % v->dims[2]) return;
  int64_t heads = y->dims[y->rank - 1] / v->dims[2];
  if (heads < 1 || w->dims[0] % heads || (uint64_t)w->dims[0] < 1) return;
  int64_t by_head[] = {w->dims[0] / heads, heads, w->dims[1], w->dims[2]}, averaged[] = {by_head[0], w->dims[1], w->dims[2]}, over = 1;
  mp_arena *a = mp_builder_arena(b);
  mp_dtype t = w->dtype;
  bool first_alone = takes_first_alone(a, soft->stack);
  int32_t view = mp_builder_var(b, MP_ROLE_RESULT, "attn_output_weights", t, 4, by_head, -1), mean = mp_builder_var(b, MP_ROLE_RESULT, "attn_output_weights", t, 3, averaged, -1);
  mp_builder_insert(b, end, "aten::view", (mp_arg[]){mp_arg_var(weights), mp_arg_ints(a, by_head, 4)}, 2, view);
  mp_builder_insert(b, end + 1, "aten::mean", (mp_arg[]){mp_arg_var(view), mp_arg_ints(a, &over, 1), mp_arg_bool(false)}, 3, mean);
  mp_builder_at(b, mean)->is_returned = !first_alone;
}

void mp_averaged_weights(mp_builder *b) {
  for (uint32_t c = 0; c < mp_builder_call_count(b); c++) {
    const mp_call *s = mp_builder_call_at(b, c);
    if (!is_named(s, "aten::softmax") && !is_named(s, "aten::_softmax")) continue;
    uint32_t first = c, end = c + 1, n = mp_builder_call_count(b);
    while (first && mp_builder_call_at(b, first - 1)->module == s->module) first--;
    while (end < n && mp_builder_call_at(b, end)->module == s->module) end++;
    if (end < n && is_mha(b, s->module, first, end)) average(b, c, end);
  }
}
