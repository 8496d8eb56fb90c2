"""What a run will do and need, before it does: `rung check` prints it, and so does the start of `rung train`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rung.errors import SettingsError
from rung.methods import Method
from rung.methods.data import as_data
from rung.methods.explain import card
from rung.settings import TaskSettings
from rung.settings.given import Reading, leaves, placed, plain
from rung.settings.objects import GIVEN
from rung.settings.schema import Section, Settings
from rung.tasks.task import TextTask
from rung.trainers.choose import build, is_environment, kind_for
from rung.trainers.engine import EnginePlan, engine_plan
from rung.trainers.fits import accuracy_doubts, accuracy_of
from rung.trainers.handed import Handed
from rung.trainers.kind import Kind
from rung.trainers.memory import Memory, has_copy, memory_of, trained_parameters
from rung.trainers.ranks import on_gpu
from rung.trainers.shares import sends
from rung.trainers.units import Units, count

if TYPE_CHECKING:
    from rung.models.language.size import ModelShape


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """What the plan needs to know of the task.

    Example: `TaskFacts(train_items=20_000, held_out_items=400, prompt_tokens=8)`.
    """

    train_items: int
    held_out_items: int
    prompt_tokens: int
    """How many tokens the longest prompt has."""
    own_rewards: tuple[str, ...] = ()
    """Names of the task's own rewards."""
    environment: bool = False
    """An environment: there are steps and episodes in place of tokens and prompts."""


@dataclass(frozen=True)
class Written:
    """One setting that somebody wrote.

    Example: `Written("steps", 25, "recipe demo:4", 100)`.
    """

    key: str
    value: Any
    place: str
    default: Any
    """What it would be otherwise; None also where there is no default."""
    whose: str
    """`default`, or `grpo's default` for a slot of a method; empty where there is none."""

    def words(self) -> str:
        value, default = shown(self.value), shown(self.default)
        return f"{self.key} = {value}" + (f" ({self.whose}: {default})" if self.whose else "")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a run's settings mean, worked out."""

    settings: Settings
    method: Method
    kind: Kind
    units: Units
    network: ModelShape
    task: TaskFacts
    memory: Memory
    engine: EnginePlan | None
    """The engine that draws; None: the learner's own process does."""
    free_bytes: int | None
    """What the machine has; None: not known."""
    written: tuple[Written, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def evaluations(self) -> int:
        """How often the held-out items are answered: at the start, every so many steps, at the end."""
        steps, every = self.settings.steps, self.settings.evaluation.every
        if steps == 0:
            return 1
        return 2 + ((steps - 1) // every if every else 0)

    @property
    def evaluation_items(self) -> int:
        return min(self.settings.evaluation.num_items, self.task.held_out_items)

    @property
    def evaluation_tokens(self) -> int:
        """New tokens of one evaluation, at most."""
        return self.evaluation_items * self.settings.evaluation.num_samples * self.settings.max_new_tokens

    @property
    def trained(self) -> int:
        """How many weights are trained."""
        return trained_parameters(self.settings, self.network)

    @property
    def keeps_copy(self) -> bool:
        """Whether a frozen copy of the start is kept beside the model."""
        return has_copy(self.settings, self.method, self.kind)

    @property
    def keeps_target(self) -> bool:
        """Whether an older copy of a language model makes the targets."""
        return self.kind.values and self.kind.frozen_copies(self.settings, self.method) > 0

    def as_data(self) -> dict[str, Any]:
        """The plan as JSON-like data: what `rung check --json` prints."""
        settings = self.settings
        return {
            "method": card(self.method),
            "step": dict(self.units.data),
            "run": {
                "steps": settings.steps,
                "new_tokens_at_most": settings.steps * self.units.new_tokens,
                "prompts": settings.steps * self.units.items,
                "train_items": self.task.train_items,
            },
            "evaluation": {
                "times": self.evaluations,
                "items": self.evaluation_items,
                "samples": settings.evaluation.num_samples,
                "temperature": settings.evaluation.temperature,
                "new_tokens_at_most": self.evaluation_tokens,
            },
            "weights": {
                "all": self.network.parameters,
                "trained": self.trained,
                "frozen": 0 if settings.lora is None else self.network.parameters,
                "frozen_copy_of_the_start": self.keeps_copy,
                "counted": self.network.counted,
            },
            "memory_bytes": {**self.memory.parts, "total": self.memory.total},
            "engine": None if self.engine is None else self.engine.as_data(),
            "sends_bytes": vars(sends(settings, self.network)),
            "settings": settings.as_data(),
            "written": [vars(one) for one in self.written],
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


def make_plan(
    reading: Reading[Settings],
    network: ModelShape,
    task: TaskFacts,
    *,
    teacher: ModelShape | None = None,
    free_bytes: int | None = None,
    notes: Sequence[str] = (),
) -> Plan:
    """The plan. `free_bytes`: what the machine has, to compare with; `notes`: what was seen in the task's data;
    `teacher`: the model that is learnt from beside the one that is trained.

    SettingsError when the settings do not fit the model.
    """
    settings = reading.required()
    method = settings.resolved_method()
    kind = kind_for(settings, method)
    problems = [placed(problem, reading.tree) for problem in _misfits(settings, kind, network)]
    if problems:
        raise SettingsError(problems)
    units = kind.units(settings, method)
    memory = memory_of(
        settings,
        method,
        kind,
        network,
        episodes=units.episodes,
        prompt_tokens=task.prompt_tokens,
        teacher=teacher,
    )
    warnings = [*kind.doubts(settings, method), *_warnings(settings, units, task)]
    if not task.environment and not kind.stored_pairs:
        warnings += accuracy_doubts(settings, task.own_rewards)
    together = 1 if on_gpu(settings.learner) else settings.learner.processes  # processes on a CPU share its memory
    if free_bytes is not None and network.unknown is None and memory.total * together > free_bytes:
        warnings.append(
            f"memory: about {memory.gib * together:.1f} GiB are needed and {free_bytes / 2**30:.1f} GiB are free; "
            "lower learner.micro_batch_tokens or sampler.rows_at_once, or set learner.checkpoint_activations or lora"
        )
    return Plan(
        settings=settings,
        method=method,
        kind=kind,
        units=units,
        network=network,
        task=task,
        memory=memory,
        engine=engine_plan(
            settings,
            network,
            trained=trained_parameters(settings, network),
            items=units.items,
            new_tokens=units.new_tokens,
            prompt_tokens=task.prompt_tokens,
        ),
        free_bytes=free_bytes,
        written=tuple(written(reading)),
        notes=(*reading.notes, *notes),
        warnings=tuple(warnings),
    )


def written(reading: Reading[Settings]) -> Iterator[Written]:
    """Every setting that somebody wrote, with its place and its default."""
    settings = reading.required()
    method = as_data(settings.method.definition())
    for key, value in leaves(reading.tree):
        if value.origin is None:
            continue
        within = key.partition(".")[2]
        if key.startswith("method.") and key != "method.name":
            default, whose = _inside(method, within), f"{settings.method.name}'s default"
        else:
            has_one = not key.startswith(("model", "task", "method"))
            default, whose = (_default(key), "default") if has_one else (None, "")
        yield Written(key, plain(value), value.origin.place, default, whose)


def _misfits(settings: Settings, kind: Kind, network: ModelShape) -> Iterator[str]:
    context = network.context_length
    if not kind.stored_pairs and context is not None and settings.max_new_tokens >= context:
        yield (
            f"max_new_tokens: got {settings.max_new_tokens}, but the model's context of {context} tokens holds prompt "
            "and completion together"
        )
    targets = settings.lora.targets if settings.lora is not None else None
    for name in targets or ():
        if network.counted and name not in network.linear:
            valid = ", ".join(sorted(network.linear))
            yield f"lora.targets: got '{name}', expected linear layers of this model: {valid}"
    if settings.lora is not None and network.counted and not targets and not network.usual_targets:
        yield "lora: this model has no layer that a LoRA would change; leave lora out"


def _warnings(settings: Settings, units: Units, task: TaskFacts) -> Iterator[str]:
    if settings.evaluation.num_items > task.held_out_items:
        wanted = settings.evaluation.num_items
        yield f"evaluation.num_items: {wanted} wanted, the task has {task.held_out_items} held-out items"
    if units.items > task.train_items and not task.environment:
        name = "prompts_per_step" if units.episodes else "method.pairs_per_step"
        yield f"{name}: {units.items} are more than the task's {task.train_items} train items; a step holds some twice"


def _inside(data: Any, path: str) -> Any:
    for key in path.split("."):
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _default(key: str) -> Any:
    """A setting's default by its dotted key; None where a section as a whole is none."""
    found: Any = None
    fields: Any = Settings.model_fields
    for name in key.split("."):
        if fields is None or name not in fields:
            return None
        found = fields[name].default
        fields = type(found).model_fields if isinstance(found, Section) else None
    return found


def shown(value: Any) -> str:
    """A value in one line, as YAML writes it, nested data shortened.

    >>> shown(None), shown(1e-06), shown(True), shown("a"), shown([1, 2])
    ('null', '1e-06', 'true', 'a', '[1, 2]')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key}: {shown(inner)}" for key, inner in value.items())
        return f"{{{inside}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(shown(inner) for inner in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def checked(plan: Plan, handed: Handed) -> Plan:
    """The plan with what the gate says. SettingsError or DataError with what must not begin.

    A model that is not on this machine, or does not fit into its memory, is not loaded; the plan then says so.
    """
    return replace(plan, notes=(*plan.notes, *(_not_loaded(plan) or gated(plan.settings, handed))))


def gated(settings: Settings, handed: Handed) -> tuple[str, ...]:
    """What the gate says of a run with these settings; the tiny model stands there untrained."""
    if is_environment(settings.model, settings.task.name):
        return ()
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the rows: the plan has said it
        handed = replace(handed, tiny=lambda task, given: _untrained(task, given, Path(folder)))
        alone = settings.changed({"learner.processes": 1})  # what can be tried can be tried in one
        with closing(build(alone, handed)) as trainer:
            return trainer.notes


def _untrained(named: TaskSettings, given: TextTask | None, folder: Path) -> Path:
    """A tiny model of the task that has learnt nothing: what it can be tried with is there."""
    from rung.models.language.tiny import CHARACTERS, tiny_model
    from rung.tasks.load import load_text_task

    task = given or load_text_task(named.name, **named.options())
    tiny_model(0, characters=task.characters or CHARACTERS).save(folder)
    return folder


def _not_loaded(plan: Plan) -> tuple[str, ...]:
    """Why the model of a plan is not looked into, in a sentence; nothing where it is."""
    name = plan.settings.model
    needed = 4 * plan.network.parameters * (2 if plan.keeps_copy else 1)
    if plan.free_bytes is not None and needed > plan.free_bytes:
        return (f"model: {name} was not loaded for want of memory, so whether it runs and is saved is not known",)
    if name in ("tiny", "small") or name.startswith(GIVEN) or Path(name).expanduser().exists():
        return ()
    from huggingface_hub import try_to_load_from_cache

    files = ("model.safetensors", "model.safetensors.index.json")
    if any(isinstance(try_to_load_from_cache(name, file), str) for file in files):
        return ()
    return (f"model: {name} is not on this machine yet; whether it runs and is saved is tried when a run fetches it",)


def plan_lines(plan: Plan) -> list[str]:
    """The plan in the words of plan.jinja."""
    settings = plan.settings
    written: dict[str, list[Written]] = {}
    for one in plan.written:
        if one.key not in ("model", "method.name", "task.name"):
            written.setdefault(_source(one.place), []).append(one)
    whole_lines = {"trim_blocks": True, "lstrip_blocks": True}
    words = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, **whole_lines)
    words.filters |= {"count": count, "whole": "{:,}".format, "number": "{:g}".format}
    words.filters |= {"millions": millions, "size": size_in_words}
    limits = {
        axis: f"{most:,.0f}" if most < 10**12 else f"{most:.3g}" for axis, most in settings.budget.limits().items()
    }
    text = words.get_template("plan.jinja").render(
        plan=plan,
        budget=" or ".join(f"{most} {axis}" for axis, most in limits.items()),
        accuracy=accuracy_of(settings.rewards, plan.task.own_rewards, settings.rewarding.accuracy),
        sends=sends(settings, plan.network),
        memory=", ".join(f"{name} {size_in_words(size)}" for name, size in plan.memory.parts.items() if size),
        written=written,
    )
    return text.splitlines()


def _source(place: str) -> str:
    """`run.yaml` of `run.yaml:7`; all flags together."""
    if place.startswith("--") or place == "METHOD":
        return "the command line"
    name, colon, line = place.rpartition(":")
    return name if colon and line.isdigit() else place


def millions(count: int) -> str:
    """`39,168`, `134.5 million`, `1.2 billion`."""
    if count >= 10**9:
        return f"{count / 10**9:.1f} billion"
    return f"{count / 10**6:.1f} million" if count >= 10**6 else f"{count:,}"


def size_in_words(size: int) -> str:
    """`538 MiB`, `3.4 GiB`."""
    if size >= 2**30:
        return f"{size / 2**30:.1f} GiB"
    return f"{size / 2**20:.0f} MiB" if size >= 10 * 2**20 else f"{size / 2**20:.1f} MiB"
