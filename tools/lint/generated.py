# SPDX-License-Identifier: BSD-2-Clause
"""Committed files that a program of ours writes are what it writes today."""
import os
import subprocess

# (committed file, the command in the build directory that prints it)
FILES = [("packaging/netchan.yaml", ["daemon/main/netchand", "--default-config"]),
         ("packaging/netchan.schema.json", ["daemon/main/netchand", "--config-schema"]),
         ("docs/reference/configuration.md", ["daemon/main/netchand", "--config-reference"])]


def difference(path, committed, now, command):
    if committed == now:
        return []
    rows = list(zip(committed.splitlines() + [""], now.splitlines() + [""]))
    line = next((i for i, (a, b) in enumerate(rows, 1) if a != b), len(rows))
    return [f"{path}:{line}: is not what '{command}' prints today; write it anew and commit it"]


def check(tree):
    if tree.build is None:  # a self-test: files.txt is committed, now.txt is what the program prints
        return difference("files.txt", tree.read("files.txt"), tree.read("now.txt"), "x")
    messages = []
    for path, command in FILES:
        if path not in tree.paths():
            continue
        run = subprocess.run([os.path.join(tree.build, command[0]), *command[1:]], capture_output=True, text=True)
        if run.returncode:
            messages.append(f"{path}: {' '.join(command)} failed: {run.stderr[:200]}")
        else:
            messages += difference(path, tree.read(path), run.stdout, " ".join(command))
    return messages


BAD = [({"files.txt": "a\nb\n", "now.txt": "a\nc\n"}, "files.txt:2"), ({"files.txt": "a\n", "now.txt": "a\nc\n"}, "files.txt:2")]
