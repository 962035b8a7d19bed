# SPDX-License-Identifier: BSD-2-Clause
"""A lab (tools/lab) as a Python object: two namespaces, programs in them, and kernel sockets of this process in them."""
import contextlib
import ctypes
import os
import signal
import socket
import subprocess

KIT = os.path.dirname(os.path.abspath(__file__))
LAB = os.path.join(os.path.dirname(KIT), "lab")
ROOT = os.path.dirname(os.path.dirname(KIT))
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

# Side a is netchand's, side b the peer's.
ADDRESS = {"a": "10.77.0.1", "b": "10.77.0.2"}
ADDRESS6 = {"a": "fd77::1", "b": "fd77::2"}
INTERFACE = {"a": "veth0", "b": "veth1"}
# What a lab of pairs=2 has besides.
SECOND_ADDRESS = {"a": "10.77.1.1", "b": "10.77.1.2"}
SECOND_INTERFACE = {"a": "veth2", "b": "veth3"}


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Lab:
    """Use as a context manager: the namespaces are gone afterwards, however it ends."""
    _count = 0

    def __init__(self, queues=1, mtu=1500, offloads="on", pairs=1):
        Lab._count += 1
        self.id = f"{os.getpid()}.{Lab._count}"
        self.options = ["--queues", str(queues), "--mtu", str(mtu), "--offloads", offloads, "--pairs", str(pairs)]
        self.processes = []

    def __enter__(self):
        try:
            subprocess.run([LAB, "up", self.id, *self.options], check=True)
        except BaseException:  # also Ctrl-C, half-way through
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            end(process)
        subprocess.run([LAB, "down", self.id], check=False)

    def namespace(self, side):
        return f"/var/run/netns/nc-{self.id}-{side}"

    def command(self, side, command, core=None):
        """The command as it runs in a namespace. It dies with this process, however that ends."""
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        return ["setpriv", "--pdeathsig", "KILL", *pinned, "nsenter", f"--net={self.namespace(side)}", *map(str, command)]

    def start(self, side, command, core=None, **options):
        process = subprocess.Popen(self.command(side, command, core), **options)
        self.processes.append(process)
        return process

    def run(self, side, command, timeout=20, check=True, core=None, **options):
        options.setdefault("capture_output", True)
        options.setdefault("text", True)
        return subprocess.run(self.command(side, command, core), timeout=timeout, check=check, **options)

    @contextlib.contextmanager
    def inside(self, side):
        """This thread is in the namespace meanwhile; sockets made there stay there."""
        with open("/proc/thread-self/ns/net", "rb") as home, open(self.namespace(side), "rb") as there:
            if _libc.setns(there.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                _libc.setns(home.fileno(), CLONE_NEWNET)

    def socket(self, side, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        with self.inside(side):
            return socket.socket(family, kind, protocol)

    def connect(self, side, address, timeout=10):
        s = self.socket(side, family(address[0]))
        s.settimeout(timeout)
        host, _, scope = address[0].partition("%")  # of a link-local one, by number
        s.connect((host, address[1], 0, int(scope)) if scope else address)
        return s

    def listen(self, side, address, backlog=1024, timeout=10):
        s = self.socket(side, family(address[0]))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.settimeout(timeout)
        s.bind(address)
        s.listen(backlog)
        return s


def end(process, how=signal.SIGTERM, patience=5):
    """Ends one of our own processes; its exit status."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
    return process.returncode
