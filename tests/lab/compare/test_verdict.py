"""What a comparison says in words, on numbers made for the purpose."""

from __future__ import annotations

from rung.lab.compare.seed_statistics import Pair, verdict


def pair(after: str, before: str, difference: float, p: float) -> Pair:
    return Pair(after=after, before=before, difference=difference, p_adjusted=p)


def test_a_clear_win() -> None:
    pairs = [pair("b", "a", 0.3, 0.001), pair("c", "a", 0.1, 0.2), pair("c", "b", -0.2, 0.004)]
    found = verdict({"a": 0.2, "b": 0.5, "c": 0.3}, pairs, seeds=3)
    assert found.headline == "b is best at this budget, ahead of every other."
    assert found.best == ("b",)
    assert found.details == ("c is behind b.", "a is behind b.")


def test_a_tie_of_all() -> None:
    pairs = [pair("b", "a", 0.3, 0.06), pair("c", "a", 0.1, 0.2), pair("c", "b", -0.2, 1.0)]
    found = verdict({"a": 0.2, "b": 0.5, "c": 0.3}, pairs, seeds=3)
    assert found.headline == "Not distinguishable at this budget: b, c, a."
    assert found.best == ("b", "c", "a") and found.details == ()


def test_two_at_the_top() -> None:
    pairs = [pair("b", "a", 0.3, 0.001), pair("c", "a", 0.2, 0.02), pair("c", "b", -0.1, 0.4)]
    found = verdict({"a": 0.2, "b": 0.5, "c": 0.4}, pairs, seeds=3)
    assert found.headline == (
        "At the top, not distinguishable from one another at this budget: b, c. Behind at least one of them: a."
    )
    assert found.details == ("a is behind b, c.",)


def test_the_first_that_beats_only_some() -> None:
    """The top method is not told from the second, which is behind the third: what is known is said, no more."""
    pairs = [pair("a", "b", 0.2, 0.3), pair("a", "c", 0.1, 0.6), pair("c", "b", 0.1, 0.01)]
    found = verdict({"a": 0.5, "b": 0.3, "c": 0.4}, pairs, seeds=3)
    assert found.best == ("a", "c") and "b is behind c." in found.details


def test_one_seed_decides_nothing() -> None:
    found = verdict({"a": 0.2, "b": 0.9}, [], seeds=1)
    assert found.headline.startswith("One seed cannot tell methods apart") and found.best == ()


def test_one_method_and_none() -> None:
    assert "nothing to compare it with" in verdict({"a": 0.2}, [], seeds=3).headline
    assert "No run has finished" in verdict({}, [], seeds=0).headline


def test_just_at_the_limit_is_no_win() -> None:
    found = verdict({"a": 0.2, "b": 0.9}, [pair("b", "a", 0.7, 0.05)], seeds=3)
    assert found.headline.startswith("Not distinguishable")
