"""Collecting stretches: each row of the batch is one environment's next T steps and may hold several episodes.

Legend: **B** environments, **T** steps, **O** numbers of an observation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from rung.batch import Batch
from rung.errors import CheckpointError, SettingsError
from rung.models.small.network import SmallActor, SmallPolicy
from rung.random import Blocks, episode_seed
from rung.rollouts.environments.classic import ClassicRows, Kept, play
from rung.rollouts.environments.collected import CollectorState, Steps
from rung.rollouts.environments.rows import Array, open_rows_to_learn, replay, require_finite
from rung.rollouts.environments.scaling import Scaling
from rung.rollouts.replay import require_same
from rung.tasks.environment import EnvironmentTask


@dataclass(frozen=True)
class Underway:
    """The episode that a row is in. Example: `Underway(episode=3, actions_T=array([1, 0, 0]))`."""

    episode: int
    actions_T: Array
    """Taken in it so far."""


class StretchCollector:
    """Keeps B environments going; `collect_steps` takes each T steps further.

    Resets are keyed by (seed, purpose, row, episode), drawn actions by (seed, step, purpose, row): a row depends on
    no other row (as long as observations and rewards are not scaled by statistics over all of them), and a restored
    collector goes on as one that never stopped.

    Example:
        collector = StretchCollector(environment_task("CartPole-v1"), num_environments=8, seed=1)
        collected = collector.collect_steps(policy, 256)
    """

    def __init__(
        self, task: EnvironmentTask, *, num_environments: int = 8, seed: int = 0, purpose: str = "train"
    ) -> None:
        if num_environments < 1:
            raise SettingsError(f"environments: got {num_environments}, expected at least 1")
        self.task, self.seed, self.purpose = task, seed, purpose
        self.taken = 0
        """Steps of each environment so far; with seed and row they key the actions."""
        self._rows = open_rows_to_learn(task, num_environments, seed=seed, purpose=purpose)
        self._scaling = Scaling(task)
        self._episodes_B = np.full(num_environments, -1)
        self._returns_B = np.zeros(num_environments)
        self._running_B = np.zeros(num_environments)
        self._seen_BO = np.zeros((num_environments, task.observations), np.float32)
        shape = () if task.dimensions is None else (task.dimensions,)
        none = np.zeros((0, *shape), np.int64 if task.choices else np.float32)
        self._actions = [[none] for _ in range(num_environments)]
        """The actions of each row's episode in progress, stretch by stretch, which replay it."""
        self._uniforms = Blocks(seed, f"{purpose}/actions", (num_environments, *shape), by_row=True)

    def collect_steps(self, policy: SmallPolicy, steps: int) -> Steps:
        """The next `steps` steps of every environment.

        `contexts` are the observations [B, T, O] as the policy saw them. `discounts_BT` is 0 where an episode
        terminated; `cut_BT` is True where one was truncated, with V of its own final observation in `bootstrap_BT`,
        and at the last step of a row whose episode goes on, with V of the observation that comes next. Without a
        critic these values are 0 and `values_BT` is None.

        Raises NonFiniteError: an environment gave NaN or an infinity.
        """
        if steps < 1:
            raise SettingsError(f"steps: got {steps}, expected at least 1")
        if self._episodes_B[0] < 0:
            for row in range(len(self._rows)):
                self._begin(row)
            self._seen_BO = self._scaling.seen(self._rows.observations_BO)
        stretch, actor, t = _Stretch(self.task, len(self._rows), steps, self._returns_B), policy.actor(), 0
        uniforms_T = self._uniforms.span(self.taken, steps)
        further = self._played if isinstance(self._rows, ClassicRows) and self._scaling.nothing else self._stepped
        luck_T = actor.luck(uniforms_T).reshape(steps, -1) if further == self._played else uniforms_T
        while t < steps:
            t, over_B = further(stretch, actor, luck_T, t)
            for row in np.flatnonzero(over_B).tolist():
                self._turn(stretch, row, t - 1, terminated=bool(stretch.kept.ended_BT[row, t - 1]))
            self._seen_BO = self._scaling.seen(self._rows.observations_BO)
        self._scaling.give(policy)
        self.taken += steps
        self._remember(stretch)
        for what, values in (
            ("rewards", stretch.kept.rewards_BT),
            ("log-probabilities of actions", stretch.kept.log_probs_BT),
            ("observations", stretch.kept.observations_BTO),
        ):
            require_finite(what, values, self.task)
        return stretch.collected(policy, self._seen_BO)

    def _stepped(self, stretch: _Stretch, actor: SmallActor, uniforms_T: Array, t: int) -> tuple[int, Array]:
        """One step of every row: the number of the next, and whose episode is over."""
        kept = stretch.kept
        kept.observations_BTO[:, t] = self._seen_BO
        actions_B, kept.log_probs_BT[:, t] = actor(self._seen_BO, uniforms_T[t])
        stretch.actions_BT[:, t] = actions_B
        rewards_B, kept.ended_BT[:, t], cut_B = self._rows.step(actions_B, range(len(self._rows)))
        self._returns_B += rewards_B
        kept.rewards_BT[:, t] = self._scaling.scaled(rewards_B, self._running_B)
        return t + 1, kept.ended_BT[:, t] | cut_B

    def _played(self, stretch: _Stretch, actor: SmallActor, luck_TX: Array, t: int) -> tuple[int, Array]:
        """The same of as many steps as there are until an episode is over: one call for all of them."""
        rows = self._rows
        assert isinstance(rows, ClassicRows)
        t = play(rows.world, rows.now, actor.layers, actor.log_std_A, luck_TX, stretch.kept, t)
        return t, stretch.kept.ended_BT[:, t - 1] | (rows.now.taken_B >= rows.world.limit)

    def underway(self) -> list[Underway]:
        """Each row's episode, which the next collecting goes on with; episode 0 and no action before the first."""
        return [
            Underway(max(int(episode), 0), np.concatenate(parts))
            for episode, parts in zip(self._episodes_B, self._actions, strict=True)
        ]

    def seed_of(self, row: int, episode: int) -> int:
        """The seed that resets this episode of the row."""
        return episode_seed(self.seed, self.purpose, row, episode)

    def _begin(self, row: int) -> None:
        self._episodes_B[row] += 1
        self._returns_B[row] = self._running_B[row] = 0.0
        self._rows.reset(row, self.seed_of(row, int(self._episodes_B[row])))

    def _turn(self, stretch: _Stretch, row: int, t: int, *, terminated: bool) -> None:
        """End the row's episode after step t: keep its return, length and final observation, then begin the next."""
        before = sum(map(len, self._actions[row])) if stretch.began_B[row] == 0 else 0
        stretch.lengths.append(int(before + t + 1 - stretch.began_B[row]))
        stretch.returns.append(float(self._returns_B[row]))
        stretch.began_B[row] = t + 1
        if not terminated:
            final_1O = self._scaling.final(self._rows.observations_BO[row : row + 1])
            stretch.finals.append((row, t, final_1O))
        self._begin(row)

    def _remember(self, stretch: _Stretch) -> None:
        for row, began in enumerate(stretch.began_B):
            if began > 0:
                self._actions[row] = []
            self._actions[row].append(stretch.actions_BT[row, began:].copy())

    def state(self) -> CollectorState:
        """For a checkpoint, between two collectings."""
        actions = [one.actions_T for one in self.underway()]
        lengths = [len(actions_T) for actions_T in actions]
        actions_BT = np.zeros((len(lengths), max(lengths), *actions[0].shape[1:]), actions[0].dtype)
        for row, actions_T in enumerate(actions):
            actions_BT[row, : len(actions_T)] = actions_T
        numbers = {**self._identity(), "taken": self.taken, "episodes": self._episodes_B.tolist()}
        arrays = {
            "actions": actions_BT,
            "raw": self._rows.observations_BO,
            "seen": self._seen_BO,
            "returns": self._returns_B,
            "running": self._running_B,
        }
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return CollectorState({**numbers, "lengths": lengths}, {**tensors, **self._scaling.state()})

    def _identity(self) -> dict[str, object]:
        return {
            "task": self.task.name,
            "engine": self.task.engine,
            "num_environments": len(self._rows),
            "seed": self.seed,
            "purpose": self.purpose,
        }

    def load_state(self, state: CollectorState) -> None:
        """Go on from `state`: each environment's episode is begun again with its seed and its actions are replayed.

        Raises CheckpointError: the state is another collector's, or the replay does not arrive at the observation and
        the return that were saved.
        """
        require_same("environments are", state.numbers, self._identity())
        numbers, tensors = state.numbers, state.tensors
        self._scaling.load_state(tensors)
        self.taken = int(numbers["taken"])
        self._episodes_B = np.array(numbers["episodes"])
        self._returns_B, self._running_B = tensors["returns"].numpy().copy(), tensors["running"].numpy().copy()
        self._seen_BO = tensors["seen"].numpy().copy()
        for row, length in enumerate(numbers["lengths"]):
            self._actions[row] = [tensors["actions"][row, :length].numpy().copy()]
            if self._episodes_B[row] >= 0:
                self._replay(row, tensors["raw"][row].numpy())

    def _replay(self, row: int, raw_O: Array) -> None:
        episode = int(self._episodes_B[row])
        seed = self.seed_of(row, episode)
        actions_T = self.underway()[row].actions_T
        total = replay(self._rows, row, seed, actions_T, episode=episode)
        if total != self._returns_B[row] or not np.array_equal(self._rows.observations_BO[row], raw_O):
            raise CheckpointError(
                f"environment '{self.task.name}' is not deterministic: row {row}, reset with seed {seed} and taken "
                f"through the same {len(actions_T)} actions, did not come to the saved observation and "
                "return. Its run cannot be resumed; start a new one, or use an environment that is seeded by reset"
            )

    def close(self) -> None:
        """Close the environments."""
        self._rows.close()


class _Stretch:
    """The arrays of one collecting, filled step by step."""

    def __init__(self, task: EnvironmentTask, rows: int, steps: int, returns_B: Array) -> None:
        choices, size = task.dimensions is None, (rows, steps)
        self.kept = Kept(
            observations_BTO=np.empty((*size, task.observations), np.float32),
            choices_BT=np.empty(size if choices else (0, 0), np.int64),
            vectors_BTA=np.empty((0, 0, 0) if choices else (*size, task.dimensions or 0), np.float32),
            log_probs_BT=np.empty(size, np.float32),
            rewards_BT=np.empty(size),
            ended_BT=np.empty(size, bool),
            returns_B=returns_B,
        )
        self.actions_BT = self.kept.choices_BT if choices else self.kept.vectors_BTA
        self.began_B = np.zeros(rows, np.int64)
        """The step at which the row's episode in progress began; 0: it began before this stretch or with it."""
        self.finals: list[tuple[int, int, Array]] = []
        """(row, step, final observation [1, O] as the policy would see it) of each truncated episode."""
        self.returns: list[float] = []
        self.lengths: list[int] = []

    def collected(self, policy: SmallPolicy, next_BO: Array) -> Steps:
        """The batch, with the critic's values of every state and of what follows each cut."""
        kept = self.kept
        rows, steps = kept.ended_BT.shape
        cut_BT, bootstrap_BT = np.zeros((rows, steps), bool), np.zeros((rows, steps))
        cut_BT[:, -1] = self.began_B < steps  # an episode that goes on
        for row, t, _ in self.finals:
            cut_BT[row, t] = True
        values_BT = None
        if policy.shape.critic:
            flat_NO = kept.observations_BTO.reshape(rows * steps, -1)
            values_N = policy.values(np.concatenate([flat_NO, next_BO, *(final for _, _, final in self.finals)]))
            values_BT = torch.from_numpy(values_N[: rows * steps].reshape(rows, steps))
            bootstrap_BT[:, -1] = np.where(cut_BT[:, -1], values_N[rows * steps :][:rows], 0.0)
            for (row, t, _), value in zip(self.finals, values_N[rows * (steps + 1) :], strict=True):
                bootstrap_BT[row, t] = value
        batch = Batch(
            contexts=torch.from_numpy(kept.observations_BTO),
            actions_BT=torch.from_numpy(self.actions_BT),
            action_mask_BT=torch.ones(rows, steps, dtype=torch.bool),
            sampler_log_probs_BT=torch.from_numpy(kept.log_probs_BT),
            rewards_BT=torch.from_numpy(kept.rewards_BT),
            discounts_BT=torch.from_numpy(1.0 - kept.ended_BT),
            cut_BT=torch.from_numpy(cut_BT),
            bootstrap_BT=torch.from_numpy(bootstrap_BT),
            group_ids_B=torch.arange(rows),
            scores_B=torch.zeros(rows),
            truncated_B=torch.zeros(rows, dtype=torch.bool),
            values_BT=values_BT,
        )
        return Steps(
            batch=batch,
            returns_N=np.array(self.returns),
            lengths_N=np.array(self.lengths, np.int64),
            environment_steps=rows * steps,
        )
