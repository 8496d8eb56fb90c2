"""The preference losses and their gradients against TRL 1.16.0: on saved numbers, and afresh where TRL is installed."""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any

import pytest
import torch
from torch import Tensor
from trl_preference_numbers import DPO_CASES, FILE, KTO_CASES, PAIRS, inputs, made_by_trl

from rung.formulas.preference_losses import kto_anchor, odds_ratio, summed_log_probs
from rung.methods.parts.preference_losses import (
    Answers,
    APODownLoss,
    APOZeroLoss,
    BradleyTerry,
    ConservativeDPOLoss,
    DPOLoss,
    DPOWithLikelihood,
    IPOLoss,
    KTOLoss,
    ORPOLoss,
    RobustDPOLoss,
    SimPOLoss,
)
from rung.methods.parts.protocols import PreferenceLoss

SAVED = json.loads(FILE.read_text(encoding="utf-8"))
GIVEN = SAVED["inputs"]
MASK_BT = torch.arange(len(GIVEN["log_probs"][0]))[None] < torch.tensor(GIVEN["lengths"])[:, None]


def table(name: str) -> Tensor:
    return torch.tensor(GIVEN[name], dtype=torch.float64)


def part_of(case: dict[str, Any]) -> PreferenceLoss:
    parts: dict[str, PreferenceLoss] = {
        "sigmoid": DPOLoss(case.get("beta", 1)),
        "sigmoid_norm": DPOLoss(case.get("beta", 1), per_token=True),
        "ipo": IPOLoss(case.get("beta", 1), per_token=True),
        "robust": RobustDPOLoss(case.get("beta", 1), case.get("flipped", 0.1)),
        "aot": ConservativeDPOLoss(case.get("beta", 1), case.get("flipped", 0.1)),
        "apo_zero": APOZeroLoss(case.get("beta", 1)),
        "apo_down": APODownLoss(case.get("beta", 1)),
        "kto": KTOLoss(case.get("beta", 1), case.get("desirable", 1), case.get("undesirable", 1)),
        "simpo": SimPOLoss(case.get("beta", 1), case.get("target", 1)),
        "odds_ratio": ORPOLoss(case.get("weight", 1)),
        "reward_model": BradleyTerry(),
    }
    return DPOWithLikelihood(case["beta"], case["sft"]) if "sft" in case else parts[case["loss"]]


def answers_of(case: dict[str, Any], log_probs_BT: Tensor) -> Answers:
    scores = case["loss"] == "reward_model"
    away = 0.0 if case.get("far", True) else 2.0
    mismatched_B = table("mismatched") - table("reference_mismatched") - away
    return Answers(
        values_B=log_probs_BT[:, 0] if scores else summed_log_probs(log_probs_BT, MASK_BT),
        reference_B=summed_log_probs(table("reference_log_probs"), MASK_BT),
        lengths_B=MASK_BT.sum(1).double(),
        desirable_B=torch.arange(2 * PAIRS) < PAIRS,
        pairs_M2=torch.stack([torch.arange(PAIRS), torch.arange(PAIRS) + PAIRS], dim=1),
        at_least_M=table("margins") * case.get("margin", False),
        anchor=float(kto_anchor(mismatched_B)),
    )


def ours(case: dict[str, Any]) -> tuple[float, Tensor]:
    log_probs_BT = table("log_probs").requires_grad_()
    answers = answers_of(case, log_probs_BT)
    part = part_of(case)
    if isinstance(part, ORPOLoss):  # TRL's own function has the odds ratio alone
        means_B = answers.means_B()
        loss = part.weight * odds_ratio(*answers.split(means_B)).mean()
    else:
        loss = part(answers).mean()
    (gradient_BT,) = torch.autograd.grad(loss, log_probs_BT)
    return float(loss.detach()), gradient_BT


def named(case: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in case.items() if key not in ("value", "gradient"))


def test_the_saved_numbers_are_of_the_inputs_in_the_script() -> None:
    assert inputs() == GIVEN
    assert SAVED["made_by"].startswith("trl 1.16.0")
    without = [{key: c[key] for key in c if key not in ("value", "gradient")} for c in SAVED["cases"]]
    assert without[: len(DPO_CASES) + len(KTO_CASES)] == [*DPO_CASES, *KTO_CASES]
    assert [case["loss"] for case in without[-4:]] == ["simpo", "odds_ratio", "reward_model", "reward_model"]


@pytest.mark.parametrize("case", SAVED["cases"], ids=named)
def test_loss_and_gradient_equal_trls(case: dict[str, Any]) -> None:
    loss, gradient_BT = ours(case)
    expected_BT = torch.tensor(case["gradient"], dtype=torch.float64)
    assert loss == pytest.approx(case["value"], abs=1e-6)
    torch.testing.assert_close(gradient_BT, expected_BT, rtol=0, atol=1e-6)
    assert float(expected_BT.abs().max()) > 1e-3


def test_one_anchor_is_above_zero_and_one_is_clipped() -> None:
    far, _, clipped = (answers_of(case, table("log_probs")).anchor for case in KTO_CASES)
    assert far == pytest.approx(0.4) and clipped == 0.0


@pytest.mark.parametrize("case", [*SAVED["cases"][:4], SAVED["cases"][8]], ids=named)
def test_another_beta_would_be_seen(case: dict[str, Any]) -> None:
    """Negative control."""
    loss, _ = ours({**case, "beta": case["beta"] * 1.01})
    assert loss != pytest.approx(case["value"], abs=1e-6)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_trl_still_makes_the_saved_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl", reason="TRL is not installed: pip install -e '.[peers]'")
    version = importlib.metadata.version("trl")
    if version != "1.16.0":
        pytest.skip(f"the saved numbers are TRL 1.16.0's and {version} is installed: pip install trl==1.16.0")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    made = made_by_trl()
    assert made["inputs"] == GIVEN
    for case, saved in zip(made["cases"], SAVED["cases"], strict=True):
        assert case["value"] == pytest.approx(saved["value"], abs=1e-6), named(case)
        torch.testing.assert_close(torch.tensor(case["gradient"]), torch.tensor(saved["gradient"]), rtol=0, atol=1e-6)
