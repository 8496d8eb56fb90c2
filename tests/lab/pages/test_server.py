from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import uvicorn
from page_client import Served

from rung.errors import SettingsError
from rung.lab.pages import PageServer

SERVING = """
from rung.lab.pages import PageServer
with PageServer([], people=["anna"]) as server:
    print(server.port, flush=True)
    server.run()
print("left", flush=True)
"""


def test_a_port_in_use_is_said_in_words() -> None:
    with (
        PageServer([], people=["anna"]) as server,
        pytest.raises(SettingsError, match=rf"--port: {server.port} is in use on 127.0.0.1"),
    ):
        PageServer([], people=["anna"], port=server.port)
    with pytest.raises(SettingsError, match="--port: 70000 cannot be had"):
        PageServer([], people=["anna"], port=70_000)


def test_it_listens_on_this_machine_alone() -> None:
    with PageServer([], people=["anna"]) as server:
        assert server.links["anna"].startswith(f"http://127.0.0.1:{server.port}/?token=")
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
        with pytest.raises(ConnectionRefusedError):  # another address of the loopback, as good as another machine
            socket.create_connection(("127.0.0.2", server.port), timeout=5)


def test_links_differ_by_person_and_by_start() -> None:
    links: set[str] = set()
    for _ in range(2):
        with PageServer([], people=["anna", "ben"]) as server:
            links |= {link.partition("token=")[2] for link in server.links.values()}
    assert len(links) == 4 and all(len(token) >= 32 for token in links)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(sent: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    # A client that has connected and says nothing must not hold it up.
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        time.sleep(0.3)
        process.send_signal(sent)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "left\n", "")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_it_serves_ends_it_as_quietly(sent: signal.Signals) -> None:
    """Somebody who presses Ctrl-C as soon as the link is there."""
    before = signal.getsignal(sent)
    with PageServer([], people=["anna"]) as server:
        signal.raise_signal(sent)
        server.run()
    assert signal.getsignal(sent) == before


def test_a_signal_while_the_server_begins_ends_it_as_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `run` is called, and before uvicorn listens to signals: its coroutine was made and never awaited."""

    def factory(config: uvicorn.Config) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(uvicorn.Config, "get_loop_factory", factory)
    with PageServer([], people=["anna"]) as server:
        server.run()


def test_it_stops_from_another_thread() -> None:
    with PageServer([], people=["anna"]) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_half_sent_requests_end_and_never_keep_the_page_from_others(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rung.lab.pages.PATIENCE_S", 0.6)
    halves = [b"GET / HT", f"POST /say HTTP/1.1\r\nHost: {served.host}\r\nContent-Length: 9\r\n\r\n{{".encode(), b""]
    many = [socket.create_connection(("127.0.0.1", served.server.port)) for _ in range(150)]
    try:
        for number, one in enumerate(many):
            one.sendall(halves[number % 3])
        began = time.monotonic()
        assert served.get("/who").status == 200 and time.monotonic() - began < 5
        for one in many:
            one.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                while one.recv(4096):
                    pass  # what was refused is answered first
    finally:
        for one in many:
            one.close()


def test_a_second_request_that_stays_half_ends_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rung.lab.pages.PATIENCE_S", 0.6)
    with socket.create_connection(("127.0.0.1", served.server.port)) as one:
        one.settimeout(10)
        one.sendall(f"GET / HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
        assert one.recv(4096)
        one.sendall(b"GET /who")
        with contextlib.suppress(ConnectionResetError):
            while one.recv(4096):
                pass
