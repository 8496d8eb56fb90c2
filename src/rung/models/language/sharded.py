"""Sharded weights: each process holds a share, and a layer is gathered around each of its passes (torch's FSDP2).

A layer is one group, what lies around the layers another, so a pass holds at most two layers and the embeddings beside
the process's share. Gradients are summed over the processes and land in the shares.

Legend: **N** processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from rung.models.language.engine import blocks_of

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from rung.models.language.engine import Engine

ENTRANCES = ("read", "log_probs", "distribution", "logits")
"""The ways into an engine, around which the weights that belong to no layer are gathered."""


class Sharded:
    """The weights of a model, and of heads beside it, that are sharded from now on.

    Attributes:
        parameters: each root's shares by name; the modules themselves hold whole weights while a pass goes on.
        sent: bytes that this process sent on, by what they were of: each of N - 1 others gets its share once.
    """

    def __init__(self, mesh: DeviceMesh, sent: Counter[str]) -> None:
        self.mesh, self.sent = mesh, sent
        self._roots: list[Any] = []
        self._layers: list[Any] = []
        self._within = self._is_whole = False
        self._held: Mapping[str, Tensor] | None = None
        self.parameters: dict[nn.Module, dict[str, nn.Parameter]] = {}

    def take(self, root: Any, engine: Engine | None = None) -> None:
        """Shard a module in place, a layer at a time where an engine goes through it."""
        for layer in [] if engine is None else blocks_of(engine.model):
            self._group(layer)
            self._layers.append(layer)
            if hasattr(engine, "through"):
                self._around_layer(layer, engine)
        self._group(root)
        self._roots.append(root)
        self.parameters[root] = dict(root.named_parameters())
        root.gone_into = lambda call: call()
        register_fsdp_forward_method(root, "gone_into")
        with torch.no_grad():
            root.gone_into(lambda: None)  # from its first pass on it is known to be a root
        self.rest()
        if engine is not None and engine.model is root:
            for name in ENTRANCES:
                setattr(engine, name, self._entered(root, getattr(engine, name)))

    def _group(self, module: Any) -> None:
        fully_shard(module, mesh=self.mesh)
        module.set_gradient_divide_factor(1.0)  # the losses' weights hold the counts of the whole batch
        module.set_force_sum_reduction_for_comms(True)
        module.set_custom_all_gather(_Counted(self.sent, "weights", dist.all_gather_single))
        module.set_custom_reduce_scatter(_Counted(self.sent, "gradients", dist.reduce_scatter_single))

    def _around_layer(self, layer: Any, engine: Any) -> None:
        """The engine calls a layer's inside and not the layer, so the gathering is put around its own call."""
        plain = type(engine).through
        layer.gone_through = lambda *given: plain(engine, layer, *given)
        register_fsdp_forward_method(layer, "gone_through")
        engine.through = lambda module, *given: (
            plain(engine, module, *given) if self._is_whole else module.gone_through(*given)
        )

    def _entered(self, root: Any, way: Callable[..., Any]) -> Callable[..., Any]:
        def entered(*given: Any, **named: Any) -> Any:
            if self._within or self._is_whole:
                return way(*given, **named)
            self._within = True
            try:
                return root.gone_into(lambda: way(*given, **named))
            finally:
                self._within = False

        return entered

    def rest(self) -> None:
        """Give back what a pass gathered: after one without gradients nothing else does."""
        for root in self._roots:
            root.reset_iter_state()

    @contextmanager
    def passing(self, held: Mapping[str, Tensor] | None) -> Iterator[None]:
        """The conditions of a pass: with these shares in place of the model's own, where some are given."""
        if self._is_whole or (held is self._held and held is not None):
            yield
            return
        if held is not None:
            self.rest()
            self._exchange(held)
        self._held = held
        try:
            yield
        finally:
            if held is not None or not torch.is_grad_enabled():
                self.rest()
            if held is not None:
                self._exchange(held)
            self._held = None

    @torch.no_grad()
    def _exchange(self, held: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters[self._roots[0]].items():
            here, there = local(parameter), local(held[name])
            kept = here.clone()
            here.copy_(there)
            there.copy_(kept)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """While inside, the process holds all weights of the model, and no pass asks another process for any."""
        model = self._roots[0]
        model.set_reshard_after_forward(False)
        for module in (model, *self._of(model)):
            module.unshard()
        self._is_whole = True
        try:
            yield
        finally:
            self._is_whole = False
            model.set_reshard_after_forward(True)
            model.set_reshard_after_forward(False, recurse=False)
            self.rest()

    def _of(self, root: nn.Module) -> list[Any]:
        inside = set(root.modules())
        return [layer for layer in self._layers if layer in inside]

    def copied(self) -> dict[str, Tensor]:
        """The model's shares as they are now: what a frozen copy holds."""
        return {name: one.detach().clone() for name, one in self.parameters[self._roots[0]].items()}


class _Counted:
    """A collective call of FSDP2, whose bytes are counted."""

    def __init__(self, sent: Counter[str], what: str, call: Callable[..., Any]) -> None:
        self.sent, self.what, self.call = sent, what, call

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: Any, **how: Any) -> Any:
        share = min(output_tensor.numel(), input_tensor.numel()) * input_tensor.element_size()
        self.sent[self.what] += share * (group.size() - 1)
        return self.call(output_tensor, input_tensor, group=group, **how)


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: its share, or all of one that is not sharded."""
    return tensor.detach().to_local() if isinstance(tensor, DTensor) else tensor.detach()


def share_of(whole: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as `like` is: sharded where that is, without a call to another process."""
    if not isinstance(like, DTensor) or isinstance(whole, DTensor):
        return whole
    chunks = torch.chunk(whole.to(like.device), like.device_mesh.size(), 0)
    rank = like.device_mesh.get_local_rank()
    mine = chunks[rank].clone() if rank < len(chunks) else whole.new_empty((0, *whole.shape[1:]))
    return DTensor.from_local(
        mine, like.device_mesh, like.placements, run_check=False, shape=whole.shape, stride=whole.stride()
    )
