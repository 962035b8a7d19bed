# SPDX-License-Identifier: BSD-2-Clause
"""Every header compiles alone: what it uses, it includes. C headers as C and as C++. Both compilers read them."""
import concurrent.futures
import glob
import os
import subprocess

CXX = ["-std=c++20", "-x", "c++"]
C = ["-std=c11", "-x", "c"]
FLAGS = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]
# As tests/meson.build compiles the tests (proto/base/check.h makes room for doctest's CHECK then).
TEST_FLAGS = ["-DDOCTEST_CONFIG_SUPER_FAST_ASSERTS"]
# Read by C programs too.
C_HEADERS = ("client/include/netchan/netchan.h", "bpf/steer_abi.h")


def jobs(tree):
    # -include rather than the file itself: a header as the main file would warn about #pragma once.
    folders = [tree.root, tree.full("client/include")]
    if tree.build:  # where generated headers are
        folders += sorted({os.path.dirname(p) for p in glob.glob(os.path.join(tree.build, "**", "*.skel.h"), recursive=True)})
    includes = [f"-I{f}" for f in folders]
    for path in tree.paths(".h", ".hpp"):
        if path.startswith("bpf/") and path not in C_HEADERS:
            continue  # for clang -target bpf, which has its own helpers
        for compiler in ("g++", "clang++-14"):
            flags = FLAGS + (TEST_FLAGS if path.startswith("tests/") else [])
            yield path, [compiler, *CXX, *flags, *includes, "-include", tree.full(path), os.devnull]
        if path in C_HEADERS:
            yield path, ["gcc", *C, *FLAGS, *includes, "-include", tree.full(path), os.devnull]


def check(tree):
    def one(job):
        path, command = job
        run = subprocess.run(command, capture_output=True, text=True)
        errors = [line for line in run.stderr.splitlines() if "error" in line] or run.stderr.splitlines()
        return f"{path}: does not compile alone ({command[0]}): {errors[0] if errors else '?'}" if run.returncode else None
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [m for m in pool.map(one, list(jobs(tree))) if m]


BAD = [
    ({"proto/x.h": "#pragma once\ninline std::size_t f() { return 0; }\n"}, "does not compile alone (g++)"),
    ({"proto/x.h": "#pragma once\ninline unsigned f(int a) { return 0; }\n"}, "does not compile alone (clang++-14)"),
    ({"client/include/netchan/netchan.h": "static inline bool f(void) { return 1; }\n"}, "does not compile alone (gcc)"),
]
