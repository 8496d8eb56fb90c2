"""The proof that an engine draws from the weights that it was given.

A canary is text of the starting model, and ln p of its tokens as the learner computes them. After each delivery the
engine says what it finds: once as it draws, with what it keeps of prompts, and once reading anew. Nothing that the
engine says of itself is believed: a head that kept its old weights, a layer that was left out, a cache of the old
weights' keys show here, whatever version it names.

Two things must hold. The gap to the learner is what rounding explains: as small as at the first delivery, times three.
And where an update moved the learner's numbers by more than rounding, the engine's moved along: from the old ones more
than half of the way to the new ones. So an update too small for the first is seen by the second; what both let pass is
a difference that drowns in rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rung.random import Stream, raw_numbers
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy

ROWS, TOKENS = 8, 48
"""Rows longer than a piece of the engine's cache, so that the cache is part of what is looked at."""
_ANSWERS, _ANSWER = 8, 24
FIRST_GAP = {torch.float32: 1e-3, torch.bfloat16: 0.2}
"""Largest mean gap of a first delivery, in nats a token, by the engine's number format."""
NO_GAP = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""A gap that is always let pass."""
MORE_THAN_FIRST = 3.0
_SURE = 8.0
"""How many times its own uncertainty the share of the way must be, to be asked for."""


@dataclass(frozen=True)
class Proof:
    """What a delivery showed. `wrong`: why the engine is not believed; empty when it is. `first`: mean and root mean
    square of its first gap."""

    gap: float
    wrong: str = ""
    first: tuple[float, float] | None = None


class Canary:
    """The stored text, and what the learner said of it.

    Args:
        text: rows of tokens.
        dtype: the engines' number format.
    """

    def __init__(self, text: Sequence[list[int]], dtype: torch.dtype) -> None:
        self.text, self.dtype = text, dtype
        self._expected = self._before = np.zeros(0)

    def learnt(self, expected: Tensor) -> None:
        """The learner's weights are to be delivered: what it says now is what an engine must say."""
        now = expected.numpy()
        self._before, self._expected = self._expected if len(self._expected) else now, now

    def question(self) -> tuple[str, dict[str, Any], Sequence[Any]]:
        """What an engine is asked."""
        header = {"ask": "score", "rows": [len(row) for row in self.text]}
        return "log-probs of the canary", header, [np.concatenate(self.text).astype(np.int32)]

    def proved(self, answer: memoryview, first: tuple[float, float] | None) -> Proof:
        """What the engine answered. `first`: as its first proof said; None: this is the first."""
        found = np.frombuffer(answer, np.float32).astype(np.float64)
        last, every = found[: len(self.text)], found[len(self.text) :]
        if len(every) != len(self._expected) or not np.isfinite(found).all():
            wrong = f"it answered {len(found)} numbers, of which some are not finite or too many"
            return Proof(float("nan"), wrong, first)
        ends = np.cumsum([len(row) - 1 for row in self.text]) - 1
        gaps = every - self._expected
        gap = float(max(np.abs(gaps).mean(), np.abs(last - self._expected[ends]).mean()))
        differ = f"its log-probs differ from the learner's by {gap:.3g} nats a token"
        if first is None:
            if gap > FIRST_GAP[self.dtype]:
                return Proof(gap, differ)
            return Proof(gap, first=(gap, float(np.sqrt((gaps**2).mean()))))
        bound = max(MORE_THAN_FIRST * first[0], NO_GAP[self.dtype])
        if gap > bound:
            return Proof(gap, f"{differ}, at most {bound:.2g}", first)
        way = self._expected - self._before
        length = float(np.sqrt((way**2).sum()))
        if length > _SURE * max(first[1], 1e-6):
            share = float(((every - self._before) * way).sum()) / length**2
            if not 0.5 < share < 1.5:
                return Proof(
                    gap, f"its log-probs went {share:.0%} of the way from the old weights' to the new ones'", first
                )
        return Proof(gap, first=first)


def canary_text(policy: TextPolicy) -> list[list[int]]:
    """Rows of what the starting model says, one answer after another, each after a token drawn at random."""
    size = int(policy.model.get_output_embeddings().weight.shape[0])
    room = min(TOKENS, policy.context_length - 1)
    first = (raw_numbers("canary", n=_ANSWERS) % np.uint64(size)).astype(np.int64)
    prompts = [Prompt(f"canary {n}", n, token[None]) for n, token in enumerate(first)]
    answers = InProcessSampler(policy).sample(
        prompts,
        samples_per_prompt=1,
        max_new_tokens=min(_ANSWER, policy.context_length - 1),
        temperature=1.0,
        stream=Stream(0, 0, "canary"),
    )
    said = np.concatenate([np.concatenate([one.context, one.actions]) for one in answers])
    return np.resize(said, (ROWS, room)).tolist()
