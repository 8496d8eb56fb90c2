"""Files of a run's folder, read by whoever shows it: what is missing or damaged becomes a sentence, never an end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rung.errors import DataError
from rung.runs.record.json_lines import Row, read_rows


def rows_in(path: Path, problems: list[str]) -> list[Row]:
    """A file of lines; without rows where it is damaged."""
    try:
        found = read_rows(path)
    except (DataError, OSError) as error:
        problems.append(str(error))
        return []
    problems += found.problems
    return found.rows


def text_in(path: Path, problems: list[str]) -> str:
    """A text file; empty where there is none."""
    if not path.is_file():
        return ""
    try:
        return path.read_text(encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        problems.append(f"{path.name}: cannot be read: {error.strerror}")
        return ""


def object_in(path: Path, problems: list[str]) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    text = text_in(path, problems)
    if not text:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        problems.append(f"{path.name}: not JSON: {error}")
        return {}
    if not isinstance(found, dict):
        problems.append(f"{path.name}: got {type(found).__name__}, expected an object")
        return {}
    return found
