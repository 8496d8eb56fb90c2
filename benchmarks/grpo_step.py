"""A GRPO step beside TRL's, and sampling beside vLLM's: same machine, model, prompts and lengths, in one run.

    make bench                                        TRL and rung
    python benchmarks/grpo_step.py --vllm PYTHON      vLLM too, with the interpreter of an environment that has it

Each measurement is a process of its own, one at a time, with the same number of threads. Writes
`benchmarks/results/grpo_step.json`, from which benchmarks/README.md is generated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from workload import NEW_TOKENS, OPENINGS, PROMPTS, SAMPLES, model_folder, product_rate

from rung.runs.record.machine import machine

HERE = Path(__file__).parent
LINEAR = (2, 8, 32)


def measured(script: str, *arguments: str, python: str = sys.executable, **threads: str) -> dict[str, Any]:
    """Runs one measuring process and reads what it answers; `threads` are environment variables."""
    print(f"measuring: {script} {' '.join(arguments)[:60]}", flush=True)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **threads}
    done = subprocess.run(
        [python, str(HERE / script), *arguments], capture_output=True, text=True, env=environment, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise SystemExit(f"{script} failed ({done.returncode}):\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(lines[-1].removeprefix("RESULT "))


def middle(result: dict[str, Any], phase: str) -> float:
    return median(row[phase] for row in result["steps"])


def floor(rung: dict[str, Any], compute: torch.dtype) -> dict[str, float]:
    """Seconds that the matrix products alone need at the rates measured now: 2 FLOP a weight and token, 6 to train."""
    tokens, prompt_tokens, weights = PROMPTS * SAMPLES * NEW_TOKENS, rung["prompt_tokens"], rung["parameters"]
    decode, learn = product_rate(PROMPTS * SAMPLES, compute), product_rate(1024, compute)
    sample = 2 * weights * tokens / decode + 2 * weights * prompt_tokens / learn
    return {
        "sample": sample,
        "learn": 6 * weights * (tokens + prompt_tokens) / learn,
        "gflops_64_rows": decode / 1e9,
        "gflops_1024_rows": learn / 1e9,
    }


def markdown(result: dict[str, Any]) -> str:
    rung, trl, least = result["rung"], result["trl"], result["floor"]
    state = result["state_gib"]
    lines = [
        f"{result['machine']}. {PROMPTS} prompts x {SAMPLES} samples x {NEW_TOKENS} new tokens of SmolLM2-135M "
        f"(dequantised from 4 bit), float32 weights, {result['compute']} compute, one update, no KL. Median of "
        f"{len(rung['steps'])} steps after one to warm up. Commit {result['commit']}, {result['date']}: "
        f"`{result['command']}`, {result['minutes']:.0f} minutes.",
        "",
        "| | rung | TRL 1.16 | ratio | floor (matrix products alone) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for phase, words in (("sample", "sampling, s"), ("learn", "learning, s"), ("step", "whole step, s")):
        mine, theirs = middle(rung, phase), middle(trl, phase)
        bound = least["sample"] + least["learn"] if phase == "step" else least[phase]
        lines.append(f"| {words} | {mine:.1f} | {theirs:.1f} | {theirs / mine:.2f}x | {bound:.1f} |")
    tokens = PROMPTS * SAMPLES * NEW_TOKENS
    mine, theirs = tokens / middle(rung, "sample"), tokens / middle(trl, "sample")
    lines.append(
        f"| sampling, tokens/s | {mine:.0f} | {theirs:.0f} | {mine / theirs:.2f}x | {tokens / least['sample']:.0f} |"
    )
    above = [one["peak_gib"] - state for one in (rung, trl)]
    lines.append(f"| peak memory, GiB | {rung['peak_gib']:.2f} | {trl['peak_gib']:.2f} | | |")
    lines.append(
        f"| of it above weights, gradients and optimiser ({state:.2f} GiB) | {above[0]:.2f} | {above[1]:.2f} | "
        f"{above[0] / above[1]:.2f} of TRL's | |"
    )
    rates = f"{least['gflops_64_rows']:.0f} GFLOP/s at 64 rows, {least['gflops_1024_rows']:.0f} at 1024"
    lines += ["", f"Matrix products of this model's shapes ran at {rates} in the same run."]
    if result.get("vllm"):
        vllm = median(result["vllm"]["tokens_per_second"])
        lines.append(f"vLLM's CPU build sampled {vllm:.0f} tokens/s: rung's {mine:.0f} are {mine / vllm:.2f}x that.")
    else:
        lines.append(f"vLLM was not measured in this run: {result['vllm_missing']}.")
    rows = ", ".join(f"{PROMPTS * g} samples {middle(one, 'step'):.1f} s" for g, one in result["linear"])
    lines.append(f"Step time against samples: {rows}.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--vllm", default=None, help="the Python of an environment that has vLLM")
    parser.add_argument("--vllm-missing", default="no environment with it was named (--vllm)")
    parser.add_argument("--compute", default=None, help="float32 or bfloat16 alone; both where the machine has both")
    asked = parser.parse_args()
    chosen = asked.compute or measured("compute.py")["compute"]
    kinds = [asked.compute] if asked.compute else ["float32", *(["bfloat16"] if chosen == "bfloat16" else [])]
    runs = [one_type(asked, compute) for compute in kinds]
    result = {"runs": runs, "markdown": "\n\n".join(run["markdown"] for run in runs)}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "grpo_step.json").write_text(json.dumps(result, indent=1))
    print(result["markdown"])


def one_type(asked: argparse.Namespace, compute: str) -> dict[str, Any]:
    """Everything in one type of matrix products; rung's and TRL's weights are float32 in both."""
    began = time.perf_counter()
    rung = measured("step_rung.py", str(asked.steps), str(SAMPLES), compute)
    trl = measured("step_trl.py", str(asked.steps), str(SAMPLES), compute)
    linear = [(g, measured("step_rung.py", "1", str(g), compute)) for g in LINEAR]
    vllm = None
    if asked.vllm:
        work = json.dumps([str(model_folder()), list(OPENINGS), SAMPLES, NEW_TOKENS, asked.steps])
        # Left alone it keeps a core for its server and computes on the others: give it them all, as we have.
        every = {"OMP_NUM_THREADS": str(torch.get_num_threads()), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        every["VLLM_CPU_KVCACHE_SPACE"] = "4"  # GiB
        vllm = measured("sample_vllm.py", work, compute, python=asked.vllm, **every)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    result: dict[str, Any] = {
        "machine": machine(),
        "compute": compute,
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
        "rung": rung,
        "trl": trl,
        "vllm": vllm,
        "vllm_missing": asked.vllm_missing,
        "linear": linear,
        "state_gib": 4 * 4 * rung["parameters"] / 2**30,
        "floor": floor(rung, getattr(torch, compute)),
        "minutes": (time.perf_counter() - began) / 60,
        "command": f"python benchmarks/grpo_step.py --compute {compute} --steps {asked.steps}",
    }
    return {**result, "markdown": markdown(result)}


if __name__ == "__main__":
    main()
