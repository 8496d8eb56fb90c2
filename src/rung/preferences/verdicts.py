"""From votes to one verdict a pair, and what the votes look like as a whole.

The rule: the answer that most people gave. "Can't tell" is no answer. A pair whose most frequent answer is a tie, or
that has two most frequent answers, has no preferred completion and is left out of an export, and counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rung.preferences.agreement import Agreement, agreement
from rung.preferences.pair import Answer, Vote

RULE = "the answer that most people gave; a can't-tell is no answer; ties and even votes are left out"

Verdict = Literal["first", "second", "tie", "even", "unsure", "unlabelled"]


def verdict(answers: Iterable[Answer]) -> Verdict:
    """What people think of one pair, by the rule above.

    >>> verdict(["first", "first", "second"]), verdict(["first", "second"]), verdict(["unsure"]), verdict([])
    ('first', 'even', 'unsure', 'unlabelled')
    """
    counts = Counter(answers)
    if not counts:
        return "unlabelled"
    del counts["unsure"]
    if not counts:
        return "unsure"
    (answer, most), *rest = counts.most_common(2)
    if rest and rest[0][1] == most:
        return "even"
    assert answer != "unsure"
    return answer


def verdicts(standing: Iterable[Vote]) -> dict[str, Verdict]:
    """The verdict of every pair that has a standing vote."""
    answers: defaultdict[str, list[Answer]] = defaultdict(list)
    for vote in standing:
        answers[vote.pair].append(vote.answer)
    return {pair: verdict(given) for pair, given in answers.items()}


def agreement_of(standing: Iterable[Vote]) -> Agreement:
    """How far people agree, over the pairs that two or more of them judged."""
    answers: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for vote in standing:
        if vote.answer != "unsure":
            answers[vote.pair][vote.labeller] = vote.answer
    return agreement(answers)


@dataclass(frozen=True)
class Sides:
    """How often the preferred one stood on the left, and how often on the right."""

    left: int
    right: int

    def in_words(self) -> str:
        """
        >>> Sides(left=11, right=9).in_words()
        '55 % of 20 choices'
        """
        both = self.left + self.right
        if not both:
            return "no choice yet"
        return f"{100 * self.left / both:.0f} % of {both:,} {'choice' if both == 1 else 'choices'}"


def sides_of(standing: Iterable[Vote]) -> Sides:
    """Left and right counts of the votes that prefer one."""
    counts = Counter(vote.side for vote in standing)
    return Sides(left=counts["left"], right=counts["right"])
