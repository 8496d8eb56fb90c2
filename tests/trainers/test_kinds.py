"""A kind of method from outside, with one class and no edit; and the one match on kinds in the source."""

from __future__ import annotations

import ast
import copy
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import torch
from torch import Tensor

import rung
from rung.errors import SettingsError
from rung.methods import METHODS
from rung.methods.kind import Method
from rung.methods.ranges import ABOVE_0
from rung.models.small.network import SmallPolicy, SmallShape
from rung.trainers.choose import kind_of
from rung.trainers.kind import Kind, Setup
from rung.trainers.policy_gradient.environment import EnvironmentCollector
from rung.trainers.rollout_trainer import RolloutTrainer
from rung.trainers.trainer import Numbers
from rung.trainers.units import Units
from rung.trainers.work import Work

SOURCE = Path(rung.__file__).parent


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomSearch(Method):
    """Keeps a random change of the weights when the rollout after it was better."""

    size: Annotated[float, ABOVE_0] = 0.1
    samples_per_prompt: int = 2

    horizon: ClassVar[None] = None
    keep_group: ClassVar[None] = None

    def formula(self) -> str:
        return "θ ← θ + ε where J(θ + ε) > J(θ)"

    def kind(self) -> Kind:
        return OfRandomSearch()


class OfRandomSearch(Kind):
    environment = True

    def units(self, settings: Any, method: Any) -> Units:
        return Units(episodes=1, new_tokens=0, items=1, lines=("one try",), data={"tries": 1})

    def work(self, method: Any, policy: Any) -> Work:
        return Work(generated=2.0, trained=0.0)

    def build(self, setup: Setup) -> RolloutTrainer[Any]:
        task = setup.task
        shape = SmallShape(
            observations=task.observations, choices=task.choices, dimensions=None, hidden=(8,), critic=False
        )
        policy = SmallPolicy(shape, seed=setup.settings.seed)
        collector = EnvironmentCollector(setup.settings, setup.method, task, policy)
        learner = Search(policy, setup.method)
        return RolloutTrainer(
            setup.settings, policy, collector=collector, learner=learner, work=self.work(setup.method, policy)
        )


class Search:
    def __init__(self, policy: SmallPolicy, method: Any) -> None:
        self.policy, self.method, self.updates = policy, method, 0
        self.best, self.kept = float("-inf"), policy.state()

    def update(self, batch: Any, step: int, progress: float = 0.0) -> Numbers:
        score = float(batch.scores_B.mean())
        if score > self.best:
            self.best, self.kept = score, {name: value.clone() for name, value in self.policy.state().items()}
        draw = torch.Generator().manual_seed(step)
        changed = {
            name: value + self.method.size * torch.randn(value.shape, generator=draw)
            if value.is_floating_point() and "scale" not in name
            else value
            for name, value in self.kept.items()
        }
        self.policy.load_state(changed)
        self.updates += 1
        return Numbers()

    def tensors(self) -> dict[str, Tensor]:
        return {"best": torch.tensor(self.best), **{f"kept:{name}": value for name, value in self.kept.items()}}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        self.best = float(tensors["best"])
        self.kept = {name.removeprefix("kept:"): value for name, value in tensors.items() if name != "best"}


def trainer_of(steps: int) -> Any:
    method = RandomSearch(
        name="random_search", paper="Rastrigin 1963", summary="Tries changes and keeps those that help."
    )
    settings = rung.Settings(
        model="small",
        method="reinforce",
        task="CartPole-v1",
        steps=steps,
        prompts_per_step=2,
        num_environments=2,
        evaluation={"num_items": 2},
    )
    kind = kind_of(method)
    task = kind.load_task(settings)
    return kind.build(Setup(settings=settings, method=method, task=task, handed=None))  # type: ignore[arg-type]


def test_a_kind_from_outside_trains_and_goes_on_from_its_state() -> None:
    whole = trainer_of(6)
    for _ in range(3):
        whole.step()
    state, returns = copy.deepcopy(whole.state()), []
    for _ in range(3):
        returns.append(whole.step().metrics["reward/mean"])
    again = trainer_of(6)
    again.load_state(state)
    assert [again.step().metrics["reward/mean"] for _ in range(3)] == returns
    assert whole.learner.best >= max(returns[:-1])


def test_a_method_of_no_kind_is_refused_in_words() -> None:
    with pytest.raises(SettingsError, match="brings none; give it a function `kind"):
        kind_of(object())  # type: ignore[arg-type]


KINDS = ("PolicyGradient", "ValueLearning", "PreferenceLearning", "AdaptiveElements")


def told_apart(tree: ast.AST) -> Iterator[int]:
    """Lines where kinds of methods are told apart: isinstance on one, or a match case of one."""
    for node in ast.walk(tree):
        asks = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass")
        if asks and any(isinstance(one, ast.Name) and one.id in KINDS for one in ast.walk(node.args[1])):
            yield node.lineno
        if isinstance(node, ast.MatchClass) and getattr(node.cls, "id", "") in KINDS:
            yield node.lineno


def test_kinds_are_told_apart_in_one_match() -> None:
    found = {
        str(path.relative_to(SOURCE)): lines
        for path in SOURCE.rglob("*.py")
        if (lines := list(told_apart(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert set(found) == {"trainers/choose.py"}, found
    tree = ast.parse((SOURCE / "trainers" / "choose.py").read_text(encoding="utf-8"))
    assert sum(isinstance(node, ast.Match) for node in ast.walk(tree)) == 1


def test_an_isinstance_on_a_kind_would_be_seen() -> None:
    """Negative control."""
    assert list(told_apart(ast.parse("isinstance(m, (int, ValueLearning))"))) == [1]
    assert list(told_apart(ast.parse("match m:\n    case PolicyGradient():\n        pass"))) == [2]
    assert list(told_apart(ast.parse("isinstance(m, int)"))) == []


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_has_its_kind(name: str) -> None:
    for environment in (False, True):
        assert isinstance(kind_of(METHODS[name], environment=environment), Kind)
