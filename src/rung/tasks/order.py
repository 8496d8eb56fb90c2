"""Which items a step takes: every item once an epoch, in an order that only the seed and the epoch decide.

The step's number alone says which items it takes, so a resumed run needs no saved position.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from rung.tasks.keys import raw_numbers


def item_order(seed: int, epoch: int, n: int) -> npt.NDArray[np.int64]:
    """The order of n items in one epoch, a permutation of 0..n-1 keyed by (seed, epoch).

    Sorting Philox's raw numbers, not `Generator.permutation`: numpy promises the first to stay the same for ever.
    """
    return _item_order(seed, epoch, n).copy()


@lru_cache(maxsize=4)
def _item_order(seed: int, epoch: int, n: int) -> npt.NDArray[np.int64]:
    return np.argsort(raw_numbers("item order", seed, epoch, n=n), kind="stable").astype(np.int64)


def batch_indices(seed: int, step: int, prompts_per_step: int, n: int) -> npt.NDArray[np.int64]:
    """The items of step 1, 2, ...: the next `prompts_per_step` places of epoch 0, 1, ... laid end to end.

    A step may cross an epoch's border, so one step can hold an item twice (once for each epoch).

    >>> sorted(np.concatenate([batch_indices(0, step, 2, 4) for step in (1, 2)]).tolist())
    [0, 1, 2, 3]
    """
    assert step >= 1, f"steps count from 1, got {step}"
    assert n >= 1 and prompts_per_step >= 1, (n, prompts_per_step)
    first = (step - 1) * prompts_per_step
    places = np.arange(first, first + prompts_per_step)
    return np.array([_item_order(seed, int(place) // n, n)[place % n] for place in places], dtype=np.int64)
