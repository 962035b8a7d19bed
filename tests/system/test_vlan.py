# SPDX-License-Identifier: BSD-2-Clause
"""`vlan:` on an interface entry. No VLAN device is needed: tc programs tag what both kernels send (tag.bpf.c); what netchand
sends does not pass them, so its tags are its own."""
import json
import os
import socket
import struct
import threading

import pytest
from daemon import DaemonDied, connect_flow, listen_flow
from helpers import attached, cat, finished, random_file, receive_all, send_file, sha256, until
from lab import ADDRESS, ADDRESS6, INTERFACE

MEGABYTES = 16
PORT = 9000
LABEL = INTERFACE["a"] + ".100"
ENTRIES = [{"name": INTERFACE["a"]}, {"name": INTERFACE["a"], "vlan": 100}]


@pytest.fixture
def tagged(lab, build):
    program = os.path.join(build, "tests", "system", "tag.bpf.o")
    for side in "ab":
        device = INTERFACE[side]
        # The tag must be in the frame and not beside it, as on a wire.
        lab.run(side, ["ethtool", "-K", device, "txvlan", "off", "rxvlan", "off"])
        lab.run(side, ["tc", "qdisc", "add", "dev", device, "clsact"])
        lab.run(side, ["tc", "filter", "add", "dev", device, "egress", "bpf", "da", "obj", program, "sec", "tc/push"])
        lab.run(side, ["tc", "filter", "add", "dev", device, "ingress", "bpf", "da", "obj", program, "sec", "tc/pop"])
    return lab


def on_vlan(flow):
    return {**flow, "interface": LABEL}


@pytest.mark.parametrize("address", [ADDRESS, ADDRESS6], ids=["IPv4", "IPv6"])
def test_files_pass_both_ways_over_a_vlan(netchand, build, folder, tagged, address):
    daemon = netchand([on_vlan(connect_flow("outbound", 7000, address=address["b"])), on_vlan(listen_flow("inbound", PORT, address=address["a"]))],
                      interfaces=ENTRIES)
    assert f"interface {LABEL}: addresses, routes and neighbours are those of {INTERFACE['a']} itself" in daemon.log_text()
    ours, theirs, received = random_file(folder / "big-ours", MEGABYTES, 1), random_file(folder / "big-theirs", MEGABYTES, 2), folder / "big-received"
    with tagged.listen("b", (address["b"], 7000)) as server:
        client = cat(daemon, build, "outbound", source=ours, target=received)
        sock, _ = server.accept()
        with sock:
            sock.settimeout(40)
            sender = threading.Thread(target=send_file, args=(sock, theirs))
            sender.start()
            got = receive_all(sock)
            sender.join()
        finished(client)
    assert got == (sha256(ours), MEGABYTES << 20)
    assert sha256(received) == sha256(theirs)
    client = cat(daemon, build, "inbound", source=ours)
    with attached(daemon, PORT, address=address["a"]) as sock:
        assert receive_all(sock) == (sha256(ours), MEGABYTES << 20)
        sock.shutdown(1)
        finished(client)


def frame(lab, vlan, source_port):
    """A segment of side b's to the flow's key, with a tag or without; unknown to everyone, so that who gets it answers with a reset."""
    def checksum(octets):
        total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
        total = (total & 0xffff) + (total >> 16)
        return ~((total & 0xffff) + (total >> 16)) & 0xffff
    ends = socket.inet_aton(ADDRESS["b"]) + socket.inet_aton(ADDRESS["a"])

    def tcp(sum_):
        return struct.pack("!HHIIBBHHH", source_port, PORT, 1, 1, 5 << 4, 16, 1024, sum_, 0)

    def ip(sum_):
        return struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, sum_) + ends
    links = [json.loads(lab.run(s, ["ip", "-j", "link", "show", INTERFACE[s]]).stdout)[0] for s in "ab"]
    macs = [bytes.fromhex(link["address"].replace(":", "")) for link in links]
    tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
    return macs[0] + macs[1] + tag + b"\x08\x00" + ip(checksum(ip(0))) + tcp(checksum(ends + struct.pack("!HH", 6, 20) + tcp(0)))


def test_frames_of_other_vlans_and_untagged_ones_pass_to_the_kernel(netchand, tagged):
    daemon = netchand([on_vlan(listen_flow("inbound", PORT))], interfaces=ENTRIES)

    def verdicts(name):
        return daemon.metrics().sum("netchan_steer_packets_total", verdict=name)
    raw = tagged.socket("b", socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind((INTERFACE["b"], 0))
    tagged.run("b", ["tc", "filter", "del", "dev", INTERFACE["b"], "egress"])  # what is sent is sent as it is
    owned = verdicts("redirected")
    for vlan in (0, 101, 1):
        passed = verdicts("passed")
        raw.send(frame(tagged, vlan, 1111))
        until(lambda passed=passed: verdicts("passed") > passed)
    assert verdicts("redirected") == owned
    raw.send(frame(tagged, 100, 1112))
    until(lambda: verdicts("redirected") == owned + 1)
    assert daemon.metrics().sum("netchan_drops_total", reason="no_connection") == 1  # and was answered with a reset


def test_an_interface_that_takes_tags_off_is_refused_with_what_to_do(netchand, lab):
    with pytest.raises(DaemonDied) as died:
        netchand([on_vlan(listen_flow("inbound", PORT))], interfaces=ENTRIES)
    assert f"ethtool -K {INTERFACE['a']} rxvlan off" in str(died.value)
