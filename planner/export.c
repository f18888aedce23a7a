/* A plan for a framework: a Python module for PyTorch, the nearest setting for others. */
#include <stdio.h>
#include <string.h>

#include "planner/inside.h"

static const char torch_head[] =
    "\"\"\"Activation checkpointing that memplan chose%s%s.\n"
    "\n"
    "    import plan_torch\n"
    "    model = plan_torch.apply(model)      # before training; state_dict names stay as they are\n"
    "\"\"\"\n"
    "%sfrom torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts\n"
    "\n"
    "# (modules that are recomputed as one region, {operator: which of its runs in the region are kept})\n"
    "REGIONS = [\n";

static const char torch_tail[] =
    "]\n"
    "\n"
    "\n"
    "def policy(keep):\n"
    "    \"\"\"One region's contexts: counts each operator's runs, forward and recomputation apart.\"\"\"\n"
    "    def contexts():\n"
    "        runs = {}\n"
    "\n"
    "        def decide(ctx, op, *args, **kwargs):\n"
    "            name = str(op)\n"
    "            if name not in keep: return CheckpointPolicy.PREFER_RECOMPUTE\n"
    "            key = name, ctx.is_recompute\n"
    "            runs[key] = runs.get(key, -1) + 1\n"
    "            return CheckpointPolicy.MUST_SAVE if runs[key] in keep[name] else CheckpointPolicy.PREFER_RECOMPUTE\n"
    "        return create_selective_checkpoint_contexts(decide)\n"
    "    return contexts\n"
    "\n"
    "\n"
    "def recompute(modules, keep):\n"
    "    \"\"\"The modules run one after the other as one region, in the first one's place; the others pass their input on.\"\"\"\n"
    "    forwards = [m.forward for m in modules]\n"
    "    options = {\"context_fn\": policy(keep)} if keep else {}\n"
    "\n"
    "    def region(*args, **kwargs):\n"
    "        out = forwards[0](*args, **kwargs)\n"
    "        for forward in forwards[1:]: out = forward(out)\n"
    "        return out\n"
    "\n"
    "    def forward(*args, **kwargs):\n"
    "        args = [list(a) if isinstance(a, list) else a for a in args]     # the caller may append to its list before the region runs again\n"
    "        return checkpoint(region, *args, use_reentrant=False, **options, **kwargs)\n"
    "    modules[0].forward = forward\n"
    "    for m in modules[1:]: m.forward = lambda x: x\n"
    "\n"
    "\n"
    "%s"
    "def apply(model):\n"
    "    \"\"\"Wraps the named submodules in place and returns the model.\"\"\"\n"
    "    for names, keep in REGIONS: recompute([model.get_submodule(n) for n in names], keep)\n"
    "%s"
    "    return model\n";

/* The way of MemCNN's InvertibleModuleWrapper, but that what a module rebuilds is handed to the one that gave it without a copy. */
static const char torch_inverse[] =
    "class Rebuilt(torch.autograd.Function):\n"
    "    \"\"\"Frees what a module is given; backward rebuilds it from what the module gave, with module.inverse(*outputs), and runs the module again.\"\"\"\n"
    "    givers = {}     # a storage -> the context of the module that gave it, and its place there\n"
    "\n"
    "    @staticmethod\n"
    "    def forward(ctx, module, run, count, *tensors):\n"
    "        inputs, ctx.weights = tensors[:count], tensors[count:]\n"
    "        with torch.no_grad(): outputs = run(*inputs)\n"
    "        ctx.module, ctx.run, ctx.inputs, ctx.single = module, run, inputs, not isinstance(outputs, tuple)\n"
    "        outputs = (outputs,) if ctx.single else outputs\n"
    "        ctx.outputs = [y.detach() for y in outputs]\n"
    "        for i, y in enumerate(ctx.outputs): Rebuilt.givers[y.untyped_storage()._cdata] = ctx, i\n"
    "        for x in inputs:\n"
    "            if x.requires_grad and not x.is_leaf and x.untyped_storage().nbytes() == x.nbytes: x.untyped_storage().resize_(0)\n"
    "        return outputs[0] if ctx.single else outputs\n"
    "\n"
    "    @staticmethod\n"
    "    def backward(ctx, *grads):\n"
    "        inputs, outputs, ctx.inputs, ctx.outputs = ctx.inputs, ctx.outputs, None, None\n"
    "        for y in outputs: Rebuilt.givers.pop(y.untyped_storage()._cdata, None)\n"
    "        with torch.no_grad(): again = ctx.module.inverse(*outputs)\n"
    "        del outputs\n"
    "        again = list(again) if isinstance(again, tuple) else [again]\n"
    "        for x, r in zip(inputs, again):\n"
    "            if x.untyped_storage().nbytes(): continue\n"
    "            giver, i = Rebuilt.givers.pop(x.untyped_storage()._cdata, (None, 0))\n"
    "            if giver: giver.outputs[i] = r\n"
    "            else: x.untyped_storage().resize_(x.nbytes); x.data.copy_(r)\n"
    "        again = [r.detach().requires_grad_(x.requires_grad) for x, r in zip(inputs, again)]\n"
    "        with torch.enable_grad(): outputs = ctx.run(*again)\n"
    "        pairs = [(y, g) for y, g in zip((outputs,) if ctx.single else outputs, grads) if y.requires_grad and g is not None]\n"
    "        wanted = [t for t in (*again, *ctx.weights) if t.requires_grad]\n"
    "        got = iter(torch.autograd.grad([y for y, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True))\n"
    "        return None, None, None, *[next(got) if t.requires_grad else None for t in (*again, *ctx.weights)]\n"
    "\n"
    "\n"
    "def rebuild(module):\n"
    "    if not hasattr(module, 'inverse'): raise TypeError(f'{type(module).__name__} needs a method inverse(*outputs) that gives its inputs')\n"
    "    run = module.forward\n"
    "    module.forward = lambda *inputs: Rebuilt.apply(module, run, len(inputs), *inputs, *module.parameters())\n"
    "\n"
    "\n";

/* the quotes of a Python string: module paths hold letters, digits, dots and underscores; anything else is refused */
static void check_path(mp_arena *a, const mp_plan_file *f, const char *path) {
  for (const char *c = path; *c; c++)
    if (*c == '\'' || *c == '"' || *c == '\\' || (unsigned char)*c < ' ') mp_fail(a, MP_BAD_INPUT, "%s: '%s' is no module path", f->path, path);
}

static void names_of(mp_arena *a, mp_text *t, const mp_plan_file *f, const char *pattern) {
  check_path(a, f, pattern);
  const char *dots = strstr(pattern, "..");
  if (!dots) {
    mp_text_add(a, t, "'%s'", pattern);
    return;
  }
  const char *last = dots + 2, *dot = strrchr(last, '.');
  int stem = dot ? (int)(dot - last) + 1 : 0;
  int from, to;
  if (strncmp(pattern, last, (size_t)stem) != 0 || sscanf(pattern + stem, "%d", &from) != 1 || sscanf(last + stem, "%d", &to) != 1 || to < from || to - from > 100000)
    mp_fail(a, MP_BAD_INPUT, "%s: '%s' is no run of siblings PATH.FIRST..PATH.LAST", f->path, pattern);
  for (int i = from; i <= to; i++) mp_text_add(a, t, "%s'%.*s%d'", i > from ? ", " : "", stem, last, i);
}

static void keep_of(mp_arena *a, mp_text *t, const mp_plan_file *f, uint32_t region) {
  bool first = true;
  for (uint32_t i = 0; i < f->policies; i++) {
    if (f->policy[i].region != region) continue;
    bool seen = false;
    for (uint32_t k = 0; k < i; k++) seen = seen || (f->policy[k].region == region && !strcmp(f->policy[k].op, f->policy[i].op));
    if (seen) continue;
    check_path(a, f, f->policy[i].op);
    mp_text_add(a, t, "%s'%s': {", first ? "" : ", ", f->policy[i].op);
    bool comma = false;
    for (uint32_t k = i; k < f->policies; k++) {
      if (f->policy[k].region != region || strcmp(f->policy[k].op, f->policy[i].op)) continue;
      mp_text_add(a, t, "%s%u", comma ? ", " : "", f->policy[k].nth);
      comma = true;
    }
    mp_text_add(a, t, "}");
    first = false;
  }
}

static void to_torch(mp_arena *a, mp_text *t, const mp_plan_file *f) {
  const char *slash = strrchr(f->model, '/');
  mp_text_add(a, t, torch_head, " for ", slash ? slash + 1 : f->model, f->invertibles ? "import torch\n" : "");
  for (uint32_t r = 0; r < f->checkpoints; r++) {
    mp_text_add(a, t, "    ([");
    names_of(a, t, f, f->checkpoint[r]);
    mp_text_add(a, t, "], {");
    keep_of(a, t, f, r);
    mp_text_add(a, t, "}),\n");
  }
  if (f->invertibles) mp_text_add(a, t, "]\n\n# modules whose inputs are rebuilt from their outputs\nINVERTIBLE = [\n");
  for (uint32_t i = 0; i < f->invertibles; i++) {
    check_path(a, f, f->invertible[i]);
    mp_text_add(a, t, "    '%s',\n", f->invertible[i]);
  }
  mp_text_add(a, t, torch_tail, f->invertibles ? torch_inverse : "", f->invertibles ? "    for name in INVERTIBLE: rebuild(model.get_submodule(name))\n" : "");
}

/* ---- other frameworks: what their settings can say ---- */

static uint32_t runs(const mp_plan_file *f) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < f->checkpoints; i++) n += strstr(f->checkpoint[i], "..") != NULL;
  return n;
}

static void list(mp_arena *a, mp_text *t, const mp_plan_file *f) {
  for (uint32_t i = 0; i < f->checkpoints; i++) {
    mp_text_add(a, t, "%s", i ? ", " : "");
    names_of(a, t, f, f->checkpoint[i]);
  }
}

static void to_fsdp(mp_arena *a, mp_text *t, const mp_plan_file *f) {
  mp_text_add(a, t,
              "# FSDP: wrap these modules before fully_shard. Not expressed: %s%s.\nfrom torch.distributed.algorithms._checkpoint.checkpoint_wrapper import "
              "apply_activation_checkpointing\n\nMODULES = {",
              f->policies ? "which operators are kept inside a region" : "nothing", runs(f) ? ", runs of siblings as one region" : "");
  list(a, t, f);
  mp_text_add(a, t, "}\n\n\ndef apply(model):\n    chosen = {model.get_submodule(n) for n in MODULES}\n    apply_activation_checkpointing(model, check_fn=lambda m: m in chosen)\n    return model\n");
}

static void to_deepspeed(mp_arena *a, mp_text *t, const mp_plan_file *f) {
  mp_text_add(a, t,
              "{\n \"activation_checkpointing\": {\n  \"partition_activations\": false,\n  \"contiguous_memory_optimization\": false,\n  \"cpu_checkpointing\": false,\n  "
              "\"number_checkpoints\": %u\n },\n \"_memplan\": \"DeepSpeed counts checkpoints and takes which modules from the model's own calls of "
              "deepspeed.checkpointing.checkpoint; %u modules were chosen here%s\"\n}\n",
              f->checkpoints, f->checkpoints, f->policies ? ", and what is kept inside them cannot be said" : "");
}

static void to_megatron(mp_arena *a, mp_text *t, const mp_plan_file *f) {
  if (f->policies) mp_text_add(a, t, "--recompute-granularity selective\n# Not expressed: which operators are kept; Megatron's selective recomputes core attention alone.\n");
  else mp_text_add(a, t, "--recompute-granularity full --recompute-method block --recompute-num-layers %u\n# Megatron recomputes the first N layers of each stage; not expressed: which ones.\n", f->checkpoints);
}

static void to_torchtitan(mp_arena *a, mp_text *t, const mp_plan_file *f) {
  mp_text_add(a, t, "[activation_checkpoint]\nmode = \"%s\"\n", f->policies ? "selective" : "full");
  if (f->policies) mp_text_add(a, t, "selective_ac_option = \"op\"\n# Not expressed: which runs of an operator are kept.\n");
  else mp_text_add(a, t, "# Not expressed: which blocks; torchtitan recomputes all of them, memplan chose %u.\n", f->checkpoints);
}

static const struct {
  const char *name;
  void (*write)(mp_arena *, mp_text *, const mp_plan_file *);
} targets[] = {{"torch", to_torch}, {"fsdp", to_fsdp}, {"deepspeed", to_deepspeed}, {"megatron", to_megatron}, {"torchtitan", to_torchtitan}};

typedef struct job {
  const mp_plan_file *f;
  const char *to;
} job;

static const void *make(mp_arena *a, void *arg) {
  const job *j = arg;
  for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
    if (strcmp(targets[i].name, j->to)) continue;
    mp_text t = {0};
    targets[i].write(a, &t, j->f);
    return t.at;
  }
  mp_fail(a, MP_BAD_INPUT, "--to '%s': expected torch, fsdp, deepspeed, megatron or torchtitan", j->to);
}

const char *mp_plan_export(mp_arena *a, const mp_plan_file *f, const char *to, mp_err *err) {
  if (!f || !to) return NULL;
  job j = {f, to};
  return mp_protect(a, err, make, &j);
}
