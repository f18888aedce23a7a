#!/usr/bin/env python3
"""Predictions beside peaks that the driver measured on real GPUs (the process's peak without its context), each kind of model with the options that say what its loop held.

usage: measured.py MEASURED.csv FOLDER [--limit FAMILY=MEDIAN,P90] ...     MEMPLAN names the binary (default build/memplan)

MEASURED.csv has the columns file, family, optimizer, dims, zero_grad, measured_peak_bytes; FOLDER holds the models. The measured transformers were trained with
transformers 4.51 in a loop that keeps `outputs` (--hold-outputs=old-cache); OPT of that release hands its keys and values to the kernel without the copies that the others make
(modeling_opt.py, OPTSdpaAttention; --hold-outputs=cache); image networks keep their logits (--hold-outputs=logits)."""
import argparse, csv, json, os, subprocess, sys
from collections import defaultdict

LOOP = {"transformer": "old-cache", "cnn": "logits"}
OWN_ATTENTION = ("opt-125m",)   # its code in that release: see above


def predict(row, path):
    """-> (low, high) of reserved bytes and workspaces"""
    args = [os.environ.get("MEMPLAN", "build/memplan"), "fit", path, "--device", "1TB", "--json", "--optimizer", row["optimizer"], "--zero-grad", row["zero_grad"],
            "--hold-outputs=" + ("cache" if row["file"].startswith(OWN_ATTENTION) else LOOP[row["family"]])]
    for d in filter(None, row["dims"].split(";")): args += ["--dim", d]
    out = json.loads(subprocess.run(args, stdout=subprocess.PIPE, check=True).stdout)
    w, base = out["workspace"], out["peak"]["reserved"] + out["workspace"]["cublas"]
    return base + w["cudnn_low"], base + w["cudnn_high"]


def quantile(xs, q): return sorted(xs)[min(len(xs) - 1, int(q * len(xs)))]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("measured"); p.add_argument("folder"); p.add_argument("--limit", action="append", default=[])
    a = p.parse_args()
    paths = {n: os.path.join(b, n) for b, _, names in os.walk(a.folder) for n in names}
    errors, inside, width = defaultdict(list), defaultdict(list), defaultdict(list)
    with open(a.measured, newline="") as f:
        for row in csv.DictReader(f):
            low, high = predict(row, paths[row["file"]])
            m = int(row["measured_peak_bytes"])
            for k in (row["family"], f"{row['family']} {row['file']}"):
                errors[k].append(abs((low + high) / 2 / m - 1)); inside[k].append(low * 0.995 <= m <= high * 1.005); width[k].append((high - low) / m)
    for k in sorted(errors):
        print(f"{k:44}{len(errors[k]):4} runs: median {100 * quantile(errors[k], .5):6.2f} %  p90 {100 * quantile(errors[k], .9):6.2f} %  inside {100 * sum(inside[k]) / len(inside[k]):5.1f} %  width {100 * sum(width[k]) / len(width[k]):5.1f} %")
    bad = 0
    for limit in a.limit:
        family, figures = limit.split("=")
        median, p90 = map(float, figures.split(","))
        if not (quantile(errors[family], .5) <= median and quantile(errors[family], .9) <= p90): bad += 1; print(f"{family}: over {limit}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__": main()
