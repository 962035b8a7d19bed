# SPDX-License-Identifier: BSD-2-Clause
"""Many connections at once."""
import os
import selectors
import subprocess

import pytest
from daemon import listen_flow
from helpers import attached
from lab import ADDRESS

CONNECTIONS = 300
OCTETS = 20000


@pytest.mark.lab(queues=2)
def test_300_connections_at_once_each_get_their_own_octets_back(netchand, build, lab):
    daemon = netchand([listen_flow("echo", 9000, send_buffer="32KiB", receive_buffer="32KiB")], cores=(0, 1))
    echo = daemon.client([os.path.join(build, "tests", "bench", "netchan_peer"), "echo", "echo", "--count", CONNECTIONS + 1],
                         stderr=subprocess.PIPE)
    attached(daemon, 9000).close()  # one more, to see that it accepts
    socks = [lab.connect("b", (ADDRESS["a"], 9000)) for _ in range(CONNECTIONS)]  # all are open from here to the end
    selector = selectors.DefaultSelector()
    wanted, sent, got = {}, {}, {}
    for n, sock in enumerate(socks):
        sock.setblocking(False)
        wanted[sock] = b"".join(b"%5d:%7d." % (n, i) for i in range(OCTETS // 14))
        sent[sock], got[sock] = 0, bytearray()
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
    while selector.get_map():
        ready = selector.select(20)
        assert ready, f"nothing moves; complete: {sum(len(got[s]) == len(wanted[s]) for s in socks)} of {CONNECTIONS}"
        for key, mask in ready:
            sock = key.fileobj
            if mask & selectors.EVENT_READ:
                block = sock.recv(65536)
                assert block, "the stream ended early"
                got[sock] += block
                if len(got[sock]) >= len(wanted[sock]):
                    selector.unregister(sock)
                    continue
            if mask & selectors.EVENT_WRITE:
                sent[sock] += sock.send(wanted[sock][sent[sock]:sent[sock] + 4096])
                if sent[sock] == len(wanted[sock]):
                    selector.modify(sock, selectors.EVENT_READ)
    assert all(bytes(got[s]) == wanted[s] for s in socks)
    page = daemon.metrics()
    assert page.sum("netchan_worker_connections") >= CONNECTIONS  # all of them still open: they were so at once
    for sock in socks:
        sock.close()
    assert echo.wait(20) == 0  # it has seen the end of each


def test_connections_that_end_at_once_all_reach_the_client_and_end(netchand, build, lab):
    """The FIN is right behind the handshake's ACK, often in the same burst."""
    daemon = netchand([listen_flow("echo", 9000)])
    echo = daemon.client([os.path.join(build, "tests", "bench", "netchan_peer"), "echo", "echo", "--count", 201], stderr=subprocess.PIPE)
    attached(daemon, 9000).close()
    for _ in range(200):
        lab.connect("b", (ADDRESS["a"], 9000)).close()
    assert echo.wait(20) == 0
