# SPDX-License-Identifier: BSD-2-Clause
"""A lossy wire: packets of both directions vanish at random, and the files arrive whole."""
import threading

import pytest
from daemon import connect_flow
from helpers import Loss, cat, finished, random_file, receive_all, send_file, sha256
from lab import ADDRESS


# Offloads off on the peer's side, so that one loss is one segment and not a super-packet of forty.
@pytest.mark.lab(offloads="off")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("percent, megabytes", [(1, 16), (5, 4)])
def test_files_arrive_whole_both_ways_over_a_lossy_wire(netchand, build, folder, lab, percent, megabytes):
    daemon = netchand([connect_flow("outbound", 7000)])
    loss = Loss(lab, build, per_mille=percent * 10)
    ours, theirs, received = random_file(folder / "big-ours", megabytes, 1), random_file(folder / "big-theirs", megabytes, 2), folder / "big-received"
    with lab.listen("b", (ADDRESS["b"], 7000), timeout=30) as server:
        client = cat(daemon, build, "outbound", source=ours, target=received)
        sock, _ = server.accept()
        with sock:
            sock.settimeout(120)
            sender = threading.Thread(target=send_file, args=(sock, theirs))
            sender.start()
            got = receive_all(sock)
            sender.join()
        finished(client, 120)
    assert got == (sha256(ours), megabytes << 20)
    assert sha256(received) == sha256(theirs)
    assert loss.dropped("ingress") > 0 and loss.dropped("egress") > 0
    page = daemon.metrics()
    assert page.sum("netchan_atcp_retransmits_total") > 0
    assert page.sum("netchan_atcp_out_of_order_total") > 0
    # Losses are mended by SACK recovery; timeouts are for what recovery cannot see.
    assert page.sum("netchan_atcp_fast_recoveries_total") > page.sum("netchan_atcp_rto_timeouts_total")
