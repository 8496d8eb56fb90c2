"""Memory estimate: how much a run needs at most, from the model's shape and the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rung.methods import Method
from rung.settings.sampler import VLLM
from rung.settings.schema import Settings

if TYPE_CHECKING:
    from rung.models.language.size import ModelShape
    from rung.trainers.kind import Kind

FLOAT = 4
"""Bytes of a weight, a gradient and an optimizer's number: always float32."""


@dataclass(frozen=True)
class Memory:
    """Bytes by what they are for.

    Example: `Memory({"weights": 538_060_032, "gradients": 538_060_032, ...}).gib` is about 3.4.
    """

    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """Bytes. Activations and the sampler's cache never exist at the same time: the larger of the two counts."""
        shared = ("activations", "kv cache")
        fixed = sum(size for name, size in self.parts.items() if name not in shared)
        return fixed + max(self.parts[name] for name in shared)

    @property
    def gib(self) -> float:
        return self.total / 2**30


def memory_of(
    settings: Settings,
    method: Method,
    kind: Kind,
    network: ModelShape,
    *,
    episodes: int,
    prompt_tokens: int,
    teacher: ModelShape | None = None,
) -> Memory:
    """The estimate for one process, for steps of so many episodes and prompts of about `prompt_tokens` tokens. Of
    several each holds a share; `gathered` are the whole weights, which it holds while it draws."""
    trained = trained_parameters(settings, network)
    low = settings.learner.compute == "bfloat16"
    compute = 2 if low else FLOAT
    own, asked = settings.sampler.engine != VLLM, settings.sampler
    rows = min(episodes, asked.rows_at_once or episodes) if own else 0
    tokens = micro_batch_tokens(settings, episodes, prompt_tokens)
    places = rows * (prompt_tokens + settings.max_new_tokens)
    base = network.parameters * FLOAT
    copies = int(has_copy(settings, method, kind)) + kind.frozen_copies(settings, method)
    of_kind, processes = kind.memory(settings, method, network, prompt_tokens), settings.learner.processes
    engines = {"engine's copy": -(-trained * compute // processes)} if asked.ahead == 1 else {}
    held = {
        "weights": base + (network.parameters * 2 if low else 0) + (trained * FLOAT if settings.lora else 0),
        "gradients": trained * FLOAT,
        "optimizer": 2 * trained * FLOAT,
        "critic": of_kind.get("critic", 0),
        "reference": base * copies,
        "teacher": 0 if teacher is None else teacher.parameters * FLOAT,
    }
    return Memory(
        {name: -(-size // processes) for name, size in held.items()}
        | ({"gathered": base} if processes > 1 and own else {})
        | {
            "replay": of_kind.get("replay", 0),
            "kv cache": 2 * network.layers * network.kv_width * places * compute // processes,
            "activations": activations(settings, network, tokens) * compute,
            **engines,
            **{name: size for name, size in of_kind.items() if name == "distributions"},
        }
    )


def trained_parameters(settings: Settings, network: ModelShape) -> int:
    """How many weights change."""
    if settings.lora is None:
        return network.parameters
    return network.lora_parameters(settings.lora.rank, settings.lora.targets)


def has_copy(settings: Settings, method: Method, kind: Kind) -> bool:
    """Whether the start is kept as a copy of its own: for the method's KL or for the metric `kl/start`.

    With LoRA the start is the base with the adapter off, and needs none.
    """
    return settings.lora is None and kind.needs_start(settings, method)


def micro_batch_tokens(settings: Settings, episodes: int, prompt_tokens: int) -> int:
    """The most tokens that go through the model at once: the setting, at least one episode, at most the whole step."""
    if not episodes:  # stored answers, of lengths that are not known here
        return settings.learner.micro_batch_tokens
    episode = prompt_tokens + settings.max_new_tokens
    whole_step = settings.prompts_per_step * prompt_tokens + episodes * settings.max_new_tokens
    return min(max(settings.learner.micro_batch_tokens, episode), whole_step)


def activations(settings: Settings, network: ModelShape, tokens: int) -> int:
    """Numbers kept for the backward pass over so many tokens: 6 widths and 4 inner widths a token and layer (what
    autograd was seen to save in our decoder); with `checkpoint_activations` 2 widths a layer, and one layer whole.
    """
    whole = 6 * network.width + 4 * network.inner_width
    if settings.learner.checkpoint_activations:
        return tokens * (2 * network.width * network.layers + whole)
    return tokens * whole * network.layers
