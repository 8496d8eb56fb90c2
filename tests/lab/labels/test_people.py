"""People as labellers: clips and pairs go out, votes come back, and a run begun again takes up the same ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rung.errors import DataError
from rung.lab.labels.comparison import Answer as Said
from rung.lab.labels.comparison import Vote
from rung.lab.labels.comparison_rows import read_comparisons
from rung.lab.labels.people import People
from rung.lab.labels.store import LabelStore
from rung.library import trainer
from rung.runs.loop import Clock
from rung.trainers.reading import read_run
from rung.trainers.rlhf_2017.collector import PreferenceCollector
from rung.trainers.rollout_trainer import RolloutTrainer

SETS = ("preferences.labels=5", "preferences.labeller=people", "steps=2", "num_environments=2", "method.horizon=90")
MORE = tuple(f"method.learned_reward.{one}" for one in ("segment=20", "first_updates=5", "later_updates=2"))


def vote(folder: Path, choose: Callable[[int], Said], *, most: int = 1000) -> None:
    """Answers what is open in the store, as the page would."""
    with LabelStore(folder / "pairs.jsonl.labels") as store:
        for _ in range(most):
            asked = store.ask("anna", wanted=1)
            if asked is None:
                return
            number = int(asked[0].id.rsplit("-", 1)[1])
            given = Vote(
                submit=f"s{number}",
                pair=asked[0].id,
                labeller="anna",
                answer=choose(number),
                left=asked[1],
                at=0.0,
            )
            store.record(given)


def collector(
    folder: Path, choose: Callable[[int], Said], *, waiting: int = 0
) -> tuple[RolloutTrainer, PreferenceCollector]:
    sets = [*SETS, *MORE, f"preferences.folder={folder}", f"preferences.most_waiting={waiting}"]
    parts = trainer(read_run(flags={"method": "rlhf@2017", "task": "Pendulum-v1"}, sets=sets).required())
    assert isinstance(parts.collector, PreferenceCollector) and isinstance(parts.collector.labeller, People)
    parts.collector.labeller._sleep = lambda _: vote(folder, choose)
    return parts, parts.collector


@pytest.mark.filterwarnings("ignore:.*wait for an answer")
def test_clips_go_out_and_votes_come_back(tmp_path: Path) -> None:
    said: dict[int, Said] = {0: "first", 1: "second", 2: "tie", 3: "unsure"}
    parts, found = collector(tmp_path, lambda number: said.get(number, "first"))
    found.collect(1, Clock().phase)
    found.collect(2, Clock().phase)
    file = read_comparisons(tmp_path / "pairs.jsonl")
    assert [pair.id for pair in file.pairs] == [f"Pendulum-v1-0-{number}" for number in range(5)]
    assert file.pairs[0].completions[0] == {"clip": "clips/000000-first.gif"}
    assert found.learner.preferred_N.tolist() == [1.0, 0.0, 0.5, 1.0], "can't tell is dropped"
    with Image.open(tmp_path / "clips" / "000000-first.gif") as clip:
        assert clip.n_frames > 10  # type: ignore[attr-defined]
    parts.collector.close()


@pytest.mark.filterwarnings("ignore:.*wait for an answer")
def test_a_clip_shows_the_very_steps_of_its_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The states met while filming are those of the segment, in an episode that began in an earlier rollout too."""
    from rung.lab.labels import people as clips

    parts, found = collector(tmp_path, lambda _: "first")
    for step in (1, 2):
        found.collect(step, Clock().phase)
    assert isinstance(found.labeller, People)

    def state(environment: Any) -> np.ndarray:
        theta, speed = environment.environment.unwrapped.state
        return np.array([np.cos(theta), np.sin(theta), speed])

    seen: list[np.ndarray] = []
    monkeypatch.setattr(clips, "frame_of", lambda environment: seen.append(state(environment)) or np.zeros((2, 2, 3)))
    monkeypatch.setattr(clips, "animated", lambda frames, fps: b"")
    later = [n for n in range(len(found.recent)) if found.recent.places_N3[n, 0] > 0]
    for n in [0, len(found.recent) // 3, later[0], later[-1]]:
        seen.clear()
        rollout, row, step = found.recent.places_N3[n].tolist()
        found.labeller.strips.clip((rollout, row, step), 20)
        np.testing.assert_allclose(np.array(seen[:20]), found.recent.steps_NKD[n, :, :3].numpy(), atol=1e-5)
        assert len(seen) == 21
    restored = clips.Strips(found.labeller.strips.task)
    restored.load_tensors(found.labeller.tensors())
    assert restored.tensors().keys() == found.labeller.tensors().keys()
    seen.clear()
    restored.clip((rollout, row, step), 20)
    np.testing.assert_allclose(np.array(seen[:20]), found.recent.steps_NKD[n, :, :3].numpy(), atol=1e-5)
    parts.collector.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*wait for an answer")
def test_begun_again_it_takes_up_the_same_answers_whatever_was_voted_since(tmp_path: Path) -> None:
    first, one = collector(tmp_path, lambda number: "first" if number % 2 else "second", waiting=1)
    whole = [one.collect(step, Clock().phase).batch.rewards_BT for step in (1, 2)]
    vote(tmp_path, lambda _: "tie")  # a question that was still waiting
    second, two = collector(tmp_path, lambda _: "tie", waiting=1)
    again = [two.collect(step, Clock().phase).batch.rewards_BT for step in (1, 2)]
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
    first.collector.close()
    second.collector.close()


@pytest.mark.filterwarnings("ignore:.*wait for an answer")
def test_it_waits_and_says_what_to_do(tmp_path: Path) -> None:
    parts, found = collector(tmp_path, lambda _: "first")
    with pytest.warns(UserWarning, match=r"2 pairs of clips wait.*rung label .*pairs\.jsonl"):
        found.collect(1, Clock().phase)
    parts.collector.close()


def test_answers_that_somebody_edited_are_refused(tmp_path: Path) -> None:
    parts, found = collector(tmp_path, lambda _: "first")
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "step_000001-first.json").write_text(json.dumps({"0": 7}))
    with pytest.raises(DataError, match="question 0: got 7"):
        found.collect(1, Clock().phase)
    parts.collector.close()
