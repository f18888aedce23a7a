#!/usr/bin/env python3
"""Holds README.md to what the command prints today: the block of ./quickstart, the table of samples, and the largest batches of BERT.

usage: readme.py [--write]   (from the project's folder; MEMPLAN: the command, default build/memplan)

Exit 1: a line differs, which is printed as README has it (-) and as it is (+). --write puts the new lines in their places."""
import os, re, subprocess, sys

BINARY = os.environ.get("MEMPLAN", "build/memplan")


def fit(options):
    p = subprocess.run([BINARY, *options.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if p.returncode > 1: sys.exit(p.stderr.strip())
    return p.stdout


def one(pattern, text):
    return re.search(pattern, text, re.M).group(1)


def row(options):  # one line of the table of samples
    out = fit("fit samples/" + options)
    device = re.search(r"^  \S.*?  +(\S+ [KMG]iB) +(\S+ [KMG]iB) .*? (fits|tight|no) +\[", out, re.M)
    cells = [one(r"^([\d,]+) parameters", out), one(r"peak allocated +(\S+ \S+)$", out), one(r"allocator (\S+ [KMG]iB)", out), *device.groups()]
    return f"| `{options}` | {' | '.join(cells)} |"


def largest_batches(model, tokens, line):
    label = line.split("|")[1].strip()
    option = re.search(r"`(--[^`]*)`", label)
    command = f"max-batch samples/bert-{model}.onnx --device titan-x-pascal --optimizer adam {option.group(1) if option else ''} --dim seq="
    return f"| {label} | {' | '.join(one(r'batch=([0-9]+) is', fit(command + n)) for n in tokens)} |"


def lines_now(lines):
    """-> README's lines as they should be"""
    now = list(lines)
    for i, line in enumerate(lines):
        if line.startswith("$ build/memplan "):
            end = lines.index("```", i)
            now[i + 1:end] = fit(line[len("$ build/memplan "):]).rstrip("\n").split("\n")
            break
    for i, line in enumerate(now):
        sample = re.match(r"\| `([\w-]+\.onnx [^`]*)` \|", line)
        if sample: now[i] = row(sample.group(1))
        if line.startswith("| tokens |"): tokens = line.strip("| ").split(" | ")[1:]
        if line.startswith("| **base**") or line.startswith("| **large**"): model = line.split("**")[1]
        if line.startswith("| memplan, "): now[i] = largest_batches(model, tokens, line)
    return now


def main():
    lines = open("README.md").read().split("\n")
    now = lines_now(lines)
    if "--write" in sys.argv: open("README.md", "w").write("\n".join(now))
    wrong = [(a, b) for a, b in zip(lines, now) if a != b] or ([("", "another number of lines")] if len(lines) != len(now) else [])
    for a, b in wrong: print(f"-{a}\n+{b}")
    print(f"{len(wrong)} lines differ")
    return bool(wrong)


if __name__ == "__main__": sys.exit(main())
