"""What the commands print: text for people, or exactly one JSON object on stdout for programs.

What is printed may hold a model's or a file's text, so it never goes out unescaped, and never through rich's markup.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import typer

from rung.runs.record.visible import visible


def say(line: str = "") -> None:
    """A line on stdout."""
    typer.echo(visible(line, keep_newlines=True))


def tell(line: str) -> None:
    """A line on stderr: progress, and what accompanies a result."""
    typer.echo(visible(line, keep_newlines=True), err=True)


def complain(message: str) -> None:
    """An error on stderr, a line for each of its problems."""
    for line in message.splitlines() or [message]:
        typer.echo(f"error: {visible(line)}", err=True)


def print_json(data: Mapping[str, Any]) -> None:
    """One JSON object; what is not finite becomes null, everything outside ASCII is escaped."""
    typer.echo(json.dumps(_finite(data), indent=2, allow_nan=False))


@contextlib.contextmanager
def only_the_result() -> Iterator[None]:
    """While inside, whatever others print to stdout goes to stderr, so that stdout holds the result alone."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def columns(rows: Mapping[str, str], indent: str = "") -> list[str]:
    """Names and texts side by side, aligned."""
    width = max((len(name) for name in rows), default=0)
    return [f"{indent}{name:<{width}}  {text}".rstrip() for name, text in rows.items()]


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
