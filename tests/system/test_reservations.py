# SPDX-License-Identifier: BSD-2-Clause
"""Advertised windows are reservations within the quota of a client, as the kernel peer sees them."""
import errno
import json
import os
import resource
import selectors
import socket
import struct
import subprocess
import threading

import pytest
from daemon import connect_flow, listen_flow
from helpers import attached, cat, finished, until
from lab import ADDRESS, INTERFACE
from test_handoff import SYN, checksum

CONNECTIONS = 10000
QUOTA = 32 << 20
AT_ONCE = 500  # connecting; below the flow's backlog
OCTETS = 3000
SND_WND = 228  # of struct tcp_info: what the peer's last segment left open


def window(sock):
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SND_WND + 4)
    return int.from_bytes(info[SND_WND:SND_WND + 4], "little")


def peer_program(build):
    return os.path.join(build, "tests", "bench", "netchan_peer")


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + 200:
        pytest.skip(f"needs {CONNECTIONS + 200} descriptors, may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect_all(lab, port, count):
    """Non-blocking, AT_ONCE at a time."""
    done, connecting = [], selectors.DefaultSelector()
    while len(done) < count:
        while len(connecting.get_map()) < AT_ONCE and len(done) + len(connecting.get_map()) < count:
            sock = lab.socket("b", socket.AF_INET)
            sock.setblocking(False)
            assert sock.connect_ex((ADDRESS["a"], port)) == errno.EINPROGRESS
            connecting.register(sock, selectors.EVENT_WRITE)
        ready = connecting.select(20)
        assert ready, f"nothing opens: {len(done)} of {count}"
        for key, _ in ready:
            assert key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            connecting.unregister(key.fileobj)
            done.append(key.fileobj)
    return done


@pytest.mark.timeout(120)
def test_10000_connections_of_one_client_all_progress_within_its_quota(netchand, build, lab, many_descriptors):
    daemon = netchand([listen_flow("echo", 9000, backlog=1024)],
                      memory={"per_client": f"{QUOTA >> 20}MiB", "streams_per_client": CONNECTIONS + 1})
    echo = daemon.client([peer_program(build), "echo", "echo", "--count", CONNECTIONS + 1], stderr=subprocess.PIPE)
    attached(daemon, 9000).close()  # one more, to see that it accepts
    socks = connect_all(lab, 9000, CONNECTIONS)
    promised = [sum(window(s) for s in socks)]
    assert min(window(s) for s in socks) > 0  # nobody starves
    assert promised[0] > QUOTA / 8  # what there is, is used

    selector = selectors.DefaultSelector()
    wanted, sent, got = {}, {}, {}
    for n, sock in enumerate(socks):
        wanted[sock] = (b"%05d." % n) * (OCTETS // 6)
        sent[sock], got[sock] = 0, bytearray()
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
    rounds = 0
    while selector.get_map():
        ready = selector.select(20)
        assert ready, f"nothing moves; complete: {sum(len(got[s]) == len(wanted[s]) for s in socks)} of {CONNECTIONS}"
        rounds += 1
        if rounds % 20 == 0:
            promised.append(sum(window(s) for s in socks))
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
                sent[sock] += sock.send(wanted[sock][sent[sock]:])
                if sent[sock] == len(wanted[sock]):
                    selector.modify(sock, selectors.EVENT_READ)
    assert all(bytes(got[s]) == wanted[s] for s in socks)
    promised.append(sum(window(s) for s in socks))
    assert max(promised) <= QUOTA / 2, promised
    page = daemon.metrics()
    assert page.sum("netchan_worker_connections") >= CONNECTIONS  # all of them still open
    assert page.sum("netchan_worker_receive_reserved_bytes") <= QUOTA / 2
    assert page.sum("netchan_worker_send_reserved_bytes") <= QUOTA / 2
    assert page.sum("netchan_worker_receive_promised_bytes") <= page.sum("netchan_worker_receive_reserved_bytes")
    for sock in socks:
        sock.close()
    assert echo.wait(30) == 0
    until(lambda: daemon.metrics().sum("netchan_worker_receive_reserved_bytes") == 0, words="memory does not come back")


def test_one_connection_gets_the_whole_window(netchand, build, lab):
    """Receiving: the window grows to receive_buffer while the application keeps up. Sending: as the log of what is unacknowledged."""
    most = 512 << 10
    daemon = netchand([listen_flow("in", 9000, receive_buffer="512KiB"), connect_flow("out", 7000, send_buffer="512KiB")])
    sink = cat(daemon, build, "in")
    with attached(daemon, 9000) as sock:
        assert window(sock) <= 65536
        block, largest = bytes(256 << 10), 0
        for _ in range(2000):
            sock.sendall(block)
            largest = max(largest, window(sock))
            if largest > most * 3 // 4:
                break
        assert largest > most * 3 // 4
        sock.shutdown(socket.SHUT_WR)
        finished(sink)

    with lab.listen("b", (ADDRESS["b"], 7000)) as listener:
        source = daemon.client([peer_program(build), "source", "out", "--size", "1400", "--seconds", "3"], stderr=subprocess.PIPE)
        sock, _ = listener.accept()
        received = []

        def receive():
            while block := sock.recv(1 << 18):
                received.append(len(block))
        reader = threading.Thread(target=receive)
        reader.start()
        until(lambda: daemon.metrics().sum("netchan_worker_send_reserved_bytes") >= most, words="the send log does not grow")
        reader.join(30)
        sock.close()
        assert source.wait(20) == 0


def test_without_a_stream_number_a_syn_waits_for_one(netchand, build, lab):
    daemon = netchand([listen_flow("echo", 9000)], memory={"streams_per_client": 3})
    daemon.client([peer_program(build), "echo", "echo", "--count", 10], stderr=subprocess.PIPE)
    socks = [attached(daemon, 9000)] + [lab.connect("b", (ADDRESS["a"], 9000)) for _ in range(2)]
    late = lab.socket("b", socket.AF_INET)
    late.setblocking(False)
    late.connect_ex((ADDRESS["a"], 9000))
    until(lambda: daemon.metrics().sum("netchan_drops_total", reason="no_memory") >= 1, words="its SYN was not dropped")
    socks[0].close()
    late.setblocking(True)
    late.settimeout(20)
    late.sendall(b"at last")  # the kernel has sent its SYN again
    assert late.recv(7, socket.MSG_WAITALL) == b"at last"
    for sock in [late, *socks[1:]]:
        sock.close()


class Flood:
    """SYNs of many source addresses that nobody has, so that nothing answers a SYN-ACK; from a thread of its own."""
    SOURCES = [f"10.77.0.{n}" for n in range(100, 140)]

    def __init__(self, lab, port):
        mac = json.loads(lab.run("b", ["ip", "-j", "link", "show", INTERFACE["b"]]).stdout)[0]["address"]
        lab.run("a", ["ip", "-batch", "-"], input="".join(
            f"neigh replace {s} lladdr {mac} dev {INTERFACE['a']} nud permanent\n" for s in self.SOURCES))
        self.socket = lab.socket("b", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.port, self.sent, self.over = port, 0, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        target = socket.inet_aton(ADDRESS["a"])
        while not self.over.is_set():
            source = socket.inet_aton(self.SOURCES[self.sent % len(self.SOURCES)])
            tcp = struct.pack("!HHIIBBHHH", 1024 + self.sent % 60000, self.port, self.sent, 0, 5 << 4, SYN, 65535, 0, 0)
            pseudo = source + target + struct.pack("!BBH", 0, 6, len(tcp))
            tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0x4000, 64, 6, 0, source, target)
            self.socket.sendto(ip + tcp, (ADDRESS["a"], 0))
            self.sent += 1

    def end(self):
        self.over.set()
        self.thread.join()
        self.socket.close()


def test_a_flood_of_syns_takes_an_eighth_and_gives_it_back(netchand, build, lab):
    arena, largest, backlog, least = 2 << 20, 64 << 10, 128, 1 << 10
    daemon = netchand([listen_flow("echo", 9000, backlog=backlog, receive_buffer="64KiB", connect_timeout="1s")],
                      memory={"per_client": f"{2 * arena >> 20}MiB", "streams_per_client": 256})
    daemon.client([peer_program(build), "echo", "echo", "--count", 3], stderr=subprocess.PIPE)

    def reserved():
        return daemon.metrics().sum("netchan_worker_receive_reserved_bytes")
    with attached(daemon, 9000) as sock:
        usual = window(sock)
        until(lambda: reserved() >= usual)
        before, most = reserved(), 0
        flood = Flood(lab, 9000)
        try:
            until(lambda: daemon.metrics().sum("netchan_drops_total", reason="no_memory") > backlog, words="nothing is refused")
            for n in range(30):  # the stream that was there moves on
                block = b"%07d." % n * 4096
                sock.sendall(block)
                got = b""
                while len(got) < len(block):
                    part = sock.recv(len(block) - len(got))
                    assert part, "the stream ended early"
                    got += part
                assert got == block
                most = max(most, reserved() - before)
        finally:
            flood.end()
        # An eighth, the log that crosses it, and the least log for all others.
        assert arena / 8 <= most <= arena / 8 + largest + backlog * least, most
    until(lambda: reserved() == 0, words="the memory of half-open connections does not come back")
    with lab.connect("b", (ADDRESS["a"], 9000)) as sock:
        assert window(sock) == usual
        sock.sendall(b"after the flood")
        assert sock.recv(15) == b"after the flood"


def test_a_flood_of_one_flow_leaves_stream_numbers_to_the_clients_others(netchand, build, lab):
    numbers, part = 64, 16
    daemon = netchand([listen_flow("public", 9000), listen_flow("private", 9001), connect_flow("up", 7000)],
                      memory={"streams_per_client": numbers})
    client = daemon.client([os.path.join(build, "tests", "system", "flows_client"), "public", "private", "up"],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def stream(flow):
        client.stdin.write(f"{flow}\n")
        return client.stdout.readline()
    assert client.stdout.readline() == "ready\n"
    with lab.listen("b", (ADDRESS["b"], 7000)) as server:
        flood = Flood(lab, 9000)
        try:
            until(lambda: daemon.metrics().sum("netchan_drops_total", reason="no_memory") > numbers, words="nothing is refused")
            for _ in range(part + 1):  # one more than would fit if they did not come back
                lab.connect("b", (ADDRESS["a"], 9001)).close()
                assert stream(1) == "ok\n"
            assert stream(2) == "ok\n"
            server.accept()[0].close()
            assert part <= daemon.metrics().sum("netchan_worker_connections") < numbers
            client.stdin.close()  # half-open connections lose their lane
            assert client.wait(20) == 0
            until(lambda: daemon.metrics().sum("netchan_worker_receive_reserved_bytes") == 0, words="its memory does not come back")
        finally:
            flood.end()


def test_an_idle_log_shrinks_when_others_are_denied(netchand, build, folder, lab):
    """Its peer's promise is used up before its memory comes home; then the other stream grows to all that it may."""
    most = 256 << 10
    daemon = netchand([listen_flow("in", 9000, receive_buffer="256KiB")], memory={"per_client": "2176KiB", "streams_per_client": 8})
    client = daemon.client([os.path.join(build, "tests", "system", "many_client"), "in", folder / "token", 3, "sink"], stderr=subprocess.PIPE)

    def counted(name):
        return daemon.metrics().sum(f"netchan_worker_{name}_total")
    block = bytes(most)

    def grown(*socks):
        for sock in socks:
            sock.sendall(block)
        return all(window(s) > most * 3 // 4 for s in socks)
    first = attached(daemon, 9000)
    until(lambda: grown(first), pause=0)
    second, third = (lab.connect("b", (ADDRESS["a"], 9000)) for _ in range(2))
    until(lambda: grown(second), pause=0)

    def denied():
        grown(third)
        return counted("log_growth_denied") > 0
    until(denied, pause=0, words="there is memory for all three")
    assert window(third) <= most * 3 // 4
    assert counted("logs_shrunk") == 0

    # The first is idle for longer and longer, while the third is denied; then it uses what it was promised.
    rounds = 50

    def shrunk():
        nonlocal rounds
        rounds *= 2
        for _ in range(rounds):
            grown(third)
        for _ in range(most >> 13):
            if trickle():
                return True
        return False

    def trickle():  # slow enough that no log grows for it
        first.sendall(bytes(8 << 10))
        return counted("logs_shrunk") > 0
    until(shrunk, pause=0, patience=30, words="the idle log does not shrink")
    for _ in range(most >> 13):  # past the old promise: its old block is free
        trickle()
    assert window(first) < most * 3 // 4
    until(lambda: grown(third), pause=0, patience=20, words="the third does not grow")
    for sock in (first, second, third):
        sock.close()
    finished(client)
