"""Where a run's pairs come from, if it learns from any: a file of them, or the model's own samples."""

from __future__ import annotations

from collections.abc import Iterator

from rung.methods import Method, PreferenceLearning
from rung.settings.schema import SAMPLES, OwnPairsSettings, Settings


def takes_a_file(settings: Settings, method: Method | None) -> bool:
    """Whether the run's task is a file of pairs."""
    return isinstance(method, PreferenceLearning) and settings.pairs.source != SAMPLES


def draws_pairs(settings: Settings, method: Method | None) -> bool:
    """Whether the run draws its pairs itself, from answers to the train prompts of a task."""
    return isinstance(method, PreferenceLearning) and settings.pairs.source == SAMPLES


def pair_problems(settings: Settings, method: Method) -> Iterator[str]:
    """What is wrong with the section `pairs`, in sentences that begin with the setting to change."""
    if not isinstance(method, PreferenceLearning):
        if settings.pairs != OwnPairsSettings():
            yield f"pairs: '{method.name}' draws samples at every step and takes no pairs; leave pairs out"
        return
    if takes_a_file(settings, method):
        if settings.pairs != OwnPairsSettings():
            yield "pairs: says how pairs are drawn, but pairs.source is 'file'; set pairs.source to samples"
        return
    if not method.trains_policy():
        yield (
            f"pairs.source: '{method.name}' trains a model of the reward, which answers no prompts; make a file of "
            "pairs (rung pairs) and train on it"
        )
    if not settings.budget.limits():
        yield (
            "pairs.source: how many pairs are drawn is decided by the budget, and there is none; set budget.tokens, "
            "budget.trained, budget.seconds or budget.flops"
        )
