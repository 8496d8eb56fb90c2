"""It learns: the tiny model, three seeds. What counts is the score of held-out problems.

The margin was fixed before the first run: +3 points for the mean of three seeds, and more than two standard errors of
the pooled paired difference. `arithmetic` is asked in the slow suite only: how far 40 steps bring a model that begins
at 12 to 18 % depends on the machine that made it (0 to 5 points a seed where the recipe was chosen, 80 steps 8 points;
on an AMD EPYC without AMX -3, +9 and -1 points, so the test does not pass there). Short answers gain 25 to 31 points in
ten steps on that EPYC.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rung import GRPO, Method
from rung.lab.saved_run import SavedRun
from rung.library import train
from rung.settings import Settings
from rung.trainers.reading import read_run

MARGIN = 0.03


def settings(seed: int) -> Settings:
    flags = {"model": "tiny", "method": "grpo", "task": "arithmetic", "seed": str(seed)}
    sets = ["steps=40", "saving.every=0", "evaluation.every=0", "reporting.page=false", "learner.threads=1"]
    return read_run(recipe="tiny", flags=flags, sets=sets).required()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_score_on_held_out_sums_rises(tmp_path: Path) -> None:
    rises([train(settings(seed), tmp_path / str(seed), quiet=True) for seed in range(3)])


@pytest.mark.timeout(300)
def test_a_reward_of_ones_own_is_learnt(tmp_path: Path) -> None:
    mine = GRPO.changed(samples_per_prompt=8)
    rises([learnt(short, mine, seed, tmp_path) for seed in range(3)])


def test_a_reward_that_tells_nothing_apart_teaches_nothing(tmp_path: Path) -> None:
    """The negative control: the same run with the same reward for every answer leaves the score where it was."""
    run = learnt(same, GRPO.changed(samples_per_prompt=8), 0, tmp_path)
    assert run.gain is not None
    assert run.gain.value == 0


def learnt(reward: Callable[..., list[float]], method: Method, seed: int, folder: Path) -> SavedRun:
    return train(
        model="tiny",
        method=method,
        task="arithmetic",
        rewards=[reward],
        steps=10,
        seed=seed,
        out=folder / str(seed),
        quiet=True,
        saving={"every": 0},
        evaluation={"every": 0},
        reporting={"page": False},
        learner={"threads": 1},
    )


def short(prompts: Sequence[str], completions: Sequence[str], **_columns: object) -> list[float]:
    return [float(len(text) < 6) for text in completions]


def same(prompts: Sequence[str], completions: Sequence[str], **_columns: object) -> list[float]:
    return [1.0] * len(completions)


def rises(runs: Sequence[SavedRun]) -> None:
    gains = [run.gain for run in runs if run.gain is not None]
    assert len(gains) == len(runs)
    mean = sum(gain.value for gain in gains) / len(gains)
    error = math.sqrt(sum(gain.standard_error**2 for gain in gains)) / len(gains)
    assert mean > MARGIN, [gain.value for gain in gains]
    assert mean > 2 * error, (mean, error)
