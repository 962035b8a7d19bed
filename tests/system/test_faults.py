# SPDX-License-Identifier: BSD-2-Clause
"""What happens to machines: links that flap, neighbours that change, a daemon that is stopped, starved, or started again and again.
Octets come exactly once and in order, or with a defined error; and nothing is left behind."""
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import threading
import time

import pytest
from daemon import DaemonDied, connect_flow, listen_flow
from helpers import BothWays, attached, cat, finished, random_file, receive_all, sha256, until, xdp_program
from lab import ADDRESS, INTERFACE, end


def test_a_link_that_flaps_on_both_sides_loses_nothing(netchand, build, folder, lab):
    transfer = BothWays(netchand([connect_flow("outbound", 7000)]), build, folder, lab)
    for n in range(6):
        transfer.moved((n + 1) << 20)
        side = "ab"[n % 2]
        lab.run(side, ["ip", "link", "set", INTERFACE[side], "down"])
        time.sleep(0.05)  # the length of the fault
        lab.run(side, ["ip", "link", "set", INTERFACE[side], "up"])
    transfer.finish()


def test_a_peer_whose_mac_changes_is_found_again(netchand, build, folder, lab):
    """As when an address moves to the other machine of a pair: it announces itself, and nobody waits for a timer."""
    transfer = BothWays(netchand([connect_flow("outbound", 7000)]), build, folder, lab)
    lab.run("b", ["sysctl", "-qw", f"net.ipv4.conf.{INTERFACE['b']}.arp_notify=1"])
    for n in range(4):
        transfer.moved((n + 1) << 20)
        lab.run("b", ["ip", "link", "set", INTERFACE["b"], "address", f"02:00:00:00:77:{n:02x}"])
    transfer.finish()


def test_a_route_that_moves_to_another_next_hop_is_followed_and_one_that_is_gone_stops_the_stream(netchand, build, folder, lab):
    far, dead = "10.99.0.1", "10.77.0.3"  # nobody has the dead hop's MAC
    lab.run("b", ["ip", "address", "add", far + "/32", "dev", "lo"])
    lab.run("a", ["ip", "route", "add", "10.99.0.0/24", "via", ADDRESS["b"]])
    lab.run("a", ["ip", "neigh", "add", dead, "lladdr", "02:00:00:00:77:dd", "dev", INTERFACE["a"], "nud", "permanent"])
    transfer = BothWays(netchand([connect_flow("outbound", 7000, address=far)]), build, folder, lab, address=far)

    def stands_still():
        before = os.path.getsize(transfer.received)
        time.sleep(0.3)  # the length of the fault
        return os.path.getsize(transfer.received) == before
    for n, (broken, mended) in enumerate(((["change", "10.99.0.0/24", "via", dead], ["change", "10.99.0.0/24", "via", ADDRESS["b"]]),
                                          (["del", "10.99.0.0/24"], ["add", "10.99.0.0/24", "via", ADDRESS["b"]]),
                                          (["add", "blackhole", far], ["del", "blackhole", far]))):
        transfer.moved((2 * n + 1) << 20)
        lab.run("a", ["ip", "route", *broken])
        until(stands_still, words=f"it goes on after: ip route {' '.join(broken)}")
        assert transfer.taken is None
        lab.run("a", ["ip", "route", *mended])
    transfer.finish()


def test_a_daemon_that_is_stopped_and_continued_goes_on(netchand, build, folder, lab):
    daemon = netchand([connect_flow("outbound", 7000)])
    transfer = BothWays(daemon, build, folder, lab)
    for n in range(3):
        transfer.moved((n + 1) << 20)
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(0.7)  # the length of the fault
        daemon.process.send_signal(signal.SIGCONT)
    transfer.finish()


# ---- limits ---------------------------------------------------------------------------------------------------------------


def programs_of_ours():
    shown = subprocess.run(["bpftool", "-j", "prog", "show"], check=True, capture_output=True).stdout
    return {p["id"] for p in json.loads(shown) if p.get("name", "").startswith("steer")}


@pytest.mark.unsanitized
@pytest.mark.parametrize("limit", ["--nofile=12", "--nofile=24", "--as=50000000", "--as=150000000"])
def test_a_start_that_a_limit_forbids_says_what_failed_and_leaves_nothing(netchand, lab, limit):
    before = programs_of_ours()
    daemon = netchand([listen_flow("inbound", 9000)], run=False, memory={"size": "128MiB"})
    daemon.wrap = ["prlimit", limit]
    with pytest.raises(DaemonDied) as died:
        daemon.start()
    words = str(died.value)
    assert daemon.process.returncode > 0, words  # an exit code: no signal, no CHECK
    assert re.search(r"[Tt]oo many open files|[Cc]annot allocate|bad_alloc|memory", words), words
    assert xdp_program(lab) is None
    assert programs_of_ours() <= before


def in_use(pid, limit):
    """Descriptors open, or octets mapped."""
    if limit == "nofile":
        return len(os.listdir(f"/proc/{pid}/fd"))
    with open(f"/proc/{pid}/statm", encoding="utf-8") as f:
        return int(f.read().split()[0]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.unsanitized
@pytest.mark.parametrize("limit, room, says", [("nofile", 4, b"open files|descriptor"), ("as", 1 << 20, b"allocate|memory")])
def test_clients_beyond_a_limit_of_the_daemon_are_refused_with_words_and_others_stay(netchand, build, lab, limit, room, says):
    daemon = netchand([listen_flow("inbound", 9000)])
    pid = daemon.process.pid

    def set_limit(value):
        subprocess.run(["prlimit", f"--pid={pid}", f"--{limit}={value}:"], check=True)
    first = cat(daemon, build, "inbound")
    with attached(daemon, 9000) as sock:
        set_limit(in_use(pid, limit) + room)
        second = daemon.client([os.path.join(build, "client", "netchan-cat"), "inbound"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, words = second.communicate(timeout=20)
        assert second.returncode != 0
        assert re.search(says, words), words
        set_limit(4096 if limit == "nofile" else "unlimited")
        sock.shutdown(1)
        finished(first)
    third = cat(daemon, build, "inbound")
    with attached(daemon, 9000) as sock:
        sock.shutdown(1)
        finished(third)


# ---- again and again ------------------------------------------------------------------------------------------------------


class Knocking:
    """Kernel peers that connect, send and wait, whatever becomes of it: the load under which a daemon is restarted. All send the
    same octets, of which no two places are alike."""
    SENT = random.Random(3).randbytes(4 << 20)

    def __init__(self, lab, port):
        self.lab, self.port = lab, port
        self.over = threading.Event()
        self.answered, self.unexpected = 0, []
        self.threads = [threading.Thread(target=self._knock) for _ in range(2)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for t in self.threads:
            t.join()

    def _knock(self):
        while not self.over.is_set():
            try:
                with self.lab.connect("b", (ADDRESS["a"], self.port), timeout=0.3) as sock:
                    sock.sendall(self.SENT)
                    sock.shutdown(1)
                    while octets := sock.recv(65536):
                        self.unexpected.append(octets)  # nobody sends any
                    self.answered += 1
            except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError, TimeoutError):  # the daemon is not there just now
                self.over.wait(0.005)
            except OSError as error:
                self.unexpected.append(error)


def belongings(pid):
    """What a process has that could outlive it: ("prog", id) and ("map", id) of BPF, ("memory", inode) of mapped memfds."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/fdinfo/{fd}", encoding="utf-8") as f:
            found |= {(kind, int(number)) for kind, number in re.findall(r"^(prog|map)_id:\s*(\d+)", f.read(), re.M)}
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        found |= {("memory", int(line.split()[4])) for line in f if "/memfd:" in line}
    return found


def existing():
    """All of these on this machine."""
    shown = {kind: json.loads(subprocess.run(["bpftool", "-j", kind, "show"], check=True, capture_output=True).stdout) for kind in ("prog", "map")}
    found = {(kind, entry["id"]) for kind, entries in shown.items() for entry in entries}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            found |= {thing for thing in belongings(pid) if thing[0] == "memory"}
    return found


@pytest.mark.timeout(240)
@pytest.mark.unsanitized
def test_a_hundred_restarts_under_load_leave_nothing_behind(netchand, build, folder, lab):
    namespaces = set(os.listdir("/var/run/netns"))
    held, shared, cut_off = set(), set(os.listdir("/dev/shm")), 0
    daemon = netchand([listen_flow("load", 9000), listen_flow("inbound", 9001)], run=False)
    ours = random_file(folder / "big-ours", 1)
    with Knocking(lab, 9000) as load:
        for n in range(100):
            daemon.start()
            taken = folder / f"big-load-{n}"
            reader = cat(daemon, build, "load", target=taken)  # one connection, into a file of its own
            if n % 10 == 0:  # now and then a transfer that must be whole
                client = cat(daemon, build, "inbound", source=ours)
                with attached(daemon, 9001) as sock:
                    sock.shutdown(1)
                    assert receive_all(sock)[0] == sha256(ours)
                finished(client)
            if n % 3 == 0:  # the others end before, or while, the load begins
                until(lambda taken=taken: taken.stat().st_size > 0, pause=0.001, words="the load stands still")
            held |= belongings(daemon.process.pid)
            if n % 2:
                daemon.kill()
            else:
                assert daemon.stop() == 0
            assert xdp_program(lab) is None
            assert end(reader, signal.SIGKILL) in (0, 1, 3, -signal.SIGKILL)  # whole, reset, the daemon gone, or waiting still
            octets = taken.read_bytes()
            assert load.SENT.startswith(octets), f"restart {n}: not what was sent"
            cut_off += 0 < len(octets) < len(load.SENT)
            taken.unlink()
    assert load.answered > 0 and not load.unexpected, load.unexpected
    assert cut_off > 5, "hardly a restart met a transfer"
    assert {kind for kind, _ in held} == {"prog", "map", "memory"}
    until(lambda: not held & existing(), words="BPF programs, maps or memory stayed")
    assert set(os.listdir("/dev/shm")) <= shared
    assert set(os.listdir("/var/run/netns")) == namespaces
    for port in (9000, 9001):
        lab.listen("a", (ADDRESS["a"], port)).close()  # the kernel has its ports back
    assert "CHECK failed" not in daemon.log_text()
