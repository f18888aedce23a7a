#!/usr/bin/env python3
"""memplan's shapes against those of onnx, and of ONNX Runtime's symbolic inference where it can be imported. Prints every disagreement: two numbers for one dim,
two ranks, two element types. What only one side knows is no disagreement; it is counted.
usage: differential.py [--dim NAME=N ...] [--quiet] MODEL.onnx|FOLDER ...      MEMPLAN names the binary (default build/memplan)"""
import argparse, json, os, subprocess, sys
import onnx
from onnx import TensorProto

try: from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference
except ImportError: SymbolicShapeInference = None

DTYPES = {"FLOAT": "float32", "DOUBLE": "float64"}
TIMEOUT = 20


def bound(model, dims):
    """a copy of the model without declared shapes but the inputs', in which dims are bound"""
    m = onnx.ModelProto(); m.CopyFrom(model)
    del m.graph.value_info[:]
    for o in m.graph.output: o.ClearField("type")
    for i in m.graph.input:
        for k, d in enumerate(i.type.tensor_type.shape.dim):
            n = dims.get(d.dim_param) if d.HasField("dim_param") else None
            n = dims.get(f"{i.name}:{k}", n)
            if n is not None: d.dim_value = n
    return m


def known(m):
    """value -> (dtype, dims), dims None or a list of ints and None"""
    r = {}
    for v in [*m.graph.value_info, *m.graph.output]:
        if not v.type.HasField("tensor_type"): continue
        t = v.type.tensor_type
        name = TensorProto.DataType.Name(t.elem_type) if t.elem_type else "UNDEFINED"
        dims = [d.dim_value if d.HasField("dim_value") else None for d in t.shape.dim] if t.HasField("shape") else None
        r[v.name] = (DTYPES.get(name, name.lower()), dims)
    return r


def by_onnx(m): return known(onnx.shape_inference.infer_shapes(m, data_prop=True))


def by_ort(m): return known(SymbolicShapeInference.infer_shapes(m, auto_merge=False, guess_output_rank=False))


def by_memplan(path, dims):
    args = [os.environ.get("MEMPLAN", "build/memplan"), "inspect", path, "--from-scratch", "--json", "--quiet"]
    for k, n in dims.items(): args += ["--dim", f"{k}={n}"]
    p = subprocess.run(args, capture_output=True, timeout=TIMEOUT)
    if p.returncode: return None
    return {v["name"]: (v["dtype"], None if v["dims"] is None else [d if isinstance(d, int) else None for d in v["dims"]]) for v in json.loads(p.stdout)["values"]}


def in_child(f, *args):
    """f's result from a process of its own: onnx may end the process, ONNX Runtime's script may never end"""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        import signal
        signal.alarm(TIMEOUT)
        os.close(r); os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try: out = json.dumps(f(*args))
        except BaseException: out = "null"
        with os.fdopen(w, "w") as file: file.write(out)
        os._exit(0)
    os.close(w)
    with os.fdopen(r) as file: out = file.read()
    os.waitpid(pid, 0)
    return json.loads(out) if out else None


def disagreements(a, b):
    for name in a.keys() & b.keys():
        (ta, da), (tb, db) = a[name], b[name]
        if ta != tb and "undefined" not in (ta, tb): yield name, ta, tb
        elif da is not None and db is not None and (len(da) != len(db) or any(x is not None and y is not None and x != y for x, y in zip(da, db))): yield name, da, db


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="*"); p.add_argument("--dim", action="append", default=[]); p.add_argument("--quiet", action="store_true")
    a = p.parse_args()
    dims = {k: int(n) for k, n in (d.rsplit("=", 1) for d in a.dim)}
    files = []
    for m in a.models: files += sorted(os.path.join(d, f) for d, _, fs in os.walk(m) for f in fs if f.endswith(".onnx")) if os.path.isdir(m) else [m]
    if not files: sys.exit("no model given (with cmake: -DDIFFERENTIAL_MODELS=FOLDER)")
    peers = [("onnx", by_onnx)] + ([("ONNX Runtime", by_ort)] if SymbolicShapeInference else [])
    count = {n: [0, 0, 0, 0] for n, _ in peers} # models compared, values that both know, disagreements, models that the peer fails on
    for path in files:
        mine = by_memplan(path, dims)
        try: m = bound(onnx.load(path, load_external_data=False), dims)
        except Exception: continue
        if mine is None: continue
        for name, infer in peers:
            c, theirs = count[name], in_child(infer, m)
            if theirs is None: c[3] += 1; continue
            c[0] += 1
            c[1] += len(mine.keys() & theirs.keys())
            for value, x, y in disagreements(mine, theirs):
                c[2] += 1
                if not a.quiet: print(f"{path}: '{value}': memplan {x}, {name} {y}")
    for name, (models, values, wrong, failed) in count.items():
        print(f"{name}: {models} models, {values} values compared, {wrong} disagreements; it fails on {failed} models")
    sys.exit(any(c[2] for c in count.values()))


if __name__ == "__main__": main()
