"""The reward learner: what it draws, what it holds out, what it finds, and that a restored one goes on as it was."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from rung.methods.parts.learned_reward import SegmentPreferences
from rung.trainers.rlhf_2017.reward_learner import RewardLearner, poisson_count

PART = SegmentPreferences(segment=5, pairs_per_update=16)
Labels = list[tuple[torch.Tensor, torch.Tensor, float]]


def labels(count: int, *, seed: int = 0, wrong: float = 0.0) -> Labels:
    """Pairs of segments of three numbers a step; the true reward is the first number, answers are its sums' order."""
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randn(count, 2, 5, 3, generator=generator)
    turned = torch.rand(count, generator=generator) < wrong
    truth_N2 = pairs[..., 0].sum(2)
    first_N = (truth_N2[:, 0] > truth_N2[:, 1]) ^ turned
    return [(pair[0], pair[1], float(first)) for pair, first in zip(pairs, first_N, strict=True)]


def learner(given: Labels, part: SegmentPreferences = PART, seed: int = 0) -> RewardLearner:
    made = RewardLearner(part, inputs=3, seed=seed)
    made.add(given)
    return made


def test_counts_are_poisson() -> None:
    uniforms = [(i + 0.5) / 10_000 for i in range(10_000)]
    counts = [poisson_count(u) for u in uniforms]
    for count in range(5):
        assert counts.count(count) / 10_000 == pytest.approx(math.exp(-1) / math.factorial(count), abs=2e-4)


def test_1_e_of_the_labels_is_held_out_of_each_predictor_and_stays_so() -> None:
    made = learner(labels(600))
    held_out_NP = made.held_out_NP()
    share_P = held_out_NP.double().mean(0)
    error = math.sqrt(math.exp(-1) * (1 - math.exp(-1)) / 600)
    assert ((share_P - math.exp(-1)).abs() < 4 * error).all()
    assert not torch.equal(held_out_NP[:, 0], held_out_NP[:, 1]), "each predictor has its own"
    made.add(labels(50, seed=1))
    assert torch.equal(made.held_out_NP()[:600], held_out_NP)
    grown = learner(labels(7))
    for label in labels(12)[7:]:
        grown.add([label])
    assert torch.equal(grown.held_out_NP(), learner(labels(12)).held_out_NP()), "one by one or at once"


def test_a_predictor_never_sees_its_held_out_labels() -> None:
    """Answers turned round where predictor 1 alone does not look: it learns the same, the others do not."""
    given = labels(60)
    made = learner(given)
    held_out_NP = made.held_out_NP()
    hidden_N = held_out_NP[:, 1] & ~held_out_NP[:, 0] & ~held_out_NP[:, 2]
    assert hidden_N.any()
    turned = [(a, b, 1 - mu if hide else mu) for (a, b, mu), hide in zip(given, hidden_N.tolist(), strict=True)]
    other = learner(turned)
    made.fit(1, 10)
    other.fit(1, 10)
    weight, others = (one.ensemble.parameters()["1.weight"] for one in (made, other))
    assert torch.equal(weight[1], others[1])
    assert not torch.equal(weight[0], others[0]) and not torch.equal(weight[2], others[2])


def test_it_finds_the_reward_and_says_how_well() -> None:
    made = learner(labels(200))
    before = made.fit(0, 0)
    after = made.fit(1, 300)
    assert before["preferences/train_loss"] == pytest.approx(math.log(2), abs=0.1)
    assert after["preferences/train_loss"] is not None and after["preferences/train_loss"] < 0.3
    assert after["preferences/accuracy"] is not None and after["preferences/accuracy"] > 0.85
    steps_ND = torch.randn(1000, 3, generator=torch.Generator().manual_seed(9))
    made.ensemble.normalise(steps_ND)
    found = torch.corrcoef(torch.stack([made.ensemble.rewards(steps_ND), steps_ND[:, 0].double()]))[0, 1]
    assert found > 0.9


def test_labels_that_say_nothing_teach_nothing() -> None:
    """Negative control: coins for answers."""
    noise = labels(200, wrong=0.5)
    found = learner(noise).fit(1, 300)
    assert found["preferences/accuracy"] is not None and abs(found["preferences/accuracy"] - 0.5) < 0.12
    assert found["preferences/validation_loss"] > found["preferences/train_loss"]  # type: ignore[operator]


def test_the_l2_coefficient_rises_while_predictors_overfit_and_brings_the_losses_together() -> None:
    made = learner(labels(60, wrong=0.4), dataclasses.replace(PART, coin_share=0.0))
    first = made.fit(0, 150)
    assert first["preferences/validation_loss"] > 1.5 * first["preferences/train_loss"]  # type: ignore[operator]
    gaps, coefficients = [], [float(made.l2_P.mean())]
    for step in range(1, 25):
        found = made.fit(step, 40)
        gaps.append(found["preferences/validation_loss"] / found["preferences/train_loss"])  # type: ignore[operator]
        coefficients.append(float(made.l2_P.mean()))
    assert max(coefficients) > 10 * coefficients[0]
    assert sum(gaps[-5:]) / 5 < 0.6 * max(gaps[:3])


def test_a_tie_is_learnt_and_not_counted_as_right_or_wrong() -> None:
    one, two, _ = labels(1)[0]
    made = learner([(one, two, 0.5)] * 20)
    found = made.fit(1, 100)
    assert found["preferences/accuracy"] is None
    first_PN, second_PN = made.returns(made.pairs_N2KD)
    assert (first_PN - second_PN).abs().max() < 0.2


def test_one_label_is_enough_to_run_and_none_is_held_out_twice() -> None:
    for seed in range(6):  # with one label a predictor often has no training data, or no validation data
        found = learner(labels(1), seed=seed).fit(1, 3)
        assert all(value is None or math.isfinite(value) for value in found.values())


def test_restored_it_goes_on_to_the_last_bit() -> None:
    whole = learner(labels(30))
    whole.fit(1, 7)
    saved = {name: tensor.clone() for name, tensor in whole.tensors().items()}
    other = RewardLearner(PART, inputs=3, seed=0)
    other.load_tensors(saved)
    for one in (whole, other):
        one.add(labels(5, seed=3))
    assert whole.fit(2, 7) == other.fit(2, 7)
    assert all(torch.equal(tensor, other.tensors()[name]) for name, tensor in whole.tensors().items())
    assert set(whole.tensors()) == set(other.tensors())


def test_other_seeds_give_other_predictors_and_other_draws() -> None:
    one, two = learner(labels(40), seed=0), learner(labels(40), seed=1)
    assert not torch.equal(one.held_out_NP(), two.held_out_NP())
    assert not torch.equal(one.ensemble.parameters()["0.weight"], two.ensemble.parameters()["0.weight"])
