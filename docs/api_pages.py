"""The API reference: every public name of rung and rung.parts, from its docstring and signature."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from settings_list import field_docs

import rung
from rung import parts
from rung.methods import Method
from rung.methods.parts.shipped import PARTS
from rung.methods.ranges import Range

START = """\
# API reference

Every public name of `rung` and of `rung.parts`, generated from docstrings and signatures by `python docs/generate.py`.
How to use them together: [own.md](own.md). Every setting: [settings.md](settings.md). Every method:
[methods.md](methods.md).
"""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Calls": (
        *("train", "resume", "evaluate", "compare", "open", "trainer"),
        *("explain", "difference", "method_named", "own_name", "load_policy", "load_task"),
    ),
    "Runs": ("SavedRun", "Evaluation", "Settings", "Observer", "Finished"),
    "Trainers": ("Trainer", "TrainingStep", "State", "Kind", "Setup", "Sampler", "Prompt"),
    "Methods": ("Method", "PolicyGradient", "PreferenceLearning", "ValueLearning", "AdaptiveElements", "METHODS"),
    "Parts": ("parts",),
    "Shapes": (
        *("Batch", "Episode", "Judgement", "TextTask", "EnvironmentTask", "Item", "Example", "Pair"),
        *("Reward", "WeightedReward"),
    ),
    "Turns": ("Step", "TurnEnvironment", "turn_task", "with_tools", "Played", "Turn"),
    "Errors": (
        *(
            "RungError",
            "SettingsError",
            "DataError",
            "MissingExtra",
            "RewardError",
            "EnvironmentFailure",
            "NonFiniteError",
        ),
        *("CheckpointError", "StorageError"),
    ),
}
"""The names by group; every method's own name (`GRPO`) stands in a table of its group and is not listed here."""
WIDTH = 100
_HEADING = re.compile(r"(Args|Attributes|Raises|Returns|Facts):$")
_ENTRY = re.compile(r"([A-Za-z_][\w, ]*): (.*)")


def api_page() -> str:
    """docs/api.md."""
    groups = (f"## {title}\n\n{''.join(_group(names))}" for title, names in GROUPS.items())
    return re.sub(r"\n{3,}", "\n\n", "\n".join([START, *groups])).rstrip() + "\n"


def _group(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        value = getattr(rung, name)
        if name == "parts":
            yield from _parts()
        elif name == "METHODS":
            yield from _methods(value)
        else:
            yield _entry(name, value)


def _methods(methods: Mapping[str, Method]) -> Iterator[str]:
    yield "### METHODS\n\nEvery method by its name. These are public names too, to be changed by `changed(...)`:\n\n"
    yield "| name | method | idea |\n| --- | --- | --- |\n"
    for name in rung.__all__:
        value = getattr(rung, name)
        if isinstance(value, Method):
            yield f"| `rung.{name}` | `{value.name}` | {value.summary} |\n"
    yield "\n"


def _parts() -> Iterator[str]:
    yield f"{markdown(inspect.getdoc(parts) or '')}\n\nFacts:\n\n"
    protocols = inspect.getmodule(parts.Advantage)
    yield f"{markdown(inspect.getdoc(protocols) or '')}\n\n"
    slots = [slot for slot in PARTS if getattr(slot, "_is_protocol", False)]
    for slot in slots:
        yield _entry(slot.__name__, slot, "parts.") + "Shipped:\n\n"
        yield from (f"- `{one.__name__}{_arguments(one)}`: {_first_sentence(one)}\n" for one in PARTS[slot])
        yield "\n"
    closed = [one for slot, shipped in PARTS.items() if slot not in slots for one in shipped]
    yield "### Closed slots\n\nTheir trainers choose by the class, so no part of your own fills them:\n\n"
    yield from (f"- `{one.__name__}{_arguments(one)}`: {_first_sentence(one)}\n" for one in closed)
    yield "\n### Ranges\n\nFor numbers of your own parts: `share: Annotated[float, parts.SHARE] = 0.5`.\n\n"
    ranges = {name: value for name, value in vars(parts).items() if isinstance(value, Range)}
    yield from (f"- `parts.{name}`: {value.words}\n" for name, value in sorted(ranges.items()))
    yield "\n"


def _entry(name: str, value: Any, home: str = "rung.") -> str:
    """A function or a class: signature, docstring, fields, methods."""
    lines = [f"### {name}", "", "```python", _signature(f"{home}{name}", value), "```", ""]
    lines += [markdown(inspect.getdoc(value) or ""), ""]
    if inspect.isclass(value) and value is not rung.Settings:
        fields, members = list(_fields(value)), list(_members(value))
        lines += ["Fields:", "", *fields, ""] if fields else []
        lines += ["Members:", "", *members, ""] if members else []
    return "\n".join(lines) + "\n"


def _fields(cls: type[Any]) -> Iterator[str]:
    docs = field_docs(cls)
    names = [one.name for one in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else list(docs)
    yield from (f"- `{name}`: {docs[name]}" for name in names if name in docs)


def _members(cls: type[Any]) -> Iterator[str]:
    """The class's own public methods and properties."""
    for name, value in vars(cls).items():
        if name.startswith("_") or name == "parts":
            continue
        if isinstance(value, property):
            yield f"- `{name}`" + _said(value.fget)
        elif isinstance(value, functools.cached_property):
            yield f"- `{name}`" + _said(value.func)
        elif inspect.isfunction(value):
            yield f"- `{name}{_arguments(value)}`" + _said(value)


def _said(function: Any) -> str:
    """A member's docstring in one line."""
    text = re.split(r"\n\n(?=Example|    )|>>>", inspect.getdoc(function) or "")[0] if function.__doc__ else ""
    return f": {' '.join(text.split())}" if text else ""


def _first_sentence(cls: type[Any]) -> str:
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


def _signature(name: str, value: Any) -> str:
    if value is rung.Settings:
        return f"{name}(*, model, method, task, **settings)"
    if getattr(value, "_is_protocol", False):
        call = vars(value).get("__call__")
        return f"class {name}(Protocol)" if call is None else f"class {name}(Protocol): __call__{_arguments(call)}"
    whole = name + _arguments(value)
    if len(whole) <= WIDTH:
        return whole
    inside = [f"    {one}," for one in _parameters(value)]
    return "\n".join([f"{name}(", *inside, f"){_returns(value)}"])


def _arguments(value: Any) -> str:
    return f"({', '.join(_parameters(value))}){_returns(value)}"


def _parameters(value: Any) -> Iterator[str]:
    """Each parameter as it is written, with the marks between them; `self` is left out."""
    signature = _signature_of(value)
    keywords = False
    for one in signature.parameters.values() if signature is not None else ():
        if one.name == "self":
            continue
        if one.kind is one.VAR_POSITIONAL:
            keywords = True
        if one.kind is one.KEYWORD_ONLY and not keywords:
            keywords = True
            yield "*"
        yield _parameter(one)


def _parameter(one: inspect.Parameter) -> str:
    stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
    hint = "" if one.annotation is one.empty else f": {_hint(one.annotation)}"
    if one.default is one.empty:
        return stars + one.name + hint
    return f"{stars}{one.name}{hint} = {_default(one.default)}"


def _default(value: Any) -> str:
    """A default as it is written; what has no such form (a function, what a factory makes) by its name or as dots."""
    if inspect.isroutine(value):
        return value.__name__
    return "..." if repr(value).startswith("<") else repr(value)


def _hint(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _returns(value: Any) -> str:
    signature = None if inspect.isclass(value) else _signature_of(value)
    if signature is None or signature.return_annotation is signature.empty:
        return ""
    return f" -> {_hint(signature.return_annotation)}"


def _signature_of(value: Any) -> inspect.Signature | None:
    """None for a class that takes what its base does."""
    try:
        return inspect.signature(value)
    except ValueError:
        return None


def markdown(docstring: str) -> str:
    """A docstring as Markdown: its lists of arguments as lists, its examples as code.

    >>> print(markdown("Does.\\n\\nArgs:\\n    a, b: two numbers,\\n        added."))
    Does.
    <BLANKLINE>
    Args:
    <BLANKLINE>
    - `a, b`: two numbers, added.
    """
    return "\n\n".join(_block(block) for block in re.split(r"\n{2,}", docstring.strip()))


def _block(block: str) -> str:
    lines = block.split("\n")
    if lines[0].startswith(">>>"):
        return "\n".join(["```python", *lines, "```"])
    if len(lines) > 1 and _HEADING.match(lines[0]):
        return f"{lines[0]}\n\n{_entries(lines[1:])}"
    drawn = any(mark in block for mark in ("├", "└"))
    return textwrap.indent(block, "    ") if drawn else block


def _entries(lines: list[str]) -> str:
    """`name: text` lines as a list; deeper lines go on with the entry above."""
    entries: list[str] = []
    for line in textwrap.dedent("\n".join(lines)).split("\n"):
        if found := _ENTRY.match(line):
            entries.append(f"- `{found[1]}`: {found[2]}")
        elif entries:
            entries[-1] += f" {line.strip()}"
        else:
            entries.append(line)
    return "\n".join(entries)
