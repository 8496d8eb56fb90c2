"""The interface of a network that acts in environments: drawing actions, and taking the best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rung.models.small.network import SmallPolicy
from rung.models.small.q_network import NAME as Q_NAME
from rung.models.small.q_network import QNetwork


class Actor(Protocol):
    """Chooses actions by a network's weights."""

    def __call__(
        self, observations_N: npt.NDArray[Any], uniforms: npt.NDArray[np.float64], /
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """Drawn actions, and the logarithms of their chances."""
        ...

    def mode(self, observations_N: npt.NDArray[Any], /) -> npt.NDArray[Any]:
        """The likeliest or best action of each state."""
        ...


class EnvironmentPolicy(Protocol):
    """A `SmallPolicy`, or a `QNetwork`."""

    to_environment: Callable[[npt.NDArray[Any]], list[Any]] | None

    def actor(self) -> Actor: ...
    def act(self, observation: Any, /) -> Any:
        """The likeliest action for one raw observation, both in the environment's own form."""
        ...

    def value(self, observation: Any, /) -> float | None:
        """The return that the network expects from one raw observation; None where it judges none."""
        ...

    def mode(self, observations_N: npt.NDArray[Any], /) -> npt.NDArray[Any]: ...
    def scaled(self, raw_N: npt.NDArray[Any], /) -> npt.NDArray[Any]:
        """Raw observations as the network wants them."""
        ...


def load_environment_policy(folder: Path) -> EnvironmentPolicy:
    """The network that a run in an environment left in `final`. DataError when the folder holds none."""
    return QNetwork.load(folder) if (folder / f"{Q_NAME}.json").is_file() else SmallPolicy.load(folder)
