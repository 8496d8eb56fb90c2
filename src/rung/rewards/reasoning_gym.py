"""reasoning-gym's own scoring, in a killable child.

The child makes the entries and scores the answers. It runs with a fixed hash seed, because some of the data sets walk
over Python sets: the same index must be the same question tomorrow.

The answer that is scored is found by `answer_in`: the last `<answer>...</answer>`, else what follows the last
`Answer:`, else the whole text when it is one line, else its last line. It is scored as the data set scores it, 0 to 1.

Several scorers give the answer to `eval` or to sympy's parser, and `codeio` runs snippets of its own to make entries.
So the child is closed (`rung/child.py`), and an answer that is a program gets 0 before it runs (`text_is_not_code.py`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rung.child import Child, ChildError, Limits, judged_one_by_one
from rung.errors import SettingsError, did_you_mean
from rung.rewards.reward import Columns, Prompt, Score, judged_once
from rung.rewards.text_is_not_code import Guard

_OPEN, _CLOSE = "<answer>", "</answer>"
_MARK = re.compile(r"answer[*_]*\s*:[*_]*", re.IGNORECASE)
_LONGEST = 20_000
_NOT_OPTIONS = ("seed", "size")


def answer_in(completion: str) -> str | None:
    """The answer in a completion, None when there is none.

    >>> answer_in("4+4 is 8. <answer>8</answer>"), answer_in("so\\nAnswer: 8"), answer_in(" 8\\n")
    ('8', '8', '8')
    """
    text = completion[-_LONGEST:].rpartition("</think>")[2]
    _, tag, after = text.rpartition(_OPEN)
    if tag:
        return after.partition(_CLOSE)[0].strip() or None
    text = text.partition(_CLOSE)[0]
    marks = list(_MARK.finditer(text))
    if marks:
        return text[marks[-1].end() :].strip() or None
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else None


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
        self.name = reward.name
        self._deadline_s = deadline_s
        self._child = reward.source.child()

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        keys = ("side", "index", "question_key")
        requests = [
            {"answer": answer_in(text)} | {key: columns[key][i] for key in keys} for i, text in enumerate(completions)
        ]
        asked = [request if request["answer"] else None for request in requests]
        scores = judged_one_by_one(self._child, asked, self._deadline_s)
        return [0.0 if request is None else score for request, score in zip(asked, scores, strict=True)]

    def close(self) -> None:
        self._child.close()


def question_key(question: str) -> str:
    """A short fingerprint of a question; the child refuses to score against another one."""
    import hashlib

    return hashlib.blake2b(question.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def reasoning_gym_job(setup: Mapping[str, Any]) -> tuple[Callable[[Mapping[str, Any]], Any], Any]:
    """The child's job. Requests: `{"make": side, "first": i, "last": j}` gives [question, answer] of i to j-1;
    `{"answer": text, "side": ..., "index": ..., "question_key": ...}` gives its score."""
    sides = {side: _dataset(setup, side) for side in setup["seeds"]}

    @lru_cache(maxsize=1024)
    def entry(side: str, index: int) -> dict[str, Any]:
        return sides[side][index]

    def score(side: str, index: int, text: str) -> float:
        return _score(setup["dataset"], sides[side], text, entry(side, index), guard)

    def answer(request: Mapping[str, Any]) -> Any:
        if "make" in request:
            made = (entry(request["make"], i) for i in range(request["first"], request["last"]))
            return [[str(e["question"]), None if e["answer"] is None else str(e["answer"])] for e in made]
        side, index = request["side"], request["index"]
        if question_key(str(entry(side, index)["question"])) != request["question_key"]:
            raise RuntimeError(f"{setup['dataset']} made another question at {side} {index} than when the run started")
        return score(side, index, request["answer"])

    guard = Guard()
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
    _check_own_answer(name, dataset, entry, guard)
    return 0.0


def _check_own_answer(name: str, dataset: Any, entry: dict[str, Any], guard: Guard) -> None:
    """The data set's own answer can be scored; raises what its scorer raises where it cannot."""
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
    options = {key: _like_default(fields[key], value) for key, value in setup["options"].items()}
    try:
        return create_dataset(name, seed=setup["seeds"][side], size=setup["sizes"][side], **options)
    except (AssertionError, ValueError, TypeError) as error:
        raise SettingsError(f"task option: reasoning_gym/{name} refuses {options}: {error}") from error


def _like_default(field: dataclasses.Field[Any], value: Any) -> Any:
    """A list from YAML becomes a tuple where the data set's own default is one."""
    return tuple(value) if isinstance(value, list) and isinstance(field.default, tuple) else value


def made_entries(child: Child, side: str, first: int, last: int, deadline_s: float) -> list[tuple[str, str | None]]:
    """Question and answer of the entries first to last-1.

    Raises SettingsError: making them fails or takes longer than the deadline.
    """
    try:
        entries = child.ask({"make": side, "first": first, "last": last}, deadline_s=deadline_s)
    except ChildError as error:
        raise SettingsError(f"task: making entries {first} to {last} failed: {error}") from None
    return [(question, answer) for question, answer in entries]
