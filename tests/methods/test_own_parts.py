"""Parts are open: a frozen dataclass of one's own fills a slot, trains, is saved, set, read back and explained."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
import torch
from episodes import random_episodes
from hypothesis import given, settings
from hypothesis import strategies as st
from table_policy import TablePolicy
from torch import Tensor

import rung
from rung import parts
from rung.batch import Batch
from rung.errors import SettingsError
from rung.formulas import advantages, policy_losses
from rung.formulas.masked import zeroed
from rung.methods import METHODS
from rung.methods.data import as_data, from_data, with_settings
from rung.methods.dpo import DPO
from rung.methods.dqn import DQN
from rung.methods.explain import Change, card, difference, explain
from rung.methods.grpo import GRPO
from rung.methods.kind import Method
from rung.methods.ppo import PPO
from rung.methods.slots import SHIPPED, members
from rung.models.small.q_network import QNetwork
from rung.tasks.load import load_task
from rung.trainers.assemble import assemble
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.q_learning.environment import ReplayCollector, q_shape
from rung.trainers.q_learning.learner import ValueLearner
from rung.trainers.reading import settings_from
from rung.trainers.trainer import untimed


@dataclass(frozen=True)
class MyNormalized:
    """GroupNormalized, written again. It has no formula of its own."""

    epsilon: Annotated[float, parts.FROM_0] = 1e-6
    needs_group: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Tensor:
        counted_B = batch.counted_B()
        found_B = advantages.group_normalized(batch.returns_B(), batch.group_ids_B, counted_B, self.epsilon, 0)
        return zeroed(found_B[:, None].expand_as(batch.rewards_BT), batch.action_mask_BT)


@dataclass(frozen=True)
class AgainstTheBatch:
    """A new need: each token against the whole rollout's mean log-prob, known before the first update."""

    scale: Annotated[float, parts.ABOVE_0] = 1.0
    formula: ClassVar[str] = "A log π(a) scaled by |mean log π_old|"
    needs_old_log_probs: ClassVar[bool] = True
    seen: ClassVar[list[Tensor]] = []

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        assert batch.old_log_probs_BT is not None and batch.advantages_BT is not None
        self.seen.append(batch.old_log_probs_BT)
        losses_BT = policy_losses.score_function(log_probs_BT, batch.advantages_BT, batch.action_mask_BT)
        return self.scale * losses_BT


@dataclass(frozen=True)
class OnlyTheLikeliest:
    """Another new need: of each update the tokens above its mean log-prob, picked among all of them."""

    uses_ratio: ClassVar[bool] = True
    picked: ClassVar[list[int]] = []

    def chosen(self, batch: Batch, log_probs_BT: Tensor, total: parts.Total, key: tuple[int, ...]) -> Tensor:
        mask_BT = batch.action_mask_BT
        above_BT = mask_BT & (log_probs_BT > log_probs_BT[mask_BT].mean())
        self.picked.append(int(above_BT.sum()))
        return above_BT

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        assert batch.advantages_BT is not None
        return zeroed(-batch.advantages_BT * log_probs_BT, batch.chosen_BT & batch.action_mask_BT)


@dataclass(frozen=True)
class Cooling:
    """An aggregation that adapts itself: its weight halves after every rollout."""

    weight: Annotated[float, parts.ABOVE_0] = 1.0

    def __call__(self, batch: Batch, total: parts.Total) -> Tensor:
        return self.weight * parts.PerToken()(batch, total)

    def measured(self, after: parts.AfterUpdates) -> Mapping[str, float]:
        return {"cooling/weight": self.weight, "cooling/log_prob": float(after.log_probs_BT.sum())}

    def adapted(self, measured: Mapping[str, float]) -> Cooling:
        assert measured["episodes"] > 0
        return Cooling(measured["cooling/weight"] / 2)


MINE = GRPO.changed(name="mine", advantage=MyNormalized())


def weights_after(method, *, tokens: int = 50, seed: int = 0) -> Tensor:
    policy = TablePolicy()
    learner = Learner(policy, method, reference=TablePolicy(seed=1), micro_batch_tokens=tokens)
    learner.update(assemble(random_episodes(groups=6, seed=seed)), 1)
    return torch.cat([parameter.detach().flatten() for parameter in policy.trainable().values()])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), num_epochs=st.integers(1, 2), num_minibatches=st.integers(1, 3))
def test_an_own_advantage_trains_to_the_very_numbers_of_the_shipped_one(
    seed: int, num_epochs: int, num_minibatches: int
) -> None:
    many = {"num_epochs": num_epochs, "num_minibatches": num_minibatches}
    mine, shipped = (weights_after(method.changed(**many), seed=seed) for method in (MINE, GRPO))
    assert torch.equal(mine, shipped)


def test_another_number_of_an_own_advantage_trains_to_other_weights() -> None:
    """Negative control."""
    assert not torch.equal(weights_after(MINE.changed(advantage=MyNormalized(1.0))), weights_after(GRPO))


def test_an_objective_that_wants_the_whole_rollouts_log_probs_first() -> None:
    AgainstTheBatch.seen.clear()
    method = GRPO.changed(name="first", objective=AgainstTheBatch())
    assert method.needs_old_log_probs() and not GRPO.needs_old_log_probs()
    batch, policy = assemble(random_episodes(groups=6)), TablePolicy()
    learner = Learner(policy, method, reference=TablePolicy(seed=1), micro_batch_tokens=30)
    before_BT = learner.log_probs(policy, batch)
    learner.update(batch, 1)
    assert len(AgainstTheBatch.seen) > 1, "several micro-batches"
    counted = torch.cat(AgainstTheBatch.seen).sum()
    torch.testing.assert_close(counted, before_BT.sum(), rtol=1e-6, atol=0)


def test_an_objective_that_picks_tokens_in_every_update() -> None:
    OnlyTheLikeliest.picked.clear()
    method = GRPO.changed(name="likeliest", objective=OnlyTheLikeliest(), num_minibatches=3)
    assert method.chooses_tokens
    whole, cut = weights_after(method, tokens=10_000), weights_after(method, tokens=10)
    torch.testing.assert_close(whole, cut)
    assert len(OnlyTheLikeliest.picked) == 6 and all(OnlyTheLikeliest.picked)


def test_a_part_of_any_slot_may_measure_and_adapt_itself() -> None:
    learner = Learner(TablePolicy(), GRPO.changed(name="c", aggregation=Cooling()), reference=TablePolicy(seed=1))
    first = learner.update(assemble(random_episodes(groups=6)), 1)
    assert first.diagnostics["cooling/weight"] == 1.0 and learner.method.aggregation == Cooling(0.5)


def test_without_facts_the_defaults_are_the_careful_ones() -> None:
    """No gradient is left out, and no samples of an older policy are taken for fresh ones."""
    batch = assemble(random_episodes(groups=6))
    still = batch.changed(advantages_BT=torch.zeros_like(batch.rewards_BT))
    own = GRPO.changed(name="own", objective=AgainstTheBatch(), reference_kl=None)
    assert own.learns_from(still).sum() > 0 == GRPO.changed(name="g", reference_kl=None).learns_from(still).sum()
    (problem,) = own.changed(num_minibatches=2).problems()
    assert "AgainstTheBatch has no ratio" in problem
    assert own.beyond_slopes() == ["objective"] and own.diagnostics(batch, batch.rewards_BT) == {}


def test_an_own_method_is_written_whole_and_read_back() -> None:
    data = json.loads(json.dumps(as_data(MINE)))
    assert data["kind"] == "PolicyGradient" and data["advantage"] == {"part": "MyNormalized", "epsilon": 1e-6}
    assert from_data(data, parts=[MyNormalized, Cooling]) == MINE
    assert MINE.name not in METHODS


def test_own_numbers_are_set_and_own_parts_named() -> None:
    assert with_settings(MINE, {"advantage": {"epsilon": 0.5}}).advantage == MyNormalized(0.5)
    assert with_settings(GRPO, {"advantage": "MyNormalized"}, parts=[MyNormalized]).advantage == MyNormalized()
    with pytest.raises(SettingsError, match=r"method\.advantage\.epsilom: unknown key; did you mean 'epsilon'"):
        with_settings(MINE, {"advantage": {"epsilom": 0.5}})


def test_a_part_that_nobody_handed_in_is_asked_for() -> None:
    with pytest.raises(SettingsError) as caught:
        from_data(as_data(MINE))
    (problem,) = caught.value.problems
    assert problem.startswith("method.advantage: got part 'MyNormalized'")
    assert "resume(folder, parts=[MyNormalized])" in problem and "--parts my.py" in problem


def test_two_parts_of_one_name_are_refused() -> None:
    clash = type("GAE", (MyNormalized,), {})
    twin = dataclass(frozen=True)(type("MyNormalized", (), {}))
    for classes, words in (([clash], "GAE"), ([MyNormalized, twin], "MyNormalized"), ([int], "frozen dataclass")):
        with pytest.raises(SettingsError, match=words):
            from_data(as_data(GRPO), parts=classes)
    assert from_data(as_data(GRPO), parts=[parts.GAE]) == GRPO


def test_own_parts_are_explained_and_compared() -> None:
    assert "MyNormalized(epsilon=1e-06)" in explain(MINE)
    assert "GroupNormalized, written again. It has no formula of its own." in explain(MINE)
    assert MINE.formula().splitlines()[1] == "MyNormalized"
    assert "A log π(a) scaled" in GRPO.changed(name="x", objective=AgainstTheBatch()).formula()
    assert difference(GRPO, MINE) == [Change("advantage", GRPO.advantage, MyNormalized())]
    assert [c.slot for c in difference(MINE, MINE.changed(advantage=MyNormalized(0.5)))] == ["advantage.epsilon"]
    assert card(MINE)["slots"]["advantage"]["part"] == "MyNormalized"


@dataclass(frozen=True)
class Nothing:
    pass


@dataclass(frozen=True)
class WrongCall:
    def __call__(self, batch: Batch) -> Tensor:
        return batch.rewards_BT


@dataclass
class Changeable:
    def __call__(self, batch: Batch) -> Tensor:
        return batch.rewards_BT


@dataclass(frozen=True)
class WithABaseline:
    baseline: parts.Baseline = field(default_factory=Nothing)

    def __call__(self, batch: Batch) -> Tensor:
        return batch.rewards_BT


@pytest.mark.parametrize(
    ("method", "slots", "words"),
    [
        (GRPO, {"advantage": Nothing()}, ["method.advantage: got Nothing, which lacks __call__(batch)", "GroupNormal"]),
        (GRPO, {"objective": WrongCall()}, ["method.objective: got WrongCall, which lacks __call__(batch, log_probs"]),
        (GRPO, {"advantage": Changeable()}, ["got Changeable, which can change: write @dataclass(frozen=True)"]),
        (
            GRPO,
            {"advantage": WithABaseline()},
            ["method.advantage.baseline: got Nothing, which lacks __call__(returns"],
        ),
        (GRPO, {"advantage": parts.GAE}, ["got the class GAE, not a part made from it: write GAE(...)"]),
        (GRPO, {"advantage": "GAE"}, ["method.advantage: got 'GAE', no dataclass"]),
        (GRPO, {"advantage": None}, ["method.advantage: got None"]),
        (GRPO, {"objective": parts.PerToken()}, ["method.objective: got PerToken, a part of another slot"]),
        (GRPO, {"behaviour": Nothing()}, ["method.behaviour: got Nothing", "expected one of FrozenStart"]),
        (PPO, {"optimizer": Nothing(), "critic": Nothing()}, ["method.critic: got", "loss(batch, values_BT)"]),
        (DPO, {"optimizer": parts.NaturalGradient()}, ["method.optimizer: got NaturalGradient, a part of another"]),
        (DPO, {"loss": WrongCall()}, ["method.loss: got WrongCall, which lacks", "reads", "paired"]),
        (DQN, {"replay": Nothing()}, ["method.replay: got Nothing, which lacks batch, capacity, starts"]),
    ],
)
def test_what_does_not_satisfy_a_slot_is_refused_with_what_it_lacks(method, slots, words) -> None:
    with pytest.raises(SettingsError) as caught:
        method.changed(name="wrong", **slots)
    problems = "\n".join(caught.value.problems)
    assert all(word in problems for word in words), problems
    assert len(caught.value.problems) == len(slots)


@pytest.mark.parametrize("protocol", list(parts.PARTS))
def test_every_shipped_part_satisfies_its_slot_and_is_public(protocol) -> None:
    for part in parts.PARTS[protocol]:
        assert getattr(parts, part.__name__) is part
        if getattr(protocol, "_is_protocol", False):
            assert members(protocol) and all(
                name in dir(part) or name in part.__annotations__ for name in members(protocol)
            )


@dataclass(frozen=True, kw_only=True)
class Bandit(Method):
    """A kind of method of one's own."""

    arms: Annotated[int, parts.FROM_1] = 3
    exploration: parts.Exploration = parts.EpsilonGreedy()  # noqa: RUF009  (frozen)

    def formula(self) -> str:
        return f"argmax over {self.arms} arms"


def test_a_kind_of_ones_own_is_one_class() -> None:
    method = Bandit(name="bandit", paper="none", summary="Pull the best arm.", arms=5)
    assert from_data(json.loads(json.dumps(as_data(method))), parts=[Bandit]) == method
    assert (
        with_settings(method, {"arms": 2, "exploration": "Boltzmann"}, parts=[Bandit]).exploration == parts.Boltzmann()
    )
    assert method.changed(arms=0).problems() == ["method.arms: got 0, expected at least 1"]
    assert "argmax over 5 arms" in explain(method) and card(method)["kind"] == "Bandit"
    with pytest.raises(SettingsError, match=r"method\.exploration: got 3"):
        method.changed(exploration=3)


@dataclass(frozen=True)
class EveryThird:
    """An exploration of one's own: a random action in every third step, the best one else."""

    temperature: ClassVar[None] = None
    evaluation: ClassVar[float] = 0.0

    def epsilon_at(self, step: int) -> float:
        return float(step % 3 == 0)


@dataclass(frozen=True)
class ByError:
    """A replay of one's own: drawn by |y − Q|, without weights."""

    capacity: Annotated[int, parts.FROM_1] = 64
    starts: Annotated[int, parts.FROM_1] = 8
    batch: Annotated[int, parts.FROM_1] = 4
    weighted: ClassVar[bool] = True
    asked: ClassVar[list[int]] = []

    def priorities(self, errors_N: Tensor) -> Tensor:
        return errors_N.abs() + 1e-3

    def weights(self, chances_N: Tensor, size: int, update: int) -> Tensor:
        self.asked.append(size)
        return torch.ones_like(chances_N)


@pytest.mark.slow
def test_an_own_exploration_and_an_own_replay_learn_values() -> None:
    ByError.asked.clear()
    method = DQN.changed(name="own-dqn", exploration=EveryThird(), replay=ByError(), horizon=12)
    run = settings_from({"model": "small", "method": "dqn", "task": "CartPole-v1", "num_environments": 1})
    task = load_task("CartPole-v1", seed=0)
    network = QNetwork(q_shape(task, method), seed=0)
    learner = ValueLearner(network, method)
    collector = ReplayCollector(run, method, task, network, learner)
    collected = collector.collect(1, untimed)
    collector.close()
    learned = learner.update(None, 1)
    assert collected.metrics["exploration/epsilon"] == 1.0
    assert learned.metrics()["updates"] == len(ByError.asked) == 5
    assert from_data(as_data(method), parts=[EveryThird, ByError]) == method


def test_nothing_asks_for_the_class_of_a_part() -> None:
    """Slots answer for themselves: neither the methods nor a trainer compares a part with a shipped class."""
    source = Path(rung.__file__).parent
    asked = {
        name
        for path in [*source.glob("methods/**/*.py"), *source.glob("trainers/**/*.py")]
        for line in re.findall(r"isinstance\(.*", path.read_text(encoding="utf-8"))
        for name in re.findall(r"(?<![\w.])\w+", line)  # `torch.optim.Adam` is torch's
    }
    assert "Tensor" in asked and not asked & set(SHIPPED)


def test_the_example_in_the_docs_runs_as_it_stands() -> None:
    lines = (parts.__doc__ or "").split("Complete:\n")[1].split("`MINE` trains")[0]
    names: dict = {"__name__": __name__}
    exec(compile(textwrap.dedent(lines), "example", "exec", dont_inherit=True), names)
    assert not torch.equal(weights_after(names["MINE"]), weights_after(GRPO))
    assert from_data(as_data(names["MINE"]), parts=[names["ShrunkReturn"]]) == names["MINE"]
    assert names["MINE"].changed(advantage=names["ShrunkReturn"](2.0)).problems() == [
        "method.advantage.share: got 2, expected between 0 and 1"
    ]
