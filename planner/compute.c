/* Floating-point operations of a whole training run, two ways: counted from the model file (method 1) and measured by time (method 2).
 *
 * Method 1 counts a sample, not a batch: the multiply-adds of one pass of the file, divided by the samples in that pass. Accumulation therefore
 * changes nothing but the additions of gradients, which stand apart; recomputation is what the hardware does beyond the model's own operations. */
#include <math.h>
#include <string.h>

#include "planner/memplan.h"

typedef struct maker {
  mp_arena *a;
  const mp_compute_options *o;
  mp_compute *c;
  const mp_model *file;
  MP_VEC(const char *) warnings;
  uint64_t most; /* reserved bytes of the phase that takes most memory so far */
} maker;

static void warn(maker *m, const char *text) {
  for (size_t i = 0; i < m->warnings.n; i++)
    if (!strcmp(m->warnings.at[i], text)) return;
  *mp_push(m->a, &m->warnings) = text;
}

/* ---- method 1: one graph ---- */

static const mp_graph *build(maker *m, const mp_binding *b, uint32_t n) {
  mp_err err = {0};
  const mp_graph *g = mp_graph_build(m->a, m->file, &(mp_graph_options){.bindings = b, .binding_count = n}, &err);
  if (!g) mp_fail(m->a, err.code, "%s", err.text);
  return g;
}

/* the first axis of the first input that has one, NULL where no input has */
static const mp_int *batch_axis(const mp_graph *g) {
  for (uint32_t i = 0; i < g->input_count; i++) {
    const mp_value *v = &g->values[g->inputs[i]];
    if (v->rank > 0) return &v->dims[0];
  }
  return NULL;
}

/* Does the value hold weights: an initializer, or one that was only moved about or converted? */
static bool is_weight(const mp_graph *g, int32_t value) {
  static const char *const moves[] = {"Transpose", "Reshape",          "Cast",          "CastLike", "Identity", "Unsqueeze",
                                      "Squeeze",   "DequantizeLinear", "QuantizeLinear"};
  for (int depth = 0; value >= 0 && depth < 64; depth++) {
    const mp_value *v = &g->values[value];
    if (v->kind == MP_VALUE_INITIALIZER) return true;
    if (v->producer < 0) return false;
    const mp_node *n = &g->nodes[v->producer];
    if (!strcmp(n->type, "Constant")) return true;
    bool moved = false;
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) moved |= !strcmp(n->type, moves[i]);
    if (!moved || !n->ins) return false;
    value = n->in[0];
  }
  return false;
}

/* a product of two activations: attention's scores, and the scores times the values */
static bool is_activation_product(const mp_graph *g, const mp_node *n) {
  if (strstr(n->type, "Attention")) return true;
  if (strcmp(n->type, "MatMul") && strcmp(n->type, "Einsum") && strcmp(n->type, "Gemm")) return false;
  return n->ins >= 2 && !is_weight(g, n->in[0]) && !is_weight(g, n->in[1]);
}

typedef struct sums {
  uint64_t macs, products; /* products: of two activations */
} sums;

static sums add_up(maker *m, const mp_graph *g) {
  sums s = {0};
  uint32_t unknown = 0, open = 0;
  const char *first = NULL;
  for (uint32_t i = 0; i < g->node_count; i++) {
    const mp_node *n = &g->nodes[i];
    if (!mp_add_u64(s.macs, n->macs, &s.macs)) mp_fail(m->a, MP_BAD_INPUT, "%s: more than 2^64 multiply-adds; check --dim", g->path);
    if (n->macs && is_activation_product(g, n)) s.products += n->macs;
    if (!n->op) unknown++;
    uint64_t elements;
    for (int o = 0; o < n->outs && !n->macs; o++)
      if (n->out[o] >= 0 && g->values[n->out[o]].form == MP_FORM_TENSOR && !mp_value_elements(&g->values[n->out[o]], &elements)) {
        if (!open++) first = mp_graph_why(m->a, g, n->out[o]);
        break;
      }
  }
  if (unknown) warn(m, mp_format(m->a, "%u nodes have operators that memplan does not know; their multiply-adds are not counted", unknown));
  if (open)
    warn(m, mp_format(m->a, "%u nodes have outputs of unknown size; their multiply-adds are not counted (the first: %s)", open, first ? first : "?"));
  return s;
}

static uint64_t parameters_of(const mp_graph *g) {
  uint64_t n = 0, e;
  for (uint32_t i = 0; i < g->value_count; i++)
    if (g->values[i].kind == MP_VALUE_INITIALIZER && g->values[i].users && mp_dtype_is_float(g->values[i].dtype) &&
        mp_value_elements(&g->values[i], &e))
      n += e;
  return n;
}

/* What a step of this phase takes, and how much of the forward pass its plan runs again. That the program is not recovered is no reason to count
 * nothing. */
static void memory(maker *m, const mp_binding *b, uint32_t n, mp_compute_count *out, double *again) {
  const mp_compute_options *o = m->o;
  mp_question *q = mp_alloc(m->a, sizeof *q);
  const mp_device **devices = mp_alloc_array(m->a, 1, sizeof *devices);
  devices[0] = o->device;
  *q = (mp_question){.path = o->model,
                     .bindings = b,
                     .binding_count = n,
                     .run = o->run,
                     .plan = o->plan,
                     .workspaces = o->workspaces,
                     .devices = devices,
                     .device_count = o->device != NULL};
  mp_err err = {0};
  const mp_answer *x = mp_answer_make(m->a, q, &err);
  if (!x) {
    if (err.code != MP_BAD_INPUT) mp_fail(m->a, err.code, "%s", err.text);
    warn(m, mp_format(m->a, "memory is not known: %s", err.text));
    return;
  }
  for (uint32_t i = 0; i < x->timeline->warning_count; i++) warn(m, x->timeline->warnings[i]);
  out->memory = x;
  if (x->timeline->peak.reserved > m->most) {
    m->most = x->timeline->peak.reserved;
    m->c->peak_phase = (uint32_t)(out - m->c->phases);
  }
  if (x->timeline->flops_recompute) *again = (double)x->timeline->flops_recompute / (double)x->timeline->flops_forward * (double)out->macs;
}

/* An open batch dimension is bound to 1; a phase's words go before the run's for the same dimension. */
static void count_phase(maker *m, const mp_compute_phase *phase, mp_compute_count *out) {
  const mp_compute_options *o = m->o;
  mp_binding *b = mp_alloc_array(m->a, (size_t)o->binding_count + phase->binding_count + 1, sizeof *b);
  uint32_t n = 0;
  for (uint32_t i = 0; i < phase->binding_count; i++) b[n++] = phase->bindings[i];
  for (uint32_t i = 0; i < o->binding_count; i++) {
    bool again = false;
    for (uint32_t k = 0; k < phase->binding_count; k++) again |= !strcmp(b[k].name, o->bindings[i].name) && b[k].axis == o->bindings[i].axis;
    if (!again) b[n++] = o->bindings[i];
  }
  const mp_graph *g = build(m, b, n);
  const mp_int *axis = batch_axis(g);
  out->per_pass = o->batch;
  out->per_pass_from = "given";
  bool bound = true;
  if (axis && !mp_int_is_number(*axis) && !mp_int_is_unknown(*axis) && !o->batch) {
    b[n++] = (mp_binding){mp_int_text(m->a, *axis), -1, 1};
    g = build(m, b, n);
    axis = batch_axis(g);
    bound = false;
    out->per_pass_from = mp_format(m->a, "'%s' is open: counted at 1", b[n - 1].name);
  } else if (!o->batch) {
    out->per_pass_from = "the first axis of the first input";
  }
  const char *open = mp_graph_open_dim(g);
  if (open) mp_fail(m->a, MP_BAD_INPUT, "%s: dimension '%s' is open; add --dim %s=512", o->model, open, open);
  if (!out->per_pass) {
    if (!axis || !mp_int_is_number(*axis) || axis->n <= 0)
      mp_fail(m->a, MP_BAD_INPUT, "%s: how many samples one pass runs is not known: no input has a first axis; add --batch N", o->model);
    out->per_pass = (uint64_t)axis->n;
  }
  mp_text dims = {0};
  for (uint32_t i = 0; i < n; i++)
    if (b[i].axis < 0)
      mp_text_add(m->a, &dims, "%s%s=%lld", i ? ", " : "", b[i].name, (long long)b[i].n);
    else
      mp_text_add(m->a, &dims, "%s%s:%d=%lld", i ? ", " : "", b[i].name, b[i].axis, (long long)b[i].n);
  out->dims = dims.n ? dims.at : "";

  sums s = add_up(m, g);
  if (!s.macs) warn(m, "the file has no matrix product, convolution or recurrent cell: nothing is counted");
  double again = o->recompute == MP_RECOMPUTE_SELECTIVE ? (double)s.products : o->fraction * (double)s.macs;
  out->macs = s.macs;
  out->multiply_adds = (double)s.macs / (double)out->per_pass;
  out->epochs = phase->epochs;
  uint32_t accumulate = o->run ? o->run->accumulate : 1;
  if (bound) {
    out->steps = ceil(o->samples / ((double)out->per_pass * accumulate)) * phase->epochs;
    /* N micro-batches add their gradients N - 1 times a step */
    m->c->accumulate_flops += (double)parameters_of(g) * (accumulate - 1) * out->steps;
    if (o->run) memory(m, b, n, out, &again);
  }
  out->model_flops = out->multiply_adds * o->samples * phase->epochs * MP_OPS_A_MULTIPLY_ADD * m->c->passes;
  out->recompute_flops = again / (double)out->per_pass * o->samples * phase->epochs * MP_OPS_A_MULTIPLY_ADD;
}

static void count(maker *m) {
  const mp_compute_options *o = m->o;
  if (!(o->samples > 0)) mp_fail(m->a, MP_BAD_INPUT, "%s: the number of samples is not known; add --samples N (an epoch's)", o->model);
  mp_err err = {0};
  m->file = mp_model_read(m->a, o->model, &err);
  if (!m->file) mp_fail(m->a, err.code, "%s", err.text);
  mp_compute_count *phases = mp_alloc_array(m->a, o->phase_count, sizeof *phases);
  m->c->phases = phases;
  m->c->phase_count = m->c->peak_phase = o->phase_count;
  for (uint32_t i = 0; i < o->phase_count; i++) {
    count_phase(m, &o->phases[i], &phases[i]);
    m->c->model_flops += phases[i].model_flops;
    m->c->hardware_flops += phases[i].model_flops + phases[i].recompute_flops;
  }
  if (o->run && (o->run->freezes || o->run->lora_rank))
    warn(m, "the factor 3 counts a gradient for every weight, of frozen ones too: with --freeze or --lora method 1 is an upper limit");
  bool known = phases[0].steps > 0;
  if (o->run && o->run->accumulate > 1 && !known)
    warn(m, "accumulation runs every sample forward and backward once, as without it; its additions are counted where the micro-batch is bound");
  if (o->plan && o->plan->checkpoints && !known) warn(m, "what is recomputed by module is counted where the micro-batch is bound: add --dim for it");
}

/* ---- method 2, time, energy, cost ---- */

static double peak_of(maker *m) {
  const mp_compute_options *o = m->o;
  if (o->peak > 0) return o->peak;
  static const char *const multiplies[] = {[MP_FP32] = "fp32",      [MP_AMP_FP16] = "fp16",  [MP_AMP_BF16] = "bf16",
                                           [MP_PURE_BF16] = "bf16", [MP_PURE_FP16] = "fp16", [MP_BF16_MASTER] = "bf16"};
  const char *precision = o->precision ? o->precision : o->run ? multiplies[o->run->precision] : "fp32";
  m->c->precision = precision;
  double peak = mp_device_peak(o->device, precision);
  if (peak < 0) mp_fail(m->a, MP_BAD_INPUT, "peak of '%s': expected fp32, tf32, fp16, bf16 or fp8", precision);
  if (peak > 0) return peak;
  mp_text known = {0};
  static const char *const all[] = {"fp32", "tf32", "fp16", "bf16", "fp8"};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (mp_device_peak(o->device, all[i]) > 0) mp_text_add(m->a, &known, "%s%s", known.n ? ", " : "", all[i]);
  mp_fail(m->a, MP_BAD_INPUT, "device '%s': no %s peak is known; give --peak TFLOPS%s%s", o->device->name, precision,
          known.n ? ", or --math with one that is: " : "", known.n ? known.at : "");
}

static void measure(maker *m) {
  const mp_compute_options *o = m->o;
  mp_compute *c = m->c;
  if (!o->device && !(o->peak > 0)) {
    if (!o->model) mp_fail(m->a, MP_BAD_INPUT, "nothing to compute: give a model with --samples and --epochs, or --device with --count and --days");
    if (o->days > 0) mp_fail(m->a, MP_BAD_INPUT, "--days needs devices: add --device NAME or --peak TFLOPS");
    return;
  }
  if (!o->model && !(o->days > 0)) mp_fail(m->a, MP_BAD_INPUT, "how long it ran is not known; add --days T, or a model with --samples and --epochs");
  c->peak = o->count * peak_of(m) * 1e12;
  c->utilization = o->utilization > 0 ? o->utilization : o->cpu ? MP_UTILIZATION_CPU : MP_UTILIZATION_GPU;
  if (o->days > 0) {
    c->seconds = o->days * 86400;
    c->spent_flops = c->peak * c->seconds * c->utilization;
  } else {
    c->seconds = (c->hardware_flops + c->accumulate_flops) / (c->peak * c->utilization);
  }
  c->device_hours = c->seconds / 3600 * o->count;
  if (o->device && o->device->watts > 0) c->joules = c->seconds * o->count * o->device->watts;
  c->cost = c->device_hours * o->price;
  if (o->utilization <= 0)
    warn(m, mp_format(m->a, "utilization is assumed: %.2f of the peak for a %s; add --utilization U", c->utilization, o->cpu ? "CPU" : "GPU"));
}

static const void *make(mp_arena *a, void *arg) {
  maker *m = arg;
  m->a = a;
  m->c = mp_alloc(a, sizeof *m->c);
  m->c->passes = m->o->run && m->o->run->infer ? 1 : MP_PASSES;
  if (m->o->model) count(m);
  measure(m);
  m->c->warnings = m->warnings.at;
  m->c->warning_count = (uint32_t)m->warnings.n;
  return m->c;
}

const mp_compute *mp_compute_make(mp_arena *a, const mp_compute_options *o, mp_err *err) {
  maker m = {.o = o};
  const mp_compute *c = mp_protect(a, err, make, &m);
  if (m.file) mp_model_close(m.file);
  return c;
}

double mp_compute_flops(const mp_compute *c) { return c->phase_count ? c->model_flops : c->spent_flops; }
