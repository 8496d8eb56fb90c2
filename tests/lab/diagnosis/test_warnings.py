from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rung.lab.diagnosis.observed import Finding
from rung.lab.diagnosis.rules import WarningLog, new_warnings, warnings_in

Row = dict[str, Any]


def names(history: list[Row]) -> list[str]:
    return [warning.name for warning in warnings_in(history)]


def only(history: list[Row]) -> Finding:
    (warning,) = warnings_in(history)
    return warning


def steps(count: int, **values: Any) -> list[Row]:
    """Rows 1..count; a list gives one value a step."""
    return [
        {"step": i + 1, **{key.replace("__", "/"): v[i] if isinstance(v, list) else v for key, v in values.items()}}
        for i in range(count)
    ]


def test_a_healthy_run_and_an_empty_one_have_none(made_up_rows: Any) -> None:
    assert warnings_in([]) == [] and new_warnings([]) == [] and WarningLog().after([]) == []
    assert WarningLog().after(made_up_rows(60)[0]) == []
    assert warnings_in([{"step": 0, "held_out/score": 0.5}]) == []


@pytest.mark.parametrize(
    ("shares", "name", "cause"),
    [
        ({"groups__all_right": 1.0}, "too_easy", "too easy"),
        ({"groups__all_wrong": 0.9}, "too_hard", "too hard"),
        ({"groups__all_right": 0.2, "groups__all_wrong": 0.2}, "flat_reward", "does not tell the samples apart"),
    ],
)
def test_no_signal_says_too_easy_or_too_hard(shares: Row, name: str, cause: str) -> None:
    warning = only(steps(5, groups__no_spread=1.0, **shares))
    assert warning.name == name and cause in warning.cause
    assert "steps 1 to 5" in warning.text()


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({"groups__no_spread": [1.0, 0.6, 0.6, 0.6, 0.7]}, False),
        ({"groups__no_spread": [0.9, 0.6, 0.6, 0.7, 0.75]}, True),
        ({"groups__no_spread": None}, False),
        ({"advantage__size": 0.0}, True),
        ({"advantage__size": [0.0] * 4 + [0.1]}, False),
        ({"episodes__trained": 0.0}, True),
    ],
)
def test_no_signal_is_a_share_beyond_its_healthy_range_or_no_update_at_all(values: Row, warned: bool) -> None:
    assert names(steps(5, **values)) == ["flat_reward"] * warned


def test_no_signal_needs_enough_steps_and_step_0_is_none() -> None:
    assert names(steps(4, groups__no_spread=1.0)) == []
    assert names([{"step": 0}, *steps(4, groups__no_spread=1.0)]) == []


def test_most_completions_cut_off() -> None:
    warning = only(steps(5, length__truncated=0.71))
    assert warning.evidence == "71% of the completions in steps 1 to 5 were cut" and warning.severity == "serious"
    assert only(steps(5, length__truncated=0.5)).severity == "doubtful"
    assert names(steps(5, length__truncated=0.1)) == []
    assert names(steps(5, length__truncated=1.0, environment__steps=1.0)) == []  # a pole that is kept up


def test_a_part_that_never_varies() -> None:
    history = steps(
        5, reward__mean=1.0, reward__format=1.0, reward_std__format=0.0, reward__right=0.5, reward_std__right=0.5
    )
    warning = only(history)
    assert (warning.name, warning.subject) == ("constant_part", "format")
    assert "'format' was 1 for every completion of steps 1 to 5" in warning.evidence


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


def test_a_part_that_has_become_perfect_is_left_alone() -> None:
    learnt = [0.2, 0.6, *[1.0] * 8]
    assert names(steps(10, reward__format=learnt, reward_std__format=[0.4, 0.4, *[0.0] * 8])) == []


def test_a_part_that_never_applies() -> None:
    assert only(steps(5, reward__a=None)).name == "part_never_applies"


def test_another_part_is_another_warning() -> None:
    rows = steps(5, reward__a=None, reward__b=0.5, reward_std__b=0.1)
    later = [{**row, "reward/b": None} for row in rows]
    assert [warning.subject for warning in new_warnings(rows)] == ["a"]
    assert [warning.subject for warning in new_warnings(later)] == ["a, b"]


def test_entropy_collapse_is_against_the_first_step() -> None:
    warning = only([{"step": 0}, *steps(4, entropy=[2.0, 0.19, 0.15, 0.1])])
    assert warning.name == "entropy_collapse" and "at step 1 it was 2" in warning.evidence
    assert names(steps(4, entropy=[2.0, 0.19, 0.21, 0.1])) == []  # not yet three in a row
    assert names(steps(4, entropy=0.01)) == []  # low from the start: that is how the model is


@pytest.mark.parametrize(
    ("gaps", "warned"),
    [
        ([0.0132, 0.0135, 0.0138, 0.0133], False),  # bfloat16 of a model with 135 million weights, as measured
        ([0.031], True),  # more than rounding explains, at once
        ([3e-7, 2e-7, 0.011], True),  # stale weights in float32: rounding was far smaller
        ([0.003, 0.003, 0.0095], False),
        ([0.003, 0.003, 0.012], True),  # stale weights in bfloat16
        ([0.0132, 0.02, 0.029], False),
    ],
)
def test_sampler_and_learner_disagree(gaps: list[float], warned: bool) -> None:
    assert names(steps(len(gaps), sampler_gap__mean=gaps)) == ["sampler_gap"] * warned


def test_a_gradient_spike_is_against_the_median_before() -> None:
    warning = only(steps(6, grad__norm=[1.0, 1.2, 0.8, 1.0, 1.0, 10.5]))
    assert warning.name == "gradient_spikes" and "is 10.5" in warning.evidence
    assert names(steps(6, grad__norm=[1.0, 1.2, 0.8, 1.0, 1.0, 9.9])) == []
    assert names(steps(5, grad__norm=[1.0, 1.2, 0.8, 1.0, 50.0])) == []  # too few to tell
    assert names(steps(6, grad__norm=[0.0, 0.0, 0.0, 0.0, 0.0, 5.0])) == []  # after steps without a gradient


def test_kl_running_off() -> None:
    assert only(steps(1, kl__start=1.01)).name == "learning_rate_high"  # a leap at the very beginning
    assert only(steps(5, kl__start=[0.1, 0.1, 0.1, 0.1, 1.01])).name == "kl_runs_off"
    growth = [0.1 + 0.03 * i for i in range(11)]
    assert names(steps(11, kl__start=growth, reward__mean=0.5)) == ["kl_runs_off"]
    assert names(steps(11, kl__start=growth, reward__mean=[0.5 + 0.01 * i for i in range(11)])) == []
    assert names(steps(11, kl__start=[k / 10 for k in growth], reward__mean=0.5)) == []


def gamed(*, last: float = 0.5, half: float | None = 0.03, rises: bool = True) -> list[Row]:
    """Twenty steps with held-out scores 0.3, 0.6 and `last`, with intervals of this half width."""
    history: list[Row] = [{"step": 0}]
    for step in range(1, 21):
        history.append({"step": step, "reward/mean": 0.3 + 0.02 * step * (1 if rises else -1)})
    for step, score in ((0, 0.3), (10, 0.6), (20, last)):
        history[step] |= {"held_out/score": score}
        history[step] |= {"held_out/low": score - half, "held_out/high": score + half} if half is not None else {}
    return history


def test_reward_up_while_held_out_falls() -> None:
    warning = only(gamed())
    assert warning.name == "held_out_falls"
    assert "fell from 0.600 at step 10 to 0.500 at step 20" in warning.evidence
    assert "nearest step 10" in warning.change
    assert names(gamed(last=0.58)) == []
    assert names(gamed(half=0.1)) == []  # as large a fall, but the intervals explain it
    assert names(gamed(half=None)) == []  # nothing is known of the noise
    assert names(gamed(rises=False)) == []
    assert names(gamed(last=0.4, rises=False)) == ["score_collapse"]


def test_noise_in_the_held_out_score_is_no_fall() -> None:
    """Twenty evaluations of 40 items with a chance of 0.6 each, while the reward rises."""
    draw, false_alarms = np.random.default_rng(0), 0
    for _ in range(100):
        history = steps(100, reward__mean=list(0.5 + 0.002 * np.arange(100) + draw.normal(0, 0.01, 100)))
        for row in history[::5]:
            score = float(draw.binomial(40, 0.6)) / 40
            half = 1.96 * (score * (1 - score) / 40) ** 0.5
            row |= {"held_out/score": score, "held_out/low": score - half, "held_out/high": score + half}
        false_alarms += any(warning.name == "held_out_falls" for _, warning in WarningLog().after(history))
    assert false_alarms <= 4


def test_held_out_below_the_start_is_seen_with_the_first_steps_reward() -> None:
    history = steps(20, reward__mean=[0.02 * i for i in range(20)])
    history = [{"step": 0, "held_out/score": 0.6, "held_out/low": 0.55, "held_out/high": 0.65}, *history]
    history[20] |= {"held_out/score": 0.2, "held_out/low": 0.15, "held_out/high": 0.25}
    assert names(history) == ["held_out_falls"]


def test_a_solved_environment_has_no_warning() -> None:
    """CartPole at its largest return: every episode is cut by the limit, and the critic has nothing to predict."""
    returns = [min(500.0, 20.0 + 12 * i) for i in range(60)]
    done = [value == 500 for value in returns]
    history = steps(60, reward__mean=returns, environment__steps=list(range(1, 61)), entropy=[0.6] * 40 + [0.05] * 20)
    for row, full in zip(history, done, strict=True):
        row |= {"length/truncated": float(full), "critic/explained_variance": 0.0 if full else 0.8}
    for row in history[9::10]:
        row.update(dict.fromkeys(("held_out/score", "held_out/low", "held_out/high"), row["reward/mean"]))
    start = {"step": 0, "held_out/score": 20.0, "held_out/low": 15.0, "held_out/high": 25.0}
    assert WarningLog().after([start, *history]) == []


def test_a_value_that_was_not_finite_is_named() -> None:
    warning = only([{"step": 7, "loss": None, "nonfinite/loss": 1}])
    assert (warning.name, warning.subject) == ("not_finite", "loss") and "at step 7" in warning.evidence


def test_failed_rewards_are_told() -> None:
    warning = only([{"step": 7, "episodes/failed": 3.0, "episodes/generated": 64.0}])
    assert "3 of 64 (4.7%) at step 7" in warning.evidence


def test_every_warning_reads_as_sentences() -> None:
    text = only(steps(5, length__truncated=0.71)).text()
    assert text.endswith(".") and ".." not in text and "Likely cause:" in text


def test_each_is_new_once_until_it_clears() -> None:
    history = steps(14, length__truncated=[0.9] * 7 + [0.0] * 5 + [0.0, 0.0])
    shown = [(end, w.name) for end in range(1, 15) for w in new_warnings(history[:end])]
    assert shown == [(5, "truncated")]
    again = steps(17, length__truncated=[0.9] * 7 + [0.0] * 5 + [0.9] * 5)
    assert [step for step, _ in WarningLog().after(again)] == [5, 13]


def test_the_log_is_what_the_console_showed_step_by_step() -> None:
    draw = np.random.default_rng(0)
    history: list[Row] = [{"step": 0, "held_out/score": 0.5, "held_out/low": 0.45, "held_out/high": 0.55}]
    for step in range(1, 120):
        row: Row = {"step": step, "reward/mean": step / 100, "reward/a": float(draw.integers(0, 2) * (step % 30 > 9))}
        row |= {"length/truncated": float(draw.random()), "entropy": float(draw.random() ** 4), "kl/start": step / 100}
        row |= {"grad/norm": float(np.exp(3 * draw.normal())), "groups/no_spread": float(draw.random() < 0.8)}
        row |= {"sampler_gap/mean": float(draw.random() / 25)}
        if step % 10 == 0:
            score = float(draw.random())
            row |= {"held_out/score": score, "held_out/low": score - 0.05, "held_out/high": score + 0.05}
        history.append(row)
    shown = [(end - 1, w) for end in range(1, 121) for w in new_warnings(history[:end])]
    assert shown == WarningLog().after(history)
    assert {w.name for _, w in shown} >= {
        *("truncated", "sampler_gap", "gradient_spikes", "held_out_falls", "kl_runs_off", "flat_reward"),
        *("learning_rate_high", "constant_part"),
    }


def test_a_run_far_longer_than_every_window_has_no_false_warning(made_up_rows: Any) -> None:
    history = made_up_rows(2000)[0]
    assert WarningLog().after(history) == []


def test_a_capped_ratio_is_a_warning_at_once() -> None:
    assert not warnings_in([{"step": 1, "ratio/capped": 0.0}])
    (warning,) = warnings_in([{"step": 1, "ratio/capped": 0.0125}])
    assert (
        warning.name == "capped_ratio" and "1.25%" in warning.evidence and "Lower the learning rate" in warning.change
    )
