"""Learning from pairs: stored ones, the model's own samples, and reward models; what each fits, needs and costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rung.methods import Method, PreferenceLearning
from rung.settings import Settings
from rung.settings.schema import OwnPairsSettings
from rung.tasks.cart_pole import NAME as CART_POLE
from rung.tasks.environment import looks_like_environment
from rung.tasks.load import load_pairs
from rung.tasks.pairs import PairTask
from rung.tasks.task import TextTask
from rung.trainers.budget import Budget
from rung.trainers.build import judging, language_model, lora_of, place_of, rewards_of
from rung.trainers.fits import doubtful_rate, no_network
from rung.trainers.inputs import of_model
from rung.trainers.kind import Kind, Setup
from rung.trainers.preferences.drawing import over_turns
from rung.trainers.preferences.drawn_pairs import DrawnPairCollector
from rung.trainers.preferences.learner import PreferenceLearner
from rung.trainers.preferences.pairs import PairCollector, asking
from rung.trainers.rollout_trainer import RolloutTrainer
from rung.trainers.trainer import Collector
from rung.trainers.units import Units
from rung.trainers.work import Work, counted

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy


class OfPairs(Kind):
    """What all that learns from pairs has in common."""

    reads_text = True

    def problems(self, settings: Settings, method: PreferenceLearning) -> Iterator[str]:
        yield from no_network(settings, f"'{settings.model}' has layers of its own; leave it out")
        yield from self.source_problems(settings, method)
        if settings.model == "small":
            yield f"model: got 'small', which acts in environments only; {method.name} trains a language model"

    def source_problems(self, settings: Settings, method: PreferenceLearning) -> Iterator[str]:
        """What is wrong with where the pairs come from."""
        yield from ()

    def work(self, method: PreferenceLearning, policy: Any) -> Work:
        weights = counted(policy)
        return preference_work(method, model=weights.policy, trained=weights.trained)

    def doubts(self, settings: Settings, method: PreferenceLearning) -> Iterator[str]:
        yield from doubtful_rate(method.optimizer.learning_rate)


class StoredPairs(OfPairs):
    """DPO and other pair losses on a file of pairs."""

    stored_pairs = True

    def alone(self, settings: Settings, method: PreferenceLearning) -> Iterator[str]:
        yield from ()

    def recipe(self, method: Method, *, model: str, task: str) -> str | None:
        return "tiny_pairs" if model == "tiny" else None

    def source_problems(self, settings: Settings, method: PreferenceLearning) -> Iterator[str]:
        if settings.pairs != OwnPairsSettings():
            yield "pairs: says how pairs are drawn, but pairs.source is 'file'; set pairs.source to samples"
        if settings.rewards:
            yield f"rewards: got {len(settings.rewards)}, but {method.name} learns from stored pairs; leave rewards out"

    def load_task(self, settings: Settings) -> PairTask:
        return load_pairs(settings.task.name, **settings.task.options())

    def misfits(self, method: PreferenceLearning, task: Any) -> Iterator[str]:
        every = (*task.train, *task.held_out) if isinstance(task, PairTask) else ()
        alone = next((pair for pair in every if len(pair.answers) == 1), None)
        if method.loss.paired and alone is not None:
            yield (
                f"method.name: {method.name} learns from pairs, and {alone.place} is an answer labelled alone; kto "
                "takes such rows"
            )

    def units(self, settings: Settings, method: PreferenceLearning) -> Units:
        pairs = method.pairs_per_step
        learnt = "pairs" if method.loss.paired else "pairs, or answers that were labelled alone"
        return Units(
            episodes=0,
            new_tokens=0,
            items=pairs,
            lines=(
                f"{pairs:,} {learnt}; nothing is sampled",
                f"1 update, learning rate {method.optimizer.learning_rate:g}",
            ),
            data={"pairs": pairs, "updates": 1},
        )

    def build(self, setup: Setup) -> RolloutTrainer[Any]:
        policy, start, reference, learner = preference_learner(self, setup)
        return self._trainer(setup, policy, reference, learner, start)

    def _trainer(
        self, setup: Setup, model: Any, reference: Any, learner: PreferenceLearner, start: Any = None
    ) -> RolloutTrainer[Any]:
        settings, method, ranks = setup.settings, setup.method, setup.ranks
        asks = asking(model, reference, settings.learner.micro_batch_tokens, ranks)
        collector: Collector[Any] = Collector()
        if ranks.leads:
            collector = PairCollector(settings, method, setup.task, model, reference, asks)
        work = self.work(method, model)
        return RolloutTrainer(
            settings, model, collector=collector, learner=learner, work=work, start=start, ranks=ranks
        )


class RewardModelling(StoredPairs):
    """A reward model fitted to a file of pairs."""

    trains_policy = False

    def build(self, setup: Setup) -> RolloutTrainer[Any]:
        from rung.models.language.reward_model import new_reward_model

        settings, learner = setup.settings, setup.settings.learner
        model = new_reward_model(
            place_of(settings.model, setup),
            lora=lora_of(settings),
            device=getattr(setup.ranks, "device", learner.device),
            compute=learner.compute,
            seed=settings.seed,
        )
        setup.inputs.update(of_model(f"the model {settings.model}", model.network.model, model.network.tokenizer))
        model.network.recompute = learner.checkpoint_activations
        setup.ranks.shard(model)
        tokens = learner.micro_batch_tokens
        learns = PreferenceLearner(model, setup.method, micro_batch_tokens=tokens, ranks=setup.ranks)
        return self._trainer(setup, model, None, learns)


class DrawnPairs(OfPairs):
    """DPO and other pair losses on pairs of the model's own samples, which the run draws first."""

    draws_pairs = True

    def alone(self, settings: Settings, method: PreferenceLearning) -> Iterator[str]:
        yield "pairs.source=samples draws its pairs in one process; draw them first (rung pairs) and train on the file"

    def recipe(self, method: Method, *, model: str, task: str) -> str | None:
        return "tiny_drawn_pairs" if model == "tiny" else None

    def problems(self, settings: Settings, method: PreferenceLearning) -> Iterator[str]:
        name = settings.task.name
        if name == CART_POLE or looks_like_environment(name):
            yield from no_network(settings, f"'{settings.model}' has layers of its own; leave it out")
            yield from self.source_problems(settings, method)
            yield _prefers_texts(method, name)
            return
        yield from super().problems(settings, method)

    def source_problems(self, settings: Settings, method: PreferenceLearning) -> Iterator[str]:
        if not method.trains_policy():
            yield (
                f"pairs.source: '{method.name}' trains a model of the reward, which answers no prompts; make a file of "
                "pairs (rung pairs) and train on it"
            )
        if not settings.budget.limits():
            yield (
                "pairs.source: how many pairs are drawn is decided by the budget, and there is none; set "
                "budget.tokens, budget.trained, budget.seconds or budget.flops"
            )

    def misfits(self, method: PreferenceLearning, task: Any) -> Iterator[str]:
        if not isinstance(task, TextTask):
            yield _prefers_texts(method, getattr(task, "name", str(task)))
        else:
            yield from over_turns(task)

    def units(self, settings: Settings, method: PreferenceLearning) -> Units:
        """A step learns from pairs; drawing goes by rounds of prompts, which decide the memory."""
        asked, pairs = settings.pairs, method.pairs_per_step
        passes = "1 pass" if asked.passes == 1 else f"{asked.passes:,} passes"
        return Units(
            episodes=settings.prompts_per_step * asked.k,
            new_tokens=0,
            items=0,
            lines=(
                f"the first draws pairs: {asked.k} answers to each train prompt, {settings.prompts_per_step:,} prompts "
                f"at a time, until they and {passes} over them take the budget",
                f"each other one learns from {pairs:,} pairs: 1 update, learning rate "
                f"{method.optimizer.learning_rate:g}",
            ),
            data={
                "prompts_a_round": settings.prompts_per_step,
                "samples_per_prompt": asked.k,
                "pairs": pairs,
                "updates": 1,
            },
        )

    def build(self, setup: Setup) -> DrawnPairTrainer:
        settings, method, folder = setup.settings, setup.method, setup.folder
        with judging(
            settings, rewards_of(settings.rewards, setup.task, setup.handed, accuracy=settings.rewarding.accuracy)
        ) as judge:
            policy, start, reference, learner = preference_learner(self, setup)
            work = self.work(method, policy)
            collector = DrawnPairCollector(
                settings,
                method,
                setup.task,
                policy,
                reference,
                judge,
                setup.handed.sampler(settings, policy),
                work=work,
                folder=folder,
                shared=setup.shared or (None if folder is None else folder / "drawn"),
            )
        return DrawnPairTrainer(settings, policy, collector=collector, learner=learner, work=work, start=start)


class DrawnPairTrainer(RolloutTrainer[Any]):
    """A trainer whose first step draws all pairs; its budget is shared between drawing and learning."""

    collector: DrawnPairCollector

    def over(self, budget: Budget) -> bool:
        return self.collector.ends(budget)

    def progress(self, budget: Budget) -> float:
        return self.collector.progress(budget)


def _prefers_texts(method: Method, task: str) -> str:
    return (
        f"method.name: '{method.name}' prefers one text to another, and '{task}' is an environment; choose a text "
        "task, or a method that learns from rewards, such as ppo"
    )


def preference_learner(
    kind: Kind, setup: Setup
) -> tuple[TextPolicy, TextPolicy | None, TextPolicy | None, PreferenceLearner]:
    """The policy, its start where anything is compared with it, the reference where the loss needs one, the learner."""
    settings, method = setup.settings, setup.method
    policy = language_model(setup)
    setup.ranks.shard(policy)
    start = policy.reference() if kind.needs_start(settings, method) else None
    reference = start if method.needs_start() else None
    tokens = settings.learner.micro_batch_tokens
    learner = PreferenceLearner(policy, method, reference=reference, micro_batch_tokens=tokens, ranks=setup.ranks)
    return policy, start, reference, learner


def preference_work(method: PreferenceLearning, *, model: int, trained: int) -> Work:
    """Learning from pairs. Tokens of both answers of a pair are trained tokens, at each step that takes the pair: one
    forward and backward pass; for a loss without pairs also one forward pass of the policy and one of the reference on
    answers put after other prompts, for its anchor. The reference's log-probs of an answer are asked once and kept.
    A generated token, where the run draws its pairs: one forward pass.

    >>> from rung.methods import METHODS
    >>> preference_work(METHODS["dpo"], model=100, trained=100)
    Work(generated=200.0, trained=600.0, reference=200.0)
    """
    anchor = 0.0 if method.loss.paired else 2 * 2.0 * model
    return Work(
        generated=2.0 * model,
        trained=4.0 * model + 2.0 * trained + anchor,
        reference=2.0 * model if method.loss.has_reference else 0.0,
    )
