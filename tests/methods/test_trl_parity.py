"""GRPO's loss and gradient against TRL 1.16.0's own, on saved numbers, and afresh where TRL is installed."""

from __future__ import annotations

import importlib.metadata
import json

import pytest
import torch
from trl_numbers import FILE, cases, inputs, made_by_trl

from rung.batch import Batch
from rung.methods import METHODS, PolicyGradient
from rung.methods.grpo import GRPO
from rung.methods.parts.advantages import GroupNormalized
from rung.methods.parts.aggregations import PerConstantLength, PerSequence, PerToken
from rung.methods.parts.chosen_tokens import HighEntropy
from rung.methods.parts.corrections import StaleNegatives
from rung.methods.parts.distillation import ForwardKL, GeneralisedJSD, ReverseKL, ToTeacher
from rung.methods.parts.objectives import ClippedSurrogate
from rung.methods.parts.protocols import Aggregation, Divergence, Estimator
from rung.methods.parts.reference_kl import K2, K3, KLInLoss

SAVED = json.loads(FILE.read_text(encoding="utf-8"))
AGGREGATIONS: dict[str, Aggregation] = {
    "grpo": PerSequence(),
    "bnpo": PerToken(),
    "dapo": PerToken(),
    "dr_grpo": PerConstantLength(length=SAVED["inputs"]["max_length"]),
}


def table(name: str) -> torch.Tensor:
    return torch.tensor(SAVED["inputs"][name], dtype=torch.float64)


def same_numbers(fresh: bool) -> Batch:
    given = SAVED["inputs"]
    lengths_B = torch.tensor(given["lengths"])
    rows = len(lengths_B)
    log_probs_BT = table("log_probs")
    mask_BT = torch.arange(log_probs_BT.shape[1])[None] < lengths_B[:, None]
    rewards_BT = torch.zeros_like(log_probs_BT)
    rewards_BT[torch.arange(rows), lengths_B - 1] = table("rewards")
    nothing_BT = torch.zeros_like(log_probs_BT)
    return Batch(
        contexts=tuple(torch.ones(2) for _ in range(rows)),
        actions_BT=nothing_BT.long(),
        action_mask_BT=mask_BT,
        sampler_log_probs_BT=log_probs_BT,
        rewards_BT=rewards_BT,
        discounts_BT=nothing_BT + 1,
        cut_BT=nothing_BT.bool(),
        bootstrap_BT=nothing_BT,
        group_ids_B=torch.arange(rows) // given["group_size"],
        scores_B=table("rewards"),
        truncated_B=torch.zeros(rows, dtype=torch.bool),
        old_log_probs_BT=None if fresh else table("old_log_probs"),
        reference_log_probs_BT=table("reference_log_probs"),
    )


def as_trl_ships(case: dict, estimator: Estimator) -> PolicyGradient:
    """TRL's GRPO in our slots."""
    return GRPO.changed(
        name="grpo@trl",
        samples_per_prompt=SAVED["inputs"]["group_size"],
        advantage=GroupNormalized(epsilon=1e-4, ddof=1),
        objective=ClippedSurrogate(low=0.2, high=0.2),
        aggregation=AGGREGATIONS[case["loss_type"]],
        reference_kl=KLInLoss(case["beta"], estimator) if case["beta"] else None,
    )


def ours(case: dict, estimator: Estimator | None = None) -> tuple[float, torch.Tensor]:
    method = as_trl_ships(case, estimator or K3())
    log_probs_BT = table("log_probs").requires_grad_()
    batch = method.with_advantages(same_numbers(case["fresh"]))
    loss = (method.weights(batch, lambda count: count) * method.losses(batch, log_probs_BT)).sum()
    (gradient_BT,) = torch.autograd.grad(loss, log_probs_BT)
    return float(loss.detach()), gradient_BT


def named(case: dict) -> str:
    samples = "fresh" if case["fresh"] else "older"
    return f"{case['loss_type']}, beta {case['beta']}, {samples} samples" + (
        ", corrected" if case["kl_correction"] else ""
    )


PLAIN = [case for case in SAVED["cases"] if not case["kl_correction"]]
CORRECTED, *CORRECTED_OLDER = (case for case in SAVED["cases"] if case["kl_correction"])


def test_the_saved_numbers_are_of_the_inputs_in_the_script() -> None:
    assert SAVED["inputs"] == inputs()
    assert SAVED["made_by"].startswith("trl 1.16.0")
    assert [
        {key: case[key] for key in ("loss_type", "beta", "fresh", "kl_correction")} for case in SAVED["cases"]
    ] == cases()


def test_advantages_equal_trls() -> None:
    batch = as_trl_ships(PLAIN[0], K3()).with_advantages(same_numbers(fresh=True))
    expected_B = torch.tensor(SAVED["advantages"], dtype=torch.float64)
    torch.testing.assert_close(batch.advantages_BT[:, 0], expected_B, rtol=0, atol=1e-6)
    assert not bool(batch.advantages_BT[-3:].any())


@pytest.mark.parametrize("case", PLAIN, ids=named)
def test_loss_and_gradient_equal_trls(case: dict) -> None:
    loss, gradient_BT = ours(case)
    expected_BT = torch.tensor(case["gradient"], dtype=torch.float64)
    assert loss == pytest.approx(case["loss"], abs=1e-6)
    torch.testing.assert_close(gradient_BT, expected_BT, rtol=0, atol=1e-6)
    assert float(expected_BT.abs().max()) > 1e-2


def test_some_saved_tokens_are_clipped_so_that_the_clip_is_compared() -> None:
    method = as_trl_ships(PLAIN[0], K3())
    batch = method.with_advantages(same_numbers(fresh=False))
    binds = method.objective.diagnostics(batch, table("log_probs"))
    assert int(binds["clip/low"].sum()) >= 2 and int(binds["clip/high"].sum()) >= 2


def test_the_presets_kl_times_the_ratio_equals_trls_as_it_ships() -> None:
    """grpo@trl with a beta above 0: the value and the gradient of TRL's default, on fresh and on older samples."""
    for case in (CORRECTED, *CORRECTED_OLDER):
        kl = KLInLoss(case["beta"], K3(), times_ratio=True)
        method = METHODS["grpo@trl"].changed(reference_kl=kl, aggregation=AGGREGATIONS[case["loss_type"]])
        log_probs_BT = table("log_probs").requires_grad_()
        batch = method.with_advantages(same_numbers(case["fresh"]))
        loss = (method.weights(batch, lambda count: count) * method.losses(batch, log_probs_BT)).sum()
        (gradient_BT,) = torch.autograd.grad(loss, log_probs_BT)
        assert float(loss.detach()) == pytest.approx(case["loss"], abs=1e-6)
        expected_BT = torch.tensor(case["gradient"], dtype=torch.float64)
        torch.testing.assert_close(gradient_BT, expected_BT, rtol=0, atol=1e-6)
        plain_BT = ours(case)[1]
        assert float((plain_BT - expected_BT).abs().max()) > 1e-4, "without the ratio it is another gradient"


def test_trls_corrected_kl_on_fresh_samples_has_the_gradient_of_k2() -> None:
    """TRL ships k3 times the ratio: the value of k3, and at ratio 1 the gradient of k2. Plain k3 is another one."""
    expected_BT = torch.tensor(CORRECTED["gradient"], dtype=torch.float64)
    plain_loss, plain_BT = ours(CORRECTED, K3())
    _, k2_BT = ours(CORRECTED, K2())
    assert plain_loss == pytest.approx(CORRECTED["loss"], abs=1e-6)
    torch.testing.assert_close(k2_BT, expected_BT, rtol=0, atol=1e-6)
    assert float((plain_BT - expected_BT).abs().max()) > 1e-4


AS_TRL_SHIPS = METHODS["grpo@trl"].changed(samples_per_prompt=SAVED["inputs"]["group_size"])
FURTHER = {
    "sapo": AS_TRL_SHIPS.changed(objective=METHODS["sapo"].objective, aggregation=PerSequence()),  # type: ignore[union-attr]
    "off_policy_mask": AS_TRL_SHIPS.changed(
        reference_kl=METHODS["grpo@deepseek-v3.2"].reference_kl,  # type: ignore[union-attr]
        correction=StaleNegatives(above=0.05),
    ),
    "top_entropy": AS_TRL_SHIPS.changed(objective=HighEntropy(share=0.4)),
}


@pytest.mark.parametrize("name", FURTHER)
def test_the_later_losses_equal_trls(name: str) -> None:
    """SAPO; the KL and the sequence mask of DeepSeek-V3.2; the tokens of high entropy."""
    case = next(case for case in SAVED["further"] if name in (case["loss_type"], *case))
    log_probs_BT = table("log_probs").requires_grad_()
    batch = same_numbers(fresh=False).changed(
        sampler_log_probs_BT=table("old_log_probs"), entropy_BT=-table("log_probs")
    )

    def of(method: PolicyGradient) -> tuple[float, torch.Tensor]:
        chosen = method.choosing(method.with_advantages(batch), log_probs_BT.detach(), lambda count: count, (0,))
        loss = (method.weights(chosen, lambda count: count) * method.losses(chosen, log_probs_BT)).sum()
        return float(loss.detach()), torch.autograd.grad(loss, log_probs_BT)[0]

    loss, gradient_BT = of(FURTHER[name])
    expected_BT = torch.tensor(case["gradient"], dtype=torch.float64)
    assert loss == pytest.approx(case["loss"], abs=1e-6)
    torch.testing.assert_close(gradient_BT, expected_BT, rtol=0, atol=1e-6)
    plain = {"objective": AS_TRL_SHIPS.objective, "aggregation": AS_TRL_SHIPS.aggregation, "correction": None}
    assert of(FURTHER[name].changed(**plain))[0] != pytest.approx(case["loss"], abs=1e-4)


@pytest.mark.parametrize("case", SAVED["divergences"]["cases"], ids=lambda case: f"beta {case['beta']}")
def test_a_teachers_divergence_equals_trls(case: dict) -> None:
    """Value and gradient of the distillation over the whole vocabulary, at TRL's temperature."""
    parts: dict[float, Divergence] = {0.0: ForwardKL(), 1.0: ReverseKL()}
    objective = ToTeacher(parts.get(case["beta"]) or GeneralisedJSD(case["beta"]))
    given = SAVED["divergences"]
    logits_NV = torch.tensor(given["student"], dtype=torch.float64).requires_grad_()
    own, teacher = (x / given["temperature"] for x in (logits_NV, torch.tensor(given["teacher"], dtype=torch.float64)))
    loss = objective.to_teacher(own.log_softmax(-1), teacher.log_softmax(-1)).mean()
    (gradient_NV,) = torch.autograd.grad(loss, logits_NV)
    assert float(loss.detach()) == pytest.approx(case["loss"], abs=1e-6)
    torch.testing.assert_close(gradient_NV, torch.tensor(case["gradient"]).double(), rtol=0, atol=1e-6)
    other = ReverseKL() if case["beta"] == 0 else ForwardKL()
    missed = other(own.detach().log_softmax(-1), teacher.log_softmax(-1)).mean()
    assert float(missed) != pytest.approx(case["loss"], abs=1e-3)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_trl_still_makes_the_saved_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl", reason="TRL is not installed: pip install -e '.[peers]'")
    version = importlib.metadata.version("trl")
    if version != "1.16.0":
        pytest.skip(f"the saved numbers are TRL 1.16.0's and {version} is installed: pip install trl==1.16.0")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    made = made_by_trl()
    assert made["inputs"] == SAVED["inputs"]
    for case, saved in zip(made["divergences"]["cases"], SAVED["divergences"]["cases"], strict=True):
        assert case["loss"] == pytest.approx(saved["loss"], abs=1e-5)
    assert made["advantages"] == pytest.approx(SAVED["advantages"], abs=1e-6)
    for case, saved in zip([*made["cases"], *made["further"]], [*SAVED["cases"], *SAVED["further"]], strict=True):
        assert case["loss"] == pytest.approx(saved["loss"], abs=1e-6), case["loss_type"]
        torch.testing.assert_close(torch.tensor(case["gradient"]), torch.tensor(saved["gradient"]), rtol=0, atol=1e-6)
