"""Rounds of drawn pairs in one file: each is drawn once, whoever asks, and a killed writer spoils nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from rung.errors import DataError
from rung.trainers.preferences.drawing import PairsMade
from rung.trainers.preferences.drawn_rounds import DrawnRounds, Round, rounds_name


class Counted:
    """Draws rounds that say their number, and keeps which were drawn."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.drawn: list[int] = []
        self.seconds = seconds

    def __call__(self, number: int) -> Round:
        self.drawn.append(number)
        time.sleep(self.seconds)
        made = PairsMade(prompts=2, rows=1, tokens=10 + number, no_pair={"with every answer wrong": 1})
        return Round(rows=[{"id": f"r{number}", "chosen": "é"}], made=made, seconds={"sample": 0.25})


def test_a_round_is_drawn_once_and_comes_back_as_it_was(tmp_path: Path) -> None:
    draw = Counted()
    store = DrawnRounds(tmp_path / "new" / "seed-0.jsonl", draw)
    first = [store.at(number) for number in (0, 1, 2)]
    again = DrawnRounds(tmp_path / "new" / "seed-0.jsonl", draw)
    assert [again.at(number) for number in (0, 1, 2)] == first
    assert draw.drawn == [0, 1, 2]
    assert first[2] == Counted()(2), "what was written is what was drawn"
    assert again.at(3).made.tokens == 13 and store.at(3) == again.at(3), "the other one reads it"
    assert draw.drawn == [0, 1, 2, 3]


def test_two_at_once_draw_each_round_once(tmp_path: Path) -> None:
    draws = Counted(0.005), Counted(0.005)
    found: list[list[Round]] = [[], []]

    def run(which: int) -> None:
        store = DrawnRounds(tmp_path / "both.jsonl", draws[which])
        found[which] = [store.at(number) for number in range(12)]

    threads = [threading.Thread(target=run, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert sorted(draws[0].drawn + draws[1].drawn) == list(range(12))


def test_half_a_line_is_cut_off_and_drawn_again(tmp_path: Path) -> None:
    path = tmp_path / "killed.jsonl"
    whole = DrawnRounds(path, Counted())
    for number in (0, 1):
        whole.at(number)
    kept = path.read_bytes()
    path.write_bytes(kept[:-7])
    draw = Counted()
    store = DrawnRounds(path, draw)
    assert store.at(1) == whole.at(1)
    assert draw.drawn == [1] and path.read_bytes() == kept


@pytest.mark.parametrize(
    "line", [b"[1]\n", b"{\n", b'{"made": {"prompts": 1, "no_such": 2}, "seconds": {}, "rows": []}\n']
)
def test_a_line_that_is_no_round_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "damaged.jsonl"
    DrawnRounds(path, Counted()).at(0)
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(DataError, match=r"damaged\.jsonl:2: is no round of drawn pairs"):
        DrawnRounds(path, Counted()).at(1)


def test_the_name_is_of_all_that_decides() -> None:
    what = {"seed": 3, "model": "abc", "task": {"name": "arithmetic", "levels": [1]}}
    assert rounds_name(what).startswith("seed-3-")
    assert rounds_name({**what, "model": "abd"}) != rounds_name(what) != rounds_name({**what, "task": {"name": "x"}})
