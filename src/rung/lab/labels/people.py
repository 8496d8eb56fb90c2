"""People as labellers of segments: clips and pairs are written to a folder, and votes are read from its store.

    FOLDER/pairs.jsonl, FOLDER/clips/*.gif      what `rung label FOLDER/pairs.jsonl` shows
    FOLDER/pairs.jsonl.labels                   the page's store of votes
    FOLDER/answers/step_000012-later.json       the answers that the run used in step 12

A clip is made by replaying an episode from its seed and actions.

A run that is killed and resumed asks the same questions under the same ids, and each step uses the answers that it used
before the kill, even when there are more votes by now.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rung.batch import Batch
from rung.errors import DataError, SettingsError
from rung.lab.labels.comparison import Verdict, verdicts
from rung.lab.labels.comparison_rows import read_comparisons
from rung.lab.labels.store import LabelStore
from rung.rollouts.environments.recording import animated, frame_of, without_display
from rung.rollouts.environments.rows import Array
from rung.rollouts.environments.stretches import StretchCollector, Underway
from rung.settings.schema import PreferenceSettings
from rung.tasks.environment import EnvironmentTask
from rung.tasks.rows import prompt_row
from rung.trainers.rlhf_2017.labellers import INCOMPARABLE, Answer, Labeller, Question
from rung.trainers.rlhf_2017.segments import episode_pieces
from rung.whole_files import write_whole

FPS = 20.0
"""Slower than most environments' own: segments are short, and people look twice."""
Place = tuple[int, int, int]
"""(rollout, row, step of that row)."""
Sleep = Callable[[float], None]
PROMPT = "Which one does better?"
WEIGHTS: Mapping[Verdict, Answer] = {"first": 1.0, "second": 0.0, "tie": 0.5, "even": 0.5, "unsure": INCOMPARABLE}
"""Even votes are a tie; can't-tell is incomparable, and dropped."""
_SECONDS = 1.0
"""How often the store is read while the run waits."""


def people(asked: PreferenceSettings, task: EnvironmentTask, seed: int) -> Labeller:
    """People who label in the page of `rung label`."""
    assert asked.folder is not None, "found with the contradictions"
    return People(Path(asked.folder), task, seed=seed, most_waiting=asked.most_waiting)


class People(Labeller):
    """After asking, waits until at most `most_waiting` questions have no answer, and goes on with the others."""

    def __init__(
        self, folder: Path, task: EnvironmentTask, *, seed: int, most_waiting: int, sleep: Sleep = time.sleep
    ) -> None:
        self.folder, self.seed, self.most_waiting, self._sleep = folder, seed, most_waiting, sleep
        self.pairs, self.votes = folder / "pairs.jsonl", folder / "pairs.jsonl.labels"
        self.strips, self._task = Strips(task), task
        self._underway: list[Underway] = []

    def before(self, source: Any) -> None:
        assert isinstance(source, StretchCollector), "clips are cut from stretches"
        self._underway = source.underway()

    def after(self, source: Any, rollout: int, batch: Batch, oldest: int) -> None:
        self.strips.add(rollout, source, self._underway, batch)
        self.strips.forget(oldest)

    def answers(self, when: str, asked: Sequence[Question], pending: Sequence[int]) -> Mapping[int, Answer]:
        if asked:
            self._show(asked)
        kept = self.folder / "answers" / f"{when}.json"
        if kept.is_file():
            return _read(kept)
        waiting = {self._id(number): number for number in pending}
        if not waiting:
            return {}
        found = self._wait(waiting)
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, json.dumps({str(number): answer for number, answer in found.items()}).encode())
        return found

    def _id(self, number: int) -> str:
        return f"{self._task.name}-{self.seed}-{number}"

    def _show(self, asked: Sequence[Question]) -> None:
        """Adds clips and pairs to the folder and the store, so that an open page shows them."""
        clips = self.folder / "clips"
        clips.mkdir(parents=True, exist_ok=True)
        lines = self.pairs.read_text(encoding="utf-8").splitlines() if self.pairs.is_file() else []
        known = {json.loads(line)["id"] for line in lines}
        for question in asked:
            names = []
            for which, segment in (("first", question.first), ("second", question.second)):
                name = f"{question.number:06d}-{which}.gif"
                rollout, row, step = segment.places_N3[0].tolist()
                write_whole(clips / name, self.strips.clip((rollout, row, step), segment.steps_NKD.shape[1]))
                names.append(f"clips/{name}")
            if self._id(question.number) not in known:
                row = prompt_row(self._id(question.number), PROMPT, completions=[{"clip": name} for name in names])
                lines.append(json.dumps(row))
        write_whole(self.pairs, "".join(f"{line}\n" for line in lines).encode())
        with LabelStore(self.votes) as store:
            store.take_in(read_comparisons(self.pairs))

    def _wait(self, waiting: Mapping[str, int]) -> dict[int, Answer]:
        said = False
        while True:
            with LabelStore(self.votes) as store:
                votes = verdicts(store.standing())
            found = {number: WEIGHTS[votes[name]] for name, number in waiting.items() if name in votes}
            if len(waiting) - len(found) <= self.most_waiting:
                return found
            if not said:
                warnings.warn(
                    f"{len(waiting) - len(found)} pairs of clips wait for an answer; label them in another terminal: "
                    f"rung label {self.pairs} (the run goes on by itself; Ctrl-C twice leaves it, rung resume goes on)",
                    stacklevel=2,
                )
                said = True
            self._sleep(_SECONDS)

    def tensors(self) -> dict[str, Tensor]:
        return self.strips.tensors()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        self.strips.load_tensors(tensors)


def _read(path: Path) -> dict[int, Answer]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = {int(number): answer for number, answer in content.items()}
    except (ValueError, AttributeError) as error:
        what = f"{path}: no answers of a step ({error}); it was written by a run and is not to be edited"
        raise DataError([what]) from error
    wrong = [number for number, answer in found.items() if answer not in (None, 0, 0.5, 1)]
    if wrong:
        raise DataError([f"{path}: question {wrong[0]}: got {found[wrong[0]]!r}, expected 0, 0.5, 1 or null"])
    return found


@dataclass(frozen=True)
class Strip:
    """The part of an episode in one rollout, with all that it takes to replay the episode from its beginning."""

    seed: int
    actions_T: Array
    """The episode's actions up to the end of the part."""
    earlier: int
    """How many of them belong to earlier rollouts."""


class Strips:
    """The strips of recent rollouts, by the place at which each begins."""

    def __init__(self, task: EnvironmentTask) -> None:
        self.task = task
        self._strips: dict[Place, Strip] = {}

    def add(self, rollout: int, source: StretchCollector, underway: list[Underway], batch: Batch) -> None:
        """Keeps a rollout's strips, given the episodes that were underway in each row before it."""
        begun = [0] * len(underway)
        for row, begin, end in episode_pieces(batch):
            before = underway[row]
            own_T = batch.actions_BT[row, begin:end]
            earlier_T = torch.from_numpy(before.actions_T) if begin == 0 else own_T[:0]
            seed = source.seed_of(row, before.episode + begun[row])
            self._strips[rollout, row, begin] = Strip(seed, torch.cat([earlier_T, own_T]).numpy(), len(earlier_T))
            begun[row] += 1

    def forget(self, before: int) -> None:
        """Drops the rollouts before this one."""
        self._strips = {place: strip for place, strip in self._strips.items() if place[0] >= before}

    def clip(self, place: Place, length: int) -> bytes:
        """A GIF of the segment that begins at `place` and has `length` steps; SettingsError where none can be made."""
        rollout, row, step = place
        begin = max(other for where, at, other in self._strips if (where, at) == (rollout, row) and other <= step)
        strip = self._strips[rollout, row, begin]
        first = strip.earlier + step - begin
        return animated(_film(self.task, strip.seed, strip.actions_T[: first + length], first), FPS)

    def tensors(self) -> dict[str, Tensor]:
        """`ROLLOUT.ROW.STEP.actions` and `.from` (seed, earlier) of each strip."""
        found: dict[str, Tensor] = {}
        for place, strip in self._strips.items():
            name = ".".join(map(str, place))
            found[f"{name}.actions"] = torch.from_numpy(strip.actions_T.copy())
            found[f"{name}.from"] = torch.tensor([strip.seed, strip.earlier])
        return found

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores the strips from `tensors`."""
        self._strips = {}
        for name in sorted(name.removesuffix(".from") for name in tensors if name.endswith(".from")):
            rollout, row, step = map(int, name.split("."))
            seed, earlier = tensors[f"{name}.from"].tolist()
            self._strips[rollout, row, step] = Strip(seed, tensors[f"{name}.actions"].numpy().copy(), earlier)


def _film(task: EnvironmentTask, seed: int, actions_T: Array, first: int) -> list[Any]:
    """The pictures before each action from `first` on, and the one after the last."""
    without_display()
    environment = task.make("rgb_array")
    try:
        environment.reset(seed=seed)
        frames: list[Any] = []
        for number, action in enumerate(task.to_environment(actions_T)):
            if number >= first:
                frames.append(frame_of(environment))
            environment.step(action)
        frames.append(frame_of(environment))
    finally:
        environment.close()
    broken = next((frame for frame in frames if isinstance(frame, Exception)), None)
    if broken is not None:
        what = f"people need clips, and '{task.name}' cannot be rendered here ({broken})"
        remedy = "label on a machine that can, or set it to oracle"
        raise SettingsError([f"preferences.labeller: {what}; {remedy}"]) from broken
    return frames
