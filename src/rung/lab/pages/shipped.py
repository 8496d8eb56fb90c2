"""The files that come with a page: modules, styles and the page itself, read once from the package."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SHARED = Path(__file__).with_name("static")
_KINDS = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
}


def shipped(folder: Path) -> list[Route]:
    """Routes to the files of a package's folder, beside those that all pages share.

    `page.html` is `/`, everything else is `/static/NAME`, both inside the guard's folder: pages and scripts name them
    relative to where they are, as `static/own.js` and `./pages.js`. The names are fixed when the server starts, so no
    request can name another file.
    """
    files = [*sorted(SHARED.iterdir()), *sorted(folder.iterdir())]
    return [_route(file) for file in files if file.suffix in _KINDS]


def _route(file: Path) -> Route:
    data, kind = file.read_bytes(), _KINDS[file.suffix]

    async def answer(_: Request) -> Response:
        return Response(data, headers={"content-type": kind})

    return Route("/" if file.name == "page.html" else f"/static/{file.name}", answer)
