/* torch.nn.LSTMCell and GRUCell: both exporters write their arithmetic out, on the device each is two products and one fused kernel
 * (aten/src/ATen/native/RNN.cpp, LSTMCell and GRUCell; cuda/RNN.cu). */
#include <string.h>

#include "planner/inside.h"

#define MOST 14

typedef struct cell {
  const char *call;
  const char *parts; /* calls in one module, factories between them left out; "split" stands for all that split */
  int input, hidden; /* the parts that are linear in x and in h */
  int state, next;   /* the parts that read the cell's state and make the next one; -1: there is none but h */
} cell;

static const cell cells[] = {
    {"aten::lstm_cell", "linear linear add split sigmoid sigmoid tanh sigmoid mul mul add tanh mul", 1, 0, 8, 10},
    {"aten::gru_cell", "linear split linear split add sigmoid add sigmoid mul add tanh sub mul add", 0, 2, -1, -1},
};

typedef struct pass {
  mp_builder *b;
  uint32_t *reads; /* of each variable, in all arguments */
} pass;

static void count(pass *p, const mp_arg *a, int by) {
  if (a->kind == MP_ARG_VAR && a->as.var >= 0) p->reads[a->as.var] += (uint32_t)by;
  for (uint32_t i = 0; a->kind == MP_ARG_VARS && i < a->n; i++)
    if (a->as.vars[i] >= 0) p->reads[a->as.vars[i]] += (uint32_t)by;
}

static void count_call(pass *p, uint32_t call, int by) {
  const mp_call *c = mp_builder_call_at(p->b, call);
  for (uint32_t i = 0; i < c->arg_count; i++) count(p, &c->args[i], by);
}

static bool is_part(const mp_call *c, const char *word, size_t n) {
  const char *name = c->row->name;
  if (strncmp(name, "aten::", 6) != 0) return false;
  name += 6;
  return !strncmp(word, "split", 5) ? !strncmp(name, "split", 5) || !strcmp(name, "chunk") : strlen(name) == n && !strncmp(name, word, n);
}

/* does it make a first state, which was merged with another's until the cell read it? */
static bool makes_first_state(const mp_call *c) {
  static const char *const names[] = {"aten::new_full", "aten::full", "aten::new_zeros", "aten::zeros", "aten::zeros_like", "aten::select", "aten::detach"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(c->row->name, names[i])) return true;
  return false;
}

/* the calls from `first` on that are the cell; false: they are not */
static bool find(pass *p, uint32_t first, const cell *row, uint32_t *part) {
  uint32_t n = mp_builder_call_count(p->b), at = first;
  int32_t module = mp_builder_call_at(p->b, first)->module;
  int k = 0;
  for (const char *w = row->parts; *w; at++) {
    size_t len = strcspn(w, " ");
    if (at >= n || k == MOST) return false;
    const mp_call *c = mp_builder_call_at(p->b, at);
    if (c->module != module) return false;
    if (k && makes_first_state(c)) continue;
    if (!is_part(c, w, len) || !c->out_count || c->outs[0] < 0 || c->arg_count < 1) return false;
    part[k++] = at;
    w += len + (w[len] == ' ');
  }
  return true;
}

static bool named(pass *p, uint32_t call, const char *end) { /* is the product's weight a cell's */
  const mp_call *c = mp_builder_call_at(p->b, call);
  if (c->arg_count < 2 || c->args[1].kind != MP_ARG_VAR) return false;
  const char *name = mp_builder_at(p->b, c->args[1].as.var)->name;
  size_t n = strlen(name), m = strlen(end);
  return n >= m && !strcmp(name + n - m, end);
}

/* is nothing that the parts make read elsewhere but the cell's results? */
static bool keeps_to_itself(pass *p, const uint32_t *part, int n, int32_t h, int32_t c) {
  bool own = true;
  for (int k = 0; k < n; k++) count_call(p, part[k], -1);
  for (int k = 0; k < n; k++) {
    const mp_call *made = mp_builder_call_at(p->b, part[k]);
    for (uint32_t o = 0; o < made->out_count; o++) own &= made->outs[o] < 0 || made->outs[o] == h || made->outs[o] == c || !p->reads[made->outs[o]];
  }
  for (int k = 0; k < n; k++) count_call(p, part[k], 1);
  return own;
}

static mp_arg argument(pass *p, uint32_t call, uint32_t i) {
  const mp_call *c = mp_builder_call_at(p->b, call);
  return i < c->arg_count ? c->args[i] : mp_arg_none();
}

/* the operand of a product of two that is no gate */
static mp_arg state_of(pass *p, uint32_t mul, const uint32_t *part, int n) {
  for (uint32_t i = 0; i < 2; i++) {
    mp_arg a = argument(p, mul, i);
    bool gate = a.kind != MP_ARG_VAR;
    for (int k = 0; k < n && !gate; k++) gate = mp_builder_call_at(p->b, part[k])->outs[0] == a.as.var;
    if (!gate) return a;
  }
  return mp_arg_none();
}

static void fuse(pass *p, uint32_t first, const cell *row, bool *dead) {
  uint32_t part[MOST];
  if (!find(p, first, row, part)) return;
  int n = row->next < 0 ? 14 : 13;
  uint32_t last = part[n - 1];
  if (named(p, part[row->input], "weight_hh") && named(p, part[row->hidden], "weight_ih")) { /* the first was merged with another, and made again where it is read */
    uint32_t input = part[row->input];
    part[row->input] = part[row->hidden];
    part[row->hidden] = input;
  }
  if (!named(p, part[row->input], "weight_ih") || !named(p, part[row->hidden], "weight_hh")) return;
  mp_arg h = argument(p, part[row->hidden], 0), c = row->state < 0 ? mp_arg_none() : state_of(p, part[row->state], part, n);
  if (h.kind != MP_ARG_VAR || (row->state >= 0 && c.kind != MP_ARG_VAR)) return;
  int32_t outs[2] = {mp_builder_call_at(p->b, last)->outs[0], row->next < 0 ? -1 : mp_builder_call_at(p->b, part[row->next])->outs[0]};
  if (!keeps_to_itself(p, part, n, outs[0], outs[1])) return;
  mp_arena *a = mp_builder_arena(p->b);
  MP_VEC(int32_t) nodes = {0};
  for (int k = 0; k < n; k++) {
    const mp_call *made = mp_builder_call_at(p->b, part[k]);
    for (uint32_t i = 0; i < made->node_count; i++) *mp_push(a, &nodes) = made->nodes[i];
    dead[part[k]] = true;
  }
  mp_arg args[] = {argument(p, part[row->input], 0), h, argument(p, part[row->input], 1), argument(p, part[row->hidden], 1), argument(p, part[row->input], 2), argument(p, part[row->hidden], 2)};
  if (row->state >= 0) args[1] = mp_arg_vars(a, (int32_t[]){h.as.var, c.as.var}, 2);
  mp_call made = *mp_builder_call_at(p->b, last);
  mp_builder_call(p->b, row->call, args, 6, outs, row->next < 0 ? 1 : 2, made.module, nodes.at, (uint32_t)nodes.n);
  mp_call *whole = mp_builder_call_at(p->b, mp_builder_call_count(p->b) - 1);
  whole->source = made.source;
  whole->stack = made.stack;
  whole->no_grad = made.no_grad;
  *mp_builder_call_at(p->b, last) = *whole; /* in the last part's place */
  whole->out_count = 0;
  dead[last] = false;
}

void mp_whole_cells(mp_builder *b, const int32_t *outputs, uint32_t output_count) {
  mp_arena *a = mp_builder_arena(b);
  uint32_t n = mp_builder_call_count(b);
  bool any = false;
  for (uint32_t i = 0; i < n && !any; i++) any = !strcmp(mp_builder_call_at(b, i)->row->name, "aten::tanh");
  if (!any) return;
  pass p = {.b = b, .reads = mp_alloc_array(a, (size_t)mp_builder_var_count(b) + 1, sizeof(uint32_t))};
  for (uint32_t i = 0; i < n; i++) count_call(&p, i, 1);
  for (uint32_t i = 0; i < output_count; i++)
    if (outputs[i] >= 0) p.reads[outputs[i]]++;
  bool *dead = mp_alloc_array(a, 2 * (size_t)n + 1, sizeof *dead);
  for (uint32_t i = 0; i < n; i++)
    for (size_t k = 0; k < sizeof cells / sizeof *cells && !dead[i]; k++) fuse(&p, i, &cells[k], dead);
  for (uint32_t i = n; i < mp_builder_call_count(b); i++) dead[i] = true; /* copied into their places */
  mp_builder_remove(b, dead);
}
