"""Batch assembly: from judged episodes to padded arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.batch import OK, Batch, Episode
from rung.formulas.masked import last_step


def _padded(rows: Sequence[np.ndarray], dtype: torch.dtype) -> Tensor:
    longest = max((len(row) for row in rows), default=0)
    padded = torch.zeros(len(rows), longest, dtype=dtype)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = torch.from_numpy(np.ascontiguousarray(row)).to(dtype)
    return padded


def assemble(episodes: Sequence[Episode]) -> Batch:
    """One row an episode; the judged total stands on the row's last own action.

    Where steps were judged, each one's reward stands on the action that ends it, and the rest on the last; an answer
    without a step ends its only one there.

    An episode whose judgement failed or did not apply has its mask emptied: it is in no baseline, no gradient and
    no denominator. Rewards are float64, so that their sums do not depend on how far rows are padded. Rows of one group
    share one context tensor, so that a model may compute a prompt once.
    """
    action_mask_BT = _padded([episode.action_mask for episode in episodes], torch.bool)
    excluded_B = torch.tensor([_total(episode) is None for episode in episodes], dtype=torch.bool)
    action_mask_BT &= ~excluded_B[:, None]
    end_BT = last_step(action_mask_BT)
    totals_B = torch.tensor([_total(episode) or 0.0 for episode in episodes], dtype=torch.float64)
    terminated_B = torch.tensor([episode.terminated for episode in episodes], dtype=torch.bool)
    steps_BT, step_ends_BT = _steps(episodes, end_BT)
    turns_BT, states_BT = _turns(episodes, end_BT)
    rest_B = totals_B - steps_BT.sum(1)
    rewards_BT = torch.where(end_BT, steps_BT + rest_B[:, None], steps_BT) * action_mask_BT
    return Batch(
        contexts=_shared_contexts(episodes),
        actions_BT=_padded([episode.actions for episode in episodes], torch.int64),
        action_mask_BT=action_mask_BT,
        sampler_log_probs_BT=_padded([episode.log_probs for episode in episodes], torch.float32),
        rewards_BT=rewards_BT,
        step_ends_BT=step_ends_BT,
        turns_BT=turns_BT,
        states_BT=states_BT,
        discounts_BT=1.0 - (end_BT & terminated_B[:, None]).double(),
        cut_BT=end_BT & ~terminated_B[:, None],
        bootstrap_BT=torch.zeros_like(rewards_BT),
        group_ids_B=torch.tensor([episode.group for episode in episodes], dtype=torch.int64),
        scores_B=torch.tensor([_accuracy(episode) for episode in episodes], dtype=torch.float32),
        truncated_B=torch.tensor([episode.truncated for episode in episodes], dtype=torch.bool),
        **_reward_parts(episodes),
    )


def _reward_parts(episodes: Sequence[Episode]) -> dict[str, Any]:
    """The rewards one by one, [B] each, and their weights."""
    judged = [episode.judgement for episode in episodes]
    weights = next((one.weights for one in judged if one is not None and one.weights), {})
    given = {name: [None if one is None else one.parts.get(name) for one in judged] for name in weights}
    parts = {
        name: torch.tensor([torch.nan if value is None else value for value in values], dtype=torch.float64)
        for name, values in given.items()
    }
    return {"reward_parts": parts, "reward_weights": weights}


def step_rewards(
    episode: Episode, steps: Sequence[tuple[int, float]], decode: Callable[[npt.NDArray[Any]], str]
) -> tuple[tuple[int, float], ...]:
    """Each step's reward with the index of the action by which its text is complete, found by halving.

    Of an episode over turns the text is the last turn's.
    """
    found: list[tuple[int, float]] = []
    before = episode.played.turns[:-1] if episode.played is not None else ()
    first = int(np.flatnonzero(episode.action_mask)[sum(turn.own for turn in before)])
    for end, reward in steps:
        low, high = first, len(episode.actions) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if len(decode(episode.actions[first : middle + 1])) >= end else (middle + 1, high)
        found.append((low, reward))
    return tuple(found)


def _steps(episodes: Sequence[Episode], end_BT: Tensor) -> tuple[Tensor, Tensor | None]:
    """[B,T] rewards of the judged steps, and where steps end; None where no episode has one."""
    rewards_BT, ends_BT = torch.zeros(end_BT.shape, dtype=torch.float64), torch.zeros_like(end_BT)
    if not any(episode.step_rewards for episode in episodes):
        return rewards_BT, None
    for row, episode in enumerate(episodes):
        for index, reward in episode.step_rewards:
            rewards_BT[row, index] += reward
            ends_BT[row, index] = True
    without_B = ~ends_BT.any(1)
    return rewards_BT, ends_BT | (end_BT & without_B[:, None])


def _turns(episodes: Sequence[Episode], end_BT: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """[B,T] which turn an own action is of, and a number for the state that turn began in; None without turns."""
    if not any(episode.played for episode in episodes):
        return None, None
    turns_BT, states_BT = torch.zeros(end_BT.shape, dtype=torch.int64), torch.ones(end_BT.shape, dtype=torch.int64)
    known: dict[tuple[int, str], int] = {}
    for row, episode in enumerate(episodes):
        for number, turn in enumerate(episode.played.turns if episode.played is not None else ()):
            own = slice(turn.end + 1 - turn.own, turn.end + 1)
            turns_BT[row, own] = number
            states_BT[row, own] = known.setdefault((episode.group, turn.state), len(known) + 1)
    return turns_BT, states_BT


def _total(episode: Episode) -> float | None:
    judgement = episode.judgement
    return judgement.total if judgement is not None and judgement.status == OK else None


def _accuracy(episode: Episode) -> float:
    judgement = episode.judgement
    return judgement.accuracy if judgement is not None and judgement.accuracy is not None else 0.0


def _shared_contexts(episodes: Sequence[Episode]) -> tuple[Tensor, ...]:
    by_group: dict[int, Tensor] = {}
    return tuple(
        by_group.setdefault(episode.group, torch.from_numpy(np.ascontiguousarray(episode.context)))
        for episode in episodes
    )
