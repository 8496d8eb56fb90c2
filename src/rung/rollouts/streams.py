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
