"""Arguments and options of the commands. What the command line says of each stands in options.yaml."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

_WORDS = yaml.safe_load((files(__package__) / "options.yaml").read_text(encoding="utf-8"))


def option(name: str) -> Any:
    """The option of this entry of options.yaml."""
    words = dict(_WORDS[name])
    return typer.Option(*words.pop("flags", ()), **words)


def argument(name: str) -> Any:
    return typer.Argument(**_WORDS[name])


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
