"""GRPO, the whole loop in one file, top to bottom, under the names that the library uses.

    python examples/grpo_loop.py

Only the tiny model and the arithmetic problems come from rung; everything between prompt and update stands here, in
plain PyTorch and plain order. It is slower than the library (no prompt sharing, no cache kept, whole logits), and it
can neither resume nor be believed at scale. `grpo_library.py` is the same run through the library.
"""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rung.runs.recipes.sft import tiny_for
from rung.settings import TaskSettings
from rung.tasks.load import load_task
from rung.tasks.order import batch_indices

STEPS, PROMPTS_PER_STEP, SAMPLES_PER_PROMPT, MAX_NEW_TOKENS = 40, 16, 8, 16
LEARNING_RATE, CLIP_LOW, CLIP_HIGH, KL_COEFFICIENT = 3e-4, 0.2, 0.2, 0.04

torch.manual_seed(0)
folder = tiny_for(TaskSettings(name="arithmetic"))
policy = AutoModelForCausalLM.from_pretrained(folder).eval()
reference = AutoModelForCausalLM.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
task = load_task("arithmetic")
optimizer = torch.optim.AdamW(policy.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
(end_id,) = tokenizer.encode("\n", add_special_tokens=False)


def log_probs_of(model: torch.nn.Module, prompt_ids: torch.Tensor, actions_BT: torch.Tensor) -> torch.Tensor:
    """[B,T]: the log-probability of each action, given the prompt and the actions before it."""
    ids_BL = torch.cat([prompt_ids.expand(len(actions_BT), -1), actions_BT], dim=1)
    logits_BTV = model(ids_BL).logits[:, len(prompt_ids) - 1 : -1].float()
    return torch.log_softmax(logits_BTV, -1).gather(-1, actions_BT[..., None])[..., 0]


for step in range(1, STEPS + 1):
    optimizer.zero_grad()
    rewards = []
    for index in batch_indices(0, step, PROMPTS_PER_STEP, len(task.train)):
        item = task.train[int(index)]

        # rollout: G samples of one prompt
        prompt_ids = torch.tensor(tokenizer(item.prompt)["input_ids"])
        ids_BL = prompt_ids.expand(SAMPLES_PER_PROMPT, -1)
        with torch.no_grad():
            for _ in range(MAX_NEW_TOKENS):
                probabilities_BV = torch.softmax(policy(ids_BL).logits[:, -1].float(), -1)
                ids_BL = torch.cat([ids_BL, torch.multinomial(probabilities_BV, 1)], dim=1)
        actions_BT = ids_BL[:, len(prompt_ids) :]

        # an episode ends with its first line end; what was drawn after it is no action of it
        ended_BT = (actions_BT == end_id).int().cumsum(1)
        action_mask_BT = (ended_BT - (actions_BT == end_id).int()) == 0

        # reward: 1 where the last number is the answer
        texts = [tokenizer.decode(row[mask]) for row, mask in zip(actions_BT, action_mask_BT, strict=True)]
        columns = {"answer": [item.columns["answer"]] * len(texts)}
        returns_B = torch.tensor(task.rewards[0].reward([item.prompt] * len(texts), texts, columns))
        rewards.append(returns_B.mean().item())

        # advantage: how a sample compares with its prompt's other samples
        spread = returns_B.std(unbiased=False)
        if spread == 0 and KL_COEFFICIENT == 0:
            continue
        advantages_B = (returns_B - returns_B.mean()) / (spread + 1e-6)

        # objective: the clipped surrogate, less the KL to the reference
        log_probs_BT = log_probs_of(policy, prompt_ids, actions_BT)
        with torch.no_grad():
            reference_BT = log_probs_of(reference, prompt_ids, actions_BT)
        ratio_BT = (log_probs_BT - log_probs_BT.detach()).exp()  # one update a rollout: the old policy is this one
        clipped_BT = ratio_BT.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH)
        surrogate_BT = torch.minimum(ratio_BT * advantages_B[:, None], clipped_BT * advantages_B[:, None])
        k3_BT = torch.expm1(reference_BT - log_probs_BT) - (reference_BT - log_probs_BT)
        losses_BT = -surrogate_BT + KL_COEFFICIENT * k3_BT

        # aggregation: mean over a sequence's tokens, then over all the step's sequences
        weights_BT = action_mask_BT / action_mask_BT.sum(1, keepdim=True) / (PROMPTS_PER_STEP * SAMPLES_PER_PROMPT)
        (weights_BT * losses_BT).sum().backward()

    # update
    torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
    optimizer.step()
    print(f"step {step:>3}  reward {sum(rewards) / len(rewards):.3f}")
