"""Values that remember where they were written, so that a problem can point at its line.

A layer (a recipe, a file, a flag, one `--set`) is a tree of `Given`; `overlay` lays a higher one over a lower one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import yaml

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

    def inside(self) -> Iterator[tuple[str, Given]]:
        """What a mapping or a list holds, by key or by place."""
        if isinstance(self.value, dict):
            yield from self.value.items()
        elif isinstance(self.value, list):
            yield from ((str(place), inner) for place, inner in enumerate(self.value))

    def holding(self, inside: Iterable[tuple[str, Given | None]]) -> Given:
        """The same mapping or list, which holds these instead, but for None."""
        kept = {key: inner for key, inner in inside if inner is not None}
        return Given(list(kept.values()) if isinstance(self.value, list) else kept, self.origin)

    def at(self, path: str) -> Given | None:
        """What stands at a dotted path, `rewards.0.weight`; None: nothing was given there."""
        found: Given | None = self
        for key in path.split(".") if path else []:
            found = dict(found.inside()).get(key) if found is not None else None
        return found

    def problem(self, path: str, words: str) -> str:
        """A sentence about this value, which stands at `path`, after the place where it was written."""
        if self.origin is None or self.origin == NOWHERE:
            return f"{path}: {words}"
        return f"{self.origin.place}: {words}" if self.origin.names(path) else f"{self.origin.place}: {path}: {words}"


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


def overlay(below: Given | None, above: Given, *, parts: bool = False) -> Given:
    """The upper layer laid over the lower one, key by key; lists and scalars replace.

    With `parts`, they hold a method's slots: a part that changes its kind keeps nothing of the old one's numbers, and
    a part's name alone (`objective: ClippedSurrogate`) fills the slot with that part's defaults.
    """
    lower = below.value if below is not None and isinstance(below.value, dict) else {}
    if parts and "part" in lower and isinstance(above.value, str):
        above = Given({"part": above}, above.origin)
    if not isinstance(above.value, dict):
        return above
    if parts:
        lower = {"part": below} if below is not None and isinstance(below.value, str) else lower
        part = above.value.get("part")
        if part is not None and ("part" not in lower or lower["part"].value != part.value):
            lower = {}
    merged = {key: overlay(lower.get(key), inner, parts=parts) for key, inner in above.value.items()}
    return Given({**lower, **merged}, above.origin)


def replaced(tree: Given, path: str, change: Callable[[Given], Given | None]) -> Given:
    """The tree, in which what stands at a dotted path is what `change` makes of it; None: nothing."""
    if not isinstance(tree.value, dict | list):
        return tree
    first, _, rest = path.partition(".")
    own = (lambda inner: replaced(inner, rest, change)) if rest else change
    return tree.holding((key, own(inner) if key == first else inner) for key, inner in tree.inside())


def without(tree: Given, path: str) -> Given:
    """The tree less what stands at a dotted path."""
    return replaced(tree, path, lambda _: None)


def only_written(tree: Given) -> Given | None:
    """The tree less everything that nobody wrote (origin None); None when nothing is left."""
    if not isinstance(tree.value, dict):
        return None if tree.origin is None else tree
    kept = tree.holding((key, only_written(inner)) for key, inner in tree.inside())
    return kept if kept.value or tree.origin is not None else None


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
    at = path.split(" ")[0]
    found = tree.at(at)
    while found is None and rest.startswith("missing") and "." in at:  # where the thing that lacks it was
        at = at.rpartition(".")[0]
        found = tree.at(at)
    return Given(None, found.origin if found else None).problem(path, rest) if colon else problem


MOST_VALUES = 10_000
"""A settings file has some dozens of values; aliases that multiply to more than this are refused."""

_FLOAT = "tag:yaml.org,2002:float"
_EXPONENT = re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$|^[-+]\.[0-9][0-9_]*$")
_STARTS = list("-+.0123456789")
_STRANGE = [f"tag:yaml.org,2002:{name}" for name in ("set", "omap", "pairs", "binary")]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe semantics, with three differences that settings need: a key given twice is refused, keys are text,
    and `1e-5` is a number (YAML 1.1 reads it as text). Writing uses the same rules: what is written reads back equal.
    """

    def __init__(self, text: str, source: str, problems: list[str], with_lines: bool) -> None:
        super().__init__(text)
        self.source, self.problems, self.with_lines, self.values = source, problems, with_lines, 0

    def given(self, node: yaml.Node, origin: Origin, depth: int) -> Given | None:
        self.values += 1
        if self.values > MOST_VALUES or depth > 50:
            if self.values <= MOST_VALUES + 50:
                self.values = MOST_VALUES + 51
                self.problems.append(f"{origin.place}: more than {MOST_VALUES} values, or nested too deep")
        elif node.tag.startswith(("!", "tag:yaml.org,2002:python/")) or node.tag in _STRANGE:
            self.problems.append(f"{origin.place}: got the tag {node.tag!r}, expected plain values")
        elif isinstance(node, yaml.MappingNode):
            return self._mapping(node, origin, depth)
        elif isinstance(node, yaml.SequenceNode):
            inside = [self.given(inner, self._origin(inner), depth + 1) for inner in node.value]
            return Given([inner for inner in inside if inner is not None], origin)
        else:
            return self._scalar(node, origin)
        return None

    def _mapping(self, node: yaml.MappingNode, origin: Origin, depth: int) -> Given:
        first: dict[str, str] = {}
        for key_node, _ in node.value:
            name, place = str(key_node.value), self._origin(key_node).place
            if name in first:
                self.problems.append(f"{place}: '{name}' is given twice, first at {first[name]}")
            first.setdefault(name, place)
        self.flatten_mapping(node)
        found: dict[str, Given] = {}
        for key_node, value_node in node.value:
            key_origin = self._origin(key_node)
            key = self._key(key_node, key_origin)
            inner = None if key is None else self.given(value_node, key_origin, depth + 1)
            if key is not None and inner is not None:
                found[key] = inner
        return Given(found, origin)

    def _key(self, node: yaml.Node, origin: Origin) -> str | None:
        key = self._scalar(node, origin) if isinstance(node, yaml.ScalarNode) else Given(node.value)
        if key is None:
            return None
        if not isinstance(key.value, str):
            self.problems.append(f"{origin.place}: got the key {str(node.value)[:80]!r}, expected a name")
        elif "." in key.value:
            nested = "{}: {{{}: ...}}".format(*key.value.split(".", 1))
            got = f"got the key '{key.value}', expected nested keys: {nested}; dots are for --set"
            self.problems.append(f"{origin.place}: {got}")
        else:
            return key.value
        return None

    def _scalar(self, node: yaml.Node, origin: Origin) -> Given | None:
        try:
            return Given(self.construct_object(node), origin)
        except (yaml.YAMLError, ValueError) as error:
            self.problems.append(f"{origin.place}: cannot read '{str(node.value)[:80]}': {_words(error)}")
            return None

    def _origin(self, node: yaml.Node) -> Origin:
        return Origin(self.source, node.start_mark.line + 1 if self.with_lines else None)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    """Text with one of Unicode's own line ends is escaped: left as it is, YAML reads it back as a space."""
    style = '"' if any(end in text for end in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Loader.add_implicit_resolver(_FLOAT, _EXPONENT, _STARTS)
_Dumper.add_implicit_resolver(_FLOAT, _EXPONENT, _STARTS)


def read_yaml(text: str, source: str, problems: list[str], *, with_lines: bool = True) -> Given | None:
    """The text's values with their lines; None when it is no YAML. Every problem found is added to `problems`.

    >>> read_yaml("steps: 10\\nevaluation: {every: 5}", "run.yaml", []).at("evaluation.every")
    Given(value=5, origin=Origin(source='run.yaml', line=2))
    """
    try:
        loader = _Loader(text, source, problems, with_lines)
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = Origin(source, mark.line + 1 if mark is not None and with_lines else None)
        problems.append(f"{at.place}: not YAML: {_words(error)}")
        return None
    origin = Origin(source, 1 if with_lines else None)
    return Given(None, origin) if node is None else loader.given(node, origin, 0)


def write_yaml(data: Any) -> str:
    """Plain data as YAML, keys in their own order; equal data gives equal bytes."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)


def _words(error: Exception) -> str:
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return " ".join(str(said).split())
