/* Expressions as text: sums of products, "a//b" for a floor division, "max(a,b)", "?" for what is not known. */
#include "onnx/sym.h"

static void write_int(mp_arena *a, mp_text *t, mp_int i);

static void write_operand(mp_arena *a, mp_text *t, mp_int i) {
  bool plain = !i.e || mp_sym_lone(i);
  if (!plain) mp_text_add(a, t, "(");
  write_int(a, t, i);
  if (!plain) mp_text_add(a, t, ")");
}

static void write_atom(mp_arena *a, mp_text *t, const atom *x, bool alone) {
  static const char *const before[] = {"", "", "trunc(", "max(", "min("}, *const between[] = {"", "//", "/", ",", ","};
  if (x->kind == NAME) {
    mp_text_add(a, t, "%s", x->name);
    return;
  }
  bool wrap = x->kind == DIV && !alone;
  mp_text_add(a, t, "%s", wrap ? "(" : before[x->kind]);
  if (x->kind > TDIV) write_int(a, t, x->a);
  else write_operand(a, t, x->a);
  mp_text_add(a, t, "%s", between[x->kind]);
  if (x->kind > TDIV) write_int(a, t, x->b);
  else write_operand(a, t, x->b);
  if (wrap || x->kind != DIV) mp_text_add(a, t, ")");
}

static void write_int(mp_arena *a, mp_text *t, mp_int i) {
  if (!i.e) {
    mp_text_add(a, t, "%lld", (long long)i.n);
    return;
  }
  if (mp_int_is_unknown(i)) mp_text_add(a, t, "?");
  for (uint32_t j = 0; j < i.e->n; j++) {
    const term *x = &i.e->t[j];
    bool number = !x->n || (x->k != 1 && x->k != -1);
    if (x->k < 0 && !number) mp_text_add(a, t, "-");
    else if (j && x->k > 0) mp_text_add(a, t, "+");
    if (number) mp_text_add(a, t, x->n ? "%lld*" : "%lld", (long long)x->k);
    for (uint32_t k = 0; k < x->n; k++) {
      if (k) mp_text_add(a, t, "*");
      write_atom(a, t, x->f[k], x->n == 1 && !number && (j == 0 || x->k > 0));
    }
  }
}

const char *mp_graph_open_dim(const mp_graph *g) {
  for (uint32_t i = 0; i < g->input_count; i++) {
    const mp_value *v = &g->values[g->inputs[i]];
    for (int d = 0; d < v->rank; d++) {
      const atom *x = mp_sym_lone(v->dims[d]);
      if (x && x->kind == NAME) return x->name;
    }
  }
  return NULL;
}

const char *mp_int_text(mp_arena *a, mp_int i) {
  mp_text t = {0};
  write_int(a, &t, i);
  return t.at;
}
