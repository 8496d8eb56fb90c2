"""Token replay collector and learner: completions go into a replay, and Q of their tokens is learnt from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rung.batch import Episode
from rung.faults import fault_point
from rung.formulas.value_targets import n_step
from rung.methods.value_learning import ValueLearning
from rung.models.language.packing import Rows
from rung.rewards.judge import Judge
from rung.rollouts.sampling import Sampler, prompts_of
from rung.rollouts.token_replay import Kept, TokenReplay
from rung.settings import Settings
from rung.tasks.task import TextTask
from rung.trainers import measure
from rung.trainers.assemble import assemble
from rung.trainers.q_learning.learner import Array, QLearner
from rung.trainers.text_rollouts import TextRollouts
from rung.trainers.trainer import Collected, Metrics, Numbers, Phase

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy

HELD_OUT = 64
"""Held-out prompts on which max Q is followed."""


class TokenReplayCollector(TextRollouts["Due"]):
    """A step of the run is one completion of each of `settings.prompts_per_step` prompts; steps of the method are
    tokens. ε is that of the step's first token, for all of its completions.

    Attributes:
        tokens: tokens generated so far, by which ε falls and updates come due.
    """

    def __init__(
        self,
        settings: Settings,
        method: ValueLearning,
        task: TextTask,
        policy: TextPolicy,
        judge: Judge,
        sampler: Sampler,
    ) -> None:
        super().__init__(settings, task, policy, judge, sampler)
        self.method, self.tokens = method, 0
        vocabulary = policy.model.get_output_embeddings().weight.shape[0]
        self.replay = TokenReplay(capacity=method.replay.capacity, vocabulary=vocabulary)

    def collect(self, step: int, phase: Phase) -> Collected:
        """One step's completions, and how many rounds of updates they make due."""
        exploration = self.method.exploration
        greedy = exploration.temperature is None
        epsilon = exploration.epsilon_at(self.tokens) or 0.0 if greedy else None
        found = self.judged_answers(
            self.sampler,
            step,
            phase,
            temperature=1.0 if exploration.temperature is None else exploration.temperature,
            epsilon=epsilon,
        )
        before = self.tokens
        self.tokens += sum(int(episode.action_mask.sum()) for episode in found)
        self._keep(found)
        metrics = self._metrics(found) | {"exploration/epsilon": epsilon}
        shown = [dataclasses.replace(e, pieces=self.policy.pieces(e.actions)) for e in found]
        return Collected(batch=Due(self.replay, self._rounds(before)), metrics=metrics, episodes=shown)

    def _rounds(self, before: int) -> int:
        """Rounds of updates that came due since so many tokens."""
        every = self.method.steps_between_updates
        return self.tokens // every - before // every if self.tokens >= self.method.replay.starts else 0

    def _keep(self, episodes: Sequence[Episode]) -> None:
        """Into the replay, but for those that could not be judged: nobody knows their reward."""
        batch = assemble(episodes)
        rewards_BT = batch.rewards_BT.sign() if self.method.clip_rewards else batch.rewards_BT
        for row, episode in enumerate(episodes):
            length = len(episode.actions)
            own_T = batch.action_mask_BT[row, :length].numpy()
            self.replay.add(episode.context, episode.actions, own_T, rewards_BT[row, :length].numpy())

    def _metrics(self, episodes: Sequence[Episode]) -> Metrics:
        return {
            **measure.of_rewards(episodes),
            **measure.of_lengths(episodes),
            **measure.of_turns(episodes),
            "replay/steps": float(len(self.replay)),
            "value/held_out_max_q": self._held_out_value(),
        }

    def _held_out_value(self) -> float:
        """The mean over the first held-out prompts of the best first token's Q."""
        items = [self.task.held_out[index] for index in range(min(HELD_OUT, len(self.task.held_out)))]
        prompts = [prompt.ids for prompt in prompts_of(self.policy, items)]
        unread = (np.zeros(1, np.int64),) * len(prompts)
        with torch.no_grad():
            asked = Rows(contexts=tuple(prompts), actions=unread, wanted=(np.ones(1, bool),) * len(prompts))
            return float(self.policy.values(asked).amax(1).double().mean())

    def state(self) -> Mapping[str, Any]:
        return {"drawn": self.drawn, "tokens": self.tokens, "replay": self.replay.state()}

    def tensors(self) -> dict[str, Tensor]:
        return self.replay.tensors()

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.drawn, self.tokens = int(state["drawn"]), int(state["tokens"])
        self.replay.load(state["replay"], tensors)


@dataclass(frozen=True)
class Due:
    """What a step of the run asks of the learner. Example: `Due(replay, rounds=16)`."""

    replay: TokenReplay
    rounds: int
    """Of `method.updates` updates each; 0 until the replay has what learning begins with."""


class TokenValueLearner(QLearner["TextPolicy"]):
    """The learner of a language model.

    Args:
        micro_batch_tokens: at most so many tokens go through the model at once; it changes memory, not the gradient.
    """

    def __init__(
        self, policy: TextPolicy, method: ValueLearning, *, seed: int = 0, micro_batch_tokens: int = 1024
    ) -> None:
        super().__init__(policy, method, copy=policy.copied, parameters=policy.trainable(), seed=seed)
        self.micro_batch_tokens = micro_batch_tokens

    def update(self, batch: Due, step: int, progress: float = 0.0) -> Numbers:
        """The updates that are due. Raises NonFiniteError before a NaN or infinity could reach the weights."""
        each = [self._one_update(batch.replay) for _ in range(batch.rounds * self.method.updates)]
        none = np.zeros(0, np.float32)
        losses, norms, errors, targets = zip(*each, strict=True) if each else ((), (), (none,), (none,))
        return self._learned(losses, norms, np.concatenate(errors), np.concatenate(targets))

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
        fault_point("update.backward")
        norm = self._make_step(sum(float(errors_N.sum()) for errors_N in errors))
        return total, norm, torch.cat(errors).numpy(), torch.cat(targets).numpy()

    def _loss(self, part: Sequence[Kept]) -> tuple[Tensor, Tensor, Tensor]:
        """The loss [], the errors y − Q [N] and the targets y [N] of these completions."""
        rows = rows_of(part)
        values_NV = self.network.values(rows)
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
