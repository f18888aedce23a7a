/* Prediction and measurement side by side: what each run's table says of categories and peaks, and where a snapshot's allocations part from the tape's. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "planner/measured.h"
#include "planner/report.h"

/* ---- rows of a table ---- */

typedef struct rows_job {
  const mp_measured *m;
  const mp_answer *const *x;
  const char *const *why;
  bool json;
} rows_job;

static const char *model_of(const rows_job *j) {
  uint32_t i = 0;
  while (!j->x[i]) i++;
  return j->x[i]->question->path;
}

static double error_of(uint64_t predicted, uint64_t measured) { return measured ? ((double)predicted - (double)measured) / (double)measured : predicted ? 1 : 0; }

static const char *label_of(mp_arena *a, const mp_measured_row *r) {
  mp_text t = {0};
  for (int i = 0; i < MP_SETTINGS; i++)
    if (r->setting[i] && strcmp(r->setting[i], "none") && strcmp(r->setting[i], "1") && strcmp(r->setting[i], "start")) mp_text_add(a, &t, "%s%s", t.n ? " " : "", r->setting[i]);
  return t.n ? t.at : mp_format(a, "line %u", r->line);
}

/* the first quantity, in the order in which one follows from another, that was measured and is not the predicted one to the byte */
static int parts_at(const mp_measured_row *r, const mp_answer *x) {
  for (int q = 0; q < MP_QUANTITIES; q++)
    if (r->bytes[q] != UINT64_MAX && r->bytes[q] != mp_quantity_of(x->timeline, (mp_quantity)q)) return q;
  return -1;
}

static int by_value(const void *x, const void *y) {
  double a = *(const double *)x, b = *(const double *)y;
  return (a > b) - (a < b);
}

/* absolute errors of one quantity over the rows, sorted */
static double *errors_of(mp_arena *a, const rows_job *j, mp_quantity q, uint32_t *n) {
  double *e = mp_alloc_array(a, j->m->row_count + 1, sizeof *e);
  *n = 0;
  for (uint32_t i = 0; i < j->m->row_count; i++) {
    if (!j->x[i] || j->m->rows[i].bytes[q] == UINT64_MAX) continue;
    double x = error_of(mp_quantity_of(j->x[i]->timeline, q), j->m->rows[i].bytes[q]);
    e[(*n)++] = x < 0 ? -x : x;
  }
  if (*n) qsort(e, *n, sizeof *e, by_value);
  return e;
}

static void one_row(mp_arena *a, mp_text *t, const mp_measured_row *r, const mp_answer *x) {
  mp_text_add(a, t, "  %-28s %14s %14s %14s\n", "", "predicted", "measured", "difference");
  for (int q = 0; q < MP_QUANTITIES; q++) {
    if (r->bytes[q] == UINT64_MAX) continue;
    uint64_t p = mp_quantity_of(x->timeline, (mp_quantity)q), gap = p > r->bytes[q] ? p - r->bytes[q] : r->bytes[q] - p;
    mp_text_add(a, t, "  %-28s %14s %14s %14s %+8.3f %%%s\n", mp_quantity_name((mp_quantity)q), mp_size_text(a, p), mp_size_text(a, r->bytes[q]),
                gap ? mp_format(a, "%s%s", p < r->bytes[q] ? "-" : "+", mp_size_text(a, gap)) : "none", 100 * error_of(p, r->bytes[q]), parts_at(r, x) == q ? "  <- parts here" : "");
  }
}

static const char *rows_text(mp_arena *a, const rows_job *j) {
  mp_text t = {0};
  mp_text_add(a, &t, "%s beside %s: %u runs%s\n\n", model_of(j), j->m->path, j->m->row_count,
              j->m->other_rows ? mp_format(a, " (%u of other models left out)", j->m->other_rows) : "");
  if (j->m->row_count == 1) {
    one_row(a, &t, &j->m->rows[0], j->x[0]);
    return t.at;
  }
  int width = 3;
  for (uint32_t i = 0; i < j->m->row_count; i++) width = (int)strlen(label_of(a, &j->m->rows[i])) > width ? (int)strlen(label_of(a, &j->m->rows[i])) : width;
  mp_text_add(a, &t, "  %-*s %12s %12s %9s %12s %12s %9s  %s\n", width, "run", "peak", "measured", "error", "reserved", "measured", "error", "parts at");
  for (uint32_t i = 0; i < j->m->row_count; i++) {
    const mp_measured_row *r = &j->m->rows[i];
    mp_text_add(a, &t, "  %-*s", width, label_of(a, r));
    if (!j->x[i]) {
      mp_text_add(a, &t, "  not predicted: %s\n", j->why[i]);
      continue;
    }
    int at = parts_at(r, j->x[i]);
    for (int q = MP_Q_PEAK; q <= MP_Q_RESERVED; q++) {
      uint64_t p = mp_quantity_of(j->x[i]->timeline, (mp_quantity)q);
      if (r->bytes[q] == UINT64_MAX) mp_text_add(a, &t, " %12s %12s %9s", mp_size_text(a, p), "-", "");
      else mp_text_add(a, &t, " %12s %12s %+7.3f %%", mp_size_text(a, p), mp_size_text(a, r->bytes[q]), 100 * error_of(p, r->bytes[q]));
    }
    mp_text_add(a, &t, "  %s\n", at < 0 ? "nowhere: equal to the byte" : mp_quantity_name((mp_quantity)at));
  }
  mp_text_add(a, &t, "\n  %-28s %6s %9s %9s %9s\n", "error without its sign", "runs", "median", "p95", "largest");
  for (int q = 0; q < MP_QUANTITIES; q++) {
    uint32_t n;
    const double *e = errors_of(a, j, (mp_quantity)q, &n);
    if (n) mp_text_add(a, &t, "  %-28s %6u %7.3f %% %7.3f %% %7.3f %%\n", mp_quantity_name((mp_quantity)q), n, 100 * e[n / 2], 100 * e[(n - 1) * 95 / 100], 100 * e[n - 1]);
  }
  return t.at;
}

static json_t *rows_json(mp_arena *a, const rows_job *j) {
  json_t *list = json_array(), *median = json_object();
  for (uint32_t i = 0; i < j->m->row_count; i++) {
    const mp_measured_row *r = &j->m->rows[i];
    if (!j->x[i]) {
      json_array_append_new(list, json_pack("{s:i,s:s}", "line", (int)r->line, "error", j->why[i]));
      continue;
    }
    json_t *predicted = json_object(), *measured = json_object(), *setting = json_object();
    for (int s = 0; s < MP_SETTINGS; s++)
      if (r->setting[s]) json_object_set_new(setting, mp_setting_name((mp_setting)s), json_string_nocheck(r->setting[s]));
    for (int q = 0; q < MP_QUANTITIES; q++) {
      json_object_set_new(predicted, mp_quantity_column((mp_quantity)q), json_integer((json_int_t)mp_quantity_of(j->x[i]->timeline, (mp_quantity)q)));
      if (r->bytes[q] != UINT64_MAX) json_object_set_new(measured, mp_quantity_column((mp_quantity)q), json_integer((json_int_t)r->bytes[q]));
    }
    int at = parts_at(r, j->x[i]);
    json_t *row = json_pack("{s:i,s:o,s:o,s:o}", "line", (int)r->line, "run", setting, "predicted", predicted, "measured", measured);
    json_object_set_new(row, "parts_at", at < 0 ? json_null() : json_string(mp_quantity_column((mp_quantity)at)));
    json_array_append_new(list, row);
  }
  for (int q = 0; q < MP_QUANTITIES; q++) {
    uint32_t n;
    const double *e = errors_of(a, j, (mp_quantity)q, &n);
    if (n) json_object_set_new(median, mp_quantity_column((mp_quantity)q), json_pack("{s:i,s:f,s:f}", "runs", (int)n, "median", e[n / 2], "largest", e[n - 1]));
  }
  return json_pack("{s:s,s:s,s:o,s:o}", "model", model_of(j), "measured", j->m->path, "rows", list, "errors", median);
}

static const char *dump(mp_arena *a, json_t *root) {
  char *s = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
  json_decref(root);
  if (!s) mp_fail(a, MP_INTERNAL, "out of memory while writing JSON");
  char *copy = mp_strdup(a, s);
  free(s);
  return copy;
}

static const void *rows(mp_arena *a, void *arg) {
  const rows_job *j = arg;
  return j->json ? dump(a, rows_json(a, j)) : rows_text(a, j);
}

const char *mp_report_diff_rows(mp_arena *a, const mp_measured *m, const mp_answer *const *answers, const char *const *why, bool json, mp_err *err) {
  if (!m || !answers || !m->row_count) return NULL;
  rows_job j = {m, answers, why, json};
  return mp_protect(a, err, rows, &j);
}

/* ---- a snapshot ---- */

typedef struct place { /* predicted allocations [p, p + ps) stand where measured [m, m + ms) do */
  uint32_t p, ps, m, ms;
} place;

typedef struct match {
  const mp_tape *t;
  const uint32_t *step; /* of each predicted allocation */
  uint32_t predicted, repeat; /* repeat: the first of the steady iteration, to which its end returns */
  const mp_measured_alloc *measured;
  uint32_t measured_count, begun_p, begun_m, alike, workspaces;
  MP_VEC(place) places;
  bool lost; /* nothing was found alike after the last place */
} match;

enum { NEEDED = 12, SEARCH = 256, WINDOW = 400, RESUME = 4 };

static uint32_t next_of(const match *k, uint32_t p) { return p + 1 < k->predicted ? p + 1 : k->repeat; }
static uint32_t ahead(const match *k, uint32_t p, uint32_t n) {
  while (n--) p = next_of(k, p);
  return p;
}

static bool alike(const match *k, uint32_t p, uint32_t m) { return (k->t->steps[k->step[p]].bytes + 511) / 512 == (k->measured[m].bytes + 511) / 512; }

/* are the next n of both alike (fewer where the measured ones end) */
static bool runs_alike(const match *k, uint32_t p, uint32_t m, uint32_t n) {
  for (uint32_t i = 0; i < n && m + i < k->measured_count; i++, p = next_of(k, p))
    if (!alike(k, p, m + i)) return false;
  return m < k->measured_count;
}

/* a history may begin anywhere: the first dozen allocations that are found in the tape */
static bool begin(match *k) {
  for (k->begun_m = 0; k->begun_m < SEARCH && k->begun_m < k->measured_count; k->begun_m++)
    for (k->begun_p = 0; k->begun_p < k->predicted; k->begun_p++)
      if (runs_alike(k, k->begun_p, k->begun_m, NEEDED)) return true;
  return false;
}

/* cuBLAS takes its workspace from the caching allocator: CUDABlas.cpp, getChosenWorkspaceSize (:4096:2:16:8 KiB; 32 MiB on Hopper) */
static bool is_workspace(uint64_t bytes) { return bytes == 8519680 || bytes == UINT64_C(33554432); }

/* the nearest place after (p, m) from which both go on alike */
static bool resume(const match *k, uint32_t p, uint32_t m, uint32_t *dp, uint32_t *dm) {
  for (uint32_t d = 1; d < WINDOW; d++)
    for (uint32_t i = 0; i <= d; i++)
      if (m + d - i < k->measured_count && runs_alike(k, ahead(k, p, i), m + d - i, RESUME)) {
        *dp = i;
        *dm = d - i;
        return true;
      }
  return false;
}

static void walk(mp_arena *a, match *k) {
  uint32_t p = k->begun_p, m = k->begun_m;
  while (m < k->measured_count) {
    if (alike(k, p, m)) {
      k->alike++;
      p = next_of(k, p);
      m++;
      continue;
    }
    if (is_workspace(k->measured[m].bytes)) {
      k->workspaces++;
      m++;
      continue;
    }
    uint32_t dp = 0, dm = 0;
    k->lost = !resume(k, p, m, &dp, &dm);
    *mp_push(a, &k->places) = (place){p, k->lost ? 1 : dp, m, k->lost ? 1 : dm};
    if (k->lost) return;
    p = ahead(k, p, dp);
    m += dm;
  }
}

typedef struct snapshot_job {
  const mp_measured *m;
  const mp_answer *x;
  uint32_t places;
  bool json;
} snapshot_job;

static match *compare(mp_arena *a, const snapshot_job *j) {
  const mp_tape *t = j->x->tape;
  match *k = mp_alloc(a, sizeof *k);
  uint32_t *step = mp_alloc_array(a, t->step_count + 1, sizeof *step), last = t->step_count ? t->steps[t->step_count - 1].iteration : 0;
  *k = (match){.t = t, .step = step, .measured = j->m->allocs, .measured_count = j->m->alloc_count, .repeat = UINT32_MAX};
  for (uint32_t i = 0; i < t->step_count; i++) {
    if (t->steps[i].kind != MP_ALLOC || !t->steps[i].bytes) continue;
    if (t->steps[i].iteration == last && k->repeat == UINT32_MAX) k->repeat = k->predicted;
    step[k->predicted++] = i;
  }
  if (!k->predicted) mp_fail(a, MP_BAD_INPUT, "%s: a step that allocates nothing has nothing to compare", j->x->question->path);
  if (k->repeat == UINT32_MAX) k->repeat = 0;
  if (!begin(k))
    mp_fail(a, MP_BAD_INPUT, "%s: no %d allocations in a row are those of %s with this run; are --dim, --precision, --optimizer and --attention those of the measured one?", j->m->path,
            NEEDED, j->x->question->path);
  walk(a, k);
  return k;
}

static const char *module_of(const match *k, const mp_step *s) {
  const mp_program *p = k->t->trace->program;
  return s->call >= 0 ? p->instances[p->calls[s->call].module].path : "";
}

static const char *predicted_text(mp_arena *a, const match *k, const place *at, uint32_t i) {
  if (i >= at->ps) return "-";
  const mp_step *s = &k->t->steps[k->step[ahead(k, at->p, i)]];
  return mp_format(a, "%s  %s %s%s%s", mp_count_text(a, s->bytes), mp_phase_name((mp_phase)s->phase), s->op ? s->op : "", *module_of(k, s) ? " in " : "", module_of(k, s));
}

static void place_text(mp_arena *a, mp_text *t, const match *k, const place *at) {
  uint32_t n = at->ps > at->ms ? at->ps : at->ms;
  mp_text_add(a, t, "\n  allocation %u of the snapshot%s\n", at->m, k->lost && at == &k->places.at[k->places.n - 1] ? ", after which nothing is alike" : "");
  for (uint32_t i = 0; i < n && i < 6; i++) {
    const mp_measured_alloc *m = i < at->ms ? &k->measured[at->m + i] : NULL;
    mp_text_add(a, t, "    %-70s | %s\n", predicted_text(a, k, at, i), m ? mp_format(a, "%s  %s", mp_count_text(a, m->bytes), m->where) : "-");
  }
  if (n > 6) mp_text_add(a, t, "    ... %u more\n", n - 6);
}

static const char *snapshot_text(mp_arena *a, const snapshot_job *j) {
  const match *k = compare(a, j);
  mp_text t = {0};
  const mp_peak *p = &j->x->timeline->peak;
  mp_text_add(a, &t, "%s beside %s\n\n  %-20s %14s %14s %10s\n", j->x->question->path, j->m->path, "", "predicted", "measured", "error");
  mp_text_add(a, &t, "  %-20s %14s %14s %+8.3f %%\n", "peak allocated", mp_size_text(a, p->allocated), mp_size_text(a, j->m->peak), 100 * error_of(p->allocated, j->m->peak));
  mp_text_add(a, &t, "  %-20s %14s %14s %+8.3f %%\n\n  at the predicted peak:", "reserved", mp_size_text(a, p->reserved), mp_size_text(a, j->m->reserved), 100 * error_of(p->reserved, j->m->reserved));
  for (int c = 0; c < MP_CATEGORIES; c++)
    if (p->by[c]) mp_text_add(a, &t, " %s %s;", mp_category_name((mp_category)c), mp_size_text(a, p->by[c]));
  const mp_step *first = &k->t->steps[k->step[k->begun_p]];
  mp_text_add(a, &t, "\n\n  %u allocations in order; the %s is the tape's %u. (%s, iteration %d). %u are alike, %u are cuBLAS workspaces, and they part in %u places.\n", j->m->alloc_count,
              k->begun_m ? mp_format(a, "%u.", k->begun_m + 1) : "first", k->begun_p + 1, mp_phase_name((mp_phase)first->phase), first->iteration + 1, k->alike, k->workspaces,
              (unsigned)k->places.n);
  if (k->places.n) mp_text_add(a, &t, "\n    %-70s | %s\n", "predicted: bytes, phase, call, module", "measured: bytes, source line");
  for (uint32_t i = 0; i < k->places.n && i < j->places; i++) place_text(a, &t, k, &k->places.at[i]);
  if (k->places.n > j->places) mp_text_add(a, &t, "\n  ... and %u more places (--top N shows N)\n", (unsigned)k->places.n - j->places);
  return t.at;
}

static json_t *place_json(const match *k, const place *at) {
  json_t *predicted = json_array(), *measured = json_array();
  for (uint32_t i = 0; i < at->ps; i++) {
    const mp_step *s = &k->t->steps[k->step[ahead(k, at->p, i)]];
    json_array_append_new(predicted, json_pack("{s:I,s:s,s:s,s:s}", "bytes", (json_int_t)s->bytes, "phase", mp_phase_name((mp_phase)s->phase), "call", s->op ? s->op : "", "module",
                                               module_of(k, s)));
  }
  for (uint32_t i = 0; i < at->ms; i++)
    json_array_append_new(measured, json_pack("{s:I,s:s}", "bytes", (json_int_t)k->measured[at->m + i].bytes, "where", k->measured[at->m + i].where));
  return json_pack("{s:i,s:o,s:o}", "allocation", (int)at->m, "predicted", predicted, "measured", measured);
}

static json_t *snapshot_json(mp_arena *a, const snapshot_job *j) {
  const match *k = compare(a, j);
  const mp_peak *p = &j->x->timeline->peak;
  json_t *places = json_array();
  for (uint32_t i = 0; i < k->places.n && i < j->places; i++) json_array_append_new(places, place_json(k, &k->places.at[i]));
  return json_pack("{s:s,s:s,s:{s:I,s:I},s:{s:I,s:I},s:i,s:i,s:i,s:i,s:b,s:o}", "model", j->x->question->path, "measured", j->m->path, "predicted_bytes", "peak", (json_int_t)p->allocated,
                   "reserved", (json_int_t)p->reserved, "measured_bytes", "peak", (json_int_t)j->m->peak, "reserved", (json_int_t)j->m->reserved, "allocations",
                   (int)j->m->alloc_count, "alike", (int)k->alike, "workspaces", (int)k->workspaces, "parts", (int)k->places.n, "lost", k->lost, "places", places);
}

static const void *snapshot(mp_arena *a, void *arg) {
  const snapshot_job *j = arg;
  return j->json ? dump(a, snapshot_json(a, j)) : snapshot_text(a, j);
}

const char *mp_report_diff_snapshot(mp_arena *a, const mp_measured *m, const mp_answer *x, uint32_t places, bool json, mp_err *err) {
  if (!m || !x) return NULL;
  snapshot_job j = {m, x, places, json};
  return mp_protect(a, err, snapshot, &j);
}
