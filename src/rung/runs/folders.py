"""The folder of a new run, and the model that an old run's folder holds."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.errors import SettingsError
from rung.runs.folder import SETTINGS, model_in, run_settings
from rung.settings import Settings, TaskSettings

if TYPE_CHECKING:
    from rung.runs.checkpoint import Checkpoint

RUNS = Path("runs")
Say = Callable[[str], None]


def silent(line: str) -> None:
    """Says nothing."""


def new_folder(name: str, task: TaskSettings) -> Path:
    """`runs/grpo-arithmetic-3` when `-1` and `-2` are there. Nothing is made yet."""
    stem = f"{name}-{task.slug()}"
    taken = [path.name for path in RUNS.iterdir()] if RUNS.is_dir() else []
    numbers = [int(found[1]) for one in taken if (found := re.fullmatch(re.escape(stem) + r"-(\d+)", one))]
    return RUNS / f"{stem}-{max(numbers, default=0) + 1}"


@dataclass(frozen=True)
class Found:
    """What a RUN_OR_MODEL argument names: a model to load, and for a run its settings."""

    model: Any
    settings: Settings | None = None


@contextlib.contextmanager
def found(
    run_or_model: str, step: int | None = None, *, say: Say = silent, parts: Sequence[type[Any]] = ()
) -> Iterator[Found]:
    """The model of a run's folder (its `final`, else its newest checkpoint), or the model itself.

    With `step` it is the run's checkpoint of that step. A checkpoint is made into an ordinary model folder for as long
    as the context lasts. Raises SettingsError for a run that has neither, or not that checkpoint.
    """
    run = Path(run_or_model)
    if not (run / SETTINGS).is_file():
        if step is not None:
            raise SettingsError([f"--step: got {step}, but {run_or_model} is no run's folder, so it has no steps"])
        yield Found(run_or_model)
        return
    settings = run_settings(run, parts)
    if step is not None:
        with _model_folder() as folder:
            _save(settings, _checkpoint_of(run, step), folder)
            yield Found(str(folder), settings)
        return
    if model_in(run / "final") is not None:
        yield Found(str(run / "final"), settings)
        return
    with _model_folder() as folder:
        _save(settings, _newest_checkpoint(run, say), folder)
        yield Found(str(folder), settings)


@contextlib.contextmanager
def _model_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rung-") as folder:
        yield Path(folder)


def _checkpoint_of(run: Path, step: int) -> Checkpoint:
    from rung.runs import checkpoint

    steps = checkpoint.steps(run / "checkpoints")
    if step not in steps:
        kept = ", ".join(map(str, steps)) or "none"
        raise SettingsError(
            [f"--step: got {step}; {run} has checkpoints of steps: {kept} (saving.every and saving.keep say which)"]
        )
    return checkpoint.of_step(run / "checkpoints", step)


def _newest_checkpoint(run: Path, say: Say) -> Checkpoint:
    from rung.runs import checkpoint

    newest, refused = checkpoint.newest(run / "checkpoints")
    for sentence in refused:
        say(f"warning: {sentence}")
    if newest is None:
        raise SettingsError([f"{run}: this run has no final model and no checkpoint yet"])
    say(f"{run} is not finished: its checkpoint of step {newest.step} is used")
    return newest


def _save(settings: Settings, saved: Checkpoint, folder: Path) -> None:
    """The checkpoint as an ordinary model folder."""
    from rung.runs.run import handed
    from rung.trainers.choose import build

    trainer = build(settings, handed())
    with contextlib.closing(trainer):
        trainer.policy.load_state(saved.tensors("policy"))
        trainer.save(folder)
