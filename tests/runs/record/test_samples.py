from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rung.batch import Batch, Episode, Judgement
from rung.errors import DataError
from rung.runs.record import sample_rows, samples
from rung.runs.record.visible import encodable
from rung.trainers.assemble import assemble

Make = Callable[..., Episode]


def write(folder: Path, step: int, *args: Any, **kwargs: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / samples.part_name(step)
    path.write_bytes(samples.encode_part(sample_rows.samples_table(step, *args, **kwargs)))
    return path


def test_a_row_holds_the_whole_episode(tmp_path: Path, make_episode: Make) -> None:
    mask = np.array([True, False, True])
    episode = make_episode("5!", group=3, sample=2, action_mask=mask, policy_version=9, truncated=True, answer="5")
    advantages = [np.array([0.5, np.nan, -0.25, 99.0], dtype=np.float32)]  # a hole and padding
    path = write(tmp_path, 12, [episode], prompts=["2+3="], advantages=advantages)
    assert samples.read_part(path) == [
        {
            "step": 12,
            "group": 3,
            "sample": 2,
            "policy_version": 9,
            "item": "add-3",
            "prompt": "2+3=",
            "completion": "5!",
            "status": "ok",
            "prompt_ids": [0, 1, 2, 3],
            "token_ids": [10, 11, 12],
            "mask": [True, False, True],
            "log_probs": [-0.5, -0.5, -0.5],
            "advantages": [0.5, 0.0, -0.25],
            "reward": 1.1,
            "reward_parts": {"correct": 1.0, "format": 0.2},
            "accuracy": 1.0,
            "terminated": True,
            "truncated": True,
            "pieces": None,
            "learner_log_probs": None,
            "entropy": None,
            "clipped": None,
            "reference_log_probs": None,
            "answer": "5",
        }
    ]


def seen(episodes: list[Episode]) -> Batch:
    """The batch after learning, with one number a column."""
    batch = assemble(episodes)
    shape = batch.rewards_BT.shape
    return batch.changed(
        old_log_probs_BT=torch.full(shape, -0.25),
        entropy_BT=torch.full(shape, 1.0001),
        clipped_BT=torch.ones(shape, dtype=torch.bool),
    )


def test_what_the_learner_saw_of_each_token_is_stored(tmp_path: Path, make_episode: Make) -> None:
    mask = np.array([True, False, True])
    failed = Judgement(total=None, parts={"correct": None}, accuracy=None, status="correct: timeout")
    episodes = [
        make_episode(action_mask=mask, pieces=("a", "\ud800", "<end>")),
        make_episode(judgement=failed),
        make_episode(tokens=2),
    ]
    first, second, third = samples.read_part(write(tmp_path, 1, episodes, learnt=seen(episodes)))
    assert first["pieces"] == ["a", "\\ud800", "<end>"] and second["pieces"] is None
    assert first["learner_log_probs"] == [-0.25, 0.0, -0.25]
    assert first["entropy"] == [1.0, 0.0, 1.0]  # 16 bits
    assert first["clipped"] == [True, False, True]
    assert first["reference_log_probs"] is None
    assert [second[name] for name in ("learner_log_probs", "entropy", "clipped")] == [None] * 3  # not trained on
    assert third["learner_log_probs"] == [-0.25, -0.25]  # the padding is not stored


def test_parts_of_before_the_learners_columns_are_read_and_merged(tmp_path: Path, make_episode: Make) -> None:
    folder, episodes = tmp_path / "samples", [make_episode(pieces=("a", "b", "c"))]
    early = write(folder, 1, episodes)
    pq.write_table(sample_rows.samples_table(1, episodes).select(sample_rows.EARLIER.names), early)
    write(folder, 2, episodes, learnt=seen(episodes))
    assert samples.read_part(early)[0]["completion"] == "5"
    samples.merge(folder, tmp_path / "samples.parquet")
    rows = samples.read_part(tmp_path / "samples.parquet")
    assert [row["pieces"] for row in rows] == [None, ["a", "b", "c"]]
    assert [row["clipped"] for row in rows] == [None, [True] * 3]
    assert samples.merged_steps(tmp_path / "samples.parquet") == [1, 2]
    assert samples.read_part(tmp_path / "samples.parquet", ["clipped"], step=2) == [{"step": 2, "clipped": [True] * 3}]


def test_what_is_not_known_is_null_and_no_zero(tmp_path: Path, make_episode: Make) -> None:
    failed = Judgement(total=None, parts={"correct": None}, accuracy=None, status="correct: timeout")
    episodes = [make_episode(judgement=failed), make_episode(judgement=None)]
    rows = samples.read_part(write(tmp_path, 1, episodes, advantages=[None, None]))
    for row in rows:
        assert row["reward"] is None and row["accuracy"] is None
        assert row["advantages"] is None and row["prompt"] is None
    assert [row["status"] for row in rows] == ["correct: timeout", None]
    assert [row["reward_parts"] for row in rows] == [{"correct": None}, {}]


def test_an_empty_completion_and_an_empty_step(tmp_path: Path, make_episode: Make) -> None:
    rows = samples.read_part(write(tmp_path, 1, [make_episode("", tokens=0)], advantages=[[]]))
    assert rows[0]["token_ids"] == [] and rows[0]["completion"] == "" and rows[0]["advantages"] == []
    assert samples.read_part(write(tmp_path, 2, [])) == []


def test_an_environments_episode_has_no_token_ids(tmp_path: Path, make_episode: Make) -> None:
    moves = make_episode("", actions=np.zeros((3, 2), dtype=np.float32), context=np.zeros((3, 4)))
    row = samples.read_part(write(tmp_path, 1, [moves]))[0]
    assert row["token_ids"] is None and row["prompt_ids"] is None and row["mask"] == [True] * 3


def test_hostile_text_is_stored_as_it_is(tmp_path: Path, make_episode: Make, hostile: list[str]) -> None:
    judged = [Judgement(total=0.0, parts={text: 0.0}, accuracy=0.0, status=text) for text in hostile]
    episodes = [make_episode(text, item=text, judgement=j) for text, j in zip(hostile, judged, strict=True)]
    rows = samples.read_part(write(tmp_path, 1, episodes, prompts=hostile))
    for row, text in zip(rows, hostile, strict=True):
        stored = encodable(text)
        assert (row["completion"], row["prompt"], row["item"], row["status"]) == (stored,) * 4
        assert row["reward_parts"] == {stored: 0.0}
    assert sum(row["completion"] != text for row, text in zip(rows, hostile, strict=True)) == 1  # the half pairs


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.text(st.characters(codec=None, exclude_categories=())), max_size=4))
def test_any_text_can_be_stored(tmp_path: Path, make_episode: Make, texts: list[str]) -> None:
    rows = samples.read_part(write(tmp_path, 1, [make_episode(text) for text in texts]))
    assert [row["completion"] for row in rows] == [encodable(text) for text in texts]


def test_token_ids_that_would_not_fit_are_never_changed(make_episode: Make) -> None:
    with pytest.raises((OverflowError, ValueError)):
        sample_rows.samples_table(1, [make_episode(actions=np.array([2**31, 1, 2]))])


def test_advantages_of_the_wrong_length_are_our_own_mistake(make_episode: Make) -> None:
    with pytest.raises(AssertionError):
        sample_rows.samples_table(1, [make_episode()], advantages=[[0.5]])
    with pytest.raises(AssertionError):
        sample_rows.samples_table(1, [make_episode()], prompts=["a", "b"])


def test_the_same_samples_give_the_same_bytes_in_another_process(tmp_path: Path, make_episode: Make) -> None:
    program = """
        import numpy as np, hashlib
        from rung.batch import Episode, Judgement
        from rung.runs.record import sample_rows, samples
        e = Episode(item="add-0", group=0, sample=0, context=np.arange(4), actions=np.arange(10, 13),
            action_mask=np.ones(3, dtype=bool), log_probs=np.full(3, -0.5, dtype=np.float32), terminated=True,
            truncated=False, text="5",
            judgement=Judgement(total=1.1, parts={"correct": 1.0, "format": 0.2}, accuracy=1.0))
        print(hashlib.sha256(samples.encode_part(sample_rows.samples_table(1, [e] * 5))).hexdigest())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    )
    here = samples.encode_part(sample_rows.samples_table(1, [make_episode()] * 5))  # its parts come in the other order
    assert done.stdout.strip() == hashlib.sha256(here).hexdigest()


def test_merging_is_a_pure_function_of_the_parts(tmp_path: Path, make_episode: Make) -> None:
    folder, target = tmp_path / "samples", tmp_path / "samples.parquet"
    for step in (10, 2, 1):
        write(folder, step, [make_episode(f"{step}-{i}", sample=i) for i in range(3)])
    assert samples.merge(folder, target) == 9
    once = target.read_bytes()
    assert samples.merge(folder, target) == 9
    assert target.read_bytes() == once
    assert [row["completion"] for row in samples.read_part(target)] == [
        f"{s}-{i}" for s in (1, 2, 10) for i in range(3)
    ]


def test_merging_gathers_small_parts_and_never_holds_them_all(
    tmp_path: Path, make_episode: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "ROWS_A_GROUP", 4)
    folder, target = tmp_path / "samples", tmp_path / "samples.parquet"
    for step in range(1, 6):
        write(folder, step, [make_episode(sample=i) for i in range(3)])
    samples.merge(folder, target)
    metadata = pq.ParquetFile(target).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [6, 6, 3]


def test_other_files_are_no_parts(tmp_path: Path, make_episode: Make) -> None:
    write(tmp_path, 3, [make_episode()])
    for name in ("step_000004.parquet.aside", "notes.txt", "step_x.parquet", "step_1.parquet.bak"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / samples.part_name(5)).symlink_to("/etc/passwd")
    assert list(samples.parts(tmp_path)) == [3]
    assert samples.parts(tmp_path / "none") == {}


def test_a_damaged_part_is_named_and_the_merged_file_stays_as_it_was(tmp_path: Path, make_episode: Make) -> None:
    folder, target = tmp_path / "samples", tmp_path / "samples.parquet"
    path = write(folder, 1, [make_episode()])
    samples.merge(folder, target)
    before = target.read_bytes()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"step_000001\.parquet: not a readable part"):
        samples.merge(folder, target)
    assert target.read_bytes() == before and not list(tmp_path.glob("*.aside"))


def test_a_foreign_parquet_file_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / samples.part_name(1)
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(DataError, match="its columns are not those of rung's samples"):
        samples.read_part(path)


def test_cutting_removes_later_parts_and_what_was_left_aside(tmp_path: Path, make_episode: Make) -> None:
    for step in (1, 2, 3, 4):
        write(tmp_path, step, [make_episode()])
    (tmp_path / "step_000005.parquet.aside").write_bytes(b"half")
    assert samples.cut_parts(tmp_path, 2) == [3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000001.parquet", "step_000002.parquet"]
