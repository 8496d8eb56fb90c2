"""Methods as a named project or paper ran them: the same dataclasses with other numbers. NAME@ORIGIN.

`deviations` says which version and file of the origin was read, and what of its defaults our slots do not hold.
`grpo@paper` is no preset but another spelling of `grpo`: a method's own name always means its paper's setting.
"""

from __future__ import annotations

from rung.methods.actor_critic import ACTOR_CRITIC
from rung.methods.grpo import GRPO
from rung.methods.parts.advantages import GAE, GroupCentred, GroupNormalized, NormalizedByOthers
from rung.methods.parts.aggregations import PerToken, Whiten
from rung.methods.parts.critics import ValueFunction
from rung.methods.parts.objectives import ClippedSurrogate, WithinProbability
from rung.methods.parts.optimizers import AdamW, NaturalGradient, RMSprop
from rung.methods.parts.reference_kl import K1, K3, KLInAdvantage, KLInLoss, KLInReward
from rung.methods.ppo import PPO
from rung.methods.trpo import TRPO

SAVED = "Equal on saved numbers (tests/methods/test_origin_parity.py)."
SB3_SAVED = "Equal on saved numbers of its own code (tests/methods/test_sb3_parity.py)."

PPO_TEXT = PPO.changed(
    name="ppo@lm-human-preferences",
    paper="arXiv:1909.08593",
    summary="PPO as it first trained language models: a value layer on the policy, KL to the start in each reward.",
    reference_kl=KLInReward(coefficient=0.15, estimator=K1(), target=6.0, adapt_over=10_000),
    critic=ValueFunction(separate=False, coefficient=0.1, clip=0.2),
    advantage=GAE(discount=1.0, lam=0.95),
    whiten=Whiten(per_minibatch=False),
    optimizer=AdamW(learning_rate=1e-5, epsilon=1e-5, anneal=True, max_grad_norm=1e6),
    num_epochs=4,
    num_minibatches=1,
    deviations=(
        "Read in openai/lm-human-preferences at cbfd210: launch.py (sentiment), lm_human_preferences/train_policy.py "
        "and utils/core.py. It bounds no gradient norm; 1e6 never binds.",
        "Its whitening of the rewards, by their deviation alone, is left out; its 1e-8 stands under the root.",
        "Batch 512 and temperature 0.7 are settings of a run.",
    ),
)

PPO_TRL = PPO_TEXT.changed(
    name="ppo@trl-2025",
    summary="PPO for text with the defaults of TRL 0.25's PPOTrainer: a critic model, a fixed KL in the reward.",
    reference_kl=KLInReward(coefficient=0.05, estimator=K1()),
    critic=ValueFunction(separate=True, coefficient=0.1, clip=0.2),
    whiten=Whiten(per_minibatch=False, ddof=1),
    optimizer=AdamW(learning_rate=5e-5, anneal=True, max_grad_norm=1e6),
    deviations=(
        "Read in trl 0.25.1: trl/trainer/ppo_config.py, ppo_trainer.py and utils.py (OnPolicyConfig).",
        "TRL bounds no gradient norm here; 1e6 never binds.",
        "Its 1e-8 stands under the root of the variance; its temperature 0.7 and 53 tokens are settings of a run.",
        "Its value mask holds one token more than its policy mask, the one after the answer's end; ours are the same.",
    ),
)

PPO_BASELINES = PPO.changed(
    name="ppo@baselines",
    summary="PPO with the MuJoCo defaults of OpenAI Baselines' ppo2: the value is clipped as the ratio is.",
    critic=ValueFunction(separate=True, coefficient=0.5, clip=0.2),
    optimizer=AdamW(learning_rate=3e-4, epsilon=1e-5, anneal=True, max_grad_norm=0.5),
    deviations=("Read in openai/baselines at ea25b9e, its last: baselines/ppo2/defaults.py (mujoco) and model.py.",),
)

PPO_SB3 = PPO.changed(
    name="ppo@sb3",
    summary="PPO with the defaults of Stable-Baselines3 2.9.2.",
    critic=ValueFunction(separate=True, coefficient=1.0),
    whiten=Whiten(per_minibatch=True, ddof=1),
    deviations=(
        "Read in stable-baselines3 2.9.2: stable_baselines3/ppo/ppo.py and common/policies.py (Adam's epsilon 1e-5).",
        "Its value loss is the whole square times 0.5: ½ of the square times 1 here.",
        "Its minibatches have 64 steps; 32 minibatches are that for one environment of 2048 steps.",
        SB3_SAVED,
    ),
)

PPO_CLEANRL = PPO.changed(
    name="ppo@cleanrl",
    summary="PPO with the defaults of CleanRL 1.2.0's ppo.py: short stretches, an entropy bonus, a clipped value.",
    horizon=128,
    critic=ValueFunction(separate=True, coefficient=0.5, clip=0.2),
    whiten=Whiten(per_minibatch=True, ddof=1),
    entropy_bonus=0.01,
    optimizer=AdamW(learning_rate=2.5e-4, epsilon=1e-5, anneal=True, max_grad_norm=0.5),
    num_epochs=4,
    num_minibatches=4,
    deviations=(
        "Read in cleanrl 1.2.0: cleanrl/ppo.py; its 4 environments are a setting of a run.",
        "A stretch cut by a time limit is bootstrapped here; there it counts as the episode's end.",
    ),
)

A2C_SB3 = ACTOR_CRITIC.changed(
    name="a2c@sb3",
    summary="Advantage actor-critic with the defaults of Stable-Baselines3 2.9.2.",
    advantage=GAE(discount=0.99, lam=1.0),
    entropy_bonus=0.0,
    optimizer=RMSprop(learning_rate=7e-4, alpha=0.99, epsilon=1e-5, max_grad_norm=0.5),
    deviations=(
        "Read in stable-baselines3 2.9.2: stable_baselines3/a2c/a2c.py. Its default is torch's RMSprop, whose average "
        "begins at 0; its RMSpropTFLike is method.optimizer.tensorflow=true.",
        "Its value loss is the whole square times 0.5: ½ of the square times 1 here.",
        SB3_SAVED,
    ),
)

TRPO_SB3 = TRPO.changed(
    name="trpo@sb3-contrib",
    summary="TRPO with the defaults of sb3-contrib 2.9.2: shorter steps by 0.8, and no KL above the bound.",
    horizon=2048,
    critic=ValueFunction(separate=True, coefficient=1.0),
    advantage=GAE(discount=0.99, lam=0.95),
    whiten=Whiten(ddof=1),
    optimizer=NaturalGradient(
        max_kl=0.01,
        iterations=15,
        damping=0.1,
        fisher_share=1.0,
        backtracks=9,
        shrink=0.8,
        accept=1.0,
        critic_learning_rate=1e-3,
        num_critic_epochs=10,
        num_critic_minibatches=16,
    ),
    deviations=(
        "Read in sb3-contrib 2.9.2: sb3_contrib/trpo/trpo.py and common/utils.py.",
        "Its KL is KL(π ‖ π_old), ours KL(π_old ‖ π): one direction, another value after the step.",
        "For actions of A numbers its KL is a mean over them, a bound A times too loose; ours is the joint's. "
        "Its very step is taken with method.optimizer.max_kl and method.optimizer.damping A times as large.",
        "Its critic learns in batches of 128; 16 minibatches are that for a rollout of 2048 steps. Its gradient has no "
        "bound and Adam's ε is 1e-5; ours is kept to a norm of 1, with 1e-8.",
        "The step equals its own on saved numbers (tests/methods/test_sb3_parity.py).",
        "Its conjugate gradients begin at noise of 1e-4 and stop at an absolute residual; ours begin at 0 and stop at "
        "a relative one.",
    ),
)

GRPO_TRL = GRPO.changed(
    name="grpo@trl",
    summary="GRPO with the defaults of TRL 1.16's GRPOTrainer.",
    samples_per_prompt=8,
    reference_kl=None,
    advantage=GroupNormalized(epsilon=1e-4, ddof=1),
    aggregation=PerToken(),
    optimizer=AdamW(learning_rate=1e-6, anneal=True),
    deviations=(
        "The loss is TRL's default `dapo`, a mean over the tokens of the whole step; equal on saved numbers of its own "
        "code (tests/methods/test_trl_parity.py).",
        "TRL's beta is 0: no KL and no reference. With one above 0 it multiplies each token's k3 by the ratio, which "
        "is method.reference_kl=KLInLoss with times_ratio=true, equal on saved numbers too.",
    ),
)

GRPO_VERL = GRPO.changed(
    name="grpo@verl",
    summary="GRPO with the settings of verl 0.9.1: a dual clip, four updates a rollout, no KL.",
    reference_kl=None,
    advantage=GroupNormalized(epsilon=1e-6, ddof=1),
    objective=ClippedSurrogate(low=0.2, high=0.2, dual=3.0),
    aggregation=PerToken(),
    optimizer=AdamW(learning_rate=1e-6, weight_decay=0.01),
    num_minibatches=4,
    deviations=(
        "Read in verl 0.9.1: verl/trainer/ppo/core_algos.py, verl/trainer/config/_generated_ppo_trainer.yaml.",
        "verl's own estimator is `gae` and its samples a prompt are 1; with `grpo` you set both. 64 is GRPO's.",
        "Four updates are its 1024 prompts in minibatches of 256.",
        "It holds the log-ratio within ±20 and takes no gradient beyond; ours is capped at 80.",
        SAVED,
    ),
)

GRPO_OPENRLHF = GRPO.changed(
    name="grpo@openrlhf",
    summary="GRPO as OpenRLHF 0.11.2's `group_norm`: the KL comes off the advantage, after the normalisation.",
    samples_per_prompt=8,
    reference_kl=KLInAdvantage(coefficient=0.01, estimator=K1()),
    advantage=GroupNormalized(epsilon=1e-9, ddof=1),
    aggregation=PerToken(),
    optimizer=AdamW(learning_rate=1e-6, beta2=0.95),
    num_minibatches=64,
    deviations=(
        "Read in openrlhf 0.11.2: openrlhf/cli/train_ppo_ray.py, trainer/ppo_utils/experience_maker.py, models/loss.py "
        "and models/utils.py.",
        "Its estimator is `gae` and its samples a prompt are 1 until you set both; 8 samples are ours, and with them "
        "1024 prompts in batches of 128 samples are 64 updates.",
        "Its learning rate warms up over 3 % of the run and falls along a cosine to a tenth; ours stays.",
        "It holds the normalised reward and each token's KL within ±10, and the log-ratio within ±20.",
        SAVED,
    ),
)

GRPO_NEMO = GRPO.changed(
    name="grpo@nemo-rl",
    summary="GRPO as in NeMo RL's recipe: mean and deviation over the prompt's other samples.",
    samples_per_prompt=16,
    reference_kl=KLInLoss(coefficient=0.01, estimator=K3()),
    advantage=NormalizedByOthers(epsilon=1e-6),
    aggregation=PerToken(),
    optimizer=AdamW(learning_rate=5e-6, weight_decay=0.01, warmup_steps=50),
    deviations=(
        "Read in NVIDIA-NeMo/RL v0.6.0: examples/configs/grpo_math_1B.yaml, and in nemo_rl/algorithms "
        "advantage_estimator.py, utils.py and loss/loss_functions.py.",
        "Its learning rate begins at a tenth and rises for 50 steps; ours begins at a fiftieth.",
        "It holds the KL's log-ratio within ±20 and its value within ±10, and takes no gradient beyond.",
        SAVED,
    ),
)

GRPO_PRIME = GRPO.changed(
    name="grpo@prime-rl",
    summary="GRPO with prime-rl's DPPO loss: no deviation, no ratio clip, a bound on the probability's change.",
    reference_kl=None,
    advantage=GroupCentred(),
    objective=WithinProbability(low=0.2, high=0.2, pull=1e-3),
    aggregation=PerToken(),
    optimizer=AdamW(learning_rate=1e-6, weight_decay=0.01),
    deviations=(
        "Read in PrimeIntellect-ai/prime-rl v0.6.0: packages/prime-rl-configs/src/prime_rl/configs/trainer.py "
        "(DefaultLossConfig, the optimizer) and src/prime_rl/trainer/rl/loss.py (default_loss_fn).",
        "Its default loss is another one in other versions; samples a prompt are GRPO's here.",
        "It trains on rollouts up to some steps old; the ratio to the sampler is its correction for that, and is 1 "
        "before the first update here.",
        SAVED,
    ),
)

PRESETS = (
    PPO_TEXT,
    PPO_TRL,
    PPO_BASELINES,
    PPO_SB3,
    PPO_CLEANRL,
    A2C_SB3,
    TRPO_SB3,
    GRPO_TRL,
    GRPO_VERL,
    GRPO_OPENRLHF,
    GRPO_NEMO,
    GRPO_PRIME,
)
