"""Collecting groups of whole episodes: several from one start state, each a row, as methods without a critic need.

Legend: **E** episodes, **T** steps, **O** numbers of an observation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rung.batch import Batch
from rung.errors import SettingsError
from rung.models.small.network import SmallPolicy
from rung.random import Stream, episode_seed
from rung.rollouts.environments.collected import CollectorState, Steps
from rung.rollouts.environments.rows import Array, open_rows, play, require_finite
from rung.rollouts.environments.scaling import Scaling
from rung.rollouts.replay import require_same
from rung.tasks.environment import EnvironmentTask

_FIRST_ROOM = 128
"""Steps that arrays have room for at first; it doubles when an episode is longer."""


class EpisodeCollector:
    """Plays whole episodes on `num_environments` open copies.

    The episodes of a group are reset with one seed, so they share their first observation (and the environment's own
    luck, where it has some); what the policy draws is keyed by (seed, start, sample). No start is met twice.

    Example:
        collector = EpisodeCollector(environment_task("CartPole-v1"), num_environments=8, seed=1)
        collected = collector.collect_episodes(policy, starts=4, samples_per_start=8)
    """

    def __init__(
        self, task: EnvironmentTask, *, num_environments: int = 8, seed: int = 0, purpose: str = "train"
    ) -> None:
        if num_environments < 1:
            raise SettingsError(f"environments: got {num_environments}, expected at least 1")
        task.require_time_limit()
        task.require_gymnasium()
        self.task, self.seed, self.purpose = task, seed, purpose
        self.starts = 0
        """Start states met so far."""
        self._rows = open_rows(task, num_environments)
        self._scaling = Scaling(task)

    def collect_episodes(self, policy: SmallPolicy, starts: int, samples_per_start: int) -> Steps:
        """`starts` · `samples_per_start` episodes, the rows of a group beside each other.

        Rows are right-padded. `discounts_BT` is 0 at a terminated episode's last step; where the time limit cut it
        instead, `cut_BT` and `truncated_B` are True and `bootstrap_BT` is V of the final observation, or 0 without a
        critic.

        Raises NonFiniteError: an environment gave NaN or an infinity.
        """
        problems = [
            f"{name}: got {value}, expected at least 1"
            for name, value in (("starts", starts), ("samples_per_start", samples_per_start))
            if value < 1
        ]
        if problems:
            raise SettingsError(problems)
        met = [start for start in range(self.starts, self.starts + starts) for _ in range(samples_per_start)]
        samples = list(range(samples_per_start)) * starts
        streams = [
            (Stream(self.seed, start, f"{self.purpose}/actions"), sample)
            for start, sample in zip(met, samples, strict=True)
        ]
        sheet = _Sheet(policy, self.task, self._scaling, EpisodeLuck(streams, self.task.dimensions))
        play(
            self._rows,
            [episode_seed(self.seed, f"{self.purpose}/start", 0, start) for start in met],
            sheet.choose,
            sheet.note,
        )
        self.starts += starts
        self._scaling.give(policy)
        require_finite("rewards", sheet.returns_E, self.task)
        require_finite("log-probabilities of actions", sheet.log_probs_ET, self.task)
        require_finite("observations", sheet.observations_ETO, self.task)
        groups_B = torch.arange(starts).repeat_interleave(samples_per_start)
        return sheet.collected(policy, groups_B)

    def state(self) -> CollectorState:
        """For a checkpoint, between two collectings: no episode is in progress then."""
        return CollectorState({**self._identity(), "starts": self.starts}, self._scaling.state())

    def _identity(self) -> dict[str, object]:
        return {"task": self.task.name, "seed": self.seed, "purpose": self.purpose}

    def load_state(self, state: CollectorState) -> None:
        """Go on from `state`. CheckpointError when it is another collector's."""
        require_same("environments are", state.numbers, self._identity())
        self._scaling.load_state(state.tensors)
        self.starts = int(state.numbers["starts"])

    def close(self) -> None:
        """Close the environments."""
        self._rows.close()


class EpisodeLuck:
    """Uniform numbers for many episodes of unknown length; the room doubles when it is used up."""

    def __init__(self, streams: Sequence[tuple[Stream, int]], dimensions: int | None) -> None:
        self._streams, self._shape = streams, () if dimensions is None else (dimensions,)
        self._drawn_ET = self._with_room(_FIRST_ROOM)

    def __len__(self) -> int:
        return len(self._streams)

    def _with_room(self, steps: int) -> Array:
        each = steps * int(np.prod(self._shape, dtype=np.int64))
        drawn = [stream.uniforms("episode", sample, each) for stream, sample in self._streams]
        return np.stack(drawn).reshape(len(drawn), steps, *self._shape)

    def __call__(self, episodes_N: Array, taken_N: Array) -> Array:
        """[N] or [N, A] float64: the numbers that each of these episodes draws its next action with."""
        if taken_N.max() >= self._drawn_ET.shape[1]:
            self._drawn_ET = self._with_room(2 * self._drawn_ET.shape[1])
        return self._drawn_ET[episodes_N, taken_N]


class _Sheet:
    """The arrays of many episodes, filled as they are played."""

    def __init__(self, policy: SmallPolicy, task: EnvironmentTask, scaling: Scaling, luck: EpisodeLuck) -> None:
        self._actor, self._scaling, self._luck = policy.actor(), scaling, luck
        count = len(luck)
        shape = () if task.dimensions is None else (task.dimensions,)
        self.observations_ETO = np.zeros((count, _FIRST_ROOM, task.observations), np.float32)
        self.actions_ET = np.zeros((count, _FIRST_ROOM, *shape), np.int64 if task.choices else np.float32)
        self.log_probs_ET = np.zeros((count, _FIRST_ROOM), np.float32)
        self.rewards_ET = np.zeros((count, _FIRST_ROOM))
        self.finals_EO = np.zeros((count, task.observations), np.float32)
        self.lengths_E = np.zeros(count, np.int64)
        self.returns_E, self._running_E = np.zeros(count), np.zeros(count)
        self.terminated_E = np.zeros(count, bool)

    def choose(self, raw_NO: Array, episodes_N: Array, taken_N: Array) -> Array:
        """Draw the policy's actions, and keep them."""
        if taken_N.max() >= self.rewards_ET.shape[1]:
            for name in ("observations_ETO", "actions_ET", "log_probs_ET", "rewards_ET"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.zeros_like(array)], 1))
        seen_NO = self._scaling.seen(raw_NO)
        actions_N, log_probs_N = self._actor(seen_NO, self._luck(episodes_N, taken_N))
        self.observations_ETO[episodes_N, taken_N] = seen_NO
        self.actions_ET[episodes_N, taken_N] = actions_N
        self.log_probs_ET[episodes_N, taken_N] = log_probs_N
        return actions_N

    def note(
        self, episodes_N: Array, taken_N: Array, rewards_N: Array, ended_N: Array, cut_N: Array, raw_NO: Array
    ) -> None:
        """Keep what the actions led to."""
        running_N = self._running_E[episodes_N]
        self.rewards_ET[episodes_N, taken_N] = self._scaling.scaled(rewards_N, running_N)
        self._running_E[episodes_N] = running_N
        self.returns_E[episodes_N] += rewards_N
        self.lengths_E[episodes_N] += 1
        self.terminated_E[episodes_N] = ended_N
        over_N = ended_N | cut_N
        if over_N.any():
            self.finals_EO[episodes_N[over_N]] = self._scaling.final(raw_NO[over_N])

    def collected(self, policy: SmallPolicy, groups_B: Tensor) -> Steps:
        """The batch: one row an episode, right-padded to the longest."""
        rows, steps = len(self.lengths_E), int(self.lengths_E.max())
        mask_BT = np.arange(steps) < self.lengths_E[:, None]
        last_BT = np.arange(steps) == self.lengths_E[:, None] - 1
        cut_BT = last_BT & ~self.terminated_E[:, None]
        observations_BTO = self.observations_ETO[:, :steps].copy()
        bootstrap_BT, values_BT = np.zeros((rows, steps)), None
        if policy.shape.critic:
            values_N = policy.values(np.concatenate([observations_BTO[mask_BT], self.finals_EO]))
            values_BT = np.zeros((rows, steps), np.float32)
            values_BT[mask_BT] = values_N[:-rows]
            bootstrap_BT = np.where(cut_BT, values_N[-rows:, None], bootstrap_BT)
        batch = Batch(
            contexts=torch.from_numpy(observations_BTO),
            actions_BT=torch.from_numpy(self.actions_ET[:, :steps].copy()),
            action_mask_BT=torch.from_numpy(mask_BT),
            sampler_log_probs_BT=torch.from_numpy(self.log_probs_ET[:, :steps].copy()),
            rewards_BT=torch.from_numpy(self.rewards_ET[:, :steps].copy()),
            discounts_BT=torch.from_numpy(1.0 - (last_BT & self.terminated_E[:, None])),
            cut_BT=torch.from_numpy(cut_BT),
            bootstrap_BT=torch.from_numpy(bootstrap_BT),
            group_ids_B=groups_B,
            scores_B=torch.zeros(rows),
            truncated_B=torch.from_numpy(~self.terminated_E),
            values_BT=None if values_BT is None else torch.from_numpy(values_BT),
        )
        return Steps(
            batch=batch,
            returns_N=self.returns_E.copy(),
            lengths_N=self.lengths_E.copy(),
            environment_steps=int(self.lengths_E.sum()),
        )
