"""Stop texts of several tokens, with a byte-level BPE tokenizer as real models have it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from rung.batch import Episode
from rung.errors import SettingsError
from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_model
from rung.random import Stream
from rung.rewards.judge import Judge
from rung.rollouts import sampler as module
from rung.rollouts.endings import Endings
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt, Sampler
from rung.tasks.load import load_text_task

TEXT = ["the answer is given here", "so it answers: 4 + 4 = 8, and < is less than >", "an answer, an answer"] * 3
CHAT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
Make = Callable[..., TextPolicy]


@pytest.fixture
def make() -> Make:
    """A small Llama with random weights and a BPE over bytes; likely tokens are those of the text `likely`."""

    def made(likely: str = "", context: int = 256, end: str = "<end>") -> TextPolicy:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=300, special_tokens=[end], initial_alphabet=alphabet, show_progress=False
        )
        bpe.train_from_iterator(TEXT, trainer)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=end, pad_token=end, chat_template=CHAT)
        size = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=context, **size)
            model = LlamaForCausalLM(config)
        policy = TextPolicy(model.float(), tokenizer)
        chosen = tokenizer(likely)["input_ids"]
        if chosen:
            only_V = torch.full((len(tokenizer),), -1e9)
            only_V[chosen] = 0.0
            bias = torch.nn.Linear(24, len(tokenizer))
            bias.weight.data, bias.bias.data = model.lm_head.weight.data, only_V
            model.lm_head = bias
            policy = TextPolicy(model.float(), tokenizer)
        return policy

    return made


def draw(
    policy: TextPolicy, texts: Sequence[str] = ("4 + 4 =",), rows: int | None = None, **asked: Any
) -> list[Episode]:
    prompts = [Prompt(f"q{i}", i, policy.encode(text)) for i, text in enumerate(texts)]
    given = {
        "samples_per_prompt": 8,
        "max_new_tokens": 60,
        "temperature": 1.0,
        "stream": Stream(0, 1, "train"),
        **asked,
    }
    return InProcessSampler(policy, rows_at_once=rows).sample(prompts, **given)


@pytest.mark.parametrize("stop", [("</answer>",), ("</answer>", "er>"), ("r>", "<a"), ("é",), ("é>",), ("答",)])
def test_an_answer_ends_with_the_token_that_completes_a_stop_text(make: Make, stop: tuple[str, ...]) -> None:
    """As reading all of the free answer again after each token says."""
    policy = make("".join(stop) + "ab")
    assert any(len(policy.tokenizer(part)["input_ids"]) > 1 for part in stop)
    policy.end_ids = ()
    free, stopped = draw(policy), draw(policy, stop=stop)
    for before, after in zip(free, stopped, strict=True):
        texts = [policy.decode(before.actions[: t + 1]) for t in range(len(before.actions))]
        ends = [t + 1 for t, text in enumerate(texts) if any(part in text for part in stop)]
        assert after.actions.tolist() == before.actions[: ends[0] if ends else 60].tolist()
        assert (after.terminated, after.truncated) == (bool(ends), not ends)
        assert after.text == policy.decode(after.actions)
    assert stop == ("</answer>",) or any(e.terminated for e in stopped)


def test_a_whole_stop_text_is_drawn_where_nothing_else_is_likely(make: Make) -> None:
    policy = make()
    ids = policy.tokenizer("</answer>")["input_ids"]
    assert len(ids) > 2
    endings = Endings(policy, ["</answer>"])
    before = policy.tokenizer("4, so <answer>8")["input_ids"]
    for end in range(1, len(before + ids) + 1):
        found = endings.length(np.array((before + ids)[:end]), end - 1)
        assert found == (end if end == len(before + ids) else None)
    assert endings.length(np.array([*before, *ids, *before, *ids]), 0) == len(before + ids)  # the first of two


def test_what_else_is_in_the_batch_changes_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make("r><ab")
    texts = ("4 + 4 =", "an answer", "so it answers", "1")

    def of(**asked: Any) -> list[list[int]]:
        return [e.actions.tolist() for e in draw(policy, texts, stop=("r>",), **asked)]

    together = of()
    assert len({len(row) for row in together}) > 3
    for rows in (1, 3, 100):
        assert of(rows=rows) == together
    for share in (0.0, 2.0):  # never drop finished rows; drop them at every step
        monkeypatch.setattr(module, "COMPACT_BELOW", share)
        assert of() == together


def test_stop_texts_that_no_answer_can_hold_are_refused(make: Make) -> None:
    tiny = tiny_model(0, characters="0123456789+=")
    with pytest.raises(SettingsError, match=r"stop: got '</a', but this model's vocabulary has no '/', so that"):
        draw(tiny, ["1+1="], stop=("</a",))
    with pytest.raises(SettingsError, match="stop: got '', expected a text of at least one character"):
        draw(make(), stop=("",))


def test_a_sampler_notes_the_version_that_was_delivered(make: Make) -> None:
    policy = make()
    sampler: Sampler = InProcessSampler(policy)
    prompts = [Prompt("q", 0, policy.encode("1"))]
    asked: Any = {"samples_per_prompt": 1, "max_new_tokens": 2, "temperature": 1.0, "stream": Stream(0, 1, "train")}
    assert sampler.sample(prompts, **asked)[0].policy_version == 0
    sampler.deliver(policy.weights(), 7)
    assert sampler.sample(prompts, **asked)[0].policy_version == 7


@pytest.mark.skipif(importlib.util.find_spec("reasoning_gym") is None, reason="reasoning-gym is not installed")
def test_a_reasoning_gym_task_is_sampled_and_judged(make: Make) -> None:
    """Its stop text `</answer>` is no single token of a real tokenizer."""
    task = load_text_task("chain_sum", size=4, held_out=2, max_terms=2, max_digits=1)
    policy = make("<answer>8</answer>", context=1024)
    items = list(task.train[:2])
    prompts = [Prompt(item.id, i, policy.encode(item.prompt)) for i, item in enumerate(items)]
    episodes = InProcessSampler(policy).sample(
        prompts, samples_per_prompt=4, max_new_tokens=24, temperature=1.0, stream=Stream(0, 1, "train"), stop=task.stop
    )
    with Judge(task.rewards) as judge:
        judged = judge([items[e.group] for e in episodes], [e.text for e in episodes])
    assert [j.status for j in judged] == ["ok"] * 8
