#include "support_program.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct drawing {
  mp_arena *a;
  mp_builder *b;
  mp_names *names; /* of variables, in their order */
  int32_t module;  /* of the calls that follow, and their operations */
  uint64_t flops;
} drawing;

static mp_dtype type_named(const char *s) {
  for (int t = 1; t < MP_DTYPES; t++)
    if (!strcmp(mp_dtype_name((mp_dtype)t), s)) return (mp_dtype)t;
  return MP_UNDEFINED;
}

static int32_t known(const drawing *d, const char *s) {
  uint32_t id = mp_names_find(d->names, s, strlen(s));
  return id == UINT32_MAX ? -1 : (int32_t)id;
}

static int32_t declare(drawing *d, mp_role role, const char *name, mp_dtype t, int rank, const int64_t *dims) {
  mp_names_add(d->a, d->names, name, strlen(name), NULL);
  return mp_builder_var(d->b, role, name, t, rank, dims, -1);
}

static uint32_t split(char *s, const char *at, char **words, uint32_t max) {
  uint32_t n = 0;
  char *rest = NULL;
  for (char *w = strtok_r(s, at, &rest); w && n < max; w = strtok_r(NULL, at, &rest)) words[n++] = w;
  return n;
}

static mp_arg argument(drawing *d, char *s) {
  char *w[32];
  if (!strcmp(s, "none")) return mp_arg_none();
  if (!strcmp(s, "true") || !strcmp(s, "false")) return mp_arg_bool(*s == 't');
  if (*s == '"') return mp_arg_str(mp_strndup(d->a, s + 1, strlen(s) - 2));
  if (*s == '[') {
    int64_t ints[32];
    uint32_t n = split(s, "[],", w, 32);
    for (uint32_t i = 0; i < n; i++) ints[i] = atoll(w[i]);
    return mp_arg_ints(d->a, ints, n);
  }
  if (*s == '(') {
    int32_t vars[32];
    uint32_t n = split(s, "(),", w, 32);
    for (uint32_t i = 0; i < n; i++) vars[i] = known(d, w[i]);
    return mp_arg_vars(d->a, vars, n);
  }
  if (known(d, s) >= 0) return mp_arg_var(known(d, s));
  if (isdigit((unsigned char)*s) || *s == '-') return strchr(s, '.') ? mp_arg_float(atof(s)) : mp_arg_int(atoll(s));
  if (type_named(s) == MP_UNDEFINED) fail_msg("argument '%s' is neither a variable nor a value", s);
  return mp_arg_dtype(type_named(s));
}

/* "y", or "y:4x64" where something asks for its dims before it is traced */
static int32_t result(drawing *d, char *s) {
  int64_t dims[MP_RANK] = {0};
  char *parts[MP_RANK + 1], *colon = strchr(s, ':');
  if (colon) *colon = 0;
  int rank = colon ? (int)split(colon + 1, "x", parts, MP_RANK) : 0;
  for (int i = 0; i < rank; i++) dims[i] = atoll(parts[i]);
  return declare(d, MP_ROLE_RESULT, s, MP_FLOAT, rank, dims);
}

static void draw_call(drawing *d, char **w, uint32_t n) {
  mp_arg args[64];
  int32_t outs[8];
  char *results[8];
  for (uint32_t i = 3; i < n; i++) args[i - 3] = argument(d, w[i]);
  uint32_t outs_n = split(w[2], ",", results, 8);
  for (uint32_t i = 0; i < outs_n; i++) outs[i] = result(d, results[i]);
  uint32_t c = mp_builder_call(d->b, mp_format(d->a, strstr(w[1], "::") ? "%s" : "aten::%s", w[1]), args, n - 3, outs, outs_n, d->module, NULL, 0);
  mp_builder_call_at(d->b, c)->flops = d->flops;
  mp_builder_call_at(d->b, c)->in_place = w[0][4] == '!';
}

const mp_program *test_program(mp_arena *a, const char *text) {
  static const mp_graph none = {.path = "drawn"};
  drawing d = {.a = a, .b = mp_builder_new(a, &none), .names = mp_names_new(a, 64)};
  int32_t inputs[16], outputs[16];
  uint32_t input_count = 0, output_count = 0, lines_n;
  char *lines[512], *w[80];
  lines_n = split(mp_strdup(a, text), "\n", lines, 512);
  for (uint32_t l = 0; l < lines_n; l++) {
    uint32_t n = split(lines[l], " ", w, 80);
    if (!n) continue;
    if (!strncmp(w[0], "call", 4)) {
      draw_call(&d, w, n);
    } else if (!strcmp(w[0], "module")) {
      d.module = mp_builder_module(d.b, n > 1 ? w[1] : "", n > 2 ? w[2] : NULL);
    } else if (!strcmp(w[0], "leave")) {
      mp_builder_leave(d.b, w[1]);
    } else if (!strcmp(w[0], "flops")) {
      d.flops = (uint64_t)atoll(w[1]);
    } else if (!strcmp(w[0], "out")) {
      outputs[output_count++] = known(&d, w[1]);
    } else {
      int64_t dims[MP_RANK];
      for (uint32_t i = 3; i < n; i++) dims[i - 3] = atoll(w[i]);
      mp_role role = *w[0] == 'i' ? MP_ROLE_INPUT : *w[0] == 'p' ? MP_ROLE_PARAMETER : MP_ROLE_BUFFER;
      int32_t v = declare(&d, role, w[1], type_named(w[2]), (int)n - 3, dims);
      if (role == MP_ROLE_INPUT) inputs[input_count++] = v;
    }
  }
  return mp_builder_finish(d.b, inputs, input_count, outputs, output_count, "test", true);
}

/* most bytes alive of what calls made, in one phase of the last iteration */
static uint64_t most(mp_arena *a, const mp_tape *t, uint8_t phase) {
  uint64_t *bytes = mp_alloc_array(a, t->instance_count + 1, sizeof *bytes), now = 0, top = 0;
  for (uint32_t i = 0; i < t->step_count; i++) {
    const mp_step *s = &t->steps[i];
    if (s->kind == MP_ALLOC && s->category != MP_CAT_PARAMETER && s->category != MP_CAT_BUFFER && s->category != MP_CAT_INPUT) {
      bytes[s->id] = s->bytes;
      now += s->bytes;
    } else if ((s->kind == MP_FREE || (s->kind == MP_BECOME && s->category == MP_CAT_GRADIENT)) && bytes[s->id]) {
      now -= bytes[s->id];
      bytes[s->id] = 0;
    }
    if (s->iteration == 2 && s->phase == phase && now > top) top = now;
  }
  return top;
}

test_run test_program_run(mp_arena *a, const char *text, const char *precision) {
  mp_run *run = mp_alloc(a, sizeof *run);
  mp_plan *plan = mp_alloc(a, sizeof *plan);
  *run = mp_run_default();
  run->optimizer = NULL;
  for (int p = 0; p <= MP_BF16_MASTER; p++)
    if (!strcmp(mp_precision_name((mp_precision)p), precision)) run->precision = (mp_precision)p;
  mp_err err = {0};
  test_run r = {.program = test_program(a, text)};
  r.tape = mp_tape_make(a, mp_trace_make(a, r.program, run, &err), run, plan, &err);
  if (!r.tape) fail_msg("%s", err.text);
  for (uint32_t i = 0; i < r.tape->saved_count; i++) r.saved += r.tape->saved[i].bytes;
  r.forward = most(a, r.tape, MP_FORWARD);
  r.backward = most(a, r.tape, MP_BACKWARD);
  return r;
}

uint64_t test_saved_what(const test_run *r, const char *what) {
  uint64_t n = 0;
  for (uint32_t i = 0; i < r->tape->saved_count; i++)
    if (!strcmp(r->tape->saved[i].what, what)) n += r->tape->saved[i].bytes;
  return n;
}
