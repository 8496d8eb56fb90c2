"""Sampling answers whose lengths differ ten to one: tokens a second, wall and processor.

    python benchmarks/ragged.py                 this checkout
    python benchmarks/ragged.py --beside SRC    another checkout's `src` too, in turns, and the ratio

A random Llama of 6 layers; a fortieth of its vocabulary ends an answer, so that lengths are geometric with a mean of 40
and are cut at 400. 192 answers, 32 rows at once, one thread. Other processes on the machine slow the wall, not so much
the processor's seconds, so both are given, with the load. Writes `benchmarks/results/ragged.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROMPTS, SAMPLES, ROWS, MOST, MEAN = 24, 8, 32, 400, 40


def measure() -> dict[str, Any]:
    """One process: the rate of the `rung` that is on its path."""
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from rung.models.language.policy import TextPolicy
    from rung.models.language.tiny import tiny_tokenizer
    from rung.random import Stream
    from rung.rollouts.sampler import InProcessSampler
    from rung.rollouts.sampling import Prompt

    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = {"num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
    config = LlamaConfig(vocab_size=2000, hidden_size=256, intermediate_size=688, **shape)
    policy = TextPolicy(LlamaForCausalLM(config), tiny_tokenizer())
    policy.end_ids = tuple(range(config.vocab_size // MEAN))
    ids = np.random.default_rng(0).integers(60, 2000, (PROMPTS, 24))
    prompts = [Prompt(str(i), i, ids[i]) for i in range(PROMPTS)]
    sampler = InProcessSampler(policy, rows_at_once=ROWS)

    def sample(count: int) -> list[Any]:
        asked: dict[str, Any] = {"max_new_tokens": MOST, "temperature": 1.0, "stream": Stream(0, 1, "bench")}
        return sampler.sample(prompts[:count], samples_per_prompt=SAMPLES, **asked)

    sample(1)
    wall, processor = time.perf_counter(), time.process_time()
    episodes = sample(PROMPTS)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    lengths = [len(e.actions) for e in episodes]
    drawn = hashlib.sha256(np.concatenate([e.actions for e in episodes]).tobytes()).hexdigest()
    return {
        "tokens": sum(lengths),
        "mean_length": sum(lengths) / len(lengths),
        "longest": max(lengths),
        "wall": wall,
        "processor": processor,
        "load": os.getloadavg()[0],
        "drawn": drawn,
    }


def measured(source: Path) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--one"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout)


def commit(source: Path) -> str:
    command = ["git", "-C", str(source), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beside", type=Path, help="the `src` of another checkout")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure()))
        return
    from rung.runs.record.machine import machine

    sources = {"after": HERE.parent / "src"} | ({"before": asked.beside} if asked.beside else {})
    turns = {name: [measured(source) for _ in range(asked.turns)] for name, source in sources.items()}
    result: dict[str, Any] = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "turns": turns}
    result["commit"] = {name: commit(source) for name, source in sources.items()}
    for name, rows in turns.items():
        rate = {kind: max(row["tokens"] / row[kind] for row in rows) for kind in ("wall", "processor")}
        result[name] = rate
        print(f"{name}: {rate['wall']:.0f} tokens/s, {rate['processor']:.0f} a processor second; {rows[0]}")
    if "before" in result:
        assert len({row["drawn"] for rows in turns.values() for row in rows}) == 1, "other tokens were drawn"
        result["ratio"] = {kind: result["after"][kind] / result["before"][kind] for kind in result["after"]}
        print(f"ratio: {result['ratio']}")
    (HERE / "results" / "ragged.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
