"""Whether the groups have anything to teach: answers of one prompt must differ in their reward."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.learning_rate import learning_rate_high
from rung.lab.diagnosis.observed import ObservedRun, Row, span
from rung.runs.metrics.registry import METRICS
from rung.runs.statistics import are_shares, mean_at_k, pass_at_k

MOST_SAMPLES = 4096
"""More samples of a prompt are not advised."""
NEVER = 0.05
"""pass@k of the start below which there is nothing to begin with."""
ALREADY = 0.9
"""Held-out score of the start above which there is nothing to gain."""
FIRST_STEPS = 3


def too_hard(run: ObservedRun) -> Finding | None:
    if _kind(run) != "all_wrong" or _was_better(run):
        return None
    return Finding(
        severity="doubtful" if run.learned else "serious",
        says="most groups teach nothing, because no sample in them is right",
        evidence=_shares(run),
        cause=f"the {run.words.prompts} are too hard for the policy",
        change="Use an easier task, explore more, or draw more episodes of each start state"
        if run.in_environment
        else "Use easier prompts, show worked examples in the prompt, or start with `rung sft`; more samples of a "
        "prompt find a right one more often",
        **run.changed_to("method.samples_per_prompt", lambda now: min(2 * now, MOST_SAMPLES)),
    )


def too_easy(run: ObservedRun) -> Finding | None:
    if _kind(run) != "all_right":
        return None
    return Finding(
        severity="note" if run.learned else "doubtful",
        says="most groups teach nothing, because every sample in them is right",
        evidence=_shares(run),
        cause="this task is learnt" if run.learned else f"the {run.words.prompts} are too easy for the policy",
        change=f"Go on with harder {run.words.prompts}, or stop here",
        setting="task.name",
        now=run.setting("task.name"),
    )


def flat_reward(run: ObservedRun) -> Finding | None:
    """Nothing to learn from, and neither because all are right nor because all are wrong."""
    kind = _kind(run)
    if kind in ("all_right", "all_wrong") or (run.in_environment and run.learned):
        return None
    if kind is None and not (run.late and all(_is_silent(row) for row in run.late)):
        return None
    return Finding(
        severity="serious",
        says=f"there is nothing to learn from: the samples of a {run.words.prompt} get the same reward",
        evidence=_shares(run) if kind else f"every advantage was 0, or no sample took part, in {span(run.late)}",
        cause="the reward does not tell the samples apart, or the samples do not differ",
        change="Read the samples, then make the reward tell them apart, or raise the temperature",
        **(
            run.changed_to("temperature", lambda _: 1.0)
            if (run.setting("temperature") or 1.0) < 1.0
            else {"setting": "rewards"}
        ),
    )


def refill_limit(run: ObservedRun) -> Finding | None:
    """Dynamic sampling draws as often as it may at most steps."""
    most = run.setting("method.keep_group.most_batches")
    rounds = run.values("groups/rounds", run.late)
    if not most or not run.setting("method.keep_group.refill") or not rounds:
        return None
    at_limit = sum(found >= most for found in rounds)
    if at_limit * 2 <= len(rounds) or run.learned:
        return None
    return Finding(
        severity="doubtful",
        says="most steps draw prompts again until the limit and still find too few groups that differ",
        evidence=f"{at_limit} of {len(rounds)} steps made all {most} rounds ({span(run.late)})",
        cause="the prompts are too easy or too hard, so that most of the sampling is thrown away",
        change="Choose prompts that the model gets right sometimes, or take fewer of them a step",
        **run.changed_to("prompts_per_step", lambda now: max(1, now // 2)),
    )


def start_too_hard(run: ObservedRun) -> Finding | None:
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
    return Finding(
        severity="serious" if hopeless or (wrong or 0.0) >= 1 - NEVER else "doubtful",
        says="the model that the run started from can hardly do the task",
        evidence="; ".join(told),
        cause="reinforcement learning makes right answers likelier; it cannot begin where there are none",
        change="Use easier prompts, start with `rung sft` or a stronger model; more samples a prompt help where a few "
        "are right",
        **run.changed_to("method.samples_per_prompt", lambda now: min(2 * now, MOST_SAMPLES)),
    )


def start_too_easy(run: ObservedRun) -> Finding | None:
    scores_NK = _shares_at_start(run)
    if run.in_environment or scores_NK is None or run.learned:
        return None
    score = mean_at_k(scores_NK)
    if score.value < ALREADY:
        return None
    return Finding(
        severity="doubtful",
        says="the model could do the task before the run began",
        evidence=f"held-out score before training: {score.value:.3f} ({score.low:.3f} to {score.high:.3f})",
        cause="the task is too easy for this model, so that nearly every sample is right and little is left to learn",
        change="Use harder prompts, or a smaller model",
        setting="task.name",
        now=run.setting("task.name"),
    )


def _shares_at_start(run: ObservedRun) -> npt.NDArray[np.float64] | None:
    """The scores of the evaluation before training, unless they are a reward model's: no share of those is right."""
    if not run.evaluations or run.evaluations[0].step != 0 or not are_shares(run.evaluations[0].scores_NK):
        return None
    return run.evaluations[0].scores_NK


def _is_silent(row: Row) -> bool:
    """Nothing was learnt in this step."""
    return row.get("groups/no_spread") == 1 or row.get("advantage/size") == 0 or row.get("episodes/trained") == 0


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
    flat, right, wrong = (
        run.mean(f"groups/{name}", run.late) or 0.0 for name in ("no_spread", "all_right", "all_wrong")
    )
    other = max(0.0, flat - right - wrong)
    return (
        f"{flat:.0%} of the groups in {span(run.late)} have no spread: {right:.0%} all right, {wrong:.0%} all wrong, "
        f"{other:.0%} equal for another reason"
    )
