"""PPO, A2C and TRPO against Stable-Baselines3's own code, on saved numbers, and afresh where it is installed."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
from typing import Any

import pytest
import torch
from sb3_numbers import CHOICES, DIMENSIONS, FILE, GRADIENTS, cases, inputs, made_by_sb3
from torch import Tensor

from rung.batch import Batch
from rung.formulas.aggregations import token_mean
from rung.methods import METHODS, PolicyGradient
from rung.models.language.distributions import Categorical, Gaussian
from rung.models.outputs import Outputs
from rung.trainers.optimizer import optimizer_state, optimizer_step, restore_optimizer
from rung.trainers.policy_gradient.learner import Learner

SAVED = json.loads(FILE.read_text(encoding="utf-8"))
GIVEN = SAVED["inputs"]
VERSIONS = {"stable-baselines3": "2.9.2", "sb3-contrib": "2.9.2"}


def table(name: str) -> Tensor:
    return torch.tensor(GIVEN[name], dtype=torch.float64)


def log_probs_of(logits_BTV: Tensor) -> Tensor:
    return torch.log_softmax(logits_BTV, -1).gather(-1, table("actions").long()[..., None])[..., 0]


def same_numbers(old: str) -> Batch:
    """An environment is a row; it is cut after its last step unless its episode ended there."""
    rewards_BT, ends_BT = table("rewards"), table("ends").bool()
    cut_BT = torch.zeros_like(ends_BT)
    cut_BT[:, -1] = ~ends_BT[:, -1]
    bootstrap_BT = torch.where(cut_BT, table("bootstrap")[:, None], 0.0)
    rows, steps = rewards_BT.shape
    return Batch(
        contexts=torch.arange(rows * steps).reshape(rows, steps, 1),
        actions_BT=table("actions").long(),
        action_mask_BT=torch.ones_like(ends_BT),
        sampler_log_probs_BT=log_probs_of(table(old)),
        rewards_BT=rewards_BT,
        discounts_BT=1.0 - ends_BT.double(),
        cut_BT=cut_BT,
        bootstrap_BT=bootstrap_BT,
        group_ids_B=torch.arange(rows),
        scores_B=torch.zeros(rows),
        truncated_B=torch.zeros(rows, dtype=torch.bool),
        old_log_probs_BT=log_probs_of(table(old)),
        values_BT=table("values"),
    )


def prepared(case: dict[str, Any]) -> tuple[PolicyGradient, Batch]:
    method = METHODS[case["preset"]].changed(entropy_bonus=case["entropy"])
    batch = method.with_advantages(same_numbers("old_logits" if "ppo" in case["preset"] else "logits"))
    return method, batch


def named(case: dict[str, Any]) -> str:
    return f"{case['preset']}, entropy {case['entropy']}"


def test_the_saved_numbers_are_of_the_inputs_in_the_script() -> None:
    assert SAVED["inputs"] == inputs()
    assert SAVED["made_by"].startswith("stable-baselines3 2.9.2, sb3-contrib 2.9.2")
    assert [{key: case[key] for key in ("preset", "entropy")} for case in SAVED["cases"]] == cases()


@pytest.mark.parametrize("case", SAVED["cases"], ids=named)
def test_advantages_and_returns_equal_sb3s(case: dict[str, Any]) -> None:
    """Before any whitening: SB3's buffer against our GAE, over episodes that end, go on, and end with the stretch."""
    method = METHODS[case["preset"]].changed(whiten=None)
    batch = method.with_advantages(same_numbers("logits"))
    for found, name in ((batch.advantages_BT, "advantages"), (batch.value_targets_BT, "returns")):
        torch.testing.assert_close(found, torch.tensor(case[name], dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", SAVED["cases"], ids=named)
def test_loss_and_gradient_equal_sb3s(case: dict[str, Any]) -> None:
    method, batch = prepared(case)
    logits_BTV, values_BT = table("logits").requires_grad_(), table("values_now").requires_grad_()
    batch = method.minibatch(batch, lambda count: count)
    logs_BTV = torch.log_softmax(logits_BTV, -1)
    entropy_BT = -(logs_BTV.exp() * logs_BTV).sum(-1)
    losses_BT = method.losses(batch, log_probs_of(logits_BTV), entropy_BT)
    loss = (method.weights(batch, lambda count: count) * losses_BT).sum()
    assert method.critic is not None
    tokens_BT = token_mean(batch.action_mask_BT, batch.action_mask_BT.sum())
    loss = loss + (tokens_BT * method.critic.loss(batch, values_BT)).sum()
    gradients = torch.autograd.grad(loss, (logits_BTV, values_BT))
    assert float(loss.detach()) == pytest.approx(case["loss"], abs=1e-6)
    for found, name in zip(gradients, ("logits_gradient", "value_gradient"), strict=True):
        expected = torch.tensor(case[name], dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        assert float(expected.abs().max()) > 1e-2


def test_some_saved_steps_are_clipped_so_that_the_clip_is_compared() -> None:
    method, batch = prepared(SAVED["cases"][0])
    batch = method.minibatch(batch, lambda count: count)
    binds = method.objective.diagnostics(batch, log_probs_of(table("logits")))
    assert int(binds["clip/low"].sum()) >= 1 and int(binds["clip/high"].sum()) >= 1


class StepTable:
    """One row of logits and one value a step of the table, as SB3's stand-in has."""

    def __init__(self) -> None:
        self.logits_NV = torch.nn.Parameter(table("logits").flatten(0, 1))
        self.values_N = torch.nn.Parameter(table("values_now").flatten())

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        return {"logits": self.logits_NV, "critic.values": self.values_N}

    def distribution(self, batch: Batch, *, temperature: float = 1.0, twice: bool = False) -> Categorical:
        return Categorical.of_logits(self.logits_NV[batch.contexts[..., 0]].reshape(-1, CHOICES))

    def __call__(self, batch: Batch, *, temperature: float = 1.0, with_entropy: bool = False, **more: bool) -> Outputs:
        distribution, shape = self.distribution(batch), batch.actions_BT.shape
        values_BT = self.values_N[batch.contexts[..., 0]]
        return Outputs(
            distribution.log_prob(batch.actions_BT.flatten()).reshape(shape),
            distribution.entropy().reshape(shape),
            values_BT,
        )


def test_trpos_step_equals_sb3_contribs() -> None:
    """The whole step: whitened advantages, conjugate gradients, the bound, the line search. SB3's noise start and
    residual are run to convergence on both sides; its KL, of the other direction, accepts the same step here."""
    saved, preset = SAVED["trpo"], METHODS["trpo@sb3-contrib"]
    step = dataclasses.replace(preset.optimizer, iterations=80, num_critic_epochs=0)  # type: ignore[type-var]
    policy = StepTable()
    update = Learner(policy, preset.changed(name="t", optimizer=step)).update(same_numbers("logits"), 1)
    assert saved["accepted"] and update.diagnostics["trpo/accepted"] == 1
    expected_NV = torch.tensor(saved["logits"], dtype=torch.float64).flatten(0, 1)
    torch.testing.assert_close(policy.logits_NV.detach(), expected_NV, rtol=1e-6, atol=1e-6)  # SB3 stores float32
    assert float((expected_NV - table("logits").flatten(0, 1)).abs().max()) > 1e-2
    assert update.diagnostics["trpo/kl"] == pytest.approx(saved["kl"], rel=0.1)


class VectorTable(StepTable):
    """One row of means a step of the table, and one deviation for all."""

    def __init__(self) -> None:
        super().__init__()
        self.means_NA = torch.nn.Parameter(table("means").flatten(0, 1))
        self.log_std_A = torch.nn.Parameter(table("log_std"))

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        return {"means": self.means_NA, "log_std": self.log_std_A, "critic.values": self.values_N}

    def distribution(self, batch: Batch, *, temperature: float = 1.0, twice: bool = False) -> Gaussian:  # type: ignore[override]
        means_NA = self.means_NA[batch.contexts[..., 0]].flatten(0, 1)
        return Gaussian(means_NA, self.log_std_A.expand_as(means_NA))

    def __call__(self, batch: Batch, *, temperature: float = 1.0, with_entropy: bool = False, **more: bool) -> Outputs:
        distribution, shape = self.distribution(batch), batch.actions_BT.shape[:2]
        log_probs_BT = distribution.log_prob(batch.actions_BT.flatten(0, 1)).reshape(shape)
        return Outputs(log_probs_BT, distribution.entropy().reshape(shape), self.values_N[batch.contexts[..., 0]])


def step_of_vectors(times: float) -> tuple[Tensor, Tensor]:
    """Means and log σ after rung's step, with bound and damping so many times sb3-contrib's."""
    preset, policy = METHODS["trpo@sb3-contrib"], VectorTable()
    step = dataclasses.replace(  # type: ignore[type-var]
        preset.optimizer, iterations=80, num_critic_epochs=0, max_kl=times * 0.01, damping=times * 0.1
    )
    batch = same_numbers("logits").changed(actions_BT=table("vectors"))
    old_BT = policy(batch).log_probs_BT.detach()
    batch = batch.changed(sampler_log_probs_BT=old_BT, old_log_probs_BT=old_BT)
    update = Learner(policy, preset.changed(name="t", optimizer=step)).update(batch, 1)
    assert update.diagnostics["trpo/accepted"] == 1
    return policy.means_NA.detach(), policy.log_std_A.detach()


def test_trpos_step_of_vectors_equals_sb3_contribs_at_a_bound_times_the_dimensions() -> None:
    """sb3-contrib takes the KL's mean over an action's dimensions, that much below the distribution's KL."""
    saved = SAVED["trpo_vectors"]
    assert saved["accepted"] and saved["kl"] <= 0.01
    expected_NA = torch.tensor(saved["means"], dtype=torch.float64).flatten(0, 1)
    expected_A = torch.tensor(saved["log_std"], dtype=torch.float64)
    means_NA, log_std_A = step_of_vectors(DIMENSIONS)
    torch.testing.assert_close(means_NA, expected_NA, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(log_std_A, expected_A, rtol=1e-6, atol=1e-6)
    before = Gaussian(table("means").flatten(0, 1), table("log_std").expand(len(means_NA), -1))
    after = Gaussian(expected_NA, expected_A.expand(len(means_NA), -1))
    assert float(before.kl(after).mean()) > 0.01, "beyond what sb3-contrib was told to keep to"
    own_NA, _ = step_of_vectors(1.0)
    assert not torch.allclose(own_NA, expected_NA, atol=1e-2)


@pytest.mark.parametrize("stopped", [False, True], ids=["in one go", "resumed before the last update"])
def test_actor_critics_rmsprop_equals_sb3s_copy_of_tensorflows(stopped: bool) -> None:
    """RMSpropTFLike: what Baselines' A2C has. Torch's own, with the same numbers, is another optimizer."""
    saved, step = SAVED["rmsprop_tf_like"], METHODS["actor_critic"].optimizer
    weights = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64))
    torchs = torch.nn.Parameter(weights.detach().clone())
    optimizer, other = step.build([weights]), dataclasses.replace(step, tensorflow=False).build([torchs])
    for n, gradient in enumerate(GRADIENTS):
        if stopped and n == 2:
            state = optimizer_state(optimizer, {"w": weights})
            optimizer = step.build([weights])
            restore_optimizer(optimizer, {"w": weights}, {name: tensor.clone() for name, tensor in state.items()})
        for one, its in ((weights, optimizer), (torchs, other)):
            one.grad = torch.tensor(gradient, dtype=torch.float64)
            optimizer_step(its)
        expected = torch.tensor(saved["after"][n], dtype=torch.float64)
        torch.testing.assert_close(weights.detach(), expected, rtol=0, atol=1e-15)
        assert not torch.allclose(torchs.detach(), expected, rtol=0, atol=1e-4)
    mean_square = optimizer_state(optimizer, {"w": weights})["w/mean_square"]
    torch.testing.assert_close(mean_square, torch.tensor(saved["mean_square"], dtype=torch.float64), rtol=0, atol=1e-14)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_sb3_still_makes_the_saved_numbers() -> None:
    pytest.importorskip("sb3_contrib", reason="SB3 is not installed: pip install -e '.[peers]'")
    for name, version in VERSIONS.items():
        if importlib.metadata.version(name) != version:
            pytest.skip(f"the saved numbers are of {name} {version}: pip install {name}=={version}")
    made = made_by_sb3()
    assert made["inputs"] == SAVED["inputs"]
    steps = ("trpo", "trpo_vectors", "rmsprop_tf_like")
    whole, before = ([*of["cases"], *(of[name] for name in steps)] for of in (made, SAVED))
    for case, saved in zip(whole, before, strict=True):
        assert case.keys() == saved.keys()
        for key, value in saved.items():
            if isinstance(value, list | float):
                torch.testing.assert_close(torch.tensor(case[key]), torch.tensor(value), rtol=0, atol=1e-6)
            else:
                assert case[key] == value
