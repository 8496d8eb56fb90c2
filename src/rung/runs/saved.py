"""A run's folder, as far as its files tell: whether it holds a run, the settings, the kind of its model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rung.errors import SettingsError
from rung.settings import Settings, read_settings

SETTINGS = "settings.yaml"
"""What makes a folder a run's."""


def require_run(folder: Path) -> None:
    """SettingsError when a folder holds no run."""
    if not (folder / SETTINGS).is_file():
        raise SettingsError([f"{folder}: holds no run (there is no {folder / SETTINGS})"])


def run_settings(folder: Path, parts: Sequence[type[Any]] = ()) -> Settings:
    """The settings of the run in a folder. SettingsError when it holds none."""
    require_run(folder)
    return read_settings(folder / SETTINGS, parts)


def model_in(folder: Path) -> str | None:
    """The name of the file that tells which kind of model a folder holds, as `config` or `small_policy`; None: none."""
    from rung.models.language.folder import ACTORS

    return next((name for name in ("config", *ACTORS) if (folder / f"{name}.json").is_file()), None)
