"""The learner as an engine needs it: its weights, a bucket at a time, and what it says of text.

Where several processes learn, each holds a share of the weights. Then each does its part of all this, and the one that
leads, which has the engines, holds a bucket of whole weights at a time and never all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rung.models.language.lora import wrapped_layers
from rung.models.language.packing import Rows
from rung.rollouts.engine.delivery import Bucket, bucket_of, cut
from rung.rollouts.engine.proof import canary_text

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy

Together = Callable[[Callable[..., Any], str], Callable[..., Any]]
"""Makes of a work one that all processes which learn do together; its words name it in errors."""


def alone(work: Callable[..., Any], what: str) -> Callable[..., Any]:
    """A process that learns by itself does its works by itself."""
    return work


def _here(tensors: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    return dict(tensors)


class Source:
    """What an engine is given, and what it must say.

    Made while the model is whole; from then on it may be sharded.

    Args:
        together: as `Ranks.shared`.
        whole: as `Ranks.whole`.
    """

    def __init__(
        self, policy: TextPolicy, together: Together = alone, whole: Callable[..., dict[str, Tensor]] = _here
    ) -> None:
        self.policy, self.dtype, self.device = policy, policy.compute_dtype, policy.device.type
        config = {**policy.model.config.to_dict(), "architectures": [type(policy.model).__name__]}
        self.configuration = json.dumps(config, default=str)
        self.text = canary_text(policy)
        self.scales = {
            f"{name}.weight": float(layer.scaling[adapter])
            for name, layer in wrapped_layers(policy.model).items()
            for adapter in layer.active_adapters
        }
        self._whole, self._kept = whole, dict[str, Tensor]()
        self.say = together(self._say_here, "to compute what an engine must say")
        self._gather = together(self._gather_here, "to gather weights for an engine")
        self.keep = together(self._keep_here, "to keep the weights that an engine draws from")

    def names(self, *, changing: bool) -> list[str]:
        """What changes with a version: the adapters of a LoRA, else all weights. Or what does not: its base."""
        return [name for name in self._named() if (_is_adapter(name) or not self.scales) == changing]

    def buckets(self, names: Sequence[str]) -> Iterator[Bucket]:
        """These weights as they are now, or as `keep` has kept them."""
        named = self._named()
        for some in cut({name: named[name].numel() * self._format(name).itemsize for name in names}):
            yield bucket_of(self._gather(some), self.scales)

    def _named(self) -> dict[str, Tensor]:
        """The weights by the names that an engine has for them."""
        return {_of_engine(name): tensor for name, tensor in self.policy.weights().items()}

    def _format(self, name: str) -> torch.dtype:
        return torch.float32 if _is_adapter(name) else self.dtype

    def _gather_here(self, names: Sequence[str]) -> Mapping[str, Tensor]:
        held = self._named() | self._kept
        return self._whole({name: held[name].to(self._format(name)) for name in names}, "delivered")

    def _keep_here(self) -> None:
        """Keep a copy of what changes: the learner's weights go on while an engine may have to be given these."""
        named = self._named()
        self._kept = {name: named[name].to(self._format(name), copy=True) for name in self.names(changing=True)}

    def _say_here(self, text: Sequence[Sequence[int]]) -> Tensor:
        """ln p of all tokens but each row's first, float64."""
        ids = [np.array(row) for row in text]
        rows = Rows(
            contexts=tuple(row[:1] for row in ids),
            actions=tuple(row[1:] for row in ids),
            wanted=tuple(np.ones(len(row) - 1, np.bool_) for row in ids),
        )
        with torch.no_grad(), self.policy.computing():
            log_probs_N, _, _ = self.policy.engine.log_probs(rows, temperature=1.0, with_entropy=False)
        return log_probs_N.double().cpu()


def _of_engine(name: str) -> str:
    """`q_proj.weight` of a base that is wrapped, `q_proj.weight.A` and `.B` of its adapter."""
    base, _, adapter = name.partition(".lora_")
    return f"{base}.weight.{adapter[0]}" if adapter else name.replace(".base_layer", "")


def _is_adapter(name: str) -> bool:
    return name.endswith((".weight.A", ".weight.B"))
