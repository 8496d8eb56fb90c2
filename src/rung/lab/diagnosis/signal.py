"""Whether the groups have anything to teach: answers of one prompt must differ in their reward."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rung.lab.diagnosis.learning_rate import learning_rate_high
from rung.lab.diagnosis.observed import ObservedRun, Seen, span
from rung.runs.metrics.registry import METRICS
from rung.runs.statistics import are_shares, mean_at_k, pass_at_k

MOST_SAMPLES = 4096
"""More samples of a prompt are not advised."""
NEVER = 0.05
"""pass@k of the start below which there is nothing to begin with."""
ALREADY = 0.9
"""Held-out score of the start above which there is nothing to gain."""
FIRST_STEPS = 3


def too_hard(run: ObservedRun) -> Seen | None:
    if _kind(run) != "all_wrong" or _was_better(run):
        return None
    return Seen(_shares(run), remedy=_more_samples(run))


def too_easy(run: ObservedRun) -> Seen | None:
    return Seen(_shares(run)) if _kind(run) == "all_right" else None


def flat_reward(run: ObservedRun) -> Seen | None:
    """Nothing to learn from, and neither because all are right nor because all are wrong."""
    kind = _kind(run)
    if kind in ("all_right", "all_wrong") or (run.in_environment and run.learned):
        return None
    silent = (("groups/no_spread", 1), ("advantage/size", 0), ("episodes/trained", 0))
    nothing_learnt = all(any(row.get(name) == value for name, value in silent) for row in run.late)
    if kind is None and not (run.late and nothing_learnt):
        return None
    return Seen(
        _shares(run) if kind else f"every advantage was 0, or no sample took part, in {span(run.late)}",
        case="cold" if (run.setting("temperature") or 1.0) < 1.0 else "",
    )


def refill_limit(run: ObservedRun) -> Seen | None:
    """Dynamic sampling draws as often as it may at most steps."""
    most = run.setting("method.keep_group.most_batches")
    rounds = run.values("groups/rounds", run.late)
    if not most or not run.setting("method.keep_group.refill") or not rounds:
        return None
    at_limit = sum(found >= most for found in rounds)
    if at_limit * 2 <= len(rounds) or run.learned:
        return None
    return Seen(f"{at_limit} of {len(rounds)} steps made all {most} rounds ({span(run.late)})")


def start_too_hard(run: ObservedRun) -> Seen | None:
    if run.in_environment or run.learned or not run.values("reward/mean"):
        return None
    samples, scores_NK = run.setting("method.samples_per_prompt"), _shares_at_start(run)
    wrong = run.mean("groups/all_wrong", run.steps[:FIRST_STEPS])
    k = 0 if scores_NK is None else scores_NK.shape[1]
    passed = None if scores_NK is None else pass_at_k(scores_NK, k).value
    hopeless = passed is not None and passed < NEVER
    if METRICS["groups/all_wrong"].standing(wrong) != "high" and not (wrong is None and hopeless):
        return None
    told: list[str] = []
    if wrong is not None:
        told.append(f"in {wrong:.0%} of the first groups none of the {samples or ''} samples was right")
    if passed is not None:
        told.append(f"held-out pass@{k} before training is {passed:.3f}")
    severity = "serious" if hopeless or (wrong or 0.0) >= 1 - NEVER else None
    return Seen("; ".join(told), severity=severity, remedy=_more_samples(run))


def start_too_easy(run: ObservedRun) -> Seen | None:
    scores_NK = _shares_at_start(run)
    if run.in_environment or scores_NK is None or run.learned:
        return None
    score = mean_at_k(scores_NK)
    if score.value < ALREADY:
        return None
    return Seen(f"held-out score before training: {score.value:.3f} ({score.low:.3f} to {score.high:.3f})")


def _more_samples(run: ObservedRun) -> dict[str, Any]:
    return run.changed_to("method.samples_per_prompt", lambda now: min(2 * now, MOST_SAMPLES))


def _shares_at_start(run: ObservedRun) -> npt.NDArray[np.float64] | None:
    """The scores of the evaluation before training, unless they are a reward model's: no share of those is right."""
    if not run.evaluations or run.evaluations[0].step != 0 or not are_shares(run.evaluations[0].scores_NK):
        return None
    return run.evaluations[0].scores_NK


def _kind(run: ObservedRun) -> str | None:
    """Why most of the late groups have no spread: `all_right`, `all_wrong` or `same`; None where most have some."""

    def most(name: str) -> bool:
        return METRICS[f"groups/{name}"].standing(run.mean(f"groups/{name}", run.late)) == "high"

    if not most("no_spread"):
        return None
    return next((kind for kind in ("all_right", "all_wrong") if most(kind)), "same")


def _was_better(run: ObservedRun) -> bool:
    """Right answers were there and were lost to updates that are too strong: the prompts are not what is wrong."""
    early = run.mean("groups/all_wrong", run.steps[:3])
    begun = early is not None and METRICS["groups/all_wrong"].standing(early) == "ok"
    return begun and learning_rate_high(run) is not None


def _shares(run: ObservedRun) -> str:
    names = ("no_spread", "all_right", "all_wrong")
    flat, right, wrong = (run.mean(f"groups/{name}", run.late) or 0.0 for name in names)
    why = f"{right:.0%} all right, {wrong:.0%} all wrong, {max(0.0, flat - right - wrong):.0%} equal for another reason"
    return f"{flat:.0%} of the groups in {span(run.late)} have no spread: {why}"
