"""Random numbers that depend on nothing but their key: no global state, no clock, no hash seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
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
    return philox(keyed_hash(*key)).random_raw(n)


def philox(key: int) -> np.random.Philox:
    """The stream of a 128-bit key. Use its raw numbers: numpy may change how a Generator turns them into others."""
    return np.random.Philox(key=key)


def generator(key: tuple[int, ...]) -> np.random.Generator:
    """numpy's generator for a tuple of whole numbers, such as (seed, step, epoch)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def seeded(seed: int) -> np.random.Generator:
    """numpy's generator of one whole number, for worlds that are made once: no run draws from it."""
    return np.random.Generator(np.random.PCG64(seed))


def draws(*key: str | int, width: int) -> Iterator[list[int]]:
    """Endless rows of `width` raw numbers of this key: take one after another until one suits."""
    for block in count():
        yield from raw_numbers(*key, block, n=16 * width).reshape(16, width).tolist()


def episode_seed(seed: int, purpose: str, row: int, episode: int) -> int:
    """The seed that an environment's episode is reset with: a function of what it is for, never of when it is played.

    >>> episode_seed(0, "train", 3, 7) == episode_seed(0, "train", 3, 7) != episode_seed(0, "train", 7, 3)
    True
    """
    key = _hash_of_list(b"rung-episode", 8, [int(seed), purpose, int(row), int(episode)])
    return key >> 33  # 31 bits: some environments hand it to a C library's int


def _hash_of_list(person: bytes, size: int, key: list[int | str]) -> int:
    digest = hashlib.blake2b(json.dumps(key).encode("ascii"), digest_size=size, person=person)
    return int.from_bytes(digest.digest(), "little")


@dataclass(frozen=True)
class Stream:
    """The random streams of one purpose in one step of a run.

    Every sample has its own stream, keyed by (seed, step, purpose, item, sample). So neither batching, nor the order
    of work, nor a restart changes what a sample draws, and a longer request begins with the shorter one's numbers.

    >>> stream = Stream(seed=0, step=3, purpose="train")
    >>> bool((stream.uniforms("q7", 0, 5)[:2] == stream.uniforms("q7", 0, 2)).all())
    True
    """

    seed: int
    step: int
    purpose: str
    """What the numbers are for: `train`, `evaluate`, ...; two purposes never share a stream."""

    def uniforms(self, item: str, sample: int, n: int) -> npt.NDArray[np.float64]:
        """`n` numbers in [0, 1), float64: the first n of this sample's stream."""
        key = _hash_of_list(b"rung-stream", 16, [int(self.seed), int(self.step), self.purpose, item, int(sample)])
        raw = philox(key).random_raw(n)
        return (raw >> np.uint64(11)) * 2.0**-53


class Blocks:
    """Numbers in [0, 1) for steps 0, 1, 2, ..., drawn a block of steps at a time, because one by one takes longer.

    What a step draws depends on (seed, purpose, step) alone: any step can be asked for at any time. With `by_row` the
    first dimension is of rows, and what a row draws depends on its number too and on no other row.

    >>> blocks = Blocks(0, "train/actions", (2,))
    >>> first = blocks.at(0).copy()
    >>> _ = blocks.at(5000)
    >>> bool((blocks.at(0) == first).all())
    True
    """

    def __init__(
        self, seed: int, purpose: str, shape: tuple[int, ...], length: int = 512, *, by_row: bool = False
    ) -> None:
        self._seed, self._purpose, self._shape, self._length = seed, purpose, shape, length
        self._by_row = by_row
        self._block, self._drawn = -1, np.zeros((0, *shape))

    def at(self, step: int) -> npt.NDArray[np.float64]:
        """The numbers of one step, [*shape]."""
        block, place = divmod(step, self._length)
        if block != self._block:
            self._block, self._drawn = block, self._draw(Stream(self._seed, block, self._purpose))
        return self._drawn[place]

    def span(self, first: int, count: int) -> npt.NDArray[np.float64]:
        """The numbers of `count` steps from `first` on, [count, *shape]."""
        parts: list[npt.NDArray[np.float64]] = []
        while count > 0:
            self.at(first)
            place = first % self._length
            parts.append(self._drawn[place : place + count])
            first, count = first + len(parts[-1]), count - len(parts[-1])
        return np.concatenate([*parts, np.zeros((0, *self._shape))])

    def _draw(self, stream: Stream) -> npt.NDArray[np.float64]:
        if not self._by_row:
            drawn = stream.uniforms("block", 0, self._length * int(np.prod(self._shape)))
            return drawn.reshape(self._length, *self._shape)
        rows, *each = self._shape
        count = self._length * int(np.prod(each))
        return np.stack([stream.uniforms(f"row-{r}", 0, count).reshape(self._length, *each) for r in range(rows)], 1)
