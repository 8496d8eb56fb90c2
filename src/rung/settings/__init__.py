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

from rung.settings.given import Reading as Reading
from rung.settings.load import read_eval as read_eval
from rung.settings.load import read_pairs as read_pairs
from rung.settings.load import read_settings as read_settings
from rung.settings.load import read_sft as read_sft
from rung.settings.load import settings_from as settings_from
from rung.settings.load import with_whole_paths as with_whole_paths
from rung.settings.method import MethodSettings as MethodSettings
from rung.settings.schema import BudgetSettings as BudgetSettings
from rung.settings.schema import EvalSettings as EvalSettings
from rung.settings.schema import EvaluationSettings as EvaluationSettings
from rung.settings.schema import LearnerSettings as LearnerSettings
from rung.settings.schema import LoraSettings as LoraSettings
from rung.settings.schema import NetworkSettings as NetworkSettings
from rung.settings.schema import PairsSettings as PairsSettings
from rung.settings.schema import ReportingSettings as ReportingSettings
from rung.settings.schema import RewardingSettings as RewardingSettings
from rung.settings.schema import RewardSettings as RewardSettings
from rung.settings.schema import SamplerSettings as SamplerSettings
from rung.settings.schema import SavingSettings as SavingSettings
from rung.settings.schema import Settings as Settings
from rung.settings.schema import SFTSettings as SFTSettings
from rung.settings.schema import TaskSettings as TaskSettings
from rung.settings.section import Section as Section
from rung.settings.yaml_text import write_yaml


def to_yaml(settings: Section) -> str:
    """Every key of the settings as YAML; equal settings give equal bytes, and `read_settings` gives them back."""
    return write_yaml(settings.as_data())
