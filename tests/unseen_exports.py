#!/usr/bin/env python3
"""One model, exported in other ways: does the prediction stay? Other opsets, constants folded, no parameters, sizes as numbers, nothing optimized; each beside the same exporter's file as unseen.py makes it.
usage: unseen_exports.py OUT [MODEL ...]    MODEL: rows of unseen_models (default a few of each kind). What OUT holds already is not made again; needs what unseen.py needs."""
import contextlib, io, os, sys
import unseen as U

TS = {"plain": {}, "opset13": dict(opset_version=13), "opset16": dict(opset_version=16), "opset20": dict(opset_version=20), "folded": dict(do_constant_folding=True),
      "without-parameters": dict(export_params=False), "sizes": dict(dynamic_axes=None), "folded-sizes": dict(do_constant_folding=True, dynamic_axes=None)}
DYNAMO = {"plain": {}, "opset18": dict(opset_version=18), "opset23": dict(opset_version=23), "opset24": dict(opset_version=24), "not-optimized": dict(optimize=False), "sizes": dict(dynamic_shapes=None)}
MODELS = ["own-nanogpt", "tv-resnet18", "llama", "qwen3", "gemma2", "bart", "mt5", "gpt2-eager", "modernbert", "own-annotated", "own-unet-transposed", "own-writtenlstm"]


def export(name, exporter, options, path):
    import torch
    build, inputs, _ = U.load(name)
    torch.manual_seed(0)
    sized = "dynamic_axes" in options or "dynamic_shapes" in options
    model, batch = build().train(), inputs(U.BATCH if sized else 2, U.LENGTH if sized else U.LENGTH // 2, "cpu")
    keys, inner, scope = list(batch), model.forward, {}
    exec(f"def forward({', '.join(keys)}):\n  y = inner({', '.join(f'{k}={k}' for k in keys)})\n  return y if hasattr(y, 'shape') else y.loss", dict(inner=inner), scope)
    model.forward = scope["forward"]
    axes = {k: {0: "batch", 1: "seq"} if v.shape[1:] == (U.LENGTH // 2,) else {0: "batch"} for k, v in batch.items()}
    names = dict(input_names=keys, output_names=["loss"])
    if exporter == "ts":
        usual = dict(training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False, opset_version=17, dynamic_axes=axes)
        return torch.onnx.export(model, tuple(batch.values()), path, dynamo=False, **{**usual, **options}, **names)
    dims = {n: torch.export.Dim(n, min=2, max=4096) for n in ("batch", "seq")}
    usual = dict(opset_version=20, verbose=False, dynamic_shapes=tuple({i: dims[n] for i, n in axes[k].items()} for k in keys))
    torch.onnx.export(model, tuple(batch.values()), dynamo=True, **{**usual, **options}, **names).save(path)


def main():
    out, names = sys.argv[1], sys.argv[2:] or MODELS
    os.makedirs(out, exist_ok=True)
    total = equal = near = 0
    for name in names:
        for exporter, ways in (("ts", TS), ("dynamo", DYNAMO)):
            plain = {}
            for way, options in ways.items():
                path = f"{out}/{name}.{exporter}.{way}.onnx"
                try:
                    with contextlib.redirect_stdout(io.StringIO()):  # what an exporter prints of a graph that it cannot write
                        if not os.path.exists(path): export(name, exporter, options, path)
                except Exception as e:
                    print(f"{name} {exporter} {way}: not exported: {type(e).__name__}")
                    continue
                for run, how in U.RUNS.items():
                    got = U.fit(path, how)
                    if way == "plain": plain[run] = got
                    elif isinstance(got, str) or isinstance(plain.get(run, ""), str):
                        if got != plain.get(run) and "matches no module" not in str(got): print(f"{name} {exporter} {way} {run}: {str(got)[:120]}")
                    else:
                        e = got["peak"]["allocated"] / plain[run]["peak"]["allocated"] - 1
                        total, equal, near = total + 1, equal + (e == 0), near + (abs(e) <= 0.01)
                        if abs(e) > 0.01: print(f"{name} {exporter} {way} {run}: {e:+.2%}")
    print(f"{total} predictions beside those of the usual export: {equal} the same to the byte, {near} within 1 %")


if __name__ == "__main__": main()
