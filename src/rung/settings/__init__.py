"""A run's settings: their shape, their layers, and every problem in them at once.

    schema.py          every setting with its type, range and default
    load.py            layers to settings: recipe < file < flags < --set
    given.py           values that remember where they were written
    counts.py          `2M` as a number
    yaml_text.py, toml_text.py, command_line.py, recipes.py    the four kinds of layer
    layers.py          layers laid over each other
    method_layers.py   the same for a method's slots, over the method's own definition
    paths.py           what a relative path is relative to
    validate.py, messages.py, contradictions.py                what is wrong, in sentences
    plan.py, memory.py, network.py                             what a run will do and need

>>> settings = Settings(model="tiny", method="grpo", task="arithmetic", steps=20)
>>> Settings.model_validate(settings.as_data()) == settings
True
"""

from __future__ import annotations

from rung.settings.load import (
    read_eval,
    read_pairs,
    read_settings,
    read_sft,
    settings_from,
    with_whole_paths,
)
from rung.settings.reading import Reading
from rung.settings.schema import (
    BudgetSettings,
    EvalSettings,
    EvaluationSettings,
    LearnerSettings,
    LoraSettings,
    MethodSettings,
    NetworkSettings,
    PairsSettings,
    ReportingSettings,
    RewardingSettings,
    RewardSettings,
    SamplerSettings,
    SavingSettings,
    Section,
    Settings,
    SFTSettings,
    TaskSettings,
)
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
