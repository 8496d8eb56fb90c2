"""A run's samples as the page gets them: steps, groups, tokens, solve rates, old and damaged parts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_runs import ADVANTAGES, CLIPPED, ENTROPY, LOG_PROBS, PIECES, episode, learnt, make_run, write_step

from rung.batch import Episode, Judgement
from rung.errors import DataError, SettingsError
from rung.lab.run_page import opened_run as solved
from rung.lab.run_page.opened_run import OpenedRun
from rung.lab.run_page.shown import TOKEN_COLUMNS, shown_step, shown_tokens
from rung.runs.record import sample_rows, samples
from rung.runs.record.samples import StoredSamples


def rows_of(folder: Path, episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    """As a part of these episodes is read."""
    path = folder / samples.part_name(1)
    path.write_bytes(samples.encode_part(sample_rows.samples_table(1, episodes, learnt=learnt(episodes))))
    return samples.read_part(path)


def test_a_step_has_its_groups_and_their_samples(tmp_path: Path) -> None:
    make_run(tmp_path / "run", 2)
    run = OpenedRun(tmp_path / "run")
    assert run.state() | {"settings": "", "method": ""} == {
        **{"finished": False, "steps": [1, 2], "settings": "", "method": "", "problem": ""}
    }
    step = run.step(2)
    assert [(group["item"], group["prompt"]) for group in step["groups"]] == [("add-0", "0+3="), ("add-2", "2+3=")]
    assert [(sample["row"], sample["group"]) for sample in step["samples"]] == [(i, 2 * (i // 3)) for i in range(6)]
    first = step["samples"][0]
    assert (first["reward"], first["parts"]) == (1.0, [["correct", 1.0], ["format", 0.0]])
    assert (first["advantage"], first["tokens"], first["ok"], first["truncated"]) == (0.0, 5, True, False)


def test_tokens_have_every_number(tmp_path: Path) -> None:
    make_run(tmp_path / "run", 1)
    tokens = OpenedRun(tmp_path / "run").tokens(1, 1)
    assert (tokens["pieces"], tokens["ids"], tokens["own"]) == (list(PIECES), list(range(10, 15)), [True] * 5)
    assert tokens["advantage"] == list(ADVANTAGES) and tokens["clipped"] == list(CLIPPED)
    assert tokens["entropy"] == list(ENTROPY)
    assert tokens["log_prob"] == pytest.approx(LOG_PROBS)
    assert tokens["gap"] == pytest.approx([0.001] * 5, abs=1e-6)
    assert np.exp(tokens["reference"]) == pytest.approx([2.0] * 5, rel=1e-5)


def test_a_run_of_before_and_a_merged_file_open_too(tmp_path: Path) -> None:
    files = make_run(tmp_path / "run", 2)
    part = files.samples_folder / samples.part_name(1)
    table = samples.pq.read_table(part)
    samples.pq.write_table(table.select(sample_rows.EARLIER.names).cast(sample_rows.EARLIER), part)
    run = OpenedRun(tmp_path / "run")
    tokens = run.tokens(1, 0)
    assert tokens["pieces"] is None and tokens["entropy"] is None and tokens["clipped"] is None
    assert tokens["advantage"] == list(ADVANTAGES) and tokens["reference"] is None
    before = run.step(1), run.step(2), tokens, run.tokens(2, 3)
    files.merge_samples()
    shutil.rmtree(files.samples_folder)
    merged = OpenedRun(tmp_path / "run")
    assert merged.state()["steps"] == [1, 2]
    assert (merged.step(1), merged.step(2), merged.tokens(1, 0), merged.tokens(2, 3)) == before
    assert [row["step"] for row in merged.grown("solved", 0, 0)["rows"]] == [1, 2]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    make_run(tmp_path / "run", 1)
    run = OpenedRun(tmp_path / "run")
    with pytest.raises(LookupError, match="no samples of step 7"):
        run.step(7)
    with pytest.raises(LookupError, match="step 1 has 6 samples, not one with the number 6"):
        run.tokens(1, 6)
    (tmp_path / "run" / "samples" / samples.part_name(1)).write_bytes(b"PAR1 no parquet PAR1")
    with pytest.raises(DataError, match="not a readable part"):
        run.step(1)


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no folder"):
        OpenedRun(tmp_path / "none")
    with pytest.raises(SettingsError, match=r"holds no run: neither settings\.yaml nor metrics\.jsonl is in it$"):
        OpenedRun(tmp_path)
    make_run(tmp_path / "run", 1)
    with pytest.raises(SettingsError, match=r"is in it; .*run holds one$"):
        OpenedRun(tmp_path)


def test_solve_rates_grow_and_are_cut_back(tmp_path: Path) -> None:
    files = make_run(tmp_path / "run", 3)
    run = OpenedRun(tmp_path / "run")
    answer = run.grown("solved", 0, 0)
    third = pytest.approx(1 / 3)
    assert answer["rows"][0] == {
        "step": 1,
        "items": [["add-0", third, 3], ["add-1", third, 3]],
        "prompts": {"add-0": "0+3=", "add-1": "1+3="},
    }
    failed = Judgement(total=None, parts={"correct": None}, accuracy=None, status="correct: timeout")
    write_step(files, 4, [episode(0, 0), episode(0, 1, judgement=failed), episode(9, 0, judgement=failed)])
    assert run.grown("solved", 0, 3)["rows"] == [
        {"step": 4, "items": [["add-0", 1.0, 1], ["add-9", None, 0]], "prompts": {"add-9": "9+3="}}
    ]
    files.cut_back(2)
    answer = run.grown("solved", 0, 4)
    assert (answer["epoch"], [row["step"] for row in answer["rows"]]) == (1, [1, 2])
    write_step(files, 2, [episode(5, 0)])  # a part written anew
    answer = run.grown("solved", 1, 2)
    assert answer["epoch"] == 2 and answer["rows"][1]["items"] == [["add-5", 1.0, 1]]


def test_a_damaged_part_costs_its_step_alone_and_many_parts_come_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make_run(tmp_path / "run", 5)
    (files.samples_folder / samples.part_name(2)).write_bytes(b"no parquet")
    monkeypatch.setattr(solved, "PARTS_AT_ONCE", 2)
    run, got, more = OpenedRun(tmp_path / "run"), [], True
    while more:
        answer = run.grown("solved", 0, len(got))
        got += [row["step"] for row in answer["rows"]]
        more = answer["more"]
    assert got == [1, 3, 4, 5] and "step_000002.parquet: not a readable part" in answer["problem"]


def test_numbers_that_json_does_not_know_and_columns_of_other_tokens_are_left_out(tmp_path: Path) -> None:
    odd = episode(0, 0, judgement=Judgement(total=float("nan"), parts={"p": float("inf")}, accuracy=float("nan")))
    (row,) = rows_of(tmp_path, [odd])
    shown = shown_step([row | {"advantages": [float("nan")] * 5}])["samples"][0]
    assert shown["reward"] is None and shown["parts"] == [["p", None]] and shown["advantage"] is None
    tokens = shown_tokens({name: row[name] for name in TOKEN_COLUMNS} | {"pieces": ["a"], "entropy": [0.5] * 6})
    assert tokens["pieces"] is None and tokens["entropy"] is None and tokens["ids"] is not None


def test_long_texts_and_many_rows_are_cut_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rung.lab.run_page import shown as step_shown

    monkeypatch.setattr(step_shown, "MOST_ROWS", 2)
    monkeypatch.setattr(step_shown, "MOST_TOKENS", 3)
    long = [episode(0, i, text="x" * 30_000) for i in range(3)]
    rows = rows_of(tmp_path, long)
    step = shown_step(rows)
    assert (len(step["samples"]), step["left_out"]) == (2, 1)
    assert step["samples"][0]["completion"].endswith("x… (10,000 more characters)")
    tokens = shown_tokens(rows[0])
    assert (len(tokens["own"]), len(tokens["pieces"]), tokens["left_out"]) == (3, 3, 2)


def test_links_are_no_parts(tmp_path: Path) -> None:
    files = make_run(tmp_path / "run", 1)
    (files.samples_folder / samples.part_name(2)).symlink_to(files.samples_folder / samples.part_name(1))
    assert StoredSamples(tmp_path / "run").steps() == [1]
