"""What the report page shows, read from a run's folder. A file that is missing or cannot be read leaves a sentence in
`problems`, so that an unfinished or damaged run still gets its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rung.batch import OK
from rung.errors import DataError, SettingsError
from rung.lab.diagnosis.warnings import RunWarning, warning_log
from rung.lab.run_page.reading import object_in, rows_in, text_in
from rung.runs import statistics
from rung.runs.metrics.registry import shown
from rung.runs.record import samples
from rung.runs.record.json_lines import Row
from rung.runs.record.visible import visible
from rung.runs.statistics import score_difference

SAMPLES_A_STEP = 48
"""Completions shown of each step; whole groups from the first on."""
STEPS_SHOWN = 9
"""Steps whose completions are shown: first, last, and evenly between."""
TEXT_LIMIT = 4000
"""Characters shown of a completion, and of a prompt's end."""
FILM = "episode.gif"
"""Where training leaves the film of an episode."""
LARGEST_FILM = 3_000_000
"""Bytes of a film that is shown within the page; a larger one stays beside it."""


@dataclass(frozen=True)
class Film:
    """A recorded episode. Example: `Film(31_848, b"GIF89a...")`."""

    size: int
    """Bytes of the file."""
    content: bytes | None
    """A GIF; None where it is larger than a page should be."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """All that the page needs."""

    name: str
    finished: bool
    """The final model is in the folder."""
    metrics: Sequence[Row]
    timings: Sequence[Row]
    warnings: Sequence[tuple[int, RunWarning]]
    method: Mapping[str, Any]
    settings: str
    gain: statistics.Difference | None
    """Last evaluation against the first, item by item; None without two evaluations of the same items."""
    samples: Mapping[str, Any]
    """Plain data for the page's table: `{"steps": [1, 50, 100], "rows": [{"step": 1, "prompt": ..., ...}, ...]}`."""
    film: Film | None = None
    """None where nothing was filmed."""
    problems: Sequence[str]


def read_run(folder: Path) -> RunRecord:
    """Reads a run's folder. Raises `DataError` when it is no run: no folder, or neither metrics nor settings in it."""
    folder = Path(folder)
    if not any((folder / name).is_file() for name in ("metrics.jsonl", "settings.yaml")):
        raise DataError([f"{folder}: no run here, expected a folder with metrics.jsonl or settings.yaml"])
    problems: list[str] = []
    metrics = rows_in(folder / "metrics.jsonl", problems)
    return RunRecord(
        name=folder.resolve().name,
        finished=(folder / "final").is_dir(),
        metrics=metrics,
        timings=rows_in(folder / "timings.jsonl", problems),
        warnings=warning_log(metrics),
        method=object_in(folder / "method.json", problems),
        settings=text_in(folder / "settings.yaml", problems),
        gain=_gain(folder, problems),
        samples=_samples(folder / "samples", problems),
        film=_film(folder / FILM, problems),
        problems=problems,
    )


def _gain(folder: Path, problems: list[str]) -> statistics.Difference | None:
    paths = sorted((folder / "held_out").glob("step_*.json"))
    if len(paths) < 2:
        return None
    first, last = object_in(paths[0], problems), object_in(paths[-1], problems)
    items = first.get("items")
    if not items or items != last.get("items"):
        return None
    try:
        before, after = (np.asarray(found.get("accuracy"), dtype=np.float64) for found in (first, last))
        return score_difference(before, after)
    except (SettingsError, ValueError, TypeError) as error:
        problems.append(f"held_out: the evaluations cannot be compared: {error}")
        return None


def _film(path: Path, problems: list[str]) -> Film | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILM + 1)
            size = path.stat().st_size
    except OSError as error:
        problems.append(f"{path.name}: cannot be read ({error.strerror or error})")
        return None
    if not content.startswith((b"GIF87a", b"GIF89a")):
        problems.append(f"{path.name}: is no GIF, so it is not shown")
        return None
    return Film(size, content if len(content) <= LARGEST_FILM else None)


def _samples(folder: Path, problems: list[str]) -> dict[str, Any]:
    parts = samples.parts(folder)
    steps = _spread(list(parts), STEPS_SHOWN)
    rows: list[dict[str, Any]] = []
    for step in steps:
        try:
            found = samples.read_part(parts[step], _TEXT_COLUMNS + _NUMBER_COLUMNS)
        except DataError as error:
            problems.append(str(error))
            continue
        rows += [_shown(step, row) for row in found[:SAMPLES_A_STEP]]
    return {"steps": steps, "rows": rows}


_TEXT_COLUMNS = ("group", "item", "prompt", "completion", "status")
_NUMBER_COLUMNS = ("mask", "advantages", "reward", "reward_parts", "accuracy", "truncated")


def _spread(steps: Sequence[int], count: int) -> list[int]:
    """The first, the last, and `count` - 2 evenly between."""
    if len(steps) <= count:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count)]


def _shown(step: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the table: text made visible, numbers as text, and `kind` for the filter."""
    prompt, completion = row["prompt"] or "", row["completion"] or ""
    parts = {visible(name, limit=60): shown("", value) for name, value in (row["reward_parts"] or {}).items()}
    mask, advantages = row["mask"] or [], row["advantages"]
    own = [a for a, chosen in zip(advantages, mask, strict=False) if chosen] if advantages else []
    failed = row["status"] not in (None, OK)
    kind = "failed" if failed else "right" if (row["accuracy"] or 0) >= 1 else "wrong"
    return {
        "step": step,
        "group": row["group"],
        "item": visible(row["item"], limit=60),
        "prompt": ("… " if len(prompt) > TEXT_LIMIT else "") + visible(prompt[-TEXT_LIMIT:], keep_newlines=True),
        "completion": visible(completion, limit=TEXT_LIMIT, keep_newlines=True),
        "reward": shown("", row["reward"]),
        "parts": parts,
        "advantage": shown("", sum(own) / len(own)) if own else "–",
        "tokens": sum(mask),
        "status": visible(row["status"] or "not judged", limit=200),
        "truncated": bool(row["truncated"]),
        "kind": kind,
    }
