#!/usr/bin/env python3
"""memplan's plans beside other ways to place checkpoints, at equal granularity: repeated blocks.

usage: compare_plans.py MODEL,BUDGET[,DIM=N...][,--OPTION=VALUE...] ...      (MEMPLAN: the command, default build/memplan)

BUDGET is a size (24GB) or a share of the way from every-block checkpointing's peak (0%) to no checkpointing's (100%).
Every figure is measured: a placement is a list of regions, replayed by `memplan fit --checkpoint LIST --json`.

    every block   each repeated block is a region
    sqrt(n)       runs of blocks, about the square root of their number (checkpoint_sequential); the last run is kept
    Chen greedy   a run ends where its bytes pass a limit (Chen et al. 2016, algorithm 3); the last run is kept; the cheapest limit that fits
    knapsack      torch._functorch dp_knapsack over each block's bytes and operations; the largest activation memory budget that fits

A run is one region where its blocks are members of one Sequential, because only those can be called one after the other; elsewhere each of its blocks is a region. Exit 1: memplan's plan costs more than another that fits."""
import json, os, subprocess, sys

BINARY = os.environ.get("MEMPLAN", "build/memplan")
GIB = 2**30


def command(*args):
    p = subprocess.run([BINARY, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if p.returncode > 1: sys.exit(p.stderr.strip())
    return p.stdout


class Model:
    def __init__(self, text):
        self.path, self.budget, *rest = text.split(",")
        self.dims = [x for r in rest if not r.startswith("--") for x in ("--dim", r)]
        self.options = self.dims + [r for r in rest if r.startswith("--")]
        self.known = {}
        self.blocks, self.modules = [], set()
        for line in command("inspect", self.path, "--program", *self.dims).splitlines():
            words = line.split()
            if words[:1] == ["module"]: self.modules.add(words[1])     # a Sequential runs itself and is listed, a ModuleList is not
            if words[:1] == ["module"] and words[-2:-1] == ["block"]: self.blocks.append(words[1])
        self.plain = self.fit([])
        one = [self.fit([b]) for b in self.blocks]
        self.bytes = [max(self.plain["saved"] - o["saved"], 0) for o in one]
        self.flops = [o["recompute"] for o in one]
        if self.budget.endswith("%"):
            low = self.fit(self.blocks)["peak"]
            self.limit = low + int(float(self.budget[:-1]) / 100 * (self.plain["peak"] - low))
        else:
            self.limit = int(float(self.budget.rstrip("GB")) * GIB)

    def fit(self, regions):
        key = tuple(regions)
        if key not in self.known:
            j = json.loads(command("fit", self.path, "--device", "1000TB", "--json", "--quiet", "--checkpoint", ",".join(regions) or "none", *self.options))
            f = j["flops"]
            self.known[key] = {"peak": j["peak"]["allocated"], "saved": j["bytes"]["saved"], "recompute": f["recompute"], "overhead": f["recompute"] / (f["forward"] + f["backward"])}
        return self.known[key]

    def best(self, placements):
        """-> (the cheapest that fits or None, the least peak)"""
        all_ = [self.fit(p) for p in placements]
        fits = [x for x in all_ if x["peak"] <= self.limit]
        return min(fits, key=lambda x: x["overhead"], default=None), min((x["peak"] for x in all_), default=self.plain["peak"])


def runs(m, cuts):
    """regions of the runs of blocks that end before each cut; what is behind the last cut is kept"""
    out, first = [], 0
    for cut in cuts:
        group = []
        for b in m.blocks[first:cut]:
            parent = b.rpartition(".")[0]
            if group and group[-1].rpartition(".")[0] == parent and parent in m.modules: group.append(b)
            else:
                out.append(group)
                group = [b]
        out.append(group)
        first = cut
    return [g[0] if len(g) == 1 else g[0] + ".." + g[-1] for g in out if g]


def sqrt_n(m):
    n = len(m.blocks)
    k = max(1, round(n ** 0.5))
    return [runs(m, [n * i // k for i in range(1, k)])]


def chen(m):
    total, seen = sum(m.bytes), []
    for percent in range(1, 101):
        cuts, held = [], 0
        for i, b in enumerate(m.bytes):
            held += b
            if held > total * percent / 100: cuts.append(i + 1); held = 0
        if cuts and cuts[-1] == len(m.blocks): cuts.pop()
        p = runs(m, cuts)
        if p not in seen: seen.append(p)
    return seen


def knapsack(m):
    from torch._functorch._activation_checkpointing.knapsack import dp_knapsack
    total, work, seen = sum(m.bytes), sum(m.flops), []
    if not total or not work: return []
    for percent in range(100, -1, -1):
        _, _, again = dp_knapsack([b / total for b in m.bytes], [f / work for f in m.flops], percent / 100)
        p = [m.blocks[i] for i in sorted(again)]
        if p not in seen: seen.append(p)
        if m.fit(p)["peak"] <= m.limit: break     # a larger budget recomputes less
    return seen


def main():
    if len(sys.argv) < 2: sys.exit(__doc__)
    try: import torch._functorch._activation_checkpointing.knapsack  # noqa: F401
    except ImportError: print("skipped: PyTorch's knapsack is not there (needs torch >= 2.6)"); return 0
    others = {"every block": lambda m: [m.blocks], "sqrt(n)": sqrt_n, "Chen greedy": chen, "knapsack": knapsack}
    print("| model | run | without | budget | memplan | bound | " + " | ".join(others) + " |\n|" + "---|" * (6 + len(others)))
    worse = 0
    for text in sys.argv[1:]:
        m = Model(text)
        p = json.loads(command("plan", m.path, "--device", "1000TB", "--budget", str(m.limit), "--json", "--quiet", *m.options))
        fits = p["peak"]["allocated"] <= m.limit
        cells = [f"{100 * p['overhead']:.2f} %" if fits else f"does not fit ({p['peak']['allocated'] / GIB:.2f} GiB)", f"{100 * p['bound']:.2f} %"]
        for place in others.values():
            best, least = m.best(place(m))
            cells.append(f"{100 * best['overhead']:.2f} %" if best else f"does not fit ({least / GIB:.2f} GiB)")
            if best and (not fits or best["overhead"] < p["overhead"] * (1 - 1e-9)): worse += 1; cells[-1] += " (!)"
        run = " ".join(m.options).replace("--dim ", "").replace("--", "")
        print(f"| {os.path.basename(m.path).split('.')[0]} | {run} | {m.plain['peak'] / GIB:.2f} GiB | {m.limit / GIB:.2f} GiB | " + " | ".join(cells) + " |", flush=True)
    if worse: print(f"{worse} placements cost less than memplan's", file=sys.stderr)
    return worse > 0


if __name__ == "__main__": sys.exit(main())
