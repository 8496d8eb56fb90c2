"""What a comparison says in words, by one rule that is fixed before the numbers are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALPHA = 0.05
RULE = (
    "Two methods are told apart when the mean of their paired differences over seeds is away from 0 by Student's t "
    "(seeds - 1 degrees of freedom; the standard error holds the seeds' spread and the items'), with p < 0.05 after "
    "Holm's correction over all pairs of the comparison. So the chance that any two equal methods are told apart is "
    "at most 5 %. With one seed nothing is told apart: nobody knows what another seed would have given."
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two methods, as the rule sees them.

    Example: `Pair(after="grpo", before="reinforce", difference=0.31, p_adjusted=0.004)`.
    """

    after: str
    before: str
    difference: float
    """Score of `after` less that of `before`."""
    p_adjusted: float

    @property
    def apart(self) -> bool:
        return self.p_adjusted < ALPHA


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer. `best`: the methods that none is told to beat, the highest score first; empty: nothing can be said.

    Example: `Verdict(headline="Not distinguishable at this budget: grpo, ppo.", best=("grpo", "ppo"), details=())`.
    """

    headline: str
    best: tuple[str, ...]
    details: tuple[str, ...]


def verdict(scores: Mapping[str, float], pairs: Sequence[Pair], *, seeds: int) -> Verdict:
    """The verdict on methods with a score each; `seeds` is the smallest number of seeds that a method has.

    >>> verdict({"a": 0.5, "b": 0.4}, [Pair(after="a", before="b", difference=0.1, p_adjusted=0.2)], seeds=3).headline
    'Not distinguishable at this budget: a, b.'
    """
    ranked = sorted(scores, key=lambda name: (-scores[name], list(scores).index(name)))
    if len(ranked) < 2:
        return Verdict(headline=_too_few(ranked), best=(), details=())
    if seeds < 2:
        return Verdict(
            headline=f"One seed cannot tell methods apart. The highest score is {ranked[0]}'s; run more seeds.",
            best=(),
            details=(),
        )
    beaten = {name: [_other(pair, name) for pair in pairs if _loses(pair, name)] for name in ranked}
    best = [name for name in ranked if not beaten[name]] or ranked[:1]  # no seeds in common may leave a circle
    details = tuple(_behind(name, beaten[name], ranked) for name in ranked if beaten[name])
    if len(best) == len(ranked):
        return Verdict(headline=f"Not distinguishable at this budget: {_listed(ranked)}.", best=tuple(best), details=())
    if len(best) > 1:
        rest = [name for name in ranked if beaten[name]]
        headline = (
            f"At the top, not distinguishable from one another at this budget: {_listed(best)}. "
            f"Behind at least one of them: {_listed(rest)}."
        )
        return Verdict(headline=headline, best=tuple(best), details=details)
    unbeaten_by_it = [name for name in ranked[1:] if best[0] not in beaten[name]]
    if not unbeaten_by_it:
        return Verdict(
            headline=f"{best[0]} is best at this budget, ahead of every other.", best=tuple(best), details=details
        )
    headline = (
        f"{best[0]} has the highest score and is beaten by none, but is not distinguishable at this budget from "
        f"{_listed(unbeaten_by_it)}."
    )
    return Verdict(headline=headline, best=tuple(best), details=details)


def _loses(pair: Pair, name: str) -> bool:
    return pair.apart and (pair.before == name if pair.difference > 0 else pair.after == name)


def _other(pair: Pair, name: str) -> str:
    return pair.after if pair.before == name else pair.before


def _behind(name: str, ahead: Sequence[str], ranked: Sequence[str]) -> str:
    return f"{name} is behind {_listed(sorted(ahead, key=list(ranked).index))}."


def _too_few(ranked: Sequence[str]) -> str:
    if not ranked:
        return "No run has finished, so there is nothing to compare."
    return f"Only {ranked[0]} has a score, so there is nothing to compare it with."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
