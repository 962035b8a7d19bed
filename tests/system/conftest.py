# SPDX-License-Identifier: BSD-2-Clause
"""System tests: the real daemon, AF_XDP, kernel peers, in a lab of two network namespaces (tools/lab).

Side a is netchand's (10.77.0.1), side b the peer's (10.77.0.2). A failing test leaves build/check/failed/TEST/ behind: the
daemon's YAML and log, its last metrics, and what went over the wire. Run some: tests/system/run [pytest options].
"""
import os
import shutil
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "kit"))
sys.dont_write_bytecode = True
from daemon import Netchand  # noqa: E402
from lab import Lab, end  # noqa: E402

FAILED = os.path.join(ROOT, "build", "check", "failed")


def pytest_addoption(parser):
    parser.addoption("--build", default=os.path.join(ROOT, "build", "gcc"), help="the build directory")


def pytest_configure(config):
    config.addinivalue_line("markers", "quick: part of tools/check --quick")
    config.addinivalue_line("markers", "unsanitized: replaces what a sanitizer replaces too")
    config.addinivalue_line("markers", "lab(queues=, mtu=, offloads=, pairs=): what the test's lab is like")


@pytest.fixture(autouse=True)
def bounded(request):
    """No test may hang: 60 s unless it says more itself."""
    if not request.node.get_closest_marker("timeout"):
        request.node.add_marker(pytest.mark.timeout(60))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.failed_call = outcome.get_result().failed


@pytest.fixture(scope="session")
def build(request):
    return os.path.abspath(request.config.getoption("--build"))


@pytest.fixture
def folder(tmp_path, request):
    """The test's own folder; kept when the test has failed. Short, since socket paths may have 107 octets."""
    yield tmp_path
    if getattr(request.node, "failed_call", False):
        kept = os.path.join(FAILED, request.node.name)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(tmp_path, kept, ignore=lambda where, names: [
            n for n in names if n.startswith("big") or not os.path.isfile(os.path.join(where, n))])
        print(f"kept: {kept}")


@pytest.fixture
def lab(request, folder):
    marker = request.node.get_closest_marker("lab")
    with Lab(**(marker.kwargs if marker else {})) as made:
        # Headers only, at most 3 files of 8 MB: the end is what is looked at.
        capture = made.start("b", ["tcpdump", "-q", "-i", "veth1", "-s", "96", "-w", folder / "wire.pcap", "-C", "8", "-W", "3", "-Z", "root"],
                             stderr=open(folder / "tcpdump.log", "wb"))
        yield made
        end(capture)


@pytest.fixture
def netchand(request, lab, build, folder):
    """netchand(flows, **sections) -> a running daemon. More than one a test is allowed; all are stopped."""
    made = []

    def start(flows=(), run=True, **options):
        place = folder / str(len(made))
        place.mkdir()
        daemon = Netchand(lab, build, list(flows), folder=str(place), **options)
        made.append(daemon)
        return daemon.start() if run else daemon
    yield start
    for daemon in made:
        if daemon.process and daemon.process.poll() is None:
            if getattr(request.node, "failed_call", False):
                try:
                    page = lab.run("a", ["curl", "-sS", "--max-time", "5", "http://127.0.0.1:9469/metrics"], check=False).stdout
                    (folder / "metrics.txt").write_text(page)
                except OSError:
                    pass
            daemon.stop()
        if daemon.process and getattr(request.node, "failed_call", False):
            print(f"--- {daemon.log}\n{daemon.log_text()[-6000:]}")
