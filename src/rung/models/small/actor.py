"""Drawing a small policy's actions in numpy, for collecting.

At the 8 states or so of one step, torch spends 140 microseconds on what numpy does in 50: its cost for each operation,
not the arithmetic. The distribution is the same as `SmallPolicy.distribution`, up to the rounding of its
log-probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.models.language.distributions import standard_normals
from rung.models.small.by_hand import TANH, Vector, as_arrays, forward

Array = npt.NDArray[Any]


class SmallActor:
    """A policy's distribution, to draw from. It looks at the weights as they are when it is made: make one for each
    collecting.

    Example:
        actions_N, log_probs_N = policy.actor()(observations_NO, uniforms_N)
    """

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]], log_std_A: Tensor | None) -> None:
        self._layers = as_arrays(layers)
        self._log_std_A = None if log_std_A is None else log_std_A.detach().cpu().numpy()
        self._std_A = None if self._log_std_A is None else np.exp(self._log_std_A)

    def __call__(
        self, observations_NO: npt.NDArray[np.float32], uniforms: npt.NDArray[np.float64]
    ) -> tuple[Array, npt.NDArray[np.float32]]:
        """Drawn actions and their log-probabilities.

        Args:
            observations_NO: float32, scaled.
            uniforms: float64 in [0, 1): [N] for choices, [N, A] for vectors.

        Returns:
            [N] int64 choices or [N, A] float32 vectors, and [N] float32.
        """
        out_N = self._through(observations_NO)
        return self._choice(out_N, uniforms) if self._log_std_A is None else self._vector(out_N, uniforms)

    def mode(self, observations_NO: npt.NDArray[np.float32]) -> Array:
        """The likeliest action of each state: the first of equals, or the mean."""
        out_N = self._through(observations_NO)
        return out_N.argmax(1) if self._log_std_A is None else out_N

    def _through(self, inputs_NO: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return forward(self._layers, inputs_NO, TANH)[-1]

    @staticmethod
    def _choice(logits_NV: Array, uniforms_N: Array) -> tuple[Array, Array]:
        """As `distributions.Categorical.draw`: the first choice whose cumulative weight lies above u·total."""
        weights_NV = logits_NV.astype(np.float64)
        weights_NV -= weights_NV.max(1, keepdims=True)
        ends_NV = np.exp(weights_NV).cumsum(1)
        total_N = ends_NV[:, -1]
        drawn_N = (ends_NV <= (uniforms_N * total_N)[:, None]).sum(1)
        if drawn_N.max() == ends_NV.shape[1] or (ends_NV[:, -2:-1] == ends_NV[:, -1:]).any():
            drawn_N = np.minimum(drawn_N, (ends_NV < total_N[:, None]).sum(1))
        picked_N = weights_NV[np.arange(len(drawn_N)), drawn_N]
        return drawn_N, (picked_N - np.log(total_N)).astype(np.float32)

    def _vector(self, mean_NA: Array, uniforms_NA: Array) -> tuple[Array, Array]:
        assert self._log_std_A is not None and self._std_A is not None
        drawn_NA = (mean_NA + self._std_A * standard_normals(torch.from_numpy(uniforms_NA)).numpy()).astype(np.float32)
        return drawn_NA, Vector(mean_NA, self._log_std_A, drawn_NA).log_probs_N
