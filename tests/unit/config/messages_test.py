#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every text that the loader can say stands in a golden file: the literals of its sources are looked for in the outputs.

Also those of one word (` belongs`, a key, a unit): what people read is glued together from them. What no golden file can hold is
listed here with a piece of it that a unit test must want.

usage: messages_test.py CONFIG_DIR GOLDEN_DIR
"""
import pathlib
import re
import sys

SOURCES = ("checks", "complaints", "document", "loader", "memory", "values")
TEXT = re.compile(r"[a-z]{2,}")  # a word; without one it is punctuation
LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
ELSEWHERE = {  # (unit test, what stands in it)
    "cannot be read: ": ("checks_test", 'Contains("cannot be read: No such file or directory")'),
    "name a file that netchand's user may read; `netchand --default-config` prints one to begin with":
        ("checks_test", "name a file that netchand's user may read; `netchand --default-config` prints one to begin with"),
    "the file is larger than a configuration can be": ("document_test", '"the file is larger than a configuration can be"'),
    "the limit is 4MiB": ("document_test", '"the limit is 4MiB"'),
}
# What nobody reads: a path of the table, and the noun of a kind that is described by its words.
UNSAID = {"memory.streams_per_client", "a word"}


def literals(source):
    """Adjacent literals are one text, as the compiler sees them."""
    source = re.sub(r"^\s*//.*$|\s//\s.*$|^#include.*$", "", source, flags=re.M)
    joined = re.sub(r'(?<!\\)"\s*\n\s*"', "", source)
    return [m.group(1).replace('\\"', '"').replace("\\\\", "\\") for m in LITERAL.finditer(joined)]


def main(config, golden):
    said = "\n".join(p.read_text(errors="replace") for p in pathlib.Path(golden).glob("*.txt"))
    missing, texts = [], set()
    for name in SOURCES:
        for text in literals(pathlib.Path(config, name + ".cpp").read_text()):
            text = text.removesuffix("\\n")
            if not TEXT.search(re.sub(r"\\x..", "", text)):
                continue
            texts.add(text)
            if text not in said and text not in ELSEWHERE and text not in UNSAID:
                missing.append(f"{name}.cpp: no golden file says: {text}")
    for text, (test, wanted) in ELSEWHERE.items():
        if wanted not in pathlib.Path(__file__).with_name(test + ".cpp").read_text():
            missing.append(f"{test}.cpp does not want: {wanted}")
    missing += [f"listed here and said nowhere: {text}" for text in [*ELSEWHERE, *UNSAID] if text not in texts]
    if len(texts) < 200:
        missing.append(f"only {len(texts)} texts found: the search is broken")
    print("\n".join(missing))
    return 1 if missing else 0


sys.exit(main(*sys.argv[1:]))
