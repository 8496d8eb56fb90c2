"""Our own tasks: the split is of problems, items depend on seed and index alone, answers are right."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.errors import SettingsError
from rung.rewards.judge import Judge
from rung.tasks.library.arithmetic import LEVELS, arithmetic, problem
from rung.tasks.load import load_task
from rung.tasks.task import TextTask


def problems(task: TextTask, count: int = 1500) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    """The problems of each side, a+b and b+a taken for one."""

    def key(prompt: str) -> tuple[str, ...]:
        a, operator, b = re.findall(r"(\d+) ?([-+*]) ?(\d+) ?=$", prompt)[0]
        return (operator, a, b) if operator == "-" else (operator, *sorted((a, b)))

    train = {key(task.train[i].prompt) for i in range(min(count, len(task.train)))}
    train |= {key(task.examples[i].prompt) for i in range(min(count, len(task.examples)))}
    return train, {key(item.prompt) for item in task.held_out}


@pytest.mark.parametrize("name", ["arithmetic", "addition-few-shot"])
@pytest.mark.parametrize("seed", [0, 7])
def test_no_problem_is_on_both_sides_whatever_the_seeds(name: str, seed: int):
    train, held_out = problems(load_task(name, seed=seed))
    _, other_held_out = problems(load_task(name, seed=seed + 1))
    assert len(train) > 500 and not train & held_out and not train & other_held_out


@pytest.mark.parametrize("name", ["arithmetic", "addition-few-shot"])
def test_items_depend_on_seed_and_index_alone(name: str):
    task, again, other = load_task(name, seed=3), load_task(name, seed=3), load_task(name, seed=4)
    backwards = [again.train[i] for i in range(99, -1, -1)][::-1]
    assert [task.train[i] for i in range(100)] == backwards
    assert list(task.held_out) == list(again.held_out)
    assert [other.train[i] for i in range(100)] != backwards
    assert load_task(name, seed=3, size=10).train[9] == task.train[9]
    assert len({task.train[i].id for i in range(2000)}) == 2000
    assert len({item.prompt for item in task.held_out}) == len(task.held_out)


@pytest.mark.parametrize("name", ["arithmetic", "addition-few-shot"])
def test_worked_examples_are_judged_right_and_wrong_ones_wrong(name: str):
    task = load_task(name)
    answers = {task.train[i].prompt: task.train[i] for i in range(500)}
    with Judge(task.rewards) as judge:
        items = list(answers.values())
        right = judge(items, [f" {item.columns['answer']}\n" for item in items])
        wrong = judge(items, [f" {item.columns['answer'] + 1}\n" for item in items])
    assert all(j.accuracy == 1.0 for j in right) and all(j.accuracy == 0.0 for j in wrong)
    for i in range(300):
        example = task.examples[i]
        a, operator, b = re.findall(r"(\d+) ?([-+*]) ?(\d+) ?=$", example.prompt)[0]
        value = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[operator]
        found = task.rewards[0].reward.find(example.completion)
        assert found == value and example.completion.endswith("\n") and task.stop == ("\n",)


@pytest.mark.parametrize(
    ("drawn", "worked"),
    [
        (("*", 47, 8), "320+56=376"),
        (("*", 8, 47), "320+56=376"),
        (("*", 40, 8), "320+0=320"),
        (("*", 12, 34), "300+60+40+8=408"),
        (("+", 47, 38), "70+15=85"),
        (("+", 7, 15), "10+12=22"),
        (("-", 23, 48), "-20-5=-25"),
        (("-", 642, 278), "400-30-6=364"),
        (("-", 3, 9), "-6"),
        (("+", 3, 4), "7"),
    ],
)
def test_workings(drawn: tuple[str, int, int], worked: str):
    assert problem(*drawn, 1).worked == f"{worked}\n"


@given(st.sampled_from("+-*"), st.integers(0, 999), st.integers(0, 999))
def test_the_parts_of_a_working_add_up_to_the_answer(operator: str, a: int, b: int):
    made = problem(operator, a, b, 1)
    parts, equals, answer = made.worked.rpartition("=")
    assert int(answer) == made.columns["answer"] == {"+": a + b, "-": a - b, "*": a * b}[operator]
    if equals:
        assert sum(map(int, re.findall(r"[+-]?[0-9]+", parts))) == made.columns["answer"]


def test_held_out_items_are_the_usual_number_or_all_there_are():
    assert len(load_task("arithmetic").held_out) == 200 and len(load_task("copying").held_out) == 100
    few = load_task("arithmetic", levels=(1,)).held_out
    assert 40 < len(few) < 80 and len({item.prompt for item in few}) == len(few)
    assert len(load_task("arithmetic", levels=(1,), held_out=16).held_out) == 16


def test_levels_are_in_their_ranges_and_in_turn():
    for number, (operators, in_a, in_b) in LEVELS.items():
        task = arithmetic(levels=[number], held_out=20)
        for i in range(200):
            a, operator, b = re.findall(r"(\d+)([-+*])(\d+)=", task.train[i].prompt)[0]
            assert in_a[0] <= int(a) <= in_a[1] and in_b[0] <= int(b) <= in_b[1] and operator in operators
            assert task.train[i].columns["level"] == number
    mixed = arithmetic(levels=(2, 5), held_out=20)
    assert [mixed.train[i].columns["level"] for i in range(4)] == [2, 5, 2, 5]


def test_the_few_shot_header_is_the_same_for_all():
    task = load_task("addition-few-shot", digits=3, shots=2)
    headers = {item.prompt.rpartition("\n")[0] for item in [*task.held_out, *task.train[:50]]}
    assert len(headers) == 1 and headers.pop().count("\n") == 1
    assert re.search(r"\n\d{3} \+ \d{3} =$", task.train[0].prompt)
    assert "\n" not in load_task("addition-few-shot", shots=0).train[0].prompt


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("arithmetic", {"levels": [1, 9]}, r"levels: got \[1, 9\], expected some of \[1, 2, 3, 4, 5, 6\]"),
        ("arithmetic", {"levels": []}, "levels: got"),
        ("arithmetic", {"size": 0}, "size: got 0"),
        ("arithmetic", {"levels": [1], "held_out": 400}, "held_out: got 400, but there are about"),
        ("arithmetic", {"level": 1}, "no option 'level'; did you mean 'levels'"),
        ("addition-few-shot", {"digits": 0}, "digits: got 0, expected at least 1 and at most 9"),
        ("addition-few-shot", {"digit": 2}, "did you mean 'digits'"),
    ],
)
def test_wrong_options(name: str, options: dict[str, object], message: str):
    with pytest.raises(SettingsError, match=message):
        load_task(name, **options)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"levels": 3}, "levels: got 3, expected a list of whole numbers"),
        ({"size": "abc"}, "size: got 'abc', expected a whole number"),
        ({"held_out": True}, "held_out: got True, expected a whole number"),
    ],
)
def test_an_option_of_the_wrong_type_is_a_problem_in_words(options, problem):
    with pytest.raises(SettingsError) as caught:
        load_task("arithmetic", **options)
    assert caught.value.problems == [problem]


@pytest.mark.parametrize(("symbols", "length"), [(8, 3), (256, 4)])
def test_copying_asks_for_the_string_itself_in_its_own_characters(symbols: int, length: int):
    task = load_task("copying", symbols=symbols, length=length, held_out=50)
    assert isinstance(task, TextTask) and task.characters is not None
    assert len(task.characters) == len(set(task.characters)) == symbols + 1
    train = {task.train[i].prompt for i in range(3000)} | {task.examples[i].prompt for i in range(3000)}
    assert not train & {item.prompt for item in task.held_out}, "the split is of strings"
    for item in task.held_out:
        answer = item.columns["answer"]
        assert item.prompt == f"{answer}=" and len(answer) == length and set(item.prompt) <= set(task.characters)
    assert all(one.completion == one.prompt[:-1] for one in (task.examples[i] for i in range(20)))
    used = set("".join(task.train[i].prompt for i in range(3000)))
    assert used == set(task.characters), "every symbol is asked for"


def test_copyings_split_does_not_depend_on_the_seed():
    sides = [load_task("copying", seed=seed, symbols=8, length=3, held_out=50) for seed in (0, 1)]
    assert not {sides[0].train[i].prompt for i in range(2000)} & {item.prompt for item in sides[1].held_out}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"symbols": 257}, "symbols: got 257, expected at least 2 and at most 256"),
        ({"length": 0}, "length: got 0"),
        ({"symbols": 4, "length": 2, "held_out": 1}, "all of them on one side"),
        ({"symbols": 8, "length": 3, "held_out": 200}, "different held-out problems"),
    ],
)
def test_copying_says_what_it_cannot_be(options: dict[str, int], words: str):
    with pytest.raises(SettingsError, match=words):
        load_task("copying", **options)
