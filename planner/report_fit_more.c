/* Answers side by side: one line for each model or dimension, the catalogue ranked, the stages of a split. */
#include <string.h>

#include "planner/report.h"

typedef struct job {
  const mp_answer *const *answers;
  uint32_t n;
  const mp_split *split;
} job;

static const char *dims_text(mp_arena *a, const mp_question *q) {
  mp_text t = {0};
  for (uint32_t i = 0; i < q->binding_count; i++) {
    const mp_binding *b = &q->bindings[i];
    mp_text_add(a, &t, "%s%s", i ? " " : "", b->name);
    if (b->axis >= 0) mp_text_add(a, &t, ":%d", (int)b->axis);
    mp_text_add(a, &t, "=%lld", (long long)b->n);
  }
  return t.at ? t.at : "";
}

/* every warning once, however many answers give it */
static void warnings(mp_arena *a, mp_text *t, const mp_answer *const *x, uint32_t n) {
  mp_names *said = mp_names_new(a, 16);
  for (uint32_t i = 0; i < n; i++) {
    uint32_t count;
    const char *const *list = mp_warnings_of(a, x[i], false, &count), *slash = strrchr(x[i]->question->path, '/');
    for (uint32_t w = 0; w < count; w++) {
      bool fresh;
      mp_names_add(a, said, list[w], strlen(list[w]), &fresh);
      if (fresh) mp_text_add(a, t, "%s  warning: %s: %s\n", mp_names_count(said) == 1 ? "\n" : "", slash ? slash + 1 : x[i]->question->path, list[w]);
    }
  }
}

static const void *table(mp_arena *a, void *arg) {
  const job *j = arg;
  mp_text t = {0};
  const mp_question *first = j->answers[0]->question;
  bool models = false;
  for (uint32_t i = 1; i < j->n; i++) models = models || strcmp(first->path, j->answers[i]->question->path);
  mp_text_add(a, &t, "%-34s %12s %12s", models ? "model" : "dims", "allocated", "reserved");
  for (uint32_t d = 0; d < first->device_count; d++) mp_text_add(a, &t, "  %-22.22s", first->devices[d]->name);
  mp_text_add(a, &t, "\n");
  for (uint32_t i = 0; i < j->n; i++) {
    const mp_answer *x = j->answers[i];
    const char *name = dims_text(a, x->question), *slash = strrchr(x->question->path, '/');
    if (models) name = mp_format(a, "%s %s", slash ? slash + 1 : x->question->path, name);
    mp_text_add(a, &t, "%-34s %12s %12s", name, mp_size_text(a, x->timeline->peak.allocated), mp_size_text(a, x->timeline->peak.reserved));
    for (uint32_t d = 0; d < x->question->device_count; d++) {
      const mp_verdict *v = &x->verdicts[d];
      bool stops = !models && i && v->fits == MP_FITS_NOT && j->answers[i - 1]->verdicts[d].fits != MP_FITS_NOT;
      mp_text_add(a, &t, "  %-5s %-16s", mp_fits_name(v->fits), stops ? "<- stops fitting" : mp_size_text(a, v->needed));
    }
    mp_text_add(a, &t, "\n");
  }
  warnings(a, &t, j->answers, j->n);
  return t.at;
}

const char *mp_report_fit_table(mp_arena *a, const mp_answer *const *answers, uint32_t n, mp_err *err) {
  if (!answers || !n) return NULL;
  job j = {answers, n, NULL};
  return mp_protect(a, err, table, &j);
}

static int by_size(const void *x, const void *y) {
  const mp_verdict *a = x, *b = y;
  bool na = a->fits == MP_FITS_NOT, nb = b->fits == MP_FITS_NOT;
  if (na != nb) return na - nb;
  uint64_t ua = na ? UINT64_MAX - a->usable : a->usable, ub = nb ? UINT64_MAX - b->usable : b->usable; /* of those it does not fit, the largest first */
  return ua != ub ? (ua < ub ? -1 : 1) : strcmp(a->device->name, b->device->name);
}

static const void *ranking(mp_arena *a, void *arg) {
  const mp_answer *x = ((const job *)arg)->answers[0];
  uint32_t n = x->question->device_count, fit = 0;
  mp_verdict *v = mp_alloc_array(a, n + 1, sizeof *v);
  memcpy(v, x->verdicts, n * sizeof *v);
  qsort(v, n, sizeof *v, by_size);
  mp_text t = {0};
  mp_text_add(a, &t, "%s %s: peak allocated %s, reserved %s\n\n", x->question->path, dims_text(a, x->question), mp_size_text(a, x->timeline->peak.allocated),
              mp_size_text(a, x->timeline->peak.reserved));
  mp_text_add(a, &t, "  %-34s %12s %12s %12s  %s\n", "device (the smallest that fits first)", "usable", "needed", "spare", "verdict");
  for (uint32_t i = 0; i < n; i++) {
    fit += v[i].fits != MP_FITS_NOT;
    uint64_t gap = (uint64_t)(v[i].spare < 0 ? -v[i].spare : v[i].spare);
    mp_text_add(a, &t, "  %-36.36s %11s %12s %s%11s  %s%s\n", v[i].device->name, mp_size_text(a, v[i].usable), mp_size_text(a, v[i].needed), v[i].spare < 0 ? "-" : " ",
                mp_size_text(a, gap), mp_fits_name(v[i].fits), v[i].device->runs == MP_RUNS_OTHER ? " (as PyTorch on CUDA would)" : v[i].device->parts > 1 ? " (of one part)" : "");
  }
  mp_text_add(a, &t, "\n  %u of %u fit\n", fit, n);
  warnings(a, &t, &x, 1);
  return t.at;
}

const char *mp_report_fit_ranking(mp_arena *a, const mp_answer *x, mp_err *err) {
  if (!x) return NULL;
  job j = {&x, 1, NULL};
  return mp_protect(a, err, ranking, &j);
}

static const void *stages(mp_arena *a, void *arg) {
  const job *j = arg;
  const mp_answer *x = j->answers[0];
  mp_text t = {0};
  mp_text_add(a, &t, "%s %s: %u pipeline stages (1F1B, %u micro-batches)\n\n", x->question->path, dims_text(a, x->question), j->split->count, x->question->run->accumulate);
  mp_text_add(a, &t, "  %-6s %12s %12s %12s", "stage", "parameters", "allocated", "reserved");
  for (uint32_t d = 0; d < x->question->device_count; d++) mp_text_add(a, &t, "  %-20.20s", x->question->devices[d]->name);
  mp_text_add(a, &t, "  modules\n");
  for (uint32_t i = 0; i < j->split->count; i++) {
    const mp_split_row *r = &j->split->rows[i];
    mp_text_add(a, &t, "  %-6u %12s %12s %12s", i, mp_count_text(a, r->timeline->parameters), mp_size_text(a, r->timeline->peak.allocated),
                mp_size_text(a, r->timeline->peak.reserved));
    for (uint32_t d = 0; d < x->question->device_count; d++) mp_text_add(a, &t, "  %-5s %-14s", mp_fits_name(r->verdicts[d].fits), mp_size_text(a, r->verdicts[d].needed));
    mp_text_add(a, &t, "  %s .. %s%s\n", *r->from ? r->from : "(start)", *r->to ? r->to : "(end)", i == j->split->worst ? "  <- needs most" : "");
  }
  mp_text_add(a, &t, "\n  The whole model on one device: allocated %s, reserved %s.\n", mp_size_text(a, x->timeline->peak.allocated), mp_size_text(a, x->timeline->peak.reserved));
  return t.at;
}

const char *mp_report_split_text(mp_arena *a, const mp_answer *x, const mp_split *s, mp_err *err) {
  if (!x || !s) return NULL;
  job j = {&x, 1, s};
  return mp_protect(a, err, stages, &j);
}
