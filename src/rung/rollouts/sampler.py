"""The in-process sampler: it draws from the learner's own weights, tokens in and tokens out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.batch import Episode
from rung.errors import DataError, NonFiniteError, SettingsError
from rung.models.language.policy import TextPolicy
from rung.random import Stream
from rung.rollouts.endings import Endings
from rung.rollouts.sampling import Prompt

MOST_ROWS_CPU, MOST_ROWS_GPU = 256, 1024
"""Beyond these, more rows at once are no faster."""
COMPACT_BELOW = 0.8
"""Finished rows are dropped when the rest is less than this share: each time the cache is copied once."""


@dataclass(frozen=True)
class _Row:
    """One sample to draw."""

    prompt: Prompt
    sample: int


Draw = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(logits [R, V], uniform numbers [R]) -> tokens [R], and the log-probability that each was drawn with."""


@dataclass(frozen=True)
class _Drawn:
    """One row's tokens, their log-probabilities, and whether the last token ended it."""

    tokens: npt.NDArray[np.int64]
    log_probs: npt.NDArray[np.float32]
    ended: bool


class InProcessSampler:
    """A `Sampler` that draws from the learner's own weights, in this process.

    Args:
        rows_at_once: rows that are continued together; None: as many as fit a share of the free memory, at most 256.
            It changes speed and memory, never what is drawn.

    Example:
        sampler = InProcessSampler(policy)
        prompts = [Prompt("q7", 0, policy.encode("2+3="))]
        sampler.sample(prompts, samples_per_prompt=8, max_new_tokens=6, temperature=1.0, stream=Stream(0, 1, "train"))
    """

    def __init__(self, policy: TextPolicy, *, rows_at_once: int | None = None) -> None:
        if rows_at_once is not None and rows_at_once < 1:
            raise ValueError(f"rows_at_once: got {rows_at_once}, expected at least 1")
        self.policy = policy
        self.rows_at_once = rows_at_once
        self.version = 0

    def deliver(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Note the version. The weights are the learner's own and need no copy."""
        self.version = version

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        samples_per_prompt: int,
        max_new_tokens: int,
        temperature: float,
        stream: Stream,
        stop: Sequence[str] = (),
        epsilon: float | None = None,
    ) -> list[Episode]:
        """`samples_per_prompt` episodes a prompt, ordered by (prompt, sample). The arguments are those of `Sampler`.

        With `epsilon` each token is the likeliest one, but with that chance any of the vocabulary, each alike; there is
        no temperature then.

        Raises:
            DataError: a prompt is empty or leaves no room for `max_new_tokens` in the context; names the items.
            SettingsError: a setting is out of its range, or a `stop` text is none that the model can write.
            NonFiniteError: the model's logits are not finite.
        """
        _check(samples_per_prompt, max_new_tokens, temperature, epsilon)
        chooses: Draw = partial(draw, temperature=temperature)
        if epsilon is not None:
            chooses = partial(draw_epsilon_greedy, epsilon=epsilon)
        greedy = temperature == 0.0 and epsilon is None
        self._check_lengths(prompts, max_new_tokens)
        endings = Endings(self.policy, stop)
        rows = [_Row(prompt, sample) for prompt in prompts for sample in range(samples_per_prompt)]
        episodes: list[Episode] = []
        at_once = self.rows_at_once or self._fitting(prompts, max_new_tokens)
        for begin in range(0, len(rows), at_once):
            some = rows[begin : begin + at_once]
            uniforms_RT = np.zeros((len(some), max_new_tokens))
            if not greedy:
                uniforms_RT[:] = [stream.uniforms(row.prompt.item, row.sample, max_new_tokens) for row in some]
            drawn = self._generate(some, uniforms_RT, chooses, endings)
            episodes += [self._episode(row, one) for row, one in zip(some, drawn, strict=True)]
        return episodes

    def _generate(
        self, rows: Sequence[_Row], uniforms: npt.NDArray[np.float64], chooses: Draw, endings: Endings
    ) -> list[_Drawn]:
        device, max_new_tokens = self.policy.device, uniforms.shape[1]
        uniforms_RT = torch.from_numpy(uniforms).to(device)
        tokens_RT = torch.zeros((len(rows), max_new_tokens), dtype=torch.int64, device=device)
        log_probs_RT = torch.zeros((len(rows), max_new_tokens), device=device)
        lengths_R = torch.full((len(rows),), max_new_tokens, device=device)
        active_A = torch.arange(len(rows), device=device)  # the rows that are being continued
        going_A = torch.ones(len(rows), dtype=torch.bool, device=device)
        ended_R = torch.zeros(len(rows), dtype=torch.bool, device=device)
        decoding = self.policy.start([row.prompt.ids for row in rows], room=max_new_tokens - 1)
        with self.policy.sampling():
            for t in range(max_new_tokens):
                try:
                    token_A, log_prob_A = chooses(decoding.logits_RV, uniforms_RT[active_A, t])
                except NonFiniteError as error:
                    items = sorted({rows[r].prompt.item for r in active_A.tolist()})
                    raise NonFiniteError(f"while sampling for items {', '.join(items[:5])}: {error}") from error
                tokens_RT[active_A, t], log_probs_RT[active_A, t] = token_A, log_prob_A
                ended_A = going_A & endings.reached(tokens_RT[active_A, max(0, t + 1 - endings.window) : t + 1])
                lengths_R[active_A[ended_A]] = t + 1
                ended_R[active_A[ended_A]] = True
                going_A = going_A & ~ended_A
                left = int(going_A.sum())
                if left == 0 or t + 1 == max_new_tokens:
                    break
                if left <= COMPACT_BELOW * len(going_A):
                    index_A = torch.nonzero(going_A)[:, 0]
                    decoding.keep(index_A)
                    active_A, token_A, going_A = active_A[index_A], token_A[index_A], going_A[index_A]
                decoding.feed(token_A)
        tokens, log_probs, ended = tokens_RT.cpu().numpy(), log_probs_RT.cpu().numpy(), ended_R.tolist()
        return [
            _Drawn(tokens[r, :n].copy(), log_probs[r, :n].copy(), ended[r]) for r, n in enumerate(lengths_R.tolist())
        ]

    def _episode(self, row: _Row, drawn: _Drawn) -> Episode:
        return Episode(
            item=row.prompt.item,
            group=row.prompt.group,
            sample=row.sample,
            context=row.prompt.ids,
            actions=drawn.tokens,
            action_mask=np.ones(len(drawn.tokens), bool),
            log_probs=drawn.log_probs,
            terminated=drawn.ended,
            truncated=not drawn.ended,
            policy_version=self.version,
            text=self.policy.decode(drawn.tokens),
        )

    def _check_lengths(self, prompts: Sequence[Prompt], max_new_tokens: int) -> None:
        room = self.policy.context_length - max_new_tokens
        problems = [f"item '{p.item}': the prompt has no tokens" for p in prompts if len(p.ids) == 0]
        problems += [
            f"item '{p.item}': the prompt has {len(p.ids)} tokens, expected at most {room} "
            f"(context {self.policy.context_length} - max_new_tokens {max_new_tokens}): "
            f"lower max_new_tokens or leave the item out"
            for p in prompts
            if len(p.ids) > room
        ]
        if problems:
            raise DataError(problems)

    def _fitting(self, prompts: Sequence[Prompt], max_new_tokens: int) -> int:
        """Rows whose caches and logits take an eighth of the machine's memory. It looks at the whole memory, not at
        what is free now, so that a resumed run goes on with the same batches."""
        places = max((len(p.ids) for p in prompts), default=0) + max_new_tokens
        each = self.policy.bytes_per_row(places)
        most = MOST_ROWS_GPU if self.policy.device.type == "cuda" else MOST_ROWS_CPU
        return max(1, min(most, _memory(self.policy.device) // 8 // each))


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _check(samples_per_prompt: int, max_new_tokens: int, temperature: float, epsilon: float | None) -> None:
    problems = []
    if samples_per_prompt < 1:
        problems.append(f"samples_per_prompt: got {samples_per_prompt}, expected at least 1")
    if max_new_tokens < 1:
        problems.append(f"max_new_tokens: got {max_new_tokens}, expected at least 1")
    if not 0.0 <= temperature < float("inf"):
        problems.append(f"temperature: got {temperature}, expected a finite number, 0 or above")
    if epsilon is not None and not 0.0 <= epsilon <= 1.0:
        problems.append(f"epsilon: got {epsilon}, expected a number from 0 to 1")
    if problems:
        raise SettingsError(problems)


BLOCK = 256


def draw(logits_RV: Tensor, uniforms_R: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Tokens by inverse transform sampling, and their log-probabilities under the very distribution they were drawn
    from.

        π = softmax(logits / temperature)        token = min { v : Σ_{w ≤ v} π_w > u }

    First the block of the vocabulary is found where u falls, then the token inside it. Temperature 0
    takes the likeliest token (the first of equals); that distribution has one outcome, whose log-probability is 0.

    Args:
        logits_RV: float32. uniforms_R: float64 in [0, 1).

    Raises:
        NonFiniteError: a row's logits hold NaN or +inf, or are all −inf.

    >>> draw(torch.tensor([[0.0, 0.0]]), torch.tensor([0.7], dtype=torch.float64), 1.0)
    (tensor([1]), tensor([-0.6931]))
    """
    assert uniforms_R.dtype == torch.float64
    peak_R1 = logits_RV.amax(1, keepdim=True)
    if not bool(torch.isfinite(peak_R1).all()):
        rows = torch.nonzero(~torch.isfinite(peak_R1[:, 0]))[:, 0].tolist()
        raise NonFiniteError(f"the logits of rows {rows} are not finite (largest: {peak_R1[rows[0]].item()})")
    if temperature == 0.0:
        return logits_RV.argmax(1), logits_RV.new_zeros(len(logits_RV))
    weights_RV = logits_RV - peak_R1
    if temperature != 1.0:
        weights_RV /= temperature
    tokens_R, total_R = _invert(weights_RV.exp_(), uniforms_R)
    picked_R1 = (logits_RV.gather(1, tokens_R[:, None]) - peak_R1).double() / temperature
    return tokens_R, (picked_R1[:, 0] - total_R.log()).float()


def draw_epsilon_greedy(logits_RV: Tensor, uniforms_R: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """The likeliest token (the first of equals), or, where the uniform number is below ε, the token of the whole
    vocabulary that its place in [0, ε) stands for; and the log-probability ln( ε/V + (1 − ε) [token is likeliest] ).

    Args and errors as `draw`'s.

    >>> logits = torch.tensor([[0.0, 3.0, 0.0, 0.0]] * 2)
    >>> draw_epsilon_greedy(logits, torch.tensor([0.19, 0.21], dtype=torch.float64), 0.2)
    (tensor([3, 1]), tensor([-2.9957, -0.1625]))
    """
    assert uniforms_R.dtype == torch.float64
    best_R, _ = draw(logits_RV, uniforms_R, 0.0)
    size = logits_RV.shape[1]
    any_R = (uniforms_R / max(epsilon, 1e-300) * size).clamp(max=size - 1).long()
    tokens_R = torch.where(uniforms_R < epsilon, any_R, best_R)
    chances_R = epsilon / size + (1.0 - epsilon) * (tokens_R == best_R).double()
    return tokens_R, chances_R.log().float()


def _invert(weights_RV: Tensor, uniforms_R: Tensor) -> tuple[Tensor, Tensor]:
    """The first token whose cumulative weight exceeds u·total, and the total.

    A block's few numbers are summed in float32, as precise as the weights are; what grows long is summed in float64.
    """
    size = weights_RV.shape[1]
    whole = size - size % BLOCK
    # Seen with the vocabulary first, because that is how the decoder's logits lie in memory: 20 times faster then.
    sums_RC = weights_RV.t()[:whole].unflatten(0, (-1, BLOCK)).sum(1).t()
    if whole < size:
        sums_RC = torch.cat([sums_RC, weights_RV[:, whole:].sum(1, keepdim=True)], dim=1)
    ends_RC = sums_RC.double().cumsum(1)
    total_R = ends_RC[:, -1]
    goal_R1 = (uniforms_R * total_R)[:, None]
    block_R1 = _first_above(ends_RC, goal_R1)
    before_R1 = torch.where(block_R1 > 0, ends_RC.gather(1, (block_R1 - 1).clamp(min=0)), 0.0)
    ids_RB = block_R1 * BLOCK + torch.arange(BLOCK, device=weights_RV.device)
    inside_RB = weights_RV.gather(1, ids_RB.clamp(max=size - 1)).double().masked_fill_(ids_RB >= size, 0.0)
    tokens_R = block_R1[:, 0] * BLOCK + _first_above(inside_RB.cumsum(1), goal_R1 - before_R1)[:, 0]
    return tokens_R, total_R


def _first_above(ends_RC: Tensor, goal_R1: Tensor) -> Tensor:
    """[R, 1] the first entry whose end lies above the goal. Rounding may put the goal at the very end: then the last
    entry of positive weight, so that what has no probability is never drawn."""
    last_R1 = torch.searchsorted(ends_RC, ends_RC[:, -1:].contiguous(), right=False)
    return torch.minimum(torch.searchsorted(ends_RC, goal_R1.contiguous(), right=True), last_R1)
