# SPDX-License-Identifier: BSD-2-Clause
"""The stages of tools/check, once the packages are there."""
import argparse
import glob
import json
import os
import subprocess
import sys

import bare_root
from results import Results, StageFailed, tail_of

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build")
LOGS = os.path.join(BUILD, "check")

ASAN_SUITES = ("unit", "scenario", "sim")
# What has threads that meet in memory: rings, mailboxes, netalloc, shm.
TSAN_TESTS = ("unit_base", "unit_base_daemon", "unit_netalloc", "unit_shm", "unit_session", "unit_worker", "unit_client", "unit_route")

ENVIRONMENT = {
    "ASAN_OPTIONS": "abort_on_error=0:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


def run(command, log):
    """To a log; the exit status."""
    os.makedirs(LOGS, exist_ok=True)
    with open(os.path.join(LOGS, log), "a", encoding="utf-8") as f:
        f.write(f"+ {' '.join(command)}\n")
        f.flush()
        return subprocess.run(command, stdout=f, stderr=subprocess.STDOUT, cwd=ROOT, env={**os.environ, **ENVIRONMENT},
                              check=False).returncode


def build(results, name, targets=None):
    """tools/build NAME: all, or what `targets(tests)` chooses. True: it worked."""
    folder, log = os.path.join(BUILD, name), f"build-{name}.log"
    tool = os.path.join(ROOT, "tools", "build")
    done = False
    with results.stage(f"build {name}"):
        if os.path.exists(os.path.join(LOGS, log)):
            os.remove(os.path.join(LOGS, log))
        # build.ninja first: it configures, or configures again where a meson.build has changed.
        if run([tool, name, "build.ninja"], log):
            raise StageFailed(tail_of(os.path.join(LOGS, log), 30))
        wanted = targets(tests_of(folder)) if targets else []
        if targets and not wanted:
            raise StageFailed(f"no test of this name (tests: {sorted(t['name'] for t in tests_of(folder))})")
        if run([tool, name, *wanted], log):
            raise StageFailed(failures_of(os.path.join(LOGS, log)))
        done = True
    return done


def failures_of(log):
    """From ninja's first FAILED on; else the end."""
    with open(log, encoding="utf-8", errors="replace") as f:
        lines = f.read().splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith("FAILED:")), None)
    return "\n".join(lines[first:first + 40]) if first is not None else tail_of(log, 40)


def introspect(folder, what):
    out = subprocess.run(["meson", "introspect", f"--{what}", folder], check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def tests_of(folder):
    return introspect(folder, "tests")


def programs(folder, tests):
    """ninja's names of what these tests need: the programs they are, and those they start."""
    out = subprocess.run(["meson", "introspect", "--targets", folder], check=True, capture_output=True, text=True).stdout
    files = {t["id"]: t["filename"] for t in json.loads(out)}
    return sorted({os.path.relpath(f, folder) for t in tests for target in t["depends"] for f in files[target]})


def is_compiled(test, folder):
    """A script gains nothing from a sanitizer."""
    return os.path.normpath(test["cmd"][0]).startswith(folder + "/")


def in_suites(test, suites):
    return any(s.split(":")[-1] in suites for s in test["suite"])


def meson_tests(results, name, selection=None, label=None):
    """Runs the tests of build/NAME that were built; `selection` are names."""
    folder = os.path.join(BUILD, name)
    label = label or f"test {name}"
    with results.stage(label):
        if selection is not None and not selection:
            raise StageFailed("no tests")
        logbase = label.replace(" ", "-")
        log = os.path.join(folder, "meson-logs", f"{logbase}.json")
        if os.path.exists(log):
            os.remove(log)
        command = ["meson", "test", "-C", folder, "--no-rebuild", "--logbase", logbase, "--timeout-multiplier", "4"]
        run([*command, *(selection or [])], f"{logbase}.log")
        if not os.path.exists(log):
            raise StageFailed(tail_of(os.path.join(LOGS, f"{logbase}.log"), 30))
        results.add_meson(log, name)


def lint(results, names, *options, label="lint"):
    with results.stage(label):
        os.makedirs(LOGS, exist_ok=True)
        report = os.path.join(LOGS, f"{label.replace(' ', '-')}.json")
        if os.path.exists(report):
            os.remove(report)
        run([os.path.join(ROOT, "tools", "lint", "run"), "--report", report, *options, *names], "lint.log")
        if not os.path.exists(report):
            raise StageFailed(tail_of(os.path.join(LOGS, "lint.log"), 20))
        results.add_lints(report)


def system_tests(results, name, *options, label="system tests"):
    with results.stage(label):
        junit = os.path.join(LOGS, f"{label.replace(' ', '-')}.xml")
        if os.path.exists(junit):
            os.remove(junit)
        command = ["/usr/bin/python3", "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}/tests/system", f"--junitxml={junit}",
                   f"--build={os.path.join(BUILD, name)}", *options, os.path.join(ROOT, "tests", "system")]
        run(command, f"{label.replace(' ', '-')}.log")
        if not os.path.exists(junit):
            raise StageFailed(tail_of(os.path.join(LOGS, f"{label.replace(' ', '-')}.log"), 40))
        results.add_junit(junit, label)


def mutated(results, *options):
    """The engine broken on purpose, in build/gcc."""
    with results.stage("mutations"):
        report = os.path.join(LOGS, "mutations.json")
        if os.path.exists(report):
            os.remove(report)
        run([os.path.join(ROOT, "tools", "mutate"), "--report", report, *options], "mutations.log")
        if not os.path.exists(report):
            raise StageFailed(tail_of(os.path.join(LOGS, "mutations.log"), 20))
        results.add_lints(report)


def sanitized(results, name, wanted):
    """Builds and runs only what is wanted."""
    folder = os.path.join(BUILD, name)

    def chosen(tests):
        return [t for t in tests if wanted(t) and is_compiled(t, folder)]
    if build(results, name, lambda tests: programs(folder, chosen(tests))):
        meson_tests(results, name, [t["name"] for t in chosen(tests_of(folder))])


def quick(results, room):
    lint(results, ["text", "length", "rooms", "scripts", "mutants"])
    if room:
        for name in ("gcc", "asan"):
            sanitized(results, name, lambda test: room in test["name"].split("_") or room == test["name"])
        return
    if build(results, "gcc"):
        lint(results, ["symbols", "generated"], "--build", os.path.join(BUILD, "gcc"), label="lint of the build")
        meson_tests(results, "gcc")
        system_tests(results, "gcc", "-m", "quick")


def fuzzed(results, name):
    """A minute of libFuzzer; the corpus was replayed by the ordinary tests."""
    with results.stage(f"fuzz {name}"):
        if run([os.path.join(ROOT, "tools", "fuzz"), name, "60"], f"fuzz-{name}.log"):
            raise StageFailed(tail_of(os.path.join(LOGS, f"fuzz-{name}.log"), 20))
        results.passed += 1


def default(results, full):
    lint(results, ["text", "length", "rooms", "scripts", "mutants"])
    if build(results, "gcc"):
        which = [] if full else ["--changed"]
        lint(results, ["symbols", "generated", "headers", "tidy"], "--build", os.path.join(BUILD, "gcc"), *which,
             label="lint of the build")
        meson_tests(results, "gcc")
        mutated(results, *([] if full else ["--sample", "6"]))
        system_tests(results, "gcc")
    sanitized(results, "asan", lambda test: in_suites(test, ASAN_SUITES))
    sanitized(results, "tsan", lambda test: test["name"] in TSAN_TESTS or in_suites(test, ("tsan",)))
    if not full:
        return
    for name in ("clang", "debug"):
        if build(results, name):
            meson_tests(results, name)
            system_tests(results, name, label=f"system tests {name}")
    if build(results, "asan"):  # all of it now: the daemon and libnetchan too
        system_tests(results, "asan", "-m", "not unsanitized", label="system tests asan")
    for path in sorted(glob.glob(os.path.join(ROOT, "tests", "fuzz", "*_fuzz.cpp"))):
        fuzzed(results, os.path.basename(path).removesuffix("_fuzz.cpp"))
    with results.stage("bare Debian root"):
        for command, status, words in bare_root.try_and_check(ROOT, os.path.join(BUILD, "bare-root"), LOGS):
            if status:
                results.fail(f"bare root: {command}", words)
            else:
                results.passed += 1


def main():
    parser = argparse.ArgumentParser(prog="tools/check")
    parser.add_argument("--quick", nargs="?", const="", metavar="ROOM")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--packages-seconds", type=float, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    results = Results(os.path.join(ROOT, "tests", "permitted-skips.txt"))
    results.stages.append(("packages", args.packages_seconds, ""))
    if os.path.exists(os.path.join(LOGS, "lint.log")):
        os.remove(os.path.join(LOGS, "lint.log"))
    try:
        if args.quick is not None:
            quick(results, args.quick)
        else:
            default(results, args.full)
    except KeyboardInterrupt:
        results.fail("interrupted")
    finally:
        subprocess.run([os.path.join(ROOT, "tools", "lab"), "sweep"], check=False)
    sys.exit(results.finish())


main()
