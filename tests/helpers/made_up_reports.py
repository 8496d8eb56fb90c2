"""Made-up runs and hostile completions for the tests of the reports."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rung.batch import Episode, Judgement

HOSTILE = [
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\"><svg onload=alert(1)>",
    "[red]not red[/red] [link=file:///etc/passwd]here[/link] [/]",
    "\x1b[31mred\x1b[0m\x1b]0;owned\x07\x9b2J\r\x08",
    "\u202eturned round\u202c \u2066isolated\u2069 zero\u200bwidth",
    "nul\x00nul",
    "half a pair \ud800 and \udfff",
    "עברית وعربية",
    "{{7*7}} ${7*7} $\\frac{ javascript:alert(1) ![beacon](http://example.invalid/x.png)",
    "-->]]>&lt;!-- \u2028 \u2029 \ufeff",
    "",
    "x" * 100_000,
]


@pytest.fixture
def hostile() -> list[str]:
    return HOSTILE


@pytest.fixture
def make_episode() -> Callable[..., Episode]:
    def make(text: str = "5", *, group: int = 0, sample: int = 0, tokens: int = 3, **changes: Any) -> Episode:
        fields: dict[str, Any] = {
            "item": f"add-{group}",
            "group": group,
            "sample": sample,
            "context": np.arange(4),
            "actions": np.arange(10, 10 + tokens),
            "action_mask": np.ones(tokens, dtype=bool),
            "log_probs": np.full(tokens, -0.5, dtype=np.float32),
            "terminated": True,
            "truncated": False,
            "text": text,
            "judgement": Judgement(total=1.1, parts={"format": 0.2, "correct": 1.0}, accuracy=1.0),
        }
        return Episode(**{**fields, **changes})

    return make


@pytest.fixture
def made_up_rows() -> Callable[[int], tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """A run that learns: (metrics rows, timings rows) of steps 0..n."""

    def make(steps: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        draw = np.random.default_rng(0)
        metrics: list[dict[str, Any]] = []
        timings: list[dict[str, Any]] = []
        for step in range(steps + 1):
            right = 0.2 + 0.6 * (1 - math.exp(-step / 30))
            row: dict[str, Any] = {"step": step}
            if step % 10 == 0:
                row |= {"held_out/score": right, "held_out/low": right - 0.07, "held_out/high": right + 0.06}
            if step:
                noise = float(draw.normal(0, 0.01))
                row |= {"reward/mean": right + noise, "reward/correct": right + noise, "reward_std/correct": 0.4}
                row |= {"kl/start": 0.003 * step, "entropy": 1 / (1 + step / 50), "length/mean": 20.0}
                row |= {"length/p90": 31.0, "length/truncated": 0.05, "groups/no_spread": 0.3}
                row |= {"groups/all_right": 0.2, "groups/all_wrong": 0.1, "grad/norm": 1.0 + abs(noise)}
                row |= {"sampler_gap/mean": 2e-7, "sampler_gap/max": 1e-5, "loss": noise, "learning_rate": 1e-5}
                row |= {"tokens/generated": 640.0, "episodes/generated": 64.0, "episodes/failed": 0.0}
                timings.append(
                    {"step": step, "seconds/sample": 1.5, "seconds/learn": 2.5, "seconds/step": 4.1}
                    | {"tokens_per_second": 400.0, "seconds/evaluate": 3.0 if step % 10 == 0 else 0.0}
                )
            metrics.append(row)
        return metrics, timings

    return make


@pytest.fixture
def made_up_run(
    tmp_path: Path, make_episode: Callable[..., Episode], made_up_rows: Callable[[int], Any]
) -> Callable[..., Path]:
    """Writes a run's folder and returns it; every completion of group 0 is hostile."""

    def make(steps: int = 20, *, name: str = "run") -> Path:
        from rung.runs.record.files import RunFiles

        files = RunFiles(tmp_path / name)
        metrics, timings = made_up_rows(steps)
        for row in metrics:
            files.metrics.append(row)
        for row in timings:
            files.timings.append(row)
        for step in range(1, steps + 1):
            episodes = [make_episode(text, sample=i) for i, text in enumerate(HOSTILE)]
            failed = Judgement(total=None, parts={"correct": None}, accuracy=None, status="correct: timeout")
            episodes.append(make_episode("late", group=1, judgement=failed, truncated=True, terminated=False))
            prompts = [f"prompt {text}" for text in HOSTILE] + ["2+3="]
            files.write_samples(step, episodes, prompts=prompts, advantages=[np.full(3, 0.5)] * len(episodes))
        card = {"name": "grpo", "paper": "arXiv:2402.03300", "summary": "siblings <b>", "formula": "J = E[ρ A]"}
        card |= {"slots": {"objective": {"part": "Clip", "low": 0.2}, "reference_kl": None}, "deviations": ["</li>"]}
        (files.folder / "method.json").write_text(json.dumps(card))
        (files.folder / "settings.yaml").write_text("steps: 20\nname: '</pre><script>'\n")
        return files.folder

    return make
