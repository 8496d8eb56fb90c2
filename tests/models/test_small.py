from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_policies import CHOICE, HOLES, SHAPES, VECTOR, batch_of, loud
from torch import Tensor

from rung.errors import CheckpointError, DataError, SettingsError
from rung.models.language.distributions import Categorical, Gaussian
from rung.models.small.network import NAME, SmallPolicy, SmallShape
from rung.models.small.observation_scale import ObservationScale

CONFIG, WEIGHTS = f"{NAME}.json", f"{NAME}.safetensors"


def by_hand(policy: SmallPolicy, network: str, observation_O: Tensor) -> Tensor:
    state = policy.state()
    hidden = observation_O
    for i in range(2):
        hidden = torch.tanh(state[f"{network}.{i}.weight"] @ hidden + state[f"{network}.{i}.bias"])
    return state[f"{network}.2.weight"] @ hidden + state[f"{network}.2.bias"]


@SHAPES
@pytest.mark.parametrize("as_tuple", [False, True])
@pytest.mark.parametrize("mask", [None, HOLES], ids=["whole", "holes"])
def test_outputs_equal_the_network_worked_out_step_by_step(
    shape: SmallShape, as_tuple: bool, mask: list[list[bool]] | None
) -> None:
    policy, batch = loud(shape), batch_of(shape, mask, as_tuple=as_tuple)
    outputs = policy(batch, temperature=0.7, with_entropy=True, with_values=True)
    for b in range(2):
        for t in range(5):
            got = [x[b, t].item() for x in outputs]  # type: ignore[union-attr]
            if not batch.action_mask_BT[b, t]:
                assert got == [0.0, 0.0, 0.0]
                continue
            out, value = (by_hand(policy, network, batch.contexts[b][t]) for network in ("policy", "critic"))
            if shape.choices:
                distribution = torch.distributions.Categorical(logits=out / 0.7)
                expected = [distribution.log_prob(batch.actions_BT[b, t]), distribution.entropy()]
            else:
                std = policy.state()["policy.log_std"].exp() * math.sqrt(0.7)
                normal = torch.distributions.Normal(out, std)
                expected = [normal.log_prob(batch.actions_BT[b, t]).sum(), normal.entropy().sum()]
            assert got == pytest.approx([float(x) for x in (*expected, value)], abs=1e-5)
    assert all(x is not None and x.dtype == torch.float32 for x in outputs)


def test_what_is_not_asked_for_is_not_computed() -> None:
    outputs = loud(CHOICE)(batch_of(CHOICE))
    assert outputs.entropy_BT is None and outputs.values_BT is None


@SHAPES
@pytest.mark.parametrize("as_tuple", [False, True])
def test_nan_in_masked_slots_changes_nothing(shape: SmallShape, as_tuple: bool) -> None:
    def passed(junk: float) -> tuple[list[Tensor], list[Tensor]]:
        policy = loud(shape)
        outputs = policy(batch_of(shape, HOLES, junk, as_tuple), with_entropy=True, with_values=True)
        given = [x for x in outputs if x is not None]
        sum(x.square().sum() for x in given).backward()  # type: ignore[union-attr]
        return [x.detach() for x in given], [p.grad for p in policy.trainable().values() if p.grad is not None]

    clean, clean_gradients = passed(0.0)
    dirty, dirty_gradients = passed(torch.nan)
    assert all((a == b).all() for a, b in zip(clean, dirty, strict=True)) and len(clean) == 3
    assert all((a == b).all() for a, b in zip(clean_gradients, dirty_gradients, strict=True))
    assert len(clean_gradients) == len(loud(shape).trainable())
    assert torch.isfinite(torch.stack(clean)).all()


@SHAPES
def test_a_batch_without_any_action_is_all_zero(shape: SmallShape) -> None:
    outputs = loud(shape)(batch_of(shape, [[False] * 5] * 2, torch.nan), with_entropy=True, with_values=True)
    assert all((x == 0).all() and x.shape == (2, 5) for x in outputs if x is not None)


@SHAPES
def test_the_law_stands_in_row_order(shape: SmallShape) -> None:
    policy, batch = loud(shape), batch_of(shape, HOLES)
    distribution = policy.distribution(batch, temperature=0.5)
    assert isinstance(distribution, Categorical if shape.choices else Gaussian)
    log_probs_BT = policy(batch, temperature=0.5).log_probs_BT
    assert (distribution.log_prob(batch.actions_BT[batch.action_mask_BT]) == log_probs_BT[batch.action_mask_BT]).all()
    assert distribution.entropy().shape == (5,)


@SHAPES
def test_acting_reports_the_log_probs_that_the_learner_finds(shape: SmallShape) -> None:
    policy, batch = loud(shape), batch_of(shape)
    seen_NO = batch.contexts.flatten(0, 1).numpy()  # type: ignore[attr-defined]
    uniforms = torch.rand((10, 2) if shape.dimensions else (10,), dtype=torch.float64)
    actions_N, log_probs_N = policy.actor()(seen_NO, uniforms.numpy())
    np.testing.assert_allclose(actions_N, policy.distribution(batch).draw(uniforms).detach(), atol=1e-6)
    again = batch.changed(actions_BT=torch.from_numpy(actions_N).unflatten(0, (2, 5)))
    np.testing.assert_allclose(policy(again).log_probs_BT.detach().flatten(), log_probs_N, atol=1e-5)
    values_BT = policy(batch, with_values=True).values_BT
    assert values_BT is not None
    np.testing.assert_allclose(values_BT.detach().flatten(), policy.values(seen_NO), atol=1e-6)
    distribution = policy.distribution(batch)
    choice = isinstance(distribution, Categorical)
    likeliest_N = distribution.log_probs_NV.argmax(-1) if choice else distribution.mean_NA
    np.testing.assert_allclose(policy.mode(seen_NO), likeliest_N.detach().numpy(), atol=1e-6)
    assert torch.from_numpy(actions_N).dtype == (torch.int64 if shape.choices else torch.float32)


def test_the_first_weights_are_those_of_the_paper_and_of_the_seed() -> None:
    policy = SmallPolicy(VECTOR, seed=5)
    state = policy.state()
    assert [tuple(state[f"policy.{i}.weight"].shape) for i in range(3)] == [(64, 3), (64, 64), (2, 64)]
    for name, gain in (("policy.1", math.sqrt(2)), ("policy.2", 0.01), ("critic.1", math.sqrt(2)), ("critic.2", 1.0)):
        weight = state[f"{name}.weight"]
        torch.testing.assert_close(weight @ weight.T, gain**2 * torch.eye(len(weight)), atol=1e-5, rtol=1e-4)
        assert (state[f"{name}.bias"] == 0).all()
    assert (state["policy.log_std"] == 0).all()
    same, other = SmallPolicy(VECTOR, seed=5).state(), SmallPolicy(VECTOR, seed=6).state()
    assert all((state[name] == same[name]).all() for name in state)
    assert not (state["policy.0.weight"] == other["policy.0.weight"]).all()


def test_policy_and_critic_share_nothing() -> None:
    policy = loud(CHOICE)
    outputs = policy(batch_of(CHOICE), with_values=True)
    assert outputs.values_BT is not None
    outputs.values_BT.sum().backward()
    touched = {name for name, p in policy.trainable().items() if p.grad is not None}
    assert touched == {name for name in policy.trainable() if name.startswith("critic.")} and len(touched) == 6


def test_without_a_critic_values_are_refused() -> None:
    policy = SmallPolicy(SmallShape(observations=3, choices=4, critic=False))
    assert not any(name.startswith("critic.") for name in policy.trainable())
    with pytest.raises(ValueError, match="no critic"):
        policy(batch_of(CHOICE), with_values=True)
    assert policy(batch_of(CHOICE)).log_probs_BT.shape == (2, 5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_must_be_above_zero(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        loud(CHOICE)(batch_of(CHOICE), temperature=temperature)


def test_the_reference_is_frozen_and_does_not_move_with_the_policy() -> None:
    policy = loud(CHOICE)
    reference = policy.reference()
    before_BT = policy(batch_of(CHOICE)).log_probs_BT.detach()
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(0.1)
    assert reference.trainable() == {}
    assert (reference(batch_of(CHOICE)).log_probs_BT == before_BT).all()
    assert not (policy(batch_of(CHOICE)).log_probs_BT == before_BT).all()


@SHAPES
@pytest.mark.parametrize("scaled", [False, True])
def test_saved_and_loaded_is_the_same_policy(shape: SmallShape, scaled: bool, tmp_path: Path) -> None:
    policy = loud(shape)
    policy.scale = ObservationScale(np.array([1.0, 2.0, 3.0]), np.array([4.0, 0.0, 1.0])) if scaled else None
    policy.save(tmp_path / "final")
    loaded = SmallPolicy.load(tmp_path / "final")
    assert loaded.shape == shape and sorted(p.name for p in (tmp_path / "final").iterdir()) == [CONFIG, WEIGHTS]
    raw_NO = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    assert (loaded.scaled(raw_NO) == policy.scaled(raw_NO)).all()
    assert (loaded.scaled(raw_NO) == raw_NO).all() != scaled
    assert (loaded.mode(raw_NO) == policy.mode(raw_NO)).all() and (loaded.values(raw_NO) == policy.values(raw_NO)).all()


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing() -> None:
    policy = loud(CHOICE)
    before = {name: t.clone() for name, t in policy.state().items()}
    good = loud(CHOICE, seed=1).state()
    wrong_shape = {**good, "policy.0.bias": torch.zeros(3)}
    missing = {name: t for name, t in good.items() if name != "critic.1.weight"}
    for bad, words in (
        (wrong_shape, r"policy\.0\.bias: got \(3,\)"),
        (missing, r"critic\.1\.weight is missing"),
        ({**good, "other": torch.zeros(1)}, "other is no part"),
        ({**good, "policy.0.bias": torch.zeros(64, dtype=torch.float64)}, "float64"),
        ({**good, "observation.mean": torch.zeros(3, dtype=torch.float64)}, "both or none"),
        (
            {
                **good,
                "observation.mean": torch.zeros(3, dtype=torch.float64),
                "observation.variance": -torch.ones(3, dtype=torch.float64),
            },
            "below 0",
        ),
    ):
        with pytest.raises(CheckpointError, match=words):
            policy.load_state(bad)
        assert all((policy.state()[name] == before[name]).all() for name in before)
    policy.load_state(good)
    assert (policy.state()["policy.0.bias"] == good["policy.0.bias"]).all()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"observations": 3}', '"x"', None],
)
def test_a_folder_with_another_shape_is_refused(content: str | None, tmp_path: Path) -> None:
    loud(CHOICE).save(tmp_path)
    if content is None:
        config = json.loads((tmp_path / CONFIG).read_text())
        content = json.dumps({**config, "hidden": [1 << 20, 1 << 20]})
    (tmp_path / CONFIG).write_text(content)
    with pytest.raises(DataError):
        SmallPolicy.load(tmp_path)


def test_a_broken_or_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        SmallPolicy.load(tmp_path / "nothing")
    loud(CHOICE).save(tmp_path)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:-50])
    with pytest.raises(DataError):
        SmallPolicy.load(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [{"observations": 0}, {"choices": None}, {"dimensions": 2}, {"hidden": (64, 0)}, {"observations": True}],
)
def test_an_impossible_shape_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        SmallShape(**{"observations": 3, "choices": 4, **wrong})


@pytest.mark.parametrize("u", [0.0, 0.3, 1 - 2.0**-53])
def test_the_actor_never_draws_what_has_no_probability(u: float) -> None:
    policy = loud(CHOICE)
    for bias in ([0.0, 0.0, -math.inf, -math.inf], [-math.inf, 0.0, -800.0, -900.0], [-800.0, 0.0, 0.5, -math.inf]):
        with torch.no_grad():
            policy.trainable()["policy.2.bias"].copy_(torch.tensor(bias))
        observations_NO = np.zeros((3, 3), np.float32)
        actions_N, log_probs_N = policy.actor()(observations_NO, np.full(3, u))
        assert (log_probs_N > -100).all() and np.isfinite(log_probs_N).all()
        expected_N = policy.distribution(batch_of(CHOICE).changed(contexts=torch.zeros(2, 5, 3))).draw(
            torch.full((10,), u).double()
        )
        assert (actions_N == expected_N[0].item()).all()


def test_an_actor_made_after_an_update_draws_from_the_new_weights() -> None:
    policy, uniforms_N = loud(CHOICE), np.linspace(0, 0.99, 50)
    observations_NO = np.zeros((50, 3), np.float32)
    before_N = policy.actor()(observations_NO, uniforms_N)[1]
    for parameter in policy.trainable().values():
        parameter.data = torch.zeros_like(parameter)  # replaced, not written into, as some optimizers do
    assert not np.allclose(before_N, math.log(0.25))
    np.testing.assert_allclose(policy.actor()(observations_NO, uniforms_N)[1], math.log(0.25), rtol=1e-6)
