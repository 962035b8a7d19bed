# SPDX-License-Identifier: BSD-2-Clause
"""Scripts parse, and name their interpreter by a path that every Debian 12 has."""
import ast
import re
import subprocess

# `env python3` would take whatever stands first on somebody's PATH.
INTERPRETERS = {"#!/usr/bin/env bash", "#!/bin/bash", "#!/bin/sh", "#!/usr/bin/python3"}


def check(tree):
    messages = []
    for path in tree.paths():
        if not tree.is_text(path):
            continue
        text = tree.read(path)
        first = text.split("\n", 1)[0]
        if first.startswith("#!") and first not in INTERPRETERS:
            messages.append(f"{path}:1: '{first}' is not one of {', '.join(sorted(INTERPRETERS))}")
        if path.endswith(".py") or "python" in first and first.startswith("#!"):
            try:
                ast.parse(text, path)
            except SyntaxError as error:
                messages.append(f"{path}:{error.lineno}: {error.msg}")
        elif re.match(r"#!.*\b(ba)?sh$", first):
            run = subprocess.run(["bash", "-n", tree.full(path)], capture_output=True, text=True)
            if run.returncode:
                messages.append(f"{path}: {run.stderr.strip()}")
    return messages


BAD = [
    ({"tools/x": "#!/usr/bin/env python3\n"}, "is not one of"),
    ({"tools/x.py": "def f(:\n"}, "x.py:1"),
    ({"tools/x": "#!/bin/bash\nif true; then\n"}, "tools/x"),
]
