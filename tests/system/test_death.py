# SPDX-License-Identifier: BSD-2-Clause
"""kill -9, of a client and of the daemon, in mid-stream."""
import signal
import socket
import subprocess

import pytest
from daemon import connect_flow, listen_flow
from helpers import attached, cat, finished, random_file, receive_all, sha256, until, xdp_program
from lab import ADDRESS

ENDLESS = "/dev/zero"


def reset_of(sock):
    """Reads until the connection ends; True: by a reset, False: by a FIN."""
    try:
        while sock.recv(1 << 18):
            pass
    except ConnectionResetError:
        return True
    return False


@pytest.mark.parametrize("direction", ["client sends", "client receives"])
def test_a_killed_client_resets_its_peer_and_its_memory_comes_back(netchand, build, folder, direction):
    daemon = netchand([listen_flow("inbound", 9000)])
    client = cat(daemon, build, "inbound", source=ENDLESS if direction == "client sends" else subprocess.PIPE)
    sock = attached(daemon, 9000)
    if direction == "client sends":
        assert len(sock.recv(1 << 20)) > 0
    else:
        sock.sendall(bytes(8 << 20))
    client.send_signal(signal.SIGKILL)
    client.wait()
    if direction == "client receives":
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                sock.sendall(bytes(1 << 20))
    else:
        assert reset_of(sock)
    sock.close()

    def freed():
        page = daemon.metrics()
        return page.sum("netchan_worker_connections") == 0 and \
            page.sum("netchan_worker_streams_opened_total") == page.sum("netchan_worker_streams_closed_total") >= 1
    until(freed, words="the stream was not freed")
    # And the next client has all that there is.
    sent, received = random_file(folder / "big-sent", 16), folder / "big-received"
    client = cat(daemon, build, "inbound", target=received)
    with attached(daemon, 9000) as sock, open(sent, "rb") as f:
        sock.sendfile(f)
        sock.shutdown(1)
        assert sock.recv(1) == b""
    finished(client)
    assert sha256(received) == sha256(sent)


def test_clients_that_die_one_after_another_leave_no_chunk_behind(netchand, build):
    daemon = netchand([listen_flow("inbound", 9000)])
    for _ in range(10):
        client = cat(daemon, build, "inbound", source=ENDLESS)
        with attached(daemon, 9000) as sock:
            assert sock.recv(1 << 16)
            client.send_signal(signal.SIGKILL)
            client.wait()
            assert reset_of(sock)
        until(lambda: every_chunk_is_home(daemon), words="chunks are missing")


def every_chunk_is_home(daemon):
    """Caches, rings and the kernel hold all chunks there are, and nothing is being sent."""
    metrics = daemon.metrics()
    return (metrics.sum("netchan_chunks") == metrics.sum("netchan_memory_chunks")
            and metrics.sum("netchan_chunks", place="tx") == 0)


def test_a_killed_daemon_leaves_nothing_and_its_clients_know_and_the_next_one_serves(netchand, build, folder, lab):
    daemon = netchand([listen_flow("inbound", 9000), connect_flow("outbound", 7000)])
    client = cat(daemon, build, "inbound", source=ENDLESS)
    sock = attached(daemon, 9000)
    assert sock.recv(1 << 16)
    waiting = cat(daemon, build, "inbound")  # one that only waits for a connection
    daemon.kill()

    # Told at once: both end by themselves, with a status that says so.
    _, words = client.communicate(timeout=5)
    assert client.returncode != 0 and b"netchand" in words
    _, words = waiting.communicate(timeout=5)
    assert waiting.returncode != 0
    # The link went with the process, so the kernel gets the peer's next segment and resets it.
    until(lambda: xdp_program(lab) is None, words="the XDP program is still on the hook")
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        sock.settimeout(10)
        while True:
            sock.send(b"anybody there?")
            sock.recv(1 << 18)
    sock.close()

    daemon.start()
    sent = random_file(folder / "big-sent", 16)
    client = cat(daemon, build, "inbound", source=sent)
    with attached(daemon, 9000) as sock:
        assert receive_all(sock)[0] == sha256(sent)
        sock.shutdown(socket.SHUT_WR)
        finished(client)
    with lab.listen("b", (ADDRESS["b"], 7000)) as server:
        client = cat(daemon, build, "outbound", source=sent)
        sock, _ = server.accept()
        with sock:
            sock.settimeout(20)
            assert receive_all(sock)[0] == sha256(sent)
        finished(client)


def test_a_peer_that_resets_is_told_to_the_client(netchand, build):
    daemon = netchand([listen_flow("inbound", 9000)])
    client = cat(daemon, build, "inbound", source=ENDLESS)
    sock = attached(daemon, 9000)
    assert sock.recv(1 << 16)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
    sock.close()
    _, words = client.communicate(timeout=10)
    assert client.returncode != 0 and b"reset" in words.lower()
