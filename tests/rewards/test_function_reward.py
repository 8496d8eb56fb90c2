"""A Python callable as a reward: in this process, with a deadline, every fault by name."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rung.errors import RewardError, SettingsError
from rung.rewards.judge import Judge
from rung.rewards.reward import ChildReward, Reward, WeightedReward
from rung.rewards.text_is_not_code import CodeRefused, Guard
from rung.rewards.user import FunctionReward
from rung.tasks.task import Item


@pytest.fixture
def attack() -> str:
    """No constant of this module: those may become code."""
    return "__import__('os').getpid()"


class Hanging:
    """A reward that does not return before it is released; then it evaluates the completions."""

    __name__ = "hangs"

    def __init__(self) -> None:
        self.released = threading.Event()
        self.outcomes: list[str] = []

    def __call__(self, completions: list[str]) -> list[float]:
        self.released.wait(60)
        for text in completions:
            try:
                self.outcomes.append(str(eval(text)))
            except CodeRefused:
                self.outcomes.append("refused")
        return [1.0] * len(completions)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    function = Hanging()
    yield function
    function.released.set()
    for thread in threading.enumerate():
        if thread.name.startswith("reward "):
            thread.join(10)


def test_a_closure_is_called_in_this_process_with_the_columns_it_names() -> None:
    seen: list[int] = []

    def close_to(prompts: list[str], completions: list[str], **columns: list[Any]) -> list[float | None]:
        seen.append(os.getpid())
        assert prompts == ["p", "q", "r"] and columns["level"] == [1, 2, 3]
        return [
            None if text == "skip" else float(text == a) for text, a in zip(completions, columns["answer"], strict=True)
        ]

    reward: Reward = FunctionReward(close_to)
    assert isinstance(reward, ChildReward) and reward.name == "close_to"
    scores = reward(["p", "q", "r"], ["1", "2", "skip"], {"answer": ["1", "3", "4"], "level": [1, 2, 3]})
    assert scores == [1.0, 0.0, None] and seen == [os.getpid()]


def test_verls_signature_judges_each_sample() -> None:
    def compute_score(data_source: str, solution_str: str, ground_truth: str) -> dict[str, float]:
        return {"score": float(solution_str == ground_truth)}

    assert FunctionReward(compute_score)(["p", "q"], ["1", "2"], {"answer": ["1", "1"]}) == [1.0, 0.0]


def test_it_cannot_change_the_data() -> None:
    def careless(prompts: list[str], completions: list[str], answer: list[Any]) -> list[float]:
        answer[0]["x"], completions[0] = 2, ""
        prompts.clear()
        return [1.0]

    prompts, completions, answers = ["p"], ["a"], [{"x": 1}]
    assert FunctionReward(careless)(prompts, completions, {"answer": answers}) == [1.0]
    assert (prompts, completions, answers) == (["p"], ["a"], [{"x": 1}])


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda completions: 1 / 0, r"reward 'odd': raised: ZeroDivisionError"),
        (lambda completions: sys.exit(3), r"reward 'odd': raised: SystemExit"),
        (lambda completions: [1.0], "returned 1 value for 2 completions"),
        (lambda completions: 1.0, "returned 1 value for 2 completions"),
        (lambda completions: ["1", "2"], "reward 'odd': wrong type: value 0 is a str"),
        (lambda completions: [1.0, float("nan")], "reward 'odd': not finite: value 1 is nan"),
        (lambda gold: [1.0, 1.0], r"reward 'odd': wrong type: wants \['gold'\]"),
        (
            lambda completions: [eval(text) for text in completions],
            "reward 'odd': refused: .*text of a completion as code",
        ),
    ],
)
def test_faults_have_their_name(function: Callable[..., Any], error: str, attack: str) -> None:
    with pytest.raises(RewardError, match=error):
        FunctionReward(function, name="odd")(["p", "q"], [attack, "1"], {})


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"reward: got int 3, expected a function f\(prompts"):
        FunctionReward(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("in_main_thread", [True, False])
def test_what_hangs_is_a_timeout_in_every_thread(hanging: Hanging, in_main_thread: bool) -> None:
    errors: list[RewardError] = []

    def judged() -> None:
        with Judge([WeightedReward(reward=FunctionReward(hanging))], deadline_s=0.2) as judge:
            try:
                judge([Item(id="1", prompt="p", columns={})], ["1"])
            except RewardError as error:
                errors.append(error)

    if in_main_thread:
        judged()
    else:
        other = threading.Thread(target=judged)
        other.start()
        other.join(20)
    (error,) = errors
    assert error.status == "timeout"
    assert "reward 'hangs': timeout: did not return within 0.2 s" in str(error) and "FILE.py:FUNCTION" in str(error)


def test_a_function_left_behind_keeps_its_guard_and_takes_nobody_elses(hanging: Hanging, attack: str) -> None:
    with pytest.raises(RewardError, match="timeout"):
        FunctionReward(hanging, deadline_s=0.2)(["p"], [attack], {})
    (left,) = (thread for thread in threading.enumerate() if thread.name == "reward hangs")

    def evaluated() -> Any:
        assert eval("1 + 1") == 2
        hanging.released.set()
        left.join(10)  # its guard ends while ours is at work
        return eval(attack)

    with pytest.raises(CodeRefused):
        Guard().run([attack], evaluated)
    assert not left.is_alive() and hanging.outcomes == ["refused"]
