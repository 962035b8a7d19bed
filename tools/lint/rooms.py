# SPDX-License-Identifier: BSD-2-Clause
"""Who may include whom. The rule is the two tables of docs/architecture.md, which people read; nothing is repeated here.

A row's last column names rooms (what those may include is included) and single headers as globs. Each room's meson.build
may name the libraries of those rooms only, so that the link graph is the include graph.
"""
import fnmatch
import re

DOC = "docs/architecture.md"
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
# meson's name for a room's library, where it is not the last part of the room's path.
VARIABLES = {"daemon_base": "daemon/base", "session": "daemon/shm", "base": "proto/base", "wire": "proto/wire",
             "atcp": "proto/atcp", "shm": "proto/shm", "bpf": "bpf", "config": "config", "netalloc": "daemon/netalloc",
             "port": "daemon/port", "route": "daemon/route", "worker": "daemon/worker", "metrics": "daemon/metrics",
             "control": "daemon/control"}
# Skeletons and the like, made in the build directory, named by their own room.
GENERATED = re.compile(r"\.skel\.h$")


def table(text, heading):
    """The rows of the first table whose header line has `heading` as its first cell, as lists of cells."""
    rows, inside = [], False
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split("|")] if line.lstrip().startswith("|") else []
        if not cells:
            if inside and rows:
                break
        elif cells[0] == heading:
            inside = True
        elif inside and not set(cells[0]) <= {"-", ":"}:
            rows.append(cells)
    return rows


def ticked(cell):
    return re.findall(r"`([^`]+)`", cell)


def room_of(path, rooms):
    """The room with the longest name that the path lies in."""
    inside = [r for r in rooms if path.startswith(r + "/")]
    return max(inside, key=len) if inside else None


def closure(rules):
    """{room: (every room it may include, itself too; globs)}"""
    def reach(room, seen):
        for entry in rules[room]:
            if entry in rules and entry not in seen:
                seen.add(entry)
                reach(entry, seen)
        return seen
    return {room: (reach(room, {room}), [e for e in rules[room] if e not in rules]) for room in rules}


def check(tree):
    if DOC not in tree.paths():
        return [f"{DOC}: is missing"]
    text = tree.read(DOC)
    rules = {ticked(row[0])[0]: ticked(row[-1]) for row in table(text, "room")}
    foreign = [(ticked(row[0]), ticked(row[1])) for row in table(text, "library")]
    if not rules or not foreign:
        return [f"{DOC}: the tables 'room' and 'library' are missing"]
    allowed = closure(rules)
    messages = []
    for path in tree.paths(".c", ".h", ".cpp", ".hpp"):
        room = room_of(path, rules)
        if room is None:
            messages.append(f"{path}: lies in no room of {DOC}")
            continue
        if room == "tests":
            continue
        rooms, globs = allowed[room]
        for number, line in tree.lines(path):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, name = match.groups()
            for prefixes, where in foreign:
                if name.startswith(tuple(prefixes)) and room not in where:
                    messages.append(f"{path}:{number}: <{name}> is for {', '.join(where)} only")
            if quote == "<" and not name.startswith("netchan/"):
                continue
            target = "client" if name.startswith("netchan/") else room_of(name, rules)
            if GENERATED.search(name) and target is None:
                target = "bpf"
            if target is None:
                messages.append(f'{path}:{number}: "{name}" is not spelled from the root')
            elif target not in rooms and not any(fnmatch.fnmatch(name, g) for g in globs):
                messages.append(f'{path}:{number}: {room} may not include "{name}" (the row of {room} in {DOC})')
    return messages + check_meson(tree, rules, allowed)


def check_meson(tree, rules, allowed):
    messages = []
    for room in rules:
        path = f"{room}/meson.build"
        if path not in tree.paths() or room == "tests":
            continue
        for number, line in tree.lines(path):
            found = re.search(r"dependencies:\s*\[([^\]]*)\]", line.split("#")[0])
            for name in re.findall(r"\w+", found[1]) if found else []:
                other = VARIABLES.get(name)
                # A row that allows only some headers of a room links it for them.
                part = any(g.startswith((other or "") + "/") or g.startswith("*") for g in allowed[room][1]) if other else True
                if other and other not in allowed[room][0] and not part:
                    messages.append(f"{path}:{number}: {room} may not link {name} (the row of {room} in {DOC})")
    return messages


_DOC = """
| room | what | may include |
|---|---|---|
| `a` | first | - |
| `b` | second | `a` |
| `c` | third | `b`, `d/params.h` |
| `d` | fourth | - |
| `proto/base` | base | - |

| library | only in |
|---|---|
| `yaml-cpp/` | `a` |
"""
BAD = [
    ({}, "is missing"),
    ({DOC: "nothing\n"}, "tables"),
    ({DOC: _DOC, "a/x.h": '#include "b/y.h"\n'}, 'a may not include "b/y.h"'),
    ({DOC: _DOC, "c/x.h": '#include "a/y.h"\n#include "d/other.h"\n'}, 'c may not include "d/other.h"'),
    ({DOC: _DOC, "b/x.h": "#include <yaml-cpp/yaml.h>\n"}, "is for a only"),
    ({DOC: _DOC, "b/x.h": '#include "y.h"\n'}, "not spelled from the root"),
    ({DOC: _DOC, "e/x.h": "\n"}, "lies in no room"),
    ({DOC: _DOC, "a/meson.build": "x = declare_dependency(dependencies: [base])\n"}, "may not link base"),
]
