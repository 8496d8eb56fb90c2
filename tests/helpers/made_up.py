"""Stored runs made up in memory: a healthy one, with what a test changes in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rung.lab.diagnosis.observed import Evaluated, ObservedRun, Sample
from rung.settings import settings_from

ITEMS = 200
SETTINGS = {
    "model": "some-model",
    "method": {"name": "dapo", "num_epochs": 4},
    "task": "arithmetic",
    "steps": 40,
    "rewards": [{"function": "task"}, {"function": "r.py:style"}],
}
CONTROL = {"model": "small", "method": "ppo", "task": "CartPole-v1", "steps": 40}
TRPO = {**CONTROL, "method": "trpo"}


def metrics(step: int) -> dict[str, Any]:
    """One row of training of a run that learns."""
    wobble = 0.01 * ((7 * step) % 5 - 2)
    right = 0.3 + 0.01 * step + wobble
    return {
        "reward/mean": 1.5 * right,
        "reward/correct": right,
        "reward_std/correct": 0.4,
        "reward/style": 0.5 + wobble,
        "reward_std/style": 0.3,
        "kl/start": 0.002 * step,
        "entropy": 1 / (1 + step / 50),
        "length/mean": 20.0,
        "length/truncated": 0.02,
        "groups/no_spread": 0.3,
        "groups/all_right": 0.1,
        "groups/all_wrong": 0.2,
        "groups/rounds": 2.0,
        "clip/share": 0.01,
        "advantage/size": 0.7,
        "grad/norm": 1.0 + wobble,
        "sampler_gap/mean": 2e-7,
        "sampler_gap/max": 1e-5,
        "learning_rate": 1e-6,
        "episodes/generated": 64.0,
        "episodes/failed": 0.0,
    }


def sample(step: int, group: int, number: int, **changes: Any) -> Sample:
    """A completion: every second one of a prompt is right, each prompt has its own answer."""
    return {
        "step": step,
        "group": group,
        "prompt": f"{group}+{step}=",
        "completion": f"{group + step}" if number % 2 else f"no {group} {number}",
        "status": "ok",
        "token_ids": list(range(30)),
        "accuracy": float(number % 2),
        "truncated": False,
        "reward": 1.0,
        **changes,
    }


def samples(step: int, change: Callable[[int, int], Mapping[str, Any]] | None = None) -> list[Sample]:
    """8 prompts with 4 samples each."""
    made = [(group, number) for group in range(8) for number in range(4)]
    return [sample(step, group, number, **(change(group, number) if change else {})) for group, number in made]


def evaluated(step: int, score: float) -> Evaluated:
    right_N = np.arange(ITEMS) < round(score * ITEMS)
    return Evaluated(step, tuple(str(item) for item in range(ITEMS)), right_N[:, None].astype(np.float64))


def run(
    *,
    steps: int = 40,
    scores: Mapping[int, float] | None = None,
    settings: Mapping[str, Any] | None = SETTINGS,
    change: Callable[[int], Mapping[str, Any]] | None = None,
    **fields: Any,
) -> ObservedRun:
    """The healthy run, its rows changed by `change(step)` (None takes a metric away), its other fields by `fields`."""
    scores = {0: 0.3, 20: 0.5, 40: 0.7} if scores is None else scores
    rows = [{"step": 0}, *({"step": i, **metrics(i), **(change(i) if change else {})} for i in range(1, steps + 1))]
    for step, score in scores.items():
        if step <= steps:
            rows[step]["held_out/score"] = score
            rows[step] |= {"held_out/low": score - 0.06, "held_out/high": score + 0.06}
    whole: dict[str, Any] = {
        "name": "made-up",
        "rows": rows,
        "settings": settings_from({**settings, "steps": steps}) if settings is not None else None,
        "evaluations": [evaluated(step, score) for step, score in scores.items() if step <= steps],
        "first_samples": samples(1),
        "last_samples": samples(steps),
    }
    return ObservedRun(**{**whole, **fields})


def flat(score: float = 0.3) -> dict[int, float]:
    """Evaluations of a run that learns nothing."""
    return {0: score, 20: score, 40: score}
