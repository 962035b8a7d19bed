# SPDX-License-Identifier: BSD-2-Clause
"""no_client: what a peer meets while nobody has attached the flow; and who gets a connection when several have."""
import socket
import subprocess
import threading

import pytest
from daemon import listen_flow
from helpers import attached, cat, finished, until
from lab import ADDRESS
from test_death import reset_of


def without(flow, policy, **more):
    return {**flow, "no_client": policy, **more}


def waiting_connections(daemon):
    return daemon.metrics().sum("netchan_worker_accepts_held_total")


def test_refuse_resets_and_drop_answers_nothing_until_a_client_is_there(netchand, build, folder, lab):
    daemon = netchand([without(listen_flow("refuses", 9000), "refuse"), without(listen_flow("drops", 9001), "drop")])
    with pytest.raises(ConnectionRefusedError):
        lab.connect("b", (ADDRESS["a"], 9000))
    with pytest.raises(TimeoutError):
        lab.connect("b", (ADDRESS["a"], 9001), timeout=0.5)
    # The peer's SYN goes on coming, and is answered as soon as somebody is there.
    socks = []
    thread = threading.Thread(target=lambda: socks.append(lab.connect("b", (ADDRESS["a"], 9001), timeout=20)))
    thread.start()
    client = cat(daemon, build, "drops", target=folder / "received")
    thread.join()
    with socks[0] as sock:
        sock.sendall(b"there you are")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    finished(client)
    assert (folder / "received").read_bytes() == b"there you are"
    with pytest.raises(TimeoutError):  # it has gone again
        lab.connect("b", (ADDRESS["a"], 9001), timeout=0.5)


def test_hold_keeps_connections_for_the_first_client_and_promises_no_window_before(netchand, build, folder, lab):
    daemon = netchand([without(listen_flow("inbound", 9000), "hold")])
    for turn in range(2):  # and again after the last client has detached
        with lab.connect("b", (ADDRESS["a"], 9000)) as sock:
            sock.sendall(b"early" * 1000)
            until(lambda turn=turn: waiting_connections(daemon) == turn + 1)
            placed = daemon.metrics().sum("netchan_worker_octets_placed_total")
            assert placed == turn * 5000
            assert daemon.metrics().sum("netchan_drops_total", reason="not_attached") == 0  # its peer was allowed none
            source = folder / "answer"
            source.write_bytes(b"late")
            client = cat(daemon, build, "inbound", source=source, target=folder / "received")
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(4, socket.MSG_WAITALL) == b"late"
            assert sock.recv(1) == b""
        finished(client)
        assert (folder / "received").read_bytes() == b"early" * 1000
        until(lambda: daemon.metrics().sum("netchan_session_clients") == 0)


def test_connections_that_nobody_comes_for_are_reset_and_only_so_many_may_wait(netchand, lab):
    daemon = netchand([without(listen_flow("inbound", 9000, backlog=4), "hold", hold_for="1s")])
    socks = [lab.connect("b", (ADDRESS["a"], 9000)) for _ in range(4)]
    until(lambda: waiting_connections(daemon) == 4)
    try:
        assert reset_of(lab.connect("b", (ADDRESS["a"], 9000)))
    except ConnectionResetError:
        pass  # before connect() had returned
    page = daemon.metrics()
    assert page.sum("netchan_worker_accepts_held_total") == 4
    assert page.sum("netchan_worker_accepts_refused_total") == 1
    for sock in socks:
        assert reset_of(sock)
    assert daemon.metrics().sum("netchan_worker_accepts_expired_total") == 4
    with lab.connect("b", (ADDRESS["a"], 9000)) as sock:  # their places are free again
        until(lambda: waiting_connections(daemon) == 5)
        assert reset_of(sock)


def test_of_two_clients_of_one_flow_the_less_loaded_one_gets_the_next_connection(netchand, build, folder, lab):
    """Each netchan-cat serves one connection: a second one given to the same would wait for the first to end."""
    daemon = netchand([listen_flow("inbound", 9000)])
    clients = [cat(daemon, build, "inbound", source=subprocess.PIPE, target=folder / f"received-{n}") for n in range(2)]
    until(lambda: daemon.metrics().sum("netchan_session_attached_total") == 2)
    socks = [attached(daemon, 9000), lab.connect("b", (ADDRESS["a"], 9000))]
    for n, sock in enumerate(socks):
        sock.sendall(b"connection %d" % n)
    until(lambda: {(folder / f"received-{n}").read_bytes() for n in range(2)} == {b"connection 0", b"connection 1"},
          words="one client has both")
    for sock in socks:
        sock.shutdown(socket.SHUT_WR)
    for client in clients:
        client.stdin.close()
        client.stdin = None
        finished(client)
