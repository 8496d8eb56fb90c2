"""A run's folder is read whatever state it is in; what is damaged is said, and only nothing at all is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import SETTINGS, metrics

from rung.batch import Episode, Judgement
from rung.errors import DataError
from rung.lab.diagnosis.rules import diagnose
from rung.lab.diagnosis.stored import read_stored
from rung.runs.record.files import RunFiles
from rung.settings import settings_from, to_yaml


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole run of twelve steps with three evaluations, as training writes it."""
    path = tmp_path / "run"
    files = RunFiles(path)
    for step in range(13):
        files.metrics.append({"step": step, **(metrics(step) if step else {})})
        if step:
            files.write_samples(step, [episode(number) for number in range(8)], prompts=[f"{n}+1=" for n in range(8)])
    (path / "settings.yaml").write_text(to_yaml(settings_from(SETTINGS)))
    (path / "held_out").mkdir()
    for step, right in ((0, 2), (10, 20), (12, 30)):
        scores: dict[str, Any] = {"step": step, "items": [str(i) for i in range(40)]}
        scores["accuracy"] = [[1.0 if i < right else 0.0] if i != 39 else [None] for i in range(40)]
        (path / "held_out" / f"step_{step:06d}.json").write_text(json.dumps(scores))
    (path / "final").mkdir()
    return path


def episode(number: int) -> Episode:
    return Episode(
        item=f"add-{number}",
        group=number // 4,
        sample=number % 4,
        context=np.arange(4),
        actions=np.arange(3),
        action_mask=np.ones(3, dtype=bool),
        log_probs=np.full(3, -0.5, dtype=np.float32),
        terminated=True,
        truncated=False,
        text=f"{number}",
        judgement=Judgement(total=1.0, parts={"correct": number % 2}, accuracy=number % 2),
    )


def test_a_whole_run_is_read_whole(folder: Path) -> None:
    run = read_stored(folder)
    assert len(run.rows) == 13 and len(run.steps) == 12 and run.finished and not run.running and run.problems == ()
    assert [one.step for one in run.evaluations] == [0, 10, 12] and run.scores[-1].value == pytest.approx(30 / 39)
    assert {row["step"] for row in run.first_samples} == {1, 2, 3} and len(run.last_samples) == 24
    assert run.setting("method.optimizer.learning_rate") == 1e-6 and run.setting("max_new_tokens") == 128
    assert run.setting("method.no.such") is None and run.learned
    assert diagnose(folder).findings == ()


def test_reading_changes_nothing(folder: Path) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(folder.rglob("*"))}

    before = state()
    diagnose(folder)
    assert state() == before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("metrics.jsonl", '{"step": 1}\nnot json\n', "metrics.jsonl:2"),
        ("metrics.jsonl", '{"step": 0}\n{"step": 1}\n{"st', "half written"),
        ("settings.yaml", "steps: [", "settings.yaml"),
        ("settings.yaml", "!!python/object/apply:os.system ['true']", "settings.yaml"),
        (
            "held_out/step_000012.json",
            '{"step": 12, "items": ["a"], "accuracy": "high"}',
            "step_000012.json: no scores",
        ),
        ("held_out/step_000012.json", '{"step": 12, "items": ["a", "b"], "accuracy": [[1]]}', "no scores"),
        ("held_out/step_000012.json", "[1, 2]", "expected an object"),
        ("samples/step_000012.parquet", "PAR1", "step_000012.parquet"),
    ],
)
def test_what_is_damaged_is_said_and_the_rest_is_read(folder: Path, name: str, content: str, words: str) -> None:
    (folder / name).write_text(content)
    found = {one.name: one for one in diagnose(folder).findings}
    assert words in found["damaged"].evidence, found["damaged"].evidence


@pytest.mark.parametrize("gone", ["settings.yaml", "metrics.jsonl", "held_out", "samples", "final"])
def test_any_part_may_be_missing(folder: Path, gone: str) -> None:
    (folder / gone).rename(folder.parent / "gone")
    assert diagnose(folder).lines()


def test_rows_that_were_never_written_are_told(folder: Path) -> None:
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:5] + lines[7:]))
    found = {one.name: one for one in diagnose(folder).findings}
    assert "no row for 2 steps, the first is 5" in found["damaged"].evidence


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no such folder"):
        with pytest.raises(DataError, match=r"no run here, expected a folder with metrics.jsonl or settings.yaml"):
            read_stored(path)
