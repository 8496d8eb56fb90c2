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
from rung.lab.run_page.meanings import meanings
from rung.lab.run_page.opened_run import OpenedRun
from rung.lab.run_page.overview import FILM, film_in
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
        return [
            *shipped(STATIC),
            Route("/runs", self._runs),
            Route("/state", self._state),
            Route("/overview", self._overview),
            Route("/film", self._film),
            Route("/grown", self._grown),
            Route("/step", self._step),
            Route("/tokens", self._tokens),
            Route("/meanings", self._meanings),
        ]

    # These are plain functions: Starlette runs them in threads, so that reading a file holds nobody up.

    def _runs(self, _: Request) -> Response:
        return JSONResponse({"runs": run_names(self.runs)})

    def _state(self, request: Request) -> Response:
        return JSONResponse(self._run(request).state())

    def _overview(self, request: Request) -> Response:
        run = self._run(request)
        return _found(run.overview)

    def _film(self, request: Request) -> Response:
        run = self._run(request)
        if film_in(run.folder, []) is None:
            raise Refused(404, f"There is no film in this run: {FILM}.")
        return FileResponse(run.folder / FILM, media_type="image/gif")

    def _grown(self, request: Request) -> Response:
        what = request.query_params.get("what", "")
        if what not in ("metrics", "timings", "solved"):
            raise Refused(400, "what: expected metrics, timings or solved.")
        return JSONResponse(self._run(request).grown(what, _whole(request, "epoch"), _whole(request, "from")))

    def _step(self, request: Request) -> Response:
        run, step = self._run(request), _whole(request, "step")
        return _found(lambda: run.step(step))

    def _tokens(self, request: Request) -> Response:
        run, step, row = self._run(request), _whole(request, "step"), _whole(request, "row")
        return _found(lambda: run.tokens(step, row))

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


def _whole(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise Refused(400, f"{name}: expected a whole number.")
    return int(text)


def _found(read: Callable[[], dict[str, Any]]) -> Response:
    try:
        return JSONResponse(read())
    except LookupError as error:
        raise Refused(404, visible(str(error.args[0]))) from error
    except (DataError, OSError) as error:
        raise Refused(409, visible(str(error), limit=500)) from error
