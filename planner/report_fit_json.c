/* An answer as JSON: the object that CONTRACT calls `memplan fit ... --json`. */
#include <jansson.h>
#include <stdlib.h>

#include "planner/report.h"

static json_t *integer(uint64_t n) { return json_integer((json_int_t)n); }

static json_t *bytes_of(const mp_timeline *t) {
  return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "parameters", (json_int_t)t->parameter_bytes, "buffers", (json_int_t)t->buffer_bytes, "inputs", (json_int_t)t->input_bytes,
                   "gradients", (json_int_t)t->gradient_bytes, "optimizer", (json_int_t)t->optimizer_bytes, "saved", (json_int_t)t->saved_bytes);
}

static json_t *peak_of(const mp_timeline *t) {
  const mp_peak *p = &t->peak;
  json_t *by = json_object();
  for (int c = 0; c < MP_CATEGORIES; c++) json_object_set_new(by, mp_category_name((mp_category)c), integer(p->by[c]));
  return json_pack("{s:I,s:I,s:I,s:s,s:s,s:s,s:o}", "allocated", (json_int_t)p->allocated, "reserved", (json_int_t)p->reserved, "first_iteration", (json_int_t)p->first_iteration,
                   "phase", mp_phase_name(p->phase), "call", p->call, "module", p->module, "bytes", by);
}

static json_t *saved_of(const mp_timeline *t) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < t->saved_count; i++) {
    const mp_saved *s = &t->saved[i];
    json_t *dims = json_array();
    for (int d = 0; d < s->rank; d++) json_array_append_new(dims, json_integer(s->dims[d]));
    json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:o,s:I}", "call", s->call, "module", s->module, "what", s->what, "dtype", s->dtype, "dims", dims, "bytes",
                                          (json_int_t)s->bytes));
  }
  return list;
}

static json_t *devices_of(const mp_answer *a, const mp_verdict *verdicts) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < a->question->device_count; i++) {
    const mp_verdict *v = &verdicts[i];
    json_array_append_new(list, json_pack("{s:s,s:I,s:I,s:s,s:b,s:I}", "name", v->device->name, "usable", (json_int_t)v->usable, "needed", (json_int_t)v->needed, "verdict",
                                          mp_fits_name(v->fits), "fits", v->fits != MP_FITS_NOT, "spare", (json_int_t)v->spare));
  }
  return list;
}

static json_t *workspace_of(const mp_answer *a) {
  mp_verdict v = a->question->device_count ? a->verdicts[0] : mp_verdict_make(a->timeline, NULL, &a->question->workspaces);
  return json_pack("{s:I,s:I,s:I,s:I}", "cublas", (json_int_t)v.overhead.cublas, "cudnn_low", (json_int_t)v.cudnn_low, "cudnn_high", (json_int_t)v.cudnn_high, "context",
                   (json_int_t)v.overhead.context);
}

static json_t *largest_of(mp_arena *a, const mp_answer *x, uint32_t n) {
  const mp_largest *all = mp_largest_of(a, x, &n);
  json_t *list = json_array();
  for (uint32_t i = 0; i < n; i++)
    json_array_append_new(list, json_pack("{s:I,s:s,s:s,s:s}", "bytes", (json_int_t)all[i].bytes, "category", all[i].category, "call", all[i].call, "module", all[i].module));
  return list;
}

typedef struct texts {
  const char *const *at;
  uint32_t n;
} texts;

static json_t *answer(const mp_answer *a, texts said) {
  const mp_timeline *t = a->timeline;
  json_t *warnings = json_array();
  for (uint32_t i = 0; i < said.n; i++) json_array_append_new(warnings, json_string_nocheck(said.at[i]));
  json_t *flops = json_pack("{s:I,s:I,s:I}", "forward", (json_int_t)t->flops_forward, "backward", (json_int_t)t->flops_backward, "recompute", (json_int_t)t->flops_recompute);
  return json_pack("{s:s,s:I,s:o,s:o,s:I,s:o,s:o,s:o,s:o,s:o}", "model", a->question->path, "parameters", (json_int_t)t->parameters, "flops", flops, "bytes", bytes_of(t),
                   "after_forward", (json_int_t)t->after_forward, "peak", peak_of(t), "workspace", workspace_of(a), "saved", saved_of(t), "devices", devices_of(a, a->verdicts), "warnings",
                   warnings);
}

static json_t *stages_of(const mp_answer *a, const mp_split *s) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < s->count; i++)
    json_array_append_new(list, json_pack("{s:i,s:s,s:s,s:I,s:o,s:o,s:o}", "stage", (int)i, "from", s->rows[i].from, "to", s->rows[i].to, "parameters",
                                          (json_int_t)s->rows[i].timeline->parameters, "bytes", bytes_of(s->rows[i].timeline), "peak", peak_of(s->rows[i].timeline), "devices",
                                          devices_of(a, s->rows[i].verdicts)));
  return list;
}

typedef struct job {
  const mp_answer *const *answers;
  uint32_t n;
  const mp_split *split;
  uint32_t top;
} job;

static const void *make(mp_arena *a, void *arg) {
  const job *j = arg;
  texts *said = mp_alloc_array(a, j->n, sizeof *said);
  for (uint32_t i = 0; i < j->n; i++) said[i].at = mp_warnings_of(a, j->answers[i], j->split != NULL, &said[i].n);
  json_t *root = answer(j->answers[0], said[0]);
  if (root && j->top) json_object_set_new(root, "largest", largest_of(a, j->answers[0], j->top));
  if (j->n > 1) {
    json_t *rows = json_array();
    for (uint32_t i = 0; i < j->n; i++) json_array_append_new(rows, answer(j->answers[i], said[i]));
    if (root) json_object_set_new(root, "rows", rows);
  }
  if (root && j->split) {
    json_object_set_new(root, "stages", stages_of(j->answers[0], j->split));
    json_object_set_new(root, "devices", devices_of(j->answers[0], j->split->rows[j->split->worst].verdicts));
  }
  char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
  json_decref(root);
  if (!text) mp_fail(a, MP_INTERNAL, "out of memory while writing JSON");
  char *copy = mp_strdup(a, text);
  free(text);
  return copy;
}

const char *mp_report_fit_json(mp_arena *a, const mp_answer *const *answers, uint32_t n, const mp_split *split, uint32_t top, mp_err *err) {
  if (!answers || !n) return NULL;
  job j = {answers, n, split, top};
  return mp_protect(a, err, make, &j);
}
