"""Former names of settings, which older runs and scripts still use."""

from __future__ import annotations

from collections.abc import Mapping

from rung.settings.given import Given

FORMER: Mapping[str, str] = {
    "environments": "num_environments",
    "evaluation.items": "num_items",
    "evaluation.samples": "num_samples",
    "method.step": "optimizer",
    "method.epochs": "num_epochs",
    "method.minibatches": "num_minibatches",
    "method.optimizer.critic_epochs": "num_critic_epochs",
    "method.optimizer.critic_minibatches": "num_critic_minibatches",
}
"""The new name of the last part, by the former dotted key. Sections come before what they hold."""


def renewed(layer: Given) -> Given:
    """The layer with today's names. A key that stands under both names keeps the former one, which is then refused."""
    for path, name in FORMER.items():
        layer = _renamed(layer, path.split("."), name)
    return layer


def _renamed(tree: Given, path: list[str], name: str) -> Given:
    if not isinstance(tree.value, dict) or path[0] not in tree.value:
        return tree
    if path[1:]:
        return Given({**tree.value, path[0]: _renamed(tree.value[path[0]], path[1:], name)}, tree.origin)
    if name in tree.value:
        return tree
    return Given({name if key == path[0] else key: inner for key, inner in tree.value.items()}, tree.origin)


def todays(typed: str) -> str:
    """A key, or the end of one, as it is called today.

    >>> todays("method.step.learning_rate"), todays("minibatches"), todays("steps")
    ('method.optimizer.learning_rate', 'num_minibatches', 'steps')
    """
    for path, name in FORMER.items():
        parent, _, last = path.rpartition(".")
        for former, now in ((path, f"{parent}.{name}".lstrip(".")), (last, name)):
            if typed == former or typed.startswith(f"{former}."):
                typed = now + typed[len(former) :]
                break
    return typed
