"""Completions that are cut off before they end."""

from __future__ import annotations

import re

from rung.lab.diagnosis.finding import Seen
from rung.lab.diagnosis.observed import ObservedRun, Sample, span
from rung.runs.metrics.registry import METRICS

_THINKING = re.compile(r"<(/?)(think|thinking|thought|reasoning|scratchpad)>", re.IGNORECASE)
HARMLESS = 0.5
"""Accuracy of the cut completions above which a run that learns is not held back by the cut."""
MOST = 0.5
"""Share of the completions from which a cut is serious, and of the cut ones from which thinking is the reason."""


def truncated(run: ObservedRun) -> Seen | None:
    """Many completions end at the limit instead of by themselves. In an environment that can be a success."""
    share = _share_cut(run)
    if share is None or run.in_environment or thinking_too_long(run) is not None:
        return None
    right = _right(run, cut=True)
    if run.learned and (right is None or right > HARMLESS):
        return None
    return Seen(
        _evidence(run, share),
        severity="serious" if share > MOST and not run.learned else None,
        words={"how_many": "most" if share > MOST else "many"},
    )


def thinking_too_long(run: ObservedRun) -> Seen | None:
    share, cut = _share_cut(run), [row for row in run.last_samples if row["truncated"]]
    if share is None or not cut:
        return None
    thinking = sum(still_thinking(row) for row in cut) / len(cut)
    if thinking < MOST:
        return None
    return Seen(f"{_evidence(run, share)}; {thinking:.0%} of those cut off in the last samples were still thinking")


def _share_cut(run: ObservedRun) -> float | None:
    """The share of the late completions that were cut off, where it is not a healthy one."""
    share = run.mean("length/truncated", run.late)
    return share if METRICS["length/truncated"].standing(share) == "high" else None


def still_thinking(sample: Sample) -> bool:
    """Whether the last mark of thinking, in the prompt or the completion, opens and does not close.

    >>> still_thinking({"prompt": "2+3? <think>", "completion": "let me see"})
    True
    """
    marks = _THINKING.findall((sample["prompt"] or "")[-200:] + (sample["completion"] or ""))
    return bool(marks) and not marks[-1][0]


def _evidence(run: ObservedRun, share: float) -> str:
    limit = run.setting("max_new_tokens")
    of_limit = f" at {limit} tokens" if limit else ""
    cut, whole = _right(run, cut=True), _right(run, cut=False)
    beside = f"; right: {cut:.0%} of the cut ones" if cut is not None else ""
    beside += f", {whole:.0%} of the others" if cut is not None and whole is not None else ""
    return f"{share:.0%} of the completions in {span(run.late)} were cut{of_limit}{beside}"


def _right(run: ObservedRun, *, cut: bool) -> float | None:
    """Accuracy of the last samples that were cut, or that were not."""
    found = [row["accuracy"] for row in run.last_samples if bool(row["truncated"]) == cut]
    judged = [one for one in found if one is not None]
    return sum(judged) / len(judged) if judged else None
