"""report.html: the viewer in one file. What is inside it, how large it may be, and what it says of a damaged run."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import episode, make_run, write_step
from pages_read import LOADING, ReadPage

from rung.errors import SettingsError
from rung.lab.run_page import page as page_module
from rung.lab.run_page.opened_run import OpenedRun
from rung.lab.run_page.page import MOST_STEPS, spread, write_report
from rung.lab.run_page.shown import MOST_CHARACTERS
from rung.runs.record.samples import part_name
from rung.runs.record.visible import shown_text


def report(folder: Path) -> ReadPage:
    return ReadPage(write_report(folder).read_text(encoding="utf-8"))


def data_of(folder: Path) -> dict[str, Any]:
    return report(folder).data("run-data")


def rows_of(table: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(table["names"], row, strict=True)) for row in table["rows"]]


def test_hostile_text_is_inert(made_up_run: Callable[..., Path], hostile: list[str]) -> None:
    folder = made_up_run(20, name="<img src=x onerror=alert(1)>")
    raw = write_report(folder).read_bytes()
    assert not re.search(rb"[\x00-\x08\x0b-\x1f]", raw) and b"\xe2\x80\xae" not in raw
    page = ReadPage(raw.decode("utf-8"))
    assert not {tag for tag, _ in page.tags} & LOADING
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts[-1] == {} and {a["type"] for a in scripts[:-1]} == {"application/json"} and len(page.scripts) == 1
    assert all("<" not in text and text.isascii() for text in page.islands.values())
    shown = {sample["completion"] for sample in page.data("step-20")["shown"]["samples"]}
    cut = [text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] for text in hostile]
    told = [shown_text(text) + "… (80,000 more characters)" * (len(text) == MOST_CHARACTERS) for text in cut]
    assert shown == {*told, "late"}


def test_the_page_asks_the_network_for_nothing(made_up_run: Callable[..., Path]) -> None:
    page = report(made_up_run())
    assert page.policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in page.policy
    assert not [a for _, a in page.tags if {"src", "srcset", "data", "action", "href"} & set(a)]
    assert page.data("run-data")["overview"]["method"]["link"] == "https://arxiv.org/abs/2402.03300"


def test_it_holds_what_the_server_would_answer(tmp_path: Path) -> None:
    make_run(tmp_path / "run", 3)
    run, page = OpenedRun(tmp_path / "run"), report(tmp_path / "run")
    data = page.data("run-data")
    assert (data["name"], data["state"], data["left_out"]) == ("run", run.state(), "")
    assert data["overview"] == json.loads(json.dumps(run.overview()))
    for what in ("metrics", "timings"):
        filled = [{name: row.get(name) for name in data["grown"][what]["names"]} for row in run.rows(what)]
        assert rows_of(data["grown"][what]) == filled and data["grown"][what]["problem"] == ""
    assert data["grown"]["solved"]["rows"] == run.grown("solved", 0, 0)["rows"]
    for step in (1, 2, 3):
        island = page.data(f"step-{step}")
        assert {"step": step, **island["shown"]} == run.step(step)
        assert island["tokens"] == [run.tokens(step, row) for row in range(6)]
    told = {meaning["name"]: meaning for meaning in data["meanings"]["meanings"]}
    assert told["kl/start"]["high"] == 1.0 and {"reward/mean", "seconds/learn"} <= set(told)


def test_long_runs_are_thinned_evenly_and_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "LARGEST_ROWS", 4000)
    files = make_run(tmp_path / "run", 0)
    for step in range(1, 101):
        write_step(files, step, [episode(0, 0)])
    page = report(tmp_path / "run")
    data = page.data("run-data")
    steps = data["state"]["steps"]
    assert steps == [int(name.removeprefix("step-")) for name in page.islands if name != "run-data"]
    assert (steps[0], steps[-1], len(steps)) == (1, 100, MOST_STEPS)
    assert max(later - step for step, later in itertools.pairwise(steps)) == 5
    kept = rows_of(data["grown"]["metrics"])
    assert {row["step"] for row in kept} >= {1, 100, *range(2, 101, 2)}, "evaluations are all kept"
    assert 50 < len(kept) < 90
    assert data["left_out"].startswith(f"This page holds 24 of 100 steps with samples and {len(kept)} of 100 rows of")
    assert "rung view RUN shows them" in data["left_out"]


def test_large_steps_are_cut_and_few_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = make_run(tmp_path / "run", 0)
    for step in range(1, 11):
        write_step(files, step, [episode(0, i, text="long " * 100) for i in range(20)])
    whole = len(report(tmp_path / "run").islands["step-1"])
    monkeypatch.setattr(page_module, "LARGEST_STEP", whole // 4)
    monkeypatch.setattr(page_module, "LARGEST_SAMPLES", whole)
    page = report(tmp_path / "run")
    steps = page.data("run-data")["state"]["steps"]
    assert steps[0] == 1 and steps[-1] == 10 and 2 < len(steps) < 10
    assert sum(len(text) for name, text in page.islands.items() if name != "run-data") <= whole
    island = page.data("step-1")
    shown, tokens = island["shown"], island["tokens"]
    assert len(shown["samples"]) == len(tokens) and 1 <= len(tokens) < 20
    assert shown["left_out"] == 20 - len(tokens)
    monkeypatch.setattr(page_module, "LARGEST_STEP", 1)
    assert len(report(tmp_path / "run").data("step-1")["tokens"]) == 1, "never an empty step"


def test_steps_are_spread_from_the_first_to_the_last() -> None:
    assert spread([1, 2, 3], 5) == [1, 2, 3] and spread(range(1, 10), 3) == [1, 5, 9]


def test_an_unfinished_run_without_evaluation(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "reward/mean": 0.5}\n{"step": 2, "reward')
    data = data_of(tmp_path)
    assert data["overview"]["state"] == "Unfinished: 1 steps so far." and not data["state"]["finished"]
    assert data["state"]["steps"] == [] and len(rows_of(data["grown"]["metrics"])) == 1
    assert "the last line was only half written (19 bytes) and is left out" in data["grown"]["metrics"]["problem"]


def test_a_run_that_has_not_begun(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("steps: 3\n")
    data = data_of(tmp_path)
    assert data["state"]["settings"] == "steps: 3\n" and rows_of(data["grown"]["metrics"]) == []


def test_damaged_files_leave_a_page_that_says_so(made_up_run: Callable[..., Path]) -> None:
    folder = made_up_run(12)
    (folder / "method.json").write_text("[" * 100_000)
    (folder / "timings.jsonl").write_text("nonsense\n")
    (folder / "samples" / part_name(1)).write_bytes(b"PAR1 nonsense")
    page = report(folder)
    data = page.data("run-data")
    assert "timings.jsonl, row 1: not a line" in data["grown"]["timings"]["problem"]
    assert data["grown"]["solved"]["problem"].count("step_000001.parquet: not a readable") == 1
    assert any("method.json: not JSON" in words for words in data["overview"]["problems"])
    assert data["state"]["steps"] == list(range(2, 13)) and "step-1" not in page.islands


def test_a_film_is_inside_the_page_and_a_large_one_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.yaml").write_text("steps: 1\n")
    data = data_of(tmp_path)
    assert data["overview"]["film"] is None and data["film"] == ""
    film = tmp_path / "episode.gif"
    film.write_bytes(b"GIF89a" + bytes(range(256)))
    monkeypatch.setattr(page_module, "LARGEST_FILM", film.stat().st_size)
    shown = report(tmp_path)
    kind, _, held = shown.data("run-data")["film"].partition(",")
    assert kind == "data:image/gif;base64" and base64.b64decode(held) == film.read_bytes()
    assert "img-src data:;" in shown.policy
    film.write_bytes(film.read_bytes() + b".")
    data = data_of(tmp_path)
    assert data["film"] == "" and data["overview"]["film"] == {"bytes": film.stat().st_size}
    film.write_bytes(b"<svg onload=alert(1)>")
    data = data_of(tmp_path)
    assert data["film"] == "" and data["overview"]["problems"] == ["episode.gif: is no GIF, so it is not shown"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds no run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_writing_twice_gives_the_same_page(made_up_run: Callable[..., Path]) -> None:
    folder = made_up_run(1)
    once = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == once


def test_a_metric_with_a_name_of_the_language_is_a_metric(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "reward/__proto__": 1.0}) + "\n")
    assert rows_of(data_of(tmp_path)["grown"]["metrics"]) == [{"step": 1, "reward/__proto__": 1.0}]
