"""The server of a page: one port of 127.0.0.1, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, cast

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from rung.errors import SettingsError, did_you_mean
from rung.lab.pages.guard import Guard

ADDRESS = "127.0.0.1"
SHARED = Path(__file__).with_name("static")
_KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
PATIENCE_S = 10.0
"""For a whole request, from its first byte."""
MOST_IDLE = 64
"""Open connections that ask nothing."""


class Impatient(H11Protocol):
    """HTTP for people who may not be let wait by others: half a request is waited for, but not long, and where too many
    connections are open that ask nothing, the oldest of them goes."""

    def connection_made(self, transport: Any) -> None:
        self._late: asyncio.TimerHandle | None = None
        self._born = self.loop.time()
        super().connection_made(transport)
        self._wait()
        idle = [one for one in self.connections if isinstance(one, Impatient) and one.asks_nothing()]
        for one in sorted(idle, key=lambda one: one._born)[:-MOST_IDLE]:
            one.transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._wait()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def asks_nothing(self) -> bool:
        """Whether no whole request of this connection is being answered."""
        return self._late is not None or self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(PATIENCE_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = None


class PageServer:
    """Starlette routes behind a guard.

    Each of the `people` has a link of their own in `links`. Port 0 takes any that is free. `refused` is told in a
    sentence of requests that the guard turned away, each kind once.

    Raises: SettingsError, when the port is taken or may not be had.
    """

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        *,
        people: Iterable[str],
        port: int = 0,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._socket = _listening(port)
        self.port: int = self._socket.getsockname()[1]
        app = Starlette(routes=list(routes), exception_handlers={HTTPException: _in_words})
        guard = Guard(app, port=self.port, people=people, refused=refused)
        self.links = guard.links
        config = uvicorn.Config(
            guard,
            http=Impatient,
            ws="none",
            loop="asyncio",
            lifespan="off",
            access_log=False,  # it would hold the token
            log_config=None,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=16 * 1024,
            timeout_graceful_shutdown=3,
        )
        self._server = uvicorn.Server(config)
        self._before: dict[int, Any] = {}
        """The handlers of signals from outside."""

    def run(self) -> None:
        """Serves until Ctrl-C, a termination signal, or `stop` from another thread; not at all when one came before."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Answers what is in flight, then ends `run`."""
        self._server.should_exit = True

    def __enter__(self) -> PageServer:
        with contextlib.suppress(ValueError):  # not the main thread, which alone has signals
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._asked_to_stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        """Before uvicorn listens to signals, and after: it raises again, at its end, whatever it caught."""
        self.stop()


def _listening(port: int) -> socket.socket:
    it = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port just left may be taken again at once
    try:
        it.bind((ADDRESS, port))
        it.listen()
    except (OSError, OverflowError) as error:
        it.close()
        raise SettingsError([f"--port: {_why(port, error)}"]) from error
    return it


def _why(port: int, error: OSError | OverflowError) -> str:
    code, another = getattr(error, "errno", None), "name one from 1024 to 65535, or 0 for any that is free"
    if code == errno.EADDRINUSE:
        return f"{port} is in use on {ADDRESS}; stop what uses it, name another, or 0 for any that is free"
    if code in (errno.EACCES, errno.EPERM):
        return f"{port} may only be used by the administrator; {another}"
    return f"{port} cannot be had on {ADDRESS}: {error}; {another}"


async def _in_words(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(error.detail, status_code=error.status_code, headers=error.headers)


def shipped(folder: Path) -> list[Route]:
    """Routes to the files of a package's folder, beside those that all pages share.

    `page.html` is `/`, everything else is `/static/NAME`, both inside the guard's folder: pages and scripts name them
    relative to where they are, as `static/own.js` and `./pages.js`. The names are fixed when the server starts, so no
    request can name another file.
    """
    files = [*sorted(SHARED.iterdir()), *sorted(folder.iterdir())]
    return [_route(file) for file in files if file.suffix in _KINDS]


def _route(file: Path) -> Route:
    path = "/" if file.name == "page.html" else f"/static/{file.name}"
    return Route(path, lambda _: FileResponse(file, media_type=_KINDS[file.suffix]))


class Refused(HTTPException):
    """An answer in words instead of what was asked for; the page shows the words.

    >>> Refused(409, "You have answered this pair already.").status_code
    409
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(status_code=status, detail=words)


async def read_object(request: Request, expected: Mapping[str, type]) -> dict[str, Any]:
    """The JSON object of a request: exactly these keys, each of this type.

    Raises: Refused (400), saying what was expected.
    """
    try:
        values: Any = json.loads((await request.body()).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is no JSON: {str(error)[:200]}") from error
    if not isinstance(values, dict):
        raise Refused(400, f"The body is a JSON {type(values).__name__}, expected an object.")
    said = cast("dict[str, Any]", values)
    for name in said:
        if name not in expected:
            raise Refused(400, f"The key {name[:80]!a} is not known{did_you_mean(name, expected)}.")
    for name, kind in expected.items():
        if type(said.get(name)) is not kind:
            raise Refused(400, f"{name}: expected {_WORDS[kind]}.")
        if kind is str and said[name] != said[name].encode("utf-8", "replace").decode("utf-8"):
            raise Refused(400, f"{name}: holds half of a surrogate pair, which is no text.")
    return said


_WORDS = {str: "a text", int: "a whole number", bool: "true or false"}
