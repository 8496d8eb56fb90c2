"""Losses and advantages against verl 0.9.1's own functions, on saved numbers, and afresh where verl is installed."""

from __future__ import annotations

import importlib.metadata
import json

import pytest
import torch
from test_trl_parity import same_numbers, table
from verl_numbers import FILE, LOSSES, SECOND, WEIGHTS, inputs, made_by_verl

from rung.methods import METHODS
from rung.methods.parts.aggregations import PerSequence, PerToken
from rung.methods.parts.objectives import ClippedSurrogate, GeometricMean, SoftGate, WithinKL, WithinProbability
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.variants import DR_GRPO

SAVED = json.loads(FILE.read_text(encoding="utf-8"))
CENTRED = DR_GRPO.changed(name="centred", aggregation=PerToken())
OURS = {
    "sapo": CENTRED.changed(objective=SoftGate(1.0, 1.05), aggregation=PerSequence()),
    "dppo_tv": CENTRED.changed(objective=WithinProbability(0.05, 0.05, pull=0.0)),
    "dppo_kl": CENTRED.changed(objective=WithinKL(0.01, 0.01)),
    "geo_mean": CENTRED.changed(objective=GeometricMean(0.2, 0.2), aggregation=PerSequence()),
}


def one(count: torch.Tensor) -> torch.Tensor:
    return count


def gradient_of(method: PolicyGradient) -> tuple[float, torch.Tensor]:
    batch = same_numbers(fresh=False).changed(sampler_log_probs_BT=table("old_log_probs"))
    log_probs_BT = table("log_probs").requires_grad_()
    batch = method.with_advantages(batch)
    loss = (method.weights(batch, one) * method.losses(batch, log_probs_BT)).sum()
    return float(loss.detach()), torch.autograd.grad(loss, log_probs_BT)[0]


def test_the_saved_numbers_are_of_the_inputs_in_the_script() -> None:
    assert SAVED["inputs"] == inputs() and SAVED["losses"].keys() == LOSSES.keys() == OURS.keys()
    assert SAVED["made_by"] == "verl 0.9.1"


@pytest.mark.parametrize("name", OURS)
def test_gradient_equals_verls(name: str) -> None:
    """And the loss, but for DPPO, which verl writes as sg(ρ) A log π: another value with the gradient of ρ A."""
    loss, gradient_BT = gradient_of(OURS[name])
    expected_BT = torch.tensor(SAVED["losses"][name]["gradient"], dtype=torch.float64)
    torch.testing.assert_close(gradient_BT, expected_BT, rtol=0, atol=1e-8)
    if not name.startswith("dppo"):
        assert loss == pytest.approx(SAVED["losses"][name]["loss"], abs=1e-8)
    plain_BT = gradient_of(OURS[name].changed(objective=ClippedSurrogate(high=1e9, low=1.0)))[1]
    assert float((plain_BT - expected_BT).abs().max()) > 1e-3, "without its own trait it is another gradient"


@pytest.mark.parametrize("name", ["opo", "gdpo"])
def test_advantages_equal_verls(name: str) -> None:
    """verl's GDPO computes in float32, and its 1e-8 stands under the root."""
    method = METHODS[name]
    assert isinstance(method, PolicyGradient)
    first_B, second_B = table("rewards"), torch.tensor(SECOND, dtype=torch.float64)
    parts, weights = {"first": first_B, "second": second_B}, dict(zip(("first", "second"), WEIGHTS, strict=True))
    batch = same_numbers(fresh=True).changed(reward_parts=parts, reward_weights=weights)
    found_BT = method.with_advantages(batch).advantages_BT
    assert found_BT is not None
    expected_BT = torch.tensor(SAVED["advantages"][name], dtype=torch.float64)
    torch.testing.assert_close(found_BT, expected_BT, rtol=0, atol=1e-5)
    alone_BT = method.with_advantages(same_numbers(fresh=True)).advantages_BT
    assert alone_BT is not None and (name == "opo") == torch.allclose(alone_BT, expected_BT, atol=1e-5)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_verl_still_makes_the_saved_numbers() -> None:
    pytest.importorskip("verl", reason="verl is not installed: tests/helpers/verl_numbers.py says what it needs")
    if importlib.metadata.version("verl") != "0.9.1":
        pytest.skip("the saved numbers are verl 0.9.1's")
    made = made_by_verl()
    for name, case in made["losses"].items():
        assert case["loss"] == pytest.approx(SAVED["losses"][name]["loss"], abs=1e-9)
