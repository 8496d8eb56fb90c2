"""What a comparison says in words, by one rule that is fixed before the numbers are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rung.runs.student_t import reach

ALPHA = 0.05
RULE = (
    "Two methods are told apart when the mean of their paired differences over seeds is away from 0 by Student's t "
    "(seeds - 1 degrees of freedom; common items add their own spread), with p < 0.05 after "
    "Holm's correction over all pairs of the comparison. So the chance that any two equal methods are told apart is "
    "at most 5 %. With one seed nothing is told apart: nobody knows what another seed would have given."
)


@dataclass(frozen=True)
class Pair:
    """Two methods, as the rule sees them."""

    after: str
    before: str
    difference: float
    """Score of `after` less that of `before`."""
    p_adjusted: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer. `best`: the methods that no other is shown to beat, highest score first; empty: nothing is said."""

    headline: str
    best: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


def resolution(seeds: int) -> str:
    """What so many seeds can tell apart at all, in words, before anything has run.

    >>> resolution(2)
    'a difference between two methods must be 12.7 of its standard errors to be told apart, with 5 seeds 2.8'
    """
    if seeds < 2:
        return "one seed tells nothing apart; three or more can"
    here = f"{reach(1 - ALPHA, seeds - 1):.1f}"
    more = "" if seeds >= 5 else f", with 5 seeds {reach(1 - ALPHA, 4):.1f}"
    return f"a difference between two methods must be {here} of its standard errors to be told apart{more}"


def verdict(scores: Mapping[str, float], pairs: Sequence[Pair], *, seeds: int) -> Verdict:
    """The verdict on methods with a score each; `seeds` is the smallest number of seeds that a method has.

    >>> verdict({"a": 0.5, "b": 0.4}, [Pair(after="a", before="b", difference=0.1, p_adjusted=0.2)], seeds=3).headline
    'Not distinguishable at this budget: a, b.'
    """
    ranked = sorted(scores, key=lambda name: (-scores[name], list(scores).index(name)))
    if not ranked:
        return Verdict(headline="No run has finished, so there is nothing to compare.")
    if len(ranked) == 1:
        return Verdict(headline=f"Only {ranked[0]} has a score, so there is nothing to compare it with.")
    if seeds < 2:
        told = f"One seed cannot tell methods apart. The highest score is {ranked[0]}'s; run more seeds."
        return Verdict(headline=told)
    beaten: dict[str, list[str]] = {name: [] for name in ranked}
    for pair in pairs:
        if pair.p_adjusted < ALPHA:
            won, lost = (pair.after, pair.before) if pair.difference > 0 else (pair.before, pair.after)
            beaten[lost].append(won)
    behind = [name for name in ranked if beaten[name]]
    best = [name for name in ranked if not beaten[name]] or ranked[:1]  # no seeds in common may leave a circle
    details = [f"{name} is behind {', '.join(sorted(beaten[name], key=ranked.index))}." for name in behind]
    return Verdict(headline=_headline(ranked, best, behind, beaten), best=tuple(best), details=tuple(details))


def _headline(
    ranked: Sequence[str], best: Sequence[str], behind: Sequence[str], beaten: Mapping[str, Sequence[str]]
) -> str:
    if len(best) == len(ranked):
        return f"Not distinguishable at this budget: {', '.join(ranked)}."
    if len(best) > 1:
        return (
            f"At the top, not distinguishable from one another at this budget: {', '.join(best)}. "
            f"Behind at least one of them: {', '.join(behind)}."
        )
    equal = [name for name in ranked[1:] if best[0] not in beaten[name]]
    if not equal:
        return f"{best[0]} is best at this budget, ahead of every other."
    return (
        f"{best[0]} has the highest score and is beaten by none, but is not distinguishable at this budget from "
        f"{', '.join(equal)}."
    )
