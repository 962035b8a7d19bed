# SPDX-License-Identifier: BSD-2-Clause
"""A page in the Prometheus text format, as a value to ask and to subtract."""
import re

_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Metrics:
    def __init__(self, text=""):
        self.values = {}  # (name, frozenset of label pairs) -> value
        for line in text.splitlines():
            match = _LINE.match(line)
            if match:
                labels = frozenset(_LABEL.findall(match[2] or ""))
                self.values[match[1], labels] = float(match[3])

    def rows(self, name, **labels):
        """[({label: value}, number)] of that name (a name may end with *) and those labels."""
        wanted = set(labels.items())
        return [(dict(pairs), value) for (n, pairs), value in sorted(self.values.items(), key=lambda i: (i[0][0], sorted(i[0][1])))
                if (n == name or name.endswith("*") and n.startswith(name[:-1])) and wanted <= pairs]

    def sum(self, name, **labels):
        return sum(value for _, value in self.rows(name, **labels))

    def has(self, name):
        return any(n == name for n, _ in self.values)

    def since(self, earlier):
        """This page minus an earlier one: what happened between."""
        difference = Metrics()
        difference.values = {key: value - earlier.values.get(key, 0) for key, value in self.values.items()}
        return difference
