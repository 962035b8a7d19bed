# SPDX-License-Identifier: BSD-2-Clause
"""The link goes down in the middle of a transfer and comes back."""
import hashlib
import threading
import time

import pytest
from daemon import connect_flow, listen_flow
from helpers import attached, cat, finished, random_file, sha256
from lab import ADDRESS, INTERFACE

MEGABYTES = 64  # far more than both ends' buffers: neither direction is through when the link goes
FIRST = 1 << 20


@pytest.mark.parametrize("side", ["a", "b"])
def test_files_arrive_whole_both_ways_over_a_link_that_was_down_for_a_second(netchand, build, folder, lab, side):
    daemon = netchand([connect_flow("outbound", 7000)])
    ours, theirs, received = random_file(folder / "big-ours", MEGABYTES, 1), random_file(folder / "big-theirs", MEGABYTES, 2), folder / "big-received"
    with lab.listen("b", (ADDRESS["b"], 7000)) as server:
        client = cat(daemon, build, "outbound", source=ours, target=received)
        sock, _ = server.accept()
    with sock:
        sock.settimeout(50)
        octets = theirs.read_bytes()
        digest = hashlib.sha256()

        def take(wanted):
            while wanted and (block := sock.recv(min(wanted, 1 << 18))):
                digest.update(block)
                wanted -= len(block)
            return wanted
        sock.sendall(octets[:FIRST])
        assert take(FIRST) == 0
        lab.run(side, ["ip", "link", "set", INTERFACE[side], "down"])

        def send_rest():
            sock.sendall(octets[FIRST:])
            sock.shutdown(1)
        sender = threading.Thread(target=send_rest)
        sender.start()
        time.sleep(1)
        lab.run(side, ["ip", "link", "set", INTERFACE[side], "up"])
        assert take((MEGABYTES << 20) - FIRST) == 0
        sender.join()
        finished(client)
    assert digest.hexdigest() == sha256(ours)
    assert sha256(received) == sha256(theirs)
    assert daemon.metrics().sum("netchan_atcp_retransmits_total") > 0  # what was under way is lost


def test_a_flushed_neighbour_costs_no_segment(netchand, build, lab):
    """While the kernel asks again, the worker writes to the last known address: a flight is not thrown away."""
    daemon = netchand([listen_flow("inbound", 9000)])
    client = cat(daemon, build, "inbound", source="/dev/zero")
    with attached(daemon, 9000) as sock:
        def more(octets):
            while octets > 0:
                octets -= len(sock.recv(1 << 18))
        more(16 << 20)
        for _ in range(3):
            lab.run("a", ["ip", "neigh", "flush", "dev", "veth0"])
            more(16 << 20)
        assert daemon.metrics().sum("netchan_drops_total", reason="no_path") == 0
    client.kill()
    client.wait()
