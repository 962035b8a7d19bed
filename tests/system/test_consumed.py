# SPDX-License-Identifier: BSD-2-Clause
"""`acknowledge: consumed`, promise 2: what a kernel sender counts as acknowledged, the application has taken. The client says in a
shared mapping what it takes before it consumes it, and it, or the daemon, is killed -9 at any moment."""
import mmap
import os
import random
import signal
import socket
import struct
import threading
import time

import pytest
from daemon import listen_flow
from helpers import attached, until

KILLS = 30
BYTES_ACKED = 120  # tcpi_bytes_acked in struct tcp_info (linux/tcp.h); the SYN counts


def acknowledged(sock):
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return struct.unpack_from("=Q", info, BYTES_ACKED)[0] - 1


class Ledger:
    """What the client has taken, as it says itself."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(8))
        with open(path, "r+b") as f:
            self.page = mmap.mmap(f.fileno(), 8)

    def taken(self):
        return struct.unpack_from("=Q", self.page)[0]


def send_endlessly(sock, seed):
    """Until the connection ends."""
    chance = random.Random(seed)
    try:
        while True:
            sock.sendall(bytes(chance.randrange(1, 1 << chance.randrange(1, 17))))
    except OSError:
        pass


def kills(daemon, build, folder, number, whose="client"):
    """A list for each kill: (acknowledged, taken) time and again before it, and at the end. With whose="daemon" the daemon dies first, and
    the client at once after it, so that it takes next to nothing of what the daemon left to it."""
    for seed in range(number):
        chance = random.Random(seed)
        ledger = Ledger(folder / f"taken-{seed}")
        client = daemon.client([os.path.join(build, "tests", "system", "consumed_client"), "inbound", ledger.path, seed])
        with attached(daemon, 9000) as sock:
            assert acknowledged(sock) == 0
            sender = threading.Thread(target=send_endlessly, args=(sock, seed))
            sender.start()
            until(lambda: ledger.taken() > 0, words="the client takes nothing")
            moment, seen = time.monotonic() + chance.random() * 0.1, []
            while time.monotonic() < moment:
                first = acknowledged(sock)
                seen.append((first, ledger.taken()))  # in this order: it only grows
            if whose == "daemon":
                daemon.process.send_signal(signal.SIGKILL)
            client.send_signal(signal.SIGKILL)
            client.wait()
            sender.join(20)
            assert not sender.is_alive(), "the peer was not told"
            yield seen + [(acknowledged(sock), ledger.taken())]
        if whose == "daemon":
            daemon.kill()
            daemon.start()


@pytest.mark.parametrize("whose, number", [("client", KILLS), ("daemon", 10)], ids=["client", "daemon"])
def test_when_one_is_killed_the_client_had_all_that_was_acknowledged(netchand, build, folder, whose, number):
    daemon = netchand([listen_flow("inbound", 9000, acknowledge="consumed")])
    total = 0
    for seed, pairs in enumerate(kills(daemon, build, folder, number, whose)):
        for sender_knows, taken in pairs:
            assert sender_knows <= taken, f"kill {seed}"
        total += pairs[-1][0]
    assert total > 1 << 20  # and it did work


@pytest.mark.parametrize("whose", ["client", "daemon"])
def test_with_received_the_same_kills_show_octets_that_nobody_took(netchand, build, folder, whose):
    daemon = netchand([listen_flow("inbound", 9000)])
    assert any(kill[-1][0] > kill[-1][1] for kill in kills(daemon, build, folder, 5, whose))


@pytest.mark.parametrize("stall", ["acknowledge", "reset"])
def test_a_client_that_stops_reading_stalls_as_the_flow_says(netchand, build, folder, stall):
    daemon = netchand([listen_flow("inbound", 9000, acknowledge="consumed", stall=stall, stall_after="1s")])
    ledger = Ledger(folder / "taken")
    client = daemon.client([os.path.join(build, "tests", "system", "consumed_client"), "inbound", ledger.path, 1])
    with attached(daemon, 9000) as sock:
        sock.sendall(b"x")
        until(lambda: acknowledged(sock) == 1)
        client.send_signal(signal.SIGSTOP)
        sock.sendall(bytes(1000))
        if stall == "acknowledge":
            until(lambda: acknowledged(sock) == 1001, words="the stall was not seen")
            assert ledger.taken() == 1
        else:
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
            assert acknowledged(sock) == 1
        client.send_signal(signal.SIGCONT)
        if stall == "acknowledge":
            until(lambda: ledger.taken() == 1001)
            assert daemon.metrics().sum("netchan_atcp_unread_duplicates_total") > 0
    client.kill()
    client.wait()
