"""Collector of the cart-pole of 1983: a trial to play, a score without learning, a film."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rung.faults import fault_point
from rung.methods import AdaptiveElements
from rung.methods.parts.protocols import fact
from rung.random import Stream
from rung.settings import Settings
from rung.tasks.cart_pole import CartPole1983, box_of
from rung.trainers.boxes_1983.learner import Trial, TrialLearner, balanced
from rung.trainers.boxes_1983.policy import BoxPolicy
from rung.trainers.boxes_1983.trials import loops
from rung.trainers.held_out import Scores
from rung.trainers.trainer import Collected, Collector, Phase

LONGEST_SCORED = 10_000
"""A scored trial ends after so many time steps, 200 seconds of the cart's own time."""
FILMED = 500
SLOW = (
    "numba is not installed: the same loop runs in Python, to the same last bit, but a run takes a minute and not a "
    "second; to speed it up: pip install 'rung[classic]'"
)


class TrialCollector(Collector[Trial]):
    """Hands the learner its trials. A trial is played while it is learnt from, so there is nothing to collect before,
    and no state but the boxes'."""

    def __init__(self, settings: Settings, method: AdaptiveElements, learner: TrialLearner) -> None:
        self.settings, self.learner, self.task, self.policy = settings, learner, learner.task, learner.policy
        self.noise = fact(method.actor, "noise", 0.0)
        self._notes = [] if loops().compiled else [SLOW]

    def collect(self, step: int, phase: Phase) -> Collected:
        notes, self._notes = self._notes, []
        fault_point("rollout.done")
        return Collected(batch=Trial(Stream(self.settings.seed, step, "trial")), metrics={}, notes=tuple(notes))

    def evaluate(self) -> Scores:
        """Time steps that the pole stays up from the centre, with nothing learnt on the way."""
        evaluation = self.settings.evaluation
        return trial_scores(
            self.task,
            self.policy,
            trials=evaluation.num_items,
            seed=self.settings.seed,
            greedy=evaluation.temperature == 0,
            noise=self.noise,
        )

    def film(self, folder: Path) -> None:
        from rung.rollouts.environments.recording import record_episode
        from rung.trainers.boxes_1983.picture import PicturedCartPole

        def act(state: tuple[float, float, float, float]) -> int:
            return 1 if float(self.policy.push[box_of(*state)]) >= 0 else -1

        record_episode(lambda: PicturedCartPole(self.task), act, folder / "episode.gif", most_steps=FILMED)


def trial_scores(
    task: CartPole1983, policy: BoxPolicy, *, trials: int, seed: int, greedy: bool, noise: float = 0.01
) -> Scores:
    """How long the pole stays up, as scores: one item a trial. Greedy trials are all alike; else each has its noise."""
    deviation = 0.0 if greedy else noise
    steps = [
        balanced(task, policy, Trial(Stream(seed, trial, "held out")), deviation, LONGEST_SCORED)
        for trial in range(trials)
    ]
    return Scores(
        items=tuple(f"trial-{index}" for index in range(trials)),
        scores_NK=np.array(steps, dtype=np.float64)[:, None],
        completions_NK=tuple(("",) for _ in range(trials)),
    )
