"""reasoning-gym data sets as tasks: disjoint sides, prompts that ask for the form that is scored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from processes import left_behind

from rung.errors import SettingsError
from rung.rewards.judge import Judge
from rung.tasks.load import load_task
from rung.tasks.reasoning_gym import _source
from rung.tasks.task import TextTask


@pytest.fixture(scope="module")
def task() -> Iterator[TextTask]:
    yield load_task("chain_sum", size=60, held_out=20, max_terms=2, max_digits=1, chat=False)
    assert not [command for command in left_behind() if "rung.worker" in command]


def test_the_sides_share_no_question(task: TextTask):
    assert task.name == "reasoning_gym/chain_sum" and len(task.held_out) == 20
    train, held = {item.prompt for item in task.train}, {item.prompt for item in task.held_out}
    assert len(held) == 20 and not train & held
    assert len(task.train) < 60, "questions of one digit repeat, and those held out were taken from the train side"
    assert len({item.id for item in task.train}) == len(task.train)


def test_seeds_of_the_sides_are_disjoint_ranges_below_32_bits():
    for seed in range(20):
        source = _source("chain_sum", seed, 1000, 200, {})
        train, held = (range(source.seeds[s], source.seeds[s] + source.sizes[s]) for s in ("train", "held-out"))
        assert train.stop <= 2**31 <= held.start and held.stop <= 2**32
    assert len({_source("chain_sum", seed, 1000, 200, {}).seeds["train"] for seed in range(20)}) == 20


def test_worked_examples_get_the_whole_score(task: TextTask):
    with Judge(task.rewards) as judge:
        count = 10
        judgements = judge(task.train[:count], [example.completion for example in task.examples[:count]])
        (held,) = judge(task.held_out[:1], [f" {task.held_out[0].columns['answer']}"])
        (wrong,) = judge(task.held_out[:1], [" 99999"])
    assert [j.accuracy for j in judgements] == [1.0] * count and held.accuracy == 1.0 and wrong.accuracy < 0.5
    assert task.stop == ("\n",) and task.train[0].prompt.startswith("Question: ")
    assert task.train[0].prompt.endswith("\nAnswer:")


def test_chat_prompts_ask_for_the_tags():
    task = load_task("reasoning_gym/chain_sum", size=3, held_out=2)
    (message,) = task.train[0].prompt
    assert message["role"] == "user" and "<answer>" in message["content"] and task.stop == ("</answer>",)
    assert task.examples[0].completion == f"<answer>{task.train[0].columns['answer']}</answer>"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"size": 5, "held_out": 200, "min_terms": 2, "max_terms": 2, "max_digits": 1},
            "different questions; ask for fewer",
        ),
        ({"size": 0}, "expected at least 1 each"),
        ({"max_term": 2, "zzz": 1}, r"no option 'max_term'; did you mean 'max_terms'.*\n.*no option 'zzz'"),
    ],
)
def test_wrong_options(options: dict[str, int], message: str):
    with pytest.raises(SettingsError, match=message):
        load_task("reasoning_gym/chain_sum", **options)
