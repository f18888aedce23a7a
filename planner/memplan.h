/* memplan: how much accelerator memory training an ONNX model takes in PyTorch, whether it fits, and what makes it fit.
 *
 * Input: an ONNX file and a few words about the training run. Output: bytes, a verdict for each device, a plan. Data flows one way; each arrow is one
 * function that takes const values and returns a new one:
 *
 *     file --> model --> graph --> program --> trace --> tape --> timeline --> verdict --> report
 *            (onnx/onnx.h)   recover    + run     + plan   bytes alive
 *
 *   program   the framework's calls as the model's source wrote them, each with its arguments, its module instance and the ONNX nodes it came from;
 *             and the table of parameters and buffers, because initializers are not parameters.
 *   trace     program + run (precision, attention kernel, frozen parameters, loss): what PyTorch dispatches. Every value is (storage, offset,
 *             strides, dtype); every autograd node lists what it saves.
 *   tape      trace + plan (what to recompute, micro-batches, stages): what one device does in three training iterations, in order: allocate, free.
 *   timeline  bytes alive after every step by category, and the peak. The only place that adds bytes up.
 *
 * Three sizes are kept apart: allocated (torch.cuda.max_memory_allocated), reserved (max_memory_reserved), device (reserved + workspaces + context,
 * what nvidia-smi shows). Sizes are bytes.
 *
 * Memory: everything is made in the caller's arena and is immutable. A stage returns NULL with *err filled on failure, and NULL in gives NULL out. The library never
 * prints and never exits; reports come back as text. */
#ifndef MEMPLAN_H
#define MEMPLAN_H

#include "devices/devices.h"
#include "onnx/onnx.h"

/* ---- run: how the model is trained. Plain data; mp_run_default() is what CONTRACT calls default ---- */
typedef enum mp_precision { MP_FP32, MP_AMP_FP16, MP_AMP_BF16, MP_PURE_BF16, MP_PURE_FP16, MP_BF16_MASTER } mp_precision;
typedef enum mp_attention { MP_ATTN_AS_EXPORTED, MP_ATTN_WRITTEN_OUT, MP_ATTN_SDPA, MP_ATTN_MATH, MP_ATTN_EFFICIENT, MP_ATTN_FLASH } mp_attention;
typedef enum mp_loss { MP_LOSS_AUTO, MP_LOSS_NONE, MP_LOSS_SUM, MP_LOSS_MSE, MP_LOSS_CROSS_ENTROPY } mp_loss;
typedef enum mp_zero_grad { MP_ZERO_START, MP_ZERO_AFTER_FORWARD, MP_ZERO_END } mp_zero_grad;
/* what `outputs = model(**batch)` keeps until the next forward pass returns: the logits; of a decoder of transformers its keys and values too (from version 4.56 on, and before) */
typedef enum mp_hold { MP_HOLD_NOTHING, MP_HOLD_LOGITS, MP_HOLD_CACHE, MP_HOLD_OLD_CACHE } mp_hold;
typedef struct mp_optimizer mp_optimizer; /* a row of the table in planner/optimizer.c */

typedef struct mp_run {
  mp_precision precision;
  mp_attention attention;
  mp_loss loss;
  mp_zero_grad zero_grad;
  const mp_optimizer *optimizer; /* NULL: none */
  uint32_t accumulate;           /* micro-batches in an optimizer step, >= 1 */
  const char *const *freeze;     /* globs over state_dict names */
  uint32_t freezes;
  double dropout;                /* < 0: as exported */
  uint32_t lora_rank;            /* 0: none */
  const char *lora_glob;         /* NULL: every linear layer */
  bool infer;                    /* one forward under no_grad */
  bool grad_scaler, clip_grad, ema;
  mp_hold hold_outputs;          /* `outputs = model(**batch); outputs.loss.backward()` */
  bool expandable_segments;      /* the caching allocator runs with expandable_segments:True; only reserved bytes change */
} mp_run;
mp_run mp_run_default(void);
const mp_optimizer *mp_optimizer_find(const char *name); /* NULL: no such row */
uint32_t mp_optimizer_count(void);
const char *mp_optimizer_name(uint32_t i);
const char *mp_precision_name(mp_precision p);

/* ---- plan: what is changed about memory. Plain data ---- */
typedef struct mp_plan {
  const char *const *checkpoint; /* module instances to recompute: paths, globs, PATH.FIRST..PATH.LAST; "blocks": the repeated modules */
  uint32_t checkpoints;
  const char *const *invertible; /* module instances whose inputs go and are rebuilt from their outputs: paths, globs; "auto": the repeated modules that are seen to be invertible */
  uint32_t invertibles;
  const int8_t *save_calls;      /* per-call policy inside recomputed regions: 1 save, 0 recompute; NULL: recompute all. By program call index. */
  uint32_t stage, stages;        /* this device's stage of `stages` (0 or 1: not split) */
  const uint32_t *cuts;          /* first call of stage 1, 2, ...: stages - 1 of them */
} mp_plan;

/* ---- stages ---- */
typedef struct mp_program mp_program;
typedef struct mp_trace mp_trace;
typedef struct mp_tape mp_tape;

/* graph -> program. Dims that matter must be numbers: else MP_BAD_INPUT "dimension 'seq' is open; add --dim seq=512". */
const mp_program *mp_program_recover(mp_arena *a, const mp_graph *g, mp_err *err);
/* program -> program: the loss, dropout and LoRA that the run asks for and the file lacks. */
const mp_program *mp_program_edit(mp_arena *a, const mp_program *p, const mp_run *run, mp_err *err);
/* program + run -> trace. A freeze glob that matches nothing is MP_BAD_INPUT. */
const mp_trace *mp_trace_make(mp_arena *a, const mp_program *p, const mp_run *run, mp_err *err);
/* trace + plan -> tape of one device. */
const mp_tape *mp_tape_make(mp_arena *a, const mp_trace *t, const mp_run *run, const mp_plan *plan, mp_err *err);

/* ---- timeline ---- */
typedef enum mp_category {
  MP_CAT_PARAMETER, MP_CAT_BUFFER, MP_CAT_INPUT, MP_CAT_SAVED, MP_CAT_ACTIVATION, MP_CAT_GRADIENT, MP_CAT_OPTIMIZER, MP_CAT_WORKSPACE, MP_CAT_MASTER, MP_CATEGORIES
} mp_category;
const char *mp_category_name(mp_category c);
typedef enum mp_phase { MP_SETUP, MP_FORWARD, MP_BACKWARD, MP_STEP } mp_phase;
const char *mp_phase_name(mp_phase p);

/* One storage that autograd keeps at the end of the forward pass. */
typedef struct mp_saved {
  const char *call, *module, *what, *dtype; /* what: input, result, mask, statistics, copy, indices */
  int32_t rank;
  const int64_t *dims;
  uint64_t bytes; /* exact */
} mp_saved;

typedef struct mp_peak {
  uint64_t allocated, reserved, first_iteration;
  mp_phase phase;
  const char *call, *module;
  uint64_t by[MP_CATEGORIES]; /* sums to allocated */
  uint32_t step;              /* of the tape */
} mp_peak;

typedef struct mp_timeline {
  uint64_t parameters, parameter_bytes, buffer_bytes, input_bytes, gradient_bytes, optimizer_bytes, saved_bytes; /* exact, each storage once */
  uint64_t after_forward;
  mp_peak peak;
  const mp_saved *saved;
  uint32_t saved_count;
  uint64_t flops_forward, flops_backward, flops_recompute; /* of one optimizer step */
  int64_t cudnn_low, cudnn_high; /* what cuDNN's workspaces change in reserved bytes: a range, since no file says which algorithms run (timeline.c) */
  const char *const *warnings;
  uint32_t warning_count;
} mp_timeline;

const mp_timeline *mp_timeline_make(mp_arena *a, const mp_tape *t, mp_err *err);

/* ---- reports: text or one JSON object, in the arena ---- */

/* What a graph holds: values and their shapes, parameters, FLOPs. Text is a table by operator type, unless one of the flags asks for something else. */
typedef struct mp_inspect_options {
  bool json, tree, unknown; /* tree: by module path; unknown: the values whose dims are not known, and why */
  const char *node;         /* one node, by its name or that of an output; NULL: none */
} mp_inspect_options;
const char *mp_report_inspect(mp_arena *a, const mp_graph *g, const mp_inspect_options *o, mp_err *err);

/* The program: parameters, inputs, module instances, then one line a call: module path, name, arguments, results, ONNX nodes. */
const char *mp_report_program(mp_arena *a, const mp_program *p, mp_err *err);

/* The given devices with their sources, or the whole catalogue where d is NULL. */
const char *mp_report_devices(mp_arena *a, const mp_device *const *d, size_t n, bool json, mp_err *err);

/* The tables that memplan works from: operators, calls, patterns; or the rows that one of the globs names (n 0: all). */
const char *mp_report_ops(mp_arena *a, const char *const *globs, uint32_t n, bool json, mp_err *err);

/* ---- verdict: the timeline against what a device really offers ---- */
typedef enum mp_fits { MP_FITS, MP_TIGHT /* fits, with less to spare than the stated error and cuDNN's range */, MP_FITS_NOT } mp_fits;
const char *mp_fits_name(mp_fits f); /* "fits", "tight", "no" */
typedef struct mp_workspaces { /* UINT64_MAX: the device's own figure */
  uint64_t cublas, cudnn, context;
} mp_workspaces;
mp_workspaces mp_workspaces_default(void);
typedef struct mp_verdict {
  const mp_device *device;
  mp_device_overhead overhead; /* after overrides */
  int64_t cudnn_low, cudnn_high; /* the timeline's, or the override */
  uint64_t usable, needed;     /* needed = reserved + cuBLAS + cuDNN's low figure, where that is above 0, + context */
  mp_fits fits;
  int64_t spare;               /* usable - needed: negative is the shortfall */
  bool gives_back;             /* does not fit, and yet runs: the allocator gives wholly free segments back before it fails. Known of an answer's verdicts. */
} mp_verdict;
/* d NULL: the overheads of a recent consumer GPU, usable 0 */
mp_verdict mp_verdict_make(const mp_timeline *t, const mp_device *d, const mp_workspaces *w);

/* ---- the whole chain for one question ---- */
typedef struct mp_question {
  const char *path;
  const mp_binding *bindings;
  uint32_t binding_count;
  const mp_run *run;
  const mp_plan *plan;
  const char *plan_file;    /* NULL, or a plan.json that takes plan's place */
  const mp_device *const *devices;
  uint32_t device_count;
  mp_workspaces workspaces;
} mp_question;
typedef struct mp_answer {
  const mp_question *question;
  const mp_graph *graph;
  const mp_program *program;
  const mp_trace *trace;
  const mp_tape *tape;
  const mp_timeline *timeline;
  const mp_verdict *verdicts; /* one a device */
} mp_answer;
/* file -> model -> graph -> program -> trace -> tape -> timeline -> verdicts */
const mp_answer *mp_answer_make(mp_arena *a, const mp_question *q, mp_err *err);

/* ---- compute: floating-point operations of a whole training run (compute.c) ----
 * Method 1 counts: multiply-adds of one sample's forward pass x 2 operations x 3 (forward, and backward by inputs and by weights) x samples x epochs.
 * Method 2 measures by time: devices x peak x seconds x utilization. (OpenAI, "AI and Compute", 2018, appendix.) */
#define MP_OPS_A_MULTIPLY_ADD 2.0
#define MP_PASSES 3.0
#define MP_UTILIZATION_GPU 0.33 /* the appendix's, where none is stated */
#define MP_UTILIZATION_CPU 0.17
#define MP_PFS_DAY (1e15 * 86400)

typedef struct mp_compute_phase { /* one stretch of a schedule: other dims, other epochs */
  double epochs;
  const mp_binding *bindings; /* besides the run's */
  uint32_t binding_count;
} mp_compute_phase;

typedef enum mp_recompute { MP_RECOMPUTE_FRACTION, MP_RECOMPUTE_SELECTIVE } mp_recompute;

typedef struct mp_compute_options {
  /* method 1 */
  const char *model; /* path, or NULL */
  const mp_binding *bindings;
  uint32_t binding_count;
  double samples;             /* in an epoch */
  uint64_t batch;             /* samples in one pass of the file; 0: the first axis of its first input */
  mp_recompute recompute;     /* what backward runs again: a fraction of the forward pass, or the products of two activations */
  double fraction;
  const mp_run *run;          /* how it is trained; NULL: only operations are counted, no memory */
  const mp_plan *plan;        /* what is recomputed by module; its share of the forward pass goes before `recompute` */
  mp_workspaces workspaces;
  const mp_compute_phase *phases; /* at least one where model is set */
  uint32_t phase_count;
  /* method 2, time, energy, cost */
  const mp_device *device;    /* or NULL */
  const char *precision;      /* of the peak: fp32, tf32, fp16, bf16, fp8; NULL: what the run multiplies in */
  double peak;                /* TFLOP/s of one device instead of its row's; 0: the row's */
  double count, days;         /* devices; 0 days: not known */
  double utilization;         /* 0: MP_UTILIZATION_GPU, or _CPU where cpu is set */
  bool cpu;
  double price;               /* of a device-hour; 0: not known */
} mp_compute_options;

typedef struct mp_compute_count { /* method 1, one phase */
  double epochs;
  const char *dims;           /* "batch=1, seq=128", "" */
  uint64_t macs;              /* multiply-adds of one pass of the file with these dims */
  uint64_t per_pass;          /* samples in it */
  const char *per_pass_from;  /* where that number is from */
  double multiply_adds;       /* of one sample */
  double model_flops;         /* of the phase */
  double recompute_flops;
  double steps;               /* of the optimizer; 0 where the micro-batch is not known */
  const mp_answer *memory;    /* NULL where the micro-batch is not known, or the program is not */
} mp_compute_count;

typedef struct mp_compute {
  const mp_compute_count *phases;
  uint32_t phase_count;
  uint32_t peak_phase;        /* the phase that takes most memory; phase_count where none is known */
  double passes;              /* MP_PASSES; 1 where the run only infers */
  double model_flops;         /* method 1; 0 where there is no model */
  double hardware_flops;      /* with what recomputation runs again */
  double spent_flops;         /* method 2; 0 where devices or days are not known */
  double accumulate_flops;    /* additions that accumulation makes; not in the two above; 0 where the micro-batch is not known */
  double peak, utilization;   /* FLOP/s of all devices together, 0 where not known */
  const char *precision;      /* whose peak */
  double seconds, device_hours, joules, cost; /* of the run: of --days, else of method 1 at that peak and utilization; 0 where not known */
  const char *const *warnings;
  uint32_t warning_count;
} mp_compute;
const mp_compute *mp_compute_make(mp_arena *a, const mp_compute_options *o, mp_err *err);
double mp_compute_flops(const mp_compute *c); /* method 1's where there is a model, else method 2's */

/* A published figure (published.c) with the inputs that its source states. */
typedef struct mp_published {
  const char *id, *result;
  uint8_t method;             /* 1, 2; 0: no inputs stated */
  double multiply_adds, samples, epochs;      /* method 1 */
  double devices, tflops, days, utilization;  /* method 2 */
  double extra;               /* a factor of its own: 12,800 networks */
  char relation;              /* '=', or '<': an upper limit */
  const char *printed_pf, *printed; /* petaflop and petaflop/s-days as printed, "" where not */
  const char *why;            /* why the figure does not follow from the inputs, "" */
  const char *model, *dims;   /* a sample model of the network and its dims, NULL */
  uint8_t pass;               /* what the row calls samples in one pass of it: 2 words (one in, one out) of a translation */
} mp_published;
uint32_t mp_published_count(void);
const mp_published *mp_published_at(uint32_t i);
double mp_published_pfs_days(const mp_published *p);  /* the product of its stated inputs; 0 where none are */
/* Is value, rounded to as many significant digits as `printed` has, the number that is printed? */
bool mp_follows(double value, const char *printed);

/* ---- splitting over devices: a 1F1B pipeline of contiguous stages ---- */
typedef struct mp_split_row {
  const char *from, *to; /* module paths of its first and last block */
  const mp_timeline *timeline;
  const mp_verdict *verdicts; /* one a device of the question */
} mp_split_row;
typedef struct mp_split {
  uint32_t count, worst; /* stages; the one that needs most */
  const mp_split_row *rows;
} mp_split;
/* The answer's program on n devices under the same run and plan. */
const mp_split *mp_split_answer(mp_arena *a, const mp_answer *x, uint32_t n, mp_err *err);

/* ---- placement: what to recompute so that it fits (planner/placement.h has the bound and its proof) ---- */
typedef enum mp_granularity { MP_BY_BLOCKS, MP_BY_MODULES, MP_BY_CALLS, MP_FREELY } mp_granularity;
const char *mp_granularity_name(mp_granularity g);
typedef struct mp_search {
  mp_granularity granularity;
  uint64_t budget;               /* of peak allocated bytes in the steady iteration */
  const char *const *invertible; /* modules of every plan that are invertible, as in mp_plan */
  uint32_t invertibles;
  double time_limit;             /* seconds of CPU; 0: 20 */
  const volatile int *interrupt; /* not zero: stop with the best so far; may be NULL */
  void (*progress)(void *arg, uint32_t plans_tried, uint64_t peak); /* may be NULL */
  void *progress_arg;
} mp_search;
typedef struct mp_placement {
  bool feasible;               /* timeline->peak.allocated <= budget. Otherwise plan misses by least of those tried. */
  bool stopped;                /* by time or interrupt */
  mp_plan plan;
  const mp_tape *tape;         /* of the plan */
  const mp_timeline *timeline;
  double overhead, bound;      /* extra operations over forward + backward; proved lower limit for the granularity */
  uint32_t tried;              /* tapes built */
} mp_placement;
/* What a region's recomputation does besides: dropout, batch norm's statistics, in-place calls; lines for people. */
const char *const *mp_placement_notes(mp_arena *a, const mp_trace *t, const mp_plan *plan, uint32_t *n);
const mp_placement *mp_placement_make(mp_arena *a, const mp_trace *t, const mp_run *run, const mp_search *ask, mp_err *err);

/* Granularity free: any schedule (planner/free.c). Never exported to PyTorch. */
typedef struct mp_free_plan {
  bool feasible;
  uint64_t constant, base_peak, peak; /* bytes that are always there; without recomputation; of the schedule, constant included */
  double overhead, bound;             /* over the instance's cost without recomputation */
  uint32_t nodes, steps;
  const char *why;                    /* where it is not feasible */
} mp_free_plan;
const mp_free_plan *mp_free_plan_make(mp_arena *a, const mp_answer *x, uint64_t budget, const mp_search *ask, mp_err *err);

/* ---- plans as files (planner/plan_json.c) ---- */
/* The plan object of CONTRACT as JSON text: version, fingerprints of model and run, granularity, regions, what is kept inside them. */
const char *mp_plan_write(mp_arena *a, const mp_answer *x, const mp_placement *p, mp_granularity g, uint64_t budget, mp_err *err);
typedef struct mp_plan_file { /* what a plan file says */
  const char *path, *model, *granularity;
  const char *program_print, *run_print; /* fingerprints */
  const char *const *checkpoint, *const *invertible;
  uint32_t checkpoints, invertibles;
  const uint32_t *save_calls; /* program calls whose heavy kernel is kept */
  uint32_t saves;
  uint64_t budget, peak;
  const struct mp_policy_row *policy; /* the same for PyTorch */
  uint32_t policies;
} mp_plan_file;
typedef struct mp_policy_row { /* in region `checkpoint[region]`, the n-th run of aten op `op` is kept */
  uint32_t region, nth;
  const char *op;
} mp_policy_row;
const mp_plan_file *mp_plan_read(mp_arena *a, const char *path, mp_err *err);
/* The plan that a file holds, for a trace; MP_BAD_INPUT when it was made for another model or run. */
const mp_plan *mp_plan_bind(mp_arena *a, const mp_plan_file *f, const mp_trace *t, mp_err *err);
/* A Python module with apply(model) for `to` "torch"; a setting for fsdp, deepspeed, megatron, torchtitan. MP_BAD_INPUT for another `to`. */
const char *mp_plan_export(mp_arena *a, const mp_plan_file *f, const char *to, mp_err *err);

/* A slow second opinion: reads the plan by its definition, sums the tape's storages step by step without timeline.c, and names the rule that is broken. */
typedef struct mp_check {
  bool valid;
  const char *rule;  /* where it is not: the rule and where */
  uint64_t peak;     /* of the steady iteration */
  double overhead;
} mp_check;
const mp_check *mp_check_plan(mp_arena *a, const mp_answer *x, const mp_plan_file *f, mp_err *err);

/* ---- the largest batch that fits ---- */
typedef struct mp_max_batch {
  int64_t batch;             /* 0: not even one sample */
  const char *dim;           /* that was varied */
  const mp_answer *answer;   /* of that batch, NULL for 0 */
  const mp_placement *placement; /* with automatic checkpointing; NULL */
} mp_max_batch;
/* The largest value of the batch dimension (q's binding of it is ignored) at which training fits q's first device. automatic: with the cheapest recomputation of g. */
const mp_max_batch *mp_max_batch_find(mp_arena *a, const mp_question *q, const char *dim, bool automatic, mp_granularity g, mp_err *err);
/* The placement for a device: the budget of allocated bytes is lowered until the device's verdict holds. */
const mp_placement *mp_placement_for_device(mp_arena *a, const mp_answer *x, const mp_device *d, const mp_search *ask, mp_err *err);

/* ---- advice: what would make it fit. Each row is a tape that was built ---- */
typedef struct mp_advice_row {
  const char *change;  /* in words, with the options that ask for it */
  uint64_t needed, peak; /* bytes of one device */
  double extra;        /* operations recomputed over forward + backward */
  uint32_t devices;
  mp_fits fits;
} mp_advice_row;
typedef struct mp_advice {
  const mp_device *device; /* the first that it does not fit; NULL: it fits them all */
  const mp_advice_row *rows; /* those that fit, the least extra compute first; when none fits, the nearest */
  uint32_t count;
} mp_advice;
const mp_advice *mp_advice_make(mp_arena *a, const mp_answer *x, mp_err *err);
double mp_overhead(const mp_timeline *t); /* recomputed operations over forward + backward */

/* ---- reports: text in the arena ---- */
typedef struct mp_fit_view {
  bool tree;
  uint32_t top; /* 0: none */
} mp_fit_view;
const char *mp_report_fit_text(mp_arena *a, const mp_answer *x, const mp_advice *ad, const mp_fit_view *view, mp_err *err);
/* What is alive after every step of the tape, by category: a CSV table, or a trace for chrome://tracing and Perfetto (counters by category; iterations, phases and calls
 * as slices; one step is one microsecond). */
const char *mp_report_timeline_csv(mp_arena *a, const mp_answer *x, mp_err *err);
const char *mp_report_timeline_trace(mp_arena *a, const mp_answer *x, mp_err *err);
/* several dims, several models: one line each, with a mark where it stops fitting */
const char *mp_report_fit_table(mp_arena *a, const mp_answer *const *answers, uint32_t n, mp_err *err);
/* the catalogue ranked: the smallest that fits first */
const char *mp_report_fit_ranking(mp_arena *a, const mp_answer *x, mp_err *err);
const char *mp_report_plan_text(mp_arena *a, const mp_answer *x, const mp_placement *p, const mp_search *ask, mp_err *err);
const char *mp_report_plan_json(mp_arena *a, const mp_answer *x, const mp_placement *p, const mp_search *ask, mp_err *err);
const char *mp_report_split_text(mp_arena *a, const mp_answer *x, const mp_split *s, mp_err *err);
/* n > 1: the first answer's object with {"rows": [one object each]}; split (may be NULL) adds {"stages": [...]} and the verdicts are then its worst
 * stage's; top > 0 adds {"largest": [...]}: as many of the largest storages at the first answer's peak */
const char *mp_report_fit_json(mp_arena *a, const mp_answer *const *answers, uint32_t n, const mp_split *split, uint32_t top, mp_err *err);

const char *mp_report_compute(mp_arena *a, const mp_compute_options *o, const mp_compute *c, bool json, mp_err *err);
/* models: the folder with sample models, whose own count stands beside the stated one where the file is found; NULL: none */
const char *mp_report_published(mp_arena *a, const char *models, bool json, mp_err *err);

#endif
