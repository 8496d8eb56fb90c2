"""What dapo_ladder.py computes, and that its rows are the paper's: each adds one part, and the last is DAPO."""

from __future__ import annotations

import importlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rung.methods import METHODS
from rung.trainers.reading import read_run

ladder: Any = importlib.import_module("dapo_ladder")
SLOTS = ("objective", "aggregation", "keep_group", "shape_reward", "drop_rows")


def method_of(row: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(ladder.running_sums, "start", lambda work: Path("tiny"))
    command = ladder.run_of(None, row, 0).command
    sets = [text for before, text in pairwise(command) if before == "--set"]
    flags = {"model": "tiny", "method": "dapo", "task": "running-sum"}
    return read_run(recipe="tiny", flags=flags, sets=sets).required().resolved_method()


def test_each_row_changes_what_its_name_says(monkeypatch: pytest.MonkeyPatch) -> None:
    methods = [method_of(row, monkeypatch) for row in range(len(ladder.ROWS))]
    changed = [
        {slot for slot in SLOTS if getattr(one, slot) != getattr(other, slot)} for one, other in pairwise(methods)
    ]
    assert changed == [{"drop_rows"}, {"objective"}, {"shape_reward", "drop_rows"}, {"aggregation"}, {"keep_group"}]
    first, dapo, grpo = methods[0], METHODS["dapo"], METHODS["grpo"]
    assert first.aggregation == grpo.aggregation and first.objective.high == first.objective.low == 0.2
    assert (first.keep_group, first.shape_reward, first.drop_rows, first.reference_kl) == (None,) * 4
    last = methods[-1]
    assert all(getattr(last, slot) == getattr(dapo, slot) for slot in SLOTS if slot != "shape_reward")
    assert (last.shape_reward.limit, last.shape_reward.cache) == (ladder.LENGTH, ladder.CACHE)


def runs(*finals: float, **facts: float) -> dict[str, dict[str, Any]]:
    """One run a seed, twice as many samples a step with dynamic sampling."""
    given = {"entropy": 0.2, "truncated": 0.3, "spread": 0.7, "mixed": 0.5, "clip_low": 0.01, "clip_high": 0.01}
    per_step = facts.pop("per_step", 100)
    return {
        str(seed): {
            **given,
            **facts,
            "final": final,
            "seconds": 1.0,
            "curve": [[0, 0, 0.1], [10, 10 * per_step, final]],
        }
        for seed, final in enumerate(finals)
    }


def rows(**last: float) -> dict[str, dict[str, dict[str, Any]]]:
    found = {name: runs(0.2 + row / 50, 0.21 + row / 50) for row, name in enumerate(ladder.NAMES)}
    found[ladder.NAMES[2]] = runs(0.24, 0.25, entropy=0.4)
    found[ladder.NAMES[-1]] = runs(0.3, 0.31, per_step=200, mixed=1.0, **last)
    return found


def test_lines_by_hand() -> None:
    held = ladder.lines_held(rows())
    assert {name: line["passed"] for name, line in held.items()} == dict.fromkeys(held, True)
    gain, error = held["last row above the first"]["measured"]
    assert gain == pytest.approx(0.1) and error == pytest.approx((2 * (0.005**2)) ** 0.5)
    assert held["order of the rows"]["measured"] == [pytest.approx(1.0)]
    assert held["entropy kept by the higher clip"]["measured"] == [pytest.approx(2.0)]


@pytest.mark.parametrize(
    ("row", "changed", "line"),
    [
        (5, runs(0.1, 0.5), "last row above the first"),
        (1, runs(0.9, 0.9), "order of the rows"),
        (2, runs(0.24, 0.25, entropy=0.29), "entropy kept by the higher clip"),
        (0, runs(0.2, 0.21, clip_low=0.0, clip_high=0.004), "condition: tokens clipped"),
        (0, runs(0.2, 0.21, truncated=0.5), "condition: truncated at first"),
        (0, runs(0.2, 0.21, spread=0.3), "condition: spread of lengths"),
        (4, runs(0.28, 0.29, mixed=0.7), "condition: mixed groups, at most"),
    ],
)
def test_each_line_can_fail(row: int, changed: dict[str, Any], line: str) -> None:
    found = rows()
    found[ladder.NAMES[row]] = changed
    assert not ladder.lines_held(found)[line]["passed"]


def measured(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    by_row = {row: found[name] for row, name in enumerate(ladder.NAMES)}
    monkeypatch.setattr(ladder, "read_all", lambda folders, of_run: by_row)
    return dict(ladder.measure(None, {}))


def test_what_it_prints_follows_from_its_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = measured(rows(), monkeypatch)
    assert result["samples"] == 1000
    assert result["at_samples"][ladder.NAMES[-1]] == pytest.approx((0.1 + 0.305) / 2), (
        "half way: it draws twice as many"
    )
    text = "\n".join(ladder.lines(result))
    assert "| + dynamic sampling (DAPO) | 30.5 | +2.0 | 20.2 |" in text and "(lower)" not in text
    result["rows"][ladder.NAMES[1]] = runs(0.1, 0.1)
    assert "| + overlong filtering | 10.0 | -10.5 (lower) |" in "\n".join(ladder.lines(result))
    ladder.picture(result).savefig(tmp_path / "ladder.png")
    assert (tmp_path / "ladder.png").stat().st_size > 5000
