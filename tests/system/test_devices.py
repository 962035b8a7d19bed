# SPDX-License-Identifier: BSD-2-Clause
"""Devices that come and go: absent at start, deleted and made again, with more queues than before. What stood on a device that
goes ends with an error; whatever comes after it works, and nothing is left behind."""
import collections
import contextlib
import hashlib
import os
import re
import subprocess
import threading

import pytest
from daemon import DaemonDied, connect_flow, listen_flow
from helpers import BothWays, attached, cat, finished, occupy, random_file, receive_all, send_file, sha256, until, xdp_program
from lab import ADDRESS, INTERFACE

QUEUES = 4


def delete(lab):
    lab.run("a", ["ip", "link", "del", INTERFACE["a"]])


def make(lab, address=True):
    """The lab's pair again, as tools/lab makes it."""
    a, b = (f"nc-{lab.id}-{side}" for side in "ab")
    subprocess.run(["ip", "link", "add", INTERFACE["a"], "netns", a, "numrxqueues", str(QUEUES), "numtxqueues", str(QUEUES), "type", "veth",
                    "peer", "name", INTERFACE["b"], "netns", b, "numrxqueues", str(QUEUES), "numtxqueues", str(QUEUES)], check=True)
    for side in "ab":
        if address:
            lab.run(side, ["ip", "address", "add", ADDRESS[side] + "/24", "dev", INTERFACE[side]])
        lab.run(side, ["ip", "link", "set", INTERFACE[side], "up"])


def programs(daemon):
    """BPF programs that the daemon holds."""
    held = set()
    for fd in os.listdir(f"/proc/{daemon.process.pid}/fdinfo"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{daemon.process.pid}/fdinfo/{fd}", encoding="utf-8") as f:
            held |= {line.split()[1] for line in f if line.startswith("prog_id:")}
    return held


def descriptors(daemon):
    """How many of each kind the daemon has."""
    kinds = collections.Counter()
    for fd in os.listdir(f"/proc/{daemon.process.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            kinds[re.sub(r"[0-9]+", "N", os.readlink(f"/proc/{daemon.process.pid}/fd/{fd}"))] += 1
    return kinds


def conserved(daemon):
    """Every chunk is somewhere: the gauges add up. They are read one after the other, so a moving one may be met twice."""
    def look():
        page = daemon.metrics()
        return page.sum("netchan_chunks") == page.sum("netchan_memory_chunks")
    until(look, words="chunks are missing")


def exchange(daemon, build, folder, lab, flow_port=9000):
    """A file each way over a connection of the listen flow `inbound` and one of the connect flow `outbound`."""
    transfer = BothWays(daemon, build, folder, lab, megabytes=2)
    transfer.finish()
    theirs, received = transfer.theirs, transfer.received
    client = cat(daemon, build, "inbound", target=received)
    with attached(daemon, flow_port) as sock:
        send_file(sock, theirs)
        receive_all(sock)
    finished(client)
    assert sha256(received) == sha256(theirs)


@pytest.mark.lab(queues=QUEUES)
def test_a_device_that_is_deleted_and_made_again_serves_again_and_leaves_nothing_behind(netchand, build, folder, lab):
    daemon = netchand([listen_flow("inbound", 9000), connect_flow("outbound", 7000)], cores=(0, 1))
    fds = descriptors(daemon)  # no client yet
    exchange(daemon, build, folder, lab)
    for _ in range(3):
        client = cat(daemon, build, "inbound", source="/dev/zero")
        with attached(daemon, 9000) as sock:
            sock.recv(1 << 16)
            delete(lab)
            _, words = client.communicate(timeout=10)  # at once, and not by a timer: the address does not answer any more
            assert client.returncode != 0 and b"cannot be reached" in words, words
        until(lambda: daemon.metrics().sum("netchan_worker_connections") == 0)
        conserved(daemon)
        assert not programs(daemon)
        make(lab)
        until(lambda: xdp_program(lab) is not None, words="the program is not back")
        exchange(daemon, build, folder, lab)
        conserved(daemon)
    assert len(programs(daemon)) == 1
    until(lambda: not descriptors(daemon) - fds, words="descriptors are left behind")  # the last client's go after it
    assert len(list(daemon.metrics().rows("netchan_port_mode"))) == QUEUES
    assert daemon.stop() == 0
    assert xdp_program(lab) is None


@pytest.mark.lab(queues=QUEUES)
def test_a_device_that_is_not_there_at_start_is_waited_for(netchand, build, folder, lab):
    delete(lab)
    daemon = netchand([{**listen_flow("inbound", 9000), "interface": INTERFACE["a"]}, connect_flow("outbound", 7000)])
    assert "there is no such device; waiting for it" in daemon.log_text()
    make(lab)
    exchange(daemon, build, folder, lab)
    conserved(daemon)
    until(lambda: "the device is there" in daemon.log_text())


@pytest.mark.lab(queues=QUEUES)
def test_a_hook_that_is_taken_when_the_device_comes_back_is_said_and_waited_for(netchand, build, folder, lab):
    daemon = netchand([listen_flow("inbound", 9000), connect_flow("outbound", 7000)])
    delete(lab)
    until(lambda: "the device is gone" in daemon.log_text())
    daemon.process.send_signal(19)  # SIGSTOP: the other program shall be first
    make(lab)
    occupy(lab, build)
    daemon.process.send_signal(18)
    until(lambda: "the XDP hook is held by program" in daemon.log_text(), words="not a word")
    with pytest.raises(DaemonDied):
        netchand([listen_flow("inbound", 9001)], metrics={"listen": "127.0.0.1:9470"})
    lab.run("a", ["ip", "link", "set", "dev", INTERFACE["a"], "xdp", "off"])
    exchange(daemon, build, folder, lab)
    assert daemon.log_text().count("the XDP hook is held by program") == 1  # said once


@pytest.mark.lab(queues=QUEUES)
def test_queues_that_are_added_in_the_middle_of_a_transfer_get_sockets_and_lose_nothing(netchand, build, folder, lab):
    def queues(n):
        return lab.run("a", ["ethtool", "-L", INTERFACE["a"], "rx", n, "tx", n], check=False)
    assert queues(1).returncode == 0
    lab.run("b", ["ethtool", "-L", INTERFACE["b"], "rx", 1, "tx", 1])
    daemon = netchand([listen_flow("inbound", 9000)], cores=(0, 1))
    assert len(list(daemon.metrics().rows("netchan_port_mode"))) == 1
    ours_, theirs, received = random_file(folder / "big-ours", 24, 1), random_file(folder / "big-theirs", 24, 2), folder / "big-received"
    octets = theirs.read_bytes()
    parts = [octets[n::3] for n in range(3)]
    client = cat(daemon, build, "inbound", source=ours_, target=received)
    with attached(daemon, 9000) as sock:
        sock.settimeout(40)
        taken = []
        taker = threading.Thread(target=lambda: taken.append(receive_all(sock)))
        taker.start()
        for part, n in zip(parts, (2, 4, None)):  # a part is under way while queues come, and one more when they are there
            sender = threading.Thread(target=sock.sendall, args=(part,))
            sender.start()
            if n:
                assert queues(n).returncode == 0
                until(lambda: len(list(daemon.metrics().rows("netchan_port_mode"))) == n, words="a queue without a socket")
            else:
                lab.run("b", ["ethtool", "-L", INTERFACE["b"], "rx", QUEUES, "tx", QUEUES])  # and frames arrive on all of them
                others = [lab.connect("b", (ADDRESS["a"], 9000)) for _ in range(40)]  # refused by the kernel where no program runs
                assert all(n > 0 for _, n in daemon.metrics().rows("netchan_port_rx_frames_total"))
                for other in others:
                    other.close()
                assert queues(1).returncode != 0  # the kernel keeps queues that have sockets
            sender.join()
        sock.shutdown(1)
        taker.join()
        finished(client)
    assert taken == [(sha256(ours_), os.path.getsize(ours_))]
    assert sha256(received) == hashlib.sha256(b"".join(parts)).hexdigest()
    conserved(daemon)
