"""From a tree of values to settings, or to everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rung.methods import GRPO
from rung.settings.given import Given, plain, without
from rung.settings.kinds import Kinds
from rung.settings.method import MethodSettings
from rung.settings.method_layers import MethodReading
from rung.settings.schema import Settings


def validated_run(
    tree: Given, method: MethodReading, keys: Sequence[str], parts: Sequence[type[Any]], kinds: Kinds | None = None
) -> tuple[Settings | None, list[str]]:
    """A run's settings, or every problem: of the keys, of the method, and of both together.

    Contradictions are looked for even when some keys are wrong: among the others, with defaults in place of the
    wrong ones, and only those are told that do not concern a wrong key.
    """
    whole = plain(method.whole) if method.method is not None else {"name": GRPO.name}
    chosen = MethodSettings.model_validate(whole).with_parts(parts)
    settings, found = Settings.checked({**plain(tree), "method": chosen}, keys)
    wrong = [path for path, _ in found]
    problems = [*(sentence for _, sentence in found), *method.problems]
    rest = settings or _salvaged(tree, chosen, wrong, keys)
    if rest is not None and kinds is not None:
        problems += [one for one in kinds.problems(rest, method.method) if not _concerns(one, wrong)]
    return (None if problems else settings), problems


def _salvaged(body: Given, method: MethodSettings, wrong: Sequence[str], keys: Sequence[str]) -> Settings | None:
    """The settings with defaults, or a stand-in where there is none, in place of what is wrong."""
    for path in sorted(wrong, reverse=True):
        body = without(body, path)
    for name in ("model", "task"):
        if body.at(name) is None or (name == "task" and body.at("task.name") is None):
            body = Given({**body.value, name: Given("?")}, body.origin)
    return Settings.checked({**plain(body), "method": method}, keys)[0]


def _concerns(problem: str, wrong: Sequence[str]) -> bool:
    """Whether a contradiction mentions a setting that is wrong already."""
    words = problem.replace(":", " ").replace(",", " ").split()
    return any(path and (path in words or problem.startswith(f"{path}.")) for path in wrong)
