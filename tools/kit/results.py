# SPDX-License-Identifier: BSD-2-Clause
"""What the stages of tools/check found: counts, names, and the words of what failed."""
import fnmatch
import json
import os
import re
import time
import xml.etree.ElementTree

DOCTEST = re.compile(r"\[doctest\] test cases:\s*(\d+) \|\s*(\d+) passed \|\s*(\d+) failed \|\s*(\d+) skipped")


class Results:
    def __init__(self, permitted_file):
        self.passed = self.failed = self.skipped = 0
        self.failures = []  # (name, words)
        self.stages = []    # (name, seconds, what)
        with open(permitted_file, encoding="utf-8") as f:
            rows = [line.split("#", 1)[0].strip() for line in f]
        self.permitted = [r for r in rows if r]

    def stage(self, name):
        return Stage(self, name)

    def fail(self, name, words=""):
        self.failed += 1
        self.failures.append((name, words))

    def skip(self, name, words=""):
        if any(fnmatch.fnmatch(name, p) for p in self.permitted):
            self.skipped += 1
        else:
            self.fail(name, f"skipped, and not permitted by tests/permitted-skips.txt: {words}")

    def add_lints(self, report):
        with open(report, encoding="utf-8") as f:
            for r in json.load(f):
                if r["ok"]:
                    self.passed += 1
                else:
                    self.fail(r["name"], "\n".join(r["messages"][:20]))

    def add_meson(self, log, prefix):
        """meson's testlog.json: a line a test; the cases of a doctest program are counted one by one."""
        with open(log, encoding="utf-8") as f:
            for line in f:
                test = json.loads(line)
                name = f"{prefix}/{test['name'].split(' / ')[-1]}"
                words = tail(test.get("stdout", "") + test.get("stderr", ""), 30)
                found = DOCTEST.search(test.get("stdout", ""))
                result = test["result"]
                if result == "SKIP":
                    self.skip(name, words)
                elif result not in ("OK", "EXPECTEDFAIL"):
                    failed = max(1, int(found[3])) if found else 1
                    self.passed += int(found[2]) if found else 0
                    self.failed += failed - 1
                    self.fail(name, f"{result} (exit status {test.get('returncode')})\n{words}")
                else:
                    self.passed += int(found[2]) if found else 1
                    for _ in range(int(found[4]) if found else 0):
                        self.skip(name + " (case)", "doctest left a case out")

    def add_junit(self, path, prefix):
        """pytest's junit file."""
        for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
            name = f"{prefix}/{case.get('classname', '').split('.')[-1]}::{case.get('name')}"
            bad = case.find("failure")
            bad = bad if bad is not None else case.find("error")
            if bad is not None:
                self.fail(name, tail(bad.text or bad.get("message") or "", 40))
            elif case.find("skipped") is not None:
                self.skip(name, case.find("skipped").get("message") or "")
            else:
                self.passed += 1

    def finish(self):
        """Prints everything; the exit status."""
        for name, words in self.failures:
            print(f"\nFAILED {name}")
            print("    " + words.replace("\n", "\n    "))
        print()
        for name, seconds, what in self.stages:
            print(f"  {seconds:7.1f} s  {name:<22} {what}")
        print(f"  {sum(s for _, s, _ in self.stages):7.1f} s")
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed or not self.passed else 0


class Stage:
    """A stage: says that it began, how long it took and what it added."""

    def __init__(self, results, name):
        self.results, self.name = results, name

    def __enter__(self):
        print(f"== {self.name}", flush=True)
        self.start = time.monotonic()
        self.before = (self.results.passed, self.results.failed, self.results.skipped)
        return self

    def __exit__(self, kind, value, _):
        if kind is StageFailed:
            self.results.fail(self.name, str(value))
        now = (self.results.passed, self.results.failed, self.results.skipped)
        counts = [f"{b - a} {w}" for a, b, w in zip(self.before, now, ("passed", "FAILED", "skipped")) if b > a]
        seconds = time.monotonic() - self.start
        self.results.stages.append((self.name, seconds, ", ".join(counts)))
        print(f"   {seconds:.1f} s  {', '.join(counts)}", flush=True)
        return kind is StageFailed


class StageFailed(Exception):
    """The stage as a whole could not be done (a build that failed); the words say why."""


def tail(text, lines):
    return "\n".join(text.rstrip().splitlines()[-lines:])


def tail_of(path, lines):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8", errors="replace") as f:
        return tail(f.read(), lines)
