#!/usr/bin/env python3
"""Every recorded output of the reference corpus that memplan does not know exactly, with the reason that memplan gives.
usage: unknown.py [--write]      compares with unknown.csv beside this script (exit 1 on a difference), or writes it.
MEMPLAN names the binary (default build/memplan), MEMPLAN_SHARED the folder of reference data (default ../shared)."""
import csv, json, os, re, subprocess, sys, tarfile, tempfile
from collections import defaultdict

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = os.environ.get("MEMPLAN_SHARED", os.path.join(os.path.dirname(HERE), "..", "shared"))
MEMPLAN = os.environ.get("MEMPLAN", "build/memplan")


def rows(name):
    with open(os.path.join(SHARED, "corpus", name), newline="") as f: return list(csv.DictReader(f))


def unpacked():
    """the archive's files, unpacked once into the folder that the score scripts use too"""
    archive = os.path.join(SHARED, "corpus/models.tar.xz")
    key = f"models.tar.xz-{os.path.getsize(archive)}-{int(os.path.getmtime(archive))}"
    folder = os.path.join(tempfile.gettempdir(), "memplan-score", key)
    if not os.path.isdir(folder):
        os.makedirs(folder + ".part", exist_ok=True)
        with tarfile.open(archive) as t: t.extractall(folder + ".part", filter="data")
        os.rename(folder + ".part", folder)
    return os.path.join(folder, "models")


def inspect(path, binds, *more):
    args = [MEMPLAN, "inspect", path, "--from-scratch", "--quiet", *more]
    for b in binds: args += ["--dim", b]
    p = subprocess.run(args, capture_output=True, timeout=60)
    return p.returncode, p.stdout.decode("utf-8", "replace"), p.stderr.decode("utf-8", "replace").strip()


def reasons(path, binds):
    """value -> why, from the lines that `inspect --unknown` prints"""
    _, text, _ = inspect(path, binds, "--unknown")
    found = {}
    for line in text.splitlines():
        m = re.match(r"(\S*) .*?: ((?:node|input) '.*)", line)
        if m: found[m.group(1)] = m.group(2)
    return found


def general(why):
    """without the names, which are one file's own: the operator and what it hangs on"""
    m = re.match(r"node '.*?' \((\S+)\): (.*)", why)
    if not m: return re.sub(r"'[^']*'", "it", why)
    return f"{m.group(1)}: " + re.sub(r" of '[^']*'$", "", m.group(2))


def main():
    folder, binds, want, found = unpacked(), defaultdict(dict), defaultdict(dict), []
    for r in rows("recorded_inputs.csv"):
        if r["data_set"] != "0" or not r["name"] or r["dims"] in ("", "scalar"): continue
        for axis, d in enumerate(r["dims"].split("x")): binds[r["file"]].setdefault((r["name"], axis), d)
    for r in rows("recorded_outputs.csv"):
        if r["data_set"] == "0" and r["output_index"].isdigit() and not r["dims"].startswith("111x117x116x"): want[r["file"]][int(r["output_index"])] = r
    for file in sorted(want):
        path, b = os.path.join(folder, file), [f"{n}:{axis}={d}" for (n, axis), d in binds[file].items()]
        code, out, err = inspect(path, b, "--json")
        why = None
        j = json.loads(out) if code == 0 else {"values": [], "outputs": []}
        dims = {v["name"]: v["dims"] for v in j["values"]}
        for k, r in sorted(want[file].items()):
            got = dims.get(j["outputs"][k]) if k < len(j["outputs"]) else None
            if got is not None and all(isinstance(d, int) for d in got):
                if ("x".join(map(str, got)) or "scalar") != (r["dims"] or "scalar"): found.append([file, k, f"wrong: {got}, recorded {r['dims']}"])
                continue
            if why is None: why = reasons(path, b)
            if code: reason = "refused (refused.csv)"
            elif k >= len(j["outputs"]): reason = "the file has no such output"
            elif j["outputs"][k] not in dims: reason = "the output is an input or an initializer of the file"
            elif j["outputs"][k] in why: reason = general(why[j["outputs"][k]])
            elif got is None: reason = "a sequence, map or optional has no dims"
            else: reason = "an input's dims are not recorded"
            found.append([file, k, reason])
    path = os.path.join(HERE, "unknown.csv")
    if "--write" in sys.argv:
        with open(path, "w", newline="") as f: csv.writer(f, lineterminator="\n").writerows([["file", "output", "reason"], *found])
        print(f"{len(found)} outputs written to {path}")
        return
    with open(path, newline="") as f: kept = {tuple(r) for r in list(csv.reader(f))[1:]}
    now = {(f, str(k), r) for f, k, r in found}
    for f, k, r in sorted(now - kept): print(f"new: {f} output {k}: {r}")
    for f, k, r in sorted(kept - now): print(f"gone: {f} output {k}: {r}")
    print(f"{len(now)} recorded outputs are not known exactly, {sum(r.startswith('wrong') for _, _, r in now)} are wrong")
    sys.exit(now != kept)


if __name__ == "__main__": main()
