"""Recipes: settings that go together, packaged as YAML under a name (`--recipe demo`)."""

from __future__ import annotations

from importlib.resources import files

from rung.errors import did_you_mean
from rung.settings.given import Given
from rung.settings.yaml_text import read_yaml

NONE = "none"
"""`--recipe none`: not even an automatic one."""


def recipe_names() -> list[str]:
    """The names of all recipes."""
    found = (file.name for file in files("rung.recipes").iterdir())
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def read_recipe(name: str, problems: list[str]) -> Given | None:
    """The recipe's settings with their lines; None, with a sentence in `problems`, when there is no such recipe."""
    names = recipe_names()
    if name not in names:
        problems.append(f"--recipe: got '{name}'{did_you_mean(name, names)}; valid: {', '.join([*names, NONE])}")
        return None
    text = files("rung.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return read_yaml(text, f"recipe {name}", problems)
