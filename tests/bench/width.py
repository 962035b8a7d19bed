# SPDX-License-Identifier: BSD-2-Clause
"""How figures change with width: workers, connections, nothing to do, sleep. Each needs a daemon of its own."""
import json
import subprocess
import time

from measure import ADDRESS, CLIENT_CORE, ECHO_PORT, IN_PORT, OUT_PORT, PIPES, WORKER_CORE, Failed, Netchan, program, rate, result_of, thread_cpu_seconds, \
    wait_ready

CONNECTIONS = (10, 1000, 10000)
SPREAD_SIZE = 64
STREAMS = {"streams_per_client": 10240, "per_client": "64MiB"}


class Wide(Netchan):
    """Many connections of one client over the listening flow: each message is a segment of its own."""

    def _both(self, count, seconds, ours, theirs):
        def body():
            peer = self.daemon.client([program(self.build, "netchan_peer"), ours, "in", "--size", SPREAD_SIZE, "--seconds", seconds,
                                       "--count", count, "--batch", 64], core=CLIENT_CORE, **PIPES)
            wait_ready(peer, f"netchan {ours}")
            other = self.lab.start("b", [program(self.build, "kernel_peer"), theirs, f"{ADDRESS['a']}:{IN_PORT}", "--size", SPREAD_SIZE,
                                         "--seconds", seconds, "--count", count], core=CLIENT_CORE, **PIPES)
            patience = seconds + 60
            reports = {theirs: result_of(other, f"kernel {theirs}", patience), ours: result_of(peer, f"netchan {ours}", patience)}
            return rate(reports["gather"], SPREAD_SIZE)
        return self._measured(body)

    def spread_out(self, count, seconds):
        return self._both(count, seconds, "spread", "gather")

    def spread_in(self, count, seconds):
        return self._both(count, seconds, "gather", "spread")

    def pairs(self, size, seconds, pairs):
        """So many clients, each with its kernel sink, at once."""
        def body():
            sinks, sources = [], []
            for n in range(pairs):
                port = OUT_PORT if n == 0 else ECHO_PORT
                sink = self.lab.start("b", [program(self.build, "kernel_peer"), "sink", f"{ADDRESS['b']}:{port}", "--listen", "--size", size],
                                      core=CLIENT_CORE, **PIPES)
                wait_ready(sink, "kernel sink")
                sinks.append(sink)
            for n in range(pairs):
                sources.append(self.daemon.client([program(self.build, "netchan_peer"), "source", "out" if n == 0 else "ping", "--size", size,
                                                   "--seconds", seconds, "--batch", max(1, min(64, 4096 // size))], core=CLIENT_CORE, **PIPES))
            for source in sources:
                result_of(source, "netchan source", seconds + 20)
            got = [rate(result_of(sink, "kernel sink", 20), size) for sink in sinks]
            return {q: sum(g[q] for g in got) for q in got[0]}
        return self._measured(body)

    def idle_share(self, seconds):
        """The share of a core that the workers use while one client is attached and nothing happens."""
        client = self.daemon.client([program(self.build, "netchan_peer"), "sink", "in", "--size", 64], **PIPES)
        wait_ready(client, "netchan sink")
        time.sleep(0.5)
        threads = self.daemon.worker_threads().values()
        before = sum(thread_cpu_seconds(self.daemon.process.pid, t) for t in threads)
        time.sleep(seconds)
        spent = sum(thread_cpu_seconds(self.daemon.process.pid, t) for t in threads) - before
        client.kill()
        client.wait()
        return {"core_share": spent / seconds / len(threads)}

    def wake(self):
        bench = self.daemon.client([program(self.build, "wake_bench"), "out", self.lab.namespace("b"), f"{ADDRESS['b']}:{OUT_PORT}",
                                    WORKER_CORE], core=CLIENT_CORE, **PIPES)
        return result_of(bench, "wake_bench", 60)


def measure(suite):
    for r in range(suite.rounds):
        for workers in (1, 2):
            suite.settle()
            suite.progress(f"round {r + 1} of {suite.rounds}: {workers} workers")
            with Wide(suite.build, cores=tuple(range(workers))) as wide:
                for size in (64, 1024):
                    suite.attempt(f"workers {workers}", f"{size} B", lambda size=size: wide.pairs(size, suite.seconds, 2))
        for count in CONNECTIONS:
            suite.settle()
            suite.progress(f"round {r + 1} of {suite.rounds}: {count} connections")
            with Wide(suite.build, memory=STREAMS) as wide:
                suite.attempt(f"connections {count}", "out", lambda: wide.spread_out(count, suite.seconds))
                suite.attempt(f"connections {count}", "in", lambda: wide.spread_in(count, suite.seconds))
        suite.settle()
        suite.progress(f"round {r + 1} of {suite.rounds}: idle, wake-up")
        with Wide(suite.build) as wide:
            suite.attempt("idle", "adaptive", lambda: wide.idle_share(max(2.0, suite.seconds)))
            suite.attempt("wake", "adaptive", wide.wake)


def memory(build):
    done = subprocess.run([program(build, "memory_bench")], check=False, capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr)
    return json.loads(done.stdout)


def show(suite, print_table, out=print):
    rows = [[f"{w} worker{'s' if w > 1 else ''}"] + [suite.cell(f"workers {w}", f"{s} B", q).text(f) for s in (64, 1024)
                                                   for q, f in (("messages_per_s", "{:.0f}"), ("worker_ns_per_packet", "{:.0f}"))] for w in (1, 2)]
    out("")
    print_table(["two streams out", "64 B, /s", "ns/packet", "1 KiB, /s", "ns/packet"], rows, out)
    rows = [[f"{n} connections"] + [suite.cell(f"connections {n}", d, q).text("{:.0f}") for d in ("out", "in")
                                    for q in ("messages_per_s", "worker_ns_per_packet")] for n in CONNECTIONS]
    out("")
    print_table(["64 B in turn", "out, /s", "ns/packet", "in, /s", "ns/packet"], rows, out)
    share = suite.cell("idle", "adaptive", "core_share").median()
    if share is not None:
        out(f"\n  idle: {share:.2%} of a core for a worker with one idle client (goal: 2 % at most)")
    wake = {q: suite.cell("wake", "adaptive", f"{q}_us").median() for q in ("awake", "asleep", "eventfd")}
    if None not in wake.values():
        out(f"  wake-up: {wake['asleep'] - wake['awake']:.1f} us more for a message to a sleeping worker ({wake['asleep']:.1f} against "
            f"{wake['awake']:.1f} us, commit to kernel peer); a bare eventfd wake-up of the same run takes {wake['eventfd']:.1f} us")
    sizes = memory(suite.build)
    out(f"  memory of a connection: {sizes['engine_octets']} octets of engine, {sizes['shared_octets']} of shared lines and rings, and at least "
        f"{sizes['smallest_logs_octets']} of logs")
