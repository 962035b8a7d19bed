# SPDX-License-Identifier: BSD-2-Clause
"""Links and addresses change under a running daemon: it says so, follows what it can, and never ends over it."""
import pytest
from daemon import listen_flow
from helpers import attached, cat, finished, until
from lab import ADDRESS, INTERFACE

HERE = INTERFACE["a"]


def said(daemon, words, times=1):
    until(lambda: daemon.log_text().count(words) == times, words=f"not said {times} times: {words}")


def serves(daemon, build, flow="inbound", port=9000):
    client = cat(daemon, build, flow)
    with attached(daemon, port) as sock:
        sock.shutdown(1)
        finished(client)


@pytest.mark.quick
def test_a_link_that_goes_down_up_and_away_is_said_each_time(netchand, lab):
    daemon = netchand([listen_flow("inbound", 9000)])
    for times in (1, 2):
        lab.run("b", ["ip", "link", "set", INTERFACE["b"], "down"])
        said(daemon, f"interface {HERE}: the link is down", times)
        lab.run("b", ["ip", "link", "set", INTERFACE["b"], "up"])
        said(daemon, f"interface {HERE}: the link is up again", times)
    lab.run("a", ["ip", "link", "del", HERE])
    said(daemon, f"interface {HERE}: the device is gone")
    said(daemon, "flow inbound: no interface of `interfaces:` has its listen address; waiting for it")
    assert daemon.stop() == 0


def test_a_listen_address_is_followed_to_another_interface_and_back(netchand, lab, build):
    for command in ("link add veth2 type veth peer name veth3", "link set veth2 up", "link set veth3 up"):
        lab.run("a", ["ip", *command.split()])
    daemon = netchand([listen_flow("inbound", 9000)], interfaces=[{"name": HERE}, {"name": "veth2"}])
    serves(daemon, build)
    lab.run("a", ["ip", "address", "del", ADDRESS["a"] + "/24", "dev", HERE])
    said(daemon, "flow inbound: no interface of `interfaces:` has its listen address; waiting for it")
    lab.run("a", ["ip", "address", "add", ADDRESS["a"] + "/24", "dev", "veth2"])
    said(daemon, "flow inbound: serves now")
    lab.run("a", ["ip", "address", "del", ADDRESS["a"] + "/24", "dev", "veth2"])
    said(daemon, "waiting for it", 2)
    lab.run("a", ["ip", "address", "add", ADDRESS["a"] + "/24", "dev", HERE])
    said(daemon, "flow inbound: serves now", 2)
    serves(daemon, build)


def test_more_addresses_than_the_program_has_room_for_do_not_end_the_daemon(netchand, lab, build):
    daemon = netchand([{**listen_flow("inbound", 9000, address="0.0.0.0"), "interface": HERE}])
    many = "".join(f"address add 10.78.{n // 250}.{n % 250 + 1}/32 dev {HERE}\n" for n in range(1100))
    lab.run("a", ["ip", "-batch", "-"], input=many)
    until(lambda: "one of its addresses is not served by wildcard listeners" in daemon.log_text())
    serves(daemon, build)
    assert daemon.stop() == 0
