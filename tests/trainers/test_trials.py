"""Learning within a trial: one step by hand, a whole run against dense matrices, compiled against not, and what
breaks when a rule is broken."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from rung.methods import AdaptiveElements
from rung.methods.ase_ace import ASE, ASE_ACE, BOXES
from rung.methods.parts.elements import Lifetimes
from rung.random import Stream
from rung.tasks.cart_pole import BOX_COUNT, CartPole1983, box_of, moved
from rung.trainers.boxes_1983 import learner as trial_learner
from rung.trainers.boxes_1983.learner import Trial, TrialLearner, balanced, box_policy
from rung.trainers.boxes_1983.trials import loops

CENTRE = box_of(0.0, 0.0, 0.0, 0.0)
numba = pytest.importorskip("numba")


def learner(method: AdaptiveElements, seed: int = 0, **options: Any) -> TrialLearner:
    return TrialLearner(box_policy(method, seed), method, CartPole1983(**options))


def played(it: TrialLearner, trials: int, seed: int = 0) -> list[dict]:
    """As many trials as that, or as the run has time for."""
    there = itertools.takewhile(lambda _: not it.over(), range(1, trials + 1))
    return [dict(it.update(Trial(Stream(seed, step, "trial")), step).metrics()) for step in there]


def one_step(
    noise: list[float], push: np.ndarray, prediction: np.ndarray, state: list[float], rates: tuple[float, float]
) -> tuple[int, bool, np.ndarray, np.ndarray]:
    """The uncompiled loop for as many steps as there is noise."""
    tables = (push.tolist(), prediction.tolist())
    traces = ([0.0] * BOX_COUNT, [0.0] * BOX_COUNT)
    run = loops(compiled=False).elements
    taken, failed, _ = run(state, tables, traces, [0] * BOX_COUNT, 0, noise, rates, (0.9, 0.8), 0.95, (0.0, 0.0))
    return taken, failed, np.array(tables[0]), np.array(tables[1])


def test_a_first_step_by_hand() -> None:
    """Centre, y = 1: e = 0.1, x̄ = 0.2, no failure, r̂ = 0 + 0.95 p' - p."""
    push, prediction = np.zeros(BOX_COUNT), np.zeros(BOX_COUNT)
    prediction[CENTRE] = -0.5
    there = box_of(*moved(0.0, 0.0, 0.0, 0.0, 10.0, 0.0, 0.0))
    assert there == CENTRE, "after one push the cart is still in the box"
    taken, failed, new_push, new_prediction = one_step([0.01], push, prediction, [0.0] * 4, (1000.0, 0.5))
    surprise = 0.95 * -0.5 + 0.5
    assert (taken, failed) == (1, False)
    assert new_push[CENTRE] == pytest.approx(1000 * surprise * 0.1, rel=1e-15)
    assert new_prediction[CENTRE] == pytest.approx(-0.5 + 0.5 * surprise * 0.2, rel=1e-15)
    assert np.count_nonzero(new_push) == np.count_nonzero(new_prediction) == 1


def test_a_failure_by_hand() -> None:
    """About to fall, pushed the wrong way: p after the failure is 0, r̂ = -1 - p."""
    state = [0.0, 0.0, 0.209, 3.0]
    box = box_of(*state)
    push, prediction = np.zeros(BOX_COUNT), np.zeros(BOX_COUNT)
    push[box], prediction[box], prediction[CENTRE] = -1.0, -0.25, -0.9
    taken, failed, new_push, new_prediction = one_step([0.0, 0.0], push, prediction, state, (1000.0, 0.5))
    surprise = -1.0 + 0.25  # with p of the state that the next trial starts from it would be less still
    assert (taken, failed) == (1, True)
    assert new_push[box] == pytest.approx(-1.0 + 1000 * surprise * -0.1, rel=1e-15)
    assert new_prediction[box] == pytest.approx(-0.25 + 0.5 * surprise * 0.2, rel=1e-15)
    assert new_prediction[CENTRE] == -0.9


def dense(
    method: AdaptiveElements, trials: int, *, keep_prediction: bool = False, keep_traces: bool = False, seed: int = 0
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """The same methods written anew on whole vectors x [162]; for comparison, and for a rule that is broken."""
    actor, critic = method.actor, method.critic
    beta, gamma, lam = (critic.step_size, critic.gamma, critic.decay) if critic else (0.0, 0.0, 0.0)
    w, v, e, x_bar = (np.zeros(BOX_COUNT) for _ in range(4))
    lengths = []
    for number in range(1, trials + 1):
        state: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
        trial = Trial(Stream(seed, number, "trial"))
        if not keep_traces:
            e, x_bar = np.zeros(BOX_COUNT), np.zeros(BOX_COUNT)
        for step in range(100_000):
            if step % trial_learner.BLOCK == 0:
                noise = trial.noise(actor.noise, step, trial_learner.BLOCK)
            x = np.eye(BOX_COUNT)[box_of(*state)]
            y = 1.0 if w @ x + noise[step % trial_learner.BLOCK] >= 0 else -1.0
            e = actor.decay * e + (1 - actor.decay) * y * x
            x_bar = lam * x_bar + (1 - lam) * x
            p = v @ x
            state = moved(*state, 10.0 * y, 0.0, 0.0)
            failed = box_of(*state) < 0
            after = v[CENTRE] if keep_prediction else 0.0
            p_next = after if failed else v[box_of(*state)]
            surprise = (-1.0 if failed else 0.0) + gamma * p_next - p
            w = w + actor.step_size * surprise * e
            v = v + beta * surprise * x_bar
            if failed:
                lengths.append(step + 1)
                break
    return lengths, w, v


@pytest.mark.parametrize("method", [ASE_ACE, ASE], ids=lambda method: method.name)
def test_twenty_trials_equal_the_dense_form(method: AdaptiveElements) -> None:
    lengths, w, v = dense(method, 20)
    it = learner(method)
    assert [one["length/mean"] for one in played(it, 20)] == lengths
    assert np.allclose(it.policy.push.numpy(), w, rtol=1e-9, atol=1e-12)
    assert np.allclose(it.policy.tables["prediction"].numpy(), v, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("broken", ["keep_prediction", "keep_traces"])
def test_a_broken_rule_gives_other_weights(broken: str) -> None:
    """Negative controls: p of the reset state at a failure; traces that go on into the next trial."""
    _, w, v = dense(ASE_ACE, 20)
    _, other_w, other_v = dense(ASE_ACE, 20, **{broken: True})
    assert not np.allclose(w, other_w, rtol=1e-3) and not np.allclose(v, other_v, rtol=1e-3)


@pytest.mark.parametrize("method", [ASE_ACE, ASE, BOXES], ids=lambda method: method.name)
def test_compiled_and_python_are_equal_to_the_last_bit(method: AdaptiveElements, monkeypatch: Any) -> None:
    results = []
    for compiled in (True, False):
        monkeypatch.setattr(trial_learner, "loops", lambda compiled=compiled: loops(compiled=compiled))
        it = learner(method, seed=4, track_friction=5e-4, pivot_friction=2e-6, most_steps=20_000)
        lengths = [one["length/mean"] for one in played(it, 60, seed=4)]
        score = balanced(it.task, it.policy, Trial(Stream(9, 0, "score")), 0.01, 3000)
        results.append((lengths, score, {name: table.numpy().tobytes() for name, table in it.policy.tables.items()}))
    assert results[0] == results[1]
    assert max(results[0][0]) > 50


def test_how_the_noise_is_cut_into_blocks_changes_nothing(monkeypatch: Any) -> None:
    """A trial longer than a block goes on with its traces and the boxes it has entered."""
    method, whole = ASE_ACE, learner(ASE_ACE, most_steps=6000)
    played(whole, 60)
    noise = {step: Trial(Stream(0, step, "trial")).noise(method.actor.noise, 0, 4096) for step in range(1, 61)}

    class Same(Trial):
        def noise(self, deviation: float, first: int, count: int) -> np.ndarray:
            return noise[self.stream.step][first : first + count]

    monkeypatch.setattr(trial_learner, "BLOCK", 7)
    cut = learner(ASE_ACE, most_steps=6000)
    there = itertools.takewhile(lambda _: not cut.over(), range(1, 61))
    steps = [cut.update(Same(Stream(0, step, "trial")), step).metrics()["length/mean"] for step in there]
    assert max(steps) < 4096, "the longest trial lies within the noise at hand"
    assert {name: t.tolist() for name, t in cut.policy.tables.items()} == {
        name: t.tolist() for name, t in whole.policy.tables.items()
    }


def test_with_a_critic_the_pole_stays_up_and_without_it_falls() -> None:
    """The experiment, small: one seed of the ten that reach 500,000 steps, and the same without its critic."""
    assert sum(one["length/mean"] for one in played(learner(ASE_ACE, seed=8), 100, seed=8)) == 500_000
    alone = played(learner(ASE, seed=8), 100, seed=8)
    assert sum(one["length/mean"] for one in alone) < 50_000 and all(one["reward/mean"] == -1.0 for one in alone)


def test_a_run_ends_with_its_time_and_plays_no_more() -> None:
    it = learner(ASE_ACE, most_steps=100)
    results = played(it, 20)
    assert sum(one["length/mean"] for one in results) == 100 == it.steps
    assert (
        1 < len(results) < 20 and it.updates == len(results) and all(one["reward/mean"] == -1.0 for one in results[:-1])
    )
    last = results[-1]
    assert last["reward/mean"] == 0.0 and last["length/truncated"] == 1.0
    used = f"100 time steps are used up after {len(results)} trials, the last one still balancing"
    assert it.over() == f"the run's {used}: it ends here"
    with pytest.raises(AssertionError, match="the run is over"):
        it.update(Trial(Stream(0, 21, "trial")), 21)


def test_boxes_by_hand() -> None:
    """One failure at T = 10: a box entered at 2 and 5 while it chose right."""
    actor = Lifetimes(decay=0.5, weight=2.0, base=1.0, multiple=1.0)
    it = learner(BOXES.changed(actor=actor))
    tables = it.policy.tables
    tables["push"][:] = 1.0
    for name, value in {"right_life": 8.0, "right_usage": 2.0, "left_life": 40.0, "left_usage": 4.0}.items():
        tables[name][7] = value
    before = tables["push"].clone()
    entries, times = np.zeros(BOX_COUNT), np.zeros(BOX_COUNT)
    entries[7], times[7] = 2.0, 7.0
    it._remember(actor, 10, entries, times)
    assert (it.life, it.usage) == (10.0, 1.0), "so the desired level is 1 + 10"
    found = {name: float(tables[name][7]) for name in actor.tables}
    assert found == {"right_life": 4.0 + 13.0, "right_usage": 1.0 + 2.0, "left_life": 20.0, "left_usage": 2.0}
    assert (20 + 2 * 11) / (2 + 2) > (17 + 2 * 11) / (3 + 2)
    assert float(tables["push"][7]) == -1.0, "left is worth 10.5, right 7.8"
    assert (tables["push"] != before).sum() == 1, "boxes that were not entered keep their decision"


def test_a_box_is_entered_from_another_one_only() -> None:
    """Always right from the centre: the first steps stay in one box, which counts as one entry at time 0."""
    entries, times = [0.0] * BOX_COUNT, [0.0] * BOX_COUNT
    taken, failed = loops(compiled=False).boxes([1.0] * BOX_COUNT, entries, times, 1000, (0.0, 0.0))
    assert failed and entries[CENTRE] == 1.0 and times[CENTRE] == 0.0
    assert 1 < sum(entries) < taken


def test_boxes_begin_at_random_by_the_seed() -> None:
    first, again, other = (box_policy(BOXES, seed).push for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()
    assert set(first.tolist()) == {-1.0, 1.0} and 50 < int((first > 0).sum()) < 112
