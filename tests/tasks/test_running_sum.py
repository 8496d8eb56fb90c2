"""Running sums: totals are right, sides share no problem, and the judge sees each step where it ends."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.errors import SettingsError
from rung.rewards.judge import Judge
from rung.tasks.library.running_sum import chain, running_sum
from rung.tasks.load import load_text_task
from rung.tasks.task import Item


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"[+-]?[0-9]+", text)]


@given(st.lists(st.integers(-9, 9).filter(bool), min_size=1, max_size=8), st.integers(1, 9))
def test_the_totals_are_those_of_the_text(rest: list[int], first: int) -> None:
    made = chain((first, *rest))
    assert numbers(made.prompt) == [first, *rest]
    assert made.columns["steps"] == [first + sum(rest[: n + 1]) for n in range(len(rest))]


def test_a_worked_example_is_right_and_written_with_the_tasks_characters() -> None:
    task = running_sum(steps=True)
    assert chain((3, 5, -2, 7)).prompt == "3+5-2+7=" and chain((3, 5, -2, 7)).worked == "8,6=13\n"
    assert chain((3, 5)).worked == "8\n"
    assert task.characters is not None
    with Judge(task.rewards) as judge:
        for index in range(60):
            example = task.examples[index]
            assert not set(example.prompt + example.completion) - set(task.characters)
            totals = chain(numbers(example.prompt)).columns["steps"]
            assert min(totals) >= 0
            item = Item(id="x", prompt=example.prompt, columns={"answer": totals[-1], "steps": totals})
            (found,) = judge([item], [example.completion])
            steps = len(totals) if "=" in example.completion else 1
            assert (found.accuracy, found.total) == (1.0, float(steps))
            assert [score for _, score in found.steps] == [1.0] * steps


def test_half_of_the_examples_show_the_working() -> None:
    task = running_sum(seed=2)
    shown = ["=" in task.examples[index].completion for index in range(400)]
    assert 0.4 < sum(shown) / len(shown) < 0.6


def test_a_wrong_step_is_wrong_where_it_stands() -> None:
    task = running_sum(steps=True)
    item = next(one for one in (task.train[n] for n in range(8)) if one.columns["steps"] == [14, 6, 13])
    assert item.prompt == "8+6-8+7="
    with Judge(task.rewards) as judge:
        slipped, bare = judge([item, item], ["14,7=14\n", "13\n"])
    assert slipped.steps == ((2, 1.0), (4, 0.0), (7, 0.0)) and slipped.accuracy == 0.0
    assert bare.accuracy == 1.0 and bare.steps == ((2, 1.0),)


def test_no_problem_is_on_both_sides_whatever_the_seeds() -> None:
    held = {item.prompt for seed in (0, 1) for item in running_sum(seed=seed).held_out}
    task = running_sum(seed=0)
    train = {task.train[n].prompt for n in range(800)} | {task.examples[n].prompt for n in range(800)}
    assert len(held) > 300 and len(train) > 1000 and not held & train
    assert [item.columns["terms"] for item in task.held_out[:4]] == [3, 4, 5, 6]


def test_items_depend_on_seed_and_index_alone() -> None:
    task, again, other = (running_sum(seed=seed) for seed in (3, 3, 4))
    assert [task.train[n] for n in range(40)] == [again.train[n] for n in range(39, -1, -1)][::-1]
    assert task.held_out == again.held_out and other.held_out != task.held_out
    assert running_sum(seed=3, size=10).train[9] == task.train[9]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"terms": [1]}, r"terms: got \[1\], expected whole numbers from 2 to 20"),
        ({"terms": []}, r"terms: got \[\]"),
        ({"held_out": 0}, "held_out: got 0"),
        ({"size": 0}, "size: got 0"),
        ({"term": [3]}, "'running-sum' has no option 'term'; did you mean 'terms'"),
        ({"terms": [2], "held_out": 60}, "different held-out problems; ask for fewer"),
    ],
)
def test_what_cannot_be_is_refused(options, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load_text_task("running-sum", **options)
