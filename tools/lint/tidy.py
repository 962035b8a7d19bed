# SPDX-License-Identifier: BSD-2-Clause
"""clang-tidy with the checks of .clang-tidy: over changed files (default), or over all (tools/check --full)."""
import concurrent.futures
import json
import os
import shutil
import subprocess

TIDY = "clang-tidy-14"


def sources(tree):
    """Those of the compilation database, once each."""
    with open(os.path.join(tree.build, "compile_commands.json"), encoding="utf-8") as f:
        entries = json.load(f)
    found = {}
    for entry in entries:
        path = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
        relative = os.path.relpath(path, os.path.realpath(tree.root))
        if not relative.startswith("..") and path.endswith((".cpp", ".c")) and not path.endswith(".bpf.c"):
            if tree.changed is None or relative in tree.changed:
                found[relative] = path
    return found


def one(job):
    relative, command = job
    run = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in run.stdout.splitlines() if "warning:" in line or "error:" in line]
    if run.returncode and not lines:
        lines = [(run.stderr.strip() or "clang-tidy failed").splitlines()[0]]
    return [f"{relative}: {line}" if relative not in line else line[line.index(relative):] for line in lines]


def check(tree):
    if tree.build is None:  # a self-test
        path = tree.paths(".cpp")[0]
        config = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".clang-tidy")
        shutil.copy(config, tree.full(".clang-tidy"))
        jobs = [(path, [TIDY, "--quiet", "--warnings-as-errors=*", tree.full(path), "--", "-std=c++20"])]
    else:
        jobs = [(r, [TIDY, "--quiet", "--warnings-as-errors=*", "-p", tree.build, p]) for r, p in sorted(sources(tree).items())]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return sorted({m for found in pool.map(one, jobs) for m in found})


BAD = [
    ({"x.cpp": "#include <string>\nint f(std::string s) { return static_cast<int>(s.size()); }\n"}, "performance-"),
    ({"x.cpp": "int f(int* p) { return sizeof(p) / sizeof(*p); }\n"}, "bugprone-"),
]
