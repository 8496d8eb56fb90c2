"""A causal language model as a policy: the state is a text, an action is a token."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rung.batch import Batch
from rung.errors import DataError, SettingsError
from rung.formulas.preference_losses import summed_log_probs
from rung.models.language.agreement import FED, disagreement
from rung.models.language.critic import TextCritic
from rung.models.language.decoder import Decoder, why_not
from rung.models.language.decoding import BegunTogether, Decoding
from rung.models.language.distributions import Categorical
from rung.models.language.engine import HEADS, LAYERS, number, numbers_of
from rung.models.language.export import save_model, try_writing
from rung.models.language.lora import adapter_off, has_adapter, merged_state
from rung.models.language.packing import Ids, Rows, rows_of
from rung.models.language.text_reader import TextReader, told_by
from rung.models.language.whole_model import Together, WholeModel, running
from rung.models.outputs import Outputs
from rung.models.state import take_over

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from rung.models.language.sharded import Sharded

Whole = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""Tensors by name to whole ones; to none in a process that only helps to gather them."""


class TextPolicy(TextReader):
    """A Hugging Face causal language model with its tokenizer.

    Always in evaluation mode: dropout would make the learner's distribution another one than the sampler's.

    Attributes:
        engine: how the network is computed: `decoder.Decoder` for the Llama family, `whole_model.WholeModel` for
            every other architecture; `engine.name` says which, `engine_reason` why the second was needed.
        compute_dtype: of the matrix products. Weights and log-probabilities are float32.
        notes: what is to be said of the model before it is trained.

    Example:
        policy = load_policy("HuggingFaceTB/SmolLM2-135M-Instruct")
        policy(batch, temperature=0.7).log_probs_BT
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        compute_dtype: torch.dtype = torch.float32,
        adapter_off: bool = False,
    ) -> None:
        super().__init__(tokenizer, **told_by(model))
        self.model = model.eval()
        self.compute_dtype = compute_dtype
        self.engine_reason = why_not(model)
        self.engine = Decoder(model) if self.engine_reason is None else WholeModel(model)
        self._adapter_off = adapter_off
        self.sharded: Sharded | None = None
        self._held: Mapping[str, Tensor] | None = None
        self.critic: TextCritic | None = None
        self.notes: tuple[str, ...] = ()
        self._token_texts: list[str] | None = None

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def reader(self) -> TextPolicy:
        """Itself: whose tokens it reads; a reward model's is the language model below its head."""
        return self

    @property
    def recompute(self) -> bool:
        """Compute each layer's inside again in the backward pass instead of keeping it (less memory, more time)."""
        return self.engine.recompute

    @recompute.setter
    def recompute(self, on: bool) -> None:
        if on and not isinstance(self.engine, Decoder):
            warnings.warn(f"recompute has no effect: {self.engine.name} is used ({self.engine_reason})", stacklevel=2)
        self.engine.recompute = on

    def __call__(
        self, batch: Batch, *, temperature: float = 1.0, with_entropy: bool = False, with_values: bool = False
    ) -> Outputs:
        """Log-probabilities of the batch's actions under softmax(logits / temperature), in nats, differentiable.

        Action i is predicted from the text up to action i − 1 (the prompt's last token for i = 0). Tokens in holes
        are read but get no log-probability; slots after a row's last action are not read at all.

        Raises:
            ValueError: temperature is not above 0; a prompt is empty; a token id (DataError) is not in the vocabulary.
        """
        rows = rows_of(batch.contexts, batch.actions_BT, batch.action_mask_BT)
        self._check_ids(rows.contexts, rows.actions)
        with self.computing():
            log_probs_N, entropy_N, hidden_ND = self.engine.log_probs(
                rows, temperature=temperature, with_entropy=with_entropy
            )
            if with_values:
                assert self.critic is not None, "values were asked of a policy without a critic; see add_critic"
            values_N = self.critic(rows, hidden_ND) if with_values and self.critic is not None else None
        mask_BT = batch.action_mask_BT.to(self.device)
        zero_BT = log_probs_N.new_zeros(mask_BT.shape)

        def placed(x_N: Tensor | None) -> Tensor | None:
            return None if x_N is None else zero_BT.masked_scatter(mask_BT, x_N.to(zero_BT))

        return Outputs(zero_BT.masked_scatter(mask_BT, log_probs_N), placed(entropy_N), placed(values_N))

    def add_critic(self, *, separate: bool) -> None:
        """Give the policy a critic: a layer on its own last hidden state, or a copy of the whole network with one.

        Its weights are among `trainable`, begin with `critic.` and are not part of what `save` writes.
        Raises SettingsError where the architecture does not show its last hidden state.
        """
        if isinstance(self.engine, WholeModel) and not self.engine.plain_head:
            raise SettingsError(
                [
                    f"method.critic: {type(self.model).__name__} does not show the last hidden state that its logits "
                    "are made of; choose a method without a critic, such as grpo, or another model"
                ]
            )
        self.critic = TextCritic(self.model, separate=separate)

    def distribution(self, batch: Batch, *, temperature: float = 1.0, twice: bool = False) -> Categorical:
        """The whole distribution at each of the batch's own actions, N states in row order, differentiable.

        It is N·V numbers: for a few rows, or a small vocabulary. With `twice` its gradient can be differentiated
        again, which the decoder's own kernels cannot: the model's own forward pass is used, with plain attention.
        """
        rows = rows_of(batch.contexts, batch.actions_BT, batch.action_mask_BT)
        self._check_ids(rows.contexts, rows.actions)
        with self.computing():
            if not twice:
                return Categorical(self.engine.distribution(rows, temperature=temperature))
            with sdpa_kernel(SDPBackend.MATH):
                return Categorical(WholeModel(self.model).distribution(rows, temperature=temperature))

    def answer_values(self, batch: Batch) -> Tensor:
        """log π(y|x) of each row's whole answer [B], float64, differentiable: what a loss on preferences reads."""
        return summed_log_probs(self(batch).log_probs_BT, batch.action_mask_BT.to(self.device))

    def values(self, rows: Rows) -> Tensor:
        """Q of every token where the rows' wanted tokens are chosen: the outputs themselves, no softmax taken. [N, V],
        N states in row order, float32, differentiable; for a small vocabulary, as `distribution` is."""
        self._check_ids(rows.contexts, rows.actions)
        with self.computing():
            return self.engine.logits(rows)

    def start(self, prompts: Sequence[Ids], *, slots: int, room: int) -> Decoding | Together:
        """Begin to continue these prompts, one a row and `slots` rows at once; `room` tokens at most will be fed to
        each. For the sampler."""
        self._check_ids(prompts)
        with self.sampling():
            if isinstance(self.engine, Decoder):
                return Decoding(self.engine, prompts, slots, room, self.compute_dtype)
            return Together(self.engine.way[0], prompts, self.device)

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """The conditions under which a decoding is fed: no gradients, this policy's adapter and compute type."""
        with torch.no_grad(), self.computing():
            yield

    @contextmanager
    def computing(self) -> Iterator[None]:
        """The conditions of every pass: this policy's adapter, its type of matrix products."""
        low = self.compute_dtype != torch.float32
        with (
            adapter_off(self.model, self._adapter_off),
            nullcontext() if self.sharded is None else self.sharded.passing(self._held),
            torch.autocast(self.device.type, dtype=self.compute_dtype if low else torch.bfloat16, enabled=low),
        ):
            yield

    def _check_ids(self, *arrays: Sequence[Ids]) -> None:
        size = self.num_embeddings or 0
        for ids in (ids for some in arrays for ids in some if len(ids)):
            if ids.min() < 0 or ids.max() >= size:
                bad = int(ids.min() if ids.min() < 0 else ids.max())
                raise DataError([f"token id {bad}: expected 0 to {size - 1}, the ids this model has embeddings for"])

    def bytes_per_row(self, places: int) -> int:
        """Memory that sampling takes for a row of `places` tokens: keys, values, a few rows of logits, all float32."""
        numbers, (tokens, wide) = numbers_of(self.model), self.model.get_input_embeddings().weight.shape
        queries = number(numbers, *HEADS) or 1
        heads = number(numbers, "num_key_value_heads") or queries
        width = number(numbers, "head_dim") or wide // queries
        return 4 * 2 * number(numbers, *LAYERS) * heads * width * places + 4 * 4 * tokens

    def token_texts(self) -> list[str]:
        """The text of every token by itself, by id, special tokens included."""
        if self._token_texts is None:
            size = self.model.get_input_embeddings().weight.shape[0]
            self._token_texts = self.decode_whole([[i] for i in range(size)])
        return self._token_texts

    def pieces(self, ids: Sequence[int] | npt.NDArray[Any]) -> tuple[str, ...]:
        """Each token's text by itself. A character whose bytes are shared by tokens is a replacement mark in each."""
        texts = self.token_texts()
        return tuple(texts[int(i)] for i in ids)

    def reference(self) -> TextPolicy:
        """The policy as it is at the start, frozen: with LoRA the same base with the adapter off, else a copy."""
        if has_adapter(self.model):
            without = copy.copy(self)
            without._adapter_off, without.critic = True, None
            return without
        return self.copied()

    def copied(self) -> TextPolicy:
        """A frozen copy of the policy as it is now, its adapter included: what a target network is. Of a sharded one it
        is a second set of shares, which lies in the model while the copy is asked."""
        if self.sharded is not None:
            frozen = copy.copy(self)
            frozen._held, frozen.critic = self.sharded.copied(), None
            return frozen
        model = copy.deepcopy(self.model).requires_grad_(False)
        return TextPolicy(model, self.tokenizer, compute_dtype=self.compute_dtype)

    @torch.no_grad()
    def follow(self, other: TextPolicy, share: float) -> None:
        """Move this copy's weights towards those that the other trains by a share of the way; 1: all of it."""
        mine = dict(self.model.named_parameters())
        for name, parameter in other.trainable().items():
            mine[name].copy_(parameter) if share == 1 else mine[name].lerp_(parameter, share)

    def shard(self, mesh: DeviceMesh, sent: Counter[str]) -> None:
        """Keep this process's share of the weights alone, the critic's too; every process of the mesh calls it, and the
        bytes that it sends from now on are counted in `sent`."""
        from rung.models.language.sharded import Sharded

        self.sharded = Sharded(mesh, sent)
        self.sharded.take(self.model, self.engine)
        if self.critic is not None:
            self.sharded.take(self.critic, self.critic.engine)

    def _named(self, module: nn.Module) -> dict[str, nn.Parameter]:
        """A module's parameters; a sharded one's are the shares, also while whole weights stand in their places."""
        return dict(module.named_parameters()) if self.sharded is None else self.sharded.parameters[module]

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained, by name; tied weights once."""
        named = dict(self._named(self.model))
        if self.critic is not None:
            named |= {f"critic.{name}": p for name, p in self._named(self.critic).items()}
        return {name: p for name, p in named.items() if p.requires_grad}

    def weights(self) -> dict[str, Tensor]:
        """Every weight of the model, trained or frozen, by name; tied weights once. Without the critic's."""
        held = self._held or {}
        return {name: held.get(name, p).detach() for name, p in self._named(self.model).items()}

    def state(self) -> dict[str, Tensor]:
        """The trainable tensors themselves, detached: what a checkpoint of the policy must hold."""
        return {name: p.detach() for name, p in self.trainable().items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over the tensors of `state`. CheckpointError when they do not fit; nothing is changed then."""
        take_over(self.trainable(), tensors, "the trained weights of this model")

    def merged(self, whole: Whole = dict) -> dict[str, Tensor]:
        """The state of the ordinary model, adapters merged; `whole` gathers what is sharded, in one process alone."""
        state = self.model.state_dict()
        names = {id(p): name for name, p in self.model.named_parameters()}
        tied = self.model.named_parameters(remove_duplicate=False)
        twins = {name: names[id(p)] for name, p in tied if name in state and name != names[id(p)]}
        state = whole({name: tensor for name, tensor in state.items() if name not in twins})
        state |= {name: state[twin] for name, twin in twins.items() if state}
        gathers = self.sharded is not None and has_adapter(self.model)
        with self.sharded.whole() if gathers and self.sharded is not None else nullcontext():
            return merged_state(self.model, state) if state else {}

    def save(self, folder: str | Path, whole: Whole = dict) -> None:
        """Write an ordinary Hugging Face folder (LoRA merged) that `AutoModelForCausalLM.from_pretrained` loads."""
        state = self.merged(whole)
        if state:
            save_model(self.model, state, Path(folder))
            self.tokenizer.save_pretrained(folder)

    def tried(self) -> Iterator[str]:
        """The end product tried before training, and the sampler held against the learner: sentences for the plan.

        DataError where the model cannot be run, sampled from, written, or read again from what was written.
        """
        yield from self.notes
        with adapter_off(self.model, self._adapter_off):
            if isinstance(self.engine, WholeModel):
                yield from self.engine.way[1]
            elif gap := disagreement(self.engine, self._decoding):
                raise DataError([f"model: rung's decoder samples from other logits than it learns from ({gap})"])
        yield from self._untrained()
        try_writing(self.save)

    def _untrained(self) -> Iterator[str]:
        """Adapters that a text does not pass through. SettingsError where it passes through nothing that is trained."""
        adapters = {name: one for name, one in self.model.named_parameters() if "lora_B" in name}
        wanted = adapters or {"embeddings": self.model.get_input_embeddings().weight}
        if not any(one.requires_grad for one in wanted.values()):
            return
        tokens = np.arange(max(min(32, self.context_length - 1), 1)) % self.model.get_input_embeddings().weight.shape[0]
        text = Rows(contexts=(tokens,), actions=(tokens[:1],), wanted=(np.ones(1, np.bool_),))
        with self.computing(), running(self.model):
            out = self.engine.logits(text).float().log_softmax(-1)[:, 0].sum()
            found = [None] * len(wanted)
            if out.requires_grad:
                found = torch.autograd.grad(out, list(wanted.values()), allow_unused=True)
        idle = [name for name, grad in zip(wanted, found, strict=True) if grad is None]
        if len(idle) == len(wanted):
            raise SettingsError(["lora.targets: a text passes through none of the layers that a LoRA was given to"])
        if idle:
            yield f"lora: {len(idle)} of {len(adapters)} layers are not on a text's way and stay as they are: {idle[0]}"

    def _decoding(self, prompts: Sequence[Ids]) -> BegunTogether:
        assert isinstance(self.engine, Decoder)
        return BegunTogether(Decoding(self.engine, prompts, len(prompts), FED, torch.float32), prompts)
