"""Whether the groups have anything to teach: answers of one prompt must differ in their reward."""

from __future__ import annotations

from rung.diagnosis.finding import Finding
from rung.diagnosis.learning_rate import learning_rate_high
from rung.diagnosis.stored import StoredRun, span
from rung.reports.metrics import METRICS

_MOST = 4096


def too_hard(run: StoredRun) -> Finding | None:
    """Most groups cannot teach, and mostly because no sample is right."""
    if _kind(run) != "all_wrong" or _was_better(run):
        return None
    return Finding(
        name="too_hard",
        severity="doubtful" if run.learned else "serious",
        says="most groups teach nothing, because no sample in them is right",
        evidence=_shares(run),
        cause="the prompts are too hard for the model",
        change="Use easier prompts, show worked examples in the prompt, or start with `rung sft`; more samples of a "
        "prompt find a right one more often",
        **run.changed_to("method.samples_per_prompt", lambda now: min(2 * now, _MOST)),
    )


def too_easy(run: StoredRun) -> Finding | None:
    """Most groups cannot teach, and mostly because every sample is right."""
    if _kind(run) != "all_right":
        return None
    return Finding(
        name="too_easy",
        severity="note" if run.learned else "doubtful",
        says="most groups teach nothing, because every sample in them is right",
        evidence=_shares(run),
        cause="this task is learnt" if run.learned else "the prompts are too easy for the model",
        change="Go on with harder prompts, or stop here",
        setting="task.name",
        now=run.setting("task.name"),
    )


def flat_reward(run: StoredRun) -> Finding | None:
    """Nothing to learn from, and neither because all are right nor because all are wrong."""
    kind, silent = _kind(run), run.warned("no_signal")
    if kind in ("all_right", "all_wrong") or (run.in_environment and run.learned):
        return None
    if kind is None and (silent is None or len(silent.steps) * 2 < len(run.steps)):
        return None
    return Finding(
        name="flat_reward",
        severity="serious",
        says="there is nothing to learn from: the samples of a prompt get the same reward",
        evidence=_shares(run) if kind else silent.last.evidence if silent else "",
        cause="the reward does not tell the samples apart, or the samples do not differ",
        change="Read the samples, then make the reward tell them apart, or raise the temperature",
        **(
            run.changed_to("temperature", lambda _: 1.0)
            if (run.setting("temperature") or 1.0) < 1.0
            else {"setting": "rewards"}
        ),
    )


def refill_limit(run: StoredRun) -> Finding | None:
    """Dynamic sampling draws as often as it may at most steps."""
    most = run.setting("method.keep_group.most_batches")
    rounds = run.values("groups/rounds", run.late)
    if not most or not run.setting("method.keep_group.refill") or not rounds:
        return None
    at_limit = sum(found >= most for found in rounds)
    if at_limit * 2 <= len(rounds) or run.learned:
        return None
    return Finding(
        name="refill_limit",
        severity="doubtful",
        says="most steps draw prompts again until the limit and still find too few groups that differ",
        evidence=f"{at_limit} of {len(rounds)} steps made all {most} rounds ({span(run.late)})",
        cause="the prompts are too easy or too hard, so that most of the sampling is thrown away",
        change="Choose prompts that the model gets right sometimes, or take fewer of them a step",
        **run.changed_to("prompts_per_step", lambda now: max(1, now // 2)),
    )


def _kind(run: StoredRun) -> str | None:
    """Why most of the late groups have no spread: `all_right`, `all_wrong` or `same`; None where most have some."""
    flat = run.mean("groups/no_spread", run.late)
    if flat is None or METRICS["groups/no_spread"].standing(flat) != "high":
        return None
    for kind in ("all_right", "all_wrong"):
        share = run.mean(f"groups/{kind}", run.late)
        if share is not None and METRICS[f"groups/{kind}"].standing(share) == "high":
            return kind
    return "same"


def _was_better(run: StoredRun) -> bool:
    """Right answers were there and were lost to updates that are too strong: the prompts are not what is wrong."""
    early = run.mean("groups/all_wrong", run.steps[:3])
    begun = early is not None and METRICS["groups/all_wrong"].standing(early) == "ok"
    return begun and learning_rate_high(run) is not None


def _shares(run: StoredRun) -> str:
    flat, right, wrong = (
        run.mean(f"groups/{name}", run.late) or 0.0 for name in ("no_spread", "all_right", "all_wrong")
    )
    other = max(0.0, flat - right - wrong)
    return (
        f"{flat:.0%} of the groups in {span(run.late)} have no spread: {right:.0%} all right, {wrong:.0%} all wrong, "
        f"{other:.0%} alike in another way"
    )
