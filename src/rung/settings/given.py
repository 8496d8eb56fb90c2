"""Values that remember where they were written, so that a problem can point at its line.

A layer (a recipe, a file, a flag, one `--set`) is a tree of `Given`; `overlay` lays a higher one over a lower one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rung.errors import SettingsError
from rung.settings.section import Section

S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class Origin:
    """Where a value was written."""

    source: str
    """`recipe tiny`, a file's path, `--seed`, `--set KEY`."""
    line: int | None = None

    @property
    def place(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"

    def names(self, path: str) -> bool:
        """Whether the place already says which setting it is: `--set steps`, `--seed`, `METHOD`."""
        last = self.source.split(" ")[-1].removeprefix("--").replace("-", "_").lower()
        return self.line is None and path in (last, f"{last}.name")


NOWHERE = Origin("")
"""The origin of values given from Python, which have no line to point at."""


@dataclass(frozen=True)
class Given:
    """One value, or a mapping or list of them, and where it was written; None: it is the method's own default."""

    value: Any
    """A scalar, `dict[str, Given]` or `list[Given]`."""
    origin: Origin | None = None

    def at(self, path: str) -> Given | None:
        """What stands at a dotted path, `rewards.0.weight`; None: nothing was given there."""
        found: Given | None = self
        for key in path.split(".") if path else []:
            inside = found.value if found is not None else None
            if isinstance(inside, dict):
                found = inside.get(key)
            elif isinstance(inside, list) and key.isdigit() and int(key) < len(inside):
                found = inside[int(key)]
            else:
                return None
        return found

    def problem(self, path: str, words: str) -> str:
        """A sentence about this value, which stands at `path`, after the place where it was written."""
        if self.origin is None or self.origin == NOWHERE:
            return f"{path}: {words}"
        return f"{self.origin.place}: {words}" if self.origin.names(path) else f"{self.origin.place}: {path}: {words}"

    def origin_of(self, path: str, *, missing: bool = False) -> Origin | None:
        """Where the value at `path` was written; for what is missing, where the thing that lacks it was."""
        found = self.at(path)
        if found is None and missing and "." in path:
            return self.origin_of(path.rpartition(".")[0], missing=True)
        return found.origin if found is not None else None


def given(value: Any, origin: Origin | None) -> Given:
    """Plain data as a tree whose every value has this origin, but those that have one already."""
    if isinstance(value, Given):
        return value
    if isinstance(value, Mapping):
        return Given({str(key): given(inner, origin) for key, inner in value.items()}, origin)
    if isinstance(value, list | tuple):
        return Given([given(inner, origin) for inner in value], origin)
    return Given(value, origin)


def nested(path: str, value: Any) -> Any:
    """The value under the keys of a dotted path.

    >>> nested("evaluation.every", 5)
    {'evaluation': {'every': 5}}
    """
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def plain(tree: Given) -> Any:
    """The tree's values alone."""
    if isinstance(tree.value, dict):
        return {key: plain(inner) for key, inner in tree.value.items()}
    if isinstance(tree.value, list):
        return [plain(inner) for inner in tree.value]
    return tree.value


def overlay(below: Given | None, above: Given) -> Given:
    """The upper layer laid over the lower one, key by key; lists and scalars replace."""
    if not isinstance(above.value, dict):
        return above
    lower = below.value if below is not None and isinstance(below.value, dict) else {}
    merged = {key: overlay(lower.get(key), inner) for key, inner in above.value.items()}
    return Given({**lower, **merged}, above.origin)


def without(tree: Given, path: str) -> Given:
    """The tree less what stands at a dotted path."""
    key, _, rest = path.partition(".")
    if not isinstance(tree.value, dict | list):
        return tree
    listed = isinstance(tree.value, list)
    inside = {str(index): inner for index, inner in enumerate(tree.value)} if listed else dict(tree.value)
    if key in inside and rest:
        inside[key] = without(inside[key], rest)
    elif key in inside:
        del inside[key]
    return Given(list(inside.values()) if listed else inside, tree.origin)


def only_written(tree: Given) -> Given | None:
    """The tree less everything that nobody wrote (origin None); None when nothing is left."""
    if not isinstance(tree.value, dict):
        return None if tree.origin is None else tree
    kept = {key: found for key, inner in tree.value.items() if (found := only_written(inner)) is not None}
    return Given(kept, tree.origin) if kept or tree.origin is not None else None


def leaves(tree: Given, path: str = "") -> Iterator[tuple[str, Given]]:
    """Every scalar, list or empty mapping in the tree with its dotted path."""
    if isinstance(tree.value, dict) and tree.value:
        for key, inner in tree.value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path, tree


@dataclass(frozen=True, kw_only=True)
class Reading(Generic[S]):
    """What the layers say, where each value is from, and everything that is wrong with it."""

    settings: S | None
    """None when there are problems."""
    problems: tuple[str, ...]
    """One line each, beginning with the place: `run.yaml:3: steps: got 'ten', expected a whole number`."""
    tree: Given
    """Every value that somebody wrote, with its place."""
    notes: tuple[str, ...] = ()
    """What was understood: the whole key of a short one, a value that another one replaced."""
    recipe: str | None = None
    """The recipe in use."""

    def required(self, more: Sequence[str] = ()) -> S:
        """The settings; SettingsError with all problems, and with `more`, when there are any."""
        if self.settings is None or more:
            raise SettingsError([*self.problems, *more])
        return self.settings


def placed(problem: str, tree: Given) -> str:
    """A sentence that begins with a setting's path, after the place where that setting was written.

    >>> placed("steps: got 'ten'", Given({"steps": Given("ten", Origin("run.yaml", 3))}))
    "run.yaml:3: steps: got 'ten'"
    """
    path, colon, rest = problem.partition(": ")
    origin = tree.origin_of(path.split(" ")[0], missing=rest.startswith("missing"))
    return Given(None, origin).problem(path, rest) if colon else problem
