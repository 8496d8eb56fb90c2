"""TOML with line numbers: `tomllib` reads the values, a scan of the text finds the lines."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from rung.settings.given import Given, Origin

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"^\s*\[(\[)?\s*({_DOTTED})\s*\]")
_PAIR = re.compile(rf"^\s*({_DOTTED})\s*=")
_NAME = re.compile(_KEY)


def read_toml(text: str, source: str, problems: list[str]) -> Given | None:
    """The text's values, each with the line of its key (of its table, inside an inline table).

    None when it is no TOML; the reason is added to `problems`.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        place = Origin(source, int(found.group(1)) if found else text.count("\n") + 1).place
        problems.append(f"{place}: not TOML: {re.sub(r' [(]at .*', '', str(error))}")
        return None
    return _located(data, "", _lines(text), Origin(source, 1))


def _lines(text: str) -> dict[str, int]:
    """Dotted path → line; entries of an array of tables are counted: `rewards.0.weight`."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if head := _TABLE.match(line):
            table = _path(head.group(2))
            if head.group(1):
                counts[table] = counts.get(table, -1) + 1
                lines.setdefault(table, number)
                table = f"{table}.{counts[table]}"
            lines.setdefault(table, number)
        elif pair := _PAIR.match(line):
            lines.setdefault(f"{table}.{_path(pair.group(1))}".lstrip("."), number)
    return lines


def _path(dotted: str) -> str:
    return ".".join(name.strip("\"'") for name in _NAME.findall(dotted))


def _located(value: Any, path: str, lines: Mapping[str, int], above: Origin) -> Given:
    origin = Origin(above.source, lines.get(path, above.line))
    if isinstance(value, dict):
        inside = {key: _located(inner, f"{path}.{key}".lstrip("."), lines, origin) for key, inner in value.items()}
        return Given(inside, origin)
    if isinstance(value, list):
        return Given([_located(inner, f"{path}.{i}", lines, origin) for i, inner in enumerate(value)], origin)
    return Given(value, origin)
