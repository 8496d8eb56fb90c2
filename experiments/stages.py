"""What the experiments on reviews have in common: the start model, pairs, reward models, and where a run has got to.

Every stage is a command of rung, done once: what is there already is left alone.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import reviews
from experiment import ROOT, Run, Work, sets

from rung.models.language.tiny import tiny_model

ORACLE = "experiments/sentiment.py"
GOLD = f"{ROOT / ORACLE}:gold"
TOKENS = "80"
"""Of an ending at most; the examples' longest has fewer."""
SAMPLES = 8
"""Endings of each of the held-out prompts, for one point."""
ENDED = ("saving.keep=1000", "evaluation.every=0", "reporting.kl_rows=0", "learner.threads=1")
"""Settings of every run: its checkpoints are what is measured, afterwards."""


def home(work: Work) -> Path:
    return work.root / "reviews"


def data(work: Work, name: str) -> Path:
    return home(work) / "data" / f"{name}.jsonl"


def start(work: Work) -> Path:
    return home(work) / "start" / "final"


def held_out(work: Work) -> str:
    """The setting that names the held-out prompts."""
    return f"task.held_out_file={data(work, 'held_out')}"


def make_start(work: Work) -> None:
    """A transformer of two layers of 96, fine-tuned on the examples: where every run starts, and its reference."""
    if not start(work).is_dir():
        reviews.write(home(work) / "data")
        raw = home(work) / "raw"
        tiny_model(0, characters=string.ascii_letters + " .,'", layers=2, width=96, context_length=128).save(raw)
        learnt = sets("steps=300", "learning_rate=5e-3", "learner.threads=1", held_out(work))
        examples = ("--task", str(data(work, "examples")), *learnt)
        work.rung("sft", "--model", str(raw), *examples, "--out", str(start(work).parent), "--quiet")


def pairs_at(work: Work, name: str) -> Path:
    return home(work) / f"{name}.jsonl"


def make_pairs(
    work: Work, name: str, *, seed: int, prompts: int, a_prompt: int, oracle: str = "gold", side: str = "prompts"
):
    """Pairs of the start model's own endings, told apart by an oracle of sentiment.py."""
    if not pairs_at(work, name).is_file():
        drawn = sets(
            f"prompts={prompts}", f"pairs_per_prompt={a_prompt}", "task.held_out=0", f"max_new_tokens={TOKENS}"
        )
        asked = ("--task", str(data(work, side)), "--seed", str(seed), "--k", "8", *drawn)
        judged = ("--reward", f"{ROOT / ORACLE}:{oracle}", "--out", str(pairs_at(work, name)), "--quiet")
        work.rung("pairs", "--model", str(start(work)), *asked, *judged)


def make_held_out_pairs(work: Work) -> None:
    """Pairs of the held-out prompts with the oracle's own labels, without noise."""
    make_pairs(work, "held_out_pairs", seed=1000, prompts=reviews.HELD_OUT, a_prompt=8, side="held_out")


def from_pairs(work: Work, method: str, pairs: str, seed: int, *settings: str) -> Run:
    """A training on a file of pairs."""
    there = f"task.held_out_file={pairs_at(work, 'held_out_pairs')}"
    more = ("--model", str(start(work)), "--recipe", "tiny_pairs")
    return Run(method, str(pairs_at(work, pairs)), seed, (there, *ENDED, *settings), more)


def reward_run(work: Work, pairs: str, seed: int, *settings: str) -> Run:
    return from_pairs(work, "reward_model", pairs, seed, "evaluation.num_items=480", "saving.every=0", *settings)


def climb(work: Work, seed: int, rewards: Sequence[str], *settings: str) -> Run:
    """PPO from the start model, after its reward models."""
    given = tuple(word for reward in rewards for word in ("--reward", reward))
    more = ("--model", str(start(work)), "--recipe", "tiny", *given)
    settings = (held_out(work), *ENDED, f"max_new_tokens={TOKENS}", *settings)
    return Run("ppo@lm-human-preferences", str(data(work, "prompts")), seed, settings, more, stage=1)


def point(
    work: Work,
    run: Path,
    step: int,
    rewards: Iterable[str] = (),
    *,
    base: str = "",
    tokens: str = TOKENS,
    samples: int = SAMPLES,
    more: Sequence[str] = (),
) -> dict[str, Any]:
    """A run's checkpoint, by its own endings of the held-out prompts: the oracle's mean, and the KL to the start.

    Step 0 is the start itself. The random numbers are the same for every run and step.
    """
    base = base or str(start(work))
    model = (str(run), "--step", str(step)) if step else (base,)
    kept = run / "points" / f"{step}.json"
    rows = kept.with_suffix(".jsonl")
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        rows.unlink(missing_ok=True)
        given = [word for reward in (GOLD, *rewards) for word in ("--reward", reward)]
        asked = ("--k", str(samples), "--max-new-tokens", tokens, "--seed", "0", "--temperature", "1")
        task = ("--task", str(data(work, "prompts")), *sets(held_out(work)))
        told = work.rung(
            *("eval", *model, "--base", base, *task, *more, *given),
            *(*asked, "--items", str(reviews.HELD_OUT), "--samples", str(rows), "--json"),
        )
        kept.write_text(told)
    told = json.loads(kept.read_text())
    return {
        "step": step,
        "kl": told["kl_to_base"]["value"],
        "reward": told["score"],
        "start": told["base"]["value"],
        "parts": told["parts"],
        "samples": [_shown(json.loads(line)) for line in rows.read_text().splitlines()[: 3 * samples : samples]],
    }


def _shown(row: dict[str, Any]) -> str:
    return f"{row['prompt']}{row['completion']}"


def points(work: Work, asked: Sequence[tuple[Path, int, tuple[str, ...]]], **how: Any) -> list[dict[str, Any]]:
    """The points of (run, step, further rewards), two at a time; `how` is as in `point`."""
    return work.beside([partial(point, work, *one, **how) for one in asked])
