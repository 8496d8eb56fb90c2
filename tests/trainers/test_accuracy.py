"""Which reward counts as accuracy: a named one, else the task's own, else the first; and what follows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rung
from rung.errors import SettingsError
from rung.models.language.tiny import tiny_model
from rung.rewards.judge import Judge
from rung.settings import RewardSettings, settings_from
from rung.tasks.load import load_text_task
from rung.trainers.build import rewards_of
from rung.trainers.fits import accuracy_doubts, accuracy_of

FILE = """
def form(completions):
    return [1.0] * len(completions)

def right(completions, answer):
    return [float(text.strip() == str(a)) for text, a in zip(completions, answer)]
"""
FORM, RIGHT, TASK = "mine.py:form", "mine.py:right", "task"


def parts(*functions: str) -> list[RewardSettings]:
    return [RewardSettings(function=function) for function in functions]


@pytest.mark.parametrize(
    ("chosen", "own", "named", "name"),
    [
        ((), ("correct",), None, "correct"),
        ((FORM, TASK), ("correct",), None, "correct"),
        ((FORM, RIGHT), ("correct",), None, "form"),
        ((FORM,), (), None, "form"),
        ((FORM, RIGHT), (), "right", "right"),
        ((FORM, TASK), ("correct",), "form", "form"),
        ((FORM,), ("correct",), "task", "correct"),
        ((FORM,), ("correct",), "correct", "correct"),
        ((TASK,), ("correct", "steps"), "steps", "steps"),
        ((FORM, RIGHT), (), RIGHT, "right"),
        ((), (), None, ""),
    ],
)
def test_the_accuracy(chosen: tuple[str, ...], own: tuple[str, ...], named: str | None, name: str) -> None:
    assert accuracy_of(parts(*chosen), own, named)[0] == name


def test_a_name_that_no_reward_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"rewarding\.accuracy: got 'rihgt'.*did you mean 'right'.*form, right"):
        accuracy_of(parts(FORM, RIGHT), (), "rihgt")


@pytest.mark.parametrize(
    ("rewards", "accuracy", "said"),
    [
        ([FORM, RIGHT], None, "'form' counts as accuracy because it stands first"),
        ([FORM], None, "'form' takes the place of the task's own 'correct'"),
        ([FORM, RIGHT], "right", None),
        ([FORM, TASK], None, None),
        ([], None, None),
    ],
)
def test_a_form_in_the_place_of_the_accuracy_is_warned_of(
    rewards: list[str], accuracy: str | None, said: str | None
) -> None:
    settings = settings_from(
        {
            "model": "tiny",
            "method": "dapo",
            "task": "arithmetic",
            "rewards": [{"function": one} for one in rewards],
            "rewarding": {"accuracy": accuracy},
        }
    )
    found = list(accuracy_doubts(settings, ["correct"]))
    assert len(found) == (said is not None) and all(str(said) in one for one in found)


def test_the_judge_follows_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    task = load_text_task("arithmetic")
    form, right = (RewardSettings(function=f"{tmp_path}/{name}") for name in (FORM, RIGHT))

    def judgement(*chosen: RewardSettings, accuracy: str | None = None) -> Any:
        with Judge(rewards_of(chosen, task, accuracy=accuracy)) as judge:
            return judge(task.train[:1], ["no number"])[0]

    own = RewardSettings(function=TASK, weight=0.5)
    assert judgement(form, right).accuracy == 1.0
    named = judgement(form, right, accuracy="right")
    assert (named.accuracy, named.total, set(named.parts)) == (0.0, 1.0, {"form", "right"})
    kept = judgement(form, own)
    assert (kept.accuracy, kept.total) == (0.0, 1.0)
    beside = judgement(form, accuracy="task")
    assert (beside.accuracy, beside.total, set(beside.parts)) == (0.0, 1.0, {"form", "correct"})


def form(completions: list[str]) -> list[float]:
    return [1.0] * len(completions)


def even(completions: list[str]) -> list[float]:
    return [0.0] * len(completions)


def test_a_function_from_python_is_named_by_itself_and_scores_the_run(tmp_path: Path) -> None:
    tiny_model(0, layers=2, width=32).save(tmp_path / "tiny")
    small: dict[str, Any] = {"prompts_per_step": 2, "max_new_tokens": 3, "learner": {"threads": 1}, "steps": 0}
    small |= {"evaluation": {"num_items": 2, "num_samples": 1}, "reporting": {"page": False}, "quiet": True}
    small |= {"model": str(tmp_path / "tiny"), "task": "arithmetic", "method": "grpo", "rewards": [form, even]}
    scores = [
        rung.train(out=tmp_path / str(number), **small, **more).score
        for number, more in enumerate(({}, {"rewarding": {"accuracy": even}}, {"rewarding": {"accuracy": "form"}}))
    ]
    assert scores == [1.0, 0.0, 1.0]
    followed = rung.evaluate(tmp_path / "1", rewards=[form, even], accuracy=even, items=2, k=1)
    assert followed.score == 0.0
