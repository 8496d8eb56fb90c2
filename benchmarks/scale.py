"""A step on 1 to 1,024 GPUs, computed from rates: what dominates it.

    python benchmarks/scale.py

Nothing is run. The rates below are an H100's as its maker and others publish them, and shares of them that decoding and
training usually reach; the rest is arithmetic on the model's shape. It says which part of a step to look at, not how
long one will take.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

ROWS, PROMPT, MEAN, LONGEST = 1024, 512, 4000, 16384
"""Answers of a step, tokens of a prompt, of an answer on average, of the longest one."""
BANDWIDTH, FLOPS = 3.35e12, 9.89e14
"""Bytes a second from a GPU's memory, bfloat16 operations a second."""
DECODES = 0.6
"""The share of the bandwidth that decoding reaches."""
FREE = 60e9
"""Bytes of a GPU for weights and cache of an engine."""
STEP_S = 0.005
"""Least seconds of one token of one row: launching and communicating."""
BETWEEN = 4e10
"""Bytes a second between machines, of one GPU."""
GPUS = (1, 8, 64, 256, 1024)


@dataclass(frozen=True)
class Model:
    """A model's shape; `tensor`: the GPUs that one engine takes; `mfu`: the share of FLOPS that training reaches."""

    name: str
    weights: float
    layers: int
    kv_width: int
    tensor: int
    mfu: float

    @property
    def cache(self) -> float:
        """Bytes of keys and values a token, bfloat16."""
        return 2 * 2 * self.layers * self.kv_width


MODELS = (
    Model("0.6B", 0.6e9, 28, 1024, 1, 0.20),
    Model("8B", 8e9, 36, 1024, 1, 0.35),
    Model("70B", 70e9, 80, 1024, 4, 0.38),
)


@dataclass(frozen=True)
class Step:
    """Seconds of a step's parts. `drawing`: all tokens at the engines' rate; `longest`: the longest row by itself."""

    drawing: float
    longest: float
    learning: float
    delivery: float

    def takes(self, ahead: int) -> float:
        """Seconds of a step: in turn, one step ahead, or with weights that change in flight."""
        drawn = max(self.drawing, self.longest)
        if ahead == 0:
            return drawn + self.learning + self.delivery
        return max(drawn if ahead == 1 else max(self.drawing, self.longest / ahead), self.learning) + self.delivery

    def dominates(self, ahead: int) -> str:
        """The part that is longest."""
        waits = self.longest if ahead < 2 else self.longest / ahead
        parts = {
            "drawing all tokens": self.drawing,
            "the longest answer": waits if waits > self.drawing else 0.0,
            "learning": self.learning,
            "delivery": self.delivery,
        }
        return max(parts, key=lambda name: parts[name])


def step_of(model: Model, draw: int, learn: int) -> Step:
    """A step with so many GPUs that draw, and so many that learn."""
    engines = max(draw // model.tensor, 1)
    rows = math.ceil(ROWS / engines)
    context = PROMPT + MEAN / 2
    room = (FREE * model.tensor - 2 * model.weights) / (model.cache * context)
    at_once = max(min(rows, int(room)), 1)

    def seconds_a_token(rows_at_once: float, tokens: float) -> float:
        read = 2 * model.weights + rows_at_once * model.cache * tokens
        return max(read / (BANDWIDTH * DECODES * model.tensor), STEP_S)

    drawing = rows * MEAN / at_once * seconds_a_token(at_once, context)
    alone = LONGEST * seconds_a_token(min(at_once, 8), PROMPT + LONGEST / 2)
    tokens = ROWS * (PROMPT + MEAN)
    learning = 8 * model.weights * tokens / (FLOPS * model.mfu * learn)  # forward twice, backward once
    delivery = 2 * model.weights / BETWEEN  # buckets through rank 0 to all engines at once
    return Step(drawing, alone, learning, delivery)


def split(model: Model, gpus: int) -> tuple[int, int] | None:
    """GPUs that draw and that learn, so that a step in flight is shortest; None where the model has no room.

    To learn, 16 bytes a weight are held: weights, gradients and the optimizer's two numbers in float32.
    """
    least = math.ceil(16 * model.weights / (0.8 * 80e9))
    choices = range(model.tensor, gpus - least + 1, model.tensor)
    if not choices:
        return None
    best = min(choices, key=lambda n: step_of(model, n, gpus - n).takes(4))
    return best, gpus - best


def rows() -> Iterator[tuple[str, ...]]:
    for model in MODELS:
        for gpus in GPUS:
            if (parts := split(model, gpus)) is None:
                yield model.name, f"{gpus:,}", "-", "", "", "", "", "", "no room for both"
                continue
            step = step_of(model, *parts)
            yield (
                model.name,
                f"{gpus:,}",
                f"{parts[0]:,}/{parts[1]:,}",
                f"{step.drawing:,.0f} / {step.longest:,.0f}",
                f"{step.learning:,.0f}",
                f"{step.delivery:,.2f}",
                " / ".join(f"{step.takes(ahead):,.0f}" for ahead in (0, 1, 4)),
                f"{step.takes(0) / step.takes(4):.1f}x",
                " / ".join(step.dominates(ahead) for ahead in (0, 4)),
            )


HEAD = (
    "model",
    "GPUs",
    "draw/learn",
    "drawing: all / longest row, s",
    "learning, s",
    "delivery, s",
    "a step, ahead 0 / 1 / 4, s",
    "gain",
    "dominates, ahead 0 / 4",
)


def main() -> None:
    print(f"{ROWS:,} answers of {MEAN:,} tokens on average, {LONGEST:,} the longest. Computed, nothing was run.\n")
    for line in (HEAD, ("---",) * len(HEAD), *rows()):
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
