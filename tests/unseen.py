#!/usr/bin/env python3
"""How far the rules carry: models beside those of the reference data, each traced as PyTorch would allocate and exported by both exporters.
usage: unseen.py OUT [--only TEXT]   needs torch, transformers, torchvision, timm, onnx and onnxscript, the tracer (../shared/truth/lab) and build/memplan
UNSEEN_MODELS names the file of rows (default unseen_models; unseen_held_out: what came later; unseen_libraries: models of other libraries, as far as those are installed).
What OUT holds already is not made again. A row is one model, exporter and run that is more than 1 % off; the last lines sum up."""
import argparse, importlib, json, os, re, statistics, subprocess, sys, types

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = os.environ.get("MEMPLAN_SHARED", os.path.join(HERE, "..", "..", "shared"))
LAB = os.path.join(SHARED, "truth", "lab")
BATCH, LENGTH = 8, 128
MODELS = os.environ.get("UNSEEN_MODELS", "unseen_models")
RUNS = {  # name -> options of memplan; the tracer is told the same
    "fp32": ["--optimizer", "sgd"],
    "amp-bf16": ["--optimizer", "sgd", "--precision", "amp-bf16"],
    "bf16": ["--optimizer", "sgd", "--precision", "bf16"],
    "accumulate": ["--optimizer", "adamw", "--accumulate", "4", "--zero-grad", "end"],
    "blocks": ["--optimizer", "adam", "--checkpoint", "blocks"],
    "blocks-amp": ["--optimizer", "adamw", "--checkpoint", "blocks", "--precision", "amp-bf16"],
}
EXPORTERS = ("ts", "dynamo", "ts-eval", "dynamo-eval", "transformers")  # "bare" for "dynamo": the same file without source lines, as the reference data has them; "transformers": its own exporter
AS_TRAINING = ["--loss", "cross-entropy", "--dropout", "0.1"]   # what an inference export is told
LOSS = ["--loss", "cross-entropy"]                              # what a training model is told that was exported without its loss


def load(name, *how):
    """-> (build, inputs(batch, length, device), step) of a row; inputs makes one batch"""
    sys.path[:0] = [LAB, HERE]
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))  # its operators need CUDA; the models do not
    return importlib.import_module(MODELS).ROWS[name](*how)


def free_what_no_backward_reaches(tracer):
    """A hook that gives back the tensor itself makes a node that keeps its own result (exp, softmax) hold itself: without a backward pass to free it, it stays for ever, as it does not without hooks."""
    pack = tracer.SavedForBackward.pack
    tracer.SavedForBackward.pack = lambda self, t: pack(self, t).detach()


def trace(name, out):
    sys.path.insert(0, LAB)
    import tracer  # before the models
    free_what_no_backward_reaches(tracer)
    result = {}
    for run, options in RUNS.items():
        told = {k[2:].replace("-", "_"): v for k, v in zip(options[::2], options[1::2])}
        blocks = told.pop("checkpoint", None)
        try:
            build, inputs, step = load(name, "hf-layer" if blocks else "none")
            image = any(v.is_floating_point() for v in inputs(1, LENGTH, "cpu").values())  # a loader gives it in float32, which weights in pure half precision refuse
            if image and (run == "bf16" or blocks): continue
            r = tracer.measure(build, lambda: inputs(BATCH, LENGTH, "cuda"), step, **dict(told, accumulate=int(told.get("accumulate", 1))))
            result[run] = {k: r[k] for k in ("peak_bytes", "reserved_bytes", "saved_bytes", "param_bytes", "input_bytes")}
        except Exception as e:
            result[run] = {"error": repr(e)[:200]}
    with open(f"{out}/{name}.json", "w") as f: json.dump(result, f)


def export(name, exporter, out):
    import torch
    build, inputs, step = load(name)
    torch.manual_seed(0)
    inference = exporter.endswith("-eval")
    model, batch = build().train(not inference), inputs(2, LENGTH // 2, "cpu")
    if inference: batch.pop("labels")     # a KeyError: no such export
    keys, scope = list(batch), {}
    inner = model.forward
    exec(f"def forward({', '.join(keys)}):\n  y = inner({', '.join(f'{k}={k}' for k in keys)})\n  return y if hasattr(y, 'shape') else y.{'logits' if inference else 'loss'}",
         dict(inner=inner), scope)
    model.forward = scope["forward"]
    args, path = tuple(batch.values()), f"{out}/{name}.{exporter}.onnx"
    axes = {k: {0: "batch", 1: "seq"} if v.shape[1:] == (LENGTH // 2,) else {0: "batch"} for k, v in batch.items()}
    names = dict(input_names=keys, output_names=["logits" if inference else "loss"])
    if exporter.startswith("ts"):
        modes = torch.onnx.TrainingMode
        torch.onnx.export(model, args, path, dynamo=False, training=modes.EVAL if inference else modes.TRAINING, do_constant_folding=False, opset_version=17, dynamic_axes=axes, **names)
        return
    dims = {n: torch.export.Dim(n, min=2, max=4096) for n in ("batch", "seq")}
    options = dict(dynamo=True, opset_version=20, verbose=False, **names)
    try: program = torch.onnx.export(model, args, dynamic_shapes=tuple({i: dims[n] for i, n in axes[k].items()} for k in keys), **options)
    except Exception: program = torch.onnx.export(model, tuple(inputs(BATCH, LENGTH, "cpu")[k] for k in keys), **options)  # sizes as numbers
    program.save(path)
    import onnx
    bare = onnx.load(path)
    for n in bare.graph.node:
        kept = [p for p in n.metadata_props if "stack_trace" not in p.key]
        del n.metadata_props[:]
        n.metadata_props.extend(kept)
    onnx.save(bare, path.replace("dynamo", "bare"))


def export_by_transformers(name, out):
    """transformers/exporters: of a model that trains, without its loss; it names the dimensions itself"""
    build, inputs, _ = load(name)
    import onnx_ir, torch
    from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter
    torch.manual_seed(0)
    model = build().train()
    dims = {n: torch.export.Dim(n, min=2, max=4096) for n in ("batch", "seq")}
    for sizes in ((2, LENGTH // 2), (BATCH, LENGTH)):  # the second time with the sizes as numbers
        batch = inputs(*sizes, "cpu")
        batch.pop("labels")
        shapes = {k: {0: dims["batch"], 1: dims["seq"]} if v.shape[1:] == (LENGTH // 2,) else {0: dims["batch"]} for k, v in batch.items()}
        config = OnnxConfig(dynamic_shapes=shapes, prefer_deferred_runtime_asserts_over_guards=True) if sizes[0] == 2 else OnnxConfig()
        try: exported = OnnxExporter().export(model, batch, config=config)
        except Exception:
            if sizes[0] == BATCH: raise
            continue
        path = f"{out}/{name}.transformers.onnx"
        onnx_ir.save(exported.program, path)
        return name_dimensions(path)


def name_dimensions(path):
    import onnx
    m, names = onnx.load(path), {}
    for v in m.graph.input:
        for d, name in zip(v.type.tensor_type.shape.dim, ("batch", "seq")):
            if d.dim_param: names.setdefault(d.dim_param, name)
    for v in (*m.graph.input, *m.graph.output, *m.graph.value_info):
        for d in v.type.tensor_type.shape.dim:
            if d.dim_param: d.dim_param = re.sub(r"\w+", lambda m: names.get(m[0], m[0]), d.dim_param)  # expressions, too: 2*s70*s72
    onnx.save(m, path)


def fit(path, options):
    binary = os.environ.get("MEMPLAN", os.path.join(HERE, "..", "build", "memplan"))
    for dims in (["--dim", f"batch={BATCH}", "--dim", f"seq={LENGTH}"], ["--dim", f"batch={BATCH}"], []):   # as many as the file has open
        p = subprocess.run([binary, "fit", path, *dims, "--device", "1TB", *options, "--json"], capture_output=True, text=True)
        if p.returncode != 2: return json.loads(p.stdout)
        if "binds nothing" not in p.stderr: break
    return p.stderr.strip()


def compare(names, out, kind, exporters, extra):
    errors, reserved, exact = {}, [], 0
    for name in names:
        truth = json.load(open(f"{out}/{name}.json")) if os.path.exists(f"{out}/{name}.json") else {}
        for exporter in exporters:
            path = f"{out}/{name}.{exporter}.onnx"
            for run, options in RUNS.items() if os.path.exists(path) else ():
                if "peak_bytes" not in truth.get(run, {}): continue
                got, t = fit(path, options + extra), truth[run]
                if isinstance(got, str):
                    print(f"{name:24s} {exporter:11s} {run:10s} refused: {got[:120]}")
                    errors[name, exporter, run] = 1.0
                    continue
                if got["bytes"]["inputs"] != t["input_bytes"]: continue  # exported with the sizes of the sample as numbers
                e = got["peak"]["allocated"] / t["peak_bytes"] - 1
                errors[name, exporter, run] = abs(e)
                reserved.append(abs(got["peak"]["reserved"] / t["reserved_bytes"] - 1))
                exact += got["peak"]["allocated"] == t["peak_bytes"]
                if abs(e) > 0.01:
                    print(f"{name:24s} {exporter:11s} {run:10s} peak {e:+7.2%}  saved {got['bytes']['saved'] - t['saved_bytes']:+d}  parameters {got['bytes']['parameters'] - t['param_bytes']:+d}")
    if not errors: return print("nothing to compare")
    e, reserved = sorted(errors.values()), sorted(reserved) or [1.0]
    within = sum(x <= 0.01 for x in e)
    print(f"peak of {len(e)} runs of {len({k[0] for k in errors})} other models from {kind}: median {statistics.median(e):.2%}, p90 {e[int(0.9 * (len(e) - 1))]:.2%}, "
          f"{exact} equal to the byte, {within} within 1 %; reserved p90 {reserved[int(0.9 * (len(reserved) - 1))]:.2%}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--only", default="")
    p.add_argument("--one", nargs=2, help=argparse.SUPPRESS)    # NAME trace|EXPORTER, in a process of its own
    a = p.parse_args()
    if a.one: return trace(a.one[0], a.out) if a.one[1] == "trace" else export_by_transformers(a.one[0], a.out) if a.one[1] == "transformers" else export(*a.one, a.out)
    if not os.path.isdir(LAB): return print(f"skipped: no tracer in {LAB}")
    os.makedirs(a.out, exist_ok=True)
    names = [n for n in subprocess.run([sys.executable, os.path.join(HERE, MODELS + ".py")], capture_output=True, text=True, check=True).stdout.split() if a.only in n]
    for name in names:
        for step, file in (("trace", f"{name}.json"), *((e, f"{name}.{e}.onnx") for e in EXPORTERS)):
            log = f"{a.out}/{name}.{step}.log"
            if os.path.exists(os.path.join(a.out, file)) or os.path.exists(log): continue
            with open(log, "w") as f:
                try: subprocess.run([sys.executable, __file__, a.out, "--one", name, step], stdout=f, stderr=f, timeout=900)
                except subprocess.TimeoutExpired: print("took too long", file=f)
    compare(names, a.out, "training exports", ("ts", "dynamo", "bare"), [])
    compare(names, a.out, "inference exports", ("ts-eval", "dynamo-eval", "bare-eval"), AS_TRAINING)
    compare(names, a.out, "exports by transformers itself", ("transformers",), LOSS)


if __name__ == "__main__": main()
