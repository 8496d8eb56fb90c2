"""Both ways through a network against transformers' own logits, and all that must not change a log-probability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rung.batch import Batch
from rung.models.language.decoder import Decoder
from rung.models.language.policy import TextPolicy
from rung.models.language.whole_model import WholeModel

OWN = ["llama", "llama3-rope", "qwen2", "qwen3", "mistral"]
GENERIC = ["gpt2", "mistral-window", "gemma2"]
Make = Callable[..., Any]


def _transformers(policy: TextPolicy, batch: Batch, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Row by row, unpadded, through the model's own forward pass and the whole softmax."""
    log_probs_BT = torch.zeros(batch.actions_BT.shape, dtype=policy.model.dtype)
    entropy_BT = torch.zeros_like(log_probs_BT)
    for b, context in enumerate(batch.contexts):
        kept_T = batch.action_mask_BT[b].nonzero()[:, 0]
        if not len(kept_T):
            continue
        ids = torch.cat([context, batch.actions_BT[b, : kept_T[-1] + 1]])
        log_SV = (policy.model(input_ids=ids[None]).logits[0] / temperature).log_softmax(-1)
        at_T = len(context) - 1 + kept_T
        log_probs_BT[b, kept_T] = log_SV[at_T, batch.actions_BT[b, kept_T]]
        entropy_BT[b, kept_T] = -(log_SV[at_T].exp() * log_SV[at_T]).sum(-1)
    return log_probs_BT, entropy_BT


def _gradients(policy: TextPolicy, loss: torch.Tensor) -> list[torch.Tensor]:
    trained = list(policy.trainable().values())
    return [
        torch.zeros_like(p) if g is None else g
        for p, g in zip(trained, torch.autograd.grad(loss, trained, allow_unused=True), strict=True)
    ]


def _pull(batch: Batch) -> torch.Tensor:
    """A loss that weights every action differently."""
    return torch.linspace(-1, 1, batch.actions_BT.numel(), dtype=torch.float64).view_as(batch.actions_BT)


@pytest.mark.parametrize("kind", OWN + GENERIC)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_entropy_and_gradients_are_transformers_own(
    kind: str, temperature: float, make_policy: Make, ragged: Batch
) -> None:
    policy = make_policy(kind)
    assert isinstance(policy.engine, Decoder if kind in OWN else WholeModel)
    assert (policy.engine_reason is None) == (kind in OWN)
    expected = _transformers(policy, ragged, temperature)
    got = policy(ragged, temperature=temperature, with_entropy=True)
    assert got.values_BT is None and got.log_probs_BT.dtype == torch.float32
    torch.testing.assert_close(got.log_probs_BT, expected[0], rtol=0, atol=2e-5)
    torch.testing.assert_close(got.entropy_BT, expected[1], rtol=0, atol=2e-5)
    pull = _pull(ragged).float()
    mine = _gradients(policy, (got.log_probs_BT * pull + got.entropy_BT).sum())
    theirs = _gradients(policy, (expected[0] * pull + expected[1]).sum())
    for a, b in zip(mine, theirs, strict=True):
        assert (a - b).norm() <= 1e-4 * (b.norm() + 1e-2)


def test_the_reason_for_the_generic_way_is_said(make_policy: Make) -> None:
    assert "sliding window" in make_policy("mistral-window").engine_reason
    assert "GPT2LMHeadModel is not one of" in make_policy("gpt2").engine_reason
    assert not make_policy("gemma2").engine.plain_head and make_policy("gpt2").engine.plain_head


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2"])
def test_equal_to_asking_for_each_token_alone(kind: str, make_policy: Make, make_batch: Make, ragged: Batch) -> None:
    """O(L²): every action is predicted in a pass of its own, from a prompt that holds everything before it."""
    policy = make_policy(kind, dtype=torch.float64)
    got = policy(ragged).log_probs_BT
    for b, context in enumerate(ragged.contexts):
        for t in range(int(ragged.action_mask_BT[b].sum())):
            text = torch.cat([context, ragged.actions_BT[b, :t]])
            alone = policy(make_batch([text], [[int(ragged.actions_BT[b, t])]])).log_probs_BT
            torch.testing.assert_close(alone[0, 0], got[b, t], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gpt2", "gemma2"])
def test_splits_order_padding_and_sharing_change_nothing(
    kind: str, make_policy: Make, make_batch: Make, ragged: Batch
) -> None:
    policy = make_policy(kind, dtype=torch.float64)
    limit = 1e-5 if kind == "gemma2" else 1e-9  # gemma2 goes through modules that compute in float32
    pull = _pull(ragged)
    whole = policy(ragged, temperature=0.7, with_entropy=True)
    expected = _gradients(policy, (whole.log_probs_BT * pull + whole.entropy_BT).sum())

    def check(parts: list[list[int]], change: Callable[[Batch], Batch]) -> None:
        total = [torch.zeros_like(g) for g in expected]
        for rows in parts:
            index = torch.tensor(rows)
            part = change(ragged.rows(index))
            out = policy(part, temperature=0.7, with_entropy=True)
            steps = ragged.actions_BT.shape[1]
            torch.testing.assert_close(out.log_probs_BT[:, :steps], whole.log_probs_BT[index], rtol=0, atol=limit)
            loss = (out.log_probs_BT[:, :steps] * pull[index] + out.entropy_BT[:, :steps]).sum()
            total = [a + b for a, b in zip(total, _gradients(policy, loss), strict=True)]
        for a, b in zip(total, expected, strict=True):
            assert (a - b).abs().max() <= limit * max(1.0, b.abs().max().item())

    def same(batch: Batch) -> Batch:
        return batch

    def wider(batch: Batch) -> Batch:
        actions = [a[m].tolist() for a, m in zip(batch.actions_BT, batch.action_mask_BT, strict=True)]
        return make_batch(batch.contexts, actions, extra=9, junk=-(10**9))

    def copied(batch: Batch) -> Batch:
        return batch.changed(contexts=tuple(c.clone() for c in batch.contexts))

    check([[7, 3, 0, 5, 2, 6, 1, 4]], same)  # another order
    check([[0], [1, 2, 3, 4, 5], [6, 7]], same)  # unequal micro-batches
    check([[b] for b in range(8)], same)  # no sharing at all
    check([[0, 1, 2, 3, 4, 5, 6, 7]], wider)
    check([[0, 3, 6], [1, 2, 4, 5, 7]], copied)


def test_recomputing_layers_gives_the_same_gradient(make_policy: Make, ragged: Batch) -> None:
    policy = make_policy("llama", dtype=torch.float64)
    kept = _gradients(policy, policy(ragged).log_probs_BT.sum())
    policy.recompute = True
    assert policy.recompute
    again = _gradients(policy, policy(ragged).log_probs_BT.sum())
    for a, b in zip(kept, again, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_recompute_is_not_silently_skipped(make_policy: Make) -> None:
    with pytest.warns(UserWarning, match="recompute"):
        make_policy("gpt2").recompute = True


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_holes_are_read_but_not_scored(kind: str, make_policy: Make, make_batch: Make) -> None:
    policy = make_policy(kind, dtype=torch.float64)
    contexts = [torch.tensor([5, 6, 7]), torch.tensor([8, 9])]
    actions = [[10, 11, 12, 13, 14, 15], [20, 21, 22, 23]]
    full = policy(make_batch(contexts, actions), with_entropy=True)
    mask = [[True, False, False, True, True, False], [False, True, False, False]]
    batch = make_batch(contexts, actions, mask=mask)
    holed = policy(batch, with_entropy=True)
    for got, all_of_it in ((holed.log_probs_BT, full.log_probs_BT), (holed.entropy_BT, full.entropy_BT)):
        torch.testing.assert_close(got, all_of_it * batch.action_mask_BT, rtol=0, atol=1e-5)
        assert (got[~batch.action_mask_BT] == 0).all()
    # What stands in a hole matters to what comes after it and to nothing before it.
    other = make_batch(contexts, [[10, 11, 50, 13, 14, 15], actions[1]], mask=mask)
    changed = policy(other).log_probs_BT - holed.log_probs_BT
    assert changed[0, 0].abs() < 1e-12 and changed[0, 3].abs() > 1e-6


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_rows_without_actions_bring_exactly_nothing(kind: str, make_policy: Make, make_batch: Make) -> None:
    policy = make_policy(kind)
    contexts = [torch.tensor([5, 6]), torch.tensor([7, 8])]
    empty = make_batch(contexts, [[4, 5], [6]], mask=[[False, False], [False]])
    out = policy(empty, with_entropy=True)
    assert (out.log_probs_BT == 0).all() and (out.entropy_BT == 0).all()
    assert all((g == 0).all() for g in _gradients(policy, out.log_probs_BT.sum()))
    half = policy(make_batch(contexts, [[4, 5], [6]], mask=[[True, True], [False]])).log_probs_BT
    alone = policy(make_batch(contexts[:1], [[4, 5]])).log_probs_BT
    assert (half[1] == 0).all()
    torch.testing.assert_close(half[:1], alone, rtol=0, atol=1e-6)


def test_off_by_one_would_show(make_policy: Make, make_batch: Make) -> None:
    """Logits that encode position: the i-th action must be scored by the state before it."""
    policy = make_policy("llama", dtype=torch.float64)
    batch = make_batch([torch.tensor([5, 6, 7])], [[10, 11, 12]])
    got = policy(batch).log_probs_BT[0]
    log_SV = policy.model(input_ids=torch.tensor([[5, 6, 7, 10, 11, 12]])).logits[0].log_softmax(-1)
    shifted = log_SV[[1, 2, 3], [10, 11, 12]]
    torch.testing.assert_close(got, log_SV[[2, 3, 4], [10, 11, 12]], rtol=0, atol=1e-6)
    assert (got - shifted).abs().min() > 1e-3


def test_ids_without_an_embedding_are_refused(make_policy: Make, make_batch: Make) -> None:
    policy = make_policy("llama")
    with pytest.raises(ValueError, match="token id 99: expected 0 to 98"):
        policy(make_batch([torch.tensor([5])], [[99]]))
    with pytest.raises(ValueError, match="token id -1"):
        policy(make_batch([torch.tensor([5, -1])], [[3]]))
    with pytest.raises(ValueError, match="row 0: the prompt has no tokens"):
        policy(make_batch([torch.tensor([], dtype=torch.int64)], [[3]]))


def test_nan_weights_show(make_policy: Make, make_batch: Make) -> None:
    policy = make_policy("llama")
    policy.model.model.layers[1].mlp.up_proj.weight.data[0, 0] = torch.nan
    assert policy(make_batch([torch.tensor([5])], [[3]])).log_probs_BT.isnan().all()


def test_bfloat16_compute_keeps_float32_log_probs(make_policy: Make, ragged: Batch) -> None:
    policy = make_policy("llama")
    exact = policy(ragged).log_probs_BT
    low = TextPolicy(policy.model, policy.tokenizer, compute_dtype=torch.bfloat16)
    got = low(ragged).log_probs_BT
    assert got.dtype == torch.float32
    assert 0 < (got - exact).abs().max() < 0.3
    got.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in low.trainable().values())


def test_a_prompt_that_another_prompt_begins_with(make_policy: Make, make_batch: Make) -> None:
    policy = make_policy("llama", dtype=torch.float64)
    long = torch.arange(4, 24)
    contexts, actions = [long, long[:12], long[:11], long[:12]], [[30, 31], [32], [33, 34, 35], [36]]
    together = policy(make_batch(contexts, actions)).log_probs_BT
    for row, (context, ids) in enumerate(zip(contexts, actions, strict=True)):
        alone = policy(make_batch([context], [ids])).log_probs_BT
        torch.testing.assert_close(together[row, : len(ids)], alone[0], rtol=0, atol=1e-9)


def test_a_model_that_computes_something_else_goes_the_generic_way(make_policy: Make, ragged: Batch) -> None:
    """A class and a configuration of the family, but other mathematics: the guard sees it."""
    policy = make_policy("llama")
    for layer in policy.model.model.layers:
        layer.mlp.act_fn = torch.nn.ReLU()
    again = TextPolicy(policy.model, policy.tokenizer)
    assert "its logits are not those" in again.engine_reason and isinstance(again.engine, WholeModel)
    expected = _transformers(again, ragged, 1.0)[0]
    torch.testing.assert_close(again(ragged).log_probs_BT, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", [*OWN, *GENERIC])
def test_the_whole_law_has_the_log_probs_of_the_actions(make_policy: Make, ragged: Batch, kind: str) -> None:
    policy = make_policy(kind, dtype=torch.float64)
    law_NV = policy.distribution(ragged, temperature=0.7).log_probs_NV
    out = policy(ragged, temperature=0.7, with_entropy=True)
    chosen_N = ragged.actions_BT[ragged.action_mask_BT]
    assert torch.allclose(law_NV.gather(1, chosen_N[:, None])[:, 0], out.log_probs_BT[ragged.action_mask_BT], atol=1e-9)
    assert torch.allclose(-(law_NV.exp() * law_NV).sum(1), out.entropy_BT[ragged.action_mask_BT], atol=1e-9)
