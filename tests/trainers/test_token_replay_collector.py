"""Completions into the replay: what is kept of them, when updates come due, and how tokens are drawn."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from rung.batch import Episode, Judgement
from rung.methods import METHODS
from rung.methods.parts.q_learning import Boltzmann, EpsilonGreedy, Uniform
from rung.methods.value_learning import ValueLearning
from rung.models.language.tiny import tiny_model
from rung.rewards.judge import Judge
from rung.rollouts.sampler import InProcessSampler
from rung.settings import Settings, settings_from
from rung.tasks.load import load_text_task
from rung.trainers.q_learning.tokens import TokenReplayCollector

PROMPTS = 6


def collector_of(judge: Any = None, **slots: Any) -> TokenReplayCollector:
    task = load_text_task("copying", symbols=4, length=4, held_out=2)
    assert task.characters is not None
    policy = tiny_model(0, characters=task.characters, layers=1, width=16)
    settings: Settings = settings_from(
        {
            "model": "tiny", "method": "dqn", "task": {"name": "copying"}, "prompts_per_step": PROMPTS,
            "max_new_tokens": 5, "seed": 5,
        }
    )  # fmt: skip
    plain = {"replay": Uniform(capacity=1000, starts=1, batch=1), "clip_rewards": False, "steps_between_updates": 4}
    method: ValueLearning = METHODS["dqn"].changed(name="of tokens", **{**plain, **slots})
    return TokenReplayCollector(settings, method, task, policy, judge or Judge(task.rewards), InProcessSampler(policy))


def collected(collector: TokenReplayCollector, step: int = 1) -> Any:
    return collector.collect(step, lambda name: nullcontext())


class Gives:
    """A judge that gives these totals in turn; None: it could not judge."""

    def __init__(self, *totals: float | None) -> None:
        self.totals = totals

    def __call__(self, items: Any, texts: Any, drawn: Any = None) -> list[Judgement]:
        return [
            Judgement(total=t, parts={"given": t}, accuracy=t, status="ok" if t is not None else "given: timeout")
            for t in self.totals
        ]

    def close(self) -> None: ...


def kept(collector: TokenReplayCollector) -> list[Any]:
    """Everything in the replay, oldest first."""
    count = len(collector.replay._kept)
    return collector.replay.draw((np.arange(count) + 0.5) / count, 10_000)


def test_the_reward_stands_on_the_last_token_and_what_was_not_judged_is_left_out() -> None:
    collector = collector_of(Gives(0.5, None, -2.0, 0.0, 1.0, None))
    found = collected(collector)
    episodes: list[Episode] = list(found.episodes)
    judged = [e for e in episodes if e.judgement is not None and e.judgement.total is not None]
    assert [k.rewards.tolist() for k in kept(collector)] == [
        [0.0] * (len(e.actions) - 1) + [e.judgement.total] for e in judged if e.judgement is not None
    ]
    assert [k.actions.tolist() for k in kept(collector)] == [e.actions.tolist() for e in judged]
    assert found.metrics["episodes/failed"] == 2 and found.metrics["replay/steps"] == sum(
        len(e.actions) for e in judged
    )
    assert found.metrics["tokens/generated"] == sum(len(e.actions) for e in episodes), (
        "they were generated all the same"
    )
    assert all(e.pieces for e in episodes)


def test_rewards_are_clipped_to_their_sign_where_the_method_says_so() -> None:
    collector = collector_of(Gives(0.5, 0.25, -2.0, 0.0, 1.0, 3.0), clip_rewards=True)
    found = collected(collector)
    assert [float(k.rewards[-1]) for k in kept(collector)] == [1.0, 1.0, -1.0, 0.0, 1.0, 1.0]
    assert found.metrics["reward/mean"] == pytest.approx(2.75 / 6), "the score stays what it is"


def test_updates_come_due_by_tokens_and_only_once_learning_has_begun() -> None:
    collector = collector_of(replay=Uniform(capacity=1000, starts=30, batch=1))
    due, tokens = [], []
    for step in range(1, 6):
        found = collected(collector, step)
        due.append(found.batch.rounds)
        tokens.append(collector.tokens)
    begun = next(n for n, total in enumerate(tokens) if total >= 30)
    assert due[:begun] == [0] * begun and begun >= 1
    assert sum(due[begun:]) == tokens[-1] // 4 - tokens[begun - 1] // 4


def test_epsilon_falls_by_tokens_and_is_a_tokens() -> None:
    whole = collector_of(exploration=EpsilonGreedy(start=1.0, end=0.0, over=20))
    first, second = collected(whole, 1), collected(whole, 2)
    generated = first.metrics["tokens/generated"]
    assert first.metrics["exploration/epsilon"] == 1.0
    assert second.metrics["exploration/epsilon"] == pytest.approx(max(0.0, 1 - generated / 20))
    best = collector_of(exploration=EpsilonGreedy(start=0.0, end=0.0, over=1))
    greedy = collected(best)
    assert all((e.log_probs == 0).all() for e in greedy.episodes)
    again = best.evaluate()
    assert again.scores_NK.shape == (2, 1)
    drawn = collected(collector_of(exploration=Boltzmann(temperature=2.0)))
    assert drawn.metrics["exploration/epsilon"] is None
    assert any((e.log_probs < -0.1).any() for e in drawn.episodes)


def test_it_goes_on_from_its_own_state() -> None:
    whole = collector_of(exploration=EpsilonGreedy(start=1.0, end=0.0, over=60))
    collected(whole, 1)
    other = collector_of(exploration=EpsilonGreedy(start=1.0, end=0.0, over=60))
    other.load_state(whole.state(), {**whole.tensors(), **whole.pieces()})
    one, two = collected(whole, 2), collected(other, 2)
    assert [e.actions.tolist() for e in one.episodes] == [e.actions.tolist() for e in two.episodes]
    assert one.metrics == two.metrics and one.batch.rounds == two.batch.rounds
    assert [k.actions.tolist() for k in kept(whole)] == [k.actions.tolist() for k in kept(other)]
