"""What grpo_figure5.py and dapo_ladder.py have in common: a small transformer that has begun to learn `running-sum`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from running import rung

from rung.models.language.tiny import tiny_model
from rung.tasks.load import load_text_task


def task_of(terms: Sequence[int]) -> tuple[str, ...]:
    """The words of a command that name the task."""
    return ("--task", "running-sum", "--set", f"task.terms=[{','.join(map(str, terms))}]")


def start_model(folder: Path, *, terms: Sequence[int], steps: int, tokens: int) -> Path:
    """Three layers of 64, fine-tuned on worked examples for so many steps; made once, in `folder`."""
    home = folder / "start-0"
    if not (home / "final").is_dir():
        raw = folder / "raw-0"
        characters = load_text_task("running-sum").characters
        assert characters is not None
        tiny_model(0, characters=characters, layers=3, width=64, context_length=64).save(raw)
        learnt = (f"steps={steps}", "learning_rate=5e-3", f"max_new_tokens={tokens}", "learner.threads=1")
        sets = [word for setting in learnt for word in ("--set", setting)]
        rung("sft", "--model", str(raw), *task_of(terms), "--seed", "0", *sets, "--out", str(home), "--quiet")
    return home / "final"
