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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rung.models.language.packing import Rows
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

Score = Callable[[Sequence[list[int]]], npt.NDArray[Any]]
"""Of rows of tokens what the engine answers to `score`."""


@dataclass(frozen=True)
class Proof:
    """What a delivery showed. `wrong`: why the engine is not believed; empty when it is."""

    gap: float
    wrong: str = ""


class Canary:
    """The stored text, and what the learner said of it.

    Args:
        policy: the learner's, with the weights that it starts with.
        dtype: the engine's number format.
    """

    def __init__(self, policy: TextPolicy, dtype: torch.dtype) -> None:
        self.policy, self.dtype = policy, dtype
        self.rows = _text(policy)
        self.expected: npt.NDArray[np.float64] = self._learners()
        self._before = self.expected
        self._first: tuple[float, float] | None = None  # mean and root mean square of the first gap

    def learnt(self) -> None:
        """The learner's weights are to be delivered: what it says now is what the engine must say."""
        self._before, self.expected = self.expected, self._learners()

    def proved(self, score: Score) -> Proof:
        """Ask the engine."""
        found = score(self.rows).astype(np.float64)
        last, every = found[: len(self.rows)], found[len(self.rows) :]
        if len(every) != len(self.expected) or not np.isfinite(found).all():
            return Proof(float("nan"), f"it answered {len(found)} numbers, of which some are not finite or too many")
        ends = np.cumsum([len(row) - 1 for row in self.rows]) - 1
        gaps = every - self.expected
        gap = float(max(np.abs(gaps).mean(), np.abs(last - self.expected[ends]).mean()))
        if self._first is None:
            if gap <= FIRST_GAP[self.dtype]:
                self._first = gap, float(np.sqrt((gaps**2).mean()))
                return Proof(gap)
            return Proof(gap, f"its log-probs differ from the learner's by {gap:.3g} nats a token")
        bound = max(MORE_THAN_FIRST * self._first[0], NO_GAP[self.dtype])
        if gap > bound:
            return Proof(gap, f"its log-probs differ from the learner's by {gap:.3g} nats a token, at most {bound:.2g}")
        way = self.expected - self._before
        length = float(np.sqrt((way**2).sum()))
        if length > _SURE * max(self._first[1], 1e-6):
            share = float(((every - self._before) * way).sum()) / length**2
            if not 0.5 < share < 1.5:
                return Proof(gap, f"its log-probs went {share:.0%} of the way from the old weights' to the new ones'")
        return Proof(gap)

    def _learners(self) -> npt.NDArray[np.float64]:
        ids = [np.array(row) for row in self.rows]
        rows = Rows(
            contexts=tuple(row[:1] for row in ids),
            actions=tuple(row[1:] for row in ids),
            wanted=tuple(np.ones(len(row) - 1, np.bool_) for row in ids),
        )
        with torch.no_grad(), self.policy.computing():
            log_probs_N, _, _ = self.policy.engine.log_probs(rows, temperature=1.0, with_entropy=False)
        return log_probs_N.double().cpu().numpy()


def _text(policy: TextPolicy) -> list[list[int]]:
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
