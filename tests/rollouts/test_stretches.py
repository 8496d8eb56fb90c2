"""Stretches of environment steps, worked out by hand, and the promise that killed and restored is never stopped."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from spy_environment import EVENTS, KnownPolicy, sharp_policy, spy_task

from rung.batch import Batch
from rung.errors import CheckpointError, NonFiniteError, SettingsError
from rung.random import episode_seed
from rung.rollouts.environments.collected import CollectorState, Steps
from rung.rollouts.environments.stretches import StretchCollector
from rung.tasks.environment import environment_task

THREE_ENDS = {"lengths": (2, 3, 2), "ends": ("terminated", "truncated", "both")}


def collector_of(environments: int = 1, name: str = "rung/Spy-v0", **options: Any) -> StretchCollector:
    return StretchCollector(spy_task(name, **options), num_environments=environments, seed=3)


def arrays(collected: Steps) -> dict[str, Any]:
    batch = collected.batch
    tensors = {name: value for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
    return {
        **{n: t.numpy() for n, t in tensors.items()},
        "returns": collected.returns_N,
        "lengths": collected.lengths_N,
    }


def same(one: Steps, other: Steps) -> bool:
    a, b = arrays(one), arrays(other)
    return a.keys() == b.keys() and all(a[n].dtype == b[n].dtype and np.array_equal(a[n], b[n]) for n in a)


def test_a_stretch_with_every_kind_of_end_is_what_it_is_by_hand() -> None:
    collector = collector_of(**THREE_ENDS)
    collected = collector.collect_steps(KnownPolicy(), 8)  # type: ignore[arg-type]
    batch = collected.batch
    seen = [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [3, 0]]
    assert batch.contexts.tolist() == [seen]  # type: ignore[attr-defined]
    assert batch.rewards_BT.tolist() == [[1, 2, 1, 2, 3, 1, 2, 1]]
    assert batch.discounts_BT.tolist() == [[1, 0, 1, 1, 1, 1, 0, 1]]
    assert batch.cut_BT.tolist() == [[False, False, False, False, True, False, False, True]]
    # Truncated: V of the final observation [1, 3], not of the reset one [2, 0]. At the row's end: V of [3, 1].
    assert batch.bootstrap_BT.tolist() == [[0, 0, 0, 0, 103, 0, 0, 301]]
    assert batch.values_BT is not None and batch.values_BT.tolist() == [[100 * a + b for a, b in seen]]
    assert batch.action_mask_BT.all() and (batch.sampler_log_probs_BT == -0.5).all()
    assert batch.group_ids_B.tolist() == [0] and batch.truncated_B.tolist() == [False]
    assert collected.returns_N.tolist() == [3, 6, 3] and collected.lengths_N.tolist() == [2, 3, 2]
    assert collected.environment_steps == 8
    resets = [seed for what, seed in EVENTS if what == "reset"]
    assert resets == [episode_seed(3, "train", 0, episode) for episode in range(4)]
    steps = [action for what, action in EVENTS if what == "step"]
    assert steps == (batch.actions_BT[0] + 5).tolist(), "every step of the environment is in the batch, and once"


def test_an_episode_goes_on_in_the_next_stretch() -> None:
    collector, policy = collector_of(**THREE_ENDS), KnownPolicy()
    parts = [collector.collect_steps(policy, steps) for steps in (1, 3, 1, 3)]  # type: ignore[arg-type]
    whole = collector_of(**THREE_ENDS).collect_steps(policy, 8)  # type: ignore[arg-type]
    for name in ("rewards_BT", "discounts_BT", "values_BT"):
        joined = torch.cat([getattr(part.batch, name) for part in parts], 1)
        assert (joined == getattr(whole.batch, name)).all(), name
    assert np.concatenate([part.returns_N for part in parts]).tolist() == [3, 6, 3]
    assert np.concatenate([part.lengths_N for part in parts]).tolist() == [2, 3, 2]
    # Each stretch ends in a cut unless its last step terminated; [0, 1], [1, 2] and [1, 3] (final) follow.
    assert [part.batch.cut_BT[0, -1].item() for part in parts] == [True, True, True, True]
    assert [part.batch.bootstrap_BT[0, -1].item() for part in parts] == [1, 102, 103, 301]
    ended = collector_of(**THREE_ENDS).collect_steps(policy, 2).batch  # type: ignore[arg-type]
    assert ended.cut_BT.tolist() == [[False, False]] and ended.bootstrap_BT.tolist() == [[0, 0]]


def test_the_time_limit_of_gymnasium_truncates() -> None:
    collector = collector_of(lengths=(5,), max_episode_steps=2)
    batch = collector.collect_steps(KnownPolicy(), 5).batch  # type: ignore[arg-type]
    assert batch.cut_BT.tolist() == [[False, True, False, True, True]] and (batch.discounts_BT == 1).all()
    assert batch.bootstrap_BT.tolist() == [[0, 2, 0, 102, 201]]


def test_without_a_critic_nothing_is_bootstrapped_and_cuts_stay_cuts() -> None:
    batch = collector_of(**THREE_ENDS).collect_steps(KnownPolicy(critic=False), 8).batch  # type: ignore[arg-type]
    assert batch.values_BT is None and (batch.bootstrap_BT == 0).all() and batch.cut_BT.sum() == 2


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_a_row_depends_on_no_other_row(name: str) -> None:
    task = environment_task(name)
    policy = sharp_policy(task)

    def rows(environments: int) -> Batch:
        return StretchCollector(task, num_environments=environments, seed=5).collect_steps(policy, 250).batch

    one, many = rows(1), rows(3)
    exact = name == "CartPole-v1"  # a vector action carries the last bits of the matrix product, which knows the rows
    for array in ("contexts", "actions_BT", "rewards_BT", "discounts_BT", "cut_BT"):
        a, b = getattr(one, array)[0], getattr(many, array)[0]
        assert torch.equal(a, b) if exact else torch.allclose(a, b, atol=1e-2), array
    assert torch.allclose(one.sampler_log_probs_BT[0], many.sampler_log_probs_BT[0], atol=1e-2)
    assert not torch.equal(many.contexts[0], many.contexts[1]), "rows differ from each other"
    other_seed = StretchCollector(task, num_environments=1, seed=6).collect_steps(policy, 250).batch
    assert not torch.equal(one.contexts, other_seed.contexts)  # type: ignore[arg-type]


def test_every_stretch_draws_with_luck_of_its_own() -> None:
    collector, policy = collector_of(2, lengths=(900,)), KnownPolicy()
    first, second = (collector.collect_steps(policy, 60).batch.actions_BT for _ in range(2))  # type: ignore[arg-type]
    assert not torch.equal(first, second) and not torch.equal(first[0], first[1])


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "CartPole": ("CartPole-v1", {}),
    "HalfCheetah": ("HalfCheetah-v5", {"normalize_observations": True}),
    "Pendulum, scaled": ("Pendulum-v1", {"normalize_observations": True, "normalize_rewards": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_killed_and_restored_equals_uninterrupted_bitwise(case: str, tmp_path: Path) -> None:
    name, options = CASES[case]
    if "Cheetah" in name:
        pytest.importorskip("mujoco")
    task = environment_task(name, **options)
    policy = sharp_policy(task)

    def new() -> StretchCollector:
        return StretchCollector(task, num_environments=3, seed=1)

    going = new()
    for steps in (37, 150):
        going.collect_steps(policy, steps)
    state = going.state()
    save_file(dict(state.tensors), tmp_path / "tensors.safetensors")
    numbers = json.loads(json.dumps(dict(state.numbers)))
    expected = [going.collect_steps(policy, 90) for _ in range(2)]

    restored = new()
    restored.load_state(CollectorState(numbers, load_file(tmp_path / "tensors.safetensors")))
    assert _equal_states(restored.state(), state)
    found = [restored.collect_steps(policy, 90) for _ in range(2)]
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))
    assert _equal_states(restored.state(), going.state())
    fresh = new().collect_steps(policy, 90)
    assert not same(fresh, expected[0]), "a collector that forgot its state is noticed"


def _equal_states(one: CollectorState, other: CollectorState) -> bool:
    tensors = one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(one.tensors[n], other.tensors[n]) for n in one.tensors
    )
    return tensors and dict(one.numbers) == dict(other.numbers)


def test_a_collector_saved_before_its_first_step_is_restored() -> None:
    task = environment_task("CartPole-v1")
    policy = sharp_policy(task)
    one, other = (StretchCollector(task, num_environments=2, seed=1) for _ in range(2))
    other.load_state(one.state())
    assert same(one.collect_steps(policy, 20), other.collect_steps(policy, 20))


def test_restoring_an_environment_that_is_not_deterministic_is_refused() -> None:
    collector = collector_of(lengths=(2,))  # the spy's observation knows how often it was reset, seed or not
    collector.collect_steps(KnownPolicy(), 3)  # type: ignore[arg-type]
    fresh = collector_of(lengths=(2,))
    with pytest.raises(CheckpointError, match=r"rung/Spy-v0' is not deterministic: row 0.*1 actions"):
        fresh.load_state(collector.state())
    steady = collector_of(name="rung/Seeded-v0", lengths=(2,))
    steady.collect_steps(KnownPolicy(), 3)  # type: ignore[arg-type]
    collector_of(name="rung/Seeded-v0", lengths=(2,)).load_state(steady.state())


@pytest.mark.parametrize("change", [{"seed": 4}, {"num_environments": 2}, {"purpose": "other"}])
def test_another_collectors_state_is_refused(change: dict[str, Any]) -> None:
    collector = collector_of()
    other = StretchCollector(collector.task, **{"num_environments": 1, "seed": 3, **change})
    with pytest.raises(CheckpointError, match=next(iter(change))):
        other.load_state(collector.state())


def test_collecting_gives_the_policy_the_newest_statistics() -> None:
    policy = KnownPolicy()
    collector = collector_of(2, "rung/Seeded-v0", lengths=(3,), normalize_observations=True)
    collected = collector.collect_steps(policy, 6)  # type: ignore[arg-type]
    assert policy.scale is not None
    moments = collector._scaling.observations.moments  # type: ignore[union-attr]
    assert moments.counted == 2 * 7, "each observation acted on is counted once, and the one to act on next"
    assert (policy.scale.mean_O == moments.mean).all()
    assert collected.batch.contexts.abs().max() <= 10  # type: ignore[attr-defined]


def test_rewards_are_scaled_while_returns_stay_raw() -> None:
    collector = collector_of(lengths=(3,), normalize_rewards=True, discount=0.5)
    collected = collector.collect_steps(KnownPolicy(), 6)  # type: ignore[arg-type]
    assert collected.returns_N.tolist() == [6, 6]
    discounted = [1, 2.5, 4.25, 1, 2.5, 4.25]  # begins anew with the second episode
    expected = [min(10.0, r / np.sqrt(np.var(discounted[: t + 1]) + 1e-8)) for t, r in enumerate([1, 2, 3, 1, 2, 3])]
    np.testing.assert_allclose(collected.batch.rewards_BT[0], expected, rtol=1e-9)


@pytest.mark.parametrize("wrong", [lambda: collector_of(0), lambda: collector_of().collect_steps(KnownPolicy(), 0)])
def test_counts_must_be_at_least_one(wrong: Callable[[], Any]) -> None:
    with pytest.raises(SettingsError, match="expected at least 1"):
        wrong()


def test_nan_rewards_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = collector_of(lengths=(9,))
    step = collector._rows._steps[0]
    collector._rows._steps[0] = lambda action: (step(action)[0], float("nan"), False, False, {})
    with pytest.raises(NonFiniteError, match="rewards"):
        collector.collect_steps(KnownPolicy(), 2)  # type: ignore[arg-type]


def test_a_collected_batch_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        collector_of().collect_steps(KnownPolicy(), 1).environment_steps = 3  # type: ignore[misc,arg-type]
