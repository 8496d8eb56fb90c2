"""Agreement between people beyond chance, computed exactly from counts, and the verdict of their votes.

Both measures are 1 when everybody always agrees, 0 when they agree as often as by chance, and negative below that.
Categories are nominal: first, second, tie.

>>> cohen_kappa([("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15)
Fraction(2, 5)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from rung.lab.labels.comparison import Answer, Vote


@dataclass(frozen=True)
class Agreement:
    """The measure, its value (None where it is not defined), and over how many pairs."""

    measure: Literal["Cohen's kappa", "Krippendorff's alpha"]
    value: Fraction | None
    pairs: int
    same: int
    """Pairs on which all who judged gave the same answer."""

    def in_words(self) -> str:
        if not self.pairs:
            return "no pair has two answers yet"
        same = f"{self.same} of {self.pairs} pairs the same"
        if self.value is None:
            return f"{same}; {self.measure} needs answers of more than one kind"
        return f"{float(self.value):.2f} ({self.measure}; {same})"


def agreement(answers: Mapping[str, Mapping[str, str]]) -> Agreement:
    """Cohen's kappa for two people, Krippendorff's alpha for more, of the answers by pair and person.

    Only pairs that two or more people judged count. Answers of those who could not tell are to be left out before.
    """
    units = [given for given in answers.values() if len(given) > 1]
    people = sorted({name for given in units for name in given})
    same = sum(len(set(given.values())) == 1 for given in units)
    if len(people) > 2:
        value = krippendorff_alpha(given.values() for given in units)
        return Agreement("Krippendorff's alpha", value, len(units), same)
    value = cohen_kappa([(given[people[0]], given[people[1]]) for given in units])
    return Agreement("Cohen's kappa", value, len(units), same)


def cohen_kappa(pairs: Collection[tuple[Hashable, Hashable]]) -> Fraction | None:
    """κ = (p_o − p_e) / (1 − p_e): observed agreement against that of two independent people with the same habits.

    Cohen 1960, A coefficient of agreement for nominal scales, equation 1. Each item is what the one said and what the
    other said. None without items, or when both gave one and the same answer throughout (p_e = 1).
    """
    n = len(pairs)
    if not n:
        return None
    ones, twos = Counter(one for one, _ in pairs), Counter(two for _, two in pairs)
    observed = Fraction(sum(one == two for one, two in pairs), n)
    expected = Fraction(sum(count * twos[answer] for answer, count in ones.items()), n * n)
    return None if expected == 1 else (observed - expected) / (1 - expected)


def krippendorff_alpha(units: Iterable[Collection[Hashable]]) -> Fraction | None:
    """α = 1 − D_o / D_e for nominal data, any number of people, answers missing anywhere.

    With o_ck the coincidences of answers c and k, each unit of m answers weighted by 1/(m − 1), and n_c = ∑_k o_ck:
    α = 1 − (n − 1) (n − ∑_c o_cc) / (n² − ∑_c n_c²). Krippendorff 2011, Computing Krippendorff's Alpha-Reliability,
    section D. Units with fewer than two answers do not count. None without others, or when all answers are equal.
    """
    totals: Counter[Hashable] = Counter()
    matching = Fraction(0)
    for unit in units:
        counts = Counter(unit)
        m = counts.total()
        if m < 2:
            continue
        totals.update(counts)
        matching += Fraction(sum(count * (count - 1) for count in counts.values()), m - 1)
    n = totals.total()
    by_chance = n * n - sum(count * count for count in totals.values())
    return None if not by_chance else 1 - (n - 1) * (n - matching) / by_chance


RULE = "the answer that most people gave; a can't-tell is no answer; ties and even votes are left out"

Verdict = Literal["first", "second", "tie", "even", "unsure", "unlabelled"]


def verdict(answers: Iterable[Answer]) -> Verdict:
    """The verdict on one pair, by RULE.

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
    return {pair: verdict(given.values()) for pair, given in _answers(standing).items()}


def agreement_of(standing: Iterable[Vote]) -> Agreement:
    """The agreement of the standing votes, can't-tells left out."""
    return agreement(_answers(vote for vote in standing if vote.answer != "unsure"))


def _answers(standing: Iterable[Vote]) -> Mapping[str, Mapping[str, Answer]]:
    """By pair and person: of each there is one standing vote on a pair."""
    answers: defaultdict[str, dict[str, Answer]] = defaultdict(dict)
    for vote in standing:
        answers[vote.pair][vote.labeller] = vote.answer
    return answers


def left_share(standing: Iterable[Vote]) -> str:
    """How often the preferred completion was on the left, in words: `55 % of 20 choices`."""
    sides = [vote.side for vote in standing if vote.side is not None]
    if not sides:
        return "no choice yet"
    return f"{100 * sides.count('left') / len(sides):.0f} % of {len(sides):,} choice{'s' * (len(sides) > 1)}"
