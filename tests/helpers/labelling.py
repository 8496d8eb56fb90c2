"""`rung label` as its own process, and a client that speaks to it as the page does."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rung.lab.labels.comparison_rows import read_comparisons
from rung.lab.labels.labelling_page import LabellingPage
from rung.lab.labels.store import LabelStore
from rung.lab.pages import PageServer


@dataclass
class Labelling:
    """A running `rung label`."""

    pairs: Path
    people: tuple[str, ...] = ("anna",)
    options: tuple[str, ...] = ()
    port: int = 0
    links: dict[str, str] = field(default_factory=dict)

    def start(self) -> Labelling:
        names = [part for name in self.people for part in ("--labeller", name)]
        command = [sys.executable, "-m", "rung.cli", "label", str(self.pairs), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, *names, *self.options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None and self.process.stderr is not None
        while "Ctrl-C" not in (line := self.process.stdout.readline()):
            assert line, self.process.stderr.read()
            name, _, link = line.strip().partition(": ")
            if "?token=" in link:
                self.links[name] = link
        self.port = int(self.links[self.people[0]].split(":")[2].split("/")[0])
        return self

    def stop(self) -> str:
        """Ends it as Ctrl-C does; returns what it said at its end."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=30)
        assert (self.process.returncode, err) == (0, ""), err
        return out

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.process.kill()
        self.process.communicate(timeout=30)

    def __enter__(self) -> Labelling:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()

    def client(self, name: str = "anna") -> Client:
        return Client(self.port, self.links[name].partition("?token=")[2])


@contextmanager
def served(pairs: Path, people: tuple[str, ...] = ("anna",), *, wanted: int = 1) -> Iterator[PageServer]:
    """The same page from a thread of this process, which starts at once. For tests that kill nothing."""
    with LabelStore(pairs.with_name(f"{pairs.name}.labels")) as store:
        store.take_in(read_comparisons(pairs))
        page = LabellingPage(store=store, folder=pairs.parent, wanted=wanted, question="Which one is better?")
        with PageServer(page.routes(), people=people) as server:
            thread = threading.Thread(target=server.run)
            thread.start()
            try:
                yield server
            finally:
                server.stop()
                thread.join(30)


class Client:
    """What the page does, without a browser. One connection a request: the server may die at any time."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.folder = ""
        _, headers, _ = self.raw("GET", f"/?token={token}", {})
        self.cookie, _, rest = headers["set-cookie"].partition(";")
        self.folder = rest.partition("Path=")[2].partition("/;")[0]

    def raw(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, self.folder + path, body, headers)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def get(self, path: str) -> tuple[int, bytes]:
        status, _, data = self.raw("GET", path, {"Cookie": self.cookie})
        return status, data

    def next(self) -> dict[str, Any]:
        status, data = self.get("/next")
        assert status == 200, data
        return json.loads(data)

    def post(self, path: str, said: dict[str, Any]) -> tuple[int, Any]:
        own = {"Cookie": self.cookie, "Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/json"}
        status, _, data = self.raw("POST", path, own, json.dumps(said).encode())
        return status, json.loads(data) if status == 200 else data.decode()

    @staticmethod
    def vote(pair: dict[str, Any], answer: str, **other: Any) -> dict[str, Any]:
        """The message by which a pair is answered."""
        said = {"submit": str(uuid.uuid4()), "pair": pair["id"], "left_is": pair["left_is"], "milliseconds": 1500}
        return {**said, "answer": answer, **other}
