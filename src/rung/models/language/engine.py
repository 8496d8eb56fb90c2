"""Engine: a way through a language model's network, and what is made of the states that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rung.models.language.chunked_log_probs import chunked_log_probs, whole_logits
from rung.models.language.packing import Rows
from rung.models.language.text_reader import context_length

LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads")
"""The names that architectures have for one thing."""


class Engine:
    """`decoder.Decoder` for the Llama family, `whole_model.WholeModel` for every other architecture.

    Attributes:
        plain_head: the logits are the output embedding times the last hidden state, so log-probs go in chunks of the
            vocabulary. Otherwise (soft-capped or scaled logits) they are taken from the model's own logits.
        context_length: tokens of a text, at most.
        refills: when sampling, a row may begin where another has finished; otherwise rows begin together.
        recompute: compute each layer's inside again in the backward pass instead of keeping it.

    Legend: **N** wanted tokens, **D** width, **V** vocabulary.
    """

    name: str
    plain_head = True
    refills = False

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.recompute = False
        self.context_length = context_length(model.config)

    def read(self, rows: Rows) -> Tensor:
        """What the rows' wanted tokens are predicted from: hidden states [N, D], or logits without a plain head."""
        raise NotImplementedError

    def log_probs(
        self, rows: Rows, *, temperature: float, with_entropy: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """log π of the rows' wanted tokens, [N] in row order, their entropies when asked for, and the hidden states
        [N, D] that they were predicted from (None where the model's head is not plain)."""
        if not self.plain_head:
            log_NV = self.distribution(rows, temperature=temperature)
            entropy_N = torch.special.entr(log_NV.exp()).sum(-1) if with_entropy else None
            return log_NV.gather(1, torch.from_numpy(rows.targets).to(log_NV.device)[:, None])[:, 0], entropy_N, None
        head, read_ND = self.model.get_output_embeddings(), self.read(rows)
        log_probs_N, entropy_N = chunked_log_probs(
            read_ND,
            head.weight,
            torch.from_numpy(rows.targets).to(head.weight.device),
            bias_V=head.bias,
            temperature=temperature,
            with_entropy=with_entropy,
        )
        return log_probs_N, entropy_N, read_ND

    def distribution(self, rows: Rows, *, temperature: float) -> Tensor:
        """log π of every token of the vocabulary where the rows' wanted tokens are chosen, [N, V]."""
        return (self.logits(rows) / temperature).log_softmax(-1)

    def logits(self, rows: Rows) -> Tensor:
        """The outputs before any softmax, for every token, where the rows' wanted tokens are chosen, [N, V]."""
        read_ND = self.read(rows)
        if not self.plain_head:
            return read_ND.to(torch.promote_types(read_ND.dtype, torch.float32))
        head = self.model.get_output_embeddings()
        return whole_logits(read_ND, head.weight, head.bias)


def blocks_of(model: Any) -> list[nn.Module]:
    """The layers that the network is a row of: what transformers says must not be taken apart."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in names]


def numbers_of(model: Any) -> dict[str, Any]:
    """The settings of what reads text."""
    return model.config.get_text_config().to_dict()


def number(numbers: Mapping[str, Any], *names: str) -> int:
    """The first of these that is a whole number, or the largest of a list with one a layer; 0 where there is none."""
    for name in names:
        found = numbers.get(name)
        every = found if isinstance(found, list | tuple) and found else [found]
        if all(isinstance(one, int) and not isinstance(one, bool) for one in every):
            return max(every)
    return 0
