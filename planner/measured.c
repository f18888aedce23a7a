/* Measured peaks from a CSV table, allocations from PyTorch's memory snapshot. */
#include "planner/measured.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const settings[MP_SETTINGS] = {"dims", "precision", "optimizer", "attention", "checkpoint", "accumulate", "zero_grad", "loss", "freeze"};
const char *mp_setting_name(mp_setting s) { return settings[s]; }

static const struct {
  const char *name, *column;
} quantities[MP_QUANTITIES] = {{"parameters", "param_bytes"}, {"buffers", "buffer_bytes"}, {"inputs", "input_bytes"}, {"gradients", "grad_bytes"},
                               {"optimizer state", "optimizer_bytes"}, {"saved for backward", "saved_bytes"}, {"after the forward pass", "after_forward_bytes"},
                               {"peak of the first iteration", "first_peak_bytes"}, {"peak allocated", "peak_bytes"}, {"reserved", "reserved_bytes"}};
const char *mp_quantity_name(mp_quantity q) { return quantities[q].name; }
const char *mp_quantity_column(mp_quantity q) { return quantities[q].column; }

uint64_t mp_quantity_of(const mp_timeline *t, mp_quantity q) {
  switch (q) {
    case MP_Q_PARAMETERS: return t->parameter_bytes;
    case MP_Q_BUFFERS: return t->buffer_bytes;
    case MP_Q_INPUTS: return t->input_bytes;
    case MP_Q_GRADIENTS: return t->gradient_bytes;
    case MP_Q_OPTIMIZER: return t->optimizer_bytes;
    case MP_Q_SAVED: return t->saved_bytes;
    case MP_Q_AFTER_FORWARD: return t->after_forward;
    case MP_Q_FIRST_PEAK: return t->peak.first_iteration;
    case MP_Q_PEAK: return t->peak.allocated;
    default: return t->peak.reserved;
  }
}

typedef struct reader {
  mp_arena *a;
  const char *path, *model;
  unsigned line;
  int setting[MP_SETTINGS], quantity[MP_QUANTITIES], file, name; /* columns, -1 */
  MP_VEC(mp_measured_row) rows;
  uint32_t others;
} reader;

enum { FIELDS = 256 };

/* cuts a line into fields; quotes as in RFC 4180, without line breaks inside */
static uint32_t cut(const reader *r, char *line, char **field) {
  uint32_t n = 0;
  for (char *p = line; p;) {
    if (n == FIELDS) mp_fail(r->a, MP_BAD_INPUT, "%s:%u: more than %d columns", r->path, r->line, FIELDS);
    char *to = p, *from = p;
    field[n++] = p;
    bool quoted = *from == '"';
    for (from += quoted; *from && (quoted ? from[0] != '"' || from[1] == '"' : *from != ','); *to++ = *from++)
      if (quoted && *from == '"') from++;
    if (quoted && !*from) mp_fail(r->a, MP_BAD_INPUT, "%s:%u: a quote is not closed", r->path, r->line);
    from += quoted;
    p = *from == ',' ? from + 1 : NULL;
    if (quoted && *from && *from != ',') mp_fail(r->a, MP_BAD_INPUT, "%s:%u: a closing quote must end its field", r->path, r->line);
    *to = 0;
  }
  return n;
}

static int column(char **field, uint32_t n, const char *name) {
  for (uint32_t i = 0; i < n; i++)
    if (!strcmp(field[i], name)) return (int)i;
  return -1;
}

static void read_header(reader *r, char *line) {
  char *f[FIELDS];
  uint32_t n = cut(r, line, f);
  bool any = false;
  for (int i = 0; i < MP_SETTINGS; i++) r->setting[i] = column(f, n, settings[i]);
  for (int i = 0; i < MP_QUANTITIES; i++) any |= (r->quantity[i] = column(f, n, quantities[i].column)) >= 0;
  r->file = column(f, n, "onnx_file");
  r->name = column(f, n, "model");
  if (!any) mp_fail(r->a, MP_BAD_INPUT, "%s:%u: no column of bytes; expected a header with peak_bytes, reserved_bytes, saved_bytes or the like", r->path, r->line);
}

/* is it a row of our model: its file's name, or the name before the first dot */
static bool ours(const reader *r, char **f, uint32_t n) {
  const char *slash = strrchr(r->model, '/'), *base = slash ? slash + 1 : r->model;
  if (r->file >= 0 && (uint32_t)r->file < n && *f[r->file]) return !strcmp(f[r->file], base);
  if (r->name < 0 || (uint32_t)r->name >= n || !*f[r->name]) return true;
  size_t k = strlen(f[r->name]);
  return !strncmp(base, f[r->name], k) && (base[k] == '.' || !base[k]);
}

static void read_row(reader *r, char *line) {
  char *f[FIELDS], *end;
  uint32_t n = cut(r, line, f);
  if (!ours(r, f, n)) {
    r->others++;
    return;
  }
  mp_measured_row *row = mp_push(r->a, &r->rows);
  row->line = r->line;
  for (int i = 0; i < MP_SETTINGS; i++)
    if (r->setting[i] >= 0 && (uint32_t)r->setting[i] < n && *f[r->setting[i]]) row->setting[i] = mp_strdup(r->a, f[r->setting[i]]);
  for (int i = 0; i < MP_QUANTITIES; i++) {
    const char *text = r->quantity[i] >= 0 && (uint32_t)r->quantity[i] < n ? f[r->quantity[i]] : "";
    row->bytes[i] = *text ? strtoull(text, &end, 10) : UINT64_MAX;
    if (*text && (*end || *text == '-')) mp_fail(r->a, MP_BAD_INPUT, "%s:%u: %s '%.40s' is no number of bytes", r->path, r->line, quantities[i].column, text);
  }
}

static void read_table(reader *r, char *text) {
  for (char *line = text; line;) {
    char *end = strchr(line, '\n');
    if (end) *end = 0;
    size_t n = strlen(line);
    if (n && line[n - 1] == '\r') line[n - 1] = 0;
    r->line++;
    if (*line) (r->line == 1 ? read_header : read_row)(r, line);
    line = end ? end + 1 : NULL;
  }
  if (r->rows.n) return;
  if (r->others) mp_fail(r->a, MP_BAD_INPUT, "%s: none of its %u rows is of %s (column onnx_file or model)", r->path, r->others, r->model);
  mp_fail(r->a, MP_BAD_INPUT, "%s: no rows; expected a header and a line for each measured run", r->path);
}

/* ---- the snapshot ---- */

static uint64_t rounded(uint64_t n) { return n ? (n + 511) / 512 * 512 : 512; }

static uint64_t bytes_at(const json_t *o, const char *key) {
  json_int_t n = json_integer_value(json_object_get(o, key));
  return n > 0 ? (uint64_t)n : 0;
}

/* the innermost frame that is not the framework's own */
static const char *frame_of(mp_arena *a, const json_t *event) {
  const json_t *frames = json_object_get(event, "frames"), *f;
  for (size_t i = 0; (f = json_array_get(frames, i)); i++) {
    const char *file = json_string_value(json_object_get(f, "filename")), *name = json_string_value(json_object_get(f, "name"));
    if (!file || !name || strstr(file, "/torch/") || strstr(file, ".cpp") || !strcmp(file, "??")) continue;
    const char *slash = strrchr(file, '/');
    return mp_format(a, "%s:%lld %s", slash ? slash + 1 : file, (long long)json_integer_value(json_object_get(f, "line")), name);
  }
  return "";
}

typedef MP_VEC(mp_measured_alloc) allocs;

/* its allocations, and the most that its events hold above where they began; *net: what they leave */
static int64_t read_events(mp_arena *a, const json_t *trace, allocs *list, int64_t *net) {
  const json_t *e;
  int64_t now = 0, top = 0;
  for (size_t i = 0; (e = json_array_get(trace, i)); i++) {
    const char *action = json_string_value(json_object_get(e, "action"));
    uint64_t size = bytes_at(e, "size");
    if (!action) continue;
    if (!strcmp(action, "alloc")) {
      *mp_push(a, list) = (mp_measured_alloc){size, frame_of(a, e)};
      now += (int64_t)rounded(size);
    } else if (!strcmp(action, "free_completed")) {
      now -= (int64_t)rounded(size);
    }
    if (now > top) top = now;
  }
  *net = now;
  return top;
}

static void read_snapshot(mp_arena *a, const json_t *root, mp_measured *m) {
  const json_t *segments = json_object_get(root, "segments"), *traces = json_object_get(root, "device_traces"), *s, *longest = NULL;
  if (!json_is_array(segments) || !json_is_array(traces))
    mp_fail(a, MP_BAD_INPUT, "%s: no memory snapshot; expected json.dump(torch.cuda.memory._snapshot(), file), with segments and device_traces", m->path);
  int64_t held = 0, net = 0;
  for (size_t i = 0; (s = json_array_get(segments, i)); i++) {
    held += (int64_t)bytes_at(s, "allocated_size");
    m->reserved += bytes_at(s, "total_size");
  }
  for (size_t i = 0; (s = json_array_get(traces, i)); i++)
    if (json_array_size(s) > json_array_size(longest)) longest = s;
  if (!json_array_size(longest))
    mp_fail(a, MP_BAD_INPUT, "%s: the snapshot has no history; call torch.cuda.memory._record_memory_history() before the first iteration", m->path);
  allocs list = {0};
  int64_t top = read_events(a, longest, &list, &net), began = held - net;
  m->peak = (uint64_t)((began > 0 ? began : 0) + top);
  m->allocs = list.at;
  m->alloc_count = (uint32_t)list.n;
}

/* ---- the stage ---- */

typedef struct job {
  const char *path, *model;
  char *text;
  json_t *root;
} job;

static const void *make(mp_arena *a, void *arg) {
  job *j = arg;
  mp_measured *m = mp_alloc(a, sizeof *m);
  m->path = j->path;
  size_t n = strlen(j->path);
  if (n > 5 && !strcmp(j->path + n - 5, ".json")) {
    json_error_t e;
    j->root = json_loads(j->text, 0, &e);
    if (!j->root) mp_fail(a, MP_BAD_INPUT, "%s:%d: no JSON: %s", j->path, e.line, e.text);
    read_snapshot(a, j->root, m);
    return m;
  }
  reader r = {.a = a, .path = j->path, .model = j->model};
  read_table(&r, j->text);
  m->rows = r.rows.at;
  m->row_count = (uint32_t)r.rows.n;
  m->other_rows = r.others;
  return m;
}

/* a whole text file, NUL-terminated, from malloc */
static char *slurp(const char *path, mp_err *err) {
  FILE *f = fopen(path, "rb");
  char *text = NULL;
  size_t n = 0, cap = 0, got = 1;
  while (f && got) {
    if (cap - n < 65536) {
      char *more = realloc(text, cap = cap ? 2 * cap : 1 << 18);
      if (!more) break;
      text = more;
    }
    got = fread(text + n, 1, cap - n - 1, f);
    n += got;
  }
  bool bad = !f || got || ferror(f);
  if (bad) mp_err_set(err, MP_BAD_INPUT, "%s: %s; expected a CSV table of measured peaks or a memory snapshot in JSON", path, strerror(errno));
  if (f) fclose(f);
  if (!bad) text[n] = 0;
  if (!bad && strlen(text) != n) mp_err_set(err, MP_BAD_INPUT, "%s: not a text file; a snapshot's pickle must be written again with json.dump", path);
  if (bad || strlen(text) != n) {
    free(text);
    return NULL;
  }
  return text;
}

const mp_measured *mp_measured_read(mp_arena *a, const char *path, const char *model, mp_err *err) {
  mp_err_set(err, MP_OK, "%s", "");
  err->code = MP_OK;
  job j = {path, model, slurp(path, err), NULL};
  if (!j.text) return NULL;
  const mp_measured *m = mp_protect(a, err, make, &j);
  free(j.text);
  json_decref(j.root);
  return m;
}
