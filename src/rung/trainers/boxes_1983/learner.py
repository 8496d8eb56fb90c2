"""The learner of the methods that learn within a trial: it plays the trial, because each time step is an update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rung.formulas.adaptive_elements import attained
from rung.methods.adaptive_elements import AdaptiveElements
from rung.methods.parts.elements import CriticElement, Lifetimes, SearchElement
from rung.methods.parts.protocols import fact
from rung.models.language.distributions import standard_normals
from rung.random import Stream
from rung.tasks.cart_pole import BOX_COUNT, CartPole1983
from rung.trainers.boxes_1983.policy import BoxPolicy
from rung.trainers.boxes_1983.trials import Loops, loops
from rung.trainers.trainer import Numbers

BLOCK = 4096
"""Time steps whose noise is drawn at once; it does not change what is drawn."""


@dataclass(frozen=True)
class Trial:
    """A trial to be played: all that is random in it."""

    stream: Stream

    def noise(self, deviation: float, first: int, count: int) -> np.ndarray:
        """float64 N(0, deviation²) for the time steps first .. first + count - 1; `first` is a multiple of BLOCK."""
        assert first % BLOCK == 0 and count <= BLOCK, (first, count)
        uniforms = torch.from_numpy(self.stream.uniforms(f"block-{first // BLOCK}", 0, count))
        return (deviation * standard_normals(uniforms)).numpy()


class TrialLearner:
    """Owns the boxes. `update` plays one trial and learns in it, until it fails or the run's time steps are used up."""

    def __init__(self, policy: BoxPolicy, method: AdaptiveElements, task: CartPole1983) -> None:
        self.policy, self.task = policy, task
        self.method: Any = method
        self.updates = 0
        """Trials played."""
        self.steps = 0
        """Time steps of all of them."""
        self.balancing = False
        """Whether the last trial that was played here ended with its time, not with a failure."""
        self.life = self.usage = 0.0
        """BOXES: decayed sums of all trials' lifetimes, and of their number."""

    @property
    def time_left(self) -> int:
        return self.task.most_steps - self.steps

    def over(self) -> str:
        """Why no trial is left to be played, in words; empty while there is time."""
        if self.time_left > 0:
            return ""
        used = f"the run's {self.task.most_steps:,} time steps are used up after {self.updates} trials"
        return f"{used}{', the last one still balancing' if self.balancing else ''}: it ends here"

    def update(self, batch: Trial, step: int, progress: float = 0.0) -> Numbers:
        assert self.time_left > 0, "the run is over"
        method = self.method
        if fact(method.actor, "reads_critic", True):
            taken, failed = self._learnt(method.actor, method.critic, batch)
        else:
            taken, failed = self._lived(method.actor)
        self.updates += 1
        self.steps += taken
        self.balancing = not failed
        return Numbers(
            {
                "reward/mean": -1.0 if failed else 0.0,
                "length/mean": float(taken),
                "length/truncated": float(not failed),
                "episodes/generated": 1.0,
                "tokens/generated": float(taken),
                "environment/steps": float(self.steps),
            }
        )

    def tensors(self) -> dict[str, Tensor]:
        """Time steps so far, and BOXES' two sums."""
        return {
            "steps": torch.tensor(self.steps),
            "lives": torch.tensor([self.life, self.usage], dtype=torch.float64),
        }

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.steps = int(tensors["steps"])
        self.life, self.usage = tensors["lives"].tolist()

    def _learnt(self, actor: SearchElement, critic: CriticElement | None, trial: Trial) -> tuple[int, bool]:
        """Without a critic β and γ are 0: predictions stay 0 and r̂ is r."""
        run = loops()
        tables = tuple(run.array(self.policy.tables[name].numpy()) for name in ("push", "prediction"))
        traces = (run.array(np.zeros(BOX_COUNT)), run.array(np.zeros(BOX_COUNT)))
        state, entered = run.array(np.zeros(4)), run.array(np.zeros(BOX_COUNT, np.int64))
        beta, discount, decay = (critic.step_size, critic.gamma, critic.decay) if critic else (0.0, 0.0, 0.0)
        rates, decays = (actor.step_size, beta), (actor.decay, decay)
        taken, count, failed = 0, 0, False
        while not failed and taken < self.time_left:
            noise = run.array(trial.noise(actor.noise, taken, min(BLOCK, self.time_left - taken)))
            more, failed, count = run.elements(
                state, tables, traces, entered, count, noise, rates, decays, discount, self.task.friction
            )
            taken += more
        for name, table in zip(("push", "prediction"), tables, strict=True):
            self.policy.tables[name].copy_(torch.as_tensor(table, dtype=torch.float64))
        return taken, failed

    def _lived(self, actor: Lifetimes) -> tuple[int, bool]:
        run = loops()
        entries, times = run.array(np.zeros(BOX_COUNT)), run.array(np.zeros(BOX_COUNT))
        push = run.array(self.policy.push.numpy())
        taken, failed = run.boxes(push, entries, times, self.time_left, self.task.friction)
        if failed:
            self._remember(actor, taken, np.asarray(entries), np.asarray(times))
        return taken, failed

    def _remember(self, actor: Lifetimes, end: int, entries: np.ndarray, times: np.ndarray) -> None:
        """At a failure: every box that was entered adds its lifetimes to the side it had chosen, and chooses anew."""
        self.life = actor.decay * self.life + end
        self.usage = actor.decay * self.usage + 1.0
        target = actor.base + actor.multiple * self.life / self.usage
        tables = self.policy.tables
        for box in np.flatnonzero(entries).tolist():
            for name in actor.tables:
                tables[name][box] *= actor.decay
            side = "right" if tables["push"][box] >= 0 else "left"
            tables[f"{side}_life"][box] += float(entries[box] * end - times[box])
            tables[f"{side}_usage"][box] += float(entries[box])
            left, right = (
                attained(float(tables[f"{one}_life"][box]), float(tables[f"{one}_usage"][box]), target, actor.weight)
                for one in ("left", "right")
            )
            if left != right:
                tables["push"][box] = 1.0 if right > left else -1.0


def box_policy(method: AdaptiveElements, seed: int) -> BoxPolicy:
    """The boxes as a run begins: all 0, and for BOXES left or right at random in each."""
    policy = BoxPolicy(method.tables(), boxes=BOX_COUNT)
    if fact(method.actor, "reads_critic", True):
        return policy
    uniforms = torch.from_numpy(Stream(seed, 0, "boxes").uniforms("push", 0, BOX_COUNT))
    policy.push.copy_(torch.where(uniforms < 0.5, -1.0, 1.0))
    return policy


def balanced(task: CartPole1983, policy: BoxPolicy, trial: Trial, deviation: float, most: int) -> int:
    """Time steps that the pole stays up with nothing learnt, at most `most`."""
    run: Loops = loops()
    state, push = run.array(np.zeros(4)), run.array(policy.push.numpy())
    taken, failed = 0, False
    while not failed and taken < most:
        noise = run.array(trial.noise(deviation, taken, min(BLOCK, most - taken)))
        more, failed = run.balance(state, push, noise, task.friction)
        taken += more
    return taken
