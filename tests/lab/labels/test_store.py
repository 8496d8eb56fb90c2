"""The pair store: who is asked what, that every vote stays, and that nothing is counted twice."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rung.errors import DataError, SettingsError
from rung.lab.labels.comparison import Vote
from rung.lab.labels.comparison_rows import read_comparisons
from rung.lab.labels.store import LEASE_SECONDS, Conflict, LabelStore


def asked(store: LabelStore, labeller: str, wanted: int = 1) -> str | None:
    found = store.ask(labeller, wanted=wanted)
    return None if found is None else found[0].id


def test_the_file_is_safe(store: LabelStore) -> None:
    """WAL, synchronous=FULL (2), foreign keys; and the marks by which the file is known again."""
    values = [store.file.rows(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert values == ["wal", 2, 1]
    assert store.file.rows("PRAGMA application_id")[0][0] == int.from_bytes(b"rung")


def test_pairs_come_in_the_order_of_the_file_and_once(store: LabelStore, vote: Callable[..., Vote]) -> None:
    seen = []
    while (pair := asked(store, "anna")) is not None:
        assert asked(store, "anna") == pair  # a reload shows the same pair
        seen.append(pair)
        store.record(vote(pair))
    assert seen == ["p0", "p1", "p2", "p3"]
    assert asked(store, "ben") is None  # one vote a pair was wanted
    assert asked(store, "ben", wanted=2) == "p0"


def test_two_people_never_hold_the_same_pair_unless_both_are_wanted(store: LabelStore) -> None:
    assert [asked(store, name) for name in ("anna", "ben", "cleo", "dora")] == ["p0", "p1", "p2", "p3"]
    assert asked(store, "emil") is None
    assert store.held_by_others("emil", wanted=1) == 4
    assert asked(store, "emil", wanted=2) == "p0"


def test_a_lease_ends_and_a_late_vote_still_counts(store: LabelStore, vote: Callable[..., Vote], clock) -> None:
    assert asked(store, "anna") == "p0"
    late = vote("p0", "anna")
    clock.time += LEASE_SECONDS - 1
    assert asked(store, "ben") == "p1"
    clock.time += 2
    assert asked(store, "cleo") == "p0"
    store.record(vote("p0", "cleo"))
    store.record(late)
    assert Counter(it.pair for it in store.standing()) == {"p0": 2}


def test_the_same_submit_counts_once_and_another_under_its_id_is_refused(store: LabelStore, vote) -> None:
    it = vote("p0")
    for _ in range(3):
        store.record(it)
    store.record(replace(it, at=it.at + 5, seconds=9.0))  # sent again later: the first stays
    assert store.votes() == [it]
    for changed in (replace(it, answer="second"), replace(it, pair="p1"), replace(it, labeller="ben")):
        with pytest.raises(Conflict, match="belongs to another answer"):
            store.record(changed)
    assert store.votes() == [it]


def test_what_cannot_be_taken_is_said(store: LabelStore, vote) -> None:
    store.record(vote("p0"))
    with pytest.raises(Conflict, match="answered this pair already"):
        store.record(vote("p0", answer="second"))
    it = vote("p1")
    with pytest.raises(Conflict, match="other way round"):
        store.record(replace(it, left="second" if it.left == "first" else "first"))
    with pytest.raises(Conflict, match="not among those"):
        store.record(vote("no such pair"))
    assert len(store.votes()) == 1


def test_undo_is_a_row_of_its_own_and_brings_the_pair_back(store: LabelStore, vote) -> None:
    store.record(vote("p0"))
    store.record(vote("p1", answer="tie"))
    assert asked(store, "anna") == "p2"
    assert store.undo("anna", "undo-1") == "p1"
    assert store.undo("anna", "undo-1") == "p1"  # sent twice, done once
    assert [(it.pair, it.undone) for it in store.votes()] == [("p0", False), ("p1", True)]
    assert [it.pair for it in store.standing()] == ["p0"]
    assert asked(store, "anna") == "p1"
    store.record(vote("p1", answer="second"))
    assert asked(store, "anna") == "p2"  # what was before their eyes comes back
    assert [(it.pair, it.answer) for it in store.standing()] == [("p0", "first"), ("p1", "second")]
    assert len(store.votes()) == 3


def test_one_undoes_only_ones_own(store: LabelStore, vote) -> None:
    store.record(vote("p0", "ben"))
    assert store.undo("anna", "undo-1") is None
    store.record(vote("p1", "anna"))
    assert store.undo("anna", "undo-2") == "p1"
    assert store.undo("anna", "undo-3") is None
    assert [it.labeller for it in store.standing()] == ["ben"]


def test_nothing_is_ever_deleted_or_changed(store: LabelStore, vote) -> None:
    store.record(vote("p0"))
    store.undo("anna", "undo-1")
    for statement in (
        "DELETE FROM votes",
        "UPDATE votes SET answer = 'tie'",
        "DELETE FROM undos",
        "UPDATE undos SET at = 0",
    ):
        with pytest.raises(sqlite3.IntegrityError, match=r"kept|change"):
            store.file.run(statement)
    assert len(store.votes()) == 1


def test_left_and_right_are_random_keyed_and_steady(store: LabelStore, tmp_path: Path, pairs_file, rows) -> None:
    path = pairs_file(rows(400), "many.jsonl")
    with LabelStore(tmp_path / "many.labels") as many:
        many.take_in(read_comparisons(path))
        sides = {name: [many.left_of(pair.id, name) for pair in many.pairs()] for name in ("anna", "ben")}
    for order in sides.values():
        assert 150 < order.count("first") < 250  # five standard deviations about a half
    both = sum(one == two for one, two in zip(*sides.values(), strict=True))
    assert 150 < both < 250  # each person's order is their own
    with LabelStore(tmp_path / "many.labels") as again:
        assert [again.left_of(pair.id, "anna") for pair in again.pairs()] == sides["anna"]
    with LabelStore(tmp_path / "other.labels") as other_file:
        assert [other_file.left_of(f"p{i}", "anna") for i in range(400)] != sides["anna"]


def test_a_changed_pair_is_refused_and_new_ones_are_added(store: LabelStore, pairs_file, rows) -> None:
    longer = pairs_file(rows(6))
    assert store.take_in(read_comparisons(longer)) == 2
    assert store.take_in(read_comparisons(longer)) == 0
    changed = rows(6)
    changed[3]["completions"][0] = "changed"
    with pytest.raises(DataError, match=r"pairs.jsonl:4: id 'p3' was labelled with another prompt") as error:
        store.take_in(read_comparisons(pairs_file(changed)))
    assert "new id" in str(error.value)
    assert store.count() == 6


def test_votes_of_a_file_come_in_once(store: LabelStore, pairs_file, rows) -> None:
    some = rows(1)
    said = {"submit": "s-1", "labeller": "ben", "answer": "second", "left": "first", "at": "2026-01-02T03:04:05Z"}
    some[0]["votes"] = [said, {**said, "submit": "s-2", "answer": "tie", "undone": True}]
    for _ in range(2):
        store.take_in(read_comparisons(pairs_file(some)))
    assert [(it.submit, it.answer, it.undone) for it in store.votes()] == [
        ("s-1", "second", False),
        ("s-2", "tie", True),
    ]
    some[0]["votes"] = [{**said, "answer": "first"}]
    with pytest.raises(DataError, match=r"pairs.jsonl:1: votes: The submit id 's-1' belongs to another answer"):
        store.take_in(read_comparisons(pairs_file(some)))


def test_the_latest_of_two_imported_votes_of_one_person_stands(store: LabelStore, pairs_file, rows) -> None:
    some = rows(1)
    said = {"labeller": "ben", "left": "first", "at": "2026-01-02T03:04:05Z"}
    some[0]["votes"] = [{**said, "submit": "s-1", "answer": "first"}, {**said, "submit": "s-2", "answer": "second"}]
    store.take_in(read_comparisons(pairs_file(some)))
    assert [it.answer for it in store.standing()] == ["second"]
    assert len(store.votes()) == 2


def test_many_at_once_lose_nothing_and_share_nothing(tmp_path: Path, pairs_file, rows) -> None:
    """Four people in four threads over two connections to one file, as two processes would have them."""
    path = tmp_path / "shared.labels"
    file = read_comparisons(pairs_file(rows(40), "forty.jsonl"))
    with LabelStore(path) as one, LabelStore(path) as two:
        assert (one.take_in(file), two.take_in(file)) == (40, 0)
        errors: list[BaseException] = []

        def work(store: LabelStore, name: str) -> None:
            try:
                while (found := store.ask(name, wanted=1)) is not None:
                    it = {"submit": f"{name}-{found[0].id}", "pair": found[0].id, "labeller": name, "at": 0.0}
                    store.record(Vote(**it, answer="first", left=found[1]))
            except BaseException as error:  # noqa: BLE001  (told to the main thread)
                errors.append(error)

        threads = [
            threading.Thread(target=work, args=(s, n)) for s, n in ((one, "a"), (one, "b"), (two, "c"), (two, "d"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        assert Counter(it.pair for it in one.standing()) == {f"p{i}": 1 for i in range(40)}


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE theirs (x)")
    base.close()


def _newer(path: Path) -> None:
    with LabelStore(path) as store:
        store.file.run("PRAGMA user_version = 9")


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda path: path.write_bytes(b"no database at all, but long enough" * 40), DataError, "is no labels file"),
        (_foreign, SettingsError, "another program's database"),
        (_newer, SettingsError, "of version 9, this rung knows version 2"),
        (lambda path: path.mkdir(), SettingsError, "cannot be opened"),
    ],
)
def test_what_is_no_labels_file_is_left_alone(tmp_path: Path, make: Any, error: type[Exception], words: str) -> None:
    path = tmp_path / "x.labels"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(error, match=words):
        LabelStore(path)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_damaged_file_is_said_to_be(store: LabelStore, tmp_path: Path) -> None:
    path = tmp_path / "damaged.labels"
    with LabelStore(path):
        pass
    data = bytearray(path.read_bytes())
    data[100:600] = b"\xff" * 500
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        LabelStore(path)


def test_a_file_that_may_only_be_read_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(path: Path, **options: Any) -> sqlite3.Connection:
        return really(f"file:{path}?mode=ro", uri=True, **options)

    really, path = sqlite3.connect, tmp_path / "x.labels"
    sqlite3.connect(path).close()
    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(SettingsError, match=r"--labels: .*x.labels cannot be used: .*readonly"):
        LabelStore(path)


def _filled(path: Path, pairs: Path, votes: int) -> list[Vote]:
    """A labels file with this many votes, closed."""
    with LabelStore(path) as store:
        store.take_in(read_comparisons(pairs))
        for number in range(votes):
            left = store.left_of("p0", f"person {number}")
            given = {"pair": "p0", "labeller": f"person {number}", "answer": "first", "left": left}
            store.record(Vote(submit=f"submit-{number:04d}", at=1e9 + number, seconds=1.5, **given))
        return store.votes()


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    file = tmp_path / "few.jsonl"
    file.write_text('{"id": "p0", "prompt": "a", "completions": ["b", "c"]}\n')
    return file


def test_no_flipped_byte_of_the_file_is_taken_for_what_was_said(tmp_path: Path, pairs: Path) -> None:
    """Whatever byte changes: the file is refused in words, or every vote is as it was."""
    path = tmp_path / "x.labels"
    votes = _filled(path, pairs, votes=40)
    whole = path.read_bytes()
    assert b"submit-0007" in whole and not path.with_name("x.labels-wal").exists()
    where = whole.index(b"person 7first") + len("person 7f")
    refused = 0
    for at in (where, *range(64, len(whole), len(whole) // 150)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            with LabelStore(path) as store:
                assert store.votes() == votes, at
        except (DataError, SettingsError) as error:
            refused += 1
            assert "x.labels" in str(error)
        assert at != where or refused == 1, "the answer that changed was seen"
    assert refused > 20
    path.write_bytes(whole)
    with LabelStore(path) as store:
        assert store.votes() == votes


def test_a_file_of_before_the_checksums_gets_them(tmp_path: Path, pairs: Path) -> None:
    path = tmp_path / "x.labels"
    votes = _filled(path, pairs, votes=3)
    with sqlite3.connect(path) as base:
        base.execute("DROP TABLE seals")
        base.execute("PRAGMA user_version = 1")
    base.close()
    for _ in range(2):
        with LabelStore(path) as store:
            assert store.votes() == votes
            assert store.file.rows("SELECT count(*) FROM seals")[0][0] == 4


def test_a_file_that_is_removed_while_it_is_in_use_loses_nothing(tmp_path: Path, pairs: Path) -> None:
    path = tmp_path / "x.labels"
    votes = _filled(path, pairs, votes=2)
    with LabelStore(path) as store:
        for left in tmp_path.glob("x.labels*"):
            left.unlink()
        late = replace(votes[0], submit="submit-late", labeller="ben", left=store.left_of("p0", "ben"))
        with pytest.raises(DataError, match="was removed while it was in use"):
            store.record(late)
        store.record(late)  # as the page sends it again
        path.unlink()
    with LabelStore(path) as store:
        assert store.votes() == [*votes, late]


def test_a_file_that_is_replaced_while_it_is_in_use_takes_no_votes(tmp_path: Path, pairs: Path) -> None:
    path = tmp_path / "x.labels"
    votes = _filled(path, pairs, votes=1)
    with LabelStore(path) as store:
        path.unlink()
        path.write_text("mine")
        with pytest.raises(DataError, match="was replaced by another file"):
            store.record(replace(votes[0], submit="submit-late", labeller="ben"))
    assert path.read_text() == "mine"
