"""What a run is built with beside its settings: objects from Python, the tiny model's maker, people who label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.errors import SettingsError
from rung.rollouts.sampling import Sampler
from rung.sandbox import require_sandbox
from rung.settings import Settings, TaskSettings
from rung.settings.objects import GIVEN, Objects
from rung.settings.schema import PreferenceSettings, TurnSettings
from rung.tasks.environment import EnvironmentTask, handed_environment
from rung.tasks.hosted import Host
from rung.tasks.own_environment import MCP, PYTHON, is_file_name, is_turn_environment, require_typed
from rung.tasks.task import TextTask
from rung.tasks.tools import MakesCallables, SandboxTools, with_tools
from rung.tasks.turns import turn_task
from rung.trainers.rlhf_2017.labellers import Labeller

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy

MakesLabeller = Callable[[PreferenceSettings, EnvironmentTask, int], Labeller]
"""Makes the people who label segments of a task, from the settings of preferences, the task and the run's seed."""


@dataclass(frozen=True, kw_only=True)
class Handed:
    """What a run is built with that its settings cannot hold."""

    tiny: Callable[[TaskSettings, TextTask | None], Path]
    """The folder of the tiny model for a task, from its settings and the task itself where that has no name."""
    people: MakesLabeller | None = None
    """Who labels where the settings ask for people; None: nobody is there."""
    objects: Objects = field(default_factory=Objects)
    """What was given from Python and stands in the settings as `given:NAME`."""

    def task(self, settings: TaskSettings, seed: int = 0) -> Any:
        """The task that stands as `given:NAME` in the settings."""
        objects, options = self.objects, settings.options()
        if objects.environment is None:
            options.pop("skip_bad_rows", None)  # of every text task, whoever made it
        if objects.environment is not None:
            return handed_environment(settings.name, objects.environment, **options)
        if objects.task is None:
            raise missing("task", settings.name, f"task={settings.name.removeprefix(GIVEN)}")
        if is_turn_environment(objects.task):
            return turn_task(settings.name.removeprefix(GIVEN), objects.task, seed=seed, **options)
        if isinstance(objects.task, type):
            return objects.task(**options)
        if options:
            raise SettingsError([f"task: {settings.name} is an object, which takes no options; got {sorted(options)}"])
        return objects.task

    def over_turns(self, task: Any, tools: Sequence[str], turns: TurnSettings) -> Any:
        """The task with these tools, each a file's name or `given:NAME`, and these bounds.

        Raises SettingsError: one was not handed in or cannot be a tool, or the task has no turns.
        """
        if not tools and turns == TurnSettings() and not (isinstance(task, TextTask) and task.plays is not None):
            return task
        if not isinstance(task, TextTask):
            raise SettingsError(f"tools: '{task.name}' is no text task, so nothing is said in it; leave tools out")
        named = [name.removeprefix(GIVEN) for name in tools if name.startswith(GIVEN)]
        for name in named:
            if name not in self.objects.tools:
                raise missing("tools", GIVEN + name, f"tools=[{name}]")
        files = [name for name in tools if is_file_name(name)]
        makes: list[MakesCallables] = [Host("tools", files, {}).episode] if files else []
        servers = [name.removeprefix(MCP) for name in tools if name.startswith(MCP)]
        for target in servers:
            require_typed(MCP + target)
        makes += [Host("mcp", (), {"target": target, "name": f"mcp:{target}"}).episode for target in servers]
        if PYTHON in tools:
            require_sandbox()
            makes.append(SandboxTools)
        task = with_tools(task, [self.objects.tools[name] for name in named], *makes) if tools else task
        if task.plays is None:
            key = "most" if turns.most is not None else "deadline_s"
            raise SettingsError(f"turns.{key}: '{task.name}' has one turn, as nothing answers; leave it out")
        here = [*([task.name] if is_turn_environment(self.objects.task) else []), *named]
        said = f"{', '.join(here)}: in this process, where a hang in C cannot be stopped; a FILE.py:NAME has its own"
        return replace(
            task,
            most_turns=turns.most or task.most_turns,
            plays=partial(task.plays, turns.deadline_s),
            said=(*task.said, *([said] if here else [])),
        )

    def model(self, spec: str, *, teacher: bool = False) -> Any:
        """The model, or the teacher, that stands as `given:NAME` in the settings."""
        found = self.objects.teacher if teacher else self.objects.model
        if found is None:
            key = "teacher" if teacher else "model"
            raise missing(key, spec, f"{key}=(model, tokenizer)")
        return found

    def sampler(self, settings: Settings, policy: TextPolicy) -> Sampler:
        """The sampler of a policy: the one that was handed in, or the learner's own process."""
        from rung.rollouts.sampler import InProcessSampler

        asked = settings.sampler
        if not asked.engine.startswith(GIVEN):
            return InProcessSampler(policy, rows_at_once=asked.rows_at_once)
        if self.objects.sampler is None:
            raise missing("sampler.engine", asked.engine, f"sampler={asked.engine.removeprefix(GIVEN)}")
        return self.objects.sampler(policy)

    def reward(self, text: str) -> Callable[..., Any]:
        """The function that stands as `given:NAME` in the settings."""
        name = text.removeprefix(GIVEN)
        if name not in self.objects.rewards:
            raise missing("rewards", text, f"rewards=[{name}]")
        return self.objects.rewards[name]


def missing(key: str, text: str, given: str) -> SettingsError:
    """The error for an object that the settings name and nobody handed in."""
    return SettingsError(
        [
            f"{key}: got '{text}', which stands for an object that was given from Python, and settings cannot hold it; "
            f"hand it in again: resume(folder, {given})"
        ]
    )
