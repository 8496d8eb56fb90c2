"""One process: rung's GRPO step, by phase. Arguments: measured steps, samples a prompt, `float32` or `bfloat16`."""

from __future__ import annotations

import dataclasses
import sys
import time

from workload import LEARNING_RATE, NEW_TOKENS, OPENINGS, SAMPLES, answer, model_folder, peak_gib, reward, steps_asked

from rung.batch import Judgement
from rung.methods.grpo import GRPO
from rung.models.language.load import load_policy
from rung.random import Stream
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt
from rung.trainers.assemble import assemble
from rung.trainers.policy_gradient.learner import Learner

samples = int(sys.argv[2]) if len(sys.argv) > 2 else SAMPLES
compute = sys.argv[3] if len(sys.argv) > 3 else "float32"
policy = load_policy(str(model_folder()), compute=compute)
policy.end_ids = ()  # every completion has its 64 tokens, as in the other measurement
step_part = dataclasses.replace(GRPO.optimizer, learning_rate=LEARNING_RATE)
method = GRPO.changed(name="bench", samples_per_prompt=samples, reference_kl=None, optimizer=step_part)
learner = Learner(policy, method, micro_batch_tokens=1024)
sampler = InProcessSampler(policy)
prompts = [Prompt(str(i), i, policy.encode(text)) for i, text in enumerate(OPENINGS)]

rows = []
for step in range(steps_asked() + 1):
    began = time.perf_counter()
    wanted = samples if step or samples <= SAMPLES else 1  # the first step only warms up
    episodes = sampler.sample(
        prompts, samples_per_prompt=wanted, max_new_tokens=NEW_TOKENS, temperature=1.0, stream=Stream(0, step, "bench")
    )
    sampled = time.perf_counter()
    values = reward([e.text for e in episodes])
    judged = [
        dataclasses.replace(e, judgement=Judgement(total=v, parts={"vowels": v}, accuracy=v))
        for e, v in zip(episodes, values, strict=True)
    ]
    learner.update(assemble(judged), step + 1)
    learnt = time.perf_counter()
    tokens = sum(int(e.action_mask.sum()) for e in episodes)
    rows.append({"sample": sampled - began, "learn": learnt - sampled, "step": learnt - began, "tokens": tokens})
parameters = sum(p.numel() for p in policy.trainable().values())
answer(
    {
        "steps": rows[1:],
        "peak_gib": peak_gib(),
        "parameters": parameters,
        "prompt_tokens": sum(len(p.ids) for p in prompts),
    }
)
