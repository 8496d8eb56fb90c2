"""The judge: weighted sum by part, None left out, failures counted and never a zero, nothing broadcast."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rung.errors import RewardError, SettingsError
from rung.rewards.judge import Judge, columns_of
from rung.rewards.reward import Failure, WeightedReward
from rung.rewards.user import FunctionReward
from rung.tasks.task import Item


class Returns:
    """A reward that returns whatever it was given."""

    def __init__(self, values: Any, name: str = "f") -> None:
        self.values, self.name = values, name

    def __call__(self, prompts: Any, completions: Any, columns: Any) -> Any:
        return self.values(prompts, completions, columns) if callable(self.values) else self.values


def items(count: int) -> list[Item]:
    return [Item(id=str(i), prompt=f"p{i}", columns={"answer": i}) for i in range(count)]


def judged(values: Any, count: int, **options: Any) -> list[Any]:
    with Judge([WeightedReward(reward=Returns(values))], **options) as judge:
        return judge(items(count), ["c"] * count)


def test_total_is_the_weighted_sum_and_accuracy_the_first_part():
    rewards = [
        WeightedReward(reward=Returns([1.0, 0.0], "correct"), weight=1.0),
        WeightedReward(reward=Returns([0.2, 0.4], "format"), weight=0.5),
    ]
    with Judge(rewards) as judge:
        first, second = judge(items(2), ["a", "b"])
    assert first.total == pytest.approx(1.1) and second.total == pytest.approx(0.2)
    assert first.parts == {"correct": 1.0, "format": 0.2} and (first.accuracy, second.accuracy) == (1.0, 0.0)
    assert first.status == "ok"


def test_a_part_that_is_none_leaves_the_sum_and_all_none_is_not_applicable():
    rewards = [
        WeightedReward(reward=Returns([None, None], "a"), weight=2.0),
        WeightedReward(reward=Returns([0.5, None], "b"), weight=3.0),
    ]
    with Judge(rewards) as judge:
        first, second = judge(items(2), ["x", "y"])
    assert (first.total, first.accuracy, first.status) == (1.5, None, "ok")
    assert (second.total, second.status) == (None, "not applicable")


def test_a_failure_is_no_zero_and_names_its_reward():
    failed = [Failure("timeout", "3 s")] + [1.0] * 19
    judgements = judged(failed, 20)
    assert (judgements[0].total, judgements[0].status, judgements[0].parts) == (None, "f: timeout", {"f": None})
    assert all(j.total == 1.0 for j in judgements[1:])


@pytest.mark.parametrize(
    ("failures", "count", "share", "stops"),
    [(1, 4, 0.1, False), (2, 20, 0.1, False), (3, 20, 0.1, True), (1, 1, 0.1, True), (1, 20, 0.0, True)],
)
def test_too_many_failures_stop_the_run(failures: int, count: int, share: float, stops: bool):
    values = [0.5] * (count - failures) + [Failure("timeout", "no answer within 3 s")] * failures
    if not stops:
        assert sum(j.total is None for j in judged(values, count, max_failed_share=share)) == failures
        return
    with pytest.raises(RewardError, match=rf"'f': timeout: {failures} of {count} .* no answer within 3 s.*'c'"):
        judged(values, count, max_failed_share=share)


@pytest.mark.parametrize(
    "values",
    [
        [True, False, True],
        [1, 0, 1],
        np.array([1.0, 0.0, 1.0]),
        np.array([1, 0, 1], dtype=np.int8),
        [np.float32(1), np.bool_(False), np.int64(1)],
        torch.tensor([1.0, 0.0, 1.0]),
        [torch.tensor(1.0), torch.tensor(0), torch.tensor(True)],
        (1.0, 0.0, 1.0),
    ],
)
def test_numbers_of_every_kind_become_floats(values: Any):
    totals = [j.total for j in judged(values, 3)]
    assert totals == [1.0, 0.0, 1.0] and all(type(total) is float for total in totals)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], "wrong length: returned 1 value for 16 completions"),
        ([1.0] * 15, "wrong length: returned 15 values for 16 completions"),
        ([1.0] * 17, "wrong length: returned 17 values for 16 completions"),
        ([], "wrong length: returned 0 values for 16 completions"),
        (1.0, "wrong length: returned 1 value for 16 completions .*float"),
        (True, "wrong length: returned 1 value for 16 completions .*bool"),
        (np.float64(1), "wrong length: returned 1 value for 16 completions"),
        (torch.tensor(1.0), "wrong length: returned 1 value for 16 completions .*0-d Tensor"),
        (np.ones((16, 1)), "wrong type: returned one 2-d ndarray"),
        (np.ones((1, 16)), "wrong type: returned one 2-d ndarray"),
        (None, "wrong type: returned one NoneType"),
        ("1" * 16, "wrong type: returned one str"),
        (dict.fromkeys(range(16), 1.0), "wrong type: returned one dict"),
        (set(range(16)), "wrong type: returned one set"),
        (lambda *_: (1.0 for _ in range(16)), "wrong type: returned one generator"),
        ([1.0] * 7 + ["1.0"] + [1.0] * 8, "wrong type: value 7 is a str .*'1.0'"),
        ([1.0] * 7 + [[1.0]] + [1.0] * 8, "wrong type: value 7 is a list"),
        ([1.0] * 7 + [np.ones(1)] + [1.0] * 8, "wrong type: value 7 is a ndarray"),
        ([1.0] * 7 + [1j] + [1.0] * 8, "wrong type: value 7 is a complex"),
        ([1.0] * 15 + [float("nan")], "not finite: value 15 is nan"),
        ([float("inf")] + [1.0] * 15, "not finite: value 0 is inf"),
        ([1.0, np.float32("-inf")] + [1.0] * 14, "not finite: value 1 is -inf"),
        ([torch.tensor(float("nan"))] + [1.0] * 15, "not finite: value 0 is nan"),
        ([10**400] + [1.0] * 15, "not finite: value 0 is inf"),
    ],
)
def test_what_is_no_list_of_finite_numbers_is_an_error_by_name(values: Any, message: str):
    with pytest.raises(RewardError, match=f"reward 'f': {message}"):
        judged(values, 16)


def _raises(error: BaseException) -> Callable[..., Any]:
    def call(*_: Any) -> Any:
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ZeroDivisionError("division by zero"), "raised: ZeroDivisionError: division by zero"),
        (SystemExit(0), "raised: SystemExit: 0"),
        (ValueError("line one\nline two"), "raised: ValueError: line one"),
    ],
)
def test_a_reward_that_raises_is_an_error_with_the_last_line(error: BaseException, message: str):
    with pytest.raises(RewardError, match=f"reward 'f': {message}") as caught:
        judged(_raises(error), 2)
    assert caught.value.status == "raised"


def test_ctrl_c_is_not_taken_for_a_failed_reward():
    with pytest.raises(KeyboardInterrupt):
        judged(_raises(KeyboardInterrupt()), 2)


def test_a_reward_that_hangs_here_is_stopped_even_if_it_swallows_exceptions():
    def hang(*_: Any) -> Any:
        while True:
            with contextlib.suppress(Exception):
                time.sleep(0.01)

    started = time.monotonic()
    with pytest.raises(RewardError, match=r"reward 'f': timeout: did not return within 0.3 s"):
        judged(hang, 2, deadline_s=0.3)
    assert 0.3 <= time.monotonic() - started < 2


def test_an_alarm_that_was_running_goes_on():
    import signal

    before = signal.getitimer(signal.ITIMER_REAL)[0]
    rang: list[int] = []
    handler = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        assert judged([1.0], 1)[0].total == 1.0
        deadline = time.monotonic() + 2
        while not rang and time.monotonic() < deadline:
            time.sleep(0.01)
        assert rang == [1]
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, before)


def test_outside_the_main_thread_rewards_are_judged_without_an_alarm():
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(judged([0.25], 1)))
    thread.start()
    thread.join()
    assert found[0].total == 0.25


def test_a_sum_that_overflows_is_refused():
    rewards = [
        WeightedReward(reward=Returns([1e308], "a"), weight=1.0),
        WeightedReward(reward=Returns([1e308], "b"), weight=1.0),
    ]
    with Judge(rewards) as judge, pytest.raises(RewardError, match=r"a\+b.*not finite"):
        judge(items(1), ["x"])


def test_huge_but_finite_values_pass():
    assert judged([1e30, -1e30], 2)[0].total == 1e30


def test_all_settings_problems_are_listed_at_once():
    two = [WeightedReward(reward=Returns([1.0], "same"), weight=float("nan"))] * 2
    with pytest.raises(SettingsError) as caught:
        Judge(two, deadline_s=0, max_failed_share=2)
    text = str(caught.value)
    assert all(word in text for word in ("same", "weight: got nan", "deadline_s: got 0", "max_failed_share: got 2"))
    with pytest.raises(SettingsError, match="expected at least one"):
        Judge([])


def test_columns_are_lists_with_none_where_an_item_lacks_one():
    rows = [Item(id="1", prompt="", columns={"answer": 1}), Item(id="2", prompt="", columns={"level": 3})]
    assert columns_of(rows) == {"answer": [1, None], "level": [None, 3]}


def test_a_tolerated_failure_is_told_once_in_print_that_cannot_harm(caplog: pytest.LogCaptureFixture):
    failing = [Failure("timeout", "no answer within 3 s")] + [1.0] * 19
    with Judge([WeightedReward(reward=Returns(failing))]) as judge:
        for _ in range(3):
            judge(items(20), ["\x1b[31m"] * 20)
    (record,) = caplog.records
    assert "reward 'f': timeout: 1 of 20 samples" in record.message and "\x1b" not in record.message


def test_what_was_raised_is_shown_without_control_characters():
    with pytest.raises(RewardError, match=r"ValueError: \\x1b\[31mred\\x00 \\ud800") as caught:
        judged(_raises(ValueError("\x1b[31mred\0 \ud800")), 1)
    assert str(caught.value).isprintable()


def test_parts_do_not_see_each_others_changes():
    def clears(prompts: Any, completions: Any, columns: Any) -> list[float]:
        prompts.clear(), completions.clear(), columns.clear()
        return [1.0]

    def sees(prompts: Any, completions: Any, columns: Any) -> list[float]:
        return [float(len(prompts) + len(completions) + len(columns))]

    rewards = [WeightedReward(reward=Returns(clears, "a")), WeightedReward(reward=Returns(sees, "b"))]
    with Judge(rewards) as judge:
        assert judge(items(1), ["c"])[0].parts == {"a": 1.0, "b": 3.0}
    with pytest.raises(AssertionError, match="closed"):
        judge(items(1), ["c"])


def test_an_empty_batch_has_no_judgements():
    assert judged([], 0) == []


def test_a_reward_sees_prompts_completions_and_columns_in_order():
    def call(prompts: Any, completions: Any, columns: Any) -> list[float]:
        assert prompts == ["p0", "p1"] and list(completions) == ["x", "y"] and columns == {"answer": [0, 1]}
        return [0.0, 1.0]

    with Judge([WeightedReward(reward=Returns(call))]) as judge:
        assert [j.total for j in judge(items(2), ["x", "y"])] == [0.0, 1.0]


def test_a_lambda_is_a_reward_in_process():
    reward = FunctionReward(lambda completions: [float(len(text)) for text in completions], name="length")
    with Judge([WeightedReward(reward=reward)]) as judge:
        assert [j.total for j in judge(items(2), ["a", "abc"])] == [1.0, 3.0]
        assert judge.part_names == ("length",)
