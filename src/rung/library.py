"""The library's calls: train, resume, evaluate and compare from Python, with objects or names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rung.errors import SettingsError
from rung.lab.labels.people import people
from rung.lab.saved_run import SavedRun
from rung.lab.watching import watching
from rung.runs import run
from rung.runs.evaluate import Evaluation
from rung.runs.folder import new_folder
from rung.runs.observers import Observer
from rung.settings import Settings
from rung.settings.load import ADAPTED
from rung.settings.objects import Objects, taken_apart
from rung.tasks.own_environment import commands_typed, import_named
from rung.trainers import choose
from rung.trainers.handed import MakesLabeller
from rung.trainers.reading import settings_of
from rung.trainers.trainer import Trainer
from rung.whole_files import storage_in_words

Parts = Sequence[type[Any]]


@storage_in_words()
def train(
    settings: Settings | None = None,
    folder: str | Path | None = None,
    *,
    out: str | Path | None = None,
    recipe: str | None = None,
    parts: Parts = (),
    labeller: MakesLabeller = people,
    observers: Sequence[Observer] | None = None,
    quiet: bool = False,
    plan: Sequence[str] = (),
    shared: str | Path | None = None,
    **keywords: Any,
) -> SavedRun:
    """Trains in a new folder.

    Every setting is a keyword (`rung settings` lists them): a name, a number, or an object. A method is a name or
    `DAPO.changed(...)`; a task is a name, a task, an environment or a function that makes one; a model is a name or
    `(model, tokenizer)`; rewards are Python functions, `file.py:function` or folders of reward models. What the command
    line applies, such as a recipe for the model, is applied here too.

    Args:
        settings: a whole Settings, over which the keywords lie; no recipe is laid under it.
        folder, out: the run's folder, by either name; None: the next free `runs/METHOD-TASK-N`.
        recipe: settings that go together, by name; None: those that the method, model and task bring; `none`: none.
        parts: classes of your own parts that the settings speak of by name.
        labeller: makes who answers where the settings ask for people; None of it is used elsewhere.
        observers: look at the run and take no part; None: warnings, and the page at its end.
        quiet: print warnings and the end only.
        plan: lines that are printed first; none: what was adapted to the run's sizes, and doubts about its environment.
        shared: a folder in which runs share what they draw alike.

    Returns the run: `run.score`, `run.metrics()`, `run.samples(step=2)`, `run.policy()`.

    Raises:
        SettingsError: with every problem at once, before anything is loaded.

    Example:

        run = train(model="tiny", method="grpo", task="arithmetic", steps=50, out="runs/first")
    """
    asked, objects, said = _asked(settings, keywords, recipe, parts)
    hands = run.handed(labeller, objects)
    at = Path(folder or out or new_folder(asked.resolved_method().name, asked.task))
    ended = run.train(
        asked,
        at,
        quiet=quiet,
        plan=plan or [*said, *choose.notes(asked, hands)],
        shared=shared and Path(shared),
        observers=_usual if observers is None else observers,
        hands=hands,
    )
    return SavedRun(at, ended, parts=asked.method.parts, task=keywords.get("task"))


@storage_in_words()
def resume(
    folder: str | Path,
    changes: Mapping[str, Any] | None = None,
    *,
    parts: Parts = (),
    labeller: MakesLabeller = people,
    observers: Sequence[Observer] | None = None,
    quiet: bool = False,
    shared: str | Path | None = None,
    **objects: Any,
) -> SavedRun:
    """Goes on with a run as if it had never stopped.

    Args:
        changes: `steps`, `budget`, `evaluation.every`, `saving` and `reporting` may be set anew, by dotted keys.
        parts: classes of the user's own parts, which the run's settings name.
        objects: `model`, `teacher`, `task`, `tools`, `sampler` and `rewards` where the run began with objects;
            settings.yaml names them.

    Example: `resume("runs/mine", parts=[MyAdvantage], rewards=[short])`.
    """
    at = Path(folder)
    _only_objects(objects)
    commands_typed(objects.get("tools") or ())
    _, given = taken_apart(objects, parts)
    ended = run.resume(
        at,
        changes,
        parts=parts,
        quiet=quiet,
        shared=shared and Path(shared),
        observers=_usual if observers is None else observers,
        hands=run.handed(labeller, given),
    )
    return SavedRun(at, ended, parts=parts, task=objects.get("task"))


@storage_in_words()
def trainer(
    settings: Settings | None = None,
    *,
    recipe: str | None = None,
    parts: Parts = (),
    labeller: MakesLabeller = people,
    folder: str | Path | None = None,
    shared: str | Path | None = None,
    **keywords: Any,
) -> Trainer:
    """A trainer for a loop of your own. Takes what `train` takes; writes nothing by itself.

    Example:

        trainer = rung.trainer(model="tiny", method="grpo", task="arithmetic")
        step = trainer.step()         # step.metrics, step.loss, step.batch, step.episodes
        trainer.evaluate().mean       # the held-out score
        trainer.save("model")         # a Hugging Face folder
    """
    asked, objects, _ = _asked(settings, keywords, recipe, parts)
    return choose.build(asked, run.handed(labeller, objects), folder and Path(folder), shared and Path(shared))


@storage_in_words()
def evaluate(
    model: Any,
    task: Any = None,
    *,
    k: int | None = None,
    items: int | None = None,
    temperature: float | None = None,
    max_new_tokens: int | None = None,
    seed: int | None = None,
    split: str | None = None,
    base: Any = None,
    rewards: Sequence[Any] = (),
    accuracy: Any = None,
    tools: Sequence[Any] = (),
    step: int | None = None,
    parts: Parts = (),
) -> Evaluation:
    """Scores a model, or a run, on held-out items: mean@k, pass@k, maj@k with intervals, paired with a base.

    Args:
        model: a run (`SavedRun` or its folder), a model's name or folder, or `(model, tokenizer)`.
        task: a name, a task or an environment; None: the run's own.
        tools: what the model may call, where the run had tools.
        k: completions an item.
        base: what it is compared with on the same items and random numbers.
        rewards: functions, `file.py:function` or folders of reward models; none: the run's, else the task's own.
        accuracy: the reward that is the score, by its name or as the function itself; None: as the run's.
        step: of a run: its checkpoint of that step.

    Example: `evaluate("runs/first", k=8, base="tiny").mean_at_k.value`.
    """
    from rung.runs.evaluate import evaluated
    from rung.settings.objects import reward_name

    wanted = {"k": k, "items": items, "temperature": temperature, "max_new_tokens": max_new_tokens}
    wanted |= {"seed": seed, "split": split}
    wanted["rewarding"] = None if accuracy is None else {"accuracy": reward_name(accuracy)}
    given = {key: value for key, value in wanted.items() if value is not None}
    where = model.folder if isinstance(model, SavedRun) else model
    below = base.folder if isinstance(base, SavedRun) else base
    import_named(_name_in({"task": task}))
    return evaluated(where, task, base=below, rewards=list(rewards), tools=tools, step=step, parts=parts, **given)


@storage_in_words()
def compare(
    methods: Sequence[Any],
    *,
    budget: Mapping[str, Any],
    seeds: int = 3,
    out: str | Path | None = None,
    jobs: int | None = None,
    recipe: str | None = None,
    parts: Parts = (),
    say: Callable[[str], None] = print,
    **keywords: Any,
) -> dict[str, Any]:
    """Compares methods on one task: the same prompts, held-out items and budget, several seeds.

    Args:
        methods: names, or methods such as `GRPO.changed(name="mine", ...)`.
        budget: one limit, such as `{"tokens": "2M"}`.
        out: the folder; the same call with it goes on where it stopped. None: the next free `runs/compare-TASK-N`.
        jobs: runs at a time. With objects that settings cannot hold the runs are made here, one after another.
        say: told what happens, a line at a time.
        keywords: settings that all methods share, as `train` takes them.

    Returns what comparison.json holds: `data["methods"]` with scores and intervals, the verdict in words in
    `data["verdict"]["headline"]`.

    Example: `compare(["grpo", MINE], model="tiny", task="arithmetic", budget={"tokens": "40K"}, seeds=3)`.
    """
    from rung.lab.compare.plan import comparison_from, jobs_for
    from rung.lab.compare.results import compare as compared

    import_named(_name_in(keywords))
    asked = comparison_from(methods, budget=budget, seeds=seeds, recipe=recipe, parts=parts, keywords=keywords)
    folder = Path(out or new_folder("compare", next(iter(asked.settings.values())).task))
    data, _ = compared(asked, folder, jobs=jobs_for(asked, jobs), say=say)
    return data


@storage_in_words()
def open(folder: str | Path, *, parts: Parts = ()) -> SavedRun:
    """A run's folder, opened: metrics, samples, score, policy."""
    return SavedRun(folder, parts=parts)


def _asked(
    settings: Settings | None, keywords: Mapping[str, Any], recipe: str | None, parts: Parts
) -> tuple[Settings, Objects, list[str]]:
    """The settings of a call, the objects in it, and what was adapted to the run's sizes."""
    if settings is not None and not isinstance(settings, Settings):
        raise SettingsError([f"settings: got {type(settings).__name__}, expected rung.Settings, or keywords alone"])
    _, objects = taken_apart(keywords, parts)
    import_named(_name_in(keywords))
    commands_typed(keywords.get("tools") or ())
    if settings is not None and not keywords:
        return settings, objects, []
    whole = dict(keywords) if settings is None else {"settings": settings, **keywords}
    reading = settings_of(whole, recipe, parts=parts)
    return reading.required(), objects, [note for note in reading.notes if note.startswith(ADAPTED)]


def _name_in(keywords: Mapping[str, Any]) -> Any:
    """The name of the task that a call gives."""
    task = keywords.get("task")
    return task.get("name") if isinstance(task, Mapping) else task


def _usual(settings: Settings) -> Sequence[Observer]:
    return watching(page=settings.reporting.page)


def _only_objects(keywords: Mapping[str, Any]) -> None:
    wrong = [key for key in keywords if key not in ("model", "teacher", "task", "tools", "sampler", "rewards")]
    if wrong:
        raise SettingsError(
            f"{key}: a resumed run keeps its settings; give changes={{'{key}': ...}}, or an object as model, teacher, "
            "task, tools, sampler or rewards"
            for key in wrong
        )
