"""YAML with line numbers, and settings written as YAML.

PyYAML's safe semantics, with three differences that settings need: a key given twice is refused, keys are text, and
`1e-5` is a number (YAML 1.1 reads it as text). Writing uses the same rules, so what is written reads back equal.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from rung.settings.given import Given, Origin

MOST_VALUES = 10_000
"""A settings file has some dozens of values; aliases that multiply to more than this are refused."""

_FLOAT = "tag:yaml.org,2002:float"
_EXPONENT = re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$|^[-+]\.[0-9][0-9_]*$")
_STARTS = list("-+.0123456789")
_STRANGE = [f"tag:yaml.org,2002:{name}" for name in ("set", "omap", "pairs", "binary")]


class _Loader(yaml.SafeLoader):
    pass


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
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        problems.append(f"{_place(source, error, with_lines)}: not YAML: {_words(error)}")
        return None
    origin = Origin(source, 1 if with_lines else None)
    if node is None:
        return Given(None, origin)
    return _Reader(loader, source, problems, with_lines).value(node, origin, 0)


def write_yaml(data: Any) -> str:
    """Plain data as YAML, keys in their own order; equal data gives equal bytes."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)


class _Reader:
    """Turns YAML's nodes into `Given` values."""

    def __init__(self, loader: _Loader, source: str, problems: list[str], with_lines: bool) -> None:
        self.loader, self.source, self.problems, self.with_lines = loader, source, problems, with_lines
        self.values = 0

    def value(self, node: yaml.Node, origin: Origin, depth: int) -> Given | None:
        self.values += 1
        if self.values > MOST_VALUES or depth > 50:
            if self.values <= MOST_VALUES + 50:
                self.values = MOST_VALUES + 51
                self.problems.append(f"{origin.place}: more than {MOST_VALUES} values, or nested too deep")
            return None
        if node.tag.startswith(("!", "tag:yaml.org,2002:python/")) or node.tag in _STRANGE:
            self.problems.append(f"{origin.place}: got the tag {node.tag!r}, expected plain values")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, origin, depth)
        if isinstance(node, yaml.SequenceNode):
            inside = [self.value(inner, self._origin(inner), depth + 1) for inner in node.value]
            return Given([inner for inner in inside if inner is not None], origin)
        return self._scalar(node, origin)

    def _mapping(self, node: yaml.MappingNode, origin: Origin, depth: int) -> Given:
        self._refuse_duplicates(node)
        self.loader.flatten_mapping(node)
        found: dict[str, Given] = {}
        for key_node, value_node in node.value:
            key_origin = self._origin(key_node)
            key = self._key(key_node, key_origin)
            if key is None:
                continue
            inner = self.value(value_node, key_origin, depth + 1)
            if inner is not None:
                found[key] = inner
        return Given(found, origin)

    def _key(self, node: yaml.Node, origin: Origin) -> str | None:
        key = self._scalar(node, origin) if isinstance(node, yaml.ScalarNode) else Given(node.value)
        if key is None:
            return None
        if not isinstance(key.value, str):
            self.problems.append(f"{origin.place}: got the key {str(node.value)[:80]!r}, expected a name")
            return None
        if "." in key.value:
            nested = "{}: {{{}: ...}}".format(*key.value.split(".", 1))
            got = f"got the key '{key.value}', expected nested keys: {nested}; dots are for --set"
            self.problems.append(f"{origin.place}: {got}")
            return None
        return key.value

    def _refuse_duplicates(self, node: yaml.MappingNode) -> None:
        first: dict[str, str] = {}
        for key_node, _ in node.value:
            name, place = str(key_node.value), self._origin(key_node).place
            if name in first:
                self.problems.append(f"{place}: '{name}' is given twice, first at {first[name]}")
            first.setdefault(name, place)

    def _scalar(self, node: yaml.Node, origin: Origin) -> Given | None:
        try:
            return Given(self.loader.construct_object(node), origin)
        except (yaml.YAMLError, ValueError) as error:
            self.problems.append(f"{origin.place}: cannot read '{str(node.value)[:80]}': {_words(error)}")
            return None

    def _origin(self, node: yaml.Node) -> Origin:
        return Origin(self.source, node.start_mark.line + 1 if self.with_lines else None)


def _place(source: str, error: yaml.YAMLError, with_lines: bool) -> str:
    mark = getattr(error, "problem_mark", None)
    return Origin(source, mark.line + 1 if mark is not None and with_lines else None).place


def _words(error: Exception) -> str:
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return " ".join(str(said).split())
