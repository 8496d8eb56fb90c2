"""Runs whose answers an engine draws: killed and resumed they are the same, a step ahead as well."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from engines import engine_settings, interpreter
from run_server import KILLED, Runs, assert_same


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("engine")
    return engine_settings(folder, interpreter(folder))


def rows_of(folder: Path, name: str = "metrics") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def ahead(settings: dict[str, Any], steps: int = 1) -> dict[str, Any]:
    method = {**settings["method"], "correction": "TruncatedImportance"}
    return {**settings, "method": method, "sampler": {**settings["sampler"], "ahead": steps}}


def test_with_weights_that_change_in_flight_no_sample_is_lost_or_repeated(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """Two steps ahead, killed and gone on with: each prompt of each step once, four samples each, none too old."""
    asked = ahead(settings, 2) | {"steps": 5, "max_new_tokens": 40}
    runs = Runs(asked)
    code, said = runs.ask("train", tmp_path / "run", fault="rollout.done:4:kill")
    assert code == KILLED, f"the point was not reached: {code} {said}"
    runs.resumed(tmp_path / "run")
    rows = rows_of(tmp_path / "run")[1:]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    for step, row in enumerate(rows):
        assert row["delivery/staleness"] <= row["delivery/staleness_max"] <= min(step, 2)
        assert ("delivery/drift" in row and row["delivery/drift"] > 1e-3) == (row["delivery/staleness_max"] > 0)
        gap = row.get("sampler_gap/mean")
        assert gap is None or gap < 1e-5, "tokens of the policy itself, computed twice"
    assert max(row["delivery/staleness_max"] for row in rows) == 2
    samples = pq.read_table(tmp_path / "run" / "samples.parquet").to_pylist()
    drawn = Counter((one["step"], one["item"], one["sample"]) for one in samples if one["step"] > 0)
    assert set(drawn.values()) == {1} and len(drawn) == 5 * 3 * 4
    assert len({item for _, item, _ in drawn}) == 5 * 3, "the data has more prompts than the run"


@pytest.mark.parametrize("steps_ahead", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_killed_and_resumed_it_is_the_same(settings: dict[str, Any], tmp_path: Path, steps_ahead: int) -> None:
    runs = Runs(ahead(settings) if steps_ahead else settings)
    code, said = runs.ask("train", tmp_path / "whole")
    assert code == 0, said
    rows = rows_of(tmp_path / "whole")
    assert [row.get("delivery/staleness") for row in rows] == [None, 0.0, *[float(steps_ahead)] * 2]
    assert all(0 < row["delivery/gap"] < 1e-5 for row in rows[1:])
    assert all(row["grad/norm"] > 0 for row in rows[1:])
    assert rows_of(tmp_path / "whole", "timings")[1]["delivery/seconds"] > 0
    gaps = [(row.get("sampler_gap/mean"), row.get("delivery/drift")) for row in rows[1:]]
    own, stale = (gaps[:1], gaps[1:]) if steps_ahead else (gaps, [])
    assert all(gap < 1e-5 and drift is None for gap, drift in own), "one policy, computed twice"
    assert all(gap is None and drift > 1e-3 for gap, drift in stale), "two policies"
    code, said = runs.ask("train", tmp_path / "run", fault="rollout.done:3:kill")
    assert code == KILLED, f"the point was not reached: {code} {said}"
    runs.resumed(tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "whole")
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    with pytest.raises(AssertionError):
        assert_same(tmp_path / "run", tmp_path / "whole")
