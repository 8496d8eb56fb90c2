"""A policy in an environment: what collectors of steps have in common, its score and its film."""

from __future__ import annotations

from pathlib import Path

from rung.models.small.environment_policy import EnvironmentPolicy
from rung.rollouts.environments.atari import AtariGame
from rung.rollouts.environments.evaluation import evaluate
from rung.settings import Settings
from rung.tasks.environment import EnvironmentTask
from rung.trainers.held_out import Scores
from rung.trainers.trainer import B, Collector


class EnvironmentRollouts(Collector[B]):
    """Scores a policy by whole episodes on environments of their own, and films one.

    Attributes:
        steps: environment steps taken so far.
    """

    def __init__(self, settings: Settings, task: EnvironmentTask, policy: EnvironmentPolicy) -> None:
        self.settings, self.task, self.policy = settings, task, policy
        policy.to_environment = task.to_environment
        self.steps = 0

    def evaluate(self) -> Scores:
        """The mean return, of raw rewards."""
        evaluation, seed = self.settings.evaluation, self.settings.seed
        greedy = evaluation.temperature == 0
        return environment_scores(self.task, self.policy, episodes=evaluation.num_items, seed=seed, greedy=greedy)

    def film(self, folder: Path) -> None:
        """One greedy episode."""
        from rung.rollouts.environments.recording import record_episode

        task = self.task
        make = (lambda: AtariGame(task)) if task.is_atari else (lambda: task.make("rgb_array"))
        target, seed = folder / "episode.gif", self.settings.seed
        record_episode(make, self.policy.act, target, value=self.policy.value, seed=seed, most_steps=500)


def environment_scores(
    task: EnvironmentTask, policy: EnvironmentPolicy, *, episodes: int, seed: int, greedy: bool
) -> Scores:
    """Returns as scores: one item an episode, one sample each."""
    found = evaluate(task, policy, episodes=episodes, seed=seed, greedy=greedy)
    return Scores(
        items=tuple(f"episode-{index}" for index in range(episodes)),
        scores_NK=found.returns_N[:, None],
        completions_NK=tuple(("",) for _ in range(episodes)),
    )
