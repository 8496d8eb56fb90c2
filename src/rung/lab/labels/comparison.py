"""Comparisons and votes: what a person is asked, what people said, and how far they agree beyond chance.

A completion may be a clip of an episode: a GIF in the folder of the pairs or below it, shown and repeated.

The two completions of a comparison are `first` and `second`, in the order of the file. Which of them stands on the
left is drawn for each person and comparison, and kept with each vote. So a vote says what was preferred and where it
stood.

Both measures of agreement are computed exactly from counts. They are 1 when everybody always agrees, 0 when they agree
as often as by chance, and negative below that. Categories are nominal: first, second, tie.

>>> cohen_kappa([("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15)
Fraction(2, 5)
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from rung.tasks.task import Prompt

Which = Literal["first", "second"]
Answer = Literal["first", "second", "tie", "unsure"]
"""`unsure` is "can't tell": no judgement at all, where `tie` is the judgement that both are as good."""

LONGEST_NAME = 80
"""Characters of a person's name."""
ANSWERS: tuple[Answer, ...] = ("first", "second", "tie", "unsure")


def other(which: Which) -> Which:
    """The other one of the two."""
    return "second" if which == "first" else "first"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two completions of one prompt, each a text, a list of messages, or `{"clip": "walk-3.gif"}`."""

    id: str
    prompt: Prompt
    completions: tuple[Any, Any]
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The row's other columns; an export writes them again."""


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One answer of one person. Votes are never deleted."""

    submit: str
    """An id that the page makes before it first sends the vote, so that a vote sent twice counts once."""
    pair: str
    """The comparison's id."""
    labeller: str
    answer: Answer
    left: Which
    """Which completion stood on the left."""
    at: float
    """When, in seconds since 1970, UTC."""
    seconds: float | None = None
    """How long the person looked."""
    undone: bool = False

    @property
    def side(self) -> Literal["left", "right"] | None:
        """Where the preferred completion stood, None when none was preferred."""
        if self.answer not in ("first", "second"):
            return None
        return "left" if self.answer == self.left else "right"


LARGEST_CLIP = 16 * 2**20
LARGEST_SIDE = 2048
_MARKS = (b"GIF87a", b"GIF89a")


def is_clip(completion: Any) -> bool:
    return isinstance(completion, dict)


def clip_problem(completion: Any, folder: Path) -> str | None:
    """What is wrong with a clip as a sentence, None when it can be shown.

    >>> clip_problem({"clip": "../../etc/passwd"}, Path("."))
    "clip '../../etc/passwd': expected a path inside the folder of the pairs"
    """
    if set(completion) != {"clip"} or not isinstance(completion["clip"], str):
        return f'has {", ".join(map(repr, completion)) or "nothing"}, expected {{"clip": "FILE.gif"}}'
    name = completion["clip"]
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        return f"clip {name!r}: expected a path inside the folder of the pairs"
    if path.suffix.lower() != ".gif":
        return f"clip {name!r}: expected a .gif file"
    try:
        read_clip(name, folder)
    except ValueError as error:
        return f"clip {name!r}: {error}"
    return None


def read_clip(name: str, folder: Path) -> bytes:
    """The bytes of a clip. Raises ValueError when it is no GIF, too large, or outside the folder (by a link, say)."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError("leads out of the folder of the pairs")
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_CLIP + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(data) > LARGEST_CLIP:
        raise ValueError(f"is larger than {LARGEST_CLIP >> 20} MiB; make it shorter or smaller")
    if data[:6] not in _MARKS or len(data) < 13:
        raise ValueError("is no GIF")
    width, height = (int.from_bytes(data[at : at + 2], "little") for at in (6, 8))
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise ValueError(f"is {width} x {height} pixels, expected at most {LARGEST_SIDE} a side")
    return data


def clip_digest(completion: Any, folder: Path) -> str:
    """A hash of a clip's content, so that another clip under the same name is noticed."""
    return hashlib.sha256(read_clip(completion["clip"], folder)).hexdigest()


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
