"""What the command line says of settings: `--set KEY=VALUE`, `--reward FILE.py:function=WEIGHT`, the named flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rung.settings.given import Given, Origin, given, nested
from rung.settings.names import ELSEWHERE, suggestion, todays
from rung.settings.yaml_text import read_yaml

NAMES = ("method", "model", "task")
"""Flags whose text is a name, even where it looks like a number."""


@dataclass(frozen=True)
class Assignment:
    """One `--set`. Example: `--set learning_rate=1e-4` has key `method.optimizer.learning_rate`."""

    key: str
    """The whole dotted key."""
    value: Given
    typed: str
    """The key as the user wrote it."""

    @property
    def layer(self) -> Given:
        """The assignment as a tree, to be laid over others."""
        return given(nested(self.key, self.value), self.value.origin)


def read_assignments(
    texts: Sequence[str], keys: Sequence[str], problems: list[str], own: Sequence[str] = ()
) -> list[Assignment]:
    """`--set` texts in their order. Values are YAML scalars (or lists, or mappings), `1e-5` is a number.

    A key that is no setting from the top may be the end of exactly one: `learning_rate` is then
    `method.optimizer.learning_rate`; `own` are the keys that the method has as it is.
    Adds a sentence to `problems` for every text that cannot be read.
    """
    found: list[Assignment] = []
    for text in texts:
        typed, equals, written = text.partition("=")
        typed = typed.strip()
        source = f"--set {typed}"
        if not equals or not typed:
            problems.append(f"--set: got '{text}', expected KEY=VALUE such as steps=50")
        elif not written.strip():
            problems.append(f"{source}: got no value after '='; to empty a setting write {typed}=null")
        else:
            key = whole_key(todays(typed), keys, problems, source, own)
            value = read_yaml(written, source, problems, with_lines=False)
            found += [Assignment(key, value, typed)] if key is not None and value is not None else []
    return found


def whole_key(typed: str, keys: Sequence[str], problems: list[str], source: str, own: Sequence[str] = ()) -> str | None:
    """The dotted key that one means by its unique end; None with a sentence in `problems`, after the `source`."""
    top = {key.partition(".")[0] for key in keys}
    if typed.partition(".")[0] in top:
        return typed
    candidates = [key for key in dict.fromkeys([*keys, *own]) if key.endswith(f".{typed}")]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        hint = suggestion(typed, keys, own) if typed in ELSEWHERE else ""
        problems.append(f"{source}: could be any of {', '.join(candidates)}; write the whole key{hint}")
        return None
    slot, dot, number = typed.partition(".")
    if dot and f"method.{slot}" in keys:  # of a part of one's own
        return f"method.{slot}.{number}"
    valid = f"{', '.join(sorted(top))} and what they hold (an option of the task is task.OPTION)"
    problems.append(f"{source}: unknown key{suggestion(typed, keys, own)}; valid: {valid}")
    return None


def read_rewards(texts: Sequence[str], problems: list[str]) -> Given | None:
    """The `--reward` flags as a layer; None when there are none. They replace a file's `rewards`."""
    parts: list[Given] = []
    for text in texts:
        function, equals, written = text.rpartition("=")
        origin, part = Origin(f"--reward {text}"), {"function": function if equals else text}
        if equals:
            weight = read_yaml(written, origin.source, problems, with_lines=False)
            part["weight"] = weight or Given(written, origin)
        parts.append(given(part, origin))
    return Given({"rewards": Given(parts, Origin("--reward"))}) if parts else None


def read_flags(flags: Mapping[str, object], problems: list[str]) -> Given:
    """The named flags that were given, as a layer: `{"seed": "3"}` is `--seed 3`, `{"method": ...}` the argument.

    Names of models, methods and tasks are text as it stands; the others are read like the values of `--set`. What is
    no text, as in `{"seed": 3}` from Python, is the value itself.
    """
    inside: dict[str, Given] = {}
    for key, text in flags.items():
        if text is None:
            continue
        origin = Origin("METHOD" if key == "method" else f"--{key.replace('_', '-')}")
        as_it_is = not isinstance(text, str) or key in NAMES
        value = given(text, origin) if as_it_is else read_yaml(text, origin.source, problems, with_lines=False)
        if value is not None:
            inside[key] = Given(value.value, origin)
    return Given(inside)
