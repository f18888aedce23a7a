#!/usr/bin/env python3
"""Holds the operator cases whose saved bytes are not exact to tests/undecided.csv, which says why each cannot be.

usage: undecided.py FOLDER     (FOLDER has ops.py; MEMPLAN: the command)

Exit 1: a case is wrong that the list does not name, or the list names one that is right."""
import csv, os, re, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    listed = {row["case"] for row in csv.DictReader(open(os.path.join(HERE, "undecided.csv")))}
    out = subprocess.run([sys.executable, "ops.py", "--details"], cwd=sys.argv[1], stdout=subprocess.PIPE, text=True).stdout
    if not re.search(r"^\d+ passed, \d+ failed$", out, re.M): sys.exit("ops.py did not finish")
    found = set(re.findall(r"^  (\S+) \S+: saved", out, re.M))
    for case in sorted(found - listed): print(f"{case}: not exact, and undecided.csv gives no reason")
    for case in sorted(listed - found): print(f"{case}: exact now; take it off undecided.csv")
    print(f"{len(found & listed)} passed, {len(found ^ listed)} failed")
    return found != listed


if __name__ == "__main__": sys.exit(main())
