"""What a page's script sends, read with care, and refusals that the page can show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request

from rung.errors import did_you_mean


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
