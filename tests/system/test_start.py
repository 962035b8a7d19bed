# SPDX-License-Identifier: BSD-2-Clause
"""Start and stop: files that are wrong, a hook that is taken, what is said and what is left."""
import os
import re
import subprocess

import pytest
from daemon import DaemonDied, connect_flow, listen_flow
from helpers import attached, cat, finished, occupy, xdp_program

WRONG = """\
version: 1
interfaces:
  - { name: veth0, mod: copy }
flows:
  - name: inbound
    tcp: { listen: "10.77.0.1:99000" }
  - name: inbound
    tcp: { listen: "10.77.0.1:9000", lisen: x }
"""


@pytest.mark.quick
def test_all_errors_of_a_wrong_file_come_at_once_with_their_places(netchand):
    daemon = netchand(run=False, text=WRONG)
    for run in (daemon.check, lambda: subprocess.run([daemon.program, "--config", daemon.config], capture_output=True, text=True, timeout=10,
                                                     check=False)):
        result = run()
        words = result.stdout + result.stderr
        assert result.returncode not in (0, -6, -11), words
        places = set(re.findall(re.escape(daemon.config) + r":(\d+):\d+:", words))
        assert {"3", "6", "8"} <= places, words
        assert "^" in words and "mode" in words and "listen" in words  # the caret and the nearest known keys


def test_a_file_that_is_not_there_is_said_so(netchand):
    daemon = netchand(run=False, text="")
    result = subprocess.run([daemon.program, "--config", daemon.config + ".none"], capture_output=True, text=True, timeout=10, check=False)
    assert result.returncode not in (0, -6, -11)
    assert ".none" in result.stdout + result.stderr


def test_check_prints_the_memory_arithmetic(netchand):
    daemon = netchand([listen_flow("inbound", 9000)], run=False)
    result = daemon.check()
    assert result.returncode == 0, result.stderr
    assert "memory" in result.stdout.lower() and re.search(r"\d+ ?[KMG]iB", result.stdout), result.stdout


def test_the_default_file_passes_its_own_check(netchand, build):
    daemon = netchand(run=False, text="")
    text = subprocess.run([daemon.program, "--default-config"], capture_output=True, text=True, timeout=10, check=True).stdout
    assert len(text) > 500
    result = netchand(run=False, text=text).check()
    assert result.returncode == 0, result.stdout + result.stderr


def test_memory_that_cannot_fit_is_refused_with_the_arithmetic(netchand):
    daemon = netchand([listen_flow("inbound", 9000)], run=False, memory={"size": "1MiB", "per_client": "1GiB"})
    result = daemon.check()
    assert result.returncode not in (0, -6, -11), result.stdout


@pytest.mark.quick
def test_a_hook_that_is_taken_is_said_with_its_holder_and_left_alone(netchand, lab, build):
    occupy(lab, build)
    holder = xdp_program(lab)["prog"]
    with pytest.raises(DaemonDied) as died:
        netchand([listen_flow("inbound", 9000)])
    # By its number: a program's name may be asked for only with CAP_SYS_ADMIN, which netchand does not keep.
    assert f"program {holder['id']}" in str(died.value)
    assert xdp_program(lab)["prog"] == holder


def test_a_second_program_cannot_push_ours_off_the_hook(netchand, lab, build):
    daemon = netchand([listen_flow("inbound", 9000)])
    ours = xdp_program(lab)
    assert occupy(lab, build, check=False).returncode != 0
    assert xdp_program(lab) == ours
    client = cat(daemon, build, "inbound")
    with attached(daemon, 9000) as sock:
        sock.shutdown(1)
        finished(client)


@pytest.mark.quick
def test_sigterm_stops_cleanly_and_leaves_nothing_on_the_hook(netchand, lab):
    daemon = netchand([listen_flow("inbound", 9000), connect_flow("outbound", 7000)])
    assert xdp_program(lab)
    assert daemon.stop() == 0
    assert xdp_program(lab) is None
    assert "CHECK failed" not in daemon.log_text()
    daemon.start()  # and again at once: sockets, ports and the hook are free


@pytest.mark.lab(queues=4)
def test_every_queue_is_bound_and_its_effective_mode_shown(netchand, lab):
    daemon = netchand([listen_flow("inbound", 9000)], cores=(0, 1))
    for queue in range(4):
        assert re.search(rf"interface veth0 queue {queue}: copy mode \(native", daemon.log_text())
    modes = {labels["queue"]: labels["mode"] for labels, value in daemon.metrics().rows("netchan_port_mode", interface="veth0") if value}
    assert modes == {str(q): "copy" for q in range(4)}


def test_only_main_keeps_capabilities(netchand, lab):
    daemon = netchand([listen_flow("inbound", 9000)], cores=(0, 1))
    daemon.metrics()  # the exporter is at work
    task = f"/proc/{daemon.process.pid}/task"
    effective = {}
    for tid in os.listdir(task):
        with open(f"{task}/{tid}/status", encoding="utf-8") as f:
            status = dict(line.split(":", 1) for line in f)
        effective[int(tid), status["Name"].strip()] = [int(status[row], 16) for row in ("CapEff", "CapPrm", "CapInh", "CapAmb")]
    others = {thread: rows for thread, rows in effective.items() if thread[0] != daemon.process.pid}
    assert set(daemon.worker_threads().values()) <= {tid for tid, _ in others} and len(others) >= 3, effective  # two workers, exporter
    assert not any(any(rows) for rows in others.values()), others
