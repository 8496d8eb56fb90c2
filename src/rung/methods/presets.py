"""Methods as a named project or paper ran them: the same dataclasses with other numbers. NAME@ORIGIN."""

from __future__ import annotations

from rung.methods.grpo import GRPO
from rung.methods.parts.advantages import GAE, GroupNormalized
from rung.methods.parts.aggregations import PerToken
from rung.methods.parts.critics import ValueFunction
from rung.methods.parts.reference_kl import K1, KLInReward
from rung.methods.parts.steps import AdamW
from rung.methods.parts.whitening import Whiten
from rung.methods.ppo import PPO

PPO_TEXT = PPO.changed(
    name="ppo@lm-human-preferences",
    paper="arXiv:1909.08593",
    summary="PPO as it first trained language models: a value layer on the policy, KL to the start in each reward.",
    reference_kl=KLInReward(coefficient=0.15, estimator=K1(), target=6.0, adapt_over=10_000),
    critic=ValueFunction(separate=False, coefficient=0.1, clip=0.2),
    advantage=GAE(discount=1.0, lam=0.95),
    whiten=Whiten(per_minibatch=False),
    step=AdamW(learning_rate=1e-5, epsilon=1e-5),
    epochs=4,
    minibatches=1,
    deviations=(
        "Values from the paper's code, openai/lm-human-preferences; its reward whitening and value pre-training are "
        "left out, and the minibatches of an epoch are one.",
    ),
)

GRPO_TRL = GRPO.changed(
    name="grpo@trl",
    summary="GRPO with the defaults of TRL 1.16's GRPOTrainer.",
    samples_per_prompt=8,
    reference_kl=None,
    advantage=GroupNormalized(epsilon=1e-4, ddof=1),
    aggregation=PerToken(),
    deviations=(
        "The loss is TRL's default `dapo`, a mean over the tokens of the whole step; equal on saved numbers of its own "
        "code (tests/methods/test_trl_parity.py).",
        "TRL's learning rate falls linearly to 0 over the run: set method.step.decay_steps to the run's updates.",
    ),
)

PRESETS = (PPO_TEXT, GRPO_TRL)
