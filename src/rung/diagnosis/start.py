"""Whether the model that the run started from can do the task at all, and whether it can do it already."""

from __future__ import annotations

from rung.diagnosis.finding import Finding
from rung.diagnosis.stored import StoredRun
from rung.reports.metrics import METRICS
from rung.reports.return_statistics import are_shares
from rung.reports.statistics import mean_at_k, pass_at_k

NEVER = 0.05
"""pass@k of the start below which there is nothing to begin with."""
ALREADY = 0.9
"""Held-out score of the start above which there is nothing to gain."""
FIRST_STEPS = 3


def start_too_hard(run: StoredRun) -> Finding | None:
    """The model hardly ever gets a prompt right, however often it tries, and the run did not change that."""
    if not run.samples_are_rewarded or run.learned:
        return None
    first, samples = run.steps[:FIRST_STEPS], run.setting("method.samples_per_prompt")
    wrong = run.mean("groups/all_wrong", first)
    passed = _pass_at_start(run)
    hopeless = passed is not None and passed[0] < NEVER
    if wrong is None:
        if not hopeless:
            return None
    elif METRICS["groups/all_wrong"].standing(wrong) != "high":
        return None
    told = []
    if wrong is not None:
        of = f"{samples} samples" if samples else "samples"
        told.append(f"pass@{samples or 'k'} is 0 on {wrong:.0%} of the first prompts (none of their {of} was right)")
    if passed is not None:
        told.append(f"held-out pass@{passed[1]} before training is {passed[0]:.3f}")
    return Finding(
        name="start_too_hard",
        severity="serious" if hopeless or (wrong or 0.0) >= 1 - NEVER else "doubtful",
        says="the model that the run started from can hardly do the task",
        evidence="; ".join(told),
        cause="reinforcement learning makes right answers likelier; it cannot begin where there are none",
        change="Use easier prompts, start with `rung sft` or a stronger model; more samples a prompt help where a few "
        "are right",
        **run.changed_to("method.samples_per_prompt", lambda now: min(2 * now, 4096)),
    )


def start_too_easy(run: StoredRun) -> Finding | None:
    """The model was nearly perfect before training."""
    if run.in_environment or not run.evaluations or run.evaluations[0].step != 0 or run.learned:
        return None
    if not are_shares(run.evaluations[0].accuracy_NK):  # a reward model's scores: no share of them is right
        return None
    score = mean_at_k(run.evaluations[0].accuracy_NK)
    if score.value < ALREADY:
        return None
    return Finding(
        name="start_too_easy",
        severity="doubtful",
        says="the model could do the task before the run began",
        evidence=f"held-out score before training: {score.value:.3f} ({score.low:.3f} to {score.high:.3f})",
        cause="the task is too easy for this model, so that nearly every sample is right and little is left to learn",
        change="Use harder prompts, or a smaller model",
        setting="task.name",
        now=run.setting("task.name"),
    )


def _pass_at_start(run: StoredRun) -> tuple[float, int] | None:
    """(pass@k, k) of the evaluation before training."""
    if not run.evaluations or run.evaluations[0].step != 0:
        return None
    accuracy_NK = run.evaluations[0].accuracy_NK
    if not are_shares(accuracy_NK):
        return None
    k = accuracy_NK.shape[1]
    return pass_at_k(accuracy_NK, k).value, k
