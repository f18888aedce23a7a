/* The program as text: one line a call. */
#include "planner/inside.h"

static void add_var(mp_arena *a, mp_text *t, const mp_program *p, int32_t var) {
  if (var < 0)
    mp_text_add(a, t, "None");
  else
    mp_text_add(a, t, "%%%s", p->vars[var].name);
}

static void add_arg(mp_arena *a, mp_text *t, const mp_program *p, const mp_arg *g) {
  switch (g->kind) {
    case MP_ARG_NONE:
      mp_text_add(a, t, "None");
      break;
    case MP_ARG_VAR:
      add_var(a, t, p, g->as.var);
      break;
    case MP_ARG_INT:
      mp_text_add(a, t, "%lld", (long long)g->as.i);
      break;
    case MP_ARG_FLOAT:
      mp_text_add(a, t, "%.12g", g->as.f);
      break;
    case MP_ARG_BOOL:
      mp_text_add(a, t, "%s", g->as.b ? "True" : "False");
      break;
    case MP_ARG_DTYPE:
      mp_text_add(a, t, "%s", mp_dtype_name(g->as.dtype));
      break;
    case MP_ARG_STR:
      mp_text_add(a, t, "'%s'", g->as.s);
      break;
    case MP_ARG_VARS:
    case MP_ARG_INTS:
    case MP_ARG_BOOLS:
      mp_text_add(a, t, "[");
      for (uint32_t i = 0; i < g->n; i++) {
        if (i) mp_text_add(a, t, ", ");
        if (g->kind == MP_ARG_VARS)
          add_var(a, t, p, g->as.vars[i]);
        else
          mp_text_add(a, t, "%lld", (long long)g->as.ints[i]);
      }
      mp_text_add(a, t, "]");
      break;
  }
}

static void add_shape(mp_arena *a, mp_text *t, const mp_var *v) {
  mp_text_add(a, t, "%s[", mp_dtype_name(v->dtype));
  for (int i = 0; i < v->rank; i++) mp_text_add(a, t, "%s%lld", i ? "," : "", (long long)v->dims[i]);
  mp_text_add(a, t, "]");
}

static void add_call(mp_arena *a, mp_text *t, const mp_program *p, uint32_t number) {
  const mp_call *c = &p->calls[number];
  const char *path = c->module >= 0 ? p->instances[c->module].path : "";
  mp_text_add(a, t, "%5u  %s  %s%s(", number, *path ? path : ".", c->row->name, c->in_place ? "_" : "");
  for (uint32_t i = 0; i < c->arg_count; i++) {
    if (i) mp_text_add(a, t, ", ");
    add_arg(a, t, p, &c->args[i]);
  }
  mp_text_add(a, t, ") ->");
  for (uint32_t i = 0; i < c->out_count; i++) {
    mp_text_add(a, t, " ");
    add_var(a, t, p, c->outs[i]);
    if (c->outs[i] < 0) continue;
    mp_text_add(a, t, " ");
    add_shape(a, t, &p->vars[c->outs[i]]);
    if (p->vars[c->outs[i]].dies < (int32_t)p->call_count) mp_text_add(a, t, " until %d", p->vars[c->outs[i]].dies);
  }
  for (uint32_t i = 0; i < c->node_count; i++) {
    const mp_node *n = &p->graph->nodes[c->nodes[i]];
    mp_text_add(a, t, "%s%s", i ? ", " : "  <", *n->name ? n->name : n->type);
  }
  mp_text_add(a, t, "%s\n", c->node_count ? ">" : "");
}

static void add_table(mp_arena *a, mp_text *t, const mp_program *p) {
  static const char *const names[] = {"input", "parameter", "buffer", "constant"};
  for (uint32_t i = 0; i < p->var_count; i++) {
    const mp_var *v = &p->vars[i];
    if (v->role == MP_ROLE_RESULT) continue;
    mp_text_add(a, t, "%s  %s  ", names[v->role], v->name);
    add_shape(a, t, v);
    if (v->tied >= 0) mp_text_add(a, t, "  tied to %s", p->vars[v->tied].name);
    mp_text_add(a, t, "\n");
  }
}

static void add_modules(mp_arena *a, mp_text *t, const mp_program *p) {
  for (uint32_t i = 0; i < p->instance_count; i++) {
    const mp_instance *m = &p->instances[i];
    mp_text_add(a, t, "module  %s  %s  calls %u..%u", *m->path ? m->path : ".", m->type ? m->type : "-", m->first, m->end);
    if (m->turn) mp_text_add(a, t, "  turn %u", m->turn);
    if (m->block >= 0) mp_text_add(a, t, "  block %d", m->block);
    mp_text_add(a, t, "\n");
  }
}

static const void *report(mp_arena *a, void *arg) {
  const mp_program *p = arg;
  mp_text t = {0};
  mp_text_add(a, &t, "exporter  %s  %s\n", p->exporter, p->training ? "training" : "inference");
  add_table(a, &t, p);
  add_modules(a, &t, p);
  for (uint32_t i = 0; i < p->call_count; i++) add_call(a, &t, p, i);
  for (uint32_t i = 0; i < p->output_count; i++) mp_text_add(a, &t, "output  %s\n", p->vars[p->outputs[i]].name);
  for (uint32_t i = 0; i < p->warning_count; i++) mp_text_add(a, &t, "warning  %s\n", p->warnings[i]);
  return t.at;
}

const char *mp_report_program(mp_arena *a, const mp_program *p, mp_err *err) { return p ? mp_protect(a, err, report, (void *)(uintptr_t)p) : NULL; }
