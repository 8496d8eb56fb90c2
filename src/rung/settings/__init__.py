"""A run's settings: their shape, their layers, and every problem in them at once.

schema.py has every setting with its type, range, default and a sentence, of sections as section.py makes them. load.py
reads the layers (recipe < file < flags < --set, or keywords from Python) as trees of values that remember where they
were written (given.py), which are laid over each other and give settings, or everything that is wrong with them
(layers.py, and method_layers.py for a method's slots). listing.py is the table for `rung settings`.

>>> settings = Settings(model="tiny", method="grpo", task="arithmetic", steps=20)
>>> Settings.model_validate(settings.as_data()) == settings
True
"""

from __future__ import annotations

from rung.settings.given import write_yaml
from rung.settings.learner import LearnerSettings as LearnerSettings
from rung.settings.load import read_eval as read_eval
from rung.settings.load import read_pairs as read_pairs
from rung.settings.load import read_settings as read_settings
from rung.settings.load import read_sft as read_sft
from rung.settings.load import settings_from as settings_from
from rung.settings.load import with_whole_paths as with_whole_paths
from rung.settings.schema import BudgetSettings as BudgetSettings
from rung.settings.schema import EvalSettings as EvalSettings
from rung.settings.schema import EvaluationSettings as EvaluationSettings
from rung.settings.schema import LoraSettings as LoraSettings
from rung.settings.schema import PairsSettings as PairsSettings
from rung.settings.schema import RewardSettings as RewardSettings
from rung.settings.schema import Settings as Settings
from rung.settings.schema import SFTSettings as SFTSettings
from rung.settings.schema import TaskSettings as TaskSettings
from rung.settings.section import Section as Section


def to_yaml(settings: Section) -> str:
    """Every key of the settings as YAML; equal settings give equal bytes, and `read_settings` gives them back."""
    return write_yaml(settings.as_data())
