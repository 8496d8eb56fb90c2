"""One observation in, one action out: how a trained network is asked in an environment of anybody's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.errors import SettingsError


class Acting:
    """What the networks that act have in common.

    Attributes:
        to_environment: makes the network's actions the environment's; None: they stay as the network has them.
    """

    to_environment: Callable[[npt.NDArray[Any]], list[Any]] | None = None

    @property
    def observation_form(self) -> tuple[tuple[int, ...], type[np.generic]]:
        """Shape and kind of the numbers of an observation."""
        raise NotImplementedError

    def mode(self, observations_N: npt.NDArray[Any], /) -> npt.NDArray[Any]:
        """The likeliest or best action of each state."""
        raise NotImplementedError

    def scaled(self, raw_N: npt.NDArray[Any], /) -> npt.NDArray[Any]:
        """Raw observations as the network wants them."""
        raise NotImplementedError

    def state_values(self, observations_N: npt.NDArray[Any], /) -> npt.NDArray[np.float32] | None:
        """[N] the return that the network expects from each state; None where it judges none."""
        return None

    def act(self, observation: Any) -> Any:
        """The likeliest action for one raw observation, both in the environment's own form.

        Raises SettingsError where the observation has another number of values than those that were learnt from.

        Example: `action = rung.open("runs/ppo-CartPole-v1-1").policy().act(observation)`.
        """
        return (self.to_environment or list)(self.mode(self._seen(observation)))[0]

    def value(self, observation: Any) -> float | None:
        """The return expected from one raw observation, on the scale that was learnt on; None where there is no critic.

        Raises as `act` does.
        """
        values_1 = self.state_values(self._seen(observation))
        return None if values_1 is None else float(values_1[0])

    def _seen(self, observation: Any) -> npt.NDArray[Any]:
        """[1, ...] what the network sees of a raw observation."""
        shape, kind = self.observation_form
        raw = np.asarray(observation)
        if raw.size != np.prod(shape):
            raise SettingsError([f"act: got an observation of {raw.size} numbers, expected {np.prod(shape)} ({shape})"])
        return self.scaled(raw.reshape(1, *shape).astype(kind))
