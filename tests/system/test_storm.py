# SPDX-License-Identifier: BSD-2-Clause
"""A client that rings its doorbell as fast as it can: it costs the worker a look a millisecond, and its neighbours nothing."""
import os
import subprocess
import threading

from daemon import listen_flow
from helpers import attached, cat, finished, random_file, send_file, sha256, until


class Storm:
    def __init__(self, daemon, build, flow):
        self.process = daemon.client([os.path.join(build, "tests", "system", "storm_client"), flow], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE)

    def lap(self):
        """Rings and milliseconds since the last lap."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return tuple(map(int, self.process.stdout.readline().split()))


def counted(daemon, name):
    return daemon.metrics().sum(f"netchan_worker_{name}_total")


def test_a_storm_of_rings_costs_a_look_a_millisecond_and_the_neighbour_nothing(netchand, build, folder):
    daemon = netchand([listen_flow("quiet", 9001), listen_flow("files", 9000)], workers={"cores": [0], "idle": "sleep"})
    storm = Storm(daemon, build, "quiet")
    storm.lap()
    until(lambda: counted(daemon, "doorbells_muted") > 0, words="the bell is not muted")

    # Nothing but the storm, for so many rings. What a mute of a millisecond lets through: its end and the ring that begins the next.
    storm.lap()
    before = daemon.metrics()
    rings, milliseconds = 0, 0
    while rings < 200_000:
        lap = storm.lap()
        rings, milliseconds = rings + lap[0], milliseconds + lap[1]
    after = daemon.metrics().since(before)
    lap = storm.lap()  # the pages took a while too
    rings, milliseconds = rings + lap[0], milliseconds + lap[1]
    turns = after.sum("netchan_worker_sleeps_total")
    assert turns <= 4 * milliseconds + 100, f"{turns} sleeps in {milliseconds} ms, {rings} rings"
    assert after.sum("netchan_worker_iterations_total") <= 8 * milliseconds + 200
    assert after.sum("netchan_worker_doorbells_muted_total") > 0
    assert rings > 8 * milliseconds + 200, f"no storm: {rings} rings in {milliseconds} ms"

    # An honest client beside it.
    sent, received = random_file(folder / "big-sent", 16), folder / "big-received"
    client = cat(daemon, build, "files", target=received)
    with attached(daemon, 9000) as sock:
        sock.settimeout(40)
        sender = threading.Thread(target=send_file, args=(sock, sent))
        sender.start()
        finished(client)
        sender.join()
    assert sha256(received) == sha256(sent)
    assert storm.process.poll() is None
    storm.process.stdin.close()
    storm.process.stdin = None
    assert storm.process.wait(10) == 0
