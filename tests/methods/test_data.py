from __future__ import annotations

import json

import pytest
from method_batches import EVERY_METHOD

from rung.errors import SettingsError
from rung.methods import METHODS
from rung.methods.data import IDENTITY, as_data, from_data, slots, with_settings
from rung.methods.grpo import GRPO
from rung.methods.parts.advantages import EpisodeReturn, GroupCentred, GroupNormalized, OthersInBatch, OthersInGroup
from rung.methods.parts.objectives import ClippedSurrogate
from rung.methods.parts.reference_kl import K1, K3, KLInLoss, KLInReward
from rung.methods.reinforce import REINFORCE, RLOO


def problems_of(method, overrides) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        with_settings(method, overrides)
    return caught.value.problems


@pytest.mark.parametrize("method", EVERY_METHOD.values(), ids=EVERY_METHOD.keys())
def test_data_makes_the_same_method_again(method) -> None:
    assert from_data(as_data(method)) == method
    assert from_data(json.loads(json.dumps(as_data(method), allow_nan=False))) == method


def test_slots_are_all_fields_but_the_identity() -> None:
    assert slots(GRPO) == [
        *(
            "samples_per_prompt",
            "behaviour",
            "horizon",
            "learned_reward",
            "keep_group",
            "shape_reward",
            "reference_kl",
            "critic",
            "advantage",
        ),
        *("whiten", "objective", "imitation", "entropy_bonus", "entropy_target", "correction", "drop_rows"),
        *("aggregation", "optimizer", "num_epochs"),
        "num_minibatches",
    ]
    assert set(as_data(GRPO)) == {"kind", *slots(GRPO), *IDENTITY}


def test_as_data_of_a_part() -> None:
    assert as_data(KLInLoss()) == {
        "part": "KLInLoss",
        "coefficient": 0.04,
        "estimator": {"part": "K3"},
        "times_ratio": False,
        "refresh_every": None,
    }


def test_settings_reach_into_a_part_and_leave_the_rest() -> None:
    found = with_settings(
        GRPO, {"objective": {"high": 0.28}, "samples_per_prompt": 8, "optimizer": {"learning_rate": 1}}
    )
    assert found.objective == ClippedSurrogate(low=0.2, high=0.28)
    assert found.samples_per_prompt == 8 and found.optimizer.learning_rate == 1.0
    assert isinstance(found.optimizer.learning_rate, float)
    assert (
        found.changed(objective=GRPO.objective, samples_per_prompt=64, optimizer=GRPO.optimizer, parent="ppo") == GRPO
    )


def test_settings_fill_and_empty_a_slot() -> None:
    assert with_settings(REINFORCE, {"reference_kl": "KLInReward"}).reference_kl == KLInReward()
    assert with_settings(GRPO, {"reference_kl": None}).reference_kl is None
    part = {"part": "KLInReward", "coefficient": 0.1}
    assert with_settings(GRPO, {"reference_kl": part}).reference_kl == KLInReward(0.1, K1())
    assert with_settings(GRPO, {"reference_kl": {"estimator": "K1"}}).reference_kl == KLInLoss(0.04, K1())
    assert with_settings(GRPO, {"advantage": "GroupCentred"}).advantage == GroupCentred()
    assert with_settings(RLOO, {"advantage": {"baseline": "OthersInBatch"}}).advantage == EpisodeReturn(OthersInBatch())
    assert with_settings(RLOO, {"advantage": {"part": "EpisodeReturn"}}).advantage == EpisodeReturn(OthersInGroup())


def test_another_part_starts_from_its_own_defaults() -> None:
    method = GRPO.changed(reference_kl=KLInLoss(coefficient=0.5, estimator=K3()))
    assert with_settings(method, {"reference_kl": {"part": "KLInReward"}}).reference_kl == KLInReward()
    assert with_settings(method, {"reference_kl": {"part": "KLInLoss"}}).reference_kl == method.reference_kl


def test_no_settings_change_nothing() -> None:
    for method in METHODS.values():
        assert with_settings(method, {}) == method


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"objectiv": {}}, ["method.objectiv: unknown key", "did you mean 'objective'?"]),
        (
            {"objective": {"hihg": 1.0}},
            ["method.objective.hihg: unknown key", "did you mean 'high'?", "valid: low, high"],
        ),
        (
            {"objective": "ClipedSurrogate"},
            ["method.objective: got part 'ClipedSurrogate'", "mean 'ClippedSurrogate'?"],
        ),
        ({"objective": None}, ["method.objective: got None", "ScoreFunction, Surrogate, KLPenalty, ClippedSurrogate"]),
        ({"objective": 3}, ["method.objective: got 3", "ScoreFunction, Surrogate, KLPenalty, ClippedSurrogate"]),
        ({"reference_kl": {"estimator": "k3"}}, ["method.reference_kl.estimator: got part 'k3'", "K1, K2, K3"]),
        ({"reference_kl": {"estimator": {"part": "GRPO"}}}, ["got part 'GRPO'"]),
        ({"samples_per_prompt": "8"}, ["method.samples_per_prompt: got '8', expected a whole number"]),
        ({"samples_per_prompt": 8.0}, ["got 8.0, expected a whole number"]),
        ({"samples_per_prompt": True}, ["got True, expected a whole number"]),
        ({"samples_per_prompt": None}, ["got None, expected a whole number"]),
        (
            {"optimizer": {"learning_rate": "fast"}},
            ["method.optimizer.learning_rate: got 'fast', expected a finite number"],
        ),
        ({"optimizer": {"learning_rate": False}}, ["got False, expected a finite number"]),
        ({"optimizer": {"learning_rat": 1.0}}, ["did you mean 'learning_rate'?"]),
        ({"name": 7}, ["method.name: got 7, expected text"]),
        ({"deviations": "none"}, ["method.deviations: got 'none', expected a list of texts"]),
        ({"deviations": [1]}, ["method.deviations: got [1], expected a list of texts"]),
        ({"deviations": 5}, ["method.deviations: got 5, expected a list of texts"]),
        (
            {"optimizer": {"learning_rate": float("nan")}},
            ["method.optimizer.learning_rate: got nan, expected a finite number"],
        ),
        ({"objective": {"high": float("inf")}}, ["method.objective.high: got inf, expected a finite number"]),
        ({3: 4}, ["method.3: unknown key"]),
        ({"part": "GRPO"}, ["method.part: unknown key"]),
        ({"objective": {"part": ["ClippedSurrogate"]}}, ["method.objective: got part ['ClippedSurrogate']"]),
        ({"objective": {"part": None}}, ["method.objective: got part None"]),
    ],
)
def test_one_wrong_setting_is_named_with_where_and_what(overrides, words: list[str]) -> None:
    problems = problems_of(GRPO, overrides)
    assert len(problems) == 1
    assert all(word in problems[0] for word in words), problems[0]


def test_every_wrong_setting_is_named_at_once() -> None:
    problems = problems_of(
        GRPO,
        {
            "num_epochs": "two",
            "advantage": {"epsilon": "small", "dof": 1},
            "optimizer": {"learning_rate": None, "beta3": 0.5},
            "aggregation": "PerWord",
            "sample_per_prompt": 4,
        },
    )
    named = (
        "num_epochs",
        "advantage.epsilon",
        "advantage.dof",
        "optimizer.learning_rate",
        "optimizer.beta3",
        "aggregation",
    )
    assert len(problems) == 7
    assert all(sum(f"method.{name}:" in problem for problem in problems) == 1 for name in (*named, "sample_per_prompt"))


def test_nothing_is_built_from_a_name_that_the_slot_does_not_list() -> None:
    for part in ("os.system", "rung.methods.parts.optimizers.AdamW", "AdamW", "PolicyGradient"):
        assert "expected one of" in problems_of(GRPO, {"objective": part})[0]


def test_missing_slots_are_named() -> None:
    data = {key: value for key, value in as_data(GRPO).items() if key not in ("optimizer", "advantage")}
    with pytest.raises(SettingsError) as caught:
        from_data(data)
    assert caught.value.problems == ["method.advantage: missing", "method.optimizer: missing"]


def test_defaults_may_be_left_out() -> None:
    data = {
        key: value for key, value in as_data(GRPO).items() if key not in ("num_epochs", "num_minibatches", "deviations")
    }
    assert from_data(data) == GRPO.changed(deviations=(), parent="ppo")
    assert from_data({**as_data(GRPO), "advantage": {"part": "GroupNormalized"}}).advantage == GroupNormalized()


def test_data_without_a_kind_is_a_policy_gradients() -> None:
    data = as_data(GRPO)
    assert data.pop("kind") == "PolicyGradient"
    assert from_data(data) == GRPO


@pytest.mark.parametrize("kind", ["PolicyGradien", None, ["PolicyGradient"], 3])
def test_an_unknown_kind_of_method_is_refused(kind: object) -> None:
    with pytest.raises(SettingsError, match=r"method\.kind: got"):
        from_data({**as_data(GRPO), "kind": kind})
