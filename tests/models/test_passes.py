"""Compiled passes: the same as their source in Python, as torch's layers and as autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_policies import HOLES, SHAPES, batch_of, loud

from rung.compiled import compiles, uncompiled
from rung.formulas.optimizer_steps import Rule
from rung.formulas.slopes import Slope
from rung.models.language.distributions import Categorical, Distribution, Gaussian
from rung.models.small import passes
from rung.models.small.network import SmallPolicy, SmallShape

SOURCE = uncompiled(passes.__name__)
BOTH = pytest.mark.parametrize("module", [passes, SOURCE], ids=["compiled", "source"])
EMPTY = np.zeros(0, np.float32)


def test_here_they_are_compiled() -> None:
    if not compiles():
        pytest.skip("numba or scipy is not installed, or compiling is forbidden")
    assert hasattr(passes.epoch, "py_func") and not hasattr(SOURCE.epoch, "py_func")


@BOTH
def test_tanh_is_tanh(module: Any) -> None:
    inside_N = np.concatenate([np.linspace(-12, 12, 5001), [0.0, 1e-20, -1e-6, 1e30, -1e30]]).astype(np.float32)
    found_N = inside_N.copy()
    module.tanh(found_N)
    np.testing.assert_allclose(found_N, np.tanh(inside_N.astype(np.float64)), rtol=1e-6, atol=1e-12)
    none = np.array([np.nan, np.inf, -np.inf], np.float32)
    module.tanh(none)
    assert np.isnan(none[0]) and none[1:] == pytest.approx([1.0, -1.0], abs=1e-6)


def arrays_of(policy: SmallPolicy, which: tuple[bool, bool] = (True, True)) -> tuple[Any, Any]:
    for parameter in policy.trainable().values():
        parameter.grad = torch.full_like(parameter, torch.nan)
    return policy.networks(which)


def steps_of(policy: SmallPolicy, batch: Any, pulls_KN: np.ndarray) -> passes.Steps:
    own, choices = batch.action_mask_BT, policy.shape.choices is not None
    actions, count = batch.actions_BT[own].numpy(), int(own.sum())
    return passes.Steps(
        observations_NO=batch.contexts[own].numpy(),
        choices_N=actions if choices else np.zeros(0, np.int64),
        vectors_NA=np.zeros((count, 0), np.float32) if choices else actions,
        old_log_probs_N=np.zeros(0),
        advantages_N=pulls_KN[0],
        targets_N=pulls_KN[1],
        policy_weights_N=pulls_KN[2],
        critic_weights_N=pulls_KN[3],
    )


@BOTH
@SHAPES
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("mask", [None, HOLES], ids=["whole", "holes"])
def test_what_is_said_and_the_gradients_are_autograds(
    shape: SmallShape, mask: Any, temperature: float, module: Any
) -> None:
    """Of ∑ w (−A log π − 0.3 H) + u · ½ (V − y)², with all of w, A, u and y drawn."""
    batch, policy = batch_of(shape, mask, junk=float("nan")), loud(shape)
    own_BT = batch.action_mask_BT
    pulls_KN = np.random.default_rng(5).standard_normal((4, int(own_BT.sum())))
    advantages_N, targets_N, weights_N, critic_N = torch.from_numpy(pulls_KN)
    asked = policy(batch, temperature=temperature, with_entropy=True, with_values=True)
    assert asked.entropy_BT is not None and asked.values_BT is not None
    log_probs_N, entropy_N, values_N = (one_BT[own_BT] for one_BT in (asked.log_probs_BT, *asked[1:]))
    loss = (weights_N * (-advantages_N * log_probs_N - 0.3 * entropy_N)).sum()
    (loss + (critic_N * 0.5 * (values_N - targets_N) ** 2).sum()).backward()
    expected = {name: parameter.grad for name, parameter in policy.trainable().items()}

    (pi, pi_gradients, critic, critic_gradients), log_std = arrays_of(policy)
    aim = passes.Aim(Slope(), 0.3, 1.0, temperature, False, True, 0.0, 0)
    steps = steps_of(policy, batch, pulls_KN)
    said = module._policy_pass(pi, pi_gradients, *log_std, steps, aim)
    np.testing.assert_allclose(said[0], log_probs_N.detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(said[1], entropy_N.detach(), rtol=1e-5, atol=1e-6)
    found_N = module._critic_pass(critic, critic_gradients, steps, 1.0)
    np.testing.assert_allclose(found_N, values_N.detach(), rtol=1e-5, atol=1e-6)
    for name, parameter in policy.trainable().items():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-5, msg=name)


@BOTH
def test_a_choice_that_is_never_made_has_no_slope(module: Any) -> None:
    log_probs_VN = module.choice_log_probs(np.array([[0.0, -np.inf, 1.0]], np.float32), 1.0)
    steps = passes.Steps(*[np.array([2])] * 2, *[np.zeros(1)] * 6)
    _, entropy_N = module._choice(steps, log_probs_VN)
    assert entropy_N[0] == pytest.approx(0.582203, abs=1e-6), "that of the two others"
    slope_N = module.softmax_slope(np.ones(1), np.ones(1), np.array([False]), log_probs_VN[1], entropy_N)
    assert slope_N.tolist() == [0.0]


@BOTH
@pytest.mark.parametrize("kind", ["adamw", "rmsprop"])
def test_an_optimizers_step_is_torchs(kind: str, module: Any) -> None:
    generator = np.random.default_rng(3)
    weights_P = generator.standard_normal(50).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(weights_P.copy()))
    if kind == "adamw":
        optimizer: Any = torch.optim.AdamW([parameter], lr=0.01, weight_decay=0.1)
        rule = Rule(0.9, 0.999, 1e-8, False, True, 0.1)
    else:
        optimizer, rule = torch.optim.RMSprop([parameter], lr=0.01, eps=1e-5), Rule(0, 0.99, 1e-5, False, False, 0.0)
    mean_P, square_P = np.zeros_like(weights_P), np.zeros_like(weights_P)
    for update in range(5):
        gradient_P = (generator.standard_normal(50) * 10.0 ** generator.integers(-4, 3, 50)).astype(np.float32)
        parameter.grad = torch.from_numpy(gradient_P.copy())
        optimizer.step()
        moved = passes.Moved(weights_P, gradient_P, mean_P, square_P, rule, 1e9, update, np.array([0.01]))
        assert module.moved_by(moved, 0) == pytest.approx(float(parameter.grad.norm()), rel=1e-6)
        np.testing.assert_allclose(weights_P, parameter.detach(), rtol=1e-6, atol=1e-7)


@BOTH
def test_a_gradient_that_is_no_number_changes_nothing(module: Any) -> None:
    weights_P, kept_P = np.ones(3, np.float32), np.zeros(3, np.float32)
    gradient_P = np.array([1.0, np.nan, 0.0], np.float32)
    rule = Rule(0.9, 0.999, 1e-8, False, True, 0.0)
    moved = passes.Moved(weights_P, gradient_P, kept_P, kept_P.copy(), rule, 1.0, 0, np.array([0.1]))
    assert np.isnan(module.moved_by(moved, 0))
    assert weights_P.tolist() == [1.0] * 3 and not kept_P.any()


@BOTH
def test_choices_are_drawn_as_the_distribution_draws_them(module: Any) -> None:
    policy = loud(SmallShape(observations=3, choices=4))
    layers, generator = arrays_of(policy)[0][0], np.random.default_rng(2)
    seen_NO, uniforms_N = generator.standard_normal((500, 3)).astype(np.float32), generator.random(500)
    uniforms_N[:2] = 0.0, np.nextafter(1.0, 0.0)
    with torch.no_grad():
        law: Distribution = Categorical.of_logits(torch.from_numpy(SOURCE.forward(layers, seen_NO, True)[-1]))
    expected_N = law.draw(torch.from_numpy(uniforms_N))
    drawn_N, log_probs_N = module.draw_choices(layers, seen_NO, uniforms_N)
    assert (drawn_N == expected_N.numpy()).mean() > 0.997, "a draw on the edge may fall to either side"
    np.testing.assert_allclose(log_probs_N, law.log_prob(torch.from_numpy(drawn_N)), rtol=1e-5, atol=1e-6)


def test_vectors_are_drawn_as_the_distribution_draws_them() -> None:
    policy = loud(SmallShape(observations=3, dimensions=2))
    seen_NO, uniforms_NA = np.ones((6, 3), np.float32), np.random.default_rng(2).random((6, 2))
    drawn_NA, log_probs_N = policy.actor()(seen_NO, uniforms_NA)
    mean_NA = torch.from_numpy(policy.mode(seen_NO))
    law = Gaussian(mean_NA, policy.weights()["policy.log_std"])
    np.testing.assert_allclose(log_probs_N, law.log_prob(torch.from_numpy(drawn_NA)), rtol=1e-6)
    assert ((drawn_NA > mean_NA.numpy()) == (uniforms_NA > 0.5)).all()


@SHAPES
def test_an_epoch_is_the_same_compiled_or_not_and_the_same_bits_each_time(shape: SmallShape) -> None:
    found: list[list[np.ndarray]] = []
    for module in (passes, passes, SOURCE):
        policy, batch = loud(shape), batch_of(shape)
        (pi, pi_gradients, critic, critic_gradients), log_std = arrays_of(policy)
        row_P, gradient_P = (np.concatenate([w.ravel() for w in one.weights]) for one in (pi, pi_gradients))
        pulls_KN = np.random.default_rng(5).standard_normal((4, 10))
        moved = passes.Moved(
            row_P, np.zeros_like(gradient_P), *(np.zeros_like(row_P) for _ in range(2)),
            Rule(0.9, 0.99, 1e-5, False, True, 0.0),
            0.5, 0, np.full(2, 1e-2),
        )  # fmt: skip
        aim = passes.Aim(Slope(0.2, 0.2, 0.1), 0.01, 0.5, 1.0, True, True, 1e-8, 1)
        order = np.random.default_rng(1).permutation(10), np.array([5, 10])
        networks = (pi, pi_gradients, critic, critic_gradients)
        said, made = module.epoch(networks, log_std, steps_of(policy, batch, pulls_KN), order, aim, moved, (True, True))
        assert made == 2
        found.append([*said, *pi_gradients.weights, *critic_gradients.biases, row_P])
    for one, again, source in zip(*found, strict=True):
        assert one.tobytes() == again.tobytes()
        np.testing.assert_allclose(one, source, rtol=1e-4, atol=1e-6)
