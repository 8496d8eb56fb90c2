"""The interface of a sampler: prompts in, episodes out, and new weights from time to time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rung.batch import Episode
from rung.random import Stream


@dataclass(frozen=True)
class Prompt:
    """A prompt to continue. `ids` [P] as `TextPolicy.encode` gives them; `group` is copied to its episodes."""

    item: str
    group: int
    ids: npt.NDArray[np.int64]


class Sampler(Protocol):
    """Draws answers of a policy. `sampler.InProcessSampler` is the one that reads the learner's own weights.

    A trainer is given its sampler and calls `deliver` after each change of the weights.
    """

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        samples_per_prompt: int,
        max_new_tokens: int,
        temperature: float,
        stream: Stream,
        stop: Sequence[str] = (),
        policy_version: int | None = None,
        epsilon: float | None = None,
    ) -> list[Episode]:
        """`samples_per_prompt` episodes a prompt, ordered by (prompt, sample).

        What is drawn for one sample depends on the weights, its prompt, its item and the stream, and on no other row.

        Args:
            max_new_tokens: an episode that has not ended after so many tokens is `truncated`.
            temperature: of the softmax; 0 is greedy, for evaluation. An episode's `log_probs` are those of the
                distribution it was drawn from.
            stop: texts that end an episode. The token that completes the first of them is its last action, and the
                episode is `terminated`, as it is by an end token.
            policy_version: noted in the episodes; None: the version delivered last.
            epsilon: ε-greedy tokens in place of the softmax.
        """
        ...

    def deliver(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Draw from these weights from now on. `weights` as `TextPolicy.weights` names them."""
        ...
