"""A comparison's folder.

comparison.yaml             what is compared
comparison.json             the result, comparison.html the same as a page
runs/METHOD-SEED/           an ordinary run folder each
outcomes/METHOD-SEED.json   how the run's process ended; `{"exit": 0}`: finished
logs/METHOD-SEED.txt        what it printed
pairs/seed-SEED-HASH.jsonl  pairs drawn from the model; the runs for which they are the same share them
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PLAN = "comparison.yaml"
RESULT = "comparison.json"
PAGE = "comparison.html"


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
