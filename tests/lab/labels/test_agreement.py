"""Agreement against values worked out by hand in the literature."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.lab.labels.comparison import agreement, cohen_kappa, krippendorff_alpha


def units(*people: str) -> list[list[str]]:
    """Units from one line of answers a person; a dot is no answer."""
    return [[answer for answer in unit if answer != "."] for unit in zip(*people, strict=True)]


def test_cohen_1960_example() -> None:
    """200 cases, three kinds; the paper has p_o = .70, p_e = .41, kappa = .492."""
    table = {"11": 88, "12": 14, "13": 18, "21": 10, "22": 40, "23": 10, "31": 2, "32": 6, "33": 12}
    pairs = [(key[0], key[1]) for key, count in table.items() for _ in range(count)]
    assert cohen_kappa(pairs) == (Fraction(70, 100) - Fraction(41, 100)) / Fraction(59, 100)


@pytest.mark.parametrize(
    ("table", "kappa"), [((20, 5, 10, 15), "2/5"), ((45, 15, 25, 15), "3/23"), ((25, 35, 5, 35), "7/27")]
)
def test_two_by_two_tables_that_textbooks_give(table: tuple[int, int, int, int], kappa: str) -> None:
    """50 grant proposals, .40; and two tables with equal observed agreement, .1304 and .2593."""
    cells = zip(["yy", "yn", "ny", "nn"], table, strict=True)
    assert cohen_kappa([(key[0], key[1]) for key, count in cells for _ in range(count)]) == Fraction(kappa)


def test_krippendorff_2011_examples() -> None:
    """Sections A (binary, .095), B (nominal, .692) and C (four observers, answers missing, .743)."""
    binary = units("0100000010", "1110010000")
    nominal = units("aabbdcccedda", "babbbccceddd")
    missing = units("123321412...", "1233224125.3", ".3332342251.", "1233244125" + "1.")
    assert krippendorff_alpha(binary) == 1 - Fraction(19 * 8, 2 * 14 * 6)  # 0.0952
    assert krippendorff_alpha(nominal) == Fraction(155, 224)  # 0.692
    found = krippendorff_alpha(missing)
    assert found is not None and round(float(found), 3) == 0.743


def test_all_agree_none_agree_and_chance() -> None:
    assert cohen_kappa([("a", "a"), ("b", "b")]) == 1 == krippendorff_alpha(["aa", "bb"])
    assert cohen_kappa([("a", "b"), ("b", "a")]) == -1
    independent = [(one, two) for one in "ab" for two in "ab"]
    assert cohen_kappa(independent) == 0
    assert krippendorff_alpha(["aa", "bb", "ab"]) == krippendorff_alpha(["aa", "bb", "ab", "a", ""])  # nobody to agree


def test_undefined_is_none_and_said_in_words() -> None:
    assert cohen_kappa([]) is None and krippendorff_alpha([]) is None
    assert cohen_kappa([("a", "a")] * 5) is None and krippendorff_alpha(["aa"] * 5) is None
    assert agreement({}).in_words() == "no pair has two answers yet"
    assert agreement({"p": {"anna": "first"}, "q": {"ben": "first"}}).in_words() == "no pair has two answers yet"
    one_kind = agreement({"p": {"anna": "first", "ben": "first"}})
    assert one_kind.in_words() == "1 of 1 pairs the same; Cohen's kappa needs answers of more than one kind"


def test_two_people_get_cohen_and_three_krippendorff() -> None:
    answers = {
        "p": {"anna": "first", "ben": "first"},
        "q": {"anna": "second", "ben": "first"},
        "r": {"anna": "second", "ben": "second"},
        "s": {"anna": "tie"},
    }
    two = agreement(answers)
    assert (two.measure, two.value, two.pairs, two.same) == ("Cohen's kappa", Fraction(2, 5), 3, 2)
    assert two.in_words() == "0.40 (Cohen's kappa; 2 of 3 pairs the same)"
    three = agreement({**answers, "s": {"anna": "tie", "cleo": "tie"}})
    assert (three.measure, three.pairs, three.same) == ("Krippendorff's alpha", 4, 3)
    # n = 8, n_c = 3, 3, 2: alpha = 1 - 7 (8 - 6) / (64 - 22)
    assert three.value == 1 - Fraction(7 * 2, 42)


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=4), max_size=8), st.randoms(use_true_random=False))
def test_names_and_orders_do_not_matter(answers: list[list[str]], random) -> None:
    renamed = [[{"a": "x", "b": "y", "c": "z"}[answer] for answer in unit] for unit in answers]
    shuffled = [random.sample(unit, len(unit)) for unit in random.sample(renamed, len(renamed))]
    found = krippendorff_alpha(shuffled)
    assert found == krippendorff_alpha(answers)
    assert found is None or found <= 1
