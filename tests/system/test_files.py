# SPDX-License-Identifier: BSD-2-Clause
"""Whole files through both kinds of flow, both ways, kernel sockets at the other end."""
import threading

import pytest
from daemon import connect_flow, listen_flow
from helpers import attached, cat, finished, random_file, receive_all, send_file, sha256, until
from lab import ADDRESS, INTERFACE, SECOND_ADDRESS, SECOND_INTERFACE

MEGABYTES = 64


@pytest.mark.quick
def test_a_file_from_a_kernel_peer_reaches_the_client_of_a_listen_flow(netchand, build, folder):
    daemon = netchand([listen_flow("inbound", 9000)])
    sent, received = random_file(folder / "big-sent", MEGABYTES), folder / "big-received"
    client = cat(daemon, build, "inbound", target=received)
    with attached(daemon, 9000) as sock:
        send_file(sock, sent)
        assert sock.recv(1) == b""  # the client's end of the stream
    finished(client)
    assert sha256(received) == sha256(sent)


@pytest.mark.quick
def test_a_file_from_the_client_of_a_listen_flow_reaches_a_kernel_peer(netchand, build, folder):
    daemon = netchand([listen_flow("inbound", 9000)])
    sent = random_file(folder / "big-sent", MEGABYTES)
    client = cat(daemon, build, "inbound", source=sent)
    with attached(daemon, 9000) as sock:
        assert receive_all(sock) == (sha256(sent), MEGABYTES << 20)
        sock.shutdown(1)
        finished(client)


@pytest.mark.quick
def test_files_pass_both_ways_at_once_over_a_connect_flow(netchand, build, folder, lab):
    daemon = netchand([connect_flow("outbound", 7000)])
    ours, theirs, received = random_file(folder / "big-ours", MEGABYTES, 1), random_file(folder / "big-theirs", MEGABYTES, 2), folder / "big-received"
    with lab.listen("b", (ADDRESS["b"], 7000)) as server:
        client = cat(daemon, build, "outbound", source=ours, target=received)
        sock, peer = server.accept()
        with sock:
            assert peer[0] == ADDRESS["a"] and 40000 <= peer[1] <= 40999
            sock.settimeout(30)
            sender = threading.Thread(target=send_file, args=(sock, theirs))
            sender.start()
            got = receive_all(sock)
            sender.join()
        finished(client)
    assert got == (sha256(ours), MEGABYTES << 20)
    assert sha256(received) == sha256(theirs)
    page = daemon.metrics()
    assert page.sum("netchan_steer_packets_total", verdict="redirected") > 1000
    assert page.sum("netchan_atcp_octets_in_total") == MEGABYTES << 20
    assert page.sum("netchan_atcp_octets_out_total") == MEGABYTES << 20


def test_a_dial_to_a_port_where_nobody_listens_is_refused(netchand, build):
    daemon = netchand([connect_flow("outbound", 7000)])
    client = cat(daemon, build, "outbound")
    _, words = client.communicate(timeout=20)
    assert client.returncode != 0
    assert b"refused" in words.lower()


def test_an_unknown_flow_is_named_as_such(netchand, build):
    daemon = netchand([listen_flow("inbound", 9000)])
    client = cat(daemon, build, "inbuond")
    _, words = client.communicate(timeout=20)
    assert client.returncode != 0
    assert b"flow" in words.lower()


def test_a_listener_without_a_client_refuses(netchand, lab):
    netchand([listen_flow("inbound", 9000)])
    with pytest.raises(ConnectionRefusedError):
        lab.connect("b", (ADDRESS["a"], 9000))


@pytest.mark.lab(pairs=2)
def test_a_listener_without_a_client_refuses_on_the_second_interface_too(netchand, lab):
    daemon = netchand([listen_flow("inbound", 9000), listen_flow("second", 9000, address=SECOND_ADDRESS["a"])],
                      interfaces=[{"name": INTERFACE["a"]}, {"name": SECOND_INTERFACE["a"]}])
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            lab.connect("b", (SECOND_ADDRESS["a"], 9000))
    assert daemon.metrics().sum("netchan_worker_frames_in_total") == 3  # a SYN each: none was sent again


def test_the_allow_list_refuses_other_sources(netchand, build, lab):
    daemon = netchand([listen_flow("closed", 9000, allow=["10.99.0.0/16"]), listen_flow("open", 9001, allow=["10.77.0.0/24"])])
    clients = [cat(daemon, build, "closed"), cat(daemon, build, "open")]
    attached(daemon, 9001).close()
    until(lambda: daemon.metrics().sum("netchan_session_attached_total") == 2)  # before, "closed" refuses for want of a client
    with lab.socket("b") as sock:
        sock.settimeout(2)  # dropped or refused: never connected
        with pytest.raises(OSError):
            sock.connect((ADDRESS["a"], 9000))
    assert daemon.metrics().sum("netchan_drops_total", reason="not_allowed") > 0
    for client in clients:
        client.kill()
