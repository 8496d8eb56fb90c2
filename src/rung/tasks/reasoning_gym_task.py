"""Any of reasoning-gym's data sets as a task.

The two sides have seeds far apart (an entry's own seed is the data set's plus the index, so seeds 0 and 1 would
share almost everything), and a question of the held-out side is taken out of the train side.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from typing import Any

from rung.child import Child
from rung.errors import MissingExtra, SettingsError
from rung.random import keyed_hash
from rung.rewards.reasoning_gym import ReasoningGymScore, Source, made_entries, question_key
from rung.rewards.reward import Prompt, WeightedReward
from rung.tasks.task import Example, Item, TextTask

_TRAIN, _HELD_OUT = "train", "held-out"
_HALF = 2**31
_MOST_SECONDS = 300.0
_CHUNK = 50
_ASK = "\n\nGive the final answer between <answer> and </answer>."


def reasoning_gym_task(
    dataset: str, *, seed: int = 0, size: int = 1000, held_out: int = 200, chat: bool = True, **options: Any
) -> TextTask:
    """The task of a data set.

    Args:
        dataset: its name, such as `chain_sum`.
        seed: which entries are drawn.
        size: entries made for the train side.
        held_out: different questions on the held-out side.
        chat: True: a user's message that asks for `<answer>...</answer>`, for models with a chat template. False:
            the text `Question: ... Answer:`, for models that continue text.
        options: the data set's own, such as `max_terms=3`.

    >>> load_task("reasoning_gym/chain_sum", max_terms=3, chat=False).train[0].prompt
    'Question: State the final answer to the following arithmetic problem: 35 + 2 =\\nAnswer:'

    SettingsError for no such data set, option or value, or too few different questions.
    """
    if importlib.util.find_spec("reasoning_gym") is None:
        raise MissingExtra("a reasoning-gym task", "tasks")
    if size < 1 or held_out < 1:
        raise SettingsError(f"size and held_out: got {size} and {held_out}, expected at least 1 each")
    if dataset == "composite":
        raise SettingsError("task: reasoning_gym/composite mixes other data sets; choose one of those")
    source = _source(dataset, seed, size, held_out, options)
    with source.child() as child:
        child.start()
        stop_at = time.monotonic() + _MOST_SECONDS
        held = _first_different(child, held_out, source.sizes[_HELD_OUT], stop_at)
        train = list(_entries(child, _TRAIN, size, stop_at))
    kept = [entry for entry in train if entry[1] not in held]
    if not kept:
        raise SettingsError(
            f"held_out: reasoning_gym/{dataset} has few different questions: all {len(train)} drawn to train on "
            f"are held out; ask for fewer than {held_out}"
        )
    form = "<answer>{}</answer>" if chat else " {}\n"
    one_line = not any("\n" in (answer or "") for _, _, answer in kept)
    return TextTask(
        name=f"reasoning_gym/{dataset}",
        train=tuple(_item(_TRAIN, *entry, chat) for entry in kept),
        held_out=tuple(_item(_HELD_OUT, index, question, answer, chat) for question, (index, answer) in held.items()),
        rewards=(WeightedReward(reward=ReasoningGymScore(source=source)),),
        examples=tuple(
            Example(prompt=_prompt(question, chat), completion=form.format(answer))
            for _, question, answer in kept
            if answer is not None
        ),
        stop=("</answer>",) if chat else ("\n",) if one_line else (),
    )


def reasoning_gym_names() -> list[tuple[str, str]]:
    """Name and one line of every data set; empty when reasoning-gym is not installed."""
    if importlib.util.find_spec("reasoning_gym") is None:
        return []
    from reasoning_gym.factory import DATASETS

    lines = {name: (made.__doc__ or "").strip().splitlines() for name, (made, _) in DATASETS.items()}
    return [(name, lines[name][0] if lines[name] else "") for name in sorted(DATASETS) if name != "composite"]


def _source(dataset: str, seed: int, size: int, held_out: int, options: dict[str, Any]) -> Source:
    """The train side draws from the lower half of the 32-bit seeds, the held-out side from the upper: disjoint."""
    sizes = {_TRAIN: size, _HELD_OUT: 4 * held_out + 50}
    seeds = {
        side: base + keyed_hash("reasoning_gym", dataset, seed, side) % (_HALF - sizes[side])
        for side, base in ((_TRAIN, 0), (_HELD_OUT, _HALF))
    }
    return Source(dataset=dataset, options=options, seeds=seeds, sizes=sizes)


def _entries(child: Child, side: str, size: int, stop_at: float) -> Iterator[tuple[int, str, str | None]]:
    for first in range(0, size, _CHUNK):
        left = stop_at - time.monotonic()
        if left <= 0:
            raise SettingsError(
                f"size: making {first} entries took {_MOST_SECONDS:g} s; ask for fewer with size and held_out"
            )
        made = made_entries(child, side, first, min(first + _CHUNK, size), left)
        for index, (question, answer) in enumerate(made, start=first):
            yield index, question, answer


def _first_different(child: Child, count: int, most: int, stop_at: float) -> dict[str, tuple[int, str | None]]:
    """The first `count` different questions of the held-out side with index and answer."""
    found: dict[str, tuple[int, str | None]] = {}
    for index, question, answer in _entries(child, _HELD_OUT, most, stop_at):
        found.setdefault(question, (index, answer))
        if len(found) == count:
            return found
    raise SettingsError(f"held_out: got {count}, but {most} draws gave {len(found)} different questions; ask for fewer")


def _item(side: str, index: int, question: str, answer: str | None, chat: bool) -> Item:
    columns = {"answer": answer, "side": side, "index": index, "question_key": question_key(question)}
    return Item(id=f"{side}-{index}", prompt=_prompt(question, chat), columns=columns)


def _prompt(question: str, chat: bool) -> Prompt:
    return ({"role": "user", "content": question + _ASK},) if chat else f"Question: {question}\nAnswer:"
