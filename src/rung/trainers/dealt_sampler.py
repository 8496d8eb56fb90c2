"""A sampler over several processes: each draws the answers to its share of the prompts from the same weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from rung.batch import Episode
from rung.random import Stream
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Drawn, Prompt, as_tensors, drawn_episode, from_tensors
from rung.trainers.ranks import Ranks

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy


class DealtSampler:
    """A `Sampler` whose prompts go round the processes. What is drawn for a sample is keyed by seed, step, item and
    sample, so it does not show who drew it."""

    def __init__(self, policy: TextPolicy, ranks: Ranks, *, rows_at_once: int | None) -> None:
        self.policy, self.ranks = policy, ranks
        self.own = InProcessSampler(policy, rows_at_once=rows_at_once)
        self._draw = ranks.shared(self._draw_here, "to draw their answers")

    def deliver(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Note the version. Each process holds its share of the learner's own weights, which are gathered to draw."""
        self.own.version = version

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
        """As `Sampler`."""
        how = {"samples_per_prompt": samples_per_prompt, "max_new_tokens": max_new_tokens, "temperature": temperature}
        return self._draw(list(prompts), {**how, "stream": stream, "stop": list(stop), "epsilon": epsilon})

    def _draw_here(self, prompts: Sequence[Prompt], how: Mapping[str, Any]) -> list[Episode]:
        """The answers to all prompts in the process that leads; the others give it theirs."""
        size, samples = self.ranks.size, int(how["samples_per_prompt"])
        mine = prompts[self.ranks.rank :: size]
        assert self.policy.sharded is not None
        with torch.no_grad(), self.policy.computing(), self.policy.sharded.whole():
            drawn = self.own.sample(mine, **how) if mine else []
        if not self.ranks.leads:
            _give(drawn)
            return []
        found: list[list[Episode]] = [[] for _ in prompts]
        for rank in range(size):
            theirs = prompts[rank::size]
            given = drawn if rank == 0 else self._taken(theirs, samples, rank)
            for number in range(len(theirs)):
                found[rank + number * size] = given[number * samples : (number + 1) * samples]
        return [episode for some in found for episode in some]

    def _taken(self, prompts: Sequence[Prompt], samples: int, rank: int) -> list[Episode]:
        if not prompts:
            return []
        rows = len(prompts) * samples
        given = {"lengths": torch.empty(rows, dtype=torch.int64), "ended": torch.empty(rows, dtype=torch.uint8)}
        for tensor in given.values():
            dist.recv(tensor, rank)
        total = int(given["lengths"].sum())
        drawn = {"tokens": torch.empty(total, dtype=torch.int64), "log_probs": torch.empty(total)}
        for tensor in drawn.values():
            dist.recv(tensor, rank)
        return [
            drawn_episode(self.policy, prompts[n // samples], n % samples, one, self.own.version)
            for n, one in enumerate(from_tensors(given | drawn))
        ]


def _give(drawn: Sequence[Episode]) -> None:
    """To the process that leads: lengths, whether they ended, tokens, log-probs."""
    if not drawn:
        return
    for tensor in as_tensors([Drawn(one.actions, one.log_probs, one.terminated) for one in drawn]).values():
        dist.send(tensor, 0)
