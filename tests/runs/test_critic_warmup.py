"""The critic learns alone at first (value pre-training): the policy and its optimizer's state stay as they are."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from episodes import random_episodes
from run_server import assert_same
from table_policy import TablePolicy

from rung.library import resume, train
from rung.methods import METHODS
from rung.methods.parts.critics import ValueFunction
from rung.methods.parts.objectives import KLPenalty
from rung.methods.parts.optimizers import AdamW
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.ppo import PPO
from rung.methods.trpo import TRPO
from rung.models.language.tiny import tiny_model
from rung.trainers.assemble import assemble
from rung.trainers.choose import kind_for
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.reading import read_run

STEP = AdamW(learning_rate=0.05, weight_decay=0.1)


def method_with(warmup_steps: int, *, separate: bool = True) -> PolicyGradient:
    critic = ValueFunction(separate=separate, warmup_steps=warmup_steps)
    return METHODS["vapo"].changed(name="warm", critic=critic, optimizer=STEP, num_epochs=2, num_minibatches=2)


def bytes_of(policy: TablePolicy) -> tuple[bytes, bytes]:
    """Of the policy's own numbers, and of the critic's."""
    assert policy.values_V is not None
    return policy.table_VV.detach().numpy().tobytes(), policy.values_V.detach().numpy().tobytes()


def test_the_policy_stays_to_the_byte_until_the_critic_has_had_its_steps() -> None:
    batch, policy = assemble(random_episodes(groups=6)), TablePolicy(critic=True)
    learner = Learner(policy, method_with(2))
    for step in (1, 2):
        before = bytes_of(policy)
        found = learner.update(batch, step).metrics()
        after = bytes_of(policy)
        assert after[0] == before[0] and after[1] != before[1]
        assert found["critic/alone"] == 1.0 and found["clip/share"] == 0.0 and found["ratio/capped"] == 0.0
        assert found["loss"] is not None and found["loss"] > 0 and found["grad/norm"] > 0
    before = bytes_of(policy)
    assert learner.update(batch, 3).metrics()["critic/alone"] == 0.0
    assert bytes_of(policy)[0] != before[0]


def test_without_a_warmup_the_policy_moves_at_once_and_nothing_is_said() -> None:
    batch, policy = assemble(random_episodes(groups=6)), TablePolicy(critic=True)
    before = bytes_of(policy)
    found = Learner(policy, method_with(0)).update(batch, 1).metrics()
    assert bytes_of(policy)[0] != before[0] and "critic/alone" not in found


def test_the_policy_then_begins_as_if_nothing_had_been() -> None:
    """Its part of AdamW's state is still untouched: the first step is that of a learner that has just begun."""
    batch, warm, cold = assemble(random_episodes(groups=6)), TablePolicy(critic=True), TablePolicy(critic=True)
    learner = Learner(warm, dataclasses.replace(method_with(3), num_epochs=1, num_minibatches=1))
    for step in (1, 2, 3):
        learner.update(batch, step)
    assert warm.values_V is not None and cold.values_V is not None
    cold.values_V.data.copy_(warm.values_V.data)
    fresh = Learner(cold, dataclasses.replace(method_with(0), num_epochs=1, num_minibatches=1))
    for one in (learner, fresh):
        one.update(batch, 4)
    torch.testing.assert_close(warm.table_VV, cold.table_VV, rtol=1e-12, atol=1e-12)


def test_a_layer_on_the_policys_own_state_learns_alone_too() -> None:
    """Its loss reaches the policy's weights, and is not let in."""
    policy = tiny_model(0, layers=1, width=16)
    policy.add_critic(separate=False)
    before = {name: parameter.detach().clone() for name, parameter in policy.trainable().items()}
    Learner(policy, method_with(1, separate=False)).update(assemble(random_episodes(groups=2)), 1)
    moved = {name for name, parameter in policy.trainable().items() if not torch.equal(parameter, before[name])}
    assert moved and all(name.startswith("critic.") for name in moved), moved


def test_a_coefficient_that_steers_the_policy_waits() -> None:
    method = dataclasses.replace(method_with(1), objective=KLPenalty(coefficient=1.0, target=1e-9))
    learner = Learner(TablePolicy(critic=True), method)
    batch = assemble(random_episodes(groups=6))
    learner.update(batch, 1)
    assert learner.method == method
    learner.update(batch, 2)
    assert learner.method != method


def test_a_run_stopped_in_the_warmup_goes_on_to_the_same(tmp_path: Path) -> None:
    def settings(steps: int):
        sets = [
            f"steps={steps}",
            "method.horizon=16",
            "method.num_epochs=2",
            "method.num_minibatches=1",
            "method.critic.warmup_steps=3",
        ]
        sets += [
            "evaluation.num_items=1",
            "evaluation.every=0",
            "saving.every=1",
            "saving.keep=9",
            "reporting.page=false",
        ]
        return read_run(flags={"method": "ppo", "task": "CartPole-v1"}, sets=sets).required()

    train(settings(5), tmp_path / "whole", quiet=True)
    for stopped in (2, 4):
        folder = tmp_path / f"stopped-{stopped}"
        train(settings(stopped), folder, quiet=True)
        (folder / "held_out" / f"step_{stopped:06d}.json").unlink()
        rows = (folder / "metrics.jsonl").read_text().splitlines()
        assert json.loads(rows[-1])["critic/alone"] == float(stopped <= 3)
        resume(folder, {"steps": 5}, quiet=True)
        assert_same(folder, tmp_path / "whole", ("final/small_policy.safetensors", "method.json", "settings.yaml"))


def test_what_is_told_and_refused() -> None:
    assert "the first 50 steps alone, the policy frozen" in METHODS["vapo"].formula()
    assert "alone" not in PPO.formula()
    (problem,) = TRPO.changed(name="t", critic=ValueFunction(warmup_steps=5)).problems()
    assert problem.startswith("method.critic.warmup_steps: got 5, but with NaturalGradient")
    flags = {"method": "vapo", "task": "arithmetic", "model": "tiny"}
    for steps, warned in ((50, True), (51, False)):
        settings = read_run(flags=flags, sets=[f"steps={steps}", "method.critic.warmup_steps=50"]).required()
        said = "\n".join(kind_for(settings, settings.resolved_method()).doubts(settings, settings.resolved_method()))
        assert ("so the policy is never trained" in said) == warned
