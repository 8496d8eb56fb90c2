"""Rewards learnt from preferences: what is asked, what the policy sees, and what it comes to on a small task."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from rung.batch import Batch
from rung.library import train, trainer
from rung.methods import METHODS
from rung.methods.data import as_data, from_data
from rung.methods.explain import explain
from rung.runs.loop import Clock
from rung.settings import Settings
from rung.trainers.reading import read_run
from rung.trainers.rlhf_2017.collector import PreferenceCollector
from rung.trainers.rlhf_2017.labellers import Oracle, Question
from rung.trainers.rlhf_2017.segments import Segments
from rung.trainers.rollout_trainer import RolloutTrainer


class Point(gymnasium.Env):  # type: ignore[type-arg]
    """A point on a line, pushed by up to 0.2 a step: the nearer to 0.5, the better. It ends below -2."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012  (as Gymnasium has it)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode, self.at = render_mode, 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = float(self.np_random.uniform(-1.0, 2.0))
        return np.array([self.at], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at = float(np.clip(self.at + 0.2 * float(action[0]), -3.0, 3.0))
        return np.array([self.at], np.float32), -abs(self.at - 0.5), self.at < -2, False, {}

    def render(self) -> Any:
        picture = np.zeros((20, 60, 3), np.uint8)
        picture[:, int(np.clip(30 + 9 * self.at, 0, 59))] = 255
        return picture


gymnasium.register("RungPoint-v0", Point, max_episode_steps=20)  # type: ignore[arg-type]


def settings(**sets: Any) -> Settings:
    small = {
        **{
            "preferences.labels": 40,
            "steps": 3,
            "num_environments": 2,
            "method.horizon": 100,
            "evaluation.num_items": 2,
        },
        **{"method.learned_reward.segment": 5, "method.learned_reward.first_updates": 30},
        **{"method.learned_reward.later_updates": 5, "reporting.page": "false", **sets},
    }
    chosen = [f"{name}={value}" for name, value in small.items()]
    return read_run(flags={"method": "rlhf@2017", "task": "RungPoint-v0"}, sets=chosen).required()


@pytest.fixture
def make() -> Iterator[Any]:
    opened: list[RolloutTrainer] = []

    def of(**sets: Any) -> tuple[RolloutTrainer, PreferenceCollector]:
        parts = trainer(settings(**sets))
        opened.append(parts)
        assert isinstance(parts.collector, PreferenceCollector)
        return parts, parts.collector

    yield of
    for parts in opened:
        parts.collector.close()


def steps(parts: RolloutTrainer, first: int, last: int) -> list[tuple[Batch, dict[str, Any]]]:
    found = []
    for step in range(first, last + 1):
        collected = parts.collector.collect(step, Clock().phase)
        parts.learner.update(collected.batch, step)
        found.append((collected.batch, dict(collected.metrics)))
    return found


def test_a_hundred_labels_are_enough_for_a_point_and_coins_teach_nothing(tmp_path: Path) -> None:
    more = {
        **{
            "preferences.labels": 100,
            "steps": 25,
            "num_environments": 4,
            "evaluation.num_items": 20,
            "evaluation.every": 0,
        },
        **{
            "method.optimizer.max_kl": 0.05,
            "method.advantage.discount": 0.9,
            "method.learned_reward.first_updates": 200,
        },
        **{"method.entropy_bonus": 0},
    }
    learnt = train(settings(**more), tmp_path / "learnt", quiet=True)
    assert learnt.before is not None and learnt.after is not None
    best = -1.6  # with the task's own reward: from a distance of 0.8 on average, by 0.2 a step
    gained = (learnt.after.value - learnt.before.value) / (best - learnt.before.value)
    assert gained > 0.8, (learnt.before.value, learnt.after.value)
    coins = train(settings(**more, **{"preferences.oracle_error": 1.0}), tmp_path / "coins", quiet=True)
    assert coins.after is not None and coins.after.value < learnt.after.value - 2


def test_the_schedule_is_kept_and_the_budget_used_up(make: Any) -> None:
    parts, collector = make(steps=6)
    used = [metrics["preferences/labels"] for _, metrics in steps(parts, 1, 6)]
    assert collector.asked == 40 and used[-1] == 40
    first = 10 + (40 - 10) / 6  # a rate that hardly falls within 1200 steps
    assert used[0] == pytest.approx(first, abs=1) and used == sorted(used)


def test_offline_all_labels_are_of_the_starting_policy(make: Any) -> None:
    parts, collector = make(**{"method.learned_reward.first_share": 1.0})
    labels = [metrics["preferences/labels"] for _, metrics in steps(parts, 1, 3)]
    assert labels == [40, 40, 40]
    parts, online = make()
    steps(parts, 1, 1)
    assert online.begun_at < collector.begun_at, "more of the starting policy is collected where more is asked of it"


def test_the_true_reward_reaches_nothing_that_learns(make: Any) -> None:
    """NaN in its place, once the labels are given, changes neither batches nor weights."""

    def run(*, hide: bool) -> tuple[list[Batch], dict[str, torch.Tensor], list[dict[str, Any]]]:
        parts, collector = make(**{"method.learned_reward.first_share": 1.0})
        found = steps(parts, 1, 1)
        if hide:
            source = collector.inner.source.collect_steps

            def blind(*given: Any) -> Any:
                collected = source(*given)
                gone = torch.full_like(collected.batch.rewards_BT, float("nan"))
                return dataclasses.replace(collected, batch=collected.batch.changed(rewards_BT=gone))

            collector.inner.source.collect_steps = blind
        found += steps(parts, 2, 3)
        return [batch for batch, _ in found], dict(parts.policy.state()), [metrics for _, metrics in found]

    (seen, weights, metrics), (blind, blind_weights, blind_metrics) = run(hide=False), run(hide=True)
    for one, two in zip(seen, blind, strict=True):
        for name, value in vars(one).items():
            assert not isinstance(value, torch.Tensor) or torch.equal(value, getattr(two, name)), name
    assert all(torch.equal(weights[name], blind_weights[name]) for name in weights)
    assert metrics[2]["preferences/true_correlation"] is not None
    assert blind_metrics[2]["preferences/true_correlation"] is None, "the control: the truth was gone"


def test_the_policy_s_rewards_are_the_predicted_ones_and_no_episode_ends(make: Any) -> None:
    parts, collector = make()
    ((batch, metrics),) = steps(parts, 1, 1)
    assert metrics["reward/mean"] == pytest.approx(float(batch.rewards_BT.mean()))
    assert (batch.discounts_BT == 1).all() and batch.cut_BT[:, 19::20].all() and int(batch.cut_BT.sum()) == 10
    assert not batch.scores_B.any()
    recent = collector.learner.ensemble.rewards(collector.recent.steps_NKD.flatten(0, 1))
    assert float(recent.std(correction=0)) == pytest.approx(1, abs=1e-4) and abs(float(recent.mean())) < 1e-4


def test_it_asks_where_the_predictors_disagree_most(make: Any) -> None:
    parts, collector = make()
    steps(parts, 1, 1)
    chosen = variances(collector, collector._questions(2, 3, at_random=False))
    at_random = np.concatenate([variances(collector, collector._questions(s, 3, at_random=True)) for s in range(9)])
    assert chosen.min() > np.median(at_random) and chosen.mean() > 1.5 * at_random.mean()
    part = dataclasses.replace(collector.part, queries=METHODS["rlhf@2017"].learned_reward.queries)  # type: ignore[attr-defined]
    assert part == collector.part


@dataclasses.dataclass(frozen=True)
class Closest:
    """Ask where the predictors see both segments alike."""

    candidates: int = 20

    def worth(self, first_PN: torch.Tensor, second_PN: torch.Tensor) -> torch.Tensor:
        return -(first_PN - second_PN).mean(0).abs()


def test_a_query_of_ones_own_chooses_the_pairs(make: Any) -> None:
    parts, collector = make()
    steps(parts, 1, 1)
    whole = METHODS["rlhf@2017"].changed(
        name="mine", learned_reward=dataclasses.replace(collector.part, queries=Closest())
    )
    assert "asks Closest" in explain(whole) and from_data(as_data(whole), [Closest]) == whole
    distances = []
    for queries in (collector.part.queries, Closest()):
        collector.part = dataclasses.replace(collector.part, queries=queries)
        asked = collector._questions(2, 3, at_random=False)
        pairs = torch.stack([torch.stack([q.first.steps_NKD[0], q.second.steps_NKD[0]]) for q in asked])
        first_PN, second_PN = collector.learner.returns(pairs)
        distances.append(float((first_PN - second_PN).mean(0).abs().mean()))
    assert distances[1] < 0.2 * distances[0], distances


def variances(collector: PreferenceCollector, questions: list[Question]) -> np.ndarray:
    found = []
    for question in questions:
        pair = torch.stack([question.first.steps_NKD[0], question.second.steps_NKD[0]])[None]
        first_PN, second_PN = collector.learner.returns(pair)
        found.append(float(torch.sigmoid(first_PN - second_PN).var(correction=0)))
    return np.array(found)


def test_restored_it_goes_on_to_the_last_bit(make: Any) -> None:
    whole, collector = make(steps=4)
    steps(whole, 1, 2)
    saved = {name: tensor.clone() for name, tensor in collector.tensors().items()}
    numbers, policy = collector.state(), {name: tensor.clone() for name, tensor in whole.policy.state().items()}
    optimizer = {name: tensor.clone() for name, tensor in whole.learner.tensors().items()}
    other, restored = make(steps=4)
    other.policy.load_state(policy)
    other.learner.load_tensors(optimizer)
    other.learner.updates = whole.learner.updates
    restored.load_state(numbers, saved)
    for (one, said), (two, said_too) in zip(steps(whole, 3, 4), steps(other, 3, 4), strict=True):
        assert torch.equal(one.rewards_BT, two.rewards_BT) and torch.equal(one.actions_BT, two.actions_BT)
        assert said == said_too
    assert all(torch.equal(tensor, restored.tensors()[name]) for name, tensor in collector.tensors().items())


def one_segment(truth: float) -> Segments:
    return Segments(torch.zeros(1, 5, 2), torch.tensor([truth], dtype=torch.float64), torch.zeros(1, 3))


@pytest.mark.parametrize("error", [0.0, 0.1, 1.0])
def test_the_oracle_errs_as_often_as_it_is_told(error: float) -> None:
    better, worse = one_segment(2.0), one_segment(1.0)
    pairs = [(better, worse) if number % 2 else (worse, better) for number in range(4000)]
    questions = [Question(number, *pair) for number, pair in enumerate(pairs)]
    answers = Oracle(seed=1, error=error).answers("one", questions, [])
    wrong = np.mean([answers[number] != float(number % 2) for number in range(4000)])
    assert abs(wrong - error / 2) <= 4 * np.sqrt(max(error / 2 * (1 - error / 2), 0) / 4000)
    again = Oracle(seed=1, error=error).answers("two", questions[2000:], [])
    assert all(again[number] == answers[number] for number in again), "keyed by the question, not by when it is asked"


@pytest.mark.parametrize(
    ("method", "task", "sets", "words"),
    [
        ("rlhf@2017", "RungPoint-v0", ["preferences.label=3"], "preferences.labels"),
        ("rlhf@2017", "RungPoint-v0", ["preferences.labels=0"], "preferences.labels"),
        ("rlhf@2017", "RungPoint-v0", ["preferences.oracle_error=1.5"], "preferences.oracle_error"),
        ("rlhf@2017", "RungPoint-v0", ["preferences.labeller=persons"], "'oracle' or 'people'"),
        ("rlhf@2017", "RungPoint-v0", ["preferences.labeller=people"], "preferences.folder: got none"),
        ("rlhf@2017", "RungPoint-v0", ["method.learned_reward.members=0"], "at least 1"),
        ("rlhf@2017", "RungPoint-v0", ["method.learned_reward.queries=AtRandon"], "AtRandom"),
        ("rlhf@2017", "RungPoint-v0", ["method.learned_reward.l2_low=2"], "less than l2_high"),
        ("rlhf@2017", "RungPoint-v0", ["task.normalize_rewards=true"], "task.normalize_rewards"),
        ("trpo", "RungPoint-v0", ["preferences.labels=3"], "asks for no labels"),
        ("rlhf@2017", "arithmetic", [], "segments of environments alone"),
    ],
)
def test_what_cannot_be_is_told(method: str, task: str, sets: list[str], words: str) -> None:
    flags = {"method": method, "task": task, **({"model": "tiny"} if task == "arithmetic" else {})}
    problems = read_run(flags=flags, sets=sets).problems
    assert any(words in problem for problem in problems), problems


def test_any_policy_gradient_may_learn_from_it(make: Any) -> None:
    chosen = ["method.learned_reward=SegmentPreferences", "method.horizon=64", "method.num_minibatches=4", "steps=1"]
    more = ["preferences.labels=8", "num_environments=2", "method.learned_reward.segment=5", "method.num_epochs=2"]
    parts = trainer(read_run(flags={"method": "ppo", "task": "RungPoint-v0"}, sets=[*chosen, *more]).required())
    ((batch, metrics),) = steps(parts, 1, 1)
    assert metrics["preferences/labels"] == 8 and torch.isfinite(batch.rewards_BT).all()
    parts.collector.close()
