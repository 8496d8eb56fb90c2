"""A method's slots as settings: layers laid over the method's own definition, ranges, and the tree of its keys."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from rung.errors import SettingsError
from rung.methods import GRPO, METHODS, Method, unknown
from rung.methods.data import IDENTITY, as_data, from_data
from rung.methods.data import slots as slots_of
from rung.settings.given import Given, given, only_written, plain


@dataclass(frozen=True)
class MethodReading:
    """What the layers make of a method."""

    method: Method | None
    """None when it has problems."""
    written: Given
    """`name` and the slots that somebody wrote: what becomes `Settings.method`."""
    problems: tuple[str, ...]
    """Sentences that begin with the setting's path: `method.optimizer.learning_rate: got ...`."""
    notes: tuple[str, ...] = ()
    """A name that a higher layer replaced."""


def read_method(layers: Sequence[Given]) -> MethodReading:
    """The layers of `method`, lowest first, laid over the definition of the method that the highest one names.

    With an unknown name the other keys are still checked, against GRPO: the names of the slots are common to all.
    """
    problems: list[str] = []
    layers = [_sound(_with_name(layer), problems) for layer in layers]
    name = _name(layers, problems)
    known = METHODS.get(name) if name is not None else None
    merged = given(as_data(known or GRPO), None)
    for layer in layers:
        merged = overlay_parts(merged, layer)
    written = only_written(merged) or Given({})
    replaced, notes = _replaced_names(layers)
    problems += replaced
    data = {**plain(merged), "name": (known or GRPO).name}
    problems += out_of_range(data)
    method: Method | None = None
    try:
        method = from_data(data)
    except SettingsError as error:
        problems += error.problems
    if method is not None and known is not None:
        problems += method.problems()
    problems = list(dict.fromkeys(problems))
    return MethodReading(None if problems else method, written, tuple(problems), tuple(notes))


def fitted(recipe: Given, method_name: str | None) -> Given:
    """The recipe less the slots and the parts' numbers that the chosen method does not have: one serves every method.

    A learning rate is left out for a method whose step has none (TRPO); everything, where there is no such method.
    """
    slots, method = recipe.value.get("method"), METHODS.get(method_name or "")
    if slots is None or not isinstance(slots.value, dict):
        return recipe
    if method is None:
        return Given({key: inner for key, inner in recipe.value.items() if key != "method"}, recipe.origin)
    kept: dict[str, Given] = {}
    for name, content in slots.value.items():
        if name not in slots_of(method):
            continue
        part = getattr(method, name)
        if not isinstance(content.value, dict) or "part" in content.value:
            kept[name] = content
            continue
        known = {field.name for field in fields(part)} if is_dataclass(part) else set[str]()
        numbers = {key: inner for key, inner in content.value.items() if key in known}
        if numbers:
            kept[name] = Given(numbers, content.origin)
    return Given({**recipe.value, "method": Given(kept, slots.origin)}, recipe.origin)


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


def _with_name(layer: Given) -> Given:
    """`method: grpo` as `method: {name: grpo}`."""
    return layer if isinstance(layer.value, dict) else Given({"name": layer}, layer.origin)


def _sound(layer: Given, problems: list[str]) -> Given:
    """The layer less what only describes the method."""
    kept: dict[str, Given] = {}
    for key, inner in layer.value.items():
        if key in (*IDENTITY, "kind") and key != "name":
            problems.append(inner.problem(f"method.{key}", "says what the method is and cannot be set"))
        else:
            kept[key] = inner
    return Given(kept, layer.origin)


def _name(layers: Sequence[Given], problems: list[str]) -> str | None:
    names = [layer.value["name"] for layer in layers if "name" in layer.value]
    if not names:
        problems.append(f"method.name: missing; expected one of {', '.join(METHODS)}")
        return None
    name = names[-1].value
    if not isinstance(name, str):
        problems.append(f"method.name: got {plain(names[-1])!r}, expected one of {', '.join(METHODS)}")
        return None
    if name not in METHODS:
        problems.append(f"method.name: {unknown(name)}")
    return name


def _replaced_names(layers: Sequence[Given]) -> tuple[list[str], list[str]]:
    """A layer that names one method and sets its slots must not be read as settings of another: problems, notes."""
    names = [layer.value["name"] for layer in layers if "name" in layer.value]
    problems, notes = [], []
    for layer in layers:
        name = layer.value.get("name")
        if name is None or name.value == names[-1].value:
            continue
        if len(layer.value) == 1:
            notes.append(f"method: {names[-1].value} replaces {name.value} ({_place(name)})")
        else:
            problems.append(
                f"method.name: got '{names[-1].value}', but {_place(name)} sets slots of '{name.value}'; "
                "leave one of the two names out"
            )
    return problems, notes


def _place(value: Given) -> str:
    return value.origin.place if value.origin is not None else "the method's definition"


@dataclass(frozen=True)
class Range:
    """Which numbers a part's field takes."""

    holds: Callable[[float], bool]
    words: str


_ABOVE_0 = Range(lambda value: value > 0, "more than 0")
_FROM_0 = Range(lambda value: value >= 0, "at least 0")
_FROM_1 = Range(lambda value: value >= 1, "at least 1")
_SHARE = Range(lambda value: 0 <= value <= 1, "between 0 and 1")
_BELOW_HALF = Range(lambda value: 0 <= value < 0.5, "at least 0 and below 0.5")
_PART = Range(lambda value: 0 < value <= 1, "more than 0 and at most 1")
_ANY = Range(math.isfinite, "a number")
_BELOW_1 = Range(lambda value: 0 <= value < 1, "at least 0 and below 1")

RANGES: Mapping[str, Range] = {
    "samples_per_prompt": _FROM_1,
    "num_epochs": _FROM_1,
    "num_minibatches": _FROM_1,
    "AdamW.learning_rate": _ABOVE_0,
    "AdamW.beta1": _BELOW_1,
    "AdamW.beta2": _BELOW_1,
    "AdamW.epsilon": _ABOVE_0,
    "AdamW.weight_decay": _FROM_0,
    "AdamW.warmup_steps": _FROM_0,
    "AdamW.max_grad_norm": _ABOVE_0,
    "ClippedSurrogate.low": _SHARE,
    "ClippedSurrogate.high": _FROM_0,
    "ClippedSurrogate.dual": Range(lambda value: value > 1, "more than 1"),
    "SequenceClippedSurrogate.low": _SHARE,
    "SequenceClippedSurrogate.high": _FROM_0,
    "ClippedWeight.high": _FROM_1,
    "WithinProbability.low": _SHARE,
    "WithinProbability.high": _SHARE,
    "WithinProbability.pull": _FROM_0,
    "ClipCov.low": _SHARE,
    "ClipCov.high": _FROM_0,
    "ClipCov.share": _PART,
    "ClipCov.above": _ANY,
    "ClipCov.below": _ANY,
    "KLCov.share": _PART,
    "KLCov.coefficient": _FROM_0,
    "KLPenalty.coefficient": _FROM_0,
    "KLPenalty.target": _ABOVE_0,
    "horizon": _FROM_1,
    "entropy_bonus": _FROM_0,
    "RMSprop.learning_rate": _ABOVE_0,
    "RMSprop.alpha": _BELOW_1,
    "RMSprop.epsilon": _ABOVE_0,
    "RMSprop.warmup_steps": _FROM_0,
    "RMSprop.max_grad_norm": _ABOVE_0,
    "NaturalGradient.max_kl": _ABOVE_0,
    "NaturalGradient.iterations": _FROM_1,
    "NaturalGradient.damping": _FROM_0,
    "NaturalGradient.fisher_share": _PART,
    "NaturalGradient.backtracks": _FROM_0,
    "NaturalGradient.shrink": Range(lambda value: 0 < value < 1, "more than 0 and less than 1"),
    "NaturalGradient.accept": _ABOVE_0,
    "NaturalGradient.critic_learning_rate": _ABOVE_0,
    "NaturalGradient.num_critic_epochs": _FROM_0,
    "NaturalGradient.num_critic_minibatches": _FROM_1,
    "ValueFunction.coefficient": _FROM_0,
    "ValueFunction.clip": _ABOVE_0,
    "ValueFunction.warmup_steps": _FROM_0,
    "GAE.discount": _SHARE,
    "GAE.lam": _SHARE,
    "LengthAdaptiveGAE.alpha": _ABOVE_0,
    "LengthAdaptiveGAE.discount": _SHARE,
    "NStep.discount": _SHARE,
    "NStep.steps": _FROM_1,
    "GroupCentredBatchScaled.epsilon": _FROM_0,
    "GroupCentredBatchScaled.ddof": Range(lambda value: value in (0, 1), "0 or 1"),
    "Whiten.epsilon": _FROM_0,
    "Whiten.ddof": Range(lambda value: value in (0, 1), "0 or 1"),
    "AccuraciesDiffer.most_batches": _FROM_1,
    "SoftOverlong.limit": _FROM_1,
    "SoftOverlong.cache": _FROM_1,
    "TruncatedImportance.cap": _ABOVE_0,
    "MaskedImportance.low": _FROM_0,
    "MaskedImportance.high": _ABOVE_0,
    "KLInReward.target": _ABOVE_0,
    "KLInReward.adapt_over": _FROM_1,
    "KLInLoss.coefficient": _FROM_0,
    "KLInReward.coefficient": _FROM_0,
    "KLInAdvantage.coefficient": _FROM_0,
    "KLInLoss.refresh_every": _FROM_1,
    "KLInReward.refresh_every": _FROM_1,
    "KLInAdvantage.refresh_every": _FROM_1,
    "NormalizedByOthers.epsilon": _FROM_0,
    "ProcessNormalized.epsilon": _FROM_0,
    "ProcessNormalized.ddof": Range(lambda value: value in (0, 1), "0 or 1"),
    "RewardToGo.discount": _SHARE,
    "GroupNormalized.epsilon": _FROM_0,
    "GroupNormalized.ddof": Range(lambda value: value in (0, 1), "0 or 1"),
    "PerConstantLength.length": _FROM_1,
    "SegmentPreferences.members": _FROM_1,
    "SegmentPreferences.segment": _FROM_1,
    "SegmentPreferences.first_share": _SHARE,
    "SegmentPreferences.rate_halves_at": _FROM_1,
    "SegmentPreferences.recent_steps": _FROM_1,
    "SegmentPreferences.coin_share": _SHARE,
    "SegmentPreferences.reward_std": _ABOVE_0,
    "SegmentPreferences.l2_low": _FROM_1,
    "SegmentPreferences.l2_high": _FROM_1,
    "SegmentPreferences.predictor_rate": _ABOVE_0,
    "SegmentPreferences.pairs_per_update": _FROM_1,
    "SegmentPreferences.first_updates": _FROM_1,
    "SegmentPreferences.later_updates": _FROM_0,
    "ByDisagreement.candidates": _FROM_1,
    "steps_between_updates": _FROM_1,
    "updates": _FROM_1,
    "EpsilonGreedy.start": _SHARE,
    "EpsilonGreedy.end": _SHARE,
    "EpsilonGreedy.over": _FROM_1,
    "EpsilonGreedy.evaluation": _SHARE,
    "Boltzmann.temperature": _ABOVE_0,
    "Uniform.capacity": _FROM_1,
    "Uniform.starts": _FROM_1,
    "Uniform.batch": _FROM_1,
    "Prioritised.capacity": _FROM_1,
    "Prioritised.starts": _FROM_1,
    "Prioritised.batch": _FROM_1,
    "Prioritised.alpha": _SHARE,
    "Prioritised.beta": _SHARE,
    "Prioritised.beta_over": _FROM_1,
    "Prioritised.epsilon": _ABOVE_0,
    "Layers2013.first": _FROM_1,
    "Layers2013.second": _FROM_1,
    "Layers2015.first": _FROM_1,
    "Layers2015.second": _FROM_1,
    "MaxTarget.discount": _SHARE,
    "MaxTarget.steps": _FROM_1,
    "DoubleTarget.discount": _SHARE,
    "DoubleTarget.steps": _FROM_1,
    "Every.updates": _FROM_1,
    "Every.share": Range(lambda value: 0 < value <= 1, "more than 0 and at most 1"),
    "ClippedError.limit": _ABOVE_0,
    "Adam.learning_rate": _ABOVE_0,
    "Adam.beta1": _BELOW_1,
    "Adam.beta2": _BELOW_1,
    "Adam.epsilon": _ABOVE_0,
    "Adam.max_grad_norm": _ABOVE_0,
    "CentredRMSprop.learning_rate": _ABOVE_0,
    "CentredRMSprop.decay": _BELOW_1,
    "CentredRMSprop.epsilon": _ABOVE_0,
    "CentredRMSprop.max_grad_norm": _ABOVE_0,
    "pairs_per_step": _FROM_1,
    "DPOLoss.beta": _ABOVE_0,
    "ConservativeDPOLoss.beta": _ABOVE_0,
    "ConservativeDPOLoss.flipped": _BELOW_HALF,
    "RobustDPOLoss.beta": _ABOVE_0,
    "RobustDPOLoss.flipped": _BELOW_HALF,
    "IPOLoss.tau": _ABOVE_0,
    "SimPOLoss.beta": _ABOVE_0,
    "SimPOLoss.target": _FROM_0,
    "ORPOLoss.weight": _FROM_0,
    "KTOLoss.beta": _ABOVE_0,
    "KTOLoss.desirable": _FROM_0,
    "KTOLoss.undesirable": _FROM_0,
    "APOZeroLoss.beta": _ABOVE_0,
    "APODownLoss.beta": _ABOVE_0,
    "Unlikelihood.alpha": _FROM_0,
    "SearchElement.step_size": _ABOVE_0,
    "SearchElement.decay": _BELOW_1,
    "SearchElement.noise": _FROM_0,
    "CriticElement.step_size": _ABOVE_0,
    "CriticElement.gamma": _SHARE,
    "CriticElement.decay": _BELOW_1,
    "Lifetimes.decay": _SHARE,
    "Lifetimes.weight": _ABOVE_0,
    "Lifetimes.base": _FROM_0,
    "Lifetimes.multiple": _FROM_0,
}
"""By part and field. Every number of every part stands here; a test holds that to be so."""


def out_of_range(data: Mapping[str, Any], path: str = "method") -> Iterator[str]:
    """A sentence for every number of a method's data that is out of its range; wrong types are not its business."""
    part = f"{data['part']}." if "part" in data else ""
    for key, value in data.items():
        limits = RANGES.get(f"{part}{key}")
        if isinstance(value, Mapping):
            yield from out_of_range(value, f"{path}.{key}")
        elif limits is not None and _is_number(value) and not limits.holds(value):
            yield f"{path}.{key}: got {value}, expected {limits.words}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def method_keys(kind: type[Any]) -> list[str]:
    """Every dotted key that a method of this kind can have: `method.objective`, `method.objective.high`, ..."""
    return list(dict.fromkeys(["method", "method.name", *_keys_of(kind, "method")]))


def _keys_of(cls: Any, path: str) -> Iterator[str]:
    for name, hint in typing.get_type_hints(cls).items():
        if name in IDENTITY or typing.get_origin(hint) is typing.ClassVar:
            continue
        yield f"{path}.{name}"
        parts = [choice for choice in _choices(hint) if is_dataclass(choice)]
        if parts:
            yield f"{path}.{name}.part"
        for part in parts:
            yield from _keys_of(part, f"{path}.{name}")


def _choices(hint: Any) -> Iterable[Any]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
