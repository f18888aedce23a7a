#!/usr/bin/env python3
"""What a training loop does besides forward and backward, as the libraries do it, on some of the models of unseen.py: other optimizers, clipping, GradScaler, averaged weights,
frozen parameters, adapters, outputs that the loop keeps, inference, blocks recomputed one by one. Each is traced and compared with memplan's option for it.
usage: unseen_loops.py OUT [--only TEXT] [--loops TEXT]   OUT is the folder of unseen.py; needs peft and lion-pytorch besides what unseen.py needs
What OUT holds already is not made again. A row is one model, exporter and loop that is more than 1 % off; the last lines sum up, a line for each loop."""
import argparse, json, os, statistics, subprocess, sys
from collections import defaultdict
import unseen
from unseen import BATCH, LENGTH

MODELS = """bert-qa electra llama qwen3 gpt2-eager phi gemma bart flan-t5 distilbert-cls deit swin-hf own-nanogpt own-lenet own-cifar-resnet own-torchencoder own-conformer own-dlrm
    own-unet-bilinear own-simplevit own-wavenet own-vqvae tv-resnet18 tv-mobilenet_v2 tv-densenet121 timm-vit_tiny_patch16_224 timm-resnet26 timm-convnext_atto timm-mixer_s32_224""".split()

EAGER = """gpt2-eager llama-eager electra-cls xlmr-cls mpnet roformer megatron-bert layoutlm gpt-neox-eager opt-eager swin-hf distilbert-cls vit-eager beit splinter esm bert-eager-mlm
    gpt2-mask codegen gptj openai-gpt xglm""".split()   # whose files write attention out, for kernels
SDPA = "bert-qa llama qwen2 mistral phi bart marian deit gemma starcoder2 camembert-tok stablelm".split()   # the other way


# ---- what wraps a model -------------------------------------------------------------------------------------------

def stages(model):
    """the first module that has several children with parameters, and its name"""
    name, m = "", model
    while True:
        children = [(n, c) for n, c in m.named_children() if any(True for _ in c.parameters())]
        if len(children) != 1: return name, m, children
        name, m = f"{name}{children[0][0]}.", children[0][1]


def freeze(model, globs):
    import fnmatch
    for n, p in model.named_parameters(remove_duplicate=False):
        if any(fnmatch.fnmatchcase(n, g) for g in globs): p.requires_grad_(False)
    return model


def all_but_last(model):
    name, _, children = stages(model)
    return [f"{name}{n}.*" for n, _ in children[:-1]]


def first_only(model):
    name, _, children = stages(model)
    return [f"{name}{children[0][0]}.*"]


def weights(model): return ["*weight"]


def every_second_block(model):
    """names of every second child of the lists of modules, no list inside another"""
    import torch
    out = []
    for name, m in model.named_modules():
        if isinstance(m, (torch.nn.ModuleList, torch.nn.Sequential)) and len(m) > 1 and not any(name.startswith(o + ".") for o in out):
            if any(f".{name}." in f".{o}." for o in out): continue
            out += [f"{name}.{k}" for k, c in list(m.named_children())[::2] if any(True for _ in c.parameters()) and not isinstance(c, torch.nn.ModuleList)]
    return [o for o in out if not any(o.startswith(p + ".") for p in out)]


def recompute(model, names):
    from torch.utils.checkpoint import checkpoint
    for name in names:
        m = model.get_submodule(name)
        inner = m.forward
        m.forward = lambda *x, inner=inner, **k: checkpoint(inner, *x, use_reentrant=False, preserve_rng_state=False, **k)
    return model


def adapters(model, rank):
    """every linear layer but a head that is tied to the embedding, and nn.MultiheadAttention's, which peft replaces without effect"""
    import peft, torch
    from transformers.pytorch_utils import Conv1D
    attention = [n for n, m in model.named_modules() if isinstance(m, torch.nn.MultiheadAttention)]
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    names = [n for n, m in model.named_modules() if isinstance(m, (torch.nn.Linear, Conv1D)) and id(m.weight) not in tables and m is not head and not any(n.startswith(a + ".") for a in attention)]
    return peft.get_peft_model(model, peft.LoraConfig(r=rank, target_modules=names))


# ---- what wraps an optimizer --------------------------------------------------------------------------------------

def averaged(model):
    """torch.optim.swa_utils.AveragedModel: a copy of the whole module, and _foreach_lerp_ of its parameters (deepcopy and detach of fake tensors count what no device has)"""
    import torch
    own, buffers = [p.detach().clone() for p in model.parameters()], [b.detach().clone() for b in model.buffers()]

    def update():
        with torch.no_grad(): torch._foreach_lerp_(own, [p.data for p in model.parameters()], 0.001)
        return buffers
    return update


def before_and_after(make, model, clip=False, ema=False, scaler=None):
    def made(params):
        import torch
        opt = make(params) if make else None
        average = averaged(model[0]) if ema else None
        plain = opt.step

        def step():
            if scaler and clip: scaler.unscale_(opt)
            if clip: torch.nn.utils.clip_grad_norm_([p for p in model[0].parameters()], 1.0, foreach=True)
            if scaler:
                opt.step = plain
                scaler.step(opt); scaler.update()
                opt.step = step
            else: plain()
            if average: average()
        opt.step = step
        return opt
    return made


class Scaled:
    """scaler.scale(loss).backward(), for a loop that calls loss.backward()"""
    def __init__(self, loss, scaler): self.loss, self.scaler = loss, scaler
    def backward(self): self.scaler.scale(self.loss).backward()


def scaler_without_values():
    import torch
    s = torch.amp.GradScaler("cuda")
    s._maybe_opt_step = lambda opt, state, *a, **k: opt.step(*a, **k)     # found_inf has no value to look at
    return s


def optimizers():
    import torch, lion_pytorch.foreach
    return {"adafactor": lambda p: adafactor(p), "lion": lambda p: lion_pytorch.foreach.Lion(p, weight_decay=0.1)}


def adafactor(params):
    """a norm has no value either: the steps differ, the memory does not"""
    import torch
    torch.Tensor.item, plain = (lambda t: 1.0 if t.device.type == "cuda" else plain(t)), torch.Tensor.item
    return torch.optim.Adafactor(params, foreach=True)


# name -> (memplan's options, how the loop differs); options may be a function of the model
LOOPS = {
    "clip": (["--optimizer", "adamw", "--clip-grad"], dict(clip=True)),
    "clip-bf16": (["--optimizer", "sgd", "--precision", "bf16", "--clip-grad"], dict(clip=True)),
    "ema": (["--optimizer", "adam", "--ema"], dict(ema=True)),
    "scaler": (["--optimizer", "sgd-momentum", "--precision", "amp-fp16", "--grad-scaler"], dict(scaler=True)),
    "scaler-clip": (["--optimizer", "adamw", "--precision", "amp-fp16", "--grad-scaler", "--clip-grad"], dict(scaler=True, clip=True)),
    "adafactor": (["--optimizer", "adafactor"], {}),
    "lion": (["--optimizer", "lion"], {}),
    "adadelta": (["--optimizer", "adadelta"], {}),
    "adagrad": (["--optimizer", "adagrad", "--zero-grad", "end"], {}),
    "rmsprop-bf16": (["--optimizer", "rmsprop", "--precision", "bf16"], {}),
    "fused-amp": (["--optimizer", "adamw-fused", "--precision", "amp-bf16", "--accumulate", "2"], {}),
    "loop": (["--optimizer", "adamw-loop", "--zero-grad", "after-forward"], {}),
    "head-only": (["--optimizer", "adamw"], dict(freeze=all_but_last)),
    "head-only-amp": (["--optimizer", "adamw", "--precision", "amp-bf16"], dict(freeze=all_but_last)),
    "first-frozen": (["--optimizer", "sgd-momentum"], dict(freeze=first_only)),
    "first-frozen-amp": (["--optimizer", "sgd", "--precision", "amp-bf16"], dict(freeze=first_only)),
    "biases": (["--optimizer", "adam"], dict(freeze=weights)),
    "biases-amp": (["--optimizer", "adam", "--precision", "amp-bf16"], dict(freeze=weights)),
    "lora": (["--optimizer", "adamw"], dict(lora=8)),
    "lora-amp": (["--optimizer", "adamw", "--precision", "amp-bf16"], dict(lora=8)),
    "lora-bf16": (["--optimizer", "adamw", "--precision", "bf16"], dict(lora=8)),
    "second": (["--optimizer", "sgd"], dict(checkpoint=every_second_block)),
    "second-amp": (["--optimizer", "adamw", "--precision", "amp-bf16", "--accumulate", "2"], dict(checkpoint=every_second_block)),
    "kernel": (["--optimizer", "sgd", "--attention", "sdpa"], dict(attention="sdpa")),
    "kernel-amp": (["--optimizer", "sgd", "--attention", "sdpa", "--precision", "amp-bf16"], dict(attention="sdpa")),
    "kernel-bf16": (["--optimizer", "sgd", "--attention", "sdpa", "--precision", "bf16"], dict(attention="sdpa")),
    "written": (["--optimizer", "sgd", "--attention", "written-out"], dict(attention="eager")),
    "written-amp": (["--optimizer", "sgd", "--attention", "written-out", "--precision", "amp-bf16"], dict(attention="eager")),
    "written-bf16": (["--optimizer", "sgd", "--attention", "written-out", "--precision", "bf16"], dict(attention="eager")),
    "infer": (["--infer"], dict(infer=True)),
    "infer-amp": (["--infer", "--precision", "amp-bf16"], dict(infer=True)),
}


def measure_inference(tracer, build, inputs, step, precision="fp32"):
    """one forward under no_grad, the output kept"""
    import torch
    with torch.device("meta"): model = build()
    plain = tracer.F.scaled_dot_product_attention
    tracer.F.scaled_dot_product_attention = tracer.sdpa_as_cuda_picks
    with tracer.FakeTensorMode(allow_non_fake_inputs=True):
        tr = tracer.Tracer()
        model = tracer.to_cuda(model, lambda t: tr.see(t, "parameter"))
        with tr, torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision != "fp32"):
            batch = inputs()
            for t in tracer.tree_leaves(batch): tr.see(t, "input")
            out = step(model, batch)
    tracer.F.scaled_dot_product_attention = plain
    return dict(peak_bytes=tr.peak, reserved_bytes=tr.alloc.max_reserved, input_bytes=sum(tracer.storages(list(batch.values())).values()), saved_bytes=0,
                peak_at=":".join(tr.peak_at), events=tr.events, param_bytes=sum(tracer.storages(model.parameters()).values()))


def trace(name, loop, out):
    sys.path.insert(0, unseen.LAB)
    import tracer, torch  # before the models
    tracer.OPTIMIZERS.update(optimizers())
    options, how = LOOPS[loop]
    told = {k[2:].replace("-", "_"): v for k, v in zip(options[::2], options[1::2])} if "infer" not in how else dict(zip(options[1::2], options[2::2]))
    build, inputs, step = unseen.load(name, "none", how["attention"]) if "attention" in how else unseen.load(name)
    model, extra = [], []

    def built():
        m = build()
        if "freeze" in how:
            globs = how["freeze"](m)
            freeze(m, globs)
            extra.extend(x for g in globs for x in ("--freeze", g))
        if "checkpoint" in how:
            names = how["checkpoint"](m)
            if not names: raise ValueError("no lists of modules")
            recompute(m, names)
            extra.extend(("--checkpoint", ",".join(names)))
        if "lora" in how:
            m = adapters(m, how["lora"])
            extra.extend(("--lora", f"{how['lora']}"))
        model.append(m)
        return m
    batch = lambda: inputs(BATCH, LENGTH, "cuda")
    if any(v.is_floating_point() for v in inputs(1, LENGTH, "cpu").values()) and told.get("precision") == "bf16": raise ValueError("images come in float32")
    if "infer" in how: r = measure_inference(tracer, built, batch, step, told.get("--precision", "fp32"))
    else:
        scaler = scaler_without_values() if how.get("scaler") else None
        optimizer = told.pop("optimizer")
        if any(how.get(k) for k in ("clip", "ema", "scaler")): tracer.OPTIMIZERS[optimizer] = before_and_after(tracer.OPTIMIZERS[optimizer], model, how.get("clip"), how.get("ema"), scaler)
        stepped = (lambda m, b: Scaled(step(m, b), scaler)) if scaler else step
        told = {k: v for k, v in told.items() if k in ("precision", "accumulate", "zero_grad")}
        r = tracer.measure(built, batch, stepped, optimizer=optimizer, **dict(told, accumulate=int(told.get("accumulate", 1))))
    keys = ("peak_at", "peak_bytes", "reserved_bytes", "saved_bytes", "param_bytes", "input_bytes", "grad_bytes", "optimizer_bytes", "first_peak_bytes", "after_forward_bytes")
    with open(f"{out}/{name}.{loop}.loop.json", "w") as f: json.dump(dict({k: r[k] for k in keys if k in r}, options=options + extra), f)


def models_of(loop, only): return [m for m in {"sdpa": EAGER, "eager": SDPA}.get(LOOPS[loop][1].get("attention"), MODELS) if only in m]


def compare(only, loops, out):
    per = defaultdict(list)
    for loop in loops:
        for name in models_of(loop, only):
            path = f"{out}/{name}.{loop}.loop.json"
            t = json.load(open(path)) if os.path.exists(path) else None
            for exporter in ("ts", "dynamo", "bare") if t else ():
                model = f"{out}/{name}.{exporter}.onnx"
                if not os.path.exists(model): continue
                got = unseen.fit(model, t["options"])
                if isinstance(got, str):
                    print(f"{name:24s} {exporter:7s} {loop:14s} refused: {got[:140]}")
                    per[loop].append((1.0, False, 1.0))
                    continue
                if got["bytes"]["inputs"] != t["input_bytes"]: continue  # exported with the sizes of the sample as numbers
                e = got["peak"]["allocated"] / t["peak_bytes"] - 1
                per[loop].append((abs(e), got["peak"]["allocated"] == t["peak_bytes"], abs(got["peak"]["reserved"] / t["reserved_bytes"] - 1)))
                if abs(e) > 0.01: print(f"{name:24s} {exporter:7s} {loop:14s} peak {e:+7.2%}  saved {got['bytes']['saved'] - t['saved_bytes']:+d}  optimizer {got['bytes']['optimizer'] - t.get('optimizer_bytes', 0):+d}  gradients {got['bytes']['gradients'] - t.get('grad_bytes', 0):+d}")
    for loop, rows in [*per.items(), ("all", sum(per.values(), []))]:
        e, r = sorted(x[0] for x in rows), sorted(x[2] for x in rows)
        if e: print(f"{loop:16s} {len(e):4d} runs: peak median {statistics.median(e):.2%}, p90 {e[int(0.9 * (len(e) - 1))]:.2%}, {sum(x[1] for x in rows)} equal to the byte, {sum(x <= 0.01 for x in e)} within 1 %; reserved p90 {r[int(0.9 * (len(r) - 1))]:.2%}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out"); p.add_argument("--only", default=""); p.add_argument("--loops", default="")
    p.add_argument("--one", nargs=2, help=argparse.SUPPRESS)    # NAME LOOP, in a process of its own
    a = p.parse_args()
    if a.one: return trace(*a.one, a.out)
    loops = [k for k in LOOPS if a.loops in k]
    for loop in loops:
        for name in models_of(loop, a.only):
            log = f"{a.out}/{name}.{loop}.loop.log"
            if os.path.exists(log): continue
            with open(log, "w") as f: subprocess.run([sys.executable, __file__, a.out, "--one", name, loop], stdout=f, stderr=f, timeout=900)
    compare(a.only, loops, a.out)


if __name__ == "__main__": main()
