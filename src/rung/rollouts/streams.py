"""Random numbers that depend on what they are for, never on when they are asked for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


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
        name = json.dumps([int(self.seed), int(self.step), self.purpose, item, int(sample)])
        digest = hashlib.blake2b(name.encode("ascii"), digest_size=16, person=b"rung-stream").digest()
        # Raw Philox numbers, because numpy may change how a Generator turns them into floats, but not these.
        raw = np.random.Philox(key=int.from_bytes(digest, "little")).random_raw(n)
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

    def _draw(self, stream: Stream) -> npt.NDArray[np.float64]:
        if not self._by_row:
            drawn = stream.uniforms("block", 0, self._length * int(np.prod(self._shape)))
            return drawn.reshape(self._length, *self._shape)
        rows, *each = self._shape
        count = self._length * int(np.prod(each))
        return np.stack([stream.uniforms(f"row-{r}", 0, count).reshape(self._length, *each) for r in range(rows)], 1)
