"""The learner of Q where Q is a language model's outputs: a state is the prompt and tokens so far, an action a token.

One pass over a completion gives Q at all of its states; the state that follows a token is the next one of the same
row. So a target costs no pass of its own where Q makes its targets itself, and one where an older copy does.

**What follows a completion that was cut at its limit: nothing.** The limit is part of the task and stands in the state
(the tokens so far can be counted), and a cut completion has been judged as it stands, so its reward is all there is.
With V of the cut state added, the same text would be paid for twice (Pardo et al. 2018, arXiv:1712.00378, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rung.formulas.value_targets import n_step
from rung.methods.value_learning import ValueLearning
from rung.models.packing import Rows
from rung.rollouts.streams import Blocks
from rung.rollouts.token_replay import Kept, TokenReplay
from rung.training.faults import reach
from rung.training.optimizer_state import optimizer_state, restore_optimizer
from rung.training.value_learner import COPY, Array, ValueLearned, require_finite_values

if TYPE_CHECKING:
    from rung.models.policy import TextPolicy


@dataclass(frozen=True)
class Due:
    """What a step of the run asks of the learner. Example: `Due(replay, rounds=16)`."""

    replay: TokenReplay
    rounds: int
    """Of `method.updates` updates each; 0 until the replay has what learning begins with."""


class TokenValueLearner:
    """Owns the language model. Which completions are drawn is keyed by (seed, number of the update).

    Args:
        micro_batch_tokens: at most so many tokens go through the model at once; it changes memory, not the gradient.
    """

    def __init__(
        self, policy: TextPolicy, method: ValueLearning, *, seed: int = 0, micro_batch_tokens: int = 1024
    ) -> None:
        self.policy, self.method, self.micro_batch_tokens = policy, method, micro_batch_tokens
        self.updates = 0
        """Updates made so far; the version of the policy."""
        self.copy = None if method.target_network is None else policy.copied()
        self.optimizer = method.step.optimizer(policy.trainable().values())
        self._draws = Blocks(seed, "replay", (method.replay.batch,))

    def update(self, batch: Due, step: int, progress: float = 0.0) -> ValueLearned:
        """The updates that are due. Raises NonFiniteError before a NaN or infinity could reach the weights."""
        each = [self._one_update(batch.replay) for _ in range(batch.rounds * self.method.updates)]
        none = np.zeros(0, np.float32)
        losses, norms, errors, targets = zip(*each, strict=True) if each else ((), (), (none,), (none,))
        return ValueLearned(
            learning_rate=self.method.step.learning_rate,
            losses=losses,
            norms=norms,
            errors_N=np.concatenate(errors),
            targets_N=np.concatenate(targets),
        )

    def _one_update(self, replay: TokenReplay) -> tuple[float, float, Array, Array]:
        """The loss, the gradient's norm, the errors y − Q [N] and the targets y [N]."""
        method = self.method
        drawn = replay.draw(self._draws.at(self.updates), method.replay.batch)
        steps = sum(one.steps for one in drawn)
        self.optimizer.zero_grad(set_to_none=True)
        total, errors, targets = 0.0, list[Tensor](), list[Tensor]()
        for part in micro_batches(drawn, self.micro_batch_tokens):
            loss, errors_N, targets_N = self._loss(part)
            if not method.sum_errors:
                loss = loss * (len(errors_N) / steps)  # a mean over all steps of the minibatch
            loss.backward()
            total += float(loss.detach())
            errors.append(errors_N.cpu())
            targets.append(targets_N.cpu())
        reach("update.backward")
        norm = self._make_step(sum(float(errors_N.sum()) for errors_N in errors))
        copy = method.target_network
        if copy is not None and self.copy is not None and self.updates % copy.updates == 0:
            self.copy.follow(self.policy, copy.share)
        return total, norm, torch.cat(errors).numpy(), torch.cat(targets).numpy()

    def _loss(self, part: Sequence[Kept]) -> tuple[Tensor, Tensor, Tensor]:
        """The loss [], the errors y − Q [N] and the targets y [N] of these completions."""
        rows = rows_of(part)
        values_NV = self.policy.values(rows)
        actions_N = torch.from_numpy(rows.targets).to(values_NV.device)
        targets_N = self._targets(part, rows, values_NV.detach())
        loss, errors_N = self.method.loss(values_NV, actions_N, targets_N, None)
        return loss, errors_N, targets_N

    @torch.no_grad()
    def _targets(self, part: Sequence[Kept], rows: Rows, values_NV: Tensor) -> Tensor:
        """[N] y of every step; `values_NV` is what the trained model says of the same states."""
        target, where = self.method.value_target, values_NV.device
        rewards_NK, discounts_NK = windows(part, target.steps)
        never_NK = torch.zeros(rewards_NK.shape, dtype=torch.bool)
        returns_N, factors_N, steps_N = n_step(rewards_NK, discounts_NK, never_NK, target.discount)
        count = len(steps_N)
        next_N = (torch.arange(count) + steps_N).clamp(max=count - 1).to(where)  # the last one's factor is 0
        judged_NV = values_NV if self.copy is None else self.copy.values(rows)
        chosen_NV = values_NV[next_N] if target.asks_twice else None
        return self.method.targets(returns_N.to(where), factors_N.to(where), chosen_NV, judged_NV[next_N])

    def _make_step(self, errors: float) -> float:
        parameters = list(self.policy.trainable().values())
        bound = self.method.step.max_grad_norm
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, float("inf") if bound is None else bound))
        require_finite_values(errors, norm, self.updates + 1)
        self.optimizer.step()
        self.updates += 1
        reach("update.step")
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """The optimiser's state, and the target network."""
        own = optimizer_state(self.optimizer, self.policy.trainable())
        return {**own, **{f"{COPY}{name}": tensor for name, tensor in self._copied().items()}}

    def _copied(self) -> dict[str, Tensor]:
        """The copy's weights that follow the trained ones, by name."""
        if self.copy is None:
            return {}
        mine = dict(self.copy.model.named_parameters())
        return {name: mine[name].detach() for name in self.policy.trainable()}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Puts back what `tensors` gave."""
        own = {name: tensor for name, tensor in tensors.items() if not name.startswith(COPY)}
        restore_optimizer(self.optimizer, self.policy.trainable(), own)
        for name, tensor in self._copied().items():
            tensor.copy_(tensors[f"{COPY}{name}"])


def rows_of(part: Sequence[Kept]) -> Rows:
    """The completions as the model is asked about them: all of their own tokens."""
    return Rows(
        contexts=tuple(one.context.astype(np.int64) for one in part),
        actions=tuple(one.actions.astype(np.int64) for one in part),
        wanted=tuple(one.own for one in part),
    )


def windows(part: Sequence[Kept], steps: int) -> tuple[Tensor, Tensor]:
    """[N,K] rewards of each own step and of those after it, and discounts: 0 at a completion's last step, else 1.

    What stands behind a last step is that step again, which `n_step` does not read.
    """
    rewards_N = np.concatenate([one.rewards[one.own] for one in part])
    counts_R = np.array([one.steps for one in part])
    last_N = np.repeat(counts_R.cumsum() - 1, counts_R)
    there_NK = np.minimum(np.arange(len(last_N))[:, None] + np.arange(steps), last_N[:, None])
    discounts_NK = (there_NK != last_N[:, None]).astype(np.float32)
    return torch.from_numpy(rewards_N[there_NK]), torch.from_numpy(discounts_NK)


def micro_batches(drawn: Sequence[Kept], tokens: int) -> Iterator[list[Kept]]:
    """The completions in order, cut where prompts and actions would hold more tokens than that; at least one each."""
    part: list[Kept] = []
    held = 0
    for one in drawn:
        needs = len(one.context) + len(one.actions)
        if part and held + needs > tokens:
            yield part
            part, held = [], 0
        part.append(one)
        held += needs
    yield part
