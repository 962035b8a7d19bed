#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The JSON schema takes every good file, and refuses the bad ones that a schema can see."""
import json
import pathlib
import re
import sys

import jsonschema
import yaml

# Bad files whose only faults are beyond a schema: what YAML itself is asked (places, anchors, encodings), what two values mean
# together, what a machine has, how large a value with a unit is.
BEYOND = {"alias_bomb", "alias_inside_itself", "alias_unknown", "brackets_without_quotes",
          "brackets_without_quotes_and_port", "cores", "deep", "dependents",
          "directive_twice", "duplicate_keys", "escape",
          "flows_that_meet", "indentation", "interfaces_missing", "keys_that_are_no_words",
          "listeners_on_two_interfaces", "memory_assumed_queues",
          "memory_beyond_machine", "memory_too_small", "on_two_interfaces_by_wildcard",
          "open_brace", "open_quote", "percent", "ports_across_interfaces",
          "quota_too_small", "size_multiple", "sockets_twice",
          "sockets_twice_clients", "streams_too_many", "tab", "tags", "two_documents", "utf16", "vlan_of_a_flow"}


class Core(yaml.SafeLoader):
    """YAML 1.2's core schema, as editors read it and as our loader does: `off` and `yes` are words."""


Core.yaml_implicit_resolvers = {}
for tag, pattern, first in (("bool", r"true|false", "tf"), ("int", r"[-+]?[0-9]+", "-+0123456789"), ("null", r"~|null|", ["~", "n", ""])):
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))


def load(text):
    return yaml.load(text, Loader=Core)


def main(schema_path, golden):
    schema = json.loads(pathlib.Path(schema_path).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    failures, refused = [], set()
    good = bad = 0
    for path in sorted(pathlib.Path(golden).glob("*.yaml")):
        if not path.stem.startswith("good_"):
            bad += 1
            if path.stem in BEYOND:
                continue
            try:
                if validator.is_valid(load(path.read_bytes())):
                    failures.append(f"{path.name}: is bad, and the schema takes it")
            except yaml.YAMLError as e:
                failures.append(f"{path.name}: {e}")
            continue
        texts = [path.read_text()]
        if path.stem == "good_default":  # with every setting on, as its head says
            texts.append(re.sub(r"^#(?=  )", "", texts[0], flags=re.M))
        for text in texts:
            good += 1
            failures += [f"{path.name}: {'.'.join(map(str, e.path))}: {e.message[:200]}" for e in validator.iter_errors(load(text))]
    if good < 5 or bad < 50:
        failures.append(f"only {good} good and {bad} bad files")
    print("\n".join(failures))
    return 1 if failures else 0


sys.exit(main(*sys.argv[1:]))
