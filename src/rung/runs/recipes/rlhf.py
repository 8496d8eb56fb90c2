"""RLHF as a recipe of stages: fine-tuning, pairs, a reward model, reinforcement learning against it.

Each stage is what its own command makes, in a folder of its own; a stage that is finished is not done again, one that
was stopped goes on.

    sft/            rung sft             where the task has worked examples
    pairs.jsonl     rung pairs           or pairs that people have labelled
    reward_model/   rung train reward_model
    policy/         rung train METHOD    against the reward model, with a KL to the model of the first stage
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rung.errors import DataError, SettingsError, did_you_mean
from rung.methods import METHODS, own_name
from rung.runs.folder import SETTINGS, holds_something, is_finished
from rung.runs.observers import Observer
from rung.runs.recipes.pairs import make_pairs, prompts_of
from rung.runs.recipes.sft import examples_of, sft, tiny_for
from rung.runs.run import handed, resume, train
from rung.settings import Settings, TaskSettings, read_pairs, read_sft
from rung.tasks.load import load_pairs, load_text_task
from rung.trainers.build import lora_of
from rung.trainers.choose import kind_of
from rung.trainers.gate import Start, gate
from rung.trainers.reading import read_run
from rung.trainers.usable_rows import reader_for, usable, usable_in_run
from rung.whole_files import write_whole

STAGES = {"sft": "sft", "pairs": "pairs.jsonl", "reward_model": "reward_model", "policy": "policy"}
"""In their order, with what each leaves in the folder."""
FIRST_USED = {
    "sft": ("model", "task", "seed"),
    "pairs": ("pairs",),
    "reward_model": ("reward_models",),
    "policy": ("method",),
}
"""What a request says, by the first stage that it changes."""
ASKED = "rlhf.json"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class RLHF:
    """The request.

    Example: `RLHF(model="tiny", task="arithmetic", method="grpo", sets=("policy.steps=50",))`.
    """

    model: str
    task: str
    method: str = "ppo@lm-human-preferences"
    """The policy's method: `grpo` and `rloo` need no critic."""
    seed: int = 0
    pairs: str | None = None
    """A file of labelled pairs; None: they are made from the model's own samples by the task's checker."""
    reward_models: int = 1
    """How many; the mean of several is the reward, each of them learnt from pairs drawn again with replacement."""
    sets: tuple[str, ...] = ()
    """`STAGE.KEY=VALUE`, as `policy.steps=50`."""

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> RLHF:
        """What `asdict` and JSON made of one. SettingsError when they did not."""
        known = {field.name for field in fields(cls)}
        if not {"model", "task", "sets"} <= set(data) <= known:
            raise SettingsError(f"--out: its {ASKED} is not what rung rlhf writes; choose another folder")
        return cls(**{**data, "sets": tuple(data["sets"])})

    def flags(self, **others: str) -> dict[str, str]:
        return {"model": self.model, "task": self.task, "seed": str(self.seed), **others}

    def of_stage(self, stage: str) -> list[str]:
        """The stage's `KEY=VALUE` texts."""
        return [text.removeprefix(f"{stage}.") for text in self.sets if text.startswith(f"{stage}.")]

    def problems(self) -> list[str]:
        """What is wrong with the sets' stages, as sentences."""
        found: list[str] = []
        for text in self.sets:
            stage = text.partition("=")[0].partition(".")[0]
            if stage not in STAGES:
                hint = did_you_mean(stage, STAGES)
                found.append(f"--set {text}: got the stage '{stage}'{hint}; expected one of {', '.join(STAGES)}")
        return found


def rlhf(
    asked: RLHF, folder: Path, *, quiet: bool = False, say: Say = print, observers: Sequence[Observer] = ()
) -> int:
    """Goes through the stages, from where an earlier call stopped; gives the exit code of the last one.

    Raises SettingsError with the problems of every stage before anything is made, those of the task and of a file of
    pairs included; or when a stage that the folder holds was asked for otherwise.
    """
    if problems := [*asked.problems(), *_wrong_settings(asked)]:
        raise SettingsError(problems)
    if not (folder / ASKED).is_file():
        for note in _through_the_gate(asked):
            say(f"note: {note}")
    _remember(asked, folder)
    start = _start(asked, folder, say, quiet)
    pairs = _pairs(asked, folder, start, say, quiet)
    reward, policy = folder / "reward_model", folder / "policy"
    for number in range(asked.reward_models):
        several = asked.reward_models > 1
        seed = asked.seed + number
        own = [f"seed={seed}", f"task.resample={seed}"] if several else []
        wanted = _run(asked, "reward_model", "reward_model", start, str(pairs), [], own)
        if code := _stage("reward_model", wanted, reward / str(number) if several else reward, say, quiet, observers):
            return code
    judged = load_text_task(asked.task, seed=asked.seed).rewards
    rewards = [*(["task=0"] if judged else []), str(reward)]
    return _stage(
        "policy", _run(asked, "policy", asked.method, start, asked.task, rewards), policy, say, quiet, observers
    )


def _wrong_settings(asked: RLHF) -> Iterator[str]:
    """What is wrong with any stage, before anything is made."""
    if asked.reward_models < 1:
        yield f"--reward-models: got {asked.reward_models}, expected at least 1"
    method = METHODS.get(own_name(asked.method))
    if method is not None and kind_of(method).stored_pairs:
        yield (
            f"--method: got '{asked.method}', which learns from pairs, and the last stage learns from a reward; choose "
            f"grpo or rloo, or, without a reward model: rung train {asked.method} --task {asked.pairs or 'PAIRS'}"
        )
    try:
        load_text_task(asked.task, seed=asked.seed)
    except SettingsError as error:
        yield from error.problems
    try:
        if asked.pairs is not None:
            load_pairs(asked.pairs)
    except SettingsError as error:
        yield from (f"--pairs: {problem.removeprefix('task: ')}" for problem in error.problems)
    readings = {
        "sft": read_sft(flags=asked.flags(), sets=asked.of_stage("sft")),
        "pairs": read_pairs(flags=asked.flags(), sets=asked.of_stage("pairs")),
        "reward_model": read_run(flags=asked.flags(method="reward_model"), sets=asked.of_stage("reward_model")),
        "policy": read_run(flags=asked.flags(method=asked.method), sets=asked.of_stage("policy")),
    }
    for stage, reading in readings.items():
        yield from (f"{stage}: {problem}" for problem in reading.problems)
        if reading.settings is not None:
            try:
                _look_at_rows(stage, asked, reading.settings)
            except (SettingsError, DataError) as error:
                yield from (f"{stage}: {problem}" for problem in error.problems)


def _look_at_rows(stage: str, asked: RLHF, settings: Any) -> None:
    """Raises where the model cannot take the rows of a stage: of what there is before anything is made."""
    if stage == "sft":
        task = load_text_task(asked.task, seed=asked.seed)
        if len(task.examples) and asked.model != "tiny":
            examples_of(settings)
    elif stage == "pairs" and asked.pairs is None:
        prompts_of(settings)
    elif stage == "reward_model" and asked.pairs is not None:
        pairs = load_pairs(asked.pairs, skip_bad_rows=settings.task.skip_bad_rows)
        usable(pairs, reader_for(settings.model, pairs), skip=settings.task.skip_bad_rows)
    elif stage == "policy":
        method = settings.resolved_method()
        kind = kind_of(method)
        usable_in_run(settings, kind, kind.load_task(settings), handed())


def _through_the_gate(asked: RLHF) -> Sequence[str]:
    """What is known of the model before the first stage: it can be tuned, learn rewards, and be trained by them."""
    from rung.models.language.load import load_policy
    from rung.models.language.reward_model import new_reward_model

    if asked.model == "tiny":
        return []
    settings = _run(asked, "policy", asked.method, asked.model, asked.task, [])
    how = {"device": settings.learner.device, "compute": settings.learner.compute}
    policy = load_policy(asked.model, lora=lora_of(settings), **how)
    critic = getattr(settings.resolved_method(), "critic", None)
    if critic is not None:
        policy.add_critic(separate=critic.separate)
    task = load_text_task(asked.task, seed=asked.seed)
    notes = gate(Start(policy=policy, task=task, settings=settings))
    return list(dict.fromkeys([*notes, *new_reward_model(asked.model, seed=asked.seed, **how).tried()]))


def _remember(asked: RLHF, folder: Path) -> None:
    """Writes down what was asked for; refuses a folder that holds something else, or was made otherwise so far."""
    file = folder / ASKED
    if file.is_file():
        before = RLHF.from_data(json.loads(file.read_text(encoding="utf-8")))
        if changed := list(_changed(before, asked, folder)):
            raise SettingsError(f"--out: {folder} holds the stages of another request: {'; '.join(changed)}")
    elif holds_something(folder):
        raise SettingsError(f"--out: {folder} is not empty and holds no {ASKED}; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(asdict(asked), indent=2).encode())


def _changed(before: RLHF, asked: RLHF, folder: Path) -> Iterator[str]:
    """Changes to what was asked for, in a stage that has begun or in one before it."""
    begun = [number for number, left in enumerate(STAGES.values()) if (folder / left).exists()]
    for number, stage in enumerate(STAGES):
        if not begun or begun[-1] < number:
            return
        for key in FIRST_USED.get(stage, ()):
            was, now = getattr(before, key), getattr(asked, key)
            if was != now:
                yield f"{key} was {was!r}, is {now!r}"
        was, now = before.of_stage(stage), asked.of_stage(stage)
        yield from (f"--set {stage}.{text} is missing" for text in was if text not in now)
        yield from (f"--set {stage}.{text} is new" for text in now if text not in was)


def _start(asked: RLHF, folder: Path, say: Say, quiet: bool) -> str:
    """The model that the reward model and the policy start from: fine-tuned where the task has worked examples."""
    if asked.model == "tiny":
        say("stage 1, sft: the tiny model has learnt the task's worked examples already")
        return str(tiny_for(TaskSettings(name=asked.task)))
    if not len(load_text_task(asked.task, seed=asked.seed).examples):
        say(f"stage 1, sft: left out, '{asked.task}' has no worked examples")
        return asked.model
    made = folder / "sft"
    if (made / "final").is_dir():
        say("stage 1, sft: done before")
        return str(made / "final")
    say("stage 1, sft")
    settings = read_sft(flags=asked.flags(), sets=asked.of_stage("sft")).required()
    sft(settings, made, quiet=quiet, say=say)
    return str(made / "final")


def _pairs(asked: RLHF, folder: Path, start: str, say: Say, quiet: bool) -> Path:
    if asked.pairs is not None:
        say(f"stage 2, pairs: {asked.pairs}")
        return Path(asked.pairs)
    made = folder / "pairs.jsonl"
    if made.is_file():
        say("stage 2, pairs: done before")
        return made
    say("stage 2, pairs")
    settings = read_pairs(flags=asked.flags(model=start), sets=asked.of_stage("pairs")).required()
    for line in make_pairs(settings, made, say=(lambda line: None) if quiet else say).lines():
        say(line)
    return made


def _run(
    asked: RLHF, stage: str, method: str, model: str, task: str, rewards: Sequence[str], own: Sequence[str] = ()
) -> Settings:
    """The settings of a run; what the tiny model's recipes say holds for it under its folder's name too.

    `own` are `KEY=VALUE` texts that the stage's sets may change.
    """
    tiny = "tiny_pairs" if stage == "reward_model" else "tiny"
    recipe, flags = tiny if asked.model == "tiny" else None, asked.flags(model=model, method=method, task=task)
    return read_run(recipe=recipe, flags=flags, rewards=rewards, sets=[*own, *asked.of_stage(stage)]).required()


def _stage(stage: str, settings: Settings, folder: Path, say: Say, quiet: bool, observers: Sequence[Observer]) -> int:
    """Trains, goes on, or does nothing when the run is finished; gives its exit code."""
    number = list(STAGES).index(stage) + 1
    name = stage if folder.name == stage else f"{stage} {folder.name}"
    if is_finished(folder):
        say(f"stage {number}, {name}: done before")
        return 0
    if (folder / SETTINGS).is_file():
        say(f"stage {number}, {name}: goes on")
        return resume(folder, quiet=quiet, observers=observers).exit_code
    say(f"stage {number}, {name}")
    return train(settings, folder, quiet=quiet, observers=observers).exit_code
