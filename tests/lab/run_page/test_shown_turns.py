"""Turns on the run page: who said what, and what each of the policy's own turns earned; of older runs the words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from made_up_runs import ADVANTAGES, episode, learnt

from rung.batch import Episode, Played, Turn
from rung.lab.run_page.shown import STEP_COLUMNS, shown_step
from rung.runs.record import sample_rows, samples

CALLED = Turn(end=1, own=2, said="?times(3, 4)", told="12\n", reward=0.25, calls=("ok",))
SAID = Turn(end=4, own=2, said="12", reward=1.0)


def over_turns(*turns: Turn) -> Episode:
    """The five tokens of a made-up episode; the third is a hole, which a tool wrote."""
    holes = np.array([True, True, False, True, True])
    return replace(episode(0, 0), action_mask=holes, played=Played(turns=turns), answer="12")


def test_each_turn_has_its_reward_advantage_and_calls(tmp_path: Path) -> None:
    episodes = [over_turns(CALLED, SAID), over_turns(replace(CALLED, calls=(), told="go on\n"), SAID)]
    path = tmp_path / samples.part_name(1)
    table = sample_rows.samples_table(1, episodes, learnt=learnt(episodes), advantages=[np.array(ADVANTAGES)] * 2)
    path.write_bytes(samples.encode_part(table))
    first, second = shown_step(samples.read_part(path, STEP_COLUMNS))["samples"]
    assert first["turns"] == [
        {"who": "assistant", "text": "?times(3, 4)", "reward": 0.25, "advantage": -0.75, "end": 1, "calls": ["ok"]},
        {"who": "tool", "text": "12"},
        {"who": "assistant", "text": "12", "reward": 1.0, "advantage": 0.75, "end": 4, "calls": []},
    ]
    assert first["answer"] == "12" and first["completion"] == "?times(3, 4)\n← 12\n12"
    assert [turn["who"] for turn in second["turns"]] == ["assistant", "user", "assistant"]


def test_a_run_of_before_has_the_words_alone_and_merges_with_a_new_part(tmp_path: Path) -> None:
    """What a resumed run meets: parts without the columns of the turns beside parts with them."""
    folder, episodes = tmp_path / "samples", [over_turns(CALLED, SAID)]
    folder.mkdir()
    for step in (1, 2):
        table = sample_rows.samples_table(step, episodes)
        table = table if step == 2 else table.drop_columns(["answer", "turn_ends", "turn_rewards", "turn_calls"])
        pq.write_table(table, folder / samples.part_name(step))
    samples.merge(folder, tmp_path / "samples.parquet")
    stored = samples.StoredSamples(tmp_path)
    for step, facts in ((1, {}), (2, {"reward": 0.25, "advantage": None, "end": 1, "calls": ["ok"]})):
        for where in (stored, samples.StoredSamples(tmp_path / "none")):
            where.merged = tmp_path / "samples.parquet"
            (sample,) = shown_step(where.read(step, STEP_COLUMNS))["samples"]
            assert sample["turns"][0] == {"who": "assistant", "text": "?times(3, 4)", **facts}
            assert sample["answer"] == (None if step == 1 else "12")
