"""Kind of the methods that learn the cart-pole of 1983 box by box: what they fit, need and cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rung.methods import AdaptiveElements, Method
from rung.methods.parts.protocols import fact
from rung.models.language.size import ModelShape
from rung.settings import Settings
from rung.tasks.cart_pole import BOX_COUNT, CartPole1983
from rung.tasks.cart_pole import NAME as CART_POLE
from rung.trainers.boxes_1983.collector import TrialCollector
from rung.trainers.boxes_1983.learner import TrialLearner, box_policy
from rung.trainers.fits import no_network, no_pairs
from rung.trainers.kind import Kind, Setup
from rung.trainers.rollout_trainer import RolloutTrainer
from rung.trainers.units import Units
from rung.trainers.work import Work

SEARCHING, PREDICTING = 8.0, 7.0
"""Operations a box and time step of the two elements of 1983: y·x, the trace (4) and the weight (3); without y·x."""
PREDICTED = 3.0
"""Of r̂ = r + γ p(t) − p(t − 1)."""
COUNTING = 2.0
"""Of BOXES, which while the pole stands only notes how often, and when, a box was entered."""


class Boxes(Kind):
    """BOXES, ASE and ASE with ACE: methods that learn within a trial."""

    environment = True

    def recipe(self, method: Method, *, model: str, task: str) -> str | None:
        return "trials" if task == CART_POLE else None

    def problems(self, settings: Settings, method: AdaptiveElements) -> Iterator[str]:
        yield from no_network(settings, f"'{method.name}' has no network; leave it out")
        yield from no_pairs(settings, method.name)
        if settings.task.name != CART_POLE:
            yield (
                f"task.name: got '{settings.task.name}', but '{method.name}' learns in the boxes of {CART_POLE} alone"
            )

    def size(self, settings: Settings, method: AdaptiveElements, task: CartPole1983) -> ModelShape:
        return ModelShape(parameters=BOX_COUNT * len(method.tables()), vocabulary=2)

    def units(self, settings: Settings, method: AdaptiveElements) -> Units:
        return Units(
            episodes=1,
            new_tokens=0,
            items=1,
            lines=("1 trial, until it fails; an update at every time step, or for BOXES at the failure",),
            data={"trials": 1},
        )

    def work(self, method: AdaptiveElements, policy: Any) -> Work:
        return element_work(method, boxes=policy.boxes)

    def build(self, setup: Setup) -> BoxesTrainer:
        settings, method = setup.settings, setup.method
        policy = box_policy(method, settings.seed)
        learner = TrialLearner(policy, method, setup.task)
        collector = TrialCollector(settings, method, learner)
        work = self.work(method, policy)
        return BoxesTrainer(settings, policy, collector=collector, learner=learner, work=work)


class BoxesTrainer(RolloutTrainer[Any]):
    """A trainer whose step is one trial; it is over when the task's time steps are used up."""

    learner: TrialLearner

    def why_over(self) -> str:
        return self.learner.over()


def element_work(method: AdaptiveElements, *, boxes: int) -> Work:
    """Learning within a trial: every time step, every box's trace and weight, as the equations of 1983 have them (our
    loop leaves out boxes whose trace is 0, so this is an upper bound). For BOXES what it does at a failure is left out.

    >>> from rung.methods import METHODS
    >>> element_work(METHODS["ase"], boxes=162).generated
    1297.0
    """
    if not fact(method.actor, "reads_critic", True):
        return Work(generated=COUNTING, trained=0.0)
    acting = 1.0 + SEARCHING * boxes  # the noise is added to the weight of the box
    predicting = 0.0 if method.critic is None else PREDICTED + PREDICTING * boxes
    return Work(generated=acting + predicting, trained=0.0)
