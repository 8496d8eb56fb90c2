"""The methods, each a piece of data. `METHODS` is the ladder, bottom rung first, then variants, then presets.

A variant is a method that differs in a slot or two from another; variants.yaml has a row for each, written as in a
settings file. A preset, in presets.yaml, is a method as a named project or paper ran it, NAME@ORIGIN: the same slots
with other numbers. Its `deviations` say which version and file of the origin was read, and what of its defaults our
slots do not hold.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml

from rung.errors import SettingsError, did_you_mean
from rung.methods import actor_critic, ase_ace, dapo, dpo, dqn, grpo, ppo, reinforce, rlhf_2017, trpo
from rung.methods.adaptive_elements import AdaptiveElements
from rung.methods.data import with_settings
from rung.methods.kind import Method
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.preference_learning import PreferenceLearning
from rung.methods.value_learning import ValueLearning

_FILES = (ase_ace, dqn, reinforce, actor_critic, trpo, ppo, grpo, dapo, rlhf_2017, dpo)
METHODS: dict[str, Method] = {
    method.name: method for file in _FILES for method in vars(file).values() if isinstance(method, Method)
}


def _rows(file: str) -> dict[str, dict[str, Any]]:
    """Slots by method, as a file of this folder has them; `from` is the method that the others are taken of."""
    return yaml.safe_load((files(__name__) / file).read_text(encoding="utf-8"))


for _name, _slots in {**_rows("variants.yaml"), **_rows("presets.yaml")}.items():
    _below = METHODS[_slots.pop("from")]
    if "and_deviations" in _slots:
        _slots["deviations"] = [*_below.deviations, *_slots.pop("and_deviations")]
    METHODS[_name] = with_settings(_below, {"name": _name, "parent": _below.name, **_slots})


def method_named(name: str) -> Method:
    """The method of that name; SettingsError names the nearest one.

    >>> method_named("grpo").paper
    'arXiv:2402.03300'
    """
    own = own_name(name)
    if own not in METHODS:
        raise SettingsError([f"method: {unknown(name)}"])
    return METHODS[own]


def own_name(name: str) -> str:
    """`grpo@paper` is `grpo`: a method's own name means its paper's setting. Other names stay as they are.

    >>> own_name("grpo@paper"), own_name("grpo@trl")
    ('grpo', 'grpo@trl')
    """
    method = name.removesuffix("@paper")
    return name if "@" in method else method


def unknown(name: str) -> str:
    """What to say of a name that no method has.

    >>> unknown("gropo")[:33]
    "got 'gropo'; did you mean 'grpo'?"
    """
    return f"got '{name}'{did_you_mean(name, METHODS)}; valid: {', '.join(METHODS)}"


__all__ = ["METHODS", "AdaptiveElements", "Method", "PolicyGradient", "PreferenceLearning", "ValueLearning"]
