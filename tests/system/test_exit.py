# SPDX-License-Identifier: BSD-2-Clause
"""on_client_exit: what becomes of streams whose client is killed, and how its next life gets them back."""
import array
import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import termios
import threading

import pytest
from daemon import connect_flow, listen_flow
from helpers import attached, cat, finished, random_file, receive_all, send_file, sha256, until
from lab import ADDRESS
from test_death import reset_of

SMALL = {"send_buffer": "64KiB", "receive_buffer": "64KiB"}


def held(flow, hold_for="30s"):
    return {**flow, "on_client_exit": "hold", "hold_for": hold_for}


class Exchange:
    """The example resuming_exchange: one life after another of a program, with the same files."""

    def __init__(self, daemon, build, folder, flow, megabytes, name="x"):
        self.daemon, self.program = daemon, os.path.join(build, "client", "resuming-exchange-c")
        self.sent = random_file(folder / f"big-out-{name}", megabytes, 7)
        self.received = folder / f"big-in-{name}"
        self.arguments = [flow, folder / f"tokens-{name}", self.sent, self.received]

    def start(self):
        return self.daemon.client([self.program, *self.arguments], stderr=subprocess.PIPE)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()


def counted(daemon, name):
    return daemon.metrics().sum(f"netchan_worker_{name}_total")


def moved(daemon):
    return counted(daemon, "octets_gathered") + counted(daemon, "octets_placed")


def unacknowledged(sock):
    """What the kernel has of ours that the other side has not acknowledged (SIOCOUTQ)."""
    count = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, count)
    return count[0]


@pytest.mark.parametrize("way", ["listen", "connect"])
def test_a_client_that_is_killed_again_and_again_loses_and_repeats_nothing(netchand, build, folder, lab, way):
    rounds, megabytes = 5, 12
    flow = held(listen_flow("orders", 9000, **SMALL) if way == "listen" else connect_flow("orders", 7000, **SMALL))
    daemon = netchand([flow])
    peer_sends = random_file(folder / "big-peer", megabytes, 8)
    exchange = Exchange(daemon, build, folder, "orders", megabytes)
    if way == "listen":
        client = exchange.start()
        sock = attached(daemon, 9000)
    else:
        with lab.listen("b", (ADDRESS["b"], 7000)) as server:
            client = exchange.start()
            sock, _ = server.accept()
    sock.settimeout(30)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)

    # The peer takes a step for each life and then nothing, so that the client dies with both windows closed: octets in its send
    # log that are not acknowledged, octets in its receive log that are not consumed.
    progress = [0, 0]
    allowed = threading.Semaphore(0)
    stopped = threading.Semaphore(0)
    step = (megabytes << 20) // (rounds + 1)
    answer = []

    def send():
        with open(peer_sends, "rb") as f:
            while block := f.read(1 << 16):
                sock.sendall(block)
                progress[0] += len(block)
        sock.shutdown(socket.SHUT_WR)

    def receive():
        digest = hashlib.sha256()
        while block := sock.recv(1 << 16):
            if progress[1] // step != (progress[1] + len(block)) // step:
                stopped.release()
                allowed.acquire(timeout=30)
            digest.update(block)
            progress[1] += len(block)
        answer.append(digest.hexdigest())
    threads = [threading.Thread(target=send), threading.Thread(target=receive)]
    for thread in threads:
        thread.start()
    for n in range(rounds):
        assert (b"resumed" if n else b"begins") in client.stderr.readline()
        if n:
            allowed.release()
        assert stopped.acquire(timeout=30), f"life {n} sends nothing"
        until(lambda: moved(daemon) == moved(daemon), pause=0.05)  # until the windows are closed
        kill(client)
        client = exchange.start()
    assert b"resumed" in client.stderr.readline()
    allowed.release(rounds)
    for thread in threads:
        thread.join()
    finished(client)
    sock.close()
    assert answer == [sha256(exchange.sent)]
    assert sha256(exchange.received) == sha256(peer_sends)
    assert counted(daemon, "streams_resumed") == rounds
    until(lambda: daemon.metrics().sum("netchan_worker_connections") == 0, words="the connection was not freed")


def test_what_comes_while_nobody_is_there_waits_and_the_window_is_not_more_than_it_was(netchand, build, folder):
    daemon = netchand([held(listen_flow("orders", 9000, **SMALL))])
    exchange = Exchange(daemon, build, folder, "orders", 1)
    client = exchange.start()
    sock = attached(daemon, 9000)
    sock.sendall(b"x")
    until(lambda: os.path.exists(exchange.received) and os.path.getsize(exchange.received) == 1)
    kill(client)
    until(lambda: counted(daemon, "streams_held") == 1)
    before = daemon.metrics().sum("netchan_worker_octets_placed_total")
    sent = random_file(folder / "big-peer", 1)
    thread = threading.Thread(target=send_file, args=(sock, sent))
    thread.start()
    # Nothing is taken beyond the log, and nothing that is not there is acknowledged.
    until(lambda: daemon.metrics().sum("netchan_worker_octets_placed_total") - before >= 60 << 10, words="nothing is taken for it")
    assert daemon.metrics().sum("netchan_worker_octets_placed_total") - before <= 64 << 10
    assert unacknowledged(sock) > 0
    client = exchange.start()
    digest, size = receive_all(sock)
    thread.join()
    finished(client)
    assert (digest, size) == (sha256(exchange.sent), 1 << 20)
    with open(exchange.received, "rb") as f, open(sent, "rb") as s:
        assert f.read() == b"x" + s.read()


def test_a_stream_that_nobody_takes_over_is_reset_when_its_time_is_over(netchand, build, folder):
    daemon = netchand([held(listen_flow("orders", 9000), "1s")])
    exchange = Exchange(daemon, build, folder, "orders", 1)
    client = exchange.start()
    sock = attached(daemon, 9000)
    assert sock.recv(1)
    kill(client)
    assert reset_of(sock)
    assert counted(daemon, "holds_expired") == 1
    # Its token has served; the next life begins anew.
    client = exchange.start()
    sock = attached(daemon, 9000)
    sock.shutdown(socket.SHUT_WR)
    assert receive_all(sock)[0] == sha256(exchange.sent)
    assert "begins" in client.communicate(timeout=20)[1].decode() and client.returncode == 0


def test_held_streams_that_end_meanwhile_are_told_to_the_next_life(netchand, build, folder):
    """The peer sends, finishes and takes the client's end while the client is dead: the octets and both ends are still there."""
    daemon = netchand([held(listen_flow("orders", 9000))])
    exchange = Exchange(daemon, build, folder, "orders", 1)
    client = exchange.start()
    sock = attached(daemon, 9000)
    digest, _ = receive_all_of(sock, 1 << 20)
    client.send_signal(signal.SIGSTOP)
    sock.sendall(b"the last words")
    sock.shutdown(socket.SHUT_WR)
    until(lambda: unacknowledged(sock) == 0)
    kill(client)
    until(lambda: counted(daemon, "streams_held") == 1)
    client = exchange.start()
    finished(client)
    assert sock.recv(1) == b""
    assert digest == sha256(exchange.sent)
    with open(exchange.received, "rb") as f:
        assert f.read() == b"the last words"


def receive_all_of(sock, size):
    digest, got = hashlib.sha256(), 0
    while got < size:
        block = sock.recv(size - got)
        assert block
        digest.update(block)
        got += len(block)
    return digest.hexdigest(), got


def sleeping_with_nothing_to_read(process, pipe):
    """netchan-cat has committed whatever was written to its stdin."""
    left = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, left)
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as f:
        return left[0] == 0 and f.read().rsplit(")", 1)[1].split()[0] == "S"


def test_fin_sends_what_was_committed_and_then_the_end(netchand, build):
    daemon = netchand([{**listen_flow("orders", 9000), "on_client_exit": "fin"}])
    client = cat(daemon, build, "orders", source=subprocess.PIPE)
    socks = []

    def connects():
        sock = daemon.lab.socket("b")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # the peer takes little, so most is still to be sent
        sock.settimeout(20)
        try:
            sock.connect((ADDRESS["a"], 9000))
            socks.append(sock)
            return True
        except ConnectionRefusedError:
            return False
    until(connects)
    sock = socks[0]
    octets = bytes(range(256)) * 240
    client.stdin.write(octets)
    client.stdin.flush()
    until(lambda: sleeping_with_nothing_to_read(client, client.stdin))
    client.send_signal(signal.SIGKILL)
    client.wait()
    received = b""
    while block := sock.recv(1 << 16):
        received += block
    assert received == octets


def test_fin_is_a_reset_when_octets_were_not_read(netchand, build):
    daemon = netchand([{**listen_flow("orders", 9000), "on_client_exit": "fin"}])
    client = cat(daemon, build, "orders", source=subprocess.PIPE)
    sock = attached(daemon, 9000)
    client.send_signal(signal.SIGSTOP)
    sock.sendall(b"nobody reads this")
    until(lambda: unacknowledged(sock) == 0)
    client.send_signal(signal.SIGKILL)
    client.wait()
    assert reset_of(sock)


@pytest.mark.lab(queues=2)
def test_streams_of_both_workers_are_given_back(netchand, build, folder, lab):
    """Dials go to the workers in turn, so each holds half of the streams; their frames come by either queue."""
    count, size = 6, 1 << 20
    daemon = netchand([held(connect_flow("orders", 7000, **SMALL))], cores=(0, 1))
    command = [os.path.join(build, "tests", "system", "many_client"), "orders", folder / "token", count, "echo"]
    sent = [random_file(folder / f"big-{n}", size >> 20, n + 1) for n in range(count)]
    with lab.listen("b", (ADDRESS["b"], 7000)) as server:
        client = daemon.client(command, stderr=subprocess.PIPE)
        socks = [server.accept()[0] for _ in range(count)]
    digests = [hashlib.sha256() for _ in socks]
    senders = [threading.Thread(target=send_file, args=(sock, path)) for sock, path in zip(socks, sent)]
    for sock in socks:
        sock.settimeout(30)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
    for sender in senders:
        sender.start()
    for sock, digest in zip(socks, digests):
        digest.update(sock.recv(size // 8, socket.MSG_WAITALL))
    assert b"begins" in client.stderr.readline()
    kill(client)
    per_worker = {"0": count // 2, "1": count // 2}

    def by_worker(name):
        return {labels["worker"]: value for labels, value in daemon.metrics().rows(f"netchan_worker_{name}_total")}
    until(lambda: by_worker("streams_held") == per_worker, words="not every worker holds its streams")
    client = daemon.client(command, stderr=subprocess.PIPE)
    for sock, digest in zip(socks, digests):
        while block := sock.recv(1 << 18):
            digest.update(block)
        sock.close()
    for sender in senders:
        sender.join()
    finished(client)
    assert [d.hexdigest() for d in digests] == [sha256(path) for path in sent]
    assert by_worker("streams_resumed") == per_worker
