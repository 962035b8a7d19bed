# SPDX-License-Identifier: BSD-2-Clause
"""Rows and columns of bench.md's table, measured round by round so that every column meets the same moods of the machine."""
import contextlib

from measure import BULK, Failed, Kernel, Netchan, wait_for_idle
from table import Cell, print_table

NETCHAN = ("netchan out", "netchan in")
NETCHAN6 = ("v6 out", "v6 in")
WIRE = ("wire nodelay", "wire nagle")
OFFLOADS = ("offloads nodelay", "offloads nagle")


class Suite:
    def __init__(self, build, sizes, rounds, seconds, progress=print, offloads=True, ipv6=True, patience=0):
        self.patience = patience  # seconds to wait for an idle machine before each row
        self.busy = []            # what others used then
        self.build, self.sizes, self.rounds, self.seconds = build, sizes, rounds, seconds
        self.progress = progress
        self.families = ("", "6") if ipv6 else ("",)
        self.columns = NETCHAN + (NETCHAN6 if ipv6 else ()) + WIRE + (OFFLOADS if offloads else ())
        self.cells = {}    # (row, column, quantity) -> Cell
        self.mode = ""
        self.failures = []

    def add(self, row, column, report):
        for quantity, value in report.items():
            if isinstance(value, (int, float)):
                self.cells.setdefault((row, column, quantity), Cell()).add(value)

    def cell(self, row, column, quantity):
        return self.cells.get((row, column, quantity), Cell())

    def attempt(self, row, column, what):
        """One figure that cannot be had does not cost the others; it shows as "-" and is named at the end."""
        try:
            self.add(row, column, what())
        except Failed as error:
            self.failures.append(f"{row}, {column}: {error}")

    def run(self):
        with contextlib.ExitStack() as stack:
            netchan = stack.enter_context(Netchan(self.build, families=self.families))
            self.mode = netchan.mode()
            wire = stack.enter_context(Kernel(self.build, "off"))
            offloads = stack.enter_context(Kernel(self.build, "on"))
            for r in range(self.rounds):
                for size in self.sizes:
                    self.settle()
                    self.progress(f"round {r + 1} of {self.rounds}: " + (f"{size} octets" if size != BULK else "bulk"))
                    self.row(size, netchan, wire, offloads)
                self.settle()
                self.progress(f"round {r + 1} of {self.rounds}: ping-pong")
                self.attempt("ping", "netchan", lambda: netchan.ping(64, self.seconds))
                if "6" in self.families:
                    self.attempt("ping", "netchan v6", lambda: netchan.ping(64, self.seconds, "6"))
                self.attempt("ping", "kernel blocking", lambda: wire.ping(64, self.seconds, False))
                self.attempt("ping", "kernel spinning", lambda: wire.ping(64, self.seconds, True))

    def settle(self):
        if self.patience:
            self.busy.append(wait_for_idle(patience=self.patience))

    def row(self, size, netchan, wire, offloads):
        self.attempt(size, "netchan out", lambda: netchan.out(size, self.seconds))
        self.attempt(size, "netchan in", lambda: netchan.into(size, self.seconds))
        if "6" in self.families:
            self.attempt(size, "v6 out", lambda: netchan.out(size, self.seconds, "6"))
            self.attempt(size, "v6 in", lambda: netchan.into(size, self.seconds, "6"))
        for kernel, prefix in ((wire, "wire"), (offloads, "offloads")):
            if f"{prefix} nagle" not in self.columns and size != BULK:
                continue
            self.attempt(size, f"{prefix} nagle", lambda k=kernel: k.flow(size, self.seconds, False))
            if size != BULK:  # a bulk write fills its segments either way
                self.attempt(size, f"{prefix} nodelay", lambda k=kernel: k.flow(size, self.seconds, True))

    def print(self, out=print):
        """The table: messages in thousands a second, bulk in MB/s, and how netchan stands to the kernel with TCP_NODELAY."""
        rows = []
        for size in self.sizes:
            bulk = size == BULK
            quantity, scale, form = ("octets_per_s", 1e-6, "{:.0f}") if bulk else ("messages_per_s", 1e-3, "{:.0f}")
            label = "bulk, MB/s" if bulk else f"{size} B messages, k/s"
            row = [label]
            for column in self.columns:
                scaled = Cell()
                for value in self.cell(size, column, quantity).values:
                    scaled.add(value * scale)
                row.append(scaled.text(form))
            ours = self.cell(size, "netchan out", quantity).median()
            theirs = self.cell(size, "wire nagle" if bulk else "wire nodelay", quantity).median()
            row.append(f"{ours / theirs:.2f}x" if ours and theirs else "-")
            rows.append(row)
        print_table(["", *self.columns, "out / wire"], rows, out)
        out("")
        rows = []
        for column, label in (("netchan", "netchan, kernel echo"), ("netchan v6", "the same over IPv6"), ("netchan both", "netchan at both ends"),
                              ("kernel blocking", "kernel, blocking"), ("kernel spinning", "kernel, both spinning")):
            if self.cell("ping", column, "p50_us").values:
                rows.append([label, self.cell("ping", column, "p50_us").text("{:.1f}"), self.cell("ping", column, "p99_us").text("{:.1f}")])
        print_table(["64 B ping-pong, us", "p50", "p99"], rows, out)
