# SPDX-License-Identifier: BSD-2-Clause
"""What tools/try shows, once netchan is built."""
import argparse
import glob
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from daemon import DaemonDied, Netchand, connect_flow, listen_flow
from lab import ADDRESS, LAB, ROOT, Lab, end

sys.path.insert(0, os.path.join(ROOT, "tests", "bench"))
from measure import BULK, wait_for_idle  # noqa: E402
from suite import Suite  # noqa: E402
from table import print_table  # noqa: E402

FILE_OCTETS = 64 << 20
PATIENCE = 60  # seconds that one transfer may take, on a very slow machine


class Wrong(Exception):
    """Something did not do what it should: try ends with these words."""


def step(words):
    print(f"\n== {words}", flush=True)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def write_random(path, seed):
    generator = random.Random(seed)
    with open(path, "wb") as f:
        for _ in range(FILE_OCTETS >> 20):
            f.write(generator.randbytes(1 << 20))


def finished(process, what, patience=PATIENCE):
    try:
        status = process.wait(patience)
    except subprocess.TimeoutExpired:
        end(process)
        raise Wrong(f"{what} did not end within {patience} s") from None
    if status:
        raise Wrong(f"{what} ended with status {status}")


class Trial:
    def __init__(self, lab, daemon, build, folder):
        self.lab, self.daemon, self.build, self.folder = lab, daemon, build, folder
        self.kernel_file, self.netchan_file = self.path("from-kernel"), self.path("from-netchan")

    def path(self, name):
        return os.path.join(self.folder, name)

    def cat(self, flow, source, target):
        with open(source, "rb") as stdin, open(target, "wb") as stdout:
            return self.daemon.client([os.path.join(self.build, "client", "netchan-cat"), flow], stdin=stdin, stdout=stdout)

    def transfer(self, what, start, pairs):
        """start() -> processes; pairs: (sent, received) files that must be equal afterwards."""
        began = time.monotonic()
        for name, process in start():
            finished(process, f"{what}: {name}")
        seconds = time.monotonic() - began
        for sent, received in pairs:
            if sha256(sent) != sha256(received):
                raise Wrong(f"{what}: sha256 differs: {os.path.getsize(sent)} octets sent, {os.path.getsize(received)} received")
        octets = FILE_OCTETS * len(pairs)
        print(f"  {what}: {octets >> 20} MiB in {seconds:.2f} s, {octets / seconds / 1e6:.0f} MB/s, sha256 equal "
              f"({sha256(pairs[0][0])[:16]}...)", flush=True)

    def files(self):
        write_random(self.kernel_file, 1)
        write_random(self.netchan_file, 2)
        server = f"TCP:{ADDRESS['a']}:9000,retry=50,interval=0.05"
        received = self.path("received")

        def kernel_sends():
            client = self.cat("inbound", os.devnull, received)
            time.sleep(0.1)  # let it attach: a listener without a client refuses
            socat = self.lab.start("b", ["socat", "-u", f"FILE:{self.kernel_file}", server])
            return [("socat", socat), ("netchan-cat", client)]
        self.transfer("kernel -> tcp: listen -> client", kernel_sends, [(self.kernel_file, received)])

        def client_sends():
            client = self.cat("inbound", self.netchan_file, os.devnull)
            time.sleep(0.1)
            socat = self.lab.start("b", ["socat", "-u", server, f"CREATE:{received}"])
            return [("socat", socat), ("netchan-cat", client)]
        self.transfer("client -> tcp: listen -> kernel", client_sends, [(self.netchan_file, received)])

        back = self.path("back")

        def both():
            # -t: when one direction has ended, wait for the other.
            socat = self.lab.start("b", ["socat", "-t", str(PATIENCE), f"TCP-LISTEN:7000,reuseaddr,bind={ADDRESS['b']}",
                                         f"FILE:{self.kernel_file}!!CREATE:{received}"])
            wait_for_listener(self.lab, 7000)
            return [("netchan-cat", self.cat("outbound", self.netchan_file, back)), ("socat", socat)]
        self.transfer("both at once over tcp: connect", both, [(self.netchan_file, received), (self.kernel_file, back)])

    def metrics(self):
        page = self.daemon.metrics()
        rows = []

        def show(label, value):
            rows.append([label, value])
        for labels, value in page.rows("netchan_port_mode"):
            if value:
                show(f"mode of {labels.get('interface')} queue {labels.get('queue')}", labels.get("mode", "?"))
        for labels, value in page.rows("netchan_steer_packets_total"):
            show(f"packets, XDP verdict {labels.get('verdict')}", f"{value:.0f}")
        for name in ("segments_in", "segments_out", "octets_in", "octets_out", "retransmits"):
            show(f"atcp {name.replace('_', ' ')}", f"{page.sum(f'netchan_atcp_{name}_total'):.0f}")
        drops = [(labels, value) for labels, value in page.rows("netchan_drops_total") if value]
        for labels, value in drops:
            show(f"dropped: {labels.get('reason')} ({labels.get('where')})", f"{value:.0f}")
        if not drops:
            show("dropped", "none")
        for label, value in rows:
            print(f"  {label:<44} {value:>14}")
        redirected = page.sum("netchan_steer_packets_total", verdict="redirected")
        if redirected < FILE_OCTETS / 65536:
            raise Wrong(f"only {redirected:.0f} packets were redirected: the files did not go through AF_XDP")


def wait_for_listener(lab, port):
    for _ in range(200):
        if lab.run("b", ["ss", "-Hltn", f"sport = :{port}"]).stdout.strip():
            return
        time.sleep(0.02)
    raise Wrong(f"nobody listens on port {port}")


def run(build, folder):
    step("two network namespaces, one veth pair; netchand on one side")
    with Lab() as lab:
        flows = [listen_flow("inbound", 9000), connect_flow("outbound", 7000)]
        with Netchand(lab, build, flows, folder=folder) as daemon:
            with open(daemon.config, encoding="utf-8") as f:
                print("  " + f.read().rstrip().replace("\n", "\n  "))
            for line in daemon.log_text().splitlines():
                if "mode" in line:
                    print(f"  netchand: {line.strip()}")
            trial = Trial(lab, daemon, build, folder)
            step(f"files of {FILE_OCTETS >> 20} MiB: an ordinary kernel program (socat) and a libnetchan client (netchan-cat)")
            trial.files()
            figures(build)
            step("what the daemon counted while the files went through (Prometheus metrics)")
            trial.metrics()
            status = daemon.stop()
            if status:
                raise Wrong(f"netchand ended with status {status} on SIGTERM")


def figures(build):
    step("netchan beside kernel sockets, this run only (tests/bench/run measures properly: more rounds, more columns)")
    busy = wait_for_idle(patience=3)
    suite = Suite(build, [16, 64, 1024, BULK], rounds=1, seconds=0.7, progress=progress, offloads=False, ipv6=False)
    suite.run()
    progress("")
    suite.print()
    print(f"  out: client -> netchand -> kernel; in: the reverse. wire: kernel sockets, offloads off,\n  the better of receiver on the sender's core or its own.\n"
          f"  {suite.mode}; 1 round of 0.7 s; other processes used {busy:.0%} of {os.cpu_count()} cores before")
    offloads = suite.cell(BULK, "offloads nagle", "octets_per_s").median()
    if offloads:
        print(f"  kernel bulk with offloads on (64 KiB super-packets, which no wire carries): {offloads / 1e6:.0f} MB/s")
    if suite.failures:
        raise Wrong("some figures could not be measured: " + "; ".join(suite.failures))


def progress(words):
    """One line that rewrites itself on a terminal."""
    if sys.stdout.isatty():
        print(f"\r\033[K  {words}" if words else "\r\033[K", end="", flush=True)


def own_folder():
    """With our pid in its name, so that what a killed run left (big files) is recognised and removed."""
    for old in glob.glob(os.path.join(tempfile.gettempdir(), "netchan-try-*")):
        owner = old.rsplit("-", 1)[1]
        if owner.isdigit() and not os.path.isdir(f"/proc/{owner}") and not os.path.exists(os.path.join(old, "kept")):
            shutil.rmtree(old, ignore_errors=True)
    folder = os.path.join(tempfile.gettempdir(), f"netchan-try-{os.getpid()}")
    os.mkdir(folder, 0o700)
    return folder


def main():
    parser = argparse.ArgumentParser(prog="tools/try")
    parser.add_argument("--build", required=True)
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also when the caller's shell had it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    folder = own_folder()
    keep = False
    try:
        run(args.build, folder)
        print(f"\ntry: all of it worked, in {time.monotonic() - began:.0f} s; nothing is left behind")
    except KeyboardInterrupt:
        print("\ntry: interrupted; cleaned up", file=sys.stderr)
        sys.exit(130)
    except (Wrong, DaemonDied, subprocess.SubprocessError) as error:
        keep = True
        log = os.path.join(folder, "netchand.log")
        if os.path.exists(log):
            with open(log, encoding="utf-8", errors="replace") as f:
                print("\nnetchand's log:\n" + f.read()[-4000:], file=sys.stderr)
        print(f"\ntry: FAILED: {error}\ntry: the logs are in {folder}", file=sys.stderr)
        sys.exit(1)
    finally:
        if keep:  # without the big files
            with open(os.path.join(folder, "kept"), "w", encoding="utf-8"):
                pass
            for name in ("from-kernel", "from-netchan", "received", "back"):
                if os.path.exists(os.path.join(folder, name)):
                    os.remove(os.path.join(folder, name))
        else:
            shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([LAB, "sweep"], check=False)


main()
