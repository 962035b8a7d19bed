# SPDX-License-Identifier: BSD-2-Clause
"""The ceiling: AF_XDP frames without any protocol (raw_xdp.cpp), on a veth of its own."""
import json
import subprocess

from measure import Failed, program

SIZES = (64, 1514)


def raw_rate(build, size, seconds):
    run = subprocess.run([program(build, "raw_xdp"), "--size", str(size), "--seconds", str(seconds)], capture_output=True, text=True,
                         timeout=seconds + 30, check=False)
    if run.returncode:
        raise Failed(f"raw_xdp: {run.stderr.strip()}")
    return json.loads(run.stdout)
