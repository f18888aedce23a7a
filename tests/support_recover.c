#include "support_recover.h"

#include "support_base.h"
#include "support_graph.h"

/* ---- a program as text: "linear(x,fn.weight) gelu(%) ..." with % for a computed value ---- */

static void show_var(mp_arena *a, mp_text *t, const mp_program *p, int32_t v) {
  if (v < 0)
    mp_text_add(a, t, "-");
  else if (p->vars[v].role == MP_ROLE_RESULT)
    mp_text_add(a, t, "%%");
  else
    mp_text_add(a, t, "%s", p->vars[v].name);
}

static void show_arg(mp_arena *a, mp_text *t, const mp_program *p, const mp_arg *g) {
  switch (g->kind) {
    case MP_ARG_VAR:
      show_var(a, t, p, g->as.var);
      break;
    case MP_ARG_VARS:
      for (uint32_t i = 0; i < g->n; i++) {
        mp_text_add(a, t, i ? "+" : "");
        show_var(a, t, p, g->as.vars[i]);
      }
      break;
    case MP_ARG_INT:
      mp_text_add(a, t, "%lld", (long long)g->as.i);
      break;
    case MP_ARG_FLOAT:
      mp_text_add(a, t, "%g", g->as.f);
      break;
    case MP_ARG_BOOL:
      mp_text_add(a, t, g->as.b ? "T" : "F");
      break;
    case MP_ARG_INTS:
      for (uint32_t i = 0; i < g->n; i++) mp_text_add(a, t, i ? "x%lld" : "%lld", (long long)g->as.ints[i]);
      break;
    case MP_ARG_DTYPE:
      mp_text_add(a, t, "%s", mp_dtype_name(g->as.dtype));
      break;
    case MP_ARG_STR:
      mp_text_add(a, t, "'%s'", g->as.s);
      break;
    default:
      mp_text_add(a, t, "none");
      break;
  }
}

const char *test_calls_text(mp_arena *a, const mp_program *p) {
  mp_text t = {0};
  mp_text_add(a, &t, "%s", "");
  for (uint32_t c = 0; c < p->call_count; c++) {
    const mp_call *call = &p->calls[c];
    const char *name = call->row->name;
    mp_text_add(a, &t, "%s%s%s%s(", c ? " " : "", strncmp(name, "aten::", 6) ? name : name + 6, call->in_place ? "_" : "", call->no_grad ? "'" : "");
    for (uint32_t i = 0; i < call->arg_count; i++) {
      mp_text_add(a, &t, i ? "," : "");
      show_arg(a, &t, p, &call->args[i]);
    }
    mp_text_add(a, &t, ")");
  }
  return t.at;
}

const mp_program *test_recovered(mp_arena *a, const char *drawing) {
  mp_err err;
  const mp_program *p = mp_program_recover(a, test_graph(a, drawing), &err);
  if (!p) fail_msg("%s", err.text);
  return p;
}

void test_expect_calls(const char *drawing, const char *calls) {
  mp_arena *a = mp_arena_new(0);
  assert_string_equal(test_calls_text(a, test_recovered(a, drawing)), calls);
  mp_arena_free(a);
}

bool test_program_warned(const mp_program *p, const char *part) {
  for (uint32_t i = 0; i < p->warning_count; i++)
    if (strstr(p->warnings[i], part)) return true;
  return false;
}

const mp_var *test_var_named(const mp_program *p, const char *name) {
  for (uint32_t i = 0; i < p->var_count; i++)
    if (!strcmp(p->vars[i].name, name)) return &p->vars[i];
  fail_msg("no variable '%s'", name);
  return NULL;
}


/* ---- of dynamo files ---- */

const mp_program *test_recovered_fx(mp_arena *a, const char *drawing) {
  const mp_graph *g = test_graph(a, drawing);
  const char *unsound;
  const mp_program *p = mp_recover_fx(a, g, &unsound);
  assert_non_null(p);
  return p;
}

const char *test_call_line(mp_arena *a, const mp_program *p, uint32_t call) {
  mp_err err;
  const char *text = mp_report_program(a, p, &err), *at = strstr(text, mp_format(a, "\n%5u  ", call));
  assert_non_null(at);
  at += 8;
  size_t n = strcspn(at, "\n");
  const char *arrow = strstr(at, ") ->");
  return mp_strndup(a, at, arrow && (size_t)(arrow - at) < n ? (size_t)(arrow - at) + 1 : n);
}
