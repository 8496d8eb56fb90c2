"""Reads a run's folder into what the rules look at. Nothing is loaded but files; nothing is written."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rung.errors import DataError, SettingsError
from rung.lab.diagnosis.observed import Evaluated, ObservedRun, Sample
from rung.runs.record.files import Row, read_rows
from rung.runs.record.samples import StoredSamples
from rung.settings import Settings, read_settings
from rung.settings.given import plain, read_yaml

SAMPLE_STEPS = 3
"""Steps at either end whose samples are read."""
SAMPLES_A_STEP = 512


def read_stored(folder: Path) -> ObservedRun:
    """Reads a run's folder. Raises `DataError` when there is nothing to read: no metrics and no settings in it.

    What is damaged is told in `problems`; the rest is read nonetheless.
    """
    if not any((folder / name).is_file() for name in ("metrics.jsonl", "settings.yaml")):
        raise DataError([f"{folder}: no run here, expected a folder with metrics.jsonl or settings.yaml"])
    problems: list[str] = []
    stored = StoredSamples(folder)
    steps: list[int] = []
    try:
        steps = stored.steps()
    except DataError as error:
        problems.append(str(error))
    return ObservedRun(
        name=folder.resolve().name,
        rows=_rows(folder / "metrics.jsonl", problems),
        settings=_settings(folder / "settings.yaml", problems),
        evaluations=evaluations(folder / "held_out", problems),
        first_samples=_samples(stored, steps[:SAMPLE_STEPS], problems),
        last_samples=_samples(stored, steps[-SAMPLE_STEPS:], problems),
        finished=(folder / "final").is_dir(),
        running=in_use(folder),
        problems=tuple(problems),
    )


def _rows(path: Path, problems: list[str]) -> list[Row]:
    try:
        found = read_rows(path)
    except (DataError, OSError) as error:
        problems.append(str(error))
        return []
    problems += found.problems
    return found.rows


def object_in(path: Path, problems: list[str]) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="backslashreplace") or "{}")
    except OSError as error:
        wrong = f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        wrong = f"not JSON: {error}"
    else:
        if isinstance(found, dict):
            return found
        wrong = f"got {type(found).__name__}, expected an object"
    problems.append(f"{path.name}: {wrong}")
    return {}


def _settings(path: Path, problems: list[str]) -> Settings | None:
    if not path.is_file():
        problems.append(f"{path.name}: is not there, so that what a setting is now is not known")
        return None
    try:
        settings = read_settings(path)
        settings.resolved_method()
    except SettingsError as error:
        from rung.methods.slots import own_part_names

        tree = read_yaml(path.read_text(encoding="utf-8", errors="replace"), str(path), [])
        if tree is not None and own_part_names(plain(tree)):
            return None  # the method has parts of somebody's own, whose classes are not known here
        first = error.problems[0].removeprefix(f"{path}:")
        more = f", and {len(error.problems) - 1} more" if len(error.problems) > 1 else ""
        problems.append(f"{path.name}, which this version cannot read: line {first}{more}")
        return None
    return settings


def evaluations(folder: Path, problems: list[str]) -> list[Evaluated]:
    """The evaluations of a run's held_out/, by step; a sentence in `problems` for each that is damaged."""
    found: list[Evaluated] = []
    for path in sorted(folder.glob("step_*.json")):
        one = object_in(path, problems)
        items, step = one.get("items"), one.get("step")
        try:
            scores_NK = np.asarray(one.get("accuracy"), dtype=np.float64)
        except (ValueError, TypeError):
            scores_NK = np.zeros(0)
        whole = isinstance(items, list) and isinstance(step, int) and scores_NK.ndim == 2
        if not whole or len(items) != len(scores_NK) or np.isnan(scores_NK).all():
            problems.append(f"held_out/{path.name}: no scores of items by samples")
            continue
        found.append(Evaluated(step, tuple(str(item) for item in items), scores_NK))
    return sorted(found, key=lambda one: one.step)


_COLUMNS = ("step", "group", "prompt", "completion", "status", "token_ids", "accuracy", "truncated", "reward")


def _samples(stored: StoredSamples, steps: Sequence[int], problems: list[str]) -> list[Sample]:
    rows: list[Sample] = []
    for step in steps:
        try:
            rows += stored.read(step, _COLUMNS)[:SAMPLES_A_STEP]
        except DataError as error:
            problems.append(str(error))
    return rows


def in_use(folder: Path) -> bool:
    """Whether a process holds the run's lock now."""
    try:
        with (folder / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False
