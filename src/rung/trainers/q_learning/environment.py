"""Replay collector: steps of an environment go into a replay, with updates between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.errors import CheckpointError
from rung.faults import fault_point
from rung.methods.parts.protocols import fact
from rung.methods.value_learning import ValueLearning
from rung.models.small.q_network import QNetwork, QShape, boltzmann, epsilon_greedy
from rung.random import Blocks, episode_seed
from rung.rollouts.environments.classic import ClassicRows
from rung.rollouts.environments.rows import open_rows, open_rows_to_learn, replay, require_finite
from rung.rollouts.replay import Frame, Replay
from rung.settings import Settings
from rung.tasks.environment import EnvironmentTask
from rung.trainers.environment_rollouts import EnvironmentRollouts
from rung.trainers.q_learning.learner import ValueLearner, held_out_value
from rung.trainers.trainer import Collected, Metrics, Phase

Array = npt.NDArray[Any]

AT_ONCE = 32
"""Steps that one call takes at most."""
HELD_OUT, APART = 500, 4
"""States on which max Q is followed, and steps of the random policy between two of them."""


class ReplayCollector(EnvironmentRollouts[None]):
    """Steps `settings.num_environments` environments; every `steps_between_updates` steps the learner makes its
    updates.

    Resets are keyed by (seed, row, episode), drawn actions by (seed, step). What is saved are the replay and the
    actions of the episodes in progress, which are taken again on resume.
    """

    def __init__(
        self,
        settings: Settings,
        method: ValueLearning,
        task: EnvironmentTask,
        network: QNetwork,
        learner: ValueLearner,
    ) -> None:
        super().__init__(settings, task, network)
        self.method, self.network, self.learner = method, network, learner
        count = settings.num_environments
        self._rows = open_rows_to_learn(task, count, seed=settings.seed, purpose="train")
        image = len(network.shape.observation) == 3
        self.replay = Replay(
            rows=count,
            capacity=method.replay.capacity,
            frame=Frame(
                shape=network.shape.observation[1:] if image else network.shape.observation,
                dtype=np.dtype("uint8" if image else "float32"),
                stack=network.shape.observation[0] if image else 1,
            ),
            prioritised=fact(method.replay, "weighted", False),
        )
        self._draws = Blocks(settings.seed, "train/actions", (count,))
        self._episodes_B, self._returns_B = np.full(count, -1), np.zeros(count)
        self._actions: list[list[int]] = [[] for _ in range(count)]
        """Of each row's episode in progress: what replays it."""
        self._ended: list[tuple[float, int]] = []
        """Return and length of the episodes that ended since the last row of metrics."""
        self._held_out_N: Array | None = None

    def collect(self, step: int, phase: Phase) -> Collected:
        """The next `method.horizon` steps, with the updates that belong between them."""
        if self._episodes_B[0] < 0:
            for row in range(len(self._rows)):
                self._begin(row)
        before = self.steps
        end = before + self.method.horizon
        computed = isinstance(self._rows, ClassicRows) and self.method.exploration.temperature is None
        computed = computed and self.learner.ahead(0)[0] is not None
        owed = 0
        while computed and self.steps < end:
            with phase("learn"):
                owed = self._explored(end, owed)
        for _ in range(owed // self.method.updates):
            self.learner.learn(self.replay)
        while self.steps < end:
            with phase("sample"):
                updates = self._until_due(end)
            with phase("learn"):
                for _ in range(updates):
                    self.learner.learn(self.replay)
        fault_point("rollout.done")
        return Collected(batch=None, metrics=self._metrics(self.steps - before))

    def _until_due(self, end: int) -> int:
        """Steps until updates are due or `end` is reached; how many rounds are due."""
        count = len(self._rows)
        while self.steps < end:
            self._one_step()
            if rounds := self._due(self.steps - count, self.steps):
                return rounds
        return 0

    def _due(self, before: int, now: int) -> int:
        """Rounds of updates that come due with the step that leads from one count of steps to the other."""
        every = self.method.steps_between_updates
        return now // every - before // every if now >= self.method.replay.starts else 0

    def _explored(self, end: int, owed: int) -> int:
        """Steps and their updates in one call, until an episode is over; the updates that its last step owes."""
        from rung.trainers.q_learning.compiled_update import Ahead, explore

        rows, count, method = self._rows, len(self._rows), self.method
        assert isinstance(rows, ClassicRows)
        begins = range(self.steps, min(end, self.steps + AT_ONCE * count), count)
        updates_T = [method.updates * self._due(begin, begin + count) for begin in begins]
        ahead = Ahead(
            luck_TB=self._draws.span(self.steps // count, len(begins)),
            epsilons_T=np.array([method.exploration.epsilon_at(begin) or 0.0 for begin in begins]),
            updates_T=np.array(updates_T),
            clips=method.clip_rewards,
            actions_TB=np.empty((len(begins), count), np.int64),
        )
        learning, said = self.learner.ahead(owed + sum(updates_T))
        taken, made = explore(rows.world, rows.now, self.replay.held, self._returns_B, ahead, learning, said, owed)
        self.steps += count * taken
        over_B = self.replay.newest_over()
        owing = updates_T[taken - 1] if taken and over_B.any() else 0
        self.learner.made(said, made, owed + sum(updates_T[:taken]) - owing)
        for row, own in enumerate(self._actions):
            own.extend(ahead.actions_TB[:taken, row].tolist())
        self._begin_anew(over_B)
        return owing

    def _one_step(self) -> None:
        """One step of every environment."""
        rows, exploration = self._rows, self.method.exploration
        count = len(rows)
        uniforms_B = self._draws.at(self.steps // count)
        epsilon = exploration.epsilon_at(self.steps) or 0.0
        if exploration.temperature is not None:
            values_BV = self.network.values_of(rows.observations_BO)
            actions_B, _ = boltzmann(values_BV, uniforms_B, exploration.temperature)
        elif epsilon >= 1:  # Q need not be asked
            actions_B = (uniforms_B * self.network.shape.choices).astype(np.int64)
        else:
            actions_B = epsilon_greedy(self.network.values_of(rows.observations_BO), uniforms_B, epsilon)
        rewards_B, ended_B, cut_B = rows.step(actions_B, range(count))
        self._returns_B += rewards_B
        learnt_B = np.sign(rewards_B) if self.method.clip_rewards else rewards_B
        self.replay.add(actions_B, learnt_B, ended_B | self._lost(), cut_B, self._frames())
        self.steps += count
        for row, action in enumerate(actions_B.tolist()):
            self._actions[row].append(action)
        self._begin_anew(ended_B | cut_B)

    def _begin_anew(self, over_B: Array) -> None:
        """The next episode of each row whose episode is over."""
        for row in np.flatnonzero(over_B).tolist():
            self._ended.append((float(self._returns_B[row]), len(self._actions[row])))
            self._begin(row)

    def _lost(self) -> Any:
        """bool [B]: rows that lost a life with their last step, where that is to end what is learnt from."""
        return self._rows.lost_B if self.method.life_loss_ends else False

    def _frames(self) -> Array:
        """[B, ...] each row's newest frame."""
        seen = self._rows.observations_BO
        return seen if self.replay.frame.stack == 1 else seen[:, -1]

    def _begin(self, row: int) -> None:
        self._episodes_B[row] += 1
        self._returns_B[row] = 0.0
        self._actions[row] = []
        self._rows.reset(row, episode_seed(self.settings.seed, "train", row, int(self._episodes_B[row])))
        self.replay.begin(row, self._frames()[row])

    def _metrics(self, taken: int) -> Metrics:
        returns, lengths = [one for one, _ in self._ended], [length for _, length in self._ended]
        self._ended = []
        require_finite("returns of episodes", np.array([*returns, *self._returns_B]), self.task)
        return {
            "reward/mean": float(np.mean(returns)) if returns else None,
            "length/mean": float(np.mean(lengths)) if lengths else None,
            "episodes/generated": float(len(returns)),
            "tokens/generated": float(taken),
            "environment/steps": float(self.steps),
            "exploration/epsilon": self.method.exploration.epsilon_at(self.steps),
            "replay/steps": float(len(self.replay)),
            "value/held_out_max_q": held_out_value(self.network, self.held_out_states()),
        }

    def held_out_states(self) -> Array:
        """[N, ...] the states on which max Q is followed: the same ones in the whole run."""
        if self._held_out_N is None:
            self._held_out_N = random_states(self.task, self.settings.seed, HELD_OUT, APART)
        return self._held_out_N

    def state(self) -> Mapping[str, Any]:
        return {
            "task": self.task.name,
            "steps": self.steps,
            "episodes": self._episodes_B.tolist(),
            "replay": self.replay.state()[0],
        }

    def tensors(self) -> dict[str, Tensor]:
        actions = {f"actions-{row}": torch.tensor(own, dtype=torch.int32) for row, own in enumerate(self._actions)}
        return {**self.replay.state()[1], **actions, "returns": torch.from_numpy(self._returns_B.copy())}

    def pieces(self) -> dict[str, Tensor]:
        """The replay's frames, in pieces that a checkpoint need not write again when they did not change."""
        return self.replay.pieces()

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Goes on from a checkpoint: the episodes in progress are begun again and their actions taken again.

        Raises CheckpointError when that does not arrive where it was.
        """
        self.steps, self._episodes_B = int(state["steps"]), np.array(state["episodes"])
        self._returns_B = tensors["returns"].numpy().copy()
        self._actions = [tensors[f"actions-{row}"].tolist() for row in range(len(self._rows))]
        self.replay.load(state["replay"], tensors)
        for row, episode in enumerate(self._episodes_B.tolist()):
            if episode < 0:
                continue
            seed = episode_seed(self.settings.seed, "train", row, episode)
            total = replay(self._rows, row, seed, np.array(self._actions[row], np.int64), episode=episode)
            same = np.array_equal(self._frames()[row], self.replay.newest_frame(row))
            if not same or total != self._returns_B[row]:
                raise CheckpointError(
                    f"environment {row} of {self.task.name}: taking the saved {len(self._actions[row])} actions again "
                    f"did not lead where they led before (return {total}, saved {self._returns_B[row]}); another "
                    "version of the environment?"
                )

    def close(self) -> None:
        self._rows.close()


def q_shape(task: EnvironmentTask, method: ValueLearning) -> QShape:
    """The network that the method takes for this task."""
    network, exploration = method.network, method.exploration
    assert task.choices is not None, "the settings' contradictions say so"
    return QShape(
        observation=task.frames if task.is_atari else (task.observations,),
        choices=task.choices,
        hidden=(network.units,) if task.is_atari else network.hidden,
        convolutions=network.convolutions if task.is_atari else (),
        duelling=network.duelling,
        epsilon=exploration.evaluation,
        temperature=exploration.temperature,
    )


def random_states(task: EnvironmentTask, seed: int, count: int, apart: int) -> Array:
    """[count, ...] every `apart`-th state of episodes of a random policy, keyed by the seed."""
    rows, draws = open_rows(task, 1), Blocks(seed, "held-out states", (1,))
    found: list[Array] = []
    episode = step = 0
    try:
        rows.reset(0, episode_seed(seed, "held-out states", 0, episode))
        while len(found) < count:
            if step % apart == 0:
                found.append(rows.observations_BO[0].copy())
            actions_1 = (draws.at(step) * (task.choices or 1)).astype(np.int64)
            _, ended_1, cut_1 = rows.step(actions_1, (0,))
            step += 1
            if ended_1[0] or cut_1[0]:
                episode += 1
                rows.reset(0, episode_seed(seed, "held-out states", 0, episode))
    finally:
        rows.close()
    return np.stack(found)
