# SPDX-License-Identifier: BSD-2-Clause
"""What the proto libraries call: nothing but each other and the few functions below, so no heap, clock, system call,
stdio, lock or exception can hide in an engine. Deny by default: a new name here needs a reason."""
import glob
import os
import re
import subprocess

ALLOWED = {
    "memcpy": "the compiler's copy", "memmove": "the same, overlapping", "memset": "the compiler's fill",
    "memcmp": "the compiler's comparison", "bcmp": "clang's memcmp for equality", "strlen": "string_view of a literal",
    "abort": "CHECK's end", "fprintf": "CHECK's words, on the way to abort", "stderr": "the same",
    "cbrt": "CUBIC's K (RFC 9438 4.1)",
    "__stack_chk_fail": "distribution builds", "_GLOBAL_OFFSET_TABLE_": "position-independent code",
    "__cpu_model": "checksum picks its instructions once", "__cpu_indicator_init": "the same", "__cpu_features2": "the same",
}
# Only in proto/base/check.cpp's object.
CHECK_ONLY = {"abort", "fprintf", "stderr"}
LIBRARIES = "libnetchan_{base,wire,atcp,shm,pgm}.a"


def archives(tree):
    names = re.findall(r"\w+", LIBRARIES.split("{")[1].split("}")[0])
    found = []
    for name in names:
        found += glob.glob(os.path.join(tree.build, "proto", "**", f"libnetchan_{name}.a"), recursive=True)
    return found


def objects(archive):
    """[(object, [defined], [undefined])] with C++ names readable."""
    out = subprocess.run(["nm", "-C", archive], check=True, capture_output=True, text=True).stdout
    current = None
    for line in out.splitlines():
        if line.endswith(":") and " " not in line:
            if current:
                yield current
            current = (line[:-1], [], [])
        match = re.match(r"^[0-9a-f ]{16} (\w) (.+)$", line)
        if match and current:
            current[2 if match[1] == "U" else 1].append(match[2])
    if current:
        yield current


def check_archives(paths):
    everything = [(os.path.basename(p), o) for p in paths for o in objects(p)]
    defined = {name for _, (_, names, _) in everything for name in names}
    messages = []
    for library, (name, _, undefined) in everything:
        for symbol in undefined:
            bare = symbol.split("@")[0]
            if bare in defined or symbol in defined:
                continue
            if bare in ALLOWED and (bare not in CHECK_ONLY or "check" in name):
                continue
            messages.append(f"{library}({name}): calls {symbol}; proto is pure (tools/lint/symbols.py)")
    return messages


def check(tree):
    if tree.build is None:  # a self-test: compile the one source there is
        path = tree.paths(".cpp")[0]
        obj, archive = tree.full("x.o"), tree.full("libx.a")
        subprocess.run(["g++", "-std=c++20", "-O1", "-c", tree.full(path), "-o", obj], check=True)
        subprocess.run(["ar", "rc", archive, obj], check=True)
        return check_archives([archive])
    found = archives(tree)
    if len(found) < 4:
        return [f"only {len(found)} of the proto libraries are built: {found}"]
    return check_archives(found)


BAD = [
    ({"proto/x.cpp": "int* f() { return new int; }\n"}, "operator new"),
    ({"proto/x.cpp": "#include <ctime>\nlong f() { return time(nullptr); }\n"}, "calls time"),
    ({"proto/x.cpp": "#include <cstdio>\nvoid f(int n) { printf(\"%d\", n); }\n"}, "calls printf"),
    ({"proto/x.cpp": "#include <unistd.h>\nlong f() { return write(1, \"x\", 1); }\n"}, "calls write"),
    ({"proto/x.cpp": "void f(int n) { if (n) throw n; }\n"}, "__cxa_throw"),
]
