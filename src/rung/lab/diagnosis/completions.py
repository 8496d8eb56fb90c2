"""Completions that are cut off before they end, or that repeat: one text for every prompt, one phrase over and over."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from rung.lab.diagnosis.observed import ObservedRun, Sample, Seen, span
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


FEW_PROMPTS = 4
MANY = 0.5
"""Share of the prompts, or of the completions, from which saying the same is the rule."""
SHORTEST_LOOP = 24
"""Tokens of the shortest completion that is looked at for loops."""
LONGEST_PERIOD = 64
SAME = 0.95
"""Share of tokens that must equal the one a period before."""


def same_completion(run: ObservedRun) -> Seen | None:
    answers = _answers(run.last_samples)
    counts = Counter(text for texts in answers.values() for text in texts)
    text = counts.most_common(1)[0][0] if counts else ""
    share, prompts = _share_of(answers, text), len(answers)
    if prompts < FEW_PROMPTS or share < MANY or _accuracy(run.last_samples, text) >= MANY or run.learned:
        return None
    before = _share_of(_answers(run.first_samples), text)
    what = f"'{text[:60]}'" if text else "nothing at all"
    return Seen(
        f"{what} is an answer to {share:.0%} of {prompts} prompts in the last samples ({before:.0%} in the first)",
        case="grown" if before < share else "",
    )


def loops(run: ObservedRun) -> Seen | None:
    share, count = _looping(run.last_samples)
    if not count or share < MANY / 2:
        return None
    before, _ = _looping(run.first_samples)
    return Seen(
        f"{share:.0%} of the {count} longer completions in the last samples ({before:.0%} in the first)",
        case="grown" if share > 2 * before else "",
        severity="serious" if share >= MANY else None,
    )


def is_loop(ids: Sequence[int]) -> bool:
    """Whether the second half of a completion is one phrase repeated.

    >>> is_loop([5, 6, 7] * 10), is_loop(range(30)), is_loop([1, 1])
    (True, False, False)
    """
    tokens = np.asarray(ids)
    if len(tokens) < SHORTEST_LOOP:
        return False
    half = tokens[len(tokens) // 2 :]
    periods = range(1, min(LONGEST_PERIOD, len(half) // 3) + 1)
    return any(float((half[period:] == half[:-period]).mean()) >= SAME for period in periods)


def _looping(rows: Sequence[Sample]) -> tuple[float, int]:
    """(share of them that loop, how many are long enough to tell)."""
    long = [row["token_ids"] for row in rows if row["token_ids"] and len(row["token_ids"]) >= SHORTEST_LOOP]
    return (sum(map(is_loop, long)) / len(long), len(long)) if long else (0.0, 0)


def _share_of(answers: Mapping[str, set[str]], text: str) -> float:
    return sum(text in texts for texts in answers.values()) / len(answers) if answers else 0.0


def _answers(rows: Sequence[Sample]) -> dict[str, set[str]]:
    """Prompt → the texts that are at least half of its completions."""
    by_prompt: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_prompt[row["prompt"] or ""].append((row["completion"] or "").strip())
    return {
        prompt: {text for text, count in Counter(texts).items() if count >= MANY * len(texts)}
        for prompt, texts in by_prompt.items()
    }


def _accuracy(rows: Sequence[Sample], text: str) -> float:
    found = [row["accuracy"] or 0.0 for row in rows if (row["completion"] or "").strip() == text]
    return sum(found) / len(found) if found else 0.0
