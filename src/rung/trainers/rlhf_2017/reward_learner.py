"""The reward learner: labelled pairs of segments, and the ensemble that is fitted to them.

Legend: **P** predictors, **N** pairs, **M** pairs of a minibatch, **K** steps of a segment, **D** numbers of a step.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from rung.errors import NonFiniteError
from rung.faults import fault_point
from rung.formulas.segment_preferences import adapted_l2, cross_entropy
from rung.methods.parts.learned_reward import SegmentPreferences
from rung.models.small.reward_ensemble import RewardEnsemble
from rung.models.state import require_finite
from rung.random import Stream
from rung.trainers.optimizer import optimizer_state, restore_optimizer
from rung.trainers.trainer import Metrics

FIRST_L2 = 1e-4
_AT_ONCE = 256
"""Pairs whose returns are computed at a time when losses are measured."""


def poisson_count(uniform: float) -> int:
    """How often a label stands among draws with replacement: Poisson(1), from a number in [0, 1).

    >>> [poisson_count(u) for u in (0.0, 0.3678, 0.3679, 0.7357, 0.7358)]
    [0, 0, 1, 1, 2]
    """
    ends = itertools.accumulate(math.exp(-1) / math.factorial(count) for count in itertools.count())
    return next(count for count, end in enumerate(ends) if uniform < end or count == 12)


class RewardLearner:
    """Fits the ensemble by cross entropy. Its random numbers are keyed by seed, step and predictor.

    Label number n stands so often in predictor p's training data as Poisson(1), keyed by (seed, n, p), says: as in
    drawing |D| of |D| labels with replacement. Those with 0, 1/e of all, stay the predictor's validation data.

    Example:
        learner.add(first_KD, second_KD, preferred=1.0)
        learner.fit(step=3, updates=30)["preferences/accuracy"]
    """

    def __init__(self, part: SegmentPreferences, *, inputs: int, seed: int) -> None:
        self.part, self.seed = part, seed
        weights_seed = int(Stream(seed, 0, "reward ensemble").uniforms("weights", 0, 1)[0] * 2**62)
        self.ensemble = RewardEnsemble(inputs=inputs, members=part.members, seed=weights_seed)
        self.optimizer = torch.optim.Adam(self.ensemble.parameters().values(), lr=part.predictor_rate)
        self.l2_P = torch.full((part.members,), FIRST_L2, dtype=torch.float64)
        self.pairs_N2KD = torch.zeros(0, 2, part.segment, inputs)
        self.preferred_N = torch.zeros(0)
        self._counts_NP = np.zeros((0, part.members), np.int64)

    def __len__(self) -> int:
        return len(self.preferred_N)

    def add(self, pairs: Sequence[tuple[Tensor, Tensor, float]]) -> None:
        """Labels: first segment [K, D], second one, and the weight μ on the first (1, 0, or 0.5 for a tie)."""
        if not pairs:
            return
        both = [torch.stack([first_KD, second_KD]) for first_KD, second_KD, _ in pairs]
        self.pairs_N2KD = torch.cat([self.pairs_N2KD, torch.stack(both)])
        self.preferred_N = torch.cat([self.preferred_N, torch.tensor([preferred for *_, preferred in pairs])])
        self._count()

    def _count(self) -> None:
        new = range(len(self._counts_NP), len(self))
        stream = Stream(self.seed, 0, "reward ensemble/draws")
        drawn = [[poisson_count(u) for u in stream.uniforms("label", n, self.part.members)] for n in new]
        self._counts_NP = np.concatenate([self._counts_NP, np.array(drawn, np.int64).reshape(-1, self.part.members)])

    def held_out_NP(self) -> Tensor:
        """bool [N, P]: whether the label is one of the predictor's validation data."""
        return torch.from_numpy(self._counts_NP == 0)

    def fit(self, step: int, updates: int, purpose: str = "later") -> Metrics:
        """So many updates of every predictor, then the L2 coefficients for the next fit; what it came to.

        `purpose` tells two fits of one step apart.
        """
        stream = Stream(self.seed, step, f"reward ensemble/minibatches/{purpose}")
        size = min(self.part.pairs_per_update, len(self))
        bags = [np.repeat(np.arange(len(self)), self._counts_NP[:, p]) for p in range(self.part.members)]
        has_P = torch.tensor([float(len(bag) > 0) for bag in bags])
        drawn = [stream.uniforms("predictor", p, updates * size).reshape(updates, size) for p in range(len(bags))]
        picked = [(u * len(bag)).astype(np.int64) for bag, u in zip(bags, drawn, strict=True)]
        chosen = [bag[at] if len(bag) else at for bag, at in zip(bags, picked, strict=True)]
        index_UPM = torch.from_numpy(np.stack(chosen, 1))
        for index_PM in index_UPM:
            self._update(index_PM, has_P)
        lower = "; lower method.learned_reward.predictor_rate"
        require_finite("the reward predictors' weights", self.ensemble.parameters(), what=lower)
        fault_point("reward.fitted")
        return self._measure()

    def _update(self, index_PM: Tensor, has_P: Tensor) -> None:
        first_PM, second_PM = self._returns(self.pairs_N2KD[index_PM])
        losses_PM = cross_entropy(first_PM, second_PM, self.preferred_N[index_PM], self.part.coin_share)
        l2_P = self.l2_P.float() * self.ensemble.squared_weights()
        loss = (has_P * (losses_PM.mean(1) + l2_P)).sum()
        if not bool(torch.isfinite(loss)):
            raise NonFiniteError(
                f"the reward predictors' loss is {float(loss.detach())}; they were left as they are. Usual causes: "
                "observations of enormous size (task.normalize_observations), or a learning rate too high "
                "(method.learned_reward.predictor_rate)"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def _returns(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted returns [P, N] of the first and the second segment of pairs [N, 2, K, D] or [P, N, 2, K, D]."""
        lead = pairs.shape[:-4] or ()
        steps_PN = self.ensemble(pairs.reshape(*lead, -1, pairs.shape[-1]))
        returns_PN2 = steps_PN.view(len(steps_PN), -1, 2, pairs.shape[-2]).sum(3)
        return returns_PN2[..., 0], returns_PN2[..., 1]

    @torch.no_grad()
    def returns(self, pairs_N2KD: Tensor) -> tuple[Tensor, Tensor]:
        """Each predictor's returns of pairs of segments, [P, N] twice."""
        parts = [self._returns(part) for part in pairs_N2KD.split(_AT_ONCE)]
        return torch.cat([first for first, _ in parts], 1), torch.cat([second for _, second in parts], 1)

    def _measure(self) -> Metrics:
        first_PN, second_PN = self.returns(self.pairs_N2KD)
        preferred_PN = self.preferred_N.expand_as(first_PN)
        losses_PN = cross_entropy(first_PN, second_PN, preferred_PN, self.part.coin_share).double()
        counts_PN = torch.from_numpy(self._counts_NP.T)
        held_out_PN = self.held_out_NP().T
        train_P = (losses_PN * counts_PN).sum(1) / counts_PN.sum(1)  # NaN where there is none
        validation_P = (losses_PN * held_out_PN).sum(1) / held_out_PN.sum(1)
        self.l2_P = adapted_l2(self.l2_P, train_P, validation_P, self.part.l2_low, self.part.l2_high)
        decided_PN = held_out_PN & (preferred_PN != 0.5)
        right_PN = (first_PN > second_PN) == (preferred_PN > 0.5)
        return {
            "preferences/train_loss": _mean(train_P),
            "preferences/validation_loss": _mean(validation_P),
            "preferences/accuracy": float(right_PN[decided_PN].double().mean()) if decided_PN.any() else None,
            "preferences/l2": float(self.l2_P.mean()),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Everything that must survive a kill."""
        ensemble = {f"ensemble/{name}": tensor for name, tensor in self.ensemble.state().items()}
        adam = optimizer_state(self.optimizer, self.ensemble.parameters())
        labels = {"pairs": self.pairs_N2KD, "preferred": self.preferred_N, "l2": self.l2_P}
        return {**ensemble, **labels, **{f"adam/{name}": tensor for name, tensor in adam.items()}}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` gave."""
        self.ensemble.load_state(under(tensors, "ensemble/"))
        restore_optimizer(self.optimizer, self.ensemble.parameters(), under(tensors, "adam/"))
        self.pairs_N2KD, self.preferred_N = tensors["pairs"].clone(), tensors["preferred"].clone()
        self.l2_P = tensors["l2"].clone()
        self._counts_NP = self._counts_NP[:0]
        self._count()


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _mean(values_P: Tensor) -> float | None:
    known_P = values_P[torch.isfinite(values_P)]
    return float(known_P.mean()) if len(known_P) else None
