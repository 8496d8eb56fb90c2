"""Floating-point operations of a run, estimated from counts of tokens and of weights; each kind has its own terms.

N weights that a token goes through cost 2N operations forward (Kaplan et al. 2020, arXiv:2001.08361), 2N more for the
gradient of its inputs and 2 for each weight that is trained. Left out everywhere: prompts, attention over the context,
evaluations, what is only measured (kl/start, held-out max Q), optimizers' steps, a teacher, the predictors of a
learned reward, and the environment. Rows without a gradient are counted as if they got their backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

CRITIC = "critic."
"""Begins the names of a critic's weights."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Operations a token, by what is done with it.

    Example: `Work(generated=78_336.0, trained=235_008.0)` for 39,168 weights and one update a rollout.
    """

    generated: float
    """`tokens/generated`; in an environment, actions."""
    trained: float
    """`tokens/trained`, each time it is counted there."""
    reference: float = 0.0
    """`tokens/reference`: answers of stored pairs, whose reference is asked once and then kept."""


class Weighed(Protocol):
    """A policy, as far as its weights can be counted."""

    def trainable(self) -> dict[str, torch.nn.Parameter]: ...


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Weights that a token goes through."""

    policy: int
    critic: int
    trained: int
    """Of both together, those that get a gradient: fewer than all with LoRA."""


def counted(policy: Weighed) -> Counted:
    """The weights of a policy as it is: all of its model, and of its critic."""
    sizes = {name: parameter.numel() for name, parameter in policy.trainable().items()}
    critic = sum(size for name, size in sizes.items() if name.startswith(CRITIC))
    trained = sum(sizes.values())
    reader = getattr(policy, "network", policy)  # a reward model reads with a language model
    model = getattr(reader, "model", None)  # a language model; with LoRA most of it is frozen
    whole = sum(p.numel() for p in model.parameters()) if isinstance(model, torch.nn.Module) else trained - critic
    return Counted(policy=whole, critic=critic, trained=trained)
