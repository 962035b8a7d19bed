# SPDX-License-Identifier: BSD-2-Clause
"""What the daemon counts is what happened."""
import socket
import struct

import pytest
from daemon import listen_flow
from helpers import attached, cat, until
from lab import ADDRESS
from test_handoff import ACK, PSH, Peer, checksum


@pytest.mark.lab(queues=4)
def test_each_dropped_packet_has_one_reason_and_the_reasons_add_up(netchand, build, lab):
    daemon = netchand([listen_flow("inbound", 9000)])
    client = cat(daemon, build, "inbound")
    attached(daemon, 9000).close()
    peer = Peer(lab, build, 9000)
    before = daemon.metrics()
    # Segments for no connection, with a wrong checksum, and with an impossible data offset.
    for _ in range(5):
        peer.send(0, ACK | PSH, b"stray")
    good = peer.ethernet
    frames = []
    source, target = socket.inet_aton("10.77.0.99"), socket.inet_aton(ADDRESS["a"])
    for tcp in (struct.pack("!HHIIBBHHH", 5555, 9000, 1, 1, 5 << 4, ACK, 100, 0x1234, 0), struct.pack("!HHIIBBHHH", 5555, 9000, 1, 1, 2 << 4, ACK, 100, 0, 0)):
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0x4000, 64, 6, 0, source, target)
        frames.append(good + ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + tcp)
    for frame in frames:
        peer.senders[1].stdin.write(frame.hex().encode() + b"\n")
        peer.senders[1].stdin.flush()
        assert peer.senders[1].stdout.read(1) == b"."

    def dropped():
        moved = daemon.metrics().since(before)
        return moved if moved.sum("netchan_drops_total", reason="tcp_data_offset") else None
    moved = until(dropped, words="the bad frames are not counted")
    assert moved.sum("netchan_drops_total", reason="no_connection") == 5
    assert moved.sum("netchan_drops_total", reason="tcp_checksum") == 1
    assert moved.sum("netchan_drops_total", reason="tcp_data_offset") == 1
    # The daemon counts the total on its own, beside the reasons.
    page = daemon.metrics()
    assert page.has("netchan_drops_sum_total")
    assert page.sum("netchan_drops_total", where="worker") == page.sum("netchan_drops_sum_total")
    client.kill()
