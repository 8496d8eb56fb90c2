"""The verdict on a loss: its numbers, what it equals among rung's definitions, and both in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rung.lab.referee.asking import Answers, Reply, ask
from rung.lab.referee.estimates import has_policy_slots
from rung.lab.referee.fitting import SLOTS, Fit
from rung.lab.referee.measures import MEASURES, answered
from rung.methods import METHODS
from rung.methods.data import as_data
from rung.methods.explain import describe
from rung.methods.parts.aggregations import PerConstantLength, PerEpisode

EXACT, SEEN = 1e-6, 1e-4
"""Below the first a number is 0; above the second a dependence is told."""
REPEATS = {
    "padding": "Reads the padding: the gradient changes by {by} with its width or with what stands in it.",
    "order_of_samples": "Depends on the order of a prompt's samples, by {by}.",
    "order_of_prompts": "Depends on the order of the prompts, by {by}.",
    "micro_batch": "The step depends on the micro-batch: parts, {added_up}, differ from the whole by {by}.",
    "accumulation": "The step depends on gradient accumulation and on the number of processes, by {by}, though each "
    "part holds whole prompts.",
}


def verify(
    adapter: str, *, python: str | None = None, arguments: Sequence[str] = (), cells: Sequence[str] | None = None
) -> dict[str, Any]:
    """The verdict on every cell of an adapter, as JSON-like data.

    Raises SettingsError: see `asking.ask`.
    """
    reply: Reply
    reply, read = answered(
        MEASURES, lambda batches: ask(adapter, batches, python=python, arguments=arguments, cells=cells)
    )
    said = {name: _verdict(answers, read) for name, answers in reply.cells.items()}
    return {"library": adapter, "version": reply.version, "files": dict(reply.files), "cells": said}


def _verdict(answers: Answers | str, read: Callable[[Answers], dict[str, Any]]) -> dict[str, Any]:
    if isinstance(answers, str):
        return {"failed": answers}
    try:
        found = read(answers)
    except ValueError as error:
        return {"failed": str(error)}
    fit: Fit
    fit, parts = found.pop("fit")
    preset, differs = nearest_preset(fit, answers.asked)
    data: dict[str, Any] = {
        "calls": answers.says.split("\n\n")[0].replace("\n", " "),
        "asked": list(answers.asked),
        "promised": answers.promised,
        "parts_at": parts,
        **found,
        "fit": {
            "equal": fit.equal,
            "scale": fit.scale,
            "distance": fit.distance,
            "kl_distance": fit.kl_distance,
            "slots": {slot: as_data(part) for slot, part in fit.slots.items()},
            "reference_kl": as_data(fit.kl),
            "kl_aggregation": as_data(fit.kl_aggregation),
            "in_words": in_words(fit),
            "preset": preset,
            "differs": differs,
        },
    }
    return {**data, "sentences": list(sentences(data))}


def nearest_preset(fit: Fit, asked: Sequence[str]) -> tuple[str, list[str]]:
    """The method whose slots differ least from the fitted ones, and the slots that do. A constant length is a scale.

    A loss that is given its advantages is compared by its other slots.
    """
    reads_rewards = bool({"rewards", "token_rewards"} & set(asked))
    compared = [*SLOTS[:2] * reads_rewards, *SLOTS[2:] * ("log_probs" in asked)]
    ranked: list[tuple[int, int, str, list[str]]] = []
    for place, (name, method) in enumerate(METHODS.items()):
        if not has_policy_slots(method) or method.behaviour or method.critic or method.learned_reward:
            continue
        filled = {slot: getattr(method, slot) for slot in SLOTS}
        if isinstance(filled["aggregation"], PerConstantLength):
            filled["aggregation"] = PerEpisode()
        differs = [
            f"{slot}: {describe(filled[slot])} → {describe(fit.slots[slot])}"
            for slot in compared
            if filled[slot] != fit.slots[slot]
        ]
        if _kind_of(method.reference_kl) != _kind_of(fit.kl):
            differs.append(f"reference_kl: {describe(method.reference_kl)} → {describe(fit.kl)}")
        ranked.append((len(differs), place, name, differs))
    _, _, name, differs = min(ranked)
    return name, differs


def _kind_of(kl: Any) -> tuple[Any, ...]:
    """Which reference KL it is, whatever its coefficient."""
    return type(kl), getattr(kl, "estimator", None), getattr(kl, "times_ratio", False)


def in_words(fit: Fit) -> list[str]:
    named = {**fit.slots, "reference_kl": fit.kl, "aggregation of the KL": fit.kl_aggregation}
    return [f"{slot}: {describe(part)}" for slot, part in named.items() if part is not None]


def sentences(data: Mapping[str, Any]) -> Iterator[str]:
    """What the numbers say, for somebody who has not met them."""
    yield from _direction(data)
    length = data["length"]
    if length is not None and abs(length - 1) > SEEN:
        which = "short" if length > 1 else "long"
        other = "long" if length > 1 else "short"
        yield (
            f"Prefers {which} answers where they are right, and {other} ones where they are wrong: a token of an "
            f"answer of length 1 weighs {length:.3g} times one of length 3."
        )
    yield from _kl(data)
    depends, fit = data["depends"], data["fit"]
    for name, text in REPEATS.items():
        by = depends.get(name, 0.0)
        if not by <= SEEN and (name != "accumulation" or by != depends["micro_batch"]):
            yield text.format(by=f"{by:.3g}", added_up=depends.get("added_up"))
    if data["parts_at"]:
        yield f"Differs from rung's {data['promised']}: {data['parts_at']}."
    parts = "; ".join(fit["in_words"])
    if fit["equal"]:
        times = "" if abs(fit["scale"] - 1) < SEEN else f" times {fit['scale']:.4g}"
        same = "nearest" if fit["differs"] else "the slots of"
        yield f"Equals rung's parts{times}: {parts} ({same} {fit['preset']})."
    else:
        far = max(fit["distance"], fit["kl_distance"])
        yield f"Equals none of rung's parts; nearest, at {far:.3g} of the gradient's length, are {parts}."


def _direction(data: Mapping[str, Any]) -> Iterator[str]:
    two, four = data["samples_2"], data["samples_4"]
    exact = max(two["off_direction"], four["off_direction"]) < EXACT
    if exact and max(abs(two["ratio"] - 1), abs(four["ratio"] - 1)) < EXACT:
        yield "Climbs the expected return: on average the gradient is the true one."
    elif exact and max(abs(two["ratio"] - 1 / 2), abs(four["ratio"] - 3 / 4)) < EXACT:
        yield "Shrinks by (G-1)/G: the direction is right, but a prompt's mean holds the sample itself."
    elif exact:
        lengths = f"{two['ratio']:.4g} at 2 samples of a prompt and {four['ratio']:.4g} at 4"
        yield f"The direction is right; the length is {lengths}."
    else:
        yield (
            f"Bends the direction: {two['off_direction']:.3f} of the true gradient's length at 2 samples of a prompt, "
            f"{four['off_direction']:.3f} at 4; cosine {two['cosine']:.3f} and {four['cosine']:.3f}."
        )


def _kl(data: Mapping[str, Any]) -> Iterator[str]:
    if "reference_log_probs" not in data["asked"]:
        return
    kl, part = data["kl"], data["fit"]["reference_kl"]
    if kl is None:
        yield "No gradient through the KL: where no reward is given, no reference changes anything."
    elif part and part["part"] == "KLInLoss" and part["estimator"]["part"] == "K1" and not part["times_ratio"]:
        yield (
            "No gradient through the KL: k1 in the loss pulls nowhere on average; what is left, with the weight "
            f"{kl['ratio']:.2g}, comes from how tokens are averaged."
        )
    elif kl["off_direction"] / abs(kl["ratio"]) < EXACT:
        yield f"Pulls to the reference along the true KL, with the weight {kl['ratio']:.4g}."
    else:
        weight, cosine = f"{kl['ratio']:.4g}", f"{kl['cosine']:.3f}"
        yield f"Pulls to the reference with the weight {weight}, off the true KL's direction: cosine {cosine}."
