"""Settings read for a run: with the recipes that kinds of methods bring, and with what cannot go together.

>>> read_run(flags={"model": "tiny", "method": "grpo", "task": "arithmetic"}, sets=["steps=5"]).recipe
'tiny'
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from rung.errors import SettingsError
from rung.settings import Settings, load
from rung.trainers import choose

read_run = partial(load.read_run, kinds=choose)
settings_of = partial(load.settings_of, kinds=choose)
read_changes = partial(load.read_changes, kinds=choose)


def settings_from(data: Mapping[str, Any]) -> Settings:
    """Settings from plain nested data; SettingsError with every problem, and with what cannot go together."""
    settings = load.settings_from(data)
    if problems := list(choose.problems(settings, settings.resolved_method())):
        raise SettingsError(problems)
    return settings
