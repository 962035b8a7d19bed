#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every text that the loader can say stands in a golden file: the literals of its sources are looked for in the outputs.

usage: messages_test.py CONFIG_DIR GOLDEN_DIR
"""
import pathlib
import re
import sys

SOURCES = ("checks", "complaints", "document", "loader", "memory", "values")
# A literal with two words in it is text for people; shorter ones are keys, units and glue.
TEXT = re.compile(r"[a-z`]{2,} [a-z`]{2,}")
LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
# What golden files cannot hold, and where it is tested instead.
ELSEWHERE = {
    "cannot be read: ": "checks_test: load reads a file",
    "name a file that netchand's user may read; `netchand --default-config` prints one to begin with": "the same",
    "the file is larger than a configuration can be": "document_test: 4 MiB",
    "the limit is 4MiB": "the same",
}


def literals(source):
    """Adjacent literals are one text, as the compiler sees them."""
    source = re.sub(r"^\s*//.*$|\s//\s.*$|^#include.*$", "", source, flags=re.M)
    joined = re.sub(r'(?<!\\)"\s*\n\s*"', "", source)
    return [m.group(1).replace('\\"', '"').replace("\\\\", "\\") for m in LITERAL.finditer(joined)]


def main(config, golden):
    said = "\n".join(p.read_text(errors="replace") for p in pathlib.Path(golden).glob("*.txt"))
    missing, seen = [], 0
    for name in SOURCES:
        for text in literals(pathlib.Path(config, name + ".cpp").read_text()):
            text = text.removesuffix("\\n")
            if not TEXT.search(text):
                continue
            seen += 1
            if text not in said and text not in ELSEWHERE:
                missing.append(f"{name}.cpp: no golden file says: {text}")
    if seen < 150:
        missing.append(f"only {seen} texts found: the search is broken")
    print("\n".join(missing))
    return 1 if missing else 0


sys.exit(main(*sys.argv[1:]))
