/* What would make it fit: a table of changes, each tried by building its tape. */
#include <stdlib.h>
#include <string.h>

#include "planner/fuse.h"

double mp_overhead(const mp_timeline *t) {
  double base = (double)t->flops_forward + (double)t->flops_backward;
  return base > 0 ? (double)t->flops_recompute / base : 0;
}

/* One row a change. Where `fewer` is set, the micro-batch is halved until it fits, its samples accumulated over more of them. */
enum { AS_ASKED, BLOCKS = 1, INVERSES = 2, EXPANDABLE = 4 /* the allocator's segments: nothing else changes */, KERNEL = 8 /* attention that the file writes out runs in one */ };
typedef struct change {
  unsigned how; /* of these */
  bool fewer;
  int precision;         /* -1: as asked */
  const char *optimizer; /* NULL: as asked */
  uint32_t devices;
  const char *words;
} change;

static const change changes[] = {
    {EXPANDABLE, false, -1, NULL, 1, "--expandable-segments"},
    {AS_ASKED, true, -1, NULL, 1, ""},
    {KERNEL, false, -1, NULL, 1, "--attention sdpa"},
    {KERNEL, false, MP_AMP_BF16, NULL, 1, "--precision amp-bf16 --attention sdpa"},
    {KERNEL | BLOCKS, false, -1, NULL, 1, "--attention sdpa --checkpoint blocks"},
    {BLOCKS, false, -1, NULL, 1, "--checkpoint blocks"},
    {BLOCKS, true, -1, NULL, 1, "--checkpoint blocks"},
    {INVERSES, false, -1, NULL, 1, "--invertible auto"},
    {AS_ASKED, false, MP_AMP_BF16, NULL, 1, "--precision amp-bf16"},
    {AS_ASKED, true, MP_AMP_BF16, NULL, 1, "--precision amp-bf16"},
    {BLOCKS, false, MP_AMP_BF16, NULL, 1, "--precision amp-bf16 --checkpoint blocks"},
    {AS_ASKED, false, MP_PURE_BF16, NULL, 1, "--precision bf16"},
    {BLOCKS, false, MP_PURE_BF16, NULL, 1, "--precision bf16 --checkpoint blocks"},
    {BLOCKS, true, MP_PURE_BF16, NULL, 1, "--precision bf16 --checkpoint blocks"},
    {AS_ASKED, false, -1, "adamw-8bit", 1, "--optimizer adamw-8bit"},
    {AS_ASKED, false, -1, "adafactor", 1, "--optimizer adafactor"},
    {BLOCKS, true, -1, "adafactor", 1, "--optimizer adafactor --checkpoint blocks"},
    {AS_ASKED, false, -1, NULL, 2, "--devices 2"},
    {AS_ASKED, false, -1, NULL, 4, "--devices 4"},
    {AS_ASKED, false, -1, NULL, 8, "--devices 8"},
    {BLOCKS, false, -1, NULL, 4, "--devices 4 --checkpoint blocks"},
};
#define CHANGES (sizeof changes / sizeof *changes)

typedef struct trial {
  const mp_answer *x;
  const change *c;
  int32_t batch; /* binding that is the batch, -1 */
  const mp_device *device;
  mp_advice_row row;
  bool done;
} trial;

/* the binding that counts samples: named so, else the one that the first input's first axis has */
static int32_t find_batch(const mp_question *q) {
  for (uint32_t i = 0; i < q->binding_count; i++)
    if (q->bindings[i].axis < 0 && (!strncmp(q->bindings[i].name, "batch", 5) || !strcmp(q->bindings[i].name, "N") || !strcmp(q->bindings[i].name, "bs"))) return (int32_t)i;
  for (uint32_t i = 0; i < q->binding_count; i++)
    if (q->bindings[i].axis == 0) return (int32_t)i;
  return -1;
}

static const char *words_of(mp_arena *a, const trial *t, uint32_t divide) {
  const mp_question *q = t->x->question;
  if (divide == 1) return mp_strdup(a, t->c->words);
  const mp_binding *b = &q->bindings[t->batch];
  return mp_format(a, "%s%s--dim %s%s=%lld --accumulate %u", t->c->words, *t->c->words ? " " : "", b->name, b->axis >= 0 ? ":0" : "", (long long)(b->n / divide),
                   q->run->accumulate * divide);
}

static void keep(mp_arena *a, trial *t, uint32_t divide, const mp_timeline *l, const mp_verdict *v) {
  if (t->done && t->row.needed <= v->needed) return;
  t->row = (mp_advice_row){.change = words_of(a, t, divide), .needed = v->needed, .peak = l->peak.allocated, .extra = mp_overhead(l), .devices = t->c->devices, .fits = v->fits};
  t->done = true;
}

/* one tape; the row takes it if it is better. Works in an arena of its own. */
static const void *attempt(mp_arena *a, void *arg) {
  trial *t = ((trial **)arg)[0];
  uint32_t divide = *((uint32_t **)arg)[1];
  mp_arena *out = ((mp_arena **)arg)[2];
  const mp_question *was = t->x->question;
  mp_run run = *was->run;
  mp_binding *dims = mp_alloc_array(a, was->binding_count + 1, sizeof *dims);
  if (was->binding_count) memcpy(dims, was->bindings, was->binding_count * sizeof *dims);
  if (divide > 1) dims[t->batch].n /= divide;
  run.accumulate *= divide;
  if (t->c->precision >= 0) run.precision = (mp_precision)t->c->precision;
  if (t->c->how & EXPANDABLE) run.expandable_segments = true;
  if (t->c->how & KERNEL) run.attention = MP_ATTN_SDPA;
  if (t->c->optimizer) run.optimizer = mp_optimizer_find(t->c->optimizer);
  static const char *const blocks[] = {"blocks"}, *const all[] = {"auto"};
  mp_plan plan = *was->plan;
  if (t->c->how & BLOCKS) plan = (mp_plan){.checkpoint = blocks, .checkpoints = 1};
  if (t->c->how & INVERSES) plan = (mp_plan){.invertible = all, .invertibles = 1};
  mp_question q = *was;
  q.run = &run;
  q.plan = &plan;
  q.bindings = dims;
  q.devices = &t->device;
  q.device_count = 1;
  mp_err err;
  const mp_answer *x = mp_answer_make(a, &q, &err);
  if (!x) return NULL;
  const mp_timeline *l = x->timeline;
  mp_verdict v = x->verdicts[0];
  if (t->c->devices > 1) {
    const mp_split *s = mp_split_answer(a, x, t->c->devices, &err);
    if (!s) return NULL;
    l = s->rows[s->worst].timeline;
    v = s->rows[s->worst].verdicts[0];
  }
  keep(out, t, divide, l, &v);
  return t;
}

static void run_trial(mp_arena *a, trial *t) {
  const mp_question *q = t->x->question;
  uint32_t most = t->c->fewer && t->batch >= 0 ? (uint32_t)q->bindings[t->batch].n : 1;
  for (uint32_t divide = t->c->fewer ? 2 : 1; divide <= most; divide *= 2) {
    if (divide > 1 && q->bindings[t->batch].n % divide) break;
    mp_arena *own = mp_arena_new(0);
    mp_err err;
    void *args[] = {t, &divide, a};
    if (own) mp_protect(own, &err, attempt, args);
    mp_arena_free(own);
    if (t->done && t->row.fits != MP_FITS_NOT) break;
  }
}

static int cheaper(const void *x, const void *y) {
  const mp_advice_row *a = x, *b = y;
  bool na = a->fits == MP_FITS_NOT, nb = b->fits == MP_FITS_NOT;
  if (na != nb) return na - nb;
  if (na) return (a->needed > b->needed) - (a->needed < b->needed);
  if (a->devices != b->devices) return a->devices < b->devices ? -1 : 1;
  if (a->extra != b->extra) return a->extra < b->extra ? -1 : 1;
  return (a->needed > b->needed) - (a->needed < b->needed);
}

static const void *make(mp_arena *a, void *arg) {
  const mp_answer *x = *(const mp_answer **)arg;
  mp_advice *r = mp_alloc(a, sizeof *r);
  for (uint32_t i = 0; i < x->question->device_count && !r->device; i++)
    if (x->verdicts[i].fits == MP_FITS_NOT) r->device = x->question->devices[i];
  if (!r->device) return r;
  mp_advice_row *rows = mp_alloc_array(a, CHANGES, sizeof *rows);
  const mp_run *run = x->question->run;
  const mp_plan *plan = x->question->plan;
  bool written = run->attention == MP_ATTN_AS_EXPORTED && mp_fuse_attention(a, x->program)->count;
  for (size_t i = 0; i < CHANGES; i++) {
    const change *c = &changes[i];
    bool again = c->how & (BLOCKS | INVERSES), same = (c->precision >= 0 && c->precision == (int)run->precision) || (c->how & EXPANDABLE && run->expandable_segments);
    bool useless = run->infer || (c->precision >= 0 && run->precision != MP_FP32) || (again && (plan->checkpoints || plan->invertibles)) || (c->optimizer && !run->optimizer);
    bool lacks = c->precision >= 0 && r->device->cc && r->device->cc < 80; /* bfloat16: from Ampere on */
    if (same || useless || lacks || (c->how & KERNEL && !written)) continue;
    trial t = {.x = x, .c = c, .batch = find_batch(x->question), .device = r->device};
    run_trial(a, &t);
    if (t.done) rows[r->count++] = t.row;
  }
  if (r->count) qsort(rows, r->count, sizeof *rows, cheaper);
  uint32_t fitting = 0;
  while (fitting < r->count && rows[fitting].fits != MP_FITS_NOT) fitting++;
  r->count = fitting ? fitting : r->count > 3 ? 3 : r->count;
  r->rows = rows;
  return r;
}

const mp_advice *mp_advice_make(mp_arena *a, const mp_answer *x, mp_err *err) {
  if (!x) return NULL;
  return mp_protect(a, err, make, &x);
}
