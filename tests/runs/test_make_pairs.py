"""Pairs from a model's own samples: right beats wrong, nothing else is paired, and the file is whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rung.errors import DataError, SettingsError
from rung.models.language.tiny import tiny_model
from rung.runs.recipes.pairs import make_pairs
from rung.settings import PairsSettings
from rung.tasks.load import load_pairs, load_task

SHORTEST = """\
def score(completions):
    return [-len(completion) for completion in completions]
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained model: its answers are noise, of which a user's reward can prefer the shorter."""
    folder = tmp_path_factory.mktemp("model")
    tiny_model(0).save(folder)
    return str(folder)


def settings_of(model: str, folder: Path, **more) -> PairsSettings:
    (folder / "reward.py").write_text(SHORTEST)
    given = {
        "model": model,
        "task": {"name": "arithmetic", "levels": [1], "size": 40, "held_out": 6},
        "rewards": [{"function": f"{folder}/reward.py:score"}],
        "prompts": 6,
        "max_new_tokens": 300,
        "learner": {"threads": 1},
        **more,
    }
    return PairsSettings.model_validate(given)


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_chosen_answer_has_the_higher_reward(model: str, tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    made = make_pairs(settings_of(model, tmp_path, pairs_per_prompt=2), out, say=lambda line: None)
    rows = rows_of(out)
    assert made.rows == len(rows) >= 4 and made.prompts == 6
    for row in rows:
        assert row["chosen_reward"] == -len(row["chosen"]) > row["rejected_reward"] == -len(row["rejected"])
    prompts = {item.id: item.prompt for item in load_task("arithmetic", levels=[1], size=40, held_out=6).train}
    assert all(prompts[row["id"].rpartition("/")[0]] == row["prompt"] for row in rows)
    task = load_pairs(str(out), held_out=0)
    assert len(task.train) == len(rows) and not task.excluded


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(model: str, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl")]
    for out, seed in zip(files, (0, 0, 1), strict=True):
        make_pairs(settings_of(model, tmp_path, seed=seed, prompts=3), out, say=lambda line: None)
    first, second, third = (out.read_bytes() for out in files)
    assert first == second != third


def test_answers_for_people_are_different_and_not_judged(model: str, tmp_path: Path) -> None:
    out = tmp_path / "open.parquet"
    made = make_pairs(settings_of(model, tmp_path, rewards=[]), out, unlabelled=True, say=lambda line: None)
    with pytest.raises(DataError, match=f"{made.rows} unlabelled; label them with"):
        load_pairs(str(out), held_out=0)
    import pyarrow.parquet

    for row in pyarrow.parquet.read_table(out).to_pylist():
        assert len(set(row["completions"])) == len(row["completions"]) >= 2


def test_prompts_whose_answers_are_alike_are_counted_and_nothing_is_written(model: str, tmp_path: Path) -> None:
    """An untrained model is never right, so the task's own reward tells no two answers apart."""
    out = tmp_path / "none.jsonl"
    with pytest.raises(DataError, match="prompts without a row: 6 with every answer wrong"):
        make_pairs(settings_of(model, tmp_path, rewards=[]), out, say=lambda line: None)
    assert not out.exists()


def test_cut_answers_are_left_out_and_counted(model: str, tmp_path: Path) -> None:
    out = tmp_path / "cut.jsonl"
    with pytest.raises(DataError, match="20 cut at max_new_tokens, 4 empty"):
        make_pairs(settings_of(model, tmp_path, max_new_tokens=1, temperature=0.1), out, say=lambda line: None)
    assert not out.exists()


def test_wrong_files_are_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    there = tmp_path / "there.jsonl"
    there.write_text("x")
    for out, words in ((there, "is there already"), (tmp_path / "pairs.csv", "ends in .jsonl or .parquet")):
        with pytest.raises(SettingsError, match=words):
            make_pairs(settings_of("no-such-model", tmp_path), out)
    assert there.read_text() == "x"
