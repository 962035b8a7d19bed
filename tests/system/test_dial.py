# SPDX-License-Identifier: BSD-2-Clause
"""Dials within what a flow allows: its own server, and its destinations, of both families."""
import os
import subprocess

import pytest
from daemon import connect_flow
from helpers import finished, random_file, receive_all, sha256
from lab import ADDRESS, ADDRESS6

PORT = 7005
DESTINATIONS = ["10.77.0.0/24:7000-7009", "[fd77::]/64:7000-7009"]


def dial(daemon, build, destination=None, source=os.devnull):
    arguments = ["-w", "10", *(["-c", destination] if destination else []), "wide"]
    return daemon.client([os.path.join(build, "client", "netchan-cat"), *arguments], stdin=open(source, "rb"),
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wide(server=True):
    flow = connect_flow("wide", 7000, destinations=DESTINATIONS)
    if not server:
        del flow["tcp"]["connect"]
    return flow


@pytest.mark.parametrize("side", ["IPv4", "IPv6"])
def test_a_dial_reaches_a_destination(netchand, build, folder, lab, side):
    daemon = netchand([wide()])
    address = (ADDRESS if side == "IPv4" else ADDRESS6)["b"]
    sent = random_file(folder / "big-sent", 4)
    with lab.listen("b", (address, PORT)) as server:
        client = dial(daemon, build, f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}", sent)
        sock, _ = server.accept()
        with sock:
            sock.settimeout(20)
            assert receive_all(sock)[0] == sha256(sent)
        finished(client)


def test_what_is_no_destination_is_refused_with_the_list_of_them(netchand, build):
    daemon = netchand([wide()])
    for where in ("10.77.0.2:7010", "10.77.1.2:7001", "[fd78::2]:7001"):
        client = dial(daemon, build, where)
        words = client.communicate(timeout=10)[1].decode()
        assert client.returncode == 1
        assert f"{where} is no destination of flow wide: 10.77.0.2:7000, 10.77.0.0/24:7000-7009, [fd77::]/64:7000-7009" in words
    client = dial(daemon, build, "nonsense")
    assert "ADDRESS:PORT" in client.communicate(timeout=10)[1].decode() and client.returncode == 2


def test_a_flow_without_a_server_of_its_own_says_so(netchand, build):
    daemon = netchand([wide(server=False)])
    client = dial(daemon, build)
    assert "flow wide has no server of its own: name one of its destinations" in client.communicate(timeout=10)[1].decode()
    assert client.returncode == 1


def test_what_cannot_be_a_peer_is_refused_before_anything_is_sent(netchand, build):
    flow = connect_flow("wide", 7000, destinations=["0.0.0.0/0:7000", "[::]/0:7000"])
    daemon = netchand([flow])
    for where, why in ((f"{ADDRESS['a']}:7000", "is an address of this host"), (f"[{ADDRESS6['a']}]:7000", "is an address of this host"),
                       ("10.77.0.255:7000", "is the broadcast address of a subnet"), ("224.0.0.1:7000", "no TCP peer can have")):
        client = dial(daemon, build, where)
        words = client.communicate(timeout=10)[1].decode()
        assert client.returncode == 1 and why in words, words
    assert daemon.metrics().sum("netchan_worker_connections") == 0
