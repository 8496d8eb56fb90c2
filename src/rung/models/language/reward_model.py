"""A reward model: a language model with one number at an answer's last token in place of the next token's distribution.

It is kept as Hugging Face's sequence classification with one label, so other tools load what rung trains.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rung.batch import Batch
from rung.errors import CheckpointError, DataError, SettingsError
from rung.models.language.export import try_writing, write
from rung.models.language.folder import foreign, is_reward_model, opened
from rung.models.language.load import Compute, compute_type, load_policy, read_model
from rung.models.language.packing import Rows, rows_of
from rung.models.language.policy import TextPolicy, Whole
from rung.models.language.whole_model import WholeModel

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

HEAD = "score.weight"


class RewardModel:
    """r(x, y) = w · hidden state at the answer's end token. Always in evaluation mode, in float32.

    Attributes:
        network: the language model below the head, with its tokenizer; its own output layer is not used.

    Example: `RewardModel(load_policy(spec), seed=0).answer_values(batch)` is one score a row.
    """

    def __init__(self, network: TextPolicy, *, seed: int = 0, head: Tensor | None = None) -> None:
        if isinstance(network.engine, WholeModel) and not network.engine.plain_head:
            raise SettingsError(
                [
                    f"model: {type(network.model).__name__} does not show its last hidden state, which a reward "
                    "model's score is taken from; choose another model"
                ]
            )
        self.network = network
        output = network.model.get_output_embeddings()
        if output.weight is not network.model.get_input_embeddings().weight:
            output.weight.requires_grad_(False)
        self.score = nn.Linear(output.weight.shape[1], 1, bias=False)
        with torch.no_grad():
            self.score.weight.copy_(first_head(output.weight.shape[1], seed) if head is None else head)
        self.score.to(network.device)

    @property
    def reader(self) -> TextPolicy:
        """Whose tokens it reads."""
        return self.network

    def answer_values(self, batch: Batch) -> Tensor:
        """The score of each row's whole answer [B], differentiable: read at its last action, the end token."""
        rows = rows_of(batch.contexts, batch.actions_BT, batch.action_mask_BT)
        after = Rows(  # one more action, so that the state after the last one is read; it is never looked at itself
            contexts=rows.contexts,
            actions=tuple(np.append(ids, 0) for ids in rows.actions),
            wanted=tuple(np.arange(len(ids) + 1) == len(ids) for ids in rows.actions),
        )
        with self.network.computing():
            hidden_BD = self.network.engine.read(after)
        scores_B = self.score(hidden_BD.to(self.score.weight.dtype))[:, 0]
        if self.network.sharded is not None and not torch.is_grad_enabled():
            self.network.sharded.rest()
        return scores_B

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained, by name; the head's is `score.weight`."""
        sharded = self.network.sharded
        head = self.score.weight if sharded is None else sharded.parameters[self.score]["weight"]
        return {**self.network.trainable(), HEAD: head}

    def state(self) -> dict[str, Tensor]:
        """The trainable tensors themselves, detached."""
        return {name: p.detach() for name, p in self.trainable().items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over the tensors of `state`. CheckpointError when they do not fit; nothing is changed then."""
        head = tensors.get(HEAD)
        if head is None or head.shape != self.score.weight.shape:
            raise CheckpointError(f"the reward model's state does not fit: {HEAD} is missing or of another shape")
        self.network.load_state({name: tensor for name, tensor in tensors.items() if name != HEAD})
        with torch.no_grad():
            self.trainable()[HEAD].copy_(head)

    def shard(self, mesh: DeviceMesh, sent: Counter[str]) -> None:
        """As `TextPolicy.shard`."""
        self.network.shard(mesh, sent)
        assert self.network.sharded is not None
        self.network.sharded.take(self.score)

    def save(self, folder: str | Path, whole: Whole = dict) -> None:
        """Writes a Hugging Face folder that `AutoModelForSequenceClassification.from_pretrained` loads, LoRA merged."""
        from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoModelForSequenceClassification

        model = self.network.model
        config = type(model.config).from_dict(model.config.to_dict())
        if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
            raise SettingsError(
                [
                    f"model: transformers has no classifier for {type(model).__name__}, as which a reward model is "
                    "kept; choose another model"
                ]
            )
        config.num_labels, config.pad_token_id = 1, self._pad_id()
        with torch.device("meta"):
            made = AutoModelForSequenceClassification.from_config(config)
        held = self.network.merged(whole) | whole({HEAD: self.state()[HEAD]})
        if not held:
            return
        body = made.state_dict()
        state = {name: tensor for name, tensor in held.items() if name in body}
        write(made, state, Path(folder), reader=AutoModelForSequenceClassification)
        self.network.tokenizer.save_pretrained(folder)

    def tried(self) -> Iterator[str]:
        """The end product tried before training: sentences for the plan. DataError where it cannot be written."""
        yield from self.network.notes
        try_writing(self.save)

    def _pad_id(self) -> int | None:
        """What Hugging Face's classifier takes for padding: it reads the last token that is another. Where a tokenizer
        pads with its end token, that would be the token before the end, so another special token stands in."""
        tokenizer = self.network.tokenizer
        candidates = (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id)
        return next((i for i in candidates if i is not None and i not in self.network.end_ids), None)


def first_head(width: int, seed: int) -> Tensor:
    """[1, D] drawn from N(0, 1/(D+1)) by the seed (Stiennon et al. 2020, arXiv:2009.01325, appendix)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, width, generator=generator) / math.sqrt(width + 1)


def load_reward_model(folder: Path, *, device: str | None = None, compute: Compute | None = None) -> RewardModel:
    """A reward model that `save` wrote, or any sequence classification with one label.

    Raises DataError when there is none there, or it has more than one label or weights that are missing.
    """
    held = opened(folder)
    if not held.is_reward_model:
        raise DataError([f"reward: {folder} holds no reward model (config.json names no ...ForSequenceClassification)"])
    from transformers import AutoModelForSequenceClassification

    classifier, tokenizer = read_model(AutoModelForSequenceClassification, held)
    head = getattr(classifier, "score", None)
    if not isinstance(head, nn.Linear) or head.out_features != 1:
        raise DataError([f"reward: {folder} has no single score: expected a head `score` with one label"])
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with foreign(f"reward: {folder} could not be made ready"):
        network = TextPolicy(_around(classifier).to(place), tokenizer, compute_dtype=compute_type(compute, place))
        return RewardModel(network, head=head.weight.detach())


def _around(classifier: Any) -> Any:
    """A language model with the classifier's body, as `RewardModel` holds it; its output layer is never used."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        model = AutoModelForCausalLM.from_config(classifier.config).float()
    setattr(model, model.base_model_prefix, classifier.base_model)
    model.tie_weights()
    return model


def new_reward_model(spec: str, *, seed: int, **how: Any) -> RewardModel:
    """A reward model over the language model `spec` with a new head; or the one that stands in that folder already."""
    if is_reward_model(Path(spec)):
        if how.get("lora") is not None:
            raise SettingsError(
                [f"lora: {spec} is a reward model already, which is trained as a whole; leave lora out"]
            )
        return load_reward_model(Path(spec), device=how.get("device"), compute=how.get("compute"))
    return RewardModel(load_policy(spec, seed=seed, **how), seed=seed)
