from __future__ import annotations

import pytest

from rung.errors import SettingsError
from rung.runs.metrics import METRICS, explain_metric, shown

CONTRACT = [
    "step",
    "reward/mean",
    "held_out/score",
    "held_out/low",
    "held_out/high",
    "kl/start",
    "entropy",
    "length/mean",
    "length/p90",
    "length/truncated",
    "groups/no_spread",
    "groups/all_right",
    "groups/all_wrong",
    "clip/share",
    "clip/low",
    "clip/high",
    "grad/norm",
    "sampler_gap/mean",
    "sampler_gap/max",
    "loss",
    "learning_rate",
    "episodes/generated",
    "episodes/trained",
    "episodes/failed",
    "tokens/generated",
    "tokens/trained",
    "tokens_per_second",
    "seconds/sample",
    "seconds/reward",
    "seconds/learn",
    "seconds/evaluate",
    "seconds/save",
    "seconds/step",
    "memory/peak_gib",
]


@pytest.mark.parametrize("name", CONTRACT)
def test_every_metric_of_a_run_is_explained(name: str) -> None:
    metric = explain_metric(name)
    assert metric.name == name
    assert metric.meaning.endswith(".") and metric.what_to_do.endswith(".") and metric.healthy
    assert metric.text().startswith(name)


@pytest.mark.parametrize("environment", [False, True])
def test_every_entry_is_whole_in_the_words_of_both_kinds_of_run(environment: bool) -> None:
    for name in [*METRICS, "reward/a", "reward_std/a", "nonfinite/a"]:
        text = explain_metric(name, environment=environment).text()
        assert not set("{}<>|") & set(text) and ": \n" not in text, text
        assert "Otherwise:" not in text and "Healthy:" not in text and text.count("\n") == 3


def test_each_meaning_is_one_sentence_and_its_own() -> None:
    meanings = [metric.meaning for metric in METRICS.values()]
    assert len(set(meanings)) == len(meanings)
    assert all(". " not in meaning for meaning in meanings)


def test_a_healthy_range_has_its_ends_in_order() -> None:
    for metric in METRICS.values():
        if metric.low is not None and metric.high is not None:
            assert metric.low <= metric.high


def test_a_reward_part_of_any_name_is_explained() -> None:
    assert "'my part'" in explain_metric("reward/my part").meaning
    assert "'my part'" in explain_metric("reward_std/my part").meaning
    assert "'loss'" in explain_metric("nonfinite/loss").meaning


@pytest.mark.parametrize(("typed", "meant"), [("grad/nrm", "grad/norm"), ("entropi", "entropy")])
def test_an_unknown_name_names_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"'{typed}'.*did you mean '{meant}'"):
        explain_metric(typed)


def test_reward_alone_is_no_part() -> None:
    with pytest.raises(ValueError, match="not a metric"):
        explain_metric("reward/")


def test_a_return_is_no_share_and_is_never_outside() -> None:
    for environment in (False, True):
        for name in ("held_out/score", "held_out/low", "held_out/high"):
            assert explain_metric(name, environment=environment).standing(500.0) == "ok"
    assert "gamed" not in explain_metric("held_out/score", environment=True).text()
    assert explain_metric("length/truncated", environment=True).standing(1.0) == "ok"
    assert explain_metric("length/truncated").standing(1.0) == "high"


def test_standing_is_told_by_the_range() -> None:
    cut = METRICS["length/truncated"]
    assert [cut.standing(value) for value in (0.0, 0.1, 0.100001, None)] == ["ok", "ok", "high", "ok"]
    assert METRICS["entropy"].standing(-0.1) == "low"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("length/truncated", 0.5, "50.0 %"),
        ("tokens/generated", 40960.0, "40,960"),
        ("length/mean", 12.34, "12.3"),
        ("length/mean", 1234.5, "1,234"),
        ("seconds/step", 1.234, "1.23 s"),
        ("seconds/step", 1234.5, "1,234 s"),
        ("memory/peak_gib", 1.5, "1.50 GiB"),
        ("learning_rate", 1e-5, "1.00e-05"),
        ("reward/mean", 0.0, "0"),
        ("reward/mean", -0.12345, "-0.123"),
        ("reward/any", 123.4, "123"),
        ("grad/norm", None, "–"),
        ("grad/norm", float("nan"), "–"),
        ("", 0.25, "0.250"),
    ],
)
def test_values_are_shown_by_their_unit(name: str, value: float | None, text: str) -> None:
    assert shown(name, value) == text
