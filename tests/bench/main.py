# SPDX-License-Identifier: BSD-2-Clause
"""tests/bench/run: the whole table of the main path, with cost by packet and the raw AF_XDP ceiling."""
import argparse
import json
import os
import platform
import subprocess

from measure import BULK, CLIENT_CORE, WORKER_CORE, Netchan, busy_share, wait_for_idle
from raw import SIZES, raw_rate
from suite import NETCHAN, NETCHAN6, Suite
from table import print_table
import width


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run")
    parser.add_argument("--build", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--sizes", default=f"16,64,256,1024,{BULK}")
    parser.add_argument("--json", help="writes every value of every round")
    parser.add_argument("--table", action="store_true", help="only bench.md's table")
    parser.add_argument("--width", action="store_true", help="only workers, connections, idle, wake-up, memory")
    args = parser.parse_args()

    busy = wait_for_idle()
    print(f"{platform.node()}: Linux {platform.release()}, {os.cpu_count()} cores; other processes used {busy:.0%} of them before the start"
          + ("" if busy < 0.1 else ": NOT an idle machine"))
    print(f"netchand's worker on core {WORKER_CORE}, its client and the peer on core {CLIENT_CORE}; kernel columns: sender on core 1, "
          f"receiver on core 0 or 1, whichever is faster\n{args.rounds} interleaved rounds of {args.seconds:g} s; median (min-max)\n")
    suite = Suite(args.build, [int(s) for s in args.sizes.split(",")], args.rounds, args.seconds, patience=60)
    if not args.width:
        suite.run()
        extra(suite)
    if not args.table:
        width.measure(suite)
    print(f"\nAF_XDP: {suite.mode}\n")
    if not args.width:
        suite.print()
        print("\n  'in' is a kernel source that writes 16 KiB at a time; every sink checks each message's number.")
        costs(suite)
    if not args.table:
        width.show(suite, print_table)
    for failure in suite.failures:
        print(f"  not measured: {failure}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump({f"{r}|{c}|{q}": cell.values for (r, c, q), cell in suite.cells.items()}, f, indent=1)
    loud = sum(b >= 0.1 for b in suite.busy)
    print(f"\n  other processes before the {len(suite.busy)} measured rows: {max(suite.busy):.0%} at most, {loud} rows began above 10 %; "
          f"after the end {busy_share():.0%}" + ("" if not loud else ": NOT an idle machine"))


def extra(suite):
    """What needs a daemon of its own, or nothing but AF_XDP."""
    def both():
        with Netchan(suite.build, both_ends=True) as netchan:
            return netchan.ping(64, suite.seconds)

    def syscalls():
        with Netchan(suite.build) as netchan:
            return netchan.syscalls(64, suite.seconds)
    for r in range(suite.rounds):
        suite.progress(f"round {r + 1} of {suite.rounds}: netchan at both ends, raw AF_XDP")
        suite.attempt("ping", "netchan both", both)
        for size in SIZES:
            suite.attempt(f"raw {size}", "raw", lambda size=size: raw_rate(suite.build, size, suite.seconds))
    suite.progress("system calls of the worker")
    suite.attempt("syscalls", "netchan out", syscalls)


def costs(suite):
    rows = []
    for size in suite.sizes:
        for column in NETCHAN + NETCHAN6:
            row = [("bulk" if size == BULK else f"{size} B") + column.removeprefix("netchan").replace("v6", " v6")]
            row += [suite.cell(size, column, "worker_ns_per_packet").text("{:.0f}"), suite.cell(size, column, "client_ns_per_message").text("{:.1f}"),
                    suite.cell(size, column, "kicks_per_packet").text("{:.3f}"), suite.cell(size, column, "sleeps_per_packet").text("{:.4f}")]
            rows.append(row)
    print()
    print_table(["cost", "worker ns/packet", "client ns/message", "kicks/packet", "sleeps/packet"], rows)
    counted = suite.cell("syscalls", "netchan out", "syscalls_per_packet").median()
    if counted is not None:
        print(f"\n  system calls of the worker, counted by raw_syscalls:sys_enter at 64 B out: {counted:.4f} a packet (kicks, epoll, doorbells)")
    for size in SIZES:
        frames = suite.cell(f"raw {size}", "raw", "packets_per_s")
        if frames.values:
            print(f"  raw AF_XDP, no protocol, {size} octets a frame: {frames.median() / 1e6:.2f} Mpps, {frames.median() * size / 1e6:.0f} MB/s")
    bulk, raw = suite.cell(BULK, "netchan out", "octets_per_s").median(), suite.cell("raw 1514", "raw", "packets_per_s").median()
    if bulk and raw:
        print(f"  bulk out is {bulk / (raw * 1448):.0%} of raw's payload at 1514 octets")
    print("  no allocation on the datapath: shown by tests/system/test_no_alloc.py, for proto/ by tools/lint/symbols.py; not measured here")


main()
