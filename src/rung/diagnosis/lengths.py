"""Completions that are cut off, and thinking that does not come to an end."""

from __future__ import annotations

import re

from rung.diagnosis.finding import Finding
from rung.diagnosis.stored import Sample, StoredRun, span
from rung.reports.metrics import METRICS
from rung.reports.warnings import WarningLimits

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
