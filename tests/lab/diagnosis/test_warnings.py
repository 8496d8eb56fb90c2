from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rung.lab.diagnosis.warnings import RunWarning, WarningLimits, new_warnings, warning_log, warnings_in

Row = dict[str, Any]


def names(history: list[Row], limits: WarningLimits | None = None) -> list[str]:
    return [warning.name for warning in warnings_in(history, limits)]


def only(history: list[Row]) -> RunWarning:
    (warning,) = warnings_in(history)
    return warning


def steps(count: int, **values: Any) -> list[Row]:
    """Rows 1..count; a list gives one value a step."""
    return [
        {"step": i + 1, **{key.replace("__", "/"): v[i] if isinstance(v, list) else v for key, v in values.items()}}
        for i in range(count)
    ]


def test_a_healthy_run_and_an_empty_one_have_none(made_up_rows: Any) -> None:
    assert warnings_in([]) == [] and new_warnings([]) == [] and warning_log([]) == []
    assert warning_log(made_up_rows(60)[0]) == []
    assert warnings_in([{"step": 0, "held_out/score": 0.5}]) == []


@pytest.mark.parametrize(
    ("shares", "cause"),
    [
        ({"groups__all_right": 1.0}, "too easy"),
        ({"groups__all_wrong": 0.9}, "too hard"),
        ({"groups__all_right": 0.2, "groups__all_wrong": 0.2}, "same value"),
    ],
)
def test_no_signal_says_too_easy_or_too_hard(shares: Row, cause: str) -> None:
    warning = only(steps(5, groups__no_spread=1.0, **shares))
    assert warning.name == "no_signal" and cause in warning.cause
    assert "5 steps" in warning.text()


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({"groups__no_spread": [1.0, 1.0, 0.99, 1.0, 1.0]}, False),
        ({"groups__no_spread": None}, False),
        ({"advantage__size": 0.0}, True),
        ({"advantage__size": [0.0] * 4 + [0.1]}, False),
        ({"episodes__trained": 0.0}, True),
    ],
)
def test_no_signal_needs_every_step(values: Row, warned: bool) -> None:
    assert names(steps(5, **values)) == ["no_signal"] * warned


def test_no_signal_needs_enough_steps_and_step_0_is_none() -> None:
    assert names(steps(4, groups__no_spread=1.0)) == []
    assert names([{"step": 0}, *steps(4, groups__no_spread=1.0)]) == []
    assert names(steps(2, groups__no_spread=1.0), WarningLimits(steps=2)) == ["no_signal"]


def test_most_completions_cut_off() -> None:
    assert only(steps(5, length__truncated=0.71)).evidence == "71% of them over the last 5 steps"
    assert names(steps(5, length__truncated=0.5)) == []


def test_a_part_that_never_varies() -> None:
    history = steps(
        5, reward__mean=1.0, reward__format=1.0, reward_std__format=0.0, reward__right=0.5, reward_std__right=0.5
    )
    warning = only(history)
    assert (warning.name, warning.subject) == ("constant_part", "format")
    assert "it was 1 for every completion" in warning.evidence


@pytest.mark.parametrize(
    "values",
    [
        {"reward__a": [0.0, 0.0, 0.1, 0.0, 0.0]},
        {"reward__a": 0.5, "reward_std__a": 0.1},
        {"reward__a": [1.0, 1.0, None, 1.0, 1.0], "reward_std__a": 0.0},
    ],
)
def test_a_part_that_varies_is_left_alone(values: Row) -> None:
    assert names(steps(5, **values)) == []


def test_a_part_is_constant_up_to_rounding() -> None:
    assert names(steps(5, reward__a=[0.2, 0.2 + 1e-16, 0.2, 0.2 - 3e-17, 0.2], reward_std__a=3e-17)) == [
        "constant_part"
    ]


def test_a_part_that_never_applies() -> None:
    assert only(steps(5, reward__a=None)).name == "part_never_applies"


def test_entropy_collapse_is_against_the_first_step() -> None:
    warning = only([{"step": 0}, *steps(4, entropy=[2.0, 0.19, 0.15, 0.1])])
    assert warning.name == "entropy" and "at step 1 it was 2" in warning.evidence
    assert names(steps(4, entropy=[2.0, 0.19, 0.21, 0.1])) == []  # not yet three in a row
    assert names(steps(4, entropy=0.01)) == []  # low from the start: that is how the model is


def test_sampler_and_learner_disagree() -> None:
    assert only(steps(1, sampler_gap__mean=0.011)).name == "sampler_gap"
    assert names(steps(1, sampler_gap__mean=0.01)) == []


def test_a_gradient_spike_is_against_the_median_before() -> None:
    warning = only(steps(6, grad__norm=[1.0, 1.2, 0.8, 1.0, 1.0, 10.5]))
    assert warning.name == "grad_spike" and "is 10.5" in warning.evidence
    assert names(steps(6, grad__norm=[1.0, 1.2, 0.8, 1.0, 1.0, 9.9])) == []
    assert names(steps(5, grad__norm=[1.0, 1.2, 0.8, 1.0, 50.0])) == []  # too few to tell
    assert names(steps(6, grad__norm=[0.0, 0.0, 0.0, 0.0, 0.0, 5.0])) == []  # after steps without a gradient


def test_kl_running_off() -> None:
    assert only(steps(1, kl__start=1.01)).name == "kl"
    growth = [0.1 + 0.03 * i for i in range(11)]
    assert names(steps(11, kl__start=growth, reward__mean=0.5)) == ["kl"]
    assert names(steps(11, kl__start=growth, reward__mean=[0.5 + 0.01 * i for i in range(11)])) == []
    assert names(steps(11, kl__start=[k / 10 for k in growth], reward__mean=0.5)) == []


def gamed(*, falls: bool, interval: bool, rises: bool) -> list[Row]:
    history: list[Row] = [{"step": 0}]
    for step in range(1, 21):
        history.append({"step": step, "reward/mean": 0.3 + 0.02 * step * (1 if rises else -1)})
    for step, score in ((0, 0.3), (10, 0.6), (20, 0.4 if falls else 0.58)):
        history[step] |= {"held_out/score": score} | ({"held_out/low": score - 0.1} if interval else {})
    return history


@pytest.mark.parametrize("interval", [True, False])
def test_reward_up_while_held_out_falls(interval: bool) -> None:
    warning = only(gamed(falls=True, interval=interval, rises=True))
    assert warning.name == "held_out_falls"
    assert "held-out 0.600 at step 10 and 0.400 at step 20" in warning.evidence
    assert "step 10's checkpoint" in warning.change
    assert names(gamed(falls=False, interval=interval, rises=True)) == []
    assert names(gamed(falls=True, interval=interval, rises=False)) == []


def test_held_out_below_the_start_is_seen_with_the_first_steps_reward() -> None:
    history = steps(20, reward__mean=[0.02 * i for i in range(20)])
    history = [{"step": 0, "held_out/score": 0.6}, *history]
    history[20]["held_out/score"] = 0.2
    assert names(history) == ["held_out_falls"]


def test_a_value_that_was_not_finite_is_named() -> None:
    warning = only([{"step": 7, "loss": None, "nonfinite/loss": 1}])
    assert (warning.name, warning.subject) == ("not_finite", "loss") and "at step 7" in warning.evidence


def test_failed_rewards_are_told() -> None:
    warning = only([{"step": 7, "episodes/failed": 3.0, "episodes/generated": 64.0}])
    assert "3 of 64 at step 7" in warning.evidence


def test_every_warning_reads_as_sentences() -> None:
    text = only(steps(5, length__truncated=0.71)).text()
    assert text.endswith(".") and ".." not in text and "Likely cause:" in text


def test_each_is_new_once_until_it_clears() -> None:
    history = steps(12, length__truncated=[0.9] * 7 + [0.0] * 4 + [0.9])
    shown = [(end, w.name) for end in range(1, 13) for w in new_warnings(history[:end])]
    assert shown == [(5, "truncated")]
    again = steps(17, length__truncated=[0.9] * 7 + [0.0] * 4 + [0.9] * 6)
    assert [step for step, _ in warning_log(again)] == [5, 14]


def test_the_log_is_what_the_console_showed_step_by_step() -> None:
    draw = np.random.default_rng(0)
    history: list[Row] = [{"step": 0, "held_out/score": 0.5}]
    for step in range(1, 120):
        row: Row = {"step": step, "reward/mean": step / 100, "reward/a": float(draw.integers(0, 2) * (step % 30 > 9))}
        row |= {"length/truncated": float(draw.random()), "entropy": float(draw.random() ** 4), "kl/start": step / 100}
        row |= {"grad/norm": float(np.exp(3 * draw.normal())), "groups/no_spread": float(draw.random() < 0.8)}
        row |= {"sampler_gap/mean": float(draw.random() / 80)}
        if step % 10 == 0:
            row["held_out/score"] = float(draw.random())
        history.append(row)
    shown = [(end - 1, w) for end in range(1, 121) for w in new_warnings(history[:end])]
    assert shown == warning_log(history)
    assert {w.name for _, w in shown} >= {"truncated", "sampler_gap", "grad_spike", "held_out_falls", "kl", "no_signal"}


def test_a_run_far_longer_than_every_window_has_no_false_warning(made_up_rows: Any) -> None:
    history = made_up_rows(100)[0] * 20
    assert warning_log(history) == []


def test_a_capped_ratio_is_a_warning_at_once() -> None:
    assert not warnings_in([{"step": 1, "ratio/capped": 0.0}])
    (warning,) = warnings_in([{"step": 1, "ratio/capped": 0.0125}])
    assert (
        warning.name == "capped_ratio" and "1.25%" in warning.evidence and "Lower the learning rate" in warning.change
    )
