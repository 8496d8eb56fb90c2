"""A run's parts in this process, for what a run's files do not hold: gradients, operations, bytes.

parts = parts_of("ppo", "CartPole-v1", seed=1, sets=("method.horizon=2048",))
batch = collected(parts)
operations(lambda: parts.learner.update(batch, 1))
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode

from rung import compiled
from rung.library import trainer
from rung.models import small
from rung.runs.loop import Clock
from rung.runs.planning import planned
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.rollout_trainer import RolloutTrainer


def parts_of(
    method: str, task: str, *, seed: int, model: str | None = None, sets: Iterable[str] = ()
) -> RolloutTrainer:
    """What `rung train METHOD --task TASK --seed SEED` would begin with, its recipe included, on one thread."""
    flags = {"method": method, "task": task, "model": model, "seed": str(seed)}
    return trainer(planned(flags, None, None, ("learner.threads=1", *sets), None, None).settings)


def collected(parts: RolloutTrainer, step: int = 1) -> Any:
    """One rollout's batch of the policy as it is."""
    return parts.collector.collect(step, Clock().phase).batch


def operations(act: Callable[[], object], *, or_none: bool = False) -> float:
    """Floating-point operations of every matrix product that `act` makes, backward passes included: torch's as torch
    counts them, numpy's where the small layers make them. A busy machine changes nothing. ValueError where nothing was
    counted, unless `or_none`: the work then is done where nobody looks."""
    counted: list[int] = []
    passes = compiled.uncompiled("rung.models.small.passes")
    plain = passes.product

    def product(one: Any, other: Any, out: Any = None) -> Any:
        counted.append(2 * one.size * other.shape[-1])
        return plain(one, other, out)

    passes.product = product
    with (
        patch.dict(sys.modules, {passes.__name__: passes}),
        patch.object(small, "passes", passes, create=True),
        FlopCounterMode(display=False) as counter,
    ):
        act()
    total = float(counter.get_total_flops() + sum(counted))
    if not (total or or_none):
        raise ValueError("got 0 operations, expected some: the products are made where they are not counted")
    return total


def kept_bytes(parts: RolloutTrainer) -> dict[str, int]:
    """What must stay in memory from step to step, by what it is for; after at least one update."""
    learner = parts.learner
    assert isinstance(learner, Learner) and learner.optimizer is not None
    trained = list(parts.policy.trainable().items())
    frozen = learner.reference is not None
    return {
        "policy": sum(_size(p) for name, p in trained if not name.startswith("critic.")),
        "critic": sum(_size(p) for name, p in trained if name.startswith("critic.")),
        "gradients": sum(_size(p.grad) for _, p in trained if p.grad is not None),
        "optimiser": sum(
            _size(v) for state in learner.optimizer.state.values() for v in state.values() if torch.is_tensor(v)
        ),
        "reference": sum(_size(p) for name, p in trained if not name.startswith("critic.")) if frozen else 0,
    }


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
