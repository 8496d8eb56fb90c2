"""The columns of the samples, and the row of an episode.

    step, group, sample, policy_version          where it comes from; rows of one group answer one prompt
    item, prompt, completion, status             text; half a surrogate pair is stored as its escape
    prompt_ids, token_ids, mask                  what the model saw and wrote; mask is false where it did not choose
    log_probs, advantages                        one a token; advantages are null for a completion not trained on
    reward, reward_parts, accuracy               null where a reward did not apply or failed (see status)
    terminated, truncated                        ended by itself; cut by a limit
    pieces                                       each token as text, special ones included
    learner_log_probs, entropy, clipped          what the learner saw of each token before and during its updates
    reference_log_probs                          null without a reference
    answer                                       the item's right answer, where it has one that is a text or a number
    turns                                        role and content of each message after the prompt; these columns are
                                                 only in the samples of a run over several turns
    turn_ends, turn_rewards, turn_calls          of each of the policy's own turns: index of its last token, reward, and
                                                 how its calls of tools ended

Token ids are null for an environment's episode, whose observations and actions are no text. What the learner saw is
null for a completion not trained on; `clipped` also where the objective has no bound. Entropy has 16 bits: it is looked
at, not computed with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rung.runs.record.visible import encodable

if TYPE_CHECKING:
    from torch import Tensor

    from rung.batch import Batch, Episode, Played

_IDS = pa.list_(pa.int32())
_REALS = pa.list_(pa.float32())
SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("group", pa.int64()),
        ("sample", pa.int32()),
        ("policy_version", pa.int32()),
        ("item", pa.string()),
        ("prompt", pa.string()),
        ("completion", pa.string()),
        ("status", pa.string()),
        ("prompt_ids", _IDS),
        ("token_ids", _IDS),
        ("mask", pa.list_(pa.bool_())),
        ("log_probs", _REALS),
        ("advantages", _REALS),
        ("reward", pa.float64()),
        ("reward_parts", pa.map_(pa.string(), pa.float64())),
        ("accuracy", pa.float64()),
        ("terminated", pa.bool_()),
        ("truncated", pa.bool_()),
        ("pieces", pa.list_(pa.string())),
        ("learner_log_probs", _REALS),
        ("entropy", pa.list_(pa.float16())),
        ("clipped", pa.list_(pa.bool_())),
        ("reference_log_probs", _REALS),
        ("answer", pa.string()),
        ("turns", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("turn_ends", _IDS),
        ("turn_rewards", pa.list_(pa.float64())),
        ("turn_calls", pa.list_(pa.list_(pa.string()))),
    ]
)
ONE_TURN = pa.schema([field for field in SCHEMA if not field.name.startswith("turn")])
"""Without the columns of turns, which the samples of other runs do not have."""
EARLIER = pa.schema(list(SCHEMA)[:18])
"""What the oldest runs have; each of the other columns may be missing."""


def samples_table(
    step: int,
    episodes: Sequence[Episode],
    *,
    prompts: Sequence[str | None] | None = None,
    advantages: Sequence[Any] | None = None,
    learnt: Batch | None = None,
) -> pa.Table:
    """One row an episode, in the order given.

    `prompts[i]` is episode i's prompt as text; `advantages[i]` has one number for each of its T actions, padding
    after them is ignored, None where the episode was not trained on. `learnt`, row by row the episodes, has what the
    learner saw of each token.
    """
    assert prompts is None or len(prompts) == len(episodes), (len(prompts), len(episodes))
    assert advantages is None or len(advantages) == len(episodes), (len(advantages), len(episodes))
    assert learnt is None or len(learnt) == len(episodes), (len(learnt), len(episodes))
    none = [None] * len(episodes)
    both = zip(episodes, none if prompts is None else prompts, none if advantages is None else advantages, strict=True)
    rows = [_row(step, *of) | _seen(of[0], learnt, row) for row, of in enumerate(both)]
    over_turns = any(episode.played is not None for episode in episodes)
    return pa.Table.from_pylist(rows, schema=SCHEMA if over_turns else ONE_TURN)


def _row(step: int, episode: Episode, prompt: str | None, advantages: Any) -> dict[str, Any]:
    judged = episode.judgement
    parts_sorted = sorted(judged.parts.items()) if judged else []
    return {
        "step": step,
        "group": episode.group,
        "sample": episode.sample,
        "policy_version": episode.policy_version,
        "item": encodable(episode.item),
        "prompt": None if prompt is None else encodable(prompt),
        "completion": encodable(episode.text),
        "status": encodable(judged.status) if judged else None,
        "prompt_ids": _ids(episode.context),
        "token_ids": _ids(episode.actions),
        "mask": episode.action_mask,
        "log_probs": np.asarray(episode.log_probs, dtype=np.float32),
        "advantages": None if advantages is None else _advantages(advantages, episode.action_mask),
        "reward": judged.total if judged else None,
        "reward_parts": [(encodable(name), value) for name, value in parts_sorted],
        "accuracy": judged.accuracy if judged else None,
        "terminated": bool(episode.terminated),
        "truncated": bool(episode.truncated),
        "answer": None if episode.answer is None else encodable(episode.answer),
        **(_turns(episode.played) if episode.played is not None else {}),
    }


def _turns(played: Played) -> dict[str, Any]:
    return {
        "turns": [{key: encodable(text) for key, text in said.items()} for said in played.messages()],
        "turn_ends": [turn.end for turn in played.turns],
        "turn_rewards": [turn.reward for turn in played.turns],
        "turn_calls": [[encodable(status) for status in turn.calls] for turn in played.turns],
    }


def _seen(episode: Episode, learnt: Batch | None, row: int) -> dict[str, Any]:
    """The columns of what the learner saw; null where it saw nothing of this episode."""
    mask, length = episode.action_mask, len(episode.actions)
    counted = learnt is not None and bool(learnt.action_mask_BT[row].any())

    def numbers(name: str, kind: Any) -> Any:
        values_BT: Tensor | None = getattr(learnt, name) if counted else None
        if values_BT is None:
            return None
        return np.where(mask, values_BT[row, :length].detach().cpu().numpy(), 0).astype(kind)

    return {
        "pieces": [encodable(piece) for piece in episode.pieces] or None,
        "learner_log_probs": numbers("old_log_probs_BT", np.float32),
        "entropy": numbers("entropy_BT", np.float16),
        "clipped": numbers("clipped_BT", np.bool_),
        "reference_log_probs": numbers("reference_log_probs_BT", np.float32),
    }


def _ids(values: np.ndarray) -> np.ndarray | None:
    """The token ids; None for an environment's observations and actions."""
    return values if values.ndim == 1 and np.issubdtype(values.dtype, np.integer) else None


def _advantages(advantages: Any, mask: np.ndarray) -> np.ndarray:
    """[T] float32, 0 where the policy did not choose: a masked slot may hold anything."""
    values = np.asarray(advantages, dtype=np.float32)
    assert values.ndim == 1 and len(values) >= len(mask), (values.shape, len(mask))
    return np.where(mask, values[: len(mask)], np.float32(0))
