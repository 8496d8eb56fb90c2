"""The label store: comparisons, votes and leases of one labels file, and what is exported of it."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rung.errors import DataError, SettingsError
from rung.lab.labels.comparison import Comparison, Verdict, Vote, Which, verdicts
from rung.lab.labels.comparison_rows import CHOSEN_REJECTED, FIRST_SECOND, ComparisonFile, number_of_pairs, vote_row
from rung.lab.labels.labels_file import LabelsFile
from rung.random import keyed_share
from rung.tasks.prompts import prompt_value
from rung.tasks.rows import Problems, counts_in_words, prompt_row, write_rows

LEASE_SECONDS = 600.0
"""How long a pair is kept for the person who looks at it."""

_TOLD = Path(__file__).with_name("queries.sql").read_text(encoding="utf-8").split("\n\n-- ")[1:]
QUERIES = {name: query for name, _, query in (one.partition("\n") for one in _TOLD)}
_VOTE = ("submit", "pair", "labeller", "answer", "left", "at", "seconds")
"""The columns of a vote."""


class Conflict(Exception):
    """A vote that cannot be taken; the message is for the person who made it."""


class LabelStore:
    """Comparisons, their votes, and who looks at which one now. Safe to use from several threads.

    The labels file at `path` is made when it is not there; `now` is the clock, in seconds since 1970.

    Raises: SettingsError when the path holds something else; DataError when the file is damaged.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self.file, self.now = LabelsFile(path), now
        ((self._order_key,),) = self.file.rows("SELECT value FROM facts WHERE name = 'order key'")

    def take_in(self, file: ComparisonFile) -> int:
        """Adds a file's comparisons and votes; those known already stay as they are. Returns how many are new.
        DataError when an id is known with other completions, or a vote's submit id with another answer."""
        with self.file.transaction():
            known: dict[str, str] = dict(self.file.rows("SELECT id, fingerprint FROM pairs"))
            problems = Problems(file.path)
            for pair in file.pairs:
                if known.get(pair.id, file.fingerprints[pair.id]) != file.fingerprints[pair.id]:
                    what = f"id {pair.id!r} was labelled with another prompt or other completions in {self.file.path}"
                    remedy = "give the row a new id, or name another labels file"
                    problems.add(file.row_numbers[pair.id], f"{what}; {remedy}")
            problems.raise_any()
            new = [pair for pair in file.pairs if pair.id not in known]
            for pair in new:
                content = json.dumps([pair.prompt, pair.completions, pair.columns], ensure_ascii=True)
                row = {"id": pair.id, "fingerprint": file.fingerprints[pair.id], "content": content}
                number = self.file.run(QUERIES["add a pair"], **row)
                self.file.seal("pairs", number)
            for vote in file.votes:
                self._take_in_vote(vote, file)
        return len(new)

    def _take_in_vote(self, vote: Vote, file: ComparisonFile) -> None:
        try:
            if self._is_here(vote):
                return
        except Conflict as error:
            raise DataError([f"{file.path}:{file.row_numbers[vote.pair]}: votes: {error}"]) from error
        number = self._insert(vote)
        if vote.undone:
            self._undo(number, f"undo of {vote.submit}", vote.at)

    def pair(self, pair_id: str) -> Comparison | None:
        """The comparison of an id, None when there is none."""
        found = self.file.rows("SELECT id, content FROM pairs WHERE id = :id", id=pair_id)
        return _pair(*found[0]) if found else None

    def pairs(self) -> Iterator[Comparison]:
        """Every comparison, in the order in which they were added."""
        for row in self.file.rows("SELECT id, content FROM pairs ORDER BY place"):
            yield _pair(*row)

    def count(self) -> int:
        """How many comparisons there are."""
        return self.file.rows("SELECT count(*) FROM pairs")[0][0]

    def left_of(self, pair_id: str, labeller: str) -> Which:
        """Which completion stands on the left for this person: a coin keyed by file, comparison and person."""
        return "first" if keyed_share("left", self._order_key, pair_id, labeller) < 0.5 else "second"

    def ask(self, labeller: str, *, wanted: int) -> tuple[Comparison, Which] | None:
        """The next comparison for this person, leased to them, and which of the two stands on the left.

        None when there is nothing to ask them now. `wanted` people are to answer each one.
        """
        given = {"labeller": labeller, "wanted": wanted}
        with self.file.transaction():
            now = self.now()
            self.file.run(QUERIES["end leases"], now=now)
            found = self.file.rows(QUERIES["own lease"], labeller=labeller)
            found = found or self.file.rows(QUERIES["next pair"], **given)
            if not found:
                return None
            pair_id = found[0][0]
            self._lease(pair_id, labeller, now + LEASE_SECONDS)
        pair = self.pair(pair_id)
        assert pair is not None
        return pair, self.left_of(pair_id, labeller)

    def held_by_others(self, labeller: str, *, wanted: int) -> int:
        """How many pairs this person may still be asked, but which others look at now; for when `ask` gave None."""
        return self.file.rows(QUERIES["held by others"], labeller=labeller, wanted=wanted)[0][0]

    def record(self, vote: Vote) -> None:
        """Keeps a vote. The same vote again, known by its submit id, changes nothing. Conflict, with words for the
        person, when it cannot be taken."""
        given = {"pair": vote.pair, "labeller": vote.labeller}
        with self.file.transaction():
            if self._is_here(vote):
                return
            if self.pair(vote.pair) is None:
                raise Conflict("This pair is not among those to label. Reload the page.")
            if vote.left != self.left_of(vote.pair, vote.labeller):
                raise Conflict("This pair was shown the other way round. Reload the page.")
            if self.file.rows(QUERIES["answered"], **given):
                raise Conflict("You have answered this pair already, perhaps in another tab. That answer stands.")
            self._insert(vote)
            self.file.run(QUERIES["end lease"], **given)

    def undo(self, labeller: str, submit: str) -> str | None:
        """Takes this person's latest standing vote back, by a row of its own, and leases them the comparison again.

        Returns the comparison's id, None when there is nothing to undo. The same undo again changes nothing.
        """
        with self.file.transaction():
            again = self.file.rows(QUERIES["undone before"], submit=submit, labeller=labeller)
            if again:
                return again[0][0]
            found = self.file.rows(QUERIES["last vote"], labeller=labeller)
            if not found:
                return None
            number, pair_id = found[0]
            self._undo(number, submit, self.now())
            self._lease(pair_id, labeller, self.now() + LEASE_SECONDS + 1)  # longer than any other: it comes next
        return pair_id

    def votes(self) -> list[Vote]:
        """Every vote ever made, undone ones too, in their order."""
        return [_vote(row) for row in self.file.rows(QUERIES["all votes"])]

    def standing(self) -> list[Vote]:
        """The votes that count: the latest of each person and comparison that was not undone."""
        return [_vote(row) for row in self.file.rows(QUERIES["standing votes"])]

    def _lease(self, pair_id: str, labeller: str, until: float) -> None:
        self.file.run(QUERIES["lease"], pair=pair_id, labeller=labeller, until=until)

    def _insert(self, vote: Vote) -> int:
        number = self.file.run(QUERIES["add a vote"], **{name: getattr(vote, name) for name in _VOTE})
        self.file.seal("votes", number)
        return number

    def _undo(self, number: int, submit: str, at: float) -> None:
        self.file.run(QUERIES["undo"], vote=number, submit=submit, at=at)
        self.file.seal("undos", number)

    def _is_here(self, vote: Vote) -> bool:
        """Whether this very vote is in the file. Raises Conflict when its submit id stands for another."""
        found = self.file.rows(QUERIES["vote"], submit=vote.submit)
        if found and found[0] != (vote.pair, vote.labeller, vote.answer, vote.left):
            raise Conflict(f"The submit id {vote.submit!r} belongs to another answer.")
        return bool(found)

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _pair(pair_id: str, content: str) -> Comparison:
    prompt, (first, second), columns = json.loads(content)
    return Comparison(id=pair_id, prompt=prompt_value(prompt), completions=(first, second), columns=columns)


def _vote(row: tuple[Any, ...]) -> Vote:
    return Vote(**dict(zip((*_VOTE, "undone"), (*row[:-1], bool(row[-1])), strict=True)))


_LEFT_OUT: Mapping[Verdict, str] = {
    "unlabelled": "not labelled",
    "tie": "tied",
    "even": "with even votes",
    "unsure": "that nobody could tell",
}


def export_labelled(store: LabelStore, path: Path) -> str:
    """Writes `id`, `prompt`, `chosen`, `rejected`, `votes` and the other columns to .jsonl or .parquet.

    Returns how many rows were written, and how many comparisons were left out, by reason. SettingsError when the
    ending is another one, or no comparison has a preferred completion.
    """
    found, votes = verdicts(store.standing()), _votes_by_pair(store)
    rows, left_out = [], Counter[str]()
    for pair in store.pairs():
        preferred: Verdict = found.get(pair.id, "unlabelled")
        if preferred in FIRST_SECOND:
            names = CHOSEN_REJECTED if preferred == "first" else CHOSEN_REJECTED[::-1]
            named = dict(zip(names, pair.completions, strict=True))
            rows.append(_row(pair, {name: named[name] for name in CHOSEN_REJECTED}, votes[pair.id], names))
        else:
            left_out[_LEFT_OUT[preferred]] += 1
    said = number_of_pairs(len(rows)) + (f"; left out: {counts_in_words(left_out)}" if left_out else "")
    if not rows:
        raise SettingsError([f"--export: nothing to write to {path}: {said}"])
    write_rows(rows, path, "--export")
    return said


def export_votes(store: LabelStore, path: Path) -> str:
    """Writes every comparison with its two `completions` and all its `votes`, undone ones too."""
    votes = _votes_by_pair(store)
    rows = [_row(pair, {"completions": list(pair.completions)}, votes[pair.id], FIRST_SECOND) for pair in store.pairs()]
    write_rows(rows, path, "--votes")
    return number_of_pairs(len(rows))


def _row(pair: Comparison, completions: Mapping[str, Any], votes: list[Vote], names: tuple[str, ...]) -> dict[str, Any]:
    written = [vote_row(vote, names) for vote in votes]
    return prompt_row(pair.id, pair.prompt, **completions, votes=written, **pair.columns)


def _votes_by_pair(store: LabelStore) -> defaultdict[str, list[Vote]]:
    found: defaultdict[str, list[Vote]] = defaultdict(list)
    for vote in store.votes():
        found[vote.pair].append(vote)
    return found
