"""A file's function as a reward: both signatures, in a child; every fault by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import left_behind

from rung.errors import RewardError, SettingsError
from rung.rewards.judge import Judge
from rung.rewards.reward import Failure, WeightedReward
from rung.rewards.user import UserReward
from rung.tasks.task import Item

USER = """
import asyncio, os, sys, time
import numpy as np

def length(completions, **kwargs):
    return [float(len(text)) for text in completions]

def all_columns(prompts, completions, **columns):
    assert sorted(columns) == ["answer", "level"], columns
    return [float(p == f"p{a}" and text == str(a)) for p, text, a in zip(prompts, completions, columns["answer"])]

def by_name(completions, answer, absent=0.5):
    return [float(text == str(a)) + absent for text, a in zip(completions, answer)]

def needs_more(completions, gold, completion_ids):
    return [1.0] * len(completions)

def chat(prompts, completions):
    assert all(completion[0]["role"] == "assistant" for completion in completions)
    return [float(c[0]["content"] == p[-1]["content"]) for p, c in zip(prompts, completions)]

async def patient(completions):
    await asyncio.sleep(0.01)
    return [1.0] * len(completions)

def array(completions):
    return np.ones(len(completions), dtype=np.float32)

def not_for_all(completions):
    return [None if text == "skip" else True for text in completions]

def one(completions):
    return [1.0]

def generator(completions):
    return (1.0 for _ in completions)

def scalar(completions):
    return 1.0

def texts(completions):
    return ["1.0"] * len(completions)

def nan(completions):
    return [1.0] * (len(completions) - 1) + [float("nan")]

def divides(completions):
    return [1 / 0]

def exits(completions):
    sys.exit(0)

def dies(completions):
    os._exit(0)

def hangs(completions):
    print("thinking")
    while True:
        pass

def mutates(prompts, completions, answer):
    completions.clear(); prompts.clear(); answer.clear()
    os.chdir("/")
    return [1.0, 1.0]

def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    if solution_str == "hang":
        time.sleep(600)
    if solution_str == "raise":
        raise KeyError("boom")
    if solution_str == "text":
        return "1.0"
    if solution_str == "none":
        return None
    if solution_str == "no score":
        return {"points": 1.0}
    assert data_source in ("rung", "gsm8k") and extra_info["index"] == 7
    return {"score": float(solution_str == ground_truth), "note": "dict"}

async def verl_async(solution_str, ground_truth):
    return float(solution_str == ground_truth)

class Grader:
    def __call__(self, completions):
        return [2.0] * len(completions)

grader = Grader()
"""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "my_rewards.py"
    path.write_text(USER)
    yield path
    assert left_behind() == []


def call(source: Any, completions: list[str], prompts: list[Any] | None = None, **columns: list[Any]) -> Any:
    return UserReward(source)(prompts or [f"p{i}" for i in range(len(completions))], completions, columns)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("length", [1.0, 1.0]),
        ("all_columns", [1.0, 0.0]),
        ("by_name", [1.5, 0.5]),
        ("patient", [1.0, 1.0]),
        ("array", [1.0, 1.0]),
        ("not_for_all", [1.0, 1.0]),
        ("verl_async", [1.0, 0.0]),
        ("grader", [2.0, 2.0]),
    ],
)
def test_trl_signature(file: Path, function: str, expected: list[float]):
    answers = ["0", "1"] if function == "verl_async" else [0, 1]
    assert call(f"{file}:{function}", ["0", "x"], answer=answers, level=[1, 2]) == expected


def test_none_stays_none(file: Path):
    assert call(f"{file}:not_for_all", ["skip", "x"]) == [None, 1.0]


def test_a_chat_completion_is_a_message_as_in_trl(file: Path):
    prompts = [({"role": "user", "content": "a"},), ({"role": "user", "content": "b"},)]
    assert call(f"{file}:chat", ["a", "x"], prompts) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("function", "status", "message"),
    [
        ("one", "wrong length", "returned 1 value for 16 completions"),
        ("scalar", "wrong length", "returned 1 value for 16 completions"),
        ("generator", "wrong type", "returned one generator for 16 completions"),
        ("texts", "wrong type", "value 0 is a str"),
        ("nan", "not finite", "value 15 is nan"),
        ("divides", "raised", r"ZeroDivisionError: division by zero \(at .*my_rewards.py:\d+\)"),
        ("exits", "raised", "SystemExit: 0"),
        ("dies", "died", "its process ended"),
        ("needs_more", "wrong type", r"wants \['gold', 'completion_ids'\].*\['completions', 'prompts'\]"),
    ],
)
def test_what_goes_wrong_has_its_name_and_status(file: Path, function: str, status: str, message: str):
    with pytest.raises(RewardError, match=message) as caught:
        call(f"{file}:{function}", ["c"] * 16)
    assert (caught.value.reward, caught.value.status) == (function, status)


def test_a_hang_ends_the_call_in_time_with_its_name_and_leaves_nothing(file: Path):
    items = [Item(id=str(i), prompt="p", columns={}) for i in range(4)]
    with Judge([WeightedReward(reward=UserReward(f"{file}:hangs"))], deadline_s=1.0) as judge:
        started = time.monotonic()
        with pytest.raises(RewardError, match=r"reward 'hangs': timeout: no answer within 1 s"):
            judge(items, ["c"] * 4)
        assert 1.0 <= time.monotonic() - started < 2.0
    assert left_behind() == []


def test_inputs_folder_and_generators_are_safe_from_a_child(file: Path):
    completions, prompts, answers, folder = ["a", "b"], ["p", "q"], [1, 2], Path.cwd()
    assert call(f"{file}:mutates", completions, prompts, answer=answers) == [1.0, 1.0]
    assert (completions, prompts, answers, Path.cwd()) == (["a", "b"], ["p", "q"], [1, 2], folder)


def test_verl_signature(file: Path):
    columns = {"ground_truth": ["4", "5"], "data_source": ["gsm8k"] * 2, "extra_info": [{"index": 7}] * 2}
    assert call(f"{file}:compute_score", ["4", "4"], **columns) == [1.0, 0.0]
    nested = {"reward_model": [{"ground_truth": "4"}] * 2, "index": [7, 7]}
    assert call(f"{file}:compute_score", ["4", "none"], **nested) == [1.0, None]


def test_verl_failures_are_of_their_sample_alone(file: Path):
    reward = UserReward(f"{file}:compute_score", deadline_s=0.5)
    texts = ["4", "hang", "raise", "text", "no score", "4"]
    scores = reward(["p"] * 6, texts, {"answer": ["4"] * 6, "index": [7] * 6})
    assert scores[0] == scores[5] == 1.0
    statuses = [score.status for score in scores if isinstance(score, Failure)]
    assert statuses == ["timeout", "raised", "wrong type", "wrong type"]
    assert "KeyError: 'boom'" in scores[2].detail and "keys ['points']" in scores[4].detail


def test_many_timeouts_end_in_bounded_time(file: Path):
    reward = UserReward(f"{file}:compute_score", deadline_s=0.1)
    scores = reward(["p"] * 30, ["hang"] * 30, {"answer": ["4"] * 30})
    assert all(isinstance(score, Failure) and score.status == "timeout" for score in scores)
    assert sum("not tried" in score.detail for score in scores) == 26


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{folder}/nope.py:length", "there is no file .*nope.py"),
        ("{folder}/my_rewards.py:lenght", "defines no 'lenght'; did you mean 'length'"),
        ("{folder}/my_rewards.py", "expected path/to/file.py:function"),
        ("my.module.function", "expected path/to/file.py:function"),
        ("{folder}/my_rewards.py:1x", "expected path/to/file.py:function"),
    ],
)
def test_a_wrong_spec_is_refused_before_anything_starts(file: Path, spec: str, message: str):
    with pytest.raises(SettingsError, match=message):
        UserReward(spec.format(folder=file.parent))


def test_a_syntax_error_names_its_line(tmp_path: Path):
    path = tmp_path / "bad.py"
    path.write_text("x = 1\ndef f(:\n")
    with pytest.raises(SettingsError, match=r"bad.py:2: "):
        UserReward(f"{path}:f")


def test_a_file_that_cannot_be_run_is_refused_when_the_judge_opens(tmp_path: Path):
    path = tmp_path / "needs.py"
    path.write_text("import no_such_package_anywhere\ndef f(completions): return [1.0]\n")
    with pytest.raises(SettingsError, match="no_such_package_anywhere"):
        Judge([WeightedReward(reward=UserReward(f"{path}:f"))])
    assert left_behind() == []


def test_a_file_in_a_package_may_import_its_neighbours(tmp_path: Path):
    package = tmp_path / "grading"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "points.py").write_text("POINTS = 3.0\n")
    (package / "main.py").write_text(
        "from .points import POINTS\ndef f(completions): return [POINTS for _ in completions]\n"
    )
    assert call(f"{package / 'main.py'}:f", ["a"]) == [3.0]


def test_a_stray_module_in_the_working_folder_is_not_imported(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "json.py").write_text("raise RuntimeError('shadowed')\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert call(f"{file}:length", ["abc"]) == [3.0]


def test_a_column_that_is_no_json_is_an_error_by_name(file: Path):
    with pytest.raises(RewardError, match=r"reward 'length': wrong type: .*object.*must be JSON-like"):
        call(f"{file}:length", ["a"], answer=[object()])
