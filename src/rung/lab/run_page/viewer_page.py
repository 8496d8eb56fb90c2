"""The viewer's side of the conversation: which runs, what is new in them, a step's samples, a sample's tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from rung.errors import DataError
from rung.lab.pages import Refused, shipped
from rung.lab.run_page.opened_run import OpenedRun
from rung.lab.run_page.shown import FILM, film_in, meanings
from rung.runs.record.visible import visible

STATIC = Path(__file__).with_name("static")
MOST_NAMES = 100
"""Metrics explained in one answer."""


@dataclass(frozen=True)
class ViewerPage:
    """The routes of `rung view`, all of them reading."""

    runs: Sequence[OpenedRun]

    def routes(self) -> list[Route]:
        """What the server serves."""
        of_a_run: dict[str, Callable[[OpenedRun, Request], dict[str, Any]]] = {
            "/state": lambda run, _: run.state(),
            "/overview": lambda run, _: run.overview(),
            "/grown": lambda run, asked: run.grown(_what(asked), _whole(asked, "epoch"), _whole(asked, "from")),
            "/step": lambda run, asked: run.step(_whole(asked, "step")),
            "/tokens": lambda run, asked: run.tokens(_whole(asked, "step"), _whole(asked, "row")),
        }
        return [
            *shipped(STATIC),
            Route("/runs", lambda _: JSONResponse({"runs": run_names(self.runs)})),
            Route("/table", self._table),
            Route("/film", self._film),
            Route("/meanings", self._meanings),
            *(Route(path, self._answering(read)) for path, read in of_a_run.items()),
        ]

    # These are plain functions: Starlette runs them in threads, so that reading a file holds nobody up.

    def _answering(self, read: Callable[[OpenedRun, Request], dict[str, Any]]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            run = self._run(request)
            try:
                return JSONResponse(read(run, request))
            except LookupError as error:
                raise Refused(404, visible(str(error.args[0]))) from error
            except (DataError, OSError) as error:
                raise Refused(409, visible(str(error), limit=500)) from error

        return answer

    def _film(self, request: Request) -> Response:
        run = self._run(request)
        if film_in(run.folder, []) is None:
            raise Refused(404, f"There is no film in this run: {FILM}.")
        return FileResponse(run.folder / FILM, media_type="image/gif")

    def _table(self, _: Request) -> Response:
        names = run_names(self.runs)
        return JSONResponse({"rows": [{**run.row(), "name": name} for run, name in zip(self.runs, names, strict=True)]})

    def _meanings(self, request: Request) -> Response:
        names = request.query_params.getlist("name")[:MOST_NAMES]
        environment = all(run.in_environment() for run in self.runs)
        return JSONResponse(meanings(names, environment=environment))

    def _run(self, request: Request) -> OpenedRun:
        number = _whole(request, "run")
        if number >= len(self.runs):
            raise Refused(404, f"There are {len(self.runs)} runs, not one with the number {number}.")
        return self.runs[number]


def run_names(runs: Sequence[OpenedRun]) -> list[str]:
    """The folders' own names; where two have the same, the paths as they were given."""
    names = [run.name for run in runs]
    paths = [visible(str(run.folder), limit=200) for run in runs]
    return [name if names.count(name) == 1 else path for name, path in zip(names, paths, strict=True)]


def _what(request: Request) -> str:
    what = request.query_params.get("what", "")
    if what not in ("metrics", "timings", "solved"):
        raise Refused(400, "what: expected metrics, timings or solved.")
    return what


def _whole(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise Refused(400, f"{name}: expected a whole number.")
    return int(text)
