"""Presets of libraries that are not run here, against saved numbers of their formulas written out in plain Python."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from origin_numbers import FILE, SOURCES, by_formula
from test_trl_parity import same_numbers, table

from rung.methods import METHODS, PolicyGradient
from rung.methods.parts.advantages import GroupNormalized
from rung.methods.parts.chosen_tokens import ClipCov, KLCov

SAVED = json.loads(FILE.read_text(encoding="utf-8"))
COV = {name: SAVED["inputs"][f"cov_{name}"] for name in ("share", "above", "below")}


def one(count: torch.Tensor) -> torch.Tensor:
    return count


def method_of(name: str) -> PolicyGradient:
    """The preset; the covariance methods with verl's advantage and limits that a batch of 30 tokens reaches."""
    method = METHODS[name]
    if name == "clip_cov":
        return method.changed(
            advantage=GroupNormalized(ddof=1), objective=ClipCov(share=1.0, above=COV["above"], below=COV["below"])
        )
    if name == "kl_cov":
        return method.changed(advantage=GroupNormalized(ddof=1), objective=KLCov(share=COV["share"]))
    return method


def ours(method: PolicyGradient) -> tuple[float, torch.Tensor]:
    batch = same_numbers(fresh=False)
    assert batch.old_log_probs_BT is not None
    batch = batch.changed(sampler_log_probs_BT=batch.old_log_probs_BT)
    log_probs_BT = table("log_probs").requires_grad_()
    batch = method.minibatch(method.with_advantages(batch), one)
    batch = method.choosing(batch, log_probs_BT.detach(), one, (0,))
    loss = (method.weights(batch, one) * method.losses(batch, log_probs_BT)).sum()
    (gradient_BT,) = torch.autograd.grad(loss, log_probs_BT)
    return float(loss.detach()), gradient_BT


def test_the_saved_numbers_are_what_the_script_makes() -> None:
    made = by_formula()
    assert made["inputs"] == SAVED["inputs"] and made["cases"].keys() == SAVED["cases"].keys() == SOURCES.keys()
    for name, case in made["cases"].items():
        assert case["source"] == SAVED["cases"][name]["source"]
        assert case["loss"] == pytest.approx(SAVED["cases"][name]["loss"], abs=1e-12)


@pytest.mark.parametrize("name", SAVED["cases"])
def test_loss_and_gradient_equal_the_origins(name: str) -> None:
    loss, gradient_BT = ours(method_of(name))
    expected_BT = torch.tensor(SAVED["cases"][name]["gradient"], dtype=torch.float64)
    assert loss == pytest.approx(SAVED["cases"][name]["loss"], abs=1e-6)
    torch.testing.assert_close(gradient_BT, expected_BT, rtol=0, atol=1e-6)
    assert float(expected_BT.abs().max()) > 1e-2


def test_presets_of_one_name_really_differ() -> None:
    losses = [ours(method_of(name))[0] for name in SAVED["cases"]]
    assert len({round(loss, 4) for loss in losses}) == len(losses)


def test_each_origins_own_trait_is_seen_in_the_numbers() -> None:
    """Negative controls: without the trait the saved numbers are missed."""
    verl, openrlhf = METHODS["grpo@verl"], METHODS["grpo@openrlhf"]
    nemo, prime = METHODS["grpo@nemo-rl"], METHODS["grpo@prime-rl"]
    without = {
        "grpo@verl": verl.changed(advantage=GroupNormalized(epsilon=1e-6, ddof=0)),
        "grpo@openrlhf": openrlhf.changed(reference_kl=None),
        "grpo@nemo-rl": nemo.changed(advantage=GroupNormalized()),
        "grpo@prime-rl": prime.changed(objective=dataclasses.replace(prime.objective, low=1.0, high=1.0)),  # type: ignore[type-var]
        "clip_cov": method_of("clip_cov").changed(objective=ClipCov(share=1e-9, above=9.0, below=9.1)),
        "kl_cov": method_of("kl_cov").changed(objective=KLCov(share=1e-9)),
    }
    for name, method in without.items():
        assert ours(method)[0] != pytest.approx(SAVED["cases"][name]["loss"], abs=1e-4), name
