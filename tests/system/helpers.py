# SPDX-License-Identifier: BSD-2-Clause
"""What several system tests do: files through netchan-cat and kernel sockets, waiting for a fact, looking at the hook."""
import hashlib
import json
import os
import random
import subprocess
import threading
import time

from lab import ADDRESS, INTERFACE


def until(what, patience=10.0, pause=0.02, words="it did not happen"):
    """Waits until what() is true and returns that; patience is for slow machines and never part of what is tested."""
    end = time.monotonic() + patience
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, words
        time.sleep(pause)


def random_file(path, megabytes, seed=1):
    generator = random.Random(seed)
    with open(path, "wb") as f:
        for _ in range(megabytes):
            f.write(generator.randbytes(1 << 20))
    return path


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def cat(daemon, build, flow, source=os.devnull, target=os.devnull):
    """netchan-cat between files (paths) or pipes (subprocess.PIPE)."""
    stdin = source if isinstance(source, int) else open(source, "rb")
    stdout = target if isinstance(target, int) else open(target, "wb")
    return daemon.client([os.path.join(build, "client", "netchan-cat"), flow], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)


def finished(process, patience=60):
    """Waits for a program that must succeed."""
    _, words = process.communicate(timeout=patience)
    assert process.returncode == 0, f"{process.args[-2:]} ended with {process.returncode}: {(words or b'').decode(errors='replace')}"


def attached(daemon, flow_port, patience=10, address=ADDRESS["a"]):
    """Until a kernel peer's SYN to the flow's port is answered: before, nobody accepts and a SYN gets a reset."""
    def connects():
        try:
            return daemon.lab.connect("b", (address, flow_port))
        except ConnectionRefusedError:
            return None
    return until(connects, patience, words=f"nobody accepts on {flow_port}")


def send_file(sock, path):
    with open(path, "rb") as f:
        sock.sendfile(f)
    sock.shutdown(1)


def receive_all(sock):
    """Everything up to the end of the stream; its sha256 and length."""
    digest, total = hashlib.sha256(), 0
    while block := sock.recv(1 << 18):
        digest.update(block)
        total += len(block)
    return digest.hexdigest(), total


class BothWays:
    """A file each way at once over one connection of the connect flow `outbound` (listens: of the listen flow `inbound`), while
    something happens. The files are far larger than the buffers of both ends, so that what happens meets a stream in full flow;
    moved() and finish() assert that it did."""

    def __init__(self, daemon, build, folder, lab, port=7000, address=ADDRESS["b"], megabytes=64, listens=False):
        self.octets = megabytes << 20
        self.ours, self.theirs = random_file(folder / "big-ours", megabytes, 1), random_file(folder / "big-theirs", megabytes, 2)
        self.received = folder / "big-received"
        self.disturbed, self.taken = False, None
        if listens:
            self.client = cat(daemon, build, "inbound", source=self.ours, target=self.received)
            self.sock = attached(daemon, port, address=address)
        else:
            with lab.listen("b", (address, port)) as server:
                self.client = cat(daemon, build, "outbound", source=self.ours, target=self.received)
                server.settimeout(20)
                self.sock, _ = server.accept()
        self.sock.settimeout(50)
        self.threads = [threading.Thread(target=send_file, args=(self.sock, self.theirs), daemon=True),
                        threading.Thread(target=self._take, daemon=True)]
        for thread in self.threads:
            thread.start()

    def _take(self):
        self.taken = receive_all(self.sock)

    def _runs(self):
        assert self.client.poll() is None and self.taken is None and os.path.getsize(self.received) < self.octets, \
            "the transfer was over before the fault: larger files"

    def moved(self, octets):
        """Until the daemon's client has so many octets of theirs; both directions are still under way then."""
        self.disturbed = True
        until(lambda: os.path.getsize(self.received) >= octets, pause=0.002, words="the transfer stands still")
        self._runs()

    def finish(self):
        """Both files whole. After a moved(): the last fault, too, met a transfer that was under way."""
        if self.disturbed:
            self._runs()
        for thread in self.threads:
            thread.join()
        finished(self.client)
        self.sock.close()
        assert self.taken == (sha256(self.ours), self.octets)
        assert sha256(self.received) == sha256(self.theirs)


def xdp_program(lab, side="a"):
    """What holds the hook of the side's interface: None, or what `ip` says about it."""
    links = json.loads(lab.run(side, ["ip", "-j", "-d", "link", "show", INTERFACE[side]]).stdout)
    return links[0].get("xdp")


class Loss:
    """Drops packets at random at side b's interface, in both directions, by a tc program of ours."""

    def __init__(self, lab, build, per_mille):
        self.maps = {}
        loss = os.path.join(build, "tests", "system", "loss.bpf.o")
        device = INTERFACE["b"]
        lab.run("b", ["tc", "qdisc", "add", "dev", device, "clsact"])
        for direction in ("ingress", "egress"):
            lab.run("b", ["tc", "filter", "add", "dev", device, direction, "bpf", "da", "obj", loss, "sec", "tc"])
            rows = json.loads(lab.run("b", ["tc", "-j", "filter", "show", "dev", device, direction]).stdout)
            program = next(r["options"]["prog"]["id"] for r in rows if "options" in r)
            found = json.loads(subprocess.run(["bpftool", "-j", "prog", "show", "id", str(program)], check=True, capture_output=True).stdout)
            self.maps[direction] = next(i for i in found["map_ids"] if self._name(i) == "loss")
        self.set(per_mille)

    @staticmethod
    def _name(number):
        return json.loads(subprocess.run(["bpftool", "-j", "map", "show", "id", str(number)], check=True, capture_output=True).stdout)["name"]

    def set(self, per_mille):
        value = list(per_mille.to_bytes(8, "little"))
        for number in self.maps.values():
            subprocess.run(["bpftool", "map", "update", "id", str(number), "key", "0", "0", "0", "0", "value", *map(str, value)], check=True)

    def dropped(self, direction):
        rows = json.loads(subprocess.run(["bpftool", "-j", "map", "dump", "id", str(self.maps[direction])], check=True,
                                         capture_output=True).stdout)
        return int.from_bytes(bytes(int(o, 16) for o in rows[2]["value"]), "little")


def occupy(lab, build, side="a", check=True):
    """Puts our XDP program `occupant` on the hook of a side."""
    program = os.path.join(build, "tests", "system", "loss.bpf.o")
    return lab.run(side, ["ip", "link", "set", "dev", INTERFACE[side], "xdp", "obj", program, "sec", "xdp"], check=check)
