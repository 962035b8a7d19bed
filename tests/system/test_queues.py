# SPDX-License-Identifier: BSD-2-Clause
"""Queues and workers in any proportion, and several interfaces: every worker with a queue accepts and dials, none without does."""
import os
import socket
import subprocess

import pytest
from daemon import connect_flow, listen_flow
from helpers import attached, cat, finished, random_file, receive_all, send_file, sha256
from lab import ADDRESS, INTERFACE, SECOND_ADDRESS, SECOND_INTERFACE


def opened(daemon):
    """Streams that each worker has opened."""
    return {int(labels["worker"]): value for labels, value in daemon.metrics().rows("netchan_worker_streams_opened_total")}


def dials(daemon, build, lab, flow, flow_port, times, address=ADDRESS["b"]):
    """So many connections of a connect flow at the same time; each takes a word and brings one back."""
    with lab.listen("b", (address, flow_port)) as server:
        server.settimeout(20)
        clients, socks = [], []
        for n in range(times):
            clients.append(cat(daemon, build, flow, source=subprocess.PIPE, target=subprocess.PIPE))
            socks.append(server.accept()[0])
        for n, (client, sock) in enumerate(zip(clients, socks)):
            sock.settimeout(20)
            client.stdin.write(b"question %4d" % n)
            client.stdin.flush()
            assert sock.recv(4096) == b"question %4d" % n
            sock.sendall(b"answer %d" % n)
            sock.shutdown(socket.SHUT_WR)  # the peer ends first, so that its end waits and the local port is free at once
            assert client.stdout.read() == b"answer %d" % n
            client.stdin.close()
            client.stdin = None
            client.wait(20)
            assert sock.recv(1) == b""
            sock.close()


def echoes(daemon, build, lab, flow, flow_port, times):
    """So many connections to a listen flow, all open at once, whose client sends everything back."""
    echo = daemon.client([os.path.join(build, "tests", "bench", "netchan_peer"), "echo", flow, "--count", times + 1], stderr=subprocess.PIPE)
    attached(daemon, flow_port).close()
    socks = [lab.connect("b", (ADDRESS["a"], flow_port)) for _ in range(times)]
    for n, sock in enumerate(socks):
        sock.settimeout(20)
        sock.sendall(b"%8d" % n * 1000)
    for n, sock in enumerate(socks):
        got = b""
        while len(got) < 8000:
            block = sock.recv(8000)
            assert block, "the stream ended early"
            got += block
        assert got == b"%8d" % n * 1000
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
        sock.close()
    assert echo.wait(20) == 0


@pytest.mark.parametrize("cores, working", [
    pytest.param((0,), {0}, marks=pytest.mark.lab(queues=4), id="4-queues-1-worker"),
    pytest.param((0, 1), {0, 1}, marks=pytest.mark.lab(queues=3), id="3-queues-2-workers"),
    pytest.param((0, 1), {0}, marks=pytest.mark.lab(queues=1), id="1-queue-2-workers"),
])
def test_queues_and_workers_in_any_proportion(netchand, build, lab, cores, working):
    daemon = netchand([listen_flow("echo", 9000, send_buffer="32KiB", receive_buffer="32KiB"), connect_flow("outbound", 7000)], cores=cores)
    echoes(daemon, build, lab, "echo", 9000, 40)
    assert {w for w, n in opened(daemon).items() if n > 0} <= working
    before = opened(daemon)
    dials(daemon, build, lab, "outbound", 7000, 4)
    dialled = {w: n - before[w] for w, n in opened(daemon).items()}
    assert dialled == {w: 4 / len(working) if w in working else 0 for w in range(len(cores))}
    idle = "worker 1 has no queue" in daemon.log_text()
    assert idle == (len(working) < len(cores))


@pytest.mark.lab(queues=2)
def test_a_dial_goes_on_to_the_worker_that_has_a_local_port_free(netchand, build, lab):
    """One local port is one worker's; whoever is asked first, the dial finds it."""
    daemon = netchand([connect_flow("narrow", 7000, local_ports="41000-41000"), connect_flow("wide", 7001)], cores=(0, 1))
    for _ in range(2):
        dials(daemon, build, lab, "wide", 7001, 1)  # the turn is the other worker's now
        dials(daemon, build, lab, "narrow", 7000, 1)
        with lab.listen("b", (ADDRESS["b"], 7000)) as server:  # and with none free anywhere it fails
            held = cat(daemon, build, "narrow", source=subprocess.PIPE, target=subprocess.PIPE)
            sock, _ = server.accept()
            refused = cat(daemon, build, "narrow")
            _, words = refused.communicate(timeout=10)
            assert refused.returncode != 0 and b"local port" in words, words
            sock.shutdown(socket.SHUT_WR)  # first, as in dials()
            assert held.stdout.read() == b""
            held.stdin.close()
            held.stdin = None
            held.wait(10)
            assert sock.recv(1) == b""
            sock.close()


@pytest.mark.lab(queues=2, pairs=2)
def test_flows_on_two_interfaces_at_once(netchand, build, folder, lab):
    daemon = netchand([listen_flow("first", 9000), listen_flow("second", 9000, address=SECOND_ADDRESS["a"]),
                       connect_flow("out", 7000), connect_flow("out-second", 7000, address=SECOND_ADDRESS["b"], local_ports="42000-42999")],
                      cores=(0, 1), interfaces=[{"name": INTERFACE["a"]}, {"name": SECOND_INTERFACE["a"]}])
    theirs = random_file(folder / "big-theirs", 4, 2)
    clients = {name: cat(daemon, build, name, target=folder / f"big-{name}") for name in ("first", "second")}
    first = attached(daemon, 9000)
    second = attached(daemon, 9000, address=SECOND_ADDRESS["a"])
    for sock in (first, second):
        send_file(sock, theirs)
    for sock in (first, second):
        receive_all(sock)
        sock.close()
    for name, client in clients.items():
        finished(client)
        assert sha256(folder / f"big-{name}") == sha256(theirs)
    dials(daemon, build, lab, "out", 7000, 2)
    dials(daemon, build, lab, "out-second", 7000, 2, address=SECOND_ADDRESS["b"])
    page = daemon.metrics()
    for interface in (INTERFACE["a"], SECOND_INTERFACE["a"]):
        assert page.sum("netchan_port_tx_frames_total", interface=interface) > 0
    # One of the two goes: the other one goes on.
    lab.run("a", ["ip", "link", "del", SECOND_INTERFACE["a"]])
    dials(daemon, build, lab, "out", 7000, 2)
    echoes_page = daemon.metrics()
    assert {labels["interface"] for labels, _ in echoes_page.rows("netchan_port_mode")} <= {INTERFACE["a"], SECOND_INTERFACE["a"]}
