# SPDX-License-Identifier: BSD-2-Clause
"""Plain text: the licence line, no trailing white space, a last newline, no conflict marks, no path of one machine."""
import re

# Things that have a licence line; data, prose and generated output have none.
CODE = (".c", ".h", ".cpp", ".hpp", ".py")
# A home, a work folder or a temporary folder of somebody's machine. Written so that this file does not match itself.
MACHINE = re.compile(r"(?:^|[\s\"'=(`])(/(?:work|root|home/[a-z]\w*|farm|tmp/(?:b-|brief))(?:/|\b)[^\s\"']*)")
CONFLICT = re.compile(r"^(<{7} |>{7} |={7}$)")


def check(tree):
    messages = []
    for path in tree.paths():
        if path.startswith(("tests/golden/", "tests/fuzz/corpus/")) or "/corpus/" in path or not tree.is_text(path):
            continue
        text = tree.read(path)
        first = text.split("\n", 3)[:3]
        is_script = text.startswith("#!")
        if (path.endswith(CODE) or is_script) and not any("SPDX-License-Identifier:" in line for line in first):
            messages.append(f"{path}:1: no SPDX-License-Identifier in the first three lines; add one as the neighbours have")
        if text and not text.endswith("\n"):
            messages.append(f"{path}: the last line has no newline")
        for number, line in tree.lines(path):
            if line != line.rstrip() and not path.endswith((".md", ".diff", ".patch")):
                messages.append(f"{path}:{number}: trailing white space")
            if CONFLICT.match(line):
                messages.append(f"{path}:{number}: a merge conflict's mark")
            found = MACHINE.search(line)
            if found and path != "tools/lint/text.py":
                messages.append(f"{path}:{number}: names a path of one machine, {found[1]}; make it relative or an argument")
    return messages


BAD = [
    ({"proto/x.h": "#pragma once\n"}, "no SPDX"),
    ({"tools/x": "#!/bin/sh\necho\n"}, "no SPDX"),
    ({"docs/x.txt": "word \n"}, "trailing white space"),
    ({"docs/x.txt": "word"}, "no newline"),
    ({"docs/x.md": "<<<<<<< mine\n"}, "merge conflict"),
    ({"docs/x.md": "see /ho" + "me/ann/netchan\n"}, "path of one machine"),
    ({"docs/x.md": "see `/wo" + "rk/main`\n"}, "path of one machine"),
]
