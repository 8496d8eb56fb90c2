"""Special tokens reach the rewards as text; what was drawn reaches a reward that asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import rung
from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_model
from rung.random import Stream
from rung.rewards.judge import Judge
from rung.rewards.math_answer import MathAnswer
from rung.rewards.reward import DRAWN, WeightedReward
from rung.rewards.user import FunctionReward, UserReward
from rung.rollouts.judged import judged
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt
from rung.tasks.task import Item

TEMPLATE = "{% for m in messages %}<user>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<think>{% endif %}"


@pytest.fixture
def policy() -> TextPolicy:
    """A small model whose marks of an answer, and of a turn, are added special tokens."""
    policy = tiny_model(0, layers=2, width=32)
    marks = ["<answer>", "</answer>", "<user>", "<think>"]
    policy.tokenizer.add_special_tokens({"additional_special_tokens": marks})
    policy.model.resize_token_embeddings(len(policy.tokenizer))
    policy.tokenizer.chat_template = TEMPLATE
    return TextPolicy(policy.model, policy.tokenizer)


def ids(policy: TextPolicy, text: str) -> list[int]:
    return policy.tokenizer(text, add_special_tokens=False)["input_ids"]


def test_only_what_frames_a_text_is_taken_off(policy: TextPolicy) -> None:
    tokens = policy.tokenizer
    answer = ids(policy, "<answer>12</answer>")
    assert len(answer) == 4, "each mark is one token"
    framed = [tokens.pad_token_id, tokens.bos_token_id, *answer, tokens.eos_token_id, tokens.pad_token_id]
    assert policy.decode(framed) == policy.decode(answer) == "<answer>12</answer>"
    assert policy.decode([*answer, tokens.pad_token_id, *answer]) == "<answer>12</answer><pad><answer>12</answer>"
    assert policy.decode([tokens.eos_token_id]) == policy.decode([]) == ""


def test_a_reward_sees_an_answer_between_added_tokens(policy: TextPolicy) -> None:
    text = policy.decode([*ids(policy, "so <answer>12</answer>, not 13"), policy.end_ids[0]])
    assert MathAnswer(algebra=False)(["p"], [text], {"answer": ["12"]}) == [1.0]
    assert MathAnswer(algebra=False)(
        ["p"], [text.replace("<answer>", "").replace("</answer>", "")], {"answer": ["12"]}
    ) == [0.0]


FILE = """
def asks(completions, completion_ids, raw_completions, rendered_prompts, answer, **columns):
    assert sorted(columns) == ["prompts"], columns
    text = completions[0][0]["content"]
    assert raw_completions[0].startswith(text) and rendered_prompts == ["<user>2+3=<think>"] * len(completions)
    return [float(len(ids)) for ids in completion_ids]

def asks_not(prompts, completions, answer):
    return [1.0] * len(completions)

def compute_score(solution_str, ground_truth, completion_ids, extra_info=None):
    assert extra_info == {"answer": 5}, extra_info
    return float(len(completion_ids))
"""


def test_what_was_drawn_reaches_rewards_that_ask(policy: TextPolicy, tmp_path: Path) -> None:
    item = Item(id="1", prompt=({"role": "user", "content": "2+3="},), columns={"answer": 5})
    prompts = [Prompt(item="1", group=0, ids=policy.encode(item.prompt))]
    episodes = InProcessSampler(policy).sample(
        prompts, samples_per_prompt=3, max_new_tokens=5, temperature=1.0, stream=Stream(0, 0, "train")
    )
    lengths = [float(len(episode.actions)) for episode in episodes]
    seen: dict[str, Any] = {}

    def here(prompts: Any, completions: Any, **columns: Any) -> list[float]:
        seen.update(columns)
        return [0.0] * len(completions)

    (tmp_path / "mine.py").write_text(FILE)
    names = ("asks", "asks_not", "compute_score")
    rewards = [UserReward(f"{tmp_path}/mine.py:{name}") for name in names]
    with Judge(
        [*(WeightedReward(reward=one) for one in rewards), WeightedReward(reward=FunctionReward(here))]
    ) as judge:
        found = judged(judge, policy, [item] * 3, episodes)
        assert [j.parts["asks"] for j in found] == [j.parts["compute_score"] for j in found] == lengths
        assert [j.parts["asks_not"] for j in found] == [1.0] * 3
        assert set(seen) == {*DRAWN, "answer"} and seen["completion_ids"] == [e.actions.tolist() for e in episodes]
        with pytest.raises(rung.RungError, match=r"asks.*wants.*completion_ids"):
            judge([item], ["5"])  # nothing was drawn


def test_training_evaluation_and_pairs_give_it_alike(tmp_path: Path) -> None:
    seen: list[tuple[str, str, str]] = []

    def asks(completions: Any, completion_ids: Any, raw_completions: Any, rendered_prompts: Any) -> list[float]:
        seen.extend(zip(completions, raw_completions, rendered_prompts, strict=True))
        return [float(len(row) % 2) for row in completion_ids]

    small: dict[str, Any] = {"prompts_per_step": 2, "max_new_tokens": 4, "learner": {"threads": 1}, "seed": 1}
    small |= {"evaluation": {"num_items": 2, "num_samples": 1}, "reporting": {"page": False}, "quiet": True}
    tiny_model(0, layers=2, width=32).save(tmp_path / "tiny")
    where: dict[str, Any] = {"model": str(tmp_path / "tiny"), "task": "arithmetic", "rewards": [asks]}
    run = rung.train(method=rung.GRPO.changed(samples_per_prompt=2), steps=1, out=tmp_path / "run", **where, **small)
    trained = len(seen)  # two before the first step, an evaluation, a step, an evaluation
    assert trained == 2 + 2 + 4 + 2 and all(raw.startswith(text) for text, raw, _ in seen)
    assert all(prompt.startswith("<bos>") and prompt.endswith("=") for *_, prompt in seen)
    rung.evaluate(run.folder, rewards=[asks], items=2, k=1)
    assert len(seen) == trained + 2
    torch.set_num_threads(1)
