/* The tables that memplan works from, as they are compiled in: operators of ONNX, calls of the framework, patterns from the one to the other. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "planner/fx.h"
#include "planner/invertible.h"
#include "planner/recover.h"

static const char *const policies[] = {[MP_CAST_NONE] = "", [MP_CAST_HALF] = "half", [MP_CAST_FP32] = "fp32", [MP_CAST_PROMOTE] = "widest"};

typedef struct request {
  const char *const *globs;
  uint32_t n;
  bool json;
} request;

/* is one of the texts asked for */
static bool wanted(const request *r, const char *x, const char *y) {
  for (uint32_t i = 0; i < r->n; i++)
    if (mp_glob(r->globs[i], x) || mp_glob(r->globs[i], y)) return true;
  return !r->n;
}

static const char *note_of(const mp_call_row *c) { return c->note ? c->note : ""; }

/* ---- text ---- */

static uint32_t operators_text(mp_arena *a, mp_text *t, const request *r) {
  uint32_t shown = 0;
  const char *domain, *type;
  int64_t since;
  for (uint32_t i = 0; i < mp_op_count(); i++) {
    mp_op_row(i, &domain, &type, &since);
    if (!wanted(r, type, mp_format(a, "%s.%s", domain, type))) continue;
    if (!shown++) mp_text_add(a, t, "%-44s %5s\n", "operator", "since");
    mp_text_add(a, t, "%-44s %5lld\n", *domain ? mp_format(a, "%s.%s", domain, type) : type, (long long)since);
  }
  return shown;
}

static uint32_t calls_text(mp_arena *a, mp_text *t, const request *r) {
  uint32_t shown = 0;
  for (uint32_t i = 0; i < mp_call_count(); i++) {
    const mp_call_row *c = mp_call_at(i);
    if (!wanted(r, c->name, c->name + strlen("aten::"))) continue;
    if (!shown++) mp_text_add(a, t, "\n%-44s %-8s %s\n", "call", "autocast", "what it keeps for backward");
    const char *inverse = mp_inverse_of(c->name);
    mp_text_add(a, t, "%-44s %-8s %s%s%s\n", c->name, policies[c->policy], note_of(c), inverse ? "; inverse: " : "", inverse ? inverse : "");
  }
  return shown;
}

static uint32_t patterns_text(mp_arena *a, mp_text *t, const request *r) {
  uint32_t shown = 0, scripts = 0;
  const char *call, *parts;
  for (uint32_t i = 0; i < mp_pattern_count; i++) {
    if (!wanted(r, mp_patterns[i].nodes, mp_patterns[i].call)) continue;
    if (!scripts++) mp_text_add(a, t, "\npattern of nodes, the most specific first (TorchScript's exporter and others)\n    the call that wrote them\n");
    mp_text_add(a, t, "%s\n    %s\n", mp_patterns[i].nodes, mp_patterns[i].call);
  }
  for (uint32_t i = 0; fx_whole_at(i, &call, &parts); i++) {
    if (!wanted(r, parts, call)) continue;
    if (!shown++) mp_text_add(a, t, "\ncalls that the dynamo exporter writes as their parts\n    the call\n");
    mp_text_add(a, t, "%s\n    %s\n", parts, call);
  }
  return scripts + shown;
}

static const char *text(mp_arena *a, const request *r) {
  mp_text t = {0};
  uint32_t o = operators_text(a, &t, r), c = calls_text(a, &t, r), p = patterns_text(a, &t, r);
  if (r->n && !o && !c && !p) mp_fail(a, MP_BAD_INPUT, "'%s' names no operator, call or pattern; a glob such as '*gelu*' finds more", r->globs[0]);
  mp_text_add(a, &t, "\n%u operators by opset, %u calls, %u patterns\n", o, c, p);
  return t.at;
}

/* ---- JSON ---- */

static json_t *operators_json(mp_arena *a, const request *r) {
  json_t *list = json_array();
  const char *domain, *type;
  int64_t since;
  for (uint32_t i = 0; i < mp_op_count(); i++) {
    mp_op_row(i, &domain, &type, &since);
    if (wanted(r, type, mp_format(a, "%s.%s", domain, type)))
      json_array_append_new(list, json_pack("{s:s,s:s,s:I}", "domain", domain, "type", type, "since", (json_int_t)since));
  }
  return list;
}

static json_t *calls_json(const request *r) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < mp_call_count(); i++) {
    const mp_call_row *c = mp_call_at(i);
    if (wanted(r, c->name, c->name + strlen("aten::")))
      json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s?}", "name", c->name, "autocast", policies[c->policy], "note", note_of(c), "inverse", mp_inverse_of(c->name)));
  }
  return list;
}

static json_t *patterns_json(const request *r) {
  json_t *list = json_array();
  const char *call, *parts;
  for (uint32_t i = 0; i < mp_pattern_count; i++)
    if (wanted(r, mp_patterns[i].nodes, mp_patterns[i].call))
      json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "exporter", "torchscript", "nodes", mp_patterns[i].nodes, "call", mp_patterns[i].call));
  for (uint32_t i = 0; fx_whole_at(i, &call, &parts); i++)
    if (wanted(r, parts, call)) json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "exporter", "dynamo", "nodes", parts, "call", call));
  return list;
}

static const void *report(mp_arena *a, void *arg) {
  const request *r = arg;
  if (!r->json) return text(a, r);
  json_t *root = json_pack("{s:o,s:o,s:o}", "operators", operators_json(a, r), "calls", calls_json(r), "patterns", patterns_json(r));
  char *s = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
  json_decref(root);
  if (!s) mp_fail(a, MP_INTERNAL, "out of memory while writing JSON");
  char *copy = mp_strdup(a, s);
  free(s);
  return copy;
}

const char *mp_report_ops(mp_arena *a, const char *const *globs, uint32_t n, bool json, mp_err *err) {
  request r = {globs, n, json};
  return mp_protect(a, err, report, &r);
}
