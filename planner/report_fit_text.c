/* An answer for people: what the memory is, where the peak is, a bar for each device, and what to try next. */
#include <string.h>

#include "planner/report.h"

/* Which free blocks the reserved memory that nothing uses at the peak lies in: in one line, or with `n` a table of the largest and what is beside them. */
static void fragmentation(mp_arena *a, mp_text *t, const mp_answer *x, uint32_t n) {
  const mp_peak *p = &x->timeline->peak;
  mp_fragments f = mp_allocator_at(a, x->tape, x->question->run->expandable_segments, p->step);
  mp_text_add(a, t, "  Reserved by the caching allocator %s, of which %s is not in use at the peak", mp_size_text(a, p->reserved), mp_size_text(a, p->reserved - p->allocated));
  for (uint32_t i = 0; i < f.hole_count && i < 3; i++)
    mp_text_add(a, t, "%s%s", i ? ", " : f.hole_count > 1 ? mp_format(a, ": %u free blocks, the largest ", f.hole_count) : ": one free block of ", mp_size_text(a, f.holes[i].bytes));
  mp_text_add(a, t, ".\n");
  if (!n || !f.hole_count) return;
  const mp_step **made = mp_alloc_array(a, x->tape->instance_count + 1, sizeof *made);
  for (uint32_t i = 0; i <= p->step && i < x->tape->step_count; i++)
    if (x->tape->steps[i].kind == MP_ALLOC) made[x->tape->steps[i].id] = &x->tape->steps[i];
  mp_text_add(a, t, "\n  The largest free blocks at the peak:\n  %12s  %-34s %s\n", "bytes", "after the storage made by", "before");
  for (uint32_t i = 0; i < f.hole_count && i < n; i++) {
    const mp_hole *h = &f.holes[i];
    mp_text_add(a, t, "  %12s  %-34s %s\n", mp_size_text(a, h->bytes), h->before < 0 ? "(the segment's start)" : made[h->before]->op, h->after < 0 ? "(the segment's end)" : made[h->after]->op);
  }
}

/* how much of `whole` is `part`, as a bar of `width` cells */
static const char *bar(mp_arena *a, double part, double whole, int width) {
  int n = whole > 0 ? (int)(part / whole * width + 0.5) : 0;
  char *s = mp_alloc(a, (size_t)width + 1);
  for (int i = 0; i < width; i++) s[i] = i < n ? '#' : '.';
  return s;
}

static void head(mp_arena *a, mp_text *t, const mp_answer *x) {
  const mp_run *r = x->question->run;
  const mp_timeline *l = x->timeline;
  mp_text_add(a, t, "%s", x->question->path);
  for (uint32_t i = 0; i < x->question->binding_count; i++) {
    const mp_binding *b = &x->question->bindings[i];
    if (b->axis < 0) mp_text_add(a, t, "%s %s=%lld", i ? "," : ":", b->name, (long long)b->n);
    else mp_text_add(a, t, "%s %s:%d=%lld", i ? "," : ":", b->name, (int)b->axis, (long long)b->n);
  }
  mp_text_add(a, t, "\n%s parameters, %s, %s", mp_count_text(a, l->parameters), mp_precision_name(r->precision), r->infer ? "inference" : mp_run_optimizer_name(r));
  if (r->accumulate > 1) mp_text_add(a, t, ", %u micro-batches accumulated", r->accumulate);
  mp_text_add(a, t, "\n\n");
}

static void breakdown(mp_arena *a, mp_text *t, const mp_answer *x, uint32_t top) {
  const mp_peak *p = &x->timeline->peak;
  mp_text_add(a, t, "  %-22s %12s\n", "at the peak", "allocated");
  for (int c = 0; c < MP_CATEGORIES; c++) {
    if (!p->by[c]) continue;
    mp_text_add(a, t, "  %-22s %12s  %5.1f %%  %s\n", mp_category_name((mp_category)c), mp_size_text(a, p->by[c]), 100.0 * (double)p->by[c] / (double)p->allocated,
                bar(a, (double)p->by[c], (double)p->allocated, 30));
  }
  mp_text_add(a, t, "  %-22s %12s\n\n", "peak allocated", mp_size_text(a, p->allocated));
  mp_text_add(a, t, "  The peak is in the %s pass, at %s%s%s.\n", mp_phase_name(p->phase), *p->call ? p->call : "its beginning", *p->module ? " in " : "", p->module);
  mp_text_add(a, t, "  First iteration %s; after the forward pass %s; saved for backward %s.\n", mp_size_text(a, p->first_iteration), mp_size_text(a, x->timeline->after_forward),
              mp_size_text(a, x->timeline->saved_bytes));
  fragmentation(a, t, x, top);
  mp_text_add(a, t, "  Compute of a step: forward %s, backward %s", mp_flops_text(a, x->timeline->flops_forward), mp_flops_text(a, x->timeline->flops_backward));
  if (x->timeline->flops_recompute) mp_text_add(a, t, ", recomputed %s (+%.1f %%)", mp_flops_text(a, x->timeline->flops_recompute), 100 * mp_overhead(x->timeline));
  mp_text_add(a, t, ".\n\n");
}

static void verdicts(mp_arena *a, mp_text *t, const mp_answer *x) {
  if (!x->question->device_count) return;
  mp_text_add(a, t, "  %-28s %11s %11s %11s  %s\n", "device", "needed", "usable", "spare", "verdict");
  for (uint32_t i = 0; i < x->question->device_count; i++) {
    const mp_verdict *v = &x->verdicts[i];
    uint64_t gap = (uint64_t)(v->spare < 0 ? -v->spare : v->spare);
    mp_text_add(a, t, "  %-28s %11s %11s %s%10s  %-5s [%s]%s\n", v->device->name, mp_size_text(a, v->needed), mp_size_text(a, v->usable), v->spare < 0 ? "-" : " ",
                mp_size_text(a, gap), mp_fits_name(v->fits), bar(a, (double)v->needed, (double)(v->needed > v->usable ? v->needed : v->usable), 20),
                v->needed > v->usable ? "!" : "");
  }
  const mp_verdict *v = &x->verdicts[0];
  mp_text_add(a, t, "  needed, as nvidia-smi shows it, = reserved %s + cuBLAS %s + CUDA context %s", mp_size_text(a, x->timeline->peak.reserved), mp_size_text(a, v->overhead.cublas), mp_size_text(a, v->overhead.context));
  if (v->cudnn_low > 0) mp_text_add(a, t, " + cuDNN %s", mp_size_text(a, (uint64_t)v->cudnn_low));
  if (v->cudnn_low < v->cudnn_high)
    mp_text_add(a, t, "; cuDNN's choice of algorithms moves it by %s%s to %s", v->cudnn_low < 0 ? "-" : "", mp_size_text(a, (uint64_t)llabs(v->cudnn_low)), mp_size_text(a, (uint64_t)v->cudnn_high));
  mp_text_add(a, t, "\n");
  for (uint32_t i = 0; i < x->question->device_count; i++) {
    const mp_device *d = x->verdicts[i].device;
    if (d->parts > 1)
      mp_text_add(a, t, "  %s is %u memories of %s: the verdict is for one; the board's %s are reached only by splitting (--devices %u).\n", d->name, d->parts,
                  mp_size_text(a, d->memory), mp_size_text(a, d->memory * d->parts), d->parts);
    if (d->runs == MP_RUNS_OTHER) mp_text_add(a, t, "  %s does not run PyTorch on CUDA: the verdict is as PyTorch on CUDA would.\n", d->name);
  }
  mp_text_add(a, t, "\n");
}

static void advice(mp_arena *a, mp_text *t, const mp_advice *ad) {
  if (!ad || !ad->device) return;
  mp_text_add(a, t, "  What would make it fit %s, the least extra compute first:\n", ad->device->name);
  int width = 0;
  for (uint32_t i = 0; i < ad->count; i++)
    if (width < (int)strlen(ad->rows[i].change)) width = (int)strlen(ad->rows[i].change);
  mp_text_add(a, t, "  %-*s %11s %9s\n", width, "change", "needed", "compute");
  for (uint32_t i = 0; i < ad->count; i++) {
    const mp_advice_row *r = &ad->rows[i];
    mp_text_add(a, t, "  %-*s %11s %+8.1f%%  %s\n", width, r->change, mp_size_text(a, r->needed), 100 * r->extra, r->fits == MP_FITS_NOT ? "no, the nearest of its kind" : mp_fits_name(r->fits));
  }
  mp_text_add(a, t, "  Needed is of one device. Each row is a training step built and replayed.\n\n");
}

typedef struct module_sum {
  uint64_t saved, flops, parameters;
} module_sum;

/* bytes saved and operations by module, parents including their children */
static void tree(mp_arena *a, mp_text *t, const mp_answer *x) {
  const mp_program *p = x->program;
  module_sum *s = mp_alloc_array(a, p->instance_count + 1, sizeof *s);
  mp_names *paths = mp_names_new(a, p->instance_count);
  uint32_t *first = mp_alloc_array(a, p->instance_count + 1, sizeof *first);
  for (uint32_t i = 0; i < p->instance_count; i++) {
    bool fresh;
    uint32_t id = mp_names_add(a, paths, p->instances[i].path, strlen(p->instances[i].path), &fresh);
    if (fresh) first[id] = i;
  }
  for (uint32_t i = 0; i < x->timeline->saved_count; i++) {
    uint32_t id = mp_names_find(paths, x->timeline->saved[i].module, strlen(x->timeline->saved[i].module));
    if (id != UINT32_MAX) s[first[id]].saved += x->timeline->saved[i].bytes;
  }
  for (uint32_t c = 0; c < p->call_count; c++) s[p->calls[c].module].flops += p->calls[c].flops;
  for (uint32_t i = p->instance_count; i-- > 1;) {
    module_sum *up = &s[p->instances[i].parent];
    up->saved += s[i].saved;
    up->flops += s[i].flops;
  }
  mp_text_add(a, t, "  %12s %14s  %s\n", "saved", "forward", "module");
  for (uint32_t i = 0; i < p->instance_count; i++) {
    int depth = 0;
    for (int32_t k = p->instances[i].parent; k >= 0; k = p->instances[k].parent) depth++;
    const char *path = p->instances[i].path, *dot = strrchr(path, '.');
    mp_text_add(a, t, "  %12s %14s  %*s%s%s%s%s\n", mp_size_text(a, s[i].saved), mp_flops_text(a, s[i].flops), 2 * depth, "", i ? (dot ? dot + 1 : path) : "(the model)",
                p->instances[i].type ? " " : "", p->instances[i].type ? p->instances[i].type : "", p->instances[i].block >= 0 ? "  [block]" : "");
  }
  mp_text_add(a, t, "\n");
}

static void top(mp_arena *a, mp_text *t, const mp_answer *x, uint32_t n) {
  const mp_largest *all = mp_largest_of(a, x, &n);
  mp_text_add(a, t, "  The %u largest storages at the peak:\n  %12s  %-18s %-34s %s\n", n, "bytes", "category", "made by", "module");
  for (uint32_t i = 0; i < n; i++) mp_text_add(a, t, "  %12s  %-18s %-34s %s\n", mp_size_text(a, all[i].bytes), all[i].category, all[i].call, all[i].module);
  mp_text_add(a, t, "\n");
}

typedef struct job {
  const mp_answer *x;
  const mp_advice *ad;
  const mp_fit_view *view;
} job;

static const void *make(mp_arena *a, void *arg) {
  const job *j = arg;
  mp_text t = {0};
  head(a, &t, j->x);
  breakdown(a, &t, j->x, j->view->top);
  if (j->view->tree) tree(a, &t, j->x);
  if (j->view->top) top(a, &t, j->x, j->view->top);
  verdicts(a, &t, j->x);
  advice(a, &t, j->ad);
  uint32_t n;
  const char *const *warnings = mp_warnings_of(a, j->x, false, &n);
  for (uint32_t i = 0; i < n; i++) mp_text_add(a, &t, "  warning: %s\n", warnings[i]);
  return t.at;
}

const char *mp_report_fit_text(mp_arena *a, const mp_answer *x, const mp_advice *ad, const mp_fit_view *view, mp_err *err) {
  if (!x) return NULL;
  job j = {x, ad, view};
  return mp_protect(a, err, make, &j);
}
