"""The format of a run's folder: which version wrote it, and whether this one can go on with it.

Runs of an older format can be viewed, diagnosed and evaluated; they cannot be resumed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rung import __version__
from rung.errors import CheckpointError
from rung.methods import Method
from rung.methods.explain import card
from rung.whole_files import write_whole

FORMAT = 2
"""Counts up whenever a checkpoint or a setting changes so that an older run cannot go on."""
FILE = "method.json"


def write_card(folder: Path, method: Method) -> None:
    """Writes method.json: the method in full, and the version and format of the folder."""
    content = {"rung": __version__, "format": FORMAT, **card(method)}
    write_whole(folder / FILE, json.dumps(content, indent=2, ensure_ascii=False).encode())


def require_format(folder: Path) -> None:
    """CheckpointError where the run was written in another format."""
    try:
        content: Any = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # nothing says so; what the checkpoint lacks is told by itself
    found = content.get("format", 1) if isinstance(content, dict) else FORMAT
    if found == FORMAT:
        return
    writer = content.get("rung", "0.1")
    raise CheckpointError(
        f"{folder} was written by rung {writer} (format {found}), and this is rung {__version__} (format {FORMAT}), "
        "which cannot go on with it. It can be looked at and scored (rung view, rung diagnose, rung eval); to go on "
        f"training, install rung {writer}, or start a new run from its model: --model {folder / 'final'}"
    )
