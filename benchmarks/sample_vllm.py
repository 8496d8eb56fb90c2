"""One process in an environment of its own: what the CPU build of vLLM samples in a second.

Arguments: the work as JSON (model folder, prompts, samples a prompt, new tokens, rounds), the compute type.
"""

from __future__ import annotations

import json
import sys
import time

from vllm import LLM, SamplingParams


def main() -> None:
    folder, prompts, samples, new_tokens, rounds = json.loads(sys.argv[1])
    engine = LLM(model=folder, dtype=sys.argv[2], max_model_len=256, max_num_seqs=256)
    distribution = SamplingParams(
        n=samples, temperature=1.0, max_tokens=new_tokens, min_tokens=new_tokens, logprobs=0, seed=0
    )
    rates = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        outputs = engine.generate(prompts, distribution, use_tqdm=False)
        tokens = sum(len(o.token_ids) for output in outputs for o in output.outputs)
        rates.append(tokens / (time.perf_counter() - began))
    print("RESULT " + json.dumps({"tokens_per_second": rates[1:]}), flush=True)


if __name__ == "__main__":  # vLLM starts its engine in a process that imports this file again
    main()
