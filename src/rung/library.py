"""The library's calls: what the command line does, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rung.lab.labels.people import people
from rung.lab.watching import watching
from rung.runs import run
from rung.runs.run import Summary, handed
from rung.settings import Settings, read_settings
from rung.trainers import choose
from rung.trainers.trainer import Trainer


def train(
    settings: Settings, folder: Path, *, quiet: bool = False, plan: Sequence[str] = (), shared: Path | None = None
) -> Summary:
    """Trains in a new folder; see `rung.runs.run.train`."""
    observers = watching(page=settings.reporting.page)
    return run.train(settings, folder, quiet=quiet, plan=plan, shared=shared, observers=observers, hands=handed(people))


def resume(
    folder: Path, changes: Mapping[str, Any] | None = None, *, quiet: bool = False, shared: Path | None = None
) -> Summary:
    """Goes on with a run; see `rung.runs.run.resume`."""
    page = (folder / "settings.yaml").is_file() and read_settings(folder / "settings.yaml").reporting.page
    page = (changes or {}).get("reporting.page", page)
    return run.resume(folder, changes, quiet=quiet, shared=shared, observers=watching(page=page), hands=handed(people))


def build(settings: Settings, folder: Path | None = None, shared: Path | None = None) -> Trainer:
    """The trainer of these settings; nothing is trained and nothing written yet."""
    return choose.build(settings, handed(people), folder, shared)
