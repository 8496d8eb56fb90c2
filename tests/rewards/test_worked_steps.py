"""Steps of a written calculation: which are right, where they end, and on which token their reward lands."""

from __future__ import annotations

import numpy as np
import pytest

from rung.batch import OK, Episode, Judgement
from rung.rewards.judge import Judge
from rung.rewards.reward import JudgesSteps, WeightedReward
from rung.rewards.rules import NumberEquals, WorkedSteps
from rung.tasks.library.arithmetic import arithmetic
from rung.tasks.task import Item
from rung.trainers.assemble import assemble, step_rewards

RIGHT = [70, 15, 85]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("70+15=85\n", [(2, 1), (5, 1), (8, 1)]),
        ("70+16=85\n", [(2, 1), (5, 0), (8, 1)]),
        ("70+15=86\n", [(2, 1), (5, 1), (8, 0)]),
        ("85\n", [(2, 1)]),
        ("84", [(2, 0)]),
        ("70+15", [(2, 1), (5, 1)]),
        ("15+70=85", [(2, 0), (5, 0), (8, 1)]),
        ("70+15+0=85", [(2, 1), (5, 1), (7, 0), (10, 1)]),
        ("", []),
        ("\n70+15=85", []),
        ("abc", []),
        ("=" * 50 + "+" * 50, []),
    ],
)
def test_steps(text: str, steps: list[tuple[int, float]]) -> None:
    reward = WorkedSteps()
    assert reward.steps(["47+38="], [text], {"steps": [RIGHT]}) == [steps]
    assert reward(["47+38="], [text], {"steps": [RIGHT]}) == [sum(score for _, score in steps)]


def test_hostile_text_is_bounded() -> None:
    (steps,) = WorkedSteps().steps([""], ["9" * 100_000 + "+1" * 100_000], {"steps": [RIGHT]})
    assert len(steps) <= 1000 and not any(score for _, score in steps)


def test_every_worked_example_of_the_task_has_right_steps_only() -> None:
    task = arithmetic(levels=(1, 2, 3, 4, 5, 6), size=60, steps=True)
    steps = next(part.reward for part in task.rewards if isinstance(part.reward, JudgesSteps))
    seen = 0
    for item, example in zip(task.train, task.examples, strict=True):
        problem_columns = {"steps": [item.columns["steps"]]}
        worked = steps.steps([item.prompt], [f"{item.columns['answer']}\n"], problem_columns)[0]
        assert [score for _, score in worked] == [1.0]
        seen += "=" in example.completion
    assert seen > 10


def test_without_the_option_the_task_judges_as_before() -> None:
    assert [part.reward.name for part in arithmetic().rewards] == ["correct"]
    assert [(part.reward.name, part.weight) for part in arithmetic(steps=True).rewards] == [
        ("correct", 0),
        ("steps", 1),
    ]


def test_the_judge_hands_the_steps_on_with_their_weight() -> None:
    item = Item(id="1", prompt="47+38=", columns={"answer": 85, "steps": RIGHT})
    parts = [WeightedReward(reward=NumberEquals(), weight=0.0), WeightedReward(reward=WorkedSteps(), weight=0.5)]
    with Judge(parts) as judge:
        (judgement,) = judge([item], ["70+16=85\n"])
    assert judgement.steps == ((2, 0.5), (5, 0.0), (8, 0.5))
    assert judgement.total == 1.0 and judgement.accuracy == 1.0


def episode(text: str, group: int = 0, total: float | None = 0.0, **more) -> Episode:
    """One character a token."""
    status = OK if total is not None else "steps: timeout"
    return Episode(
        item="1",
        group=group,
        sample=0,
        context=np.array([1]),
        actions=np.array([ord(c) for c in text]),
        action_mask=np.ones(len(text), dtype=bool),
        log_probs=np.zeros(len(text), dtype=np.float32),
        terminated=True,
        truncated=False,
        text=text,
        judgement=Judgement(total=total, parts={}, accuracy=0.0, status=status),
        **more,
    )


def decode(ids) -> str:
    return "".join(map(chr, ids))


def test_a_step_lands_on_the_token_that_completes_its_text() -> None:
    judged = ((2, 1.0), (5, 0.0), (8, 1.0))
    assert step_rewards(episode("70+16=85\n"), judged, decode) == ((1, 1.0), (4, 0.0), (7, 1.0))
    of_two = step_rewards(episode("abcd"), ((3, 1.0),), lambda ids: decode(ids) * 2)  # two characters a token
    assert of_two == ((1, 1.0),)


def test_assembled_rewards_stand_where_steps_end_and_sum_to_the_total() -> None:
    batch = assemble(
        [
            episode("70+16=85\n", total=2.5, step_rewards=((1, 1.0), (4, 0.0), (7, 1.0))),
            episode("ab", total=0.25),
            episode("abc", total=None, step_rewards=((1, 1.0),)),
        ]
    )
    assert batch.rewards_BT.tolist()[0] == [0, 1, 0, 0, 0, 0, 0, 1, 0.5]
    assert batch.rewards_BT.tolist()[1][:2] == [0, 0.25]
    assert batch.returns_B().tolist() == [2.5, 0.25, 0]
    assert batch.step_ends_BT is not None
    assert batch.step_ends_BT.nonzero().tolist() == [[0, 1], [0, 4], [0, 7], [1, 1], [2, 1]]
    assert not batch.rewards_BT[2].any(), "what could not be judged has no reward"
    assert assemble([episode("ab", total=0.25)]).step_ends_BT is None
