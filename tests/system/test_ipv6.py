# SPDX-License-Identifier: BSD-2-Clause
"""IPv6: flows both ways, neighbours that move, what passes beside them, extension headers, ICMPv6."""
import json
import socket
import struct
import threading

import pytest
from daemon import connect_flow, endpoint, listen_flow
from helpers import attached, cat, finished, random_file, receive_all, send_file, sha256, until
from lab import ADDRESS, ADDRESS6, INTERFACE

MEGABYTES = 16
PORT = 9000


def both_ways(sock, client, ours, theirs, received, between=lambda: None):
    """Files both ways at once; `between` happens in the middle."""
    sock.settimeout(40)
    sender = threading.Thread(target=send_file, args=(sock, theirs))
    sender.start()
    between()
    got = receive_all(sock)
    sender.join()
    finished(client)
    assert got == (sha256(ours), MEGABYTES << 20)
    assert sha256(received) == sha256(theirs)


@pytest.fixture
def files(folder):
    return random_file(folder / "big-ours", MEGABYTES, 1), random_file(folder / "big-theirs", MEGABYTES, 2), folder / "big-received"


@pytest.mark.quick
def test_files_pass_both_ways_over_a_listen_flow_while_the_kernel_answers_ping(netchand, build, lab, files):
    daemon = netchand([listen_flow("inbound", PORT, address=ADDRESS6["a"])])
    client = cat(daemon, build, "inbound", source=files[0], target=files[2])
    with attached(daemon, PORT, address=ADDRESS6["a"]) as sock:
        both_ways(sock, client, *files, between=lambda: lab.run("b", ["ping", "-6", "-c", "3", "-i", "0.05", "-W", "5", ADDRESS6["a"]]))
    assert daemon.metrics().sum("netchan_drops_total", reason="no_path") == 0


def test_files_pass_both_ways_over_a_connect_flow_whose_neighbour_is_flushed_and_moves(netchand, build, lab, files):
    daemon = netchand([connect_flow("outbound", 7000, address=ADDRESS6["b"])])
    lab.run("b", ["sysctl", "-qw", f"net.ipv6.conf.{INTERFACE['b']}.ndisc_notify=1"])

    def trouble():
        for n in range(3):
            until(lambda n=n: files[2].stat().st_size > (n + 1) << 20)
            lab.run("a", ["ip", "neigh", "flush", "dev", INTERFACE["a"]])
            lab.run("b", ["ip", "link", "set", INTERFACE["b"], "address", f"02:00:00:00:66:{n:02x}"])
    with lab.listen("b", (ADDRESS6["b"], 7000)) as server:
        client = cat(daemon, build, "outbound", source=files[0], target=files[2])
        sock, peer = server.accept()
        with sock:
            assert peer[0] == ADDRESS6["a"] and 40000 <= peer[1] <= 40999
            both_ways(sock, client, *files, between=trouble)


def test_a_router_with_a_link_local_address_leads_to_the_peer(netchand, build, lab):
    far = "fd99::1"
    lab.run("b", ["ip", "address", "add", far + "/128", "dev", "lo"])
    lab.run("b", ["ip", "address", "add", "fe80::b/64", "dev", INTERFACE["b"], "nodad"])
    lab.run("a", ["ip", "route", "add", "fd99::/16", "via", "fe80::b", "dev", INTERFACE["a"]])
    daemon = netchand([connect_flow("outbound", 7000, address=far)])
    with lab.listen("b", (far, 7000)) as server:
        client = cat(daemon, build, "outbound")
        sock, peer = server.accept()
        with sock:
            assert peer[0] == ADDRESS6["a"]
            sock.shutdown(1)
            finished(client)


def test_a_wildcard_serves_a_link_local_peer_and_both_families_have_their_own(netchand, build, lab):
    for side, address in (("a", "fe80::a/64"), ("b", "fe80::b/64")):
        lab.run(side, ["ip", "address", "add", address, "dev", INTERFACE[side], "nodad"])
    flow = {"name": "inbound", "tcp": {"listen": [f"0.0.0.0:{PORT}", f"[::]:{PORT}"]}}
    daemon = netchand([flow, {"name": "six", "tcp": {"listen": f"[::]:{PORT + 1}"}}])
    with lab.inside("b"):
        scope = socket.if_nametoindex(INTERFACE["b"])
    for address in (ADDRESS["a"], ADDRESS6["a"], f"fe80::a%{scope}"):
        client = cat(daemon, build, "inbound")
        with attached(daemon, PORT, address=address) as sock:
            sock.shutdown(1)
            finished(client)
    # IPv4 to a port of which only IPv6 is ours is the kernel's.
    with lab.listen("a", (ADDRESS["a"], PORT + 1)) as server, lab.connect("b", (ADDRESS["a"], PORT + 1)):
        server.accept()[0].close()
    with pytest.raises(ConnectionRefusedError):
        lab.connect("b", (ADDRESS6["a"], PORT + 1))  # ours, and without a client


def test_one_flow_of_two_families_serves_both(netchand, build, lab):
    daemon = netchand([{"name": "dual", "tcp": {"listen": [endpoint(ADDRESS["a"], PORT), endpoint(ADDRESS6["a"], PORT)]}}])
    for address in (ADDRESS6["a"], ADDRESS["a"], ADDRESS6["a"]):
        client = cat(daemon, build, "dual")
        with attached(daemon, PORT, address=address) as sock:
            sock.shutdown(1)
            finished(client)


# ---- frames made by hand ----------------------------------------------------------------------------------------------------


def checksum(octets):
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packed(address):
    return socket.inet_pton(socket.AF_INET6, address)


class Wire:
    """Side b's raw end of the wire."""

    def __init__(self, lab):
        self.lab = lab
        self.socket = lab.socket("b", socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86dd))
        self.socket.bind((INTERFACE["b"], 0))
        self.socket.settimeout(10)
        self.macs = [bytes.fromhex(self._mac(side)) for side in "ab"]

    def _mac(self, side):
        return json.loads(self.lab.run(side, ["ip", "-j", "link", "show", INTERFACE[side]]).stdout)[0]["address"].replace(":", "")

    def send(self, next_header, inside, source=ADDRESS6["b"]):
        header = struct.pack("!IHBB", 6 << 28, len(inside), next_header, 64) + packed(source) + packed(ADDRESS6["a"])
        self.socket.send(self.macs[0] + self.macs[1] + b"\x86\xdd" + header + inside)

    def answer(self, port):
        """Flags of the next TCP segment that comes to `port`."""
        while True:
            frame = self.socket.recv(2048)
            if len(frame) >= 74 and frame[20] == 6 and frame[0:6] == self.macs[1] and struct.unpack("!H", frame[56:58])[0] == port:
                return frame[67]


def segment(source_port, flags, port=PORT, seq=1000, ack=0):
    def octets(sum_):
        return struct.pack("!HHIIBBHHH", source_port, port, seq, ack, 5 << 4, flags, 65535, sum_, 0)
    pseudo = packed(ADDRESS6["b"]) + packed(ADDRESS6["a"]) + struct.pack("!II", 20, 6)
    return octets(checksum(pseudo + octets(0)))


SYN, RST, ACK = 2, 4, 16


def test_an_unknown_segment_of_an_owned_key_is_reset_and_one_behind_extension_headers_is_dropped(netchand, lab):
    daemon = netchand([listen_flow("inbound", PORT, address=ADDRESS6["a"])])
    wire = Wire(lab)
    wire.send(6, segment(1111, ACK, ack=7))
    assert wire.answer(1111) & RST
    options = struct.pack("!BB6x", 6, 0)
    fragment = struct.pack("!BBHI", 6, 0, 1, 77)
    wire.send(60, options + segment(1112, ACK, ack=7))
    wire.send(0, options + segment(1113, ACK, ack=7))
    wire.send(43, options + segment(1114, ACK, ack=7))
    wire.send(44, fragment + segment(1115, ACK, ack=7))

    def verdicts(name):
        return daemon.metrics().sum("netchan_steer_packets_total", verdict=name)
    until(lambda: verdicts("dropped_extension") == 3 and verdicts("dropped_fragment") == 1)
    # Of a port that is not ours they are the kernel's, which resets.
    wire.send(60, options + segment(1116, ACK, port=PORT + 1, ack=7))
    assert wire.answer(1116) & RST
    assert verdicts("dropped_extension") == 3


def test_an_icmpv6_error_of_a_router_ends_a_dial(netchand, build, lab):
    """To an address that answers neither; what the router says about our SYN is all that there is to hear (RFC 5927 4: a hard
    error ends a connection that is not yet one)."""
    nobody = "fd77::99"
    wire = Wire(lab)
    lab.run("a", ["ip", "neigh", "add", nobody, "lladdr", ":".join(f"{o:02x}" for o in wire.macs[1]), "dev", INTERFACE["a"], "nud", "permanent"])
    daemon = netchand([connect_flow("outbound", 7000, address=nobody)])
    client = cat(daemon, build, "outbound")
    while True:
        syn = wire.socket.recv(2048)
        if syn[20] == 6 and syn[38:54] == packed(nobody):
            break
    router = "fd77::3"

    def error(sum_):
        return struct.pack("!BBHI", 1, 4, sum_, 0) + syn[14:]
    length = len(error(0))
    pseudo = packed(router) + packed(ADDRESS6["a"]) + struct.pack("!II", length, 58)
    wire.send(58, error(checksum(pseudo + error(0))), source=router)
    _, words = client.communicate(timeout=20)
    assert client.returncode != 0
    assert b"cannot be reached" in words, words
    assert daemon.metrics().sum("netchan_steer_packets_total", verdict="redirected_icmp") == 1
