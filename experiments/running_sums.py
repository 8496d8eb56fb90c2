"""What grpo_figure5.py and dapo_ladder.py have in common: a small transformer that has begun to learn `running-sum`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiment import Work, sets

from rung.models.language.tiny import tiny_model
from rung.tasks.load import load_text_task


def task_of(terms: Sequence[int]) -> str:
    """The setting that says how many numbers a problem has."""
    return f"task.terms=[{','.join(map(str, terms))}]"


def start(work: Work) -> Path:
    return work.folder / "start-0" / "final"


def make_start(work: Work, *, terms: Sequence[int], steps: int, tokens: int) -> None:
    """Three layers of 64, fine-tuned on worked examples for so many steps; made once."""
    if not start(work).is_dir():
        raw = work.folder / "raw-0"
        characters = load_text_task("running-sum").characters
        assert characters is not None
        tiny_model(0, characters=characters, layers=3, width=64, context_length=64).save(raw)
        learnt = (f"steps={steps}", "learning_rate=5e-3", f"max_new_tokens={tokens}", "learner.threads=1")
        words = ("--model", str(raw), "--task", "running-sum", "--seed", "0", *sets(task_of(terms), *learnt))
        work.rung("sft", *words, "--out", str(start(work).parent), "--quiet")
