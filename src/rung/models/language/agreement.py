"""Agreement of the sampler with the learner: the logits that a text is continued by are those it is learnt from.

It is measured on a few short texts at the start, whatever the architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rung.models.language.engine import Engine
from rung.models.language.packing import Ids, Rows
from rung.random import generator

PROMPT_LENGTHS, FED = (1, 4, 9, 70), 4
"""Beyond a window or a chunk of 64 tokens, and too short for a convolution."""
ROUNDING = 1e-3
"""The largest difference of log-probs that is rounding, as a share of their standard deviation."""


class Decoding(Protocol):
    """Rows being continued: see `decoding.Decoding`."""

    logits_RV: Tensor

    def feed(self, tokens_R: Tensor) -> None: ...
    def keep(self, index_R: Tensor) -> None: ...


Decodes = Callable[[Sequence[Ids]], Decoding]
"""Begins to continue prompts."""


@torch.no_grad()
def disagreement(engine: Engine, decodes: Decodes) -> str | None:
    """How far the log-probs of a decoding are from those that the engine reads in the whole text, in words; None where
    it is rounding. In float32, whatever type the run's matrix products have."""
    weight = engine.model.get_input_embeddings().weight
    drawn = generator((0,))
    longest = max(engine.context_length - FED - 1, 1)
    prompts = [drawn.integers(0, len(weight), min(length, longest)) for length in PROMPT_LENGTHS]
    prompts.append(prompts[-1])  # two samples of one prompt
    count = len(prompts)
    rows = Rows(
        contexts=tuple(prompts),
        actions=tuple(drawn.integers(0, len(weight), FED + 1) for _ in prompts),
        wanted=(np.ones(FED + 1, np.bool_),) * count,
    )
    with torch.autocast(weight.device.type, enabled=False):
        learner_RTV = _log_probs(engine.logits(rows)).unflatten(0, (count, FED + 1))
        alone = replace(rows, contexts=rows.contexts[2:3], actions=rows.actions[2:3], wanted=rows.wanted[2:3])
        padded = _gap(engine.logits(alone), learner_RTV[2])  # what stands beside or after a text changes nothing
        decoding = decodes(rows.contexts)
        gaps = [padded, _gap(decoding.logits_RV, learner_RTV[:, 0])]
        for place in range(FED):
            if place == FED // 2:  # a row has ended
                left_R = torch.arange(1, count, device=weight.device)
                decoding.keep(left_R)
                learner_RTV, rows = learner_RTV[left_R], replace(rows, actions=rows.actions[1:])
            tokens_R = torch.tensor([int(ids[place]) for ids in rows.actions], device=weight.device)
            decoding.feed(tokens_R)
            gaps.append(_gap(decoding.logits_RV, learner_RTV[:, place + 1]))
    gap = max(gaps)
    return None if gap <= ROUNDING * learner_RTV.std().item() else f"by up to {gap:.2g} nats"


def _gap(logits_RV: Tensor, learner_RV: Tensor) -> float:
    return (_log_probs(logits_RV) - learner_RV).abs().max().item()


def _log_probs(logits: Tensor) -> Tensor:
    """In float32; 0 for what is no number, which is no matter of agreement, and for tokens that are never drawn."""
    return logits.float().log_softmax(-1).nan_to_num(0.0, 0.0, 0.0)
