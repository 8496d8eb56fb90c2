"""Aggregations: called with the whole batch, each gives the [B,T] weights of its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas import advantages, aggregations, whitening
from rung.methods.parts.protocols import Formula, Total
from rung.methods.ranges import FROM_0, FROM_1, ZERO_OR_ONE


@dataclass(frozen=True)
class PerSequence:
    """Mean over a sequence's tokens, then over sequences: a long answer's tokens weigh less (GRPO)."""

    formula: ClassVar[str] = "1/N ∑_i 1/|o_i| ∑_t"

    def __call__(self, batch: Batch, total: Total) -> Tensor:
        return aggregations.sequence_mean(batch.action_mask_BT, total(batch.counted_B().sum()))


@dataclass(frozen=True)
class PerToken:
    """Mean over all tokens of the batch (DAPO)."""

    formula: ClassVar[str] = "1/∑_i|o_i| ∑_i ∑_t"
    mean_over_steps: ClassVar[bool] = True

    def __call__(self, batch: Batch, total: Total) -> Tensor:
        return aggregations.token_mean(batch.action_mask_BT, total(batch.action_mask_BT.sum()))


@dataclass(frozen=True)
class PerEpisode:
    """Sum over an episode's steps, mean over episodes: the gradient of the expected return itself (REINFORCE)."""

    formula: ClassVar[str] = "1/N ∑_i ∑_t"

    def __call__(self, batch: Batch, total: Total) -> Tensor:
        return aggregations.sequence_sum(batch.action_mask_BT, total(batch.counted_B().sum()))


@dataclass(frozen=True)
class PerConstantLength:
    """Sum over a sequence's tokens over a fixed length: no length is favoured (Dr. GRPO)."""

    length: Annotated[int, FROM_1] = 1024
    formula = Formula("1/(N·{length}) ∑_i ∑_t")

    def __call__(self, batch: Batch, total: Total) -> Tensor:
        return aggregations.constant_length(batch.action_mask_BT, total(batch.counted_B().sum()), self.length)


@dataclass(frozen=True)
class PerPrompt:
    """Mean over a prompt's tokens, then over prompts. A group's rows must stay in one process."""

    formula: ClassVar[str] = "1/N_prompts ∑_prompts 1/∑_{i in prompt}|o_i| ∑_i ∑_t"

    def __call__(self, batch: Batch, total: Total) -> Tensor:
        counted_B = batch.counted_B()
        tokens_B = batch.action_mask_BT.sum(1)
        group_tokens_B = advantages.group_sum(tokens_B, batch.group_ids_B, counted_B)
        groups = advantages.group_count(batch.group_ids_B, counted_B)
        return aggregations.group_token_mean(batch.action_mask_BT, group_tokens_B, total(torch.tensor(groups)))


@dataclass(frozen=True)
class Whiten:
    """A ← (A - mean) / (std + ε) over every real token: the step's size no longer depends on the reward's."""

    per_minibatch: bool = False
    """Over each minibatch instead of the whole rollout."""
    shift: bool = True
    """False: only scaled, the mean is kept."""
    epsilon: Annotated[float, FROM_0] = 1e-8
    ddof: Annotated[int, ZERO_OR_ONE] = 0
    """0: population deviation; 1: sample deviation."""

    @property
    def numbers(self) -> tuple[bool, float, int]:
        return self.shift, self.epsilon, self.ddof

    @property
    def formula(self) -> str:
        over = "minibatch" if self.per_minibatch else "batch"
        return f"A ← (A - mean)/(std + {self.epsilon:g}){'' if self.shift else ' + mean'} over the {over}'s tokens"

    def __call__(self, values_BT: Tensor, mask_BT: Tensor, total: Total) -> Tensor:
        return whitening.whitened(values_BT, mask_BT, total, shift=self.shift, epsilon=self.epsilon, ddof=self.ddof)
