"""From layers to settings, or to everything that is wrong with them. The schema is handed in: it stands above."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rung.settings.given import NOWHERE, Given, Reading, S, given, placed, plain, without
from rung.settings.layers import merged, usable
from rung.settings.method import MethodSettings
from rung.settings.section import Section, keys_of

if TYPE_CHECKING:
    from rung.methods import Method

Parts = Sequence[type[Any]]
Contradictions = Callable[[Any, "Method | None"], Iterable[str]]
"""Sentences about settings that are each valid and cannot go together; the method is None where it has problems."""


def run_keys(schema: type[Section], method: str | None = None) -> list[str]:
    """Every dotted key that a run's settings can have: those of this method's kind included, or of any kind's."""
    from rung.methods import METHODS
    from rung.methods.data import KINDS
    from rung.settings.method_layers import method_keys

    kinds = [type(METHODS[method])] if method in METHODS else KINDS
    return list(dict.fromkeys([*keys_of(schema), *(key for kind in kinds for key in method_keys(kind))]))


def settled(schema: type[S], layers: Iterable[Mapping[str, Any]], parts: Parts = ()) -> S:
    """The settings that these layers of plain data make, lowest first. SettingsError with every problem."""
    problems: list[str] = []
    trees = usable([given(layer, NOWHERE) for layer in layers], problems)
    return read_layers(schema, trees, run_keys(schema), problems, parts=parts).required()


def read_layers(
    schema: type[S],
    layers: Sequence[Given],
    keys: Sequence[str],
    problems: Sequence[str] = (),
    notes: Sequence[str] = (),
    *,
    parts: Parts = (),
    contradictions: Contradictions | None = None,
) -> Reading[S]:
    """What the layers say, lowest first. `problems` and `notes` were found on the way here.

    Contradictions are looked for even when some keys are wrong: among the others, with defaults in place of the
    wrong ones, and only those are told that do not concern a wrong key.
    """
    from rung.settings.method_layers import read_method

    notes = list(notes)
    method = read_method([layer.value["method"] for layer in layers if "method" in layer.value], parts)
    tree = merged([without(layer, "method") for layer in layers], notes)
    whole = plain(method.whole) if method.method is not None else {"name": "grpo"}
    chosen = MethodSettings.model_validate(whole).with_parts(parts)
    settings, wrong = schema.checked({**plain(tree), "method": chosen}, keys)
    found, paths = [*(sentence for _, sentence in wrong), *method.problems], [path for path, _ in wrong]
    rest = settings or _salvaged(schema, tree, chosen, paths, keys)
    if rest is not None and contradictions is not None:
        found += [one for one in contradictions(rest, method.method) if not _concerns(one, paths)]
    tree = Given({**tree.value, "method": method.written}, tree.origin)
    problems = [*problems, *(placed(sentence, tree) for sentence in found)]
    said = (*notes, *method.notes)
    return Reading(settings=None if problems else settings, problems=tuple(problems), tree=tree, notes=said)


def _salvaged(
    schema: type[S], body: Given, method: MethodSettings, wrong: Sequence[str], keys: Sequence[str]
) -> S | None:
    """The settings with defaults, or a stand-in where there is none, in place of what is wrong."""
    for path in sorted(wrong, reverse=True):
        body = without(body, path)
    for name, needed in (("model", "model"), ("task", "task.name")):
        if body.at(needed) is None:
            body = Given({**body.value, name: Given("?")}, body.origin)
    return schema.checked({**plain(body), "method": method}, keys)[0]


def _concerns(problem: str, wrong: Sequence[str]) -> bool:
    """Whether a contradiction mentions a setting that is wrong already."""
    words = problem.replace(":", " ").replace(",", " ").split()
    return any(path and (path in words or problem.startswith(f"{path}.")) for path in wrong)
