"""Running statistics of observations and of discounted returns, as the article's PPO scales by them.

What counts lives here and belongs to the collector; what only applies (`ObservationScale`) belongs to the policy. So
evaluating, which has a policy and no collector, cannot change a statistic.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.errors import CheckpointError
from rung.models.small.network import SmallPolicy
from rung.models.small.observation_scale import CLIP, EPSILON, ObservationScale
from rung.tasks.environment import EnvironmentTask


class RunningMoments:
    """Mean and variance of everything counted so far (Chan et al. 1979), float64.

    Before anything is counted the mean is 0 and the variance 1.

    >>> moments = RunningMoments((1,))
    >>> moments.count(np.array([[1.0], [3.0]])); moments.count(np.array([[5.0]]))
    >>> moments.mean.tolist(), round(float(moments.variance[0]), 4)
    ([3.0], 2.6667)
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.counted = 0
        self.mean = np.zeros(shape)
        self.variance = np.ones(shape)

    def count(self, values_N: npt.NDArray[np.floating]) -> None:
        """Count N values [N, *shape]."""
        added = len(values_N)
        if added == 0:
            return
        mean = np.add.reduce(values_N, 0, np.float64) / added  # np.mean and np.clip take longer than such small arrays
        variance = np.add.reduce((values_N - mean) ** 2, 0) / added
        total = self.counted + added
        if self.counted == 0:
            self.mean, self.variance = mean, variance
        else:
            apart, share = mean - self.mean, added / total
            self.mean = self.mean + apart * share
            between = apart * apart * (share * (1 - share))
            self.variance = self.variance * (1 - share) + variance * share + between
        self.counted = total

    def state(self) -> dict[str, Tensor]:
        """`mean`, `variance`, `counted` as tensors."""
        return {
            "mean": torch.as_tensor(self.mean, dtype=torch.float64).clone(),
            "variance": torch.as_tensor(self.variance, dtype=torch.float64).clone(),
            "counted": torch.tensor(self.counted, dtype=torch.int64),
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self.mean = tensors["mean"].numpy().copy()
        self.variance = tensors["variance"].numpy().copy()
        self.counted = int(tensors["counted"])


class ObservationNormalizer:
    """Counts every observation that the policy acts on, once, and scales it by the statistics so far."""

    def __init__(self, observations: int) -> None:
        self.moments = RunningMoments((observations,))

    def __call__(self, raw_NO: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Count, then scale: [N, O]."""
        self.moments.count(raw_NO)
        return self.scale()(raw_NO)

    def scale(self) -> ObservationScale:
        """The statistics as they are now: what the policy keeps, and what scales without counting."""
        return ObservationScale(self.moments.mean, self.moments.variance)


class RewardScaler:
    """r / √(variance of R + 1e-8), clipped to ±10, with the running R ← discount·R + r of each environment.

    The mean is not taken off: that would change what is best. R begins at 0 with every episode: whoever steps the
    environments sets it to 0 when an episode ends.

    >>> scaler, running_B = RewardScaler(0.5), np.array([2.0, 0.0])
    >>> scaler(np.array([1.0, 0.0]), running_B), running_B.tolist()
    (array([1., 0.]), [2.0, 0.0])
    """

    def __init__(self, discount: float) -> None:
        self.discount = discount
        self.moments = RunningMoments(())

    def __call__(
        self, rewards_B: npt.NDArray[np.float64], running_B: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """[B] scaled rewards; `running_B` goes on in place."""
        running_B *= self.discount
        running_B += rewards_B
        self.moments.count(running_B)
        scaled_B = rewards_B / np.sqrt(self.moments.variance + EPSILON)
        return np.minimum(np.maximum(scaled_B, -CLIP), CLIP)


class Scaling:
    """What one collector scales by, as its task says; observations and rewards pass unchanged where it says nothing."""

    def __init__(self, task: EnvironmentTask) -> None:
        self.observations = ObservationNormalizer(task.observations) if task.normalize_observations else None
        self.rewards = RewardScaler(task.discount) if task.normalize_rewards else None

    @property
    def nothing(self) -> bool:
        """Whether all passes unchanged."""
        return self.observations is None and self.rewards is None

    def seen(self, raw_NO: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scale observations that the policy is about to act on, and count them. Always a copy."""
        return raw_NO.copy() if self.observations is None else self.observations(raw_NO)

    def final(self, raw_NO: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scale observations that nobody acts on, without counting them. Always a copy."""
        return raw_NO.copy() if self.observations is None else self.observations.scale()(raw_NO)

    def scaled(self, rewards_N: npt.NDArray[np.float64], running_N: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Rewards to learn from; `running_N` goes on in place."""
        return rewards_N if self.rewards is None else self.rewards(rewards_N, running_N)

    def give(self, policy: SmallPolicy) -> None:
        """Hand the newest statistics to the policy, to be saved and evaluated with."""
        policy.scale = None if self.observations is None else self.observations.scale()

    def _moments(self) -> dict[str, RunningMoments]:
        parts = {"observation": self.observations, "reward": self.rewards}
        return {name: part.moments for name, part in parts.items() if part is not None}

    def state(self) -> dict[str, Tensor]:
        """`observation.mean`, ..., `reward.counted`: those that are in use."""
        return {f"{part}.{name}": t for part, m in self._moments().items() for name, t in m.state().items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave; other tensors are not looked at. CheckpointError when one is missing."""
        for part, moments in self._moments().items():
            names = ("mean", "variance", "counted")
            missing = [f"{part}.{name}" for name in names if f"{part}.{name}" not in tensors]
            if missing:
                raise CheckpointError(
                    f"the checkpoint lacks the statistics {', '.join(missing)}: it was written without "
                    f"normalize_{part}s. Resume with the settings it was written with"
                )
            moments.load_state({name: tensors[f"{part}.{name}"] for name in names})
