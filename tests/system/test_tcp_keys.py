# SPDX-License-Identifier: BSD-2-Clause
"""Keys of a flow as the wire and the kernel peer see them."""
import socket
import struct
import subprocess

import pytest
from daemon import listen_flow
from helpers import attached, cat, receive_all, until
from lab import ADDRESS, INTERFACE

TTL, DSCP = 7, 46
IP_ALL, IPPROTO_TCP = 0x0003, 6


class Wire:
    """What netchand's address sends to side b: (flags, ttl, dscp, options) of each TCP segment from `port`."""

    def __init__(self, lab, port):
        self.port = port
        self.socket = lab.socket("b", socket.AF_PACKET, socket.SOCK_RAW, socket.htons(IP_ALL))
        self.socket.bind((INTERFACE["b"], IP_ALL))
        self.socket.setblocking(False)
        self.seen = []

    def look(self):
        while True:
            try:
                frame = self.socket.recv(256)
            except BlockingIOError:
                return self.seen
            if frame[12:14] != b"\x08\x00" or frame[23] != IPPROTO_TCP or frame[26:30] != socket.inet_aton(ADDRESS["a"]):
                continue
            tcp = frame[14 + (frame[14] & 15) * 4:]
            if struct.unpack_from("!H", tcp)[0] == self.port:
                self.seen.append((tcp[13], frame[22], frame[15] >> 2, bytes(tcp[20:(tcp[12] >> 4) * 4])))


def flags(name):
    return {"SA": 0x12, "R": 0x04, "F": 0x01}[name]


def test_ttl_and_dscp_stand_on_every_segment(netchand, build, lab, folder):
    daemon = netchand([listen_flow("inbound", 9000, ttl=TTL, dscp=DSCP, timestamps=False, sack=False, window_scaling=False)])
    wire = Wire(lab, 9000)
    (folder / "sent").write_bytes(bytes(100_000))
    client = cat(daemon, build, "inbound", source=folder / "sent")
    with attached(daemon, 9000) as sock:
        assert receive_all(sock)[1] == 100_000
        sock.sendall(b"x" * 1000)
        sock.shutdown(socket.SHUT_WR)
        assert client.wait(timeout=20) == 0
    # And a reset: a client that dies.
    client = cat(daemon, build, "inbound", source=subprocess.PIPE)
    with attached(daemon, 9000) as sock:
        client.kill()
        client.wait()
        with pytest.raises(ConnectionResetError):
            while sock.recv(1):
                pass
    until(lambda: any(f & flags("R") and ttl == TTL for f, ttl, _, _ in wire.look()), words="no reset of a connection was seen")
    # While no client waits, a SYN is refused by a reset that is no connection's and has no flow's marks.
    of_connection = [s for s in wire.look() if s[0] != flags("R") | 0x10 or s[1] == TTL]
    assert {(ttl, dscp) for _, ttl, dscp, _ in of_connection} == {(TTL, DSCP)}
    syn_acks = [s for s in of_connection if s[0] == flags("SA")]
    assert syn_acks and all(options[0] == 2 and len(options) == 4 for *_, options in syn_acks)  # MSS alone
    assert any(f & flags("F") for f, *_ in of_connection)


def test_the_kernel_peer_sees_keepalive_probes_and_the_limit_of_connections(netchand, build, lab):
    daemon = netchand([listen_flow("inbound", 9000, keepalive="1s", max_connections=1)])
    client = cat(daemon, build, "inbound", source=subprocess.PIPE)
    with attached(daemon, 9000) as sock:
        until(lambda: daemon.metrics().sum("netchan_atcp_keepalive_probes_total") >= 2, words="no probe was sent")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01"  # established
        second = lab.socket("b")
        second.settimeout(0.5)
        with second, pytest.raises(TimeoutError):  # a SYN too many is not answered
            second.connect((ADDRESS["a"], 9000))
        assert daemon.metrics().sum("netchan_drops_total", reason="connection_limit") >= 1
    client.stdin.close()
    client.wait(timeout=20)


def test_user_timeout_resets_a_connection_whose_peer_is_gone(netchand, build, lab):
    daemon = netchand([listen_flow("inbound", 9000, user_timeout="1s")])
    client = cat(daemon, build, "inbound", source=subprocess.PIPE)
    with attached(daemon, 9000) as sock:
        client.stdin.write(b"x")
        client.stdin.flush()
        assert sock.recv(1) == b"x"
        lab.run("b", ["ip", "addr", "del", f"{ADDRESS['b']}/24", "dev", INTERFACE["b"]])  # nothing answers any more
        client.stdin.write(b"y")
        client.stdin.close()
        words = client.stderr.read()
        assert client.wait(timeout=20) != 0 and b"did not answer in time" in words
