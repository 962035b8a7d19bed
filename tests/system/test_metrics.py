# SPDX-License-Identifier: BSD-2-Clause
"""What the daemon counts is what happened."""
import pytest
from daemon import listen_flow
from helpers import attached, cat, finished, until
from test_handoff import ACK, PSH, Peer


@pytest.mark.lab(queues=4)
def test_each_dropped_packet_has_one_reason_and_the_reasons_add_up(netchand, build, lab):
    daemon = netchand([listen_flow("inbound", 9000)])
    client = cat(daemon, build, "inbound")
    with attached(daemon, 9000) as sock:
        sock.shutdown(1)
        finished(client)
    until(lambda: daemon.metrics().sum("netchan_worker_connections") == 0)
    peer = Peer(lab, build, 9000)
    before = daemon.metrics()
    for _ in range(5):
        peer.send(0, ACK | PSH, b"stray")  # for no connection
    for _ in range(3):
        peer.send(1, ACK | PSH, b"wrong", spoil=0x5555)
    peer.send(2, ACK | PSH, b"header", offset=2)
    expected = {"no_connection": 5, "tcp_checksum": 3, "tcp_data_offset": 1}
    bad = sum(expected.values())
    until(lambda: daemon.metrics().since(before).sum("netchan_drops_sum_total") >= bad, words="the frames were not counted")
    moved = daemon.metrics().since(before)
    assert {reason: moved.sum("netchan_drops_total", reason=reason) for reason in expected} == expected
    # Three countings of one thing: what this test has sent, the reasons (the XDP program's too), and the daemon's own whole.
    assert moved.sum("netchan_drops_total") == bad
    assert moved.sum("netchan_drops_sum_total") == bad
