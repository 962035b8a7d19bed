# SPDX-License-Identifier: BSD-2-Clause
"""The measurements: one function runs one row once, in one column. tests/bench/run and tools/try choose rows and rounds.

Who sits where (2 cores): netchand's worker on core 0; its client on core 1; the peer's process on core 1. For the kernel columns
the sender is on core 1 and the receiver on core 0 or 1, whichever was faster. Softirqs run where the sender is.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tools", "kit"))
import daemon  # noqa: E402
from lab import ADDRESS, ADDRESS6, Lab, end  # noqa: E402

WORKER_CORE, CLIENT_CORE = 0, 1
BULK = 65536
OUT_PORT, IN_PORT, ECHO_PORT = 7001, 9001, 7002
# The same flows over both families; a flow over IPv6 has a 6 behind its name.
FAMILIES = {"": ADDRESS, "6": ADDRESS6}
# A source over kernel sockets that stands for a peer which is not measured: it batches, so that it is not the bottleneck.
PEER_BATCH_OCTETS = 16384


def endpoint(family, side, port):
    return f"[{FAMILIES[family][side]}]:{port}" if family else f"{FAMILIES[family][side]}:{port}"


class Failed(Exception):
    pass


def program(build, name):
    return os.path.join(build, "tests", "bench", name)


def wait_ready(process, name):
    """Our programs say "ready" on stderr when they listen or have attached."""
    line = process.stderr.readline()
    if "ready" not in line:
        raise Failed(f"{name}: {line}{process.stderr.read()}")


def result_of(process, name, timeout):
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        end(process)
        raise Failed(f"{name} did not end within {timeout} s") from None
    if process.returncode:
        raise Failed(f"{name} ended with {process.returncode}: {err.strip()}")
    lines = [line for line in out.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {}


PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def rate(report, size):
    """Messages and octets a second, as the receiver saw them."""
    seconds = max(report["seconds"], 1e-9)
    return {"messages_per_s": report["octets"] / size / seconds, "octets_per_s": report["octets"] / seconds}


def thread_cpu_seconds(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="utf-8") as f:
        return int(f.read().split()[0]) * 1e-9


class Kernel:
    """Kernel sockets at both ends, on a fresh veth that never had an XDP program."""

    def __init__(self, build, offloads):
        self.build, self.offloads = build, offloads
        self.lab = Lab(offloads=offloads)

    def __enter__(self):
        self.lab.__enter__()
        return self

    def __exit__(self, *error):
        self.lab.__exit__(*error)

    def flow(self, size, seconds, nodelay):
        """a sends to b; the better of two placements: a core each (waking another core costs), or both on one."""
        return max((self._flow(size, seconds, nodelay, core) for core in (WORKER_CORE, CLIENT_CORE)), key=lambda r: r["octets_per_s"])

    def _flow(self, size, seconds, nodelay, sink_core):
        peer = program(self.build, "kernel_peer")
        target = f"{ADDRESS['b']}:{OUT_PORT}"
        sink = self.lab.start("b", [peer, "sink", target, "--listen", "--size", size], core=sink_core, **PIPES)
        wait_ready(sink, "kernel sink")
        options = ["--nodelay"] if nodelay else []
        source = self.lab.start("a", [peer, "source", target, "--size", size, "--seconds", seconds, *options], core=CLIENT_CORE, **PIPES)
        sent = result_of(source, "kernel source", seconds + 20)
        got = result_of(sink, "kernel sink", 20)
        return {**rate(got, size), "client_ns_per_message": 1e9 * sent["cpu_seconds"] / max(1, sent["messages"])}

    def ping(self, size, seconds, spin):
        peer = program(self.build, "kernel_peer")
        target = f"{ADDRESS['b']}:{ECHO_PORT}"
        options = ["--nodelay"] + (["--spin"] if spin else [])
        echo = self.lab.start("b", [peer, "echo", target, "--listen", *options], core=WORKER_CORE, **PIPES)
        wait_ready(echo, "kernel echo")
        report = result_of(self.lab.start("a", [peer, "ping", target, "--size", size, "--seconds", seconds, *options],
                                          core=CLIENT_CORE, **PIPES), "kernel ping", seconds + 20)
        result_of(echo, "kernel echo", 20)
        return report


class Netchan:
    """netchand on side a with one client; the peer on side b is a kernel program, or netchand again (`both_ends`)."""

    def __init__(self, build, idle="adaptive", both_ends=False, cores=(WORKER_CORE,), memory=None, families=("",)):
        self.build, self.both_ends = build, both_ends
        self.lab = Lab(queues=len(cores))
        self.idle, self.cores, self.memory, self.families = idle, cores, memory or {}, families
        self.daemon = self.peer = self.folder = None

    def __enter__(self):
        self.lab.__enter__()
        try:
            flows = []
            for family in self.families:
                address = FAMILIES[family]
                flows += [daemon.connect_flow("out" + family, OUT_PORT, address["b"], local_ports="40000-40999"),
                          daemon.connect_flow("ping" + family, ECHO_PORT, address["b"], local_ports="41000-41999"),
                          daemon.listen_flow("in" + family, IN_PORT, address["a"])]
            self.folder = tempfile.TemporaryDirectory(prefix="netchan-bench-")
            places = [os.path.join(self.folder.name, side) for side in "ab"]
            for place in places:
                os.mkdir(place)
            self.daemon = daemon.Netchand(self.lab, self.build, flows, folder=places[0], cores=self.cores, idle=self.idle,
                                          **({"memory": self.memory} if self.memory else {})).start()
            if self.both_ends:
                self.peer = daemon.Netchand(self.lab, self.build, [daemon.listen_flow("echo", ECHO_PORT, ADDRESS["b"])], side="b",
                                            folder=places[1], cores=(CLIENT_CORE,), idle=self.idle).start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for one in (self.daemon, self.peer):
            if one:
                one.stop()
        self.lab.__exit__()
        if self.folder:
            self.folder.cleanup()

    def mode(self):
        """As the daemon says it: "copy mode (native)"."""
        found = re.search(r"queue 0: (.*? mode \([^)]*\))", self.daemon.log_text())
        return found[1] if found else "mode unknown"

    def _measured(self, body):
        """Runs body and adds what the worker spent meanwhile, by packet. An adaptive worker spins for a while before it sleeps, and
        that is in its time."""
        threads = self.daemon.worker_threads()
        before, cpu = self.daemon.metrics(), [thread_cpu_seconds(self.daemon.process.pid, t) for t in threads.values()]
        result = body()
        spent = sum(thread_cpu_seconds(self.daemon.process.pid, t) for t in threads.values()) - sum(cpu)
        moved = self.daemon.metrics().since(before)
        packets = moved.sum("netchan_worker_frames_in_total") + moved.sum("netchan_worker_frames_out_total")
        kicks = moved.sum("netchan_port_rx_kicks_total") + moved.sum("netchan_port_tx_kicks_total")
        result.update({"packets": packets, "worker_ns_per_packet": 1e9 * spent / max(1, packets), "kicks_per_packet": kicks / max(1, packets),
                       "sleeps_per_packet": moved.sum("netchan_worker_sleeps_total") / max(1, packets)})
        return result

    def out(self, size, seconds, family=""):
        """client -> netchand -> kernel sink"""
        def body():
            sink = self.lab.start("b", [program(self.build, "kernel_peer"), "sink", endpoint(family, "b", OUT_PORT), "--listen",
                                        "--size", size], core=CLIENT_CORE, **PIPES)
            wait_ready(sink, "kernel sink")
            batch = max(1, min(64, 4096 // size))
            source = self.daemon.client([program(self.build, "netchan_peer"), "source", "out" + family, "--size", size, "--seconds", seconds,
                                         "--batch", batch], core=CLIENT_CORE, **PIPES)
            sent = result_of(source, "netchan source", seconds + 20)
            got = result_of(sink, "kernel sink", 20)
            return {**rate(got, size), "client_ns_per_message": 1e9 * sent["cpu_seconds"] / max(1, sent["messages"])}
        return self._measured(body)

    def into(self, size, seconds, family=""):
        """kernel source -> netchand -> client"""
        def body():
            sink = self.daemon.client([program(self.build, "netchan_peer"), "sink", "in" + family, "--size", size], core=CLIENT_CORE, **PIPES)
            wait_ready(sink, "netchan sink")
            source = self.lab.start("b", [program(self.build, "kernel_peer"), "source", endpoint(family, "a", IN_PORT), "--size", size,
                                          "--seconds", seconds, "--batch", max(1, PEER_BATCH_OCTETS // size)], core=CLIENT_CORE, **PIPES)
            result_of(source, "kernel source", seconds + 20)
            got = result_of(sink, "netchan sink", 20)
            return {**rate(got, size), "client_ns_per_message": 1e9 * got["cpu_seconds"] / max(1, got["messages"])}
        return self._measured(body)

    def ping(self, size, seconds, family="", spin=False):
        def body():
            options = ["--spin"] if spin else []
            if self.peer:
                echo = self.peer.client([program(self.build, "netchan_peer"), "echo", "echo", *options], core=CLIENT_CORE, **PIPES)
            else:
                echo = self.lab.start("b", [program(self.build, "kernel_peer"), "echo", endpoint(family, "b", ECHO_PORT), "--listen",
                                            "--nodelay", *options], core=CLIENT_CORE, **PIPES)
            wait_ready(echo, "echo")
            report = result_of(self.daemon.client([program(self.build, "netchan_peer"), "ping", "ping" + family, "--size", size, "--seconds", seconds,
                                                   *options], core=CLIENT_CORE, **PIPES), "netchan ping", seconds + 20)
            result_of(echo, "echo", 20)
            return report
        return self._measured(body)

    def syscalls(self, size, seconds):
        """System calls of the worker thread by packet, counted by the kernel's own tracepoint while `out` runs."""
        tid = next(iter(self.daemon.worker_threads().values()))
        # tracefs in a mount namespace of its own; perf ends with its sleep.
        script = 'mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec perf stat -x, -e raw_syscalls:sys_enter -t "$0" -- sleep "$1"'
        counter = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "bash", "-c", script, str(tid), str(seconds + 1.5)],
                                   **PIPES)
        self.lab.processes.append(counter)
        time.sleep(0.3)
        report = self.out(size, seconds)
        _, words = counter.communicate(timeout=seconds + 20)
        found = re.search(r"^(\d+),,raw_syscalls:sys_enter", words, re.M)
        if not found:
            raise Failed(f"perf stat: {words.strip()}")
        return {"syscalls": int(found[1]), "packets": report["packets"], "syscalls_per_packet": int(found[1]) / max(1, report["packets"])}


def busy_share(seconds=0.5):
    """The share of all cores' time that is in use now, by anybody."""
    def sample():
        with open("/proc/stat", encoding="utf-8") as f:
            numbers = [int(n) for n in f.readline().split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]
    total, idle = sample()
    time.sleep(seconds)
    total2, idle2 = sample()
    return 1 - (idle2 - idle) / max(1, total2 - total)


def wait_for_idle(limit=0.10, patience=60):
    """Until others use less than `limit` of the machine, at most `patience` seconds; what it was at last."""
    until = time.monotonic() + patience
    while (busy := busy_share()) > limit and time.monotonic() < until:
        time.sleep(1)
    return busy
