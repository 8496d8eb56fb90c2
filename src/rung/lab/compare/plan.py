"""What is compared: each method with its settings, the seeds, the budget. It is written before anything is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rung.errors import DataError, SettingsError
from rung.runs.folder import holds_something
from rung.settings import Settings, settings_from
from rung.settings.given import given, leaves, plain
from rung.settings.yaml_text import read_yaml, write_yaml
from rung.trainers.handed import Handed
from rung.whole_files import write_whole

PLAN, RESULT, PAGE = "comparison.yaml", "comparison.json", "comparison.html"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One comparison."""

    axis: str
    """What the budget counts; see `rung.trainers.budget.AXES`."""
    limit: float
    seeds: tuple[int, ...]
    settings: Mapping[str, Settings]
    """By method, the budget in them; their seed is the first one."""
    handed: Handed | None = field(default=None, compare=False, repr=False)
    """Objects that settings cannot hold. The runs are then made in this process, one after another."""

    @property
    def parts(self) -> tuple[type[Any], ...]:
        """Classes of parts that are not rung's own."""
        return tuple(part for settings in self.settings.values() for part in settings.method.parts)

    def names(self) -> list[RunName]:
        """Every run: all methods of one seed before the next seed, so that an early look compares all of them."""
        return [RunName(method, seed) for seed in self.seeds for method in self.settings]

    def run_settings(self, name: RunName) -> Settings:
        """The settings of one run."""
        return self.settings[name.method].model_copy(update={"seed": name.seed})

    def as_data(self) -> dict[str, Any]:
        """JSON-like: what comparison.yaml holds."""
        return {
            "budget": {self.axis: self.limit},
            "seeds": list(self.seeds),
            "methods": {method: settings.as_data() for method, settings in self.settings.items()},
        }


def read_plan(folder: Path, parts: Sequence[type[Any]] = ()) -> Comparison:
    """The comparison of a folder. DataError when there is none, or its file is damaged."""
    file = folder / PLAN
    problems: list[str] = []
    try:
        tree = read_yaml(file.read_text(encoding="utf-8"), str(file), problems)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError([f"{folder}: holds no comparison ({file.name} cannot be read: {error})"]) from error
    data = plain(tree) if tree is not None else None
    if problems or not isinstance(data, dict):
        raise DataError(problems or [f"{file}: got no keys, expected budget, seeds and methods"])
    return _from_data(data, file, parts)


def _from_data(data: Mapping[str, Any], file: Path, parts: Sequence[type[Any]]) -> Comparison:
    budget, seeds, methods = (data.get(key) for key in ("budget", "seeds", "methods"))
    if not isinstance(budget, dict) or len(budget) != 1 or not isinstance(methods, dict) or not methods:
        raise DataError([f"{file}: expected one budget and at least one method"])
    if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise DataError([f"{file}: seeds: got {seeds!r}, expected a list of whole numbers"])
    ((axis, limit),) = budget.items()
    return Comparison(
        axis=axis,
        limit=limit,
        seeds=tuple(seeds),
        settings={method: settings_from(content, parts) for method, content in methods.items()},
    )


def claim(comparison: Comparison, folder: Path) -> bool:
    """Makes the folder this comparison's; True when it was that already, so that it goes on.

    Raises SettingsError when the folder holds something else, or another comparison; what differs is named.
    """
    if (folder / PLAN).is_file():
        there = read_plan(folder, comparison.parts)
        if there == comparison:
            return True
        raise SettingsError(
            [
                f"--out: {folder} holds another comparison; choose another folder, or go on with the one in it: "
                f"rung compare --resume {folder}",
                *(f"--out: {folder}: {words}" for words in _differences(there, comparison)),
            ]
        )
    if holds_something(folder):
        raise SettingsError([f"--out: {folder} is not empty and holds no comparison; choose another folder"])
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / PLAN, write_yaml(comparison.as_data()).encode())
    return False


def _differences(there: Comparison, here: Comparison, most: int = 8) -> Sequence[str]:
    before, after = (flat(one.as_data()) for one in (there, here))
    keys = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
    shown = [f"{key} is {before.get(key, 'not there')}, now {after.get(key, 'not there')}" for key in keys[:most]]
    return [*shown, f"and {len(keys) - most} more differences"] if len(keys) > most else shown


def flat(data: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings by dotted key."""
    return {key: plain(value) for key, value in leaves(given(data, None))}


@dataclass(frozen=True)
class RunName:
    """Which run. Example: `RunName("grpo", 0)` is the folder `runs/grpo-0`."""

    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method}-{self.seed}"


def run_folder(folder: Path, name: RunName) -> Path:
    return folder / "runs" / str(name)


def outcome_file(folder: Path, name: RunName) -> Path:
    return folder / "outcomes" / f"{name}.json"


def shared_folder(folder: Path) -> Path:
    return folder / "pairs"


def log_file(folder: Path, name: RunName) -> Path:
    return folder / "logs" / f"{name}.txt"
