"""reasoning-gym's scoring in the child: the data set's own score of the answer that was found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest

from rung.errors import SettingsError
from rung.rewards.reward import Failure, OpenReward
from rung.rewards.text_is_not_code import Guard
from rung.tasks.reasoning_gym import (
    ReasoningGymScore,
    Source,
    answer_in,
    made_entries,
    question_key,
    reasoning_gym_job,
)

CHAIN = Source(
    dataset="chain_sum",
    options={"max_terms": 3},
    seeds={"train": 7, "held-out": 1007},
    sizes={"train": 9, "held-out": 9},
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer>8</answer>", "8"),
        ("<answer>7</answer> no <answer> 8 </answer>.", "8"),
        ("<answer>1 2\n3 4</answer>", "1 2\n3 4"),
        ("<answer>8", "8"),
        ("8</answer>", "8"),
        ("Answer: 8", "8"),
        ("**Answer:** 8\n", "8"),
        ("Answer: 1 2\n3 4", "1 2\n3 4"),
        ("8", "8"),
        (" 8\n", "8"),
        ("it is so\n8", "8"),
        ("<think>Answer: 7</think>8", "8"),
        ("", None),
        (" \n", None),
        ("<answer></answer>", None),
        ("Answer:", None),
    ],
)
def test_answer_in(text: str, answer: str | None):
    assert answer_in(text) == answer


@pytest.fixture(scope="module")
def made() -> list[tuple[str, str | None]]:
    with CHAIN.child() as child:
        return made_entries(child, "train", 0, 9, 60)


@pytest.fixture(scope="module")
def opened() -> Iterator[OpenReward]:
    reward = ReasoningGymScore(source=CHAIN).open(30)
    yield reward
    reward.close()


def columns(made: list[tuple[str, str | None]], indices: list[int]) -> dict[str, list[Any]]:
    return {
        "side": ["train"] * len(indices),
        "index": indices,
        "question_key": [question_key(made[i][0]) for i in indices],
    }


def test_the_entries_are_those_of_the_data_set(made: list[tuple[str, str | None]]):
    from reasoning_gym.factory import create_dataset

    expected = create_dataset("chain_sum", seed=7, size=9, max_terms=3)
    assert made == [(expected[i]["question"], expected[i]["answer"]) for i in range(9)]


def test_scores_are_the_data_sets_own(opened: OpenReward, made: list[tuple[str, str | None]]):
    from reasoning_gym.factory import create_dataset

    data = create_dataset("chain_sum", seed=7, size=9, max_terms=3)
    answers = [made[0][1], "0", f"it may be {made[2][1]}", ""]
    texts = [f"<answer>{answer}</answer>" for answer in answers]
    scores = opened(["p"] * 4, texts, columns(made, [0, 1, 2, 3]))
    assert scores == [1.0, data.score_answer("0", data[1]), data.score_answer(answers[2], data[2]), 0.0]
    assert 0 < scores[2] < 1, "the data set gives part of the score for an answer with words around it"


def test_a_question_that_changed_since_is_a_failure(opened: OpenReward, made: list[tuple[str, str | None]]):
    changed = columns(made, [0]) | {"question_key": ["0" * 16]}
    (score,) = opened(["p"], ["8"], changed)
    assert isinstance(score, Failure) and "made another question at train 0" in score.detail


def test_text_that_the_scorer_cannot_read_is_wrong_and_a_broken_scorer_raises():
    from rung.tasks.reasoning_gym import _score

    class Scorer:
        def __init__(self, reads_own: bool) -> None:
            self.reads_own = reads_own

        def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
            if answer == entry["answer"] and self.reads_own:
                return 1.0
            raise ValueError("no number")

    assert (
        _score("s", Scorer(True), "x", {"answer": "5"}, Guard()) == 0.0
        and _score("s", Scorer(True), "5", {"answer": "5"}, Guard()) == 1.0
    )
    with pytest.raises(ValueError, match="no number"):
        _score("s", Scorer(False), "x", {"answer": "5"}, Guard())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "chain_summ"}, "no data set 'chain_summ'; did you mean 'chain_sum'"),
        ({"options": {"max_term": 3, "zzz": 1}}, "no option 'max_term'; did you mean 'max_terms'"),
        ({"options": {"seed": 3}}, "no option 'seed'"),
        ({"options": {"max_terms": 1, "min_terms": 5}}, "refuses .*max_terms must be >= min_terms"),
        ({"options": {"max_terms": "many"}}, "refuses"),
    ],
)
def test_wrong_options_are_settings_errors(changes: dict[str, Any], message: str):
    with pytest.raises(SettingsError, match=message):
        reasoning_gym_job(asdict(replace(CHAIN, **changes)))


def test_a_data_set_that_walks_over_sets_makes_the_same_in_every_child(monkeypatch: pytest.MonkeyPatch):
    source = Source(dataset="isomorphic_strings", options={}, seeds={"train": 5}, sizes={"train": 4})
    found = []
    for hash_seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        with source.child() as child:
            found.append(made_entries(child, "train", 0, 4, 60))
            if hash_seed == "2":
                with pytest.raises(SettingsError, match="making entries 0 to 4 failed: timeout"):
                    made_entries(child, "train", 0, 4, 0.0)
                assert child.pid is None
    assert found[0] == found[1]
