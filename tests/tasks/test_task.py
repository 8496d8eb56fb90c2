"""Lazy sequences and finding a task by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rung.errors import MissingExtra, SettingsError
from rung.tasks import reasoning_gym
from rung.tasks.load import available_tasks, load_task
from rung.tasks.task import Lazy


def test_lazy_is_a_sequence():
    lazy = Lazy(5, lambda i: i * i)
    assert list(lazy) == [0, 1, 4, 9, 16] and lazy[-1] == 16 and lazy[1:3] == [1, 4] and len(lazy) == 5
    assert 9 in lazy and lazy.index(4) == 2
    for index in (5, -6):
        with pytest.raises(IndexError, match=f"index {index} of 5 entries"):
            lazy[index]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("arithmetik", "unknown task 'arithmetik'; did you mean 'arithmetic'"),
        ("chain_summ", "unknown task 'chain_summ'; did you mean 'chain_sum'"),
        ("rows.csv", "a file must end in .jsonl or .parquet"),
        ("some/folder", "is no task"),
        ("rows.jsonl", "there is no file rows.jsonl"),
        ("reasoning_gym/composite", "choose one of those"),
    ],
)
def test_unknown_tasks(spec: str, message: str):
    with pytest.raises(SettingsError, match=message):
        load_task(spec)


def test_available_tasks_have_a_line_each():
    tasks = dict(available_tasks())
    assert {"arithmetic", "addition-few-shot", "reasoning_gym/chain_sum"} <= set(tasks) and len(tasks) > 100
    assert "reasoning_gym/composite" not in tasks
    assert tasks["arithmetic"].startswith("sums, differences and products")


def test_reasoning_gym_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reasoning_gym.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'rung\[tasks\]'"):
        load_task("reasoning_gym/chain_sum")
    own = ["arithmetic", "addition-few-shot", "copying", "running-sum", "calculator", "guess-number", "cartpole-1983"]
    assert [name for name, _ in available_tasks()] == own
    with pytest.raises(SettingsError, match="unknown task 'chain_sum'"):
        load_task("chain_sum")


def test_finding_a_task_imports_nothing_heavy():
    code = (
        "import sys; from rung.tasks.load import load_task; load_task('arithmetic').train[0]; "
        "print([m for m in ('torch', 'transformers', 'sympy', 'reasoning_gym', 'pyarrow') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
