"""The methods, each a piece of data. `METHODS` is the ladder, bottom rung first."""

from __future__ import annotations

from rung.errors import SettingsError, did_you_mean
from rung.methods.grpo import GRPO
from rung.methods.method import PolicyGradient
from rung.methods.reinforce import REINFORCE, REINFORCE_BASELINE
from rung.methods.rloo import RLOO

METHODS: dict[str, PolicyGradient] = {method.name: method for method in (REINFORCE, REINFORCE_BASELINE, RLOO, GRPO)}


def method_named(name: str) -> PolicyGradient:
    """The method of that name; SettingsError names the nearest one.

    >>> method_named("grpo").paper
    'arXiv:2402.03300'
    """
    if name not in METHODS:
        raise SettingsError([f"method: got '{name}'{did_you_mean(name, METHODS)}; valid: {', '.join(METHODS)}"])
    return METHODS[name]


__all__ = ["GRPO", "METHODS", "REINFORCE", "REINFORCE_BASELINE", "RLOO", "PolicyGradient", "method_named"]
