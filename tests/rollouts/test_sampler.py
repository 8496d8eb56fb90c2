from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from rung.batch import Batch, Episode
from rung.errors import DataError, NonFiniteError, SettingsError
from rung.models.language import decoding
from rung.models.language.decoder import Decoder
from rung.models.language.decoding import Decoding
from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_model
from rung.models.language.whole_model import WholeModel
from rung.random import Stream
from rung.rollouts import sampler as module
from rung.rollouts.endings import Endings
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt

Make = Callable[..., Any]
STREAM = Stream(4, 1, "train")
KINDS = ["llama", "qwen2", "qwen3", "gpt2", "mistral-window"]


def _prompts(lengths: Sequence[int] = (4, 9, 1, 4, 17), begin: int = 0) -> list[Prompt]:
    """Prompts of these lengths; the first and the fourth have the same text and are different items."""
    drawn = np.random.default_rng(3)
    shared = drawn.integers(3, 90, begin)
    texts = [np.concatenate([shared, drawn.integers(3, 90, n)]) for n in lengths]
    if len(texts) > 3:
        texts[3] = texts[0]
    return [Prompt(f"q{i}", 10 + i, ids) for i, ids in enumerate(texts)]


def _sample(policy: TextPolicy, prompts: Sequence[Prompt], rows: int | None = None, **changes: Any) -> list[Episode]:
    asked = {"samples_per_prompt": 3, "max_new_tokens": 12, "temperature": 1.0, "stream": STREAM, **changes}
    return InProcessSampler(policy, rows_at_once=rows).sample(prompts, **asked)


def _same(a: Sequence[Episode], b: Sequence[Episode]) -> None:
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        assert (one.item, one.group, one.sample) == (other.item, other.group, other.sample)
        assert one.actions.tolist() == other.actions.tolist()
        assert (one.terminated, one.truncated, one.text) == (other.terminated, other.truncated, other.text)
        np.testing.assert_allclose(one.log_probs, other.log_probs, rtol=0, atol=2e-5)


@pytest.fixture(params=KINDS)
def policy(request: pytest.FixtureRequest, make_policy: Make) -> TextPolicy:
    """Each kind, with some end tokens so that rows finish at different times."""
    made: TextPolicy = make_policy(request.param)
    made.end_ids = tuple(range(40, 47))
    return made


def test_the_shape_of_what_comes_back(policy: TextPolicy) -> None:
    prompts = _prompts()
    episodes = _sample(policy, prompts)
    assert [(e.item, e.sample) for e in episodes] == [(p.item, s) for p in prompts for s in range(3)]
    for e in episodes:
        assert (e.context == prompts[e.group - 10].ids).all() and e.policy_version == 0 and e.judgement is None
        assert 1 <= len(e.actions) <= 12 and e.actions.dtype == np.int64 and e.log_probs.dtype == np.float32
        assert e.action_mask.all() and e.action_mask.shape == e.log_probs.shape == e.actions.shape
        ends = np.isin(e.actions, policy.end_ids)
        assert not ends[:-1].any()  # exactly the first end token, and nothing after it
        assert e.terminated == bool(ends[-1]) and e.truncated != e.terminated
        assert e.terminated or len(e.actions) == 12
        assert e.text == policy.decode(e.actions)
    lengths = {len(e.actions) for e in episodes}
    assert len(lengths) > 3 and any(e.truncated for e in episodes) and any(e.terminated for e in episodes)


def test_what_is_drawn_does_not_depend_on_batching(policy: TextPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = _prompts()
    together = _sample(policy, prompts)
    alone = [e for p in prompts for e in _sample(policy, [p])]
    _same(together, alone)
    for rows in (1, 2, 4, 7, 100):
        _same(together, _sample(policy, prompts, rows))
    for share in (0.0, 2.0):  # never drop finished rows; drop them at every step
        monkeypatch.setattr(module, "COMPACT_BELOW", share)
        _same(together, _sample(policy, prompts))
    for every in (2, 5, 100):  # some tokens are drawn after a row's end, and thrown away
        monkeypatch.setattr(module, "LOOK_EVERY_CPU", every)
        for rows in (3, None):
            _same(together, _sample(policy, prompts, rows))
    for order in ([2, 0, 4, 1, 3], [3, 4, 2, 0, 1]):  # equal prompts apart, and the long one first
        shuffled = _sample(policy, [prompts[i] for i in order], 4)
        _same(together, [e for p in prompts for e in shuffled if e.item == p.item])
    backwards = _sample(policy, prompts[::-1])
    _same(together, [e for p in prompts for e in backwards if e.item == p.item])
    more = _sample(policy, prompts, samples_per_prompt=5)
    _same(together, [e for e in more if e.sample < 3])


def test_prompts_that_begin_alike_are_read_together_and_drawn_alike(make_policy: Make) -> None:
    policy = make_policy("llama")
    prompts = _prompts((2, 5, 1), begin=20)
    _same(_sample(policy, prompts), [e for p in prompts for e in _sample(policy, [p])])


def test_many_long_prompts_are_read_in_parts(make_policy: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy("qwen3")
    whole = _sample(policy, _prompts())
    monkeypatch.setattr("rung.models.language.decoding.PREFILL_TOKENS", 10)
    _same(whole, _sample(policy, _prompts()))


def test_the_stream_decides(make_policy: Make) -> None:
    policy = make_policy("llama")
    first = _sample(policy, _prompts())
    _same(first, _sample(policy, _prompts()))
    for other in (Stream(5, 1, "train"), Stream(4, 2, "train"), Stream(4, 1, "evaluate")):
        again = _sample(policy, _prompts(), stream=other)
        assert [e.actions.tolist() for e in again] != [e.actions.tolist() for e in first]
    # One text under two items: two streams.
    assert first[0].actions.tolist() != first[9].actions.tolist()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_sampler_and_the_learner_agree(policy: TextPolicy, to_batch: Make, temperature: float) -> None:
    """Step 0: the ratio is 1. Negative control: not when the learner forgets the temperature."""
    batch: Batch = to_batch(_sample(policy, _prompts(), temperature=temperature))
    learner = policy(batch, temperature=temperature).log_probs_BT
    gap_BT = (learner - batch.sampler_log_probs_BT)[batch.action_mask_BT]
    assert gap_BT.abs().max() < 1e-5
    assert ((gap_BT.exp() - 1).abs() < 1e-5).all()
    wrong = policy(batch, temperature=0.7 if temperature == 1.0 else 1.0).log_probs_BT
    assert (wrong - batch.sampler_log_probs_BT)[batch.action_mask_BT].abs().max() > 0.1


def test_both_ways_through_a_network_draw_the_same(make_policy: Make) -> None:
    policy = make_policy("llama")
    policy.end_ids = (40, 41, 42, 43)
    own = _sample(policy, _prompts())
    policy.engine = WholeModel(policy.model)
    _same(own, _sample(policy, _prompts()))


def test_trained_ids_are_the_sampled_ids(make_policy: Make, to_batch: Make) -> None:
    """Decoding and encoding again would give other ids: unknown tokens have no text here."""
    policy = make_policy("llama")
    episodes = _sample(policy, _prompts())
    batch: Batch = to_batch(episodes)
    for row, e in enumerate(episodes):
        assert batch.actions_BT[row][batch.action_mask_BT[row]].tolist() == e.actions.tolist()
    texts = [policy.tokenizer.decode(e.actions, skip_special_tokens=True) for e in episodes]
    again = [policy.tokenizer.encode(text, add_special_tokens=False) for text in texts]
    assert again != [e.actions.tolist() for e in episodes]


def test_an_end_token_that_is_also_the_padding_token(make_policy: Make, to_batch: Make) -> None:
    policy = make_policy("llama")
    policy.end_ids = tuple(range(40, 52))
    apart = _sample(policy, _prompts())
    end = next(int(e.actions[-1]) for e in apart if e.terminated)
    policy.tokenizer.pad_token_id = policy.tokenizer.eos_token_id = end
    together = _sample(policy, _prompts())
    _same(apart, together)
    ended = [e for e in together if e.actions[-1] == end]
    assert all(e.terminated and e.action_mask[-1] and e.log_probs[-1] < 0 for e in ended)
    batch: Batch = to_batch(ended)
    policy(batch).log_probs_BT.sum().backward()
    assert policy.model.lm_head.weight.grad[end].abs().sum() > 0  # the end token itself is learned


def test_a_stop_text_ends_with_the_token_that_holds_it() -> None:
    policy = tiny_model(0)
    policy.end_ids = ()
    prompts = [Prompt("a", 0, policy.encode("1+1="))]
    free = _sample(policy, prompts, max_new_tokens=40, samples_per_prompt=8)
    stopped = _sample(policy, prompts, max_new_tokens=40, samples_per_prompt=8, stop=("7", "x"))
    assert any(e.terminated for e in stopped)
    for before, after in zip(free, stopped, strict=True):
        found = [t for t, token in enumerate(before.actions) if policy.decode([token]) in ("7", "x")]
        length = found[0] + 1 if found else 40
        assert after.actions.tolist() == before.actions[:length].tolist()
        assert after.terminated == bool(found)
    pairs = _sample(policy, prompts, max_new_tokens=40, samples_per_prompt=8, stop=("7x",))
    assert [e.actions.tolist() for e in pairs if "7x" not in e.text] == [
        e.actions.tolist() for e in free if "7x" not in e.text
    ]


def test_temperature_zero_is_greedy(policy: TextPolicy) -> None:
    for e in _sample(policy, _prompts(), temperature=0.0, samples_per_prompt=1):
        assert (e.log_probs == 0).all()
        text = torch.from_numpy(np.concatenate([e.context, e.actions]))[None]
        best = policy.model(input_ids=text).logits[0].argmax(-1)
        assert best[len(e.context) - 1 : -1].tolist() == e.actions.tolist()


def test_prompts_that_do_not_fit_are_named(make_policy: Make) -> None:
    policy = make_policy("llama", context=24)
    with pytest.raises(DataError) as raised:
        _sample(policy, [*_prompts((12, 13)), Prompt("none", 0, np.empty(0, np.int64))])
    assert len(raised.value.problems) == 2
    assert "item 'q1': the prompt has 13 tokens, expected at most 12" in str(raised.value)
    assert "item 'none'" in str(raised.value)
    policy.end_ids = ()
    full = _sample(policy, _prompts((12,)))
    assert all(len(e.actions) == 12 and e.truncated for e in full)


def test_settings_out_of_range_are_all_said(make_policy: Make) -> None:
    policy = make_policy("llama")
    with pytest.raises(SettingsError) as raised:
        _sample(policy, _prompts(), samples_per_prompt=0, max_new_tokens=0, temperature=float("nan"))
    assert len(raised.value.problems) == 3
    with pytest.raises(ValueError, match="rows_at_once"):
        InProcessSampler(policy, rows_at_once=0)


def test_no_prompts_no_episodes(make_policy: Make) -> None:
    assert _sample(make_policy("llama"), []) == []


def test_nan_weights_stop_it_by_the_items_names(policy: TextPolicy) -> None:
    with torch.no_grad():
        next(policy.model.parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="items q0, q1"):
        _sample(policy, _prompts())


def test_sampling_leaves_no_gradient_and_no_global_number(policy: TextPolicy) -> None:
    before = torch.get_rng_state()
    _sample(policy, _prompts())
    assert torch.equal(before, torch.get_rng_state())
    assert all(p.requires_grad and p.grad is None for p in policy.model.parameters())


def _exact_law(policy: TextPolicy, prompt: Prompt, vocabulary: int, temperature: float) -> dict[tuple[int, ...], float]:
    """Probabilities of all answers of at most two tokens, where token 0 ends."""
    distribution: dict[tuple[int, ...], float] = {}
    texts = torch.tensor([[*prompt.ids.tolist(), v] for v in range(vocabulary)])
    log_NSV = (policy.model(input_ids=texts).logits.double() / temperature).log_softmax(-1)
    first_V = log_NSV[0, -2].exp()
    for v, w in itertools.product(range(vocabulary), repeat=2):
        if v == 0:
            distribution[(0,)] = first_V[0].item()
        else:
            distribution[(v, w)] = (first_V[v] * log_NSV[v, -1, w].exp()).item()
    return distribution


@torch.no_grad()
def test_answers_follow_the_exact_law(make_policy: Make) -> None:
    """Chi-square over all 57 answers of a policy with eight tokens; the distribution of another temperature fails."""
    policy = make_policy("llama", vocabulary=8)
    policy.end_ids = (0,)
    prompt = Prompt("a", 0, np.array([3, 1, 4]))
    n = 6000
    episodes = _sample(policy, [prompt], n, samples_per_prompt=n, max_new_tokens=2, temperature=0.7)
    counts = Counter(tuple(e.actions.tolist()) for e in episodes)

    def surprise(temperature: float) -> float:
        distribution = _exact_law(policy, prompt, 8, temperature)
        assert abs(sum(distribution.values()) - 1) < 1e-9 and set(counts) <= set(distribution)
        likely = {a: p for a, p in distribution.items() if n * p >= 5}
        rest = 1 - sum(likely.values())
        terms = [(counts[a] - n * p) ** 2 / (n * p) for a, p in likely.items()]
        others = n - sum(counts[a] for a in likely)
        terms.append((others - n * rest) ** 2 / (n * rest))
        freedom = len(terms) - 1
        assert freedom > 15
        return (sum(terms) - freedom) / (2 * freedom) ** 0.5

    assert abs(surprise(0.7)) < 4
    assert surprise(1.0) > 50


def test_a_finished_row_makes_room_for_the_next_at_once(make_policy: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are counted: as few as keep every slot full. Negative control: rows that begin together need far more."""
    policy: TextPolicy = make_policy("llama")
    policy.end_ids = tuple(range(40, 47))
    fed: list[int] = []
    feed = Decoding.feed

    def counted(self: Decoding, tokens_R: torch.Tensor, *rest: Any) -> torch.Tensor:
        fed.append(len(tokens_R))
        return feed(self, tokens_R, *rest)

    monkeypatch.setattr(Decoding, "feed", counted)
    asked = {"samples_per_prompt": 16, "max_new_tokens": 60}
    episodes = _sample(policy, _prompts(), 8, **asked)
    lengths = [len(e.actions) for e in episodes]
    assert max(lengths) > 4 * np.mean(lengths)
    tail = max(lengths)
    assert sum(fed) <= sum(lengths) + 8 * tail  # full but for the end
    assert len(fed) <= sum(lengths) / 8 + tail
    steps = len(fed)
    fed.clear()
    monkeypatch.setattr(policy.engine, "refills", False)
    _same(episodes, _sample(policy, _prompts(), 8, **asked))
    assert len(fed) > 1.6 * steps


def test_a_prompt_is_read_once_whatever_rows_fit(make_policy: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    policy: TextPolicy = make_policy("llama")
    policy.end_ids = tuple(range(40, 47))
    read: list[int] = []
    hidden = Decoder.hidden

    def counted(self: Decoder, levels: Any, **rest: Any) -> Any:
        read.append(sum(len(ids) for level in levels for ids in level.ids))
        return hidden(self, levels, **rest)

    monkeypatch.setattr(Decoder, "hidden", counted)
    monkeypatch.setattr("rung.models.language.decoding.PREFILL_TOKENS", 20)
    _sample(policy, _prompts(), 2, samples_per_prompt=7)
    assert sum(read) == 4 + 9 + 1 + 17  # two prompts have one text
    assert len(read) > 1


def _on_meta(policy: TextPolicy) -> module._Drawing:
    """A drawing on a device that has no numbers: what asks for one there fails, and so does what mixes devices."""
    prompts = _prompts()
    policy.model.to("meta")
    rows = [module._Row(prompt, 0) for prompt in prompts]
    return module._Drawing(
        policy,
        rows,
        3,
        20,
        partial(module._uniforms, STREAM, rows, 20),
        partial(module.draw, temperature=0.7),
        Endings(policy, ()),
    )


def test_between_two_looks_nothing_waits_for_the_device(make_policy: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative controls: a look does, and so does a draw that checks its logits itself."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **named: nullcontext())  # it does not know such a device
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: False)
    drawing = _on_meta(make_policy("llama"))
    with torch.no_grad():
        drawing._begin(np.arange(3))
        drawing._continue()
        assert drawing.at_R.tolist() == [1 + module.LOOK_EVERY_GPU] * 3
        with pytest.raises((NotImplementedError, RuntimeError)):
            drawing._look()
        drawing.chooses = lambda logits, u: (logits.argmax(1), logits[:, 0] if bool(logits.isfinite().all()) else u)
        with pytest.raises(RuntimeError):
            drawing._continue()


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-5)])
def test_the_sampler_and_the_learner_give_a_token_the_same_number(
    kind: str, dtype: torch.dtype, most: float, make_policy: Make, to_batch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bfloat16 too, over lengths where attention's sums are cut. Negative control: attention in float32, which is
    nearer to the truth, is another number than the learner's: a hundredth of a nat."""
    made = make_policy(kind, context=512)
    policy = TextPolicy(made.model, made.tokenizer, compute_dtype=dtype)
    policy.end_ids = (40,)

    def gap() -> float:
        episodes = _sample(policy, _prompts((4, 40, 170)), 5, max_new_tokens=60)
        batch: Batch = to_batch(episodes)
        with torch.no_grad():
            gap_BT = (policy(batch).log_probs_BT - batch.sampler_log_probs_BT)[batch.action_mask_BT]
        return gap_BT.abs().mean().item()

    assert gap() < most
    own = decoding.attention

    def finer(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, scale: float) -> torch.Tensor:
        return own(q.float(), k.float(), v.float(), mask.float(), scale).to(q.dtype)

    monkeypatch.setattr(decoding, "attention", finer)
    assert (gap() > 1e-3) == (dtype == torch.bfloat16)


def test_in_bfloat16_a_whole_model_stays_close(make_policy: Make, to_batch: Make) -> None:
    made = make_policy("gpt2")
    policy = TextPolicy(made.model, made.tokenizer, compute_dtype=torch.bfloat16)
    batch: Batch = to_batch(_sample(policy, _prompts()))
    gap_BT = (policy(batch).log_probs_BT - batch.sampler_log_probs_BT)[batch.action_mask_BT].abs()
    assert 0 < gap_BT.mean() < 0.015 and gap_BT.max() < 0.1
