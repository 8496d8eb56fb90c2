"""A training loop of your own: the library draws, judges and learns; you decide what happens between the steps.

    python examples/own_loop.py [STEPS] [FOLDER]

It stops when the held-out score has not risen for three evaluations, which no setting of rung does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import rung

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 60
FOLDER = Path(sys.argv[2] if len(sys.argv) > 2 else "runs/own-loop")

trainer = rung.trainer(model="tiny", method=rung.GRPO.changed(samples_per_prompt=8), task="arithmetic")
best, waited = trainer.evaluate().mean, 0
print(f"before: {best:.3f}")
for _ in range(STEPS):
    step = trainer.step()
    batch = step.batch  # arrays [B,T]: B completions, T tokens
    advantage_B = batch.advantages_BT.amax(dim=1)
    answer = step.episodes[int(advantage_B.argmax())]  # the best completion of this step
    print(f"step {step.number}: loss {step.loss:.4f}, reward {step.metrics['reward/mean']:.3f}, best {answer.text!r}")
    if step.number % 5 == 0:
        score = trainer.evaluate().mean
        best, waited = max(best, score), 0 if score > best else waited + 1
        print(f"step {step.number}: held-out score {score:.3f}")
        if waited == 3:
            break
trainer.save(FOLDER)  # an ordinary Hugging Face folder
trainer.close()
print(f"saved: {FOLDER}; try: rung chat {FOLDER}")
