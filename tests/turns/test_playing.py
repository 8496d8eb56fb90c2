"""Episodes over turns: own tokens stay, what the environment says is a hole, bounds cut, faults are counted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from rung.batch import OK, Episode, Judgement
from rung.errors import DataError, RewardError
from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_model
from rung.random import Stream
from rung.rewards.judge import Judge
from rung.rollouts.judged import judged, turn_rewards
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt
from rung.rollouts.turns import MOST_TOLD, answers
from rung.tasks.task import TextTask
from rung.tasks.turns import Step, turn_task
from rung.trainers.assemble import assemble, step_rewards

CHARACTERS = "\n0123456789<>:-= "


@pytest.fixture(scope="module")
def policy() -> TextPolicy:
    return tiny_model(0, characters=CHARACTERS, context_length=96, layers=2, width=32)


class Echo:
    """Answers with what was said, and a digit of its own; three turns; a reward of 1, 2, 3."""

    def __init__(self, turns: int = 3, word: str = "") -> None:
        self.turns, self.word, self.said = turns, word, list[str]()

    def reset(self, item: Any, seed: int) -> str:
        self.digit = str(seed % 10)
        return f"{item}{self.digit}:"

    def step(self, reply: str) -> Step:
        self.said.append(reply)
        done = len(self.said) == self.turns
        return Step(f"{self.word or self.digit}\n", reward=float(len(self.said)), done=done, success=float(done))


def played(policy: TextPolicy, task: TextTask, *, items: Sequence[int] = (0, 1), samples: int = 3, **how: Any) -> Any:
    given = {"max_new_tokens": 40, "temperature": 1.0, "stream": Stream(0, 1, "train")} | how
    sampler = how.pop("sampler", InProcessSampler(policy))
    given.pop("sampler", None)
    return answers(sampler, policy, task, [task.train[i] for i in items], samples_per_prompt=samples, **given)


def sound(episodes: Sequence[Episode]) -> list[Episode]:
    return [replace(e, judgement=Judgement(total=1.0, parts={}, accuracy=1.0)) for e in episodes]


def test_an_episode_holds_what_was_drawn_and_what_was_told(policy: TextPolicy) -> None:
    task = turn_task("echo", Echo)
    for episode in played(policy, task):
        known, place = episode.played, 0
        assert [turn.reward for turn in known.turns][:2] == [1.0, 2.0][: len(known.turns)] or known.ending == "cut"
        for turn in known.turns:
            own = slice(place, turn.end + 1)
            assert turn.end + 1 - place == turn.own and episode.action_mask[own].all()
            assert policy.decode(episode.actions[own]) in (turn.said, turn.said + "\n")
            place = turn.end + 1 + len(turn.told)  # a token a character
            assert policy.decode(episode.actions[turn.end + 1 : place]) == turn.told
            assert not episode.action_mask[turn.end + 1 : place].any()
        assert place == len(episode.actions)
        assert (episode.log_probs[~episode.action_mask] == 0).all()
        assert (episode.log_probs[episode.action_mask] < 0).all()
        assert episode.text == policy.decode(episode.actions[episode.action_mask])
        assert episode.terminated == (known.ending == "done") != episode.truncated


def test_log_probs_are_the_learners_own_at_every_own_token_and_zero_in_holes(policy: TextPolicy) -> None:
    batch = assemble(sound(played(policy, turn_task("echo", Echo), samples=4)))
    found_BT = policy(batch).log_probs_BT.detach()
    assert not batch.action_mask_BT.all()
    np.testing.assert_allclose(found_BT, batch.sampler_log_probs_BT, atol=2e-5)
    assert (found_BT[~batch.action_mask_BT] == 0).all()


def test_a_turn_goes_on_from_the_very_tokens_that_were_drawn(policy: TextPolicy) -> None:
    """A special token in the middle of a turn's history is not lost, as it would be if text were encoded again."""
    asked: list[Prompt] = []

    class Spy(InProcessSampler):
        def sample(self, prompts: Sequence[Prompt], **how: Any) -> list[Episode]:
            asked.extend(prompts)
            drawn = super().sample(prompts, **how)
            end = policy.end_ids[0]  # each turn ends with the end token
            return [replace(e, actions=np.array([end]), log_probs=e.log_probs[:1], action_mask=np.ones(1, bool),
                            terminated=True, truncated=False, text="") for e in drawn]  # fmt: skip

    (episode,) = played(policy, turn_task("echo", Echo), items=[0], samples=1, sampler=Spy(policy))
    end, told = policy.end_ids[0], policy.tokenizer(episode.played.turns[0].told, add_special_tokens=False)["input_ids"]
    assert asked[2].ids.tolist() == [*episode.context, end, *told, end, *told]
    assert episode.actions.tolist() == [end, *told, end, *told, end]


def same(a: Episode, b: Episode) -> bool:
    arrays = all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("context", "actions", "action_mask"))
    return arrays and np.allclose(a.log_probs, b.log_probs, atol=1e-5) and a.played == b.played


def test_an_episode_is_the_same_whatever_else_is_in_the_batch(policy: TextPolicy) -> None:
    task = turn_task("echo", Echo)
    together = played(policy, task, items=range(5), samples=4)
    for item in range(5):
        alone = played(policy, task, items=[item], samples=4, sampler=InProcessSampler(policy, rows_at_once=1))
        for a, b in zip(together[4 * item : 4 * item + 4], alone, strict=True):
            assert same(replace(a, group=0), b)
    other = played(policy, task, items=range(5), samples=4, stream=Stream(0, 2, "train"))
    assert not all(same(a, b) for a, b in zip(together, other, strict=True))


def test_one_turn_draws_what_a_plain_task_draws(policy: TextPolicy) -> None:
    task = turn_task("echo", Echo, turns=1)
    over_turns = played(policy, task, samples=5)
    starts = {e.item: policy.decode(e.context) for e in over_turns}
    items = [replace(task.train[i], prompt=starts[f"train-{i}"]) for i in (0, 1)]
    plain = answers(
        InProcessSampler(policy),
        policy,
        replace(task, plays=None),
        items,
        samples_per_prompt=5,
        max_new_tokens=40,
        temperature=1.0,
        stream=Stream(0, 1, "train"),
    )
    for a, b in zip(over_turns, plain, strict=True):
        assert a.actions.tolist() == b.actions.tolist() and a.log_probs.tolist() == b.log_probs.tolist()


def test_a_holes_content_changes_nothing_but_what_depends_on_it(policy: TextPolicy) -> None:
    """Before the hole all is equal; own tokens drawn from the same numbers after it differ for the words alone."""
    task, other = turn_task("echo", Echo, word="1"), turn_task("echo", Echo, word="2")
    differs = 0
    for a, b in zip(played(policy, task, samples=8), played(policy, other, samples=8), strict=True):
        first = a.played.turns[0].end + 1
        assert np.array_equal(a.actions[:first], b.actions[:first])
        assert np.array_equal(a.log_probs[:first], b.log_probs[:first])
        if len(a.played.turns) > 1:
            assert a.actions[first] != b.actions[first] and not a.action_mask[first]
            differs += a.actions[first + 2 :].tolist() != b.actions[first + 2 :].tolist()
    assert differs  # the negative control: what comes after does depend on it
    batch = assemble(sound(played(policy, task, samples=8)))
    holes_BT = ~batch.action_mask_BT
    last_hole_B = holes_BT & (batch.action_mask_BT.flip(1).cumsum(1).flip(1) == 0)  # after the last own token: padding
    changed = batch.changed(actions_BT=batch.actions_BT.masked_fill(last_hole_B, 5))
    assert (policy(batch).log_probs_BT == policy(changed).log_probs_BT).all()


def test_the_bounds_cut_and_cut_is_not_ended(policy: TextPolicy) -> None:
    endless = replace(turn_task("echo", Echo, turns=99), most_turns=2)
    found = played(policy, endless, samples=8)
    assert {e.played.ending for e in found} == {"turns"} | ({"cut"} & {e.played.ending for e in found})
    assert all(len(e.played.turns) <= 2 and e.truncated and not e.terminated for e in found)
    short = played(policy, endless, samples=8, max_new_tokens=2)
    assert any(e.played.ending == "cut" and len(e.actions) == 2 and e.played.turns[-1].reward == 0 for e in short)
    full = played(policy, turn_task("echo", Echo, turns=99, word="1" * 60), samples=4)
    assert {e.played.ending for e in full} <= {"tokens", "cut"} and "tokens" in {e.played.ending for e in full}
    assert all(e.action_mask[-1] for e in [*found, *short, *full])  # an episode ends with an own token
    batch = assemble([replace(e, judgement=j) for e, j in zip(found, judge_all(endless, found), strict=True)])
    assert batch.cut_BT.any(1).all() and (batch.discounts_BT[batch.action_mask_BT] == 1).all()


READER: Any = tiny_model(0, characters=CHARACTERS, layers=1, width=16)


def judge_all(task: TextTask, episodes: Sequence[Episode], share: float = 0.5) -> Any:
    items = {e.item: next(task.train[i] for i in range(9) if f"train-{i}" == e.item) for e in episodes}
    with Judge(task.rewards, max_failed_share=share) as judge:
        return judged(judge, READER, [items[e.item] for e in episodes], episodes)


def test_a_long_answer_is_cut_in_the_middle() -> None:
    policy = tiny_model(0, characters=CHARACTERS, context_length=2048, layers=1, width=16)
    (episode,) = played(policy, turn_task("echo", Echo, word="1" * 300 + "2" * 900), items=[0], samples=1)
    told = episode.played.turns[0].told
    assert told.startswith("1111") and " ... " in told and told.endswith("2\n")
    assert 400 < int((~episode.action_mask[: episode.played.turns[1].end]).sum()) <= MOST_TOLD


class Cheat(Echo):
    def step(self, reply: str) -> Step:
        return replace(super().step(reply), text="<eos>\n")


def test_an_environment_cannot_speak_in_special_tokens(policy: TextPolicy) -> None:
    for episode in played(policy, turn_task("cheat", Cheat)):
        holes = episode.actions[~episode.action_mask]
        assert policy.tokenizer.eos_token_id not in holes.tolist()


class Faulty(Echo):
    """Fails in the way that its item says, in its second turn."""

    def reset(self, item: Any, seed: int) -> str:
        self.item = item
        return "0:"

    def step(self, reply: str) -> Any:
        self.said.append(reply)
        if len(self.said) == 1:
            return Step("1\n", reward=1.0)
        wrong: dict[int, Any] = {1: "a text", 2: Step(reward=float("nan")), 3: Step(text=5), 4: None}  # type: ignore[arg-type]
        if self.item == 0:
            raise ValueError("the lamp is out")
        if self.item == 5:
            raise SystemExit(0)
        return wrong.get(self.item, Step(reward=1.0, done=True, success=1.0))


@pytest.mark.parametrize("item", range(6))
def test_an_environment_that_fails_is_left_out_and_counted_never_a_zero(policy: TextPolicy, item: int) -> None:
    task = turn_task("faulty", Faulty)
    found = played(policy, task, items=[item, 6, 7, 8], samples=2)
    failed = [e for e in found if e.played.status != OK]
    assert failed and {e.item for e in failed} == {f"train-{item}"} and {e.played.status for e in failed} == {"raised"}
    judgements = judge_all(task, found)
    for episode, judgement in zip(found, judgements, strict=True):
        if episode in failed:
            assert judgement.total is None and judgement.accuracy is None
            assert judgement.status == "environment: raised"
        else:
            assert judgement.total == sum(t.reward for t in episode.played.turns)
    batch = assemble([replace(e, judgement=j) for e, j in zip(found, judgements, strict=True)])
    assert batch.action_mask_BT.any(1).tolist() == [e not in failed for e in found]
    with pytest.raises(RewardError, match=r"environment.*step 2: raised"):
        judge_all(task, failed, share=0.1)


class Random(Echo):
    def reset(self, item: Any, seed: int) -> str:
        return f"{random.random()}:"


def test_samples_of_an_item_begin_alike_or_are_refused(policy: TextPolicy) -> None:
    with pytest.raises(DataError, match="began differently with one item and seed"):
        played(policy, turn_task("random", Random))


class Hanging(Echo):
    def step(self, reply: str) -> Step:
        while True:
            pass


def test_an_environment_that_hangs_is_stopped(policy: TextPolicy) -> None:
    task = turn_task("hanging", Hanging)
    assert task.plays is not None
    found = played(policy, replace(task, plays=partial(task.plays, 0.2)), items=[0], samples=2)
    assert {e.played.status for e in found if e.played.ending != "cut"} == {"timeout"}


def test_a_reward_of_a_turn_stands_on_its_last_own_token(policy: TextPolicy) -> None:
    task = turn_task("echo", Echo)
    found = [e for e in played(policy, task, samples=8) if e.played.ending == "done"]
    with Judge(task.rewards) as judge:
        judgements = judged(judge, policy, [task.train[0]] * len(found), found)
        both = zip(found, judgements, strict=True)
        given = [replace(e, judgement=j, step_rewards=turn_rewards(judge, e)) for e, j in both]
    batch = assemble(given)
    assert batch.step_ends_BT is not None
    for row, episode in enumerate(given):
        assert episode.judgement.total == 6.0 and episode.judgement.accuracy == 1.0
        assert batch.rewards_BT[row].nonzero()[:, 0].tolist() == [turn.end for turn in episode.played.turns]
        assert batch.step_ends_BT[row].nonzero()[:, 0].tolist() == [turn.end for turn in episode.played.turns]


def test_rewards_read_the_answer_and_never_a_tools_words(policy: TextPolicy) -> None:
    """A judge of steps sees the last turn's text; its places are found among that turn's tokens."""
    task = turn_task("echo", Echo, word="77")
    (episode,) = [e for e in played(policy, task, samples=8) if e.played.ending == "done"][:1]
    seen: list[Any] = []

    class Reads:
        name = "reads"

        def __call__(self, prompts: Any, completions: Any, columns: Any) -> list[float]:
            seen.append((completions[0], columns["turns"][0], columns["success"][0], columns["episode_return"][0]))
            return [0.0]

    from rung.rewards.reward import WeightedReward

    with Judge([WeightedReward(reward=Reads())]) as judge:
        judged(judge, policy, [task.train[0]], [episode])
    completion, messages, success, total = seen[0]
    assert completion == episode.played.turns[-1].said and (success, total) == (1.0, 6.0)
    assert [m["role"] for m in messages] == ["assistant", "user", "assistant", "user", "assistant"]
    assert messages[1]["content"] == "77\n" and "77\n" not in episode.text.replace(messages[0]["content"], "")
    ((place, reward),) = step_rewards(episode, ((1, 0.5),), policy.decode)
    last = episode.played.turns[-1]
    assert reward == 0.5 and last.end - last.own < place <= last.end


def test_a_turn_knows_the_state_in_which_it_began() -> None:
    class Stands:
        place = 0

        def reset(self, item: Any, seed: int) -> str:
            self.place = 0
            return "0:"

        def step(self, reply: str) -> Step:
            self.place += 1
            return Step(f"{self.place}\n", done=self.place == 3)

        def state(self) -> int:
            return self.place % 2

    class Says(Stands):
        state = None  # type: ignore[assignment]

    for kind, wanted in ((Stands, ["", "1", "0"]), (Says, ["", "1\n", "2\n"])):
        task: Any = turn_task("stands", kind)
        playing = task.plays()
        playing.reset(task.train[0], 1)
        found, state = [], ""
        for _ in wanted:
            found.append(state)
            step = playing.step("x")
            state = step.state or step.text
        assert found == wanted
