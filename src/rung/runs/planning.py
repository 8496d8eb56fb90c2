"""A run's plan from the command line, or every problem of settings, task, rewards, model and folder together.

No weights are loaded and no reward is run: `checked` does what needs them. A data file's rows are read and encoded, so
that bad ones are found now.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from rung.errors import DataError, MissingExtra, RungError, SettingsError
from rung.methods import METHODS
from rung.models.language.size import ModelShape, shape_of, tiny_shape
from rung.rewards.user import split_source
from rung.runs.folder import problems_with
from rung.runs.own_code import OwnCode
from rung.runs.plan import Plan, TaskFacts, make_plan
from rung.runs.record.trackers import require_tracker
from rung.runs.run import handed
from rung.settings import Settings, TaskSettings
from rung.settings.given import Reading, placed, plain
from rung.settings.objects import GIVEN, TASKS_OWN
from rung.settings.schema import SAMPLES, SMALL
from rung.tasks.load import Task, load_pairs, load_task
from rung.tasks.pairs import PairTask
from rung.trainers.choose import kind_for, kind_of
from rung.trainers.fits import accuracy_of
from rung.trainers.preferences.reward_model import learned_rewards
from rung.trainers.reading import read_run
from rung.trainers.usable_rows import Usable, usable_in_run

AnyTask = Task | PairTask


def planned(
    flags: Mapping[str, str | None],
    config: Path | None,
    recipe: str | None,
    sets: Sequence[str] | None,
    rewards: Sequence[str] | None,
    out: Path | None,
    own: OwnCode | None = None,
) -> Plan:
    """The plan of these arguments. SettingsError or DataError with the problems of settings, task, rewards, model and
    folder together."""
    own = own or OwnCode(flags=flags)
    how = {"flags": own.flags, "sets": sets or (), "rewards": rewards or (), "parts": own.parts, "methods": own.methods}
    reading = read_run(recipe=recipe, config=config, **how)
    more: list[str] = problems_with(out, resumable=True) if out is not None else []
    task = _task(reading, more, own)
    network = _network(reading, task, more)
    teacher = _language_model("teacher", reading, task, more)
    if reading.settings is not None:
        about = (
            *_wrong_rewards(reading.settings),
            *_missing_here(reading.settings),
            *_wrong_task(reading.settings, task),
        )
        more += [placed(problem, reading.tree) for problem in about]
    found = _usable(reading, task, network, own, more)
    settings = reading.required(more)
    assert task is not None and network is not None, "each of them is there when it has no problem"
    task = task if found is None else found.task
    facts = _facts(task, settings, 1 if found is None else found.longest)
    notes = [*getattr(task, "notes", tuple)()]
    for key, shape in (("model", network), ("teacher", teacher)):
        if shape is not None and shape.unknown is not None:
            notes.append(f"{key}: its size is not known, so its memory is not estimated: {shape.unknown}")
    free = free_memory(settings.learner.device)
    return make_plan(reading, network, facts, teacher=teacher, free_bytes=free, notes=notes)


def _task(reading: Reading[Any], more: list[str], own: OwnCode) -> AnyTask | None:
    """The task, even where other settings are wrong, so that its problems are told with theirs."""
    written, settings = reading.tree.at("task"), reading.settings
    chosen = plain(written) if written is not None else None
    if not isinstance(chosen, dict) or not isinstance(chosen.get("name"), str) or not chosen["name"]:
        return None
    options = {key: value for key, value in chosen.items() if key != "name"}
    hands = handed(objects=own.objects)
    seed = settings.seed if settings is not None else 0
    try:
        if chosen["name"].startswith(GIVEN):
            task = hands.task(TaskSettings.model_validate(chosen), seed)
        else:
            source, name = reading.tree.at("pairs.source"), reading.tree.at("method.name")
            method = {**METHODS, **own.methods}.get(name.value if name is not None else "")
            drawn = source is not None and source.value == SAMPLES
            if method is not None and kind_of(method, draws_pairs=drawn).stored_pairs:
                return load_pairs(chosen["name"], **options)
            task = load_task(chosen["name"], seed=seed, **options)
        return task if settings is None else hands.over_turns(task, settings.tools, settings.turns)
    except RungError as error:
        more += [placed(_by_path(problem, options), reading.tree) for problem in _problems_of(error)]
        return None


def _problems_of(error: RungError) -> list[str]:
    return getattr(error, "problems", [str(error)])


def _by_path(problem: str, options: Mapping[str, Any]) -> str:
    """A task's sentence, beginning with the path of the setting it is about where that can be told."""
    name, colon, rest = problem.partition(": ")
    if colon and name == "task":
        return f"task.name: {rest}"
    if colon and name.isidentifier():
        return f"task.{problem}"
    named = sorted((problem.find(f"'{option}'"), option) for option in options if f"'{option}'" in problem)
    return f"task.{named[0][1]}: {problem}" if named else problem


def _network(reading: Reading[Any], task: AnyTask | None, more: list[str]) -> ModelShape | None:
    """What is trained; None with a problem where it cannot be, or while the settings have problems."""
    model, settings = reading.tree.at("model"), reading.settings
    if model is None or not isinstance(model.value, str) or not model.value:
        return None
    in_environment = task is not None and not hasattr(task, "train")
    if in_environment and model.value == SMALL:
        method = None if settings is None else settings.resolved_method()
        return None if method is None else kind_for(settings, method).size(settings, method, task)
    if not in_environment and model.value != SMALL:
        return _language_model("model", reading, task, more)
    problem = "model: got 'small', which acts in environments only; choose a language model"
    if in_environment:
        what = f"got '{model.value}', but '{task.name}' is an environment, which a small network acts in"
        problem = f"model: {what}; leave model out, or set it to {SMALL}"
    more += [] if task is None else [placed(problem, reading.tree)]
    return None


def _language_model(key: str, reading: Reading[Any], task: AnyTask | None, more: list[str]) -> ModelShape | None:
    """The network of the language model that `model` or `teacher` names; None with a problem where there is none."""
    named = reading.tree.at(key)
    if named is None or not isinstance(named.value, str) or not named.value:
        return None
    if named.value == "tiny":
        return tiny_shape(getattr(task, "characters", None))
    try:
        return shape_of(named.value)
    except RungError as error:
        more += [placed(f"{key}:{problem.removeprefix('model:')}", reading.tree) for problem in _problems_of(error)]
        return None


def _wrong_rewards(settings: Settings) -> Iterator[str]:
    """What is wrong with the files and functions of the user's rewards; none of them is run."""
    for index, part in enumerate(settings.rewards):
        if part.function == TASKS_OWN or part.function.startswith(GIVEN):
            continue
        if Path(part.function).is_dir():
            try:
                learned_rewards(part.function, part.part)
            except (SettingsError, DataError) as error:
                yield from (f"rewards.{index}.function: {problem.split(': ', 1)[1]}" for problem in error.problems)
            continue
        try:
            split_source(part.function)
        except SettingsError as error:
            for problem in error.problems:
                yield f"rewards.{index}.function: {problem.removeprefix('reward: ')}"


def _missing_here(settings: Settings) -> Iterator[str]:
    """What this machine lacks: a device, a tracker's package, the one for LoRA."""
    try:
        name = settings.learner.device
        device = None if name is None else torch.device(name)
        if device is not None and device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            yield f"learner.device: got '{name}', but torch sees {torch.cuda.device_count()} GPUs here"
    except RuntimeError:
        yield f"learner.device: got '{name}', expected cpu, cuda or cuda:1"
    try:
        require_tracker(settings.reporting.tracker)
    except MissingExtra as error:
        yield f"reporting.tracker: {error}"
    if settings.lora is not None and find_spec("peft") is None:
        yield f"lora: {MissingExtra('LoRA', 'lora')}"


def _wrong_task(settings: Settings, task: AnyTask | None) -> Iterator[str]:
    """What a task lacks that these settings need of it."""
    try:
        accuracy_of(settings.rewards, _own_rewards(task), settings.rewarding.accuracy)
    except SettingsError as error:
        yield from error.problems
    if task is None:
        return
    method = settings.resolved_method()
    kind = kind_for(settings, method)
    yield from kind.task_problems(settings, method, task)
    if kind.stored_pairs:
        return
    if not hasattr(task, "train"):
        if settings.rewards:
            yield f"rewards: '{settings.task.name}' is an environment, which gives its own reward; leave rewards out"
        return
    name = settings.task.name
    if not len(task.train):
        yield f"task.name: '{name}' has no train items"
    if not task.rewards and not settings.rewards:
        yield f"rewards: the task '{name}' has none of its own; give one by --reward"
    if settings.model == "tiny" and not len(task.examples) and task.plays is None:
        yield (
            f"model: 'tiny' is first taught by the task's worked examples, and '{name}' has none "
            "(rows need a `completion` column for that); choose another model or task"
        )


def _usable(
    reading: Reading[Any], task: AnyTask | None, network: ModelShape | None, own: OwnCode, more: list[str]
) -> Usable[Any] | None:
    """The task's rows that the model can take; None where it reads none, or there are problems already."""
    settings = reading.settings
    if settings is None or task is None or network is None or more:
        return None
    try:
        kind = kind_for(settings, settings.resolved_method())
        return usable_in_run(settings, kind, task, handed(objects=own.objects))
    except RungError as error:
        more += [placed(problem, reading.tree) for problem in _problems_of(error)]
        return None


def _facts(task: AnyTask, settings: Settings, longest: int) -> TaskFacts:
    if not hasattr(task, "train"):
        return TaskFacts(train_items=0, held_out_items=settings.evaluation.num_items, prompt_tokens=1, environment=True)
    return TaskFacts(
        train_items=len(task.train),
        held_out_items=len(task.held_out),
        prompt_tokens=longest,
        own_rewards=_own_rewards(task),
    )


def _own_rewards(task: AnyTask | None) -> tuple[str, ...]:
    return tuple(part.reward.name for part in getattr(task, "rewards", ()))


def free_memory(device: str | None) -> int | None:
    """Bytes that are free where the run will be: on the GPU when there is one, else in the machine. None: not known."""
    if (device is None or device.startswith("cuda")) and torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    if device is not None and device != "cpu":
        return None
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
