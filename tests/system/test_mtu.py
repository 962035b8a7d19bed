# SPDX-License-Identifier: BSD-2-Clause
"""Path MTUs: large ones, and such that change in the middle of a transfer."""
import pytest
from daemon import connect_flow, listen_flow
from helpers import BothWays, attached, cat, random_file, receive_all, sha256, until
from lab import ADDRESS, ADDRESS6, INTERFACE, Lab

MEGABYTES = 16


@pytest.fixture(params=["IPv4", "IPv6"])
def address(request):
    return ADDRESS if request.param == "IPv4" else ADDRESS6


@pytest.mark.lab(mtu=3000)
def test_an_mtu_of_3000_is_used_both_ways(netchand, build, folder, lab, address):
    daemon = netchand([connect_flow("outbound", 7000, address=address["b"])])
    before = daemon.metrics().sum("netchan_worker_frames_in_total")
    BothWays(daemon, build, folder, lab, address=address["b"], megabytes=MEGABYTES).finish()
    page = daemon.metrics()
    header = 60 if address is ADDRESS6 else 40
    # Segments of full size: the data alone needs so many frames, and an MTU of 1500 would need twice as many.
    assert page.sum("netchan_atcp_segments_out_total") < 1.7 * (MEGABYTES << 20) / (1500 - header - 12)
    assert page.sum("netchan_worker_frames_in_total") - before < 1.7 * (MEGABYTES << 20) / (1500 - header - 12)


@pytest.mark.lab(mtu=3000)
def test_an_mtu_that_no_chunk_holds_makes_segments_that_one_holds(netchand, build, folder, lab):
    daemon = netchand([connect_flow("outbound", 7000)], memory={"size": "64MiB", "chunk": 2048})
    assert "does not fit into a chunk" in daemon.log_text()
    BothWays(daemon, build, folder, lab, megabytes=MEGABYTES).finish()


@pytest.mark.lab(mtu=3000)
def test_a_link_whose_mtu_falls_and_rises_in_the_middle(netchand, build, folder, lab, address):
    daemon = netchand([connect_flow("outbound", 7000, address=address["b"])])
    transfer = BothWays(daemon, build, folder, lab, address=address["b"])
    for n, mtu in enumerate((1400, 3000, 1300)):
        transfer.moved((2 * n + 1) << 20)
        for side in "ab":
            lab.run(side, ["ip", "link", "set", INTERFACE[side], "mtu", str(mtu)])
    transfer.finish()


def test_a_route_whose_mtu_changes_in_the_middle(netchand, build, folder, lab, address):
    network = "10.77.0.0/24" if address is ADDRESS else "fd77::/64"
    daemon = netchand([connect_flow("outbound", 7000, address=address["b"])])
    transfer = BothWays(daemon, build, folder, lab, address=address["b"])
    for n, mtu in enumerate((1300, 1280, 1500)):
        transfer.moved((2 * n + 1) << 20)
        lab.run("a", ["ip", "route", "replace", network, "dev", INTERFACE["a"], "mtu", str(mtu)])
    transfer.finish()


@pytest.fixture
def behind_a_router(lab):
    """A third namespace: b forwards, and the far host is behind a link of 1400 octets. It announces an MSS as if that were
    1500, so that only the router's errors tell."""
    with Lab() as other:  # its side a is not used; its b is the far host
        far = other.namespace("b")
        lab.run("b", ["ip", "link", "add", "far0", "mtu", "1500", "type", "veth", "peer", "name", "far1", "netns", far])
        for command in (["ip", "address", "add", "10.88.0.1/24", "dev", "far0"], ["ip", "address", "add", "fd88::1/64", "dev", "far0", "nodad"],
                        ["ip", "link", "set", "far0", "mtu", "1400", "up"],
                        ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]):
            lab.run("b", command)
        for command in (["ip", "link", "set", "veth1", "down"], ["ip", "address", "add", "10.88.0.2/24", "dev", "far1"],
                        ["ip", "address", "add", "fd88::2/64", "dev", "far1", "nodad"], ["ip", "link", "set", "far1", "mtu", "1400", "up"],
                        ["ip", "route", "add", "10.77.0.0/24", "via", "10.88.0.1", "advmss", "1460"],
                        ["ip", "route", "add", "fd77::/64", "via", "fd88::1", "advmss", "1440"]):
            other.run("b", command)
        lab.run("a", ["ip", "route", "add", "10.88.0.0/24", "via", ADDRESS["b"]])
        lab.run("a", ["ip", "route", "add", "fd88::/64", "via", ADDRESS6["b"]])
        yield other


@pytest.mark.parametrize("far", ["10.88.0.2", "fd88::2"])
def test_a_router_with_a_narrower_link_behind_it_says_so_and_is_obeyed(netchand, build, folder, lab, behind_a_router, far):
    daemon = netchand([connect_flow("outbound", 7000, address=far)])
    transfer = BothWays(daemon, build, folder, behind_a_router, address=far)
    transfer.moved(2 << 20)
    first = daemon.metrics().sum("netchan_steer_packets_total", verdict="redirected_icmp")
    assert first > 0
    lab.run("b", ["ip", "link", "set", "far0", "mtu", "1320"])
    behind_a_router.run("b", ["ip", "link", "set", "far1", "mtu", "1320"])
    transfer.finish()
    assert daemon.metrics().sum("netchan_steer_packets_total", verdict="redirected_icmp") > first


def test_a_listen_flow_obeys_a_router_too(netchand, build, folder, lab, behind_a_router):
    ours = random_file(folder / "big-ours", MEGABYTES)
    daemon = netchand([listen_flow("inbound", 9000, address=ADDRESS6["a"])])
    client = cat(daemon, build, "inbound", source=ours)
    with attached(daemon, 9000, address=ADDRESS6["a"]):
        pass  # somebody accepts now
    client.kill()
    client = cat(daemon, build, "inbound", source=ours)
    until(lambda: daemon.metrics().sum("netchan_session_attached_total") == 2)
    with behind_a_router.connect("b", (ADDRESS6["a"], 9000)) as sock:
        sock.settimeout(40)
        assert receive_all(sock) == (sha256(ours), MEGABYTES << 20)
