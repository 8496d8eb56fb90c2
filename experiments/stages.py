"""What dpo_frontier.py and over_optimisation.py have in common: the start model, pairs, and where a run has got to.

Every stage is a command of rung, done once: what is there already is left alone.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import reviews
from running import ROOT, rung

from rung.models.language.tiny import tiny_model

HOME = ROOT / "runs" / "reviews"
DATA, START = HOME / "data", HOME / "start" / "final"
ORACLE = "experiments/sentiment.py"
GOLD = f"{ROOT / ORACLE}:gold"
TASK = ("--task", str(DATA / "prompts.jsonl"), "--set", f"task.held_out_file={DATA / 'held_out.jsonl'}")
TOKENS = "80"
"""Of an ending at most; the examples' longest has fewer."""
SAMPLES = 8
"""Endings of each of the held-out prompts, for one point."""
ENDED = ("saving.keep=1000", "evaluation.every=0", "reporting.kl_rows=0", "learner.threads=1")
"""Settings of every run: its checkpoints are what is measured, afterwards."""


def start_model() -> Path:
    """A transformer of two layers of 96, fine-tuned on the examples: where every run starts, and its reference."""
    if not START.is_dir():
        reviews.write(DATA)
        raw = HOME / "raw"
        tiny_model(0, characters=string.ascii_letters + " .,'", layers=2, width=96, context_length=128).save(raw)
        learnt = ("--set", "steps=300", "--set", "learning_rate=5e-3", "--set", "learner.threads=1")
        held_out = ("--set", f"task.held_out_file={DATA / 'held_out.jsonl'}")
        examples = ("--task", str(DATA / "examples.jsonl"), *held_out)
        rung("sft", "--model", str(raw), *examples, *learnt, "--out", str(HOME / "start"), "--quiet")
    return START


def pairs_file(
    name: str, *, seed: int, prompts: int, a_prompt: int, oracle: str = "gold", side: str = "prompts"
) -> Path:
    """Pairs of the start model's own endings, told apart by an oracle of sentiment.py."""
    out = HOME / f"{name}.jsonl"
    if not out.is_file():
        drawn = ("--k", "8", "--set", f"prompts={prompts}", "--set", f"pairs_per_prompt={a_prompt}")
        asked = ("--task", str(DATA / f"{side}.jsonl"), "--set", "task.held_out=0", "--seed", str(seed))
        judged = ("--reward", f"{ROOT / ORACLE}:{oracle}", "--set", f"max_new_tokens={TOKENS}")
        rung("pairs", "--model", str(start_model()), *asked, *drawn, *judged, "--out", str(out), "--quiet")
    return out


def held_out_pairs() -> Path:
    """Pairs of the held-out prompts with the oracle's own labels, without noise."""
    return pairs_file("held_out_pairs", seed=1000, prompts=reviews.HELD_OUT, a_prompt=8, side="held_out")


def from_pairs(pairs: Path) -> tuple[str, ...]:
    """The words of a command that learns from a file of pairs."""
    held_out = ("--set", f"task.held_out_file={held_out_pairs()}")
    return ("--model", str(start_model()), "--task", str(pairs), *held_out, "--recipe", "tiny_pairs")


def point(
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
    base = base or str(start_model())
    model = (str(run), "--step", str(step)) if step else (base,)
    kept = run / "points" / f"{step}.json"
    rows = kept.with_suffix(".jsonl")
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        rows.unlink(missing_ok=True)
        given = [word for reward in (GOLD, *rewards) for word in ("--reward", reward)]
        asked = ("--k", str(samples), "--max-new-tokens", tokens, "--seed", "0", "--temperature", "1")
        told = rung(
            *("eval", *model, "--base", base, *TASK, *more, *given),
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


def points(asked: Sequence[tuple[Path, int, tuple[str, ...]]], *, at_once: int = 2, **how: Any) -> list[dict[str, Any]]:
    """The points of (run, step, further rewards), two at a time; `how` is as in `point`."""
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda one: point(*one, **how), asked))
