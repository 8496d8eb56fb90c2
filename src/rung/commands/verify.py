"""`rung verify`: what does this loss really climb?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rung.commands.shared import AsJson, argument, option, show
from rung.errors import SettingsError, did_you_mean
from rung.tasks.own_environment import is_file_name

Loss = Annotated[str | None, argument("verify.loss")]
Cells = Annotated[list[str] | None, argument("verify.cells")]
Pythons = Annotated[list[str] | None, option("verify.pythons")]
All = Annotated[bool, option("verify.all_of_them")]


def verify(
    loss: Loss = None, cells: Cells = None, pythons: Pythons = None, all_of_them: All = False, as_json: AsJson = False
) -> None:
    """What a loss really climbs: your own, or another library's own code.

    Its gradient is taken on every batch that a policy small enough to enumerate can draw, weighted by its probability,
    and compared with the true gradient. Nothing is sampled.
    """
    from rung.lab.referee.asking import LIBRARIES

    interpreters = _interpreters(pythons or (), LIBRARIES)
    if all_of_them == (loss is not None):
        raise SettingsError(f"verify: expected a library ({', '.join(LIBRARIES)}), FILE.py:FUNCTION, or --all")
    names = LIBRARIES if all_of_them else (str(loss),)
    data = {"libraries": [_verdict(name, cells, interpreters, all_of_them) for name in names]}
    show(data if all_of_them else data["libraries"][0], lambda: _lines(data["libraries"]), as_json)
    if not any("failed" not in cell for one in data["libraries"] for cell in one.get("cells", {}).values()):
        raise typer.Exit(1)


def _verdict(name: str, cells: list[str] | None, interpreters: Mapping[str, str], goes_on: bool) -> dict[str, Any]:
    from rung.lab.referee.asking import LIBRARIES
    from rung.lab.referee.verdict import verify as verdict_on

    if is_file_name(name):
        file, _, function = name.rpartition(":")
        if not Path(file).is_file():
            raise SettingsError(f"verify: there is no file {file}")
        found = verdict_on("own", python=interpreters.get(""), arguments=[file], cells=[function])
        return {**found, "library": name}
    if name not in LIBRARIES:
        raise SettingsError(f"verify: got '{name}'{did_you_mean(name, LIBRARIES)}; expected FILE.py:FUNCTION or one of "
                            f"{', '.join(LIBRARIES)}")  # fmt: skip
    try:
        return verdict_on(name, python=interpreters.get(name, interpreters.get("")), cells=cells)
    except SettingsError as error:
        if not goes_on:
            raise
        return {"library": name, "failed": str(error)}


def _interpreters(pythons: list[str] | tuple[str, ...], libraries: tuple[str, ...]) -> dict[str, str]:
    """By library; "" is everybody else's."""
    found: dict[str, str] = {}
    for text in pythons:
        library, has, path = text.partition("=")
        library, path = (library, path) if has else ("", text)
        if library and library not in libraries:
            raise SettingsError(f"--python: got '{library}'{did_you_mean(library, libraries)}; expected PATH or "
                                f"LIBRARY=PATH, of {', '.join(libraries)}")  # fmt: skip
        found[library] = path
    return found


def _lines(libraries: list[dict[str, Any]]) -> Iterator[str]:
    for one in libraries:
        if "failed" in one:
            yield f"{one['library']}: {one['failed']}"
        for name, cell in one.get("cells", {}).items():
            yield f"{one['library']} {one['version']} {name}".replace("  ", " ")
            if "failed" in cell:
                yield f"  could not be called: {cell['failed']}"
                continue
            for samples in (2, 4):
                four = cell[f"samples_{samples}"]
                yield (
                    f"  against the true gradient, {samples} samples of a prompt: ratio {four['ratio']:.3f}, cosine "
                    f"{four['cosine']:.3f}, error {four['relative_error']:.3f}, direction "
                    f"error {four['off_direction']:.3f}"
                )
            yield from (f"  {sentence}" for sentence in cell["sentences"])
