"""What a run is built with that is made in rooms above the trainers: the tiny model, and people who label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rung.settings import TaskSettings
from rung.settings.schema import PreferenceSettings
from rung.tasks.environment import EnvironmentTask
from rung.trainers.rlhf_2017.labellers import Labeller

MakesLabeller = Callable[[PreferenceSettings, EnvironmentTask, int], Labeller]
"""Makes the people who label segments of a task, from the settings of preferences, the task and the run's seed."""


@dataclass(frozen=True, kw_only=True)
class Handed:
    """What a run is built with that stands in rooms above this one."""

    tiny: Callable[[TaskSettings], Path]
    """The folder of the tiny model for a task."""
    people: MakesLabeller | None = None
    """Who labels where the settings ask for people; None: nobody is there."""
