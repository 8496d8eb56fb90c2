"""The replay against a plain list of steps: what is drawn, what follows it, what a stack holds, what is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from rung.errors import CheckpointError
from rung.rollouts import replay as replay_module
from rung.rollouts.replay import Frame, Replay

IMAGE = Frame(shape=(2, 2), dtype=np.dtype("uint8"), stack=3)
VECTOR = Frame(shape=(1,), dtype=np.dtype("float32"))


@dataclass
class Step:
    """One step as a list would hold it: whole stacks, the true next observation."""

    row: int
    before: list[int]
    action: int
    reward: float
    ended: bool
    cut: bool
    after: list[int]


class Diary:
    """Fills a replay with a made-up life of each row, and keeps every step in a list. Each frame shows its number."""

    def __init__(self, replay: Replay, seed: int = 0) -> None:
        self.replay, self.steps = replay, list[Step]()
        self.random = np.random.Generator(np.random.PCG64(seed))
        self.shown = 0
        self.seen = [list[int]() for _ in range(replay.rows)]
        for row in range(replay.rows):
            self.begin(row)

    def frame(self) -> np.ndarray:
        self.shown += 1
        return np.full(self.replay.frame.shape, self.shown % 251, self.replay.frame.dtype)

    def stack(self, row: int) -> list[int]:
        stack = self.replay.frame.stack
        return ([0] * stack + self.seen[row])[-stack:]

    def begin(self, row: int) -> None:
        frame = self.frame()
        self.seen[row] = [int(frame.flat[0])]
        self.replay.begin(row, frame)

    def live(self, steps: int, ends: float = 0.1, cuts: float = 0.1) -> None:
        rows = self.replay.rows
        for _ in range(steps):
            actions, rewards = self.random.integers(0, 5, rows), self.random.normal(size=rows).astype(np.float32)
            ended, cut = self.random.random(rows) < ends, self.random.random(rows) < cuts
            before = [self.stack(row) for row in range(rows)]
            frames = np.stack([self.frame() for _ in range(rows)])
            self.replay.add(actions, rewards, ended, cut, frames)
            for row in range(rows):
                self.seen[row].append(int(frames[row].flat[0]))
                facts = (int(actions[row]), float(rewards[row]), bool(ended[row]), bool(cut[row]))
                self.steps.append(Step(row, before[row], *facts, self.stack(row)))
                if ended[row] or cut[row]:
                    self.begin(row)


def shown(frames: np.ndarray) -> list[list[int]]:
    return frames.reshape(*frames.shape[:2], -1)[:, :, 0].astype(int).tolist()


def every_step(replay: Replay, steps: int = 1) -> object:
    size = len(replay)
    return replay.draw((np.arange(size) + 0.5) / size, steps)


@pytest.fixture(params=[(1, IMAGE), (3, IMAGE), (2, VECTOR)], ids=["one row", "three rows", "vectors"])
def diary(request: pytest.FixtureRequest) -> Iterator[Diary]:
    rows, frame = request.param
    yield Diary(Replay(rows=rows, capacity=60, frame=frame))


@pytest.mark.parametrize("lived", [5, 30, 400])
def test_every_step_is_what_a_list_would_hold(diary: Diary, lived: int) -> None:
    diary.live(lived)
    replay = diary.replay
    window = every_step(replay)
    before, after = shown(replay.before(window)), shown(replay.after(window, np.ones(len(replay), int)))
    found = [
        (row, seen, int(action), float(reward), not going)
        for row, seen, action, reward, going in zip(
            window.rows_N, before, window.actions_N, window.rewards_NK[:, 0], window.discounts_NK[:, 0], strict=True
        )
    ]
    expected = []
    for row in range(replay.rows):
        own = [step for step in diary.steps if step.row == row]
        expected += own[len(own) - int((window.rows_N == row).sum()) :]
    assert found == [(s.row, s.before, s.action, s.reward, s.ended) for s in expected]
    following = [(mine, step.after) for mine, step in zip(after, expected, strict=True) if not step.ended]
    assert following and all(mine == theirs for mine, theirs in following)
    newest = {row: max(i for i, s in enumerate(expected) if s.row == row) for row in range(replay.rows)}
    for index, step in enumerate(expected):
        assert bool(window.cut_NK[index, 0]) == (step.cut or index == newest[step.row])


def test_nearly_all_of_the_capacity_is_kept_when_every_other_episode_is_cut(diary: Diary) -> None:
    diary.live(500, ends=0.02, cuts=0.002)
    assert 54 <= len(diary.replay) <= 60


def test_many_cuts_use_up_frames_and_the_oldest_steps_go_first() -> None:
    diary = Diary(Replay(rows=1, capacity=60, frame=VECTOR))
    diary.live(300, ends=0.0, cuts=1.0)
    replay = diary.replay
    assert 25 <= len(replay) < 60, "each cut episode keeps its last observation too"
    window = every_step(replay)
    assert shown(replay.after(window, np.ones(len(replay), int)))[-1] == diary.steps[-1].after


def test_windows_stop_at_ends_cuts_and_the_newest_step() -> None:
    replay = Replay(rows=1, capacity=50, frame=VECTOR)
    replay.begin(0, np.array([0.0]))
    for t, (ended, cut) in enumerate([(False, False), (True, False), (False, False), (False, True), (False, False)]):
        replay.add(np.array([t]), np.array([float(t)]), np.array([ended]), np.array([cut]), np.array([[t + 1.0]]))
        if ended or cut:
            replay.begin(0, np.array([100.0 + t]))
    window = every_step(replay, steps=3)
    assert window.rewards_NK[0].tolist() == [0.0, 1.0, 2.0]
    assert window.discounts_NK[0].tolist() == [1.0, 0.0, 1.0]
    assert window.cut_NK[2].tolist()[:2] == [False, True]
    assert window.cut_NK[4].tolist() == [True, True, True], "nothing has followed the newest step yet"
    after = replay.after(window, np.array([1, 1, 2, 1, 1]))[:, 0]
    assert after[0] == 1.0 and after[2] == 4.0 and after[3] == 4.0 and after[4] == 5.0


def test_one_draw_lands_on_every_step_alike() -> None:
    diary = Diary(Replay(rows=3, capacity=60, frame=VECTOR))
    diary.live(100)
    window = diary.replay.draw((np.arange(6000) + 0.5) / 6000, 1)
    _, counts = np.unique(np.stack([window.rows_N, window.steps_N]), axis=1, return_counts=True)
    assert len(counts) == len(diary.replay) and counts.max() - counts.min() <= 1


def test_a_million_atari_frames_take_less_than_8_gb() -> None:
    replay = Replay(rows=1, capacity=1_000_000, frame=Frame(shape=(84, 84), dtype=np.dtype("uint8"), stack=4))
    kept = [array for array in vars(replay).values() if isinstance(array, np.ndarray)]
    assert sum(array.nbytes for array in kept) < 8e9, "memory is asked for as it is used, so this test needs none of it"


def test_priorities_choose_and_forgotten_steps_are_not_chosen() -> None:
    diary = Diary(Replay(rows=2, capacity=40, frame=VECTOR, prioritised=True))
    diary.live(100, ends=0.0, cuts=0.5)
    replay = diary.replay
    window = replay.draw((np.arange(500) % 7) / 7, 1)
    assert window.chances_N is not None
    low = {row: replay.state()[0]["low"][row] for row in range(2)}
    assert all(step >= low[row] for row, step in zip(window.rows_N, window.steps_N, strict=True))
    assert torch.allclose(torch.from_numpy(window.chances_N), torch.tensor(1.0 / len(replay), dtype=torch.float64))
    one = replay.draw(np.array([0.3]), 1)
    replay.reprioritise(one, np.array([1e6]))
    again = replay.draw(np.linspace(0, 0.99, 50), 1)
    mine = (again.rows_N == one.rows_N[0]) & (again.steps_N == one.steps_N[0])
    assert mine.mean() > 0.9 and float(again.chances_N[mine][0]) > 0.99


@pytest.mark.parametrize("prioritised", [False, True])
def test_saved_and_restored_it_goes_on_the_same(monkeypatch: pytest.MonkeyPatch, prioritised: bool) -> None:
    monkeypatch.setattr(replay_module, "SEGMENT_BYTES", 40)  # ten frames a piece
    uniforms = np.linspace(0, 0.999, 32)
    for lived in (3, 45, 200):
        first = Diary(Replay(rows=2, capacity=60, frame=IMAGE, prioritised=prioritised), seed=lived)
        first.live(lived)
        numbers, tensors = first.replay.state()
        kept = {name: load(save({"piece": t.contiguous()}))["piece"] for name, t in first.replay.pieces().items()}
        second = Replay(rows=2, capacity=60, frame=IMAGE, prioritised=prioritised)
        second.load(numbers, {**load(save({name: t.contiguous() for name, t in tensors.items()})), **kept})
        first.live(1)
        first_again = Diary(Replay(rows=2, capacity=60, frame=IMAGE, prioritised=prioritised), seed=lived)
        first_again.live(lived)
        first_again.replay = second
        first_again.live(1)
        one, two = first.replay.draw(uniforms, 2), second.draw(uniforms, 2)
        assert np.array_equal(one.steps_N, two.steps_N) and torch.equal(one.rewards_NK, two.rewards_NK)
        assert np.array_equal(first.replay.before(one), second.before(two))
        steps_N = np.full(32, 1)
        assert np.array_equal(first.replay.after(one, steps_N), second.after(two, steps_N))


def test_pieces_that_did_not_change_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "SEGMENT_BYTES", 40)
    diary = Diary(Replay(rows=1, capacity=60, frame=IMAGE))
    known: dict[str, bytes] = {}
    for _ in range(40):
        diary.live(7)
        pieces = {name: piece.numpy().tobytes() for name, piece in diary.replay.pieces().items()}
        shared = [name for name in pieces if name in known]
        assert len(pieces) < 4 or len(shared) >= len(pieces) - 3
        for name in shared:
            assert pieces[name] == known[name], "one name, one content"
        known = pieces


def test_another_replays_state_is_refused() -> None:
    diary = Diary(Replay(rows=1, capacity=60, frame=VECTOR))
    diary.live(10)
    numbers, tensors = diary.replay.state()
    with pytest.raises(CheckpointError, match="saved 60, here 50"):
        Replay(rows=1, capacity=50, frame=VECTOR).load(numbers, {**tensors, **diary.replay.pieces()})
    with pytest.raises(CheckpointError, match="lacks 1 piece"):
        Replay(rows=1, capacity=60, frame=VECTOR).load(numbers, tensors)
