"""A served page, and requests to it that hold exactly the headers one wants."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Mapping
from dataclasses import dataclass

from rung.lab.pages import PageServer


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True)
class Served:
    server: PageServer
    refusals: list[str]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def raw(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Exactly these headers: none is added but, with a body, its length."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body and "Transfer-Encoding" not in headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            got = connection.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read().decode())

    @property
    def folder(self) -> str:
        """Where everything lies, as the entrance says it."""
        entrance = self.raw("GET", self.server.links["anna"].partition(self.host)[2], {"Host": self.host}).text
        return entrance.partition("url=")[2].partition('"')[0]

    def cookie(self, name: str = "anna") -> str:
        path = self.server.links[name].partition(self.host)[2]
        return self.raw("GET", path, {"Host": self.host}).headers["set-cookie"].partition(";")[0]

    def get(self, path: str, **headers: str) -> Answer:
        own = {"Host": self.host, "Cookie": self.cookie()}
        return self.raw("GET", self.folder + path.removeprefix("/"), own | headers)

    def post(self, path: str, body: bytes, **headers: str) -> Answer:
        own = {"Host": self.host, "Origin": f"http://{self.host}", "Cookie": self.cookie()}
        own["Content-Type"] = "application/json"
        return self.raw("POST", self.folder + path.removeprefix("/"), own | headers, body)
