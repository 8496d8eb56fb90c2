"""The critic of a language model: a layer on the policy's state, or a network of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rung.batch import Batch
from rung.errors import SettingsError

Make = Callable[..., Any]


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("separate", [True, False])
def test_values_stand_at_the_policys_own_steps_and_begin_at_0(
    make_policy: Make, ragged: Batch, kind: str, separate: bool
) -> None:
    policy = make_policy(kind, dtype=torch.float64)
    before = policy(ragged).log_probs_BT
    policy.add_critic(separate=separate)
    out = policy(ragged, with_values=True)
    assert torch.equal(out.log_probs_BT, before) and out.values_BT.shape == ragged.action_mask_BT.shape
    assert bool((out.values_BT == 0).all()) and policy(ragged).values_BT is None


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("separate", [True, False])
def test_a_separate_critic_leaves_the_policys_weights_alone(
    make_policy: Make, ragged: Batch, kind: str, separate: bool
) -> None:
    policy = make_policy(kind, dtype=torch.float64)
    policy.add_critic(separate=separate)
    torch.nn.init.normal_(policy.critic.layer.weight, generator=torch.Generator().manual_seed(0))
    values_BT = policy(ragged, with_values=True).values_BT
    assert bool((values_BT[ragged.action_mask_BT] != 0).all()) and bool((values_BT[~ragged.action_mask_BT] == 0).all())
    values_BT.square().sum().backward()
    reached = {name for name, p in policy.trainable().items() if p.grad is not None and bool((p.grad != 0).any())}
    assert {"critic.layer.weight", "critic.layer.bias"} <= reached
    assert all(name.startswith("critic.") for name in reached) == separate
    assert all(p.requires_grad for p in policy.trainable().values())


def test_the_value_of_a_state_does_not_see_what_comes_after(make_policy: Make, ragged: Batch) -> None:
    policy = make_policy("llama", dtype=torch.float64)
    policy.add_critic(separate=True)
    torch.nn.init.normal_(policy.critic.layer.weight, generator=torch.Generator().manual_seed(0))
    values_BT = policy(ragged, with_values=True).values_BT
    changed_BT = ragged.actions_BT.clone()
    changed_BT[:, -1] = (changed_BT[:, -1] + 1) % 5
    again_BT = policy(ragged.changed(actions_BT=changed_BT), with_values=True).values_BT
    torch.testing.assert_close(again_BT, values_BT, rtol=0, atol=1e-9)


def test_an_architecture_that_hides_its_state_is_refused(make_policy: Make) -> None:
    with pytest.raises(SettingsError, match="does not show the last hidden state"):
        make_policy("gemma2").add_critic(separate=False)
