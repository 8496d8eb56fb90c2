"""A model whose answers are a few random digits, and a reward that tells them apart."""

from __future__ import annotations

import functools

import torch

from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_model

SHORTEST = """\
def score(completions):
    return [-len(completion) for completion in completions]
"""
"""A user's reward, which prefers the shorter answer."""


@functools.cache
def random_digits() -> TextPolicy:
    """After every text a digit, or with a chance of 0.3 the newline that ends an answer. Only to be saved or read."""
    policy = tiny_model(0)
    (newline,), digits = policy.encode("\n")[1:], policy.encode("0123456789")[1:]
    wanted = torch.zeros(policy.model.config.vocab_size)
    wanted[newline], wanted[torch.from_numpy(digits)] = 0.3, 0.07
    optimizer = torch.optim.Adam(policy.model.parameters(), lr=3e-3)
    for seed in range(25):
        ids = torch.randint(4, len(wanted), (8, 16), generator=torch.Generator().manual_seed(seed))
        loss = -(policy.model(ids).logits.log_softmax(-1) @ wanted).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return policy
