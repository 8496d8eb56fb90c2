"""A small project that uses rung as a library: type-checked in strict mode, and run by a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from torch import Tensor

import rung
from rung import parts


@dataclass(frozen=True)
class Doubled:
    """The group's centred return, as often as `times` says."""

    times: Annotated[float, parts.ABOVE_0] = 2.0
    needs_group: ClassVar[bool] = True

    def __call__(self, batch: rung.Batch) -> Tensor:
        returns_B = batch.returns_B()
        return self.times * (returns_B - returns_B.mean())[:, None] * batch.action_mask_BT


def score(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float | None]:
    """A reward: short answers."""
    return [float(len(text) < 6) for text in completions]


def advantage() -> parts.Advantage:
    """The part satisfies its slot's protocol."""
    return Doubled()


class Loud:
    """An observer."""

    def stepped(self, metrics: Sequence[Any]) -> list[str]:
        return [f"step {len(metrics)}"]

    def finished(self, run: rung.Finished) -> list[str]:
        return [str(run.folder)]


def trained(folder: str) -> rung.SavedRun:
    """A run with parts of one's own."""
    method = rung.GRPO.changed(name="doubled", advantage=Doubled(times=3.0), samples_per_prompt=4)
    observer: rung.Observer = Loud()
    return rung.train(
        model="tiny", method=method, task="arithmetic", rewards=[score], steps=2, out=folder, observers=[observer]
    )


def last_step(folder: str) -> tuple[float | None, rung.TrainingStep]:
    """A run opened, and a loop of one's own."""
    run = rung.open(folder, parts=[Doubled])
    trainer: rung.Trainer = rung.trainer(model="tiny", method="grpo", task="arithmetic")
    step = trainer.step()
    trainer.close()
    return run.score, step


def wrong() -> list[str]:
    """Errors are rung's own, with the nearest name."""
    try:
        rung.Settings(model="tiny", method="grpo", task="arithmetic").changed({"stepz": 3})
    except rung.SettingsError as error:
        return error.problems
    return []
