"""A page of one shipped folder and one route that writes, served over real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_client import Served
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rung.lab.pages import PageServer, Refused, person, read_object, shipped


async def _who(request: Request) -> Response:
    return JSONResponse({"who": person(request)})


async def _say(request: Request) -> Response:
    said = await read_object(request, {"word": str, "times": int})
    if said["word"] == "no":
        raise Refused(409, "That word is taken.")
    return JSONResponse({"said": said["word"] * said["times"]})


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("shipped")
    (folder / "page.html").write_text("<!doctype html><title>a page</title>")
    (folder / "own.js").write_text("export const x = 1;")
    (folder / "secret.txt").write_text("not a kind that is shipped")
    refusals: list[str] = []
    routes = [*shipped(folder), Route("/who", _who), Route("/say", _say, methods=["POST"])]
    with PageServer(routes, people=["anna", "ben"], refused=refusals.append) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        yield Served(server, refusals)
        server.stop()
        thread.join(20)
        assert not thread.is_alive()
