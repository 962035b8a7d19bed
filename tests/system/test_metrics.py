# SPDX-License-Identifier: BSD-2-Clause
"""What the daemon counts is what happened."""
import pytest
from daemon import listen_flow
from helpers import attached, cat, until
from test_handoff import ACK, PSH, Peer


@pytest.mark.lab(queues=4)
def test_each_dropped_packet_has_one_reason_and_the_reasons_add_up(netchand, build, lab):
    daemon = netchand([listen_flow("inbound", 9000)])
    client = cat(daemon, build, "inbound")
    attached(daemon, 9000).close()
    peer = Peer(lab, build, 9000)
    before = daemon.metrics()
    for _ in range(5):
        peer.send(0, ACK | PSH, b"stray")  # for no connection
    for _ in range(3):
        peer.send(1, ACK | PSH, b"wrong", spoil=0x5555)
    peer.send(2, ACK | PSH, b"header", offset=2)
    expected = {"no_connection": 5, "tcp_checksum": 3, "tcp_data_offset": 1}

    def counted():
        moved = daemon.metrics().since(before)
        return moved if moved.sum("netchan_worker_frames_in_total") >= 9 else None
    moved = until(counted, words="the frames have not arrived")
    assert {reason: moved.sum("netchan_drops_total", reason=reason) for reason in expected} == expected
    # The daemon counts the whole on its own, beside the reasons.
    page = daemon.metrics()
    assert page.has("netchan_drops_sum_total")
    assert page.sum("netchan_drops_total", where="worker") == page.sum("netchan_drops_sum_total")
    client.kill()
