/* The catalogue as text and as JSON. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "planner/memplan.h"

static json_t *number_or_null(double x) { return x > 0 ? json_real(x) : json_null(); }

static json_t *aliases_json(const char *aliases) {
  json_t *list = json_array();
  for (const char *p = aliases; *p;) {
    size_t n = strcspn(p, " ");
    json_array_append_new(list, json_stringn(p, n));
    p += n + (p[n] == ' ');
  }
  return list;
}

static json_t *device_json(const mp_device *d) {
  mp_device_overhead o;
  mp_device_overheads(d, &o);
  json_t *peaks = json_pack("{s:o,s:o,s:o,s:o,s:o}", "fp32", number_or_null(d->fp32), "tf32", number_or_null(d->tf32), "fp16",
                            number_or_null(d->fp16), "bf16", number_or_null(d->bf16), "fp8", number_or_null(d->fp8));
  json_t *j =
      json_pack("{s:s,s:o,s:s,s:o,s:I,s:I,s:s,s:i,s:I,s:o,s:o,s:o,s:o}", "name", d->name, "aliases", aliases_json(d->aliases), "vendor", d->vendor,
                "year", d->year ? json_integer(d->year) : json_null(), "memory", (json_int_t)d->memory, "usable", (json_int_t)d->usable,
                "usable_from", d->usable_from, "parts", d->parts, "total_memory", (json_int_t)(d->memory * d->parts), "bandwidth_gb_s",
                number_or_null(d->bandwidth), "peak_tflops", peaks, "link_gb_s", number_or_null(d->link), "watts", number_or_null(d->watts));
  json_object_set_new(j, "compute_capability", d->cc ? json_sprintf("%d.%d", d->cc / 10, d->cc % 10) : json_null());
  json_object_set_new(j, "runs", json_string(mp_runtime_name(d->runs)));
  json_object_set_new(j, "source", json_string(d->source));
  json_object_set_new(j, "overhead",
                      json_pack("{s:I,s:s,s:I,s:s,s:I,s:s,s:I,s:s}", "context", (json_int_t)o.context, "context_from", o.context_from,
                                "held_by_driver", (json_int_t)o.held, "held_from", o.held_from, "cublas", (json_int_t)o.cublas, "cublas_from",
                                o.cublas_from, "nccl", (json_int_t)o.nccl, "nccl_from", o.nccl_from));
  return j;
}

static const char *devices_json(mp_arena *a, const mp_device *const *d, size_t n) {
  json_t *list = json_array();
  for (size_t i = 0; i < n; i++) json_array_append_new(list, device_json(d[i]));
  json_t *root = json_pack("{s:o}", "devices", list);
  char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
  json_decref(root);
  if (!text) mp_fail(a, MP_INTERNAL, "out of memory while writing the report");
  const char *copy = mp_strdup(a, text);
  free(text);
  return copy;
}

/* "-" where no source states the figure */
static const char *cell(mp_arena *a, double x) { return x > 0 ? mp_format(a, x < 1000 ? "%.4g" : "%.0f", x) : "-"; }

static double gib(uint64_t bytes) { return (double)bytes / (double)(1u << 30); }

static void one(mp_arena *a, mp_text *t, const mp_device *d) {
  mp_device_overhead o;
  mp_device_overheads(d, &o);
  mp_text_add(a, t, "%s\n", d->name);
  if (d->parts > 1)
    mp_text_add(a, t, "  memory      %d x %.6g GiB; a process sees one of them (bandwidth, peaks and power below are the whole board's)\n", d->parts,
                gib(d->memory));
  else
    mp_text_add(a, t, "  memory      %.6g GiB\n", gib(d->memory));
  mp_text_add(a, t, "  usable      %.2f GiB, %llu bytes (%s)\n", gib(d->usable), (unsigned long long)d->usable, d->usable_from);
  if (!mp_device_is_size(d)) {
    mp_text_add(a, t, "  maker       %s, %d; compute capability %s; PyTorch on it: %s\n", d->vendor, d->year,
                d->cc ? mp_format(a, "%d.%d", d->cc / 10, d->cc % 10) : "-", mp_runtime_name(d->runs));
    mp_text_add(a, t, "  peaks       fp32 %s, tf32 %s, fp16 %s, bf16 %s, fp8 %s TFLOP/s, dense\n", cell(a, d->fp32), cell(a, d->tf32),
                cell(a, d->fp16), cell(a, d->bf16), cell(a, d->fp8));
    mp_text_add(a, t, "  bandwidth   %s GB/s; link %s GB/s; power %s W\n", cell(a, d->bandwidth), cell(a, d->link), cell(a, d->watts));
    mp_text_add(a, t, "  aliases     %s\n  source      %s\n", d->aliases, d->source);
  }
  mp_text_add(a, t, "  overhead    context %.0f MiB (%s)\n", gib(o.context) * 1024, o.context_from);
  mp_text_add(a, t, "              held by the driver %.0f MiB (%s)\n", gib(o.held) * 1024, o.held_from);
  mp_text_add(a, t, "              cuBLAS %llu bytes, forward and backward thread (%s)\n", (unsigned long long)o.cublas, o.cublas_from);
  mp_text_add(a, t, "              NCCL %.0f MiB a communicator (%s)\n", gib(o.nccl) * 1024, o.nccl_from);
}

static void table(mp_arena *a, mp_text *t, const mp_device *const *d, size_t n) {
  mp_text_add(a, t, "%-30s %-16s %-7s %5s %9s %9s %8s %7s %7s %7s %7s %7s %6s %6s  %s\n", "device", "short", "maker", "year", "memory", "usable",
              "GB/s", "fp32", "tf32", "fp16", "bf16", "fp8", "link", "watts", "PyTorch");
  for (size_t i = 0; i < n; i++) {
    const char *memory = d[i]->parts > 1 ? mp_format(a, "%dx%.4g", d[i]->parts, gib(d[i]->memory)) : mp_format(a, "%.4g", gib(d[i]->memory));
    mp_text_add(a, t, "%-30s %-16.*s %-7s %5d %9s %9.2f %8s %7s %7s %7s %7s %7s %6s %6s  %s\n", d[i]->name, (int)strcspn(d[i]->aliases, " "),
                d[i]->aliases, d[i]->vendor, d[i]->year, memory, gib(d[i]->usable), cell(a, d[i]->bandwidth), cell(a, d[i]->fp32),
                cell(a, d[i]->tf32), cell(a, d[i]->fp16), cell(a, d[i]->bf16), cell(a, d[i]->fp8), cell(a, d[i]->link), cell(a, d[i]->watts),
                mp_runtime_name(d[i]->runs));
  }
  mp_text_add(a, t,
              "\nMemory and usable in GiB, of one part; peaks in TFLOP/s (dense); bandwidth, peaks and watts of the whole device; - is a figure that "
              "no source states.\n'memplan devices NAME' prints one device with its sources.\n");
}

typedef struct request {
  const mp_device *const *d;
  size_t n;
  bool all, json;
} request;

static const void *report(mp_arena *a, void *arg) {
  const request *r = arg;
  if (r->json) return devices_json(a, r->d, r->n);
  mp_text t = {0};
  if (r->all)
    table(a, &t, r->d, r->n);
  else
    for (size_t i = 0; i < r->n; i++) one(a, &t, r->d[i]);
  return t.at;
}

const char *mp_report_devices(mp_arena *a, const mp_device *const *d, size_t n, bool json, mp_err *err) {
  request r = {d, n, false, json};
  if (d) return mp_protect(a, err, report, &r);
  const mp_device *rows[1024];
  for (r.n = 0; r.n < mp_device_count() && r.n < 1024; r.n++) rows[r.n] = mp_device_at((uint32_t)r.n);
  r.d = rows;
  r.all = true;
  return mp_protect(a, err, report, &r);
}
