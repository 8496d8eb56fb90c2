"""What each of several processes that learn together holds and sends, in bytes, from the model's shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rung.settings.sampler import VLLM
from rung.settings.schema import Settings
from rung.trainers.engine import engine_dtype
from rung.trainers.memory import FLOAT, trained_parameters

if TYPE_CHECKING:
    from rung.models.language.size import ModelShape


@dataclass(frozen=True, kw_only=True)
class Sends:
    """Bytes that one process sends on: of what it holds a share of, each of the N - 1 others gets its share once.

    Example: of 100 weights over 2 processes each sends 200 bytes to gather them all.
    """

    with_gradient: int
    """A pass through the model and back: what lies around the layers is gathered once, the layers twice, and the
    gradients of what is trained are summed into the shares."""
    without_gradient: int
    """A pass for log-probs alone: every weight is gathered once."""
    drawing: int
    """Before answers are drawn, every weight is gathered once; nothing where engines draw."""
    delivery: int
    """For engines that draw: a process's share of what changes, to the one that leads; 0 where none does. The proof is
    a pass without gradients beside it."""
    checkpoint: int
    """Weights that are trained, and the optimizer's two numbers for each, to the process that leads."""


def sends(settings: Settings, network: ModelShape) -> Sends:
    """The estimate; a weight whose first dimension does not divide by the number of processes is padded beyond it.

    Without the passes of a critic of its own, which are as many more.
    """
    n, trained = settings.learner.processes, trained_parameters(settings, network)
    engines = int(settings.sampler.engine == VLLM and n > 1)
    every = network.parameters + (0 if settings.lora is None else trained)
    layers = network.in_layers + (every - network.parameters)  # an adapter stands in a layer

    def share(numbers: int) -> int:
        return numbers * FLOAT * (n - 1) // n

    return Sends(
        with_gradient=share(every + layers + trained),
        without_gradient=share(every),
        drawing=0 if engines else share(every),
        delivery=(trained * FLOAT if settings.lora else network.parameters * engine_dtype(settings).itemsize)
        // n
        * engines,
        checkpoint=3 * trained * FLOAT // n,
    )
