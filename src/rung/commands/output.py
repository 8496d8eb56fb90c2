"""What the commands print: text for people, or exactly one JSON object on stdout for programs.

What is printed may hold a model's or a file's text, so it never goes out unescaped, and never through rich's markup.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
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


def show(data: Mapping[str, Any], lines: Callable[[], Iterable[str]], as_json: bool) -> None:
    """One JSON object, in which what is not finite is null and everything outside ASCII escaped; or else the lines."""
    if as_json:
        typer.echo(json.dumps(_finite(data), indent=2, allow_nan=False))
        return
    for line in lines():
        say(line)


def only_the_result(as_json: bool) -> contextlib.AbstractContextManager[Any]:
    """With JSON asked for, whatever others print to stdout goes to stderr, so that stdout holds the result alone."""
    return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()


def counted(count: int, word: str) -> str:
    """`1 vote`, `2,000 votes`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def estimated(value: float | None, low: float | None, high: float | None) -> str:
    """An estimate with its interval: `0.740 (0.700 to 0.780)`."""
    return f"{number(value)} ({number(low)} to {number(high)})"


def number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


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
