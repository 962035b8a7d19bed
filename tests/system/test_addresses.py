# SPDX-License-Identifier: BSD-2-Clause
"""Listen addresses that come late, go, and are several; destinations that are dialled."""
import subprocess

import pytest
from daemon import endpoint, listen_flow
from helpers import BothWays, attached, cat, finished, until
from lab import ADDRESS, ADDRESS6, INTERFACE, SECOND_ADDRESS, SECOND_INTERFACE

PORT = 9000


def serves(daemon, build, flow, address):
    client = cat(daemon, build, flow)
    with attached(daemon, PORT, address=address) as sock:
        sock.shutdown(1)
        finished(client)


def address(lab, verb, which, family="-4"):
    lab.run("a", ["ip", family, "address", verb, which, "dev", INTERFACE["a"], *(["nodad"] if family == "-6" and verb == "add" else [])])


@pytest.mark.parametrize("late, family", [("10.77.0.50", "-4"), ("fd77::50", "-6")])
def test_an_address_that_is_not_there_at_the_start_is_served_when_it_comes(netchand, build, lab, late, family):
    daemon = netchand([listen_flow("inbound", PORT, address=late)])
    until(lambda: "flow inbound: no interface of `interfaces:` has its listen address; waiting for it" in daemon.log_text())
    for times in (1, 2):
        address(lab, "add", late + ("/24" if family == "-4" else "/64"), family)
        until(lambda times=times: daemon.log_text().count("flow inbound: serves now") == times)
        serves(daemon, build, "inbound", late)
        address(lab, "del", late + ("/24" if family == "-4" else "/64"), family)
        until(lambda times=times: daemon.log_text().count("waiting for it") == times + 1)


def test_an_address_that_goes_does_not_disturb_the_flows_others(netchand, build, lab):
    daemon = netchand([{"name": "dual", "tcp": {"listen": [endpoint(ADDRESS["a"], PORT), endpoint(ADDRESS6["a"], PORT), "10.77.0.50:9000"]}}])
    until(lambda: "has its listen address 10.77.0.50:9000; waiting for it" in daemon.log_text())
    client = cat(daemon, build, "dual", source="/dev/zero")
    with attached(daemon, PORT) as sock:
        sock.recv(1 << 16)
        for times in (1, 2):
            address(lab, "del", ADDRESS6["a"] + "/64", "-6")
            until(lambda times=times: daemon.log_text().count(f"has its listen address {endpoint(ADDRESS6['a'], PORT)}; waiting for it") == times)
            assert sock.recv(1 << 16)
            address(lab, "add", ADDRESS6["a"] + "/64", "-6")
            until(lambda times=times: daemon.log_text().count(f"no longer: no interface of `interfaces:` has its listen address {endpoint(ADDRESS6['a'], PORT)}") == times)
            attached(daemon, PORT, address=ADDRESS6["a"]).close()
            assert sock.recv(1 << 16)
    client.kill()


def test_a_listen_address_that_goes_and_comes_back_keeps_its_connections(netchand, build, folder, lab):
    here = "10.77.0.50"
    address(lab, "add", here + "/24")
    daemon = netchand([listen_flow("inbound", PORT, address=here)])
    transfer = BothWays(daemon, build, folder, lab, PORT, here, listens=True)
    for times in (1, 2):
        transfer.moved(times << 20)
        address(lab, "del", here + "/24")
        until(lambda times=times: daemon.log_text().count("waiting for it") == times)
        address(lab, "add", here + "/24")
        until(lambda times=times: daemon.log_text().count("flow inbound: serves now") == times)
    transfer.finish()


@pytest.mark.lab(pairs=2)
def test_one_address_and_port_on_two_interfaces_is_a_flow_each(netchand, build, lab):
    """The same wildcard on both; each flow has its own clients."""
    daemon = netchand([{**listen_flow("left", PORT, address="0.0.0.0"), "interface": INTERFACE["a"]},
                       {**listen_flow("right", PORT, address="0.0.0.0"), "interface": SECOND_INTERFACE["a"]}],
                      interfaces=[{"name": INTERFACE["a"]}, {"name": SECOND_INTERFACE["a"]}])
    left = cat(daemon, build, "left")
    with attached(daemon, PORT) as sock:
        with pytest.raises(ConnectionRefusedError):  # nobody is attached to the other
            lab.connect("b", (SECOND_ADDRESS["a"], PORT))
        sock.shutdown(1)
        finished(left)
    serves(daemon, build, "right", SECOND_ADDRESS["a"])


@pytest.mark.parametrize("idle", [False, True], ids=["sending", "idle"])
def test_the_connections_of_an_address_that_is_taken_away_end_by_their_timers(netchand, build, lab, idle):
    daemon = netchand([listen_flow("inbound", PORT, address=ADDRESS6["a"], user_timeout="2s", keepalive="1s")])
    client = cat(daemon, build, "inbound", source=subprocess.PIPE if idle else "/dev/zero")
    with attached(daemon, PORT, address=ADDRESS6["a"]) as sock:
        if not idle:
            sock.recv(1 << 16)
        address(lab, "del", ADDRESS6["a"] + "/64", "-6")
        assert client.wait(timeout=40) != 0
        assert b"gone" in client.stderr.read()
