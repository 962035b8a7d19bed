# SPDX-License-Identifier: BSD-2-Clause
"""The files that the lints look at, and how a lint is made.

A lint is a module of this folder with `check(tree) -> [message]`, a message being "path:line: what is wrong; what to do",
and `BAD`: small trees, each a dict {path: content}, that the lint must refuse, with a piece of the expected message. A lint
that cannot fail is a defect, so tools/lint/run checks each against its BAD trees first.
"""
import os
import subprocess


class Tree:
    """A checkout: what git tracks or would track. `build` is a build directory, or None in a self-test."""

    def __init__(self, root, build=None, changed=None):
        self.root = os.path.abspath(root)
        self.build = build
        self.changed = changed  # set of paths that the default tier of clang-tidy looks at; None: all
        self._paths = None

    def paths(self, *suffixes, under=""):
        if self._paths is None:
            self._paths = self._list()
        return [p for p in self._paths if p.startswith(under) and (not suffixes or p.endswith(suffixes))]

    def _list(self):
        if os.path.exists(os.path.join(self.root, ".git")):
            # Of this tree even when the caller's git environment (a hook's) points elsewhere.
            out = subprocess.run(["git", "-c", "safe.directory=*", "-C", self.root, "ls-files", "-z", "--cached", "--others",
                                  "--exclude-standard"], check=True, capture_output=True).stdout
            found = {p for p in out.decode().split("\0") if p}
            return sorted(p for p in found if os.path.isfile(os.path.join(self.root, p)))
        found = []
        for folder, names, files in os.walk(self.root):
            names[:] = [n for n in names if not n.startswith("build")]
            found += [os.path.relpath(os.path.join(folder, f), self.root) for f in files]
        return sorted(found)

    def full(self, path):
        return os.path.join(self.root, path)

    def read(self, path):
        with open(self.full(path), encoding="utf-8", errors="replace") as f:
            return f.read()

    def lines(self, path):
        return enumerate(self.read(path).splitlines(), 1)

    def is_text(self, path):
        with open(self.full(path), "rb") as f:
            return b"\0" not in f.read(4096)
