# SPDX-License-Identifier: BSD-2-Clause
"""No allocation on the datapath: netchand runs with an allocator that aborts when a worker allocates (no_alloc.cpp)."""
import os
import threading

import pytest

from daemon import connect_flow, listen_flow
from helpers import attached, cat, finished, receive_all, until

pytestmark = pytest.mark.unsanitized


@pytest.fixture
def armed(netchand, build, folder, monkeypatch):
    """A daemon under the watching allocator, and a switch that arms it."""
    flags = folder / "no_alloc"
    flags.write_bytes(bytes(4096))
    monkeypatch.setenv("NETCHAN_NO_ALLOC", str(flags))
    monkeypatch.setenv("LD_PRELOAD", os.path.join(build, "tests", "system", "libno_alloc.so"))
    daemon = netchand([listen_flow("inbound", 9000), connect_flow("outbound", 7000)])
    monkeypatch.delenv("LD_PRELOAD")

    def switch(on):
        with open(flags, "r+b") as f:
            f.write(bytes([on]))
    yield daemon, switch
    assert flags.read_bytes()[1] == 0, "a worker allocated"


def test_a_stream_moves_both_ways_without_an_allocation_in_the_worker(armed, build, folder):
    daemon, arm = armed
    megabytes = 16
    (folder / "big").write_bytes(os.urandom(megabytes << 20))
    client = cat(daemon, build, "inbound", source=folder / "big", target=folder / "big_received")
    with attached(daemon, 9000) as sock:
        assert len(sock.recv(1)) == 1
        arm(1)
        reader = threading.Thread(target=receive_all, args=(sock,))
        reader.start()
        for _ in range(megabytes):
            sock.sendall(bytes(1 << 20))
        sock.shutdown(1)
        reader.join()
    finished(client)
    arm(0)
    assert (folder / "big_received").stat().st_size == megabytes << 20
    until(lambda: daemon.metrics().sum("netchan_worker_connections") == 0)


def test_the_watching_allocator_catches_a_worker_that_allocates(armed, build, folder):
    """The test above can fail: a worker that takes a new client in allocates, and that is seen."""
    daemon, arm = armed
    arm(1)
    client = cat(daemon, build, "inbound")
    until(lambda: daemon.process.poll() is not None)
    client.wait()
    flags = folder / "no_alloc"
    assert flags.read_bytes()[1] == 1
    flags.write_bytes(bytes(4096))
    daemon.process.wait()
