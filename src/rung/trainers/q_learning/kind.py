"""Q-learning: of an environment's actions and of a text's tokens; what each fits, needs and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rung.methods import Method, ValueLearning
from rung.methods.parts.protocols import fact
from rung.models.language.size import ModelShape
from rung.models.small.q_network import QNetwork
from rung.settings import Settings
from rung.tasks.environment import EnvironmentTask, is_atari
from rung.trainers.build import judging, language_model, rewards_of
from rung.trainers.fits import general_doubts, no_network, no_pairs
from rung.trainers.kind import Kind, Setup
from rung.trainers.q_learning.environment import ReplayCollector, q_shape
from rung.trainers.q_learning.learner import ValueLearner
from rung.trainers.q_learning.tokens import TokenReplayCollector, TokenValueLearner
from rung.trainers.q_learning.untrained import outputs_that_are_no_values
from rung.trainers.rollout_trainer import RolloutTrainer
from rung.trainers.units import Units, count
from rung.trainers.work import Work, counted

KEPT = 576
"""Bytes of the Python objects that hold one completion in the replay of a text task: four arrays and their record."""
A_STEP = 5
"""Bytes of a token in it beside its id: its reward, and whether the policy chose it."""
SMALL_VOCABULARY = 1 << 16
"""Token ids below this are kept as two bytes, others as four."""


class OfActions(Kind):
    """DQN in environments of states or screens."""

    environment = True
    values = True

    def recipe(self, method: Method, *, model: str, task: str) -> str | None:
        if is_atari(task):
            return "environment_atari"
        return "environment_values_as_published" if "@" in method.name else "environment_values"

    def problems(self, settings: Settings, method: ValueLearning) -> Iterator[str]:
        yield from no_network(settings, f"'{method.name}' says its network itself; set method.network")
        yield from no_pairs(settings, method.name)

    def misfits(self, method: ValueLearning, task: EnvironmentTask) -> Iterator[str]:
        if task.choices is None:
            yield (
                f"method.name: '{method.name}' takes the best of all actions, but an action of '{task.name}' is "
                f"{task.dimensions} continuous number{'s' if task.dimensions != 1 else ''}: the max over a continuous "
                "action has no closed form; choose a method that has a distribution over actions, such as ppo, or take "
                "actions from a grid with task.action_bins"
            )

    def size(self, settings: Settings, method: ValueLearning, task: EnvironmentTask) -> ModelShape:
        hidden = settings.network.hidden
        numbers = q_shape(task, method).numbers() if task.choices is not None else 0
        return ModelShape(parameters=numbers, layers=len(hidden), width=max(hidden))

    def units(self, settings: Settings, method: ValueLearning) -> Units:
        updates = method.horizon // method.steps_between_updates * method.updates
        general = [f"method.{slot}" for slot in method.beyond_slopes()] + ["images"] * is_atari(settings.task.name)
        return Units(
            episodes=0,
            new_tokens=0,
            items=0,
            lines=(
                f"{count(method.horizon, 'step')} of {count(settings.num_environments, 'environment')} together, "
                f"{count(updates, 'update')} of {method.replay.batch:,} past steps each, learning rate "
                f"{method.optimizer.learning_rate:g}",
                f"learning begins after {count(method.replay.starts, 'step')}",
                *([f"learns by torch: there is no compiled form of {', '.join(general)}"] if general else []),
            ),
            data={
                "environment_steps": method.horizon,
                "updates": updates,
                "steps_an_update_learns_from": method.replay.batch,
            },
        )

    def needs_start(self, settings: Settings, method: ValueLearning) -> bool:
        """Values have no KL."""
        return False

    def work(self, method: ValueLearning, policy: Any) -> Work:
        return value_work(method, asked=policy.shape.uses())

    def build(self, setup: Setup) -> RolloutTrainer[Any]:
        settings, method = setup.settings, setup.method
        network = QNetwork(q_shape(setup.task, method), seed=settings.seed, device=settings.learner.device or "cpu")
        learner = ValueLearner(network, method, seed=settings.seed)
        collector = ReplayCollector(settings, method, setup.task, network, learner)
        work = self.work(method, network)
        return RolloutTrainer(settings, network, collector=collector, learner=learner, work=work)


class OfTokens(Kind):
    """DQN on text: a token is an action, a language model's outputs are the values."""

    values, reads_text = True, True

    def recipe(self, method: Method, *, model: str, task: str) -> str | None:
        return "tiny_values" if model == "tiny" else None

    def problems(self, settings: Settings, method: ValueLearning) -> Iterator[str]:
        yield from no_network(settings, f"'{settings.model}' has layers of its own; leave it out")
        yield from no_pairs(settings, method.name)
        yield from _of_tokens(settings, method)

    def doubts(self, settings: Settings, method: ValueLearning) -> Iterator[str]:
        yield from general_doubts(settings)
        yield from outputs_that_are_no_values(settings)

    def units(self, settings: Settings, method: ValueLearning) -> Units:
        completions, longest = settings.prompts_per_step, settings.max_new_tokens
        updates = completions * longest // method.steps_between_updates * method.updates
        lines = [
            f"{count(completions, 'prompt')}, one completion each, at most {completions * longest:,} new tokens "
            f"({longest:,} each); a step of the method is a token",
            f"at most {count(updates, 'update')} of about {method.replay.batch:,} past tokens each, learning rate "
            f"{method.optimizer.learning_rate:g}; learning begins after {method.replay.starts:,} tokens",
        ]
        end: float | None = fact(method.exploration, "end", None)
        if end is not None:
            whole = (1 - end) ** longest
            lines.append(
                f"ε is a token's: at {end:g}, {whole:.0%} of completions of {longest:,} tokens have no random one"
            )
        lines.append(
            f"a completion cut at {longest:,} tokens is judged as it stands: no value is added for what was cut"
        )
        return Units(
            episodes=completions,
            new_tokens=completions * longest,
            items=completions,
            lines=tuple(lines),
            data={
                "prompts": completions,
                "episodes": completions,
                "new_tokens_at_most": completions * longest,
                "updates_at_most": updates,
                "tokens_an_update_learns_from": method.replay.batch,
            },
        )

    def needs_start(self, settings: Settings, method: ValueLearning) -> bool:
        """Values have no KL."""
        return False

    def frozen_copies(self, settings: Settings, method: ValueLearning) -> int:
        return int(method.target_network is not None)

    def memory(
        self, settings: Settings, method: ValueLearning, size: ModelShape, prompt_tokens: int
    ) -> Mapping[str, int]:
        """The replay, once it is full or the run over: as many short completions as there can be, since each keeps its
        prompt."""
        completions = min(settings.steps * settings.prompts_per_step, method.replay.capacity)
        tokens = min(completions * settings.max_new_tokens, method.replay.capacity)
        an_id = 2 if size.vocabulary <= SMALL_VOCABULARY else 4
        return {"replay": completions * (KEPT + prompt_tokens * an_id) + tokens * (an_id + A_STEP)}

    def work(self, method: ValueLearning, policy: Any) -> Work:
        weights = counted(policy)
        return token_value_work(method, model=weights.policy, trained=weights.trained)

    def build(self, setup: Setup) -> RolloutTrainer[Any]:
        settings, method = setup.settings, setup.method
        with judging(
            settings, rewards_of(settings.rewards, setup.task, setup.handed, accuracy=settings.rewarding.accuracy)
        ) as judge:
            policy = language_model(setup)
            tokens = settings.learner.micro_batch_tokens
            learner = TokenValueLearner(policy, method, seed=settings.seed, micro_batch_tokens=tokens)
            sampler = setup.handed.sampler(settings, policy)
            collector = TokenReplayCollector(settings, method, setup.task, policy, judge, sampler)
        work = self.work(method, policy)
        return RolloutTrainer(settings, policy, collector=collector, learner=learner, work=work)


def _of_tokens(settings: Settings, method: ValueLearning) -> Iterator[str]:
    """What a method that learns the value of actions cannot do where actions are a language model's tokens."""
    written = settings.method.overrides()
    if fact(method.replay, "weighted", False):
        yield (
            f"method.replay: {type(method.replay).__name__} draws single steps by their error, but a language model "
            "learns from whole completions, one pass for all their tokens; set Uniform"
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


def value_work(method: ValueLearning, *, asked: int) -> Work:
    """Learning values. A step of the environment: Q is asked once, to act. A step drawn from the replay, each time it
    is drawn: Q forward and backward, and Q of the state that followed, by the network that makes targets and, where
    one network chooses and another judges, by both. Copying weights to a target network is left out.

    Args:
        asked: weights used when Q is asked for one observation, each as often as it is used.

    >>> from rung.methods import METHODS
    >>> value_work(METHODS["dqn"], asked=100)
    Work(generated=200.0, trained=800.0, reference=0.0)
    """
    after = 2 if method.value_target.asks_twice else 1
    return Work(generated=2.0 * asked, trained=(6.0 + 2.0 * after) * asked)


def token_value_work(method: ValueLearning, *, model: int, trained: int) -> Work:
    """Learning the values of tokens. A generated token: one forward pass. A token drawn from the replay, each time it
    is drawn: Q forward and backward, which over a completion gives the values of the states that follow too; and a
    forward pass of the target network where there is one.

    >>> from rung.methods import METHODS
    >>> token_value_work(METHODS["dqn@2015"], model=100, trained=100)
    Work(generated=200.0, trained=800.0, reference=0.0)
    """
    target = 0.0 if method.target_network is None else 2.0 * model
    return Work(generated=2.0 * model, trained=4.0 * model + 2.0 * trained + target)
