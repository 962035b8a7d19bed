# SPDX-License-Identifier: BSD-2-Clause
"""A file of more than 400 lines probably holds two ideas. Exceptions stand in tools/lint/long_files.txt with a reason."""
LIMIT = 400
LIST = "tools/lint/long_files.txt"
CODE = (".c", ".h", ".cpp", ".hpp", ".py", ".build")


def exceptions(tree):
    """{path: reason}"""
    if LIST not in tree.paths():
        return {}
    rows = [line.split(None, 1) for line in tree.read(LIST).splitlines() if line and not line.startswith("#")]
    return {row[0]: row[1] if len(row) > 1 else "" for row in rows}


def check(tree):
    messages = []
    allowed = exceptions(tree)
    for path in tree.paths():
        if not (path.endswith(CODE) or path.startswith("tools/")) or not tree.is_text(path):
            continue
        count = len(tree.read(path).splitlines())
        if count > LIMIT and path not in allowed:
            messages.append(f"{path}: {count} lines; find the second idea in it, or give the reason in {LIST}")
        if count <= LIMIT and path in allowed:
            messages.append(f"{LIST}: {path} has {count} lines and needs no exception any more")
    for path, reason in allowed.items():
        if path not in tree.paths():
            messages.append(f"{LIST}: {path} does not exist")
        if len(reason) < 10:
            messages.append(f"{LIST}: {path} has no reason")
    return messages


BAD = [
    ({"proto/x.cpp": "//\n" * 401}, "401 lines"),
    ({"proto/x.cpp": "//\n", LIST: "proto/x.cpp because it is a table\n"}, "needs no exception"),
    ({LIST: "proto/y.cpp because it is a table\n"}, "does not exist"),
    ({"proto/x.cpp": "//\n" * 401, LIST: "proto/x.cpp\n"}, "has no reason"),
]
