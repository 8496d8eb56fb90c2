"""Numbers that depend on nothing but their key: no global state, no clock, no hash seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count

import numpy as np
import numpy.typing as npt


def keyed_hash(*key: str | int) -> int:
    """A 128-bit whole number from the key, the same on every machine.

    Each part is written with its type and length, so ("a", "bc") and ("ab", "c"), or 1 and "1", differ.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in key:
        data = str(part).encode("utf-8", "surrogatepass")
        digest.update(f"{type(part).__name__}:{len(data)}:".encode())
        digest.update(data)
    return int.from_bytes(digest.digest(), "little")


def keyed_share(*key: str | int) -> float:
    """A number in [0, 1) from the key; `keyed_share(...) < 0.1` picks a stable tenth."""
    return (keyed_hash(*key) >> 75) / 2**53


def raw_numbers(*key: str | int, n: int) -> npt.NDArray[np.uint64]:
    """n raw 64-bit numbers of the Philox stream of this key."""
    return np.random.Philox(key=keyed_hash(*key)).random_raw(n)


def draws(*key: str | int, width: int) -> Iterator[list[int]]:
    """Endless rows of `width` raw numbers of this key: take one after another until one suits."""
    for block in count():
        yield from raw_numbers(*key, block, n=16 * width).reshape(16, width).tolist()
