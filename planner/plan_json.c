/* Plans as files: what reproduces a plan, and what it was made for. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/checkpointing.h"
#include "planner/optimizer.h"

#define PLAN_VERSION 1

const char *mp_granularity_name(mp_granularity g) {
  static const char *const names[] = {[MP_BY_BLOCKS] = "blocks", [MP_BY_MODULES] = "modules", [MP_BY_CALLS] = "calls", [MP_FREELY] = "free"};
  return names[g];
}

/* ---- fingerprints: FNV-1a, 64 bits ---- */

static uint64_t mix(uint64_t h, const void *bytes, size_t n) {
  const unsigned char *p = bytes;
  for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * UINT64_C(1099511628211);
  return h;
}
static uint64_t mix_text(uint64_t h, const char *s) { return mix(h, s, strlen(s) + 1); }
#define FNV UINT64_C(14695981039346656037)

static uint64_t program_print(const mp_program *p) {
  uint64_t h = FNV;
  for (uint32_t c = 0; c < p->call_count; c++) {
    h = mix_text(h, p->calls[c].row->name);
    h = mix_text(h, p->instances[p->calls[c].module].path);
  }
  for (uint32_t v = 0; v < p->var_count; v++) {
    const mp_var *x = &p->vars[v];
    h = mix(h, &x->role, sizeof x->role);
    h = mix(h, x->dims, (size_t)x->rank * sizeof *x->dims);
    if (x->role == MP_ROLE_PARAMETER) h = mix_text(h, x->name);
  }
  return h;
}

static uint64_t run_print(const mp_run *r) {
  uint64_t h = mix_text(FNV, r->optimizer ? r->optimizer->name : "none");
  uint32_t words[] = {(uint32_t)r->precision, (uint32_t)r->attention, (uint32_t)r->loss, (uint32_t)r->zero_grad, r->accumulate, r->lora_rank,
                      (uint32_t)r->grad_scaler | (uint32_t)r->clip_grad << 1 | (uint32_t)r->ema << 2 | (uint32_t)r->infer << 3 | (uint32_t)r->hold_outputs << 4};
  h = mix(h, words, sizeof words);
  double dropout = r->dropout < 0 ? -1 : r->dropout;
  h = mix(h, &dropout, sizeof dropout);
  for (uint32_t i = 0; i < r->freezes; i++) h = mix_text(h, r->freeze[i]);
  return mix_text(h, r->lora_glob ? r->lora_glob : "");
}

static const char *hex(mp_arena *a, uint64_t h) { return mp_format(a, "%016" PRIx64, h); }

/* ---- writing ---- */

/* "aten::addmm" as PyTorch names the overload that a dispatch mode sees */
static const char *overload(mp_arena *a, const char *op) { return mp_format(a, "aten.%s.default", op + strlen("aten::")); }

typedef MP_VEC(mp_policy_row) policy_rows;

/* the n-th run of each heavy op inside each region, for the calls that are kept */
static policy_rows find_policy(mp_arena *a, const mp_trace *t, const mp_plan *plan) {
  policy_rows rows = {0};
  const mp_region *regions;
  uint32_t n = mp_plan_regions(a, t->program, plan, &regions);
  if (!plan->save_calls) return rows;
  mp_names *ops = mp_names_new(a, 16);
  uint32_t *count = mp_alloc_array(a, 64, sizeof *count);
  int32_t call = -1, region = -1, last_call = -1;
  uint32_t last_op = UINT32_MAX;
  for (uint32_t i = t->input_events; i < t->event_count; i++) {
    const mp_event *ev = &t->events[i];
    if (ev->kind == MP_EV_CALL) {
      call = ev->a;
      int32_t now = -1;
      for (uint32_t r = 0; r < n; r++)
        if (call >= (int32_t)regions[r].first && call < (int32_t)regions[r].end) now = (int32_t)r;
      if (now != region) memset(count, 0, 64 * sizeof *count);
      region = now;
      last_op = UINT32_MAX;
    }
    if (ev->kind != MP_EV_NEW || region < 0) continue;
    const char *op = t->storages[ev->a].op;
    if (!mp_op_is_heavy(op)) continue;
    uint32_t id = mp_names_add(a, ops, op, strlen(op), NULL);
    bool same_kernel = id == last_op && call == last_call && strstr(op, "attention"); /* attention makes several storages in one run */
    last_op = id;
    last_call = call;
    if (same_kernel || id >= 64) continue;
    uint32_t nth = count[id]++;
    if (plan->save_calls[call]) *mp_push(a, &rows) = (mp_policy_row){(uint32_t)region, nth, overload(a, op)};
  }
  return rows;
}

typedef struct job {
  const mp_answer *x;
  const mp_placement *p;
  mp_granularity g;
  uint64_t budget;
} job;

static const void *write_plan(mp_arena *a, void *arg) {
  const job *j = arg;
  const mp_plan *plan = &j->p->plan;
  json_t *inverted = json_array();
  const mp_region *r_all;
  uint32_t r_count = mp_plan_regions(a, j->x->trace->program, plan, &r_all);
  for (uint32_t i = 0; i < r_count; i++) /* by name, so that a framework finds them */
    if (r_all[i].inverse) json_array_append_new(inverted, json_string(mp_region_path(j->x->trace->program, &r_all[i])));
  json_t *regions = json_array(), *saves = json_array(), *policy = json_array(), *notes = json_array();
  for (uint32_t i = 0; i < plan->checkpoints; i++) json_array_append_new(regions, json_string(plan->checkpoint[i]));
  for (uint32_t c = 0; plan->save_calls && c < j->x->program->call_count; c++)
    if (plan->save_calls[c]) json_array_append_new(saves, json_integer(c));
  policy_rows rows = find_policy(a, j->x->trace, plan);
  for (size_t i = 0; i < rows.n; i++) json_array_append_new(policy, json_pack("{s:i,s:s,s:i}", "region", (int)rows.at[i].region, "op", rows.at[i].op, "nth", (int)rows.at[i].nth));
  uint32_t note_count;
  const char *const *n = mp_placement_notes(a, j->x->trace, plan, &note_count);
  for (uint32_t i = 0; i < note_count; i++) json_array_append_new(notes, json_string_nocheck(n[i]));
  const mp_run *r = j->x->question->run;
  json_t *root = json_pack("{s:i,s:{s:s,s:s},s:{s:s,s:s,s:i,s:s},s:s,s:I,s:I,s:o,s:o,s:o,s:o,s:o}", "version", PLAN_VERSION, "model", "file", j->x->question->path, "fingerprint",
                           hex(a, program_print(j->x->program)), "run", "precision", mp_precision_name(r->precision), "optimizer", r->optimizer ? r->optimizer->name : "none",
                           "accumulate", (int)r->accumulate, "fingerprint", hex(a, run_print(r)), "granularity", mp_granularity_name(j->g), "budget", (json_int_t)j->budget, "peak",
                           (json_int_t)j->p->timeline->peak.allocated, "checkpoint", regions, "invertible", inverted, "save_calls", saves, "policy", policy, "notes", notes);
  char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
  json_decref(root);
  if (!text) mp_fail(a, MP_INTERNAL, "out of memory while writing a plan");
  char *copy = mp_strdup(a, text);
  free(text);
  return copy;
}

const char *mp_plan_write(mp_arena *a, const mp_answer *x, const mp_placement *p, mp_granularity g, uint64_t budget, mp_err *err) {
  if (!x || !p) return NULL;
  job j = {x, p, g, budget};
  return mp_protect(a, err, write_plan, &j);
}

/* ---- reading ---- */

static const char *text_at(mp_arena *a, const char *path, json_t *o, const char *key) {
  json_t *v = json_object_get(o, key);
  if (!json_is_string(v)) mp_fail(a, MP_BAD_INPUT, "%s: '%s' is missing or no text; expected the 'plan' object that memplan plan --json prints", path, key);
  return mp_strdup(a, json_string_value(v));
}

static void read_policy(mp_arena *a, const char *path, json_t *list, mp_plan_file *f) {
  f->policies = (uint32_t)json_array_size(list);
  mp_policy_row *rows = mp_alloc_array(a, f->policies + 1, sizeof *rows);
  for (uint32_t i = 0; i < f->policies; i++) {
    json_t *o = json_array_get(list, i);
    json_int_t region = json_integer_value(json_object_get(o, "region")), nth = json_integer_value(json_object_get(o, "nth"));
    if (region < 0 || region >= (json_int_t)f->checkpoints || nth < 0) mp_fail(a, MP_BAD_INPUT, "%s: policy %u names region %lld of %u", path, i, (long long)region, f->checkpoints);
    rows[i] = (mp_policy_row){(uint32_t)region, (uint32_t)nth, text_at(a, path, o, "op")};
  }
  f->policy = rows;
}

static const char *const *paths_at(mp_arena *a, const char *path, json_t *root, const char *key, bool needed, uint32_t *n) {
  json_t *list = json_object_get(root, key);
  if (!json_is_array(list) && (list || needed)) mp_fail(a, MP_BAD_INPUT, "%s: '%s' is missing or no list of module paths", path, key);
  *n = (uint32_t)json_array_size(list);
  const char **paths = mp_alloc_array(a, *n + 1, sizeof *paths);
  for (uint32_t i = 0; i < *n; i++) {
    if (!json_is_string(json_array_get(list, i))) mp_fail(a, MP_BAD_INPUT, "%s: entry %u of '%s' is no text", path, i, key);
    paths[i] = mp_strdup(a, json_string_value(json_array_get(list, i)));
  }
  return paths;
}

static const void *read_root(mp_arena *a, const char *path, json_t *root) {
  json_t *plan = json_object_get(root, "plan");
  if (json_is_object(plan)) root = plan; /* the whole answer of memplan plan --json */
  json_int_t version = json_integer_value(json_object_get(root, "version"));
  if (version != PLAN_VERSION) mp_fail(a, MP_BAD_INPUT, "%s: plan version %lld; this memplan reads version %d", path, (long long)version, PLAN_VERSION);
  mp_plan_file *f = mp_alloc(a, sizeof *f);
  f->path = path;
  f->model = text_at(a, path, json_object_get(root, "model"), "file");
  f->program_print = text_at(a, path, json_object_get(root, "model"), "fingerprint");
  f->run_print = text_at(a, path, json_object_get(root, "run"), "fingerprint");
  f->granularity = text_at(a, path, root, "granularity");
  f->budget = (uint64_t)json_integer_value(json_object_get(root, "budget"));
  f->peak = (uint64_t)json_integer_value(json_object_get(root, "peak"));
  json_t *saves = json_object_get(root, "save_calls");
  f->checkpoint = paths_at(a, path, root, "checkpoint", true, &f->checkpoints);
  f->invertible = paths_at(a, path, root, "invertible", false, &f->invertibles);
  f->saves = (uint32_t)json_array_size(saves);
  uint32_t *calls = mp_alloc_array(a, f->saves + 1, sizeof *calls);
  for (uint32_t i = 0; i < f->saves; i++) calls[i] = (uint32_t)json_integer_value(json_array_get(saves, i));
  f->save_calls = calls;
  read_policy(a, path, json_object_get(root, "policy"), f);
  return f;
}

typedef struct read_job {
  const char *path;
  json_t *root;
} read_job;
static const void *read_body(mp_arena *a, void *arg) {
  const read_job *j = arg;
  return read_root(a, j->path, j->root);
}

const mp_plan_file *mp_plan_read(mp_arena *a, const char *path, mp_err *err) {
  json_error_t e;
  json_t *root = json_load_file(path, 0, &e);
  err->code = MP_OK;
  if (!root) {
    mp_err_set(err, MP_BAD_INPUT, "%s:%d: %s; expected a plan that memplan plan --json printed", path, e.line, e.text);
    return NULL;
  }
  read_job j = {path, root};
  const mp_plan_file *f = mp_protect(a, err, read_body, &j);
  json_decref(root);
  return f;
}

typedef struct bind_job {
  const mp_plan_file *f;
  const mp_trace *t;
} bind_job;

static const void *bind(mp_arena *a, void *arg) {
  const bind_job *j = arg;
  const mp_plan_file *f = j->f;
  if (strcmp(f->program_print, hex(a, program_print(j->t->program))))
    mp_fail(a, MP_BAD_INPUT, "%s: made for another model or other dims than %s has here (fingerprint %s); plan again", f->path, j->t->program->path, f->program_print);
  if (strcmp(f->run_print, hex(a, run_print(j->t->run))))
    mp_fail(a, MP_BAD_INPUT, "%s: made for another run (precision, optimizer, accumulation ...); give the same options or plan again", f->path);
  mp_plan *p = mp_alloc(a, sizeof *p);
  p->checkpoint = f->checkpoint;
  p->checkpoints = f->checkpoints;
  p->invertible = f->invertible;
  p->invertibles = f->invertibles;
  int8_t *save = mp_alloc(a, j->t->program->call_count + 1);
  for (uint32_t i = 0; i < f->saves; i++) {
    if (f->save_calls[i] >= j->t->program->call_count) mp_fail(a, MP_BAD_INPUT, "%s: keeps call %u of %u", f->path, f->save_calls[i], j->t->program->call_count);
    save[f->save_calls[i]] = 1;
  }
  if (f->saves) p->save_calls = save;
  return p;
}

const mp_plan *mp_plan_bind(mp_arena *a, const mp_plan_file *f, const mp_trace *t, mp_err *err) {
  if (!f || !t) return NULL;
  bind_job j = {f, t};
  return mp_protect(a, err, bind, &j);
}
