"""Who may speak to a page, and what its answers allow a browser to do.

A page on 127.0.0.1 can be reached by every web site that the browser has open, and by a name that a hostile site
resolves to 127.0.0.1 (DNS rebinding). So every request is checked, in this order: the exact Host; the exact Origin of
whatever has one or changes something; the size; the cookie, which only the printed link gives.

Cookies do not know ports: whatever else listens on this machine would be sent ours. So everything lies under a folder
whose name is drawn at the start, and the cookie is for that folder alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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

_ENTRANCE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={folder}"><title>rung</title>
<link rel="icon" href="{folder}static/rung.svg" type="image/svg+xml">
<p><a href="{folder}">Go on to the page</a>"""
# A redirect would not do: after a click in a mail program the browser would follow it without the new cookie, because
# a SameSite=Strict cookie is not sent where another site began the navigation. This page begins its own.


class Guard:
    """ASGI middleware that refuses whoever did not come through a printed link.

    Host and Origin must name the `port` that the server listens on. Each of the `people` has a link of their own.
    `refused` is told of each kind of refusal once.
    """

    def __init__(
        self, app: ASGIApp, *, port: int, people: Iterable[str], refused: Callable[[str], None] = lambda _: None
    ) -> None:
        self.app = app
        self.hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self.folder = f"/{secrets.token_urlsafe(16)}/"
        self._tokens = {name: secrets.token_urlsafe(32) for name in people}
        self._cookies = {name: secrets.token_urlsafe(32) for name in self._tokens}
        self._refused, self._told = refused, set[str]()
        self.links = {name: f"http://{self.hosts[0]}/?token={token}" for name, token in self._tokens.items()}

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
        if host not in self.hosts or len(headers.getlist("host")) > 1:
            return self._refusal(421, "a wrong Host header", _WRONG_HOST.format(*self.hosts, got=host[:200]))
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
        if kind not in self._told:
            self._told.add(kind)
            self._refused(f"refused {kind} ({status}); the next of this kind are refused without a word")
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
