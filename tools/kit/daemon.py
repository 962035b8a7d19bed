# SPDX-License-Identifier: BSD-2-Clause
"""netchand in a lab: writes its YAML, starts it, waits until it is ready, reads its metrics, ends it."""
import os
import select
import signal
import socket
import subprocess

import lab as lab_module
from metrics import Metrics

METRICS_PORT = 9469


class DaemonDied(Exception):
    pass


def endpoint(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def listen_flow(name, port, address=lab_module.ADDRESS["a"], **more):
    return {"name": name, "tcp": {"listen": endpoint(address, port), **more}}


def connect_flow(name, port, address=lab_module.ADDRESS["b"], local_ports="40000-40999", **more):
    return {"name": name, "tcp": {"connect": endpoint(address, port), "local_ports": local_ports, **more}}


def flow_style(value):
    """YAML's flow style: every mapping and list on one line, every string quoted."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k}: {flow_style(v)}" for k, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow_style(v) for v in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def yaml(sections):
    """The configuration as a person would write it: a line a section, a line a flow or interface."""
    lines = ["version: 1"]
    for key, value in sections.items():
        if isinstance(value, list):
            lines += [f"{key}:"] + [f"  - {flow_style(v)}" for v in value]
        else:
            lines.append(f"{key}: {flow_style(value)}")
    return "\n".join(lines) + "\n"


class Netchand:
    """One run after another of the daemon on one side of a lab (a), with one configuration. `folder` keeps YAML, log and socket."""

    def __init__(self, lab, build, flows, folder, cores=(0,), idle="adaptive", text=None, side="a",
                 **sections):
        self.lab, self.build, self.side = lab, build, side
        self.folder = folder
        self.socket = os.path.join(self.folder, "netchan.sock")
        self.log = os.path.join(self.folder, "netchand.log")
        self.config = os.path.join(self.folder, "netchand.yaml")
        self.process = None
        self.wrap = []  # a command that runs the daemon: prlimit and the like
        everything = {
            "interfaces": [{"name": lab_module.INTERFACE[side]}],
            "workers": {"cores": list(cores), "idle": idle},
            "flows": flows,
            "metrics": {"listen": f"127.0.0.1:{METRICS_PORT}"},
            "client_socket": {"socket": self.socket},
            "control": {"socket": os.path.join(self.folder, "control.sock")},
        }
        everything.update(sections)
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(text if text is not None else yaml(everything))

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def program(self):
        return os.path.join(self.build, "daemon", "main", "netchand")

    def environment(self):
        return {**os.environ, "NETCHAN_SOCKET": self.socket}

    def start(self, timeout=15):
        """Returns when the daemon has said READY=1, as it would to systemd; raises with its log when it ends before."""
        path = os.path.join(self.folder, "notify")
        if os.path.exists(path):
            os.remove(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(self.log, "ab") as log:
            notify.bind(path)
            notify.settimeout(timeout)
            self.process = self.lab.start(self.side, [*self.wrap, self.program, "--config", self.config], stderr=log, stdout=log,
                                          env={**os.environ, "NOTIFY_SOCKET": path})
            pidfd = os.pidfd_open(self.process.pid)
            try:
                while True:
                    ready, _, _ = select.select([notify, pidfd], [], [], timeout)
                    if notify in ready:
                        if b"READY=1" in notify.recv(4096).split(b"\n"):
                            return self
                    elif pidfd in ready:
                        raise DaemonDied(f"netchand ended with {self.process.wait()} before it was ready:\n{self.log_text()}")
                    else:
                        lab_module.end(self.process)
                        raise DaemonDied(f"netchand was not ready within {timeout} s:\n{self.log_text()}")
            finally:
                os.close(pidfd)

    def stop(self):
        """SIGTERM; the exit status."""
        return lab_module.end(self.process) if self.process else None

    def kill(self):
        return lab_module.end(self.process, signal.SIGKILL) if self.process else None

    def check(self):
        """netchand --config FILE --check"""
        return subprocess.run([self.program, "--config", self.config, "--check"], capture_output=True, text=True, timeout=10,
                              check=False)

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def metrics(self):
        page = self.lab.run(self.side, ["curl", "-sS", "--max-time", "5", f"http://127.0.0.1:{METRICS_PORT}/metrics"]).stdout
        return Metrics(page)

    def client(self, command, core=None, **options):
        """Starts a program that uses libnetchan. It runs in no namespace of the lab: it needs no network."""
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *pinned, *map(str, command)],
                                   env={**self.environment(), **options.pop("env", {})}, **options)
        self.lab.processes.append(process)
        return process

    def worker_threads(self):
        """{name: tid} of the worker threads."""
        found = {}
        for tid in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{tid}/comm", encoding="utf-8") as f:
                name = f.read().strip()
            if "worker" in name:
                found[name] = int(tid)
        return found
