"""The order of the items: each once an epoch, in an order that only the seed and the epoch decide.

A place is how many items the run took before; how many it takes a step does not matter here.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from rung.random import raw_numbers


@lru_cache(maxsize=4)
def item_order(seed: int, epoch: int, n: int) -> npt.NDArray[np.int64]:
    """The order of n items in one epoch, a permutation of 0..n-1 keyed by (seed, epoch).

    Sorting Philox's raw numbers, not `Generator.permutation`: numpy promises that the first never change.
    """
    order = np.argsort(raw_numbers("item order", seed, epoch, n=n), kind="stable").astype(np.int64)
    order.flags.writeable = False  # it is kept for the next who asks
    return order


def batch_indices(seed: int, step: int, prompts_per_step: int, n: int) -> npt.NDArray[np.int64]:
    """The items of step 1, 2, ...: the next `prompts_per_step` places of epoch 0, 1, ... laid end to end.

    A step may cross an epoch's border, so one step can hold an item twice (once for each epoch).

    >>> sorted(np.concatenate([batch_indices(0, step, 2, 4) for step in (1, 2)]).tolist())
    [0, 1, 2, 3]
    """
    assert step >= 1, f"steps count from 1, got {step}"
    assert prompts_per_step >= 1, prompts_per_step
    return items_at(seed, (step - 1) * prompts_per_step, prompts_per_step, n)


def items_at(seed: int, first: int, count: int, n: int) -> npt.NDArray[np.int64]:
    """The items at places first, first + 1, ... of epoch 0, 1, ... laid end to end.

    >>> items_at(0, 2, 2, 4).tolist() == batch_indices(0, 2, 2, 4).tolist()
    True
    """
    assert n >= 1 and first >= 0, (n, first)
    places = np.arange(first, first + count)
    return np.array([item_order(seed, int(place) // n, n)[place % n] for place in places], dtype=np.int64)
