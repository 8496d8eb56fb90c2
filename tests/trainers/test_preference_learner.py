"""One update on pairs: the same gradient however they are cut or padded; exact at the start; nothing non-finite."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from pairs import TableAnswers, random_pairs, rows_with_reference

from rung.errors import NonFiniteError
from rung.methods import METHODS, PreferenceLearning
from rung.methods.dpo import DPO
from rung.methods.parts.preference_losses import DPOLoss, KTOLoss, pairs_of
from rung.trainers.preferences.learner import PreferenceLearner, mismatched
from rung.trainers.preferences.tokens import PairRows, whole_pairs

PREFERENCES = [method for method in METHODS.values() if isinstance(method, PreferenceLearning)]
every_method = pytest.mark.parametrize("method", PREFERENCES, ids=lambda m: m.name)


def unbounded(method: PreferenceLearning) -> PreferenceLearning:
    return dataclasses.replace(method, optimizer=dataclasses.replace(method.optimizer, max_grad_norm=1e9))


def learner_of(method: PreferenceLearning, *, tokens: int = 10_000, seed: int = 0) -> PreferenceLearner:
    return PreferenceLearner(
        TableAnswers(seed=seed), unbounded(method), reference=TableAnswers(seed=1), micro_batch_tokens=tokens
    )


def gradient(method: PreferenceLearning, rows: PairRows, *, tokens: int) -> torch.Tensor:
    learner = learner_of(method, tokens=tokens)
    learner.update(rows, 1)
    return learner.model.table_VV.grad.clone()


@every_method
@pytest.mark.parametrize("tokens", [1, 12, 40])
def test_any_micro_batch_split_gives_the_same_gradient(method: PreferenceLearning, tokens: int) -> None:
    rows = rows_with_reference(random_pairs(), TableAnswers(seed=1))
    whole = gradient(method, rows, tokens=10_000)
    assert whole.abs().max() > 1e-5
    torch.testing.assert_close(gradient(method, rows, tokens=tokens), whole, rtol=1e-12, atol=1e-12)


@every_method
def test_padding_and_what_stands_in_it_change_nothing(method: PreferenceLearning) -> None:
    rows = rows_with_reference(random_pairs(), TableAnswers(seed=1))
    wide = {name: torch.nn.functional.pad(getattr(rows.batch, name), (0, 4), value=5) for name in ("actions_BT",)}
    for name in ("action_mask_BT", "rewards_BT", "discounts_BT", "sampler_log_probs_BT", "cut_BT", "bootstrap_BT"):
        wide[name] = torch.nn.functional.pad(getattr(rows.batch, name), (0, 4))
    padded = dataclasses.replace(rows, batch=rows.batch.changed(**wide))
    narrow = gradient(method, rows, tokens=30)
    torch.testing.assert_close(gradient(method, padded, tokens=30), narrow, rtol=0, atol=1e-14)


def test_a_mean_taken_per_micro_batch_would_be_seen() -> None:
    """Negative control: unequal halves, each averaged by itself, have another mean."""
    rows = rows_with_reference(random_pairs(), TableAnswers(seed=1))
    whole = gradient(DPO, rows, tokens=10_000)
    parts = [rows.rows(torch.arange(0, 4)), rows.rows(torch.arange(4, 18))]
    halves = [gradient(DPO, part, tokens=10_000) / 2 for part in parts]
    assert not torch.allclose(sum(halves), whole, rtol=1e-3)


def test_the_gradient_is_that_of_the_formula() -> None:
    """DPO by hand: -β σ(-β h) ∂h, averaged over pairs."""
    rows, model = rows_with_reference(random_pairs(), TableAnswers(seed=1)), TableAnswers(seed=0)
    values_B = model.answer_values(rows.batch)
    ratios_B = values_B - rows.reference_B
    h_M = ratios_B[0::2] - ratios_B[1::2]
    weights_M = -0.1 * torch.sigmoid(-0.1 * h_M.detach()) / len(h_M)
    (expected,) = torch.autograd.grad((weights_M * (values_B[0::2] - values_B[1::2])).sum(), model.table_VV)
    torch.testing.assert_close(gradient(DPO, rows, tokens=25), expected)


def test_at_the_start_the_loss_is_exactly_log_2_and_nothing_is_told_apart() -> None:
    rows = rows_with_reference(random_pairs(), TableAnswers(seed=0))
    learned = learner_of(DPO).update(rows, 1)
    shown = learned.metrics()
    assert learned.metrics()["loss"] == math.log(2)
    assert shown["preference/margin"] == 0.0 and shown["preference/accuracy"] == 0.5
    assert shown["preference/chosen_reward"] == 0.0 == shown["preference/rejected_reward"]


def test_advantages_are_how_strongly_each_answer_is_pushed() -> None:
    rows = rows_with_reference(random_pairs(), TableAnswers(seed=0))
    batch = learner_of(DPO).update(rows, 1).batch
    first_B = batch.advantages_BT[:, 0]
    torch.testing.assert_close(first_B, torch.tensor([0.05, -0.05] * 9, dtype=torch.float64))
    assert not batch.advantages_BT[~batch.action_mask_BT].any()


@every_method
def test_many_updates_tell_the_pairs_apart(method: PreferenceLearning) -> None:
    rows = rows_with_reference(random_pairs(4), TableAnswers(seed=0))
    faster = method.changed(optimizer=dataclasses.replace(method.optimizer, learning_rate=0.05, warmup_steps=0))
    learner = learner_of(faster)
    first, last = learner.update(rows, 1), None
    for step in range(2, 30):
        last = learner.update(rows, step)
    assert last is not None and last.metrics()["loss"] < first.metrics()["loss"]
    assert last.metrics()["preference/margin"] > first.metrics()["preference/margin"]
    assert learner.updates == 29


def test_nothing_non_finite_reaches_the_weights() -> None:
    rows = rows_with_reference(random_pairs(), TableAnswers(seed=1))
    broken = dataclasses.replace(rows, reference_B=rows.reference_B.clone().fill_(math.nan))
    learner = learner_of(DPO)
    before = learner.model.table_VV.detach().clone()
    with pytest.raises(NonFiniteError, match="the loss is nan"):
        learner.update(broken, 1)
    torch.testing.assert_close(learner.model.table_VV.detach(), before, rtol=0, atol=0)


def test_warm_up_is_counted_in_updates() -> None:
    learner = learner_of(DPO)
    rows = rows_with_reference(random_pairs(), TableAnswers(seed=1))
    rates = [learner.update(rows, step).metrics()["learning_rate"] for step in (1, 2, 3)]
    assert rates == pytest.approx([1e-6 / 150, 2e-6 / 150, 3e-6 / 150])


# --- pairs stay whole -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [1, 9, 17, 10_000])
def test_a_pair_is_never_cut_apart(tokens: int) -> None:
    batch = rows_with_reference(random_pairs(), None).batch
    parts = list(whole_pairs(batch, tokens))
    assert torch.cat(parts).tolist() == list(range(len(batch)))
    assert all(len(part) % 2 == 0 and int(part[0]) % 2 == 0 for part in parts)
    assert (len(parts) == 9) if tokens == 1 else (len(parts) == 1) == (tokens == 10_000)


def test_pairs_are_found_by_their_group_and_chosen_first() -> None:
    batch = rows_with_reference(random_pairs(3), None).batch
    assert pairs_of(batch).tolist() == [[0, 1], [2, 3], [4, 5]]
    turned = batch.rows(torch.tensor([5, 4, 1, 0]))
    assert pairs_of(turned).tolist() == [[1, 0], [3, 2]]
    assert pairs_of(batch.rows(torch.tensor([0, 3, 4]))).tolist() == []


# --- KTO ------------------------------------------------------------------------------------------------------------

KTO = METHODS["kto"]


def test_ktos_anchor_is_taken_from_the_whole_step_before_it_is_cut() -> None:
    rows = rows_with_reference(random_pairs(), TableAnswers(seed=1))
    anchors = [learner_of(KTO, tokens=tokens).update(rows, 1).metrics()["preference/anchor"] for tokens in (1, 10_000)]
    assert anchors[0] == pytest.approx(anchors[1], abs=1e-12)
    shifted = mismatched(rows.batch)
    with torch.no_grad():
        by_hand = (TableAnswers(seed=0).answer_values(shifted) - TableAnswers(seed=1).answer_values(shifted)).mean()
    assert anchors[1] == pytest.approx(max(0.0, float(by_hand)))


def test_mismatched_answers_follow_another_pairs_prompt() -> None:
    batch = rows_with_reference(random_pairs(3), None).batch
    shifted = mismatched(batch)
    prompts = [context.tolist() for context in batch.contexts]
    assert [context.tolist() for context in shifted.contexts] == prompts[2:] + prompts[:2]
    assert torch.equal(shifted.actions_BT, batch.actions_BT)


def test_kto_learns_from_answers_labelled_alone() -> None:
    pairs = [dataclasses.replace(one, answers=one.answers[n % 2 : n % 2 + 1]) for n, one in enumerate(random_pairs(8))]
    rows = rows_with_reference(pairs, TableAnswers(seed=0))
    faster = KTO.changed(optimizer=dataclasses.replace(KTO.optimizer, learning_rate=0.05), loss=KTOLoss(beta=0.5))
    learner = learner_of(faster)
    first = learner.update(rows, 1)
    for step in range(2, 20):
        last = learner.update(rows, step)
    assert first.metrics()["loss"] == 0.5 and last.metrics()["loss"] < 0.45
    assert last.metrics()["preference/chosen_reward"] > 0 > last.metrics()["preference/rejected_reward"]


# --- the method -----------------------------------------------------------------------------------------------------


def test_impossible_slots_are_named() -> None:
    assert DPO.changed(pairs_per_step=0).problems() == ["method.pairs_per_step: got 0, expected at least 1"]
    (problem,) = KTO.changed(pairs_per_step=1).problems()
    assert "KTOLoss" in problem and "2 or more" in problem


def test_a_method_without_a_reference_reads_none() -> None:
    for method in PREFERENCES:
        rows = rows_with_reference(random_pairs(), TableAnswers(seed=1) if method.needs_start() else None)
        assert math.isfinite(learner_of(method).update(rows, 1).metrics()["loss"]), method.name
    assert not METHODS["simpo"].needs_start() and METHODS["dpo"].needs_start()


def test_per_token_divides_by_the_answers_own_length() -> None:
    rows = rows_with_reference(random_pairs(), TableAnswers(seed=1))
    answers = rows.answers(TableAnswers(seed=0).answer_values(rows.batch).detach())
    means_B = (answers.values_B - answers.reference_B) / rows.batch.action_mask_BT.sum(1)
    expected_M = -torch.nn.functional.logsigmoid(5 * (means_B[0::2] - means_B[1::2]))
    torch.testing.assert_close(DPOLoss(beta=5.0, per_token=True)(answers), expected_M)
