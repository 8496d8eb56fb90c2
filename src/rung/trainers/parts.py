"""What a run is made of, built once from its settings: the task first (bad data is found before a model is loaded)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rung.errors import SettingsError
from rung.methods import AdaptiveElements, Method, PolicyGradient, PreferenceLearning, ValueLearning
from rung.methods.parts.advantages import ProcessNormalized
from rung.models.small.network import SmallPolicy, SmallShape
from rung.models.small.q_network import QNetwork
from rung.rewards.judge import Judge
from rung.rewards.reward import JudgesSteps, Reward, WeightedReward
from rung.rewards.user import UserReward
from rung.settings import LearnerSettings, RewardSettings, Settings, TaskSettings
from rung.settings.contradictions import contradictions, is_function, task_misfits
from rung.settings.memory import needs_start
from rung.settings.pair_source import takes_a_file
from rung.tasks.cart_pole import CartPole1983
from rung.tasks.environment import EnvironmentTask
from rung.tasks.load import Task, load_pairs, load_task
from rung.tasks.pairs import PairTask
from rung.tasks.task import TextTask
from rung.trainers.boxes_1983.collector import TrialCollector
from rung.trainers.boxes_1983.learner import TrialLearner, box_policy
from rung.trainers.boxes_1983.policy import BoxPolicy
from rung.trainers.budget import Budget, is_empty, share_spent
from rung.trainers.handed import Handed
from rung.trainers.operations import work_of
from rung.trainers.policy_gradient.environment import EnvironmentCollector
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.policy_gradient.text import TextCollector
from rung.trainers.preferences.drawn_pairs import DrawnPairCollector
from rung.trainers.preferences.learner import PreferenceLearner
from rung.trainers.preferences.pairs import PairCollector
from rung.trainers.preferences.reward_model import learned_rewards
from rung.trainers.q_learning.environment import ReplayCollector, q_shape
from rung.trainers.q_learning.learner import ValueLearner
from rung.trainers.q_learning.tokens import TokenReplayCollector, TokenValueLearner
from rung.trainers.rlhf_2017.collector import PreferenceCollector
from rung.trainers.rlhf_2017.labellers import Labeller, Oracle
from rung.trainers.trainer import Collector, Learns

if TYPE_CHECKING:
    from rung.models.language.lora import Lora
    from rung.models.language.policy import TextPolicy
    from rung.models.language.reward_model import RewardModel


def never() -> str:
    """Of a task that gives for ever: it is not over."""
    return ""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything the loop calls. The loop reads `settings` for numbers and never for names."""

    settings: Settings
    method: Method
    policy: TextPolicy | SmallPolicy | BoxPolicy | QNetwork | RewardModel
    start: TextPolicy | SmallPolicy | None
    """The model that the run started from, frozen: the reference, and what `kl/start` is measured against."""
    collector: Collector
    learner: Learns
    ends: Callable[[Budget], bool] = is_empty
    """Whether a run that has spent so much is over."""
    progress: Callable[[Budget], float] = share_spent
    """The share of the run's learning, 0 to 1, that is over when so much is spent."""
    over: Callable[[], str] = never
    """Why the task has nothing more to give, in words; empty while it has."""


def limit_threads(learner: LearnerSettings) -> None:
    """As many threads as the settings say; all of them when they say nothing."""
    if learner.threads is not None:
        torch.set_num_threads(learner.threads)


def rewards_of(chosen: Sequence[RewardSettings], task: TextTask) -> Sequence[WeightedReward]:
    """The task's own rewards, or the user's list in its order, in which `task` stands for the task's own."""
    if not chosen:
        return task.rewards
    found: list[WeightedReward] = []
    for part in chosen:
        if part.function == "task":
            found += [WeightedReward(reward=own.reward, weight=own.weight * part.weight) for own in task.rewards]
        else:
            each = _rewards(part)
            found += [WeightedReward(reward=one, weight=part.weight / len(each)) for one in each]
    return found


def _rewards(part: RewardSettings) -> Sequence[Reward]:
    """A user's function, or the reward models in a folder."""
    if is_function(part.function):
        return [UserReward(part.function, name=part.name)]
    return learned_rewards(part.function, part.part)


def task_of(settings: Settings) -> Task:
    """The task that the settings name, with their options."""
    return load_task(settings.task.name, seed=settings.seed, **settings.task.options())


def build(settings: Settings, hands: Handed, folder: Path | None = None, shared: Path | None = None) -> Parts:
    """Loads task, rewards, model and optimiser. Nothing is trained and nothing written yet.

    `folder` is the run's, `shared` the one in which runs share what they draw alike; a run that draws its pairs writes
    them there.
    """
    limit_threads(settings.learner)
    method = settings.resolved_method()
    task = None if takes_a_file(settings, method) else task_of(settings)
    problems = [*contradictions(settings, method), *(() if task is None else task_misfits(method, task))]
    if problems:
        raise SettingsError(problems)
    if isinstance(method, PreferenceLearning):
        if task is None:
            return _pair_parts(settings, method, hands)
        assert isinstance(task, TextTask), "otherwise it is a misfit"
        return _drawn_pair_parts(settings, method, task, folder, shared, hands)
    assert task is not None, "every other kind of method has a task"
    if isinstance(task, CartPole1983):
        assert isinstance(method, AdaptiveElements), type(method)
        return _trial_parts(settings, method, task)
    if isinstance(method, ValueLearning):
        if isinstance(task, EnvironmentTask):
            return _value_parts(settings, method, task)
        return _token_value_parts(settings, method, task, hands)
    assert isinstance(method, PolicyGradient), type(method)
    if isinstance(task, EnvironmentTask):
        return _environment_parts(settings, method, task, hands)
    return _text_parts(settings, method, task, hands)


def _trial_parts(settings: Settings, method: AdaptiveElements, task: CartPole1983) -> Parts:
    policy = box_policy(method, settings.seed)
    learner = TrialLearner(policy, method, task)
    collector = TrialCollector(settings, method, learner)
    return Parts(
        settings=settings,
        method=method,
        policy=policy,
        start=None,
        collector=collector,
        learner=learner,
        over=learner.over,
    )


def _environment_parts(settings: Settings, method: PolicyGradient, task: EnvironmentTask, hands: Handed) -> Parts:
    shape = SmallShape(
        observations=task.observations,
        choices=task.choices,
        dimensions=task.dimensions,
        hidden=settings.network.hidden,
        critic=method.critic is not None,
    )
    policy = SmallPolicy(shape, seed=settings.seed)
    start = policy.reference() if needs_start(settings, method) else None
    learner = Learner(policy, method, reference=start, temperature=settings.temperature, seed=settings.seed)
    collector = _environment_collector(settings, method, task, policy, hands)
    return Parts(settings=settings, method=method, policy=policy, start=start, collector=collector, learner=learner)


def _environment_collector(
    settings: Settings, method: PolicyGradient, task: EnvironmentTask, policy: SmallPolicy, hands: Handed
) -> Collector:
    if method.learned_reward is None:
        return EnvironmentCollector(settings, method, task, policy)
    inner = EnvironmentCollector(settings, method, task, policy, met=dataclasses.replace(task, fixed_length=True))
    return PreferenceCollector(settings, method.learned_reward, inner, _labeller(settings, inner.met, hands))


def _labeller(settings: Settings, task: EnvironmentTask, hands: Handed) -> Labeller:
    asked = settings.preferences
    if asked.labeller == "oracle":
        return Oracle(seed=settings.seed, error=asked.oracle_error)
    assert asked.folder is not None, "found with the contradictions"
    if hands.people is None:
        raise SettingsError(
            [
                "preferences.labeller: got people, but nobody was handed in who asks them; train by `rung train`, by "
                "rung.train, or hand in a labeller"
            ]
        )
    return hands.people(asked, task, settings.seed)


def _value_parts(settings: Settings, method: ValueLearning, task: EnvironmentTask) -> Parts:
    network = QNetwork(q_shape(task, method), seed=settings.seed, device=settings.learner.device or "cpu")
    learner = ValueLearner(network, method, seed=settings.seed)
    collector = ReplayCollector(settings, method, task, network, learner)
    return Parts(settings=settings, method=method, policy=network, start=None, collector=collector, learner=learner)


def _token_value_parts(settings: Settings, method: ValueLearning, task: TextTask, hands: Handed) -> Parts:
    judge = _judge(settings, rewards_of(settings.rewards, task))
    with _closed_if_it_fails(judge):
        policy = _policy(settings, hands)
        learner = TokenValueLearner(
            policy, method, seed=settings.seed, micro_batch_tokens=settings.learner.micro_batch_tokens
        )
        collector = TokenReplayCollector(settings, method, task, policy, judge)
    return Parts(settings=settings, method=method, policy=policy, start=None, collector=collector, learner=learner)


@contextmanager
def _closed_if_it_fails(judge: Judge) -> Iterator[None]:
    """A judge has a process of its own, which must not outlive what was never built."""
    try:
        yield
    except BaseException:
        judge.close()
        raise


def _judge(settings: Settings, rewards: Sequence[WeightedReward]) -> Judge:
    asked = settings.rewarding
    return Judge(rewards, deadline_s=asked.deadline_s, max_failed_share=asked.max_failed_share)


def _text_parts(settings: Settings, method: PolicyGradient, task: TextTask, hands: Handed) -> Parts:
    rewards = rewards_of(settings.rewards, task)
    if isinstance(method.advantage, ProcessNormalized) and not any(isinstance(r.reward, JudgesSteps) for r in rewards):
        names = ", ".join(r.reward.name for r in rewards)
        raise SettingsError(
            [
                f"method.advantage: ProcessNormalized needs a reward that judges steps, but '{task.name}' has {names}; "
                "set task.steps=true with the task arithmetic or running-sum, or choose grpo"
            ]
        )
    judge = _judge(settings, rewards)
    with _closed_if_it_fails(judge):
        policy = _policy(settings, hands)
        if method.critic is not None:
            policy.add_critic(separate=method.critic.separate)
        start = policy.reference() if needs_start(settings, method) else None
        learner = Learner(
            policy,
            method,
            reference=start,
            teacher=_teacher(settings, policy, hands),
            temperature=settings.temperature,
            micro_batch_tokens=settings.learner.micro_batch_tokens,
            seed=settings.seed,
        )
        collector = TextCollector(settings, method, task, policy, judge, start)
    return Parts(settings=settings, method=method, policy=policy, start=start, collector=collector, learner=learner)


def _drawn_pair_parts(
    settings: Settings,
    method: PreferenceLearning,
    task: TextTask,
    folder: Path | None,
    shared: Path | None,
    hands: Handed,
) -> Parts:
    judge = _judge(settings, rewards_of(settings.rewards, task))
    with _closed_if_it_fails(judge):
        policy, start, reference, learner = _preference_learner(settings, method, hands)
        collector = DrawnPairCollector(
            settings,
            method,
            task,
            policy,
            reference,
            judge,
            work=work_of(method, policy),
            folder=folder,
            shared=shared or (None if folder is None else folder / "drawn"),
        )
    return Parts(
        settings=settings,
        method=method,
        policy=policy,
        start=start,
        collector=collector,
        learner=learner,
        ends=collector.ends,
        progress=collector.progress,
    )


def _pair_parts(settings: Settings, method: PreferenceLearning, hands: Handed) -> Parts:
    task = load_pairs(settings.task.name, **settings.task.options())
    if not method.trains_policy():
        return _reward_model_parts(settings, method, task, hands)
    policy, start, reference, learner = _preference_learner(settings, method, hands)
    collector = PairCollector(settings, method, task, policy, reference)
    return Parts(settings=settings, method=method, policy=policy, start=start, collector=collector, learner=learner)


def _preference_learner(
    settings: Settings, method: PreferenceLearning, hands: Handed
) -> tuple[TextPolicy, TextPolicy | None, TextPolicy | None, PreferenceLearner]:
    """The policy, its start where anything is compared with it, the reference where the loss needs one, the learner."""
    policy = _policy(settings, hands)
    start = policy.reference() if needs_start(settings, method) else None
    reference = start if method.needs_start() else None
    micro_batch_tokens = settings.learner.micro_batch_tokens
    learner = PreferenceLearner(policy, method, reference=reference, micro_batch_tokens=micro_batch_tokens)
    return policy, start, reference, learner


def _reward_model_parts(settings: Settings, method: PreferenceLearning, task: PairTask, hands: Handed) -> Parts:
    from rung.models.language.reward_model import new_reward_model

    learner = settings.learner
    model = new_reward_model(
        _place(settings.model, settings, hands),
        lora=_lora(settings),
        device=learner.device,
        compute=learner.compute,
        seed=settings.seed,
    )
    model.network.recompute = learner.checkpoint_activations
    return Parts(
        settings=settings,
        method=method,
        policy=model,
        start=None,
        collector=PairCollector(settings, method, task, model, None),
        learner=PreferenceLearner(model, method, micro_batch_tokens=learner.micro_batch_tokens),
    )


def _teacher(settings: Settings, policy: TextPolicy, hands: Handed) -> TextPolicy | None:
    """The model that is distilled from, frozen. SettingsError when it reads text as other tokens."""
    if settings.teacher is None:
        return None
    from rung.models.language.load import differing_tokens, load_policy

    teacher = load_policy(
        _place(settings.teacher, settings, hands), device=settings.learner.device, compute=settings.learner.compute
    )
    teacher.model.requires_grad_(False)
    problem = differing_tokens(policy, teacher)
    if problem is not None:
        raise SettingsError([f"teacher: {settings.teacher} {problem}; choose a teacher with the model's own tokenizer"])
    return teacher


def _policy(settings: Settings, hands: Handed) -> TextPolicy:
    from rung.models.language.load import load_policy

    learner = settings.learner
    policy = load_policy(
        _place(settings.model, settings, hands),
        lora=_lora(settings),
        device=learner.device,
        compute=learner.compute,
        seed=settings.seed,
    )
    policy.recompute = learner.checkpoint_activations
    return policy


def _place(spec: str, settings: Settings, hands: Handed) -> str:
    """The model's folder or id; `tiny` is made for the task first, or, to learn from pairs, for `arithmetic`."""
    pairs = takes_a_file(settings, settings.resolved_method())
    task = TaskSettings(name="arithmetic") if pairs else settings.task
    return str(hands.tiny(task)) if spec == "tiny" else spec


def _lora(settings: Settings) -> Lora | None:
    from rung.models.language.lora import Lora

    if settings.lora is None:
        return None
    targets = {} if settings.lora.targets is None else {"targets": settings.lora.targets}
    return Lora(rank=settings.lora.rank, alpha=settings.lora.alpha, **targets)


def environment() -> dict[str, object]:
    """What bitwise equality depends on beside the settings; stored with each checkpoint and compared on resume."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.is_available(),
    }
