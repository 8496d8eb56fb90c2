"""Settings that are each valid and cannot go together, and those that are probably not meant, for every method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rung.errors import SettingsError, did_you_mean
from rung.settings import RewardSettings, Settings
from rung.settings.objects import GIVEN, TASKS_OWN
from rung.settings.schema import NetworkSettings, OwnPairsSettings, PreferenceSettings

HIGH_LEARNING_RATE = 1e-2


def rewards_fit(settings: Settings) -> Iterator[str]:
    """Rewards that cannot be told apart, count for nothing, or are no rewards."""
    counts = Counter(part.part for part in settings.rewards)
    for name in sorted(name for name, count in counts.items() if count > 1):
        yield f"rewards: got {counts[name]} parts called '{name}', expected different names; give each its `name`"
    if settings.rewards and all(part.weight == 0 for part in settings.rewards):
        yield "rewards: got weight 0 for every part, expected at least one that counts"
    for index, part in enumerate(settings.rewards):
        known = part.function == TASKS_OWN or part.function.startswith(GIVEN) or is_function(part.function)
        if not known and not Path(part.function).is_dir():
            yield (
                f"rewards.{index}.function: got '{part.function}', expected 'task', path/file.py:function or the "
                "folder of a reward model"
            )


def accuracy_of(chosen: Sequence[RewardSettings], own: Sequence[str], named: str | None) -> tuple[str, str]:
    """The name of the reward that counts as accuracy, and why it is that one; `own`: the task's own rewards' names.

    It is the reward that `rewarding.accuracy` names, else the task's own where that is kept, else the first.

    Raises SettingsError: there is no reward of that name.
    """
    keeps_own = not chosen or any(part.function == TASKS_OWN for part in chosen)
    by_name = {part.function: part.part for part in chosen if part.function != TASKS_OWN}
    by_name |= {part: part for part in by_name.values()} | {name: name for name in own}
    if own:
        by_name[TASKS_OWN] = own[0]
    if named is not None:
        if named not in by_name:
            names = ", ".join(dict.fromkeys([*by_name.values(), *([TASKS_OWN] if own else [])])) or "none"
            hint = did_you_mean(named, by_name)
            raise SettingsError(
                f"rewarding.accuracy: got '{named}', which no reward is called{hint}; there are: {names}"
            )
        return by_name[named], "which rewarding.accuracy names"
    if keeps_own and own:
        return own[0], "the task's own reward"
    if not chosen:
        return "", "none"
    return chosen[0].part, "the only reward" if len(chosen) == 1 else "the first reward"


def accuracy_doubts(settings: Settings, own: Sequence[str]) -> Iterator[str]:
    """A warning where nobody said which of several rewards tells right from wrong."""
    name, why = accuracy_of(settings.rewards, own, settings.rewarding.accuracy)
    if why == "the first reward":
        others = ", ".join(part.part for part in settings.rewards[1:])
        yield (
            f"rewards: '{name}' counts as accuracy because it stands first (beside {others}): group filters, what is "
            "called right, and the held-out score follow it. If it judges form and not whether the answer is right, "
            "name the one that does by rewarding.accuracy"
        )
    elif why == "the only reward" and own:
        yield (
            f"rewards: '{name}' takes the place of the task's own '{own[0]}', so the held-out score follows it; "
            f"rewarding.accuracy={TASKS_OWN} measures the task's own beside it, with weight 0"
        )


def budget_fits(settings: Settings, *, environment: bool) -> Iterator[str]:
    """Only environments have environment steps."""
    if settings.budget.steps is not None and not environment:
        yield (
            f"budget.steps: got {settings.budget.steps}, but '{settings.task.name}' has no environment steps; set "
            "budget.tokens, budget.trained, budget.seconds or budget.flops"
        )


def no_network(settings: Settings, why: str) -> Iterator[str]:
    """Where `network.hidden` has nothing to shape."""
    if settings.network != NetworkSettings():
        yield f"network.hidden: got {list(settings.network.hidden)}, but {why}"


def no_pairs(settings: Settings, name: str) -> Iterator[str]:
    """Where the section `pairs` says nothing to a method that draws samples at every step."""
    if settings.pairs != OwnPairsSettings():
        yield f"pairs: '{name}' draws samples at every step and takes no pairs; leave pairs out"


def no_labels(settings: Settings, name: str) -> Iterator[str]:
    """Where nobody is asked for labels."""
    if settings.preferences != PreferenceSettings():
        yield (
            f"preferences: '{name}' learns from the task's own reward and asks for no labels; set "
            "method.learned_reward to SegmentPreferences, or leave preferences out"
        )


def general_doubts(settings: Settings) -> Iterator[str]:
    """What is probably not meant, for every method that draws."""
    if settings.evaluation.num_samples > 1 and settings.evaluation.temperature == 0:
        yield (
            f"evaluation.num_samples: the {settings.evaluation.num_samples} samples of an item are all equal at "
            "evaluation.temperature 0"
        )
    if settings.learner.micro_batch_tokens < settings.max_new_tokens:
        yield (
            f"learner.micro_batch_tokens: {settings.learner.micro_batch_tokens} is less than one episode of "
            f"max_new_tokens {settings.max_new_tokens}; a micro-batch then holds one episode and needs more"
        )
    if settings.steps == 0:
        yield "steps: 0, so the model is only evaluated"


def doubtful_rate(rate: float | None) -> Iterator[str]:
    """A learning rate beyond what is usual."""
    if rate is not None and rate > HIGH_LEARNING_RATE:
        yield f"method.optimizer.learning_rate: {rate:g} is very high; 1e-6 to 1e-3 is usual"


def is_function(text: str) -> bool:
    """Whether a reward's `function` is of the form path/file.py:function."""
    file, colon, name = text.rpartition(":")
    return bool(colon) and file.endswith(".py") and name.isidentifier()


def not_for_several(settings: Settings) -> Iterator[str]:
    """What of these settings several processes cannot share: objects of this process, one device, another's sampler."""
    from rung.trainers.ranks import on_gpu

    for key, name in {"model": settings.model, "teacher": settings.teacher or ""}.items():
        if name.startswith(GIVEN):
            yield f"{key} is an object of this process, which others cannot be handed"
    if settings.method.parts:
        yield "the method has parts of your own, which other processes cannot be handed"
    if settings.sampler.engine.startswith(GIVEN):
        yield f"sampler.engine={settings.sampler.engine} is given weights by one process alone"
    if ":" in (settings.learner.device or ""):
        yield f"learner.device={settings.learner.device} is one device, and each process has the GPU of its number"
    elif on_gpu(settings.learner):
        import torch

        if (gpus := torch.cuda.device_count()) < settings.learner.processes:
            yield f"torch sees {gpus} GPUs here, one for each process"
