"""A run's settings: their shape, their layers, and every problem in them at once.

    section.py         what every group of settings is: frozen, closed, wrong values in our words; `2M` as a number
    method.py          a method's name and what differs from its definition
    schema.py          every setting with its type, range, default and a sentence
    load.py            layers to settings: recipe < file < flags < --set; the same from Python
    given.py           values that remember where they were written, and what reading them gives
    yaml_text.py, command_line.py    the texts that layers are read from
    layers.py          files and recipes, laid over each other
    method_layers.py   the same for a method's slots, over the method's own definition
    definitions.py     the definition below them: rung's own, or one that was handed in
    objects.py         what is handed in from Python, and the name that stands for it in settings
    former.py, elsewhere.py    former names, and those of other libraries
    paths.py           what a relative path is relative to
    validate.py        layers to settings, or to everything that is wrong with them
    messages.py        what is wrong, in sentences
    listing.py         every setting as a table, for `rung settings` and docs/settings.md

>>> settings = Settings(model="tiny", method="grpo", task="arithmetic", steps=20)
>>> Settings.model_validate(settings.as_data()) == settings
True
"""

from __future__ import annotations

from rung.settings.given import Reading
from rung.settings.load import read_eval, read_pairs, read_settings, read_sft, settings_from, with_whole_paths
from rung.settings.method import MethodSettings
from rung.settings.schema import (
    BudgetSettings,
    EvalSettings,
    EvaluationSettings,
    LearnerSettings,
    LoraSettings,
    NetworkSettings,
    PairsSettings,
    ReportingSettings,
    RewardingSettings,
    RewardSettings,
    SamplerSettings,
    SavingSettings,
    Settings,
    SFTSettings,
    TaskSettings,
)
from rung.settings.section import Section
from rung.settings.yaml_text import write_yaml


def to_yaml(settings: Section) -> str:
    """Every key of the settings as YAML; equal settings give equal bytes, and `read_settings` gives them back."""
    return write_yaml(settings.as_data())


__all__ = [
    "BudgetSettings",
    "EvalSettings",
    "EvaluationSettings",
    "LearnerSettings",
    "LoraSettings",
    "MethodSettings",
    "NetworkSettings",
    "PairsSettings",
    "Reading",
    "ReportingSettings",
    "RewardSettings",
    "RewardingSettings",
    "SFTSettings",
    "SamplerSettings",
    "SavingSettings",
    "Section",
    "Settings",
    "TaskSettings",
    "read_eval",
    "read_pairs",
    "read_settings",
    "read_sft",
    "settings_from",
    "to_yaml",
    "with_whole_paths",
]
