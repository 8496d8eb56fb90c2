"""Explanations of methods, and the differences between two, printed from their definitions."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from rung.methods.data import as_data, slots
from rung.methods.kind import Method


@dataclass(frozen=True)
class Change:
    """One slot, or one number of a slot, in which two methods differ.

    Example: `Change(slot="objective.high", before=0.2, after=0.28)`.
    """

    slot: str
    before: Any
    after: Any

    def words(self) -> str:
        return f"{self.slot}: {describe(self.before)} → {describe(self.after)}"


def describe(part: Any) -> str:
    """A slot's filling in one line.

    >>> from rung.methods.parts.objectives import ClippedSurrogate
    >>> describe(ClippedSurrogate(high=0.28))
    'ClippedSurrogate(low=0.2, high=0.28, dual=none)'
    """
    if part is None:
        return "none"
    if not is_dataclass(part):
        return f"{part:g}" if isinstance(part, float) else str(part)
    inside = ", ".join(f"{f.name}={describe(getattr(part, f.name))}" for f in fields(part))
    return f"{type(part).__name__}({inside})"


def difference(before: Method, after: Method) -> list[Change]:
    """The slots in which two methods differ, by equality of their fields; within one part, only its changed numbers.

    Of two kinds of method, the kind differs first, and a slot that only one of them has is none in the other.
    """
    kinds = type(before).__name__, type(after).__name__
    changes = [Change("kind", *kinds)] if kinds[0] != kinds[1] else []
    filled = [{slot: getattr(method, slot) for slot in slots(method)} for method in (before, after)]
    for slot in dict.fromkeys((*filled[0], *filled[1])):
        changes.extend(_difference(slot, filled[0].get(slot), filled[1].get(slot)))
    return changes


def _difference(slot: str, before: Any, after: Any) -> list[Change]:
    if before == after:
        return []
    if is_dataclass(before) and type(before) is type(after):
        pairs = [(f.name, getattr(before, f.name), getattr(after, f.name)) for f in fields(before)]
        return [change for name, old, new in pairs for change in _difference(f"{slot}.{name}", old, new)]
    return [Change(slot, before, after)]


def first_paragraph(part: Any) -> str:
    """The first paragraph of a part's docstring; empty where it has only the one that `dataclass` writes."""
    text = type(part).__doc__ or ""
    return "" if text.startswith(f"{type(part).__name__}(") else " ".join(text.split("\n\n")[0].split())


def card(method: Method) -> dict[str, Any]:
    """Everything about a method as JSON-like data: what `--json` prints and a run stores."""
    data = as_data(method)
    identity = {key: data[key] for key in ("name", "paper", "summary", "parent", "deviations")}
    return {
        **identity,
        "kind": data["kind"],
        "formula": method.formula(),
        "slots": {slot: data[slot] for slot in slots(method)},
    }


def explain(method: Method) -> str:
    """The method in words: idea, formula, slots, paper, deviations."""
    lines = [f"{method.name}: {method.summary}", f"paper: {method.paper}", ""]
    lines += [f"  {line}" for line in method.formula().splitlines()] + [""]
    for slot in slots(method):
        value = getattr(method, slot)
        lines.append(f"  {slot:<19} {describe(value)}")
        if is_dataclass(value) and first_paragraph(value):
            lines.append(f"  {'':<19}   {first_paragraph(value)}")
    if method.deviations:
        lines += ["", "beyond the paper:"] + [f"  - {deviation}" for deviation in method.deviations]
    if method.parent:
        lines += ["", f"what it changes from {method.parent}: rung diff {method.parent} {method.name}"]
    return "\n".join(lines)
