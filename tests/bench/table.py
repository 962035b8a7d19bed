# SPDX-License-Identifier: BSD-2-Clause
"""Figures as people read them: medians with min and max, one row a line."""
import statistics


class Cell:
    """All rounds of one row in one column."""

    def __init__(self):
        self.values = []

    def add(self, value):
        self.values.append(value)

    def median(self):
        return statistics.median(self.values) if self.values else None

    def text(self, form):
        if not self.values:
            return "-"
        middle = form.format(self.median())
        if len(self.values) < 2:
            return middle
        return f"{middle} ({form.format(min(self.values))}-{form.format(max(self.values))})"


def print_table(header, rows, out=print):
    """rows: lists of strings. The first column is left-aligned, the others right."""
    widths = [max(len(r[i]) for r in [header, *rows]) for i in range(len(header))]
    for n, row in enumerate([header, *rows]):
        out("  " + row[0].ljust(widths[0]) + "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:])))
        if n == 0:
            out("  " + "-" * (sum(widths) + 2 * (len(widths) - 1)))
