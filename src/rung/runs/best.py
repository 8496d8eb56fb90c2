"""The best checkpoint: the weights whose held-out score was the highest, kept where `saving.best` asks for it.

A run's `best` holds checkpoints of weights alone. One is removed only when a checkpoint of the run itself is newer than
the one that beat it: a resumed run finds the best of the steps that it goes on from, and ends as if never stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from rung.runs import checkpoint
from rung.runs.checkpoint import Checkpoint

ALL = 1 << 30


def _root(run: Path) -> Path:
    return run / "best"


def of_run(run: Path) -> tuple[Checkpoint | None, list[str]]:
    """The best that verifies, and a sentence for each that does not."""
    return checkpoint.newest(_root(run))


def note(run: Path, step: int, score: float, weights: Mapping[str, Tensor]) -> None:
    """Keeps the weights of a step if its score is higher than every one before."""
    best, _ = of_run(run)
    if best is None or score > best.state()["score"]:
        checkpoint.write(_root(run), step, {"policy": weights}, {"step": step, "score": score})


def saved(run: Path, step: int) -> None:
    """The run has a checkpoint of this step: what was beaten by then is not needed any more."""
    checkpoint.tidy(_root(run), 1, step)


def cut_back(run: Path, step: int) -> None:
    """The run goes on from this step; -1: from nothing."""
    checkpoint.tidy(_root(run), ALL, step)
