"""Completions that repeat: one text for every prompt, or one phrase over and over."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from rung.lab.diagnosis.finding import Seen
from rung.lab.diagnosis.observed import ObservedRun, Sample

FEW_PROMPTS = 4
MANY = 0.5
"""Share of the prompts, or of the completions, from which saying the same is the rule."""
SHORTEST_LOOP = 24
"""Tokens of the shortest completion that is looked at for loops."""
LONGEST_PERIOD = 64
SAME = 0.95
"""Share of tokens that must equal the one a period before."""


def same_completion(run: ObservedRun) -> Seen | None:
    text, share, prompts = _commonest(run.last_samples)
    if prompts < FEW_PROMPTS or share < MANY or _accuracy(run.last_samples, text) >= MANY or run.learned:
        return None
    before = _share_of(run.first_samples, text)
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


def _commonest(rows: Sequence[Sample]) -> tuple[str, float, int]:
    """The text that answers the most prompts, the share of the prompts, and how many prompts there are."""
    answers = _answers(rows)
    counts = Counter(text for texts in answers.values() for text in texts)
    if not counts:
        return "", 0.0, 0
    text, count = counts.most_common(1)[0]
    return text, count / len(answers), len(answers)


def _share_of(rows: Sequence[Sample], text: str) -> float:
    answers = _answers(rows)
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
