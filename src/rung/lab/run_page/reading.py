"""A JSON file of a run's folder, read by whoever shows it: what is damaged becomes a sentence, never an end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def object_in(path: Path, problems: list[str]) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="backslashreplace") or "{}")
    except OSError as error:
        problems.append(f"{path.name}: cannot be read: {error.strerror}")
        return {}
    except (ValueError, RecursionError) as error:
        problems.append(f"{path.name}: not JSON: {error}")
        return {}
    if not isinstance(found, dict):
        problems.append(f"{path.name}: got {type(found).__name__}, expected an object")
        return {}
    return found
