"""Each fault made on purpose is named, with a remedy that the settings accept; its control is left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_up import CONTROL, SETTINGS, TRPO, evaluated, flat, run, samples

from rung.lab.diagnosis.observed import Evaluated, Finding, ObservedRun
from rung.lab.diagnosis.rules import RULES, Rule, WarningLog, diagnose, warnings_in

Make = Callable[[], ObservedRun]


def changed(scores: dict[int, float] | None = None, **metrics: Any) -> Make:
    """The run with these metrics at every step; `__` stands for `/`, a function is given the step."""

    def change(step: int) -> dict[str, Any]:
        return {name.replace("__", "/"): v(step) if callable(v) else v for name, v in metrics.items()}

    return lambda: run(scores=flat() if scores is None else scores, change=change)


def with_samples(last: Any, first: Any = None, **more: Any) -> Make:
    return lambda: run(scores=flat(), first_samples=samples(1, first), last_samples=samples(40, last), **more)


def in_environment(settings: Any = CONTROL, scores: Any = None, **metrics: Any) -> Make:
    rows = {"environment/steps": 1.0, "reward/mean": 20.0, "groups/no_spread": None, "reward/style": None, **metrics}
    return lambda: run(scores=scores or flat(), settings=settings, change=lambda step: rows)


def rising(step: int) -> float:
    return 0.2 + 0.02 * step


def falling(step: int) -> float:
    return 0.6 - 0.01 * step


STEADY = {"reward__correct": lambda step: 0.5 + 0.01 * (step % 2)}
NO_RISE = {**STEADY, "reward__mean": lambda step: 0.5 + 0.01 * (step % 2)}
HARD = {"groups__no_spread": 0.9, "groups__all_wrong": 0.8}
HIGH_KL = {"kl__start": lambda step: 0.1 * step}
STILL = {"kl__start": 1e-9, "reward__mean": 0.4, "reward__correct": lambda step: 0.3 + 0.01 * (step % 2)}
THINKS = {"completion": "<think> and then", "truncated": True, "accuracy": 0.0}
SAME = {"completion": "42", "accuracy": 0.0}
LOOP = {"token_ids": [1, 2, 3] * 10}
OK_TEXT = {"completion": "<think>so</think> 5", "truncated": True, "accuracy": 0.0}
GONE = {"token_ids": None}

CASES: list[tuple[str, Make, Make]] = [
    ("not_finite", changed(loss=None, nonfinite__loss=1), changed(loss=None)),
    ("sampler_gap", changed(sampler_gap__mean=0.05), changed(sampler_gap__mean=0.005)),
    ("one_token_off", changed(sampler_gap__max=2.0), changed(sampler_gap__max=lambda step: 2.0 if step == 7 else 0.1)),
    ("capped_ratio", changed(ratio__capped=lambda step: 0.01 * (step == 7)), changed(ratio__capped=0.0)),
    ("failed_rewards", changed(episodes__failed=6.0), changed(episodes__failed=0.0)),
    (
        "gamed_reward",
        changed({0: 0.5, 20: 0.6, 40: 0.2}, reward__style=rising),
        changed({0: 0.5, 20: 0.6, 40: 0.2}, **STEADY),  # the score falls and no part rises
    ),
    (
        "held_out_falls",
        changed({0: 0.5, 20: 0.6, 40: 0.2}, **STEADY),
        changed({0: 0.5, 20: 0.6, 40: 0.2}, reward__mean=0.5, **STEADY),  # the score falls and no reward rises
    ),
    ("constant_part", changed(reward__style=1.0, reward_std__style=0.0), changed(reward__style=1.0)),
    (
        "part_never_applies",
        changed(reward__style=None, reward_std__style=None),
        changed(reward__style=lambda step: None if step % 2 else 0.5),
    ),
    ("too_hard", changed(**HARD), changed(groups__no_spread=0.6, groups__all_wrong=0.5)),
    (
        "too_easy",
        changed(groups__no_spread=0.9, groups__all_right=0.8),
        changed(groups__no_spread=0.6, groups__all_right=0.5),
    ),
    ("flat_reward", changed(groups__no_spread=0.95), changed(groups__no_spread=0.5)),
    ("refill_limit", changed(groups__rounds=10.0), changed(groups__rounds=9.0)),
    ("start_too_hard", changed(groups__all_wrong=0.61), changed({0: 0.3, 20: 0.5, 40: 0.7}, groups__all_wrong=0.61)),
    ("start_too_easy", changed(flat(0.95)), changed(flat(0.8))),
    (
        "stops_calling",
        changed(tools__calls=lambda step: 1.0 if step < 4 else 0.0, turns__mean=1.0),
        changed(tools__calls=0.0, turns__mean=2.0),  # a task over turns without a tool
    ),
    (
        "always_calls",
        changed(tools__calls=8.0, turns__mean=8.0, turns__most_reached=0.9),
        changed(tools__calls=7.0, turns__mean=8.0, turns__most_reached=0.1),
    ),
    (
        "ends_at_first_turn",
        changed(tools__calls=0.0, turns__mean=lambda step: 3.0 if step < 4 else 1.0),
        changed(tools__calls=0.0, turns__mean=1.0),
    ),
    (
        "turns_run_out",
        changed(tools__calls=0.0, turns__mean=8.0, turns__most_reached=0.6),
        changed(tools__calls=0.0, turns__mean=8.0, turns__most_reached=0.4),
    ),
    ("truncated", changed(length__truncated=0.71), changed(length__truncated=0.05)),
    (
        "thinking_too_long",
        with_samples(lambda g, n: THINKS, change=lambda step: {"length/truncated": 0.987}),
        with_samples(lambda g, n: OK_TEXT, change=lambda step: {"length/truncated": 0.987}),
    ),
    ("learning_rate_high", changed({0: 0.5, 20: 0.2, 40: 0.0}, **HIGH_KL), changed({0: 0.3, 40: 0.7}, **HIGH_KL)),
    ("learning_rate_low", changed(**STILL), changed(**{**STILL, "kl__start": 0.01})),
    ("clipped_often", changed(clip__share=0.4), changed(clip__share=0.1)),
    ("gradient_always_clipped", changed(grad__norm=30.0), changed(grad__norm=lambda step: 30.0 if step % 2 else 1.0)),
    (
        "gradient_spikes",
        changed(grad__norm=lambda step: 60.0 if step % 8 == 7 else 1.0),
        changed(grad__norm=lambda step: 60.0 if step == 20 else 1.0),
    ),
    ("entropy_collapse", changed(entropy=lambda step: 2.0 / step**2), changed({0: 0.3, 40: 0.7}, entropy=0.01)),
    ("kl_runs_off", changed(**HIGH_KL), changed({0: 0.3, 40: 0.7}, **HIGH_KL)),
    ("score_collapse", changed({0: 0.3, 20: 0.8, 40: 0.35}, **NO_RISE), changed({0: 0.3, 20: 0.8, 40: 0.7}, **NO_RISE)),
    ("score_falls", changed({0: 0.5, 20: 0.45, 40: 0.3}, **NO_RISE), changed({0: 0.5, 20: 0.45, 40: 0.49}, **NO_RISE)),
    (
        "learnt_by_heart",
        with_samples(lambda g, n: {"accuracy": 1.0}, lambda g, n: {"accuracy": float(n == 0)}),
        with_samples(lambda g, n: {"accuracy": float(n == 0)}, lambda g, n: {"accuracy": float(n == 0)}),
    ),
    ("same_completion", with_samples(lambda g, n: SAME), with_samples(lambda g, n: {**SAME, "accuracy": 1.0})),
    ("loops", with_samples(lambda g, n: LOOP), with_samples(lambda g, n: GONE)),
    (
        "blind_critic",
        in_environment(**{"critic/explained_variance": -0.1}),
        in_environment(**{"critic/explained_variance": 0.6}),
    ),
    ("refused_steps", in_environment(TRPO, **{"trpo/accepted": 0.0}), in_environment(TRPO, **{"trpo/accepted": 1.0})),
    ("returns_stand_still", in_environment(), in_environment(scores={0: 0.3, 40: 0.7})),
    ("unfinished", lambda: run(finished=False), run),
    ("still_running", lambda: run(finished=False, running=True), run),
    ("damaged", lambda: run(problems=("metrics.jsonl:3: not a line",)), run),
    ("never_evaluated", lambda: run(scores={}), run),
    ("too_short", lambda: run(steps=9), lambda: run(steps=10)),
    ("not_distinguishable", changed(), run),
]


def found(made: ObservedRun) -> dict[str, Finding]:
    return {one.name: one for one in diagnose(made).findings}


@pytest.mark.parametrize(("name", "ill", "control"), CASES, ids=[name for name, _, _ in CASES])
def test_it_is_named_and_its_control_is_left_alone(name: str, ill: Make, control: Make) -> None:
    findings = found(ill())
    assert name in findings, list(findings)
    assert name not in found(control()), found(control())[name].lines()
    for text in findings[name].lines():
        assert ".." not in text and "=None" not in text and " nan" not in text, text


@pytest.mark.parametrize(("name", "ill"), [(name, ill) for name, ill, _ in CASES], ids=[name for name, _, _ in CASES])
def test_its_remedy_is_a_setting_that_exists_with_a_value_that_is_accepted(name: str, ill: Make) -> None:
    made = ill()
    finding = found(made)[name]
    if finding.setting is None:
        return
    assert made.settings is not None
    if finding.value is not None:
        assert finding.value != finding.now
        other = made.settings.changed({finding.setting: finding.value})
        assert replace(made, settings=other).setting(finding.setting) == finding.value
    assert made.setting(finding.setting) is not None or finding.setting in ("rewards", "learner.compute")


def test_every_rule_has_a_case_and_a_name_of_its_own() -> None:
    names = [rule.name for rule in RULES]
    assert sorted(names) == sorted(name for name, _, _ in CASES)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.needs == "metrics"], ids=lambda rule: rule.name)
def test_what_needs_metrics_alone_is_a_warning_while_the_run_trains(rule: Rule) -> None:
    """From the same rows, without the folder; and the control gives no warning at any step."""
    ill, control = next((ill, control) for name, ill, control in CASES if name == rule.name)
    assert rule.name in {warning.name for _, warning in WarningLog().after(ill().rows)}
    at_the_end = {warning.name for warning in warnings_in(control().rows)}
    assert rule.name not in at_the_end


def test_what_needs_the_folder_is_no_warning() -> None:
    told = {warning.name for _, ill, _ in CASES for _, warning in WarningLog().after(ill().rows)}
    assert told == {rule.name for rule in RULES if rule.needs == "metrics"}


FORMER = {  # the live warnings as they were called before warnings and illnesses became one table of rules
    "not_finite": ["not_finite"],
    "no_signal": ["too_hard", "too_easy", "flat_reward"],
    "held_out_falls": ["held_out_falls", "gamed_reward", "score_collapse", "score_falls"],
    "truncated": ["truncated"],
    "constant_part": ["constant_part"],
    "part_never_applies": ["part_never_applies"],
    "entropy": ["entropy_collapse"],
    "kl": ["kl_runs_off", "learning_rate_high"],
    "capped_ratio": ["capped_ratio"],
    "grad_spike": ["gradient_spikes"],
    "sampler_gap": ["sampler_gap"],
    "failed_rewards": ["failed_rewards"],
}


def test_no_former_warning_is_lost() -> None:
    live = {rule.name for rule in RULES if rule.needs == "metrics"}
    assert all(set(rules) <= live for rules in FORMER.values())


def test_a_healthy_run_is_left_alone_and_told_so() -> None:
    healthy = diagnose(run())
    assert healthy.findings == () and healthy.healthy
    assert "healthy" in healthy.lines()[1] and "+0.4" in healthy.summary


def test_a_short_run_is_not_called_healthy() -> None:
    assert diagnose(run(steps=5)).lines()[1] == "nothing wrong was seen, but the run is too short to say more"


def test_the_healthy_run_without_settings_evaluations_or_samples_is_not_ill_either() -> None:
    bare = run(settings=None, first_samples=(), last_samples=())
    assert diagnose(bare).findings == ()
    assert found(ObservedRun(name="empty")).keys() <= {"too_short"}


def test_kinds_of_no_signal_are_told_apart() -> None:
    for case, name in (("all_right", "too_easy"), ("all_wrong", "too_hard"), ("other", "flat_reward")):
        names = found(changed(**{"groups__no_spread": 0.9, f"groups__{case}": 0.8})())
        assert {"too_easy", "too_hard", "flat_reward"} & set(names) == {name}
        assert "90% of the groups in steps 21 to 40" in names[name].evidence


def test_a_learnt_task_is_a_note_and_no_fault() -> None:
    learnt = diagnose(changed({0: 0.3, 20: 0.9, 40: 1.0}, groups__no_spread=0.9, groups__all_right=0.9)())
    assert [(one.name, one.severity) for one in learnt.findings] == [("too_easy", "note")] and learnt.healthy


def test_the_gamed_part_is_named_and_its_weight_lowered() -> None:
    finding = found(changed({0: 0.5, 20: 0.6, 40: 0.2}, reward__style=rising)())["gamed_reward"]
    assert "'style'" in finding.says and "fell from 0.600 at step 20 to 0.200 at step 40" in finding.evidence
    assert [part["weight"] for part in finding.value] == [1.0, 0.5]


def test_a_part_that_rises_while_the_samples_get_worse_is_gamed_too() -> None:
    """Where the gamed part is itself what is evaluated, the held-out score rises with it."""
    worse = with_samples(
        lambda g, n: {"accuracy": 0.0},
        lambda g, n: {"accuracy": 1.0},
        change=lambda step: {"reward/style": rising(step)},
    )
    assert "100% of the first steps' samples were right, 0% of the last" in found(worse())["gamed_reward"].evidence


def test_a_leap_of_the_kl_at_the_first_step_is_the_learning_rate_however_short_the_run() -> None:
    leap = run(steps=1, scores={0: 0.3}, finished=False, change=lambda step: {"kl/start": 9.0})
    assert "9 nats a token at step 1" in found(leap)["learning_rate_high"].evidence
    assert found(leap)["learning_rate_high"].value == pytest.approx(1e-7)


def test_symptoms_of_a_run_that_learns_are_left_alone() -> None:
    symptoms = {"clip__share": 0.4, "grad__norm": 900.0, "kl__start": 1.5, "entropy": lambda step: 2.0 / step**2}
    assert found(changed({0: 0.3, 20: 0.5, 40: 0.7}, **symptoms)()) == {}
    assert len(found(changed(**symptoms)())) > 3  # negative control: the same without a gain


def test_a_solved_pole_is_healthy() -> None:
    """Returns far above 1, every episode cut by the limit, nothing left for the critic to predict."""
    returns = {0: [20.0, 25.0, 18.0, 30.0], 20: [300.0, 500.0, 280.0, 400.0], 40: [500.0] * 4}
    evaluations = [Evaluated(step, tuple("abcd"), np.array(scores)[:, None]) for step, scores in returns.items()]
    metrics = {"environment/steps": 1.0, "length/truncated": 1.0, "critic/explained_variance": 0.0, "entropy": 0.01}
    solved = run(
        evaluations=evaluations,
        settings=CONTROL,
        first_samples=(),
        last_samples=(),
        change=lambda step: metrics,
    )
    for row in solved.rows:
        for name in ("groups/no_spread", "reward/style", "reward/correct"):
            dict.pop(row, name, None)
    assert diagnose(solved).findings == () and diagnose(solved).healthy
    assert "blind_critic" in found(replace(solved, evaluations=evaluations[:1] * 2))  # control: had it not learnt


def test_all_prompts_lost_to_a_learning_rate_are_not_called_too_hard() -> None:
    lost = changed(
        {0: 0.5, 20: 0.1, 40: 0.0},
        groups__no_spread=0.95,
        groups__all_wrong=lambda s: 0.1 if s < 5 else 0.95,
        **HIGH_KL,
    )
    assert "too_hard" not in found(lost()) and "learning_rate_high" in found(lost())


def test_serious_findings_come_first_and_json_is_the_same() -> None:
    ill = diagnose(changed(length__truncated=0.71, clip__share=0.4)())
    order = [one.severity for one in ill.findings]
    assert order == sorted(order, key=["serious", "doubtful", "note"].index) and len(set(order)) == 3
    data = ill.as_data()
    assert [one["name"] for one in data["findings"]] == [one.name for one in ill.findings] and not data["healthy"]
    assert {"evidence", "cause", "change", "setting", "value", "severity"} <= set(data["findings"][0])


def test_a_hostile_status_is_shown_as_text() -> None:
    hostile = with_samples(
        lambda g, n: {"status": "style: \x1b[31mtimeout"}, change=lambda step: {"episodes/failed": 5.0}
    )
    finding = found(hostile())["failed_rewards"]
    assert "\x1b" not in "\n".join(finding.lines()) and finding.setting == "rewarding.deadline_s"
    assert finding.value == 3 * finding.now


def test_evaluations_of_other_items_are_not_compared() -> None:
    other = replace(evaluated(40, 0.1), items=tuple("abc") + tuple(map(str, range(197))))
    assert run(evaluations=[evaluated(0, 0.9), other]).gain is None
    assert run(evaluations=[evaluated(0, 0.9), evaluated(40, 0.1)]).gain is not None
    assert SETTINGS["steps"] == 40


def test_a_run_over_turns_that_is_cut_for_its_turns_is_not_told_of_tokens() -> None:
    cut = {"length__truncated": 0.9, "turns__mean": 8.0, "turns__most_reached": 0.9}
    rules = {"truncated", "always_calls", "turns_run_out"}
    assert found(changed(**cut, tools__calls=8.0)()).keys() & rules == {"always_calls"}
    assert found(changed(**cut, tools__calls=1.0)()).keys() & rules == {"turns_run_out"}
    assert found(changed(**{**cut, "turns__most_reached": 0.0}, tools__calls=1.0)()).keys() & rules == {"truncated"}
