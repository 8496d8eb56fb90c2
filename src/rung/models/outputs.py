"""Outputs: what a policy says of a batch in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Outputs(NamedTuple):
    """All [B, T], exactly 0 where the action mask is False; None where it was not asked for."""

    log_probs_BT: Tensor
    entropy_BT: Tensor | None
    values_BT: Tensor | None

    def detached(self) -> Outputs:
        """The same numbers without a graph."""
        return Outputs(*(None if one is None else one.detach() for one in self))

    @staticmethod
    def joined(passes: Sequence[Outputs]) -> Outputs:
        """The rows of all passes, which have the same fields."""
        return Outputs(*(None if each[0] is None else torch.cat(each) for each in zip(*passes, strict=True)))
