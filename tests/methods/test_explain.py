from __future__ import annotations

import json

import pytest
from method_batches import EVERY_METHOD

from rung.methods import METHODS
from rung.methods.data import slots
from rung.methods.explain import Change, card, describe, difference, explain, first_paragraph
from rung.methods.grpo import GRPO
from rung.methods.parts.advantages import EpisodeReturn, OthersInBatch, RewardToGo
from rung.methods.parts.aggregations import PerConstantLength
from rung.methods.parts.objectives import ClippedSurrogate
from rung.methods.reinforce import REINFORCE, REINFORCE_BASELINE, RLOO

every_method = pytest.mark.parametrize("method", EVERY_METHOD.values(), ids=EVERY_METHOD.keys())


def slot_of(change: Change) -> str:
    return change.slot


@every_method
def test_a_card_is_json_and_holds_every_slot(method) -> None:
    content = json.loads(json.dumps(card(method), allow_nan=False))
    assert list(content["slots"]) == slots(method)
    assert content["name"] == method.name and content["paper"] == method.paper
    assert content["formula"] == method.formula()
    assert content["deviations"] == list(method.deviations)


@every_method
def test_an_explanation_names_every_slot_with_what_fills_it(method) -> None:
    lines = explain(method).splitlines()
    for slot in slots(method):
        (line,) = [line for line in lines if line.startswith(f"  {slot} ")]
        assert line.endswith(describe(getattr(method, slot)))
    assert method.paper in lines[1] and method.summary in lines[0]
    assert method.advantage.formula in explain(method) and method.aggregation.formula in explain(method)
    assert all(f"  - {deviation}" in lines for deviation in method.deviations)


def test_an_explanation_says_what_a_part_is() -> None:
    assert first_paragraph(GRPO.advantage) in explain(GRPO)
    assert first_paragraph(GRPO.advantage).startswith("A_i = (R_i - group mean)")


def test_formula_of_grpo_by_hand() -> None:
    assert GRPO.formula() == (
        "J = E[ 1/N ∑_i 1/|o_i| ∑_t min(ρ A, clip(ρ, 1-0.2, 1+0.2) A), ρ = π(a)/π_old(a) ]; "
        "0.04 (π_ref/π - log π_ref/π - 1) in the loss\n"
        "A_{i,t} = (R_i - mean_j R_j) / (std_j R_j + 1e-06) over the prompt's samples"
    )
    assert REINFORCE.formula() == "J = E[ 1/N ∑_i ∑_t A log π(a) ]\nA_{i,t} = ∑_{k≥t} r_{i,k}"


@pytest.mark.parametrize("before", METHODS.values(), ids=METHODS.keys())
def test_a_difference_turned_round_is_the_same_slots(before) -> None:
    for after in METHODS.values():
        there, back = difference(before, after), difference(after, before)
        turned = [Change(slot=change.slot, before=change.after, after=change.before) for change in there]
        assert sorted(back, key=slot_of) == sorted(turned, key=slot_of), "of two kinds each names its own slots first"
        same = before is after or {before.name, after.name} == {"dqn", "dqn@2013"}  # two names for one method
        assert (there == []) == same, after.name


def test_a_slot_of_another_kind_is_not_a_function_of_the_same_name() -> None:
    changes = {change.slot: change for change in difference(METHODS["dqn"], METHODS["dpo"])}
    assert callable(METHODS["dqn"].loss) and changes["loss"].before is None
    assert changes["kind"].words() == "kind: ValueLearning → PreferenceLearning"


@every_method
def test_equal_methods_differ_in_nothing(method) -> None:
    assert difference(method, method) == []
    assert difference(method, method.changed(name="other", paper="another", summary="", deviations=())) == []


def test_differences_down_the_ladder() -> None:
    def slots_of(before, after) -> list[str]:
        return [change.slot for change in difference(before, after)]

    assert slots_of(REINFORCE, REINFORCE_BASELINE) == ["advantage.baseline"]
    assert slots_of(REINFORCE_BASELINE, RLOO) == ["samples_per_prompt", "reference_kl", "advantage"]
    assert slots_of(METHODS["grpo"], METHODS["dapo"]) == [
        *("samples_per_prompt", "keep_group", "shape_reward", "reference_kl", "objective.high", "aggregation"),
        *("optimizer.warmup_steps", "num_minibatches"),
    ]


def test_within_one_part_only_the_changed_numbers_are_named() -> None:
    wider = GRPO.changed(objective=ClippedSurrogate(high=0.28))
    (change,) = difference(GRPO, wider)
    assert (change.slot, change.before, change.after) == ("objective.high", 0.2, 0.28)
    assert change.words() == "objective.high: 0.2 → 0.28"
    (baseline,) = difference(REINFORCE, REINFORCE_BASELINE)
    assert baseline.words() == "advantage.baseline: none → OthersInBatch()"


def test_describe() -> None:
    assert describe(None) == "none" and describe(1e-6) == "1e-06" and describe(3) == "3"
    assert describe(PerConstantLength(length=8)) == "PerConstantLength(length=8)"
    assert describe(EpisodeReturn(OthersInBatch())) == "EpisodeReturn(baseline=OthersInBatch())"
    assert describe(RewardToGo()) == "RewardToGo(discount=1, baseline=none)"
