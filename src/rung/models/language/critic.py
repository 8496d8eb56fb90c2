"""The critic of a language model: V(s) of each text that a token is chosen after."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from rung.models.language.decoder import Decoder, why_not
from rung.models.language.packing import Rows
from rung.models.language.whole_model import WholeModel


class TextCritic(nn.Module):
    """One linear layer on a last hidden state; it begins at 0, so that the first advantages are the returns.

    Attributes:
        network: a copy of the policy's, or None: then the layer stands on the policy's own hidden state.
    """

    def __init__(self, model: nn.Module, *, separate: bool) -> None:
        super().__init__()
        head = model.get_output_embeddings()
        self.network = copy.deepcopy(model) if separate else None
        self.layer = nn.Linear(head.weight.shape[1], 1, device=head.weight.device, dtype=head.weight.dtype)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.engine = None
        if self.network is not None:
            unused = self.network.get_output_embeddings().weight  # but where it is the table of embeddings too
            unused.requires_grad_(unused is self.network.get_input_embeddings().weight)
            self.engine = Decoder(self.network) if why_not(self.network) is None else WholeModel(self.network)

    def forward(self, rows: Rows, hidden_ND: Tensor | None) -> Tensor:
        """V at each wanted token of the rows, [N]; `hidden_ND` are the policy's states there."""
        own_ND = hidden_ND if self.engine is None else self.engine.read(rows)
        assert own_ND is not None
        return self.layer(own_ND.to(self.layer.weight)).sum(1)  # no view, which a sharded module must not give
