"""The same run by the command line and from Python: recipe, adapted numbers, every setting."""

from __future__ import annotations

from typing import Any

import pytest

from rung.lab.compare.plan import comparison_from, comparison_of
from rung.library import _asked  # what rung.train and rung.trainer make of their keywords
from rung.methods import METHODS, PolicyGradient, ValueLearning
from rung.runs.planning import planned

ON_TEXT = [
    name
    for name, one in METHODS.items()
    if isinstance(one, PolicyGradient)
    and one.learned_reward is None
    and not one.needs_teacher
    and name != "grpo_process"
]
ON_CARTPOLE = [
    *(name for name in ON_TEXT if name not in ("rft", "online_rft", "pass_at_k")),
    *(name for name, one in METHODS.items() if isinstance(one, ValueLearning)),
    "rlhf@2017",
]
EXTRA: tuple[dict[str, Any], ...] = ({}, {"steps": 7, "evaluation": {"every": 3}, "max_new_tokens": 9, "seed": 4})


def both(flags: dict[str, str], extra: dict[str, Any], recipe: str | None = None) -> tuple[Any, Any]:
    """The settings of `rung train` and of `rung.train`."""
    flat = {key: value for key, value in extra.items() if not isinstance(value, dict)}
    flat |= {
        f"{key}.{inner}": one for key, value in extra.items() if isinstance(value, dict) for inner, one in value.items()
    }
    sets = [f"{key}={value}" for key, value in flat.items()]
    line = planned(flags, None, recipe, sets, None, None).settings
    return line.as_data(), _asked(None, {**flags, **extra}, recipe, ())[0].as_data()


FEW = ("grpo", "dapo", "trpo", "ppo@trl-2025")


@pytest.mark.parametrize("method", ON_TEXT)
def test_on_text(method: str) -> None:
    for extra in EXTRA if method in FEW else EXTRA[1:]:
        line, python = both({"model": "tiny", "method": method, "task": "arithmetic"}, extra)
        assert line == python
    if method == "grpo":
        plain, python = both({"model": "tiny", "method": method, "task": "arithmetic"}, EXTRA[1], "none")
        assert plain == python != line


@pytest.mark.parametrize("method", ON_CARTPOLE)
def test_on_an_environment(method: str) -> None:
    line, python = both({"method": method, "task": "CartPole-v1"}, EXTRA[1])
    assert line == python and line["model"] == "small"


def test_a_comparison() -> None:
    methods = ["grpo", "dapo", "trpo", "ppo", "dpo"]
    line = comparison_of(methods=methods, model="tiny", task="arithmetic", budget="tokens=10K", seeds=2)
    asked = {"model": "tiny", "task": "arithmetic"}
    python = comparison_from(methods, budget={"tokens": "10K"}, seeds=2, recipe=None, parts=(), keywords=asked)
    assert {name: one.as_data() for name, one in line.settings.items()} == {
        name: one.as_data() for name, one in python.settings.items()
    }
