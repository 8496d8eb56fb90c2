"""Whether the groups have anything to teach: answers of one prompt must differ in their reward."""

from __future__ import annotations

import re

from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.learning_rate import learning_rate_high
from rung.lab.diagnosis.stored import Sample, StoredRun, span
from rung.lab.diagnosis.warnings import WarningLimits
from rung.runs.metrics.registry import METRICS
from rung.runs.statistics import are_shares, mean_at_k, pass_at_k

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


_THINKING = re.compile(r"<(/?)(think|thinking|thought|reasoning|scratchpad)>", re.IGNORECASE)
HARMLESS = 0.5
"""Accuracy of the cut completions above which a run that learns is not held back by the cut."""
_MANY = 0.5
"""Share of the cut completions from which thinking is the reason."""


def truncated(run: StoredRun) -> Finding | None:
    """Many completions end at the limit instead of by themselves."""
    share = run.mean("length/truncated", run.late)
    if share is None or METRICS["length/truncated"].standing(share) != "high" or thinking_too_long(run) is not None:
        return None
    right = _right(run, cut=True)
    if run.learned and right is not None and right > HARMLESS:
        return None
    return Finding(
        name="truncated",
        severity="serious" if share > WarningLimits().truncated and not run.learned else "doubtful",
        says="many completions are cut off before they end",
        evidence=_evidence(run, share),
        cause="max_new_tokens is too small, or the model has not learnt to stop",
        change="Raise max_new_tokens, give the task a stop text, or start with `rung sft` on examples that end",
        **_longer(run),
    )


def thinking_too_long(run: StoredRun) -> Finding | None:
    """Many completions are cut off while they still think, so that no answer is ever given."""
    share = run.mean("length/truncated", run.late)
    cut = [row for row in run.last_samples if row["truncated"]]
    if share is None or METRICS["length/truncated"].standing(share) != "high" or not cut:
        return None
    thinking = sum(still_thinking(row) for row in cut) / len(cut)
    if thinking < _MANY:
        return None
    return Finding(
        name="thinking_too_long",
        severity="serious",
        says="the model thinks for longer than it may write, so that many completions hold no answer",
        evidence=f"{_evidence(run, share)}; {thinking:.0%} of those cut off in the last samples were still thinking",
        cause="the thinking budget is larger than max_new_tokens",
        change="Raise max_new_tokens, ask for short thinking in the prompt, or turn the model's thinking mode off",
        **_longer(run),
    )


def still_thinking(sample: Sample) -> bool:
    """Whether the last mark of thinking, in the prompt or the completion, opens and does not close.

    >>> still_thinking({"prompt": "2+3? <think>", "completion": "let me see"})
    True
    """
    marks = _THINKING.findall((sample["prompt"] or "")[-200:] + (sample["completion"] or ""))
    return bool(marks) and not marks[-1][0]


def _evidence(run: StoredRun, share: float) -> str:
    limit = run.setting("max_new_tokens")
    of_limit = f" at {limit} tokens" if limit else ""
    cut, whole = _right(run, cut=True), _right(run, cut=False)
    beside = f"; right: {cut:.0%} of the cut ones" if cut is not None else ""
    beside += f", {whole:.0%} of the others" if cut is not None and whole is not None else ""
    return f"{share:.0%} of the completions in {span(run.late)} were cut{of_limit}{beside}"


def _right(run: StoredRun, *, cut: bool) -> float | None:
    """Accuracy of the last samples that were cut, or that were not."""
    found = [row["accuracy"] for row in run.last_samples if bool(row["truncated"]) == cut]
    judged = [one for one in found if one is not None]
    return sum(judged) / len(judged) if judged else None


def _longer(run: StoredRun) -> dict[str, object]:
    return run.changed_to("max_new_tokens", lambda now: 2 * now)


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
    if not are_shares(run.evaluations[0].scores_NK):  # a reward model's scores: no share of them is right
        return None
    score = mean_at_k(run.evaluations[0].scores_NK)
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
    scores_NK = run.evaluations[0].scores_NK
    if not are_shares(scores_NK):
        return None
    k = scores_NK.shape[1]
    return pass_at_k(scores_NK, k).value, k
