"""Policy: what a policy gradient needs of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from rung.batch import Batch
from rung.models.language.distributions import Distribution
from rung.models.outputs import Outputs


class Policy(Protocol):
    """One differentiable pass over a batch, and the trainable parameters.

    `with_values` is asked only of a policy with a critic; the critic's parameters are called `critic.NAME`.
    `distribution` is asked only by a natural-gradient step.
    """

    def __call__(
        self, batch: Batch, *, temperature: float = 1.0, with_entropy: bool = False, **more: bool
    ) -> Outputs: ...
    def trainable(self) -> dict[str, torch.nn.Parameter]: ...
    def distribution(self, batch: Batch, *, temperature: float = 1.0, twice: bool = False) -> Distribution: ...
    def reference(self) -> Policy:
        """A frozen copy of the policy as it is. This and the next three are asked only where it is refreshed."""
        ...

    def weights(self) -> dict[str, Tensor]: ...
    def state(self) -> dict[str, Tensor]: ...
    def load_state(self, tensors: Mapping[str, Tensor]) -> None: ...


def is_critics(name: str) -> bool:
    """Whether a trainable parameter belongs to the critic."""
    return name.startswith("critic.")
