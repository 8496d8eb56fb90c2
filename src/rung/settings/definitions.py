"""The definitions under a method's settings: rung's own by name, or one that was handed in and is written whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rung.errors import SettingsError
from rung.methods import METHODS, Method
from rung.methods.data import IDENTITY, as_data, from_data
from rung.settings.given import NOWHERE, Given, given, plain, without
from rung.settings.objects import method_text


def definition(layers: Sequence[Given], parts: Sequence[type[Any]] = ()) -> Method | None:
    """The definition of the method that the highest layer names; None where there is no such method."""
    said = [layer.value["method"] for layer in layers if "method" in layer.value]
    named = [layer for layer in said if "name" in layer.value]
    if not named:
        return None
    if "kind" not in named[-1].value:
        name = named[-1].value["name"].value
        return METHODS.get(name) if isinstance(name, str) else None
    try:
        return from_data(plain(named[-1]), parts)
    except SettingsError:  # told by read_method
        return None


def with_own_methods(layer: Given, methods: Mapping[str, Method]) -> Given:
    """The layer, in which the name of a method that was handed in is replaced by what the method is."""
    name = layer.at("method.name")
    if name is None or not isinstance(name.value, str) or name.value not in methods:
        return layer
    text = given(method_text(methods[name.value]), NOWHERE)
    slots = without(layer.value["method"], "name")
    return Given({**layer.value, "method": overlay_parts(text, slots)}, layer.origin)


def own_definition(layers: Sequence[Given]) -> tuple[list[Given], Given | None]:
    """The layers without the whole definition of the user's own method, and that definition; None: rung ships it.

    The name, and the slots that differ from the parent's, stay among the layers: the user chose them, so they count
    more than a recipe. Of a definition that a higher layer's name replaces, only its name stays.
    """
    at = max((index for index, layer in enumerate(layers) if "name" in layer.value), default=None)
    if at is None:
        return list(layers), None
    below_it = [Given({"name": one.value["name"]}, one.origin) if "kind" in one.value else one for one in layers[:at]]
    layers = [*below_it, *layers[at:]]
    if "kind" not in layers[at].value:
        return layers, None
    own = layers[at]
    below = given(plain(own), None) if own.origin == NOWHERE else own
    parent = own.value.get("parent")
    of = METHODS.get(parent.value) if parent is not None and isinstance(parent.value, str) else None
    inherited = as_data(of) if of is not None else {}
    chosen = {
        key: inner
        for key, inner in own.value.items()
        if key == "name"
        or (key not in (*IDENTITY, "kind") and (key not in inherited or inherited[key] != plain(inner)))
    }
    return [*layers[:at], Given(chosen, own.origin), *layers[at + 1 :]], below


def overlay_parts(below: Given | None, above: Given) -> Given:
    """`overlay` for slots: a part that changes its kind keeps nothing of the old one's numbers.

    A part's name alone (`objective: ClippedSurrogate`) fills the slot with that part's defaults.
    """
    if _is_part(below) and isinstance(above.value, str):
        above = Given({"part": above}, above.origin)
    if not isinstance(above.value, dict):
        return above
    lower = _keys(below)
    part = above.value.get("part")
    if part is not None and ("part" not in lower or lower["part"].value != part.value):
        lower = {}
    merged = {key: overlay_parts(lower.get(key), inner) for key, inner in above.value.items()}
    return Given({**lower, **merged}, above.origin)


def _is_part(below: Given | None) -> bool:
    return below is not None and isinstance(below.value, dict) and "part" in below.value


def _keys(below: Given | None) -> dict[str, Given]:
    if below is None or not isinstance(below.value, dict | str):
        return {}
    return {"part": below} if isinstance(below.value, str) else below.value
