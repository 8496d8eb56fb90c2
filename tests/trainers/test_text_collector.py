"""Dynamic sampling: groups that cannot teach are replaced, within bounds, looking at accuracy alone."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from rung.batch import Episode, Judgement
from rung.methods.grpo import GRPO
from rung.methods.parts.filters import AccuraciesDiffer
from rung.methods.policy_gradient import PolicyGradient
from rung.settings import Settings, settings_from
from rung.tasks.load import load_text_task
from rung.trainers.policy_gradient.text import TextCollector

PROMPTS, SAMPLES = 3, 4


class FakePolicy:
    """Encodes a prompt as its length."""

    def encode(self, prompt: str) -> np.ndarray:
        return np.array([len(prompt)])

    def decode(self, ids: Any) -> str:
        return str(list(ids))

    def pieces(self, ids: Any) -> tuple[str, ...]:
        return tuple(f"<{i}>" for i in ids)


class FakeSampler:
    """Every answer is one token."""

    def sample(self, prompts: Any, *, samples_per_prompt: int, **_: Any) -> list[Episode]:
        return [
            Episode(
                item=prompt.item,
                group=prompt.group,
                sample=sample,
                context=prompt.ids,
                actions=np.array([1]),
                action_mask=np.array([True]),
                log_probs=np.zeros(1, np.float32),
                terminated=True,
                truncated=False,
                text=str(sample),
            )
            for prompt in prompts
            for sample in range(samples_per_prompt)
        ]


class FakeJudge:
    """`right(n)`: how many samples of the n-th prompt ever asked are right; the total also has a length part."""

    def __init__(self, right: Any) -> None:
        self.right, self.asked, self.order = right, 0, {}

    def __call__(self, items: Any, completions: Any, drawn: Any = None) -> list[Judgement]:
        found = []
        for item, text in zip(items, completions, strict=True):
            number = self.order.setdefault(item.id, len(self.order))
            accuracy = float(int(text) < self.right(number))
            parts = {"correct": accuracy}
            found.append(Judgement(total=accuracy - 0.01 * int(text), parts=parts, accuracy=accuracy))
        return found

    def close(self) -> None:
        pass


def collector(keep: AccuraciesDiffer | None, right: Any) -> TextCollector:
    settings: Settings = settings_from(
        {
            "model": "tiny",
            "method": {"name": "grpo", "samples_per_prompt": SAMPLES},
            "task": "arithmetic",
            "prompts_per_step": PROMPTS,
        }
    )
    method: PolicyGradient = GRPO.changed(keep_group=keep, samples_per_prompt=SAMPLES)
    policy: Any = FakePolicy()
    judge: Any = FakeJudge(right)
    made = TextCollector.__new__(TextCollector)
    made.waiting = 0.0
    made.settings, made.method, made.task = settings, method, load_text_task("arithmetic")
    made.policy, made.judge, made.drawn = policy, judge, 0
    made.sampler = made.behaviour = FakeSampler()  # type: ignore[assignment]
    return made


def collect(made: TextCollector, step: int = 1) -> Any:
    return made.collect(step, lambda _name: nullcontext())


def test_without_a_filter_a_step_takes_its_prompts_once() -> None:
    made = collector(None, lambda n: 0)
    found = collect(made)
    assert (len(found.episodes), made.drawn, found.metrics["groups/rounds"]) == (PROMPTS * SAMPLES, PROMPTS, None)


def test_alike_groups_are_replaced_until_the_step_is_full() -> None:
    made = collector(AccuraciesDiffer(), lambda n: 2 if n % 2 else SAMPLES)  # every second prompt differs
    found = collect(made)
    assert len(found.batch) == PROMPTS * SAMPLES
    assert found.batch.group_ids_B.tolist() == [g for g in range(PROMPTS) for _ in range(SAMPLES)]
    assert all(group.float().mean() == 0.5 for group in found.batch.scores_B.split(SAMPLES))
    assert found.metrics["groups/rounds"] == 2 and made.drawn == 2 * PROMPTS
    assert found.metrics["episodes/generated"] == 2 * PROMPTS * SAMPLES, "what was thrown away is counted"
    assert found.metrics["groups/no_spread"] == 0.0, "the shaped totals differ in every group"
    assert found.notes == ()


def test_the_shaped_reward_does_not_keep_an_all_wrong_group() -> None:
    made = collector(AccuraciesDiffer(most_batches=2), lambda n: 0)
    found = collect(made)
    assert not found.batch.action_mask_BT.any(), "nothing to learn from: an empty step"
    assert "after 2 rounds only 0 of 3 prompts" in found.notes[0] and made.drawn == 2 * PROMPTS


def test_refilling_is_bounded_and_goes_on_with_less() -> None:
    made = collector(AccuraciesDiffer(most_batches=2), lambda n: 1 if n == 4 else 0)
    found = collect(made)
    assert len(found.batch) == SAMPLES and "only 1 of 3" in found.notes[0]


def test_a_filter_without_refill_draws_once() -> None:
    made = collector(AccuraciesDiffer(refill=False), lambda n: 1 if n == 0 else 0)
    found = collect(made)
    assert (len(found.batch), made.drawn, found.notes) == (SAMPLES, PROMPTS, ())


def test_the_position_in_the_data_is_state() -> None:
    first = collector(AccuraciesDiffer(), lambda n: 2)
    collect(first)
    second = collector(AccuraciesDiffer(), lambda n: 2)
    second.load_state(first.state(), {})
    items = [e.item for e in collect(second, 2).episodes]
    assert items == [e.item for e in collect(first, 2).episodes]
    assert items != [e.item for e in collect(collector(AccuraciesDiffer(), lambda n: 2), 2).episodes]


@pytest.mark.parametrize("rounds", [1, 3])
def test_surplus_groups_are_left_out_in_order(rounds: int) -> None:
    made = collector(AccuraciesDiffer(), lambda n: 2 if n >= PROMPTS * (rounds - 1) else 0)
    found = collect(made)
    assert found.metrics["groups/rounds"] == rounds and len(found.batch) == PROMPTS * SAMPLES
