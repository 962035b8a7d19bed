# SPDX-License-Identifier: BSD-2-Clause
"""Segments that arrive on another worker's queue than the connection's SYN: they are handed off, and nothing is lost.

The peer is this file: a TCP just good enough to open a connection and send, whose frames leave on a queue that the test chooses
(queue_sender, AF_XDP). Its address is nobody's on side b, so side b's kernel does not answer for it.
"""
import json
import os
import socket
import struct
import subprocess

import pytest
from daemon import connect_flow, listen_flow
from helpers import cat, until
from lab import ADDRESS

PEER = "10.77.0.99"
SYN, ACK, PSH, FIN, RST = 0x02, 0x10, 0x08, 0x01, 0x04
ETH_P_ALL = 3


def checksum(octets):
    if len(octets) % 2:
        octets += b"\0"
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Peer:
    def __init__(self, lab, build, port, local_port=5555):
        self.port, self.local_port = port, local_port
        self.senders = [lab.start("b", [os.path.join(build, "tests", "system", "queue_sender"), "veth1", q], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE) for q in range(4)]
        mac = {side: json.loads(lab.run(side, ["ip", "-j", "link", "show", name]).stdout)[0]["address"]
               for side, name in (("a", "veth0"), ("b", "veth1"))}
        self.ethernet = bytes.fromhex((mac["a"] + mac["b"]).replace(":", "")) + b"\x08\x00"
        lab.run("a", ["ip", "neigh", "replace", PEER, "lladdr", mac["b"], "dev", "veth0", "nud", "permanent"])
        with lab.inside("b"):
            self.tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.tap.bind(("veth1", ETH_P_ALL))
        self.tap.settimeout(10)
        self.seq, self.ack = 1000, 0
        self.acknowledged = 0

    def send(self, queue, flags, payload=b"", offset=5, spoil=0):
        """`offset` and `spoil` are for segments that nobody should take: a wrong data offset, a wrong checksum."""
        source, target = socket.inet_aton(PEER), socket.inet_aton(ADDRESS["a"])
        tcp = struct.pack("!HHIIBBHHH", self.local_port, self.port, self.seq & 0xFFFFFFFF, self.ack, offset << 4, flags, 65535, 0, 0)
        pseudo = source + target + struct.pack("!BBH", 0, 6, len(tcp) + len(payload))
        tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp + payload) ^ spoil) + tcp[18:]
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(payload), 0, 0x4000, 64, 6, 0, source, target)
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        sender = self.senders[queue]
        sender.stdin.write((self.ethernet + ip + tcp + payload).hex().encode() + b"\n")
        sender.stdin.flush()
        assert sender.stdout.read(1) == b"."
        self.seq += len(payload) + bool(flags & (SYN | FIN))

    def receive(self):
        """The next segment for us: flags and payload length; takes its acknowledgement and its place in the sequence."""
        while True:
            frame = self.tap.recv(4096)
            if frame[12:14] != b"\x08\x00" or frame[23] != 6 or frame[30:34] != socket.inet_aton(PEER):
                continue
            tcp = frame[14 + 4 * (frame[14] & 15):14 + struct.unpack("!H", frame[16:18])[0]]
            seq, ack, offset, flags = struct.unpack("!IIBB", tcp[4:14])
            payload = tcp[4 * (offset >> 4):]
            self.acknowledged = ack
            self.ack = (seq + len(payload) + bool(flags & (SYN | FIN))) & 0xFFFFFFFF
            return flags, payload

    def wait_for_ack(self):
        while self.acknowledged != self.seq:
            flags, _ = self.receive()
            assert not flags & RST, "the connection was reset"


@pytest.mark.lab(queues=4)
def test_segments_on_another_workers_queue_are_handed_off_and_none_is_lost(netchand, build, lab):
    daemon = netchand([listen_flow("inbound", 9000)], cores=(0, 1))  # queues 0 and 2: worker 0; 1 and 3: worker 1
    client = cat(daemon, build, "inbound", source=subprocess.PIPE, target=subprocess.PIPE)
    peer = Peer(lab, build, 9000)

    def opened():
        peer.seq, peer.ack = 1000, 0
        peer.local_port += 1
        peer.send(0, SYN)
        flags, _ = peer.receive()
        return flags == SYN | ACK
    until(opened, words="no SYN-ACK")
    peer.send(0, ACK)
    before = daemon.metrics()
    sent = b""
    for n in range(40):
        part = b"%07d." % n * 100
        peer.send(n % 4, ACK | PSH, part)
        peer.wait_for_ack()
        sent += part
    peer.send(1, ACK | FIN)
    peer.wait_for_ack()
    assert client.stdout.read(len(sent)) == sent
    moved = daemon.metrics().since(before)
    assert moved.sum("netchan_worker_handoffs_out_total") >= 20
    assert moved.sum("netchan_worker_handoffs_in_total") == moved.sum("netchan_worker_handoffs_out_total")
    client.stdin.write(b"and the answer")
    client.stdin.flush()
    while True:
        _, payload = peer.receive()
        if payload:
            assert payload == b"and the answer"
            break
    peer.send(3, ACK)
    client.kill()


@pytest.mark.lab(queues=4)
def test_a_dialled_connection_stays_where_it_was_dialled_and_its_segments_find_it(netchand, build, lab):
    """Its local port is worker 0's (port mod workers). The answer comes by worker 1's queue, and what follows by any."""
    daemon = netchand([connect_flow("outbound", 7000, address=PEER, local_ports="41000-41000")], cores=(0, 1))
    peer = Peer(lab, build, 41000, local_port=7000)
    client = cat(daemon, build, "outbound", source=subprocess.PIPE, target=subprocess.PIPE)
    flags, _ = peer.receive()
    assert flags & (SYN | ACK) == SYN
    before = daemon.metrics()
    peer.send(1, SYN | ACK)
    peer.wait_for_ack()
    sent = b""
    for n in range(40):
        part = b"%07d." % n * 100
        peer.send((1, 0, 3, 2)[n % 4] if n < 20 else 1, ACK | PSH, part)
        peer.wait_for_ack()
        sent += part
    assert client.stdout.read(len(sent)) == sent
    client.stdin.write(b"and the answer")
    client.stdin.flush()
    payload = b""
    while not payload:
        _, payload = peer.receive()
    assert payload == b"and the answer"
    peer.send(3, ACK)
    moved = daemon.metrics().since(before)
    assert moved.sum("netchan_worker_handoffs_out_total", worker="1") >= 31
    assert moved.sum("netchan_worker_handoffs_out_total", worker="0") == 0
    assert moved.sum("netchan_worker_streams_opened_total", worker="1") == 0
    client.kill()
