"""Settings that are each valid and cannot go together, and those that can but seldom should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rung.methods import METHODS, AdaptiveElements, Method, PolicyGradient, PreferenceLearning, ValueLearning
from rung.methods.parts.advantages import OthersInBatch, ProcessNormalized, RightAnswers
from rung.methods.parts.aggregations import PerConstantLength
from rung.methods.parts.optimizers import NaturalGradient
from rung.methods.parts.q_learning import Prioritised
from rung.settings.pair_source import draws_pairs, pair_problems, takes_a_file
from rung.settings.schema import SMALL, TASKS_OWN, NetworkSettings, PreferenceSettings, Settings
from rung.tasks.cart_pole import NAME as CART_POLE
from rung.tasks.environment import EnvironmentTask, looks_like_environment
from rung.tasks.task import TextTask

HIGH_LEARNING_RATE = 1e-2
BOXED = [name for name, method in METHODS.items() if isinstance(method, AdaptiveElements)]


def contradictions(settings: Settings, method: Method | None) -> Iterator[str]:
    """A sentence for each; it begins with the setting to change. `method` None: it has problems of its own."""
    yield from _of_rewards(settings)
    yield from _budget(settings)
    yield from _of_network(settings, method)
    if isinstance(method, PolicyGradient):
        yield from _of_rollouts(settings, method)
        yield from _of_preferences(settings, method)
    if method is not None:
        yield from pair_problems(settings, method)
    if isinstance(method, PreferenceLearning):
        yield from _of_pairs(settings, method)
    if isinstance(method, ValueLearning) and settings.model != SMALL:
        yield from _of_tokens(settings, method)
    learns_in_boxes = isinstance(method, AdaptiveElements)
    if draws_pairs(settings, method):
        return
    if method is not None and learns_in_boxes != (settings.task.name == CART_POLE):
        yield (
            f"task.name: got '{settings.task.name}', but '{method.name}' learns in the boxes of {CART_POLE} alone"
            if learns_in_boxes
            else f"task.name: got '{CART_POLE}', whose boxes only {', '.join(BOXED)} learn in; for '{method.name}' "
            "there is CartPole-v1"
        )


def _of_rewards(settings: Settings) -> Iterator[str]:
    counts = Counter(part.part for part in settings.rewards)
    for name in sorted(name for name, count in counts.items() if count > 1):
        yield f"rewards: got {counts[name]} parts called '{name}', expected different names; give each its `name`"
    if settings.rewards and all(part.weight == 0 for part in settings.rewards):
        yield "rewards: got weight 0 for every part, expected at least one that counts"
    for index, part in enumerate(settings.rewards):
        if part.function != TASKS_OWN and not is_function(part.function) and not Path(part.function).is_dir():
            yield (
                f"rewards.{index}.function: got '{part.function}', expected 'task', path/file.py:function or the "
                "folder of a reward model"
            )


def _of_preferences(settings: Settings, method: PolicyGradient) -> Iterator[str]:
    part = method.learned_reward
    if part is None:
        if settings.preferences != PreferenceSettings():
            yield (
                f"preferences: '{method.name}' learns from the task's own reward and asks for no labels; set "
                "method.learned_reward to SegmentPreferences, or leave preferences out"
            )
        return
    if settings.model != "small":
        yield (
            f"method.learned_reward: got model '{settings.model}', but rewards are learnt from segments of "
            "environments alone; set model to small and a task such as Pendulum-v1"
        )
    if settings.task.options().get("normalize_rewards"):
        yield (
            "task.normalize_rewards: a learned reward is normalised already, and the task's own is hidden; set it to "
            "false"
        )
    if settings.preferences.labeller == "people":
        if settings.preferences.folder is None:
            yield "preferences.folder: got none, but people need a place where clips and votes lie; name a folder"
        if method.horizon is None:
            yield (
                f"preferences.labeller: got people, but '{method.name}' plays whole episodes, and clips are cut from "
                "stretches alone; set method.horizon, or the labeller to oracle"
            )
    if part.l2_low >= part.l2_high:
        yield f"method.learned_reward.l2_low: got {part.l2_low:g}, expected less than l2_high {part.l2_high:g}"


def task_misfits(method: Method, task: object) -> Iterator[str]:
    """Why this method cannot learn this task; each sentence begins with the setting to change."""
    if isinstance(method, PreferenceLearning):
        if not isinstance(task, TextTask):
            yield _prefers_texts(method, getattr(task, "name", str(task)))
        return
    if not isinstance(method, ValueLearning):
        if isinstance(task, EnvironmentTask) and task.is_atari:
            yield (
                f"method.name: '{method.name}' on '{task.name}': a game is seen as images, for which only methods that "
                "learn values have a network; choose dqn"
            )
        if isinstance(task, EnvironmentTask) and isinstance(method, PolicyGradient):
            yield from _texts_alone(method, task)
        return
    if isinstance(task, EnvironmentTask) and task.choices is None:
        yield (
            f"method.name: '{method.name}' takes the best of all actions, but an action of '{task.name}' is "
            f"{task.dimensions} continuous number{'s' if task.dimensions != 1 else ''}: the max over a continuous "
            "action has no closed form; choose a method that has a distribution over actions, such as ppo, or take "
            "actions from a grid with task.action_bins"
        )


def _texts_alone(method: PolicyGradient, task: EnvironmentTask) -> Iterator[str]:
    """What only texts have."""
    if isinstance(method.advantage, RightAnswers):
        yield (
            f"method.advantage: RightAnswers imitates right answers, and an episode of '{task.name}' is neither right "
            "nor wrong; choose reinforce"
        )
    elif method.behaviour is not None:
        yield f"method.behaviour: only texts are answered by another policy; set it to null for '{task.name}'"


def _prefers_texts(method: Method, task: str) -> str:
    return (
        f"method.name: '{method.name}' prefers one text to another, and '{task}' is an environment; choose a text "
        "task, or a method that learns from rewards, such as ppo"
    )


def _of_pairs(settings: Settings, method: PreferenceLearning) -> Iterator[str]:
    if settings.rewards and takes_a_file(settings, method):
        yield f"rewards: got {len(settings.rewards)}, but {method.name} learns from stored pairs; leave rewards out"
    name = settings.task.name
    if draws_pairs(settings, method) and (name == CART_POLE or looks_like_environment(name)):
        yield _prefers_texts(method, name)
    elif settings.model == "small":
        yield f"model: got 'small', which acts in environments only; {method.name} trains a language model"


def _of_tokens(settings: Settings, method: ValueLearning) -> Iterator[str]:
    """What a method that learns the value of actions cannot do where actions are a language model's tokens."""
    written = settings.method.overrides()
    if isinstance(method.replay, Prioritised):
        yield (
            "method.replay: Prioritised draws single steps by their error, but a language model learns from whole "
            "completions, one pass for all their tokens; set Uniform"
        )
    if "network" in written:
        yield (
            "method.network: Q is the language model's own outputs, so there are no layers to choose and no second "
            "head to duel with; leave it out"
        )
    if "horizon" in written:
        yield (
            "method.horizon: it counts an environment's steps; on a text task a step of the run is one completion of "
            "each of prompts_per_step prompts; leave it out"
        )
    if settings.evaluation.temperature > 0:
        yield (
            f"evaluation.temperature: got {settings.evaluation.temperature:g}, but outputs that are values are no "
            "distribution to draw from; set 0: the token of the highest value each time"
        )
    if settings.temperature != 1:
        yield f"temperature: got {settings.temperature:g}, but '{method.name}' draws as method.exploration says; set 1"
    if method.replay.capacity < settings.max_new_tokens:
        yield (
            f"method.replay.capacity: got {method.replay.capacity}, but one completion has up to max_new_tokens "
            f"{settings.max_new_tokens} steps; set that or more"
        )


def _of_rollouts(settings: Settings, method: PolicyGradient) -> Iterator[str]:
    yield from _of_other_models(settings, method)
    if settings.model == SMALL and method.horizon is not None:
        steps = settings.num_environments * method.horizon
        yield from _too_many_minibatches(method, steps, f"a rollout has {steps} steps")
        return
    episodes = settings.prompts_per_step * method.samples_per_prompt
    product = f"{settings.prompts_per_step} prompts x {method.samples_per_prompt} samples = {episodes} episodes"
    yield from _too_many_minibatches(method, episodes, f"a step has {product}")
    if episodes == 1 and isinstance(getattr(method.advantage, "baseline", None), OthersInBatch):
        yield (
            "prompts_per_step: got 1 prompt with 1 sample, but OthersInBatch compares with the step's other episodes; "
            "set 2 or more"
        )


def _too_many_minibatches(method: PolicyGradient, most: int, because: str) -> Iterator[str]:
    """Of each setting that cuts a rollout."""
    counts = {"method.num_minibatches": method.num_minibatches}
    if isinstance(method.optimizer, NaturalGradient) and method.critic is not None:
        counts["method.optimizer.num_critic_minibatches"] = method.optimizer.num_critic_minibatches
    for name, count in counts.items():
        if count > most:
            yield f"{name}: got {count}, but {because}; set {most} or fewer"


def _budget(settings: Settings) -> Iterator[str]:
    if settings.budget.steps is not None and settings.model != SMALL:
        yield (
            f"budget.steps: got {settings.budget.steps}, but '{settings.task.name}' has no environment steps; set "
            "budget.tokens, budget.trained, budget.seconds or budget.flops"
        )


def _of_network(settings: Settings, method: Method | None) -> Iterator[str]:
    if settings.network == NetworkSettings() or method is None:
        return
    hidden = list(settings.network.hidden)
    if settings.model != SMALL:
        yield f"network.hidden: got {hidden}, but '{settings.model}' has layers of its own; leave it out"
    elif isinstance(method, ValueLearning):
        yield f"network.hidden: got {hidden}, but '{method.name}' says its network itself; set method.network"
    elif not isinstance(method, PolicyGradient):
        yield f"network.hidden: got {hidden}, but '{method.name}' has no network; leave it out"


def _of_other_models(settings: Settings, method: PolicyGradient) -> Iterator[str]:
    if method.needs_teacher and settings.teacher is None:
        yield "teacher: got none, but the method learns from one; set a model folder or a hub id"
    elif method.needs_teacher and settings.model == SMALL:
        yield f"teacher: got '{settings.teacher}', but a small network has no tokens to compare; use another method"
    if settings.model == SMALL and isinstance(method.advantage, ProcessNormalized):
        yield "method.advantage: ProcessNormalized judges a text's steps, and a small network writes none; choose grpo"
    if settings.teacher is not None and not method.needs_teacher:
        yield f"teacher: got '{settings.teacher}', but '{method.name}' learns from none; leave it out"
    if settings.lora is not None and method.reference_kl is not None and method.reference_kl.refresh_every is not None:
        yield (
            "method.reference_kl.refresh_every: with lora the reference is the base model, which does not change; "
            "set it to null, or leave lora out"
        )


def doubtful(settings: Settings, method: Method) -> Iterator[str]:
    """What runs, but is probably not meant."""
    if isinstance(method, PolicyGradient):
        yield from _doubtful_slots(settings, method)
    if isinstance(method, PreferenceLearning):
        yield from _doubtful_rate(method.optimizer.learning_rate)
        return
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


def _doubtful_rate(rate: float | None) -> Iterator[str]:
    if rate is not None and rate > HIGH_LEARNING_RATE:
        yield f"method.optimizer.learning_rate: {rate:g} is very high; 1e-6 to 1e-3 is usual"


def _doubtful_slots(settings: Settings, method: PolicyGradient) -> Iterator[str]:
    rate = None if isinstance(method.optimizer, NaturalGradient) else method.optimizer.learning_rate
    yield from _doubtful_rate(rate)
    alone = method.critic.warmup_steps if method.critic is not None else 0
    if 0 < settings.steps <= alone:
        yield (
            f"method.critic.warmup_steps: the critic learns alone for {alone} steps and the run has {settings.steps}, "
            "so the policy is never trained"
        )
    length = method.aggregation.length if isinstance(method.aggregation, PerConstantLength) else None
    if length is not None and length != settings.max_new_tokens:
        yield (
            f"method.aggregation.length: {length} is not max_new_tokens {settings.max_new_tokens}; "
            f"the step is then {settings.max_new_tokens / length:g} times as large as with the same length"
        )
    shaping = method.shape_reward
    if shaping is not None and shaping.limit != settings.max_new_tokens:
        yield (
            f"method.shape_reward.limit: {shaping.limit} is not max_new_tokens {settings.max_new_tokens}; set limit "
            f"{settings.max_new_tokens} and cache to about a fifth of it, or no answer is ever penalised as meant"
        )


def is_function(text: str) -> bool:
    """Whether a reward's `function` is of the form path/file.py:function."""
    file, colon, name = text.rpartition(":")
    return bool(colon) and file.endswith(".py") and name.isidentifier()
