"""Answers to a task's prompts, over as many turns as its environment asks for.

Each turn is one request to the `Sampler`, over the episodes that are still going; the prompt of a turn is all that was
said so far, token by token. What the policy wrote stays the tokens that it drew. What the environment says is encoded
once and stands in the episode as a hole: no log-prob, no gradient, no place in any mean.

A turn's random numbers are keyed by item, sample and turn, so an episode is the same whatever else is drawn with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rung.batch import OK, Episode, Played, Turn
from rung.errors import DataError, RewardError
from rung.faults import fault_point
from rung.models.language.between_turns import BetweenTurns
from rung.random import Stream, keyed_hash
from rung.rollouts.sampling import Prompt, Sampler, checked, prompts_of
from rung.tasks.task import Item, TextTask
from rung.tasks.tools import WithTools
from rung.tasks.turns import Step

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy

AT_ONCE = 16
"""Environments in other processes that are asked at once."""
MOST_TOLD = 512
"""Tokens of one answer of an environment; a longer one is cut in the middle."""
_CUT = " ... "


def answers(
    sampler: Sampler,
    policy: TextPolicy,
    task: TextTask,
    items: Sequence[Item],
    *,
    samples_per_prompt: int,
    max_new_tokens: int,
    temperature: float,
    stream: Stream,
    first_group: int = 0,
    epsilon: float | None = None,
    waited: Callable[[float], object] = lambda seconds: None,
) -> Sequence[Episode]:
    """Episodes as `Sampler.sample` gives them, for each item a group; played to their end where the task has turns.

    `max_new_tokens` is of one turn. `waited` is told of the seconds that environments and tools took for each turn.
    Raises DataError where a prompt cannot be read or the sampler is wrong.
    """
    asked: dict[str, Any] = {"temperature": temperature, "stop": task.stop, "epsilon": epsilon}
    asked["max_new_tokens"] = max_new_tokens
    form = policy.tool_form if task.plays is not None else ""
    begun = [_begun(task, item, samples_per_prompt, stream, form) for item in items]
    starts = [rows[0].start if rows else item.prompt for rows, item in zip(begun, items, strict=True)]
    shown = [replace(item, prompt=start) for item, start in zip(items, starts, strict=True)]
    prompts = prompts_of(policy, shown, first_group)
    first = sampler.sample(prompts, samples_per_prompt=samples_per_prompt, stream=stream, **asked)
    episodes = checked(first, prompts, samples_per_prompt, max_new_tokens)
    if task.plays is None:
        return episodes
    player = _Player(policy, task, max_new_tokens, waited)
    rows = [row for group in begun for row in group]
    for row, episode in zip(rows, episodes, strict=True):
        row.first = episode
    player.take(rows, episodes)
    turn = 1
    while going := [row for row in rows if not row.ending]:
        turn += 1
        prompts = [row.prompt(group) for group, row in enumerate(going)]
        purpose = replace(stream, purpose=f"{stream.purpose}, turn {turn}")
        drawn = checked(
            sampler.sample(prompts, samples_per_prompt=1, stream=purpose, **asked), prompts, 1, max_new_tokens
        )
        player.take(going, drawn)
        fault_point("turn.done")
    return [row.episode(policy) for row in rows]


@dataclass
class _Row:
    """An episode that is being played."""

    environment: Any
    start: Any
    status: str = OK
    detail: str = ""
    first: Episode | None = None
    tokens: list[int] = field(default_factory=list[int])
    own: list[bool] = field(default_factory=list[bool])
    log_probs: list[float] = field(default_factory=list[float])
    turns: list[Turn] = field(default_factory=list[Turn])
    success: float | None = None
    ending: str = ""
    state: str = ""

    def add(self, tokens: npt.NDArray[Any], log_probs: npt.NDArray[Any], *, own: bool) -> None:
        self.tokens += tokens.tolist()
        self.own += [own] * len(tokens)
        self.log_probs += log_probs.tolist()

    def prompt(self, group: int) -> Prompt:
        assert self.first is not None
        ids = np.concatenate([self.first.context, np.array(self.tokens, np.int64)])
        return Prompt(item=f"{self.first.item}, sample {self.first.sample}", group=group, ids=ids)

    def failed(self, error: RewardError, what: str) -> None:
        self.status, self.detail = error.status, f"{what}: {error.status}: {error.detail}"
        self.ending = "failed"

    def episode(self, policy: TextPolicy) -> Episode:
        assert self.first is not None
        tokens, own = np.array(self.tokens, np.int64), np.array(self.own, bool)
        return replace(
            self.first,
            actions=tokens,
            action_mask=own,
            log_probs=np.array(self.log_probs, np.float32),
            terminated=self.ending == "done",
            truncated=self.ending in ("turns", "tokens", "cut"),
            text=policy.decode(tokens[own]),
            played=Played(
                turns=tuple(self.turns),
                success=self.success,
                ending=self.ending,
                status=self.status,
                detail=self.detail,
            ),
        )


def _begun(task: TextTask, item: Item, samples: int, stream: Stream, form: str) -> list[_Row]:
    """The samples of one item, each with an environment of its own that began with the same seed; none without turns.

    Raises DataError where they did not begin alike. One that fails to begin is played for a turn, and left out.
    """
    if task.plays is None:
        return []
    seed = keyed_hash("environment", stream.seed, stream.step, stream.purpose, item.id) >> 97
    rows: list[_Row] = []
    for _ in range(samples):
        row = _Row(environment=task.plays(), start=None)
        try:
            row.start = row.environment.reset(item, seed)
        except RewardError as error:
            row.failed(error, "reset")
            row.ending = ""
        rows.append(row)
    starts = [row.start for row in rows if row.start is not None]
    for other in starts:
        if other != starts[0]:
            what = f"began differently with one item and seed ({starts[0]!r:.60}, {other!r:.60})"
            raise DataError([f"item {item.id}: '{task.name}' {what}; draw the start from `seed` alone"])
    start = starts[0] if starts else item.prompt
    for row in rows:
        if isinstance(row.environment, WithTools) and not isinstance(start, str):
            row.environment.form = form
    return [replace(row, start=start) for row in rows]


class _Player:
    """Gives each turn to its environment and writes down what comes back."""

    def __init__(
        self, policy: TextPolicy, task: TextTask, max_new_tokens: int, waited: Callable[[float], object]
    ) -> None:
        self.policy, self.task, self.max_new_tokens, self.waited = policy, task, max_new_tokens, waited
        self.between = BetweenTurns(policy)

    def take(self, rows: Sequence[_Row], drawn: Sequence[Episode]) -> None:
        """One turn of each row: what was drawn, and the answer to it."""
        asked: list[tuple[_Row, Turn]] = []
        for row, episode in zip(rows, drawn, strict=True):
            row.add(episode.actions, episode.log_probs, own=True)
            said = episode.text
            for stop in self.task.stop:
                said = said.removesuffix(stop)
            turn = Turn(end=len(row.tokens) - 1, own=len(episode.actions), said=said, state=row.state)
            if row.status != OK or episode.truncated:
                row.turns.append(turn)
                row.ending = "failed" if row.status != OK else "cut"
            else:
                asked.append((row, turn))
        begun = time.perf_counter()
        steps = self._steps(asked)
        self.waited(time.perf_counter() - begun)
        for (row, turn), step in zip(asked, steps, strict=True):
            if isinstance(step, RewardError):
                row.turns.append(turn)
                row.failed(step, f"step {len(row.turns)}")
                continue
            row.success = row.success if step.success is None else float(step.success)
            told, row.state = self._told(row, step), step.state or step.text
            row.turns.append(replace(turn, told=told, reward=float(step.reward), calls=tuple(step.calls)))

    @staticmethod
    def _steps(asked: Sequence[tuple[_Row, Turn]]) -> list[Step | RewardError]:
        """What each environment answers, or why it does not. Those that are in other processes are asked together."""

        def step(one: tuple[_Row, Turn]) -> Step | RewardError:
            row, turn = one
            try:
                return row.environment.step(turn.said)
            except RewardError as error:
                return error

        if not all(getattr(row.environment, "apart", False) for row, _ in asked):
            return [step(one) for one in asked]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(step, asked))

    def _told(self, row: _Row, step: Step) -> str:
        """What the policy reads of an answer, appended to the row; empty where the episode ends here."""
        assert row.first is not None
        if step.done or len(row.turns) + 1 >= self.task.most_turns:
            row.ending = "done" if step.done else "turns"
            return ""
        chat, told, last = not isinstance(row.start, str), self._shortened(step.text), row.tokens[-1]
        if chat and step.results:
            most = MOST_TOLD // len(step.results)
            results = [(name, self._shortened(text, most)) for name, text in step.results]
            told, ids = "".join(f"{text}\n" for _, text in results), self.between.results(results, last=last)
        else:
            ids = self.between.ids(told, chat=chat, last=last)
        length = len(row.first.context) + len(row.tokens) + len(ids) + self.max_new_tokens
        if length > self.policy.context_length:
            row.ending = "tokens"
            return ""
        row.add(ids, np.zeros(len(ids), np.float32), own=False)
        return told

    def _shortened(self, text: str, most: int = MOST_TOLD) -> str:
        if len(text) <= most:  # a token has a character at least
            return text
        half = most // 2 - 4
        far = 32 * most  # what nobody will read is not encoded
        first, last = (text, text) if len(text) <= 2 * far else (text[:far], text[-far:])
        ids = self.between.words(first)
        if first == text and len(ids) <= most:
            return text
        ends = ids if first == text else self.between.words(last)
        return self.policy.decode(ids[:half]) + _CUT + self.policy.decode(ends[-half:])
