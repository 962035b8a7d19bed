# SPDX-License-Identifier: BSD-2-Clause
"""The list of mutations: tests/mutations/*.txt. Read by tools/mutate and by the lint `mutations`.

  mutation reset-anywhere
  file proto/atcp/close.cpp
  - if (ahead != 0) {
  + if (ahead > 1000) {
  breaks a guess near RCV.NXT resets the connection
  killed by
    scenario_atcp: a reset elsewhere in the window gets a challenge ACK

The old text stands once in the file, on one line or, with several `-`, on neighbouring ones; white space at the ends of lines
does not count.
"""
import glob
import os
import re

FOLDER = "tests/mutations"
LADDERS = "tests/scenario/atcp"
CASE = re.compile(r'^TEST_CASE\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)\)', re.M)


class Mutation:
    def __init__(self, name, path):
        self.id, self.path, self.file, self.breaks = name, path, "", ""
        self.old, self.new, self.killed_by = [], [], []

    def find(self, text):
        """The match of the old text, or how often it is there."""
        pattern = r"[ \t]*\n[ \t]*".join(re.escape(line.strip()) for line in self.old)
        found = list(re.finditer(pattern, text))
        return found[0] if len(found) == 1 else len(found)

    def apply(self, root):
        with open(os.path.join(root, self.file), encoding="utf-8") as f:
            text = f.read()
        match = self.find(text)
        if isinstance(match, int):
            raise SystemExit(f"{self.path}: {self.id}: the old text stands {match} times in {self.file}")
        return text[:match.start()] + "\n".join(self.new) + text[match.end():]


def parse(path, text):
    """The mutations of one file; ValueError with file:line."""
    found, killed = [], False
    for number, line in enumerate(text.splitlines(), 1):
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if not line.strip() or line.startswith("#"):
            continue
        if word == "mutation":
            found.append(Mutation(rest, path))
            killed = False
        elif not found:
            raise ValueError(f"{path}:{number}: expected 'mutation ID'")
        elif killed and line.startswith("  "):
            program, _, case = line.strip().partition(": ")
            found[-1].killed_by.append((program, case))
        elif word in ("file", "breaks"):
            setattr(found[-1], word, rest)
        elif word == "-":
            found[-1].old.append(rest)
        elif word == "+":
            found[-1].new.append(rest)
        elif line == "killed by":
            killed = True
        else:
            raise ValueError(f"{path}:{number}: not understood: {line}")
    return found


def read(root):
    found = []
    for path in sorted(glob.glob(os.path.join(root, FOLDER, "*.txt"))):
        with open(path, encoding="utf-8") as f:
            found += parse(os.path.relpath(path, root), f.read())
    return found


def head_of(text):
    """The comment that a file begins with."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line)
    return lines


def write(root, everything):
    for path in sorted({m.path for m in everything}):
        with open(os.path.join(root, path), encoding="utf-8") as f:
            lines = head_of(f.read())
        for m in everything:
            if m.path != path:
                continue
            lines += ["", f"mutation {m.id}", f"file {m.file}", *(f"- {o}".rstrip() for o in m.old), *(f"+ {n}".rstrip() for n in m.new),
                      f"breaks {m.breaks}", "killed by", *(f"  {p}: {c}" for p, c in m.killed_by)]
        with open(os.path.join(root, path), "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")


def covered(everything):
    return {case for m in everything for program, case in m.killed_by if program == "scenario_atcp"}


def cases_of(text):
    return ["".join(re.findall(r'"((?:[^"\\]|\\.)*)"', m[1])).replace('\\"', '"') for m in CASE.finditer(text)]


def ladders(root):
    """[(file, name)] of every test case of the ladders."""
    found = []
    for path in sorted(glob.glob(os.path.join(root, LADDERS, "*.cpp"))):
        with open(path, encoding="utf-8") as f:
            found += [(os.path.relpath(path, root), name) for name in cases_of(f.read())]
    return found
