# SPDX-License-Identifier: BSD-2-Clause
"""Mutations of the engine: does a test notice? tools/mutate says how to call it; tests/mutations/README.md what is kept.

Nothing in the tree is touched, and almost nothing is built: the mutated source is compiled beside the build directory with the
command that built the original, and the test programs are linked again with the new object before the library, so that the
library's own is never asked for. A mutation costs one compiler call, two or three links, and the tests.
"""
import argparse
import concurrent.futures
import html
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

import mutations

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = {"scenario_atcp": "tests/scenario/atcp/scenario_atcp", "model_matrix": "tests/model/model_matrix",
            "unit_atcp": "tests/unit/atcp/unit_atcp"}
SECONDS, STOPS = 60, 3  # a program's time, several times what it takes under load; what hangs so often is not looked at further
# A case that was run, with what is said of it; those left out are empty elements.
CASE = re.compile(r'<TestCase name="([^"]*)"[^>]*[^/>]>(.*?)</TestCase>', re.S)


class Build:
    """A configured and built directory: how its objects are compiled and its programs linked."""
    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        with open(os.path.join(self.folder, "compile_commands.json"), encoding="utf-8") as f:
            self.compile = {os.path.realpath(os.path.join(c["directory"], c["file"])): c["command"] for c in json.load(f)}
        self.link = {}
        for name, path in PROGRAMS.items():
            out = subprocess.run(["ninja", "-C", self.folder, "-t", "commands", path], check=True, capture_output=True, text=True)
            self.link[name] = out.stdout.splitlines()[-1]

    def make(self):
        subprocess.run(["ninja", "-C", self.folder, *PROGRAMS.values()], check=True, stdout=subprocess.DEVNULL)

    def cases(self, program):
        """[(name, source)] in the order in which --first and --last count."""
        out = subprocess.run([os.path.join(self.folder, PROGRAMS[program]), "-ltc", "-r=xml"], check=True, capture_output=True, text=True)
        return [(c.get("name"), c.get("filename")) for c in xml.etree.ElementTree.fromstring(out.stdout).iter("TestCase")]

    def compile_mutant(self, source, text, scratch):
        """The object's path, or None: it does not compile."""
        mutant, target = os.path.join(scratch, "mutant.cpp"), os.path.join(scratch, "mutant.o")
        with open(mutant, "w", encoding="utf-8") as f:
            f.write(text)
        command = shlex.split(self.compile[os.path.realpath(os.path.join(ROOT_OF_SOURCES[0], source))])
        command = [c for c in command if c not in ("-g", "-Werror")]
        command[command.index("-o") + 1] = target
        command[command.index("-c") + 1] = mutant
        for flag in ("-MF", "-MQ"):
            command[command.index(flag) + 1] = target + ".d"
        done = subprocess.run([*command, "-w"], cwd=self.folder, capture_output=True, text=True, check=False)
        return (target, "") if done.returncode == 0 else (None, done.stderr[-2000:])

    def link_mutant(self, program, target, scratch):
        command = shlex.split(self.link[program])
        out = os.path.join(scratch, program)
        command[command.index("-o") + 1] = out
        command.insert(command.index("-o") + 2, target)
        subprocess.run([*command, "-Wl,-s"], cwd=self.folder, check=True, capture_output=True)
        return out


ROOT_OF_SOURCES = [ROOT]


def run(program, first, last):
    """These cases: [(name, passed)] of those that were run, and whether it had to be stopped. A crash ends the program, and so
    does SIGTERM; doctest then still says which case it was."""
    process = subprocess.Popen([program, "-r=xml", f"--first={first}", f"--last={last}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    stopped = False
    try:
        out, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        stopped = True
        process.terminate()
        try:
            out, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
    found = [(html.unescape(name), 'test_case_success="false"' not in rest)
             for name, rest in CASE.findall(out.decode(errors="replace"))]
    return found, stopped


def failed_cases(program, cases):
    """Names of the cases that fail, crash or hang."""
    order = {name: i for i, (name, _) in enumerate(cases, 1)}
    failed, first, stops = [], 1, 0
    while first <= len(cases) and stops < STOPS:
        found, stopped = run(program, first, len(cases))
        if stopped and found:  # by itself, or a busy machine would pass for a hang
            at = order[found[-1][0]]
            found[-1:], stopped = run(program, at, at)
        stops += stopped
        failed += [name for name, passed in found if not passed]
        if not found:  # it could not even say: that one
            failed.append(cases[first - 1][0])
        first = (order[found[-1][0]] if found else first) + 1
    return failed


def judge(build, mutation, cases, programs, first_is_enough):
    """{program: [failed cases]}, or a message."""
    with tempfile.TemporaryDirectory(prefix="netchan-mutate-") as scratch:
        target, error = build.compile_mutant(mutation.file, mutation.apply(ROOT_OF_SOURCES[0]), scratch)
        if target is None:
            return f"does not compile:\n{error}"
        failed = {}
        for p in programs:
            failed[p] = failed_cases(build.link_mutant(p, target, scratch), cases[p])
            if failed[p] and first_is_enough:
                break
        return failed


def verdict(mutation, failed):
    """"" or what is wrong."""
    if isinstance(failed, str):
        return failed
    missing = [f"{p}: {name}" for p, name in mutation.killed_by if name not in failed.get(p, [])]
    if missing:
        return "survives what should kill it:\n" + "\n".join("      " + m for m in missing)
    return "" if mutation.killed_by else "nothing is listed that kills it (--record)"


def sample(everything, count):
    """A few, others with each commit."""
    git = ["git", "-c", "safe.directory=*", "-C", ROOT, "rev-list", "--count", "HEAD"]
    commits = int(subprocess.run(git, capture_output=True, text=True, check=False).stdout or 0)
    start = commits * count % len(everything)
    return (everything + everything)[start:start + min(count, len(everything))]


def record(results, everything, cases):
    """Each case stands with the mutation that kills the fewest, each mutation names at least one."""
    kills = {m.id: {(p, n) for p, names in results[m.id].items() for n in names} for m in everything if isinstance(results.get(m.id), dict)}
    fewest = {}
    for name, killed in kills.items():
        for case in killed:
            if case not in fewest or len(killed) < len(kills[fewest[case]]):
                fewest[case] = name
    order = {(p, n): i for p in PROGRAMS for i, (n, _) in enumerate(cases[p])}
    for m in everything:
        if m.id not in kills:
            continue
        own = [c for c in kills[m.id] if fewest[c] == m.id and c[0] == "scenario_atcp"]
        if not own and kills[m.id]:
            own = [min(kills[m.id], key=lambda c: (list(PROGRAMS).index(c[0]), order[c]))]
        m.killed_by = sorted(own, key=lambda c: (list(PROGRAMS).index(c[0]), order[c]))
    mutations.write(ROOT, everything)


def main():
    parser = argparse.ArgumentParser(prog="tools/mutate")
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "gcc"))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--uncovered", action="store_true")
    parser.add_argument("--sample", type=int, metavar="N")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sources", default=ROOT, help=argparse.SUPPRESS)
    parser.add_argument("--keep", help=argparse.SUPPRESS)
    parser.add_argument("--report", help="writes the results as JSON")
    args = parser.parse_args()
    ROOT_OF_SOURCES[0] = args.sources
    everything = mutations.read(ROOT)
    chosen = [m for m in everything if not args.ids or m.id in args.ids]
    unknown = set(args.ids) - {m.id for m in everything}
    if unknown:
        sys.exit(f"mutate: no mutation {', '.join(sorted(unknown))} (tools/mutate --list)")
    if args.list or args.uncovered:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it, without a word
    if args.list:
        for m in chosen:
            print(f"{m.id:40} {m.file}: {m.breaks}")
        return
    if args.uncovered:
        listed = mutations.covered(everything)
        for path, name in mutations.ladders(args.sources):
            if name not in listed:
                print(f"{path}: {name}")
        return
    if args.sample:
        chosen = sample(everything, args.sample)
    build = Build(args.build)
    build.make()
    cases = {p: build.cases(p) for p in PROGRAMS}
    for p, path in PROGRAMS.items():
        broken = failed_cases(os.path.join(build.folder, path), cases[p])
        if broken:
            sys.exit(f"mutate: without any mutation {p} fails: {broken[0]}")

    def one(m):
        needed = PROGRAMS if args.record else {p for p, _ in m.killed_by} or PROGRAMS
        return m, judge(build, m, cases, [p for p in PROGRAMS if p in needed], args.record)
    kept = args.keep or os.path.join(args.build, "mutations.json")  # what earlier runs of --record have found
    results, report = {}, []
    if args.record and os.path.exists(kept):
        with open(kept, encoding="utf-8") as f:
            results = json.load(f)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for m, failed in pool.map(one, chosen):
            results[m.id] = failed
            count = 0 if isinstance(failed, str) else sum(len(f) for f in failed.values())
            wrong = verdict(m, failed) if not args.record else failed if isinstance(failed, str) else "" if count else "survives"
            print(f"{'FAIL' if wrong else 'ok  '} {m.id} ({count} cases fail){': ' + wrong if wrong else ''}", flush=True)
            if args.record:
                with open(kept, "w", encoding="utf-8") as f:
                    json.dump(results, f, indent=1)
            report.append({"name": f"mutation {m.id}", "ok": not wrong, "messages": [wrong] if wrong else [], "seconds": 0})
    if args.record:
        record(results, everything, cases)
    if args.report:
        with open(args.report, "w", encoding="utf-8") as f:
            json.dump(report, f, indent=1)
    sys.exit(0 if all(r["ok"] for r in report) else 1)


if __name__ == "__main__":
    main()
