"""Held-out scores: k completions of each item, judged by the accuracy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rung.batch import Episode
from rung.errors import DataError
from rung.random import Stream
from rung.rewards.judge import Judge
from rung.rollouts.judged import answer_text, judged
from rung.rollouts.sampling import Sampler
from rung.rollouts.turns import answers
from rung.settings import Settings
from rung.tasks.task import Item, TextTask
from rung.whole_files import write_whole

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a policy scored: one row an item, one column a sample; NaN where a sample could not be judged.

    Example: 3 items, 2 samples: `scores_NK = [[1, 0], [1, 1], [0, 0]]`, mean@2 = 0.5.
    """

    items: tuple[str, ...]
    scores_NK: npt.NDArray[np.float64]
    completions_NK: tuple[tuple[str, ...], ...]
    beside: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    """What else this evaluation showed, by metric name."""
    episodes: tuple[Episode, ...] = ()
    """The judged samples of a text task, the samples of one item together."""

    @property
    def mean(self) -> float:
        """The score: mean over items of the mean over samples that could be judged."""
        return float(np.nanmean(np.nanmean(self.scores_NK, axis=1)))


def score(
    sampler: Sampler,
    policy: TextPolicy,
    judge: Judge,
    task: TextTask,
    items: Sequence[Item],
    *,
    k: int,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> Scores:
    """Samples k completions of each item and judges them by the accuracy.

    The random streams depend on seed, item and sample alone, so two policies are compared on common random numbers.
    Raises RewardError when more completions could not be judged than the judge allows.
    """
    episodes = answers(
        sampler,
        policy,
        task,
        items,
        samples_per_prompt=k,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        stream=Stream(seed, 0, "held out"),
    )
    judgements = judged(judge, policy, [items[e.group] for e in episodes], episodes)
    accuracies = [np.nan if j.accuracy is None else j.accuracy for j in judgements]
    texts = [answer_text(episode) for episode in episodes]
    kept = (replace(e, judgement=j) for e, j in zip(episodes, judgements, strict=True))
    return Scores(
        items=tuple(item.id for item in items),
        scores_NK=np.array(accuracies, dtype=np.float64).reshape(len(items), k),
        completions_NK=tuple(tuple(texts[index * k : (index + 1) * k]) for index in range(len(items))),
        episodes=tuple(kept),
    )


def held_out_scores(settings: Settings, sampler: Sampler, policy: TextPolicy, judge: Judge, task: TextTask) -> Scores:
    """The score on the first held-out items, as the settings say."""
    asked = settings.evaluation
    return score(
        sampler,
        policy,
        judge,
        task,
        [task.held_out[index] for index in range(min(asked.num_items, len(task.held_out)))],
        k=asked.num_samples,
        max_new_tokens=settings.max_new_tokens,
        temperature=asked.temperature,
        seed=settings.seed,
    )


def save_scores(folder: Path, step: int, scores: Scores) -> None:
    """Keeps an evaluation's scores in `folder/held_out/step_000010.json`, for paired comparison."""
    target = folder / "held_out" / f"step_{step:06d}.json"
    target.parent.mkdir(exist_ok=True)
    accuracy = [[None if np.isnan(value) else value for value in row] for row in scores.scores_NK.tolist()]
    write_whole(target, json.dumps({"step": step, "items": scores.items, "accuracy": accuracy}).encode())


def load_scores(folder: Path, step: int) -> npt.NDArray[np.float64] | None:
    """scores_NK of one evaluation of a run, or None when it was not made. DataError when its file is damaged."""
    path = folder / "held_out" / f"step_{step:06d}.json"
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        scores_NK = np.array(content["accuracy"], dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError([f"{path}: the scores in it cannot be read ({type(error).__name__}: {error})"]) from error
    if scores_NK.ndim != 2 or not scores_NK.size:
        raise DataError([f"{path}: got scores of shape {scores_NK.shape}, expected [items, samples]"])
    return scores_NK


def cut_scores_back(folder: Path, step: int) -> None:
    """For resume: removes the evaluations of later steps; files of other names stay."""
    for path in sorted((folder / "held_out").glob("step_*.json")):
        number = path.stem.removeprefix("step_")
        if number.isdecimal() and int(number) > step:
            path.unlink()
