#include "planner/cmd_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  DIM = 0x200, DEVICE, OPTIMIZER, PRECISION, ACCUMULATE, ZERO_GRAD, DEVICES, CHECKPOINT, LOSS, DROPOUT, ATTENTION, FREEZE, LORA, WORKSPACE, INFER, SCALER, CLIP, EMA, HOLD, INVERTIBLE, EXPANDABLE, JSON, QUIET
};

static const struct argp_option options[] = {
    {"dim", DIM, "NAME=N", 0, "bind a named dimension (or INPUT:AXIS=N); repeatable", 1},
    {"device", DEVICE, "D[,D...]", 0, "a device of memplan devices, or a size such as 24GB; 'all' ranks the catalogue", 1},
    {"optimizer", OPTIMIZER, "NAME", 0, "none, sgd, sgd-momentum, adam, adamw (default), adamw-fused, adamw-loop, adagrad, rmsprop, adadelta, adafactor, adamw-8bit, lion", 2},
    {"precision", PRECISION, "P", 0, "fp32 (default), amp-fp16, amp-bf16, bf16, fp16, bf16-master", 2},
    {"accumulate", ACCUMULATE, "N", 0, "micro-batches in one optimizer step (default 1)", 2},
    {"zero-grad", ZERO_GRAD, "WHEN", 0, "start (default), after-forward, end", 2},
    {"attention", ATTENTION, "KIND", 0, "as-exported (default), written-out, sdpa, math, efficient, flash", 2},
    {"freeze", FREEZE, "GLOB", 0, "parameters that are not trained, by state_dict name; repeatable", 2},
    {"lora", LORA, "RANK[:GLOB]", 0, "train low-rank adapters of the linear layers that GLOB names, freeze the rest", 2},
    {"loss", LOSS, "KIND", 0, "auto (default), none, sum, mse, cross-entropy: where the file has no loss", 2},
    {"dropout", DROPOUT, "P", 0, "put dropout back where an inference export lost it", 2},
    {"infer", INFER, 0, 0, "one forward pass under no_grad; its outputs stay", 2},
    {"grad-scaler", SCALER, 0, 0, "a GradScaler, as fp16 autocast wants", 2},
    {"clip-grad", CLIP, 0, 0, "clip_grad_norm_ before each optimizer step", 2},
    {"hold-outputs", HOLD, "WHAT", OPTION_ARG_OPTIONAL, "the loop keeps the model's outputs (outputs = model(...)): logits, cache (default: a decoder's keys and values too), old-cache (as transformers before 4.56)", 2},
    {"ema", EMA, 0, 0, "an exponential moving average of the parameters", 2},
    {"expandable-segments", EXPANDABLE, 0, 0, "the caching allocator runs with expandable_segments:True", 2},
    {"checkpoint", CHECKPOINT, "WHAT", 0, "recompute: none (default), blocks, module paths, globs, PATH.FIRST..PATH.LAST, or plan.json", 3},
    {"invertible", INVERTIBLE, "GLOB", 0, "modules whose inputs go and are rebuilt from their outputs in backward (RevNet, Glow, Reformer): module paths, globs, or auto", 3},
    {"devices", DEVICES, "N", 0, "split the model into N pipeline stages", 3},
    {"workspace", WORKSPACE, "cublas=BYTES,...", 0, "override cublas, cudnn, context", 4},
    {"json", JSON, 0, 0, "print one JSON object", 5},
    {"quiet", QUIET, 0, 0, "no progress and no notes", 5},
    {0},
};

typedef struct word {
  const char *name;
  int value;
} word;
static const word precisions[] = {{"fp32", MP_FP32}, {"amp-fp16", MP_AMP_FP16}, {"amp-bf16", MP_AMP_BF16}, {"bf16", MP_PURE_BF16}, {"fp16", MP_PURE_FP16}, {"bf16-master", MP_BF16_MASTER}, {0}};
static const word attentions[] = {{"as-exported", MP_ATTN_AS_EXPORTED}, {"written-out", MP_ATTN_WRITTEN_OUT}, {"sdpa", MP_ATTN_SDPA}, {"math", MP_ATTN_MATH},
                                  {"efficient", MP_ATTN_EFFICIENT}, {"flash", MP_ATTN_FLASH}, {0}};
static const word losses[] = {{"auto", MP_LOSS_AUTO}, {"none", MP_LOSS_NONE}, {"sum", MP_LOSS_SUM}, {"mse", MP_LOSS_MSE}, {"cross-entropy", MP_LOSS_CROSS_ENTROPY}, {0}};
static const word zero_grads[] = {{"start", MP_ZERO_START}, {"after-forward", MP_ZERO_AFTER_FORWARD}, {"end", MP_ZERO_END}, {0}};

static const word holds[] = {{"logits", MP_HOLD_LOGITS}, {"cache", MP_HOLD_CACHE}, {"old-cache", MP_HOLD_OLD_CACHE}, {0}};

static int choose(struct argp_state *state, const char *option, const word *words, const char *arg) {
  for (const word *w = words; w->name; w++)
    if (!strcmp(w->name, arg)) return w->value;
  char list[512] = "";
  for (const word *w = words; w->name; w++) {
    if (w != words) strncat(list, ", ", sizeof list - strlen(list) - 1);
    strncat(list, w->name, sizeof list - strlen(list) - 1);
  }
  argp_error(state, "--%s: '%s' is none of %s", option, arg, list);
  return 0;
}

static uint32_t count(struct argp_state *state, const char *option, const char *arg) {
  char *end;
  unsigned long n = strtoul(arg, &end, 10);
  if (*end || end == arg || !n || n > 1000000 || *arg == '-') argp_error(state, "--%s: '%s' is not a number from 1 to 1000000", option, arg);
  return (uint32_t)n;
}

static void add(struct argp_state *state, mp_words *w, const char *arg) {
  if (w->n == MP_MAX_WORDS) argp_error(state, "more than %d of one option", MP_MAX_WORDS);
  w->at[w->n++] = arg;
}

void mp_words_split(mp_arena *a, mp_words *w, const char *text) {
  while (text && w->n < MP_MAX_WORDS) {
    const char *comma = strchr(text, ',');
    w->at[w->n++] = mp_strndup(a, text, comma ? (size_t)(comma - text) : strlen(text));
    text = comma ? comma + 1 : NULL;
  }
}

static void workspace(struct argp_state *state, mp_options *o, const char *arg) {
  mp_words w = {0};
  mp_words_split(o->arena, &w, arg);
  for (uint32_t i = 0; i < w.n; i++) {
    const char *eq = strchr(w.at[i], '=');
    uint64_t n;
    if (!eq || !mp_size_parse(eq + 1, &n)) argp_error(state, "--workspace: '%s' is not NAME=BYTES", w.at[i]);
    else if (!strncmp(w.at[i], "cublas=", 7)) o->workspaces.cublas = n;
    else if (!strncmp(w.at[i], "cudnn=", 6)) o->workspaces.cudnn = n;
    else if (!strncmp(w.at[i], "context=", 8)) o->workspaces.context = n;
    else argp_error(state, "--workspace: '%s' is none of cublas, cudnn, context", w.at[i]);
  }
}

static void lora(struct argp_state *state, mp_options *o, const char *arg) {
  char *end;
  unsigned long rank = strtoul(arg, &end, 10);
  if (!rank || rank > 65536 || (*end && *end != ':')) argp_error(state, "--lora: '%s' is not RANK or RANK:GLOB", arg);
  o->run.lora_rank = (uint32_t)rank;
  o->run.lora_glob = *end == ':' ? end + 1 : NULL;
}

static double probability(struct argp_state *state, const char *arg) {
  char *end;
  double p = strtod(arg, &end);
  if (*end || end == arg || !(p >= 0 && p < 1)) argp_error(state, "--dropout: '%s' is not a probability from 0 to below 1", arg);
  return p;
}

static error_t parse_run(int key, char *arg, struct argp_state *state, mp_options *o) {
  mp_run *r = &o->run;
  switch (key) {
    case OPTIMIZER:
      r->optimizer = strcmp(arg, "none") ? mp_optimizer_find(arg) : NULL;
      if (strcmp(arg, "none") && !r->optimizer) {
        mp_text list = {0};
        for (uint32_t i = 0; i < mp_optimizer_count(); i++) mp_text_add(o->arena, &list, ", %s", mp_optimizer_name(i));
        argp_error(state, "--optimizer: '%s' is none of none%s", arg, list.at);
      }
      break;
    case PRECISION: r->precision = (mp_precision)choose(state, "precision", precisions, arg); break;
    case ACCUMULATE: r->accumulate = count(state, "accumulate", arg); break;
    case ZERO_GRAD: r->zero_grad = (mp_zero_grad)choose(state, "zero-grad", zero_grads, arg); break;
    case ATTENTION: r->attention = (mp_attention)choose(state, "attention", attentions, arg); break;
    case LOSS: r->loss = (mp_loss)choose(state, "loss", losses, arg); break;
    case DROPOUT: r->dropout = probability(state, arg); break;
    case LORA: lora(state, o, arg); break;
    case INFER: r->infer = true; break;
    case SCALER: r->grad_scaler = true; break;
    case CLIP: r->clip_grad = true; break;
    case EMA: r->ema = true; break;
    case HOLD: r->hold_outputs = (mp_hold)choose(state, "hold-outputs", holds, arg ? arg : "cache"); break;
    case EXPANDABLE: r->expandable_segments = true; break;
    default: return ARGP_ERR_UNKNOWN;
  }
  return 0;
}

/* transformers makes no cache under gradient checkpointing: a region that runs twice would put its keys and values there twice */
static void without_cache(mp_options *o) {
  if (o->run.hold_outputs > MP_HOLD_LOGITS) o->run.hold_outputs = MP_HOLD_LOGITS;
}

static error_t parse(int key, char *arg, struct argp_state *state) {
  mp_options *o = state->input;
  switch (key) {
    case DIM: add(state, &o->dims, arg); break;
    case DEVICE: mp_words_split(o->arena, &o->devices, arg); break;
    case FREEZE: add(state, &o->freeze, arg); break;
    case CHECKPOINT: mp_words_split(o->arena, &o->checkpoint, arg); break;
    case INVERTIBLE: mp_words_split(o->arena, &o->invertible, arg); break;
    case DEVICES: o->stages = count(state, "devices", arg); break;
    case WORKSPACE: workspace(state, o, arg); break;
    case JSON: o->json = true; break;
    case QUIET: o->quiet = true; break;
    case ARGP_KEY_ARG: add(state, &o->models, arg); break;
    case ARGP_KEY_END:
      if (!o->models.n && !o->model_optional) argp_error(state, "which model? give the path of an ONNX file");
      o->run.freeze = o->freeze.at;
      o->run.freezes = o->freeze.n;
      if (o->checkpoint.n || o->recomputes) without_cache(o);
      break;
    default: return parse_run(key, arg, state, o);
  }
  return 0;
}

const struct argp mp_options_argp = {options, parse, "MODEL...", NULL, NULL, NULL, NULL};

void mp_options_init(mp_options *o, mp_arena *a) {
  memset(o, 0, sizeof *o);
  o->arena = a;
  o->run = mp_run_default();
  o->workspaces = mp_workspaces_default();
}

const mp_plan *mp_options_plan(const mp_options *o) {
  mp_plan *plan = mp_alloc(o->arena, sizeof *plan);
  *plan = (mp_plan){.checkpoint = o->checkpoint.at, .checkpoints = o->checkpoint.n, .invertible = o->invertible.at, .invertibles = o->invertible.n};
  return plan;
}

const mp_binding *mp_options_bindings(const mp_options *o, uint32_t *n, mp_err *err) {
  mp_binding *b = mp_alloc_array(o->arena, o->dims.n + 1, sizeof *b);
  for (uint32_t i = 0; i < o->dims.n; i++)
    if (!mp_binding_parse(o->arena, o->dims.at[i], &b[i], err)) return NULL;
  *n = o->dims.n;
  return b;
}

const mp_device *const *mp_options_devices(const mp_options *o, uint32_t *n, mp_err *err) {
  MP_VEC(const mp_device *) v = {0};
  for (uint32_t i = 0; i < o->devices.n; i++) {
    if (!strcmp(o->devices.at[i], "all")) {
      for (uint32_t k = 0; k < mp_device_count(); k++) *mp_push(o->arena, &v) = mp_device_at(k);
      continue;
    }
    const mp_device *d = mp_device_find(o->arena, o->devices.at[i], err);
    if (!d) return NULL;
    *mp_push(o->arena, &v) = d;
  }
  *n = (uint32_t)v.n;
  return v.n ? v.at : mp_alloc(o->arena, sizeof(void *));
}

int mp_complain(const char *command, const mp_err *err) {
  fprintf(stderr, "%s: %s\n", command, err->text);
  return err->code == MP_BAD_INPUT ? 2 : 3;
}

const char *mp_options_plan_file(const mp_options *o) {
  if (o->checkpoint.n != 1) return NULL;
  size_t n = strlen(o->checkpoint.at[0]);
  return n > 5 && !strcmp(o->checkpoint.at[0] + n - 5, ".json") ? o->checkpoint.at[0] : NULL;
}

const void *mp_or_fail(mp_arena *a, const void *stage, const mp_err *err) {
  if (!stage) mp_fail(a, err->code, "%s", err->text);
  return stage;
}
