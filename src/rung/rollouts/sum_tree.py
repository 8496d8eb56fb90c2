"""Many weights, and where their running sum passes a number: how a prioritised replay draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class SumTree:
    """`size` weights, all 0 at first. Setting or finding N of them takes log2(size) array operations.

    Every sum is taken anew from the two below it, so that it depends on the weights alone and not on their history:
    a tree made again from its weights is the same to the last bit.

    >>> tree = SumTree(3)
    >>> tree.set(np.array([0, 2]), np.array([1.0, 3.0]))
    >>> tree.total, tree.find(np.array([0.5, 1.0, 3.9])).tolist()
    (4.0, [0, 2, 2])
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._leaves = 1 << max(size - 1, 0).bit_length()
        self._depth = self._leaves.bit_length() - 1
        self._sums = np.zeros(2 * self._leaves)

    @property
    def total(self) -> float:
        return float(self._sums[1])

    def weights(self) -> npt.NDArray[np.float64]:
        """[size], a view."""
        return self._sums[self._leaves : self._leaves + self.size]

    def set(self, places_N: Array, weights_N: Array) -> None:
        """Change some weights; of a place that is named twice, the last one counts."""
        nodes_N = places_N + self._leaves
        self._sums[nodes_N] = weights_N
        for _ in range(self._depth):
            nodes_N = nodes_N >> 1
            self._sums[nodes_N] = self._sums[2 * nodes_N] + self._sums[2 * nodes_N + 1]

    def find(self, sums_N: Array) -> Array:
        """The place at which the running sum of the weights passes each of these sums, in [0, total)."""
        nodes_N, left_N = np.ones(len(sums_N), np.int64), sums_N.astype(np.float64)
        for _ in range(self._depth):
            nodes_N = 2 * nodes_N
            first_N = self._sums[nodes_N]
            right_N = (left_N >= first_N) & (self._sums[nodes_N + 1] > 0)  # rounding must not lead to a weight of 0
            left_N = np.where(right_N, left_N - first_N, left_N)
            nodes_N += right_N
        return nodes_N - self._leaves

    def load(self, weights: Array) -> None:
        """Take over all weights."""
        self._sums[:] = 0.0
        self._sums[self._leaves : self._leaves + self.size] = weights
        for level in range(self._depth - 1, -1, -1):
            nodes = np.arange(1 << level, 2 << level)
            self._sums[nodes] = self._sums[2 * nodes] + self._sums[2 * nodes + 1]
