"""What the commands share: arguments and options, of which options.yaml says what they are, and what is printed.

Text for people, or exactly one JSON object on stdout for programs. It may hold a model's or a file's text, so it never
goes out unescaped, and never through rich's markup."""

from __future__ import annotations

import contextlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from rung.runs.record.visible import finite, visible

_WORDS = yaml.safe_load((files(__package__) / "options.yaml").read_text(encoding="utf-8"))


def option(name: str) -> Any:
    """The option of this entry of options.yaml."""
    words = dict(_WORDS[name])
    return typer.Option(*words.pop("flags", ()), **_completed(words))


def argument(name: str) -> Any:
    return typer.Argument(**_completed(dict(_WORDS[name])))


def _completed(words: dict[str, Any]) -> dict[str, Any]:
    """With what the shell offers after Tab, for those that say whose names they take."""
    if (kind := words.pop("complete", None)) is None:
        return words
    return {**words, "autocompletion": lambda incomplete: [n for n in _names(kind) if n.startswith(incomplete)]}


def _names(kind: str) -> Iterable[str]:
    """None of them waits for torch, as the shell waits for them."""
    from rung.runs.metrics import METRICS
    from rung.settings.listing import listed
    from rung.tasks.load import available_tasks

    every: dict[str, Callable[[], Iterable[str]]] = {
        "methods": lambda: next(one.range for one in listed() if one.key == "method").split(", "),
        "metrics": lambda: METRICS,
        "settings": lambda: dict.fromkeys(one.key for one in listed()),
        "tasks": lambda: (name for name, _ in available_tasks()),
    }
    return every[kind]()


def after(begins: Callable[..., tuple[Any, ...]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command that has the arguments of `begins`, and then its own; its first ones are what that returns."""

    def joined(command: Callable[..., None]) -> Callable[..., None]:
        shared, own = (inspect.signature(one, eval_str=True).parameters for one in (begins, command))

        def both(**given: Any) -> None:
            command(*begins(**{name: given.pop(name) for name in shared}), **given)

        both.__name__, both.__doc__ = command.__name__, command.__doc__
        options = [one for one in own.values() if one.default is not one.empty]
        both.__signature__ = inspect.Signature([*shared.values(), *options])  # type: ignore[attr-defined]  typer reads it
        return both

    return joined


Config = Annotated[Path | None, option("config")]
Recipe = Annotated[str | None, option("recipe")]
Sets = Annotated[list[str] | None, option("sets")]
Rewards = Annotated[list[str] | None, option("rewards")]
Model = Annotated[str | None, option("model")]
Task = Annotated[str | None, option("task")]
Parts = Annotated[str | None, option("parts")]
Tools = Annotated[list[str] | None, option("tools")]
OwnMethod = Annotated[str | None, option("own_method")]
Seed = Annotated[str | None, option("seed")]
Out = Annotated[Path | None, option("out")]
SkipBadRows = Annotated[bool, option("skip_bad_rows")]
Quiet = Annotated[bool, option("quiet")]
AsJson = Annotated[bool, option("as_json")]


def with_skipping(sets: list[str] | None, skip_bad_rows: bool) -> list[str]:
    """The `--set` texts, and the one that `--skip-bad-rows` stands for."""
    return [*(sets or ()), *(["task.skip_bad_rows=true"] if skip_bad_rows else ())]


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
        typer.echo(json.dumps(finite(data), indent=2, allow_nan=False))
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
