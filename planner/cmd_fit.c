/* memplan fit MODEL... --device D[,D...]: does training fit? Exit 0 when everything asked for fits, 1 when something does not. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "planner/cmd.h"
#include "planner/cmd_options.h"

enum { TREE = 0x300, TOP, TIMELINE };

typedef struct fit {
  mp_options o;
  mp_fit_view view;
  const char *timeline; /* file to write, NULL */
  int code;
} fit;

/* ---- what is asked: every model with every combination of dims ---- */

static int by_name(const void *x, const void *y) { return strcmp(*(char *const *)x, *(char *const *)y); }

typedef MP_VEC(const char *) paths;

static void add_folder(mp_arena *a, paths *p, const char *folder) {
  size_t before = p->n;
  DIR *d = opendir(folder);
  if (!d) mp_fail(a, MP_BAD_INPUT, "%s: the folder cannot be read", folder);
  for (struct dirent *f; (f = readdir(d));) {
    size_t n = strlen(f->d_name);
    if (n > 5 && !strcmp(f->d_name + n - 5, ".onnx")) *mp_push(a, p) = mp_format(a, "%s/%s", folder, f->d_name);
  }
  closedir(d);
  if (p->n == before) mp_fail(a, MP_BAD_INPUT, "%s: a folder without .onnx files; give a model or a folder of models", folder);
  qsort(p->at + before, p->n - before, sizeof *p->at, by_name);
}

static paths find_models(mp_arena *a, const mp_options *o) {
  paths p = {0};
  for (uint32_t i = 0; i < o->models.n; i++) {
    struct stat st;
    if (stat(o->models.at[i], &st) == 0 && S_ISDIR(st.st_mode)) add_folder(a, &p, o->models.at[i]);
    else *mp_push(a, &p) = o->models.at[i];
  }
  return p;
}

typedef MP_VEC(const char *) texts;

/* "batch=1,2,4" -> batch=1 batch=2 batch=4; "batch=1..64" -> by doubling */
static texts choices(mp_arena *a, const char *dim) {
  texts r = {0};
  const char *eq = strrchr(dim, '=');
  int name = eq ? (int)(eq - dim) : 0;
  if (!eq || (!strchr(eq, ',') && !strstr(eq, ".."))) {
    *mp_push(a, &r) = dim;
    return r;
  }
  const char *dots = strstr(eq, "..");
  if (dots) {
    char *end, *far;
    long from = strtol(eq + 1, &end, 10), to = strtol(dots + 2, &far, 10);
    if (end != dots || *far || from < 1 || to < from) mp_fail(a, MP_BAD_INPUT, "--dim '%s': expected NAME=A..B with 1 <= A <= B", dim);
    for (long n = from; n <= to; n *= 2) *mp_push(a, &r) = mp_format(a, "%.*s=%ld", name, dim, n);
    return r;
  }
  mp_words w = {0};
  mp_words_split(a, &w, eq + 1);
  for (uint32_t i = 0; i < w.n; i++) *mp_push(a, &r) = mp_format(a, "%.*s=%s", name, dim, w.at[i]);
  return r;
}

typedef MP_VEC(const mp_question *) questions;

static questions ask(mp_arena *a, const mp_options *o) {
  questions all = {0};
  paths models = find_models(a, o);
  mp_err err;
  uint32_t device_count;
  const mp_device *const *devices = mp_or_fail(a, mp_options_devices(o, &device_count, &err), &err);
  const mp_plan *plan = mp_options_plan(o);
  texts *lists = mp_alloc_array(a, o->dims.n + 1, sizeof *lists);
  size_t combinations = 1;
  for (uint32_t i = 0; i < o->dims.n; i++) {
    lists[i] = choices(a, o->dims.at[i]);
    combinations *= lists[i].n;
    if (combinations > 4096) mp_fail(a, MP_BAD_INPUT, "--dim asks for more than 4096 combinations");
  }
  for (size_t m = 0; m < models.n; m++)
    for (size_t c = 0; c < combinations; c++) {
      mp_binding *b = mp_alloc_array(a, o->dims.n + 1, sizeof *b);
      size_t rest = c;
      for (uint32_t i = o->dims.n; i-- > 0; rest /= lists[i].n)
        if (!mp_binding_parse(a, lists[i].at[rest % lists[i].n], &b[i], &err)) mp_or_fail(a, NULL, &err);
      mp_question *q = mp_alloc(a, sizeof *q);
      *q = (mp_question){.path = models.at[m], .bindings = b, .binding_count = o->dims.n, .run = &o->run, .plan = plan, .plan_file = mp_options_plan_file(o),
                         .devices = devices, .device_count = device_count, .workspaces = o->workspaces};
      *mp_push(a, &all) = q;
    }
  return all;
}

/* ---- what is answered ---- */

static bool ranks(const mp_options *o) {
  for (uint32_t i = 0; i < o->devices.n; i++)
    if (!strcmp(o->devices.at[i], "all")) return true;
  return false;
}

static void judge(fit *f, const mp_verdict *v, uint32_t n) {
  bool some = false, every = true;
  for (uint32_t i = 0; i < n; i++) {
    some = some || v[i].fits != MP_FITS_NOT;
    every = every && v[i].fits != MP_FITS_NOT;
  }
  if (n && !(ranks(&f->o) ? some : every)) f->code = 1;
}

static void write_timeline(mp_arena *a, const fit *f, const mp_answer *x) {
  mp_err err;
  bool csv = !strcmp(f->timeline + strlen(f->timeline) - 4, ".csv");
  const char *text = mp_or_fail(a, csv ? mp_report_timeline_csv(a, x, &err) : mp_report_timeline_trace(a, x, &err), &err);
  FILE *to = fopen(f->timeline, "w");
  bool written = to && fputs(text, to) >= 0;
  if (to && fclose(to)) written = false;
  if (!written) mp_fail(a, MP_BAD_INPUT, "--timeline: %s cannot be written: %s", f->timeline, strerror(errno));
}

static const void *run(mp_arena *a, void *arg) {
  fit *f = arg;
  mp_err err;
  questions q = ask(a, &f->o);
  const mp_answer **x = mp_alloc_array(a, q.n + 1, sizeof *x);
  for (size_t i = 0; i < q.n; i++) {
    x[i] = mp_or_fail(a, mp_answer_make(a, q.at[i], &err), &err);
    if (f->o.stages < 2) judge(f, x[i]->verdicts, q.at[i]->device_count);
  }
  if (f->timeline && (q.n > 1 || f->o.stages > 1)) mp_fail(a, MP_BAD_INPUT, "--timeline writes one model with one set of dims on one device");
  if (f->timeline) write_timeline(a, f, x[0]);
  const mp_split *s = NULL;
  if (f->o.stages > 1) {
    if (q.n > 1) mp_fail(a, MP_BAD_INPUT, "--devices splits one model with one set of dims at a time");
    s = mp_or_fail(a, mp_split_answer(a, x[0], f->o.stages, &err), &err);
    judge(f, s->rows[s->worst].verdicts, q.at[0]->device_count);
  }
  if (f->o.json) return mp_or_fail(a, mp_report_fit_json(a, x, (uint32_t)q.n, s, f->view.top, &err), &err);
  if (s) return mp_or_fail(a, mp_report_split_text(a, x[0], s, &err), &err);
  if (q.n > 1) return mp_or_fail(a, mp_report_fit_table(a, x, (uint32_t)q.n, &err), &err);
  if (ranks(&f->o)) return mp_or_fail(a, mp_report_fit_ranking(a, x[0], &err), &err);
  const mp_advice *ad = f->o.quiet ? NULL : mp_or_fail(a, mp_advice_make(a, x[0], &err), &err);
  return mp_or_fail(a, mp_report_fit_text(a, x[0], ad, &f->view, &err), &err);
}

static bool ends_with(const char *s, const char *end) {
  size_t n = strlen(s), k = strlen(end);
  return n >= k && !strcmp(s + n - k, end);
}

static const struct argp_option more[] = {
    {"tree", TREE, 0, 0, "bytes saved and operations by module", 5},
    {"timeline", TIMELINE, "FILE", 0, "write bytes alive after every step: FILE.csv a table, FILE.json a trace for Perfetto and chrome://tracing", 5},
    {"top", TOP, "N", 0, "the N largest storages and free blocks at the peak", 5},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state) {
  fit *f = state->input;
  switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &f->o; break;
    case TREE: f->view.tree = true; break;
    case TIMELINE:
      f->timeline = arg;
      if (!ends_with(arg, ".csv") && !ends_with(arg, ".json")) argp_error(state, "--timeline: '%s' ends neither in .csv nor in .json", arg);
      break;
    case TOP:
      f->view.top = (uint32_t)strtoul(arg, NULL, 10);
      if (!f->view.top) argp_error(state, "--top: '%s' is not a number from 1 on", arg);
      break;
    default: return ARGP_ERR_UNKNOWN;
  }
  return 0;
}

int mp_cmd_fit(int argc, char **argv) {
  static const struct argp_child children[] = {{&mp_options_argp, 0, NULL, 0}, {0}};
  static const struct argp argp = {more, parse, "MODEL...", "How much memory one training step takes, and whether it fits a device.", children, NULL, NULL};
  mp_arena *a = mp_arena_new(0);
  fit *f = calloc(1, sizeof *f);
  int code = 3;
  if (a && f) {
    mp_options_init(&f->o, a);
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, f);
    mp_err err;
    const char *text = mp_protect(a, &err, run, f);
    code = text ? f->code : mp_complain("memplan fit", &err);
    if (text) fputs(text, stdout);
    if (text && f->o.json) fputc('\n', stdout);
  }
  free(f);
  mp_arena_free(a);
  return code;
}
