# SPDX-License-Identifier: BSD-2-Clause
"""The kernel's own traffic goes on, on the same interface and the same address, while netchand takes its flows away."""
import socket
import threading

import pytest
from daemon import listen_flow
from helpers import attached, cat, finished, random_file, receive_all, send_file, sha256
from lab import ADDRESS, ADDRESS6


@pytest.mark.quick
def test_kernel_tcp_udp_ping_and_arp_work_beside_a_running_flow(netchand, build, folder, lab):
    daemon = netchand([listen_flow("inbound", 9000)])
    sent, received = random_file(folder / "big-sent", 64), folder / "big-received"
    client = cat(daemon, build, "inbound", target=received)
    flow = attached(daemon, 9000)
    flow.settimeout(40)
    before = daemon.metrics()
    sender = threading.Thread(target=send_file, args=(flow, sent))
    sender.start()

    lab.run("b", ["ip", "neigh", "flush", "dev", "veth1"])  # so that ARP is asked and answered anew, by both kernels
    lab.run("a", ["ip", "neigh", "flush", "dev", "veth0"])
    lab.run("b", ["ping", "-q", "-c", "3", "-i", "0.1", "-W", "5", ADDRESS["a"]])
    lab.run("a", ["ping", "-q", "-c", "3", "-i", "0.1", "-W", "5", ADDRESS["b"]])
    lab.run("b", ["ping", "-6", "-q", "-c", "1", "-W", "5", ADDRESS6["a"]])
    assert ADDRESS["a"] in lab.run("b", ["ip", "neigh", "show"]).stdout

    # Kernel TCP on the flow's own address, at another TCP port, in both roles.
    for server_side, client_side in (("a", "b"), ("b", "a")):
        with lab.listen(server_side, (ADDRESS[server_side], 8080)) as server, lab.connect(client_side, (ADDRESS[server_side], 8080)) as peer:
            other, _ = server.accept()
            with other:
                other.settimeout(20)
                small = random_file(folder / "small", 4, 3)
                pusher = threading.Thread(target=send_file, args=(peer, small))
                pusher.start()
                assert receive_all(other)[0] == sha256(small)
                pusher.join()

    with lab.socket("a", kind=socket.SOCK_DGRAM) as here, lab.socket("b", kind=socket.SOCK_DGRAM) as there:
        here.bind((ADDRESS["a"], 9000))  # the flow's number, but UDP
        here.settimeout(10)
        there.sendto(b"datagram", (ADDRESS["a"], 9000))
        assert here.recv(100) == b"datagram"

    sender.join()
    assert flow.recv(1) == b""
    flow.close()
    finished(client)
    assert sha256(received) == sha256(sent)
    moved = daemon.metrics().since(before)
    assert moved.sum("netchan_steer_packets_total", verdict="passed") > 1000  # the 4 MiB files
    assert moved.sum("netchan_steer_packets_total", verdict="redirected") > 1000


def test_a_listen_port_is_reserved_in_the_kernel(netchand, lab):
    netchand([listen_flow("inbound", 9000)])
    with pytest.raises(OSError):
        lab.listen("a", (ADDRESS["a"], 9000))
