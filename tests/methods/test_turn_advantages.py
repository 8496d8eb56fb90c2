"""Credit by turn on batches by hand: turns of any length, rows of different turns, states that meet, rows left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rung.batch import Batch, Episode, Judgement, Played, Turn
from rung.methods.parts.advantages import GroupCentred, GroupNormalized
from rung.methods.parts.turn_advantages import StateGroups, TurnNormalized, TurnRewardToGo
from rung.trainers.assemble import assemble


def episode(rewards: list[float], states: str, lengths: list[int], **given: Any) -> Episode:
    """A hole of one token stands between turns."""
    own: list[bool] = []
    turns: list[Turn] = []
    for reward, state, length in zip(rewards, states, lengths, strict=True):
        own += ([False] if own else []) + [True] * length
        turns.append(Turn(end=len(own) - 1, own=length, said="", reward=reward, state=state))
    steps = tuple((turn.end, turn.reward) for turn in turns)
    fields: dict[str, Any] = {"item": "i", "group": 0, "sample": 0, "terminated": True, "truncated": False} | given
    return Episode(
        context=np.zeros(1, np.int64),
        actions=np.zeros(len(own), np.int64),
        action_mask=np.array(own),
        log_probs=np.zeros(len(own), np.float32),
        judgement=Judgement(total=sum(rewards), parts={}, accuracy=0.0),
        step_rewards=steps,
        played=Played(turns=tuple(turns)),
        **fields,
    )


def by_turn(batch: Batch, part: Any) -> list[list[float]]:
    """The advantage of each turn; all its tokens have the same, holes and rows left out have 0."""
    found_BT = part(batch)
    assert (found_BT[~batch.action_mask_BT] == 0).all() and batch.turns_BT is not None
    rows = []
    for row in range(len(batch)):
        own = batch.action_mask_BT[row]
        turns = batch.turns_BT[row][own].tolist()
        values = {
            k: {round(v, 5) for v, n in zip(found_BT[row][own].tolist(), turns, strict=True) if n == k} for k in turns
        }
        assert all(len(one) == 1 for one in values.values())
        rows.append([one.pop() for one in values.values()])
    return rows


ROWS = [
    episode([1.0, 0.0, 4.0], "abc", [1, 2, 3]),
    episode([0.0, 2.0], "ab", [2, 1]),
    episode([1.0, 0.0, 0.0], "aab", [1, 1, 1]),
]


def test_a_turn_has_its_own_and_later_rewards_discounted_by_turns() -> None:
    batch = assemble(ROWS)
    assert by_turn(batch, TurnRewardToGo(turn_discount=0.5)) == [[2.0, 2.0, 4.0], [1.0, 2.0], [1.0, 0.0, 0.0]]
    assert by_turn(batch, TurnRewardToGo()) == [[5.0, 4.0, 4.0], [2.0, 2.0], [1.0, 0.0, 0.0]]


def test_a_turn_is_compared_with_the_same_turn_and_the_outcome_with_outcomes() -> None:
    found = by_turn(assemble(ROWS), TurnNormalized(outcome_weight=0.5, epsilon=0.0))
    outcome = np.array([4.0, 2.0, 0.0])
    last = (outcome - 2) / outcome.std()
    first = np.array([1.0, 0.0, 1.0])
    first = (first - first.mean()) / first.std()
    wanted = [
        [first[0] + last[0] / 2, last[0] / 2, last[0]],
        [first[1], last[1]],
        [first[2] + last[2] / 2, last[2] / 2, last[2]],
    ]
    for one, other in zip(found, wanted, strict=True):  # both second turns before a last one earned 0
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_turns_of_one_state_are_compared_wherever_they_stand() -> None:
    """State a: to-go 5, 2, 1 and, in a second turn, 0. State b: 4, 2 and, in a third turn, 0. State c: alone."""
    found = by_turn(assemble(ROWS), StateGroups(turn_discount=1.0, scale=False))
    whole = np.array([5.0, 2.0, 1.0]) - 8 / 3
    wanted = [
        [whole[0] + 3.0, whole[0] + 2.0, whole[0]],
        [whole[1], whole[1]],
        [whole[2] - 1.0, whole[2] - 2.0, whole[2] - 2.0],
    ]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    batch = assemble(ROWS)
    assert torch.equal(StateGroups(state_weight=0.0)(batch), GroupNormalized()(batch))
    assert torch.equal(StateGroups(state_weight=0.0, scale=False)(batch), GroupCentred()(batch))


def test_states_of_other_prompts_and_rows_that_failed_are_in_no_mean() -> None:
    for part in (StateGroups(), TurnNormalized(), TurnRewardToGo(0.9)):
        alone = by_turn(assemble(ROWS), part)
        other = [replace(row, group=1, judgement=replace(row.judgement, total=2 * row.judgement.total)) for row in ROWS]  # type: ignore[union-attr]
        dead = replace(ROWS[0], judgement=Judgement(total=None, parts={}, accuracy=None, status="environment: died"))
        found = by_turn(assemble([*ROWS, dead, *other]), part)
        assert found[:3] == alone and found[3] == []


@pytest.mark.parametrize("part", [StateGroups(), TurnNormalized(), TurnRewardToGo()])
def test_an_episode_without_turns_is_one_turn(part: Any) -> None:
    plain = [replace(episode([r], "a", [2]), played=None, step_rewards=()) for r in (1.0, 0.0, 0.0)]
    batch = assemble(plain)
    assert batch.turns_BT is None
    whole = {StateGroups: 2.0, TurnNormalized: 1.0}
    wanted = GroupNormalized()(batch) * whole[type(part)] if type(part) in whole else batch.returns_B()[:, None]
    torch.testing.assert_close(part(batch), wanted.expand_as(batch.rewards_BT).to(batch.rewards_BT))
