"""Any of reasoning-gym's data sets as a task, with the data set's own scoring, in a killable child.

The two sides have seeds far apart (an entry's own seed is the data set's plus the index, so seeds 0 and 1 would
share almost everything), and a question of the held-out side is taken out of the train side.

The child makes the entries and scores the answers. It runs with a fixed hash seed, because some of the data sets walk
over Python sets: the same index must be the same question tomorrow. Several scorers give the answer to `eval` or to
sympy's parser, and `codeio` runs snippets of its own to make entries. So the child is closed (`rung/child.py`), and an
answer that is a program gets 0 before it runs (`rewards/text_is_not_code.py`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rung.child import Child, ChildError, Limits, judged_one_by_one
from rung.errors import MissingExtra, SettingsError, did_you_mean
from rung.random import keyed_hash
from rung.rewards.reward import Columns, Prompt, Score, WeightedReward, judged_once
from rung.rewards.text_is_not_code import Guard
from rung.tasks.task import Example, Item, TextTask

_TRAIN, _HELD_OUT = "train", "held-out"
_HALF = 2**31
_MOST_SECONDS = 300.0
_CHUNK = 50
_ASK = "\n\nGive the final answer between <answer> and </answer>."
_MARK = re.compile(r"answer[*_]*\s*:[*_]*", re.IGNORECASE)
_LONGEST = 20_000
_NOT_OPTIONS = ("seed", "size")
_KEYS = ("side", "index", "question_key")
"""Columns of an item, by which the child finds its entry."""


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


@dataclass(frozen=True, kw_only=True)
class Source:
    """One data set with its options, and the seed and size of its two sides."""

    dataset: str
    options: Mapping[str, Any]
    seeds: Mapping[str, int]
    """`{"train": ..., "held-out": ...}`; an entry's own seed is this one plus its index, so sides lie far apart."""
    sizes: Mapping[str, int]

    def child(self) -> Child:
        """A child that makes and scores this source's entries."""
        return Child("reasoning_gym", dataclasses.asdict(self), limits=Limits(memory_bytes=4 * 2**30), closed=True)


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
        left, last = stop_at - time.monotonic(), min(first + _CHUNK, size)
        if left <= 0:
            raise SettingsError(
                f"size: making {first} entries took {_MOST_SECONDS:g} s; ask for fewer with size and held_out"
            )
        for index, (question, answer) in enumerate(made_entries(child, side, first, last, left), start=first):
            yield index, question, answer


def made_entries(child: Child, side: str, first: int, last: int, deadline_s: float) -> list[tuple[str, str | None]]:
    """Question and answer of the entries first to last-1. SettingsError: making them fails or takes too long."""
    try:
        entries = child.ask({"make": side, "first": first, "last": last}, deadline_s=deadline_s)
    except ChildError as error:
        raise SettingsError(f"task: making entries {first} to {last} failed: {error}") from None
    return [(question, answer) for question, answer in entries]


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


def question_key(question: str) -> str:
    """A short fingerprint of a question; the child refuses to score against another one."""
    return hashlib.blake2b(question.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def answer_in(completion: str) -> str | None:
    """The answer in a completion, None when there is none: the last `<answer>...</answer>`, else what follows the last
    `Answer:`, else the whole text when it is one line, else its last line.

    >>> answer_in("4+4 is 8. <answer>8</answer>"), answer_in("so\\nAnswer: 8"), answer_in(" 8\\n")
    ('8', '8', '8')
    """
    text = completion[-_LONGEST:].rpartition("</think>")[2]
    _, tag, after = text.rpartition("<answer>")
    if tag:
        return after.partition("</answer>")[0].strip() or None
    text = text.partition("</answer>")[0]
    marks = list(_MARK.finditer(text))
    if marks:
        return text[marks[-1].end() :].strip() or None
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else None


@dataclass(frozen=True, kw_only=True)
class ReasoningGymScore:
    """`score_answer` of the data set, 0 to 1; a completion without an answer gets 0.

    Looks at the columns `side`, `index` and `question_key`, which the task's items have.
    """

    source: Source
    name: str = "score"
    deadline_s: float | None = None
    """For one answer. None: the judge's."""

    def open(self, deadline_s: float) -> OpenReasoningGymScore:
        """Ready to judge: the child has loaded the data set."""
        return OpenReasoningGymScore(self, self.deadline_s or deadline_s)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        return judged_once(self, 10.0, prompts, completions, columns)

    def final_answer(self, completion: str) -> str | None:
        """The answer that counts."""
        return answer_in(completion)


class OpenReasoningGymScore:
    """`ReasoningGymScore` with its child; see there."""

    def __init__(self, reward: ReasoningGymScore, deadline_s: float) -> None:
        self.name, self._deadline_s, self._child = reward.name, deadline_s, reward.source.child()

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        answers = [answer_in(text) for text in completions]
        asked = [
            {"answer": answer, **{key: columns[key][i] for key in _KEYS}} if answer else None
            for i, answer in enumerate(answers)
        ]
        scores = judged_one_by_one(self._child, asked, self._deadline_s)
        return [0.0 if request is None else score for request, score in zip(asked, scores, strict=True)]

    def close(self) -> None:
        self._child.close()


def reasoning_gym_job(setup: Mapping[str, Any]) -> tuple[Callable[[Mapping[str, Any]], Any], Any]:
    """The child's job. Requests: `{"make": side, "first": i, "last": j}` gives [question, answer] of i to j-1;
    `{"answer": text, "side": ..., "index": ..., "question_key": ...}` gives its score."""
    sides = {side: _dataset(setup, side) for side in setup["seeds"]}
    guard = Guard()

    @lru_cache(maxsize=1024)
    def entry(side: str, index: int) -> dict[str, Any]:
        return sides[side][index]

    def score(side: str, index: int, text: str) -> float:
        return _score(setup["dataset"], sides[side], text, entry(side, index), guard)

    def answer(request: Mapping[str, Any]) -> Any:
        if "make" in request:
            made = (entry(request["make"], i) for i in range(request["first"], request["last"]))
            return [[str(e["question"]), None if e["answer"] is None else str(e["answer"])] for e in made]
        side, index, key = (request[name] for name in _KEYS)
        if question_key(str(entry(side, index)["question"])) != key:
            raise RuntimeError(f"{setup['dataset']} made another question at {side} {index} than when the run started")
        return score(side, index, request["answer"])

    try:
        first = next(iter(sides))
        score(first, 0, str(entry(first, 0)["answer"]))  # what it imports late is imported now
    except SettingsError:
        raise
    except Exception:  # noqa: BLE001  what is wrong with this entry is told when it is asked for
        pass
    return answer, None


def _score(name: str, dataset: Any, answer: str, entry: dict[str, Any], guard: Guard) -> float:
    """The data set's score. Some scorers raise on text that is no answer of their form: where the same scorer can
    judge the data set's own answer, that is a wrong answer; where it cannot, the scorer is broken and raises.

    Some scorers evaluate the answer. What is more than plain data is refused before it runs, and is a wrong answer
    that gets 0, whatever the scorer makes of it.

    Raises SettingsError: the scorer does to the data set's own answer what is refused.
    """
    try:
        score = float(guard.run([answer], lambda: dataset.score_answer(answer, entry)))
        if not guard.refused:
            return score
    except (MemoryError, RecursionError):
        raise
    except Exception:  # noqa: BLE001  what it raises differs by data set; what follows judges it
        pass
    try:
        guard.run([str(entry["answer"])], lambda: dataset.score_answer(entry["answer"], entry))
    except Exception:
        if not guard.refused:
            raise
    if guard.refused:
        raise SettingsError(
            f"task: reasoning_gym/{name} cannot be scored safely: on its own answer its scorer wanted "
            f"{guard.refused[0]}, which no scorer may do; take another data set"
        )
    return 0.0


def _dataset(setup: Mapping[str, Any], side: str) -> Any:
    from reasoning_gym.factory import DATASETS, create_dataset

    name = setup["dataset"]
    if name not in DATASETS:
        raise SettingsError(f"task: reasoning-gym has no data set '{name}'{did_you_mean(name, DATASETS)}")
    fields = {f.name: f for f in dataclasses.fields(DATASETS[name][1]) if f.name not in _NOT_OPTIONS}
    unknown = [option for option in setup["options"] if option not in fields]
    if unknown:
        raise SettingsError(
            f"task option: reasoning_gym/{name} has no option '{option}'{did_you_mean(option, fields)}"
            f"; it has {', '.join(fields)}"
            for option in unknown
        )
    options = {  # a list from YAML becomes a tuple where the data set's own default is one
        key: tuple(value) if isinstance(value, list) and isinstance(fields[key].default, tuple) else value
        for key, value in setup["options"].items()
    }
    try:
        return create_dataset(name, seed=setup["seeds"][side], size=setup["sizes"][side], **options)
    except (AssertionError, ValueError, TypeError) as error:
        raise SettingsError(f"task option: reasoning_gym/{name} refuses {options}: {error}") from error
