"""What several kinds build alike: rewards and their judge, language models, teachers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from rung.errors import SettingsError
from rung.rewards.judge import Judge
from rung.rewards.reward import Reward, WeightedReward
from rung.rewards.user import FunctionReward, UserReward
from rung.rollouts.sampling import Sampler
from rung.settings import RewardSettings, Settings, TaskSettings
from rung.settings.learner import GradientSettings
from rung.settings.objects import GIVEN, TASKS_OWN
from rung.settings.sampler import VLLM
from rung.tasks.task import TextTask
from rung.trainers.engine import engine_sampler
from rung.trainers.fits import accuracy_of, is_function
from rung.trainers.handed import Handed, missing
from rung.trainers.kind import Setup
from rung.trainers.preferences.reward_model import learned_rewards

if TYPE_CHECKING:
    from rung.models.language.lora import Lora
    from rung.models.language.policy import TextPolicy


def limit_threads(learner: GradientSettings) -> None:
    """As many threads as the settings say; all of them when they say nothing, dealt out over the processes."""
    if learner.threads is not None:
        torch.set_num_threads(learner.threads)
    elif (processes := getattr(learner, "processes", 1)) > 1:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // processes))


def rewards_of(
    chosen: Sequence[RewardSettings],
    task: TextTask,
    handed: Handed | None = None,
    *,
    accuracy: str | None = None,
) -> Sequence[WeightedReward]:
    """The task's own rewards, or the user's list, in which `task` stands for the task's own; the accuracy's first.

    The task's own, named as the accuracy and not in the list, is measured with weight 0.
    """
    own = [part.reward.name for part in task.rewards]
    name, _ = accuracy_of(chosen, own, accuracy)
    groups = {part.part: _weighted(part, task, handed) for part in chosen} or {TASKS_OWN: task.rewards}
    found = [one for group in groups.values() for one in group]
    if name in own and name not in (one.reward.name for one in found):
        found += [replace(part, weight=0.0) for part in task.rewards if part.reward.name == name]
    named = [one for one in found if one.reward.name == name] or groups.get(name, ())
    ahead = next(iter(named), None)  # of an ensemble the first
    return found if ahead is None else [ahead, *(one for one in found if one is not ahead)]


def _weighted(part: RewardSettings, task: TextTask, handed: Handed | None) -> Sequence[WeightedReward]:
    if part.function == TASKS_OWN:
        return [replace(own, weight=own.weight * part.weight) for own in task.rewards]
    each = _rewards(part, handed)
    return [WeightedReward(reward=one, weight=part.weight / len(each)) for one in each]


def _rewards(part: RewardSettings, handed: Handed | None) -> Sequence[Reward]:
    """A function that was handed in, a file's function, or the reward models in a folder."""
    if part.function.startswith(GIVEN):
        if handed is None:
            raise missing("rewards", part.function, f"rewards=[{part.part}]")
        return [FunctionReward(handed.reward(part.function), name=part.part)]
    if is_function(part.function):
        return [UserReward(part.function, name=part.name)]
    return learned_rewards(part.function, part.part)


@contextmanager
def judging(settings: Settings, rewards: Sequence[WeightedReward]) -> Iterator[Judge]:
    """A judge by these rewards. It has processes of its own: they end if what is built with it fails."""
    asked = settings.rewarding
    judge = Judge(rewards, deadline_s=asked.deadline_s, max_failed_share=asked.max_failed_share)
    try:
        yield judge
    except BaseException:
        judge.close()
        raise


def language_model(setup: Setup) -> TextPolicy:
    """The language model that is trained."""
    settings = setup.settings
    policy = _loaded("model", setup, lora=lora_of(settings), seed=settings.seed)
    policy.recompute = settings.learner.checkpoint_activations
    return policy


def sampler_of(setup: Setup, policy: TextPolicy) -> Sampler:
    """Who draws a policy's answers: engines, as was handed in, or the processes that learn, each its share. Asked for
    before a model that engines draw from is sharded."""
    if setup.settings.sampler.engine == VLLM:
        return engine_sampler(setup.settings, policy, setup.ranks)
    if setup.ranks.size == 1:
        return setup.handed.sampler(setup.settings, policy)
    from rung.trainers.dealt_sampler import DealtSampler

    return DealtSampler(policy, setup.ranks, rows_at_once=setup.settings.sampler.rows_at_once)


def teacher_of(setup: Setup, policy: TextPolicy) -> TextPolicy | None:
    """The model that is distilled from, frozen. SettingsError when it reads text as other tokens."""
    name = setup.settings.teacher
    if name is None:
        return None
    from rung.models.language.load import differing_tokens

    teacher = _loaded("teacher", setup)
    teacher.model.requires_grad_(False)
    problem = differing_tokens(policy, teacher)
    if problem is not None:
        raise SettingsError([f"teacher: {name} {problem}; choose a teacher with the model's own tokenizer"])
    setup.ranks.shard(teacher)
    return teacher


def _loaded(key: str, setup: Setup, **how: Any) -> TextPolicy:
    """The model that a setting names, or the one that was given from Python; its fingerprint is kept."""
    from rung.models.language.load import as_policy, load_policy
    from rung.trainers.inputs import of_model

    spec, learner = getattr(setup.settings, key), setup.settings.learner
    how |= {"device": getattr(setup.ranks, "device", learner.device), "compute": learner.compute}
    if spec.startswith(GIVEN):
        policy = as_policy(setup.handed.model(spec, teacher=key == "teacher"), **how)
    else:
        policy = load_policy(place_of(spec, setup), **how)
    setup.inputs.update(of_model(f"the {key} {spec}", policy.model, policy.tokenizer))
    return policy


def place_of(spec: str, setup: Setup) -> str:
    """The model's folder or id; `tiny` is made for the task first, or, where it is a file of pairs, for arithmetic."""
    of_text = isinstance(setup.task, TextTask)
    task = setup.settings.task if of_text else TaskSettings(name="arithmetic")
    return str(setup.handed.tiny(task, setup.task if of_text else None)) if spec == "tiny" else spec


def lora_of(settings: Settings) -> Lora | None:
    """The low-rank change that is trained; None: all weights are."""
    from rung.models.language.lora import Lora

    if settings.lora is None:
        return None
    targets: dict[str, Any] = {} if settings.lora.targets is None else {"targets": settings.lora.targets}
    return Lora(rank=settings.lora.rank, alpha=settings.lora.alpha, **targets)


def rounding() -> dict[str, object]:
    """What bitwise equality depends on beside the settings; stored with each checkpoint and compared on resume."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.is_available(),
        "processes": dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1,
    }
