/* What a training run computes, as text and JSON; and the table of published figures, each recomputed from its own stated inputs. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "planner/memplan.h"

static const char *dumped(mp_arena *a, json_t *root) {
  char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
  json_decref(root);
  if (!text) mp_fail(a, MP_INTERNAL, "out of memory while writing the report");
  const char *copy = mp_strdup(a, text);
  free(text);
  return copy;
}

static json_t *positive(double x) { return x > 0 ? json_real(x) : json_null(); }

/* ---- one run ---- */

typedef struct request {
  const mp_compute_options *o;
  const mp_compute *c;
  const char *models;
  bool json;
} request;

static json_t *memory_json(const mp_answer *x) {
  if (!x) return json_null();
  const mp_timeline *t = x->timeline;
  json_t *j = json_pack("{s:{s:I,s:I,s:I},s:I,s:I,s:s}", "flops_a_step", "forward", (json_int_t)t->flops_forward, "backward",
                        (json_int_t)t->flops_backward, "recompute", (json_int_t)t->flops_recompute, "allocated", (json_int_t)t->peak.allocated,
                        "reserved", (json_int_t)t->peak.reserved, "phase", mp_phase_name(t->peak.phase));
  if (x->question->device_count) {
    const mp_verdict *v = &x->verdicts[0];
    json_object_set_new(j, "needed", json_integer((json_int_t)v->needed));
    json_object_set_new(j, "verdict", json_string(mp_fits_name(v->fits)));
    json_object_set_new(j, "spare", json_integer((json_int_t)v->spare));
  }
  return j;
}

static json_t *count_json(const mp_compute_options *o, const mp_compute *c) {
  json_t *phases = json_array();
  for (uint32_t i = 0; i < c->phase_count; i++) {
    const mp_compute_count *p = &c->phases[i];
    json_t *j = json_pack("{s:f,s:s,s:I,s:I,s:s,s:f}", "epochs", p->epochs, "dims", p->dims, "macs_a_pass", (json_int_t)p->macs, "samples_a_pass",
                          (json_int_t)p->per_pass, "samples_a_pass_from", p->per_pass_from, "multiply_adds", p->multiply_adds);
    json_object_set_new(j, "flops", json_real(p->model_flops));
    json_object_set_new(j, "recompute_flops", json_real(p->recompute_flops));
    json_object_set_new(j, "steps", positive(p->steps));
    json_object_set_new(j, "memory", memory_json(p->memory));
    json_array_append_new(phases, j);
  }
  return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:o,s:o}", "samples", o->samples, "ops_a_multiply_add", MP_OPS_A_MULTIPLY_ADD, "passes", c->passes,
                   "flops", c->model_flops, "hardware_flops", c->hardware_flops, "accumulate_flops", c->accumulate_flops, "pfs_days",
                   c->model_flops / MP_PFS_DAY, "peak_phase", c->peak_phase < c->phase_count ? json_integer(c->peak_phase) : json_null(), "phases",
                   phases);
}

static const char *run_json(mp_arena *a, const request *r) {
  const mp_compute_options *o = r->o;
  const mp_compute *c = r->c;
  double flops = mp_compute_flops(c);
  json_t *root = json_pack("{s:f,s:f}", "flops", flops, "pfs_days", flops / MP_PFS_DAY);
  if (o->model) {
    json_object_set_new(root, "model", json_string(o->model));
    json_object_set_new(root, "method1", count_json(o, c));
  }
  if (c->spent_flops > 0)
    json_object_set_new(root, "method2",
                        json_pack("{s:f,s:f,s:f,s:f,s:f,s:f}", "count", o->count, "peak_flops", c->peak, "days", o->days, "utilization",
                                  c->utilization, "flops", c->spent_flops, "pfs_days", c->spent_flops / MP_PFS_DAY));
  if (c->spent_flops > 0 && c->model_flops > 0) {
    json_object_set_new(root, "ratio", json_real(c->spent_flops / c->model_flops));
    json_object_set_new(root, "model_flops_utilization", json_real(c->model_flops / (c->peak * c->seconds)));
    json_object_set_new(root, "hardware_flops_utilization", json_real(c->hardware_flops / (c->peak * c->seconds)));
  }
  if (o->device) json_object_set_new(root, "device", json_string(o->device->name));
  json_object_set_new(root, "seconds", positive(c->seconds));
  json_object_set_new(root, "device_hours", positive(c->device_hours));
  json_object_set_new(root, "joules", positive(c->joules));
  json_object_set_new(root, "cost", positive(c->cost));
  json_t *warnings = json_array();
  for (uint32_t i = 0; i < c->warning_count; i++) json_array_append_new(warnings, json_string(c->warnings[i]));
  json_object_set_new(root, "warnings", warnings);
  return dumped(a, root);
}

static void add_total(mp_arena *a, mp_text *t, const char *what, double flops) {
  mp_text_add(a, t, "  %-20s %.4g FLOPs = %.4g petaflop/s-days\n", what, flops, flops / MP_PFS_DAY);
}

static double gib(double bytes) { return bytes / (double)(1u << 30); }

static void memory_text(mp_arena *a, mp_text *t, const mp_answer *x) {
  const mp_timeline *l = x->timeline;
  mp_text_add(a, t, "  %-20s %.4g forward, %.4g backward, %.4g recomputation (FLOPs as dispatched)\n", "a step", (double)l->flops_forward,
              (double)l->flops_backward, (double)l->flops_recompute);
  mp_text_add(a, t, "  %-20s %.2f GiB allocated, %.2f GiB reserved, in %s", "memory", gib((double)l->peak.allocated), gib((double)l->peak.reserved),
              mp_phase_name(l->peak.phase));
  if (x->question->device_count)
    mp_text_add(a, t, "; %s: %s (%.2f GiB needed, %+.2f GiB to spare)", x->verdicts[0].device->name, mp_fits_name(x->verdicts[0].fits),
                gib((double)x->verdicts[0].needed), gib((double)x->verdicts[0].spare));
  mp_text_add(a, t, "\n");
}

static void count_text(mp_arena *a, mp_text *t, const mp_compute_options *o, const mp_compute *c) {
  mp_text_add(a, t, "Method 1, counted: multiply-adds of a sample's forward pass x 2 x %.0f (%s) x samples x epochs\n", c->passes,
              c->passes > 1 ? "forward, backward by inputs and by weights" : "forward alone");
  for (uint32_t i = 0; i < c->phase_count; i++) {
    const mp_compute_count *p = &c->phases[i];
    if (c->phase_count > 1) mp_text_add(a, t, "  phase %-14u %s\n", i + 1, *p->dims ? p->dims : "-");
    mp_text_add(a, t, "  %-20s %llu multiply-adds / %llu sample%s (%s)\n", "one pass", (unsigned long long)p->macs, (unsigned long long)p->per_pass,
                p->per_pass == 1 ? "" : "s", p->per_pass_from);
    mp_text_add(a, t, "  %-20s %.6g x 2 x %.0f x %.6g samples x %.6g epochs = %.4g FLOPs\n", "counted", p->multiply_adds, c->passes, o->samples,
                p->epochs, p->model_flops);
    if (p->steps > 0) mp_text_add(a, t, "  %-20s %.6g\n", "steps", p->steps);
    if (p->memory) memory_text(a, t, p->memory);
  }
  add_total(a, t, "model FLOPs", c->model_flops);
  if (c->hardware_flops > c->model_flops)
    mp_text_add(a, t, "  %-20s %.4g FLOPs: recomputation runs %.4g FLOPs of the forward pass again (%+.1f %%)\n", "hardware FLOPs", c->hardware_flops,
                c->hardware_flops - c->model_flops, 100 * (c->hardware_flops / c->model_flops - 1));
  if (c->accumulate_flops > 0)
    mp_text_add(a, t, "  %-20s %.4g FLOPs of adding gradients up (%+.3f %%)\n", "accumulation", c->accumulate_flops,
                100 * c->accumulate_flops / c->model_flops);
  if (c->phase_count > 1 && c->peak_phase < c->phase_count)
    mp_text_add(a, t, "  %-20s %.2f GiB reserved, in phase %u\n", "most memory",
                gib((double)c->phases[c->peak_phase].memory->timeline->peak.reserved), c->peak_phase + 1);
}

static void time_text(mp_arena *a, mp_text *t, const mp_compute_options *o, const mp_compute *c) {
  const char *name = o->device ? o->device->name : "devices";
  if (c->spent_flops > 0) {
    mp_text_add(a, t, "Method 2, by time: devices x peak x seconds x utilization\n");
    mp_text_add(a, t, "  %-20s %.6g x %s at %.5g TFLOP/s%s%s x %.6g days x %.3g\n", "measured", o->count, name, c->peak / o->count / 1e12,
                c->precision ? " " : "", c->precision ? c->precision : "", o->days, c->utilization);
    add_total(a, t, "spent FLOPs", c->spent_flops);
    if (c->model_flops > 0)
      mp_text_add(a, t, "  %-20s %.3f of method 1; the run reaches %.1f %% of the peak with model FLOPs, %.1f %% with hardware FLOPs\n",
                  "method 2 is", c->spent_flops / c->model_flops, 100 * c->model_flops / (c->peak * c->seconds),
                  100 * c->hardware_flops / (c->peak * c->seconds));
  } else {
    mp_text_add(a, t, "Time on %.6g x %s at %.5g TFLOP/s%s%s and %.3g of the peak\n", o->count, name, c->peak / o->count / 1e12,
                c->precision ? " " : "", c->precision ? c->precision : "", c->utilization);
    mp_text_add(a, t, "  %-20s %.4g hours = %.4g days\n", "run", c->seconds / 3600, c->seconds / 86400);
  }
  mp_text_add(a, t, "  %-20s %.6g\n", "device-hours", c->device_hours);
  if (c->joules > 0)
    mp_text_add(a, t, "  %-20s %.4g J = %.4g kWh (board power, %.4g W a device)\n", "energy", c->joules, c->joules / 3.6e6, o->device->watts);
  if (c->cost > 0) mp_text_add(a, t, "  %-20s %.2f (%.6g a device-hour)\n", "cost", c->cost, o->price);
}

static const void *run_body(mp_arena *a, void *arg) {
  const request *r = arg;
  if (r->json) return run_json(a, r);
  mp_text t = {0};
  if (r->o->model) {
    mp_text_add(a, &t, "%s\n", r->o->model);
    count_text(a, &t, r->o, r->c);
  }
  if (r->c->peak > 0) time_text(a, &t, r->o, r->c);
  return t.at;
}

const char *mp_report_compute(mp_arena *a, const mp_compute_options *o, const mp_compute *c, bool json, mp_err *err) {
  request r = {o, c, NULL, json};
  return mp_protect(a, err, run_body, &r);
}

/* ---- published figures ---- */

/* multiply-adds of one of the row's samples, counted from its sample model; 0 where there is none */
static double own_count(mp_arena *a, const mp_published *p, const char *models) {
  if (!models || !p->model) return 0;
  const char *path = mp_format(a, "%s/%s", models, p->model);
  if (access(path, R_OK)) return 0;
  mp_binding bindings[8];
  uint32_t n = 0;
  for (const char *at = p->dims; at && *at && n < 8;) {
    size_t len = strcspn(at, ",");
    mp_err err = {0};
    if (!mp_binding_parse(a, mp_strndup(a, at, len), &bindings[n++], &err)) mp_fail(a, MP_INTERNAL, "%s", err.text);
    at += len + (at[len] == ',');
  }
  mp_compute_phase once = {.epochs = 1};
  mp_compute_options o = {.model = path, .bindings = bindings, .binding_count = n, .samples = 1, .phases = &once, .phase_count = 1};
  mp_err err = {0};
  const mp_compute *c = mp_compute_make(a, &o, &err);
  if (!c) mp_fail(a, err.code, "%s", err.text);
  return c->phases[0].multiply_adds / p->pass;
}

/* the row's figure with memplan's own count in place of the stated multiply-adds; 0 where that cannot be said */
static double own_pfs_days(const mp_published *p, double own) {
  return p->method == 1 && own > 0 ? mp_published_pfs_days(p) * own / p->multiply_adds : 0;
}

static const char *inputs_of(mp_arena *a, const mp_published *p) {
  const char *extra = p->extra == 1 ? "" : mp_format(a, " x %.6g", p->extra);
  if (p->method == 1)
    return mp_format(a, "%.6g multiply-adds x %.6g samples x %.6g epochs x 2 x 3%s", p->multiply_adds, p->samples, p->epochs, extra);
  if (p->method == 2) return mp_format(a, "%.6g devices x %.6g TFLOP/s x %.6g days x %.3g%s", p->devices, p->tflops, p->days, p->utilization, extra);
  return "";
}

#define SOURCE "OpenAI, AI and Compute (2018), appendix"

static json_t *row_json(mp_arena *a, const mp_published *p, double own) {
  double value = mp_published_pfs_days(p), printed = strtod(p->printed, NULL);
  json_t *j = json_pack("{s:s,s:s,s:o,s:f,s:s,s:o,s:o,s:o,s:o}", "id", p->id, "result", p->result, "method",
                        p->method ? json_integer(p->method) : json_null(), "published_pfs_days", printed, "relation", p->relation == '<' ? "<" : "=",
                        "published_pf", *p->printed_pf ? json_real(strtod(p->printed_pf, NULL)) : json_null(), "pf", positive(value * 86400),
                        "pfs_days", positive(value), "ratio", positive(value / printed));
  json_object_set_new(j, "follows", p->method ? json_boolean(mp_follows(value, p->printed)) : json_null());
  json_object_set_new(j, "inputs", p->method ? json_string(inputs_of(a, p)) : json_null());
  json_object_set_new(j, "why", *p->why ? json_string(p->why) : json_null());
  json_object_set_new(j, "source", json_string(SOURCE));
  json_object_set_new(j, "model", own > 0 ? json_string(p->model) : json_null());
  json_object_set_new(j, "model_multiply_adds", positive(own));
  json_object_set_new(j, "model_pfs_days", positive(own_pfs_days(p, own)));
  return j;
}

static void row_text(mp_arena *a, mp_text *t, const mp_published *p, double own) {
  double value = mp_published_pfs_days(p), printed = strtod(p->printed, NULL);
  mp_text_add(a, t, "%-16s %6s %10s %11s %s%10s %11s %7s  %s\n", p->id, p->method ? mp_format(a, "%d", p->method) : "-",
              *p->printed_pf ? p->printed_pf : "-", p->method ? mp_format(a, "%.5g", value * 86400) : "-", p->relation == '<' ? "<" : " ", p->printed,
              p->method ? mp_format(a, "%.5g", value) : "-", p->method ? mp_format(a, "%.4f", value / printed) : "-",
              !p->method                      ? "-"
              : mp_follows(value, p->printed) ? "yes"
                                              : "no");
  mp_text_add(a, t, "    %s%s%s\n", p->result, p->method ? ": " : "", inputs_of(a, p));
  if (*p->why) mp_text_add(a, t, "    %s\n", p->why);
  if (own > 0) {
    mp_text_add(a, t, "    counted from %s (%s): %.10g multiply-adds", p->model, p->dims, own);
    if (own_pfs_days(p, own) > 0) mp_text_add(a, t, ", so %.4g petaflop/s-days", own_pfs_days(p, own));
    mp_text_add(a, t, "\n");
  }
}

static const void *published_body(mp_arena *a, void *arg) {
  const request *r = arg;
  mp_text t = {0};
  json_t *list = r->json ? json_array() : NULL;
  if (!r->json)
    mp_text_add(a, &t,
                "Published figures (" SOURCE
                "), each recomputed from the inputs that it states; follows: the product, rounded to the\n"
                "digits that are printed, is what is printed. PF is petaflop.\n\n%-16s %6s %10s %11s %11s %11s %7s  %s\n",
                "id", "method", "printed PF", "product PF", "pfs-days", "product", "ratio", "follows");
  for (uint32_t i = 0; i < mp_published_count(); i++) {
    const mp_published *p = mp_published_at(i);
    double own = own_count(a, p, r->models);
    if (r->json)
      json_array_append_new(list, row_json(a, p, own));
    else
      row_text(a, &t, p, own);
  }
  return r->json ? dumped(a, json_pack("{s:o}", "rows", list)) : t.at;
}

const char *mp_report_published(mp_arena *a, const char *models, bool json, mp_err *err) {
  request r = {NULL, NULL, models, json};
  return mp_protect(a, err, published_body, &r);
}
