"""The kind of a method: the one place that tells kinds apart."""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rung.errors import SettingsError
from rung.faults import fault_point
from rung.methods import METHODS, AdaptiveElements, Method, PolicyGradient, PreferenceLearning, ValueLearning
from rung.settings import Settings
from rung.settings.objects import GIVEN
from rung.settings.schema import SAMPLES
from rung.tasks.cart_pole import NAME as CART_POLE
from rung.tasks.environment import looks_like_environment
from rung.trainers.engine import engine_fits
from rung.trainers.fits import budget_fits, not_for_several, rewards_fit
from rung.trainers.gate import Start, gate
from rung.trainers.handed import Handed
from rung.trainers.kind import Kind, Setup
from rung.trainers.policy_gradient.adapted import Adapted
from rung.trainers.ranks import Ranks
from rung.trainers.trainer import Trainer
from rung.trainers.usable_rows import usable_in_run


def kind_of(method: Method, *, environment: bool = False, draws_pairs: bool = False) -> Kind:
    """The kind of a method on a task that is an environment or a text, with pairs of its own or from a file."""
    from rung.trainers.boxes_1983.kind import Boxes
    from rung.trainers.policy_gradient.on_environments import OnEnvironments
    from rung.trainers.policy_gradient.on_text import OnText
    from rung.trainers.preferences.kind import DrawnPairs, RewardModelling, StoredPairs
    from rung.trainers.q_learning.kind import OfActions, OfTokens
    from rung.trainers.rlhf_2017.kind import LearnedRewards

    match method:
        case PolicyGradient(learned_reward=None):
            return OnEnvironments() if environment else OnText()
        case PolicyGradient():
            return LearnedRewards()
        case ValueLearning():
            return OfActions() if environment else OfTokens()
        case PreferenceLearning():
            if draws_pairs:
                return DrawnPairs()
            return StoredPairs() if method.trains_policy() else RewardModelling()
        case AdaptiveElements():
            return Boxes()
        case _:
            return _own(method)


def _own(method: Any) -> Kind:
    """The kind that a method from outside brings along."""
    kind = getattr(method, "kind", None)
    if callable(kind):
        return kind()
    raise SettingsError(
        [
            f"method: got a {type(method).__name__}, which is no kind of method that rung has and brings none; give it "
            "a function `kind()` that returns a rung.trainers.kind.Kind"
        ]
    )


def kind_for(settings: Settings, method: Method) -> Kind:
    """The kind of a run's method."""
    return kind_of(
        method,
        environment=is_environment(settings.model, settings.task.name),
        draws_pairs=settings.pairs.source == SAMPLES,
    )


def is_environment(model: str, task: str) -> bool:
    """Whether a small network acts in an environment, by the names of model and task."""
    return model == "small" or task == CART_POLE or looks_like_environment(task)


def recipe_for(method: Method | None, *, model: str | None, task: str | None, draws_pairs: bool) -> str | None:
    """The recipe that a method, a model and a task bring by themselves."""
    model, task = model or "", task or ""
    environment = is_environment("", task)
    if method is None:
        if environment:
            return "trials" if task == CART_POLE else "environment_episodes"
        return "tiny" if model == "tiny" else None
    if task == CART_POLE:
        return "trials"
    kind = kind_of(method, environment=environment, draws_pairs=draws_pairs)
    return kind.recipe(method, model=model, task=task) or ("environment_episodes" if environment else None)


def adapted(settings: Settings, method: Method, written: Container[str]) -> Iterator[Adapted]:
    """Numbers of the method's definition that cannot work at these sizes, with what takes their place."""
    return kind_for(settings, method).adapted(settings, method, written)


def problems(settings: Settings, method: Method | None) -> Iterator[str]:
    """Settings that are each valid and cannot go together; each sentence begins with the setting to change.

    `method` None: it has problems of its own.
    """
    environment = is_environment(settings.model, settings.task.name)
    yield from rewards_fit(settings)
    yield from budget_fits(settings, environment=environment)
    if method is None:
        return
    kind = kind_for(settings, method)
    yield from kind.problems(settings, method)
    yield from engine_fits(settings, method, draws=kind.engine_draws)
    if settings.learner.processes > 1:
        wrong = (*not_for_several(settings), *kind.alone(settings, method))
        yield from (f"learner.processes: got {settings.learner.processes}, but {one}; set 1" for one in wrong)
    if settings.task.name == CART_POLE and not kind.draws_pairs and not hasattr(method, "tables"):
        boxed = ", ".join(name for name, one in METHODS.items() if hasattr(one, "tables"))
        yield (
            f"task.name: got '{CART_POLE}', whose boxes only {boxed} learn in; for '{method.name}' there is CartPole-v1"
        )


def task_of(settings: Settings, kind: Kind, handed: Handed) -> Any:
    """A run's task: the one that was handed in, or the one that the kind loads by its name."""
    given = settings.task.name.startswith(GIVEN)
    task = handed.task(settings.task, settings.seed) if given else kind.load_task(settings)
    return handed.over_turns(task, settings.tools, settings.turns)


def notes(settings: Settings, handed: Handed) -> Sequence[str]:
    """What is to be said of a run's environment before it; nothing of a text task."""
    kind = kind_for(settings, settings.resolved_method())
    return getattr(task_of(settings, kind, handed), "notes", tuple)() if kind.environment else ()


def build(settings: Settings, handed: Handed, folder: Path | None = None, shared: Path | None = None) -> Trainer:
    """The trainer of these settings, through the gate. Nothing is trained and nothing written yet.

    `folder` is the run's, `shared` the one in which runs share what they draw alike; a run that draws its pairs writes
    them there.
    """
    trainer, task = built(settings, handed, folder, shared)
    try:
        policy = getattr(trainer, "policy", None)
        trainer.notes = gate(Start(policy=policy, task=task, settings=settings, judges=trainer.judge_a_few))
    except BaseException:
        trainer.close()
        raise
    fault_point("load.done")
    return trainer


def built(
    settings: Settings, handed: Handed, folder: Path | None = None, shared: Path | None = None
) -> tuple[Trainer, Any]:
    """The trainer of these settings and its task, before the gate: for who only wants its weights."""
    from rung.trainers import inputs
    from rung.trainers.build import limit_threads, place_of

    limit_threads(settings.learner)
    method = settings.resolved_method()
    kind = kind_for(settings, method)
    if wrong := list(problems(settings, method)):
        raise SettingsError(wrong)
    task = task_of(settings, kind, handed)
    if wrong := list(kind.misfits(method, task)):
        raise SettingsError(wrong)
    if (found := usable_in_run(settings, kind, task, handed)) is not None:
        task = found.task
        for note in found.notes:
            warnings.warn(note, UserWarning, stacklevel=2)
    setup = Setup(settings=settings, method=method, task=task, handed=handed, folder=folder, shared=shared)
    setup.inputs.update(inputs.of_engine(settings))
    setup.inputs.update(inputs.of_task(settings.task.name, task) | inputs.of_rewards(settings, handed))
    setup.inputs.update(inputs.of_objects(handed.objects, settings.method.parts))
    setup.inputs.update(inputs.of_files([settings.task.name, *settings.tools]))
    if settings.learner.processes > 1:
        from rung.trainers.team import Lead

        setup = replace(setup, ranks=Lead(settings, model=place_of(settings.model, setup)))
    try:
        with setup.ranks.waiting("to load the model"):
            trainer = kind.build(setup)
    except BaseException:
        setup.ranks.close()
        raise
    trainer.inputs = setup.inputs
    return trainer, task


def follower(settings: Settings, ranks: Ranks) -> Trainer:
    """The trainer of a process that another one leads, which has task, rewards and record."""
    from rung.trainers.build import limit_threads

    limit_threads(settings.learner)
    method = settings.resolved_method()

    def nothing(*_: Any) -> Path:
        raise AssertionError("the model's place was told")

    kind, handed = kind_for(settings, method), Handed(tiny=nothing)
    return kind.build(Setup(settings=settings, method=method, task=None, handed=handed, ranks=ranks))
