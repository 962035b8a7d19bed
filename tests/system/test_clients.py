# SPDX-License-Identifier: BSD-2-Clause
"""The example clients at work, and what a client that does nothing any more does to the others: nothing."""
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from daemon import listen_flow
from helpers import attached, cat, finished, random_file, receive_all, send_file, sha256, until
from lab import ADDRESS

STREAMS = 60


def example(daemon, build, name, *arguments):
    return daemon.client([os.path.join(build, "client", name), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("name", ["echo-server-c", "echo-server-cpp"])
def test_the_echo_servers_send_back_what_their_peers_send(netchand, build, folder, lab, name):
    daemon = netchand([listen_flow("echo", 9000)])
    server = example(daemon, build, name, "echo")
    socks = [attached(daemon, 9000)] + [lab.connect("b", (ADDRESS["a"], 9000)) for _ in range(2)]
    files = [random_file(folder / f"big-{n}", 8, n) for n in range(3)]
    senders = [threading.Thread(target=send_file, args=pair) for pair in zip(socks, files)]
    answers = [None] * 3

    def answer(n):
        answers[n] = receive_all(socks[n])
    receivers = [threading.Thread(target=answer, args=(n,)) for n in range(3)]
    for thread in senders + receivers:
        thread.start()
    for thread in senders + receivers:
        thread.join()
    assert answers == [(sha256(file), 8 << 20) for file in files]
    for sock in socks:
        sock.close()
    assert server.poll() is None  # it serves on


@pytest.mark.parametrize("name", ["file-receiver-c", "file-receiver-cpp"])
def test_the_file_receivers_write_what_their_peer_sends(netchand, build, folder, name):
    daemon = netchand([listen_flow("inbound", 9000)])
    sent, received = random_file(folder / "big-sent", 16), folder / "big-received"
    client = example(daemon, build, name, "inbound", received)
    with attached(daemon, 9000) as sock:
        send_file(sock, sent)
        assert sock.recv(1) == b""
    finished(client)
    assert sha256(received) == sha256(sent)


def test_a_frozen_client_neither_keeps_the_worker_busy_nor_holds_another_up(netchand, build, folder, lab):
    """Peers of the frozen one send until their windows stop them. From then on there is nothing to do for the worker."""
    daemon = netchand([listen_flow("echo", 9000, send_buffer="32KiB", receive_buffer="32KiB"), listen_flow("inbound", 9001)])
    frozen = example(daemon, build, "echo-server-c", "echo")
    socks = [attached(daemon, 9000)] + [lab.connect("b", (ADDRESS["a"], 9000)) for _ in range(STREAMS - 1)]
    for sock in socks:
        sock.sendall(b"?")
        assert sock.recv(1) == b"?"
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
    other = cat(daemon, build, "inbound", target=folder / "big-received")
    with attached(daemon, 9001) as sock:
        frozen.send_signal(signal.SIGSTOP)

        def pushed(size):
            octets = 0
            for peer in socks:
                try:
                    octets += peer.send(bytes(size))
                except BlockingIOError:
                    pass
            return octets
        for _ in range(200):  # a piece of news each: more than its ring holds
            pushed(16)
        quiet = 0  # windows and the peers' own buffers are full when a while of trying moves nothing

        def stopped():
            nonlocal quiet
            quiet = 0 if pushed(1 << 16) else quiet + 1
            return quiet >= 20
        until(stopped, patience=20, words="the peers were never stopped")

        before = daemon.metrics()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            pushed(1 << 16)
            time.sleep(0.05)
        assert daemon.metrics().since(before).sum("netchan_worker_cpu_seconds_total") < 0.3

        sent = random_file(folder / "big-sent", 8)
        send_file(sock, sent)
        assert sock.recv(1) == b""
    finished(other)
    assert sha256(folder / "big-received") == sha256(sent)
    for sock in socks:
        sock.close()
    frozen.send_signal(signal.SIGCONT)  # and it goes on where it was
    with attached(daemon, 9000) as sock:
        sock.sendall(b"!")
        assert sock.recv(1) == b"!"
