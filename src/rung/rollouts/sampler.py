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
from rung.errors import NonFiniteError
from rung.models.language.policy import TextPolicy
from rung.random import Stream
from rung.rollouts.endings import Endings
from rung.rollouts.sampling import Drawn, Prompt, check_asked, check_lengths, drawn_episode

MOST_ROWS_CPU, MOST_ROWS_GPU = 256, 1024
"""Beyond these, more rows at once are no faster."""
COMPACT_BELOW = 0.8
"""When no row waits any more, finished ones are dropped when the rest is less than this share: the cache is copied."""
LOOK_EVERY_CPU, LOOK_EVERY_GPU = 1, 16
"""Tokens between two looks at which rows have ended. A look waits for the device; what a row drew after its end is
thrown away."""


@dataclass(frozen=True)
class _Row:
    """One sample to draw."""

    prompt: Prompt
    sample: int


Draw = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(logits [R, V], uniform numbers [R]) -> tokens [R], and the log-probability that each was drawn with."""


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
        check_asked(samples_per_prompt, max_new_tokens, temperature, epsilon)
        chooses: Draw = partial(draw, temperature=temperature)
        if epsilon is not None:
            chooses = partial(draw_epsilon_greedy, epsilon=epsilon)
        greedy = temperature == 0.0 and epsilon is None
        check_lengths(prompts, max_new_tokens, self.policy.context_length)
        endings = Endings(self.policy, stop)
        rows = [_Row(prompt, sample) for prompt in prompts for sample in range(samples_per_prompt)]
        at_once = self.rows_at_once or self._fitting(prompts, max_new_tokens)
        batch = len(rows) if self.policy.engine.refills else at_once
        episodes: list[Episode] = []
        for begin in range(0, len(rows), max(1, batch)):
            some = rows[begin : begin + batch]
            uniforms = None if greedy else partial(_uniforms, stream, some, max_new_tokens)
            drawn = _Drawing(self.policy, some, min(at_once, len(some)), max_new_tokens, uniforms, chooses, endings)
            episodes += [
                drawn_episode(self.policy, row.prompt, row.sample, one, self.version)
                for row, one in zip(some, drawn.all(), strict=True)
            ]
        return episodes

    def _fitting(self, prompts: Sequence[Prompt], max_new_tokens: int) -> int:
        """Rows whose caches and logits take an eighth of the machine's memory. It looks at the whole memory, not at
        what is free now, so that a resumed run goes on with the same batches."""
        places = max((len(p.ids) for p in prompts), default=0) + max_new_tokens
        each = self.policy.bytes_per_row(places)
        most = MOST_ROWS_GPU if self.policy.device.type == "cuda" else MOST_ROWS_CPU
        return max(1, min(most, _memory(self.policy.device) // 8 // each))


def _uniforms(stream: Stream, rows: Sequence[_Row], most: int, which: npt.NDArray[np.int64]) -> Tensor:
    """[A, T] the numbers that decide the tokens of these rows."""
    return torch.from_numpy(np.stack([stream.uniforms(rows[r].prompt.item, rows[r].sample, most) for r in which]))


class _Drawing:
    """Rows that are continued together. Each stands in a slot, and where one has ended the next begins.

    What decides is on the host and known without asking the device: each step adds one token to every slot, a free one
    included, whose tokens nobody reads. The device is waited for in `_look` alone.
    """

    def __init__(
        self,
        policy: TextPolicy,
        rows: Sequence[_Row],
        slots: int,
        most: int,
        uniforms: Callable[[npt.NDArray[np.int64]], Tensor] | None,
        chooses: Draw,
        endings: Endings,
    ) -> None:
        self.policy, self.rows, self.most, self.chooses, self.endings = policy, rows, most, chooses, endings
        self.uniforms, self.device = uniforms, policy.device
        self.look_every = LOOK_EVERY_CPU if self.device.type == "cpu" else LOOK_EVERY_GPU
        self.decoding = policy.start([row.prompt.ids for row in rows], slots=slots, room=most - 1)
        self.waiting = np.argsort(self.decoding.prompt_of, kind="stable")
        self.drawn: dict[int, Drawn] = {}
        self.row_R = np.full(slots, -1)  # which row stands in a slot; -1: none
        self.prompt_R = np.ones(slots, np.int64)  # tokens of its prompt
        self.at_R = np.ones(slots, np.int64)  # tokens drawn
        self.seen_R = np.ones(slots, np.int64)  # tokens that were looked at
        self.tokens_RT = torch.zeros((slots, most), dtype=torch.int64, device=self.device)
        self.log_probs_RT = torch.zeros((slots, most), device=self.device)
        self.uniforms_RT = torch.zeros((slots, most), dtype=torch.float64, device=self.device)

    def all(self) -> list[Drawn]:
        """Every row's tokens."""
        with self.policy.sampling():
            while len(self.waiting) or (self.row_R >= 0).any():
                self._begin(np.flatnonzero(self.row_R < 0)[: len(self.waiting)])
                self._continue()
                self._look()
                self._compact()
        return [self.drawn[r] for r in range(len(self.rows))]

    def _begin(self, slots: npt.NDArray[np.int64]) -> None:
        """The next rows, in these slots: read their prompts and draw their first tokens."""
        if not len(slots):
            return
        rows, self.waiting = self.waiting[: len(slots)], self.waiting[len(slots) :]
        slot_A = torch.from_numpy(slots).to(self.device)
        if self.uniforms is not None:
            self.uniforms_RT[slot_A] = self.uniforms(rows).to(self.device)
        self._draw(self.decoding.fill(slots, rows), slot_A, torch.zeros_like(slot_A))
        self.row_R[slots], self.prompt_R[slots] = rows, [len(self.rows[r].prompt.ids) for r in rows]
        self.at_R[slots], self.seen_R[slots] = 1, 0

    def _continue(self) -> None:
        """A few tokens for every slot, as many as the fullest has room for."""
        steps = min(self.look_every, self.most - int(self.at_R.max()))
        at_R, prompt_R = torch.from_numpy(np.stack([self.at_R, self.prompt_R])).to(self.device)
        slot_R = torch.arange(len(at_R), device=self.device)
        longest = int((self.prompt_R + self.at_R).max())
        for step in range(steps):
            token_R = self.tokens_RT[slot_R, at_R - 1]
            self._draw(self.decoding.feed(token_R, prompt_R + at_R - 1, longest + step), slot_R, at_R)
            at_R = at_R + 1
        self.at_R += steps

    def _draw(self, logits_AV: Tensor, slot_A: Tensor, at_A: Tensor) -> None:
        token_A, log_prob_A = self.chooses(logits_AV, self.uniforms_RT[slot_A, at_A])
        self.tokens_RT[slot_A, at_A], self.log_probs_RT[slot_A, at_A] = token_A, log_prob_A

    def _look(self) -> None:
        """Take out the rows that have ended, and free their slots."""
        tokens_RT, log_probs_RT = self.tokens_RT.cpu().numpy(), self.log_probs_RT.cpu().numpy()
        new_RN = self.seen_R[:, None] + np.arange((self.at_R - self.seen_R).max())
        place_RN = new_RN.clip(max=self.most - 1)
        ends_RN = self.endings.may_end_V[np.take_along_axis(tokens_RT, place_RN, 1)] & (new_RN < self.at_R[:, None])
        length_R, ended_R = self.at_R.copy(), np.zeros(len(self.at_R), bool)
        for r in np.flatnonzero(ends_RN.any(1) & (self.row_R >= 0)):
            length = self.endings.length(tokens_RT[r, : self.at_R[r]], int(self.seen_R[r]))
            if length is not None:
                length_R[r], ended_R[r] = length, True
        bad_RN = ~np.isfinite(np.take_along_axis(log_probs_RT, place_RN, 1)) & (new_RN < length_R[:, None])
        if (bad_R := bad_RN.any(1) & (self.row_R >= 0)).any():
            items = sorted({self.rows[r].prompt.item for r in self.row_R[bad_R]})
            raise NonFiniteError(f"while sampling for items {', '.join(items[:5])}: the model's logits are not finite")
        done_R = ended_R | (self.at_R == self.most)
        for r in np.flatnonzero(done_R & (self.row_R >= 0)):
            here = slice(0, length_R[r])
            self.drawn[int(self.row_R[r])] = Drawn(tokens_RT[r, here].copy(), log_probs_RT[r, here].copy(), ended_R[r])
        self.row_R[done_R] = -1
        self.at_R[done_R] = self.prompt_R[done_R] = 1
        self.seen_R[:] = self.at_R

    def _compact(self) -> None:
        """Drop free slots when nothing waits for them."""
        slots = np.flatnonzero(self.row_R >= 0)
        if len(self.waiting) or not 0 < len(slots) <= COMPACT_BELOW * len(self.row_R):
            return
        self.decoding.keep(slots)
        index_R = torch.from_numpy(slots).to(self.device)
        for name in ("tokens_RT", "log_probs_RT", "uniforms_RT"):
            setattr(self, name, getattr(self, name)[index_R])
        for name in ("row_R", "prompt_R", "at_R", "seen_R"):
            setattr(self, name, getattr(self, name)[slots])


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


BLOCK = 256


def draw(logits_RV: Tensor, uniforms_R: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Tokens by inverse transform sampling, and their log-probabilities under the very distribution they were drawn
    from.

        π = softmax(logits / temperature)        token = min { v : Σ_{w ≤ v} π_w > u }

    First the block of the vocabulary is found where u falls, then the token inside it. Temperature 0
    takes the likeliest token (the first of equals); that distribution has one outcome, whose log-probability is 0.

    Args:
        logits_RV: float32. uniforms_R: float64 in [0, 1).

    Where a row's logits hold NaN or +inf, or are all −inf, the log-probability is NaN and the token any: to raise here
    would make the host wait for the device at each token.

    >>> draw(torch.tensor([[0.0, 0.0]]), torch.tensor([0.7], dtype=torch.float64), 1.0)
    (tensor([1]), tensor([-0.6931]))
    """
    assert uniforms_R.dtype == torch.float64
    peak_R1 = logits_RV.amax(1, keepdim=True)
    if temperature == 0.0:
        return logits_RV.argmax(1), (peak_R1 - peak_R1)[:, 0]  # 0, or NaN
    weights_RV = logits_RV - peak_R1
    if temperature != 1.0:
        weights_RV /= temperature
    tokens_R, total_R = _invert(weights_RV.exp_(), uniforms_R)
    picked_R1 = (logits_RV.gather(1, tokens_R[:, None]) - peak_R1).double() / temperature
    return tokens_R, (picked_R1[:, 0] - total_R.log()).float()


def draw_epsilon_greedy(logits_RV: Tensor, uniforms_R: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """The likeliest token (the first of equals), or, where the uniform number is below ε, the token of the whole
    vocabulary that its place in [0, ε) stands for; and the log-probability ln( ε/V + (1 − ε) [token is likeliest] ).

    Args, and what is not finite, as `draw`'s.

    >>> logits = torch.tensor([[0.0, 3.0, 0.0, 0.0]] * 2)
    >>> draw_epsilon_greedy(logits, torch.tensor([0.19, 0.21], dtype=torch.float64), 0.2)
    (tensor([3, 1]), tensor([-2.9957, -0.1625]))
    """
    assert uniforms_R.dtype == torch.float64
    best_R, zero_R = draw(logits_RV, uniforms_R, 0.0)
    size = logits_RV.shape[1]
    any_R = (uniforms_R / max(epsilon, 1e-300) * size).clamp(max=size - 1).long()
    tokens_R = torch.where(uniforms_R < epsilon, any_R, best_R)
    chances_R = epsilon / size + (1.0 - epsilon) * (tokens_R == best_R).double()
    return tokens_R, chances_R.log().float() + zero_R


def _invert(weights_RV: Tensor, uniforms_R: Tensor) -> tuple[Tensor, Tensor]:
    """The first token whose cumulative weight exceeds u·total, and the total.

    A block's few numbers are summed in float32, as precise as the weights are; what grows long is summed in float64.
    """
    size = weights_RV.shape[1]
    whole = size - size % BLOCK
    sums_RC = weights_RV[:, :whole].unflatten(1, (-1, BLOCK)).sum(2)
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
    return tokens_R.clamp_(max=size - 1), total_R


def _first_above(ends_RC: Tensor, goal_R1: Tensor) -> Tensor:
    """[R, 1] the first entry whose end lies above the goal. Rounding may put the goal at the very end: then the last
    entry of positive weight, so that what has no probability is never drawn."""
    last_R1 = torch.searchsorted(ends_RC, ends_RC[:, -1:].contiguous(), right=False)
    found_R1 = torch.minimum(torch.searchsorted(ends_RC, goal_R1.contiguous(), right=True), last_R1)
    return found_R1.clamp_(max=ends_RC.shape[1] - 1)  # NaN is above nothing
