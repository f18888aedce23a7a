/* What --dim binds: names of dimensions (put in by graph_type.c where a type is read) and single axes of inputs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/model.h"

static int32_t highest_axis(const mp_build *b, const mp_value *v) {
  int32_t high = -1;
  for (uint32_t i = 0; i < b->options->binding_count; i++) {
    const mp_binding *d = &b->options->bindings[i];
    if (d->axis > high && !strcmp(d->name, v->name)) high = d->axis;
  }
  return high;
}

/* An input of unknown rank gets one where every axis up to the highest is bound. */
static void rank_from_bindings(mp_build *b, mp_value *v) {
  int32_t high = highest_axis(b, v);
  if (high < 0 || high >= MP_MAX_RANK) return;
  v->dims = mp_alloc_array(b->a, (size_t)high + 1, sizeof *v->dims);
  v->rank = (int8_t)(high + 1);
  for (int32_t i = 0; i <= high; i++) v->dims[i] = mp_int_unknown();
  mp_build_warn(b, "input '%.100s' has no declared rank: taken as %d from --dim", v->name, high + 1);
}

/* An axis that the file leaves open without a name still is one number throughout the graph: it is called as --dim calls it, INPUT:AXIS. */
static void name_axes(mp_build *b, mp_value *v) {
  for (int i = 0; i < v->rank && v->form == MP_FORM_TENSOR; i++)
    if (mp_int_is_unknown(v->dims[i])) v->dims[i] = mp_syms_name(b->syms, mp_format(b->a, "%s:%d", v->name, i));
}

static void bind_axes(mp_build *b, mp_value *v) {
  const mp_graph_options *o = b->options;
  if (!o || !o->binding_count) return;
  if (v->rank < 0) rank_from_bindings(b, v);
  for (uint32_t i = 0; i < o->binding_count; i++) {
    const mp_binding *d = &o->bindings[i];
    if (d->axis < 0 || strcmp(d->name, v->name)) continue;
    if (!v->rank)
      mp_fail(b->a, MP_BAD_INPUT, "%s: --dim %.200s:%d=%lld: input '%.100s' is a scalar in the file; leave the option out", b->source.label, d->name,
              d->axis, (long long)d->n, v->name);
    if (v->rank >= 0 && d->axis >= v->rank)
      mp_fail(b->a, MP_BAD_INPUT, "%s: --dim %.200s:%d=%lld: input '%.100s' has %d dimension%s; give an axis from 0 to %d", b->source.label, d->name,
              d->axis, (long long)d->n, v->name, v->rank, v->rank == 1 ? "" : "s", v->rank - 1);
    if (v->rank < 0) continue; /* checked later: bound nothing */
    mp_int *dim = &v->dims[d->axis];
    if (mp_int_is_number(*dim) && dim->n != d->n)
      mp_fail(b->a, MP_BAD_INPUT,
              "%s: --dim %.200s:%d=%lld contradicts the file, where axis %d of input '%.100s' is %lld; leave it out, or export the model with "
              "another size",
              b->source.label, d->name, d->axis, (long long)d->n, d->axis, v->name, (long long)dim->n);
    *dim = mp_int_of(d->n);
    b->binding_used[i] = true;
  }
}

void mp_bind_input(mp_build *b, mp_value *v) {
  bind_axes(b, v);
  name_axes(b, v);
}

static void list_names(mp_build *b, const mp_graph *g, mp_text *t) {
  mp_names *seen = mp_names_new(b->a, 16);
  for (uint32_t i = 0; i < g->input_count && t->n < 300; i++) {
    const mp_value *v = &g->values[g->inputs[i]];
    for (int k = 0; k < v->rank; k++) {
      bool added = true;
      if (mp_int_is_number(v->dims[k])) continue;
      const char *name = mp_int_is_unknown(v->dims[k]) ? mp_format(b->a, "%.60s:%d", v->name, k) : mp_int_text(b->a, v->dims[k]);
      mp_names_add(b->a, seen, name, strlen(name), &added);
      if (added) mp_text_add(b->a, t, "%s'%.60s'", t->n ? ", " : "", name);
    }
  }
}

static bool is_input(const mp_graph *g, const char *name) {
  for (uint32_t i = 0; i < g->input_count; i++)
    if (!strcmp(g->values[g->inputs[i]].name, name)) return true;
  return false;
}

/* Every binding must have bound something, and one name has one number. */
void mp_check_bindings(mp_build *b, const mp_graph *g) {
  const mp_graph_options *o = b->options;
  for (uint32_t i = 0; o && i < o->binding_count; i++) {
    const mp_binding *d = &o->bindings[i];
    for (uint32_t k = 0; k < i; k++)
      if (o->bindings[k].axis == d->axis && !strcmp(o->bindings[k].name, d->name) && o->bindings[k].n != d->n)
        mp_fail(b->a, MP_BAD_INPUT, "%s: --dim gives '%.200s' twice, as %lld and %lld; give it once", b->source.label, d->name,
                (long long)o->bindings[k].n, (long long)d->n);
    if (b->binding_used[i]) continue;
    bool again = false; /* the same binding given twice */
    for (uint32_t k = 0; k < i; k++) again |= o->bindings[k].axis == d->axis && !strcmp(o->bindings[k].name, d->name);
    if (again) continue;
    mp_text t = {0};
    if (d->axis >= 0 && !is_input(g, d->name)) {
      for (uint32_t k = 0; k < g->input_count && t.n < 300; k++) mp_text_add(b->a, &t, "%s'%.60s'", k ? ", " : "", g->values[g->inputs[k]].name);
      mp_fail(b->a, MP_BAD_INPUT, "%s: --dim %.200s:%d=%lld binds nothing: '%.200s' is no input of the file; its inputs are %s", b->source.label,
              d->name, d->axis, (long long)d->n, d->name, t.n ? t.at : "none");
    }
    list_names(b, g, &t);
    char axis[16] = "";
    if (d->axis >= 0) snprintf(axis, sizeof axis, ":%d", d->axis);
    mp_fail(b->a, MP_BAD_INPUT, "%s: --dim %.200s%s=%lld binds nothing; open dimensions of the inputs: %s", b->source.label, d->name, axis,
            (long long)d->n, t.n ? t.at : "none, every one is a number");
  }
}

typedef struct parse_arg {
  const char *text;
  mp_binding *to;
} parse_arg;

static const void *parse(mp_arena *a, void *arg) {
  const parse_arg *in = arg;
  const char *text = in->text, *equals = strrchr(text, '='), *digits = equals ? equals + 1 : "", *colon = NULL;
  char *end;
  errno = 0;
  long long n = strtoll(digits, &end, 10);
  if (!equals || equals == text || *digits < '0' || *digits > '9' || *end || errno)
    mp_fail(a, MP_BAD_INPUT, "--dim %.200s: NAME=N or INPUT:AXIS=N was expected, N a number from 0 on; as in --dim batch=8", text);
  for (const char *p = text; p < equals; p++)
    if (*p == ':') colon = p; /* the last one: names of inputs may hold colons themselves */
  size_t axis = colon && colon > text ? (size_t)(equals - colon - 1) : 0;
  if (axis > 3 || (axis && strspn(colon + 1, "0123456789") != axis)) axis = 0; /* a name with a colon */
  *in->to = (mp_binding){mp_strndup(a, text, (size_t)((axis ? colon : equals) - text)), axis ? atoi(colon + 1) : -1, n};
  return in->to;
}

bool mp_binding_parse(mp_arena *a, const char *text, mp_binding *to, mp_err *err) {
  parse_arg arg = {text, to};
  return mp_protect(a, err, parse, &arg) != NULL;
}
