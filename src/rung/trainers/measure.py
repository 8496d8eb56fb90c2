"""Metrics of one step, from its episodes and its batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from rung.batch import OK, Batch, Episode
from rung.formulas.advantages import group_differs
from rung.trainers.trainer import Metrics


def of_rewards(episodes: Sequence[Episode]) -> Metrics:
    """Mean total, and mean and spread of each part, over the episodes that were judged."""
    judged = [e.judgement for e in episodes if e.judgement is not None]
    found: Metrics = {
        "reward/mean": _mean([j.total for j in judged if j.total is not None]),
        "episodes/failed": float(sum(j.status != OK for j in judged)),
    }
    for name in judged[0].parts if judged else ():
        values = [value for j in judged if (value := j.parts[name]) is not None]
        found[f"reward/{name}"] = _mean(values)
        found[f"reward_std/{name}"] = float(np.std(values)) if values else None
    return found


def of_lengths(episodes: Sequence[Episode]) -> Metrics:
    """Lengths count the policy's own tokens; truncated is the share that was cut by a limit."""
    lengths = [int(e.action_mask.sum()) for e in episodes]
    return {
        "length/mean": _mean(lengths),
        "length/p90": float(np.percentile(lengths, 90)),
        "length/truncated": _mean([float(e.truncated) for e in episodes]),
        "episodes/generated": float(len(episodes)),
        "tokens/generated": float(sum(lengths)),
    }


def of_turns(episodes: Sequence[Episode]) -> Metrics:
    """Of episodes over turns: how many turns, how they ended, what was read, and calls of tools; else nothing."""
    played = [e.played for e in episodes if e.played is not None]
    if not played:
        return {}
    calls = Counter(status for one in played for turn in one.turns for status in turn.calls)
    made = calls.total()
    return {
        "turns/mean": _mean([len(one.turns) for one in played]),
        "turns/most_reached": _mean([float(one.ending == "turns") for one in played]),
        "turns/failed": float(sum(one.status != OK for one in played)),
        "tokens/observed": float(sum(int((~e.action_mask).sum()) for e in episodes)),
        "tools/calls": made / len(played),
        "tools/failed": 1 - calls[OK] / made if made else None,
        **{f"tools_failed/{status}": float(count) for status, count in sorted(calls.items()) if status != OK},
    }


def of_groups(batch: Batch) -> Metrics:
    """Shares of the groups whose returns are all equal, so that nothing is learnt, and of those all right or all wrong.

    None with one sample a prompt, where there are no groups to speak of.
    """
    counted_B = batch.counted_B()
    differs_B = group_differs(batch.returns_B(), batch.group_ids_B, counted_B)
    flat, right, wrong = 0, 0, 0
    groups, sizes = torch.unique(batch.group_ids_B[counted_B], return_counts=True)
    if not (sizes > 1).any():
        return dict.fromkeys(("groups/no_spread", "groups/all_right", "groups/all_wrong"))
    for group in groups:
        rows_B = (batch.group_ids_B == group) & counted_B
        flat += int(not differs_B[rows_B].any())
        right += int((batch.scores_B[rows_B] >= 1).all())
        wrong += int((batch.scores_B[rows_B] <= 0).all())
    count = max(len(groups), 1)
    return {"groups/no_spread": flat / count, "groups/all_right": right / count, "groups/all_wrong": wrong / count}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
