# SPDX-License-Identifier: BSD-2-Clause
"""The list of mutations (tests/mutations) is about this engine and these tests, and no ladder is left out of it: a new one needs
a mutation that makes it fail (tools/mutate --record ID). Whether they do is for tools/mutate to see."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit"))
import mutations  # noqa: E402

# Where a program's cases are written.
WAITING = "tests/mutations/waiting"  # ladders that have no mutation yet, one a line
SOURCES = {"scenario_atcp": "tests/scenario/atcp/", "unit_atcp": "tests/unit/atcp/", "model_matrix": "tests/model/"}


def cases(tree, folder):
    return {name: path for path in tree.paths(".cpp", under=folder) for name in mutations.cases_of(tree.read(path))}


def check(tree):
    messages, everything = [], []
    for path in tree.paths(".txt", under=mutations.FOLDER + "/"):
        try:
            everything += mutations.parse(path, tree.read(path))
        except ValueError as error:
            messages.append(str(error))
    known = {program: cases(tree, folder) for program, folder in SOURCES.items()}
    seen = set()
    for m in everything:
        where = f"{m.path}: {m.id}"
        if m.id in seen:
            messages.append(f"{where}: is there twice")
        seen.add(m.id)
        if not m.breaks:
            messages.append(f"{where}: does not say what it breaks")
        if m.file not in tree.paths():
            messages.append(f"{where}: there is no {m.file}")
            continue
        found = m.find(tree.read(m.file))
        if isinstance(found, int):
            messages.append(f"{where}: its old text stands {found} times in {m.file}")
        if not m.killed_by:
            messages.append(f"{where}: nothing kills it; write the ladder, then tools/mutate --record {m.id}")
        messages += [f"{where}: {program} has no case '{case}'" for program, case in m.killed_by
                     if case not in known.get(program, {})]
    covered = mutations.covered(everything)
    waiting = [line for line in tree.read(WAITING).splitlines() if line and not line.startswith("#")] if WAITING in tree.paths() else []
    messages += [f"{path}: no mutation makes this ladder fail: {name} (tests/mutations/README.md)"
                 for name, path in known["scenario_atcp"].items() if name not in covered and name not in waiting]
    messages += [f"{WAITING}: '{name}' {'is covered' if name in covered else 'is no ladder'}; take it out"
                 for name in waiting if name in covered or name not in known["scenario_atcp"]]
    return messages


_ENTRY = "mutation x\nfile proto/atcp/x.cpp\n- a < b\n+ a > b\nbreaks order\nkilled by\n  scenario_atcp: order is kept\n"
_LADDER = 'TEST_CASE("order is kept") {}\n'
_GOOD = {"tests/mutations/x.txt": _ENTRY, "proto/atcp/x.cpp": "if (a < b) c();\n", "tests/scenario/atcp/x_test.cpp": _LADDER}
BAD = [
    ({**_GOOD, "proto/atcp/x.cpp": "if (a <= b) c();\n"}, "stands 0 times"),
    ({**_GOOD, "proto/atcp/x.cpp": "a < b, a < b\n"}, "stands 2 times"),
    ({**_GOOD, "tests/scenario/atcp/x_test.cpp": _LADDER + 'TEST_CASE("a " \n "new one") {}\n'}, "makes this ladder fail: a new one"),
    ({**_GOOD, WAITING: "order is kept\n"}, "is covered; take it out"),
    ({**_GOOD, WAITING: "disorder\n"}, "is no ladder; take it out"),
    ({**_GOOD, "tests/scenario/atcp/x_test.cpp": ""}, "has no case 'order is kept'"),
    ({**_GOOD, "tests/mutations/x.txt": _ENTRY.split("killed")[0]}, "nothing kills it"),
    ({**_GOOD, "tests/mutations/x.txt": _ENTRY + _ENTRY}, "is there twice"),
    ({**_GOOD, "tests/mutations/x.txt": "file x\n"}, "expected 'mutation ID'"),
]
