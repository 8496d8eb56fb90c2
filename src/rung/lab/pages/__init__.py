"""Pages on this machine: a small server on 127.0.0.1 that shows what people and models wrote as text, and nothing else.

`PageServer(routes, people=["anna"]).run()` serves Starlette routes behind `Guard`, which lets in only who came through
the printed link; `person(request)` says who that is. Needs the extra `pages`.

A page on 127.0.0.1 can be reached by every web site that the browser has open, and by a name that a hostile site
resolves to 127.0.0.1 (DNS rebinding). So every request is checked, in this order: the exact Host; the exact Origin of
whatever has one or changes something; the size; the cookie, which only the printed link gives.

Cookies do not know ports: whatever else listens on this machine would be sent ours. So everything lies under a folder
whose name is drawn at the start, and the cookie is for that folder alone."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import secrets
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, cast
from urllib.parse import parse_qs

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from rung.errors import SettingsError, did_you_mean

LARGEST_BODY = 64 * 1024
LARGEST_QUERY = 4 * 1024
READING = ("GET", "HEAD")

ANSWER_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Nothing inline, nothing from elsewhere, no frame around it, no string ever made into markup, nothing kept."""

_ENTRANCE = Path(__file__).with_name("entrance.html").read_text(encoding="utf-8")
# A redirect would not do: after a click in a mail program the browser would follow it without the new cookie, because
# a SameSite=Strict cookie is not sent where another site began the navigation. This page begins its own.


class Door:
    """What every guard of a server on this machine keeps: the names that the server answers to, and which kinds of
    refusal were told; `refused` is told of each kind once."""

    def __init__(self, port: int, refused: Callable[[str], None]) -> None:
        self.hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self._refused, self._told = refused, set[str]()

    def is_named(self, headers: Headers) -> bool:
        """Whether a request names this machine and port as its host, once."""
        return headers.getlist("host") in ([one] for one in self.hosts)

    def told(self, status: int, kind: str) -> None:
        """Tell of a refusal, where it is the first of its kind."""
        if kind not in self._told:
            self._told.add(kind)
            self._refused(f"refused {kind} ({status}); the next of this kind are refused without a word")


class Guard:
    """ASGI middleware that refuses whoever did not come through a printed link.

    Host and Origin must name the `port` that the server listens on. Each of the `people` has a link of their own.
    `refused` is told of each kind of refusal once.
    """

    def __init__(
        self, app: ASGIApp, *, port: int, people: Iterable[str], refused: Callable[[str], None] = lambda _: None
    ) -> None:
        self.app, self.door = app, Door(port, refused)
        self.folder = f"/{secrets.token_urlsafe(16)}/"
        self._tokens = {name: secrets.token_urlsafe(32) for name in people}
        self._cookies = {name: secrets.token_urlsafe(32) for name in self._tokens}
        self.links = {name: f"http://{self.door.hosts[0]}/?token={token}" for name, token in self._tokens.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "the server speaks HTTP only: no lifespan, no web sockets"
        answer = self._wrong(scope) or self._entrance(scope)
        if answer is None:
            name = _owner(self._cookies, HTTPConnection(scope).cookies.get(_COOKIE, ""))
            inside = scope["path"].startswith(self.folder)
            scope = {**scope, "rung.person": name, "path": scope["path"].removeprefix(self.folder[:-1])}
            answer = self.app if name and inside else self._refusal(401, "no valid cookie", _NO_COOKIE)
        await answer(scope, receive, _with_headers(send))

    def _wrong(self, scope: Scope) -> Response | None:
        """The refusal of a request that no page of ours would make."""
        headers, reads = Headers(scope=scope), scope["method"] in READING
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self.door.is_named(headers):
            return self._refusal(421, "a wrong Host header", _WRONG_HOST.format(*self.door.hosts, got=host[:200]))
        foreign = (origin is not None or not reads) and origin != f"http://{host}"
        fetched = headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
        if foreign or fetched:
            return self._refusal(403, "a request from another site", "This request came from another site.")
        if len(scope["query_string"]) > LARGEST_QUERY:
            return self._refusal(414, "a long address", "The address is too long.")
        return None if reads else self._wrong_body(headers)

    def _wrong_body(self, headers: Headers) -> Response | None:
        length = headers.get("content-length", "")
        if not length.isdecimal() or "transfer-encoding" in headers:
            return self._refusal(411, "a body of unknown length", "Say the length of the body.")
        if len(length) > 12 or int(length) > LARGEST_BODY:
            return self._refusal(413, "a large body", f"At most {LARGEST_BODY:,} bytes are read.")
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return self._refusal(415, "a body that is not JSON", "Only application/json is read.")
        return None

    def _entrance(self, scope: Scope) -> Response | None:
        """The answer to a printed link: the cookie, and the way on."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if scope["path"] != "/" or scope["method"] != "GET" or not given:
            return None
        name = _owner(self._tokens, given[0])
        if name is None:
            return self._refusal(401, "a wrong token", _NO_COOKIE)
        answer = HTMLResponse(_ENTRANCE.format(folder=self.folder))
        answer.set_cookie(_COOKIE, self._cookies[name], httponly=True, samesite="strict", path=self.folder)
        return answer

    def _refusal(self, status: int, kind: str, words: str) -> Response:
        self.door.told(status, kind)
        return PlainTextResponse(words, status_code=status)


_COOKIE = "rung"
_NO_COOKIE = (
    "This page opens through the link that the command printed when it started. It is another one after each start: "
    "look in the terminal for the line with ?token=, and open that in this tab."
)
_WRONG_HOST = (
    "This page answers to {} and {} only, and was asked for as {got}. Through ssh, forward the same port number on "
    "both sides."
)


def person(request: Request) -> str:
    """Whose link this request came through."""
    return request.scope["rung.person"]


def _owner(secrets_by_name: Mapping[str, str], given: str) -> str | None:
    """Whose secret this is. Every one is compared, each in constant time, so that time tells nothing."""
    said = given.encode("utf-8", "surrogatepass")
    found = [name for name, secret in secrets_by_name.items() if secrets.compare_digest(secret.encode(), said)]
    return found[0] if found else None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(ANSWER_HEADERS)
        await send(message)

    return sending


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

    Each of the `people` has a link of their own in `links`; another `guard` is made as `Guard` is, without people. Port
    0 takes any that is free. `refused` is told in a sentence of requests that the guard turned away, each kind once.

    Raises: SettingsError, when the port is taken or may not be had.
    """

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        *,
        people: Iterable[str] = (),
        guard: Callable[..., Any] | None = None,
        port: int = 0,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._socket = _listening(port)
        self.port: int = self._socket.getsockname()[1]
        app = Starlette(routes=list(routes), exception_handlers={HTTPException: _in_words})
        guarded = (guard or partial(Guard, people=people))(app, port=self.port, refused=refused)
        self.links: Mapping[str, str] = getattr(guarded, "links", {})
        config = uvicorn.Config(
            guarded,
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
