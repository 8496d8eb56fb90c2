"""What a run began with: its settings and inputs, in inputs.json, its method and the folder's format, in method.json.

A run is what they are: their digest stands in each checkpoint, which ties the checkpoint to its run, and a resumed run
is held to them. Runs of an older format can be viewed, diagnosed and evaluated; they cannot be resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rung import __version__
from rung.errors import CheckpointError, SettingsError
from rung.methods import Method
from rung.methods.explain import card
from rung.settings import Settings
from rung.settings.given import given, leaves, plain
from rung.trainers.inputs import Inputs, changed, digest_of
from rung.whole_files import write_whole

INPUTS = "inputs.json"
FREE = ("steps", "budget", "evaluation.every", "saving", "reporting", "learner.processes", "learner.deadline_s")
"""What a resumed run may set otherwise."""
MAY_CHANGE = f"may change: {', '.join(FREE)}"


def write(folder: Path, settings: Settings, inputs: Inputs) -> None:
    """Writes inputs.json."""
    content = {"settings": _deciding(settings), "inputs": dict(inputs)}
    write_whole(folder / INPUTS, json.dumps(content, indent=1, sort_keys=True).encode())


def read(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """What inputs.json holds. CheckpointError when it is not there or is damaged."""
    try:
        content = json.loads((folder / INPUTS).read_text("utf-8"))
        return {part: dict(content[part]) for part in ("settings", "inputs")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"this run cannot go on: {folder / INPUTS}, which says what it began with, cannot be read "
            f"({type(error).__name__}: {error}). Put back what was there, or begin a new run"
        ) from error


def run_of(folder: Path) -> str:
    """The digest of what a run began with."""
    return digest_of([json.dumps(read(folder), sort_keys=True)])


def require_settings(folder: Path, settings: Settings) -> None:
    """SettingsError when settings.yaml decides otherwise than the settings that the run began with."""
    before, now = read(folder)["settings"], _deciding(settings)
    wrong = [
        f"{key}: settings.yaml says {now[key]!r}, but the run began with {before[key]!r}, and would be another run; "
        f"put back what was there, or begin a new run; {MAY_CHANGE}"
        for key in before
        if key in now and before[key] != now[key]
    ]
    if wrong:
        raise SettingsError(wrong)


def require_inputs(folder: Path, inputs: Inputs) -> None:
    """CheckpointError, naming each, when inputs are not those that the run began with."""
    if differing := changed(read(folder)["inputs"], inputs):
        raise CheckpointError(
            f"this run cannot go on: {'; '.join(differing)}. Put back what was there, or begin a new "
            f"run; to begin it with what this one has learnt, name its model: --model {folder / 'final'}"
        )


def _deciding(settings: Settings) -> dict[str, Any]:
    """Every setting that decides the run, by dotted key, JSON-like."""
    every = leaves(given(json.loads(json.dumps(settings.as_data())), None))
    return {key: plain(one) for key, one in every if not f"{key}.".startswith(tuple(f"{free}." for free in FREE))}


FORMAT = 2
"""Counts up whenever a checkpoint or a setting changes so that an older run cannot go on."""
CARD = "method.json"


def write_card(folder: Path, method: Method) -> None:
    """Writes method.json: the method in full, and the version and format of the folder."""
    content = {"rung": __version__, "format": FORMAT, **card(method)}
    write_whole(folder / CARD, json.dumps(content, indent=2, ensure_ascii=False).encode())


def require_format(folder: Path) -> None:
    """CheckpointError where the run was written in another format."""
    try:
        content: Any = json.loads((folder / CARD).read_text(encoding="utf-8"))
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
